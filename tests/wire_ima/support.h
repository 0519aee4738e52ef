// Lists made entry by entry, and what a cursor says of a list that arrives in pieces.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/hex.h"
#include "base/writer.h"
#include "wire/ima/ima.h"

namespace gatehouse::testing {

inline ByteVector field(Bytes value) {
  Writer w;
  w.put_le(std::uint32_t(value.size()));
  w.put_bytes(value);
  return std::move(w).take();
}
inline ByteVector joined(std::initializer_list<ByteVector> parts) {
  ByteVector out;
  for (const ByteVector& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}
inline ByteVector ng_data(std::string_view name, std::string_view content = "content") {
  Writer w;
  ima::append_ng_template_data(w, "sha256", digest_of(HashAlgorithm::sha256, as_bytes(content)).view(), name);
  return std::move(w).take();
}

struct EntryParts {
  std::uint32_t pcr = 10;
  std::string template_name = "ima-ng";
  ByteVector data = ng_data("/usr/bin/x");
  std::optional<ByteVector> hash = std::nullopt;  // else the SHA-1 of the data
};
inline ByteVector binary_entry(const EntryParts& parts) {
  Writer w;
  w.put_le(parts.pcr);
  w.put_bytes(parts.hash ? Bytes(*parts.hash) : digest_of(HashAlgorithm::sha1, parts.data).view());
  w.put_le(std::uint32_t(parts.template_name.size()));
  w.put_text(parts.template_name);
  w.put_le(std::uint32_t(parts.data.size()));
  w.put_bytes(parts.data);
  return std::move(w).take();
}

// An entry that outlives its piece.
struct SeenEntry {
  std::size_t offset = 0;
  std::uint32_t pcr = 0;
  std::string hash, template_name, algorithm, type, name;
  ByteVector data, digest, buffer, signature;
  bool is_file = true;
  bool operator==(const SeenEntry&) const = default;
};

struct ListOutcome {
  std::vector<SeenEntry> entries;
  std::optional<std::pair<std::size_t, std::string>> error;  // offset, reason
  bool operator==(const ListOutcome&) const = default;
};

// Feeds the list cut at the given offsets, each piece a buffer of its own that is gone when the next arrives.
inline ListOutcome read_list(Bytes list, ima::Cursor::Form form, std::vector<std::size_t> cuts = {}) {
  ListOutcome out;
  ima::Cursor cursor(form);
  cuts.push_back(list.size());
  std::size_t at = 0;
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    const ByteVector piece = to_vector(list.subspan(at, cuts[i] - at));
    cursor.feed(piece);
    at = cuts[i];
    if (i + 1 == cuts.size()) cursor.end();
    for (;;) {
      const auto entry = cursor.next();
      if (!entry) {
        out.error.emplace(entry.error().offset, entry.error().reason);
        EXPECT_EQ(entry.error().fault, Fault::malformed);
        return out;
      }
      if (*entry == nullptr) break;
      const ima::Entry& e = **entry;
      out.entries.push_back({e.offset, e.pcr, to_hex(e.recorded_hash), std::string(e.template_name),
                             std::string(e.fields.algorithm), std::string(e.fields.type), std::string(e.fields.name),
                             to_vector(e.template_data), to_vector(e.fields.digest), to_vector(e.fields.buffer),
                             to_vector(e.fields.signature), e.fields.is_file});
    }
  }
  return out;
}
inline ListOutcome read_list(Bytes list) { return read_list(list, ima::form_of(list)); }
inline ListOutcome read_ascii(std::string_view list) { return read_list(as_bytes(list), ima::Cursor::Form::ascii); }
inline ListOutcome read_binary(const ByteVector& list) { return read_list(list, ima::Cursor::Form::binary); }

inline std::vector<std::size_t> random_cuts(std::mt19937& random, std::size_t size, std::size_t longest) {
  std::vector<std::size_t> out;
  for (std::size_t at = 0;;) {
    at += std::uniform_int_distribution<std::size_t>(1, longest)(random);
    if (at >= size) return out;
    out.push_back(at);
  }
}

// A line of ascii_runtime_measurements: the fields of the template data as the kernel shows each (spec part 2 §7.6).
inline std::string ascii_line(const EntryParts& parts) {
  std::string out = (parts.pcr < 10 ? " " : "") + std::to_string(parts.pcr) + " ";
  out += to_hex(parts.hash ? Bytes(*parts.hash) : digest_of(HashAlgorithm::sha1, parts.data).view()) + " " +
         parts.template_name;
  std::string_view list = ima::field_list(parts.template_name);
  Reader r(parts.data, "test");
  while (!list.empty()) {
    const std::string_view name = list.substr(0, list.find('|'));
    list.remove_prefix(std::min(list.size(), name.size() + 1));
    const Bytes value = r.take(r.get_le<std::uint32_t>().value()).value();
    std::string_view shown = as_text(value);
    out += ' ';
    if (name == "n-ng" || name == "n" || name == "xattrnames") {
      out += shown.substr(0, shown.find('\0'));
    } else if (name == "d-ng" || name == "d-ngv2" || name == "d-modsig") {
      if (value.empty()) continue;
      const std::size_t nul = shown.find('\0');
      out += std::string(shown.substr(0, nul)) + to_hex(value.subspan(nul + 1));
    } else if (name == "iuid" || name == "igid") {
      out += std::to_string(Reader(value, "test").get_le<std::uint32_t>().value());
    } else if (name == "imode") {
      out += std::to_string(Reader(value, "test").get_le<std::uint16_t>().value());
    } else {
      out += to_hex(value);
    }
  }
  return out + "\n";
}

}  // namespace gatehouse::testing
