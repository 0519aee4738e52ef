// The status of an AK's certificate: asked for before evidence is, and its key counts for nothing where the answer isn't good.
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/server_session/conversation.h"
#include "tests/server_tls/certificates.h"

namespace gatehouse::test {
namespace {

class AkStatus : public testing::Test {
 protected:
  AkStatus() {
    world_.enrol(machine_.tpm->ak(), device());
    converse(world_, machine_);
    world_.approve(device());
    authority_.issue_for("ak", machine_.tpm->ak().pem(), {.purpose = "2.23.133.8.3", .from_days = -4'000, .to_days = 4'000});
    const auto pem = read_file(world_.folder.string() + "/ak.pem", 1 << 20);
    options_.aik_certificate = Certificate::from_pem(as_text(*pem))->der();
    options_.begin = [this](LoopHost& host, const server::Session&) {
      host.status = [this](const Certificate& certificate, const Certificate& issuer) {
        asked_.push_back(certificate.subject() + " of " + issuer.subject());
        return says_;
      };
    };
    world_.settings.ak_authorities = std::make_shared<const TrustAnchors>(*TrustAnchors::load(authority_.certificate()));
    world_.settings.ak_status = true;
  }
  std::string device() const { return machine_.tpm->ak().key_id(); }

  World world_;
  Machine machine_ = machine();
  Authority authority_{world_.folder.string(), "test CA", 4'000};
  ClientOptions options_;
  Result<void> says_{};
  std::vector<std::string> asked_;
};

TEST_F(AkStatus, AGoodOneGoesOn) {
  const Outcome out = converse(world_, machine_, options_);
  ASSERT_TRUE(out.verdict) << out.error;
  EXPECT_EQ(out.verdict->recommendation, pipeline::Recommendation::allow);
  EXPECT_EQ(asked_, std::vector<std::string>{"CN=ak of CN=test CA"});
}

TEST_F(AkStatus, WhatIsRevokedOrNotKnownIsNeverAllowed) {
  for (const auto& [fault, why] : {std::pair{Fault::denied, "certificate was revoked"}, {Fault::environment, "the OCSP responder doesn't answer"}}) {
    says_ = fail(Error{fault, why, "RFC 6960", 0, {}, {}});
    const Outcome out = converse(world_, machine_, options_);
    ASSERT_TRUE(out.verdict) << out.error;
    EXPECT_NE(out.verdict->recommendation, pipeline::Recommendation::allow);
    EXPECT_NE(pipeline::to_json(*out.verdict).find(why), std::string::npos) << pipeline::to_json(*out.verdict);
    ASSERT_TRUE(out.answer);
    EXPECT_NE(out.answer->recommendation, endpoint::Recommendation::allow);
  }
  EXPECT_EQ(asked_.size(), 2U);
}

TEST_F(AkStatus, NobodyIsAskedWhereThatIsntWantedOrNothingIsToBeAskedOf) {
  world_.settings.ak_status = false;
  EXPECT_EQ(converse(world_, machine_, options_).verdict->recommendation, pipeline::Recommendation::allow);
  world_.settings.ak_status = true;
  ClientOptions bare = options_;
  bare.aik_certificate.clear();
  EXPECT_EQ(converse(world_, machine_, bare).verdict->recommendation, pipeline::Recommendation::allow);
  EXPECT_TRUE(asked_.empty());
}

}  // namespace
}  // namespace gatehouse::test
