// The receiver of segments: every row of the violation table, the caps, and a recorded transfer (spec part 1b §3.6,
// §3.8, §9.4).
#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "tests/wire_segmentation/support.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pts/pts.h"

using namespace gatehouse;
using namespace gatehouse::testing;
using patnc::Reassembler;

namespace {

constexpr std::size_t at = 20;  // of the envelope's value in its message

ByteVector header(std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, std::uint32_t length) {
  Writer w;
  w.put(flags);
  w.put24(vendor);
  w.put(type);
  w.put(length);
  return std::move(w).take();
}
ByteVector with(ByteVector head, std::size_t more) {
  const ByteVector value = pattern(more);
  head.insert(head.end(), value.begin(), value.end());
  return head;
}

Reassembler::Admission admit(std::uint32_t vendor, std::uint32_t type) {
  if (vendor == 0 && type == 99) return {.known = false};
  return {.known = true, .bytes = type == 7 ? std::size_t{200} : std::size_t{100}, .incremental = type == 7};
}

}  // namespace

TEST(Reassembler, violations_give_code_offset_and_answer) {
  struct Row {
    const char* what;
    std::vector<patnc::Envelope> before;
    patnc::Envelope envelope;
    std::optional<std::size_t> invalid;  // Invalid Parameter at this offset
    bool about_base, cancel;
    std::size_t transfers_after;
    bool unsupported = false;
  };
  const ByteVector good = with(header(0, 0, 1, 60), 20), rest = pattern(28), over = pattern(29), shorter = pattern(27);
  const ByteVector eleven = pattern(11), small = header(0, 0, 1, 11), large = header(0, 0, 1, 101),
                   most = header(0, 0, 1, 100), large_incremental = header(0, 0, 7, 201),
                   vendor = header(0, 0xFFFFFF, 1, 20), kind = header(0, 0, 0xFFFFFFFF, 20),
                   nested_contract = header(0, patnc::vendor_tcg, 0x21, 30),
                   nested_envelope = header(0, patnc::vendor_tcg, 0x23, 30),
                   nested_last = header(0, patnc::vendor_tcg, 0x27, 30), unknown = header(0, 0, 99, 30),
                   unknown_noskip = header(0x80, 0, 99, 30), longer = pattern(601);
  const patnc::Envelope first{0xC0, 5, good};
  const Row rows[] = {
      {"empty segment", {}, {0xC0, 5, {}}, at + 4, false, true, 0},
      {"empty last segment", {first}, {0x00, 5, {}}, at + 4, false, false, 0},
      {"S with an active id", {first}, {0xC0, 5, good}, at, false, true, 0},
      {"single S with an active id", {first}, {0x40, 5, good}, at, false, false, 0},
      {"no S, unknown id, more", {}, {0x80, 5, rest}, {}, true, true, 0},
      {"no S, unknown id, last", {}, {0x00, 5, rest}, {}, true, true, 0},
      {"no S, another id than the active one", {first}, {0x80, 6, rest}, {}, true, true, 1},
      {"first segment without the base header", {}, {0xC0, 5, eleven}, 0, true, true, 0},
      {"base length below its header", {}, {0xC0, 5, small}, 8, true, true, 0},
      {"base vendor reserved", {}, {0xC0, 5, vendor}, 1, true, true, 0},
      {"base type reserved", {}, {0xC0, 5, kind}, 4, true, true, 0},
      {"base length above the cap", {}, {0xC0, 5, large}, {}, true, true, 0},
      {"base length at the cap", {}, {0xC0, 5, most}, {}, true, false, 1},
      {"base length above the cap of its type", {}, {0xC0, 5, large_incremental}, {}, true, true, 0},
      {"segment longer than a message", {}, {0xC0, 5, longer}, at, false, true, 0},
      {"contract inside a segment", {}, {0xC0, 5, nested_contract}, 12, true, true, 0},
      {"envelope inside a segment", {}, {0xC0, 5, nested_envelope}, 12, true, true, 0},
      {"contract exemption inside a segment", {}, {0x40, 5, nested_last}, 12, true, false, 0},
      {"base attribute unknown", {}, {0xC0, 5, unknown}, {}, true, true, 0},
      {"base attribute unknown, complete", {}, {0x40, 5, unknown}, {}, true, false, 0},
      {"base attribute unknown with NOSKIP", {}, {0xC0, 5, unknown_noskip}, {}, true, true, 0, true},
      {"last segment, value incomplete", {first}, {0x00, 5, shorter}, 8, true, false, 0},
      {"single segment, value incomplete", {}, {0x40, 5, good}, 8, true, false, 0},
      {"last segment, value too long", {first}, {0x00, 5, over}, 8, true, false, 0},
      {"too long before the last segment", {first}, {0x80, 5, over}, 8, true, true, 0},
      {"well-formed", {first}, {0x00, 5, rest}, {}, true, false, 0},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    Reassembler receiver({.segment_bytes = 600}, admit);
    for (const patnc::Envelope& e : row.before) ASSERT_TRUE(receiver.add(e, at).ask_next);
    const auto step = receiver.add(row.envelope, at);
    EXPECT_EQ(step.id, row.envelope.id);
    EXPECT_EQ(step.refusal.has_value(), row.invalid.has_value() || row.unsupported);
    if (row.invalid && step.refusal) {
      EXPECT_EQ(step.refusal->code, patnc::ErrorCode::invalid_parameter);
      EXPECT_EQ(step.refusal->offset, *row.invalid);
      EXPECT_EQ(step.about_base, row.about_base);
    }
    if (row.unsupported && step.refusal) {
      EXPECT_EQ(to_hex(patnc::error_value(*step.refusal, patnc::pseudo_header(5))),
                "0000000000000003"
                "ffffffff00000005"
                "8000000000000063");
    }
    EXPECT_EQ(step.cancel, row.cancel);
    EXPECT_EQ(receiver.transfers(), row.transfers_after);
    EXPECT_FALSE(step.ask_next && step.cancel);
    EXPECT_EQ(step.attribute.has_value(), std::string_view(row.what) == "well-formed");
  }
}

TEST(Reassembler, violations_of_contract_and_next_segment_values) {
  const auto contract = [](std::string_view value) -> Result<patnc::Contract> {
    const ByteVector bytes = hex(value);
    Reader r(bytes, "test", at);
    return patnc::parse_contract(r);
  };
  EXPECT_EQ(contract("ffffffff 00007f").error().offset, at);
  EXPECT_EQ(contract("ffffffff 0000000b").error().offset, at + 4);
  EXPECT_TRUE(contract("ffffffff 0000000c"));
  EXPECT_EQ(contract("ffffffff 00007fba 00"), (patnc::Contract{patnc::unlimited, 32'698}));
  const ByteVector three = hex("c00000"), next = hex("80 00000700");
  Reader envelope_reader(three, "test", at), next_reader(three, "test", at), longer(next, "test", at);
  EXPECT_EQ(patnc::parse_envelope(envelope_reader).error().offset, at);
  EXPECT_EQ(patnc::parse_next_segment(next_reader).error().offset, at);
  const auto parsed = patnc::parse_next_segment(longer);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->flags, patnc::cancel_segments);
  EXPECT_EQ(parsed->id, 7U);
}

// §9.4: without a contract of ours the transfer is cancelled, and one issued to any peer counts.
TEST(Reassembler, segments_need_a_contract) {
  const ByteVector base = attribute(0, 0, 1, pattern(30));
  Reassembler receiver({.without_contract = false});
  auto step = receiver.add(envelope(0x40, 1, base), at);
  EXPECT_TRUE(step.cancel);
  EXPECT_FALSE(step.refusal);
  EXPECT_FALSE(receiver.agree({patnc::unlimited, 10}));  // a Response without a Request
  receiver.issue({patnc::unlimited, 1'000});
  EXPECT_TRUE(receiver.agree({50, 2'000}));  // larger than was asked for
  EXPECT_EQ(receiver.contract(), (patnc::Contract{patnc::unlimited, 1'000}));
  EXPECT_TRUE(receiver.agree({50, 500}));
  EXPECT_EQ(receiver.contract(), (patnc::Contract{patnc::unlimited, 500}));
  step = receiver.add(envelope(0x40, 1, base), at);
  ASSERT_TRUE(step.attribute);
  EXPECT_TRUE(equal(*step.attribute, base));
  receiver.issue({});
  EXPECT_TRUE(receiver.add(envelope(0x40, 1, base), at).cancel);
}

TEST(Reassembler, interleaved_ids_are_put_together_apart) {
  Reassembler receiver;
  std::vector<ByteVector> sent;
  for (unsigned i = 0; i < 4; ++i) sent.push_back(attribute(0, 0, i + 1, pattern(200 + i, i + 3)));
  std::vector<std::optional<ByteVector>> got(4);
  for (std::size_t from = 0; from < 220; from += 20)
    for (unsigned i = 0; i < 4; ++i) {
      const std::size_t left = sent[i].size() - from, size = std::min<std::size_t>(20, left);
      const std::uint8_t flags = std::uint8_t((from == 0 ? 0x40 : 0) | (size < left ? 0x80 : 0));
      auto step = receiver.add(envelope(flags, i + 1, Bytes(sent[i]).subspan(from, size)), at);
      ASSERT_FALSE(step.refusal);
      if (step.attribute) got[i] = std::move(step.attribute);
    }
  for (std::size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(got[i]) << i;
    EXPECT_TRUE(equal(*got[i], sent[i])) << i;
  }
}

TEST(Reassembler, fifth_transfer_is_cancelled) {
  Reassembler receiver;
  const ByteVector base = attribute(0, 0, 1, pattern(30));
  for (std::uint32_t id = 1; id <= 4; ++id)
    EXPECT_TRUE(receiver.add(envelope(0xC0, id, Bytes(base).first(20)), at).ask_next);
  const auto step = receiver.add(envelope(0xC0, 5, Bytes(base).first(20)), at);
  EXPECT_TRUE(step.cancel);
  EXPECT_FALSE(step.refusal);
  EXPECT_EQ(receiver.transfers(), 4U);
  EXPECT_TRUE(receiver.add(envelope(0x00, 2, Bytes(base).subspan(20)), at).attribute);
  EXPECT_TRUE(receiver.add(envelope(0xC0, 5, Bytes(base).first(20)), at).ask_next);
}

TEST(Reassembler, segment_4097_cancels) {
  Reassembler receiver;
  const ByteVector base = attribute(0, 0, 1, pattern(10'000));
  EXPECT_TRUE(receiver.add(envelope(0xC0, 1, Bytes(base).first(12)), at).ask_next);
  for (std::size_t i = 1; i < 4'096; ++i)
    ASSERT_TRUE(receiver.add(envelope(0x80, 1, Bytes(base).subspan(11 + i, 1)), at).ask_next);
  const auto step = receiver.add(envelope(0x80, 1, Bytes(base).subspan(4'107, 1)), at);
  EXPECT_TRUE(step.cancel);
  EXPECT_EQ(receiver.transfers(), 0U);
}

TEST(Reassembler, connection_has_one_budget_for_what_is_buffered) {
  patnc::ReassemblyBudget budget(1'000);
  {
    Reassembler one({}, {}, &budget), two({}, {}, &budget);
    const ByteVector large = attribute(0, 0, 1, pattern(588)), small = attribute(0, 0, 1, pattern(388));
    EXPECT_TRUE(one.add(envelope(0xC0, 1, Bytes(large).first(12)), at).ask_next);
    EXPECT_EQ(budget.used(), 600U);
    const auto step = two.add(envelope(0xC0, 1, Bytes(large).first(12)), at);
    EXPECT_TRUE(step.cancel);
    EXPECT_EQ(budget.used(), 600U);
    EXPECT_TRUE(two.add(envelope(0xC0, 2, Bytes(small).first(12)), at).ask_next);
    EXPECT_EQ(budget.used(), 1'000U);
    EXPECT_TRUE(one.add(envelope(0x00, 1, Bytes(large).subspan(12)), at).attribute);
    EXPECT_EQ(budget.used(), 400U);
  }
  EXPECT_EQ(budget.used(), 0U);
}

// Incremental attributes are handed on and not held: the same bytes whatever the cut, without any budget.
TEST(Reassembler, pieces_of_an_incremental_attribute_are_its_value) {
  const ByteVector value = pattern(180);
  const ByteVector base = attribute(0x80, 0, 7, value);
  patnc::ReassemblyBudget none(0);
  for (std::size_t size = 12; size <= base.size(); ++size) {
    Reassembler receiver({}, admit, &none);
    ByteVector got;
    for (std::size_t from = 0; from < base.size();) {
      const std::size_t n = std::min(size, base.size() - from);
      const bool last = from + n == base.size();
      const auto step = receiver.add(
          envelope(std::uint8_t((from == 0 ? 0x40 : 0) | (last ? 0 : 0x80)), 3, Bytes(base).subspan(from, n)), at);
      ASSERT_TRUE(step.piece) << size;
      EXPECT_FALSE(step.attribute);
      EXPECT_EQ(step.ask_next, !last);
      EXPECT_EQ(step.piece->at, got.size());
      EXPECT_EQ(step.piece->value_size, 180U);
      EXPECT_EQ(step.piece->type, 7U);
      EXPECT_EQ(step.piece->flags, 0x80);
      EXPECT_EQ(step.piece->last, last);
      got.insert(got.end(), step.piece->bytes.begin(), step.piece->bytes.end());
      from += n;
    }
    EXPECT_TRUE(equal(got, value)) << size;
    EXPECT_EQ(receiver.transfers(), 0U);
  }
}

// The reader of a piece finds the value wrong: an error with the pseudo header, then C.
TEST(Reassembler, refused_value_is_cancelled_only_while_there_is_more) {
  const ByteVector base = attribute(0, 0, 7, pattern(60));
  for (const bool more : {true, false}) {
    Reassembler receiver({}, admit);
    const auto step =
        receiver.add(envelope(std::uint8_t(more ? 0xC0 : 0x40), 7, Bytes(base).first(more ? 30 : 72)), at);
    const auto refused = receiver.refuse(step, 12 + 4, "bad record");
    ASSERT_TRUE(refused.refusal);
    EXPECT_EQ(to_hex(patnc::error_value(*refused.refusal, patnc::pseudo_header(7))),
              "0000000000000001"
              "ffffffff00000007"
              "00000010");
    EXPECT_TRUE(refused.about_base);
    EXPECT_EQ(refused.cancel, more);
    EXPECT_EQ(receiver.transfers(), 0U);
    EXPECT_EQ(receiver.cancel(step, "not wanted").cancel, more);
  }
}

// §3.8: a peer that ignores C sends one more segment, which is dropped without an answer; the next one isn't.
TEST(Reassembler, stray_segment_after_a_cancel_is_dropped_silently_once) {
  Reassembler receiver({}, admit);
  const ByteVector large = header(0, 0, 1, 5'000), rest = pattern(40);
  EXPECT_TRUE(receiver.add(envelope(0xC0, 1, large), at).cancel);
  const auto stray = receiver.add(envelope(0x80, 1, rest), at);
  EXPECT_FALSE(stray.cancel || stray.ask_next || stray.refusal || stray.attribute);
  EXPECT_TRUE(receiver.add(envelope(0x80, 1, rest), at).cancel);
  // The id may be used again.
  EXPECT_TRUE(receiver.add(envelope(0x40, 1, attribute(0, 0, 1, pattern(20))), at).attribute);
}

// §3.8: a peer that has nothing more to say, or says other things for too long.
TEST(Reassembler, transfer_that_stops_is_dropped) {
  patnc::ReassemblyBudget budget;
  Reassembler receiver({.batches = 3}, {}, &budget);
  const ByteVector base = attribute(0, 0, 17, pattern(60));
  EXPECT_TRUE(receiver.add(envelope(0xC0, 1, Bytes(base).first(20)), at).ask_next);
  EXPECT_TRUE(receiver.add(envelope(0xC0, 2, Bytes(base).first(20)), at).ask_next);
  EXPECT_TRUE(receiver.batch_end(true).empty());
  EXPECT_TRUE(receiver.batch_end(true).empty());  // the segments wait behind other messages
  EXPECT_TRUE(receiver.add(envelope(0x80, 2, Bytes(base).subspan(20, 20)), at).ask_next);
  const auto dropped = receiver.batch_end(false);
  ASSERT_EQ(dropped.size(), 1U);
  EXPECT_EQ(dropped[0].id, 1U);
  EXPECT_EQ(dropped[0].type, 17U);
  EXPECT_EQ(budget.used(), 72U);
  EXPECT_TRUE(receiver.add(envelope(0x80, 1, Bytes(base).subspan(20, 20)), at).cancel);
  EXPECT_TRUE(receiver.batch_end(true).empty());
  EXPECT_TRUE(receiver.batch_end(true).empty());
  EXPECT_EQ(receiver.batch_end(true).size(), 1U);
  EXPECT_EQ(budget.used(), 0U);
}

// What strongSwan's collectors sent: real Segment Envelopes and the Next Segments that fetched them.
TEST(Reassembler, recorded_segments_are_put_together) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(GATEHOUSE_TEST_DATA "/interop/sasl-ecc-2k/batches"))
    files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  ASSERT_FALSE(files.empty());
  std::map<std::uint32_t, Reassembler> receivers;  // by subtype
  std::map<std::uint32_t, std::vector<std::uint32_t>>
      asked;  // ids that the recorded server asked for after a batch of the client
  std::map<std::uint32_t, std::vector<std::uint32_t>> expected;
  std::size_t complete = 0, segments = 0;
  for (const std::string& file : files) {
    SCOPED_TRACE(file);
    const bool from_client = file.find("-c2s-") != std::string::npos;
    const ByteVector bytes = read_file(file, 1 << 20).value();
    const auto batch = pbtnc::parse_batch(bytes, from_client);
    ASSERT_TRUE(batch);
    for (const pbtnc::Message& message : batch->messages) {
      if (message.vendor != pbtnc::vendor_ietf || message.type != pbtnc::type::pa) continue;
      const auto pa = pbtnc::pa_message(message);
      for (const patnc::Attribute& a : attributes(pa.body)) {
        if (!from_client && a.is(patnc::vendor_tcg, patnc::type::next_segment)) {
          Reader r(a.value, "test");
          asked[pa.subtype].push_back(patnc::parse_next_segment(r).value().id);
        }
        if (!from_client || !a.is(patnc::vendor_tcg, patnc::type::segment_envelope)) continue;
        ++segments;
        auto step = receivers[pa.subtype].add(envelope(a), a.value_offset());
        ASSERT_FALSE(step.refusal);
        if (step.ask_next) expected[pa.subtype].push_back(step.id);
        if (!step.attribute) continue;
        ++complete;
        Reader r(*step.attribute, "test");
        patnc::Attribute base;
        ASSERT_FALSE(patnc::parse_attribute(r, base));
        EXPECT_TRUE(r.empty());
        EXPECT_EQ(patnc::attribute_name(base.vendor, base.type).find("0x"), std::string::npos);
      }
    }
    for (auto& [subtype, receiver] : receivers)
      EXPECT_TRUE(!from_client || receiver.batch_end(!batch->messages.empty()).empty());
  }
  EXPECT_GT(complete, 0U);
  EXPECT_GT(segments, complete);
  EXPECT_EQ(asked, expected);
}
