#include "refdb/store/builder.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <filesystem>
#include <map>
#include <mutex>
#include <unordered_map>

#include "base/descriptor.h"
#include "base/file.h"
#include "base/release.h"
#include "refdb/alias/alias.h"
#include "refdb/store/open.h"
#include "refdb/store/package_files.h"
#include "refdb/store/publication.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;

std::uint8_t bit_of(HashAlgorithm a) {
  for (std::size_t i = 0; i < std::size(common_banks); ++i)
    if (common_banks[i] == a) return std::uint8_t(1U << i);
  return 0;
}
std::uint8_t bits_of(const std::vector<HashAlgorithm>& algorithms) {
  std::uint8_t out = 0;
  for (const HashAlgorithm a : algorithms) out = std::uint8_t(out | bit_of(a));
  return out;
}
// A package's files on their way to being staged, in the order of their paths; what is said of all of them.
class Encoder {
 public:
  Encoder(StagedPackage& staged, StagedRows& rows) : staged_(staged), rows_(rows), content_(staged) {
    staged.algorithms = 0x0F;  // that every file has
    staged.files = staged.uncounted = 0;
    staged.bytes = 0;
    rows.clear();
  }
  // False: its path doesn't come after that of the one before.
  Result<bool> add(const FileRow& row, RowKind kind) {
    if (staged_.files == UINT32_MAX)
      return fail(Error{Fault::limit, "more files than allowed", {}, 0, staged_.source, {}});
    GH_TRY(const bool in_order, rows_.append(row));
    row.append_logical(content_.text());
    content_.flush_if_long();
    std::uint8_t own = 0;
    for (std::size_t i = 0; i < row.digests; ++i) own = std::uint8_t(own | bit_of(row.contents[i].algorithm));
    staged_.algorithms &= own;
    staged_.uncounted += kind != RowKind::file;
    staged_.bytes += kind == RowKind::further ? 0 : row.size;
    ++staged_.files;
    return in_order || kind == RowKind::further;
  }
  void finish() { staged_.content = content_.finish(); }

 private:
  StagedPackage& staged_;
  StagedRows& rows_;
  ContentHasher content_;
};

// With one SHA-256, in Debian.
constexpr std::size_t usual_row_bytes = 80;

// A large package's paths and digests are in no cache, and waiting for each was a quarter of the time.
constexpr std::size_t files_ahead = 8;
void prefetch(const ReferenceFile& f) {
  // Mostly two cache lines each.
  __builtin_prefetch(f.path.data());
  __builtin_prefetch(f.path.data() + f.path.size());
  __builtin_prefetch(f.digests.data());
  __builtin_prefetch(f.digests.data() + f.digests.size());
}

Result<void> encode_files(std::vector<ReferenceFile>& files, StagedPackage& staged, StagedRows& rows) {
  // One look at each file while it is at hand, as most come in order.
  for (bool in_order = true;; in_order = true) {
    Encoder encoder(staged, rows);
    rows.reserve(files.size() * usual_row_bytes);
    FileRow row;
    for (std::size_t i = 0; i < files.size(); ++i) {
      if (i + files_ahead < files.size()) prefetch(files[i + files_ahead]);
      ReferenceFile& f = files[i];
      GH_CHECK(put_in_order(f));
      if (!in_order) continue;
      set_row(row, f);
      GH_TRY(in_order, encoder.add(row, f.is_extra ? RowKind::extra : RowKind::file));
      for (const FileContent& c : f.further) {
        set_content(row, c);
        GH_CHECK(encoder.add(row, RowKind::further));
      }
    }
    encoder.finish();
    if (in_order) return {};
    put_in_order(files);
  }
}

Result<StagedPackage> describe(const ReferencePackage& p) {
  for (const std::string* s : {&p.product, &p.name, &p.version, &p.architecture, &p.source})
    if (s->size() > UINT16_MAX)
      return fail(Error{Fault::limit, "a name longer than 65,535 bytes", {}, 0, p.source, {}});
  StagedPackage staged;
  staged.layer = {p.product, p.layer};
  staged.name = p.name;
  staged.version = p.version;
  staged.architecture = p.architecture;
  staged.source = p.source;
  staged.format = p.format;
  staged.ingested = p.ingested != 0 ? p.ingested : std::time(nullptr);
  staged.first_seen = p.first_seen != 0 ? p.first_seen : staged.ingested;
  if (p.stamp) staged.stamp = *p.stamp;
  for (const Diversion& d : p.diversions)
    for (const std::string* path : {&d.path, &d.to}) put_text(staged.diversions, *path);
  if (staged.diversions.size() > UINT16_MAX)
    return fail(Error{Fault::limit, "more diversions than allowed", {}, 0, p.source, {}});
  return staged;
}

struct Key {
  std::uint32_t layer = 0;
  std::array<std::byte, 32> identity{};
  friend bool operator==(const Key&, const Key&) = default;
};
struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::size_t out = 0;
    std::memcpy(&out, key.identity.data(), sizeof out);
    return out + key.layer;
  }
};

// What was taken in, by this ingestion or the one before that didn't come to its end.
struct Record {
  Staging::Place place;
  std::uint64_t bytes = 0;
  std::uint32_t layer = 0;  // as in the key
  std::uint32_t replaces = 0;
  std::uint8_t algorithms = 0;
  bool is_package = false, wanted = false;
};

}  // namespace

struct Builder::State {
  std::string path;
  Descriptor lock;
  std::uint64_t current = 0;
  // Whose contents the next one begins with: the current's, but for a roll-back. nullptr: there is none yet.
  std::unique_ptr<Generation> base;
  bool force = false;         // publish without anything new
  std::string import_record;  // of the export that the contents are of; empty: they were made here

  mutable std::mutex mutex;
  std::optional<Staging> staging;
  std::vector<ProductLayer> layers;
  std::vector<Record> records;
  std::unordered_map<Key, std::size_t, KeyHash> by_identity;
  std::vector<Inclusion> inclusions;
  std::vector<Unseen> unseen;  // by number
  bool changed = false;

  // What the base has of a package. Number 0: it hasn't it.
  struct Known {
    std::uint32_t number = 0;
    std::uint8_t algorithms = 0;
  };
  // By its identity, or its stamp.
  Result<Known> in_base(const ProductLayer& layer, const Digest& identity, Index by = Index::identity);
  // Who asks for many packages, of a repository or a folder, has all of the base read at once: for each one alone the
  // index and the package cost ten times as much.
  struct KnownKey {
    std::uint64_t hash = 0;
    std::array<std::byte, 32> key{};
    std::uint32_t layer = 0;
    Known known;
  };
  struct KnownPackages {
    std::atomic<unsigned> asked{0};
    std::once_flag read;
    Result<void> good;
    std::vector<KnownKey> by[2];  // identity, stamp; by hash
  };
  static constexpr unsigned asked_alone = 64;
  KnownPackages known;
  void read_known();
  // The rest under the mutex.
  Key key(const ProductLayer& layer, const Digest& identity);
  Record* find(const ProductLayer& layer, const Digest& identity);
};

Result<Builder::State::Known> Builder::State::in_base(const ProductLayer& layer, const Digest& identity, Index by) {
  const std::uint32_t in = base == nullptr ? 0 : base->totals().number_of(layer);
  if (in == 0) return Known{};
  const std::string_view wanted = as_text(identity.view());
  const std::uint64_t hash = hash_of(in, wanted);
  if (known.asked.load(std::memory_order_relaxed) < asked_alone) {
    known.asked.fetch_add(1, std::memory_order_relaxed);
    GH_TRY(const auto numbers, base->find(by, hash));
    for (const std::uint32_t number : numbers) {
      GH_TRY(const Package package, base->package(number));
      const std::string& is = by == Index::identity ? package.identity : package.stamp;
      if (package.layer == in && is == wanted) return Known{number, package.algorithms};
    }
    return Known{};
  }
  std::call_once(known.read, [&] { read_known(); });
  if (!known.good) return std::unexpected(known.good.error());
  const auto& all = known.by[by == Index::stamp];
  for (auto at = std::ranges::lower_bound(all, hash, {}, &KnownKey::hash); at != all.end() && at->hash == hash; ++at)
    if (at->layer == in && as_text(at->key) == wanted) return at->known;
  return Known{};
}

void Builder::State::read_known() {
  const auto add = [](std::vector<KnownKey>& to, std::string_view key, std::uint32_t number, const PackageView& p) {
    KnownKey& out = to.emplace_back(KnownKey{hash_of(p.layer, key), {}, p.layer, {number, p.algorithms}});
    std::ranges::copy(as_bytes(key), out.key.begin());
  };
  known.good = base->each_package_view([&](std::uint32_t number, const PackageView& p) {
    add(known.by[0], p.identity, number, p);
    if (p.stamp.size() == 32) add(known.by[1], p.stamp, number, p);
  });
  for (auto& all : known.by)
    std::ranges::sort(all, {}, [](const KnownKey& k) { return std::pair(k.hash, k.known.number); });
}

Key Builder::State::key(const ProductLayer& layer, const Digest& identity) {
  const auto at = std::ranges::find(layers, layer);
  Key out{std::uint32_t(at - layers.begin()), {}};
  if (at == layers.end()) layers.push_back(layer);
  std::ranges::copy(identity.view(), out.identity.begin());
  return out;
}

Record* Builder::State::find(const ProductLayer& layer, const Digest& identity) {
  const auto at = by_identity.find(key(layer, identity));
  return at == by_identity.end() ? nullptr : &records[at->second];
}

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
  s->lock = Descriptor(::open((path + "/LOCK").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!s->lock) return fail_errno("can't lock the reference store", path);
  if (::flock(s->lock.get(), LOCK_EX | LOCK_NB) != 0)
    return store_error("another ingestion is going on", path, std::string());
  GH_CHECK(write_format(path));
  GH_TRY(s->current, current_generation(path));
  const std::uint64_t base = generation.value_or(s->current);
  if (base > s->current || (generation && (base == 0 || !fs::exists(generation_path(path, base)))))
    return fail(Error{Fault::usage, "no such generation", {}, 0, generation_path(path, base), {}});
  if (base != 0) {
    GH_TRY(s->base, Generation::open(path, base));
    s->inclusions = s->base->totals().inclusions;
    s->unseen = s->base->totals().unseen;
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
  if (generation) Staging::remove(path);
  GH_TRY(Staging staging, Staging::open(path, s->current));
  for (const auto& [place, p] : staging.take_found()) {
    const Key key = s->key(p.layer, p.identity);
    s->by_identity[key] = s->records.size();
    s->records.push_back({place, p.bytes, key.layer, 0, p.algorithms, !p.name.empty(), false});
  }
  s->staging.emplace(std::move(staging));
  return Builder(std::move(s));
}

Result<bool> Builder::known(const ProductLayer& layer, const Digest& identity,
                            std::vector<HashAlgorithm>& algorithms) const {
  GH_TRY(const auto before, state_->in_base(layer, identity));
  std::uint8_t have = before.algorithms;
  bool found = before.number != 0;
  {
    const std::lock_guard lock(state_->mutex);
    if (const Record* const record = state_->find(layer, identity); record != nullptr && record->wanted) {
      have = record->algorithms;
      found = true;
    }
  }
  if (found && (bits_of(algorithms) & ~have) == 0) return true;
  for (const HashAlgorithm a : common_banks)
    if ((have & bit_of(a)) != 0 && std::ranges::find(algorithms, a) == algorithms.end()) algorithms.push_back(a);
  return false;
}

Result<bool> Builder::known_by_stamp(const ProductLayer& layer, const Digest& stamp,
                                     const std::vector<HashAlgorithm>& algorithms) const {
  GH_TRY(const auto before, state_->in_base(layer, stamp, Index::stamp));
  return before.number != 0 && (bits_of(algorithms) & ~before.algorithms) == 0;
}

Result<std::optional<Added>> Builder::resume(const ProductLayer& layer, const Digest& identity,
                                             const std::vector<HashAlgorithm>& algorithms) {
  GH_TRY(const auto before, state_->in_base(layer, identity));
  const std::uint8_t have = before.algorithms;
  const std::lock_guard lock(state_->mutex);
  // Where the disk is full nothing need be decoded any more.
  GH_CHECK(state_->staging->check_whole());
  Record* const record = state_->find(layer, identity);
  if (record == nullptr || record->wanted || ((bits_of(algorithms) | have) & ~record->algorithms) != 0)
    return std::nullopt;
  record->wanted = true;
  record->replaces = before.number;
  state_->changed = true;
  return Added{record->place.files - record->place.uncounted, record->bytes, record->is_package};
}

Result<std::optional<Added>> Builder::add(ReferencePackage p) {
  GH_TRY(StagedPackage staged, describe(p));
  StagedRows rows(state_->path);
  GH_CHECK(encode_files(p.files, staged, rows));
  release(p.files);
  return stage(p, staged, rows);
}

PackageFiles Builder::files() const { return PackageFiles(state_->path); }

Result<std::optional<Added>> Builder::add(ReferencePackage p, PackageFiles files) {
  GH_TRY(StagedPackage staged, describe(p));
  StagedRows rows(state_->path);
  Encoder encoder(staged, rows);
  GH_CHECK(files.in_order([&](const FileRow& row, RowKind kind) -> Result<void> {
    GH_TRY(const bool in_order, encoder.add(row, kind));
    GH_ASSERT(in_order);
    return {};
  }));
  encoder.finish();
  return stage(p, staged, rows);
}

Result<std::optional<Added>> Builder::stage(const ReferencePackage& p, StagedPackage& staged, StagedRows& rows) {
  staged.identity = p.identity.value_or(staged.content);
  if (staged.identity.size != 32 || (p.stamp && p.stamp->size != 32))
    return fail(Error{Fault::internal, "an identity is a SHA-256", {}, 0, p.source, {}});

  std::vector<HashAlgorithm> algorithms;
  for (const HashAlgorithm a : common_banks)
    if ((staged.algorithms & bit_of(a)) != 0) algorithms.push_back(a);
  GH_TRY(const auto resumed, resume(staged.layer, staged.identity, algorithms));
  if (resumed) return resumed;
  GH_TRY(const auto before, state_->in_base(staged.layer, staged.identity));
  if (before.number != 0 && (staged.algorithms & ~before.algorithms) == 0) return std::nullopt;
  const std::lock_guard lock(state_->mutex);
  State& s = *state_;
  Record* const there = s.find(staged.layer, staged.identity);
  if (there != nullptr && there->wanted && (staged.algorithms & ~there->algorithms) == 0) return std::nullopt;
  GH_TRY(const Staging::Place place, s.staging->append(staged, rows));
  const Key key = s.key(staged.layer, staged.identity);
  if (there != nullptr) there->wanted = false;  // it came again with further algorithms
  s.by_identity[key] = s.records.size();
  s.records.push_back({place, staged.bytes, key.layer, before.number, staged.algorithms, !staged.name.empty(), true});
  s.changed = true;
  return Added{staged.files - staged.uncounted, staged.bytes, !staged.name.empty()};
}

Result<void> Builder::note_unseen(const ProductLayer& layer, std::string_view source, std::int64_t last,
                                  const std::function<bool(const Digest& identity)>& is_there) {
  State& s = *state_;
  const std::uint32_t in = s.base == nullptr ? 0 : s.base->totals().number_of(layer);
  if (in == 0) return {};
  std::vector<std::uint32_t> there, not_there;
  GH_CHECK(s.base->each_package([&](std::uint32_t number, Package&& p) {
    if (p.layer != in || !p.source.starts_with(source)) return;
    (is_there(Digest(as_bytes(p.identity))) ? there : not_there).push_back(number);
  }));
  const std::lock_guard lock(s.mutex);
  const std::size_t before = s.unseen.size();
  std::erase_if(s.unseen, [&](const Unseen& u) { return std::ranges::binary_search(there, u.package); });
  s.changed = s.changed || s.unseen.size() != before;
  const std::size_t known = s.unseen.size();
  for (const std::uint32_t package : not_there)
    if (!std::ranges::binary_search(s.unseen.begin(), s.unseen.begin() + std::ptrdiff_t(known), package, {},
                                    &Unseen::package))
      s.unseen.push_back({package, last});
  s.changed = s.changed || s.unseen.size() != known;
  std::ranges::sort(s.unseen, {}, &Unseen::package);
  return {};
}

Result<bool> Builder::include(const Inclusion& wanted) {
  for (const std::string* const name : {&wanted.into.product, &wanted.from})
    if (name->empty() || name->size() > UINT16_MAX)
      return fail(Error{Fault::usage, "a product's name has 1 to 65,535 bytes", {}, 0, {}, {}});
  if (wanted.into.product == wanted.from)
    return fail(Error{Fault::usage, "a product can't include itself", {}, 0, wanted.from, {}});
  const std::lock_guard lock(state_->mutex);
  auto& all = state_->inclusions;
  const auto at = std::ranges::lower_bound(all, wanted);
  if (at != all.end() && *at == wanted) return false;
  all.insert(at, wanted);
  return state_->changed = true;
}

bool Builder::exclude(const Inclusion& inclusion) {
  const std::lock_guard lock(state_->mutex);
  if (std::erase(state_->inclusions, inclusion) == 0) return false;
  return state_->changed = true;
}

Result<Published> Builder::publish() {
  State& s = *state_;
  GH_CHECK(s.staging->check_whole());
  if (!s.changed && !s.force) {
    Staging::remove(s.path);
    return Published{s.current, false, (s.base == nullptr ? Totals() : s.base->totals()).content.hex()};
  }
  const std::uint64_t next = s.current + 1;
  const std::string final = generation_path(s.path, next), beside = final + ".new", scratch = final + ".tables.new";
  std::error_code ec;
  for (const std::string& folder : {beside, scratch}) fs::remove_all(folder, ec);
  fs::create_directories(scratch, ec);
  if (ec) return store_error("can't begin the generation", scratch, ec.message());
  Changes changes{{}, s.inclusions, s.unseen};
  for (const Record& r : s.records)
    if (r.wanted) changes.records.push_back({r.place, s.layers[r.layer], r.algorithms, r.replaces});
  const auto made = make_database(beside, scratch, next, s.base.get(), *s.staging, std::move(changes));
  fs::remove_all(scratch, ec);
  const auto switch_over = [&]() -> Result<void> {
    if (!made) return std::unexpected(made.error());
    if (!s.import_record.empty())
      GH_CHECK(write_file_atomically(beside + "/" + import_name, as_bytes(s.import_record)));
    std::error_code bad;
    fs::rename(beside, final, bad);
    if (bad) return store_error("can't name the generation", final, bad.message());
    // The folder's name is on disk before the pointer that says it.
    GH_CHECK(sync_folder(s.path + "/generations"));
    return write_file_atomically(s.path + "/CURRENT", as_bytes(std::to_string(next) + "\n"));
  };
  if (auto switched = switch_over(); !switched) {
    for (const std::string& folder : {beside, final}) fs::remove_all(folder, ec);
    return std::unexpected(std::move(switched).error());
  }
  Staging::remove(s.path);
  s.current = next;
  s.changed = s.force = false;
  s.import_record.clear();
  return Published{next, true, made->content.hex()};
}

Result<Published> roll_back(const std::string& path, std::uint64_t generation) {
  GH_TRY(const std::uint64_t current, current_generation(path));
  if (generation == current)
    return fail(Error{Fault::usage, "this is the current generation", {}, 0, generation_path(path, generation), {}});
  GH_TRY(Builder builder, Builder::open_on(path, generation));
  builder.state_->force = true;
  const std::string record = generation_path(path, generation) + "/" + import_name;
  if (fs::exists(record)) {
    GH_TRY(const ByteVector text, read_file(record, 4096));
    builder.state_->import_record = as_text(text);
  }
  return builder.publish();
}

Result<Published> Builder::publish_from(std::unique_ptr<Generation> contents, std::string record) {
  state_->base = std::move(contents);
  state_->import_record = std::move(record);
  state_->force = true;
  return publish();
}

}  // namespace gatehouse::refdb
