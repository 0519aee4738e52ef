#include "server/eap/eap_server.h"

#include "wire/eap/eap.h"

namespace gatehouse::server {
namespace {

std::unexpected<Error> drop(std::string_view why) { return fail(Fault::protocol, why, "RFC 3748 4.1"); }

}  // namespace

EapServer::EapServer(EapHost& host, const Config& config, std::unique_ptr<EapTunnel> tunnel)
    : host_(host), config_(config), tunnel_(std::move(tunnel)),
      identifier_(std::uint8_t(host.random_bytes_of(1).front())), out_(config.fragment_size) {}

std::optional<Bytes> EapServer::take_packet() {
  if (!std::exchange(unsaid_, false)) return std::nullopt;
  return packet_;
}

// Most packets acknowledge a fragment: their memory is kept, and no more than that.
void EapServer::said() {
  constexpr std::size_t kept = 64;
  if (packet_.capacity() > kept) packet_ = {};
}

void EapServer::say(std::uint8_t type, Bytes data) {
  ++identifier_;
  asked_ = true;
  eap::make_packet(packet_, eap::Code::request, identifier_, type, data);
  unsaid_ = true;
  bytes_ += packet_.size();
}

void EapServer::say_fragment() { say(eap::type::ttls, out_.next()); }

void EapServer::conclude(std::optional<pipeline::Recommendation> verdict) {
  verdict_ = verdict;
  stage_ = Stage::over;
  const bool admitted = verdict == pipeline::Recommendation::allow || verdict == pipeline::Recommendation::isolate;
  packet_ = admitted ? eap::success(answered_) : eap::failure(answered_);
  unsaid_ = true;
}

void EapServer::fail_with(std::string_view why) {
  failure_ = why;
  conclude(std::nullopt);
}

bool EapServer::transport_only(Bytes packet) const {
  const auto p = eap::parse_packet(packet);
  if (!p || p->code != eap::Code::response || p->type != eap::type::ttls) return false;
  const auto data = ttls::parse_packet(p->data);
  return data && (data->more || (out_.pending() && data->acknowledgement()));
}

Result<void> EapServer::receive(Bytes bytes) {
  if (stage_ == Stage::over) return drop("the conversation is over");
  if (unsaid_ || stage_ == Stage::status || (inner_ && inner_->waiting())) return drop("a response while the last one isn't answered");
  if (bytes.empty()) {
    if (stage_ != Stage::identity || asked_) return drop("EAP-Start in a conversation");
    say(eap::type::identity, {});
    return {};
  }
  GH_TRY(const eap::Packet p, eap::parse_packet(bytes));
  if (p.code != eap::Code::response) return drop("it isn't a response");
  if (asked_ && p.identifier != identifier_) return drop("EAP identifier of another request");
  if (stage_ == Stage::identity && p.type != eap::type::identity) return drop("an identity was expected");
  answered_ = p.identifier;
  bytes_ += bytes.size();
  if (++packets_ > config_.max_packets || bytes_ > config_.max_bytes) {
    fail_with("the conversation is longer than it may be");
    return {};
  }
  if (stage_ == Stage::identity) {
    outer_identity_ = as_text(p.data);
    stage_ = Stage::handshake;
    // The gateway's request had this identifier, if it wasn't ours.
    if (!asked_) identifier_ = p.identifier;
    say(eap::type::ttls, ttls::start);
    return {};
  }
  if (p.type == eap::type::nak) {
    fail_with("the client can't do EAP-TTLS");
    return {};
  }
  if (p.type != eap::type::ttls) {
    fail_with("response of another EAP type");
    return {};
  }
  if (auto taken = on_ttls(p.data); !taken) {
    detail_ = taken.error().detail;
    fail_with(taken.error().reason);
  }
  return {};
}

// What our last packet was decides what may come: after a fragment its acknowledgement, else TLS, or a fragment of it.
Result<void> EapServer::on_ttls(Bytes data) {
  GH_TRY(const ttls::Packet p, ttls::parse_packet(data));
  if (out_.pending()) {
    if (!p.acknowledgement()) return fail(Fault::protocol, "a fragment wasn't acknowledged", "RFC 5281 9.2.2");
    say_fragment();
    return {};
  }
  if (stage_ == Stage::alert) {
    fail_with(failure_);
    return {};
  }
  if (p.acknowledgement() && !in_.pending()) {
    if (stage_ != Stage::inner) return fail(Fault::protocol, "the client breaks the handshake off", "RFC 5281 7.1");
    GH_CHECK(inner_->receive({}));
    advance();
    return {};
  }
  GH_TRY(const auto message, in_.add(p));
  if (!message) {
    say(eap::type::ttls, ttls::acknowledgement);
    return {};
  }
  on_message(*message);
  return {};
}

void EapServer::on_message(const ttls::Reassembler::Message& tls) {
  auto taken = tunnel_->receive(tls);
  if (taken && stage_ == Stage::handshake && tunnel_->established()) on_established();
  if (stage_ == Stage::over || stage_ == Stage::status) return;
  if (taken && stage_ == Stage::inner) taken = hear();
  if (stage_ == Stage::over) return;
  if (!taken) {
    detail_ = taken.error().detail;
    failure_ = taken.error().reason;
    ByteVector alert = tunnel_->output();
    if (alert.empty()) return fail_with(failure_);
    stage_ = Stage::alert;
    out_.begin(std::move(alert));
    return say_fragment();
  }
  advance();
}

void EapServer::on_established() {
  const std::string subject = config_.certificate == Certificate::none ? std::string() : tunnel_->subject();
  if (subject.empty() && config_.certificate == Certificate::required) return fail_with("the client has no certificate");
  if (!subject.empty() && host_.asks_for_certificate()) {
    stage_ = Stage::status;
    return;
  }
  begin_inner();
}

void EapServer::begin_inner() {
  stage_ = Stage::inner;
  inner_.emplace(host_, config_.inner, config_.certificate == Certificate::none ? std::string() : tunnel_->subject(), tunnel_->resumed());
}

// An error is TLS's; what phase 2 doesn't take ends the conversation.
Result<void> EapServer::hear() {
  GH_TRY(ByteVector plaintext, tunnel_->read());
  // A client's Finished alone is no word of phase 2: it waits for ours, or speaks with its next packet.
  if (plaintext.empty()) return {};
  const auto heard = inner_->receive(plaintext);
  wipe(plaintext);
  if (!heard) fail_with(heard.error().reason);
  return {};
}

void EapServer::on_certificate(const Result<void>& good) {
  if (stage_ != Stage::status) return;
  if (!good) {
    detail_ = good.error().detail;
    return fail_with(good.error().reason);
  }
  begin_inner();
  // What came with the client's Finished.
  if (const auto heard = hear(); !heard) {
    detail_ = heard.error().detail;
    return fail_with(heard.error().reason);
  }
  advance();
}

// Says what there is to say.
void EapServer::advance() {
  if (stage_ == Stage::over) return;
  if (inner_) {
    if (const auto as = inner_->take_resumable()) tunnel_->let_resume(as);
    if (inner_->over()) {
      failure_ = inner_->failure();
      return conclude(inner_->verdict());
    }
    ByteVector plaintext = inner_->take_plaintext();
    if (!plaintext.empty()) {
      const auto written = tunnel_->write(plaintext);
      wipe(plaintext);
      if (!written) return fail_with(written.error().reason);
    }
  }
  ByteVector tls = tunnel_->output();
  if (!tls.empty()) {
    out_.begin(std::move(tls));
    return say_fragment();
  }
  if (inner_ && inner_->waiting()) return;
  // It is the client's turn, but it can't speak unless it is asked.
  say(eap::type::ttls, ttls::acknowledgement);
}

void EapServer::on_password(bool good) {
  if (!inner_ || !inner_->waiting()) return;
  inner_->on_password(good);
  advance();
}

void EapServer::on_judged(bool good, std::string_view proof) {
  if (!inner_ || !inner_->waiting()) return;
  inner_->on_judged(good, proof);
  advance();
}

void EapServer::on_turn(bool heard) {
  if (!inner_ || !inner_->waiting()) return;
  inner_->on_turn(heard);
  advance();
}

void EapServer::on_batch(Bytes batch) {
  if (!inner_ || !inner_->waiting()) return;
  inner_->on_batch(batch);
  advance();
}

void EapServer::on_assessed(std::optional<pipeline::Recommendation> verdict) {
  if (!inner_ || stage_ == Stage::over) return;
  inner_->on_assessed(verdict);
  advance();
}

}  // namespace gatehouse::server
