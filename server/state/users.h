// The SASL users of `[pt_tls] users`: a text file with a password verifier a line (docs/formats/state.md), made by
// `gatehouse user`. Immutable after it was read; reload by reading again.
//
//   GH_TRY(const auto users, UserFile::load("users.db"));
//   const bool good = users.check_blocking("carol", password);   // milliseconds of CPU, so on a worker
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/scram.h"
#include "base/secret.h"

namespace gatehouse::server {

class UserFile {
 public:
  UserFile();
  static Result<UserFile> load(const std::string& path);

  // Constant time; for an unknown user the same work is done with a verifier that nothing matches.
  bool check_blocking(std::string_view user, const Secret& password) const;
  // For SCRAM; microseconds. An unknown user gets a salt that is always the same for the name, as a known one does: it comes
  // from the name and from a secret of this process, which outlives a reload of the file.
  ScramRecord scram_record(std::string_view user) const;
  std::vector<std::string> names() const;
  bool contains(std::string_view user) const;

  // Names: 1 to 255 bytes of printable UTF-8 without white space.
  Result<void> set(std::string_view user, const Secret& password, std::uint32_t iterations = default_iterations);
  bool remove(std::string_view user);
  // Atomic, mode 0600.
  Result<void> save(const std::string& path) const;

 private:
  std::map<std::string, PasswordVerifier, std::less<>> users_;
  PasswordVerifier dummy_;
};

}  // namespace gatehouse::server
