#include "server/state/layout.h"

#include <gtest/gtest.h>

#include <functional>

#include "server/state/software_layout.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

layout::DeviceValue sample_device() {
  layout::DeviceValue out;
  out.device = {.id = "d1", .product = "p", .identities = {"CN=a", "b"}, .keys = {}, .enrolled = true, .created = 5,
                .state = DeviceState::suspended, .state_since = 6, .model = "m", .changes = 7};
  out.device.keys.push_back({.state = KeyState::revoked,
                             .source = KeySource::session,
                             .key_id = std::string(40, 'a'),
                             .pin = std::string(64, 'b'),
                             .spki = ByteVector(91, std::byte{7}),
                             .object_attributes = 0x50072,
                             .name_algorithm = HashAlgorithm::sha384,
                             .qualified_name = ByteVector(34, std::byte{1}),
                             .since = 77});
  out.device.keys.push_back({.key_id = std::string(40, 'c')});
  out.next_baseline = 9;
  return out;
}

Announcement sample_announcement() {
  return {.number = 2, .model = "m", .device = "d1", .since = 1, .until = 2, .by = "alice", .why = "BIOS 1.9", .change = change_between(baseline(1), baseline(2))};
}

StoredBaseline sample_baseline() {
  return {.number = 3, .state = BaselineState::retired, .session = "s1", .since = 4, .baseline = baseline(1)};
}

GatewayAdmission sample_admission() {
  GatewayAdmission out;
  out.number = 5;
  out.gateway.back() = 7;
  out.client = "192.0.2.1";
  out.streamed = true;
  out.nas = "moon";
  out.nas_address = ByteVector(4, std::byte{10});
  out.port = 3;
  out.user = "anonymous";
  out.station = "192.0.2.7[4500]";
  out.accounting = "a-1";
  out.address = "10.3.0.1";
  out.session = "s1";
  out.device = "d1";
  out.identity = "carol";
  out.identity_type = "password";
  out.also = {"d2", "d3"};
  out.sure = true;
  out.groups = {"servers"};
  out.recommendation = pipeline::Recommendation::isolate;
  out.admitted = 1;
  out.until = 2;
  out.connected = 3;
  out.heard = 4;
  out.octets_in = 5;
  out.octets_out = 6;
  return out;
}

SessionRecord sample_session() {
  SessionRecord out{.state = SessionState::complete, .intent = intent("s1", "d1", 1000)};
  out.finished = 1100;
  out.verdict = "{}";
  out.timing.emplace();
  for (std::size_t i = 0; i < out.timing->spent.size(); ++i) out.timing->spent[i] = std::chrono::nanoseconds(1000 + i);
  return out;
}

layout::InstalledValue sample_installed() {
  return {.first_seen = 1, .since = 2, .eid = 3, .no_tag = true, .locator = "file:///usr"};
}

layout::ChangeValue sample_change() {
  layout::ChangeValue out;
  out.change = {.time = 1,
                .session = "s",
                .events = true,
                .epoch_changed = true,
                .epoch = 2,
                .last_eid = 3,
                .added = 4,
                .inconsistent = 1};
  out.change.examples.push_back({.eid = 9,
                                 .time = 10,
                                 .action = SoftwareAction::alteration,
                                 .record = {.source = 0, .software_id = "a", .record_id = 11}});
  out.era = 5;
  return out;
}

TEST(Layout, ABaselineIsHeldAgainstOneThatIsStored) {
  const pipeline::Baseline one = baseline(1);
  const std::string content = layout::baseline_content(one);
  EXPECT_TRUE(layout::is_content_of(content, one));
  for (std::size_t i = 0; i < content.size(); ++i) {
    std::string other = content;
    other[i] = char(other[i] ^ 1);
    EXPECT_FALSE(layout::is_content_of(other, one)) << i;
    EXPECT_FALSE(layout::is_content_of(std::string_view(content).substr(0, i), one)) << i;
  }
  EXPECT_FALSE(layout::is_content_of(content + '\0', one));
  pipeline::Baseline less = one, more = one;
  less.events.pop_back();
  more.events.back().second.push_back(Digest::filled(32, std::byte{2}));
  EXPECT_FALSE(layout::is_content_of(content, less));
  EXPECT_FALSE(layout::is_content_of(content, more));
}

TEST(Layout, KeysOfWhatIsNamedInHexHaveItsBytes) {
  const std::string bytes("\x00\x9a\xfF", 3);
  EXPECT_EQ(layout::quote_key("009aff"), "q" + bytes);
  EXPECT_EQ(layout::quote_key("009AFF"), "q" + bytes);
  EXPECT_EQ(layout::key_id_prefix("009aff"), "k" + bytes + '\0');
  for (const char* const text : {"", "0", "009af", "009afg", "/09aff", "00:aff", "\xff\xff"}) EXPECT_EQ(layout::shared_key(text), "S") << text;
}

TEST(Layout, ReadsBackWhatItWrote) {
  const auto device = layout::decode_device(layout::encode(sample_device()));
  ASSERT_TRUE(device);
  EXPECT_EQ(device->device, sample_device().device);
  EXPECT_EQ(device->next_baseline, 9U);
  const auto stored = layout::decode_baseline(layout::encode(sample_baseline()), 3);
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->baseline, baseline(1));
  EXPECT_EQ(stored->state, BaselineState::retired);
  const auto session = layout::decode_session(layout::encode(sample_session()));
  ASSERT_TRUE(session);
  EXPECT_EQ(layout::encode(*session), layout::encode(sample_session()));
  EXPECT_EQ(session->timing, sample_session().timing);
  EXPECT_EQ(layout::decode_quote(layout::encode(pipeline::LastQuote{1, 2, 3, 4}))->firmware_version, 4U);
}

// Formats 1 to 4 had no life cycle: the value ended with the keys, and they say what became of the device.
TEST(Layout, ReadsDevicesOfEarlierFormats) {
  const auto of_before = [](const layout::DeviceValue& value) {
    std::string out = layout::encode(value);
    out.front() = 1;
    EXPECT_FALSE(layout::decode_device(out)) << "fields too many";
    out.resize(out.size() - (1 + 8 + 4 + value.device.model.size() + 8));
    return layout::decode_device(out);
  };
  layout::DeviceValue value = sample_device();
  value.device.keys.at(1).state = KeyState::trusted;
  EXPECT_EQ(of_before(value)->device.state, DeviceState::trusted);
  EXPECT_EQ(of_before(value)->device.keys, value.device.keys);
  EXPECT_EQ(of_before(value)->device.state_since, 77);
  value.device.keys.at(1).state = KeyState::pending;
  EXPECT_EQ(of_before(value)->device.state, DeviceState::pending);
  value.device.keys.pop_back();
  EXPECT_EQ(of_before(value)->device.state, DeviceState::revoked);
  value.device.enrolled = false;
  EXPECT_EQ(of_before(value)->device.state, DeviceState::pending);
}

TEST(Layout, ReadsSessionsOfEarlierFormats) {
  SessionRecord untimed = sample_session();
  untimed.timing.reset();
  std::string value = layout::encode(untimed);
  ASSERT_EQ(value.front(), 4);
  // Layout 3 has the verdict as it is, with its size (4 bytes) before it.
  constexpr std::size_t header = 4 + 8 + 1;  // of what would be compressed: sizes of both, and the method
  const std::size_t verdict = value.find(untimed.verdict);
  ASSERT_NE(verdict, std::string::npos) << "so short that compression brings nothing";
  value.replace(verdict - header, header, layout::number32(std::uint32_t(untimed.verdict.size())));
  // Layout 2 has no monitor mode, layout 1 no timing either.
  for (const char of : {char(3), char(2), char(1)}) {
    value.front() = of;
    if (of != 3) {
      EXPECT_FALSE(layout::decode_session(value)) << "a field too many";
      value.pop_back();
    }
    const auto session = layout::decode_session(value);
    ASSERT_TRUE(session) << session.error().text();
    EXPECT_TRUE(session->enforced);
    EXPECT_EQ(layout::encode(*session), layout::encode(untimed));
  }
  for (const char of : {char(0), char(4), char(5)}) {
    value.front() = of;
    EXPECT_FALSE(layout::decode_session(value));
  }
}

// Whatever a damaged disk holds: an error, or a value that is written back as the same bytes.
TEST(Layout, RefusesWhatIsCutOrChanged) {
  struct Kind {
    std::string bytes;
    std::function<std::string(std::string_view)> again;  // empty: refused
  };
  const auto again = [](const auto& value) { return value ? layout::encode(*value) : std::string(); };
  const Kind kinds[] = {
      {layout::encode(sample_device()), [&](std::string_view v) { return again(layout::decode_device(v)); }},
      {layout::encode(HistoryEntry{.number = 1, .time = 2, .state = DeviceState::retired, .by = "alice", .what = "state retired", .why = "sold"}),
       [&](std::string_view v) { return again(layout::decode_history(v, 1)); }},
      {layout::encode(Attested{.time = 1, .session = "s", .recommendation = pipeline::Recommendation::none}),
       [&](std::string_view v) { return again(layout::decode_attested(v)); }},
      {layout::encode(Attested{.time = 3, .session = "s", .recommendation = pipeline::Recommendation::allow, .looked_for = 2}),
       [&](std::string_view v) { return again(layout::decode_attested(v)); }},
      {layout::encode(sample_admission()), [&](std::string_view v) { return again(layout::decode_admission(v, 5)); }},
      {layout::encode(sample_announcement()), [&](std::string_view v) { return again(layout::decode_announcement(v, 2)); }},
      {layout::encode(sample_baseline()), [&](std::string_view v) { return again(layout::decode_baseline(v, 3)); }},
      {layout::encode(pipeline::LastQuote{1, 2, 3, 4}),
       [&](std::string_view v) { return again(layout::decode_quote(v)); }},
      {layout::encode(sample_session()), [&](std::string_view v) { return again(layout::decode_session(v)); }},
      {layout::encode(layout::HeadValue{
           .head =
               {.epoch = 1, .last_eid = 2, .time = 3, .session = "s", .complete = true, .installed = 4, .events = 5},
           .generation = 6,
           .era = 7,
           .events_from = 8,
           .oldest_change = 9,
           .changes = 10,
           .ended = 11}),
       [&](std::string_view v) { return again(layout::decode_head(v)); }},
      {layout::encode(sample_installed()), [&](std::string_view v) { return again(layout::decode_installed(v)); }},
      {layout::encode(layout::EndedValue{sample_installed(), 5, 6}),
       [&](std::string_view v) { return again(layout::decode_ended(v)); }},
      {layout::encode(layout::EventValue{1, "file:///"}),
       [&](std::string_view v) { return again(layout::decode_event(v)); }},
      {layout::encode(sample_change()), [&](std::string_view v) { return again(layout::decode_change(v)); }},
      {layout::encode(layout::StagingValue{"d", 1, 2, 3}),
       [&](std::string_view v) { return again(layout::decode_staging(v)); }},
      {layout::encode(StoredTag{7, 8, "d", ByteVector(3, std::byte{1})}),
       [&](std::string_view v) { return again(layout::decode_tag(v)); }},
      {layout::encode(StoredItemResult{.result = {.policy = "p", .type = "SWIDT", .text = "t"},
                                       .time = 1,
                                       .session = "s",
                                       .identity = "i",
                                       .identity_type = "password",
                                       .key_pin = "k"}),
       [&](std::string_view v) { return again(layout::decode_item_result(v)); }},
  };
  for (const Kind& kind : kinds) {
    EXPECT_EQ(kind.again(kind.bytes), kind.bytes);
    for (std::size_t n = 0; n < kind.bytes.size(); ++n) EXPECT_EQ(kind.again(kind.bytes.substr(0, n)), "") << n;
    EXPECT_EQ(kind.again(kind.bytes + '\0'), "");
    for (std::size_t bit = 0; bit < kind.bytes.size() * 8; ++bit) {
      std::string flipped = kind.bytes;
      flipped[bit / 8] = char(flipped[bit / 8] ^ (1 << (bit % 8)));
      const std::string back = kind.again(flipped);
      // An absent optional drops its value, so such bytes may differ; their length can't.
      if (!back.empty()) {
        EXPECT_EQ(back.size(), flipped.size()) << bit;
      }
    }
  }
}

TEST(Layout, PlacesNameWhatTheyAreOf) {
  for (const std::uint8_t source : std::initializer_list<std::uint8_t>{0, 1, 255})
    for (const std::uint32_t number : {0U, 0x00610000U, 0xFFFFFFFFU}) {
      const SoftwareEvent event{
          .eid = number,
          .time = 0,
          .action = SoftwareAction::deletion,
          .record = {.source = source, .software_id = "a\xC3\xA4", .record_id = number, .locator = {}}};
      EXPECT_EQ(layout::record_at(layout::place_of(event.record)).value(), event.record);
      EXPECT_EQ(layout::event_at(layout::place_of(event)).value(), event);
      const std::string place = layout::place_of(event);
      for (std::size_t n = 0; n < place.size(); ++n) EXPECT_FALSE(layout::event_at(place.substr(0, n))) << n;
    }
  EXPECT_FALSE(
      layout::event_at(layout::number32(1) + layout::place_of(SoftwareRecord{.source = 1, .software_id = "a"}) + '\4'));
}

TEST(Layout, KeysOfDifferentThingsDontMix) {
  EXPECT_NE(layout::baseline_prefix("a"), layout::baseline_prefix("ab").substr(0, layout::baseline_prefix("a").size()));
  EXPECT_LT(layout::place(255, "z"), layout::place(256, "a"));
  EXPECT_EQ(layout::read_number64(layout::number64(0x0102030405060708)), 0x0102030405060708U);
  EXPECT_EQ(layout::key_id_prefix(std::string(40, 'f')).size(), 22U);
}

}  // namespace
}  // namespace gatehouse::server
