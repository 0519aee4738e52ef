// One machine before one server: what an assessment takes of the machine (TPM, evidence, collectors), and the
// connection. Blocking; one thread.
//
//   GH_TRY(const auto agent, Agent::open(options));  // files and the TPM
//   GH_CHECK(agent->connect());                      // the network
//   GH_TRY(const Outcome outcome, agent->assess());
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "endpoint/client/tnc_client.h"
#include "endpoint/options.h"

namespace gatehouse::endpoint {

class Agent {
 public:
  // Fault::usage where the options can't be meant, Fault::environment where a file or the TPM fails.
  static Result<std::unique_ptr<Agent>> open(const Options& options);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  Result<void> connect();
  // From the first batch to the verdict and the end of the connection. Fault::protocol and malformed: the server's
  // mistake; environment: ours, or the network's.
  Result<Outcome> assess();

  // The Device ID that is claimed.
  const std::string& device() const;
  // What is worth knowing of the assessment, whatever came of it: the server's errors, evidence that was left out. Parts
  // are the server's text: escape them.
  std::vector<std::string> diagnostics() const;

 private:
  struct Parts;
  explicit Agent(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace gatehouse::endpoint
