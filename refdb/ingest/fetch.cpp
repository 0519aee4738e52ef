#include "refdb/ingest/fetch.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <list>
#include <mutex>
#include <utility>

#include "base/descriptor.h"
#include "base/hex.h"
#include "base/owned.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
constexpr std::uint64_t progress_bytes = std::uint64_t(1) << 20;
constexpr unsigned silent_files = 12;
constexpr std::chrono::hours unused{24 * 30};

// TLS writes to connections that the server has closed; that isn't the end of the process. Of this thread alone: others
// may be writing to a pipe of whose end they want to know.
class NoBrokenPipe {
 public:
  NoBrokenPipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  NoBrokenPipe(const NoBrokenPipe&) = delete;
  NoBrokenPipe& operator=(const NoBrokenPipe&) = delete;
  ~NoBrokenPipe() {
    if (sigismember(&before_, SIGPIPE) == 1) return;
    constexpr timespec now{};
    while (::sigtimedwait(&pipe_, nullptr, &now) == SIGPIPE) {}
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_{}, before_{};
};

bool retries_help(long status) { return status == 408 || status == 425 || status == 429 || status >= 500; }

// Where one file goes: memory or the cache.
class Sink {
 public:
  Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  virtual ~Sink() = default;
  // Makes ready for an attempt: how many bytes are there already.
  virtual Result<std::uint64_t> begin() = 0;
  // The server sends the file from its start although there is a part.
  virtual Result<void> restart() = 0;
  virtual Result<void> write(Bytes bytes) = 0;
  virtual std::uint64_t have() const = 0;
  // How long the file may be at most.
  virtual std::uint64_t limit() const = 0;
  // It is longer; nothing of it is left.
  virtual Error too_long() = 0;
  // All came: true when it is what it should be; false: another file, of which nothing is left.
  virtual Result<bool> complete() = 0;
};

class MemorySink final : public Sink {
 public:
  explicit MemorySink(std::size_t limit) : limit_(limit) {}
  Result<std::uint64_t> begin() override {
    content_.clear();
    return std::uint64_t{0};
  }
  Result<void> restart() override {
    content_.clear();
    return {};
  }
  Result<void> write(Bytes bytes) override {
    content_.insert(content_.end(), bytes.begin(), bytes.end());
    return {};
  }
  std::uint64_t have() const override { return content_.size(); }
  std::uint64_t limit() const override { return limit_; }
  Error too_long() override { return Error{Fault::limit, "longer than it may be", {}, limit_, {}, {}}; }
  Result<bool> complete() override { return true; }
  ByteVector content() && { return std::move(content_); }

 private:
  const std::size_t limit_;
  ByteVector content_;
};

// PATH.part, then PATH.
class FileSink final : public Sink {
 public:
  FileSink(const Wanted& wanted, std::string path)
      : wanted_(wanted), path_(std::move(path)), hasher_(wanted.algorithm) {}

  Result<std::uint64_t> begin() override {
    if (file_) return have_;
    file_ = Descriptor(::open((path_ + ".part").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!file_) return fail_errno("can't write to the cache", path_);
    hasher_.start();
    ByteVector buffer(std::size_t(1) << 18);
    for (;;) {
      const ssize_t n = ::pread(file_.get(), buffer.data(), buffer.size(), off_t(have_));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno("can't read the cache", path_);
      if (n == 0) break;
      have_ += std::uint64_t(n);
      hasher_.update(Bytes(buffer).first(std::size_t(n)));
    }
    if (have_ > wanted_.size) GH_CHECK(restart());
    return have_;
  }
  Result<void> restart() override {
    if (::ftruncate(file_.get(), 0) != 0) return fail_errno("can't write to the cache", path_);
    have_ = 0;
    hasher_.start();
    return {};
  }
  Result<void> write(Bytes bytes) override {
    hasher_.update(bytes);
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(file_.get(), bytes.data(), bytes.size(), off_t(have_));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno("can't write to the cache", path_);
      have_ += std::uint64_t(n);
      bytes = bytes.subspan(std::size_t(n));
    }
    return {};
  }
  std::uint64_t have() const override { return have_; }
  std::uint64_t limit() const override { return wanted_.size; }
  Error too_long() override {
    discard();
    return Error{Fault::malformed, reason_other_digest, {}, std::size_t(wanted_.size), {}, {}};
  }
  Result<bool> complete() override {
    if (hasher_.finish() != wanted_.digest) {
      discard();
      return false;
    }
    if (::rename((path_ + ".part").c_str(), path_.c_str()) != 0) return fail_errno("can't write to the cache", path_);
    return true;
  }

 private:
  void discard() {
    ::unlink((path_ + ".part").c_str());
    file_ = Descriptor();
    have_ = 0;
  }

  const Wanted& wanted_;
  const std::string path_;
  Hasher hasher_;
  Descriptor file_;
  std::uint64_t have_ = 0;
};

}  // namespace

std::string join_url(std::string_view base, std::string_view path) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  while (base.ends_with('/')) base.remove_suffix(1);
  std::string out(base);
  out += '/';
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~' || c == '/';
    if (plain) {
      out += c;
      continue;
    }
    out += '%';
    out += digits[std::uint8_t(c) >> 4];
    out += digits[std::uint8_t(c) & 15];
  }
  return out;
}

namespace {

// One file on its way, over all its attempts.
struct Transfer {
  std::size_t number = 0;
  std::string url;
  std::unique_ptr<Sink> sink;
  bool fresh = false;  // past every cache
  Owned<CURL, curl_easy_cleanup> easy;
  Owned<curl_slist, curl_slist_free_all> headers;
  std::optional<Error> error;  // ours, while writing
  std::uint64_t began = 0;     // what was there when the attempt began
  bool body = false;           // of a good answer has begun
  bool again = false;          // it came whole once and was another file
  std::uint64_t unwanted = 0;  // bytes of a bad answer
  unsigned failures = 0;       // in a row
  Clock::time_point not_before{};
};

long status_of(CURL* easy) {
  long out = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &out);
  return out;
}

std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) {
  Transfer& t = *static_cast<Transfer*>(user);
  const long status = status_of(t.easy.get());
  if (status != 200 && status != 206) {
    t.unwanted += size;
    return t.unwanted > progress_bytes ? 0 : size;
  }
  const auto stop = [&](Error error) {
    t.error = std::move(error);
    return std::size_t{0};
  };
  if (!std::exchange(t.body, true) && status == 200 && t.began != 0)
    if (auto good = t.sink->restart(); !good) return stop(std::move(good).error());
  if (size > t.sink->limit() - std::min(t.sink->limit(), t.sink->have()))
    return stop(t.sink->too_long());
  if (auto good = t.sink->write(as_bytes({data, size})); !good) return stop(std::move(good).error());
  return size;
}

std::string_view reason_of(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return "the server's name isn't known";
    case CURLE_COULDNT_CONNECT:
      return "no connection to the server";
    case CURLE_OPERATION_TIMEDOUT:
      return "the server stalls";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
      return "no trusted connection to the server";
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
      return "the connection broke off";
    default:
      return "the file can't be fetched";
  }
}

}  // namespace

struct Fetcher::State {
  FetchOptions options;
  Descriptor lock;
  Owned<CURLM, curl_multi_cleanup> multi;

  // What became of an attempt. Unanswered: failed, and it wasn't for this file.
  enum class Outcome : std::uint8_t { good, again, failed, unanswered };

  Result<void> start(Transfer& t);
  Outcome finish(Transfer& t, CURLcode code, Error& error) const;
  Result<void> run(std::function<std::unique_ptr<Transfer>()> next,
                   const std::function<void(Transfer&, std::optional<Error>)>& done, const std::function<void()>& tick,
                   std::stop_token stop, const std::function<bool()>& room);
};

Fetcher::Fetcher(std::unique_ptr<State> state) : state_(std::move(state)) {}
Fetcher::~Fetcher() = default;

Result<std::unique_ptr<Fetcher>> Fetcher::open(FetchOptions options) {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  auto state = std::make_unique<State>();
  state->multi.reset(curl_multi_init());
  if (global != CURLE_OK || state->multi == nullptr) return fail(Fault::internal, "libcurl can't begin");
  curl_multi_setopt(state->multi.get(), CURLMOPT_MAX_HOST_CONNECTIONS, long(std::max(options.parallel, 1U)));
  std::error_code ec;
  for (const char* const part : {"/packages", "/indexes"}) {
    fs::create_directories(options.cache + part, ec);
    if (ec) return fail(Error{Fault::environment, "can't make the cache", {}, 0, options.cache, ec.message()});
  }
  state->lock = Descriptor(::open((options.cache + "/LOCK").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!state->lock) return fail_errno("can't lock the cache", options.cache);
  if (::flock(state->lock.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Error{Fault::environment, "another ingestion uses this cache", {}, 0, options.cache, {}});
  state->options = std::move(options);
  return std::unique_ptr<Fetcher>(new Fetcher(std::move(state)));
}

Result<void> Fetcher::State::start(Transfer& t) {
  if (t.easy == nullptr) t.easy.reset(curl_easy_init());
  CURL* const c = t.easy.get();
  if (c == nullptr) return fail(Fault::internal, "libcurl can't begin");
  curl_easy_reset(c);
  GH_TRY(t.began, t.sink->begin());
  t.body = false;
  t.unwanted = 0;
  t.error.reset();
  if (t.fresh) {
    t.headers.reset(curl_slist_append(nullptr, "Cache-Control: max-age=0"));
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, t.headers.get());
  }
  const bool tls = t.url.starts_with("https:");
  curl_easy_setopt(c, CURLOPT_URL, t.url.c_str());
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
  if (!options.ca.empty()) {
    curl_easy_setopt(c, CURLOPT_CAINFO, options.ca.c_str());
    curl_easy_setopt(c, CURLOPT_CAPATH, nullptr);
  }
  curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
  curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(c, CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt(c, CURLOPT_NETRC, long(CURL_NETRC_OPTIONAL));
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_USERAGENT, "gatehouse");
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, long(options.stall.count()));
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 100L);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, long(options.stall.count()));
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, &t);
  curl_easy_setopt(c, CURLOPT_PRIVATE, &t);
  // Not CURLOPT_RESUME_FROM, which takes a server without ranges for an error.
  const std::string range = std::to_string(t.began) + "-";
  if (t.began != 0) curl_easy_setopt(c, CURLOPT_RANGE, range.c_str());
  if (curl_multi_add_handle(multi.get(), c) != CURLM_OK) return fail(Fault::internal, "libcurl can't begin");
  return {};
}

Fetcher::State::Outcome Fetcher::State::finish(Transfer& t, CURLcode code, Error& error) const {
  const long status = status_of(t.easy.get());
  const auto refused = [&](std::string_view why) {
    error = Error{Fault::environment, why, {}, 0, {}, "HTTP status " + std::to_string(status)};
  };
  if (t.error) {
    error = *std::move(t.error);
    return Outcome::failed;
  }
  if (t.sink->have() >= t.began + progress_bytes) t.failures = 0;
  if (status == 416 && t.began != 0) {
    // The part is longer than what the server has.
    refused("the server has less of it than there is");
    if (auto good = t.sink->restart(); !good) {
      error = std::move(good).error();
      return Outcome::failed;
    }
  } else if (code == CURLE_OK && (status == 200 || status == 206)) {
    // An answer without a body may have no first byte to begin anew at.
    if (!t.body && status == 200 && t.began != 0) (void)t.sink->restart();
    const auto whole = t.sink->complete();
    if (!whole) {
      error = whole.error();
      return Outcome::failed;
    }
    if (*whole) return Outcome::good;
    error = Error{Fault::malformed, reason_other_digest, {}, 0, {}, {}};
    // A part from another file may have been in front.
    return t.began != 0 && !std::exchange(t.again, true) ? Outcome::again : Outcome::failed;
  } else if (status == 404 || status == 410) {
    refused(reason_no_such_file);
    return Outcome::failed;
  } else if (status >= 400 && !retries_help(status)) {
    refused("the server refuses");
    return Outcome::failed;
  } else if (status >= 400) {
    refused("the server can't answer");
  } else if (code == CURLE_OK) {
    refused("an answer that isn't understood");
    return Outcome::failed;
  } else {
    error = Error{Fault::environment, reason_of(code), {}, 0, {}, curl_easy_strerror(code)};
  }
  // Who isn't trusted now won't be in a second.
  const bool final = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
  if (++t.failures >= options.attempts || final) return Outcome::unanswered;
  t.not_before = Clock::now() + options.pause * (1 << std::min(t.failures - 1, 6U));
  return Outcome::again;
}

Result<void> Fetcher::State::run(std::function<std::unique_ptr<Transfer>()> next,
                                 const std::function<void(Transfer&, std::optional<Error>)>& done,
                                 const std::function<void()>& tick, std::stop_token stop, const std::function<bool()>& room) {
  const NoBrokenPipe no_broken_pipe;
  std::list<std::unique_ptr<Transfer>> active, waiting;
  // Whatever ends this, no handle stays with the others.
  struct Detach {
    CURLM* multi;
    std::list<std::unique_ptr<Transfer>>& active;
    ~Detach() {
      for (const auto& t : active) curl_multi_remove_handle(multi, t->easy.get());
    }
  } detach{multi.get(), active};
  const auto begin = [&](std::unique_ptr<Transfer> t) -> Result<void> {
    GH_CHECK(start(*t));
    active.push_back(std::move(t));
    return {};
  };
  unsigned silent = 0;
  for (bool more = true;;) {
    const auto now = Clock::now();
    for (auto at = waiting.begin(); at != waiting.end() && active.size() < options.parallel;) {
      if ((*at)->not_before > now) {
        ++at;
        continue;
      }
      auto t = std::move(*at);
      at = waiting.erase(at);
      GH_CHECK(begin(std::move(t)));
    }
    while (more && active.size() + waiting.size() < options.parallel && (!room || room())) {
      auto t = next();
      more = t != nullptr;
      if (more) GH_CHECK(begin(std::move(t)));
    }
    if (!more && active.empty() && waiting.empty()) return {};
    if (stop.stop_requested()) return {};
    int running = 0;
    curl_multi_perform(multi.get(), &running);
    bool any = false;
    int left = 0;
    while (const CURLMsg* const message = curl_multi_info_read(multi.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      any = true;
      const CURLcode code = message->data.result;
      CURL* const easy = message->easy_handle;
      const auto at = std::find_if(active.begin(), active.end(), [&](const auto& t) { return t->easy.get() == easy; });
      GH_ASSERT(at != active.end());
      std::unique_ptr<Transfer> t = std::move(*at);
      active.erase(at);
      curl_multi_remove_handle(multi.get(), easy);
      Error error;
      const Outcome outcome = finish(*t, code, error);
      if (outcome == Outcome::again) {
        waiting.push_back(std::move(t));
        continue;
      }
      // A disk that takes no more takes none of the others either.
      if (outcome == Outcome::failed && error.fault == Fault::environment && !error.source.empty())
        return fail(std::move(error));
      silent = outcome == Outcome::unanswered ? silent + 1 : 0;
      if (silent >= silent_files) {
        error.reason = "the server answers no longer";
        return fail(std::move(error));
      }
      done(*t, outcome == Outcome::good ? std::nullopt : std::optional(std::move(error)));
    }
    if (tick) tick();
    if (any) continue;  // another may begin
    constexpr int most = 250;  // milliseconds: a retry may be due
    curl_multi_poll(multi.get(), nullptr, 0, active.empty() ? 50 : most, nullptr);
  }
}

Result<std::optional<ByteVector>> Fetcher::get(const std::string& url, std::size_t limit_bytes) {
  auto only = std::make_unique<Transfer>();
  only->url = url;
  only->fresh = true;
  only->sink = std::make_unique<MemorySink>(limit_bytes);
  std::optional<Result<std::optional<ByteVector>>> out;
  GH_CHECK(state_->run([&]() -> std::unique_ptr<Transfer> { return std::move(only); },
                       [&](Transfer& t, std::optional<Error> error) {
                         if (!error) out = std::move(static_cast<MemorySink&>(*t.sink)).content();
                         else if (error->reason == reason_no_such_file) out = std::optional<ByteVector>();
                         else out = fail(*std::move(error));
                       },
                       {}, {}, {}));
  GH_ASSERT(out.has_value());
  if (!*out) return fail(std::move(*out).error().from(url));
  return *std::move(out);
}

std::string Fetcher::path_of(const Wanted& wanted) const {
  const std::string hex = wanted.digest.hex();
  if (wanted.is_index) return state_->options.cache + "/indexes/" + hex;
  return state_->options.cache + "/packages/" + hex.substr(0, 2) + "/" + hex;
}

Result<void> Fetcher::fetch(std::span<const Wanted> wanted,
                            const std::function<void(std::size_t, Result<std::string>)>& done,
                            const std::function<void()>& tick, std::stop_token stop,
                            const std::function<bool()>& room) {
  std::size_t at = 0;
  std::optional<Error> broken;
  const auto next = [&]() -> std::unique_ptr<Transfer> {
    for (; at < wanted.size() && !stop.stop_requested(); ++at) {
      const Wanted& w = wanted[at];
      const std::string path = path_of(w);
      struct stat st {};
      if (::stat(path.c_str(), &st) == 0 && std::uint64_t(st.st_size) == w.size) {
        ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // used now
        done(at, path);
        continue;
      }
      std::error_code ec;
      fs::create_directories(fs::path(path).parent_path(), ec);
      if (ec) {
        broken = Error{Fault::environment, "can't write to the cache", {}, 0, path, ec.message()};
        return nullptr;
      }
      auto t = std::make_unique<Transfer>();
      t->number = at++;
      t->url = w.url;
      t->sink = std::make_unique<FileSink>(w, path);
      return t;
    }
    return nullptr;
  };
  GH_CHECK(state_->run(next,
                       [&](Transfer& t, std::optional<Error> error) {
                         if (!error) done(t.number, path_of(wanted[t.number]));
                         else done(t.number, fail(std::move(*error).from(t.url)));
                       },
                       tick, stop, room));
  if (broken) return fail(*std::move(broken));
  return {};
}

void Fetcher::tidy() const {
  std::error_code ec;
  const auto now = fs::file_time_type::clock::now();
  std::vector<fs::path> old;
  for (auto it = fs::recursive_directory_iterator(state_->options.cache, ec);
       !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) {
    std::error_code gone;
    if (it->is_regular_file(gone) && it->path().filename() != "LOCK" && now - it->last_write_time(gone) > unused && !gone)
      old.push_back(it->path());
  }
  for (const fs::path& path : old) fs::remove(path, ec);
}

}  // namespace gatehouse::refdb
