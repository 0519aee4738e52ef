// Whole conversations in one process: the server's session core on the real evidence plane and the real stores, and
// either a recorded client or our endpoint's client with a software TPM. No socket, no TLS; completions of the store and
// of the evidence plane are carried over by the loop that waits for them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "endpoint/client/session.h"
#include "endpoint/imc/attestation/attestation_imc.h"
#include "endpoint/imc/attestation/evidence.h"
#include "endpoint/imc/os/os_imc.h"
#include "endpoint/tpm/software.h"
#include "pipeline/graph/pipeline.h"
#include "refdb/view/view.h"
#include "server/session/session.h"
#include "server/state/state.h"
#include "server/state/users.h"
#include "wire/patnc/patnc.h"

namespace gatehouse::test {

std::string interop(const std::string& name);
ByteVector file(const std::string& path);
ByteVector bytes(std::initializer_list<unsigned> list);

// State, references of the recorded evidence and an evidence plane, in a folder of its own.
class World {
 public:
  explicit World(unsigned threads = 2, std::size_t proved_bytes = std::size_t(64) << 20);
  // Whose state store, in folder/state, is somebody else's.
  struct WithoutState {};
  explicit World(WithoutState, unsigned threads = 2, std::size_t proved_bytes = std::size_t(64) << 20);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void enrol(const PublicKey& key, const std::string& device, const std::string& product = "Debian 12 x86_64",
             const std::vector<std::string>& identities = {});
  void approve(const std::string& device);
  void expect_the_same_again(const server::SessionResult& result) const;

  // From 2026-11-30T00:53:20Z on, a millisecond each time that anybody looks.
  std::int64_t now_ms() { return 1'796'000'000'000 + ++ticks_; }

  std::filesystem::path folder;
  std::unique_ptr<server::State> state;
  std::shared_ptr<const refdb::View> references;
  std::unique_ptr<pipeline::Pipeline> pipeline;
  server::Settings settings;

 private:
  std::atomic<std::int64_t> ticks_{0};
};

// The host of one session.
class LoopHost final : public server::Host {
 public:
  explicit LoopHost(World& world) : world_(world) {}
  void send(ByteVector plaintext) override { out.insert(out.end(), plaintext.begin(), plaintext.end()); }
  void close() override { closed = true; }
  void log(server::LogLevel, std::string text) override { lines.push_back(std::move(text)); }
  void set_deadline(std::chrono::milliseconds) override {}
  void check_password(std::string user, Secret password) override;
  ScramRecord scram_record(const std::string& user) override;
  std::unique_ptr<pipeline::Evidence> open_evidence(pipeline::Context context) override;
  void begin_session(server::SessionIntent intent) override;
  void commit_result(server::SessionResult result) override;
  void stage_software(server::SoftwareChunk chunk) override;
  void activate(server::Activation activation) override;
  void ask_status(std::string session, server::CertificateOf whose, Certificate certificate, Certificate issuer) override;
  bool has_room(std::size_t) override { return true; }
  std::shared_ptr<const refdb::View> references() override { return world_.references; }
  std::int64_t now_ms() override { return world_.now_ms(); }
  ByteVector random(std::size_t bytes) override { return random_bytes(bytes); }
  std::optional<ByteVector> fixed_nonce() override { return nonce; }
  std::optional<ByteVector> fixed_secret() override { return secret; }
  void trace_message(server::Direction direction, Bytes whole) override {
    if (on_message) on_message(direction, whole);
  }
  void trace_fact(std::string_view fact, Bytes value) override {
    if (on_fact) on_fact(fact, value);
  }
  std::optional<std::uint32_t> fixed_request_id() override { return request_id; }

  // Waits for one completion and lets the session have it; false when none is under way.
  bool carry(server::Session& session);

  ByteVector out;
  bool closed = false;
  std::vector<std::string> lines;
  std::optional<ByteVector> nonce, secret;
  std::function<void(server::Direction, Bytes)> on_message;
  std::function<void(std::string_view, Bytes)> on_fact;
  std::function<void(const server::SessionResult&)> on_result;
  std::function<Result<void>(const Certificate&, const Certificate&)> status;  // what a responder says of a certificate and its issuer
  std::optional<std::uint32_t> request_id;

 private:
  void expect() { ++expected_; }
  void post(std::function<void(server::Session&)> done);
  World& world_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void(server::Session&)>> queue_;
  std::size_t expected_ = 0;
};

struct Outcome {
  std::optional<endpoint::Outcome> answer;
  std::optional<pipeline::Verdict> verdict;   // of the session's record
  std::string error;                          // of the client
  double client_cpu_us = 0;                   // CPU time of the client's side
  double setup_cpu_us = 0;                    // and of making its evidence and reading the verdict back
  std::vector<std::string> lines;
  std::vector<std::string> notes;             // PB-TNC and PA-TNC errors that the client was told
};

// The recorded firmware log and a list, and a TPM whose PCRs agree with them.
struct Machine {
  std::unique_ptr<endpoint::SoftwareTpm> tpm;
  ByteVector log, list;
  // Another boot with this list.
  void reboot(ByteVector other);
};
// Each has a key of its own, but those with RSA: making one takes longer than a conversation, so a program has one.
Machine machine(endpoint::KeyAlgorithm kind = endpoint::KeyAlgorithm::ecc);

// A reference of the recorded evidence: its path and SHA-256.
std::pair<std::string, Digest> some_reference();
// One entry of a binary list over these template fields.
void append_entry(Writer& list, std::string_view name, const std::vector<ByteVector>& fields, bool violation = false);
// "sha256:\0" and a digest; a name and its NUL.
ByteVector list_field(std::string_view prefix, Bytes digest = {});
// The recorded list's 1,732 entries, and behind them five of other templates: signed files, a buffer, two violations.
ByteVector signed_list();

struct ClientOptions {
  std::string device_id;  // empty: the AK's key id
  std::string os_version = "12 x86_64";
  std::size_t max_batch = 65'522;
  std::string user, password;
  bool keep = false;  // no CLOSE after the verdict
  ByteVector aik_certificate;               // DER, in place of the bare key
  bool raw_evidence = false;                // announced and given when asked for
  endpoint::FileSource* files = nullptr;    // looked at when asked for
  std::function<void(LoopHost&, const server::Session&)> begin;  // before the first message
};

// Our endpoint's client on that machine.
class Client {
 public:
  explicit Client(const Machine& machine, const ClientOptions& options = {});
  endpoint::Session& session() { return *session_; }
  // The collectors alone: another session on the same machine.
  std::vector<endpoint::Imc*> collectors() { return {&*os_, &*attestation_}; }

 private:
  std::optional<endpoint::FixedEvidence> evidence_;
  std::optional<endpoint::OsImc> os_;
  std::optional<endpoint::AttestationImc> attestation_;
  std::optional<endpoint::Session> session_;
};

// Whole PT-TLS messages of a byte string.
std::vector<ByteVector> messages_of(Bytes bytes);

// The attributes of a PA-TNC message as bytes, headers included.
std::vector<ByteVector> attributes_of(Bytes body);
std::uint32_t type_of(const ByteVector& attribute);
void set_length(ByteVector& attribute);  // its header says how long it is
// A batch with the attributes of its first PTS message that `change` returns true for; nullopt: of none.
std::optional<ByteVector> with_attributes(const ByteVector& message,
                                          const std::function<bool(std::vector<ByteVector>&)>& change);

// One assessment; `tamper` may change what the client sends (whole PT-TLS messages).
using Tamper = std::function<ByteVector(ByteVector)>;
Outcome converse(World& world, const Machine& machine, const ClientOptions& options = {}, const Tamper& tamper = {});

}  // namespace gatehouse::test
