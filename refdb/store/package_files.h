// The files of one package on their way into the order of their paths, whatever order they come in and however many
// they are: beyond some they wait, sorted, in a file without a name. Internal to refdb; not for use by two threads at
// once.
//
//   PackageFiles files = builder.files();
//   GH_CHECK(files.add(std::move(file)));            // for each
//   GH_TRY(const auto added, builder.add(std::move(package), std::move(files)));
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"
#include "refdb/store/builder.h"

namespace gatehouse::refdb {

struct FileRow;
// What a row stands for. Further contents follow their file.
enum class RowKind : std::uint8_t { file, extra, further };

// Its path canonical, the digests of its contents by algorithm, each once.
Result<void> put_in_order(ReferenceFile& file);
// By path; of files with one path the last holds.
void put_in_order(std::vector<ReferenceFile>& files);

class PackageFiles {
 public:
  // The file is in this folder. So many wait in memory.
  explicit PackageFiles(std::string folder, std::size_t most_waiting = 65'536)
      : folder_(std::move(folder)), most_waiting_(most_waiting) {}
  PackageFiles(PackageFiles&&) noexcept = default;
  PackageFiles& operator=(PackageFiles&&) noexcept = default;

  Result<void> add(ReferenceFile file);
  // All, by path; of files with one path the last holds. Once.
  Result<void> in_order(const std::function<Result<void>(const FileRow&, RowKind)>& use);

 private:
  static constexpr std::size_t most_waiting_bytes = std::size_t(16) << 20;  // of paths
  struct Run {
    std::uint64_t begin = 0, end = 0;
  };
  class Reader;
  void sort();
  Result<void> spill();

  std::string folder_;
  std::size_t most_waiting_;
  std::vector<ReferenceFile> waiting_;
  std::size_t waiting_bytes_ = 0;
  bool sorted_ = true;
  std::uint64_t end_ = 0;
  Descriptor fd_;
  std::vector<Run> runs_;  // the oldest first
};

}  // namespace gatehouse::refdb
