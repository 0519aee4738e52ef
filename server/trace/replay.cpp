#include "server/trace/replay.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

#include "base/hash.h"
#include "server/state/users.h"

namespace gatehouse::trace {
namespace {

using server::Session;

// A session's host without a network: completions of the store and of the evidence plane wait until they are carried to
// the session.
class ReplayHost final : public server::Host {
 public:
  ReplayHost(const Bench& bench, std::deque<RecordedExchange> exchanges)
      : bench_(bench), exchanges_(std::move(exchanges)) {}

  void send(ByteVector plaintext) override { sent_.insert(sent_.end(), plaintext.begin(), plaintext.end()); }
  void close() override {}
  void log(server::LogLevel, std::string text) override { lines.push_back(std::move(text)); }
  void set_deadline(std::chrono::milliseconds) override {}
  void check_password(std::string, Secret) override {
    expect(Work::store);
    post(Work::store, [](Session& s) { s.on_password(false); });
  }
  ScramRecord scram_record(const std::string& user) override { return server::UserFile().scram_record(user); }
  std::unique_ptr<pipeline::Evidence> open_evidence(pipeline::Context context) override {
    expect(Work::evidence);
    std::string id = context.session;
    return pipeline->open(std::move(context), [this, id](Result<pipeline::Outcome> outcome) {
      auto shared = std::make_shared<Result<pipeline::Outcome>>(std::move(outcome));
      post(Work::evidence, [id, shared](Session& s) { s.on_outcome(id, std::move(*shared)); });
    });
  }
  void begin_session(server::SessionIntent intent) override {
    expect(Work::store);
    std::string id = intent.session;
    bench_.state.begin_session(std::move(intent), [this, id](Result<void> r) {
      post(Work::store, [id, r](Session& s) { s.on_session_begun(id, r); });
    });
  }
  void commit_result(server::SessionResult result) override {
    verdict = result.verdict;
    if (recording) recording->result(result);
    expect(Work::store);
    std::string id = result.intent.session;
    bench_.state.commit_result(std::move(result), [this, id](Result<void> r) {
      post(Work::store, [this, id, r](Session& s) {
        if (!r) unrecorded = r.error();
        s.on_result_committed(id, r);
      });
    });
  }
  void stage_software(server::SoftwareChunk chunk) override {
    expect(Work::store);
    std::string id = chunk.session;
    bench_.state.stage_software(std::move(chunk), [this, id](Result<void> r) {
      post(Work::store, [id, r](Session& s) { s.on_staged(id, r); });
    });
  }
  // What made it count isn't in a trace: neither the offer nor the TPM's secret.
  void activate(server::Activation activation) override {
    expect(Work::store);
    std::string id = activation.session;
    bench_.state.activate(std::move(activation), [this, id](Result<void> r) {
      post(Work::store, [id, r](Session& s) { s.on_activated(id, r); });
    });
  }
  bool has_room(std::size_t) override { return true; }
  std::shared_ptr<const refdb::View> references() override { return bench_.references; }
  // Goes on as the recorded conversation did: how often an endpoint may come back depends on it.
  std::int64_t now_ms() override { return begun_ + passed; }
  ByteVector random(std::size_t bytes) override { return random_bytes(bytes); }
  std::optional<ByteVector> fixed_nonce() override {
    return exchanges_.empty() ? std::nullopt : std::optional(exchanges_.front().initiator_nonce);
  }
  std::optional<ByteVector> fixed_secret() override {
    return exchanges_.empty() ? std::nullopt : std::optional(exchanges_.front().secret);
  }
  void trace_message(server::Direction direction, Bytes whole) override {
    if (recording) recording->message(direction, whole);
    constexpr std::size_t at_type = pttls::header_size + 3;
    if (direction == server::Direction::server_to_client && whole.size() > at_type)
      decided = (std::uint8_t(whole[at_type]) & 0x0F) == std::uint8_t(pbtnc::BatchType::result);
  }
  void trace_fact(std::string_view fact, Bytes value) override {
    if (recording) recording->fact(fact, value);
    if (fact == "protocol_error") protocol_error = as_text(value);
    // The exchange is over: the next one has its own nonce and secret.
    if (fact == "secret_assessment_value" && !exchanges_.empty()) exchanges_.pop_front();
  }

  // Until the session wants more of its peer.
  void settle(Session& session) {
    while (!session.ended() && !session.wants_data())
      if (!carry(session, [this] { return pending_[0] + pending_[1] != 0; })) return session.on_deadline();
  }
  // Until all is on disk. An evidence plane that was given up needs no waiting for.
  void settle_store(Session& session) {
    while (carry(session, [this] { return pending_[std::size_t(Work::store)] != 0; })) {
    }
  }
  std::vector<ByteVector> batches() const {
    std::vector<ByteVector> out;
    pttls::Framer framer;
    framer.feed(sent_);
    for (;;) {
      const auto m = framer.next();
      if (!m || *m == nullptr) return out;
      if ((*m)->header.vendor == 0 && (*m)->header.kind() == pttls::Type::pb_tnc_batch)
        out.push_back(to_vector((*m)->value));
    }
  }

  bool decided = false;     // what was sent last is a RESULT batch
  std::int64_t passed = 0;  // milliseconds of the recording
  std::string verdict, protocol_error;
  std::optional<Error> unrecorded;
  std::vector<std::string> lines;
  std::unique_ptr<Recording> recording;
  pipeline::Pipeline* pipeline = nullptr;

 private:
  enum class Work : std::uint8_t { store, evidence };

  void expect(Work work) {
    const std::lock_guard lock(mutex_);
    ++pending_[std::size_t(work)];
  }
  void post(Work work, std::function<void(Session&)> done) {
    const std::lock_guard lock(mutex_);
    queue_.push_back({work, std::move(done)});
    ready_.notify_one();
  }
  // One completion; false: none is under way, or it takes longer than a session may.
  template <class Pending>
  bool carry(Session& session, Pending pending) {
    std::function<void(Session&)> next;
    {
      std::unique_lock lock(mutex_);
      if (queue_.empty() && !pending()) return false;
      if (!ready_.wait_for(lock, bench_.settings.total_deadline, [&] { return !queue_.empty(); })) return false;
      --pending_[std::size_t(queue_.front().work)];
      next = std::move(queue_.front().done);
      queue_.pop_front();
    }
    next(session);
    return true;
  }

  const Bench& bench_;
  const std::int64_t begun_ =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  std::deque<RecordedExchange> exchanges_;
  ByteVector sent_;
  std::mutex mutex_;
  std::condition_variable ready_;
  struct Done {
    Work work;
    std::function<void(Session&)> done;
  };
  std::deque<Done> queue_;           // guarded by mutex_
  std::size_t pending_[2] = {0, 0};  // guarded by mutex_, by Work
};

bool is_sasl(const RecordedMessage& m) {
  return m.vendor == 0 && m.type >= std::uint32_t(pttls::Type::sasl_mechanisms) &&
         m.type <= std::uint32_t(pttls::Type::sasl_result);
}

bool is(const RecordedMessage& m, pbtnc::BatchType type) {
  return m.batch != 0 && m.bytes.size() > 3 && (std::uint8_t(m.bytes[3]) & 0x0F) == std::uint8_t(type);
}

// The recording's own settings, where it has them.
Result<server::Settings> settings_of(const RecordedConversation& recorded, server::Settings settings) {
  settings.auth = server::Auth::none;
  if (recorded.max_batch >= 1024 && recorded.max_batch <= pttls::max_batch) settings.max_batch = recorded.max_batch;
  if (!recorded.banks.empty()) settings.banks.clear();
  for (const std::string& bank : recorded.banks) {
    const auto algorithm = hash_algorithm(bank);
    if (!algorithm || pts::algorithm_bit(*algorithm) == 0)
      return fail(Error{Fault::malformed, "unknown bank in the index", "docs/formats/trace.md", 0, {}, {}});
    settings.banks.push_back(*algorithm);
  }
  return settings;
}

}  // namespace

Result<Replayed> replay_blocking(const RecordedConversation& recorded, const Bench& bench) {
  if (recorded.authentication_failed)
    return fail(Fault::protocol, "the recorded endpoint wasn't authenticated", "RFC 6876 3.8");
  GH_TRY(const server::Settings settings, settings_of(recorded, bench.settings));
  Replayed out;
  ReplayHost host(bench, {recorded.exchanges.begin(), recorded.exchanges.end()});
  pipeline::Pipeline pipeline(pipeline::Limits{.threads = bench.threads});
  host.pipeline = &pipeline;
  {
    Session session(host, settings, bench.state, {"replay", recorded.identity, recorded.identity_type, {}});
    if (bench.recorder != nullptr) {
      host.recording = bench.recorder->begin(session.id());
      host.recording->settings(settings);
    }
    const auto feed = [&](pttls::Type type, Bytes value) {
      Writer w;
      pttls::append_message(w, type, 0, value);
      session.feed(w.view());
      host.settle(session);
    };
    bool recorded_result = false;
    const auto first = std::find_if(recorded.messages.begin(), recorded.messages.end(),
                                    [](const RecordedMessage& m) { return m.from_client; });
    if (first == recorded.messages.end() || first->batch != 0) {
      // Of another transport, or of batches alone.
      Writer version;
      pttls::append_version_request(version, {});
      feed(pttls::Type::version_request, version.view());
    }
    for (const RecordedMessage& m : recorded.messages) {
      if (session.ended()) break;
      if (m.ms) host.passed = std::max(host.passed, *m.ms);
      if (!m.from_client && m.batch != 0) recorded_result = is(m, pbtnc::BatchType::result);
      if (!m.from_client && is(m, pbtnc::BatchType::sretry)) (void)session.reassess();
      if (!m.from_client || is_sasl(m)) continue;
      // This server had heard enough before the recorded one had: what the client went on with answers the other.
      if (host.decided && !recorded_result && is(m, pbtnc::BatchType::cdata)) break;
      if (m.batch != 0) {
        feed(pttls::Type::pb_tnc_batch, m.bytes);
      } else {
        session.feed(m.bytes);
        host.settle(session);
      }
    }
    if (!session.ended()) session.on_peer_gone();
    host.settle_store(session);
  }
  host.recording.reset();
  if (host.unrecorded) return std::unexpected(std::move(*host.unrecorded));
  std::vector<std::pair<std::size_t, ByteVector>> theirs;
  for (const RecordedMessage& m : recorded.messages)
    if (!m.from_client && m.batch != 0) theirs.emplace_back(m.batch, m.bytes);
  std::vector<ByteVector> ours = host.batches();
  if (!recorded.complete && ours.size() > theirs.size()) ours.resize(theirs.size());
  out.difference = first_difference(theirs, ours);
  out.verdict = std::move(host.verdict);
  out.protocol_error = std::move(host.protocol_error);
  out.log = std::move(host.lines);
  return out;
}

}  // namespace gatehouse::trace
