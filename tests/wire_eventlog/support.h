// Logs made record by record, and what a cursor says of a log that arrives in pieces.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "base/writer.h"
#include "wire/eventlog/eventlog.h"

namespace gatehouse::testing {

inline constexpr std::uint32_t ev_s_crtm_version = 8, ev_efi_action = 0x80000007;

struct LogBank {
  std::uint16_t id = 0, size = 0;
};
inline const std::vector<LogBank> three_banks{{0x0004, 20}, {0x000B, 32}, {0x000C, 48}};

// A crypto-agile log: the Spec ID header, then records.
class LogMaker {
 public:
  explicit LogMaker(std::vector<LogBank> banks = three_banks, std::string_view vendor = {}) : banks_(std::move(banks)) {
    Writer data;
    data.put_text(std::string_view("Spec ID Event03\0", 16));
    data.put_le(std::uint32_t{0});  // platform class
    for (const unsigned v : {0U, 2U, 0U, 2U}) data.put(std::uint8_t(v));
    data.put_le(std::uint32_t(banks_.size()));
    for (const LogBank& bank : banks_) {
      data.put_le(bank.id);
      data.put_le(bank.size);
    }
    data.put(std::uint8_t(vendor.size()));
    data.put_text(vendor);
    first(0, eventlog::ev_no_action, data.view());
  }
  // With this data in the header's place.
  static LogMaker with_header(Bytes data, std::vector<LogBank> banks = three_banks) {
    LogMaker out{Empty{}};
    out.banks_ = std::move(banks);
    out.first(0, eventlog::ev_no_action, data);
    return out;
  }

  // A record with a digest of the data in each bank (of zeros in a bank without a hash).
  LogMaker& event(std::uint32_t pcr, std::uint32_t type, Bytes data) {
    std::vector<std::pair<std::uint16_t, ByteVector>> digests;
    for (const LogBank& bank : banks_) {
      const auto algorithm = hash_algorithm(bank.id);
      digests.emplace_back(bank.id, algorithm && type != eventlog::ev_no_action
                                        ? to_vector(digest_of(*algorithm, data).view())
                                        : ByteVector(bank.size));
    }
    return record(pcr, type, digests, data);
  }
  LogMaker& event(std::uint32_t pcr, std::uint32_t type, std::string_view data) {
    return event(pcr, type, as_bytes(data));
  }
  LogMaker& record(std::uint32_t pcr, std::uint32_t type,
                   const std::vector<std::pair<std::uint16_t, ByteVector>>& digests, Bytes data) {
    boundaries_.push_back(log_.size());
    log_.put_le(pcr);
    log_.put_le(type);
    log_.put_le(std::uint32_t(digests.size()));
    for (const auto& [id, value] : digests) {
      log_.put_le(id);
      log_.put_bytes(value);
    }
    log_.put_le(std::uint32_t(data.size()));
    log_.put_bytes(data);
    return *this;
  }
  LogMaker& raw(Bytes bytes) {
    log_.put_bytes(bytes);
    return *this;
  }

  ByteVector log() const { return to_vector(log_.view()); }
  // Where each record but the first begins.
  const std::vector<std::size_t>& boundaries() const { return boundaries_; }

 private:
  struct Empty {};
  explicit LogMaker(Empty) {}
  void first(std::uint32_t pcr, std::uint32_t type, Bytes data) {
    log_.put_le(pcr);
    log_.put_le(type);
    log_.put_zeros(20);
    log_.put_le(std::uint32_t(data.size()));
    log_.put_bytes(data);
  }
  std::vector<LogBank> banks_;
  Writer log_;
  std::vector<std::size_t> boundaries_;
};

// A record of a TCG 1.2 log.
inline void append_sha1_event(Writer& w, std::uint32_t pcr, std::uint32_t type, Bytes data) {
  w.put_le(pcr);
  w.put_le(type);
  w.put_bytes(digest_of(HashAlgorithm::sha1, data).view());
  w.put_le(std::uint32_t(data.size()));
  w.put_bytes(data);
}

// An event that outlives its piece.
struct SeenEvent {
  std::size_t offset = 0;
  std::uint32_t pcr = 0, type = 0;
  std::vector<std::pair<std::uint16_t, ByteVector>> digests;
  ByteVector data;
  bool operator==(const SeenEvent&) const = default;
};

struct LogOutcome {
  eventlog::Format format = eventlog::Format::sha1;
  std::vector<std::string> banks;
  std::optional<std::uint8_t> locality;
  std::vector<SeenEvent> events;
  std::vector<std::string> warnings;
  std::optional<std::pair<std::size_t, std::string>> error;  // offset, reason
  bool operator==(const LogOutcome&) const = default;
};

// Feeds the log cut at the given offsets, each piece a buffer of its own that is gone when the next arrives.
inline LogOutcome read_log(Bytes log, std::vector<std::size_t> cuts = {}) {
  LogOutcome out;
  eventlog::Cursor cursor;
  cuts.push_back(log.size());
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    const ByteVector piece = to_vector(log.subspan(at, cut - at));
    cursor.feed(piece);
    at = cut;
    if (at == log.size() && cut == cuts.back()) cursor.end();
    for (;;) {
      const auto event = cursor.next();
      if (!event) {
        out.error.emplace(event.error().offset, event.error().reason);
        EXPECT_TRUE(event.error().fault == Fault::malformed || event.error().fault == Fault::limit);
        break;
      }
      if (*event == nullptr) break;
      SeenEvent seen{(*event)->offset, (*event)->pcr, (*event)->type, {}, to_vector((*event)->data)};
      for (const eventlog::EventDigest& d : (*event)->digests) seen.digests.emplace_back(d.bank, to_vector(d.value));
      out.events.push_back(std::move(seen));
    }
    if (out.error) break;
  }
  out.format = cursor.format();
  for (const eventlog::Bank& bank : cursor.banks()) out.banks.push_back(bank.name());
  out.locality = cursor.startup_locality();
  out.warnings = cursor.warnings();
  return out;
}

// The events written again: a parse that loses nothing gives the log back, up to its padding.
inline ByteVector written(const LogOutcome& outcome) {
  Writer w;
  for (const SeenEvent& event : outcome.events) {
    w.put_le(event.pcr);
    w.put_le(event.type);
    if (outcome.format == eventlog::Format::sha1 || event.offset == 0) {
      w.put_bytes(event.digests.front().second);
    } else {
      w.put_le(std::uint32_t(event.digests.size()));
      for (const auto& [id, value] : event.digests) {
        w.put_le(id);
        w.put_bytes(value);
      }
    }
    w.put_le(std::uint32_t(event.data.size()));
    w.put_bytes(event.data);
  }
  return std::move(w).take();
}

inline std::vector<std::size_t> random_cuts(std::mt19937& random, std::size_t size, std::size_t longest) {
  std::vector<std::size_t> out;
  for (std::size_t at = 0;;) {
    at += std::uniform_int_distribution<std::size_t>(1, longest)(random);
    if (at >= size) return out;
    out.push_back(at);
  }
}

}  // namespace gatehouse::testing
