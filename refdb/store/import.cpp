#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/file.h"
#include "base/reader.h"
#include "refdb/store/archive.h"
#include "refdb/store/builder.h"
#include "refdb/store/export_manifest.h"
#include "refdb/store/generation.h"
#include "refdb/store/generations.h"
#include "refdb/store/open.h"
#include "refdb/store/transfer.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view spec = "docs/formats/export.md";
constexpr std::size_t most_record_bytes = std::size_t(1) << 20;

// The export, from its beginning to its end. It may be a pipe.
class Archive {
 public:
  explicit Archive(const std::string& path) : path_(path) {}
  Result<void> open() {
    file_ = Descriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file_) return fail_errno("can't open", path_);
    return {};
  }
  // Fills `out`.
  Result<void> read(std::span<std::byte> out) {
    while (!out.empty()) {
      const ssize_t n = ::read(file_.get(), out.data(), out.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno("can't read", path_);
      if (n == 0) return bad("truncated");
      out = out.subspan(std::size_t(n));
      at_ += std::uint64_t(n);
    }
    return {};
  }
  Result<void> finish() {
    std::byte more{};
    const ssize_t n = ::read(file_.get(), &more, 1);
    if (n < 0) return fail_errno("can't read", path_);
    if (n != 0) return bad("bytes after the last file");
    return {};
  }
  std::uint64_t at() const { return at_; }
  std::unexpected<Error> bad(std::string_view why, Fault fault = Fault::malformed, std::string detail = {}) const {
    return fail(Error{fault, why, spec, std::size_t(at_), path_, std::move(detail)});
  }

 private:
  const std::string path_;
  Descriptor file_;
  std::uint64_t at_ = 0;
};

struct Opened {
  ExportManifest manifest;
  ImportRecord record;
  std::uint64_t bytes = 0;  // of the whole file
};

// Nothing of the manifest is looked at before its signature is good.
Result<Opened> open_archive(Archive& archive, const std::vector<VerifyingKey>& trusted) {
  std::byte head[archive_head_bytes];
  GH_CHECK(archive.read(head));
  Reader r(Bytes(head), spec);
  GH_TRY(const Bytes magic, r.take(archive_magic.size()));
  if (as_text(magic) != archive_magic) return archive.bad("not an export of references");
  GH_TRY(const Bytes id, r.take(32));
  GH_TRY(const Bytes signature, r.take(sizeof(Ed25519Signature)));
  GH_TRY(const std::uint32_t size, r.get<std::uint32_t>());
  if (size > ExportManifest::most_bytes) return archive.bad("a manifest longer than allowed", Fault::limit);
  Opened out;
  out.record.key = Digest(id);
  const auto key = std::ranges::find(trusted, out.record.key, &VerifyingKey::id);
  if (key == trusted.end())
    return archive.bad("signed by none of the keys that are trusted", Fault::denied,
                       "it names the key " + out.record.key.hex());
  ByteVector text;
  while (text.size() < size) {  // as it comes: a length costs no memory
    const std::size_t had = text.size();
    text.resize(std::min<std::size_t>(size, had + archive_block));
    GH_CHECK(archive.read(std::span(text).subspan(had)));
  }
  if (!key->verify(text, signature))
    return archive.bad("the signature isn't good", Fault::denied, "of key " + key->id().hex());
  auto manifest = parse_manifest(as_text(text));
  if (!manifest) {
    manifest.error().offset += archive_head_bytes;
    return archive.bad(manifest.error().reason);
  }
  out.manifest = *std::move(manifest);
  out.record.made = out.manifest.made;
  out.record.generation = out.manifest.generation;
  out.record.content = out.manifest.content;
  out.record.manifest = digest_of(HashAlgorithm::sha256, text);
  out.bytes = archive_head_bytes + size + out.manifest.bytes();
  return out;
}

Result<std::vector<ImportRecord>> read_records(const std::string& path) {
  if (!fs::exists(path)) return std::vector<ImportRecord>();
  GH_TRY(const ByteVector text, read_file(path, most_record_bytes));
  auto records = parse_records(as_text(text));
  if (!records) return store_error("the record of imports is damaged", path, std::string(records.error().reason));
  return records;
}
// What a generation came from; nullopt: it was made here.
Result<std::optional<ImportRecord>> origin_of(const std::string& store, std::uint64_t generation) {
  GH_TRY(const auto records, read_records(generation_path(store, generation) + "/" + import_name));
  if (records.size() != 1) return std::nullopt;
  return records.front();
}

// A folder that goes when this goes.
struct Scratch {
  const std::string path;
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

class Import {
 public:
  Import(const ImportOptions& options, Archive& archive, const Opened& opened)
      : options_(options),
        archive_(archive),
        manifest_(opened.manifest),
        record_(opened.record),
        bytes_(opened.bytes) {}

  // Is this wanted, by what was taken before? True: it is current already.
  Result<bool> check(std::uint64_t current) const {
    GH_TRY(const auto records, read_records(records_path()));
    std::optional<ImportRecord> origin;
    if (current != 0) {
      GH_TRY(origin, origin_of(options_.store, current));
    }
    if (origin && origin->key == record_.key && origin->manifest == record_.manifest) return true;
    std::int64_t newest = origin && origin->key == record_.key ? origin->made : 0;
    for (const ImportRecord& r : records)
      if (r.key == record_.key) newest = std::max(newest, r.made);
    if (record_.made < newest && !options_.allow_older)
      return archive_.bad("older than the export that was taken from this key before: an old file, or a rollback",
                          Fault::denied,
                          std::to_string((newest - record_.made) / 1'000'000) + " s older; --allow-older takes it");
    if (current != 0 && !origin && !options_.replace) {
      GH_TRY(const auto generation, Generation::open(options_.store, current));
      if (generation->totals().content != manifest_.content)
        return fail(
            Error{Fault::usage,
                  "what was ingested here isn't in the export, and wouldn't be current any more: --replace takes it",
                  {},
                  0,
                  generation_path(options_.store, current),
                  {}});
    }
    return false;
  }

  // Of the database that a delta is over; nullptr: of none.
  Result<std::unique_ptr<Generation>> find_base() const {
    if (!manifest_.base) return std::unique_ptr<Generation>();
    GH_TRY(const auto generations, list_generations(options_.store));
    bool same_contents = false;
    for (const GenerationInfo& g : generations) {
      if (!g.damage.empty() || g.content_digest != manifest_.base->content.hex()) continue;
      same_contents = true;
      auto generation = Generation::open(options_.store, g.number);
      if (!generation) continue;
      GH_TRY(const bool same, has_tables((*generation)->path()));
      if (same) return *std::move(generation);
    }
    GH_TRY(const std::string instead, what_to_export(generations));
    return archive_.bad(same_contents ? "the generation that this delta is over isn't the same here"
                                      : "the generation that this delta is over isn't here",
                        Fault::environment,
                        "generation " + std::to_string(manifest_.base->generation) + " of the exporter, content " +
                            manifest_.base->content.hex() + "; " + instead);
  }

  // The exporter's generation, as a store of its own in `folder`. Each file has what the manifest says before the
  // database is opened.
  Result<std::unique_ptr<Generation>> unpack(const std::string& folder, const Generation* base) {
    const std::string where = generation_path(folder, manifest_.generation);
    std::error_code ec;
    fs::create_directories(where, ec);
    if (ec) return store_error("can't begin the import", where, ec.message());
    for (const ExportManifest::File& f : manifest_.files) {
      const std::string path = where + "/" + f.name;
      if (f.in_base) {
        if (::link((base->path() + "/" + f.name).c_str(), path.c_str()) != 0)
          return fail_errno("can't link a table", path);
      } else if (f.name == repositories_name) {
        GH_CHECK(read_repositories(f));
      } else {
        GH_CHECK(unpack_file(f, path));
      }
    }
    GH_CHECK(archive_.finish());
    GH_CHECK(sync_folder(where));
    GH_TRY(auto generation, Generation::open(folder, manifest_.generation));
    GH_CHECK(generation->verify());
    const Totals& totals = generation->totals();
    if (totals.content != manifest_.content || totals.packages != manifest_.packages ||
        totals.files != manifest_.files_known)
      return archive_.bad("the contents aren't those that the manifest says", Fault::malformed, totals.content.hex());
    return generation;
  }

  // REPOSITORIES, where it comes first and nothing else is read.
  Result<void> read_beginning() {
    if (manifest_.files.front().name == repositories_name) GH_CHECK(read_repositories(manifest_.files.front()));
    return {};
  }
  // What is kept beside the generations, once this one is current.
  Result<void> settle() const {
    if (has_repositories_ && options_.repositories) GH_CHECK(options_.repositories(repositories_));
    GH_TRY(auto records, read_records(records_path()));
    if (const auto same = std::ranges::find(records, record_.key, &ImportRecord::key); same == records.end())
      records.push_back(record_);
    else if (*same == record_)
      return {};
    else
      *same = record_;
    std::string text;
    for (const ImportRecord& r : records) text += append_record(r);
    return write_file_atomically(records_path(), as_bytes(text));
  }

 private:
  std::string records_path() const { return options_.store + "/IMPORTS"; }

  Result<bool> has_tables(const std::string& folder) const {
    for (const ExportManifest::File& f : manifest_.files) {
      if (!f.in_base) continue;
      const std::string path = folder + "/" + f.name;
      struct stat st {};
      if (::lstat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) || std::uint64_t(st.st_size) != f.size) return false;
      GH_TRY(const auto described, describe_file(path, f.name));
      if (described.sha256 != f.sha256) return false;
    }
    return true;
  }

  // For people: the newest generation of this key that is here.
  Result<std::string> what_to_export(const std::vector<GenerationInfo>& generations) const {
    for (const GenerationInfo& g : generations) {
      GH_TRY(const auto origin, origin_of(options_.store, g.number));
      if (g.damage.empty() && origin && origin->key == record_.key)
        return "export it with --since " + std::to_string(origin->generation) + ", which is here, or whole";
    }
    return std::string("export it whole, without --since");
  }

  template <class Use>
  Result<void> read_file_of(const ExportManifest::File& f, const Use& use) {
    Hasher hasher(HashAlgorithm::sha256);
    hasher.start();
    ByteVector buffer(std::size_t(std::min<std::uint64_t>(archive_block, f.size)));
    for (std::uint64_t left = f.size; left != 0;) {
      const std::span<std::byte> block =
          std::span(buffer).first(std::size_t(std::min<std::uint64_t>(buffer.size(), left)));
      GH_CHECK(archive_.read(block));
      hasher.update(block);
      GH_CHECK(use(Bytes(block)));
      left -= block.size();
      if (options_.progress) options_.progress(archive_.at(), bytes_);
    }
    if (hasher.finish() != f.sha256)
      return archive_.bad("a file isn't what the manifest says", Fault::malformed, f.name);
    return {};
  }

  Result<void> unpack_file(const ExportManifest::File& f, const std::string& path) {
    const Descriptor out(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!out) return fail_errno("can't create", path);
    GH_CHECK(read_file_of(f, [&](Bytes block) -> Result<void> {
      while (!block.empty()) {
        const ssize_t n = ::write(out.get(), block.data(), block.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno("can't write", path);
        block = block.subspan(std::size_t(n));
      }
      return {};
    }));
    if (::fsync(out.get()) != 0) return fail_errno("can't sync", path);
    return {};
  }

  Result<void> read_repositories(const ExportManifest::File& f) {
    constexpr std::uint64_t most = std::uint64_t(16) << 20;
    if (f.size > most) return archive_.bad("a record of repositories larger than allowed", Fault::limit);
    has_repositories_ = true;
    return read_file_of(f, [&](Bytes block) -> Result<void> {
      repositories_.insert(repositories_.end(), block.begin(), block.end());
      return {};
    });
  }

  const ImportOptions& options_;
  Archive& archive_;
  const ExportManifest& manifest_;
  const ImportRecord& record_;
  const std::uint64_t bytes_;
  bool has_repositories_ = false;
  ByteVector repositories_;
};

}  // namespace

Result<Imported> import_generation(const ImportOptions& o) {
  Archive archive(o.in);
  GH_CHECK(archive.open());
  GH_TRY(const Opened opened, open_archive(archive, o.trusted));
  GH_TRY(Builder builder, Builder::open(o.store));
  GH_TRY(const std::uint64_t current, current_generation(o.store));
  const ExportManifest& manifest = opened.manifest;
  Imported out{current,
               false,
               manifest.packages,
               manifest.files_known,
               manifest.content.hex(),
               opened.record.key.hex(),
               manifest.generation,
               manifest.made};
  Import import(o, archive, opened);
  GH_TRY(const bool there, import.check(current));
  if (there) {
    GH_CHECK(import.read_beginning());
    GH_CHECK(import.settle());
    return out;
  }
  // Named so that what a killed import leaves of it is removed by the next one.
  const Scratch scratch{generation_path(o.store, current + 1) + ".import.new"};
  GH_TRY(const auto base, import.find_base());
  GH_TRY(auto contents, import.unpack(scratch.path, base.get()));
  GH_TRY(const Published published, builder.publish_from(std::move(contents), append_record(opened.record)));
  out.generation = published.generation;
  out.changed = true;
  GH_CHECK(import.settle());
  return out;
}

}  // namespace gatehouse::refdb
