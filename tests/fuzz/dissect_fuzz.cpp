// libraries: gatehouse_dissect
#include <cstdlib>

#include "server/trace/dissect.h"

using namespace gatehouse;

namespace {

// Leaves cover each byte once, in order.
std::size_t cover(const trace::Field& f, std::size_t at) {
  if (f.offset != at) std::abort();
  for (const trace::Field& inner : f.fields) at = cover(inner, at);
  if (f.fields.empty()) at += f.length;
  if (at != f.offset + f.length) std::abort();
  return at;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes(reinterpret_cast<const std::byte*>(data), size);
  for (const trace::Dissection& d :
       {trace::dissect(bytes), trace::dissect_batch(bytes), trace::dissect_message(bytes)}) {
    if (cover(d.root, 0) != size) std::abort();
    for (const trace::Field& f : d.reassembled) cover(f, 0);
    (void)trace::text(d, {.brief = true});
    (void)trace::json(d);
  }
  return 0;
}
