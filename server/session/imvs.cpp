#include "server/session/imvs.h"

#include "server/imv/attestation/attestation_imv.h"
#include "server/imv/enrolment/enrolment_imv.h"
#include "server/imv/os/os_imv.h"
#include "server/imv/scanner/scanner_imv.h"
#include "server/imv/swima/swima_imv.h"
#include "server/imv/test/test_imv.h"

namespace gatehouse::server {

std::vector<std::unique_ptr<Imv>> make_imvs(Conversation& c) {
  std::vector<std::unique_ptr<Imv>> out;
  out.push_back(std::make_unique<OsImv>(1, c));
  out.push_back(std::make_unique<SwimaImv>(2, c));
  out.push_back(std::make_unique<AttestationImv>(3, c));
  out.push_back(std::make_unique<ScannerImv>(4, c));
  out.push_back(std::make_unique<EnrolmentImv>(6, c));
  if (c.settings.test_imv) out.push_back(std::make_unique<TestImv>(5, c));
  return out;
}

}  // namespace gatehouse::server
