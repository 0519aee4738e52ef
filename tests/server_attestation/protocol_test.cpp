// PTS errors in both directions, second offers, and what the handshake makes of a client's choices (spec part 2 §1.2-§1.7,
// §1.15).
#include <gtest/gtest.h>

#include "base/hex.h"
#include "tests/server_attestation/hand_client.h"

namespace gatehouse::test {
namespace {

namespace pt = pts::type;

class Handshake : public testing::Test {
 protected:
  Handshake() : machine_(machine()) { world_.enrol(machine_.tpm->ak(), machine_.tpm->ak().key_id()); }
  HandOutcome attest() { return hold(world_, machine_, options_); }
  // Answers requests of one type `times` times with an error, then as usual.
  void answer_with(std::uint32_t type, std::function<void(Writer&)> error, int times = 1) {
    options_.answer = [=, left = times](const Pts& asked) mutable -> std::optional<Said> {
      if (!asked.is(tcg, type) || left == 0) return std::nullopt;
      --left;
      Writer w;
      error(w);
      return Said{pts_error(std::move(w))};
    };
  }
  static std::vector<std::string> values(const HandOutcome& out, std::uint32_t type) {
    std::vector<std::string> all;
    for (const Said& batch : out.heard)
      for (const Pts& a : batch)
        if (a.is(tcg, type)) all.push_back(to_hex(a.value));
    return all;
  }

  World world_;
  Machine machine_;
  HandOptions options_;
};

TEST_F(Handshake, OffersAnotherAlgorithmOnce) {
  world_.settings.banks = {HashAlgorithm::sha256, HashAlgorithm::sha384};
  const auto only_256 = [](Writer& w) { pts::append_set_error(w, pts::error::hash_algorithm_not_supported, 0xC000); };
  answer_with(pt::algorithm_request, only_256);
  HandOutcome out = attest();
  EXPECT_EQ(values(out, pt::algorithm_request), (std::vector<std::string>{"00006000", "00004000"}));
  EXPECT_EQ(out.verdict->quote.status, pipeline::Status::ok);

  answer_with(pt::algorithm_request, only_256, 2);
  out = attest();
  EXPECT_EQ(values(out, pt::algorithm_request).size(), 2U);
  EXPECT_EQ(out.item("TPMRA")->evaluation, pipeline::Evaluation::error);

  answer_with(pt::algorithm_request, [](Writer& w) { pts::append_set_error(w, pts::error::hash_algorithm_not_supported, 0x8000); });
  out = attest();
  EXPECT_EQ(values(out, pt::algorithm_request).size(), 1U) << "SHA-1 is in no setting";
  EXPECT_NE(out.item("TPMRA")->result.find("Hash Algorithm Not Supported"), std::string::npos);
}

TEST_F(Handshake, OffersAnotherGroupOnce) {
  const auto only_384 = [](Writer& w) { pts::append_set_error(w, pts::error::dh_group_not_supported, 0x8800); };
  answer_with(pt::dh_nonce_request, only_384);
  HandOutcome out = attest();
  EXPECT_EQ(values(out, pt::dh_nonce_request), (std::vector<std::string>{"00143800", "00140800"}));
  EXPECT_EQ(out.verdict->quote.status, pipeline::Status::ok);

  answer_with(pt::dh_nonce_request, only_384, 2);
  EXPECT_NE(attest().item("TPMRA")->result.find("D-H Group Not Supported"), std::string::npos);
  answer_with(pt::dh_nonce_request, [](Writer& w) { pts::append_set_error(w, pts::error::dh_group_not_supported, 0xC000); });
  out = attest();
  EXPECT_EQ(values(out, pt::dh_nonce_request).size(), 1U) << "small MODP groups are in no default";
}

TEST_F(Handshake, SmallGroupsWorkWhereTheyAreConfigured) {
  for (const std::uint16_t group : {pts::group_modp1024, pts::group_modp1536, pts::group_modp2048}) {
    world_.settings.dh_groups = group;
    EXPECT_EQ(attest().verdict->quote.status, pipeline::Status::ok) << group;
  }
}

TEST_F(Handshake, EveryPtsErrorIsNamedAndAllButOneEndTheAttestation) {
  for (std::uint32_t code = 0; code <= 17; ++code) {
    if (code == 2 || code == 3 || code == 10) continue;  // about files
    answer_with(pt::get_tpm_version, [&](Writer& w) {
      w.put(std::uint8_t{0});
      w.put24(tcg);
      w.put(code);
      w.put(std::uint32_t{0xF000});
    });
    const HandOutcome out = attest();
    const std::string named = "PTS error '" + std::string(pts::error_name(code)) + "' (" + std::to_string(code) + ")";
    EXPECT_TRUE(out.logged(named)) << named;
    ASSERT_NE(out.item("TPMRA"), nullptr);
    if (code == pts::error::tpm_version_unavailable) {
      EXPECT_EQ(out.verdict->quote.status, pipeline::Status::ok);
    } else {
      EXPECT_EQ(out.item("TPMRA")->evaluation, pipeline::Evaluation::error) << code;
      EXPECT_NE(out.item("TPMRA")->result.find(named), std::string::npos) << out.item("TPMRA")->result;
      EXPECT_EQ(out.recommendation, 3);
    }
  }
}

struct BadNonce {
  const char* what;
  std::uint16_t group, hashes;
  std::size_t nonce;
  std::uint32_t code;
  const char* information;
};

TEST_F(Handshake, TheEndpointIsToldWhatWasWrongWithItsNonce) {
  const BadNonce all[] = {
      {"nonce too short", pts::group_ecp256, 0x4000, 19, pts::error::nonce_not_acceptable, "0014ffff"},
      {"a group that wasn't offered", pts::group_modp1024, 0x4000, 20, pts::error::dh_group_not_supported, "00003800"},
      {"two groups", pts::group_ecp256 | pts::group_ecp384, 0x4000, 20, pts::error::dh_group_not_supported, "00003800"},
      {"no hash that we take", pts::group_ecp256, 0x8000, 20, pts::error::hash_algorithm_not_supported, "00007000"},
  };
  for (const BadNonce& bad : all) {
    options_.answer = [&](const Pts& asked) -> std::optional<Said> {
      if (!asked.is(tcg, pt::dh_nonce_request)) return std::nullopt;
      Writer w;
      const auto key = *KeyAgreement::generate(DhGroup::ecp256);
      pts::append_dh_nonce_response(w, {bad.group, bad.hashes, random_bytes(bad.nonce), key.public_value()});
      return Said{{tcg, pt::dh_nonce_response, std::move(w).take()}};
    };
    const HandOutcome out = attest();
    ASSERT_EQ(out.errors.size(), 1U) << bad.what;
    EXPECT_EQ(out.errors[0].vendor, tcg) << bad.what;
    EXPECT_EQ(out.errors[0].code, bad.code) << bad.what;
    EXPECT_EQ(to_hex(out.errors[0].information), bad.information) << bad.what;
    EXPECT_EQ(out.item("TPMRA")->evaluation, pipeline::Evaluation::error) << bad.what;
    EXPECT_FALSE(out.asked(tcg, pt::generate_evidence)) << bad.what;
  }
}

TEST_F(Handshake, AnAlgorithmThatWasNotOfferedIsRefusedWithTheOffer) {
  for (const int set : {0x2000, 0x6000, 0x0000}) {
    options_.answer = [&](const Pts& asked) -> std::optional<Said> {
      if (!asked.is(tcg, pt::algorithm_request)) return std::nullopt;
      Writer w;
      pts::append_algorithms(w, std::uint16_t(set));
      return Said{{tcg, pt::algorithm, std::move(w).take()}};
    };
    const HandOutcome out = attest();
    ASSERT_EQ(out.errors.size(), 1U);
    EXPECT_EQ(out.errors[0].code, pts::error::hash_algorithm_not_supported);
    EXPECT_EQ(to_hex(out.errors[0].information), "00004000");
    EXPECT_EQ(out.item("TPMRA")->evaluation, pipeline::Evaluation::error);
  }
}

TEST_F(Handshake, ALongerNonceIsDemandedByConfiguration) {
  world_.settings.minimum_nonce = 32;
  const HandOutcome out = attest();
  EXPECT_EQ(values(out, pt::dh_nonce_request), std::vector<std::string>{"00203800"});
  ASSERT_EQ(out.errors.size(), 1U);
  EXPECT_EQ(to_hex(out.errors[0].information), "0020ffff");
}

TEST_F(Handshake, TheTpmsVendorIsLoggedWithoutItsPadding) {
  EXPECT_TRUE(attest().logged("TPM 2.0 revision 1.64, 2021, vendor IBM, startup locality 3"));
}

}  // namespace
}  // namespace gatehouse::test
