// Results over https: the target's certificate decides whether anything is told, and what isn't told waits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "server/results/outlets.h"
#include "server/results/webhook.h"
#include "tests/folder.h"
#include "tests/server_results/https_target.h"
#include "tests/server_results/sample.h"
#include "tests/server_tls/certificates.h"

namespace gatehouse::server {
namespace {

using test::Authority;
using test::Folder;
using test::HttpsTarget;
using test::until;
using testing::HasSubstr;
using namespace std::chrono_literals;

class WebhookTls : public testing::Test {
 protected:
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
  std::unique_ptr<Webhook> open(const std::string& url, const std::string& ca) {
    WebhookOptions o;
    o.url = url;
    o.place = folder_ / "place";
    o.key = Secret(std::string("a key of the signature"));
    o.ca = ca;
    o.first_pause = 1ms;
    o.longest_pause = 5ms;
    auto hook = Webhook::open(std::move(o), {.results = [this](std::uint64_t from, std::size_t) -> Result<AuditResults> {
                                               AuditResults out{.log = std::string(32, 'a'), .size = size_, .results = {}, .next = size_};
                                               for (std::uint64_t n = from; n < out.size; ++n) out.results.push_back({n, "s-" + std::to_string(n)});
                                               return out;
                                             },
                                             .body = [](const std::string& session) -> Result<std::optional<std::string>> { return "body of " + session; }});
    EXPECT_TRUE(hook) << hook.error().text();
    return std::move(*hook);
  }
  void add(Webhook& hook) {
    ++size_;
    hook.wake();
  }
  std::string path(const std::string& name) const { return folder_ / name; }
  HttpsTarget::Wanted with(const std::string& name) const { return {.certificate = path(name) + ".pem", .key = path(name) + ".key"}; }
  // What the log says of a target that isn't told anything.
  std::string refusal(const HttpsTarget::Wanted& wanted, const std::string& ca) {
    testing::internal::CaptureStderr();
    {
      HttpsTarget target(wanted);
      const auto hook = open(target.url(), ca);
      add(*hook);
      // It is tried again, and waits.
      until([&] { return hook->counts().failed >= 2; });
      EXPECT_EQ(hook->counts().delivered, 0U);
      EXPECT_EQ(hook->counts().left_out, 0U);
      EXPECT_EQ(hook->counts().waiting, 1U);
      EXPECT_EQ(target.requests(0).size(), 0U) << "nothing was said to it";
      EXPECT_GE(target.failed_handshakes(1), 1U);
    }
    std::string said = testing::internal::GetCapturedStderr();
    std::filesystem::remove(path("place"));
    size_ = 0;
    return said;
  }

  Folder folder_;
  Authority authority_{folder_ / "", "soc CA"}, stranger_{folder_ / "", "another CA"};
  std::atomic<std::uint64_t> size_{0};
};

TEST_F(WebhookTls, PostsToATargetWhoseCertificateIsOfTheNamedAuthority) {
  authority_.issue("soc", {.purpose = "serverAuth"});
  HttpsTarget target(with("soc"));
  const auto hook = open(target.url(), authority_.certificate());
  add(*hook);
  add(*hook);
  const auto requests = target.requests(2);
  EXPECT_TRUE(requests[0].head.starts_with("POST /results HTTP/1.1\r\n")) << requests[0].head;
  EXPECT_EQ(requests[0].field("Gatehouse-Session"), "s-0");
  EXPECT_EQ(requests[0].body, "body of s-0");
  EXPECT_EQ(requests[0].field("Gatehouse-Signature"), webhook_signature(Secret(std::string("a key of the signature")), requests[0].body));
  EXPECT_EQ(requests[1].field("Gatehouse-Session"), "s-1");
  EXPECT_EQ(target.version(), "TLSv1.3");
  until([&] { return hook->counts().delivered == 2; });
}

TEST_F(WebhookTls, SpeaksTls12WithATargetThatKnowsNoNewerOneAndNothingBelow) {
  authority_.issue("soc", {.purpose = "serverAuth"});
  HttpsTarget::Wanted wanted = with("soc");
  wanted.newest = TLS1_2_VERSION;
  {
    HttpsTarget target(wanted);
    const auto hook = open(target.url(), authority_.certificate());
    add(*hook);
    EXPECT_EQ(target.requests(1).size(), 1U);
    EXPECT_EQ(target.version(), "TLSv1.2");
  }
  std::filesystem::remove(path("place"));
  size_ = 0;
  wanted.newest = TLS1_1_VERSION;
  EXPECT_THAT(refusal(wanted, authority_.certificate()), HasSubstr("protocol"));
}

TEST_F(WebhookTls, TellsNothingToATargetWhoseCertificateDoesntCount) {
  authority_.issue("soc", {.purpose = "serverAuth"});
  stranger_.issue("stranger", {.purpose = "serverAuth"});
  authority_.issue("old", {.purpose = "serverAuth", .from_days = -3, .to_days = -1});
  authority_.issue("client", {.purpose = "clientAuth"});
  // The log says which target, and why.
  const std::string strange = refusal(with("stranger"), authority_.certificate());
  EXPECT_THAT(strange, HasSubstr("webhook https://127.0.0.1:"));
  EXPECT_THAT(strange, HasSubstr("unable to get local issuer certificate"));
  EXPECT_THAT(strange, HasSubstr("results wait"));
  EXPECT_THAT(refusal(with("old"), authority_.certificate()), HasSubstr("certificate has expired"));
  EXPECT_THAT(refusal(with("client"), authority_.certificate()), HasSubstr("certificate"));
  HttpsTarget::Wanted elsewhere = with("soc");
  elsewhere.address = "127.0.0.2";
  EXPECT_THAT(refusal(elsewhere, authority_.certificate()), HasSubstr("no alternative certificate subject name matches target host name '127.0.0.2'"));
  // Without an authority of its own it is the system's, which don't know this one.
  EXPECT_THAT(refusal(with("soc"), ""), HasSubstr("certificate"));
}

TEST_F(WebhookTls, WhatWaitedIsToldOnceTheTargetHasItsOwnCertificateAgain) {
  authority_.issue("soc", {.purpose = "serverAuth"});
  stranger_.issue("stranger", {.purpose = "serverAuth"});
  std::uint16_t port = 0;
  std::unique_ptr<Webhook> hook;
  {
    HttpsTarget wrong(with("stranger"));
    port = wrong.port();
    hook = open(wrong.url(), authority_.certificate());
    add(*hook);
    add(*hook);
    until([&] { return hook->counts().failed >= 1; });
  }
  HttpsTarget::Wanted wanted = with("soc");
  wanted.port = port;
  HttpsTarget right(wanted);
  const auto requests = right.requests(2);
  EXPECT_EQ(requests[0].field("Gatehouse-Session"), "s-0");
  EXPECT_EQ(requests[1].field("Gatehouse-Session"), "s-1");
  until([&] { return hook->counts().delivered == 2 && hook->counts().waiting == 0; });
}

// Before the server starts, and not when the first result doesn't arrive.
TEST_F(WebhookTls, AFileOfAuthoritiesWithoutACertificateIsAMistake) {
  std::ofstream(path("empty.pem")) << "nothing\n";
  ResultsConfig config;
  WebhookConfig hook;
  hook.url = "https://soc.example.org/";
  hook.ca = path("empty.pem");
  config.webhooks = {hook};
  const auto checked = Outlets::check(config, {});
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().text(), HasSubstr("empty.pem"));
  config.webhooks[0].ca = authority_.certificate();
  EXPECT_TRUE(Outlets::check(config, {}));
}

}  // namespace
}  // namespace gatehouse::server
