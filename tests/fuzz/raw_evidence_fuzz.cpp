// The first byte says in which pieces the value arrives; what comes out doesn't depend on it.
#include <algorithm>
#include <cstdlib>

#include "wire/pts/raw_evidence.h"

using namespace gatehouse;
namespace raw = pts::raw;

namespace {

template <class Stream>
void stream(Bytes value, std::size_t piece) {
  Stream whole(12), cut(12);
  const auto at_once = whole.feed(value);
  ByteVector evidence;
  bool failed = false;
  for (std::size_t at = 0; at < value.size() && !failed; at += piece) {
    const auto part = cut.feed(value.subspan(at, std::min(piece, value.size() - at)));
    failed = !part;
    if (part) evidence.insert(evidence.end(), part->begin(), part->end());
  }
  if (failed == at_once.has_value()) std::abort();
  if (!failed && (!equal(evidence, *at_once) || whole.end().has_value() != cut.end().has_value())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes value(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  const auto same = [&](auto&& parse, auto&& append) {
    Reader r(value, "fuzz");
    const auto parsed = parse(r);
    if (!parsed) return;
    Writer w;
    append(w, *parsed);
    Reader again(w.view(), "fuzz");
    if (!parse(again)) std::abort();
  };
  same(raw::parse_capabilities, raw::append_capabilities);
  same(raw::parse_request, raw::append_request);
  same(raw::parse_quote, raw::append_quote);
  Reader information(value, "fuzz");
  (void)raw::parse_unavailable_information(information);
  stream<raw::FirmwareLogStream>(value, 1 + data[0] % 40U);
  stream<raw::ImaListStream>(value, 1 + data[0] % 40U);
  return 0;
}
