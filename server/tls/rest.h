// Whether the server rests: for a second now it has hardly used a processor. What it took for a crowd can be given back then,
// however many wait: endpoints may be silent for hours, and conversations stop half way.
#pragma once

#include <chrono>
#include <utility>

namespace gatehouse::server {

class Rest {
 public:
  using Clock = std::chrono::steady_clock;

  // From time to time, with the process's processor time so far. True: the rest is a second old; told once a rest. `busy`: it
  // works, whatever the clock says.
  bool begun(Clock::time_point now, std::chrono::nanoseconds used, bool busy) {
    const auto more = used - std::exchange(used_, used);
    const auto passed = now - std::exchange(then_, now);
    if (busy || more * share > passed) {
      since_ = now;
      told_ = false;
    }
    return now - since_ >= std::chrono::seconds(1) && !std::exchange(told_, true);
  }
  // What was used to give things back isn't work.
  void except(std::chrono::nanoseconds used) { used_ = used; }

 private:
  static constexpr int share = 20;  // a twentieth of a processor
  Clock::time_point then_{}, since_{};
  std::chrono::nanoseconds used_{0};
  bool told_ = true;  // nobody has worked yet
};

}  // namespace gatehouse::server
