// An ingestion that is killed before any of the calls by which it changes the disk leaves the store before or after,
// and the next one makes it whole: from what the killed one had taken in, which isn't taken in again.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <csignal>
#include <set>

#include "tests/refdb/support.h"

extern char** environ;

namespace gatehouse::refdb {
namespace {

const std::string product = "Debian 12 x86_64";
const Questions questions{{product}, {"/usr/bin/a", "/usr/bin/b", "/usr/bin/c"}, {"old a", "new a", "new b", "c"}};

struct Ran {
  std::optional<long> calls;  // nullopt: killed
  std::string packages;       // a letter for each that it had (store_writer)
};
Ran run_writer(const std::string& store, long die_at) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string program = STORE_WRITER, where = store, number = std::to_string(die_at);
  char* const arguments[] = {program.data(), where.data(), number.data(), nullptr};
  pid_t child = -1;
  EXPECT_EQ(::posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string said;
  char buffer[64];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) said.append(buffer, std::size_t(n));
  ::close(ends[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  const std::size_t letters = std::min(said.find_first_of("0123456789"), said.size());
  Ran out{std::nullopt, said.substr(0, letters)};
  if (WIFSIGNALED(status)) {
    EXPECT_EQ(WTERMSIG(status), SIGKILL);
    return out;
  }
  EXPECT_EQ(WEXITSTATUS(status), 0);
  out.calls = letters == said.size() ? 0 : std::stol(said.substr(letters));
  return out;
}

std::string state_of(const std::string& store) {
  if (!fs::exists(store + "/CURRENT")) return "nothing";
  const auto found = answers(store, questions);
  const auto stats = read_stats(store);
  if (!found) return found.error().text();
  if (!stats) return stats.error().text();
  std::string out = stats->content_digest;
  for (const std::string& row : *found) out += "\n" + row;
  return out;
}

void kill_everywhere(const std::string& start, const Folder& folder) {
  const std::string store = folder / "refdb";
  const auto begin = [&] {
    fs::remove_all(store);
    if (fs::exists(start)) fs::copy(start, store, fs::copy_options::recursive);
  };
  begin();
  const std::string before = state_of(store);
  const Ran undisturbed = run_writer(store, 0);
  const long calls = undisturbed.calls.value_or(0);
  ASSERT_EQ(undisturbed.packages, "aa");
  const std::string after = state_of(store);
  const auto files = [&] {
    std::set<std::string> out;
    for (const auto& entry : fs::directory_iterator(store)) out.insert(entry.path().filename());
    for (const auto& entry : fs::directory_iterator(store + "/generations"))
      out.insert("generations/" + entry.path().filename().string());
    return out;
  };
  const auto whole = files();
  ASSERT_NE(before, after);
  ASSERT_GT(calls, 15);
  long switched = 0, resumed = 0;
  // Threads of the store's library differ a little from run to run, so a late call may not come.
  for (long n = 1; n <= calls; ++n) {
    begin();
    const Ran killed = run_writer(store, n);
    if (killed.calls) continue;
    const std::string now = state_of(store);
    ASSERT_TRUE(now == before || now == after) << "killed before call " << n << ": " << now;
    switched += now == after;
    const Ran next = run_writer(store, 0);
    ASSERT_TRUE(next.calls) << n;
    // What the killed one had is there, and none is lost or taken twice. The last may be whole before it is told.
    ASSERT_EQ(next.packages.size(), 2U) << n;
    const auto again = std::size_t(std::ranges::count(next.packages, 'a'));
    if (now == before) {
      ASSERT_LE(again, 2 - killed.packages.size()) << "killed before call " << n << ": " << next.packages;
    } else {
      ASSERT_EQ(next.packages, "kk") << n;
    }
    resumed += next.packages == "rr";
    ASSERT_EQ(state_of(store), after) << n;
    ASSERT_EQ(files(), whole) << n;
  }
  EXPECT_GT(switched, 0);
  EXPECT_GT(resumed, calls / 2);  // most calls make the generation of what is staged
}

TEST(Crash, TheFirstIngestionIsThereOrNot) {
  const Folder folder;
  kill_everywhere(folder / "none", folder);
}

TEST(Crash, ALaterOneLeavesTheStoreBeforeOrAfter) {
  const Folder folder;
  const std::string start = folder / "start";
  ASSERT_TRUE(publish(start, {package(product, "a", "1", {{"/usr/bin/a", "old a"}})}));
  kill_everywhere(start, folder);
}

}  // namespace
}  // namespace gatehouse::refdb
