// Inventories and events whose bytes arrive in pieces: the same records and the same errors wherever they are cut, in
// memory that doesn't grow with them.
#include <gtest/gtest.h>

#include <random>

#include "base/hex.h"
#include "wire/swima/swima.h"

namespace gatehouse::swima {
namespace {

using namespace std::string_view_literals;

template <class Format>
struct Outcome {
  std::vector<ByteVector> records;  // written again, so that they outlive their pieces
  std::optional<std::pair<std::size_t, std::string_view>> error;
  bool operator==(const Outcome&) const = default;
};

ByteVector written(const SoftwareRecord& v, Content content) {
  Writer w;
  append_software(w, v, content);
  return std::move(w).take();
}
ByteVector written(const Event& v, Content content) {
  Writer w;
  append_event(w, v, content);
  return std::move(w).take();
}

template <class Format>
class Feeder {
 public:
  explicit Feeder(Format format) : format_(format), cursor_(100, format) {}
  // Each piece is a buffer of its own, gone when the next arrives.
  void feed(Bytes bytes) {
    const ByteVector piece = to_vector(bytes);
    cursor_.feed(piece);
    for (;;) {
      const auto record = cursor_.next();
      if (!record) return note(record.error());
      if (*record == nullptr) return;
      out_.records.push_back(written(**record, format_.content));
    }
  }
  Outcome<Format> end() {
    if (const auto ended = cursor_.end(); !ended) note(ended.error());
    return out_;
  }

 private:
  void note(const Error& e) { out_.error.emplace(e.offset, e.reason); }
  Format format_;
  patnc::Cursor<Format> cursor_;
  Outcome<Format> out_;
};

template <class Format>
Outcome<Format> in_pieces(Bytes value, Format format, std::size_t size) {
  Feeder<Format> feeder(format);
  for (std::size_t at = 0; at < value.size(); at += size)
    feeder.feed(value.subspan(at, std::min(size, value.size() - at)));
  return feeder.end();
}

template <class Format>
void expect_same_wherever_cut(Bytes value, Format format, std::size_t records, bool good) {
  const auto whole = in_pieces(value, format, value.size());
  EXPECT_EQ(whole.records.size(), records);
  EXPECT_EQ(!whole.error, good);
  for (std::size_t size = 1; size <= value.size(); ++size) ASSERT_EQ(in_pieces(value, format, size), whole) << size;
  for (std::size_t cut = 0; cut <= value.size(); ++cut) {
    Feeder<Format> feeder(format);
    feeder.feed(value.first(cut));
    feeder.feed({});
    feeder.feed(value.subspan(cut));
    ASSERT_EQ(feeder.end(), whole) << cut;
  }
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    Feeder<Format> feeder(format);
    for (std::size_t at = 0; at < value.size();) {
      const std::size_t size = std::min<std::size_t>(random() % 40, value.size() - at);
      feeder.feed(value.subspan(at, size));
      at += size;
    }
    ASSERT_EQ(feeder.end(), whole);
  }
}

const std::vector<SoftwareRecord> software = {
    {1, 0, 0, 1, "a.example__one-1.0", "file:///usr/share/one", as_bytes("<SoftwareIdentity name=\"one\"/>")},
    {2, 0, 1, 2, "b", "", {}},
    {3, 9586, 200, 255,
     "a.example__gr\xC3\xBC\xC3\x9F"
     "e-2",
     "file:///opt/%C3%BC", as_bytes("\0\0\0\0\0\0\0\0\0\0\0\0"sv)},
};

TEST(Pieces, OfInventoriesGiveTheSameRecords) {
  for (const Content content : {Content::identifiers, Content::records}) {
    Writer w;
    append_inventory(w, {.request_id = 1, .eid_epoch = 2, .last_eid = 3}, software, content);
    expect_same_wherever_cut(w.view(), InventoryFormat{.content = content}, 3, true);
  }
}

TEST(Pieces, OfEventsGiveTheSameEvents) {
  std::vector<Event> events;
  for (const SoftwareRecord& v : software)
    events.push_back({v.record_id, "2022-05-31T08:30:01Z", Action(1 + events.size() % 3), v});
  for (const Content content : {Content::identifiers, Content::records}) {
    Writer w;
    append_events(w, {.request_id = 1, .eid_epoch = 2, .last_eid = 3, .last_consulted_eid = 3}, events, content);
    expect_same_wherever_cut(w.view(), EventsFormat{.content = content}, 3, true);
  }
}

TEST(Pieces, OfMalformedInventoriesGiveTheSameError) {
  Writer w;
  append_inventory(w, {.request_id = 1, .eid_epoch = 2, .last_eid = 3}, software, Content::records);
  const ByteVector value = std::move(w).take();
  const InventoryFormat format{.content = Content::records};
  const struct {
    std::size_t at;
    std::uint8_t value;
    std::size_t records;
  } changes[] = {
      {3, 2, 2},      // count too low
      {3, 4, 3},      // count too high
      {1, 0xFF, 0},   // count above the limit
      {26, 0xFF, 0},  // length of the first identifier above the limit
      {26, 0x0F, 0},  // beyond the value
      {28, 0xFF, 0},  // first identifier not UTF-8
      {28, 0x00, 0},  // NUL in the first identifier
      {69, 0xFF, 0},  // length of the first record above the limit
  };
  for (const auto& change : changes) {
    ByteVector bad = value;
    bad[change.at] = std::byte(change.value);
    expect_same_wherever_cut(Bytes(bad), format, change.records, false);
  }
  expect_same_wherever_cut(Bytes(value).first(value.size() - 1), format, 2, false);
  expect_same_wherever_cut(Bytes(value).first(15), format, 0, false);
  ByteVector longer = value;
  longer.push_back(std::byte{0});
  expect_same_wherever_cut(Bytes(longer), format, 3, false);
}

TEST(Pieces, TellHowManyRecordsFollow) {
  Writer w;
  append_inventory(w, {}, software, Content::identifiers);
  InventoryCursor cursor(0);
  EXPECT_EQ(cursor.header(), nullptr);
  cursor.feed(w.view().first(20));
  EXPECT_EQ(cursor.next().value(), nullptr);
  ASSERT_NE(cursor.header(), nullptr);
  EXPECT_EQ(cursor.to_follow(), 3U);
  cursor.feed(w.view().subspan(20));
  EXPECT_EQ(cursor.next().value()->record_id, 1U);
  EXPECT_EQ(cursor.to_follow(), 2U);
  EXPECT_EQ(cursor.next().value()->identifier, "b");
  EXPECT_EQ(cursor.next().value()->record_id, 3U);
  EXPECT_EQ(cursor.next().value(), nullptr);
  EXPECT_EQ(cursor.to_follow(), 0U);
  EXPECT_TRUE(cursor.end());
}

// Segments of the size that the seed shows, filled with records as they are needed.
TEST(Pieces, HundredThousandRecordsTakeTheMemoryOfOne) {
  constexpr std::uint32_t records = 100'000;
  constexpr std::size_t segment = 32'698;
  Writer pending;
  append_inventory_header(pending, {.count = records, .request_id = 1, .eid_epoch = 2, .last_eid = 3});
  std::uint32_t made = 0, read = 0;
  std::size_t most_held = 0;
  InventoryCursor cursor(12);
  while (made < records || pending.size() != 0) {
    while (made < records && pending.size() < segment) {
      const std::string identifier = "a.example__package-" + std::to_string(++made);
      append_software(pending, {.record_id = made, .identifier = identifier}, Content::identifiers);
    }
    const ByteVector bytes = std::move(pending).take();
    const std::size_t size = std::min(segment, bytes.size());
    cursor.feed(Bytes(bytes).first(size));
    for (;;) {
      const auto record = cursor.next().value();
      if (record == nullptr) break;
      ASSERT_EQ(record->record_id, ++read);
      ASSERT_EQ(record->identifier, "a.example__package-" + std::to_string(read));
    }
    most_held = std::max(most_held, cursor.held_bytes());
    pending = Writer();
    pending.put_bytes(Bytes(bytes).subspan(size));
  }
  EXPECT_TRUE(cursor.end());
  EXPECT_EQ(read, records);
  EXPECT_LE(most_held, 256U);  // a record has up to 39 bytes
}

TEST(Pieces, AnAnnouncedLengthTakesNoMemoryUntilItsBytesCome) {
  Writer w;
  append_inventory_header(w, {.count = 2});
  append_software(w, {.identifier = "a"}, Content::identifiers);
  w.put(std::uint32_t(4) << 20);
  InventoryCursor cursor(0, {.content = Content::records});
  cursor.feed(w.view());
  EXPECT_EQ(cursor.next().value(), nullptr);
  EXPECT_LE(cursor.held_bytes(), 64U);
  const ByteVector tag(std::size_t(4) << 20, std::byte{'x'});
  cursor.feed(tag);
  EXPECT_TRUE(equal(cursor.next().value()->record, tag));
  EXPECT_EQ(cursor.next().value(), nullptr);
  EXPECT_LE(cursor.held_bytes(), std::size_t(64) << 10);  // given back
}

}  // namespace
}  // namespace gatehouse::swima
