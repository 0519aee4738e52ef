#include "server/trace/recorder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/hash.h"
#include "base/hex.h"
#include "base/log.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::trace {
namespace {

namespace json = boost::json;

// Creates the file, or adds to it. Nobody else may read what is in it.
Result<void> append(const std::string& path, Bytes content, bool create) {
  const int flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_APPEND | (create ? O_CREAT | O_EXCL : 0);
  const int file = ::open(path.c_str(), flags, 0600);
  if (file < 0) return fail_errno("can't write the trace", path);
  while (!content.empty()) {
    const ssize_t n = ::write(file, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      auto error = fail_errno("can't write the trace", path);
      ::close(file);
      return error;
    }
    content = content.subspan(std::size_t(n));
  }
  if (::close(file) != 0) return fail_errno("can't write the trace", path);
  return {};
}

Result<void> make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0) return fail_errno("can't make the folder of the trace", path);
  return {};
}

std::string padded(std::size_t n) {
  std::string out = std::to_string(n);
  return out.size() < 3 ? std::string(3 - out.size(), '0') + out : out;
}

// What the writer knows of a trace. Used by the writer's thread alone.
struct Folder {
  std::string path;
  std::size_t messages = 0, batches = 0;
  bool failed = false;      // the disk refused something: nothing more is written but, if possible, the end
  bool incomplete = false;  // messages are missing
};

}  // namespace

struct Recorder::Impl {
  explicit Impl(std::string where, Limits bounds) : root(std::move(where)), limits(bounds) {
    thread = std::jthread([this] { work(); });
  }
  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    ready.notify_one();
    thread.join();
  }

  // False: too much waits already. `must`: the small end of a trace.
  bool push(std::size_t bytes, bool must, std::function<Result<void>()> job) {
    {
      const std::lock_guard lock(mutex);
      if (!must && bytes > limits.queued_bytes - std::min(queued, limits.queued_bytes)) return false;
      queued += bytes;
      ++accepted;
      jobs.push_back({bytes, std::move(job)});
    }
    ready.notify_one();
    return true;
  }
  void work() {
    for (;;) {
      Job job;
      {
        std::unique_lock lock(mutex);
        ready.wait(lock, [this] { return stopping || !jobs.empty(); });
        if (jobs.empty()) return;
        job = std::move(jobs.front());
        jobs.pop_front();
      }
      if (const auto done = job.run(); !done) complain(done.error());
      job.run = {};
      {
        const std::lock_guard lock(mutex);
        queued -= job.bytes;
        ++finished;
      }
      idle.notify_all();
    }
  }
  void complain(const Error& error) {
    if (std::exchange(complained, true)) return;
    log::write(log::Level::error, {}, "traces are incomplete from here on: " + error.text());
  }

  const std::string root;
  const Limits limits;
  struct Job {
    std::size_t bytes = 0;
    std::function<Result<void>()> run;
  };
  bool complained = false;  // of the thread
  std::mutex mutex;
  std::condition_variable ready, idle;
  std::deque<Job> jobs;                      // guarded by mutex
  std::size_t queued = 0;                    // guarded by mutex
  std::uint64_t accepted = 0, finished = 0;  // guarded by mutex
  bool stopping = false;                     // guarded by mutex
  std::jthread thread;
};

struct Recording::State {
  std::shared_ptr<Recorder::Impl> recorder;
  std::shared_ptr<Folder> folder;
  std::string mechanism;  // SASL
  bool incomplete = false;
  std::uint64_t bytes = 0;
  const std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
  json::object transport;
  std::vector<json::object> exchanges;
  json::object facts;
  json::array sessions;
};

namespace {

Result<void> begin_folder(Folder& f, const std::string& session) {
  f.failed = true;
  GH_CHECK(make_folder(f.path));
  GH_CHECK(make_folder(f.path + "/batches"));
  const std::string head =
      "{\"transport\": \"PT-TLS\", \"session\": " + json::serialize(json::string(session)) + ", \"messages\": [";
  GH_CHECK(append(f.path + "/index.json", as_bytes(head), true));
  f.failed = false;
  return {};
}

Result<void> write_message(Folder& f, server::Direction direction, std::chrono::milliseconds at,
                           const ByteVector& whole, bool changed) {
  if (f.failed) return {};
  f.failed = true;
  const bool from_client = direction == server::Direction::client_to_server;
  json::object m;
  m["n"] = ++f.messages;
  m["ms"] = at.count();
  m["direction"] = from_client ? "c2s" : "s2c";
  Reader r(whole, "PT-TLS");
  std::uint32_t vendor = 0, type = 0;
  if (whole.size() >= pttls::header_size) {
    (void)r.skip(1);
    vendor = *r.get24();
    type = *r.get<std::uint32_t>();
    (void)r.skip(4);
    if (vendor != 0) m["pt_tls_vendor"] = vendor;
    m["pt_tls_type"] = type;
    m["pt_tls_name"] = pttls::name(vendor, type);
    m["pt_tls_id"] = *r.get<std::uint32_t>();
  }
  m["length"] = whole.size();
  m["sha256"] = digest_of(HashAlgorithm::sha256, whole).hex();
  if (changed) m["masked"] = true;
  std::string decoded;
  if (vendor == 0 && type == std::uint32_t(pttls::Type::pb_tnc_batch) && whole.size() > pttls::header_size) {
    const Bytes batch = r.rest();
    const unsigned kind = batch.size() > 3 ? unsigned(batch[3]) & 0x0F : 0;
    const std::string name = kind >= 1 && kind <= 6 ? std::string(pbtnc::name(pbtnc::BatchType(kind))) : "UNKNOWN";
    const std::string file = "batches/" + padded(++f.batches) + (from_client ? "-c2s-" : "-s2c-") + name + ".bin";
    m["batch"] = f.batches;
    m["batch_type"] = name;
    m["batch_length"] = batch.size();
    m["batch_sha256"] = digest_of(HashAlgorithm::sha256, batch).hex();
    m["file"] = file;
    decoded = summary(batch);
    GH_CHECK(append(f.path + "/" + file, batch, true));
  } else {
    m["hex"] = to_hex(whole);
  }
  std::string line = (f.messages == 1 ? "\n" : ",\n") + json::serialize(m);
  if (!decoded.empty()) {
    line.pop_back();
    line += ",\"pb_tnc\":" + decoded + "}";
  }
  GH_CHECK(append(f.path + "/index.json", as_bytes(line), false));
  f.failed = false;
  return {};
}

Result<void> end_folder(Folder& f, json::object end, const json::object& facts) {
  end["complete"] = !f.failed && !f.incomplete;
  std::string text = json::serialize(end);
  text[0] = ',';
  const auto index = append(f.path + "/index.json", as_bytes("\n]" + text + "\n"), false);
  GH_CHECK(append(f.path + "/facts.json", as_bytes(json::serialize(facts) + "\n"), true));
  return index;
}

json::value parsed_or_text(const std::string& text) {
  boost::system::error_code ec;
  json::value v = json::parse(text, ec);
  return ec ? json::value(text) : v;
}

}  // namespace

Recording::Recording(std::unique_ptr<State> state) : state_(std::move(state)) {}

Recording::~Recording() {
  State& s = *state_;
  // One exchange stands as the recorded conversations have it; more are a list.
  if (!s.exchanges.empty())
    for (const auto& [key, value] : s.exchanges.front()) s.facts[key] = value;
  if (s.exchanges.size() > 1) {
    json::array all;
    for (json::object& one : s.exchanges) all.push_back(std::move(one));
    s.facts["exchanges"] = std::move(all);
  }
  if (const json::value* const type = s.transport.if_contains("identity_type"))
    s.transport["client_certificate"] = *type == "certificate";
  s.transport["sessions"] = std::move(s.sessions);
  s.recorder->push(
      0, true,
      [folder = s.folder, end = std::move(s.transport), facts = std::move(s.facts), incomplete = s.incomplete] {
        folder->incomplete |= incomplete;
        return end_folder(*folder, end, facts);
      });
}

void Recording::message(server::Direction direction, Bytes whole) {
  State& s = *state_;
  if (s.incomplete) return;  // a conversation with a gap can't be replayed behind it
  auto kept = std::make_shared<ByteVector>(masked(whole, s.mechanism));
  const bool changed = !equal(*kept, whole);
  const auto at = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - s.begun);
  s.bytes += kept->size();
  if (s.bytes > s.recorder->limits.session_bytes ||
      !s.recorder->push(kept->size() + 512, false, [folder = s.folder, direction, at, kept, changed] {
        return write_message(*folder, direction, at, *kept, changed);
      }))
    s.incomplete = true;
}

void Recording::fact(std::string_view name, Bytes value) {
  constexpr std::size_t most_exchanges = 256;
  State& s = *state_;
  if (name == "protocol_error") {
    s.facts[name] = escaped(as_text(value));
    return;
  }
  const bool text = name == "measurement_algorithm" || name == "dh_hash" || name == "dh_group";
  if (s.exchanges.empty() || s.exchanges.back().contains(name)) {
    if (s.exchanges.size() == most_exchanges) {
      s.incomplete = true;
      return;
    }
    s.exchanges.emplace_back();
  }
  s.exchanges.back()[name] = text ? std::string(as_text(value)) : to_hex(value);
}

void Recording::transport(std::string_view name, std::string_view value) { state_->transport[name] = escaped(value); }

void Recording::settings(const server::Settings& settings) {
  std::string banks;
  for (const HashAlgorithm bank : settings.banks) banks += (banks.empty() ? "" : ",") + std::string(name(bank));
  state_->transport["banks"] = banks;
  state_->transport["max_batch"] = settings.max_batch;
}

void Recording::result(const server::SessionResult& r) {
  State& s = *state_;
  constexpr std::size_t most_sessions = 256;
  if (s.sessions.size() < most_sessions) s.sessions.push_back(json::value(r.intent.session));
  s.facts["device"] = escaped(r.intent.device);
  s.facts["product"] = escaped(r.intent.product);
  s.transport["identity"] = escaped(r.intent.identity);
  s.transport["identity_type"] = r.intent.identity_type;
  const PublicKey* const key = r.quote_key ? &*r.quote_key : r.pending_key ? &r.pending_key->key : nullptr;
  if (key != nullptr) s.facts["ak"] = json::object{{"keyid", key->key_id()}, {"pin", r.intent.key_pin}};
  json::value verdict = parsed_or_text(r.verdict);
  if (const json::object* const o = verdict.if_object()) {
    const auto word = [&](const char* member) {
      const json::value* const v = o->if_contains(member);
      return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string("unknown");
    };
    s.facts["final"] =
        "final recommendation is '" + word("recommendation") + "' and evaluation is '" + word("evaluation") + "'";
    if (const json::value* const line = o->if_contains("summary")) s.facts["result"] = *line;
  }
  s.facts["verdict"] = std::move(verdict);
}

Recorder::Recorder(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Recorder::~Recorder() = default;

Result<std::unique_ptr<Recorder>> Recorder::open(const std::string& folder) { return open(folder, Limits{}); }
Result<std::unique_ptr<Recorder>> Recorder::open(const std::string& folder, Limits limits) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return fail_errno("can't make the folder of traces", folder);
  struct stat what {};
  if (::stat(folder.c_str(), &what) != 0) return fail_errno("can't read the folder of traces", folder);
  if (!S_ISDIR(what.st_mode)) return fail(Error{Fault::usage, "not a folder for traces", {}, 0, folder, {}});
  if (::access(folder.c_str(), W_OK | X_OK) != 0) return fail_errno("can't write into the folder of traces", folder);
  return std::unique_ptr<Recorder>(new Recorder(std::make_shared<Impl>(folder, limits)));
}

std::unique_ptr<Recording> Recorder::begin(const std::string& session) {
  auto state = std::make_unique<Recording::State>();
  state->recorder = impl_;
  state->folder = std::make_shared<Folder>();
  state->folder->path = impl_->root + "/" + session;
  impl_->push(0, true, [folder = state->folder, session] { return begin_folder(*folder, session); });
  return std::unique_ptr<Recording>(new Recording(std::move(state)));
}

void Recorder::wait_blocking() {
  std::unique_lock lock(impl_->mutex);
  const std::uint64_t until = impl_->accepted;
  impl_->idle.wait(lock, [&] { return impl_->finished >= until; });
}

}  // namespace gatehouse::trace
