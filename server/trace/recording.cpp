#include "server/trace/recording.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/file.h"
#include "base/hex.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::trace {
namespace {

namespace json = boost::json;
constexpr std::string_view spec = "docs/formats/trace.md";

Result<json::object> read_object(const std::string& path, bool may_be_open) {
  GH_TRY(const ByteVector bytes, read_file(path, std::size_t(256) << 20));
  boost::system::error_code ec;
  json::value v = json::parse(as_text(bytes), ec);
  // A session that still runs, or a server that was killed: the index has no end yet.
  if (ec && may_be_open) {
    ec.clear();
    v = json::parse(std::string(as_text(bytes)) + "], \"complete\": false}", ec);
  }
  if (ec || !v.is_object())
    return fail(Error{Fault::malformed, "not a JSON object", spec, 0, path, ec ? ec.message() : std::string()});
  return std::move(v.get_object());
}

std::optional<std::string> text(const json::object& o, std::string_view member) {
  const json::value* const v = o.if_contains(member);
  if (v == nullptr || !v->is_string()) return std::nullopt;
  return std::string(v->get_string());
}
std::optional<std::uint64_t> number(const json::object& o, std::string_view member) {
  const json::value* const v = o.if_contains(member);
  if (v == nullptr || !v->is_number()) return std::nullopt;
  boost::system::error_code ec;
  const auto n = v->to_number<std::uint64_t>(ec);
  if (ec) return std::nullopt;
  return n;
}

// "batches/004-s2c-SDATA.bin" and nothing that leads elsewhere.
bool inside(const std::string& file) {
  constexpr std::string_view folder = "batches/";
  return file.starts_with(folder) && file.size() > folder.size() &&
         file.find('/', folder.size()) == std::string::npos && file.find('\0') == std::string::npos &&
         file.substr(folder.size()) != ".." && file.substr(folder.size()) != ".";
}

Result<RecordedMessage> read_message(const json::object& o, const std::string& folder) {
  const auto bad = [&](std::string_view why) {
    return fail(Error{Fault::malformed, why, spec, 0, folder + "/index.json",
                      "message " + std::to_string(number(o, "n").value_or(0))});
  };
  RecordedMessage m;
  m.number = number(o, "n").value_or(0);
  const auto direction = text(o, "direction");
  if (direction != "c2s" && direction != "s2c") return bad("direction is neither c2s nor s2c");
  m.from_client = direction == "c2s";
  constexpr std::uint64_t a_year = 365ULL * 86'400'000;
  if (const auto ms = number(o, "ms"); ms && *ms <= a_year) m.ms = std::int64_t(*ms);
  m.type = std::uint32_t(number(o, "pt_tls_type").value_or(std::uint32_t(pttls::Type::pb_tnc_batch)));
  m.vendor = std::uint32_t(number(o, "pt_tls_vendor").value_or(0));
  if (const auto file = text(o, "file")) {
    if (!inside(*file)) return bad("file outside of the folder batches");
    m.batch = number(o, "batch").value_or(0);
    if (m.batch == 0) return bad("batch without its number");
    m.type = std::uint32_t(pttls::Type::pb_tnc_batch);
    GH_TRY(m.bytes, read_file(folder + "/" + *file, pttls::max_batch));
  } else if (const auto hex = text(o, "hex")) {
    auto bytes = from_hex(*hex);
    if (!bytes) return bad("hex isn't hexadecimal");
    m.bytes = std::move(*bytes);
  } else {
    return bad("neither file nor hex");
  }
  return m;
}

Result<std::optional<RecordedExchange>> read_exchange(const json::object& o, const std::string& path) {
  RecordedExchange out;
  for (const auto& [member, slot] : {std::pair<const char*, ByteVector*>{"initiator_nonce", &out.initiator_nonce},
                                     std::pair<const char*, ByteVector*>{"dh_secret", &out.secret}}) {
    const auto digits = text(o, member);
    if (!digits) return std::nullopt;
    auto bytes = from_hex(*digits);
    if (!bytes || bytes->empty())
      return fail(Error{Fault::malformed, "a nonce or secret isn't hexadecimal", spec, 0, path, member});
    *slot = std::move(*bytes);
  }
  return out;
}

// The user whom the server accepted or refused, from PLAIN's selection or data.
void read_sasl(RecordedConversation& c) {
  bool plain = false;
  for (const RecordedMessage& m : c.messages) {
    if (m.vendor != 0 || m.batch != 0 || m.bytes.size() < pttls::header_size) continue;
    const Bytes value = Bytes(m.bytes).subspan(pttls::header_size);
    Bytes response;
    switch (pttls::Type(m.type)) {
      case pttls::Type::sasl_selection:
        if (const auto selection = pttls::parse_selection(value)) {
          plain = selection->mechanism == "PLAIN";
          response = selection->initial_response;
        }
        break;
      case pttls::Type::sasl_data:
        response = value;
        break;
      case pttls::Type::sasl_result:
        if (const auto result = pttls::parse_sasl_result(value))
          c.authentication_failed = result->code != pttls::SaslResult::success;
        break;
      default:
        break;
    }
    if (!plain || !m.from_client || response.empty()) continue;
    if (const auto who = pttls::parse_plain(response); who && c.identity_type.empty()) {
      c.identity = who->user;
      c.identity_type = "password";
    }
  }
}

}  // namespace

Result<RecordedConversation> read_recording(const std::string& folder) {
  constexpr std::size_t most_messages = 1'000'000;
  GH_TRY(const json::object index, read_object(folder + "/index.json", true));
  RecordedConversation c;
  const json::value* const messages = index.if_contains("messages");
  if (messages == nullptr || !messages->is_array())
    return fail(Error{Fault::malformed, "an index has an array of messages", spec, 0, folder + "/index.json", {}});
  if (messages->get_array().size() > most_messages)
    return fail(Error{Fault::limit, "more messages than a conversation has", spec, 0, folder + "/index.json", {}});
  for (const json::value& one : messages->get_array()) {
    if (!one.is_object())
      return fail(Error{Fault::malformed, "a message is an object", spec, 0, folder + "/index.json", {}});
    GH_TRY(RecordedMessage m, read_message(one.get_object(), folder));
    c.messages.push_back(std::move(m));
  }
  if (const json::value* const complete = index.if_contains("complete"); complete && complete->is_bool())
    c.complete = complete->get_bool();
  const json::value* const certificate = index.if_contains("client_certificate");
  c.identity_type =
      text(index, "identity_type")
          .value_or(certificate && certificate->is_bool() && certificate->get_bool() ? "certificate" : "");
  c.identity = text(index, "identity").value_or("");
  c.max_batch = number(index, "max_batch").value_or(0);
  if (const auto banks = text(index, "banks"))
    for (std::size_t at = 0; at <= banks->size();) {
      const std::size_t comma = std::min(banks->find(',', at), banks->size());
      c.banks.push_back(banks->substr(at, comma - at));
      at = comma + 1;
    }
  read_sasl(c);

  const std::string path = folder + "/facts.json";
  const auto facts = read_object(path, false);
  if (!facts) {
    // An unfinished trace has none yet; what comes before the quote can be replayed without.
    if (c.complete) return std::unexpected(facts.error());
    return c;
  }
  if (const json::value* const all = facts->if_contains("exchanges"); all && all->is_array()) {
    for (const json::value& one : all->get_array()) {
      if (!one.is_object()) continue;
      GH_TRY(auto exchange, read_exchange(one.get_object(), path));
      if (exchange) c.exchanges.push_back(std::move(*exchange));
    }
  } else {
    GH_TRY(auto exchange, read_exchange(*facts, path));
    if (exchange) c.exchanges.push_back(std::move(*exchange));
  }
  return c;
}

}  // namespace gatehouse::trace
