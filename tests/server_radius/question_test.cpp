// What another RADIUS server is asked of a password or of an answer to a challenge, and what of its answer counts. The numbers are
// those of RFC 2759 section 9.2.
#include "server/radius/question.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "base/hex.h"
#include "wire/radius/radius.h"

namespace gatehouse::server {
namespace {

const Bytes secret = as_bytes("the secret of the other server");

ByteVector hex(std::string_view text) { return *from_hex(text); }

MsChap2Answer ms_chap() {
  MsChap2Answer out;
  out.identifier = 7;
  out.challenge = hex("5B5D7C7D7B3F2F3E3C2C602132262628");
  out.peer_challenge = hex("21402324255E262A28295F2B3A337C7E");
  const ByteVector response = hex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF");
  std::copy(response.begin(), response.end(), out.response.begin());
  return out;
}

constexpr std::string_view proof = "S=407A5589115FD0D6209F510FE9C04566932CDA56";

TEST(UpstreamQuestion, AnAnswerToAChallengeGoesAlongAsItIs) {
  const ByteVector bytes = *make_question({"User", ms_chap(), "192.0.2.7"}, 9, secret);
  const auto packet = radius::parse_packet(bytes);
  ASSERT_TRUE(packet && radius::authentic_request(*packet, secret));
  EXPECT_EQ(packet->identifier, 9);
  EXPECT_EQ(packet->text(radius::type::user_name), "User");
  EXPECT_EQ(packet->text(radius::type::calling_station_id), "192.0.2.7");
  EXPECT_FALSE(packet->find(radius::type::user_password));
  EXPECT_EQ(to_vector(*radius::find_vendor(*packet, 311, 11)), ms_chap().challenge);
  EXPECT_EQ(to_vector(*radius::find_vendor(*packet, 311, 25)), hex("0700"
                                                                   "21402324255E262A28295F2B3A337C7E"
                                                                   "0000000000000000"
                                                                   "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"));

  ChapAnswer chap{5, ByteVector(16, std::byte{0x2A}), {}};
  const std::byte id{5};
  chap.response = md5({Bytes(&id, 1), as_bytes("clientPass"), chap.challenge});
  const ByteVector asked = *make_question({"User", chap, {}}, 1, secret);
  const auto of_chap = radius::parse_packet(asked);
  ASSERT_TRUE(of_chap);
  const Bytes password = *of_chap->find(radius::type::chap_password);
  ASSERT_EQ(password.size(), 17U);
  EXPECT_EQ(password[0], std::byte{5});
  EXPECT_TRUE(equal_constant_time(password.subspan(1), chap.response));
  EXPECT_EQ(to_vector(*of_chap->find(radius::type::chap_challenge)), chap.challenge);
  EXPECT_FALSE(of_chap->find(radius::type::calling_station_id));
}

TEST(UpstreamQuestion, APasswordThatRadiusCantSayIsNoQuestion) {
  EXPECT_TRUE(make_question({"u", Secret(ByteVector(128, std::byte{'p'})), {}}, 1, secret));
  EXPECT_FALSE(make_question({"u", Secret(ByteVector(129, std::byte{'p'})), {}}, 1, secret));
  EXPECT_FALSE(make_question({"u", Secret(), {}}, 1, secret));
}

UpstreamSays answer(radius::Code code, const std::vector<std::pair<std::uint8_t, ByteVector>>& microsoft, const UpstreamQuestion& question) {
  radius::Builder b(code, 9);
  for (const auto& [type, value] : microsoft) b.add_vendor(radius::vendor_microsoft, type, value);
  return read_answer(question, *std::move(b).finish_answer(radius::Authenticator{}, secret));
}

ByteVector success(std::uint8_t identifier, std::string_view text) {
  ByteVector out{std::byte{identifier}};
  const Bytes bytes = as_bytes(text);
  out.insert(out.end(), bytes.begin(), bytes.end());
  return out;
}

TEST(UpstreamQuestion, OnlyAProofOfThisConversationCounts) {
  const UpstreamQuestion question{"User", ms_chap(), {}};
  const auto proof_of = [&](const ByteVector& value) { return answer(radius::Code::access_accept, {{26, value}}, question).proof; };
  EXPECT_EQ(proof_of(success(7, proof)), proof);
  EXPECT_EQ(proof_of(success(7, std::string(proof) + " M=hello\nthere")), proof);  // what it adds isn't passed on
  EXPECT_EQ(proof_of(success(8, proof)), "");
  EXPECT_EQ(proof_of(success(7, proof.substr(0, 41))), "");
  EXPECT_EQ(proof_of(success(7, "S=407A5589115FD0D6209F510FE9C04566932CDA5\n")), "");
  EXPECT_EQ(proof_of(success(7, "E=691 R=0 V=3 M=no and then some more characters")), "");
  EXPECT_EQ(proof_of(ByteVector{std::byte{7}}), "");
  const auto without = answer(radius::Code::access_accept, {}, question);
  EXPECT_TRUE(without.heard && without.good);
  EXPECT_EQ(without.proof, "");
  const auto refused = answer(radius::Code::access_reject, {{26, success(7, proof)}}, question);
  EXPECT_TRUE(refused.heard);
  EXPECT_FALSE(refused.good);
  EXPECT_EQ(refused.proof, "");
  EXPECT_FALSE(answer(radius::Code::access_challenge, {}, question).good);
  EXPECT_FALSE(read_answer(question, {}).heard);
}

// --- the methods' part

ByteVector ms_chap_response_data(const MsChap2Answer& a, std::string_view name) {
  Writer w;
  w.put(std::uint8_t{2});
  w.put(a.identifier);
  w.put(std::uint16_t(54 + name.size()));
  w.put(std::uint8_t{49});
  w.put_bytes(a.peer_challenge);
  w.put_zeros(8);
  w.put_bytes(a.response);
  w.put(std::uint8_t{0});
  w.put_text(name);
  return std::move(w).take();
}

TEST(MethodsElsewhere, MsChapV2PassesTheOthersProofToTheClient) {
  const auto made = [] { return make_eap_method(26, "User", nullptr, ms_chap().challenge, true); };
  auto method = made();
  method->begin(7);
  const auto step = method->respond(ms_chap_response_data(ms_chap(), "DOMAIN\\User"), 7, 8);
  const auto* const ask = std::get_if<EapMethod::Ask>(&step);
  ASSERT_NE(ask, nullptr);
  const auto* const about = std::get_if<MsChap2Answer>(&ask->answer);
  ASSERT_NE(about, nullptr);
  EXPECT_EQ(about->peer_challenge, ms_chap().peer_challenge);
  EXPECT_EQ(about->response, ms_chap().response);
  const auto told = method->judged(true, proof, 8);
  const auto* const next = std::get_if<EapMethod::Continue>(&told);
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(as_text(Bytes(next->data).subspan(4)), std::string(proof) + " M=OK");
  const std::byte seen{3};
  EXPECT_TRUE(std::holds_alternative<EapMethod::Accepted>(method->respond(Bytes(&seen, 1), 8, 9)));
  // Another's name, no proof, or a refusal.
  EXPECT_TRUE(std::holds_alternative<EapMethod::Rejected>(made()->respond(ms_chap_response_data(ms_chap(), "Admin"), 7, 8)));
  for (const bool good : {true, false}) {
    auto other = made();
    (void)other->respond(ms_chap_response_data(ms_chap(), "User"), 7, 8);
    EXPECT_TRUE(std::holds_alternative<EapMethod::Rejected>(other->judged(good, good ? "" : proof, 8)));
  }
  // Before anything is judged the client can't say that it has seen a proof.
  EXPECT_TRUE(std::holds_alternative<EapMethod::Rejected>(made()->respond(Bytes(&seen, 1), 7, 8)));
}

TEST(MethodsElsewhere, WhoIsStoredHereIsntAskedAboutElsewhere) {
  const StoredPassword stored{Secret(as_bytes("clientPass")), *nt_hash("clientPass")};
  const auto method = make_eap_method(26, "User", &stored, ms_chap().challenge, true);
  EXPECT_TRUE(std::holds_alternative<EapMethod::Continue>(method->respond(ms_chap_response_data(ms_chap(), "User"), 7, 8)));
  const auto nobody = make_eap_method(26, "User", nullptr, ms_chap().challenge, false);
  EXPECT_TRUE(std::holds_alternative<EapMethod::Rejected>(nobody->respond(ms_chap_response_data(ms_chap(), "User"), 7, 8)));
}

TEST(MethodsElsewhere, Md5IsAskedAboutAsChap) {
  const ByteVector challenge(16, std::byte{0x2A});
  const std::byte id{9};
  const Md5 value = md5({Bytes(&id, 1), as_bytes("clientPass"), challenge});
  ByteVector data{std::byte{16}};
  data.insert(data.end(), value.begin(), value.end());
  const auto method = make_eap_method(4, "User", nullptr, challenge, true);
  const auto step = method->respond(data, 9, 10);
  const auto* const ask = std::get_if<EapMethod::Ask>(&step);
  ASSERT_NE(ask, nullptr);
  const auto& chap = std::get<ChapAnswer>(ask->answer);
  EXPECT_EQ(chap.identifier, 9);
  EXPECT_EQ(chap.challenge, challenge);
  EXPECT_EQ(chap.response, value);
  EXPECT_TRUE(std::holds_alternative<EapMethod::Accepted>(method->judged(true, {}, 10)));
  EXPECT_TRUE(std::holds_alternative<EapMethod::Rejected>(method->judged(false, {}, 10)));
  data.pop_back();
  EXPECT_TRUE(std::holds_alternative<EapMethod::Rejected>(method->respond(data, 9, 10)));
}

// A right answer in each method counts; cut anywhere, with a length of another size, or with more behind it, none does.
TEST(Methods, OnlyAnAnswerOfTheRightShapeCounts) {
  const StoredPassword stored{Secret(as_bytes("clientPass")), *nt_hash("clientPass")};
  const auto counts = [&](std::uint8_t type, const ByteVector& challenge, Bytes data) {
    const auto method = make_eap_method(type, "User", &stored, challenge, false);
    method->begin(7);
    return !std::holds_alternative<EapMethod::Rejected>(method->respond(data, 7, 8));
  };
  constexpr std::uint8_t md5_challenge = 4, gtc = 6, mschap_v2 = 26;
  const ByteVector challenge(16, std::byte{0x2A});
  const std::byte id{7};
  const Md5 value = md5({Bytes(&id, 1), as_bytes("clientPass"), challenge});
  ByteVector md5_data{std::byte{16}};
  md5_data.insert(md5_data.end(), value.begin(), value.end());
  EXPECT_TRUE(counts(md5_challenge, challenge, md5_data));
  const ByteVector chap2 = ms_chap_response_data(ms_chap(), "User");
  EXPECT_TRUE(counts(mschap_v2, ms_chap().challenge, chap2));
  // The whole shape of the first; of the other everything but the name, which its length takes in.
  for (std::size_t n = 0; n < md5_data.size(); ++n) EXPECT_FALSE(counts(md5_challenge, challenge, Bytes(md5_data).first(n))) << n;
  for (std::size_t n = 0; n < chap2.size(); ++n) EXPECT_FALSE(counts(mschap_v2, ms_chap().challenge, Bytes(chap2).first(n))) << n;
  for (int size = 0; size < 256; ++size) {
    if (size == 16) continue;
    md5_data[0] = std::byte(size);
    EXPECT_FALSE(counts(md5_challenge, challenge, md5_data)) << size;
  }
  for (const std::size_t at : {std::size_t(2), std::size_t(3), std::size_t(4)})  // MS-Length, value size
    for (const int other : {0, 1, 255}) {
      ByteVector wrong = chap2;
      if (wrong[at] == std::byte(other)) continue;
      wrong[at] = std::byte(other);
      EXPECT_FALSE(counts(mschap_v2, ms_chap().challenge, wrong)) << at << ": " << other;
    }
  ByteVector longer = chap2;
  longer.push_back(std::byte{'x'});
  EXPECT_FALSE(counts(mschap_v2, ms_chap().challenge, longer));
  EXPECT_FALSE(counts(gtc, challenge, {}));
  EXPECT_TRUE(counts(gtc, challenge, ByteVector(1'024, std::byte{'p'})));
  EXPECT_FALSE(counts(gtc, challenge, ByteVector(1'025, std::byte{'p'})));
}

}  // namespace
}  // namespace gatehouse::server
