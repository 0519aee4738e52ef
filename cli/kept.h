// What commands share that judge kept evidence again: getting it, and the references that it was judged by.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "cli/state_access.h"
#include "server/evidence/kept.h"

namespace gatehouse::cli {

struct KeptSession {
  std::string verdict;         // as it is recorded
  std::string policy;          // version that it was judged by
  boost::json::object record;  // who, when and from where
  server::EvidenceRecord evidence;
};

// Environment faults: none is kept, or the state can't be read.
Result<KeptSession> fetch_kept(server::StateAccess& access, const std::string& session);
Result<std::shared_ptr<const evidence::Kept>> decode(const KeptSession& session);

// Generations of one store, each opened once.
class Generations {
 public:
  // Empty: none is known, and evidence that was judged by one can't be judged.
  explicit Generations(std::string refdb) : refdb_(std::move(refdb)) {}
  // Null where the session was judged without references. Another store that happens to have this number is an error.
  Result<std::shared_ptr<const refdb::View>> of(const evidence::Kept& kept);
  // Another one in the place of each.
  Result<std::shared_ptr<const refdb::View>> of(const evidence::Kept& kept, std::uint64_t instead);

 private:
  Result<std::shared_ptr<const refdb::View>> opened(std::uint64_t generation);
  std::string refdb_;
  std::map<std::uint64_t, std::shared_ptr<const refdb::View>> open_;
};

// The one of the option; else the configuration's; else empty.
Result<std::string> refdb_of(const std::string& option, const StateOptionsOfCommand& where);

}  // namespace gatehouse::cli
