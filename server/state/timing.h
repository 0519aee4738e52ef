// What a session's time went into, recorded with the session. The first stages follow one another: what it did or waited
// for at any moment. The others are what the evidence plane worked on meanwhile, on threads of its own.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <string_view>

namespace gatehouse::server {

enum class Stage : std::uint8_t {
  handshake,    // TLS; 0 for a further assessment on a kept connection
  negotiation,  // of PT-TLS: the endpoint's messages before its first batch
  password,     // a password is checked
  peer,         // the endpoint's next batch
  protocol,     // the server's own work on batches
  room,         // the evidence plane has no room
  evidence,     // the verdict on evidence that is complete
  state,        // the state store
  parse, lookup, extend, quote, conclude,
};
inline constexpr std::array<std::string_view, 13> stage_names = {"handshake", "negotiation", "password", "peer", "protocol",
                                                                 "room",      "evidence",    "state",    "parse", "lookup",
                                                                 "extend",    "quote",       "conclude"};
inline constexpr std::size_t successive_stages = std::size_t(Stage::state) + 1;

struct SessionTiming {
  std::array<std::chrono::nanoseconds, stage_names.size()> spent{};

  std::chrono::nanoseconds& operator[](Stage stage) { return spent[std::size_t(stage)]; }
  std::chrono::nanoseconds operator[](Stage stage) const { return spent[std::size_t(stage)]; }
  std::chrono::nanoseconds total() const {
    return std::accumulate(spent.begin(), spent.begin() + successive_stages, std::chrono::nanoseconds(0));
  }
  friend bool operator==(const SessionTiming&, const SessionTiming&) = default;
};

}  // namespace gatehouse::server
