#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <utility>

#include "base/file.h"
#include "base/hex.h"
#include "cli/commands.h"
#include "refdb/store/open.h"
#include "server/policy/policy.h"
#include "server/trace/dissect.h"
#include "server/trace/recording.h"
#include "server/trace/replay.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

constexpr int malformed_exit = 3;

struct Show {
  std::string path;
  bool json = false, brief = false;
};

struct Replay {
  std::string folder, refdb, state, policy, ak_ca, ak_crl;
  bool json = false, log = false;
};

Result<ByteVector> read_input(const std::string& path) {
  // A batch, or PT-TLS messages of some of them.
  constexpr std::size_t limit = std::size_t(16) << 20;
  if (path != "-") return read_file(path, limit);
  return read_file("/dev/stdin", limit);
}

int show_file(const Show& o) {
  const auto bytes = read_input(o.path);
  if (!bytes) return complain(bytes.error());
  const trace::Dissection d = trace::dissect(*bytes);
  std::cout << (o.json ? trace::json(d) + "\n" : trace::text(d, {.brief = o.brief}));
  if (const int code = flushed(); code != 0) return code;
  return d.problems.empty() ? 0 : malformed_exit;
}

// Message by message, so that a long conversation needs no more memory than its longest message.
int show_conversation(const Show& o) {
  const auto recorded = trace::read_recording(o.path);
  if (!recorded) return complain(recorded.error());
  trace::Reassembly reassembly;
  std::size_t malformed = 0;
  const char* comma = "";
  if (o.json) std::cout << "{\"conversation\":" << json::serialize(json::string(escaped(o.path))) << ",\"messages\":[";
  for (const trace::RecordedMessage& m : recorded->messages) {
    const trace::Dissection d =
        m.batch != 0 ? trace::dissect_batch(m.bytes, &reassembly) : trace::dissect_message(m.bytes, &reassembly);
    malformed += d.problems.size();
    const char* const direction = m.from_client ? "c2s" : "s2c";
    if (o.json) {
      std::cout << std::exchange(comma, ",") << "{\"n\":" << m.number << ",\"direction\":\"" << direction << "\",";
      if (m.batch != 0) std::cout << "\"batch\":" << m.batch << ',';
      std::cout << trace::json(d).substr(1);
    } else {
      std::cout << "message " << m.number << ", " << direction;
      if (m.batch != 0) std::cout << ", batch " << m.batch;
      std::cout << '\n' << trace::text(d, {.brief = o.brief});
    }
    if (!std::cout) break;
  }
  if (o.json)
    std::cout << "],\"complete\":" << (recorded->complete ? "true" : "false") << ",\"malformed\":" << malformed
              << "}\n";
  else if (!recorded->complete)
    std::cout << "the trace is incomplete: what followed isn't there\n";
  if (const int code = flushed(); code != 0) return code;
  return malformed == 0 ? 0 : malformed_exit;
}

int run_trace_show(const Show& o) {
  std::error_code ignored;
  return std::filesystem::is_directory(o.path, ignored) ? show_conversation(o) : show_file(o);
}

Result<server::policy::PolicyPtr> policy_of(const std::string& file) {
  auto read = server::policy::read_policy(file);
  if (read) return std::move(*read);
  if (read.error().unreadable) return std::unexpected(*read.error().unreadable);
  std::string all;
  for (const auto& mistake : read.error().list) all += "\n" + mistake.text();
  return fail(Error{Fault::usage, "the policy has mistakes", {}, 0, file, all});
}

json::value difference_of(const std::optional<trace::Difference>& difference) {
  if (!difference) return nullptr;
  return json::object{{"batch", difference->batch}, {"offset", difference->offset}, {"reason", difference->reason}};
}

Result<trace::Replayed> replay_trace(const Replay& o) {
  GH_TRY(const auto recorded, trace::read_recording(o.folder));
  server::Settings settings;
  // What a recording of another server offered isn't in its facts: whatever bank the client took is good.
  settings.banks = {HashAlgorithm::sha256, HashAlgorithm::sha384, HashAlgorithm::sha512};
  if (!o.policy.empty()) {
    GH_TRY(settings.policy, policy_of(o.policy));
  }
  if (!o.ak_ca.empty()) {
    GH_TRY(TrustAnchors anchors, TrustAnchors::load(o.ak_ca, o.ak_crl));
    settings.ak_authorities = std::make_shared<const TrustAnchors>(std::move(anchors));
  }
  GH_TRY(const auto references, refdb::open_view(o.refdb));
  GH_TRY(const auto state, server::State::open({.path = o.state, .create = true}));
  auto replayed =
      trace::replay_blocking(recorded, {.state = *state, .references = references, .settings = std::move(settings)});
  if (!replayed) return std::unexpected(std::move(replayed.error()).from(o.folder));
  return replayed;
}

int run_replay(const Replay& o) {
  const auto replayed = replay_trace(o);
  if (!replayed) return complain(replayed.error());
  if (o.log)
    for (const std::string& line : replayed->log) std::cerr << line << '\n';
  std::optional<pipeline::Verdict> verdict;
  if (!replayed->verdict.empty()) {
    auto read = pipeline::verdict_from_json(replayed->verdict);
    if (!read) return complain(read.error());
    verdict = std::move(*read);
  }
  if (o.json) {
    std::string text =
        verdict ? replayed->verdict : R"({"session":null,"recommendation":"none","evaluation":"unknown"})";
    text.pop_back();
    text +=
        ",\"difference\":" + json::serialize(difference_of(replayed->difference)) + ",\"protocol_error\":" +
        (replayed->protocol_error.empty() ? "null" : json::serialize(json::string(escaped(replayed->protocol_error)))) +
        "}";
    std::cout << text << '\n';
  } else {
    if (verdict)
      std::cout << "session " << verdict->session << ", device " << escaped(verdict->device)
                << "\nrecommendation: " << name(verdict->recommendation) << " (" << name(verdict->evaluation)
                << ")\nquote: " << name(verdict->quote.status) << '\n'
                << (verdict->summary.empty() ? "" : verdict->summary + "\n");
    else
      std::cout << "no verdict came about\n";
    if (!replayed->protocol_error.empty()) std::cout << "protocol error: " << escaped(replayed->protocol_error) << '\n';
    if (const auto& d = replayed->difference)
      std::cout << "first difference: batch " << d->batch << ", byte " << d->offset << ": " << d->reason << '\n';
    else
      std::cout << "no difference from the recorded server\n";
  }
  if (const int code = flushed(); code != 0) return code;
  if (!replayed->protocol_error.empty()) return malformed_exit;
  return verdict && verdict->recommendation == pipeline::Recommendation::allow ? 0 : 1;
}

}  // namespace

void add_trace(CLI::App& app, Run& run) {
  CLI::App* const group = app.add_subcommand("trace", "Recorded conversations: show them, and judge them again");
  group->require_subcommand(1);
  group->footer(
      "Example:\n  gatehouse trace show --brief /var/lib/gatehouse/trace/20261124T163105.123-9f86d081884c7d65");

  auto show = std::make_shared<Show>();
  CLI::App* const shown = group->add_subcommand("show", "A batch or a conversation, decoded down to each field");
  not_empty(shown->add_option("PATH", show->path,
                              "a PB-TNC batch or PT-TLS messages (- for standard input), or a conversation's folder"))
      ->required();
  shown->add_flag("--json", show->json, "one JSON object");
  shown->add_flag("--brief", show->brief, "runs of equal attributes on one line, long values cut");
  shown->footer(
      "Example:\n  gatehouse trace show batches/004-s2c-SDATA.bin\n\nExit code 3 where something is malformed.");
  shown->callback([show, &run] { run = [show] { return run_trace_show(*show); }; });

  auto again = std::make_shared<Replay>();
  CLI::App* const replayed = group->add_subcommand(
      "replay",
      "Judge a recorded conversation again and compare what the server says; the state changes as by a session");
  not_empty(replayed->add_option("DIR", again->folder, "the conversation's folder"))->required();
  not_empty(replayed->add_option("--refdb", again->refdb, "reference store"))->required();
  not_empty(replayed->add_option("--state", again->state, "state directory; not one that a server holds"))->required();
  not_empty(replayed->add_option("--policy", again->policy, "policy.toml; the built-in policy without"));
  auto* const ca = not_empty(replayed->add_option("--ak-ca", again->ak_ca, "authorities of AK certificates (PEM)"));
  not_empty(replayed->add_option("--ak-crl", again->ak_crl, "their revocation list (PEM)"))->needs(ca);
  replayed->add_flag("--json", again->json, "the verdict object with \"difference\" and \"protocol_error\"");
  replayed->add_flag("--log", again->log, "what a server would log at level debug, on standard error");
  replayed->footer(
      "Example:\n  gatehouse trace replay trace/20261124T163105.123-9f86d081884c7d65 --refdb refdb --state "
      "copy-of-state\n\n"
      "Exit codes: 0 allow, 1 any other verdict, 3 where the conversation ends in a protocol error.");
  replayed->callback([again, &run] { run = [again] { return run_replay(*again); }; });
}

}  // namespace gatehouse::cli
