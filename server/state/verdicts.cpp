#include "server/state/verdicts.h"

#include <algorithm>
#include <cstring>

#include "server/state/codec.h"
#include "server/state/layout.h"

namespace gatehouse::server {
namespace {

constexpr std::uint8_t against_a_base = 3;  // the piece's form
constexpr std::size_t head_size = 8 + 1;    // of a piece: its size and form
constexpr std::size_t id_size = 32;
constexpr std::string_view begin_of_findings = R"("findings":[)", end_of_findings = R"(],"findings_total":)";
// Of what is kept in memory. A verdict becomes a base where its findings came before, and not with each that does: what
// peers send alone doesn't push others out faster.
constexpr std::size_t most_bases = 32, most_read = 16, largest_base = 256 << 10;
constexpr std::size_t at_once = 8;        // that may come one after another
constexpr std::uint64_t between_bases = 64;  // verdicts
// Findings of which a frame of their own is worth it.
constexpr std::size_t smallest_apart = 1'024;

enum class Findings : std::uint8_t { not_apart, of_base, apart };

std::optional<std::size_t> find_text(std::string_view in, std::string_view what, std::size_t from) {
  const void* const at = from > in.size() ? nullptr : ::memmem(in.data() + from, in.size() - from, what.data(), what.size());
  if (at == nullptr) return std::nullopt;
  return std::size_t(static_cast<const char*>(at) - in.data());
}

// Where the findings are; an empty span at its end: it has none.
std::pair<std::size_t, std::size_t> findings_in(std::string_view verdict) {
  const auto from = find_text(verdict, begin_of_findings, 0);
  if (!from) return {verdict.size(), 0};
  const std::size_t at = *from + begin_of_findings.size();
  const auto to = find_text(verdict, end_of_findings, at);
  if (!to) return {verdict.size(), 0};
  return {at, *to - at};
}

std::string without(std::string_view text, std::size_t at, std::size_t size) {
  std::string out;
  out.reserve(text.size() - size);
  return out.append(text.substr(0, at)).append(text.substr(at + size));
}

std::string base_key(const Digest& id) { return std::string("zb").append(as_text(id.view())); }
std::string references_key(const Digest& id) { return std::string("zn").append(as_text(id.view())); }

Digest id_of(std::size_t at, std::size_t size, std::string_view verdict) {
  Writer w;
  w.put(std::uint64_t(at));
  w.put(std::uint64_t(size));
  Hasher hasher(HashAlgorithm::sha256);
  hasher.update(w.view());
  hasher.update(as_bytes(verdict));
  return hasher.finish();
}

std::unexpected<Error> missing() {
  return fail(Error{Fault::environment, "a session's verdict can't be read", "docs/formats/state.md", 0, {}, "the one that it is kept against is missing"});
}

}  // namespace

VerdictBase::VerdictBase(std::string verdict, std::size_t findings_at, std::size_t findings_size)
    : verdict_(std::move(verdict)), at_(findings_at), size_(findings_size), id_(id_of(at_, size_, verdict_)),
      around_(as_bytes(without(verdict_, at_, size_))) {}

std::shared_ptr<const VerdictBase> VerdictBase::of(std::string verdict, std::size_t findings_at, std::size_t findings_size) {
  return std::make_shared<const VerdictBase>(std::move(verdict), findings_at, findings_size);
}

Result<std::shared_ptr<const VerdictBase>> VerdictBase::read(std::string_view value, const Digest& id) {
  Reader r(as_bytes(value), layout::document);
  GH_CHECK(layout::get_version(r));
  GH_TRY(const auto at, r.get<std::uint64_t>());
  GH_TRY(const auto size, r.get<std::uint64_t>());
  GH_TRY(const ByteVector verdict, decompressed(as_text(r.rest()), largest_base));
  if (at > verdict.size() || size > verdict.size() - at) return r.fail("findings outside of their verdict");
  auto out = of(std::string(as_text(verdict)), std::size_t(at), std::size_t(size));
  if (out->id() != id) return r.fail("not the verdict of this digest");
  return out;
}

std::string VerdictBase::value() const {
  Writer w;
  w.put(layout::layout_version);
  w.put(std::uint64_t(at_));
  w.put(std::uint64_t(size_));
  return layout::taken(std::move(w)).append(compressed(as_bytes(verdict_)));
}

std::optional<std::size_t> VerdictBase::same_findings_in(std::string_view verdict) const {
  if (size_ == 0) return std::nullopt;
  // Mostly they begin at the same place.
  std::size_t at = at_;
  const std::size_t before = at_ - std::min(at_, begin_of_findings.size());
  if (before > verdict.size() || !verdict.substr(before).starts_with(begin_of_findings)) {
    const auto found = find_text(verdict, begin_of_findings, 0);
    if (!found) return std::nullopt;
    at = *found + begin_of_findings.size();
  }
  const std::string_view rest = verdict.substr(at);
  if (!rest.starts_with(findings()) || !rest.substr(size_).starts_with(end_of_findings)) return std::nullopt;
  return at;
}

std::shared_ptr<const Verdicts::List> Verdicts::current() const {
  const std::lock_guard lock(mutex_);
  return list_;
}

void Verdicts::add(std::shared_ptr<const VerdictBase> base) {
  const std::lock_guard lock(mutex_);
  if (std::any_of(list_->begin(), list_->end(), [&](const auto& one) { return one->findings() == base->findings(); })) return;
  auto next = std::make_shared<List>(*list_);
  if (next->size() >= most_bases) next->erase(std::min_element(next->begin(), next->end(), [](const auto& a, const auto& b) { return a->last_used < b->last_used; }));
  next->push_back(std::move(base));
  list_ = std::move(next);
  added_ = packed_;
}

PackedVerdict Verdicts::pack(std::string_view verdict) {
  const std::uint64_t now = ++packed_;
  std::shared_ptr<const List> bases = current();
  const auto used = [&](const std::shared_ptr<const VerdictBase>& base) { base->last_used.store(now, std::memory_order_relaxed); };
  std::shared_ptr<const VerdictBase> base;
  std::size_t at = 0, size = 0;
  std::shared_ptr<const std::string> frame;
  Findings findings = Findings::not_apart;
  for (const auto& one : *bases) {
    const auto found = one->same_findings_in(verdict);
    if (!found) continue;
    base = one;
    at = *found;
    size = base->findings().size();
    findings = Findings::of_base;
    break;
  }
  if (!base) {
    const auto [from, length] = findings_in(verdict);
    const auto as_base = [&] { return base = VerdictBase::of(std::string(verdict), from, length); };
    bool again = false;
    if (!bases->empty() && length >= smallest_apart && length <= largest_base) frame = findings_.of(as_bytes(verdict.substr(from, length)), again);
    const auto may_come = [&] {
      const std::lock_guard lock(mutex_);
      return list_->size() < at_once || now - added_ >= between_bases;
    };
    if (verdict.size() <= largest_base && (bases->empty() || (again && may_come()))) {
      add(as_base());
      if (length != 0) {
        at = from;
        size = length;
        findings = Findings::of_base;
      }
    } else if (bases->empty()) {
      return {compressed(as_bytes(verdict)), nullptr};
    } else {
      base = bases->back();
      if (frame) {
        at = from;
        size = length;
        findings = Findings::apart;
      }
    }
  }
  used(base);
  const std::string around = without(verdict, at, size);
  Writer w;
  w.put(std::uint64_t(verdict.size()));
  w.put(against_a_base);
  w.put_bytes(base->id().view());
  w.put(std::uint8_t(findings));
  w.put(std::uint64_t(at));
  const auto frame_size = w.reserve<std::uint64_t>();
  const std::size_t head = w.size();
  std::string out(head, '\0');
  if (!append_frame(out, as_bytes(around), &base->around())) return {compressed(as_bytes(verdict)), nullptr};
  w.fill(frame_size, std::uint64_t(out.size() - head));
  out.replace(0, head, as_text(w.view()));
  if (findings == Findings::apart) out.append(*frame);
  return {std::move(out), std::move(base)};
}

std::optional<Digest> Verdicts::base_of(std::string_view stored) {
  if (stored.size() < head_size + id_size || std::uint8_t(stored[head_size - 1]) != against_a_base) return std::nullopt;
  return Digest(as_bytes(stored.substr(head_size, id_size)));
}

Result<std::shared_ptr<const VerdictBase>> Verdicts::find(const StoreView& view, const Digest& id) {
  {
    const std::lock_guard lock(mutex_);
    for (const List* const list : {&*list_, static_cast<const List*>(&read_)})
      for (const auto& one : *list)
        if (one->id() == id) return one;
  }
  GH_TRY(const auto value, view.read(base_key(id)));
  if (!value) return missing();
  GH_TRY(auto base, VerdictBase::read(*value, id));
  const std::lock_guard lock(mutex_);
  if (read_.size() >= most_read) read_.erase(read_.begin());
  read_.push_back(base);
  return base;
}

Result<std::string> Verdicts::unpack(const StoreView& view, std::string_view stored) {
  const auto id = base_of(stored);
  if (!id) {
    GH_TRY(const ByteVector verdict, decompressed(stored, layout::max_verdict_bytes));
    return std::string(as_text(verdict));
  }
  Reader r(as_bytes(stored), layout::document);
  GH_TRY(const auto size, r.get<std::uint64_t>());
  if (size > layout::max_verdict_bytes) return r.fail(Fault::limit, "compressed content is larger than it may be");
  GH_CHECK(r.take(1 + id_size));
  GH_TRY(const Findings findings, layout::get_enum(r, Findings::apart));
  GH_TRY(const auto at, r.get<std::uint64_t>());
  GH_TRY(const auto frame_size, r.get<std::uint64_t>());
  GH_TRY(const Bytes frame, r.take(std::size_t(frame_size)));
  const Bytes inner = r.rest();
  if ((findings == Findings::apart) != !inner.empty() || (findings == Findings::not_apart && at != 0)) return r.fail("findings of a verdict in an unknown form");
  GH_TRY(const auto base, find(view, *id));
  std::string own;
  if (findings == Findings::apart) GH_CHECK(decompress_frame_into(own, inner, std::size_t(size)));
  const std::string_view middle = findings == Findings::of_base ? base->findings() : std::string_view(own);
  if (middle.size() > size || at > size - middle.size()) return r.fail("compressed content of another size than it says");
  std::string out;
  GH_CHECK(decompress_frame_into(out, frame, std::size_t(size - middle.size()), &base->around()));
  if (out.size() != size - middle.size()) return r.fail("compressed content of another size than it says");
  out.insert(std::size_t(at), middle);
  return out;
}

Result<SessionRecord> Verdicts::decode(const StoreView& view, std::string_view record) {
  GH_TRY(layout::StoredSession stored, layout::decode_stored_session(record));
  if (stored.packed) {
    GH_TRY(stored.record.verdict, unpack(view, *stored.packed));
  }
  return std::move(stored.record);
}

Result<void> hold_base(Batch& batch, const VerdictBase& base) {
  const std::string key = references_key(base.id());
  GH_TRY(const auto before, batch.read(key));
  if (!before) batch.put(base_key(base.id()), base.value());
  batch.put_late(key, layout::number64((before ? layout::read_number64(*before) : 0) + 1));
  return {};
}

Result<void> release_base(Batch& batch, const Digest& id) {
  const std::string key = references_key(id);
  GH_TRY(const auto before, batch.read(key));
  const std::uint64_t left = before ? layout::read_number64(*before) : 0;
  if (left > 1) {
    batch.put_late(key, layout::number64(left - 1));
    return {};
  }
  batch.erase_late(key);
  batch.erase(base_key(id));
  return {};
}

Result<bool> has_base(const StoreView& view, const Digest& id) {
  GH_TRY(const auto value, view.read(base_key(id)));
  return value && VerdictBase::read(*value, id);
}

}  // namespace gatehouse::server
