// The recorded conversation of a strongSwan gateway with its policy decision point: each packet is authentic, the EAP packets
// come out of it whole, and the TTLS fragments make the messages that their first ones announced.
#include <gtest/gtest.h>

#include "base/file.h"
#include "wire/eap/eap.h"
#include "wire/radius/radius.h"
#include "wire/ttls/ttls.h"

namespace gatehouse::radius {
namespace {

const Bytes recorded_secret = as_bytes("testing123");

// UDP payloads of an Ethernet capture, in order.
std::vector<ByteVector> recorded() {
  const auto file = read_file(GATEHOUSE_TEST_DATA "/radius/strongswan.pcap", std::size_t(8) << 20);
  EXPECT_TRUE(file);
  std::vector<ByteVector> out;
  Reader r(*file, "pcap");
  EXPECT_TRUE(r.skip(24));
  constexpr std::size_t ethernet = 14, ip = 20, udp = 8;
  while (!r.empty()) {
    EXPECT_TRUE(r.skip(8));
    const std::size_t kept = r.get_le<std::uint32_t>().value_or(0);
    EXPECT_TRUE(r.skip(4));
    const auto frame = r.take(kept);
    if (!frame) break;
    out.push_back(to_vector(frame->subspan(ethernet + ip + udp)));
  }
  return out;
}

TEST(RecordedRadius, EachPacketIsAuthenticAndWhole) {
  const auto packets = recorded();
  ASSERT_EQ(packets.size(), 562U);
  Authenticator asked{};
  std::size_t requests = 0, challenges = 0;
  for (std::size_t i = 0; i < packets.size(); ++i) {
    const auto p = parse_packet(packets[i]);
    ASSERT_TRUE(p) << i << ": " << p.error().text();
    const auto eap = eap_message(*p);
    ASSERT_TRUE(eap && *eap && eap::parse_packet(**eap)) << i;
    if (p->code == Code::access_request) {
      ++requests;
      asked = p->authenticator;
      EXPECT_TRUE(authentic_request(*p, recorded_secret)) << i;
      EXPECT_EQ(p->text(type::user_name), "host1");
    } else {
      challenges += p->code == Code::access_challenge;
      EXPECT_TRUE(authentic_answer(*p, asked, recorded_secret, true)) << i;
    }
  }
  EXPECT_EQ(requests, 281U);
  EXPECT_EQ(challenges, 280U);
  const auto last = parse_packet(packets.back());
  EXPECT_EQ(last->code, Code::access_accept);
  EXPECT_EQ(last->text(type::filter_id), "allow");
  EXPECT_EQ(last->number(type::tunnel_type), 9U);
  const auto key = find_vendor(*last, vendor_microsoft, ms_mppe_recv_key);
  ASSERT_TRUE(key);
  EXPECT_EQ(reveal_key(*key, asked, recorded_secret)->size(), 32U);
}

TEST(RecordedRadius, FragmentsMakeTheMessagesThatTheyAnnounced) {
  ttls::Reassembler server, client;
  std::size_t messages = 0, fragments = 0;
  for (const ByteVector& bytes : recorded()) {
    const auto radius_packet = parse_packet(bytes);
    const auto eap = eap_message(*radius_packet);
    const auto p = eap::parse_packet(**eap);
    if (p->type != eap::type::ttls) continue;
    const auto t = ttls::parse_packet(p->data);
    ASSERT_TRUE(t) << t.error().text();
    auto& side = p->code == eap::Code::request ? server : client;
    if (t->start || (t->acknowledgement() && !side.pending())) continue;
    const auto message = side.add(*t);
    ASSERT_TRUE(message) << message.error().text();
    fragments += t->more;
    messages += message->has_value();
  }
  EXPECT_FALSE(server.pending() || client.pending());
  EXPECT_GT(fragments, 200U);
  EXPECT_GT(messages, 15U);
}

}  // namespace
}  // namespace gatehouse::radius
