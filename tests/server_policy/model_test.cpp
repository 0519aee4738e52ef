// Certificate fields, times, grace periods, packages that have to be there, rules for files: as policy.toml says them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/policy/combine.h"
#include "tests/server_policy/support.h"

namespace gatehouse::server::policy::model {  // files of tests are compiled together
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr std::int64_t hour = 3'600'000, day = 24 * hour;
constexpr std::int64_t monday = 1'768'176'000'000;  // 2026-01-12T00:00:00Z

std::string asked(const PolicyPtr& policy, const DeviceFacts& device) { return keys(work_items(*policy, device, {}).items); }

TEST(Groups, HoldDevicesByFieldsOfTheirCertificate) {
  const PolicyPtr policy = parsed(R"([groups.servers]
certificates = [{ O = "Example", OU = "Servers*" }, { CN = "*.lab.example.org" }]
ask = ["FWDEN"]
[groups.rest]
default = true
ask = ["SWIDT"]
)");
  DeviceFacts device = known("d1");
  device.identity = "CN=h1,OU=Servers Kassel,O=Example";
  EXPECT_EQ(asked(policy, device), "FWDEN");
  device.identity = "CN=h1.lab.example.org,O=Other";
  EXPECT_EQ(asked(policy, device), "FWDEN");
  device.identity = "CN=h1\\,OU=Servers,O=Example";
  EXPECT_EQ(asked(policy, device), "SWIDT");
  device.identity_type = "password";
  device.identity = "CN=h1.lab.example.org";
  EXPECT_EQ(asked(policy, device), "SWIDT");
  device.standing = Standing::unknown;
  EXPECT_EQ(asked(policy, device), "SWIDT") << "an identity is authenticated or isn't";
}

TEST(Groups, CountAtTheirTimes) {
  const PolicyPtr policy = parsed(R"([groups.all]
ask = ["PWDEN"]
[groups.office]
parent = "all"
devices = ["d1"]
during = ["Mon-Fri 07:00-19:00"]
except = ["2026-01-13T00:00Z/2026-01-14T00:00Z"]
ask = ["FWDEN"]
[groups.night]
devices = ["d1"]
except = ["Mon-Fri 07:00-19:00", "Sat,Sun 00:00-24:00"]
ask = ["DENY"]
)");
  DeviceFacts device = known("d1");
  device.now = monday + 8 * hour;
  EXPECT_EQ(asked(policy, device), "FWDEN,PWDEN");
  device.now = monday + day + 8 * hour;
  EXPECT_EQ(asked(policy, device), "PWDEN") << "the exception";
  device.now = monday + 6 * hour;
  EXPECT_TRUE(work_items(*policy, device, {}).denied);
  device.now = monday + 5 * day + 8 * hour;
  EXPECT_FALSE(work_items(*policy, device, {}).denied);
}

// Else a device would be let in without a look at it whenever its group doesn't count.
TEST(Groups, ThatDoNotCountLeaveTheirDevicesInNone) {
  const PolicyPtr policy = parsed(R"([groups.office]
devices = ["d1"]
during = ["Mon-Fri 07:00-19:00"]
ask = ["FWDEN"]
)");
  DeviceFacts device = known("d1");
  device.now = monday + 20 * hour;
  EXPECT_EQ(asked(policy, device), "TPMRA B I");
  device.standing = Standing::unknown;
  EXPECT_EQ(asked(policy, device), "TPMRA B I");
}

struct Grace : testing::Test {
  WorkItem item(std::optional<PastResult> past) {
    return work_items(*policy, device, [&](const std::string&) { return past; }).items.at(0);
  }
  PastResult failing(std::int64_t for_so_long) {
    PastResult out{device.now - 1, Recommendation::allow, "CN=d1", "certificate", ""};
    out.failing_since = device.now - for_so_long;
    return out;
  }
  PolicyPtr policy = parsed("[groups.a]\nask = [{ type = \"FWDEN\", on_fail = \"block\", grace = \"7d\", max_age = \"1h\" }]\n");
  DeviceFacts device = known("d1");
};

TEST_F(Grace, LetsInWhatIsNoLongerCompliantForSoLong) {
  const WorkItem first = item(std::nullopt);
  EXPECT_EQ(first.grace_until, device.now + 7 * day);
  EXPECT_EQ(recommendation_of(first, Evaluation::major), Recommendation::allow);
  EXPECT_EQ(recommendation_of(first, Evaluation::unknown), Recommendation::isolate) << "no answer has no grace";
  const WorkItem last = item(failing(7 * day - 1));
  EXPECT_EQ(last.grace_until, device.now + 1) << "and it is asked each time, whatever max_age says";
  const WorkItem over = item(failing(7 * day));
  EXPECT_FALSE(over.grace_until);
  EXPECT_EQ(recommendation_of(over, Evaluation::minor), Recommendation::block);
}

TEST_F(Grace, IsNotForStrangersAndNotLongerByAClockThatWasSetBack) {
  EXPECT_EQ(item(failing(-3 * day)).grace_until, device.now + 7 * day);
  device.standing = Standing::unknown;
  EXPECT_FALSE(item(std::nullopt).grace_until);
}

TEST_F(Grace, IsInheritedAndNeverForTheAttestation) {
  policy = parsed(R"([groups.a]
grace = "1d"
ask = ["TPMRA", "FWDEN", { type = "PWDEN", grace = "0s" }]
)");
  const Plan plan = work_items(*policy, device, {});
  ASSERT_EQ(keys(plan.items), "FWDEN,PWDEN,TPMRA B I");
  EXPECT_TRUE(plan.items[0].grace_until);
  EXPECT_FALSE(plan.items[1].grace_until);
  EXPECT_FALSE(plan.items[2].grace_until);
  EXPECT_THAT(mistakes("[groups.a]\nask = [{ type = \"TPMRA\", grace = \"1d\" }]\n"),
              ElementsAre(HasSubstr("policy.toml:2: groups.a.ask.grace: unknown key: ")));
}

TEST(PackageRules, SayWhatHasToBeInstalledAndHowNewItIs) {
  const PolicyPtr policy = parsed(R"([groups.a]
ask = [{ type = "PCKGS", required = ["auditd", "aide >= 0.18"], minimum = ["openssl >= 3.0.11-1"] }]
)");
  const PackageRules& rules = policy->groups[0].ask[0].argument.packages;
  const auto places = [&](std::string_view package, std::string_view version) {
    std::vector<std::size_t> out;
    rules.satisfied(package, version, VersionScheme::dpkg, [&](std::size_t place) { out.push_back(place); });
    return out;
  };
  EXPECT_EQ(rules.required().size(), 2U);
  EXPECT_THAT(places("aide", "0.18-1"), ElementsAre(0));
  EXPECT_THAT(places("aide", "0.17"), ElementsAre());
  EXPECT_THAT(places("aide", ":"), ElementsAre()) << "gibberish is no version";
  EXPECT_THAT(places("auditd", ":"), ElementsAre(1));
  EXPECT_THAT(places("other", "1"), ElementsAre());
  EXPECT_EQ(rules.judge("openssl", "3.0.10-1", VersionScheme::dpkg), PackageState::vulnerable);
  EXPECT_EQ(rules.judge("openssl", "3.0.11-1", VersionScheme::dpkg), PackageState::unlisted);
}

TEST(PolicyVersions, ChangeWithWhatIsNewAndOnlyThen) {
  const auto version = [](const std::string& text) { return parsed(text)->version(); };
  const std::string plain = version("[groups.a]\nask = [\"FWDEN\"]\n");
  EXPECT_EQ(version("[groups.a]\nask = [{ type = \"FWDEN\", grace = \"0s\" }]\n"), plain);
  EXPECT_NE(version("[groups.a]\nask = [{ type = \"FWDEN\", grace = \"1s\" }]\n"), plain);
  EXPECT_NE(version("[groups.a]\nduring = [\"* 00:00-12:00\"]\nask = [\"FWDEN\"]\n"), plain);
  const std::string rules = version("[rules.a]\n[groups.a]\nask = [\"FWDEN\"]\n");
  EXPECT_NE(version("[[rules.a.files]]\nunknown = \"refused\"\n[groups.a]\nask = [\"FWDEN\"]\n"), rules);
}

// All of the guide's pieces that are a policy of their own.
TEST(PolicyGuide, SaysNothingThatIsAMistake) {
  const std::string guide = content(GATEHOUSE_DOCS "/policy.md");
  std::size_t read = 0;
  for (std::size_t at = guide.find("```toml\n"); at != guide.npos; at = guide.find("```toml\n", at + 1)) {
    const std::string block = guide.substr(at + 8, guide.find("```", at + 8) - at - 8);
    if (block.find("[groups.office]") == block.npos && block.find("[[rules.servers.files]]") == block.npos &&
        block.find("required = [") == block.npos)
      continue;
    EXPECT_THAT(mistakes(block), ElementsAre()) << block;
    ++read;
  }
  EXPECT_EQ(read, 4U);
}

TEST(PolicyMistakes, OfTheseKeysAreAllNamed) {
  EXPECT_THAT(mistakes(R"([groups.a]
certificates = ["O=Example", {}, { "C N" = "x", O = 7 }]
during = []
except = ["Mon-Fri 7-19"]
grace = "soon"
ask = [{ type = "PCKGS", required = ["a = 1", "b >= ", "c*"], minimum = ["d"], blacklist = ["e *"] },
  { type = "DENY", grace = "1d" }]
devcies = ["d1"]
[[rules.r.files]]
paths = ["usr"]
unknown = "allowed"
[[rules.r.files]]
differ = "accepted"
[[rules.r.files]]
paths = ["/var/*"]
violated = "reported"
[[rules.r.files]]
packages = ["linux-*"]
violated = "refused"
superseded_after = "1d"
[[rules.r.files]]
[[rules.r.files]]
superseded = "refused"
superseded_after = 14
)"),
              UnorderedElementsAre(
                  "policy.toml:2: groups.a.certificates: wants a list of tables such as { O = \"Example\", dns = \"*.example.org\" }",
                  "policy.toml:2: groups.a.certificates: wants a list of tables such as { O = \"Example\", dns = \"*.example.org\" }",
                  "policy.toml:2: groups.a.certificates.C N: is no attribute of a name, such as CN, O, OU, C or serialNumber",
                  "policy.toml:2: groups.a.certificates.O: wants the value of the attribute; `*` stands for any characters",
                  "policy.toml:3: groups.a.during: is empty: leave the key out where no times are meant",
                  HasSubstr("policy.toml:4: groups.a.except: wants times such as"),
                  HasSubstr("policy.toml:5: groups.a.grace: wants a duration"),
                  "policy.toml:6: groups.a.ask.required: wants \"NAME\" or \"NAME >= VERSION\"",
                  "policy.toml:6: groups.a.ask.required: wants \"NAME\" or \"NAME >= VERSION\"",
                  "policy.toml:6: groups.a.ask.required: wants \"NAME\" or \"NAME >= VERSION\"",
                  "policy.toml:6: groups.a.ask.minimum: wants \"NAME >= VERSION\"",
                  "policy.toml:6: groups.a.ask.blacklist: unknown key: did you mean \"blacklisted\"?",
                  "policy.toml:7: groups.a.ask.grace: unknown key: there are type",
                  "policy.toml:8: groups.a.devcies: unknown key: did you mean \"devices\"?",
                  HasSubstr("policy.toml:10: rules.r.files.paths: wants absolute paths"),
                  "policy.toml:11: rules.r.files.unknown: is one of accepted, reported, refused",
                  HasSubstr("policy.toml:13: rules.r.files.differ: of every file would switch the references off"),
                  HasSubstr("policy.toml:16: rules.r.files.violated: the name in a violation is the endpoint's claim"),
                  HasSubstr("policy.toml:19: rules.r.files.violated: the package of a violation isn't known"),
                  HasSubstr("policy.toml:20: rules.r.files.superseded_after: needs superseded"),
                  HasSubstr("policy.toml:21: rules.r.files: says nothing"),
                  HasSubstr("policy.toml:24: rules.r.files.superseded_after: wants a duration")));
}

}  // namespace
}  // namespace gatehouse::server::policy::model
