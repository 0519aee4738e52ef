#include "base/secret.h"

#include <openssl/evp.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/hex.h"

namespace gatehouse {
namespace {

ByteVector salted(std::string_view password, Bytes salt, unsigned iterations) {
  ByteVector out(32);
  GH_ASSERT(PKCS5_PBKDF2_HMAC(password.data(), int(password.size()), as_uchar(salt), int(salt.size()), int(iterations), EVP_sha256(), 32,
                              reinterpret_cast<unsigned char*>(out.data())) == 1);
  return out;
}

ByteVector stored_key(Bytes salted_password) {
  const Digest client = hmac(HashAlgorithm::sha256, salted_password, as_bytes("Client Key"));
  return to_vector(digest_of(HashAlgorithm::sha256, client.view()).view());
}

// For users that don't exist: the same work.
const Verifier& dummy() {
  static const Verifier verifier = make_verifier("no password is this one");
  return verifier;
}

constexpr std::size_t max_users_file = std::size_t(64) << 20;

}  // namespace

Secret::~Secret() { wipe(bytes_); }

Verifier make_verifier(std::string_view password, unsigned iterations) {
  Verifier v;
  v.salt = random_bytes(16);
  v.iterations = iterations;
  ByteVector s = salted(password, v.salt, iterations);
  v.stored_key = stored_key(s);
  v.server_key = to_vector(hmac(HashAlgorithm::sha256, s, as_bytes("Server Key")).view());
  wipe(s);
  return v;
}

bool matches(const Verifier& v, std::string_view password) {
  ByteVector s = salted(password, v.salt, v.iterations);
  const ByteVector key = stored_key(s);
  wipe(s);
  return equal_constant_time(key, v.stored_key);
}

// A line: user (hexadecimal, so that any name is one word), salt, iterations, StoredKey, ServerKey.
Result<Users> Users::read(const std::string& path) {
  GH_TRY(const ByteVector bytes, read_file(path, max_users_file));
  Users out;
  std::string_view rest = as_text(bytes);
  std::size_t offset = 0;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    const auto bad = [&] { return fail(Error{Fault::malformed, "not a line of a users file", {}, offset, path, {}}); };
    std::string_view fields[5];
    std::string_view left = line;
    for (std::string_view& field : fields) {
      const std::size_t blank = left.find(' ');
      field = left.substr(0, blank);
      left = blank == std::string_view::npos ? std::string_view{} : left.substr(blank + 1);
    }
    const auto user = from_hex(fields[0]), salt = from_hex(fields[1]), stored = from_hex(fields[3]), server = from_hex(fields[4]);
    unsigned iterations = 0;
    for (const char c : fields[2]) {
      if (c < '0' || c > '9' || iterations > 100'000'000) return bad();
      iterations = iterations * 10 + unsigned(c - '0');
    }
    if (!user || !salt || !stored || !server || !left.empty() || user->empty() || stored->size() != 32 || iterations < 4096) return bad();
    out.entries_[std::string(as_text(*user))] = {*salt, iterations, *stored, *server};
    offset += line.size() + 1;
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  return out;
}

Result<void> Users::write(const std::string& path) const {
  std::string out;
  for (const auto& [user, v] : entries_)
    out += to_hex(as_bytes(user)) + ' ' + to_hex(v.salt) + ' ' + std::to_string(v.iterations) + ' ' + to_hex(v.stored_key) + ' ' +
           to_hex(v.server_key) + '\n';
  return write_file_atomically(path, as_bytes(out), 0600);
}

bool Users::authenticate(std::string_view user, std::string_view password) const {
  const auto at = entries_.find(user);
  const bool good = matches(at == entries_.end() ? dummy() : at->second, password);
  return at != entries_.end() && good;
}

}  // namespace gatehouse
