// The Scanner IMC: the kernel's socket tables, and Port Filter on request.
#include "endpoint/imc/scanner/scanner_imc.h"
#include "harness.h"

namespace gatehouse::endpoint::test {
namespace {

constexpr std::string_view tcp =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 18231 1 0 100 0 0 10 "
    "0\n"
    "   1: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 20332 1 0 100 0 0 10 "
    "0\n"
    "   2: 0F02000A:0016 0202000A:D2B4 01 00000000:00000000 02:000A8B35 00000000     0        0 24007 2 0 20 4 30 10 "
    "-1\n"
    "   3: 0F02000A:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 24008 1 0 100 0 0 10 "
    "0\n";
constexpr std::string_view tcp6 =
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr "
    "tm->when\n"
    "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:0 0 0 0 "
    "1\n"
    "   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:0 0 0 0 "
    "1\n"
    "   2: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:0 0 0 0 "
    "1\n"
    "   3: B80D012000000000000000000A000000:2382 00000000000000000000000000000000:0000 0A 00000000:00000000 00:0 0 0 0 "
    "1\n";
constexpr std::string_view udp =
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer "
    "drops\n"
    "  163: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 16623 2 0000000 0\n"
    "  164: 0F02000A:8F43 0102000A:0035 01 00000000:00000000 00:00000000 00000000     0        0 16624 2 0000000 0\n";

TEST(Scanner, listens_on_what_the_kernel_lists_but_for_loopback) {
  Folder net;
  net.write("tcp", tcp);
  net.write("tcp6", tcp6);
  net.write("udp", udp);
  const auto ports = open_ports(net.path());
  std::string text;
  for (const patnc::PortFilterEntry& p : ports)
    text += std::to_string(p.protocol) + "/" + std::to_string(p.port) + (p.blocked ? " blocked " : " ");
  EXPECT_EQ(text, "6/22 6/443 6/9090 17/68 ");
}

TEST(Scanner, skips_lines_that_arent_sockets) {
  for (const std::string_view line :
       {"", "\n\n", "   0: 00000000 00000000:0000 0A\n", "   0: 0000000G:0016 00000000:0000 0A\n",
        "   0: 00000000:10016 00000000:0000 0A\n", "   0: 00000000:0016\n", "   0: 00000000:0000 00000000:0000 0A\n"})
    EXPECT_TRUE(parse_socket_table(line, 6).empty()) << line;
}

TEST(Scanner, is_silent_until_it_is_asked_for_port_filters) {
  ScannerImc scanner([] {
    return std::vector<patnc::PortFilterEntry>{{false, 6, 22}, {false, 6, 443}, {false, 17, 68}};
  });
  Collectors c({&scanner});
  EXPECT_TRUE(pa_records(c.server.batches[0]).empty());
  const auto ask = [&](std::vector<patnc::TypeName> types) {
    Writer w;
    patnc::append_attribute_request(w, types);
    c.server.send_attributes(0, patnc::subtype_firewall, {attribute(0, patnc::type::attribute_request, w.view())}, 4);
    return wire_of(c.server.attributes());
  };
  EXPECT_EQ(ask({{0, 6}}),
            "000000000000000600000018"
            "00060016"
            "000601bb"
            "00110044");
  EXPECT_EQ(ask({{0, 2}, {0, 6}, {0, 6}}), ask({{0, 6}}));
  EXPECT_EQ(ask({{0, 2}, {99, 6}}), "");
}

}  // namespace
}  // namespace gatehouse::endpoint::test
