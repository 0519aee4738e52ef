#include "fleet/collectors.h"

#include <algorithm>
#include <chrono>

namespace gatehouse::fleet {
namespace {

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

endpoint::OsInfo os_info(const std::string& product, const std::string& device) {
  endpoint::OsInfo out;
  const std::size_t space = product.find(' ');
  out.name = product.substr(0, space);
  if (space != std::string::npos) endpoint::set_version(out, product.substr(space + 1));
  out.product_vendor = endpoint::product_vendor(out.name);
  out.last_boot = "2026-01-01T00:00:00Z";
  out.forwarding = 0;
  out.device_id = device;
  return out;
}

}  // namespace

Collectors::Collectors(std::shared_ptr<const endpoint::SigningKey> ak, const std::string& product,
                       std::int64_t clock_from, std::shared_ptr<const Variant> variant)
    : ak_(std::move(ak)), clock_from_(clock_from) {
  change(std::move(variant));
  os_.emplace(os_info(product, ak_->key().key_id()));
  endpoint::AttestationConfig how;
  how.strongest = HashAlgorithm::sha256;  // what there is evidence for
  how.raw_vendor = std::nullopt;
  attestation_.emplace(how, *tpm_, *evidence_);
}

// The collector holds on to TPM and evidence: they change in their places.
void Collectors::change(std::shared_ptr<const Variant> variant) {
  if (!tpm_) {
    endpoint::SoftwareTpm::Options options;
    options.banks = {HashAlgorithm::sha256};
    tpm_.emplace(ak_, std::move(options));
    // Milliseconds since the fleet was made, so that no later run goes back.
    tpm_->set_clock({std::uint64_t(std::max<std::int64_t>(now_ms() - clock_from_, 1)), 1, 0, 1}, 1);
  }
  if (variant == variant_) return;
  variant_ = std::move(variant);
  tpm_->set_pcrs(*variant_->tpm);
  endpoint::FixedEvidence evidence(
      variant_->boot, variant_->list, std::nullopt,
      {{"/bin", "/usr/bin"}, {"/lib", "/usr/lib"}, {"/lib64", "/usr/lib64"}, {"/sbin", "/usr/sbin"}});
  if (evidence_) {
    *evidence_ = std::move(evidence);
  } else {
    evidence_.emplace(std::move(evidence));
  }
}

}  // namespace gatehouse::fleet
