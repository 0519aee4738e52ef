// SWIMA's worked examples, byte for byte in both directions, and the attributes that they leave out.
#include "tests/wire_patnc/examples.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "tests/wire_patnc/rewrite.h"
#include "wire/patnc/attributes.h"
#include "wire/patnc/segmentation.h"
#include "wire/swima/swima.h"

namespace gatehouse::swima {
namespace {

namespace examples = patnc::examples;
namespace type = patnc::type;
using patnc::parse_records;
using namespace std::string_view_literals;

constexpr std::string_view old_dpkg = "strongswan.org__Ubuntu_20.04-x86_64-dpkg-1.19.7ubuntu3";
constexpr std::string_view new_dpkg = "strongswan.org__Ubuntu_20.04-x86_64-dpkg-1.19.7ubuntu3.2";

// The value of one attribute of an example.
ByteVector value_of(std::string_view hex, std::uint32_t type) {
  const ByteVector message = from_hex(hex).value();
  const auto parsed = patnc::parse_message(message, patnc::supported).value();
  for (const patnc::Attribute& a : parsed.attributes)
    if (a.is(patnc::vendor_ietf, type)) return to_vector(a.value);
  return {};
}

std::string hex_of(Bytes value) { return to_hex(value); }

TEST(SwimaRequest, OfTheServerInTheSeed) {
  const ByteVector value = value_of(examples::swima_request, type::swima_request);
  Reader r(value, "test");
  const Request v = parse_request(r).value();
  EXPECT_EQ(v, (Request{.subscribe = true, .identifiers_only = true, .id = 659, .earliest_eid = 323}));
  EXPECT_EQ(answer_type(v), type::software_identifier_events);
  Writer w;
  append_request(w, v);
  EXPECT_EQ(hex_of(w.view()), hex_of(value));
}

TEST(SwimaRequest, AimedAtOneIdentifier) {
  const ByteVector value = value_of(examples::swima_targeted_request, type::swima_request);
  const Request expected{.id = 659, .targets = {new_dpkg}};
  Reader r(value, "test");
  EXPECT_EQ(parse_request(r).value(), expected);
  Writer w;
  append_request(w, expected);
  EXPECT_EQ(hex_of(w.view()), hex_of(value));
}

TEST(SwimaRequest, FlagsDecideWhatAnswers) {
  const struct {
    std::string_view flags;
    bool clear, subscribe, identifiers;
  } rows[] = {
      {"80", true, false, false}, {"40", false, true, false}, {"20", false, false, true}, {"1f", false, false, false}};
  for (const auto& row : rows) {
    const ByteVector value = from_hex(std::string(row.flags) + "0000000000000100000000").value();
    Reader r(value, "test");
    const Request v = parse_request(r).value();
    EXPECT_EQ(v.clear_subscriptions, row.clear);
    EXPECT_EQ(v.subscribe, row.subscribe);
    EXPECT_EQ(v.identifiers_only, row.identifiers);
  }
  EXPECT_EQ(answer_type({.identifiers_only = true}), 14U);
  EXPECT_EQ(answer_type({.identifiers_only = true, .earliest_eid = 1}), 15U);
  EXPECT_EQ(answer_type({}), 16U);
  EXPECT_EQ(answer_type({.earliest_eid = 1}), 17U);
}

TEST(SwimaEvents, AnUpgradeIsADeletionAndACreation) {
  const ByteVector value = value_of(examples::swima_events, type::software_identifier_events);
  Reader r(value, "test");
  std::vector<Event> events;
  const auto header = parse_records(r, EventsFormat{}, [&](const Event& e) { events.push_back(e); });
  const EventsHeader expected_header{
      .count = 2, .request_id = 659, .eid_epoch = 0x38cd4cc6, .last_eid = 323, .last_consulted_eid = 323};
  const std::vector<Event> expected = {
      {323, "2022-05-31T08:30:01Z", Action::deletion, {.record_id = 1412, .source = 1, .identifier = old_dpkg}},
      {323, "2022-05-31T08:30:01Z", Action::creation, {.record_id = 2207, .source = 1, .identifier = new_dpkg}},
  };
  EXPECT_EQ(header.value(), expected_header);
  EXPECT_EQ(events, expected);
  EXPECT_EQ(name(events[0].action), "deletion");
  Writer w;
  append_events(w, expected_header, expected, Content::identifiers);
  EXPECT_EQ(hex_of(w.view()), hex_of(value));
}

TEST(SwimaEvents, WithRecordsAreReadAndWritten) {
  const std::vector<Event> events = {
      {1,
       "0000-00-00T00:00:00Z",
       Action::creation,
       {7, 0, 1, 2, "a.example__x", "file:///opt/x", as_bytes("<SoftwareIdentity/>")}},
      {2, "2024-02-29T23:59:60Z", Action::deletion, {7, 9586, 200, 2, "a.example__x"}},
      {2, "2024-02-29T23:59:60Z", Action::alteration, {8, 0, 0, 255, "a.example__y", "", as_bytes("\0\1"sv)}},
  };
  Writer w;
  append_events(w, {true, 0, 5, 6, 9, 2}, events, Content::records);
  Reader r(w.view(), "test");
  std::vector<Event> again;
  const auto header =
      parse_records(r, EventsFormat{.content = Content::records}, [&](const Event& e) { again.push_back(e); });
  EXPECT_EQ(header.value(), (EventsHeader{true, 3, 5, 6, 9, 2}));
  EXPECT_EQ(again, events);
}

TEST(SwimaInventory, WithOneTag) {
  const ByteVector value = value_of(examples::swima_inventory, type::software_inventory);
  const SoftwareRecord expected{
      .source = 1,
      .identifier = new_dpkg,
      .record = as_bytes("<SoftwareIdentity tagId=\"Ubuntu_20.04-x86_64-dpkg-1.19.7ubuntu3.2\"/>")};
  const InventoryHeader expected_header{.count = 1, .request_id = 659, .eid_epoch = 0x38cd4cc6, .last_eid = 323};
  Reader r(value, "test");
  std::vector<SoftwareRecord> records;
  const auto header =
      parse_records(r, InventoryFormat{.content = Content::records}, [&](const auto& v) { records.push_back(v); });
  EXPECT_EQ(header.value(), expected_header);
  EXPECT_EQ(records, std::vector{expected});
  Writer w;
  append_inventory(w, expected_header, std::span(&expected, 1), Content::records);
  EXPECT_EQ(hex_of(w.view()), hex_of(value));
}

TEST(SwimaInventory, EmptyIsItsHeaderAlone) {
  Writer w;
  append_inventory(w, {.subscription_fulfilment = true, .request_id = 1, .eid_epoch = 2, .last_eid = 3}, {},
                   Content::identifiers);
  EXPECT_EQ(hex_of(w.view()), "80000000000000010000000200000003");
  Reader r(w.view(), "test");
  const auto header = parse_records(r, InventoryFormat{}, [](const auto&) { FAIL(); });
  EXPECT_TRUE(header.value().subscription_fulfilment);
}

TEST(SwimaErrors, TheDeniedSubscriptionOfTheSeed) {
  const ByteVector value = value_of(examples::swima_events, type::pa_tnc_error);
  Reader r(value, "test");
  const auto e = patnc::parse_error(r).value();
  EXPECT_EQ(patnc::error_name(e.vendor, e.code), "SWIMA Subscription Denied");
  Reader information(e.information, "test");
  EXPECT_EQ(parse_error_information(e.code, information).value(),
            (ErrorInformation{659, 0, "subscriptions not enabled"}));
}

TEST(SwimaErrors, OfEveryCodeAreReadAndWritten) {
  const struct {
    std::uint32_t code;
    ErrorInformation v;
    std::string hex;
  } rows[] = {
      {error::general, {659, 0, "no"}, "000002936e6f"},
      {error::subscription_denied, {659, 0, ""}, "00000293"},
      {error::response_too_large, {659, 65'466, "no"}, "000002930000ffba6e6f"},
      {error::subscription_fulfillment, {7, 0, {"\0\0\0\0\0\0\0\4no", 10}}, "0000000700000000000000046e6f"},
      {error::subscription_id_reuse, {659, 0, "no"}, "000002936e6f"},
  };
  for (const auto& row : rows) {
    Writer w;
    append_error_information(w, row.code, row.v);
    EXPECT_EQ(hex_of(w.view()), row.hex) << row.code;
    Reader r(w.view(), "test");
    EXPECT_EQ(parse_error_information(row.code, r).value(), row.v) << row.code;
    Reader cut(w.view().first(row.code == error::response_too_large ? 7 : 3), "test");
    EXPECT_FALSE(parse_error_information(row.code, cut)) << row.code;
  }
}

TEST(SwimaSubscriptions, AreListedAsTheirRequests) {
  const std::vector<Request> subscriptions = {
      {.subscribe = true, .identifiers_only = true, .id = 659, .earliest_eid = 323},
      {.subscribe = true, .id = 660, .targets = {"a__b", "c__d"}},
  };
  Writer w;
  append_subscription_status(w, subscriptions);
  EXPECT_EQ(hex_of(w.view()), "000000026000000000000293000001434000000200000294000000000004615f5f620004635f5f64");
  Reader r(w.view(), "test");
  EXPECT_EQ(parse_subscription_status(r).value(), subscriptions);
  for (std::size_t size = 0; size < w.size(); ++size) {
    Reader cut(w.view().first(size), "test");
    EXPECT_FALSE(parse_subscription_status(cut)) << size;
  }
}

TEST(SwimaSources, AreNamedByTheirMetadata) {
  const std::vector<SourceMetadata> sources = {{1, "dpkg"}, {2, ""}};
  Writer w;
  append_source_metadata(w, sources);
  EXPECT_EQ(hex_of(w.view()), "00000201000464706b67020000");
  Reader r(w.view(), "test");
  EXPECT_EQ(parse_source_metadata(r).value(), sources);
  for (std::size_t size = 0; size < w.size(); ++size) {
    Reader cut(w.view().first(size), "test");
    EXPECT_FALSE(parse_source_metadata(cut)) << size;
  }
}

TEST(SoftwareIdentifier, SplitsAtTheFirstTwoUnderscores) {
  const auto parts = split_identifier(new_dpkg).value();
  EXPECT_EQ(parts.regid, "strongswan.org");
  EXPECT_EQ(parts.tag_id, "Ubuntu_20.04-x86_64-dpkg-1.19.7ubuntu3.2");
  EXPECT_EQ(split_identifier("a__b__c").value().tag_id, "b__c");
  EXPECT_EQ(split_identifier("a___b").value().tag_id, "_b");
  for (const std::string_view none : {"", "a", "a_b", "__b", "a__"}) EXPECT_FALSE(split_identifier(none)) << none;
}

}  // namespace
}  // namespace gatehouse::swima
