// The reference store on RocksDB: docs/formats/refdb.md says what is on disk.
#include <fcntl.h>
#include <rocksdb/db.h>
#include <rocksdb/sst_file_writer.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <unordered_set>
#include <utility>

#include "base/file.h"
#include "base/hex.h"
#include "base/writer.h"
#include "refdb/alias/alias.h"
#include "refdb/store/builder.h"
#include "refdb/store/open.h"
#include "refdb/store/rows.h"
#include "wire/ima/ima.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t max_answers = 1000;

class GenerationView final : public View {
 public:
  GenerationView(std::string path, std::uint64_t number, Hold hold, std::unique_ptr<rocksdb::DB> db)
      : path_(std::move(path)), number_(number), hold_(std::move(hold)), db_(std::move(db)) {}

  Result<void> load() {
    GH_CHECK(read_totals(*db_, path_, number_));
    GH_TRY(const auto products, read_products(*db_, path_));
    products_.insert(products.begin(), products.end());
    for (const auto& [name, id] : products_) names_[id] = name;
    return {};
  }
  std::uint64_t generation() const override { return number_; }
  bool has_product(std::string_view product) const override { return products_.contains(product); }
  std::vector<std::string> products() const override {
    std::vector<std::string> out;
    for (const auto& [name, _] : products_) out.push_back(name);
    return out;
  }

  Result<void> find_templates(std::string_view product, HashAlgorithm bank, std::span<const Digest> keys, std::span<TemplateHit> hits) const override {
    const auto at = products_.find(product);
    if (at == products_.end()) return {};
    std::vector<std::string> storage;
    storage.reserve(keys.size());
    for (const Digest& k : keys) storage.push_back(template_key(at->second, bank, k.view()));
    std::vector<rocksdb::Slice> slices(storage.begin(), storage.end());
    std::vector<rocksdb::PinnableSlice> values(keys.size());
    std::vector<rocksdb::Status> statuses(keys.size());
    db_->MultiGet(rocksdb::ReadOptions(), db_->DefaultColumnFamily(), keys.size(), slices.data(), values.data(), statuses.data());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (statuses[i].IsNotFound()) continue;
      if (!statuses[i].ok()) return store_error("can't read the template index", path_, statuses[i]);
      hits[i] = {true, intern(text_of(values[i]))};
    }
    return {};
  }

  Result<std::vector<Reference>> references_of_path(std::string_view product, std::string_view path) const override {
    std::vector<Reference> out;
    const auto at = products_.find(product);
    if (at == products_.end() || path.empty() || path.size() > max_path_bytes || path.front() != '/') return out;
    const std::string prefix = file_prefix(at->second, index_path(path));
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions()));
    for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix) && out.size() < max_answers; it->Next()) {
      std::string_view id = text_of(it->key()).substr(prefix.size());
      if (id.size() != 4 && id.size() != 6) continue;
      Reference r;
      decode_file(text_of(it->value()), r);
      GH_CHECK(add_package(gatehouse::refdb::number<std::uint32_t>(id), r));
      out.push_back(std::move(r));
    }
    if (!it->status().ok()) return store_error("can't read references", path_, it->status());
    return out;
  }

  // Endpoints ask for hundreds of packages at a time: the first question reads them all, once for the generation.
  Result<bool> has_package(std::string_view product, std::string_view package, std::string_view version) const override {
    const auto at = products_.find(product);
    if (at == products_.end()) return false;
    std::call_once(packages_read_, [&] { packages_good_ = read_packages(); });
    if (!packages_good_) return std::unexpected(packages_good_.error());
    return packages_.contains(package_version(at->second, package, version));
  }

  Result<std::vector<Reference>> references_of_digest(std::string_view product, const Digest& digest) const override {
    std::vector<Reference> out;
    const std::string prefix = digest_prefix(digest.view());
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions()));
    for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix) && out.size() < max_answers; it->Next()) {
      std::string_view rest = text_of(it->key()).substr(prefix.size());
      const auto product_id = gatehouse::refdb::number<std::uint32_t>(rest);
      const auto package_id = gatehouse::refdb::number<std::uint32_t>(rest);
      const auto name = names_.find(product_id);
      if (name == names_.end() || (!product.empty() && name->second != product)) continue;
      std::string key = file_prefix(product_id, rest);
      put(key, package_id);
      key += text_of(it->value());  // the ordinal
      std::string value;
      if (const rocksdb::Status s = db_->Get(rocksdb::ReadOptions(), key, &value); !s.ok())
        return store_error("can't read references", path_, s);
      Reference r;
      decode_file(value, r);
      GH_CHECK(add_package(package_id, r));
      out.push_back(std::move(r));
    }
    if (!it->status().ok()) return store_error("can't read references", path_, it->status());
    return out;
  }

 private:
  static std::string package_version(std::uint32_t product, std::string_view package, std::string_view version) {
    std::string out;
    put(out, product);
    out += package;
    out += '\0';
    out += version;
    return out;
  }
  Result<void> read_packages() const {
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions()));
    for (it->Seek("k"); it->Valid() && it->key().starts_with("k"); it->Next()) {
      const Package p = decode_package(text_of(it->value()));
      if (!p.name.empty()) packages_.insert(package_version(p.product, p.name, p.version));
    }
    if (!it->status().ok()) return store_error("can't read the packages", path_, it->status());
    return {};
  }
  Result<void> add_package(std::uint32_t id, Reference& r) const {
    std::string value;
    if (const rocksdb::Status s = db_->Get(rocksdb::ReadOptions(), package_key(id), &value); !s.ok()) return store_error("can't read a package", path_, s);
    const Package p = decode_package(value);
    r.package = p.name;
    r.version = p.version;
    r.architecture = p.architecture;
    r.source = p.source;
    r.ingested = p.ingested;
    const auto name = names_.find(p.product);
    if (name != names_.end()) r.product = name->second;
    return {};
  }
  // Names live as long as the view: their number is bounded by the references.
  std::string_view intern(std::string_view text) const {
    const std::lock_guard lock(mutex_);
    return *interned_.emplace(text).first;
  }

  const std::string path_;
  const std::uint64_t number_;
  const Hold hold_;
  const std::unique_ptr<rocksdb::DB> db_;
  std::map<std::string, std::uint32_t, std::less<>> products_;
  std::map<std::uint32_t, std::string> names_;
  mutable std::mutex mutex_;
  mutable std::set<std::string, std::less<>> interned_;
  mutable std::once_flag packages_read_;
  mutable Result<void> packages_good_;              // both since packages_read_
  mutable std::unordered_set<std::string> packages_;  // package_version()
};

Result<void> sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail_errno("can't open", path);
  const int rc = ::fsync(fd);
  const int code = errno;
  ::close(fd);
  errno = code;
  if (rc != 0) return fail_errno("can't sync", path);
  return {};
}

}  // namespace

Result<std::uint64_t> current_generation(const std::string& path) {
  GH_CHECK(check_format(path));
  const auto bytes = read_file(path + "/CURRENT", 64);
  if (!bytes) {
    if (fs::exists(path + "/CURRENT")) return std::unexpected(bytes.error());
    // Before the first switch there is at most the generation that it would switch to.
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(path + "/generations", ec))
      if (generation_number(entry.path().filename().string()).value_or(0) > 1)
        return store_error("the generation pointer is gone", path + "/CURRENT", std::string());
    return std::uint64_t{0};
  }
  // Written at once, so anything else than a number and its line's end is damage; a part of a number would name another
  // generation.
  const std::string_view text = as_text(*bytes);
  const auto n = generation_number(text.substr(0, text.size() - std::min<std::size_t>(text.size(), 1)));
  if (!n || text.back() != '\n')
    return store_error("the generation pointer is damaged", path + "/CURRENT", std::string());
  return *n;
}

Result<std::shared_ptr<const View>> open_view(const std::string& path, std::uint64_t generation) {
  const std::string where = generation_path(path, generation);
  GH_TRY(Hold hold, Hold::take(where, LOCK_SH));
  GH_TRY(auto db, open_db(where, false));
  auto view = std::make_shared<GenerationView>(where, generation, std::move(hold), std::move(db));
  GH_CHECK(view->load());
  return view;
}

Result<std::shared_ptr<const View>> open_view(const std::string& path) {
  GH_TRY(const std::uint64_t n, current_generation(path));
  if (n == 0) return store_error("the reference store holds no generation yet (gatehouse refdb ingest makes one)", path, std::string());
  return open_view(path, n);
}

Result<Stats> read_stats(const std::string& path) {
  Stats out;
  GH_TRY(out.generation, current_generation(path));
  Totals t;
  if (out.generation != 0) {
    GH_TRY(const auto db, open_db(generation_path(path, out.generation), false));
    GH_TRY(t, read_totals(*db, generation_path(path, out.generation), out.generation));
    std::set<std::uint32_t> products;
    GH_TRY(const auto named, read_products(*db, path));
    for (const auto& [_, id] : named) products.insert(id);
    const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions()));
    std::string last;
    for (it->Seek("d"); it->Valid() && it->key().starts_with("d"); it->Next()) {
      // A digest ends where a product that there is, a package and a path begin.
      const std::string_view key = text_of(it->key());
      for (const HashAlgorithm algorithm : common_banks) {
        const std::size_t end = 1 + digest_size(algorithm);
        if (key.size() <= end + 8 || key[end + 8] != '/') continue;
        std::string_view product = key.substr(end);
        if (!products.contains(number<std::uint32_t>(product))) continue;
        const std::string_view digest = key.substr(0, end);
        if (digest != last) ++out.digests;
        last = digest;
        break;
      }
    }
    if (!it->status().ok()) return store_error("can't read the digests", path, it->status());
  }
  out.products = t.products;
  out.packages = t.packages;
  out.files = t.files;
  out.content_digest = t.content.hex();
  std::set<std::pair<dev_t, ino_t>> seen;
  std::error_code ec;
  for (const auto& entry : fs::recursive_directory_iterator(path, ec)) {
    if (!entry.is_regular_file(ec)) continue;
    struct stat st {};
    if (::stat(entry.path().c_str(), &st) == 0 && seen.emplace(st.st_dev, st.st_ino).second) out.bytes += std::uint64_t(st.st_size);
  }
  return out;
}

struct Builder::State {
  std::string path;
  int lock = -1;
  std::uint64_t current = 0;
  std::uint64_t base = 0;           // whose contents the next one begins with: the current's, but for a roll-back
  std::optional<Hold> hold;         // of a base that isn't the current one, which nobody removes anyway
  std::unique_ptr<rocksdb::DB> db;  // of the base, read only
  mutable std::mutex mutex;
  Totals totals;
  std::map<std::string, std::uint32_t, std::less<>> products;
  std::map<std::string, std::uint8_t> added;  // identity key -> algorithms
  std::map<std::string, std::string> rows;    // sorted, unique: what the new table will hold
  bool changed = false;

  // Under the mutex.
  Result<bool> known(std::string_view product, const Digest& identity, std::vector<HashAlgorithm>& algorithms) const;
  // Of the base; what isn't there leaves `value` empty.
  Result<void> read(const std::string& key, std::string& value) const;
  ~State() {
    if (lock >= 0) ::close(lock);
  }
};

Builder::Builder(std::unique_ptr<State> state) : state_(std::move(state)) {}
Builder::Builder(Builder&&) noexcept = default;
Builder& Builder::operator=(Builder&&) noexcept = default;
Builder::~Builder() = default;

Result<Builder> Builder::open(const std::string& path) { return open_on(path, std::nullopt); }

Result<Builder> Builder::open_on(const std::string& path, std::optional<std::uint64_t> generation) {
  auto s = std::make_unique<State>();
  s->path = path;
  std::error_code ec;
  fs::create_directories(path + "/generations", ec);
  if (ec) return store_error("can't make the reference store", path, ec.message());
  s->lock = ::open((path + "/LOCK").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (s->lock < 0) return fail_errno("can't lock the reference store", path);
  if (::flock(s->lock, LOCK_EX | LOCK_NB) != 0) return store_error("another ingestion is going on", path, std::string());
  GH_CHECK(write_format(path));
  GH_TRY(s->current, current_generation(path));
  s->base = generation.value_or(s->current);
  if (s->base > s->current || (generation && (s->base == 0 || !fs::exists(generation_path(path, s->base)))))
    return fail(Error{Fault::usage, "no such generation", {}, 0, generation_path(path, s->base), {}});
  if (generation) {
    GH_TRY(Hold hold, Hold::take(generation_path(path, s->base), LOCK_SH));
    s->hold.emplace(std::move(hold));
  }
  // What an ingestion left that was killed before it switched: a folder in the making, or the one after the current.
  // Any other that is newer than the pointer was current once, so the pointer was lost, and nothing is removed.
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(path + "/generations", ec)) {
    const std::string name = entry.path().filename().string();
    const auto number = generation_number(name);
    if (name.ends_with(".new") || number == s->current + 1)
      left.push_back(entry.path());
    else if (number && *number > s->current)
      return store_error("the generation pointer is older than the newest generation", path + "/CURRENT", name);
  }
  for (const fs::path& folder : left) fs::remove_all(folder, ec);
  if (s->base != 0) {
    GH_TRY(s->db, open_db(generation_path(path, s->base), false));
    GH_TRY(s->totals, read_totals(*s->db, generation_path(path, s->base), s->base));
    GH_TRY(const auto products, read_products(*s->db, generation_path(path, s->base)));
    s->products.insert(products.begin(), products.end());
  }
  return Builder(std::move(s));
}

namespace {

std::uint8_t bit_of(HashAlgorithm a) {
  for (std::size_t i = 0; i < std::size(common_banks); ++i)
    if (common_banks[i] == a) return std::uint8_t(1U << i);
  return 0;
}
std::uint8_t algorithms_of(const ReferencePackage& p) {
  std::uint8_t all = 0xFF;
  for (const ReferenceFile& f : p.files) {
    std::uint8_t own = 0;
    for (const auto& [a, _] : f.digests) own = std::uint8_t(own | bit_of(a));
    all &= own;
  }
  return p.files.empty() ? std::uint8_t{0x0F} : all;
}

}  // namespace

Result<bool> Builder::known(std::string_view product, const Digest& identity, std::vector<HashAlgorithm>& algorithms) const {
  const std::lock_guard lock(state_->mutex);
  return state_->known(product, identity, algorithms);
}

Result<void> Builder::State::read(const std::string& key, std::string& value) const {
  if (!db) return {};
  const rocksdb::Status s = db->Get(rocksdb::ReadOptions(), key, &value);
  if (!s.ok() && !s.IsNotFound()) return store_error("can't read the packages", path, s);
  return {};
}

Result<bool> Builder::State::known(std::string_view product, const Digest& identity,
                                   std::vector<HashAlgorithm>& algorithms) const {
  const auto at = products.find(product);
  if (at == products.end()) return false;
  const std::string key = identity_key(at->second, identity.view());
  std::uint8_t have = 0;
  if (const auto known = added.find(key); known != added.end()) {
    have = known->second;
  } else {
    std::string value;
    GH_CHECK(read(key, value));
    if (value.empty()) return false;
    std::string_view v = value;
    number<std::uint32_t>(v);
    have = number<std::uint8_t>(v);
  }
  std::uint8_t wanted = 0;
  for (const HashAlgorithm a : algorithms) wanted = std::uint8_t(wanted | bit_of(a));
  if ((wanted & ~have) == 0) return true;
  for (const HashAlgorithm a : common_banks)
    if ((have & bit_of(a)) != 0 && std::find(algorithms.begin(), algorithms.end(), a) == algorithms.end()) algorithms.push_back(a);
  return false;
}

Result<std::optional<Added>> Builder::add(ReferencePackage p) {
  // Canonical paths, the last content of a path holds.
  std::map<std::string, ReferenceFile> files;
  for (ReferenceFile& f : p.files) {
    GH_TRY(std::string path, canonical_path(f.path));
    f.path = path;
    std::sort(f.digests.begin(), f.digests.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    files[std::move(path)] = std::move(f);
  }
  Hasher hasher(HashAlgorithm::sha256);
  std::string logical = p.product + '\0' + p.name + '\0' + p.version + '\0' + p.architecture + '\0';
  for (const auto& [path, f] : files) logical += encode(f);
  const Digest content = hasher(as_bytes(logical));
  const Digest identity = p.identity.value_or(content);
  p.files.clear();
  for (auto& [path, f] : files) p.files.push_back(std::move(f));
  const std::uint8_t algorithms = algorithms_of(p);
  std::vector<HashAlgorithm> wanted;
  for (const HashAlgorithm a : common_banks)
    if ((algorithms & bit_of(a)) != 0) wanted.push_back(a);
  const std::lock_guard lock(state_->mutex);
  State& s = *state_;
  GH_TRY(const bool there, s.known(p.product, identity, wanted));
  if (there) return std::nullopt;
  auto product = s.products.find(p.product);
  if (product == s.products.end()) {
    product = s.products.emplace(p.product, s.totals.next_id++).first;
    std::string value;
    put(value, product->second);
    s.rows[product_key(p.product)] = value;
    ++s.totals.products;
  }
  // A package that comes again with further algorithms keeps its number.
  const std::string identity_row = identity_key(product->second, identity.view());
  std::uint32_t id = 0;
  std::string old;
  if (const auto row = s.rows.find(identity_row); row != s.rows.end()) old = row->second;
  else
    GH_CHECK(s.read(identity_row, old));
  if (!old.empty()) {
    std::string_view v = old;
    id = number<std::uint32_t>(v);
    std::string record;
    if (const auto row = s.rows.find(package_key(id)); row != s.rows.end()) record = row->second;
    else
      GH_CHECK(s.read(package_key(id), record));
    const Package before = decode_package(record);
    s.totals.files -= before.files;
    if (!before.name.empty()) --s.totals.packages;
    // Take the old contents out of the sum: add the complement and one.
    Digest complement = Digest::filled(32, std::byte{0});
    for (std::size_t i = 0; i < 32 && before.digest.size() == 32; ++i) complement.bytes[i] = ~std::byte(std::uint8_t(before.digest[i]));
    Digest one = Digest::filled(32, std::byte{0});
    one.bytes[31] = std::byte{1};
    if (before.digest.size() == 32) {
      add_to(s.totals.content, complement.view());
      add_to(s.totals.content, one.view());
    }
  } else {
    id = s.totals.next_id++;
  }
  std::string identity_value;
  put(identity_value, id);
  put(identity_value, algorithms);
  s.rows[identity_row] = identity_value;
  s.added[identity_row] = algorithms;
  Package record{product->second, p.name, p.version, p.architecture, p.source, p.ingested != 0 ? p.ingested : std::time(nullptr), algorithms, p.files.size(),
                 std::string(as_text(content.view()))};
  s.rows[package_key(id)] = encode(record);
  Added added;
  std::map<std::string, std::uint16_t> ordinals;
  for (const ReferenceFile& f : p.files) {
    const std::string index = index_path(f.path);
    // Paths that a kernel reports alike, or that are one under a merged /usr, have each a row of their own.
    const std::uint16_t n = ordinals[index]++;
    if (n == UINT16_MAX) return fail(Error{Fault::limit, "more than 65,535 files under one name", {}, 0, p.source, {}});
    std::string ordinal;
    put_ordinal(ordinal, n);
    std::string key = file_prefix(product->second, index);
    put(key, id);
    key += ordinal;
    s.rows[key] = encode(f);
    ++added.files;
    added.bytes += f.size;
    for (const auto& [algorithm, digest] : f.digests) {
      std::string place = digest_prefix(digest.view());
      put(place, product->second);
      put(place, id);
      // Equal content under one name: the first row answers for all.
      s.rows.try_emplace(place + index, ordinal);
      if (algorithm != HashAlgorithm::sha256 && algorithm != HashAlgorithm::sha384) continue;
      // T = H(template data of ima-ng), for each name under which a kernel may report the file.
      Hasher bank(algorithm);
      for (const std::string& name : kernel_names(f.path)) {
        Writer w;
        ima::append_ng_template_data(w, gatehouse::name(algorithm), digest.view(), name);
        s.rows[template_key(product->second, algorithm, bank(w.view()).view())] = name;
      }
    }
  }
  s.totals.files += p.files.size();
  if (!p.name.empty()) ++s.totals.packages;
  add_to(s.totals.content, content.view());
  s.changed = true;
  return added;
}

Result<Published> Builder::publish() {
  State& s = *state_;
  if (!s.changed) return Published{s.current, false, s.totals.content.hex()};
  const std::uint64_t next = s.current + 1;
  const std::string beside = generation_path(s.path, next) + ".new", final = generation_path(s.path, next);
  std::error_code ec;
  fs::remove_all(beside, ec);
  const auto give_up = [&](std::string_view what, const std::string& detail) {
    fs::remove_all(beside, ec);
    fs::remove(s.path + "/table.new", ec);
    return store_error(what, s.path, detail);
  };
  s.totals.generation = next;
  s.rows["T"] = encode(s.totals);
  {
    rocksdb::SstFileWriter table(rocksdb::EnvOptions(), options());
    rocksdb::Status st = table.Open(s.path + "/table.new");
    for (auto row = s.rows.begin(); st.ok() && row != s.rows.end(); ++row) st = table.Put(row->first, row->second);
    if (st.ok()) st = table.Finish();
    if (!st.ok()) return give_up("can't write the references", st.ToString());
  }
  if (s.db) {
    // Tables never change: they are shared with the generation before, the few small files are copied.
    fs::create_directories(beside, ec);
    for (const auto& entry : fs::directory_iterator(generation_path(s.path, s.base), ec)) {
      const std::string name = entry.path().filename().string();
      std::error_code bad;
      if (name.ends_with(".sst")) fs::create_hard_link(entry.path(), beside + "/" + name, bad);
      else if (name.starts_with("CURRENT") || name.starts_with("MANIFEST") || name.starts_with("IDENTITY") || name.ends_with(".log")) fs::copy_file(entry.path(), beside + "/" + name, bad);
      if (bad) return give_up("can't begin the generation", bad.message());
    }
    if (ec) return give_up("can't begin the generation", ec.message());
  }
  {
    rocksdb::Options o = options();
    o.create_if_missing = true;
    rocksdb::DB* raw = nullptr;
    rocksdb::Status st = rocksdb::DB::Open(o, beside, &raw);
    if (!st.ok()) return give_up("can't make the generation", st.ToString());
    const std::unique_ptr<rocksdb::DB> db(raw);
    rocksdb::IngestExternalFileOptions ingest;
    ingest.move_files = true;
    ingest.failed_move_fall_back_to_copy = true;
    st = db->IngestExternalFile({s.path + "/table.new"}, ingest);
    if (!st.ok()) return give_up("can't take the references in", st.ToString());
  }
  fs::rename(beside, final, ec);
  if (ec) return give_up("can't name the generation", ec.message());
  fs::remove(s.path + "/table.new", ec);
  // The folder's name is on disk before the pointer that says it.
  auto switched = sync_folder(s.path + "/generations");
  if (switched) switched = write_file_atomically(s.path + "/CURRENT", as_bytes(std::to_string(next) + "\n"));
  if (!switched) {
    fs::remove_all(final, ec);
    return std::unexpected(std::move(switched).error());
  }
  s.current = next;
  return Published{next, true, s.totals.content.hex()};
}

Result<Published> roll_back(const std::string& path, std::uint64_t generation) {
  GH_TRY(const std::uint64_t current, current_generation(path));
  if (generation == current)
    return fail(Error{Fault::usage, "this is the current generation", {}, 0, generation_path(path, generation), {}});
  GH_TRY(Builder builder, Builder::open_on(path, generation));
  builder.state_->changed = true;
  return builder.publish();
}

Result<std::size_t> prune_generations(const std::string& path, std::size_t keep) {
  GH_TRY(const std::uint64_t current, current_generation(path));
  std::vector<std::uint64_t> old;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(path + "/generations", ec)) {
    const std::string name = entry.path().filename().string();
    if (const auto number = generation_number(name); number && *number < current) old.push_back(*number);
  }
  std::sort(old.rbegin(), old.rend());
  std::size_t removed = 0;
  for (std::size_t i = keep; i < old.size(); ++i) {
    const std::string where = generation_path(path, old[i]);
    const auto hold = Hold::take(where, LOCK_EX);
    if (!hold && fs::exists(where + "/CURRENT")) continue;
    if (fs::remove_all(where, ec); ec) return store_error("can't remove the generation", where, ec.message());
    ++removed;
  }
  return removed;
}

}  // namespace gatehouse::refdb
