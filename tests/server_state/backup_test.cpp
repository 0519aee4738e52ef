#include "server/state/backup.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

namespace fs = std::filesystem;

// A store with a device and a session, and its backup.
struct Backup : testing::Test {
  void SetUp() override {
    state_ = open_state(folder_ / "state");
    ASSERT_TRUE(state_->enrol_blocking(enrolment("d1", key_, true)));
    ASSERT_TRUE(commit(*state_, result_of(intent("s1", "d1", 1000))));
    const auto made = state_->backup(backup_);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->folder, backup_);
    EXPECT_GE(made->files, 4U);  // format, CURRENT, a manifest, a table
  }
  static std::string why(const Result<BackupReport>& outcome) { return outcome ? "" : outcome.error().text(); }

  const Folder folder_;
  const std::string backup_ = folder_ / "backup";
  const PublicKey key_ = new_key();
  std::unique_ptr<State> state_;
};

TEST_F(Backup, BringsBackWhatWasThereAtItsMoment) {
  ASSERT_TRUE(state_->enrol_blocking(enrolment("d2", new_key(), true)));  // after it
  const auto restored = restore_backup(backup_, folder_ / "again");
  ASSERT_TRUE(restored) << restored.error().text();
  const auto again = State::open({.path = folder_ / "again"});
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ((*again)->judge_key("d1", key_).standing, KeyStanding::trusted);
  EXPECT_FALSE(*(*again)->device("d2"));
  const auto session = (*again)->session("s1");
  ASSERT_TRUE(session && *session);
  EXPECT_EQ((*session)->state, SessionState::complete);
  EXPECT_EQ((*session)->verdict, (*state_->session("s1"))->verdict);
  // Nobody else may read it.
  EXPECT_EQ(fs::status(folder_ / "again").permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(backup_).permissions(), fs::perms::owner_all);
}

TEST_F(Backup, HasASessionThatHadBegun) {
  ASSERT_TRUE(begin(*state_, intent("s2", "d1", 2000)));
  ASSERT_TRUE(begin(*state_, intent("s3", "d1", 3000)));
  ASSERT_TRUE(commit(*state_, result_of(intent("s3", "d1", 3000))));
  ASSERT_TRUE(state_->backup(folder_ / "second"));
  ASSERT_TRUE(restore_backup(folder_ / "second", folder_ / "again"));
  const auto again = open_state(folder_ / "again");
  EXPECT_EQ((*again->session("s2"))->state, SessionState::interrupted);
  EXPECT_EQ((*again->session("s3"))->state, SessionState::complete);
  EXPECT_EQ(again->audit({})->problems_total, 0U);
}

TEST_F(Backup, IsMadeInANewFolderOnly) {
  EXPECT_FALSE(state_->backup(backup_));
  EXPECT_TRUE(check_backup(backup_)) << "the one that was there is as it was";
  EXPECT_FALSE(state_->backup("backup"));  // relative to what?
  EXPECT_FALSE(state_->backup(folder_ / "no/such/parent"));
}

TEST_F(Backup, IsRestoredToAnEmptyPlaceOnly) {
  const auto onto = restore_backup(backup_, folder_ / "state");
  ASSERT_FALSE(onto);
  EXPECT_EQ(onto.error().fault, Fault::usage);
  EXPECT_TRUE(*state_->device("d1"));
  fs::create_directory(folder_ / "empty");
  EXPECT_TRUE(restore_backup(backup_, folder_ / "empty/"));
  EXPECT_TRUE(State::open({.path = folder_ / "empty"}));
}

TEST_F(Backup, AFileThatChangedIsNamedAndNothingIsRestored) {
  for (const fs::directory_entry& one : fs::directory_iterator(backup_ + "/db")) {
    if (one.file_size() == 0) continue;
    const std::string file = one.path().string();
    // A copy: the file may be the store's own, by a hard link.
    const std::string copy = folder_ / "changed";
    fs::copy(backup_, copy, fs::copy_options::recursive);
    const std::string changed = copy + "/db/" + one.path().filename().string();
    std::fstream bytes(changed, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekg(std::streamoff(one.file_size() / 2));
    const char was = char(bytes.get());
    bytes.seekp(std::streamoff(one.file_size() / 2));
    bytes.put(char(was ^ 1));
    bytes.close();
    const auto restored = restore_backup(copy, folder_ / "again");
    ASSERT_FALSE(restored) << file;
    EXPECT_EQ(restored.error().fault, Fault::malformed);
    EXPECT_NE(why(restored).find(changed), std::string::npos) << why(restored);
    fs::remove_all(copy);
  }
  for (const fs::directory_entry& left : fs::directory_iterator(folder_.path()))
    EXPECT_FALSE(left.path().filename().string().starts_with("again")) << left.path();
}

TEST_F(Backup, OneThatIsCutShortOrHasMoreIsNone) {
  const auto refused = [&](std::string_view reason) {
    const std::string said = why(check_backup(backup_));
    EXPECT_NE(said.find(reason), std::string::npos) << said;
  };
  folder_.write("backup/db/more.sst", "x");
  refused("SHA256SUMS doesn't name");
  fs::remove(backup_ + "/db/more.sst");
  fs::create_symlink("/etc/passwd", backup_ + "/db/link");
  refused("SHA256SUMS doesn't name");
  fs::remove(backup_ + "/db/link");
  ASSERT_TRUE(check_backup(backup_));

  std::ifstream in(backup_ + "/SHA256SUMS");
  const std::string sums((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  in.close();
  const std::string digits(64, 'a');
  folder_.write("backup/SHA256SUMS", sums + digits + "  ../state/lock\n");
  refused("not a line of sha256sum");
  folder_.write("backup/SHA256SUMS", sums + digits + "  /etc/passwd\n");
  refused("not a line of sha256sum");
  folder_.write("backup/SHA256SUMS", sums.substr(0, sums.size() - 1));
  refused("not a line of sha256sum");
  folder_.write("backup/SHA256SUMS", sums + digits + "  db/gone.sst\n");
  refused("missing");
  folder_.write("backup/SHA256SUMS", "");
  refused("without a database");
  fs::remove(backup_ + "/SHA256SUMS");
  refused("SHA256SUMS is missing");
}

}  // namespace
}  // namespace gatehouse::server
