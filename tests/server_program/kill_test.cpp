// A server that is killed at any moment, or whose disk is full, loses no result that an endpoint was told, and no store.
#include <gtest/gtest.h>

#include <atomic>
#include <boost/json.hpp>
#include <cstdlib>
#include <iostream>
#include <random>
#include <set>
#include <sstream>

#include "tests/long.h"
#include "tests/server_program/site.h"
#include "tests/server_results/http_target.h"

namespace gatehouse::test {
namespace {

// Verdicts with this recommendation, of `session list --json`.
std::size_t counted(const endpoint::test::Ran& listed, std::string_view recommendation) {
  EXPECT_EQ(listed.code, 0) << listed.out;
  std::size_t count = 0;
  std::istringstream lines(listed.out);
  for (std::string line; std::getline(lines, line);) {
    const auto verdict = boost::json::parse(line).as_object();
    const auto* const found = verdict.if_contains("recommendation");
    count += found != nullptr && found->is_string() && std::string_view(found->as_string()) == recommendation;
  }
  return count;
}

std::string content_digest(const Site& site) {
  const auto stats = endpoint::test::run(std::string(GATEHOUSE_PROGRAM) + " refdb stats --json --refdb '" + site.path("refdb") + "'");
  EXPECT_EQ(stats.code, 0) << stats.out;
  return std::string(boost::json::parse(stats.out).as_object().at("content_digest").as_string());
}

// Ids of the sessions with this recommendation. No id may come twice.
std::set<std::string> sessions(const Site& site, const std::string& device, std::string_view recommendation) {
  const auto listed = site.gatehouse("session list --json --last 100000 --device " + device);
  EXPECT_EQ(listed.code, 0) << listed.out;
  std::set<std::string> all, wanted;
  std::istringstream lines(listed.out);
  for (std::string line; std::getline(lines, line);) {
    const auto verdict = boost::json::parse(line).as_object();
    const std::string id(verdict.at("session").as_string());
    EXPECT_TRUE(all.insert(id).second) << id << " is recorded twice";
    const auto* const found = verdict.if_contains("recommendation");
    if (found != nullptr && found->is_string() && std::string_view(found->as_string()) == recommendation) wanted.insert(id);
  }
  return wanted;
}

// What the audit log says of the store that nobody holds.
void expect_audit(const Site& site) {
  const auto verified = site.gatehouse("audit verify --json --checkpoints '" + site.path("checkpoints") + "' --key '" + site.path("audit.key.pub") + "'");
  EXPECT_EQ(verified.code, 0) << verified.out;
}

// Kills in the middle of real attestations whose evidence is kept; GATEHOUSE_LONG: 200 of them.
TEST(Killed, LosesNoAcknowledgedResultAndNoStore) {
  ::signal(SIGPIPE, SIG_IGN);
  const int rounds = test::how_many(3, 200);
  constexpr std::size_t clients = 3;
  const unsigned seed = std::random_device()();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  Site site;
  HttpTarget target([](std::size_t, const HttpTarget::Request&) { return 204; });
  std::vector<Machine> machines;
  for (std::size_t n = 0; n < clients; ++n) machines.push_back(site.enrolled());
  ASSERT_EQ(endpoint::test::run(std::string(GATEHOUSE_PROGRAM) + " audit key '" + site.path("audit.key") + "'").code, 0);
  site.configure({}, "keep_evidence = \"all\"\n",
                 "[results]\nfile = \"results.jsonl\"\n[[results.webhook]]\nurl = \"" + target.url() + "\"\n[audit]\nkey = \"audit.key\"\ncheckpoints = \"checkpoints\"\ninterval_seconds = 1\n");
  const std::string references = content_digest(site);
  std::vector<std::size_t> told(clients, 0), cut(clients, 0);
  for (Machine const& m : machines) EXPECT_EQ(sessions(site, m.tpm->ak().key_id(), "allow").size(), 0U);
  for (int round = 0; round < rounds; ++round) {
    Program server(site.serve());
    const std::uint16_t port = server.port();
    ASSERT_NE(port, 0) << server.log();
    // Before which answer, of all that the clients wait for: so the moment falls anywhere in an attestation. Later from
    // round to round, so that some attestations are always told before it.
    const int earliest = 1 + 120 * round / rounds;
    std::atomic<int> left{std::uniform_int_distribution<int>(earliest, std::max(earliest, 120 * (round + 1) / rounds))(random)};
    std::vector<std::thread> attesting;
    for (std::size_t n = 0; n < clients; ++n)
      attesting.emplace_back([&, n] {
        const auto step = [&] {
          if (left.fetch_sub(1) == 1) server.signal(SIGKILL);
        };
        while (const auto outcome = site.attest(port, machines[n], step)) {
          EXPECT_EQ(outcome->recommendation, endpoint::Recommendation::allow);
          ++told[n];
        }
        ++cut[n];
      });
    for (std::thread& one : attesting) one.join();
    EXPECT_EQ(server.wait(), -1) << "it ended by itself\n" << server.log();
    for (std::size_t n = 0; n < clients; ++n) {
      const std::size_t recorded = sessions(site, machines[n].tpm->ak().key_id(), "allow").size();
      ASSERT_GE(recorded, told[n]) << "round " << round << ": a result that was told is lost";
      // One attestation of each client was cut off; of that the result may be on disk though nobody heard it.
      ASSERT_LE(recorded, told[n] + cut[n]) << "round " << round << ": a result is there twice";
    }
    expect_audit(site);
  }
  std::size_t all = 0;
  for (const std::size_t n : told) all += n;
  EXPECT_GT(all, std::size_t(rounds));
  EXPECT_EQ(content_digest(site), references);
  std::set<std::string> recorded;
  for (const Machine& m : machines) recorded.merge(sessions(site, m.tpm->ak().key_id(), "allow"));
  // What went out by the file is on record, and went out once.
  std::set<std::string> out;
  std::ifstream file(site.path("results.jsonl"));
  for (std::string line; std::getline(file, line);) {
    const std::string id(boost::json::parse(line).as_object().at("session").as_string());
    EXPECT_TRUE(out.insert(id).second) << id << " went out twice";
    EXPECT_TRUE(recorded.contains(id)) << id << " went out and isn't on record";
  }
  EXPECT_GT(out.size(), 0U);
  // Evidence that is kept of a result is the evidence of that result.
  const auto again = site.gatehouse("session replay " + *recorded.rbegin());
  EXPECT_EQ(again.code, 0) << again.out;
  // Keys, baselines and quote clocks are as they were.
  Program server(site.serve());
  for (const Machine& m : machines) {
    const auto outcome = site.attest(server.port(), m);
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->recommendation, endpoint::Recommendation::allow);
  }
  // The webhook's target has each of them, those too that came on record in the moment of a kill.
  target.requests_until([&](const std::vector<HttpTarget::Request>& requests) {
    std::set<std::string> missing = recorded;
    for (const auto& request : requests) missing.erase(request.field("Gatehouse-Session"));
    return missing.empty();
  });
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.log();
  expect_audit(site);
}

// A mount namespace of the test's own, where its state directory may be on a disk of any kind; its processes see the rest
// of the machine as it is.
class Elsewhere {
 public:
  static bool possible() { return endpoint::test::run("unshare --user --map-root-user --mount true").code == 0; }
  // Mounts by this shell text first.
  explicit Elsewhere(const std::string& mounts)
      : holder_({"/usr/bin/unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounts + " && echo ready >&2 && exec sleep infinity"}) {
    EXPECT_TRUE(holder_.says("ready")) << holder_.log();
  }
  std::vector<std::string> command(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all{"/usr/bin/nsenter", "--target", std::to_string(holder_.id()), "--user", "--mount", "--preserve-credentials", "--"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
  }
  endpoint::test::Ran run(const std::string& shell) const {
    std::string text;
    for (const std::string& word : command({"sh", "-c"})) text += word + " ";
    return endpoint::test::run(text + "\"" + shell + "\"");
  }

 private:
  Program holder_;
};

// Nobody is allowed on a result that isn't on disk, and where there is room again the server goes on by itself.
TEST(FullDisk, AllowsNobodyWithoutARecordAndLosesNone) {
  ::signal(SIGPIPE, SIG_IGN);
  if (!Elsewhere::possible()) GTEST_SKIP() << "no mount namespaces for this user: nothing was tested";
  Site site;
  const Machine m = site.enrolled();
  const std::string device = m.tpm->ak().key_id(), state = site.path("state");
  site.configure();
  const Elsewhere disk("mv '" + state + "' '" + state + ".was' && mkdir '" + state + "' && mount -t tmpfs -o size=16m,mode=700 tmpfs '" + state +
                       "' && cp -a '" + state + ".was/.' '" + state + "/'");
  const auto allowed_there = [&] {
    return counted(disk.run("'" + std::string(GATEHOUSE_PROGRAM) + "' session list --json --last 100000 --device " + device + " --config '" +
                            site.path("gatehouse.toml") + "'"),
                   "allow");
  };
  std::size_t told = 0;
  {
    Program server(disk.command(site.serve()));
    const std::uint16_t port = server.port();
    ASSERT_NE(port, 0) << server.log();
    ASSERT_TRUE(site.attest(port, m));
    ++told;
    // All but 100 kB are taken by something else.
    const auto filled = disk.run("dd if=/dev/zero of='" + state + "/filler' bs=4k; truncate -s -100K '" + state + "/filler'");
    ASSERT_EQ(filled.code, 0) << filled.out;
    std::optional<endpoint::Outcome> outcome;
    for (int n = 0; n < 1000; ++n) {
      outcome = site.attest(port, m);
      ASSERT_TRUE(outcome) << server.log();
      if (outcome->recommendation != endpoint::Recommendation::allow) break;
      ++told;
    }
    EXPECT_NE(outcome->recommendation, endpoint::Recommendation::allow) << "the disk never got full";
    EXPECT_TRUE(server.says("can't be recorded")) << server.log();
    EXPECT_EQ(allowed_there(), told) << "through the socket of the running server";
    ASSERT_EQ(disk.run("rm '" + state + "/filler'").code, 0);
    for (int n = 0; n < 100 && outcome->recommendation != endpoint::Recommendation::allow; ++n) {
      outcome = site.attest(port, m);
      ASSERT_TRUE(outcome) << server.log();
    }
    EXPECT_EQ(outcome->recommendation, endpoint::Recommendation::allow) << server.log();
    ++told;
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(), 0) << server.log();
  }
  EXPECT_EQ(allowed_there(), told);
  Program again(disk.command(site.serve()));
  const auto outcome = site.attest(again.port(), m);
  ASSERT_TRUE(outcome) << again.log();
  EXPECT_EQ(outcome->recommendation, endpoint::Recommendation::allow);
}

TEST(ReadOnlyDisk, IsNamedAndNothingIsLost) {
  ::signal(SIGPIPE, SIG_IGN);
  if (!Elsewhere::possible()) GTEST_SKIP() << "no mount namespaces for this user: nothing was tested";
  Site site;
  const Machine m = site.enrolled();
  site.configure();
  const std::string state = site.path("state");
  {
    const Elsewhere disk("mount --bind '" + state + "' '" + state + "' && mount -o remount,ro,bind '" + state + "'");
    Program server(disk.command(site.serve()));
    EXPECT_EQ(server.wait(), 4) << server.log();
    EXPECT_TRUE(server.says("Read-only file system")) << server.log();
  }
  Program server(site.serve());
  const auto outcome = site.attest(server.port(), m);
  ASSERT_TRUE(outcome) << server.log();
  EXPECT_EQ(outcome->recommendation, endpoint::Recommendation::allow);
}

}  // namespace
}  // namespace gatehouse::test
