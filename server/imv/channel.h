// How one IMV speaks with its collectors: the PA-TNC messages of one subtype in both directions, with the segmentation
// contracts of each collector. Contracts, envelopes and Next Segment are handled here (spec part 1b §3); an IMV sees
// attributes only, and needn't know in which messages or segments they travel.
//
//   channel.request_contract();
//   channel.add(patnc::noskip, tcg, pts::type::get_aik, zeros);   // to any collector
//   channel.add(0, ietf, type, value, collector);                 // to one, exclusively
//
// What is added goes out, packed into messages, when the session flushes the channel: after it delivered a batch, and
// after each IMV's batch_end().
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "server/imv/conversation.h"

namespace gatehouse::server {

// A run of attributes of one PA-TNC message, or one attribute that came in segments, as if alone in a message of its own:
// then offsets count from the attribute's first byte and errors quote a pseudo header.
struct Message {
  std::uint16_t collector = pbtnc::any;  // who sent it
  Bytes header_copy;                     // 8 bytes, quoted in errors
  std::span<const patnc::Attribute> attributes;
  // The same attributes as bytes, behind 8 bytes to skip; an offset in them plus `base_offset` counts as the
  // attributes' offsets do.
  Bytes bytes;
  std::size_t base_offset = 0;
};

// What the IMV behind a channel does with what comes.
class Receiver {
 public:
  virtual ~Receiver() = default;
  // Without segmentation attributes; never empty.
  virtual void receive(const Message& message) = 0;
  // A piece of an attribute that Channel's admission declared incremental, in order. An error (its offset counts from the
  // base attribute) refuses the attribute; malformed() follows. Fault::limit cancels it without a PA-TNC error before
  // malformed(), Fault::denied is for what isn't wanted: it is cancelled, and that is all.
  virtual Result<void> receive_piece(std::uint16_t /*collector*/, const patnc::Reassembler::Piece& /*piece*/) { return {}; }
  // Something of its subtype can't be used, or is given up half way; the collector has been told.
  virtual void malformed(std::string_view why) = 0;
};

class Channel {
 public:
  Channel(Conversation& conversation, std::uint16_t imv, std::uint32_t vendor, std::uint32_t subtype,
          patnc::Reassembler::Admit admit);

  std::uint32_t vendor() const { return vendor_; }
  std::uint32_t subtype() const { return subtype_; }

  // Once for a connection, in front of what is added next; the contract holds for every collector that answers.
  void request_contract();
  // In the order of the calls. False: it fits into no message, and no contract allows to cut it; the log says so.
  bool add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value, std::uint16_t collector = pbtnc::any);
  // PA-TNC Error to who sent `message`; bounded in number.
  void refuse(const Message& message, const patnc::Refusal& refusal);
  // What waits goes to the session's out-queue.
  void flush();
  // Forgets what was added and not flushed: an assessment replaces the requests of the same batch (spec part 1b §4.3).
  void discard() { outgoing_.clear(); }

  // What of it lasts as long as the connection, while nothing of it is needed: its contracts, by collector.
  struct Agreed {
    struct With {
      std::uint16_t collector;
      patnc::Segmenter::Agreed sending;
      std::optional<patnc::Contract> receiving;
    };
    bool requested = false;
    std::vector<With> with;
  };
  // nullopt: something is in transfer.
  std::optional<Agreed> agreed() const;
  // Of a channel that is new.
  void resume(const Agreed& before);

  // A message of this subtype, whole and in order.
  void take(const pbtnc::PaMessage& pa, const patnc::Parsed& parsed, Receiver& receiver);
  // All messages of a batch have been taken; `spoke`: it held any.
  void batch_end(bool spoke, Receiver& receiver);

 private:
  struct Link {
    patnc::Segmenter segmenter;
    patnc::Reassembler reassembler;
  };
  Link* link(std::uint16_t collector);
  Link new_link() const;
  patnc::Builder& builder(std::uint16_t collector);
  void say_error(std::uint16_t collector, const patnc::Refusal& refusal, Bytes header_copy);
  void on_contract_request(Link& link, const pbtnc::PaMessage& pa, Reader& r, Receiver& receiver);
  void on_envelope(Link& link, const pbtnc::PaMessage& pa, Reader& r, Receiver& receiver);
  void perform(const pbtnc::PaMessage& pa, patnc::Reassembler::Step step, Receiver& receiver);
  void deliver(const pbtnc::PaMessage& pa, std::span<const patnc::Attribute> run, Receiver& receiver);

  Conversation& c_;
  const std::uint16_t imv_;
  const std::uint32_t vendor_, subtype_;
  const patnc::Reassembler::Admit admit_;
  bool contract_requested_ = false;
  std::map<std::uint16_t, Link> links_;                             // by collector
  std::vector<std::pair<std::uint16_t, patnc::Builder>> outgoing_;  // by collector, in order of first use
};

}  // namespace gatehouse::server
