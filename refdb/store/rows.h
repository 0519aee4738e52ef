// What the parts of the store share: rows, and a generation's database. Internal to refdb/store; docs/formats/refdb.md
// says what is on disk.
#pragma once

#include <rocksdb/db.h>
#include <unistd.h>

#include <concepts>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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
  for (int shift = int(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) out += char(std::uint64_t(v) >> shift & 0xFF);
}
inline void put_text(std::string& out, std::string_view text) {
  put(out, std::uint16_t(text.size()));
  out += text;
}
template <std::unsigned_integral T>
T number(std::string_view& from) {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < sizeof(T) && !from.empty(); ++i) {
    v = v << 8 | std::uint8_t(from.front());
    from.remove_prefix(1);
  }
  return T(v);
}
inline std::string_view take_text(std::string_view& from) {
  const auto size = std::min<std::size_t>(number<std::uint16_t>(from), from.size());
  const std::string_view out = from.substr(0, size);
  from.remove_prefix(size);
  return out;
}

// Keys. Products and packages are numbers; names are stored once.
inline std::string product_key(std::string_view name) { return "P" + std::string(name); }
inline std::string package_key(std::uint32_t id) {
  std::string k = "k";
  put(k, id);
  return k;
}
inline std::string identity_key(std::uint32_t product, Bytes identity) {
  std::string k = "i";
  put(k, product);
  k += as_text(identity);
  return k;
}
inline std::string file_prefix(std::uint32_t product, std::string_view index) {
  std::string k = "f";
  put(k, product);
  k += index;
  k += '\0';
  return k;
}
inline std::string template_key(std::uint32_t product, HashAlgorithm bank, Bytes t) {
  std::string k = "t";
  put(k, product);
  put(k, std::uint16_t(bank));
  k += as_text(t);
  return k;
}
// Of the files of one package with the same index path the first, in path order, has no ordinal.
inline void put_ordinal(std::string& key, std::uint16_t ordinal) {
  if (ordinal != 0) put(key, ordinal);
}
inline std::string digest_prefix(Bytes digest) {
  std::string k = "d";
  k += as_text(digest);
  return k;
}

struct Package {
  std::uint32_t product = 0;
  std::string name, version, architecture, source;
  std::int64_t ingested = 0;
  std::uint8_t algorithms = 0;  // bit i: common_banks[i]
  std::uint64_t files = 0;
  std::string digest;  // of the contents
};
inline std::string encode(const Package& p) {
  std::string out;
  put(out, p.product);
  for (const std::string* s : {&p.name, &p.version, &p.architecture, &p.source, &p.digest}) put_text(out, *s);
  put(out, std::uint64_t(p.ingested));
  put(out, p.algorithms);
  put(out, p.files);
  return out;
}
inline Package decode_package(std::string_view v) {
  Package p;
  p.product = number<std::uint32_t>(v);
  for (std::string* s : {&p.name, &p.version, &p.architecture, &p.source, &p.digest}) *s = take_text(v);
  p.ingested = std::int64_t(number<std::uint64_t>(v));
  p.algorithms = number<std::uint8_t>(v);
  p.files = number<std::uint64_t>(v);
  return p;
}
inline std::string encode(const ReferenceFile& f) {
  std::string out;
  put_text(out, f.path);
  put(out, f.size);
  put(out, std::uint8_t(f.is_mutable ? 1 : 0));
  for (const auto& [algorithm, digest] : f.digests) {
    put(out, std::uint16_t(algorithm));
    put(out, digest.size);
    out += as_text(digest.view());
  }
  return out;
}
inline void decode_file(std::string_view v, Reference& r) {
  r.path = take_text(v);
  number<std::uint64_t>(v);
  r.is_mutable = number<std::uint8_t>(v) != 0;
  while (v.size() >= 3) {
    const auto algorithm = hash_algorithm(number<std::uint16_t>(v));
    const std::size_t size = number<std::uint8_t>(v);
    if (!algorithm || size > v.size() || size > max_digest_size) return;
    r.digests.emplace_back(*algorithm, Digest(as_bytes(v.substr(0, size))));
    v.remove_prefix(size);
  }
}

struct Totals {
  std::uint64_t products = 0, packages = 0, files = 0, digests = 0;
  std::uint32_t next_id = 1;
  Digest content = Digest::filled(32, std::byte{0});  // sum of the packages' digests modulo 2^256: no order
  std::uint64_t generation = 0;                       // that they are of
};
inline std::string encode(const Totals& t) {
  std::string out;
  for (const std::uint64_t n : {t.products, t.packages, t.files, t.digests}) put(out, n);
  put(out, t.next_id);
  out += as_text(t.content.view());
  put(out, t.generation);
  return out;
}
inline Totals decode_totals(std::string_view v) {
  Totals t;
  for (std::uint64_t* n : {&t.products, &t.packages, &t.files, &t.digests}) *n = number<std::uint64_t>(v);
  t.next_id = number<std::uint32_t>(v);
  if (v.size() < 32) return t;
  t.content = Digest(as_bytes(v.substr(0, 32)));
  v.remove_prefix(32);
  t.generation = number<std::uint64_t>(v);
  return t;
}
inline void add_to(Digest& sum, Bytes digest) {
  unsigned carry = 0;
  for (std::size_t i = 32; i-- > 0;) {
    carry += std::to_integer<unsigned>(sum.bytes[i]) + std::to_integer<unsigned>(digest[i]);
    sum.bytes[i] = std::byte(carry & 0xFF);
    carry >>= 8;
  }
}

// Of a generation, and of one that is being made.
rocksdb::Options options();
Result<std::unique_ptr<rocksdb::DB>> open_db(const std::string& path, bool write);

std::string generation_path(const std::string& store, std::uint64_t n);
// The number that a generation's folder is named by; nullopt: another name.
std::optional<std::uint64_t> generation_number(std::string_view text);
// Makes a new store's FORMAT, or holds that of an old one to ours.
Result<void> write_format(const std::string& path);
Result<void> check_format(const std::string& path);

// Kept while a view is open, so that its generation isn't pruned: a shared lock on a file that every generation has.
class Hold {
 public:
  Hold() = default;
  Hold(Hold&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Hold& operator=(Hold&&) = delete;
  ~Hold() {
    if (fd_ >= 0) ::close(fd_);
  }
  // `operation`: LOCK_SH for a reader, LOCK_EX for who removes the generation. Never waits.
  static Result<Hold> take(const std::string& generation, int operation);

 private:
  int fd_ = -1;
};

// A database that lost the end of its manifest opens as an older one, or as an empty one, where every file is unknown:
// the totals, written last and with the generation's number, tell.
Result<Totals> read_totals(rocksdb::DB& db, const std::string& path, std::uint64_t generation);
// Products by name.
Result<std::vector<std::pair<std::string, std::uint32_t>>> read_products(rocksdb::DB& db, const std::string& path);

}  // namespace gatehouse::refdb
