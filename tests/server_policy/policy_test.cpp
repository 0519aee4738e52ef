// policy.toml as operators write it, and what they are told about their mistakes.
#include "server/policy/policy.h"

#include <gmock/gmock.h>

#include "base/pattern.h"
#include "tests/server_policy/support.h"

namespace gatehouse::server::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const Enforcement& first(const PolicyPtr& policy, std::string_view group) {
  for (const Group& g : policy->groups)
    if (g.name == group && !g.ask.empty()) return g.ask.front();
  ADD_FAILURE() << group;
  static const Enforcement none;
  return none;
}

TEST(PolicyFiles, HaveTheKeysOfTheContract) {
  const auto policy = parsed("[groups.servers]\nask = [\"TPMRA\", \"PCKGS\"]\nmax_age = \"12h\"\n");
  ASSERT_EQ(policy->groups.size(), 1U);
  const Group& g = policy->groups[0];
  EXPECT_TRUE(g.everyone);
  ASSERT_EQ(g.ask.size(), 2U);
  EXPECT_EQ(g.ask[0].type, Type::pckgs);
  EXPECT_EQ(g.ask[0].max_age, std::chrono::hours(12));
  EXPECT_EQ(g.ask[1].type, Type::tpmra);
  EXPECT_EQ(g.ask[1].argument_text, "B I");
  EXPECT_EQ(g.ask[1].max_age.count(), 0);  // asked each time, unless its own entry says otherwise
}

TEST(PolicyFiles, LikeTheGuidesExampleAreTaken) {
  const auto policy = parsed(toml_block(content(GATEHOUSE_DOCS "/policy.md")));
  EXPECT_EQ(policy->groups.size(), 6U);
  EXPECT_EQ(policy->remediation_uri, "https://help.example.org/nac");
  EXPECT_TRUE(policy->warnings.empty());
}

TEST(PolicyFiles, KnowEveryTypeByItsName) {
  for (int number = 0; number <= 16; ++number) {
    const Type type = Type(number);
    EXPECT_EQ(type_named(name(type)), type);
    std::string entry = "{ type = \"" + std::string(name(type)) + "\"";
    if (number >= 5 && number <= 10) entry += ", argument = \"/etc/x\"";
    if (number == 12 || number == 14) entry += ", argument = \"23\"";
    EXPECT_EQ(first(parsed("[groups.g]\nask = [" + entry + " }]\n"), "g").type, type);
  }
  EXPECT_EQ(first(parsed("[groups.g]\nask = [\"DENY\"]\n"), "g").type, Type::deny);
}

TEST(PolicyFiles, InheritFromTheNearestThatHasAValue) {
  const auto policy = parsed(R"([policy]
on_fail = "block"
[groups.a]
on_noresult = "none"
max_age = "1h"
ask = [{ type = "FWDEN", on_fail = "allow" }]
[groups.b]
parent = "a"
on_fail = "inherit"
ask = [{ type = "FWDEN", on_noresult = "inherit" }]
[groups.c]
parent = "b"
on_fail = "isolate"
max_age = "0s"
ask = ["FWDEN"]
)");
  EXPECT_EQ(first(policy, "a").on_fail, Recommendation::allow);  // allow is a value, not "unset"
  EXPECT_EQ(first(policy, "a").on_noresult, Recommendation::none);
  EXPECT_EQ(first(policy, "b").on_fail, Recommendation::block);
  EXPECT_EQ(first(policy, "b").on_noresult, Recommendation::none);
  EXPECT_EQ(first(policy, "b").max_age, std::chrono::hours(1));
  EXPECT_EQ(first(policy, "c").on_fail, Recommendation::isolate);
  EXPECT_EQ(first(policy, "c").max_age.count(), 0);
  EXPECT_EQ(first(parsed("[groups.g]\nask = [\"FWDEN\"]\n"), "g").on_noresult, Recommendation::isolate);
}

TEST(PolicyFiles, TakeDurationsInEveryUnit) {
  const std::pair<const char*, std::int64_t> good[] = {
      {"0s", 0},         {"90s", 90},     {"30m", 1800},         {"12h", 43200},
      {"1d12h", 129600}, {"2w", 1209600}, {"1w1d1h1m1s", 694861}};
  for (const auto& [text, seconds] : good)
    EXPECT_EQ(
        first(parsed("[groups.g]\nask = [\"FWDEN\"]\nmax_age = \"" + std::string(text) + "\"\n"), "g").max_age.count(),
        seconds)
        << text;
  for (const char* const bad : {"\"\"", "\"12\"", "\"h\"", "\"12x\"", "\"-1h\"", "\"1h1h\"", "\"1m1h\"", "\"1 h\"",
                                "\"99999w\"", "\"4294967296s\"", "12", "true", "[\"1h\"]"})
    EXPECT_THAT(mistakes("[groups.g]\nmax_age = " + std::string(bad) + "\n"),
                ElementsAre(HasSubstr("policy.toml:2: groups.g.max_age: wants a duration")))
        << bad;
}

TEST(PolicyFiles, NameFileLineAndKeyOfEveryMistakeInOneRun) {
  EXPECT_THAT(
      mistakes(R"([policy]
combine = "most"
colour = "red"
unknown_devices = "allow"
on_error = "allow"
remediation_uri = "help"
[groups.servers]
parent = "nobody"
asks = ["TPMRA"]
ask = ["TPMRA", "TMPRA", { type = "TCPOP", argument = "90-80" },
  { type = "FMEAS" }, { type = "DMEAS", argument = "etc" }, { argument = "B" },
  { type = "TPMRA", argument = "B X" }, { type = "FWDEN", argument = "1" },
  { type = "SWIDT", argument = "S C" }, 7, "FWDEN", "FWDEN",
  { type = "PCKGS", blacklisted = ["telnetd"], vulnerable = ["a < x:1", "b > 1"], on_fail = "never" },
  { type = "DENY", on_fail = "allow" }]
devices = "d1"
identities = ["CN=x", "certificate:"]
default = "yes"
default_for = [1]
[groups.loop]
parent = "loop"
[group.x]
)"),
      ElementsAre(
          "policy.toml:2: policy.combine: is one of default, any, all", HasSubstr("policy.toml:3: policy.colour: unknown key: there are catalogue, combine, "),
          "policy.toml:4: policy.unknown_devices: is isolate or block: a device that isn't known is never allowed",
          "policy.toml:5: policy.on_error: is block or isolate: a failure of the server never allows",
          "policy.toml:6: policy.remediation_uri: wants a URI such as \"https://help.example.org/nac\"",
          "policy.toml:8: groups.servers.parent: no group is called \"nobody\"",
          "policy.toml:9: groups.servers.asks: unknown key: did you mean \"ask\"?",
          HasSubstr("policy.toml:10: groups.servers.ask: wants a type: DENY, PCKGS"),
          "policy.toml:10: groups.servers.ask.argument: a range begins above its end",
          "policy.toml:11: groups.servers.ask.argument: wants the absolute path of a directory, without //, . and ..",
          "policy.toml:11: groups.servers.ask.argument: wants the absolute path of a file, without //, . and ..",
          "policy.toml:11: groups.servers.ask.type: is missing",
          HasSubstr("policy.toml:12: groups.servers.ask.argument: unknown key"),
          HasSubstr("policy.toml:12: groups.servers.ask.argument: wants letters of B"),
          HasSubstr("policy.toml:13: groups.servers.ask: FWDEN is asked for twice in this group"),
          HasSubstr("policy.toml:13: groups.servers.ask: wants a type"),
          "policy.toml:13: groups.servers.ask.argument: S and C exclude each other",
          HasSubstr("policy.toml:14: groups.servers.ask.blacklisted: wants \"NAME *\""),
          HasSubstr("policy.toml:14: groups.servers.ask.on_fail: is one of allow"),
          HasSubstr("policy.toml:14: groups.servers.ask.vulnerable: wants \"NAME *\""),
          HasSubstr("policy.toml:14: groups.servers.ask.vulnerable: wants a version after <"),
          "policy.toml:15: groups.servers.ask.on_fail: unknown key: there are type",
          "policy.toml:16: groups.servers.devices: wants a list: Device IDs",
          "policy.toml:17: groups.servers.identities: wants \"certificate:PATTERN\" or \"password:PATTERN\"",
          "policy.toml:17: groups.servers.identities: wants \"certificate:PATTERN\" or \"password:PATTERN\"",
          "policy.toml:18: groups.servers.default: wants true or false",
          HasSubstr("policy.toml:19: groups.servers.default_for: product names"),
          "policy.toml:21: groups.loop.parent: the group is its own ancestor", "policy.toml:22: group: unknown key: did you mean \"groups\"?"));
}

TEST(PolicyFiles, ThatAreNoTomlNameTheLine) {
  EXPECT_THAT(mistakes("[policy]\ncombine = default\n"), ElementsAre(HasSubstr("policy.toml:2: toml: ")));
  EXPECT_THAT(mistakes("[policy]\n[policy]\n"), ElementsAre(HasSubstr("policy.toml:2: toml: ")));
  for (const char* const open : {"[\n", "[[\n", "[ \n[policy]\n", "[groups.\n", "["})
    EXPECT_THAT(mistakes(open), ElementsAre(HasSubstr(": toml: "))) << open;
  const char* const stray = "toml: characters beyond ASCII stand in quotes only";
  for (const char* const text :
       {"\nä = 1\n", "[policy]\non_fail = \"allow\" ä\n", "# ä\n[ä]\n", "x = '''\n'ä' ö ''' ä"})
    EXPECT_THAT(mistakes(text), ElementsAre(HasSubstr(std::string("policy.toml:2: ") + stray))) << text;
  EXPECT_THAT(mistakes("[policy]\non_fail = 1\"ä\"\n"),
              ElementsAre("policy.toml:2: toml: a quote stands in the middle of a value"));
  EXPECT_THAT(mistakes("x = \"\"\"\\\n ä\"\"\"\n"),
              ElementsAre("policy.toml:1: toml: a character beyond ASCII stands behind a backslash"));
  EXPECT_THAT(mistakes("x = \"ä\nä\"\n"), ElementsAre(HasSubstr("policy.toml:1: toml: ")));
  EXPECT_TRUE(mistakes("\xEF\xBB\xBF# ä\n[groups.\"ä\"] # ö\ndescription = 'ü \"'\n[groups.b]\n"
                       "description = \"\"\"ä \\\"\\\n  \" \"\" ä\"\"\"\"\" # ä\n[groups.'ö']\n")
                  .empty());
}

TEST(PolicyFiles, WithAnyPrintAWarning) {
  const auto policy = parsed("[policy]\ncombine = \"any\"\n");
  EXPECT_EQ(policy->combine, Combine::any);
  EXPECT_THAT(policy->warnings,
              ElementsAre(HasSubstr("policy.toml:2: policy.combine: any: one satisfied validator opens the network")));
}

TEST(PolicyFiles, RefuseParentsInACircle) {
  EXPECT_THAT(mistakes("[groups.a]\nparent = \"b\"\n[groups.b]\nparent = \"c\"\n[groups.c]\nparent = "
                       "\"a\"\n[groups.d]\nparent = \"a\"\n"),
              ElementsAre("policy.toml:2: groups.a.parent: the group is its own ancestor",
                          "policy.toml:4: groups.b.parent: the group is its own ancestor",
                          "policy.toml:6: groups.c.parent: the group is its own ancestor"));
  std::string chain = "[groups.g0]\n";
  for (std::size_t i = 1; i <= max_group_depth; ++i)
    chain += "[groups.g" + std::to_string(i) + "]\nparent = \"g" + std::to_string(i - 1) + "\"\n";
  EXPECT_TRUE(mistakes(chain).empty());
  chain += "[groups.last]\nparent = \"g" + std::to_string(max_group_depth) + "\"\n";
  EXPECT_THAT(mistakes(chain), ElementsAre(HasSubstr("groups.last.parent: more than 32 groups above")));
}

TEST(PolicyFiles, HaveOneDefaultGroupAndOneForAProduct) {
  EXPECT_THAT(mistakes("[groups.a]\ndefault = true\n[groups.b]\ndefault = true\n"),
              ElementsAre("policy.toml:3: groups.b.default: the group \"a\" is the default already"));
  EXPECT_THAT(mistakes("[groups.a]\ndefault_for = [\"p\"]\n[groups.b]\ndefault_for = [\"p\"]\n"),
              ElementsAre("policy.toml:3: groups.b.default_for: \"p\" is in the group \"a\" already"));
}

TEST(PolicyFiles, AskForAtMost256DifferentItems) {
  const auto policy = [](int ports) {
    std::string out = "[groups.g]\nask = [";
    for (int i = 0; i < ports; ++i) out += "{ type = \"TCPOP\", argument = \"" + std::to_string(i) + "\" },";
    return out + "]\n";
  };
  EXPECT_TRUE(mistakes(policy(256)).empty());
  EXPECT_THAT(mistakes(policy(257)), ElementsAre(HasSubstr("more than 256 different items")));
}

TEST(PolicyFiles, KeepControlCharactersOutOfWhatIsPrinted) {
  for (const std::string& m : mistakes("[groups.\"a\\nb\"]\nask = []\n[\"x\\u001b[31m\"]\n"))
    EXPECT_EQ(m.find_first_of("\n\x1b"), m.npos) << m;
  EXPECT_EQ(mistakes("[groups.\"a\\nb\"]\nask = []\n[\"x\\u001b[31m\"]\n").size(), 2U);
}

TEST(PolicyVersions, ChangeWithTheContentAlone) {
  const std::string a =
      "[policy]\non_fail = \"block\"\n[groups.b]\nproducts = [\"p\", \"q\"]\nask = [\"TPMRA\", { type = \"TCPOP\", "
      "argument = \"22 80\" }]\n[groups.a]\ndevices = [\"d\"]\n";
  const std::string b =
      "# the same\n[groups.a]\ndevices = [\"d\"]\ndescription = \"one\"\n[groups.b]\nask = [{ type = \"TCPOP\", "
      "argument = \"80 22\" }, { type = \"TPMRA\", argument = \"I B\" }]\nproducts = [\"q\", \"p\"]\n[policy]\non_fail "
      "= \"block\"\n";
  EXPECT_EQ(parsed(a)->digest, parsed(b)->digest);
  EXPECT_EQ(parsed(a)->version().size(), 16U);
  EXPECT_EQ(built_in_policy()->version(), "default");
  const std::pair<std::string, std::string> changes[] = {
      {"block", "isolate"},
      {"\"p\"", "\"r\""},
      {"22", "23"},
      {"TPMRA", "FWDEN"},
      {"\"d\"", "\"e\""},
      {"groups.a", "groups.c"},
      {"[policy]", "[policy]\ncombine = \"all\""},
      {"[policy]", "[policy]\nunknown_devices = \"block\""},
      {"[policy]", "[policy.messages.de]\n\"Default Password\" = \"x\"\n[policy]"},
      {"ask", "max_age = \"1h\"\nask"},
      {"ask", "default = true\nask"}};
  std::set<std::string> versions{parsed(a)->version()};
  for (const auto& [from, to] : changes) {
    std::string changed = a;
    changed.replace(changed.find(from), from.size(), to);
    EXPECT_TRUE(versions.insert(parsed(changed)->version()).second) << from << " to " << to;
  }
}

TEST(PackageLists, TellBlacklistedFromVulnerable) {
  const auto policy = parsed(R"([groups.g]
[[groups.g.ask]]
type = "PCKGS"
blacklisted = ["telnetd *", "xz-utils = 5.6.0-0.2"]
vulnerable = ["openssl < 3.0.11-1~deb12u2", "openssl 4.0-1", "bash <= 5.2-1", "xz-utils <= 5.6.1-1"]
)");
  const PackageRules& rules = first(policy, "g").argument.packages;
  const auto judge = [&](std::string_view package, std::string_view version) {
    return rules.judge(package, version, VersionScheme::dpkg);
  };
  EXPECT_EQ(judge("telnetd", "0.17"), PackageState::blacklisted);
  EXPECT_EQ(judge("telnetd", ""), PackageState::blacklisted);
  EXPECT_EQ(judge("telnet", "0.17"), PackageState::unlisted);
  EXPECT_EQ(judge("telnetd2", "0.17"), PackageState::unlisted);
  EXPECT_EQ(judge("xz-utils", "5.6.0-0.2"), PackageState::blacklisted);
  EXPECT_EQ(judge("xz-utils", "5.6.1-1"), PackageState::vulnerable);
  EXPECT_EQ(judge("xz-utils", "5.6.1-2"), PackageState::unlisted);
  EXPECT_EQ(judge("openssl", "3.0.11-1~deb12u1"), PackageState::vulnerable);
  EXPECT_EQ(judge("openssl", "3.0.11-1~deb12u2"), PackageState::unlisted);
  EXPECT_EQ(judge("openssl", "4.0-1"), PackageState::vulnerable);
  EXPECT_EQ(judge("bash", "5.2-1"), PackageState::vulnerable);
  EXPECT_EQ(judge("bash", "5.2-1.1"), PackageState::unlisted);
  EXPECT_EQ(judge("bash", "x:9"), PackageState::vulnerable);  // gibberish is no way around a rule
  EXPECT_EQ(judge("bash", ""), PackageState::vulnerable);
  EXPECT_EQ(rules.judge("bash", "5.2~1", VersionScheme::rpm), PackageState::vulnerable);
}

TEST(Patterns, MatchWholeTexts) {
  EXPECT_TRUE(pattern_matches("", ""));
  EXPECT_TRUE(pattern_matches("*", ""));
  EXPECT_TRUE(pattern_matches("Debian *", "Debian 12 x86_64"));
  EXPECT_FALSE(pattern_matches("Debian *", "debian 12"));
  EXPECT_FALSE(pattern_matches("Debian", "Debian 12"));
  EXPECT_TRUE(pattern_matches("a*b*c", "aXbYbZc"));
  EXPECT_FALSE(pattern_matches("a*b*c", "aXbYbZ"));
  EXPECT_TRUE(pattern_matches("a**c", "ac"));
  EXPECT_FALSE(pattern_matches("*a", std::string(100'000, 'b')));
}

TEST(IdentityPatterns, AreOfOneKindOfAuthentication) {
  const IdentityPattern pattern{"certificate", "CN=srv-*"};
  EXPECT_TRUE(pattern.matches("certificate", "CN=srv-1, O=Example"));
  EXPECT_FALSE(pattern.matches("password", "CN=srv-1, O=Example"));  // a user may choose such a name
  EXPECT_FALSE(pattern.matches("certificate", ""));
  EXPECT_FALSE((IdentityPattern{"certificate", "*"}.matches("certificate", "")));
}

}  // namespace
}  // namespace gatehouse::server::policy
