#include "server/results/webhook.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "base/file.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/owned.h"

namespace gatehouse::server {
namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr std::size_t page = 256;          // results that are looked up at once
constexpr std::size_t most_answer = 64;    // bytes of an answer that are kept, for the log
constexpr unsigned attempts_of_refused = 3;  // of a result that the target doesn't want as it is
constexpr std::string_view title = "gatehouse webhook 1";

// The first result that wasn't delivered. Written with one call, over itself: the process may be killed at any time. What
// a crash of the machine takes back of it is delivered again.
class Place {
 public:
  static Result<Place> open(const std::string& path) {
    Place out;
    out.path_ = path;
    out.file_ = Descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!out.file_) return fail_errno("the place in the results can't be kept", path);
    std::array<char, 256> buffer{};
    const ssize_t n = ::pread(out.file_.get(), buffer.data(), buffer.size(), 0);
    if (n < 0) return fail_errno("the place in the results can't be read", path);
    out.parse(std::string_view(buffer.data(), std::size_t(n)));
    if (n > 0 && !out.known()) log::write(log::Level::error, {}, path + " isn't a place in the results: begins with the next one");
    return out;
  }
  const std::string& of_log() const { return log_; }
  std::uint64_t next() const { return next_; }
  bool known() const { return !log_.empty(); }
  Result<void> keep(const std::string& log, std::uint64_t next) {
    log_ = log;
    next_ = next;
    std::string number = std::to_string(next);
    number.insert(0, 20 - number.size(), '0');
    const std::string text = std::string(title) + "\nlog " + log + "\nnext " + number + "\n";
    if (::pwrite(file_.get(), text.data(), text.size(), 0) != ssize_t(text.size())) return fail_errno("the place in the results can't be kept", path_);
    return {};
  }

 private:
  // What isn't what keep() writes is no place.
  void parse(std::string_view text) {
    const std::string head = std::string(title) + "\nlog ";
    if (text.size() != head.size() + 32 + 6 + 20 + 1 || !text.starts_with(head) || text.substr(head.size() + 32, 6) != "\nnext " || text.back() != '\n') return;
    const std::string_view number = text.substr(head.size() + 38, 20);
    std::uint64_t next = 0;
    const auto [end, code] = std::from_chars(number.begin(), number.end(), next);
    if (code != std::errc() || end != number.end()) return;
    log_ = text.substr(head.size(), 32);
    next_ = next;
  }

  std::string path_;
  Descriptor file_;
  std::string log_;
  std::uint64_t next_ = 0;
};

// What came of one attempt.
struct Attempt {
  bool delivered = false;
  bool unwanted = false;  // the target refuses this result as it is: another attempt won't change that
  bool stopped = false;
  std::string why;
};

std::size_t on_answer(char* bytes, std::size_t size, std::size_t count, void* to) {
  auto& kept = *static_cast<std::string*>(to);
  kept.append(bytes, std::min(size * count, most_answer - std::min(most_answer, kept.size())));
  return size * count;
}

Attempt judged(long status, const std::string& answer) {
  Attempt out;
  out.delivered = status >= 200 && status < 300;
  out.unwanted = status == 400 || status == 413 || status == 415 || status == 422;
  if (!out.delivered) out.why = "HTTP status " + std::to_string(status) + (answer.empty() ? "" : ": " + escaped(answer, most_answer));
  return out;
}

}  // namespace

std::string webhook_signature(const Secret& key, std::string_view body) {
  return "sha256=" + hmac(HashAlgorithm::sha256, key.reveal(), as_bytes(body)).hex();
}

struct Webhook::Impl {
  Impl(WebhookOptions o, ResultSource s, Place p) : options(std::move(o)), source(std::move(s)), place(std::move(p)) {}

  const WebhookOptions options;
  // For the log: scheme, host and port. What follows may be a secret between the two.
  const std::string name = options.url.substr(0, options.url.find('/', options.url.find("://") + 3));
  const ResultSource source;
  Place place;                               // of the thread
  Owned<CURLM, curl_multi_cleanup> multi;   // of the thread, but for curl_multi_wakeup()
  Owned<CURL, curl_easy_cleanup> easy;      // of the thread
  std::mt19937 random{std::random_device()()};  // of the thread
  Milliseconds next_pause{0};                // of the thread
  bool broken = false;                       // of the thread: the log was told
  std::atomic<std::uint64_t> delivered{0}, failed{0}, left_out{0}, waiting{0};
  std::mutex mutex;
  std::condition_variable changed;
  bool woken = false, stopping = false;      // guarded by mutex
  std::thread thread;

  void run();
  Result<void> find_place();
  bool deliver_page();
  Result<bool> deliver(const AuditResults::One& one);
  Attempt post(const std::string& session, const std::string& body);
  void pause();
  bool stop_requested() {
    const std::lock_guard lock(mutex);
    return stopping;
  }
  void complain(const std::string& session, const std::string& why) {
    if (!broken) log::write(log::Level::error, session, "webhook " + name + ": " + why + "; results wait");
    broken = true;
  }
};

Result<std::unique_ptr<Webhook>> Webhook::open(WebhookOptions options, ResultSource source) {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  GH_TRY(Place place, Place::open(options.place));
  auto impl = std::make_unique<Impl>(std::move(options), std::move(source), std::move(place));
  impl->multi.reset(curl_multi_init());
  impl->easy.reset(curl_easy_init());
  if (global != CURLE_OK || !impl->multi || !impl->easy) return fail(Error{Fault::environment, "libcurl can't begin", {}, 0, impl->name, {}});
  GH_CHECK(impl->find_place());
  impl->thread = std::thread([raw = impl.get()] { raw->run(); });
  return std::unique_ptr<Webhook>(new Webhook(std::move(impl)));
}

Webhook::Webhook(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Webhook::~Webhook() { stop(); }

void Webhook::wake() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->woken = true;
  }
  impl_->changed.notify_one();
}

void Webhook::stop() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->changed.notify_one();
  curl_multi_wakeup(impl_->multi.get());
  if (impl_->thread.joinable()) impl_->thread.join();
}

DeliveryCounts Webhook::counts() const {
  return {.delivered = impl_->delivered, .failed = impl_->failed, .left_out = impl_->left_out, .waiting = impl_->waiting};
}

// A webhook that is new begins with what comes from now on. So does one whose place is in another log, or behind the end
// of this one, as after a restore.
Result<void> Webhook::Impl::find_place() {
  GH_TRY(const AuditResults now, source.results(UINT64_MAX, 1));
  if (place.known() && place.of_log() == now.log && place.next() <= now.size) return {};
  if (place.known()) log::write(log::Level::warning, {}, "webhook " + name + ": the state store is another one than before: begins with its next result");
  return place.keep(now.log, now.size);
}

void Webhook::Impl::run() {
  for (;;) {
    if (deliver_page()) continue;
    std::unique_lock lock(mutex);
    if (stopping) return;
    changed.wait(lock, [&] { return woken || stopping; });
    woken = false;
    if (stopping) return;
  }
}

// False: nothing waits, or the server stops.
bool Webhook::Impl::deliver_page() {
  if (stop_requested()) return false;
  auto next = source.results(place.next(), page);
  if (!next) {
    complain({}, next.error().text());
    pause();
    return !stop_requested();
  }
  waiting = next->size - std::min(next->size, place.next());
  if (waiting > options.queue) {
    const std::uint64_t first = next->size - options.queue;
    left_out.fetch_add(first - place.next(), std::memory_order_relaxed);
    log::write(log::Level::error, {}, "webhook " + name + ": " + std::to_string(first - place.next()) + " results are left out: more than " +
                                          std::to_string(options.queue) + " wait");
    if (const auto kept = place.keep(next->log, first); !kept) complain({}, kept.error().text());
    return true;
  }
  for (const AuditResults::One& one : next->results) {
    auto done = deliver(one);
    if (!done) {
      complain(one.session, done.error().text());
      pause();
      return !stop_requested();
    }
    if (!*done) return false;
    if (const auto kept = place.keep(next->log, one.entry + 1); !kept) complain({}, kept.error().text());
    waiting = next->size - std::min(next->size, one.entry + 1);
  }
  if (next->next != place.next()) {
    // What the rest of the page stands for are no results.
    if (const auto kept = place.keep(next->log, next->next); !kept) complain({}, kept.error().text());
  }
  return next->next < next->size;
}

// Until the target took it or won't ever. False: the server stops.
Result<bool> Webhook::Impl::deliver(const AuditResults::One& one) {
  GH_TRY(const auto body, source.body(one.session));
  if (!body) return true;  // retention was faster
  for (unsigned refused = 0;;) {
    const Attempt attempt = post(one.session, *body);
    if (attempt.stopped) return false;
    if (attempt.delivered) {
      delivered.fetch_add(1, std::memory_order_relaxed);
      if (broken) log::write(log::Level::info, {}, "webhook " + name + ": takes results again");
      broken = false;
      next_pause = Milliseconds(0);
      return true;
    }
    failed.fetch_add(1, std::memory_order_relaxed);
    if (attempt.unwanted && ++refused == attempts_of_refused) {
      left_out.fetch_add(1, std::memory_order_relaxed);
      log::write(log::Level::error, one.session, "webhook " + name + ": this result is left out: " + attempt.why);
      return true;
    }
    complain(one.session, attempt.why);
    pause();
    if (stop_requested()) return false;
  }
}

void Webhook::Impl::pause() {
  next_pause = std::min(std::max(options.first_pause, next_pause * 2), options.longest_pause);
  const auto most = next_pause.count();
  const Milliseconds this_time(std::uniform_int_distribution<Milliseconds::rep>(most / 2, most)(random));
  std::unique_lock lock(mutex);
  changed.wait_for(lock, this_time, [&] { return stopping; });
}

Attempt Webhook::Impl::post(const std::string& session, const std::string& body) {
  CURL* const c = easy.get();
  curl_easy_reset(c);
  std::array<char, CURL_ERROR_SIZE> words{};
  std::string answer;
  Owned<curl_slist, curl_slist_free_all> headers;
  const auto header = [&](const std::string& text) {
    if (curl_slist* const longer = curl_slist_append(headers.get(), text.c_str()); longer != nullptr) {
      headers.release();
      headers.reset(longer);
    }
  };
  header("Content-Type: " + options.content_type);
  header("Gatehouse-Session: " + session);
  if (!options.key.empty()) header("Gatehouse-Signature: " + webhook_signature(options.key, body));
  header("Expect:");
  curl_easy_setopt(c, CURLOPT_URL, options.url.c_str());
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(c, CURLOPT_PROXY, "");
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_USERAGENT, "gatehouse");
  curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(c, CURLOPT_POST, 1L);
  curl_easy_setopt(c, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.size()));
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, long(options.connect_limit.count()));
  curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, long(options.limit.count()));
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, &answer);
  curl_easy_setopt(c, CURLOPT_ERRORBUFFER, words.data());
  curl_easy_setopt(c, CURLOPT_SSLVERSION, long(CURL_SSLVERSION_TLSv1_2));
  if (!options.ca.empty()) {
    curl_easy_setopt(c, CURLOPT_CAINFO, options.ca.c_str());
    curl_easy_setopt(c, CURLOPT_CAPATH, nullptr);
  }
  Attempt out;
  if (curl_multi_add_handle(multi.get(), c) != CURLM_OK) {
    out.why = "libcurl can't begin";
    return out;
  }
  std::optional<CURLcode> ended;
  while (!ended && !out.stopped) {
    int running = 0, left = 0;
    curl_multi_perform(multi.get(), &running);
    while (const CURLMsg* const message = curl_multi_info_read(multi.get(), &left))
      if (message->msg == CURLMSG_DONE) ended = message->data.result;
    if (ended) break;
    out.stopped = stop_requested();
    if (!out.stopped) curl_multi_poll(multi.get(), nullptr, 0, 1000, nullptr);
  }
  long status = 0;
  curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
  curl_multi_remove_handle(multi.get(), c);
  curl_easy_setopt(c, CURLOPT_ERRORBUFFER, nullptr);
  if (out.stopped) return out;
  if (ended == CURLE_OK) return judged(status, answer);
  const std::string_view said(words.data());
  out.why = escaped(said.empty() ? curl_easy_strerror(*ended) : said, 256);
  return out;
}

}  // namespace gatehouse::server
