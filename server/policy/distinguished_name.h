// Single fields of a certificate's subject: a pattern of the whole subject depends on the order of its parts, and `*` in it
// goes across them; a field is one attribute's value and nothing else.
//
//   const auto value = attribute_of("CN=host7,OU=Kassel+OU=Lab,O=Example", "OU");   // "Kassel", "Lab"
#pragma once

#include <functional>
#include <string_view>

namespace gatehouse::server::policy {

// Calls `each` with the value of every attribute of this type (short name or dotted OID, compared without regard to case)
// in a name as RFC 2253 writes it, as distinguished_name() (base/x509.h) makes it: escapes are taken off, except in a
// value that begins with # (RFC 2253 section 2.4), which is given as it is. True: one of the calls was true. A text that
// isn't such a name, or is longer than 1,024 bytes, has none. In time linear in its length.
bool any_attribute(std::string_view name, std::string_view type, const std::function<bool(std::string_view value)>& each);

// Whether `type` may stand for an attribute type: letters, digits, hyphens and dots.
bool is_attribute_type(std::string_view type);

}  // namespace gatehouse::server::policy
