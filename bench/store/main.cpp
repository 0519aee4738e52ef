// gatehouse-store-bench: what a reference store costs: inserting, bytes on disk, opening, looking up, a day's changes.
#include <sys/resource.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "base/writer.h"
#include "bench/store/references.h"
#include "refdb/alias/alias.h"
#include "refdb/store/open.h"
#include "wire/ima/ima.h"

namespace {

using namespace gatehouse;
namespace fs = std::filesystem;

struct Clock {
  std::chrono::steady_clock::time_point wall = std::chrono::steady_clock::now();
  double cpu = cpu_seconds();
  static double cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return double(now.tv_sec) + double(now.tv_nsec) / 1e9;
  }
};
struct Spent {
  double wall = 0, cpu = 0;
  void since(const Clock& begin) {
    wall += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin.wall).count();
    cpu += Clock::cpu_seconds() - begin.cpu;
  }
};

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "gatehouse-store-bench: %s\n", error.text().c_str());
  std::exit(4);
}
template <class T>
T needed(Result<T> result) {
  if (!result) give_up(result.error());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

struct Options {
  bench::ReferenceShape shape;
  std::string store;
  unsigned threads = 2, rounds = 5;
  bool json = false, insert_only = false;
};

struct Ingested {
  Spent add, publish;
  std::uint64_t files = 0, packages = 0, generation = 0;
  double seconds() const { return add.wall + publish.wall; }
};

// All packages that the store hasn't. Making them isn't counted: they are made piece by piece between.
Ingested ingest(const std::string& store, const bench::References& references, unsigned threads) {
  constexpr std::uint64_t piece = 200'000;  // files
  Ingested out;
  Clock begin;
  auto builder = needed(refdb::Builder::open(store));
  out.add.since(begin);
  std::vector<refdb::ReferencePackage> packages;
  std::uint64_t waiting = 0;
  const auto take = [&] {
    begin = Clock();
    std::atomic<std::size_t> next{0};
    std::vector<std::jthread> workers;
    for (unsigned t = 0; t < threads; ++t)
      workers.emplace_back([&] {
        for (std::size_t i; (i = next++) < packages.size();) needed(builder.add(std::move(packages[i])));
      });
    workers.clear();
    out.add.since(begin);
    packages.clear();
    waiting = 0;
  };
  for (std::uint64_t n = 0; n < references.packages(); ++n) {
    const Digest identity = references.identity(n);
    std::vector<HashAlgorithm> algorithms{HashAlgorithm::sha256};
    begin = Clock();
    const bool known = needed(builder.known({"Debian 12 x86_64"}, identity, algorithms));
    out.add.since(begin);
    if (known) continue;
    packages.push_back(references.package(n));
    waiting += packages.back().files.size();
    out.files += packages.back().files.size();
    ++out.packages;
    if (waiting >= piece) take();
  }
  take();
  begin = Clock();
  out.generation = needed(builder.publish()).generation;
  out.publish.since(begin);
  return out;
}

// Template digests as a fleet's lists have them, of every n-th file.
std::vector<Digest> templates(const bench::References& references, std::size_t count, std::uint64_t offset) {
  std::vector<Digest> out;
  Hasher hasher(HashAlgorithm::sha256);
  const std::uint64_t step = std::max<std::uint64_t>(references.packages() / std::max<std::size_t>(count / 8, 1), 1);
  for (std::uint64_t n = offset % step; out.size() < count && n < references.packages(); n += step) {
    const auto package = references.package(n);
    for (std::size_t f = 0; f < package.files.size() && f < 8 && out.size() < count; ++f) {
      const auto& file = package.files[f];
      Writer w;
      ima::append_ng_template_data(w, "sha256", file.digests.front().second.view(),
                                   refdb::kernel_names(file.path).back());
      out.push_back(hasher(w.view()));
    }
  }
  return out;
}

// Nanoseconds of CPU for each, in batches as an endpoint's list comes; the median of the rounds.
double look_up(const refdb::View& view, const std::vector<Digest>& keys, unsigned rounds, bool found) {
  std::vector<double> all;
  std::vector<refdb::TemplateHit> hits(256);
  for (unsigned round = 0; round < rounds; ++round) {
    const Clock begin;
    for (std::size_t at = 0; at < keys.size(); at += hits.size()) {
      const std::size_t n = std::min(hits.size(), keys.size() - at);
      std::fill(hits.begin(), hits.end(), refdb::TemplateHit{});
      needed(view.find_templates("Debian 12 x86_64", HashAlgorithm::sha256, std::span(keys).subspan(at, n),
                                 std::span(hits).first(n)));
      for (std::size_t i = 0; i < n; ++i)
        if (hits[i].found != found) give_up(Error{Fault::internal, "a lookup has the wrong answer"});
    }
    Spent spent;
    spent.since(begin);
    all.push_back(spent.cpu * 1e9 / double(keys.size()));
  }
  std::nth_element(all.begin(), all.begin() + std::ptrdiff_t(all.size() / 2), all.end());
  return all[all.size() / 2];
}

struct Looked {
  double open_ms = 0, first_ns = 0, hot_ns = 0, path_ns = 0, miss_ns = 0;
};
Looked look(const std::string& store, const bench::References& references, unsigned rounds) {
  Looked out;
  std::vector<double> opened;
  std::shared_ptr<const refdb::View> view;
  for (unsigned i = 0; i < rounds; ++i) {
    view = nullptr;
    const Clock begin;
    view = needed(refdb::open_view(store));
    Spent spent;
    spent.since(begin);
    opened.push_back(spent.wall * 1e3);
  }
  std::nth_element(opened.begin(), opened.begin() + std::ptrdiff_t(opened.size() / 2), opened.end());
  out.open_ms = opened[opened.size() / 2];
  const auto many = templates(references, 20'000, 1);
  out.first_ns = look_up(*view, many, 1, true);
  // As a server that has judged endpoints of one image, and no more.
  const auto hot = templates(references, 4096, 0);
  view = needed(refdb::open_view(store));
  look_up(*view, hot, 1, true);
  out.hot_ns = look_up(*view, hot, 40 * rounds, true);  // less than a millisecond each
  std::vector<Digest> unknown = many;
  for (Digest& digest : unknown) digest = digest_of(HashAlgorithm::sha256, digest.view());
  out.miss_ns = look_up(*view, unknown, rounds, false);
  const std::uint64_t step = std::max<std::uint64_t>(references.packages() / 2000, 1);
  std::vector<std::string> paths;
  for (std::uint64_t n = 0; n < references.packages(); n += step)
    paths.push_back(references.package(n).files.front().path);
  const Clock begin;
  for (const std::string& path : paths)
    if (needed(view->references_of_path("Debian 12 x86_64", path)).empty())
      give_up(Error{Fault::internal, "a path has no reference"});
  Spent spent;
  spent.since(begin);
  out.path_ns = spent.cpu * 1e9 / double(paths.size());
  return out;
}

double peak_mib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

void run(const Options& o) {
  fs::remove_all(o.store);
  const bench::References references(o.shape);
  const Ingested first = ingest(o.store, references, o.threads);
  const auto stats = needed(refdb::read_stats(o.store));
  const double peak = peak_mib();
  if (o.insert_only) {
    std::printf(
        "{\"files\":%llu,\"threads\":%u,\"insert_s\":%.3f,\"add_s\":%.3f,\"publish_s\":%.3f,\"add_cpu_s\":%.3f,"
        "\"publish_cpu_s\":%.3f,\"references_per_s\":%.0f,\"bytes_per_reference\":%.1f,\"peak_mib\":%.0f}\n",
        static_cast<unsigned long long>(references.files()), o.threads, first.seconds(), first.add.wall,
        first.publish.wall, first.add.cpu, first.publish.cpu, double(first.files) / first.seconds(),
        double(stats.bytes) / double(stats.files), peak);
    return;
  }
  const Looked looked = look(o.store, references, o.rounds);
  const Ingested again = ingest(o.store, references, o.threads);
  bench::ReferenceShape later = o.shape;
  later.packages_to_change = 10;
  const bench::References next(later);
  const Ingested delta = ingest(o.store, next, o.threads);
  const auto grown = needed(refdb::read_stats(o.store));
  const Looked after = look(o.store, next, o.rounds);
  std::printf(
      o.json ? "{\"files\":%llu,\"packages\":%llu,\"seed\":%llu,\"threads\":%u,\"insert_s\":%.3f,\"add_s\":%.3f,"
               "\"publish_s\":%.3f,\"insert_cpu_s\":%.3f,\"references_per_s\":%.0f,\"bytes_per_reference\":%.1f,"
               "\"peak_mib\":%.0f,\"open_ms\":%.2f,\"hot_ns\":%.0f,\"first_ns\":%.0f,\"miss_ns\":%.0f,\"path_ns\":%.0f,"
               "\"again_s\":%.3f,\"delta_files\":%llu,\"delta_s\":%.3f,\"delta_bytes_per_reference\":%.1f,"
               "\"open_after_delta_ms\":%.2f,\"hot_after_delta_ns\":%.0f,\"miss_after_delta_ns\":%.0f,"
               "\"content_digest\":\"%s\"}\n"
             : "files %llu, packages %llu, seed %llu, threads %u\n"
               "insert %.3f s (add %.3f, publish %.3f; CPU %.3f): %.0f references/s\n"
               "%.1f bytes a reference; peak memory %.0f MiB\n"
               "open %.2f ms; lookup hot %.0f ns, first %.0f ns, miss %.0f ns; path %.0f ns\n"
               "again %.3f s; a day's changes, %llu files: %.3f s, %.1f bytes a reference\n"
               "then open %.2f ms, lookup hot %.0f ns, miss %.0f ns; content %s\n",
      static_cast<unsigned long long>(references.files()), static_cast<unsigned long long>(references.packages()),
      static_cast<unsigned long long>(o.shape.seed), o.threads, first.seconds(), first.add.wall, first.publish.wall,
      first.add.cpu + first.publish.cpu, double(first.files) / first.seconds(),
      double(stats.bytes) / double(stats.files), peak, looked.open_ms, looked.hot_ns, looked.first_ns, looked.miss_ns,
      looked.path_ns, again.seconds(), static_cast<unsigned long long>(delta.files), delta.seconds(),
      double(grown.bytes - stats.bytes) / double(std::max<std::uint64_t>(delta.files, 1)), after.open_ms, after.hot_ns,
      after.miss_ns, stats.content_digest.c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Measures the reference store on synthetic references in the shape of Debian's main archive."};
  app.set_version_flag("--version", "gatehouse-store-bench " GATEHOUSE_VERSION);
  Options o;
  bool keep = false;
  o.store = (fs::temp_directory_path() / "gatehouse-store-bench").string();
  app.add_option("--files", o.shape.files, "how many references")->check(CLI::Range(1'000, 100'000'000));
  app.add_option("--seed", o.shape.seed, "other references");
  app.add_option("--threads", o.threads, "that add packages")->check(CLI::Range(1, 64));
  app.add_option("--rounds", o.rounds, "measurements of a lookup; the median counts")->check(CLI::Range(1, 1'000));
  app.add_option("--store", o.store, "where; what is there is removed");
  app.add_flag("--aliases", o.shape.every_file_has_an_alias, "every file has one; default: as in Debian, a third");
  app.add_flag("--insert-only", o.insert_only, "nothing but inserting, as JSON");
  app.add_flag("--keep", keep, "leave the store");
  app.add_flag("--json", o.json, "one JSON object on standard output");
  app.footer("Example:\n  gatehouse-store-bench --files 10000000 --json");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;  // contract, exit codes
  }
  run(o);
  if (!keep) fs::remove_all(o.store);
  return 0;
}
