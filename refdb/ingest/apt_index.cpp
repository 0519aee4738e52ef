#include "refdb/ingest/apt_index.h"

#include <algorithm>
#include <array>
#include <ctime>

#include "base/hex.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view spec = "deb822(5)";
constexpr std::string_view blanks = " \t";

std::unexpected<Error> bad(std::string_view why, std::size_t at) { return fail(Fault::malformed, why, spec, at); }

char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; }
bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}
const ControlField* find(std::span<const ControlField> fields, std::string_view name) {
  for (const ControlField& f : fields)
    if (same_name(f.name, name)) return &f;
  return nullptr;
}
std::string_view value_of(std::span<const ControlField> fields, std::string_view name) {
  const ControlField* const f = find(fields, name);
  return f == nullptr ? std::string_view{} : f->value;
}
std::string_view trimmed(std::string_view text) {
  constexpr std::string_view white = " \t\r\n";
  const std::size_t first = text.find_first_not_of(white);
  return first == text.npos ? std::string_view{} : text.substr(first, text.find_last_not_of(white) - first + 1);
}
// Cuts off what is up to the next blank.
std::string_view word(std::string_view& rest) {
  rest = trimmed(rest);
  const std::size_t end = std::min(rest.find_first_of(blanks), rest.size());
  const std::string_view out = rest.substr(0, end);
  rest.remove_prefix(end);
  return out;
}
bool has_word(std::string_view text, std::string_view wanted) {
  for (std::string_view one = word(text); !one.empty(); one = word(text))
    if (one == wanted) return true;
  return false;
}
std::optional<Digest> sha256(std::string_view hex) {
  if (hex.size() != 64) return std::nullopt;
  const auto bytes = from_hex(hex);
  return bytes ? std::optional(Digest(*bytes)) : std::nullopt;
}

}  // namespace

Result<std::optional<std::string_view>> StanzaReader::line() {
  for (std::size_t searched = cursor_;;) {
    const std::size_t end = buffer_.find('\n', searched);
    if (end != buffer_.npos) {
      const std::string_view out = std::string_view(buffer_).substr(cursor_, end - cursor_);
      cursor_ = end + 1;
      return out;
    }
    if (ended_) {
      if (cursor_ == buffer_.size()) return std::nullopt;
      const std::string_view out = std::string_view(buffer_).substr(cursor_);
      cursor_ = buffer_.size();
      return out;
    }
    // What is before this stanza goes only now, so that small stanzas cost no copies.
    if (begin_ != 0) {
      buffer_.erase(0, begin_);
      before_ += begin_;
      cursor_ -= begin_;
      for (Place& p : places_) p.name -= begin_, p.value -= begin_, p.end -= begin_;
      begin_ = 0;
    }
    searched = buffer_.size();
    if (searched > limit_bytes_) return fail(Fault::limit, "a paragraph longer than allowed", spec, before_);
    constexpr std::size_t block = std::size_t(64) << 10;
    buffer_.resize(searched + block);
    GH_TRY(const std::size_t n, stream_.read(std::as_writable_bytes(std::span(buffer_)).subspan(searched)));
    buffer_.resize(searched + n);
    ended_ = n < block;
  }
}

// `at`: of the line in the buffer.
Result<void> StanzaReader::take(std::string_view line, std::size_t at) {
  if (blanks.find(line.front()) != blanks.npos) {
    if (places_.empty()) return bad("a continuation of no field", before_ + at);
    places_.back().end = at + line.size();
    return {};
  }
  const std::size_t colon = line.find(':');
  const std::string_view name = line.substr(0, std::min(colon, line.size()));
  if (colon == line.npos || colon == 0 ||
      std::any_of(name.begin(), name.end(), [](char c) { return c <= ' ' || c > '~'; }))
    return bad("a line that is no field", before_ + at);
  for (const Place& p : places_)
    if (same_name(std::string_view(buffer_).substr(p.name, p.name_size), name))
      return bad("a field twice in one paragraph", before_ + at);
  if (places_.size() >= 256) return fail(Fault::limit, "more fields than allowed", spec, before_ + at);
  places_.push_back({at, colon, at + colon + 1, at + line.size()});
  return {};
}

Result<std::span<const ControlField>> StanzaReader::next() {
  places_.clear();
  fields_.clear();
  begin_ = cursor_;
  for (;;) {
    GH_TRY(const auto text, line());
    if (!text) break;
    const auto at = std::size_t(text->data() - buffer_.data());
    if (!trimmed(*text).empty()) {
      GH_CHECK(take(*text, at));
      if (cursor_ - begin_ > limit_bytes_)
        return fail(Fault::limit, "a paragraph longer than allowed", spec, before_ + begin_);
    } else if (!places_.empty()) {
      break;
    } else {
      begin_ = cursor_;
    }
  }
  const std::string_view all = buffer_;
  for (const Place& p : places_)
    fields_.push_back({all.substr(p.name, p.name_size), trimmed(all.substr(p.value, p.end - p.value)), before_ + p.name});
  return std::span<const ControlField>(fields_);
}

std::optional<std::int64_t> parse_date(std::string_view text) {
  constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  if (const std::size_t comma = text.find(','); comma != text.npos) {
    if (comma != 3) return std::nullopt;
    text.remove_prefix(comma + 1);
  }
  const auto day = decimal<int>(word(text));
  const auto month = std::find(months.begin(), months.end(), word(text));
  const auto year = decimal<int>(word(text));
  const std::string_view clock = word(text), zone = word(text);
  if (!trimmed(text).empty() || (zone != "UTC" && zone != "GMT" && zone != "Z" && zone != "+0000")) return std::nullopt;
  if (!day || month == months.end() || !year || *year < 1970 || *year > 9999) return std::nullopt;
  const std::size_t first = clock.find(':'), second = clock.find(':', first == clock.npos ? first : first + 1);
  if (first == clock.npos || second == clock.npos) return std::nullopt;
  const auto hour = decimal<int>(clock.substr(0, first)), minute = decimal<int>(clock.substr(first + 1, second - first - 1)),
             seconds = decimal<int>(clock.substr(second + 1));
  if (!hour || !minute || !seconds || *hour > 23 || *minute > 59 || *seconds > 60) return std::nullopt;
  std::tm parts{};
  parts.tm_year = *year - 1900;
  parts.tm_mon = int(month - months.begin());
  parts.tm_mday = *day;
  parts.tm_hour = *hour;
  parts.tm_min = *minute;
  parts.tm_sec = *seconds;
  const std::time_t out = ::timegm(&parts);
  // The 31st of a short month would have become another day.
  if (parts.tm_mday != *day || *day == 0) return std::nullopt;
  return out;
}

Result<Release> parse_release(Bytes text) {
  constexpr std::string_view format = "DebianRepository/Format";
  if (text.size() > max_release_bytes) return fail(Fault::limit, "a Release file larger than allowed", format);
  const MemoryInput input(text);
  PlainStream stream(input, 0);
  StanzaReader stanzas(stream, max_release_bytes);
  GH_TRY(const auto fields, stanzas.next());
  Release out;
  out.suite = value_of(fields, "Suite").substr(0, 255);
  out.codename = value_of(fields, "Codename").substr(0, 255);
  out.by_hash = value_of(fields, "Acquire-By-Hash") == "yes";
  // As apt does: an index that is listed without either is as little kept up as it is read, also by mirrors.
  const ControlField* const architectures = find(fields, "Architectures");
  out.has_own_all = value_of(fields, "No-Support-for-Architecture-all") != "Packages" &&
                    (architectures == nullptr || has_word(architectures->value, "all"));
  const ControlField* const date = find(fields, "Date");
  if (date == nullptr) return bad("the Release file has no date", 0);
  const auto made = parse_date(date->value);
  if (!made) return bad("a date that can't be read", date->at);
  out.date = *made;
  if (const ControlField* const until = find(fields, "Valid-Until")) {
    out.valid_until = parse_date(until->value);
    if (!out.valid_until) return bad("a date that can't be read", until->at);
  }
  const ControlField* const list = find(fields, "SHA256");
  if (list == nullptr) return bad("the Release file has no SHA-256 digests", 0);
  for (std::string_view rest = list->value; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    const std::size_t at = std::size_t(line.data() - list->value.data()) + list->at;
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const auto digest = sha256(word(line));
    const auto size = decimal<std::uint64_t>(word(line));
    const std::string_view path = trimmed(line);
    if (!digest || !size || path.empty()) return bad("not a digest, a size and a name", at);
    const auto [there, is_new] = out.files.emplace(path, Release::File{*digest, *size});
    if (!is_new && (there->second.sha256 != *digest || there->second.size != *size))
      return bad("a file with two digests", at);
  }
  return out;
}

Result<std::optional<IndexItem>> PackagesReader::next() {
  GH_TRY(const auto fields, stanzas_.next());
  if (fields.empty()) return std::nullopt;
  IndexItem out;
  IndexEntry& e = out.entry;
  e.name = value_of(fields, "Package").substr(0, 255);
  const auto refuse = [&](std::string_view why) {
    out.bad = Error{Fault::malformed, why, spec, fields.front().at, {}, {}};
    return std::optional(std::move(out));
  };
  e.version = value_of(fields, "Version").substr(0, 255);
  e.architecture = value_of(fields, "Architecture").substr(0, 255);
  e.section = value_of(fields, "Section").substr(0, 255);
  e.priority = value_of(fields, "Priority").substr(0, 255);
  if (e.name.empty() || e.version.empty()) return refuse("the index names no package or version");
  std::string_view path = value_of(fields, "Filename");
  if (path.starts_with("./")) path.remove_prefix(2);  // of a flat repository
  if (!is_safe_path(path)) return refuse("a package file outside the repository");
  e.path = path;
  const auto size = decimal<std::uint64_t>(value_of(fields, "Size"));
  if (!size || *size == 0) return refuse("the index gives no size");
  e.size = *size;
  if (e.size > max_repository_package_bytes) return refuse("a package larger than allowed");
  const auto digest = sha256(value_of(fields, "SHA256"));
  if (!digest) return refuse("the index gives no SHA-256 digest");
  e.digest = *digest;
  return std::optional(std::move(out));
}

}  // namespace gatehouse::refdb
