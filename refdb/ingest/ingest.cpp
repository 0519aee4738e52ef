#include "refdb/ingest/ingest.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/task_arena.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>

#include "base/file.h"
#include "refdb/ingest/in_order.h"
#include "refdb/ingest/ingestion.h"
#include "refdb/ingest/repository_sources.h"
#include "refdb/ingest/strongtnc.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;

struct Source {
  enum class Kind : std::uint8_t { deb, rpm, root, oci, initramfs, sums, keylime, ima, swid, strongtnc, missing };
  Kind kind = Kind::deb;
  std::string path;
  std::uint64_t size = 0;
  std::size_t folder = 0;  // of those that were searched the how manieth, from 1
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
    {"swid:", Source::Kind::swid, 0},           {"strongtnc:", Source::Kind::strongtnc, UINT64_MAX},
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

void find_sources(const std::string& text, std::size_t& folders, std::vector<Source>& out) {
  for (const Prefix& p : prefixes)
    if (text.starts_with(p.text)) return out.push_back({p.kind, text.substr(p.text.size()), p.size});
  std::error_code ec;
  if (fs::is_directory(text, ec)) {
    const std::size_t folder = ++folders;
    std::vector<Source> found;
    for (auto it = fs::recursive_directory_iterator(text, ec); it != fs::recursive_directory_iterator();
         it.increment(ec)) {
      if (ec) break;
      const std::string name = it->path().string();
      const auto kind = package_kind(name);
      if (!it->is_regular_file(ec) || !kind) continue;
      found.push_back({*kind, name, it->file_size(ec), folder});
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
  PlainSources(Ingestion& run, const Selection& selection, bool rpm_files, std::size_t folders)
      : run_(run), selection_(selection), rpm_files_(rpm_files), lots_{Lot::none} {
    // Who names a folder vouches for all that is in it.
    for (std::size_t i = 0; i < folders; ++i) lots_.push_back(run_.decoders().lot());
  }

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
  // Whether anything of it was new, or counted as left out.
  Result<bool> read(const Source& source) {
    const std::vector<HashAlgorithm>& algorithms = run_.options().algorithms;
    // Of what is one package, the files go to be sorted as they come: there may be millions.
    SelectedFiles files(run_, selection_);
    const auto decode_one = [&](SourceKind kind) -> Result<bool> {
      const bool may_be_piped = kind == SourceKind::sums || kind == SourceKind::swid;
      GH_TRY(const auto input, may_be_piped ? open_list(source.path) : FileInput::open(source.path));
      GH_TRY(ReferencePackage package,
             run_.decoders().decode_one({kind, algorithms, source.path, {}}, *input, files.sink()));
      return select(std::move(package), std::move(files));
    };
    switch (source.kind) {
      case Source::Kind::deb:
        return read_deb_file(source);
      case Source::Kind::rpm:
        return read_rpm_file(source);
      case Source::Kind::root: {
        const Lot lot = run_.decoders().lot();
        const auto unpack = [&](const FileInput& module, const std::string& path) -> Result<std::vector<FileContent>> {
          GH_TRY(ReferencePackage decoded,
                 run_.decoders().decode_one({SourceKind::module, algorithms, path, {}, {}, lot}, module));
          if (decoded.files.size() != 1) return no_answer();
          return std::move(decoded.files.front().further);
        };
        GH_TRY(ReferencePackage tree, read_root(source.path, algorithms, files.sink(), {}, unpack));
        return select(std::move(tree), std::move(files));
      }
      case Source::Kind::oci:
        return decode_one(SourceKind::oci);
      case Source::Kind::initramfs:
        return decode_one(SourceKind::initramfs);
      case Source::Kind::sums:
        return decode_one(SourceKind::sums);
      case Source::Kind::keylime:
        return decode_one(SourceKind::keylime);
      case Source::Kind::ima:
        return decode_one(SourceKind::ima);
      case Source::Kind::swid:
        return decode_one(SourceKind::swid);
      case Source::Kind::strongtnc:
        return read_strongtnc_file(source);
      case Source::Kind::missing:
        break;
    }
    return fail(Error{Fault::environment, "no such file or directory, or not readable", {}, 0, source.path, {}});
  }

  // What the selection takes of it.
  Result<bool> select(ReferencePackage package) {
    // What isn't a package has no name to be chosen by.
    if (!package.name.empty() && leave_out(package.name)) return true;
    run_.exclude(0, selection_.leave_out(package.files));
    return run_.add(std::move(package));
  }
  Result<bool> select(ReferencePackage package, SelectedFiles files) {
    if (!package.name.empty() && leave_out(package.name)) return true;
    return run_.add(std::move(package), std::move(files));
  }
  // Whether the selection leaves the package out, which is counted.
  bool leave_out(std::string name, std::string section = {}, std::string priority = {}) {
    IndexEntry entry;
    entry.name = std::move(name);
    entry.section = std::move(section);
    entry.priority = std::move(priority);
    if (selection_.takes(entry)) return false;
    run_.exclude(1, 0);
    return true;
  }

  // Not even a look into the file is needed. Stamps are of packages that were taken whole.
  Result<bool> known_by_stamp(const FileInput& input) {
    const auto stamp = stamp_of(input);
    if (!stamp) return false;
    return run_.known_by_stamp(*stamp);
  }

  std::optional<Digest> stamp_of(const FileInput& input) const {
    return selection_.path_rules().empty() ? input.stamp() : std::nullopt;
  }

  Result<bool> read_deb_file(const Source& source) {
    GH_TRY(const auto input, FileInput::open(source.path));
    std::string name;
    const auto isnt_wanted = [&](std::optional<PinnedInput::Pin> pin) -> Result<bool> {
      if (!selection_.has_package_rules()) return false;
      GH_TRY(const DebControl control, run_.decoders().deb_control(*input, source.path, std::move(pin), lot_of(source)));
      name = control.name;
      return leave_out(control.name, control.section, control.priority);
    };
    GH_TRY(const bool other, isnt_wanted({}));
    if (other) return true;
    GH_TRY(const bool known, known_by_stamp(*input));
    if (known) return false;
    GH_TRY(const auto pinned, PinnedInput::open(*input, HashAlgorithm::sha256));
    const Digest identity = selection_.identity(pinned->digest());
    GH_TRY(const Missing missing, run_.missing(identity));
    if (!missing.to_read()) return missing.resumed;
    const DecodeRequest request{SourceKind::deb, missing.algorithms, source.path, pinned->pin(), {}, lot_of(source)};
    SelectedFiles files(run_, selection_);
    GH_TRY(ReferencePackage package, run_.decoders().decode_one(request, *input, files.sink()));
    // The control file that was looked at first may have been another one's.
    GH_TRY(const bool became_other, isnt_wanted(pinned->pin()));
    if (became_other) return true;
    if (selection_.has_package_rules() && package.name != name) return no_answer();
    package.identity = identity;
    package.stamp = stamp_of(*input);
    return run_.add(std::move(package), std::move(files));
  }

  Result<bool> read_rpm_file(const Source& source) {
    GH_TRY(const auto input, FileInput::open(source.path));
    // Which package it is stands in its header.
    if (!selection_.has_package_rules()) {
      GH_TRY(const bool known, known_by_stamp(*input));
      if (known) return false;
    }
    GH_TRY(auto rpm, run_.decoders().open_rpm(*input, source.path, {}, lot_of(source)));
    if (leave_out(rpm.head().name)) return true;
    const Digest identity = selection_.identity(rpm.head().identity);
    GH_TRY(const Missing missing, run_.missing(identity));
    if (!missing.to_read()) return missing.resumed;
    if (rpm_files_) {
      GH_TRY(const Digest file, digest_of_input(*input));
      GH_TRY(const Missing as_file, run_.missing(selection_.identity(file)));
      if (!as_file.to_read()) return as_file.resumed;
    }
    SelectedFiles files(run_, selection_);
    GH_TRY(ReferencePackage package, rpm.references(missing.algorithms, files.sink()));
    GH_CHECK(input->check_unchanged());
    package.source = fs::path(source.path).filename().string();
    package.identity = identity;
    package.stamp = stamp_of(*input);
    return run_.add(std::move(package), std::move(files));
  }

  Result<bool> read_strongtnc_file(const Source& source) {
    const std::string product = run_.options().all_products ? std::string() : run_.options().product;
    GH_TRY(const auto input, open_strongtnc(source.path));
    GH_TRY(Decoded database, run_.decoders().decode({SourceKind::strongtnc, {}, source.path, {}, product}, *input));
    GH_CHECK(input->check_unchanged());
    bool any = false;
    for (ReferencePackage& package : database.packages) {
      if (!product.empty() && package.product != product) return no_answer();
      GH_TRY(const bool added, select(std::move(package)));
      any = any || added;
    }
    for (const std::string& note : database.notes) run_.warn(source.name() + ": " + note);
    return any;
  }

  Lot lot_of(const Source& source) const { return lots_[source.folder]; }

  Ingestion& run_;
  const Selection& selection_;
  const bool rpm_files_;
  std::vector<Lot> lots_;  // of no folder, and of each
};

}  // namespace

Result<IngestReport> ingest(const IngestOptions& o) {
  GH_TRY(const auto repositories, RepositorySources::open(o));
  std::vector<Source> sources;
  std::vector<std::string> repository_sources;
  std::size_t folders = 0;
  for (const std::string& text : o.sources) {
    if (RepositorySources::is_one(text))
      repository_sources.push_back(text);
    else
      find_sources(text, folders, sources);
  }
  // The largest first, so that the last worker isn't left alone with it.
  std::sort(sources.begin(), sources.end(),
            [](const Source& a, const Source& b) { return a.size != b.size ? a.size > b.size : a.path < b.path; });
  const bool can_have_products =
      std::ranges::any_of(sources, [](const Source& one) { return one.kind == Source::Kind::strongtnc; });
  if (o.all_products && !can_have_products) return fail(Fault::usage, "--all-products is for strongtnc: sources");
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
  PlainSources plain(run, repositories->selection(), repositories->knows_rpm_files(), folders);
  arena.execute([&] {
    take_in_order(sources.size(), jobs, [&](std::size_t i) { plain.take(sources[i]); });
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
