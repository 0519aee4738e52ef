#include "endpoint/report.h"

#include <algorithm>

#include "base/hex.h"
#include "endpoint/commands.h"

namespace gatehouse::endpoint {

std::string outcome_json(const Outcome& o, const std::string& device, const std::vector<std::string>& warnings,
                         const std::vector<std::string>& gateway) {
  std::string components;
  for (const Assessment& a : o.components)
    components += (components.empty() ? "" : ", ") + std::string("{\"component\": ") + json(a.component) +
                  ", \"assessment\": " + json(name(Evaluation(std::min<std::uint32_t>(a.result, 4)))) +
                  ", \"remediation\": " + json(a.remediation) + "}";
  return "{\"recommendation\": " + json(name(o.recommendation)) + ", \"assessment\": " + json(name(o.assessment)) +
         ", \"reasons\": " + json(o.reasons) + ", \"components\": [" + components + "], \"device\": " + json(device) +
         ", \"warnings\": " + json(warnings) + (gateway.empty() ? "" : ", \"radius\": " + json(gateway)) + "}";
}

std::string outcome_text(const Outcome& o, const std::vector<std::string>& gateway) {
  std::string out = std::string(name(o.recommendation)) + "\nassessment: " + std::string(name(o.assessment)) + "\n";
  for (const std::string& reason : o.reasons) out += "reason: " + escaped(reason) + "\n";
  for (const Assessment& a : o.components)
    for (const std::string& remediation : a.remediation)
      out += "remediation (" + a.component + "): " + escaped(remediation) + "\n";
  for (const std::string& line : gateway) out += "radius: " + escaped(line) + "\n";
  return out;
}

}  // namespace gatehouse::endpoint
