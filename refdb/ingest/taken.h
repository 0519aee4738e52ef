// Which state of each repository a store has taken: an older one is a rollback. Kept in the store's folder, in the file
// REPOSITORIES (docs/formats/refdb.md), by who holds the store's lock.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse::refdb {

struct TakenState {
  std::int64_t date = 0;  // seconds since 1970, as the repository says
  std::string signer;     // fingerprint; empty: not signed
};

class Taken {
 public:
  // Nothing, where the store has no such file.
  static Result<Taken> read(const std::string& store);
  // What another store's file holds: an environment fault names `path`.
  static Result<Taken> parse(Bytes text, const std::string& path);
  // Replaced at once, if anything changed.
  Result<void> write(const std::string& store);

  // `repository`: kind, place and suite, as "apt:http://mirror.example/debian bookworm".
  const TakenState* find(const std::string& repository) const;
  // Whether a repository of this kind, the key's beginning, was ever taken.
  bool has_kind(std::string_view prefix) const;
  // The date only grows.
  void note(const std::string& repository, const TakenState& state);
  // All that another store took.
  void note_all(const Taken& other);

 private:
  std::map<std::string, TakenState, std::less<>> all_;
  bool changed_ = false;
};

}  // namespace gatehouse::refdb
