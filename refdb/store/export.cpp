#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <map>

#include "base/writer.h"
#include "refdb/store/archive.h"
#include "refdb/store/export_manifest.h"
#include "refdb/store/generation.h"
#include "refdb/store/open.h"
#include "refdb/store/transfer.h"

namespace gatehouse::refdb {

std::string exported_path(const std::string& store, const std::string& generation, const std::string& name) {
  return (name == repositories_name ? store : generation) + "/" + name;
}

namespace {

namespace fs = std::filesystem;

Result<std::unique_ptr<Generation>> open_generation(const std::string& store, std::uint64_t n) {
  const std::string where = generation_path(store, n);
  if (n == 0 || !fs::exists(where)) return fail(Error{Fault::usage, "no such generation", {}, 0, where, {}});
  return Generation::open(store, n);
}

// Bytes of a file, one block after the other.
template <class Use>
Result<std::uint64_t> read_blocks(const std::string& path, const Use& use) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return fail_errno("can't open", path);
  ByteVector buffer(archive_block);
  for (std::uint64_t size = 0;;) {
    const ssize_t n = ::read(file.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("can't read", path);
    if (n == 0) return size;
    GH_CHECK(use(Bytes(buffer).first(std::size_t(n))));
    size += std::uint64_t(n);
  }
}

}  // namespace

Result<ExportManifest::File> describe_file(const std::string& path, const std::string& name) {
  ExportManifest::File out{name, 0, {}, false};
  Hasher hasher(HashAlgorithm::sha256);
  hasher.start();
  GH_TRY(out.size, read_blocks(path, [&](Bytes block) -> Result<void> {
           hasher.update(block);
           return {};
         }));
  out.sha256 = hasher.finish();
  return out;
}

namespace {

// Is this table of a generation one of the other's, under the same name? Those that generations share are one file.
Result<bool> has_table(const std::string& folder, const ExportManifest::File& file, const struct stat& st) {
  const std::string path = folder + "/" + file.name;
  struct stat theirs {};
  if (::stat(path.c_str(), &theirs) != 0 || theirs.st_size != st.st_size) return false;
  if (theirs.st_dev == st.st_dev && theirs.st_ino == st.st_ino) return true;
  GH_TRY(const auto described, describe_file(path, file.name));
  return described.sha256 == file.sha256;
}

Result<std::vector<ExportManifest::File>> describe_all(const Generation& generation, const Generation* base) {
  std::vector<ExportManifest::File> out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(generation.path(), ec)) {
    const std::string name = entry.path().filename().string(), path = entry.path().string();
    const bool table = name.ends_with(".sst");
    if (!table && name != "CURRENT" && name != "IDENTITY" && !name.starts_with("MANIFEST-")) continue;
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0) return fail_errno("can't read", path);
    GH_TRY(ExportManifest::File file, describe_file(path, name));
    if (table && base != nullptr) {
      GH_TRY(file.in_base, has_table(base->path(), file, st));
    }
    out.push_back(std::move(file));
  }
  if (ec) return store_error("can't read the generation", generation.path(), ec.message());
  std::ranges::sort(out, {}, &ExportManifest::File::name);
  return out;
}

// A file that has its name when it is whole, and not before.
class Output {
 public:
  explicit Output(std::string path) : path_(std::move(path)), beside_(path_ + ".new") {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() {
    if (file_) ::unlink(beside_.c_str());
  }

  Result<void> open() {
    struct stat st {};
    if (::stat(path_.c_str(), &st) == 0 && !S_ISREG(st.st_mode))
      return fail(Error{Fault::usage, "an export is written to a file, which it replaces", {}, 0, path_, {}});
    file_ = Descriptor(::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!file_) return fail_errno("can't create", beside_);
    return {};
  }
  Result<void> write(Bytes bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno("can't write", beside_);
      bytes = bytes.subspan(std::size_t(n));
    }
    return {};
  }
  Result<void> finish() {
    if (::fsync(file_.get()) != 0) return fail_errno("can't sync", beside_);
    if (::rename(beside_.c_str(), path_.c_str()) != 0) return fail_errno("can't rename", beside_);
    file_ = Descriptor();
    const std::size_t slash = path_.rfind('/');
    return sync_folder(slash == path_.npos ? "." : slash == 0 ? "/" : path_.substr(0, slash));
  }

 private:
  const std::string path_, beside_;
  Descriptor file_;
};

}  // namespace

Result<Exported> export_generation(const ExportOptions& o, const SigningKey& key) {
  GH_TRY(const std::uint64_t current, current_generation(o.store));
  if (current == 0) return store_error("the reference store holds no generation yet", o.store, std::string());
  const std::uint64_t number = o.generation.value_or(current);
  if (o.since == number)
    return fail(Error{Fault::usage, "a delta is over another generation", {}, 0, generation_path(o.store, number), {}});
  // One after the current never was it: a killed ingestion's.
  if (const std::uint64_t newest = std::max(number, o.since.value_or(0)); newest > current)
    return fail(Error{Fault::usage, "no such generation", {}, 0, generation_path(o.store, newest), {}});
  // Held both, so that nobody prunes them.
  GH_TRY(const auto generation, open_generation(o.store, number));
  std::unique_ptr<Generation> base;
  if (o.since) {
    GH_TRY(base, open_generation(o.store, *o.since));
  }
  // What is damaged isn't vouched for.
  GH_CHECK(generation->verify());

  ExportManifest manifest;
  manifest.generation = number;
  manifest.made =
      o.made != 0
          ? o.made
          : std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
                .count();
  manifest.content = generation->totals().content;
  manifest.packages = generation->totals().packages;
  manifest.files_known = generation->totals().files;
  if (base != nullptr) manifest.base = ExportManifest::Base{*o.since, base->totals().content};
  GH_TRY(manifest.files, describe_all(*generation, base.get()));
  if (fs::exists(o.store + "/" + std::string(repositories_name))) {
    const std::string name(repositories_name);
    GH_TRY(auto repositories, describe_file(o.store + "/" + name, name));
    manifest.files.insert(manifest.files.begin(), std::move(repositories));
  }
  const std::string text = append_manifest(manifest);
  if (const auto good = parse_manifest(text); !good)
    return store_error("the generation's files aren't those that an export has", generation->path(),
                       std::string(good.error().reason));

  Writer head;
  head.put_text(archive_magic);
  head.put_bytes(key.verifying().id().view());
  head.put_bytes(key.sign(as_bytes(text)));
  head.put(std::uint32_t(text.size()));
  head.put_text(text);
  Exported out{number, 0, head.size() + manifest.bytes(), manifest.content.hex()};
  Output file(o.out);
  GH_CHECK(file.open());
  GH_CHECK(file.write(head.view()));
  std::uint64_t done = head.size();
  for (const ExportManifest::File& f : manifest.files) {
    if (f.in_base) continue;
    ++out.files;
    const std::string path = exported_path(o.store, generation->path(), f.name);
    Hasher hasher(HashAlgorithm::sha256);
    hasher.start();
    GH_TRY(const std::uint64_t size, read_blocks(path, [&](Bytes block) -> Result<void> {
             hasher.update(block);
             done += block.size();
             if (o.progress) o.progress(done, out.bytes);
             return file.write(block);
           }));
    if (size != f.size || hasher.finish() != f.sha256)
      return store_error("the file changed while it was read: export again", path, std::string());
  }
  GH_CHECK(file.finish());
  return out;
}

}  // namespace gatehouse::refdb
