// Who an endpoint is.
#pragma once

#include <openssl/ssl.h>

#include <memory>

#include "endpoint/tpm/software.h"

namespace gatehouse::fleet {

struct FreeSsl {
  void operator()(SSL* p) const { SSL_free(p); }
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
};

// What stays of an endpoint whether it is connected or not.
struct Identity {
  std::shared_ptr<const endpoint::SigningKey> ak;
  std::unique_ptr<X509, FreeSsl> certificate;
  std::unique_ptr<EVP_PKEY, FreeSsl> key;
};

}  // namespace gatehouse::fleet
