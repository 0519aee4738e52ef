#include "wire/pbtnc/pbtnc.h"

#include "base/release.h"

namespace gatehouse::pbtnc {

bool Queue::push(ByteVector message) {
  if (message.size() + batch_header_size > max_batch_) return false;
  bytes_ += message.size();
  messages_.push_back(std::move(message));
  return true;
}

void Queue::clear() {
  release(messages_);
  bytes_ = 0;
}

ByteVector Queue::take(std::size_t reserved) {
  Writer w;
  auto next = messages_.begin();
  for (; next != messages_.end() && batch_header_size + w.size() + next->size() + reserved <= max_batch_; ++next) {
    w.put_bytes(*next);
    bytes_ -= next->size();
  }
  messages_.erase(messages_.begin(), next);
  return std::move(w).take();
}

Queue::Outgoing Queue::take_result(const ResultContent& content) {
  GH_ASSERT(batch_header_size + content.core.size() <= max_batch_);
  // Chosen as if the batch had nothing else in it: what the user is to read doesn't depend on what waits.
  std::size_t own = content.core.size(), kept = 0;
  while (kept < content.extras.size() && batch_header_size + own + content.extras[kept].size() <= max_batch_)
    own += content.extras[kept++].size();
  if (batch_header_size + bytes_ + own > max_batch_) return {BatchType::sdata, take(), 0};
  Writer w;
  w.put_bytes(take());
  w.put_bytes(content.core);
  for (std::size_t i = 0; i < kept; ++i) w.put_bytes(content.extras[i]);
  return {BatchType::result, std::move(w).take(), content.extras.size() - kept};
}

}  // namespace gatehouse::pbtnc
