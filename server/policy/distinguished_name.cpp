#include "server/policy/distinguished_name.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace gatehouse::server::policy {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; }
bool same_type(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (lower(c) >= 'a' && lower(c) <= 'f') return lower(c) - 'a' + 10;
  return -1;
}

struct Attribute {
  std::string_view type;
  std::string value;
};

// One attribute from the front, up to the `,` or `+` behind it, which is taken, too.
std::optional<Attribute> take_attribute(std::string_view& text) {
  const std::size_t equals = text.find('=');
  if (equals == text.npos || !is_attribute_type(text.substr(0, equals))) return std::nullopt;
  Attribute out{text.substr(0, equals), {}};
  text.remove_prefix(equals + 1);
  const bool encoded = !text.empty() && text.front() == '#';
  std::size_t i = 0;
  for (; i < text.size() && text[i] != ',' && text[i] != '+'; ++i) {
    if (encoded || text[i] != '\\') {
      out.value += text[i];
      continue;
    }
    if (i + 1 == text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]), low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high >= 0 && low >= 0) {
      out.value += char(high * 16 + low);
      i += 2;
    } else {
      out.value += text[++i];
    }
  }
  const bool more = i < text.size();
  text.remove_prefix(std::min(i + 1, text.size()));
  if (more && text.empty()) return std::nullopt;  // nothing behind the separator
  return out;
}

}  // namespace

bool is_attribute_type(std::string_view type) {
  return !type.empty() && std::all_of(type.begin(), type.end(), [](char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '.';
  });
}

bool any_attribute(std::string_view name, std::string_view type, const std::function<bool(std::string_view value)>& each) {
  constexpr std::size_t most = 1024;  // beyond it distinguished_name() cuts
  std::vector<std::string> values;
  if (name.size() > most) return false;
  while (!name.empty()) {
    auto one = take_attribute(name);
    if (!one) return false;
    if (same_type(one->type, type)) values.push_back(std::move(one->value));
  }
  return std::any_of(values.begin(), values.end(), each);
}

}  // namespace gatehouse::server::policy
