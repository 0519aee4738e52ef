// The transport's part of a session: PT-TLS messages, version negotiation, SASL, errors (RFC 6876; spec part 1a §1), and
// the little that PT-EAP needs of it (RFC 7171).
#include "base/base64.h"
#include "base/hex.h"
#include "server/session/session.h"

namespace gatehouse::server {
namespace {

// The longest message before the negotiation has ended: SASL Authentication Data (spec part 1a §7).
constexpr std::size_t max_negotiation_message = 16'400;

std::string_view text(Auth auth) {
  switch (auth) {
    case Auth::none: return "none";
    case Auth::tls: return "tls";
    case Auth::sasl: return "sasl";
    case Auth::tls_or_sasl: return "tls-or-sasl";
    case Auth::tls_and_sasl: return "tls-and-sasl";
  }
  return "none";
}

}  // namespace

void Session::feed(Bytes plaintext) {
  if (phase_ == Phase::ended) return;
  framer_.feed(plaintext);
  pump();
}

bool Session::came(std::size_t bytes) {
  const bool lacks_more = framer_.came(bytes);
  return lacks_more && (phase_ == Phase::data || framer_.buffered() <= max_negotiation_message);
}

// One message at a time; while one waits for its answer nothing more is taken in.
void Session::pump() {
  if (pumping_) return;  // an action may come back at once
  pumping_ = true;
  while (wants_data()) {
    const auto message = framer_.next();
    if (!message) {
      host_.trace_message(Direction::client_to_server, message.error().copy);
      refuse_transport(message.error().code, message.error().copy, message.error().reason);
      break;
    }
    if (*message == nullptr) {
      // Who hasn't said who it is gets no memory for a batch.
      if (phase_ != Phase::data && framer_.buffered() > max_negotiation_message)
        refuse_transport(pttls::ErrorCode::invalid_message, {}, "message too long for the negotiation");
      break;
    }
    on_message(**message);
  }
  pumping_ = false;
}

// Traces have batches in PT-TLS messages, whatever carried them.
void Session::send_message(pttls::Type type, Bytes value) {
  if (carrier_ == Carrier::pt_eap && !host_.traces()) return host_.send(to_vector(value));
  Writer w;
  pttls::append_message(w, type, next_identifier_++, value);
  host_.trace_message(Direction::server_to_client, w.view());
  if (carrier_ == Carrier::pt_eap) return host_.send(to_vector(value));
  host_.send(std::move(w).take());
}

void Session::take_batch(Bytes batch) {
  GH_ASSERT(carrier_ == Carrier::pt_eap && wants_data());
  if (host_.traces()) {
    Writer w;
    pttls::append_message(w, pttls::Type::pb_tnc_batch, next_received_++, batch);
    host_.trace_message(Direction::client_to_server, w.view());
  }
  on_batch(batch);
}

void Session::refuse_transport(pttls::ErrorCode code, Bytes offending, std::string_view why, std::size_t offset) {
  Writer w;
  pttls::append_error(w, code, offending);
  host_.error(Direction::server_to_client, std::optional(code));
  send_message(pttls::Type::error, w.view());
  host_.trace_fact("protocol_error", why);
  finish_with("PT-TLS error " + std::to_string(std::uint32_t(code)) + " at offset " + std::to_string(offset) + ": " + std::string(why));
}

void Session::finish_with(std::string_view why) {
  if (phase_ == Phase::ended) return;
  phase_ = Phase::ended;
  if (!why.empty()) host_.log(LogLevel::warning, "session ended: " + std::string(why));
  record_failure(why.empty() ? "the conversation ended early" : why);
  forget();
  host_.close();
}

void Session::on_message(const pttls::Message& m) {
  host_.trace_message(Direction::client_to_server, m.whole);
  if (host_.logs(LogLevel::debug))
    host_.log(LogLevel::debug, "received PT-TLS message #" + std::to_string(m.header.identifier) + " of type '" +
                                 pttls::name(m.header.vendor, m.header.type) + "' (" + std::to_string(m.header.length) + " bytes)");
  const auto phase = phase_ == Phase::version          ? pttls::Phase::version
                     : phase_ == Phase::authentication ? pttls::Phase::authentication
                                                       : pttls::Phase::data;
  const pttls::Ruling ruling = pttls::rule(pttls::Role::server, phase, m.header);
  switch (ruling.act) {
    case pttls::Ruling::Act::take: break;
    case pttls::Ruling::Act::skip: {
      if (++transport_errors_ > pttls::max_answers) return finish_with("PT-TLS: too many unknown messages");
      Writer w;
      pttls::append_error(w, ruling.code, m.whole);
      host_.error(Direction::server_to_client, std::optional(ruling.code));
      return send_message(pttls::Type::error, w.view());
    }
    case pttls::Ruling::Act::refuse: return refuse_transport(ruling.code, m.whole, "message not allowed in this phase");
    case pttls::Ruling::Act::peer_error: {
      const auto error = pttls::parse_error(m.value);
      if (!error || m.truncated) {
        host_.trace_fact("protocol_error", "malformed PT-TLS error");
        return finish_with("the endpoint sent a malformed PT-TLS error");
      }
      host_.error(Direction::client_to_server, error->vendor == 0 ? std::optional(pttls::ErrorCode(error->code)) : std::nullopt);
      const std::string what = "the endpoint sent PT-TLS error " + std::to_string(error->vendor) + "/" + std::to_string(error->code);
      if (pttls::fatal(*error, phase)) {
        host_.trace_fact("protocol_error", what);
        return finish_with(what);
      }
      return host_.log(LogLevel::warning, what);
    }
  }
  if (phase_ == Phase::version) return on_version(m);
  if (phase_ == Phase::data) return on_batch(m.value);
  perform(sasl_->receive(m), m.whole);
}

void Session::on_version(const pttls::Message& m) {
  const auto range = pttls::parse_version_request(m.value);
  if (!range) return refuse_transport(pttls::error_code(range.error()), m.whole, range.error().reason, range.error().offset);
  if (!pttls::supported(*range)) return refuse_transport(pttls::ErrorCode::version_not_supported, m.whole, "no common version");
  Writer version;
  pttls::append_version_response(version, 1);
  send_message(pttls::Type::version_response, version.view());
  const Peer& peer = conversation_.peer;
  const bool certificate = peer.identity_type == "certificate";
  if ((settings_.auth == Auth::tls || settings_.auth == Auth::tls_and_sasl) && !certificate)
    return finish_with("authentication " + std::string(text(settings_.auth)) + " wants a client certificate");
  if (settings_.auth == Auth::sasl || settings_.auth == Auth::tls_and_sasl || (settings_.auth == Auth::tls_or_sasl && !certificate)) {
    phase_ = Phase::authentication;
    SaslServer::Options options;
    options.width = settings_.sasl_result_width;
    options.channel = peer.channel;
    sasl_ = std::make_unique<SaslServer>(std::move(options), to_base64(host_.random(18)));
    return perform(sasl_->start(), {});
  }
  send_message(pttls::Type::sasl_mechanisms, {});
  phase_ = Phase::data;
  host_.log(LogLevel::info, certificate ? "skipping SASL, endpoint authenticated by certificate as '" + escaped(peer.identity) + "'"
                                        : std::string("endpoint not authenticated by TLS"));
}

void Session::perform(SaslServer::Step step, Bytes received) {
  for (const SaslServer::Send& s : step.send) send_message(s.type, s.value);
  if (auto* check = std::get_if<SaslServer::CheckPassword>(&step.then)) {
    host_.check_password(std::move(check->user), std::move(check->password));
  } else if (auto* find = std::get_if<SaslServer::FindRecord>(&step.then)) {
    perform(sasl_->on_record(host_.scram_record(find->user)), received);
  } else if (auto* good = std::get_if<SaslServer::Accepted>(&step.then)) {
    host_.password_attempt(true);
    conversation_.peer.identity = std::move(good->user);
    conversation_.peer.identity_type = "password";
    host_.log(LogLevel::info, "SASL " + std::string(good->mechanism) + " authentication successful: endpoint authenticated by password as '" +
                                  escaped(conversation_.peer.identity) + "'");
    phase_ = Phase::data;
    sasl_.reset();
  } else if (auto* bad = std::get_if<SaslServer::Rejected>(&step.then)) {
    host_.password_attempt(false);
    host_.log(LogLevel::warning, "SASL " + std::string(bad->mechanism) + " authentication of '" + escaped(bad->user, 255) +
                                     "' failed: " + std::string(bad->reason));
    finish_with("authentication failed");
  } else if (auto* refused = std::get_if<SaslServer::Refused>(&step.then)) {
    refuse_transport(refused->code, received, refused->reason);
  }
}

void Session::on_password(bool good) {
  if (phase_ != Phase::authentication || !sasl_ || !sasl_->waiting()) return;
  perform(sasl_->on_password(good), {});
  pump();
}

}  // namespace gatehouse::server
