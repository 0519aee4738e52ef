#include "refdb/store/generation.h"

#include <sys/file.h>

#include <algorithm>

namespace gatehouse::refdb {

Result<std::unique_ptr<Generation>> Generation::open(const std::string& store, std::uint64_t number) {
  const std::string where = generation_path(store, number);
  GH_TRY(Hold hold, Hold::take(where, LOCK_SH));
  GH_TRY(auto db, open_db(where));
  std::unique_ptr<Generation> out(new Generation(where, std::move(hold), std::move(db)));
  std::string value;
  const rocksdb::Status s = out->db_->Get(rocksdb::ReadOptions(), totals_key(number), &value);
  if (!s.ok()) return store_error("the generation is damaged: it has no totals", where, s);
  if (!decode(value, out->totals_) || out->totals_.generation != number)
    return store_error("the generation is damaged: its contents are another's", where,
                       std::to_string(out->totals_.generation));
  out->filters_.resize(out->totals_.runs.size());
  return out;
}

Result<bool> Generation::may_have(std::size_t run, Index index, std::uint64_t hash) const {
  if (std::size_t(index) >= filtered_count) return true;
  LazyFilter& lazy = filters_[run][std::size_t(index)];
  std::call_once(lazy.read, [&] {
    const Run& of = totals_.runs[run];
    lazy.filter = Filter(of.hashes[std::size_t(index)].filter_bits);
    for (std::size_t n = 0; lazy.good && n < lazy.filter.rows(); ++n) {
      rocksdb::PinnableSlice row;
      lazy.good = read(filter_key(of.number, index, std::uint32_t(n)), "can't read an index", row);
      if (lazy.good && !lazy.filter.set_row(n, text_of(row)))
        lazy.good = damaged("the generation is damaged: a filter isn't one");
    }
  });
  if (!lazy.good) return std::unexpected(lazy.good.error());
  return lazy.filter.may_have(hash);
}

std::unexpected<Error> Generation::damaged(std::string_view what) const {
  return store_error(what, path_, std::string());
}

Result<void> Generation::read(const std::string& key, std::string_view what, rocksdb::PinnableSlice& out) const {
  const rocksdb::Status s = db_->Get(rocksdb::ReadOptions(), db_->DefaultColumnFamily(), key, &out);
  if (!s.ok()) return store_error(what, path_, s);
  return {};
}

bool Generation::file_is_gone(std::uint32_t number) const {
  const auto after = std::upper_bound(totals_.gone.begin(), totals_.gone.end(), number,
                                      [](std::uint32_t n, const Gone& g) { return n < g.first_file; });
  return after != totals_.gone.begin() && number - std::prev(after)->first_file < std::prev(after)->files;
}

bool Generation::package_is_gone(std::uint32_t number) const {
  return std::ranges::binary_search(totals_.gone, number, {}, &Gone::package);
}

Result<std::vector<std::uint32_t>> Generation::find(Index index, std::uint64_t hash) const {
  std::vector<std::uint32_t> out;
  for (std::size_t i = 0; i < totals_.runs.size(); ++i) {
    const Run& run = totals_.runs[i];
    const Run::Hashes& hashes = run.hashes[std::size_t(index)];
    if (hashes.entries == 0) continue;
    GH_TRY(const bool possible, may_have(i, index, hash));
    if (!possible) continue;
    rocksdb::PinnableSlice bucket;
    const rocksdb::Status s = db_->Get(rocksdb::ReadOptions(), db_->DefaultColumnFamily(),
                                       bucket_key(run.number, index, bucket_of(hash, hashes.bits)), &bucket);
    if (s.IsNotFound()) continue;
    if (!s.ok()) return store_error("can't read an index", path_, s);
    if (!find_in_bucket(text_of(bucket), hashes.bits, hash, out))
      return damaged("the generation is damaged: an index isn't one");
  }
  if (!totals_.gone.empty())
    std::erase_if(out,
                  [&](std::uint32_t n) { return leads_to_packages(index) ? package_is_gone(n) : file_is_gone(n); });
  return out;
}

Result<void> Generation::file(std::uint32_t number, const std::function<void(const FileRow&)>& use) const {
  rocksdb::PinnableSlice page;
  GH_CHECK(read(page_key(number / files_a_page), "can't read references", page));
  FileReader files(text_of(page));
  for (std::uint32_t n = number % files_a_page;; --n) {
    const FileRow* const row = files.next();
    if (row == nullptr) return damaged("the generation is damaged: a file isn't where the index says");
    if (n != 0) continue;
    use(*row);
    return {};
  }
}

Result<Package> Generation::package(std::uint32_t number) const {
  rocksdb::PinnableSlice value;
  GH_CHECK(read(package_key(number), "can't read a package", value));
  Package out;
  if (!decode(text_of(value), out)) return damaged("the generation is damaged: a package isn't one");
  return out;
}

Result<void> Generation::each_package(const std::function<void(std::uint32_t, Package&&)>& use) const {
  return each_package_view([&](std::uint32_t id, const PackageView& p) {
    use(id, Package{p.layer, std::string(p.name), std::string(p.version), std::string(p.architecture),
                    std::string(p.source), std::string(p.digest), std::string(p.identity), std::string(p.stamp),
                    std::string(p.diversions),
                    p.format, p.ingested, p.first_seen, p.algorithms, p.first_file, p.files, p.uncounted});
  });
}

Result<void> Generation::each_package_view(
    const std::function<void(std::uint32_t, const PackageView&)>& use) const {
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions()));
  std::uint64_t packages = 0;
  for (it->Seek("k"); it->Valid() && it->key().starts_with("k"); it->Next()) {
    std::string_view key = text_of(it->key()).substr(1);
    const auto id = refdb::number<std::uint32_t>(key);
    if (package_is_gone(id)) continue;
    PackageView p;
    if (!decode(text_of(it->value()), p)) return damaged("the generation is damaged: a package isn't one");
    packages += !p.name.empty();
    use(id, p);
  }
  if (!it->status().ok()) return store_error("can't read the packages", path_, it->status());
  if (packages != totals_.packages) return damaged("the generation is damaged: packages are missing");
  return {};
}

Result<void> Generation::each_file(const Package& package, const std::function<void(const FileRow&)>& use) const {
  const std::uint64_t end = std::uint64_t(package.first_file) + package.files;
  for (std::uint64_t at = package.first_file; at < end;) {
    rocksdb::PinnableSlice page;
    GH_CHECK(read(page_key(std::uint32_t(at / files_a_page)), "can't read references", page));
    FileReader files(text_of(page));
    for (std::uint64_t n = at - at % files_a_page; n < std::min(end, (at / files_a_page + 1) * files_a_page); ++n) {
      const FileRow* const row = files.next();
      if (row == nullptr) return damaged("the generation is damaged: a package lacks files");
      if (n >= at) use(*row);
    }
    at = (at / files_a_page + 1) * files_a_page;
  }
  return {};
}

Result<void> Generation::verify() const {
  const rocksdb::Status s = db_->VerifyChecksum();
  if (!s.ok()) return store_error("the generation is damaged", path_, s);
  Digest content = Digest::filled(32, std::byte{0});
  GH_CHECK(each_package([&](std::uint32_t, Package&& p) { add_to(content, as_bytes(p.digest)); }));
  if (content != totals_.content)
    return damaged("the generation is damaged: its packages aren't those of its content digest");
  return {};
}

RunReader::RunReader(const Generation& generation, const Run& run, Index index, std::uint64_t first, std::uint64_t last)
    : generation_(generation),
      bits_(run.hashes[std::size_t(index)].bits),
      first_(first),
      last_(last),
      end_(bucket_key(run.number, index, bucket_of(last, bits_))),
      it_(generation.db().NewIterator(rocksdb::ReadOptions())) {
  it_->Seek(bucket_key(run.number, index, bucket_of(first, bits_)));
}

Result<std::span<const Entry>> RunReader::next() {
  entries_.clear();
  while (entries_.empty()) {
    if (!it_->Valid() || it_->key().compare(end_) > 0) {
      if (!it_->status().ok()) return store_error("can't read an index", generation_.path(), it_->status());
      return std::span<const Entry>();
    }
    std::string_view key = text_of(it_->key());
    key.remove_prefix(key.size() - std::min<std::size_t>(key.size(), 4));
    if (!read_bucket(text_of(it_->value()), bits_, number<std::uint32_t>(key), entries_))
      return store_error("the generation is damaged: an index isn't one", generation_.path(), std::string());
    it_->Next();
    std::erase_if(entries_, [&](const Entry& e) { return e.hash() < first_ || e.hash() > last_; });
  }
  return std::span<const Entry>(entries_);
}

Result<std::uint64_t> Generation::count_digests() const {
  // The runs side by side, the smallest hash first.
  struct Side {
    RunReader reader;
    std::span<const Entry> rest;
  };
  std::vector<std::unique_ptr<Side>> sides;
  for (const Run& run : totals_.runs) {
    if (run.hashes[std::size_t(Index::digest)].entries == 0) continue;
    sides.push_back(std::make_unique<Side>(Side{RunReader(*this, run, Index::digest, 0, UINT64_MAX), {}}));
    GH_TRY(sides.back()->rest, sides.back()->reader.next());
  }
  std::uint64_t count = 0, last = 0;
  for (;;) {
    std::erase_if(sides, [](const auto& s) { return s->rest.empty(); });
    if (sides.empty()) return count;
    Side& side = **std::ranges::min_element(sides, {}, [](const auto& s) { return s->rest.front().hash(); });
    const Entry e = side.rest.front();
    side.rest = side.rest.subspan(1);
    if (side.rest.empty()) {
      GH_TRY(side.rest, side.reader.next());
    }
    if (file_is_gone(e.number) || (count != 0 && e.hash() == last)) continue;
    ++count;
    last = e.hash();
  }
}

}  // namespace gatehouse::refdb
