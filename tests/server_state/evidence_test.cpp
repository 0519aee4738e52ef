// Kept evidence in the state store: equal content once, with its session and no longer, within its bounds.
#include "base/writer.h"
#include "server/state/pieces.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

constexpr std::int64_t day = 24 * 3'600'000;

ByteVector text(std::string_view what, std::size_t times) {
  ByteVector out;
  for (std::size_t i = 0; i < times; ++i) out.insert(out.end(), as_bytes(what).begin(), as_bytes(what).end());
  return out;
}

std::shared_ptr<const EvidenceRecord> evidence(std::string_view head, std::vector<ByteVector> pieces) {
  auto out = std::make_shared<EvidenceRecord>();
  out->head = text(head, 1);
  out->pieces = std::move(pieces);
  return out;
}

SessionResult with(const std::string& session, std::shared_ptr<const EvidenceRecord> kept, std::int64_t started = 1000,
                   const std::string& device = "d") {
  SessionResult out = result_of(intent(session, device, started));
  out.evidence = std::move(kept);
  return out;
}

EvidenceTotals totals(const State& state) { return state.evidence_totals().value(); }

// Sessions of these tests began in 1970.
StateOptions of_any_age() {
  StateOptions options;
  options.max_evidence_age = std::chrono::milliseconds(0);
  return options;
}
StateOptions with_unknown_sessions(std::size_t most) {
  StateOptions options = of_any_age();
  options.max_unknown_sessions = most;
  return options;
}
StateOptions with_room(std::uint64_t bytes) {
  StateOptions options = of_any_age();
  options.max_evidence_bytes = bytes;
  return options;
}

std::optional<EvidenceRecord> read(const State& state, const std::string& session) {
  auto out = state.evidence(session);
  EXPECT_TRUE(out) << out.error().text();
  return out ? *std::move(out) : std::nullopt;
}

TEST(Evidence, ComesBackAsItWas) {
  const Folder folder;
  const std::vector<ByteVector> pieces = {text("a list of files ", 4096), {}, random_bytes(1000), text("x", 1)};
  {
    const auto state = open_state(folder / "state", of_any_age());
    ASSERT_TRUE(commit(*state, with("s", evidence("head", pieces))));
  }
  const auto state = open_state(folder / "state", of_any_age());
  const auto kept = read(*state, "s");
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->head, text("head", 1));
  EXPECT_EQ(kept->pieces, pieces);
  EXPECT_TRUE(*state->has_evidence("s"));
  EXPECT_FALSE(*state->has_evidence("other"));
  EXPECT_FALSE(read(*state, "other"));
  EXPECT_EQ(totals(*state).sessions, 1U);
  EXPECT_EQ(totals(*state).pieces, 4U);
  EXPECT_LT(totals(*state).bytes, std::uint64_t(20'000)) << "it is compressed";
}

TEST(Evidence, EqualPiecesAreOneUntilTheLastSessionGoes) {
  const Folder folder;
  const auto state = open_state(folder / "state", with_unknown_sessions(2));
  const ByteVector shared = random_bytes(5000);
  ASSERT_TRUE(commit(*state, with("s1", evidence("1", {shared, shared, random_bytes(3000)}), 1)));
  const EvidenceTotals one = totals(*state);
  EXPECT_EQ(one.pieces, 2U);
  ASSERT_TRUE(commit(*state, with("s2", evidence("2", {shared}), 2)));
  EXPECT_EQ(totals(*state).pieces, 2U);
  EXPECT_LT(totals(*state).bytes, one.bytes + 200);
  // The third lets the oldest session go, and its own piece with it.
  ASSERT_TRUE(commit(*state, with("s3", nullptr, 3)));
  EXPECT_FALSE(*state->session("s1"));
  EXPECT_FALSE(read(*state, "s1"));
  EXPECT_EQ(totals(*state).pieces, 1U);
  EXPECT_EQ(read(*state, "s2")->pieces, std::vector<ByteVector>{shared});
  ASSERT_TRUE(commit(*state, with("s4", nullptr, 4)));
  const EvidenceTotals none = totals(*state);
  EXPECT_EQ(none.sessions, 0U);
  EXPECT_EQ(none.pieces, 0U);
  EXPECT_EQ(none.bytes, 0U);
}

TEST(Evidence, TheOldestGoesBeyondTheSize) {
  const Folder folder;
  const auto state = open_state(folder / "state", with_room(50'000));
  for (int i = 0; i < 20; ++i) {
    const std::string name = "s" + std::to_string(i);
    ASSERT_TRUE(commit(*state, with(name, evidence(name, {random_bytes(10'000)}), i)));
    EXPECT_LE(totals(*state).bytes, 50'000U);
    EXPECT_TRUE(read(*state, name)) << "the newest stays";
  }
  EXPECT_FALSE(read(*state, "s0"));
  EXPECT_TRUE(*state->session("s0")) << "its session stays";
  EXPECT_EQ(totals(*state).sessions, 4U);
}

// More than all of the room: it isn't kept, and the result is.
TEST(Evidence, WhatIsLargerThanTheRoomGoesAtOnce) {
  const Folder folder;
  const auto state = open_state(folder / "state", with_room(1000));
  ASSERT_TRUE(commit(*state, with("s", evidence("h", {random_bytes(10'000)}))));
  EXPECT_TRUE(*state->session("s"));
  EXPECT_FALSE(read(*state, "s"));
  EXPECT_EQ(totals(*state).bytes, 0U);
}

TEST(Evidence, GoesWhenItIsTooOld) {
  const Folder folder;
  std::int64_t now = 100 * day;
  const auto state = [&] {
    StateOptions options;
    options.now = [&] { return now; };
    return open_state(folder / "state", std::move(options));
  }();
  for (int i = 0; i < 100; ++i) {
    const std::string name = "s" + std::to_string(i);
    ASSERT_TRUE(commit(*state, with(name, evidence(name, {text(name, 100)}), (80 + i % 10) * day)));
  }
  EXPECT_EQ(totals(*state).sessions, 100U);
  now = 115 * day;
  state->retire_old();
  ASSERT_TRUE(commit(*state, with("later", nullptr, now)));  // behind it
  EXPECT_EQ(totals(*state).sessions, 50U);
  EXPECT_FALSE(read(*state, "s4"));
  EXPECT_TRUE(read(*state, "s5"));
  EXPECT_TRUE(*state->session("s4"));
}

TEST(Evidence, AWriteThatFailsLeavesNothing) {
  const Folder folder;
  bool fails = false;
  StateOptions options = of_any_age();
  options.before_write = [&]() -> Result<void> {
    if (fails) return fail(Fault::environment, "no room");
    return {};
  };
  const auto state = open_state(folder / "state", std::move(options));
  fails = true;
  EXPECT_FALSE(commit(*state, with("s", evidence("h", {random_bytes(2000)}))));
  fails = false;
  EXPECT_FALSE(read(*state, "s"));
  EXPECT_EQ(totals(*state).sessions, 0U);
  EXPECT_EQ(totals(*state).bytes, 0U);
  ASSERT_TRUE(commit(*state, with("t", evidence("h", {random_bytes(2000)}))));
  EXPECT_EQ(totals(*state).sessions, 1U);
}

// A result that is refused keeps no evidence.
TEST(Evidence, ASecondResultOfASessionKeepsNothing) {
  const Folder folder;
  const auto state = open_state(folder / "state", of_any_age());
  ASSERT_TRUE(commit(*state, with("s", evidence("first", {text("a", 200)}))));
  const EvidenceTotals before = totals(*state);
  EXPECT_FALSE(commit(*state, with("s", evidence("second", {text("b", 200)}))));
  EXPECT_EQ(read(*state, "s")->head, text("first", 1));
  EXPECT_EQ(totals(*state).bytes, before.bytes);
}

TEST(Evidence, AShadowsWordGoesWithItsSession) {
  const Folder folder;
  const auto state = open_state(folder / "state", with_unknown_sessions(1));
  ASSERT_TRUE(commit(*state, with("s1", nullptr, 1)));
  std::promise<Result<void>> done;
  state->note_shadow("s1", "{}", [&](Result<void> r) { done.set_value(std::move(r)); });
  ASSERT_TRUE(done.get_future().get());
  EXPECT_EQ(*state->shadow("s1"), "{}");
  std::promise<Result<void>> nobody;
  state->note_shadow("nobody", "{}", [&](Result<void> r) { nobody.set_value(std::move(r)); });
  EXPECT_FALSE(nobody.get_future().get());
  ASSERT_TRUE(commit(*state, with("s2", nullptr, 2)));
  EXPECT_FALSE(*state->shadow("s1"));
}

TEST(Evidence, MonitorModeIsOnRecord) {
  const Folder folder;
  const auto state = open_state(folder / "state", of_any_age());
  SessionResult result = with("s", nullptr);
  result.enforced = false;
  ASSERT_TRUE(commit(*state, std::move(result)));
  ASSERT_TRUE(commit(*state, with("t", nullptr)));
  EXPECT_FALSE((*state->session("s"))->enforced);
  EXPECT_TRUE((*state->session("t"))->enforced);
}

TEST(Pieces, AreCheckedWhenTheyAreRead) {
  const ByteVector content = text("measurement ", 1000);
  const std::string value = compressed(content);
  EXPECT_LT(value.size(), content.size() / 4);
  EXPECT_EQ(*decompressed(value, content.size()), content);
  EXPECT_FALSE(decompressed(value, content.size() - 1));
  for (std::size_t n = 0; n < value.size(); ++n) EXPECT_FALSE(decompressed(value.substr(0, n), content.size())) << n;
  for (std::size_t n = 0; n < 9 * 8; ++n) {  // its size and form
    std::string changed = value;
    changed[n / 8] = char(changed[n / 8] ^ (1 << (n % 8)));
    EXPECT_FALSE(decompressed(changed, content.size())) << n;
  }
  EXPECT_EQ(*decompressed(compressed({}), 0), ByteVector());
}

// Formats 6 and 7 kept verdicts in two frames, the one of the findings made once for all that had them.
TEST(Pieces, InTwoFramesOfEarlierFormatsAreCheckedWhenTheyAreRead) {
  const ByteVector common = text("a file that nobody knows ", 400);
  const std::string before(300, 'b'), after(500, 'c');
  ByteVector content = to_vector(as_bytes(before));
  content.insert(content.end(), common.begin(), common.end());
  const Bytes more = as_bytes(after);
  content.insert(content.end(), more.begin(), more.end());
  std::string outer, inner;
  ASSERT_TRUE(append_frame(outer, as_bytes(before + after)));
  ASSERT_TRUE(append_frame(inner, common));
  Writer w;
  w.put(std::uint64_t(content.size()));
  w.put(std::uint8_t(2));
  w.put(std::uint64_t(before.size() + after.size()));
  w.put(std::uint64_t(before.size()));
  w.put(std::uint64_t(outer.size()));
  const std::string value = std::string(as_text(w.view())) + outer + inner;
  EXPECT_EQ(*decompressed(value, content.size()), content);
  EXPECT_FALSE(decompressed(value, content.size() - 1));
  for (std::size_t n = 0; n < value.size(); ++n) EXPECT_FALSE(decompressed(value.substr(0, n), content.size())) << n;
  for (std::size_t n = 0; n < w.size() * 8; ++n) {  // its sizes, its form, and the place
    std::string changed = value;
    changed[n / 8] = char(changed[n / 8] ^ (1 << (n % 8)));
    const auto read = decompressed(changed, content.size());
    EXPECT_TRUE(!read || *read != content) << n;
  }
}

}  // namespace
}  // namespace gatehouse::server
