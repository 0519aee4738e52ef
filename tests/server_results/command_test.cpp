// A program for each result: with the session in its environment, in order, confined, and nobody's time but its own.
#include "server/results/command.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/folder.h"
#include "tests/server_results/sample.h"

namespace gatehouse::server {
namespace {

namespace fs = std::filesystem;
using test::Folder;
using test::sample_line;
using test::until;

class Command : public testing::Test {
 protected:
  void SetUp() override {
    // Of root the programs are nobody.
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
    ASSERT_EQ(::mkdir((folder_ / "out").c_str(), 0777), 0);
    ASSERT_EQ(::chmod((folder_ / "out").c_str(), 0777), 0);
  }
  std::string program(const std::string& text, const std::string& name = "program") {
    const std::string path = folder_ / name;
    std::ofstream(path) << "#!/bin/sh\nout=" << (folder_ / "out") << "\n" << text;
    EXPECT_EQ(::chmod(path.c_str(), 0755), 0);
    return path;
  }
  ResultCommandOptions options(const std::string& path) const {
    ResultCommandOptions out;
    out.programs.all = {path};
    out.writes = {folder_ / "out"};
    return out;
  }
  std::string said(const std::string& name = "said") const {
    std::ifstream file(folder_ / ("out/" + name));
    std::stringstream all;
    all << file.rdbuf();
    return all.str();
  }
  static ResultLine line(const std::string& session, const std::string& recommendation = "allow") {
    return std::make_shared<const std::string>(sample_line(session, recommendation));
  }
  Folder folder_;
};

TEST_F(Command, HasTheSessionInItsEnvironmentAndTheResultOnItsInput) {
  ::setenv("GATEHOUSE_TEST_SECRET", "of the server", 1);
  auto command = ResultCommand::open(options(program("env | grep -v '^PWD=\\|^_=\\|^SHLVL=' | sort >$out/said; cat >$out/input; echo \"$@\" >$out/arguments")));
  ASSERT_TRUE(command) << command.error().text();
  (*command)->publish(line("s-1", "isolate"));
  until([&] { return (*command)->counts().delivered == 1; });
  EXPECT_EQ(said(),
            "GATEHOUSE_DEVICE=deb3\nGATEHOUSE_EVALUATION=compliant\nGATEHOUSE_FINISHED=2025-11-24T16:11:06.008Z\nGATEHOUSE_GENERATION=7\n"
            "GATEHOUSE_IDENTITY=CN=a \"quoted\"]\\ name\\x0A$(id)\nGATEHOUSE_IDENTITY_TYPE=certificate\nGATEHOUSE_PEER=192.0.2.7:49152\n"
            "GATEHOUSE_PEER_ADDRESS=192.0.2.7\nGATEHOUSE_POLICY=policy-1\nGATEHOUSE_PRODUCT=Debian 12 x86_64\nGATEHOUSE_RECOMMENDATION=isolate\n"
            "GATEHOUSE_SESSION=s-1\nGATEHOUSE_STARTED=2025-11-24T16:11:05.007Z\nGATEHOUSE_SUMMARY=processed 3 measurements\n"
            "GATEHOUSE_TOLD=isolate\nLC_ALL=C.UTF-8\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n");
  EXPECT_EQ(said("input"), sample_line("s-1", "isolate") + "\n");
}

TEST_F(Command, IsTheOneOfTheVerdictBeforeTheOneOfAll) {
  ResultCommandOptions o = options(program("echo all $GATEHOUSE_SESSION >>$out/said"));
  o.programs.allow = {program("echo allow $GATEHOUSE_SESSION $1 >>$out/said", "allow"), "word"};
  o.programs.block = {program("echo block $GATEHOUSE_SESSION >>$out/said", "block")};
  {
    auto command = ResultCommand::open(std::move(o));
    ASSERT_TRUE(command) << command.error().text();
    (*command)->publish(line("1", "allow"));
    (*command)->publish(line("2", "isolate"));
    (*command)->publish(line("3", "block"));
    (*command)->publish(line("4", "none"));
    until([&] { return (*command)->counts().waiting == 0; });
    EXPECT_EQ((*command)->counts().delivered, 8U);
  }
  EXPECT_EQ(said(), "allow 1 word\nall 1\nblock 2\nall 2\nblock 3\nall 3\nblock 4\nall 4\n");
}

TEST_F(Command, CantOpenTheServersFilesNorGetMoreRights) {
  std::ofstream(folder_ / "server.key") << "secret";
  ASSERT_EQ(::chmod((folder_ / "server.key").c_str(), 0644), 0);
  auto command = ResultCommand::open(options(program(
      "cat $out/../server.key >$out/key 2>&1; echo no >$out/../elsewhere 2>/dev/null; ls $out/.. >$out/listed 2>/dev/null; head -c1 /etc/shadow >$out/shadow 2>/dev/null\n"
      "grep -E '^(CapEff|CapPrm|CapAmb|NoNewPrivs)' /proc/self/status >$out/status; id -u >$out/user; ls /proc/self/fd >$out/open; ulimit -c >$out/core; pwd >$out/at")));
  ASSERT_TRUE(command) << command.error().text();
  (*command)->publish(line("s"));
  until([&] { return (*command)->counts().waiting == 0; });
  EXPECT_EQ((*command)->counts().delivered, 1U);
  EXPECT_EQ(said("key").find("secret"), std::string::npos);
  EXPECT_NE(said("key").find("Permission denied"), std::string::npos) << said("key");
  EXPECT_EQ(said("listed"), "");
  EXPECT_EQ(said("shadow"), "");
  EXPECT_NE(::access((folder_ / "elsewhere").c_str(), F_OK), 0);
  EXPECT_EQ(said("status"), "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n");
  EXPECT_NE(said("user"), "0\n");
  EXPECT_EQ(said("open"), "0\n1\n2\n3\n") << "three is ls's own";
  EXPECT_EQ(said("core"), "0\n");
  EXPECT_EQ(said("at"), "/\n");
  // The server itself kept what it had.
  std::string own;
  std::ifstream(folder_ / "server.key") >> own;
  EXPECT_EQ(own, "secret");
}

// The server's control socket takes who has the server's user, and files are that user's to change.
TEST_F(Command, CantSpeakToUnixSocketsNorChangeFilesByName) {
  std::ofstream(folder_ / "state") << "state";
  ASSERT_EQ(::chmod((folder_ / "state").c_str(), 0666), 0);
  const std::string text =
      "python3 - >$out/said 2>&1 <<'END'\n"
      "import os, socket\n"
      "def tried(what, how):\n"
      "    try: how(); print(what, 'done')\n"
      "    except OSError as e: print(what, type(e).__name__)\n"
      "state = '" + folder_ / "state" + "'\n"
      "tried('unix', lambda: socket.socket(socket.AF_UNIX))\n"
      "tried('inet', lambda: socket.socket(socket.AF_INET))\n"
      "tried('truncate', lambda: os.truncate(state, 0))\n"
      "tried('chmod', lambda: os.chmod(state, 0o600))\n"
      "tried('chown', lambda: os.chown(state, os.getuid(), -1))\n"
      "tried('xattr', lambda: os.setxattr(state, 'user.a', b''))\n"
      "END\n";
  auto command = ResultCommand::open(options(program(text)));
  ASSERT_TRUE(command) << command.error().text();
  (*command)->publish(line("s"));
  until([&] { return (*command)->counts().waiting == 0; });
  EXPECT_EQ(said(), "unix PermissionError\ninet done\ntruncate PermissionError\nchmod PermissionError\nchown PermissionError\nxattr PermissionError\n");
  EXPECT_EQ(fs::file_size(folder_ / "state"), 5U);
}

TEST_F(Command, ThatHangsIsKilledWithWhatItStartedAndTheNextOneComes) {
  ResultCommandOptions o = options(program("[ $GATEHOUSE_SESSION = hangs ] || { echo $GATEHOUSE_SESSION >>$out/said; exit 0; }\nsleep 600 & echo $! >$out/child; echo started; wait"));
  o.limit = std::chrono::milliseconds(300);
  auto command = ResultCommand::open(std::move(o));
  ASSERT_TRUE(command) << command.error().text();
  (*command)->publish(line("hangs"));
  (*command)->publish(line("next"));
  until([&] { return (*command)->counts().waiting == 0; });
  EXPECT_EQ((*command)->counts().failed, 1U);
  EXPECT_EQ((*command)->counts().delivered, 1U);
  EXPECT_EQ(said(), "next\n");
  // A zombie of it may be left until its parent, which is none of ours, has asked.
  const std::string child = said("child");
  std::ifstream stat("/proc/" + child.substr(0, child.find('\n')) + "/stat");
  std::string text;
  std::getline(stat, text);
  EXPECT_TRUE(text.empty() || text.find(") Z ") != std::string::npos || text.find(") X ") != std::string::npos) << text;
}

TEST_F(Command, ThatIsSlowMakesResultsWaitWithinTheBoundAndNobodyElse) {
  const std::string go = folder_ / "out/go";
  ASSERT_EQ(::mkfifo(go.c_str(), 0644), 0);
  ASSERT_EQ(::chmod(go.c_str(), 0644), 0);
  std::fstream gate(go);  // for reading, too: opening it waits for nobody
  ResultCommandOptions o = options(program("read go <$out/go; echo $GATEHOUSE_SESSION >>$out/said"));
  o.most_waiting = 3;
  auto command = ResultCommand::open(std::move(o));
  ASSERT_TRUE(command) << command.error().text();
  for (int n = 0; n < 5; ++n) (*command)->publish(line(std::to_string(n)));
  EXPECT_EQ((*command)->counts().left_out, 2U);
  EXPECT_EQ((*command)->counts().waiting, 3U);
  gate << "go\ngo\ngo\n" << std::flush;
  until([&] { return (*command)->counts().waiting == 0; });
  EXPECT_EQ(said(), "0\n1\n2\n");
}

TEST_F(Command, ThatFailsIsCountedAndOneThatCantBeRunIsAnError) {
  {
    auto command = ResultCommand::open(options(program("echo why >&2; exit 3")));
    ASSERT_TRUE(command) << command.error().text();
    (*command)->publish(line("s"));
    until([&] { return (*command)->counts().waiting == 0; });
    EXPECT_EQ((*command)->counts().failed, 1U);
  }
  EXPECT_FALSE(ResultCommand::open(options(folder_ / "nothing")));
  std::ofstream(folder_ / "text") << "text";
  const auto text = ResultCommand::open(options(folder_ / "text"));
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().fault, Fault::usage);
  const std::string open_to_all = program("true", "open");
  ASSERT_EQ(::chmod(open_to_all.c_str(), 0777), 0);
  EXPECT_FALSE(ResultCommand::open(options(open_to_all)));
  ResultCommandOptions nowhere = options(program("true"));
  nowhere.writes = {folder_ / "nowhere"};
  EXPECT_FALSE(ResultCommand::open(std::move(nowhere)));
}

}  // namespace
}  // namespace gatehouse::server
