// gatehouse serve, the program: one result goes out by every way there is, once it is on record.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <fstream>

#include "base/descriptor.h"
#include "tests/server_program/site.h"
#include "tests/server_results/http_target.h"

namespace gatehouse::test {
namespace {

TEST(Results, GoOutByCommandSyslogAndWebhook) {
  ::signal(SIGPIPE, SIG_IGN);
  Site site;
  HttpTarget json([](std::size_t, const HttpTarget::Request&) { return 200; });
  HttpTarget ear([](std::size_t, const HttpTarget::Request&) { return 200; });
  const Machine m = site.enrolled();
  // Of root the command is nobody.
  ASSERT_EQ(::chmod(site.world.folder.c_str(), 0755), 0);
  ASSERT_EQ(::mkdir(site.path("out").c_str(), 0777), 0);
  ASSERT_EQ(::chmod(site.path("out").c_str(), 0777), 0);
  ASSERT_EQ(::mkfifo(site.path("out/said").c_str(), 0666), 0);
  ASSERT_EQ(::chmod(site.path("out/said").c_str(), 0666), 0);
  std::ofstream(site.path("command")) << "#!/bin/sh\necho \"$GATEHOUSE_RECOMMENDATION $GATEHOUSE_SESSION $1\" >" << site.path("out/said") << "\n";
  ASSERT_EQ(::chmod(site.path("command").c_str(), 0755), 0);
  std::ofstream(site.path("hook.key")) << "a key of sixteen and more\n";
  ASSERT_EQ(::chmod(site.path("hook.key").c_str(), 0600), 0);
  const Descriptor syslog(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un here{};
  here.sun_family = AF_UNIX;
  ASSERT_LT(site.path("log").size(), sizeof here.sun_path);
  site.path("log").copy(here.sun_path, sizeof here.sun_path - 1);
  ASSERT_EQ(::bind(syslog.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
  site.configure({}, {},
                 "[results]\ncommand_allow = [\"" + site.path("command") + "\", \"word\"]\ncommand_writes = [\"" + site.path("out") + "\"]\nsyslog = \"unix:" + site.path("log") +
                     "\"\n[[results.webhook]]\nurl = \"" + json.url() + "\"\nkey_file = \"hook.key\"\n[[results.webhook]]\nurl = \"" + ear.url() + "\"\nformat = \"ear\"\n");
  const auto checked = site.gatehouse("serve --check");
  ASSERT_EQ(checked.code, 0) << checked.out;
  Program server(site.serve());
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  const auto outcome = site.attest(port, m);
  ASSERT_TRUE(outcome) << server.log();
  ASSERT_EQ(outcome->recommendation, endpoint::Recommendation::allow);

  const auto posted = json.requests(1).at(0);
  const auto verdict = boost::json::parse(posted.body).as_object();
  const std::string session(verdict.at("session").as_string());
  EXPECT_EQ(posted.field("Gatehouse-Session"), session);
  EXPECT_TRUE(posted.field("Gatehouse-Signature").starts_with("sha256="));
  EXPECT_EQ(verdict.at("recommendation").as_string(), "allow");
  EXPECT_EQ(verdict.at("record").as_object().at("state").as_string(), "complete");
  const auto token = ear.requests(1).at(0);
  EXPECT_EQ(token.field("Gatehouse-Session"), session);
  EXPECT_EQ(token.field("Content-Type"), "application/eat+jwt; eat_profile=\"tag:ietf.org,2026:rats/ear#04\"");
  EXPECT_EQ(std::count(token.body.begin(), token.body.end(), '.'), 2);
  std::array<char, 4096> buffer{};
  const ssize_t n = ::recv(syslog.get(), buffer.data(), buffer.size(), 0);
  ASSERT_GT(n, 0);
  EXPECT_NE(std::string(buffer.data(), std::size_t(n)).find(" gatehouse " + std::to_string(server.id()) + " result [gatehouse@32473 session=\"" + session + "\" "), std::string::npos);
  std::string said;
  std::ifstream fifo(site.path("out/said"));
  std::getline(fifo, said);
  EXPECT_EQ(said, "allow " + session + " word");
  // The same token for whoever asks for it later.
  const auto exported = site.gatehouse("session export " + session + " '" + site.path("again.jwt") + "' --format ear");
  ASSERT_EQ(exported.code, 0) << exported.out;
  std::string again;
  std::ifstream(site.path("again.jwt")) >> again;
  EXPECT_EQ(again.substr(0, again.rfind('.')), token.body.substr(0, token.body.rfind('.'))) << "but for a signature that is another each time";
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.log();
}

TEST(Results, AWayOutThatCantBeUsedIsNamedByTheCheck) {
  Site site;
  std::ofstream(site.path("short.key")) << "short\n";
  ASSERT_EQ(::chmod(site.path("short.key").c_str(), 0600), 0);
  site.configure({}, {}, "[results]\ncommand = [\"/nowhere/program\"]\n");
  const auto nowhere = site.gatehouse("serve --check");
  EXPECT_EQ(nowhere.code, 4) << nowhere.out;
  EXPECT_NE(nowhere.out.find("/nowhere/program"), std::string::npos) << nowhere.out;
  site.configure({}, {}, "[[results.webhook]]\nurl = \"https://127.0.0.1:1/\"\nkey_file = \"short.key\"\n");
  const auto weak = site.gatehouse("serve --check");
  EXPECT_EQ(weak.code, 2) << weak.out;
  EXPECT_NE(weak.out.find("short.key"), std::string::npos) << weak.out;
}

}  // namespace
}  // namespace gatehouse::test
