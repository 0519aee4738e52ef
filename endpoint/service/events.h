// What happens to an endpoint that stays connected besides its connection: signals, and package managers at work.
// Signals are blocked and read as data, so that nothing is interrupted; one Events for a process that has one thread.
//
//   GH_TRY(Events events, Events::open({"/var/lib/dpkg/status"}, {"/var/lib/rpm"}));
//   poll(events.wake_fd()) …; const Events::Seen seen = events.take();
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

namespace gatehouse::endpoint {

class Events {
 public:
  struct Seen {
    bool stop = false;      // SIGTERM or SIGINT; stays
    bool reassess = false;  // SIGHUP or SIGUSR1
    bool software = false;  // one of the files was replaced or written, or something in one of the folders was
  };
  // What isn't there isn't watched.
  static Result<Events> open(const std::vector<std::string>& files, const std::vector<std::string>& folders);
  Events(Events&&) noexcept;
  ~Events();

  // Readable from the signal to stop on, for good.
  int stop_fd() const;
  // Readable while take() has something new to tell.
  int wake_fd() const;
  Seen take();
  // For waiting on nothing else.
  enum class Woken : std::uint8_t { event, time };
  Woken wait_until(std::chrono::steady_clock::time_point until) const;

 private:
  struct State;
  explicit Events(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::endpoint
