// Rows that are kept in memory: what was written and acknowledged is what is read, however many read meanwhile.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "server/state/row_cache.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

using Row = RowCache::Row;

TEST(RowCache, KeepsWhatItsReaderRead) {
  RowCache cache(1 << 20);
  std::uint64_t ticket = 0;
  EXPECT_FALSE(cache.find("dA", ticket));
  cache.keep("dA", ticket, Row("one"));
  EXPECT_EQ(cache.find("dA", ticket), std::optional<Row>("one"));
  EXPECT_FALSE(cache.find("dB", ticket));
  cache.keep("dB", ticket, Row());
  EXPECT_EQ(cache.find("dB", ticket), std::optional<Row>(std::in_place)) << "that there is none is known, too";
}

TEST(RowCache, DoesntKeepWhatWasReadBeforeAWrite) {
  RowCache cache(1 << 20);
  std::uint64_t ticket = 0, later = 0;
  EXPECT_FALSE(cache.find("dA", ticket));
  cache.written("dA", "new");
  cache.keep("dA", ticket, Row("old"));
  EXPECT_FALSE(cache.find("dA", later)) << "the old row may not be kept";
  cache.keep("dA", ticket, Row("old"));
  EXPECT_FALSE(cache.find("dA", later)) << "nor under the place of another reader";
  cache.keep("dA", later, Row("new"));
  EXPECT_EQ(cache.find("dA", later), std::optional<Row>("new"));
  cache.written("dA", "newer");
  EXPECT_EQ(cache.find("dA", later), std::optional<Row>("newer"));
  cache.forget("dA");
  EXPECT_FALSE(cache.find("dA", later));
}

TEST(RowCache, HoldsNoMoreThanItMay) {
  RowCache cache(64 << 10);
  const std::string value(1000, 'v');
  std::uint64_t ticket = 0;
  const auto fill = [&](int n) {
    const std::string key = "d" + std::to_string(n);
    if (!cache.find(key, ticket)) cache.keep(key, ticket, Row(value));
  };
  for (int n = 0; n < 1000; ++n) fill(n);
  int here = 0;
  for (int n = 0; n < 1000; ++n) here += cache.find("d" + std::to_string(n), ticket).has_value() ? 1 : 0;
  EXPECT_LE(here, 64);
}

// Four threads ask for a device all the time that its state changes: whoever asks after a change is told of it.
TEST(RowCache, WhoAsksAfterAChangeIsToldOfIt) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  ASSERT_TRUE(state->enrol_blocking(enrolment("d1", new_key(), true)));
  std::atomic<int> changes{0};
  std::atomic<bool> done{false}, wrong{false};
  constexpr std::array states{DeviceState::trusted, DeviceState::suspended};
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i)
    readers.emplace_back([&] {
      while (!done) {
        const int before = changes;
        const auto device = state->device("d1");
        // A change that goes on meanwhile may be seen or not.
        if (changes == before && before % 2 == 0 && (*device)->state != states[std::size_t(before / 2 % 2)]) wrong = true;
      }
    });
  for (int n = 1; n <= 300; ++n) {
    ++changes;  // odd: it goes on
    EXPECT_TRUE(state->change_state_blocking("d1", states[std::size_t(n % 2)], {.by = "alice", .why = "a test"}));
    ++changes;
  }
  done = true;
  for (std::thread& one : readers) one.join();
  EXPECT_FALSE(wrong);
}

}  // namespace
}  // namespace gatehouse::server
