#include "wire/ima/ima.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/hex.h"

namespace gatehouse::ima {
namespace {

constexpr std::string_view spec = "kernel ima_fs.c";
constexpr std::size_t sha1_size = 20;
constexpr std::size_t legacy_name_size = 256;  // the kernel pads to IMA_EVENT_NAME_LEN_MAX + 1

struct Template {
  std::string_view name, fields;
};
constexpr Template templates[] = {
    {"ima", "d|n"},
    {"ima-ng", "d-ng|n-ng"},
    {"ima-sig", "d-ng|n-ng|sig"},
    {"ima-ngv2", "d-ngv2|n-ng"},
    {"ima-sigv2", "d-ngv2|n-ng|sig"},
    {"ima-buf", "d-ng|n-ng|buf"},
    {"ima-modsig", "d-ng|n-ng|sig|d-modsig|modsig"},
    {"evm-sig", "d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode"},
};
constexpr std::string_view known_fields[] = {"d", "n", "d-ng", "n-ng", "d-ngv2", "sig", "buf", "d-modsig", "modsig",
                                             "evmsig", "xattrnames", "xattrlengths", "xattrvalues", "iuid", "igid", "imode"};

std::string_view next_field(std::string_view& list) {
  const std::size_t bar = list.find('|');
  const std::string_view field = list.substr(0, bar);
  list = bar == std::string_view::npos ? std::string_view{} : list.substr(bar + 1);
  return field;
}

// "sha256:\0" digest, or "ima:sha256:\0" digest.
void read_digest(Bytes value, bool v2, Fields& out) {
  const std::string_view text = as_text(value);
  const std::size_t nul = text.find('\0');
  if (nul == std::string_view::npos || nul == 0 || text[nul - 1] != ':') return;
  std::string_view head = text.substr(0, nul - 1);
  if (v2) {
    const std::size_t colon = head.find(':');
    if (colon == std::string_view::npos) return;
    out.type = head.substr(0, colon);
    head = head.substr(colon + 1);
  }
  out.algorithm = head;
  out.digest = value.subspan(nul + 1);
}

// Reads what the known fields say. Field lengths that contradict the data's length are an error; a field that doesn't
// read as its format says leaves its part empty: the hash is what counts.
Result<void> read_fields(Bytes data, std::string_view list, std::size_t base, Fields& out) {
  out = {};
  Reader r(data, spec, base);
  std::string_view rest = list;
  while (!r.empty()) {
    const auto start = r;
    GH_TRY(const auto length, r.get_le<std::uint32_t>());
    if (length > r.remaining()) return start.fail("field longer than the template data");
    GH_TRY(const Bytes value, r.take(length));
    const std::string_view field = next_field(rest);
    if (field == "d-ng" || field == "d-ngv2") {
      read_digest(value, field == "d-ngv2", out);
    } else if (field == "d") {
      out.algorithm = "sha1";
      out.digest = value;
    } else if (field == "n-ng" || field == "n") {
      std::string_view name = as_text(value);
      if (!name.empty() && name.back() == '\0') name.remove_suffix(1);
      if (name.size() > max_name_size) return start.fail("name longer than PATH_MAX");
      out.name = name;
    } else if (field == "sig") {
      out.signature = value;
    } else if (field == "buf") {
      out.buffer = value;
      out.is_file = false;
    }
  }
  return {};
}

}  // namespace

std::string_view field_list(std::string_view name) {
  for (const Template& t : templates)
    if (t.name == name) return t.fields;
  // A custom format names its fields.
  std::string_view rest = name;
  if (name.empty()) return {};
  while (!rest.empty()) {
    const std::string_view field = next_field(rest);
    if (std::find(std::begin(known_fields), std::end(known_fields), field) == std::end(known_fields)) return {};
  }
  return name;
}

void append_ng_template_data(Writer& w, std::string_view algorithm, Bytes digest, std::string_view name) {
  w.put_le(std::uint32_t(algorithm.size() + 2 + digest.size()));
  w.put_text(algorithm);
  w.put_bytes(as_bytes(std::string_view(":\0", 2)));
  w.put_bytes(digest);
  w.put_le(std::uint32_t(name.size() + 1));
  w.put_text(name);
  w.put(std::uint8_t{0});
}

void append_legacy_template_data(Writer& w, Bytes digest, std::string_view name) {
  w.put_bytes(digest);
  name = name.substr(0, legacy_name_size);
  w.put_text(name);
  w.put_zeros(legacy_name_size - name.size());
}

Cursor::Form form_of(Bytes list) {
  // ASCII: "10 <hex> ..." with a leading blank for one digit.
  std::size_t i = 0;
  while (i < list.size() && i < 2 && list[i] == std::byte{' '}) ++i;
  if (i < list.size() && as_text(list)[i] >= '0' && as_text(list)[i] <= '9' && list.size() > i + 2 &&
      (list[i + 1] == std::byte{' '} || list[i + 2] == std::byte{' '}))
    return Cursor::Form::ascii;
  return Cursor::Form::binary;
}

void Cursor::feed(Bytes piece) {
  buffer_.erase(buffer_.begin(), buffer_.begin() + std::ptrdiff_t(at_));
  discarded_ += at_;
  scanned_ -= std::min(scanned_, at_);
  at_ = 0;
  buffer_.insert(buffer_.end(), piece.begin(), piece.end());
}

Result<const Entry*> Cursor::next() {
  if (at_ == buffer_.size()) return nullptr;
  if (form_ == Form::ascii) return next_ascii();
  return next_binary(Reader(Bytes(buffer_).subspan(at_), spec, discarded_ + at_));
}

Result<const Entry*> Cursor::next_binary(Reader r) {
  const auto start = r;
  const auto more = [&](const Reader& at, std::string_view why) -> Result<const Entry*> {
    if (ended_) return at.fail(why);
    return nullptr;
  };
  entry_ = {};
  entry_.offset = r.offset();
  if (r.remaining() < 4) return more(r, "truncated entry header");
  GH_TRY(entry_.pcr, r.get_le<std::uint32_t>());
  if (entry_.pcr > 23) return start.fail("PCR index above 23 (or a list of a big-endian machine)");
  if (r.remaining() < sha1_size + 4) return more(start, "truncated entry header");
  GH_TRY(entry_.recorded_hash, r.take(sha1_size));
  const auto at_name = r;
  GH_TRY(const auto name_length, r.get_le<std::uint32_t>());
  if (name_length == 0 || name_length > 255) return at_name.fail("template name length out of range");
  if (r.remaining() < name_length) return more(at_name, "template name longer than the list");
  GH_TRY(const Bytes name, r.take(name_length));
  entry_.template_name = as_text(name);
  if (entry_.template_name == "ima") {
    if (r.remaining() < sha1_size + 4) return more(r, "truncated entry of template ima");
    GH_TRY(const Bytes digest, r.take(sha1_size));
    const auto at_length = r;
    GH_TRY(const auto length, r.get_le<std::uint32_t>());
    if (length > max_name_size) return at_length.fail("name longer than PATH_MAX");
    if (r.remaining() < length) return more(at_length, "name longer than the list");
    GH_TRY(const Bytes file, r.take(length));
    Writer w;
    append_legacy_template_data(w, digest, as_text(file));
    data_ = std::move(w).take();
    entry_.template_data = data_;
    entry_.fields.algorithm = "sha1";
    entry_.fields.digest = digest;
    entry_.fields.name = as_text(file);
  } else {
    if (r.remaining() < 4) return more(r, "truncated template data length");
    const auto at_length = r;
    GH_TRY(const auto length, r.get_le<std::uint32_t>());
    if (length > max_entry_size) return at_length.fail("template data longer than 1 MiB");
    if (r.remaining() < length) return more(at_length, "template data longer than the list");
    GH_TRY(entry_.template_data, r.take(length));
    GH_CHECK(read_fields(entry_.template_data, field_list(entry_.template_name), at_length.offset() + 4, entry_.fields));
  }
  at_ = r.offset() - discarded_;
  return &entry_;
}

Result<const Entry*> Cursor::next_ascii() {
  const std::string_view text = as_text(buffer_);
  const std::size_t newline = text.find('\n', std::max(at_, scanned_));
  if (newline == std::string_view::npos) {
    if (buffer_.size() - at_ > 4 * max_entry_size) return fail(Fault::malformed, "line longer than 4 MiB", spec, discarded_ + at_);
    scanned_ = buffer_.size();
    if (!ended_) return nullptr;
  }
  const std::size_t end = newline == std::string_view::npos ? buffer_.size() : newline;
  std::string_view line = text.substr(at_, end - at_);
  const std::size_t offset = discarded_ + at_;
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  GH_CHECK(parse_line(line, offset));
  at_ = newline == std::string_view::npos ? end : end + 1;
  return &entry_;
}

namespace {

// Cuts the last word off; the rest keeps its blank.
std::string_view last_word(std::string_view& text) {
  const std::size_t blank = text.rfind(' ');
  const std::string_view word = blank == std::string_view::npos ? text : text.substr(blank + 1);
  text = blank == std::string_view::npos ? std::string_view{} : text.substr(0, blank);
  return word;
}

Result<ByteVector> unhex(std::string_view text, std::size_t offset) {
  auto bytes = from_hex(text);
  if (!bytes) return fail(Fault::malformed, "field isn't hexadecimal", spec, offset);
  return bytes;
}

void put_field(Writer& w, Bytes value) {
  w.put_le(std::uint32_t(value.size()));
  w.put_bytes(value);
}

// "sha256:ab12" to "sha256:\0" and the digest's bytes; the same with a type in front.
Result<ByteVector> digest_field(std::string_view text, std::size_t offset) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail(Fault::malformed, "digest without its algorithm", spec, offset);
  GH_TRY(const ByteVector digest, unhex(text.substr(colon + 1), offset));
  Writer w;
  w.put_text(text.substr(0, colon + 1));
  w.put(std::uint8_t{0});
  w.put_bytes(digest);
  return std::move(w).take();
}

}  // namespace

// The fields before the name are taken from the front, those after it from the back: a name may hold blanks.
Result<void> Cursor::parse_line(std::string_view line, std::size_t offset) {
  const auto bad = [&](std::string_view why) { return fail(Fault::malformed, why, spec, offset); };
  entry_ = {};
  entry_.offset = offset;
  std::string_view rest = line;
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  const auto word = [&](std::string_view& out) {
    const std::size_t blank = rest.find(' ');
    if (blank == std::string_view::npos) return false;
    out = rest.substr(0, blank);
    rest.remove_prefix(blank + 1);
    return true;
  };
  std::string_view pcr, hash, name;
  if (!word(pcr) || !word(hash) || !word(name)) return bad("not a line of an IMA list");
  const auto number = std::from_chars(pcr.data(), pcr.data() + pcr.size(), entry_.pcr);
  if (number.ec != std::errc{} || number.ptr != pcr.data() + pcr.size()) return bad("PCR index isn't a number");
  if (entry_.pcr > 23) return bad("PCR index above 23");
  if (hash.size() != 2 * sha1_size) return bad("template hash isn't 40 hexadecimal digits");
  GH_TRY(recorded_, unhex(hash, offset));
  entry_.recorded_hash = recorded_;
  const std::string_view list = field_list(name);
  if (list.empty()) return bad("unknown template: its data can't be rebuilt from the ASCII form");
  if (name.size() > 255) return bad("template name length out of range");

  std::vector<std::string_view> fields;
  for (std::string_view l = list; !l.empty();) fields.push_back(next_field(l));
  const auto at_name = std::find_if(fields.begin(), fields.end(), [](auto f) { return f == "n-ng" || f == "n"; });
  std::vector<std::string_view> values(fields.size());
  const std::size_t before = std::size_t(at_name - fields.begin());
  for (std::size_t i = 0; i < before; ++i) {
    if (i + 1 == fields.size()) {
      values[i] = rest;
      rest = {};
    } else if (!word(values[i])) {
      return bad("fewer fields than the template has");
    }
  }
  if (at_name != fields.end()) {
    for (std::size_t i = fields.size(); i-- > before + 1;) {
      if (rest.find(' ') == std::string_view::npos) return bad("fewer fields than the template has");
      values[i] = last_word(rest);
    }
    values[before] = rest;
    if (rest.size() > max_name_size) return bad("name longer than PATH_MAX");
  }

  Writer w;
  if (name == "ima") {
    GH_TRY(const ByteVector digest, unhex(values[0], offset));
    if (digest.size() != sha1_size) return bad("digest of template ima isn't 20 bytes");
    append_legacy_template_data(w, digest, values[1]);
    data_ = std::move(w).take();
    entry_.template_data = data_;
    entry_.fields.algorithm = "sha1";
    entry_.fields.digest = Bytes(data_).first(sha1_size);
    entry_.fields.name = values[1];
  } else {
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const std::string_view field = fields[i], value = values[i];
      if (field == "n-ng") {
        std::string text(value);
        text.push_back('\0');
        put_field(w, as_bytes(text));
      } else if (field == "n") {
        put_field(w, as_bytes(value));
      } else if (field == "d-ng" || field == "d-ngv2" || (field == "d-modsig" && !value.empty())) {
        GH_TRY(const ByteVector digest, digest_field(value, offset));
        put_field(w, digest);
      } else if (field == "iuid" || field == "igid" || field == "imode") {
        std::uint32_t v = 0;
        const auto parsed = std::from_chars(value.data(), value.data() + value.size(), v);
        if (parsed.ec != std::errc{} || parsed.ptr != value.data() + value.size() || (field == "imode" && v > 0xFFFF))
          return bad("field isn't a number");
        Writer n;
        if (field == "imode") n.put_le(std::uint16_t(v));
        else n.put_le(v);
        put_field(w, n.view());
      } else if (field == "xattrnames") {
        std::string text(value);
        if (!text.empty()) text.push_back('\0');
        put_field(w, as_bytes(text));
      } else {
        GH_TRY(const ByteVector bytes, unhex(value, offset));
        put_field(w, bytes);
      }
    }
    data_ = std::move(w).take();
    entry_.template_data = data_;
    GH_CHECK(read_fields(data_, list, offset, entry_.fields));
  }
  // Names of templates in the table outlive the line; a custom format borrows from the buffer.
  entry_.template_name = name;
  return {};
}

}  // namespace gatehouse::ima
