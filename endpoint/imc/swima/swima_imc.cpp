#include "endpoint/imc/swima/swima_imc.h"

#include <algorithm>

#include "wire/patnc/attributes.h"

namespace gatehouse::endpoint {
namespace {

namespace type = patnc::type;
constexpr std::string_view swima_spec = "RFC 8412";
constexpr std::uint32_t compliant = 0;

std::size_t bytes_of(const std::vector<std::string>& targets) {
  std::size_t out = 0;
  for (const std::string& one : targets) out += one.size();
  return out;
}

// A value whose header comes last, because it says what follows. No longer than `most` bytes.
class Value {
 public:
  Value(std::size_t header_size, std::size_t most) : most_(most) { out_.put_zeros(header_size); }
  // False: the record doesn't fit, and isn't there.
  template <class Append>
  bool add(Append&& append) {
    if (full_) return false;
    Writer record;
    append(record);
    full_ = record.size() > most_ - std::min(most_, out_.size()) || count_ == swima::Limits{}.records;
    if (full_) return false;
    out_.put_bytes(record.view());
    ++count_;
    return true;
  }
  bool full() const { return full_; }
  std::uint32_t count() const { return count_; }
  // Where the records so far end, to go back to.
  struct Mark {
    std::size_t size = 0;
    std::uint32_t count = 0;
  };
  Mark mark() const { return {out_.size(), count_}; }
  ByteVector take(Mark until, Bytes header) && {
    ByteVector out = std::move(out_).take();
    out.resize(until.size);
    std::copy(header.begin(), header.end(), out.begin());
    return out;
  }

 private:
  Writer out_;
  std::size_t most_;
  std::uint32_t count_ = 0;
  bool full_ = false;
};

}  // namespace

patnc::Supported SwimaImc::supported() const {
  return [](std::uint32_t vendor, std::uint32_t kind) {
    if (vendor == patnc::vendor_tcg) return kind >= type::contract_request && kind <= type::next_segment;
    return vendor == patnc::vendor_ietf && ((kind >= type::pa_tnc_error && kind <= type::remediation_instructions) ||
                                            (kind >= type::swima_request && kind <= type::source_metadata_response));
  };
}

bool SwimaImc::Asked::wants(std::string_view identifier) const {
  return targets.empty() || std::binary_search(targets.begin(), targets.end(), identifier);
}

Result<void> SwimaImc::receive(const patnc::Attribute& attribute, Packer& out) {
  if (attribute.vendor != patnc::vendor_ietf) return {};
  Reader r(attribute.value, swima_spec, attribute.value_offset());
  switch (attribute.type) {
    case type::swima_request:
      return answer(attribute, out);
    case type::subscription_status_request:
      GH_CHECK(patnc::parse_empty(r));
      return tell_subscriptions(out);
    case type::source_metadata_request:
      GH_CHECK(patnc::parse_empty(r));
      return tell_sources(out);
    default:
      return {};  // the server's to receive
  }
}

// Errors go before the answer (spec part 1b §5.6).
Result<void> SwimaImc::answer(const patnc::Attribute& attribute, Packer& out) {
  Reader r(attribute.value, swima_spec, attribute.value_offset());
  Asked asked;
  GH_TRY(asked.request, swima::parse_request(r));
  asked.targets.assign(asked.request.targets.begin(), asked.request.targets.end());
  asked.request.targets.clear();  // they borrow from the message
  std::sort(asked.targets.begin(), asked.targets.end());
  const swima::Request& request = asked.request;
  const auto of_validator = [&](const Subscription& one) { return one.validator == out.validator(); };
  if (request.clear_subscriptions && config_.subscriptions) std::erase_if(subscriptions_, of_validator);
  if (std::any_of(subscriptions_.begin(), subscriptions_.end(),
                  [&](const Subscription& one) { return of_validator(one) && one.request.id == request.id; }))
    return send_error(swima::error::subscription_id_reuse, request.id, "the id of an active subscription", out);
  std::optional<Subscription> subscribed;
  if (request.subscribe && config_.subscriptions) {
    subscribed = subscription(asked, out.validator());
    if (!subscribed) GH_CHECK(send_error(swima::error::subscription_denied, request.id, "too many subscriptions", out));
  } else if (request.subscribe || request.clear_subscriptions) {
    if (!config_.subscriptions)
      GH_CHECK(send_error(swima::error::subscription_denied, request.id, "subscriptions not enabled", out));
  }
  if (const auto looked = source_.refresh(); !looked)
    return send_error(swima::error::general, request.id, looked.error().reason, out);
  GH_TRY(const auto told, tell(asked, out));
  if (!subscribed || !told) return {};
  subscribed->epoch = source_.epoch();
  subscribed->next_eid = request.earliest_eid;
  note(*subscribed, told);
  subscriptions_.push_back(*std::move(subscribed));
  return {};
}

void SwimaImc::note(Subscription& one, const std::optional<Told>& told) const {
  one.told_epoch = told ? told->epoch : one.epoch;
  one.told_eid = told ? told->next_eid : one.next_eid;
  one.seen_epoch = source_.epoch();
  one.seen_eid = told ? told->next_eid - 1 : source_.last_eid();
}

std::optional<SwimaImc::Subscription> SwimaImc::subscription(const Asked& asked, std::uint16_t validator) const {
  std::size_t bytes = bytes_of(asked.targets);
  for (const Subscription& one : subscriptions_) bytes += bytes_of(one.targets);
  if (subscriptions_.size() >= config_.max_subscriptions || bytes > config_.max_target_bytes) return std::nullopt;
  Subscription out;
  out.validator = validator;
  out.request = asked.request;
  out.targets = asked.targets;
  return out;
}

Result<std::optional<SwimaImc::Told>> SwimaImc::tell(const Asked& asked, Packer& out) const {
  const std::uint32_t earliest = asked.request.earliest_eid;
  if (earliest == 0) return tell_inventory(asked, out);
  if (source_.has_events_from(earliest)) return tell_events(asked, out);
  if (!asked.fulfilment)
    GH_CHECK(send_error(swima::error::general, asked.request.id,
                        "events from this EID on are no longer known: the inventory follows", out));
  return tell_inventory(asked, out);
}

Result<std::optional<SwimaImc::Told>> SwimaImc::tell_inventory(const Asked& asked, Packer& out) const {
  const std::size_t most = out.largest() - patnc::attribute_header_size;
  Value value(swima::InventoryFormat::header_size, most);
  const swima::Content content = asked.content();
  const auto add = [&](const swima::SoftwareRecord& record) {
    return value.add([&](Writer& w) { swima::append_software(w, record, content); });
  };
  if (content == swima::Content::records && !asked.targets.empty()) {
    // As strongSwan's client: tags are told also of what events named and is gone since.
    for (auto one = asked.targets.begin(); one != asked.targets.end() && !value.full();
         one = std::upper_bound(one, asked.targets.end(), *one))
      source_.records_of(*one, add);
  } else {
    source_.installed(
        content, [&](const swima::SoftwareRecord& record) { return !asked.wants(record.identifier) || add(record); });
  }
  const Told told{source_.epoch(), source_.last_eid() + 1};
  if (value.full()) {
    if (asked.fulfilment)
      GH_CHECK(send_fulfilment_error(asked.request.id, "the inventory is larger than an attribute may be", out));
    else
      GH_CHECK(send_error(swima::error::response_too_large, asked.request.id,
                          "the inventory is larger than an attribute may be", out, out.largest()));
    return std::nullopt;
  }
  Writer header;
  swima::append_inventory_header(
      header, {asked.fulfilment, value.count(), asked.request.id, source_.epoch(), source_.last_eid()});
  const auto end = value.mark();
  GH_CHECK(out.add(0, patnc::vendor_ietf,
                   content == swima::Content::records ? type::software_inventory : type::software_identifier_inventory,
                   std::move(value).take(end, header.view())));
  return told;
}

// As many whole transactions as fit: Last Consulted EID says how far they go.
Result<std::optional<SwimaImc::Told>> SwimaImc::tell_events(const Asked& asked, Packer& out) const {
  const std::size_t most = out.largest() - patnc::attribute_header_size;
  Value value(swima::EventsFormat::header_size, most);
  const swima::Content content = asked.content();
  const std::uint32_t earliest = asked.request.earliest_eid;
  Value::Mark complete = value.mark();  // up to `consulted`
  std::uint32_t consulted = earliest - 1, open = earliest - 1;
  source_.events(earliest, content, [&](const swima::Event& event) {
    if (event.eid != open) {
      complete = value.mark();
      consulted = event.eid - 1;
      open = event.eid;
    }
    return !asked.wants(event.software.identifier) ||
           value.add([&](Writer& w) { swima::append_event(w, event, content); });
  });
  const std::uint32_t last = source_.last_eid();
  if (!value.full()) {
    complete = value.mark();
    consulted = last;
  } else if (consulted < earliest) {
    // Not even one transaction fits.
    if (asked.fulfilment)
      GH_CHECK(send_fulfilment_error(asked.request.id, "the events are larger than an attribute may be", out));
    else
      GH_CHECK(send_error(swima::error::response_too_large, asked.request.id,
                          "the events are larger than an attribute may be", out, out.largest()));
    return std::nullopt;
  }
  Writer header;
  swima::append_events_header(header,
                              {asked.fulfilment, complete.count, asked.request.id, source_.epoch(), last, consulted});
  GH_CHECK(out.add(0, patnc::vendor_ietf,
                   content == swima::Content::records ? type::software_events : type::software_identifier_events,
                   std::move(value).take(complete, header.view())));
  return Told{source_.epoch(), consulted + 1};
}

std::vector<std::uint16_t> SwimaImc::subscribers() const {
  std::vector<std::uint16_t> out;
  for (const Subscription& one : subscriptions_)
    if (std::find(out.begin(), out.end(), one.validator) == out.end()) out.push_back(one.validator);
  return out;
}

// Also where nothing has changed: it tells the server that the subscription lives (spec part 1b §5.8).
Result<void> SwimaImc::fulfil(Packer& out) {
  const auto looked = source_.refresh();
  for (Subscription& one : subscriptions_) {
    if (one.validator != out.validator()) continue;
    if (!looked) {
      GH_CHECK(send_fulfilment_error(one.request.id, looked.error().reason, out));
      continue;
    }
    Asked asked{one.request, one.targets, true};
    if (asked.request.earliest_eid != 0) {
      // EIDs of another epoch say nothing: the inventory is the new beginning.
      asked.request.earliest_eid = one.epoch == source_.epoch() ? one.next_eid : 0;
    }
    GH_TRY(const auto told, tell(asked, out));
    note(one, told);
  }
  return {};
}

// What a server didn't find in order it may not have taken in: it is told again (spec part 1b §5.8).
void SwimaImc::assessed(std::uint16_t validator, std::uint32_t result) {
  if (result != compliant) return;
  for (Subscription& one : subscriptions_) {
    if (one.validator != validator) continue;
    one.epoch = one.told_epoch;
    one.next_eid = one.told_eid;
  }
}

bool SwimaImc::due() const {
  return std::any_of(subscriptions_.begin(), subscriptions_.end(), [&](const Subscription& one) {
    return one.seen_epoch != source_.epoch() || one.seen_eid < source_.last_eid();
  });
}

Result<void> SwimaImc::tell_subscriptions(Packer& out) const {
  std::vector<swima::Request> active;
  std::size_t size = patnc::attribute_header_size + 4;
  for (const Subscription& one : subscriptions_) {
    if (one.validator != out.validator()) continue;
    swima::Request request = one.request;
    request.targets.assign(one.targets.begin(), one.targets.end());
    size += 12 + 2 * one.targets.size() + bytes_of(one.targets);
    if (size > out.largest()) break;
    active.push_back(std::move(request));
  }
  Writer w;
  swima::append_subscription_status(w, active);
  return out.add(0, patnc::vendor_ietf, type::subscription_status_response, std::move(w).take());
}

Result<void> SwimaImc::tell_sources(Packer& out) const {
  const auto sources = source_.sources();
  std::vector<swima::SourceMetadata> told;
  for (const SoftwareSource::Source& one : sources) told.push_back({one.number, one.metadata});
  Writer w;
  swima::append_source_metadata(w, told);
  return out.add(0, patnc::vendor_ietf, type::source_metadata_response, std::move(w).take());
}

Result<void> SwimaImc::send_error(std::uint32_t code, std::uint32_t id, std::string_view description, Packer& out,
                                  std::size_t maximum) const {
  Writer information, value;
  swima::append_error_information(information, code,
                                  {id, std::uint32_t(std::min<std::size_t>(maximum, patnc::unlimited)), description});
  patnc::append_error(value, {patnc::vendor_ietf, code, information.view()});
  return out.add(0, patnc::vendor_ietf, type::pa_tnc_error, value.view());
}

// The sub-error is a general one with its words (spec part 1b §1.7.8).
Result<void> SwimaImc::send_fulfilment_error(std::uint32_t id, std::string_view description, Packer& out) const {
  Writer sub;
  sub.put(std::uint8_t{0});
  sub.put24(patnc::vendor_ietf);
  sub.put(swima::error::general);
  sub.put(id);
  sub.put_text(description);
  return send_error(swima::error::subscription_fulfillment, id, as_text(sub.view()), out);
}

}  // namespace gatehouse::endpoint
