// RADIUS over TCP and over TLS (RFC 6613, RFC 6614): one connection of a gateway's or a proxy's, packets behind one another both
// ways. Over TLS it has a certificate, whose subject is its name, and the shared secret is "radsec". On a strand of its own.
// Requests of this server's own go out on it, too, for who can't be reached otherwise (RFC 5176); nothing is sent twice there.
#pragma once

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "server/radius/exchanges.h"
#include "server/radius/stream_room.h"
#include "server/tls/impl.h"
#include "server/tls/tls_stream.h"
#include "wire/radius/radius.h"

namespace gatehouse::server {

class RadiusFront;

class RadiusStream : public std::enable_shared_from_this<RadiusStream> {
 public:
  // `context`: null: plain TCP.
  RadiusStream(std::shared_ptr<RadiusFront> front, StreamRoom::Id id, boost::asio::ip::tcp::socket socket,
               const boost::asio::ip::tcp::endpoint& peer, std::shared_ptr<const TlsContext> context, std::chrono::seconds connect_deadline);
  ~RadiusStream();
  RadiusStream(const RadiusStream&) = delete;
  RadiusStream& operator=(const RadiusStream&) = delete;

  void begin();
  // Any thread; over once the connection is.
  void send(ByteVector packet);
  void close(std::string_view why);  // a literal
  // Any thread. One of this server's requests; `to` means nothing. `done` as RadiusCaller has it, also where the connection ends.
  using Done = std::function<void(ByteVector answer)>;
  void ask(Exchanges::Request request, Done done);
  StreamRoom::Id id() const { return id_; }
  bool secured() const { return tls_.has_value(); }
  const std::string& subject() const { return subject_; }  // once it is established
  const boost::asio::ip::tcp::endpoint& peer() const { return peer_; }

 private:
  void on_established();
  bool prove();
  void read();
  void on_bytes(Bytes bytes);
  void write_next();
  void written(bool good);
  void take_answer(Bytes packet);
  void go_on_asking();
  void arm(std::chrono::seconds from_now);
  void end(std::string_view why);

  const std::shared_ptr<RadiusFront> front_;
  const StreamRoom::Id id_;
  const std::shared_ptr<const TlsContext> context_;
  const std::chrono::seconds connect_deadline_;
  const boost::asio::ip::tcp::endpoint peer_;
  std::optional<boost::asio::ip::tcp::socket> plain_;
  std::optional<TlsStream> tls_;
  boost::asio::any_io_executor strand_;
  boost::asio::steady_timer timer_, ask_timer_;
  std::array<std::byte, radius::max_packet> buffer_{};  // of plain TCP
  radius::Framer framer_;
  std::string subject_;
  std::deque<ByteVector> out_;
  std::size_t out_bytes_ = 0;
  bool writing_ = false, ended_ = false, partial_ = false;  // partial: a packet has begun to come
  Exchanges exchanges_;  // of this server's own requests
  std::unordered_map<Exchanges::Id, Done> asking_;
  bool proven_ = false;  // by its certificate, or by a packet that was authentic
};

}  // namespace gatehouse::server
