#include "server/session/sasl.h"

#include <gtest/gtest.h>

#include <map>

#include "base/base64.h"
#include "base/hex.h"
#include "endpoint/client/sasl.h"

namespace gatehouse::server {
namespace {

using pttls::ResultWidth;
using pttls::Type;

const std::string client_nonce = to_base64(as_bytes("nonce of the client")),
                  server_nonce = to_base64(as_bytes("nonce of the server"));
Secret secret(std::string text) { return Secret(std::move(text)); }

// The host of a SaslServer, with one user.
struct Exchange {
  explicit Exchange(SaslServer::Options options = {}) : server(std::move(options), server_nonce) {
    take(server.start());
  }

  void take(SaslServer::Step step) {
    for (SaslServer::Send& s : step.send) sent.push_back(std::move(s));
    then = std::move(step.then);
    if (auto* const ask = std::get_if<SaslServer::CheckPassword>(&then)) {
      EXPECT_TRUE(server.waiting());
      take(server.on_password(ask->user == "carol" && verify_password(verifier(), ask->password)));
    } else if (const auto* const find = std::get_if<SaslServer::FindRecord>(&then)) {
      EXPECT_TRUE(server.waiting());
      const bool known = find->user == "carol";
      ScramRecord record{verifier(), known};
      if (!known) record.verifier = made_up();
      take(server.on_record(std::move(record)));
    }
  }
  void receive(Type type, Bytes value) {
    Writer w;
    pttls::append_message(w, type, 0, value);
    pttls::Framer framer;
    framer.feed(w.view());
    take(server.receive(**framer.next()));
  }
  void select(std::string_view mechanism, Bytes initial = {}) {
    Writer w;
    pttls::append_selection(w, {mechanism, initial});
    receive(Type::sasl_selection, w.view());
  }
  std::vector<std::string> offered() const {
    std::vector<std::string> out;
    const auto names = pttls::parse_mechanisms(sent.at(0).value).value();
    for (const std::string_view name : names) out.emplace_back(name);
    return out;
  }
  // The last message of this type.
  std::string last(Type type) const {
    for (auto it = sent.rbegin(); it != sent.rend(); ++it)
      if (it->type == type) return to_hex(it->value);
    return "none";
  }
  template <class T>
  const T* ended_as() const {
    return std::get_if<T>(&then);
  }

  static const PasswordVerifier& verifier() {
    static const PasswordVerifier made = make_verifier(secret("Ar3etTnp"), min_iterations);
    return made;
  }
  static const PasswordVerifier& made_up() {
    static const PasswordVerifier made = make_verifier(secret("something else"), min_iterations);
    return made;
  }

  SaslServer server;
  std::vector<SaslServer::Send> sent;
  decltype(SaslServer::Step::then) then;
};

// Plays a whole exchange; the error that ended it on the client's side, if any.
struct Played {
  std::optional<Error> error;
  std::string mechanism;
};
Played play(Exchange& exchange, endpoint::SaslClient& client) {
  std::size_t at = 0;
  for (; at < exchange.sent.size(); ++at) {
    const Type type = exchange.sent[at].type;
    const ByteVector value = exchange.sent[at].value;
    Result<ByteVector> answer{ByteVector{}};
    if (type == Type::sasl_mechanisms) {
      const auto names = pttls::parse_mechanisms(value).value();
      if (names.empty()) continue;
      answer = client.select(names);
      if (answer) exchange.receive(Type::sasl_selection, *answer);
    } else if (type == Type::sasl_data) {
      answer = client.respond_blocking(value);
      if (answer) exchange.receive(Type::sasl_data, *answer);
    } else {
      const auto result = pttls::parse_sasl_result(value);
      if (auto finished = client.finish(result.value()); !finished)
        return {finished.error(), std::string(client.mechanism())};
    }
    if (!answer) return {answer.error(), std::string(client.mechanism())};
  }
  return {std::nullopt, std::string(client.mechanism())};
}
endpoint::SaslClient client(std::string user, std::string password, ChannelBinding channel = {}) {
  return endpoint::SaslClient(std::move(user), secret(std::move(password)), client_nonce, std::move(channel));
}

TEST(Sasl, BothSidesAgreeOnTheBestMechanism) {
  const ChannelBinding exporter{tls_exporter_binding, ByteVector(32, std::byte{9})}, unique{tls_unique_binding, ByteVector(12, std::byte{9})};
  struct Row {
    SaslServer::Options options;
    ChannelBinding client_channel;
    const char* mechanism;
  };
  const Row rows[] = {
      {{}, {}, "SCRAM-SHA-256"},
      {{}, exporter, "SCRAM-SHA-256"},
      {{.channel = exporter}, {}, "SCRAM-SHA-256"},
      {{.channel = exporter}, exporter, "SCRAM-SHA-256-PLUS"},
      {{.channel = unique}, unique, "SCRAM-SHA-256-PLUS"},
      {{.scram = false}, exporter, "PLAIN"},
      {{.plain = false}, {}, "SCRAM-SHA-256"},
  };
  for (const Row& row : rows)
    for (const ResultWidth width : {ResultWidth::automatic, ResultWidth::eight, ResultWidth::sixteen}) {
      SaslServer::Options options = row.options;
      options.width = width;
      Exchange exchange(options);
      auto carol = client("carol", "Ar3etTnp", row.client_channel);
      const Played played = play(exchange, carol);
      EXPECT_FALSE(played.error) << row.mechanism << ": " << (played.error ? played.error->text() : "");
      EXPECT_EQ(played.mechanism, row.mechanism);
      const auto* const accepted = exchange.ended_as<SaslServer::Accepted>();
      ASSERT_NE(accepted, nullptr) << row.mechanism;
      EXPECT_EQ(accepted->user, "carol");
      EXPECT_EQ(accepted->mechanism, row.mechanism);
      EXPECT_EQ(exchange.sent.back().type, Type::sasl_mechanisms);
      EXPECT_TRUE(exchange.sent.back().value.empty());
    }
}

TEST(Sasl, WrongPasswordsAndUsersFailAlike) {
  for (const bool scram : {true, false})
    for (const auto& [user, password] :
         {std::pair{"carol", "Ar3etTnq"}, std::pair{"mallory", "Ar3etTnp"}, std::pair{"mallory", "something else"}}) {
      Exchange exchange({.scram = scram});
      auto peer = client(user, password);
      const Played played = play(exchange, peer);
      ASSERT_TRUE(played.error) << user;
      EXPECT_EQ(played.error->fault, Fault::environment) << user;
      const auto* const rejected = exchange.ended_as<SaslServer::Rejected>();
      ASSERT_NE(rejected, nullptr);
      EXPECT_EQ(rejected->user, user);
      EXPECT_EQ(rejected->reason, "wrong user or password");
      // One octet where a client may be strongSwan's, two where it can't be.
      EXPECT_EQ(exchange.last(Type::sasl_result), scram ? "0002" : "02");
      EXPECT_EQ(exchange.sent.back().type, Type::sasl_result) << "no list of mechanisms: there is no second attempt";
    }
}

TEST(Sasl, AResponseThatDidntComeWithTheSelectionIsAskedFor) {
  Exchange plain;
  plain.select("PLAIN");
  EXPECT_NE(plain.ended_as<SaslServer::Wait>(), nullptr);
  EXPECT_EQ(plain.last(Type::sasl_data), "");
  plain.receive(Type::sasl_data, pttls::plain_message("carol", "Ar3etTnp"));
  EXPECT_NE(plain.ended_as<SaslServer::Accepted>(), nullptr);
  EXPECT_EQ(plain.last(Type::sasl_result), "0000");

  Exchange scram;
  ScramClient peer("carol", secret("Ar3etTnp"), client_nonce);
  scram.select("SCRAM-SHA-256");
  EXPECT_EQ(scram.last(Type::sasl_data), "");
  scram.receive(Type::sasl_data, peer.first());
  const ByteVector challenge = from_hex(scram.last(Type::sasl_data)).value();
  scram.receive(Type::sasl_data, peer.respond_blocking(challenge).value());
  ASSERT_NE(scram.ended_as<SaslServer::Accepted>(), nullptr);
  const ByteVector result = from_hex(scram.last(Type::sasl_result)).value();
  EXPECT_TRUE(peer.verify(pttls::parse_sasl_result(result)->data));
}

TEST(Sasl, WhatAServerRefuses) {
  using pttls::ErrorCode;
  struct Row {
    const char* what;
    Type type;
    std::string value;
    ErrorCode code;
  };
  const Row rows[] = {
      {"a mechanism that wasn't offered", Type::sasl_selection, "0845585445524e414c", ErrorCode::sasl_mechanism},
      {"channel binding that wasn't offered", Type::sasl_selection, "12534352414d2d5348412d3235362d504c5553",
       ErrorCode::sasl_mechanism},
      {"a name of length 0", Type::sasl_selection, "00", ErrorCode::invalid_parameter},
      {"a name past the end", Type::sasl_selection, "05504c41", ErrorCode::malformed},
      {"data before a selection", Type::sasl_data, "00", ErrorCode::invalid_message},
      {"another type", Type::sasl_result, "00", ErrorCode::invalid_message},
  };
  for (const Row& row : rows) {
    Exchange exchange;
    const std::size_t said = exchange.sent.size();
    Writer w;
    pttls::append_message(w, row.type, 0, from_hex(row.value).value());
    pttls::Message message;
    message.header = {0, std::uint32_t(row.type), std::uint32_t(w.size()), 0};
    message.whole = w.view();
    message.value = message.whole.subspan(pttls::header_size);
    exchange.take(exchange.server.receive(message));
    const auto* const refused = exchange.ended_as<SaslServer::Refused>();
    ASSERT_NE(refused, nullptr) << row.what;
    EXPECT_EQ(refused->code, row.code) << row.what;
    EXPECT_EQ(exchange.sent.size(), said) << row.what;
    exchange.select("PLAIN", pttls::plain_message("carol", "Ar3etTnp"));
    EXPECT_NE(exchange.ended_as<SaslServer::Refused>(), nullptr) << row.what << ": what comes afterwards is of no use";
  }
  Exchange disabled({.plain = false});
  EXPECT_EQ(disabled.offered(), std::vector<std::string>{"SCRAM-SHA-256"});
  disabled.select("PLAIN", pttls::plain_message("carol", "Ar3etTnp"));
  EXPECT_NE(disabled.ended_as<SaslServer::Refused>(), nullptr);
}

TEST(Sasl, OneAttemptAConnection) {
  for (const std::string_view mechanism : {"PLAIN", "SCRAM-SHA-256"}) {
    Exchange exchange;
    exchange.select(mechanism, as_bytes("nonsense"));
    EXPECT_NE(exchange.ended_as<SaslServer::Rejected>(), nullptr) << mechanism;
    exchange.select("PLAIN", pttls::plain_message("carol", "Ar3etTnp"));
    EXPECT_NE(exchange.ended_as<SaslServer::Refused>(), nullptr) << mechanism;
  }
  Exchange accepted;
  accepted.select("PLAIN", pttls::plain_message("carol", "Ar3etTnp"));
  EXPECT_NE(accepted.ended_as<SaslServer::Accepted>(), nullptr);
  accepted.select("PLAIN", pttls::plain_message("mallory", "x"));
  EXPECT_NE(accepted.ended_as<SaslServer::Refused>(), nullptr);
  Exchange twice;
  twice.select("SCRAM-SHA-256");
  twice.select("PLAIN", pttls::plain_message("carol", "Ar3etTnp"));
  EXPECT_NE(twice.ended_as<SaslServer::Refused>(), nullptr) << "a selection while a mechanism runs";
}

TEST(Sasl, PlainThatIsntWellFormedNeverReachesThePasswordCheck) {
  for (const char* bad : {"6361726f6c", "006361726f6c", "00006e", "006361726f6c00", "006d00706e0000", "7800796100"}) {
    Exchange exchange;
    exchange.select("PLAIN", from_hex(bad).value());
    EXPECT_NE(exchange.ended_as<SaslServer::Rejected>(), nullptr) << bad;
    EXPECT_EQ(exchange.last(Type::sasl_result), "02") << bad;
  }
}

// Somebody took -PLUS out of the offer: the client says that it could have bound, and the server knows that it had
// offered.
TEST(Sasl, AnOfferThatWasCutIsNoticed) {
  const ChannelBinding exporter{tls_exporter_binding, ByteVector(32, std::byte{9})}, unique{tls_unique_binding, ByteVector(12, std::byte{9})};
  Exchange exchange({.channel = exporter});
  auto carol = client("carol", "Ar3etTnp", exporter);
  exchange.receive(Type::sasl_selection, carol.select({"SCRAM-SHA-256", "PLAIN"}).value());
  EXPECT_NE(exchange.ended_as<SaslServer::Rejected>(), nullptr);

  Exchange other({.channel = {tls_exporter_binding, ByteVector(32, std::byte{8})}});
  auto bound = client("carol", "Ar3etTnp", exporter);
  EXPECT_TRUE(play(other, bound).error) << "two TLS connections with somebody between them";
  EXPECT_NE(other.ended_as<SaslServer::Rejected>(), nullptr);
  Exchange older({.channel = unique});
  auto newer = client("carol", "Ar3etTnp", exporter);
  EXPECT_TRUE(play(older, newer).error) << "TLS 1.2 on one side, TLS 1.3 on the other";
}

TEST(SaslClient, TakesNoSuccessWithoutProof) {
  const auto success = [](Bytes data) { return pttls::SaslOutcome{pttls::SaslResult::success, data}; };
  auto early = client("carol", "Ar3etTnp");
  ASSERT_TRUE(early.select({"SCRAM-SHA-256"}));
  EXPECT_EQ(early.finish(success({})).error().fault, Fault::protocol) << "before the server's first message";

  Exchange exchange;
  auto carol = client("carol", "Ar3etTnp");
  exchange.receive(Type::sasl_selection, carol.select({"SCRAM-SHA-256"}).value());
  const ByteVector challenge = from_hex(exchange.last(Type::sasl_data)).value();
  const ByteVector answer = carol.respond_blocking(challenge).value();
  EXPECT_FALSE(carol.finish(success({})));
  EXPECT_FALSE(carol.finish(success(as_bytes("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))));
  EXPECT_EQ(carol.finish(success(as_bytes("e=other-error"))).error().fault, Fault::environment);
  exchange.receive(Type::sasl_data, answer);
  const ByteVector result = from_hex(exchange.last(Type::sasl_result)).value();
  const Bytes last = pttls::parse_sasl_result(result)->data;
  EXPECT_TRUE(carol.respond_blocking(last)->empty())
      << "a server may send its proof as data, and wants an empty answer";
  EXPECT_TRUE(carol.finish(success({})));

  auto plain = client("carol", "Ar3etTnp");
  ASSERT_TRUE(plain.select({"PLAIN"}));
  EXPECT_EQ(plain.respond_blocking({}).error().fault, Fault::protocol) << "it has said everything";
  EXPECT_EQ(plain.finish({pttls::SaslResult::failure, {}}).error().fault, Fault::environment);
}

TEST(SaslClient, ChoosesWhatCanCarryThePassword) {
  EXPECT_EQ(client("carol", "x").select({"EXTERNAL"}).error().fault, Fault::environment);
  auto control = client("carol", "a\tb");
  ASSERT_TRUE(control.select({"SCRAM-SHA-256", "PLAIN"}));
  EXPECT_EQ(control.mechanism(), "PLAIN");
  EXPECT_EQ(client("carol", "a\tb").select({"SCRAM-SHA-256"}).error().fault, Fault::usage);
  EXPECT_EQ(client("carol", std::string("a\0b", 3)).select({"PLAIN"}).error().fault, Fault::usage);
  auto order = client("carol", "x");
  ASSERT_TRUE(order.select({"PLAIN", "SCRAM-SHA-256"}));
  EXPECT_EQ(order.mechanism(), "SCRAM-SHA-256");
}

}  // namespace
}  // namespace gatehouse::server
