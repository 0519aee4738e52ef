#include "refdb/ingest/ingest.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for_each.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <filesystem>
#include <mutex>

#include "base/file.h"
#include "refdb/ingest/rpm.h"
#include "wire/swima/tag_files.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;

struct Source {
  enum class Kind : std::uint8_t { deb, rpm, root, oci, initramfs, sums, keylime, ima, swid, missing } kind = Kind::deb;
  std::string path;
  std::uint64_t size = 0;
  // As the operator named it, for the report.
  std::string name() const;
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

}  // namespace

Result<IngestReport> ingest(const IngestOptions& o) {
  std::vector<Source> sources;
  for (const std::string& text : o.sources) find_sources(text, sources);
  // The largest first, so that the last worker isn't left alone with it.
  std::sort(sources.begin(), sources.end(),
            [](const Source& a, const Source& b) { return a.size != b.size ? a.size > b.size : a.path < b.path; });
  GH_TRY(Builder builder, Builder::open(o.refdb));
  IngestReport report;
  std::mutex mutex;
  std::size_t done = 0;
  const auto count = [&](const Added& added) {
    const std::lock_guard lock(mutex);
    report.packages += added.is_package;
    report.files += added.files;
    report.bytes += added.bytes;
  };
  const auto add = [&](ReferencePackage package) -> Result<bool> {
    package.product = o.product;
    GH_TRY(const auto added, builder.add(std::move(package)));
    if (added) count(*added);
    return added.has_value();
  };
  // What the store hasn't of this package file; nullopt: nothing. What a killed ingestion took in of it is taken in
  // without being decoded again: `any` says so.
  const auto wanted = [&](const Digest& identity, bool& any) -> Result<std::optional<std::vector<HashAlgorithm>>> {
    std::vector<HashAlgorithm> algorithms = o.algorithms;
    GH_TRY(const auto resumed, builder.resume(o.product, identity, algorithms));
    if (resumed) {
      count(*resumed);
      any = true;
      return std::nullopt;
    }
    GH_TRY(const bool known, builder.known(o.product, identity, algorithms));
    if (known) return std::nullopt;
    return std::optional(std::move(algorithms));
  };
  // Not even a look into the file is needed.
  const auto known_by_stamp = [&](const FileInput& input) -> Result<bool> {
    const auto stamp = input.stamp();
    if (!stamp) return false;
    return builder.known_by_stamp(o.product, *stamp, o.algorithms);
  };
  const auto take = [&](const Source& source) -> Result<void> {
    std::vector<ReferencePackage> packages;
    bool any = false;
    switch (source.kind) {
      case Source::Kind::deb: {
        GH_TRY(const auto input, FileInput::open(source.path));
        GH_TRY(const bool known, known_by_stamp(*input));
        if (known) break;
        GH_TRY(const Digest identity, digest_of_input(*input));
        GH_TRY(const auto algorithms, wanted(identity, any));
        if (!algorithms) break;
        GH_TRY(ReferencePackage package, read_deb(*input, source.path, *algorithms, {}));
        GH_CHECK(input->check_unchanged());
        package.identity = identity;
        package.stamp = input->stamp();
        packages.push_back(std::move(package));
        break;
      }
      case Source::Kind::rpm: {
        GH_TRY(const auto input, FileInput::open(source.path));
        GH_TRY(const bool known, known_by_stamp(*input));
        if (known) break;
        GH_TRY(const RpmPackage header, parse_rpm(*input, {}));
        GH_TRY(const auto algorithms, wanted(header.identity, any));
        if (!algorithms) break;
        GH_TRY(ReferencePackage package, rpm_references(*input, header, *algorithms, {}));
        package.source = fs::path(source.path).filename().string();
        GH_CHECK(input->check_unchanged());
        package.identity = header.identity;
        package.stamp = input->stamp();
        packages.push_back(std::move(package));
        break;
      }
      case Source::Kind::root: {
        GH_TRY(ReferencePackage tree, read_root(source.path, o.algorithms));
        packages.push_back(std::move(tree));
        break;
      }
      case Source::Kind::oci:
      case Source::Kind::initramfs: {
        GH_TRY(const auto input, FileInput::open(source.path));
        const auto read = source.kind == Source::Kind::oci ? read_oci : read_initramfs;
        GH_TRY(ReferencePackage image, read(*input, source.path, o.algorithms, {}));
        packages.push_back(std::move(image));
        break;
      }
      case Source::Kind::sums: {
        GH_TRY(const ByteVector bytes, read_file(source.path, std::size_t(1) << 30));
        GH_TRY(ReferencePackage list, read_sha256sums(bytes, source.path));
        packages.push_back(std::move(list));
        break;
      }
      case Source::Kind::keylime:
      case Source::Kind::ima: {
        GH_TRY(const auto input, FileInput::open(source.path));
        PlainStream stream(*input, 0);
        GH_TRY(packages, source.kind == Source::Kind::ima ? read_ima_list(stream, source.path)
                                                          : read_keylime(stream, source.path));
        break;
      }
      case Source::Kind::swid: {
        GH_TRY(const ByteVector bytes, read_file(source.path, swima::max_file_tag_bytes));
        GH_TRY(ReferencePackage tag, read_swid(bytes, source.path));
        packages.push_back(std::move(tag));
        break;
      }
      case Source::Kind::missing:
        return fail(Error{Fault::environment, "no such file or directory, or not readable", {}, 0, source.path, {}});
    }
    for (ReferencePackage& package : packages) {
      GH_TRY(const bool added, add(std::move(package)));
      any = any || added;
    }
    if (any) return {};
    const std::lock_guard lock(mutex);
    ++report.skipped;
    return {};
  };
  // oneTBB says on stderr when a worker is missing; no more jobs than sources are of use.
  const unsigned jobs = o.jobs == 0
                            ? unsigned(oneapi::tbb::info::default_concurrency())
                            : unsigned(std::min<std::size_t>({o.jobs, std::max<std::size_t>(sources.size(), 1), 256}));
  const oneapi::tbb::global_control workers(oneapi::tbb::global_control::max_allowed_parallelism, jobs + 1);
  oneapi::tbb::task_arena arena{int(jobs)};
  arena.execute([&] {
    oneapi::tbb::parallel_for_each(sources.begin(), sources.end(), [&](const Source& source) noexcept {
      Result<void> good = fail(Fault::internal, "out of memory");
      try {
        good = take(source);
      } catch (const std::exception& e) {
        good = fail(Error{Fault::internal, "can't be taken in", {}, 0, source.path, e.what()});
      }
      const std::lock_guard lock(mutex);
      if (!good) {
        Error error = std::move(good).error();
        report.failed.push_back({source.name(), std::move(error).from(source.path).text()});
      }
      if (o.progress) o.progress(++done, sources.size());
    });
  });
  std::sort(report.failed.begin(), report.failed.end(),
            [](const FailedSource& a, const FailedSource& b) { return a.source < b.source; });
  GH_TRY(const Published published, builder.publish());
  report.generation = published.generation;
  return report;
}

}  // namespace gatehouse::refdb
