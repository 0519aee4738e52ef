// OpenSSL as TLS is served with: its default provider, with what TLS can use of it and nothing else.
//
// OpenSSL 3.0 finds the decoder of a key by asking all that there are whether they follow upon each other, each time that
// a certificate is read: with all of the default provider's that is a fifth of a handshake with client certificates. Here
// are those alone that read a key in a certificate, and of ciphers those that TLS is spoken with here.
#pragma once

#include <openssl/types.h>

namespace gatehouse::server {

// For SSL_CTX_new_ex(); lives as long as the process. Null, OpenSSL's own: where its configuration has other providers,
// or asks for algorithms of certain properties (FIPS), these count. Keys and certificates of either may be used with the
// other; what reads files of keys has to be OpenSSL's own.
OSSL_LIB_CTX* tls_library();

}  // namespace gatehouse::server
