#include "pipeline/graph/proved_runs.h"

namespace gatehouse::pipeline {

std::size_t ProvedRun::bytes() const {
  std::size_t out = sizeof *this + boot.bytes() + boot_claims.capacity() * sizeof(PcrClaim) +
                    false_claims.capacity() * sizeof(std::uint64_t) + judged.statuses.capacity() +
                    judged.zero_digests.capacity() * sizeof(Judged::ZeroDigest) + judged.findings.bytes();
  return out + 64;  // of the table
}

ProvedRunPtr ProvedRuns::find(const Fingerprint& fingerprint) {
  const std::lock_guard lock(mutex_);
  if (const auto at = recent_.find(fingerprint); at != recent_.end()) return at->second;
  const auto at = earlier_.find(fingerprint);
  if (at == earlier_.end()) return nullptr;
  ProvedRunPtr found = std::move(at->second);
  earlier_bytes_ -= found->bytes();
  earlier_.erase(at);
  add(fingerprint, found);
  return found;
}

void ProvedRuns::insert(const Fingerprint& fingerprint, ProvedRunPtr run) {
  const std::lock_guard lock(mutex_);
  add(fingerprint, std::move(run));
}

void ProvedRuns::add(const Fingerprint& fingerprint, ProvedRunPtr run) {
  const std::size_t size = run->bytes();
  if (size > most_ / 2) return;
  if (recent_bytes_ + size > most_ / 2) {
    earlier_ = std::move(recent_);
    earlier_bytes_ = recent_bytes_;
    recent_ = {};
    recent_bytes_ = 0;
  }
  if (recent_.emplace(fingerprint, std::move(run)).second) recent_bytes_ += size;
}

std::size_t ProvedRuns::bytes() const {
  const std::lock_guard lock(mutex_);
  return recent_bytes_ + earlier_bytes_;
}

}  // namespace gatehouse::pipeline
