// [rules.NAME]: what they come to, whom they apply to, and what is said of mistakes in them.
#include "server/policy/rules.h"

#include <gmock/gmock.h>

#include "base/hex.h"
#include "base/writer.h"
#include "tests/server_policy/support.h"

namespace gatehouse::server::policy {
namespace {

using pipeline::EvidenceRules;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

const std::string sha256_digits(64, 'a'), sha1_digits(40, 'b'), sha384_digits(96, 'c');

// The policy's folder, in memory; keys are those of the recorded endpoints.
Result<std::string> read(const std::string& path) {
  static const std::map<std::string, std::string> files{
      {"dbx.txt", "# the list of 2023\n" + sha256_digits + "  # an image\r\n\n\tsha256:" + std::string(64, 'd') + "\n"},
      {"bad.txt", "# digests\n" + sha256_digits + "\nnonsense\n"},
      {"empty.txt", "# nothing yet\n"},
      {"long.txt", std::string(2000, 'a')},
      {"two.pem", "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n-----BEGIN PUBLIC KEY-----\n"},
      {"notes.txt", "no key"},
      {"short.pem",
       "-----BEGIN PUBLIC KEY-----\n"
       "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDBlaLgTnYt+1D8Fbup+8UY1D64\n"
       "uaNIix5cknWyv/h+XhaB7XEKkuN8F4D4XWImc/JoCY4y5b9httYOOG5UgVHiRWSE\n"
       "m+57SEOXdmiZN0OZQFmV96zbkg66exITjtvRhgW6MYV2K394DhyZRNV3V36Kicre\n"
       "o2TYYvBIYfF0Mqu3twIDAQAB\n"
       "-----END PUBLIC KEY-----\n"}};
  if (const auto at = files.find(path); at != files.end()) return at->second;
  if (path.starts_with("keys/")) return content(GATEHOUSE_TEST_DATA "/interop/" + path);
  return fail(Fault::environment, "there is no file");
}

PolicyPtr good(const std::string& text) { return parsed(text, read); }
std::vector<std::string> wrong(const std::string& text) { return mistakes(text, read); }

// The rules of a device's TPMRA: "a,b".
std::string applied(const PolicyPtr& policy, const DeviceFacts& device) {
  std::string out;
  for (const WorkItem& item : work_items(*policy, device, {}).items)
    for (const auto& rules : item.rules) out += (out.empty() ? "" : ",") + rules->name;
  return out;
}

TEST(PolicyRules, HoldEverythingThatIsWritten) {
  const auto policy = good(R"([rules.servers]
description = "What a server shows"
[rules.servers.firmware]
secure_boot = "required"
debug = "refused"
revoked = "@dbx.txt"
authorities = ["sha256:)" + sha256_digits +
                           R"("]
boot_loaders = [")" + sha1_digits +
                           "\", \"@dbx.txt\", \"" + sha384_digits + R"("]
sbat = ["shim,4", "grub.debian,5"]
command_line = { require = ["ima_policy=*"], forbid = ["init=*", "ima_appraise=off"] }
[rules.servers.ima]
signature_keys = ["keys/rsa/ak.pem", { file = "keys/ecc/ak.cert.der", paths = ["/opt/*"] }]
require_signature = ["/usr/*"]
buffers = { "kexec-cmdline" = [")" +
                           sha256_digits + R"("], ".ima" = "@dbx.txt" }
other_buffers = "refused"
violations = "refused"
[groups.all]
rules = "servers"
ask = ["TPMRA"]
)");
  ASSERT_EQ(policy->rules.size(), 1U);
  const EvidenceRules& r = *policy->rules[0];
  EXPECT_EQ(r.name, "servers");
  EXPECT_TRUE(r.firmware.secure_boot && r.firmware.no_debug);
  ASSERT_TRUE(r.firmware.revoked && r.firmware.authorities && r.firmware.boot_loaders && r.firmware.sbat &&
              r.firmware.command_line);
  EXPECT_EQ(r.firmware.revoked->size(), 2U);
  EXPECT_EQ(r.firmware.authorities->at(0).hex(), sha256_digits);
  EXPECT_EQ(r.firmware.boot_loaders->size(), 4U);
  EXPECT_EQ(r.firmware.sbat->at(1).component, "shim");
  EXPECT_EQ(r.firmware.sbat->at(1).generation, 4U);
  EXPECT_THAT(r.firmware.command_line->forbidden, UnorderedElementsAre("init=*", "ima_appraise=off"));
  ASSERT_EQ(r.ima.signature_keys.size(), 2U);
  EXPECT_TRUE(r.ima.signature_keys[0].paths.empty());
  EXPECT_THAT(r.ima.signature_keys[1].paths, ElementsAre("/opt/*"));
  for (const pipeline::SignatureKey& key : r.ima.signature_keys) {
    Writer w;
    w.put(key.id);
    EXPECT_EQ(to_hex(w.view()), key.key.subject_key_id().hex().substr(32));
  }
  EXPECT_EQ(r.ima.buffers.at(".ima").size(), 2U);
  EXPECT_TRUE(r.ima.refuse_other_buffers && r.ima.refuse_violations);
  EXPECT_EQ(r.version.size(), 16U);

  const auto nothing = good("[rules.x]\n[groups.all]\nrules = \"x\"\nask = [\"TPMRA\"]\n")->rules[0];
  EXPECT_FALSE(nothing->firmware.enforced());
}

constexpr std::string_view tree = R"([policy]
rules = "a"
[rules.a.firmware]
secure_boot = "required"
[rules.b.ima]
violations = "refused"
[groups.top]
devices = ["d1"]
ask = ["TPMRA"]
[groups.below]
parent = "top"
devices = ["d2"]
rules = "b"
ask = ["TPMRA", "FWDEN"]
[groups.deeper]
parent = "below"
devices = ["d3"]
rules = "inherit"
ask = ["TPMRA"]
[groups.free]
devices = ["d4"]
rules = "none"
ask = ["TPMRA"]
[groups.both]
devices = ["d4"]
rules = "b"
ask = ["TPMRA"]
)";

TEST(PolicyRules, OfAllGroupsThatAskForTheTpmApply) {
  const auto policy = good(std::string(tree));
  EXPECT_EQ(applied(policy, known("d1")), "a");
  EXPECT_EQ(applied(policy, known("d2")), "a,b") << "the group above asks, too";
  EXPECT_EQ(applied(policy, known("d3")), "a,b") << "inherited";
  EXPECT_EQ(applied(policy, known("d4")), "b") << "another group frees nobody of them";
  EXPECT_EQ(applied(policy, known("elsewhere")), "a") << "in no group";
  EXPECT_EQ(applied(good("[groups.all]\nask = [\"TPMRA\"]\n"), known("d1")), "");
  EXPECT_EQ(applied(built_in_policy(), known("d1")), "");
}

TEST(PolicyRules, ArePartOfThePolicysVersionAndOfTheItemsKey) {
  const std::string text(tree);
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string other = text;
    other.replace(other.find(from), from.size(), to);
    return good(other);
  };
  const auto key = [](const PolicyPtr& p) { return work_items(*p, known("d1"), {}).items.at(0).key(); };
  const auto policy = good(text);
  EXPECT_EQ(good(text + "# a comment\n")->version(), policy->version());
  const auto stricter = with("secure_boot = \"required\"", "secure_boot = \"required\"\ndebug = \"refused\"");
  EXPECT_NE(stricter->version(), policy->version());
  EXPECT_NE(key(stricter), key(policy)) << "what was good by other rules isn't an answer";
  EXPECT_EQ(key(policy), "TPMRA B I rules " + policy->rules[0]->version);
  EXPECT_NE(with("rules = \"a\"", "rules = \"b\"")->version(), policy->version());
  EXPECT_EQ(key(good("[groups.all]\nask = [\"TPMRA\"]\n")), "TPMRA B I");
}

TEST(PolicyRules, EveryMistakeIsNamedWhereItStands) {
  EXPECT_THAT(wrong(R"([policy]
rules = "nobody"
[rules.none]
[rules.a]
colour = "red"
[rules.a.firmware]
secure_boot = "on"
debug = true
revoked = []
authorities = "file.txt"
boot_loaders = ["abc", 7, "sha1:)" +
                    sha256_digits + R"("]
sbat = ["shim", "shim,x", ",4"]
command_line = { require = ["a b"], require_not = [] }
[rules.a.ima]
signature_keys = ["nowhere.pem", "notes.txt", "two.pem", {}, 3]
require_signature = ["usr/bin"]
buffers = { "kexec-cmdline" = "@bad.txt" }
other_buffers = "never"
violations = "ok"
[rules.b]
firmware = 1
ima = 2
[groups.x]
rules = 7
)"),
              UnorderedElementsAre(HasSubstr("policy.toml:2: policy.rules: no rules are called \"nobody\""),
                                   HasSubstr("policy.toml:3: rules.none: a name of rules is"),
                                   HasSubstr("policy.toml:5: rules.a.colour: unknown key"),
                                   HasSubstr(":7: rules.a.firmware.secure_boot: is required or reported"),
                                   HasSubstr(":8: rules.a.firmware.debug: is refused or reported"),
                                   HasSubstr(":9: rules.a.firmware.revoked: is empty"),
                                   HasSubstr(":10: rules.a.firmware.authorities: wants a list, or \"@FILE\""),
                                   HasSubstr(":11: rules.a.firmware.boot_loaders: wants SHA-1"),
                                   HasSubstr(":11: rules.a.firmware.boot_loaders: wants SHA-1"),
                                   HasSubstr(":11: rules.a.firmware.boot_loaders: wants SHA-1"),
                                   HasSubstr(":12: rules.a.firmware.sbat: wants components"),
                                   HasSubstr(":12: rules.a.firmware.sbat: wants components"),
                                   HasSubstr(":12: rules.a.firmware.sbat: wants components"),
                                   HasSubstr(":13: rules.a.firmware.command_line.require: wants words"),
                                   HasSubstr(":13: rules.a.firmware.command_line.require_not: unknown key"),
                                   HasSubstr(":15: rules.a.ima.signature_keys: environment: there is no file"),
                                   HasSubstr(":15: rules.a.ima.signature_keys: notes.txt: not an X.509"),
                                   HasSubstr(":15: rules.a.ima.signature_keys: two.pem: more than one key"),
                                   HasSubstr(":15: rules.a.ima.signature_keys.file: is missing"),
                                   HasSubstr(":15: rules.a.ima.signature_keys: wants the path"),
                                   HasSubstr(":16: rules.a.ima.require_signature: wants absolute paths"),
                                   HasSubstr("bad.txt:3: rules.a.ima.buffers.\"kexec-cmdline\": wants SHA-1"),
                                   HasSubstr(":18: rules.a.ima.other_buffers: is refused or reported"),
                                   HasSubstr(":19: rules.a.ima.violations: is refused or reported"),
                                   HasSubstr(":21: rules.b.firmware: wants a table"),
                                   HasSubstr(":22: rules.b.ima: wants a table"),
                                   HasSubstr(":24: groups.x.rules: wants the name of a table [rules.NAME]")));
}

TEST(PolicyRules, ListsAreBoundedAndKeysStrong) {
  EXPECT_THAT(wrong("[rules.a.firmware]\nrevoked = \"@empty.txt\"\n"),
              ElementsAre(HasSubstr(":2: rules.a.firmware.revoked: is empty")));
  EXPECT_THAT(wrong("[rules.a.firmware]\nrevoked = \"@none.txt\"\n"),
              ElementsAre(HasSubstr(":2: rules.a.firmware.revoked: environment: there is no file")));
  EXPECT_THAT(wrong("[rules.a.firmware]\nrevoked = \"@long.txt\"\n"),
              ElementsAre(HasSubstr("long.txt:1: rules.a.firmware.revoked: wants one item a line")));
  EXPECT_THAT(wrong("[rules.a.firmware]\nrevoked = [\"" + sha1_digits + "\"]\n"),
              ElementsAre(HasSubstr("revoked: wants SHA-256")));
  EXPECT_THAT(wrong("[rules.a.ima]\nsignature_keys = [\"short.pem\"]\n"),
              ElementsAre(HasSubstr("short.pem: an RSA key of 1024 bits: wants at least 2048")));
  std::string words;
  for (std::size_t i = 0; i <= max_patterns; ++i) words += "\"w" + std::to_string(i) + "=*\",";
  EXPECT_THAT(wrong("[rules.a.firmware]\ncommand_line = { forbid = [" + words + "] }\n"),
              ElementsAre(HasSubstr("forbid: more than 256 items")));
  EXPECT_THAT(wrong("[rules.a.ima]\nrequire_signature = [\"/usr/*\"]\n"),
              ElementsAre(HasSubstr("rules.a.ima.require_signature: needs signature_keys")));
}

}  // namespace
}  // namespace gatehouse::server::policy
