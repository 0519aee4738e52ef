#include "base/x509.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>

#include "base/der.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/owned.h"
#include "base/x509_files.h"

namespace gatehouse {
namespace {

void free_names(GENERAL_NAMES* names) { GENERAL_NAMES_free(names); }
void free_usages(EXTENDED_KEY_USAGE* usages) { EXTENDED_KEY_USAGE_free(usages); }
// Without its elements: they belong to others.
void free_stack(STACK_OF(X509) * stack) { sk_X509_free(stack); }

constexpr std::size_t max_certificate_bytes = 64 * 1024;

std::unexpected<Error> bad(std::string_view reason) {
  ERR_clear_error();
  return fail(Fault::malformed, reason, "RFC 5280 4.1");
}

std::string common_name_of(X509_NAME* name) {
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0) return {};
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (size < 0) return {};
  const std::string text(reinterpret_cast<const char*>(utf8), std::size_t(size));
  OPENSSL_free(utf8);
  return text.find('\0') == std::string::npos ? text : std::string();
}

std::string object_text(const ASN1_OBJECT* object) {
  std::array<char, 128> text{};
  const int size = OBJ_obj2txt(text.data(), int(text.size()), object, 1);
  return size > 0 && std::size_t(size) < text.size() ? std::string(text.data()) : std::string("too long");
}

Bytes bytes_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const std::byte*>(ASN1_STRING_get0_data(string)),
          std::size_t(ASN1_STRING_length(string))};
}

std::string address_text(Bytes raw) {
  std::string out;
  if (raw.size() == 4) {
    for (std::size_t i = 0; i < 4; ++i) out += (i ? "." : "") + std::to_string(unsigned(raw[i]));
  } else {
    for (std::size_t i = 0; i < raw.size(); ++i) out += (i && i % 2 == 0 ? ":" : "") + to_hex(raw.subspan(i, 1));
  }
  return out;
}

std::vector<std::string> names_of(X509* certificate) {
  std::vector<std::string> out;
  const Owned<GENERAL_NAMES, free_names> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  const auto text = [](std::string_view kind, const ASN1_STRING* value) {
    return std::string(kind) + escaped(as_text(bytes_of(value)), 1024);
  };
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    switch (name->type) {
      case GEN_DNS: out.push_back(text("dns:", name->d.dNSName)); break;
      case GEN_EMAIL: out.push_back(text("email:", name->d.rfc822Name)); break;
      case GEN_URI: out.push_back(text("uri:", name->d.uniformResourceIdentifier)); break;
      case GEN_IPADD: out.push_back("ip:" + address_text(bytes_of(name->d.iPAddress))); break;
      case GEN_DIRNAME: out.push_back("dirname:" + name_text(name->d.directoryName)); break;
      default: break;
    }
  }
  return out;
}

// An attribute of a Name by its OID; empty: it has none or several.
std::string attribute_of(const X509_NAME* name, const char* oid) {
  const Owned<ASN1_OBJECT, ASN1_OBJECT_free> wanted(OBJ_txt2obj(oid, 1));
  const int at = wanted ? X509_NAME_get_index_by_OBJ(name, wanted.get(), -1) : -1;
  if (at < 0 || X509_NAME_get_index_by_OBJ(name, wanted.get(), at) >= 0) return {};
  return escaped(as_text(bytes_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)))), 64);
}

Certificate::TpmModel tpm_model_of(X509* certificate) {
  const Owned<GENERAL_NAMES, free_names> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DIRNAME) continue;
    const X509_NAME* const directory = name->d.directoryName;
    Certificate::TpmModel out{attribute_of(directory, "2.23.133.2.1"), attribute_of(directory, "2.23.133.2.2"),
                              attribute_of(directory, "2.23.133.2.3")};
    if (!out.manufacturer.empty()) return out;
  }
  return {};
}

std::vector<std::string> usages_of(X509* certificate) {
  std::vector<std::string> out;
  const Owned<EXTENDED_KEY_USAGE, free_usages> usages(
      static_cast<EXTENDED_KEY_USAGE*>(X509_get_ext_d2i(certificate, NID_ext_key_usage, nullptr, nullptr)));
  for (int i = 0; usages && i < sk_ASN1_OBJECT_num(usages.get()); ++i)
    out.push_back(object_text(sk_ASN1_OBJECT_value(usages.get(), i)));
  return out;
}

}  // namespace

struct Certificate::State {
  OwnedX509 x509;
  ByteVector der, subject_key_id;
  PublicKey key;
  std::string subject, issuer, common_name, serial, fingerprint;
  std::vector<std::string> names, usages;
  TpmModel tpm_model;
  std::int64_t not_before = 0, not_after = 0;
};

Result<Certificate> Certificate::from_der(Bytes der) {
  if (der.size() > max_certificate_bytes) return fail(Fault::limit, "certificate larger than 64 KiB", "RFC 5280 4.1");
  const unsigned char* p = as_uchar(der);
  OwnedX509 x509(d2i_X509(nullptr, &p, long(der.size())));
  if (!x509) return bad("not an X.509 certificate");
  if (p != as_uchar(der) + der.size()) return bad("trailing bytes after the certificate");
  auto key = PublicKey::from_spki(encoded(X509_get_X509_PUBKEY(x509.get()), &i2d_X509_PUBKEY));
  if (!key) return bad("certificate without a usable key");
  const auto not_before = seconds_of(X509_get0_notBefore(x509.get())), not_after = seconds_of(X509_get0_notAfter(x509.get()));
  if (!not_before || !not_after) return bad("validity date can't be read");
  X509_NAME* const subject = X509_get_subject_name(x509.get());
  auto state = std::make_shared<State>(State{
      .x509 = nullptr,
      .der = to_vector(der),
      .subject_key_id = {},
      .key = *std::move(key),
      .subject = name_text(subject),
      .issuer = name_text(X509_get_issuer_name(x509.get())),
      .common_name = common_name_of(subject),
      .serial = to_hex(bytes_of(X509_get0_serialNumber(x509.get()))),
      .fingerprint = digest_of(HashAlgorithm::sha256, der).hex(),
      .names = names_of(x509.get()),
      .usages = usages_of(x509.get()),
      .tpm_model = tpm_model_of(x509.get()),
      .not_before = *not_before,
      .not_after = *not_after,
  });
  // Decodes and caches the extensions now, so that the object isn't changed by a verification on another thread.
  X509_check_purpose(x509.get(), -1, 0);
  if (const ASN1_OCTET_STRING* const id = X509_get0_subject_key_id(x509.get()))
    state->subject_key_id = to_vector(bytes_of(id));
  ERR_clear_error();
  state->x509 = std::move(x509);
  return Certificate(std::move(state));
}

Result<Certificate> Certificate::from_pem(std::string_view pem) {
  const OwnedBio bio = bio_of(as_bytes(pem));
  const OwnedX509 x509(bio ? PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!x509) return bad("no PEM certificate");
  const ByteVector bytes = encoded(x509.get(), &i2d_X509);
  if (bytes.empty()) return bad("certificate can't be encoded");
  return from_der(bytes);
}

const PublicKey& Certificate::key() const { return state_->key; }
const ByteVector& Certificate::der() const { return state_->der; }
const std::string& Certificate::subject() const { return state_->subject; }
const std::string& Certificate::issuer() const { return state_->issuer; }
const std::string& Certificate::common_name() const { return state_->common_name; }
const std::string& Certificate::serial() const { return state_->serial; }
const std::vector<std::string>& Certificate::alternative_names() const { return state_->names; }
const std::vector<std::string>& Certificate::extended_key_usage() const { return state_->usages; }
const Certificate::TpmModel& Certificate::tpm_model() const { return state_->tpm_model; }
std::int64_t Certificate::not_before() const { return state_->not_before; }
std::int64_t Certificate::not_after() const { return state_->not_after; }
const std::string& Certificate::fingerprint() const { return state_->fingerprint; }
const ByteVector& Certificate::subject_key_id() const { return state_->subject_key_id; }

CertificateNames certificate_names(X509* certificate) {
  constexpr std::size_t most = 64;
  CertificateNames out{name_text(X509_get_issuer_name(certificate)), names_of(certificate)};
  if (out.alternative_names.size() > most) out.alternative_names.resize(most);
  std::erase_if(out.alternative_names, [](const std::string& name) {
    return !name.starts_with("dns:") && !name.starts_with("email:") && !name.starts_with("uri:");
  });
  ERR_clear_error();
  return out;
}

std::string distinguished_name(Bytes der) {
  const unsigned char* p = as_uchar(der);
  const Owned<X509_NAME, X509_NAME_free> name(d2i_X509_NAME(nullptr, &p, long(der.size())));
  if (name && p == as_uchar(der) + der.size()) return name_text(name.get());
  ERR_clear_error();
  return {};
}

struct TrustAnchors::State {
  Owned<X509_STORE, X509_STORE_free> store;
  std::vector<OwnedX509> intermediates;
  std::size_t size = 0;
  bool revocation = false;
};

namespace {

bool self_signed(X509* certificate) {
  const bool own = X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
  ERR_clear_error();
  return own;
}

// OpenSSL's codes grouped into reasons that a test can compare; its own words go into the detail.
std::string_view reason_of(int code) {
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return "certificate has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "certificate is not yet valid";
    case X509_V_ERR_CERT_REVOKED: return "certificate is revoked";
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE: return "no current revocation list for the certificate's issuer";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED: return "certificate isn't issued by a configured CA";
    case X509_V_ERR_CERT_SIGNATURE_FAILURE: return "certificate's signature is wrong";
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN: return "an issuer in the path may not sign certificates";
    default: return "certificate path isn't valid";
  }
}

}  // namespace

Result<TrustAnchors> TrustAnchors::load(const std::string& ca, const std::string& crl) {
  auto state = std::make_shared<State>();
  state->store.reset(X509_STORE_new());
  if (!state->store) return fail(Fault::internal, "no memory for certificates");
  GH_TRY(std::vector<OwnedX509> certificates, certificates_at(ca));
  const bool any_root = std::any_of(certificates.begin(), certificates.end(),
                                    [](const OwnedX509& one) { return self_signed(one.get()); });
  for (OwnedX509& one : certificates) {
    X509_check_purpose(one.get(), -1, 0);
    if (!any_root || self_signed(one.get())) {
      if (X509_STORE_add_cert(state->store.get(), one.get()) != 1)
        return fail(Error{Fault::malformed, "CA certificate can't be used", "RFC 5280", 0, ca, {}});
      ++state->size;
    } else {
      state->intermediates.push_back(std::move(one));
    }
  }
  if (!crl.empty()) {
    GH_TRY(const ByteVector content, read_file(crl, max_x509_file_bytes));
    const auto lists = lists_in(content);
    if (lists.empty()) return fail(Error{Fault::malformed, "no certificate revocation list in this file", "RFC 5280 5", 0, crl, {}});
    for (const OwnedCrl& list : lists)
      if (X509_STORE_add_crl(state->store.get(), list.get()) != 1)
        return fail(Error{Fault::malformed, "revocation list can't be used", "RFC 5280 5", 0, crl, {}});
    state->revocation = true;
  }
  ERR_clear_error();
  return TrustAnchors(std::move(state));
}

namespace {

Result<void> may_sign(X509* leaf) {
  if ((X509_get_extension_flags(leaf) & EXFLAG_KUSAGE) != 0 && (X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE) == 0)
    return fail(Fault::denied, "certificate's key usage lacks digitalSignature", "RFC 5280 4.2.1.3");
  return {};
}

Result<void> may_decrypt(X509* leaf) {
  if ((X509_get_extension_flags(leaf) & EXFLAG_KUSAGE) != 0 &&
      (X509_get_key_usage(leaf) & (KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT)) == 0)
    return fail(Fault::denied, "certificate's key usage lacks keyEncipherment and keyAgreement", "TCG EK Credential Profile 3.2.7");
  return {};
}

}  // namespace

Result<void> TrustAnchors::verify(const Certificate& certificate, std::span<const Certificate> intermediates,
                                  std::int64_t now, std::string_view required_usage) const {
  GH_CHECK(may_sign(certificate.state_->x509.get()));
  return verify_path(certificate, intermediates, now, required_usage);
}

Result<std::optional<Certificate>> TrustAnchors::verified_issuer(const Certificate& certificate, std::span<const Certificate> intermediates,
                                                                 std::int64_t now, std::string_view required_usage) const {
  GH_CHECK(required_usage == ek_certificate_usage ? may_decrypt(certificate.state_->x509.get()) : may_sign(certificate.state_->x509.get()));
  ByteVector der;
  GH_CHECK(verify_path(certificate, intermediates, now, required_usage, &der));
  if (der.empty()) return std::nullopt;
  GH_TRY(Certificate issuer, Certificate::from_der(der));
  return issuer;
}

Result<void> TrustAnchors::verify_endorsement(const Certificate& certificate, std::span<const Certificate> intermediates,
                                              std::int64_t now) const {
  GH_CHECK(may_decrypt(certificate.state_->x509.get()));
  return verify_path(certificate, intermediates, now, ek_certificate_usage);
}

Result<void> TrustAnchors::verify_path(const Certificate& certificate, std::span<const Certificate> intermediates,
                                       std::int64_t now, std::string_view required_usage, ByteVector* issuer) const {
  X509* const leaf = certificate.state_->x509.get();
  if ((X509_get_extension_flags(leaf) & EXFLAG_CA) != 0) return fail(Fault::denied, "certificate is a CA's", "RFC 5280 4.2.1.9");
  const auto& usages = certificate.extended_key_usage();
  if (!required_usage.empty() && std::find(usages.begin(), usages.end(), required_usage) == usages.end())
    return fail(Error{Fault::denied, "certificate lacks the extended key usage asked for", "RFC 5280 4.2.1.12", 0, {},
                      std::string(required_usage)});

  const Owned<STACK_OF(X509), free_stack> untrusted(sk_X509_new_null());
  const Owned<X509_STORE_CTX, X509_STORE_CTX_free> context(X509_STORE_CTX_new());
  if (!untrusted || !context) return fail(Fault::internal, "no memory for certificates");
  for (const Certificate& one : intermediates) sk_X509_push(untrusted.get(), one.state_->x509.get());
  for (const OwnedX509& one : state_->intermediates) sk_X509_push(untrusted.get(), one.get());
  if (X509_STORE_CTX_init(context.get(), state_->store.get(), leaf, untrusted.get()) != 1)
    return fail(Fault::internal, "certificate verification can't start");
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context.get());
  unsigned long wanted = X509_V_FLAG_PARTIAL_CHAIN;
  if (state_->revocation) wanted |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
  X509_VERIFY_PARAM_set_flags(parameters, wanted);
  X509_VERIFY_PARAM_set_time(parameters, time_t(now));
  X509_VERIFY_PARAM_set_depth(parameters, 8);
  // 112 bits: RSA 2048, no SHA-1 signatures below the anchor.
  X509_VERIFY_PARAM_set_auth_level(parameters, 2);
  const int good = X509_verify_cert(context.get());
  const int code = X509_STORE_CTX_get_error(context.get());
  const STACK_OF(X509)* const path = good == 1 && issuer != nullptr ? X509_STORE_CTX_get0_chain(context.get()) : nullptr;
  if (path != nullptr && sk_X509_num(path) > 1) *issuer = encoded(sk_X509_value(path, 1), &i2d_X509);
  ERR_clear_error();
  if (good == 1) return {};
  return fail(Error{Fault::denied, reason_of(code), "RFC 5280 6", 0, {}, X509_verify_cert_error_string(code)});
}

std::size_t TrustAnchors::size() const { return state_->size; }

}  // namespace gatehouse
