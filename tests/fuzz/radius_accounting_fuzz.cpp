// libraries: gatehouse_radius
// Whatever gateways tell in whatever order, of endpoints that were let in and of others, what is known of them holds together:
// each is found under its device, and no more are connected than there are. A byte says how much of the input is the next packet.
#include <cstdlib>

#include "server/radius/admitted.h"

using namespace gatehouse;

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes rest(reinterpret_cast<const std::byte*>(data), size);
  server::Admitted admitted(8);
  std::int64_t now = 1;
  while (!rest.empty()) {
    const auto head = std::uint8_t(rest.front());
    const Bytes piece = rest.subspan(1, std::min<std::size_t>(head, rest.size() - 1));
    rest = rest.subspan(1 + piece.size());
    ++now;
    const auto packet = radius::parse_packet(piece);
    if (!packet) {
      server::Admitted::Entry entry;
      entry.client = "client";
      entry.user = "carol";
      entry.station = piece.empty() ? "" : "7";
      entry.session = "s" + std::to_string(head % 4);
      entry.device = "d" + std::to_string(head % 3);
      entry.admitted = now;
      admitted.note(std::move(entry));
    } else if (const auto told = radius::parse_accounting(*packet)) {
      admitted.account({}, "client", *told, now, [](std::string_view session) {
        std::optional<server::Admitted::Entry> known;
        if (session == "s0") known.emplace().device = "d0";
        return known;
      });
    } else {
      admitted.remove(head);
    }
    expect(admitted.size() <= 8 && admitted.connected() <= admitted.size());
    std::size_t connected = 0;
    for (const auto& one : admitted.list(0, 8)) {
      connected += one.connected != 0 ? 1 : 0;
      if (one.device.empty()) continue;
      bool found = false;
      for (const auto& other : admitted.of_device(one.device)) found |= other.number == one.number;
      expect(found);
    }
    expect(connected == admitted.connected());
  }
  return 0;
}
