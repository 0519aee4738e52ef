#include <gtest/gtest.h>

#include <deque>
#include <filesystem>

#include "base/file.h"
#include "base/hex.h"
#include "wire/pbtnc/pbtnc.h"

namespace gatehouse::pbtnc {
namespace {

ByteVector hex(std::string_view text) {
  std::string digits(text);
  std::erase(digits, ' ');
  return from_hex(digits).value();
}
std::string text_hex(std::string_view text) { return to_hex(as_bytes(text)); }

// A message as hex, its length filled in.
ByteVector raw(bool noskip, std::uint32_t vendor, std::uint32_t type, std::string_view value) {
  Writer w;
  append_message(w, noskip, vendor, type, hex(value));
  return std::move(w).take();
}
template <class Append>
ByteVector made(Append&& append) {
  Writer w;
  append(w);
  return std::move(w).take();
}
ByteVector operator+(ByteVector a, const ByteVector& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
const ByteVector pa = raw(true, 0, 1, "00000000 00000001 0001 ffff 0100000011223344");
const ByteVector compliant = raw(true, 0, 2, "00000000");
const ByteVector allowed = raw(false, 0, 3, "00000001");

// Replaces bytes of a batch.
ByteVector patched(ByteVector bytes, std::size_t at, std::string_view with) {
  const ByteVector put = hex(with);
  std::copy(put.begin(), put.end(), bytes.begin() + std::ptrdiff_t(at));
  return bytes;
}

// Keeps the bytes, from which the messages borrow.
std::expected<Batch, Refusal> parse(ByteVector bytes, bool from_client) {
  static std::deque<ByteVector> kept;
  return parse_batch(kept.emplace_back(std::move(bytes)), from_client);
}

TEST(PbTnc, TheWorkedExampleIsWhatWeWriteAndRead) {
  const ByteVector cdata =
      hex("02000001 0000005e 00000000 00000006 0000001f 4163636570742d4c616e67756167653a20656e"
          "80000000 00000001 00000037 00000000 00000001 0001ffff 0100000011223344 0000000000000002 00000017 0025720000 "
          "44656269616e");
  EXPECT_EQ(batch(BatchType::cdata, false, made([&](Writer& w) {
                    append_language_preference(w, "en");
                    PaMessage m;
                    m.subtype = 1;
                    m.collector = 1;
                    m.validator = any;
                    const ByteVector body = hex("0100000011223344 0000000000000002 00000017 0025720000 44656269616e");
                    m.body = body;
                    append_pa(w, m);
                  })),
            cdata);
  const auto read = parse_batch(cdata, true);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->type, BatchType::cdata);
  ASSERT_EQ(read->messages.size(), 2U);
  EXPECT_EQ(languages(read->messages[0]), std::vector<std::string>{"en"});
  const PaMessage m = pa_message(read->messages[1]);
  EXPECT_EQ(m.collector, 1);
  EXPECT_EQ(m.validator, any);
  EXPECT_EQ(m.body.size(), 31U);

  const ByteVector result =
      hex("02800003 00000050 80000000 00000002 00000010 00000001 00000000 00000003 00000010 00000003"
          "00000000 00000007 00000028 00000015 495020666f7277617264696e6720656e61626c6564 02 656e");
  EXPECT_EQ(batch(BatchType::result, true, made([](Writer& w) {
                    append_assessment_result(w, 1);
                    append_access_recommendation(w, 3);
                    append_reason_string(w, {"IP forwarding enabled", "en"});
                  })),
            result);
  const auto verdict = parse_batch(result, false);
  ASSERT_TRUE(verdict);
  ASSERT_EQ(verdict->messages.size(), 3U);
  EXPECT_EQ(assessment_result(verdict->messages[0]), 1U);
  EXPECT_EQ(access_recommendation(verdict->messages[1]), 3);
  EXPECT_EQ(reason_string(verdict->messages[2]).text, "IP forwarding enabled");
  EXPECT_EQ(reason_string(verdict->messages[2]).language, "en");
}

TEST(PbTnc, RecordedBatchesAreReadAndWrittenToTheByte) {
  const std::filesystem::path interop = std::filesystem::path(GATEHOUSE_TEST_DATA) / "interop";
  std::size_t batches = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(interop)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".bin" || entry.path().parent_path().filename() != "batches") continue;
    const bool from_client = name.find("c2s") != std::string::npos;
    const ByteVector bytes = read_file(entry.path().string(), std::size_t(1) << 22).value();
    const auto parsed = parse_batch(bytes, Parsing{.from_client = from_client, .keep_unknown = true});
    ASSERT_TRUE(parsed) << entry.path();
    EXPECT_NE(name.find(pbtnc::name(parsed->type)), std::string::npos) << entry.path();
    const ByteVector messages = made([&](Writer& w) {
      for (const Message& m : parsed->messages) {
        if (m.is(vendor_ietf, type::pa))
          append_pa(w, pa_message(m));
        else if (m.is(vendor_ietf, type::reason_string))
          append_reason_string(w, reason_string(m));
        else
          append_message(w, m.noskip, m.vendor, m.type, m.value);
      }
    });
    EXPECT_EQ(batch(parsed->type, !from_client, messages), bytes) << entry.path();
    ++batches;
  }
  EXPECT_GT(batches, 100U);
}

struct Row {
  const char* what;
  ByteVector bytes;
  ErrorCode code;
  std::uint32_t offset;  // where the code has one
};
void refuses(const Row& row, const Parsing& how) {
  const auto parsed = parse_batch(row.bytes, how);
  ASSERT_FALSE(parsed) << row.what;
  EXPECT_EQ(parsed.error().code, row.code) << row.what;
  EXPECT_TRUE(parsed.error().fatal) << row.what;
  if (row.code == ErrorCode::invalid_parameter || row.code == ErrorCode::unsupported_mandatory_message) {
    EXPECT_EQ(parsed.error().offset, row.offset) << row.what << ": " << parsed.error().reason;
  }
  // The answer says so.
  const ByteVector answer =
      batch(BatchType::close, how.from_client, made([&](Writer& w) { append_error(w, parsed.error()); }));
  const auto read = parse_batch(answer, !how.from_client);
  ASSERT_TRUE(read) << row.what;
  const auto fatal = fatal_error(*read);
  ASSERT_TRUE(fatal) << row.what;
  EXPECT_EQ(fatal->code, std::uint16_t(row.code)) << row.what;
}

// Spec part 1a §7 from "batch octets" to "PB-Error length", what both sides refuse alike. The message that is wrong
// comes behind a good PB-PA, so m is 8 + 32.
TEST(PbTnc, FaultsOfBothDirectionsAreRefusedWithCodeAndOffset) {
  for (const bool from_client : {true, false}) {
    const BatchType kind = from_client ? BatchType::cdata : BatchType::sdata;
    const std::string d = from_client ? "00" : "80", t = from_client ? "01" : "02";
    const auto in = [&](const ByteVector& messages) { return batch(kind, !from_client, messages); };
    const auto behind = [&](const ByteVector& message) { return in(pa + message); };
    const std::uint32_t m = 8 + std::uint32_t(pa.size());
    const auto ip = ErrorCode::invalid_parameter;
    const std::string nul_in_host = text_hex(std::string("a\0b", 3));
    std::vector<Row> rows = {
        {"no octets", {}, ip, 0},
        {"7 octets", hex("02" + d + "00" + t + "000000"), ip, 0},
        {"version 1", hex("01" + d + "00" + t + "00000008"), ErrorCode::version_not_supported, 0},
        {"version 3", hex("03" + d + "00" + t + "00000008"), ErrorCode::version_not_supported, 0},
        {"D of the other side", hex("02" + std::string(from_client ? "80" : "00") + "00" + t + "00000008"), ip, 1},
        {"type 0", hex("02" + d + "000000000008"), ip, 3},
        {"type 7", hex("02" + d + "000700000008"), ip, 3},
        {"type 15", hex("02" + d + "000f00000008"), ip, 3},
        {"length above what came", hex("02" + d + "00" + t + "00000009"), ip, 4},
        {"length below what came", hex("02" + d + "00" + t + "0000000800"), ip, 4},
        {"length 0", hex("02" + d + "00" + t + "00000000"), ip, 4},
        {"1 octet behind the last message", behind(hex("80")), ip, m},
        {"11 octets behind the last message", behind(ByteVector(11)), ip, m},
        {"reserved vendor", behind(raw(false, 0xFFFFFF, 1, "")), ip, m + 1},
        {"reserved type", behind(raw(false, 0, 0xFFFFFFFF, "")), ip, m + 4},
        {"reserved type of a vendor", behind(raw(false, 0x902A, 0xFFFFFFFF, "")), ip, m + 4},
        {"message length 11", behind(patched(raw(false, 0x1234, 1, ""), 8, "0000000b")), ip, m + 8},
        {"message length past the batch", behind(patched(raw(false, 0x1234, 1, ""), 8, "0000000d")), ip, m + 8},
        {"message length 2³²−1", behind(patched(raw(false, 0x1234, 1, ""), 8, "ffffffff")), ip, m + 8},
        {"unknown vendor with NOSKIP", behind(raw(true, 0x1234, 5, "")), ErrorCode::unsupported_mandatory_message, m},
        {"unknown type with NOSKIP", behind(raw(true, 0, 8, "")), ErrorCode::unsupported_mandatory_message, m},
        {"Noskip-Test", behind(raw(true, vendor_ita, type::ita_noskip_test, "")),
         ErrorCode::unsupported_mandatory_message, m},
        {"TCG type 0 with NOSKIP", behind(raw(true, vendor_tcg, 0, "")), ErrorCode::unsupported_mandatory_message, m},
        {"experimental with NOSKIP", behind(raw(true, 0, 0, "")), ErrorCode::unsupported_mandatory_message, m},
        {"PB-PA without NOSKIP", behind(patched(pa, 0, "00")), ip, m},
        {"PB-Error without NOSKIP", behind(raw(false, 0, 5, "0000000000010000")), ip, m},
        {"language preference with NOSKIP", behind(raw(true, 0, 6, "")), ip, m},
        {"PDP referral with NOSKIP", behind(raw(true, vendor_tcg, 1, "0000559700000000 0000010f 61")), ip, m},
        {"mutual capability with NOSKIP", behind(raw(true, vendor_ita, 1, "80000000")), ip, m},
        {"PB-PA of 23", behind(raw(true, 0, 1, "0000000000000001 0001ff")), ip, m + 8},
        {"PB-Error of 19", behind(raw(true, 0, 5, "00000000000100")), ip, m + 8},
        {"PB-Error of 12", behind(raw(true, 0, 5, "")), ip, m + 8},
        {"PDP referral of 19", behind(raw(false, vendor_tcg, 1, "00005597000000")), ip, m + 8},
        {"kept connection with NOSKIP", behind(raw(true, vendor_gatehouse, 1, "01")), ip, m},
        {"kept connection of 12", behind(raw(false, vendor_gatehouse, 1, "")), ip, m + 8},
        {"mutual capability of 15", behind(raw(false, vendor_ita, 1, "800000")), ip, m + 8},
        {"PB-PA vendor reserved", behind(raw(true, 0, 1, "00ffffff 00000001 0001 ffff")), ip, m + 13},
        {"PB-PA subtype reserved", behind(raw(true, 0, 1, "00000000 ffffffff 0001 ffff")), ip, m + 16},
        {"language preference without prefix", behind(raw(false, 0, 6, text_hex("en"))), ip, m + 12},
        {"language preference with half a prefix", behind(raw(false, 0, 6, text_hex("Accept-Language"))), ip, m + 12},
        {"NUL in the language preference", behind(raw(false, 0, 6, text_hex("Accept-Language: e") + "00")), ip,
         m + 12 + 18},
        {"FQDN referral without a name", behind(raw(false, vendor_tcg, 1, "0000559700000000 0000010f")), ip, m + 8},
        {"FQDN referral without a port", behind(raw(false, vendor_tcg, 1, "0000559700000000 0000")), ip, m + 8},
        {"FQDN referral with a NUL", behind(raw(false, vendor_tcg, 1, "0000559700000000 0000010f" + nul_in_host)), ip,
         m + 12 + 12 + 1},
        {"IPv4 referral of 3", behind(raw(false, vendor_tcg, 1, "0000559700000001 0000010f c00002")), ip, m + 8},
        {"IPv4 referral of 5", behind(raw(false, vendor_tcg, 1, "0000559700000001 0000010f c000020107")), ip, m + 8},
        {"IPv6 referral of 15", behind(raw(false, vendor_tcg, 1, "0000559700000002 0000010f" + std::string(30, '0'))),
         ip, m + 8},
        {"1,025 messages", in([] {
           ByteVector all;
           for (int i = 0; i < 1025; ++i) all = std::move(all) + raw(false, 0x1234, 7, "");
           return all;
         }()),
         ErrorCode::local_error, 0},
    };
    for (const Row& row : rows) refuses(row, Parsing{.from_client = from_client});

    // A limit below the transport's.
    const ByteVector large = in(pa);
    refuses({"batch above the configured limit", large, ErrorCode::local_error, 0},
            Parsing{.from_client = from_client, .max_batch = large.size() - 1});
    EXPECT_TRUE(parse_batch(large, Parsing{.from_client = from_client, .max_batch = large.size()}));
    // The number that isn't too many.
    ByteVector many;
    for (int i = 0; i < 1024; ++i) many = std::move(many) + raw(false, 0x1234, 7, "");
    EXPECT_TRUE(parse_batch(in(many), from_client));
    // Nothing in front of the fault makes it good, nothing behind it either.
    EXPECT_FALSE(parse_batch(behind(raw(true, 0x1234, 5, "") + pa), from_client));
  }
}

TEST(PbTnc, WhatOnlyAServerSendsIsRefusedFromAClient) {
  const std::string text = "00000001 78 02 656e";
  for (const auto& [what, bytes] :
       {std::pair{"assessment result", compliant}, std::pair{"access recommendation", allowed},
        std::pair{"remediation", raw(false, 0, 4, "00000000 00000001")}, std::pair{"reason", raw(false, 0, 7, text)}}) {
    refuses(
        {what, batch(BatchType::cdata, false, pa + bytes), ErrorCode::invalid_parameter, 8 + std::uint32_t(pa.size())},
        Parsing{.from_client = true});
    EXPECT_TRUE(parse(batch(BatchType::sdata, true, pa + bytes), false)) << what;
  }
}

// What a client finds wrong in a server's results.
TEST(PbTnc, FaultsOfAServerAreRefusedWithCodeAndOffset) {
  const auto ip = ErrorCode::invalid_parameter;
  const auto in = [](const ByteVector& messages) { return batch(BatchType::result, true, messages); };
  const auto behind = [&](const ByteVector& message) { return in(compliant + message); };
  constexpr std::uint32_t m = 8 + 16;
  const std::vector<Row> rows = {
      {"no assessment result", in({}), ip, 0},
      {"a recommendation alone", in(allowed), ip, 0},
      {"two assessment results", in(compliant + compliant), ip, 0},
      {"two recommendations", in(compliant + allowed + allowed), ip, 0},
      {"non-fatal error in place of a result", in(raw(true, 0, 5, "0000000000010000 00000000")), ip, 0},
      {"assessment result without NOSKIP", in(patched(compliant, 0, "00")), ip, 8},
      {"assessment result of 15", in(raw(true, 0, 2, "000000")), ip, 8 + 8},
      {"assessment result of 17", in(raw(true, 0, 2, "0000000000")), ip, 8 + 8},
      {"assessment result 5", in(raw(true, 0, 2, "00000005")), ip, 8 + 12},
      {"recommendation with NOSKIP", behind(patched(allowed, 0, "80")), ip, m},
      {"recommendation of 17", behind(raw(false, 0, 3, "0000000100")), ip, m + 8},
      {"recommendation 0", behind(raw(false, 0, 3, "00000000")), ip, m + 14},
      {"recommendation 4", behind(raw(false, 0, 3, "00000004")), ip, m + 14},
      {"reason with NOSKIP", behind(raw(true, 0, 7, "00000001 78 00")), ip, m},
      {"reason of 16", behind(raw(false, 0, 7, "00000000")), ip, m + 8},
      {"reason past the message", behind(raw(false, 0, 7, "00000002 78")), ip, m + 12},
      {"reason without a language length", behind(raw(false, 0, 7, "00000001 78")), ip, m + 12 + 5},
      {"language past the message", behind(raw(false, 0, 7, "00000001 78 03 656e")), ip, m + 12 + 5},
      {"octets behind the language", behind(raw(false, 0, 7, "00000001 78 02 656e 00")), ip, m + 12 + 5},
      {"empty reason", behind(raw(false, 0, 7, "00000000 02 656e")), ip, m + 12},
      {"NUL in the reason", behind(raw(false, 0, 7, "00000002 7800 02 656e")), ip, m + 12 + 5},
      {"NUL in the language", behind(raw(false, 0, 7, "00000001 78 02 6500")), ip, m + 12 + 7},
      {"remediation with NOSKIP", behind(raw(true, 0, 4, "00000000 00000001 68")), ip, m},
      {"remediation of 19", behind(raw(false, 0, 4, "00000000 000000")), ip, m + 8},
      {"NUL in a remediation URI", behind(raw(false, 0, 4, "00000000 00000001 680068")), ip, m + 12 + 9},
      {"remediation string past the message", behind(raw(false, 0, 4, "00000000 00000002 00000004 78 00")), ip,
       m + 12 + 8},
      {"remediation string without a length", behind(raw(false, 0, 4, "00000000 00000002 000000")), ip, m + 12 + 8},
      {"octets behind a remediation string", behind(raw(false, 0, 4, "00000000 00000002 00000001 78 00 00")), ip,
       m + 12 + 13},
      {"NUL in a remediation string", behind(raw(false, 0, 4, "00000000 00000002 00000001 00 00")), ip, m + 12 + 12},
  };
  for (const Row& row : rows) refuses(row, Parsing{.from_client = false});
  for (const std::uint32_t value : {0U, 1U, 2U, 3U, 4U})
    EXPECT_TRUE(parse_batch(in(made([&](Writer& w) { append_assessment_result(w, value); })), false));
  for (const ByteVector& code :
       {raw(false, 0, 3, "00000001"), raw(false, 0, 3, "00000002"), raw(false, 0, 3, "00000003")})
    EXPECT_TRUE(parse_batch(behind(code), false));
}

// A server that fails after its verdict may say so in a RESULT batch: the error counts, not what is beside it.
TEST(PbTnc, FatalErrorIsFoundInAnyBatch) {
  const ByteVector error = made([](Writer& w) {
    append_error(w, {ErrorCode::unsupported_mandatory_message, 39, 0, {}});
  });
  for (const ByteVector& messages : {error, error + compliant + allowed, compliant + error}) {
    const auto read = parse(batch(BatchType::result, true, messages), false);
    ASSERT_TRUE(read);
    const auto fatal = fatal_error(*read);
    ASSERT_TRUE(fatal);
    EXPECT_EQ(description(*fatal), "Unsupported Mandatory Message at offset 39");
  }
  const auto without = parse(batch(BatchType::result, true, compliant), false);
  EXPECT_FALSE(fatal_error(*without));
}

// §6.2, §5.7, §5.8: our bytes, and both forms in use.
TEST(PbTnc, ErrorsAreWrittenAndReadInEachForm) {
  const auto close = [](const Refusal& refusal) {
    return to_hex(batch(BatchType::close, true, made([&](Writer& w) { append_error(w, refusal); })));
  };
  EXPECT_EQ(close({ErrorCode::version_not_supported, 0, 3, {}}),
            "028000060000002080000000000000050000001880000000"
            "0004000003020200");
  EXPECT_EQ(close({ErrorCode::invalid_parameter, 4, 0, {}}),
            "028000060000002080000000000000050000001880000000"
            "0001000000000004");
  EXPECT_EQ(close({ErrorCode::unexpected_batch_type, 4, 0, {}}),
            "028000060000001c80000000000000050000001480000000"
            "00000000");
  EXPECT_EQ(close({ErrorCode::local_error, 0, 0, {}}),
            "028000060000001c80000000000000050000001480000000"
            "00020000");
  EXPECT_EQ(close({ErrorCode::unsupported_mandatory_message, 8, 0, {}}),
            "028000060000002080000000000000050000001880000000"
            "0003000000000008");
  EXPECT_EQ(close({ErrorCode::invalid_parameter, 20, 0, {}, false}),
            "028000060000002080000000000000050000001800000000"
            "0001000000000014");

  struct Form {
    const char* value;
    bool fatal;
    const char* text;
  };
  const Form forms[] = {
      {"80000000 00000000", true, "Unexpected Batch Type"},
      {"80000000 00000000 00000000", true, "Unexpected Batch Type"},
      {"80000000 00010000 0000001f", true, "Invalid Parameter at offset 31"},
      {"00000000 00010000 0000001f", false, "Invalid Parameter at offset 31"},
      {"80000000 00010000", true, "Invalid Parameter"},
      {"80000000 00010000 0000001f00", true, "Invalid Parameter"},
      {"80000000 00020000", true, "Local Error"},
      {"80000000 00020000 00000000", true, "Local Error"},
      {"80000000 00030000 00000008", true, "Unsupported Mandatory Message at offset 8"},
      {"80000000 00040000 03020200", true, "Version Not Supported caused by version 3"},
      {"00000000 00050000", false, "code 5 of vendor 0"},
      {"8000902a 00010000 00000008", true, "code 1 of vendor 36906"},
      {"7f000000 00020000", false, "Local Error"},
  };
  for (const bool from_client : {true, false})
    for (const Form& form : forms) {
      const ByteVector bytes = batch(BatchType::close, !from_client, raw(true, 0, 5, form.value));
      const auto read = parse_batch(bytes, from_client);
      ASSERT_TRUE(read) << form.value;
      const PbError e = pb_error(read->messages[0]);
      EXPECT_EQ(e.fatal, form.fatal) << form.value;
      EXPECT_EQ(fatal_error(*read).has_value(), form.fatal) << form.value;
      EXPECT_EQ(description(e), form.text);
    }
}

TEST(PbTnc, UnknownMessagesAreSkippedAndKeptForATrace) {
  const ByteVector bytes = batch(BatchType::cdata, false,
                                 raw(false, 0, 0, "aabb") + raw(false, 0x1234, 9, "") + raw(false, vendor_tcg, 0, "") +
                                     raw(false, vendor_ita, type::ita_noskip_test, "") + pa + raw(false, 0, 8, ""));
  const auto read = parse_batch(bytes, true);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->messages.size(), 1U);
  EXPECT_TRUE(read->messages[0].is(vendor_ietf, type::pa));
  const auto all = parse_batch(bytes, Parsing{.from_client = true, .keep_unknown = true});
  ASSERT_TRUE(all);
  ASSERT_EQ(all->messages.size(), 6U);
  EXPECT_FALSE(all->messages[0].known);
  EXPECT_TRUE(all->messages[4].known);
  EXPECT_EQ(message_name(all->messages[0].vendor, all->messages[0].type), "IETF/PB-Experimental");
  EXPECT_EQ(message_name(all->messages[1].vendor, all->messages[1].type), "0x001234/0x00000009");
}

TEST(PbTnc, ReservedBitsAreIgnored) {
  const auto read = parse(
      patched(patched(batch(BatchType::cdata, false, patched(pa, 0, "ff") + raw(false, 0, 6, "")), 1, "7fff"), 3, "f1"),
      true);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->type, BatchType::cdata);
  const auto access = parse(batch(BatchType::result, true, compliant + raw(false, 0, 3, "ffff0002")), false);
  ASSERT_TRUE(access);
  EXPECT_EQ(access_recommendation(access->messages[1]), 2);
}

TEST(PbTnc, RemediationComesInThreeForms) {
  const ByteVector bytes =
      batch(BatchType::result, true, compliant + made([](Writer& w) {
                                       append_remediation_uri(w, "https://example.org/fix");
                                       append_remediation_string(w, "Aktualisieren", "de");
                                       append_remediation(w, 0x902A, 2, as_bytes(std::string_view("\0x", 2)));
                                       append_remediation(w, 0, 77, {});
                                     }));
  const auto read = parse_batch(bytes, false);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->messages.size(), 5U);
  EXPECT_EQ(remediation(read->messages[1]).uri, "https://example.org/fix");
  EXPECT_EQ(remediation(read->messages[2]).text, "Aktualisieren");
  EXPECT_EQ(remediation(read->messages[2]).language, "de");
  const Remediation opaque = remediation(read->messages[3]);
  EXPECT_EQ(opaque.vendor, 0x902AU);
  EXPECT_EQ(opaque.type, 2U);
  EXPECT_EQ(opaque.parameters.size(), 2U);
  EXPECT_TRUE(opaque.text.empty());
  EXPECT_EQ(remediation(read->messages[4]).type, 77U);
}

TEST(PbTnc, ReferralsNameTheServer) {
  const ByteVector fqdn =
      made([](Writer& w) { append_pdp_referral(w, PdpReferral::Kind::fqdn, 271, as_bytes("aaa.strongswan.org")); });
  EXPECT_EQ(to_hex(fqdn),
            "0000559700000001"
            "0000002a00005597"
            "000000000000010f"
            "6161612e7374726f6e677377616e2e6f7267");
  const ByteVector four = hex("c0000207"), six = hex("20010db8000000000000000000000007");
  const auto read = parse(batch(BatchType::sdata, true, fqdn + made([&](Writer& w) {
                                                          append_pdp_referral(w, PdpReferral::Kind::ipv4, 1, four);
                                                          append_pdp_referral(w, PdpReferral::Kind::ipv6, 65535, six);
                                                        }) + raw(false, vendor_tcg, 1, "00001234 00000000")),
                          false);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->messages.size(), 4U);
  const PdpReferral name = pdp_referral(read->messages[0]);
  EXPECT_TRUE(name.is(PdpReferral::Kind::fqdn));
  EXPECT_EQ(name.port, 271);
  EXPECT_EQ(as_text(name.host), "aaa.strongswan.org");
  EXPECT_TRUE(pdp_referral(read->messages[1]).is(PdpReferral::Kind::ipv4));
  EXPECT_EQ(to_vector(pdp_referral(read->messages[1]).host), four);
  EXPECT_TRUE(pdp_referral(read->messages[2]).is(PdpReferral::Kind::ipv6));
  EXPECT_EQ(to_vector(pdp_referral(read->messages[2]).host), six);
  EXPECT_EQ(pdp_referral(read->messages[2]).port, 65535);
  EXPECT_EQ(pdp_referral(read->messages[3]).vendor, 0x1234U);
}

TEST(PbTnc, MutualCapabilityIsRead) {
  const ByteVector m = made([](Writer& w) { append_mutual_capability(w, mutual_half_duplex); });
  EXPECT_EQ(to_hex(m), "0000902a000000010000001080000000");
  const auto read = parse(batch(BatchType::cdata, false, m + pa), true);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->messages.size(), 2U);
  EXPECT_EQ(mutual_capability(read->messages[0]), mutual_half_duplex);
}

TEST(PbTnc, KeptConnectionIsReadInTheVersionThatWeKnow) {
  const ByteVector m = made([](Writer& w) { append_kept_connection(w); });
  EXPECT_EQ(to_hex(m), "00fffffe000000010000000d01");
  const ByteVector later =
      made([](Writer& w) { append_message(w, false, vendor_gatehouse, 1, from_hex("02ab").value()); });
  const auto read = parse(batch(BatchType::cdata, false, m + later), true);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->messages.size(), 2U);
  EXPECT_TRUE(kept_connection(read->messages[0]));
  EXPECT_FALSE(kept_connection(read->messages[1]));
  EXPECT_EQ(message_name(vendor_gatehouse, 1), "Gatehouse/PB-Kept-Connection");
}

TEST(PbTnc, LanguagesAreOrderedByTheirWeight) {
  struct Case {
    const char* list;
    std::vector<std::string> tags;
  };
  const Case cases[] = {
      {"Accept-Language: en", {"en"}},
      {"accept-language:EN-gb", {"en-gb"}},
      {"ACCEPT-LANGUAGE: ru, pl  , de", {"ru", "pl", "de"}},
      {"Accept-Language: da, en-gb;q=0.8, en;q=0.7", {"da", "en-gb", "en"}},
      {"Accept-Language: en;q=0.7, da, en-gb;q=0.85", {"da", "en-gb", "en"}},
      {"Accept-Language: fr;q=0.5,de;q=0.5,en;q=0.500", {"fr", "de", "en"}},
      {"Accept-Language: de;q=0, en;q=0.001, *;q=0.01", {"*", "en"}},
      {"Accept-Language: de ; q = 1.000 ,\ten;Q=0.9", {"de", "en"}},
      {"Accept-Language: zh-hant-tw", {"zh-hant-tw"}},
      {"Accept-Language: ,en,,", {"en"}},
      {"Accept-Language: ", {}},
      {"Accept-Language:", {}},
      {"", {}},
  };
  for (const bool from_client : {true, false})
    for (const Case& c : cases) {
      const ByteVector bytes =
          batch(from_client ? BatchType::cdata : BatchType::sdata, !from_client, raw(false, 0, 6, text_hex(c.list)));
      const auto read = parse_batch(bytes, from_client);
      ASSERT_TRUE(read) << c.list;
      EXPECT_TRUE(read->remarks.empty()) << c.list;
      ASSERT_EQ(read->messages.size(), 1U) << c.list;
      EXPECT_EQ(languages(read->messages[0]), c.tags) << c.list;
    }
  // Of a longer list the first 16 count, whatever weights come behind them.
  std::string many = "Accept-Language: ";
  for (char c = 'a'; c < 'a' + 20; ++c)
    many += std::string(c == 'a' ? "" : ",") + "x" + c + (c < 'a' + 16 ? ";q=0.5" : "");
  const ByteVector bytes = batch(BatchType::cdata, false, raw(false, 0, 6, text_hex(many)));
  const std::vector<std::string> tags = languages(parse_batch(bytes, true)->messages[0]);
  ASSERT_EQ(tags.size(), 16U);
  EXPECT_EQ(tags.front(), "xa");
  EXPECT_EQ(tags.back(), "xp");
  EXPECT_EQ(to_hex(made([](Writer& w) { append_language_preference(w, ""); })), "00000000000000060000000c");
}

TEST(PbTnc, MalformedLanguageListsAreRemarkedAndIgnored) {
  struct Case {
    std::string list;
    std::uint32_t at;  // behind "Accept-Language:"
  };
  const Case cases[] = {{" e1", 1},  {" en;q=2", 1},       {" en;q=0.1234", 1}, {" en;q=1.001", 1},   {" en;q", 1},
                        {" en;", 1}, {" en;x=1", 1},       {" de, en us", 5},   {" toolongtag", 1},   {" en-", 1},
                        {" -en", 1}, {" (comment) en", 1}, {" de,\xc3\xa4", 4}, {" en;q=0.5;q=1", 1}, {" en\r\n", 1}};
  for (const Case& c : cases) {
    const ByteVector preference = raw(false, 0, 6, text_hex("Accept-Language:" + c.list));
    const ByteVector bytes = batch(BatchType::cdata, false, preference + pa);
    const auto read = parse_batch(bytes, true);
    ASSERT_TRUE(read) << c.list;
    ASSERT_EQ(read->messages.size(), 1U) << c.list;
    EXPECT_TRUE(read->messages[0].is(vendor_ietf, type::pa));
    ASSERT_EQ(read->remarks.size(), 1U) << c.list;
    EXPECT_FALSE(read->remarks[0].fatal);
    EXPECT_EQ(read->remarks[0].code, ErrorCode::invalid_parameter);
    EXPECT_EQ(read->remarks[0].offset, 8 + 12 + 16 + c.at) << c.list;
    const auto answer =
        parse(batch(BatchType::sdata, true, made([&](Writer& w) { append_error(w, read->remarks[0]); })), false);
    EXPECT_FALSE(pb_error(answer->messages[0]).fatal);
    EXPECT_FALSE(fatal_error(*answer));
  }
  const auto of_size = [](std::size_t size) {
    return batch(BatchType::cdata, false,
                 raw(false, 0, 6, text_hex("Accept-Language: en" + std::string(size - 19, ','))));
  };
  EXPECT_TRUE(parse(of_size(1024), true)->remarks.empty());
  const auto longer = parse(of_size(1025), true);
  ASSERT_TRUE(longer);
  ASSERT_EQ(longer->remarks.size(), 1U);
  EXPECT_EQ(longer->remarks[0].offset, 8U + 12U);
  // What answers one batch is bounded.
  ByteVector all;
  for (int i = 0; i < 500; ++i) all = std::move(all) + raw(false, 0, 6, text_hex("Accept-Language: ?"));
  EXPECT_EQ(parse(batch(BatchType::cdata, false, all), true)->remarks.size(), max_remarks);
}

TEST(PbTnc, LanguageIsChosenByPreference) {
  constexpr std::string_view available[] = {"en", "de", "zh-Hant"};
  const auto chosen = [&](std::vector<std::string> preferred) { return choose_language(preferred, available); };
  EXPECT_EQ(chosen({}), "en");
  EXPECT_EQ(chosen({"fr"}), "en");
  EXPECT_EQ(chosen({"fr", "de-at"}), "de");
  EXPECT_EQ(chosen({"de", "en"}), "de");
  EXPECT_EQ(chosen({"zh-hant-tw"}), "zh-Hant");
  EXPECT_EQ(chosen({"zh"}), "en");
  EXPECT_EQ(chosen({"fr", "*", "de"}), "en");
}

TEST(PbTnc, EveryTruncationAndBitFlipEndsInAValueOrARefusal) {
  const ByteVector bytes =
      batch(BatchType::result, true, pa + compliant + allowed + made([](Writer& w) {
                                       append_reason_string(w, {"reason", "en"});
                                       append_remediation_string(w, "do", "en");
                                       append_remediation_uri(w, "u:x");
                                       append_language_preference(w, "en;q=0.5");
                                       append_pdp_referral(w, PdpReferral::Kind::fqdn, 271, as_bytes("h"));
                                       append_mutual_capability(w, 1);
                                       append_kept_connection(w);
                                       append_error(w, {ErrorCode::invalid_parameter, 3, 0, {}, false});
                                     }));
  ASSERT_TRUE(parse_batch(bytes, false));
  for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(parse_batch(Bytes(bytes).first(n), false)) << n;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    ByteVector flipped = bytes;
    flipped[bit / 8] ^= std::byte(1U << (bit % 8));
    const auto read = parse_batch(flipped, false);
    if (!read) {
      EXPECT_LE(read.error().offset, bytes.size());
      continue;
    }
    for (const Message& m : read->messages) {
      EXPECT_LE(m.value_offset() + m.value.size(), bytes.size());
      if (m.is(vendor_ietf, type::pa)) {
        EXPECT_LT(pa_message(m).body.size(), bytes.size());
      }
      if (m.is(vendor_ietf, type::reason_string)) {
        EXPECT_LT(reason_string(m).text.size(), bytes.size());
      }
      if (m.is(vendor_ietf, type::remediation_parameters)) {
        EXPECT_LT(remediation(m).parameters.size(), bytes.size());
      }
      if (m.is(vendor_tcg, type::tcg_pdp_referral)) {
        EXPECT_LT(pdp_referral(m).host.size(), bytes.size());
      }
    }
  }
}

}  // namespace
}  // namespace gatehouse::pbtnc
