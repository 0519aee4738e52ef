// The passwords that challenge-response methods of EAP need as they are: `[radius] passwords`, a text file with a user a line
// (docs/formats/state.md), made by `gatehouse user --passwords`. Whoever reads it can log in as any of them, so nobody but its
// owner may. A server reads it whole and leaves it as it is.
//
//   GH_TRY(const auto passwords, PasswordFile::load("eap.passwords"));
//   if (const StoredPassword* p = passwords.find("carol")) …
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ms_chap.h"
#include "base/secret.h"

namespace gatehouse::server {

struct StoredPassword {
  Secret password;  // empty: only its NT hash is kept
  NtHash nt_hash{};
};

class PasswordFile {
 public:
  // Fault::usage where others than the owner and its group may read the file, or others than the owner write it.
  static Result<PasswordFile> load(const std::string& path);
  const StoredPassword* find(std::string_view user) const;  // null: nobody of that name
  std::vector<std::string> names() const;

  // For `gatehouse user`. Names: 1 to 253 bytes of printable UTF-8 without white space at the ends. `hash_alone`: only its NT
  // hash is kept, which MSCHAPv2, GTC and PAP can be checked with.
  Result<void> set(std::string_view user, const Secret& password, bool hash_alone);
  bool remove(std::string_view user);
  // Atomic, mode 0600.
  Result<void> save(const std::string& path) const;
  // Whether every user has the password itself.
  bool all_clear() const;
  std::size_t size() const { return users_.size(); }

 private:
  std::map<std::string, StoredPassword, std::less<>> users_;
};

// A secret's file: what load() says of those that others can read.
Result<void> check_private(const std::string& path);

}  // namespace gatehouse::server
