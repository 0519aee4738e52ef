// libraries: gatehouse_verdict
// A firmware log under rules of every kind: those that only data with its own digest can meet come to "failed",
// whatever the log says.
#include <cstdlib>

#include "pipeline/verdict/log_checks.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<pipeline::EvidenceRulesPtr> rules = [] {
    pipeline::EvidenceRules r;
    const Digest unmet = Digest::filled(32, std::byte{0x5A});
    r.name = "fuzz";
    r.firmware.revoked = {{unmet}};
    r.firmware.authorities = {{unmet}};
    r.firmware.boot_loaders = {{unmet}};
    r.firmware.sbat = {{{"shim", 4'294'967'295}}};
    r.firmware.command_line = {{{"no*such=*word", "b=?"}, {"*init*=*sh*"}}};
    return std::vector<pipeline::EvidenceRulesPtr>{std::make_shared<const pipeline::EvidenceRules>(std::move(r))};
  }();
  eventlog::Cursor cursor;
  cursor.feed({reinterpret_cast<const std::byte*>(data), size});
  cursor.end();
  pipeline::LogChecks checks(HashAlgorithm::sha256, rules);
  for (;;) {
    const auto event = cursor.next();
    if (!event || *event == nullptr) break;
    checks.see(**event, cursor.format());
  }
  std::map<std::string, pipeline::Status> codes;
  std::vector<pipeline::Finding> findings;
  checks.finish(codes, findings);
  for (const char* code : {"L7", "L11", "L12"})
    if (codes[code] != pipeline::Status::failed) std::abort();
  return 0;
}
