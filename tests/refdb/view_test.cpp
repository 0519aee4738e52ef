// What a generation answers by path, by content and by template digest, and that it stays what it is while others are
// made (design §3, §4).
#include <map>
#include <random>
#include <set>

#include "tests/refdb/support.h"

namespace gatehouse::refdb {
namespace {

constexpr HashAlgorithm sha256 = HashAlgorithm::sha256, sha384 = HashAlgorithm::sha384;
const std::string debian = "Debian 12 x86_64", other = "Other 1 x86_64";

TEST(View, FindsAFileByEveryNameAndEveryDigest) {
  const Folder folder;
  const std::string store = folder / "refdb";
  ASSERT_TRUE(
      publish(store, {package(debian, "dash", "0.5.12-2", {{"./bin/dash", "shell"}, {"/opt/My App/x", "app"}})}));
  const auto view = open_view(store).value();
  EXPECT_EQ(view->generation(), 1U);
  EXPECT_TRUE(view->has_product(debian));
  EXPECT_FALSE(view->has_product(other));
  EXPECT_EQ(view->products(), std::vector{debian});

  for (const std::string path : {"/bin/dash", "/usr/bin/dash"}) {
    const auto found = view->references_of_path(debian, path).value();
    ASSERT_EQ(found.size(), 1U) << path;
    EXPECT_EQ(found[0].path, "/bin/dash");
    EXPECT_EQ(found[0].product, debian);
    EXPECT_EQ(found[0].package, "dash");
    EXPECT_EQ(found[0].version, "0.5.12-2");
    EXPECT_EQ(found[0].architecture, "all");
    EXPECT_EQ(found[0].source, "dash.deb");
    EXPECT_EQ(found[0].ingested, 1'700'000'000);
    EXPECT_EQ(found[0].digests, digests_of("shell"));
  }
  for (const auto& [algorithm, digest] : digests_of("shell")) {
    EXPECT_EQ(view->references_of_digest({}, digest).value().size(), 1U) << name(algorithm);
    EXPECT_EQ(view->references_of_digest(debian, digest).value().size(), 1U) << name(algorithm);
    EXPECT_TRUE(view->references_of_digest(other, digest).value().empty());
  }
  for (const HashAlgorithm bank : {sha256, sha384})
    for (const auto& [content, names] : std::vector<std::pair<std::string, std::vector<std::string>>>{
             {"shell", {"/bin/dash", "/usr/bin/dash"}}, {"app", {"/opt/My_App/x"}}})
      for (const std::string& reported : names) {
        const Digest t = template_digest(bank, digest_of(bank, as_bytes(content)), reported);
        const TemplateHit hit = find_template(*view, debian, bank, t).value();
        EXPECT_TRUE(hit.found) << reported;
        EXPECT_EQ(hit.name, reported);
        EXPECT_FALSE(find_template(*view, other, bank, t).value().found);
        // The digest of one bank isn't a key of the other.
        EXPECT_FALSE(find_template(*view, debian, bank == sha256 ? sha384 : sha256, t).value().found);
      }
  // Unknown paths, and paths that only look alike.
  for (const std::string path :
       {"/usr/bin/das", "/usr/bin/dash2", "/sbin/dash", "//bin/dash", "/bin/../bin/dash", "bin/dash", "", "/"})
    EXPECT_TRUE(view->references_of_path(debian, path).value().empty()) << path;
  EXPECT_TRUE(view->references_of_path(debian, "/" + std::string(max_path_bytes, 'a')).value().empty());
  EXPECT_EQ(view->references_of_path(debian, "/opt/My App/x").value().size(), 1U);
}

// A file may be measured with several contents: each is a reference under its path, and it is one file.
TEST(View, FindsAFileByEachOfItsContents) {
  const Folder folder;
  const std::string store = folder / "refdb", path = "/lib/modules/a.ko.xz";
  ReferencePackage p = package(debian, "linux", "6", {{path, "packed"}, {"/boot/config", "c"}});
  p.files[0].further = {{8, digests_of("unpacked")}, {6, digests_of("signed")}};
  const auto published = publish(store, {p});
  ASSERT_TRUE(published) << published.error().text();
  const auto view = open_view(store).value();
  for (const std::string content : {"packed", "unpacked", "signed"})
    for (const HashAlgorithm bank : {HashAlgorithm::sha256, HashAlgorithm::sha384}) {
      const Digest digest = digest_of(bank, as_bytes(content));
      for (const std::string& name : kernel_names(path))
        EXPECT_TRUE(find_template(*view, debian, bank, template_digest(bank, digest, name))->found) << content << name;
      const auto found = view->references_of_digest(debian, digest).value();
      ASSERT_EQ(found.size(), 1U) << content;
      EXPECT_EQ(found[0].path, path);
    }
  EXPECT_EQ(view->references_of_path(debian, path).value().size(), 3U);
  EXPECT_EQ(view->references_of_path(debian, "/boot/config").value().size(), 1U);
  const auto stats = read_stats(store).value();
  EXPECT_EQ(stats.files, 2U);
  EXPECT_EQ(stats.packages, 1U);
  // Contents are contents: another one makes another package.
  p.files[0].further.pop_back();
  EXPECT_NE(publish(folder / "other", {p})->content_digest, published->content_digest);
  EXPECT_TRUE(publish(store, {p})->changed);
}

TEST(View, AnswersABatchInItsOrder) {
  const Folder folder;
  const std::string store = folder / "refdb";
  std::vector<std::pair<std::string, std::string>> files;
  for (int i = 0; i < 300; ++i)
    files.emplace_back("/usr/share/" + std::to_string(i), "content " + std::to_string(i % 7));
  ASSERT_TRUE(publish(store, {package(debian, "p", "1", files)}));
  const auto view = open_view(store).value();
  std::vector<Digest> keys;
  for (int i = 0; i < 600; ++i) {
    const auto& [path, content] = files[std::size_t(i % 300)];
    keys.push_back(template_digest(sha256, digest_of(sha256, as_bytes(i < 300 ? content : "changed")), path));
  }
  std::vector<TemplateHit> hits(keys.size());
  ASSERT_TRUE(view->find_templates(debian, sha256, keys, hits));
  for (std::size_t i = 0; i < hits.size(); ++i) {
    EXPECT_EQ(hits[i].found, i < 300) << i;
    if (hits[i].found) {
      EXPECT_EQ(hits[i].name, files[i].first);
    }
  }
}

TEST(View, VersionsOfAPackageAddUpAndProductsDont) {
  const Folder folder;
  const std::string store = folder / "refdb";
  ASSERT_TRUE(publish(
      store, {package(debian, "p", "1", {{"/usr/bin/p", "one"}}), package(other, "p", "9", {{"/usr/bin/p", "nine"}})}));
  ASSERT_TRUE(publish(store, {package(debian, "p", "2", {{"/usr/bin/p", "two"}})}));
  const auto view = open_view(store).value();
  EXPECT_EQ(view->generation(), 2U);
  const auto versions = [&](const std::string& product) {
    std::set<std::string> out;
    const auto found = view->references_of_path(product, "/usr/bin/p").value();
    for (const Reference& r : found) out.insert(r.version);
    return out;
  };
  EXPECT_EQ(versions(debian), (std::set<std::string>{"1", "2"}));
  EXPECT_EQ(versions(other), (std::set<std::string>{"9"}));
  const Digest nine = template_digest(sha256, digest_of(sha256, as_bytes("nine")), "/usr/bin/p");
  EXPECT_FALSE(find_template(*view, debian, sha256, nine).value().found);
  EXPECT_TRUE(find_template(*view, other, sha256, nine).value().found);
  const Stats stats = read_stats(store).value();
  EXPECT_EQ(stats.products, 2U);
  EXPECT_EQ(stats.packages, 3U);
  EXPECT_EQ(stats.files, 3U);
  EXPECT_EQ(stats.digests, 12U);  // three contents in four algorithms
  EXPECT_EQ(stats.generation, 2U);
}

// Random packages whose paths collide, move between /bin and /usr/bin and hold spaces; what T says of a reported name
// and content is what the path says (design §3: both ways must give the same verdicts).
TEST(View, TheTemplateIndexSaysWhatThePathsSay) {
  std::mt19937 random(20260404);
  const auto pick = [&](const std::vector<std::string>& from) { return from[random() % from.size()]; };
  const std::vector<std::string> folders{"/bin",        "/usr/bin",    "/lib",       "/usr/lib", "/lib64", "/usr/lib64",
                                         "/opt/My App", "/opt/My_App", "/usr/share", "/lib32x",  "/usr"};
  const std::vector<std::string> names{"a", "b", "a b", "a_b", "c"}, contents{"0", "1", "2", "3"};
  const Folder folder;
  const std::string store = folder / "refdb";
  for (int generation = 0; generation < 4; ++generation) {
    std::vector<ReferencePackage> packages;
    for (int p = 0; p < 6; ++p) {
      std::map<std::string, std::pair<std::string, std::string>> files;  // one file for each name that a kernel reports
      for (int f = 0; f < 8; ++f) {
        const std::string path = pick(folders) + "/" + pick(names);
        files[index_path(path)] = {path, pick(contents)};
      }
      std::vector<std::pair<std::string, std::string>> list;
      for (const auto& [_, file] : files) list.push_back(file);
      packages.push_back(
          package(p % 2 == 0 ? debian : other, "p" + std::to_string(p), std::to_string(generation), list));
    }
    ASSERT_TRUE(publish(store, std::move(packages)));
  }
  const auto view = open_view(store).value();
  std::size_t known = 0, unknown = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string& product = i % 2 == 0 ? debian : other;
    const std::string reported = kernel_name(pick(folders) + "/" + pick(names)), content = pick(contents);
    const HashAlgorithm bank = random() % 2 == 0 ? sha256 : sha384;
    const Digest digest = digest_of(bank, as_bytes(content));
    const TemplateHit hit = find_template(*view, product, bank, template_digest(bank, digest, reported)).value();
    bool by_path = false;
    const auto found = view->references_of_path(product, reported).value();
    for (const Reference& r : found) by_path |= *r.digest(bank) == digest;
    ASSERT_EQ(hit.found, by_path) << reported << " " << content;
    if (hit.found) {
      EXPECT_EQ(hit.name, reported);
    }
    ++(hit.found ? known : unknown);
  }
  EXPECT_GT(known, 1000U);
  EXPECT_GT(unknown, 1000U);
}

TEST(Generation, APinnedOneStaysAsItWas) {
  const Folder folder;
  const std::string store = folder / "refdb";
  const Questions questions{{debian}, {"/usr/bin/a", "/usr/bin/b"}, {"old", "new"}};
  ASSERT_TRUE(publish(store, {package(debian, "p", "1", {{"/usr/bin/a", "old"}})}));
  const auto pinned = open_view(store).value();
  const auto before = answers(*pinned, questions).value();
  ASSERT_TRUE(publish(store, {package(debian, "p", "2", {{"/usr/bin/a", "new"}, {"/usr/bin/b", "new"}})}));
  EXPECT_EQ(current_generation(store).value(), 2U);
  EXPECT_EQ(pinned->generation(), 1U);
  EXPECT_EQ(answers(*pinned, questions).value(), before);
  const auto after = answers(store, questions).value();
  EXPECT_NE(after, before);
  // And so does one that is opened by its number later.
  EXPECT_EQ(answers(*open_view(store, 1).value(), questions).value(), before);
  EXPECT_EQ(answers(*open_view(store, 2).value(), questions).value(), after);
  EXPECT_FALSE(open_view(store, 3));
  EXPECT_FALSE(open_view(store, 0));
}

TEST(Generation, AnIngestionThatEndsWithoutPublishingChangesNothing) {
  const Folder folder;
  const std::string store = folder / "refdb";
  ASSERT_TRUE(publish(store, {package(debian, "p", "1", {{"/a", "a"}})}));
  const Stats before = read_stats(store).value();
  {
    auto builder = Builder::open(store).value();
    ASSERT_TRUE(builder.add(package(debian, "p", "2", {{"/a", "b"}})));
    const auto view = open_view(store);  // readers go on beside it
    ASSERT_TRUE(view);
    EXPECT_EQ((*view)->references_of_path(debian, "/a").value().size(), 1U);
  }
  EXPECT_EQ(read_stats(store).value().content_digest, before.content_digest);
  EXPECT_EQ(current_generation(store).value(), 1U);
  EXPECT_TRUE(publish(store, {package(debian, "p", "2", {{"/a", "b"}})}).value().changed);  // nor does it keep the lock
}

TEST(Generation, WhatIsKnownMakesNoNewOne) {
  const Folder folder;
  const std::string store = folder / "refdb";
  const auto p = package(debian, "p", "1", {{"/a", "a"}, {"/b", "b"}});
  EXPECT_FALSE(publish(store, {}).value().changed);
  EXPECT_EQ(current_generation(store).value(), 0U);
  const Published first = publish(store, {p, p}).value();
  EXPECT_TRUE(first.changed);
  EXPECT_EQ(read_stats(store).value().packages, 1U);
  auto later = p;
  later.ingested += 1000;  // the same source at another time, its files in another order
  std::reverse(later.files.begin(), later.files.end());
  const Published again = publish(store, {later}).value();
  EXPECT_FALSE(again.changed);
  EXPECT_EQ(again.generation, 1U);
  EXPECT_EQ(again.content_digest, first.content_digest);
  // The same files in another version, or another product, are something new.
  EXPECT_TRUE(publish(store, {package(debian, "p", "2", {{"/a", "a"}, {"/b", "b"}})}).value().changed);
  EXPECT_TRUE(publish(store, {package(other, "p", "1", {{"/a", "a"}, {"/b", "b"}})}).value().changed);
}

TEST(Generation, ContentsDigestToTheSameInEveryOrder) {
  std::mt19937 random(3);
  std::vector<ReferencePackage> packages;
  for (int i = 0; i < 12; ++i)
    packages.push_back(package(i % 3 == 0 ? other : debian, "p" + std::to_string(i), "1",
                               {{"/usr/bin/" + std::to_string(i % 5), std::to_string(i)}}));
  std::set<std::string> digests;
  std::set<std::vector<std::string>> all;
  Questions questions{{debian, other}, {}, {}};
  for (int i = 0; i < 12; ++i) {
    questions.contents.push_back(std::to_string(i));
    questions.paths.push_back("/usr/bin/" + std::to_string(i));
  }
  for (int round = 0; round < 6; ++round) {
    const Folder folder;
    const std::string store = folder / "refdb";
    std::shuffle(packages.begin(), packages.end(), random);
    for (std::size_t at = 0; at < packages.size();) {  // in one run, and in several
      const std::size_t n = std::min(packages.size() - at, round == 0 ? packages.size() : 1 + random() % 4);
      const auto begin = packages.begin() + std::ptrdiff_t(at);
      ASSERT_TRUE(publish(store, {begin, begin + std::ptrdiff_t(n)}));
      at += n;
    }
    digests.insert(read_stats(store).value().content_digest);
    all.insert(answers(store, questions).value());
  }
  EXPECT_EQ(digests.size(), 1U);
  EXPECT_EQ(all.size(), 1U);
  EXPECT_EQ(digests.begin()->size(), 64U);
}

TEST(Generation, FurtherAlgorithmsJoinTheSameSource) {
  const Folder folder;
  const std::string grown = folder / "grown", whole = folder / "whole";
  auto all = package(debian, "p", "1", {{"/usr/bin/a", "a"}});
  all.identity = digest_of(sha256, as_bytes("the package file"));
  auto one = all;
  std::erase_if(one.files[0].digests, [](const auto& d) { return d.first != sha256; });
  ASSERT_TRUE(publish(grown, {one}));
  std::vector<HashAlgorithm> wanted{sha384};
  EXPECT_FALSE(Builder::open(grown).value().known({debian}, *all.identity, wanted).value());
  EXPECT_EQ(wanted, (std::vector{sha384, sha256}));  // what is known is computed again with it
  ASSERT_TRUE(publish(grown, {all}));
  ASSERT_TRUE(publish(whole, {all}));
  const Stats a = read_stats(grown).value(), b = read_stats(whole).value();
  EXPECT_EQ(a.content_digest, b.content_digest);
  EXPECT_EQ(a.packages, 1U);
  EXPECT_EQ(a.files, 1U);
  EXPECT_EQ(a.digests, 4U);
  const Questions questions{{debian}, {"/usr/bin/a", "/bin/a"}, {"a"}};
  EXPECT_EQ(answers(grown, questions).value(), answers(whole, questions).value());
  // Fewer than there are change nothing.
  EXPECT_FALSE(publish(grown, {one}).value().changed);
}

TEST(Generation, PruningLeavesTheCurrentTheNewestAndTheHeld) {
  const Folder folder;
  const std::string store = folder / "refdb";
  constexpr int many = 20;
  Questions questions{{debian}, {}, {}};
  std::shared_ptr<const View> held;
  for (int i = 1; i <= many; ++i) {
    const std::string path = "/usr/bin/" + std::to_string(i);
    ASSERT_TRUE(publish(store, {package(debian, "p", std::to_string(i), {{path, std::to_string(i)}})}));
    questions.paths.push_back(path);
    if (i == many - 4) held = open_view(store).value();
  }
  const auto exists = [&](int generation) { return fs::exists(store + "/generations/" + std::to_string(generation)); };
  EXPECT_EQ(prune_generations(store, 2).value(), std::size_t(many - 1 - 2 - 1));
  for (int i = 1; i <= many; ++i)
    EXPECT_EQ(exists(i), i == many || i == many - 1 || i == many - 2 || i == many - 4) << i;
  // The reader that holds it finds all of it, also what it hadn't looked at before.
  std::size_t found = 0;
  for (const std::string& path : questions.paths) found += held->references_of_path(debian, path).value().size();
  EXPECT_EQ(found, std::size_t(many - 4));
  EXPECT_EQ(open_view(store, many - 4).value()->generation(), std::uint64_t(many - 4));
  held = nullptr;
  EXPECT_EQ(prune_generations(store, 0).value(), 3U);
  EXPECT_EQ(answers(store, questions).value().size(), 1 + std::size_t(many));  // the product and each path
  EXPECT_FALSE(open_view(store, many - 1));
}

TEST(View, HasOtherPackagesFilesWhereAPackageDivertsThem) {
  const Folder folder;
  const std::string store = folder / "refdb";
  auto perl = package(debian, "divert-perl", "1", {{"/usr/bin/perl", "wrapper"}});
  perl.diversions = {{"/usr/bin/perl", "/bin/perl.real"}};
  ASSERT_TRUE(publish(store, {package(debian, "perl", "5", {{"/usr/bin/perl", "perl"}}), perl}));
  const auto before = read_stats(store)->content_digest;
  auto view = open_view(store).value();
  const auto diverted = view->references_of_path(debian, "/usr/bin/perl.real").value();
  ASSERT_EQ(diverted.size(), 1U);
  EXPECT_EQ(diverted[0].package, "perl");
  EXPECT_EQ(diverted[0].path, "/usr/bin/perl");
  EXPECT_EQ(view->references_of_path(debian, "/usr/bin/perl").value().size(), 2U);
  EXPECT_TRUE(view->references_of_path("Another", "/usr/bin/perl.real").value().empty());
  // What comes later is diverted, too; what comes again with another diversion is another package.
  ASSERT_TRUE(publish(store, {package(debian, "perl", "6", {{"/usr/bin/perl", "perl 6"}})}));
  view = open_view(store).value();
  EXPECT_EQ(view->references_of_path(debian, "/bin/perl.real").value().size(), 2U);
  perl.diversions[0].to = "/usr/bin/perl.distrib";
  perl.identity = digest_of(HashAlgorithm::sha256, as_bytes(std::string_view("another")));
  ASSERT_TRUE(publish(folder / "other", {package(debian, "perl", "5", {{"/usr/bin/perl", "perl"}}), perl}));
  EXPECT_NE(read_stats(folder / "other")->content_digest, before);
  EXPECT_TRUE(open_view(folder / "other").value()->references_of_path(debian, "/usr/bin/perl.real").value().empty());
}

TEST(View, KeepsDiversionsThroughAnInterruptedIngestionAndFurtherAlgorithms) {
  const Folder folder;
  const std::string store = folder / "refdb";
  auto wrapper = package(debian, "wrapper", "1", {{"/usr/bin/x", "wrapper"}});
  wrapper.diversions = {{"/usr/bin/x", "/usr/bin/x.real"}};
  wrapper.identity = digest_of(HashAlgorithm::sha256, as_bytes(std::string_view("wrapper")));
  auto narrow = wrapper;
  for (ReferenceFile& f : narrow.files) std::erase_if(f.digests, [](const auto& d) { return d.first != HashAlgorithm::sha256; });
  {
    auto builder = Builder::open(store).value();
    ASSERT_TRUE(builder.add(package(debian, "x", "1", {{"/usr/bin/x", "x"}})).value());
    ASSERT_TRUE(builder.add(narrow).value());
  }
  {
    auto builder = Builder::open(store).value();
    ASSERT_TRUE(builder.add(package(debian, "x", "1", {{"/usr/bin/x", "x"}})).value() ||
                builder.resume({debian}, *wrapper.identity, {HashAlgorithm::sha256}).value());
    (void)builder.resume({debian}, *wrapper.identity, {HashAlgorithm::sha256}).value();
    ASSERT_TRUE(builder.publish());
  }
  EXPECT_EQ(open_view(store).value()->references_of_path(debian, "/usr/bin/x.real").value().size(), 1U);
  ASSERT_TRUE(publish(store, {wrapper}));
  EXPECT_EQ(open_view(store).value()->references_of_path(debian, "/usr/bin/x.real").value().size(), 1U);
}

}  // namespace
}  // namespace gatehouse::refdb
