// Commits results to a store as fast as it can, 64 at a time, and prints a line for each that the store acknowledged:
// the process that durability_test kills.
//   state_writer DIRECTORY ROUND
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>

#include "server/state/state.h"

int main(int argc, char** argv) {
  using namespace gatehouse;
  if (argc != 3) return 2;
  auto opened = server::State::open({.path = argv[1], .create = true});
  if (!opened) {
    std::fprintf(stderr, "%s\n", opened.error().text().c_str());
    return 4;
  }
  server::State& state = **opened;
  std::mutex mutex;
  std::condition_variable wake;
  int in_flight = 0;
  for (std::int64_t n = 0;; ++n) {
    {
      std::unique_lock guard(mutex);
      wake.wait(guard, [&] { return in_flight < 64; });
      ++in_flight;
    }
    server::SessionResult result;
    result.intent.session = std::string(argv[2]) + "-" + std::to_string(n);
    result.intent.device = "device" + std::to_string(n % 50);
    result.intent.started = 1'000'000 + n;
    result.finished = result.intent.started + 1;
    result.verdict = "{\"session\":\"" + result.intent.session + "\",\"filling\":\"" + std::string(std::size_t(n % 3000), 'x') + "\"}";
    const std::string line = result.intent.session + "\n";
    state.begin_session(result.intent, [](Result<void>) {});
    state.commit_result(std::move(result), [&, line](Result<void> on_disk) {
      // One write of a short line: the reader never sees half of one.
      if (on_disk && ::write(STDOUT_FILENO, line.data(), line.size()) != ssize_t(line.size())) ::_exit(1);
      const std::lock_guard guard(mutex);
      --in_flight;
      wake.notify_one();
    });
  }
}
