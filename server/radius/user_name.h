// How a User-Name or an EAP identity is shown to people.
#pragma once

#include <string>
#include <string_view>

namespace gatehouse::server {

// Printable, for logs and JSON; nothing is decided by it. strongSwan's endpoints that are called by their certificate's subject say it
// in DER (an X.501 Name, as IKEv2 has it in ID_DER_ASN1_DN): that is shown as RFC 2253 text, anything else as it is, escaped.
std::string shown_user(std::string_view name);

}  // namespace gatehouse::server
