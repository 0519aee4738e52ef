#include "base/secret.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <type_traits>

#include "base/hex.h"

namespace gatehouse {
namespace {

Secret secret(std::string text) { return Secret(std::move(text)); }

static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);
static_assert(!std::is_convertible_v<Secret, std::string> && !std::is_convertible_v<Secret, std::string_view>);

TEST(Secret, TakesTheBytesAway) {
  std::string text = "a password that is longer than the small buffer of a string";
  const std::string copy = text;
  const char* const where = text.data();
  const std::size_t size = text.size();
  Secret taken(std::move(text));
  EXPECT_EQ(as_text(taken.reveal()), copy);
  EXPECT_TRUE(text.empty());
  EXPECT_EQ(std::string(where, size), std::string(size, '\0')) << "the caller's buffer still has it";
  EXPECT_TRUE(taken.equals(as_bytes(copy)));
  EXPECT_FALSE(taken.equals(as_bytes(copy.substr(1))));
  Secret moved = std::move(taken);
  EXPECT_TRUE(taken.empty());
  EXPECT_EQ(moved.size(), size);
}

// The exchange of RFC 7677 section 3 (user "user", password "pencil"): salt and count from the server's first message,
// StoredKey from them by an independent computation whose server signature is the one printed there.
TEST(Secret, AgreesWithRfc7677) {
  PasswordVerifier verifier;
  verifier.iterations = 4096;
  verifier.salt = from_hex("5b6d99689d12358eeca04b141236fa81").value();
  verifier.stored_key = from_hex("586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6").value();
  EXPECT_TRUE(verify_password(verifier, secret("pencil")));
  EXPECT_FALSE(verify_password(verifier, secret("pencils")));
}

TEST(Secret, VerifiesOnlyTheRightPassword) {
  const PasswordVerifier verifier = make_verifier(secret("Ar3etTnp"), min_iterations);
  EXPECT_EQ(verifier.salt.size(), 16U);
  EXPECT_TRUE(verify_password(verifier, secret("Ar3etTnp")));
  for (const char* wrong : {"", "ar3etTnp", "Ar3etTn", "Ar3etTnp "}) EXPECT_FALSE(verify_password(verifier, secret(wrong)));
  EXPECT_NE(make_verifier(secret("Ar3etTnp"), min_iterations).stored_key, verifier.stored_key) << "the salt is fresh";
}

TEST(Secret, ComesFromTheFirstLineOfAFile) {
  const std::string path = (std::filesystem::temp_directory_path() / ("gatehouse-secret-" + std::to_string(::getpid()))).string();
  const auto read = [&](const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
    return read_secret_file(path);
  };
  EXPECT_TRUE(read("pass word\r\nnext").value().equals(as_bytes("pass word")));
  EXPECT_TRUE(read("x").value().equals(as_bytes("x")));
  EXPECT_EQ(read("\nx").error().fault, Fault::malformed);
  EXPECT_EQ(read(std::string(1025, 'x')).error().fault, Fault::limit);
  EXPECT_TRUE(read(std::string(1024, 'x')));
  std::filesystem::remove(path);
  EXPECT_EQ(read_secret_file(path).error().fault, Fault::environment);
}

}  // namespace
}  // namespace gatehouse
