// libraries: gatehouse_radius
// What comes back to requests of this server's own: whatever comes, a request ends once, by an answer that its secret made or by
// the clock. The input is cut into datagrams; some are made good where their first byte says so.
#include <cstdlib>

#include "server/radius/exchanges.h"
#include "server/radius/question.h"

using namespace gatehouse;

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace std::chrono_literals;
  Bytes rest(reinterpret_cast<const std::byte*>(data), size);
  const auto secret = std::make_shared<const Secret>(as_bytes("a secret of 22 letters"));
  server::Exchanges exchanges(4);
  auto now = server::Exchanges::Clock::time_point(1h);
  const server::Exchanges::Peer peer{{}, 3799};
  std::vector<ByteVector> sent;
  std::size_t begun = 0, ended = 0;
  // What says that somebody's answer to a challenge was right, and how it proves that: whatever it is, it is text of one form.
  server::MsChap2Answer told;
  told.identifier = size == 0 ? std::uint8_t{0} : data[0];
  radius::Builder accept(radius::Code::access_accept, 1);
  if (!rest.empty() && rest.size() <= 247) accept.add_vendor(radius::vendor_microsoft, radius::ms_chap2_success, rest);
  const auto made = std::move(accept).finish_answer(radius::Authenticator{}, secret->reveal());
  const server::UpstreamQuestion question{"User", told, {}};
  for (const Bytes answer : {made ? Bytes(*made) : Bytes(), rest}) {
    const server::UpstreamSays says = server::read_answer(question, answer);
    expect(says.proof.empty() || (says.good && says.proof.size() == 42 && says.proof.starts_with("S=")));
  }
  while (!rest.empty()) {
    const auto head = std::uint8_t(rest.front());
    const Bytes piece = rest.subspan(1, std::min<std::size_t>(head & 0x3F, rest.size() - 1));
    rest = rest.subspan(1 + piece.size());
    const bool good = (head & 0xC0) == 0x40 && !sent.empty();
    if ((head & 0xC0) == 0x80) {
      begun += exchanges.begin({peer, secret, [secret](std::uint8_t id) { return radius::Builder(radius::Code::coa_request, id).finish_signed_request(secret->reveal()); },
                                {1s, 2s}, (head & 1) != 0}, now) ? 1 : 0;
    } else if ((head & 0xC0) == 0xC0) {
      now += std::chrono::milliseconds(head & 0x3F) * 100;
      ended += exchanges.expire(now).size();
    } else {
      ByteVector datagram = to_vector(piece);
      if (good) {
        const auto asked = radius::parse_packet(sent.back());
        radius::Builder b(radius::Code::coa_ack, asked->identifier);
        if (!piece.empty()) b.add(radius::type::reply_message, piece);
        datagram = *std::move(b).finish_answer(asked->authenticator, secret->reveal());
      }
      const bool answered = exchanges.receive(peer, datagram, now).has_value();
      expect(!answered || good);
      ended += answered ? 1 : 0;
    }
    for (auto& one : exchanges.to_send()) sent.push_back(std::move(one.packet));
    expect(exchanges.size() == begun - ended && exchanges.size() <= 4);
    expect((exchanges.size() != 0) == exchanges.next().has_value());
  }
  return 0;
}
