// Recorded batches taken apart: nothing is left out or told twice, nothing recorded is called malformed, and whatever
// is cut off is named where it is missing.
#include "server/trace/dissect.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>

#include "base/file.h"
#include "base/hex.h"
#include "base/writer.h"
#include "server/trace/recording.h"
#include "wire/patnc/patnc.h"
#include "wire/pbtnc/pbtnc.h"

namespace gatehouse::trace {
namespace {

const std::string interop = std::string(GATEHOUSE_TEST_DATA) + "/interop";

// Leaves cover each byte exactly once and in order.
bool covers(const Field& f, std::size_t& at) {
  if (f.offset != at) return false;
  for (const Field& inner : f.fields)
    if (!covers(inner, at)) return false;
  if (f.fields.empty()) at += f.length;
  return at == f.offset + f.length;
}
bool covers(const Dissection& d, std::size_t size) {
  std::size_t at = 0;
  return covers(d.root, at) && at == size;
}

std::size_t count(const Field& f, std::string_view name) {
  std::size_t n = f.name == name ? 1 : 0;
  for (const Field& inner : f.fields) n += count(inner, name);
  return n;
}
const Field* find(const Field& f, std::string_view name) {
  if (f.name == name) return &f;
  for (const Field& inner : f.fields)
    if (const Field* const found = find(inner, name)) return found;
  return nullptr;
}

std::vector<std::string> conversations() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(interop))
    if (std::filesystem::exists(entry.path() / "index.json")) out.push_back(entry.path());
  return out;
}

TEST(Dissect, EveryRecordedMessageIsCoveredOnceAndWellFormed) {
  std::size_t batches = 0;
  for (const std::string& folder : conversations()) {
    const auto recorded = read_recording(folder);
    ASSERT_TRUE(recorded) << recorded.error().text();
    Reassembly reassembly;
    for (const RecordedMessage& m : recorded->messages) {
      const Dissection d = m.batch != 0 ? dissect_batch(m.bytes, &reassembly) : dissect_message(m.bytes);
      batches += m.batch != 0;
      ASSERT_TRUE(covers(d, m.bytes.size())) << folder << " message " << m.number;
      EXPECT_TRUE(d.problems.empty()) << folder << " message " << m.number << ": " << d.problems.front().reason;
      for (const Field& whole : d.reassembled) {
        std::size_t at = 0;
        EXPECT_TRUE(covers(whole, at));
      }
      boost::system::error_code ec;
      const auto parsed = boost::json::parse(json(d), ec);
      ASSERT_FALSE(ec);
      EXPECT_EQ(parsed.at("length").to_number<std::size_t>(), m.bytes.size());
    }
    EXPECT_TRUE(reassembly.transfers.empty()) << folder << ": an attribute never came to its end";
  }
  EXPECT_GT(batches, 400U);
}

TEST(Dissect, AttributesThatCameInSegmentsAreShownWhole) {
  const auto recorded = read_recording(interop + "/sasl-ecc-2k");
  ASSERT_TRUE(recorded);
  Reassembly reassembly;
  std::size_t events = 0;
  for (const RecordedMessage& m : recorded->messages) {
    if (m.batch == 0) continue;
    for (const Field& whole : dissect_batch(m.bytes, &reassembly).reassembled) events += count(whole, "event");
  }
  EXPECT_EQ(events, 235U);  // "received 235 SW ID events" in the server's log
}

TEST(Dissect, EveryItemOfEvidenceIsThere) {
  std::size_t items = 0;
  const auto recorded = read_recording(interop + "/sasl-rsa");
  ASSERT_TRUE(recorded);
  for (const RecordedMessage& m : recorded->messages)
    if (m.batch != 0) items += count(dissect_batch(m.bytes).root, "attribute TCG/Simple Component Evidence");
  EXPECT_EQ(items, 136U + 1733U);
}

TEST(Dissect, CutAnywhereItNamesWhatIsMissing) {
  const auto batch = read_file(interop + "/sasl-rsa/batches/001-c2s-CDATA.bin", 1 << 20);
  ASSERT_TRUE(batch);
  for (std::size_t size = 0; size < batch->size(); ++size) {
    const Bytes cut = Bytes(*batch).first(size);
    const Dissection d = dissect_batch(cut);
    ASSERT_TRUE(covers(d, size)) << size;
    ASSERT_FALSE(d.problems.empty()) << size;
    EXPECT_LE(d.problems.front().offset, size);
  }
}

TEST(Dissect, AMalformedAttributeDoesNotHideItsNeighbours) {
  Writer body;
  body.put(std::uint8_t{1});
  body.put24(0);
  body.put(std::uint32_t{7});
  const ByteVector short_version(5, std::byte(0));
  patnc::append_attribute(body, 0, patnc::vendor_ietf, patnc::type::numeric_version, short_version);
  Writer id;
  patnc::append_device_id(id, "abc");
  patnc::append_attribute(body, 0, patnc::vendor_ita, patnc::type::ita_device_id, id.view());
  Writer message;
  pbtnc::append_pa(message, {.vendor = 0, .subtype = 1, .collector = 1, .body = body.view()});
  const ByteVector batch = pbtnc::batch(pbtnc::BatchType::cdata, false, message.view());
  const Dissection d = dissect_batch(batch);
  EXPECT_TRUE(covers(d, batch.size()));
  ASSERT_EQ(d.problems.size(), 1U);
  // batch 8, PB-TNC 12, PB-PA 12, PA-TNC 8, attribute 12
  EXPECT_EQ(d.problems.front().offset, 52U);
  ASSERT_NE(find(d.root, "malformed"), nullptr);
  const Field* const device = find(d.root, "text");
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(device->value, "abc");
  EXPECT_NE(text(d).find("malformed at 52: "), std::string::npos);
}

TEST(Dissect, BriefTextFoldsRunsAndFullTextDoesNot) {
  const auto batch = read_file(interop + "/sasl-rsa/batches/011-c2s-CDATA.bin", 1 << 20);
  ASSERT_TRUE(batch);
  const Dissection d = dissect_batch(*batch);
  const std::size_t items = count(d.root, "attribute TCG/Simple Component Evidence");
  ASSERT_GT(items, 10U);
  const auto lines = [](const std::string& t, std::string_view what) {
    std::size_t n = 0;
    for (std::size_t at = t.find(what); at != std::string::npos; at = t.find(what, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(lines(text(d), "attribute TCG/Simple Component Evidence"), items);
  EXPECT_LT(lines(text(d, {.brief = true}), "attribute TCG/Simple Component Evidence"), 4U);
  EXPECT_NE(text(d, {.brief = true}).find(" × attribute TCG/Simple Component Evidence"), std::string::npos);
}

TEST(Dissect, APasswordIsNotShown) {
  const auto recorded = read_recording(interop + "/sasl-rsa");
  ASSERT_TRUE(recorded);
  std::string all;
  for (const RecordedMessage& m : recorded->messages)
    if (m.batch == 0) all += text(dissect_message(m.bytes)) + json(dissect_message(m.bytes));
  EXPECT_NE(all.find("PLAIN"), std::string::npos);
  EXPECT_EQ(all.find("Ar3etTnp"), std::string::npos);
  EXPECT_EQ(all.find(to_hex(as_bytes("Ar3etTnp"))), std::string::npos);
}

}  // namespace
}  // namespace gatehouse::trace
