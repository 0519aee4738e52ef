// The PB-TNC state machine of both sides (RFC 5793 §3.2; spec part 1a §4.7). What isn't listed is a protocol error.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "wire/pbtnc/pbtnc.h"

namespace gatehouse::pbtnc {

enum class State : std::uint8_t { init, server_working, client_working, decided, end };
enum class Role : std::uint8_t { client, server };

struct Row {
  State in;
  BatchType event;
  State out;
};

// Batches that a server receives.
inline constexpr Row server_receives[] = {
    {State::init, BatchType::cdata, State::server_working},
    {State::client_working, BatchType::cdata, State::server_working},
    {State::client_working, BatchType::cretry, State::server_working},
    {State::server_working, BatchType::cretry, State::server_working},
    {State::decided, BatchType::cretry, State::server_working},
    {State::init, BatchType::close, State::end},
    {State::server_working, BatchType::close, State::end},
    {State::client_working, BatchType::close, State::end},
    {State::decided, BatchType::close, State::end},
    {State::end, BatchType::close, State::end},
};
inline constexpr Row server_sends[] = {
    {State::server_working, BatchType::sdata, State::client_working},
    {State::server_working, BatchType::result, State::decided},
    {State::init, BatchType::close, State::end},
    {State::server_working, BatchType::close, State::end},
    {State::client_working, BatchType::close, State::end},
    {State::decided, BatchType::close, State::end},
};
// Batches that a client receives. SRETRY in Server Working is strongSwan's way to start over before the verdict.
inline constexpr Row client_receives[] = {
    {State::init, BatchType::sdata, State::client_working},
    {State::server_working, BatchType::sdata, State::client_working},
    {State::server_working, BatchType::result, State::decided},
    {State::server_working, BatchType::sretry, State::client_working},
    {State::decided, BatchType::sretry, State::server_working},
    {State::init, BatchType::close, State::end},
    {State::server_working, BatchType::close, State::end},
    {State::client_working, BatchType::close, State::end},
    {State::decided, BatchType::close, State::end},
    {State::end, BatchType::close, State::end},
};
inline constexpr Row client_sends[] = {
    {State::init, BatchType::cdata, State::server_working},
    {State::client_working, BatchType::cdata, State::server_working},
    {State::client_working, BatchType::cretry, State::server_working},
    {State::decided, BatchType::cretry, State::server_working},
    {State::init, BatchType::close, State::end},
    {State::server_working, BatchType::close, State::end},
    {State::client_working, BatchType::close, State::end},
    {State::decided, BatchType::close, State::end},
};

template <std::size_t N>
constexpr bool deterministic(const Row (&rows)[N]) {
  for (std::size_t i = 0; i < N; ++i)
    for (std::size_t j = i + 1; j < N; ++j)
      if (rows[i].in == rows[j].in && rows[i].event == rows[j].event) return false;
  return true;
}
static_assert(deterministic(server_receives) && deterministic(server_sends) && deterministic(client_receives) &&
                  deterministic(client_sends),
              "two rows for one (state, batch type)");

template <std::size_t N>
constexpr Result<State> next(const Row (&rows)[N], State now, BatchType event) {
  for (const Row& row : rows)
    if (row.in == now && row.event == event) return row.out;
  return std::unexpected(Error{Fault::protocol, "batch type not allowed in this state", "RFC 5793 3.2", 3, {}, {}});
}

constexpr std::string_view name(State s) {
  switch (s) {
    case State::init: return "Init";
    case State::server_working: return "Server Working";
    case State::client_working: return "Client Working";
    case State::decided: return "Decided";
    case State::end: return "End";
  }
  return "End";
}

}  // namespace gatehouse::pbtnc
