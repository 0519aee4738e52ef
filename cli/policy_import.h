// strongTNC's groups and enforcements as a policy file.
#pragma once

#include <string>
#include <vector>

#include "refdb/ingest/strongtnc.h"

namespace gatehouse::cli {

// TOML that policy::parse_policy() reads, as far as the groups can be said: what can't stands in a comment with the reason,
// and in `left_out`.
std::string policy_text(const std::vector<refdb::StrongTncGroup>& groups, const std::string& source, std::vector<std::string>& left_out);

}  // namespace gatehouse::cli
