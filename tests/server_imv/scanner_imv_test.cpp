// The Scanner IMV: open ports against allowed and forbidden lists.
#include "tests/server_imv/support.h"

namespace gatehouse::test {
namespace {

using Scanner = Imvs;
using testing::ElementsAre;

Pa firewall(std::uint16_t collector = 1) { return {ietf, patnc::subtype_firewall, collector}; }
ByteVector filter(const std::vector<patnc::PortFilterEntry>& entries) {
  Writer w;
  patnc::append_port_filter(w, entries);
  return std::move(w).take();
}
patnc::PortFilterEntry open_tcp(std::uint16_t port) { return {false, patnc::protocol_tcp, port}; }
patnc::PortFilterEntry open_udp(std::uint16_t port) { return {false, patnc::protocol_udp, port}; }
patnc::PortFilterEntry blocked_tcp(std::uint16_t port) { return {true, patnc::protocol_tcp, port}; }
Pa ita_settings_message() {
  return Pa(ietf, os_subtype).add(ita, type::ita_settings, settings({{"install_non_market_apps", "0"}}));
}
std::string entry(const std::string& type, const std::string& argument) {
  return "{type = \"" + type + "\", argument = \"" + argument + "\"}";
}

TEST_F(Scanner, AsksForThePortFilterOnce) {
  ask(entry("TCPOP", "22") + "," + entry("UDPBL", "69"));
  ByHand client(world());
  Answer answer = client.say({os_push()});
  ASSERT_EQ(answer.of(ietf, patnc::subtype_firewall).size(), 1U);
  EXPECT_EQ(to_hex(Bytes(answer.of(ietf, patnc::subtype_firewall)[0]->body).subspan(8)),
            "000055970000002100000014ffffffff0000ffba"
            "0000000000000001000000140000000000000006");
  EXPECT_EQ(answer.of(ietf, patnc::subtype_firewall)[0]->validator, 4U);
  answer = client.say({firewall().add(ietf, type::port_filter, filter({open_tcp(22), open_udp(53)}))});
  EXPECT_EQ(answer.access, 1U);
  EXPECT_EQ(assessment(answer, ietf, patnc::subtype_firewall), 0U);
  EXPECT_EQ(item(client.verdict(), "TCPOP").result, "no violating tcp ports");
  EXPECT_EQ(item(client.verdict(), "UDPBL").result, "no violating udp ports");
}

// Its result stands already, while another validator still waits for an answer.
TEST_F(Scanner, WhatIsSaidAfterItsResultCountsToo) {
  ask(entry("TCPOP", "22") + ", \"UNSRC\"");
  const Pa settled = Pa(ita_settings_message());
  ByHand good(world());
  EXPECT_EQ(assessment(good.say({os_push(), firewall().add(ietf, type::port_filter, filter({open_tcp(22)}))}), ietf,
                       patnc::subtype_firewall),
            0U);
  EXPECT_EQ(good.say({settled, firewall(2).add(ietf, type::port_filter, filter({open_tcp(22), open_udp(53)}))}).access, 1U);
  for (const std::uint16_t collector : {std::uint16_t{1}, std::uint16_t{2}}) {
    ByHand client(world());
    client.say({os_push(), firewall().add(ietf, type::port_filter, filter({open_tcp(22)}))});
    EXPECT_EQ(client.say({settled, firewall(collector).add(ietf, type::port_filter, filter({open_tcp(23)}))}).access, 3U) << collector;
    EXPECT_EQ(item(client.verdict(), "TCPOP").evaluation, Evaluation::error) << collector;
  }
}

TEST_F(Scanner, NamesEachPortThatViolates) {
  const struct {
    const char* what;
    std::string type, argument;
    std::vector<patnc::PortFilterEntry> says;
    Evaluation evaluation;
    const char* result;
  } rows[] = {
      {"nothing is open", "TCPOP", "", {}, Evaluation::compliant, "no violating tcp ports"},
      {"nothing is allowed", "TCPOP", "", {open_tcp(22)}, Evaluation::minor, "violating tcp ports: 22"},
      {"another is open",
       "TCPOP",
       "22 80-90",
       {open_tcp(8080), open_tcp(80), open_tcp(23), open_tcp(90)},
       Evaluation::minor,
       "violating tcp ports: 23 8080"},
      {"neighbours of a range",
       "TCPOP",
       "80-90",
       {open_tcp(79), open_tcp(91)},
       Evaluation::minor,
       "violating tcp ports: 79 91"},
      {"said twice", "TCPOP", "", {open_tcp(23), open_tcp(23)}, Evaluation::minor, "violating tcp ports: 23"},
      {"the other protocol", "TCPOP", "", {open_udp(53)}, Evaluation::compliant, "no violating tcp ports"},
      {"udp", "UDPOP", "53", {open_udp(53), open_udp(69)}, Evaluation::minor, "violating udp ports: 69"},
      {"forbidden and open",
       "TCPBL",
       "23 161-162",
       {open_tcp(22), open_tcp(162), open_tcp(23)},
       Evaluation::minor,
       "violating tcp ports: 23 162"},
      {"forbidden and not open", "TCPBL", "23", {open_tcp(22)}, Evaluation::compliant, "no violating tcp ports"},
      {"udp forbidden", "UDPBL", "69", {open_udp(69)}, Evaluation::minor, "violating udp ports: 69"},
      // Where all entries are blocked, everything else is open.
      {"all but these is open",
       "TCPOP",
       "22",
       {blocked_tcp(23), blocked_tcp(24)},
       Evaluation::minor,
       "violating tcp ports: 1-21 25-65535"},
      {"all but these, and they are forbidden",
       "TCPBL",
       "23-24",
       {blocked_tcp(23), blocked_tcp(24)},
       Evaluation::compliant,
       "no violating tcp ports"},
      {"all but this, and others are forbidden",
       "TCPBL",
       "23-25",
       {blocked_tcp(24)},
       Evaluation::minor,
       "violating tcp ports: 23 25"},
      {"all but this, everything is allowed",
       "TCPOP",
       "1-65535",
       {blocked_tcp(23)},
       Evaluation::compliant,
       "no violating tcp ports"},
      {"both",
       "TCPOP",
       "22",
       {blocked_tcp(23), open_tcp(22)},
       Evaluation::error,
       "the port filter has blocked and open tcp ports"},
      {"both, of the other protocol",
       "UDPOP",
       "",
       {blocked_tcp(23), open_tcp(22)},
       Evaluation::compliant,
       "no violating udp ports"},
  };
  for (const auto& row : rows) {
    ask(entry(row.type, row.argument));
    ByHand client(world());
    const Answer answer = client.say({os_push(), firewall().add(ietf, type::port_filter, filter(row.says))});
    ASSERT_EQ(answer.type, pbtnc::BatchType::result) << row.what << ": it was told unasked";
    EXPECT_EQ(item(client.verdict(), row.type).result, row.result) << row.what;
    EXPECT_EQ(item(client.verdict(), row.type).evaluation, row.evaluation) << row.what;
    EXPECT_EQ(client.verdict().recommendation,
              row.evaluation == Evaluation::compliant ? Recommendation::allow : Recommendation::isolate)
        << row.what;
    EXPECT_EQ(assessment(answer, ietf, patnc::subtype_firewall), std::uint32_t(row.evaluation)) << row.what;
  }
}

TEST_F(Scanner, TellsWhatToClose) {
  ask(entry("TCPOP", "22") + "," + entry("TCPBL", "23") + "," + entry("UDPBL", "69"));
  for (const std::string language : {"en", "de"}) {
    ByHand client(world());
    const Answer answer = client.say(
        {os_push(), firewall().add(ietf, type::port_filter, filter({open_tcp(23), open_udp(69)}))}, language);
    const auto instructions = answer.attributes(ietf, type::remediation_instructions);
    ASSERT_EQ(instructions.size(), 1U);
    EXPECT_EQ(
        remediation_string(instructions[0]),
        std::pair(std::string(language == "en"
                                  ? "Open Server Ports\n  Ports are open that the policy doesn't allow\n"
                                    "  Please close the following ports:\n    tcp 23\n    udp 69"
                                  : "Offene Serverports\n  Es sind Ports offen, die die Zugangsregeln nicht erlauben\n"
                                    "  Bitte schließen Sie die folgenden Ports:\n    tcp 23\n    udp 69"),
                  language));
    EXPECT_THAT(answer.reasons,
                ElementsAre(std::pair(std::string(language == "en" ? "Open server ports were detected"
                                                                   : "Offene Serverports wurden festgestellt"),
                                      language)));
  }
}

TEST_F(Scanner, ListsNoMoreThanPeopleRead) {
  ask(entry("TCPOP", ""));
  std::vector<patnc::PortFilterEntry> all;
  for (unsigned port = 1; port < 65'536; port += 2) all.push_back(open_tcp(std::uint16_t(port)));
  ByHand client(world());
  const Answer answer = client.say({os_push()});
  ASSERT_EQ(answer.type, pbtnc::BatchType::sdata);
  const Answer last =
      client.say({firewall().add(ietf, type::port_filter, filter({all.begin(), all.begin() + 10'000}))});
  const std::string result = item(client.verdict(), "TCPOP").result;
  EXPECT_TRUE(result.starts_with("violating tcp ports: 1 3 5 ")) << result;
  EXPECT_TRUE(result.ends_with(" 253 255 and 9872 more")) << result;
  EXPECT_TRUE(remediation_string(last.attribute(ietf, type::remediation_instructions))
                  .first.ends_with("tcp 255\n    ... (+9872)"));
}

TEST_F(Scanner, SilenceAndErrorsAreNoAnswer) {
  ask(entry("TCPOP", "22"));
  ByHand silent(world());
  Answer answer = silent.until_result(silent.say({os_push()}));
  EXPECT_EQ(item(silent.verdict(), "TCPOP").result, "no answer");
  EXPECT_EQ(silent.verdict().recommendation, Recommendation::isolate);
  EXPECT_THAT(answer.reasons,
              ElementsAre(std::pair<std::string, std::string>("A required measurement is missing", "en")));
  for (const auto& [hex, fatal] : std::vector<std::pair<std::string, bool>>{{"0000000000000003"
                                                                             "0100000000000005"
                                                                             "0000000000000006",
                                                                             false},
                                                                            {"0000000000000001"
                                                                             "0100000000000005"
                                                                             "00000014",
                                                                             true}}) {
    ByHand client(world());
    client.say({os_push()});
    answer = client.say({firewall().add(ietf, type::pa_tnc_error, *from_hex(hex))});
    EXPECT_EQ(answer.type == pbtnc::BatchType::result, fatal);
    client.until_result(answer);
    EXPECT_EQ(item(client.verdict(), "TCPOP").evaluation, fatal ? Evaluation::error : Evaluation::unknown);
  }
}

TEST_F(Scanner, SeveralFirewallsCountTogetherAndOneMayNotContradictItself) {
  ask(entry("TCPOP", "22"));
  ByHand two(world());
  two.say({os_push(), firewall(1).add(ietf, type::port_filter, filter({open_tcp(22)})),
           firewall(2).add(ietf, type::port_filter, filter({open_tcp(23)}))});
  EXPECT_EQ(item(two.verdict(), "TCPOP").result, "violating tcp ports: 23");
  ByHand same(world());
  same.say({os_push(), firewall()
                           .add(ietf, type::port_filter, filter({open_tcp(22)}))
                           .add(ietf, type::port_filter, filter({open_tcp(22)}))});
  EXPECT_EQ(item(same.verdict(), "TCPOP").evaluation, Evaluation::compliant);
  ByHand other(world());
  other.say({os_push(), firewall()
                            .add(ietf, type::port_filter, filter({open_tcp(23)}))
                            .add(ietf, type::port_filter, filter({open_tcp(22)}))});
  EXPECT_EQ(item(other.verdict(), "TCPOP").evaluation, Evaluation::error);
}

TEST_F(Scanner, WithoutWorkSaysNothing) {
  ask("\"FWDEN\"");
  ByHand client(world());
  const Answer answer = client.say({os_push(), firewall().add(ietf, type::port_filter, filter({open_tcp(23)}))});
  EXPECT_EQ(answer.access, 1U);
  EXPECT_TRUE(answer.of(ietf, patnc::subtype_firewall).empty());
}

}  // namespace
}  // namespace gatehouse::test
