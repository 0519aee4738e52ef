// A TPM that is opened when it is asked something, and closed again by release(): /dev/tpm0 and simulators have one
// user at a time, and others must not wait for an endpoint that only waits itself.
#pragma once

#include <functional>
#include <memory>

#include "endpoint/tpm/tpm.h"

namespace gatehouse::endpoint {

class TpmOnDemand final : public Tpm {
 public:
  using Open = std::function<Result<std::unique_ptr<Tpm>>()>;
  // Opens it, and knows the attestation key from then on.
  static Result<std::unique_ptr<TpmOnDemand>> make(Open open) {
    GH_TRY(auto tpm, open());
    return std::unique_ptr<TpmOnDemand>(new TpmOnDemand(std::move(open), std::move(tpm)));
  }
  void release() { tpm_.reset(); }
  bool held() const { return tpm_ != nullptr; }

  const PublicKey& ak() const override { return ak_; }
  ByteVector public_area() const override { return area_; }
  Result<TpmProperties> properties() override {
    GH_CHECK(hold());
    return tpm_->properties();
  }
  Result<std::vector<HashAlgorithm>> banks() override {
    GH_CHECK(hold());
    return tpm_->banks();
  }
  Result<Digest> read_pcr(HashAlgorithm bank, std::uint32_t pcr) override {
    GH_CHECK(hold());
    return tpm_->read_pcr(bank, pcr);
  }
  Result<Quote> quote(Bytes qualifying_data, HashAlgorithm bank, std::uint32_t pcrs) override {
    GH_CHECK(hold());
    return tpm_->quote(qualifying_data, bank, pcrs);
  }

 private:
  TpmOnDemand(Open open, std::unique_ptr<Tpm> tpm) : open_(std::move(open)), tpm_(std::move(tpm)), ak_(tpm_->ak()), area_(tpm_->public_area()) {}
  // The server knows this machine by the key that it had.
  Result<void> hold() {
    if (tpm_) return {};
    GH_TRY(auto tpm, open_());
    if (tpm->ak().pin() != ak_.pin()) return fail(Fault::environment, "another attestation key is at the handle now");
    tpm_ = std::move(tpm);
    return {};
  }
  Open open_;
  std::unique_ptr<Tpm> tpm_;
  PublicKey ak_;
  ByteVector area_;
};

}  // namespace gatehouse::endpoint
