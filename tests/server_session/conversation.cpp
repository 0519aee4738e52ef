#include "tests/server_session/conversation.h"

#include <gtest/gtest.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

#include "base/file.h"
#include "base/hex.h"
#include "refdb/store/builder.h"
#include "refdb/store/open.h"
#include "server/evidence/again.h"
#include "tests/folder.h"

namespace gatehouse::test {

std::string interop(const std::string& name) { return std::string(GATEHOUSE_TEST_DATA) + "/interop/" + name; }

ByteVector file(const std::string& path) {
  auto bytes = read_file(path, std::size_t(64) << 20);
  EXPECT_TRUE(bytes) << path;
  return bytes ? *bytes : ByteVector();
}

ByteVector bytes(std::initializer_list<unsigned> list) {
  ByteVector out;
  for (const unsigned b : list) out.push_back(std::byte(b));
  return out;
}

namespace {

// The rows of the recorded evidence, as one package for each package name.
void make_references(const std::string& path) {
  auto builder = refdb::Builder::open(path);
  EXPECT_TRUE(builder) << builder.error().text();
  std::map<std::string, refdb::ReferencePackage> packages;
  std::ifstream rows(interop("evidence/base/refs.tsv"));
  for (std::string line; std::getline(rows, line);) {
    std::string fields[5];
    std::size_t at = 0;
    for (std::string& field : fields) {
      const std::size_t tab = line.find('\t', at);
      field = line.substr(at, tab - at);
      at = tab == std::string::npos ? line.size() : tab + 1;
    }
    refdb::ReferencePackage& p = packages[fields[1]];
    p.product = "Debian 12 x86_64";
    p.name = fields[1];
    p.version = "1";
    p.source = "refs.tsv";
    p.files.push_back({fields[0], 0, false, {{HashAlgorithm::sha1, Digest(*from_hex(fields[2]))}, {HashAlgorithm::sha256, Digest(*from_hex(fields[3]))},
                                             {HashAlgorithm::sha384, Digest(*from_hex(fields[4]))}}});
  }
  for (auto& [_, p] : packages) EXPECT_TRUE(builder->add(std::move(p)));
  EXPECT_TRUE(builder->publish());
}
// Made once: each world has a copy of its own, which costs a tenth.
std::shared_ptr<const refdb::View> references_in(const std::string& path) {
  static const Folder made;
  static const std::string original = [] {
    make_references(made / "refdb");
    return made / "refdb";
  }();
  std::filesystem::copy(original, path, std::filesystem::copy_options::recursive);
  auto view = refdb::open_view(path);
  EXPECT_TRUE(view) << view.error().text();
  return view ? *view : nullptr;
}

// What is made of a log or a list, once for each that comes again: most tests have the same ones.
template <class Made>
class MadeOnce {
 public:
  explicit MadeOnce(Made (*make)(Bytes)) : make_(make) {}
  Made operator()(Bytes bytes) {
    const std::lock_guard lock(mutex_);
    for (const auto& [of, made] : made_)
      if (equal(of, bytes)) return made;
    if (made_.size() == 8) made_.pop_front();
    return made_.emplace_back(to_vector(bytes), make_(bytes)).second;
  }

 private:
  Made (*make_)(Bytes);
  std::mutex mutex_;
  std::deque<std::pair<ByteVector, Made>> made_;
};

}  // namespace

World::World(unsigned threads, std::size_t proved_bytes) : World(WithoutState(), threads, proved_bytes) {
  auto opened = server::State::open({.path = folder / "state", .create = true});
  EXPECT_TRUE(opened) << opened.error().text();
  state = std::move(*opened);
}

World::World(WithoutState, unsigned threads, std::size_t proved_bytes) {
  static std::atomic<int> count{0};
  folder = std::filesystem::temp_directory_path() / ("gatehouse-session-" + std::to_string(::getpid()) + "-" + std::to_string(++count));
  std::filesystem::create_directories(folder);
  references = references_in(folder / "refdb");
  pipeline = std::make_unique<pipeline::Pipeline>(pipeline::Limits{.threads = threads, .proved_bytes = proved_bytes});
  settings.auth = server::Auth::none;
  settings.keep = server::Keep::all;
  settings.evidence_memory = std::make_shared<evidence::Memory>(std::size_t(256) << 20, std::size_t(64) << 20);
}

World::~World() {
  pipeline.reset();
  state.reset();
  references.reset();
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
}

void World::enrol(const PublicKey& key, const std::string& device, const std::string& product,
                  const std::vector<std::string>& identities) {
  server::Enrolment e;
  e.device = device;
  e.key = server::SeenKey{key, std::nullopt, std::nullopt};
  e.product = product;
  e.identities = identities;
  e.trust = true;
  const auto done = state->enrol_blocking(std::move(e));
  ASSERT_TRUE(done) << done.error().text();
}

void World::approve(const std::string& device) {
  const auto done = state->approve_baseline_blocking(device, std::nullopt, false);
  ASSERT_TRUE(done) << done.error().text();
}

void LoopHost::post(std::function<void(server::Session&)> done) {
  const std::lock_guard lock(mutex_);
  queue_.push_back(std::move(done));
  ready_.notify_one();
}

bool LoopHost::carry(server::Session& session) {
  std::function<void(server::Session&)> next;
  {
    std::unique_lock lock(mutex_);
    if (expected_ == 0) return false;
    if (!ready_.wait_for(lock, std::chrono::seconds(60), [&] { return !queue_.empty(); })) return false;
    next = std::move(queue_.front());
    queue_.pop_front();
    --expected_;
  }
  next(session);
  return true;
}

void LoopHost::check_password(std::string user, Secret password) {
  expect();
  const bool good = user == "host1" && password.equals(as_bytes("Ar3etTnp"));
  post([good](server::Session& s) { s.on_password(good); });
}
ScramRecord LoopHost::scram_record(const std::string& user) {
  static const server::UserFile users = [] {
    server::UserFile file;
    EXPECT_TRUE(file.set("host1", Secret(as_bytes("Ar3etTnp")), min_iterations));
    return file;
  }();
  return users.scram_record(user);
}
std::unique_ptr<pipeline::Evidence> LoopHost::open_evidence(pipeline::Context context) {
  expect();
  std::string id = context.session;
  return world_.pipeline->open(std::move(context), [this, id](Result<pipeline::Outcome> outcome) {
    auto shared = std::make_shared<Result<pipeline::Outcome>>(std::move(outcome));
    post([id, shared](server::Session& s) { s.on_outcome(id, std::move(*shared)); });
  });
}
void LoopHost::ask_status(std::string session, server::CertificateOf whose, Certificate certificate, Certificate issuer) {
  expect();
  post([session = std::move(session), whose, said = status(certificate, issuer)](server::Session& s) { s.on_status(session, whose, said); });
}
void LoopHost::begin_session(server::SessionIntent intent) {
  expect();
  std::string id = intent.session;
  world_.state->begin_session(std::move(intent), [this, id](Result<void> r) { post([id, r](server::Session& s) { s.on_session_begun(id, r); }); });
}
// Whatever a session was, its verdict follows from what is kept of it.
void World::expect_the_same_again(const server::SessionResult& result) const {
  auto decoded = evidence::decode(result.evidence->head, result.evidence->pieces);
  ASSERT_TRUE(decoded) << decoded.error().text();
  const auto kept = std::make_shared<const evidence::Kept>(*std::move(decoded));
  const auto policy = evidence::policy_of(*kept);
  ASSERT_TRUE(policy) << policy.error().text();
  const auto again = evidence::judge_again_blocking(kept, *policy, references, *pipeline);
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(pipeline::to_json(again->verdict), result.verdict);
  EXPECT_TRUE(again->unanswered.empty()) << again->unanswered.front();
}

void LoopHost::commit_result(server::SessionResult result) {
  if (result.evidence) world_.expect_the_same_again(result);
  if (on_result) on_result(result);
  expect();
  std::string id = result.intent.session;
  world_.state->commit_result(std::move(result), [this, id](Result<void> r) { post([id, r](server::Session& s) { s.on_result_committed(id, r); }); });
}

void LoopHost::stage_software(server::SoftwareChunk chunk) {
  expect();
  std::string id = chunk.session;
  world_.state->stage_software(std::move(chunk), [this, id](Result<void> r) { post([id, r](server::Session& s) { s.on_staged(id, r); }); });
}

void LoopHost::activate(server::Activation activation) {
  expect();
  std::string id = activation.session;
  world_.state->activate(std::move(activation), [this, id](Result<void> r) { post([id, r](server::Session& s) { s.on_activated(id, r); }); });
}

std::vector<ByteVector> messages_of(Bytes bytes) {
  std::vector<ByteVector> out;
  pttls::Framer framer;
  framer.feed(bytes);
  for (;;) {
    const auto m = framer.next();
    if (!m || *m == nullptr) return out;
    out.push_back(to_vector((*m)->whole));
  }
}

std::vector<ByteVector> attributes_of(Bytes body) {
  std::vector<ByteVector> out;
  Reader r(body, "test");
  EXPECT_TRUE(r.skip(8));
  while (!r.empty()) {
    const std::size_t at = r.offset();
    patnc::Attribute a;
    EXPECT_FALSE(patnc::parse_attribute(r, a));
    out.push_back(to_vector(body.subspan(at, r.offset() - at)));
  }
  return out;
}
std::uint32_t type_of(const ByteVector& attribute) { return *Reader(Bytes(attribute).subspan(4), "test").get<std::uint32_t>(); }
void set_length(ByteVector& attribute) {
  const auto n = std::uint32_t(attribute.size());
  for (std::size_t i = 0; i < 4; ++i) attribute[8 + i] = std::byte(n >> (24 - 8 * i));
}

std::optional<ByteVector> with_attributes(const ByteVector& message, const std::function<bool(std::vector<ByteVector>&)>& change) {
  const Bytes batch = Bytes(message).subspan(pttls::header_size);
  const auto parsed = pbtnc::parse_batch(batch, true);
  if (!parsed) return std::nullopt;
  bool applied = false;
  Writer messages;
  for (const pbtnc::Message& m : parsed->messages) {
    if (m.type != pbtnc::type::pa || applied) {
      pbtnc::append_message(messages, m.noskip, m.vendor, m.type, m.value);
      continue;
    }
    pbtnc::PaMessage pa = pbtnc::pa_message(m);
    ByteVector body = to_vector(pa.body);
    if (pa.vendor == patnc::vendor_tcg) {
      auto all = attributes_of(body);
      if (change(all)) {
        applied = true;
        body.resize(8);
        for (const ByteVector& a : all) body.insert(body.end(), a.begin(), a.end());
      }
    }
    pa.body = body;
    pbtnc::append_pa(messages, pa);
  }
  if (!applied) return std::nullopt;
  Writer out;
  pttls::append_message(out, pttls::Type::pb_tnc_batch, 1, pbtnc::batch(parsed->type, false, messages.view()));
  return std::move(out).take();
}

Client::Client(const Machine& m, const ClientOptions& options) {
  static MadeOnce<Result<endpoint::SharedEvidence>> firmware([](Bytes log) { return endpoint::firmware_evidence(log, HashAlgorithm::sha256, {}); });
  static MadeOnce<Result<endpoint::SharedEvidence>> ima([](Bytes list) { return endpoint::ima_evidence(list, HashAlgorithm::sha256, {}); });
  const auto boot = firmware(m.log), list = ima(m.list);
  EXPECT_TRUE(boot && list);
  evidence_.emplace(*boot, *list, std::uint8_t{3},
                    std::vector<endpoint::SymlinkTarget>{{"/bin", "/usr/bin"}, {"/lib", "/usr/lib"}});
  endpoint::OsInfo os;
  os.name = "Debian";
  endpoint::set_version(os, options.os_version);
  os.forwarding = 0;
  os.device_id = options.device_id.empty() ? m.tpm->ak().key_id() : options.device_id;
  os_.emplace(os);
  if (options.raw_evidence) evidence_->set_raw(m.log, m.list);
  endpoint::AttestationConfig attestation;
  attestation.aik_certificate = options.aik_certificate;
  attestation_.emplace(std::move(attestation), *m.tpm, *evidence_, options.files);
  endpoint::Session::Config config;
  config.tnc.max_batch = options.max_batch;
  config.tnc.keep = options.keep;
  config.user = options.user;
  config.password = Secret(as_bytes(options.password));
  session_.emplace(std::move(config), collectors());
}

Outcome converse(World& world, const Machine& m, const ClientOptions& options, const Tamper& tamper) {
  Outcome out;
  LoopHost host(world);
  std::string session_id;
  const auto cpu_us = [] {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return double(now.tv_sec) * 1e6 + double(now.tv_nsec) / 1e3;
  };
  const double setup = cpu_us();
  Client machine_client(m, options);
  endpoint::Session& client = machine_client.session();
  out.setup_cpu_us = cpu_us() - setup;
  {
    server::Session session(host, world.settings, *world.state, {"127.0.0.1:1", "CN=test", "certificate"});
    session_id = session.id();
    if (options.begin) options.begin(host, session);
    endpoint::Session::Step step = client.start();
    for (int turn = 0; turn < 10'000; ++turn) {
      for (ByteVector& message : messages_of(std::exchange(step.send, {}))) {
        if (tamper) message = tamper(std::move(message));
        session.feed(message);
      }
      while (host.out.empty() && !host.closed && host.carry(session)) {
      }
      const ByteVector answer = std::exchange(host.out, {});
      const double start = cpu_us();
      if (!answer.empty() && !step.ended) step = client.feed(answer);
      out.client_cpu_us += cpu_us() - start;
      if (host.closed || (answer.empty() && step.send.empty())) break;
    }
    for (const ByteVector& message : messages_of(step.send)) session.feed(message);
    if (client.error()) out.error = client.error()->text();
    if (!session.ended()) session.on_peer_gone();
    while (host.carry(session)) {
    }
    out.answer = client.outcome();
    out.notes = client.notes();
  }
  const double reading = cpu_us();
  if (const auto record = world.state->session(session_id); record && *record && !(*record)->verdict.empty()) {
    auto verdict = pipeline::verdict_from_json((*record)->verdict);
    if (verdict) out.verdict = std::move(*verdict);
  }
  out.setup_cpu_us += cpu_us() - reading;
  out.lines = std::move(host.lines);
  return out;
}

std::pair<std::string, Digest> some_reference() {
  std::ifstream rows(interop("evidence/base/refs.tsv"));
  std::string path, package, sha1, sha256;
  rows >> path >> package >> sha1 >> sha256;
  return {path, Digest(*from_hex(sha256))};
}

void append_entry(Writer& list, std::string_view name, const std::vector<ByteVector>& fields, bool violation) {
  const auto put = [](Writer& w, Bytes bytes) {
    w.put_le(std::uint32_t(bytes.size()));
    w.put_bytes(bytes);
  };
  Writer data;
  for (const ByteVector& field : fields) put(data, field);
  const Digest recorded = violation ? Digest::filled(20, std::byte{0}) : digest_of(HashAlgorithm::sha1, data.view());
  list.put_le(std::uint32_t{10});
  list.put_bytes(recorded.view());
  put(list, as_bytes(name));
  put(list, data.view());
}

ByteVector list_field(std::string_view prefix, Bytes digest) {
  Writer w;
  w.put_text(prefix);
  w.put(std::uint8_t{0});
  w.put_bytes(digest);
  return std::move(w).take();
}

ByteVector signed_list() {
  Writer w;
  w.put_bytes(file(interop("evidence/base/binary_runtime_measurements")));
  const auto [path, digest] = some_reference();
  const ByteVector zeros(32), signature(80, std::byte{3}), buffer = to_vector(as_bytes("root=/dev/sda1 ro"));
  const Digest of_buffer = digest_of(HashAlgorithm::sha256, buffer);
  append_entry(w, "ima-sig", {list_field("sha256:", digest.view()), list_field(path), signature});
  append_entry(w, "ima-sig", {list_field("sha256:", zeros), list_field("/var/log/syslog"), {}}, true);
  append_entry(w, "ima-buf", {list_field("sha256:", of_buffer.view()), list_field("kexec-cmdline"), buffer});
  append_entry(w, "ima-sigv2", {list_field("ima:sha256:", digest.view()), list_field(path), {}});
  append_entry(w, "ima-ng", {list_field("sha256:", zeros), list_field("/var/log/auth.log")}, true);
  return std::move(w).take();
}

void Machine::reboot(ByteVector other) {
  list = std::move(other);
  static MadeOnce<std::shared_ptr<const endpoint::SoftwareTpm>> booted([](Bytes log_and_list) {
    auto made = std::make_shared<endpoint::SoftwareTpm>(*endpoint::SigningKey::generate(endpoint::KeyAlgorithm::ecc));
    Reader r(log_and_list, "test");
    const Bytes log_bytes = *r.take(*r.get<std::uint32_t>());
    made->startup(3);
    EXPECT_TRUE(made->extend_event_log(log_bytes));
    EXPECT_TRUE(made->extend_ima_list(r.rest()));
    return std::shared_ptr<const endpoint::SoftwareTpm>(std::move(made));
  });
  Writer both;
  both.put(std::uint32_t(log.size()));
  both.put_bytes(log);
  both.put_bytes(list);
  tpm->set_pcrs(*booted(both.view()));
  tpm::ClockInfo clock = tpm->clock();
  ++clock.reset_count;
  tpm->set_clock(clock);
}

Machine machine(endpoint::KeyAlgorithm kind) {
  const auto key = [kind]() -> Result<std::shared_ptr<const endpoint::SigningKey>> {
    if (kind == endpoint::KeyAlgorithm::ecc) return endpoint::SigningKey::generate(kind);
    static const auto rsa = endpoint::SigningKey::generate(endpoint::KeyAlgorithm::rsassa);
    return rsa ? endpoint::SigningKey::from_pem((*rsa)->pem(), kind) : rsa;
  }();
  EXPECT_TRUE(key);
  Machine m;
  m.tpm = std::make_unique<endpoint::SoftwareTpm>(*key);
  m.log = file(interop("evidence/base/binary_bios_measurements"));
  m.reboot(file(interop("evidence/base/binary_runtime_measurements")));
  return m;
}

}  // namespace gatehouse::test
