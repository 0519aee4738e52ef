// Facts of the schema: strongSwan, src/libimcv/imv/tables.sql; strongTNC, apps/*/models.py.
#include "refdb/ingest/strongtnc.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/hex.h"
#include "refdb/alias/alias.h"
#include "refdb/ingest/input.h"
#include "refdb/ingest/sqlite.h"

namespace gatehouse::refdb {
namespace {

using sqlite::Database;
using sqlite::Rows;
using sqlite::Table;

constexpr std::size_t max_products = 10'000;
constexpr std::size_t max_devices = 1'000'000, max_contents = 4096;
constexpr std::size_t max_events = 65'536;  // of a baseline

// Algorithms are numbered by their bits of a PTS Measurement Algorithm (TCG Attestation PTS Protocol, 3.13.1).
std::optional<HashAlgorithm> algorithm_of(std::int64_t id) {
  constexpr std::pair<std::int64_t, HashAlgorithm> all[] = {{1 << 15, HashAlgorithm::sha1},
                                                            {1 << 14, HashAlgorithm::sha256},
                                                            {1 << 13, HashAlgorithm::sha384},
                                                            {1 << 12, HashAlgorithm::sha512}};
  for (const auto& [number, algorithm] : all)
    if (number == id) return algorithm;
  return std::nullopt;
}

// Written as hexadecimal text or as it is, and both in one column: a digest that is learned anew replaces text by
// bytes.
Result<Digest> digest_of(const Rows& rows, int column, HashAlgorithm algorithm) {
  GH_TRY(const Rows::Value value, rows.bytes(column, 2 * max_digest_size));
  const std::size_t size = digest_size(algorithm);
  if (!value.is_text && value.bytes.size() == size) return Digest(value.bytes);
  if (value.bytes.size() != 2 * size) return rows.malformed("a digest of another length than its algorithm's", column);
  const auto raw = from_hex(as_text(value.bytes));
  if (!raw) return rows.malformed("a digest that isn't hexadecimal", column);
  return Digest(*raw);
}

Result<Table> needed(Database& database, std::string_view name, const std::string& source) {
  GH_TRY(Table table, database.table(name));
  if (!table)
    return fail(
        Error{Fault::malformed, "not strongTNC's database: a table is missing", {}, 0, source, std::string(name)});
  return table;
}

// Rows of one table by their ids.
class ById {
 public:
  static Result<ById> open(Database& database, const Table& table, std::vector<std::string> columns) {
    ById out;
    columns.insert(columns.begin(), "id");
    GH_TRY(Rows rows, database.rows(table, columns, "WHERE id = ?"));
    out.rows_ = std::move(rows);
    return out;
  }
  // False: there is none. The columns count from 1.
  Result<bool> find(std::int64_t id) {
    GH_CHECK(rows_.restart({id}));
    return rows_.next();
  }
  const Rows& row() const { return rows_; }

 private:
  Rows rows_;
};

// A file's digests as they come, each algorithm's in order. What belongs together isn't said where an algorithm has
// several: the first of each are the first content, and so on.
class Contents {
 public:
  Result<void> add(const Rows& row, HashAlgorithm algorithm, const Digest& digest) {
    auto& all = digests_[algorithm];
    if (std::ranges::find(all, digest) != all.end()) return {};
    if (all.size() == max_contents) return row.malformed("more contents of one file than allowed");
    all.push_back(digest);
    return {};
  }
  // nullopt: there was none.
  std::optional<ReferenceFile> take(const std::string& path, std::uint64_t size, bool is_mutable) {
    if (digests_.empty()) return std::nullopt;
    ReferenceFile out{path, size, is_mutable, {}};
    for (const auto& [algorithm, all] : digests_) {
      out.digests.emplace_back(algorithm, all.front());
      for (std::size_t i = 1; i < all.size(); ++i) {
        if (i > out.further.size()) out.further.push_back({size, {}});
        out.further[i - 1].digests.emplace_back(algorithm, all[i]);
      }
    }
    digests_.clear();
    return out;
  }

 private:
  std::map<HashAlgorithm, std::vector<Digest>> digests_;
};

}  // namespace

StrongTnc::StrongTnc(std::unique_ptr<Database> database, std::string name)
    : database_(std::move(database)), name_(std::move(name)) {}
StrongTnc::~StrongTnc() = default;

Result<std::unique_ptr<FileInput>> open_strongtnc(const std::string& path) {
  GH_TRY(auto file, FileInput::open(path));
  std::error_code ec;
  // Beside a database that is in use, or whose last writer died, is what isn't in it yet.
  for (const char* const suffix : {"-wal", "-journal"})
    if (const auto size = std::filesystem::file_size(path + suffix, ec); !ec && size != 0)
      return fail(Error{Fault::environment, "the database is in use: stop who writes to it, or take a copy (.backup)",
                        "SQLite database", 0, path, escaped(path + suffix)});
  return file;
}

Result<std::unique_ptr<StrongTnc>> StrongTnc::open(const Input& file, const std::string& name) {
  if (file.size() > sqlite::max_database_bytes)
    return fail(Error{Fault::limit, "file larger than allowed", "SQLite database", 0, name, {}});
  GH_TRY(ByteVector content, file.bytes_at(0, std::size_t(file.size())));
  GH_TRY(auto database, Database::open(std::move(content), name));
  return std::unique_ptr<StrongTnc>(new StrongTnc(std::move(database), name));
}

Result<std::unique_ptr<StrongTnc>> StrongTnc::open(Bytes content, const std::string& name) {
  GH_TRY(auto database, Database::open(to_vector(content), name));
  return std::unique_ptr<StrongTnc>(new StrongTnc(std::move(database), name));
}

namespace {

Result<std::map<std::int64_t, std::string>> products_of(Database& database, const std::string& source) {
  GH_TRY(const Table table, needed(database, "products", source));
  GH_TRY(Rows rows, database.rows(table, {"id", "name"}));
  std::map<std::int64_t, std::string> out;
  for (;;) {
    GH_TRY(const bool more, rows.next());
    if (!more) return out;
    GH_TRY(const std::int64_t id, rows.number(0, 0, INT64_MAX));
    GH_TRY(const std::string_view name, rows.text(1, max_product_bytes));
    if (out.size() == max_products) return rows.malformed("more products than allowed");
    if (!is_printable(name)) return rows.malformed("a name that isn't printable text", 1);
    if (!out.emplace(id, name).second) return rows.malformed("an id twice", 0);
  }
}

// Walks the digests of files in the order of versions and files, and gives what belongs to the wanted product.
class FileReferences {
 public:
  FileReferences(Database& database, const std::string& source, const IngestLimits& limits,
                 const std::function<Result<void>(ReferencePackage)>& each)
      : database_(database), source_(source), limits_(limits), each_(each) {}

  Result<void> read(const std::string& product) {
    GH_TRY(products_, products_of(database_, source_));
    GH_TRY(const Table hashes, needed(database_, "file_hashes", source_));
    GH_TRY(const Table files, needed(database_, "files", source_));
    GH_TRY(const Table directories, needed(database_, "directories", source_));
    GH_TRY(file_, ById::open(database_, files, {"dir", "name"}));
    GH_TRY(directory_, ById::open(database_, directories, {"path"}));
    by_version_ = hashes.has("version");
    if (by_version_) {
      GH_TRY(const Table versions, needed(database_, "versions", source_));
      GH_TRY(const Table packages, needed(database_, "packages", source_));
      // Databases had blacklists later than versions.
      version_blacklist_ = versions.has("blacklist");
      package_blacklist_ = packages.has("blacklist");
      std::vector<std::string> columns{"product", "package", "release"};
      if (version_blacklist_) columns.emplace_back("blacklist");
      GH_TRY(version_, ById::open(database_, versions, std::move(columns)));
      columns = {"name"};
      if (package_blacklist_) columns.emplace_back("blacklist");
      GH_TRY(package_, ById::open(database_, packages, std::move(columns)));
    }
    const std::string group = by_version_ ? "version" : "product";
    std::vector<std::string> columns{group, "file", "algo", "hash", "device"};
    for (const char* const further : {"size", "mutable"})
      if (hashes.has(further)) columns.emplace_back(further);
    const int size = hashes.has("size") ? 5 : 0, is_mutable = hashes.has("mutable") ? int(columns.size()) - 1 : 0;
    GH_TRY(Rows rows, database_.rows(hashes, columns, "ORDER BY \"" + group + "\", file, algo, hash"));
    for (;;) {
      GH_TRY(const bool more, rows.next());
      if (!more) break;
      GH_TRY(const std::int64_t device, rows.id(4));
      if (device != 0) {
        ++found_.left.of_devices;
        continue;
      }
      GH_TRY(const std::int64_t version, rows.id(0));
      if (!group_ || *group_ != version) {
        GH_CHECK(end_group());
        GH_CHECK(begin_group(version, product));
      }
      GH_TRY(const std::int64_t file, rows.id(1));
      if (!current_ || *current_ != file) {
        GH_CHECK(end_file());
        GH_CHECK(begin_file(file));
      }
      GH_TRY(const std::int64_t id, rows.number(2, 0, INT64_MAX));
      const auto algorithm = algorithm_of(id);
      if (dangling_)
        ++found_.left.dangling;
      else if (path_.empty())
        ++found_.left.no_path;
      else if (!algorithm)
        ++found_.left.other_kinds;
      if (dangling_ || path_.empty() || !algorithm) continue;
      if (blacklisted_) {
        if (wanted_) ++found_.left.blacklisted;
        continue;
      }
      // What isn't wanted is looked at all the same: a damaged database is nobody's reference.
      GH_TRY(const Digest digest, digest_of(rows, 3, *algorithm));
      if (size != 0 && !rows.is_null(size)) {
        GH_TRY(const std::int64_t bytes, rows.number(size, 0, INT64_MAX));
        size_ = std::uint64_t(bytes);
      }
      if (is_mutable != 0 && !rows.is_null(is_mutable)) {
        GH_TRY(const std::int64_t flag, rows.number(is_mutable, 0, 1));
        mutable_ = mutable_ || flag != 0;
      }
      GH_CHECK(contents_.add(rows, *algorithm, digest));
    }
    return end_group();
  }

  StrongTncReferences found_;

 private:
  Result<void> begin_group(std::int64_t id, const std::string& product) {
    group_ = id;
    dangling_version_ = blacklisted_ = wanted_ = false;
    contents_taken_ = paths_ = 0;
    ReferencePackage& p = taking_;
    p = {};
    p.source = "strongtnc:" + source_;
    std::int64_t of = id;
    if (by_version_) {
      GH_TRY(const bool found, version_.find(id));
      if (!found) return dangle();
      const Rows& v = version_.row();
      GH_TRY(of, v.id(1));
      GH_TRY(const std::int64_t package, v.id(2));
      if (!v.is_null(3)) {
        GH_TRY(const std::string_view release, v.text(3, UINT16_MAX));
        p.version = release;
      }
      GH_TRY(const bool version_listed, flag(v, 4, version_blacklist_));
      GH_TRY(const bool named, package_.find(package));
      if (!named) return dangle();
      GH_TRY(const std::string_view name, package_.row().text(1, UINT16_MAX));
      GH_TRY(const bool package_listed, flag(package_.row(), 2, package_blacklist_));
      p.name = name;
      // A product's files of no package have an empty one.
      if (p.name.empty()) p.version.clear();
      blacklisted_ = version_listed || package_listed;
    }
    const auto named = products_.find(of);
    if (named == products_.end()) return dangle();
    p.product = named->second;
    wanted_ = product.empty() || p.product == product;
    return {};
  }

  Result<void> end_group() {
    GH_CHECK(end_file());
    current_.reset();
    if (taking_.files.empty()) return {};
    ++found_.packages;
    found_.files += taking_.files.size();
    return each_(std::exchange(taking_, {}));
  }

  Result<void> begin_file(std::int64_t id) {
    current_ = id;
    dangling_ = dangling_version_;
    path_.clear();
    size_ = 0;
    mutable_ = false;
    GH_TRY(const bool found, file_.find(id));
    if (!found) {
      dangling_ = true;
      return {};
    }
    const Rows& f = file_.row();
    GH_TRY(const std::int64_t directory, f.id(1));
    GH_TRY(const std::string_view name, f.text(2, max_path_bytes));
    GH_TRY(const bool in, directory_.find(directory));
    if (!in) return {};
    GH_TRY(const std::string_view folder, directory_.row().text(1, max_path_bytes));
    if (!folder.starts_with('/')) return {};
    // What is written so is one name in one folder, and climbs nowhere.
    if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos || name.find('\0') != name.npos)
      return f.malformed("not the name of a file", 2);
    std::string path(folder);
    if (path.size() > 1 && path.ends_with('/')) path.pop_back();
    if (path != "/" && !is_canonical(path))
      return directory_.row().malformed("not an absolute path in canonical form", 1);
    if (path != "/") path += '/';
    path += name;
    if (path.size() > max_path_bytes) return f.malformed("a path that is too long", 2);
    path_ = std::move(path);
    return {};
  }

  Result<void> end_file() {
    auto file = contents_.take(path_, size_, mutable_);
    if (!file) return {};
    ++found_.products[taking_.product];
    if (!wanted_) return {};
    const auto more = [&](std::string_view why) {
      return fail(Error{Fault::limit, why, {}, 0, source_, "table file_hashes, version " + std::to_string(*group_)});
    };
    if ((contents_taken_ += 1 + file->further.size()) > limits_.files) return more("more files than allowed");
    if ((paths_ += path_.size()) > limits_.path_bytes) return more("longer paths than allowed");
    taking_.files.push_back(*std::move(file));
    return {};
  }

  Result<void> dangle() {
    dangling_version_ = true;
    return {};
  }
  static Result<bool> flag(const Rows& rows, int column, bool there) {
    if (!there || rows.is_null(column)) return false;
    GH_TRY(const std::int64_t value, rows.number(column, 0, INT64_MAX));
    return value != 0;
  }

  Database& database_;
  const std::string& source_;
  const IngestLimits limits_;
  const std::function<Result<void>(ReferencePackage)>& each_;
  std::map<std::int64_t, std::string> products_;
  bool by_version_ = false, version_blacklist_ = false, package_blacklist_ = false;
  ById file_, directory_, version_, package_;

  // Of the version, or of the product where versions have no files.
  std::optional<std::int64_t> group_;
  ReferencePackage taking_;
  bool wanted_ = false, blacklisted_ = false, dangling_version_ = false;
  std::uint64_t contents_taken_ = 0, paths_ = 0;
  // Of the file.
  std::optional<std::int64_t> current_;
  bool dangling_ = false, mutable_ = false;
  std::string path_;  // empty: it has none
  std::uint64_t size_ = 0;
  Contents contents_;
};

Result<std::uint64_t> rows_of(Database& database, std::string_view name) {
  GH_TRY(const Table table, database.table(name));
  if (!table) return std::uint64_t(0);
  GH_TRY(const std::int64_t count, database.count(table));
  return std::uint64_t(count);
}

}  // namespace

Result<StrongTncReferences> StrongTnc::references(const std::string& product, const IngestLimits& limits,
                                                  const std::function<Result<void>(ReferencePackage)>& each) {
  FileReferences files(*database_, name_, limits, each);
  GH_CHECK(files.read(product));
  StrongTncReferences out = std::move(files.found_);
  GH_TRY(out.left.groups, rows_of(*database_, "groups"));
  GH_TRY(out.left.policies, rows_of(*database_, "policies"));
  GH_TRY(out.left.enforcements, rows_of(*database_, "enforcements"));
  return out;
}

Result<std::vector<std::string>> StrongTnc::whole(const std::string& product,
                                                  const std::function<Result<void>(ReferencePackage)>& each) {
  GH_TRY(const StrongTncReferences there,
         references(product, {}, [](const ReferencePackage&) { return Result<void>(); }));
  if (!product.empty() && !there.products.contains(product))
    return fail(Error{Fault::malformed, "no files of this product in the database", {}, 0, name_,
                      there.products.empty() ? "there are none" : "there are those of " + text_of(there.products)});
  GH_CHECK(references(product, {}, each));
  return notes_of(there, product);
}

std::string text_of(const std::map<std::string, std::uint64_t>& products) {
  std::string out;
  std::size_t n = 0;
  for (const auto& [product, files] : products) {
    if (n++ == 10) return out + " and " + std::to_string(products.size() - 10) + " more";
    out += (out.empty() ? "\"" : ", \"") + product + "\" (" + std::to_string(files) + " files)";
  }
  return out;
}

std::vector<std::string> notes_of(const StrongTncReferences& references, const std::string& product) {
  std::vector<std::string> out;
  auto others = references.products;
  others.erase(product);
  if (!product.empty() && !others.empty())
    out.push_back("other products, taken with --all-products or another --product: " + text_of(others));
  const StrongTncLeft& left = references.left;
  std::string list;
  const auto note = [&list](std::uint64_t count, std::string_view what) {
    if (count == 0) return;
    list += (list.empty() ? "" : ", ") + std::to_string(count) + " " + std::string(what);
  };
  note(left.of_devices, "digests of single devices");
  note(left.other_kinds, "digests that aren't of a file's content");
  note(left.no_path, "digests of files without an absolute path");
  note(left.dangling, "digests of files or versions that aren't there");
  note(left.blacklisted, "digests of blacklisted packages");
  if (!list.empty()) out.push_back("left out: " + list);
  list.clear();
  note(left.groups, "groups");
  note(left.policies, "policies");
  note(left.enforcements, "enforcements");
  if (!list.empty()) out.push_back("not references, left out: " + list);
  return out;
}

namespace {

// By the id that rows of component_hashes have for it; what isn't given isn't in it.
using GivenDevices = std::unordered_map<std::int64_t, std::string>;

Result<GivenDevices> give_devices(Database& database, const std::string& source, const StrongTnc::DeviceSink& sink,
                                  StrongTncDevices& report) {
  GH_TRY(const auto products, products_of(database, source));
  GH_TRY(const Table table, needed(database, "devices", source));
  std::vector<std::string> columns{"id", "value", "product"};
  for (const char* const further : {"trusted", "inactive"})
    if (table.has(further)) columns.emplace_back(further);
  const int trusted = table.has("trusted") ? 3 : 0, inactive = table.has("inactive") ? int(columns.size()) - 1 : 0;
  // An endpoint whose operating system was another one came as another row: the newest one first.
  GH_TRY(Rows rows, database.rows(table, columns, "ORDER BY value, id DESC"));
  GivenDevices given;
  std::optional<std::string> last;
  const auto flag = [&](int column) -> Result<bool> {
    if (column == 0 || rows.is_null(column)) return false;
    GH_TRY(const std::int64_t value, rows.number(column, 0, 1));
    return value != 0;
  };
  for (;;) {
    GH_TRY(const bool more, rows.next());
    if (!more) return given;
    GH_TRY(const std::int64_t id, rows.number(0, 1, INT64_MAX));
    GH_TRY(const std::string_view value, rows.text(1, max_device_bytes));
    GH_TRY(const std::int64_t product, rows.id(2));
    GH_TRY(const bool is_trusted, flag(trusted));
    GH_TRY(const bool is_inactive, flag(inactive));
    if (value.empty() || !is_printable(value)) return rows.malformed("not a Device ID", 1);
    if (last == value) {
      ++report.other_products;
      continue;
    }
    last = value;
    if (is_inactive) {
      ++report.inactive;
      continue;
    }
    if (given.size() == max_devices) return rows.malformed("more devices than allowed");
    const auto named = products.find(product);
    if (!given.emplace(id, value).second) return rows.malformed("an id twice", 0);
    ++report.devices;
    GH_CHECK(sink.device({std::string(value), named == products.end() ? std::string() : named->second, is_trusted}));
  }
}

// Keys that an operator entered, before devices could be trusted.
Result<GivenDevices> give_keys(Database& database, const Table& table, const StrongTnc::DeviceSink& sink,
                               StrongTncDevices& report) {
  GH_TRY(Rows rows, database.rows(table, {"id", "keyid"}, "ORDER BY id"));
  GivenDevices given;
  for (;;) {
    GH_TRY(const bool more, rows.next());
    if (!more) return given;
    GH_TRY(const std::int64_t id, rows.number(0, 1, INT64_MAX));
    GH_TRY(const Digest key_id, digest_of(rows, 1, HashAlgorithm::sha1));
    if (given.size() == max_devices) return rows.malformed("more keys than allowed");
    if (!given.emplace(id, key_id.hex()).second) return rows.malformed("an id twice", 0);
    ++report.devices;
    GH_CHECK(sink.device({key_id.hex(), {}, true}));
  }
}

// Components that stand for the firmware's log: ITA (36906), IMA (3), trusted platform (0x21).
Result<std::set<std::int64_t>> firmware_components(Database& database, const std::string& source) {
  std::set<std::int64_t> out;
  GH_TRY(const Table table, needed(database, "components", source));
  GH_TRY(Rows rows, database.rows(table, {"id", "vendor_id", "name", "qualifier"}));
  for (;;) {
    GH_TRY(const bool more, rows.next());
    if (!more) return out;
    GH_TRY(const std::int64_t id, rows.number(0, 0, INT64_MAX));
    GH_TRY(const std::int64_t vendor, rows.number(1, 0, UINT32_MAX));
    GH_TRY(const std::int64_t name, rows.number(2, 0, UINT32_MAX));
    GH_TRY(const std::int64_t qualifier, rows.id(3));
    if (vendor == 36906 && name == 3 && qualifier == 33 && out.size() < 100) out.insert(id);
  }
}

// Walks the digests of components in the order of devices and algorithms.
class Baselines {
 public:
  Baselines(const GivenDevices& given, const StrongTnc::DeviceSink& sink, StrongTncDevices& report)
      : given_(given), sink_(sink), report_(report) {}

  Result<void> read(Database& database, const Table& table, const std::set<std::int64_t>& firmware) {
    GH_TRY(Rows rows, database.rows(table, {"key", "algo", "component", "seq_no", "pcr", "hash"},
                                    "ORDER BY key, algo, component, seq_no"));
    for (;;) {
      GH_TRY(const bool more, rows.next());
      if (!more) return end();
      GH_TRY(const std::int64_t key, rows.id(0));
      GH_TRY(const std::int64_t id, rows.number(1, 0, INT64_MAX));
      GH_TRY(const std::int64_t component, rows.id(2));
      GH_TRY(const std::int64_t number, rows.number(3, 0, INT64_MAX));
      GH_TRY(const std::int64_t pcr, rows.number(4, 0, 23));
      const auto algorithm = algorithm_of(id);
      if (!algorithm) return rows.malformed("an unknown algorithm", 1);
      GH_TRY(const Digest digest, digest_of(rows, 5, *algorithm));
      if (!firmware.contains(component)) {
        ++report_.components;
        continue;
      }
      if (*algorithm == HashAlgorithm::sha1) {
        ++report_.sha1;
        continue;
      }
      const auto device = given_.find(key);
      if (device == given_.end()) {
        ++report_.dangling;
        continue;
      }
      if (key != key_ || *algorithm != one_.bank) {
        GH_CHECK(end());
        key_ = key;
        one_ = {device->second, *algorithm, {}};
      }
      // Numbers are from 1 on. What is numbered otherwise is not the whole of it.
      if (number != ++events_) whole_ = false;
      if (events_ > std::int64_t(max_events)) return rows.malformed("more events of one device than allowed");
      one_.pcrs[std::uint32_t(pcr)].push_back(digest);
    }
  }

 private:
  Result<void> end() {
    if (events_ != 0 && whole_) {
      ++report_.baselines;
      GH_CHECK(sink_.baseline(one_));
    } else if (events_ != 0) {
      report_.refused.emplace_back(one_.device, "events are missing or there twice in " + std::string(name(one_.bank)));
    }
    key_ = 0;
    events_ = 0;
    whole_ = true;
    return {};
  }

  const GivenDevices& given_;
  const StrongTnc::DeviceSink& sink_;
  StrongTncDevices& report_;
  StrongTncBaseline one_;
  std::int64_t key_ = 0, events_ = 0;
  bool whole_ = true;
};

}  // namespace

Result<StrongTncDevices> StrongTnc::devices(const DeviceSink& sink) {
  StrongTncDevices out;
  GH_TRY(const GivenDevices by_device, give_devices(*database_, name_, sink, out));
  GH_TRY(const Table keys, database_->table("keys"));
  GivenDevices by_key;
  if (keys) {
    GH_TRY(by_key, give_keys(*database_, keys, sink, out));
  }
  GH_TRY(const Table hashes, database_->table("component_hashes"));
  if (hashes) {
    GH_TRY(const std::string referred, database_->referred(hashes, "key"));
    GH_TRY(const std::set<std::int64_t> firmware, firmware_components(*database_, name_));
    const bool of_keys = keys && referred != "devices";
    Baselines baselines(of_keys ? by_key : by_device, sink, out);
    GH_CHECK(baselines.read(*database_, hashes, firmware));
  }
  return out;
}

Result<StrongTncListing> StrongTnc::listing() {
  StrongTncListing out;
  const auto on_device = [&](const StrongTncDevice& device) -> Result<void> {
    out.devices.push_back(device);
    return {};
  };
  const auto on_baseline = [&](const StrongTncBaseline& baseline) -> Result<void> {
    out.baselines.push_back(baseline);
    return {};
  };
  GH_TRY(out.counts, devices({.device = on_device, .baseline = on_baseline}));
  GH_TRY(out.groups, groups());
  return out;
}

}  // namespace gatehouse::refdb
