// A message taken apart into named fields, for people and for scripts. The leaves of a tree cover each byte of what was
// taken apart exactly once and in order, whatever the bytes are: what can't be read is a leaf of its own, in hex.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/reader.h"

namespace gatehouse::trace {

struct Field {
  std::size_t offset = 0, length = 0;  // bytes, from the first byte of the outermost message
  std::string name, value;             // value: text or hex; peer text is escaped. Empty where there are fields below
  std::string problem;                 // why what begins here can't be read
  std::vector<Field> fields;
};

struct Problem {
  std::size_t offset = 0;
  std::string reason;
};

// Attributes that came in segments, put together over the batches of a conversation. Holds no more than what came.
struct Reassembly;

// What a walk over one message shares.
struct Context {
  std::vector<Problem> problems;
  Reassembly* reassembly = nullptr;
  std::vector<Field> reassembled;  // complete attributes; their offsets count from the attribute's first byte
  bool from_server = false;
  std::uint32_t subtype_vendor = 0, subtype = 0;  // of the PA-TNC message

  // What is wrong in [from, to): the first reason that is found stands.
  void report(std::size_t from, std::size_t to, std::size_t offset, std::string_view reason);
};

using Text = std::string (*)(std::uint64_t);
std::string decimal(std::uint64_t v);
std::string hexadecimal(std::uint64_t v);  // "0x1a"

// Takes one message's bytes from front to back and makes a field of each step. After a step that asks for more bytes
// than there are, every further step does nothing.
class Walk {
 public:
  // `lenient`: bytes that are left at the end are called ignored, because the format's own parser skips them.
  Walk(Field& parent, Context& context, Bytes bytes, std::size_t offset, bool lenient = false)
      : parent_(parent), context_(context), rest_(bytes), begin_(offset), at_(offset), lenient_(lenient) {}

  Context& context() { return context_; }
  bool good() const { return good_; }
  std::size_t left() const { return rest_.size(); }
  bool more() const { return good_ && !rest_.empty(); }
  std::size_t offset() const { return at_; }
  Bytes rest() const { return rest_; }

  // Big-endian, 1 to 8 bytes.
  std::uint64_t number(std::string_view name, std::size_t bytes, Text render = decimal);
  Bytes hex(std::string_view name, std::size_t bytes);
  Bytes hex(std::string_view name) { return hex(name, left()); }
  std::string_view text(std::string_view name, std::size_t bytes);
  std::string_view text(std::string_view name) { return text(name, left()); }
  // Shown by its size only.
  void hidden(std::string_view name, std::size_t bytes);
  // A length and so many bytes of text, or of anything.
  std::string_view counted_text(std::string_view name, std::size_t length_bytes);
  Bytes counted_hex(std::string_view name, std::size_t length_bytes);

  // Fields in exactly `bytes` bytes. What is wrong inside doesn't concern what follows.
  template <class Body>
  void group(std::string_view name, std::size_t bytes, Body&& body, bool lenient = false) {
    const Bytes inner = take(name, bytes);
    if (!good_) return;
    Field field{at_ - bytes, bytes, std::string(name), {}, {}, {}};
    Walk walk(field, context_, inner, field.offset, lenient);
    body(walk, field);
    walk.finish();
    parent_.fields.push_back(std::move(field));
  }
  // Fields that say themselves how long they are.
  template <class Body>
  void record(std::string_view name, Body&& body) {
    if (!good_) return;
    Field field{at_, 0, std::string(name), {}, {}, {}};
    Walk walk(field, context_, rest_, at_);
    body(walk);
    field.length = walk.at_ - at_;
    good_ = walk.good_;
    rest_ = walk.rest_;
    at_ = walk.at_;
    parent_.fields.push_back(std::move(field));
  }
  // The rest can't be read.
  void fail(std::string_view reason);
  void finish();

 private:
  Bytes take(std::string_view name, std::size_t bytes);
  void leaf(std::string_view name, std::size_t bytes, std::string value);

  Field& parent_;
  Context& context_;
  Bytes rest_;
  std::size_t begin_, at_;
  bool lenient_;
  bool good_ = true;
};

}  // namespace gatehouse::trace
