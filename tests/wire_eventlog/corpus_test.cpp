// Real firmware logs of many vendors and the malformed ones of the corpus: the facts that independent tools found in
// them, however the logs are cut.
#include "tests/corpus/corpus.h"

#include "tests/wire_eventlog/support.h"

namespace gatehouse::testing {
namespace {

// Per bank and PCR; a bank for which an extended event has no digest is left out (TPM 2.0 Part 1 §17).
std::map<std::string, std::map<std::string, std::string>> replayed(const LogOutcome& log) {
  std::map<std::string, std::map<std::string, std::string>> out;
  for (const std::string& name : log.banks) {
    const auto algorithm = hash_algorithm(name);
    if (!algorithm) continue;
    Hasher hasher(*algorithm);
    std::map<std::uint32_t, Digest> pcrs;
    bool complete = true;
    for (const SeenEvent& event : log.events) {
      if (event.type == eventlog::ev_no_action) continue;
      Digest start =
          Digest::filled(digest_size(*algorithm), event.pcr >= 17 && event.pcr <= 22 ? std::byte{0xFF} : std::byte{0});
      if (event.pcr == 0) start.bytes[start.size - 1U] = std::byte{log.locality.value_or(0)};
      Digest& pcr = pcrs.try_emplace(event.pcr, start).first->second;
      bool there = false;
      for (const auto& [id, value] : event.digests) {
        if (id != std::uint16_t(*algorithm)) continue;
        hasher.extend(pcr, value);
        there = true;
      }
      complete = complete && there;
    }
    if (!complete) continue;
    for (const auto& [pcr, value] : pcrs) out[name][std::to_string(pcr)] = value.hex();
  }
  return out;
}

TEST(EventLogCorpus, EveryLogHasItsFacts) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  std::size_t good = 0;
  for (const json::object& item : corpus_items("eventlog", "eventlog")) {
    const std::string name = text(item, "file");
    SCOPED_TRACE(name);
    const LogOutcome log = read_log(corpus_file("eventlog/" + name));
    if (exit_code_is(item, 3)) {
      EXPECT_TRUE(log.error);
      continue;
    }
    ++good;
    ASSERT_FALSE(log.error) << log.error->first << ": " << log.error->second;
    const json::object& facts = item.at("json").as_object();
    EXPECT_EQ(log.format == eventlog::Format::sha1 ? "sha1" : "crypto-agile", text(facts, "format"));
    EXPECT_EQ(std::int64_t(log.events.size()), facts.at("events").as_int64());
    std::int64_t extended = 0;
    for (const SeenEvent& event : log.events) extended += event.type != eventlog::ev_no_action;
    EXPECT_EQ(extended, item.at("extended").as_int64());
    EXPECT_EQ(log.banks, json::value_to<std::vector<std::string>>(facts.at("banks")));
    EXPECT_EQ(log.locality, facts.at("startup_locality").is_null()
                                ? std::nullopt
                                : std::optional(std::uint8_t(facts.at("startup_locality").as_int64())));
    using Pcrs = std::map<std::string, std::map<std::string, std::string>>;
    EXPECT_EQ(replayed(log), json::value_to<Pcrs>(facts.at("pcrs")));
    EXPECT_EQ(log.warnings.empty(), !item.contains("padding")) << log.warnings.front();
  }
  EXPECT_GE(good, 35U);
}

TEST(EventLogCorpus, PaddingEndsALogWhereItBegins) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  std::size_t padded = 0;
  for (const json::object& item : corpus_items("eventlog", "eventlog")) {
    if (!item.contains("padding")) continue;
    ++padded;
    const ByteVector log = corpus_file("eventlog/" + text(item, "file"));
    const LogOutcome outcome = read_log(log);
    const std::string words = text(item, "padding");  // "padding of 62833 bytes at offset 2703"
    const std::size_t start = std::stoul(words.substr(words.rfind(' ') + 1));
    ASSERT_EQ(outcome.warnings.size(), 1U) << text(item, "file");
    EXPECT_TRUE(outcome.warnings.front().starts_with("offset " + std::to_string(start) + ": "))
        << outcome.warnings.front();
    EXPECT_EQ(written(outcome), to_vector(Bytes(log).first(start)));
  }
  EXPECT_EQ(padded, 5U);
}

TEST(EventLogCorpus, MalformedLogsFailWhereTheDamageIs) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  const auto items = corpus_items("malformed", "eventlog");
  EXPECT_GE(items.size(), 12U);
  for (const json::object& item : items) {
    const LogOutcome log = read_log(corpus_file("malformed/" + text(item, "file")));
    ASSERT_TRUE(log.error) << text(item, "why");
    // Text is refused for its PCR index already, not for its size only.
    const std::size_t expected = text(item, "id") == "el-text.bin" ? 0 : offset_of(item);
    EXPECT_EQ(log.error->first, expected) << text(item, "file") << ": " << log.error->second;
  }
}

TEST(EventLogCorpus, PiecesCutAnywhereGiveTheSame) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  std::mt19937 random(20260401);
  for (const std::string folder : {"eventlog", "malformed"})
    for (const json::object& item : corpus_items(folder, "eventlog")) {
      const ByteVector log = corpus_file(folder + "/" + text(item, "file"));
      const LogOutcome whole = read_log(log);
      for (const std::size_t longest : {std::size_t{1}, std::size_t{100}, std::size_t{5000}}) {
        if (longest == 1 && log.size() > 3000) continue;
        EXPECT_EQ(read_log(log, random_cuts(random, log.size(), longest)), whole) << text(item, "file");
      }
    }
}

TEST(EventLogCorpus, NothingIsLostInParsing) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  for (const json::object& item : corpus_items("eventlog", "eventlog")) {
    if (!exit_code_is(item, 0) || item.contains("padding")) continue;
    const ByteVector log = corpus_file("eventlog/" + text(item, "file"));
    EXPECT_EQ(written(read_log(log)), log) << text(item, "file");
  }
}

TEST(EventLogCorpus, VariablesOfRealLogsHaveTheirNames) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  const std::string global = "8be4df61-93ca-11d2-aa0d-00e098032b8c", database = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
  std::map<std::string, std::string> found;
  for (const SeenEvent& event : read_log(corpus_file("eventlog/tpm2-tools-moklisttrusted.bin")).events) {
    if (event.pcr != 7 || event.type != 0x80000001) continue;
    const auto variable = eventlog::parse_uefi_variable(event.data);
    ASSERT_TRUE(variable) << variable.error().text();
    found[variable->name] = variable->guid;
    if (variable->name == "SecureBoot") {
      EXPECT_EQ(to_vector(variable->data), ByteVector{std::byte{1}});
    }
  }
  const std::map<std::string, std::string> expected{
      {"SecureBoot", global}, {"PK", global}, {"KEK", global}, {"db", database}, {"dbx", database}};
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace gatehouse::testing
