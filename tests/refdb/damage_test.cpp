// A store whose files are damaged on disk: whatever is asked, the answer is the right one or an error that names the
// store. Damage never reads as "unknown".
#include <random>

#include "tests/refdb/support.h"

namespace gatehouse::refdb {
namespace {

const std::string product = "Debian 12 x86_64";

class Damage : public ::testing::Test {
 protected:
  Damage() : store_(folder_ / "refdb") {
    questions_.products = {product};
    std::vector<std::pair<std::string, std::string>> old_files, new_files;
    for (int i = 0; i < 40; ++i) {
      const std::string path = "/usr/bin/program-" + std::to_string(i), content = "content " + std::to_string(i % 9);
      (i % 2 == 0 ? old_files : new_files).emplace_back(path, content);
      questions_.paths.push_back(path);
      if (i < 9) questions_.contents.push_back(content);
    }
    EXPECT_TRUE(publish(store_, {package(product, "old", "1", old_files)}));
    EXPECT_TRUE(publish(store_, {package(product, "new", "2", new_files)}));
    good_ = answers(store_, questions_).value();
    digest_ = read_stats(store_).value().content_digest;
    for (const auto& entry : fs::recursive_directory_iterator(store_))
      if (entry.is_regular_file() && entry.path().string().find("/generations/1/") == std::string::npos)
        files_.push_back(entry.path().string());
    EXPECT_GE(files_.size(), 6U);
  }

  // Replaced, not written in place: tables are hard links shared with other generations.
  static void put(const std::string& path, const ByteVector& content) {
    fs::remove(path);
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()), std::streamsize(content.size()));
  }
  // True: noticed.
  bool check(const std::string& what) {
    const auto found = answers(store_, questions_);
    if (found) {
      EXPECT_EQ(*found, good_) << what;
    } else {
      EXPECT_NE(found.error().text().find(store_), std::string::npos) << what << ": " << found.error().text();
      EXPECT_EQ(found.error().fault, Fault::environment) << what;
    }
    const auto stats = read_stats(store_);
    if (stats) {
      EXPECT_EQ(stats->content_digest, digest_) << what;
    } else {
      EXPECT_NE(stats.error().text().find(store_), std::string::npos) << what;
    }
    return !found;
  }

  Folder folder_;
  std::string store_, digest_;
  Questions questions_;
  std::vector<std::string> good_, files_;
};

TEST_F(Damage, OfAnyByteIsNoticedOrWithoutEffect) {
  std::mt19937 random(9);
  std::size_t noticed = 0, tables = 0;
  for (const std::string& file : files_) {
    const ByteVector content = read_file(file, std::size_t(16) << 20).value();
    const bool table = file.ends_with(".sst");
    tables += table;
    const std::size_t step = std::max<std::size_t>(1, content.size() / 60);
    for (std::size_t at = 0; at < content.size(); at += 1 + random() % (2 * step)) {
      ByteVector changed = content;
      changed[at] ^= std::byte(1U << random() % 8);
      put(file, changed);
      noticed += check(file + " byte " + std::to_string(at));
    }
    put(file, content);
  }
  EXPECT_FALSE(check("repaired"));
  EXPECT_EQ(tables, 5U);  // totals, contents, packages, indexes, filters: small generations are merged
  EXPECT_GT(noticed, 60U);
}

TEST_F(Damage, OfFilesThatAreCutOrGoneIsNoticedOrWithoutEffect) {
  std::size_t noticed = 0;
  for (const std::string& file : files_) {
    const ByteVector content = read_file(file, std::size_t(16) << 20).value();
    for (std::size_t n = 0; n < content.size(); n += 1 + content.size() / 25) {
      put(file, to_vector(Bytes(content).first(n)));
      noticed += check(file + " cut at " + std::to_string(n));
    }
    if (!content.empty()) {
      put(file, to_vector(Bytes(content).first(content.size() - 1)));
      noticed += check(file + " without its last byte");
    }
    fs::remove(file);
    noticed += check(file + " gone");
    put(file, content);
  }
  EXPECT_FALSE(check("repaired"));
  EXPECT_GT(noticed, 60U);
}

TEST_F(Damage, OfAGenerationIsNotCarriedIntoTheNext) {
  for (const std::string& file : files_) {
    const std::string inside = store_ + "/generations/2/";
    if (!file.starts_with(inside) || !(file.ends_with(".sst") || file.find("/MANIFEST") != std::string::npos)) continue;
    const ByteVector content = read_file(file, std::size_t(16) << 20).value();
    fs::remove(file);
    const auto published = publish(store_, {package(product, "newer", "3", {{"/usr/bin/newer", "newer"}})});
    EXPECT_FALSE(published) << file;
    put(file, content);
    EXPECT_EQ(current_generation(store_).value(), 2U);
    EXPECT_FALSE(check(file));
  }
}

TEST_F(Damage, AnotherFormatVersionIsNamed) {
  for (const std::string other : {"gatehouse refdb 2\n", "gatehouse refdb 4\n"}) {
    put(store_ + "/FORMAT", to_vector(as_bytes(other)));
    const auto view = open_view(store_);
    ASSERT_FALSE(view);
    EXPECT_EQ(view.error().reason, "the reference store has another format version");
    EXPECT_NE(view.error().text().find("ingest into a new store"), std::string::npos);
    EXPECT_FALSE(Builder::open(store_));
  }
  EXPECT_EQ(open_view(folder_ / "nowhere").error().reason, "no reference store here");
}

}  // namespace
}  // namespace gatehouse::refdb
