// Verdicts that are kept against others: each is told as the bytes that it was, whatever it is kept against, and what it is
// kept against is there for as long as one refers to it.
#include "server/state/verdicts.h"

#include "base/hex.h"
#include "server/state/layout.h"
#include "tests/server_state/behind.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

// As pipeline::to_json makes it, as far as matters here.
std::string verdict(const std::string& session, const std::string& findings, const std::string& device = "d") {
  return R"({"session":")" + session + R"(","device":")" + device + R"(","product":"Debian 12 x86_64","recommendation":"allow","findings":[)" + findings +
         R"(],"findings_total":7,"claims":["Device ID )" + device + R"("],"pcrs":{"0":")" + std::string(64, 'a') + "\"}}";
}
// That no compression makes shorter than half.
std::string findings(std::uint8_t seed, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i)
    out += std::string(i == 0 ? "" : ",") + R"({"path":"/usr/bin/)" + digest_of(HashAlgorithm::sha256, as_bytes(std::to_string(seed) + "/" + std::to_string(i))).hex() + "\"}";
  return out;
}

struct KeptVerdicts : testing::Test {
  void open(StateOptions options = {}) {
    state_.reset();
    state_ = open_state(folder_ / "state", std::move(options));
  }
  void add(const std::string& session, const std::string& text, std::int64_t started = 1000) {
    SessionResult result = result_of(intent(session, "d", started));
    result.verdict = text;
    ASSERT_TRUE(commit(*state_, std::move(result)));
    told_[session] = text;
  }
  void expect_as_told() {
    for (const auto& [session, text] : told_) {
      const auto record = state_->session(session);
      ASSERT_TRUE(record && *record) << session;
      EXPECT_EQ((*record)->verdict, text) << session;
    }
    std::size_t listed = 0;
    const SessionPage page = state_->sessions("", 1000, {}).value();
    for (const SessionRecord& record : page.sessions) {
      EXPECT_EQ(record.verdict, told_.at(record.intent.session));
      ++listed;
    }
    EXPECT_EQ(listed, told_.size());
    EXPECT_EQ(state_->audit({})->problems_total, 0U);
  }
  std::size_t size_of(const std::string& session) { return Behind(folder_ / "state").get("s" + session).size(); }

  const Folder folder_;
  std::unique_ptr<State> state_;
  std::map<std::string, std::string> told_;
};

TEST_F(KeptVerdicts, AreToldAsTheyWere) {
  open();
  const std::string many = findings(1, 60), others = findings(2, 60), few = findings(3, 2);
  add("first", verdict("first", many));
  add("same", verdict("same", many));
  add("longer", verdict("longer", many, std::string(100, 'x')));
  add("others", verdict("others", others));
  add("others-again", verdict("others-again", others));
  add("others-once-more", verdict("others-once-more", others));
  add("more", verdict("more", many + "," + few));
  add("fewer", verdict("fewer", many.substr(0, many.size() / 61 * 30)));
  add("few", verdict("few", few));
  add("none", verdict("none", ""));
  add("empty", "");
  add("not-one", "{}");
  add("text", R"(of "findings":[ no end)");
  add("twice", verdict("twice", many) + verdict("twice", others));
  add("large", verdict("large", findings(4, 5'000)));
  expect_as_told();
  open();
  expect_as_told();  // from the disk
  add("after", verdict("after", many));
  expect_as_told();
  state_.reset();
  EXPECT_LT(size_of("same"), 500U);
  EXPECT_LT(size_of("others-once-more"), 500U);
  EXPECT_LT(size_of("none"), 500U);
}

TEST_F(KeptVerdicts, GoWithTheLastThatRefersToThem) {
  StateOptions options;
  options.max_unknown_sessions = 3;
  open(options);
  const std::string one = findings(1, 60), other = findings(2, 60);
  const auto bases = [&] {
    state_.reset();
    const std::size_t kept = Behind(folder_ / "state").count("zb");
    EXPECT_EQ(Behind(folder_ / "state").count("zn"), kept);
    return kept;
  };
  for (int i = 0; i < 3; ++i) add("a" + std::to_string(i), verdict("a", one), 1000 + i);
  EXPECT_EQ(bases(), 1U);
  open(options);  // whose verdicts are kept against one of its own
  for (int i = 0; i < 2; ++i) add("b" + std::to_string(i), verdict("b", other), 2000 + i);
  for (const char* gone : {"a0", "a1"}) told_.erase(gone);
  expect_as_told();
  EXPECT_EQ(bases(), 2U);
  open(options);
  add("c", verdict("c", other), 3000);
  told_.erase("a2");
  expect_as_told();
  EXPECT_EQ(bases(), 2U) << "the first had its last session";
  // It goes and comes again in one life.
  options.max_unknown_sessions = 1;
  open(options);
  for (int i = 0; i < 10; ++i) add("d" + std::to_string(i), verdict("d", i % 2 == 0 ? one : other), 4000 + i);
  const std::string last = told_.at("d9");
  told_ = {{"d9", last}};
  expect_as_told();
  EXPECT_LE(bases(), 1U);
}

// What a write that failed would have kept isn't there, and the next one keeps it.
TEST_F(KeptVerdicts, AreKeptByTheNextWriteWhereOneFails) {
  std::atomic<bool> broken = false;
  open({.before_write = [&]() -> Result<void> {
    if (broken) return fail(Fault::environment, "injected");
    return {};
  }});
  broken = true;
  SessionResult lost = result_of(intent("lost", "d", 1000));
  lost.verdict = verdict("lost", findings(1, 60));
  EXPECT_FALSE(commit(*state_, std::move(lost)));
  broken = false;
  add("kept", verdict("kept", findings(1, 60)));
  expect_as_told();
  open();
  expect_as_told();
}

TEST(PackedVerdicts, AreCheckedWhenTheyAreRead) {
  const Folder folder;
  StateOptions options;
  const auto opened = Store::open(folder / "db", true, options);
  ASSERT_TRUE(opened) << opened.error().text();
  Store& store = **opened;
  store.start({});
  Verdicts verdicts;
  (void)verdicts.pack(verdict("base", findings(1, 40)));
  for (const std::string& text : {verdict("of-base", findings(1, 40)), verdict("apart", findings(2, 40)), verdict("not-apart", "")}) {
    const PackedVerdict packed = verdicts.pack(text);
    ASSERT_TRUE(packed.base);
    EXPECT_EQ(Verdicts::base_of(packed.stored), packed.base->id());
    ASSERT_TRUE(store.submit_blocking([&](Batch& batch) { return hold_base(batch, *packed.base); }));
    Verdicts another;
    EXPECT_EQ(*another.unpack(store.view(), packed.stored), text);
    for (std::size_t n = 0; n < packed.stored.size(); ++n) EXPECT_FALSE(another.unpack(store.view(), packed.stored.substr(0, n))) << n;
    for (std::size_t n = 0; n < (8 + 1 + 32 + 1 + 8 + 8) * 8; ++n) {  // its sizes, its form, what it is kept against, and the place
      std::string changed = packed.stored;
      changed[n / 8] = char(changed[n / 8] ^ (1 << (n % 8)));
      const auto read = another.unpack(store.view(), changed);
      EXPECT_TRUE(!read || *read != text) << n;
    }
  }
  EXPECT_FALSE(Verdicts::base_of(""));
  EXPECT_FALSE(Verdicts::base_of(compressed(as_bytes(verdict("alone", "")))));
}

}  // namespace
}  // namespace gatehouse::server
