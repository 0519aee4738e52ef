// A generation on its way to another store: what comes answers as what went, and nothing else gets in.
#include "refdb/store/transfer.h"

#include "base/hex.h"
#include "refdb/store/archive.h"
#include "refdb/store/export_manifest.h"
#include "refdb/store/generations.h"
#include "tests/refdb/support.h"

namespace gatehouse::refdb {
namespace {

const std::string debian = "Debian 12 x86_64";
const Questions questions{
    {debian, "Other 1 x86_64"}, {"/usr/bin/bash", "/usr/bin/dash", "/usr/bin/sh", "/etc/bash"}, {"1", "2", "3", "etc"}};

class Transfer : public ::testing::Test {
 protected:
  // Generations 1 to 3 of the exporter.
  Transfer() {
    EXPECT_TRUE(publish(from_, {package(debian, "bash", "1", {{"/usr/bin/bash", "1"}, {"/etc/bash", "etc"}})}));
    EXPECT_TRUE(publish(from_, {package(debian, "bash", "2", {{"/usr/bin/bash", "2"}})}));
    EXPECT_TRUE(
        publish(from_, {package("Other 1 x86_64", "dash", "1", {{"/usr/bin/dash", "3"}, {"/usr/bin/sh", "3"}})}));
  }
  std::string export_of(std::uint64_t generation, std::optional<std::uint64_t> since = {},
                        const SigningKey* key = nullptr) {
    const std::string out = folder_ / (std::to_string(generation) + "-" + std::to_string(++made_) + ".refdb");
    const auto exported = export_generation(
        {.store = from_, .out = out, .generation = generation, .since = since, .made = made_ * 1'000'000},
        key != nullptr ? *key : key_);
    EXPECT_TRUE(exported) << exported.error().text();
    return out;
  }
  ImportOptions options(const std::string& file) const {
    return {.store = to_, .in = file, .trusted = {key_.verifying()}};
  }
  Result<Imported> import(const std::string& file) const { return import_generation(options(file)); }
  std::string refused(const std::string& file) const {
    const auto imported = import(file);
    return imported ? "taken" : std::string(imported.error().reason);
  }
  std::vector<std::string> answers_of(const std::string& store, std::uint64_t generation) const {
    const auto view = open_view(store, generation);
    if (!view) return {view.error().text()};
    return answers(**view, questions).value();
  }
  // Everything that is there, but for the lock.
  std::vector<std::string> listing() const {
    std::vector<std::string> out;
    std::error_code none;
    for (const auto& entry : fs::recursive_directory_iterator(to_, none)) out.push_back(entry.path().string());
    std::ranges::sort(out);
    return out;
  }

  const Folder folder_;
  const std::string from_ = folder_ / "from", to_ = folder_ / "to";
  const SigningKey key_ = SigningKey::generate().value();
  std::int64_t made_ = 0;
};

TEST_F(Transfer, WholeAndThenByDeltasAnswersAsWhereItCameFrom) {
  for (const auto& [generation, since] : {std::pair<std::uint64_t, std::optional<std::uint64_t>>(1, std::nullopt),
                                          {2, 1},
                                          {3, 2},
                                          {3, std::nullopt},
                                          {2, 3}}) {
    const auto imported = import(export_of(generation, since));
    ASSERT_TRUE(imported) << imported.error().text();
    EXPECT_TRUE(imported->changed);
    EXPECT_EQ(imported->exported_generation, generation);
    EXPECT_EQ(imported->key, key_.verifying().id().hex());
    EXPECT_EQ(current_generation(to_).value(), imported->generation);
    EXPECT_EQ(answers_of(to_, imported->generation), answers_of(from_, generation));
    const auto stats = read_stats(to_).value();
    EXPECT_EQ(stats.content_digest, imported->content_digest);
    EXPECT_EQ(stats.files, imported->files);
  }
  EXPECT_EQ(current_generation(to_).value(), 5U);
  const auto theirs = list_generations(from_).value(), ours = list_generations(to_).value();
  EXPECT_EQ(ours[0].content_digest, theirs[1].content_digest);
  EXPECT_EQ(ours[1].content_digest, theirs[0].content_digest);
  EXPECT_EQ(ours[2].content_digest, theirs[0].content_digest);
  EXPECT_EQ(ours[4].content_digest, theirs[2].content_digest);
}

// A store like a distribution's keeps its large tables from generation to generation.
TEST_F(Transfer, ADeltaHasOnlyWhatIsNew) {
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 70'000; ++i) many.emplace_back("/usr/share/many/" + std::to_string(i), std::to_string(i % 100));
  ASSERT_TRUE(publish(from_, {package(debian, "many", "1", many)}));
  ASSERT_TRUE(publish(from_, {package(debian, "bash", "3", {{"/usr/bin/bash", "3"}})}));
  const std::string whole = export_of(4), delta = export_of(5, 4);
  EXPECT_LT(fs::file_size(delta) * 50, fs::file_size(whole));
  ASSERT_TRUE(import(whole));
  const auto imported = import(delta);
  ASSERT_TRUE(imported) << imported.error().text();
  EXPECT_EQ(answers_of(to_, imported->generation), answers_of(from_, 5));
  // Both generations have the large tables once.
  EXPECT_LT(read_stats(to_)->bytes, fs::file_size(whole) * 11 / 10);
}

TEST_F(Transfer, TheSameAgainChangesNothing) {
  const std::string first = export_of(1), second = export_of(2, 1);
  ASSERT_TRUE(import(first));
  ASSERT_TRUE(import(second));
  const auto before = listing();
  const auto again = import(second);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->changed);
  EXPECT_EQ(again->generation, 2U);
  EXPECT_EQ(listing(), before);
}

TEST_F(Transfer, ADeltaNeedsTheGenerationThatItIsOver) {
  const std::string delta = export_of(3, 2), whole = export_of(1);
  const auto alone = import(delta);
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().reason, "the generation that this delta is over isn't here");
  EXPECT_EQ(alone.error().fault, Fault::environment);
  EXPECT_NE(alone.error().detail.find("generation 2 of the exporter"), std::string::npos);
  EXPECT_NE(alone.error().detail.find("whole, without --since"), std::string::npos);
  EXPECT_EQ(current_generation(to_).value(), 0U);
  ASSERT_TRUE(import(whole));
  const auto before = listing();
  ImportOptions older = options(delta);
  older.allow_older = true;
  const auto other = import_generation(older);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().detail.find("--since 1, which is here"), std::string::npos) << other.error().detail;
  EXPECT_EQ(listing(), before);
}

TEST_F(Transfer, ADeltaOverAnotherGenerationWithTheSameContentsIsRefused) {
  // The same packages, taken in here.
  ASSERT_TRUE(publish(to_, {package(debian, "bash", "1", {{"/usr/bin/bash", "1"}, {"/etc/bash", "etc"}})}));
  const std::string digest = read_stats(to_)->content_digest;
  ASSERT_EQ(digest, list_generations(from_).value()[2].content_digest);
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 70'000; ++i) many.emplace_back("/usr/share/many/" + std::to_string(i), "x");
  ASSERT_TRUE(publish(from_, {package(debian, "many", "1", many)}));
  ASSERT_TRUE(publish(from_, {package(debian, "bash", "3", {{"/usr/bin/bash", "3"}})}));
  ASSERT_TRUE(import_generation([&] {
    ImportOptions o = options(export_of(4));
    o.replace = true;
    return o;
  }()));
  // A bit of a table here.
  const std::string delta = export_of(5, 4);
  for (const auto& entry : fs::directory_iterator(to_ + "/generations/2"))
    if (entry.path().extension() == ".sst" && fs::file_size(entry) > 100'000) {
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(50'000);
      const char c = char(file.get());
      file.seekp(50'000);
      file.put(char(c ^ 1));
    }
  EXPECT_EQ(refused(delta), "the generation that this delta is over isn't the same here");
  EXPECT_EQ(current_generation(to_).value(), 2U);
}

TEST_F(Transfer, AnOlderExportOfTheSameKeyIsRefusedUnlessAsked) {
  const std::string first = export_of(1), second = export_of(2), third = export_of(3);
  ASSERT_TRUE(import(second));
  const auto back = import(first);
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().fault, Fault::denied);
  EXPECT_EQ(current_generation(to_).value(), 1U);
  // What was taken is remembered without the generation that came of it.
  ASSERT_TRUE(publish(to_, {package(debian, "own", "1", {{"/usr/bin/own", "1"}})}));
  ASSERT_EQ(prune_generations(to_, 0).value(), 1U);
  ImportOptions asked = options(first);
  asked.replace = true;
  EXPECT_FALSE(import_generation(asked));
  asked.allow_older = true;
  ASSERT_TRUE(import_generation(asked));
  EXPECT_EQ(answers_of(to_, 3), answers_of(from_, 1));
  // Another key has an order of its own.
  const SigningKey other = SigningKey::generate().value();
  made_ = 0;
  const std::string theirs = export_of(3, {}, &other);
  ImportOptions both = options(theirs);
  both.trusted.push_back(other.verifying());
  EXPECT_TRUE(import_generation(both));
  EXPECT_TRUE(import(third));
}

TEST_F(Transfer, OnlyTrustedKeysCount) {
  const SigningKey other = SigningKey::generate().value();
  const auto refusal = import(export_of(1, {}, &other));
  ASSERT_FALSE(refusal);
  EXPECT_EQ(refusal.error().reason, "signed by none of the keys that are trusted");
  EXPECT_NE(refusal.error().detail.find(other.verifying().id().hex()), std::string::npos);
  EXPECT_EQ(refusal.error().fault, Fault::denied);
  // The id of a trusted key doesn't make a signature good.
  ByteVector bytes = read_file(export_of(1, {}, &other), 1 << 24).value();
  std::ranges::copy(key_.verifying().id().view(), bytes.begin() + 8);
  folder_.write("forged", as_text(bytes));
  EXPECT_EQ(refused(folder_ / "forged"), "the signature isn't good");
  EXPECT_FALSE(fs::exists(to_));
}

TEST_F(Transfer, WhateverIsChangedOrCutNothingIsTaken) {
  ASSERT_TRUE(import(export_of(1)));
  const auto before = listing();
  const auto answered = answers_of(to_, 1);
  const ByteVector whole = read_file(export_of(2, 1), 1 << 24).value();
  const auto check = [&](const ByteVector& bytes, std::size_t at) {
    folder_.write("changed", as_text(bytes));
    const auto imported = import(folder_ / "changed");
    ASSERT_FALSE(imported) << at;
    ASSERT_TRUE(imported.error().fault == Fault::malformed || imported.error().fault == Fault::denied ||
                imported.error().fault == Fault::limit)
        << at << imported.error().text();
    ASSERT_EQ(imported.error().source, folder_ / "changed") << at;
    ASSERT_EQ(listing(), before) << at;
  };
  for (std::size_t at = 0; at < whole.size(); at += at < archive_head_bytes + 200 ? 1 : 1 + whole.size() / 150) {
    ByteVector changed = whole;
    changed[at] ^= std::byte{0x10};
    check(changed, at);
    check(to_vector(Bytes(whole).first(at)), at);
  }
  ByteVector longer = whole;
  longer.push_back(std::byte{0});
  check(longer, whole.size());
  EXPECT_EQ(answers_of(to_, 1), answered);
}

// Signed by a trusted key, and still held to the form of an export.
TEST_F(Transfer, NoNameLeadsOutOfTheGeneration) {
  const std::string whole = export_of(1);
  const ByteVector bytes = read_file(whole, 1 << 24).value();
  const std::size_t size = (std::to_integer<std::size_t>(bytes[106]) << 8) + std::to_integer<std::size_t>(bytes[107]);
  const std::string manifest(as_text(Bytes(bytes).subspan(archive_head_bytes, size)));
  const std::string files(as_text(Bytes(bytes).subspan(archive_head_bytes + size)));
  const auto signed_again = [&](const std::string& text, const std::string& rest) {
    Writer w;
    w.put_text(archive_magic);
    w.put_bytes(key_.verifying().id().view());
    w.put_bytes(key_.sign(as_bytes(text)));
    w.put(std::uint32_t(text.size()));
    w.put_text(text + rest);
    folder_.write("signed", as_text(w.view()));
    return folder_ / "signed";
  };
  for (const std::string name :
       {"../evil", "/tmp/evil", "evil", "IDENTITY/..", "FORMAT", "..", "", "IDENTITY\n", "IMPORT"}) {
    std::string text = manifest;
    text.replace(text.find("IDENTITY"), 8, name);
    EXPECT_NE(refused(signed_again(text, files)), "taken") << name;
    EXPECT_FALSE(fs::exists(to_)) << name;
  }
  // A content digest that isn't that of the files.
  std::string text = manifest;
  char& digit = text[text.find("content ") + 8];
  digit = digit == '0' ? '1' : '0';
  EXPECT_EQ(refused(signed_again(text, files)), "the contents aren't those that the manifest says");
  EXPECT_EQ(current_generation(to_).value(), 0U);
  EXPECT_EQ(refused(signed_again(manifest, files)), "taken");
}

TEST_F(Transfer, WhatWasIngestedHereIsReplacedOnlyWhenAsked) {
  const std::string first = export_of(1), second = export_of(2, 1);
  ASSERT_TRUE(publish(to_, {package(debian, "own", "1", {{"/usr/bin/sh", "1"}})}));
  const auto own = answers_of(to_, 1);
  ImportOptions o = options(first);
  const auto refusal = import_generation(o);
  ASSERT_FALSE(refusal);
  EXPECT_EQ(refusal.error().fault, Fault::usage);
  EXPECT_EQ(current_generation(to_).value(), 1U);
  o.replace = true;
  ASSERT_TRUE(import_generation(o));
  EXPECT_EQ(answers_of(to_, 2), answers_of(from_, 1));
  EXPECT_EQ(answers_of(to_, 1), own);
  // On top of an import things can be taken in, and are asked for again before the next one takes their place.
  ASSERT_TRUE(publish(to_, {package(debian, "own", "1", {{"/usr/bin/sh", "1"}})}));
  EXPECT_EQ(answers_of(to_, 3).size(), answers_of(from_, 1).size() + own.size() - 1);
  EXPECT_FALSE(import(second));
  // After the way back to the import it is the import's again.
  ASSERT_TRUE(roll_back(to_, 2));
  EXPECT_FALSE(import(first)->changed);
  ASSERT_TRUE(import(second));
  EXPECT_EQ(answers_of(to_, 5), answers_of(from_, 2));
}

TEST_F(Transfer, TheRecordOfRepositoriesComesAlong) {
  const std::string text = "{\"repository\":\"apt:x y\",\"date\":5,\"signer\":\"\"}\n";
  std::ofstream(from_ + "/REPOSITORIES") << text;
  std::string came;
  ImportOptions o = options(export_of(1));
  o.repositories = [&](Bytes bytes) -> Result<void> {
    came = as_text(bytes);
    EXPECT_EQ(current_generation(to_).value(), 1U);
    return {};
  };
  ASSERT_TRUE(import_generation(o));
  EXPECT_EQ(came, text);
  // Also when the one that took the generation died before it came so far.
  came.clear();
  ASSERT_TRUE(import_generation(o));
  EXPECT_EQ(came, text);
}

TEST_F(Transfer, WhatIsDamagedIsNotVouchedFor) {
  for (const auto& entry : fs::directory_iterator(from_ + "/generations/3"))
    if (entry.path().extension() == ".sst" && fs::file_size(entry) > 1500) {
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(100);
      file.put('\xA5');
      file.put('\x5A');
    }
  const std::string out = folder_ / "3.refdb";
  EXPECT_FALSE(export_generation({.store = from_, .out = out, .generation = 3}, key_));
  EXPECT_FALSE(fs::exists(out) || fs::exists(out + ".new"));
}

TEST_F(Transfer, NothingIsExportedThatIsnt) {
  const auto fault = [&](std::optional<std::uint64_t> generation, std::optional<std::uint64_t> since) {
    return export_generation({.store = from_, .out = folder_ / "out", .generation = generation, .since = since}, key_)
        .error()
        .fault;
  };
  EXPECT_EQ(fault(4, {}), Fault::usage);
  EXPECT_EQ(fault(0, {}), Fault::usage);
  EXPECT_EQ(fault(3, 3), Fault::usage);
  EXPECT_EQ(fault({}, 9), Fault::usage);
  EXPECT_EQ(export_generation({.store = folder_ / "none", .out = folder_ / "out"}, key_).error().fault,
            Fault::environment);
  EXPECT_EQ(export_generation({.store = from_, .out = folder_.path()}, key_).error().fault, Fault::usage);
  EXPECT_EQ(export_generation({.store = from_, .out = folder_ / "no" + "/out"}, key_).error().fault,
            Fault::environment);
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST(ExportManifest, HasOneForm) {
  const Digest d = digest_of(HashAlgorithm::sha256, as_bytes("x"));
  ExportManifest m{42,
                   1'764'000'000'000'000,
                   d,
                   5,
                   77,
                   ExportManifest::Base{41, d},
                   {{"REPOSITORIES", 3, d, false},
                    {"000008.sst", 9, d, true},
                    {"000015.sst", 7, d, false},
                    {"CURRENT", 16, d, false},
                    {"IDENTITY", 36, d, false},
                    {"MANIFEST-000012", 5, d, false}}};
  const std::string text = append_manifest(m);
  EXPECT_EQ(parse_manifest(text).value(), m);
  EXPECT_EQ(m.bytes(), 67U);
  for (std::size_t n = 0; n < text.size(); ++n) {
    EXPECT_FALSE(parse_manifest(text.substr(0, n)) && text[n - 1] != '\n') << n;
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = text;
      changed[n] = char(changed[n] ^ 1 << bit);
      const auto parsed = parse_manifest(changed);
      ASSERT_TRUE(!parsed || append_manifest(*parsed) == changed) << n;
    }
  }
  const auto refused = [&](const std::string& what, const std::string& by) {
    std::string changed = text;
    changed.replace(changed.find(what), what.size(), by);
    return !parse_manifest(changed);
  };
  EXPECT_TRUE(refused("export 2", "export 1"));
  EXPECT_TRUE(refused("generation 42", "generation 042"));
  EXPECT_TRUE(refused("generation 42", "generation 0"));
  EXPECT_TRUE(refused("generation 42", "generation -1"));
  EXPECT_TRUE(refused("generation 42", "generation 9223372036854775808"));
  EXPECT_TRUE(refused(d.hex(), d.hex().substr(1)));
  EXPECT_TRUE(refused(" 9 000008.sst", " 1099511627777 000008.sst"));
  EXPECT_TRUE(refused("base ", "file ") == false);  // a whole one may have all tables
  EXPECT_TRUE(refused("over 41 " + d.hex() + "\n", ""));
  EXPECT_TRUE(refused("000008.sst", "000015.sst"));
  EXPECT_TRUE(refused("000008.sst", "000016.sst"));
  EXPECT_TRUE(refused("000008.sst", "0000008.sst"));
  EXPECT_TRUE(refused("000008.sst", "00008.sst"));
  EXPECT_TRUE(refused("CURRENT\n", "CURRENT\r\n"));
  EXPECT_TRUE(refused("file " + d.hex() + " 36 IDENTITY\n", ""));
  EXPECT_TRUE(refused("MANIFEST-000012", "MANIFEST-../../x"));
  std::string upper = text;
  std::ranges::transform(upper, upper.begin(), [](char c) { return c >= 'a' && c <= 'f' ? char(c - 32) : c; });
  EXPECT_FALSE(parse_manifest(upper));
}

TEST(ImportRecords, AreReadAsWritten) {
  const Digest d = digest_of(HashAlgorithm::sha256, as_bytes("x")), e = digest_of(HashAlgorithm::sha256, as_bytes("y"));
  const std::vector<ImportRecord> records{{d, 5, 42, e, d}, {e, 1'764'000'000'000'000, 1, d, e}};
  const std::string text = append_record(records[0]) + append_record(records[1]);
  EXPECT_EQ(parse_records(text).value(), records);
  EXPECT_TRUE(parse_records("").value().empty());
  for (std::size_t n = 1; n < text.size(); ++n)
    EXPECT_FALSE(parse_records(text.substr(0, n)) && text[n - 1] != '\n') << n;
}

}  // namespace
}  // namespace gatehouse::refdb
