// Rows that are kept in memory: what was written and acknowledged is what is read, however many read meanwhile.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "server/state/row_cache.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

RowPtr row(std::optional<std::string> text) { return std::make_shared<const KeptRow>(std::move(text)); }
// What is kept of the key; "none" where that there is none, and null where it is to be read.
std::optional<std::string> kept(RowCache& cache, std::string_view key, std::uint64_t& ticket) {
  const RowPtr found = cache.find(key, ticket);
  if (!found) return std::nullopt;
  return found->text().value_or("none");
}

TEST(RowCache, KeepsWhatItsReaderRead) {
  RowCache cache(1 << 20);
  std::uint64_t ticket = 0;
  EXPECT_FALSE(cache.find("dA", ticket));
  cache.keep("dA", ticket, row("one"));
  EXPECT_EQ(kept(cache, "dA", ticket), "one");
  EXPECT_FALSE(cache.find("dB", ticket));
  cache.keep("dB", ticket, row(std::nullopt));
  EXPECT_EQ(kept(cache, "dB", ticket), "none") << "that there is none is known, too";
}

TEST(RowCache, DoesntKeepWhatWasReadBeforeAWrite) {
  RowCache cache(1 << 20);
  std::uint64_t ticket = 0, later = 0;
  EXPECT_FALSE(cache.find("dA", ticket));
  cache.written("dA", "new");
  cache.keep("dA", ticket, row("old"));
  EXPECT_FALSE(cache.find("dA", later)) << "the old row may not be kept";
  cache.keep("dA", ticket, row("old"));
  EXPECT_FALSE(cache.find("dA", later)) << "nor under the place of another reader";
  cache.keep("dA", later, row("new"));
  EXPECT_EQ(kept(cache, "dA", later), "new");
  cache.written("dA", "newer");
  EXPECT_EQ(kept(cache, "dA", later), "newer");
  cache.forget("dA");
  EXPECT_FALSE(cache.find("dA", later));
}

TEST(RowCache, DecodesARowOnceForAllWhoReadIt) {
  RowCache cache(1 << 20);
  std::uint64_t ticket = 0;
  int decoded = 0;
  const auto size = [&](std::string_view text) -> Result<std::size_t> {
    ++decoded;
    if (text == "bad") return fail(Fault::malformed, "bad");
    return text.size();
  };
  (void)cache.find("dA", ticket);
  cache.keep("dA", ticket, row("one"));
  const RowPtr first = cache.find("dA", ticket);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(**cache.find("dA", ticket)->decoded<std::size_t>(size), 3U);
  EXPECT_EQ(decoded, 1);
  cache.written("dA", "longer");
  EXPECT_EQ(**cache.find("dA", ticket)->decoded<std::size_t>(size), 6U) << "what was written is another row";
  EXPECT_EQ(**first->decoded<std::size_t>(size), 3U) << "who has the old one reads the old one";
  cache.written("dA", "bad");
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(cache.find("dA", ticket)->decoded<std::size_t>(size));
}

TEST(RowCache, HoldsNoMoreThanItMay) {
  RowCache cache(64 << 10);
  const std::string value(1000, 'v');
  std::uint64_t ticket = 0;
  const auto fill = [&](int n) {
    const std::string key = "d" + std::to_string(n);
    if (!cache.find(key, ticket)) cache.keep(key, ticket, row(value));
  };
  for (int n = 0; n < 1000; ++n) fill(n);
  int here = 0;
  for (int n = 0; n < 1000; ++n) here += cache.find("d" + std::to_string(n), ticket) != nullptr ? 1 : 0;
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
