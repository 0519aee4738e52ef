#include "refdb/store/publication.h"

#include <rocksdb/convenience.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <filesystem>
#include <map>

#include "base/writer.h"
#include "refdb/alias/alias.h"
#include "refdb/store/entries.h"
#include "refdb/store/turns.h"
#include "wire/ima/ima.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t files_a_piece = 8192;
static_assert(files_a_block % files_a_page == 0);
// So many that a part is sorted within a core's cache.
constexpr std::uint64_t entries_a_part = std::uint64_t(1) << 17;
// A run is merged with the one after it unless it has more than so many times as many files; small ones always are.
constexpr std::uint64_t much_larger = 4, small_run = 65'536;
// Contents of larger runs stay where they are.
constexpr std::uint64_t most_files_to_move = 1'000'000;

unsigned threads() { return std::clamp(std::thread::hardware_concurrency(), 1U, 4U); }

unsigned part_bits(std::uint64_t entries) {
  unsigned bits = 0;
  while (bits < 8 && (entries >> bits) > entries_a_part) ++bits;
  return bits;
}

// A table of rows that come in the order of their keys.
class Table {
 public:
  enum class Kind : std::uint8_t { text, hashes };
  Table(std::string path, Kind kind) : path_(std::move(path)), writer_(rocksdb::EnvOptions(), options_for(kind)) {}

  Result<void> put(const std::string& key, std::string_view value) {
    if (!open_) {
      GH_CHECK(good(writer_.Open(path_)));
      open_ = true;
    }
    return good(writer_.Put(key, rocksdb::Slice(value.data(), value.size())));
  }
  // On disk. Its path; empty: it has no rows.
  Result<std::string> finish() {
    if (!open_) return std::string();
    GH_CHECK(good(writer_.Finish()));
    return path_;
  }

 private:
  static rocksdb::Options options_for(Kind kind) {
    rocksdb::Options o = options();
    rocksdb::BlockBasedTableOptions table;
    table.block_size = kind == Kind::text ? 8192 : 4096;
    o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    // Most of it are hashes, as random as can be: measured, compression gains a hundredth.
    o.compression = rocksdb::kNoCompression;
    // The disk writes while the table is made, and there is little left to wait for at its end.
    o.bytes_per_sync = std::uint64_t(2) << 20;
    return o;
  }
  Result<void> good(const rocksdb::Status& s) const {
    if (!s.ok()) return store_error("can't write the references", path_, s);
    return {};
  }

  const std::string path_;
  rocksdb::SstFileWriter writer_;
  bool open_ = false;
};

// Packages that follow each other, with files enough to be worth a thread's while; of one with more than a block, a
// block. The first file's number begins a page.
struct Piece {
  std::size_t first_record = 0, records = 0;
  std::uint32_t first_file = 0;
  std::uint64_t block = 0;     // of the first package, where it is; 0: all of it
  std::uint32_t files_before = 0;  // of that package
};
// Values of rows that follow each other, one after the other.
struct PieceRows {
  std::string pages;
  std::vector<std::size_t> page_ends;
  std::vector<std::string> packages;
};
struct BucketRows {
  std::string values;
  std::vector<std::pair<std::uint32_t, std::size_t>> ends;  // of each bucket's value, by bucket
};

// What one thread makes of packages: rows, and the entries of the indexes.
class Worker {
 public:
  Worker(Spill& spill, std::span<const unsigned, index_count> bits) {
    for (const unsigned b : bits) parts_.emplace_back(spill, b);
  }
  EntryParts& parts(Index index) { return parts_[std::size_t(index)]; }
  const Digest& content() const { return content_; }
  std::uint64_t packages() const { return packages_; }
  const std::vector<std::uint32_t>& diverting() const { return diverting_; }
  std::string& staged() { return staged_; }

  Result<void> take_package(const StagedPackage& staged, std::uint32_t layer, std::uint32_t package,
                            std::uint32_t first_file, PieceRows& out) {
    Package p{layer,
              staged.name,
              staged.version,
              staged.architecture,
              staged.source,
              std::string(as_text(staged.content.view())),
              std::string(as_text(staged.identity.view())),
              std::string(as_text(staged.stamp.view())),
              staged.diversions,
              staged.format,
              staged.ingested,
              staged.first_seen,
              staged.algorithms,
              first_file,
              staged.files,
              staged.uncounted};
    out.packages.push_back(encode(p));
    GH_CHECK(parts(Index::identity).add(entry(hash_of(layer, p.identity), package)));
    if (!p.stamp.empty()) GH_CHECK(parts(Index::stamp).add(entry(hash_of(layer, p.stamp), package)));
    add_to(content_, staged.content.view());
    packages_ += !staged.name.empty();
    if (!staged.diversions.empty()) diverting_.push_back(package);
    return {};
  }
  // A block's rows, of so many files; the number of the first. False: it hasn't them.
  Result<bool> take_files(std::string_view rows, std::uint32_t layer, std::uint32_t package, std::uint32_t first_file,
                          std::uint32_t count, PieceRows& out) {
    FileReader files(rows);
    for (std::uint32_t n = first_file; n != first_file + count; ++n) {
      FileRow* const row = files.next();
      if (row == nullptr) return false;
      row->package = package;
      if (n % files_a_page == 0) {
        if (!out.pages.empty()) out.page_ends.push_back(out.pages.size());
        writer_.restart();
      }
      if (n % files_a_page == 0 || n == first_file)
        writer_.append(out.pages, *row);
      else
        writer_.append_read(out.pages, *row, files.bytes());
      GH_CHECK(index(*row, layer, n));
    }
    return files.done();
  }

 private:
  Result<void> index(const FileRow& row, std::uint32_t layer, std::uint32_t number) {
    index_path(row.path, path_);
    const bool has_alias = alias_of(path_, alias_);
    GH_CHECK(parts(Index::path).add(entry(hash_of_path(layer, path_, sha256_), number)));
    for (std::size_t i = 0; i < row.digests; ++i) {
      const auto& [algorithm, digest] = row.contents[i];
      GH_CHECK(parts(Index::digest).add(entry(hash_of(0, digest), number)));
      if (algorithm != HashAlgorithm::sha256 && algorithm != HashAlgorithm::sha384) continue;
      // T = H(template data of ima-ng), for each name under which a kernel may report the file.
      const Index index = algorithm == HashAlgorithm::sha256 ? Index::template_sha256 : Index::template_sha384;
      Hasher& bank = algorithm == HashAlgorithm::sha256 ? sha256_ : sha384_;
      GH_CHECK(add_template(index, bank, digest, path_, layer, number));
      if (has_alias) GH_CHECK(add_template(index, bank, digest, alias_, layer, number));
    }
    return {};
  }
  Result<void> add_template(Index index, Hasher& bank, std::string_view digest, std::string_view name,
                            std::uint32_t layer, std::uint32_t number) {
    template_.clear();
    ima::append_ng_template_data(template_, gatehouse::name(bank.algorithm()), as_bytes(digest), name);
    return parts(index).add(entry(hash_of(layer, as_text(bank(template_.view()).view())), number));
  }

  std::deque<EntryParts> parts_;
  FileWriter writer_;
  std::string staged_;        // of the package in hand
  std::string path_, alias_;  // of the file in hand
  Writer template_;
  Hasher sha256_{HashAlgorithm::sha256}, sha384_{HashAlgorithm::sha384};
  Digest content_ = Digest::filled(32, std::byte{0});
  std::uint64_t packages_ = 0;
  std::vector<std::uint32_t> diverting_;
};

class Publication {
 public:
  Publication(std::string scratch, std::uint64_t number, const Generation* before, const Staging& staging,
              Changes changes)
      : scratch_(std::move(scratch)),
        before_(before),
        staging_(staging),
        records_(std::move(changes.records)),
        spill_(scratch_),
        contents_(scratch_ + "/contents", Table::Kind::text),
        packages_(scratch_ + "/packages", Table::Kind::text),
        indexes_(scratch_ + "/indexes", Table::Kind::hashes),
        filters_(scratch_ + "/filters", Table::Kind::hashes) {
    if (before != nullptr) totals_ = before->totals();
    totals_.generation = number;
    for (const Inclusion& i : totals_.inclusions) take_from(totals_.content, digest_of(i).view());
    for (const Inclusion& i : changes.inclusions) add_to(totals_.content, digest_of(i).view());
    totals_.inclusions = std::move(changes.inclusions);
    totals_.unseen = std::move(changes.unseen);
  }

  // Writes the tables that the database before doesn't have.
  Result<void> write() {
    for (const StagedRecord& r : records_) GH_CHECK(replace(r));
    std::ranges::sort(totals_.gone, {}, &Gone::package);
    std::erase_if(totals_.unseen, [&](const Unseen& u) {
      return std::ranges::binary_search(totals_.gone, u.package, {}, &Gone::package);
    });
    if (!records_.empty()) {
      choose_runs();
      GH_CHECK(plan());
      GH_CHECK(move_contents());
      GH_CHECK(write_packages());
      GH_CHECK(write_indexes());
    }
    Table totals(scratch_ + "/totals", Table::Kind::text);
    GH_CHECK(totals.put(totals_key(totals_.generation), encode(totals_)));
    // Each waits for the disk; together they wait once.
    Table* const tables[] = {&totals, &contents_, &packages_, &indexes_, &filters_};
    return in_turns(
        std::size(tables), unsigned(std::size(tables)), [&](std::size_t n, unsigned) { return tables[n]->finish(); },
        [&](std::size_t, std::string&& path) -> Result<void> {
          if (!path.empty()) tables_.push_back(std::move(path));
          return {};
        });
  }
  const Totals& totals() const { return totals_; }
  const std::vector<std::string>& tables() const { return tables_; }
  // Keys from the first to before the second: rows of the database before that are in the tables, or of no use.
  const std::vector<std::pair<std::string, std::string>>& superseded() const { return superseded_; }

 private:
  Result<void> replace(const StagedRecord& r) {
    if (r.replaces == 0) return {};
    GH_TRY(const Package old, before_->package(r.replaces));
    totals_.files -= old.files - old.uncounted;
    if (!old.name.empty()) --totals_.packages;
    take_from(totals_.content, as_bytes(old.digest));
    totals_.gone.push_back({r.replaces, old.first_file, old.files});
    std::erase(totals_.diverting, r.replaces);
    return {};
  }

  // Which of the runs, all of them at the end of the list, become one with the new.
  void choose_runs() {
    std::uint64_t files = 0;
    for (const StagedRecord& r : records_) files += r.place.files;
    while (!totals_.runs.empty() &&
           (totals_.runs.back().files <= small_run || totals_.runs.back().files <= much_larger * files)) {
      files += totals_.runs.back().files;
      merged_.insert(merged_.begin(), totals_.runs.back());
      totals_.runs.pop_back();
    }
    run_.number = totals_.next_run++;
    run_.files = files;
    run_.first_package = merged_.empty() ? totals_.next_package : merged_.front().first_package;
    run_.first_file = merged_.empty() ? totals_.next_file : merged_.front().first_file;
    for (const Run& run : merged_) {
      superseded_.emplace_back(bucket_key(run.number, Index{}, 0), bucket_key(run.number + 1, Index{}, 0));
      superseded_.emplace_back(filter_key(run.number, Index{}, 0), filter_key(run.number + 1, Index{}, 0));
    }
  }

  Result<void> plan() {
    std::uint64_t file = totals_.next_file, in_piece = files_a_piece;
    std::uint64_t entries[index_count] = {};
    for (std::size_t i = 0; i < records_.size(); ++i) {
      const StagedRecord& r = records_[i];
      const bool has_blocks = r.place.files > files_a_block;
      if (in_piece >= files_a_piece || has_blocks) {
        file = (file + files_a_page - 1) / files_a_page * files_a_page;
        pieces_.push_back({i, 0, std::uint32_t(file), 0, 0});
        in_piece = 0;
      }
      if (has_blocks) {
        GH_CHECK(part(i));
        in_piece = (r.place.files - 1) % files_a_block + 1;
      } else {
        in_piece += r.place.files;
      }
      ++pieces_.back().records;
      file += r.place.files;
      if (file > UINT32_MAX - 2 * files_a_page || totals_.next_package + i >= UINT32_MAX)
        return fail(Error{Fault::limit, "the reference store has no numbers left", {}, 0, scratch_, {}});
      number(r.layer);
      const auto banks = std::uint64_t(r.algorithms);
      for (const auto& [index, times] : {std::pair(Index::template_sha256, (banks >> 1 & 1) * 2),
                                         {Index::template_sha384, (banks >> 2 & 1) * 2},
                                         {Index::digest, std::uint64_t(std::popcount(r.algorithms & 0x0FU))},
                                         {Index::path, std::uint64_t(1)}})
        entries[std::size_t(index)] += times * r.place.files;
    }
    for (const Index index : {Index::identity, Index::stamp}) entries[std::size_t(index)] = records_.size();
    // A page is of one run.
    next_file_ = std::uint32_t((file + files_a_page - 1) / files_a_page * files_a_page);
    for (std::size_t i = 0; i < index_count; ++i) {
      for (const Run& run : merged_) entries[i] += run.hashes[i].entries;
      part_bits_[i] = part_bits(entries[i]);
    }
    return {};
  }
  // The last piece, which begins with a package of several blocks, into one for each.
  Result<void> part(std::size_t record) {
    const StagedRecord& r = records_[record];
    const std::uint32_t first = pieces_.back().first_file;
    GH_TRY(const auto described, staging_.read(r.place));
    std::uint64_t block = described.second;
    for (std::uint32_t before = 0; before < r.place.files; before += files_a_block) {
      if (before != 0) {
        pieces_.back().records = 1;
        pieces_.push_back({record, 0, first + before, 0, before});
      }
      pieces_.back().block = block;
      GH_TRY(block, staging_.skip_block(r.place, block));
    }
    return {};
  }
  void number(const ProductLayer& layer) {
    const auto at = std::ranges::lower_bound(totals_.layers, layer, {}, &std::pair<ProductLayer, std::uint32_t>::first);
    if (at == totals_.layers.end() || at->first != layer) totals_.layers.emplace(at, layer, totals_.next_layer++);
  }

  // Rows of the merged runs that aren't large, so that the number of tables stays small.
  Result<void> move_contents() {
    std::size_t first = merged_.size();
    while (first != 0 && merged_[first - 1].files <= most_files_to_move) --first;
    if (first == merged_.size()) return {};
    const Run& run = merged_[first];
    for (const auto& [table, from, to] :
         {std::tuple(&contents_, page_key(run.first_file / files_a_page),
                     page_key(pieces_.front().first_file / files_a_page)),
          {&packages_, package_key(run.first_package), package_key(totals_.next_package)}}) {
      const std::unique_ptr<rocksdb::Iterator> it(before_->db().NewIterator(rocksdb::ReadOptions()));
      for (it->Seek(from); it->Valid() && it->key().compare(to) < 0; it->Next())
        GH_CHECK(table->put(it->key().ToString(), text_of(it->value())));
      if (!it->status().ok()) return store_error("can't read the generation before", before_->path(), it->status());
      superseded_.emplace_back(from, to);
    }
    return {};
  }

  Result<void> write_packages() {
    for (unsigned t = 0; t < threads(); ++t) workers_.emplace_back(spill_, part_bits_);
    const std::uint32_t first_package = totals_.next_package;
    const auto compute = [&](std::size_t n, unsigned worker) -> Result<PieceRows> {
      const Piece& piece = pieces_[n];
      PieceRows out;
      std::string& rows = workers_[worker].staged();
      std::uint32_t file = piece.first_file;
      for (std::size_t i = piece.first_record; i < piece.first_record + piece.records; ++i) {
        const StagedRecord& r = records_[i];
        const std::uint32_t layer = totals_.number_of(r.layer), package = first_package + std::uint32_t(i);
        GH_TRY(const auto described, staging_.read(r.place));
        const auto& [staged, first_block] = described;
        std::uint32_t before = 0, files = r.place.files;
        std::uint64_t block = first_block;
        if (i == piece.first_record && piece.block != 0) {
          before = piece.files_before;
          files = std::min(files - before, files_a_block);
          block = piece.block;
        }
        if (before == 0) GH_CHECK(workers_[worker].take_package(staged, layer, package, file, out));
        if (files != 0) {
          GH_CHECK(staging_.read_block(r.place, block, rows));
          GH_TRY(const bool whole, workers_[worker].take_files(rows, layer, package, file, files, out));
          if (!whole) return store_error("what was staged is damaged", scratch_, staged.source);
        }
        file += files;
      }
      if (!out.pages.empty()) out.page_ends.push_back(out.pages.size());
      return out;
    };
    const auto write = [&](std::size_t n, PieceRows&& rows) -> Result<void> {
      std::uint32_t page = pieces_[n].first_file / files_a_page;
      std::size_t begin = 0;
      for (const std::size_t end : rows.page_ends) {
        GH_CHECK(contents_.put(page_key(page++), std::string_view(rows.pages).substr(begin, end - begin)));
        begin = end;
      }
      std::uint32_t package = first_package + std::uint32_t(pieces_[n].first_record) + (pieces_[n].files_before != 0);
      for (const std::string& row : rows.packages) GH_CHECK(packages_.put(package_key(package++), row));
      return {};
    };
    GH_CHECK(in_turns(pieces_.size(), threads(), compute, write));
    for (const Worker& worker : workers_) {
      add_to(totals_.content, worker.content().view());
      totals_.packages += worker.packages();
      totals_.diverting.insert(totals_.diverting.end(), worker.diverting().begin(), worker.diverting().end());
    }
    std::ranges::sort(totals_.diverting);
    for (const StagedRecord& r : records_) totals_.files += r.place.files - r.place.uncounted;
    totals_.next_package += std::uint32_t(records_.size());
    totals_.next_file = next_file_;
    return {};
  }

  Result<void> write_indexes() {
    for (std::size_t i = 0; i < index_count; ++i) {
      const auto index = Index(i);
      std::uint64_t entries = 0;
      for (Worker& worker : workers_) entries += worker.parts(index).count();
      for (const Run& run : merged_) entries += run.hashes[i].entries;
      const unsigned known = part_bits_[i];
      const auto bits = std::uint8_t(std::max<unsigned>(known, bits_for(entries)));
      std::uint64_t written = 0;
      // Each part has blocks of its own, so that threads don't meet there.
      const bool filtered = i < filtered_count && entries != 0;
      const unsigned filter_bits = std::max(known, filtered ? Filter::bits_for(entries) : 0);
      Filter filter(filtered ? filter_bits : 0);
      const auto compute = [&](std::size_t part, unsigned) -> Result<BucketRows> {
        std::vector<Entry> all;
        for (Worker& worker : workers_) GH_CHECK(worker.parts(index).gather(part, all));
        GH_CHECK(add_merged(index, part, known, all));
        if (filtered)
          for (const Entry& e : all) filter.add(e.hash());
        const auto ends = sort_into_buckets(all, known, bits);
        BucketRows out;
        std::size_t begin = 0;
        for (std::size_t b = 0; b < ends.size(); ++b) {
          const std::size_t end = ends[b];
          if (begin == end) continue;
          append_bucket(out.values, std::span(all).subspan(begin, end - begin), bits);
          out.ends.emplace_back(std::uint32_t(part << (bits - known) | b), out.values.size());
          begin = end;
        }
        return out;
      };
      const auto write = [&](std::size_t, BucketRows&& rows) -> Result<void> {
        std::size_t begin = 0;
        for (const auto& [bucket, end] : rows.ends) {
          GH_CHECK(indexes_.put(bucket_key(run_.number, index, bucket),
                                std::string_view(rows.values).substr(begin, end - begin)));
          begin = end;
        }
        written += begin / (bytes_kept(bits) + 4);
        return {};
      };
      GH_CHECK(in_turns(std::size_t(1) << known, threads(), compute, write));
      run_.hashes[i] = {written, bits, std::uint8_t(filtered ? filter_bits : 0)};
      if (written == 0 || !filtered) continue;
      for (std::size_t n = 0; n < filter.rows(); ++n)
        GH_CHECK(filters_.put(filter_key(run_.number, index, std::uint32_t(n)), filter.row(n)));
    }
    totals_.runs.push_back(run_);
    return {};
  }
  // Entries of the merged runs that count.
  Result<void> add_merged(Index index, std::size_t part, unsigned known, std::vector<Entry>& out) const {
    const std::uint64_t width = known == 0 ? UINT64_MAX : (std::uint64_t(1) << (64 - known)) - 1;
    const std::uint64_t first = known == 0 ? 0 : std::uint64_t(part) << (64 - known);
    const auto is_gone = [&](const Entry& e) {
      if (!leads_to_packages(index)) return gone(e.number);
      return std::ranges::binary_search(totals_.gone, e.number, {}, &Gone::package);
    };
    for (const Run& run : merged_) {
      if (run.hashes[std::size_t(index)].entries == 0) continue;
      RunReader reader(*before_, run, index, first, first + width);
      for (;;) {
        GH_TRY(const auto entries, reader.next());
        if (entries.empty()) break;
        for (const Entry& e : entries)
          if (totals_.gone.empty() || !is_gone(e)) out.push_back(e);
      }
    }
    return {};
  }
  bool gone(std::uint32_t file) const {
    const auto after = std::upper_bound(totals_.gone.begin(), totals_.gone.end(), file,
                                        [](std::uint32_t n, const Gone& g) { return n < g.first_file; });
    return after != totals_.gone.begin() && file - std::prev(after)->first_file < std::prev(after)->files;
  }

  const std::string scratch_;
  const Generation* const before_;
  const Staging& staging_;
  const std::vector<StagedRecord> records_;
  Totals totals_;
  Run run_;
  std::vector<Run> merged_;
  std::vector<Piece> pieces_;
  unsigned part_bits_[index_count] = {};
  std::uint32_t next_file_ = 0;
  Spill spill_;
  std::deque<Worker> workers_;
  Table contents_, packages_, indexes_, filters_;
  std::vector<std::string> tables_;
  std::vector<std::pair<std::string, std::string>> superseded_;
};

// Tables never change: they are shared with the generation before, the few small files are copied.
Result<void> share_tables(const std::string& from, const std::string& to) {
  std::error_code ec, bad;
  fs::create_directories(to, ec);
  for (const auto& entry : fs::directory_iterator(from, ec)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".sst"))
      fs::create_hard_link(entry.path(), to + "/" + name, bad);
    else if (name.starts_with("CURRENT") || name.starts_with("MANIFEST") || name.starts_with("IDENTITY") ||
             name.ends_with(".log"))
      fs::copy_file(entry.path(), to + "/" + name, bad);
    if (bad) break;
  }
  if (bad || ec) return store_error("can't begin the generation", to, (bad ? bad : ec).message());
  return {};
}

Result<void> add_tables(const std::string& database, const Publication& publication, const Generation* before) {
  rocksdb::Options o = options();
  o.create_if_missing = true;
  rocksdb::DB* raw = nullptr;
  rocksdb::Status s = rocksdb::DB::Open(o, database, &raw);
  if (!s.ok()) return store_error("can't make the generation", database, s);
  const std::unique_ptr<rocksdb::DB> db(raw);
  auto superseded = publication.superseded();
  if (before != nullptr) superseded.emplace_back("T", "U");
  for (const auto& [from, to] : superseded) {
    const rocksdb::Slice first(from), last(to);
    s = rocksdb::DeleteFilesInRange(db.get(), db->DefaultColumnFamily(), &first, &last, false);
    if (!s.ok()) return store_error("can't leave out what was merged", database, s);
  }
  rocksdb::IngestExternalFileOptions ingest;
  ingest.move_files = true;
  ingest.failed_move_fall_back_to_copy = true;
  s = db->IngestExternalFile(publication.tables(), ingest);
  if (!s.ok()) return store_error("can't take the references in", database, s);
  return {};
}

}  // namespace

Result<Totals> make_database(const std::string& database, const std::string& scratch, std::uint64_t number,
                             const Generation* before, const Staging& staging, Changes changes) {
  Publication publication(scratch, number, before, staging, std::move(changes));
  GH_CHECK(publication.write());
  if (before != nullptr) GH_CHECK(share_tables(before->path(), database));
  GH_CHECK(add_tables(database, publication, before));
  return publication.totals();
}

}  // namespace gatehouse::refdb
