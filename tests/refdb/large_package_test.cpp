// A package of any number of files: what comes file by file, in whatever order, is what would come at once.
#include <random>

#include "refdb/store/generation.h"
#include "refdb/store/package_files.h"
#include "tests/refdb/support.h"

namespace gatehouse::refdb {
namespace {

const std::string debian = "Debian 12 x86_64";
const std::vector<HashAlgorithm> sha256{HashAlgorithm::sha256};

std::vector<std::pair<HashAlgorithm, Digest>> digests(const std::string& content) {
  return {{HashAlgorithm::sha256, digest_of(HashAlgorithm::sha256, as_bytes(content))}};
}
// Every third has another content besides.
ReferenceFile file(std::size_t n, const std::string& content) {
  ReferenceFile out{"/usr/share/many/" + std::to_string(n % 97) + "/" + std::to_string(n), content.size(), n % 5 == 0,
                    digests(content)};
  if (n % 3 == 0) out.further.push_back({content.size() + 9, digests(content + " unpacked")});
  return out;
}

class LargePackage : public ::testing::Test {
 protected:
  static ReferencePackage head(const std::string& name) {
    auto out = package(debian, name, "1", {});
    out.identity = digest_of(HashAlgorithm::sha256, as_bytes(name));
    return out;
  }
  static ReferencePackage small(const std::string& name) {
    return package(debian, name, "1", {{"/usr/bin/" + name, name}, {"/usr/lib/" + name, name + " library"}});
  }
  // In no order; every tenth came before with another content.
  static std::vector<ReferenceFile> files(std::size_t count) {
    std::vector<ReferenceFile> out;
    for (std::size_t n = 0; n < count; ++n) out.push_back(file(n, "content " + std::to_string(n)));
    std::shuffle(out.begin(), out.end(), std::mt19937(7));
    const std::size_t distinct = out.size();
    for (std::size_t n = 0; n < count; n += 10) out.push_back(file(n, "before " + std::to_string(n)));
    std::rotate(out.begin(), out.begin() + std::ptrdiff_t(distinct), out.end());
    return out;
  }
  static Result<std::optional<Added>> add(Builder& builder, const std::string& store, std::size_t count) {
    PackageFiles waiting(store, 1000);
    for (ReferenceFile& f : files(count)) GH_CHECK(waiting.add(std::move(f)));
    return builder.add(head("many"), std::move(waiting));
  }
  // As it was when packages came at once.
  std::string digest_at_once(std::size_t count) const {
    auto many = head("many");
    many.files = files(count);
    return publish(folder_ / ("at once " + std::to_string(count)), {small("first"), std::move(many), small("last")})
        .value()
        .content_digest;
  }
  const Folder folder_;
  const std::string store_ = folder_ / "refdb";
};

// Around the sizes of what is read at a time, and of pages of contents.
TEST_F(LargePackage, IsTheSameHoweverItsFilesCome) {
  for (const std::size_t count : {0U, 1U, 999U, 8191U, 8192U, 8193U, 16384U, 20007U}) {
    SCOPED_TRACE(count);
    fs::remove_all(store_);
    {
      auto builder = Builder::open(store_).value();
      ASSERT_TRUE(builder.add(small("first")).value());
      const auto added = add(builder, store_, count).value();
      ASSERT_TRUE(added);
      EXPECT_EQ(added->files, count);
      ASSERT_TRUE(builder.add(small("last")).value());
      EXPECT_EQ(builder.publish().value().content_digest, digest_at_once(count));
    }
    const auto view = open_view(store_).value();
    EXPECT_EQ(view->references_of_path(debian, "/usr/bin/first").value().size(), 1U);
    EXPECT_EQ(view->references_of_path(debian, "/usr/lib/last").value().size(), 1U);
    for (std::size_t n = 0; n < count; n += n < count - 40 ? 37 : 1) {
      const std::string content = "content " + std::to_string(n);
      const auto found = view->references_of_path(debian, file(n, content).path).value();
      ASSERT_EQ(found.size(), n % 3 == 0 ? 2U : 1U) << n;
      if (n % 3 == 0) {
        EXPECT_EQ(found[1].digests, digests(content + " unpacked"));
      }
      EXPECT_EQ(found[0].package, "many");
      EXPECT_EQ(found[0].digests, file(n, content).digests);
      EXPECT_EQ(found[0].is_mutable, n % 5 == 0);
    }
    EXPECT_TRUE(Generation::open(store_, 1).value()->verify());
  }
}

TEST_F(LargePackage, IsTakenUpByTheNextIngestion) {
  constexpr std::size_t count = 20'007;
  {
    auto builder = Builder::open(store_).value();
    ASSERT_TRUE(builder.add(small("first")).value());
    ASSERT_TRUE(add(builder, store_, count).value());
  }
  const ByteVector staged = read_file(store_ + "/staging", std::size_t(1) << 24).value();
  for (const std::size_t lost : {std::size_t(0), std::size_t(1), staged.size() / 2}) {
    fs::remove_all(store_);
    (void)Builder::open(store_).value();
    std::ofstream(store_ + "/staging", std::ios::binary)
        .write(reinterpret_cast<const char*>(staged.data()), std::streamsize(staged.size() - lost));
    auto builder = Builder::open(store_).value();
    const auto resumed = builder.resume({debian}, *head("many").identity, sha256).value();
    EXPECT_EQ(resumed.has_value(), lost == 0);
    EXPECT_EQ(add(builder, store_, count).value().has_value(), lost != 0);
    ASSERT_TRUE(builder.add(small("first")).value());
    ASSERT_TRUE(builder.add(small("last")).value());
    EXPECT_EQ(builder.publish().value().content_digest, digest_at_once(count));
    fs::remove_all(folder_ / ("at once " + std::to_string(count)));
  }
}

// What can't be read to its end leaves nothing behind.
TEST_F(LargePackage, ThatIsGivenUpIsNotThere) {
  auto builder = Builder::open(store_).value();
  {
    PackageFiles waiting = builder.files();
    for (ReferenceFile& f : files(3000)) ASSERT_TRUE(waiting.add(std::move(f)));
    EXPECT_FALSE(waiting.add({"/../x", 1, false, {}}));
  }
  ASSERT_TRUE(builder.add(small("first")).value());
  EXPECT_TRUE(builder.publish().value().changed);
  EXPECT_EQ(read_stats(store_)->files, 2U);
  for (const auto& entry : fs::directory_iterator(store_))
    EXPECT_TRUE(entry.path().filename() == "FORMAT" || entry.path().filename() == "LOCK" ||
                entry.path().filename() == "CURRENT" || entry.path().filename() == "generations")
        << entry.path();
}

}  // namespace
}  // namespace gatehouse::refdb
