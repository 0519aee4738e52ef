// Results by HTTP: each once and in order, signed, tried again until the target has it, and nobody waits for it.
#include "server/results/webhook.h"

#include <gtest/gtest.h>

#include <fstream>

#include "server/config/results.h"
#include "tests/folder.h"
#include "tests/server_results/http_target.h"
#include "tests/server_results/sample.h"

namespace gatehouse::server {
namespace {

using test::Folder;
using test::HttpTarget;
using test::until;
using namespace std::chrono_literals;

// Results that came on record, as the state store tells them.
class Recorded {
 public:
  void add(const std::string& session) {
    const std::lock_guard lock(mutex_);
    sessions_.push_back(session);
  }
  // Retention took it.
  void drop(std::size_t entry) {
    const std::lock_guard lock(mutex_);
    sessions_[entry].clear();
  }
  ResultSource source() {
    return {.results = [this](std::uint64_t from, std::size_t most) -> Result<AuditResults> {
              const std::lock_guard lock(mutex_);
              AuditResults out{.log = log, .size = sessions_.size(), .results = {}, .next = sessions_.size()};
              for (std::uint64_t n = from; n < sessions_.size(); ++n) {
                if (n - from == most) {
                  out.next = n;
                  break;
                }
                out.results.push_back({n, sessions_[n]});
              }
              return out;
            },
            .body = [](const std::string& session) -> Result<std::optional<std::string>> {
              if (session.empty()) return std::nullopt;
              return "{\"session\":\"" + session + "\"}";
            }};
  }
  std::string log = std::string(32, 'a');

 private:
  std::mutex mutex_;
  std::vector<std::string> sessions_;  // guarded by mutex_
};

class WebhookTest : public testing::Test {
 protected:
  std::unique_ptr<Webhook> open(const std::string& url, std::uint64_t queue = 100, std::chrono::milliseconds limit = 30s) {
    WebhookOptions o;
    o.url = url;
    o.place = folder_ / "place";
    o.key = Secret(std::string("a key of the signature"));
    o.queue = queue;
    o.limit = limit;
    o.first_pause = 1ms;
    o.longest_pause = 5ms;
    auto hook = Webhook::open(std::move(o), recorded_.source());
    EXPECT_TRUE(hook) << hook.error().text();
    return std::move(*hook);
  }
  static std::vector<std::string> sessions(const std::vector<HttpTarget::Request>& requests) {
    std::vector<std::string> out;
    for (const auto& request : requests) out.push_back(request.field("Gatehouse-Session"));
    return out;
  }
  Folder folder_;
  Recorded recorded_;
};

TEST_F(WebhookTest, PostsEachResultSignedAndInOrder) {
  HttpTarget target([](std::size_t, const HttpTarget::Request&) { return 204; });
  recorded_.add("before");  // there was no webhook yet
  const auto hook = open(target.url());
  recorded_.add("s-1");
  hook->wake();
  recorded_.add("s-2");
  hook->wake();
  const auto requests = target.requests(2);
  EXPECT_EQ(sessions(requests), (std::vector<std::string>{"s-1", "s-2"}));
  EXPECT_TRUE(requests[0].head.starts_with("POST /results HTTP/1.1\r\n"));
  EXPECT_EQ(requests[0].body, "{\"session\":\"s-1\"}");
  EXPECT_EQ(requests[0].field("Content-Type"), "application/json");
  // openssl dgst -sha256 -hmac 'a key of the signature', over the body.
  EXPECT_EQ(requests[0].field("Gatehouse-Signature"), webhook_signature(Secret(std::string("a key of the signature")), requests[0].body));
  EXPECT_EQ(webhook_signature(Secret(std::string("key")), "The quick brown fox jumps over the lazy dog"),
            "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8");
  until([&] { return hook->counts().delivered == 2; });
}

TEST_F(WebhookTest, TriesAgainUntilTheTargetTakesItAndKeepsTheOrder) {
  HttpTarget target([](std::size_t number, const HttpTarget::Request&) { return number < 2 ? 503 : number == 2 ? 302 : 200; });
  const auto hook = open(target.url());
  recorded_.add("s-1");
  recorded_.add("s-2");
  hook->wake();
  EXPECT_EQ(sessions(target.requests(5)), (std::vector<std::string>{"s-1", "s-1", "s-1", "s-1", "s-2"}));
  until([&] { return hook->counts().waiting == 0; });
  EXPECT_EQ(hook->counts().failed, 3U);
  EXPECT_EQ(hook->counts().delivered, 2U);
}

TEST_F(WebhookTest, LeavesOutAResultThatTheTargetRefusesAsItIs) {
  HttpTarget target([](std::size_t, const HttpTarget::Request& request) { return request.field("Gatehouse-Session") == "bad" ? 413 : 200; });
  const auto hook = open(target.url());
  recorded_.add("bad");
  recorded_.add("good");
  hook->wake();
  EXPECT_EQ(sessions(target.requests(4)), (std::vector<std::string>{"bad", "bad", "bad", "good"}));
  until([&] { return hook->counts().delivered == 1; });
  EXPECT_EQ(hook->counts().left_out, 1U);
}

TEST_F(WebhookTest, GoesOnAfterARestartWhereItWas) {
  std::uint16_t port = 0;
  {
    HttpTarget target([](std::size_t number, const HttpTarget::Request&) { return number == 0 ? 200 : 0; });
    port = target.port();
    const auto hook = open(target.url());
    recorded_.add("s-1");
    recorded_.add("s-2");
    hook->wake();
    EXPECT_EQ(target.requests(2).size(), 2U);
    // It hangs: the server that stops doesn't wait for it.
  }
  recorded_.add("s-3");
  recorded_.add("gone");
  recorded_.drop(3);
  recorded_.add("s-5");
  HttpTarget target([](std::size_t, const HttpTarget::Request&) { return 200; }, port);
  const auto hook = open(target.url());
  EXPECT_EQ(sessions(target.requests(3)), (std::vector<std::string>{"s-2", "s-3", "s-5"}));
}

TEST_F(WebhookTest, ThatHangsIsGivenUpAndTriedAgain) {
  HttpTarget target([](std::size_t number, const HttpTarget::Request&) { return number == 0 ? 0 : 200; });
  const auto hook = open(target.url(), 100, 200ms);
  recorded_.add("s-1");
  hook->wake();
  EXPECT_EQ(sessions(target.requests(2)), (std::vector<std::string>{"s-1", "s-1"}));
  until([&] { return hook->counts().delivered == 1; });
}

TEST_F(WebhookTest, ThatRefusesMakesResultsWaitWithinTheBound) {
  std::uint16_t port = 0;
  { port = HttpTarget([](std::size_t, const HttpTarget::Request&) { return 200; }).port(); }
  const std::string url = "http://127.0.0.1:" + std::to_string(port) + "/results";
  {
    const auto hook = open(url, 3);
    for (int n = 0; n < 10; ++n) recorded_.add("s-" + std::to_string(n));
    hook->wake();
    until([&] { return hook->counts().failed >= 2; });
    EXPECT_EQ(hook->counts().left_out, 7U);
  }
  HttpTarget target([](std::size_t, const HttpTarget::Request&) { return 200; }, port);
  const auto hook = open(url, 3);
  EXPECT_EQ(sessions(target.requests(3)), (std::vector<std::string>{"s-7", "s-8", "s-9"}));
}

TEST_F(WebhookTest, BeginsAnewWithAnotherStoreAndWithAPlaceThatIsNone) {
  HttpTarget target([](std::size_t, const HttpTarget::Request&) { return 200; });
  recorded_.add("s-0");
  { open(target.url()); }
  recorded_.add("of another store");
  recorded_.log = std::string(32, 'b');
  { open(target.url()); }
  std::ofstream(folder_ / "place") << "gatehouse webhook 1\nlog " << std::string(32, 'b') << "\nnext zero\n";
  const auto hook = open(target.url());
  recorded_.add("s-2");
  hook->wake();
  EXPECT_EQ(sessions(target.requests(1)), std::vector<std::string>{"s-2"});
}

TEST(WebhookUrl, SendsNothingInTheClearOverANetwork) {
  for (const char* const good : {"https://soc.example/hook", "https://192.0.2.1:8443", "http://127.0.0.1:8080/x?y", "http://localhost", "http://[::1]:80/"})
    EXPECT_TRUE(is_webhook_url(good)) << good;
  for (const char* const bad : {"", "https://", "https:///x", "http://soc.example/", "http://127.0.0.1.example/", "http://127.0.0.1@soc.example/", "http://127.0.0.1:1@soc.example/", "https://user:password@soc.example/",
                                "ftp://127.0.0.1/", "http://localhost.example", "https://a b/", "https://a\r\nX: y/", "file:///etc/passwd"})
    EXPECT_FALSE(is_webhook_url(bad)) << bad;
}

}  // namespace
}  // namespace gatehouse::server
