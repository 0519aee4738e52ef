// What a cursor accepts and refuses of a firmware log, byte by byte (spec part 2 §6.1, contract C1-C3, C17, C18).
#include <gtest/gtest.h>

#include "base/hex.h"
#include "tests/wire_eventlog/support.h"

namespace gatehouse::testing {
namespace {

using eventlog::ev_no_action;
using eventlog::ev_separator;
using Error = std::pair<std::size_t, std::string>;

const ByteVector zeros4(4);

ByteVector variable(std::u16string_view name, std::string_view data) {
  Writer w;
  for (unsigned i = 0; i < 16; ++i) w.put(std::uint8_t(i));
  w.put_le(std::uint64_t(name.size()));
  w.put_le(std::uint64_t(data.size()));
  for (const char16_t c : name) w.put_le(std::uint16_t(c));
  w.put_text(data);
  return std::move(w).take();
}
ByteVector filled(std::size_t n, unsigned value) { return ByteVector(n, std::byte(value)); }

LogMaker small_log() {
  LogMaker maker;
  maker.event(0, ev_no_action, std::string_view("StartupLocality\0\3", 17))
      .event(0, ev_s_crtm_version, "1.0")
      .event(7, 0x80000001, variable(u"SecureBoot", "\1"))
      .event(4, ev_separator, zeros4)
      .event(5, ev_efi_action, "Exit Boot Services Invocation");
  return maker;
}
ByteVector small_sha1_log() {
  Writer w;
  append_sha1_event(w, 0, ev_s_crtm_version, as_bytes("1.0"));
  append_sha1_event(w, 4, ev_separator, zeros4);
  append_sha1_event(w, 7, 0x80000001, variable(u"db", "x"));
  return std::move(w).take();
}

TEST(EventLog, ReadsTheHeaderOfTheWorkedExample) {
  // The first record of a log of Google Compute Engine; a record with its three digests follows at offset 73.
  const auto header =
      from_hex("0000000003000000" + std::string(40, '0') + "29000000" + "53706563204944204576656e74303300" +
               "00000000" + "00020002" + "03000000" + "04001400" + "0b002000" + "0c003000" + "00");
  ASSERT_TRUE(header);
  EXPECT_EQ(*header, LogMaker().log());
  const LogOutcome log =
      read_log(LogMaker::with_header(Bytes(*header).subspan(32)).event(0, ev_s_crtm_version, "GCE").log());
  ASSERT_FALSE(log.error);
  EXPECT_EQ(log.format, eventlog::Format::crypto_agile);
  EXPECT_EQ(log.banks, (std::vector<std::string>{"sha1", "sha256", "sha384"}));
  ASSERT_EQ(log.events.size(), 2U);
  EXPECT_EQ(log.events[1].offset, 73U);
  EXPECT_EQ(log.events[1].digests.size(), 3U);
}

TEST(EventLog, ASeparatorExtendsToItsKnownValues) {
  const LogOutcome log = read_log(LogMaker().event(1, ev_separator, zeros4).log());
  ASSERT_EQ(log.events.size(), 2U);
  const std::map<HashAlgorithm, std::string> expected{
      {HashAlgorithm::sha1, "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236"},
      {HashAlgorithm::sha256, "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"},
      {HashAlgorithm::sha384,
       "518923b0f955d08da077c96aaba522b9decede61c599cea6c41889cfbea4ae4d50529d96fe4d1afdafb65e7f95bf23c4"}};
  for (const auto& [id, value] : log.events[1].digests) {
    const auto algorithm = hash_algorithm(id);
    ASSERT_TRUE(algorithm);
    Digest pcr = Digest::filled(value.size(), std::byte{0});
    Hasher(*algorithm).extend(pcr, value);
    EXPECT_EQ(pcr.hex(), expected.at(*algorithm));
  }
}

TEST(EventLog, EveryTruncationIsAnErrorOrEndsAtARecord) {
  for (const bool agile : {true, false}) {
    const ByteVector log = agile ? small_log().log() : small_sha1_log();
    const LogOutcome whole = read_log(log);
    ASSERT_FALSE(whole.error);
    for (std::size_t n = 0; n < log.size(); ++n) {
      const LogOutcome cut = read_log(Bytes(log).first(n));
      std::size_t start = 0, complete = 0;
      for (const SeenEvent& event : whole.events)
        if (event.offset <= n) start = event.offset;
      for (const SeenEvent& event : cut.events) {
        ASSERT_LT(complete, whole.events.size());
        EXPECT_EQ(event, whole.events[complete++]);
      }
      const Bytes rest = Bytes(log).subspan(start, n - start);
      if (start > 0 && (all_of_value(rest, std::byte{0}) || all_of_value(rest, std::byte{0xFF}))) {
        // At a record's end, or zeros that can't be told from padding.
        EXPECT_FALSE(cut.error) << n;
        EXPECT_EQ(cut.warnings.size(), rest.empty() ? 0U : 1U) << n;
      } else {
        ASSERT_TRUE(cut.error) << n;
        EXPECT_GE(cut.error->first, start) << n;
        EXPECT_LE(cut.error->first, n) << n;
      }
    }
  }
}

TEST(EventLog, EveryFlippedBitIsRefusedOrRead) {
  std::mt19937 random(7);
  for (const bool agile : {true, false}) {
    ByteVector log = agile ? small_log().log() : small_sha1_log();
    for (std::size_t bit = 0; bit < log.size() * 8; ++bit) {
      log[bit / 8] ^= std::byte(1U << bit % 8);
      const LogOutcome whole = read_log(log);
      if (whole.error) {
        EXPECT_LE(whole.error->first, log.size()) << bit;
      } else if (whole.warnings.empty()) {
        EXPECT_EQ(written(whole), log) << bit;
      }
      EXPECT_EQ(read_log(log, random_cuts(random, log.size(), 40)), whole) << bit;
      log[bit / 8] ^= std::byte(1U << bit % 8);
    }
  }
}

TEST(EventLog, PiecesCutAnywhereGiveTheSameEvents) {
  const std::vector<ByteVector> logs{small_log().log(), small_sha1_log(), small_log().raw(filled(30, 0)).log(),
                                     small_log().raw(filled(30, 0xFF)).log(), small_log().raw(as_bytes("text")).log()};
  for (const ByteVector& log : logs) {
    const LogOutcome whole = read_log(log);
    std::vector<std::size_t> bytewise;
    for (std::size_t n = 1; n < log.size(); ++n) {
      bytewise.push_back(n);
      EXPECT_EQ(read_log(log, {n}), whole) << n;
      EXPECT_EQ(read_log(log, {n, n}), whole) << n;  // an empty piece
    }
    EXPECT_EQ(read_log(log, bytewise), whole);
  }
}

TEST(EventLog, AnErrorStaysTheError) {
  const ByteVector log = LogMaker({{0x0004, 20}, {0x000B, 31}}).log();  // SHA-256 has 32 bytes
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  const auto once = cursor.next(), twice = cursor.next();
  ASSERT_FALSE(once);
  ASSERT_FALSE(twice);
  EXPECT_EQ(once.error().reason, "digest size contradicts the algorithm");
  EXPECT_EQ(twice.error().reason, once.error().reason);
  EXPECT_EQ(twice.error().offset, once.error().offset);
}

std::vector<LogBank> unknown_banks(std::size_t n, std::uint16_t size = 1) {
  std::vector<LogBank> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back({std::uint16_t(0x7000 + i), size});
  return out;
}

TEST(EventLog, HeaderLimits) {
  const auto refused = [](const LogMaker& maker) { return read_log(maker.log()).error; };
  EXPECT_EQ(refused(LogMaker(unknown_banks(0))), Error(56, "number of algorithms outside 1 to 16"));
  EXPECT_FALSE(refused(LogMaker(unknown_banks(1))));
  EXPECT_FALSE(refused(LogMaker(unknown_banks(16))));
  EXPECT_EQ(refused(LogMaker(unknown_banks(17))), Error(56, "number of algorithms outside 1 to 16"));
  EXPECT_EQ(refused(LogMaker(unknown_banks(1, 0))), Error(60, "digest size out of range"));
  EXPECT_FALSE(refused(LogMaker(unknown_banks(1, 512))));
  EXPECT_EQ(refused(LogMaker(unknown_banks(1, 513))), Error(60, "digest size out of range"));
  EXPECT_EQ(refused(LogMaker({{0x000B, 32}, {0x000B, 32}})), Error(64, "algorithm twice in the header"));
  for (const HashAlgorithm a : common_banks)
    EXPECT_EQ(refused(LogMaker({{std::uint16_t(a), std::uint16_t(digest_size(a) + 1)}})),
              Error(60, "digest size contradicts the algorithm"));
  // More algorithms announced than there are bytes for.
  ByteVector header = to_vector(Bytes(LogMaker().log()).subspan(32));
  header[24] = std::byte{16};
  EXPECT_TRUE(refused(LogMaker::with_header(header)));
}

TEST(EventLog, EventLimits) {
  const auto refused = [](const ByteVector& log) { return read_log(log).error; };
  const std::size_t start = LogMaker().log().size();
  EXPECT_FALSE(refused(LogMaker().event(23, 1, "x").log()));
  EXPECT_EQ(refused(LogMaker().event(24, 1, "x").log()), Error(start, "PCR index above 23"));
  // Vendors put 0xFFFFFFFF into records that extend nothing.
  EXPECT_FALSE(refused(LogMaker().event(0xFFFFFFFF, ev_no_action, "x").log()));
  EXPECT_EQ(refused(LogMaker().event(0xFFFFFFFF, 1, "x").log()), Error(start, "PCR index above 23"));

  const ByteVector d20(20, std::byte{1}), d32(32, std::byte{1});
  EXPECT_FALSE(refused(LogMaker().record(0, 1, {}, as_bytes("x")).log()));
  EXPECT_FALSE(refused(LogMaker().record(0, 1, {{0x000B, d32}}, {}).log()));
  EXPECT_EQ(refused(LogMaker().record(0, 1, {{0x0004, d20}, {0x000B, d32}, {0x0004, d20}}, {}).log()),
            Error(start + 12 + 22 + 34, "two digests of one algorithm"));
  EXPECT_EQ(refused(LogMaker({{0x0004, 20}}).record(0, 1, {{0x0004, d20}, {0x000B, d32}}, {}).log()),
            Error(LogMaker({{0x0004, 20}}).log().size() + 8, "more digests than the header has algorithms"));
  EXPECT_EQ(refused(LogMaker().record(0, 1, {{0x7777, d20}}, {}).log()),
            Error(start + 12, "algorithm isn't in the header"));

  const std::size_t most = eventlog::max_event_data;
  LogMaker one_bank({{0x0004, 20}});
  const std::size_t at_size = one_bank.log().size() + 12 + 22;
  EXPECT_FALSE(refused(LogMaker({{0x0004, 20}}).record(0, 1, {{0x0004, d20}}, ByteVector(most)).log()));
  EXPECT_EQ(refused(LogMaker({{0x0004, 20}}).record(0, 1, {{0x0004, d20}}, ByteVector(most + 1)).log()),
            Error(at_size, "event size beyond the log or above 16 MiB"));
  // A size that lies is refused without waiting for the bytes.
  eventlog::Cursor cursor;
  cursor.feed(
      Bytes(LogMaker({{0x0004, 20}}).record(0, 1, {{0x0004, d20}}, ByteVector(most + 1)).log()).first(at_size + 4));
  ASSERT_TRUE(cursor.next());
  EXPECT_FALSE(cursor.next());
}

TEST(EventLog, UnknownAlgorithmsAreSkippedByTheirSize) {
  const LogOutcome log = read_log(LogMaker({{0x7777, 5}, {0x000B, 32}, {0x0012, 32}}).event(3, 1, "x").log());
  ASSERT_FALSE(log.error);
  EXPECT_EQ(log.banks, (std::vector<std::string>{"alg-0x7777", "sha256", "sm3_256"}));
  ASSERT_EQ(log.events.size(), 2U);
  EXPECT_EQ(log.events[1].digests[0].second.size(), 5U);
  EXPECT_EQ(log.events[1].data, to_vector(as_bytes("x")));
}

TEST(EventLog, PaddingEndsALog) {
  const ByteVector log = small_log().log();
  for (const unsigned value : {0x00U, 0xFFU})
    for (const std::size_t n :
         {std::size_t{1}, std::size_t{11}, std::size_t{12}, std::size_t{13}, std::size_t{70000}}) {
      const LogOutcome padded = read_log(small_log().raw(filled(n, value)).log());
      EXPECT_FALSE(padded.error) << value << " " << n;
      EXPECT_EQ(padded.events, read_log(log).events);
      ASSERT_EQ(padded.warnings.size(), 1U);
      EXPECT_TRUE(padded.warnings.front().starts_with("offset " + std::to_string(log.size()) + ": "))
          << padded.warnings.front();
    }
  // Zeros as a record: PCR 0, type 0, no digest. What follows isn't looked at.
  const LogOutcome ended = read_log(small_log().raw(filled(12, 0)).raw(as_bytes("anything")).log());
  EXPECT_FALSE(ended.error);
  EXPECT_EQ(ended.events.size(), 6U);
  EXPECT_EQ(ended.warnings.size(), 1U);
  // Ones that end in something else are no padding.
  EXPECT_EQ(read_log(small_log().raw(filled(100, 0xFF)).raw(zeros4).log()).error,
            Error(log.size(), "PCR index above 23"));
}

TEST(EventLog, AnEmptyLogIsMalformed) {
  EXPECT_EQ(read_log({}).error, Error(0, "empty event log"));
  EXPECT_TRUE(read_log(filled(100, 0xFF)).error);
}

TEST(EventLog, LocalityIsTheFirstOne) {
  const std::string three("StartupLocality\0\3", 17), four("StartupLocality\0\4", 17);
  EXPECT_EQ(read_log(LogMaker().event(0, 1, "x").log()).locality, std::nullopt);
  const LogOutcome twice = read_log(LogMaker().event(0, ev_no_action, three).event(0, ev_no_action, four).log());
  EXPECT_EQ(twice.locality, 3);
  EXPECT_EQ(twice.warnings.size(), 1U);
  // Another length, another signature (SP800-155), a type that extends: no locality.
  for (const std::string& other : {three + "\3", three.substr(0, 16), "SP800-155 Event3" + three.substr(16)})
    EXPECT_EQ(read_log(LogMaker().event(0, ev_no_action, other).log()).locality, std::nullopt);
  EXPECT_EQ(read_log(LogMaker().event(0, 1, three).log()).locality, std::nullopt);
}

TEST(EventLog, OnlyTheExactSignatureMakesACryptoAgileLog) {
  for (const std::string_view name : {"Spec ID Event00", "Spec ID Event02", "Spec ID Event3", "spec ID Event03"}) {
    Writer w;
    append_sha1_event(w, 0, ev_no_action, as_bytes(std::string(name) + std::string(30, '\0')));
    append_sha1_event(w, 0, 1, as_bytes("x"));
    const LogOutcome log = read_log(w.view());
    EXPECT_FALSE(log.error) << name;
    EXPECT_EQ(log.format, eventlog::Format::sha1);
    EXPECT_EQ(log.banks, std::vector<std::string>{"sha1"});
    EXPECT_EQ(log.events.size(), 2U);
  }
}

TEST(EventLog, HeadersThatContradictThemselvesWarn) {
  EXPECT_TRUE(read_log(LogMaker(three_banks, "vendor").event(0, 1, "x").log()).warnings.empty());
  const ByteVector header = to_vector(Bytes(LogMaker().log()).subspan(32));
  ByteVector more = header, less = header;
  more.push_back({});
  less.pop_back();  // no vendor size at all
  for (const ByteVector& odd : {more, less}) {
    const LogOutcome log = read_log(LogMaker::with_header(odd).event(0, 1, "x").log());
    EXPECT_FALSE(log.error);
    EXPECT_EQ(log.events.size(), 2U);
    EXPECT_EQ(log.warnings.size(), 1U);
  }
  const LogOutcome second = read_log(LogMaker().event(0, ev_no_action, header).event(0, 1, "x").log());
  EXPECT_FALSE(second.error);
  EXPECT_EQ(second.banks.size(), 3U);
  EXPECT_EQ(second.warnings.size(), 1U);
}

TEST(EventLog, TypesHaveTheirNames) {
  EXPECT_EQ(eventlog::event_type_name(0x04), "EV_SEPARATOR");
  EXPECT_EQ(eventlog::event_type_name(0x80000001), "EV_EFI_VARIABLE_DRIVER_CONFIG");
  EXPECT_EQ(eventlog::event_type_name(0x800000E0), "EV_EFI_VARIABLE_AUTHORITY");
  EXPECT_EQ(eventlog::event_type_name(0x12345678), "0x12345678");
}

TEST(UefiVariable, IsReadToItsLastByte) {
  const ByteVector data = variable(u"Boot\u00e9\u20ac\U0001F600", "value");
  const auto read = eventlog::parse_uefi_variable(data);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->guid, "03020100-0504-0706-0809-0a0b0c0d0e0f");
  EXPECT_EQ(read->name, "Boot\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(as_text(read->data), "value");
  for (std::size_t n = 0; n < data.size(); ++n) EXPECT_FALSE(eventlog::parse_uefi_variable(Bytes(data).first(n))) << n;
  ByteVector longer = data;
  longer.push_back({});
  EXPECT_FALSE(eventlog::parse_uefi_variable(longer));
}

TEST(UefiVariable, LengthsOf64BitsDontWrap) {
  for (const std::uint64_t length : {std::uint64_t(1) << 63, UINT64_MAX, UINT64_MAX / 2, std::uint64_t(1) << 32})
    for (const std::size_t at : {std::size_t{16}, std::size_t{24}}) {
      ByteVector data = variable(u"db", "x");
      for (std::size_t i = 0; i < 8; ++i) data[at + i] = std::byte(length >> (8 * i) & 0xFF);
      EXPECT_EQ(eventlog::parse_uefi_variable(data).error().offset, at);
    }
}

TEST(Utf16, UnpairedSurrogatesBecomeReplacements) {
  const auto convert = [](std::initializer_list<unsigned> units) {
    Writer w;
    for (const unsigned u : units) w.put_le(std::uint16_t(u));
    return eventlog::utf16_to_utf8(w.view());
  };
  const std::string replacement = "\xEF\xBF\xBD";
  EXPECT_EQ(convert({0xD800}), replacement);
  EXPECT_EQ(convert({0xDC00, 0x41}), replacement + "A");
  EXPECT_EQ(convert({0xD800, 0x41}), replacement + "A");
  EXPECT_EQ(convert({0xD800, 0xD800, 0xDC00}), replacement + "\xF0\x90\x80\x80");
  EXPECT_EQ(convert({0x7F, 0x80, 0x7FF, 0x800, 0xFFFF}), "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF");
  EXPECT_EQ(eventlog::utf16_to_utf8(as_bytes("a")), "");  // half a unit
}

}  // namespace
}  // namespace gatehouse::testing
