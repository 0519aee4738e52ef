// Results as others follow them: whole lines, in order, into the file that is there.
#include "server/results/result_log.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <csignal>
#include <fstream>

#include "server/results/record.h"
#include "tests/folder.h"

namespace gatehouse::server {
namespace {

using test::Folder;

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> out;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) out.push_back(line);
  return out;
}

std::string path_in(const Folder& folder) { return folder / "results.jsonl"; }

TEST(ResultLog, WritesALineForEachResultInOrder) {
  const Folder folder;
  {
    const auto log = ResultLog::open(path_in(folder));
    ASSERT_TRUE(log);
    for (int i = 0; i < 1000; ++i) (*log)->write("{\"n\":" + std::to_string(i) + "}");
  }
  const auto lines = lines_of(path_in(folder));
  ASSERT_EQ(lines.size(), 1000U);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(lines[std::size_t(i)], "{\"n\":" + std::to_string(i) + "}");
  struct stat is{};
  ASSERT_EQ(::stat(path_in(folder).c_str(), &is), 0);
  EXPECT_EQ(is.st_mode & 0777, 0600U);
}

TEST(ResultLog, GoesOnBehindWhatIsThere) {
  const Folder folder;
  std::ofstream(path_in(folder)) << "{}\n";
  { (*ResultLog::open(path_in(folder)))->write("{\"n\":1}"); }
  EXPECT_EQ(lines_of(path_in(folder)), (std::vector<std::string>{"{}", "{\"n\":1}"}));
}

TEST(ResultLog, MakesANewFileWhenTheOldOneWasMovedAway) {
  const Folder folder;
  {
    const auto log = ResultLog::open(path_in(folder));
    ASSERT_TRUE(log);
    (*log)->write("first");
    while ((*log)->written() < 1) std::this_thread::yield();
    ASSERT_EQ(std::rename(path_in(folder).c_str(), (folder / "old").c_str()), 0);
    (*log)->write("second");
    while ((*log)->written() < 2) std::this_thread::yield();
    (*log)->reopen();
    (*log)->write("third");
  }
  EXPECT_EQ(lines_of(folder / "old"), (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(lines_of(path_in(folder)), std::vector<std::string>{"third"});
}

TEST(ResultLog, LeavesOutWhatMayNotWait) {
  const Folder folder;
  std::uint64_t left_out = 0;
  {
    const auto log = ResultLog::open(path_in(folder), 10);
    ASSERT_TRUE(log);
    (*log)->write(std::string(100, 'x'));
    (*log)->write("short");
    left_out = (*log)->left_out();
  }
  EXPECT_EQ(left_out, 1U);
  EXPECT_EQ(lines_of(path_in(folder)), std::vector<std::string>{"short"});
}

// A file that may not grow is a full disk: no half line stays, and what waited is written once there is room.
TEST(ResultLog, AFullDiskHoldsLinesBackAndCutsNone) {
  const Folder folder;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  {
    const auto log = ResultLog::open(path_in(folder));
    ASSERT_TRUE(log);
    (*log)->write(std::string(50, 'a'));
    while ((*log)->written() < 1) std::this_thread::yield();
    const rlimit least{60, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &least), 0);
    (*log)->write(std::string(50, 'b'));
    (*log)->reopen();
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    while ((*log)->written() < 2) std::this_thread::yield();
  }
  EXPECT_EQ(lines_of(path_in(folder)), (std::vector<std::string>{std::string(50, 'a'), std::string(50, 'b')}));
}

TEST(ResultLog, AFolderThatIsntThereIsAnError) {
  const Folder folder;
  const auto log = ResultLog::open(folder / "nowhere/results.jsonl");
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().fault, Fault::environment);
}

TEST(RecordLine, IsTheVerdictToTheByteAndItsRecord) {
  SessionRecord record;
  record.state = SessionState::complete;
  record.intent.session = "s";
  record.intent.peer = "192.0.2.7:49152";
  record.intent.identity = "CN=\xff\n";
  record.intent.started = 1'764'000'665'007;
  record.verdict = R"({"session":"s","recommendation":"isolate"})";
  record.enforced = false;
  const std::string line = record_line(record, true);
  EXPECT_TRUE(line.starts_with(R"({"session":"s","recommendation":"isolate","record":{)"));
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto object = boost::json::parse(line).as_object();
  const auto& more = object.at("record").as_object();
  EXPECT_EQ(more.at("state").as_string(), "complete");
  EXPECT_EQ(more.at("started").as_string(), "2025-11-24T16:11:05.007Z");
  EXPECT_EQ(more.at("told").as_string(), "allow");
  EXPECT_TRUE(more.at("evidence").as_bool());
  record.verdict.clear();
  EXPECT_EQ(boost::json::parse(record_line(record, false)).as_object().at("recommendation").as_string(), "none");
}

}  // namespace
}  // namespace gatehouse::server
