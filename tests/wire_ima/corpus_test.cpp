// Real measurement lists and the malformed ones of the corpus: the facts that independent tools found in them, however
// the lists are cut.
#include "tests/corpus/corpus.h"

#include "tests/wire_ima/support.h"

namespace gatehouse::testing {
namespace {

const std::string violation(40, '0');

// Per bank and PCR, as a current kernel extends (spec part 2 §7.4, §7.5). Where a recorded hash contradicts the data,
// it is what the SHA-1 bank holds (contract, `gatehouse ima`).
std::map<std::string, std::map<std::string, std::string>> replayed(const ListOutcome& list) {
  std::map<std::string, std::map<std::string, std::string>> out;
  for (const HashAlgorithm bank : common_banks) {
    Hasher hasher(bank);
    std::map<std::uint32_t, Digest> pcrs;
    for (const SeenEntry& e : list.entries) {
      Digest& pcr = pcrs.try_emplace(e.pcr, Digest::filled(digest_size(bank), std::byte{0})).first->second;
      Digest extended = hasher(e.data);
      if (bank == HashAlgorithm::sha1) extended = Digest(from_hex(e.hash).value());
      if (e.hash == violation) extended = Digest::filled(digest_size(bank), std::byte{0xFF});
      hasher.extend(pcr, extended.view());
    }
    auto& shown = out[std::string(name(bank))];
    for (const auto& [pcr, value] : pcrs) shown[std::to_string(pcr)] = value.hex();
  }
  return out;
}

TEST(ImaCorpus, EveryListHasItsFacts) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  std::size_t good = 0;
  for (const json::object& item : corpus_items("ima", "ima")) {
    const std::string file = text(item, "file");
    SCOPED_TRACE(file);
    const ByteVector bytes = corpus_file("ima/" + file);
    const ListOutcome list = read_list(bytes);
    if (exit_code_is(item, 3)) {
      EXPECT_TRUE(list.error);
      continue;
    }
    ++good;
    ASSERT_FALSE(list.error) << list.error->first << ": " << list.error->second;
    EXPECT_EQ(ima::form_of(bytes) == ima::Cursor::Form::ascii ? "ascii" : "binary", text(item, "form"));
    const json::object& facts = item.at("json").as_object();
    EXPECT_EQ(std::int64_t(list.entries.size()), facts.at("entries").as_int64());
    std::map<std::string, std::int64_t> templates;
    std::int64_t violations = 0;
    std::optional<std::string> aggregate;
    std::vector<std::pair<std::int64_t, std::int64_t>> contradictions, expected;
    for (std::size_t i = 0; i < list.entries.size(); ++i) {
      const SeenEntry& e = list.entries[i];
      ++templates[e.template_name];
      if (e.hash == violation)
        ++violations;
      else if (digest_of(HashAlgorithm::sha1, e.data).hex() != e.hash)
        contradictions.emplace_back(i, e.offset);
      if (e.name == ima::boot_aggregate && !aggregate) aggregate = e.algorithm + ":" + to_hex(e.digest);
    }
    EXPECT_EQ(templates, (json::value_to<std::map<std::string, std::int64_t>>(facts.at("templates"))));
    EXPECT_EQ(violations, facts.at("violations").as_int64());
    EXPECT_EQ(aggregate,
              facts.at("boot_aggregate").is_null() ? std::nullopt : std::optional(text(facts, "boot_aggregate")));
    if (item.contains("contradictions"))
      for (const json::value& c : item.at("contradictions").as_array())
        expected.emplace_back(c.as_object().at("entry").as_int64(), c.as_object().at("offset").as_int64());
    EXPECT_EQ(contradictions, expected);
    using Pcrs = std::map<std::string, std::map<std::string, std::string>>;
    EXPECT_EQ(replayed(list), json::value_to<Pcrs>(facts.at("pcrs")));
  }
  EXPECT_GE(good, 18U);
}

TEST(ImaCorpus, MalformedListsFailWhereTheDamageIs) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  const auto items = corpus_items("malformed", "ima");
  EXPECT_GE(items.size(), 11U);
  for (const json::object& item : items) {
    const ListOutcome list = read_list(corpus_file("malformed/" + text(item, "file")));
    ASSERT_TRUE(list.error) << text(item, "why");
    EXPECT_EQ(list.error->first, offset_of(item)) << text(item, "file") << ": " << list.error->second;
  }
}

TEST(ImaCorpus, TheAsciiFormSaysWhatTheBinaryOneSays) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  ListOutcome binary = read_list(corpus_file("ima/mixed-templates.bin"));
  ListOutcome ascii = read_list(corpus_file("ima/mixed-templates.txt"));
  for (SeenEntry& e : binary.entries) e.offset = 0;
  for (SeenEntry& e : ascii.entries) e.offset = 0;
  EXPECT_EQ(ascii, binary);
}

TEST(ImaCorpus, PiecesCutAnywhereGiveTheSame) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  std::mt19937 random(20260402);
  for (const std::string folder : {"ima", "malformed"})
    for (const json::object& item : corpus_items(folder, "ima")) {
      const ByteVector bytes = corpus_file(folder + "/" + text(item, "file"));
      const auto form = ima::form_of(bytes);
      const ListOutcome whole = read_list(bytes);
      for (const std::size_t longest : {std::size_t{1}, std::size_t{90}, std::size_t{3000}}) {
        if (longest == 1 && bytes.size() > 12'000) continue;
        EXPECT_EQ(read_list(bytes, form, random_cuts(random, bytes.size(), longest)), whole) << text(item, "file");
      }
    }
}

}  // namespace
}  // namespace gatehouse::testing
