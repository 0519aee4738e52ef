#include "refdb/store/rows.h"

#include <fcntl.h>
#include <rocksdb/table.h>
#include <sys/file.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/file.h"
#include "base/hex.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view format_line = "gatehouse refdb 3\n";

// A generation is immutable: not even a log is written beside it.
class NoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

}  // namespace

std::string encode(const Package& p) {
  std::string out;
  put(out, p.layer);
  for (const std::string* s : {&p.name, &p.version, &p.architecture, &p.source, &p.digest, &p.identity, &p.stamp,
                               &p.diversions})
    put_text(out, *s);
  put(out, std::uint8_t(p.format));
  put(out, std::uint64_t(p.ingested));
  put(out, std::uint64_t(p.first_seen));
  put(out, p.algorithms);
  put(out, p.first_file);
  put(out, p.files);
  put(out, p.uncounted);
  return out;
}

namespace {

template <class Text>
bool decode_package(std::string_view v, PackageOf<Text>& p) {
  p.layer = number<std::uint32_t>(v);
  for (Text* s : {&p.name, &p.version, &p.architecture, &p.source, &p.digest, &p.identity, &p.stamp, &p.diversions})
    *s = take_text(v);
  if (v.size() != 30 || !take_format(v, p.format)) return false;
  p.ingested = std::int64_t(number<std::uint64_t>(v));
  p.first_seen = std::int64_t(number<std::uint64_t>(v));
  p.algorithms = number<std::uint8_t>(v);
  p.first_file = number<std::uint32_t>(v);
  p.files = number<std::uint32_t>(v);
  p.uncounted = number<std::uint32_t>(v);
  if (p.uncounted > p.files) return false;
  return p.digest.size() == 32 && p.identity.size() == 32;
}

}  // namespace

bool decode(std::string_view v, Package& p) { return decode_package(v, p); }
bool decode(std::string_view v, PackageView& p) { return decode_package(v, p); }

std::string encode(const Totals& t) {
  std::string out;
  for (const std::uint64_t n : {t.generation, t.packages, t.files}) put(out, n);
  for (const std::uint32_t n : {t.next_layer, t.next_package, t.next_file, t.next_run}) put(out, n);
  out += as_text(t.content.view());
  put(out, std::uint32_t(t.layers.size()));
  for (const auto& [layer, id] : t.layers) {
    put_layer(out, layer);
    put(out, id);
  }
  put(out, std::uint32_t(t.inclusions.size()));
  for (const Inclusion& i : t.inclusions) {
    put_layer(out, i.into);
    put_text(out, i.from);
  }
  put(out, std::uint32_t(t.runs.size()));
  for (const Run& run : t.runs) {
    for (const std::uint32_t n : {run.number, run.first_package, run.first_file}) put(out, n);
    put(out, run.files);
    for (const Run::Hashes& h : run.hashes) {
      put(out, h.entries);
      put(out, h.bits);
      put(out, h.filter_bits);
    }
  }
  put(out, std::uint32_t(t.gone.size()));
  for (const Gone& g : t.gone)
    for (const std::uint32_t n : {g.package, g.first_file, g.files}) put(out, n);
  put(out, std::uint32_t(t.unseen.size()));
  for (const Unseen& u : t.unseen) {
    put(out, u.package);
    put(out, std::uint64_t(u.last));
  }
  put(out, std::uint32_t(t.diverting.size()));
  for (const std::uint32_t package : t.diverting) put(out, package);
  return out;
}

bool decode(std::string_view v, Totals& t) {
  if (v.size() < 76) return false;
  for (std::uint64_t* n : {&t.generation, &t.packages, &t.files}) *n = number<std::uint64_t>(v);
  for (std::uint32_t* n : {&t.next_layer, &t.next_package, &t.next_file, &t.next_run}) *n = number<std::uint32_t>(v);
  t.content = Digest(as_bytes(v.substr(0, 32)));
  v.remove_prefix(32);
  constexpr std::size_t run_bytes = 20 + index_count * 10;
  for (auto n = number<std::uint32_t>(v); n != 0; --n) {
    auto& [layer, id] = t.layers.emplace_back();
    if (!take_layer(v, layer) || v.size() < 4) return false;
    id = number<std::uint32_t>(v);
  }
  if (v.size() < 4) return false;
  for (auto n = number<std::uint32_t>(v); n != 0; --n) {
    Inclusion& i = t.inclusions.emplace_back();
    if (!take_layer(v, i.into) || v.size() < 2) return false;
    i.from = take_text(v);
  }
  if (v.size() < 4) return false;
  for (auto n = number<std::uint32_t>(v); n != 0; --n) {
    if (v.size() < run_bytes) return false;
    Run& run = t.runs.emplace_back();
    for (std::uint32_t* m : {&run.number, &run.first_package, &run.first_file}) *m = number<std::uint32_t>(v);
    run.files = number<std::uint64_t>(v);
    for (Run::Hashes& h : run.hashes) {
      h.entries = number<std::uint64_t>(v);
      h.bits = number<std::uint8_t>(v);
      h.filter_bits = number<std::uint8_t>(v);
      if (h.bits > 32 || h.filter_bits > 32) return false;
    }
  }
  if (v.size() < 4) return false;
  for (auto n = number<std::uint32_t>(v); n != 0; --n) {
    if (v.size() < 12) return false;
    Gone& g = t.gone.emplace_back();
    for (std::uint32_t* m : {&g.package, &g.first_file, &g.files}) *m = number<std::uint32_t>(v);
  }
  if (v.size() < 4) return false;
  for (auto n = number<std::uint32_t>(v); n != 0; --n) {
    if (v.size() < 12) return false;
    Unseen& u = t.unseen.emplace_back();
    u.package = number<std::uint32_t>(v);
    u.last = std::int64_t(number<std::uint64_t>(v));
  }
  if (v.size() < 4) return false;
  for (auto n = number<std::uint32_t>(v); n != 0; --n) {
    if (v.size() < 4) return false;
    t.diverting.push_back(number<std::uint32_t>(v));
  }
  return v.empty();
}

std::uint32_t Totals::number_of(const ProductLayer& layer) const {
  const auto at = std::ranges::lower_bound(layers, layer, {}, &std::pair<ProductLayer, std::uint32_t>::first);
  return at != layers.end() && at->first == layer ? at->second : 0;
}

std::set<std::string> product_names(const Totals& t) {
  std::set<std::string> out;
  for (const auto& [layer, _] : t.layers) out.insert(layer.product);
  for (const Inclusion& i : t.inclusions) out.insert(i.into.product);
  return out;
}

Digest digest_of(const Inclusion& inclusion) {
  std::string text = "includes";
  text += '\0';
  put_layer(text, inclusion.into);
  put_text(text, inclusion.from);
  return digest_of(HashAlgorithm::sha256, as_bytes(text));
}

void add_to(Digest& sum, Bytes digest) {
  unsigned carry = 0;
  for (std::size_t i = 32; i-- > 0;) {
    carry += std::to_integer<unsigned>(sum.bytes[i]) + std::to_integer<unsigned>(digest[i]);
    sum.bytes[i] = std::byte(carry & 0xFF);
    carry >>= 8;
  }
}

// The complement, and one.
void take_from(Digest& sum, Bytes digest) {
  Digest other = Digest::filled(32, std::byte{0}), one = other;
  for (std::size_t i = 0; i < 32; ++i) other.bytes[i] = ~digest[i];
  one.bytes[31] = std::byte{1};
  add_to(sum, other.view());
  add_to(sum, one.view());
}

rocksdb::Options options() {
  rocksdb::Options o;
  o.info_log = std::make_shared<NoLog>();
  o.info_log_level = rocksdb::InfoLogLevel::ERROR_LEVEL;
  o.keep_log_file_num = 1;
  o.max_open_files = 512;
  // Rows are merged by who publishes them, or not at all.
  o.disable_auto_compactions = true;
  // Only compactions would need it.
  o.skip_stats_update_on_db_open = true;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(std::size_t(64) << 20);
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return o;
}

std::string generation_path(const std::string& store, std::uint64_t n) {
  return store + "/generations/" + std::to_string(n);
}

Result<std::unique_ptr<rocksdb::DB>> open_db(const std::string& path) {
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status s = rocksdb::DB::OpenForReadOnly(options(), path, &raw);
  if (!s.ok()) return store_error("can't open the generation", path, s);
  return std::unique_ptr<rocksdb::DB>(raw);
}

Result<Hold> Hold::take(const std::string& generation, int operation) {
  Hold out;
  out.fd_ = Descriptor(::open((generation + "/CURRENT").c_str(), O_RDONLY | O_CLOEXEC));
  if (!out.fd_) return fail_errno("can't open the generation", generation);
  if (::flock(out.fd_.get(), operation | LOCK_NB) != 0)
    return store_error("the generation is held, or being removed", generation, std::string());
  return out;
}

std::optional<std::uint64_t> generation_number(std::string_view text) {
  std::uint64_t n = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), n);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || n == 0) return std::nullopt;
  return n;
}

Result<void> check_format(const std::string& path) {
  const auto found = read_file(path + "/FORMAT", 4096);
  if (!found) return store_error("no reference store here", path, found.error().detail);
  if (as_text(*found) != format_line)
    return store_error("the reference store has another format version", path,
                       escaped(as_text(*found), 64) + ", this program has 3: ingest into a new store");
  return {};
}

Result<void> write_format(const std::string& path) {
  if (!std::filesystem::exists(path + "/FORMAT"))
    GH_CHECK(write_file_atomically(path + "/FORMAT", as_bytes(format_line)));
  return check_format(path);
}

Result<void> sync_folder(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno("can't open", path);
  if (::fsync(fd.get()) != 0) return fail_errno("can't sync", path);
  return {};
}

}  // namespace gatehouse::refdb
