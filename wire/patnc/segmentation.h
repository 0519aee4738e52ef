// TCG IF-M Segmentation (spec part 1b §3): contracts, segment envelopes, and both ends of a transfer, sans I/O. An
// attribute that no message holds is cut into segments, which the receiver fetches one by one:
//
//   sender                                    receiver
//     ◀── Contract Request ───────────────────   reassembler.issue(contract)
//     segmenter.agree() ── Contract Response ──▶  reassembler.agree(response)
//     segmenter.add() ──── Segment Envelope ───▶  step = reassembler.add(envelope, offset)
//     ◀── Next Segment ───────────────────────   add_next_segment(builder, step)
//     segmenter.next() ─── Segment Envelope ───▶  ... until step.attribute, or the last step.piece
//
// One Segmenter and one Reassembler belong to each (PA subtype, peer). A contract holds in one direction: who issues it
// says what it takes.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "wire/patnc/patnc.h"

namespace gatehouse::patnc {

inline constexpr std::uint32_t unlimited = 0xFFFFFFFF;
inline constexpr std::size_t envelope_header_size = 4;
// What an envelope costs besides its segment: a receiver takes whole attributes that much longer than a segment.
inline constexpr std::size_t envelope_overhead = attribute_header_size + envelope_header_size;

// Largest PA-TNC message in a batch of `max_batch` bytes, and the largest segment in it (§3.4).
constexpr std::size_t max_message(std::size_t max_batch) { return max_batch - 8 - 12 - 12; }
constexpr std::size_t max_segment(std::size_t message) { return message - message_header_size - envelope_overhead; }

struct Contract {
  std::uint32_t max_message_size = unlimited;  // of a base attribute with its header
  std::uint32_t max_segment_size = unlimited;  // without the envelope

  bool null() const { return max_message_size == unlimited && max_segment_size == unlimited; }  // cancels one before
  friend bool operator==(const Contract&, const Contract&) = default;
};
Result<Contract> parse_contract(Reader& r);
void append_contract(Writer& w, const Contract& v);

inline constexpr std::uint8_t more_segments = 0x80, first_segment = 0x40, cancel_segments = 0x80;
struct Envelope {
  std::uint8_t flags = 0;
  std::uint32_t id = 0;  // 24 bits
  Bytes segment;
};
Result<Envelope> parse_envelope(Reader& r);
void append_envelope(Writer& w, const Envelope& v);
struct NextSegment {
  std::uint8_t flags = 0;
  std::uint32_t id = 0;
};
Result<NextSegment> parse_next_segment(Reader& r);
void append_next_segment(Writer& w, const NextSegment& v);

// "FF FF FF FF || id": what errors about a segmented attribute quote in place of the message header (§3.6).
ByteVector pseudo_header(std::uint32_t id);

// The sender's side: what goes whole, what in segments, and the rest of what the peer fetches. Each attribute is held
// once, until its last segment is sent or the peer cancels it.
class Segmenter {
 public:
  struct Limits {
    std::size_t transfers = 16;                 // attributes that wait to be fetched
    std::size_t bytes = std::size_t(64) << 20;  // of all of them
    std::uint32_t max_id = 0xFFFFFF;            // Base Message IDs go from 1 to this, and start again
  };
  // `max_message`: of a PA-TNC message on this transport, at least 64.
  explicit Segmenter(std::size_t max_message) : Segmenter(max_message, Limits{}) {}
  Segmenter(std::size_t max_message, Limits limits);

  // The peer's Contract Request takes effect; answer with what is returned: the segment size lowered to what we can
  // send (§3.4). The null contract ends the one before and drops what waits.
  Contract agree(const Contract& asked);
  const std::optional<Contract>& contract() const { return contract_; }
  // Whether an attribute of this size, header included, goes in segments (§3.5 rules 1-3).
  bool segments(std::size_t total) const;

  // Adds an attribute to `out`, whole or as its first segment in the room that is left. The second form copies the
  // value only where it has to wait. Fault::limit: it fits into no message and there is no contract that allows to cut
  // it, or too much waits to be fetched already; nothing was added.
  Result<void> add(Builder& out, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, ByteVector&& value);
  Result<void> add(Builder& out, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value);

  enum class Answer : std::uint8_t {
    more,       // a segment was added, and others follow
    last,       // the last segment was added
    cancelled,  // the peer doesn't want the rest
    unknown,    // no such transfer: to be counted
  };
  Answer next(Builder& out, const NextSegment& asked);

  // What of it outlasts an assessment where nothing waits; to be taken up by a new one of the same peer.
  struct Agreed {
    std::optional<Contract> contract;
    std::uint32_t last_id = 0;
  };
  Agreed agreed() const { return {contract_, last_id_}; }
  void resume(const Agreed& before) {
    contract_ = before.contract;
    last_id_ = before.last_id;
  }

  std::size_t transfers() const { return transfers_.size(); }
  std::size_t waiting_bytes() const { return waiting_; }  // values of attributes that aren't sent completely
  void clear();                                           // another handshake: the contract stays (spec part 1b §6.5)

 private:
  struct Transfer {
    std::array<std::byte, attribute_header_size> header{};
    ByteVector value;
    std::size_t sent = 0;  // of header and value together

    std::size_t total() const { return header.size() + value.size(); }
  };
  Result<bool> admit(std::size_t value_size);
  Result<void> add_whole(Builder& out, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value);
  void begin(Builder& out, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, ByteVector&& value);
  bool add_segment(Builder& out, std::uint32_t id, Transfer& transfer, std::size_t most);  // true: it was the last
  void drop(std::map<std::uint32_t, Transfer>::iterator transfer);

  std::size_t max_message_;
  Limits limits_;
  std::optional<Contract> contract_;
  std::uint32_t last_id_ = 0;
  std::size_t waiting_ = 0;
  std::map<std::uint32_t, Transfer> transfers_;  // by Base Message ID
};

// Bytes that the Reassemblers of a connection may hold together. Outlives them.
class ReassemblyBudget {
 public:
  explicit ReassemblyBudget(std::size_t most = std::size_t(64) << 20) : most_(most) {}
  std::size_t used() const { return used_; }
  bool take(std::size_t n) {
    if (n > most_ - used_) return false;
    used_ += n;
    return true;
  }
  void give(std::size_t n) { used_ -= n; }

 private:
  std::size_t most_;
  std::size_t used_ = 0;
};

// The receiver's side. Attributes are put together, each held once and never more than the caps allow, or handed on
// piece by piece and not held at all.
class Reassembler {
 public:
  struct Limits {
    std::size_t attribute_bytes = std::size_t(16) << 20;  // base attribute with its header, where `admit` doesn't say
    std::size_t transfers = 4;
    std::size_t segments = 4096;            // of one transfer
    std::size_t segment_bytes = unlimited;  // a message of the connection: no segment is longer
    std::size_t batches = 256;              // of the peer in a row without a segment
    bool without_contract = true;           // take segments though issue() wasn't called
  };
  // What may come in segments, by the type of the base attribute.
  struct Admission {
    bool known = true;                          // false: refused with NOSKIP, else not fetched
    std::size_t bytes = std::size_t(16) << 20;  // most of the base attribute with its header
    bool incremental = false;                   // hand on the value's pieces as they come
  };
  using Admit = std::function<Admission(std::uint32_t vendor, std::uint32_t type)>;

  // A piece of an incremental attribute's value.
  struct Piece {
    std::uint32_t id = 0;  // of the transfer: errors quote pseudo_header(id)
    std::uint8_t flags = 0;
    std::uint32_t vendor = 0, type = 0;
    std::size_t value_size = 0;  // of the whole value
    std::size_t at = 0;          // of this piece in the value; errors quote at + attribute_header_size
    Bytes bytes;                 // borrows from the envelope; may be empty
    bool last = false;
  };
  // What to do after an envelope.
  struct Step {
    std::uint32_t id = 0;
    bool ask_next = false, cancel = false;  // answer with Next Segment
    std::optional<ByteVector> attribute;    // complete: header and value
    std::optional<Piece> piece;
    std::optional<Refusal> refusal;  // answer with a PA-TNC error ...
    bool about_base = true;          // ... that quotes pseudo_header(id); false: the message's own header
    bool lost = false;               // what was cancelled is something that the receiver wanted
    std::string_view why;            // literal: why it was cancelled or refused; empty for a stray segment of what
                                     // was cancelled before
  };
  // What batch_end() gave up.
  struct Dropped {
    std::uint32_t id = 0, vendor = 0, type = 0;
  };

  Reassembler() : Reassembler(Limits{}) {}
  explicit Reassembler(Limits limits, Admit admit = {}, ReassemblyBudget* budget = nullptr)
      : limits_(limits), admit_(std::move(admit)), budget_(budget) {}

  // We asked this peer, or any, for this contract.
  void issue(const Contract& asked);
  // The peer's Contract Response: a smaller segment size counts, everything else is ours (§3.3). False: we asked for
  // none.
  bool agree(const Contract& response);
  const std::optional<Contract>& contract() const { return contract_; }
  // A new one takes up the contract of one before, of which nothing is left.
  void resume(const std::optional<Contract>& before) { contract_ = before; }

  // `value_offset`: of the envelope's value in its message, for refusals of the envelope itself.
  Step add(const Envelope& envelope, std::size_t value_offset);
  // The reader of an attribute's pieces, or of a complete one, found its value wrong: `offset` counts from the base
  // attribute's first byte. The transfer is dropped, and cancelled if the step asked for more.
  Step refuse(const Step& step, std::size_t offset, std::string_view why);
  // The rest isn't wanted.
  Step cancel(const Step& step, std::string_view why);
  // The end of a batch from the peer. `spoke`: it held a PA-TNC message, of whatever subtype. A peer sends what it has
  // in order, so a segment may come batches after its Next Segment, behind other subtypes' messages; a transfer is dead
  // after a batch in which the peer had nothing to say, and after Limits::batches without a segment. Not to be called
  // for a batch that came before our Next Segment was sent.
  std::vector<Dropped> batch_end(bool spoke);

  std::size_t transfers() const { return transfers_.size(); }
  // Nothing is in transfer, and no segment of what was cancelled may still come.
  bool idle() const { return transfers_.empty() && cancelled_.empty(); }

 private:
  // A transfer's share of the budget.
  class Share {
   public:
    Share() = default;
    Share(ReassemblyBudget* budget, std::size_t bytes) : budget_(budget), bytes_(bytes) {}
    Share(Share&& o) noexcept : budget_(std::exchange(o.budget_, nullptr)), bytes_(o.bytes_) {}
    Share& operator=(Share o) noexcept {
      std::swap(budget_, o.budget_);
      std::swap(bytes_, o.bytes_);
      return *this;
    }
    ~Share() {
      if (budget_ != nullptr) budget_->give(bytes_);
    }

   private:
    ReassemblyBudget* budget_ = nullptr;
    std::size_t bytes_ = 0;
  };
  struct Transfer {
    Attribute base;  // flags, vendor, type
    std::size_t total = 0, got = 0, segments = 0;
    bool incremental = false;
    bool fed = false;        // since the last batch_end()
    std::size_t missed = 0;  // batches without a segment
    ByteVector bytes;
    Share share;
  };
  using Transfers = std::map<std::uint32_t, Transfer>;

  Step start(const Envelope& e);
  Step proceed(Transfers::iterator at, const Envelope& e);
  Step stop(const Envelope& e, std::string_view why);
  Step lose(const Envelope& e, std::string_view why);
  Step refuse(const Envelope& e, std::size_t offset, std::string_view why);
  void drop(std::uint32_t id);

  Limits limits_;
  Admit admit_;
  ReassemblyBudget* budget_;
  std::optional<Contract> contract_;
  Transfers transfers_;
  std::vector<std::uint32_t> cancelled_;  // a peer that doesn't know C sends one more segment (§3.8)
};

// Answers a step that asks for more or cancels; false: it does neither.
bool add_next_segment(Builder& out, const Reassembler::Step& step);

}  // namespace gatehouse::patnc
