#include "wire/ima/ima.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ima::Cursor cursor(ima::Cursor::Form::ascii);
  cursor.feed(Bytes(reinterpret_cast<const std::byte*>(data), size));
  cursor.end();
  for (;;) {
    const auto entry = cursor.next();
    if (!entry || *entry == nullptr) break;
  }
  return 0;
}
