#include "server/results/result_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace gatehouse::server {
namespace {

constexpr auto between_attempts = std::chrono::seconds(1);

Result<Descriptor> open_file(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600));
  if (!file) return fail_errno("the result log can't be opened", path);
  return file;
}

}  // namespace

Result<std::unique_ptr<ResultLog>> ResultLog::open(const std::string& path, std::size_t most_waiting) {
  GH_TRY(Descriptor file, open_file(path));
  std::unique_ptr<ResultLog> log(new ResultLog(path, std::move(file), most_waiting));
  log->thread_ = std::thread([raw = log.get()] { raw->run(); });
  return log;
}

ResultLog::ResultLog(std::string path, Descriptor file, std::size_t most_waiting)
    : path_(std::move(path)), most_waiting_(most_waiting), file_(std::move(file)) {}

ResultLog::~ResultLog() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ResultLog::write(std::string line) {
  line += '\n';
  {
    const std::lock_guard lock(mutex_);
    if (line.size() > most_waiting_ - std::min(waiting_, most_waiting_)) {
      left_out_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    waiting_ += line.size();
    lines_.push_back(std::move(line));
  }
  wake_.notify_one();
}

void ResultLog::reopen() {
  {
    const std::lock_guard lock(mutex_);
    reopen_ = true;
  }
  wake_.notify_one();
}

// All of it or nothing that counts: what a full disk left of a line is cut off again.
Result<void> ResultLog::append(const std::string& line) {
  if (!file_) {
    GH_TRY(file_, open_file(path_));
  }
  const off_t end = ::lseek(file_.get(), 0, SEEK_END);
  std::size_t at = 0;
  while (at < line.size()) {
    const ssize_t n = ::write(file_.get(), line.data() + at, line.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const auto failed = fail_errno("the result log can't be written", path_);
      if (at != 0 && end >= 0 && ::ftruncate(file_.get(), end) != 0) {
        // A pipe, or a disk that is gone: the next line begins behind what is there.
      }
      return failed;
    }
    at += std::size_t(n);
  }
  return {};
}

void ResultLog::run() {
  for (;;) {
    std::string line;
    bool anew = false, last = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return closing_ || reopen_ || !lines_.empty(); });
      anew = std::exchange(reopen_, false);
      last = closing_;
      if (lines_.empty() && last) return;
      if (!lines_.empty()) line = lines_.front();
    }
    if (anew) {
      auto file = open_file(path_);
      if (file) file_ = std::move(*file);
      else log::write(log::Level::error, {}, file.error().text() + "; results go on to the file that is open");
    }
    if (line.empty()) continue;
    const Result<void> done = append(line);
    if (!done && !broken_) log::write(log::Level::error, {}, done.error().text() + "; results wait");
    if (done && broken_) log::write(log::Level::info, {}, "the result log is written again; " + std::to_string(left_out()) + " results were left out so far");
    broken_ = !done;
    std::unique_lock lock(mutex_);
    if (done) {
      waiting_ -= line.size();
      lines_.pop_front();
      written_.fetch_add(1, std::memory_order_relaxed);
    } else if (last) {
      left_out_.fetch_add(lines_.size(), std::memory_order_relaxed);
      return;
    } else {
      wake_.wait_for(lock, between_attempts, [&] { return closing_ || reopen_; });
    }
  }
}

}  // namespace gatehouse::server
