// Packages, trees and lists, taken in: those of the corpus with the facts of its expected.json, and those that
// dpkg-deb makes here.
#include <sys/wait.h>

#include <map>
#include <random>
#include <set>

#include "base/hex.h"
#include "refdb/ingest/ingest.h"
#include "tests/corpus/corpus.h"
#include "tests/refdb/support.h"

namespace gatehouse::refdb {
namespace {

using testing::corpus;
using testing::corpus_is_there;
using testing::corpus_items;
using testing::no_corpus;
namespace json = boost::json;

constexpr HashAlgorithm sha256 = HashAlgorithm::sha256;
const std::vector<HashAlgorithm> all_banks{std::begin(common_banks), std::end(common_banks)};

Result<IngestReport> take_in(const std::string& store, const std::string& product, std::vector<std::string> sources,
                             unsigned jobs = 2) {
  IngestOptions options;
  options.refdb = store;
  options.product = product;
  options.sources = std::move(sources);
  options.jobs = jobs;
  return ingest(options);
}

std::vector<std::string> sources_of(const json::object& item) {
  std::vector<std::string> out;
  for (const json::value& source : item.at("sources").as_array())
    out.push_back(corpus + "packages/" + std::string(source.as_string()));
  return out;
}
TEST(Packages, OfTheCorpusHaveTheirFacts) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  std::size_t lookups = 0, failures = 0;
  for (const json::object& item : corpus_items("packages", "ingest")) {
    SCOPED_TRACE(testing::text(item, "id"));
    const Folder folder;
    const std::string store = folder / "refdb", product = testing::text(item, "product");
    const auto report = take_in(store, product, sources_of(item));
    ASSERT_TRUE(report) << report.error().text();
    const json::object& facts = item.at("json").as_object();
    EXPECT_EQ(std::int64_t(report->packages), facts.at("packages").as_int64());
    EXPECT_EQ(std::int64_t(report->files), facts.at("files").as_int64());
    EXPECT_EQ(report->failed.empty(), testing::exit_code_is(item, 0));
    for (const FailedSource& f : report->failed) {
      EXPECT_TRUE(f.source.starts_with(corpus + "packages/bad/")) << f.source;
      EXPECT_TRUE(f.reason.starts_with(f.source)) << f.reason;
      ++failures;
    }
    // Again: nothing new, and what failed fails again.
    const auto again = take_in(store, product, sources_of(item));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->generation, report->generation);
    EXPECT_EQ(again->packages, 0U);
    EXPECT_EQ(again->skipped, report->packages);
    EXPECT_EQ(again->failed.size(), report->failed.size());
    if (report->packages == 0) {
      EXPECT_EQ(report->generation, 0U);
      continue;
    }
    const auto view = open_view(store).value();
    for (const json::value& l : item.at("lookups").as_array()) {
      const json::object& lookup = l.as_object();
      const bool expected = lookup.at("exit").as_int64() == 0;
      const std::string path = lookup.contains("path") ? testing::text(lookup, "path") : "";
      const std::string digest = lookup.contains("sha256") ? testing::text(lookup, "sha256") : "";
      ++lookups;
      if (!path.empty()) {
        const auto found = view->references_of_path(product, path).value();
        EXPECT_EQ(!found.empty(), expected) << path;
        if (expected && !digest.empty()) {
          EXPECT_TRUE(std::ranges::any_of(found, [&](const Reference& r) { return r.digest(sha256)->hex() == digest; }))
              << path;
        }
      }
      if (!digest.empty()) {
        const Digest content(from_hex(digest).value());
        EXPECT_EQ(!view->references_of_digest({}, content).value().empty(), expected) << digest;
        if (expected && !path.empty()) {
          for (const std::string& reported : kernel_names(path)) {
            const auto hit = find_template(*view, product, sha256, template_digest(sha256, content, reported)).value();
            EXPECT_TRUE(hit.found) << reported;
          }
        }
      }
    }
  }
  EXPECT_GE(lookups, 20U);
  EXPECT_EQ(failures, 7U);
}

// As `dpkg-deb --ctrl-tarfile FILE | tar -xO ./postinst | sha256sum` says.
TEST(Packages, HaveTheirScriptsUnderTheNamesOfDpkg) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  const Folder folder;
  const std::string store = folder / "refdb", product = "Debian 12 x86_64";
  const auto report = take_in(store, product, {corpus + "packages/dash_0.5.12-2_amd64.deb",
                                               corpus + "packages/libc6_2.36-9+deb12u14_amd64.deb"});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->files, 11U + 285U);
  const auto view = open_view(store).value();
  for (const auto& [path, digest] : {
           std::pair("/var/lib/dpkg/info/dash.postinst", "1fd7a9289596244eb37ce8219ad942a531d8c965b5822cc47d7cdfd996cd598f"),
           {"/var/lib/dpkg/info/dash.prerm", "11de3854a4e92fc8033b6589d368392ae34c89c96f5b45d90af1a676fa737db2"},
           {"/var/lib/dpkg/info/libc6:amd64.preinst", "77692462251006a8b8161b442c5b0b75b9580d70fd3d85c066a5c9a412c1ce9b"},
       }) {
    const auto found = view->references_of_path(product, path).value();
    ASSERT_EQ(found.size(), 1U) << path;
    EXPECT_EQ(found[0].digest(sha256)->hex(), digest) << path;
  }
}

TEST(Packages, GiveOneStoreWhateverOrderJobsAndRuns) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  const std::string product = "Debian 12 x86_64";
  std::vector<std::string> sources;
  for (const std::string name :
       {"hello_2.10-3_amd64.deb", "dash_0.5.12-2_amd64.deb", "gatehouse-gzip_1.0_all.deb", "bad/truncated.deb"})
    sources.push_back(corpus + "packages/" + name);
  std::mt19937 random(4);
  std::set<std::string> digests;
  for (const unsigned jobs : {1U, 2U, 8U}) {
    const Folder folder;
    const std::string store = folder / "refdb";
    std::shuffle(sources.begin(), sources.end(), random);
    if (jobs == 2) {
      for (const std::string& source : sources) ASSERT_TRUE(take_in(store, product, {source}, jobs));
    } else {
      ASSERT_TRUE(take_in(store, product, sources, jobs));
    }
    const Stats stats = read_stats(store).value();
    EXPECT_EQ(stats.packages, 3U);
    EXPECT_EQ(stats.files, 49U + 11U + 1U);
    digests.insert(stats.content_digest);
  }
  EXPECT_EQ(digests.size(), 1U);
}

TEST(Packages, OfAFolderAreFoundAndOthersNamed) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  const Folder folder;
  fs::create_directories(folder / "pool/h/hello");
  fs::copy(corpus + "packages/hello_2.10-3_amd64.deb", folder / "pool/h/hello");
  fs::copy(corpus + "packages/bad/text.deb", folder / "pool");
  std::ofstream(folder / "pool/README") << "not a package";
  const auto report = take_in(folder / "refdb", "p", {folder / "pool"});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->packages, 1U);
  ASSERT_EQ(report->failed.size(), 1U);
  EXPECT_EQ(report->failed[0].source, folder / "pool/text.deb");
}

// A package made by dpkg-deb.
class Made : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("dpkg-deb --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "dpkg-deb is absent";
    file("DEBIAN/control",
         "Package: made\nVersion: 1:2.0-3\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n"
         "Description: made by a test\n");
  }
  void file(const std::string& path, const std::string& content) const {
    const fs::path at = folder_ / ("tree/" + path);
    fs::create_directories(at.parent_path());
    std::ofstream(at, std::ios::binary) << content;
  }
  std::string build(const std::string& options = "-Zgzip -z1") const {
    const std::string out = folder_ / "made.deb";
    const std::string command =
        "dpkg-deb --root-owner-group " + options + " --build '" + (folder_ / "tree") + "' '" + out + "' > /dev/null";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return out;
  }
  Folder folder_;
};

TEST_F(Made, HasItsFilesUnderTheirNames) {
  file("usr/bin/tool", "tool");
  file("bin/merged", "merged");
  file("opt/My App/a b", "spaces");
  file("etc/made.conf", "setting=1\n");
  file("etc/other.conf", "setting=2\n");
  file("DEBIAN/conffiles", "/etc/made.conf\n");
  file("usr/share/made/empty", "");
  file("usr/share/made/" + std::string(120, 'n') + "/" + std::string(150, 'm'),
       "long");  // a name that needs tar's extensions
  file("usr/share/made/\xC3\xBC", "umlaut");
  fs::create_hard_link(folder_ / "tree/usr/bin/tool", folder_ / "tree/usr/bin/tool2");
  fs::create_symlink("tool", folder_ / "tree/usr/bin/link");
  std::map<std::string, std::string> expected{
      {"/usr/bin/tool", "tool"},
      {"/usr/bin/tool2", "tool"},
      {"/bin/merged", "merged"},
      {"/opt/My App/a b", "spaces"},
      {"/etc/made.conf", "setting=1\n"},
      {"/etc/other.conf", "setting=2\n"},
      {"/usr/share/made/empty", ""},
      {"/usr/share/made/" + std::string(120, 'n') + "/" + std::string(150, 'm'), "long"},
      {"/usr/share/made/\xC3\xBC", "umlaut"}};
  for (const std::string options :
       {"-Zgzip -z9", "-Zxz -z0", "-Znone", "-Zzstd -z1", "-Zgzip -z1 --uniform-compression"}) {
    if (options.starts_with("-Zzstd") && std::system("dpkg-deb --help | grep -q zstd") != 0) continue;
    SCOPED_TRACE(options);
    const auto p = read_deb(build(options), all_banks);
    ASSERT_TRUE(p) << p.error().text();
    EXPECT_EQ(p->name, "made");
    EXPECT_EQ(p->version, "1:2.0-3");
    EXPECT_EQ(p->architecture, "all");
    EXPECT_EQ(p->source, "made.deb");
    std::set<std::string> paths;
    for (const ReferenceFile& f : p->files) {
      paths.insert(f.path);
      ASSERT_TRUE(expected.contains(f.path)) << f.path;
      EXPECT_EQ(f.digests, digests_of(expected[f.path])) << f.path;
      EXPECT_EQ(f.size, expected[f.path].size()) << f.path;
      EXPECT_EQ(f.is_mutable, f.path == "/etc/made.conf") << f.path;
    }
    EXPECT_EQ(paths.size(), expected.size());
    EXPECT_EQ(p->files.size(), expected.size());
  }
  const std::string store = folder_ / "refdb";
  const auto report = take_in(store, "p", {build()});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->files, expected.size());
  const auto view = open_view(store).value();
  EXPECT_EQ(view->references_of_path("p", "/usr/bin/merged").value().size(), 1U);
  EXPECT_EQ(view->references_of_path("p", "/opt/My_App/a_b").value().size(), 1U);
  EXPECT_TRUE(view->references_of_path("p", "/etc/made.conf").value().at(0).is_mutable);
  EXPECT_TRUE(view->references_of_path("p", "/usr/bin/link").value().empty());
}

TEST_F(Made, LimitsHoldToTheByte) {
  file("usr/bin/a", std::string(1000, 'a'));
  file("usr/bin/b", std::string(500, 'b'));
  const std::string deb = build();
  const auto reason = [&](IngestLimits limits) {
    const auto p = read_deb(deb, {sha256}, limits);
    return p ? "" : std::string(name(p.error().fault)) + ": " + std::string(p.error().reason);
  };
  EXPECT_EQ(reason({.file_bytes = 1000}), "");
  EXPECT_EQ(reason({.file_bytes = 999}), "limit exceeded: the package expands to more than allowed");
  EXPECT_EQ(reason({.package_bytes = 1500}), "");
  EXPECT_EQ(reason({.package_bytes = 1499}), "limit exceeded: the package expands to more than allowed");
  EXPECT_EQ(reason({.files = 2}), "");
  EXPECT_EQ(reason({.files = 1}), "limit exceeded: more files than allowed");
}

TEST_F(Made, EveryTruncationIsRefused) {
  file("usr/bin/a", "content of a file");
  ByteVector deb = read_file(build(), 1 << 20).value();
  const auto whole = read_deb(Bytes(deb), "whole.deb", {sha256});
  ASSERT_TRUE(whole) << whole.error().text();
  // The byte that pads an odd member isn't part of it.
  const bool padded = !read_deb(Bytes(deb).first(deb.size() - 2), "cut.deb", {sha256}) &&
                      read_deb(Bytes(deb).first(deb.size() - 1), "cut.deb", {sha256});
  if (padded) {
    EXPECT_EQ(deb.back(), std::byte{'\n'});
    deb.pop_back();
  }
  for (std::size_t n = 0; n < deb.size(); ++n) {
    const auto p = read_deb(Bytes(deb).first(n), "cut.deb", {sha256});
    ASSERT_FALSE(p) << n;
    EXPECT_EQ(p.error().fault, Fault::malformed) << n;
    EXPECT_EQ(p.error().source, "cut.deb");
  }
}

TEST_F(Made, EveryChangedByteIsReadOrRefused) {
  file("usr/bin/a", "content of a file");
  ByteVector deb = read_file(build(), 1 << 20).value();
  std::mt19937 random(8);
  std::size_t refused = 0;
  for (std::byte& b : deb) {
    const std::byte was = b;
    b ^= std::byte(1U << random() % 8);
    const auto p = read_deb(Bytes(deb), "changed.deb", {sha256}, {.file_bytes = 1 << 20, .package_bytes = 1 << 20});
    if (!p) {
      EXPECT_TRUE(p.error().fault == Fault::malformed || p.error().fault == Fault::limit);
      EXPECT_EQ(p.error().source, "changed.deb");
      ++refused;
    }
    b = was;
  }
  EXPECT_GT(refused, deb.size() / 4);
}

TEST(Trees, AndListsSayTheSameOfTheSameFiles) {
  const Folder folder;
  fs::create_directories(folder / "root/usr/bin");
  std::string sums;
  for (const std::string name : {"a", "b c", "d\\e"}) {
    std::ofstream(folder / ("root/usr/bin/" + name)) << "content of " << name;
    const std::string digest = digest_of(sha256, as_bytes("content of " + name)).hex();
    const bool escapes = name.find('\\') != std::string::npos;
    sums += (escapes ? "\\" : "") + digest + "  /usr/bin/" + (escapes ? "d\\\\e" : name) + "\n";
  }
  std::ofstream(folder / "SHA256SUMS") << sums;
  const std::string tree = folder / "tree-store", list = folder / "list-store";
  const auto of_tree = take_in(tree, "p", {"root:" + (folder / "root")}),
             of_list = take_in(list, "p", {"sha256sums:" + (folder / "SHA256SUMS")});
  ASSERT_TRUE(of_tree && of_list);
  EXPECT_EQ(of_tree->files, 3U);
  EXPECT_EQ(of_list->files, 3U);
  EXPECT_EQ(of_tree->packages + of_list->packages, 0U);  // files of no package
  const auto a = open_view(tree).value(), b = open_view(list).value();
  for (const std::string reported : {"/usr/bin/a", "/bin/a", "/usr/bin/b_c", "/usr/bin/d\\e"}) {
    const auto x = a->references_of_path("p", reported).value(), y = b->references_of_path("p", reported).value();
    ASSERT_EQ(x.size(), 1U) << reported;
    ASSERT_EQ(y.size(), 1U) << reported;
    EXPECT_EQ(x[0].path, y[0].path);
    EXPECT_EQ(*x[0].digest(sha256), *y[0].digest(sha256));
    EXPECT_EQ(x[0].digests.size(), 4U);
    EXPECT_EQ(y[0].digests.size(), 1U);
    const Digest t = template_digest(sha256, *x[0].digest(sha256), reported);
    EXPECT_TRUE(find_template(*a, "p", sha256, t).value().found);
    EXPECT_TRUE(find_template(*b, "p", sha256, t).value().found);
  }
  // A second run of either changes nothing; a changed file is a new source.
  EXPECT_EQ(take_in(tree, "p", {"root:" + (folder / "root")})->generation, 1U);
  std::ofstream(folder / "root/usr/bin/a") << "changed";
  EXPECT_EQ(take_in(tree, "p", {"root:" + (folder / "root")})->generation, 2U);
}

}  // namespace
}  // namespace gatehouse::refdb
