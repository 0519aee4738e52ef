#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>

#include "base/file.h"
#include "base/hex.h"
#include "base/jws.h"
#include "cli/commands.h"
#include "cli/kept.h"
#include "cli/session_why.h"
#include "cli/state_access.h"
#include "server/config/config.h"
#include "server/evidence/again.h"
#include "server/evidence/bundle.h"
#include "server/results/ear.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct SessionOptions {
  StateOptionsOfCommand where;
  std::string device, session, refdb, file, format = "bundle", key;
  std::optional<std::uint64_t> last;
  bool timing = false;
};

const json::object* object_of(const json::object& parent, std::string_view member) {
  const json::value* const value = parent.if_contains(member);
  return value ? value->if_object() : nullptr;
}

void print_verdict_line(const json::object& verdict) {
  static const json::object none;
  const json::object* const found = object_of(verdict, "record");
  const json::object& record = found ? *found : none;
  std::cout << shown(verdict, "session") << "  " << shown(verdict, "device") << "  " << shown(verdict, "recommendation")
            << "  " << shown(record, "state") << "  " << shown(record, "started") << '\n';
}

void print_finding(const json::object& finding) {
  std::cout << "  " << shown(finding, "component");
  if (shown(finding, "entry") != "-") std::cout << " entry " << shown(finding, "entry");
  if (shown(finding, "pcr") != "-") std::cout << " PCR " << shown(finding, "pcr");
  std::cout << ": " << shown(finding, "status");
  if (shown(finding, "path") != "-") std::cout << " " << shown(finding, "path");
  if (shown(finding, "reason") != "-") std::cout << " (" << shown(finding, "reason") << ")";
  std::cout << '\n';
  if (shown(finding, "package") != "-")
    std::cout << "    package " << shown(finding, "package") << " " << shown(finding, "version") << '\n';
  for (const char* member : {"expected", "measured"}) {
    const std::string text = shown(finding, member);
    if (text != "-" && text != "[]") std::cout << "    " << member << " " << text << '\n';
  }
}

// The verdict in the order in which a person asks: what, why, and what exactly.
void print_show(const json::object& verdict) {
  print_verdict_line(verdict);
  if (const json::object* const record = object_of(verdict, "record")) {
    std::cout << "peer " << shown(*record, "peer") << ", identity " << shown(*record, "identity") << ", AK "
              << shown(*record, "ak") << ", policy " << shown(*record, "policy") << ", finished "
              << shown(*record, "finished") << '\n';
    if (shown(*record, "told") != "-") std::cout << "monitor mode: the endpoint was told " << shown(*record, "told") << '\n';
    if (const json::object* const shadow = object_of(*record, "shadow"))
      std::cout << "shadow policy " << shown(*shadow, "policy") << ": " << shown(*shadow, "recommendation") << '\n';
    if (shown(*record, "state") == "interrupted")
      std::cout << "the server's process ended before this session had a result\n";
  }
  std::cout << "product " << shown(verdict, "product") << ", reference generation " << shown(verdict, "generation")
            << ", evaluation " << shown(verdict, "evaluation") << '\n';
  if (shown(verdict, "summary") != "-") std::cout << shown(verdict, "summary") << '\n';
  std::string failed;
  if (const json::object* const checks = object_of(verdict, "checks"))
    for (const auto& check : *checks)
      if (check.value() == "failed") failed += " " + std::string(check.key());
  if (!failed.empty()) std::cout << "checks that failed:" << failed << " (docs/checks.md)\n";
  const json::value* const findings = verdict.if_contains("findings");
  if (findings == nullptr || !findings->is_array()) return;
  // What decides comes first: failed and differing measurements, then unknown ones.
  for (const std::string_view status : {"failed", "differ", "absent", "unknown"})
    for (const json::value& one : findings->get_array())
      if (const json::object* const finding = one.if_object(); finding != nullptr && shown(*finding, "status") == status)
        print_finding(*finding);
}

Result<json::object> one_session(const SessionOptions& options, std::string_view command) {
  GH_TRY(auto access, options.where.open(false));
  json::object request;
  request["command"] = command;
  request["session"] = options.session;
  GH_TRY(const json::object response, ask(access, request));
  const json::object* const verdict = object_of(response, "item");
  if (verdict == nullptr) return fail(Fault::internal, "a response has an item", "docs/formats/control.md");
  return *verdict;
}

int run_session_show(const SessionOptions& options) {
  const auto verdict = one_session(options, "session.show");
  if (!verdict) return complain(verdict.error());
  if (options.where.json)
    std::cout << json::serialize(*verdict) << '\n';
  else
    print_show(*verdict);
  return flushed();
}

int run_why(const SessionOptions& options) {
  const auto verdict = one_session(options, "session.show");
  if (!verdict) return complain(verdict.error());
  const Explanation why = explain(*verdict);
  if (options.where.json) {
    json::object out = *verdict;
    out["why"] = to_json(why);
    std::cout << json::serialize(out) << '\n';
  } else {
    print_verdict_line(*verdict);
    std::cout << to_text(why);
  }
  return flushed();
}

// Judged by the policy and the generation that it was judged by.
Result<int> replay(const SessionOptions& options) {
  GH_TRY(auto access, options.where.open(false));
  GH_TRY(const KeptSession session, fetch_kept(access, options.session));
  GH_TRY(const auto kept, decode(session));
  GH_TRY(const std::string refdb, refdb_of(options.refdb, options.where));
  GH_TRY(const auto references, Generations(refdb).of(*kept));
  GH_TRY(const auto policy, evidence::policy_of(*kept));
  if (policy->version() != session.policy)
    return fail(Error{Fault::environment, "the kept policy isn't the one that the session was judged by", {}, 0, options.session,
                      "kept " + policy->version() + ", recorded " + session.policy});
  pipeline::Pipeline pipeline;
  GH_TRY(const auto again, evidence::judge_again_blocking(kept, policy, references, pipeline));
  const std::string now = pipeline::to_json(again.verdict);
  const bool same = now == session.verdict;
  if (options.where.json) {
    std::cout << now << '\n';
  } else {
    boost::system::error_code code;
    const json::value value = json::parse(now, code);
    if (!code && value.is_object()) print_show(value.get_object());
    std::cout << (same ? "the same verdict as recorded, byte for byte\n" : "another verdict than the recorded one:\n");
    if (const auto recorded = pipeline::verdict_from_json(session.verdict); !same && recorded)
      for (const std::string& line : evidence::differences(*recorded, again.verdict)) std::cout << "  " << escaped(line, 4096) << '\n';
  }
  if (!same) std::cerr << "gatehouse: session replay: the verdict differs from the recorded one\n";
  if (const int code = flushed(); code != 0) return code;
  return same ? 0 : 1;
}

// Judging notes what is asked of the references: what a bundle needs of them.
Result<int> export_bundle(const SessionOptions& options) {
  GH_TRY(auto access, options.where.open(false));
  GH_TRY(KeptSession session, fetch_kept(access, options.session));
  GH_TRY(const auto kept, decode(session));
  GH_TRY(const std::string refdb, refdb_of(options.refdb, options.where));
  GH_TRY(const auto references, Generations(refdb).of(*kept));
  GH_TRY(const auto policy, evidence::policy_of(*kept));
  evidence::Bundle bundle;
  bool same = true;
  {
    const auto noting = references ? std::make_shared<evidence::NotingView>(references) : nullptr;
    pipeline::Pipeline pipeline;
    GH_TRY(const auto again, evidence::judge_again_blocking(kept, policy, noting, pipeline));
    same = pipeline::to_json(again.verdict) == session.verdict;
    if (noting) bundle.answers = noting->take();
  }
  bundle.verdict = session.verdict;
  bundle.record = json::serialize(session.record);
  bundle.evidence = std::move(session.evidence);
  const ByteVector bytes = evidence::append_bundle(bundle);
  GH_CHECK(write_file_atomically(options.file, bytes, 0600));
  if (options.where.json)
    std::cout << json::serialize(json::object{{"session", options.session}, {"file", options.file}, {"bytes", bytes.size()}, {"same", same}}) << '\n';
  else
    std::cout << options.file << ": " << bytes.size() << " bytes; check it with: gatehouse verify --bundle " << options.file << '\n';
  if (!same) std::cerr << "gatehouse: session export: judged again, the verdict differs from the recorded one\n";
  if (const int code = flushed(); code != 0) return code;
  return same ? 0 : 1;
}

// The key of the option; else what the server signs with.
Result<JwsSigner> ear_signer(const SessionOptions& options) {
  if (!options.key.empty()) return JwsSigner::read_file(options.key);
  if (options.where.config.empty()) return fail(Error{Fault::usage, "--format ear needs --key FILE, or --config FILE with the server's key", {}, 0, "session export", {}});
  const auto config = server::read_config(options.where.config);
  if (!config) return fail(Error{config.error().fault, "the configuration can't be used", {}, 0, options.where.config, {}});
  return JwsSigner::read_file(config->results.ear_key.empty() ? config->key : config->results.ear_key);
}

// An attestation result that whoever knows the server's public key can check and read, of any session that has ended.
Result<int> export_ear(const SessionOptions& options) {
  GH_TRY(const JwsSigner signer, ear_signer(options));
  GH_TRY(const json::object session, one_session(options, "session.show"));
  GH_TRY(const std::string token, server::ear_token(json::serialize(session), signer));
  GH_CHECK(write_file_atomically(options.file, as_bytes(token + "\n"), 0600));
  if (options.where.json)
    std::cout << json::serialize(json::object{{"session", options.session}, {"file", options.file}, {"bytes", token.size() + 1}, {"algorithm", signer.algorithm()}, {"key", signer.key_id()}}) << '\n';
  else
    std::cout << options.file << ": an attestation result (EAR), signed with " << signer.algorithm() << " by key " << signer.key_id() << '\n';
  return flushed();
}

int exit_of(const Result<int>& result) { return result ? *result : complain(result.error()); }

void print_stages(const json::object& timing, const char* group) {
  const json::object* const stages = object_of(timing, group);
  if (stages == nullptr) return;
  for (const auto& stage : *stages)
    if (const std::int64_t* const ns = stage.value().if_int64(); ns != nullptr && *ns != 0)
      std::cout << "  " << std::left << std::setw(12) << stage.key() << std::right << std::setw(12) << double(*ns) / 1e6 << " ms\n";
}

int run_timing(const SessionOptions& options) {
  const auto session = one_session(options, "session.timing");
  if (!session) return complain(session.error());
  if (options.where.json) {
    std::cout << json::serialize(*session) << '\n';
    return flushed();
  }
  const json::object* const timing = object_of(*session, "timing_ns");
  if (timing == nullptr) {
    std::cout << shown(*session, "session") << ": no timing was recorded\n";
    return flushed();
  }
  boost::system::error_code none;
  const auto total = timing->contains("total") ? timing->at("total").to_number<std::int64_t>(none) : 0;
  std::cout << std::fixed << std::setprecision(3) << shown(*session, "session") << ": " << double(total) / 1e6 << " ms up to its record\n";
  print_stages(*timing, "stages");
  std::cout << "meanwhile on the evidence plane\n";
  print_stages(*timing, "evidence_plane");
  return flushed();
}

int run_session_list(const SessionOptions& options) {
  auto access = options.where.open(false);
  if (!access) return complain(access.error());
  json::object request;
  request["command"] = "session.list";
  if (!options.device.empty()) request["device"] = options.device;
  std::uint64_t left = options.last.value_or(UINT64_MAX);
  if (left == 0) return 0;
  if (options.last) request["limit"] = std::min<std::uint64_t>(left, 100);
  const auto done = ask_pages(*access, request, "from", [&](const json::value& one) {
    const json::object* const verdict = one.if_object();
    if (verdict == nullptr) return true;
    if (options.where.json)
      std::cout << json::serialize(*verdict) << '\n';
    else
      print_verdict_line(*verdict);
    return --left > 0 && bool(std::cout);
  });
  if (!done) return complain(done.error());
  return flushed();
}

}  // namespace

void add_session(CLI::App& app, Run& run) {
  const auto options = std::make_shared<SessionOptions>();
  CLI::App* const group = app.add_subcommand("session", "Sessions and their verdicts");
  group->require_subcommand(1);
  group->footer("Example:\n  gatehouse session list --last 1 --json --state state");

  CLI::App* const list = group->add_subcommand("list", "Sessions, newest first");
  options->where.add_to(*list);
  list->add_option("--device", options->device, "of this Device ID only");
  unsigned_only(list->add_option("--last", options->last, "so many at most"));
  list->footer("Example:\n  gatehouse session list --device 8a1b… --last 10 --state state");
  list->callback([options, &run] { run = [options] { return run_session_list(*options); }; });

  const auto single = [&](const char* name, const char* what, const char* example) {
    CLI::App* const out = group->add_subcommand(name, what);
    options->where.add_to(*out);
    out->add_option("SESSION", options->session, "session id, as `session list` prints it")->required();
    out->footer(std::string("Example:\n  ") + example);
    return out;
  };
  const auto with_references = [&](CLI::App* command) {
    not_empty(command->add_option("--refdb", options->refdb, "reference store that it was judged by (default: the configuration's)"));
  };
  CLI::App* const show =
      single("show", "A session's verdict with all findings", "gatehouse session show 20261124T163105.123-9f86… --json --state state");
  show->add_flag("--timing", options->timing, "what its time went into, stage by stage, in place of the verdict");
  show->callback([options, &run] { run = [options] { return options->timing ? run_timing(*options) : run_session_show(*options); }; });
  CLI::App* const why =
      single("why", "What decided a session's verdict, and what to do", "gatehouse session why 20261124T163105.123-9f86… --state state");
  why->callback([options, &run] { run = [options] { return run_why(*options); }; });
  CLI::App* const again = single("replay", "Judge the kept evidence again",
                                 "gatehouse session replay 20261124T163105.123-9f86… --config gatehouse.toml\n"
                                 "Exit codes: 0 the same verdict, 1 another one, 4 no evidence was kept.");
  with_references(again);
  again->callback([options, &run] { run = [options] { return exit_of(replay(*options)); }; });
  CLI::App* const out = single("export", "Write a bundle that `verify --bundle` checks on another machine",
                               "gatehouse session export 20261124T163105.123-9f86… session.bundle --config gatehouse.toml\n"
                               "  gatehouse session export 20261124T163105.123-9f86… session.jwt --format ear --config gatehouse.toml\n"
                               "Exit codes: 0 written, 1 written, and judged again the verdict is another one, 4 no evidence was kept.");
  with_references(out);
  not_empty(out->add_option("FILE", options->file, "file to write"))->required();
  out->add_option("--format", options->format,
                  "bundle: evidence and verdict, for verify; ear: an EAT attestation result, a JSON Web Token signed with the server's key")
      ->check(CLI::IsMember({"bundle", "ear"}));
  not_empty(out->add_option("--key", options->key, "private key that signs an ear, PEM (default: the configuration's)"));
  out->callback([options, &run] { run = [options] { return exit_of(options->format == "ear" ? export_ear(*options) : export_bundle(*options)); }; });
}

}  // namespace gatehouse::cli
