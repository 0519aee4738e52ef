// Secrets and password verifiers. A Secret can't be printed, formatted, compared with == or copied by accident, and its
// bytes are wiped when it ends. A password is stored as SCRAM-SHA-256 verifier (RFC 5802, RFC 7677): whoever reads the
// file can't log in with what is in it.
//
//   Secret password(std::move(line));                       // the string's bytes are taken over and wiped
//   const PasswordVerifier stored = make_verifier(password);
//   if (verify_password(stored, password)) ...
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse {

class Secret {
 public:
  Secret() = default;
  // Takes the bytes over; `text` is wiped.
  explicit Secret(std::string&& text);
  explicit Secret(Bytes bytes);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  Bytes reveal() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  // Takes the same time whatever the bytes are.
  bool equals(Bytes other) const;

 private:
  ByteVector bytes_;
};
std::ostream& operator<<(std::ostream&, const Secret&) = delete;

// The first line of a file (its line end left out), at most 1,024 bytes. Empty: malformed.
Result<Secret> read_secret_file(const std::string& path);

// RFC 5802 section 3: SaltedPassword = PBKDF2-HMAC-SHA-256, StoredKey = SHA-256(HMAC(SaltedPassword, "Client Key")).
struct PasswordVerifier {
  std::uint32_t iterations = 0;
  ByteVector salt;        // 16 bytes where we made it
  ByteVector stored_key;  // 32 bytes
  ByteVector server_key;  // 32 bytes
};

inline constexpr std::uint32_t default_iterations = 20'000;  // about 10 ms; RFC 7677 asks for 4,096 at least
inline constexpr std::uint32_t min_iterations = 4'096, max_iterations = 10'000'000;

PasswordVerifier make_verifier(const Secret& password, std::uint32_t iterations = default_iterations);
// Costs as much whether the password is right or not.
bool verify_password(const PasswordVerifier& verifier, const Secret& password);
// SaltedPassword, 32 bytes: as good as the password, so wipe it. Milliseconds of CPU.
ByteVector salted_password(Bytes password, Bytes salt, std::uint32_t iterations);

}  // namespace gatehouse
