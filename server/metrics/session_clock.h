// What a connection does at any moment, and how long each took: a reading of the clock where that changes, and no more.
// All calls from one thread at a time, but doing().
#pragma once

#include <atomic>
#include <chrono>
#include <utility>

#include "server/state/timing.h"

namespace gatehouse::server::metrics {

// A session's successive stages, and what a connection does besides.
enum class Doing : std::uint8_t {
  handshake,
  negotiation,
  password,
  peer,
  protocol,
  room,
  evidence,
  state,
  kept,     // it waits for the next assessment
  closing,
};
inline constexpr std::array<std::string_view, 10> doing_names = {"handshake", "negotiation", "password", "peer", "protocol",
                                                                 "room",      "evidence",    "state",    "kept", "closing"};
static_assert(std::size_t(Doing::state) + 1 == successive_stages);

class SessionClock {
 public:
  // How long it did what it did before; 0 where that goes on.
  std::chrono::nanoseconds enter(Doing next) {
    const Doing before = doing_.load(std::memory_order_relaxed);
    if (before == next) return std::chrono::nanoseconds(0);
    doing_.store(next, std::memory_order_relaxed);
    return account(before);
  }
  // Another assessment begins: nothing of what was before is its time.
  void begin() {
    doing_.store(Doing::protocol, std::memory_order_relaxed);
    since_ = Clock::now();
    timing_ = {};
  }
  // Up to now.
  const SessionTiming& timing() {
    account(doing_.load(std::memory_order_relaxed));
    return timing_;
  }
  void add(Stage stage, std::chrono::nanoseconds took) { timing_[stage] += took; }
  Doing doing() const { return doing_.load(std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;
  std::chrono::nanoseconds account(Doing before) {
    const Clock::time_point from = std::exchange(since_, Clock::now());
    const std::chrono::nanoseconds took = since_ - from;
    if (std::size_t(before) < successive_stages) timing_[Stage(before)] += took;
    return took;
  }

  Clock::time_point since_ = Clock::now();
  SessionTiming timing_;
  std::atomic<Doing> doing_{Doing::handshake};
};

}  // namespace gatehouse::server::metrics
