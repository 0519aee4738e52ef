#include "server/state/users.h"

#include <algorithm>
#include <charconv>

#include "base/file.h"
#include "base/hash.h"
#include "base/hex.h"

namespace gatehouse::server {
namespace {

constexpr std::string_view header = "gatehouse-users 1";
constexpr std::string_view mechanism = "SCRAM-SHA-256";
constexpr std::size_t max_file_bytes = std::size_t(64) << 20;

// The text before the next `end`, taken off `rest`.
std::string_view next_field(std::string_view& rest, char end) {
  const std::size_t at = rest.find(end);
  const std::string_view out = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return out;
}

bool acceptable_name(std::string_view user) {
  return !user.empty() && user.size() <= 255 && escaped(user, 255) == user &&
         std::none_of(user.begin(), user.end(), [](char c) { return c == ' ' || c == '\t'; });
}

Result<PasswordVerifier> parse_verifier(std::string_view rest) {
  PasswordVerifier out;
  if (next_field(rest, '\t') != mechanism) return fail(Fault::malformed, "unknown mechanism", "docs/formats/state.md");
  const std::string_view iterations = next_field(rest, '\t');
  const auto [end, code] = std::from_chars(iterations.data(), iterations.data() + iterations.size(), out.iterations);
  if (code != std::errc() || end != iterations.data() + iterations.size() || out.iterations < min_iterations ||
      out.iterations > max_iterations)
    return fail(Fault::malformed, "iteration count isn't 4,096 to 10,000,000", "docs/formats/state.md");
  GH_TRY(out.salt, from_hex(next_field(rest, '\t')));
  GH_TRY(out.stored_key, from_hex(next_field(rest, '\t')));
  GH_TRY(out.server_key, from_hex(rest));
  if (out.salt.empty() || out.stored_key.size() != 32 || out.server_key.size() != 32)
    return fail(Fault::malformed, "salt or key of the wrong size", "docs/formats/state.md");
  return out;
}

}  // namespace

// What unknown users are compared with: no password has this verifier.
UserFile::UserFile() {
  dummy_.iterations = default_iterations;
  dummy_.salt = random_bytes(16);
  dummy_.stored_key = random_bytes(32);
  dummy_.server_key = random_bytes(32);
}

Result<UserFile> UserFile::load(const std::string& path) {
  GH_TRY(const ByteVector content, read_file(path, max_file_bytes));
  std::string_view rest = as_text(content);
  const auto bad = [&](std::string_view line, std::string_view reason) {
    return fail(Error{Fault::malformed, reason, "docs/formats/state.md", std::size_t(line.data() - as_text(content).data()),
                      path, {}});
  };
  const std::string_view first = next_field(rest, '\n');
  if (first != header) return bad(first, "not a user file of this version");
  UserFile out;
  while (!rest.empty()) {
    const std::string_view line = next_field(rest, '\n');
    std::string_view fields = line;
    const std::string_view user = next_field(fields, '\t');
    if (!acceptable_name(user)) return bad(line, "not a user name");
    auto verifier = parse_verifier(fields);
    if (!verifier) return bad(line, verifier.error().reason);
    out.dummy_.iterations = verifier->iterations;
    if (!out.users_.emplace(user, *std::move(verifier)).second) return bad(line, "user named twice");
  }
  return out;
}

bool UserFile::check_blocking(std::string_view user, const Secret& password) const {
  const auto it = users_.find(user);
  const bool known = it != users_.end();
  const bool matches = verify_password(known ? it->second : dummy_, password);
  return known && matches;
}

ScramRecord UserFile::scram_record(std::string_view user) const {
  static const ByteVector process_secret = random_bytes(32);
  // Made in any case, so that the time tells nothing.
  const auto derived = [&](char use) {
    return to_vector(hmac(HashAlgorithm::sha256, process_secret, as_bytes(use + std::string(user))).view());
  };
  PasswordVerifier made_up{dummy_.iterations, derived('s'), derived('c'), derived('k')};
  made_up.salt.resize(16);
  const auto it = users_.find(user);
  if (it == users_.end()) return {std::move(made_up), false};
  return {it->second, true};
}

std::vector<std::string> UserFile::names() const {
  std::vector<std::string> out;
  for (const auto& [user, verifier] : users_) out.push_back(user);
  return out;
}

bool UserFile::contains(std::string_view user) const { return users_.contains(user); }

Result<void> UserFile::set(std::string_view user, const Secret& password, std::uint32_t iterations) {
  if (!acceptable_name(user))
    return fail(Fault::usage, "a user name is 1 to 255 bytes of printable UTF-8 without white space");
  if (iterations < min_iterations || iterations > max_iterations)
    return fail(Fault::usage, "iteration count isn't 4,096 to 10,000,000");
  // PLAIN can carry neither an empty password nor one with a NUL (RFC 4616 section 2).
  if (password.empty() || password.size() > 1024) return fail(Fault::usage, "a password is 1 to 1,024 bytes");
  if (as_text(password.reveal()).find('\0') != std::string_view::npos)
    return fail(Fault::usage, "a password holds no NUL", "RFC 4616 2");
  users_.insert_or_assign(std::string(user), make_verifier(password, iterations));
  return {};
}

bool UserFile::remove(std::string_view user) {
  const auto it = users_.find(user);
  if (it == users_.end()) return false;
  users_.erase(it);
  return true;
}

Result<void> UserFile::save(const std::string& path) const {
  std::string out = std::string(header) + "\n";
  for (const auto& [user, verifier] : users_) {
    out.append(user).append("\t").append(mechanism).append("\t").append(std::to_string(verifier.iterations));
    for (const ByteVector* field : {&verifier.salt, &verifier.stored_key, &verifier.server_key})
      out.append("\t").append(to_hex(*field));
    out += '\n';
  }
  return write_file_atomically(path, as_bytes(out), 0600);
}

}  // namespace gatehouse::server
