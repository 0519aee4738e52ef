#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>

#include "base/file.h"
#include "fleet/fleet.h"

namespace gatehouse::fleet {
namespace {

constexpr long valid_seconds = 10L * 365 * 24 * 3600;

struct Free {
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

std::unexpected<Error> failed(std::string_view what) { return fail(Fault::environment, what); }

template <class Write>
std::string pem_of(const Write& write) {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  GH_ASSERT(bio && write(bio.get()) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, std::size_t(size)};
}
std::string pem_of(X509* certificate) {
  return pem_of([&](BIO* to) { return PEM_write_bio_X509(to, certificate); });
}
std::string pem_of(EVP_PKEY* key) {
  return pem_of([&](BIO* to) { return PEM_write_bio_PrivateKey(to, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Owned<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// A certificate for `key`, without extensions and signature.
Owned<X509> begin_certificate(EVP_PKEY* key, const std::string& name, std::uint64_t serial, const X509* issuer) {
  Owned<X509> out(X509_new());
  if (!out) return nullptr;
  X509_NAME* const subject = X509_get_subject_name(out.get());
  const bool good =
      X509_set_version(out.get(), 2) == 1 && ASN1_INTEGER_set_uint64(X509_get_serialNumber(out.get()), serial) == 1 &&
      X509_gmtime_adj(X509_getm_notBefore(out.get()), -3600) != nullptr &&
      X509_gmtime_adj(X509_getm_notAfter(out.get()), valid_seconds) != nullptr &&
      X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(name.data()), int(name.size()), -1, 0) == 1 &&
      X509_set_issuer_name(out.get(), issuer != nullptr ? X509_get_subject_name(issuer) : subject) == 1 &&
      X509_set_pubkey(out.get(), key) == 1;
  return good ? std::move(out) : nullptr;
}

}  // namespace

struct ClientCa::State {
  Owned<EVP_PKEY> key;
  Owned<X509> certificate;
};
ClientCa::ClientCa(std::unique_ptr<State> state) : state_(std::move(state)) {}
ClientCa::ClientCa(ClientCa&&) noexcept = default;
ClientCa::~ClientCa() = default;

Result<ClientCa> ClientCa::open(const Fleet& fleet) {
  auto state = std::make_unique<State>();
  constexpr std::size_t limit = 65'536;
  const auto key = read_file(fleet.path("ca.key"), limit);
  const auto certificate = read_file(fleet.path("ca.pem"), limit);
  if (key && certificate) {
    const Owned<BIO> key_text(BIO_new_mem_buf(key->data(), int(key->size())));
    const Owned<BIO> text(BIO_new_mem_buf(certificate->data(), int(certificate->size())));
    state->key.reset(key_text ? PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr) : nullptr);
    state->certificate.reset(text ? PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr) : nullptr);
    if (!state->key || !state->certificate || X509_check_private_key(state->certificate.get(), state->key.get()) != 1)
      return fail(Error{Fault::malformed, "no CA certificate and its key", {}, 0, fleet.path("ca.pem"), {}});
    return ClientCa(std::move(state));
  }
  state->key.reset(EVP_EC_gen("P-256"));
  if (!state->key) return failed("OpenSSL can't make a key");
  state->certificate = begin_certificate(state->key.get(), "Gatehouse fleet CA", 1, nullptr);
  X509* const made = state->certificate.get();
  if (made == nullptr || !add_extension(made, made, NID_basic_constraints, "critical,CA:TRUE") ||
      !add_extension(made, made, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !add_extension(made, made, NID_subject_key_identifier, "hash") ||
      X509_sign(made, state->key.get(), EVP_sha256()) == 0)
    return failed("OpenSSL can't make a CA certificate");
  GH_CHECK(write_file_atomically(fleet.path("ca.key"), as_bytes(pem_of(state->key.get())), 0600));
  GH_CHECK(write_file_atomically(fleet.path("ca.pem"), as_bytes(pem_of(made))));
  return ClientCa(std::move(state));
}

Result<std::string> ClientCa::issue(const std::string& name, std::uint64_t serial, Use use) const {
  const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  if (!key) return failed("OpenSSL can't make a key");
  const Owned<X509> made = begin_certificate(key.get(), name, serial, state_->certificate.get());
  X509* const ca = state_->certificate.get();
  if (!made || !add_extension(made.get(), ca, NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(made.get(), ca, NID_key_usage, "critical,digitalSignature") ||
      !add_extension(made.get(), ca, NID_ext_key_usage, use == Use::client ? "clientAuth" : "serverAuth") ||
      !add_extension(made.get(), ca, NID_authority_key_identifier, "keyid:always") ||
      X509_sign(made.get(), state_->key.get(), EVP_sha256()) == 0)
    return failed("OpenSSL can't make a certificate");
  return pem_of(made.get()) + pem_of(key.get());
}

}  // namespace gatehouse::fleet
