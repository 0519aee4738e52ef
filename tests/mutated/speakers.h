// Who speaks with the server before anything is changed: our endpoint with a software TPM, which follows what the
// server asks for, and the recorded clients.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "endpoint/imc/attestation/evidence.h"
#include "endpoint/tpm/software.h"
#include "tests/server_session/conversation.h"

namespace gatehouse::test {

// PT-TLS messages in order, each whole.
using Messages = std::vector<ByteVector>;

class Speaker {
 public:
  virtual ~Speaker() = default;
  virtual Messages start() = 0;
  // What follows the server's answer; none: it has nothing more to say.
  virtual Messages hear(Bytes answer) = 0;
  // Another assessment on this connection, asked for by CRETRY.
  virtual Messages start_over() = 0;
};

// A machine of few measurements, and one image of its evidence for all conversations.
struct SmallMachine {
  std::unique_ptr<endpoint::SoftwareTpm> tpm;
  ByteVector log, list;
  endpoint::SharedEvidence boot, ima;
};
// The first `events` of the recorded firmware log with what no log may lack, and a list: a boot_aggregate that agrees
// with them, and the first `entries` of the recorded list.
SmallMachine small_machine(endpoint::KeyAlgorithm key, std::size_t events, std::size_t entries);

// What an endpoint of ours says beside its evidence.
struct EndpointOptions {
  std::size_t max_batch = 65'522;
  std::string user, password;
  bool keep = false;        // asks for a second assessment after the first
  bool test = false;        // has a Test collector, whose command is "allow"
  std::uint16_t raw = 0;    // parts of raw evidence that it announces
  bool everything = false;  // answers for packages, settings, ports, files and software
};
// `machine` and `options` outlive it.
std::unique_ptr<Speaker> live_endpoint(const SmallMachine& machine, const EndpointOptions& options);

// The policy whose every entry that endpoint answers well; `swidt` are the letters of its inventory.
std::string everything_policy(const std::string& swidt);
inline constexpr const char* measured_path = "/usr/sbin/validlocale";  // of FMEAS in it
// SHA-256 of the recorded evidence's references, by path.
const std::map<std::string, Digest>& references();

// A recorded client's batches; without those of its evidence from the `keep`th on.
struct Recording {
  std::string folder;
  Messages messages;
  ByteVector nonce, secret;
};
Recording recording(const std::string& folder);
std::unique_ptr<Speaker> recorded_client(const Recording& recording, std::size_t keep = SIZE_MAX);

}  // namespace gatehouse::test
