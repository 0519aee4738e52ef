#include "refdb/ingest/repository_sources.h"

#include <oneapi/tbb/parallel_for.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <filesystem>
#include <set>
#include <thread>

#include "base/file.h"
#include "base/hex.h"
#include "refdb/ingest/in_order.h"
#include "refdb/ingest/repositories.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view apt_prefix = "apt:", rpm_prefix = "rpm-md:";

std::unexpected<Error> usage(std::string_view why, std::string_view what = {}) {
  return fail(Error{Fault::usage, why, {}, 0, std::string(what), {}});
}

// $XDG_CACHE_HOME or ~/.cache (XDG Base Directory Specification).
Result<std::string> cache_of(const RepositoryOptions& options) {
  if (!options.cache.empty()) return options.cache;
  for (const auto& [variable, below] : {std::pair("XDG_CACHE_HOME", "/gatehouse"), {"HOME", "/.cache/gatehouse"}})
    if (const char* const value = std::getenv(variable); value != nullptr && *value == '/')
      return std::string(value) + below;
  return usage("no place for a cache: name one with --cache");
}

// Whether a URL carries what belongs in ~/.netrc: sources are shown and stored.
bool has_credentials(std::string_view url) {
  const std::string_view rest = url.substr(url.find("//") + 2);
  return rest.substr(0, rest.find('/')).find('@') != rest.npos;
}

// Files that came, from the thread that fetches to those that read packages.
class Arrivals {
 public:
  struct One {
    std::size_t number = 0;
    Result<std::string> path;
  };
  void put(std::size_t number, Result<std::string> path) {
    {
      const std::lock_guard lock(mutex_);
      arrived_.push_back({number, std::move(path)});
    }
    changed_.notify_one();
  }
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
  }
  // nullopt: no more will come.
  std::optional<One> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !arrived_.empty(); });
    if (arrived_.empty()) return std::nullopt;
    One out = std::move(arrived_.front());
    arrived_.pop_front();
    return out;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<One> arrived_;
  bool closed_ = false;
};

// What is in all packages of one repository.
struct Taking {
  const RepositoryState& repository;
  const RepositoryContext& context;
  bool rpm = false;
  Lot lot = Lot::none;
  // Whether nothing but a package's own signature vouches for it.
  bool alone() const {
    return context.keyring != nullptr && repository.signer.empty() && !context.options.allow_unsigned;
  }
};

// Who signed the package; empty: nobody, which is allowed here.
Result<std::string> package_signer(const Taking& taking, const Input& input, const RpmHead& package) {
  const RepositoryContext& context = taking.context;
  if (context.keyring == nullptr) return std::string();
  if (package.signatures.empty()) {
    if (!taking.alone()) return std::string();
    return fail(Fault::denied, "neither the package nor the repository's index is signed");
  }
  if (taking.alone() && !package.binds_files)
    return fail(Fault::denied, "the package's signature says nothing of its files, and the index isn't signed");
  GH_TRY(const ByteVector header, input.bytes_at(package.header, std::size_t(package.payload - package.header)));
  std::optional<Error> first;
  for (const ByteVector& signature : package.signatures) {
    auto signer = context.keyring->verify_detached(signature, header);
    if (signer) return signer;
    if (!first) first = std::move(signer).error();
  }
  return fail(*std::move(first));
}

std::string name_of(const Taking& taking, const IndexEntry& entry) { return taking.repository.name + " " + entry.path; }

// The package file at `path` is only looked at once its bytes are those that the index names. True: it was new.
Result<bool> take_package(const Taking& taking, const IndexEntry& entry, const std::string& path, Ingestion& run) {
  const Selection& selection = taking.context.selection;
  const Digest identity = selection.identity(entry.identity());
  GH_TRY(Missing missing, run.missing(identity));
  if (!missing.to_read()) return missing.resumed;
  GH_TRY(const auto file, FileInput::open(path));
  const auto another = [] { return fail(Fault::malformed, reason_other_digest); };
  if (file->size() != entry.size) return another();
  GH_TRY(const auto input, PinnedInput::open(*file, entry.algorithm));
  if (input->size() != entry.size || input->digest() != entry.digest) return another();
  SelectedFiles files(run, selection);
  ReferencePackage package;
  std::string signer = taking.repository.signer;
  if (taking.rpm) {
    GH_TRY(auto rpm, run.decoders().open_rpm(*file, {}, input->pin(), taking.lot));
    GH_TRY(const std::string own, package_signer(taking, *input, rpm.head()));
    if (!own.empty()) signer = own;
    // It may have come as a file, which is known by its header.
    if (selection.path_rules().empty()) {
      GH_TRY(missing, run.missing(rpm.head().identity));
      if (!missing.to_read()) return missing.resumed;
    }
    GH_TRY(package, rpm.references(missing.algorithms, files.sink()));
  } else {
    GH_TRY(package,
           run.decoders().decode_one({SourceKind::deb, missing.algorithms, {}, input->pin(), {}, taking.lot}, *file,
                                     files.sink()));
  }
  package.identity = identity;
  package.first_seen = taking.repository.date;
  package.source = name_of(taking, entry) + (signer.empty() ? " (not signed)" : " (signed by " + signer + ")");
  return run.add(std::move(package), std::move(files));
}

}  // namespace

struct RepositorySources::State {
  const IngestOptions& options;
  Selection selection;
  std::optional<Keyring> keyring;
  Taken taken;
  std::unique_ptr<Fetcher> fetcher;
  std::set<Digest> seen;  // packages of this run: suites and repositories share some
  // Repositories whose packages are all among those, and when each was taken before.
  std::vector<std::pair<std::string, std::int64_t>> whole;
  std::atomic<std::uint64_t> waiting_bytes{0};  // of packages that came and aren't taken in yet

  explicit State(const IngestOptions& o) : options(o) {}
  void take_one(const Taking& taking, const IndexEntry& entry, const Result<std::string>& path, bool cached,
                Ingestion& run) noexcept;
  void take_packages(const Taking& taking, const std::string& base, unsigned jobs, Ingestion& run);
  void fetch_packages(const Taking& taking, const std::vector<IndexEntry>& packages, const std::string& url,
                      unsigned jobs, Ingestion& run);
};

RepositorySources::RepositorySources(std::unique_ptr<State> state) : state_(std::move(state)) {}
RepositorySources::~RepositorySources() = default;

bool RepositorySources::is_one(std::string_view source) {
  return source.starts_with(apt_prefix) || source.starts_with(rpm_prefix);
}

Result<void> RepositorySources::load() {
  GH_TRY(state_->taken, Taken::read(state_->options.refdb));
  return {};
}

const Selection& RepositorySources::selection() const { return state_->selection; }

bool RepositorySources::knows_rpm_files() const { return state_->taken.has_kind(rpm_prefix); }

Result<std::unique_ptr<RepositorySources>> RepositorySources::open(const IngestOptions& o) {
  const RepositoryOptions& r = o.repositories;
  auto state = std::make_unique<State>(o);
  bool any = false, apt = false, server = false;
  for (const std::string& source : o.sources) {
    if (!is_one(source)) continue;
    any = true;
    apt = apt || source.starts_with(apt_prefix);
    const std::string_view place = std::string_view(source).substr(source.find(':') + 1);
    server = server || is_url(place);
    if (is_url(place) && has_credentials(place))
      return usage("a name or password in a URL would be shown and stored: put it in ~/.netrc");
    if (!is_url(place) && place.find("://") != place.npos)
      return usage("a repository is a folder, or an http or https URL", escaped(source));
  }
  GH_TRY(state->selection, Selection::parse(r.profile, r.include, r.exclude));
  if (!any) {
    if (!r.suites.empty() || !r.keyrings.empty())
      return usage("--suite and --keyring are for apt: and rpm-md: sources");
    return std::unique_ptr<RepositorySources>(new RepositorySources(std::move(state)));
  }
  if (apt && r.suites.empty()) return usage("apt: needs --suite, for example --suite bookworm");
  if (r.keyrings.empty() && !r.allow_unsigned)
    return usage("a repository needs --keyring, for example /usr/share/keyrings/debian-archive-keyring.gpg");
  if (!r.keyrings.empty()) {
    GH_TRY(state->keyring, Keyring::open(r.keyrings));
  }
  if (server) {
    GH_TRY(std::string cache, cache_of(r));
    GH_TRY(
        state->fetcher,
        Fetcher::open(
            {.cache = std::move(cache), .ca = r.ca, .parallel = std::clamp(r.downloads, 1U, 64U), .stall = r.stall}));
  }
  return std::unique_ptr<RepositorySources>(new RepositorySources(std::move(state)));
}

void RepositorySources::State::take_one(const Taking& taking, const IndexEntry& entry, const Result<std::string>& path,
                                        bool cached, Ingestion& run) noexcept {
  const std::string name = name_of(taking, entry);
  try {
    run.begin(fs::path(entry.path).filename().string());
    Result<bool> added = path ? take_package(taking, entry, *path, run) : Result<bool>(fail(path.error()));
    if (added) {
      if (!*added) run.skip();
      // The staging has it, also after a crash.
      if (cached && !options.repositories.keep_packages) ::unlink(path->c_str());
    } else {
      // A copy that a crash left damaged isn't kept: the next run fetches it again.
      if (cached && path && added.error().reason == reason_other_digest) ::unlink(path->c_str());
      Error error = std::move(added).error();
      // Where the file lies helps only where it can't be read.
      if (error.fault != Fault::environment) error.source.clear();
      run.failed(name, std::move(error));
    }
  } catch (const std::exception& e) {
    run.failed(name, Error{Fault::internal, "can't be taken in", {}, 0, {}, e.what()});
  }
  run.finish(entry.size);
}

void RepositorySources::State::fetch_packages(const Taking& taking, const std::vector<IndexEntry>& packages,
                                              const std::string& url, unsigned jobs, Ingestion& run) {
  std::vector<Wanted> wanted;
  wanted.reserve(packages.size());
  for (const IndexEntry& e : packages) wanted.push_back({join_url(url, e.path), e.algorithm, e.digest, e.size, false});
  Arrivals arrivals;
  std::size_t told = 0;
  Result<void> fetched;
  std::thread fetching([&] {
    try {
      fetched = fetcher->fetch(
          wanted,
          [&](std::size_t i, Result<std::string> path) {
            ++told;
            waiting_bytes += packages[i].size;
            arrivals.put(i, std::move(path));
          },
          [&] { run.tick(); }, {}, 
          [&] { return waiting_bytes == 0 || waiting_bytes < options.repositories.ahead_bytes; });
    } catch (const std::exception& e) {
      fetched = fail(Error{Fault::internal, "can't fetch", {}, 0, {}, e.what()});
    }
    arrivals.close();
  });
  oneapi::tbb::parallel_for(
      0U, jobs,
      [&](unsigned) noexcept {
        while (const auto one = arrivals.next()) {
          const IndexEntry& entry = packages[one->number];
          take_one(taking, entry, one->path, true, run);
          waiting_bytes -= entry.size;
        }
      },
      oneapi::tbb::simple_partitioner());
  fetching.join();
  if (fetched) return;
  Error error = std::move(fetched).error();
  if (!error.detail.empty()) error.detail += "; ";
  error.detail +=
      std::to_string(packages.size() - told) + " of " + std::to_string(packages.size()) + " packages weren't fetched";
  run.failed(taking.repository.name, std::move(error));
}

void RepositorySources::State::take_packages(const Taking& taking, const std::string& base, unsigned jobs,
                                             Ingestion& run) {
  std::vector<IndexEntry> packages;
  std::uint64_t bytes = 0;
  for (const IndexEntry& e : taking.repository.packages) {
    const Digest identity = selection.identity(e.identity());
    if (!seen.insert(identity).second) {
      run.skip();
    } else if (const auto missing = run.missing(identity); !missing) {
      run.failed(name_of(taking, e), missing.error());
    } else if (!missing->to_read()) {
      if (!missing->resumed) run.skip();
    } else {
      bytes += e.size;
      packages.push_back(e);
    }
  }
  run.expect(packages.size(), bytes);
  if (is_url(base)) return fetch_packages(taking, packages, base, jobs, run);
  // The largest first, so that the last worker isn't left alone with it.
  std::sort(packages.begin(), packages.end(), [](const IndexEntry& a, const IndexEntry& b) {
    return a.size != b.size ? a.size > b.size : a.path < b.path;
  });
  take_in_order(packages.size(), jobs, [&](std::size_t i) {
    take_one(taking, packages[i], base + "/" + packages[i].path, false, run);
  });
}

void RepositorySources::take(const std::string& source, unsigned jobs, Ingestion& run) {
  State& s = *state_;
  const bool rpm = source.starts_with(rpm_prefix);
  const std::string_view prefix = rpm ? rpm_prefix : apt_prefix;
  std::string base = source.substr(prefix.size());
  std::error_code ec;
  if (!is_url(base)) base = fs::absolute(base, ec).lexically_normal().string();
  while (base.size() > 1 && base.ends_with('/')) base.pop_back();
  const std::unique_ptr<Place> place = is_url(base) ? server_place(base, *s.fetcher) : folder_place(base);
  const std::string name = std::string(prefix) + base;
  const RepositoryContext context{s.options.repositories, s.keyring ? &*s.keyring : nullptr, s.selection, s.taken,
                                  std::time(nullptr)};
  const auto take_state = [&](const std::string& what, Result<RepositoryState> state) {
    if (!state) return run.failed(what, std::move(state).error());
    if (context.keyring == nullptr || (state->signer.empty() && s.options.repositories.allow_unsigned))
      run.warn(what + ": taken without a signature, as --allow-unsigned says: nobody vouches for these references");
    for (const auto& [package, error] : state->bad) run.failed(what + " " + package, error);
    run.exclude(state->excluded, 0);
    Taking taking{*state, context, rpm};
    // Who signed the index vouches for all that it names.
    if (!taking.alone()) taking.lot = run.decoders().lot();
    s.take_packages(taking, base, jobs, run);
    if (const TakenState* const before = s.taken.find(state->name); before != nullptr && state->bad.empty())
      s.whole.emplace_back(state->name, before->date);
    s.taken.note(state->name, {state->date, state->signer});
  };
  if (rpm) return take_state(name, read_rpm_md(*place, name, context));
  for (const std::string& suite : s.options.repositories.suites)
    take_state(name + " " + suite, read_apt(*place, name, suite, context));
}

Result<void> RepositorySources::note_unseen(Ingestion& run) {
  for (const auto& [repository, date] : state_->whole)
    GH_CHECK(run.note_unseen(repository + " ", date,
                             [&](const Digest& identity) { return state_->seen.contains(identity); }));
  return {};
}

Result<void> RepositorySources::settle() {
  State& s = *state_;
  GH_CHECK(s.taken.write(s.options.refdb));
  if (s.fetcher != nullptr) s.fetcher->tidy();
  return {};
}

}  // namespace gatehouse::refdb
