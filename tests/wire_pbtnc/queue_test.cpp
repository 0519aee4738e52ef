#include <gtest/gtest.h>

#include "wire/pbtnc/pbtnc.h"

namespace gatehouse::pbtnc {
namespace {

ByteVector message(std::size_t size, std::uint8_t mark = 0) { return ByteVector(size, std::byte(mark)); }

TEST(PbTncQueue, FillsBatchesInOrderUpToTheLimit) {
  Queue queue(108);  // a hundred bytes of messages
  EXPECT_TRUE(queue.push(message(100, 1)));
  EXPECT_TRUE(queue.push(message(60, 2)));
  EXPECT_TRUE(queue.push(message(41, 3)));
  EXPECT_TRUE(queue.push(message(40, 4)));
  EXPECT_EQ(queue.bytes(), 241U);
  EXPECT_EQ(queue.take(), message(100, 1));
  EXPECT_EQ(queue.take(), message(60, 2)) << "the first that doesn't fit stops the batch, though a later one would fit";
  ByteVector rest = message(41, 3);
  const ByteVector last = message(40, 4);
  rest.insert(rest.end(), last.begin(), last.end());
  EXPECT_EQ(queue.take(), rest);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0U);
  EXPECT_TRUE(queue.take().empty());
}

TEST(PbTncQueue, LeavesOutWhatNoBatchCouldCarry) {
  Queue queue(108);
  EXPECT_FALSE(queue.push(message(101)));
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.push(message(100)));
  EXPECT_TRUE(queue.take(1).empty());
  EXPECT_EQ(queue.take(0).size(), 100U);
}

TEST(PbTncQueue, ResultGoesWithWhatWaitsWhereItFits) {
  Queue queue(8 + 100);
  const Queue::ResultContent content{message(32, 7), {message(20, 8)}};
  queue.push(message(48, 1));
  const auto out = queue.take_result(content);
  EXPECT_EQ(out.type, BatchType::result);
  EXPECT_EQ(out.messages.size(), 100U);
  EXPECT_EQ(out.messages[0], std::byte{1}) << "waiting messages come first";
  EXPECT_EQ(out.messages[48], std::byte{7});
  EXPECT_EQ(out.messages[80], std::byte{8});
  EXPECT_EQ(out.left_out, 0U);
}

TEST(PbTncQueue, WhatWaitsGoesAheadOfAResultThatItDoesntFitInto) {
  Queue queue(8 + 100);
  const Queue::ResultContent content{message(32, 7), {message(20, 8)}};
  for (std::uint8_t i = 1; i <= 5; ++i) queue.push(message(49, i));
  std::vector<BatchType> types;
  std::size_t bytes = 0;
  for (;;) {
    const auto out = queue.take_result(content);
    types.push_back(out.type);
    bytes += out.messages.size();
    EXPECT_LE(out.messages.size(), 100U);
    EXPECT_FALSE(out.messages.empty());
    if (out.type == BatchType::result) break;
    ASSERT_LT(types.size(), 10U);
  }
  EXPECT_EQ(types, (std::vector<BatchType>{BatchType::sdata, BatchType::sdata, BatchType::sdata, BatchType::result}));
  EXPECT_EQ(bytes, 5U * 49 + 52);
  EXPECT_TRUE(queue.empty());
}

TEST(PbTncQueue, ReasonsThatDontFitBesideTheResultAreLeftOutAndCounted) {
  Queue queue(8 + 100);
  const auto out = queue.take_result({message(32, 7), {message(40, 1), message(29, 2), message(5, 3)}});
  EXPECT_EQ(out.type, BatchType::result);
  EXPECT_EQ(out.messages.size(), 72U);
  EXPECT_EQ(out.left_out, 2U);
}

}  // namespace
}  // namespace gatehouse::pbtnc
