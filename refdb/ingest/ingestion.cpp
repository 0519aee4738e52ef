#include "refdb/ingest/ingestion.h"

#include <algorithm>
#include <utility>

#include "refdb/alias/alias.h"

namespace gatehouse::refdb {

Result<Missing> Ingestion::missing(const Digest& identity) {
  std::vector<HashAlgorithm> algorithms = options_.algorithms;
  GH_TRY(const auto resumed, builder_.resume(layer_, identity, algorithms));
  if (resumed) {
    count(*resumed);
    return Missing{true, {}};
  }
  GH_TRY(const bool known, builder_.known(layer_, identity, algorithms));
  if (known) return Missing{};
  return Missing{false, std::move(algorithms)};
}

Result<bool> Ingestion::known_by_stamp(const Digest& stamp) const {
  return builder_.known_by_stamp(layer_, stamp, options_.algorithms);
}

void Ingestion::claim(ReferencePackage& package) {
  if (package.product.empty()) package.product = layer_.product;
  package.layer = layer_.layer;
  for (std::string& warning : std::exchange(package.warnings, {})) warn(package.source + ": " + std::move(warning));
}

Result<bool> Ingestion::add(ReferencePackage package) {
  claim(package);
  GH_TRY(const auto added, builder_.add(std::move(package)));
  if (!added) return false;
  count(*added);
  return true;
}

Result<bool> Ingestion::add(ReferencePackage package, SelectedFiles files) {
  exclude(0, files.left_out_);
  claim(package);
  GH_TRY(const auto added, builder_.add(std::move(package), std::move(files.files_)));
  if (!added) return false;
  count(*added);
  return true;
}

SelectedFiles::SelectedFiles(const Ingestion& run, const Selection& selection)
    : selection_(selection), files_(run.builder_.files()) {}

FileSink SelectedFiles::sink() {
  return [this](ReferenceFile&& f) -> Result<void> {
    if (!is_canonical(f.path)) {
      GH_TRY(f.path, canonical_path(f.path));
    }
    if (selection_.takes_path(f.path)) return files_.add(std::move(f));
    ++left_out_;
    return {};
  };
}

Result<void> Ingestion::note_unseen(std::string_view source, std::int64_t last,
                                    const std::function<bool(const Digest& identity)>& is_there) {
  return builder_.note_unseen(layer_, source, last, is_there);
}

void Ingestion::count(const Added& added) {
  const std::lock_guard lock(mutex_);
  if (added.is_package) ++report_.packages;
  report_.files += added.files;
  report_.bytes += added.bytes;
}

void Ingestion::skip() {
  const std::lock_guard lock(mutex_);
  ++report_.skipped;
}

void Ingestion::exclude(std::uint64_t packages, std::uint64_t files) {
  const std::lock_guard lock(mutex_);
  report_.skipped += packages;
  report_.excluded_packages += packages;
  report_.excluded_files += files;
}

void Ingestion::failed(const std::string& source, Error error) {
  const std::lock_guard lock(mutex_);
  report_.failed.push_back({source, std::move(error).from(source).text()});
}

void Ingestion::warn(std::string text) {
  const std::lock_guard lock(mutex_);
  report_.warnings.push_back(std::move(text));
}

void Ingestion::expect(std::size_t packages, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  progress_.of += packages;
  progress_.bytes += bytes;
}

void Ingestion::begin(const std::string& what) {
  const std::lock_guard lock(mutex_);
  progress_.current = what;
}

void Ingestion::finish(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  ++progress_.done;
  progress_.bytes_done += bytes;
  if (options_.progress) options_.progress(progress_);
}

void Ingestion::tick() {
  const std::lock_guard lock(mutex_);
  if (options_.progress) options_.progress(progress_);
}

IngestReport Ingestion::report() {
  const std::lock_guard lock(mutex_);
  std::sort(report_.failed.begin(), report_.failed.end(),
            [](const FailedSource& a, const FailedSource& b) { return a.source < b.source; });
  return std::exchange(report_, {});
}

}  // namespace gatehouse::refdb
