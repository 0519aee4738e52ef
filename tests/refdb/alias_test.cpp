// One file, its names: as the package has it, as a merged /usr has it, as a kernel reports it (spec part 2 §8.5, §7.2).
#include "refdb/alias/alias.h"

#include <gtest/gtest.h>

#include <random>

namespace gatehouse::refdb {
namespace {

using namespace std::string_literals;

TEST(CanonicalPath, IsAbsoluteAndLiteral) {
  for (const auto& [path, canonical] :
       std::vector<std::pair<std::string, std::string>>{{"/usr/bin/ls", "/usr/bin/ls"},
                                                        {"./usr/bin/ls", "/usr/bin/ls"},
                                                        {"usr/bin/ls", "/usr/bin/ls"},
                                                        {"//usr///bin//ls", "/usr/bin/ls"},
                                                        {"/usr/./bin/././ls", "/usr/bin/ls"},
                                                        {"/usr/lib/../bin/ls", "/usr/bin/ls"},
                                                        {"/a/b/../../c", "/c"},
                                                        {"/usr/bin/", "/usr/bin"},
                                                        {"/", "/"},
                                                        {".", "/"},
                                                        {"/a/..", "/"},
                                                        {"/a/...", "/a/..."},
                                                        {"/..a", "/..a"},
                                                        {"/a b/\xFF\n", "/a b/\xFF\n"},
                                                        {"/usr/share/doc/a..b", "/usr/share/doc/a..b"}}) {
    const auto out = canonical_path(path);
    ASSERT_TRUE(out) << path;
    EXPECT_EQ(*out, canonical) << path;
    EXPECT_EQ(canonical_path(*out).value(), canonical);
  }
}

TEST(CanonicalPath, RefusesWhatIsNoPath) {
  EXPECT_EQ(canonical_path("").error().reason, "empty path");
  EXPECT_EQ(canonical_path("/..").error().reason, "path climbs above the root");
  EXPECT_EQ(canonical_path("../etc/passwd").error().reason, "path climbs above the root");
  EXPECT_EQ(canonical_path("/a/../../b").error().reason, "path climbs above the root");
  EXPECT_EQ(canonical_path("/a\0b"s).error().reason, "NUL in a path");
  EXPECT_TRUE(canonical_path("/" + std::string(max_path_bytes - 1, 'a')));
  EXPECT_EQ(canonical_path("/" + std::string(max_path_bytes, 'a')).error().reason, "path longer than 4096 bytes");
  EXPECT_EQ(canonical_path(std::string(max_path_bytes, 'a')).error().reason,
            "path longer than 4096 bytes");  // with its slash
}

TEST(CanonicalPath, IsKnownWithoutMakingIt) {
  for (const std::string path : {"/usr/bin/ls", "/a", "/a b/c..d/e.", "/usr/share/doc/x/copyright"})
    EXPECT_TRUE(is_canonical(path)) << path;
  std::mt19937 random(2);
  const std::vector<std::string> parts{"/", ".", "..", "a", "usr", "\0"s, "a.b", ".hidden", "/bin", "//"};
  std::size_t canonical = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string path;
    for (auto n = random() % 7; n != 0; --n) path += parts[random() % parts.size()];
    if (!is_canonical(path)) continue;
    ++canonical;
    const auto made = canonical_path(path);
    ASSERT_TRUE(made) << path;
    EXPECT_EQ(*made, path);
  }
  EXPECT_GT(canonical, 200U);
  EXPECT_FALSE(is_canonical("/" + std::string(max_path_bytes, 'a')));
}

TEST(Alias, ComponentsAreWhole) {
  EXPECT_TRUE(below("/lib/x", "/lib"));
  EXPECT_FALSE(below("/lib", "/lib"));
  EXPECT_FALSE(below("/lib32/x", "/lib"));
  EXPECT_FALSE(below("/usr/lib32/x", "/usr/lib"));
  EXPECT_FALSE(below("/x", "/lib"));
}

TEST(Alias, UsrMergeInBothDirections) {
  for (const std::string folder : {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"}) {
    const std::string short_name = "/" + folder + "/x/y", long_name = "/usr/" + folder + "/x/y";
    EXPECT_EQ(alias_of(short_name), long_name);
    EXPECT_EQ(alias_of(long_name), short_name);
    EXPECT_EQ(merged_path(short_name), long_name);
    EXPECT_EQ(merged_path(long_name), long_name);
    EXPECT_EQ(kernel_names(short_name), (std::vector{long_name, short_name}));
    EXPECT_EQ(kernel_names(long_name), (std::vector{long_name, short_name}));
  }
}

TEST(Alias, OtherFoldersHaveNoAlias) {
  for (const std::string path : {"/etc/passwd", "/usr/share/x", "/bin", "/usr/bin", "/lib33/x", "/libx/x",
                                 "/usr/local/bin/x", "/opt/bin/x", "/usr/usr/bin/x", "bin/x", "/usrbin/x", "/binx/x"}) {
    EXPECT_EQ(alias_of(path), std::nullopt) << path;
    EXPECT_EQ(merged_path(path), path);
    EXPECT_EQ(kernel_names(path), std::vector{path});
  }
}

TEST(Alias, KernelsReportSpacesAsUnderscores) {
  EXPECT_EQ(kernel_name("/opt/My App/a b"), "/opt/My_App/a_b");
  EXPECT_EQ(kernel_name("/opt/a\tb\n"), "/opt/a\tb\n");  // nothing but the space
  EXPECT_EQ(index_path("/bin/My App"), "/usr/bin/My_App");
  EXPECT_EQ(kernel_names("/bin/My App"), (std::vector<std::string>{"/usr/bin/My_App", "/bin/My_App"}));
}

TEST(Alias, OddReportedPathsStayOdd) {
  for (const std::string path : {"//usr/bin/ls", "/usr//bin/ls", "/usr/bin/../../tmp/x", "/tmp/x_(deleted)", "ls", ""})
    EXPECT_EQ(index_path(path), path) << path;
  EXPECT_EQ(index_path("/bin/./ls"), "/usr/bin/./ls");
}

TEST(Alias, EveryNameOfAFileHasTheSameIndex) {
  std::mt19937 random(1);
  const std::vector<std::string> parts{"bin", "usr", "lib",   "lib64",   "sbin", "a b",
                                       "a_b", "x",   "lib32", "usr bin", "share"};
  for (int i = 0; i < 5000; ++i) {
    std::string path;
    for (auto n = 1 + random() % 5; n != 0; --n) path += "/" + parts[random() % parts.size()];
    const std::string index = index_path(path);
    EXPECT_EQ(index_path(index), index) << path;
    for (const std::string& name : kernel_names(path)) EXPECT_EQ(index_path(name), index) << path;
    if (const auto other = alias_of(path)) {
      EXPECT_EQ(index_path(*other), index) << path;
      EXPECT_EQ(alias_of(*other), path);
    }
  }
}

}  // namespace
}  // namespace gatehouse::refdb
