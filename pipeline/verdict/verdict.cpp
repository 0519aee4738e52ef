#include "pipeline/verdict/verdict.h"

#include <boost/json.hpp>

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

json::object to_object(const Finding& f) {
  json::object out;
  out["component"] = f.component;
  if (f.entry) out["entry"] = *f.entry;
  if (f.pcr) out["pcr"] = *f.pcr;
  if (!f.path.empty()) out["path"] = escaped(f.path);
  out["status"] = name(f.status);
  out["reason"] = f.reason;
  if (!f.package.empty()) out["package"] = f.package;
  if (!f.version.empty()) out["version"] = f.version;
  if (!f.expected.empty()) out["expected"] = json::array(f.expected.begin(), f.expected.end());
  if (!f.measured_template.empty() || !f.measured_file.empty()) {
    json::object measured;
    if (!f.measured_template.empty()) measured["template"] = f.measured_template;
    if (!f.measured_file.empty()) measured["file"] = f.measured_file;
    out["measured"] = std::move(measured);
  }
  return out;
}

}  // namespace

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
  out["session"] = v.session;
  out["device"] = escaped(v.device);
  out["product"] = escaped(v.product);
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
  json::array warnings;
  for (const std::string& w : v.warnings) warnings.push_back(json::string(w));
  out["warnings"] = std::move(warnings);
  if (!v.claims.empty()) {
    json::array claims;
    for (const std::string& c : v.claims) claims.push_back(json::string(escaped(c)));
    out["claims"] = std::move(claims);
  }
  json::object pcrs;
  for (const auto& [bank, values] : v.pcrs) {
    json::object registers;
    for (const auto& [pcr, value] : values) registers[std::to_string(pcr)] = value;
    pcrs[bank] = std::move(registers);
  }
  out["pcrs"] = std::move(pcrs);
  return json::serialize(out);
}

Result<Verdict> verdict_from_json(std::string_view text) {
  boost::system::error_code ec;
  const json::value root = json::parse(json::string_view(text.data(), text.size()), ec);
  const auto bad = [] { return fail(Fault::malformed, "not a verdict object"); };
  if (ec || !root.is_object()) return bad();
  const json::object& o = root.as_object();
  const auto text_of = [](const json::object& from, std::string_view key) -> std::string {
    const json::value* const value = from.if_contains(json::string_view(key.data(), key.size()));
    return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
  };
  const auto number_of = [](const json::object& from, std::string_view key) -> std::uint64_t {
    const json::value* const value = from.if_contains(json::string_view(key.data(), key.size()));
    if (value == nullptr || !value->is_number()) return 0;
    boost::system::error_code none;
    return value->to_number<std::uint64_t>(none);
  };
  Verdict v;
  v.session = text_of(o, "session");
  v.device = text_of(o, "device");
  v.product = text_of(o, "product");
  if (const auto* g = o.if_contains("generation"); g != nullptr && g->is_number()) v.generation = number_of(o, "generation");
  const auto recommendation = by_name(text_of(o, "recommendation"), {Recommendation::allow, Recommendation::block,
                                                                     Recommendation::isolate, Recommendation::none});
  const auto evaluation = by_name(text_of(o, "evaluation"), {Evaluation::compliant, Evaluation::minor, Evaluation::major,
                                                             Evaluation::error, Evaluation::unknown});
  if (!recommendation || !evaluation) return bad();
  v.recommendation = *recommendation;
  v.evaluation = *evaluation;
  if (const auto* q = o.if_contains("quote"); q != nullptr && q->is_object()) {
    v.quote.status = status_of(text_of(q->as_object(), "status")).value_or(Status::absent);
    v.quote.scheme = text_of(q->as_object(), "scheme");
    v.quote.hash = text_of(q->as_object(), "hash");
    v.quote.pcr_digest = text_of(q->as_object(), "pcr_digest");
  }
  const auto counters = [&](std::string_view key, Counters& c) {
    const auto* p = o.if_contains(json::string_view(key.data(), key.size()));
    if (p == nullptr || !p->is_object()) return false;
    const json::object& from = p->as_object();
    c = {number_of(from, "processed"), number_of(from, "ok"), number_of(from, "unknown"), number_of(from, "differ"),
         number_of(from, "failed"), number_of(from, "violations")};
    return true;
  };
  v.boot_given = counters("boot", v.boot);
  v.ima_given = counters("ima", v.ima);
  v.summary = text_of(o, "summary");
  if (const auto* c = o.if_contains("checks"); c != nullptr && c->is_object())
    for (const auto& member : c->as_object())
      if (member.value().is_string())
        v.checks[std::string(member.key())] = status_of(std::string_view(member.value().as_string())).value_or(Status::absent);
  if (const auto* list = o.if_contains("findings"); list != nullptr && list->is_array())
    for (const json::value& row : list->as_array()) {
      if (!row.is_object()) continue;
      const json::object& from = row.as_object();
      Finding f;
      f.component = text_of(from, "component");
      if (from.contains("entry")) f.entry = number_of(from, "entry");
      if (from.contains("pcr")) f.pcr = std::uint32_t(number_of(from, "pcr"));
      f.path = text_of(from, "path");
      f.status = status_of(text_of(from, "status")).value_or(Status::unknown);
      f.reason = text_of(from, "reason");
      f.package = text_of(from, "package");
      f.version = text_of(from, "version");
      if (const auto* e = from.if_contains("expected"); e != nullptr && e->is_array())
        for (const json::value& x : e->as_array())
          if (x.is_string()) f.expected.emplace_back(x.as_string());
      if (const auto* m = from.if_contains("measured"); m != nullptr && m->is_object()) {
        f.measured_template = text_of(m->as_object(), "template");
        f.measured_file = text_of(m->as_object(), "file");
      }
      v.findings.push_back(std::move(f));
    }
  v.findings_total = number_of(o, "findings_total");
  return v;
}

}  // namespace gatehouse::pipeline
