// Files from HTTP servers, several at once, into a cache where they are named by their digests alone, so that no name
// from a server ever is one on disk.
//
//   GH_TRY(const auto fetcher, Fetcher::open({.cache = "/var/cache/gatehouse"}));
//   GH_TRY(const auto release, fetcher->get("http://mirror.example/dists/stable/InRelease", max_release_bytes));
//   GH_CHECK(fetcher->fetch(wanted, [&](std::size_t i, Result<std::string> path) { … }, {}, stop));
//
// A download that breaks off or stalls goes on where it was, also in a later run, a bounded number of times. What comes
// is never longer than it has to be, and is in the cache under its name only when its digest is right. Certificates are
// verified; proxies come from the usual variables of the environment, passwords from ~/.netrc. One process at a time
// uses a cache. Not for use by two threads at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"

namespace gatehouse::refdb {

struct FetchOptions {
  std::string cache;
  std::string ca = {};  // PEM file of the authorities that https servers are trusted by; empty: the system's
  unsigned parallel = 4;
  // A connection that isn't made, or brings less than 100 bytes a second, for so long has stalled.
  std::chrono::seconds stall{30};
  unsigned attempts = 4;                 // of one file, in a row and without a mebibyte of progress
  std::chrono::milliseconds pause{500};  // before the second; doubled before each further one
};

struct Wanted {
  std::string url;
  HashAlgorithm algorithm = HashAlgorithm::sha256;
  Digest digest;
  std::uint64_t size = 0;  // exactly
  bool is_index = false;   // kept apart from packages
};

// Reasons of errors that callers tell apart.
inline constexpr std::string_view reason_no_such_file = "the server has no such file";
inline constexpr std::string_view reason_other_digest = "not the file that the index names: another digest or size";

// "http://host/base" and "a b+c" make "http://host/base/a%20b%2Bc"; slashes stay.
std::string join_url(std::string_view base, std::string_view path);

class Fetcher {
 public:
  static Result<std::unique_ptr<Fetcher>> open(FetchOptions options);
  ~Fetcher();
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  // A file as it is on the server now, past every cache, in memory. nullopt: the server has none.
  Result<std::optional<ByteVector>> get(const std::string& url, std::size_t limit_bytes);

  // For each of `wanted` its path in the cache or why it can't be had, in the order in which they come, from this
  // thread; `tick` at least twice a second. What fails for all of them ends it: the disk, or a server that answered none
  // of a dozen files in a row; those of which nothing was said weren't fetched. While `room` says that there is none no
  // further file begins; it is asked again soon.
  Result<void> fetch(std::span<const Wanted> wanted, const std::function<void(std::size_t, Result<std::string>)>& done,
                     const std::function<void()>& tick, std::stop_token stop, const std::function<bool()>& room = {});

  // Where a file is in the cache, whether it is there or not.
  std::string path_of(const Wanted& wanted) const;
  // Removes what wasn't used for a month.
  void tidy() const;

 private:
  struct State;
  explicit Fetcher(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::refdb
