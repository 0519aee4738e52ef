#include "server/radius/user_name.h"

#include "base/bytes.h"
#include "base/hex.h"
#include "base/x509.h"

namespace gatehouse::server {

std::string shown_user(std::string_view name) {
  constexpr char sequence = 0x30;  // each Name begins with it
  if (name.starts_with(sequence))
    if (std::string text = distinguished_name(as_bytes(name)); !text.empty()) return text;
  return escaped(name, 253);
}

}  // namespace gatehouse::server
