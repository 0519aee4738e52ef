#include "endpoint/inventory/event_log.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::endpoint {
namespace {

constexpr std::string_view document = "docs/formats/endpoint-inventory.md";
constexpr std::string_view magic = "gatehouse-inventory 1\n";
constexpr std::size_t digest_bytes = 32;
// The least that an instance and an event take in the file.
constexpr std::size_t least_instance = 4 + 1 + 1 + 3 * (2 + 1) + digest_bytes, event_bytes = 4 + 8 + 4 + 1;

auto key_of(const Package& package) {
  return std::tie(package.source, package.name, package.architecture, package.version);
}
bool before(const Package& a, const Package& b) { return key_of(a) < key_of(b); }

// The log can number `changes` more instances and one more transaction.
bool has_room(const EventLog& log, std::size_t changes) {
  return log.last_eid < UINT32_MAX && changes < UINT32_MAX - log.next_record_id;
}

// Whole transactions go, and the instances that nothing names any longer.
void retire_oldest(EventLog& log) {
  if (log.events.size() <= max_logged_events) return;
  const std::uint32_t newest = log.events.back().eid;
  // The EID of the last event that must go goes with all its events, unless it is the newest.
  const std::uint32_t last_gone = log.events[log.events.size() - max_logged_events - 1].eid;
  const auto kept = std::find_if(log.events.begin(), log.events.end(),
                                 [&](const LoggedEvent& e) { return e.eid > last_gone || e.eid == newest; });
  log.events.erase(log.events.begin(), kept);
  log.first_eid = log.events.front().eid;
  std::vector<std::uint32_t> named;
  for (const LoggedEvent& e : log.events) named.push_back(e.record_id);
  std::sort(named.begin(), named.end());
  std::erase_if(log.instances, [&](const LoggedInstance& one) {
    return !one.installed && !std::binary_search(named.begin(), named.end(), one.record_id);
  });
}

Result<std::string> get_text(Reader& r) {
  GH_TRY(const auto size, r.get<std::uint16_t>());
  const Reader start = r;
  GH_TRY(const Bytes bytes, r.take(size));
  if (!acceptable_package_text(as_text(bytes))) return start.fail("text isn't 1 to 512 printable characters");
  return std::string(as_text(bytes));
}
void put_text(Writer& w, std::string_view text) {
  w.put(std::uint16_t(text.size()));
  w.put_text(text);
}

Result<LoggedInstance> parse_instance(Reader& r) {
  LoggedInstance out;
  GH_TRY(out.record_id, r.get<std::uint32_t>());
  GH_TRY(out.package.source, r.get<std::uint8_t>());
  const Reader flag = r;
  GH_TRY(const auto installed, r.get<std::uint8_t>());
  if (installed > 1) return flag.fail("neither installed nor not");
  out.installed = installed == 1;
  GH_TRY(out.package.name, get_text(r));
  GH_TRY(out.package.version, get_text(r));
  GH_TRY(out.package.architecture, get_text(r));
  GH_TRY(const Bytes fingerprint, r.take(digest_bytes));
  out.package.fingerprint = Digest(fingerprint);
  return out;
}

Result<LoggedEvent> parse_event(Reader& r) {
  LoggedEvent out;
  GH_TRY(out.eid, r.get<std::uint32_t>());
  GH_TRY(const auto time, r.get<std::uint64_t>());
  out.time = std::int64_t(time);
  GH_TRY(out.record_id, r.get<std::uint32_t>());
  const Reader at = r;
  GH_TRY(const auto action, r.get<std::uint8_t>());
  if (action < 1 || action > 3) return at.fail("unknown action");
  out.action = LogAction(action);
  return out;
}

Result<std::vector<LoggedInstance>> parse_instances(Reader& r, std::uint32_t next_record_id) {
  const Reader at = r;
  GH_TRY(const auto count, r.get<std::uint32_t>());
  if (count > r.remaining() / least_instance) return at.fail("more instances than bytes");
  std::vector<LoggedInstance> out;
  out.reserve(count);
  std::vector<const Package*> installed;
  for (std::uint32_t i = 0; i < count; ++i) {
    const Reader start = r;
    GH_TRY(LoggedInstance one, parse_instance(r));
    if (one.record_id == 0 || one.record_id >= next_record_id ||
        (!out.empty() && one.record_id <= out.back().record_id))
      return start.fail("record ids aren't ascending, or one is from the future");
    out.push_back(std::move(one));
    if (out.back().installed) installed.push_back(&out.back().package);
  }
  std::sort(installed.begin(), installed.end(), [](const Package* a, const Package* b) { return before(*a, *b); });
  for (std::size_t i = 1; i < installed.size(); ++i)
    if (!before(*installed[i - 1], *installed[i])) return at.fail("a package is installed twice");
  return out;
}

}  // namespace

const LoggedInstance* EventLog::instance(std::uint32_t record_id) const {
  const auto found = std::lower_bound(instances.begin(), instances.end(), record_id,
                                      [](const LoggedInstance& one, std::uint32_t id) { return one.record_id < id; });
  return found != instances.end() && found->record_id == record_id ? &*found : nullptr;
}

std::uint32_t new_epoch(std::uint32_t last) {
  for (;;) {
    const ByteVector random = random_bytes(4);
    Reader r(random, document);
    const auto raw = r.get<std::uint32_t>();
    const std::uint32_t epoch = (raw ? *raw : 0) & 0x7FFFFFFF;
    if (epoch != 0 && epoch != last) return epoch;
  }
}

EventLog new_event_log(std::uint32_t epoch) {
  EventLog out;
  out.epoch = epoch;
  return out;
}

std::size_t update(EventLog& log, Found found) {
  const auto looked_at = [&](std::uint8_t source) {
    return std::find(found.sources.begin(), found.sources.end(), source) != found.sources.end();
  };
  // One that is told twice with different contents is always taken the same.
  std::sort(found.packages.begin(), found.packages.end(), [](const Package& a, const Package& b) {
    return std::tuple(key_of(a), a.fingerprint) < std::tuple(key_of(b), b.fingerprint);
  });
  found.packages.erase(std::unique(found.packages.begin(), found.packages.end(),
                                   [](const Package& a, const Package& b) { return key_of(a) == key_of(b); }),
                       found.packages.end());
  if (!has_room(log, found.packages.size())) {
    // What sources that weren't looked at had is told again too.
    for (const LoggedInstance& one : log.instances)
      if (one.installed && !looked_at(one.package.source)) found.packages.push_back(one.package);
    std::sort(found.packages.begin(), found.packages.end(), before);
    for (const Package& one : found.packages)
      if (!looked_at(one.source)) found.sources.push_back(one.source);
    log = new_event_log(new_epoch(log.epoch));
  }
  std::vector<LoggedInstance*> installed;
  for (LoggedInstance& one : log.instances)
    if (one.installed && looked_at(one.package.source)) installed.push_back(&one);
  std::sort(installed.begin(), installed.end(), [](auto* a, auto* b) { return before(a->package, b->package); });

  const std::uint32_t eid = log.last_eid + 1;
  const std::int64_t time = std::max(found.time, log.events.empty() ? std::int64_t(0) : log.events.back().time);
  std::vector<LoggedEvent> events;
  std::vector<LoggedInstance> created;
  auto was = installed.begin();
  for (Package& package : found.packages) {
    for (; was != installed.end() && before((*was)->package, package); ++was) {
      (*was)->installed = false;
      events.push_back({eid, time, (*was)->record_id, LogAction::deletion});
    }
    if (was != installed.end() && key_of((*was)->package) == key_of(package)) {
      if ((*was)->package.fingerprint != package.fingerprint) {
        (*was)->package.fingerprint = package.fingerprint;
        events.push_back({eid, time, (*was)->record_id, LogAction::alteration});
      }
      ++was;
      continue;
    }
    created.push_back({log.next_record_id, true, std::move(package)});
    events.push_back({eid, time, log.next_record_id++, LogAction::creation});
  }
  for (; was != installed.end(); ++was) {
    (*was)->installed = false;
    events.push_back({eid, time, (*was)->record_id, LogAction::deletion});
  }
  if (events.empty()) return 0;
  std::sort(events.begin(), events.end(),
            [](const LoggedEvent& a, const LoggedEvent& b) { return a.record_id < b.record_id; });
  log.instances.insert(log.instances.end(), std::make_move_iterator(created.begin()),
                       std::make_move_iterator(created.end()));
  log.events.insert(log.events.end(), events.begin(), events.end());
  log.last_eid = eid;
  retire_oldest(log);
  return events.size();
}

Result<EventLog> parse_event_log(Bytes file) {
  Reader whole(file, document);
  if (file.size() < magic.size() + digest_bytes) return whole.fail("truncated");
  GH_TRY(const Bytes content, whole.take(file.size() - digest_bytes));
  if (!equal(digest_of(HashAlgorithm::sha256, content).view(), whole.rest()))
    return whole.fail("the digest isn't the file's");
  Reader r(content, document);
  const Reader start = r;
  GH_TRY(const Bytes first, r.take(magic.size()));
  if (as_text(first) != magic) return start.fail("not an inventory of format 1");
  EventLog log;
  const Reader numbers = r;
  GH_TRY(log.epoch, r.get<std::uint32_t>());
  GH_TRY(log.first_eid, r.get<std::uint32_t>());
  GH_TRY(log.last_eid, r.get<std::uint32_t>());
  GH_TRY(log.next_record_id, r.get<std::uint32_t>());
  if (log.epoch == 0 || log.epoch > 0x7FFFFFFF || log.first_eid == 0 || log.next_record_id == 0 ||
      log.first_eid - 1 > log.last_eid)
    return numbers.fail("epoch, EIDs or record id out of range");
  GH_TRY(log.instances, parse_instances(r, log.next_record_id));
  const Reader at = r;
  GH_TRY(const auto count, r.get<std::uint32_t>());
  if (count > r.remaining() / event_bytes) return at.fail("more events than bytes");
  log.events.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const Reader one = r;
    GH_TRY(const LoggedEvent event, parse_event(r));
    const LoggedEvent* const last = log.events.empty() ? nullptr : &log.events.back();
    if (event.eid < log.first_eid || event.eid > log.last_eid ||
        (last && std::tie(event.eid, event.record_id) <= std::tie(last->eid, last->record_id)))
      return one.fail("events aren't ascending, or one is out of range");
    if (log.instance(event.record_id) == nullptr) return one.fail("event of an instance that isn't there");
    log.events.push_back(event);
  }
  GH_CHECK(r.finish());
  return log;
}

ByteVector serialize(const EventLog& log) {
  Writer w;
  w.put_text(magic);
  for (const std::uint32_t one : {log.epoch, log.first_eid, log.last_eid, log.next_record_id}) w.put(one);
  w.put(std::uint32_t(log.instances.size()));
  for (const LoggedInstance& one : log.instances) {
    w.put(one.record_id);
    w.put(one.package.source);
    w.put(std::uint8_t(one.installed ? 1 : 0));
    put_text(w, one.package.name);
    put_text(w, one.package.version);
    put_text(w, one.package.architecture);
    w.put_bytes(one.package.fingerprint.view());
  }
  w.put(std::uint32_t(log.events.size()));
  for (const LoggedEvent& one : log.events) {
    w.put(one.eid);
    w.put(std::uint64_t(one.time));
    w.put(one.record_id);
    w.put(std::uint8_t(one.action));
  }
  w.put_bytes(digest_of(HashAlgorithm::sha256, w.view()).view());
  return std::move(w).take();
}

}  // namespace gatehouse::endpoint
