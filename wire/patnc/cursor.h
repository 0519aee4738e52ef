// Reads the value of an attribute that is a header and a counted run of records, while its bytes arrive: whole, or in
// the pieces that segments bring (spec part 1b §3.6 rule 9). Where the pieces are cut makes no difference to the
// records, nor to the error. At most one incomplete record is held.
//
//   swima::InventoryCursor cursor(attribute.value_offset(), {.content = swima::Content::identifiers});
//   for (Bytes piece : pieces) {
//     cursor.feed(piece);
//     for (;;) {
//       GH_TRY(const auto* record, cursor.next());
//       if (record == nullptr) break;              // wants the next piece
//       store(*record);                            // its views end with the next call of next() or feed()
//     }
//   }
//   GH_CHECK(cursor.end());
//
// Nothing may be acted on before end() succeeds: an error makes the records before it void.
//
// A Format says how one type of attribute is laid out:
//
//   using Header, Record;                                    // Header owns what it holds; Record borrows
//   static constexpr std::size_t header_size;                // bytes
//   static constexpr std::string_view spec;                  // for errors
//   Result<Header> parse_header(Reader& r) const;            // r: exactly header_size bytes
//   std::uint64_t count(const Header&) const;                // records that the header announces
//   // The size of the record that r starts with, as far as r's bytes tell; the record is complete when r has that
//   many.
//   // Above 0; with more bytes it grows or stays. A length above a limit fails here, before its bytes are held.
//   Result<std::size_t> needed(const Header&, Reader r) const;
//   Result<Record> parse(const Header&, Reader& r) const;    // r: exactly one complete record
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/reader.h"

namespace gatehouse::patnc {

template <class Format>
class Cursor {
 public:
  using Header = typename Format::Header;
  using Record = typename Format::Record;

  // Offsets in errors start at `value_offset`: the value's in its PA-TNC message, or 12 in a segmented attribute.
  explicit Cursor(std::size_t value_offset, Format format = {}) : format_(std::move(format)), at_(value_offset) {}

  // The value's next bytes; they have to stay until next() has returned nullptr, which it must before the next feed().
  void feed(Bytes piece) {
    GH_ASSERT(piece_.empty() || failure_);
    if (!failure_) piece_ = piece;
  }

  // The next record, or nullptr when it isn't complete yet, or was the last. An error stays.
  Result<const Record*> next() {
    if (failure_) return std::unexpected(*failure_);
    auto record = advance();
    if (!record) failure_ = record.error();
    return record;
  }

  // After the value's last byte: fails when its header or announced records are missing, at the start of the first
  // item that is incomplete.
  Result<void> end() {
    if (failure_) return std::unexpected(*failure_);
    GH_ASSERT(piece_.empty());
    if (!header_) return stop("attribute shorter than its header");
    if (to_follow() != 0) return stop("fewer records than announced");
    return {};
  }

  // nullptr until it has arrived.
  const Header* header() const { return header_ ? &*header_ : nullptr; }
  // Announced records that next() hasn't returned.
  std::uint64_t to_follow() const { return header_ ? format_.count(*header_) - received_ : 0; }
  std::uint64_t received() const { return received_; }
  // Bytes of memory that an incomplete record takes.
  std::size_t held_bytes() const { return held_.capacity(); }

 private:
  static constexpr std::size_t kept_capacity = 64 << 10;

  Result<const Record*> advance() {
    release();
    if (!header_) {
      GH_TRY(const std::optional<Reader> whole, item());
      if (!whole) return nullptr;
      Reader r = *whole;
      GH_TRY(header_, format_.parse_header(r));
      GH_CHECK(r.finish());
      release();
    }
    if (to_follow() == 0) {
      if (!piece_.empty()) return stop("more bytes than the announced records take");
      return nullptr;
    }
    GH_TRY(const std::optional<Reader> whole, item());
    if (!whole) return nullptr;
    Reader r = *whole;
    GH_TRY(record_, format_.parse(*header_, r));
    GH_CHECK(r.finish());
    ++received_;
    return &*record_;
  }

  // The header or record that is next, or nothing while bytes of it are missing.
  Result<std::optional<Reader>> item() {
    for (;;) {
      const bool holding = !held_.empty();
      const Bytes have = holding ? Bytes(held_) : piece_;
      std::size_t needed = Format::header_size;
      if (header_) {
        GH_TRY(needed, format_.needed(*header_, Reader(have, Format::spec, at_)));
      }
      GH_ASSERT(needed != 0);
      if (needed <= have.size()) {
        const Reader whole(have.first(needed), Format::spec, at_);
        at_ += needed;
        if (holding)
          done_with_held_ = true;  // never holds more than what was needed
        else
          piece_ = piece_.subspan(needed);
        return whole;
      }
      const Bytes more = piece_.first(std::min(needed - (holding ? have.size() : 0), piece_.size()));
      if (more.empty()) return std::nullopt;
      held_.insert(held_.end(), more.begin(), more.end());
      piece_ = piece_.subspan(more.size());
    }
  }

  void release() {
    if (!std::exchange(done_with_held_, false)) return;
    held_.clear();
    if (held_.capacity() > kept_capacity) held_ = ByteVector();
  }

  std::unexpected<Error> stop(std::string_view why) {
    failure_ = Error{Fault::malformed, why, Format::spec, at_, {}, {}};
    return std::unexpected(*failure_);
  }

  Format format_;
  std::size_t at_;  // offset of the item that is next: of held_, else of piece_
  Bytes piece_;
  ByteVector held_;
  bool done_with_held_ = false;
  std::optional<Header> header_;
  std::optional<Record> record_;
  std::uint64_t received_ = 0;
  std::optional<Error> failure_;
};

// A value that is there whole: calls `each` for each record and returns the header. `r` starts at the value, and the
// records' views point into its bytes.
template <class Format, class Each>
Result<typename Format::Header> parse_records(Reader& r, Format format, Each&& each) {
  Cursor<Format> cursor(r.offset(), std::move(format));
  GH_TRY(const Bytes value, r.take(r.remaining()));
  cursor.feed(value);
  for (;;) {
    GH_TRY(const auto* record, cursor.next());
    if (record == nullptr) break;
    each(*record);
  }
  GH_CHECK(cursor.end());
  return *cursor.header();
}

}  // namespace gatehouse::patnc
