// What is kept of sessions' evidence. Pieces are counted by the sessions that have them; the last one takes them along.
#include <algorithm>

#include "server/state/codec.h"
#include "server/state/impl.h"
#include "server/state/pieces.h"

namespace gatehouse::server {
namespace {

// In one write, beside what it is for: the next write goes on.
constexpr int most_at_once = 4, most_in_a_sweep = 64;

struct Head {
  std::int64_t started = 0;
  std::vector<Digest> pieces;  // by place
  std::string_view content;    // compressed, in the value
};

std::string head_value(std::int64_t started, const PackedEvidence& evidence) {
  Writer w;
  w.put(layout::layout_version);
  w.put(std::uint64_t(started));
  w.put(std::uint32_t(evidence.order.size()));
  for (const Digest& id : evidence.order) w.put_bytes(id.view());
  w.put_text(evidence.head);
  return layout::taken(std::move(w));
}

Result<Head> read_head(std::string_view value) {
  constexpr std::size_t size = 32;
  Reader r(as_bytes(value), layout::document);
  Head out;
  GH_CHECK(layout::get_version(r));
  GH_TRY(out.started, layout::get_time(r));
  GH_TRY(const auto count, r.get<std::uint32_t>());
  if (count > r.remaining() / size) return r.fail("truncated");
  out.pieces.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    GH_TRY(const Bytes id, r.take(size));
    out.pieces.emplace_back(id);
  }
  out.content = as_text(r.rest());
  return out;
}

struct Count {
  std::uint64_t sessions = 0;
  std::uint64_t bytes = 0;  // as stored
};
std::string count_value(const Count& count) {
  Writer w;
  w.put(count.sessions);
  w.put(count.bytes);
  return layout::taken(std::move(w));
}
Result<Count> read_count(std::string_view value) {
  Reader r(as_bytes(value), layout::document);
  Count out;
  GH_TRY(out.sessions, r.get<std::uint64_t>());
  GH_TRY(out.bytes, r.get<std::uint64_t>());
  GH_CHECK(r.finish());
  return out;
}

void put_totals(Batch& batch) {
  const EvidenceTotals& t = batch.tallies.evidence;
  Writer w;
  w.put(t.sessions);
  w.put(t.pieces);
  w.put(t.bytes);
  batch.put(layout::evidence_totals_key, layout::taken(std::move(w)));
}

}  // namespace

Result<EvidenceTotals> read_evidence_totals(const StoreView& view) {
  GH_TRY(const auto value, view.read(layout::evidence_totals_key));
  if (!value) return EvidenceTotals{};
  Reader r(as_bytes(*value), layout::document);
  EvidenceTotals out;
  GH_TRY(out.sessions, r.get<std::uint64_t>());
  GH_TRY(out.pieces, r.get<std::uint64_t>());
  GH_TRY(out.bytes, r.get<std::uint64_t>());
  GH_CHECK(r.finish());
  return out;
}

Result<void> State::Impl::keep_evidence(Batch& batch, const SessionIntent& intent, const PackedEvidence& evidence) {
  const std::string key = layout::evidence_key(intent.session);
  EvidenceTotals& totals = batch.tallies.evidence;
  for (const PackedEvidence::Piece& piece : evidence.pieces) {
    const std::string count_key = layout::piece_count_key(piece.id);
    GH_TRY(const auto known, batch.read(count_key));
    Count count;
    if (known) {
      GH_TRY(count, read_count(*known));
    } else {
      // Another session's, that was retired meanwhile, where it was there before.
      const std::string value = !piece.stored.empty() ? piece.stored : compressed(evidence.record->pieces[piece.place]);
      batch.put(layout::piece_key(piece.id), value);
      count.bytes = value.size();
      ++totals.pieces;
      totals.bytes += count.bytes;
    }
    ++count.sessions;
    batch.put(count_key, count_value(count));
  }
  const std::string head = head_value(intent.started, evidence);
  batch.put(key, head);
  batch.put(layout::evidence_age_key(intent.started, intent.session), {});
  ++totals.sessions;
  totals.bytes += head.size();
  put_totals(batch);
  GH_CHECK(retire_evidence(batch, most_at_once));
  return {};
}

Result<void> State::Impl::forget_evidence(Batch& batch, std::string_view session) {
  const std::string key = layout::evidence_key(session);
  GH_TRY(const auto value, batch.read(key));
  if (!value) return {};
  GH_TRY(Head head, read_head(*value));
  EvidenceTotals& totals = batch.tallies.evidence;
  std::sort(head.pieces.begin(), head.pieces.end());
  head.pieces.erase(std::unique(head.pieces.begin(), head.pieces.end()), head.pieces.end());
  for (const Digest& id : head.pieces) {
    const std::string count_key = layout::piece_count_key(id);
    GH_TRY(const auto known, batch.read(count_key));
    if (!known) continue;
    GH_TRY(Count count, read_count(*known));
    if (--count.sessions != 0) {
      batch.put(count_key, count_value(count));
      continue;
    }
    batch.erase(count_key);
    batch.erase(layout::piece_key(id));
    totals.pieces -= std::min<std::uint64_t>(totals.pieces, 1);
    totals.bytes -= std::min(totals.bytes, count.bytes);
  }
  batch.erase(key);
  batch.erase(layout::evidence_age_key(head.started, session));
  totals.sessions -= std::min<std::uint64_t>(totals.sessions, 1);
  totals.bytes -= std::min<std::uint64_t>(totals.bytes, value->size());
  put_totals(batch);
  return {};
}

// The oldest go: beyond the size, and beyond the age.
Result<bool> State::Impl::retire_evidence(Batch& batch, int most) {
  const std::string prefix(1, layout::evidence_age_letter);
  const std::int64_t oldest_kept = options.max_evidence_age.count() == 0 ? INT64_MIN : now() - options.max_evidence_age.count();
  for (int round = 0; round < most; ++round) {
    std::string found;
    const Visit first = [&](std::string_view key, auto) { return found = key, false; };
    // As for sessions: from where the last one went.
    GH_CHECK(batch.each(prefix, oldest_evidence, first));
    if (found.empty() && !oldest_evidence.empty()) {
      oldest_evidence.clear();
      GH_CHECK(batch.each(prefix, prefix, first));
    }
    if (found.size() < 9) return false;
    const auto started = std::int64_t(layout::read_number64(found.substr(1, 8)));
    if (batch.tallies.evidence.bytes <= options.max_evidence_bytes && started >= oldest_kept) return false;
    GH_CHECK(forget_evidence(batch, found.substr(9)));
    oldest_evidence = found;
  }
  return true;
}

void State::retire_old() {
  impl_->store->submit(
      [this, first = true](Batch& batch) mutable -> Result<void> {
        // From the beginning: a session that began before the place where retention goes on may have ended behind it.
        if (std::exchange(first, false)) impl_->oldest_evidence.clear();
        GH_TRY(bool more, impl_->retire_evidence(batch, most_in_a_sweep));
        if (!more) {
          GH_TRY(more, impl_->retire_aged(batch, most_in_a_sweep));
        }
        if (more) batch.call_again();
        return {};
      },
      [](Result<void>) {});
}

Result<std::optional<EvidenceRecord>> State::evidence(std::string_view session) const {
  const Moment moment(*impl_->store);
  GH_TRY(const auto value, moment.view.read(layout::evidence_key(session)));
  if (!value) return std::nullopt;
  GH_TRY(const Head head, read_head(*value));
  EvidenceRecord out;
  GH_TRY(out.head, decompressed(head.content, max_evidence_head));
  for (const Digest& id : head.pieces) {
    GH_TRY(const auto piece, moment.view.read(layout::piece_key(id)));
    if (!piece) return fail(Fault::environment, "a piece of a session's evidence is missing", layout::document);
    GH_TRY(ByteVector content, decompressed(*piece, max_evidence_piece));
    if (digest_of(HashAlgorithm::sha256, content) != id)
      return fail(Fault::environment, "a piece of a session's evidence is damaged", layout::document);
    out.pieces.push_back(std::move(content));
  }
  return out;
}

Result<bool> State::has_evidence(std::string_view session) const {
  GH_TRY(const auto value, impl_->store->view().read(layout::evidence_key(session)));
  return value.has_value();
}

Result<EvidenceTotals> State::evidence_totals() const { return read_evidence_totals(impl_->store->view()); }

// --- what a shadow policy said

void State::note_shadow(std::string session, std::string text, Completion completion) {
  impl_->store->submit(
      [session = std::move(session), text = std::move(text)](Batch& batch) -> Result<void> {
        GH_TRY(const auto record, batch.read(layout::session_key(session)));
        if (!record) return fail(Fault::denied, "no such session");
        batch.put(layout::shadow_key(session), text);
        return {};
      },
      std::move(completion), 0, Store::Safety::process);
}

Result<std::optional<std::string>> State::shadow(std::string_view session) const {
  return impl_->store->view().read(layout::shadow_key(session));
}

}  // namespace gatehouse::server
