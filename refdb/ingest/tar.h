// Tar archives, whatever their extensions, through libarchive: without its filters, so one layer of compression at
// most, which is the caller's. A source's bytes come from a Stream and are counted there.
//
//   TarReader tar(stream);
//   for (;;) {
//     GH_TRY(const auto member, tar.next());
//     if (!member) break;
//     GH_TRY(const std::size_t n, tar.read(buffer));   // content, until 0
//   }
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "refdb/ingest/input.h"

namespace gatehouse::refdb {

struct TarMember {
  enum class Kind : std::uint8_t { regular, folder, hard_link, symlink, other } kind = Kind::other;
  std::string path;         // as it stands there
  std::string link_target;  // of either link
  std::uint64_t size = 0;   // that the content should have; holes of a sparse file included
  bool is_sparse = false;
};

class TarReader {
 public:
  // The stream outlives the reader.
  explicit TarReader(Stream& stream);
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;
  ~TarReader();
  // Skips what is left of the member before. nullopt: the end.
  Result<std::optional<TarMember>> next();
  // Content of the current member, zeros in place of holes; 0 at its end.
  Result<std::size_t> read(std::span<std::byte> out);
  // How much of the archive has been taken: behind next(), where the content begins.
  std::uint64_t taken() const;

 private:
  struct State;
  std::unexpected<Error> bad();
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::refdb
