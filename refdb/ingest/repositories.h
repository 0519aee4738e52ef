// Repositories as sources: their indexes, checked by their signatures, and the packages that are wanted of them, checked
// by the indexes' digests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "refdb/ingest/input.h"
#include "refdb/ingest/place.h"
#include "refdb/ingest/repository.h"
#include "refdb/ingest/signature.h"
#include "refdb/ingest/taken.h"

namespace gatehouse::refdb {

// What reading a repository needs to know.
struct RepositoryContext {
  const RepositoryOptions& options;
  const Keyring* keyring = nullptr;  // nullptr: none was named
  const Selection& selection;
  const Taken& taken;
  std::int64_t now = 0;  // seconds since 1970
};

// A suite of an apt repository, or an RPM repository, as it was found.
struct RepositoryState {
  std::string name;    // kind, place and suite: Taken's key, and the beginning of each package's source
  std::string signer;  // fingerprint; empty: the index isn't signed
  std::int64_t date = 0;
  std::vector<IndexEntry> packages;  // that are wanted
  std::uint64_t excluded = 0;        // packages that the selection leaves out
  std::vector<std::pair<std::string, Error>> bad;  // entries that can't be used, by name
};

// Errors name the file that they are about.
Result<RepositoryState> read_apt(Place& place, const std::string& source, const std::string& suite,
                                 const RepositoryContext& context);
Result<RepositoryState> read_rpm_md(Place& place, const std::string& source, const RepositoryContext& context);

// For both: is this state neither older than the one that was taken nor unsigned where that was signed?
Result<void> check_state(const RepositoryState& state, const RepositoryContext& context);
// Adds an entry, or counts it.
Result<void> add_item(RepositoryState& state, IndexItem item, const RepositoryContext& context);

// An index as text: compressed in a format that is known by its first bytes, or plain where they are no format's.
class IndexStream final : public Stream {
 public:
  // The bytes outlive the stream.
  static Result<std::unique_ptr<IndexStream>> open(Bytes packed);
  Result<std::size_t> read(std::span<std::byte> out) override;
  std::uint64_t offset() const override { return inner_->offset(); }

 private:
  explicit IndexStream(Bytes packed) : input_(packed) {}
  const MemoryInput input_;
  std::unique_ptr<Stream> inner_;
  std::uint64_t total_ = 0;
};

}  // namespace gatehouse::refdb
