#include <CLI/CLI.hpp>
#include <future>
#include <iostream>

#include "base/file.h"
#include "base/hex.h"
#include "cli/commands.h"
#include "pipeline/graph/pipeline.h"
#include "pipeline/quote/quote.h"
#include "pipeline/replay/replay.h"
#include "refdb/store/open.h"
#include "server/evidence/again.h"
#include "server/evidence/bundle.h"
#include "server/policy/combine.h"
#include "server/policy/work_items.h"
#include "wire/ima/ima.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::cli {
namespace {

struct VerifyOptions {
  std::string quote, signature, ak, nonce, eventlog, ima, refdb, product, policy, device, bundle;
  std::vector<std::string> symlinks;
  unsigned threads = 0;
  std::size_t segment_bytes = std::size_t(1) << 20;
  bool json = false;
};

constexpr std::size_t max_file = std::size_t(1) << 30;
constexpr std::size_t most_pending = std::size_t(8) << 20;  // of a log on its way through the pipeline
// The operator's own files: what bounds an endpoint's evidence doesn't bound these, their size does.
constexpr std::size_t max_events = 4'000'000, max_entries = 20'000'000;

// PEM public key, certificate (PEM or DER) or TPM2B_PUBLIC.
Result<pipeline::AttestationKey> read_ak(const std::string& path) {
  GH_TRY(const ByteVector bytes, read_file(path, 65536));
  pipeline::AttestationKey ak;
  ak.trusted = true;  // the operator names it
  if (as_text(bytes).find("-----BEGIN") != std::string_view::npos) {
    auto key = PublicKey::from_pem(as_text(bytes));
    if (!key) return std::unexpected(std::move(key).error().from(path));
    ak.key = *key;
    return ak;
  }
  auto area = tpm::parse_public(bytes);
  if (area) {
    ak.key = area->key;
    ak.object_attributes = area->attributes;
    ak.name_algorithm = hash_algorithm(area->name_algorithm);
    return ak;
  }
  if (auto key = PublicKey::from_certificate(bytes)) {
    ak.key = *key;
    return ak;
  }
  return std::unexpected(std::move(area).error().from(path));
}

void submit(pipeline::Evidence& evidence, pipeline::Stream stream, pipeline::Format format, Bytes bytes, std::size_t step) {
  for (std::size_t at = 0; at == 0 || at < bytes.size();) {
    const std::size_t n = std::min(step, bytes.size() - at);
    evidence.submit({stream, format, to_vector(bytes.subspan(at, n)), 0});
    evidence.wait_until_pending_at_most(most_pending);
    at += n;
    if (n == 0) break;
  }
}

namespace policy = server::policy;

// What the policy says of the device that the evidence is taken to be of.
struct Judge {
  policy::PolicyPtr policy;  // null: none was given
  policy::Plan plan;         // borrows from the policy
  // TPMRA; null: the device isn't asked for it.
  const policy::WorkItem* item() const {
    for (const policy::WorkItem& one : plan.items)
      if (one.type == policy::Type::tpmra) return &one;
    return nullptr;
  }
};

Judge judge_by(policy::PolicyPtr policy, const VerifyOptions& o) {
  policy::DeviceFacts facts;
  facts.standing = policy::Standing::authenticated;
  facts.device = o.device;
  facts.product = o.product;
  policy::Plan plan = policy::work_items(*policy, facts, {});
  return {std::move(policy), std::move(plan)};
}

// As an item's result becomes a recommendation in a session. Evidence that isn't complete has none (contract C10).
void apply(const Judge& judge, pipeline::Verdict& v) {
  if (judge.plan.denied) {
    pipeline::Finding f;
    f.component = "device";
    f.status = pipeline::Status::failed;
    f.reason = "the policy denies access to devices of group \"" + std::string(judge.plan.denied_by) + "\"";
    v.findings.insert(v.findings.begin(), std::move(f));
    ++v.findings_total;
    pipeline::cut_findings(v.findings);
    v.recommendation = pipeline::Recommendation::block;
    v.evaluation = pipeline::Evaluation::major;
  } else if (const policy::WorkItem* const item = judge.item();
             item != nullptr && v.recommendation != pipeline::Recommendation::none) {
    v.recommendation = policy::recommendation_of(*item, v.evaluation);
  }
}

void print_verify(const pipeline::Verdict& v, bool as_json);

Result<int> verify(const VerifyOptions& o, const Judge& judge) {
  pipeline::Context context;
  context.device = o.device;
  if (const policy::WorkItem* const item = judge.item()) context.rules = item->rules;
  context.now = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  pipeline::Finish finish;
  if (!o.nonce.empty()) {
    auto nonce = from_hex(o.nonce);
    if (!nonce) return fail(Error{Fault::usage, "--nonce isn't hexadecimal", {}, 0, {}, {}});
    finish.nonce = std::move(*nonce);
  }
  if (!o.quote.empty()) {
    pipeline::RawQuote raw;
    GH_TRY(raw.attest, read_file(o.quote, 65536));
    GH_TRY(raw.signature, read_file(o.signature, 65536));
    // What can't be parsed is malformed input, not a negative verdict (contract C14).
    if (auto parsed = tpm::parse_attest(raw.attest); !parsed) return std::unexpected(std::move(parsed).error().from(o.quote));
    if (auto parsed = tpm::parse_signature(raw.signature); !parsed) return std::unexpected(std::move(parsed).error().from(o.signature));
    context.bank = pipeline::bank_of(raw.attest);
    finish.quote = std::move(raw);
  }
  if (!o.ak.empty()) {
    GH_TRY(finish.ak, read_ak(o.ak));
  }
  if (!o.refdb.empty()) {
    GH_TRY(context.references, refdb::open_view(o.refdb));
  }
  context.product = o.product;
  context.max_boot_items = max_events;
  context.max_ima_items = max_entries;
  // A name without references would turn every "differ" into "unknown".
  if (context.references) context.product_known = context.references->has_product(o.product);
  for (const std::string& pair : o.symlinks) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || pair.front() != '/' || pair[equals + 1] != '/')
      return fail(Error{Fault::usage, "--symlink is FROM=TO with absolute paths", {}, 0, {}, {}});
    context.symlinks.push_back({pair.substr(0, equals), pair.substr(equals + 1)});
  }
  ByteVector log, list;
  if (!o.eventlog.empty()) {
    GH_TRY(log, read_file(o.eventlog, max_file));
    if (auto good = pipeline::check_eventlog(log); !good) return fail(std::move(good).error().from(o.eventlog));
  }
  if (!o.ima.empty()) {
    GH_TRY(list, read_file(o.ima, max_file));
    if (auto good = pipeline::check_ima(list); !good) return fail(std::move(good).error().from(o.ima));
  }

  pipeline::Pipeline graph({.threads = o.threads});
  std::promise<Result<pipeline::Outcome>> promise;
  auto future = promise.get_future();
  auto evidence = graph.open(std::move(context), [&](Result<pipeline::Outcome> outcome) { promise.set_value(std::move(outcome)); });
  if (!o.eventlog.empty()) submit(*evidence, pipeline::Stream::boot, pipeline::Format::eventlog, log, o.segment_bytes);
  if (!o.ima.empty())
    submit(*evidence, pipeline::Stream::ima,
           ima::form_of(list) == ima::Cursor::Form::ascii ? pipeline::Format::ima_ascii : pipeline::Format::ima_binary, list, o.segment_bytes);
  evidence->finish(std::move(finish));
  auto outcome = future.get();
  if (!outcome) {
    Error error = std::move(outcome).error();
    // The pipeline knows the log, not its file.
    if (error.source == pipeline::eventlog_source) error.source = o.eventlog;
    if (error.source == pipeline::list_source) error.source = o.ima;
    return std::unexpected(std::move(error));
  }
  pipeline::Verdict& v = outcome->verdict;
  if (judge.policy) apply(judge, v);
  print_verify(v, o.json);
  if (const int code = flushed(); code != 0) return code;
  return v.recommendation == pipeline::Recommendation::allow ? 0 : 1;
}

void print_verify(const pipeline::Verdict& v, bool as_json) {
  if (as_json) {
    std::cout << pipeline::to_json(v) << '\n';
    return;
  }
  std::cout << "recommendation: " << name(v.recommendation) << " (" << name(v.evaluation) << ")\nquote: " << name(v.quote.status) << '\n';
  if (!v.summary.empty()) std::cout << v.summary << '\n';
  for (const pipeline::Finding& f : v.findings)
    std::cout << f.component << (f.entry ? " " + std::to_string(*f.entry) : "") << ": " << name(f.status) << ": "
              << (f.path.empty() ? "" : escaped(f.path) + ": ") << f.reason << '\n';
  for (const std::string& w : v.warnings) std::cerr << "gatehouse: warning: " << w << '\n';
}

// The references that the bundle brings, or those of a store of this machine, whatever their generation is called here.
Result<std::shared_ptr<const refdb::View>> references_for(const VerifyOptions& o, const evidence::Kept& kept, evidence::Answers answers) {
  if (!kept.generation) return std::shared_ptr<const refdb::View>();
  if (o.refdb.empty()) {
    if (answers.generation != *kept.generation)
      return fail(Error{Fault::malformed, "the bundle has the answers of another generation", "docs/formats/evidence.md", 0, o.bundle, {}});
    return std::make_shared<evidence::AnswersView>(std::move(answers));
  }
  GH_TRY(auto view, refdb::open_view(o.refdb));
  return std::make_shared<evidence::StandIn>(std::move(view), *kept.generation);
}

Result<int> verify_bundle(const VerifyOptions& o) {
  GH_TRY(const ByteVector bytes, read_file(o.bundle, max_file));
  auto read = evidence::read_bundle(bytes);
  if (!read) return std::unexpected(std::move(read).error().from(o.bundle));
  auto decoded = evidence::decode(read->evidence.head, std::move(read->evidence.pieces));
  if (!decoded) return std::unexpected(std::move(decoded).error().from(o.bundle));
  const auto kept = std::make_shared<const evidence::Kept>(*std::move(decoded));
  const PublicKey* const key = kept->attestation && kept->attestation->finish.ak.key ? &*kept->attestation->finish.ak.key : nullptr;
  if (!o.ak.empty()) {
    GH_TRY(const pipeline::AttestationKey ak, read_ak(o.ak));
    if (key == nullptr || ak.key->pin() != key->pin())
      return fail(Error{Fault::denied, "the bundle's quote is of another key than the one of --ak", {}, 0, o.bundle, {}});
  }
  auto policy = evidence::policy_of(*kept);
  if (!policy) return std::unexpected(std::move(policy).error().from(o.bundle));
  GH_TRY(const auto references, references_for(o, *kept, std::move(read->answers)));
  pipeline::Pipeline graph({.threads = o.threads});
  GH_TRY(const auto again, evidence::judge_again_blocking(kept, *policy, references, graph));
  print_verify(again.verdict, o.json);
  std::cerr << "gatehouse: session " << escaped(kept->session) << ", policy " << (*policy)->version() << ", AK "
            << (key != nullptr ? key->pin() : "(none)") << (o.ak.empty() && key != nullptr ? ", as the bundle says" : "") << '\n';
  const bool same = pipeline::to_json(again.verdict) == read->verdict;
  if (const int code = flushed(); code != 0) return code;
  if (!same) {
    std::cerr << "gatehouse: " << escaped(o.bundle) << ": the evidence comes to another verdict than the bundle says\n";
    if (const auto recorded = pipeline::verdict_from_json(read->verdict))
      for (const std::string& line : evidence::differences(*recorded, again.verdict)) std::cerr << "  " << escaped(line, 4096) << '\n';
    return exit_code(Fault::malformed);
  }
  return again.verdict.recommendation == pipeline::Recommendation::allow ? 0 : 1;
}

int run_verify_verify(const VerifyOptions& o) {
  if (!o.bundle.empty()) {
    if (!o.quote.empty() || !o.signature.empty() || !o.eventlog.empty() || !o.ima.empty() || !o.nonce.empty() || !o.policy.empty() ||
        !o.device.empty() || !o.product.empty() || !o.symlinks.empty()) {
      std::cerr << "gatehouse: verify: a bundle has all that is needed: only --refdb, --ak, --threads and --json go with --bundle\n";
      return 2;
    }
    const auto result = verify_bundle(o);
    return result ? *result : complain(result.error());
  }
  if (o.quote.empty() && o.eventlog.empty() && o.ima.empty() && o.ak.empty()) {
    std::cerr << "gatehouse: verify: nothing to verify: give --quote, --eventlog, --ima or --bundle\n";
    return 2;
  }
  if (o.quote.empty() != o.signature.empty()) {
    std::cerr << "gatehouse: verify: --quote and --signature belong together\n";
    return 2;
  }
  if (o.segment_bytes == 0) {
    std::cerr << "gatehouse: verify: --segment-bytes: 0 is no size\n";
    return 2;
  }
  if (!o.device.empty() && o.policy.empty()) {
    std::cerr << "gatehouse: verify: --device says whose rules of a policy apply: give --policy\n";
    return 2;
  }
  Judge judge;
  if (!o.policy.empty()) {
    auto read = policy::read_policy(o.policy);
    if (!read && read.error().unreadable) return complain(*read.error().unreadable);
    if (!read) {
      for (const policy::Mistake& m : read.error().list) std::cerr << m.text() << '\n';
      return 2;
    }
    judge = judge_by(std::move(*read), o);
  }
  const auto result = verify(o, judge);
  return result ? *result : complain(result.error());
}

}  // namespace

void add_verify(CLI::App& app, Run& run) {
  auto o = std::make_shared<VerifyOptions>();
  CLI::App* const command = app.add_subcommand("verify", "Verify evidence from files, by the server's own pipeline");
  not_empty(command->add_option("--bundle", o->bundle, "a session in one file, as `session export` writes it"));
  not_empty(command->add_option("--quote", o->quote, "TPMS_ATTEST, with or without the TPM2B size"));
  not_empty(command->add_option("--signature", o->signature, "TPMT_SIGNATURE"));
  not_empty(command->add_option("--ak", o->ak, "PEM public key, certificate or TPM2B_PUBLIC"));
  not_empty(command->add_option("--nonce", o->nonce, "expected extraData, hexadecimal"));
  not_empty(command->add_option("--eventlog", o->eventlog, "firmware event log"));
  not_empty(command->add_option("--ima", o->ima, "IMA list, binary or ASCII"));
  not_empty(command->add_option("--refdb", o->refdb, "reference store"));
  not_empty(command->add_option("--product", o->product, "product whose references count"));
  command->add_option("--symlink", o->symlinks, "FROM=TO, a path prefix that is a symbolic link (repeatable)")->allow_extra_args(false);
  not_empty(command->add_option("--policy", o->policy, "policy file whose rules for TPMRA apply"));
  not_empty(command->add_option("--device", o->device, "Device ID by which the policy knows the device"));
  unsigned_only(command->add_option("--threads", o->threads, "worker threads (default: all)"));
  unsigned_only(
      command->add_option("--segment-bytes", o->segment_bytes, "size of the pieces in which logs enter the pipeline"));
  command->add_flag("--json", o->json, "the verdict object on standard output");
  command->footer("Example:\n  gatehouse verify --quote q.attest --signature q.sig --ak ak.pem --nonce 2f6d --eventlog log.bin \\\n"
                  "    --ima list.bin --refdb refdb --product \"Debian 12 x86_64\" --json\n"
                  "  gatehouse verify --bundle session.bundle --ak ak.pem\n"
                  "Exit codes: 0 allow, 1 another verdict, 3 malformed, or a bundle whose evidence comes to another verdict.");
  command->callback([o, &run] { run = [o] { return run_verify_verify(*o); }; });
}

}  // namespace gatehouse::cli
