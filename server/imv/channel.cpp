#include "server/imv/channel.h"

#include <utility>

namespace gatehouse::server {
namespace {

constexpr std::uint32_t tcg = patnc::vendor_tcg;
// Collectors of one subtype on one endpoint; a lying endpoint can't make us keep state for more.
constexpr std::size_t max_collectors = 16;
// Attributes that a collector sends in segments at the same time: as many as our own client sends.
constexpr std::size_t max_transfers = 16;

}  // namespace

Channel::Channel(Conversation& conversation, std::uint16_t imv, std::uint32_t vendor, std::uint32_t subtype,
                 patnc::Reassembler::Admit admit)
    : c_(conversation), imv_(imv), vendor_(vendor), subtype_(subtype), admit_(std::move(admit)) {}

Channel::Link* Channel::link(std::uint16_t collector) {
  if (const auto at = links_.find(collector); at != links_.end()) return &at->second;
  if (links_.size() >= max_collectors) return nullptr;
  Link made = new_link();
  if (contract_requested_) made.reassembler.issue(c_.offered_contract());
  return &links_.emplace(collector, std::move(made)).first->second;
}

Channel::Link Channel::new_link() const {
  return {patnc::Segmenter(patnc::max_message(c_.settings.max_batch)),
          patnc::Reassembler({.transfers = max_transfers, .without_contract = false}, admit_, &c_.reassembly)};
}

std::optional<Channel::Agreed> Channel::agreed() const {
  Agreed out{contract_requested_, {}};
  out.with.reserve(links_.size());
  for (const auto& [collector, known] : links_) {
    if (known.segmenter.transfers() != 0 || !known.reassembler.idle()) return std::nullopt;
    out.with.push_back({collector, known.segmenter.agreed(), known.reassembler.contract()});
  }
  return out;
}

void Channel::resume(const Agreed& before) {
  contract_requested_ = before.requested;
  for (const Agreed::With& one : before.with) {
    Link made = new_link();
    made.segmenter.resume(one.sending);
    made.reassembler.resume(one.receiving);
    links_.emplace(one.collector, std::move(made));
  }
}

patnc::Builder& Channel::builder(std::uint16_t collector) {
  for (auto& [to, open] : outgoing_)
    if (to == collector) return open;
  return outgoing_.emplace_back(collector, c_.builder()).second;
}

void Channel::request_contract() {
  if (contract_requested_) return;
  contract_requested_ = true;
  for (auto& [_, known] : links_) known.reassembler.issue(c_.offered_contract());
  Writer w;
  patnc::append_contract(w, c_.offered_contract());
  (void)builder(pbtnc::any).add(0, tcg, patnc::type::contract_request, w.view());
}

bool Channel::add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value, std::uint16_t collector) {
  Link* const known = collector != pbtnc::any ? link(collector) : nullptr;
  const bool good = known != nullptr ? known->segmenter.add(builder(collector), flags, vendor, type, value).has_value()
                                     : builder(collector).add(flags, vendor, type, value);
  if (!good)
    c_.host.log(LogLevel::error, "PA-TNC attribute '" + patnc::attribute_name(vendor, type) + "' of " +
                                     std::to_string(value.size()) + " bytes is larger than a message and was left out");
  return good;
}

void Channel::say_error(std::uint16_t collector, const patnc::Refusal& refusal, Bytes header_copy) {
  if (!c_.take_error()) return;
  const ByteVector value = patnc::error_value(refusal, header_copy);
  (void)builder(collector).add(0, patnc::vendor_ietf, patnc::type::pa_tnc_error, value);
}

void Channel::refuse(const Message& message, const patnc::Refusal& refusal) {
  say_error(message.collector, refusal, message.header_copy);
}

void Channel::flush() {
  for (auto& [collector, open] : outgoing_) c_.say(vendor_, subtype_, imv_, std::move(open), collector);
  outgoing_.clear();
}

void Channel::take(const pbtnc::PaMessage& pa, const patnc::Parsed& parsed, Receiver& receiver) {
  if (parsed.refusal) {
    say_error(pa.collector, *parsed.refusal, parsed.header.copy);
    return receiver.malformed("malformed PA-TNC message: " + std::string(parsed.refusal->reason));
  }
  Link* const known = link(pa.collector);
  if (known == nullptr) return receiver.malformed("messages of too many collectors");
  const std::span<const patnc::Attribute> all = parsed.attributes;
  std::size_t first = 0;  // of those that are delivered together
  for (std::size_t i = 0; i < all.size(); ++i) {
    const patnc::Attribute& a = all[i];
    if (a.vendor != tcg || a.type < patnc::type::contract_request || a.type > patnc::type::next_segment) continue;
    deliver(pa, all.subspan(first, i - first), receiver);
    first = i + 1;
    Reader r(a.value, "TCG IF-M Segmentation", a.value_offset());
    if (a.type == patnc::type::contract_request) on_contract_request(*known, pa, r, receiver);
    if (a.type == patnc::type::segment_envelope) on_envelope(*known, pa, r, receiver);
    if (a.type == patnc::type::contract_response) {
      const auto response = patnc::parse_contract(r);
      if (!response) {
        say_error(pa.collector, {patnc::ErrorCode::invalid_parameter, response.error().offset, {}, response.error().reason}, parsed.header.copy);
        receiver.malformed(response.error().text());
      } else if (!known->reassembler.agree(*response)) {
        c_.host.log(LogLevel::debug, "a Segmentation Contract Response that wasn't asked for");
      }
    }
    if (a.type == patnc::type::next_segment) {
      const auto asked = patnc::parse_next_segment(r);
      if (!asked) {
        say_error(pa.collector, {patnc::ErrorCode::invalid_parameter, asked.error().offset, {}, asked.error().reason}, parsed.header.copy);
        receiver.malformed(asked.error().text());
      } else if (known->segmenter.next(builder(pa.collector), *asked) == patnc::Segmenter::Answer::unknown) {
        c_.host.log(LogLevel::debug, "Next Segment for an unknown transfer");
      }
    }
  }
  deliver(pa, all.subspan(first), receiver);
}

void Channel::deliver(const pbtnc::PaMessage& pa, std::span<const patnc::Attribute> run, Receiver& receiver) {
  if (run.empty()) return;
  Message message;
  message.collector = pa.collector;
  message.header_copy = pa.body.first(patnc::message_header_size);
  message.base_offset = run.front().offset - patnc::message_header_size;
  const std::size_t end = run.back().value_offset() + run.back().value.size();
  message.bytes = pa.body.subspan(message.base_offset, end - message.base_offset);
  message.attributes = run;
  receiver.receive(message);
}

// Answered before anything else that goes to this collector (spec part 1b §3.8).
void Channel::on_contract_request(Link& known, const pbtnc::PaMessage& pa, Reader& r, Receiver& receiver) {
  const auto asked = patnc::parse_contract(r);
  if (!asked) {
    say_error(pa.collector, {patnc::ErrorCode::invalid_parameter, asked.error().offset, {}, asked.error().reason},
              pa.body.first(patnc::message_header_size));
    return receiver.malformed(asked.error().text());
  }
  Writer w;
  patnc::append_contract(w, known.segmenter.agree(*asked));
  (void)builder(pa.collector).add(0, tcg, patnc::type::contract_response, w.view());
}

void Channel::on_envelope(Link& known, const pbtnc::PaMessage& pa, Reader& r, Receiver& receiver) {
  const std::size_t value_offset = r.offset();
  const auto envelope = patnc::parse_envelope(r);
  if (!envelope) {
    say_error(pa.collector, {patnc::ErrorCode::invalid_parameter, envelope.error().offset, {}, envelope.error().reason},
              pa.body.first(patnc::message_header_size));
    return receiver.malformed(envelope.error().text());
  }
  patnc::Reassembler::Step step = known.reassembler.add(*envelope, value_offset);
  if (step.piece)
    if (const auto good = receiver.receive_piece(pa.collector, *step.piece); !good) {
      const Error& e = good.error();
      const bool unwanted = e.fault == Fault::denied, cancelled = unwanted || e.fault == Fault::limit;
      step = cancelled ? known.reassembler.cancel(step, e.reason) : known.reassembler.refuse(step, e.offset, e.reason);
      if (unwanted) step.lost = false;
    }
  perform(pa, std::move(step), receiver);
}

void Channel::perform(const pbtnc::PaMessage& pa, patnc::Reassembler::Step step, Receiver& receiver) {
  const ByteVector pseudo = patnc::pseudo_header(step.id);
  if (step.refusal)
    say_error(pa.collector, *step.refusal, step.about_base ? Bytes(pseudo) : pa.body.first(patnc::message_header_size));
  (void)patnc::add_next_segment(builder(pa.collector), step);
  if (step.lost) return receiver.malformed("segmented attribute: " + std::string(step.why));
  if (!step.attribute) return;
  ByteVector whole = std::move(*step.attribute);
  whole.insert(whole.begin(), pseudo.begin(), pseudo.end());
  Reader r(Bytes(whole).subspan(patnc::message_header_size), "RFC 5792");
  patnc::Attribute base;
  if (const auto refusal = patnc::parse_attribute(r, base)) {
    say_error(pa.collector, *refusal, pseudo);
    return receiver.malformed("segmented attribute: " + std::string(refusal->reason));
  }
  Message message;
  message.collector = pa.collector;
  message.header_copy = pseudo;
  message.bytes = whole;
  message.base_offset = std::size_t(0) - patnc::message_header_size;
  message.attributes = {&base, 1};
  receiver.receive(message);
}

void Channel::batch_end(bool spoke, Receiver& receiver) {
  for (auto& [collector, known] : links_)
    for (const patnc::Reassembler::Dropped& dropped : known.reassembler.batch_end(spoke))
      receiver.malformed("the collector stopped sending segments of '" + patnc::attribute_name(dropped.vendor, dropped.type) + "'");
}

}  // namespace gatehouse::server
