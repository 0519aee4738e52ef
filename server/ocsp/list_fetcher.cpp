#include "server/ocsp/list_fetcher.h"

#include <curl/curl.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "base/file.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/revocation_lists.h"

namespace gatehouse::server {
namespace {

using Clock = std::chrono::steady_clock;

std::int64_t system_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* to) {
  auto& body = *static_cast<std::string*>(to);
  const std::size_t n = size * count;
  if (n > max_list_bytes - std::min(max_list_bytes, body.size())) return 0;  // ends the transfer
  body.append(bytes, n);
  return n;
}

std::string content_of(const std::string& file) {
  const auto content = read_file(file, max_list_bytes * 2);
  return content ? std::string(as_text(*content)) : std::string();
}

}  // namespace

struct ListFetcher::Impl {
  explicit Impl(ListFetcherOptions o) : options(std::move(o)) {}

  struct Due {
    ListSource source;  // with the one URL
    Clock::time_point at{};
    unsigned failures = 0;
  };

  const ListFetcherOptions options;
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<Due> due;  // of the thread
  std::atomic<bool> stopping{false};
  std::thread thread;

  std::int64_t now() const { return options.now ? options.now() : system_seconds(); }
  void run();
  // How long until the next one.
  std::chrono::milliseconds fetch(Due& one);
  // Whether the file says anything new, and when the list ends.
  Result<std::pair<bool, std::int64_t>> take(const ListSource& source, const std::string& body) const;
  Result<std::string> get(const std::string& url) const;
};

Result<std::unique_ptr<ListFetcher>> ListFetcher::start(std::vector<ListSource> sources, ListFetcherOptions options) {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (global != CURLE_OK) return fail(Fault::environment, "libcurl can't begin");
  auto impl = std::make_unique<Impl>(std::move(options));
  for (const ListSource& source : sources) {
    const auto end = first_end(content_of(source.file));
    const bool needed = !end || *end <= impl->now();
    for (const std::string& url : source.urls) {
      Impl::Due one{.source = {source.file, source.ca, {url}}, .at = Clock::now()};
      if (needed) one.at += impl->fetch(one);
      impl->due.push_back(std::move(one));
    }
  }
  impl->thread = std::thread([raw = impl.get()] { raw->run(); });
  return std::unique_ptr<ListFetcher>(new ListFetcher(std::move(impl)));
}

ListFetcher::ListFetcher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ListFetcher::~ListFetcher() { stop(); }

void ListFetcher::stop() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
  if (impl_->thread.joinable()) impl_->thread.join();
}

void ListFetcher::Impl::run() {
  while (!stopping && !due.empty()) {
    const auto next = std::min_element(due.begin(), due.end(), [](const Due& a, const Due& b) { return a.at < b.at; });
    {
      std::unique_lock lock(mutex);
      if (wake.wait_until(lock, next->at, [this] { return stopping.load(); })) return;
    }
    next->at = Clock::now() + fetch(*next);
  }
}

std::chrono::milliseconds ListFetcher::Impl::fetch(Due& one) {
  const std::string& url = one.source.urls.front();
  const auto body = get(url);
  const auto taken = body ? take(one.source, *body) : Result<std::pair<bool, std::int64_t>>(fail(body.error()));
  if (stopping) return options.longest;
  if (!taken) {
    log::write(log::Level::warning, {}, "the revocation list of " + escaped(url, 256) + " can't be had, " + escaped(one.source.file) + " stays as it is: " + taken.error().text());
    const unsigned doublings = std::min(one.failures++, 10U);
    return std::min(options.retry * (1U << doublings), options.longest_retry);
  }
  if (one.failures != 0 || taken->first)
    log::write(log::Level::info, {}, "the revocation list of " + escaped(url, 256) + (taken->first ? " was fetched into " : " is still that of ") + escaped(one.source.file));
  one.failures = 0;
  return std::clamp(std::chrono::milliseconds(std::chrono::seconds((taken->second - now()) / 2)), options.least, options.longest);
}

Result<std::pair<bool, std::int64_t>> ListFetcher::Impl::take(const ListSource& source, const std::string& body) const {
  GH_TRY(const ListIssuers issuers, ListIssuers::load(source.ca));
  GH_TRY(const RevocationList list, issuers.check(as_bytes(body), now()));
  GH_TRY(const auto content, with_list(content_of(source.file), list));
  if (content) GH_CHECK(write_file_atomically(source.file, as_bytes(*content), 0644));
  return std::pair(content.has_value(), list.until);
}

Result<std::string> ListFetcher::Impl::get(const std::string& url) const {
  const Owned<CURL, curl_easy_cleanup> easy(curl_easy_init());
  if (!easy) return fail(Fault::internal, "out of memory");
  CURL* const c = easy.get();
  std::string body;
  curl_easy_setopt(c, CURLOPT_URL, url.c_str());
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(c, CURLOPT_PROXY, "");
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_USERAGENT, "gatehouse");
  curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, long(options.limit.count()));
  curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, curl_off_t(max_list_bytes));
  curl_easy_setopt(c, CURLOPT_SSLVERSION, long(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, &body);
  curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(c, CURLOPT_XFERINFODATA, this);
  curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, +[](void* of, curl_off_t, curl_off_t, curl_off_t, curl_off_t) { return static_cast<const Impl*>(of)->stopping ? 1 : 0; });
  const CURLcode code = curl_easy_perform(c);
  long http = 0;
  curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &http);
  if (code != CURLE_OK) return fail(Error{Fault::environment, "its server doesn't answer", {}, 0, {}, curl_easy_strerror(code)});
  if (http != 200) return fail(Error{Fault::environment, "its server doesn't give it", {}, 0, {}, "HTTP status " + std::to_string(http)});
  return body;
}

}  // namespace gatehouse::server
