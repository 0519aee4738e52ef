// A packet that parses is within its bytes; what can be read of it is written and read again. A stream of them is cut anywhere.
#include <cstdlib>

#include "wire/radius/accounting.h"
#include "wire/radius/radius.h"

using namespace gatehouse;

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}

void look_at(const radius::Packet& p) {
  const Bytes secret = as_bytes("secret");
  std::size_t bytes = radius::header_size;
  for (const radius::Attribute& a : p.attributes) bytes += a.value.size() + 2;
  expect(bytes == p.whole.size());
  const HmacMd5 keyed(secret), other(as_bytes("another"));
  radius::CheckedRequest together[] = {{&p, &keyed}, {&p, &other}, {&p, &keyed}};
  radius::check_requests(together);
  expect(together[0].authentic == radius::authentic_request(p, secret) && together[2].authentic == together[0].authentic);
  expect(together[1].authentic == radius::authentic_request(p, other));
  (void)radius::authentic_accounting(p, secret);
  (void)radius::authentic_answer(p, p.authenticator, secret, true);
  (void)radius::authentic_answer(p, p.authenticator, secret, false);
  if (const auto key = radius::find_vendor(p, radius::vendor_microsoft, radius::ms_mppe_recv_key)) (void)radius::reveal_key(*key, p.authenticator, secret);
  if (const auto password = p.find(radius::type::user_password)) (void)radius::reveal_password(*password, p.authenticator, secret);
  if (const auto told = radius::parse_accounting(p)) {
    const bool of_session = told->status != radius::AcctStatus::on && told->status != radius::AcctStatus::off;
    expect(told->session.empty() != of_session);
  }
  if (const auto response = radius::accounting_response(p, secret)) {
    const auto read = radius::parse_packet(*response);
    expect(read && radius::authentic_answer(*read, p.authenticator, secret, false));
  }
  const auto eap = radius::eap_message(p);
  radius::Builder again(p.code, p.identifier);
  if (eap && *eap) again.add_eap(**eap);
  for (const radius::Attribute& a : p.attributes)
    if (a.type != radius::type::eap_message && a.type != radius::type::message_authenticator) again.add(a.type, a.value);
  if (const auto made = std::move(again).finish_request(p.authenticator, secret)) {
    const auto read = radius::parse_packet(*made);
    expect(read && radius::authentic_request(*read, secret));
    const auto eap_again = radius::eap_message(*read);
    if (eap && *eap) expect(eap_again && *eap_again && **eap_again == **eap);
  }
}

std::size_t count(Bytes all, std::size_t piece) {
  radius::Framer framer;
  std::size_t packets = 0;
  for (std::size_t at = 0; at < all.size(); at += piece) {
    framer.feed(all.subspan(at, std::min(piece, all.size() - at)));
    for (;;) {
      const auto next = framer.next();
      if (!next) return packets;
      if (next->empty()) break;
      ++packets;
    }
  }
  return packets;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  if (const auto packet = radius::parse_packet(all)) look_at(*packet);
  expect(count(all, 7) == count(all, size == 0 ? 1 : size));
  return 0;
}
