// SASL of one PT-TLS connection from the server's side (RFC 6876 §3.8; spec part 1a §1.5), sans I/O: the client's
// messages and the host's answers come in, steps go out. Offers SCRAM-SHA-256-PLUS (where the TLS connection gives what
// it binds to), SCRAM-SHA-256 and PLAIN, in this order: a client takes the first that it knows. One attempt a
// connection.
//
//   SaslServer sasl({.width = settings.sasl_result_width}, to_base64(host.random(18)));
//   perform(sasl.start());
//   ...
//   void perform(SaslServer::Step step) {
//     for (SaslServer::Send& s : step.send) send_message(s.type, s.value);
//     if (auto* ask = std::get_if<SaslServer::CheckPassword>(&step.then)) host.check_password(ask->user,
//     std::move(ask->password));
//     ...                                                    // on_password(), on_record() come back with the next step
//   }
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/scram.h"
#include "base/secret.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::server {

class SaslServer {
 public:
  struct Options {
    pttls::ResultWidth width = pttls::ResultWidth::automatic;
    ChannelBinding channel;  // of the TLS connection; empty: none
    bool scram = true, plain = true;
  };
  struct Send {
    pttls::Type type;
    ByteVector value;
  };

  // What the caller does once it has sent the messages of a step.
  struct Wait {};         // for the client's next message
  struct CheckPassword {  // milliseconds of CPU, on a worker; then on_password()
    std::string user;
    Secret password;
  };
  struct FindRecord {  // UserFile::scram_record(); then on_record(), at once or later
    std::string user;
  };
  struct Accepted {  // PB-TNC may begin: the empty mechanism list is among the messages
    std::string user;
    std::string_view mechanism;
  };
  struct Rejected {  // close; the result is among the messages. `user` is what the client claimed, it may be empty
    std::string user;
    std::string_view mechanism, reason;
  };
  struct Refused {  // answer the message with this PT-TLS error, and close
    pttls::ErrorCode code = pttls::ErrorCode::invalid_message;
    std::string_view reason;
  };
  struct Step {
    std::vector<Send> send;
    std::variant<Wait, CheckPassword, FindRecord, Accepted, Rejected, Refused> then;
  };

  // `nonce`: to_base64() of 18 bytes from the generator.
  SaslServer(Options options, std::string nonce);

  // The list of mechanisms.
  Step start() const;
  // A SASL Mechanism Selection or SASL Authentication Data; not while waiting().
  Step receive(const pttls::Message& message);
  Step on_password(bool good);
  Step on_record(ScramRecord record);

  // For the host's answer: nothing more is to be read from the client.
  bool waiting() const { return std::holds_alternative<Checking>(state_) || std::holds_alternative<Finding>(state_); }

 private:
  struct Selecting {};
  struct AwaitingPlain {};
  struct Checking {};
  struct AwaitingScram {
    ScramServer exchange;
  };
  struct Finding {
    ScramServer exchange;
  };
  struct AwaitingProof {
    ScramServer exchange;
  };
  struct Over {};

  std::vector<std::string_view> offered() const;
  Step on_selection(Bytes value);
  Step on_data(Bytes data);
  Step on_plain(Bytes message);
  Step on_scram_first(ScramServer exchange, Bytes message);
  Step on_proof(ScramServer exchange, Bytes message);
  Step ask();
  Step refuse(pttls::ErrorCode code, std::string_view reason);
  Step accept(Bytes data);
  Step reject(std::string_view reason);

  Options options_;
  std::string nonce_;
  std::string user_;
  std::string_view mechanism_;
  std::variant<Selecting, AwaitingPlain, Checking, AwaitingScram, Finding, AwaitingProof, Over> state_;
};

}  // namespace gatehouse::server
