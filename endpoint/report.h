// What an assessment came to, for people and for programs.
#pragma once

#include <string>
#include <vector>

#include "endpoint/client/tnc_client.h"

namespace gatehouse::endpoint {

// One JSON object, without a line end.
std::string outcome_json(const Outcome& outcome, const std::string& device, const std::vector<std::string>& warnings);
std::string outcome_text(const Outcome& outcome);

}  // namespace gatehouse::endpoint
