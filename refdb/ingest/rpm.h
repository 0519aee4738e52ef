// RPM packages (rpm.org, "RPM V4 Package Format"): a lead nobody reads any more, a signature header, a header with the
// digest of every file, and the payload, a compressed cpio archive. Numbers are big-endian.
//
//   GH_TRY(const auto package, parse_rpm(*input, limits));
//   if (package.header_is_enough(algorithms)) …                          // no byte of the payload is read
//   GH_TRY(auto references, rpm_references(*input, package, algorithms, limits));
//
// The digests of the header that the signature header holds are checked, and the package's size; its signatures aren't.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"

namespace gatehouse::refdb {

inline constexpr std::size_t max_rpm_header_bytes = std::size_t(64) << 20;
inline constexpr std::size_t max_rpm_header_tags = 65536;

struct RpmFile {
  std::string path;  // canonical; empty for what isn't a reference: folders, links, devices, ghosts
  std::uint64_t size = 0;
  bool is_config = false;
  std::optional<Digest> digest;  // in the package's algorithm
  // What a 07070X member of it holds, links and folders included; of the names of one file only the last has it.
  std::uint64_t member_size = 0;
  std::optional<std::size_t> last_link;  // the last of its names, where it has several
};

struct RpmPackage {
  std::string name;
  std::string version;  // as rpm compares it: "EPOCH:VERSION-RELEASE", an epoch of 0 left out
  std::string architecture;
  std::vector<RpmFile> files;  // in the header's order, which 07070X members count by
  // Of the files' digests; nullopt: one that isn't used for references (MD5, SHA-224, RIPEMD-160).
  std::optional<HashAlgorithm> algorithm;
  bool all_have_digests = true;  // the regular files, in that algorithm
  Digest identity;               // SHA-256 of the header, which binds the payload by its digests
  std::uint64_t header = 0, payload = 0;  // where they begin; the header ends where the payload begins
  // OpenPGP signatures of the header (the bytes from `header` to `payload`), binary. Whose they are isn't known.
  std::vector<ByteVector> signatures;
  // Of the payload as it is in the file; nullopt: the package says none, or in another algorithm.
  std::optional<std::pair<HashAlgorithm, Digest>> payload_digest;

  // Whether references in these algorithms need nothing of the payload.
  bool header_is_enough(const std::vector<HashAlgorithm>& algorithms) const;
  // Whether who vouches for the header vouches for the files' contents.
  bool header_binds_files() const;
};

// Where the header is: it ends where the payload begins. Looks at lengths alone, so it is safe for who judges a package
// that it doesn't parse. Errors as below.
struct RpmHeaderPlace {
  std::uint64_t header = 0, payload = 0;
};
Result<RpmHeaderPlace> place_of_rpm_header(const Input& input);

// Errors have offsets in the input; the caller names it.
Result<RpmPackage> parse_rpm(const Input& input, const IngestLimits& limits);

// Name, version, architecture and files; from the payload where the header isn't enough. `product`, `source` and
// `identity` are the caller's.
Result<ReferencePackage> rpm_references(const Input& input, const RpmPackage& package,
                                        const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits);

}  // namespace gatehouse::refdb
