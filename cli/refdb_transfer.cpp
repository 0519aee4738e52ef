// gatehouse refdb key, export and import: references on their way to other machines.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "base/ed25519.h"
#include "base/file.h"
#include "base/hex.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "refdb/ingest/taken.h"
#include "refdb/store/transfer.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct Options {
  std::string refdb, key, file;
  std::vector<std::string> trust;
  std::uint64_t generation = 0, since = 0;
  bool has_generation = false, has_since = false, allow_older = false, replace = false, json = false;
};

int run_key(const Options& o) {
  const auto made = make_key_files(o.file);
  if (!made) return complain(made.error());
  if (o.json)
    std::cout << json::serialize(json::object{
                     {"key", escaped(o.file)}, {"public", escaped(o.file + ".pub")}, {"id", made->id().hex()}})
              << '\n';
  else
    std::cout << "key " << made->id().hex() << ": " << escaped(o.file) << " stays here, " << escaped(o.file)
              << ".pub is what others trust\n";
  return flushed();
}

int run_export(const Options& o) {
  const auto key = SigningKey::read_file(o.key);
  if (!key) return complain(key.error());
  refdb::ExportOptions options{.store = o.refdb, .out = o.file};
  if (o.has_generation) options.generation = o.generation;
  if (o.has_since) options.since = o.since;
  Progress progress;
  options.progress = [&](std::uint64_t done, std::uint64_t of) { progress({0, 0, done, of, {}}); };
  const auto exported = refdb::export_generation(options, *key);
  progress.end();
  if (!exported) return complain(exported.error());
  if (o.json) {
    json::object out{{"file", escaped(o.file)},
                     {"generation", exported->generation},
                     {"since", nullptr},
                     {"files", exported->files},
                     {"bytes", exported->bytes},
                     {"content_digest", exported->content_digest},
                     {"key", key->verifying().id().hex()}};
    if (o.has_since) out["since"] = o.since;
    std::cout << json::serialize(out) << '\n';
  } else {
    std::cout << escaped(o.file) << ": generation " << exported->generation;
    if (o.has_since) std::cout << " over " << o.since;
    std::cout << ", " << exported->files << " files, " << exported->bytes << " bytes, signed by "
              << key->verifying().id().hex() << '\n';
  }
  return flushed();
}

// A repository's state that the exporter took isn't gone back behind here either.
Result<void> note_repositories(const std::string& store, Bytes text) {
  GH_TRY(const refdb::Taken theirs, refdb::Taken::parse(text, "REPOSITORIES of the export"));
  GH_TRY(refdb::Taken ours, refdb::Taken::read(store));
  ours.note_all(theirs);
  return ours.write(store);
}

int run_import(const Options& o) {
  refdb::ImportOptions options{
      .store = o.refdb, .in = o.file, .trusted = {}, .allow_older = o.allow_older, .replace = o.replace};
  for (const std::string& path : o.trust) {
    auto key = VerifyingKey::read_file(path);
    if (!key) return complain(key.error());
    options.trusted.push_back(*std::move(key));
  }
  options.repositories = [&](Bytes text) { return note_repositories(o.refdb, text); };
  Progress progress;
  options.progress = [&](std::uint64_t done, std::uint64_t of) { progress({0, 0, done, of, {}}); };
  const auto imported = refdb::import_generation(options);
  progress.end();
  if (!imported) return complain(imported.error());
  if (o.json) {
    std::cout << json::serialize(json::object{{"generation", imported->generation},
                                              {"changed", imported->changed},
                                              {"packages", imported->packages},
                                              {"files", imported->files},
                                              {"content_digest", imported->content_digest},
                                              {"key", imported->key},
                                              {"exported_generation", imported->exported_generation},
                                              {"exported", imported->made / 1'000'000}})
              << '\n';
  } else {
    std::cout << (imported->changed ? "generation " : "nothing new: generation ") << imported->generation
              << " is generation " << imported->exported_generation << " of the exporter: " << imported->packages
              << " packages, " << imported->files << " files, signed by " << imported->key << '\n';
  }
  return flushed();
}

}  // namespace

void add_refdb_transfer(CLI::App& refdb, Run& run) {
  const auto o = std::make_shared<Options>();
  const auto add = [&](const std::string& name, const std::string& description, const std::string& example,
                       int (*what)(const Options&)) {
    CLI::App* const added = refdb.add_subcommand(name, description);
    added->add_flag("--json", o->json, "one JSON object on standard output");
    added->footer("Example:\n  gatehouse refdb " + example);
    added->callback([o, what, &run] { run = [o, what] { return what(*o); }; });
    return added;
  };
  CLI::App* const key =
      add("key", "Make a key that exports are signed with: FILE is secret, FILE.pub is for those who import",
          "key /etc/gatehouse/export.key", run_key);
  not_empty(key->add_option("FILE", o->file, "a new file")->required());

  CLI::App* const out = add("export", "Write a generation to a signed file, for other machines",
                            "export --refdb refdb --key export.key --since 41 42.refdb", run_export);
  not_empty(out->add_option("--refdb", o->refdb, "reference store")->required());
  not_empty(out->add_option("--key", o->key, "private Ed25519 key, PEM, readable by its owner alone")->required());
  CLI::Option* const generation =
      unsigned_only(out->add_option("--generation", o->generation, "a generation (default: the current one)"));
  CLI::Option* const since = unsigned_only(
      out->add_option("--since", o->since, "only what this earlier generation lacks: for those who have that"));
  not_empty(out->add_option("OUT", o->file, "file to write; it appears when it is whole")->required());
  out->callback([o, generation, since, &run] {
    o->has_generation = generation->count() != 0;
    o->has_since = since->count() != 0;
    run = [o] { return run_export(*o); };
  });

  CLI::App* const in = add("import", "Take an export of another machine, and make it the current generation",
                           "import --refdb refdb --trust export.key.pub 42.refdb", run_import);
  not_empty(in->add_option("--refdb", o->refdb, "reference store; made where there is none")->required());
  not_empty(in->add_option("--trust", o->trust, "public key whose exports are taken, PEM; repeatable")
                ->required()
                ->allow_extra_args(false));
  in->add_flag("--allow-older", o->allow_older, "also an export older than the one that was taken from this key");
  in->add_flag("--replace", o->replace, "also in place of what was ingested here");
  not_empty(in->add_option("IN", o->file, "the export")->required());
}

}  // namespace gatehouse::cli
