// How long the next attempt at a password from one address has to wait, after others of it have failed: a few mistakes
// cost nothing, guessing gets slower and slower (spec part 1a §1.5). An attempt that would have to wait too long isn't
// made at all.
//
//   Backoff backoff;
//   const auto wait = backoff.reserve("192.0.2.7", now);   // nullopt: refuse the connection
//   backoff.failed("192.0.2.7", now);                      // or succeeded()
//
// Where an attempt takes its time, many could be under way before the first one has failed: begin() and end() around each, and
// crowded() before it, hold them to what would be free if all of them failed.
//
// Time comes from the caller. Not to be used by two threads at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>

namespace gatehouse::server {

class Backoff {
 public:
  using Clock = std::chrono::steady_clock;
  struct Limits {
    unsigned free_failures = 3;                 // in a row, before anybody waits
    std::chrono::milliseconds first{1'000};     // doubled with each further failure ...
    std::chrono::milliseconds most{16'000};     // ... up to this
    std::chrono::milliseconds patience{20'000};  // less than the negotiation may take
    std::chrono::minutes memory{10};            // without a failure, it is forgotten
    std::size_t addresses = 16'384;             // of more, the one whose last failure is the oldest is forgotten
    unsigned at_once = 0;                       // under way that count for nothing: many may come from one address with good ones
  };
  Backoff() : Backoff(Limits{}) {}
  explicit Backoff(Limits limits) : limits_(limits) {}

  // The wait before the next attempt; attempts of one address follow each other at that distance.
  std::optional<std::chrono::milliseconds> reserve(const std::string& address, Clock::time_point now);
  // Whether as many are under way as may be; then it has to ask again in `first`, for as long as its patience lasts.
  bool crowded(const std::string& address, Clock::time_point now) const;
  void begin(const std::string& address) { ++under_way_[address]; }
  void end(const std::string& address);
  std::chrono::milliseconds again() const { return limits_.first; }
  std::chrono::milliseconds patience() const { return limits_.patience; }
  void failed(const std::string& address, Clock::time_point now);
  void succeeded(const std::string& address) { failures_.erase(address); }

 private:
  struct Failures {
    unsigned count = 0;
    Clock::time_point last;       // of them
    Clock::time_point next_slot;  // for an attempt
  };
  std::chrono::milliseconds delay(unsigned count) const;

  const Limits limits_;
  std::map<std::string, Failures> failures_;
  std::map<std::string, unsigned> under_way_;  // none is 0
};

}  // namespace gatehouse::server
