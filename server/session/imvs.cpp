#include "server/session/imvs.h"

#include <algorithm>

#include "server/imv/attestation/attestation_imv.h"
#include "server/imv/os/os_imv.h"

namespace gatehouse::server {

std::vector<std::unique_ptr<Imv>> make_imvs(Conversation& c) {
  std::vector<std::unique_ptr<Imv>> out;
  out.push_back(std::make_unique<OsImv>(1, c));
  out.push_back(std::make_unique<AttestationImv>(3, c));
  return out;
}

ImvResult combine(const ImvResult& a, const ImvResult& b) {
  using enum pipeline::Recommendation;
  const auto strictness = [](pipeline::Recommendation r) { return r == block ? 3 : r == isolate ? 2 : r == allow ? 1 : 0; };
  const auto badness = [](pipeline::Evaluation e) { return e == pipeline::Evaluation::unknown ? -1 : int(e); };
  return {std::max(a.recommendation, b.recommendation, [&](auto x, auto y) { return strictness(x) < strictness(y); }),
          std::max(a.evaluation, b.evaluation, [&](auto x, auto y) { return badness(x) < badness(y); })};
}

}  // namespace gatehouse::server
