// libraries: gatehouse_policy
// A policy file: it is refused with at least one mistake on one line each, or every device gets a plan from it.
#include <cstdlib>

#include "server/policy/work_items.h"

using namespace gatehouse;
using namespace gatehouse::server::policy;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto policy =
      parse_policy(text, "policy.toml", [&](const std::string&) -> Result<std::string> { return std::string(text); });
  if (!policy) {
    if (policy.error().list.empty()) std::abort();
    for (const Mistake& m : policy.error().list)
      if (m.text().find('\n') != std::string::npos) std::abort();
    return 0;
  }
  DeviceFacts device;
  device.device = "d1";
  device.product = "Debian 12 x86_64";
  for (const Standing standing : {Standing::unknown, Standing::claimed, Standing::authenticated}) {
    device.standing = standing;
    const Plan plan = work_items(**policy, device, {});
    if (plan.denied != plan.items.empty() && plan.denied) std::abort();
    if (plan.items.size() > max_work_items + 1) std::abort();
  }
  return 0;
}
