#include "server/imv/conversation.h"

#include <algorithm>

#include "base/release.h"

namespace gatehouse::server {
Conversation::Conversation(Host& the_host, const Settings& the_settings, State& the_state, Peer the_peer)
    : host(the_host), settings(the_settings), state(the_state), peer(std::move(the_peer)) {
  const ByteVector first = host.random(4);
  std::memcpy(&next_message_id_, first.data(), 4);
  begin_assessment();
}

void Conversation::begin_assessment() {
  plan_ = {};  // it shows parts of the policy
  host.renew();
  const std::int64_t now = host.now_ms();
  session = session_id(now, host.random(8));
  info = {};
  identified_ = false;
  standing_ = policy::Standing::unknown;
  device_.reset();
  barred_.reset();
  facts_ = {};
  history_.clear();
  capture = settings.captures() ? std::make_shared<evidence::Capture>(settings.evidence_memory) : nullptr;
  intent = {};
  intent.session = session;
  intent.policy = settings.policy->version();
  intent.started = now;
}

void Conversation::rest() {
  plan_ = {};
  facts_ = {};
  history_.clear();
  capture.reset();
  info.name.reset();
  info.version.reset();
  device_.reset();
  intent = {};
  release(out);
}

Result<void> Conversation::identify() {
  GH_ASSERT(!identified_);
  identified_ = true;
  intent.device = info.device_id.value_or("");
  intent.product = info.product();
  intent.peer = peer.address;
  intent.identity = peer.identity;
  intent.identity_type = peer.identity_type;
  if (const auto references = host.references()) intent.generation = references->generation();
  if (info.device_id) {
    GH_TRY(device_, state.device(*info.device_id));
  }
  barred_ = device_ && bars(device_->state) ? std::optional(device_->state) : std::nullopt;
  if (device_ && device_->enrolled && device_->state == DeviceState::trusted) {
    const std::vector<std::string>& bound = device_->identities;
    const bool named = std::find(bound.begin(), bound.end(), peer.identity) != bound.end();
    standing_ = bound.empty() ? policy::Standing::claimed : named ? policy::Standing::authenticated : policy::Standing::unknown;
  }
  facts_.standing = standing_;
  facts_.device = intent.device;
  facts_.product = product();
  facts_.identity = peer.identity;
  facts_.identity_type = peer.identity_type;
  facts_.certificate = peer.certificate;
  facts_.now = intent.started;
  facts_.last_boot = info.last_boot;
  plan_ = policy::work_items(*settings.policy, facts_, [&](const std::string& key) -> std::optional<policy::PastResult> {
    const auto past = state.item_result(intent.device, key);
    if (!past || !*past) return std::nullopt;
    const StoredItemResult& r = **past;
    policy::PastResult found{r.time, r.result.recommendation, r.identity, r.identity_type, r.key_pin};
    found.failing_since = r.failing_since;
    if (capture) history_[key] = found;
    return found;
  });
  if (barred_) {
    // It is asked for nothing: there is nothing that it could show.
    plan_.items.clear();
    plan_.denied = true;
    capture.reset();
  }
  return {};
}

std::string Conversation::product() const {
  return device_ && !device_->product.empty() ? device_->product : info.product();
}

Subject Conversation::subject() const {
  Subject of;
  of.session = session;
  of.device = info.device_id.value_or("");
  of.product = product();
  of.generation = intent.generation;
  of.standing = standing_;
  of.other_product = other_product();
  of.denied = plan_.denied;
  of.denied_by = plan_.denied_by;
  if (barred_) {
    of.barred = "the device is " + std::string(name(*barred_));
    of.barred_to = held_to(*barred_);
  }
  of.asked = plan_.items;
  return of;
}

bool Conversation::other_product() const { return product() != info.product(); }

patnc::Builder Conversation::builder() const { return {patnc::max_message(settings.max_batch), next_message_id_}; }

void Conversation::say(std::uint32_t vendor, std::uint32_t subtype, std::uint16_t validator, patnc::Builder&& b,
                       std::uint16_t collector) {
  for (ByteVector& body : b.take()) {
    Reader r(body, "RFC 5792");
    (void)r.skip(patnc::message_header_size);
    for (patnc::Attribute a; !r.empty() && !patnc::parse_attribute(r, a);)
      host.log(LogLevel::debug, "sending PA-TNC attribute '" + patnc::attribute_name(a.vendor, a.type) + "', " +
                                    std::to_string(a.value.size()) + " bytes, in a message of type '" +
                                    patnc::subtype_name(vendor, subtype) + "', " + std::to_string(body.size()) + " bytes");
    // Identifiers are unique within the connection: a random start, then a counter (RFC 5792 3.6).
    const std::uint32_t identifier = next_message_id_++;
    for (int i = 0; i < 4; ++i) body[4 + std::size_t(i)] = std::byte(identifier >> (24 - 8 * i));
    out.push_back({vendor, subtype, validator, collector != pbtnc::any, collector, std::move(body)});
  }
}

bool Conversation::take_error() {
  constexpr unsigned max_errors = 16;  // spec part 1b §10.1
  too_many_errors_ = errors_sent_ == max_errors;
  return !too_many_errors_ && ++errors_sent_ != 0;
}

patnc::Contract Conversation::offered_contract() const {
  return {patnc::unlimited, std::uint32_t(patnc::max_segment(patnc::max_message(settings.max_batch)))};
}

}  // namespace gatehouse::server
