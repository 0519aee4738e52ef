// The violations of spec part 1b §9.5 that a value alone shows, and the limits of §10.1: which byte is named.
#include <gtest/gtest.h>

#include "base/hex.h"
#include "tests/wire_patnc/rewrite.h"
#include "tests/wire_swima/value_rows.h"
#include "wire/swima/swima.h"

namespace gatehouse::swima {
namespace {

namespace type = patnc::type;
using patnc::parse_records;

constexpr std::size_t V = 20;  // where the value of the only attribute is

void expect_rows(std::uint32_t kind, std::span<const Row> rows) {
  for (const Row& row : rows) {
    Writer message;
    message.put(std::uint8_t{1});
    message.put24(0);
    message.put(std::uint32_t{5});
    patnc::append_attribute(message, 0, patnc::vendor_ietf, kind, bytes(row.value));
    const auto refusal = patnc::refusal_of(message.view()).value();
    ASSERT_EQ(refusal.has_value(), row.offset.has_value()) << kind << ": " << row.violation;
    if (!refusal) continue;
    EXPECT_EQ(refusal->code, patnc::ErrorCode::invalid_parameter) << row.violation;
    EXPECT_EQ(refusal->offset, V + *row.offset) << kind << ": " << row.violation;
  }
}

TEST(SwimaViolations, OfARequest) {
  const std::string start = "00000293 00000000";
  const Row rows[] = {
      {"11 bytes", "00000000 00000293 000000", 0},
      {"empty", "", 0},
      {"12 bytes", "00000000" + start},
      {"identifier overruns", "00000001" + start + "0005" + text("a__b"), 12},
      {"second identifier overruns", "00000002" + start + "0004" + text("a__b") + "0005", 18},
      {"identifier missing", "00000002" + start + "0004" + text("a__b"), 18},
      {"half a length", "00000001" + start + "00", 12},
      {"trailing", "00000001" + start + "0004" + text("a__b") + "00", 18},
      {"trailing after none", "00000000" + start + "0004", 12},
      {"empty identifier", "00000001" + start + "0000", 12},
      {"not UTF-8", "00000001" + start + "0002" + "61ff", 12},
      {"reserved flags", "1f000000" + start},
      {"identifier of 4,096", "00000001" + start + name_field(4096)},
      {"identifier of 4,097", "00000001" + start + name_field(4097), 12},
  };
  expect_rows(type::swima_request, rows);
}

TEST(SwimaViolations, OfIdentifierInventories) {
  expect_rows(type::software_identifier_inventory, identifier_inventory_rows());
}
TEST(SwimaViolations, OfInventories) { expect_rows(type::software_inventory, inventory_rows()); }
TEST(SwimaViolations, OfIdentifierEvents) { expect_rows(type::software_identifier_events, identifier_event_rows()); }
TEST(SwimaViolations, OfEvents) { expect_rows(type::software_events, event_rows()); }

TEST(SwimaViolations, OfSubscriptionsAndSources) {
  const Row status[] = {
      {"3 bytes", "000000", 0},
      {"none", "00000000"},
      {"fewer than announced", "00000001 60000000 00000293", 4},
      {"identifier overruns", "00000001 60000001 00000293 00000000 000461", 16},
      {"trailing", "00000000 60", 4},
  };
  expect_rows(type::subscription_status_response, status);
  const Row sources[] = {
      {"2 bytes", "0000", 0},
      {"none", "000000"},
      {"source missing", "000001", 3},
      {"metadata overruns", "000001 01 0002 61", 4},
      {"metadata not UTF-8", "000001 01 0001 ff", 4},
      {"trailing", "000001 01 0001 61 00", 7},
  };
  expect_rows(type::source_metadata_response, sources);
  const Row empty[] = {{"a byte", "00", 0}, {"empty", ""}};
  expect_rows(type::subscription_status_request, empty);
  expect_rows(type::source_metadata_request, empty);
}

TEST(SwimaLimits, ARecordOf4MiBIsReadAndTheLimitsCanBeSet) {
  const ByteVector tag(std::size_t(4) << 20, std::byte{'x'});
  const SoftwareRecord big{.identifier = "a__b", .record = tag};
  Writer w;
  append_inventory(w, {}, std::span(&big, 1), Content::records);
  std::size_t size = 0;
  Reader r(w.view(), "test");
  ASSERT_TRUE(
      parse_records(r, InventoryFormat{.content = Content::records}, [&](const auto& v) { size = v.record.size(); }));
  EXPECT_EQ(size, tag.size());

  const auto with = [&](const Limits& limits) {
    Reader again(w.view(), "test");
    return parse_records(again, InventoryFormat{.content = Content::records, .limits = limits}, [](const auto&) {});
  };
  EXPECT_EQ(with({.record_bytes = tag.size() - 1}).error().fault, Fault::limit);
  EXPECT_EQ(with({.name_bytes = 3}).error().offset, 16U + 10U);
  EXPECT_EQ(with({.records = 0}).error().reason, "too many software records announced");
  EXPECT_TRUE(with({.name_bytes = 4, .records = 1}));
}

}  // namespace
}  // namespace gatehouse::swima
