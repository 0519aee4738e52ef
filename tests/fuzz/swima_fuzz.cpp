#include <cstdlib>

#include "wire/swima/swima.h"

using namespace gatehouse;

namespace {

struct Outcome {
  std::uint64_t records = 0;
  std::size_t bytes = 0;  // of the records' text, so that views are read
  bool failed = false;
  std::size_t offset = 0;
  bool operator==(const Outcome&) const = default;
};

template <class Format>
Outcome read(Bytes value, Format format, std::size_t piece, auto&& bytes_of) {
  Outcome out;
  patnc::Cursor<Format> cursor(0, format);
  const auto failed = [&](const Error& e) {
    out.failed = true;
    out.offset = e.offset;
    return out;
  };
  for (std::size_t at = 0; at < value.size(); at += piece) {
    const ByteVector own = to_vector(value.subspan(at, std::min(piece, value.size() - at)));
    cursor.feed(own);
    for (;;) {
      const auto record = cursor.next();
      if (!record) return failed(record.error());
      if (*record == nullptr) break;
      out.bytes += bytes_of(**record);
      ++out.records;
    }
    if (cursor.held_bytes() > 2 * (value.size() + 64)) std::abort();
  }
  if (const auto end = cursor.end(); !end) return failed(end.error());
  return out;
}

// Any cut gives the same records and the same error, inside the value.
template <class Format>
void check(Bytes value, Format format, std::size_t piece, auto&& bytes_of) {
  const Outcome whole = read(value, format, value.size() + 1, bytes_of);
  if (whole.offset > value.size()) std::abort();
  if (read(value, format, piece, bytes_of) != whole) std::abort();
}

std::size_t sum(std::string_view text) {
  std::size_t out = 0;
  for (const char c : text) out += static_cast<unsigned char>(c);
  return out;
}

// A value that parses is written to one that parses to the same.
template <class Value>
void check_again(Bytes value, Result<Value> (*parse)(Reader&), auto&& append) {
  Reader r(value, "fuzz");
  const auto v = parse(r);
  if (!v) {
    if (v.error().offset > value.size()) std::abort();
    return;
  }
  Writer w;
  append(w, *v);
  Reader again(w.view(), "fuzz");
  const auto same = parse(again);
  if (!same || *same != *v) std::abort();
}

}  // namespace

// The first byte is the length of a piece, the rest the value of each of SWIMA's attributes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes value = Bytes(reinterpret_cast<const std::byte*>(data), size).subspan(1);
  const std::size_t piece = std::size_t(data[0]) + 1;
  const auto of_software = [](const swima::SoftwareRecord& v) {
    (void)swima::split_identifier(v.identifier);
    return sum(v.identifier) + sum(v.locator) + sum(as_text(v.record));
  };
  const auto of_event = [&](const swima::Event& v) { return sum(v.timestamp) + of_software(v.software); };
  for (const swima::Content content : {swima::Content::identifiers, swima::Content::records}) {
    check(value, swima::InventoryFormat{.content = content}, piece, of_software);
    check(value, swima::EventsFormat{.content = content}, piece, of_event);
  }
  check_again(value, swima::parse_request, swima::append_request);
  check_again(value, swima::parse_subscription_status, swima::append_subscription_status);
  check_again(value, swima::parse_source_metadata, swima::append_source_metadata);
  for (std::uint32_t code = swima::error::general; code <= swima::error::subscription_id_reuse; ++code) {
    Reader r(value, "fuzz");
    (void)swima::parse_error_information(code, r);
  }
  return 0;
}
