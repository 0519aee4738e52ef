// Verdicts as they are kept (docs/formats/state.md, Verdicts). Those of machines with the same software differ in some hundred
// of many thousand bytes: each is kept against an earlier one, its base, which the store has once, with how many refer to it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "server/state/pieces.h"
#include "server/state/store.h"

namespace gatehouse::server {

// A verdict that others are kept against. Findings are most of it, and are the same or not; what is around them is the
// dictionary for what is around those of others.
class VerdictBase {
 public:
  static std::shared_ptr<const VerdictBase> of(std::string verdict, std::size_t findings_at, std::size_t findings_size);
  // As the store has it; an error where it isn't the one of this id.
  static Result<std::shared_ptr<const VerdictBase>> read(std::string_view value, const Digest& id);

  VerdictBase(std::string verdict, std::size_t findings_at, std::size_t findings_size);
  const Digest& id() const { return id_; }
  // What the store keeps of it.
  std::string value() const;
  std::string_view findings() const { return std::string_view(verdict_).substr(at_, size_); }
  // Where `verdict` has the same findings, behind what begins and before what ends them; nothing: it hasn't.
  std::optional<std::size_t> same_findings_in(std::string_view verdict) const;
  const Dictionary& around() const { return around_; }
  std::size_t bytes() const { return verdict_.size(); }

  mutable std::atomic<std::uint64_t> last_used = 0;

 private:
  std::string verdict_;
  std::size_t at_, size_;  // of the findings
  Digest id_;
  Dictionary around_;
};

struct PackedVerdict {
  std::string stored;                       // as a piece is kept
  std::shared_ptr<const VerdictBase> base;  // null: it stands alone
};

// For safe concurrent use.
class Verdicts {
 public:
  PackedVerdict pack(std::string_view verdict);
  // Of a piece that is kept alone or against a base, which the store has; Fault::environment where it hasn't.
  Result<std::string> unpack(const StoreView& view, std::string_view stored);
  // The base's id; nothing: it is kept alone.
  static std::optional<Digest> base_of(std::string_view stored);
  // A session's record (layout::decode_session), whatever its verdict is kept against.
  Result<SessionRecord> decode(const StoreView& view, std::string_view record);

 private:
  using List = std::vector<std::shared_ptr<const VerdictBase>>;
  std::shared_ptr<const List> current() const;
  void add(std::shared_ptr<const VerdictBase> base);
  Result<std::shared_ptr<const VerdictBase>> find(const StoreView& view, const Digest& id);

  CommonFrames findings_;
  std::atomic<std::uint64_t> packed_ = 0;
  mutable std::mutex mutex_;
  std::shared_ptr<const List> list_ = std::make_shared<const List>();  // guarded by mutex_: those that verdicts are kept against now
  List read_;               // guarded by mutex_: others, that were read last
  std::uint64_t added_ = 0; // guarded by mutex_: when the last one came, in packed verdicts
};

// A session's record refers to it from now on, and no longer.
Result<void> hold_base(Batch& batch, const VerdictBase& base);
Result<void> release_base(Batch& batch, const Digest& id);
// Whether the store has it, and it is what its id says.
Result<bool> has_base(const StoreView& view, const Digest& id);

}  // namespace gatehouse::server
