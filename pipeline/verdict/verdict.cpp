#include "pipeline/verdict/verdict.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cstring>

#include "base/hex.h"

namespace gatehouse::pipeline {
namespace json = boost::json;

std::string_view name(Recommendation r) {
  switch (r) {
    case Recommendation::allow: return "allow";
    case Recommendation::block: return "block";
    case Recommendation::isolate: return "isolate";
    case Recommendation::none: return "none";
  }
  return "none";
}
std::string_view name(Evaluation e) {
  switch (e) {
    case Evaluation::compliant: return "compliant";
    case Evaluation::minor: return "minor";
    case Evaluation::major: return "major";
    case Evaluation::error: return "error";
    case Evaluation::unknown: return "unknown";
  }
  return "unknown";
}
std::string_view name(Status s) {
  switch (s) {
    case Status::ok: return "ok";
    case Status::unknown: return "unknown";
    case Status::differ: return "differ";
    case Status::failed: return "failed";
    case Status::absent: return "absent";
  }
  return "absent";
}

namespace {

template <class E>
std::optional<E> by_name(std::string_view text, std::initializer_list<E> all) {
  for (const E e : all)
    if (name(e) == text) return e;
  return std::nullopt;
}
std::optional<Status> status_of(std::string_view text) {
  return by_name(text, {Status::ok, Status::unknown, Status::differ, Status::failed, Status::absent});
}

// Whether a text is the same in JSON: printable ASCII without quotation mark and backslash. Eight characters at a time.
bool is_plain(std::string_view text) {
  constexpr std::uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
  // The high bit of a byte says that it is below n, at most 128, or that a byte before it is.
  const auto below = [](std::uint64_t word, std::uint64_t n) { return (word - ones * n) & ~word & high; };
  const auto bad = [&](std::uint64_t word) {
    return (word & high) | below(word, ' ') | below(word ^ ones * '"', 1) | below(word ^ ones * '\\', 1) | below(word ^ ones * 0x7F, 1);
  };
  std::uint64_t any = 0, word;
  const char* at = text.data();
  std::size_t left = text.size();
  for (; left >= sizeof word; left -= sizeof word, at += sizeof word) {
    std::memcpy(&word, at, sizeof word);
    any |= bad(word);
  }
  if (left == 0) return any == 0;
  if (text.size() >= sizeof word) {  // the last eight, some of them once more
    std::memcpy(&word, at + left - sizeof word, sizeof word);
  } else {
    word = ones * ' ';
    for (std::size_t i = 0; i < left; ++i) word = word << 8 | std::uint8_t(at[i]);
  }
  return (any | bad(word)) == 0;
}

// JSON as it comes, without a tree of it first: a verdict may have thousands of texts.
class Writing {
 public:
  void begin(char bracket) {
    separate();
    out_ += bracket;
    first_ = true;
  }
  void end(char bracket) {
    out_ += bracket;
    first_ = false;
  }
  // Our own word: nothing in it is escaped.
  void key(std::string_view name) {
    separate();
    out_ += '"';
    out_.append(name).append("\":", 2);
    first_ = true;
  }
  void text(std::string_view value) {
    separate();
    out_ += '"';
    if (is_plain(value)) {
      out_.append(value) += '"';
      return;
    }
    for (;;) {
      const auto at = std::ranges::find_if(value, [](char c) { return c == '"' || c == '\\' || std::uint8_t(c) < 0x20; });
      out_.append(value.begin(), at);
      if (at == value.end()) break;
      constexpr std::string_view hex = "0123456789abcdef";
      if (std::uint8_t(*at) < 0x20)
        (out_ += "\\u00") += {hex[std::size_t(*at) >> 4], hex[std::size_t(*at) & 15]};
      else
        (out_ += '\\') += *at;
      value.remove_prefix(std::size_t(at - value.begin()) + 1);
    }
    out_ += '"';
  }
  // Not ours. Lengths are bounded where the text came in; cutting here would make a verdict read back differ from itself.
  void peer_text(std::string_view value) {
    text(is_plain(value) ? value : std::string_view(escaped(value, value.size())));
  }
  void number(std::uint64_t value) {
    separate();
    char digits[20];
    out_.append(digits, std::to_chars(std::begin(digits), std::end(digits), value).ptr);
  }
  void null() {
    separate();
    out_ += "null";
  }
  void member(std::string_view name, std::string_view value) { key(name), text(value); }
  void peer_member(std::string_view name, std::string_view value) { key(name), peer_text(value); }
  void member(std::string_view name, std::uint64_t value) { key(name), number(value); }
  // Members that aren't there when they are empty.
  void some_member(std::string_view name, std::string_view value) {
    if (!value.empty()) member(name, value);
  }
  void some_peer_member(std::string_view name, std::string_view value) {
    if (!value.empty()) peer_member(name, value);
  }
  std::string take() { return std::move(out_); }

 private:
  void separate() {
    if (!first_) out_ += ',';
    first_ = false;
  }
  std::string out_;
  bool first_ = true;
};

void write(Writing& w, const Counters& c, bool given, bool violations) {
  if (!given) return w.text("absent");
  w.begin('{');
  w.member("processed", c.processed);
  w.member("ok", c.ok);
  w.member("unknown", c.unknown);
  w.member("differ", c.differ);
  w.member("failed", c.failed);
  if (violations) w.member("violations", c.violations);
  w.end('}');
}

void write(Writing& w, const std::vector<std::string>& texts) {
  w.begin('[');
  for (const std::string& text : texts) w.peer_text(text);
  w.end(']');
}

void write(Writing& w, const Finding& f) {
  w.begin('{');
  w.member("component", f.component);
  if (f.entry) w.member("entry", *f.entry);
  if (f.pcr) w.member("pcr", *f.pcr);
  w.some_peer_member("path", f.path);
  w.member("status", name(f.status));
  w.peer_member("reason", f.reason);
  w.some_peer_member("package", f.package);
  w.some_peer_member("version", f.version);
  if (!f.expected.empty()) w.key("expected"), write(w, f.expected);
  if (!f.measured_template.empty() || !f.measured_file.empty()) {
    w.key("measured");
    w.begin('{');
    w.some_member("template", f.measured_template);
    w.some_peer_member("file", f.measured_file);  // its algorithm is the list's word
    w.end('}');
  }
  w.end('}');
}

void write(Writing& w, const ItemResult& i) {
  w.begin('{');
  w.member("type", i.type);
  w.some_peer_member("argument", i.argument);
  w.member("recommendation", name(i.recommendation));
  w.member("evaluation", name(i.evaluation));
  w.peer_member("result", i.result);
  w.end('}');
}

}  // namespace

void cut_findings(std::vector<Finding>& findings) {
  if (findings.size() <= max_findings) return;
  std::size_t worse = 0;
  for (const Finding& f : findings) worse += only_unknown(f) ? 0 : 1;
  std::size_t room = max_findings - std::min(worse, max_findings);  // for the unknown
  std::erase_if(findings, [&](const Finding& f) {
    if (!only_unknown(f)) return false;
    if (room == 0) return true;
    --room;
    return false;
  });
  if (findings.size() > max_findings) findings.resize(max_findings);
}

std::string summary_line(const Verdict& v) {
  std::string out;
  if (v.ima_given) {
    const Counters& c = v.ima;
    out = c.processed == 0 ? std::string("no IMA file evidence measurements")
                           : "processed " + std::to_string(c.processed) + " IMA file evidence measurements: " +
                                 std::to_string(c.ok) + " ok, " + std::to_string(c.unknown) + " unknown, " +
                                 std::to_string(c.differ) + " differ, " + std::to_string(c.failed) + " failed";
  }
  if (v.boot_given) {
    if (!out.empty()) out += "; ";
    const Counters& c = v.boot;
    if (c.ok == c.processed)
      out += std::to_string(c.ok) + " BIOS evidence measurements are ok";
    else if (c.differ == 0 && c.failed == 0)
      out += std::to_string(c.unknown) + " BIOS evidence measurements have no approved baseline";
    else
      out += std::to_string(c.differ + c.failed) + " of " + std::to_string(c.processed) + " BIOS evidence measurements differ";
  }
  return out;
}

std::string to_json(const Verdict& v) {
  Writing w;
  w.begin('{');
  w.peer_member("session", v.session);
  w.peer_member("device", v.device);
  w.peer_member("product", v.product);
  w.key("generation");
  if (v.generation)
    w.number(*v.generation);
  else
    w.null();
  w.member("recommendation", name(v.recommendation));
  w.member("evaluation", name(v.evaluation));
  w.key("quote");
  w.begin('{');
  w.member("status", name(v.quote.status));
  w.some_member("scheme", v.quote.scheme);
  w.some_member("hash", v.quote.hash);
  w.some_member("pcr_digest", v.quote.pcr_digest);
  w.end('}');
  w.key("boot"), write(w, v.boot, v.boot_given, false);
  w.key("ima"), write(w, v.ima, v.ima_given, true);
  w.member("summary", v.summary);
  w.key("checks");
  w.begin('{');
  for (const char letter : {'Q', 'L'})
    for (int i = 1; i <= 14; ++i) {
      const std::string code = letter + std::to_string(i);
      const auto at = v.checks.find(code);
      w.member(code, name(at == v.checks.end() ? Status::absent : at->second));
    }
  w.end('}');
  w.key("findings");
  w.begin('[');
  for (const Finding& f : v.findings) write(w, f);
  w.end(']');
  w.member("findings_total", v.findings_total);
  if (!v.items.empty()) {
    w.key("items");
    w.begin('[');
    for (const ItemResult& i : v.items) write(w, i);
    w.end(']');
  }
  w.key("warnings"), write(w, v.warnings);
  if (!v.claims.empty()) w.key("claims"), write(w, v.claims);
  w.key("pcrs");
  w.begin('{');
  for (const auto& [bank, values] : v.pcrs) {
    w.key(bank);
    w.begin('{');
    for (const auto& [pcr, value] : values) w.member(std::to_string(pcr), value);
    w.end('}');
  }
  w.end('}');
  w.end('}');
  return w.take();
}

namespace {

// A member of one of our own records; what is missing or of another type reads as empty.
const json::value* member(const json::object& from, std::string_view key) {
  return from.if_contains(json::string_view(key.data(), key.size()));
}
std::string text_of(const json::object& from, std::string_view key) {
  const json::value* const value = member(from, key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}
std::uint64_t number_of(const json::object& from, std::string_view key) {
  const json::value* const value = member(from, key);
  if (value == nullptr || !value->is_number()) return 0;
  boost::system::error_code none;
  return value->to_number<std::uint64_t>(none);
}
std::vector<std::string> texts_of(const json::object& from, std::string_view key) {
  std::vector<std::string> out;
  const json::value* const value = member(from, key);
  if (value != nullptr && value->is_array())
    for (const json::value& text : value->as_array())
      if (text.is_string()) out.emplace_back(text.as_string());
  return out;
}
const json::object* object_of(const json::object& from, std::string_view key) {
  const json::value* const value = member(from, key);
  return value == nullptr ? nullptr : value->if_object();
}

std::optional<Recommendation> recommendation_of(std::string_view text) {
  using enum Recommendation;
  return by_name(text, {allow, block, isolate, none});
}
std::optional<Evaluation> evaluation_of(std::string_view text) {
  using enum Evaluation;
  return by_name(text, {compliant, minor, major, error, unknown});
}

bool read_counters(const json::object& from, std::string_view key, Counters& c) {
  const json::object* const o = object_of(from, key);
  if (o == nullptr) return false;
  c = {number_of(*o, "processed"), number_of(*o, "ok"),     number_of(*o, "unknown"),
       number_of(*o, "differ"),    number_of(*o, "failed"), number_of(*o, "violations")};
  return true;
}

std::optional<ItemResult> read_item(const json::object& from) {
  const auto recommendation = recommendation_of(text_of(from, "recommendation"));
  const auto evaluation = evaluation_of(text_of(from, "evaluation"));
  if (!recommendation || !evaluation) return std::nullopt;
  return ItemResult{text_of(from, "type"), text_of(from, "argument"), *recommendation, *evaluation, text_of(from, "result")};
}

Finding read_finding(const json::object& from) {
  Finding f;
  f.component = text_of(from, "component");
  if (from.contains("entry")) f.entry = number_of(from, "entry");
  if (from.contains("pcr")) f.pcr = std::uint32_t(number_of(from, "pcr"));
  f.path = text_of(from, "path");
  f.status = status_of(text_of(from, "status")).value_or(Status::unknown);
  f.reason = text_of(from, "reason");
  f.package = text_of(from, "package");
  f.version = text_of(from, "version");
  f.expected = texts_of(from, "expected");
  if (const json::object* const measured = object_of(from, "measured")) {
    f.measured_template = text_of(*measured, "template");
    f.measured_file = text_of(*measured, "file");
  }
  return f;
}

}  // namespace

Result<Verdict> verdict_from_json(std::string_view text) {
  boost::system::error_code ec;
  const json::value root = json::parse(json::string_view(text.data(), text.size()), ec);
  const auto bad = [] { return fail(Fault::malformed, "not a verdict object"); };
  if (ec || !root.is_object()) return bad();
  const json::object& o = root.as_object();
  Verdict v;
  v.session = text_of(o, "session");
  v.device = text_of(o, "device");
  v.product = text_of(o, "product");
  if (const json::value* const g = member(o, "generation"); g != nullptr && g->is_number()) v.generation = number_of(o, "generation");
  const auto recommendation = recommendation_of(text_of(o, "recommendation"));
  const auto evaluation = evaluation_of(text_of(o, "evaluation"));
  if (!recommendation || !evaluation) return bad();
  v.recommendation = *recommendation;
  v.evaluation = *evaluation;
  if (const json::object* const q = object_of(o, "quote")) {
    v.quote.status = status_of(text_of(*q, "status")).value_or(Status::absent);
    v.quote.scheme = text_of(*q, "scheme");
    v.quote.hash = text_of(*q, "hash");
    v.quote.pcr_digest = text_of(*q, "pcr_digest");
  }
  v.boot_given = read_counters(o, "boot", v.boot);
  v.ima_given = read_counters(o, "ima", v.ima);
  v.summary = text_of(o, "summary");
  if (const json::object* const c = object_of(o, "checks"))
    for (const auto& check : *c)
      if (check.value().is_string())
        v.checks[std::string(check.key())] = status_of(std::string_view(check.value().as_string())).value_or(Status::absent);
  if (const json::value* const list = member(o, "findings"); list != nullptr && list->is_array())
    for (const json::value& row : list->as_array())
      if (row.is_object()) v.findings.push_back(read_finding(row.as_object()));
  v.findings_total = number_of(o, "findings_total");
  if (const json::value* const list = member(o, "items"); list != nullptr && list->is_array())
    for (const json::value& row : list->as_array())
      if (auto item = row.is_object() ? read_item(row.as_object()) : std::nullopt) v.items.push_back(std::move(*item));
  v.warnings = texts_of(o, "warnings");
  v.claims = texts_of(o, "claims");
  if (const json::object* const pcrs = object_of(o, "pcrs"))
    for (const auto& bank : *pcrs) {
      if (!bank.value().is_object()) continue;
      for (const auto& [pcr, value] : bank.value().as_object()) {
        std::uint32_t number = 0;
        const auto parsed = std::from_chars(pcr.data(), pcr.data() + pcr.size(), number);
        if (parsed.ec == std::errc{} && value.is_string()) v.pcrs[std::string(bank.key())][number] = std::string(value.as_string());
      }
    }
  return v;
}

}  // namespace gatehouse::pipeline
