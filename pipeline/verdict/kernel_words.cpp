#include "pipeline/verdict/kernel_words.h"

#include <algorithm>

namespace gatehouse::pipeline {
namespace {

// The kernel's isspace().
bool blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || c == '\xA0'; }

}  // namespace

std::string kernel_pattern(std::string_view pattern) {
  std::string out(pattern);
  std::replace(out.begin(), out.begin() + std::ptrdiff_t(std::min(out.find('='), out.size())), '-', '_');
  return out;
}

std::vector<KernelWord> kernel_words(std::string_view line) {
  std::vector<KernelWord> out;
  for (std::size_t at = 0;;) {
    while (at < line.size() && blank(line[at])) ++at;
    if (at == line.size()) return out;
    const bool quoted = line[at] == '"';
    if (quoted) ++at;
    bool in_quotes = quoted;
    std::size_t end = at;
    for (; end < line.size() && (in_quotes || !blank(line[end])); ++end)
      if (line[end] == '"') in_quotes = !in_quotes;
    std::string_view word = line.substr(at, end - at);
    at = end;
    const std::size_t equals = word.find('=', word.empty() ? 0 : 1);  // a first character is part of the name
    if (word == "--") {
      out.push_back({std::string(word), std::string(word)});
      continue;
    }
    KernelWord one;
    one.name = kernel_pattern(word.substr(0, equals));
    one.text = one.name;
    if (equals != word.npos) {
      std::string_view value = word.substr(equals + 1);
      const bool closed = (quoted || value.starts_with('"')) && value.size() > 1 && value.ends_with('"');
      if (closed) value.remove_suffix(1);
      if (value.starts_with('"')) value.remove_prefix(1);
      (one.text += '=') += value;
    } else if (quoted && one.name.ends_with('"')) {
      one.name.pop_back();
      one.text = one.name;
    }
    out.push_back(std::move(one));
  }
}

}  // namespace gatehouse::pipeline
