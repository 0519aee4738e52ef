#include "base/ed25519.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hex.h"
#include "tests/folder.h"

namespace gatehouse {
namespace {

// RFC 8032 section 7.1, test 2, with the key as a SubjectPublicKeyInfo (RFC 8410).
const std::string rfc8032_key =
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\n-----END PUBLIC "
    "KEY-----\n";
const std::string rfc8032_signature =
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

TEST(Ed25519, VerifiesTheStandardsExample) {
  const VerifyingKey key = VerifyingKey::from_pem(rfc8032_key).value();
  ByteVector signature = from_hex(rfc8032_signature).value();
  EXPECT_TRUE(key.verify(as_bytes("\x72"), signature));
  EXPECT_FALSE(key.verify(as_bytes("\x73"), signature));
  EXPECT_FALSE(key.verify(as_bytes("\x72"), Bytes(signature).first(63)));
  EXPECT_FALSE(key.verify(as_bytes("\x72"), {}));
  signature[40] ^= std::byte{1};
  EXPECT_FALSE(key.verify(as_bytes("\x72"), signature));
  EXPECT_EQ(VerifyingKey::from_pem(key.pem()).value().id(), key.id());
}

TEST(Ed25519, AKeyIsWrittenForItsOwnerAloneAndReadAgain) {
  const test::Folder folder;
  const std::string path = folder / "export.key";
  const SigningKey key = SigningKey::generate().value();
  ASSERT_TRUE(key.write_file(path));
  struct stat st {};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  EXPECT_TRUE(read_file(path, 1000).value().size() > 0);
  const auto signature = SigningKey::read_file(path).value().sign(as_bytes("message"));
  EXPECT_TRUE(key.verifying().verify(as_bytes("message"), signature));
  EXPECT_FALSE(SigningKey::generate().value().verifying().verify(as_bytes("message"), signature));
  // Never over another one.
  const auto again = SigningKey::generate().value().write_file(path);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().fault, Fault::environment);
  EXPECT_EQ(SigningKey::read_file(path).value().verifying().id(), key.verifying().id());
}

TEST(Ed25519, APrivateKeyThatOthersCanReadIsRefused) {
  const test::Folder folder;
  const std::string path = folder / "export.key";
  ASSERT_TRUE(SigningKey::generate().value().write_file(path));
  for (const mode_t mode : {0640U, 0604U, 0602U, 0610U}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    const auto read = SigningKey::read_file(path);
    ASSERT_FALSE(read) << mode;
    EXPECT_EQ(read.error().fault, Fault::environment);
    EXPECT_EQ(read.error().source, path);
  }
  ASSERT_EQ(::chmod(path.c_str(), 0400), 0);
  EXPECT_TRUE(SigningKey::read_file(path));
}

TEST(Ed25519, WhatIsNoSuchKeyIsNamed) {
  const test::Folder folder;
  const auto refused = [&](const std::string& text) {
    folder.write("key", text);
    ::chmod((folder / "key").c_str(), 0600);
    const auto as_private = SigningKey::read_file(folder / "key");
    const auto as_public = VerifyingKey::read_file(folder / "key");
    EXPECT_TRUE(!as_private && as_private.error().source == folder / "key");
    EXPECT_TRUE(!as_public && as_public.error().source == folder / "key");
    return !as_private && as_private.error().fault == Fault::malformed && !as_public &&
           as_public.error().fault == Fault::malformed;
  };
  EXPECT_TRUE(refused(""));
  EXPECT_TRUE(refused("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"));
  // P-256, and a private key behind a passphrase.
  EXPECT_TRUE(refused(
      "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP"
      "40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n"));
  EXPECT_TRUE(
      refused("-----BEGIN ENCRYPTED PRIVATE "
              "KEY-----\nMIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBB1zGHmHqvsrqf5cVZxnkqJAgIIADAMBggq\n"
              "hkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQb0nXqfFpYFS+YyqhKpWJZQRA\n-----END ENCRYPTED PRIVATE KEY-----\n"));
}

}  // namespace
}  // namespace gatehouse
