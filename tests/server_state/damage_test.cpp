// A state store whose files were damaged is told as damaged, and never as one that has less in it.
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "server/state/backup.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

namespace fs = std::filesystem;

void flip(const fs::path& file, std::uintmax_t at) {
  std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
  bytes.seekg(std::streamoff(at));
  const char was = char(bytes.get());
  bytes.seekp(std::streamoff(at));
  bytes.put(char(was ^ 1));
}

// What an operator sees who opens the store and has everything in it read; empty: it is whole.
std::string complaint(const std::string& path, const Digest& root) {
  const auto state = State::open({.path = path});
  if (!state) return state.error().text();
  const auto report = (*state)->audit({});
  if (!report) return report.error().text();
  if (report->problems_total != 0) return report->problems.front().text;
  const auto devices = (*state)->devices("", 1000);
  if (!devices) return devices.error().text();
  if (devices->size() != 100) return "devices are missing";
  for (const Device& device : *devices)
    if (const auto history = (*state)->history(device.id, 1000); !history) return history.error().text();
  // The root of all results stands for each of them.
  return report->head.root == root ? "" : "results are missing";
}

TEST(DamagedStore, IsNamedAndABackupTakesItsPlace) {
  const Folder folder;
  const std::string backup = folder / "backup";
  Digest root;
  {
    const auto state = open_state(folder / "state");
    for (int n = 0; n < 100; ++n) {
      const std::string device = "d" + std::to_string(n);
      ASSERT_TRUE(state->enrol_blocking(enrolment(device, new_key(), true)));
      ASSERT_TRUE(commit(*state, result_of(intent("s" + std::to_string(n), device, 1000 + n))));
    }
    ASSERT_TRUE(state->backup(backup));
    root = state->audit_head()->root;
  }
  std::set<std::string> kinds;
  for (const fs::directory_entry& one : fs::directory_iterator(backup + "/db")) {
    const std::string name = one.path().filename().string();
    if (one.file_size() == 0 || name.starts_with("OPTIONS")) continue;  // settings, which the program brings itself
    kinds.insert(name.ends_with(".sst") ? "table" : name.substr(0, name.find('-')));
    for (const int part : {0, 1, 2}) {
      const std::string damaged = folder / "damaged";
      ASSERT_TRUE(restore_backup(backup, damaged));
      const std::uintmax_t at = part == 0 ? 0 : part == 1 ? one.file_size() / 2 : one.file_size() - 1;
      flip(fs::path(damaged) / "db" / name, at);
      const std::string said = complaint(damaged, root);
      EXPECT_NE(said, "") << name << " at " << at << ": nobody noticed";
      EXPECT_EQ(said.find("missing"), std::string::npos) << name << " at " << at << ": " << said;
      EXPECT_NE(said.find(damaged), std::string::npos) << name << " at " << at << ": the store isn't named: " << said;
      fs::remove_all(damaged);
      ASSERT_TRUE(restore_backup(backup, damaged));
      EXPECT_EQ(complaint(damaged, root), "");
      fs::remove_all(damaged);
    }
  }
  EXPECT_TRUE(kinds.contains("table") && kinds.contains("MANIFEST") && kinds.contains("CURRENT")) << kinds.size();
}

}  // namespace
}  // namespace gatehouse::server
