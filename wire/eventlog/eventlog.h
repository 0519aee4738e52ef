// TCG PC-client firmware event logs: TCG 1.2 (SHA-1 only) and crypto-agile (TCG PC Client Platform Firmware Profile;
// spec part 2 §6.1). Little-endian. A Cursor is fed the log in pieces cut anywhere and yields one event at a time;
// an event borrows from the cursor's buffer and is valid until the next call.
//
//   eventlog::Cursor cursor;
//   cursor.feed(bytes);
//   cursor.end();
//   for (;;) { GH_TRY(const auto* event, cursor.next()); if (event == nullptr) break; ... }
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/reader.h"

namespace gatehouse::eventlog {

inline constexpr std::uint32_t ev_no_action = 3;
inline constexpr std::uint32_t ev_separator = 4;
inline constexpr std::size_t max_event_data = std::size_t(16) << 20;

enum class Format : std::uint8_t { sha1, crypto_agile };

// A bank of the log's header, in its order. An unknown algorithm is skipped by its size.
struct Bank {
  std::uint16_t id = 0;
  std::uint16_t size = 0;
  std::optional<HashAlgorithm> algorithm;
  std::string name() const;  // "sha256", "alg-0x7777"
};

struct EventDigest {
  std::uint16_t bank = 0;  // TPM_ALG_ID
  Bytes value;
};

struct Event {
  std::size_t offset = 0;  // of the record in the log
  std::uint32_t pcr = 0;
  std::uint32_t type = 0;
  std::vector<EventDigest> digests;
  Bytes data;

  bool extends() const { return type != ev_no_action; }
  const EventDigest* digest(HashAlgorithm algorithm) const {
    for (const EventDigest& d : digests)
      if (d.bank == std::uint16_t(algorithm)) return &d;
    return nullptr;
  }
};

class Cursor {
 public:
  // Appends a piece; invalidates the last event.
  void feed(Bytes piece);
  void end() { ended_ = true; }
  // The next complete event; nullptr: more bytes are needed, or after end() that was all.
  Result<const Event*> next();

  // Known once the first event was read.
  Format format() const { return format_; }
  const std::vector<Bank>& banks() const { return banks_; }
  // From EV_NO_ACTION StartupLocality.
  std::optional<std::uint8_t> startup_locality() const { return locality_; }
  // Padding at the end, inconsistencies that don't hinder the replay: "offset 3926: ..."; at most 1,000 and a last one
  // that says so.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  enum class Parsed : std::uint8_t { event, more, padding };
  Result<Parsed> parse(Reader& r);
  Result<Parsed> parse_first(Reader& r);
  Result<void> parse_spec_id(Reader r);
  void note_no_action();
  Result<bool> padding_from(std::size_t at);
  void warn(std::size_t offset, std::string_view what);

  ByteVector buffer_;
  std::size_t at_ = 0;        // consumed bytes of buffer_
  std::size_t discarded_ = 0;  // bytes of the log before buffer_
  // The next byte of the log that isn't 0x00, and that isn't 0xFF, as far as was looked: so that a log of zeros with
  // something at its end is scanned once, not once for each record.
  std::size_t nonzero_ = 0, nonones_ = 0;
  bool ended_ = false, first_ = true, padding_ = false;
  Format format_ = Format::sha1;
  std::vector<Bank> banks_;
  std::optional<std::uint8_t> locality_;
  std::vector<std::string> warnings_;
  Event event_;
};

std::string event_type_name(std::uint32_t type);

// UEFI_VARIABLE_DATA; the name in UTF-8.
struct UefiVariable {
  std::string guid;  // 8-4-4-4-12, lower case
  std::string name;
  Bytes data;
};
Result<UefiVariable> parse_uefi_variable(Bytes data);
// UTF-16LE to UTF-8; unpaired surrogates become U+FFFD.
std::string utf16_to_utf8(Bytes text);

}  // namespace gatehouse::eventlog
