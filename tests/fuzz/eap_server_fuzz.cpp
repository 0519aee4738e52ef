// libraries: gatehouse_eap
// A client's EAP packets against the server's state machines, the tunnel without TLS. Whatever comes, the conversation ends
// in Success only where the host has said allow or isolate.
#include <algorithm>
#include <cstdlib>

#include "server/eap/eap_server.h"
#include "tests/server_radius/plain_tunnel.h"
#include "wire/eap/eap.h"

using namespace gatehouse;

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes rest(reinterpret_cast<const std::byte*>(data), size);
  const auto take = [&](std::size_t n) {
    const Bytes out = rest.first(std::min(n, rest.size()));
    rest = rest.subspan(out.size());
    return out;
  };
  if (size < 2) return 0;
  const auto how = std::uint8_t(take(1)[0]);
  server::EapServer::Config config;
  config.inner.methods = {eap::type::md5_challenge, eap::type::mschap_v2, eap::type::gtc};
  config.inner.pap = true;
  config.certificate = server::EapServer::Certificate(how % 3);
  config.fragment_size = 64;
  config.inner.tnc = (how & 16) != 0;
  test::NotingHost host;
  host.elsewhere = (how & 128) != 0;
  const bool certificate = (how & 8) != 0, resumed = (how & 32) != 0;
  const auto before = resumed ? std::make_shared<server::Resumable>("carol", server::EapIdentity{certificate ? "CN=client" : "carol", certificate ? "certificate" : "password"}) : nullptr;
  if (resumed) before->refuses_assessment = (how & 64) != 0;
  std::shared_ptr<server::Resumable> kept;
  server::EapServer eap(host, config, std::make_unique<test::PlainTunnel>(certificate ? "CN=client" : "", true, before, &kept));
  std::uint8_t identifier = 1;
  bool admitted = false, over = false;
  for (int turn = 0; turn < 200 && !rest.empty(); ++turn) {
    // A byte that says what is done, one how long the packet is, then its type and data; its identifier is mostly right.
    const auto act = std::uint8_t(take(1)[0]);
    if (eap.waiting()) {
      const bool password = !host.done.empty() && host.done.back().starts_with("check ");
      if (password) {
        eap.on_password((act & 1) != 0);
      } else if (!host.done.empty() && host.done.back().starts_with("judge ")) {
        eap.on_judged((act & 1) != 0, (act & 2) != 0 ? "S=407A5589115FD0D6209F510FE9C04566932CDA56" : "");
      } else if ((act & 3) == 0) {
        eap.on_batch(ByteVector(act, std::byte{1}));
      } else {
        admitted = (act & 3) == 1;
        eap.on_assessed(admitted ? std::optional(pipeline::Recommendation::isolate) : std::nullopt);
      }
    } else {
      const Bytes head = take(1);
      const std::size_t n = head.empty() ? 0 : std::size_t(head[0]) * ((act & 0x40) != 0 ? 8 : 1);
      const std::uint8_t type = (act & 0x20) != 0 ? eap::type::ttls : std::uint8_t(act & 0x1F);
      const ByteVector packet = eap::packet(eap::Code::response, (act & 0x80) != 0 ? std::uint8_t(identifier + 1) : identifier, type, take(n));
      (void)eap.receive(packet);
    }
    if (const auto packet = eap.take_packet()) {
      expect(!over);
      over = eap.over();
      identifier = std::uint8_t((*packet)[1]);
      expect(over || packet->size() <= config.fragment_size);
      if (packet->front() == std::byte(eap::Code::success)) expect(admitted);
      // Whoever may resume has authenticated.
      if (kept) expect(std::any_of(host.done.begin(), host.done.end(), [](const std::string& one) { return one.starts_with("accepted "); }));
      if (over) expect((packet->front() == std::byte(eap::Code::success)) == eap.verdict().has_value());
    }
  }
  return 0;
}
