// Commits results to a store as fast as it can, 64 at a time, and prints a line for each that the store acknowledged:
// the process that durability_test kills.
//   state_writer DIRECTORY ROUND [software]
// With `software` it brings one inventory after another for the device "d", each with names of its own.
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <future>
#include <mutex>
#include <string>

#include "server/state/state.h"

namespace {

using namespace gatehouse;

// 5,000 instances a session, so that the result takes several writes.
void bring_inventories(server::State& state, const std::string& round) {
  server::Enrolment device;
  device.device = "d";
  device.identities = {"CN=d"};
  if (!state.enrol_blocking(std::move(device))) ::_exit(1);
  for (std::int64_t n = 0;; ++n) {
    server::SessionResult result;
    result.intent.session = round + "-" + std::to_string(n);
    result.intent.device = "d";
    result.intent.identity = "CN=d";
    result.intent.started = 1'000'000 + n;
    result.finished = result.intent.started + 1;
    for (std::uint32_t chunk = 0; chunk < 5; ++chunk) {
      server::SoftwareChunk some{.session = result.intent.session, .device = "d"};
      for (std::uint32_t i = chunk * 1000; i < (chunk + 1) * 1000; ++i)
        some.installed.push_back({.source = 1, .software_id = result.intent.session, .record_id = i});
      state.stage_software(std::move(some), [](Result<void> on_disk) {
        if (!on_disk) ::_exit(1);
      });
    }
    result.software = server::SoftwareUpdate{.epoch = 1, .last_eid = 1, .inventory = true, .staged_installed = 5000};
    const std::string line = result.intent.session + "\n";
    std::promise<Result<void>> done;
    state.commit_result(std::move(result), [&](Result<void> on_disk) { done.set_value(std::move(on_disk)); });
    if (!done.get_future().get() || ::write(STDOUT_FILENO, line.data(), line.size()) != ssize_t(line.size()))
      ::_exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) return 2;
  auto opened = server::State::open({.path = argv[1], .create = true});
  if (!opened) {
    std::fprintf(stderr, "%s\n", opened.error().text().c_str());
    return 4;
  }
  server::State& state = **opened;
  if (argc == 4) bring_inventories(state, argv[2]);
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
