// Work in pieces by several threads whose results are written in the order of the pieces. Internal to refdb/store.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"

namespace gatehouse::refdb {

class Turns {
 public:
  // Waits until all pieces before `n` have had theirs; false: one of them failed.
  bool wait(std::size_t n) {
    std::unique_lock lock(mutex_);
    moved_.wait(lock, [&] { return failed_ || next_ == n; });
    return !failed_;
  }
  void pass() {
    const std::lock_guard lock(mutex_);
    ++next_;
    moved_.notify_all();
  }
  void fail() {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    moved_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable moved_;
  std::size_t next_ = 0;
  bool failed_ = false;
};

// compute(n, worker) of each piece at any time and in any thread, then write(n, what it gave) one after the other. The
// first failure ends it. One piece is done by the caller alone.
template <class Compute, class Write>
Result<void> in_turns(std::size_t pieces, unsigned threads, const Compute& compute, const Write& write) {
  Turns turns;
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  Result<void> result;
  const auto fail_with = [&](Error error) {
    const std::lock_guard lock(mutex);
    if (result) result = std::unexpected(std::move(error));
    turns.fail();
  };
  const auto work = [&](unsigned worker) {
    try {
      for (std::size_t n; (n = next++) < pieces;) {
        auto computed = compute(n, worker);
        if (!computed) return fail_with(std::move(computed).error());
        if (!turns.wait(n)) return;
        if (auto written = write(n, *std::move(computed)); !written) return fail_with(std::move(written).error());
        turns.pass();
      }
    } catch (const std::exception& e) {
      fail_with(Error{Fault::internal, "can't make the generation", {}, 0, {}, e.what()});
    }
  };
  {
    std::vector<std::jthread> others;
    try {
      for (unsigned worker = 1; worker < threads && worker < pieces; ++worker) others.emplace_back(work, worker);
    } catch (const std::system_error&) {
      // With fewer threads, then.
    }
    work(0);
  }
  return result;
}

}  // namespace gatehouse::refdb
