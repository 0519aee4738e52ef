// The metrics port, and what it makes of requests that aren't what they should be.
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "server/metrics/http_server.h"
#include "tests/server_metrics/http_client.h"

namespace gatehouse::test {
namespace {

using server::metrics::HttpServer;

class HttpTest : public testing::Test {
 protected:
  void start(std::chrono::milliseconds patience = std::chrono::minutes(5)) {
    auto started = HttpServer::start("127.0.0.1", 0, [this] { return ++asked_for, std::string("a 1\n"); }, {[this] { return ill_; }, [this] { return unready_; }}, patience);
    ASSERT_TRUE(started) << started.error().text();
    server_ = std::move(*started);
    port_ = server_->port();
  }
  // The status line of the answer.
  std::string status(std::string_view request) const {
    const std::string answer = asked(port_, request);
    return answer.substr(0, answer.find("\r\n"));
  }
  std::atomic<int> asked_for{0};
  std::string ill_, unready_;  // before start()
  std::unique_ptr<HttpServer> server_;
  std::uint16_t port_ = 0;
};

TEST_F(HttpTest, TellsWhetherTheServerIsWellAndReady) {
  unready_ = "overloaded";
  start();
  const std::string well = asked(port_, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(well.starts_with("HTTP/1.1 200 OK\r\n")) << well;
  EXPECT_NE(well.find("Content-Type: text/plain; charset=utf-8\r\n"), std::string::npos) << well;
  EXPECT_EQ(body_of(well), "ok\n");
  const std::string not_ready = asked(port_, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(not_ready.starts_with("HTTP/1.1 503 ")) << not_ready;
  EXPECT_EQ(body_of(not_ready), "overloaded\n");
  EXPECT_EQ(asked_for, 0);  // neither makes the metrics
}

TEST_F(HttpTest, AnswersGetAndHeadOfMetrics) {
  start();
  const std::string answer = asked(port_, "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_NE(answer.find("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("Content-Length: 4\r\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos) << answer;
  EXPECT_EQ(body_of(answer), "a 1\n");
  EXPECT_EQ(body_of(asked(port_, "GET /metrics?x=1 HTTP/1.0\r\n\r\n")), "a 1\n");
  const std::string head = asked(port_, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK\r\n")) << head;
  EXPECT_NE(head.find("Content-Length: 4\r\n"), std::string::npos) << head;
  EXPECT_EQ(body_of(head), "");
}

TEST_F(HttpTest, RefusesEverythingElse) {
  start();
  EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 404 Not Found");
  EXPECT_EQ(status("GET /metrics/../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 404 Not Found");
  EXPECT_EQ(status("GET http://elsewhere/metrics HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 404 Not Found");
  for (const std::string method : {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "WHATEVER"}) {
    const std::string answer = asked(port_, method + " /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n")) << answer;
    EXPECT_NE(answer.find("Allow: GET, HEAD\r\n"), std::string::npos) << answer;
  }
  using namespace std::string_literals;
  for (const std::string& request :
       {"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03"s + std::string(600, '\0'), "GET /metrics\r\n\r\n"s, "GET /metrics HTTP/9.9\r\n\r\n"s,
        "GET /metrics HTTP/1.1\r\nno colon\r\n\r\n"s, "GET /metrics HTTP/1.1\r\nContent-Length: x\r\n\r\n"s,
        "GET /metrics HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"s, "GET /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"s,
        "GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"s, "\0\0\0\0\r\n\r\n"s, "GET /met\x01rics HTTP/1.1\r\n\r\n"s})
    EXPECT_EQ(status(request), "HTTP/1.1 400 Bad Request") << request;
  EXPECT_EQ(asked_for, 0) << "nothing was read for any of them";
}

TEST_F(HttpTest, ReadsNoMoreThanAHeadMayBeLong) {
  start();
  for (const std::string& request : {"GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\n\r\n",
                                     "GET /metrics HTTP/1.1\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n", std::string(1'000'000, 'G')}) {
    const std::string answer = status(request);
    EXPECT_TRUE(answer == "HTTP/1.1 431 Request Header Fields Too Large" || answer == "HTTP/1.1 400 Bad Request") << answer;
  }
  EXPECT_EQ(asked_for, 0);
}

TEST_F(HttpTest, EndsWhoIsSilentOrSlow) {
  start(std::chrono::milliseconds(100));
  for (const std::string_view some : {"", "G", "GET /metrics HTTP/1.1\r\nHost:", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r"}) {
    const HttpClient client(port_);
    client.say(some);
    EXPECT_EQ(client.rest(), "") << some;  // returns when the server has ended it
  }
  const HttpClient gone(port_);
  gone.say("GET /metr");
  gone.finish();
  const std::string answer = gone.rest();
  EXPECT_TRUE(answer.empty() || answer.starts_with("HTTP/1.1 400 ")) << answer;
  EXPECT_EQ(asked_for, 0);
  // Who asks at once is served; that may take a machine that is busy more than one attempt.
  std::string body;
  while (body.empty()) body = scrape(port_);
  EXPECT_EQ(body, "a 1\n");
}

TEST_F(HttpTest, HoldsSixteenConnectionsAndClosesFurtherOnes) {
  start();
  std::vector<std::unique_ptr<HttpClient>> held;
  for (int n = 0; n < 16; ++n) held.push_back(std::make_unique<HttpClient>(port_));
  EXPECT_EQ(asked(port_, "GET /metrics HTTP/1.1\r\n\r\n"), "");
  held.pop_back();
  // The server sees that it went.
  std::string body;
  while (body.empty()) body = scrape(port_);
  EXPECT_EQ(body, "a 1\n");
  for (const auto& client : held) {
    client->say("GET /metrics HTTP/1.1\r\n\r\n");
    client->finish();
    EXPECT_EQ(body_of(client->rest()), "a 1\n");
  }
}

TEST_F(HttpTest, EndsWithConnectionsOpen) {
  start();
  const HttpClient half(port_);
  half.say("GET /metrics HTTP/1.1\r\n");
  EXPECT_EQ(scrape(port_), "a 1\n");
  server_.reset();
  EXPECT_EQ(half.rest(), "");
}

TEST(Http, AFailureInsideIsNoAnswerButTheNextOneMayBe) {
  int n = 0;
  const auto server = HttpServer::start("127.0.0.1", 0, [&] { return ++n == 1 ? throw std::runtime_error("ours") : std::string("a 1\n"); });
  ASSERT_TRUE(server);
  EXPECT_TRUE(asked((*server)->port(), "GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 500 "));
  EXPECT_EQ(scrape((*server)->port()), "a 1\n");
}

TEST(Http, AnAddressThatIsTakenIsNamed) {
  const auto first = HttpServer::start("127.0.0.1", 0, [] { return std::string(); });
  ASSERT_TRUE(first);
  const auto second = HttpServer::start("127.0.0.1", (*first)->port(), [] { return std::string(); });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().fault, Fault::environment);
  EXPECT_NE(second.error().text().find("127.0.0.1:" + std::to_string((*first)->port())), std::string::npos) << second.error().text();
}

}  // namespace
}  // namespace gatehouse::test
