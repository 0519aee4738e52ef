// The files of an RPM repository: repodata/repomd.xml, which says what indexes there are and what their digests are, and
// the one of them that is read here, primary, which says so of packages. SHA-256 and stronger digests count.
//
//   GH_TRY(const RepoMd repomd, parse_repomd(text));
//   GH_CHECK(parse_primary(stream, [&](IndexItem item) { … }));
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "refdb/ingest/input.h"
#include "refdb/ingest/repository.h"

namespace gatehouse::refdb {

struct RepoMd {
  std::int64_t revision = 0;  // seconds since 1970: of the repository, else of its newest index
  std::string primary;        // path below the repository: is_safe_path()
  HashAlgorithm algorithm = HashAlgorithm::sha256;
  Digest digest;           // of the file at that path
  std::uint64_t size = 0;  // of it; 0: not given
};
Result<RepoMd> parse_repomd(Bytes text);

// Each package in the order of the file. Source packages aren't among them.
Result<void> parse_primary(Bytes text, const std::function<Result<void>(IndexItem)>& on_package);
// The same as it comes, a few packages at a time: what is held is a block, or the longest package. The index of a
// distribution has half a gigabyte. Says the same, but that a comment with the end of a package in it isn't taken.
Result<void> parse_primary(Stream& text, const std::function<Result<void>(IndexItem)>& on_package,
                           std::size_t block = std::size_t(1) << 20);

}  // namespace gatehouse::refdb
