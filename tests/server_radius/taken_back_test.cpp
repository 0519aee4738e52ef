// After Access-Accept: what accounting tells, and that a gateway is asked to take back what it was told.
#include <future>

#include "base/md5.h"
#include "server/radius/admitted.h"
#include "server/state/state.h"
#include "tests/server_radius/taken_back.h"

namespace gatehouse::test {
namespace {

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

// Who could say that a connection is gone, or that it was cut off, would keep a revoked device connected.
TEST_F(TakenBack, WhatIsForgedForgetsNobody) {
  start();
  const auto one = made({.accounting = "a-1"});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  const auto marks = classes(*one);
  ASSERT_EQ(marks.size(), 1U);
  account(radius::AcctStatus::start, marks);
  const Bytes another = as_bytes("another secret of 22 l");
  const UdpPeer udp(server->radius_ports().accounting);
  double dropped = 0;
  for (const radius::AcctStatus status : {radius::AcctStatus::stop, radius::AcctStatus::on}) {
    radius::Builder b(radius::Code::accounting_request, 200);
    b.add_number(radius::type::acct_status_type, std::uint32_t(status));
    b.add_text(radius::type::acct_session_id, "a-1");
    b.add_text(radius::type::nas_identifier, "gatehouse-endpoint");
    b.add_text(radius::type::class_, marks.front());
    const ByteVector with = *std::move(b).finish_signed_request(another);
    udp.send(with);
    await("gatehouse_radius_dropped_total{reason=\"unauthenticated\"}", ++dropped);
    // Most gateways send accounting without a Message-Authenticator, which comes first here.
    constexpr std::size_t first = 18;
    ByteVector bare(with.begin(), with.begin() + radius::header_size);
    bare.insert(bare.end(), with.begin() + radius::header_size + first, with.end());
    bare[2] = std::byte(bare.size() >> 8);
    bare[3] = std::byte(bare.size());
    std::fill_n(bare.begin() + 4, sizeof(Md5), std::byte{0});
    const Md5 made = md5({bare, another});
    std::copy(made.begin(), made.end(), bare.begin() + 4);
    udp.send(bare);
    await("gatehouse_radius_dropped_total{reason=\"unauthenticated\"}", ++dropped);
  }
  EXPECT_FALSE(udp.has_answer());
  EXPECT_EQ(metric("gatehouse_radius_connected"), 1);
  EXPECT_FALSE(control({{"command", "device.revoke"}, {"device", device}}).contains("error"));
  const radius::Packet cut = asked(radius::Code::disconnect_request);
  const ByteVector asked_first = request_;
  gateway.answer(*radius::Builder(radius::Code::disconnect_ack, cut.identifier).finish_answer(cut.authenticator, another));
  EXPECT_EQ(gateway.receive(), asked_first);  // it is asked again
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  answer(cut, radius::Code::disconnect_ack);
  await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"ack\"}", 1);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
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

TEST_F(TakenBack, EapTncCarriesTheSameAssessment) {
  config.radius.eap_tnc = true;
  start();
  EXPECT_TRUE(allowed({.eap_tnc = true}));
  EXPECT_TRUE(allowed({.tls_12 = true, .eap_tnc = true}));
}

}  // namespace
}  // namespace gatehouse::test
