// Many requests of one gateway's at once, which the kernel hands over together where it can: each has its answer.
#include <algorithm>
#include <map>

#include "base/datagrams.h"
#include "base/descriptor.h"
#include "tests/server_radius/peer.h"
#include "wire/eap/eap.h"
#include "wire/ttls/ttls.h"

namespace gatehouse::test {
namespace {

constexpr std::size_t many = 128;
const Bytes burst_secret = as_bytes(radius_secret);

// address; whether the kernel is asked to part what is sent
class RadiusBurst : public RadiusTest, public testing::WithParamInterface<std::tuple<const char*, bool>> {
 protected:
  void SetUp() override {
    RadiusTest::SetUp();
    before_ = DatagramSender::segmenting();
    DatagramSender::set_segmenting(std::get<1>(GetParam()));
    const std::string address = std::get<0>(GetParam());
    config.radius.listen = {(address == "::1" ? "[::1]" : address) + ":0"};
    config.radius.clients[0].address = address;
    config.radius.clients[0].prefix = *server::parse_prefix(address);
  }
  void TearDown() override {
    DatagramSender::set_segmenting(before_);
    RadiusTest::TearDown();
  }
  // A gateway's socket.
  Descriptor connected() const {
    sockaddr_storage there{};
    const bool v6 = std::string_view(std::get<0>(GetParam())) == "::1";
    if (v6) {
      auto& a = reinterpret_cast<sockaddr_in6&>(there);
      a.sin6_family = AF_INET6;
      a.sin6_port = htons(server->radius_port());
      a.sin6_addr = in6addr_loopback;
    } else {
      auto& a = reinterpret_cast<sockaddr_in&>(there);
      a.sin_family = AF_INET;
      a.sin_port = htons(server->radius_port());
      a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    Descriptor out(::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(out.get(), reinterpret_cast<const sockaddr*>(&there), v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in)), 0);
    return out;
  }

 private:
  bool before_ = true;
};

TEST_P(RadiusBurst, EachRequestHasItsOwnAnswer) {
  start();
  const Descriptor gateway = connected();
  std::map<std::uint8_t, radius::Authenticator> asked;
  DatagramSender out;
  for (std::size_t i = 0; i < many; ++i) {
    radius::Authenticator random{};
    fill_random(random);
    // Some ask for access with a State that nobody gave: their refusals are sealed side by side.
    const bool forged = i % 3 != 0;
    radius::Builder request(forged ? radius::Code::access_request : radius::Code::status_server, std::uint8_t(i));
    if (forged) {
      request.add_eap(eap::packet(eap::Code::response, std::uint8_t(i), eap::type::ttls, ttls::acknowledgement));
      request.add(radius::type::state, ByteVector(33, std::byte(i)));
      for (std::size_t n = 0; n < i % 4; ++n) request.add_text(radius::type::proxy_state, std::string(1 + 20 * n, 'p'));
    }
    // Some are longer, so that not all of them are of one size.
    if (i % 7 == 0) request.add_text(radius::type::nas_identifier, std::string(i % 50, 'n'));
    ByteVector bytes = *std::move(request).finish_request(random, burst_secret);
    // One that isn't authentic has no answer, and costs no other its own.
    if (i % 50 == 49) bytes.back() ^= std::byte{1};
    else asked.emplace(std::uint8_t(i), random);
    if (out.full()) out.send(gateway.get());
    out.add({}, std::move(bytes));
  }
  out.send(gateway.get());
  while (!asked.empty()) {
    pollfd p{gateway.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&p, 1, 60'000), 1) << asked.size() << " without an answer\n" << log->text();
    ByteVector answer(radius::max_packet);
    const ssize_t n = ::recv(gateway.get(), answer.data(), answer.size(), 0);
    ASSERT_GT(n, 0);
    answer.resize(std::size_t(n));
    const auto packet = radius::parse_packet(answer);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->whole.size(), answer.size());
    const auto at = asked.find(packet->identifier);
    ASSERT_NE(at, asked.end()) << "two answers, or none was asked for: " << int(packet->identifier);
    const bool forged = packet->identifier % 3 != 0;
    EXPECT_EQ(packet->code, forged ? radius::Code::access_reject : radius::Code::access_accept);
    if (forged) {
      const auto eap = radius::eap_message(*packet);
      ASSERT_TRUE(eap && *eap);
      EXPECT_EQ(**eap, eap::failure(packet->identifier));
      EXPECT_EQ(std::count_if(packet->attributes.begin(), packet->attributes.end(), [](const auto& a) { return a.type == radius::type::proxy_state; }), packet->identifier % 4);
    }
    EXPECT_TRUE(radius::authentic_answer(*packet, at->second, burst_secret, true));
    asked.erase(at);
  }
}

INSTANTIATE_TEST_SUITE_P(EachWay, RadiusBurst, testing::Combine(testing::Values("127.0.0.1", "::1"), testing::Bool()),
                         [](const auto& p) {
                           return std::string(std::string_view(std::get<0>(p.param)) == "::1" ? "Ip6" : "Ip4") + (std::get<1>(p.param) ? "Parted" : "Whole");
                         });

}  // namespace
}  // namespace gatehouse::test
