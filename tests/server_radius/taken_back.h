// A gateway that accounts for whom it lets in and can be asked to take that back, for tests.
#pragma once

#include <sys/socket.h>

#include <boost/json.hpp>
#include <csignal>

#include "server/control/control.h"
#include "tests/server_metrics/http_client.h"
#include "tests/server_metrics/text.h"
#include "tests/server_radius/peer.h"
#include "wire/radius/accounting.h"

namespace gatehouse::test {

namespace json = boost::json;
using Method = endpoint::EapClient::Method;

// What waits for requests on a port of its own: a gateway's for Disconnect and CoA, another server's for passwords.
class UdpService {
 public:
  UdpService() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
    socklen_t size = sizeof here;
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&here), &size), 0);
    port_ = ntohs(here.sin_port);
  }
  ~UdpService() { ::close(fd_); }
  UdpService(const UdpService&) = delete;
  UdpService& operator=(const UdpService&) = delete;
  std::uint16_t port() const { return port_; }
  // Empty: nothing came for so long.
  ByteVector receive(int ms = 60'000) {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, ms) != 1) return {};
    ByteVector out(8'192);
    socklen_t size = sizeof from_;
    const ssize_t n = ::recvfrom(fd_, out.data(), out.size(), 0, reinterpret_cast<sockaddr*>(&from_), &size);
    out.resize(std::size_t(std::max<ssize_t>(n, 0)));
    return out;
  }
  void answer(Bytes datagram) {
    EXPECT_EQ(::sendto(fd_, datagram.data(), datagram.size(), 0, reinterpret_cast<const sockaddr*>(&from_), sizeof from_), ssize_t(datagram.size()));
  }

 private:
  int fd_;
  std::uint16_t port_ = 0;
  sockaddr_in from_{};
};

inline const Bytes shared = as_bytes(radius_secret);

class TakenBack : public RadiusTest {
 protected:
  void SetUp() override {
    RadiusTest::SetUp();
    config.radius.accounting = {"127.0.0.1:0"};
    config.radius.clients.front().dynamic_port = gateway.port();
    device = endpoint->tpm->ak().key_id();
  }
  double metric(const std::string& key) const { return MetricsText(scrape(server->metrics_port())).value(key); }
  void await(const std::string& key, double value) const {
    while (metric(key) < value) {
    }
  }
  json::object control(const json::object& request) const {
    auto client = server::ControlClient::connect(config.control_socket);
    EXPECT_TRUE(client);
    const auto response = client->ask(json::serialize(request));
    EXPECT_TRUE(response);
    return json::parse(*response).as_object();
  }
  // What the gateway is asked next, if it is authentic.
  radius::Packet asked(radius::Code code) {
    request_ = gateway.receive();
    const auto packet = radius::parse_packet(request_);
    EXPECT_TRUE(packet);
    if (!packet) return {};
    EXPECT_EQ(packet->code, code);
    EXPECT_EQ(packet->attributes.front().type, radius::type::message_authenticator);
    EXPECT_TRUE(radius::authentic_accounting(*packet, shared));  // made as an accounting request's
    return *packet;
  }
  void answer(const radius::Packet& to, radius::Code code, std::optional<std::uint32_t> cause = std::nullopt) {
    radius::Builder b(code, to.identifier);
    if (cause) b.add_number(radius::type::error_cause, *cause);
    gateway.answer(*std::move(b).finish_answer(to.authenticator, shared));
  }
  void account(radius::AcctStatus status, const std::vector<std::string>& classes) {
    radius::Builder b(radius::Code::accounting_request, ++identifier_);
    b.add_number(radius::type::acct_status_type, std::uint32_t(status));
    b.add_text(radius::type::acct_session_id, "a-1");
    b.add_text(radius::type::user_name, "anonymous");
    b.add_text(radius::type::nas_identifier, "gatehouse-endpoint");
    for (const std::string& one : classes) b.add_text(radius::type::class_, one);
    const ByteVector bytes = *std::move(b).finish_signed_request(shared);
    const UdpPeer udp(server->radius_ports().accounting);
    udp.send(bytes);
    const ByteVector response = udp.receive();
    const auto packet = radius::parse_packet(response);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->code, radius::Code::accounting_response);
    EXPECT_TRUE(radius::authentic_answer(*packet, radius::parse_packet(bytes)->authenticator, shared, false));
  }
  std::vector<std::string> classes(const GatewayPeer& peer) const {
    std::vector<std::string> out;
    const auto packet = radius::parse_packet(peer.last_answer());
    EXPECT_TRUE(packet);
    if (!packet) return out;
    for (const radius::Attribute& a : packet->attributes)
      if (a.type == radius::type::class_) out.emplace_back(as_text(a.value));
    return out;
  }
  void policy(const std::string& ask) const { std::ofstream(folder + "/policy.toml") << "[groups.all]\nask = [" << ask << "]\n"; }
  void reload() const {
    const auto reads = [&] {
      std::size_t count = 0;
      const std::string text = log->text();
      for (std::size_t at = 0; (at = text.find("reference generation", at)) != std::string::npos; ++at) ++count;
      return count;
    };
    const std::size_t already = reads();
    ASSERT_EQ(::raise(SIGHUP), 0);
    while (reads() == already) {
    }
  }
  // One assessment over PT-TLS of the same machine by the certificate CN=client.
  std::optional<endpoint::Recommendation> by_pt_tls() {
    TlsPeer peer(server->port(), with("client"));
    EXPECT_TRUE(peer.good());
    Client client(*endpoint);
    speak(peer, client.session());
    if (!client.session().outcome()) return std::nullopt;
    return client.session().outcome()->recommendation;
  }

  UdpService gateway;
  std::string device;
  ByteVector request_;
  std::uint8_t identifier_ = 0;
};

}  // namespace gatehouse::test
