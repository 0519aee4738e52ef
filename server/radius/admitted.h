// Whom gateways have let in by our word, and what they tell of them since (RFC 2866): so that it is known who is connected, and
// a gateway can be asked to cut an endpoint off (RFC 5176).
//
//   admitted.note(entry);                                        // with Access-Accept
//   const std::string mark = Admitted::mark(entry.session);      // goes along as Class, and comes back with accounting
//   admitted.account(gateway, client, told, now);
//   for (const Admitted::Entry& one : admitted.of_device("deb3…")) …
//
// An entry ends with accounting's stop, when its gateway starts anew, when the endpoint was cut off, or when the same port of the
// same gateway is given to another admission; where a gateway tells of none of these, with each connection one more is known.
// Bounded: of a device, those that are surely its own and those that it was claimed for each apart, and of all; of more, the one that
// was heard of the longest ago is forgotten, of a device's one that accounting tells of at last. Times are milliseconds since 1970,
// from the caller. Any thread.
//
// What is known outlives the process where there is a journal, which is told of each change:
//
//   admitted.restore(entries_of_before, {.keep = …, .note = …, .drop = …});
//   admitted.note(entry, [](bool kept) { … });                   // and then the gateway may be answered
//   for (const Admitted::Entry& one : admitted.due(now, longest, 256)) …   // whose lease has ended
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/verdict/verdict.h"
#include "server/config/address_prefix.h"
#include "server/state/admissions.h"
#include "wire/radius/accounting.h"

namespace gatehouse::server {

// What a conversation's answer means for one whom its gateway has let in before, and whom its verdict takes that back from.
enum class Succession : std::uint8_t {
  none,
  replaces,  // it is of the very same port: the answer takes its place
  beside,    // it makes another connection, which the gateway can't tell from that one when it is asked to end it
};

class Admitted {
 public:
  using Entry = GatewayAdmission;  // `number` is given by note() and account()
  // Whether an entry is kept, so that it is known after a crash, too.
  using Kept = std::function<void(bool good)>;
  // Called in the order of the changes, with a lock held: they don't wait, and ask Admitted nothing.
  struct Journal {
    std::function<void(const Entry&, Kept)> keep;  // a new one
    std::function<void(const Entry&)> note;        // one that has changed
    std::function<void(std::vector<std::uint64_t>)> drop;
  };

  explicit Admitted(std::size_t most = 262'144) : most_(most) {}
  static constexpr std::size_t most_of_device = 32;

  // What Class says of a session: longer than what strongSwan takes for a group's name (44 bytes and more aren't).
  static std::string mark(std::string_view session);
  // The session of a mark; empty: it is none of ours.
  static std::string_view session_of(std::string_view mark);

  // Those of an earlier run, before anything else is told, each with its number; what there is no room for any more is dropped.
  void restore(std::vector<Entry> entries, Journal journal);
  // `kept`: at once where there is no journal, else on whatever thread it answers.
  std::uint64_t note(Entry entry, Kept kept = {});
  // What accounting says. `recall`: what is on record of a session that was told before this process began; nullopt: nothing.
  using Recall = std::function<std::optional<Entry>(std::string_view session)>;
  void account(const IpAddress& gateway, std::string_view client, const radius::Accounting& told, std::int64_t now, const Recall& recall);
  void remove(std::uint64_t number);
  // It was moved.
  void change(std::uint64_t number, pipeline::Recommendation recommendation);

  // Its lease ends then, or it is to be looked at again then; 0: never.
  void put_off(std::uint64_t number, std::int64_t until);
  // At most `most` whose lease has ended, the first to end first; and those whose lease would last for longer than `longest`
  // milliseconds from now on, since the clock was set back.
  std::vector<Entry> due(std::int64_t now, std::int64_t longest, std::size_t most) const;

  std::optional<Entry> find(std::uint64_t number) const;
  std::vector<Entry> of_device(std::string_view device) const;
  // Whether the same gateway has let in another one with the same User-Name, of whom this is true.
  bool shares_name(const Entry& entry, const std::function<bool(const Entry&)>& with) const;
  // In the order of their numbers, from the first above `after` on.
  std::vector<Entry> list(std::uint64_t after, std::size_t most) const;
  std::size_t size() const;
  // Those that accounting has told of.
  std::size_t connected() const;

 private:
  struct Known {
    Entry entry;
    std::list<std::uint64_t>::iterator age;
  };
  using Place = std::map<std::uint64_t, Known>::iterator;
  // A name that a gateway says is its own: of its address, and of who it is, since several may come from one address.
  struct PortKey {
    IpAddress gateway{};
    std::string client, nas, user, station;
    std::optional<std::uint32_t> port;
    friend auto operator<=>(const PortKey&, const PortKey&) = default;
  };
  struct AccountingKey {
    IpAddress gateway{};
    std::string client, nas, accounting;
    friend auto operator<=>(const AccountingKey&, const AccountingKey&) = default;
  };
  struct WhoKey {
    IpAddress gateway{};
    std::string client, nas, user, station;
    friend auto operator<=>(const WhoKey&, const WhoKey&) = default;
  };
  struct NameKey {
    IpAddress gateway{};
    std::string client, nas, user;
    friend auto operator<=>(const NameKey&, const NameKey&) = default;
  };
  static NameKey name_key(const Entry& e) { return {e.gateway, e.client, e.nas, e.user}; }
  static WhoKey who_key(const Entry& e) { return {e.gateway, e.client, e.nas, e.user, e.station}; }
  static PortKey port_key(const Entry& e) { return {e.gateway, e.client, e.nas, e.user, e.station, e.port}; }
  static AccountingKey accounting_key(const Entry& e) { return {e.gateway, e.client, e.nas, e.accounting}; }
  Place add(Entry entry, std::uint64_t number);
  void make_room(const std::string& device, bool sure);
  void erase(Place at);
  void unlink(Place at);
  void link(Place at);
  void tell(const Entry& entry, Kept kept);
  void tell_dropped();

  const std::size_t most_;
  mutable std::mutex mutex_;
  std::uint64_t last_ = 0;                                       // guarded by mutex_, as the rest is
  std::map<std::uint64_t, Known> entries_;
  std::list<std::uint64_t> by_age_;                              // heard of the longest ago first
  std::multimap<std::string, std::uint64_t, std::less<>> by_device_;
  std::map<std::string, std::uint64_t, std::less<>> by_session_;
  std::map<PortKey, std::uint64_t> by_port_;                     // those with a station or a port
  std::map<AccountingKey, std::uint64_t> by_accounting_;
  std::set<std::pair<NameKey, std::uint64_t>> by_name_;          // those with a User-Name
  std::map<WhoKey, std::uint64_t> unaccounted_;                  // the newest that accounting hasn't told of
  std::set<std::pair<std::int64_t, std::uint64_t>> by_until_;    // those whose lease ends
  std::size_t connected_ = 0;
  Journal journal_;                                              // of nothing: none
  std::vector<std::uint64_t> dropped_;                           // of the change under way
};

}  // namespace gatehouse::server
