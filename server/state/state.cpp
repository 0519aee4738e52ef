#include "server/state/state.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <future>
#include <numeric>

#include "base/file.h"
#include "base/hex.h"
#include "server/state/impl.h"
#include "server/state/pieces.h"

namespace gatehouse::server {
namespace {

constexpr std::string_view format_text = "gatehouse-state ";
constexpr std::size_t page_bytes = std::size_t(4) << 20;

// That are read.
constexpr auto formats = [] {
  std::array<unsigned, state_format - oldest_state_format + 1> out{};
  std::iota(out.begin(), out.end(), oldest_state_format);
  return out;
}();
std::string format_line(unsigned format) { return std::string(format_text) + std::to_string(format) + "\n"; }

bool exists(const std::string& path) {
  std::error_code code;
  return std::filesystem::exists(path, code);
}

std::int64_t system_now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// Of a store whose format has no such row.
Result<Tallies> count_all(const StoreView& view) {
  Tallies out;
  GH_CHECK(view.each("d", "d", [&](auto, std::string_view value) {
    const auto device = layout::decode_device(value);
    if (!device || !device->device.enrolled) ++out.pending_devices;
    return true;
  }));
  for (const char session_class : layout::classes) {
    const std::string prefix = layout::age_prefix(session_class);
    std::uint64_t& n = session_class == layout::class_enrolled ? out.enrolled_sessions : out.other_sessions;
    GH_CHECK(view.each(prefix, prefix, [&](auto, auto) { return ++n, true; }));
  }
  return out;
}

// Runs a change that has a value and waits until it is on disk.
template <class T, class F>
Result<T> changed(Store& store, F&& change) {
  Result<T> value = fail(Fault::internal, "state change didn't run");
  const Result<void> done = store.submit_blocking([&](Batch& batch) -> Result<void> {
    value = change(batch);
    if (!value) return fail(value.error());
    return {};
  });
  if (!done) return fail(done.error());
  return value;
}

}  // namespace

std::string_view name(KeyState state) {
  switch (state) {
    case KeyState::pending: return "pending";
    case KeyState::trusted: return "trusted";
    case KeyState::revoked: return "revoked";
  }
  return "unknown";
}
std::string_view name(KeySource source) {
  switch (source) {
    case KeySource::operator_command: return "operator";
    case KeySource::import: return "import";
    case KeySource::session: return "session";
    case KeySource::activation: return "activation";
  }
  return "unknown";
}
std::string_view name(KeyStanding standing) {
  switch (standing) {
    case KeyStanding::trusted: return "trusted";
    case KeyStanding::pending: return "pending";
    case KeyStanding::revoked: return "revoked";
    case KeyStanding::unknown: return "unknown";
    case KeyStanding::other_device: return "other-device";
    case KeyStanding::barred: return "barred";
  }
  return "unknown";
}
std::string_view name(BaselineState state) {
  switch (state) {
    case BaselineState::candidate: return "candidate";
    case BaselineState::approved: return "approved";
    case BaselineState::retired: return "retired";
  }
  return "unknown";
}
std::string_view name(SessionState state) {
  switch (state) {
    case SessionState::open: return "open";
    case SessionState::interrupted: return "interrupted";
    case SessionState::complete: return "complete";
  }
  return "unknown";
}

std::string session_id(std::int64_t started_ms, Bytes eight_random_bytes) {
  const std::time_t seconds = started_ms / 1000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[32];
  const std::size_t size = std::strftime(text, sizeof text, "%Y%m%dT%H%M%S", &utc);
  std::string millis = std::to_string(started_ms % 1000);
  millis.insert(0, 3 - std::min<std::size_t>(3, millis.size()), '0');
  return std::string(text, size) + "." + millis + "-" + to_hex(eight_random_bytes);
}

// --- opening

State::State(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
State::~State() = default;

Result<std::unique_ptr<State>> State::open(StateOptions options) {
  if (!options.now) options.now = system_now;
  const std::string path = options.path;
  const bool present = exists(path + "/format") || exists(path + "/db/CURRENT");
  if (!present && !options.create)
    return fail(Error{Fault::environment, "no state store in this directory", {}, 0, path, {}});
  if (!exists(path)) {
    std::error_code code;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), code);
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("can't make the directory", path);
  }
  GH_TRY(DirectoryLock lock, DirectoryLock::take(path, options.lock_wait));
  auto impl = std::make_unique<Impl>(std::move(options), std::move(lock));
  const auto opened = [&]() -> Result<void> {
    // Under the lock: another process may have made the store meanwhile.
    const bool fresh = !exists(path + "/format") && !exists(path + "/db/CURRENT");
    GH_CHECK(impl->check_format(fresh));
    // RocksDB makes its files readable for all; their folder isn't.
    if (fresh && ::mkdir((path + "/db").c_str(), 0700) != 0 && errno != EEXIST)
      return fail_errno("can't make the directory", path + "/db");
    GH_TRY(impl->store, Store::open(path + "/db", fresh, impl->options));
    GH_CHECK(impl->begin_life());
    return {};
  }();
  if (!opened) return fail(Error(opened.error()).from(path));
  return std::unique_ptr<State>(new State(std::move(impl)));
}

Result<void> State::Impl::check_format(bool fresh) {
  const std::string file = options.path + "/format";
  if (fresh || !exists(file)) return {};  // made here, or judged by the key in the database
  GH_TRY(const ByteVector content, read_file(file, 64));
  const std::string_view text = as_text(content);
  if (std::none_of(formats.begin(), formats.end(), [&](unsigned format) { return text == format_line(format); }))
    return fail(Error{Fault::environment, "state format isn't one that this version reads", "docs/formats/state.md", 0,
                      file, "it says \"" + escaped(text.substr(0, text.find('\n')), 40) + "\", this version reads " +
                                std::string(format_text) + std::to_string(state_format) + " and takes over those from " +
                                std::to_string(oldest_state_format) + " on"});
  if (!exists(options.path + "/db/CURRENT"))
    return fail(Error{Fault::environment, "the state's database is missing", "docs/formats/state.md", 0,
                      options.path + "/db", {}});
  return {};
}

// Checks or writes the format, closes the books on sessions of a process that is gone, counts, starts writing.
Result<void> State::Impl::begin_life() {
  std::optional<StoreView> reading(store->view());
  const StoreView& view = *reading;
  GH_TRY(const auto format, view.read(layout::format_key));
  bool empty = true;
  if (!format) GH_CHECK(view.each("", "", [&](auto, auto) { return empty = false; }));
  const bool ours = format == layout::number32(state_format);
  const bool known = format && std::any_of(formats.begin(), formats.end(), [&](unsigned n) { return *format == layout::number32(n); });
  if (format ? !known : !empty)
    return fail(Error{Fault::environment, "state format isn't one that this version reads", "docs/formats/state.md", 0,
                      {}, format ? "the database has another number" : "the database has no number"});

  Tallies tallies;
  GH_TRY(const auto counted, view.read(layout::tallies_key));
  if (counted) {
    GH_TRY(tallies, layout::decode_tallies(*counted));
  } else if (format) {
    GH_TRY(tallies, count_all(view));
  }
  GH_TRY(tallies.evidence, read_evidence_totals(view));
  Rows left_open;  // sessions and their records; empty: of a format before 7, which has it where those lie that ended
  GH_TRY(const auto begun_before, OpenFile::read(open_path()));
  for (const std::string& record : begun_before) {
    GH_TRY(const layout::StoredSession stored, layout::decode_stored_session(record));
    left_open.emplace(stored.record.intent.session, record);
  }
  GH_CHECK(view.each("o", "o", [&](std::string_view key, std::string_view value) {
    left_open.emplace(key.substr(1), value);
    return true;
  }));
  std::vector<std::pair<std::string, layout::StagingValue>> left;
  Result<void> read{};
  GH_CHECK(view.each("w", "w", [&](std::string_view key, std::string_view value) {
    auto one = layout::decode_staging(value);
    if (!one) read = fail(std::move(one).error());
    if (one) left.emplace_back(key, *std::move(one));
    return read.has_value();
  }));
  GH_CHECK(read);
  GH_TRY(const auto last_number, view.read(layout::counter_key));
  if (last_number) numbers = layout::read_number64(*last_number);
  reading.reset();
  store->start(tallies);

  if (format && !ours) GH_CHECK(take_over());
  if (!ours || !left_open.empty() || !left.empty()) {
    const auto begun = store->submit_blocking([&](Batch& batch) -> Result<void> {
      batch.put(layout::format_key, layout::number32(state_format));
      for (const char letter : {layout::old_results_letter, layout::old_failing_letter, layout::old_times_letter})
        if (!ours) batch.erase_range(std::string(1, letter), std::string(1, char(letter + 1)));
      GH_CHECK(begin_log(batch));
      for (const auto& [key, value] : left) {
        erase_staged(batch, value);
        batch.erase(key);
      }
      for (const auto& [id, value] : left_open) {
        batch.erase(layout::open_key(id));
        GH_TRY(const auto ended, batch.read(layout::session_key(id)));
        const std::string& row = ended ? *ended : *value;
        if (row.empty()) continue;
        GH_TRY(layout::StoredSession stored, layout::decode_stored_session(row));
        SessionRecord& record = stored.record;
        if (record.state != SessionState::open) continue;
        record.state = SessionState::interrupted;
        GH_CHECK(put_ended(batch, layout::class_other, record.intent, layout::encode(record)));
      }
      return {};
    });
    GH_CHECK(begun);
  }
  // Now that the database has them.
  GH_CHECK(open_file.begin(open_path()));
  // After the number in the database: a store that says an older one here and has the other number is taken over once more.
  const std::string file = options.path + "/format", text = format_line(state_format);
  const auto said = read_file(file, 64);
  if (!said || as_text(*said) != text) GH_CHECK(write_file_atomically(file, as_bytes(text), 0600));
  return {};
}

Result<BackupReport> State::backup(const std::string& folder) const {
  if (folder.empty() || folder.front() != '/') return fail(Error{Fault::usage, "a backup's folder is an absolute path", {}, 0, folder, {}});
  if (::mkdir(folder.c_str(), 0700) != 0) return fail_errno("the backup's folder can't be made", folder);
  auto made = [&]() -> Result<BackupReport> {
    // Before the database: a session that ends meanwhile has its result there.
    GH_TRY(const ByteVector open, OpenFile::copy_of(impl_->open_path()));
    GH_CHECK(write_file_atomically(folder + "/open", open, 0600));
    GH_CHECK(impl_->store->copy_to(folder + "/db"));
    GH_CHECK(write_file_atomically(folder + "/format", as_bytes(format_line(state_format)), 0600));
    return seal_backup(folder);
  }();
  if (made) return made;
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return made;
}

Result<void> State::announce_socket(const std::string& path) {
  std::error_code code;
  const auto absolute = std::filesystem::absolute(path, code);
  return impl_->lock.describe(code ? path : absolute.string());
}
std::size_t State::writes_waiting() const { return impl_->store->waiting(); }
const std::string& State::path() const { return impl_->options.path; }

// --- reading

Result<std::shared_ptr<const layout::DeviceValue>> look_up_device(const StoreView& view, std::string_view id) {
  GH_TRY(const RowPtr row, view.look_up(layout::device_key(id)));
  if (!row->text()) return nullptr;
  return row->decoded<layout::DeviceValue>(layout::decode_device);
}

Result<std::optional<layout::DeviceValue>> read_device(const StoreView& view, std::string_view id) {
  GH_TRY(const auto device, look_up_device(view, id));
  if (!device) return std::nullopt;
  return *device;
}

Result<std::vector<StoredBaseline>> read_baselines(const StoreView& view, std::string_view device) {
  const std::string prefix = layout::baseline_prefix(device);
  std::vector<StoredBaseline> out;
  Result<void> read{};
  GH_CHECK(view.each(prefix, prefix, [&](std::string_view key, std::string_view value) {
    auto one = layout::decode_baseline(value, layout::read_number64(key.substr(prefix.size())));
    if (!one) {
      read = fail(std::move(one).error());
      return false;
    }
    out.push_back(*std::move(one));
    return true;
  }));
  GH_CHECK(read);
  return out;
}

Result<KeyJudgement> judge(const StoreView& view, std::string_view device, const PublicKey& key) {
  std::shared_ptr<const layout::DeviceValue> itself;
  if (!device.empty()) {
    GH_TRY(itself, look_up_device(view, device));
  }
  return judge(view, device, itself.get(), key);
}

Result<KeyJudgement> judge(const StoreView& view, std::string_view device, const layout::DeviceValue* itself, const PublicKey& key) {
  KeyJudgement out;
  // Every device for which a key with this key id is recorded: mostly this one alone, then nothing is searched.
  std::vector<std::string> holders;
  const std::string id = key.key_id();
  bool alone = itself != nullptr && std::any_of(itself->device.keys.begin(), itself->device.keys.end(), [&](const DeviceKey& k) { return k.key_id == id; });
  if (alone) {
    GH_TRY(const RowPtr shared, view.look_up(layout::shared_key(id)));
    alone = !shared->text();
  }
  if (alone) {
    holders.emplace_back(device);
  } else {
    const std::string prefix = layout::key_id_prefix(id);
    GH_CHECK(view.each(prefix, prefix, [&](std::string_view found, auto) {
      holders.emplace_back(found.substr(prefix.size()));
      return true;
    }));
  }
  GH_TRY(const RowPtr gone_pin, view.look_up(layout::revoked_pin_key(key.pin())));
  GH_TRY(const RowPtr gone_id, view.look_up(layout::revoked_id_key(key.key_id())));
  bool revoked = gone_pin->text() || gone_id->text();
  bool other_pin = false;
  for (const std::string& holder : holders) {
    std::shared_ptr<const layout::DeviceValue> another;
    if (holder != device) {
      GH_TRY(another, look_up_device(view, holder));
    }
    const layout::DeviceValue* const value = holder == device ? itself : another.get();
    if (value == nullptr) continue;
    for (const DeviceKey& recorded : value->device.keys) {
      if (recorded.key_id != key.key_id()) continue;
      const bool same = recorded.pin == key.pin();
      if (same || recorded.pin.empty()) {
        revoked = revoked || recorded.state == KeyState::revoked;
        if (holder == device)
          out.record = recorded;
        else if (recorded.state == KeyState::trusted)
          out.owner = holder;
      } else if (holder == device) {
        other_pin = true;
      }
    }
  }
  const DeviceState life = itself != nullptr ? itself->device.state : DeviceState::pending;
  if (revoked) {
    out.standing = KeyStanding::revoked;
    out.reason = "the AK was revoked";
  } else if (!out.owner.empty()) {
    out.standing = KeyStanding::other_device;
    out.reason = "the AK is enrolled for another device";
  } else if (bars(life)) {
    out.standing = KeyStanding::barred;
    out.reason = "the device is " + std::string(name(life));
  } else if (out.record && out.record->state == KeyState::trusted) {
    out.standing = KeyStanding::trusted;
    out.first_use = out.record->pin.empty();
  } else if (out.record) {
    out.standing = KeyStanding::pending;
    out.reason = "the AK isn't trusted yet";
  } else {
    out.standing = KeyStanding::unknown;
    out.reason = other_pin ? "the AK has a recorded key id and isn't the recorded key" : "the AK isn't known";
  }
  return out;
}

KeyJudgement State::judge_key(std::string_view device, const PublicKey& key) const {
  // Not of one moment: what is decided on meanwhile counts where the result is committed, which judges again.
  auto judgement = judge(impl_->store->view(), device, key);
  if (judgement) return *std::move(judgement);
  return {KeyStanding::unknown, "the AK can't be looked up: the state store failed", false, std::nullopt, {}};
}

Result<std::optional<Device>> State::device(std::string_view id) const {
  GH_TRY(const auto value, look_up_device(impl_->store->view(), id));
  if (!value) return std::nullopt;
  return value->device;
}

Result<std::vector<Device>> State::devices(std::string_view after, std::size_t most) const {
  std::vector<Device> out;
  Result<void> read{};
  // The first key greater than `after`.
  const std::string from = after.empty() ? "d" : layout::device_key(after) + '\0';
  GH_CHECK(impl_->store->view().each("d", from, [&](auto, std::string_view value) {
    if (out.size() == most) return false;
    auto device = layout::decode_device(value);
    if (!device) {
      read = fail(std::move(device).error());
      return false;
    }
    out.push_back(std::move(device->device));
    return true;
  }));
  GH_CHECK(read);
  return out;
}

Result<std::vector<StoredBaseline>> State::baselines(std::string_view device) const {
  return read_baselines(impl_->store->view(), device);
}

Result<void> each_baseline(const StoreView& view, const layout::DeviceValue& device,
                           const std::function<Result<void>(std::uint64_t number, std::string_view record)>& visit) {
  // Each session asks. Numbers are given in sequence and there are few: to ask for each costs a fraction of a search.
  constexpr std::uint64_t few = 8;
  if (device.next_baseline > few) {
    const std::string prefix = layout::baseline_prefix(device.device.id);
    Result<void> good{};
    GH_CHECK(view.each(prefix, prefix, [&](std::string_view key, std::string_view value) {
      good = visit(layout::read_number64(key.substr(prefix.size())), value);
      return good.has_value();
    }));
    return good;
  }
  for (std::uint64_t number = 1; number < device.next_baseline; ++number) {
    GH_TRY(const RowPtr one, view.look_up(layout::baseline_key(device.device.id, number)));
    if (one->text()) GH_CHECK(visit(number, *one->text()));
  }
  return {};
}

Result<std::vector<StoredBaseline>> baselines_of(const StoreView& view, const layout::DeviceValue& device) {
  std::vector<StoredBaseline> all;
  GH_CHECK(each_baseline(view, device, [&](std::uint64_t number, std::string_view record) -> Result<void> {
    GH_TRY(auto stored, layout::decode_baseline(record, number));
    all.push_back(std::move(stored));
    return {};
  }));
  return all;
}

Result<std::vector<HashAlgorithm>> State::approved_banks(std::string_view device) const {
  const StoreView view = impl_->store->view();
  GH_TRY(const auto value, look_up_device(view, device));
  std::vector<HashAlgorithm> out;
  if (!value) return out;
  GH_CHECK(each_baseline(view, *value, [&](std::uint64_t number, std::string_view record) -> Result<void> {
    GH_TRY(const auto head, layout::decode_baseline_head(record, number));
    if (head.record.state == BaselineState::approved) out.push_back(head.record.baseline.bank);
    return {};
  }));
  return out;
}

Result<std::vector<pipeline::Baseline>> State::approved_baselines(std::string_view device) const {
  const StoreView view = impl_->store->view();
  GH_TRY(const auto value, look_up_device(view, device));
  if (!value) return std::vector<pipeline::Baseline>();
  GH_TRY(std::vector<StoredBaseline> all, baselines_of(view, *value));
  GH_TRY(std::vector<pipeline::Baseline> out, expected_baselines(view, value->device.model, impl_->now(), all));
  for (StoredBaseline& one : all)
    if (one.state == BaselineState::approved) out.push_back(std::move(one.baseline));
  return out;
}

Result<std::optional<pipeline::LastQuote>> State::last_quote(const PublicKey& key) const {
  GH_TRY(const RowPtr row, impl_->store->view().look_up(layout::quote_key(key.pin())));
  if (!row->text()) return std::nullopt;
  GH_TRY(const auto quote, layout::decode_quote(*row->text()));
  return quote;
}

Result<std::optional<SessionRecord>> State::session(std::string_view id) const {
  const OpenSessions::Record open = impl_->open_sessions.find(id);  // before the store is asked: it may end meanwhile
  GH_TRY(const auto value, impl_->store->view().read(layout::session_key(id)));
  if (!value && open) return *open;
  if (!value) return std::nullopt;
  auto record = impl_->verdicts.decode(impl_->store->view(), *value);
  if (!record) {
    // It may have been retired since, and with it what its verdict is kept against.
    GH_TRY(const auto still, impl_->store->view().read(layout::session_key(id)));
    if (!still) return std::nullopt;
    return fail(std::move(record).error());
  }
  return *std::move(record);
}

// Those that ended are in order in the store, by class or of the device; those that are open are in none.
Result<SessionPage> State::sessions(std::string_view device, std::size_t most, const SessionCursor& from) const {
  GH_TRY(const ByteVector cursor, from_hex(from));
  struct Place {
    std::string at;
    OpenSessions::Record open;  // null: the store has it
  };
  std::vector<Place> places;
  for (OpenSessions::Record& open : impl_->open_sessions.of(device)) {
    std::string at = layout::place(open->intent.started, open->intent.session);
    if (from.empty() || at < as_text(cursor)) places.push_back({std::move(at), std::move(open)});
  }
  // After those that are open were asked for: one that ends meanwhile is in both.
  const Moment moment(*impl_->store);
  std::vector<std::string> prefixes;
  if (device.empty())
    for (const char session_class : layout::classes) prefixes.push_back(layout::age_prefix(session_class));
  else
    prefixes.push_back(layout::device_session_prefix(device));
  for (const std::string& prefix : prefixes) {
    std::string before = prefix;
    if (from.empty())
      ++before.back();  // the prefix's successor: it ends with NUL or a letter, so it doesn't wrap
    else
      before += as_text(cursor);
    std::size_t found = 0;
    GH_CHECK(moment.view.each_backwards(prefix, before, [&](std::string_view key, auto) {
      if (key.size() >= prefix.size() + 8) places.push_back({std::string(key.substr(prefix.size())), nullptr});
      return ++found <= most;
    }));
  }
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.at != b.at ? a.at > b.at : a.open < b.open; });
  places.erase(std::unique(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.at == b.at; }), places.end());

  SessionPage page;
  std::size_t bytes = 0;
  for (const Place& place : places) {
    if (page.sessions.size() == most || bytes >= page_bytes) {
      page.next = to_hex(as_bytes((&place)[-1].at));
      break;
    }
    if (place.open) {
      page.sessions.push_back(*place.open);
      continue;
    }
    GH_TRY(const auto value, moment.view.read(layout::session_key(std::string_view(place.at).substr(8))));
    if (!value) return fail(Fault::environment, "a session's record is missing", "docs/formats/state.md");
    bytes += value->size();
    GH_TRY(SessionRecord record, impl_->verdicts.decode(moment.view, *value));
    page.sessions.push_back(std::move(record));
  }
  return page;
}

// --- writing

void State::begin_session(SessionIntent intent, Completion completion) {
  auto record = std::make_shared<const SessionRecord>(open_record(std::move(intent)));
  // Nobody is told anything of it: where the machine loses it, there is no result either. A session's only write to the
  // database, and its only wait for the disk, is the one for its result.
  impl_->store->submit(
      [this, record = std::move(record)](Batch& batch) mutable -> Result<void> {
        GH_TRY(const std::uint64_t place, impl_->begin(batch, *record));
        impl_->open_sessions.add(std::move(record), place);
        return {};
      },
      std::move(completion), 0, Store::Safety::none);
}

void State::commit_result(SessionResult result, Completion completion) {
  pack_record(impl_->verdicts, result);
  std::size_t weight = 0;
  if (result.evidence) {
    // A result waits for no evidence: what can't be packed isn't kept.
    if (auto packed = pack(impl_->store->view(), result.evidence)) {
      weight = (*packed)->bytes();
      result.packed = *std::move(packed);
    }
  }
  auto ended = [this, session = result.intent.session, completion = std::move(completion)](Result<void> outcome) mutable {
    if (outcome)
      if (const auto place = impl_->open_sessions.remove(session)) impl_->open_file.remove(*place);
    completion(std::move(outcome));
  };
  if (!result.software) {
    impl_->store->submit(
        [this, result = std::move(result)](Batch& batch) -> Result<void> {
          GH_CHECK(impl_->drop(batch, result.intent.session));
          return impl_->finish(batch, result);
        },
        std::move(ended), weight);
    return;
  }
  const auto work = std::make_shared<Apply>();
  work->result = std::move(result);
  impl_->store->submit([this, work](Batch& batch) { return impl_->apply(batch, *work); },
                       [this, work, ended = std::move(ended)](Result<void> outcome) mutable {
                         impl_->applied(*work, outcome.has_value());
                         ended(std::move(outcome));
                       },
                       weight);
}

Result<Device> State::enrol_blocking(Enrolment enrolment) {
  return changed<Device>(*impl_->store, [&](Batch& batch) { return impl_->enrol(batch, enrolment); });
}

Result<void> State::open_enrolment_blocking(EnrolmentOffer offer, Author author) {
  return impl_->store->submit_blocking([&](Batch& batch) { return impl_->open_enrolment(batch, offer, author); });
}

Result<void> State::close_enrolment_blocking(std::string_view id) {
  return impl_->store->submit_blocking([&](Batch& batch) { return impl_->close_enrolment(batch, std::string(id)); });
}

void State::activate(Activation activation, Completion completion) {
  impl_->store->submit([this, given = std::move(activation)](Batch& batch) { return impl_->activate(batch, given); }, std::move(completion));
}

std::vector<Result<Device>> State::import_blocking(std::vector<Enrolment> enrolments) {
  std::vector<Result<Device>> out(enrolments.size(), Result<Device>(fail(Fault::internal, "state change didn't run")));
  // All are handed over before the first is waited for, so that they share syncs.
  std::vector<std::future<Result<void>>> waiting;
  for (std::size_t i = 0; i < enrolments.size(); ++i) {
    auto done = std::make_shared<std::promise<Result<void>>>();
    waiting.push_back(done->get_future());
    impl_->store->submit(
        [this, &out, &enrolments, i](Batch& batch) -> Result<void> {
          out[i] = impl_->enrol(batch, enrolments[i]);
          if (!out[i]) return fail(out[i].error());
          return {};
        },
        [done](Result<void> outcome) { done->set_value(std::move(outcome)); });
  }
  for (std::size_t i = 0; i < waiting.size(); ++i)
    if (const auto outcome = waiting[i].get(); !outcome) out[i] = fail(outcome.error());
  return out;
}

Result<DeviceKey> State::trust_blocking(std::string_view device, std::string_view key_id, Author author) {
  return changed<DeviceKey>(*impl_->store, [&](Batch& batch) {
    return impl_->trust(batch, std::string(device), std::string(key_id), author);
  });
}

Result<std::size_t> State::revoke_blocking(std::string_view device, std::string_view key_id, Author author) {
  return changed<std::size_t>(*impl_->store, [&](Batch& batch) {
    return impl_->revoke(batch, std::string(device), std::string(key_id), author);
  });
}

Result<Device> State::change_state_blocking(std::string_view device, DeviceState to, Author author) {
  return changed<Device>(*impl_->store, [&](Batch& batch) { return impl_->change_state(batch, std::string(device), to, author); });
}

Result<Device> State::alter_blocking(std::string_view device, std::optional<std::string> product, std::optional<std::string> model,
                                     std::optional<std::vector<std::string>> identities, Author author) {
  return changed<Device>(*impl_->store, [&](Batch& batch) {
    return impl_->alter(batch, std::string(device), product, model, identities, author);
  });
}

Result<void> State::remove_blocking(std::string_view device, Author author) {
  return impl_->store->submit_blocking([&](Batch& batch) { return impl_->remove(batch, std::string(device), author); });
}

Result<StoredBaseline> State::approve_baseline_blocking(std::string_view device, std::optional<std::uint64_t> number,
                                                        bool replace, Author author) {
  return changed<StoredBaseline>(*impl_->store, [&](Batch& batch) {
    return impl_->approve(batch, std::string(device), number, replace, author);
  });
}

Result<GroupApproval> State::approve_model_blocking(std::string_view device, std::optional<std::uint64_t> number, bool replace,
                                                    Author author) {
  GroupApproval out;
  // In writes of some hundred devices: a model may have a hundred thousand.
  ModelApproval work{.device = std::string(device), .number = number, .replace = replace, .author = std::move(author), .out = &out};
  GH_CHECK(impl_->store->submit_blocking([&](Batch& batch) { return impl_->approve_model(batch, work); }));
  return out;
}

Result<Announcement> State::announce_blocking(std::string_view device, std::optional<std::uint64_t> number, std::int64_t until,
                                              Author author) {
  return changed<Announcement>(*impl_->store, [&](Batch& batch) {
    return impl_->announce(batch, std::string(device), number, until, author);
  });
}

Result<void> State::withdraw_blocking(std::string_view model, std::uint64_t number) {
  return impl_->store->submit_blocking([&](Batch& batch) { return impl_->withdraw(batch, std::string(model), number); });
}

Result<std::vector<Lapsed>> State::lapse_blocking(std::chrono::milliseconds lease, std::size_t most) {
  return changed<std::vector<Lapsed>>(*impl_->store, [&](Batch& batch) { return impl_->lapse(batch, lease, most); });
}

}  // namespace gatehouse::server
