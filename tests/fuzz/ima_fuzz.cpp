#include "wire/ima/ima.h"
#include "wire/ima/signature.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ima::Cursor cursor(ima::Cursor::Form::binary);
  cursor.feed(Bytes(reinterpret_cast<const std::byte*>(data), size));
  cursor.end();
  for (;;) {
    const auto entry = cursor.next();
    if (!entry || *entry == nullptr) break;
    (void)ima::parse_signature((*entry)->fields.signature);
  }
  return 0;
}
