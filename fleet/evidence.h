// What endpoints of a fleet have to say, made once and shared: evidence by image, and what their TPMs then hold.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "endpoint/imc/attestation/evidence.h"
#include "endpoint/tpm/software.h"
#include "fleet/fleet.h"
#include "fleet/run.h"

namespace gatehouse::fleet {

// An image as an endpoint has it: with so many further entries, and with what isn't as it should be.
struct Variant {
  endpoint::SharedEvidence boot, list;
  std::shared_ptr<const endpoint::SoftwareTpm> tpm;  // its PCRs
};

class Variants {
 public:
  static Result<std::unique_ptr<Variants>> load(const Fleet& fleet);
  // honest: `grown` entries of ima.more besides, all of them where there are fewer. changed: a file has other content.
  // forged: so it has, and the list says it hasn't. Safe for concurrent use.
  Result<std::shared_ptr<const Variant>> get(std::uint32_t image, Manner manner, std::uint32_t grown);

 private:
  explicit Variants(const Fleet& fleet) : fleet_(fleet) {}
  Result<std::shared_ptr<const Variant>> make(std::uint32_t image, Manner manner, std::uint32_t grown) const;
  const Fleet fleet_;
  std::vector<Image> images_;
  std::vector<std::vector<std::size_t>> more_ends_;  // of each image: where entries of `more` end
  std::mutex mutex_;
  std::map<std::tuple<std::uint32_t, Manner, std::uint32_t>, std::shared_ptr<const Variant>> made_;
};

}  // namespace gatehouse::fleet
