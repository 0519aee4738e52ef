#include "server/state/passwords.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/file.h"
#include "base/hash.h"
#include "base/hex.h"

namespace gatehouse::server {
namespace {

constexpr std::string_view header = "gatehouse-passwords 1", spec = "docs/formats/state.md";
constexpr std::size_t max_file_bytes = std::size_t(64) << 20;

std::string_view next_field(std::string_view& rest, char end) {
  const std::size_t at = rest.find(end);
  const std::string_view out = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return out;
}

// What the file can hold, and RADIUS say.
bool acceptable_name(std::string_view user) { return !user.empty() && user.size() <= 253 && escaped(user, 253) == user; }

Result<StoredPassword> parse_password(std::string_view kind, std::string_view value) {
  StoredPassword out;
  if (kind == "password") {
    const auto hash = nt_hash(value);
    if (!hash || value.empty() || value.size() > 1024)
      return fail(Fault::malformed, "a password is 1 to 256 characters of UTF-8", spec);
    out.password = Secret(as_bytes(value));
    out.nt_hash = *hash;
    return out;
  }
  if (kind != "nt-hash") return fail(Fault::malformed, "the second field is password or nt-hash", spec);
  GH_TRY(ByteVector hash, from_hex(value));
  if (hash.size() != out.nt_hash.size()) return fail(Fault::malformed, "an NT hash has 32 hexadecimal digits", spec);
  std::copy(hash.begin(), hash.end(), out.nt_hash.begin());
  wipe(hash);
  return out;
}

}  // namespace

Result<void> check_private(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return fail_errno("can't be read", path);
  if ((info.st_mode & (S_IRWXO | S_IWGRP | S_IXGRP)) != 0)
    return fail(Error{Fault::usage, "a secret that others may read or its group may write: chmod 600", {}, 0, path, {}});
  return {};
}

Result<PasswordFile> PasswordFile::load(const std::string& path) {
  GH_CHECK(check_private(path));
  GH_TRY(ByteVector content, read_file(path, max_file_bytes));
  std::string_view rest = as_text(content);
  const auto parse = [&]() -> Result<PasswordFile> {
    const auto bad = [&](std::string_view line, std::string_view reason) {
      return fail(Error{Fault::malformed, reason, spec, std::size_t(line.data() - as_text(content).data()), path, {}});
    };
    const std::string_view first = next_field(rest, '\n');
    if (first != header) return bad(first, "the first line isn't \"gatehouse-passwords 1\"");
    PasswordFile out;
    while (!rest.empty()) {
      const std::string_view line = next_field(rest, '\n');
      std::string_view fields = line;
      const std::string_view user = next_field(fields, '\t'), kind = next_field(fields, '\t');
      if (!acceptable_name(user)) return bad(line, "not a user name");
      auto stored = parse_password(kind, fields);
      if (!stored) return bad(line, stored.error().reason);
      if (!out.users_.emplace(user, *std::move(stored)).second) return bad(line, "user named twice");
    }
    return out;
  };
  auto out = parse();
  wipe(content);
  return out;
}

std::vector<std::string> PasswordFile::names() const {
  std::vector<std::string> out;
  for (const auto& [user, _] : users_) out.push_back(user);
  return out;
}

bool PasswordFile::all_clear() const {
  return std::none_of(users_.begin(), users_.end(), [](const auto& one) { return one.second.password.empty(); });
}

Result<void> PasswordFile::set(std::string_view user, const Secret& password, bool hash_alone) {
  if (!acceptable_name(user)) return fail(Fault::usage, "a user has 1 to 253 bytes of printable UTF-8", spec);
  const std::string_view text = as_text(password.reveal());
  if (text.find('\n') != text.npos || text.find('\r') != text.npos) return fail(Fault::usage, "a password is one line", spec);
  GH_TRY(StoredPassword stored, parse_password("password", text));
  if (hash_alone) stored.password = Secret();
  users_.insert_or_assign(std::string(user), std::move(stored));
  return {};
}

bool PasswordFile::remove(std::string_view user) {
  const auto it = users_.find(user);
  if (it == users_.end()) return false;
  users_.erase(it);
  return true;
}

Result<void> PasswordFile::save(const std::string& path) const {
  ByteVector out = to_vector(as_bytes(header));
  const auto add = [&](Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); };
  // In one place from the start, so that nothing of it is left where it was before.
  std::size_t size = out.size() + 1;
  for (const auto& [user, stored] : users_) size += user.size() + stored.password.size() + 64;
  out.reserve(size);
  add(as_bytes("\n"));
  for (const auto& [user, stored] : users_) {
    add(as_bytes(user));
    if (stored.password.empty()) {
      add(as_bytes("\tnt-hash\t"));
      add(as_bytes(to_hex(stored.nt_hash)));
    } else {
      add(as_bytes("\tpassword\t"));
      add(stored.password.reveal());
    }
    add(as_bytes("\n"));
  }
  const auto saved = write_file_atomically(path, out, 0600);
  wipe(out);
  return saved;
}

const StoredPassword* PasswordFile::find(std::string_view user) const {
  const auto it = users_.find(user);
  return it == users_.end() ? nullptr : &it->second;
}

}  // namespace gatehouse::server
