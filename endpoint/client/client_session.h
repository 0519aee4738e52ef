// The endpoint's side of a PT-TLS conversation, sans I/O: bytes of TLS application data in, bytes out. One assessment:
// version negotiation, SASL PLAIN where the server wants it, PB-TNC with an OS and an Attestation IMC, and the result.
// Whatever the server sends is hostile input too.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/key_agreement.h"
#include "endpoint/imc/evidence.h"
#include "endpoint/tpm/device.h"
#include "wire/patnc/patnc.h"
#include "wire/patnc/segmentation.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pbtnc/state.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::endpoint {

struct OsInfo {
  std::string name = "Debian", version = "12 x86_64";
  std::uint32_t vendor = 9586;
  std::uint32_t major = 12, minor = 0;
  std::string last_boot = "0000-00-00T00:00:00Z";
  bool forwarding = false;
};
OsInfo this_machine();

struct ClientOptions {
  std::string user, password;      // SASL PLAIN
  std::string language = "en";
  std::size_t max_batch = 65'522;
  OsInfo os;
  std::optional<std::string> device_id;  // default: the AK's key id
  ByteVector ak_certificate;             // DER; empty: the AK goes as a bare key
  std::uint8_t nonce_length = 20;
  std::string time = "0000-00-00T00:00:00Z";  // of the measurements
  std::function<void(std::string)> log = [](std::string) {};
};

enum class Recommendation : std::uint8_t { allow, block, isolate, none };
std::string_view name(Recommendation r);

struct Answer {
  Recommendation recommendation = Recommendation::none;
  std::uint32_t assessment = 4;  // as PB-Assessment-Result
  std::vector<std::string> reasons;
};

class ClientSession {
 public:
  ClientSession(Tpm& tpm, Sources sources, ClientOptions options);
  ~ClientSession();
  // What to send first, and after each feed(). Empty: nothing yet.
  ByteVector take_output();
  // An error ends the conversation; what is to be said about it is in take_output().
  Result<void> feed(Bytes plaintext);
  bool done() const { return done_; }
  const std::optional<Answer>& answer() const { return answer_; }

 private:
  struct Attestation;
  Result<void> on_message(const pttls::Message& m);
  Result<void> on_batch(Bytes batch);
  Result<void> on_pa(const pbtnc::PaMessage& pa);
  Result<void> on_os(const pbtnc::PaMessage& pa, const patnc::Parsed& message);
  Result<void> on_pts(const pbtnc::PaMessage& pa, const patnc::Parsed& message);
  Result<void> generate_evidence(patnc::Builder& b);
  void say(const pbtnc::PaMessage& answered, std::uint16_t collector, patnc::Builder&& b);
  void push_os();
  void send(pttls::Type type, Bytes value);
  void send_batch(pbtnc::BatchType type, Bytes messages);
  Result<void> refuse(const pbtnc::Refusal& refusal);
  void start_conversation();

  enum class Phase : std::uint8_t { version, mechanisms, sasl, data, closed };
  Tpm& tpm_;
  Sources sources_;
  ClientOptions options_;
  std::unique_ptr<Attestation> attestation_;
  pttls::Framer framer_;
  Phase phase_ = Phase::version;
  pbtnc::State state_ = pbtnc::State::init;
  pbtnc::Queue queue_;
  Writer out_;
  std::uint32_t next_identifier_ = 0, next_message_id_ = 0;
  std::optional<Answer> answer_;
  bool done_ = false;
};

}  // namespace gatehouse::endpoint
