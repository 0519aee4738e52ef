#include "refdb/ingest/ingest.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for_each.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <filesystem>
#include <mutex>

#include "base/file.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;

struct Source {
  enum class Kind : std::uint8_t { deb, root, sums, unsupported, missing } kind = Kind::deb;
  std::string path;
  std::uint64_t size = 0;
  // As the operator named it, for the report.
  std::string name() const {
    return kind == Kind::root ? "root:" + path : kind == Kind::sums ? "sha256sums:" + path : path;
  }
};

void find_sources(const std::string& text, std::vector<Source>& out) {
  if (text.starts_with("root:")) return out.push_back({Source::Kind::root, text.substr(5), UINT64_MAX});
  if (text.starts_with("sha256sums:")) return out.push_back({Source::Kind::sums, text.substr(11), 0});
  std::error_code ec;
  if (fs::is_directory(text, ec)) {
    std::vector<Source> found;
    for (auto it = fs::recursive_directory_iterator(text, ec); it != fs::recursive_directory_iterator(); it.increment(ec)) {
      if (ec) break;
      const std::string name = it->path().string();
      if (!it->is_regular_file(ec) || !(name.ends_with(".deb") || name.ends_with(".rpm"))) continue;
      found.push_back({name.ends_with(".deb") ? Source::Kind::deb : Source::Kind::unsupported, name, it->file_size(ec)});
    }
    if (ec) out.push_back({Source::Kind::missing, text, 0});
    std::sort(found.begin(), found.end(), [](const Source& a, const Source& b) { return a.path < b.path; });
    std::move(found.begin(), found.end(), std::back_inserter(out));
    return;
  }
  if (!fs::is_regular_file(text, ec)) return out.push_back({Source::Kind::missing, text, 0});
  out.push_back({text.ends_with(".rpm") ? Source::Kind::unsupported : Source::Kind::deb, text, fs::file_size(text, ec)});
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
  const auto take = [&](const Source& source) -> Result<void> {
    Result<ReferencePackage> package = fail(Fault::internal, "no source");
    switch (source.kind) {
      case Source::Kind::deb: {
        GH_TRY(const ByteVector bytes, read_file(source.path, std::size_t(8) << 30));
        const Digest identity = digest_of(HashAlgorithm::sha256, bytes);
        std::vector<HashAlgorithm> algorithms = o.algorithms;
        const auto known = builder.known(o.product, identity, algorithms);
        if (!known) return std::unexpected(known.error());
        if (*known) {
          const std::lock_guard lock(mutex);
          ++report.skipped;
          return {};
        }
        package = read_deb(Bytes(bytes), source.path, algorithms);
        if (package) package->identity = identity;
        break;
      }
      case Source::Kind::root: package = read_root(source.path, o.algorithms); break;
      case Source::Kind::sums: {
        GH_TRY(const ByteVector bytes, read_file(source.path, std::size_t(1) << 30));
        package = read_sha256sums(bytes, source.path);
        break;
      }
      case Source::Kind::unsupported:
        return fail(Error{Fault::malformed, "this kind of package isn't supported by this version", {}, 0, source.path, {}});
      case Source::Kind::missing:
        return fail(Error{Fault::environment, "no such file or directory, or not readable", {}, 0, source.path, {}});
    }
    if (!package) return std::unexpected(std::move(package).error());
    package->product = o.product;
    const bool is_package = !package->name.empty();
    const auto added = builder.add(std::move(*package));
    if (!added) return std::unexpected(added.error());
    const std::lock_guard lock(mutex);
    if (!*added) {
      ++report.skipped;
      return {};
    }
    if (is_package) ++report.packages;
    report.files += (*added)->files;
    report.bytes += (*added)->bytes;
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
  std::sort(report.failed.begin(), report.failed.end(), [](const FailedSource& a, const FailedSource& b) { return a.source < b.source; });
  GH_TRY(const Published published, builder.publish());
  report.generation = published.generation;
  return report;
}

}  // namespace gatehouse::refdb
