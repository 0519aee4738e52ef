// What the IMVs answer to malformed attributes (spec part 1b §9.1 to §9.3): the exact PA-TNC error on the wire, and an
// assessment that is an error.
#include "tests/server_imv/support.h"
#include "tests/wire_patnc/value_rows.h"

namespace gatehouse::test {
namespace {

using Violations = Imvs;

std::string invalid_parameter(std::size_t offset) {
  Writer w;
  w.put_bytes(
      *from_hex("0000000000000001"
                "0100000000000005"));
  patnc::append_u32(w, std::uint32_t(offset));
  return to_hex(w.view());
}

// Subtype by subtype: errors don't depend on which IMV reads the message.
struct Reads {
  std::uint32_t vendor, subtype;
  const char* items;
};
constexpr Reads readers[] = {
    {ietf, os_subtype, "\"PCKGS\""}, {ietf, patnc::subtype_firewall, "\"TCPOP\""}, {ita, 1, "\"FWDEN\""}};

void expect_answers(World& world, const Reads& reader, const std::vector<patnc::ValueRow>& rows) {
  world.settings.test_imv = true;
  world.settings.policy = policy_of("[groups.all]\nask = [" + std::string(reader.items) + "]\n");
  for (const patnc::ValueRow& row : rows) {
    const std::string what = patnc::attribute_name(row.vendor, row.type) + ": " + row.violation;
    ByHand client(world);
    // Behind a good attribute of 16 bytes, so that values are at 36.
    const Answer answer = client.say({os_push(), Pa(reader.vendor, reader.subtype)
                                                     .add(ietf, type::testing, "test")
                                                     .add(row.vendor, row.type, patnc::bytes(row.value))});
    const auto errors = answer.attributes(ietf, type::pa_tnc_error);
    ASSERT_EQ(errors.size(), row.offset ? 1U : 0U) << what;
    if (!row.offset) continue;
    EXPECT_EQ(to_hex(errors[0]->value), invalid_parameter(36 + *row.offset)) << what;
    for (const ServerMessage& m : answer.messages)
      for (const ServerAttribute& a : m.attributes)
        if (a.type == type::pa_tnc_error && a.vendor == ietf) {
          EXPECT_EQ(std::pair(m.vendor, m.subtype), std::pair(reader.vendor, reader.subtype)) << what;
          EXPECT_TRUE(m.exclusive);
          EXPECT_EQ(m.collector, 1U);
        }
    const Answer last = client.until_result(answer);
    EXPECT_EQ(last.type, pbtnc::BatchType::result) << what;
    EXPECT_EQ(client.verdict().evaluation, Evaluation::error) << what;
    EXPECT_NE(client.verdict().recommendation, Recommendation::allow) << what;
  }
}

TEST_F(Violations, OfIetfAttributesAreAnswered) {
  for (const Reads& reader : readers) expect_answers(world(), reader, patnc::ietf_value_rows());
}
TEST_F(Violations, OfItaAttributesAreAnswered) {
  for (const Reads& reader : readers) expect_answers(world(), reader, patnc::ita_value_rows());
}

// Nothing of a message with a malformed attribute counts, not even what stands before it.
TEST_F(Violations, MakeTheWholeMessageVoid) {
  ask("\"FWDEN\"");
  ByHand client(world());
  Pa push = os_push();
  std::move(push).add(ietf, type::factory_default_password, u32(2));
  const Answer answer = client.say({push});
  EXPECT_EQ(to_hex(answer.attribute(ietf, type::pa_tnc_error)->value), invalid_parameter(168 + 12));
  EXPECT_TRUE(client.verdict().device.empty());
}

TEST_F(Violations, OfMessageAndAttributeHeadersAreAnswered) {
  ask("\"FWDEN\"");
  const struct {
    const char* what;
    std::string message;
    std::string error;  // empty: none
  } rows[] = {
      {"version 2", "0200000000000005",
       "0000000000000002"
       "0200000000000005"
       "01010000"},
      {"reserved octets are quoted", "02abcdef00000005",
       "0000000000000002"
       "02abcdef00000005"
       "01010000"},
      {"11 bytes left",
       "0100000000000005"
       "0000000000000000000000",
       invalid_parameter(8)},
      {"length 11",
       "0100000000000005"
       "00000000000000000000000b",
       invalid_parameter(16)},
      {"length beyond the message",
       "0100000000000005"
       "00000000000000000000000d",
       invalid_parameter(16)},
      {"reserved vendor",
       "0100000000000005"
       "00ffffff000000000000000c",
       invalid_parameter(9)},
      {"reserved type",
       "0100000000000005"
       "00000000ffffffff0000000c",
       invalid_parameter(12)},
      {"unknown, NOSKIP",
       "0100000000000005"
       "80000000000000630000000c",
       "0000000000000003"
       "0100000000000005"
       "8000000000000063"},
      {"unknown vendor, other flags",
       "0100000000000005"
       "c1000137000000010000000c",
       "0000000000000003"
       "0100000000000005"
       "c100013700000001"},
      {"Cancel, NOSKIP",
       "0100000000000005"
       "80005597000000250000000c",
       "0000000000000003"
       "0100000000000005"
       "8000559700000025"},
      {"unknown",
       "0100000000000005"
       "00000000000000630000000c",
       ""},
      {"Testing, NOSKIP",
       "0100000000000005"
       "80000000000000000000000c",
       ""},
      {"what only a server sends",
       "0100000000000005"
       "0000000000000009"
       "0000001000000000",
       ""},
      {"no attribute", "0100000000000005", ""},
      {"7 bytes", "01000000000000", ""},
  };
  for (const auto& row : rows) {
    ByHand client(world());
    const Answer answer = client.say({os_push(), os_message(2).body(*from_hex(row.message))});
    const auto errors = answer.attributes(ietf, type::pa_tnc_error);
    ASSERT_EQ(errors.size(), row.error.empty() ? 0U : 1U) << row.what;
    if (!row.error.empty()) {
      EXPECT_EQ(to_hex(errors[0]->value), row.error) << row.what;
    }
    const bool bad = !row.error.empty() || row.message.size() < 16;
    EXPECT_EQ(client.verdict().evaluation, bad ? Evaluation::error : Evaluation::compliant) << row.what;
  }
}

// Spec part 1b §10.1: 16 errors are told; who is wrong once more is told nothing else.
TEST_F(Violations, MoreThanSixteenEndTheConnection) {
  ask("\"FWDEN\"");
  const Pa wrong = os_message(2).body(*from_hex("0200000000000005"));
  std::vector<Pa> messages(16, wrong);
  messages.insert(messages.begin(), os_push());
  ByHand told(world());
  const Answer answer = told.say(messages);
  EXPECT_EQ(answer.attributes(ietf, type::pa_tnc_error).size(), 16U);
  EXPECT_EQ(answer.type, pbtnc::BatchType::result);
  EXPECT_EQ(told.verdict().evaluation, Evaluation::error);

  messages.push_back(wrong);
  ByHand ended(world());
  const Answer last = ended.say(messages);
  EXPECT_TRUE(last.closed);
  EXPECT_EQ(last.type, pbtnc::BatchType::close);
  ASSERT_EQ(last.errors.size(), 1U);
  EXPECT_TRUE(last.errors[0].fatal);
  EXPECT_EQ(last.errors[0].code, std::uint16_t(pbtnc::ErrorCode::local_error));
  EXPECT_TRUE(ended.logged("too many malformed messages"));
  while (ended.host.carry(ended.session)) {
  }
  EXPECT_EQ(ended.verdict().evaluation, Evaluation::error);
  EXPECT_NE(ended.verdict().recommendation, Recommendation::allow);
}

// Sixteen collectors of one subtype are heard, whatever an endpoint makes of their identifiers.
TEST_F(Violations, MoreCollectorsThanAnEndpointHasAreAnError) {
  ask("\"FWDEN\"");
  for (const std::uint16_t collectors : {std::uint16_t{16}, std::uint16_t{17}}) {
    std::vector<Pa> messages = {os_push()};
    for (std::uint16_t n = 2; n <= collectors; ++n) messages.push_back(os_message(n).add(ietf, type::testing, "x"));
    ByHand client(world());
    EXPECT_EQ(client.say(messages).type, pbtnc::BatchType::result);
    EXPECT_EQ(client.verdict().evaluation, collectors == 16 ? Evaluation::compliant : Evaluation::error);
  }
}

}  // namespace
}  // namespace gatehouse::test
