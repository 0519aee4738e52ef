#include "server/radius/answer_cache.h"

#include <cstring>

#include "base/hash.h"

namespace gatehouse::server {

namespace {

std::array<std::uint64_t, 3> random_seed() {
  std::array<std::uint64_t, 3> out{};
  fill_random(std::as_writable_bytes(std::span(out)));
  return out;
}

std::uint64_t folded(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide(a) * b;
  return std::uint64_t(product) ^ std::uint64_t(product >> 64);
}

}  // namespace

std::size_t AnswerCache::Hash::operator()(const Key& key) const {
  std::array<std::uint64_t, 2> address{};
  std::memcpy(address.data(), key.address.data(), sizeof address);
  const std::uint64_t rest = std::uint64_t(key.port) << 16 | std::uint64_t(key.socket) << 8 | key.identifier;
  return folded(folded(address[0] ^ seed[0], address[1] ^ seed[1]) ^ rest, seed[2] | 1);
}

AnswerCache::AnswerCache(Limits limits) : limits_(limits), entries_(0, Hash{random_seed()}) {}

AnswerCache::Entry& AnswerCache::place(const Key& key) {
  if (spare_.empty()) {
    const auto at = entries_.try_emplace(key).first;
    at->second.key = &at->first;
    return at->second;
  }
  Map::node_type node = std::move(spare_.back());
  spare_.pop_back();
  node.key() = key;
  return entries_.insert(std::move(node)).position->second;
}

void AnswerCache::erase(Map::iterator at) {
  Entry& e = at->second;
  (e.before != nullptr ? e.before->after : oldest_) = e.after;
  (e.after != nullptr ? e.after->before : newest_) = e.before;
  bytes_ -= e.packet.size();
  // Most answers acknowledge a fragment: so much is kept of those, and of no more than are on the way at one time.
  constexpr std::size_t most = 256, largest = 256;
  if (spare_.size() < most && e.packet.capacity() <= largest) {
    e.packet.clear();
    spare_.push_back(entries_.extract(at));
  } else {
    entries_.erase(at);
  }
}

void AnswerCache::trim(Clock::time_point now) {
  while (oldest_ != nullptr && (now - oldest_->since > limits_.memory || entries_.size() > limits_.requests || bytes_ > limits_.bytes))
    erase(entries_.find(*oldest_->key));
}

std::variant<AnswerCache::New, AnswerCache::AtWork, AnswerCache::Answered> AnswerCache::take(
    const Key& key, const radius::Authenticator& authenticator, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  trim(now);
  if (const auto at = entries_.find(key); at != entries_.end()) {
    const Entry& e = at->second;
    if (e.authenticator == authenticator) {
      if (e.packet.empty()) return AtWork{};
      return Answered{e.packet};
    }
    erase(at);
  }
  Entry& e = place(key);
  e.authenticator = authenticator;
  e.since = now;
  e.before = newest_;
  e.after = nullptr;
  (newest_ != nullptr ? newest_->after : oldest_) = &e;
  newest_ = &e;
  trim(now);
  return New{};
}

void AnswerCache::Answers::add(const Key& key, const radius::Authenticator& authenticator, Bytes packet) {
  const auto at = cache_.entries_.find(key);
  if (at == cache_.entries_.end() || at->second.authenticator != authenticator || !at->second.packet.empty()) return;
  at->second.packet.assign(packet.begin(), packet.end());
  cache_.bytes_ += packet.size();
}

void AnswerCache::forget(const Key& key, const radius::Authenticator& authenticator) {
  const std::lock_guard lock(mutex_);
  const auto at = entries_.find(key);
  if (at != entries_.end() && at->second.authenticator == authenticator) erase(at);
}

std::size_t AnswerCache::requests() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

std::size_t AnswerCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace gatehouse::server
