#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <csignal>
#include <latch>

#include "base/file.h"
#include "base/hex.h"
#include "server/state/layout.h"
#include "server/state/software_layout.h"
#include "server/state/store.h"
#include "tests/server_state/behind.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

std::vector<std::string> listed(const State& state, const std::string& device, std::size_t page_size) {
  std::vector<std::string> out;
  SessionCursor from;
  do {
    const auto page = state.sessions(device, page_size, from);
    EXPECT_TRUE(page);
    for (const SessionRecord& record : page->sessions) out.push_back(record.intent.session);
    from = page->next;
  } while (!from.empty());
  return out;
}

TEST(Sessions, AreListedNewestFirst) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(commit(*state, result_of(intent("s" + std::to_string(i), i % 2 ? "odd" : "even", 1000 + (i * 7) % 10))));
  const std::vector<std::string> all = {"s7", "s4", "s1", "s8", "s5", "s2", "s9", "s6", "s3", "s0"};
  for (const std::size_t page : {1U, 3U, 10U, 100U}) EXPECT_EQ(listed(*state, "", page), all);
  EXPECT_EQ(listed(*state, "odd", 2), (std::vector<std::string>{"s7", "s1", "s5", "s9", "s3"}));
  EXPECT_TRUE(listed(*state, "od", 2).empty());
  EXPECT_FALSE(state->sessions("", 1, "xyz"));
}

TEST(Sessions, AnIntentBecomesAResultOrIsInterrupted) {
  const Folder folder;
  {
    const auto state = open_state(folder / "state");
    ASSERT_TRUE(begin(*state, intent("s1", "d1", 1000)));
    ASSERT_TRUE(begin(*state, intent("s2", "d1", 2000)));
    EXPECT_FALSE(begin(*state, intent("s1", "d1", 1000))) << "recorded twice";
    EXPECT_EQ((*state->session("s1"))->state, SessionState::open);
    // The result may know more than the intent did.
    ASSERT_TRUE(commit(*state, result_of(intent("s1", "d2", 1001))));
    EXPECT_FALSE(commit(*state, result_of(intent("s1", "d2", 1001)))) << "one result a session";
    EXPECT_EQ(listed(*state, "", 5), (std::vector<std::string>{"s2", "s1"}));
    EXPECT_EQ(listed(*state, "d1", 5), (std::vector<std::string>{"s2"}));
    EXPECT_EQ(listed(*state, "d2", 5), (std::vector<std::string>{"s1"}));
  }
  const auto state = open_state(folder / "state");
  const auto done = **state->session("s1");
  EXPECT_EQ(done.state, SessionState::complete);
  EXPECT_EQ(done.verdict, result_of(intent("s1", "", 0)).verdict);
  EXPECT_EQ(done.intent.generation, 7U);
  EXPECT_EQ(done.intent.peer, "192.0.2.7:49152");
  EXPECT_EQ(done.finished, 1101);
  EXPECT_EQ((*state->session("s2"))->state, SessionState::interrupted);
  EXPECT_FALSE(commit(*state, result_of(intent("s2", "d1", 2000))));
  EXPECT_FALSE(*state->session("s3"));
  EXPECT_FALSE(begin(*state, intent("a/b", "d1", 1))) << "not a session id";
}

TEST(Sessions, HaveOneResultHoweverManyAreHandedOverAtOnce) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  for (int i = 0; i < 20; ++i) {
    const SessionIntent one = intent("s" + std::to_string(i), "d", 1000 + i);
    if (i % 2 == 0) {
      ASSERT_TRUE(begin(*state, one));
    }
    std::array<std::promise<Result<void>>, 4> done;
    for (auto& promise : done) state->commit_result(result_of(one), [&](Result<void> outcome) { promise.set_value(std::move(outcome)); });
    std::vector<bool> good;
    for (auto& promise : done) good.push_back(promise.get_future().get().has_value());
    EXPECT_EQ(good, (std::vector<bool>{true, false, false, false})) << one.session;
  }
  EXPECT_EQ(state->audit({})->records, 20U);
  EXPECT_EQ(state->audit({})->problems_total, 0U);
}

TEST(Sessions, ThatAreOpenAreListedInTheirPlaces) {
  const Folder folder;
  {
    const auto state = open_state(folder / "state");
    for (int i = 0; i < 6; ++i) {
      const SessionIntent one = intent("s" + std::to_string(i), i < 3 ? "low" : "high", 1000 + i);
      ASSERT_TRUE(begin(*state, one));
      if (i % 2 == 1) {
        ASSERT_TRUE(commit(*state, result_of(one)));
      }
    }
    const std::vector<std::string> all = {"s5", "s4", "s3", "s2", "s1", "s0"};
    for (const std::size_t page : {1U, 2U, 5U, 6U, 7U}) EXPECT_EQ(listed(*state, "", page), all) << page;
    EXPECT_EQ(listed(*state, "low", 2), (std::vector<std::string>{"s2", "s1", "s0"}));
    EXPECT_TRUE(listed(*state, "lo", 2).empty());
    EXPECT_EQ(state->sessions("", 1, {})->sessions.at(0).state, SessionState::complete);
    EXPECT_EQ(state->sessions("high", 10, {})->sessions.at(1).state, SessionState::open);
    EXPECT_EQ(state->audit({})->open, 3U);
    EXPECT_EQ(state->audit({})->problems_total, 0U);
  }
  // Their process is gone: they are where they were.
  const auto state = open_state(folder / "state");
  EXPECT_EQ(listed(*state, "", 2), (std::vector<std::string>{"s5", "s4", "s3", "s2", "s1", "s0"}));
  EXPECT_EQ(listed(*state, "low", 10), (std::vector<std::string>{"s2", "s1", "s0"}));
  EXPECT_EQ((*state->session("s2"))->state, SessionState::interrupted);
  EXPECT_EQ(state->audit({})->open, 0U);
  EXPECT_EQ(state->audit({})->records, 6U);
  EXPECT_EQ(state->audit({})->problems_total, 0U);
}

// Its record isn't in the database: it waits for no write, and isn't told that one failed.
TEST(Sessions, AFailedWriteIsNothingToOneThatBegins) {
  const Folder folder;
  std::latch entered(1), leave(1);
  std::atomic<bool> hold = false;
  StateOptions options;
  options.before_write = [&]() -> Result<void> {
    if (!hold) return {};
    entered.count_down();
    leave.wait();
    hold = false;
    return fail(Fault::environment, "injected");
  };
  const std::string path = folder / "state";
  {
    const auto state = open_state(path, options);
    std::promise<Result<void>> first, second;
    hold = true;
    state->commit_result(result_of(intent("s0", "d", 1000)), [&](Result<void> outcome) { first.set_value(std::move(outcome)); });
    entered.wait();
    // Both wait for the next write.
    state->commit_result(result_of(intent("s1", "d", 1001)), [&](Result<void> outcome) { second.set_value(std::move(outcome)); });
    std::promise<Result<void>> begun;
    state->begin_session(intent("s2", "d", 1002), [&](Result<void> outcome) { begun.set_value(std::move(outcome)); });
    leave.count_down();
    EXPECT_FALSE(first.get_future().get());
    EXPECT_TRUE(second.get_future().get());
    EXPECT_TRUE(begun.get_future().get());
    EXPECT_FALSE(begin(*state, intent("s2", "d", 1002))) << "it has begun";
    EXPECT_EQ((*state->session("s2"))->state, SessionState::open);
  }
  const auto state = open_state(path);
  EXPECT_EQ((*state->session("s2"))->state, SessionState::interrupted);
  EXPECT_FALSE(*state->session("s0"));
}

TEST(Sessions, TheOldestGoWhenThereAreTooMany) {
  const Folder folder;
  StateOptions options;
  options.max_sessions = 5;
  options.max_unknown_sessions = 3;
  const PublicKey key = new_key();
  {
    const auto state = open_state(folder / "state", options);
    ASSERT_TRUE(state->enrol_blocking(enrolment("known", key, true)));
    for (int i = 0; i < 8; ++i) {
      ASSERT_TRUE(commit(*state, result_of(intent("k" + std::to_string(i), "known", 1000 + i))));
      for (int n = 0; n < 4; ++n)  // a flood of others takes no record of an enrolled device away
        ASSERT_TRUE(commit(*state, result_of(intent("u" + std::to_string(i) + std::to_string(n), "flood", 1000 + i))));
    }
    EXPECT_EQ(listed(*state, "known", 10), (std::vector<std::string>{"k7", "k6", "k5", "k4", "k3"}));
    EXPECT_EQ(listed(*state, "flood", 10), (std::vector<std::string>{"u73", "u72", "u71"}));
    EXPECT_FALSE(*state->session("k0"));
  }
  const auto state = open_state(folder / "state", options);
  ASSERT_TRUE(commit(*state, result_of(intent("k8", "known", 1008))));
  EXPECT_EQ(listed(*state, "known", 10), (std::vector<std::string>{"k8", "k7", "k6", "k5", "k4"}));
  EXPECT_EQ(listed(*state, "", 10).size(), 8U);
}

TEST(Sessions, GoWhenTheyAreTooOld) {
  constexpr std::int64_t day = 86'400'000;
  const Folder folder;
  std::int64_t now = 100 * day;
  StateOptions options;
  options.max_session_age = std::chrono::hours(24 * 30);
  options.now = [&] { return now; };
  const auto state = open_state(folder / "state", std::move(options));
  ASSERT_TRUE(state->enrol_blocking(enrolment("known", new_key(), true)));
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(commit(*state, result_of(intent("k" + std::to_string(i), "known", (80 + i / 10) * day))));
    ASSERT_TRUE(commit(*state, result_of(intent("u" + std::to_string(i), "other", (80 + i / 10) * day))));
  }
  state->retire_old();
  ASSERT_TRUE(commit(*state, result_of(intent("first", "known", now))));  // behind it
  EXPECT_EQ(listed(*state, "known", 1000).size(), 101U) << "none is thirty days old";
  now = 115 * day;
  state->retire_old();
  ASSERT_TRUE(commit(*state, result_of(intent("later", "known", now))));
  EXPECT_EQ(listed(*state, "known", 1000).size(), 52U);
  EXPECT_EQ(listed(*state, "other", 1000).size(), 50U);
  EXPECT_FALSE(*state->session("k49"));
  EXPECT_TRUE(*state->session("k50"));
  const auto report = state->audit({});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->problems.empty()) << "what went by its age is on record as gone";
}

TEST(Sessions, ManyResultsShareAWrite) {
  const Folder folder;
  std::atomic<int> writes = 0;
  StateOptions options;
  options.before_write = [&]() -> Result<void> {
    ++writes;
    return {};
  };
  const auto state = open_state(folder / "state", options);
  constexpr int sessions = 2000;
  std::latch done(sessions);
  std::atomic<int> good = 0;
  const int before = writes;
  for (int i = 0; i < sessions; ++i)
    state->commit_result(result_of(intent("s" + std::to_string(i), "d", 1000 + i)), [&](Result<void> outcome) {
      if (outcome) ++good;
      done.count_down();
    });
  done.wait();
  EXPECT_EQ(good, sessions);
  EXPECT_LT(writes - before, sessions / 2);
  EXPECT_EQ(listed(*state, "", 1000).size(), std::size_t(sessions));
}

// The n-th write fails, for each n: what was acknowledged is there, what failed is not, and the next write works.
TEST(Sessions, AFailedWriteIsReportedToEachItConcerns) {
  for (int failing = 1; failing <= 6; ++failing) {
    const Folder folder;
    std::atomic<int> writes = -1000;  // the first write makes the store
    StateOptions options;
    options.before_write = [&]() -> Result<void> {
      if (++writes == failing) return fail(Fault::environment, "injected");
      return {};
    };
    const PublicKey key = new_key();
    std::vector<bool> acknowledged;
    {
      const auto state = open_state(folder / "state", options);
      writes = 0;
      int refused = 0;
      for (int i = 0; i < 6; ++i) {
        SessionResult result = result_of(intent("s" + std::to_string(i), "d" + std::to_string(i), 1000 + i));
        result.pending_key = seen(new_key());
        const auto outcome = commit(*state, result);
        acknowledged.push_back(outcome.has_value());
        if (!outcome) {
          ++refused;
          EXPECT_EQ(outcome.error().reason, "injected");
          EXPECT_FALSE(*state->session("s" + std::to_string(i)));
          EXPECT_FALSE(*state->device("d" + std::to_string(i)));
        }
      }
      EXPECT_EQ(refused, 1);
      EXPECT_FALSE(acknowledged[std::size_t(failing) - 1]);
    }
    options.before_write = nullptr;
    const auto state = open_state(folder / "state", options);
    for (std::size_t i = 0; i < acknowledged.size(); ++i)
      EXPECT_EQ((*state->session("s" + std::to_string(i))).has_value(), acknowledged[i]) << failing << " " << i;
  }
}

TEST(Sessions, OperatorsHearOfAFailedWriteToo) {
  const Folder folder;
  std::atomic<bool> broken = false;
  StateOptions options;
  options.before_write = [&]() -> Result<void> {
    if (broken) return fail(Fault::environment, "injected");
    return {};
  };
  const auto state = open_state(folder / "state", options);
  const PublicKey key = new_key();
  ASSERT_TRUE(state->enrol_blocking(enrolment("d1", key, false)));
  broken = true;
  EXPECT_FALSE(state->trust_blocking("d1"));
  EXPECT_FALSE(state->enrol_blocking(enrolment("d2", new_key(), true)));
  const auto imported = state->import_blocking({enrolment("d3", new_key(), true)});
  EXPECT_FALSE(imported.at(0));
  EXPECT_FALSE(state->remove_blocking("d1"));
  EXPECT_EQ(state->judge_key("d1", key).standing, KeyStanding::pending);
  broken = false;
  EXPECT_TRUE(state->trust_blocking("d1"));
}

// A disk without room, as far as a process can make one: files can't grow beyond a limit.
TEST(Sessions, AFullDiskLosesNothingThatWasAcknowledged) {
  const Folder folder;
  std::vector<std::string> acknowledged;
  const auto old_signal = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  {
    const auto state = open_state(folder / "state");
    rlimit tight = before;
    tight.rlim_cur = 64 * 1024;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
    int refused = 0;
    for (int i = 0; i < 40; ++i) {
      SessionResult result = result_of(intent("s" + std::to_string(i), "d", 1000 + i));
      result.verdict = R"({"filling":")" + to_hex(random_bytes(4096)) + "\"}";
      if (commit(*state, result))
        acknowledged.push_back(result.intent.session);
      else
        ++refused;
    }
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_GT(refused, 0);
    EXPECT_FALSE(acknowledged.empty());
    const auto later = commit(*state, result_of(intent("later", "d", 5000)));
    EXPECT_TRUE(later) << "there is room again: " << later.error().text();
    acknowledged.emplace_back("later");
    for (const std::string& session : acknowledged) EXPECT_TRUE(*state->session(session)) << session;
  }
  {
    Behind behind(folder / "state");
    const Tallies counted = layout::decode_tallies(behind.get("T")).value();
    EXPECT_EQ(counted.enrolled_sessions + counted.other_sessions, behind.count("t")) << "what is counted is what is there";
  }
  std::signal(SIGXFSZ, old_signal);
  const auto state = open_state(folder / "state");
  for (const std::string& session : acknowledged) {
    const auto record = state->session(session);
    ASSERT_TRUE(record);
    EXPECT_TRUE(*record) << session;
  }
  EXPECT_TRUE(commit(*state, result_of(intent("after", "d", 6000))));
}

TEST(Sessions, WritesBeyondTheQueueAreRefusedAtOnce) {
  const Folder folder;
  std::latch entered(1), leave(1);
  std::atomic<bool> hold = false;
  StateOptions options;
  options.max_queue = 2;
  options.before_write = [&]() -> Result<void> {
    if (hold.exchange(false)) {
      entered.count_down();
      leave.wait();
    }
    return {};
  };
  auto state = open_state(folder / "state", options);
  hold = true;
  std::atomic<int> good = 0, refused = 0;
  const auto count = [&](Result<void> outcome) { ++(outcome ? good : refused); };
  state->commit_result(result_of(intent("s0", "d", 1)), count);
  entered.wait();
  for (int i = 1; i <= 5; ++i) state->begin_session(intent("s" + std::to_string(i), "d", 1), count);
  EXPECT_EQ(refused, 3);
  leave.count_down();
  state.reset();  // writes what waits
  EXPECT_EQ(good, 3);
  EXPECT_EQ(refused, 3);
}

TEST(Opening, OneProcessHoldsADirectory) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const auto second = State::open({.path = folder / "state", .lock_wait = std::chrono::milliseconds(20)});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().fault, Fault::environment);
  EXPECT_EQ(second.error().reason, "state directory is held by another process");
  EXPECT_EQ(second.error().detail, "process " + std::to_string(::getpid()));
  ASSERT_TRUE(state->announce_socket(folder / "a socket"));
  const auto holder = state_holder(folder / "state");
  ASSERT_TRUE(holder);
  EXPECT_EQ(holder->process, ::getpid());
  EXPECT_EQ(holder->socket, folder / "a socket");
}

TEST(Opening, ADirectoryWithoutAStoreIsLeftAlone) {
  const Folder folder;
  std::filesystem::create_directory(folder / "empty");
  for (const char* name : {"absent", "empty"}) {
    const auto state = State::open({.path = folder / name});
    ASSERT_FALSE(state);
    EXPECT_EQ(state.error().reason, "no state store in this directory");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder / "empty"));
  EXPECT_FALSE(std::filesystem::exists(folder / "absent"));
}

TEST(Opening, AnotherFormatIsNamed) {
  const Folder folder;
  const std::string path = folder / "state";
  open_state(path).reset();
  ASSERT_TRUE(write_file_atomically(path + "/format", as_bytes("gatehouse-state 9\n")));
  const auto newer = State::open({.path = path});
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().fault, Fault::environment);
  EXPECT_EQ(newer.error().reason, "state format isn't one that this version reads");
  EXPECT_NE(newer.error().text().find("gatehouse-state 9"), std::string::npos);
  EXPECT_NE(newer.error().text().find("this version reads gatehouse-state 8 and takes over those from 1 on"), std::string::npos);

  // The file may be lost: the database knows its number.
  std::filesystem::remove(path + "/format");
  EXPECT_TRUE(State::open({.path = path}));
  EXPECT_TRUE(std::filesystem::exists(path + "/format"));

  std::filesystem::remove_all(path + "/db");
  const auto lost = State::open({.path = path, .create = true});
  ASSERT_FALSE(lost) << "an empty store in place of a lost one";
  EXPECT_EQ(lost.error().reason, "the state's database is missing");
}

// What the fixtures of all formats hold (make_fixture.cpp).
void expect_fixture(const State& state, const std::vector<std::string>& sessions) {
  const auto devices = *state.devices("", 10);
  ASSERT_EQ(devices.size(), 4U);
  EXPECT_EQ(devices[0].id, "d-pending");
  EXPECT_FALSE(devices[0].enrolled);
  EXPECT_EQ(devices[0].state, DeviceState::pending);
  EXPECT_EQ(devices[1].state, DeviceState::revoked);
  EXPECT_EQ(devices[2].state, DeviceState::trusted);
  EXPECT_EQ(devices[1].id, "d-revoked");
  EXPECT_EQ(devices[1].keys.at(0).state, KeyState::revoked);
  EXPECT_EQ(devices[2].id, "d-trusted");
  EXPECT_EQ(devices[2].product, "Debian 12 x86_64");
  EXPECT_EQ(devices[2].identities, (std::vector<std::string>{"CN=trusted", "carol"}));
  EXPECT_EQ(devices[2].created, 1'700'000'000'000);
  EXPECT_EQ(devices[2].keys.at(0).object_attributes, 0x00050072U);
  EXPECT_EQ(devices[2].keys.at(0).name_algorithm, HashAlgorithm::sha256);
  const auto key = PublicKey::from_spki(devices[2].keys.at(0).spki);
  ASSERT_TRUE(key);
  EXPECT_EQ(state.judge_key("d-trusted", *key).standing, KeyStanding::trusted);
  const auto quote = *state.last_quote(*key);
  ASSERT_TRUE(quote);
  EXPECT_EQ(quote->clock, 1'605'240'773U);
  EXPECT_EQ(quote->reset_count, 275U);
  const auto baselines = *state.baselines("d-trusted");
  ASSERT_EQ(baselines.size(), 2U);
  EXPECT_EQ(baselines[0].state, BaselineState::approved);
  EXPECT_EQ(baselines[0].baseline, baseline(1));
  EXPECT_EQ(baselines[1].state, BaselineState::candidate);
  EXPECT_EQ(listed(state, "", 10), sessions);
  EXPECT_EQ((*state.session("s-good"))->verdict, result_of(intent("s-good", "", 0)).verdict);
  EXPECT_EQ((*state.session("s-open"))->state, SessionState::interrupted);
}

std::unique_ptr<State> open_fixture(const Folder& folder, const std::string& format) {
  std::filesystem::copy(std::string(GATEHOUSE_TEST_DATA) + "/state/" + format, folder / "state",
                        std::filesystem::copy_options::recursive);
  auto opened = State::open({.path = folder / "state"});
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().text());
  return opened ? *std::move(opened) : nullptr;
}

TEST(Opening, TheStoreOfFormat1IsTakenOver) {
  const Folder folder;
  for (int time = 0; time < 3; ++time) {
    const auto state = time == 0 ? open_fixture(folder, "v1") : *State::open({.path = folder / "state"});
    ASSERT_TRUE(state);
    expect_fixture(*state, {"s-open", "s-good-2", "s-good", "s-pending"});
    EXPECT_FALSE(*state->software_head("d-trusted"));
    const auto format = read_file(folder / "state/format", 64);
    ASSERT_TRUE(format);
    EXPECT_EQ(as_text(*format), "gatehouse-state 8\n");
    // Cut between the database and the file: taken over once more.
    if (time == 1) {
      ASSERT_TRUE(write_file_atomically(folder / "state/format", as_bytes("gatehouse-state 1\n")));
    }
  }
}

// What the fixtures have since format 2.
void expect_software_fixture(const std::unique_ptr<State>& state) {
  ASSERT_TRUE(state);
  expect_fixture(*state, {"s-events", "s-inventory", "s-open", "s-good-2", "s-good", "s-pending"});
  const auto head = *state->software_head("d-trusted");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->epoch, 0x38cd4cc6U);
  EXPECT_EQ(head->last_eid, 323U);
  EXPECT_TRUE(head->complete);
  const auto page = *state->software_at("d-trusted", std::nullopt, 10);
  ASSERT_EQ(page.software.size(), 2U);
  EXPECT_EQ(page.software[0].record.software_id, "strongswan.org__Debian_12-x86_64-adduser-3.134");
  EXPECT_EQ(page.software[1].record.record_id, 3U);
  EXPECT_EQ(page.software[1].eid, 323U);
  const auto history = *state->software_history("d-trusted", 10);
  ASSERT_EQ(history.items.size(), 4U);
  EXPECT_EQ(history.items[1].event.record.software_id, "strongswan.org__Debian_12-x86_64-dpkg-1.21.22");
  EXPECT_EQ(history.items[1].event.time, 1'700'000'000'000 - 7000);
  EXPECT_EQ(state->software_tags("strongswan.org__Debian_12-x86_64-dpkg-1.21.23")->size(), 1U);
  EXPECT_EQ((**state->item_result("d-trusted", "software")).result.text,
            "received inventory of 2 SW IDs and 0 SWID tags");
}

TEST(Opening, TheStoreOfFormat2IsTakenOver) {
  const Folder folder;
  const auto state = open_fixture(folder, "v2");
  expect_software_fixture(state);
  const auto format = read_file(folder / "state/format", 64);
  ASSERT_TRUE(format);
  EXPECT_EQ(as_text(*format), "gatehouse-state 8\n");
  // Its records stay as they are; what is written from now on has its timing, and both are read.
  SessionResult timed = result_of(intent("s-timed", "d-trusted", 1'800'000'000'000));
  timed.timing.emplace();
  (*timed.timing)[Stage::lookup] = std::chrono::nanoseconds(7);
  ASSERT_TRUE(commit(*state, timed));
  EXPECT_EQ((**state->session("s-timed")).timing, timed.timing);
  EXPECT_FALSE((**state->session("s-good")).timing);
}

TEST(Opening, TheStoreOfFormat3IsRead) {
  const Folder folder;
  const auto state = open_fixture(folder, "v3");
  expect_software_fixture(state);
  const auto timing = (**state->session("s-good")).timing;
  ASSERT_TRUE(timing);
  EXPECT_EQ((*timing)[Stage::handshake], std::chrono::nanoseconds(1));
  EXPECT_EQ((*timing)[Stage::conclude], std::chrono::nanoseconds(13));
  EXPECT_EQ(timing->total(), std::chrono::nanoseconds(36));
}

TEST(Opening, TheStoreOfFormat4IsRead) {
  const Folder folder;
  const auto state = open_fixture(folder, "v4");
  expect_software_fixture(state);
  EXPECT_FALSE((**state->session("s-good-2")).enforced);
  EXPECT_TRUE((**state->session("s-good")).enforced);
  const auto kept = **state->evidence("s-good-2");
  EXPECT_EQ(as_text(kept.head), "head");
  EXPECT_EQ(kept.pieces, (std::vector<ByteVector>{ByteVector(4000, std::byte{1}), to_vector(as_bytes("small")),
                                                  ByteVector(4000, std::byte{1})}));
  EXPECT_EQ(state->evidence_totals()->pieces, 2U);
  EXPECT_EQ(*state->shadow("s-good-2"), "{}");
}

// The first stores of this format have an audit log that doesn't count what was there before it.
TEST(Opening, AnAuditLogWithoutTheCountOfEarlierRecordsGoesOn) {
  const Folder folder;
  const auto state = open_fixture(folder, "v4-first");
  ASSERT_TRUE(state);
  const auto before = state->audit_head();
  ASSERT_TRUE(before) << before.error().text();
  ASSERT_TRUE(commit(*state, result_of(intent("s-new", "d-trusted", 4'000'000'000'000))));
  EXPECT_EQ(state->audit_head()->size, before->size + 1);
  const auto report = state->audit({});
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->problems_total, 0U);
}

void expect_living_fixture(const std::unique_ptr<State>& state) {
  expect_software_fixture(state);
  const auto device = **state->device("d-trusted");
  EXPECT_EQ(device.model, "Model 1");
  EXPECT_EQ((*state->device(std::string(40, 'e')))->state, DeviceState::suspended);
  const auto history = *state->history(std::string(40, 'e'), 10);
  ASSERT_EQ(history.size(), 2U);
  EXPECT_EQ(history[0], (HistoryEntry{.number = 2, .time = 1'700'000'000'000, .state = DeviceState::suspended, .by = "alice",
                                      .what = "state suspended", .why = "fixture"}));
  const auto announced = *state->announcements("Model 1");
  ASSERT_EQ(announced.size(), 1U);
  EXPECT_EQ(announced[0].change, change_between(baseline(1), baseline(2)));
  EXPECT_EQ((*state->attested("d-trusted"))->session, "s-events");
}

TEST(Opening, TheStoreOfFormat5IsRead) {
  const Folder folder;
  expect_living_fixture(open_fixture(folder, "v5"));
}

TEST(Opening, TheStoreOfFormat6IsTakenOver) {
  const Folder folder;
  {
    const auto state = open_fixture(folder, "v6");
    expect_living_fixture(state);
    // Their entries in the audit log lay elsewhere; they are found, and go with their sessions.
    EXPECT_EQ(state->audit({})->problems_total, 0U);
  }
  StateOptions options;
  options.max_sessions = options.max_unknown_sessions = 1;
  const auto state = open_state(folder / "state", std::move(options));
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(commit(*state, result_of(intent("s-new" + std::to_string(i), "d-trusted", 4'000'000'000'000 + i))));
  EXPECT_EQ(listed(*state, "d-trusted", 10), (std::vector<std::string>{"s-new7", "s-open"})) << "one of each class";
  const AuditReport report = *state->audit({});
  EXPECT_EQ(report.problems_total, 0U) << report.problems.at(0).what;
  EXPECT_FALSE(state->audit_results(0, 100)->results.empty());
}

// Its sessions that were open are rows of the database; since format 8 they are in a file.
TEST(Opening, TheStoreOfFormat7IsTakenOver) {
  const Folder folder;
  expect_living_fixture(open_fixture(folder, "v7"));
  EXPECT_EQ(as_text(*read_file(folder / "state/format", 64)), "gatehouse-state 8\n");
  EXPECT_EQ(Behind(folder / "state").count("o"), 0U);
  for (const std::string session : {"s-new", "s-newer"}) {
    const auto state = open_state(folder / "state");
    ASSERT_TRUE(commit(*state, result_of(intent(session, "d-new", 1'000))));
    EXPECT_EQ((**state->session(session)).verdict, result_of(intent(session, "", 0)).verdict);
    EXPECT_EQ((**state->session("s-good")).verdict, result_of(intent("s-good", "", 0)).verdict);
    EXPECT_EQ(state->audit({})->problems_total, 0U);
  }
}

TEST(Opening, TheStoreOfFormat8IsRead) {
  const Folder folder;
  expect_living_fixture(open_fixture(folder, "v8"));
}

// Whose lease was to end by the moment of its last verdict; since format 7 an earlier one's counts until then.
TEST(Opening, TheLeasesOfFormat6End) {
  const Folder folder;
  std::filesystem::copy(std::string(GATEHOUSE_TEST_DATA) + "/state/v6", folder / "state", std::filesystem::copy_options::recursive);
  std::int64_t now = 1'700'000'000'000;
  const auto state = open_state(folder / "state", {.now = [&] { return now; }});
  const auto last = **state->attested("d-trusted");
  EXPECT_EQ(last.session, "s-events");
  now = last.time + 3'599'999;
  EXPECT_TRUE(state->lapse_blocking(std::chrono::hours(1), 10)->empty());
  now += 1;
  EXPECT_EQ(state->lapse_blocking(std::chrono::hours(1), 10)->size(), last.recommendation == pipeline::Recommendation::allow ? 1U : 0U);
  EXPECT_TRUE(state->lapse_blocking(std::chrono::hours(1), 10)->empty());
}

// Of an item the last result is kept, and it says since when the item isn't compliant; before, all of them were, and that was
// said elsewhere. A key that two devices have is marked.
TEST(Opening, AnEarlierFormatKeepsTheLastResultOfEachItem) {
  const Folder folder;
  const std::string path = folder / "state";
  const PublicKey key = new_key();
  {
    const auto state = open_state(path);
    ASSERT_TRUE(state->enrol_blocking(enrolment("d1", key, true)));
    ASSERT_TRUE(state->enrol_blocking(enrolment("d2", new_key(), true)));
  }
  {
    Behind behind(path);
    const std::string nul(1, '\0');
    for (const std::string item : {"a", "b"})
      for (int i = 0; i < 12'000; ++i) {
        StoredItemResult one{.result = {.policy = item, .type = "PCKGS", .text = "run " + std::to_string(i)}, .time = 1000 + i, .session = "s"};
        std::string old = layout::encode(one);
        old.front() = 1;
        old.pop_back();  // since when it fails
        behind.put("rd1" + nul + item + nul + layout::number64(std::uint64_t(one.time)) + "s", old);
      }
    behind.put("Id1" + nul + "b", layout::number64(1234));
    behind.put("k" + std::string(as_text(*from_hex(key.key_id()))) + nul + "d2", "");
    behind.put("F", layout::number32(5));
    behind.erase("T");
  }
  ASSERT_TRUE(write_file_atomically(path + "/format", as_bytes("gatehouse-state 5\n")));
  {
    const auto state = open_state(path);
    EXPECT_EQ((**state->item_result("d1", "a")).result.text, "run 11999");
    EXPECT_FALSE((**state->item_result("d1", "a")).failing_since);
    EXPECT_EQ((**state->item_result("d1", "b")).time, 12'999);
    EXPECT_EQ((**state->item_result("d1", "b")).failing_since, 1234);
    EXPECT_FALSE(*state->item_result("d2", "a"));
    EXPECT_EQ(state->judge_key("d2", key).standing, KeyStanding::other_device);
  }
  Behind behind(path);
  EXPECT_EQ(behind.get("S" + std::string(as_text(*from_hex(key.key_id())))), "");
  EXPECT_EQ(behind.count("r"), 0U);
  EXPECT_EQ(behind.count("I"), 0U);
}

// A store of before has no history and no leases: its devices are what their keys say, and were assessed when their
// sessions say so.
TEST(Opening, AnEarlierFormatHasALifeCycleFromNowOn) {
  for (const char* const format : {"v1", "v2", "v3", "v4"}) {
    const Folder folder;
    const auto state = open_fixture(folder, format);
    ASSERT_TRUE(state);
    EXPECT_EQ((*state->device(std::string(40, 'e')))->state, DeviceState::trusted) << format;
    EXPECT_TRUE(state->history("d-trusted", 10)->empty());
    ASSERT_TRUE(state->change_state_blocking("d-trusted", DeviceState::suspended, {.by = "alice", .why = "lost"}));
    EXPECT_EQ(state->history("d-trusted", 10)->size(), 1U);
    std::string place;
    EXPECT_EQ(state->overdue(std::chrono::hours(1), "", 10, place)->size(), 1U) << "only one is trusted now";
  }
}

// What earlier formats have nothing of can be kept from now on.
TEST(Opening, AnEarlierFormatKeepsEvidenceFromNowOn) {
  const Folder folder;
  const auto state = open_fixture(folder, "v3");
  ASSERT_TRUE(state);
  EXPECT_FALSE(*state->evidence("s-good"));
  EXPECT_TRUE((**state->session("s-good")).enforced);
  SessionResult result = result_of(intent("s-new", "d-trusted", 4'000'000'000'000));
  auto evidence = std::make_shared<EvidenceRecord>();
  evidence->head = to_vector(as_bytes("head"));
  result.evidence = std::move(evidence);
  ASSERT_TRUE(commit(*state, result));
  EXPECT_EQ(as_text((*state->evidence("s-new"))->head), "head");
}

TEST(SessionId, SortsByTime) {
  EXPECT_EQ(session_id(1'764'000'665'007, ByteVector(8, std::byte{0xAB})), "20251124T161105.007-abababababababab");
}

}  // namespace
}  // namespace gatehouse::server
