// TOML, read in the same way wherever we read it.
//
//   const auto root = parse_toml(text, file);
//   if (!root) return mistake(root.error().line, root.error().reason);
//
// toml++ 3.3 takes two things for granted that a slip of the pen breaks, so they are looked after here: that a key
// follows a table's opening bracket (it asserts that; without its assertions it reports the mistake), and that it meets
// no character beyond ASCII where it looks for white space (it declares some of them unreachable): outside strings and
// comments, in a string that begins in the middle of a value, as it looks ahead there, and behind a backslash.
#pragma once

#ifdef NDEBUG
#define GH_TOML_RESTORE_NDEBUG
#undef NDEBUG
#endif
#define TOML_ASSERT(expr) static_assert(true)
#include <toml++/toml.h>
#ifdef GH_TOML_RESTORE_NDEBUG
#undef GH_TOML_RESTORE_NDEBUG
#define NDEBUG
#endif

#include <algorithm>
#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace gatehouse {

struct TomlMistake {
  std::size_t line = 0;  // from 1
  std::string reason;
};

// The first of these characters, up to where the text stops being TOML.
inline std::optional<TomlMistake> stray_character(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // byte order mark
  std::size_t line = 1;
  char before = '\n';
  for (std::size_t at = 0; at < text.size(); before = text[at++]) {
    const char c = text[at];
    if (c == '\n') ++line;
    if (static_cast<unsigned char>(c) >= 0x80) return TomlMistake{line, "characters beyond ASCII stand in quotes only"};
    if (c == '#') at = std::min(text.find('\n', at), text.size()) - 1;
    if (c != '"' && c != '\'') continue;
    if (std::string_view(" \t\r\n=[{,.").find(before) == std::string_view::npos)
      return TomlMistake{line, "a quote stands in the middle of a value"};
    const std::string_view three = c == '"' ? "\"\"\"" : "'''";
    const bool lines = text.substr(at).starts_with(three);
    at += lines ? 3 : 1;
    for (;; ++at) {
      if (at >= text.size()) return std::nullopt;
      if (text[at] == '\n') {
        if (!lines) return std::nullopt;  // the parser says so
        ++line;
      }
      if (c == '"' && text[at] == '\\') {
        const std::size_t next = std::min(text.find_first_not_of(" \t\r\n", at + 1), text.size());
        if (next < text.size() && static_cast<unsigned char>(text[next]) >= 0x80)
          return TomlMistake{line, "a character beyond ASCII stands behind a backslash"};
        if (++at < text.size() && text[at] == '\n') ++line;
      } else if (!lines && text[at] == c) {
        break;
      } else if (lines && text.substr(at).starts_with(three)) {
        at += 2;
        // One or two quotes before the closing three belong to the string.
        for (int more = 0; more < 2 && at + 1 < text.size() && text[at + 1] == c; ++more) ++at;
        break;
      }
    }
  }
  return std::nullopt;
}

inline std::expected<toml::table, TomlMistake> parse_toml(std::string_view text, const std::string& file) {
  if (auto stray = stray_character(text)) return std::unexpected(*std::move(stray));
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& e) {
    return std::unexpected(TomlMistake{e.source().begin.line, std::string(e.description())});
  }
}

}  // namespace gatehouse
