// Who is taken on when more come than the machine can serve. Connections that arrive wait in a room of bounded size,
// a queue for each address; one after the other they begin their handshake, the addresses by turns, so that a crowd from one
// keeps nobody else waiting. When the room is full, who comes from where fewer wait is let in, and the last of the longest
// queue leaves: a crowd from several addresses keeps nobody else out. Who would wait for too long, at the rate at which others
// begin, is refused at once. Handshakes in flight are bounded: the oldest one gives way where it has had its time and others
// wait, so that peers that say nothing keep nobody out. While the machine is behind with those it has, nobody new begins.
//
//   Admission admission(limits);
//   const auto arrival = admission.arrive("192.0.2.7", now);           // refused: close the socket; or arrival->leaves'
//   while (const auto turn = admission.next(now, behind)) { … }        // begin turn->id, end turn->gives_way
//   admission.established(id); …; admission.gone(id);
//
// Time comes from the caller. Not to be used by two threads at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <expected>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

namespace gatehouse::server {

// Whether the machine keeps up with what it has, by how long what is ready waits for a thread. One long wait may be a long
// piece of work; two in a row are a queue. It has caught up when a wait is half as long.
class Pace {
 public:
  explicit Pace(std::chrono::nanoseconds most) : most_(most) {}
  // At regular intervals. True: it is behind.
  bool note(std::chrono::nanoseconds wait) {
    const bool late = wait > (behind_ ? most_ / 2 : most_);
    behind_ = late && (behind_ || late_);
    late_ = late;
    return behind_;
  }

 private:
  const std::chrono::nanoseconds most_;
  bool late_ = false, behind_ = false;
};

class Admission {
 public:
  using Clock = std::chrono::steady_clock;
  using Id = std::uint64_t;
  struct Limits {
    std::size_t connections = 20'000, connections_per_address = 2'000;  // those that wait are among them
    std::size_t handshakes = 512;                                       // in flight
    std::size_t waiting = 8'192, waiting_per_address = 2'048;           // for their handshake
    std::chrono::milliseconds patience{1'000};  // how long a handshake may take when others wait
    std::chrono::seconds longest_wait{10};      // who has waited longer isn't begun with: he will have given up
  };
  enum class Refusal : std::uint8_t { connections, address, waiting };
  struct Arrival {
    Id id = 0;
    std::optional<Id> leaves;  // who has waited in its place: to be closed, and gone already
  };
  // To be begun with; `late`: to be closed, after too long a wait.
  struct Turn {
    Id id = 0;
    bool late = false;
    std::optional<Id> gives_way;
  };

  explicit Admission(Limits limits) : limits_(limits) {}

  std::expected<Arrival, Refusal> arrive(const std::string& address, Clock::time_point now);
  // nullopt: nobody, until something changes.
  std::optional<Turn> next(Clock::time_point now, bool behind);
  // Its handshake is over. Of who has given way and is unknown: nothing.
  void established(Id id);
  // Of anybody, once.
  void gone(Id id);

  std::size_t connections() const { return peers_.size(); }
  std::size_t waiting() const { return waiting_; }
  std::size_t handshakes() const { return handshakes_.size(); }

 private:
  struct Address {
    std::size_t connections = 0;
    std::deque<Id> waiting;
  };
  struct Handshake {
    Id id;
    Clock::time_point begun;
  };
  struct Peer {
    std::map<std::string, Address>::iterator address;
    Clock::time_point arrived;
    bool waits = true;
    std::optional<std::list<Handshake>::iterator> handshake{};
  };

  using Queue = std::map<std::string, Address>::iterator;
  struct ByName {
    bool operator()(Queue a, Queue b) const { return a->first < b->first; }
  };
  // Around each change of who waits of an address.
  void leave_order(Queue of);
  void enter_order(Queue of);

  void measure(Clock::time_point now);
  bool would_wait_too_long(const Address& of) const;

  const Limits limits_;
  Id last_ = 0;
  // How many begin in a second while others wait: of the time since `measured_`, and before it (0: unknown).
  Clock::time_point measured_{};
  std::size_t begun_ = 0;
  double rate_ = 0;
  std::size_t waiting_ = 0;
  std::unordered_map<Id, Peer> peers_;
  std::map<std::string, Address> addresses_;
  std::deque<std::map<std::string, Address>::iterator> turns_;  // addresses of which somebody waits
  // The same by how many wait, the longest queue last.
  std::map<std::size_t, std::set<Queue, ByName>> by_waiting_;
  std::list<Handshake> handshakes_;  // the oldest first
};

}  // namespace gatehouse::server
