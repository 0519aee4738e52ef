// Rules of the policy over a session: evidence that keeps to them is allowed, evidence that doesn't isolates, and so
// does a client that can't show what they are about.
#include <gtest/gtest.h>

#include "base/hex.h"
#include "tests/pipeline_quote/signer.h"
#include "tests/server_attestation/hand_client.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/signature.h"

namespace gatehouse::test {
namespace {

namespace raw = pts::raw;
using pipeline::Status;
using testing::Signer;
constexpr std::uint16_t everything = raw::part_firmware_log | raw::part_ima_list | raw::part_quote;

// What the recorded machine's firmware measured, as an operator reads it from its log.
struct Firmware {
  std::string authorities, boot_loaders, revoked;
};
std::string quoted(const Digest& digest) { return "\"sha256:" + digest.hex() + "\","; }
Firmware firmware_of(Bytes log) {
  Firmware out;
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  for (auto event = cursor.next(); event && *event != nullptr; event = cursor.next()) {
    const eventlog::Event& e = **event;
    const auto variable = eventlog::parse_uefi_variable(e.data);
    if (e.pcr == 4 && e.type == 0x80000003) out.boot_loaders += quoted(Digest(e.digest(HashAlgorithm::sha256)->value));
    if (e.pcr != 7 || !variable) continue;
    if (e.type == 0x800000E0 && variable->name != "SbatLevel")
      out.authorities += quoted(
          digest_of(HashAlgorithm::sha256, variable->name == "db" ? variable->data.subspan(16) : variable->data));
    if (variable->name == "dbx" && out.revoked.empty())
      out.revoked = quoted(Digest(variable->data.subspan(28 + 16, 32)));
  }
  return out;
}

class Rules : public ::testing::Test {
 protected:
  Rules() : machine_(machine()), firmware_(firmware_of(machine_.log)) {
    world_.enrol(machine_.tpm->ak(), device());
    options_.raw_parts = everything;
  }
  std::string device() const { return machine_.tpm->ak().key_id(); }
  void approve_firmware() {
    hold(world_, machine_, options_);
    world_.approve(device());
  }
  void demand(const std::string& rules, const std::string& pem = {}) {
    auto policy =
        server::policy::parse_policy("[policy]\nrules = \"r\"\n" + rules + "[groups.all]\nask = [\"TPMRA\"]\n",
                                     "policy.toml", [&](const std::string&) -> Result<std::string> { return pem; });
    ASSERT_TRUE(policy) << policy.error().list.front().text();
    world_.settings.policy = *policy;
  }
  // "L10 L12": the checks of L6-L12 that failed.
  std::string attest() {
    out_ = hold(world_, machine_, options_);
    std::string failed;
    for (const char* code : {"L6", "L7", "L8", "L9", "L10", "L11", "L12"})
      if (check(code) == Status::failed) failed += (failed.empty() ? "" : " ") + std::string(code);
    return failed;
  }
  Status check(const std::string& code) const {
    const auto at = out_.verdict->checks.find(code);
    return at == out_.verdict->checks.end() ? Status::absent : at->second;
  }
  bool allowed() const { return out_.recommendation == 1; }
  bool isolated() const { return out_.recommendation == 3; }

  World world_;
  Machine machine_;
  Firmware firmware_;
  HandOptions options_;
  HandOutcome out_;
};

TEST_F(Rules, AMachineThatKeepsToThemIsAllowed) {
  approve_firmware();
  demand("[rules.r.firmware]\nsecure_boot = \"required\"\ndebug = \"refused\"\nrevoked = [" + firmware_.revoked +
         "]\nauthorities = [" + firmware_.authorities + "]\nboot_loaders = [" + firmware_.boot_loaders +
         "]\nsbat = [\"shim,2\", \"grub.debian,4\"]\ncommand_line = { require = [\"ima_policy=*\"], forbid = "
         "[\"init=*\"] }\n");
  EXPECT_EQ(attest(), "");
  EXPECT_TRUE(allowed()) << pipeline::to_json(*out_.verdict).substr(0, 2000);
  for (const char* code : {"L6", "L7", "L8", "L9", "L10", "L11", "L12"}) EXPECT_EQ(check(code), Status::ok) << code;
}

TEST_F(Rules, EachOneThatIsBrokenIsolates) {
  approve_firmware();
  const std::string other = "\"" + std::string(64, '7') + "\"";
  const std::pair<std::string, std::string> broken[] = {{"revoked = [" + other + "]", "L7"},
                                                        {"authorities = [" + other + "]", "L8"},
                                                        {"boot_loaders = [" + other + "]", "L10"},
                                                        {"sbat = [\"shim,4\"]", "L11"},
                                                        {"command_line = { require = [\"lockdown=*\"] }", "L12"},
                                                        {"command_line = { forbid = [\"quiet\"] }", "L12"}};
  for (const auto& [rule, code] : broken) {
    demand("[rules.r.firmware]\n" + rule + "\n");
    EXPECT_EQ(attest(), code);
    EXPECT_TRUE(isolated()) << rule;
    EXPECT_EQ(out_.verdict->quote.status, Status::ok);
    EXPECT_EQ(out_.verdict->findings.front().reason.substr(0, code.size() + 1), code + ":");
  }
  demand("[rules.r.firmware]\nsbat = [\"shim,2\"]\n");
  EXPECT_EQ(attest(), "");
  EXPECT_TRUE(allowed()) << "the same machine, under another policy";
}

// What can be escaped by not showing it is no rule.
TEST_F(Rules, AClientWithoutRawEvidenceCanNotMeetThoseOfTheFirmware) {
  approve_firmware();
  options_.raw_parts = 0;
  demand("[rules.r.firmware]\nboot_loaders = [" + firmware_.boot_loaders + "]\n");
  attest();
  EXPECT_TRUE(isolated());
  EXPECT_EQ(check("L10"), Status::absent);
  const auto& findings = out_.verdict->findings;
  EXPECT_TRUE(std::any_of(findings.begin(), findings.end(), [](const pipeline::Finding& f) {
    return f.status == Status::absent && f.reason.starts_with("L10: the policy's rules need the firmware log as it is");
  }));
  demand("[rules.r.ima]\nviolations = \"reported\"\n");
  attest();
  EXPECT_TRUE(allowed()) << "rules that ask nothing of the firmware";
  options_.raw_parts = raw::part_ima_list | raw::part_quote;
  demand("[rules.r.firmware]\nboot_loaders = [" + firmware_.boot_loaders + "]\n");
  attest();
  EXPECT_TRUE(isolated()) << "the log is what is missing";
}

TEST_F(Rules, SignaturesBuffersAndViolationsOfAList) {
  const Signer vendor = Signer::ecc();
  const Digest content = digest_of(HashAlgorithm::sha256, as_bytes("tool"));
  const ByteVector command = to_vector(as_bytes("root=/dev/sda1 ro"));
  const Digest of_command = digest_of(HashAlgorithm::sha256, command);
  ima::Signature s;
  s.hash = HashAlgorithm::sha256;
  const Digest subject = vendor.key().subject_key_id();
  for (const std::byte b : subject.view().last(4)) s.key_id = s.key_id << 8 | std::to_integer<std::uint32_t>(b);
  const ByteVector value = vendor.sign(as_bytes("tool"));
  s.value = value;
  Writer signature, list;
  ima::append_signature(signature, s);
  list.put_bytes(machine_.list);
  append_entry(list, "ima-sig",
               {list_field("sha256:", content.view()), list_field("/opt/tool"), to_vector(signature.view())});
  append_entry(list, "ima-buf", {list_field("sha256:", of_command.view()), list_field("kexec-cmdline"), command});
  append_entry(list, "ima-ng", {list_field("sha256:", ByteVector(32)), list_field("/var/log/syslog")}, true);
  machine_.reboot(to_vector(list.view()));
  approve_firmware();
  attest();
  const pipeline::Counters plain = out_.verdict->ima;

  demand("[rules.r.ima]\nsignature_keys = [\"k\"]\nbuffers = { \"kexec-cmdline\" = [" + quoted(of_command) + "] }\n",
         vendor.key().pem());
  attest();
  EXPECT_TRUE(allowed());
  EXPECT_EQ(out_.verdict->ima.ok, plain.ok + 2);
  EXPECT_EQ(out_.verdict->ima.unknown, plain.unknown - 2);

  demand("[rules.r.ima]\nsignature_keys = [\"k\"]\nrequire_signature = [\"/opt/*\"]\n", vendor.key().pem());
  attest();
  EXPECT_TRUE(allowed());
  demand("[rules.r.ima]\nsignature_keys = [\"k\"]\nrequire_signature = [\"/opt/*\"]\n", Signer::ecc().key().pem());
  attest();
  EXPECT_TRUE(isolated());
  EXPECT_EQ(out_.verdict->ima.failed, 1U);
  demand("[rules.r.ima]\nother_buffers = \"refused\"\n");
  attest();
  EXPECT_TRUE(isolated());
  demand("[rules.r.ima]\nviolations = \"refused\"\n");
  attest();
  EXPECT_TRUE(isolated());
  EXPECT_EQ(out_.verdict->ima.failed, 1U);
}

// Rules are those of the policy that an assessment begins with.
TEST_F(Rules, AChangeOfThePolicyCountsFromTheNextAssessmentOn) {
  approve_firmware();
  demand("[rules.r.firmware]\nsbat = [\"shim,2\"]\n");
  attest();
  EXPECT_TRUE(allowed());
  demand("[rules.r.firmware]\nsbat = [\"shim,3\"]\n");
  EXPECT_EQ(attest(), "L11");
  EXPECT_TRUE(isolated());
}

}  // namespace
}  // namespace gatehouse::test
