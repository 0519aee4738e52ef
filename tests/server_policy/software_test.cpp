// [software.NAME]: what rules for the software inventory come to, whom they apply to, and what is said of mistakes in them.
#include "server/policy/software.h"

#include <gmock/gmock.h>

#include "tests/server_policy/support.h"

namespace gatehouse::server::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Named {
  std::string_view identifier, creator, name, version;
};

// As strongSwan's collectors and ours name packages.
TEST(SoftwareNames, OfDebianPackages) {
  constexpr Named rows[] = {
      {"strongswan.org__Debian_12-x86_64-dpkg-1.21.23", "strongswan.org", "dpkg", "1.21.23"},
      {"strongswan.org__Debian_12-x86_64-libaudit-common-1~3.0.9-1", "strongswan.org", "libaudit-common", "1~3.0.9-1"},
      {"strongswan.org__Debian_12-x86_64-linux-image-6.1.0-18-amd64-6.1.76-1", "strongswan.org", "linux-image-6.1.0-18-amd64",
       "6.1.76-1"},
      {"strongswan.org__Debian_12-x86_64-gcc-12-base-12.2.0-14", "strongswan.org", "gcc-12-base", "12.2.0-14"},
      {"strongswan.org__Debian_12-x86_64-gcc-12-12.2.0-14", "strongswan.org", "gcc-12", "12.2.0-14"},
      {"strongswan.org__Ubuntu_22.04-aarch64-openssl-3.0.2-0ubuntu1.15", "strongswan.org", "openssl", "3.0.2-0ubuntu1.15"},
      {"example.com__Tool-4.1", "example.com", "Tool", "4.1"},
      {"example.com__cross-x86_64-tool-4.1", "example.com", "cross-x86_64-tool", "4.1"},
      {"example.com__3f2504e0", "example.com", "3f2504e0", ""},
      {"no-creator-1.0", "", "no-creator", "1.0"},
      {"a__", "a", "", ""},
      {"a__-1", "a", "-1", ""},
      {"", "", "", ""},
      {"a__b-", "a", "b-", ""},
  };
  for (const Named& row : rows) {
    const SoftwareName name = software_name(row.identifier, VersionScheme::dpkg);
    EXPECT_EQ(name.creator, row.creator) << row.identifier;
    EXPECT_EQ(name.name, row.name) << row.identifier;
    EXPECT_EQ(name.version, row.version) << row.identifier;
  }
}

TEST(SoftwareNames, OfRpmsHaveARelease) {
  const SoftwareName name = software_name("strongswan.org__Fedora_41-x86_64-kernel-core-6.11.4-301.fc41", VersionScheme::rpm);
  EXPECT_EQ(name.name, "kernel-core");
  EXPECT_EQ(name.version, "6.11.4-301.fc41");
}

TEST(SoftwareNames, VersionsCompareAsThePackagesOwn) {
  const auto compare = [](std::string_view in_identifier, std::string_view in_rule) {
    return compare_software_versions(VersionScheme::dpkg, in_identifier, in_rule);
  };
  EXPECT_EQ(compare("1~3.0.9-1", "1:3.0.9-1"), std::strong_ordering::equal) << "an epoch";
  EXPECT_EQ(compare("3.0.11-1", "1:0.5-1"), std::strong_ordering::less) << "the epoch counts first";
  EXPECT_EQ(compare("1.18.4-1~deb12u1", "1.18.4-1+deb12u1"), std::strong_ordering::equal);
  EXPECT_EQ(compare("3.0.11-1~deb12u1", "3.0.11-1~deb12u2"), std::strong_ordering::less);
  EXPECT_EQ(compare("3.0.13-1~deb12u1", "3.0.11-1~deb12u2"), std::strong_ordering::greater);
  EXPECT_EQ(compare("1.0~dfsg-1", "1.0-1"), std::nullopt) << "1.0+dfsg-1 is newer, 1.0~dfsg-1 older";
  EXPECT_EQ(compare("", "1.0-1"), std::nullopt);
}

constexpr std::string_view tree = R"([policy]
software = "a"
[software.a]
required = [{ name = "auditd", at_least = "1:3.0.9-1" }]
[software.b]
inventory_max_age = "30d"
missing = "fail"
incomplete = "fail"
forbidden = [{ name = "telnet*", creator = "strongswan.org" }, { id = "example.com__Tool-*", version = "4.*" }]
minimum = [{ name = "openssl", at_least = "3.0.11-1~deb12u2" }]
[groups.top]
devices = ["d1"]
ask = [{ type = "SWIDT", argument = "R" }]
[groups.below]
parent = "top"
devices = ["d2"]
software = "b"
ask = [{ type = "SWIDT", argument = "R" }, "TPMRA"]
[groups.deeper]
parent = "below"
devices = ["d3"]
software = "inherit"
ask = ["SWIDT"]
[groups.free]
devices = ["d4"]
software = "none"
ask = [{ type = "SWIDT", argument = "R" }]
[groups.both]
devices = ["d4"]
software = "b"
ask = [{ type = "SWIDT", argument = "R" }]
)";

std::string applied(const PolicyPtr& policy, const DeviceFacts& device) {
  std::string out;
  for (const WorkItem& item : work_items(*policy, device, {}).items)
    for (const auto& rules : item.software) out += (out.empty() ? "" : ",") + std::string(name(item.type)) + ":" + rules->name;
  return out;
}

TEST(PolicySoftware, HoldsEverythingThatIsWritten) {
  const auto policy = parsed(std::string(tree));
  ASSERT_EQ(policy->software.size(), 2U);
  const SoftwareRules& b = *policy->software[1];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.inventory_max_age, std::chrono::hours(30 * 24));
  EXPECT_TRUE(b.missing_fails && b.incomplete_fails);
  ASSERT_EQ(b.list.size(), 3U);
  std::vector<std::string> texts;
  for (const SoftwareRule& rule : b.list) texts.push_back(std::string(name(rule.kind)) + ' ' + rule.text());
  EXPECT_THAT(texts, testing::UnorderedElementsAre("forbidden creator \"strongswan.org\", name \"telnet*\"",
                                                   "forbidden id \"example.com__Tool-*\", version \"4.*\"",
                                                   "minimum name \"openssl\", at least 3.0.11-1~deb12u2"));
}

TEST(PolicySoftware, OfAllGroupsThatAskApply) {
  const auto policy = parsed(std::string(tree));
  EXPECT_EQ(applied(policy, known("d1")), "SWIDT:a");
  EXPECT_EQ(applied(policy, known("d2")), "SWIDT:a,SWIDT:b") << "the group above asks, too; TPMRA has none of them";
  EXPECT_EQ(applied(policy, known("d3")), "SWIDT:a,SWIDT:b") << "inherited";
  EXPECT_EQ(applied(policy, known("d4")), "SWIDT:b") << "another group frees nobody of them";
}

TEST(PolicySoftware, IsPartOfTheVersionAndOfWhatAResultAnswers) {
  const std::string ask = "[groups.all]\nsoftware = \"x\"\nask = [{ type = \"SWIDT\", argument = \"R\" }]\n";
  const auto one = parsed("[software.x]\nrequired = [{ name = \"a\" }]\n" + ask);
  const auto other = parsed("[software.x]\nforbidden = [{ name = \"a\" }]\n" + ask);
  const auto late = parsed("[software.x]\nrequired = [{ name = \"a\" }]\nmissing = \"fail\"\n" + ask);
  EXPECT_NE(one->version(), other->version());
  EXPECT_NE(one->version(), late->version());
  const auto key = [](const PolicyPtr& policy) { return keys(work_items(*policy, known("d"), {}).items); };
  EXPECT_THAT(key(one), testing::StartsWith("SWIDT R rules "));
  EXPECT_NE(key(one), key(other));
  EXPECT_EQ(key(one), key(parsed("[software.x]\ndescription = \"the same\"\nrequired = [{ name = \"a\" }]\n" + ask)));
}

TEST(PolicySoftware, EveryMistakeHasItsLineAndKey) {
  EXPECT_THAT(mistakes(R"([software.x]
requird = []
missing = "no"
inventory_max_age = "soon"
forbidden = [{ creator = "a" }, { name = "a", at_least = "1" }]
minimum = [{ name = "openssl" }, { name = "openssl", at_least = "-" }]
required = [{ name = "", at_least = "1" }, { name = "a", version = "1*", at_least = "1" }, "auditd"]
[software.none]
[groups.g]
software = "y"
ask = ["SWIDT"]
)"),
              ElementsAre(HasSubstr("policy.toml:2: software.x.requird: unknown key: did you mean \"required\"?"),
                          HasSubstr("policy.toml:3: software.x.missing: is fail or noresult"),
                          HasSubstr("policy.toml:4: software.x.inventory_max_age: wants a duration"),
                          HasSubstr("policy.toml:5: software.x.forbidden: wants `name` or `id`"),
                          HasSubstr("policy.toml:5: software.x.forbidden.at_least: unknown key"),
                          HasSubstr("policy.toml:6: software.x.minimum.at_least: is missing"),
                          HasSubstr("policy.toml:6: software.x.minimum.at_least: wants a version"),
                          HasSubstr("policy.toml:7: software.x.required: wants a table"),
                          HasSubstr("policy.toml:7: software.x.required.at_least: and `version` exclude each other"),
                          HasSubstr("policy.toml:7: software.x.required.name: wants a pattern of names"),
                          HasSubstr("policy.toml:8: software.none: a name of rules"),
                          HasSubstr("policy.toml:10: groups.g.software: no rules are called \"y\"")));
  std::string many = "[software.x]\nforbidden = [";
  for (int i = 0; i < 65; ++i) many += "{ name = \"a" + std::to_string(i) + "*\" },";
  EXPECT_THAT(mistakes(many + "]\n"), ElementsAre(HasSubstr("more than 64 rules")));
  many = "[software.x]\nforbidden = [";
  for (int i = 0; i < 1025; ++i) many += "{ name = \"a" + std::to_string(i) + "\" },";
  EXPECT_THAT(mistakes(many + "]\n"), ElementsAre(HasSubstr("more than 1024 rules")));
}

TEST(PolicySoftware, TheGuidesExampleIsRight) {
  const std::string guide = content(GATEHOUSE_DOCS "/policy.md");
  const std::size_t at = guide.find("## `[software.NAME]`");
  ASSERT_NE(at, std::string::npos);
  EXPECT_THAT(mistakes(toml_block(guide.substr(at))), IsEmpty());
}

// --- names of certificates

DeviceFacts with_certificate(std::vector<std::string> names, std::string issuer = "CN=Device CA 2,O=Example") {
  DeviceFacts out;
  out.standing = Standing::claimed;
  out.device = "d";
  out.identity = "CN=host7,O=Example";
  out.identity_type = "certificate";
  out.certificate = {std::move(issuer), std::move(names)};
  return out;
}

TEST(PolicyCertificates, IssuerAndAlternativeNamesMakeMembers) {
  const auto groups = [](const std::string& pattern, const DeviceFacts& device) {
    return groups_of(*parsed("[groups.g]\ncertificates = [" + pattern + "]\nask = [\"FWDEN\"]\n"), device).size();
  };
  const DeviceFacts host = with_certificate({"dns:host7.Srv.example.org", "dns:other.example.org", "email:Root@Example.org",
                                             "uri:urn:uuid:1-2"});
  EXPECT_EQ(groups("{ dns = \"*.srv.example.org\" }", host), 1U) << "DNS names have no case";
  EXPECT_EQ(groups("{ dns = \"other.example.org\", O = \"Example\" }", host), 1U) << "any of several";
  EXPECT_EQ(groups("{ dns = \"*.srv.example.org\", O = \"Another\" }", host), 0U) << "all of a table";
  EXPECT_EQ(groups("{ dns = \"urn:*\" }", host), 0U) << "of its own kind";
  EXPECT_EQ(groups("{ email = \"root@example.org\" }", host), 1U);
  EXPECT_EQ(groups("{ uri = \"urn:uuid:*\" }", host), 1U);
  EXPECT_EQ(groups("{ uri = \"URN:UUID:*\" }", host), 0U);
  EXPECT_EQ(groups("{ issuer = { CN = \"Device CA*\", O = \"Example\" } }", host), 1U);
  EXPECT_EQ(groups("{ issuer = { CN = \"host7\" } }", host), 0U) << "the subject is no issuer";
  EXPECT_EQ(groups("{ CN = \"Device CA*\" }", host), 0U);
  DeviceFacts password = host;
  password.identity_type = "password";
  EXPECT_EQ(groups("{ dns = \"*\" }", password), 0U);
  DeviceFacts nobody = host;
  nobody.identity.clear();
  EXPECT_EQ(groups("{ dns = \"*\" }", nobody), 0U) << "nothing is authenticated";
}

TEST(PolicyCertificates, ArePartOfTheVersion) {
  const auto version = [](const std::string& pattern) {
    return parsed("[groups.g]\ncertificates = [" + pattern + "]\nask = [\"FWDEN\"]\n")->version();
  };
  EXPECT_NE(version("{ dns = \"a\" }"), version("{ email = \"a\" }"));
  EXPECT_NE(version("{ CN = \"a\" }"), version("{ issuer = { CN = \"a\" } }"));
}

TEST(PolicyCertificates, MistakesNameTheKey) {
  EXPECT_THAT(mistakes("[groups.g]\ncertificates = [{ dns = 1 }, { issuer = \"CN=a\" }, { issuer = { \"C N\" = \"a\" } }]\n"),
              ElementsAre(HasSubstr("policy.toml:2: groups.g.certificates.dns: wants the value"),
                          HasSubstr("policy.toml:2: groups.g.certificates.issuer: wants a table"),
                          HasSubstr("policy.toml:2: groups.g.certificates.issuer.C N: is no attribute")));
}

}  // namespace
}  // namespace gatehouse::server::policy
