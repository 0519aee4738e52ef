// A file's digests as its content comes, and those of the other forms in which a kernel measures the same file. Only
// kernel modules have any: a packed one (.ko.xz, .ko.zst, .ko.gz) counts as it is and unpacked, and a signed one also
// without the signature behind it, which is what ima-modsig's d-modsig is the digest of.
//
//   FileHasher hasher(algorithms, limits);
//   hasher.start("/usr/lib/modules/6.1.0/x.ko.xz");
//   hasher.update(piece);
//   hasher.finish(file);                                // its size, digests and further contents
//   package.warnings = hasher.take_warnings();          // of modules that couldn't be unpacked
//
// Unpacking is for decoders (refdb/ingest/decoders.h): who reads a tree hashes it, and has its packed modules unpacked.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "refdb/ingest/hashers.h"
#include "refdb/ingest/ingest.h"

namespace gatehouse::refdb {

// Longer ones are part of the module.
inline constexpr std::size_t max_module_signature_bytes = std::size_t(64) << 10;

// Whether a file of this name may have further forms.
bool is_kernel_module(std::string_view path);
bool is_packed_module(std::string_view path);

// Where the signature begins that is appended to a module, with the last bytes of that, as many as there are or more
// than max_module_signature_bytes: counted from their begin. nullopt: there is none that a kernel would take.
// Shape: module, signature, algorithm, hash, type (2: PKCS #7), lengths of two names (1 byte each, all 0 but the type),
// 3 × 0, length of the signature (4, big-endian), "~Module signature appended~\n" (include/linux/module_signature.h).
std::optional<std::size_t> module_signature(Bytes tail);

class FileHasher {
 public:
  // `unpacks`: false where somebody else does that.
  FileHasher(const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits, bool unpacks = true)
      : limits_(limits), unpacks_(unpacks), hashers_(algorithms), unsigned_(algorithms), unpacked_(algorithms) {}

  void start(std::string_view path);
  void update(Bytes bytes);
  // A module that can't be unpacked is a warning, and is taken as it is.
  void finish(ReferenceFile& file);
  // The same, and fails there.
  Result<void> finish_unpacked(ReferenceFile& file);
  void warn(std::string_view path, const Error& why);
  // One for each module that has no further contents though it should, the first ten by name.
  std::vector<std::string> take_warnings();

 private:
  // Content without the signature at its end: the end is held back until it is known.
  class Unsigned {
   public:
    explicit Unsigned(const std::vector<HashAlgorithm>& algorithms) : hashers_(algorithms) {}
    void start();
    void update(Bytes bytes);
    // Where it was signed.
    std::optional<FileContent> finish();

   private:
    Hashers hashers_;
    ByteVector tail_;
    std::uint64_t hashed_ = 0;
  };
  enum class Form : std::uint8_t { other, plain, packed };

  Result<void> unpack(ReferenceFile& file);

  const IngestLimits limits_;
  const bool unpacks_;
  Hashers hashers_;
  Unsigned unsigned_;
  Hashers unpacked_;
  Form form_ = Form::other;
  std::uint64_t size_ = 0;
  ByteVector packed_;                                // what there is of a packed module
  std::uint64_t all_packed_ = 0, all_unpacked_ = 0;  // of all modules so far
  std::string path_;
  std::vector<std::string> warnings_;
  std::size_t more_warnings_ = 0;
};

}  // namespace gatehouse::refdb
