#include "base/secret.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <array>

#include "base/file.h"
#include "base/hash.h"

namespace gatehouse {

Secret::Secret(std::string&& text) : bytes_(to_vector(as_bytes(text))) {
  wipe(std::as_writable_bytes(std::span(text.data(), text.size())));
  text.clear();
}
Secret::Secret(Bytes bytes) : bytes_(to_vector(bytes)) {}
Secret::Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)) { other.bytes_.clear(); }
Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe(bytes_);
    bytes_ = std::move(other.bytes_);
    other.bytes_.clear();
  }
  return *this;
}
Secret::~Secret() { wipe(bytes_); }
bool Secret::equals(Bytes other) const { return equal_constant_time(bytes_, other); }

Result<Secret> read_secret_file(const std::string& path) {
  auto content = read_file(path, 4096);
  if (!content) return fail(std::move(content).error());
  std::size_t size = 0;
  while (size < content->size() && (*content)[size] != std::byte{'\n'} && (*content)[size] != std::byte{'\r'}) ++size;
  Secret secret(Bytes(*content).first(size));
  wipe(*content);
  if (secret.empty()) return fail(Error{Fault::malformed, "no secret on the first line", {}, 0, path, {}});
  if (secret.size() > 1024) return fail(Error{Fault::limit, "secret longer than 1,024 bytes", {}, 1024, path, {}});
  return secret;
}

// RFC 8018 section 5.2 with HMAC-SHA-256. The KDF is fetched once a process.
ByteVector salted_password(Bytes password, Bytes salt, std::uint32_t iterations) {
  static EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, "PBKDF2", nullptr);
  EVP_KDF_CTX* const context = EVP_KDF_CTX_new(kdf);
  unsigned count = iterations;
  int any_password = 1;  // turns off OpenSSL's SP 800-132 limits: lengths are checked where users are made
  char digest[] = "SHA2-256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, const_cast<std::byte*>(password.data()),
                                        password.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, const_cast<std::byte*>(salt.data()), salt.size()),
      OSSL_PARAM_construct_uint(OSSL_KDF_PARAM_ITER, &count),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_PKCS5, &any_password), OSSL_PARAM_construct_end()};
  ByteVector out(32);
  GH_ASSERT(context != nullptr &&
            EVP_KDF_derive(context, reinterpret_cast<unsigned char*>(out.data()), out.size(), parameters) == 1);
  EVP_KDF_CTX_free(context);
  return out;
}

namespace {

// RFC 5802 section 3.
struct Keys {
  Digest stored, server;
};
Keys keys_of(Bytes password, Bytes salt, std::uint32_t iterations) {
  ByteVector salted = salted_password(password, salt, iterations);
  Digest client = hmac(HashAlgorithm::sha256, salted, as_bytes("Client Key"));
  const Keys keys{digest_of(HashAlgorithm::sha256, client.view()),
                  hmac(HashAlgorithm::sha256, salted, as_bytes("Server Key"))};
  wipe(salted);
  wipe(client.bytes);
  return keys;
}

}  // namespace

PasswordVerifier make_verifier(const Secret& password, std::uint32_t iterations) {
  PasswordVerifier out;
  out.iterations = iterations;
  out.salt = random_bytes(16);
  const Keys keys = keys_of(password.reveal(), out.salt, iterations);
  out.stored_key = to_vector(keys.stored.view());
  out.server_key = to_vector(keys.server.view());
  return out;
}

bool verify_password(const PasswordVerifier& verifier, const Secret& password) {
  const Keys keys = keys_of(password.reveal(), verifier.salt, verifier.iterations);
  return equal_constant_time(keys.stored.view(), verifier.stored_key);
}

}  // namespace gatehouse
