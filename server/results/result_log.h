// Results as they happen, a JSON object a line in a file that others follow (`[results] file`). What counts is the state
// store: a line is written behind the record, by a thread of its own, and no session waits for it.
//
//   GH_TRY(auto log, ResultLog::open("results.jsonl"));
//   log->write(record_line(record, true));
//   log->reopen();   // the file was moved away: the next line makes a new one
//
// Bounded: lines beyond what may wait are left out, counted and told in the log. A line is written with one call to a file
// that is open for appending, so that whoever reads sees whole lines, unless the disk is full.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/descriptor.h"
#include "base/error.h"

namespace gatehouse::server {

class ResultLog {
 public:
  static constexpr std::size_t most_waiting_bytes = std::size_t(64) << 20;

  // Mode 0600. Environment faults: it can't be made or opened.
  static Result<std::unique_ptr<ResultLog>> open(const std::string& path, std::size_t most_waiting = most_waiting_bytes);
  ~ResultLog();  // writes what waits
  ResultLog(const ResultLog&) = delete;
  ResultLog& operator=(const ResultLog&) = delete;

  // Without its line end.
  void write(std::string line);
  void reopen();
  std::uint64_t written() const { return written_.load(std::memory_order_relaxed); }
  std::uint64_t left_out() const { return left_out_.load(std::memory_order_relaxed); }

 private:
  ResultLog(std::string path, Descriptor file, std::size_t most_waiting);
  void run();
  Result<void> append(const std::string& line);

  const std::string path_;
  const std::size_t most_waiting_;
  std::atomic<std::uint64_t> written_{0}, left_out_{0};
  Descriptor file_;         // of the writing thread
  bool broken_ = false;     // of the writing thread: the log was told
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::string> lines_;    // guarded by mutex_
  std::size_t waiting_ = 0;          // guarded by mutex_: bytes
  bool reopen_ = false, closing_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace gatehouse::server
