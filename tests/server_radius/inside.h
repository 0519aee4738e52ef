// An endpoint behind a gateway that does in TLS, and says inside the tunnel, whatever a test wants: the other end of the server's
// EAP-TTLS, without any of our endpoint's manners.
#pragma once

#include <openssl/bio.h>

#include "base/hash.h"
#include "base/md5.h"
#include "tests/server_radius/peer.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pteap/pteap.h"
#include "wire/ttls/ttls.h"

namespace gatehouse::test {

class InsidePeer {
 public:
  struct As {
    int version = TLS1_3_VERSION;
    std::string ciphers;    // of TLS 1.2; empty: the library's
    bool fallback = false;  // it has tried a newer version before, so it says (RFC 7507)
    std::string station = "192.0.2.9[4500]";
  };
  InsidePeer(std::uint16_t port, const As& as) : udp_(port), gateway_(gateway(as)), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_security_level(context_.get(), 0);
    SSL_CTX_set_min_proto_version(context_.get(), as.version);
    SSL_CTX_set_max_proto_version(context_.get(), as.version);
    if (!as.ciphers.empty()) {
      EXPECT_EQ(SSL_CTX_set_cipher_list(context_.get(), as.ciphers.c_str()), 1);
    }
    if (as.fallback) SSL_CTX_set_mode(context_.get(), SSL_MODE_SEND_FALLBACK_SCSV);
    ssl_.reset(SSL_new(context_.get()));
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_connect_state(ssl_.get());
  }

  // From the outer identity to the tunnel; whether there is one.
  bool handshake() {
    if (!ask(eap::packet(eap::Code::response, 1, eap::type::identity, as_bytes("anonymous")))) return false;
    for (int n = 0; n < 8 && !over(); ++n) {
      ERR_clear_error();
      const bool done = SSL_do_handshake(ssl_.get()) == 1;
      const ByteVector mine = written();
      if (mine.empty()) return done;
      if (!converse(mine)) return false;
      if (done) return true;
    }
    return false;
  }
  // Bytes of TLS in one message, and the server's in answer, which TLS here is given, too; nullopt: the conversation is over, or
  // there was no answer at all.
  std::optional<ByteVector> converse(Bytes tls) {
    ttls::Fragmenter fragments(1'024);
    fragments.begin(to_vector(tls));
    ttls::Reassembler answer;
    ByteVector data = fragments.next();
    for (int n = 0; n < 1'000; ++n) {
      if (!ask(eap::packet(eap::Code::response, identifier(), eap::type::ttls, data)) || over()) return std::nullopt;
      const auto outer = eap::parse_packet(answer_->eap);
      const auto packet = ttls::parse_packet(outer->data);
      if (!packet) return std::nullopt;
      if (fragments.pending()) {
        data = fragments.next();
        continue;
      }
      if (packet->acknowledgement()) return ByteVector();
      const auto whole = answer.add(*packet);
      if (!whole) return std::nullopt;
      if (*whole) {
        ByteVector tls = (*whole)->joined();
        BIO_write(in_, tls.data(), int(tls.size()));
        return tls;
      }
      data = to_vector(ttls::acknowledgement);
    }
    return std::nullopt;
  }
  // This inside the tunnel, and what the server says there; empty: nothing, or the conversation is over.
  ByteVector say(Bytes plaintext) {
    EXPECT_EQ(SSL_write(ssl_.get(), plaintext.data(), int(plaintext.size())), int(plaintext.size()));
    if (!converse(written())) return {};
    return heard();
  }
  // The same for an EAP packet in its AVP; the server's request, whose identifier the next answer has.
  std::optional<eap::Packet> answer(std::uint8_t type, Bytes data) {
    kept_ = say(ttls::eap_avp(eap::packet(eap::Code::response, inner_, type, data)));
    const auto avps = ttls::parse_avps(kept_);
    if (!avps || avps->all.empty()) return std::nullopt;
    const auto request = eap::parse_packet(avps->all.front().data);
    if (!request) return std::nullopt;
    inner_ = request->identifier;
    return *request;
  }
  // As carol, up to PT-EAP.
  bool authenticate() {
    const auto challenge = answer(eap::type::identity, as_bytes("carol"));
    if (!challenge || challenge->type != eap::type::md5_challenge || challenge->data.size() < 17) return false;
    const std::byte id{challenge->identifier};
    const Md5 value = md5({Bytes(&id, 1), as_bytes("correct horse battery"), challenge->data.subspan(1, 16)});
    Writer w;
    w.put(std::uint8_t(value.size()));
    w.put_bytes(value);
    const auto start = answer(eap::type::md5_challenge, w.view());
    return start && start->type == eap::type::pt_eap;
  }
  // The server says no more than it has to, an alert at most; then it refuses, and gives nothing away with that.
  testing::AssertionResult ends_in_refusal() {
    for (int n = 0; n < 3 && !over(); ++n)
      if (!ask(eap::packet(eap::Code::response, identifier(), eap::type::ttls, ttls::acknowledgement))) break;
    if (!over()) return testing::AssertionFailure() << "the conversation goes on";
    if (answer_->code != radius::Code::access_reject) return testing::AssertionFailure() << "no Access-Reject";
    if (answer_->eap.empty() || answer_->eap.front() != std::byte(eap::Code::failure)) return testing::AssertionFailure() << "no EAP-Failure";
    if (!answer_->msk.empty() || !answer_->filter_id.empty()) return testing::AssertionFailure() << "something that lets it in";
    return testing::AssertionSuccess();
  }

  bool over() const { return answer_ && answer_->code != radius::Code::access_challenge; }
  SSL* ssl() { return ssl_.get(); }
  // What TLS here wants to say.
  ByteVector written() {
    ByteVector out(BIO_ctrl_pending(out_));
    const int n = out.empty() ? 0 : BIO_read(out_, out.data(), int(out.size()));
    out.resize(std::size_t(std::max(n, 0)));
    return out;
  }
  // What the server has said inside the tunnel.
  ByteVector heard() {
    ByteVector out(65'536);
    ERR_clear_error();
    const int n = SSL_read(ssl_.get(), out.data(), int(out.size()));
    out.resize(std::size_t(std::max(n, 0)));
    return out;
  }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  static endpoint::RadiusGateway gateway(const As& as) {
    endpoint::RadiusGateway::Config config;
    config.secret = Secret(as_bytes(radius_secret));
    config.user = "anonymous";
    config.station = as.station;
    return endpoint::RadiusGateway(std::move(config));
  }
  std::uint8_t identifier() const { return std::uint8_t(answer_->eap[1]); }
  bool ask(Bytes packet) {
    const auto request = gateway_.request(packet);
    udp_.send(*request);
    auto answer = gateway_.receive(udp_.receive());
    if (!answer) return false;
    answer_ = std::move(answer);
    return true;
  }

  UdpPeer udp_;
  endpoint::RadiusGateway gateway_;
  const std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> ssl_;
  BIO* in_ = nullptr;   // the SSL's
  BIO* out_ = nullptr;  // the SSL's
  std::optional<endpoint::RadiusGateway::Answer> answer_;
  std::uint8_t inner_ = 0;
  ByteVector kept_;
};

}  // namespace gatehouse::test
