#include "server/tls/admission.h"

#include <algorithm>

namespace gatehouse::server {

std::expected<Admission::Id, Admission::Refusal> Admission::arrive(const std::string& address, Clock::time_point now) {
  if (peers_.size() >= limits_.connections) return std::unexpected(Refusal::connections);
  const auto of = addresses_.try_emplace(address).first;
  if (of->second.connections >= limits_.connections_per_address) return std::unexpected(Refusal::address);
  if (waiting_ >= limits_.waiting || of->second.waiting.size() >= limits_.waiting_per_address) {
    if (of->second.connections == 0) addresses_.erase(of);
    return std::unexpected(Refusal::waiting);
  }
  const Id id = ++last_;
  peers_.emplace(id, Peer{of, now});
  ++of->second.connections;
  ++waiting_;
  of->second.waiting.push_back(id);
  if (of->second.waiting.size() == 1) turns_.push_back(of);
  return id;
}

std::optional<Admission::Turn> Admission::next(Clock::time_point now, bool behind) {
  if (turns_.empty() || behind) return std::nullopt;
  Turn out;
  const auto of = turns_.front();
  out.id = of->second.waiting.front();
  Peer& peer = peers_.at(out.id);
  out.late = now - peer.arrived > limits_.longest_wait;
  if (!out.late && handshakes_.size() >= limits_.handshakes) {
    const Handshake& oldest = handshakes_.front();
    if (now - oldest.begun <= limits_.patience) return std::nullopt;
    out.gives_way = oldest.id;
    established(oldest.id);
  }
  turns_.pop_front();
  of->second.waiting.pop_front();
  if (!of->second.waiting.empty()) turns_.push_back(of);
  --waiting_;
  peer.waits = false;
  if (!out.late) peer.handshake = handshakes_.insert(handshakes_.end(), {out.id, now});
  return out;
}

void Admission::established(Id id) {
  const auto peer = peers_.find(id);
  if (peer == peers_.end() || !peer->second.handshake) return;
  handshakes_.erase(*peer->second.handshake);
  peer->second.handshake.reset();
}

void Admission::gone(Id id) {
  const auto peer = peers_.find(id);
  if (peer == peers_.end()) return;
  established(id);
  const auto of = peer->second.address;
  if (peer->second.waits) {
    --waiting_;
    std::erase(of->second.waiting, id);
    if (of->second.waiting.empty()) std::erase(turns_, of);
  }
  peers_.erase(peer);
  if (--of->second.connections == 0) addresses_.erase(of);
}

}  // namespace gatehouse::server
