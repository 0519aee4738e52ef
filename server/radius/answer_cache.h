// Requests that come twice (RFC 5080 section 2.2.2): same source address and port, identifier and authenticator, within 30
// seconds. An answered one gets the same bytes again, one that is worked on gets nothing. Bounded in requests and bytes:
// of more, the oldest are forgotten. Time comes from the caller. Any thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "server/config/address_prefix.h"
#include "wire/radius/radius.h"

namespace gatehouse::server {

class AnswerCache {
 public:
  using Clock = std::chrono::steady_clock;
  struct Limits {
    std::chrono::seconds memory{30};
    std::size_t requests = 131'072, bytes = std::size_t(128) << 20;
  };
  struct Key {
    IpAddress address{};
    std::uint16_t port = 0;
    std::uint8_t socket = 0;  // answers go out where requests came in
    std::uint8_t identifier = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct New {};
  struct AtWork {};
  struct Answered {
    ByteVector packet;
  };

  AnswerCache() : AnswerCache(Limits{}) {}
  explicit AnswerCache(Limits limits);
  AnswerCache(const AnswerCache&) = delete;
  AnswerCache& operator=(const AnswerCache&) = delete;

  // A new one is at work from now on; one with another authenticator takes the place of the one before.
  std::variant<New, AtWork, Answered> take(const Key& key, const radius::Authenticator& authenticator, Clock::time_point now);
  void answer(const Key& key, const radius::Authenticator& authenticator, Bytes packet) { Answers(*this).add(key, authenticator, packet); }
  // Several at one time: others wait while it is there.
  class Answers {
   public:
    explicit Answers(AnswerCache& cache) : cache_(cache), lock_(cache.mutex_) {}
    void add(const Key& key, const radius::Authenticator& authenticator, Bytes packet);

   private:
    AnswerCache& cache_;
    const std::lock_guard<std::mutex> lock_;
  };
  // It won't be answered, or its answer has arrived.
  void forget(const Key& key, const radius::Authenticator& authenticator);
  std::size_t requests() const;
  std::size_t bytes() const;

 private:
  // In the order in which they came, which the map's entries keep themselves: each packet passes here three times.
  struct Entry {
    radius::Authenticator authenticator{};
    Clock::time_point since;
    ByteVector packet;  // empty: at work
    const Key* key = nullptr;
    Entry *before = nullptr, *after = nullptr;
  };
  // Who may ask chooses ports and identifiers, and doesn't know the seed.
  struct Hash {
    std::array<std::uint64_t, 3> seed;
    std::size_t operator()(const Key& key) const;
  };
  using Map = std::unordered_map<Key, Entry, Hash>;
  Entry& place(const Key& key);
  void erase(Map::iterator at);
  void trim(Clock::time_point now);

  const Limits limits_;
  mutable std::mutex mutex_;
  Map entries_;                                   // guarded by mutex_
  std::vector<Map::node_type> spare_;             // guarded by mutex_: what was forgotten gives its memory to who comes
  Entry *oldest_ = nullptr, *newest_ = nullptr;   // guarded by mutex_
  std::size_t bytes_ = 0;                         // guarded by mutex_
};

}  // namespace gatehouse::server
