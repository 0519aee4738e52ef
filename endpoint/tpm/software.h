// A TPM in memory: PCR banks and an attestation key of OpenSSL. It proves nothing to anybody; it makes the same bytes.
//
//   GH_TRY(const auto key, SigningKey::generate(KeyAlgorithm::ecc));
//   SoftwareTpm tpm(key);
//   tpm.startup(3);
//   GH_CHECK(tpm.extend_event_log(log));
//   GH_CHECK(tpm.extend_ima_list(list));
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "endpoint/tpm/tpm.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::endpoint {

// A private key that signs; made once and shared by many TPMs where a test wants that.
class SigningKey {
 public:
  static Result<std::shared_ptr<const SigningKey>> generate(KeyAlgorithm algorithm);
  // PEM private key; an RSA key signs by `algorithm`.
  static Result<std::shared_ptr<const SigningKey>> from_pem(std::string_view pem,
                                                            KeyAlgorithm rsa = KeyAlgorithm::rsassa);
  ~SigningKey();

  const PublicKey& key() const;
  std::string pem() const;  // PKCS #8
  // TPMT_PUBLIC, as a TPM would make it for a restricted signing key of its own.
  const ByteVector& public_area() const;
  // TPMT_SIGNATURE with SHA-256. An ECDSA r and s are as long as the field.
  Result<ByteVector> sign(Bytes message) const;

 private:
  struct State;
  explicit SigningKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class SoftwareTpm final : public Tpm {
 public:
  struct Options {
    std::vector<HashAlgorithm> banks = {HashAlgorithm::sha1, HashAlgorithm::sha256, HashAlgorithm::sha384,
                                        HashAlgorithm::sha512};
    TpmProperties properties{0x49424D00, 164, 2021};  // "IBM\0", as libtpms says
    std::uint64_t firmware_version = 0x2019102300163636;
    tpm::ClockInfo clock{81'407, 7, 0, 1};
  };
  explicit SoftwareTpm(std::shared_ptr<const SigningKey> key) : SoftwareTpm(std::move(key), Options{}) {}
  SoftwareTpm(std::shared_ptr<const SigningKey> key, Options options);

  // TPM2_Startup(CLEAR) at a locality: PCRs as after a reset, 17 to 22 all ones, PCR 0 with the locality in its last
  // byte.
  void startup(std::uint8_t locality = 0);
  void extend(std::uint32_t pcr, HashAlgorithm bank, Bytes digest);
  // As firmware and kernel do: each digest that an event has; each list entry in every bank, violations as all ones.
  Result<void> extend_event_log(Bytes log);
  Result<void> extend_ima_list(Bytes list);
  // PCRs as another has them, that did all this before.
  void set_pcrs(const SoftwareTpm& other) { pcrs_ = other.pcrs_; }
  // The clock goes on by this much with each quote.
  void set_clock(tpm::ClockInfo clock, std::uint64_t step_ms = 10) { options_.clock = clock, step_ms_ = step_ms; }
  const tpm::ClockInfo& clock() const { return options_.clock; }
  // TPM2B_NAME content that quotes claim as their signer.
  const ByteVector& qualified_signer() const { return signer_; }

  const PublicKey& ak() const override { return key_->key(); }
  ByteVector public_area() const override { return key_->public_area(); }
  Result<TpmProperties> properties() override { return options_.properties; }
  Result<std::vector<HashAlgorithm>> banks() override { return options_.banks; }
  Result<Digest> read_pcr(HashAlgorithm bank, std::uint32_t pcr) override;
  Result<Quote> quote(Bytes qualifying_data, HashAlgorithm bank, std::uint32_t pcrs) override;

 private:
  std::shared_ptr<const SigningKey> key_;
  Options options_;
  std::uint64_t step_ms_ = 10;
  ByteVector signer_;
  std::map<HashAlgorithm, std::vector<Digest>> pcrs_;
};

}  // namespace gatehouse::endpoint
