// Results that wait for a thread which hands them on: bounded, so that a slow receiver costs memory within a bound, and
// whoever adds one never waits.
#pragma once

#include <sys/eventfd.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/descriptor.h"

namespace gatehouse::server {

using ResultLine = std::shared_ptr<const std::string>;  // record_line(), without a line end

// How it went with what one way out was given.
struct DeliveryCounts {
  std::uint64_t delivered = 0;
  std::uint64_t failed = 0;    // the receiver couldn't take it
  std::uint64_t left_out = 0;  // there was no room for it any more
  std::uint64_t waiting = 0;
};

class WaitingLines {
 public:
  WaitingLines(std::size_t most_lines, std::size_t most_bytes) : most_lines_(most_lines), most_bytes_(most_bytes), closed_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  // False: it doesn't fit, or there is no more work.
  bool push(ResultLine line) {
    {
      const std::lock_guard lock(mutex_);
      if (closing_ || lines_.size() >= most_lines_ || line->size() > most_bytes_ - bytes_) return false;
      bytes_ += line->size();
      lines_.push_back(std::move(line));
    }
    changed_.notify_one();
    return true;
  }
  // The next one, when there is one; null: closed, and nothing is left.
  ResultLine next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closing_ || !lines_.empty(); });
    return lines_.empty() ? nullptr : lines_.front();
  }
  // What next() gave is done with.
  void pop() {
    const std::lock_guard lock(mutex_);
    bytes_ -= lines_.front()->size();
    lines_.pop_front();
  }
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    changed_.notify_all();
    ::eventfd_write(closed_.get(), 1);
  }
  bool closing() const {
    const std::lock_guard lock(mutex_);
    return closing_;
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return lines_.size();
  }
  // Readable from close() on: for poll(2), beside what the thread waits for.
  int closed() const { return closed_.get(); }

 private:
  const std::size_t most_lines_, most_bytes_;
  const Descriptor closed_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ResultLine> lines_;  // guarded by mutex_
  std::size_t bytes_ = 0;         // guarded by mutex_
  bool closing_ = false;          // guarded by mutex_
};

}  // namespace gatehouse::server
