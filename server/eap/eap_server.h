// One EAP conversation from the server's side, sans I/O (RFC 3748, RFC 5281; spec part 1a §2): responses come in, requests
// go out, one at a time. Outside there is only EAP-TTLS; what is inside is phase2.h's.
//
//   Identity ─ Start ─▶ handshake ─ established ─▶ (certificate's status) ─▶ phase 2 ─ over ─▶ Success or Failure
//
//   EapServer eap(host, config, std::move(tunnel));
//   if (!eap.receive(packet)) return;                      // dropped, nothing has changed
//   if (const auto next = eap.take_packet()) send(*next);  // or later, once the host has answered
//   if (eap.over()) … eap.verdict(), eap.keys()
#pragma once

#include <memory>

#include "server/eap/phase2.h"
#include "server/eap/tunnel.h"
#include "wire/ttls/ttls.h"

namespace gatehouse::server {

class EapServer {
 public:
  enum class Certificate : std::uint8_t { none, optional, required };
  struct Config {
    EapPhase2::Config inner;
    Certificate certificate = Certificate::none;
    std::size_t fragment_size = 1'024;  // whole EAP packets
    // Of one conversation (spec part 1a §7).
    std::size_t max_packets = 20'000, max_bytes = std::size_t(16) << 20;
  };
  // Config outlives it.
  EapServer(EapHost& host, const Config& config, std::unique_ptr<EapTunnel> tunnel);

  // A packet of the gateway's; empty: EAP-Start. An error: it is to be dropped silently, because it doesn't answer what is
  // outstanding (RFC 3748 section 4.1).
  Result<void> receive(Bytes packet);
  // Whether a packet carries a message on without completing it, either way: to receive it costs next to nothing, and its answer is
  // there at once.
  bool transport_only(Bytes packet) const;
  // The path's size of EAP packets, from what the gateway says.
  void limit_fragments(std::size_t bytes) { out_.set_largest(std::min(bytes, config_.fragment_size)); }
  // Whether the client's certificate counts, where the host wanted to ask. An error ends the conversation.
  void on_certificate(const Result<void>& good);
  // The host's answers to phase 2.
  void on_password(bool good);
  void on_judged(bool good, std::string_view proof);
  void on_turn(bool heard = true);
  void on_batch(Bytes batch);
  void on_assessed(std::optional<pipeline::Recommendation> verdict);

  // The next request, or Success or Failure once over(), once; until the next call. nullopt: the host is at work.
  std::optional<Bytes> take_packet();
  // What was taken isn't needed any more: many wait long for the answer to a large one.
  void said();
  bool over() const { return stage_ == Stage::over; }
  // Once over; block and none: the client was told so.
  std::optional<pipeline::Recommendation> verdict() const { return verdict_; }
  std::string_view failure() const { return failure_; }
  // What TLS said of it.
  const std::string& failure_detail() const { return detail_; }
  // Once over with Success.
  Result<Secret> keys() const { return tunnel_->keys(); }

  const std::string& outer_identity() const { return outer_identity_; }
  const EapTunnel& tunnel() const { return *tunnel_; }
  // The host is at work: the next packet is one of its answers.
  bool waiting() const { return stage_ == Stage::inner && inner_->waiting(); }

 private:
  enum class Stage : std::uint8_t {
    identity,   // who is it? (asked by the gateway, or by us after EAP-Start)
    handshake,  // from Start on
    status,     // the tunnel is there; the host asks whether the client's certificate was revoked
    inner,      // the tunnel is there
    alert,      // the handshake failed: the peer has to hear why before Failure
    over,
  };
  Result<void> on_ttls(Bytes data);
  void on_message(const ttls::Reassembler::Message& tls);
  void on_established();
  void begin_inner();
  Result<void> hear();
  void advance();
  void say(std::uint8_t type, Bytes data);
  void say_fragment();
  void fail_with(std::string_view why);
  void conclude(std::optional<pipeline::Recommendation> verdict);

  EapHost& host_;
  const Config& config_;
  std::unique_ptr<EapTunnel> tunnel_;
  std::optional<EapPhase2> inner_;
  Stage stage_ = Stage::identity;
  std::uint8_t identifier_ = 0;  // of the request that is outstanding
  std::uint8_t answered_ = 0;    // of the last response
  bool asked_ = false;           // a request is outstanding
  ttls::Fragmenter out_;
  ttls::Reassembler in_;
  std::size_t packets_ = 0, bytes_ = 0;
  std::string outer_identity_;
  ByteVector packet_;         // the last one
  bool unsaid_ = false;       // it is to be taken
  std::optional<pipeline::Recommendation> verdict_;
  std::string_view failure_;
  std::string detail_;
};

}  // namespace gatehouse::server
