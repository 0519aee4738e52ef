// How far long work is, on standard error: in place on a terminal, else a line at most every five seconds.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace gatehouse::fleet {

class Progress {
 public:
  Progress(std::string_view what, std::uint64_t all)
      : what_(what), all_(all), thread_([this](const std::stop_token& stop) { show(stop); }) {}
  void add(std::uint64_t n) { done_ += n; }
  std::uint64_t done() const { return done_; }

 private:
  void show(const std::stop_token& stop) {
    const bool terminal = ::isatty(STDERR_FILENO) == 1;
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    bool shown = false;
    const auto line = [&] {
      const char* const form = terminal ? "\r%s: %llu of %llu " : "gatehouse-fleet: %s: %llu of %llu\n";
      std::fprintf(stderr, form, what_.c_str(), static_cast<unsigned long long>(done_.load()),
                   static_cast<unsigned long long>(all_));
      shown = true;
    };
    while (!stop.stop_requested()) {
      wake.wait_for(lock, stop, std::chrono::milliseconds(terminal ? 250 : 5000), [] { return false; });
      if (!stop.stop_requested()) line();
    }
    if (terminal && shown) std::fputs("\n", stderr);
  }
  const std::string what_;
  const std::uint64_t all_;
  std::atomic<std::uint64_t> done_{0};
  std::jthread thread_;
};

}  // namespace gatehouse::fleet
