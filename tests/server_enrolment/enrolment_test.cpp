// Enrolment by credential activation against the session core and the real state store: the whole exchange, and one test
// for each kind of bad input.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/hex.h"
#include "tests/endpoint_tpm/ek_ca.h"
#include "tests/endpoint_tpm/software_ek.h"
#include "tests/server_session/client_batches.h"
#include "wire/enrolment/enrolment.h"

namespace gatehouse::test {
namespace {

using enrolment::Code;
using endpoint::KeyAlgorithm;
using endpoint::SigningKey;
using endpoint::test::EkShape;
using endpoint::test::SoftwareEk;
using server::DeviceState;
using server::KeyState;
namespace kind = enrolment::type;
constexpr std::uint32_t vendor = pts::raw::default_vendor;
constexpr std::int64_t hour = 3'600'000;

struct Said {
  std::optional<Code> code;
  std::string device, text;
};

// What an endpoint says; each part may be made wrong before it is sent.
struct Endpoint {
  std::optional<enrolment::Token> token;
  ByteVector ek_public, ak_public, certificate, qualified_name;
  std::vector<ByteVector> chain;
  const SoftwareEk* ek = nullptr;

  ByteVector request() const {
    const ByteVector nonce = random_bytes(32), none(16);
    enrolment::Request r;
    r.token_id = token ? Bytes(token->id) : Bytes(none);
    r.nonce = nonce;
    r.ek_public = ek_public;
    r.ak_public = ak_public;
    r.ak_qualified_name = qualified_name;
    r.ek_certificate = certificate;
    r.chain.assign(chain.begin(), chain.end());
    Writer w;
    enrolment::append_request(w, r);
    return std::move(w).take();
  }
  ByteVector response(Bytes sent, Bytes challenge_value) const {
    Reader r(challenge_value, "test");
    const auto challenge = enrolment::parse_challenge(r);
    if (!challenge) return {};
    const Digest transcript = enrolment::transcript(sent, challenge_value);
    const auto secret = ek->activate(tpm::parse_public(ak_public)->name, challenge->id_object, challenge->encrypted_secret);
    const Digest activation = enrolment::activation_proof(secret ? secret->reveal() : Bytes(sent), transcript);
    const Digest proof = token ? enrolment::token_proof(token->key.reveal(), transcript) : Digest::filled(32, std::byte{0});
    Writer w;
    enrolment::append_response(w, {.activation = activation.view(), .token = proof.view()});
    return std::move(w).take();
  }
};

Pa pa(std::uint32_t type, Bytes value, std::uint16_t collector = 6) { return Pa(vendor, enrolment::subtype, collector).add(vendor, type, value); }

class Enrolment : public ::testing::Test {
 protected:
  Enrolment() {
    // Both see one clock, and the test sets it.
    world.state.reset();
    world.state = *server::State::open({.path = world.folder / "clocked", .create = true, .now = [this] { return clock; }});
    ca.write(world.folder / "ek-ca.pem");
    world.settings.ek_authorities = std::make_shared<const TrustAnchors>(*TrustAnchors::load(world.folder / "ek-ca.pem"));
    endpoint.ek = &ek;
    endpoint.ek_public = ek.public_area();
    endpoint.ak_public = ak->public_area();
    endpoint.certificate = ca.issue(ek.native());
  }
  enrolment::Token open(const std::string& device, const std::function<void(server::EnrolmentOffer&)>& change = {}) {
    enrolment::Token token = enrolment::make_token();
    server::EnrolmentOffer offer;
    offer.id = to_hex(token.id);
    offer.key = to_vector(token.key.reveal());
    offer.device = device;
    offer.until = clock + hour;
    if (change) change(offer);
    const auto opened = world.state->open_enrolment_blocking(offer, {.by = "alice", .why = "ticket 4711"});
    EXPECT_TRUE(opened) << opened.error().text();
    return token;
  }
  static Said outcome(const Answer& answer) {
    const ServerAttribute* const a = answer.attribute(vendor, kind::outcome);
    if (a == nullptr) return {};
    Reader r(a->value, "test");
    const auto v = enrolment::parse_outcome(r);
    if (!v) return {};
    return {v->code, std::string(v->device), std::string(v->text)};
  }
  // The whole exchange. `change`: the response before it is sent.
  Said enrol(const Endpoint& from, const std::function<void(ByteVector&)>& change = {}) {
    ByHand client(world);
    client.host.status = status;
    const ByteVector request = from.request();
    Answer answer = client.say({pa(kind::request, request)});
    if (const Said said = outcome(answer); said.code) return said;
    const ServerAttribute* const challenge = answer.attribute(vendor, kind::challenge);
    if (challenge == nullptr) return {};
    ByteVector response = from.response(request, challenge->value);
    if (change) change(response);
    answer = client.say({pa(kind::response, response)});
    const Said said = outcome(answer);
    const Answer end = client.until_result(answer);
    EXPECT_EQ(end.type, pbtnc::BatchType::result);
    EXPECT_NE(end.access, 1) << "an enrolment admits nobody";
    return said;
  }
  server::DeviceKey key_of(const std::string& device, const PublicKey& key) {
    const auto found = world.state->device(device);
    if (found && *found)
      for (const server::DeviceKey& one : (*found)->keys)
        if (one.pin == key.pin()) return one;
    ADD_FAILURE() << "the device has no such key";
    return {};
  }
  std::optional<server::Device> device(const std::string& id) { return *world.state->device(id); }

  std::int64_t clock = 1'796'000'000'000;  // as the sessions' is, to some milliseconds
  World world;
  EkCa ca;
  SoftwareEk ek{"P-256"};
  std::shared_ptr<const SigningKey> ak = *SigningKey::generate(KeyAlgorithm::ecc);
  Endpoint endpoint;
  std::function<Result<void>(const Certificate&, const Certificate&)> status;  // what a responder says
};

TEST_F(Enrolment, AnExpectedTpmWithACertificateBecomesATrustedDevice) {
  endpoint.token = open("laptop-17", [](auto& offer) { offer.product = "Debian 12 x86_64"; offer.model = "T14"; });
  endpoint.qualified_name = tpm::parse_public(endpoint.ak_public)->name;
  const Said said = enrol(endpoint);
  EXPECT_EQ(said.code, Code::enrolled) << said.text;
  EXPECT_EQ(said.device, "laptop-17");
  const auto made = device("laptop-17");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->state, DeviceState::trusted);
  EXPECT_EQ(made->product, "Debian 12 x86_64");
  EXPECT_EQ(made->model, "T14");
  const server::DeviceKey key = key_of("laptop-17", ak->key());
  EXPECT_EQ(key.state, KeyState::trusted);
  EXPECT_EQ(name(key.source), "activation");
  EXPECT_EQ(key.object_attributes.value_or(0) & 0x00050032U, 0x00050032U);
  EXPECT_EQ(key.qualified_name, endpoint.qualified_name) << "Q10 is judged by it";
  EXPECT_EQ(world.state->judge_key("laptop-17", ak->key()).standing, server::KeyStanding::trusted);
  const auto bound = *world.state->endorsement("laptop-17");
  ASSERT_TRUE(bound);
  EXPECT_EQ(bound->pin, ek.key().pin());
  EXPECT_EQ(bound->manufacturer, "id:49424D00");
  EXPECT_EQ(bound->model, "test TPM");
  EXPECT_EQ(bound->issuer, "CN=TPM manufacturer");
  const auto history = *world.state->history("laptop-17", 10);
  ASSERT_EQ(history.size(), 1U);
  EXPECT_EQ(history[0].why, "enrolment opened by alice: ticket 4711");
  EXPECT_TRUE(history[0].by.starts_with("session ")) << history[0].by;
  EXPECT_NE(history[0].what.find("AK " + ak->key().key_id() + " trusted by credential activation"), std::string::npos) << history[0].what;
}

TEST_F(Enrolment, EveryKindOfKeyIsEnrolledAndADeviceMayBeNamedByItsAk) {
  for (const char* const of : {"RSA2048", "P-384"}) {
    const SoftwareEk other(of, std::string(of) == "P-384" ? EkShape{.name_algorithm = HashAlgorithm::sha384, .aes_bits = 256} : EkShape{});
    const auto key = *SigningKey::generate(KeyAlgorithm::rsapss);
    Endpoint one;
    one.token = open("");
    one.ek = &other;
    one.ek_public = other.public_area();
    one.ak_public = key->public_area();
    one.certificate = ca.issue(other.native());
    const Said said = enrol(one);
    EXPECT_EQ(said.code, Code::enrolled) << of << ": " << said.text;
    EXPECT_EQ(said.device, key->key().key_id());
    EXPECT_EQ(device(said.device)->state, DeviceState::trusted);
  }
}

TEST_F(Enrolment, ATokenIsUsedOnce) {
  endpoint.token = open("laptop-17");
  EXPECT_EQ(enrol(endpoint).code, Code::enrolled);
  const Said again = enrol(endpoint);
  EXPECT_EQ(again.code, Code::not_expected);
  EXPECT_EQ(again.text, "no enrolment is open for this endpoint");
}

TEST_F(Enrolment, OfTwoThatAnswerByOneTokenOneIsEnrolled) {
  const SoftwareEk second_ek("P-256");
  const auto second_ak = *SigningKey::generate(KeyAlgorithm::ecc);
  endpoint.token = open("laptop-17");
  Endpoint second;
  second.token = enrolment::parse_token(endpoint.token->text).value();
  second.ek = &second_ek;
  second.ek_public = second_ek.public_area();
  second.ak_public = second_ak->public_area();
  second.certificate = ca.issue(second_ek.native());
  // Both are challenged before either answers.
  ByHand a(world), b(world);
  const ByteVector first_request = endpoint.request(), second_request = second.request();
  const Answer to_first = a.say({pa(kind::request, first_request)}), to_second = b.say({pa(kind::request, second_request)});
  ASSERT_NE(to_first.attribute(vendor, kind::challenge), nullptr);
  ASSERT_NE(to_second.attribute(vendor, kind::challenge), nullptr);
  EXPECT_EQ(outcome(b.say({pa(kind::response, second.response(second_request, to_second.attribute(vendor, kind::challenge)->value))})).code, Code::enrolled);
  const Said late = outcome(a.say({pa(kind::response, endpoint.response(first_request, to_first.attribute(vendor, kind::challenge)->value))}));
  EXPECT_NE(late.code, Code::enrolled);
  EXPECT_EQ(late.text, "no enrolment is open for this token");
  EXPECT_EQ(device("laptop-17")->keys.size(), 1U);
  EXPECT_EQ(key_of("laptop-17", second_ak->key()).state, KeyState::trusted);
}

TEST_F(Enrolment, NobodyIsEnrolledWhomNobodyExpects) {
  EXPECT_EQ(enrol(endpoint).code, Code::not_expected) << "without a token, of an unknown TPM";
  endpoint.token = enrolment::make_token();
  EXPECT_EQ(enrol(endpoint).code, Code::not_expected) << "a token that nobody gave out";
  endpoint.token = open("laptop-17");
  clock += hour + 1;  // the session's clock stands at the time before
  const Said late = enrol(endpoint);
  EXPECT_NE(late.code, Code::enrolled);
  EXPECT_EQ(late.text, "no enrolment is open for this token") << "the store looks again when it writes";
  clock = 1'796'000'000'000;
  endpoint.token = open("laptop-17", [](auto& offer) { offer.identity = "CN=another"; });
  EXPECT_EQ(enrol(endpoint).code, Code::not_expected) << "an enrolment of another identity";
  const auto id = to_hex(open("laptop-18").id);
  EXPECT_TRUE(world.state->close_enrolment_blocking(id));
  EXPECT_FALSE(world.state->close_enrolment_blocking(id));
  EXPECT_FALSE(device("laptop-17"));
}

TEST_F(Enrolment, AnotherEnrolmentOfADeviceTakesThePlaceOfTheOneBefore) {
  endpoint.token = open("laptop-17");
  auto newer = open("laptop-17");
  EXPECT_EQ(enrol(endpoint).code, Code::not_expected);
  endpoint.token = std::move(newer);
  EXPECT_EQ(enrol(endpoint).code, Code::enrolled);
}

TEST_F(Enrolment, ACertificateThatDoesntCountEnrolsNobody) {
  const EkCa stranger("TPM manufacturer");
  const SoftwareEk other("P-256");
  const std::int64_t now = clock / 1000;
  struct Row {
    const char* why;
    ByteVector certificate;
    Code code;
  };
  const Row rows[] = {
      {"the TPM has no certificate for its EK, and the operator didn't name the EK", {}, Code::certificate},
      {"the certificate is of another key than the EK", ca.issue(other.native()), Code::certificate},
      {"certificate has expired", ca.issue(ek.native(), {.to = now - 1}), Code::certificate},
      {"certificate is not yet valid", ca.issue(ek.native(), {.from = now + 86'400}), Code::certificate},
      {"certificate lacks the extended key usage asked for", ca.issue(ek.native(), {.usage = "2.23.133.8.3"}), Code::certificate},
      {"certificate lacks the extended key usage asked for", ca.issue(ek.native(), {.usage = ""}), Code::certificate},
      {"not an X.509 certificate", random_bytes(200), Code::certificate},
  };
  for (const Row& row : rows) {
    endpoint.token = open("laptop-17");
    endpoint.certificate = row.certificate;
    const Said said = enrol(endpoint);
    EXPECT_EQ(said.code, row.code) << row.why;
    EXPECT_EQ(said.text, row.why);
  }
  endpoint.token = open("laptop-17");
  endpoint.certificate = stranger.issue(ek.native());
  EXPECT_EQ(enrol(endpoint).code, Code::certificate) << "a CA of the same name that isn't configured";
  endpoint.certificate = ca.issue(ek.native());
  world.settings.ek_authorities = nullptr;
  const Said none = enrol(endpoint);
  EXPECT_EQ(none.text, "the server knows no TPM manufacturers' CAs");
  EXPECT_FALSE(device("laptop-17"));
}

TEST_F(Enrolment, ACertificateWhoseResponderIsAskedEnrolsNobodyUnlessItIsGood) {
  world.settings.ek_status = true;
  Result<void> says{};
  std::vector<std::string> asked;
  const EkCa middle("intermediate", &ca);
  status = [&](const Certificate& certificate, const Certificate& issuer) {
    EXPECT_EQ(certificate.key().pin(), tpm::parse_public(endpoint.ek_public)->key.pin());
    asked.push_back(issuer.subject());
    return says;
  };
  endpoint.certificate = middle.issue(ek.native());
  endpoint.chain = {middle.certificate()};
  for (const auto& [fault, why, code] : {std::tuple{Fault::denied, "certificate was revoked", Code::certificate},
                                         {Fault::denied, "the OCSP responder doesn't know the certificate", Code::certificate},
                                         {Fault::environment, "the OCSP responder doesn't answer", Code::failed}}) {
    says = fail(Error{fault, why, "RFC 6960", 0, {}, {}});
    endpoint.token = open("laptop-17");
    const Said said = enrol(endpoint);
    EXPECT_EQ(said.code, code);
    EXPECT_EQ(said.text, why);
    EXPECT_FALSE(device("laptop-17"));
  }
  // Silence used nothing up.
  says = {};
  EXPECT_EQ(enrol(endpoint).code, Code::enrolled);
  EXPECT_EQ(asked, std::vector<std::string>(4, "CN=intermediate"));
  // Of a certificate that doesn't count nobody is asked, nor where the operator named the EK.
  const EkCa stranger("TPM manufacturer");
  endpoint.chain = {};
  endpoint.token = open("laptop-18");
  endpoint.certificate = stranger.issue(ek.native());
  EXPECT_EQ(enrol(endpoint).code, Code::certificate);
  const SoftwareEk other("P-256");
  endpoint.ek = &other;
  endpoint.ek_public = other.public_area();
  endpoint.certificate = {};
  const auto other_ak = *SigningKey::generate(KeyAlgorithm::ecc);
  endpoint.ak_public = other_ak->public_area();
  endpoint.token = open("laptop-18", [&](server::EnrolmentOffer& offer) { offer.ek = tpm::parse_public(other.public_area())->key.pin(); });
  EXPECT_EQ(enrol(endpoint).code, Code::enrolled);
  EXPECT_EQ(asked.size(), 4U);
}

TEST_F(Enrolment, ACertificateBelowAnIntermediateComesWithItsChain) {
  const EkCa middle("intermediate", &ca);
  endpoint.token = open("laptop-17");
  endpoint.certificate = middle.issue(ek.native());
  EXPECT_EQ(enrol(endpoint).code, Code::certificate);
  endpoint.chain = {random_bytes(50), middle.certificate()};
  EXPECT_EQ(enrol(endpoint).code, Code::enrolled);
}

TEST_F(Enrolment, WithoutACertificateTheOperatorNamesTheEk) {
  endpoint.certificate.clear();
  endpoint.token = open("laptop-17", [&](auto& offer) { offer.ek = SoftwareEk("P-256").key().pin(); });
  const Said other = enrol(endpoint);
  EXPECT_EQ(other.code, Code::not_expected);
  EXPECT_EQ(other.text, "the enrolment is for another TPM");
  endpoint.token = open("laptop-17", [&](auto& offer) { offer.ek = ek.key().pin(); });
  EXPECT_EQ(enrol(endpoint).code, Code::enrolled);
  EXPECT_EQ((*world.state->endorsement("laptop-17"))->certificate, "");
}

TEST_F(Enrolment, KeysThatArentOfTheirKindAreNamed) {
  const auto with = [&](const std::function<void(Endpoint&)>& change) {
    Endpoint one;
    one.ek = &ek;
    one.ek_public = endpoint.ek_public;
    one.ak_public = endpoint.ak_public;
    one.certificate = endpoint.certificate;
    one.token = open("laptop-17");
    change(one);
    const Said said = enrol(one);
    EXPECT_EQ(said.code, Code::key) << said.text;
    return said.text;
  };
  const auto ak_with = [&](std::uint32_t set, std::uint32_t clear) {
    ByteVector area = endpoint.ak_public;
    for (int i = 0; i < 4; ++i) {
      const auto shift = unsigned(24 - 8 * i);
      area[4 + std::size_t(i)] |= std::byte(set >> shift);
      area[4 + std::size_t(i)] &= ~std::byte(clear >> shift);
    }
    return area;
  };
  EXPECT_EQ(with([&](Endpoint& one) { one.ak_public = ak_with(0, tpm::restricted); }), "the AK isn't restricted: it would sign anything");
  EXPECT_EQ(with([&](Endpoint& one) { one.ak_public = ak_with(tpm::decrypt, 0); }), "the AK isn't a signing key with a scheme of its own");
  EXPECT_EQ(with([&](Endpoint& one) { one.ak_public = ak_with(0, tpm::fixed_tpm); }),
            "the AK isn't bound to its TPM (fixedTPM, fixedParent, sensitiveDataOrigin)");
  EXPECT_EQ(with([&](Endpoint& one) { one.ek_public = SoftwareEk("P-256", {.mode = 0x42}).public_area(); }), "the EK's symmetric algorithm isn't AES in CFB mode");
  EXPECT_EQ(with([&](Endpoint& one) { one.ek_public = one.ak_public; }), "the EK isn't a restricted decryption key");
  EXPECT_EQ(with([&](Endpoint& one) { one.qualified_name = random_bytes(34); }), "the AK's qualified name isn't of its name algorithm");
  with([&](Endpoint& one) { one.ak_public.resize(one.ak_public.size() - 1); });
  with([&](Endpoint& one) { one.ek_public = random_bytes(100); });
}

// A key of software has a public area that says whatever its owner likes; what it can't do is open the credential: that
// takes the EK, and a TPM opens it for a key with this name that it holds.
TEST_F(Enrolment, AWrongAnswerEnrolsNobodyAndEndsTheAttempt) {
  const SoftwareEk thief("P-256");
  endpoint.token = open("laptop-17");
  endpoint.ek = &thief;
  const Said stolen = enrol(endpoint);
  EXPECT_EQ(stolen.code, Code::proof);
  EXPECT_EQ(stolen.text, "the TPM didn't activate the credential");
  endpoint.ek = &ek;
  const Said flipped = enrol(endpoint, [](ByteVector& response) { response[4] ^= std::byte{1}; });
  EXPECT_EQ(flipped.code, Code::proof);
  const Said without = enrol(endpoint, [](ByteVector& response) { response.back() ^= std::byte{1}; });
  EXPECT_EQ(without.code, Code::proof);
  EXPECT_EQ(without.text, "the token isn't the one that was given out");
  const Said cut = enrol(endpoint, [](ByteVector& response) { response.pop_back(); });
  EXPECT_EQ(cut.code, Code::protocol);
  EXPECT_FALSE(device("laptop-17"));
  EXPECT_EQ(enrol(endpoint).code, Code::enrolled) << "wrong answers don't use the token up";
}

TEST_F(Enrolment, AnAnswerThatWasHeardBeforeSaysNothing) {
  endpoint.token = open("laptop-17");
  ByteVector heard;
  (void)enrol(endpoint, [&](ByteVector& response) {
    heard = response;
    response[4] ^= std::byte{1};
  });
  EXPECT_EQ(enrol(endpoint, [&](ByteVector& response) { response = heard; }).code, Code::proof);
}

TEST_F(Enrolment, WhatIsntDueEndsTheAttempt) {
  endpoint.token = open("laptop-17");
  const ByteVector request = endpoint.request();
  {
    ByHand client(world);
    const Said said = outcome(client.say({pa(kind::response, ByteVector(68))}));
    EXPECT_EQ(said.code, Code::protocol);
  }
  {
    ByHand client(world);
    ASSERT_NE(client.say({pa(kind::request, request)}).attribute(vendor, kind::challenge), nullptr);
    EXPECT_EQ(outcome(client.say({pa(kind::request, request)})).text, "a second request in one enrolment");
    EXPECT_EQ(client.say({pa(kind::request, request)}).attribute(vendor, kind::challenge), nullptr) << "one attempt a session";
  }
  {
    // Another collector doesn't answer for the one that asked.
    ByHand client(world);
    const Answer asked = client.say({pa(kind::request, request)});
    const ByteVector response = endpoint.response(request, asked.attribute(vendor, kind::challenge)->value);
    EXPECT_EQ(outcome(client.say({pa(kind::response, response, 7)})).code, Code::protocol);
  }
  {
    ByHand client(world);
    ASSERT_NE(client.say({pa(kind::request, request)}).attribute(vendor, kind::challenge), nullptr);
    Answer answer = client.say({});
    if (!outcome(answer).code) answer = client.say({});
    EXPECT_EQ(outcome(answer).text, "no answer to the challenge");
  }
  for (const ByteVector& broken : {ByteVector(), ByteVector(40'000), ByteVector(request.begin(), request.end() - 1), [&] {
         ByteVector longer = request;
         longer.push_back(std::byte{0});
         return longer;
       }()}) {
    ByHand client(world);
    EXPECT_EQ(outcome(client.say({pa(kind::request, broken)})).code, Code::protocol) << broken.size();
  }
  EXPECT_FALSE(device("laptop-17"));
}

TEST_F(Enrolment, ADeviceThatIsBarredIsntBroughtBackByItsTpm) {
  endpoint.token = open("laptop-17");
  ASSERT_EQ(enrol(endpoint).code, Code::enrolled);
  const auto fresh = *SigningKey::generate(KeyAlgorithm::ecc);
  endpoint.ak_public = fresh->public_area();
  auto before = open("laptop-17");
  ASSERT_TRUE(world.state->change_state_blocking("laptop-17", DeviceState::suspended, {}));
  endpoint.token.reset();
  EXPECT_EQ(enrol(endpoint).code, Code::device);
  endpoint.token = std::move(before);
  const Said said = enrol(endpoint);
  EXPECT_EQ(said.code, Code::device) << "nor by an enrolment that was opened before";
  EXPECT_EQ(said.text, "the device isn't to be trusted");
  ASSERT_TRUE(world.state->revoke_blocking("laptop-17"));
  EXPECT_EQ(enrol(endpoint).code, Code::device);
  const enrolment::Token token = enrolment::make_token();
  server::EnrolmentOffer offer;
  offer.id = to_hex(token.id);
  offer.key = to_vector(token.key.reveal());
  offer.device = "laptop-17";
  offer.until = clock + hour;
  EXPECT_FALSE(world.state->open_enrolment_blocking(offer, {})) << "nor can one be opened for it";
  EXPECT_EQ(device("laptop-17")->state, DeviceState::revoked);
}

TEST_F(Enrolment, TheSameTpmChangesItsKeyWithoutAToken) {
  endpoint.token = open("laptop-17");
  ASSERT_EQ(enrol(endpoint).code, Code::enrolled);
  endpoint.token.reset();
  EXPECT_EQ(enrol(endpoint).code, Code::enrolled) << "the same key once more";
  EXPECT_EQ(device("laptop-17")->keys.size(), 1U);
  const auto fresh = *SigningKey::generate(KeyAlgorithm::rsassa);
  endpoint.ak_public = fresh->public_area();
  const Said said = enrol(endpoint);
  EXPECT_EQ(said.code, Code::enrolled) << said.text;
  EXPECT_EQ(said.device, "laptop-17");
  EXPECT_EQ(key_of("laptop-17", fresh->key()).state, KeyState::trusted);
  EXPECT_EQ(key_of("laptop-17", ak->key()).state, KeyState::revoked);
  endpoint.ak_public = ak->public_area();
  const Said back = enrol(endpoint);
  EXPECT_EQ(back.code, Code::device);
  EXPECT_EQ(back.text, "this AK was revoked");
  // Its certificate has to count still.
  endpoint.ak_public = (*SigningKey::generate(KeyAlgorithm::ecc))->public_area();
  world.settings.ek_authorities = nullptr;
  EXPECT_EQ(enrol(endpoint).code, Code::certificate);
}

TEST_F(Enrolment, ADeviceOfAnotherIdentityChangesNoKey) {
  endpoint.token = open("laptop-17");
  ASSERT_EQ(enrol(endpoint).code, Code::enrolled);
  endpoint.token.reset();
  ASSERT_TRUE(world.state->alter_blocking("laptop-17", std::nullopt, std::nullopt, std::vector<std::string>{"CN=laptop-17"}, {}));
  endpoint.ak_public = (*SigningKey::generate(KeyAlgorithm::ecc))->public_area();
  const Said said = enrol(endpoint);
  EXPECT_EQ(said.code, Code::device);
  EXPECT_EQ(said.text, "the device is bound to another identity");
  EXPECT_EQ(key_of("laptop-17", ak->key()).state, KeyState::trusted);
}

TEST_F(Enrolment, KeysStayWhereTheOperatorSaysSo) {
  endpoint.token = open("laptop-17");
  ASSERT_EQ(enrol(endpoint).code, Code::enrolled);
  const auto fresh = *SigningKey::generate(KeyAlgorithm::ecc);
  endpoint.ak_public = fresh->public_area();
  endpoint.token = open("laptop-17", [](auto& offer) { offer.keep_keys = true; });
  ASSERT_EQ(enrol(endpoint).code, Code::enrolled);
  EXPECT_EQ(key_of("laptop-17", ak->key()).state, KeyState::trusted);
  EXPECT_EQ(key_of("laptop-17", fresh->key()).state, KeyState::trusted);
}

TEST_F(Enrolment, ATpmIsOneDeviceUntilThatIsRemoved) {
  endpoint.token = open("laptop-17");
  ASSERT_EQ(enrol(endpoint).code, Code::enrolled);
  endpoint.ak_public = (*SigningKey::generate(KeyAlgorithm::ecc))->public_area();
  endpoint.token = open("laptop-18");
  const Said said = enrol(endpoint);
  EXPECT_EQ(said.code, Code::device);
  EXPECT_EQ(said.text, "this TPM is enrolled as another device");
  ASSERT_TRUE(world.state->remove_blocking("laptop-17"));
  EXPECT_FALSE(*world.state->endorsement("laptop-17"));
  EXPECT_EQ(enrol(endpoint).code, Code::enrolled);
}

TEST_F(Enrolment, AnAkOfAnotherDeviceIsRefused) {
  world.enrol(ak->key(), "desk-1");
  endpoint.token = open("laptop-17");
  const Said said = enrol(endpoint);
  EXPECT_EQ(said.code, Code::device);
  EXPECT_EQ(said.text, "this AK is enrolled for another device");
}

TEST_F(Enrolment, WhatIsRecordedSurvivesTheStoresEnd) {
  endpoint.token = open("laptop-17");
  const auto waiting = to_hex(open("laptop-18").id);
  ASSERT_EQ(enrol(endpoint).code, Code::enrolled);
  const auto bound = *world.state->endorsement("laptop-17");
  const auto offers = *world.state->enrolments();
  world.state.reset();
  world.state = *server::State::open({.path = world.folder / "clocked", .now = [this] { return clock; }});
  EXPECT_EQ(*world.state->endorsement("laptop-17"), bound);
  EXPECT_EQ(*world.state->enrolments(), offers);
  ASSERT_EQ(offers.size(), 1U);
  EXPECT_EQ(offers[0].id, waiting);
  EXPECT_EQ(offers[0].by, "alice");
  EXPECT_EQ(*world.state->endorsement_owner(ek.key().pin()), "laptop-17");
}

TEST_F(Enrolment, OffersAreBoundedInNumberAndTime) {
  enrolment::Token token = enrolment::make_token();
  server::EnrolmentOffer offer;
  offer.key = to_vector(token.key.reveal());
  const auto put = [&](std::int64_t until) {
    offer.id = to_hex(random_bytes(16));
    offer.until = until;
    return world.state->open_enrolment_blocking(offer, {});
  };
  EXPECT_FALSE(put(clock));
  EXPECT_FALSE(put(clock + server::longest_offer_ms + 1));
  for (std::size_t i = 0; i < server::max_offers; ++i) ASSERT_TRUE(put(clock + hour));
  const auto full = put(clock + hour);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().fault, Fault::limit);
  clock += hour + 1;
  EXPECT_TRUE(put(clock + hour)) << "those that are over make room";
  EXPECT_EQ(world.state->enrolments()->size(), 1U);
}

// ---- the attributes

TEST(EnrolmentWire, EveryTruncationIsRefusedAndWhatParsesIsWrittenAsItWas) {
  Endpoint e;
  e.ek_public = ByteVector(90, std::byte{1});
  e.ak_public = ByteVector(88, std::byte{2});
  e.certificate = ByteVector(300, std::byte{3});
  e.qualified_name = ByteVector(34, std::byte{4});
  e.chain = {ByteVector(20, std::byte{5}), ByteVector(21, std::byte{6})};
  const ByteVector request = e.request();
  for (std::size_t n = 0; n < request.size(); ++n) {
    Reader r(Bytes(request).first(n), "test");
    EXPECT_FALSE(enrolment::parse_request(r)) << n;
  }
  Reader r(request, "test");
  const auto parsed = enrolment::parse_request(r);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(equal(parsed->ek_certificate, e.certificate));
  ASSERT_EQ(parsed->chain.size(), 2U);
  EXPECT_TRUE(equal(parsed->chain[1], e.chain[1]));
  Writer again;
  enrolment::append_request(again, *parsed);
  EXPECT_TRUE(equal(again.view(), request));
  ByteVector other = request;
  other[0] = std::byte{2};
  Reader newer(other, "test");
  EXPECT_EQ(enrolment::parse_request(newer).error().reason, "unknown version of the enrolment exchange");
}

TEST(EnrolmentWire, TokensAreReadHoweverTheyAreWritten) {
  const enrolment::Token made = enrolment::make_token();
  EXPECT_EQ(made.text.size(), 35U);
  std::string upper = made.text;
  for (char& c : upper) c = char(std::toupper(c));
  std::erase(upper, '-');
  for (const std::string& text : {made.text, upper}) {
    const auto parsed = enrolment::parse_token(text);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->id, made.id);
    EXPECT_TRUE(parsed->key.equals(made.key.reveal()));
  }
  for (const std::string& text : {std::string(), made.text + "0", made.text.substr(1), std::string(32, 'x')}) EXPECT_FALSE(enrolment::parse_token(text)) << text;
  EXPECT_NE(to_hex(enrolment::make_token().id), to_hex(made.id));
}

}  // namespace
}  // namespace gatehouse::test
