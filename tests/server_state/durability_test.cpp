#include <gtest/gtest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <csignal>
#include <iostream>
#include <random>
#include <set>

#include "tests/server_state/support.h"

extern char** environ;

namespace gatehouse::server {
namespace {

// Starts the writer and kills it after it has acknowledged `acknowledgements` results; returns all that it did.
std::vector<std::string> write_and_kill(const std::string& directory, int round, std::size_t acknowledgements,
                                        bool software = false) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string program = STATE_WRITER, where = directory, which = "r" + std::to_string(round);
  std::string mode = "software";
  char* const arguments[] = {program.data(), where.data(), which.data(), software ? mode.data() : nullptr, nullptr};
  pid_t child = -1;
  EXPECT_EQ(::posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string text;
  std::vector<std::string> out;
  bool killed = false;
  char buffer[4096];
  // After the kill the pipe still holds what was acknowledged before it.
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, std::size_t(n));
    for (std::size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1))
      out.push_back(text.substr(0, end));
    if (!killed && out.size() >= acknowledgements) {
      ::kill(child, SIGKILL);
      killed = true;
    }
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(killed && WIFSIGNALED(status)) << "the writer ended by itself: " << status;
  return out;
}

TEST(Durability, NoAcknowledgedResultIsLostWhenTheProcessIsKilled) {
  const Folder folder;
  const std::string directory = folder / "state";
  const unsigned seed = std::random_device()();
  RecordProperty("seed", std::to_string(seed));
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  std::set<std::string> acknowledged;
  for (int round = 0; round < 20; ++round) {
    const std::size_t many = std::uniform_int_distribution<std::size_t>(1, 1500)(random);
    for (const std::string& session : write_and_kill(directory, round, many)) acknowledged.insert(session);
    const auto state = State::open({.path = directory});
    ASSERT_TRUE(state) << state.error().text();
    for (const std::string& session : acknowledged) {
      const auto record = (*state)->session(session);
      ASSERT_TRUE(record) << record.error().text();
      ASSERT_TRUE(*record) << session << " was acknowledged and is lost";
      ASSERT_EQ((*record)->state, SessionState::complete) << session;
      ASSERT_EQ((*record)->verdict.find("{\"session\":\"" + session + "\""), 0U);
    }
  }
  EXPECT_GT(acknowledged.size(), 20U);
}

// The kill comes somewhere in the staging or the writes of the session after the last one that was acknowledged.
TEST(Durability, AnInventoryIsWholeWheneverTheProcessIsKilled) {
  const Folder folder;
  const std::string directory = folder / "state";
  for (int round = 0; round < 8; ++round) {
    const auto acknowledged = write_and_kill(directory, round, std::size_t(round % 3 + 1), true);
    ASSERT_FALSE(acknowledged.empty());
    const auto state = State::open({.path = directory});
    ASSERT_TRUE(state) << state.error().text();
    const auto head = (*state)->software_head("d");
    ASSERT_TRUE(head && *head);
    // The last one that was acknowledged, or the next, whose acknowledgement was cut.
    const std::string last = acknowledged.back(), prefix = "r" + std::to_string(round) + "-";
    const std::string next = prefix + std::to_string(std::stoi(last.substr(prefix.size())) + 1);
    EXPECT_TRUE((*head)->session == last || (*head)->session == next) << (*head)->session << " after " << last;
    const auto session = (*state)->session((*head)->session);
    ASSERT_TRUE(session && *session);
    EXPECT_EQ((*session)->state, SessionState::complete);
    const auto page = (*state)->software_at("d", std::nullopt, 10'000);
    ASSERT_TRUE(page);
    EXPECT_EQ(page->software.size(), 5000U);
    EXPECT_EQ((*head)->installed, 5000U);
    for (const InstalledSoftware& one : page->software) ASSERT_EQ(one.record.software_id, (*head)->session);
    const auto history = (*state)->software_history("d", 1);
    ASSERT_TRUE(history && !history->items.empty());
    EXPECT_EQ(history->items[0].change.session, (*head)->session);
  }
}

}  // namespace
}  // namespace gatehouse::server
