#include "server/metrics/exposition.h"

#include <array>
#include <charconv>
#include <cmath>

namespace gatehouse::server::metrics {
namespace {

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || (c == '"' && quotes)) out += '\\';
    out += c;
  }
}

// The shortest text that is read as the same number; whole numbers without an exponent.
void append_number(std::string& out, double value) {
  std::array<char, 32> text{};
  const bool whole = std::abs(value) < 1e15 && value == std::floor(value);
  const auto end = whole ? std::to_chars(text.data(), text.data() + text.size(), std::int64_t(value))
                         : std::to_chars(text.data(), text.data() + text.size(), value);
  out.append(text.data(), end.ptr);
}

void append_sample(std::string& out, const Family& family, std::string_view suffix, const Sample& sample, double value,
                   std::string_view bound = {}) {
  out += family.name;
  out += suffix;
  char before = '{';
  const auto label = [&](std::string_view name, std::string_view text) {
    out += before;
    out += name;
    out += "=\"";
    append_escaped(out, text, true);
    out += '"';
    before = ',';
  };
  for (const auto& [name, text] : sample.labels) label(name, text);
  if (!bound.empty()) label("le", bound);
  if (before == ',') out += '}';
  out += ' ';
  append_number(out, value);
  out += '\n';
}

}  // namespace

std::string_view name(Type type) {
  switch (type) {
    case Type::counter: return "counter";
    case Type::gauge: return "gauge";
    case Type::histogram: return "histogram";
  }
  return "untyped";
}

std::string exposition(const std::vector<Family>& families) {
  std::string out;
  for (const Family& family : families) {
    out.append("# HELP ").append(family.name) += ' ';
    append_escaped(out, family.help, false);
    out.append("\n# TYPE ").append(family.name).append(" ").append(name(family.type)) += '\n';
    for (const Sample& sample : family.samples) {
      if (family.type != Type::histogram) {
        append_sample(out, family, {}, sample, sample.value);
        continue;
      }
      for (const auto& [bound, count] : sample.buckets) {
        std::string text;
        append_number(text, bound);
        append_sample(out, family, "_bucket", sample, double(count), text);
      }
      append_sample(out, family, "_bucket", sample, double(sample.count), "+Inf");
      append_sample(out, family, "_sum", sample, sample.value);
      append_sample(out, family, "_count", sample, double(sample.count));
    }
  }
  return out;
}

}  // namespace gatehouse::server::metrics
