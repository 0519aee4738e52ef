#include "refdb/ingest/ingest.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for_each.h>
#include <oneapi/tbb/task_arena.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>

#include "base/file.h"
#include "refdb/ingest/ingestion.h"
#include "refdb/ingest/repository_sources.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;

struct Source {
  enum class Kind : std::uint8_t { deb, rpm, root, oci, initramfs, sums, keylime, ima, swid, missing } kind = Kind::deb;
  std::string path;
  std::uint64_t size = 0;
  // As the operator named it, for the report.
  std::string name() const;
  // Of a package file; of anything else it isn't known.
  std::uint64_t bytes() const { return kind == Kind::deb || kind == Kind::rpm ? size : 0; }
};

// What a source's prefix says that it is. Trees and images come first: they take longest.
struct Prefix {
  std::string_view text;
  Source::Kind kind;
  std::uint64_t size;
};
constexpr Prefix prefixes[] = {
    {"root:", Source::Kind::root, UINT64_MAX},  {"oci:", Source::Kind::oci, UINT64_MAX},
    {"initramfs:", Source::Kind::initramfs, 0}, {"sha256sums:", Source::Kind::sums, 0},
    {"keylime:", Source::Kind::keylime, 0},     {"ima:", Source::Kind::ima, 0},
    {"swid:", Source::Kind::swid, 0},
};

std::string Source::name() const {
  for (const Prefix& p : prefixes)
    if (p.kind == kind) return std::string(p.text) + path;
  return path;
}

// Of a file in a folder that is searched. Source packages are no packages to install; a repository may have both.
std::optional<Source::Kind> package_kind(std::string_view name) {
  if (name.ends_with(".deb")) return Source::Kind::deb;
  if (name.ends_with(".rpm") && !name.ends_with(".src.rpm") && !name.ends_with(".nosrc.rpm")) return Source::Kind::rpm;
  return std::nullopt;
}

void find_sources(const std::string& text, std::vector<Source>& out) {
  for (const Prefix& p : prefixes)
    if (text.starts_with(p.text)) return out.push_back({p.kind, text.substr(p.text.size()), p.size});
  std::error_code ec;
  if (fs::is_directory(text, ec)) {
    std::vector<Source> found;
    for (auto it = fs::recursive_directory_iterator(text, ec); it != fs::recursive_directory_iterator();
         it.increment(ec)) {
      if (ec) break;
      const std::string name = it->path().string();
      const auto kind = package_kind(name);
      if (!it->is_regular_file(ec) || !kind) continue;
      found.push_back({*kind, name, it->file_size(ec)});
    }
    if (ec) out.push_back({Source::Kind::missing, text, 0});
    std::sort(found.begin(), found.end(), [](const Source& a, const Source& b) { return a.path < b.path; });
    std::move(found.begin(), found.end(), std::back_inserter(out));
    return;
  }
  if (!fs::is_regular_file(text, ec)) return out.push_back({Source::Kind::missing, text, 0});
  out.push_back({text.ends_with(".rpm") ? Source::Kind::rpm : Source::Kind::deb, text, fs::file_size(text, ec)});
}

// A list may come through a pipe.
Result<std::unique_ptr<FileInput>> open_list(const std::string& path) {
  std::error_code ec;
  if (!fs::exists(path, ec) || fs::is_regular_file(path, ec) || fs::is_directory(path, ec))
    return FileInput::open(path);
  GH_TRY(const ByteVector content, read_file(path, std::size_t(1) << 30));
  Descriptor file(::memfd_create("gatehouse", MFD_CLOEXEC));
  for (Bytes rest = content; file && !rest.empty();) {
    const ssize_t n = ::write(file.get(), rest.data(), rest.size());
    if (n < 0) return fail_errno("can't make a file in memory", path);
    rest = rest.subspan(std::size_t(n));
  }
  if (!file) return fail_errno("can't make a file in memory", path);
  return FileInput::adopt(std::move(file), path);
}

// Packages by files, and all that is one source and one package or a few.
class PlainSources {
 public:
  // `rpm_files`: an RPM package may be known by the digest of its whole file, as repositories know it.
  PlainSources(Ingestion& run, bool rpm_files) : run_(run), rpm_files_(rpm_files) {}

  void take(const Source& source) noexcept {
    try {
      run_.begin(fs::path(source.path).filename().string());
      auto taken = read(source);
      if (!taken) {
        run_.failed(source.name(), std::move(taken).error().from(source.path));
      } else {
        if (!*taken) run_.skip();
      }
    } catch (const std::exception& e) {
      run_.failed(source.name(), Error{Fault::internal, "can't be taken in", {}, 0, source.path, e.what()});
    }
    run_.finish(source.bytes());
  }

 private:
  // Whether anything of it was new.
  Result<bool> read(const Source& source) {
    const std::vector<HashAlgorithm>& algorithms = run_.options().algorithms;
    // Of what is one package, the files go to be sorted as they come: there may be millions.
    PackageFiles files = run_.files();
    const FileSink sink = [&](ReferenceFile&& f) { return files.add(std::move(f)); };
    const auto decode_one = [&](SourceKind kind) -> Result<bool> {
      const bool may_be_piped = kind == SourceKind::sums || kind == SourceKind::swid;
      GH_TRY(const auto input, may_be_piped ? open_list(source.path) : FileInput::open(source.path));
      GH_TRY(ReferencePackage package, run_.decoders().decode({kind, algorithms, source.path, {}}, *input, sink));
      return run_.add(std::move(package), std::move(files));
    };
    const auto decode = [&](SourceKind kind) -> Result<bool> {
      GH_TRY(const auto input, FileInput::open(source.path));
      GH_TRY(auto packages, run_.decoders().decode({kind, algorithms, source.path, {}}, *input));
      bool any = false;
      for (ReferencePackage& package : packages) {
        GH_TRY(const bool added, run_.add(std::move(package)));
        any = any || added;
      }
      return any;
    };
    switch (source.kind) {
      case Source::Kind::deb:
        return read_deb_file(source);
      case Source::Kind::rpm:
        return read_rpm_file(source);
      case Source::Kind::root: {
        GH_TRY(ReferencePackage tree, read_root(source.path, algorithms, sink));
        return run_.add(std::move(tree), std::move(files));
      }
      case Source::Kind::oci:
        return decode_one(SourceKind::oci);
      case Source::Kind::initramfs:
        return decode_one(SourceKind::initramfs);
      case Source::Kind::sums:
        return decode_one(SourceKind::sums);
      case Source::Kind::keylime:
        return decode(SourceKind::keylime);
      case Source::Kind::ima:
        return decode(SourceKind::ima);
      case Source::Kind::swid:
        return decode_one(SourceKind::swid);
      case Source::Kind::missing:
        break;
    }
    return fail(Error{Fault::environment, "no such file or directory, or not readable", {}, 0, source.path, {}});
  }

  // Not even a look into the file is needed.
  Result<bool> known_by_stamp(const FileInput& input) {
    const auto stamp = input.stamp();
    if (!stamp) return false;
    return run_.known_by_stamp(*stamp);
  }

  Result<bool> read_deb_file(const Source& source) {
    GH_TRY(const auto input, FileInput::open(source.path));
    GH_TRY(const bool known, known_by_stamp(*input));
    if (known) return false;
    GH_TRY(const auto pinned, PinnedInput::open(*input, HashAlgorithm::sha256));
    GH_TRY(const Missing missing, run_.missing(pinned->digest()));
    if (!missing.to_read()) return missing.resumed;
    const DecodeRequest request{SourceKind::deb, missing.algorithms, source.path, pinned->pin()};
    PackageFiles files = run_.files();
    GH_TRY(ReferencePackage package,
           run_.decoders().decode(request, *input, [&](ReferenceFile&& f) { return files.add(std::move(f)); }));
    package.identity = pinned->digest();
    package.stamp = input->stamp();
    return run_.add(std::move(package), std::move(files));
  }

  Result<bool> read_rpm_file(const Source& source) {
    GH_TRY(const auto input, FileInput::open(source.path));
    GH_TRY(const bool known, known_by_stamp(*input));
    if (known) return false;
    GH_TRY(auto rpm, run_.decoders().open_rpm(*input, source.path, {}));
    GH_TRY(const Missing missing, run_.missing(rpm.head().identity));
    if (!missing.to_read()) return missing.resumed;
    if (rpm_files_) {
      GH_TRY(const Digest file, digest_of_input(*input));
      GH_TRY(const Missing as_file, run_.missing(file));
      if (!as_file.to_read()) return as_file.resumed;
    }
    PackageFiles files = run_.files();
    GH_TRY(ReferencePackage package,
           rpm.references(missing.algorithms, [&](ReferenceFile&& f) { return files.add(std::move(f)); }));
    GH_CHECK(input->check_unchanged());
    package.source = fs::path(source.path).filename().string();
    package.identity = rpm.head().identity;
    package.stamp = input->stamp();
    return run_.add(std::move(package), std::move(files));
  }

  Ingestion& run_;
  const bool rpm_files_;
};

}  // namespace

Result<IngestReport> ingest(const IngestOptions& o) {
  GH_TRY(const auto repositories, RepositorySources::open(o));
  std::vector<Source> sources;
  std::vector<std::string> repository_sources;
  for (const std::string& text : o.sources) {
    if (RepositorySources::is_one(text)) repository_sources.push_back(text);
    else find_sources(text, sources);
  }
  // The largest first, so that the last worker isn't left alone with it.
  std::sort(sources.begin(), sources.end(),
            [](const Source& a, const Source& b) { return a.size != b.size ? a.size > b.size : a.path < b.path; });
  // oneTBB says on stderr when a worker is missing; no more jobs than sources are of use.
  const std::size_t useful = repository_sources.empty() ? std::max<std::size_t>(sources.size(), 1) : 256;
  const unsigned jobs = o.jobs == 0 ? unsigned(oneapi::tbb::info::default_concurrency())
                                    : unsigned(std::min<std::size_t>({o.jobs, useful, 256}));
  // Before there are threads, and with nothing open.
  GH_TRY(const auto decoders, Decoders::start({jobs, o.sandbox, o.in_decoder}));
  GH_TRY(Builder builder, Builder::open(o.refdb));
  GH_CHECK(repositories->load());
  Ingestion run(o, builder, *decoders);
  std::uint64_t bytes = 0;
  for (const Source& source : sources) bytes += source.bytes();
  run.expect(sources.size(), bytes);
  const oneapi::tbb::global_control workers(oneapi::tbb::global_control::max_allowed_parallelism, jobs + 1);
  oneapi::tbb::task_arena arena{int(jobs)};
  PlainSources plain(run, repositories->knows_rpm_files());
  arena.execute([&] {
    oneapi::tbb::parallel_for_each(sources.begin(), sources.end(),
                                   [&](const Source& source) noexcept { plain.take(source); });
    for (const std::string& source : repository_sources) repositories->take(source, jobs, run);
  });
  GH_CHECK(repositories->note_unseen(run));
  GH_TRY(const Published published, builder.publish());
  if (auto settled = repositories->settle(); !settled) run.failed(o.refdb, std::move(settled).error());
  IngestReport report = run.report();
  report.generation = published.generation;
  return report;
}

}  // namespace gatehouse::refdb
