// One machine before one server: what assessments take of the machine (TPM, evidence, collectors), and the connection.
// Blocking; one thread.
//
//   GH_TRY(const auto agent, Agent::open(options, {}));  // files and the TPM
//   GH_CHECK(agent->connect());                          // the network
//   GH_TRY(const Outcome outcome, agent->assess());
//
// With `keep` the connection stays after the verdict:
//
//   switch (*agent->listen(until, events.wake_fd())) …   // then reassess(), resume() or close()
//
// The TPM is open only during an assessment: others may want it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "endpoint/client/tnc_client.h"
#include "endpoint/options.h"

namespace gatehouse::endpoint {

class Agent {
 public:
  struct Config {
    bool keep = false;
    Imc* also = nullptr;  // a collector besides those of the options; outlives the agent
    int stop_fd = -1;  // readable: waits for the server end with an error; not closed here
  };
  // What came of waiting between two assessments.
  enum class Heard : std::uint8_t { nothing, assessment, closed };

  // Fault::usage where the options can't be meant, Fault::environment where a file or the TPM fails.
  static Result<std::unique_ptr<Agent>> open(const Options& options, const Config& config);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  Result<void> connect();
  // From the first batch to the verdict, and to the end of the connection unless it is kept. Fault::protocol and
  // malformed: the server's mistake; environment: ours, or the network's.
  Result<Outcome> assess();

  // Of a kept connection. `closed`: the server has ended it, by CLOSE or without a word; `assessment`: it began another
  // one (SRETRY), with which resume() goes on; `nothing`: the time has come, or a descriptor is readable.
  Result<Heard> listen(std::chrono::steady_clock::time_point until, int wake_fd);
  Result<Outcome> reassess();  // CRETRY
  Result<Outcome> resume();
  // A CLOSE batch and close_notify, wherever the conversation is.
  void close();

  // Looks at the package managers: whether software has changed since the latest assessment.
  bool software_changed();

  // The Device ID that is claimed.
  const std::string& device() const;
  // Over RADIUS: what the gateway was told with the answer, such as "Filter-Id allow". Empty otherwise.
  const std::vector<std::string>& gateway_told() const;
  // "TLSv1.3 TLS_AES_256_GCM_SHA384", while there is a connection.
  std::string connection() const;
  // What is worth knowing of the latest assessment, whatever came of it: the server's errors, evidence and software
  // that was left out. Parts are the server's text: escape them.
  std::vector<std::string> diagnostics() const;

 private:
  struct Parts;
  explicit Agent(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace gatehouse::endpoint
