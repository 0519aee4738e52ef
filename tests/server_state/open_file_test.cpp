// The file with the records of sessions that have begun: what was added and not removed is there for the next process, and
// nothing else, whatever became of the file.
#include "server/state/open_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <random>

#include "base/file.h"
#include "tests/folder.h"

namespace gatehouse::server {
namespace {

using test::Folder;

std::vector<std::string> read(const std::string& path) {
  auto out = OpenFile::read(path);
  EXPECT_TRUE(out) << (out ? "" : out.error().text());
  std::vector<std::string> records = out ? *std::move(out) : std::vector<std::string>();
  std::sort(records.begin(), records.end());
  return records;
}

TEST(OpenFile, HasWhatWasAddedAndNotRemoved) {
  const Folder folder;
  const std::string path = folder / "open";
  EXPECT_TRUE(read(path).empty()) << "there is none";
  std::mt19937 random(20261128);
  OpenFile file;
  ASSERT_TRUE(file.begin(path));
  EXPECT_TRUE(read(path).empty());
  std::map<std::uint64_t, std::string> model;
  std::uintmax_t size = 0;
  for (int step = 0; step < 400; ++step) {
    if (model.size() < 20 && random() % 2 == 0) {
      // Around what one, two and three units hold.
      const std::size_t bytes = std::size_t(random() % 3) * 512 + 470 + random() % 40;
      std::string record = std::to_string(step) + std::string(bytes, 'r');
      const auto place = file.add(record);
      ASSERT_TRUE(place) << place.error().text();
      EXPECT_TRUE(model.emplace(*place, std::move(record)).second);
    } else if (!model.empty()) {
      const auto at = std::next(model.begin(), std::ptrdiff_t(random() % model.size()));
      file.remove(at->first);
      model.erase(at);
    }
    std::vector<std::string> expected;
    for (const auto& [place, record] : model) expected.push_back(record);
    std::sort(expected.begin(), expected.end());
    ASSERT_EQ(read(path), expected) << step;
    size = std::max(size, std::filesystem::file_size(path));
  }
  EXPECT_LE(size, (1 + 3 * 20 * 4) * 512U) << "places are used again";
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  OpenFile next;
  ASSERT_TRUE(next.begin(path));
  EXPECT_TRUE(read(path).empty());
}

TEST(OpenFile, WhatIsDamagedIsLeftOut) {
  const Folder folder;
  const std::string path = folder / "open", other = folder / "other";
  const std::vector<std::string> records = {"first", std::string(1200, 'l'), "third"};
  OpenFile file;
  ASSERT_TRUE(file.begin(path));
  for (const std::string& record : records) ASSERT_TRUE(file.add(record));
  const ByteVector whole = *read_file(path, 1 << 20);
  const auto as_it_was = [&](const std::string& record) { return std::find(records.begin(), records.end(), record) != records.end(); };
  for (std::size_t size = 0; size < whole.size(); ++size) {
    ASSERT_TRUE(write_file_atomically(other, Bytes(whole).first(size)));
    const auto found = read(other);
    EXPECT_LT(found.size(), 3U) << size;
    EXPECT_TRUE(std::all_of(found.begin(), found.end(), as_it_was)) << size;
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    ByteVector changed = whole;
    changed[at] ^= std::byte{1};
    ASSERT_TRUE(write_file_atomically(other, changed));
    const auto found = read(other);
    EXPECT_TRUE(std::all_of(found.begin(), found.end(), as_it_was)) << at;
    EXPECT_GE(found.size(), at < 512 ? 0U : 2U) << at << ": one at most is lost with it";
  }
  // A record in another's place isn't one.
  const std::size_t last = whole.size() / 512 * 512;
  ByteVector moved = whole;
  moved.resize(last + 512);
  std::copy_n(moved.begin() + 512, 512, moved.begin() + std::ptrdiff_t(last));
  ASSERT_TRUE(write_file_atomically(other, moved));
  EXPECT_EQ(read(other).size(), 2U);
}

TEST(OpenFile, WithoutRoomIsAnErrorAndGoesOnAfterwards) {
  const Folder folder;
  const std::string path = folder / "open";
  OpenFile file;
  ASSERT_TRUE(file.begin(path));
  const auto kept = file.add("kept");
  ASSERT_TRUE(kept);
  const auto old_signal = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = 1'100;  // in the middle of the next
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const auto refused = file.add(std::string(400, 'r'));
  file.remove(*kept);
  const auto again = file.add("again");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_signal);
  EXPECT_FALSE(refused);
  EXPECT_TRUE(again) << "a place that was there";
  EXPECT_EQ(read(path), std::vector<std::string>{"again"});
  ASSERT_TRUE(file.add(std::string(400, 'r')));
  EXPECT_EQ(read(path).size(), 2U);
}

}  // namespace
}  // namespace gatehouse::server
