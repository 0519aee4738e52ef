#include "server/radius/exchanges.h"

#include <algorithm>

namespace gatehouse::server {
namespace {

constexpr std::size_t identifiers = 256, authenticator_at = 4;

}  // namespace

std::optional<Exchanges::Id> Exchanges::begin(Request request, Clock::time_point now) {
  GH_ASSERT(!request.waits.empty() && request.secret);
  if (size() >= most_) return std::nullopt;
  const Id id = ++last_;
  // In turn: what waits for an identifier of the same gateway goes first.
  if (waiting_.contains(request.to) || !start(id, request, now)) {
    const Turn turn{request.to, now + request.patience};
    waiting_[turn.to].emplace(id, std::move(request));
    waiting_for_.emplace(id, turn);
    due_.emplace(turn.due, id);
  }
  return id;
}

// False: there is no identifier left.
bool Exchanges::start(Id id, Request& request, Clock::time_point now) {
  Free& free = identifiers_[request.to];
  if (free.used.size() == identifiers) return false;
  // Not the one that was used last: its answer may still be on the way.
  do ++free.last;
  while (free.used.contains(free.last));
  Active one{std::move(request), free.last, {}, {}, 0, now};
  auto made = one.request.make(one.identifier);
  if (made) {
    one.packet = *std::move(made);
    std::copy_n(one.packet.begin() + authenticator_at, one.authenticator.size(), one.authenticator.begin());
  }
  free.used.insert(one.identifier);
  by_identifier_[{one.request.to, one.identifier}] = id;
  Active& kept = active_.emplace(id, std::move(one)).first->second;
  // What can't be made is given up with the next look at the clock.
  if (kept.packet.empty()) {
    kept.sent = kept.request.waits.size();
    due_.emplace(kept.due, id);
    return true;
  }
  send(id, kept, now);
  return true;
}

void Exchanges::send(Id id, Active& one, Clock::time_point now) {
  out_.push_back({one.request.to, one.packet});
  one.due = now + one.request.waits[one.sent++];
  due_.emplace(one.due, id);
}

std::vector<Exchanges::Datagram> Exchanges::to_send() { return std::exchange(out_, {}); }

void Exchanges::finish(std::map<Id, Active>::iterator at, Clock::time_point now) {
  const Active& one = at->second;
  due_.erase({one.due, at->first});
  by_identifier_.erase({one.request.to, one.identifier});
  const auto free = identifiers_.find(one.request.to);
  free->second.used.erase(one.identifier);
  const Peer to = one.request.to;
  active_.erase(at);
  const auto next = waiting_.find(to);
  if (next == waiting_.end()) {
    // Gateways that are gone leave nothing behind; the last identifier is remembered while there are few.
    constexpr std::size_t remembered = 4'096;
    if (free->second.used.empty() && identifiers_.size() > remembered) identifiers_.erase(free);
    return;
  }
  const auto first = waiting_for_.find(next->second.begin()->first);
  due_.erase({first->second.due, first->first});
  const Id id = first->first;
  Request request = take_waiting(first);
  (void)start(id, request, now);
}

Exchanges::Request Exchanges::take_waiting(std::map<Id, Turn>::iterator at) {
  const auto queue = waiting_.find(at->second.to);
  Request out = std::move(queue->second.extract(at->first).mapped());
  if (queue->second.empty()) waiting_.erase(queue);
  waiting_for_.erase(at);
  return out;
}

std::optional<Exchanges::End> Exchanges::receive(const Peer& from, Bytes datagram, Clock::time_point now) {
  const auto packet = radius::parse_packet(datagram);
  if (!packet) return std::nullopt;
  const auto of = by_identifier_.find({from, packet->identifier});
  if (of == by_identifier_.end()) return std::nullopt;
  const auto at = active_.find(of->second);
  const Active& one = at->second;
  if (one.packet.empty() || !radius::authentic_answer(*packet, one.authenticator, one.request.secret->reveal(), one.request.authenticated))
    return std::nullopt;
  End out{at->first, to_vector(packet->whole)};
  finish(at, now);
  return out;
}

std::vector<Exchanges::End> Exchanges::expire(Clock::time_point now) {
  std::vector<End> out;
  while (!due_.empty() && due_.begin()->first <= now) {
    const Id id = due_.begin()->second;
    due_.erase(due_.begin());
    if (const auto waits = waiting_for_.find(id); waits != waiting_for_.end()) {
      (void)take_waiting(waits);
      out.push_back({id, {}});
      continue;
    }
    const auto at = active_.find(id);
    if (at->second.sent < at->second.request.waits.size()) {
      send(id, at->second, now);
    } else {
      out.push_back({id, {}});
      finish(at, now);
    }
  }
  return out;
}

std::optional<Exchanges::Clock::time_point> Exchanges::next() const {
  if (due_.empty()) return std::nullopt;
  return due_.begin()->first;
}

}  // namespace gatehouse::server
