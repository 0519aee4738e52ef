// The TNC client: PB-TNC batches in, PB-TNC batches out, whatever carries them (RFC 5793; spec part 1a §4). Sans I/O.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "endpoint/imc/imc.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pbtnc/state.h"

namespace gatehouse::endpoint {

enum class Evaluation : std::uint8_t { compliant, minor, major, error, unknown };
std::string_view name(Recommendation v);
std::string_view name(Evaluation v);

// What the RESULT batch said. Texts are the server's: escape them before they are shown.
struct Outcome {
  Recommendation recommendation = Recommendation::none;
  Evaluation assessment = Evaluation::unknown;
  std::vector<std::string> reasons;
  std::vector<Assessment> components;
};

class TncClient {
 public:
  struct Config {
    std::size_t max_batch = 65'522;  // as strongSwan's clients are configured; PT-TLS allows 2,097,136
    std::string language = "en";
    bool keep = false;               // stay in Decided after RESULT, for retry()
    std::size_t max_rounds = 100'000, max_empty_rounds = 1'024;
    std::optional<std::uint32_t> first_message_id;  // of PA-TNC messages; absent: random
    std::function<void(const std::string&)> log;    // one line a batch; may be empty
  };
  // `batch` is to be sent where it isn't empty; after `ended` nothing more follows.
  struct Step {
    ByteVector batch;
    bool ended = false;
  };
  // The collectors outlive the client.
  TncClient(Config config, const std::vector<Imc*>& imcs);
  TncClient(const TncClient&) = delete;
  TncClient& operator=(const TncClient&) = delete;

  // The first CDATA batch.
  Step start();
  Step receive(Bytes batch);
  // Another assessment in the same session (CRETRY): in Decided only.
  Step retry();
  // A CLOSE batch: the ordinary end in Decided, and where we stop before the verdict.
  Step close();
  // The transport ended.
  void transport_ended();

  pbtnc::State state() const { return machine_.state(); }
  const std::optional<Outcome>& outcome() const { return outcome_; }
  const std::optional<Error>& error() const { return error_; }
  // PB-TNC and PA-TNC errors that the server sent, in order.
  std::vector<std::string> notes() const;

 private:
  Step send(pbtnc::BatchType type);
  // Ends with a fatal PB-Error in a CLOSE batch.
  Step refuse(const pbtnc::Refusal& refusal, Error error);
  // Ends without a word.
  Step stop(Error error);
  Result<void> begin();
  Result<void> deliver(const pbtnc::Batch& batch);
  std::optional<Error> fatal_error(const pbtnc::Batch& batch);
  void take_result(const pbtnc::Batch& batch);
  void note(std::string text);
  ByteVector batch(pbtnc::BatchType type, Bytes messages) const;

  Config config_;
  std::uint32_t next_identifier_;
  patnc::ReassemblyBudget reassembly_{std::size_t(16) << 20};
  std::vector<Exchange> exchanges_;
  pbtnc::Queue queue_;
  pbtnc::StateMachine machine_{pbtnc::Role::client};
  std::size_t rounds_ = 0, empty_rounds_ = 0;
  std::optional<Outcome> outcome_;
  std::optional<Error> error_;
  std::vector<std::string> notes_;
};

}  // namespace gatehouse::endpoint
