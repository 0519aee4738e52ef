#include "server/results/record.h"

#include <ctime>

#include "base/hex.h"

namespace gatehouse::server {
namespace {

namespace json = boost::json;

// What the record knows besides the verdict.
json::object besides(const SessionRecord& record) {
  const SessionIntent& intent = record.intent;
  json::object more;
  more["state"] = name(record.state);
  more["peer"] = text_or_null(intent.peer);
  more["identity"] = text_or_null(intent.identity);
  more["identity_type"] = text_or_null(intent.identity_type);
  more["ak"] = text_or_null(intent.key_pin);
  more["policy"] = text_or_null(intent.policy);
  more["started"] = time_value(intent.started);
  more["finished"] = time_value(record.finished);
  if (!record.enforced) more["told"] = pipeline::name(pipeline::Recommendation::allow);
  return more;
}

}  // namespace

json::value time_value(std::int64_t ms) {
  if (ms <= 0) return nullptr;
  const std::time_t seconds = ms / 1000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char out[32];
  const std::size_t size = std::strftime(out, sizeof out, "%Y-%m-%dT%H:%M:%S.", &utc);
  const std::string millis = std::to_string(1000 + ms % 1000).substr(1);
  return json::string(std::string(out, size) + millis + "Z");
}

json::value text_or_null(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(escaped(text, 1024));
}

json::object record_object(const SessionRecord& record) {
  json::object out;
  const SessionIntent& intent = record.intent;
  boost::system::error_code code;
  json::value verdict = json::parse(record.verdict, code);
  if (!code && verdict.is_object()) {
    out = std::move(verdict.get_object());
  } else {
    out["session"] = intent.session;
    out["device"] = intent.device;
    out["product"] = escaped(intent.product, 1024);
    if (intent.generation) out["generation"] = *intent.generation;
    out["recommendation"] = pipeline::name(pipeline::Recommendation::none);
    out["evaluation"] = pipeline::name(pipeline::Evaluation::unknown);
  }
  out["record"] = besides(record);
  return out;
}

std::string record_line(const SessionRecord& record, bool evidence) {
  if (record.verdict.size() < 2 || record.verdict.back() != '}') return json::serialize(record_object(record));
  json::object more = besides(record);
  more["evidence"] = evidence;
  std::string out = record.verdict.substr(0, record.verdict.size() - 1);
  if (out.size() > 1) out += ',';
  return out + "\"record\":" + json::serialize(more) + '}';
}

}  // namespace gatehouse::server
