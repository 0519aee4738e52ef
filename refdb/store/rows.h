// What the parts of the store share: rows, and a generation's database. Internal to refdb/store; docs/formats/refdb.md
// says what is on disk.
#pragma once

#include <rocksdb/db.h>

#include <concepts>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/hash.h"
#include "refdb/store/builder.h"
#include "refdb/view/view.h"

namespace gatehouse::refdb {

inline std::string_view text_of(const rocksdb::Slice& s) { return {s.data(), s.size()}; }

inline std::unexpected<Error> store_error(std::string_view what, const std::string& path, const std::string& detail) {
  return fail(Error{Fault::environment, what, {}, 0, path, detail});
}
inline std::unexpected<Error> store_error(std::string_view what, const std::string& path, const rocksdb::Status& s) {
  return store_error(what, path, s.ToString());
}

template <std::unsigned_integral T>
void put(std::string& out, T v) {
  char bytes[sizeof v];
  for (std::size_t i = 0; i < sizeof v; ++i) bytes[i] = char(std::uint64_t(v) >> 8 * (sizeof v - 1 - i));
  out.append(bytes, sizeof v);
}
inline void put_text(std::string& out, std::string_view text) {
  put(out, std::uint16_t(text.size()));
  out += text;
}
template <std::unsigned_integral T>
T number(std::string_view& from) {
  std::uint64_t v = 0;
  if (from.size() >= sizeof(T)) {
    for (std::size_t i = 0; i < sizeof(T); ++i) v = v << 8 | std::uint8_t(from[i]);
    from.remove_prefix(sizeof(T));
    return T(v);
  }
  while (!from.empty()) {
    v = v << 8 | std::uint8_t(from.front());
    from.remove_prefix(1);
  }
  return T(v);
}
inline std::string_view take_text(std::string_view& from) {
  const std::size_t said = number<std::uint16_t>(from), size = std::min(said, from.size());
  const std::string_view out = from.substr(0, size);
  from.remove_prefix(size);
  return out;
}

inline void put_layer(std::string& out, const ProductLayer& layer) {
  put_text(out, layer.product);
  put(out, std::uint8_t(layer.layer));
}
// False: it isn't one.
inline bool take_layer(std::string_view& from, ProductLayer& layer) {
  layer.product = take_text(from);
  if (from.empty()) return false;
  layer.layer = Layer(number<std::uint8_t>(from));
  return layer.layer <= Layer::site;
}
inline bool take_format(std::string_view& from, PackageFormat& format) {
  if (from.empty()) return false;
  format = PackageFormat(number<std::uint8_t>(from));
  return format <= PackageFormat::rpm;
}

// Seven bits a byte, the lowest first.
inline constexpr std::size_t most_short_bytes = 10;
inline char* write_short(char* to, std::uint64_t v) {
  for (; v >= 0x80; v >>= 7) *to++ = char(v | 0x80);
  *to++ = char(v);
  return to;
}
inline void put_short(std::string& out, std::uint64_t v) {
  char bytes[most_short_bytes];
  out.append(bytes, std::size_t(write_short(bytes, v) - bytes));
}
// nullopt: `from` ends within it, or it is longer than 64 bits.
inline std::optional<std::uint64_t> take_short(std::string_view& from) {
  std::uint64_t v = 0;
  for (unsigned shift = 0; shift < 64 && !from.empty(); shift += 7) {
    const auto byte = std::uint8_t(from.front());
    from.remove_prefix(1);
    v |= std::uint64_t(byte & 0x7F) << shift;
    if (byte < 0x80) return v;
  }
  return std::nullopt;
}

// What a generation is asked for by a hash: a template digest in each bank, a file's digest, a path, a package's
// identity and stamp. The index gives the numbers of files, the last two those of packages.
enum class Index : std::uint8_t { template_sha256, template_sha384, digest, path, identity, stamp };
inline constexpr std::size_t index_count = 6;
inline bool leads_to_packages(Index index) { return index == Index::identity || index == Index::stamp; }

// Keys.
inline std::string totals_key(std::uint64_t generation) {
  std::string k = "T";
  put(k, generation);
  return k;
}
inline std::string page_key(std::uint32_t page) {
  std::string k = "c";
  put(k, page);
  return k;
}
inline std::string package_key(std::uint32_t id) {
  std::string k = "k";
  put(k, id);
  return k;
}
inline std::string bucket_key(std::uint32_t run, Index index, std::uint32_t bucket) {
  std::string k = "x";
  put(k, run);
  k += char(index);
  put(k, bucket);
  return k;
}

inline std::string filter_key(std::uint32_t run, Index index, std::uint32_t row) {
  std::string k = "y";
  put(k, run);
  k += char(index);
  put(k, row);
  return k;
}
// Only the indexes of template digests have filters: the first two.
inline constexpr std::size_t filtered_count = 2;

template <class Text>
struct PackageOf {
  std::uint32_t layer = 0;  // of a product: its number
  Text name, version, architecture, source;
  Text digest, identity;  // of the contents, and what makes the source recognisable: 32 bytes each
  Text stamp;             // as in ReferencePackage; empty: none
  Text diversions;        // for each, text path and text of the other one
  PackageFormat format = PackageFormat::none;
  std::int64_t ingested = 0, first_seen = 0;
  std::uint8_t algorithms = 0;  // bit i: common_banks[i]
  // Rows of files, and how many of them don't count as files of the package: scripts, other names of files, and further
  // contents of the file before.
  std::uint32_t first_file = 0, files = 0, uncounted = 0;
};
using Package = PackageOf<std::string>;
using PackageView = PackageOf<std::string_view>;  // its texts are the row's
std::string encode(const Package& p);
// False: it isn't one.
bool decode(std::string_view v, Package& p);
bool decode(std::string_view v, PackageView& p);

// One ingestion's indexes, or those of several that were merged.
struct Run {
  std::uint32_t number = 0;
  std::uint32_t first_package = 0, first_file = 0;  // up to where the next one's begin
  std::uint64_t files = 0;
  struct Hashes {
    std::uint64_t entries = 0;
    std::uint8_t bits = 0;         // of a hash, that choose the bucket
    std::uint8_t filter_bits = 0;  // and the block of the filter
  };
  Hashes hashes[index_count];
};
// A package that came again with further algorithms: the old one's rows are still there, and count no more.
struct Gone {
  std::uint32_t package = 0, first_file = 0, files = 0;
};
// A package that the newest state of its repository hasn't any more, and the date of the last one that had it.
struct Unseen {
  std::uint32_t package = 0;
  std::int64_t last = 0;
};

struct Totals {
  std::uint64_t packages = 0, files = 0;  // files of no package (trees, lists) count as no package
  std::uint32_t next_layer = 1, next_package = 1, next_file = 0, next_run = 1;
  Digest content = Digest::filled(32, std::byte{0});            // sum of the packages' digests modulo 2^256: no order
  std::uint64_t generation = 0;                                 // that they are of
  std::vector<std::pair<ProductLayer, std::uint32_t>> layers;  // in order
  std::vector<Inclusion> inclusions;                           // in order
  std::vector<Run> runs;                                        // the oldest first
  std::vector<Gone> gone;                                       // by number
  std::vector<Unseen> unseen;                                   // by number
  std::vector<std::uint32_t> diverting;                         // packages with diversions, by number
  // 0: there is no such layer.
  std::uint32_t number_of(const ProductLayer& layer) const;
};
std::string encode(const Totals& t);
bool decode(std::string_view v, Totals& t);

// Of products that have references, or are to have another's.
std::set<std::string> product_names(const Totals& t);
// What an inclusion adds to the contents' digest.
Digest digest_of(const Inclusion& inclusion);
void add_to(Digest& sum, Bytes digest);
void take_from(Digest& sum, Bytes digest);

// Of a generation's database. Tables say how they are written: see the builder.
rocksdb::Options options();
Result<std::unique_ptr<rocksdb::DB>> open_db(const std::string& path);

// In a generation's folder: which export its contents came from.
inline const std::string import_name = "IMPORT";
std::string generation_path(const std::string& store, std::uint64_t n);
// The number that a generation's folder is named by; nullopt: another name.
std::optional<std::uint64_t> generation_number(std::string_view text);
// Makes a new store's FORMAT, or holds that of an old one to ours.
Result<void> write_format(const std::string& path);
Result<void> check_format(const std::string& path);

// Kept while a view is open, so that its generation isn't pruned: a shared lock on a file that every generation has.
class Hold {
 public:
  // `operation`: LOCK_SH for a reader, LOCK_EX for who removes the generation. Never waits.
  static Result<Hold> take(const std::string& generation, int operation);

 private:
  Descriptor fd_;
};

Result<void> sync_folder(const std::string& path);

}  // namespace gatehouse::refdb
