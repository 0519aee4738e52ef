// A recorded conversation as it lies on disk: by `serve --trace` or in the layout that tests/data/interop has
// (docs/formats/trace.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse::trace {

struct RecordedMessage {
  std::size_t number = 0;  // from 1
  bool from_client = false;
  std::optional<std::int64_t> ms;      // since the conversation began
  std::uint32_t vendor = 0, type = 0;  // PT-TLS
  std::size_t batch = 0;               // from 1; 0: not a batch
  ByteVector bytes;                    // of a batch: without the PT-TLS header; else the whole message
};

struct RecordedExchange {
  ByteVector initiator_nonce, secret;
};

struct RecordedConversation {
  std::vector<RecordedMessage> messages;
  std::vector<RecordedExchange> exchanges;
  std::string identity, identity_type;  // "certificate", "password", "": how the peer was authenticated
  bool authentication_failed = false;   // the SASL result said so
  bool complete = true;                 // false: what followed is missing
  std::vector<std::string> banks;       // that the server offered; empty: not recorded
  std::size_t max_batch = 0;            // that the server kept to; 0: not recorded
};

// Errors name the file. Names of files in the index can't leave the folder.
Result<RecordedConversation> read_recording(const std::string& folder);

}  // namespace gatehouse::trace
