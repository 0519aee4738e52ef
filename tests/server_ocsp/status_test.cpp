// The status of certificates, asked of OpenSSL's responder and of responders that misbehave.
#include "server/ocsp/status.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "tests/folder.h"
#include "tests/server_ocsp/responder.h"
#include "tests/server_ocsp/saying.h"

namespace gatehouse::test {
namespace {

using server::CertificateStatus;
using server::StatusOptions;

class Status : public testing::Test {
 protected:
  Status() {
    for (const char* const name : {"good", "gone", "strange"}) authority_.issue(name);
  }
  std::string path(const std::string& name) const { return (folder_ / name) + ".pem"; }
  std::unique_ptr<CertificateStatus> start(StatusOptions options = {}) const {
    auto started = CertificateStatus::start(std::move(options));
    EXPECT_TRUE(started);
    return *std::move(started);
  }
  std::future<Result<void>> asked(CertificateStatus& status, const std::string& name, const std::string& url) const {
    auto done = std::make_shared<std::promise<Result<void>>>();
    auto answer = done->get_future();
    status.ask({certificate_in(path(name)), certificate_in(authority_.certificate()), url}, [done](Result<void> said) { done->set_value(std::move(said)); });
    return answer;
  }
  std::string said(CertificateStatus& status, const std::string& name, const std::string& url) const {
    const Result<void> answer = asked(status, name, url).get();
    return answer ? "good" : std::string(answer.error().reason);
  }

  Folder folder_;
  Authority authority_{folder_ / ""};
};

TEST_F(Status, IsWhatTheResponderSaysAndIsKept) {
  Responder responder(authority_, folder_ / "index.txt", {path("good")}, {path("gone")});
  const auto status = start();
  EXPECT_EQ(said(*status, "good", responder.url()), "good");
  EXPECT_EQ(said(*status, "gone", responder.url()), "certificate was revoked");
  EXPECT_EQ(said(*status, "strange", responder.url()), "the OCSP responder doesn't know the certificate");
  EXPECT_EQ(status->counts().fetched, 3U);
  // The responder is gone, what it said still counts; what it wasn't asked for isn't known.
  const std::string url = responder.url();
  responder.stop();
  EXPECT_EQ(said(*status, "good", url), "good");
  EXPECT_EQ(said(*status, "gone", url), "certificate was revoked");
  authority_.issue("new");
  EXPECT_EQ(said(*status, "new", url), "the OCSP responder doesn't answer");
  const auto counts = status->counts();
  EXPECT_EQ(counts.good, 2U);
  EXPECT_EQ(counts.revoked, 2U);
  EXPECT_EQ(counts.silent, 1U);
}

TEST_F(Status, IsAskedAnewBeforeItEndsAndEndsWithItsTime) {
  std::atomic<std::int64_t> clock{::time(nullptr)};
  Responder responder(authority_, folder_ / "index.txt", {path("good")}, {});
  const auto status = start({.now = [&] { return clock.load(); }});
  EXPECT_EQ(said(*status, "good", responder.url()), "good");
  EXPECT_EQ(status->counts().fetched, 1U);
  // Three quarters of its hour are over: it counts still, and is fetched meanwhile.
  clock += 50 * 60;
  EXPECT_EQ(said(*status, "good", responder.url()), "good");
  EXPECT_EQ(said(*status, "good", responder.url()), "good");
  while (status->counts().fetched < 2) std::this_thread::yield();
  const std::string url = responder.url();
  responder.stop();
  clock += 11 * 60;
  EXPECT_EQ(said(*status, "good", url), "the OCSP responder doesn't answer") << "its time is over, and nobody renewed it";
}

TEST_F(Status, WhatCantBeMadeAnewIsSaidBeforeItEnds) {
  std::atomic<std::int64_t> clock{::time(nullptr)};
  std::optional<Responder> responder(std::in_place, authority_, folder_ / "index.txt", std::vector{path("good")}, std::vector<std::string>());
  const std::string url = responder->url();
  const auto status = start({.now = [&] { return clock.load(); }});
  EXPECT_EQ(said(*status, "good", url), "good");
  EXPECT_FALSE(status->unrenewed());
  responder->stop();
  clock += 50 * 60;
  EXPECT_EQ(said(*status, "good", url), "good");
  std::optional<server::UnrenewedAnswers> old;
  while (!(old = status->unrenewed())) std::this_thread::yield();
  EXPECT_EQ(old->count, 1U);
  EXPECT_GT(old->first_end, clock.load());
  EXPECT_LE(old->first_end, clock.load() + 10 * 60);
  // Once it has ended there is nothing to be saved any more.
  clock += 11 * 60;
  EXPECT_FALSE(status->unrenewed());
}

TEST_F(Status, SilenceIsWhatTheOperatorSaysItIs) {
  Saying silent("");
  StatusOptions hard{.limit = std::chrono::milliseconds(200)}, soft{.limit = std::chrono::milliseconds(200), .silence_is_good = true};
  EXPECT_EQ(said(*start(hard), "good", silent.url()), "the OCSP responder doesn't answer");
  const auto lenient = start(soft);
  EXPECT_EQ(said(*lenient, "good", silent.url()), "good");
  EXPECT_EQ(lenient->counts().silent, 1U);
  // What is known to be revoked isn't forgiven.
  Responder responder(authority_, folder_ / "index.txt", {}, {path("gone")});
  EXPECT_EQ(said(*lenient, "gone", responder.url()), "certificate was revoked");
  // A certificate that names no responder.
  EXPECT_EQ(said(*start(hard), "good", ""), "the certificate names no OCSP responder");
  EXPECT_EQ(said(*start(soft), "good", ""), "good");
}

TEST_F(Status, WhatIsNoAnswerIsSilence) {
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nConnection: close\r\n";
  for (const std::string& what : {std::string("nonsense"), std::string("HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n"), head + "Content-Length: 5\r\n\r\nhello",
                                  head + "\r\n" + std::string(200'000, 'x'), head + "Content-Length: 100000000\r\n\r\n",
                                  std::string("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")}) {
    Saying responder(what);
    const Result<void> answer = asked(*start({.limit = std::chrono::milliseconds(5'000)}), "good", responder.url()).get();
    ASSERT_FALSE(answer) << what.substr(0, 80);
    EXPECT_EQ(answer.error().fault, Fault::environment) << what.substr(0, 80);
  }
}

TEST_F(Status, ManyWhoAskForOneAreOneQuestion) {
  Saying silent("");
  const auto status = start({.limit = std::chrono::hours(1)});
  std::vector<std::future<Result<void>>> answers;
  for (int i = 0; i < 50; ++i) answers.push_back(asked(*status, "good", silent.url()));
  while (silent.connections == 0) std::this_thread::yield();
  status->stop();
  for (auto& one : answers) EXPECT_EQ(one.get().error().reason, "the server stops");
  EXPECT_EQ(status->counts().fetched, 1U);
}

TEST_F(Status, AResponderThatDoesntAnswerIsLeftAlone) {
  std::string nobody;
  {
    Saying gone("");
    nobody = gone.url();
  }
  const auto status = start({.pause = std::chrono::hours(1)});
  for (const char* const name : {"good", "gone", "strange", "good", "gone"}) EXPECT_EQ(said(*status, name, nobody), "the OCSP responder doesn't answer");
  EXPECT_EQ(status->counts().fetched, 3U) << "nobody waits for it again so soon";
  // Another responder isn't meant by that.
  Responder responder(authority_, folder_ / "index.txt", {path("good")}, {});
  EXPECT_EQ(said(*status, "good", responder.url()), "good");
}

TEST_F(Status, QuestionsAreBoundedAndTheEndTellsThoseWhoWait) {
  Saying silent("");
  auto status = start({.limit = std::chrono::hours(1), .max_questions = 2});
  auto first = asked(*status, "good", silent.url()), second = asked(*status, "gone", silent.url());
  EXPECT_EQ(said(*status, "strange", silent.url()), "too many certificates wait for their OCSP responder");
  status->stop();
  EXPECT_EQ(first.get().error().reason, "the server stops");
  EXPECT_EQ(second.get().error().reason, "the server stops");
  EXPECT_EQ(said(*status, "good", silent.url()), "the server stops");
}

}  // namespace
}  // namespace gatehouse::test
