#include "pipeline/verdict/verdict.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

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

json::value part(const Counters& c, bool given, bool violations) {
  if (!given) return "absent";
  json::object out;
  out["processed"] = c.processed;
  out["ok"] = c.ok;
  out["unknown"] = c.unknown;
  out["differ"] = c.differ;
  out["failed"] = c.failed;
  if (violations) out["violations"] = c.violations;
  return out;
}

// Lengths are bounded where the text came in; cutting here would make a verdict read back differ from itself.
std::string safe(std::string_view text) { return escaped(text, text.size()); }

json::array texts(const std::vector<std::string>& from) {
  json::array out;
  for (const std::string& text : from) out.push_back(json::string(safe(text)));
  return out;
}

json::object to_object(const Finding& f) {
  json::object out;
  out["component"] = f.component;
  if (f.entry) out["entry"] = *f.entry;
  if (f.pcr) out["pcr"] = *f.pcr;
  if (!f.path.empty()) out["path"] = safe(f.path);
  out["status"] = name(f.status);
  out["reason"] = safe(f.reason);
  if (!f.package.empty()) out["package"] = safe(f.package);
  if (!f.version.empty()) out["version"] = safe(f.version);
  if (!f.expected.empty()) out["expected"] = texts(f.expected);
  if (!f.measured_template.empty() || !f.measured_file.empty()) {
    json::object measured;
    if (!f.measured_template.empty()) measured["template"] = f.measured_template;
    if (!f.measured_file.empty()) measured["file"] = safe(f.measured_file);  // its algorithm is the list's word
    out["measured"] = std::move(measured);
  }
  return out;
}

json::object to_object(const ItemResult& i) {
  json::object out;
  out["type"] = i.type;
  if (!i.argument.empty()) out["argument"] = safe(i.argument);
  out["recommendation"] = name(i.recommendation);
  out["evaluation"] = name(i.evaluation);
  out["result"] = safe(i.result);
  return out;
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
  json::object out;
  out["session"] = safe(v.session);
  out["device"] = safe(v.device);
  out["product"] = safe(v.product);
  out["generation"] = v.generation ? json::value(*v.generation) : json::value(nullptr);
  out["recommendation"] = name(v.recommendation);
  out["evaluation"] = name(v.evaluation);
  json::object quote;
  quote["status"] = name(v.quote.status);
  if (!v.quote.scheme.empty()) quote["scheme"] = v.quote.scheme;
  if (!v.quote.hash.empty()) quote["hash"] = v.quote.hash;
  if (!v.quote.pcr_digest.empty()) quote["pcr_digest"] = v.quote.pcr_digest;
  out["quote"] = std::move(quote);
  out["boot"] = part(v.boot, v.boot_given, false);
  out["ima"] = part(v.ima, v.ima_given, true);
  out["summary"] = v.summary;
  json::object checks;
  for (const char letter : {'Q', 'L'})
    for (int i = 1; i <= 14; ++i) {
      const std::string code = letter + std::to_string(i);
      const auto at = v.checks.find(code);
      checks[code] = name(at == v.checks.end() ? Status::absent : at->second);
    }
  out["checks"] = std::move(checks);
  json::array findings;
  for (const Finding& f : v.findings) findings.push_back(to_object(f));
  out["findings"] = std::move(findings);
  out["findings_total"] = v.findings_total;
  if (!v.items.empty()) {
    json::array items;
    for (const ItemResult& i : v.items) items.push_back(to_object(i));
    out["items"] = std::move(items);
  }
  out["warnings"] = texts(v.warnings);
  if (!v.claims.empty()) out["claims"] = texts(v.claims);
  json::object pcrs;
  for (const auto& [bank, values] : v.pcrs) {
    json::object registers;
    for (const auto& [pcr, value] : values) registers[std::to_string(pcr)] = value;
    pcrs[bank] = std::move(registers);
  }
  out["pcrs"] = std::move(pcrs);
  return json::serialize(out);
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
