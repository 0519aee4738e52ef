// EAP, EAP-TTLS and PT-EAP packets against the worked examples (spec part 1a §6.3), their limits, and what malformed ones get.
#include <gtest/gtest.h>

#include "base/hash.h"
#include "base/hex.h"
#include "wire/eap/eap.h"
#include "wire/pteap/pteap.h"
#include "wire/ttls/ttls.h"

namespace gatehouse {
namespace {

ByteVector hex(std::string_view text) {
  std::string bare;
  for (const char c : text)
    if (c != ' ') bare += c;
  return *from_hex(bare);
}

TEST(Eap, TheWorkedPacketsAreWhatWeWriteAndRead) {
  EXPECT_EQ(eap::packet(eap::Code::request, 1, eap::type::ttls, ttls::start), hex("01 01 00 06 15 20"));
  EXPECT_EQ(eap::packet(eap::Code::response, 0x5c, eap::type::ttls, ttls::acknowledgement), hex("02 5c 00 06 15 00"));
  EXPECT_EQ(eap::packet(eap::Code::request, 0x5c, eap::type::pt_eap, pteap::start()), hex("01 5c 00 06 36 81"));
  EXPECT_EQ(ttls::eap_avp(hex("01 5c 00 06 36 81")), hex("00 00 00 4f 40 00 00 0e 01 5c 00 06 36 81 00 00"));
  EXPECT_EQ(eap::packet(eap::Code::response, 0x5c, eap::type::pt_eap, pteap::message(hex("02 00 00 01 00 00 00 08"))),
            hex("02 5c 00 0e 36 01 02 00 00 01 00 00 00 08"));
  EXPECT_EQ(eap::success(9), hex("03 09 00 04"));
  EXPECT_EQ(eap::failure(9), hex("04 09 00 04"));
  const ByteVector start = hex("01 01 00 06 15 20");
  const auto p = eap::parse_packet(start);
  ASSERT_TRUE(p);
  EXPECT_EQ(p->code, eap::Code::request);
  EXPECT_EQ(p->type, eap::type::ttls);
  EXPECT_TRUE(ttls::parse_packet(p->data)->start);
}

TEST(Eap, LengthsThatCantBeAreRefused) {
  EXPECT_FALSE(eap::parse_packet({}));
  EXPECT_FALSE(eap::parse_packet(hex("02 01 00")));
  EXPECT_EQ(eap::parse_packet(hex("02 01 00 04")).error().reason, "EAP packet shorter than its header");
  EXPECT_EQ(eap::parse_packet(hex("02 01 00 00 01")).error().reason, "EAP packet shorter than its header");
  EXPECT_EQ(eap::parse_packet(hex("02 01 00 06 01")).error().reason, "truncated");
  EXPECT_EQ(eap::parse_packet(hex("02 01 ff ff 01")).error().reason, "truncated");
  EXPECT_EQ(eap::parse_packet(hex("00 01 00 05 01")).error().reason, "unknown EAP code");
  EXPECT_EQ(eap::parse_packet(hex("05 01 00 05 01")).error().reason, "unknown EAP code");
  EXPECT_EQ(eap::parse_packet(hex("03 01 00 05 01")).error().reason, "trailing bytes");
  const auto padded = eap::parse_packet(hex("02 01 00 05 01 00 00"));
  ASSERT_TRUE(padded);
  EXPECT_TRUE(padded->data.empty());
}

TEST(Ttls, FragmentsCarryTheLengthOnceAndFitTheirSize) {
  const ByteVector message = random_bytes(3'210);
  ttls::Fragmenter out(1'024);
  ttls::Reassembler in;
  out.begin(message);
  std::size_t packets = 0;
  while (out.pending()) {
    const ByteVector packet = eap::packet(eap::Code::request, 0x10, eap::type::ttls, out.next());
    EXPECT_LE(packet.size(), 1'024U);
    if (packets++ == 0) {
      EXPECT_EQ(to_vector(Bytes(packet).first(10)), hex("01 10 04 00 15 c0 00 00 0c 8a"));
    }
    const auto parsed = eap::parse_packet(packet);
    const auto p = ttls::parse_packet(parsed->data);
    ASSERT_TRUE(p);
    EXPECT_EQ(p->length.has_value(), packets == 1);
    EXPECT_EQ(p->more, out.pending());
    const auto whole = in.add(*p);
    ASSERT_TRUE(whole);
    if (out.pending()) {
      EXPECT_FALSE(*whole);
    } else {
      EXPECT_EQ((*whole)->joined(), message);
    }
  }
  EXPECT_EQ(packets, 4U);
}

TEST(Ttls, EverySizeGoesThrough) {
  for (std::size_t largest : {12U, 100U, 1'024U})
    for (std::size_t size : {1U, 2U, 89U, 90U, 91U, 1'014U, 1'015U, 2'032U}) {
      const ByteVector message = random_bytes(size);
      ttls::Fragmenter out(largest);
      ttls::Reassembler in;
      out.begin(message);
      std::optional<ByteVector> whole;
      while (out.pending()) {
        const ByteVector data = out.next();
        EXPECT_LE(data.size() + eap::typed_header_size, largest);
        const auto got = in.add(*ttls::parse_packet(data));
        ASSERT_TRUE(got) << got.error().text();
        if (*got) whole = (*got)->joined();
      }
      ASSERT_TRUE(whole);
      EXPECT_EQ(*whole, message);
    }
}

// A row a way to send fragments wrongly: those in order, and what is said to the last.
TEST(Ttls, FragmentsThatDontMakeAMessageAreRefused) {
  struct Row {
    std::vector<std::string_view> fragments;
    std::string_view reason;
  };
  const Row rows[] = {
      {{"40 aa"}, "first fragment without the message's length"},
      {{"c0 00 00 00 04 aa", "40"}, "empty fragment"},
      {{"c0 00 00 00 02 aa", "40 bb", "00 cc"}, "fragments exceed the message's length"},
      {{"c0 00 00 00 02 aa", "00 bb cc"}, "fragments exceed the message's length"},
      {{"c0 00 00 00 04 aa", "00 bb"}, "fragments fall short of the message's length"},
      {{"80 00 00 00 04 aa"}, "fragments fall short of the message's length"},
      {{"80 00 00 00 01 aa bb"}, "message length out of its range"},
      {{"c0 00 01 20 01 aa"}, "message length out of its range"},
      {{"c0 ff ff ff ff aa"}, "message length out of its range"},
      {{"c0 00 00 00 04 aa", "c0 00 00 00 05 bb"}, "fragments with different message lengths"},
      {{"20"}, "Start from the client"},
  };
  for (const Row& row : rows) {
    ttls::Reassembler in;
    for (std::size_t i = 0; i < row.fragments.size(); ++i) {
      const ByteVector bytes = hex(row.fragments[i]);
      const auto p = ttls::parse_packet(bytes);
      ASSERT_TRUE(p);
      const auto got = in.add(*p);
      ASSERT_EQ(got.has_value(), i + 1 < row.fragments.size()) << row.reason;
      EXPECT_EQ(got ? row.reason : got.error().reason, row.reason);
    }
  }
}

TEST(Ttls, TheLargestMessagePassesAndAByteMoreIsRefused) {
  for (const std::size_t more : {0, 1}) {
    ttls::Fragmenter out(60'000);
    ttls::Reassembler in;
    out.begin(ByteVector(ttls::max_message + more));
    const ByteVector first = out.next();
    const auto got = in.add(*ttls::parse_packet(first));
    EXPECT_EQ(got.has_value(), more == 0);
  }
}

TEST(Ttls, OtherVersionsAreRefused) {
  for (unsigned v = 1; v < 8; ++v) EXPECT_FALSE(ttls::parse_packet(ByteVector{std::byte(v)}));
  EXPECT_TRUE(ttls::parse_packet(ByteVector{std::byte{0x18}}));  // reserved bits are ignored
  EXPECT_FALSE(ttls::parse_packet({}));
  EXPECT_FALSE(ttls::parse_packet(hex("80 00 00 01")));
}

TEST(Avps, ArePaddedAndReadBack) {
  for (std::size_t size = 0; size < 9; ++size) {
    Writer w;
    ttls::append_avp(w, 79, ByteVector(size, std::byte{1}));
    ttls::append_avp(w, 1, as_bytes("carol"), false);
    EXPECT_EQ(w.size() % 4, 0U);
    const auto avps = ttls::parse_avps(w.view());
    ASSERT_TRUE(avps);
    ASSERT_EQ(avps->all.size(), 2U);
    EXPECT_EQ(avps->used, w.size());
    EXPECT_EQ(avps->all[0].data.size(), size);
    EXPECT_TRUE(avps->all[0].mandatory);
    EXPECT_EQ(as_text(avps->all[1].data), "carol");
    EXPECT_FALSE(avps->all[1].mandatory);
    for (std::size_t n = 0; n < w.size(); ++n) {
      const auto cut = ttls::parse_avps(w.view().first(n));
      ASSERT_TRUE(cut);
      EXPECT_LT(cut->all.size(), 2U);
    }
  }
}

TEST(Avps, LengthsThatCantBeAreRefused) {
  EXPECT_FALSE(ttls::parse_avps(hex("00 00 00 4f 40 00 00 07")));
  EXPECT_FALSE(ttls::parse_avps(hex("00 00 00 4f c0 00 00 0b 00 00 01 37")));
  EXPECT_FALSE(ttls::parse_avps(hex("00 00 00 4f 40 ff ff ff")));
  EXPECT_EQ(ttls::parse_avps(hex("00 00 00 4f c0 00 00 0c 00 00 01 37"))->all.front().vendor, 311U);
  ByteVector many;
  for (std::size_t i = 0; i <= ttls::max_avps; ++i) {
    const ByteVector one = hex("00 00 00 4f 40 00 00 08");
    many.insert(many.end(), one.begin(), one.end());
  }
  EXPECT_FALSE(ttls::parse_avps(many));
}

TEST(PtEap, VersionAndStartAreHeldToTheRfc) {
  EXPECT_EQ(*pteap::parse_message(hex("81")), (pteap::Message{true, {}}));
  EXPECT_EQ(*pteap::parse_message(hex("01")), pteap::Message{});
  EXPECT_EQ(*pteap::parse_message(hex("00")), pteap::Message{});  // an acknowledgement of a peer that leaves the version 0
  EXPECT_EQ(*pteap::parse_message(hex("79")), pteap::Message{});  // reserved bits
  const ByteVector batch = hex("02 00 00 01 00 00 00 08");
  ByteVector data = pteap::message(batch);
  EXPECT_TRUE(equal(pteap::parse_message(data)->batch, batch));
  data[0] = std::byte{2};
  EXPECT_EQ(pteap::parse_message(data).error().reason, "PT-EAP version isn't 1");
  EXPECT_EQ(pteap::parse_message(hex("82")).error().reason, "PT-EAP version isn't 1");
  EXPECT_EQ(pteap::parse_message(hex("81 02")).error().reason, "Start with data");
  EXPECT_FALSE(pteap::parse_message({}));
}

TEST(PtEap, TheLargestBatchFillsAPacket) {
  const ByteVector data = pteap::message(ByteVector(pteap::max_batch));
  EXPECT_EQ(eap::packet(eap::Code::response, 1, eap::type::pt_eap, data).size(), eap::max_packet);
}

}  // namespace
}  // namespace gatehouse
