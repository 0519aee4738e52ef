// How many conversations are under way at a time while no processor is free. A gateway waits for some tens of seconds: where
// more conversations are begun than the machine gets on with in that time, all of them end too late, and the work for them is
// lost. What keeps the processors busy may be a neighbour of the server's on the same machine, so that the server's own
// threads hardly wait (Pace, server/tls/admission.h) and tell nothing. While a processor is free, conversations take long for
// others' reasons, and any number may go on.
//
//   crowd.look(idle, open, most);      // from time to time, on one thread
//   if (!crowd.admits(open)) …         // any thread
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <limits>

namespace gatehouse::server {

class Crowd {
 public:
  // idle: the share of all processors' time that nobody used since the last look. open: conversations. most: of them, while
  // the processors are busy. A crowd that comes to free processors is let in by quarters, to see whether they stay so. And on
  // busy ones a sixteenth goes on top until the next look: else whoever opens as many as may be and falls silent would
  // keep everybody out for as long as a neighbour is busy.
  void look(double idle, std::size_t open, std::size_t most) {
    constexpr double busy = 0.05;
    most_ = idle < busy ? most : std::max(most, open + std::max<std::size_t>(most / 4, 1));
    more_ = std::ptrdiff_t(std::max<std::size_t>(most / 16, 1));
  }
  // Of one that would be begun with.
  bool admits(std::size_t open) { return open < most_ || (more_ > 0 && more_-- > 0); }

 private:
  std::atomic<std::size_t> most_{std::numeric_limits<std::size_t>::max()};
  std::atomic<std::ptrdiff_t> more_{0};
};

}  // namespace gatehouse::server
