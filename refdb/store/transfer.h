// A generation on its way to other machines: one file, signed, whole or as a delta over an earlier generation.
//
//   GH_TRY(const SigningKey key, SigningKey::read_file("export.key"));
//   GH_TRY(const Exported out, export_generation({.store = "refdb", .out = "42.refdb", .since = 41}, key));
//   …
//   GH_TRY(const VerifyingKey trusted, VerifyingKey::read_file("export.key.pub"));
//   GH_TRY(const Imported in, import_generation({.store = "refdb", .in = "42.refdb", .trusted = {trusted}}));
//
// docs/formats/export.md says what is in the file and what is believed of it, and why.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/ed25519.h"
#include "base/error.h"

namespace gatehouse::refdb {

// Bytes of the file that are written, or read, and of how many.
using TransferProgress = std::function<void(std::uint64_t done, std::uint64_t of)>;

struct ExportOptions {
  std::string store;
  std::string out;                               // replaced at once, when all of it is written
  std::optional<std::uint64_t> generation = {};  // absent: the current one
  std::optional<std::uint64_t> since = {};       // a delta over this one
  std::int64_t made = 0;                         // microseconds since 1970; 0: now
  TransferProgress progress = {};
};
struct Exported {
  std::uint64_t generation = 0, files = 0, bytes = 0;  // files that are in it, and its size
  std::string content_digest;
};
// Reads the store alone, and every byte of the generation before it vouches for it. Fault::usage: no such generation,
// or `since` is the generation itself.
Result<Exported> export_generation(const ExportOptions& options, const SigningKey& key);

struct ImportOptions {
  std::string store;  // made where there is none
  std::string in;     // read once, from its beginning to its end
  std::vector<VerifyingKey> trusted;
  bool allow_older = false;  // also one made before the one that was taken from this key
  bool replace = false;      // also where the store's contents were taken in here
  // What the exporter's REPOSITORIES hold (docs/formats/refdb.md): called once the generation is current, while the
  // store is locked.
  std::function<Result<void>(Bytes)> repositories = {};
  TransferProgress progress = {};
};
struct Imported {
  std::uint64_t generation = 0;  // of this store
  bool changed = false;          // false: it was this export's already
  std::uint64_t packages = 0, files = 0;
  std::string content_digest;
  // What the export says of itself.
  std::string key;  // SHA-256 of the key's SubjectPublicKeyInfo, in hex
  std::uint64_t exported_generation = 0;
  std::int64_t made = 0;  // microseconds since 1970
};
// Makes what the export holds the current generation, at once; until then, and when it fails, readers see the store as
// it was. Fault::denied: signed by none of the keys, or older than what was taken. Fault::malformed: it isn't what its
// manifest says. Fault::environment: the generation that a delta is over isn't here, or isn't the same.
Result<Imported> import_generation(const ImportOptions& options);

}  // namespace gatehouse::refdb
