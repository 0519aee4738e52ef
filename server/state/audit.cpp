#include "server/state/audit.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <map>
#include <set>

#include "base/base64.h"
#include "base/hex.h"
#include "base/merkle.h"
#include "server/state/codec.h"
#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

constexpr std::string_view document = "docs/formats/audit.md";
// Leaves that retention replaces by their root once none of their sessions is left: 2^12.
constexpr unsigned block_level = 12;
constexpr std::uint64_t block_size = std::uint64_t(1) << block_level;
constexpr std::size_t max_problems = 100;
constexpr std::string_view first_line = "gatehouse audit checkpoint 1";

enum class Kind : std::uint8_t { result, restore };

// The log so far.
struct Head {
  std::string log;
  std::int64_t since = 0;
  std::uint64_t before = 0;  // records from before there was a log, as far as they are left; `uncounted`: nobody knows
  MerkleTree tree;
};
constexpr std::uint64_t uncounted = UINT64_MAX;
struct Entry {
  Digest leaf;
  Kind kind = Kind::result;
  std::string text;  // of a result its session, empty once that was retired; of a restore its time
};

constexpr std::string_view head_key = "M";
std::string entry_prefix() { return "m"; }
std::string entry_key(std::uint64_t index) { return "m" + layout::number64(index); }
// Of sessions that ended before format 7; since then their row by age has it.
std::string old_place_key(std::string_view session) { return "y" + std::string(session); }
std::string live_key(std::uint64_t block) { return "Y" + layout::number64(block); }
std::string block_key(std::uint64_t block) { return "P" + layout::number64(block); }

Result<Digest> get_digest(Reader& r) {
  GH_TRY(const Bytes bytes, r.take(digest_size(HashAlgorithm::sha256)));
  return Digest(bytes);
}

std::string encode(const Head& head) {
  Writer w;
  w.put(layout::layout_version);
  layout::put_text(w, head.log);
  w.put(std::uint64_t(head.since));
  w.put(head.before);
  w.put(head.tree.size());
  for (const Digest& peak : head.tree.peaks()) w.put_bytes(peak.view());
  return layout::taken(std::move(w));
}
Result<Head> decode_head(std::string_view value) {
  Reader r(as_bytes(value), document);
  Head out;
  GH_CHECK(layout::get_version(r));
  GH_TRY(out.log, layout::get_text(r));
  GH_TRY(out.since, layout::get_time(r));
  // The first heads of format 4 have no such count. Behind it are eight bytes and a whole number of digests.
  if (r.remaining() % digest_size(HashAlgorithm::sha256) == 8) {
    out.before = uncounted;
  } else {
    GH_TRY(out.before, r.get<std::uint64_t>());
  }
  GH_TRY(const auto size, r.get<std::uint64_t>());
  std::vector<Digest> peaks;
  for (int i = std::popcount(size); i > 0; --i) {
    GH_TRY(const Digest peak, get_digest(r));
    peaks.push_back(peak);
  }
  GH_CHECK(r.finish());
  GH_TRY(out.tree, MerkleTree::from_peaks(size, std::move(peaks)));
  return out;
}

std::string encode(const Entry& entry) {
  Writer w;
  w.put(layout::layout_version);
  w.put_bytes(entry.leaf.view());
  w.put(std::uint8_t(entry.kind));
  layout::put_text(w, entry.text);
  return layout::taken(std::move(w));
}
Result<Entry> decode_entry(std::string_view value) {
  Reader r(as_bytes(value), document);
  Entry out;
  GH_CHECK(layout::get_version(r));
  GH_TRY(out.leaf, get_digest(r));
  GH_TRY(out.kind, layout::get_enum(r, Kind::restore));
  GH_TRY(out.text, layout::get_text(r));
  GH_CHECK(r.finish());
  return out;
}

// What a leaf is the hash of: its kind and what it stands for.
Digest leaf_of(Kind kind, std::string_view content) {
  std::string text(kind == Kind::result ? "result\n" : "restore\n");
  return merkle_leaf(as_bytes(text.append(content)));
}

Result<Head> read_head(const StoreView& view) {
  GH_TRY(const auto value, view.read(head_key));
  if (!value) return fail(Fault::malformed, "the audit log has no head", document);
  return decode_head(*value);
}

Result<std::uint64_t> read_live(const StoreView& view, std::uint64_t block) {
  GH_TRY(const auto value, view.read(live_key(block)));
  if (!value) return std::uint64_t(0);
  if (value->size() != 8) return fail(Fault::malformed, "not a count of 8 bytes", document);
  return layout::read_number64(*value);
}

// A block of which nothing is left but its place in the tree.
Result<void> shrink(Batch& batch, std::uint64_t block) {
  MerkleTree tree;
  for (std::uint64_t index = block * block_size; index < (block + 1) * block_size; ++index) {
    GH_TRY(const auto value, batch.read(entry_key(index)));
    if (!value) return fail(Fault::malformed, "an entry of the audit log is missing", document, std::size_t(index));
    GH_TRY(const Entry entry, decode_entry(*value));
    if (entry.kind == Kind::restore) return {};  // it explains what is behind it
    tree.append(entry.leaf);
  }
  for (std::uint64_t index = block * block_size; index < (block + 1) * block_size; ++index) batch.erase(entry_key(index));
  batch.erase_late(live_key(block));
  batch.put(block_key(block), std::string(as_text(tree.root().view())));
  return {};
}

Result<std::uint64_t> append(Batch& batch, const Entry& entry) {
  GH_TRY(Head head, read_head(batch));
  const std::uint64_t index = head.tree.size(), block = index / block_size;
  GH_TRY(const std::uint64_t live, read_live(batch, block));
  head.tree.append(entry.leaf);
  batch.put(entry_key(index), encode(entry));
  const std::uint64_t now_live = live + (entry.kind == Kind::result ? 1 : 0);
  batch.put_late(live_key(block), layout::number64(now_live));
  batch.put_late(head_key, encode(head));
  if (head.tree.size() % block_size == 0 && now_live == 0) GH_CHECK(shrink(batch, block));
  return index;
}

// Whether a session that ended has one.
Result<bool> has_entry(const StoreView& view, std::string_view session, std::int64_t started) {
  for (const char session_class : layout::classes) {
    GH_TRY(const auto place, view.read(layout::age_key(session_class, started, session)));
    if (place && !place->empty()) return true;
  }
  GH_TRY(const auto place, view.read(old_place_key(session)));
  return place.has_value();
}

// Reads the whole log in its order, and holds it against records and checkpoints.
class Audit {
 public:
  Audit(const StoreView& view, std::vector<AuditCheckpoint> checkpoints) : view_(view) {
    for (AuditCheckpoint& one : checkpoints) by_size_.emplace(one.size, std::move(one));
  }

  Result<AuditReport> run() {
    GH_TRY(const Head head, read_head(view_));
    out_.head = {head.log, head.since, head.tree.size(), head.tree.root()};
    note_checkpoints();
    GH_CHECK(go_through(head));
    if (tree_.size() == head.tree.size() && tree_.root() != out_.head.root) trouble({"log", {}, {}, "the entries don't add up to the log's head"});
    GH_CHECK(look_for_added(head));
    for (auto at = by_size_.upper_bound(tree_.size()); at != by_size_.end(); ++at) disagree(at->second);
    for (const AuditRestore& restore : restores_) out_.restores.push_back(restore);
    return std::move(out_);
  }

  // After run(): what each restore has lost, and what isn't explained by one.
  void explain(AuditReport& report) const {
    for (const AuditCheckpoint& one : unlike_) {
      // The first restore after the checkpoint was made, at a place that it covers.
      const auto by = std::find_if(report.restores.begin(), report.restores.end(), [&](const AuditRestore& r) { return r.time >= one.time && r.entry < one.size; });
      if (by != report.restores.end()) {
        by->lost = std::max(by->lost, one.size - by->entry);
        continue;
      }
      ++report.problems_total;
      if (report.problems.size() < max_problems)
        report.problems.push_back({"checkpoint", one.size, {}, one.size > report.head.size ? "the log is shorter than at the checkpoint: entries were taken away"
                                                                                           : "the log isn't what it was at the checkpoint"});
    }
  }

 private:
  void trouble(AuditProblem problem) {
    ++out_.problems_total;
    if (out_.problems.size() < max_problems) out_.problems.push_back(std::move(problem));
  }

  void note_checkpoints() {
    for (auto at = by_size_.begin(); at != by_size_.end();) {
      if (at->second.log == out_.head.log) {
        ++at;
        continue;
      }
      trouble({"checkpoint", {}, {}, "a checkpoint of another log, " + at->second.log});
      at = by_size_.erase(at);
    }
    hold_against_checkpoints();  // of size 0
  }

  // A checkpoint that the log contradicts: of what a restore has lost, or a proof that the log isn't what it was.
  void disagree(const AuditCheckpoint& checkpoint) { unlike_.push_back(checkpoint); }

  void hold_against_checkpoints() {
    const auto [first, last] = by_size_.equal_range(tree_.size());
    if (first == last) return;
    const Digest root = tree_.root();
    for (auto at = first; at != last; ++at)
      if (at->second.root == root)
        ++out_.checkpoints;
      else
        disagree(at->second);
  }

  Result<void> go_through(const Head& head) {
    while (tree_.size() < head.tree.size()) {
      const std::uint64_t index = tree_.size();
      if (index % block_size == 0) {
        GH_TRY(const auto whole, view_.read(block_key(index / block_size)));
        if (whole) {
          if (whole->size() != digest_size(HashAlgorithm::sha256)) return fail(Fault::malformed, "not a digest", document, std::size_t(index));
          tree_.append_subtree(block_level, Digest(as_bytes(*whole)));
          out_.retired += block_size;
          for (auto at = by_size_.upper_bound(index); at != by_size_.lower_bound(tree_.size()); ++at) ++out_.unproved;
          hold_against_checkpoints();
          continue;
        }
      }
      GH_CHECK(read_entries(index, std::min(head.tree.size(), (index / block_size + 1) * block_size)));
    }
    return {};
  }

  // Those of one block.
  Result<void> read_entries(std::uint64_t from, std::uint64_t to) {
    Result<void> good{};
    GH_CHECK(view_.each(entry_prefix(), entry_key(from), [&](std::string_view key, std::string_view value) {
      const std::uint64_t index = layout::read_number64(key.substr(1));
      if (index != tree_.size()) return false;  // one is missing
      good = take(index, value);
      return good && tree_.size() < to;
    }));
    GH_CHECK(good);
    if (tree_.size() == to) return {};
    return fail(Error{Fault::malformed, "an entry of the audit log is missing", document, std::size_t(tree_.size()), {}, {}});
  }

  Result<void> take(std::uint64_t index, std::string_view value) {
    GH_TRY(const Entry entry, decode_entry(value));
    if (entry.kind == Kind::restore) {
      std::int64_t time = 0;
      std::from_chars(entry.text.data(), entry.text.data() + entry.text.size(), time);
      if (leaf_of(Kind::restore, entry.text) != entry.leaf) trouble({"changed", index, {}, "the entry of a restore isn't what was logged"});
      restores_.push_back({index, time, 0});
    } else if (entry.text.empty()) {
      ++out_.retired;
    } else {
      GH_TRY(const auto record, view_.read(layout::session_key(entry.text)));
      if (!record)
        trouble({"removed", index, entry.text, "the session's record is gone"});
      else if (leaf_of(Kind::result, *record) != entry.leaf)
        trouble({"changed", index, entry.text, "the session's record isn't what was logged"});
      else
        GH_CHECK(look_for_base(index, entry.text, *record));
    }
    tree_.append(entry.leaf);
    hold_against_checkpoints();
    return {};
  }

  // What the record's verdict is kept against: its digest is part of the record.
  Result<void> look_for_base(std::uint64_t index, const std::string& session, std::string_view record) {
    const auto stored = layout::decode_stored_session(record);
    const auto base = stored && stored->packed ? Verdicts::base_of(*stored->packed) : std::nullopt;
    if (base && !whole_bases_.contains(*base)) {
      GH_TRY(const bool whole, has_base(view_, *base));
      if (!whole) {
        trouble({"changed", index, session, "what the session's verdict is kept against isn't what was logged"});
        return {};
      }
      whole_bases_.insert(*base);
    }
    ++out_.records;
    return {};
  }

  // Records that no entry stands for, and the checkpoints that nothing explains.
  Result<void> look_for_added(const Head& head) {
    Result<void> good{};
    std::uint64_t without = 0;
    const std::string prefix = layout::session_key("");
    GH_CHECK(view_.each(prefix, prefix, [&](std::string_view key, std::string_view value) {
      good = [&]() -> Result<void> {
        GH_TRY(const layout::StoredSession stored, layout::decode_stored_session(value));
        const SessionRecord& record = stored.record;
        GH_TRY(const bool logged, has_entry(view_, key.substr(1), record.intent.started));
        if (logged) return {};
        const std::int64_t ended = record.state == SessionState::complete ? record.finished : record.intent.started;
        if (ended >= head.since)
          trouble({"added", {}, std::string(key.substr(1)), "the session's record has no entry"});
        else
          ++without;
        return {};
      }();
      return good.has_value();
    }));
    GH_CHECK(good);
    if (without > head.before)
      trouble({"added", {}, {}, "more records claim to be from before the log than there were"});
    return {};
  }

  const StoreView& view_;
  std::multimap<std::uint64_t, AuditCheckpoint> by_size_;
  MerkleTree tree_;
  std::set<Digest> whole_bases_;
  std::vector<AuditRestore> restores_;
  std::vector<AuditCheckpoint> unlike_;
  AuditReport out_;
};

std::string unsigned_text(const AuditCheckpoint& c) {
  return std::string(first_line) + "\nlog " + c.log + "\nsize " + std::to_string(c.size) + "\nroot " + c.root.hex() + "\ntime " + std::to_string(c.time) + "\n";
}

}  // namespace

std::string checkpoint_text(const AuditHead& head, std::int64_t time, const SigningKey& key) {
  const std::string text = unsigned_text({head.log, head.size, head.root, time});
  return text + "signature " + to_base64(key.sign(as_bytes(text))) + "\n";
}

Result<std::vector<AuditCheckpoint>> read_checkpoints(std::string_view text, const VerifyingKey& key) {
  std::vector<AuditCheckpoint> out;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    const auto bad = [&](std::string_view why) { return fail(Fault::malformed, why, document, at); };
    // The rest of a line that begins with `name`.
    const auto line = [&](std::string_view name) -> std::optional<std::string_view> {
      const std::size_t stop = text.find('\n', end);
      if (stop == std::string_view::npos) return std::nullopt;
      const std::string_view whole = text.substr(end, stop - end);
      if (!whole.starts_with(name)) return std::nullopt;
      end = stop + 1;
      return whole.substr(name.size());
    };
    const auto number = [](std::optional<std::string_view> digits) -> std::optional<std::uint64_t> {
      std::uint64_t value = 0;
      if (!digits || digits->empty()) return std::nullopt;
      const auto [stop, error] = std::from_chars(digits->data(), digits->data() + digits->size(), value);
      if (error != std::errc() || stop != digits->data() + digits->size() || value > std::uint64_t(INT64_MAX)) return std::nullopt;
      return value;
    };
    const auto first = line(first_line);
    if (!first || !first->empty()) return bad("not a checkpoint of an audit log");
    const auto log = line("log ");
    const auto size = number(line("size "));
    const auto root = line("root ");
    const auto time = number(line("time "));
    const std::size_t signed_end = end;
    const auto signature = line("signature ");
    const auto digest = root ? from_hex(*root) : Result<ByteVector>(ByteVector());
    if (!log || log->size() != 32 || !size || !time || !signature || !digest || digest->size() != digest_size(HashAlgorithm::sha256))
      return bad("a checkpoint without log, size, root, time or signature, or cut short");
    const auto bytes = from_base64(*signature);
    if (!bytes || !key.verify(as_bytes(text.substr(at, signed_end - at)), *bytes))
      return fail(Fault::denied, "the checkpoint's signature isn't of this key", document, at);
    out.push_back({std::string(*log), *size, Digest(*digest), std::int64_t(*time)});
    at = end;
  }
  return out;
}

Result<void> State::Impl::begin_log(Batch& batch) {
  GH_TRY(const auto there, batch.read(head_key));
  if (there) return {};
  Head head;
  std::array<std::byte, 16> random{};
  fill_random(random);
  head.log = to_hex(random);
  head.since = now();
  const std::string prefix = layout::session_key("");
  GH_CHECK(batch.each(prefix, prefix, [&](auto, std::string_view value) {
    // Those that are open get an entry when they end.
    if (const auto stored = layout::decode_stored_session(value); stored && stored->record.state != SessionState::open) ++head.before;
    return true;
  }));
  batch.put_late(head_key, encode(head));
  return {};
}

Result<std::uint64_t> State::Impl::log_result(Batch& batch, const std::string& session, std::string_view record) {
  return append(batch, {leaf_of(Kind::result, record), Kind::result, session});
}

Result<void> State::Impl::log_retirement(Batch& batch, const std::string& session, std::string_view place) {
  std::string index_of_it(place);
  if (place.empty()) {
    GH_TRY(const auto before, batch.read(old_place_key(session)));
    if (before) {
      index_of_it = *before;
      batch.erase(old_place_key(session));
    }
  }
  if (index_of_it.empty()) {  // from before there was a log
    GH_TRY(Head head, read_head(batch));
    if (head.before == 0 || head.before == uncounted) return {};
    --head.before;
    batch.put_late(head_key, encode(head));
    return {};
  }
  if (index_of_it.size() != 8) return fail(Fault::malformed, "not the number of an entry", document);
  const std::uint64_t index = layout::read_number64(index_of_it), block = index / block_size;
  GH_TRY(const auto value, batch.read(entry_key(index)));
  if (!value) return fail(Fault::malformed, "an entry of the audit log is missing", document, std::size_t(index));
  GH_TRY(Entry entry, decode_entry(*value));
  entry.text.clear();
  batch.put(entry_key(index), encode(entry));
  GH_TRY(const std::uint64_t live, read_live(batch, block));
  batch.put_late(live_key(block), layout::number64(live == 0 ? 0 : live - 1));
  GH_TRY(const Head head, read_head(batch));
  if (live <= 1 && head.tree.size() >= (block + 1) * block_size) return shrink(batch, block);
  return {};
}

Result<AuditHead> State::audit_head() const {
  const Moment moment(*impl_->store);
  GH_TRY(const Head head, read_head(moment.view));
  return AuditHead{head.log, head.since, head.tree.size(), head.tree.root()};
}

Result<AuditResults> State::audit_results(std::uint64_t from, std::size_t most) const {
  const Moment moment(*impl_->store);
  GH_TRY(const Head head, read_head(moment.view));
  AuditResults out{.log = head.log, .size = head.tree.size(), .results = {}, .next = head.tree.size()};
  Result<void> good{};
  std::size_t seen = 0;
  GH_CHECK(moment.view.each(entry_prefix(), entry_key(from), [&](std::string_view key, std::string_view value) {
    const std::uint64_t index = layout::read_number64(key.substr(1));
    if (seen++ == most) {
      out.next = index;
      return false;
    }
    auto entry = decode_entry(value);
    if (!entry) good = fail(std::move(entry).error());
    else if (entry->kind == Kind::result && !entry->text.empty()) out.results.push_back({index, std::move(entry->text)});
    return good.has_value();
  }));
  GH_CHECK(good);
  return out;
}

Result<AuditReport> State::audit(std::vector<AuditCheckpoint> checkpoints) const {
  const Moment moment(*impl_->store);
  Audit audit(moment.view, std::move(checkpoints));
  GH_TRY(AuditReport report, audit.run());
  audit.explain(report);
  report.open = impl_->open_sessions.count();
  return report;
}

Result<void> State::note_restore_blocking() {
  return impl_->store->submit_blocking([this](Batch& batch) -> Result<void> {
    const std::string time = std::to_string(impl_->now());
    GH_CHECK(append(batch, {leaf_of(Kind::restore, time), Kind::restore, time}));
    return {};
  });
}

}  // namespace gatehouse::server
