// A gateway and the endpoint behind it, on a socket of its own, as slow and as wrong as a test wants them.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>

#include "endpoint/client/eap_client.h"
#include "endpoint/client/radius_gateway.h"
#include "tests/server_tls/server_fixture.h"
#include "wire/eap/eap.h"

namespace gatehouse::test {

inline constexpr std::string_view radius_secret = "a secret of 22 letters";

// UDP to a port of this host, from an address of it.
class UdpPeer {
 public:
  explicit UdpPeer(std::uint16_t port, const char* from = "127.0.0.1") : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    ::inet_pton(AF_INET, from, &here.sin_addr);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
    sockaddr_in there{};
    there.sin_family = AF_INET;
    there.sin_port = htons(port);
    ::inet_pton(AF_INET, "127.0.0.1", &there.sin_addr);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&there), sizeof there), 0);
  }
  ~UdpPeer() { ::close(fd_); }
  UdpPeer(const UdpPeer&) = delete;
  UdpPeer& operator=(const UdpPeer&) = delete;

  void send(Bytes datagram) const { EXPECT_EQ(::send(fd_, datagram.data(), datagram.size(), 0), ssize_t(datagram.size())); }
  // Empty: nothing came for a minute, which is a failure of the test that waits for it.
  ByteVector receive() const {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, 60'000) != 1) return {};
    ByteVector out(8'192);
    const ssize_t n = ::recv(fd_, out.data(), out.size(), 0);
    out.resize(std::size_t(std::max<ssize_t>(n, 0)));
    return out;
  }
  bool has_answer() const {
    pollfd p{fd_, POLLIN, 0};
    return ::poll(&p, 1, 0) == 1;
  }

 private:
  int fd_;
};

// Both ends of one conversation but for the server.
class GatewayPeer {
 public:
  struct As {
    std::string user = "carol", password = "correct horse battery";
    std::string certificate, key;
    endpoint::EapClient::Method method = endpoint::EapClient::Method::any;
    std::string secret = std::string(radius_secret);
    std::string outer = "anonymous";
    bool tls_12 = false, no_attestation = false, eap_tnc = false;
    std::string station = "192.0.2.7[4500]", accounting;
    std::optional<std::uint32_t> framed_mtu;
    std::size_t max_batch = 65'522, fragment_size = 1'024;
    std::string server_name = "localhost";
    const char* from = "127.0.0.1";
    std::string device_id;  // empty: its own
    std::vector<std::string>* heard = nullptr;  // what its log says
    std::shared_ptr<endpoint::KeptSession> session;  // of TLS, to be resumed; null: none is
  };
  GatewayPeer(std::uint16_t port, const Machine& machine, const std::string& ca, const As& as)
      : machine_(machine, {.device_id = as.device_id, .max_batch = as.max_batch}), udp_(port, as.from), gateway_(gateway(as)) {
    endpoint::TunnelOptions tls;
    tls.ca = ca;
    tls.server_name = as.server_name;
    tls.certificate = as.certificate;
    tls.key = as.key;
    tls.tls_12 = as.tls_12;
    tls.session = as.session;
    auto tunnel = endpoint::TlsTunnel::make(tls);
    EXPECT_TRUE(tunnel) << tunnel.error().text();
    endpoint::EapClient::Config config;
    config.tnc.max_batch = as.max_batch;
    if (as.heard != nullptr) config.tnc.log = [heard = as.heard](const std::string& line) { heard->push_back(line); };
    config.outer_identity = as.outer;
    config.user = as.user;
    config.password = Secret(as_bytes(as.password));
    config.method = as.method;
    config.fragment_size = as.fragment_size;
    config.no_attestation = as.no_attestation;
    config.eap_tnc = as.eap_tnc;
    eap_.emplace(std::move(config), std::move(*tunnel), machine_.collectors());
    next_ = eap_->identity();
  }

  endpoint::EapClient& eap() { return *eap_; }
  const endpoint::EapClient& eap() const { return *eap_; }
  endpoint::RadiusGateway& gateway() { return gateway_; }
  const UdpPeer& udp() const { return udp_; }
  const std::optional<endpoint::RadiusGateway::Answer>& answer() const { return answer_; }
  // What the endpoint says next.
  ByteVector& next() { return next_; }
  bool over() const { return answer_ && answer_->code != radius::Code::access_challenge; }
  bool accepted() const { return answer_ && answer_->code == radius::Code::access_accept; }
  std::size_t rounds() const { return rounds_; }
  const ByteVector& last_request() const { return request_; }
  const ByteVector& last_answer() const { return answer_bytes_; }

  // One request and its answer; false: no answer came, or it can't be believed.
  bool step() {
    auto request = gateway_.request(next_);
    EXPECT_TRUE(request) << request.error().text();
    request_ = *std::move(request);
    udp_.send(request_);
    return take(udp_.receive());
  }
  bool take(ByteVector datagram) {
    ++rounds_;
    answer_bytes_ = std::move(datagram);
    answer_ = gateway_.receive(answer_bytes_);
    if (!answer_) return false;
    if (!answer_->eap.empty()) {
      auto response = eap_->receive(answer_->eap);
      if (response && *response) next_ = **std::move(response);
    }
    return true;
  }
  // To the end.
  bool run() {
    while (!over())
      if (!step()) return false;
    return true;
  }
  bool keys_agree() const {
    const auto keys = eap_->keys();
    return answer_ && keys && answer_->msk.size() == 64 && answer_->msk.equals(keys->reveal().first(64));
  }

 private:
  static endpoint::RadiusGateway gateway(const As& as) {
    endpoint::RadiusGateway::Config config;
    config.secret = Secret(as_bytes(as.secret));
    config.user = as.outer;
    config.station = as.station;
    config.accounting = as.accounting;
    config.framed_mtu = as.framed_mtu;
    return endpoint::RadiusGateway(std::move(config));
  }
  Client machine_;
  UdpPeer udp_;
  endpoint::RadiusGateway gateway_;
  std::optional<endpoint::EapClient> eap_;
  ByteVector next_, request_, answer_bytes_;
  std::optional<endpoint::RadiusGateway::Answer> answer_;
  std::size_t rounds_ = 0;
};

class RadiusTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    write("secret", std::string(radius_secret) + "\n");
    write("passwords", "gatehouse-passwords 1\ncarol\tpassword\tcorrect horse battery\ndave\tnt-hash\t44ebba8d5312b8d611474411f56989ae\n");
    server::RadiusConfig& r = config.radius;
    r.listen = {"127.0.0.1:0"};
    r.clients = {{"127.0.0.1", *server::parse_prefix("127.0.0.1"), folder + "/secret", server::RadiusProfile::ipsec}};
    r.certificate = config.certificate;
    r.key = config.key;
    r.client_ca = config.client_ca;
    r.passwords = folder + "/passwords";
    r.methods = {"md5", "mschapv2", "gtc", "pap"};
    r.isolate.vlan = 66;
    r.allow.vlan = 10;
    config.metrics_listen = "127.0.0.1:0";
  }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(folder + "/" + name) << content;
    std::filesystem::permissions(folder + "/" + name, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  GatewayPeer peer(const GatewayPeer::As& as) const { return GatewayPeer(server->radius_port(), *endpoint, authority->certificate(), as); }
  std::unique_ptr<GatewayPeer> made(const GatewayPeer::As& as) const {
    return std::make_unique<GatewayPeer>(server->radius_port(), *endpoint, authority->certificate(), as);
  }
  testing::AssertionResult allowed(const GatewayPeer::As& as) const {
    const auto one = made(as);
    if (!one->run()) return testing::AssertionFailure() << "no answer after " << one->rounds() << " rounds\n" << log->text();
    if (!one->accepted() || one->answer()->filter_id != "allow") return testing::AssertionFailure() << log->text();
    if (!one->eap().succeeded() || !one->keys_agree()) return testing::AssertionFailure() << "EAP and RADIUS don't agree";
    if (one->eap().outcome()->recommendation != endpoint::Recommendation::allow) return testing::AssertionFailure() << "another verdict";
    return testing::AssertionSuccess();
  }
};

}  // namespace gatehouse::test
