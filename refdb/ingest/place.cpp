#include "refdb/ingest/place.h"

#include <sys/stat.h>

#include <filesystem>
#include <utility>

#include "base/file.h"

namespace gatehouse::refdb {
namespace {

Result<std::optional<ByteVector>> held_against(std::optional<ByteVector> content, HashAlgorithm algorithm,
                                               const Digest& digest, std::uint64_t size, const std::string& where) {
  if (!content || (content->size() == size && digest_of(algorithm, *content) == digest)) return content;
  return fail(Error{Fault::malformed, reason_other_digest, {}, 0, where, {}});
}

class FolderPlace final : public Place {
 public:
  explicit FolderPlace(std::string path) : path_(std::move(path)) {}

  Result<std::optional<ByteVector>> get(const std::string& path, std::size_t limit_bytes) override {
    struct stat st {};
    if (::stat(where(path).c_str(), &st) != 0 && errno == ENOENT && std::filesystem::is_directory(path_))
      return std::nullopt;
    GH_TRY(ByteVector content, read_file(where(path), limit_bytes));
    return std::optional(std::move(content));
  }
  Result<std::optional<ByteVector>> index(const std::string& path, HashAlgorithm algorithm, const Digest& digest,
                                          std::uint64_t size) override {
    GH_TRY(auto content, get(path, max_packed));
    return held_against(std::move(content), algorithm, digest, size, where(path));
  }
  std::string where(const std::string& path) const override { return path_ + "/" + path; }

 private:
  static constexpr std::size_t max_packed = std::size_t(1) << 30;
  const std::string path_;
};

class ServerPlace final : public Place {
 public:
  ServerPlace(std::string url, Fetcher& fetcher) : url_(std::move(url)), fetcher_(fetcher) {}

  Result<std::optional<ByteVector>> get(const std::string& path, std::size_t limit_bytes) override {
    return fetcher_.get(where(path), limit_bytes);
  }
  Result<std::optional<ByteVector>> index(const std::string& path, HashAlgorithm algorithm, const Digest& digest,
                                          std::uint64_t size) override {
    const Wanted wanted{where(path), algorithm, digest, size, true};
    std::optional<Result<std::string>> had;
    GH_CHECK(fetcher_.fetch({&wanted, 1}, [&](std::size_t, Result<std::string> path_) { had = std::move(path_); }, {},
                            {}));
    GH_ASSERT(had.has_value());
    if (!*had) {
      if (had->error().reason == reason_no_such_file) return std::nullopt;
      return fail(std::move(*had).error());
    }
    GH_TRY(ByteVector content, read_file(**had, std::size_t(size)));
    auto good = held_against(std::move(content), algorithm, digest, size, where(path));
    // A copy in the cache that a crash left damaged.
    if (!good) std::filesystem::remove(**had);
    return good;
  }
  std::string where(const std::string& path) const override { return join_url(url_, path); }

 private:
  const std::string url_;
  Fetcher& fetcher_;
};

}  // namespace

bool is_url(std::string_view text) { return text.starts_with("http://") || text.starts_with("https://"); }

std::unique_ptr<Place> server_place(std::string url, Fetcher& fetcher) {
  return std::make_unique<ServerPlace>(std::move(url), fetcher);
}
std::unique_ptr<Place> folder_place(std::string path) { return std::make_unique<FolderPlace>(std::move(path)); }

}  // namespace gatehouse::refdb
