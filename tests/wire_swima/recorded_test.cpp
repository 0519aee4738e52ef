// The attributes of the recorded conversations: read, and written again to the same bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/hex.h"
#include "tests/wire_patnc/rewrite.h"
#include "wire/patnc/segmentation.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/swima/swima.h"

namespace gatehouse::swima {
namespace {

namespace type = patnc::type;
const std::filesystem::path interop = std::filesystem::path(GATEHOUSE_TEST_DATA) / "interop";

std::vector<std::filesystem::path> sorted(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

ByteVector read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return to_vector(as_bytes(text));
}

struct Found {
  std::map<std::uint32_t, std::size_t> ietf, ita;  // attributes by type
  std::size_t events = 0;
  std::vector<ByteVector> segments;  // of SWIMA, in order
};

void expect_events(const patnc::Attribute& a, Found& found) {
  Reader r(a.value, "recorded", a.value_offset());
  std::uint32_t last = 0;
  const auto header = patnc::parse_records(r, EventsFormat{}, [&](const Event& e) {
    EXPECT_GE(e.eid, last);
    last = e.eid;
    EXPECT_EQ(split_identifier(e.software.identifier).value().regid, "strongswan.org");
    ++found.events;
  });
  ASSERT_TRUE(header) << header.error().text();
  EXPECT_EQ(header->last_eid, header->last_consulted_eid);
  EXPECT_EQ(header->eid_epoch, 0x38cd4cc6U);
  EXPECT_EQ(last, header->last_eid);
}

void expect_rewritten(const patnc::Attribute& a, Found& found) {
  if (a.vendor == patnc::vendor_ietf) ++found.ietf[a.type];
  if (a.vendor == patnc::vendor_ita) ++found.ita[a.type];
  const auto again = patnc::rewrite_value(a);
  ASSERT_TRUE(again) << patnc::attribute_name(a.vendor, a.type) << ": " << again.error().text();
  EXPECT_EQ(to_hex(*again), to_hex(a.value)) << patnc::attribute_name(a.vendor, a.type);
  if (a.is(patnc::vendor_ietf, type::software_identifier_events)) expect_events(a, found);
}

void expect_message(const pbtnc::PaMessage& pa, Found& found) {
  const auto message = patnc::parse_message(pa.body, [](std::uint32_t, std::uint32_t) { return true; });
  ASSERT_TRUE(message);
  ASSERT_FALSE(message->refusal);
  for (const patnc::Attribute& a : message->attributes) {
    expect_rewritten(a, found);
    if (pa.vendor != patnc::vendor_ietf || pa.subtype != patnc::subtype_swima) continue;
    if (!a.is(patnc::vendor_tcg, type::segment_envelope)) continue;
    Reader r(a.value, "recorded");
    found.segments.push_back(to_vector(patnc::parse_envelope(r).value().segment));
  }
}

Found conversation(const std::filesystem::path& folder) {
  Found found;
  for (const auto& path : sorted(folder / "batches")) {
    const ByteVector bytes = read(path);
    const auto batch = pbtnc::parse_batch(bytes, path.string().find("-c2s-") != std::string::npos);
    EXPECT_TRUE(batch) << path;
    if (!batch) continue;
    for (const pbtnc::Message& m : batch->messages)
      if (m.vendor == pbtnc::vendor_ietf && m.type == pbtnc::type::pa) expect_message(pbtnc::pa_message(m), found);
  }
  return found;
}

TEST(RecordedConversations, AreReadAndWrittenAgain) {
  std::size_t conversations = 0, whole = 0, segmented = 0;
  for (const auto& folder : sorted(interop)) {
    if (!std::filesystem::exists(folder / "index.json") || !std::filesystem::exists(folder / "batches")) continue;
    SCOPED_TRACE(folder.filename().string());
    Found found = conversation(folder);
    ++conversations;
    EXPECT_EQ(found.ietf[type::swima_request], 1U);
    EXPECT_EQ(found.ita[type::ita_device_id], 1U);
    for (const std::uint32_t pushed : {2U, 3U, 4U, 5U, 11U, 12U}) EXPECT_EQ(found.ietf[pushed], 1U) << pushed;

    whole += found.ietf[type::software_identifier_events];
    if (found.segments.empty()) continue;
    // Events in segments: the same records by cursor as they arrive and when they are put together.
    ++segmented;
    EventsCursor cursor(patnc::attribute_header_size);
    std::size_t arrived = 0;
    ByteVector base;
    for (const ByteVector& segment : found.segments) {
      cursor.feed(base.empty() ? Bytes(segment).subspan(patnc::attribute_header_size) : Bytes(segment));
      base.insert(base.end(), segment.begin(), segment.end());
      while (cursor.next().value() != nullptr) ++arrived;
      EXPECT_LE(cursor.held_bytes(), 1024U);
    }
    EXPECT_TRUE(cursor.end());
    EXPECT_GT(found.segments.size(), 10U);
    Reader r(base, "recorded");
    patnc::Attribute a;
    ASSERT_FALSE(patnc::parse_attribute(r, a));
    EXPECT_TRUE(r.empty());
    EXPECT_TRUE(a.is(patnc::vendor_ietf, type::software_identifier_events));
    expect_rewritten(a, found);
    EXPECT_EQ(found.events, arrived);
    EXPECT_EQ(found.events, 235U);
  }
  EXPECT_EQ(conversations, 12U);
  EXPECT_EQ(whole, 11U);
  EXPECT_EQ(segmented, 1U);
}

}  // namespace
}  // namespace gatehouse::swima
