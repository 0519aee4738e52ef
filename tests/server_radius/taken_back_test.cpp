// After Access-Accept: what accounting tells, and that a gateway is asked to take back what it was told. And the other ways to
// this server: TCP, TLS; and from it, to a server that knows passwords.
#include <atomic>
#include <boost/json.hpp>
#include <csignal>
#include <future>

#include "base/md5.h"
#include "base/ms_chap.h"
#include "server/control/control.h"
#include "server/radius/admitted.h"
#include "server/state/state.h"
#include "tests/server_metrics/http_client.h"
#include "tests/server_metrics/text.h"
#include "tests/server_radius/peer.h"
#include "wire/radius/accounting.h"

namespace gatehouse::test {
namespace {

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

const Bytes shared = as_bytes(radius_secret);

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

TEST_F(TakenBack, ARevokedDeviceIsCutOffAndItsConnectionKnownUntilThen) {
  start();
  const auto one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  const auto marks = classes(*one);
  ASSERT_EQ(marks.size(), 1U);
  EXPECT_FALSE(server::Admitted::session_of(marks.front()).empty());
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  EXPECT_EQ(metric("gatehouse_radius_connected"), 0);
  account(radius::AcctStatus::start, marks);
  EXPECT_EQ(metric("gatehouse_radius_connected"), 1);
  const auto listed = control({{"command", "radius.list"}});
  const auto& entry = listed.at("items").as_array().at(0).as_object();
  EXPECT_EQ(std::string_view(entry.at("device").as_string()), device);
  EXPECT_EQ(entry.at("identity").as_string(), "carol");
  EXPECT_EQ(entry.at("recommendation").as_string(), "allow");
  EXPECT_FALSE(entry.at("connected").is_null());

  EXPECT_FALSE(control({{"command", "device.revoke"}, {"device", device}}).contains("error"));
  const radius::Packet cut = asked(radius::Code::disconnect_request);
  EXPECT_EQ(cut.text(radius::type::user_name), "anonymous");
  EXPECT_EQ(cut.text(radius::type::calling_station_id), "192.0.2.7[4500]");
  EXPECT_EQ(cut.text(radius::type::acct_session_id), "a-1");
  EXPECT_EQ(cut.text(radius::type::nas_identifier), "gatehouse-endpoint");
  EXPECT_TRUE(cut.number(radius::type::event_timestamp));
  answer(cut, radius::Code::disconnect_ack);
  await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"ack\"}", 1);
  await("gatehouse_radius_cut_seconds_count", 1);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
  // Its stop finds nothing any more, and is answered as any.
  account(radius::AcctStatus::stop, marks);
  EXPECT_EQ(metric("gatehouse_radius_connected"), 0);
}

// --- across a restart of the server, and until leases end

TEST_F(TakenBack, AfterARestartWhoWasLetInBeforeIsStillCutOff) {
  start();
  const auto one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  const auto marks = classes(*one);
  account(radius::AcctStatus::start, marks);
  stop();
  start();
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  EXPECT_EQ(metric("gatehouse_radius_connected"), 1);
  const auto listed = control({{"command", "radius.list"}}).at("items").as_array();
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(std::string_view(listed.at(0).at("device").as_string()), device);
  EXPECT_EQ(listed.at(0).at("identity").as_string(), "carol");
  EXPECT_FALSE(listed.at(0).at("admitted").is_null());
  EXPECT_TRUE(gateway.receive(0).empty());
  EXPECT_FALSE(control({{"command", "device.revoke"}, {"device", device}}).contains("error"));
  const radius::Packet cut = asked(radius::Code::disconnect_request);
  EXPECT_EQ(cut.text(radius::type::user_name), "anonymous");
  EXPECT_EQ(cut.text(radius::type::acct_session_id), "a-1");
  answer(cut, radius::Code::disconnect_ack);
  await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"ack\"}", 1);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
  // And a server after that knows that it is gone.
  stop();
  start();
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
}

// Revoked by an operator while nobody served: its tunnel is still up.
TEST_F(TakenBack, WhoLostItsTrustWhileTheServerWasDownIsCutOffWhenItStarts) {
  start();
  const auto one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  stop();
  {
    auto state = server::State::open({.path = config.state});
    ASSERT_TRUE(state);
    ASSERT_TRUE((*state)->revoke_blocking(device));
  }
  start();
  const radius::Packet cut = asked(radius::Code::disconnect_request);
  EXPECT_EQ(cut.text(radius::type::calling_station_id), "192.0.2.7[4500]");
  EXPECT_TRUE(log->has("is to be cut off, its device has lost its trust")) << log->text();
  answer(cut, radius::Code::disconnect_ack);
  await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"ack\"}", 1);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
}

// Its gateway doesn't keep to Session-Timeout: nobody stays for longer than a verdict holds.
TEST_F(TakenBack, WhoseLeaseEndsWithoutANewAssessmentIsCutOff) {
  config.lease = std::chrono::seconds(2);
  start();
  const auto one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  const radius::Packet cut = asked(radius::Code::disconnect_request);
  EXPECT_EQ(cut.text(radius::type::acct_session_id), "a-1");
  EXPECT_TRUE(log->has("is to be cut off, its lease has ended")) << log->text();
  answer(cut, radius::Code::disconnect_ack);
  await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"ack\"}", 1);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
}

// The device has been assessed again elsewhere: of two connections the one that nobody vouches for any longer goes.
TEST_F(TakenBack, WhoseDeviceWasAssessedAgainStays) {
  config.radius.tls_client_auth = "optional";
  start();
  const auto one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  stop();
  // Its lease, as it is on record, has ended long ago; and so has that of another machine, which didn't come again.
  {
    auto state = server::State::open({.path = config.state});
    ASSERT_TRUE(state);
    auto kept = (*state)->admissions(0, 10);
    ASSERT_TRUE(kept);
    ASSERT_EQ(kept->size(), 1U);
    server::GatewayAdmission e = kept->front();
    EXPECT_GT(e.until, e.admitted);
    e.until = 1;
    (*state)->note_admission(e);
    e.number += 1;
    e.device = "another device";
    e.identity = "dave";
    e.sure = false;
    e.station = "192.0.2.8[4500]";
    e.user = "dave";
    e.accounting = "a-2";
    std::promise<bool> done;
    (*state)->keep_admission(e, [&](Result<void> r) { done.set_value(r.has_value()); });
    ASSERT_TRUE(done.get_future().get());
  }
  start();
  EXPECT_EQ(asked(radius::Code::disconnect_request).text(radius::type::acct_session_id), "a-2") << log->text();
  EXPECT_FALSE(log->has("device " + device + ": '")) << log->text();
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 2);
}

// strongSwan ends each connection of that name, and everybody chooses it: a popular one keeps nobody in.
TEST_F(TakenBack, WhoHasAnothersNameIsCutOffNevertheless) {
  policy("\"TPMRA\"");
  config.policy_file = folder + "/policy.toml";
  config.radius.tls_client_auth = "optional";
  start();
  const auto alice = made({.certificate = folder + "/client.pem", .key = folder + "/client.key", .outer = "alice"});
  ASSERT_TRUE(alice->run());
  ASSERT_TRUE(alice->accepted()) << log->text();
  Machine first = std::move(*endpoint);
  endpoint.emplace(machine(endpoint::KeyAlgorithm::rsassa));  // another machine, of another user
  const std::string another = endpoint->tpm->ak().key_id();
  const auto mallory = made({.user = "dave", .password = "clientPass", .method = Method::mschapv2, .outer = "alice", .station = "192.0.2.8[4500]"});
  ASSERT_TRUE(mallory->run());
  ASSERT_TRUE(mallory->accepted()) << log->text();
  ASSERT_EQ(metric("gatehouse_radius_admitted"), 2);
  const std::string asked_them = "gatehouse_radius_shared_cuts_total{result=\"asked\"}", held_back = "gatehouse_radius_shared_cuts_total{result=\"held_back\"}";
  const auto disconnect = [&](const std::string& whom) {
    EXPECT_EQ(control({{"command", "radius.disconnect"}, {"device", whom}}).at("asked").to_number<int>(), 1);
    const radius::Packet cut = asked(radius::Code::disconnect_request);
    EXPECT_EQ(cut.text(radius::type::user_name), "alice");
    answer(cut, radius::Code::disconnect_nak, 401);
  };
  disconnect(another);
  EXPECT_EQ(metric(asked_them), 1);
  EXPECT_TRUE(log->has("the gateway cuts them off with it: device " + device + " as 'CN=client' at 192.0.2.7[4500]")) << log->text();
  // By a verdict, too, but not again by the next one at once; an operator's word never waits.
  endpoint = std::move(first);
  policy("\"DENY\"");
  reload();
  for (int n = 0; n < 2; ++n) EXPECT_EQ(by_pt_tls(), endpoint::Recommendation::block) << log->text();
  answer(asked(radius::Code::disconnect_request), radius::Code::disconnect_nak, 401);
  await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"nak\"}", 2);
  EXPECT_EQ(metric(asked_them), 2);
  EXPECT_EQ(metric(held_back), 1);
  EXPECT_TRUE(log->has("were cut off for a verdict less than a minute ago")) << log->text();
  EXPECT_TRUE(gateway.receive(0).empty());
  disconnect(device);
  EXPECT_EQ(metric(asked_them), 3);
}

TEST_F(TakenBack, AVerdictOverPtTlsMovesAPortAndThenClosesIt) {
  policy("\"TPMRA\"");
  config.policy_file = folder + "/policy.toml";
  config.radius.clients.front().profile = server::RadiusProfile::dot1x;
  config.radius.tls_client_auth = "required";
  start();
  const auto one = made({.certificate = folder + "/client.pem", .key = folder + "/client.key"});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  EXPECT_EQ(one->answer()->vlan, "10");
  EXPECT_EQ(by_pt_tls(), endpoint::Recommendation::allow);
  // What nobody answers is isolated.
  policy("\"TPMRA\", { type = \"TCPBL\", argument = \"22\" }");
  reload();
  EXPECT_EQ(by_pt_tls(), endpoint::Recommendation::isolate) << log->text();
  const radius::Packet move = asked(radius::Code::coa_request);
  EXPECT_EQ(move.text(radius::type::tunnel_private_group_id), "66");
  EXPECT_EQ(move.text(radius::type::filter_id), "isolate");
  answer(move, radius::Code::coa_ack);
  await("gatehouse_radius_dynamic_total{kind=\"coa\",result=\"ack\"}", 1);
  // Isolated already: nothing is asked for the next verdict of this kind, but for a worse one.
  EXPECT_EQ(by_pt_tls(), endpoint::Recommendation::isolate);
  policy("\"DENY\"");
  reload();
  EXPECT_EQ(by_pt_tls(), endpoint::Recommendation::block);
  const radius::Packet cut = asked(radius::Code::disconnect_request);
  answer(cut, radius::Code::disconnect_nak, 503);  // it is gone already
  await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"nak\"}", 1);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
  EXPECT_TRUE(log->has("refused, Error-Cause 503"));
}

// It comes again at its port, and is told another thing there: that is all that its gateway has to know.
TEST_F(TakenBack, AnotherVerdictAtTheSamePortIsToldByItsAnswerAlone) {
  policy("\"TPMRA\"");
  config.policy_file = folder + "/policy.toml";
  start();
  auto one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  account(radius::AcctStatus::start, classes(*one));
  policy("\"TPMRA\", { type = \"TCPBL\", argument = \"22\" }");
  reload();
  one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  EXPECT_EQ(one->answer()->filter_id, "isolate");
  EXPECT_FALSE(log->has("isn't trusted as before")) << log->text();
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  EXPECT_EQ(metric("gatehouse_radius_connected"), 1);  // still the same connection
  // From elsewhere it is one more.
  const auto other = made({.station = "192.0.2.8[4500]"});
  ASSERT_TRUE(other->run());
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 2);
}

// Assessed again it makes a connection beside those that it has, and is told a worse verdict. A VPN gateway ends connections by their
// name, so it isn't asked before the new one is let in: it would end that one half way. Those that are still there later are cut off.
TEST_F(TakenBack, AConnectionBesideTheOldOnesIsLetInBeforeTheyAreCutOff) {
  policy("\"TPMRA\"");
  config.policy_file = folder + "/policy.toml";
  start();
  const auto one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  account(radius::AcctStatus::start, classes(*one));
  const auto stays = made({.station = "192.0.2.7[4503]", .accounting = "a-3"});
  ASSERT_TRUE(stays->run());
  ASSERT_TRUE(stays->accepted()) << log->text();
  policy("\"TPMRA\", { type = \"TCPBL\", argument = \"22\" }");
  reload();
  const auto again = made({.station = "192.0.2.7[4501]", .accounting = "a-2"});
  ASSERT_TRUE(again->run());
  EXPECT_EQ(again->answer()->filter_id, "isolate") << log->text();
  EXPECT_TRUE(gateway.receive(0).empty());
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 3);
  // One of them ends by itself, and of that one nothing is asked.
  account(radius::AcctStatus::stop, classes(*one));
  const radius::Packet cut = asked(radius::Code::disconnect_request);
  EXPECT_EQ(cut.text(radius::type::acct_session_id), "a-3");
  answer(cut, radius::Code::disconnect_ack);
  await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"ack\"}", 1);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  EXPECT_TRUE(gateway.receive(0).empty());
  // Whose new connection is refused has nothing to wait for.
  policy("\"DENY\"");
  reload();
  const auto refused = made({.station = "192.0.2.7[4504]", .accounting = "a-4"});
  while (!refused->over() && gateway.receive(0).empty()) ASSERT_TRUE(refused->step()) << log->text();
  EXPECT_TRUE(refused->over());
  EXPECT_FALSE(refused->accepted());
  EXPECT_EQ(asked(radius::Code::disconnect_request).text(radius::type::acct_session_id), "a-2");
}

// At its port it is told a worse verdict, and its gateway never hears of that: whom it let in before is still there.
TEST_F(TakenBack, WhoseNewVerdictNeverReachesTheGatewayIsCutOff) {
  policy("\"TPMRA\"");
  config.policy_file = folder + "/policy.toml";
  config.radius.idle_deadline = std::chrono::seconds(4);
  start();
  auto one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  policy("\"TPMRA\", { type = \"TCPBL\", argument = \"22\" }");
  reload();
  one = made({.accounting = "a-1"});
  while (!one->eap().outcome()) ASSERT_TRUE(one->step()) << log->text();
  ASSERT_FALSE(one->over());
  EXPECT_EQ(one->eap().outcome()->recommendation, endpoint::Recommendation::isolate);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  const radius::Packet cut = asked(radius::Code::disconnect_request);
  EXPECT_EQ(cut.text(radius::type::acct_session_id), "a-1");
  answer(cut, radius::Code::disconnect_ack);
  await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"ack\"}", 1);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
}

// A VPN gateway that refuses the newer connection has the older one still; a switch has one port, which is closed by that.
TEST_F(TakenBack, ARefusalAtTheSamePortClosesASwitchsPortAlone) {
  policy("\"TPMRA\"");
  config.policy_file = folder + "/policy.toml";
  start();
  auto one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  policy("\"DENY\"");
  reload();
  one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  EXPECT_FALSE(one->accepted());
  answer(asked(radius::Code::disconnect_request), radius::Code::disconnect_ack);
  await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"ack\"}", 1);
  stop();
  config.radius.clients.front().profile = server::RadiusProfile::dot1x;
  policy("\"TPMRA\"");
  start();
  one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  policy("\"DENY\"");
  reload();
  one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  await("gatehouse_radius_admitted", 0);
  EXPECT_TRUE(gateway.receive(0).empty());
}

// Told "allow", and revoked before its gateway is told.
TEST_F(TakenBack, WhoLosesTrustBeforeItsGatewayIsAnsweredIsRefused) {
  start();
  const auto one = made({.accounting = "a-1"});
  while (!one->eap().outcome()) ASSERT_TRUE(one->step()) << log->text();
  ASSERT_FALSE(one->over());
  EXPECT_EQ(one->eap().outcome()->recommendation, endpoint::Recommendation::allow);
  EXPECT_FALSE(control({{"command", "device.revoke"}, {"device", device}}).contains("error"));
  ASSERT_TRUE(one->run());
  EXPECT_FALSE(one->accepted());
  EXPECT_FALSE(one->eap().succeeded());
  EXPECT_EQ(one->answer()->eap.front(), std::byte(eap::Code::failure));
  EXPECT_TRUE(one->answer()->msk.empty());
  EXPECT_TRUE(one->answer()->filter_id.empty());
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
  EXPECT_TRUE(log->has("its device has lost its trust since")) << log->text();
}

TEST_F(TakenBack, WhoCantBeMovedIsCutOff) {
  policy("\"TPMRA\"");
  config.policy_file = folder + "/policy.toml";
  config.radius.clients.front().profile = server::RadiusProfile::dot1x;
  start();
  const auto one = made({});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  policy("\"TPMRA\", { type = \"TCPBL\", argument = \"22\" }");
  reload();
  // Another identity, and the quote of the same device's key.
  EXPECT_EQ(by_pt_tls(), endpoint::Recommendation::isolate) << log->text();
  answer(asked(radius::Code::coa_request), radius::Code::coa_nak, 401);
  answer(asked(radius::Code::disconnect_request), radius::Code::disconnect_ack);
  await("gatehouse_radius_cut_seconds_count", 1);
}

// A peer that claims another's device, and can't prove it, cuts nobody off.
TEST_F(TakenBack, AClaimCutsNobodyOff) {
  start();
  const auto one = made({});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  Machine other = machine(endpoint::KeyAlgorithm::rsassa);
  TlsPeer peer(server->port(), with("client"));
  ASSERT_TRUE(peer.good());
  Client client(other, {.device_id = device});
  speak(peer, client.session());
  ASSERT_TRUE(client.session().outcome());
  EXPECT_NE(client.session().outcome()->recommendation, endpoint::Recommendation::allow);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  EXPECT_FALSE(log->has("isn't trusted as before")) << log->text();
}

// Nor at its very port, where it is refused: whoever is there stays known.
TEST_F(TakenBack, AClaimAtTheSamePortTakesNothingOfIt) {
  config.radius.isolate_is_reject = true;
  start();
  const auto one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  endpoint.emplace(machine(endpoint::KeyAlgorithm::rsassa));
  const auto claims = made({.user = "dave", .password = "clientPass", .method = Method::mschapv2, .accounting = "a-1", .device_id = device});
  ASSERT_TRUE(claims->run());
  EXPECT_FALSE(claims->accepted());
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  EXPECT_FALSE(control({{"command", "device.revoke"}, {"device", device}}).contains("error"));
  answer(asked(radius::Code::disconnect_request), radius::Code::disconnect_ack);
}

// Of a gateway that tells nothing and can't be asked anything there is nothing to know.
TEST_F(TakenBack, WhoIsntHeardOfAgainIsntNoted) {
  config.radius.accounting.clear();
  config.radius.clients.front().dynamic_port = 0;
  start();
  const auto one = made({});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  EXPECT_TRUE(classes(*one).empty());
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
}

// An identity of several devices whose supplicant opens a port by their lease: it could be each of them.
TEST_F(TakenBack, WhoHasALeaseIsCutOffWithEachDeviceOfItsIdentity) {
  config.radius.without_attestation = "lease";
  config.radius.tls_client_auth = "required";
  Machine other = machine(endpoint::KeyAlgorithm::rsassa);
  const std::string others = other.tpm->ak().key_id();
  {
    auto state = server::State::open({.path = config.state});
    ASSERT_TRUE(state);
    for (const Machine* const one : {&*endpoint, &other}) {
      server::Enrolment bound;
      bound.device = one->tpm->ak().key_id();
      bound.key = server::SeenKey{one->tpm->ak(), std::nullopt, std::nullopt};
      bound.identities = {"CN=client"};
      bound.trust = true;
      ASSERT_TRUE((*state)->enrol_blocking(std::move(bound)));
    }
  }
  start();
  EXPECT_EQ(by_pt_tls(), endpoint::Recommendation::allow) << log->text();
  endpoint = std::move(other);
  EXPECT_EQ(by_pt_tls(), endpoint::Recommendation::isolate);  // its firmware isn't approved
  const auto port = made({.user = "whoever", .certificate = folder + "/client.pem", .key = folder + "/client.key", .no_attestation = true});
  ASSERT_TRUE(port->run());
  EXPECT_EQ(port->answer()->filter_id, "isolate") << log->text();
  for (const std::string& one : {device, others}) {
    EXPECT_EQ(control({{"command", "radius.disconnect"}, {"device", one}}).at("asked").to_number<int>(), 1);
    answer(asked(radius::Code::disconnect_request), radius::Code::disconnect_nak, 401);
  }
  const auto listed = control({{"command", "radius.list"}, {"device", device}}).at("items").as_array();
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(std::string_view(listed.at(0).at("device").as_string()), others);
  EXPECT_EQ(std::string_view(listed.at(0).at("also").at(0).as_string()), device);
}

TEST_F(TakenBack, AnEndpointThatIsToBeAssessedAgainHasToComeSoon) {
  start();
  const auto one = made({});
  ASSERT_TRUE(one->run());
  const std::jthread answering([&] {
    const radius::Packet again = asked(radius::Code::coa_request);
    EXPECT_EQ(again.number(radius::type::session_timeout), 10U);
    answer(again, radius::Code::coa_ack);
  });
  const auto response = control({{"command", "device.reassess"}, {"device", device}});
  EXPECT_EQ(response.at("asked").to_number<int>(), 1);
}

TEST_F(TakenBack, GatewaysThatCantBeAskedAreNamed) {
  config.radius.clients.front().dynamic_port = 0;
  start();
  const auto one = made({});
  ASSERT_TRUE(one->run());
  EXPECT_EQ(control({{"command", "radius.disconnect"}, {"device", device}}).at("error").as_object().at("fault").as_string(), "denied");
  EXPECT_TRUE(log->has("it has no dynamic_port"));
  EXPECT_EQ(metric("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"left_out\"}"), 1);
}

TEST_F(TakenBack, AGroupOfThePolicyHasItsOwnPlace) {
  std::ofstream(folder + "/policy.toml") << "[groups.all]\nask = [\"TPMRA\"]\n[groups.servers]\nparent = \"all\"\ndevices = [\"" << device << "\"]\n";
  config.policy_file = folder + "/policy.toml";
  server::RadiusReply servers;
  servers.filter_id = "servers";
  servers.vendor = {{9, 1, to_vector(as_bytes("shell:priv-lvl=1"))}};
  config.radius.groups = {{"servers", servers, std::nullopt, std::nullopt}};
  start();
  const auto one = made({});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  EXPECT_EQ(one->answer()->filter_id, "servers");
  EXPECT_EQ(as_text(radius::find_vendor(*radius::parse_packet(one->last_answer()), 9, 1).value_or(Bytes())), "shell:priv-lvl=1");
  // Who only says that it is this device isn't of its groups.
  endpoint.emplace(machine(endpoint::KeyAlgorithm::rsassa));
  const auto stranger = made({});
  ASSERT_TRUE(stranger->run());
  EXPECT_EQ(stranger->answer()->filter_id, "isolate");
}

// --- passwords that another server knows

TEST_F(TakenBack, PasswordsAreAskedOfAnotherServerAndOfTheNextWhereItIsSilent) {
  UdpService silent, knowing;
  write("upstream", "the secret of the other server\n");
  config.radius.passwords.clear();
  config.radius.methods = {"gtc", "pap"};
  config.radius.upstream = {{"127.0.0.1:" + std::to_string(silent.port()), folder + "/upstream"},
                            {"127.0.0.1:" + std::to_string(knowing.port()), folder + "/upstream"}};
  config.radius.upstream_timeout = std::chrono::seconds(1);
  start();
  std::vector<std::string> users;
  std::jthread serving([&](const std::stop_token& stop) {
    const Bytes key = as_bytes("the secret of the other server");
    while (!stop.stop_requested()) {
      const ByteVector bytes = knowing.receive(50);
      if (bytes.empty()) continue;
      const auto packet = radius::parse_packet(bytes);
      ASSERT_TRUE(packet && radius::authentic_request(*packet, key));
      const auto password = radius::reveal_password(*packet->find(radius::type::user_password), packet->authenticator, key);
      users.emplace_back(packet->text(radius::type::user_name));
      const bool good = password && as_text(password->reveal()) == "known elsewhere";
      const auto code = good ? radius::Code::access_accept : radius::Code::access_reject;
      knowing.answer(*radius::Builder(code, packet->identifier).finish_answer(packet->authenticator, key));
    }
  });
  EXPECT_TRUE(allowed({.user = "erin", .password = "known elsewhere", .method = Method::gtc}));
  EXPECT_TRUE(allowed({.user = "erin", .password = "known elsewhere", .method = Method::pap}));
  const auto wrong = made({.user = "erin", .password = "wrong", .method = Method::pap});
  ASSERT_TRUE(wrong->run());
  EXPECT_FALSE(wrong->accepted());
  serving.request_stop();
  serving.join();
  EXPECT_EQ(users, std::vector<std::string>(3, "erin"));
  EXPECT_EQ(metric("gatehouse_radius_upstream_total{result=\"accept\"}"), 2);
  EXPECT_EQ(metric("gatehouse_radius_upstream_total{result=\"reject\"}"), 1);
  // The one that was silent was asked once; the other one is asked first since.
  EXPECT_FALSE(silent.receive(0).empty());
  EXPECT_TRUE(silent.receive(0).empty());
  EXPECT_FALSE(log->has("known elsewhere"));
}

// EAP-MD5 goes there as CHAP, MSCHAPv2 as itself, and its proof comes back to the endpoint.
TEST_F(TakenBack, AnswersToChallengesAreJudgedByAnotherServer) {
  UdpService knowing;
  write("upstream", "the secret of the other server\n");
  config.radius.methods = {"mschapv2", "md5"};
  config.radius.upstream = {{"127.0.0.1:" + std::to_string(knowing.port()), folder + "/upstream"}};
  start();
  constexpr std::string_view password = "known elsewhere";
  std::vector<std::string> users;
  std::atomic<bool> lie = false;
  std::jthread serving([&](const std::stop_token& stop) {
    const Bytes key = as_bytes("the secret of the other server");
    while (!stop.stop_requested()) {
      const ByteVector bytes = knowing.receive(50);
      if (bytes.empty()) continue;
      const auto packet = radius::parse_packet(bytes);
      ASSERT_TRUE(packet && radius::authentic_request(*packet, key));
      const std::string user(packet->text(radius::type::user_name));
      users.push_back(user);
      bool good = false;
      std::string proof;
      if (const auto chap = packet->find(radius::type::chap_password)) {
        const Md5 right = md5({chap->first(1), as_bytes(password), *packet->find(radius::type::chap_challenge)});
        good = equal_constant_time(right, chap->subspan(1));
      } else if (const auto ms_chap = radius::find_vendor(*packet, radius::vendor_microsoft, radius::ms_chap2_response)) {
        const Bytes challenge = *radius::find_vendor(*packet, radius::vendor_microsoft, radius::ms_chap_challenge), mine = ms_chap->subspan(2, 16);
        const MsChapResponse right = ms_chap_response(challenge, mine, user, *nt_hash(password));
        good = equal_constant_time(right, ms_chap->subspan(26, 24));
        proof = std::string(1, char((*ms_chap)[0])) + ms_chap_proof(*nt_hash(lie ? "another" : password), right, challenge, mine, user);
      }
      radius::Builder answer(good ? radius::Code::access_accept : radius::Code::access_reject, packet->identifier);
      if (good && !proof.empty()) answer.add_vendor(radius::vendor_microsoft, radius::ms_chap2_success, as_bytes(proof));
      knowing.answer(*std::move(answer).finish_answer(packet->authenticator, key));
    }
  });
  for (const Method method : {Method::md5, Method::mschapv2}) {
    EXPECT_TRUE(allowed({.user = "erin", .password = std::string(password), .method = method}));
    const auto wrong = made({.user = "erin", .password = "wrong", .method = method});
    ASSERT_TRUE(wrong->run());
    EXPECT_FALSE(wrong->accepted());
    // Who is stored here is nobody else's business.
    EXPECT_TRUE(allowed({.method = method}));
  }
  // A server that doesn't know the password proves nothing to the endpoint, which ends it.
  lie = true;
  const auto lied_to = made({.user = "erin", .password = std::string(password), .method = Method::mschapv2});
  (void)lied_to->run();
  EXPECT_FALSE(lied_to->accepted());
  serving.request_stop();
  serving.join();
  EXPECT_EQ(users, std::vector<std::string>(5, "erin"));
  EXPECT_EQ(metric("gatehouse_radius_upstream_total{result=\"accept\"}"), 3);
  EXPECT_EQ(metric("gatehouse_radius_upstream_total{result=\"reject\"}"), 2);
}

TEST_F(TakenBack, WithoutAnyAnswerNobodyIsLetInAndNobodyHasGuessed) {
  UdpService silent;
  write("upstream", "the secret of the other server\n");
  config.radius.passwords.clear();
  config.radius.methods = {"pap"};
  config.radius.upstream = {{"127.0.0.1:" + std::to_string(silent.port()), folder + "/upstream"}};
  config.radius.upstream_timeout = std::chrono::seconds(1);
  start();
  const auto one = made({.user = "erin", .password = "any", .method = Method::pap});
  ASSERT_TRUE(one->run());
  EXPECT_FALSE(one->accepted());
  EXPECT_EQ(metric("gatehouse_radius_upstream_total{result=\"silence\"}"), 1);
  EXPECT_TRUE(log->has("no answer from any RADIUS server"));
}

// --- guessed passwords

TEST_F(TakenBack, AfterWrongPasswordsTheNextAttemptOfThatPlaceWaits) {
  start();
  for (int n = 0; n < 3; ++n) {
    const auto wrong = made({.user = "user" + std::to_string(n), .password = "wrong"});
    ASSERT_TRUE(wrong->run());
    EXPECT_FALSE(wrong->accepted());
  }
  EXPECT_EQ(metric("gatehouse_eap_password_backoff_total{result=\"held_back\"}"), 0);
  // Another place isn't meant, with or without the port that strongSwan says.
  EXPECT_TRUE(allowed({.station = "192.0.2.8[4500]"}));
  EXPECT_EQ(metric("gatehouse_eap_password_backoff_total{result=\"held_back\"}"), 0);
  EXPECT_TRUE(allowed({.station = "192.0.2.7[1024]"}));
  EXPECT_EQ(metric("gatehouse_eap_password_backoff_total{result=\"held_back\"}"), 1);
  // A right one makes good.
  EXPECT_TRUE(allowed({}));
  EXPECT_EQ(metric("gatehouse_eap_password_backoff_total{result=\"held_back\"}"), 1);
}

// Guesses at one user at the same moment, from as many places: no more are looked at than may be wrong.
TEST_F(TakenBack, GuessesAtTheSameMomentAreNoMoreThanOneAfterTheOther) {
  UdpService knowing;
  write("upstream", "the secret of the other server\n");
  config.radius.passwords.clear();
  config.radius.methods = {"pap"};
  config.radius.upstream = {{"127.0.0.1:" + std::to_string(knowing.port()), folder + "/upstream"}};
  config.radius.upstream_timeout = std::chrono::seconds(10);
  start();
  constexpr int count = 12, most = 10;
  std::vector<std::unique_ptr<GatewayPeer>> guesses;
  for (int n = 0; n < count; ++n)
    guesses.push_back(made({.user = "erin", .password = "guess " + std::to_string(n), .method = Method::pap, .station = "place " + std::to_string(n)}));
  std::atomic<int> ended = 0;
  std::vector<std::jthread> running;
  for (const auto& one : guesses)
    running.emplace_back([&ended, peer = one.get()] {
      EXPECT_TRUE(peer->run());
      ++ended;
    });
  std::vector<std::pair<std::uint8_t, radius::Authenticator>> questions;
  const auto take = [&](const ByteVector& bytes) {
    const auto packet = radius::parse_packet(bytes);
    if (packet) questions.emplace_back(packet->identifier, packet->authenticator);
  };
  while (questions.size() < most) take(knowing.receive());
  await("gatehouse_eap_password_backoff_total{result=\"held_back\"}", count - most);
  EXPECT_TRUE(knowing.receive(0).empty());
  EXPECT_EQ(ended, 0);
  // The others have their turn, one after the other.
  for (std::size_t n = 0; ended < count;) {
    for (; n < questions.size(); ++n)
      knowing.answer(*radius::Builder(radius::Code::access_reject, questions[n].first)
                          .finish_answer(questions[n].second, as_bytes("the secret of the other server")));
    if (const ByteVector more = knowing.receive(50); !more.empty()) take(more);
  }
  running.clear();
  for (const auto& one : guesses) EXPECT_FALSE(one->accepted());
}

TEST_F(TakenBack, EapTncCarriesTheSameAssessment) {
  config.radius.eap_tnc = true;
  start();
  EXPECT_TRUE(allowed({.eap_tnc = true}));
  EXPECT_TRUE(allowed({.tls_12 = true, .eap_tnc = true}));
}

// --- TCP and TLS

// A gateway's stream of packets.
class Stream {
 public:
  Stream(std::uint16_t port, const TlsWanted& wanted) : tls_(std::in_place, port, wanted) {}
  explicit Stream(std::uint16_t port) : tls_(std::in_place, port), plain_(true) {}
  TlsPeer& peer() { return *tls_; }
  bool send(Bytes packet) {
    if (!plain_) return tls_->write(packet);
    tls_->write_raw(packet);
    return true;
  }
  // The next packet; empty: the connection has ended.
  ByteVector receive() {
    for (;;) {
      const auto packet = framer_.next();
      if (!packet) return {};
      if (!packet->empty()) return to_vector(*packet);
      ByteVector more;
      if (plain_) {
        more.resize(4'096);
        const ssize_t n = ::recv(tls_->fd(), more.data(), more.size(), 0);
        more.resize(std::size_t(std::max<ssize_t>(n, 0)));
      } else {
        more = tls_->read();
      }
      if (more.empty()) return {};
      framer_.feed(more);
    }
  }
  testing::AssertionResult run(GatewayPeer& one) {
    while (!one.over()) {
      const auto request = one.gateway().request(one.next());
      if (!request || !send(*request)) return testing::AssertionFailure() << "it can't be sent";
      if (!one.take(receive())) return testing::AssertionFailure() << "no answer that counts";
    }
    return testing::AssertionSuccess();
  }

 private:
  std::optional<TlsPeer> tls_;
  bool plain_ = false;
  radius::Framer framer_;
};

ByteVector alive(std::uint8_t identifier) {
  radius::Authenticator random{};
  fill_random(random);
  return *radius::Builder(radius::Code::status_server, identifier).finish_request(random, shared);
}

class Streams : public TakenBack {
 protected:
  void SetUp() override {
    TakenBack::SetUp();
    gateways.emplace(folder, "gateway CA");
    gateways->issue("gateway");
    gateways->issue("nobody");
    config.radius.listen_tcp = {"127.0.0.1:0"};
    config.radius.listen_tls = {"127.0.0.1:0"};
    config.radius.gateway_ca = gateways->certificate();
    server::RadiusClientConfig by_certificate;
    by_certificate.subject = "CN=gateway";
    config.radius.clients.push_back(by_certificate);
  }
  std::optional<Authority> gateways;
};

TEST_F(Streams, AWholeAssessmentOverTlsWithTheGatewaysCertificate) {
  start();
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    Stream stream(server->radius_ports().tls, with("gateway", version));
    ASSERT_TRUE(stream.peer().good()) << log->text();
    // Two conversations on one connection, one after the other, and accounting besides.
    for (int n = 0; n < 2; ++n) {
      const auto one = made({.secret = "radsec"});
      ASSERT_TRUE(stream.run(*one)) << log->text();
      EXPECT_TRUE(one->accepted());
      EXPECT_TRUE(one->keys_agree());
    }
    radius::Authenticator random{};
    fill_random(random);
    ASSERT_TRUE(stream.send(*radius::Builder(radius::Code::status_server, 1).finish_request(random, as_bytes("radsec"))));
    EXPECT_EQ(radius::parse_packet(stream.receive())->code, radius::Code::access_accept);
    radius::Builder b(radius::Code::accounting_request, 2);
    b.add_number(radius::type::acct_status_type, 1);
    b.add_text(radius::type::acct_session_id, "over TLS");
    ASSERT_TRUE(stream.send(*std::move(b).finish_signed_request(as_bytes("radsec"))));
    EXPECT_EQ(radius::parse_packet(stream.receive())->code, radius::Code::accounting_response);
  }
}

// Accounting comes on the same connection, whether there is a port of its own for it or not.
TEST_F(Streams, AClassGoesAlongWhereAccountingMayComeBack) {
  config.radius.accounting.clear();
  start();
  Stream stream(server->radius_ports().tls, with("gateway"));
  ASSERT_TRUE(stream.peer().good()) << log->text();
  const auto one = made({.secret = "radsec"});
  ASSERT_TRUE(stream.run(*one)) << log->text();
  const auto marks = classes(*one);
  ASSERT_EQ(marks.size(), 1U);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  radius::Builder b(radius::Code::accounting_request, 200);
  b.add_number(radius::type::acct_status_type, 1);
  b.add_text(radius::type::acct_session_id, "a-1");
  b.add_text(radius::type::class_, marks.front());
  ASSERT_TRUE(stream.send(*std::move(b).finish_signed_request(as_bytes("radsec"))));
  EXPECT_EQ(radius::parse_packet(stream.receive())->code, radius::Code::accounting_response);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  EXPECT_EQ(metric("gatehouse_radius_connected"), 1);
}

// A gateway that is reached over its connection alone is asked on that, and answers there (RFC 5176, RFC 6614).
TEST_F(Streams, WhoCameOverAConnectionIsCutOffOnIt) {
  for (server::RadiusClientConfig& one : config.radius.clients) {
    one.dynamic_port = 0;
    one.dynamic_on_connection = true;
  }
  start();
  struct Way {
    Bytes secret;
    bool tls;
  };
  int acks = 0;
  for (const Way way : {Way{as_bytes("radsec"), true}, Way{shared, false}}) {
    const auto connect = [&] { return way.tls ? std::make_unique<Stream>(server->radius_ports().tls, with("gateway")) : std::make_unique<Stream>(server->radius_ports().tcp); };
    const auto admit = [&](Stream& on) {
      const auto one = made({.secret = std::string(as_text(way.secret)), .accounting = "a-1"});
      ASSERT_TRUE(on.run(*one)) << log->text();
      ASSERT_TRUE(one->accepted()) << log->text();
    };
    const auto disconnect = [&] { return control({{"command", "radius.disconnect"}, {"device", device}}); };
    const auto cut = [&](Stream& on) {
      const ByteVector request = on.receive();
      const auto packet = radius::parse_packet(request);
      ASSERT_TRUE(packet) << log->text();
      EXPECT_EQ(packet->code, radius::Code::disconnect_request);
      EXPECT_EQ(packet->text(radius::type::acct_session_id), "a-1");
      ASSERT_TRUE(radius::authentic_accounting(*packet, way.secret));
      // An answer to nothing, and one by another secret: neither counts, and the connection stays.
      ASSERT_TRUE(on.send(*radius::Builder(radius::Code::disconnect_ack, std::uint8_t(packet->identifier + 1)).finish_answer(packet->authenticator, way.secret)));
      ASSERT_TRUE(on.send(*radius::Builder(radius::Code::disconnect_ack, packet->identifier).finish_answer(packet->authenticator, as_bytes("another secret of 22 l"))));
      EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
      ASSERT_TRUE(on.send(*radius::Builder(radius::Code::disconnect_ack, packet->identifier).finish_answer(packet->authenticator, way.secret)));
      await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"ack\"}", ++acks);
      EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
    };
    auto stream = connect();
    admit(*stream);
    EXPECT_EQ(disconnect().at("asked").to_number<int>(), 1);
    cut(*stream);
    // While there is no connection it waits for the next one, which has to prove that it is this gateway's.
    admit(*stream);
    stream.reset();
    (void)disconnect();
    const auto waits = [&] {
      const std::string text = log->text();
      std::size_t count = 0;
      for (std::size_t at = 0; (at = text.find("is asked as soon as it connects again", at)) != std::string::npos; ++at) ++count;
      return count;
    };
    while (waits() < (way.tls ? 1U : 2U)) {
    }
    Stream nobody(server->radius_ports().tls, with("nobody"));
    EXPECT_TRUE(nobody.receive().empty());
    stream = connect();
    if (!way.tls) {
      ASSERT_TRUE(stream->send(alive(1)));
      EXPECT_EQ(radius::parse_packet(stream->receive())->code, radius::Code::access_accept);
    }
    cut(*stream);
  }
}

TEST_F(Streams, OverTlsNobodyMayAskWithoutACertificateOfAGateway) {
  start();
  const auto port = server->radius_ports().tls;
  const auto status = [](Stream& stream) {
    radius::Authenticator random{};
    (void)stream.send(*radius::Builder(radius::Code::status_server, 1).finish_request(random, as_bytes("radsec")));
    return stream.receive();
  };
  // None; an endpoint's, of another authority; of the right authority, but nobody that is configured.
  TlsWanted none;
  Stream without(port, none);
  EXPECT_TRUE(status(without).empty());
  Stream endpoints(port, with("client"));
  EXPECT_TRUE(status(endpoints).empty());
  Stream nobody(port, with("nobody"));
  EXPECT_TRUE(status(nobody).empty());
  Stream good(port, with("gateway"));
  EXPECT_FALSE(status(good).empty()) << log->text();
  EXPECT_TRUE(log->has("nobody who may ask"));
}

TEST_F(Streams, OverTcpItIsTheSecretOfTheAddressAndWhatIsntRadiusEndsTheConnection) {
  start();
  const auto port = server->radius_ports().tcp;
  Stream stream(port);
  const auto one = made({});
  ASSERT_TRUE(stream.run(*one)) << log->text();
  EXPECT_TRUE(one->accepted());
  radius::Authenticator random{};
  const ByteVector wrong = *radius::Builder(radius::Code::status_server, 1).finish_request(random, as_bytes("another secret of 22 l"));
  const ByteVector right = *radius::Builder(radius::Code::status_server, 1).finish_request(random, shared);
  for (const ByteVector& bad : {wrong, to_vector(as_bytes("GET / HTTP/1.0\r\n\r\n")), ByteVector(8, std::byte{0})}) {
    Stream hostile(port);
    ASSERT_TRUE(hostile.send(bad));
    EXPECT_TRUE(hostile.receive().empty());
  }
  // Cut anywhere it is still whole.
  Stream slow(port);
  for (const std::byte b : right) ASSERT_TRUE(slow.send(Bytes(&b, 1)));
  EXPECT_FALSE(slow.receive().empty());
  EXPECT_EQ(metric("gatehouse_radius_connections_total{result=\"taken\"}"), 5);
}

TEST_F(Streams, WhoSaysNothingTakesNobodysPlace) {
  config.radius.max_connections = 2;
  start();
  const auto port = server->radius_ports().tcp;
  Stream gateways_own(port);
  ASSERT_TRUE(gateways_own.send(alive(1)));
  EXPECT_FALSE(gateways_own.receive().empty());
  // More than may be there without having said anything: the oldest makes room.
  std::vector<std::unique_ptr<Stream>> silent;
  for (int n = 0; n < 20; ++n) silent.push_back(std::make_unique<Stream>(port));
  EXPECT_TRUE(silent.front()->receive().empty());
  Stream second(port);
  ASSERT_TRUE(second.send(alive(2)));
  EXPECT_FALSE(second.receive().empty()) << log->text();
  ASSERT_TRUE(gateways_own.send(alive(3)));
  EXPECT_FALSE(gateways_own.receive().empty());
  // Two have proved who they are, and that is all there may be.
  Stream third(port);
  ASSERT_TRUE(third.send(alive(4)));
  EXPECT_TRUE(third.receive().empty());
  EXPECT_EQ(metric("gatehouse_radius_connections_total{result=\"refused\"}"), 1);
}

TEST_F(Streams, FromOneAddressThereAreOnlySoMany) {
  config.radius.max_connections_per_address = 1;
  start();
  const auto port = server->radius_ports().tcp;
  {
    Stream one(port);
    ASSERT_TRUE(one.send(alive(1)));
    EXPECT_FALSE(one.receive().empty());
    Stream more(port);
    EXPECT_TRUE(more.receive().empty());
    EXPECT_EQ(metric("gatehouse_radius_connections_total{result=\"refused\"}"), 1);
  }
  for (bool answered = false; !answered;) {
    Stream again(port);
    ASSERT_TRUE(again.send(alive(2)));
    answered = !again.receive().empty();
  }
}

// What comes byte by byte proves nothing, and prolongs nothing.
TEST_F(Streams, WhoProvesNothingInTimeIsCutOff) {
  config.radius.connect_deadline = std::chrono::seconds(1);
  start();
  const ByteVector request = alive(1);
  // Should it come too late itself, once more.
  std::optional<Stream> good;
  do {
    good.emplace(server->radius_ports().tcp);
    ASSERT_TRUE(good->send(request));
  } while (good->receive().empty());
  Stream slow(server->radius_ports().tcp), handshake(server->radius_ports().tls);
  ASSERT_TRUE(slow.send(Bytes(request).first(1)));
  EXPECT_TRUE(slow.receive().empty());
  EXPECT_TRUE(handshake.receive().empty());
  EXPECT_TRUE(log->has("it is silent"));
  ASSERT_TRUE(good->send(alive(2)));
  EXPECT_FALSE(good->receive().empty());
}

}  // namespace
}  // namespace gatehouse::test
