// The package managers themselves are the reference: dpkg where the test runs, rpm by what it answered.
#include "base/version.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace gatehouse {
namespace {

std::string sign(std::optional<std::strong_ordering> order) {
  if (!order) return "?";
  return *order < 0 ? "<" : *order > 0 ? ">" : "=";
}

const char* const versions[] = {"1.0",
                                "1.0-1",
                                "1.0-0",
                                "1.0~rc1-1",
                                "1.0~rc1~git2-1",
                                "1.0+dfsg-1",
                                "1.0-1+deb12u1",
                                "1.0-1~bpo12+1",
                                "1:0.9-1",
                                "0:1.0-1",
                                "01.0-1",
                                "1.00-1",
                                "1.0a-1",
                                "1.0.1-1",
                                "1.10-1",
                                "1.9-1",
                                "10-1",
                                "3.0.11-1~deb12u2",
                                "3.0.11-1~deb12u1",
                                "3.0.9-1",
                                "2.36-9+deb12u10",
                                "2.36-9+deb12u9",
                                "5.10.0-1.2",
                                "1.0-1-2",
                                "1.0:1-1",
                                "1.0-1.1",
                                "1.0-",
                                "1.0~~-1",
                                "1.0~-1",
                                "1.0.-1",
                                "20250101",
                                "99999999999999999999-1",
                                "99999999999999999998-1",
                                "1.0-1ubuntu2"};

TEST(PackageVersions, AreOrderedAsDpkgOrdersThem) {
  // One shell for all pairs; a version that dpkg refuses prints nothing for it.
  std::string script;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (std::size_t i = 0; i < std::size(versions); ++i)
    for (std::size_t j = i; j < std::size(versions); ++j) {
      if (std::string(versions[i]) == "1.0-" || std::string(versions[j]) == "1.0-") continue;
      if (std::string(versions[i]) == "1.0:1-1" || std::string(versions[j]) == "1.0:1-1") continue;
      pairs.emplace_back(versions[i], versions[j]);
    }
  for (const auto& [a, b] : pairs)
    script += "if dpkg --compare-versions " + a + " lt " + b + "; then echo '<'; elif dpkg --compare-versions " + a +
              " eq " + b + "; then echo =; else echo '>'; fi\n";
  const std::string path = testing::TempDir() + "dpkg_compare.sh";
  std::ofstream(path) << script;
  if (std::system("dpkg --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no dpkg here";
  FILE* const pipe = ::popen(("sh " + path).c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  char line[16];
  std::size_t i = 0;
  for (; std::fgets(line, sizeof line, pipe) != nullptr && i < pairs.size(); ++i) {
    const auto& [a, b] = pairs[i];
    const std::string expected(1, line[0]);
    EXPECT_EQ(sign(compare_versions(VersionScheme::dpkg, a, b)), expected) << a << " and " << b;
    EXPECT_EQ(sign(compare_versions(VersionScheme::dpkg, b, a)), expected == "<"   ? ">"
                                                                 : expected == ">" ? "<"
                                                                                   : "=")
        << b << " and " << a;
  }
  ::pclose(pipe);
  EXPECT_EQ(i, pairs.size());
  EXPECT_GE(pairs.size(), 500U);
}

TEST(PackageVersions, AreOrderedAsRpmOrdersThem) {
  std::ifstream in(GATEHOUSE_TEST_DATA "/versions/rpm.txt");
  std::string a, b, expected;
  std::size_t n = 0;
  for (; in >> a >> expected >> b; ++n) {
    EXPECT_EQ(sign(compare_versions(VersionScheme::rpm, a, b)), expected) << a << " and " << b;
    EXPECT_EQ(sign(compare_versions(VersionScheme::rpm, b, a)), expected == "<" ? ">" : expected == ">" ? "<" : "=");
  }
  EXPECT_EQ(n, 666U);
}

TEST(PackageVersions, OfRpmCompareEpochAndReleaseToo) {
  EXPECT_EQ(sign(compare_versions(VersionScheme::rpm, "1:1.0-1", "2.0-1")), ">");
  EXPECT_EQ(sign(compare_versions(VersionScheme::rpm, "0:2.0-1", "2.0-1")), "=");
  EXPECT_EQ(sign(compare_versions(VersionScheme::rpm, "3.0.7-27.el9", "3.0.7-28.el9_4")), "<");
  EXPECT_EQ(sign(compare_versions(VersionScheme::rpm, "3.0.7-27.el9", "3.0.7")), "=");  // no release: any
}

TEST(PackageVersions, WithoutAVersionInThemAreIncomparable) {
  for (const VersionScheme scheme : {VersionScheme::dpkg, VersionScheme::rpm})
    for (const char* const bad : {"", "x:1.0", ":1.0", "-1", "1:", "1:-1"}) {
      EXPECT_EQ(sign(compare_versions(scheme, bad, "1.0")), "?") << bad;
      EXPECT_EQ(sign(compare_versions(scheme, "1.0", bad)), "?") << bad;
    }
}

TEST(PackageVersions, OfAnyBytesAreOrderedOneWay) {
  const std::string odd[] = {"1.0",
                             std::string("\0\xff", 2),
                             "\xff\xff~",
                             "~",
                             "^",
                             "a1b2",
                             std::string(3000, '0') + "1",
                             std::string(3000, '9'),
                             "1.0 "};
  for (const VersionScheme scheme : {VersionScheme::dpkg, VersionScheme::rpm})
    for (const auto& a : odd)
      for (const auto& b : odd) {
        const auto there = compare_versions(scheme, a, b), back = compare_versions(scheme, b, a);
        ASSERT_TRUE(there && back);
        EXPECT_EQ(*there<0, *back> 0);
        EXPECT_EQ(*there == 0, *back == 0);
      }
}

TEST(PackageVersions, FollowTheProduct) {
  EXPECT_EQ(version_scheme("Debian 12 x86_64"), VersionScheme::dpkg);
  EXPECT_EQ(version_scheme("Ubuntu 20.04 x86_64"), VersionScheme::dpkg);
  EXPECT_EQ(version_scheme("Fedora 41 x86_64"), VersionScheme::rpm);
  EXPECT_EQ(version_scheme("Rocky 9.4 x86_64"), VersionScheme::rpm);
  EXPECT_EQ(version_scheme(""), VersionScheme::dpkg);
}

}  // namespace
}  // namespace gatehouse
