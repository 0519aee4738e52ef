#include "server/state/audit.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/ed25519.h"
#include "server/state/backup.h"
#include "server/state/checkpoint_file.h"
#include "server/state/layout.h"
#include "tests/server_state/behind.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

struct AuditLog : testing::Test {
  static StateOptions small(std::size_t sessions = 1'000'000) {
    StateOptions options;
    options.max_unknown_sessions = sessions;
    return options;
  }
  void add(State& state, int from, int to) {
    for (int i = from; i < to; ++i) ASSERT_TRUE(commit(state, result_of(intent("s" + std::to_string(i), "d", 1000 + i))));
  }
  AuditCheckpoint checkpoint(const State& state, std::int64_t time) {
    const AuditHead head = state.audit_head().value();
    const auto read = read_checkpoints(checkpoint_text(head, time, key_), key_.verifying());
    EXPECT_TRUE(read);
    return read->at(0);
  }
  static AuditReport audited(const State& state, std::vector<AuditCheckpoint> checkpoints = {}) {
    auto report = state.audit(std::move(checkpoints));
    EXPECT_TRUE(report) << (report ? "" : report.error().text());
    return report ? *report : AuditReport{};
  }
  static std::string only_problem(const AuditReport& report) {
    EXPECT_EQ(report.problems_total, 1U);
    return report.problems.empty() ? "" : report.problems.front().what + " " + report.problems.front().session;
  }

  const Folder folder_;
  const SigningKey key_ = SigningKey::generate().value();
};

TEST_F(AuditLog, HoldsWhatWasRecorded) {
  std::vector<AuditCheckpoint> checkpoints;
  {
    const auto state = open_state(folder_ / "state");
    EXPECT_EQ(audited(*state).head.size, 0U);
    checkpoints.push_back(checkpoint(*state, 1));
    add(*state, 0, 5);
    checkpoints.push_back(checkpoint(*state, 2));
    add(*state, 5, 7);
    checkpoints.push_back(checkpoint(*state, 3));
  }
  const auto state = open_state(folder_ / "state");
  const AuditReport report = audited(*state, checkpoints);
  EXPECT_EQ(report.head.size, 7U);
  EXPECT_EQ(report.records, 7U);
  EXPECT_EQ(report.checkpoints, 3U);
  EXPECT_EQ(report.problems_total, 0U);
  EXPECT_EQ(checkpoints[2].log, report.head.log);
}

TEST_F(AuditLog, ListsResultsInTheOrderInWhichTheyWereRecorded) {
  const auto sessions = [](const AuditResults& page) {
    std::string out;
    for (const auto& one : page.results) out += std::to_string(one.entry) + ":" + one.session + " ";
    return out;
  };
  {
    const auto state = open_state(folder_ / "state", small(3));
    add(*state, 0, 5);  // of which retention leaves three at the last of them
    ASSERT_TRUE(state->note_restore_blocking());
    state->begin_session(intent("s9", "d", 2000), [](Result<void>) {});  // never ended
  }
  const auto state = open_state(folder_ / "state", small(3));
  const AuditResults first = state->audit_results(0, 4).value();
  EXPECT_EQ(first.size, 7U);
  EXPECT_EQ(first.log, state->audit_head()->log);
  EXPECT_EQ(first.next, 4U) << "that has been looked at, also where nothing is left";
  const AuditResults rest = state->audit_results(first.next, 100).value();
  EXPECT_EQ(sessions(first) + sessions(rest), "2:s2 3:s3 4:s4 6:s9 ") << "one that was interrupted is a result, and a restore is none";
  EXPECT_EQ(rest.next, 7U);
  const AuditResults none = state->audit_results(7, 100).value();
  EXPECT_TRUE(none.results.empty());
  EXPECT_EQ(none.next, 7U);
}

TEST_F(AuditLog, TellsOfARecordThatWasChangedRemovedOrAdded) {
  {
    const auto state = open_state(folder_ / "state");
    add(*state, 0, 4);
  }
  std::string was;
  {
    Behind behind(folder_ / "state");
    was = behind.get("ss1");
    SessionRecord changed = layout::decode_stored_session(was).value().record;
    changed.verdict = R"({"recommendation":"block"})";
    behind.put("ss1", layout::encode(changed));
  }
  EXPECT_EQ(only_problem(audited(*open_state(folder_ / "state"))), "changed s1");
  Behind(folder_ / "state").erase("ss1");
  EXPECT_EQ(only_problem(audited(*open_state(folder_ / "state"))), "removed s1");
  {
    Behind behind(folder_ / "state");
    behind.put("ss1", was);
    behind.put("sadded", behind.get("ss2"));  // it claims to be from before the log
  }
  EXPECT_EQ(only_problem(audited(*open_state(folder_ / "state"))), "added ");
}

// The verdicts that others are kept against are covered by the records that name them.
TEST_F(AuditLog, TellsOfAChangedVerdictThatOthersAreKeptAgainst) {
  {
    const auto state = open_state(folder_ / "state");
    add(*state, 0, 2);
  }
  std::string key, was;
  {
    Behind behind(folder_ / "state");
    behind.each("zb", [&](std::string_view at, std::string_view value) { key = at, was = value; });
    std::string changed = was;
    changed.back() = char(changed.back() ^ 1);
    behind.put(key, changed);
  }
  const auto told = [&] {
    const AuditReport report = audited(*open_state(folder_ / "state"));
    EXPECT_EQ(report.problems_total, 2U) << "of each that is kept against it";
    return report.problems.at(0).what + " " + report.problems.at(0).session;
  };
  EXPECT_EQ(told(), "changed s0");
  EXPECT_FALSE(open_state(folder_ / "state")->session("s1")) << "an error, and never another verdict";
  Behind(folder_ / "state").erase(key);
  EXPECT_EQ(told(), "changed s0");
  Behind(folder_ / "state").put(key, was);
  EXPECT_EQ(audited(*open_state(folder_ / "state")).problems_total, 0U);
}

TEST_F(AuditLog, ACheckpointTellsOfWhoRewroteTheLogToo) {
  AuditCheckpoint before;
  {
    const auto state = open_state(folder_ / "state");
    add(*state, 0, 3);
    before = checkpoint(*state, 1);
  }
  // A store of his own with other results, of the same log by its name.
  std::string head;
  head = Behind(folder_ / "state").get("M");
  {
    const auto other = open_state(folder_ / "other");
    for (int i = 0; i < 3; ++i) {
      SessionResult result = result_of(intent("s" + std::to_string(i), "d", 1000 + i));
      result.verdict.replace(result.verdict.find("compliant"), 9, "minor");
      ASSERT_TRUE(commit(*other, std::move(result)));
    }
  }
  {
    Behind behind(folder_ / "other");
    std::string forged = behind.get("M");
    forged.replace(5, 32, head, 5, 32);
    behind.put("M", forged);
  }
  const auto other = open_state(folder_ / "other");
  EXPECT_EQ(audited(*other).problems_total, 0U);
  EXPECT_EQ(only_problem(audited(*other, {before})), "checkpoint ");
  // And of who set it back.
  add(*open_state(folder_ / "short"), 0, 2);
  {
    Behind behind(folder_ / "short");
    std::string forged = behind.get("M");
    forged.replace(5, 32, head, 5, 32);
    behind.put("M", forged);
  }
  EXPECT_EQ(only_problem(audited(*open_state(folder_ / "short"), {before})), "checkpoint ");
  before.log = std::string(32, '0');
  EXPECT_EQ(only_problem(audited(*other, {before})), "checkpoint ");
}

TEST_F(AuditLog, SaysWhatARestoreLost) {
  std::int64_t now = 5000;
  StateOptions options;
  options.now = [&] { return now; };
  std::vector<AuditCheckpoint> checkpoints;
  const auto state = open_state(folder_ / "state", options);
  add(*state, 0, 3);
  checkpoints.push_back(checkpoint(*state, 5000));
  ASSERT_TRUE(state->backup(folder_ / "backup"));
  add(*state, 3, 5);
  checkpoints.push_back(checkpoint(*state, 6000));
  ASSERT_TRUE(restore_backup(folder_ / "backup", folder_ / "again"));
  now = 7000;
  const auto again = open_state(folder_ / "again", options);
  EXPECT_EQ(only_problem(audited(*again, checkpoints)), "checkpoint ");
  ASSERT_TRUE(again->note_restore_blocking());
  add(*again, 10, 14);
  checkpoints.push_back(checkpoint(*again, 8000));
  const AuditReport report = audited(*again, checkpoints);
  EXPECT_EQ(report.problems_total, 0U);
  EXPECT_EQ(report.checkpoints, 2U);
  ASSERT_EQ(report.restores.size(), 1U);
  EXPECT_EQ(report.restores[0].entry, 3U);
  EXPECT_EQ(report.restores[0].time, 7000);
  EXPECT_EQ(report.restores[0].lost, 2U);
}

TEST_F(AuditLog, RetentionLeavesWhatProvesTheRest) {
  std::vector<AuditCheckpoint> checkpoints;
  const auto state = open_state(folder_ / "state", small(10));
  add(*state, 0, 4090);
  checkpoints.push_back(checkpoint(*state, 1));
  add(*state, 4090, 4110);
  checkpoints.push_back(checkpoint(*state, 2));
  const AuditReport report = audited(*state, checkpoints);
  EXPECT_EQ(report.head.size, 4110U);
  EXPECT_EQ(report.records, 10U);
  EXPECT_EQ(report.retired, 4100U);
  EXPECT_EQ(report.checkpoints, 1U);
  EXPECT_EQ(report.unproved, 1U);  // within the block of which only the root is left
  EXPECT_EQ(report.problems_total, 0U);
}

TEST_F(AuditLog, CheckpointsAreReadOnlyAsTheyWereSigned) {
  const std::string one = checkpoint_text({std::string(32, 'a'), 1, 7, Digest::filled(32, std::byte{1})}, 5, key_);
  const std::string two = checkpoint_text({std::string(32, 'a'), 1, 9, Digest::filled(32, std::byte{2})}, 6, key_);
  const auto good = read_checkpoints(one + two, key_.verifying());
  ASSERT_TRUE(good);
  ASSERT_EQ(good->size(), 2U);
  EXPECT_EQ(good->at(1).size, 9U);
  EXPECT_EQ(good->at(1).time, 6);
  for (std::size_t i = 0; i < two.size(); ++i) {
    std::string bad = two;
    bad[i] = char(bad[i] ^ 1);
    const auto read = read_checkpoints(one + bad, key_.verifying());
    ASSERT_FALSE(read) << i;
    EXPECT_EQ(read.error().offset, one.size()) << i;
    EXPECT_FALSE(read_checkpoints(one + two.substr(0, i + (i + 1 == two.size() ? 0 : 1)), key_.verifying()) && i + 1 < two.size()) << i;
  }
  EXPECT_EQ(read_checkpoints(one, SigningKey::generate()->verifying()).error().fault, Fault::denied);
}

TEST_F(AuditLog, ACheckpointThatACrashCutShortIsWrittenAgain) {
  const std::string path = folder_ / "checkpoints";
  const auto content = [&] {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  };
  const auto state = open_state(folder_ / "state");
  add(*state, 0, 1);
  auto file = CheckpointFile::open(path, key_);
  ASSERT_TRUE(file) << file.error().text();
  ASSERT_TRUE(file->append_blocking(*state, 1));
  const std::string first = content();
  ASSERT_TRUE(file->append_blocking(*state, 2));
  EXPECT_EQ(content(), first);  // it hasn't grown
  add(*state, 1, 2);
  ASSERT_TRUE(file->append_blocking(*state, 3));
  const std::string both = content();
  EXPECT_EQ(read_checkpoints(both, key_.verifying())->size(), 2U);
  for (std::size_t cut = first.size() + 40; cut < both.size(); cut += 17) {
    std::filesystem::resize_file(path, cut);
    auto again = CheckpointFile::open(path, key_);
    ASSERT_TRUE(again) << again.error().text();
    EXPECT_EQ(content(), first);
    ASSERT_TRUE(again->append_blocking(*state, 3));
    EXPECT_EQ(content(), both);
  }
  std::ofstream(path) << "something else";
  EXPECT_EQ(CheckpointFile::open(path, key_).error().fault, Fault::malformed);
}

}  // namespace
}  // namespace gatehouse::server
