// What an ingestion that didn't come to its end leaves to the next: whole packages that are asked for again, and
// nothing else, whatever happened to it on disk.
#include <sys/resource.h>

#include <csignal>
#include <random>

#include "tests/refdb/support.h"

namespace gatehouse::refdb {
namespace {

const std::string debian = "Debian 12 x86_64", other = "Other 1 x86_64";
const std::vector<HashAlgorithm> all_banks(std::begin(common_banks), std::end(common_banks));

class Staging : public ::testing::Test {
 protected:
  static ReferencePackage numbered(int n) {
    const std::string name = "p" + std::to_string(n);
    auto out =
        package(debian, name, "1", {{"/usr/bin/" + name, name}, {"/usr/share/doc/" + name + "/a b", name + " doc"}});
    // A second content of the first file is staged, and is no file.
    out.files[0].further = {{99, digests_of(name + " unpacked")}};
    out.identity = digest_of(HashAlgorithm::sha256, as_bytes(name + ".deb"));
    return out;
  }
  // Adds so many packages and ends without publishing.
  void leave(int packages) const {
    auto builder = Builder::open(store_).value();
    for (int i = 0; i < packages; ++i) ASSERT_TRUE(builder.add(numbered(i)).value());
  }
  // Takes so many packages from what was left, or anew, and publishes; how many weren't taken anew.
  int take(int packages) const {
    auto builder = Builder::open(store_).value();
    int resumed = 0;
    for (int i = 0; i < packages; ++i) {
      const auto p = numbered(i);
      const auto found = builder.resume({debian}, *p.identity, all_banks).value();
      if (found) {
        EXPECT_EQ(found->files, 2U);
        EXPECT_EQ(found->bytes, p.files[0].size + p.files[1].size);
        EXPECT_TRUE(found->is_package);
        ++resumed;
      } else {
        EXPECT_TRUE(builder.add(p).value());
      }
    }
    EXPECT_TRUE(builder.publish().value().changed);
    return resumed;
  }
  std::string digest() const { return read_stats(store_).value().content_digest; }
  std::string undisturbed(int packages) const {
    const Folder folder;
    std::vector<ReferencePackage> list;
    for (int i = 0; i < packages; ++i) list.push_back(numbered(i));
    return publish(folder / "refdb", list).value().content_digest;
  }

  const Folder folder_;
  const std::string store_ = folder_ / "refdb", staging_ = store_ + "/staging";
};

TEST_F(Staging, IsTakenUpByTheNextIngestion) {
  leave(5);
  EXPECT_EQ(current_generation(store_).value(), 0U);
  EXPECT_EQ(take(8), 5);
  EXPECT_FALSE(fs::exists(staging_));
  EXPECT_EQ(digest(), undisturbed(8));
  const Questions questions{{debian}, {"/usr/bin/p1", "/bin/p1", "/usr/share/doc/p7/a_b"}, {"p1", "p7 doc"}};
  EXPECT_EQ(answers(store_, questions).value().size(), 1U + 3 + 2 * 4 + 2 * 3 + 2);  // each name has two contents
}

TEST_F(Staging, GrowsOverSeveralIngestionsThatAreKilled) {
  leave(3);
  {
    auto builder = Builder::open(store_).value();
    for (int i = 0; i < 6; ++i) {
      const auto p = numbered(i);
      EXPECT_EQ(builder.resume({debian}, *p.identity, all_banks).value().has_value(), i < 3);
      EXPECT_EQ(builder.add(p).value().has_value(), i >= 3);
    }
  }
  EXPECT_EQ(take(7), 6);
  EXPECT_EQ(digest(), undisturbed(7));
}

TEST_F(Staging, OfWhatIsNotAskedForAgainNothingIsPublished) {
  leave(5);
  EXPECT_EQ(take(2), 2);
  EXPECT_EQ(digest(), undisturbed(2));
  EXPECT_FALSE(fs::exists(staging_));
  // An ingestion that has nothing new drops it, too.
  ASSERT_TRUE(Builder::open(store_).value().add(numbered(3)).value());
  EXPECT_TRUE(fs::exists(staging_));
  EXPECT_FALSE(publish(store_, {numbered(0)}).value().changed);
  EXPECT_FALSE(fs::exists(staging_));
  EXPECT_EQ(digest(), undisturbed(2));
}

TEST_F(Staging, IsForTheProductTheIdentityAndTheAlgorithmsThatItHas) {
  auto p = numbered(0);
  for (ReferenceFile& f : p.files)
    std::erase_if(f.digests, [](const auto& d) { return d.first != HashAlgorithm::sha256; });
  {
    auto builder = Builder::open(store_).value();
    ASSERT_TRUE(builder.add(p).value());
  }
  auto builder = Builder::open(store_).value();
  EXPECT_FALSE(builder.resume({other}, *p.identity, {HashAlgorithm::sha256}).value());
  EXPECT_FALSE(builder.resume({debian}, *numbered(1).identity, {HashAlgorithm::sha256}).value());
  EXPECT_FALSE(builder.resume({debian}, *p.identity, all_banks).value());
  std::vector<HashAlgorithm> wanted{HashAlgorithm::sha256};
  EXPECT_FALSE(builder.known({debian}, *p.identity, wanted).value());  // it wasn't asked for yet
  ASSERT_TRUE(builder.resume({debian}, *p.identity, {HashAlgorithm::sha256}).value());
  EXPECT_FALSE(builder.resume({debian}, *p.identity, {HashAlgorithm::sha256}).value());
  EXPECT_TRUE(builder.known({debian}, *p.identity, wanted).value());
  // With all algorithms it comes again and replaces what was there.
  ASSERT_TRUE(builder.add(numbered(0)).value());
  ASSERT_TRUE(builder.publish());
  EXPECT_EQ(digest(), undisturbed(1));
}

// A stamp says without a look into a source that it is known; of what is only staged it says nothing.
TEST_F(Staging, AStampCountsOnceItsPackageIsPublished) {
  auto p = numbered(0);
  p.stamp = digest_of(HashAlgorithm::sha256, as_bytes("device, inode, times"));
  for (ReferenceFile& f : p.files)
    std::erase_if(f.digests, [](const auto& d) { return d.first != HashAlgorithm::sha256; });
  const auto known = [&](const std::string& product, const std::vector<HashAlgorithm>& algorithms) {
    return Builder::open(store_).value().known_by_stamp({product}, *p.stamp, algorithms).value();
  };
  ASSERT_TRUE(Builder::open(store_).value().add(p).value());
  EXPECT_FALSE(known(debian, {HashAlgorithm::sha256}));
  ASSERT_TRUE(publish(store_, {p, numbered(1)}));
  ASSERT_TRUE(publish(store_, {numbered(2)}));
  EXPECT_TRUE(known(debian, {HashAlgorithm::sha256}));
  EXPECT_FALSE(known(debian, {HashAlgorithm::sha256, HashAlgorithm::sha512}));
  EXPECT_FALSE(known(other, {HashAlgorithm::sha256}));
  // The package comes again with all algorithms and from a file that is too new to have a stamp.
  ASSERT_TRUE(publish(store_, {numbered(0)}));
  EXPECT_FALSE(known(debian, {HashAlgorithm::sha256}));
  EXPECT_EQ(digest(), undisturbed(3));
}

// Who asks for many is answered from all of the base, read at once.
TEST_F(Staging, ManyPackagesAreKnownAsFewAre) {
  const auto made = [](int n, bool all) {
    auto p = numbered(n);
    if (n % 3 == 0) p.stamp = digest_of(HashAlgorithm::sha256, as_bytes(p.name + " stamp"));
    for (ReferenceFile& f : p.files)
      if (!all) std::erase_if(f.digests, [](const auto& d) { return d.first != HashAlgorithm::sha256; });
    return p;
  };
  std::vector<ReferencePackage> packages;
  for (int n = 0; n < 150; ++n) packages.push_back(made(n, false));
  ASSERT_TRUE(publish(store_, packages));
  // These come again with more algorithms, and the old ones are gone.
  ASSERT_TRUE(publish(store_, {made(6, true), made(140, true)}));
  const auto builder = Builder::open(store_).value();
  for (int round = 0; round < 2; ++round)
    for (int n = 0; n < 200; ++n) {
      SCOPED_TRACE(n);
      const auto p = numbered(n);
      for (const bool all : {false, true}) {
        std::vector<HashAlgorithm> wanted{HashAlgorithm::sha256};
        if (all) wanted = all_banks;
        const bool has = n < 150 && (!all || n == 6 || n == 140);
        auto missing = wanted;
        EXPECT_EQ(builder.known({debian}, *p.identity, missing).value(), has);
        const Digest stamp = digest_of(HashAlgorithm::sha256, as_bytes(p.name + " stamp"));
        EXPECT_EQ(builder.known_by_stamp({debian}, stamp, wanted).value(), has && n % 3 == 0);
        EXPECT_FALSE(builder.known({other}, *p.identity, missing).value());
        EXPECT_FALSE(builder.known({debian, Layer::updates}, *p.identity, missing).value());
      }
    }
}

TEST_F(Staging, IsForTheGenerationThatItWasToFollow) {
  ASSERT_TRUE(publish(store_, {package(debian, "first", "1", {{"/a", "a"}})}));
  leave(2);
  const std::string kept = folder_ / "kept";
  fs::copy(staging_, kept);
  ASSERT_TRUE(publish(store_, {package(debian, "second", "1", {{"/b", "b"}})}));
  fs::copy(kept, staging_);
  EXPECT_EQ(take(2), 0);
  EXPECT_EQ(read_stats(store_)->packages, 4U);
}

// As on a full disk: nothing is published of a part, and what was written before is there for the next ingestion.
TEST_F(Staging, ThatCannotBeWrittenPublishesNothing) {
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 1000; ++i) many.emplace_back("/usr/share/many/" + std::to_string(i), std::to_string(i));
  {
    auto builder = Builder::open(store_).value();
    ASSERT_TRUE(builder.add(numbered(0)).value());
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    rlimit small = before;
    small.rlim_cur = 8192;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto added = builder.add(package(debian, "many", "1", many));
    const auto later = builder.add(numbered(1));
    const auto published = builder.publish();
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, handler);
    for (const auto& [fault, path] : {std::pair(added.error().fault, added.error().source),
                                      {later.error().fault, later.error().source},
                                      {published.error().fault, published.error().source}}) {
      EXPECT_EQ(fault, Fault::environment);
      EXPECT_EQ(path, staging_);
    }
  }
  EXPECT_EQ(current_generation(store_).value(), 0U);
  EXPECT_EQ(take(3), 1);
  EXPECT_EQ(digest(), undisturbed(3));
}

// Whole packages of it count up to the first that isn't; whatever is changed or cut, the store becomes the same.
TEST_F(Staging, DamageCostsTheWorkAndNothingElse) {
  leave(4);
  const ByteVector whole = read_file(staging_, 1 << 20).value();
  const std::string expected = undisturbed(4);
  std::mt19937 random(5);
  std::size_t all = 0, some = 0, none = 0;
  const auto check = [&](const ByteVector& content) {
    fs::remove_all(store_);
    leave(0);
    std::ofstream(staging_, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()), std::streamsize(content.size()));
    const int resumed = take(4);
    ASSERT_EQ(digest(), expected);
    ++(resumed == 4 ? all : resumed == 0 ? none : some);
  };
  for (std::size_t at = 0; at < whole.size(); at += 1 + random() % 100) {
    ByteVector changed = whole;
    changed[at] ^= std::byte(1U << random() % 8);
    check(changed);
  }
  EXPECT_EQ(all, 0U);
  EXPECT_GT(some, 10U);
  EXPECT_GT(none, 5U);
  for (std::size_t n = 0; n <= whole.size(); n += std::min<std::size_t>(whole.size() - n, 120) + (n == whole.size()))
    check(to_vector(Bytes(whole).first(n)));
  EXPECT_EQ(all, 1U);
}

}  // namespace
}  // namespace gatehouse::refdb
