// Logs and lists as the command line reads them: the same answer however they are cut, and bounded work for what is
// hostile.
#include "pipeline/replay/replay.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/writer.h"

namespace gatehouse::testing {
namespace {

const std::string corpus = GATEHOUSE_SHARED "/corpus/";
constexpr std::size_t mebi = std::size_t(1) << 20;

ByteVector file(const std::string& path) {
  auto bytes = read_file(corpus + path, 64 * mebi);
  return bytes ? *std::move(bytes) : ByteVector();
}
ByteVector operator+(ByteVector a, Bytes b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
ByteVector of(std::size_t n, unsigned value) { return ByteVector(n, std::byte(value)); }

ByteVector list_entry(std::string_view name, Bytes data) {
  Writer w;
  w.put_le(std::uint32_t{10});
  w.put_bytes(digest_of(HashAlgorithm::sha1, data).view());
  w.put_le(std::uint32_t(name.size()));
  w.put_text(name);
  w.put_le(std::uint32_t(data.size()));
  w.put_bytes(data);
  return std::move(w).take();
}

// How a cursor ends on these pieces: what it says last, and how many events it saw.
std::string fed(Bytes log, std::size_t step) {
  eventlog::Cursor cursor;
  std::size_t events = 0;
  for (std::size_t at = 0; at < log.size() || at == 0; at += step) {
    cursor.feed(log.subspan(at, std::min(step, log.size() - at)));
    if (at + step >= log.size()) cursor.end();
    for (;;) {
      const auto event = cursor.next();
      if (!event) return std::to_string(events) + " " + event.error().text();
      if (*event == nullptr) break;
      ++events;
    }
    if (log.empty()) break;
  }
  std::string out = std::to_string(events);
  for (const std::string& warning : cursor.warnings()) out += " " + warning;
  return out;
}

TEST(Replay, PaddingIsTheSameHoweverTheLogIsCut) {
  const ByteVector log = file("evidence/common/eventlog.bin");
  if (log.empty()) GTEST_SKIP() << "no corpus";
  for (const ByteVector& tail :
       {of(0, 0), of(1, 0), of(12, 0), of(1000, 0), of(1000, 0xFF), of(500, 0) + of(500, 0xFF), of(16 * mebi, 0),
        of(16 * mebi, 0xFF), of(16 * mebi + 1, 0), of(17 * mebi, 0xFF), of(17 * mebi, 0) + of(1, 7)}) {
    const ByteVector whole = log + tail;
    const std::string at_once = fed(whole, whole.size());
    for (const std::size_t step : {std::size_t{4096}, mebi, 16 * mebi + 5})
      EXPECT_EQ(fed(whole, step), at_once) << tail.size();
  }
  EXPECT_EQ(pipeline::replay_eventlog(log + of(16 * mebi, 0xFF)).value().pcrs,
            pipeline::replay_eventlog(log).value().pcrs);
  EXPECT_EQ(pipeline::replay_eventlog(log + of(16 * mebi + 1, 0xFF)).error().fault, Fault::limit);
}

TEST(Replay, PaddingAloneIsNoLog) {
  for (const ByteVector& log : {of(0, 0), of(1, 0), of(65536, 0), of(65536, 0xFF)}) {
    const auto replay = pipeline::replay_eventlog(log);
    ASSERT_FALSE(replay) << log.size();
    EXPECT_EQ(replay.error().fault, Fault::malformed);
    EXPECT_EQ(replay.error().offset, 0U);
  }
}

TEST(Replay, EventsAreListedOnceAndInOrder) {
  const ByteVector log = file("evidence/common/eventlog.bin");
  if (log.empty()) GTEST_SKIP() << "no corpus";
  std::vector<std::size_t> offsets;
  ASSERT_TRUE(pipeline::for_each_event(log, [&](const eventlog::Event& event) { offsets.push_back(event.offset); }));
  EXPECT_EQ(offsets.size(), pipeline::replay_eventlog(log).value().events);
  EXPECT_TRUE(std::is_sorted(offsets.begin(), offsets.end()));
  EXPECT_EQ(std::adjacent_find(offsets.begin(), offsets.end()), offsets.end());
}

TEST(Replay, WarningsOfALogAreBounded) {
  ByteVector log = file("evidence/common/eventlog.bin");
  if (log.empty()) GTEST_SKIP() << "no corpus";
  Writer locality;
  for (const std::uint32_t field : {0U, 3U, 0U}) locality.put_le(field);
  locality.put_le(std::uint32_t{17});
  locality.put_bytes(as_bytes(std::string_view("StartupLocality\0\3", 17)));
  const ByteVector event = std::move(locality).take();
  for (int i = 0; i < 5000; ++i) log.insert(log.end(), event.begin(), event.end());
  const auto replay = pipeline::replay_eventlog(log);
  ASSERT_TRUE(replay) << replay.error().text();
  EXPECT_EQ(replay->warnings.size(), 1001U);
  EXPECT_EQ(replay->warnings.back(), "further warnings are left out");
}

TEST(Replay, AListOfManyTemplatesIsRefusedWhereItBecomesOne) {
  const ByteVector data = of(4, 0);  // one empty field
  ByteVector list;
  for (int i = 0; i < 1000; ++i) list = std::move(list) + list_entry("t" + std::to_string(i), data);
  EXPECT_EQ(pipeline::replay_ima(list).value().templates.size(), 1000U);
  list = std::move(list) + list_entry("t0", data);  // a known one isn't one more
  ASSERT_TRUE(pipeline::check_ima(list));
  const std::size_t end = list.size();
  list = std::move(list) + list_entry("t1000", data);
  const auto refused = pipeline::replay_ima(list);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::limit);
  EXPECT_EQ(refused.error().offset, end);
}

TEST(Replay, CheckingFindsTheErrorThatReplayingFinds) {
  const ByteVector log = file("evidence/common/eventlog.bin"), list = file("evidence/common/ima.bin");
  if (log.empty() || list.empty()) GTEST_SKIP() << "no corpus";
  for (std::size_t n = 0; n < list.size(); n += 97) {
    const Bytes cut = Bytes(list).first(n);
    const auto checked = pipeline::check_ima(cut);
    const auto replayed = pipeline::replay_ima(cut);
    EXPECT_EQ(checked.has_value(), replayed.has_value()) << n;
    if (!checked && !replayed) {
      EXPECT_EQ(checked.error().text(), replayed.error().text()) << n;
    }
  }
  for (std::size_t n = 0; n < log.size(); n += 97) {
    const Bytes cut = Bytes(log).first(n);
    const auto checked = pipeline::check_eventlog(cut);
    const auto replayed = pipeline::replay_eventlog(cut);
    EXPECT_EQ(checked.has_value(), replayed.has_value()) << n;
    if (!checked && !replayed) {
      EXPECT_EQ(checked.error().text(), replayed.error().text()) << n;
    }
  }
}

}  // namespace
}  // namespace gatehouse::testing
