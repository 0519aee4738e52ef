// RADIUS packets against the worked examples (spec part 1a §6.4), and what malformed ones get.
#include <gtest/gtest.h>

#include <memory>
#include <tuple>
#include <vector>

#include "base/hash.h"
#include "base/hex.h"
#include "wire/radius/radius.h"

namespace gatehouse::radius {
namespace {

const Bytes secret = as_bytes("gv6URkSs");

ByteVector hex(std::string_view text) {
  std::string bare;
  for (const char c : text)
    if (c != ' ' && c != '\n') bare += c;
  auto out = from_hex(bare);
  EXPECT_TRUE(out);
  return *out;
}

Authenticator authenticator(std::string_view text) {
  Authenticator out{};
  const ByteVector bytes = hex(text);
  EXPECT_EQ(bytes.size(), out.size());
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

const ByteVector request_bytes = hex(
    "01 07 00 60 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 01 07 63 61 72 6f 6c 04 06 c0 a8 00 01 1f 15 31 39 32 2e 31"
    "36 38 2e 30 2e 31 30 30 5b 34 35 30 30 5d 20 0c 73 74 72 6f 6e 67 53 77 61 6e 4f 0c 02 00 00 0a 01 63 61 72 6f 6c 50 12"
    "95 b0 0b c2 42 23 d7 97 d8 b1 0c 39 cc 6e 5f b0");
const ByteVector challenge_bytes = hex(
    "0b 07 00 38 c7 21 17 97 de 8a a6 b9 dd 30 f3 cf 9e 69 af 1f 50 12 b0 5d 9e e4 df 41 0a 5b 5f 2f 94 e2 35 dd 33 c6 4f 08"
    "01 01 00 06 15 20 18 0a a1 b2 c3 d4 e5 f6 07 18");
const ByteVector accept_bytes = hex(
    "02 0c 00 ad 61 4d 45 27 c9 94 e3 e4 5a 8f 3b d2 dc ad 69 ae 50 12 81 01 77 a0 2f 4a d6 75 78 a6 b7 ad 1d 2f df 45 4f 06"
    "03 09 00 04 40 06 00 00 00 09 0b 07 61 6c 6c 6f 77 1a 3a 00 00 01 37 11 34 80 01 77 93 0b 35 d5 10 f7 f9 14 7c c3 4e 02"
    "02 fa 42 c2 c7 de 8e c2 42 92 47 c4 a3 fb c2 14 be 6a e9 d8 91 61 b0 e6 3e 09 02 4c 68 d3 23 37 d1 bf eb 1a 3a 00 00 01"
    "37 10 34 80 02 c0 02 d0 69 bf 11 53 90 a0 3d dc 8b b8 7a 11 81 e5 94 90 25 a7 9a a0 5e 2c 5b 12 1e 65 94 25 68 1a 56 55"
    "93 f6 53 4a cf 65 6c 33 2b 9e 86 90 b6");
const ByteVector reject_bytes = hex(
    "03 0c 00 2c 07 d8 7b c6 01 ba ba b2 43 32 b3 3e 20 5f 3e 8d 50 12 e8 3e b1 bc 4c 03 81 94 89 7f eb c2 5f ae 99 6c 4f 06"
    "04 09 00 04");
const ByteVector disconnect_bytes = hex(
    "28 03 00 2d 8f 3c b2 1e 47 0f b0 30 a4 05 7b c3 3c 9e 0d b2 50 12 7c d7 6e 4d 41 69 62 77 17 a3 c6 6d 7f a6 13 53 01 07"
    "63 61 72 6f 6c");

ByteVector msk() {
  ByteVector out;
  for (unsigned i = 0x40; i < 0x80; ++i) out.push_back(std::byte(i));
  return out;
}

TEST(Radius, ReadsTheWorkedRequest) {
  const auto packet = parse_packet(request_bytes);
  ASSERT_TRUE(packet) << packet.error().text();
  EXPECT_EQ(packet->code, Code::access_request);
  EXPECT_EQ(packet->identifier, 7);
  EXPECT_EQ(packet->text(type::user_name), "carol");
  EXPECT_EQ(packet->text(type::calling_station_id), "192.168.0.100[4500]");
  EXPECT_EQ(packet->number(type::nas_ip_address), 0xC0A80001U);
  EXPECT_FALSE(packet->find(type::state));
  EXPECT_TRUE(authentic_request(*packet, secret));
  EXPECT_FALSE(authentic_request(*packet, as_bytes("gv6URkSt")));
  const auto eap = eap_message(*packet);
  ASSERT_TRUE(eap && *eap);
  EXPECT_EQ(to_hex(**eap), "0200000a016361726f6c");
}

TEST(Radius, WritesTheWorkedAnswers) {
  const auto of = authenticator("000102030405060708090a0b0c0d0e0f");
  Builder challenge(Code::access_challenge, 7);
  challenge.add_eap(hex("01 01 00 06 15 20"));
  challenge.add(type::state, hex("a1 b2 c3 d4 e5 f6 07 18"));
  EXPECT_EQ(*std::move(challenge).finish_answer(of, secret), challenge_bytes);

  const auto second = authenticator("101112131415161718191a1b1c1d1e1f");
  Builder accept(Code::access_accept, 12);
  accept.add_eap(hex("03 09 00 04"));
  accept.add_number(type::tunnel_type, 9);
  accept.add_text(type::filter_id, "allow");
  accept.add_vendor(vendor_microsoft, ms_mppe_recv_key, hide_key(Bytes(msk()).first(32), 0x8001, second, secret));
  accept.add_vendor(vendor_microsoft, ms_mppe_send_key, hide_key(Bytes(msk()).subspan(32), 0x8002, second, secret));
  EXPECT_EQ(*std::move(accept).finish_answer(second, secret), accept_bytes);

  Builder reject(Code::access_reject, 12);
  reject.add_eap(hex("04 09 00 04"));
  EXPECT_EQ(*std::move(reject).finish_answer(second, secret), reject_bytes);

  Builder disconnect(Code::disconnect_request, 3);
  disconnect.add_text(type::user_name, "carol");
  const auto made = std::move(disconnect).finish_signed_request(secret);
  ASSERT_TRUE(made);
  EXPECT_EQ(parse_packet(*made)->attributes.size(), 2U);
}

TEST(Radius, BelievesTheWorkedAnswersWithTheirSecretAlone) {
  const auto of = authenticator("101112131415161718191a1b1c1d1e1f");
  for (const ByteVector& bytes : {accept_bytes, reject_bytes}) {
    const auto packet = parse_packet(bytes);
    ASSERT_TRUE(packet);
    EXPECT_TRUE(authentic_answer(*packet, of, secret, true));
    EXPECT_FALSE(authentic_answer(*packet, of, as_bytes("another secret"), true));
    auto other = of;
    other[3] ^= std::byte{1};
    EXPECT_FALSE(authentic_answer(*packet, other, secret, true));
    // Each bit counts.
    for (std::size_t i = 0; i < bytes.size() * 8; ++i) {
      ByteVector changed = bytes;
      changed[i / 8] ^= std::byte(1U << (i % 8));
      const auto read = parse_packet(changed);
      EXPECT_FALSE(read && authentic_answer(*read, of, secret, true)) << i;
    }
  }
}

TEST(Radius, KeysComeOutAsTheyWentIn) {
  const auto of = authenticator("101112131415161718191a1b1c1d1e1f");
  const auto packet = parse_packet(accept_bytes);
  const auto receive = find_vendor(*packet, vendor_microsoft, ms_mppe_recv_key);
  const auto send = find_vendor(*packet, vendor_microsoft, ms_mppe_send_key);
  ASSERT_TRUE(receive && send);
  EXPECT_TRUE(reveal_key(*receive, of, secret)->equals(Bytes(msk()).first(32)));
  EXPECT_TRUE(reveal_key(*send, of, secret)->equals(Bytes(msk()).subspan(32)));
  EXPECT_FALSE(find_vendor(*packet, 9, ms_mppe_recv_key));
  for (std::size_t size = 0; size <= 64; ++size) {
    const ByteVector key = random_bytes(size);
    const auto back = reveal_key(hide_key(key, std::uint16_t(size), of, secret), of, secret);
    ASSERT_TRUE(back) << size;
    EXPECT_TRUE(back->equals(key)) << size;
  }
  for (const std::size_t size : {0, 1, 2, 3, 17, 19, 33}) EXPECT_FALSE(reveal_key(ByteVector(size), of, secret)) << size;
}

// RFC 2865 section 7.1: user nemo, password arctangent.
TEST(Radius, UserPasswordAsInTheRfc) {
  const auto of = authenticator("0f403f9473978057bd83d5cb98f4227a");
  const Bytes shared = as_bytes("xyzzy5461");
  const ByteVector hidden = hex("0d be 70 8d 93 d4 13 ce 31 96 e4 3f 78 2a 0a ee");
  EXPECT_EQ(hide_password(as_bytes("arctangent"), of, shared), hidden);
  EXPECT_TRUE(reveal_password(hidden, of, shared)->equals(as_bytes("arctangent")));
  for (const std::size_t size : {0, 15, 17, 144}) EXPECT_FALSE(reveal_password(ByteVector(size), of, shared)) << size;
  const ByteVector longest(128, std::byte{'x'});
  EXPECT_TRUE(reveal_password(hide_password(longest, of, shared), of, shared)->equals(longest));
}

TEST(Radius, EachTruncationIsRefused) {
  for (const ByteVector& whole : {request_bytes, challenge_bytes, accept_bytes, reject_bytes, disconnect_bytes})
    for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(parse_packet(Bytes(whole).first(n))) << n;
}

// Each by itself, whatever is beside it.
TEST(Radius, RequestsThatCameTogetherAreToldApart) {
  const HmacMd5 right(secret), wrong(as_bytes("gv6URkSt"));
  ByteVector changed = request_bytes;
  changed.back() ^= std::byte{1};
  ByteVector bare(request_bytes.begin(), request_bytes.begin() + header_size);
  bare[2] = {};
  bare[3] = std::byte{header_size};
  const auto good = parse_packet(request_bytes), bad = parse_packet(changed), none = parse_packet(bare);
  ASSERT_TRUE(good && bad && none);
  std::vector<CheckedRequest> requests;
  std::vector<bool> expected;
  for (int n = 0; n < 7; ++n)
    for (const auto& [packet, key, authentic] :
         {std::tuple(&*good, &right, true), std::tuple(&*bad, &right, false), std::tuple(&*none, &right, false), std::tuple(&*good, &wrong, false)}) {
      requests.push_back({packet, key});
      expected.push_back(authentic);
    }
  check_requests(requests);
  for (std::size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(requests[i].authentic, expected[i]) << i;
  check_requests({});
}

// As each by itself, for clients with different secrets.
TEST(Radius, AnswersAreSealedSideBySide) {
  const ByteVector secrets[] = {to_vector(secret), ByteVector(100, std::byte{3}), ByteVector{}};
  std::vector<std::unique_ptr<HmacMd5>> keys;
  for (const ByteVector& one : secrets) keys.push_back(std::make_unique<HmacMd5>(one));
  std::vector<UnsealedAnswer> answers;
  std::vector<ByteVector> expected;
  for (std::size_t i = 0; i < 150; ++i) {
    const auto made = [i] {
      Builder b(Code::access_challenge, std::uint8_t(i));
      b.add_eap(ByteVector(i * 7, std::byte(i)));
      return b;
    };
    const Authenticator of{std::byte(i), std::byte{1}};
    const std::size_t whose = i % std::size(secrets);
    expected.push_back(*made().finish_answer(of, secrets[whose]));
    answers.push_back({*made().finish_unsealed(of), secrets[whose], keys[whose].get()});
    EXPECT_TRUE(authentic_answer(*parse_packet(expected.back()), of, secrets[whose], true));
  }
  seal_answers(answers);
  for (std::size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i].packet, expected[i]) << i;
  seal_answers({});
}

TEST(Radius, PaddingBehindThePacketIsIgnored) {
  ByteVector padded = request_bytes;
  padded.resize(padded.size() + 77, std::byte{0xEE});
  const auto packet = parse_packet(padded);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->whole.size(), request_bytes.size());
  EXPECT_TRUE(authentic_request(*packet, secret));
}

ByteVector with(Bytes attributes, std::size_t length = 0) {
  Writer w;
  w.put(std::uint8_t{1});
  w.put(std::uint8_t{1});
  w.put(std::uint16_t(length != 0 ? length : header_size + attributes.size()));
  w.put_zeros(16);
  w.put_bytes(attributes);
  return std::move(w).take();
}

TEST(Radius, MalformedPacketsAreRefusedWithTheirReason) {
  const auto reason = [](Bytes bytes) { return parse_packet(bytes).error().reason; };
  EXPECT_EQ(reason(with({}, 19)), "length isn't 20 to 4,096");
  EXPECT_EQ(reason(with({}, 4'097)), "length isn't 20 to 4,096");
  EXPECT_EQ(reason(with({}, 21)), "truncated");
  EXPECT_EQ(reason(with(hex("01 00"))), "attribute shorter than its header");
  EXPECT_EQ(reason(with(hex("01 01"))), "attribute shorter than its header");
  EXPECT_EQ(reason(with(hex("01 05 61"))), "truncated");
  EXPECT_EQ(reason(with(hex("01"))), "truncated");
  EXPECT_EQ(reason(with(hex("18 02"))), "empty State");
  EXPECT_EQ(reason(with(hex("50 04 00 00"))), "Message-Authenticator isn't 18 bytes");
  ByteVector twice = hex("50 12 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
  const ByteVector once = twice;
  twice.insert(twice.end(), once.begin(), once.end());
  EXPECT_EQ(reason(with(twice)), "more than one Message-Authenticator");
  EXPECT_TRUE(parse_packet(with(hex("01 02"))));  // empty values are the attribute's business
  EXPECT_TRUE(parse_packet(with(ByteVector(0))));
}

TEST(Radius, EapMessagesHaveToBeOnePacket) {
  const auto eap = [](Bytes attributes) { return eap_message(*parse_packet(with(attributes))); };
  EXPECT_FALSE(*eap({}));
  EXPECT_EQ(eap(hex("4f 02"))->value().size(), 0U);                                          // EAP-Start
  EXPECT_EQ(to_hex(eap(hex("4f 05 02 01 00 4f 04 05 01"))->value()), "0201000501");            // cut anywhere
  EXPECT_EQ(eap(hex("4f 05 02 01 00 01 03 61 4f 04 05 01")).error().reason, "EAP-Message attributes aren't consecutive");
  EXPECT_EQ(eap(hex("4f 07 02 01 00 06 01")).error().reason, "EAP-Message attributes aren't as long as the EAP packet");
  EXPECT_EQ(eap(hex("4f 08 02 01 00 05 01 00")).error().reason, "EAP-Message attributes aren't as long as the EAP packet");
  EXPECT_EQ(eap(hex("4f 05 02 01 00")).error().reason, "EAP packet shorter than its header");
}

TEST(Radius, LongEapPacketsAreCutInto253) {
  for (const std::size_t size : {253, 254, 506, 1'024, 3'000}) {
    ByteVector packet(size, std::byte{7});
    packet[2] = std::byte(size >> 8);
    packet[3] = std::byte(size);
    Builder b(Code::access_challenge, 1);
    b.add_eap(packet);
    const auto made = std::move(b).finish_answer({}, secret);
    ASSERT_TRUE(made);
    const auto read = parse_packet(*made);
    EXPECT_EQ(read->attributes.size(), 1 + (size + 252) / 253);
    EXPECT_EQ(eap_message(*read)->value(), packet);
    EXPECT_EQ(read->attributes.front().type, type::message_authenticator);
  }
}

TEST(Radius, APacketIsNeverLongerThanItMayBe) {
  Builder b(Code::access_accept, 1);
  for (int i = 0; i < 16; ++i) b.add(type::class_, ByteVector(253));
  EXPECT_EQ(b.size(), header_size + 18 + 16 * 255);
  EXPECT_EQ(std::move(b).finish_answer({}, secret).error().fault, Fault::limit);
  Builder exact(Code::access_accept, 1);
  for (int i = 0; i < 15; ++i) exact.add(type::class_, ByteVector(253));
  exact.add(type::class_, ByteVector(max_packet - exact.size() - 2));
  const auto made = std::move(exact).finish_answer({}, secret);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->size(), max_packet);
  EXPECT_TRUE(parse_packet(*made));
  Builder too_long(Code::access_accept, 1);
  too_long.add(type::class_, ByteVector(254));
  EXPECT_FALSE(std::move(too_long).finish_answer({}, secret));
}

TEST(Radius, WithoutMessageAuthenticatorNothingIsAuthentic) {
  EXPECT_FALSE(authentic_request(*parse_packet(with(hex("01 07 63 61 72 6f 6c"))), secret));
  ByteVector bytes = reject_bytes;
  bytes[20] = std::byte{81};  // another attribute in its place
  EXPECT_FALSE(authentic_answer(*parse_packet(bytes), authenticator("101112131415161718191a1b1c1d1e1f"), secret, true));
}

TEST(Radius, AccountingIsAuthenticByItsAuthenticator) {
  // RFC 2866: the authenticator is made with the secret. Our builder adds Message-Authenticator, too.
  Builder b(Code::accounting_request, 9);
  b.add_number(type::acct_status_type, 1);
  b.add_text(type::acct_session_id, "00000001");
  auto made = std::move(b).finish_signed_request(secret);
  ASSERT_TRUE(made);
  EXPECT_TRUE(authentic_accounting(*parse_packet(*made), secret));
  EXPECT_FALSE(authentic_accounting(*parse_packet(*made), as_bytes("another secret")));
  (*made)[30] ^= std::byte{1};
  EXPECT_FALSE(authentic_accounting(*parse_packet(*made), secret));
}

TEST(Radius, AStreamIsCutAnywhere) {
  ByteVector stream;
  for (const ByteVector& one : {request_bytes, accept_bytes, reject_bytes}) stream.insert(stream.end(), one.begin(), one.end());
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    Framer framer;
    std::vector<ByteVector> out;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      framer.feed(Bytes(stream).subspan(at, std::min(piece, stream.size() - at)));
      for (;;) {
        const auto next = framer.next();
        ASSERT_TRUE(next);
        if (next->empty()) break;
        out.push_back(to_vector(*next));
      }
    }
    ASSERT_EQ(out, (std::vector{request_bytes, accept_bytes, reject_bytes})) << piece;
  }
  Framer framer;
  framer.feed(hex("01 01 00 13"));
  EXPECT_FALSE(framer.next());
  Framer giant;
  giant.feed(hex("01 01 10 01"));
  EXPECT_FALSE(giant.next());
}

}  // namespace
}  // namespace gatehouse::radius
