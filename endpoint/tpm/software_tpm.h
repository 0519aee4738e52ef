// A TPM in software for tests, load and benchmarks: signs TPMS_ATTEST structures with an OpenSSL key over PCR values that
// the caller sets. No substitute for a TPM: the key is in memory.
#pragma once

#include <functional>
#include <map>

#include "endpoint/tpm/device.h"

namespace gatehouse::endpoint {

class SoftwareTpm final : public Tpm {
 public:
  static Result<std::unique_ptr<SoftwareTpm>> make(AkKind kind);
  ~SoftwareTpm() override;

  // A PCR that isn't set holds zeros.
  void set_pcr(HashAlgorithm bank, std::uint32_t pcr, const Digest& value) { pcrs_[bank][pcr] = value; }
  // Called with the TPMS_ATTEST before it is signed: a test can make exactly one thing wrong.
  std::function<void(ByteVector&)> before_signing;
  void reboot() { ++reset_count_; }

  TpmInfo info() const override { return {164, 2019, 0x47415445}; }
  const std::vector<HashAlgorithm>& banks() const override { return banks_; }
  const PublicKey& ak() const override { return *key_; }
  Result<Quote> quote(HashAlgorithm bank, std::uint32_t pcrs, Bytes nonce) override;

 private:
  SoftwareTpm() = default;
  struct Signer;
  std::unique_ptr<Signer> signer_;
  std::optional<PublicKey> key_;
  std::vector<HashAlgorithm> banks_{std::begin(common_banks), std::end(common_banks)};
  std::map<HashAlgorithm, std::map<std::uint32_t, Digest>> pcrs_;
  std::uint64_t clock_ = 1000;
  std::uint32_t reset_count_ = 1;
};

}  // namespace gatehouse::endpoint
