#include "wire/swima/xml.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/hex.h"

namespace gatehouse::swima {
namespace {

constexpr std::string_view spec = "ISO/IEC 19770-2";
constexpr std::string_view blanks = " \t\r\n";

bool is_white(char c) { return blanks.find(c) != blanks.npos; }

bool name_begins(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool name_goes_on(char c) { return name_begins(c) || (c >= '0' && c <= '9') || c == '-' || c == '.'; }

void append_utf8(std::string& out, std::uint32_t c) {
  const auto more = [&](unsigned shift) { out += char(0x80 | ((c >> shift) & 0x3f)); };
  if (c < 0x80) {
    out += char(c);
  } else if (c < 0x800) {
    out += char(0xc0 | (c >> 6));
    more(0);
  } else if (c < 0x10000) {
    out += char(0xe0 | (c >> 12));
    more(6), more(0);
  } else {
    out += char(0xf0 | (c >> 18));
    more(12), more(6), more(0);
  }
}

bool append_reference(std::string& out, std::string_view name) {
  constexpr std::array<std::pair<std::string_view, char>, 5> known{
      {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}}};
  for (const auto& [entity, character] : known)
    if (entity == name) {
      out += character;
      return true;
    }
  if (!name.starts_with('#')) return false;
  const bool hex = name.starts_with("#x");
  name.remove_prefix(hex ? 2 : 1);
  std::uint32_t c = 0;
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), c, hex ? 16 : 10);
  if (code != std::errc() || end != name.data() + name.size()) return false;
  const bool allowed =
      c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c < 0xd800) || (c >= 0xe000 && c <= 0x10ffff);
  if (allowed) append_utf8(out, c);
  return allowed;
}

}  // namespace

std::unexpected<Error> XmlScanner::stop(std::string_view why, std::size_t at) const {
  return gatehouse::fail(Fault::malformed, why, spec, at);
}

std::string_view XmlScanner::local(std::string_view name) {
  const std::size_t colon = name.rfind(':');
  return colon == name.npos ? name : name.substr(colon + 1);
}

std::string_view XmlScanner::prefix(std::string_view name) {
  const std::size_t colon = name.rfind(':');
  return colon == name.npos ? std::string_view() : name.substr(0, colon);
}

Result<void> XmlScanner::scan() {
  if (text_.size() > limit_bytes_) return gatehouse::fail(Fault::limit, "SWID tag larger than allowed", spec);
  if (!is_utf8(text_)) return stop("SWID tag isn't UTF-8");
  if (const std::size_t nul = text_.find('\0'); nul != text_.npos) return stop("NUL in a SWID tag", nul);
  (void)eat("\xef\xbb\xbf");
  if (text_.substr(at_).starts_with("<?xml") && at_ + 5 < text_.size() && is_white(text_[at_ + 5]))
    GH_CHECK(declaration());
  while (at_ < text_.size()) {
    const std::size_t markup = std::min(text_.find('<', at_), text_.size());
    GH_CHECK(run(text_.substr(at_, markup - at_)));
    at_ = markup;
    if (at_ < text_.size()) GH_CHECK(one_markup());
  }
  if (!open_.empty()) return stop("SWID tag ends inside an element");
  if (!rooted_) return stop("SWID tag without an element");
  return {};
}

bool XmlScanner::eat(std::string_view what) {
  if (!text_.substr(at_).starts_with(what)) return false;
  at_ += what.size();
  return true;
}
bool XmlScanner::skip_white() {
  const std::size_t start = at_;
  at_ = std::min(text_.find_first_not_of(blanks, at_), text_.size());
  return at_ != start;
}
// What stands before `end`, which is taken too.
Result<std::string_view> XmlScanner::up_to(std::string_view end, std::string_view why) {
  const std::size_t found = text_.find(end, at_);
  if (found == text_.npos) return stop(why);
  const std::string_view out = text_.substr(at_, found - at_);
  at_ = found + end.size();
  return out;
}

// What it says of the encoding has to agree with what we read.
Result<void> XmlScanner::declaration() {
  const std::size_t start = at_;
  GH_TRY(const auto text, up_to("?>", "XML declaration without its end"));
  const std::size_t encoding = text.find("encoding");
  if (encoding == text.npos) return {};
  const std::size_t open = text.find_first_of("\"'", encoding);
  const std::size_t close = open == text.npos ? open : text.find(text[open], open + 1);
  if (close == text.npos) return stop("malformed XML declaration", start);
  std::string name(text.substr(open + 1, close - open - 1));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
  if (name != "UTF-8" && name != "US-ASCII") return stop("SWID tag in another encoding than UTF-8", start);
  return {};
}

Result<void> XmlScanner::run(std::string_view text) {
  if (open_.empty() && text.find_first_not_of(blanks) != text.npos) return stop("text outside of the root element");
  if (text.empty() || !wants_characters()) return {};
  GH_TRY(const auto plain, decoded(text, at_));
  characters(plain);
  return {};
}

Result<void> XmlScanner::one_markup() {
  const std::size_t start = at_;
  if (eat("<!--")) {
    GH_CHECK(up_to("-->", "comment without its end"));
    return {};
  }
  if (eat("<![CDATA[")) {
    if (open_.empty()) return stop("text outside of the root element", start);
    GH_TRY(const auto text, up_to("]]>", "CDATA section without its end"));
    if (wants_characters()) characters(text);
    return {};
  }
  if (eat("<!")) return stop("document type declarations aren't allowed", start);
  if (eat("<?")) {
    GH_CHECK(up_to("?>", "processing instruction without its end"));
    return {};
  }
  if (eat("</")) return end_tag(start);
  at_ += 1;
  return start_tag(start);
}

Result<std::string_view> XmlScanner::name() {
  if (at_ == text_.size() || !name_begins(text_[at_])) return stop("a name was expected");
  const std::size_t start = at_;
  while (at_ < text_.size() && name_goes_on(text_[at_])) ++at_;
  return text_.substr(start, at_ - start);
}

Result<void> XmlScanner::start_tag(std::size_t start) {
  if (open_.empty() && rooted_) return stop("more than one root element", start);
  if (open_.size() >= max_tag_depth) return gatehouse::fail(Fault::limit, "SWID tag nested too deep", spec, start);
  rooted_ = true;
  GH_TRY(const auto element, name());
  attributes_.clear();
  for (;;) {
    const bool apart = skip_white();
    if (eat(">")) {
      GH_CHECK(begin(element, attributes_, start));
      open_.push_back(element);
      return {};
    }
    if (eat("/>")) {
      GH_CHECK(begin(element, attributes_, start));
      end();
      return {};
    }
    if (!apart) return stop("malformed element");
    GH_CHECK(attribute());
  }
}

Result<void> XmlScanner::attribute() {
  const std::size_t start = at_;
  GH_TRY(const auto key, name());
  skip_white();
  if (!eat("=")) return stop("attribute without a value");
  skip_white();
  const std::size_t quote = at_;
  if (!eat("\"") && !eat("'")) return stop("attribute without a value");
  const std::size_t value_at = at_;
  GH_TRY(const auto value, up_to(text_.substr(quote, 1), "attribute value without its end"));
  if (value.find('<') != value.npos) return stop("'<' in an attribute value", value_at);
  for (const XmlAttribute& before : attributes_)
    if (before.name == key) return stop("attribute twice", start);
  if (attributes_.size() == max_tag_attributes)
    return gatehouse::fail(Fault::limit, "more attributes than allowed", spec, start);
  attributes_.push_back({key, value, value_at});
  return {};
}

Result<void> XmlScanner::end_tag(std::size_t start) {
  GH_TRY(const auto element, name());
  skip_white();
  if (!eat(">")) return stop("malformed end of an element");
  if (open_.empty() || open_.back() != element) return stop("elements that don't nest", start);
  open_.pop_back();
  end();
  return {};
}

Result<std::string> XmlScanner::decoded(std::string_view raw, std::size_t at) const {
  std::string out;
  out.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size();) {
    if (raw[i] != '&') {
      out += raw[i++];
      continue;
    }
    constexpr std::size_t longest = 10;  // "#x0010FFFF"
    const std::size_t semicolon = raw.substr(i + 1, longest + 1).find(';');
    if (semicolon == raw.npos) return stop("malformed reference", at + i);
    const std::string_view name = raw.substr(i + 1, semicolon);
    if (!append_reference(out, name)) return stop("unknown entity", at + i);
    i += semicolon + 2;
  }
  return out;
}

}  // namespace gatehouse::swima
