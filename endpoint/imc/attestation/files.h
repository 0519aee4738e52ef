// Files and directories that a server asks for by path: measured, or described (spec part 2 §1.13, §1.14).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "base/hash.h"
#include "wire/pts/records.h"

namespace gatehouse::endpoint {

// Why there is no answer: PTS error 3, and 2 for the others. `limit`: it would be more than is given away.
enum class FileFault : std::uint8_t { not_found, invalid_path, limit };

// What a server may still ask for, however often it asks: what was looked at is taken away.
struct FileBudget {
  std::uint64_t bytes = std::uint64_t(4) << 30;  // of contents
  std::size_t names = 200'000;                   // of files and in directories
};

struct MeasuredFile {
  std::string name;
  Digest digest;
};
struct DescribedFile {
  std::string name;
  pts::FileMetadata metadata;  // without its name
};

class FileSource {
 public:
  virtual ~FileSource() = default;
  // The file itself by its base name; or with `directory` the regular files that are in it, by their names in it: not
  // those that begin with a dot, not what is in directories below. Those that can't be read are left out.
  virtual std::expected<std::vector<MeasuredFile>, FileFault> measure(const std::string& path, bool directory,
                                                                      HashAlgorithm algorithm, FileBudget& budget) = 0;
  // The same for files of every type; symbolic links are described, not followed.
  virtual std::expected<std::vector<DescribedFile>, FileFault> describe(const std::string& path, bool directory,
                                                                        FileBudget& budget) = 0;
};

// Files of this machine, in the order of their names. Nothing but regular files is opened, and none that the kernel
// makes up while it is read (/proc, /sys): no device, pipe or trace can make us wait, or notice. What can't be measured
// is invalid_path, where strongSwan's client would end its collector.
class LocalFiles final : public FileSource {
 public:
  static constexpr std::uint64_t max_file_bytes = std::uint64_t(1) << 30;
  static constexpr std::size_t max_names = 50'000;  // of a directory, whatever they are of

  std::expected<std::vector<MeasuredFile>, FileFault> measure(const std::string& path, bool directory,
                                                              HashAlgorithm algorithm, FileBudget& budget) override;
  std::expected<std::vector<DescribedFile>, FileFault> describe(const std::string& path, bool directory,
                                                                FileBudget& budget) override;
};

}  // namespace gatehouse::endpoint
