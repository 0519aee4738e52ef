// Where the files of a repository are: a folder, read in place, or a server, through the cache.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "refdb/ingest/fetch.h"

namespace gatehouse::refdb {

class Place {
 public:
  Place() = default;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  virtual ~Place() = default;
  // As it is now; nullopt: there is none. Paths are below the repository and safe (refdb/ingest/repository.h).
  virtual Result<std::optional<ByteVector>> get(const std::string& path, std::size_t limit_bytes) = 0;
  // An index with this digest and size. nullopt: there is none under this path. reason_other_digest: it isn't this one.
  virtual Result<std::optional<ByteVector>> index(const std::string& path, HashAlgorithm algorithm, const Digest& digest,
                                                  std::uint64_t size) = 0;
  // For people: the source without credentials.
  virtual std::string where(const std::string& path) const = 0;
};

// "http:" and "https:" URLs are a server's; the fetcher outlives the place.
bool is_url(std::string_view text);
std::unique_ptr<Place> server_place(std::string url, Fetcher& fetcher);
std::unique_ptr<Place> folder_place(std::string path);

}  // namespace gatehouse::refdb
