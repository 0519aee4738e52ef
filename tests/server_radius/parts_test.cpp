// The parts of the RADIUS front end that need no socket: who may ask, what is kept of answers, what State holds, and the
// files behind the methods.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/hash.h"
#include "base/hex.h"
#include "server/radius/answer_cache.h"
#include "server/radius/clients.h"
#include "server/radius/leases.h"
#include "server/radius/reply.h"
#include "server/radius/state_cookie.h"
#include "server/radius/stream_room.h"
#include "server/radius/user_name.h"
#include "server/state/passwords.h"
#include "tests/folder.h"

namespace gatehouse::server {
namespace {

using namespace std::chrono_literals;

class RadiusParts : public testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& content, std::filesystem::perms mode = std::filesystem::perms(0600)) const {
    const std::string path = folder.path() + "/" + name;
    std::ofstream(path) << content;
    std::filesystem::permissions(path, mode);
    return path;
  }
  test::Folder folder;
};

IpAddress ip(std::string_view text) { return parse_prefix(text)->address; }

// As strongSwan's endpoint says it where it is called by its certificate's subject.
TEST(UserName, ASubjectInDerIsShownAsText) {
  const ByteVector der = *from_hex("302f311a3018060355040a0c1147617465686f75736520696e7465726f703111300f06035504030c08656e64706f696e74");
  const std::string name(reinterpret_cast<const char*>(der.data()), der.size());
  EXPECT_EQ(shown_user(name), "CN=endpoint,O=Gatehouse interop");
  // Cut short, with something behind it, or no Name at all: as it is.
  EXPECT_EQ(shown_user(name.substr(0, 12)), "0/1\\x1A0\\x18\\x06\\x03U\\x04\\x0A\\x0C");
  EXPECT_TRUE(shown_user(name + "!").ends_with("endpoint!"));
  EXPECT_EQ(shown_user("0123"), "0123");
  EXPECT_EQ(shown_user("carol@example.org"), "carol@example.org");
  EXPECT_EQ(shown_user(""), "");
}

TEST(AddressPrefix, AreReadAsWrittenOrRefused) {
  EXPECT_EQ(parse_prefix("10.0.0.0/8")->bits, 104U);
  EXPECT_EQ(parse_prefix("0.0.0.0/0")->bits, 96U);
  EXPECT_EQ(parse_prefix("192.0.2.7")->bits, 128U);
  EXPECT_EQ(parse_prefix("2001:db8::/32")->bits, 32U);
  EXPECT_EQ(parse_prefix("::/0")->bits, 0U);
  for (const char* const bad : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "2001:db8::1/32", "::/129", "host", "10.0.0.0/8/8", "10.0.0/8", "::/-1"})
    EXPECT_FALSE(parse_prefix(bad)) << bad;
}

TEST_F(RadiusParts, TheLongestPrefixIsTheClient) {
  RadiusConfig config;
  const auto add = [&](const std::string& address) {
    config.clients.push_back({address, *parse_prefix(address), file("secret" + std::to_string(config.clients.size()), "secret of " + address + " long enough\n"), {}});
  };
  for (const char* const address : {"10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "::/0"}) add(address);
  std::vector<std::string> warnings;
  const auto clients = RadiusClients::load(config, warnings);
  ASSERT_TRUE(clients) << clients.error().text();
  EXPECT_TRUE(warnings.empty());
  const auto name = [&](std::string_view address) { return (*clients)->find(ip(address))->name; };
  EXPECT_EQ(name("10.200.0.1"), "10.0.0.0/8");
  EXPECT_EQ(name("10.1.200.1"), "10.1.0.0/16");
  EXPECT_EQ(name("10.1.2.3"), "10.1.2.3");
  EXPECT_EQ(name("10.1.2.4"), "10.1.0.0/16");
  EXPECT_EQ(name("2001:db8:1::1"), "2001:db8::/32");
  EXPECT_EQ(name("2001:db9::1"), "::/0");
  EXPECT_EQ(name("192.0.2.1"), "::/0");
  config.clients.pop_back();
  EXPECT_EQ((*RadiusClients::load(config, warnings))->find(ip("192.0.2.1")), nullptr);
}

TEST_F(RadiusParts, SecretsAreHeldToTheirLengthAndToTheirOwner) {
  RadiusConfig config;
  config.clients.push_back({"::/0", *parse_prefix("::/0"), file("secret", "fifteen letters"), {}});
  std::vector<std::string> warnings;
  EXPECT_EQ(RadiusClients::load(config, warnings).error().reason, "a shared secret has 16 characters or more");
  file("secret", "sixteen letters.");
  EXPECT_TRUE(RadiusClients::load(config, warnings));
  EXPECT_EQ(warnings.size(), 1U);
  for (const unsigned mode : {0604U, 0602U, 0620U, 0640U | 1U}) {
    file("secret", "sixteen letters.", std::filesystem::perms(mode));
    EXPECT_EQ(RadiusClients::load(config, warnings).error().fault, Fault::usage) << mode;
  }
  for (const unsigned mode : {0600U, 0400U, 0640U, 0440U}) {
    file("secret", "sixteen letters.", std::filesystem::perms(mode));
    EXPECT_TRUE(RadiusClients::load(config, warnings)) << mode;
  }
}

TEST_F(RadiusParts, PasswordsAreReadOrTheirLineIsNamed) {
  const auto good = PasswordFile::load(file("p", "gatehouse-passwords 1\ncarol\tpassword\tcorrect horse\tbattery\nUser\tnt-hash\t44ebba8d5312b8d611474411f56989ae\n"));
  ASSERT_TRUE(good) << good.error().text();
  EXPECT_FALSE(good->all_clear());
  EXPECT_TRUE(good->find("carol")->password.equals(as_bytes("correct horse\tbattery")));
  EXPECT_TRUE(good->find("User")->password.empty());
  EXPECT_EQ(good->find("User")->nt_hash, *nt_hash("clientPass"));
  EXPECT_EQ(good->find("dave"), nullptr);
  for (const char* const bad : {"", "gatehouse-users 1\n", "gatehouse-passwords 1\ncarol\n", "gatehouse-passwords 1\ncarol\tpassword\t\n",
                                "gatehouse-passwords 1\ncarol\tmd5\tx\n", "gatehouse-passwords 1\ncarol\tnt-hash\t44\n",
                                "gatehouse-passwords 1\n\tpassword\tx\n", "gatehouse-passwords 1\na\tpassword\tx\na\tpassword\ty\n",
                                "gatehouse-passwords 1\na\tpassword\t\xff\n"}) {
    const auto read = PasswordFile::load(file("p", bad));
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().fault, Fault::malformed);
  }
  EXPECT_EQ(PasswordFile::load(file("p", "gatehouse-passwords 1\n", std::filesystem::perms(0644))).error().fault, Fault::usage);
}

TEST(StateCookies, NobodyElseCanMakeOne) {
  const StateCookies ours, others;
  const IpAddress client = ip("192.0.2.7");
  const Bytes secret = as_bytes("a secret");
  const StateCookies::Cookie state = ours.seal({7, 3}, client, secret);
  EXPECT_EQ(state.size(), StateCookies::size);
  EXPECT_EQ(ours.open(state, client, secret), (StateCookies::Place{7, 3}));
  EXPECT_FALSE(others.open(state, client, secret));
  EXPECT_FALSE(ours.open(state, ip("192.0.2.8"), secret));
  EXPECT_FALSE(ours.open(state, client, as_bytes("b secret")));
  for (std::size_t bit = 0; bit < state.size() * 8; ++bit) {
    ByteVector forged = to_vector(state);
    forged[bit / 8] ^= std::byte(1U << (bit % 8));
    EXPECT_FALSE(ours.open(forged, client, secret)) << bit;
  }
  for (std::size_t n = 0; n < state.size(); ++n) {
    EXPECT_FALSE(ours.open(Bytes(state).first(n), client, secret));
    EXPECT_FALSE(StateCookies::conversation(Bytes(state).first(n)));
  }
  EXPECT_EQ(StateCookies::conversation(state), 7U);
}

TEST(AnswerCache, TellsNewAtWorkAndAnsweredApart) {
  AnswerCache cache;
  const auto now = AnswerCache::Clock::time_point() + 1h;
  const AnswerCache::Key key{ip("192.0.2.7"), 1'645, 0, 9};
  const radius::Authenticator first{std::byte{1}}, second{std::byte{2}};
  const ByteVector packet(40, std::byte{5});
  EXPECT_TRUE(std::holds_alternative<AnswerCache::New>(cache.take(key, first, now)));
  EXPECT_TRUE(std::holds_alternative<AnswerCache::AtWork>(cache.take(key, first, now)));
  cache.answer(key, first, packet);
  EXPECT_EQ(std::get<AnswerCache::Answered>(cache.take(key, first, now + 30s)).packet, packet);
  AnswerCache::Key other = key;
  other.port = 1'646;
  EXPECT_TRUE(std::holds_alternative<AnswerCache::New>(cache.take(other, first, now + 30s)));
  // Another authenticator is another request, and an answer to the one before is nobody's.
  EXPECT_TRUE(std::holds_alternative<AnswerCache::New>(cache.take(key, second, now + 30s)));
  cache.answer(key, first, packet);
  EXPECT_TRUE(std::holds_alternative<AnswerCache::AtWork>(cache.take(key, second, now + 30s)));
  cache.forget(key, second);
  EXPECT_TRUE(std::holds_alternative<AnswerCache::New>(cache.take(key, second, now + 30s)));
  cache.answer(key, second, packet);
  EXPECT_TRUE(std::holds_alternative<AnswerCache::New>(cache.take(key, second, now + 61s)));
}

TEST(AnswerCache, ForgetsTheOldestBeyondItsBounds) {
  AnswerCache cache({.requests = 3, .bytes = 100});
  const auto now = AnswerCache::Clock::time_point() + 1h;
  const radius::Authenticator a{};
  const auto key = [](std::uint8_t n) { return AnswerCache::Key{{}, 1, 0, n}; };
  for (std::uint8_t n = 0; n < 5; ++n) cache.take(key(n), a, now);
  EXPECT_EQ(cache.requests(), 3U);
  for (std::uint8_t n = 2; n < 5; ++n) cache.answer(key(n), a, ByteVector(45));
  cache.take(key(9), a, now);
  EXPECT_LE(cache.bytes(), 100U);
  EXPECT_LE(cache.requests(), 3U);
  EXPECT_TRUE(std::holds_alternative<AnswerCache::New>(cache.take(key(2), a, now)));
}

TEST(StreamRoom, WhoHasProvedNothingTakesNobodysPlace) {
  const auto from = [](const char* text) { return parse_prefix(text)->address; };
  StreamRoom room;
  const StreamRoom::Limits limits{.proven = 2, .per_address = 3, .unproven = 3};
  const auto gateway = room.take(from("192.0.2.1"), limits);
  ASSERT_TRUE(gateway && !gateway->gives_way);
  EXPECT_TRUE(room.prove(gateway->id, limits));
  EXPECT_TRUE(room.prove(gateway->id, limits));
  std::vector<StreamRoom::Id> silent;
  for (int n = 0; n < 3; ++n) silent.push_back(room.take(from("198.51.100.1"), limits)->id);
  // From the same address, and from another one, the oldest makes room.
  EXPECT_EQ(room.take(from("198.51.100.1"), limits)->gives_way, silent[0]);
  const auto other = room.take(from("192.0.2.2"), limits);
  EXPECT_EQ(other->gives_way, silent[1]);
  EXPECT_FALSE(room.prove(silent[1], limits));
  EXPECT_TRUE(room.prove(other->id, limits));
  EXPECT_EQ(room.size(), 4U);
  // As many as there may be have proved it.
  const auto late = room.take(from("192.0.2.3"), limits);
  ASSERT_TRUE(late);
  EXPECT_FALSE(room.prove(late->id, limits));
  room.leave(gateway->id);
  room.leave(gateway->id);
  EXPECT_TRUE(room.prove(late->id, limits));
}

TEST(StreamRoom, FromOneAddressThereAreOnlySoMany) {
  const auto from = [](const char* text) { return parse_prefix(text)->address; };
  StreamRoom room;
  const StreamRoom::Limits limits{.proven = 100, .per_address = 2, .unproven = 100};
  const auto first = room.take(from("2001:db8::1"), limits), second = room.take(from("2001:db8::2"), limits);  // of one network
  EXPECT_TRUE(room.prove(first->id, limits) && room.prove(second->id, limits));
  EXPECT_FALSE(room.take(from("2001:db8::3"), limits));
  EXPECT_TRUE(room.take(from("2001:db8:0:1::3"), limits));
  EXPECT_TRUE(room.take(from("192.0.2.1"), limits));
  EXPECT_TRUE(room.take(from("192.0.2.2"), limits));
  room.leave(first->id);
  const auto third = room.take(from("2001:db8::3"), limits);
  ASSERT_TRUE(third);
  EXPECT_EQ(room.take(from("2001:db8::4"), limits)->gives_way, third->id);
}

TEST(Leases, AreAsLongAndAsGoodAsTheWorstOfTheirDevices) {
  using pipeline::Recommendation;
  Leases leases;
  const Leases::Identity carol{"carol", "password"};
  std::map<std::string, Leases::Standing> standings;
  const auto judge = [&](const std::string& device, const std::string& pin) {
    EXPECT_EQ(pin, "pin of " + device);
    const auto at = standings.find(device);
    return at == standings.end() ? Leases::Standing::good : at->second;
  };
  const auto note = [&](const std::string& device, Recommendation r, std::int64_t now) { leases.note(carol, device, "pin of " + device, r, now); };
  const auto found = [&](std::int64_t now) { return leases.find(carol, 100s, now, judge); };
  EXPECT_FALSE(found(1'000));
  note("a", Recommendation::allow, 1'000);
  EXPECT_EQ(found(1'000)->recommendation, Recommendation::allow);
  EXPECT_EQ(found(1'000)->left, 100s);
  EXPECT_EQ(found(100'999)->left, 1s);
  EXPECT_FALSE(found(101'000));
  // Another kind of identity of the same name is another one.
  EXPECT_FALSE(leases.find({"carol", "certificate"}, 100s, 1'000, judge));
  note("b", Recommendation::isolate, 11'000);
  EXPECT_EQ(found(11'000)->recommendation, Recommendation::isolate);
  EXPECT_EQ(found(11'000)->device, "b");
  EXPECT_EQ(found(11'000)->also, std::vector<std::string>{"a"});
  EXPECT_EQ(found(11'000)->left, 90s);
  note("b", Recommendation::allow, 21'000);
  note("b", Recommendation::block, 20'000);  // late: changes nothing
  EXPECT_EQ(found(21'000)->recommendation, Recommendation::allow);
  // Of one that has no lease any more it can't be told whether it is the one that asks; of one that is gone it can.
  EXPECT_FALSE(found(105'000));
  standings["a"] = Leases::Standing::gone;
  EXPECT_EQ(found(105'000)->recommendation, Recommendation::allow);
  EXPECT_TRUE(found(105'000)->also.empty());
  standings["b"] = Leases::Standing::bad;
  EXPECT_FALSE(found(105'000));
  standings["b"] = Leases::Standing::gone;
  EXPECT_FALSE(found(105'000));
}

// A clock that is set back makes no lease longer, and what is said after that counts.
TEST(Leases, FollowAClockThatJumps) {
  using pipeline::Recommendation;
  Leases leases;
  const Leases::Identity carol{"carol", "password"};
  const auto judge = [](const std::string&, const std::string&) { return Leases::Standing::good; };
  leases.note(carol, "a", "p", Recommendation::allow, 10'000'000);
  EXPECT_FALSE(leases.find(carol, 100s, 1'000'000, judge));
  leases.note(carol, "a", "p", Recommendation::block, 1'000'000);
  EXPECT_EQ(leases.find(carol, 100s, 1'000'000, judge)->recommendation, Recommendation::block);
  leases.recall(carol, "a", "p", Recommendation::allow, 900'000);
  EXPECT_EQ(leases.find(carol, 100s, 1'000'000, judge)->recommendation, Recommendation::block);
  EXPECT_FALSE(leases.find(carol, 100s, 20'000'000, judge));
}

TEST(Leases, NobodyWithoutAnIdentityOrADeviceHasOneAndTheyAreBounded) {
  using pipeline::Recommendation;
  Leases leases(2);
  const auto judge = [](const std::string&, const std::string&) { return Leases::Standing::good; };
  leases.note({"", "password"}, "a", "p", Recommendation::allow, 1);
  leases.note({"carol", ""}, "a", "p", Recommendation::allow, 1);
  leases.note({"carol", "password"}, "", "p", Recommendation::allow, 1);
  EXPECT_EQ(leases.size(), 0U);
  for (const char* const name : {"one", "two", "one", "three"}) leases.note({name, "password"}, "a", "p", Recommendation::allow, 1);
  EXPECT_EQ(leases.size(), 2U);
  EXPECT_TRUE(leases.find({"one", "password"}, 10s, 1, judge));
  EXPECT_FALSE(leases.find({"two", "password"}, 10s, 1, judge));
  for (int n = 0; n < 20; ++n) leases.note({"one", "password"}, std::to_string(n), "p", Recommendation::allow, 1);
  EXPECT_FALSE(leases.find({"one", "password"}, 10s, 1, judge));
}

TEST(RadiusReply, AreForTheirProfile) {
  RadiusConfig config;
  config.isolate.vlan = 66;
  EXPECT_TRUE(admits(config, pipeline::Recommendation::allow));
  EXPECT_TRUE(admits(config, pipeline::Recommendation::isolate));
  for (const auto no : {std::optional(pipeline::Recommendation::block), std::optional(pipeline::Recommendation::none), std::optional<pipeline::Recommendation>()})
    EXPECT_FALSE(admits(config, no));
  config.isolate_is_reject = true;
  EXPECT_FALSE(admits(config, pipeline::Recommendation::isolate));

  const ByteVector msk = random_bytes(64);
  const Bytes secret = as_bytes("a secret");
  const auto made = [&](RadiusProfile profile) {
    radius::Builder b(radius::Code::access_accept, 1);
    append_accept(b, config.isolate, profile, msk, 0x1234, "carol", {}, secret);
    return *std::move(b).finish_answer({}, secret);
  };
  const ByteVector ipsec = made(RadiusProfile::ipsec), dot1x = made(RadiusProfile::dot1x);
  const auto esp = radius::parse_packet(ipsec), vlan = radius::parse_packet(dot1x);
  EXPECT_EQ(esp->number(radius::type::tunnel_type), 9U);
  EXPECT_EQ(esp->text(radius::type::filter_id), "isolate");
  EXPECT_FALSE(esp->find(radius::type::tunnel_private_group_id));
  EXPECT_EQ(vlan->number(radius::type::tunnel_type), 13U);
  EXPECT_EQ(vlan->number(radius::type::tunnel_medium_type), 6U);
  EXPECT_EQ(vlan->text(radius::type::tunnel_private_group_id), "66");
  for (const auto* packet : {&*esp, &*vlan}) {
    const auto receive = radius::find_vendor(*packet, 311, radius::ms_mppe_recv_key), send = radius::find_vendor(*packet, 311, radius::ms_mppe_send_key);
    EXPECT_TRUE(radius::reveal_key(*receive, {}, secret)->equals(Bytes(msk).first(32)));
    EXPECT_TRUE(radius::reveal_key(*send, {}, secret)->equals(Bytes(msk).subspan(32)));
    EXPECT_FALSE(equal(receive->first(2), send->first(2)));  // another salt
  }
}

}  // namespace
}  // namespace gatehouse::server
