// The reference store as readers and ingestions see it: which references a path and a digest have, and what is left of
// a store after damage and after an ingestion that didn't end.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "refdb/store/builder.h"
#include "refdb/store/open.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view product = "Debian 12 x86_64";

std::vector<std::pair<HashAlgorithm, Digest>> digests_of(std::string_view content) {
  std::vector<std::pair<HashAlgorithm, Digest>> out;
  for (const HashAlgorithm a : common_banks) out.emplace_back(a, digest_of(a, as_bytes(content)));
  return out;
}
ReferencePackage package(const std::string& name, const std::vector<std::pair<std::string, std::string>>& files) {
  ReferencePackage out;
  out.product = product;
  out.name = name;
  out.version = "1";
  out.source = name + ".deb";
  for (const auto& [path, content] : files) out.files.push_back({path, content.size(), false, digests_of(content)});
  return out;
}

class Store : public ::testing::Test {
 protected:
  Store() {
    std::string pattern = (fs::temp_directory_path() / "gatehouse-refdb-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    folder_ = pattern;
    path_ = folder_ + "/refdb";
  }
  ~Store() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  Result<Published> take(ReferencePackage p) const {
    GH_TRY(Builder builder, Builder::open(path_));
    GH_CHECK(builder.add(std::move(p)));
    return builder.publish();
  }
  // "path:first digits of the SHA-256" of each.
  static std::string text(const Result<std::vector<Reference>>& found) {
    if (!found) return found.error().text();
    std::string out;
    for (const Reference& r : *found)
      out += (out.empty() ? "" : " ") + r.path + ":" + r.digest(HashAlgorithm::sha256)->hex().substr(0, 4);
    return out;
  }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ + "/" + name) << content;
  }

  std::string folder_, path_;
};

std::string hex4(std::string_view content) {
  return digest_of(HashAlgorithm::sha256, as_bytes(content)).hex().substr(0, 4);
}

TEST_F(Store, KeepsEveryFileThatAKernelReportsUnderOneName) {
  ASSERT_TRUE(take(package(
      "p",
      {{"/opt/a b", "blank"}, {"/opt/a_b", "line"}, {"/bin/x", "old"}, {"/usr/bin/x", "new"}, {"/usr/bin/y", "y"}})));
  const auto view = open_view(path_).value();
  const std::string both = "/opt/a b:" + hex4("blank") + " /opt/a_b:" + hex4("line");
  EXPECT_EQ(text(view->references_of_path(product, "/opt/a_b")), both);
  EXPECT_EQ(text(view->references_of_path(product, "/opt/a b")), both);
  EXPECT_EQ(text(view->references_of_path(product, "/usr/bin/x")),
            "/bin/x:" + hex4("old") + " /usr/bin/x:" + hex4("new"));
  // A digest leads to the file that has it, in every algorithm.
  for (const auto& [content, path] : std::vector<std::pair<std::string, std::string>>{
           {"blank", "/opt/a b"}, {"line", "/opt/a_b"}, {"old", "/bin/x"}, {"new", "/usr/bin/x"}, {"y", "/usr/bin/y"}})
    for (const auto& [_, digest] : digests_of(content))
      EXPECT_EQ(text(view->references_of_digest({}, digest)), path + ":" + hex4(content));
  EXPECT_EQ(read_stats(path_)->files, 5U);
}

TEST_F(Store, CountsWhatItStored) {
  auto builder = Builder::open(path_).value();
  const auto added = builder.add(package("p", {{"/a", "1"}, {"/a", "22"}, {"/b", "333"}}));
  ASSERT_TRUE(added && *added);
  EXPECT_EQ((*added)->files, 2U);
  EXPECT_EQ((*added)->bytes, 5U);
  EXPECT_FALSE(builder.add(package("p", {{"/a", "22"}, {"/b", "333"}})).value());
  ASSERT_TRUE(builder.publish());
  EXPECT_EQ(read_stats(path_)->files, 2U);
}

TEST_F(Store, ContentDigestForgetsOrderAndGenerations) {
  const auto a = package("a", {{"/a", "a"}, {"/c d", "x"}, {"/c_d", "y"}}), b = package("b", {{"/b", "b"}});
  ASSERT_TRUE(take(a));
  ASSERT_TRUE(take(b));
  const auto two_steps = read_stats(path_).value();
  fs::remove_all(path_);
  auto builder = Builder::open(path_).value();
  ASSERT_TRUE(builder.add(b));
  ASSERT_TRUE(builder.add(a));
  const auto published = builder.publish().value();
  EXPECT_EQ(published.content_digest, two_steps.content_digest);
  EXPECT_EQ(read_stats(path_)->digests, two_steps.digests);
}

TEST_F(Store, OneIngestionAtATimeFromTheFirstOn) {
  const auto first = Builder::open(path_);
  ASSERT_TRUE(first);
  const auto second = Builder::open(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason, "another ingestion is going on");
  EXPECT_EQ(second.error().fault, Fault::environment);
}

TEST_F(Store, ADamagedPointerIsAnErrorAndLosesNothing) {
  ASSERT_TRUE(take(package("a", {{"/a", "a"}})));
  ASSERT_TRUE(take(package("b", {{"/b", "b"}})));
  for (const std::string damage : {"", "2", "\n", "0\n", "2x\n", "-2\n", "2\n3\n", "99999999999999999999999\n"}) {
    write("CURRENT", damage);
    EXPECT_EQ(current_generation(path_).error().fault, Fault::environment) << damage;
    EXPECT_FALSE(open_view(path_)) << damage;
    EXPECT_FALSE(read_stats(path_)) << damage;
    EXPECT_FALSE(take(package("c", {{"/c", "c"}}))) << damage;
  }
  // A pointer that is gone, or names an older generation, would make an ingestion remove what was current.
  fs::remove(path_ + "/CURRENT");
  EXPECT_FALSE(take(package("c", {{"/c", "c"}})));
  write("CURRENT", "2\n");
  EXPECT_EQ(read_stats(path_)->packages, 2U);
  ASSERT_TRUE(take(package("c", {{"/c", "c"}})));
  EXPECT_EQ(read_stats(path_)->packages, 3U);
}

// Cut anywhere, the list of a generation's tables must not make it one with fewer references: what differs would be
// unknown, and unknown is allowed by default.
TEST_F(Store, AGenerationIsWholeOrAnError) {
  ASSERT_TRUE(take(package("a", {{"/a", "a"}})));
  ASSERT_TRUE(take(package("b", {{"/b", "b"}})));
  std::string manifest;
  for (const auto& entry : fs::directory_iterator(path_ + "/generations/2"))
    if (entry.path().filename().string().starts_with("MANIFEST")) manifest = entry.path().string();
  const ByteVector whole = read_file(manifest, 1 << 20).value();
  std::size_t opened = 0;
  for (std::size_t n = 0; n <= whole.size(); ++n) {
    std::ofstream(manifest, std::ios::trunc) << as_text(Bytes(whole).first(n));
    const auto view = open_view(path_);
    const auto stats = read_stats(path_);
    EXPECT_EQ(view.has_value(), stats.has_value()) << n;
    if (!view) continue;
    ++opened;
    EXPECT_EQ(text((*view)->references_of_path(product, "/a")), "/a:" + hex4("a")) << n;
    EXPECT_EQ(text((*view)->references_of_path(product, "/b")), "/b:" + hex4("b")) << n;
    EXPECT_EQ(stats->packages, 2U) << n;
  }
  EXPECT_GE(opened, 1U);
}

TEST_F(Store, LeftoversOfAKilledIngestionAreRemoved) {
  ASSERT_TRUE(take(package("a", {{"/a", "a"}})));
  fs::create_directories(path_ + "/generations/2.new");
  fs::copy(path_ + "/generations/1", path_ + "/generations/2", fs::copy_options::recursive);
  write("table.new", "half");
  const auto before = read_stats(path_).value();
  EXPECT_EQ(before.generation, 1U);
  EXPECT_EQ(take(package("a", {{"/a", "a"}}))->generation, 1U);  // nothing new
  EXPECT_FALSE(fs::exists(path_ + "/generations/2"));
  EXPECT_FALSE(fs::exists(path_ + "/generations/2.new"));
  EXPECT_EQ(read_stats(path_)->content_digest, before.content_digest);
  EXPECT_EQ(take(package("b", {{"/b", "b"}}))->generation, 2U);
}

}  // namespace
}  // namespace gatehouse::refdb
