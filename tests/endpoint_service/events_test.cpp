#include "endpoint/service/events.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace gatehouse::endpoint {
namespace {

class EventsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "gatehouse-events-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    std::filesystem::create_directory(folder_ + "/rpm");
    std::ofstream(folder_ + "/rpm/rpmdb.sqlite") << "database";
  }
  void TearDown() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  static bool readable(int fd) {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, 0) == 1;
  }
  std::string folder_;
};

TEST_F(EventsTest, FilesThatAreReplacedOrWrittenCountAndTheirNeighboursDont) {
  auto events = Events::open({folder_ + "/status", folder_ + "/absent/status"}, {folder_ + "/rpm", folder_ + "/none"});
  ASSERT_TRUE(events) << events.error().text();
  EXPECT_FALSE(readable(events->wake_fd()));
  std::ofstream(folder_ + "/status-new") << "x";
  EXPECT_FALSE(events->take().software);
  std::filesystem::rename(folder_ + "/status-new", folder_ + "/status");
  EXPECT_TRUE(readable(events->wake_fd()));
  EXPECT_TRUE(events->take().software);
  EXPECT_FALSE(readable(events->wake_fd())) << "told once";
  EXPECT_FALSE(events->take().software);
  std::ofstream(folder_ + "/status", std::ios::app) << "y";
  EXPECT_TRUE(events->take().software);
  // Opening a database to read it is what we do ourselves.
  { std::fstream reading(folder_ + "/rpm/rpmdb.sqlite", std::ios::in | std::ios::out); }
  EXPECT_FALSE(events->take().software);
  std::ofstream(folder_ + "/rpm/rpmdb.sqlite", std::ios::app) << "z";
  EXPECT_TRUE(events->take().software);
}

TEST_F(EventsTest, SignalsAreReadAsDataAndTheOneToStopStays) {
  auto events = Events::open({}, {});
  ASSERT_TRUE(events) << events.error().text();
  for (const int number : {SIGHUP, SIGUSR1}) {
    std::raise(number);
    EXPECT_TRUE(readable(events->wake_fd()));
    EXPECT_FALSE(readable(events->stop_fd()));
    EXPECT_TRUE(events->take().reassess);
    EXPECT_FALSE(events->take().reassess);
  }
  EXPECT_EQ(events->wait_until(std::chrono::steady_clock::now()), Events::Woken::time);
  std::raise(SIGTERM);
  EXPECT_EQ(events->wait_until(std::chrono::steady_clock::time_point::max() - std::chrono::hours(1)),
            Events::Woken::event);
  for (int n = 0; n < 2; ++n) {
    EXPECT_TRUE(events->take().stop);
    EXPECT_TRUE(readable(events->stop_fd()));
    EXPECT_TRUE(readable(events->wake_fd()));
  }
  // So that it doesn't end the test once it is let through.
  std::signal(SIGTERM, SIG_IGN);
}

}  // namespace
}  // namespace gatehouse::endpoint
