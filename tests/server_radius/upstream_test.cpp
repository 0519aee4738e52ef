// Passwords and answers to challenges that another RADIUS server knows, and guesses at them.
#include <atomic>
#include <future>

#include "base/md5.h"
#include "base/ms_chap.h"
#include "tests/server_radius/taken_back.h"

namespace gatehouse::test {
namespace {

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

}  // namespace
}  // namespace gatehouse::test
