// `gatehouse device enrol` and `enrolments` as an operator runs them.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <boost/json.hpp>
#include <cstdio>
#include <fstream>

#include "server/control/control.h"
#include "tests/server_state/support.h"
#include "wire/enrolment/enrolment.h"

namespace gatehouse::server {
namespace {

namespace json = boost::json;

class EnrolCommand : public testing::Test {
 protected:
  struct Ran {
    int code;
    std::string out;
  };
  Ran run(const std::string& arguments, bool errors = true) const {
    const std::string command = std::string(GATEHOUSE_BINARY) + " device " + arguments + " --state " + (folder_ / "state") + (errors ? " 2>&1" : " 2>/dev/null");
    FILE* const pipe = ::popen(command.c_str(), "r");
    std::string out;
    char buffer[4096];
    for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
    const int status = ::pclose(pipe);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, out};
  }
  json::object object(const std::string& arguments) const {
    const Ran ran = run(arguments + " --json", false);
    EXPECT_EQ(ran.code, 0) << arguments << ran.out;
    return json::parse(ran.out).as_object();
  }
  std::string content(const std::string& name) const {
    std::ifstream file(folder_ / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static std::string key_path(const std::string& name) { return std::string(GATEHOUSE_TEST_DATA) + "/interop/keys/" + name; }

  Folder folder_;
};

TEST_F(EnrolCommand, WrongArgumentsAreNamedAndOpenNothing) {
  ASSERT_EQ(run("add d1 --trust --ak " + key_path("rsa/ak.pem")).code, 0);
  std::ofstream(folder_ / "junk") << "no key at all";
  const std::tuple<std::string, int, const char*> wrong[] = {
      {"enrol ''", 2, ""},
      {"enrol a b", 2, ""},
      {"enrol d1 --identity ''", 2, "identity"},
      {"enrol d1 --ek ''", 4, ""},
      {"enrol d1 --for 0", 2, "a time is a number"},
      {"enrol d1 --for soon", 2, "a time is a number"},
      {"enrol d1 --for -1h", 2, ""},
      {"enrol d1 --for 31d", 2, "seconds"},
      {"enrol d1 --ek absent", 4, "absent"},
      {"enrol d1 --ek " + (folder_ / "junk"), 2, "an EK is a SHA-256 in hex, or a file"},
      {"enrol d1 --why \"$(printf 'a\\nb')\"", 2, "a reason is up to 1,024 bytes"},
      {"enrol d1 --if-changes 7", 1, "was changed meanwhile"},
      {"enrolments --close 00", 1, "no such enrolment is open"},
      {"enrolments d1", 2, ""},
  };
  for (const auto& [arguments, code, words] : wrong) {
    const Ran ran = run(arguments);
    EXPECT_EQ(ran.code, code) << arguments << ": " << ran.out;
    EXPECT_NE(ran.out.find(words), std::string::npos) << arguments << ": " << ran.out;
  }
  EXPECT_EQ(run("enrolments").out, "");
}

TEST_F(EnrolCommand, TheTokenGoesWhereItIsWanted) {
  // Printed, for people and for scripts.
  const Ran printed = run("enrol laptop-17");
  ASSERT_EQ(printed.code, 0) << printed.out;
  EXPECT_TRUE(enrolment::parse_token(printed.out.substr(0, printed.out.find('\n')))) << printed.out;
  const json::object told = object("enrol laptop-17");
  EXPECT_TRUE(enrolment::parse_token(std::string_view(told.at("token").as_string())));
  // Or into a file of its own, and nowhere else.
  for (const char* const json : {"", " --json"}) {
    std::filesystem::remove(folder_ / "token");
    const Ran ran = run("enrol laptop-17 --token-file " + (folder_ / "token") + json);
    ASSERT_EQ(ran.code, 0) << ran.out;
    const std::string text = content("token");
    ASSERT_TRUE(enrolment::parse_token(text.substr(0, text.find('\n')))) << text;
    EXPECT_EQ(ran.out.find(text.substr(0, text.find('\n'))), std::string::npos) << ran.out;
    EXPECT_EQ(std::filesystem::status(folder_ / "token").permissions(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  // Where it can't be written nobody is expected by a token that nobody has.
  EXPECT_EQ(run("enrol desk-1 --token-file " + (folder_ / "no/such/folder/token")).code, 4);
  EXPECT_EQ(run("enrolments").out.find("desk-1"), std::string::npos);
}

TEST_F(EnrolCommand, AnEkIsNamedByAnyOfItsForms) {
  const auto pin = [&](const std::string& given) { return std::string(object("enrol laptop-17 --ek " + given).at("ek").as_string()); };
  const std::string hex(64, 'b');
  EXPECT_EQ(pin(hex), hex);
  const std::string by_pem = pin(key_path("ecc/ak.pem"));
  EXPECT_EQ(by_pem.size(), 64U);
  EXPECT_EQ(pin(key_path("ecc/ak.tpm2b_public")), by_pem);
  EXPECT_EQ(pin(key_path("ecc/ak.cert.der")), by_pem);
}

TEST_F(EnrolCommand, ADeviceThatIsBarredIsntExpected) {
  ASSERT_EQ(run("add d1 --trust --ak " + key_path("rsa/ak.pem")).code, 0);
  ASSERT_EQ(run("suspend d1").code, 0);
  const Ran barred = run("enrol d1");
  EXPECT_EQ(barred.code, 1);
  EXPECT_NE(barred.out.find("resume it"), std::string::npos) << barred.out;
  ASSERT_EQ(run("resume d1").code, 0);
  EXPECT_EQ(run("enrol d1").code, 0);
}

TEST_F(EnrolCommand, ThroughTheSocketItIsTheSame) {
  const auto state = open_state(folder_ / "state");
  const auto control = ControlServer::start(folder_ / "state/control.sock", [&](std::string_view request) { return execute(*state, request); });
  ASSERT_TRUE(control);
  const json::object first = object("enrol laptop-17 --product p --by alice --why 'ticket 4711'");
  const Ran listed = run("enrolments");
  EXPECT_EQ(listed.code, 0);
  EXPECT_EQ(listed.out.find(std::string(first.at("id").as_string()) + "  laptop-17  until "), 0U) << listed.out;
  EXPECT_NE(listed.out.find("by alice  (ticket 4711)"), std::string::npos) << listed.out;
  const std::string second(object("enrol laptop-17 --by bob").at("id").as_string());
  EXPECT_EQ(run("enrolments --close " + std::string(first.at("id").as_string())).code, 1) << "the second operator's took its place";
  EXPECT_EQ(run("enrolments --close " + second).out, "closed\n");
  EXPECT_EQ(run("enrolments").out, "");
}

}  // namespace
}  // namespace gatehouse::server
