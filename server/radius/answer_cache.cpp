#include "server/radius/answer_cache.h"

namespace gatehouse::server {

void AnswerCache::erase(std::map<Key, Place>::iterator at) {
  bytes_ -= at->second->packet.size();
  entries_.erase(at->second);
  by_key_.erase(at);
}

void AnswerCache::trim(Clock::time_point now) {
  while (!entries_.empty() && (now - entries_.front().since > limits_.memory || entries_.size() > limits_.requests || bytes_ > limits_.bytes))
    erase(by_key_.find(entries_.front().key));
}

std::variant<AnswerCache::New, AnswerCache::AtWork, AnswerCache::Answered> AnswerCache::take(
    const Key& key, const radius::Authenticator& authenticator, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  trim(now);
  if (const auto at = by_key_.find(key); at != by_key_.end()) {
    const Entry& e = *at->second;
    if (e.authenticator == authenticator) {
      if (e.packet.empty()) return AtWork{};
      return Answered{e.packet};
    }
    erase(at);
  }
  entries_.push_back({key, authenticator, now, {}});
  by_key_.emplace(key, std::prev(entries_.end()));
  trim(now);
  return New{};
}

void AnswerCache::answer(const Key& key, const radius::Authenticator& authenticator, Bytes packet) {
  const std::lock_guard lock(mutex_);
  const auto at = by_key_.find(key);
  if (at == by_key_.end() || at->second->authenticator != authenticator || !at->second->packet.empty()) return;
  at->second->packet = to_vector(packet);
  bytes_ += packet.size();
}

void AnswerCache::forget(const Key& key, const radius::Authenticator& authenticator) {
  const std::lock_guard lock(mutex_);
  const auto at = by_key_.find(key);
  if (at != by_key_.end() && at->second->authenticator == authenticator) erase(at);
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
