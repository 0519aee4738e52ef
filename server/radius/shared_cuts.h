// Cuts that others bear, too: where a gateway finds connections by User-Name alone, each that has the name ends. So that a device
// which goes in and out of trust doesn't have the others cut off over and over, verdicts have at most one such cut of a name in a
// minute; what has to wait is held. Sans I/O.
//
//   if (cuts.take(name, entry.number, now)) ask_the_gateway();    // else it comes from due(), unless it is forgotten before
//   for (const std::uint64_t number : cuts.due(now)) …
//
// Cuts of the same moment are one. Not to be used by two threads at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/config/address_prefix.h"

namespace gatehouse::server {

class SharedCuts {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds apart{60};
  struct Name {
    IpAddress gateway{};
    std::string client, user;
    friend auto operator<=>(const Name&, const Name&) = default;
  };
  // `most`: of names, and of numbers that are held. Beyond, nobody waits: a cut is never lost.
  explicit SharedCuts(std::size_t most = 65'536) : most_(most) {}

  // Whether it may be now; if not, `number` is held.
  bool take(const Name& name, std::uint64_t number, Clock::time_point now);
  // It needn't be any more.
  void forget(std::uint64_t number);
  // Those whose time has come, each once.
  std::vector<std::uint64_t> due(Clock::time_point now);
  // When due() has something to say; nullopt: nothing is held.
  std::optional<Clock::time_point> next() const;
  bool holds(std::uint64_t number) const { return held_.contains(number); }

 private:
  struct Of {
    Clock::time_point last;           // cut
    std::set<std::uint64_t> waiting;
  };
  const std::size_t most_;
  std::map<Name, Of> names_;
  std::map<std::uint64_t, Name> held_;
};

}  // namespace gatehouse::server
