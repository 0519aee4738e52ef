// The sender of segments alone, and both ends together (spec part 1b §3.4, §3.5, §8.11).
#include <map>

#include "tests/wire_segmentation/support.h"

using namespace gatehouse;
using namespace gatehouse::testing;
using patnc::Builder;
using patnc::Reassembler;
using patnc::Segmenter;

namespace {

constexpr std::uint32_t vendor_tcg = patnc::vendor_tcg;

// Carries messages from a segmenter to a reassembler until nothing is asked for any more.
struct Transfer {
  Segmenter& from;
  Reassembler& to;
  std::size_t limit;
  std::vector<ByteVector> complete{};
  std::size_t rounds = 0;

  void run(Builder first) {
    auto messages = first.take();
    while (!messages.empty()) {
      ASSERT_LT(++rounds, 10'000U);
      Builder next(limit, 1);
      for (const ByteVector& message : messages) {
        ASSERT_LE(message.size(), limit);
        for (const patnc::Attribute& a : attributes(message)) {
          if (!a.is(vendor_tcg, patnc::type::segment_envelope)) {
            complete.push_back(attribute(a.flags, a.vendor, a.type, a.value));
            continue;
          }
          auto step = to.add(envelope(a), a.value_offset());
          ASSERT_FALSE(step.refusal) << step.why;
          ASSERT_FALSE(step.cancel) << step.why;
          if (step.attribute) complete.push_back(std::move(*step.attribute));
          if (!step.ask_next) continue;
          ASSERT_NE(from.next(next, {0, step.id}), Segmenter::Answer::unknown);
        }
      }
      EXPECT_TRUE(to.batch_end(true).empty());
      messages = next.take();
    }
  }
};

// The three packages of §8.11.
const ByteVector packages =
    hex("00000003 04 62617368 0e 352e302d367562756e7475312e31"
        "04 64706b67 0d 312e31392e377562756e747533"
        "09 6c696273736c312e31 12 312e312e31662d317562756e7475322e3133");

}  // namespace

TEST(Segmenter, every_segment_size_gives_the_attribute_back) {
  const ByteVector value = pattern(300);
  const ByteVector original = attribute(0x80, patnc::vendor_ita, 10, value);
  for (std::uint32_t size = 12; size <= original.size(); ++size) {
    for (const std::size_t before : {std::size_t{0}, std::size_t{560}, std::size_t{570}, std::size_t{580}}) {
      Segmenter sender(600);
      ASSERT_EQ(sender.agree({patnc::unlimited, size}).max_segment_size, size);
      Reassembler receiver;
      Builder out(600, 1);
      const bool first = before != 0 && out.add(0, 0, 1, pattern(before - 20));
      ASSERT_TRUE(sender.add(out, 0x80, patnc::vendor_ita, 10, ByteVector(value)));
      Transfer transfer{sender, receiver, 600};
      transfer.run(std::move(out));
      ASSERT_EQ(transfer.complete.size(), first ? 2U : 1U) << size;
      EXPECT_TRUE(equal(transfer.complete.back(), original)) << size << " after " << before;
      EXPECT_EQ(sender.transfers(), 0U);
      EXPECT_EQ(sender.waiting_bytes(), 0U);
      EXPECT_EQ(receiver.transfers(), 0U);
    }
  }
}

// Rule 3: segmented only above the segment size and what an envelope costs.
TEST(Segmenter, threshold_is_sixteen_above_the_segment_size) {
  for (const std::uint32_t size : {12U, 67U, 68U, 500U}) {
    Segmenter sender(600);
    sender.agree({patnc::unlimited, size});
    EXPECT_FALSE(sender.segments(size + 16));
    EXPECT_TRUE(sender.segments(size + 17));
    for (const std::size_t total : {std::size_t{size} + 16, std::size_t{size} + 17}) {
      Builder out(600, 1);
      ASSERT_TRUE(sender.add(out, 0, 0, 1, pattern(total - 12)));
      const auto messages = out.take();
      EXPECT_EQ(attributes(messages.at(0)).at(0).is(vendor_tcg, patnc::type::segment_envelope), total == size + 17);
    }
  }
  // A value of 72 is segmented at 67, not at 68.
  Segmenter sender(600);
  sender.agree({patnc::unlimited, 67});
  EXPECT_TRUE(sender.segments(12 + 72));
  sender.agree({patnc::unlimited, 68});
  EXPECT_FALSE(sender.segments(12 + 72));
}

TEST(Segmenter, example_of_the_specification_byte_for_byte) {
  Segmenter sender(600);
  sender.agree({patnc::unlimited, 40});
  const char* expected[] = {
      "00005597 00000023 00000038 c0000001 00000000 00000007 00000054 00000003 "
      "04626173680e352e302d367562756e7475312e3104 64706b",
      "00005597 00000023 00000038 80000001 670d312e31392e377562756e74753309 "
      "6c696273736c312e3112312e312e31662d317562756e7475",
      "00005597 00000023 00000014 00000001 322e3133"};
  Builder out(600, 1);
  ASSERT_TRUE(sender.add(out, 0, 0, 7, ByteVector(packages)));
  auto messages = out.take();
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(to_hex(Bytes(messages[0]).subspan(8)), to_hex(hex(expected[0])));
  for (int i = 1; i < 3; ++i) {
    Builder next(600, 2);
    EXPECT_EQ(sender.next(next, {0, 1}), i == 1 ? Segmenter::Answer::more : Segmenter::Answer::last);
    messages = next.take();
    EXPECT_EQ(to_hex(Bytes(messages.at(0)).subspan(8)), to_hex(hex(expected[i])));
  }
  // The receiver's Next Segment.
  Reassembler receiver;
  const auto step = receiver.add(envelope(0xC0, 1, attribute(0, 0, 7, packages)), 20);
  Builder answer(600, 1);
  ASSERT_TRUE(add_next_segment(answer, step));
  EXPECT_EQ(to_hex(Bytes(answer.take().at(0)).subspan(8)),
            "000055970000002400000010"
            "00000001");
}

// §8.11: with 40 octets left the first envelope carries 24, the following up to the segment size.
TEST(Segmenter, first_segment_takes_the_room_that_is_left) {
  Segmenter sender(600);
  sender.agree({patnc::unlimited, 32});
  Builder out(600, 1);
  ASSERT_TRUE(out.add(0, 0, 1, pattern(600 - 8 - 12 - 40)));
  ASSERT_EQ(out.room(), 40U);
  ASSERT_TRUE(sender.add(out, 0, 0, 7, ByteVector(packages)));
  const auto messages = out.take();
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].size(), 600U);
  EXPECT_EQ(envelope(attributes(messages[0]).at(1)).segment.size(), 24U);
  Builder next(600, 2);
  sender.next(next, {0, 1});
  const auto following = next.take();
  EXPECT_EQ(envelope(attributes(following.at(0)).at(0)).segment.size(), 32U);
}

// Rule 4: 12 + 4 + 12 octets, or the next message.
TEST(Segmenter, less_than_28_octets_left_start_the_next_message) {
  for (const std::size_t left : {std::size_t{27}, std::size_t{28}}) {
    Segmenter sender(600);
    sender.agree({patnc::unlimited, 64});
    Builder out(600, 1);
    ASSERT_TRUE(out.add(0, 0, 1, pattern(600 - 8 - 12 - left)));
    ASSERT_TRUE(sender.add(out, 0, 0, 7, pattern(100)));
    const auto messages = out.take();
    ASSERT_EQ(messages.size(), left == 27 ? 2U : 1U);
    EXPECT_EQ(envelope(attributes(messages.back()).back()).segment.size(), left == 27 ? 64U : 12U);
  }
}

// §10.5: sizes of an observed exchange.
TEST(Segmenter, sizes_of_the_observed_package_list) {
  Segmenter sender(9'000);
  EXPECT_EQ(sender.agree({patnc::unlimited, 65'466}), (patnc::Contract{patnc::unlimited, 8'976}));
  Reassembler receiver;
  Builder out(9'000, 1);
  Writer response;
  patnc::append_contract(response, *sender.contract());
  ASSERT_TRUE(out.add(0, vendor_tcg, patnc::type::contract_response, response.view()));
  ASSERT_TRUE(sender.add(out, 0, 0, 7, pattern(22'314 - 12)));
  EXPECT_EQ(out.room(), 0U);
  const std::size_t expected[] = {8'956, 8'976, 4'382};
  auto messages = out.take();
  for (const std::size_t size : expected) {
    ASSERT_EQ(messages.size(), 1U);
    const auto e = envelope(attributes(messages[0]).back());
    EXPECT_EQ(e.segment.size(), size);
    EXPECT_EQ(e.id, 1U);
    Builder next(9'000, 1);
    sender.next(next, {0, 1});
    messages = next.take();
  }
  EXPECT_TRUE(messages.empty());
}

TEST(Segmenter, several_attributes_are_in_transfer_at_once) {
  Segmenter sender(200);
  sender.agree({patnc::unlimited, 50});
  Reassembler receiver;
  Builder out(200, 1);
  std::vector<ByteVector> sent;
  for (unsigned i = 0; i < 4; ++i) {
    sent.push_back(attribute(0, 0, 100 + i, pattern(90 + 70 * i, 3 + i)));
    ASSERT_TRUE(sender.add(out, 0, 0, 100 + i, pattern(90 + 70 * i, 3 + i)));
  }
  EXPECT_EQ(sender.transfers(), 4U);
  Transfer transfer{sender, receiver, 200};
  transfer.run(std::move(out));
  ASSERT_EQ(transfer.complete.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_TRUE(equal(transfer.complete[i], sent[i])) << i;
}

TEST(Segmenter, cancel_drops_the_rest) {
  Segmenter sender(200);
  sender.agree({patnc::unlimited, 50});
  Builder out(200, 1);
  ASSERT_TRUE(sender.add(out, 0, 0, 1, pattern(150)));
  EXPECT_EQ(sender.waiting_bytes(), 150U);
  Builder next(200, 1);
  EXPECT_EQ(sender.next(next, {patnc::cancel_segments, 1}), Segmenter::Answer::cancelled);
  EXPECT_EQ(sender.next(next, {0, 1}), Segmenter::Answer::unknown);
  EXPECT_EQ(sender.next(next, {patnc::cancel_segments, 9}), Segmenter::Answer::unknown);
  EXPECT_TRUE(next.take().empty());
  EXPECT_EQ(sender.waiting_bytes(), 0U);
}

// Rule 6: 24 bits, never 0, never an id in use.
TEST(Segmenter, ids_wrap_and_skip_those_in_use) {
  Segmenter sender(100, {.transfers = 3, .max_id = 5});
  sender.agree({patnc::unlimited, 12});
  Builder sink(100, 1);
  const auto begin = [&] {
    Builder out(100, 1);
    EXPECT_TRUE(sender.add(out, 0, 0, 1, pattern(17)));
    const auto messages = out.take();
    return envelope(attributes(messages.at(0)).at(0)).id;
  };
  EXPECT_EQ(begin(), 1U);
  EXPECT_EQ(begin(), 2U);  // both stay in transfer
  for (const std::uint32_t id : {3U, 4U, 5U, 3U, 4U, 5U}) {
    EXPECT_EQ(begin(), id);
    EXPECT_EQ(sender.next(sink, {patnc::cancel_segments, id}), Segmenter::Answer::cancelled);
  }
  EXPECT_EQ(sender.next(sink, {patnc::cancel_segments, 1}), Segmenter::Answer::cancelled);
  EXPECT_EQ(begin(), 1U);
}

TEST(Segmenter, what_fits_nowhere_is_an_error_and_leaves_nothing) {
  Segmenter sender(100);
  Builder out(100, 1);
  EXPECT_TRUE(sender.add(out, 0, 0, 1, pattern(80)));
  EXPECT_EQ(sender.add(out, 0, 0, 1, pattern(81)).error().fault, Fault::limit);
  // Rule 1: an attribute above Max Message Size isn't segmented, and goes whole where it fits.
  sender.agree({90, 20});
  EXPECT_TRUE(sender.segments(90));
  EXPECT_FALSE(sender.segments(91));
  EXPECT_TRUE(sender.add(out, 0, 0, 1, pattern(79)));
  EXPECT_EQ(sender.transfers(), 0U);
  EXPECT_EQ(sender.add(out, 0, 0, 1, pattern(81)).error().fault, Fault::limit);
  // Rule 2, and the null contract.
  sender.agree({patnc::unlimited, 20});
  EXPECT_TRUE(sender.add(out, 0, 0, 1, pattern(81)));
  EXPECT_EQ(sender.transfers(), 1U);
  EXPECT_EQ(sender.agree({}), patnc::Contract{});
  EXPECT_EQ(sender.transfers(), 0U);
  EXPECT_FALSE(sender.contract());
  EXPECT_FALSE(sender.add(out, 0, 0, 1, pattern(81)));
}

TEST(Segmenter, what_waits_is_bounded) {
  Segmenter sender(100, {.transfers = 2, .bytes = 100});
  sender.agree({patnc::unlimited, 12});
  Builder out(100, 1);
  EXPECT_TRUE(sender.add(out, 0, 0, 1, pattern(60)));
  EXPECT_FALSE(sender.add(out, 0, 0, 1, pattern(41)));
  EXPECT_TRUE(sender.add(out, 0, 0, 1, pattern(40)));
  EXPECT_FALSE(sender.add(out, 0, 0, 1, pattern(20)));
  EXPECT_TRUE(sender.add(out, 0, 0, 1, pattern(16)));  // goes whole
}

// §9.4: a message size below the segment size is the segment size.
TEST(Segmenter, agrees_to_the_least_of_both_sizes_and_the_transport) {
  struct Row {
    patnc::Contract asked, agreed;
  };
  for (const Row& row : {Row{{patnc::unlimited, 32'698}, {patnc::unlimited, 32'698}},
                         Row{{patnc::unlimited, 65'467}, {patnc::unlimited, 65'466}},
                         Row{{1'000, 2'000}, {1'000, 1'000}}, Row{{1'000, 500}, {1'000, 500}},
                         Row{{1'000, patnc::unlimited}, {1'000, patnc::unlimited}}, Row{{4, 2'000}, {4, 12}}}) {
    Segmenter sender(65'490);
    EXPECT_EQ(sender.agree(row.asked), row.agreed);
    EXPECT_EQ(sender.contract(), row.agreed);
  }
}

TEST(Builder, holds_no_more_attributes_in_a_message_than_a_peer_takes) {
  Builder out(2'097'104, 7);
  for (std::size_t i = 0; i < patnc::max_attributes + 1; ++i) ASSERT_TRUE(out.add(0, 0, 1, Bytes{}));
  const auto messages = out.take();
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(messages[0].size(), 8 + 12 * patnc::max_attributes);
  EXPECT_EQ(messages[1].size(), 20U);
}
