// PT-TLS messages and PB-TNC batches down to each field with its offset: headers, PB-TNC messages, PA-TNC messages,
// attributes and the values of those that wire/ knows. Made for reading: every input gives a tree, and what is wrong
// with it is listed as the parsers of wire/ would refuse it. Work and memory are linear in the input.
//
//   const trace::Dissection d = trace::dissect_batch(bytes);
//   std::cout << trace::text(d, {.brief = true});
//   if (!d.problems.empty()) return 3;
#pragma once

#include <map>
#include <string>
#include <tuple>

#include "base/bytes.h"
#include "server/trace/fields.h"

namespace gatehouse::trace {

struct Reassembly {
  using Key = std::tuple<bool, std::uint32_t, std::uint32_t, std::uint32_t>;  // from server, PA vendor and subtype, id
  std::map<Key, ByteVector> transfers;
};

struct Dissection {
  Field root;
  std::vector<Problem> problems;   // in order of discovery; empty: well-formed
  std::vector<Field> reassembled;  // attributes of which this batch brought the last segment
};

// `reassembly`: of the conversation, where its batches are given in order.
Dissection dissect_batch(Bytes batch, Reassembly* reassembly = nullptr);
// One message with its 16-byte header. What SASL messages carry besides names isn't shown.
Dissection dissect_message(Bytes message, Reassembly* reassembly = nullptr);
// A batch (it begins with version 2) or PT-TLS messages one after the other.
Dissection dissect(Bytes bytes);

// The value of one attribute. Part of the above.
void walk_attribute_value(Walk& w, std::uint32_t vendor, std::uint32_t type);
// What wire/ says of a value that a PA-TNC message holds at `offset`; nothing for attributes that it doesn't know.
Result<void> check_attribute_value(std::uint32_t vendor, std::uint32_t type, Bytes value, std::size_t offset);
// "Simple Component Evidence" without its namespace.
std::string plain_name(std::uint32_t vendor, std::uint32_t type);

struct Rendering {
  bool brief = false;  // runs of equal attributes are one line, long values are cut
};
// Lines of `offset  bytes  name  value`; offsets in hexadecimal.
std::string text(const Dissection& d, const Rendering& how = {});
// One object: "length", "fields" (each with offset, length, name, value or fields), "malformed" (offset, reason), and
// "reassembled" where there is something.
std::string json(const Dissection& d);

}  // namespace gatehouse::trace
