// The files of a Debian repository (DebianRepository/Format, deb822(5)): Release, which says what indexes there are and
// what their digests are, and Packages, which says so of packages. Only SHA-256 counts.
//
//   GH_TRY(const Release release, parse_release(text));
//   PackagesReader packages(stream);
//   for (;;) { GH_TRY(auto item, packages.next()); if (!item) break; … }
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refdb/ingest/input.h"
#include "refdb/ingest/repository.h"

namespace gatehouse::refdb {

inline constexpr std::size_t max_stanza_bytes = std::size_t(1) << 20;

struct ControlField {
  std::string_view name;   // as it is written; compared without regard to case
  std::string_view value;  // further lines as they are, with their line ends; no blanks at either end
  std::size_t at = 0;      // of the name, from the start of the text
};

// Paragraphs of fields. A field that comes twice in one is malformed.
class StanzaReader {
 public:
  // The stream outlives the reader and begins at 0.
  StanzaReader(Stream& stream, std::size_t limit_bytes) : stream_(stream), limit_bytes_(limit_bytes) {}
  // Valid until the next call; empty: there are no more.
  Result<std::span<const ControlField>> next();

 private:
  // Where a field's parts are in the buffer, which may grow.
  struct Place {
    std::size_t name = 0, name_size = 0, value = 0, end = 0;
  };
  // One line without its end; nullopt: the text ended.
  Result<std::optional<std::string_view>> line();
  Result<void> take(std::string_view line, std::size_t at);

  Stream& stream_;
  const std::size_t limit_bytes_;
  std::string buffer_;
  std::size_t begin_ = 0, cursor_ = 0;  // in the buffer: of this stanza, of the next line
  std::size_t before_ = 0;              // bytes of the text before the buffer
  bool ended_ = false;
  std::vector<Place> places_;
  std::vector<ControlField> fields_;
};

struct Release {
  struct File {
    Digest sha256;
    std::uint64_t size = 0;
  };
  std::string suite, codename;
  std::int64_t date = 0;                    // seconds since 1970
  std::optional<std::int64_t> valid_until;  // the same
  bool by_hash = false;
  bool has_own_all = true;  // packages of architecture "all" have an index of their own, if that is listed
  std::map<std::string, File, std::less<>> files;  // by path below the Release's folder
};
Result<Release> parse_release(Bytes text);

// "Sat, 10 Feb 2024 11:07:25 UTC" (RFC 5322 3.3, in UTC only), as seconds since 1970.
std::optional<std::int64_t> parse_date(std::string_view text);

class PackagesReader {
 public:
  explicit PackagesReader(Stream& stream) : stanzas_(stream, max_stanza_bytes) {}
  // nullopt: there are no more.
  Result<std::optional<IndexItem>> next();

 private:
  StanzaReader stanzas_;
};

}  // namespace gatehouse::refdb
