#include "fleet/radius_link.h"

namespace gatehouse::fleet {
namespace {

constexpr double further = 1.4;  // as gateways do (spec part 1a section 3.6)
constexpr std::size_t largest_batch = 32'768;

Error environment(std::string_view reason) { return Error{Fault::environment, reason, {}, 0, {}, {}}; }

}  // namespace

RadiusLink::RadiusLink(const Config& config, std::uint32_t who, const Identity& identity, std::shared_ptr<const Variant> variant,
                       std::uint64_t seed)
    : config_(config),
      who_(who),
      identity_(identity),
      collectors_(identity.ak, config.product, config.clock_from, std::move(variant)),
      random_(seed) {}

RadiusLink::~RadiusLink() { config_.sockets->leave(place_); }

Link::State RadiusLink::fail_with(Error error) {
  error_ = std::move(error);
  again_at_ = std::nullopt;
  return State::ended;
}

Link::State RadiusLink::connect() {
  if (!config_.sockets->enter(place_)) return fail_with(environment("no socket: too many open files, or the server can't be reached"));
  auto tunnel = endpoint::TlsTunnel::make(config_.tls, identity_.certificate.get(), identity_.key.get());
  if (!tunnel) return fail_with(std::move(tunnel).error());
  endpoint::EapClient::Config client;
  client.tnc.max_batch = largest_batch;
  client.user = config_.user;
  client.password = Secret(config_.password);
  client.fragment_size = config_.fragment_size;
  client_.emplace(std::move(client), *std::move(tunnel), collectors_.imcs());
  endpoint::RadiusGateway::Config gateway;
  gateway.secret = Secret(config_.secret);
  gateway.user = "anonymous";
  gateway.name = "gatehouse-fleet";
  gateway_.emplace(std::move(gateway));
  return ask(client_->identity());
}

Link::State RadiusLink::retry(std::shared_ptr<const Variant>) {
  return fail_with(environment("over RADIUS nothing stays connected"));
}

void RadiusLink::arm() {
  again_at_ = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(wait_);
}

void RadiusLink::send(Bytes datagram) {
  bytes_sent_ += datagram.size();
  if (happens(config_.loss)) return;
  config_.sockets->send(place_, datagram);
}

Link::State RadiusLink::ask(Bytes eap) {
  auto request = gateway_->request(eap, config_.sockets->identify(place_, who_));
  if (!request) return fail_with(std::move(request).error());
  const ByteVector earlier = std::exchange(late_, {});
  request_ = *std::move(request);
  send(request_);
  if (!earlier.empty()) send(earlier);
  if (happens(config_.late)) late_ = request_;
  wait_ = config_.resend;
  arm();
  return State::busy;
}

Link::State RadiusLink::repeat() {
  ++repeated_;
  send(request_);
  wait_ *= further;
  arm();
  return State::busy;
}

Link::State RadiusLink::receive(Bytes datagram) {
  if (happens(config_.loss)) return State::busy;
  const auto answer = gateway_->receive(datagram);
  return answer ? take(*answer) : State::busy;
}

Link::State RadiusLink::take(const endpoint::RadiusGateway::Answer& answer) {
  std::optional<ByteVector> response;
  if (!answer.eap.empty()) {
    auto received = client_->receive(answer.eap);
    if (!received) return fail_with(std::move(received).error());
    response = *std::move(received);
  }
  if (answer.code == radius::Code::access_challenge) {
    if (!response) return fail_with({Fault::protocol, "Access-Challenge without a request", "RFC 3579 2.6.2", 0, {}, {}});
    return ask(*response);
  }
  again_at_ = std::nullopt;
  if (client_->error()) return fail_with(Error(*client_->error()));
  if (!client_->outcome()) return fail_with(environment("refused before an assessment"));
  const bool accepted = answer.code == radius::Code::access_accept;
  if (accepted != client_->succeeded())
    return fail_with({Fault::protocol, "RADIUS and EAP don't say the same", "RFC 3579 2.6.3", 0, {}, {}});
  outcome_ = client_->outcome();
  return State::ended;
}

}  // namespace gatehouse::fleet
