#include "base/x509.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "base/file.h"

namespace gatehouse {

struct CertificateAuthorities::State {
  X509_STORE* store = X509_STORE_new();
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { X509_STORE_free(store); }
};

CertificateAuthorities::CertificateAuthorities(std::unique_ptr<State> state) : state_(std::move(state)) {}
CertificateAuthorities::CertificateAuthorities(CertificateAuthorities&&) noexcept = default;
CertificateAuthorities& CertificateAuthorities::operator=(CertificateAuthorities&&) noexcept = default;
CertificateAuthorities::~CertificateAuthorities() = default;

Result<CertificateAuthorities> CertificateAuthorities::read(const std::string& path) {
  GH_TRY(const ByteVector pem, read_file(path, std::size_t(16) << 20));
  auto state = std::make_unique<State>();
  BIO* const bio = BIO_new_mem_buf(pem.data(), int(pem.size()));
  std::size_t count = 0;
  while (X509* const certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr)) {
    X509_STORE_add_cert(state->store, certificate);
    X509_free(certificate);
    ++count;
  }
  BIO_free(bio);
  ERR_clear_error();
  if (count == 0) return fail(Error{Fault::malformed, "no PEM certificate", {}, 0, path, {}});
  return CertificateAuthorities(std::move(state));
}

Result<void> CertificateAuthorities::validate(Bytes der) const {
  const unsigned char* p = as_uchar(der);
  X509* const certificate = d2i_X509(nullptr, &p, long(der.size()));
  if (certificate == nullptr) {
    ERR_clear_error();
    return fail(Fault::malformed, "not an X.509 certificate");
  }
  X509_STORE_CTX* const context = X509_STORE_CTX_new();
  bool good = X509_STORE_CTX_init(context, state_->store, certificate, nullptr) == 1 && X509_verify_cert(context) == 1;
  std::string why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
  if (good && (X509_get_key_usage(certificate) & KU_DIGITAL_SIGNATURE) == 0) {
    good = false;
    why = "key usage lacks digitalSignature";
  }
  X509_STORE_CTX_free(context);
  X509_free(certificate);
  ERR_clear_error();
  if (!good) return fail(Error{Fault::denied, "certificate isn't valid under the configured CAs", "RFC 5280 6", 0, {}, std::move(why)});
  return {};
}

}  // namespace gatehouse
