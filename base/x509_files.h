// Certificates and revocation lists in files, for what is built on OpenSSL.
#pragma once

#include <openssl/bio.h>
#include <openssl/x509.h>

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/owned.h"

namespace gatehouse {

using OwnedX509 = Owned<X509, X509_free>;
using OwnedCrl = Owned<X509_CRL, X509_CRL_free>;
using OwnedBio = Owned<BIO, BIO_free_all>;

inline constexpr std::size_t max_x509_file_bytes = std::size_t(64) << 20;

OwnedBio bio_of(Bytes bytes);
std::string text_of(BIO* bio);  // what was written into it
// "CN=device 7,O=Example", escaped.
std::string name_text(const X509_NAME* name);
// Of a PEM or DER file, or of all in a directory whose *.pem, *.crt, *.cer, *.der are read; at least one.
Result<std::vector<OwnedX509>> certificates_at(const std::string& path);
// PEM or DER; none: there is no list in it.
std::vector<OwnedCrl> lists_in(Bytes content);

}  // namespace gatehouse
