// What sessions learned of a device's files.
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

using Files = std::map<std::string, Digest>;

Digest digest(std::uint8_t seed) { return Digest::filled(32, std::byte{seed}); }
LearnedFiles learned(std::string directory, Files files, bool whole = false) {
  return {HashAlgorithm::sha256, std::move(directory), std::move(files), whole};
}

class LearnedFilesTest : public testing::Test {
 protected:
  LearnedFilesTest() : state_(open_state(folder_ / "state")) { EXPECT_TRUE(state_->enrol_blocking(enrolment("d1", new_key(), true))); }
  Result<void> learn(LearnedFiles files, const std::string& device = "d1") {
    ++sessions_;
    SessionResult result = result_of(intent("s" + std::to_string(sessions_), device, 1'000 + sessions_));
    result.learned_files.push_back(std::move(files));
    return commit(*state_, std::move(result));
  }
  Files known(const std::string& directory, const std::string& device = "d1") {
    return state_->learned_files(device, HashAlgorithm::sha256, directory).value();
  }

  Folder folder_;
  std::unique_ptr<State> state_;
  int sessions_ = 0;
};

TEST_F(LearnedFilesTest, AFileIsAddedAndAWholeDirectoryReplaces) {
  ASSERT_TRUE(learn(learned("/etc", {{"passwd", digest(1)}})));
  ASSERT_TRUE(learn(learned("/etc", {{"group", digest(2)}})));
  EXPECT_EQ(known("/etc"), (Files{{"passwd", digest(1)}, {"group", digest(2)}}));
  ASSERT_TRUE(learn(learned("/etc", {{"passwd", digest(3)}})));
  EXPECT_EQ(known("/etc").at("passwd"), digest(3));
  ASSERT_TRUE(learn(learned("/etc", {{"hosts", digest(4)}}, true)));
  EXPECT_EQ(known("/etc"), (Files{{"hosts", digest(4)}}));
  EXPECT_TRUE(known("/et").empty());
  EXPECT_TRUE(known("/etc", "d").empty());
  EXPECT_TRUE(state_->learned_files("d1", HashAlgorithm::sha384, "/etc")->empty());
  state_.reset();
  state_ = open_state(folder_ / "state");
  EXPECT_EQ(known("/etc"), (Files{{"hosts", digest(4)}})) << "on disk";
}

TEST_F(LearnedFilesTest, NothingIsLearnedOfADeviceThatNobodyEnrolled) {
  ASSERT_TRUE(learn(learned("/etc", {{"passwd", digest(1)}}), "stranger"));
  EXPECT_TRUE(known("/etc", "stranger").empty());
}

TEST_F(LearnedFilesTest, GoesWithItsDeviceAndNoOther) {
  ASSERT_TRUE(state_->enrol_blocking(enrolment("d12", new_key(), true)));
  ASSERT_TRUE(learn(learned("/etc", {{"passwd", digest(1)}})));
  ASSERT_TRUE(learn(learned("/opt/a b", {{"x", digest(2)}})));
  ASSERT_TRUE(learn(learned("/etc", {{"passwd", digest(5)}}), "d12"));
  ASSERT_TRUE(state_->remove_blocking("d1"));
  EXPECT_TRUE(known("/etc").empty());
  EXPECT_TRUE(known("/opt/a b").empty());
  EXPECT_EQ(known("/etc", "d12").size(), 1U);
}

TEST_F(LearnedFilesTest, ADirectoryIsKeptUpToItsBound) {
  Files most;
  for (std::size_t i = 0; i < max_learned_files; ++i) most[std::to_string(i)] = digest(1);
  ASSERT_TRUE(learn(learned("/d", most, true)));
  EXPECT_EQ(known("/d").size(), max_learned_files);
  EXPECT_FALSE(learn(learned("/d", {{"one more", digest(1)}})));
  EXPECT_EQ(known("/d").size(), max_learned_files);
}

// --- whom gateways have let in

TEST(Admissions, AreThereForTheNextProcessAsTheyWereKeptLast) {
  const Folder folder;
  auto state = open_state(folder / "state");
  GatewayAdmission one;
  one.client = "192.0.2.1";
  one.device = "d1";
  one.until = 9;
  const auto keep = [&](std::uint64_t number) {
    one.number = number;
    std::promise<bool> kept;
    state->keep_admission(one, [&](Result<void> r) { kept.set_value(r.has_value()); });
    return kept.get_future().get();
  };
  for (const std::uint64_t number : {1U, 2U, 3U, 300U}) EXPECT_TRUE(keep(number));
  state->drop_admissions({2, 77});
  one.accounting = "a-1";
  one.number = 3;
  state->note_admission(one);
  // What was dropped doesn't come back by what is told of it later.
  one.number = 2;
  state->note_admission(one);
  state = nullptr;
  state = open_state(folder / "state");
  const auto first = state->admissions(0, 2);
  ASSERT_TRUE(first);
  ASSERT_EQ(first->size(), 2U);
  EXPECT_EQ(first->at(0).number, 1U);
  EXPECT_EQ(first->at(1).number, 3U);
  EXPECT_EQ(first->at(1).accounting, "a-1");
  EXPECT_EQ(first->at(0).accounting, "");
  const auto rest = state->admissions(3, 10);
  ASSERT_EQ(rest->size(), 1U);
  EXPECT_EQ(rest->front().number, 300U);
  EXPECT_TRUE(state->admissions(300, 10)->empty());
  EXPECT_TRUE(state->admissions(~std::uint64_t{0}, 10)->empty());
}

}  // namespace
}  // namespace gatehouse::server
