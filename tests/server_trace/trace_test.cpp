// Conversations recorded and judged again: the same verdict, and no difference where there is none.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/hex.h"
#include "server/trace/dissect.h"
#include "server/trace/recorder.h"
#include "server/trace/recording.h"
#include "server/trace/replay.h"
#include "tests/server_session/conversation.h"

namespace gatehouse::test {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}
unsigned mode(const fs::path& path) {
  struct stat s {};
  EXPECT_EQ(::stat(path.c_str(), &s), 0) << path;
  return s.st_mode & 07777;
}
// The session's identifier is the only thing that two sessions of the same evidence don't share.
std::string without_session(const std::string& verdict) {
  constexpr std::string_view member = "\"session\":\"";
  const std::size_t at = verdict.find(member);
  if (at == verdict.npos) return verdict;
  const std::size_t from = at + member.size();
  return verdict.substr(0, from) + verdict.substr(verdict.find('"', from));
}

// One live conversation, recorded.
struct Recorded {
  std::string folder;  // of the trace
  std::string verdict;
};
Recorded record(World& world, const Machine& m, ClientOptions options = {}, trace::Recorder::Limits limits = {}) {
  const std::string root = world.folder / "traces";
  auto recorder = trace::Recorder::open(root, limits);
  EXPECT_TRUE(recorder) << recorder.error().text();
  std::unique_ptr<trace::Recording> recording;
  Recorded out;
  options.begin = [&](LoopHost& host, const server::Session& session) {
    out.folder = root + "/" + session.id();
    recording = (*recorder)->begin(session.id());
    recording->settings(world.settings);
    host.on_message = [&](server::Direction d, Bytes whole) { recording->message(d, whole); };
    host.on_fact = [&](std::string_view fact, Bytes value) { recording->fact(fact, value); };
    host.on_result = [&](const server::SessionResult& r) {
      recording->result(r);
      out.verdict = r.verdict;
    };
  };
  const Outcome outcome = converse(world, m, options);
  EXPECT_TRUE(outcome.error.empty()) << outcome.error;
  recording.reset();
  (*recorder)->wait_blocking();
  return out;
}

// A device whose firmware is approved, in a store that has seen no session of it: a recorded quote is new to it.
void approved(World& fresh, World& from, const Machine& m) {
  const std::string device = m.tpm->ak().key_id();
  fresh.enrol(m.tpm->ak(), device);
  server::Enrolment e;
  e.device = device;
  e.approved_baseline = from.state->approved_baselines(device)->front();
  ASSERT_TRUE(fresh.state->enrol_blocking(std::move(e)));
}

trace::Replayed replay(World& world, const std::string& folder) {
  const auto recorded = trace::read_recording(folder);
  EXPECT_TRUE(recorded) << recorded.error().text();
  auto replayed = trace::replay_blocking(
      *recorded, {.state = *world.state, .references = world.references, .settings = world.settings, .threads = 2});
  EXPECT_TRUE(replayed) << replayed.error().text();
  return replayed ? std::move(*replayed) : trace::Replayed();
}

class Trace : public testing::Test {
 protected:
  void SetUp() override {
    World first;
    m = machine();
    first.enrol(m.tpm->ak(), m.tpm->ak().key_id());
    converse(first, m);
    first.approve(m.tpm->ak().key_id());
    approved(live, first, m);
    approved(later, first, m);
  }
  Machine m;
  World live, later;
};

TEST_F(Trace, ALiveConversationReplaysToTheSameVerdict) {
  const Recorded recorded = record(live, m);
  ASSERT_NE(recorded.verdict.find("\"allow\""), std::string::npos) << recorded.verdict;
  const trace::Replayed r = replay(later, recorded.folder);
  EXPECT_EQ(without_session(r.verdict), without_session(recorded.verdict));
  EXPECT_NE(r.verdict, recorded.verdict);
  EXPECT_FALSE(r.difference) << r.difference->batch << ": " << r.difference->reason;
  EXPECT_EQ(r.protocol_error, "");
}

TEST_F(Trace, SoDoesOneInSegments) {
  ClientOptions options;
  options.max_batch = 2080;
  live.settings.max_batch = 2080;
  const Recorded recorded = record(live, m, options);
  const auto read = trace::read_recording(recorded.folder);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->max_batch, 2080U);
  EXPECT_GT(read->messages.size(), 50U);
  const trace::Replayed r = replay(later, recorded.folder);
  EXPECT_EQ(without_session(r.verdict), without_session(recorded.verdict));
  EXPECT_FALSE(r.difference) << r.difference->batch << ": " << r.difference->reason;
}

TEST_F(Trace, IsPrivateAndSaysWhatItHolds) {
  const fs::path folder = record(live, m).folder;
  EXPECT_EQ(mode(folder.parent_path()), 0700U);
  EXPECT_EQ(mode(folder), 0700U);
  EXPECT_EQ(mode(folder / "batches"), 0700U);
  EXPECT_EQ(mode(folder / "index.json"), 0600U);
  EXPECT_EQ(mode(folder / "facts.json"), 0600U);
  const auto index = boost::json::parse(contents(folder / "index.json")).as_object();
  EXPECT_TRUE(index.at("complete").as_bool());
  EXPECT_EQ(index.at("identity").as_string(), "CN=test");
  EXPECT_TRUE(index.at("client_certificate").as_bool());
  std::size_t batches = 0, n = 0;
  for (const auto& one : index.at("messages").as_array()) {
    const auto& message = one.as_object();
    EXPECT_EQ(message.at("n").to_number<std::size_t>(), ++n);
    if (!message.contains("file")) {
      EXPECT_EQ(message.at("hex").as_string().size(), 2 * message.at("length").to_number<std::size_t>());
      continue;
    }
    ++batches;
    const std::string bytes = contents(folder / std::string(message.at("file").as_string()));
    EXPECT_EQ(bytes.size(), message.at("batch_length").to_number<std::size_t>());
    EXPECT_EQ(bytes.size() + 16, message.at("length").to_number<std::size_t>());
    EXPECT_EQ(digest_of(HashAlgorithm::sha256, as_bytes(bytes)).hex(), message.at("batch_sha256").as_string());
    EXPECT_TRUE(trace::dissect_batch(as_bytes(bytes)).problems.empty());
    EXPECT_TRUE(message.at("pb_tnc").is_array());
    EXPECT_EQ(mode(folder / std::string(message.at("file").as_string())), 0600U);
  }
  EXPECT_GT(batches, 6U);
  const auto facts = boost::json::parse(contents(folder / "facts.json")).as_object();
  EXPECT_EQ(facts.at("device").as_string(), m.tpm->ak().key_id());
  EXPECT_EQ(facts.at("ak").at("keyid").as_string(), m.tpm->ak().key_id());
  EXPECT_EQ(facts.at("measurement_algorithm").as_string(), "sha256");
  EXPECT_EQ(facts.at("final").as_string(), "final recommendation is 'allow' and evaluation is 'compliant'");
  EXPECT_EQ(facts.at("verdict").at("recommendation").as_string(), "allow");
  EXPECT_EQ(facts.at("dh_secret").as_string().size(), 64U);
  // The quote's extraData is what the exchange comes to.
  EXPECT_EQ(facts.at("secret_assessment_value").as_string().size(), 64U);
}

// The index describes a batch as the recorded ones are described.
TEST(TraceSummary, AgreesWithTheRecordedDecoding) {
  for (const char* folder : {"sasl-rsa", "sasl-ecc-2k", "untrusted-ak-cert-ecc"}) {
    const auto index = boost::json::parse(contents(interop(std::string(folder) + "/index.json"))).as_object();
    for (const auto& one : index.at("messages").as_array()) {
      if (!one.as_object().contains("file")) continue;
      const std::string file = std::string(one.at("file").as_string());
      const auto ours =
          boost::json::parse(trace::summary(as_bytes(contents(interop(std::string(folder) + "/" + file))))).as_array();
      const auto& theirs = one.at("pb_tnc").as_array();
      ASSERT_EQ(ours.size(), theirs.size()) << file;
      for (std::size_t i = 0; i < ours.size(); ++i) {
        for (const char* member : {"message", "vendor", "type", "flags", "length", "pa_flags", "collector", "validator",
                                   "pa_message_id", "value"})
          if (theirs[i].as_object().contains(member)) {
            EXPECT_EQ(boost::json::serialize(ours[i].at(member)), boost::json::serialize(theirs[i].at(member)))
                << file << ' ' << member;
          }
        if (!theirs[i].as_object().contains("attributes")) continue;
        const auto& a = ours[i].at("attributes").as_array();
        const auto& b = theirs[i].at("attributes").as_array();
        ASSERT_EQ(a.size(), b.size()) << file;
        for (std::size_t k = 0; k < a.size(); ++k)
          for (const char* member : {"vendor", "type", "flags", "length", "count"})
            EXPECT_EQ(a[k].at(member).to_number<std::uint64_t>(), b[k].at(member).to_number<std::uint64_t>())
                << file << ' ' << member;
      }
    }
  }
}

TEST_F(Trace, ADifferenceIsNamedByBatchAndOffset) {
  const Recorded recorded = record(live, m);
  // As if the recorded server had asked for other capabilities.
  const auto read = trace::read_recording(recorded.folder);
  ASSERT_TRUE(read);
  const auto ask = std::find_if(read->messages.begin(), read->messages.end(), [](const trace::RecordedMessage& one) {
    return !one.from_client && one.batch != 0 && one.bytes.size() > 60;
  });
  ASSERT_NE(ask, read->messages.end());
  auto changed = *read;
  changed.messages[std::size_t(ask - read->messages.begin())].bytes.back() ^= std::byte(0x40);
  auto r = trace::replay_blocking(
      changed, {.state = *later.state, .references = later.references, .settings = later.settings, .threads = 2});
  ASSERT_TRUE(r) << r.error().text();
  ASSERT_TRUE(r->difference);
  EXPECT_EQ(r->difference->batch, ask->batch);
  EXPECT_GE(r->difference->offset, 8U);
  EXPECT_LT(r->difference->offset, ask->bytes.size());
  EXPECT_NE(r->verdict.find("\"allow\""), std::string::npos) << "what the server said then doesn't change the verdict";
}

TEST_F(Trace, AReplayNeedsTheRecordedSecret) {
  const Recorded recorded = record(live, m);
  auto read = trace::read_recording(recorded.folder);
  ASSERT_TRUE(read);
  read->exchanges.front().secret.back() ^= std::byte(1);
  const auto r = trace::replay_blocking(
      *read, {.state = *later.state, .references = later.references, .settings = later.settings, .threads = 2});
  ASSERT_TRUE(r);
  const auto verdict = pipeline::verdict_from_json(r->verdict);
  ASSERT_TRUE(verdict);
  EXPECT_NE(verdict->recommendation, pipeline::Recommendation::allow);
  EXPECT_EQ(verdict->quote.status, pipeline::Status::failed);
}

TEST_F(Trace, AProtocolErrorIsToldAndNeverAllow) {
  const Recorded recorded = record(live, m);
  auto read = trace::read_recording(recorded.folder);
  ASSERT_TRUE(read);
  for (trace::RecordedMessage& one : read->messages)
    if (one.from_client && one.batch > 6) one.bytes[0] = std::byte(9);  // no PB-TNC version
  const auto r = trace::replay_blocking(
      *read, {.state = *later.state, .references = later.references, .settings = later.settings, .threads = 2});
  ASSERT_TRUE(r);
  EXPECT_EQ(r->protocol_error, "PB-TNC version isn't 2");
  ASSERT_TRUE(r->difference);
  EXPECT_EQ(r->verdict.find("\"recommendation\":\"allow\""), std::string::npos);
}

// Replayed by a host of ours, a recorded conversation of another server becomes a trace of ours.
TEST_F(Trace, AReplayCanBeRecordedAndReplayedAgain) {
  World one, two;
  const auto key = PublicKey::from_pem(as_text(file(interop("keys/rsa/ak.pem"))));
  ASSERT_TRUE(key);
  for (World* w : {&one, &two}) w->enrol(*key, key->key_id());
  const auto recorded = trace::read_recording(interop("sasl-rsa"));
  ASSERT_TRUE(recorded);
  EXPECT_EQ(recorded->identity, "host1");
  EXPECT_EQ(recorded->identity_type, "password");
  const std::string root = one.folder / "traces";
  auto recorder = trace::Recorder::open(root);
  ASSERT_TRUE(recorder);
  const auto first = trace::replay_blocking(*recorded, {.state = *one.state,
                                                        .references = one.references,
                                                        .settings = one.settings,
                                                        .threads = 2,
                                                        .recorder = recorder->get()});
  ASSERT_TRUE(first);
  ASSERT_TRUE(first->difference) << "the recorded server isn't this one";
  EXPECT_FALSE(first->difference->reason.empty());
  (*recorder)->wait_blocking();
  const trace::Replayed second = replay(two, fs::directory_iterator(root)->path());
  EXPECT_EQ(without_session(second.verdict), without_session(first->verdict));
  EXPECT_FALSE(second.difference) << second.difference->reason;
}

TEST_F(Trace, WhatDoesNotFitIsLeftOutAndTold) {
  const Recorded recorded = record(live, m, {}, {.queued_bytes = std::size_t(64) << 20, .session_bytes = 20'000});
  EXPECT_NE(recorded.verdict.find("\"allow\""), std::string::npos) << "the session goes on";
  const auto read = trace::read_recording(recorded.folder);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_FALSE(read->complete);
  ASSERT_FALSE(read->messages.empty());
  // What is there can be replayed; what is missing isn't called a difference.
  const trace::Replayed r = replay(later, recorded.folder);
  EXPECT_FALSE(r.difference) << r.difference->reason;
  EXPECT_EQ(r.verdict.find("\"recommendation\":\"allow\""), std::string::npos);
}

TEST_F(Trace, ADiskThatRefusesDoesNotStopTheSession) {
  const std::string root = live.folder / "traces";
  auto recorder = trace::Recorder::open(root);
  ASSERT_TRUE(recorder);
  fs::remove_all(root);
  std::ofstream(root) << "in the way";
  std::unique_ptr<trace::Recording> recording;
  ClientOptions options;
  options.begin = [&](LoopHost& host, const server::Session& session) {
    recording = (*recorder)->begin(session.id());
    host.on_message = [&](server::Direction d, Bytes whole) { recording->message(d, whole); };
  };
  const Outcome outcome = converse(live, m, options);
  recording.reset();
  (*recorder)->wait_blocking();
  ASSERT_TRUE(outcome.verdict);
  EXPECT_EQ(outcome.verdict->recommendation, pipeline::Recommendation::allow);
}

TEST(TraceFolder, AnUnfinishedOneCanBeRead) {
  World world;
  const std::string root = world.folder / "traces";
  auto recorder = trace::Recorder::open(root);
  ASSERT_TRUE(recorder);
  auto recording = (*recorder)->begin("s1");
  Writer version, whole;
  pttls::append_version_request(version, {});
  pttls::append_message(whole, pttls::Type::version_request, 0, version.view());
  recording->message(server::Direction::client_to_server, whole.view());
  (*recorder)->wait_blocking();
  const auto read = trace::read_recording(root + "/s1");
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_FALSE(read->complete);
  EXPECT_EQ(read->messages.size(), 1U);
}

TEST(TraceFolder, FilesElsewhereAreRefused) {
  World world;
  const fs::path folder = world.folder / "hostile";
  fs::create_directories(folder / "batches");
  std::ofstream(folder / "facts.json") << "{}";
  std::ofstream(world.folder / "outside") << "x";
  for (const char* name : {"../outside", "batches/../../outside", "/etc/passwd", "batches/..", "batches/"}) {
    std::ofstream(folder / "index.json")
        << "{\"messages\": [{\"n\": 1, \"direction\": \"c2s\", \"batch\": 1, \"file\": \"" << name << "\"}]}";
    const auto read = trace::read_recording(folder);
    ASSERT_FALSE(read) << name;
    EXPECT_EQ(read.error().fault, Fault::malformed) << name;
  }
}

// No password is in any file of a trace, whatever became of it.
TEST(TraceFolder, PasswordsNeverReachTheDisk) {
  World world;
  const std::string root = world.folder / "traces";
  auto recorder = trace::Recorder::open(root);
  ASSERT_TRUE(recorder);
  for (const bool good : {true, false}) {
    world.settings.auth = server::Auth::sasl;
    LoopHost host(world);
    server::Session session(host, world.settings, *world.state, {"127.0.0.1:1", "", ""});
    auto recording = (*recorder)->begin(session.id());
    host.on_message = [&](server::Direction d, Bytes whole) { recording->message(d, whole); };
    host.on_fact = [&](std::string_view fact, Bytes value) { recording->fact(fact, value); };
    const auto feed = [&](pttls::Type type, Bytes value) {
      Writer w;
      pttls::append_message(w, type, 0, value);
      session.feed(w.view());
      while (!session.wants_data() && !session.ended() && host.carry(session)) {
      }
    };
    Writer version, selection;
    pttls::append_version_request(version, {});
    feed(pttls::Type::version_request, version.view());
    pttls::append_selection(selection, {"PLAIN", pttls::plain_message("host1", good ? "Ar3etTnp" : "Wr0ngOne")});
    feed(pttls::Type::sasl_selection, selection.view());
    if (good) feed(pttls::Type::sasl_selection, selection.view());  // at the wrong time: answered with a copy
    EXPECT_TRUE(session.ended());
  }
  (*recorder)->wait_blocking();
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const std::string all = contents(entry.path());
    for (const std::string& secret : {std::string("Ar3etTnp"), std::string("Wr0ngOne")}) {
      EXPECT_EQ(all.find(secret), std::string::npos) << entry.path();
      EXPECT_EQ(all.find(to_hex(as_bytes(secret))), std::string::npos) << entry.path();
    }
    if (entry.path().filename() == "index.json") {
      EXPECT_NE(all.find(to_hex(as_bytes("host1"))), std::string::npos);
    }
  }
  EXPECT_EQ(files, 4U);  // index and facts of two sessions
}

}  // namespace
}  // namespace gatehouse::test
