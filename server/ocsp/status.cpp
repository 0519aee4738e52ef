#include "server/ocsp/status.h"

#include <curl/curl.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/hex.h"
#include "base/log.h"
#include "base/ocsp.h"
#include "base/owned.h"

namespace gatehouse::server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t at_once = 16;              // requests in flight
constexpr unsigned failures_until_pause = 3;     // of a responder, in a row
constexpr std::size_t max_responders = 1'024;    // that it is remembered of how they do
constexpr std::int64_t longest_kept = 7 * 86'400;  // seconds: a responder that promises more is asked all the same
constexpr std::int64_t longest_unknown = 300;
constexpr auto complaint_pause = std::chrono::seconds(10);
constexpr std::string_view spec = "RFC 6960";

std::int64_t system_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Scheme, host and port: for the log.
std::string place_of(const std::string& url) { return escaped(url.substr(0, url.find('/', url.find("://") + 3)), 256); }

Error silence(std::string_view why, std::string detail) { return {Fault::environment, why, spec, 0, {}, std::move(detail)}; }

}  // namespace

struct CertificateStatus::Impl {
  explicit Impl(StatusOptions o) : options(std::move(o)) {}

  // A question that is on its way, or waits for its turn.
  struct Open {
    Open(StatusQuestion q, ocsp::Question a, std::string u) : question(std::move(q)), asked(std::move(a)), url(std::move(u)) {}
    const StatusQuestion question;
    const ocsp::Question asked;
    const std::string url;
    std::vector<Done> waiting;  // empty: the answer that is kept is made anew
    Owned<CURL, curl_easy_cleanup> easy;
    Owned<curl_slist, curl_slist_free_all> headers;
    std::string body;
  };
  struct Responder {
    unsigned failures = 0;
    Clock::time_point next{};  // it is left alone until then
  };

  const StatusOptions options;
  Owned<CURLM, curl_multi_cleanup> multi;  // of the thread, but for curl_multi_wakeup()
  std::unordered_map<CURL*, std::shared_ptr<Open>> flying;  // of the thread
  mutable std::mutex mutex;
  std::unordered_map<std::string, ocsp::Answer> kept;              // guarded by mutex
  std::unordered_map<std::string, std::int64_t> unrenewed;         // guarded by mutex: when each of these ends
  std::unordered_map<std::string, std::shared_ptr<Open>> open;     // guarded by mutex, with the waiting of each
  std::deque<std::shared_ptr<Open>> queue;                         // guarded by mutex: not on their way yet
  std::unordered_map<std::string, Responder> responders;           // guarded by mutex, by URL
  bool stopping = false;                                           // guarded by mutex
  Clock::time_point next_complaint{};                              // of the thread
  std::atomic<std::uint64_t> good{0}, revoked{0}, unknown{0}, silent{0}, fetched{0};
  std::thread thread;

  std::int64_t now() const { return options.now ? options.now() : system_seconds(); }
  Result<void> judged(const ocsp::Answer& answer, const Certificate& certificate);
  Result<void> without(Error why, const Certificate& certificate);
  void run();
  void begin_more();
  void finish(const std::shared_ptr<Open>& one, CURLcode code);
  bool keep(const std::string& id, const ocsp::Answer& answer);
  bool note_responder(const std::string& url, bool answered);
};

namespace {

std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* to) {
  auto& body = *static_cast<std::string*>(to);
  const std::size_t n = size * count;
  if (n > ocsp::max_answer_bytes - std::min(ocsp::max_answer_bytes, body.size())) return 0;  // ends the transfer
  body.append(bytes, n);
  return n;
}

// A quarter of its period before it ends; one that is made for each question soon after.
bool grows_old(const ocsp::Answer& answer, std::int64_t now) { return answer.until - now < (answer.until - answer.since) / 4; }

}  // namespace

Result<std::unique_ptr<CertificateStatus>> CertificateStatus::start(StatusOptions options) {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  auto impl = std::make_unique<Impl>(std::move(options));
  impl->multi.reset(curl_multi_init());
  if (global != CURLE_OK || !impl->multi) return fail(Fault::environment, "libcurl can't begin");
  impl->thread = std::thread([raw = impl.get()] { raw->run(); });
  return std::unique_ptr<CertificateStatus>(new CertificateStatus(std::move(impl)));
}

CertificateStatus::CertificateStatus(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CertificateStatus::~CertificateStatus() { stop(); }

StatusCounts CertificateStatus::counts() const {
  return {.good = impl_->good, .revoked = impl_->revoked, .unknown = impl_->unknown, .silent = impl_->silent, .fetched = impl_->fetched};
}

std::optional<UnrenewedAnswers> CertificateStatus::unrenewed() const {
  const std::int64_t now = impl_->now();
  const std::lock_guard lock(impl_->mutex);
  // Those that have ended are what the log says of each session.
  std::erase_if(impl_->unrenewed, [&](const auto& one) { return one.second <= now; });
  if (impl_->unrenewed.empty()) return std::nullopt;
  UnrenewedAnswers out{impl_->unrenewed.size(), INT64_MAX};
  for (const auto& [_, end] : impl_->unrenewed) out.first_end = std::min(out.first_end, end);
  return out;
}

void CertificateStatus::ask(StatusQuestion question, Done done) {
  Impl& all = *impl_;
  const Certificate certificate = question.certificate;
  const std::string url = question.responder.empty() ? ocsp::responder_of(certificate) : question.responder;
  auto asked = ocsp::question_of(certificate, question.issuer);
  if (!asked) return done(all.without(std::move(asked).error(), certificate));
  const std::int64_t now = all.now();
  std::optional<Result<void>> known;
  bool wake = false;
  {
    const std::lock_guard lock(all.mutex);
    const auto at = all.kept.find(asked->id);
    // An answer of a time to come: the clock was set back.
    const bool counts = at != all.kept.end() && now < at->second.until && at->second.since <= now + ocsp::clock_tolerance;
    if (counts) known = all.judged(at->second, certificate);
    const auto under_way = all.open.find(asked->id);
    const auto responder = all.responders.find(url);
    const bool left_alone = responder != all.responders.end() && Clock::now() < responder->second.next;
    if (counts && !grows_old(at->second, now)) {
      // nothing else to do
    } else if (under_way != all.open.end()) {
      if (!counts) under_way->second->waiting.push_back(std::move(done));
    } else if (all.stopping || url.empty() || left_alone || all.open.size() >= all.options.max_questions) {
      if (!counts)
        known = all.without(all.stopping      ? silence("the server stops", {})
                            : url.empty()     ? silence("the certificate names no OCSP responder", {})
                            : left_alone      ? silence("the OCSP responder doesn't answer", place_of(url))
                                              : silence("too many certificates wait for their OCSP responder", place_of(url)),
                            certificate);
    } else {
      auto one = std::make_shared<Impl::Open>(std::move(question), *std::move(asked), url);
      if (!counts) one->waiting.push_back(std::move(done));
      all.open.emplace(one->asked.id, one);
      all.queue.push_back(std::move(one));
      wake = true;
    }
  }
  if (wake) curl_multi_wakeup(all.multi.get());
  if (known) done(*std::move(known));
}

void CertificateStatus::stop() {
  std::vector<std::shared_ptr<Impl::Open>> left;
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->stopping) return;
    impl_->stopping = true;
  }
  curl_multi_wakeup(impl_->multi.get());
  if (impl_->thread.joinable()) impl_->thread.join();
  for (auto& [_, one] : impl_->open) left.push_back(one);
  impl_->open.clear();
  impl_->queue.clear();
  for (const auto& one : left)
    for (const Done& done : one->waiting) done(fail(silence("the server stops", {})));
}

Result<void> CertificateStatus::Impl::judged(const ocsp::Answer& answer, const Certificate& certificate) {
  if (answer.standing == ocsp::Standing::good) {
    good.fetch_add(1, std::memory_order_relaxed);
    return {};
  }
  const bool is_revoked = answer.standing == ocsp::Standing::revoked;
  (is_revoked ? revoked : unknown).fetch_add(1, std::memory_order_relaxed);
  return fail(Error{Fault::denied, is_revoked ? "certificate was revoked" : "the OCSP responder doesn't know the certificate", spec, 0, {},
                    "'" + certificate.subject() + "'" + (answer.why.empty() ? "" : ", " + answer.why)});
}

// What follows where no answer came that counts.
Result<void> CertificateStatus::Impl::without(Error why, const Certificate& certificate) {
  silent.fetch_add(1, std::memory_order_relaxed);
  if (options.silence_is_good) return {};
  why.detail += (why.detail.empty() ? "'" : ", '") + certificate.subject() + "'";
  why.fault = Fault::environment;
  return fail(std::move(why));
}

void CertificateStatus::Impl::run() {
  for (;;) {
    begin_more();
    int running = 0, left = 0;
    curl_multi_perform(multi.get(), &running);
    while (const CURLMsg* const message = curl_multi_info_read(multi.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const auto at = flying.find(message->easy_handle);
      if (at == flying.end()) continue;
      const auto one = at->second;
      const CURLcode code = message->data.result;
      curl_multi_remove_handle(multi.get(), one->easy.get());
      flying.erase(at);
      finish(one, code);
    }
    {
      const std::lock_guard lock(mutex);
      if (stopping) break;
      if (!queue.empty() && flying.size() < at_once) continue;
    }
    curl_multi_poll(multi.get(), nullptr, 0, 1'000, nullptr);
  }
  for (auto& [easy, _] : flying) curl_multi_remove_handle(multi.get(), easy);
  flying.clear();
}

void CertificateStatus::Impl::begin_more() {
  while (flying.size() < at_once) {
    std::shared_ptr<Open> one;
    {
      const std::lock_guard lock(mutex);
      if (queue.empty() || stopping) return;
      one = std::move(queue.front());
      queue.pop_front();
    }
    one->easy.reset(curl_easy_init());
    for (const char* const header : {"Content-Type: application/ocsp-request", "Accept: application/ocsp-response", "Expect:"})
      if (curl_slist* const longer = curl_slist_append(one->headers.get(), header); longer != nullptr) {
        (void)one->headers.release();
        one->headers.reset(longer);
      }
    CURL* const c = one->easy.get();
    if (c == nullptr) {
      finish(one, CURLE_OUT_OF_MEMORY);
      continue;
    }
    curl_easy_setopt(c, CURLOPT_URL, one->url.c_str());
    // What a certificate names is http alone; nobody is sent on to another place.
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, one->question.responder.empty() ? "http" : "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "gatehouse");
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, one->headers.get());
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, one->asked.der.data());
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(one->asked.der.size()));
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, long(options.limit.count()));
    curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, curl_off_t(ocsp::max_answer_bytes));
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &one->body);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, long(CURL_SSLVERSION_TLSv1_2));
    fetched.fetch_add(1, std::memory_order_relaxed);
    if (curl_multi_add_handle(multi.get(), c) != CURLM_OK)
      finish(one, CURLE_FAILED_INIT);
    else
      flying.emplace(c, one);
  }
}

// Whether it is news that this responder answers, or that it doesn't.
bool CertificateStatus::Impl::note_responder(const std::string& url, bool answered) {
  if (answered) {
    const auto at = responders.find(url);
    const bool news = at != responders.end() && at->second.failures >= failures_until_pause;
    if (at != responders.end()) responders.erase(at);
    return news;
  }
  if (responders.size() >= max_responders) responders.clear();
  Responder& one = responders[url];
  // One that was left alone has one more attempt each time.
  if (++one.failures < failures_until_pause) return false;
  one.next = Clock::now() + options.pause;
  return one.failures == failures_until_pause;
}

// True: it took the place of none, or of an older one.
bool CertificateStatus::Impl::keep(const std::string& id, const ocsp::Answer& answer) {
  const auto at = kept.find(id);
  // Who replays an older answer brings nobody back.
  if (at != kept.end() && at->second.since > answer.since) return false;
  if (at == kept.end() && kept.size() >= options.max_answers) {
    const std::int64_t present = now();
    std::erase_if(kept, [&](const auto& one) { return one.second.until <= present; });
    if (kept.size() >= options.max_answers) kept.clear();
    std::erase_if(unrenewed, [&](const auto& one) { return !kept.contains(one.first); });
  }
  kept.insert_or_assign(id, answer);
  unrenewed.erase(id);
  return true;
}

void CertificateStatus::Impl::finish(const std::shared_ptr<Open>& one, CURLcode code) {
  long http = 0;
  if (one->easy) curl_easy_getinfo(one->easy.get(), CURLINFO_RESPONSE_CODE, &http);
  Result<ocsp::Answer> answer = fail(silence("the OCSP responder doesn't answer", place_of(one->url)));
  if (code != CURLE_OK)
    answer = fail(silence("the OCSP responder doesn't answer", place_of(one->url) + ": " + curl_easy_strerror(code)));
  else if (http != 200)
    answer = fail(silence("the OCSP responder doesn't answer", place_of(one->url) + ": HTTP status " + std::to_string(http)));
  else
    answer = ocsp::parse_answer(as_bytes(one->body), one->question.certificate, one->question.issuer, now());
  const bool answered = code == CURLE_OK && http == 200;
  // One that the responder didn't know may have been issued a moment ago.
  if (answer) answer->until = std::min(answer->until, now() + (answer->standing == ocsp::Standing::unknown ? longest_unknown : longest_kept));

  std::vector<Done> waiting;
  bool news = false;
  Result<void> outcome{};
  {
    const std::lock_guard lock(mutex);
    // What it answers of one certificate says nothing of how it does: nobody has it left alone by a certificate of his.
    news = note_responder(one->url, answered);
    if (answer && !keep(one->asked.id, *answer)) answer = kept.at(one->asked.id);
    if (const auto old = kept.find(one->asked.id); !answer && old != kept.end()) unrenewed.insert_or_assign(one->asked.id, old->second.until);
    open.erase(one->asked.id);
    waiting = std::exchange(one->waiting, {});
    if (!waiting.empty()) outcome = answer ? judged(*answer, one->question.certificate) : without(answer.error(), one->question.certificate);
  }
  if (news && answered) log::write(log::Level::info, {}, "the OCSP responder " + place_of(one->url) + " answers again");
  const bool useless = answered && !answer && Clock::now() >= next_complaint;
  if (useless) next_complaint = Clock::now() + complaint_pause;
  if ((news && !answered) || useless)
    log::write(log::Level::error, {}, "the OCSP responder " + place_of(one->url) + " gives no answer that counts (" + answer.error().text() +
                                          "): certificates whose status isn't known are " + (options.silence_is_good ? "accepted" : "refused"));
  for (const Done& done : waiting) done(outcome);
}

}  // namespace gatehouse::server
