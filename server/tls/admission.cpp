#include "server/tls/admission.h"

#include <algorithm>

namespace gatehouse::server {
namespace {

constexpr std::chrono::duration<double> measured_for = std::chrono::seconds(1);
constexpr double promised_wait = 0.75;  // of the longest: the rate is an estimate

}  // namespace

void Admission::leave_order(Queue of) {
  const auto at = by_waiting_.find(of->second.waiting.size());
  if (at == by_waiting_.end()) return;  // nobody waits
  at->second.erase(of);
  if (at->second.empty()) by_waiting_.erase(at);
}
void Admission::enter_order(Queue of) {
  if (!of->second.waiting.empty()) by_waiting_[of->second.waiting.size()].insert(of);
}

void Admission::measure(Clock::time_point now) {
  if (waiting_ == 0) {  // how fast they could begin isn't seen then
    measured_ = now;
    begun_ = 0;
    rate_ = 0;
    return;
  }
  const std::chrono::duration<double> since = now - measured_;
  if (since < measured_for) return;
  const double rate = double(begun_) / since.count();
  rate_ = rate_ == 0 ? rate : (rate_ + rate) / 2;  // one second in which nobody could begin isn't the next
  measured_ = now;
  begun_ = 0;
}

bool Admission::would_wait_too_long(const Address& of) const {
  if (rate_ == 0) return false;
  // The addresses take turns: before this one's last there are as many of each, at most.
  const std::size_t before = std::min(waiting_, (turns_.size() + 1) * (of.waiting.size() + 1));
  return double(before) / rate_ > promised_wait * double(limits_.longest_wait.count());
}

std::expected<Admission::Arrival, Admission::Refusal> Admission::arrive(const std::string& address, Clock::time_point now) {
  const auto of = addresses_.try_emplace(address).first;
  const auto refused = [&](Refusal why) {
    if (of->second.connections == 0) addresses_.erase(of);
    return std::unexpected(why);
  };
  if (of->second.connections >= limits_.connections_per_address) return refused(Refusal::address);
  measure(now);
  if (of->second.waiting.size() >= limits_.waiting_per_address || would_wait_too_long(of->second)) return refused(Refusal::waiting);
  Arrival out;
  if (waiting_ >= limits_.waiting || peers_.size() >= limits_.connections) {
    // With one more each, theirs would still be the longer queue.
    if (by_waiting_.empty() || by_waiting_.rbegin()->first <= of->second.waiting.size() + 1)
      return refused(waiting_ >= limits_.waiting ? Refusal::waiting : Refusal::connections);
    out.leaves = (*by_waiting_.rbegin()->second.begin())->second.waiting.back();
    gone(*out.leaves);
  }
  out.id = ++last_;
  peers_.emplace(out.id, Peer{of, now});
  ++of->second.connections;
  ++waiting_;
  leave_order(of);
  of->second.waiting.push_back(out.id);
  enter_order(of);
  if (of->second.waiting.size() == 1) turns_.push_back(of);
  return out;
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
  leave_order(of);
  of->second.waiting.pop_front();
  enter_order(of);
  if (!of->second.waiting.empty()) turns_.push_back(of);
  --waiting_;
  peer.waits = false;
  if (out.late) return out;
  ++begun_;
  peer.handshake = handshakes_.insert(handshakes_.end(), {out.id, now});
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
    leave_order(of);
    std::erase(of->second.waiting, id);
    enter_order(of);
    if (of->second.waiting.empty()) std::erase(turns_, of);
  }
  peers_.erase(peer);
  if (--of->second.connections == 0) addresses_.erase(of);
}

}  // namespace gatehouse::server
