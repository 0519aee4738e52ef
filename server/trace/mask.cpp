#include <algorithm>

#include "server/trace/recorder.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::trace {
namespace {

constexpr std::string_view stars = "********";

// PLAIN: authorization identity and user stay, everything behind the second NUL goes.
std::string masked_plain(std::string_view message) {
  const std::size_t one = message.find('\0');
  const std::size_t two = one == std::string_view::npos ? one : message.find('\0', one + 1);
  if (two == std::string_view::npos) return std::string(stars);
  return std::string(message.substr(0, two + 1)) + std::string(stars);
}

// SCRAM (RFC 5802): proofs (p=) and signatures (v=) can be tried against passwords. The client's first message begins
// with "p=" where it names its channel binding.
std::string masked_scram(std::string_view message) {
  std::string out;
  for (std::size_t at = 0; at <= message.size();) {
    const std::size_t comma = std::min(message.find(',', at), message.size());
    const std::string_view part = message.substr(at, comma - at);
    const bool binding = at == 0 && part.starts_with("p=tls-");
    if (!binding && (part.starts_with("p=") || part.starts_with("v=")))
      out += std::string(part.substr(0, 2)) + std::string(stars);
    else
      out += part;
    if (comma < message.size()) out += ',';
    at = comma + 1;
  }
  return out;
}

std::string masked_data(std::string_view data, std::string_view mechanism) {
  if (data.empty()) return {};
  if (mechanism == "PLAIN") return masked_plain(data);
  if (mechanism.starts_with("SCRAM-")) return masked_scram(data);
  return std::string(stars);
}

}  // namespace

ByteVector masked(Bytes message, std::string& mechanism) {
  Reader r(message, "PT-TLS");
  if (message.size() < pttls::header_size) return to_vector(message);
  (void)r.skip(1);
  const std::uint32_t vendor = *r.get24(), type = *r.get<std::uint32_t>();
  (void)r.skip(4);
  const std::uint32_t identifier = *r.get<std::uint32_t>();
  const Bytes value = r.rest();
  const auto again = [&](Bytes kept) {
    Writer w;
    w.put(std::uint8_t{0});
    w.put24(vendor);
    w.put(type);
    w.put(std::uint32_t(pttls::header_size + kept.size()));
    w.put(identifier);
    w.put_bytes(kept);
    return std::move(w).take();
  };
  if (value.empty()) return to_vector(message);
  if (vendor != 0) return again({});
  switch (pttls::Type(type)) {
    case pttls::Type::version_request:
    case pttls::Type::version_response:
    case pttls::Type::sasl_mechanisms:
    case pttls::Type::pb_tnc_batch:
      return to_vector(message);
    case pttls::Type::sasl_selection: {
      const auto selection = pttls::parse_selection(value);
      if (!selection) return again(as_bytes(stars));
      mechanism = selection->mechanism;
      const std::string response = masked_data(as_text(selection->initial_response), mechanism);
      Writer w;
      pttls::append_selection(w, {selection->mechanism, as_bytes(response)});
      return again(w.view());
    }
    case pttls::Type::sasl_data:
      return again(as_bytes(masked_data(as_text(value), mechanism)));
    case pttls::Type::sasl_result: {
      const auto result = pttls::parse_sasl_result(value);
      if (!result || result->data.empty()) return result ? to_vector(message) : again({});
      Writer w;
      w.put_bytes(value.first(value.size() - result->data.size()));
      w.put_text(masked_data(as_text(result->data), mechanism));
      return again(w.view());
    }
    case pttls::Type::error:
      // What it quotes may be a SASL message: its header tells which message it was.
      return again(value.first(std::min<std::size_t>(value.size(), 8 + pttls::header_size)));
    default:
      return again({});
  }
}

}  // namespace gatehouse::trace
