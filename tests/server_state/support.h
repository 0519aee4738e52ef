// What the tests of the state store share: keys, records, a directory of their own, a wait for a completion.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <string>

#include "server/state/state.h"
#include "tests/folder.h"

namespace gatehouse::server {

using test::Folder;

inline PublicKey new_key() {
  EVP_PKEY* const pair = EVP_EC_gen("P-256");
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(pair, &der);
  const ByteVector spki(reinterpret_cast<std::byte*>(der), reinterpret_cast<std::byte*>(der) + size);
  OPENSSL_free(der);
  EVP_PKEY_free(pair);
  return PublicKey::from_spki(spki).value();
}

inline SeenKey seen(const PublicKey& key) {
  return {.key = key, .object_attributes = std::nullopt, .name_algorithm = std::nullopt};
}

inline std::unique_ptr<State> open_state(const std::string& path, StateOptions options = {}) {
  options.path = path;
  options.create = true;
  auto state = State::open(std::move(options));
  EXPECT_TRUE(state) << (state ? "" : state.error().text());
  return state ? *std::move(state) : nullptr;
}

inline SessionIntent intent(const std::string& session, const std::string& device, std::int64_t started) {
  SessionIntent out;
  out.session = session;
  out.device = device;
  out.product = "Debian 12 x86_64";
  out.peer = "192.0.2.7:49152";
  out.identity = "CN=device";
  out.identity_type = "certificate";
  out.policy = "default";
  out.generation = 7;
  out.started = started;
  return out;
}

inline SessionResult result_of(SessionIntent of) {
  SessionResult out;
  out.verdict = R"({"session":")" + of.session + R"(","device":"d","product":"p","recommendation":"allow","evaluation":"compliant"})";
  out.finished = of.started + 100;
  out.intent = std::move(of);
  return out;
}

inline pipeline::Baseline baseline(std::uint8_t seed) {
  pipeline::Baseline out{.bank = HashAlgorithm::sha256, .events = {}};
  out.events.push_back({0, {Digest::filled(32, std::byte{seed}), Digest::filled(32, std::byte{1})}});
  out.events.push_back({7, {Digest::filled(32, std::byte{2})}});
  return out;
}

inline Result<void> begin(State& state, SessionIntent of) {
  std::promise<Result<void>> done;
  state.begin_session(std::move(of), [&](Result<void> outcome) { done.set_value(std::move(outcome)); });
  return done.get_future().get();
}

inline Result<void> commit(State& state, SessionResult of) {
  std::promise<Result<void>> done;
  state.commit_result(std::move(of), [&](Result<void> outcome) { done.set_value(std::move(outcome)); });
  return done.get_future().get();
}

inline Enrolment enrolment(const std::string& device, const PublicKey& key, bool trust) {
  Enrolment out;
  out.device = device;
  out.key = seen(key);
  out.trust = trust;
  return out;
}

}  // namespace gatehouse::server
