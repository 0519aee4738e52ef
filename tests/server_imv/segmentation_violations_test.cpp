// What the server answers to broken contracts and segments (spec part 1b §9.4), row by row and byte for byte. The rules
// of the receiver itself are tested with the codec; here is what an endpoint gets to hear, and what becomes of its
// assessment.
#include "tests/server_imv/support.h"
#include "wire/patnc/segmentation.h"

namespace gatehouse::test {
namespace {

using SegmentViolations = Imvs;

constexpr std::uint8_t more = patnc::more_segments, first = patnc::first_segment, both = more | first;
constexpr std::uint32_t id = 7;

ByteVector hex(std::string digits) {
  std::erase(digits, ' ');
  return from_hex(digits).value();
}
Pa envelope(std::uint8_t flags, const std::string& segment, std::uint32_t transfer = id) {
  Writer w;
  patnc::append_envelope(w, {flags, transfer, hex(segment)});
  return os_message().add(tcg, type::segment_envelope, w.view());
}
// An error about the message, or about the base attribute of the transfer.
std::string error(std::uint32_t code, bool about_base, const std::string& information) {
  return "00000000" + std::string("0000000") + std::to_string(code) +
         (about_base ? "ffffffff00000007" : "0100000000000005") + information;
}
std::string invalid(std::size_t offset, bool about_base) {
  Writer w;
  patnc::append_u32(w, std::uint32_t(offset));
  return error(1, about_base, to_hex(w.view()));
}

struct Row {
  const char* violation;
  std::vector<Pa> before;
  Pa last;
  std::string error;               // empty: none
  std::optional<bool> next;        // Next Segment: with C or without
  bool fatal = true;               // the item can't be judged
};

TEST_F(SegmentViolations, AreAnsweredByteForByte) {
  ask("\"PCKGS\"");
  // Installed Packages of 32 octets: the header, 4 of the count, 5 and 2, 7 and 2.
  const std::string head = "00000000 00000007 00000020", one = "00000002 0474657374 0131", two = "06736563 6f6e64 0132";
  const std::string whole = head + one + two, beginning = head + one;
  const auto contract = [](std::uint32_t kind, const std::string& value) {
    return os_message().add(tcg, kind, hex(value));
  };
  const std::string nul = "00000000 00000007 00000017 00000001 0474650074 0131";
  const Row rows[] = {
      {"Contract Request of 7 octets", {}, contract(type::contract_request, "ffffffff 000000"), invalid(20, false), {}},
      {"Contract Response of 7 octets", {}, contract(type::contract_response, "ffffffff 000000"), invalid(20, false), {}},
      {"Contract Request with a segment size of 11", {}, contract(type::contract_request, "ffffffff 0000000b"),
       invalid(24, false), {}},
      {"Contract Response with a segment size of 11", {}, contract(type::contract_response, "ffffffff 0000000b"),
       invalid(24, false), {}},
      {"envelope of 3 octets", {}, os_message().add(tcg, type::segment_envelope, hex("c00000")), invalid(20, false), {}},
      {"empty segment", {}, envelope(both, ""), invalid(24, false), true},
      {"S with an active id", {envelope(both, beginning)}, envelope(both, beginning), invalid(20, false), true},
      {"no S, unknown id", {}, envelope(more, two), "", true, false},
      {"no S, unknown id, last", {}, envelope(0, two), "", true, false},
      {"first segment below a header", {}, envelope(both, "00000000 00000007 000000"), invalid(0, true), true},
      {"base length below its header", {}, envelope(both, "00000000 00000007 0000000b"), invalid(8, true), true},
      {"base length above the cap", {}, envelope(both, "00000000 00000007 00800001"), "", true},
      {"reserved base vendor", {}, envelope(both, "00ffffff 00000007 00000020"), invalid(1, true), true},
      {"reserved base type", {}, envelope(both, "00000000 ffffffff 00000020"), invalid(4, true), true},
      {"base attribute unknown", {}, envelope(both, "00000000 00000063 00000020"), "", true, false},
      {"base attribute unknown, NOSKIP", {}, envelope(both, "80000000 00000063 00000020"),
       error(3, true, "8000000000000063"), true, false},
      {"contract inside a segment", {}, envelope(both, "00005597 00000021 00000020"), invalid(12, true), true},
      {"Next Segment inside a segment", {}, envelope(both, "00005597 00000024 00000020"), invalid(12, true), true},
      {"single segment, incomplete", {}, envelope(first, beginning), invalid(8, true), {}},
      {"last segment, incomplete", {envelope(both, beginning)}, envelope(0, "06736563 6f6e64 01"), invalid(8, true), {}},
      {"last segment, too long", {envelope(both, beginning)}, envelope(0, two + "00"), invalid(8, true), {}},
      {"too long before the last", {envelope(both, beginning)}, envelope(more, two + "00"), invalid(8, true), true},
      {"value invalid", {}, envelope(first, nul), invalid(12 + 7, true), {}},
      {"value invalid before the last",
       {},
       envelope(both, "00000000 00000007 00000018 00000001 0474650074 0131"),
       invalid(12 + 7, true),
       true},
      {"Next Segment of 3 octets", {}, os_message().add(tcg, type::next_segment, hex("000000")), invalid(20, false), {}},
      {"Next Segment for nothing", {}, os_message().add(tcg, type::next_segment, hex("00000007")), "", {}, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.violation);
    ByHand client(world());
    ASSERT_NE(client.say({os_push()}).attribute(tcg, type::contract_request), nullptr);
    for (const Pa& message : row.before) {
      const Answer next = client.say({message});
      ASSERT_NE(next.attribute(tcg, type::next_segment), nullptr);
      EXPECT_EQ(to_hex(next.attribute(tcg, type::next_segment)->value), "00000007");
    }
    const Answer answer = client.say({row.last});
    const auto errors = answer.attributes(ietf, type::pa_tnc_error);
    ASSERT_EQ(errors.size(), row.error.empty() ? 0U : 1U);
    if (!row.error.empty()) {
      EXPECT_EQ(to_hex(errors[0]->value), row.error);
    }
    const auto next = answer.attributes(tcg, type::next_segment);
    ASSERT_EQ(next.size(), row.next ? 1U : 0U);
    if (row.next) {
      EXPECT_EQ(to_hex(next[0]->value), *row.next ? "80000007" : "00000007");
    }
    // What isn't fatal leaves the list to come.
    if (!row.fatal && answer.type == pbtnc::BatchType::sdata) {
      EXPECT_EQ(client.say({envelope(first, whole)}).type, pbtnc::BatchType::result);
      EXPECT_EQ(item(client.verdict(), "PCKGS").evaluation, Evaluation::compliant);
      continue;
    }
    EXPECT_TRUE(row.fatal);
    EXPECT_EQ(client.until_result(answer).type, pbtnc::BatchType::result);
    EXPECT_EQ(item(client.verdict(), "PCKGS").evaluation, Evaluation::error);
  }
}

TEST_F(SegmentViolations, ContractsThatAreOddAreAnswered) {
  ask("\"PCKGS\"");
  const std::pair<std::string, std::string> rows[] = {
      {"ffffffff 00007fba 00", "ffffffff00007fba"},    // an octet more
      {"00000064 000000c8", "0000006400000064"},       // segments longer than messages may be
      {"ffffffff ffffffff", "ffffffffffffffff"},       // no segments at all
      {"ffffffff 00ffffff", "ffffffff0000ffba"},       // larger than what we send: 65,466
  };
  for (const auto& [request, response] : rows) {
    ByHand client(world());
    const Answer answer = client.say({os_push(), os_message().add(tcg, type::contract_request, hex(request))});
    ASSERT_NE(answer.attribute(tcg, type::contract_response), nullptr) << request;
    EXPECT_EQ(to_hex(answer.attribute(tcg, type::contract_response)->value), response);
    // Larger than what we asked for: ours stays, and the list is taken.
    EXPECT_TRUE(client.say({os_message().add(tcg, type::contract_response, hex("ffffffff 00ffffff"))})
                    .attributes(ietf, type::pa_tnc_error)
                    .empty());
    EXPECT_EQ(client.say({os_message().add(ietf, type::installed_packages, packages({{"test", "1"}}))}).access, 1U);
  }
}

// Before the server has asked for a contract, nobody may send segments.
TEST_F(SegmentViolations, WithoutAContractAreCancelled) {
  ask("\"FWDEN\"");
  ByHand client(world());
  const Answer answer = client.say({os_message()
                                        .add(ietf, type::product_information, product_information("Debian"))
                                        .add(tcg, type::contract_response, hex("ffffffff 00000064")),
                                    envelope(both, "00000000 00000007 00000020 00000002 0474657374 0131")});
  const auto next = answer.attributes(tcg, type::next_segment);
  ASSERT_EQ(next.size(), 1U);
  EXPECT_EQ(to_hex(next[0]->value), "80000007");
  EXPECT_TRUE(answer.attributes(ietf, type::pa_tnc_error).empty());
  EXPECT_TRUE(client.logged("a Segmentation Contract Response that wasn't asked for"));
  EXPECT_EQ(client.say({os_push()}).access, 1U);
}

}  // namespace
}  // namespace gatehouse::test
