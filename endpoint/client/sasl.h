// SASL of one PT-TLS connection from the client's side (RFC 6876 §3.8; spec part 1a §1.5), sans I/O. Chooses
// SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, the first of these that the server offers, whatever its order: with SCRAM
// the server never sees the password, and proves that it knows the user. A name or password that SCRAM can't carry goes
// by PLAIN.
//
//   GH_TRY(auto selection, sasl.select(names));           // the value of a SASL Mechanism Selection
//   GH_TRY(auto data, sasl.respond_blocking(challenge));  // the value of a SASL Authentication Data
//   GH_CHECK(sasl.finish(result));                        // after it, an empty list of mechanisms must come
//
// Values may hold the password: wipe them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/scram.h"
#include "base/secret.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::endpoint {

class SaslClient {
 public:
  // `nonce`: to_base64() of 18 bytes from the generator. `channel`: the TLS connection's binding; empty: none. `salted`: as ScramClient
  // has it.
  SaslClient(std::string user, Secret password, std::string nonce, ChannelBinding channel = {}, SaltedOnce* salted = nullptr);

  // Once. Fault::environment: none of the mechanisms can be used.
  Result<ByteVector> select(const std::vector<std::string_view>& offered);
  // What the server sent while the mechanism runs. SCRAM computes for as long as the server's count of iterations says.
  Result<ByteVector> respond_blocking(Bytes challenge);
  // Fault::environment: the server refused us. Fault::protocol: it says success, but didn't prove what SCRAM asks for.
  Result<void> finish(const pttls::SaslOutcome& result);

  std::string_view mechanism() const { return mechanism_; }

 private:
  Result<ByteVector> select_scram(bool bind);
  Result<ByteVector> select_plain();
  Result<void> check_proof(Bytes message);

  enum class Expects : std::uint8_t { selection, challenge, proof, result };
  std::string user_;
  Secret password_;
  std::string nonce_;
  ChannelBinding channel_;
  SaltedOnce* salted_;
  std::string_view mechanism_;
  std::optional<ScramClient> scram_;
  Expects expects_ = Expects::selection;
};

}  // namespace gatehouse::endpoint
