#include "server/radius/admitted.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace gatehouse::server {
namespace {

// With any session id behind it, at least 44 bytes are wanted.
constexpr std::string_view prefix = "gatehouse-session:";
constexpr std::size_t least_mark = 44;

bool has_port(const Admitted::Entry& e) { return !e.station.empty() || e.port.has_value(); }

std::string dotted(Bytes address) {
  std::string out;
  for (const std::byte b : address) out += (out.empty() ? "" : ".") + std::to_string(unsigned(b));
  return out;
}

}  // namespace

std::string Admitted::mark(std::string_view session) {
  std::string out = std::string(prefix) + std::string(session);
  if (out.size() < least_mark) out.append(least_mark - out.size(), ' ');
  return out;
}

std::string_view Admitted::session_of(std::string_view mark) {
  if (!mark.starts_with(prefix)) return {};
  std::string_view session = mark.substr(prefix.size());
  while (session.ends_with(' ')) session.remove_suffix(1);
  return session;
}

void Admitted::link(Place at) {
  const Entry& e = at->second.entry;
  if (!e.device.empty()) by_device_.emplace(e.device, at->first);
  for (const std::string& device : e.also) by_device_.emplace(device, at->first);
  if (!e.session.empty()) by_session_[e.session] = at->first;
  if (has_port(e)) by_port_[port_key(e)] = at->first;
  if (!e.accounting.empty()) by_accounting_[accounting_key(e)] = at->first;
  if (!e.user.empty()) by_name_.insert({name_key(e), at->first});
  if (e.accounting.empty() && !e.user.empty()) unaccounted_[who_key(e)] = at->first;
  if (e.until != 0) by_until_.insert({e.until, at->first});
  if (e.connected != 0) ++connected_;
}

void Admitted::unlink(Place at) {
  const Entry& e = at->second.entry;
  const auto drop = [&](auto& index, const auto& key) {
    if (const auto it = index.find(key); it != index.end() && it->second == at->first) index.erase(it);
  };
  const auto drop_of = [&](const std::string& device) {
    for (auto [it, end] = by_device_.equal_range(device); it != end;)
      it = it->second == at->first ? by_device_.erase(it) : std::next(it);
  };
  drop_of(e.device);
  for (const std::string& device : e.also) drop_of(device);
  by_name_.erase({name_key(e), at->first});
  drop(by_session_, e.session);
  drop(by_port_, port_key(e));
  drop(by_accounting_, accounting_key(e));
  drop(unaccounted_, who_key(e));
  by_until_.erase({e.until, at->first});
  if (e.connected != 0) --connected_;
}

void Admitted::erase(Place at) {
  unlink(at);
  if (journal_.drop) dropped_.push_back(at->first);
  by_age_.erase(at->second.age);
  entries_.erase(at);
}

// For one more of this device.
void Admitted::make_room(const std::string& device, bool sure) {
  if (device.empty()) return;
  std::size_t count = 0;
  Place oldest = entries_.end();
  const auto age = [](const Entry& e) { return std::tuple(e.connected != 0, std::max(e.heard, e.admitted), e.number); };
  for (auto [it, end] = by_device_.equal_range(device); it != end; ++it) {
    const Place at = entries_.find(it->second);
    if (at->second.entry.sure != sure) continue;
    ++count;
    if (oldest == entries_.end() || age(at->second.entry) < age(oldest->second.entry)) oldest = at;
  }
  if (count >= most_of_device) erase(oldest);
}

Admitted::Place Admitted::add(Entry entry, std::uint64_t number) {
  make_room(entry.device, entry.sure);
  for (const std::string& device : entry.also) make_room(device, entry.sure);
  while (!entries_.empty() && entries_.size() >= most_) erase(entries_.find(by_age_.front()));
  entry.number = number;
  by_age_.push_back(number);
  const Place at = entries_.emplace(number, Known{std::move(entry), std::prev(by_age_.end())}).first;
  link(at);
  return at;
}

// With the mutex held, as tell_dropped().
void Admitted::tell(const Entry& entry, Kept kept) {
  if (journal_.keep) journal_.keep(entry, std::move(kept));
}

void Admitted::tell_dropped() {
  if (!dropped_.empty()) journal_.drop(std::exchange(dropped_, {}));
}

void Admitted::restore(std::vector<Entry> entries, Journal journal) {
  const auto last_word = [](const Entry& e) { return std::pair(std::max(e.heard, e.admitted), e.number); };
  std::sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) { return last_word(a) < last_word(b); });
  const std::lock_guard lock(mutex_);
  journal_ = std::move(journal);
  for (Entry& e : entries) {
    const std::uint64_t number = e.number;
    last_ = std::max(last_, number);
    // The process ended between the two halves of a change.
    if (const auto before = has_port(e) ? by_port_.find(port_key(e)) : by_port_.end(); before != by_port_.end()) {
      if (before->second > number) {
        if (journal_.drop) dropped_.push_back(number);
        continue;
      }
      erase(entries_.find(before->second));
    }
    add(std::move(e), number);
  }
  tell_dropped();
}

std::uint64_t Admitted::note(Entry entry, Kept kept) {
  std::unique_lock lock(mutex_);
  // Whoever had this port is gone, or is this very endpoint, assessed again.
  if (has_port(entry))
    if (const auto before = by_port_.find(port_key(entry)); before != by_port_.end()) {
      const Place old = entries_.find(before->second);
      if (entry.accounting.empty()) entry.accounting = old->second.entry.accounting;
      if (entry.accounting == old->second.entry.accounting) {
        entry.connected = old->second.entry.connected;
        entry.heard = old->second.entry.heard;
        entry.address = old->second.entry.address;
      }
      erase(old);
    }
  const std::uint64_t number = ++last_;
  const Place at = add(std::move(entry), number);
  if (journal_.keep) {
    tell(at->second.entry, kept ? std::move(kept) : [](bool) {});
    tell_dropped();
    return number;
  }
  lock.unlock();
  if (kept) kept(true);
  return number;
}

void Admitted::account(const IpAddress& gateway, std::string_view client, const radius::Accounting& told, std::int64_t now, const Recall& recall) {
  std::string_view session;
  for (const std::string_view one : told.classes)
    if (const std::string_view ours = session_of(one); !ours.empty()) session = ours;
  const std::lock_guard lock(mutex_);
  if (told.status == radius::AcctStatus::on || told.status == radius::AcctStatus::off) {
    // It has forgotten them all.
    for (Place at = entries_.begin(); at != entries_.end();) {
      const Place next = std::next(at);
      const Entry& e = at->second.entry;
      if (e.gateway == gateway && e.client == client && e.nas == told.gateway) erase(at);
      at = next;
    }
    return tell_dropped();
  }
  Place at = entries_.end();
  if (const auto of = by_accounting_.find({gateway, std::string(client), std::string(told.gateway), std::string(told.session)}); of != by_accounting_.end())
    at = entries_.find(of->second);
  if (const auto of = by_session_.find(session); at == entries_.end() && of != by_session_.end()) {
    at = entries_.find(of->second);
    if (at->second.entry.gateway != gateway || at->second.entry.client != client) at = entries_.end();
  }
  // By whom it is of, where the gateway doesn't give Class back.
  if (at == entries_.end() && session.empty()) {
    const auto of = unaccounted_.find({gateway, std::string(client), std::string(told.gateway), std::string(told.user), std::string(told.station)});
    if (of != unaccounted_.end()) at = entries_.find(of->second);
  }
  if (told.status == radius::AcctStatus::stop) {
    if (at != entries_.end()) erase(at);
    return tell_dropped();
  }
  // Octets and the last word of it change with each update: they are kept along with what else changes.
  bool is_new = false, changed = false;
  if (at == entries_.end()) {
    Entry entry;
    if (!session.empty())
      if (auto known = recall(session)) entry = *std::move(known);
    entry.gateway = gateway;
    entry.client = client;
    entry.nas = told.gateway;
    entry.user = told.user;
    entry.station = told.station;
    entry.accounting = told.session;
    entry.connected = now;
    at = add(std::move(entry), ++last_);
    is_new = true;
  } else {
    unlink(at);
    Entry& e = at->second.entry;
    changed = e.accounting != told.session || (!told.user.empty() && e.user != told.user) || e.connected == 0;
    e.accounting = told.session;
    if (!told.user.empty()) e.user = told.user;
    if (e.connected == 0) e.connected = now;
    link(at);
    by_age_.splice(by_age_.end(), by_age_, at->second.age);
  }
  Entry& e = at->second.entry;
  e.heard = now;
  if (told.framed_address) {
    std::string address = dotted(*told.framed_address);
    changed = changed || e.address != address;
    e.address = std::move(address);
  }
  if (told.status == radius::AcctStatus::interim) {
    e.octets_in = told.octets_in;
    e.octets_out = told.octets_out;
  }
  if (is_new) tell(e, [](bool) {});
  else if (changed && journal_.note) journal_.note(e);
  tell_dropped();
}

void Admitted::remove(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  if (const Place at = entries_.find(number); at != entries_.end()) erase(at);
  tell_dropped();
}

void Admitted::change(std::uint64_t number, pipeline::Recommendation recommendation) {
  const std::lock_guard lock(mutex_);
  const Place at = entries_.find(number);
  if (at == entries_.end()) return;
  at->second.entry.recommendation = recommendation;
  if (journal_.note) journal_.note(at->second.entry);
}

void Admitted::put_off(std::uint64_t number, std::int64_t until) {
  const std::lock_guard lock(mutex_);
  const Place at = entries_.find(number);
  if (at == entries_.end() || at->second.entry.until == until) return;
  by_until_.erase({at->second.entry.until, number});
  at->second.entry.until = until;
  if (until != 0) by_until_.insert({until, number});
  if (journal_.note) journal_.note(at->second.entry);
}

std::vector<Admitted::Entry> Admitted::due(std::int64_t now, std::int64_t longest, std::size_t most) const {
  const std::lock_guard lock(mutex_);
  std::vector<Entry> out;
  for (auto at = by_until_.begin(); at != by_until_.end() && at->first <= now && out.size() < most; ++at) out.push_back(entries_.at(at->second).entry);
  for (auto at = by_until_.rbegin(); at != by_until_.rend() && at->first > now && at->first - now > longest && out.size() < most; ++at)
    out.push_back(entries_.at(at->second).entry);
  return out;
}

std::optional<Admitted::Entry> Admitted::find(std::uint64_t number) const {
  const std::lock_guard lock(mutex_);
  const auto at = entries_.find(number);
  if (at == entries_.end()) return std::nullopt;
  return at->second.entry;
}

std::vector<Admitted::Entry> Admitted::of_device(std::string_view device) const {
  const std::lock_guard lock(mutex_);
  std::vector<Entry> out;
  for (auto [it, end] = by_device_.equal_range(device); it != end; ++it) out.push_back(entries_.at(it->second).entry);
  return out;
}

bool Admitted::shares_name(const Entry& entry, const std::function<bool(const Entry&)>& with) const {
  const std::lock_guard lock(mutex_);
  const NameKey key = name_key(entry);
  for (auto at = by_name_.lower_bound({key, 0}); at != by_name_.end() && at->first == key; ++at)
    if (at->second != entry.number && with(entries_.at(at->second).entry)) return true;
  return false;
}

std::vector<Admitted::Entry> Admitted::list(std::uint64_t after, std::size_t most) const {
  const std::lock_guard lock(mutex_);
  std::vector<Entry> out;
  for (auto at = entries_.upper_bound(after); at != entries_.end() && out.size() < most; ++at) out.push_back(at->second.entry);
  return out;
}

std::size_t Admitted::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

std::size_t Admitted::connected() const {
  const std::lock_guard lock(mutex_);
  return connected_;
}

}  // namespace gatehouse::server
