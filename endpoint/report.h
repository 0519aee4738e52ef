// What an assessment came to, for people and for programs.
#pragma once

#include <string>
#include <vector>

#include "endpoint/client/tnc_client.h"

namespace gatehouse::endpoint {

// One JSON object, without a line end.
// `gateway`: what RADIUS said, where it went that way.
std::string outcome_json(const Outcome& outcome, const std::string& device, const std::vector<std::string>& warnings,
                         const std::vector<std::string>& gateway = {});
std::string outcome_text(const Outcome& outcome, const std::vector<std::string>& gateway = {});

}  // namespace gatehouse::endpoint
