#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace gatehouse {
namespace {

class File : public testing::Test {
 protected:
  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / ("gatehouse-file-" + std::to_string(::getpid()));
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
};

TEST_F(File, IsReplacedWholeAndLeavesNothingBeside) {
  const std::string path = folder_ / "a";
  ASSERT_TRUE(write_file_atomically(path, as_bytes("first")));
  ASSERT_TRUE(write_file_atomically(path, as_bytes("second")));
  EXPECT_EQ(as_text(read_file(path, 100).value()), "second");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(File, OverTheLimitIsALimitFaultThatNamesTheFile) {
  const std::string path = folder_ / "a";
  ASSERT_TRUE(write_file_atomically(path, as_bytes("12345")));
  EXPECT_TRUE(read_file(path, 5));
  const auto refused = read_file(path, 4);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::limit);
  EXPECT_EQ(refused.error().source, path);
}

TEST_F(File, WhatCannotBeReadIsTheEnvironmentsFault) {
  EXPECT_EQ(read_file(folder_ / "absent", 10).error().fault, Fault::environment);
  EXPECT_EQ(read_file(folder_, 10).error().fault, Fault::environment);
  EXPECT_EQ(write_file_atomically(folder_ / "no" / "a", {}).error().fault, Fault::environment);
}

TEST_F(File, ReadsKernelFilesThatStateNoSize) { EXPECT_GT(read_file("/proc/self/status", 1 << 20)->size(), 100U); }

}  // namespace
}  // namespace gatehouse
