#include "server/tls/radius_stream.h"

#include <algorithm>
#include <boost/asio.hpp>

#include "base/log.h"
#include "server/tls/radius_front.h"

namespace gatehouse::server {

namespace asio = boost::asio;
using boost::system::error_code;
using namespace std::chrono_literals;

namespace {

// The rest of a packet whose beginning has come, and silence between packets: who keeps a connection says something at times (RFC
// 6614 section 3.4: Status-Server). Who has proved nothing has one deadline from the connection on, whatever comes.
constexpr auto packet_deadline = 30s, silence = 3'600s;
// Answers to what this server asks.
constexpr radius::Code dynamic_answers[] = {radius::Code::disconnect_ack, radius::Code::disconnect_nak, radius::Code::coa_ack, radius::Code::coa_nak};
// Of answers that wait: a peer that doesn't read what it asks for.
constexpr std::size_t max_out_bytes = std::size_t(1) << 20;

}  // namespace

RadiusStream::RadiusStream(std::shared_ptr<RadiusFront> front, StreamRoom::Id id, asio::ip::tcp::socket socket,
                           const asio::ip::tcp::endpoint& peer, std::shared_ptr<const TlsContext> context, std::chrono::seconds connect_deadline)
    : front_(std::move(front)), id_(id), context_(std::move(context)), connect_deadline_(connect_deadline), peer_(peer), strand_(socket.get_executor()), timer_(strand_), ask_timer_(strand_) {
  if (context_) tls_.emplace(std::move(socket), context_->native());
  else plain_.emplace(std::move(socket));
}

RadiusStream::~RadiusStream() { front_->stream_gone(id_); }

void RadiusStream::begin() {
  asio::post(strand_, [self = shared_from_this()] {
    if (self->ended_) return;
    self->arm(self->connect_deadline_);
    if (!self->tls_) return self->on_established();
    self->tls_->handshake([self](TlsResult r) {
      if (self->ended_) return;
      if (!r.failure.empty()) return self->end("TLS handshake failed: " + r.failure + ' ' + refused_certificate(self->tls_->native()));
      self->subject_ = peer_subject(self->tls_->native());
      self->on_established();
    });
  });
}

void RadiusStream::on_established() {
  log::write(log::Level::info, {}, "RADIUS connection of " + peer_.address().to_string() + ":" + std::to_string(peer_.port()) +
                                       (tls_ ? " over TLS, '" + subject_ + "'" : std::string(" over TCP")));
  if (!front_->admits(*this)) return end("nobody who may ask");
  if (tls_ && !prove()) return;
  if (proven_) arm(silence);
  read();
}

bool RadiusStream::prove() {
  if (!proven_ && !front_->proved(*this)) {
    end("as many as there may be");
    return false;
  }
  return proven_ = true;
}

void RadiusStream::read() {
  if (tls_) {
    tls_->read([self = shared_from_this()](TlsResult r) {
      if (self->ended_) return;
      if (!r.failure.empty()) return self->end(r.failure);
      self->on_bytes(self->tls_->received());
    });
    return;
  }
  plain_->async_read_some(asio::buffer(buffer_.data(), buffer_.size()), [self = shared_from_this()](error_code ec, std::size_t n) {
    if (self->ended_) return;
    if (ec) return self->end(ec.message());
    self->on_bytes(Bytes(self->buffer_).first(n));
  });
}

void RadiusStream::on_bytes(Bytes bytes) {
  framer_.feed(bytes);
  bool whole = false;
  for (;;) {
    const auto packet = framer_.next();
    // What follows can't be found any more (RFC 6613 section 2.6.4).
    if (!packet) return end("not RADIUS: " + std::string(packet.error().reason));
    if (packet->empty()) break;
    whole = true;
    // Late ones, and those of nobody, mean nothing. They prove nothing either.
    if (proven_ && std::find(std::begin(dynamic_answers), std::end(dynamic_answers), radius::Code(std::uint8_t(packet->front()))) != std::end(dynamic_answers)) {
      take_answer(*packet);
      continue;
    }
    if (!front_->take(shared_from_this(), *packet)) return end("what isn't authentic, or not for this server");
    if (ended_ || !prove()) return;
  }
  if (!proven_) return read();
  if (whole && framer_.empty()) arm(silence);
  else if (whole || !partial_) arm(packet_deadline);
  partial_ = !framer_.empty();
  read();
}

void RadiusStream::send(ByteVector packet) {
  asio::post(strand_, [self = shared_from_this(), packet = std::move(packet)]() mutable {
    if (self->ended_) return;
    self->out_bytes_ += packet.size();
    if (self->out_bytes_ > max_out_bytes) return self->end("it doesn't read its answers");
    self->out_.push_back(std::move(packet));
    self->write_next();
  });
}

void RadiusStream::ask(Exchanges::Request request, Done done) {
  asio::post(strand_, [self = shared_from_this(), request = std::move(request), done = std::move(done)]() mutable {
    request.to = {};
    const auto id = self->ended_ ? std::nullopt : self->exchanges_.begin(std::move(request), Exchanges::Clock::now());
    if (!id) return done({});
    self->asking_.emplace(*id, std::move(done));
    self->go_on_asking();
  });
}

void RadiusStream::take_answer(Bytes packet) {
  const auto answered = exchanges_.receive({}, packet, Exchanges::Clock::now());
  if (!answered) return;
  if (const auto node = asking_.extract(answered->id); !node.empty()) node.mapped()(answered->answer);
  go_on_asking();
}

// Sends what has its turn, and waits for who has had time enough.
void RadiusStream::go_on_asking() {
  for (Exchanges::Datagram& one : exchanges_.to_send()) send(std::move(one.packet));
  const auto next = exchanges_.next();
  if (!next) return void(ask_timer_.cancel());
  ask_timer_.expires_at(*next);
  ask_timer_.async_wait([weak = weak_from_this()](error_code ec) {
    const auto self = weak.lock();
    if (!self || ec || self->ended_) return;
    for (const Exchanges::End& one : self->exchanges_.expire(Exchanges::Clock::now()))
      if (const auto node = self->asking_.extract(one.id); !node.empty()) node.mapped()(one.answer);
    self->go_on_asking();
  });
}

void RadiusStream::write_next() {
  if (writing_ || out_.empty()) return;
  writing_ = true;
  if (tls_) {
    tls_->write(out_.front(), [self = shared_from_this()](TlsResult r) { self->written(r.failure.empty()); });
  } else {
    asio::async_write(*plain_, asio::buffer(out_.front().data(), out_.front().size()),
                      [self = shared_from_this()](error_code ec, std::size_t) { self->written(!ec); });
  }
}

void RadiusStream::written(bool good) {
  if (ended_) return;
  if (!good) return end("it can't be written to");
  writing_ = false;
  out_bytes_ -= out_.front().size();
  out_.pop_front();
  write_next();
}

void RadiusStream::arm(std::chrono::seconds from_now) {
  timer_.expires_after(from_now);
  timer_.async_wait([weak = weak_from_this()](error_code ec) {
    if (const auto self = weak.lock(); self && !ec && !self->ended_) self->end("it is silent");
  });
}

void RadiusStream::close(std::string_view why) {
  asio::post(strand_, [self = shared_from_this(), why] { self->end(why); });
}

void RadiusStream::end(std::string_view why) {
  if (std::exchange(ended_, true)) return;
  log::write(log::Level::info, {}, "RADIUS connection of " + peer_.address().to_string() + ":" + std::to_string(peer_.port()) + " ends: " + std::string(why));
  timer_.cancel();
  ask_timer_.cancel();
  for (auto& [_, done] : std::exchange(asking_, {})) done({});
  error_code ignored;
  if (tls_) tls_->close();
  else plain_->close(ignored);
}

}  // namespace gatehouse::server
