// Judging entries: the index, the path query and the cache give one answer; paths are taken literally.
#include "pipeline/lookup/lookup.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/pipeline_graph/fake_view.h"
#include "tests/pipeline_lookup/text.h"

namespace gatehouse::testing {
namespace {

using pipeline::ImaBatch;
using pipeline::ImaItem;
using pipeline::ListFields;
using pipeline::Judged;
using pipeline::References;
using pipeline::Status;

Digest content(std::string_view text) { return digest_of(HashAlgorithm::sha256, as_bytes(text)); }

void know(FakeView& view, const std::string& path, std::string_view text, bool is_mutable = false) {
  refdb::Reference r;
  r.path = path;
  r.package = "pkg";
  r.version = "1.0";
  r.is_mutable = is_mutable;
  r.digests = {{HashAlgorithm::sha256, content(text)}, {HashAlgorithm::sha1, digest_of(HashAlgorithm::sha1, as_bytes(text))}};
  view.add(std::move(r));
}

ImaItem entry(const std::string& name, std::string_view text, bool on_wire) {
  ImaItem item;
  item.index = 1;
  item.name = lasting_text(name);
  item.algorithm = "sha256";
  item.plain_ng = true;
  Hasher hasher(HashAlgorithm::sha256);
  item.template_hash = template_hash(hasher, item, content(text).view());
  if (!on_wire) change_fields(item, [&](ListFields& f) { f.file_digest = content(text); });
  return item;
}

std::string statuses(const Judged& judged) {
  std::string out;
  for (const Status s : judged.statuses) out += name(s).substr(0, 2);
  return out;
}

TEST(Lookup, WireAndRawIndexAndPathAgree) {
  auto indexed = std::make_shared<FakeView>(true), plain = std::make_shared<FakeView>(false);
  std::mt19937 random(1);
  const char* folders[] = {"/bin/", "/usr/bin/", "/lib/x/", "/usr/lib32/", "/opt/My App/", "/etc/"};
  for (int n = 0; n < 300; ++n) {
    const std::string path = folders[random() % 6] + std::to_string(random() % 120), text = std::to_string(random() % 4);
    const bool is_mutable = path.starts_with("/etc/");
    for (const auto& view : {indexed, plain}) know(*view, path, text, is_mutable);
  }
  const char* reported[] = {"/bin/", "/usr/bin/", "/usr/lib/x/", "/lib32/", "/opt/My_App/", "/etc/", "/tmp/", ""};
  for (int n = 0; n < 3000; ++n) {
    const std::string path = reported[random() % 8] + std::to_string(random() % 150), text = std::to_string(random() % 5);
    std::string answers[4];
    int at = 0;
    for (const auto& view : {indexed, plain})
      for (const bool on_wire : {true, false}) {
        const auto judged = judge(References{view, nullptr, "p", HashAlgorithm::sha256, {}}, ImaBatch{{entry(path, text, on_wire)}});
        ASSERT_TRUE(judged.has_value());
        answers[at++] = statuses(*judged);
      }
    for (const std::string& answer : answers) ASSERT_EQ(answer, answers[0]) << path;
  }
}

// Nobody gets a known file counted as one that nobody knows by calling its digest another algorithm's.
TEST(Lookup, AKnownTemplateHashAsAnotherAlgorithmsIsALie) {
  auto view = std::make_shared<FakeView>();
  know(*view, "/usr/bin/a", "a");
  const auto cache = std::make_shared<pipeline::VerdictCache>(64, 64);
  for (const std::string algorithm : {"sha1", "sha512", "sha256"})
    for (const bool legacy : {false, true})
      for (const auto& kept : {std::shared_ptr<pipeline::VerdictCache>(), cache, cache}) {
        ImaItem item = entry("/usr/bin/a", "a", true);
        item.algorithm = algorithm;
        item.legacy = legacy;
        item.plain_ng = !legacy;
        const auto judged = judge(References{view, kept, "p", HashAlgorithm::sha256, {}}, ImaBatch{{item}});
        ASSERT_TRUE(judged);
        const bool good = algorithm == "sha256" && !legacy;
        EXPECT_EQ(judged->statuses[0], good ? Status::ok : Status::failed) << algorithm << legacy;
        if (!good) {
          EXPECT_EQ(spelled(judged->findings).at(0).reason, "the template hash is that of another algorithm");
        }
      }
}

TEST(Lookup, CacheChangesNothing) {
  auto view = std::make_shared<FakeView>();
  for (int n = 0; n < 50; ++n) know(*view, "/usr/bin/" + std::to_string(n), "a");
  const auto cache = std::make_shared<pipeline::VerdictCache>(64, 64);  // crowded
  std::mt19937 random(2);
  for (int n = 0; n < 2000; ++n) {
    ImaBatch batch;
    for (int i = 0; i < 8; ++i) {
      batch.items.push_back(entry("/usr/bin/" + std::to_string(random() % 100), random() % 3 == 0 ? "b" : "a", true));
      if (random() % 10 == 0) batch.items.back().name = lasting_text("/tmp/" + std::to_string(random() % 4));  // a lie, or unknown
    }
    const auto with = judge(References{view, cache, "p", HashAlgorithm::sha256, {}}, batch);
    const auto without = judge(References{view, nullptr, "p", HashAlgorithm::sha256, {}}, batch);
    ASSERT_TRUE(with && without);
    ASSERT_EQ(statuses(*with), statuses(*without));
    ASSERT_EQ(with->findings.size(), without->findings.size());
    const std::vector<pipeline::Finding> these = spelled(with->findings), those = spelled(without->findings);
    for (std::size_t i = 0; i < these.size(); ++i) ASSERT_EQ(these[i].reason, those[i].reason);
  }
}

// What is known is known by its whole hash.
TEST(Lookup, AKnownTemplateHashWithOneBitChangedAnywhereIsAnother) {
  pipeline::VerdictCache cache(64, 64);
  for (const HashAlgorithm bank : {HashAlgorithm::sha1, HashAlgorithm::sha256, HashAlgorithm::sha384}) {
    Digest key = digest_of(bank, as_bytes("known"));
    cache.insert_hit(key, "/usr/bin/known");
    cache.insert_miss(key, "/usr/bin/known", "sha256", "why");
    ASSERT_EQ(cache.find_hit(key), "/usr/bin/known");
    for (std::size_t bit = 0; bit < 8U * key.size; ++bit) {
      Digest changed = key;
      changed.bytes[bit / 8] ^= std::byte(1U << bit % 8);
      ASSERT_EQ(cache.find_hit(changed).data(), nullptr) << name(bank) << " bit " << bit;
      ASSERT_EQ(cache.find_hit(changed, cache.guess_hit(changed)).data(), nullptr) << name(bank) << " bit " << bit;
      ASSERT_FALSE(cache.find_miss(changed, "/usr/bin/known", "sha256")) << name(bank) << " bit " << bit;
    }
    --key.size;
    EXPECT_EQ(cache.find_hit(key).data(), nullptr) << "another length";
  }
  const Digest longest = digest_of(HashAlgorithm::sha512, as_bytes("known"));
  cache.insert_hit(longest, "/usr/bin/known");
  EXPECT_EQ(cache.find_hit(longest).data(), nullptr) << "no reference is indexed by such a hash";
}

TEST(Lookup, CacheFromManyThreads) {
  pipeline::VerdictCache cache(256, 256);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  std::vector<std::string> names;
  for (int n = 0; n < 400; ++n) names.push_back("/usr/bin/" + std::to_string(n));
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random{std::uint32_t(t)};
      for (int n = 0; n < 20'000; ++n) {
        const std::string& name = names[random() % names.size()];
        const Digest key = content(name);
        if (const auto known = cache.find_hit(key); known.data() != nullptr && known != name) ++wrong;
        cache.insert_hit(key, name);
        if (const auto reason = cache.find_miss(key, name, "sha256"); reason && *reason != "why") ++wrong;
        cache.insert_miss(key, name, "sha256", "why");
        if (cache.find_miss(key, "other", "sha256") || cache.find_miss(key, name, "sha1")) ++wrong;
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

// Who looks something up while others make the table larger finds what was in it before.
TEST(Lookup, CacheGrowsUnderItsReaders) {
  constexpr int each = 10'000, writers = 3;
  pipeline::VerdictCache cache;
  std::vector<std::string> names;
  for (int n = 0; n < each * writers; ++n) names.push_back("/usr/bin/" + std::to_string(n));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < writers; ++t)
    threads.emplace_back([&, t] {
      for (int n = t * each; n < (t + 1) * each; ++n) {
        const Digest key = content(names[std::size_t(n)]);
        if (cache.find_hit(key).data() != nullptr) ++wrong;
        cache.prefetch_hit(key);
        cache.insert_hit(key, names[std::size_t(n)]);
        if (cache.find_hit(key, cache.guess_hit(key)) != names[std::size_t(n)]) ++wrong;
        const std::string& earlier = names[std::size_t(t * each + (n - t * each) / 2)];
        if (cache.find_hit(content(earlier)) != earlier) ++wrong;
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  for (const std::string& name : names) ASSERT_EQ(cache.find_hit(content(name)), name);
}

TEST(Lookup, CacheKnowsNamesOfAnyLength) {
  pipeline::VerdictCache cache;
  std::vector<std::string> names;
  for (std::size_t size = 0; size < 400; ++size) names.push_back(std::string(size, 'n'));
  names.push_back(std::string(4096, 'n'));
  for (const std::string& name : names) cache.insert_hit(content(name), name);
  for (const std::string& name : names) {
    const Digest key = content(name);
    ASSERT_EQ(cache.find_hit(key), name);
    ASSERT_EQ(cache.find_hit(key, cache.guess_hit(key)), name);
  }
}

TEST(Lookup, CacheTakesNoMoreThanItsMost) {
  pipeline::VerdictCache cache(64, 64);
  for (int n = 0; n < 1000; ++n) cache.insert_hit(content(std::to_string(n)), "/usr/bin/a");
  for (int n = 0; n < 1000; ++n) EXPECT_EQ(cache.find_hit(content(std::to_string(n))).data() != nullptr, n < 64) << n;
}

TEST(Lookup, OperatorSymlinksOnce) {
  const std::vector<pipeline::SymlinkPair> pairs{{"/lib32", "/usr/lib32"}, {"/lib", "/usr/lib"}, {"/usr/sbin", "/usr/bin"}, {"/data", "/srv/data"}};
  const auto paths = [&](const std::string& path) { return pipeline::candidate_paths(path, pairs); };
  using V = std::vector<std::string>;
  EXPECT_EQ(paths("/data/x"), (V{"/data/x", "/srv/data/x"}));
  EXPECT_EQ(paths("/srv/data/x"), (V{"/srv/data/x", "/data/x"}));
  EXPECT_EQ(paths("/usr/lib32/x"), (V{"/usr/lib32/x", "/lib32/x"}));  // not /lib: prefixes end at a component
  EXPECT_EQ(paths("/database/x"), (V{"/database/x"}));
  EXPECT_EQ(paths("/data"), (V{"/data"}));
  EXPECT_EQ(paths("/usr/bin/ls"), (V{"/usr/bin/ls", "/usr/sbin/ls"}));
  // Spec part 2 §11.6: with the pair of /usr/lib alone, /usr/lib32 has no alias.
  EXPECT_EQ(pipeline::candidate_paths("/usr/lib32/x", {{"/lib", "/usr/lib"}}), (V{"/usr/lib32/x"}));
  auto view = std::make_shared<FakeView>();
  know(*view, "/srv/data/tool", "a");
  const References with{view, nullptr, "p", HashAlgorithm::sha256, pairs}, without{view, nullptr, "p", HashAlgorithm::sha256, {}};
  EXPECT_EQ(statuses(*judge(with, ImaBatch{{entry("/data/tool", "a", true)}})), "ok");
  EXPECT_EQ(statuses(*judge(with, ImaBatch{{entry("/data/tool", "b", true)}})), "di");
  EXPECT_EQ(statuses(*judge(without, ImaBatch{{entry("/data/tool", "a", true)}})), "un");
}

TEST(Lookup, KindsThatAreNotFiles) {
  auto view = std::make_shared<FakeView>();
  know(*view, "/usr/bin/a", "a");
  const References references{view, nullptr, "p", HashAlgorithm::sha256, {}};
  const auto of = [&](auto&& change) {
    ImaItem item = entry("/usr/bin/a", "a", false);
    change(item);
    auto judged = judge(references, ImaBatch{{item}});
    return statuses(*judged) + " " + std::to_string(judged->counters.violations);
  };
  EXPECT_EQ(of([](ImaItem&) {}), "ok 0");
  EXPECT_EQ(of([](ImaItem& i) { i.kind = ImaItem::Kind::violation; }), "un 1");
  EXPECT_EQ(of([](ImaItem& i) { i.kind = ImaItem::Kind::buffer; }), "un 0");
  EXPECT_EQ(of([](ImaItem& i) { i.kind = ImaItem::Kind::aggregate; }), "ab 0");
  EXPECT_EQ(of([](ImaItem& i) { i.verity = true; }), "un 0");
  EXPECT_EQ(of([](ImaItem& i) { change_fields(i, [](ListFields& f) { f.contradiction = "altered"; }); }), "fa 0");
  EXPECT_EQ(of([](ImaItem& i) { i.plain_ng = false; }), "ok 0");                             // ima-sig and the like: by the digest
  const auto with_digest = [](ImaItem& i, const Digest& digest) { change_fields(i, [&](ListFields& f) { f.file_digest = digest; }); };
  EXPECT_EQ(of([&](ImaItem& i) { i.plain_ng = false, with_digest(i, content("b")); }), "di 0");
  EXPECT_EQ(of([&](ImaItem& i) { i.plain_ng = false, with_digest(i, {}); }), "un 0");        // a template without one
  EXPECT_EQ(of([](ImaItem& i) { i.algorithm = "sha512"; }), "un 0");
  EXPECT_EQ(of([&](ImaItem& i) { i.algorithm = "md5", with_digest(i, Digest::filled(16, std::byte{1})); }), "un 0");
  // A digest of another algorithm with the same length isn't the reference's.
  EXPECT_EQ(of([](ImaItem& i) { i.algorithm = "sm3", i.plain_ng = false; }), "un 0");
}

TEST(Lookup, LegacyTemplate) {
  auto view = std::make_shared<FakeView>();
  know(*view, "/usr/bin/a", "a");
  ImaItem item;
  item.name = "/usr/bin/a";
  item.algorithm = "sha1";
  item.legacy = true;
  Hasher hasher(HashAlgorithm::sha256);
  item.template_hash = template_hash(hasher, item, digest_of(HashAlgorithm::sha1, as_bytes("a")).view());
  const References references{view, nullptr, "p", HashAlgorithm::sha256, {}};
  EXPECT_EQ(statuses(*judge(references, ImaBatch{{item}})), "ok");
  item.template_hash.bytes[0] ^= std::byte{1};
  EXPECT_EQ(statuses(*judge(references, ImaBatch{{item}})), "di");
}

}  // namespace
}  // namespace gatehouse::testing
