// A store of several generations too large to be merged, and of ones that are: whichever way the indexes lie on disk,
// it answers as a store that was made at once.
#include "refdb/store/generations.h"
#include "tests/refdb/support.h"

namespace gatehouse::refdb {
namespace {

const std::string debian = "Debian 12 x86_64";
constexpr HashAlgorithm sha256 = HashAlgorithm::sha256;

// Package n's files, each with SHA-256 alone; every tenth content is the same in all packages.
ReferencePackage numbered(int n, int files, int version = 1) {
  ReferencePackage out = package(debian, "p" + std::to_string(n), std::to_string(version), {});
  for (int i = 0; i < files; ++i) {
    const std::string content =
        i % 10 == 0 ? std::to_string(i) : out.name + "/" + out.version + "/" + std::to_string(i);
    const std::string path =
        (i % 3 == 0 ? "/usr/lib/" : "/usr/share/") + out.name + "/" + std::to_string(i % 7) + "/" + std::to_string(i);
    out.files.push_back({path, content.size(), false, {{sha256, digest_of(sha256, as_bytes(content))}}});
  }
  return out;
}
std::vector<ReferencePackage> packages(int from, int to, int files) {
  std::vector<ReferencePackage> out;
  for (int n = from; n < to; ++n) out.push_back(numbered(n, files));
  return out;
}
std::size_t tables(const std::string& store, std::uint64_t generation) {
  std::size_t out = 0;
  for (const auto& entry : fs::directory_iterator(store + "/generations/" + std::to_string(generation)))
    out += entry.path().extension() == ".sst";
  return out;
}
// Each file of a package is found by path, by content and by what a kernel reports.
void expect_found(const View& view, const ReferencePackage& p) {
  std::vector<Digest> keys;
  std::vector<std::string> names;
  for (const ReferenceFile& f : p.files)
    for (std::string& name : kernel_names(f.path)) {
      keys.push_back(template_digest(sha256, f.digests[0].second, name));
      names.push_back(std::move(name));
    }
  std::vector<TemplateHit> hits(keys.size());
  ASSERT_TRUE(view.find_templates(debian, sha256, keys, hits));
  for (std::size_t i = 0; i < hits.size(); ++i) {
    ASSERT_TRUE(hits[i].found) << names[i];
    ASSERT_EQ(hits[i].name, names[i]);
  }
  for (std::size_t i = 0; i < p.files.size(); i += 97) {
    const auto by_path = view.references_of_path(debian, p.files[i].path).value();
    ASSERT_FALSE(by_path.empty()) << p.files[i].path;
    const auto same = [&](const Reference& r) { return r.package == p.name && r.version == p.version; };
    EXPECT_TRUE(std::ranges::any_of(by_path, same));
    EXPECT_EQ(by_path[0].path, p.files[i].path);
    EXPECT_TRUE(std::ranges::any_of(view.references_of_digest({}, p.files[i].digests[0].second).value(), same));
  }
}

TEST(Runs, LargeAndSmallOnesAnswerAsOne) {
  const Folder folder;
  const std::string store = folder / "refdb", whole = folder / "whole";
  constexpr int large = 72, files = 1000;
  ASSERT_TRUE(publish(store, packages(0, large, files)));
  EXPECT_EQ(tables(store, 1), 5U);
  // Too small to be merged with a large one, so its tables come beside.
  ASSERT_TRUE(publish(store, packages(large, large + 2, 50)));
  EXPECT_EQ(tables(store, 2), 4U + 5U);
  // Merged with the second, whose tables go.
  ASSERT_TRUE(publish(store, packages(large + 2, large + 4, 50)));
  EXPECT_EQ(tables(store, 3), 4U + 5U);
  auto all = packages(0, large, files);
  for (auto& p : packages(large, large + 4, 50)) all.push_back(std::move(p));
  ASSERT_TRUE(publish(whole, all));
  const Stats a = read_stats(store).value(), b = read_stats(whole).value();
  EXPECT_EQ(a.content_digest, b.content_digest);
  EXPECT_EQ(a.files, b.files);
  EXPECT_EQ(a.digests, b.digests);
  EXPECT_EQ(a.digests, std::uint64_t(large * files * 9 / 10 + files / 10 + 4 * 45));
  const auto view = open_view(store).value();
  for (const int n : {0, 7, 8, 35, large - 1, large, large + 1, large + 2, large + 3}) {
    SCOPED_TRACE(n);
    expect_found(*view, all[std::size_t(n)]);
  }
  // The first generation is what it was, also in its own tables.
  const auto first = open_view(store, 1).value();
  expect_found(*first, all[3]);
  EXPECT_TRUE(first->references_of_path(debian, all[large].files[0].path).value().empty());
  std::size_t named = 0;
  const auto diff =
      diff_generations(store, 1, 3, [&](const FileChange& f) { named += f.change == Change::added; }).value();
  EXPECT_EQ(diff.packages.size(), 4U);
  EXPECT_EQ(diff.added, 200U);
  EXPECT_EQ(named, 200U);
  // With enough new ones all become one run again: the first's tables of contents and packages stay.
  ASSERT_TRUE(publish(store, packages(large + 4, large + 24, files)));
  ASSERT_TRUE(publish(whole, packages(large + 4, large + 24, files)));
  EXPECT_EQ(read_stats(store)->content_digest, read_stats(whole)->content_digest);
  EXPECT_EQ(tables(store, 4), 5U);
  const auto merged = open_view(store).value();
  for (const int n : {0, large - 1}) expect_found(*merged, all[std::size_t(n)]);
  expect_found(*merged, numbered(large + 2, 50));
  expect_found(*merged, numbered(large + 23, files));
}

// What a package had before it came again with further algorithms is in no index any more, in whichever run it was.
TEST(Runs, OfAPackageThatCameAgainTheLastOneCounts) {
  const Folder folder;
  const std::string store = folder / "refdb";
  auto again = package(debian, "again", "1", {{"/usr/bin/a", "a"}, {"/usr/bin/b", "b"}});
  again.identity = digest_of(sha256, as_bytes("again.deb"));
  auto before = again;
  for (ReferenceFile& f : before.files) std::erase_if(f.digests, [](const auto& d) { return d.first != sha256; });
  auto first = packages(0, 70, 1000);
  first.push_back(before);
  ASSERT_TRUE(publish(store, first));
  ASSERT_TRUE(publish(store, {again}));
  ASSERT_EQ(tables(store, 2), 4U + 5U);
  for (int round = 0; round < 2; ++round) {
    const auto view = open_view(store).value();
    const auto found = view->references_of_path(debian, "/bin/a").value();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].digests, digests_of("a"));
    EXPECT_EQ(view->references_of_digest({}, digest_of(sha256, as_bytes("b"))).value().size(), 1U);
    const Stats stats = read_stats(store).value();
    EXPECT_EQ(stats.packages, 71U + unsigned(round) * 20);
    EXPECT_EQ(stats.files, 70'002U + unsigned(round) * 20'000);
    // Once more after the runs were merged.
    if (round == 0) {
      ASSERT_TRUE(publish(store, packages(100, 120, 1000)));
    }
  }
}

}  // namespace
}  // namespace gatehouse::refdb
