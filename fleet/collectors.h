// What an endpoint of the fleet has to say, whatever carries it: a software TPM, its image's evidence, and the collectors.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "endpoint/imc/attestation/attestation_imc.h"
#include "endpoint/imc/os/os_imc.h"
#include "fleet/evidence.h"

namespace gatehouse::fleet {

class Collectors {
 public:
  // clock_from: milliseconds since 1970 at which the TPM's clock was 0.
  Collectors(std::shared_ptr<const endpoint::SigningKey> ak, const std::string& product, std::int64_t clock_from,
             std::shared_ptr<const Variant> variant);
  Collectors(const Collectors&) = delete;
  Collectors& operator=(const Collectors&) = delete;

  // Other evidence from now on.
  void change(std::shared_ptr<const Variant> variant);
  std::vector<endpoint::Imc*> imcs() { return {&*os_, &*attestation_}; }

 private:
  const std::shared_ptr<const endpoint::SigningKey> ak_;
  const std::int64_t clock_from_;
  std::shared_ptr<const Variant> variant_;
  std::optional<endpoint::SoftwareTpm> tpm_;
  std::optional<endpoint::FixedEvidence> evidence_;
  std::optional<endpoint::OsImc> os_;
  std::optional<endpoint::AttestationImc> attestation_;
};

}  // namespace gatehouse::fleet
