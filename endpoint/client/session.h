// A PT-TLS client session (RFC 6876; spec part 1a §1), sans I/O: the bytes of TLS application data in, bytes to send
// out. No socket, no clock, no thread: a test or a load generator runs thousands of them.
//
//   SoftwareTpm tpm(key);                                  // or EsysTpm
//   FileEvidence evidence(log, list);
//   OsImc os(read_os_info());
//   AttestationImc attestation({}, tpm, evidence);
//   Session session({}, {&os, &attestation});
//   auto step = session.start();
//   while (!step.ended) { transport.send(step.send); step = session.feed(transport.receive()); }
//   transport.send(step.send);
//   if (session.error()) ...; else session.outcome()->recommendation
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/secret.h"
#include "endpoint/client/sasl.h"
#include "endpoint/client/tnc_client.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::endpoint {

class Session {
 public:
  struct Config {
    TncClient::Config tnc;
    std::string user;  // SCRAM-SHA-256 or PLAIN, where the server wants SASL; empty: not offered
    Secret password;
    SaltedOnce* salted = nullptr;  // of this password, where many sessions have it; outlives them
  };
  struct Step {
    ByteVector send;     // may be empty
    bool ended = false;  // nothing more is read; after `send` the transport is closed
  };
  // The collectors outlive the session. A server certificate that was verified is the caller's business.
  Session(Config config, const std::vector<Imc*>& imcs);

  // Before start(): what SCRAM binds to where the server can.
  void bind_channel(ChannelBinding channel) { channel_ = std::move(channel); }

  Step start();
  Step feed(Bytes plaintext);
  // The server closed the transport.
  Step end_of_stream();
  // With Config::tnc.keep, once outcome() is there: another assessment on this connection, or the CLOSE batch.
  Step retry();
  Step close();

  // There from the RESULT batch on; of the latest assessment.
  const std::optional<Outcome>& outcome() const { return tnc_.outcome(); }
  // Why the session ended without a result that counts. Fault::protocol and malformed: the server's mistake;
  // environment: ours (TPM, lists).
  const std::optional<Error>& error() const { return error_; }
  std::vector<std::string> notes() const { return tnc_.notes(); }
  bool decided() const { return tnc_.state() == pbtnc::State::decided; }

 private:
  enum class Phase : std::uint8_t { start, version, mechanisms, sasl, data, ended };
  pttls::Phase pttls_phase() const;
  Step on_message(const pttls::Message& message);
  Step on_version(const pttls::Message& message);
  Step on_mechanisms(const pttls::Message& message);
  Step on_sasl_data(const pttls::Message& message);
  Step on_sasl_result(const pttls::Message& message);
  Step on_error(const pttls::Message& message);
  // With PT-TLS error 5, but our own `error`.
  Step refuse_sasl(const pttls::Message& message, Error error);
  Step stop(Error error);
  Step refuse(pttls::ErrorCode code, Bytes offending, std::string_view why);
  Step from(TncClient::Step step);
  ByteVector message(pttls::Type type, Bytes value);

  Config config_;
  ChannelBinding channel_;
  TncClient tnc_;
  std::optional<SaslClient> sasl_;  // from the selection on
  pttls::Framer framer_;
  Phase phase_ = Phase::start;
  std::uint32_t next_identifier_ = 0;
  bool authenticated_ = false;
  unsigned ignored_ = 0;
  std::optional<Error> error_;
};

}  // namespace gatehouse::endpoint
