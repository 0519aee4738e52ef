// The software of this machine as a SWIMA collector tells it: endpoint/inventory behind the collector's seam.
#pragma once

#include <functional>
#include <vector>

#include "endpoint/imc/swima/software_source.h"
#include "endpoint/inventory/inventory.h"

namespace gatehouse::endpoint {

class InstalledSoftware final : public SoftwareSource {
 public:
  // `now`: seconds since 1970.
  InstalledSoftware(Inventory inventory, std::function<std::int64_t()> now)
      : inventory_(std::move(inventory)), now_(std::move(now)) {}

  Result<void> refresh() override;
  std::uint32_t epoch() const override { return inventory_.epoch(); }
  std::uint32_t last_eid() const override { return inventory_.last_eid(); }
  bool has_events_from(std::uint32_t eid) const override { return inventory_.has_events_from(eid); }
  std::vector<Source> sources() const override;
  void installed(swima::Content content, const Each& each) const override;
  void records_of(std::string_view identifier, const Each& each) const override;
  void events(std::uint32_t from, swima::Content content, const EachEvent& each) const override;

  const Inventory& inventory() const { return inventory_; }
  // Of the latest look: what couldn't be read.
  const std::vector<Error>& warnings() const { return warnings_; }

 private:
  Inventory inventory_;
  std::function<std::int64_t()> now_;
  std::vector<Error> warnings_;
};

}  // namespace gatehouse::endpoint
