// What is asked of the software that the store keeps.
#include <algorithm>

#include "base/hex.h"
#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t page_bytes = std::size_t(4) << 20;
constexpr std::size_t page_visits = 50'000;  // keys looked at for one page: bounds its time

InstalledSoftware installed_of(SoftwareRecord record, layout::InstalledValue value) {
  InstalledSoftware out;
  out.record = std::move(record);
  out.record.locator = std::move(value.locator);
  out.first_seen = value.first_seen;
  out.since = value.since;
  out.eid = value.eid;
  out.no_tag = value.no_tag;
  return out;
}

Result<InstalledSoftware> read_installed(std::string_view place, std::string_view value, std::int64_t last_seen) {
  GH_TRY(SoftwareRecord record, layout::record_at(place));
  GH_TRY(layout::InstalledValue decoded, layout::decode_installed(value));
  InstalledSoftware out = installed_of(std::move(record), std::move(decoded));
  out.last_seen = last_seen;
  return out;
}
Result<InstalledSoftware> read_ended(std::string_view place, std::string_view value) {
  GH_TRY(SoftwareRecord record, layout::record_at(place));
  GH_TRY(layout::EndedValue decoded, layout::decode_ended(value));
  InstalledSoftware out = installed_of(std::move(record), std::move(decoded.was));
  out.last_seen = decoded.last_seen;
  out.until = decoded.until;
  return out;
}

// How much fits a page, and where it ended.
class Page {
 public:
  explicit Page(std::size_t most) : most_(std::max<std::size_t>(most, 1)) {}
  // Before each key is looked at: false when the page is full, and then `last` is where the next one goes on.
  bool room() {
    return !full_ && (full_ = items_ >= most_ || bytes_ >= page_bytes || visits_ >= page_visits, ++visits_, !full_);
  }
  void took(std::size_t bytes) {
    ++items_;
    bytes_ += bytes;
  }
  void seen(std::string place) { last_ = std::move(place); }
  bool full() const { return full_; }
  SoftwareCursor next() const { return full_ ? to_hex(as_bytes(last_)) : SoftwareCursor(); }

 private:
  std::size_t most_, items_ = 0, bytes_ = 0, visits_ = 0;
  bool full_ = false;
  std::string last_;
};

// A cursor: the part of the list (one letter), then what orders it there.
struct Place {
  char part = 0;
  std::uint64_t number = 0;
  std::string place;
};
std::string text_of(const Place& at) {
  return std::string(1, at.part).append(layout::number64(at.number)).append(at.place);
}
Result<std::optional<Place>> place_in(const SoftwareCursor& cursor, std::string_view parts) {
  if (cursor.empty()) return std::nullopt;
  GH_TRY(const ByteVector raw, from_hex(cursor));
  const std::string_view text = as_text(raw);
  if (text.size() < 9 || parts.find(text[0]) == std::string_view::npos)
    return fail(Fault::usage, "not a place in this list");
  return Place{text[0], layout::read_number64(text.substr(1, 8)), std::string(text.substr(9))};
}

// Changes of a device, newest first, from `number` on (0: the newest), until `visit` says that it's enough.
Result<void> each_change(const StoreView& view, std::string_view device, std::uint64_t number,
                         const std::function<Result<bool>(std::uint64_t, const layout::ChangeValue&)>& visit) {
  const std::string prefix = layout::change_prefix(device);
  std::string before = prefix;
  if (number == 0)
    ++before.back();  // after all of them
  else
    before = layout::change_key(device, number) + '\0';
  Result<bool> more = true;
  GH_CHECK(view.each_backwards(prefix, before, [&](std::string_view key, std::string_view value) {
    more = [&]() -> Result<bool> {
      GH_TRY(const layout::ChangeValue change, layout::decode_change(value));
      return visit(layout::read_number64(key.substr(prefix.size())), change);
    }();
    return more && *more;
  }));
  if (!more) return fail(std::move(more).error());
  return {};
}

// Keys with this prefix after `place`, as far as the page has room; `take` says how large what it took was (0:
// nothing).
Result<void> each_in_page(const StoreView& view, Page& page, const std::string& prefix, const Place& list,
                          const std::string& begin,
                          const std::function<Result<std::size_t>(std::string_view, std::string_view)>& take) {
  Result<std::size_t> taken = 0;
  GH_CHECK(view.each(prefix, prefix + begin, [&](std::string_view key, std::string_view value) {
    if (!page.room()) return false;
    const std::string_view place = key.substr(prefix.size());
    taken = take(place, value);
    if (!taken) return false;
    if (*taken != 0) page.took(*taken);
    page.seen(text_of({list.part, list.number, std::string(place)}));
    return true;
  }));
  if (!taken) return fail(std::move(taken).error());
  return {};
}

Result<bool> has_tag(const StoreView& view, std::string_view software_id) {
  const std::string tags = layout::tag_prefix(software_id);
  bool out = false;
  GH_CHECK(view.each(tags, tags, [&](auto, auto) { return out = true, false; }));
  return out;
}

}  // namespace

Result<std::optional<layout::HeadValue>> read_head(const StoreView& view, std::string_view device) {
  GH_TRY(const auto value, view.read(layout::head_key(device)));
  if (!value) return std::nullopt;
  GH_TRY(layout::HeadValue head, layout::decode_head(*value));
  return head;
}

Result<std::optional<SoftwareHead>> State::software_head(std::string_view device) const {
  GH_TRY(auto head, read_head(impl_->store->view(), device));
  if (!head) return std::nullopt;
  return std::move(head->head);
}

Result<std::int64_t> State::software_inventory_time(std::string_view device) const {
  GH_TRY(const auto value, impl_->store->view().read(layout::inventory_time_key(device)));
  if (!value) return 0;
  if (value->size() != 8) return fail(Fault::malformed, "not a time", "docs/formats/state.md");
  return std::int64_t(layout::read_number64(*value));
}

Result<SoftwarePage> State::software_at(std::string_view device, std::optional<std::int64_t> time, std::size_t most,
                                        const SoftwareCursor& from) const {
  const Moment moment(*impl_->store);
  GH_TRY(const auto start, place_in(from, "ij"));
  GH_TRY(const auto head, read_head(moment.view, device));
  SoftwarePage out;
  if (!head) return out;
  Page page(most);
  const auto take_installed = [&](std::string_view place, std::string_view value) -> Result<std::size_t> {
    GH_TRY(InstalledSoftware one, read_installed(place, value, head->head.time));
    if (time && one.since > *time) return 0;
    out.software.push_back(std::move(one));
    return place.size() + value.size();
  };
  if (!start || start->part == 'i')
    GH_CHECK(each_in_page(moment.view, page, layout::installed_prefix(device, head->generation), {'i', 0, {}},
                          start ? start->place + '\0' : "", take_installed));
  // What has gone since then: it ended in a change after that time.
  const std::uint64_t number = start && start->part == 'j' ? start->number : 0;
  const auto take_ended = [&](std::string_view place, std::string_view value) -> Result<std::size_t> {
    GH_TRY(InstalledSoftware one, read_ended(place, value));
    if (one.since > *time || *one.until <= *time) return 0;
    out.software.push_back(std::move(one));
    return place.size() + value.size();
  };
  const auto in_change = [&](std::uint64_t n, const layout::ChangeValue& change) -> Result<bool> {
    if (change.change.time <= *time || !page.room()) return false;
    const std::string begin = n == number ? start->place + '\0' : "";
    page.seen(text_of({'j', n, n == number ? start->place : ""}));
    GH_CHECK(each_in_page(moment.view, page, layout::ended_prefix(device, n), {'j', n, {}}, begin, take_ended));
    return !page.full();
  };
  if (time && !page.full()) GH_CHECK(each_change(moment.view, device, number, in_change));
  out.next = page.next();
  return out;
}

namespace {

// One page of a history. What it was cut in is gone on with: a change's events, then its removals.
class History {
 public:
  History(const StoreView& view, std::string_view device, std::size_t most, std::optional<Place> start)
      : view_(view), device_(device), start_(std::move(start)), page_(most) {}

  Result<SoftwareHistoryPage> read() {
    GH_CHECK(each_change(view_, device_, start_ ? start_->number : 0,
                         [&](std::uint64_t n, const layout::ChangeValue& change) { return take(n, change); }));
    out_.next = page_.next();
    return std::move(out_);
  }

 private:
  Result<bool> take(std::uint64_t number, const layout::ChangeValue& change) {
    const bool goes_on = start_ && number == start_->number;
    const char part = goes_on ? start_->part : char(0);
    if (!goes_on) {
      if (!page_.room()) return false;
      SoftwareHistoryItem item;
      item.change = change.change;
      out_.items.push_back(std::move(item));
      page_.took(256);
      page_.seen(text_of({'c', number, {}}));
    }
    if (change.events != 0 && part != 'j')
      GH_CHECK(take_events(number, change, part == 'e' ? start_->place + '\0' : layout::number32(change.first_eid)));
    // Where events told of the change, they have said already what went.
    if (!page_.full() && change.ended != 0 && change.change.inventory)
      GH_CHECK(take_removals(number, part == 'j' ? start_->place + '\0' : ""));
    return !page_.full();
  }

  Result<void> take_events(std::uint64_t number, const layout::ChangeValue& change, const std::string& begin) {
    const std::string prefix = layout::event_prefix(device_, change.era);
    Result<bool> more = true;
    const auto take_one = [&](std::string_view place, std::string_view value) -> Result<bool> {
      SoftwareHistoryItem item;
      item.kind = SoftwareHistoryItem::Kind::event;
      GH_TRY(item.event, layout::event_at(place));
      if (item.event.eid > change.last_kept_eid || !page_.room()) return false;
      GH_TRY(layout::EventValue rest, layout::decode_event(value));
      item.event.time = rest.time;
      item.event.record.locator = std::move(rest.locator);
      out_.items.push_back(std::move(item));
      page_.took(prefix.size() + place.size() + value.size());
      page_.seen(text_of({'e', number, std::string(place)}));
      return true;
    };
    GH_CHECK(view_.each(prefix, prefix + begin, [&](std::string_view key, std::string_view value) {
      more = take_one(key.substr(prefix.size()), value);
      return more && *more;
    }));
    if (!more) return fail(std::move(more).error());
    return {};
  }

  Result<void> take_removals(std::uint64_t number, const std::string& begin) {
    const auto take_one = [&](std::string_view place, std::string_view value) -> Result<std::size_t> {
      SoftwareHistoryItem item;
      item.kind = SoftwareHistoryItem::Kind::removal;
      GH_TRY(item.removed, read_ended(place, value));
      out_.items.push_back(std::move(item));
      return place.size() + value.size();
    };
    return each_in_page(view_, page_, layout::ended_prefix(device_, number), {'j', number, {}}, begin, take_one);
  }

  const StoreView& view_;
  std::string_view device_;
  std::optional<Place> start_;
  Page page_;
  SoftwareHistoryPage out_;
};

}  // namespace

Result<SoftwareHistoryPage> State::software_history(std::string_view device, std::size_t most,
                                                    const SoftwareCursor& from) const {
  const Moment moment(*impl_->store);
  GH_TRY(auto start, place_in(from, "cej"));
  return History(moment.view, device, most, std::move(start)).read();
}

Result<SoftwarePage> State::software_without_tag(std::string_view device, std::size_t most,
                                                 const SoftwareCursor& from) const {
  const Moment moment(*impl_->store);
  GH_TRY(const auto start, place_in(from, "i"));
  GH_TRY(const auto head, read_head(moment.view, device));
  SoftwarePage out;
  if (!head) return out;
  Page page(most);
  const auto take = [&](std::string_view place, std::string_view value) -> Result<std::size_t> {
    GH_TRY(InstalledSoftware one, read_installed(place, value, head->head.time));
    GH_TRY(const bool tagged, has_tag(moment.view, one.record.software_id));
    if (one.no_tag || tagged) return 0;
    out.software.push_back(std::move(one));
    return place.size() + value.size();
  };
  GH_CHECK(each_in_page(moment.view, page, layout::installed_prefix(device, head->generation), {'i', 0, {}},
                        start ? start->place + '\0' : "", take));
  out.next = page.next();
  return out;
}

Result<bool> State::has_software_tag(std::string_view software_id, std::optional<Bytes> content) const {
  const StoreView view = impl_->store->view();
  if (!content) return has_tag(view, software_id);
  const Digest digest = digest_of(HashAlgorithm::sha256, *content);
  GH_TRY(const auto stored, view.read(layout::tag_prefix(software_id) + std::string(as_text(digest.view()))));
  return stored.has_value();
}

Result<std::vector<StoredTag>> State::software_tags(std::string_view software_id) const {
  const std::string prefix = layout::tag_prefix(software_id);
  std::vector<StoredTag> out;
  Result<void> read{};
  GH_CHECK(impl_->store->view().each(prefix, prefix, [&](auto, std::string_view value) {
    auto tag = layout::decode_tag(value);
    if (!tag) read = fail(std::move(tag).error());
    if (tag) out.push_back(*std::move(tag));
    return read.has_value();
  }));
  GH_CHECK(read);
  std::sort(out.begin(), out.end(), [](const StoredTag& a, const StoredTag& b) { return a.first_seen < b.first_seen; });
  return out;
}

Result<std::optional<StoredItemResult>> State::item_result(std::string_view device, std::string_view policy) const {
  GH_TRY(const RowPtr row, impl_->store->view().look_up(layout::item_result_key(device, policy)));
  if (!row->text()) return std::nullopt;
  GH_TRY(auto out, layout::decode_item_result(*row->text()));
  return out;
}

}  // namespace gatehouse::server
