// Linux IMA measurement lists: binary_runtime_measurements (kernel security/integrity/ima/ima_fs.c, ima_template*.c) and
// the ASCII form; spec part 2 §7. Little-endian. A cursor is fed pieces cut anywhere and yields one entry at a time; an
// entry borrows from the cursor's buffer and is valid until the next call.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::ima {

inline constexpr std::size_t max_entry_size = std::size_t(1) << 20;
inline constexpr std::size_t max_name_size = 4096;  // PATH_MAX
inline constexpr std::string_view boot_aggregate = "boot_aggregate";

// What a template's field list says of an entry (spec part 2 §7.2).
struct Fields {
  std::string_view algorithm;  // of the file digest: "sha1", "sha256", ...; "sha1" for the d field
  std::string_view type;       // of d-ngv2: "ima", "verity"; else empty
  Bytes digest;
  std::string_view name;       // without its NUL
  bool is_file = true;         // false: a measured buffer (ima-buf)
  Bytes buffer;
  Bytes signature;             // security.ima
};

struct Entry {
  std::size_t offset = 0;  // of the entry in the list (of the line in ASCII)
  std::uint32_t pcr = 10;
  Bytes recorded_hash;      // 20 bytes SHA-1; all zero: a violation
  std::string_view template_name;
  // What is hashed. For every template but "ima" these are the template data bytes; for "ima" the digest and the name
  // padded with zeros to 256 bytes.
  Bytes template_data;
  Fields fields;

  bool violation() const { return all_of_value(recorded_hash, std::byte{0}); }
};

class Cursor {
 public:
  enum class Form : std::uint8_t { binary, ascii };
  explicit Cursor(Form form) : form_(form) {}

  void feed(Bytes piece);
  void end() { ended_ = true; }
  // The next complete entry; nullptr: more bytes are needed, or after end() that was all.
  Result<const Entry*> next();

 private:
  Result<const Entry*> next_binary(Reader r);
  Result<const Entry*> next_ascii();
  Result<void> parse_line(std::string_view line, std::size_t offset);

  Form form_;
  ByteVector buffer_;
  std::size_t at_ = 0, discarded_ = 0, scanned_ = 0;
  bool ended_ = false;
  Entry entry_;
  ByteVector data_;      // template data that isn't in the list as such
  ByteVector recorded_;  // decoded from hex
};

// By content: a binary list starts with a small PCR index in binary, an ASCII one with digits and spaces.
Cursor::Form form_of(Bytes list);

// Field list of a template: a known name, or a custom format ("d-ng|n-ng|sig"); empty: unknown.
std::string_view field_list(std::string_view template_name);

// Template data of ima-ng: LE32 length, "algorithm:\0" digest, LE32 length, name, NUL.
void append_ng_template_data(Writer& w, std::string_view algorithm, Bytes digest, std::string_view name);
// The template "ima": digest (20 bytes) and the name padded with zeros to 256 bytes; a longer name is cut.
void append_legacy_template_data(Writer& w, Bytes digest, std::string_view name);

}  // namespace gatehouse::ima
