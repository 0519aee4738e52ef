// The raw-evidence extension against the tables of docs/formats/raw-evidence.md.
#include "wire/pts/raw_evidence.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>

#include "base/file.h"
#include "base/hex.h"
#include "wire/patnc/patnc.h"

using namespace gatehouse;
namespace raw = pts::raw;

namespace {

constexpr std::size_t base = patnc::attribute_header_size;

ByteVector hex(std::string_view text) {
  std::string digits;
  for (const char c : text)
    if (c != ' ') digits += c;
  return from_hex(digits).value();
}

// The offset of the error; empty: it parses.
template <class Parse>
std::optional<std::size_t> offset(Parse&& parse, Bytes value) {
  Reader r(value, "test", base);
  const auto parsed = parse(r);
  if (parsed) return std::nullopt;
  EXPECT_EQ(parsed.error().fault, Fault::malformed);
  return parsed.error().offset - base;
}

template <class Stream>
struct Streamed {
  ByteVector evidence;
  std::optional<Error> error;
  Stream stream{base};
};
template <class Stream>
Streamed<Stream> stream(Bytes value, std::size_t piece) {
  Streamed<Stream> out;
  for (std::size_t at = 0; at < value.size(); at += piece) {
    const auto evidence = out.stream.feed(value.subspan(at, std::min(piece, value.size() - at)));
    if (!evidence) {
      out.error = evidence.error();
      return out;
    }
    out.evidence.insert(out.evidence.end(), evidence->begin(), evidence->end());
  }
  if (const auto end = out.stream.end(); !end) out.error = end.error();
  return out;
}
template <class Stream>
void expect_stream_error(std::string_view value, std::size_t at) {
  const ByteVector bytes = hex(value);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{100}}) {
    const auto got = stream<Stream>(bytes, piece);
    ASSERT_TRUE(got.error) << value;
    EXPECT_EQ(got.error->offset, base + at) << value;
  }
}

ByteVector file(const char* name) {
  return read_file(std::string(GATEHOUSE_TEST_DATA "/interop/evidence/base/") + name, 1 << 24).value();
}

}  // namespace

TEST(RawEvidence, capabilities) {
  Writer w;
  raw::append_capabilities(
      w, {1, 1, raw::part_firmware_log | raw::part_ima_list | raw::part_quote | raw::part_incremental});
  EXPECT_EQ(to_hex(w.view()), "0101000f");
  const ByteVector later = hex("0203 fff5 00000000");
  Reader r(later, "test", base);
  const auto parsed = raw::parse_capabilities(r);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->parts, raw::part_firmware_log | raw::part_quote);  // unknown bits and later fields are ignored
  EXPECT_FALSE(parsed->speaks(raw::version));
  EXPECT_TRUE(parsed->speaks(2));
  EXPECT_EQ(offset(raw::parse_capabilities, hex("010100")), 0U);
  EXPECT_EQ(offset(raw::parse_capabilities, hex("00010001")), 0U);
  EXPECT_EQ(offset(raw::parse_capabilities, hex("02010001")), 0U);
}

TEST(RawEvidence, request_for_everything_and_for_what_follows) {
  Writer whole;
  raw::append_request(whole, {raw::part_firmware_log | raw::part_ima_list | raw::part_quote, {}});
  EXPECT_EQ(to_hex(whole.view()),
            "01000007"
            "00000000"
            "00000000"
            "0000000000000000");
  Writer rest;
  raw::append_request(rest, {raw::part_ima_list | raw::part_quote, raw::Position{275, 1, 1'733}});
  EXPECT_EQ(to_hex(rest.view()),
            "0100000e"
            "00000113"
            "00000001"
            "00000000000006c5");
  Reader first(whole.view(), "test"), second(rest.view(), "test");
  const auto all = raw::parse_request(first), some = raw::parse_request(second);
  ASSERT_TRUE(all && some);
  EXPECT_EQ(all->parts, 7);
  EXPECT_FALSE(all->known);
  EXPECT_EQ(some->parts, 6);
  EXPECT_EQ(some->known, (raw::Position{275, 1, 1'733}));

  for (std::size_t size = 0; size < 20; ++size) EXPECT_EQ(offset(raw::parse_request, rest.view().first(size)), 0U);
  EXPECT_EQ(offset(raw::parse_request, hex("0100000e 00000113 00000001 00000000000006c5 00")), 0U);
  EXPECT_EQ(offset(raw::parse_request, hex("0200000e 00000113 00000001 00000000000006c5")), 0U);
  EXPECT_EQ(offset(raw::parse_request, hex("01000000 00000000 00000000 0000000000000000")), 2U);
  EXPECT_EQ(offset(raw::parse_request, hex("0100fff0 00000000 00000000 0000000000000000")), 2U);
  EXPECT_EQ(offset(raw::parse_request, hex("0100000c 00000113 00000001 00000000000006c5")), 2U);
  EXPECT_EQ(offset(raw::parse_request, hex("01000006 00000113 00000001 00000000000006c5")), 4U);
  EXPECT_EQ(offset(raw::parse_request, hex("01ff0001 00000000 00000000 0000000000000000")), std::nullopt);  // reserved
}

TEST(RawEvidence, firmware_log_of_a_recording_from_any_pieces) {
  const ByteVector log = file("binary_bios_measurements");
  Writer w;
  raw::append_firmware_log_head(w);
  w.put_bytes(log);
  EXPECT_EQ(to_hex(w.view().first(4)), "01000000");
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{3}, std::size_t{4}, std::size_t{5}, std::size_t{1'000}, w.size()}) {
    const auto got = stream<raw::FirmwareLogStream>(w.view(), piece);
    EXPECT_FALSE(got.error);
    EXPECT_TRUE(equal(got.evidence, log)) << piece;
    EXPECT_EQ(got.stream.evidence_bytes(), log.size());
  }
  expect_stream_error<raw::FirmwareLogStream>("010000", 0);
  expect_stream_error<raw::FirmwareLogStream>("02000000 00", 0);
  expect_stream_error<raw::FirmwareLogStream>("01000000", 4);
  EXPECT_EQ(stream<raw::FirmwareLogStream>({}, 1).error->offset, base);
}

TEST(RawEvidence, ima_list_of_a_recording_from_any_pieces) {
  const ByteVector list = file("binary_runtime_measurements");
  Writer w;
  raw::append_ima_list_head(w, {raw::Form::binary, 0});
  w.put_bytes(list);
  EXPECT_EQ(to_hex(w.view().first(12)), "010000000000000000000000");
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{11}, std::size_t{12}, std::size_t{13}, std::size_t{32'698}, w.size()}) {
    const auto got = stream<raw::ImaListStream>(w.view(), piece);
    EXPECT_FALSE(got.error);
    EXPECT_TRUE(equal(got.evidence, list)) << piece;
    ASSERT_TRUE(got.stream.head());
    EXPECT_EQ(got.stream.head()->form, raw::Form::binary);
  }
  Writer rest;
  raw::append_ima_list_head(rest, {raw::Form::ascii, 1'733});
  const auto nothing_new = stream<raw::ImaListStream>(rest.view(), 5);
  EXPECT_FALSE(nothing_new.error);
  EXPECT_EQ(nothing_new.stream.head()->first, 1'733U);
  EXPECT_EQ(nothing_new.stream.head()->form, raw::Form::ascii);
  expect_stream_error<raw::ImaListStream>("0100000000000000000000", 0);
  expect_stream_error<raw::ImaListStream>("030000000000000000000000 00", 0);
  expect_stream_error<raw::ImaListStream>("010200000000000000000000 00", 1);
  expect_stream_error<raw::ImaListStream>("010000000000000000000000", 12);
}

TEST(RawEvidence, quote_of_a_recording) {
  const ByteVector text = read_file(GATEHOUSE_TEST_DATA "/interop/sasl-ecc/facts.json", 1 << 20).value();
  const auto facts = boost::json::parse(as_text(text)).as_object();
  const ByteVector attest = from_hex(std::string_view(facts.at("tpms_attest").as_string())).value();
  const ByteVector signature = from_hex(std::string_view(facts.at("tpmt_signature").as_string())).value();
  const ByteVector area(90, std::byte{0x23});
  Writer w;
  raw::append_quote(w, {attest, signature, area});
  EXPECT_EQ(w.size(), 8 + attest.size() + signature.size() + area.size());
  EXPECT_EQ(to_hex(w.view().first(8)),
            "01000091"
            "ff544347");
  Reader r(w.view(), "test");
  const auto parsed = raw::parse_quote(r);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(equal(parsed->attest, attest));
  EXPECT_TRUE(equal(parsed->signature, signature));
  EXPECT_TRUE(equal(parsed->public_area, area));
  for (std::size_t size = 0; size < w.size(); ++size)
    EXPECT_TRUE(offset(raw::parse_quote, w.view().first(size))) << size;
}

TEST(RawEvidence, quote_errors_point_at_the_mistake) {
  EXPECT_EQ(offset(raw::parse_quote, hex("0100 0001 aa 0001 bb 0001 cc")), std::nullopt);
  EXPECT_EQ(offset(raw::parse_quote, hex("0100 0001 aa 0001")), 0U);
  EXPECT_EQ(offset(raw::parse_quote, hex("0200 0001 aa 0001 bb 0001 cc")), 0U);
  EXPECT_EQ(offset(raw::parse_quote, hex("0100 0000 0001 bb 0001 cc")), 2U);
  EXPECT_EQ(offset(raw::parse_quote, hex("0100 0009 aa 0001 bb 0001 cc")), 2U);
  EXPECT_EQ(offset(raw::parse_quote, hex("0100 0001 aa 0000 0001 cc")), 5U);
  EXPECT_EQ(offset(raw::parse_quote, hex("0100 0001 aa 0001 bb 0002 cc")), 8U);
  EXPECT_EQ(offset(raw::parse_quote, hex("0100 0001 aa 0001 bb 0001 cc dd")), 11U);
}

TEST(RawEvidence, unavailable_parts) {
  Writer w;
  raw::append_unavailable_error(w, raw::default_vendor, raw::part_ima_list);
  EXPECT_EQ(to_hex(w.view()),
            "00fffffe"
            "00000001"
            "00020000");
  Reader r(w.view(), "test");
  const auto error = patnc::parse_error(r);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->vendor, raw::default_vendor);
  Reader information(error->information, "test");
  EXPECT_EQ(raw::parse_unavailable_information(information).value(), raw::part_ima_list);
  EXPECT_EQ(offset(raw::parse_unavailable_information, hex("000200")), 0U);
}

// Who doesn't know the extension skips it: unknown vendor, NOSKIP clear.
TEST(RawEvidence, attributes_are_skipped_by_who_does_not_know_them) {
  Writer value;
  raw::append_capabilities(value, {});
  patnc::Builder out(1000, 1);
  ASSERT_TRUE(out.add(0, patnc::vendor_tcg, 0x02000000, hex("0000000e")));
  ASSERT_TRUE(out.add(0, raw::default_vendor, raw::type::capabilities, value.view()));
  const auto messages = out.take();
  const auto parsed = patnc::parse_message(
      messages.at(0), [](std::uint32_t vendor, std::uint32_t) { return vendor == patnc::vendor_tcg; });
  ASSERT_TRUE(parsed && !parsed->refusal);
  EXPECT_EQ(parsed->attributes.size(), 1U);
}

TEST(RawEvidence, vendors_and_names) {
  EXPECT_TRUE(raw::is_private_vendor(raw::default_vendor));
  EXPECT_TRUE(raw::is_private_vendor(32'473));
  for (const std::uint32_t vendor : {0U, 0x005597U, 0x00902AU, 0xFFFFFFU, 0x01000000U})
    EXPECT_FALSE(raw::is_private_vendor(vendor)) << vendor;
  EXPECT_EQ(raw::attribute_name(raw::type::ima_list), "Gatehouse/Raw IMA List");
  EXPECT_EQ(raw::attribute_name(0), "Gatehouse/0");
  EXPECT_EQ(raw::attribute_name(6), "Gatehouse/6");
}
