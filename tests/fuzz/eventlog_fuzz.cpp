// Whole and cut in two, a log gives the same events or the same error.
#include <cstdlib>

#include "wire/eventlog/eventlog.h"

using namespace gatehouse;

namespace {

std::size_t count(Bytes first, Bytes second, bool& good) {
  eventlog::Cursor cursor;
  std::size_t n = 0;
  const auto drain = [&] {
    for (;;) {
      const auto event = cursor.next();
      if (!event) return false;
      if (*event == nullptr) return true;
      ++n;
      (void)eventlog::parse_uefi_variable((*event)->data);
    }
  };
  cursor.feed(first);
  good = drain();
  if (!good) return n;
  cursor.feed(second);
  cursor.end();
  good = drain();
  return n;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  bool whole = false, cut = false;
  const std::size_t a = count({}, all, whole);
  const std::size_t b = count(all.first(size / 2), all.subspan(size / 2), cut);
  if (whole != cut || (whole && a != b)) std::abort();
  return 0;
}
