// Which generations there are, what changed from one to another, and the way back.
#include "refdb/store/generations.h"

#include "tests/refdb/support.h"

namespace gatehouse::refdb {
namespace {

const std::string debian = "Debian 12 x86_64", other = "Other 1 x86_64";

class Generations : public ::testing::Test {
 protected:
  Published add(std::vector<ReferencePackage> packages) {
    auto published = publish(store_, std::move(packages));
    EXPECT_TRUE(published) << published.error().text();
    return published.value_or(Published{});
  }
  // "added debian bash 2 (3)" for each package, then "changed debian /path" for each file; the counts agree.
  std::vector<std::string> diff(std::uint64_t from, std::uint64_t to) {
    std::vector<std::string> files;
    const auto found = diff_generations(store_, from, to, [&](const FileChange& f) {
      files.push_back(std::string(name(f.change)) + " " + f.product + " " + f.path);
    });
    if (!found) return {std::string(found.error().reason)};
    std::vector<std::string> out;
    for (const PackageChange& p : found->packages)
      out.push_back(std::string(name(p.change)) + " " + p.product + " " + p.name + " " + p.version + " (" +
                    std::to_string(p.files) + ")");
    for (const Change change : {Change::added, Change::removed, Change::changed}) {
      const auto n = std::ranges::count_if(files, [&](const std::string& f) { return f.starts_with(name(change)); });
      EXPECT_EQ(std::uint64_t(n), change == Change::added     ? found->added
                                  : change == Change::removed ? found->removed
                                                              : found->changed);
    }
    out.insert(out.end(), files.begin(), files.end());
    return out;
  }
  using Lines = std::vector<std::string>;
  const Folder folder_;
  const std::string store_ = folder_ / "refdb";
};

TEST_F(Generations, AreListedNewestFirst) {
  EXPECT_FALSE(list_generations(store_));
  ASSERT_TRUE(Builder::open(store_));
  EXPECT_TRUE(list_generations(store_).value().empty());
  add({package(debian, "bash", "1", {{"/usr/bin/bash", "1"}})});
  const std::string first = read_stats(store_)->content_digest;
  add({package(other, "dash", "1", {{"/usr/bin/dash", "1"}, {"/usr/bin/sh", "1"}})});
  const auto found = list_generations(store_).value();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].number, 2U);
  EXPECT_TRUE(found[0].current);
  EXPECT_EQ(found[0].products, 2U);
  EXPECT_EQ(found[0].packages, 2U);
  EXPECT_EQ(found[0].files, 3U);
  EXPECT_EQ(found[0].content_digest, read_stats(store_)->content_digest);
  EXPECT_EQ(found[1].number, 1U);
  EXPECT_FALSE(found[1].current);
  EXPECT_EQ(found[1].files, 1U);
  EXPECT_EQ(found[1].content_digest, first);
  EXPECT_GT(found[1].made, 0);
}

TEST_F(Generations, OneThatIsDamagedIsNamed) {
  add({package(debian, "a", "1", {{"/a", "1"}})});
  add({package(debian, "a", "2", {{"/a", "2"}})});
  fs::remove(store_ + "/generations/1/CURRENT");
  const auto found = list_generations(store_).value();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_TRUE(found[0].damage.empty());
  EXPECT_FALSE(found[1].damage.empty());
}

TEST_F(Generations, DifferByPackagesAndFiles) {
  add({package(debian, "bash", "1", {{"/usr/bin/bash", "1"}, {"/usr/share/doc/bash", "doc"}})});
  add({package(debian, "bash", "2", {{"/usr/bin/bash", "2"}, {"/usr/share/doc/bash", "doc"}, {"/usr/bin/new", "n"}}),
       package(other, "bash", "1", {{"/usr/bin/bash", "1"}})});
  EXPECT_EQ(diff(1, 2), (Lines{"added Debian 12 x86_64 bash 2 (3)", "added Other 1 x86_64 bash 1 (1)",
                               "changed Debian 12 x86_64 /usr/bin/bash", "added Debian 12 x86_64 /usr/bin/new",
                               "added Other 1 x86_64 /usr/bin/bash"}));
  EXPECT_EQ(diff(2, 1), (Lines{"removed Debian 12 x86_64 bash 2 (3)", "removed Other 1 x86_64 bash 1 (1)",
                               "changed Debian 12 x86_64 /usr/bin/bash", "removed Debian 12 x86_64 /usr/bin/new",
                               "removed Other 1 x86_64 /usr/bin/bash"}));
  EXPECT_EQ(diff(2, 2), Lines{});
  EXPECT_EQ(diff(1, 3), Lines{"no such generation"});
}

// Sources without a name are told apart by where they come from, and are the same source with other contents.
TEST_F(Generations, ATreeThatChangedIsChanged) {
  const auto tree = [&](const std::string& content) {
    ReferencePackage out = package(debian, "", "", {{"/usr/bin/a", content}, {"/usr/bin/b", "same"}});
    out.source = "root:/srv/image";
    return out;
  };
  add({tree("1")});
  add({tree("2")});
  EXPECT_EQ(diff(1, 2), (Lines{"added Debian 12 x86_64   (2)", "changed Debian 12 x86_64 /usr/bin/a"}));
  ASSERT_TRUE(roll_back(store_, 1));
  add({tree("3")});
  EXPECT_EQ(diff(2, 4), (Lines{"changed Debian 12 x86_64   (2)", "changed Debian 12 x86_64 /usr/bin/a"}));
}

TEST_F(Generations, AWayBackIsANewGenerationWithTheOldContents) {
  const Questions questions{{debian, other}, {"/usr/bin/bash", "/usr/bin/dash"}, {"1", "2"}};
  add({package(debian, "bash", "1", {{"/usr/bin/bash", "1"}})});
  const auto first = answers(store_, questions).value();
  const std::string digest = read_stats(store_)->content_digest;
  add({package(debian, "bash", "2", {{"/usr/bin/bash", "2"}}), package(other, "dash", "1", {{"/usr/bin/dash", "1"}})});
  const auto second = answers(store_, questions).value();
  ASSERT_NE(first, second);
  const auto held = open_view(store_).value();

  const auto back = roll_back(store_, 1);
  ASSERT_TRUE(back) << back.error().text();
  EXPECT_EQ(back->generation, 3U);
  EXPECT_EQ(back->content_digest, digest);
  EXPECT_EQ(current_generation(store_).value(), 3U);
  EXPECT_EQ(answers(store_, questions).value(), first);
  EXPECT_EQ(read_stats(store_)->content_digest, digest);
  EXPECT_EQ(diff(1, 3), Lines{});
  // Who holds the one in between isn't disturbed, and it can be had again.
  EXPECT_EQ(answers(*held, questions).value(), second);
  ASSERT_TRUE(roll_back(store_, 2));
  EXPECT_EQ(answers(store_, questions).value(), second);

  // What was rolled back isn't known any more, and can be taken in again.
  ASSERT_TRUE(roll_back(store_, 1));
  EXPECT_TRUE(add({package(debian, "bash", "2", {{"/usr/bin/bash", "2"}}),
                   package(other, "dash", "1", {{"/usr/bin/dash", "1"}})})
                  .changed);
  EXPECT_EQ(answers(store_, questions).value(), second);
  EXPECT_EQ(current_generation(store_).value(), 6U);
  EXPECT_EQ(diff(2, 6), Lines{});
}

TEST_F(Generations, AWayBackLeadsOutOfADamagedOne) {
  const Questions questions{{debian}, {"/a"}, {"1", "2"}};
  add({package(debian, "a", "1", {{"/a", "1"}})});
  const auto first = answers(store_, questions).value();
  add({package(debian, "a", "2", {{"/a", "2"}})});
  for (const auto& entry : fs::directory_iterator(store_ + "/generations/2"))
    if (entry.path().filename().string().starts_with("MANIFEST")) fs::remove(entry.path());
  ASSERT_FALSE(open_view(store_));
  EXPECT_FALSE(publish(store_, {package(debian, "a", "3", {{"/a", "3"}})}));
  ASSERT_TRUE(roll_back(store_, 1));
  EXPECT_EQ(answers(store_, questions).value(), first);
}

TEST_F(Generations, NoWayLeadsToWhatIsnt) {
  const auto refused = [&](std::uint64_t generation) {
    return std::string(roll_back(store_, generation).error().reason);
  };
  EXPECT_EQ(refused(1), "no reference store here");
  add({package(debian, "a", "1", {{"/a", "1"}})});
  EXPECT_EQ(refused(0), "no such generation");
  EXPECT_EQ(refused(1), "this is the current generation");
  EXPECT_EQ(refused(2), "no such generation");
  add({package(debian, "a", "2", {{"/a", "2"}})});
  ASSERT_TRUE(prune_generations(store_, 0));
  EXPECT_EQ(refused(1), "no such generation");
}

TEST_F(Generations, OnlyOneChangesTheStoreAtATime) {
  add({package(debian, "a", "1", {{"/a", "1"}})});
  add({package(debian, "a", "2", {{"/a", "2"}})});
  {
    const auto ingestion = Builder::open(store_);
    ASSERT_TRUE(ingestion);
    const auto back = roll_back(store_, 1);
    ASSERT_FALSE(back);
    EXPECT_EQ(back.error().reason, "another ingestion is going on");
  }
  EXPECT_TRUE(roll_back(store_, 1));
}

}  // namespace
}  // namespace gatehouse::refdb
