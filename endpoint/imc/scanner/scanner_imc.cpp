#include "endpoint/imc/scanner/scanner_imc.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <tuple>

#include "base/file.h"

namespace gatehouse::endpoint {
namespace {

namespace type = patnc::type;
constexpr unsigned tcp_listen = 0x0A, udp_unconnected = 0x07;
constexpr std::size_t max_table_bytes = std::size_t(64) << 20;

// The next field of a line, and the rest.
std::string_view field(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view out = line.substr(0, end);
  line.remove_prefix(end);
  return out;
}

template <class T>
bool parse_hex(std::string_view text, T& out) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), out, 16);
  return !text.empty() && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

// The kernel writes an address as 32-bit words in its own byte order, so that a word read back is the address in
// memory.
std::optional<bool> is_loopback(std::string_view text) {
  std::array<unsigned char, 16> address{};
  if (text.size() != 8 && text.size() != 32) return std::nullopt;
  for (std::size_t word = 0; word < text.size() / 8; ++word) {
    std::uint32_t value = 0;
    if (!parse_hex(text.substr(8 * word, 8), value)) return std::nullopt;
    std::memcpy(address.data() + 4 * word, &value, sizeof value);
  }
  if (text.size() == 8) return address[0] == 127;
  constexpr std::array<unsigned char, 16> loopback{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  constexpr std::array<unsigned char, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  return address == loopback || (std::equal(mapped.begin(), mapped.end(), address.begin()) && address[12] == 127);
}

}  // namespace

std::vector<patnc::PortFilterEntry> parse_socket_table(std::string_view table, std::uint8_t protocol) {
  const unsigned open = protocol == patnc::protocol_tcp ? tcp_listen : udp_unconnected;
  std::vector<patnc::PortFilterEntry> out;
  while (!table.empty()) {
    const std::size_t end = std::min(table.find('\n'), table.size());
    std::string_view line = table.substr(0, end);
    table.remove_prefix(std::min(end + 1, table.size()));
    field(line);  // number; "sl" of the head
    const std::string_view local = field(line);
    field(line);  // remote
    const std::string_view state = field(line);
    const std::size_t colon = local.find(':');
    std::uint16_t port = 0;
    unsigned in = 0;
    if (colon == std::string_view::npos || !parse_hex(local.substr(colon + 1), port) || !parse_hex(state, in)) continue;
    const auto loopback = is_loopback(local.substr(0, colon));
    if (!loopback || *loopback || in != open || port == 0) continue;
    out.push_back({false, protocol, port});
  }
  return out;
}

std::vector<patnc::PortFilterEntry> open_ports(const std::string& folder) {
  std::vector<patnc::PortFilterEntry> out;
  constexpr std::pair<const char*, std::uint8_t> tables[] = {{"tcp", patnc::protocol_tcp},
                                                             {"tcp6", patnc::protocol_tcp},
                                                             {"udp", patnc::protocol_udp},
                                                             {"udp6", patnc::protocol_udp}};
  for (const auto& [name, protocol] : tables) {
    const auto table = read_file(folder + "/" + name, max_table_bytes);
    if (!table) continue;
    const auto more = parse_socket_table(as_text(*table), protocol);
    out.insert(out.end(), more.begin(), more.end());
  }
  std::sort(out.begin(), out.end(), [](const patnc::PortFilterEntry& a, const patnc::PortFilterEntry& b) {
    return std::tie(a.protocol, a.port) < std::tie(b.protocol, b.port);
  });
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

patnc::Supported ScannerImc::supported() const {
  return [](std::uint32_t vendor, std::uint32_t kind) {
    if (vendor == patnc::vendor_tcg) return kind >= type::contract_request && kind <= type::next_segment;
    return vendor == patnc::vendor_ietf && kind >= type::attribute_request && kind <= type::factory_default_password;
  };
}

Result<void> ScannerImc::receive(const patnc::Attribute& attribute, Packer& out) {
  if (!attribute.is(patnc::vendor_ietf, type::attribute_request)) return {};
  Reader r(attribute.value, "RFC 5792 4.2.1", attribute.value_offset());
  GH_TRY(const auto types, patnc::parse_attribute_request(r));
  if (std::none_of(types.begin(), types.end(), [](const patnc::TypeName& asked) {
        return asked.vendor == patnc::vendor_ietf && asked.type == type::port_filter;
      }))
    return {};
  Writer w;
  patnc::append_port_filter(w, ports_());
  return out.add(0, patnc::vendor_ietf, type::port_filter, std::move(w).take());
}

}  // namespace gatehouse::endpoint
