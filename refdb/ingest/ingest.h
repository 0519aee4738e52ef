// Takes references from packages, trees and lists. Sources are hostile input: a bad one fails alone, with its reason.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "refdb/ingest/repository.h"
#include "refdb/store/builder.h"

namespace gatehouse::refdb {

class FileInput;  // refdb/ingest/input.h
class Input;
class Stream;

struct IngestLimits {
  std::uint64_t file_bytes = std::uint64_t(8) << 30;      // one member
  std::uint64_t package_bytes = std::uint64_t(64) << 30;  // of a package, expanded
  // Beyond `free_bytes` a package may expand to no more than `ratio` times its own size.
  std::uint64_t ratio = 1000, free_bytes = std::uint64_t(1) << 30;
  std::uint64_t files = 4'000'000;                      // of a package
  std::uint64_t path_bytes = std::uint64_t(128) << 20;  // of all paths of a package
  // Of a kernel module, packed (it is held in memory then) and unpacked.
  std::uint64_t module_bytes = std::uint64_t(128) << 20;
};

// What a Debian package's control member says of itself, for people who choose.
struct DebControl {
  std::string name, version, architecture, section, priority;
  std::vector<std::string> conffiles;  // canonical paths, sorted
};
Result<DebControl> read_deb_control(const Input& package, const std::string& name);

// A Debian package (deb(5)): control for name, version, architecture and conffiles; the data archive for the files.
Result<ReferencePackage> read_deb(const std::string& path, const std::vector<HashAlgorithm>& algorithms,
                                  const IngestLimits& limits = {});
// The same from memory, and from an input; those without identity.
Result<ReferencePackage> read_deb(Bytes package, const std::string& name, const std::vector<HashAlgorithm>& algorithms,
                                  const IngestLimits& limits = {});
Result<ReferencePackage> read_deb(const Input& package, const std::string& name,
                                  const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits);
// An RPM package (rpm.org, "RPM V4 Package Format"): digests from its header where they are all that is asked for; else
// the payload is read, and held against the header.
Result<ReferencePackage> read_rpm(const std::string& path, const std::vector<HashAlgorithm>& algorithms,
                                  const IngestLimits& limits = {});
// The same from memory.
Result<ReferencePackage> read_rpm(Bytes package, const std::string& name, const std::vector<HashAlgorithm>& algorithms,
                                  const IngestLimits& limits = {});
// Takes files one by one, so that nobody holds all of a package's.
using FileSink = std::function<Result<void>(ReferenceFile&&)>;
// An installed tree: regular files of one file system below `root`. `unpack` gives the further contents of a packed
// kernel module; without it that is done here.
using UnpackModule = std::function<Result<std::vector<FileContent>>(const FileInput& module, const std::string& path)>;
Result<ReferencePackage> read_root(const std::string& root, const std::vector<HashAlgorithm>& algorithms,
                                   const IngestLimits& limits = {});
// The same; files go to `sink` in no order.
Result<ReferencePackage> read_root(const std::string& root, const std::vector<HashAlgorithm>& algorithms,
                                   const FileSink& sink, const IngestLimits& limits = {},
                                   const UnpackModule& unpack = {});
// A list in sha256sum's format with absolute paths.
Result<ReferencePackage> read_sha256sums(Bytes text, const std::string& name);
ReferencePackage sums_package(const std::string& name);  // what there is of it beside its files
// The same; files go to `sink` as they come.
Result<ReferencePackage> read_sha256sums(Stream& text, const std::string& name, const FileSink& sink);

// Keylime's runtime policy in JSON: the digests of each path, of which there may be several. Names that aren't absolute
// paths, and all other members, are left out.
Result<ReferencePackage> read_keylime(Stream& policy, const std::string& name, const IngestLimits& limits = {});
// What a golden machine measured: the kernel's list, binary or ASCII. Files with digests of their content; several of
// one path as above. Each entry has to be the one of its template hash.
Result<ReferencePackage> read_ima_list(Stream& list, const std::string& name, const IngestLimits& limits = {});
// The files of a SWID tag's payload, with the tag's name and version as the package's.
Result<ReferencePackage> read_swid(Bytes tag, const std::string& name);

// An initial RAM file system's image: the regular files that a kernel finds in it, of a path the last.
Result<ReferencePackage> read_initramfs(const Input& image, const std::string& name,
                                        const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits = {});
// A container image in an archive, in the form of OCI's image layout or of "docker save": what its layers leave, one
// over the other. The archive itself is a plain tar and holds one image; its layers may be compressed.
Result<ReferencePackage> read_oci(const Input& archive, const std::string& name,
                                  const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits = {});

// What is known of so far: the packages of a repository are, once its index is read.
struct IngestProgress {
  std::size_t done = 0, of = 0;             // sources and packages
  std::uint64_t bytes_done = 0, bytes = 0;  // of package files
  std::string current;                      // what was begun last
};

struct IngestOptions {
  std::string refdb, product;
  Layer layer = Layer::release;
  std::vector<std::string> sources;
  unsigned jobs = 0;
  std::vector<HashAlgorithm> algorithms{std::begin(common_banks), std::end(common_banks)};
  // Of a source that says whose files are whose (strongtnc:) all, under the products that it names, not those of
  // `product` alone.
  bool all_products = false;
  RepositoryOptions repositories;
  bool sandbox = true;  // packages are decoded by processes without rights (refdb/ingest/decoders.h)
  // For tests: called in such a process with the name of what it decodes.
  std::function<void(const std::string&)> in_decoder = {};
  // From any thread, one at a time.
  std::function<void(const IngestProgress&)> progress;
};
struct FailedSource {
  std::string source, reason;
};
struct IngestReport {
  // Skipped: what the store has already, and what the selection leaves out.
  std::uint64_t packages = 0, files = 0, bytes = 0, skipped = 0, generation = 0;
  std::uint64_t excluded_packages = 0, excluded_files = 0;  // by the selection; files of packages that are taken
  std::vector<FailedSource> failed;
  std::vector<std::string> warnings;
};
// One new generation with all that could be read; none when nothing is new.
Result<IngestReport> ingest(const IngestOptions& options);

}  // namespace gatehouse::refdb
