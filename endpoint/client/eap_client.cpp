#include "endpoint/client/eap_client.h"

#include "base/hash.h"
#include "base/md5.h"
#include "base/ms_chap.h"
#include "wire/pteap/pteap.h"

namespace gatehouse::endpoint {
namespace {

std::unexpected<Error> wrong(std::string_view why, std::string_view spec = "RFC 5281") { return fail(Fault::protocol, why, spec); }

ByteVector response(std::uint8_t identifier, std::uint8_t type, Bytes data) {
  return eap::packet(eap::Code::response, identifier, type, data);
}

}  // namespace

EapClient::EapClient(Config config, std::unique_ptr<TlsTunnel> tunnel, const std::vector<Imc*>& imcs)
    : config_(std::move(config)), tunnel_(std::move(tunnel)), tnc_(config_.tnc, imcs), out_(config_.fragment_size) {}

ByteVector EapClient::identity(std::uint8_t identifier) const {
  return response(identifier, eap::type::identity, as_bytes(config_.outer_identity));
}

Result<std::optional<ByteVector>> EapClient::receive(Bytes bytes) {
  GH_TRY(const eap::Packet p, eap::parse_packet(bytes));
  switch (p.code) {
    case eap::Code::response: return std::nullopt;
    case eap::Code::success:
      over_ = true;
      // Before the inner conversation has come to its end it is somebody else's word (RFC 9427 section 3.4).
      succeeded_ = !error_ && tunnel_->established() && (tnc_.outcome() || config_.no_attestation);
      if (!succeeded_ && !error_) error_ = Error{Fault::protocol, "EAP-Success before the verdict", "RFC 9427 3.4", 0, {}, {}};
      return std::nullopt;
    case eap::Code::failure:
      over_ = true;
      if (!error_ && !tnc_.outcome())
        error_ = Error{Fault::environment, assessing_ ? "EAP-Failure before the verdict" : "authentication failed: EAP-Failure", {}, 0, {}, {}};
      return std::nullopt;
    case eap::Code::request: break;
  }
  switch (p.type) {
    case eap::type::identity: return identity(p.identifier);
    case eap::type::notification: return response(p.identifier, p.type, {});
    case eap::type::ttls: break;
    default: {
      const std::byte wanted{eap::type::ttls};
      return response(p.identifier, eap::type::nak, Bytes(&wanted, 1));
    }
  }
  auto data = on_ttls(p.identifier, p.data);
  if (!data) {
    if (!error_) error_ = std::move(data).error();
    over_ = true;
    return std::unexpected(*error_);
  }
  return response(p.identifier, eap::type::ttls, *data);
}

Result<ByteVector> EapClient::on_ttls(std::uint8_t, Bytes data) {
  GH_TRY(const ttls::Packet p, ttls::parse_packet(data));
  if (p.start) {
    if (std::exchange(begun_, true)) return wrong("a second EAP-TTLS Start");
    GH_CHECK(tunnel_->receive({}));
  } else if (!begun_) {
    return wrong("EAP-TTLS without Start");
  } else if (out_.pending()) {
    if (!p.acknowledgement()) return wrong("a fragment wasn't acknowledged");
    return out_.next();
  } else if (p.acknowledgement() && !in_.pending()) {
    if (!tunnel_->established()) return wrong("the server breaks the handshake off");
    // It waits for what we may have to say.
  } else {
    GH_TRY(const auto message, in_.add(p));
    if (!message) return to_vector(ttls::acknowledgement);
    if (auto taken = on_tls(message->joined()); !taken) {
      if (!error_) error_ = std::move(taken).error();
    }
  }
  ByteVector tls = tunnel_->output();
  // Also where TLS has failed: the server's Failure follows.
  if (tls.empty()) return to_vector(ttls::acknowledgement);
  out_.begin(std::move(tls));
  return out_.next();
}

Result<void> EapClient::on_tls(Bytes tls) {
  GH_CHECK(tunnel_->receive(tls));
  if (!tunnel_->established()) return {};
  GH_TRY(ByteVector plaintext, tunnel_->read());
  if (!plaintext.empty()) return on_plaintext(plaintext);
  if (spoken_) return {};
  // Nobody has to ask who we are (RFC 5281 section 11.2.1).
  spoken_ = true;
  ByteVector words = first_words();
  const auto written = tunnel_->write(words);
  wipe(words);
  return written;
}

ByteVector EapClient::first_words() const {
  if (config_.method != Method::pap)
    return ttls::eap_avp(response(0, eap::type::identity, as_bytes(config_.user)));
  // The password is padded, so that its length doesn't show (RFC 5281 section 11.2.5).
  constexpr std::size_t block = 16;
  ByteVector padded = to_vector(config_.password.reveal());
  padded.resize((padded.size() + block) / block * block);
  Writer w;
  ttls::append_avp(w, ttls::avp::user_name, as_bytes(config_.user));
  ttls::append_avp(w, ttls::avp::user_password, padded);
  wipe(padded);
  return std::move(w).take();
}

Result<void> EapClient::on_plaintext(Bytes plaintext) {
  GH_TRY(const ttls::Avps avps, ttls::parse_avps(plaintext));
  if (avps.used != plaintext.size()) return wrong("an AVP isn't whole");
  ByteVector packet;
  for (const ttls::Avp& a : avps.all) {
    if (a.vendor == 0 && a.code == ttls::avp::eap_message) packet.insert(packet.end(), a.data.begin(), a.data.end());
    else if (a.mandatory) return wrong("a mandatory AVP that isn't known here");
  }
  GH_TRY(const eap::Packet request, eap::parse_packet(packet));
  if (request.code != eap::Code::request) return wrong("the server sent no request");
  spoken_ = true;
  GH_TRY(ByteVector answer, on_inner(request));
  ByteVector avp = ttls::eap_avp(answer);
  const auto written = tunnel_->write(avp);
  wipe(answer);
  wipe(avp);
  return written;
}

Result<ByteVector> EapClient::on_inner(const eap::Packet& request) {
  const auto nak = [&](std::uint8_t wanted) {
    const std::byte type{wanted};
    return response(request.identifier, eap::type::nak, Bytes(&type, 1));
  };
  switch (request.type) {
    case eap::type::identity: return response(request.identifier, request.type, as_bytes(config_.user));
    case eap::type::md5_challenge:
      if (takes(Method::md5)) return on_md5(request);
      break;
    case eap::type::mschap_v2:
      if (takes(Method::mschapv2)) return on_mschapv2(request);
      break;
    case eap::type::gtc:
      if (takes(Method::gtc)) return response(request.identifier, request.type, config_.password.reveal());
      break;
    case eap::type::pt_eap:
      if (config_.no_attestation) return nak(0);
      if (config_.eap_tnc) return nak(eap::type::tnc);
      return on_pt_eap(request);
    case eap::type::tnc:
      if (config_.eap_tnc) return on_pt_eap(request);
      break;
    default: break;
  }
  return nak(config_.method == Method::mschapv2 ? eap::type::mschap_v2 : config_.method == Method::gtc ? eap::type::gtc : eap::type::md5_challenge);
}

Result<ByteVector> EapClient::on_md5(const eap::Packet& request) {
  Reader r(request.data, "RFC 3748 5.4");
  GH_TRY(const auto size, r.get<std::uint8_t>());
  GH_TRY(const Bytes challenge, r.take(size));
  const std::byte id{request.identifier};
  const Md5 value = md5({Bytes(&id, 1), config_.password.reveal(), challenge});
  Writer w;
  w.put(std::uint8_t(value.size()));
  w.put_bytes(value);
  w.put_text(config_.user);
  return response(request.identifier, request.type, w.view());
}

Result<ByteVector> EapClient::on_mschapv2(const eap::Packet& request) {
  constexpr std::uint8_t op_challenge = 1, op_response = 2, op_success = 3;
  Reader r(request.data, "RFC 2759");
  GH_TRY(const auto op, r.get<std::uint8_t>());
  GH_TRY(const auto id, r.get<std::uint8_t>());
  GH_CHECK(r.skip(2));
  if (op == op_success) {
    const std::string_view message = as_text(r.rest());
    if (expected_proof_.empty() || message.substr(0, expected_proof_.size()) != expected_proof_)
      return wrong("the server doesn't prove that it knows the password", "RFC 2759 8.8");
    const std::byte good{op_success};
    return response(request.identifier, request.type, Bytes(&good, 1));
  }
  if (op != op_challenge) return wrong("the server refuses the password", "RFC 2759 6");
  GH_TRY(const auto size, r.get<std::uint8_t>());
  if (size != 16) return wrong("a challenge isn't 16 bytes", "RFC 2759 4");
  GH_TRY(const Bytes challenge, r.take(size));
  const auto hash = nt_hash(as_text(config_.password.reveal()));
  if (!hash) return fail(Fault::usage, "MSCHAPv2 can't carry this password");
  const ByteVector mine = random_bytes(16);
  const MsChapResponse value = ms_chap_response(challenge, mine, config_.user, *hash);
  expected_proof_ = ms_chap_proof(*hash, value, challenge, mine, config_.user);
  Writer w;
  w.put(op_response);
  w.put(id);
  w.put(std::uint16_t(54 + config_.user.size()));
  w.put(std::uint8_t{49});
  w.put_bytes(mine);
  w.put_zeros(8);
  w.put_bytes(value);
  w.put(std::uint8_t{0});
  w.put_text(config_.user);
  return response(request.identifier, request.type, w.view());
}

Result<ByteVector> EapClient::on_pt_eap(const eap::Packet& request) {
  GH_TRY(const pteap::Message m, config_.eap_tnc ? pteap::parse_tnc_message(request.data) : pteap::parse_message(request.data));
  TncClient::Step step;
  if (m.start) {
    if (std::exchange(assessing_, true)) return wrong("a second PT-EAP Start", "RFC 7171 3");
    step = tnc_.start();
  } else if (!assessing_) {
    return wrong("a batch before PT-EAP Start", "RFC 7171 3");
  } else if (!m.batch.empty()) {
    step = tnc_.receive(m.batch);
  }
  if (step.ended && tnc_.error()) error_ = tnc_.error();
  return response(request.identifier, request.type, pteap::message(step.batch));
}

}  // namespace gatehouse::endpoint
