// Another policy comes into force while the server runs, refuses who was allowed, and is undone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "tests/server_program/site.h"

namespace gatehouse::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* lenient = "[groups.all]\nask = [\"TPMRA\"]\n";
// The recorded machine has files that no package knows.
constexpr const char* strict = "[policy]\nrules = \"r\"\n[[rules.r.files]]\nunknown = \"refused\"\n[groups.all]\nask = [\"TPMRA\"]\n";

class SafetyStop : public testing::Test {
 protected:
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
  void write(const std::string& text) { std::ofstream(site.path("policy.toml")) << text; }
  endpoint::Recommendation attested(std::uint16_t port, const Machine& m) {
    const auto outcome = site.attest(port, m);
    EXPECT_TRUE(outcome);
    return outcome ? outcome->recommendation : endpoint::Recommendation::block;
  }
  boost::json::object status(int code) {
    const auto ran = site.gatehouse("policy status --json");
    EXPECT_EQ(ran.code, code) << ran.out;
    return boost::json::parse(ran.out).as_object();
  }
  Site site;
};

TEST_F(SafetyStop, UndoesASwitchThatRefusesTooManyUntilItIsReleased) {
  const Machine m = site.enrolled();
  write(lenient);
  site.configure({}, {}, "[policy]\nfile = \"policy.toml\"\nstop_percent = 50\nstop_devices = 1\n");
  std::string first, second;
  {
    Program server(site.serve());
    ASSERT_NE(server.port(), 0) << server.log();
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
    const auto before = status(0);
    EXPECT_EQ(before.at("number").to_number<int>(), 1);
    first = before.at("policy").as_string();

    write(strict);
    server.signal(SIGHUP);
    ASSERT_TRUE(server.says("instead of " + first));
    const auto switched = status(0);
    EXPECT_EQ(switched.at("number").to_number<int>(), 2);
    EXPECT_TRUE(switched.at("switch").as_object().at("watching").as_bool());
    second = switched.at("policy").as_string();
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::isolate);
    ASSERT_TRUE(server.says("safety stop: with policy " + second + " instead of " + first +
                            ", 1 of 1 devices that were allowed before are refused; the switch is undone"));
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
    const auto undone = status(1);
    EXPECT_EQ(undone.at("policy").as_string(), first);
    EXPECT_EQ(undone.at("number").to_number<int>(), 1);
    EXPECT_EQ(undone.at("held").as_object().at("policy").as_string(), second);
    EXPECT_TRUE(undone.at("held").as_object().at("generation").is_null());
    EXPECT_THAT(site.gatehouse("policy status").out, HasSubstr("held back: policy " + second));
    // Reading the same again lets nothing in.
    server.signal(SIGHUP);
    ASSERT_TRUE(server.says("policy " + second + " stays held back"));
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(), 0);
  }
  EXPECT_EQ(status(1).at("running"), false);
  // Nor does a restart: the version before it is in the store.
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  EXPECT_TRUE(server.says("stays held back"));
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
  EXPECT_EQ(status(1).at("policy").as_string(), first);

  EXPECT_EQ(site.gatehouse("policy release").code, 0);
  ASSERT_TRUE(server.says("policy " + second + ", number 2, instead of " + first));
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::isolate);
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::isolate) << "it is watched no more";
  EXPECT_EQ(status(0).at("policy").as_string(), second);
  EXPECT_THAT(site.gatehouse("policy release 2>&1").out, HasSubstr("nothing is held back"));

  const auto list = site.gatehouse("policy list");
  EXPECT_THAT(list.out, HasSubstr("1  " + first + "  "));
  EXPECT_THAT(list.out, HasSubstr("2  " + second + "  "));
  EXPECT_EQ(site.gatehouse("policy show 1").out, lenient);
  EXPECT_EQ(site.gatehouse("policy show " + second).out, strict);
  EXPECT_EQ(site.gatehouse("policy show 3").code, 1);
}

TEST_F(SafetyStop, LetsAnotherPolicyInAndARefusedOneStayWhereItOnlyAlarms) {
  const Machine m = site.enrolled();
  write(lenient);
  site.configure({}, {}, "[policy]\nfile = \"policy.toml\"\nstop_percent = 50\nstop_devices = 1\nstop_undoes = false\n");
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
  write(strict);
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("number 2, instead of"));
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::isolate);
  ASSERT_TRUE(server.says("the switch stands ([policy] stop_undoes = false)"));
  EXPECT_FALSE(status(0).at("alarm").is_null());
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::isolate);
  // A policy with a mistake changes nothing.
  write("[groups.all]\naks = [\"TPMRA\"]\n");
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("policy.toml:2: groups.all.aks: unknown key: there are ask"));
  EXPECT_EQ(status(0).at("number").to_number<int>(), 2);
  write(lenient);
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("number 1, instead of"));
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
  EXPECT_TRUE(status(0).at("alarm").is_null());
}

TEST_F(SafetyStop, HoldsAPolicyBackThatKeptEvidenceIsRefusedBy) {
  const Machine m = site.enrolled();
  write(lenient);
  site.configure({}, "keep_evidence = \"all\"\n", "[policy]\nfile = \"policy.toml\"\nhold_percent = 50\nstop_devices = 1\n");
  std::string first, second;
  {
    Program server(site.serve());
    ASSERT_NE(server.port(), 0) << server.log();
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
    first = status(0).at("policy").as_string();
    write(strict);
    server.signal(SIGHUP);
    ASSERT_TRUE(server.says("is held back: by kept evidence it refuses 1 of 1 devices that are allowed"));
    const auto held = status(1);
    EXPECT_EQ(held.at("policy").as_string(), first);
    EXPECT_TRUE(held.at("rehearsing").is_null());
    second = held.at("held").as_object().at("policy").as_string();
    EXPECT_NE(second, first);
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow) << "nobody was refused by it";
    server.signal(SIGHUP);
    ASSERT_TRUE(server.says("policy " + second + " stays held back"));
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(), 0);
  }
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  EXPECT_EQ(status(1).at("policy").as_string(), first);
  EXPECT_EQ(site.gatehouse("policy release").code, 0);
  ASSERT_TRUE(server.says("instead of " + first));
  EXPECT_EQ(status(0).at("policy").as_string(), second);
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::isolate);
}

TEST_F(SafetyStop, SwitchesToAPolicyThatKeptEvidenceIsAllowedBy) {
  const Machine m = site.enrolled();
  write(lenient);
  site.configure({}, "keep_evidence = \"all\"\n", "[policy]\nfile = \"policy.toml\"\nhold_percent = 50\nstop_devices = 1\n");
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  // Without a session there is nothing to hold it back by.
  write("[policy]\nremediation_uri = \"https://help.example.org/\"\n" + std::string(lenient));
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("it refuses 0 of 0 devices that are allowed, which are too few to hold it back"));
  ASSERT_TRUE(server.says("number 2, instead of"));
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
  write("[policy]\nremediation_uri = \"https://other.example.org/\"\n" + std::string(lenient));
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("was rehearsed: it refuses 0 of 1 devices that are allowed"));
  ASSERT_TRUE(server.says("number 3, instead of"));
  // A policy with a mistake isn't rehearsed at all.
  write("[groups.all]\naks = [\"TPMRA\"]\n");
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("policy.toml:2: groups.all.aks: unknown key"));
  EXPECT_EQ(status(0).at("number").to_number<int>(), 3);
}

// References, other ones while the server runs.
class SafetyStopOfReferences : public SafetyStop {
 protected:
  // A generation that knows one file more: who has another content of it is refused.
  void publish(const std::string& path_of_file) {
    const std::string list = path(path_of_file.substr(path_of_file.rfind('/') + 1) + ".sha256");
    std::ofstream(list) << std::string(64, 'a') << "  " << path_of_file << '\n';
    const auto ran = endpoint::test::run(std::string(GATEHOUSE_PROGRAM) + " refdb ingest --refdb '" + path("refdb") +
                                         "' --product 'Debian 12 x86_64' 'sha256sums:" + list + "' 2>&1");
    EXPECT_EQ(ran.code, 0) << ran.out;
  }
  std::string path(const std::string& name) const { return site.path(name); }
  std::uint64_t generation(int code) { return status(code).at("generation").to_number<std::uint64_t>(); }
  static constexpr const char* measured = "/usr/lib/jvm/java-17-openjdk-amd64/lib/libfontmanager.so";  // by the recorded machine; no package has it
};

TEST_F(SafetyStopOfReferences, HoldsAGenerationBackThatKeptEvidenceIsRefusedBy) {
  const Machine m = site.enrolled();
  write(lenient);
  site.configure({}, "keep_evidence = \"all\"\n", "[policy]\nfile = \"policy.toml\"\nhold_percent = 50\nstop_devices = 1\n");
  {
    Program server(site.serve());
    ASSERT_NE(server.port(), 0) << server.log();
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
    // What says nothing of what machines have is let in; nobody has to send a signal.
    publish("/usr/bin/nobody-has-it");
    ASSERT_TRUE(server.says("reference generation 2 was rehearsed: it refuses 0 of 1 devices that are allowed"));
    ASSERT_TRUE(server.says("reference generation 2\n"));
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
    EXPECT_EQ(generation(0), 2U);

    publish(measured);
    server.signal(SIGHUP);
    ASSERT_TRUE(server.says("reference generation 3 is held back: by kept evidence it refuses 1 of 1 devices that are allowed, '" + m.tpm->ak().key_id() +
                            "' first; reference generation 2 stays in force"));
    const auto held = status(1);
    EXPECT_EQ(held.at("generation").to_number<int>(), 2);
    EXPECT_TRUE(held.at("rehearsing_generation").is_null());
    EXPECT_EQ(held.at("held").as_object().at("generation").to_number<int>(), 3);
    EXPECT_TRUE(held.at("held").as_object().at("policy").is_null());
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow) << "nobody was refused by it";
    EXPECT_THAT(site.gatehouse("policy status").out, HasSubstr("held back: reference generation 3\n"));
    // Which sessions, and why.
    const auto what_if = site.gatehouse("policy test --policy '" + path("policy.toml") + "' --generation 3 --sessions 10");
    EXPECT_EQ(what_if.code, 1);
    EXPECT_THAT(what_if.out, HasSubstr(measured));
    EXPECT_THAT(what_if.out, HasSubstr("0 the same, 3 flip"));
    EXPECT_EQ(site.gatehouse("policy test --policy '" + path("policy.toml") + "' --generation 2 --sessions 10").code, 0);
    server.signal(SIGHUP);
    ASSERT_TRUE(server.says("reference generation 3 stays held back"));
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(), 0);
  }
  // The store's current one is 3; a restart goes by the one before.
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  EXPECT_THAT(server.log(), HasSubstr("reference generation 3 stays held back"));
  EXPECT_EQ(generation(1), 2U);
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
  EXPECT_EQ(site.gatehouse("policy release").code, 0);
  ASSERT_TRUE(server.says("reference generation 3\n"));
  EXPECT_EQ(generation(0), 3U);
  EXPECT_NE(attested(server.port(), m), endpoint::Recommendation::allow);
}

TEST_F(SafetyStopOfReferences, AnotherGenerationTakesTheHeldOnesPlaceAndIsRehearsedItself) {
  const Machine m = site.enrolled();
  write(lenient);
  site.configure({}, "keep_evidence = \"all\"\n", "[policy]\nfile = \"policy.toml\"\nhold_percent = 50\nstop_devices = 1\n");
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
  publish(measured);
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("reference generation 2 is held back"));
  publish("/usr/bin/nobody-has-it");
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("reference generation 2 is held back no longer"));
  ASSERT_TRUE(server.says("reference generation 3 is held back: ")) << "it has all that 2 had";
  EXPECT_EQ(endpoint::test::run(std::string(GATEHOUSE_PROGRAM) + " refdb rollback --refdb '" + path("refdb") + "' 1").code, 0);
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("reference generation 4 was rehearsed: it refuses 0 of 1 devices"));
  ASSERT_TRUE(server.says("reference generation 4\n"));
  EXPECT_EQ(generation(0), 4U);
}

// Both at once: the references are rehearsed first, then the policy by those that are in force then.
TEST_F(SafetyStopOfReferences, ReferencesAndAPolicyAreHeldEachForItsOwnReason) {
  const Machine m = site.enrolled();
  write(lenient);
  site.configure({}, "keep_evidence = \"all\"\n", "[policy]\nfile = \"policy.toml\"\nhold_percent = 50\nstop_devices = 1\n");
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
  publish(measured);
  write(strict);
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("reference generation 2 is held back: "));
  ASSERT_TRUE(server.says("policy release", 2)) << "the policy is, too";
  const auto held = status(1).at("held").as_object();
  EXPECT_EQ(held.at("generation").to_number<int>(), 2);
  EXPECT_FALSE(held.at("policy").is_null());
  EXPECT_THAT(std::string(held.at("why").as_string()), HasSubstr("; references: by kept evidence"));
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
  // The policy is mended; the references stay where they are.
  write(lenient);
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("reference generation 2 stays held back"));
  const auto rest = status(1).at("held").as_object();
  EXPECT_TRUE(rest.at("policy").is_null());
  EXPECT_EQ(rest.at("generation").to_number<int>(), 2);
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
}

// Undone after the fact: the restart has the generation from before, too.
TEST_F(SafetyStopOfReferences, AnUndoneGenerationStaysOutAfterARestart) {
  const Machine m = site.enrolled();
  write(lenient);
  site.configure({}, {}, "[policy]\nfile = \"policy.toml\"\nstop_percent = 50\nstop_devices = 1\n");
  {
    Program server(site.serve());
    ASSERT_NE(server.port(), 0) << server.log();
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
    publish(measured);
    server.signal(SIGHUP);
    ASSERT_TRUE(server.says("reference generation 2\n"));
    EXPECT_NE(attested(server.port(), m), endpoint::Recommendation::allow);
    ASSERT_TRUE(server.says("safety stop: with reference generation 2 instead of 1, 1 of 1 devices"));
    EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(), 0);
  }
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  EXPECT_EQ(generation(1), 1U);
  EXPECT_EQ(attested(server.port(), m), endpoint::Recommendation::allow);
}

}  // namespace
}  // namespace gatehouse::test
