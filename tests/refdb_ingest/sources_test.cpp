// Sources of references as they come: trees with what trees have, lists as sha256sum writes them, broken packages.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/hash.h"
#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"
#include "refdb/store/open.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;

const std::string corpus = GATEHOUSE_SHARED "/corpus/packages/";
const std::vector<HashAlgorithm> sha256{HashAlgorithm::sha256};

class Sources : public ::testing::Test {
 protected:
  Sources() {
    std::string pattern = (fs::temp_directory_path() / "gatehouse-sources-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    folder_ = pattern;
  }
  ~Sources() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  void write(const std::string& name, const std::string& content) const {
    fs::create_directories(fs::path(folder_ + "/" + name).parent_path());
    std::ofstream(folder_ + "/" + name) << content;
  }
  std::string folder_;
};

std::vector<std::string> paths_of(const ReferencePackage& p) {
  std::vector<std::string> out;
  for (const ReferenceFile& f : p.files) out.push_back(f.path);
  std::sort(out.begin(), out.end());
  return out;
}
// Also as a list that is read piece by piece says it.
std::string sums(std::string_view text) {
  const auto said = [](const auto& read, const std::string& paths) {
    return read ? paths : std::to_string(read.error().offset) + ": " + std::string(read.error().reason);
  };
  const auto p = read_sha256sums(as_bytes(text), "list");
  std::string out, streamed;
  if (p)
    for (const ReferenceFile& f : p->files) out += f.path + "\n";
  const MemoryInput input(as_bytes(text));
  PlainStream stream(input, 0);
  const auto s = read_sha256sums(stream, "list", [&](ReferenceFile&& f) -> Result<void> {
    streamed += f.path + "\n";
    return {};
  });
  EXPECT_EQ(said(s, streamed), said(p, out));
  return said(p, out);
}

// Lines of it are cut by what is read at a time wherever that ends.
TEST_F(Sources, AListOfAnyLengthIsReadPieceByPiece) {
  std::string text, expected;
  for (int n = 0; n < 4000; ++n) {
    const std::string path = "/usr/share/" + std::string(std::size_t(n % 200), 'x') + std::to_string(n);
    text += std::string(64, 'a') + "  " + path + "\n";
    expected += path + "\n";
  }
  ASSERT_GT(text.size(), std::size_t(512) << 10);
  EXPECT_EQ(sums(text), expected);
  text.pop_back();
  EXPECT_EQ(sums(text), expected);
  EXPECT_EQ(sums(text + "\nnone"), std::to_string(text.size() + 1) + ": not a line of a sha256sum list");
}

TEST_F(Sources, ATreeGivesItsRegularFilesAndNothingElse) {
  write("tree/usr/bin/a", "a");
  write("tree/opt/My App/x y", "b");
  write("tree/opt/\xFF\x1B[31m", "c");
  write("tree/opt/new\nline", "d");
  write("outside/secret", "e");
  fs::create_hard_link(folder_ + "/tree/usr/bin/a", folder_ + "/tree/usr/bin/hard");
  fs::create_symlink("a", folder_ + "/tree/usr/bin/soft");
  fs::create_directory_symlink("usr/bin", folder_ + "/tree/bin");
  fs::create_directory_symlink("../../outside", folder_ + "/tree/opt/out");
  fs::create_symlink("loop", folder_ + "/tree/loop");
  ASSERT_EQ(::mkfifo((folder_ + "/tree/fifo").c_str(), 0600), 0);
  const std::vector<std::string> expected{"/opt/My App/x y", "/opt/new\nline", "/opt/\xFF\x1B[31m", "/usr/bin/a",
                                          "/usr/bin/hard"};
  for (const std::string& root : {folder_ + "/tree", folder_ + "/tree/", folder_ + "/./outside/../tree"}) {
    const auto p = read_root(root, sha256);
    ASSERT_TRUE(p) << p.error().text();
    EXPECT_EQ(paths_of(*p), expected) << root;
  }
  fs::create_directory_symlink("tree", folder_ + "/link");  // the root itself may be one
  EXPECT_EQ(paths_of(read_root(folder_ + "/link", sha256).value()), expected);
  EXPECT_EQ(read_root(folder_ + "/absent", sha256).error().fault, Fault::environment);
  EXPECT_EQ(read_root(folder_ + "/outside/secret", sha256).error().fault, Fault::environment);
}

TEST_F(Sources, AFolderThatCannotBeReadFailsTheTree) {
  write("tree/a", "a");
  write("tree/closed/b", "b");
  ASSERT_EQ(::chmod((folder_ + "/tree/closed").c_str(), 0), 0);
  // Root reads everything: then somebody else looks.
  const bool root = ::geteuid() == 0;
  constexpr uid_t nobody = 65534;
  if (root) {
    ASSERT_EQ(::chmod(folder_.c_str(), 0755), 0);
    ASSERT_EQ(::seteuid(nobody), 0);
  }
  const auto p = read_root(folder_ + "/tree", sha256);
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  ::chmod((folder_ + "/tree/closed").c_str(), 0700);
  ASSERT_FALSE(p);  // references with a gap would make files unknown without a word
  EXPECT_EQ(p.error().source, folder_ + "/tree/closed");
}

TEST(Sums, AreReadAsSha256sumWritesThem) {
  const std::string d(64, 'a'), D(64, 'A');
  EXPECT_EQ(sums(d + "  /a\n" + d + " */b\n"), "/a\n/b\n");
  EXPECT_EQ(sums(D + "  /a"), "/a\n");
  EXPECT_EQ(sums(d + "  /a\r\n\r\n\n# a comment\n" + d + "  /b\r\n"), "/a\n/b\n");
  EXPECT_EQ(sums("\\" + d + "  /a\\\\b\\nc\\rd\n"), "/a\\b\nc\rd\n");
  EXPECT_EQ(sums(d + "  /a\\nb\n"), "/a\\nb\n");  // no escape without the backslash in front
  EXPECT_EQ(sums(d + "  /a/../b//c\n"), "/b/c\n");
  EXPECT_EQ(sums(""), "");
}

TEST(Sums, MalformedLinesAreNamedByTheirOffset) {
  const std::string d(64, 'a'), good = d + "  /good\n";
  const std::string at = std::to_string(good.size()) + ": ";
  EXPECT_EQ(sums(good + "\\" + d + "  /a\\x\n"), at + "unknown escape in the path");
  EXPECT_EQ(sums(good + "\\" + d + "  /a\\\n"), at + "unknown escape in the path");
  EXPECT_EQ(sums(good + d + "  a\n"), at + "path isn't absolute");
  EXPECT_EQ(sums(good + d + "  /../a\n"), at + "path can't be used");
  EXPECT_EQ(sums(good + d + "  /" + std::string(4096, 'x') + "\n"), at + "path can't be used");
  EXPECT_EQ(sums(good + std::string(64, 'z') + "  /a\n"), at + "digest isn't hexadecimal");
  for (const std::string& line :
       {d.substr(1) + "  /a", d + d + "  /a", d + " /a", d + "\t /a", "SHA256 (/a) = " + d, d, std::string("\\")})
    EXPECT_EQ(sums(good + line + "\n"), at + "not a line of a sha256sum list") << line;
}

TEST(Packages, ErrorsNameThePlaceInTheFile) {
  const auto error = [](const std::string& name) {
    const auto p = read_deb(corpus + "bad/" + name, sha256);
    return p ? std::string("good") : std::to_string(p.error().offset) + ": " + std::string(p.error().reason);
  };
  if (!fs::exists(corpus + "bad")) GTEST_SKIP() << "no corpus";
  EXPECT_EQ(error("empty.deb"), "0: not a Debian package");
  EXPECT_EQ(error("text.deb"), "0: not a Debian package");
  EXPECT_EQ(error("no-data-member.deb"), "294: the data member is missing");
  EXPECT_EQ(error("truncated.deb"), "3136: member longer than the file");  // its header's size field
}

TEST_F(Sources, APinnedFileIsReadAsItWasWhenItWasJudged) {
  std::string content(300'000, '.');
  for (std::size_t i = 0; i < content.size(); i += 7) content[i] = char('a' + i % 26);
  write("package", content);
  const auto file = FileInput::open(folder_ + "/package");
  ASSERT_TRUE(file);
  const auto pinned = PinnedInput::open(**file, HashAlgorithm::sha512);
  ASSERT_TRUE(pinned);
  EXPECT_EQ((*pinned)->digest(), digest_of(HashAlgorithm::sha512, as_bytes(content)));
  for (const auto& [at, size] : {std::pair<std::size_t, std::size_t>{0, 300'000}, {131'071, 2}, {299'990, 10}, {5, 0}}) {
    const auto bytes = (*pinned)->bytes_at(at, size);
    ASSERT_TRUE(bytes);
    EXPECT_EQ(as_text(*bytes), content.substr(at, size));
  }
  ByteVector past(64);
  EXPECT_EQ((*pinned)->read_at(299'990, past).value_or(0), 10U);
  EXPECT_EQ((*pinned)->read_at(300'000, past).value_or(1), 0U);

  std::fstream(folder_ + "/package", std::ios::in | std::ios::out).seekp(200'000) << '!';
  EXPECT_TRUE((*pinned)->bytes_at(0, 10));
  const auto changed = (*pinned)->bytes_at(150'000, 10);
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().reason, "the file changed while it was read");
  fs::resize_file(folder_ + "/package", 100);
  EXPECT_FALSE((*pinned)->bytes_at(270'000, 10));
}

TEST_F(Sources, ABadSourceFailsAloneUnderTheNameThatItWasGiven) {
  write("good.txt", std::string(64, 'a') + "  /a\n");
  write("bad.txt", "nonsense\n");
  write("twice.txt", std::string(64, 'b') + "  /b\n" + std::string(64, 'c') + "  /b\n");
  IngestOptions options;
  options.refdb = folder_ + "/refdb";
  options.product = "p";
  options.sources = {"sha256sums:" + folder_ + "/good.txt", "sha256sums:" + folder_ + "/bad.txt",
                     "root:" + folder_ + "/absent", folder_ + "/absent.deb", "sha256sums:" + folder_ + "/twice.txt"};
  for (const unsigned jobs : {1U, 2U, 8U, 1000U}) {
    fs::remove_all(options.refdb);
    options.jobs = jobs;
    const auto report = ingest(options);
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_EQ(report->files, 2U);
    EXPECT_EQ(report->files, read_stats(options.refdb)->files);
    std::vector<std::string> failed;
    for (const FailedSource& f : report->failed) failed.push_back(f.source);
    EXPECT_EQ(failed, (std::vector<std::string>{folder_ + "/absent.deb", "root:" + folder_ + "/absent",
                                                "sha256sums:" + folder_ + "/bad.txt"}));
  }
}

}  // namespace
}  // namespace gatehouse::refdb
