// Which package versions a generation knows: the question of the package check.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "refdb/store/builder.h"
#include "refdb/store/open.h"

namespace gatehouse::refdb {
namespace {

class Packages : public testing::Test {
 protected:
  Packages() : path_(std::filesystem::temp_directory_path() / ("gatehouse-packages-" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
  }
  ~Packages() override { std::filesystem::remove_all(path_); }

  void add(const std::string& product, const std::string& name, const std::string& version,
           const std::string& architecture = "amd64") {
    auto builder = Builder::open(path_);
    ASSERT_TRUE(builder) << builder.error().text();
    ReferencePackage p;
    p.product = product;
    p.name = name;
    p.version = version;
    p.architecture = architecture;
    p.source = "test";
    p.ingested = 1;
    p.files.push_back({"/usr/bin/" + name + version,
                       1,
                       false,
                       {{HashAlgorithm::sha256, digest_of(HashAlgorithm::sha256, as_bytes(name + version))}}});
    ASSERT_TRUE(builder->add(std::move(p)));
    ASSERT_TRUE(builder->publish());
  }
  std::shared_ptr<const View> view() {
    auto opened = open_view(path_);
    EXPECT_TRUE(opened) << opened.error().text();
    return opened ? *opened : nullptr;
  }
  const std::string path_;
};

TEST_F(Packages, AreKnownByProductNameAndVersionTogether) {
  add("Debian 12 x86_64", "bash", "5.2.15-2+b7");
  add("Debian 12 x86_64", "bash", "5.2.15-2+b8");
  add("Debian 12 x86_64", "dash", "0.5.12-2");
  add("Debian 11 x86_64", "sed", "4.7-1");
  const auto v = view();
  ASSERT_TRUE(v);
  EXPECT_TRUE(*v->has_package("Debian 12 x86_64", "bash", "5.2.15-2+b7"));
  EXPECT_TRUE(*v->has_package("Debian 12 x86_64", "bash", "5.2.15-2+b8"));
  EXPECT_TRUE(*v->has_package("Debian 11 x86_64", "sed", "4.7-1"));
  EXPECT_FALSE(*v->has_package("Debian 12 x86_64", "bash", "5.2.15-2"));
  EXPECT_FALSE(*v->has_package("Debian 12 x86_64", "bash", "0.5.12-2"));
  EXPECT_FALSE(*v->has_package("Debian 12 x86_64", "sed", "4.7-1"));
  EXPECT_FALSE(*v->has_package("Debian 13 x86_64", "bash", "5.2.15-2+b7"));
  EXPECT_FALSE(*v->has_package("", "", ""));
}

TEST_F(Packages, OfALaterGenerationArentInAnEarlierOne) {
  add("Debian 12 x86_64", "bash", "1");
  const auto before = view();
  ASSERT_TRUE(before);
  EXPECT_FALSE(*before->has_package("Debian 12 x86_64", "dash", "1"));
  add("Debian 12 x86_64", "dash", "1");
  const auto after = view();
  ASSERT_TRUE(after);
  EXPECT_TRUE(*after->has_package("Debian 12 x86_64", "dash", "1"));
  EXPECT_TRUE(*after->has_package("Debian 12 x86_64", "bash", "1"));
  EXPECT_FALSE(*before->has_package("Debian 12 x86_64", "dash", "1"));
}

TEST_F(Packages, FilesOfNoPackageMakeNone) {
  add("Debian 12 x86_64", "", "1");
  const auto v = view();
  ASSERT_TRUE(v);
  EXPECT_FALSE(*v->has_package("Debian 12 x86_64", "", "1"));
}

TEST_F(Packages, MayBeAskedForByManyThreadsAtOnce) {
  for (int i = 0; i < 8; ++i) add("Debian 12 x86_64", "package" + std::to_string(i), "1");
  const auto v = view();
  ASSERT_TRUE(v);
  std::vector<std::jthread> threads;
  std::atomic<int> found{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 16; ++i)
        found += *v->has_package("Debian 12 x86_64", "package" + std::to_string(i), "1") ? 1 : 0;
    });
  threads.clear();
  EXPECT_EQ(found, 4 * 8);
}

}  // namespace
}  // namespace gatehouse::refdb
