// What a decoder says of the devices in strongTNC's database, and what of that is believed: its form. Messages are
// those of refdb/ingest/decoder_messages.h; of their letters come E and D, and
//
//   V  a device: texts Device ID and product, whether it is trusted (1)
//   B  a baseline: text Device ID, TPM_ALG_ID of its bank (2), and for each event PCR (1) and digest, as long as the
//      bank's are
//   X  why a firmware log is no baseline: texts Device ID and reason
//   G  a group: texts name and parent, whether it is the default (1); and of the last group
//   M  a member: text Device ID
//   O  a product whose devices come here: text
//   R  what it asks for: type (1), text argument, recommendations (1 each, 255: none), max. age (8)
//   N  last before D, how many: devices, baselines, inactive, other products, components, SHA-1, dangling (8 each)
#pragma once

#include <cstdint>
#include <functional>

#include "base/bytes.h"
#include "base/error.h"
#include "base/reader.h"
#include "refdb/ingest/strongtnc.h"

namespace gatehouse::refdb {

// In a decoder: each handed to `send` as it is made, without D. What is damaged somewhere gives an error and no device.
Result<void> send_devices(StrongTnc& database, const std::function<Result<void>(Bytes)>& send);

// In who asked, message by message.
class DevicesAnswer {
 public:
  // `size`: of the database, which bounds how much it can say.
  explicit DevicesAnswer(std::uint64_t size) : left_(size) {}
  // As Answer::take.
  Result<bool> take(Bytes message);
  StrongTncListing& listing() { return listing_; }

 private:
  Result<bool> read(Bytes message);
  Result<void> take_device(Reader& r);
  Result<void> take_baseline(Reader& r);
  Result<void> take_refusal(Reader& r);
  Result<void> take_counts(Reader& r);
  Result<void> take_group(Reader& r);
  Result<void> take_of_group(std::uint8_t letter, Reader& r);
  // Takes so many bytes of what the database accounts for.
  Result<void> spend(std::uint64_t bytes);

  std::uint64_t left_;
  std::size_t group_rows_ = 0;
  StrongTncListing listing_;
};

}  // namespace gatehouse::refdb
