// cpio archives in the "new ASCII" form (070701, with checksums 070702), as RPM payloads and initramfs images are, and
// RPM's own form for files of 4 GiB and more (07070X), whose members name an entry of the package's header instead.
// kernel Documentation/driver-api/early-userspace/buffer-format.rst; rpm lib/cpio.
//
//   CpioReader cpio(stream, "foo.rpm");
//   for (;;) {
//     GH_TRY(const auto member, cpio.next());
//     if (!member) break;                        // the trailer
//     GH_TRY(const std::size_t n, cpio.read(buffer));   // content, until 0
//   }
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "refdb/ingest/input.h"

namespace gatehouse::refdb {

struct CpioMember {
  std::string name;  // as it stands there; empty where `entry` says it
  std::uint32_t mode = 0, links = 1;
  std::uint64_t file = 0;              // which inode
  std::uint64_t device = 0;            // of which device
  std::uint64_t size = 0;              // of the content that follows
  std::optional<std::uint32_t> entry;  // 07070X: number of the file in the package's header, which says the rest

  bool is_regular() const { return (mode & 0170000) == 0100000; }
};

class CpioReader {
 public:
  // The stream outlives the reader.
  explicit CpioReader(Stream& stream) : stream_(stream) {}
  // Skips what is left of the member before. nullopt: the trailer.
  Result<std::optional<CpioMember>> next();
  // Of a member with `entry`: what the header says of its size, before anything of it is read.
  void content_is(std::uint64_t size) { left_ = size; }
  // Content of the current member; 0 at its end.
  Result<std::size_t> read(std::span<std::byte> out);

 private:
  std::unexpected<Error> bad(std::string_view why) const;
  Result<void> exactly(std::span<std::byte> out);
  Result<void> pad();

  Stream& stream_;
  std::uint64_t at_ = 0;    // in the archive
  std::uint64_t left_ = 0;  // of the member's content
};

}  // namespace gatehouse::refdb
