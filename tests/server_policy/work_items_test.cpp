// Which device is asked for what: spec part 1b §7.4 and §10.2, part 2 §9.4.
#include "server/policy/work_items.h"

#include <gtest/gtest.h>

#include "tests/server_policy/support.h"

namespace gatehouse::server::policy {
namespace {

std::string asked(const std::string& policy, const DeviceFacts& device) {
  return keys(work_items(*parsed(policy), device, {}).items);
}

TEST(WithoutAFile, EveryDeviceIsAskedForItsTpmAttestationAlone) {
  for (const Standing standing : {Standing::unknown, Standing::claimed, Standing::authenticated}) {
    DeviceFacts device = known("d1", "Debian 12 x86_64");
    device.standing = standing;
    const Plan plan = work_items(*built_in_policy(), device, {});
    EXPECT_EQ(keys(plan.items), "TPMRA B I");
    EXPECT_FALSE(plan.denied);
    EXPECT_EQ(plan.items[0].on_fail, Recommendation::isolate);
    EXPECT_EQ(plan.items[0].on_noresult, Recommendation::isolate);
    EXPECT_TRUE(plan.items[0].has('B') && plan.items[0].has('I') && !plan.items[0].has('T'));
  }
}

TEST(Groups, AddToThoseAboveThem) {
  const std::string policy = R"([groups.top]
ask = ["FWDEN"]
[groups.middle]
parent = "top"
ask = ["PWDEN"]
[groups.bottom]
parent = "middle"
devices = ["d1"]
ask = ["UNSRC", { type = "FMEAS", argument = "/etc/a" }]
[groups.beside]
parent = "middle"
devices = ["d2"]
ask = []
)";
  EXPECT_EQ(asked(policy, known("d1")), "UNSRC,FWDEN,PWDEN,FMEAS /etc/a");
  EXPECT_EQ(asked(policy, known("d2")), "FWDEN,PWDEN");
  EXPECT_EQ(asked(policy, known("d3")), "FWDEN");  // middle has no members of its own
}

TEST(Groups, AreNamedFromTheNearestOn) {
  const auto policy = parsed(R"([groups.all]
ask = ["FWDEN"]
[groups.site]
parent = "all"
[groups.web]
parent = "site"
devices = ["d1"]
[groups.beside]
parent = "site"
products = ["Debian *"]
)");
  using Names = std::vector<std::string>;
  EXPECT_EQ(groups_of(*policy, known("d1")), (Names{"web", "site", "all"}));
  EXPECT_EQ(groups_of(*policy, known("d1", "Debian 12 x86_64")), (Names{"beside", "web", "site", "all"}));
  EXPECT_EQ(groups_of(*policy, known("d2")), Names{"all"});
  EXPECT_TRUE(groups_of(*built_in_policy(), known("d1")).empty());
}

TEST(Groups, HoldDevicesByIdProductAndAuthenticatedIdentity) {
  const std::string policy = R"([groups.ids]
devices = ["d1", "d2"]
ask = ["FWDEN"]
[groups.products]
products = ["Debian *"]
ask = ["PWDEN"]
[groups.people]
identities = ["password:carol", "certificate:CN=d3"]
ask = ["UNSRC"]
[groups.rest]
default = true
ask = ["SWIDT"]
[groups.windows]
default_for = ["Windows *"]
ask = ["TCPOP"]
)";
  EXPECT_EQ(asked(policy, known("d1", "Debian 12 x86_64")), "FWDEN,PWDEN");
  EXPECT_EQ(asked(policy, known("d2", "Ubuntu 24.04 x86_64")), "FWDEN");
  EXPECT_EQ(asked(policy, known("d3", "Ubuntu 24.04 x86_64")), "UNSRC");
  DeviceFacts carol = known("d9", "Ubuntu 24.04 x86_64");
  carol.identity = "carol";
  EXPECT_EQ(asked(policy, carol), "SWIDT");  // a certificate that says carol is no password
  carol.identity_type = "password";
  EXPECT_EQ(asked(policy, carol), "UNSRC");
  EXPECT_EQ(asked(policy, known("d9", "Windows 11")), "TCPOP");
  EXPECT_EQ(asked(policy, known("d2", "Windows 11")), "FWDEN");
  EXPECT_EQ(asked(policy, known("d9")), "SWIDT");
}

TEST(ADevice, InNoGroupIsAskedForItsTpmAttestation) {
  const std::string policy = "[groups.a]\ndevices = [\"d1\"]\nask = [\"FWDEN\"]\n";
  EXPECT_EQ(asked(policy, known("d2")), "TPMRA B I");
  EXPECT_EQ(asked(policy, known("d1")), "FWDEN");
  EXPECT_EQ(asked("[policy]\non_fail = \"block\"\n", known("d1")), "TPMRA B I");
  EXPECT_EQ(work_items(*parsed("[policy]\non_fail = \"block\"\n"), known("d1"), {}).items[0].on_fail,
            Recommendation::block);
}

TEST(ADevice, InAGroupThatAsksForNothingIsAskedForNothing) {
  EXPECT_EQ(asked("[groups.a]\ndevices = [\"d1\"]\n", known("d1")), "");
}

TEST(TheSameItem, ComesOnceWithTheSmallestAgeAndTheNearestRecommendation) {
  const auto policy = parsed(R"([groups.top]
ask = [{ type = "FWDEN", max_age = "1h", on_fail = "block", on_noresult = "block" }]
[groups.low]
parent = "top"
devices = ["d1", "d2"]
ask = [{ type = "FWDEN", max_age = "8h", on_fail = "allow", on_noresult = "isolate" }]
[groups.other]
devices = ["d2"]
ask = [{ type = "FWDEN", max_age = "2h", on_fail = "none", on_noresult = "allow" }]
)");
  const Plan one = work_items(*policy, known("d1"), {});
  ASSERT_EQ(one.items.size(), 1U);
  EXPECT_EQ(one.items[0].max_age, std::chrono::hours(1));
  EXPECT_EQ(one.items[0].group, "low");
  EXPECT_EQ(one.items[0].on_fail, Recommendation::allow);  // one step beats two, in the laxer direction too
  EXPECT_EQ(one.items[0].on_noresult, Recommendation::isolate);
  const Plan two = work_items(*policy, known("d2"), {});
  ASSERT_EQ(two.items.size(), 1U);
  EXPECT_EQ(two.items[0].on_fail, Recommendation::none);  // of two that are as near, the stricter
  EXPECT_EQ(two.items[0].on_noresult, Recommendation::isolate);
}

TEST(TheSameItem, ReachedByTwoWaysCountsFromTheNearer) {
  const auto policy = parsed(R"([groups.top]
ask = [{ type = "FWDEN", on_fail = "none" }]
[groups.a]
parent = "top"
devices = ["d1"]
[groups.b]
parent = "a"
devices = ["d1"]
[groups.c]
devices = ["d1"]
parent = "d"
[groups.d]
parent = "e"
[groups.e]
ask = [{ type = "FWDEN", on_fail = "block" }]
)");
  const Plan plan = work_items(*policy, known("d1"), {});
  ASSERT_EQ(plan.items.size(), 1U);
  EXPECT_EQ(plan.items[0].on_fail, Recommendation::none);  // top is one step from a, e two from c
}

TEST(AGroupOfEverybody, IsFartherThanAnyThatNamesItsMembers) {
  const auto policy = parsed(R"([groups.all]
ask = [{ type = "FWDEN", on_fail = "block" }]
[groups.top]
devices = []
ask = [{ type = "FWDEN", on_fail = "none" }]
[groups.low]
parent = "top"
devices = ["d1"]
)");
  EXPECT_EQ(work_items(*policy, known("d1"), {}).items.at(0).on_fail, Recommendation::none);
  EXPECT_EQ(work_items(*policy, known("d2"), {}).items.at(0).on_fail, Recommendation::block);
}

TEST(OtherArguments, AreOtherItems) {
  EXPECT_EQ(asked(R"([groups.a]
ask = [{ type = "TCPOP", argument = "22" }, "TCPOP", { type = "TCPOP", argument = "80 22" }]
)",
                  known("d1")),
            "TCPOP,TCPOP 22,TCPOP 22 80");
}

TEST(AttestationAndInventory, AreOneConversationEach) {
  const auto two = [](const std::string& type, const std::string& a, const std::string& b) {
    const auto entry = [&](const std::string& argument) {
      return "ask = [{ type = \"" + type + "\", argument = \"" + argument + "\" }]\n";
    };
    return "[groups.a]\n" + entry(a) + "[groups.b]\nparent = \"a\"\ndevices = [\"d1\"]\n" + entry(b);
  };
  EXPECT_EQ(asked(two("TPMRA", "B", "I"), known("d1")), "TPMRA B I");
  EXPECT_EQ(asked(two("TPMRA", "T B", "I"), known("d1")), "TPMRA B I T");
  EXPECT_EQ(asked(two("SWIDT", "R", "R S"), known("d1")), "SWIDT R S");
  EXPECT_EQ(asked(two("SWIDT", "R", ""), known("d1")), "SWIDT");
  EXPECT_EQ(asked(two("SWIDT", "R C", "R S"), known("d1")), "SWIDT R S");
  EXPECT_EQ(asked(two("SWIDT", "C", "R"), known("d1")), "SWIDT C");
  EXPECT_EQ(asked(two("SWIDT", "T R", "R S"), known("d1")), "SWIDT R S T");
}

TEST(Denied, ADeviceIsAskedForNothing) {
  const std::string policy = R"([groups.all]
ask = ["TPMRA"]
[groups.bad]
parent = "all"
ask = ["RESVD", "FWDEN"]
[groups.worse]
parent = "bad"
devices = ["stolen"]
)";
  for (const Standing standing : {Standing::unknown, Standing::claimed, Standing::authenticated}) {
    DeviceFacts stolen = known("stolen");
    stolen.standing = standing;
    const PolicyPtr rules = parsed(policy);  // the plan borrows from it
    const Plan plan = work_items(*rules, stolen, {});
    EXPECT_TRUE(plan.denied);
    EXPECT_EQ(plan.denied_by, "bad");
    EXPECT_TRUE(plan.items.empty());
  }
  EXPECT_FALSE(work_items(*parsed(policy), known("d1"), {}).denied);
}

TEST(AnUnknownDevice, IsAskedForWhatEveryGroupAsksForThatItCouldBeIn) {
  const std::string policy = R"([groups.lax]
devices = ["kiosk"]
ask = [{ type = "FWDEN", on_fail = "allow", max_age = "1h" }]
[groups.strict]
products = ["Debian *"]
ask = [{ type = "FWDEN", on_fail = "isolate" }, "TPMRA"]
[groups.above]
parent = "lax"
devices = ["x"]
ask = [{ type = "FWDEN", on_fail = "block" }]
[groups.people]
identities = ["password:carol"]
ask = ["SWIDT"]
[groups.stolen]
devices = ["y"]
ask = ["DENY"]
[groups.rest]
default = true
ask = ["PWDEN"]
)";
  DeviceFacts nobody = known("kiosk");  // claims the lax group's device
  nobody.standing = Standing::unknown;
  const auto held = parsed(policy);
  const Plan plan = work_items(*held, nobody, {});
  EXPECT_EQ(keys(plan.items), "FWDEN,PWDEN,TPMRA B I");
  EXPECT_EQ(plan.items[0].on_fail, Recommendation::block);
  EXPECT_EQ(plan.items[0].max_age.count(), 0);
  nobody.identity = "carol";
  nobody.identity_type = "password";
  EXPECT_EQ(keys(work_items(*held, nobody, {}).items), "FWDEN,PWDEN,SWIDT,TPMRA B I");
}

TEST(AnUnknownDevice, ThatMayBeInNoGroupIsAskedForItsTpmAttestationToo) {
  DeviceFacts nobody;
  EXPECT_EQ(asked("[groups.a]\ndevices = [\"d1\"]\nask = [\"FWDEN\"]\n", nobody), "FWDEN,TPMRA B I");
  EXPECT_EQ(asked("[groups.a]\nask = [\"FWDEN\"]\n", nobody), "FWDEN");
}

TEST(AClaim, HasToBeProvedByTheAk) {
  DeviceFacts device = known("d1");
  device.standing = Standing::claimed;
  EXPECT_EQ(asked("[groups.a]\nask = [\"FWDEN\"]\n", device), "FWDEN,TPMRA B I");
  EXPECT_EQ(asked("[groups.a]\nask = [{ type = \"TPMRA\", argument = \"I\" }]\n", device), "TPMRA I");
  EXPECT_EQ(asked("[groups.a]\nask = [{ type = \"TPMRA\", argument = \"T\" }]\n", device), "TPMRA B I T");
}

// --- max_age

constexpr std::int64_t hour = 3'600'000;

struct Ages : testing::Test {
  Plan plan(std::optional<PastResult> past) {
    seen.clear();
    return work_items(*policy, device, [&](const std::string& key) {
      seen.push_back(key);
      return past;
    });
  }
  PastResult past(std::int64_t age) { return {device.now - age, Recommendation::allow, "CN=d1", "certificate", ""}; }
  PolicyPtr policy = parsed("[groups.a]\nmax_age = \"12h\"\nask = [\"FWDEN\"]\n");
  DeviceFacts device = known("d1");
  std::vector<std::string> seen;
};

TEST_F(Ages, ANewAllowIsNotAskedForAgain) {
  const Plan skipped = plan(past(12 * hour - 1));
  EXPECT_TRUE(skipped.items.empty());
  EXPECT_EQ(keys(skipped.skipped), "FWDEN");
  EXPECT_EQ(seen, std::vector<std::string>{"FWDEN"});
}

TEST_F(Ages, ExactlyTheAgeIsTooOld) {
  EXPECT_EQ(keys(plan(past(12 * hour)).items), "FWDEN");
  EXPECT_EQ(keys(plan(std::nullopt).items), "FWDEN");
}

TEST_F(Ages, TheNewestResultDecidesWhateverItIs) {
  for (const Recommendation r : {Recommendation::block, Recommendation::isolate, Recommendation::none}) {
    PastResult result = past(hour);
    result.recommendation = r;
    EXPECT_EQ(keys(plan(result).items), "FWDEN");
  }
}

TEST_F(Ages, AResultFromTheFutureIsNoneAtAll) { EXPECT_EQ(keys(plan(past(-1)).items), "FWDEN"); }

TEST_F(Ages, OnlyTheSameAuthenticatedDeviceIsSpared) {
  PastResult result = past(hour);
  result.identity = "CN=d2";
  EXPECT_EQ(keys(plan(result).items), "FWDEN");
  result = past(hour);
  result.identity_type = "password";
  EXPECT_EQ(keys(plan(result).items), "FWDEN");
  result.ak = device.ak = "ab12";  // the same AK proved both
  EXPECT_EQ(keys(plan(result).items), "");
  result.ak = "cd34";
  EXPECT_EQ(keys(plan(result).items), "FWDEN");
  device.identity.clear();
  device.ak.clear();
  result.identity.clear();
  result.ak.clear();
  EXPECT_EQ(keys(plan(result).items), "FWDEN");  // nothing isn't the same as nothing
}

TEST_F(Ages, AClaimIsNeverSpared) {
  for (const Standing standing : {Standing::unknown, Standing::claimed}) {
    device.standing = standing;
    EXPECT_EQ(keys(plan(past(hour)).items).substr(0, 5), "FWDEN");
    EXPECT_TRUE(seen.empty());
  }
}

TEST_F(Ages, WithoutAnAgeHistoryIsNotAskedFor) {
  policy = parsed("[groups.a]\nask = [\"FWDEN\"]\n");
  EXPECT_EQ(keys(plan(past(0)).items), "FWDEN");
  EXPECT_TRUE(seen.empty());
}

TEST_F(Ages, AttestationIsAskedEachTimeUnlessItsEntrySaysOtherwise) {
  policy = parsed("[groups.a]\nmax_age = \"12h\"\nask = [\"TPMRA\"]\n");
  device.last_boot = device.now - 24 * hour;
  EXPECT_EQ(keys(plan(past(hour)).items), "TPMRA B I");
  policy = parsed("[groups.a]\nask = [{ type = \"TPMRA\", max_age = \"12h\" }]\n");
  EXPECT_EQ(keys(plan(past(hour)).items), "");
  device.last_boot = device.now - hour;  // booted since
  EXPECT_EQ(keys(plan(past(hour)).items), "TPMRA B I");
  device.last_boot.reset();
  EXPECT_EQ(keys(plan(past(hour)).items), "TPMRA B I");
}

TEST_F(Ages, ItemsAreNumberedWithoutTheSkippedOnes) {
  policy = parsed("[groups.a]\nask = [\"PCKGS\", { type = \"FWDEN\", max_age = \"1h\" }, \"PWDEN\"]\n");
  const Plan p = plan(past(1));
  ASSERT_EQ(keys(p.items), "PCKGS,PWDEN");
  EXPECT_EQ(p.items[0].id, 1U);
  EXPECT_EQ(p.items[1].id, 2U);
}

TEST_F(Ages, OtherPackageListsAreOtherResults) {
  const auto key = [&](const std::string& list) {
    policy = parsed("[groups.a]\nmax_age = \"1h\"\nask = [{ type = \"PCKGS\", vulnerable = [" + list + "] }]\n");
    plan(std::nullopt);
    return seen.at(0);
  };
  EXPECT_EQ(key("\"a *\", \"b < 1\""), key("\"b < 1\", \"a *\""));
  EXPECT_NE(key("\"a *\""), key("\"b *\""));
}

}  // namespace
}  // namespace gatehouse::server::policy
