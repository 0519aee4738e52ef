// X.509 certificates of attestation keys: reading them, and validating them against the CAs that the operator named
// (RFC 5280 section 6). OpenSSL stays behind this header. Objects are immutable; many threads may use them.
//
//   GH_TRY(const auto anchors, TrustAnchors::load("ak-ca.pem", "ak-ca.crl"));   // once, at start and reload
//   GH_TRY(const auto certificate, Certificate::from_der(value));
//   GH_CHECK(anchors.verify(certificate, {}, now));
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/public_key.h"

struct x509_st;

namespace gatehouse {

class Certificate {
 public:
  static Result<Certificate> from_der(Bytes der);  // trailing bytes are malformed
  static Result<Certificate> from_pem(std::string_view pem);  // the first certificate

  const PublicKey& key() const;
  const ByteVector& der() const;
  const std::string& subject() const;  // RFC 2253 text, escaped: "CN=device 7,O=Example"
  const std::string& issuer() const;
  const std::string& common_name() const;  // of the subject, empty where there is none or more than one
  const std::string& serial() const;   // lower-case hex
  // "dns:…", "email:…", "uri:…", "ip:…", "dirname:…", in the certificate's order; other kinds are left out.
  const std::vector<std::string>& alternative_names() const;
  // Dotted OIDs of the extended key usage; empty: the extension is absent.
  const std::vector<std::string>& extended_key_usage() const;
  // Of a TPM's certificate, as its alternative name has it (TCG EK Credential Profile 3.2.9); what it hasn't is empty.
  struct TpmModel {
    std::string manufacturer, model, version;  // "id:49424D00", "swtpm", "id:20191023"; escaped
  };
  const TpmModel& tpm_model() const;
  std::int64_t not_before() const;  // seconds since 1970
  std::int64_t not_after() const;
  // SHA-256 of the DER in lower-case hex: what to cache a judgement by.
  const std::string& fingerprint() const;
  // Content of the subject key identifier extension; empty: there is none.
  const ByteVector& subject_key_id() const;

 private:
  friend class TrustAnchors;
  struct State;
  explicit Certificate(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

// What policies tell a device's certificate apart by besides its subject.
struct CertificateNames {
  std::string issuer;                          // RFC 2253 text, escaped; empty: no certificate
  std::vector<std::string> alternative_names;  // "dns:…", "email:…", "uri:…": of the first 64 those of these kinds
  friend bool operator==(const CertificateNames&, const CertificateNames&) = default;
};
// Of one that OpenSSL has read already: reading it once more would decode its key again.
CertificateNames certificate_names(x509_st* certificate);

// A DER Name as RFC 2253 text, escaped, as Certificate::subject has it; empty: it is none.
std::string distinguished_name(Bytes der);

inline constexpr std::string_view ak_certificate_usage = "2.23.133.8.3";  // tcg-kp-AIKCertificate
inline constexpr std::string_view ek_certificate_usage = "2.23.133.8.1";  // tcg-kp-EKCertificate

class TrustAnchors {
 public:
  // `ca`: a PEM file of CA certificates, or a directory whose *.pem, *.crt, *.cer (PEM or DER) are read. Self-signed
  // ones are anchors, others are intermediates; where none is self-signed, all are anchors.
  // `crl`: a PEM or DER file, or empty. With it every certificate of a path must be covered by a current list.
  static Result<TrustAnchors> load(const std::string& ca, const std::string& crl = {});

  // The path from `certificate` to an anchor at the time `now` (seconds since 1970): signatures, validity dates,
  // basicConstraints, path length, name constraints, unknown critical extensions; the certificate itself: no CA, keyUsage
  // digitalSignature where the extension is there, and `required_usage` (an OID) where given; revocation with a CRL.
  // Fault::denied with the reason as literal and OpenSSL's words as detail; Fault::environment for what is ours.
  Result<void> verify(const Certificate& certificate, std::span<const Certificate> intermediates, std::int64_t now,
                      std::string_view required_usage = {}) const;
  // The same, and who issued it in that path; absent: it is an anchor itself. With ek_certificate_usage its key usage is that
  // of an endorsement key, as verify_endorsement() has it.
  Result<std::optional<Certificate>> verified_issuer(const Certificate& certificate, std::span<const Certificate> intermediates,
                                                     std::int64_t now, std::string_view required_usage = {}) const;
  // The same of a TPM's endorsement key, which decrypts: keyUsage keyEncipherment or keyAgreement where the extension is
  // there, and the extended key usage tcg-kp-EKCertificate.
  Result<void> verify_endorsement(const Certificate& certificate, std::span<const Certificate> intermediates,
                                  std::int64_t now) const;
  std::size_t size() const;

 private:
  // `issuer`: where its DER goes; null: nobody wants it.
  Result<void> verify_path(const Certificate& certificate, std::span<const Certificate> intermediates, std::int64_t now,
                           std::string_view required_usage, ByteVector* issuer = nullptr) const;
  struct State;
  explicit TrustAnchors(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace gatehouse
