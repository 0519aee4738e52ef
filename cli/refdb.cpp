#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <ctime>
#include <iostream>
#include <mutex>

#include "base/hex.h"
#include "cli/progress.h"
#include "cli/refdb.h"
#include "refdb/explain/explain.h"
#include "refdb/ingest/ingest.h"
#include "refdb/store/builder.h"
#include "refdb/store/generations.h"
#include "refdb/store/open.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct RefdbOptions {
  std::string refdb, product, layer, query;
  std::vector<std::string> sources, hashes;
  refdb::RepositoryOptions repositories;
  unsigned jobs = 0, stall_seconds = 30, ahead_mib = 1024;
  std::uint64_t from = 0, to = 0;  // generations
  std::size_t keep = 10;
  bool json = false, files = false, no_sandbox = false, all_products = false;
};

int run_ingest(const RefdbOptions& o) {
  refdb::IngestOptions options;
  options.refdb = o.refdb;
  options.product = o.product;
  if (!o.layer.empty()) {
    const auto layer = refdb::layer_of(o.layer);
    if (!layer) return std::fprintf(stderr, "gatehouse: --layer: release, security, updates, third-party or site\n"), 2;
    options.layer = *layer;
  }
  options.sources = o.sources;
  options.jobs = o.jobs;
  options.all_products = o.all_products;
  options.repositories = o.repositories;
  options.sandbox = !o.no_sandbox;
  options.repositories.stall = std::chrono::seconds(std::clamp(o.stall_seconds, 1U, 86400U));
  options.repositories.ahead_bytes = std::uint64_t(o.ahead_mib) << 20;
  if (!o.hashes.empty()) {
    options.algorithms.clear();
    for (const std::string& name : o.hashes) {
      const auto algorithm = hash_algorithm(name);
      if (!algorithm) return std::fprintf(stderr, "gatehouse: --hash: unknown algorithm %s\n", name.c_str()), 2;
      options.algorithms.push_back(*algorithm);
    }
  }
  Progress progress;
  options.progress = [&](const refdb::IngestProgress& p) { progress(p); };
  const auto report = refdb::ingest(options);
  progress.end();
  if (!report) return complain(report.error());
  for (const std::string& w : report->warnings) std::fprintf(stderr, "gatehouse: warning: %s\n", escaped(w).c_str());
  for (const refdb::FailedSource& f : report->failed) std::fprintf(stderr, "gatehouse: %s\n", f.reason.c_str());
  if (o.json) {
    json::object out;
    out["packages"] = report->packages;
    out["files"] = report->files;
    out["bytes"] = report->bytes;
    out["skipped"] = report->skipped;
    out["excluded"] = {{"packages", report->excluded_packages}, {"files", report->excluded_files}};
    json::array failed;
    for (const refdb::FailedSource& f : report->failed)
      failed.push_back({{"source", escaped(f.source)}, {"reason", escaped(f.reason, f.reason.size())}});
    out["failed"] = std::move(failed);
    json::array warnings;
    for (const std::string& w : report->warnings) warnings.emplace_back(escaped(w, w.size()));
    out["warnings"] = std::move(warnings);
    out["generation"] = report->generation;
    std::cout << json::serialize(out) << '\n';
  } else {
    std::cout << report->packages << " packages, " << report->files << " files taken in, "
              << report->skipped - report->excluded_packages << " sources known already, ";
    if (report->excluded_packages + report->excluded_files != 0)
      std::cout << report->excluded_packages << " packages and " << report->excluded_files << " files left out, ";
    std::cout << report->failed.size() << " failed; generation " << report->generation << '\n';
  }
  if (const int code = flushed(); code != 0) return code;
  return report->failed.empty() ? 0 : 3;
}

}  // namespace

json::object described(const refdb::Reference& r) {
  json::object m;
  m["product"] = escaped(r.product);
  m["layer"] = name(r.layer);
  m["path"] = escaped(r.path);
  m["package"] = escaped(r.package);
  m["version"] = escaped(r.version);
  m["architecture"] = escaped(r.architecture);
  m["source"] = escaped(r.source);
  json::object digests;
  for (const auto& [algorithm, digest] : r.digests) digests[name(algorithm)] = digest.hex();
  m["digests"] = std::move(digests);
  if (r.is_mutable) m["mutable"] = true;
  return m;
}

Result<Digest> digest_of_text(const std::string& text) {
  const auto refuse = [&](std::string_view why) {
    return fail(Error{Fault::usage, why, {}, 0, text.substr(0, 100), {}});
  };
  const std::size_t colon = text.find(':');
  const auto digest = from_hex(colon == std::string::npos ? text : text.substr(colon + 1));
  if (!digest || digest->size() < 20 || digest->size() > max_digest_size)
    return refuse("a query is an absolute path or a digest in hexadecimal");
  if (colon != std::string::npos) {
    const auto algorithm = hash_algorithm(text.substr(0, colon));
    if (!algorithm) return refuse("unknown digest algorithm");
    if (digest_size(*algorithm) != digest->size()) return refuse("the digest isn't as long as its algorithm's");
  }
  return Digest(*digest);
}

std::string utc(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  char text[32] = "";
  if (::gmtime_r(&time, &parts) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

namespace {

json::object answer(const std::string& query, const std::vector<refdb::Reference>& found) {
  json::object out;
  out["query"] = escaped(query);
  out["found"] = !found.empty();
  json::array matches;
  for (const refdb::Reference& r : found) matches.push_back(described(r));
  out["matches"] = std::move(matches);
  return out;
}

Result<std::vector<refdb::Reference>> look_up(const refdb::View& view, const std::string& product, const std::string& query) {
  const std::vector<std::string> products = product.empty() ? view.products() : std::vector{product};
  std::vector<refdb::Reference> all;
  const auto ask = [&](const auto& question) -> Result<void> {
    for (const std::string& one : products) {
      GH_TRY(auto found, question(one));
      std::move(found.begin(), found.end(), std::back_inserter(all));
    }
    return {};
  };
  if (query.starts_with('/')) {
    GH_CHECK(ask([&](const std::string& one) { return view.references_of_path(one, query); }));
    return all;
  }
  GH_TRY(const Digest digest, digest_of_text(query));
  GH_TRY(all, view.references_of_digest(product, digest));
  // It may be one that a measurement list has.
  if (all.empty()) GH_CHECK(ask([&](const std::string& one) { return refdb::references_of_template(view, one, digest); }));
  return all;
}

constexpr std::string_view package_prefix = "package:";

// All versions of a package: "package:bash". 0: some, 1: none.
int look_up_package(const refdb::View& view, const std::string& product, const std::string& query, bool as_json) {
  json::array matches;
  const std::string package = query.substr(package_prefix.size());
  for (const std::string& one : product.empty() ? view.products() : std::vector{product}) {
    auto found = view.package_versions(one, {package});
    if (!found) return complain(found.error());
    for (const refdb::PackageVersion& v : (*found)[package]) {
      json::object m{{"product", escaped(one)},
                     {"layer", name(v.layer)},
                     {"package", escaped(package)},
                     {"version", escaped(v.version)},
                     {"architecture", escaped(v.architecture)},
                     {"source", escaped(v.source)},
                     {"files", v.files},
                     {"first_seen", utc(v.first_seen)}};
      if (v.last_seen != 0) m["last_seen"] = utc(v.last_seen);
      matches.push_back(std::move(m));
    }
  }
  const bool found = !matches.empty();
  if (as_json) {
    std::cout << json::serialize(json::object{{"query", escaped(query)}, {"found", found}, {"matches", std::move(matches)}}) << '\n';
    return found ? 0 : 1;
  }
  const auto text = [](const json::value& m, std::string_view key) { return std::string(m.at(key).as_string()); };
  if (!found) std::cout << escaped(query) << ": not found\n";
  for (const json::value& m : matches) {
    std::cout << text(m, "package") << ' ' << text(m, "version") << ' ' << text(m, "architecture") << ", " << m.at("files") << " files  (" << text(m, "product")
              << ", " << text(m, "layer") << ", " << text(m, "source") << "), first seen " << text(m, "first_seen");
    if (m.as_object().contains("last_seen")) std::cout << ", last seen " << text(m, "last_seen");
    std::cout << '\n';
  }
  return found ? 0 : 1;
}

int run_lookup(const RefdbOptions& o) {
  const auto view = refdb::open_view(o.refdb);
  if (!view) return complain(view.error());
  const auto one = [&](const std::string& query, bool as_json) -> int {
    if (query.starts_with(package_prefix)) return look_up_package(**view, o.product, query, as_json);
    const auto found = look_up(**view, o.product, query);
    if (!found) {
      // From standard input each line has its answer, in order, also the one that asks for nothing.
      if (as_json && found.error().fault == Fault::usage && o.query == "-") {
        json::object out = answer(query, {});
        out["reason"] = found.error().reason;
        std::cout << json::serialize(out) << '\n';
      }
      return complain(found.error());
    }
    if (as_json) {
      std::cout << json::serialize(answer(query, *found)) << '\n';
    } else {
      if (found->empty()) std::cout << escaped(query) << ": not found\n";
      for (const refdb::Reference& r : *found) {
        std::cout << escaped(r.path) << "  " << escaped(r.package) << ' ' << escaped(r.version) << "  (" << escaped(r.product) << ", " << name(r.layer) << ", " << escaped(r.source) << ")\n";
        for (const auto& [algorithm, digest] : r.digests) std::cout << "  " << name(algorithm) << ' ' << digest.hex() << '\n';
      }
    }
    return found->empty() ? 1 : 0;
  };
  int code = 0;
  if (o.query == "-") {
    for (std::string line; std::cout && std::getline(std::cin, line);) code = std::max(code, one(line, true));
  } else {
    code = one(o.query, o.json);
  }
  const int written = flushed();
  return written != 0 ? written : code;
}

int run_stats(const RefdbOptions& o) {
  const auto stats = refdb::read_stats(o.refdb);
  if (!stats) return complain(stats.error());
  json::object out;
  out["products"] = stats->products;
  out["packages"] = stats->packages;
  out["files"] = stats->files;
  out["digests"] = stats->digests;
  out["bytes"] = stats->bytes;
  out["generation"] = stats->generation;
  out["content_digest"] = stats->content_digest;
  if (o.json) {
    std::cout << json::serialize(out) << '\n';
  } else {
    for (const auto& member : out) std::cout << member.key() << ": " << (member.value().is_string() ? std::string(member.value().as_string()) : json::serialize(member.value())) << '\n';
  }
  return flushed();
}

int run_generations(const RefdbOptions& o) {
  const auto generations = refdb::list_generations(o.refdb);
  if (!generations) return complain(generations.error());
  for (const refdb::GenerationInfo& g : *generations) {
    if (!g.damage.empty()) std::fprintf(stderr, "gatehouse: %s\n", g.damage.c_str());
    if (o.json) {
      json::object out{{"generation", g.number}, {"current", g.current}, {"made", utc(g.made)}};
      if (g.damage.empty()) {
        out["products"] = g.products;
        out["packages"] = g.packages;
        out["files"] = g.files;
        out["content_digest"] = g.content_digest;
      } else {
        out["damage"] = escaped(g.damage);
      }
      std::cout << json::serialize(out) << '\n';
    } else if (g.damage.empty()) {
      std::cout << g.number << (g.current ? " (current)" : "") << "  " << utc(g.made) << "  " << g.packages << " packages, " << g.files
                << " files, content " << g.content_digest.substr(0, 16) << '\n';
    } else {
      std::cout << g.number << (g.current ? " (current)" : "") << "  " << utc(g.made) << "  can't be read\n";
    }
  }
  return flushed();
}

// Files are written as they are found, so that millions of them cost no memory; nothing before the first is found.
int run_refdb_diff(const RefdbOptions& o) {
  bool begun = false, first = true;
  const auto begin = [&] {
    if (!o.json || std::exchange(begun, true)) return;
    std::cout << "{\"from\":" << o.from << ",\"to\":" << o.to << (o.files ? ",\"paths\":[" : "");
  };
  const auto on_file = [&](const refdb::FileChange& f) {
    begin();
    if (o.json) {
      const json::object out{{"change", name(f.change)}, {"product", escaped(f.product)}, {"layer", name(f.layer)}, {"path", escaped(f.path)}};
      std::cout << (std::exchange(first, false) ? "" : ",") << json::serialize(out);
    } else {
      std::cout << name(f.change) << "  " << escaped(f.path) << "  (" << escaped(f.product) << ")\n";
    }
  };
  const auto diff = refdb::diff_generations(o.refdb, o.from, o.to, o.files ? on_file : std::function<void(const refdb::FileChange&)>());
  if (!diff) return complain(diff.error());
  begin();
  json::array packages;
  for (const refdb::PackageChange& p : diff->packages) {
    if (o.json) {
      packages.push_back({{"change", name(p.change)}, {"product", escaped(p.product)}, {"layer", name(p.layer)}, {"package", escaped(p.name)}, {"version", escaped(p.version)},
                          {"architecture", escaped(p.architecture)}, {"source", escaped(p.source)}, {"files", p.files}});
    } else {
      std::cout << name(p.change) << "  " << escaped(p.name.empty() ? p.source : p.name + " " + p.version + " " + p.architecture) << ", " << p.files << " files  ("
                << escaped(p.product) << ")\n";
    }
  }
  if (o.json) {
    const json::object files{{"added", diff->added}, {"removed", diff->removed}, {"changed", diff->changed}};
    std::cout << (o.files ? "]" : "") << ",\"packages\":" << json::serialize(packages) << ",\"files\":" << json::serialize(files) << "}\n";
  } else {
    std::cout << diff->packages.size() << " packages; files: " << diff->added << " added, " << diff->removed << " removed, " << diff->changed << " changed\n";
  }
  return flushed();
}

int run_rollback(const RefdbOptions& o) {
  const auto published = refdb::roll_back(o.refdb, o.from);
  if (!published) return complain(published.error());
  if (o.json)
    std::cout << json::serialize(json::object{{"generation", published->generation}, {"contents_of", o.from}, {"content_digest", published->content_digest}}) << '\n';
  else
    std::cout << "generation " << published->generation << " has the contents of " << o.from << '\n';
  return flushed();
}

int run_prune(const RefdbOptions& o) {
  const auto removed = refdb::prune_generations(o.refdb, o.keep);
  if (!removed) return complain(removed.error());
  if (o.json)
    std::cout << json::serialize(json::object{{"removed", *removed}}) << '\n';
  else
    std::cout << *removed << " generations removed\n";
  return flushed();
}

void add_generations(CLI::App& command, const std::shared_ptr<RefdbOptions>& o, Run& run) {
  const auto add = [&](const std::string& name, const std::string& description, int (*what)(const RefdbOptions&), const std::string& example) {
    CLI::App* const added = command.add_subcommand(name, description);
    not_empty(added->add_option("--refdb", o->refdb, "reference store")->required());
    added->add_flag("--json", o->json, "JSON on standard output");
    added->footer("Example:\n  gatehouse refdb " + example);
    added->callback([o, what, &run] { run = [o, what] { return what(*o); }; });
    return added;
  };
  add("generations", "The generations of the store, newest first", run_generations, "generations --refdb refdb");
  CLI::App* const diff = add("diff", "What one generation has that another hasn't", run_refdb_diff, "diff --refdb refdb 41 42 --files");
  unsigned_only(diff->add_option("FROM", o->from, "a generation")->required());
  unsigned_only(diff->add_option("TO", o->to, "another")->required());
  diff->add_flag("--files", o->files, "name each file, too");
  CLI::App* const rollback = add("rollback", "Make the contents of an earlier generation current again, as a new generation",
                                 run_rollback, "rollback --refdb refdb 41");
  unsigned_only(rollback->add_option("GENERATION", o->from, "an earlier generation")->required());
  CLI::App* const prune = add("prune", "Remove old generations that nobody reads; sessions judged by them can't be judged again",
                              run_prune, "prune --refdb refdb --keep 30");
  unsigned_only(prune->add_option("--keep", o->keep, "how many stay beside the current one (default: 10)"));
}

void add_repository_options(CLI::App& ingest, refdb::RepositoryOptions& r, unsigned& stall_seconds, unsigned& ahead_mib) {
  // Not more than one value after an option: the next is a source.
  const auto add = [&](CLI::Option* option, const char* group = "Repositories (apt:, rpm-md:)") {
    option->group(group)->allow_extra_args(false);
  };
  constexpr const char* selection = "Selection";
  add(not_empty(ingest.add_option("--suite", r.suites, "apt: a suite, \"bookworm\"; \"./\" for a repository without; repeatable")->delimiter(',')));
  add(not_empty(ingest.add_option("--component", r.components, "apt: components (default: main); repeatable")->delimiter(',')));
  add(not_empty(ingest.add_option("--architecture", r.architectures,
                                  "architectures, as the repository names them (default: apt: this machine's, rpm-md: all); repeatable")
                    ->delimiter(',')));
  add(not_empty(ingest.add_option("--keyring", r.keyrings, "OpenPGP keys that the repository or its packages are signed with, binary or armored; repeatable")));
  add(not_empty(ingest.add_option("--ca", r.ca, "PEM file of the authorities that vouch for https servers (default: the system's)")));
  add(ingest.add_flag("--allow-unsigned", r.allow_unsigned, "take what nobody signed, too; --keyring isn't needed"));
  add(ingest.add_flag("--allow-older", r.allow_older, "also a state older than the one taken before, or past its Valid-Until"));
  add(not_empty(ingest.add_option("--include", r.include,
                                  "packages (NAME, section:NAME, priority:NAME) or paths (/PATH): these only; a shell's patterns; repeatable")), selection);
  add(not_empty(ingest.add_option("--exclude", r.exclude, "the same: not these; repeatable")), selection);
  add(not_empty(ingest.add_option("--profile", r.profile, "server: without documentation, debug symbols, games and sources")), selection);
  add(not_empty(ingest.add_option("--cache", r.cache, "folder for what is downloaded (default: gatehouse in the user's cache folder)")));
  add(ingest.add_flag("--keep-packages", r.keep_packages, "leave downloaded packages in the cache, once they are in the store"));
  add(unsigned_only(ingest.add_option("--downloads", r.downloads, "files at once (default: 4)")));
  add(unsigned_only(ingest.add_option("--ahead", ahead_mib, "MiB of packages that may wait in the cache to be taken in (default: 1024)")));
  add(unsigned_only(ingest.add_option("--stall", stall_seconds, "seconds without data until a connection is given up (default: 30)")));
}

}  // namespace

void add_refdb(CLI::App& app, Run& run) {
  auto o = std::make_shared<RefdbOptions>();
  CLI::App* const command = app.add_subcommand("refdb", "The reference store: take packages in, look files up");
  command->require_subcommand(1);
  command->footer(
      "Example:\n  gatehouse refdb ingest --refdb refdb --product \"Debian 12 x86_64\" root:/srv/image "
      "sha256sums:site.txt");
  CLI::App* const ingest = command->add_subcommand("ingest", "Take references from packages, trees and lists into a new generation");
  not_empty(ingest->add_option("--refdb", o->refdb, "reference store")->required());
  not_empty(ingest->add_option("--product", o->product, "product, as endpoints name theirs: \"Debian 12 x86_64\"")
                ->required());
  not_empty(ingest->add_option("--layer", o->layer, "release (default), security, updates, third-party or site"));
  unsigned_only(ingest->add_option("--jobs", o->jobs, "packages at once (default: as many as the machine has cores)"));
  // Not more than one value after it: the next is a source.
  ingest->add_option("--hash", o->hashes, "file digests: sha1, sha256, sha384, sha512 (default: all; of an .rpm the one of its header costs nothing)")->delimiter(',')->allow_extra_args(false);
  ingest->add_flag("--no-sandbox", o->no_sandbox, "decode packages in this process, where others can't be confined");
  ingest->add_flag("--all-products", o->all_products, "strongtnc: all products of the database, each under its own name; without, the one that --product names");
  ingest->add_flag("--json", o->json, "one JSON object on standard output");
  ingest
      ->add_option(
          "SOURCE", o->sources,
          "a .deb, an .rpm, a directory searched for packages, root:DIR (an installed tree), oci:FILE "
          "(a container image's archive), initramfs:FILE, sha256sums:FILE (a list of "
          "that tool's with absolute paths), keylime:FILE (a runtime policy), ima:FILE (the measurement list of a machine "
          "that is known to be good), swid:FILE (a SWID tag with hashes), strongtnc:FILE (strongTNC's SQLite database), apt:DIR_OR_URL (a Debian repository), "
          "rpm-md:DIR_OR_URL (an RPM repository)")
      ->required();
  add_repository_options(*ingest, o->repositories, o->stall_seconds, o->ahead_mib);
  ingest->footer(
      "Example:\n  gatehouse refdb ingest --refdb refdb --product \"Debian 12 x86_64\" /srv/mirror/pool\n"
      "  gatehouse refdb ingest --refdb refdb --product \"Debian 12 x86_64\" --suite bookworm --suite bookworm-updates "
      "--keyring /usr/share/keyrings/debian-archive-keyring.gpg --profile server apt:https://mirror.example/debian");
  ingest->callback([o, &run] { run = [o] { return run_ingest(*o); }; });
  CLI::App* const lookup = command->add_subcommand("lookup", "What is known of a path, a digest or a package");
  not_empty(lookup->add_option("--refdb", o->refdb, "reference store")->required());
  not_empty(lookup->add_option("--product", o->product, "this product only"));
  lookup->add_flag("--json", o->json, "one JSON object on standard output");
  lookup->add_option("QUERY", o->query, "an absolute path, the digest of a content or a template hash, package:NAME, or - for queries from standard input, one a line")->required();
  lookup->footer("Example:\n  gatehouse refdb lookup --refdb refdb /usr/bin/ls --json");
  lookup->callback([o, &run] { run = [o] { return run_lookup(*o); }; });
  CLI::App* const stats = command->add_subcommand("stats", "What the store holds");
  not_empty(stats->add_option("--refdb", o->refdb, "reference store")->required());
  stats->add_flag("--json", o->json, "one JSON object on standard output");
  stats->footer("Example:\n  gatehouse refdb stats --refdb refdb --json");
  stats->callback([o, &run] { run = [o] { return run_stats(*o); }; });
  add_generations(*command, o, run);
  add_refdb_products(*command, run);
  add_refdb_transfer(*command, run);
}

}  // namespace gatehouse::cli
