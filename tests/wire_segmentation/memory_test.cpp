// An attribute is held once, by who sends it in segments and by who puts it together (spec part 1b §3.6): the most that is
// allocated at any time is counted, not what is left at the end.
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "tests/wire_segmentation/support.h"

namespace {

std::size_t allocated = 0, most_allocated = 0;

void* counted(std::size_t size) {
  void* const block = std::malloc(std::max<std::size_t>(size, 1));
  if (block == nullptr) std::abort();
  allocated += ::malloc_usable_size(block);
  most_allocated = std::max(most_allocated, allocated);
  return block;
}
void uncounted(void* block) {
  if (block != nullptr) allocated -= ::malloc_usable_size(block);
  std::free(block);
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void operator delete(void* block) noexcept { uncounted(block); }
void operator delete[](void* block) noexcept { uncounted(block); }
void operator delete(void* block, std::size_t) noexcept { uncounted(block); }
void operator delete[](void* block, std::size_t) noexcept { uncounted(block); }

using namespace gatehouse;
using namespace gatehouse::testing;

TEST(Memory, an_attribute_is_held_once_by_each_side) {
  constexpr std::size_t size = std::size_t(8) << 20, limit = 65'490, slack = std::size_t(256) << 10;
  constexpr patnc::Contract contract{.max_message_size = patnc::unlimited, .max_segment_size = 32'698};
  patnc::Segmenter from(limit);
  from.agree(contract);
  patnc::Reassembler to;
  to.issue(contract);

  const std::size_t before = allocated;
  ByteVector value(size, std::byte{0x5A});
  most_allocated = allocated;
  ByteVector whole;
  {
    patnc::Builder first(limit, 1);
    ASSERT_TRUE(from.add(first, 0, 0, 9, std::move(value)));
    EXPECT_LT(most_allocated - before, size + slack) << "the sender";
    auto messages = first.take();
    while (whole.empty()) {
      ASSERT_EQ(messages.size(), 1U);
      patnc::Builder next(limit, 1);
      for (const patnc::Attribute& a : attributes(messages.front())) {
        auto step = to.add(envelope(a), a.value_offset());
        ASSERT_FALSE(step.cancel) << step.why;
        if (step.attribute) whole = std::move(*step.attribute);
        if (step.ask_next) (void)from.next(next, {0, step.id});
      }
      messages = next.take();
    }
  }
  EXPECT_LT(most_allocated - before, 2 * size + slack) << "both";
  EXPECT_EQ(from.waiting_bytes(), 0U);
  EXPECT_LT(allocated - before, size + slack) << "the receiver alone, at the end";
  ASSERT_EQ(whole.size(), patnc::attribute_header_size + size);

  // Who judges it puts a message header before it.
  most_allocated = allocated;
  const ByteVector header = patnc::pseudo_header(1);
  whole.insert(whole.begin(), header.begin(), header.end());
  EXPECT_LT(most_allocated - before, size + slack) << "with a message header in front";
}
