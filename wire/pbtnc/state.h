// The PB-TNC state machine of both sides (RFC 5793 §3.2; spec part 1a §4.7). What isn't listed is a protocol error.
//
//   client                server
//   Init    ── CDATA ──▶  SW        the ordinary run: data to and fro until the verdict
//   SW      ◀── SDATA ──  CW
//   CW      ── CDATA ──▶  SW
//   SW      ◀─ RESULT ──  Decided
//   Decided ── CLOSE ──▶  End
//
//   Decided ─ CRETRY ──▶  SW        in place of CLOSE: the client wants another assessment
//
//   SW      ◀─ SRETRY ──  SW        or the server does, of our endpoint: both were in Decided
//   CW      ◀── SDATA ──  CW
//
//   StateMachine machine(Role::server);
//   const auto effect = machine.receive(batch->type);  // Error: answer with Unexpected Batch Type
//   if (*effect == Effect::start_over) restart();      // then the batch is delivered like any other
//   if (*effect == Effect::ignore) return;             // nothing of it counts
//   machine.send(BatchType::sdata);
#pragma once

#include <cstdint>

#include "base/error.h"
#include "wire/pbtnc/pbtnc.h"

namespace gatehouse::pbtnc {

enum class State : std::uint8_t { init, server_working, client_working, decided, end };
enum class Role : std::uint8_t { client, server };
enum class Effect : std::uint8_t {
  deliver,             // the messages are delivered
  start_over,          // a new assessment begins, with the messages of this batch
  start_over_unheard,  // the same, but the messages that came along, and those of our own retry, are lost: begin afresh
  ignore,              // neither state nor anybody's data change
};

struct Row {
  State in;
  BatchType event;
  State out;
  Effect effect = Effect::deliver;
};

// Batches that a server receives. CRETRY in Server Working follows the RFC: it asks for what is under way already.
// CRETRY in Client Working follows strongSwan, whose client would wait for an answer where the RFC has the batch
// ignored; the RFC rule is for peers that may send at any time, and holds here where both sides asked at once
// (`server_crossed`).
inline constexpr Row server_receives[] = {
    {State::init, BatchType::cdata, State::server_working},
    {State::client_working, BatchType::cdata, State::server_working},
    {State::client_working, BatchType::cretry, State::server_working, Effect::start_over},
    {State::server_working, BatchType::cretry, State::server_working, Effect::ignore},
    {State::decided, BatchType::cretry, State::server_working, Effect::start_over},
    {State::init, BatchType::close, State::end},
    {State::server_working, BatchType::close, State::end},
    {State::client_working, BatchType::close, State::end},
    {State::decided, BatchType::close, State::end},
    {State::end, BatchType::close, State::end, Effect::ignore},
};
// SRETRY only in Decided and only to a client that stays there, followed by SDATA at once. The RFC's full duplex has no
// SRETRY before the verdict; strongSwan's server sends it there, but a client of the RFC would ignore it.
inline constexpr Row server_sends[] = {
    {State::init, BatchType::sdata, State::client_working},
    {State::server_working, BatchType::sdata, State::client_working},
    {State::server_working, BatchType::result, State::decided},
    {State::decided, BatchType::sretry, State::server_working},
    {State::init, BatchType::close, State::end},
    {State::server_working, BatchType::close, State::end},
    {State::client_working, BatchType::close, State::end},
    {State::decided, BatchType::close, State::end},
};
// Batches that a client receives. SRETRY in Server Working is strongSwan's way to start over before the verdict: its
// server expects CDATA next. The RFC has it ignored, because there it can only have crossed our CRETRY
// (`client_crossed`).
inline constexpr Row client_receives[] = {
    {State::init, BatchType::sdata, State::client_working},
    {State::server_working, BatchType::sdata, State::client_working},
    {State::server_working, BatchType::result, State::decided},
    {State::server_working, BatchType::sretry, State::client_working, Effect::start_over},
    {State::decided, BatchType::sretry, State::server_working, Effect::start_over},
    {State::init, BatchType::close, State::end},
    {State::server_working, BatchType::close, State::end},
    {State::client_working, BatchType::close, State::end},
    {State::decided, BatchType::close, State::end},
    {State::end, BatchType::close, State::end, Effect::ignore},
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

// Both sides asked for another assessment in Decided, and the two retries crossed. One assessment comes of it: the
// server's SRETRY stands, the client's CRETRY is ignored (RFC 5793 §3.2), so the client says again what it had put
// there. These rows go before those above from our own retry in Decided until the first batch that answers it.
inline constexpr Row server_crossed[] = {
    {State::server_working, BatchType::cretry, State::server_working, Effect::ignore},
    {State::client_working, BatchType::cretry, State::client_working, Effect::ignore},
};
inline constexpr Row client_crossed[] = {
    {State::server_working, BatchType::sretry, State::server_working, Effect::start_over_unheard},
};

template <std::size_t N>
constexpr bool deterministic(const Row (&rows)[N]) {
  for (std::size_t i = 0; i < N; ++i)
    for (std::size_t j = i + 1; j < N; ++j)
      if (rows[i].in == rows[j].in && rows[i].event == rows[j].event) return false;
  return true;
}
static_assert(deterministic(server_receives) && deterministic(server_sends) && deterministic(client_receives) &&
                  deterministic(client_sends) && deterministic(server_crossed) && deterministic(client_crossed),
              "two rows for one (state, batch type)");

template <std::size_t N>
constexpr const Row* find_row(const Row (&rows)[N], State now, BatchType event) {
  for (const Row& row : rows)
    if (row.in == now && row.event == event) return &row;
  return nullptr;
}

template <std::size_t N>
constexpr Result<State> next(const Row (&rows)[N], State now, BatchType event) {
  if (const Row* const row = find_row(rows, now, event)) return row->out;
  return std::unexpected(Error{Fault::protocol, "batch type not allowed in this state", "RFC 5793 3.2", 3, {}, {}});
}

// One side of one PB-TNC session.
class StateMachine {
 public:
  explicit constexpr StateMachine(Role role) : role_(role) {}

  constexpr State state() const { return state_; }
  // An error leaves everything as it was; the answer is a CLOSE with Unexpected Batch Type.
  constexpr Result<Effect> receive(BatchType event) {
    const Row* row = nullptr;
    if (retried_)
      row = role_ == Role::server ? find_row(server_crossed, state_, event) : find_row(client_crossed, state_, event);
    const bool crossed = row != nullptr;
    if (row == nullptr)
      row = role_ == Role::server ? find_row(server_receives, state_, event) : find_row(client_receives, state_, event);
    if (row == nullptr)
      return std::unexpected(Error{Fault::protocol, "batch type not allowed in this state", "RFC 5793 3.2", 3, {}, {}});
    state_ = row->out;
    // One batch of the peer can have crossed ours. A client has its answer then; the server's is the CDATA still to
    // come.
    if (!crossed || role_ == Role::client) retried_ = false;
    return row->effect;
  }
  constexpr bool may_send(BatchType event) const { return row_to_send(event) != nullptr; }
  constexpr Result<void> send(BatchType event) {
    const Row* const row = row_to_send(event);
    if (row == nullptr)
      return std::unexpected(
          Error{Fault::internal, "we may not send this batch in this state", "RFC 5793 3.2", 3, {}, {}});
    if (state_ == State::decided && (event == BatchType::cretry || event == BatchType::sretry)) retried_ = true;
    state_ = row->out;
    return {};
  }
  // The transport ended: as a CLOSE batch.
  constexpr void transport_ended() { state_ = State::end; }

 private:
  constexpr const Row* row_to_send(BatchType event) const {
    return role_ == Role::server ? find_row(server_sends, state_, event) : find_row(client_sends, state_, event);
  }
  Role role_;
  State state_ = State::init;
  bool retried_ = false;  // our retry isn't answered yet
};

constexpr std::string_view name(State s) {
  switch (s) {
    case State::init:
      return "Init";
    case State::server_working:
      return "Server Working";
    case State::client_working:
      return "Client Working";
    case State::decided:
      return "Decided";
    case State::end:
      return "End";
  }
  return "End";
}

}  // namespace gatehouse::pbtnc
