#include "base/scram.h"

#include <gtest/gtest.h>

#include "base/base64.h"
#include "base/hex.h"

namespace gatehouse {
namespace {

Secret secret(std::string text) { return Secret(std::move(text)); }
std::string text(const ByteVector& bytes) { return std::string(as_text(bytes)); }

// RFC 4648 section 10.
TEST(Base64, VectorsOfItsRfc) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : vectors) {
    EXPECT_EQ(to_base64(as_bytes(plain)), coded);
    EXPECT_EQ(text(from_base64(coded).value()), plain);
  }
  ByteVector all;
  for (int i = 0; i < 256; ++i) all.push_back(std::byte(i));
  EXPECT_EQ(from_base64(to_base64(all)).value(), all);
  for (const char* bad :
       {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zm8", "=m8=", "Z===", "====", "Zg==Zg==", "Zm9v ", "Zm-v", "Zm\n9v", "Zg=v"})
    EXPECT_FALSE(from_base64(bad)) << bad;
}

// RFC 7677 section 3, both sides.
struct Rfc7677 {
  static constexpr std::string_view client_nonce = "rOprNGfwEbeRWgbNEkqO",
                                    server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
  static constexpr std::string_view client_first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
  static constexpr std::string_view server_first =
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
  static constexpr std::string_view client_final =
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
  static constexpr std::string_view server_final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
  // What a server has stored of "pencil" with this salt.
  static ScramRecord record() {
    const ByteVector salt = from_base64("W22ZaJ0SNY7soEsUEjb6gQ==").value();
    const ByteVector salted = salted_password(as_bytes("pencil"), salt, 4096);
    const Digest client_key = hmac(HashAlgorithm::sha256, salted, as_bytes("Client Key"));
    return {{4096, salt, to_vector(digest_of(HashAlgorithm::sha256, client_key.view()).view()),
             to_vector(hmac(HashAlgorithm::sha256, salted, as_bytes("Server Key")).view())},
            true};
  }
};

TEST(Scram, AgreesWithRfc7677OnBothSides) {
  ScramClient client("user", secret("pencil"), std::string(Rfc7677::client_nonce));
  EXPECT_EQ(text(client.first()), Rfc7677::client_first);
  EXPECT_EQ(text(client.respond_blocking(as_bytes(Rfc7677::server_first)).value()), Rfc7677::client_final);
  EXPECT_TRUE(client.verify(as_bytes(Rfc7677::server_final)));

  ScramServer server;
  EXPECT_EQ(server.client_first(as_bytes(Rfc7677::client_first)).value(), "user");
  EXPECT_EQ(text(server.challenge(Rfc7677::record(), Rfc7677::server_nonce)), Rfc7677::server_first);
  EXPECT_EQ(text(server.client_final(as_bytes(Rfc7677::client_final)).value()), Rfc7677::server_final);
}

// A whole exchange; the server's final message or its error.
Result<ByteVector> exchange(std::string user, std::string password, const ScramRecord& record,
                            ScramBinding client_binding = ScramBinding::unavailable,
                            ScramBinding server_binding = ScramBinding::unavailable,
                            std::string_view client_exporter = {}, std::string_view server_exporter = {},
                            std::string_view client_type = tls_exporter_binding) {
  ScramClient client(user, secret(std::move(password)), "client-nonce", client_binding, {client_type, to_vector(as_bytes(client_exporter))});
  ScramServer server(server_binding, {tls_exporter_binding, to_vector(as_bytes(server_exporter))});
  GH_TRY(const std::string claimed, server.client_first(client.first()));
  EXPECT_EQ(claimed, user);
  GH_TRY(const ByteVector answer, client.respond_blocking(server.challenge(record, "server-nonce")));
  GH_TRY(ByteVector last, server.client_final(answer));
  EXPECT_TRUE(client.verify(last));
  return last;
}

TEST(Scram, OnlyTheRightPasswordOfAKnownUserPasses) {
  const PasswordVerifier verifier = make_verifier(secret("Ar3etTnp"), min_iterations);
  EXPECT_TRUE(exchange("carol", "Ar3etTnp", {verifier, true}));
  EXPECT_EQ(exchange("carol", "Ar3etTnq", {verifier, true}).error().fault, Fault::denied);
  EXPECT_EQ(exchange("carol", "Ar3etTnp", {verifier, false}).error().fault, Fault::denied) << "made up for nobody";
  for (const char* name : {"a,b", "a=b", "=2C", "M\xc3\xbcller", "b c", "n=x,r=y"})
    EXPECT_TRUE(exchange(name, "Ar3etTnp", {verifier, true})) << name;
}

TEST(Scram, ChannelBindingHasToBeTheSame) {
  const ScramRecord record{make_verifier(secret("p"), min_iterations), true};
  using enum ScramBinding;
  EXPECT_TRUE(exchange("u", "p", record, used, used, "exporter", "exporter"));
  EXPECT_EQ(exchange("u", "p", record, used, used, "exporter", "exporteR").error().fault, Fault::denied);
  // Of another type, it isn't the same whatever it is.
  EXPECT_EQ(exchange("u", "p", record, used, used, "exporter", "exporter", tls_unique_binding).error().fault, Fault::protocol);
  EXPECT_TRUE(exchange("u", "p", record, available, unavailable, "exporter", ""));
  EXPECT_TRUE(exchange("u", "p", record, unavailable, available, "", "exporter"));
  EXPECT_EQ(exchange("u", "p", record, available, available, "exporter", "exporter").error().fault, Fault::protocol)
      << "the offer was cut";
  EXPECT_EQ(exchange("u", "p", record, used, available, "exporter", "exporter").error().fault, Fault::protocol);
  EXPECT_EQ(exchange("u", "p", record, unavailable, used, "", "exporter").error().fault, Fault::protocol);
}

TEST(Scram, ServerRefusesFirstMessagesThatItCantRead) {
  struct Row {
    const char* message;
    Fault fault;
  };
  const Row rows[] = {
      {"", Fault::malformed},
      {"n", Fault::malformed},
      {"n,", Fault::malformed},
      {"n,,", Fault::malformed},
      {"x,,n=u,r=n", Fault::malformed},
      {"N,,n=u,r=n", Fault::malformed},
      {"n,,r=n,n=u", Fault::malformed},
      {"n,,n=u", Fault::malformed},
      {"n,,n=,r=n", Fault::malformed},
      {"n,,n=a=b,r=n", Fault::malformed},
      {"n,,n=a=2c,r=n", Fault::malformed},
      {"n,,n=a=2,r=n", Fault::malformed},
      {"n,,n=u,r=", Fault::malformed},
      {"n,,n=u,r=a b", Fault::malformed},
      {"n,,n=u,r=\x7f", Fault::malformed},
      {"n,,n=u,r=n,", Fault::malformed},
      {"n,,n=u,r=n,1=x", Fault::malformed},
      {"n,,n=\xff,r=n", Fault::malformed},
      {"n,,n=a\tb,r=n", Fault::malformed},
      {"n,u,n=u,r=n", Fault::malformed},
      {"n,a=v,n=u,r=n", Fault::protocol},
      {"n,,m=x,n=u,r=n", Fault::protocol},
      {"p=tls-exporter,,n=u,r=n", Fault::protocol},
      {"p=tls-unique,,n=u,r=n", Fault::protocol},
  };
  for (const Row& row : rows) {
    ScramServer server;
    const auto user = server.client_first(as_bytes(row.message));
    ASSERT_FALSE(user) << row.message;
    EXPECT_EQ(user.error().fault, row.fault) << row.message;
  }
  ScramServer first, second, third;
  EXPECT_EQ(first.client_first(as_bytes("n,a=u,n=u,r=n,x=1,Y=")).value(), "u");
  EXPECT_EQ(second.client_first(as_bytes("n,,n=u,r=" + std::string(256, 'n'))).value(), "u");
  EXPECT_FALSE(third.client_first(as_bytes("n,,n=u,r=" + std::string(257, 'n'))));
  EXPECT_EQ(ScramServer().client_first(as_bytes("n,,n=u,r=n,x=" + std::string(4096, 'x'))).error().fault, Fault::limit);
}

TEST(Scram, ServerRefusesFinalMessagesThatArentOfThisExchange) {
  const std::string good(Rfc7677::client_final);
  const auto refused = [&](std::string message) {
    ScramServer server;
    (void)server.client_first(as_bytes(Rfc7677::client_first));
    (void)server.challenge(Rfc7677::record(), Rfc7677::server_nonce);
    const auto last = server.client_final(as_bytes(message));
    return last ? std::optional<Fault>() : last.error().fault;
  };
  const auto replaced = [&](std::string_view what, std::string_view with) {
    std::string out = good;
    return out.replace(out.find(what), what.size(), with);
  };
  EXPECT_FALSE(refused(good));
  EXPECT_EQ(refused(""), Fault::malformed);
  EXPECT_EQ(refused(good.substr(0, good.find(",p="))), Fault::malformed);
  EXPECT_EQ(refused(replaced("c=biws", "c=eSws")), Fault::denied) << "another header than at first";
  EXPECT_EQ(refused(replaced("hNlF$k0", "hNlF$k1")), Fault::protocol);
  EXPECT_EQ(refused(replaced("p=dHzb", "p=dHzc")), Fault::denied);
  EXPECT_EQ(refused(replaced("p=dHzb", "p=")), Fault::malformed) << "29 bytes";
  EXPECT_EQ(refused(good + ",x=1"), Fault::malformed) << "the proof is last";
  EXPECT_EQ(refused(replaced(",p=", ",x=1,p=")), Fault::denied) << "an extension changes what is proved";
  EXPECT_EQ(refused(replaced("c=biws,", "m=x,c=biws,")), Fault::protocol);
  // Any changed bit of the proof fails.
  const std::size_t at = good.find(",p=") + 3;
  const ByteVector proof = from_base64(good.substr(at)).value();
  for (std::size_t bit = 0; bit < proof.size() * 8; ++bit) {
    ByteVector other = proof;
    other[bit / 8] ^= std::byte(1U << (bit % 8));
    EXPECT_EQ(refused(good.substr(0, at) + to_base64(other)), Fault::denied) << bit;
  }
}

TEST(Scram, ClientRefusesChallengesThatItShouldntAnswer) {
  const auto refused = [](std::string message) {
    ScramClient client("user", secret("pencil"), "abcdef");
    (void)client.first();
    const auto answer = client.respond_blocking(as_bytes(message));
    return answer ? std::optional<Fault>() : answer.error().fault;
  };
  EXPECT_FALSE(refused("r=abcdefX,s=AAAA,i=4096"));
  EXPECT_FALSE(refused("r=abcdefX,s=AAAA,i=4096,x=1"));
  EXPECT_EQ(refused("r=abcdef,s=AAAA,i=4096"), Fault::protocol) << "the server added nothing";
  EXPECT_EQ(refused("r=abcdeX,s=AAAA,i=4096"), Fault::protocol);
  EXPECT_EQ(refused("r=abcdefX,s=AAAA,i=4095"), Fault::limit);
  EXPECT_EQ(refused("r=abcdefX,s=AAAA,i=1000001"), Fault::limit);
  EXPECT_EQ(refused("m=y,r=abcdefX,s=AAAA,i=4096"), Fault::protocol);
  for (const char* bad :
       {"", "r=abcdefX", "r=abcdefX,s=AAAA", "r=abcdefX,s=,i=4096", "r=abcdefX,s=AAA,i=4096",
        "r=abcdefX,s=AAAA,i=", "r=abcdefX,s=AAAA,i=04096", "r=abcdefX,s=AAAA,i=-4096", "r=abcdefX,s=AAAA,i=4096 ",
        "r=abcdefX,s=AAAA,i=99999999999", "s=AAAA,r=abcdefX,i=4096", "r=abcdef X,s=AAAA,i=4096", "e=unknown-user"})
    EXPECT_EQ(refused(bad), Fault::malformed) << bad;
}

TEST(Scram, ClientBelievesNoServerThatDoesntKnowTheVerifier) {
  ScramClient client("user", secret("pencil"), std::string(Rfc7677::client_nonce));
  (void)client.first();
  (void)client.respond_blocking(as_bytes(Rfc7677::server_first));
  EXPECT_TRUE(client.verify(as_bytes(Rfc7677::server_final)));
  EXPECT_TRUE(client.verify(as_bytes(std::string(Rfc7677::server_final) + ",x=1")));
  EXPECT_EQ(client.verify(as_bytes("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")).error().fault, Fault::denied);
  EXPECT_EQ(client.verify(as_bytes("v=")).error().fault, Fault::denied);
  const auto error = client.verify(as_bytes("e=invalid-proof\x1b"));
  EXPECT_EQ(error.error().fault, Fault::denied);
  EXPECT_EQ(error.error().detail, "invalid-proof\\x1B");
  for (const char* bad : {"", "v", "v=x", "x=1,v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="})
    EXPECT_EQ(client.verify(as_bytes(bad)).error().fault, Fault::malformed) << bad;
}

TEST(Scram, NamesAndPasswordsWithControlCharactersArentForScram) {
  for (const char* name : {"", "a\nb", "\x7f", "\xc2\x85", "\xff", "\xc3"})
    EXPECT_FALSE(ScramClient::acceptable(name, secret("p"))) << escaped(name);
  EXPECT_FALSE(ScramClient::acceptable(std::string(256, 'u'), secret("p")));
  EXPECT_TRUE(ScramClient::acceptable(std::string(255, 'u'), secret("p")));
  for (const char* password : {"", "a\tb", "\xc2\x85", "\xff"})
    EXPECT_FALSE(ScramClient::acceptable("u", secret(password))) << escaped(password);
  EXPECT_TRUE(ScramClient::acceptable("M\xc3\xbcller", secret("p \xe2\x82\xac,=")));
}

// What is kept is of its salt and count alone.
TEST(Scram, AKeptSaltedPasswordIsTheOneThatWouldBeComputed) {
  const Bytes password = as_bytes("pencil");
  SaltedOnce once;
  for (const auto& [salt, iterations] : {std::pair{"one", 4'096U}, {"one", 4'096U}, {"two", 4'096U}, {"two", 4'097U}, {"one", 4'096U}})
    EXPECT_EQ(once.salted(password, as_bytes(salt), iterations), salted_password(password, as_bytes(salt), iterations)) << salt << ' ' << iterations;
}

}  // namespace
}  // namespace gatehouse
