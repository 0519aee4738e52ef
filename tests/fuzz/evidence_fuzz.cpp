// libraries: gatehouse_graph
// A PA-TNC message with evidence as the evidence plane reads it, and a Simple Evidence Final.
#include "pipeline/quote/quote.h"
#include "wire/patnc/patnc.h"
#include "wire/pts/pts.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  (void)pipeline::bank_of(all);
  Reader r(all, "fuzz");
  while (!r.empty()) {
    patnc::Attribute a;
    if (patnc::parse_attribute(r, a)) break;
    Reader value(a.value, "fuzz");
    if (const auto e = pts::parse_simple_component_evidence(value)) (void)pts::parse_ima_uri(e->policy_uri);
  }
  return 0;
}
