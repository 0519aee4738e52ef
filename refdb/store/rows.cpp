#include "refdb/store/rows.h"

#include <fcntl.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <sys/file.h>

#include <charconv>
#include <filesystem>

#include "base/file.h"
#include "base/hex.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view format_line = "gatehouse refdb 1\n";

// A generation is immutable: not even a log is written beside it.
class NoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

}  // namespace

rocksdb::Options options() {
  rocksdb::Options o;
  o.info_log = std::make_shared<NoLog>();
  o.compression = rocksdb::kNoCompression;
  o.info_log_level = rocksdb::InfoLogLevel::ERROR_LEVEL;
  o.keep_log_file_num = 1;
  o.max_open_files = 512;
  o.disable_auto_compactions = false;
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.block_cache = rocksdb::NewLRUCache(std::size_t(64) << 20);
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return o;
}

std::string generation_path(const std::string& store, std::uint64_t n) {
  return store + "/generations/" + std::to_string(n);
}

Result<std::unique_ptr<rocksdb::DB>> open_db(const std::string& path, bool write) {
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status s =
      write ? rocksdb::DB::Open(options(), path, &raw) : rocksdb::DB::OpenForReadOnly(options(), path, &raw);
  if (!s.ok()) return store_error("can't open the generation", path, s);
  return std::unique_ptr<rocksdb::DB>(raw);
}

Result<Hold> Hold::take(const std::string& generation, int operation) {
  Hold out;
  out.fd_ = ::open((generation + "/CURRENT").c_str(), O_RDONLY | O_CLOEXEC);
  if (out.fd_ < 0) return fail_errno("can't open the generation", generation);
  if (::flock(out.fd_, operation | LOCK_NB) != 0)
    return store_error("the generation is held, or being removed", generation, std::string());
  return out;
}

Result<Totals> read_totals(rocksdb::DB& db, const std::string& path, std::uint64_t generation) {
  std::string value;
  const rocksdb::Status s = db.Get(rocksdb::ReadOptions(), "T", &value);
  if (!s.ok()) return store_error("the generation is damaged: it has no totals", path, s);
  const Totals totals = decode_totals(value);
  if (totals.generation != generation)
    return store_error("the generation is damaged: its contents are another's", path,
                       std::to_string(totals.generation));
  return totals;
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
    return store_error("the reference store has another format version", path, escaped(as_text(*found), 64));
  return {};
}

Result<void> write_format(const std::string& path) {
  if (!std::filesystem::exists(path + "/FORMAT"))
    GH_CHECK(write_file_atomically(path + "/FORMAT", as_bytes(format_line)));
  return check_format(path);
}

Result<std::vector<std::pair<std::string, std::uint32_t>>> read_products(rocksdb::DB& db, const std::string& path) {
  std::vector<std::pair<std::string, std::uint32_t>> out;
  const std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(rocksdb::ReadOptions()));
  for (it->Seek("P"); it->Valid() && it->key().starts_with("P"); it->Next()) {
    std::string_view v = text_of(it->value());
    out.emplace_back(text_of(it->key()).substr(1), number<std::uint32_t>(v));
  }
  if (!it->status().ok()) return store_error("can't read the products", path, it->status());
  return out;
}

}  // namespace gatehouse::refdb
