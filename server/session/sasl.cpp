#include "server/session/sasl.h"

#include <algorithm>

namespace gatehouse::server {
namespace {

constexpr std::string_view plain = "PLAIN";

}  // namespace

SaslServer::SaslServer(Options options, std::string nonce) : options_(std::move(options)), nonce_(std::move(nonce)) {
  GH_ASSERT(options_.scram || options_.plain);
}

std::vector<std::string_view> SaslServer::offered() const {
  std::vector<std::string_view> out;
  if (options_.scram && !options_.channel.empty()) out.push_back(scram_sha_256_plus);
  if (options_.scram) out.push_back(scram_sha_256);
  if (options_.plain) out.push_back(plain);
  return out;
}

SaslServer::Step SaslServer::start() const {
  Writer value;
  pttls::append_mechanisms(value, offered());
  Step step;
  step.send.push_back({pttls::Type::sasl_mechanisms, std::move(value).take()});
  return step;
}

SaslServer::Step SaslServer::refuse(pttls::ErrorCode code, std::string_view reason) {
  state_ = Over{};
  return {{}, Refused{code, reason}};
}

// An empty message asks for the response that the selection came without.
SaslServer::Step SaslServer::ask() {
  Step step;
  step.send.push_back({pttls::Type::sasl_data, {}});
  return step;
}

SaslServer::Step SaslServer::accept(Bytes data) {
  state_ = Over{};
  Writer result;
  pttls::append_sasl_result(result, pttls::SaslResult::success, options_.width, data);
  Step step{{}, Accepted{user_, mechanism_}};
  step.send.push_back({pttls::Type::sasl_result, std::move(result).take()});
  step.send.push_back({pttls::Type::sasl_mechanisms, {}});
  return step;
}

// Abort, because there is no second attempt. Only a client that follows the RFC knows SCRAM, and reads two octets.
SaslServer::Step SaslServer::reject(std::string_view reason) {
  state_ = Over{};
  pttls::ResultWidth width = options_.width;
  if (width == pttls::ResultWidth::automatic && mechanism_ != plain) width = pttls::ResultWidth::sixteen;
  Writer result;
  pttls::append_sasl_result(result, pttls::SaslResult::abort, width);
  Step step{{}, Rejected{user_, mechanism_, reason}};
  step.send.push_back({pttls::Type::sasl_result, std::move(result).take()});
  return step;
}

SaslServer::Step SaslServer::receive(const pttls::Message& message) {
  GH_ASSERT(!waiting());
  if (message.header.known() && message.header.kind() == pttls::Type::sasl_selection &&
      std::holds_alternative<Selecting>(state_))
    return on_selection(message.value);
  if (message.header.known() && message.header.kind() == pttls::Type::sasl_data) return on_data(message.value);
  return refuse(pttls::ErrorCode::invalid_message, "SASL message at the wrong time");
}

SaslServer::Step SaslServer::on_selection(Bytes value) {
  const auto selection = pttls::parse_selection(value);
  if (!selection) return refuse(pttls::error_code(selection.error()), selection.error().reason);
  const std::vector<std::string_view> names = offered();
  const auto chosen = std::find(names.begin(), names.end(), selection->mechanism);
  if (chosen == names.end()) return refuse(pttls::ErrorCode::sasl_mechanism, "SASL mechanism that wasn't offered");
  mechanism_ = *chosen;
  if (mechanism_ == plain) {
    state_ = AwaitingPlain{};
  } else {
    const ScramBinding binding = mechanism_ == scram_sha_256_plus ? ScramBinding::used
                                 : !options_.channel.empty()     ? ScramBinding::available
                                                                  : ScramBinding::unavailable;
    state_ = AwaitingScram{ScramServer(binding, options_.channel)};
  }
  if (selection->initial_response.empty()) return ask();
  return on_data(selection->initial_response);
}

SaslServer::Step SaslServer::on_data(Bytes data) {
  if (std::holds_alternative<AwaitingPlain>(state_)) return on_plain(data);
  if (auto* const s = std::get_if<AwaitingScram>(&state_)) return on_scram_first(std::move(s->exchange), data);
  if (auto* const s = std::get_if<AwaitingProof>(&state_)) return on_proof(std::move(s->exchange), data);
  return refuse(pttls::ErrorCode::invalid_message, "SASL data while no mechanism runs");
}

SaslServer::Step SaslServer::on_plain(Bytes message) {
  const auto credentials = pttls::parse_plain(message);
  if (!credentials) return reject(credentials.error().reason);
  user_ = credentials->user;
  state_ = Checking{};
  return {{}, CheckPassword{user_, Secret(as_bytes(credentials->password))}};
}

SaslServer::Step SaslServer::on_password(bool good) {
  GH_ASSERT(std::holds_alternative<Checking>(state_));
  return good ? accept({}) : reject("wrong user or password");
}

SaslServer::Step SaslServer::on_scram_first(ScramServer exchange, Bytes message) {
  auto user = exchange.client_first(message);
  if (!user) return reject(user.error().reason);
  user_ = *std::move(user);
  state_ = Finding{std::move(exchange)};
  return {{}, FindRecord{user_}};
}

SaslServer::Step SaslServer::on_record(ScramRecord record) {
  auto* const finding = std::get_if<Finding>(&state_);
  GH_ASSERT(finding != nullptr);
  ScramServer exchange = std::move(finding->exchange);
  Step step;
  step.send.push_back({pttls::Type::sasl_data, exchange.challenge(std::move(record), nonce_)});
  state_ = AwaitingProof{std::move(exchange)};
  return step;
}

SaslServer::Step SaslServer::on_proof(ScramServer exchange, Bytes message) {
  const auto last = exchange.client_final(message);
  return last ? accept(*last) : reject(last.error().reason);
}

}  // namespace gatehouse::server
