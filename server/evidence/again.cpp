#include "server/evidence/again.h"

#include <boost/json.hpp>

#include <algorithm>
#include <future>
#include <set>
#include <tuple>

#include "base/hex.h"
#include "server/judge/packages.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::evidence {
namespace {

using policy::Type;
using policy::Validator;
using policy::WorkItem;
using server::Answer;

bool of_settings(Type type) { return type == Type::fwden || type == Type::pwden || type == Type::unsrc; }

policy::Plan plan_of(const Kept& kept, const policy::Policy& policy) {
  return policy::work_items(policy, kept.facts, [&](const std::string& key) -> std::optional<policy::PastResult> {
    const auto at = kept.history.find(key);
    return at == kept.history.end() ? std::nullopt : std::optional(at->second);
  });
}

const WorkItem* attestation_item(const policy::Plan& plan) {
  const auto at = std::find_if(plan.items.begin(), plan.items.end(), [](const WorkItem& i) { return i.type == Type::tpmra; });
  return at == plan.items.end() ? nullptr : &*at;
}

std::string name_of(const WorkItem& item) {
  return std::string(policy::name(item.type)) + (item.argument.empty() ? "" : " " + item.argument);
}

// One judging, from the plan to the verdict; lives until it is done.
class Judging : public std::enable_shared_from_this<Judging> {
 public:
  Judging(std::shared_ptr<const Kept> kept, policy::PolicyPtr policy, std::shared_ptr<const refdb::View> references)
      : kept_(std::move(kept)), policy_(std::move(policy)), references_(std::move(references)),
        plan_(plan_of(*kept_, *policy_)), item_(attestation_item(plan_)) {
    subject_.session = kept_->session;
    subject_.device = kept_->device;
    subject_.product = kept_->product;
    subject_.generation = kept_->generation;
    subject_.standing = kept_->facts.standing;
    subject_.other_product = kept_->other_product;
    subject_.denied = plan_.denied;
    subject_.denied_by = plan_.denied_by;
    subject_.asked = plan_.items;
  }

  void run(pipeline::Pipeline& pipeline, const pipeline::Verdict* attested, AgainDone done) {
    done_ = std::move(done);
    if (item_ == nullptr || !may_attest()) return conclude(nullptr);
    if (attested != nullptr) return conclude(attested);
    const Attestation& a = *kept_->attestation;
    pipeline::Context context = a.context;
    context.session = kept_->session;
    context.device = kept_->device;
    context.references = references_;
    context.rules = item_->rules;
    context.now = kept_->facts.now;
    context.boot_requested = item_->has('B');
    context.ima_requested = item_->has('I');
    const auto evidence = pipeline.open(std::move(context), [self = shared_from_this()](Result<pipeline::Outcome> outcome) {
      self->attested(std::move(outcome));
    });
    for (const pipeline::Segment& segment : a.segments) evidence->submit(segment);
    evidence->finish(a.finish);
  }

 private:
  // Evidence that wasn't asked for then says nothing of what it would have been.
  bool may_attest() {
    const bool there = kept_->attestation.has_value();
    std::string missing;
    if (!there) missing = "no attestation";
    if (there && item_->has('B') && !kept_->attestation->context.boot_requested) missing = "no firmware log";
    if (there && item_->has('I') && !kept_->attestation->context.ima_requested)
      missing += missing.empty() ? "no IMA list" : " and no IMA list";
    if (missing.empty()) return true;
    unanswered_.push_back(name_of(*item_) + ": " + missing + " was asked for");
    return false;
  }

  void attested(Result<pipeline::Outcome> outcome) {
    if (!outcome) {
      const Error& e = outcome.error();
      if (e.fault == Fault::environment || e.fault == Fault::internal || e.fault == Fault::denied)
        return done_(std::unexpected(std::move(outcome).error()));
      const pipeline::Verdict failed = server::failed_attestation(subject_, e.text());
      return conclude(&failed);
    }
    conclude(&outcome->verdict);
  }

  void conclude(const pipeline::Verdict* attested) {
    if (auto good = judge_packages_said(); !good) return done_(std::unexpected(std::move(good).error()));
    std::vector<server::ValidatorPart> parts;
    for (const Part& part : kept_->parts) parts.push_back(validator_part(part, attested));
    Again out;
    out.verdict = server::assemble(subject_, parts, attested != nullptr ? std::optional(*attested) : std::nullopt, *policy_);
    out.unanswered = std::move(unanswered_);
    done_(std::move(out));
  }

  Result<void> judge_packages_said() {
    if (!kept_->said.packages) return {};
    std::vector<const WorkItem*> items;
    for (const WorkItem& item : plan_.items)
      if (item.type == Type::pckgs) items.push_back(&item);
    packages_.emplace(std::move(items), kept_->product, references_);
    if (packages_->empty()) return {};
    Reader r(*kept_->said.packages, "RFC 5792 4.2.7");
    const auto whole = patnc::parse_records(r, patnc::PackagesFormat(), [&](const patnc::Package& p) { packages_->judge(p); });
    if (!whole) {
      // What of it came was no list: its items say so.
      packages_.reset();
      return {};
    }
    packages_->finish();
    if (packages_->failure()) return std::unexpected(*packages_->failure());
    return {};
  }

  std::optional<Answer> said(const WorkItem& item) const {
    const Said& s = kept_->said;
    if (of_settings(item.type)) return server::judge_setting(item.type, s.settings);
    if (item.type == Type::pckgs) return packages_ ? server::judge_packages(*packages_, item) : std::nullopt;
    if (policy::validator_of(item.type) != Validator::scanner || s.port_filters.empty()) return std::nullopt;
    server::OpenPorts open;
    for (const auto& [collector, value] : s.port_filters) {
      Reader r(value, "RFC 5792");
      const auto entries = patnc::parse_port_filter(r);
      if (!entries) return std::nullopt;
      open.add({*entries, server::protocol_of(item.type)});
    }
    return server::judge_ports(item, open);
  }

  std::optional<server::SoftwareAnswer> judge_software(const Answer& base, const WorkItem& item) const {
    const Said& s = kept_->said;
    if (!s.software || (s.software->list == server::SoftwareFacts::List::whole && !s.software_list)) return std::nullopt;
    server::SoftwareCheck check(item.software, kept_->product);
    if (s.software_list)
      if (!server::each_software(*s.software_list, [&](std::string_view one) { check.judge(one); })) return std::nullopt;
    return server::judge_software(base, *s.software, item.software, &check, kept_->facts.now);
  }

  // Of this item; else, where one of its type asked the endpoint for the same and nothing came of that, of that one.
  static const Item* recorded(const Part& part, const WorkItem& item) {
    const bool asks_the_same = of_settings(item.type) || item.type == Type::pckgs || policy::validator_of(item.type) == Validator::scanner;
    const Item* same_type = nullptr;
    for (const Item& one : part.items) {
      if (one.type != item.type) continue;
      if (one.argument == item.argument || item.type == Type::tpmra) return &one;
      const bool nothing_came = one.evaluation == pipeline::Evaluation::error || one.evaluation == pipeline::Evaluation::unknown;
      if (asks_the_same && nothing_came) same_type = &one;
    }
    return same_type;
  }

  std::optional<Answer> answer(const Part& part, const WorkItem& item, const pipeline::Verdict* attested) const {
    if (item.type == Type::tpmra) {
      if (attested == nullptr) return std::nullopt;
      return Answer{attested->evaluation, server::attestation_result(*attested)};
    }
    const Item* const then = recorded(part, item);
    // What went wrong then isn't in the answers.
    const bool came = then == nullptr || (then->evaluation != pipeline::Evaluation::error &&
                                          then->evaluation != pipeline::Evaluation::unknown);
    if (came)
      if (auto now = said(item)) return now;
    if (then == nullptr) return std::nullopt;
    return Answer{then->evaluation, then->result};
  }

  // As Imv does it while the session runs.
  server::ValidatorPart validator_part(const Part& part, const pipeline::Verdict* attested) {
    server::ValidatorPart out;
    out.more = part.more;
    policy::Assessment all = part.opinion;
    bool work = part.opinionated;
    const auto finish = [&](const WorkItem& item) {
      auto got = answer(part, item, attested);
      if (!got) {
        if (item.type != Type::tpmra) unanswered_.push_back(name_of(item) + ": it wasn't asked for");
        return;
      }
      if (item.type == Type::swidt && !item.software.empty()) {
        const auto judged = judge_software(*got, item);
        if (!judged) return unanswered_.push_back(name_of(item) + ": the software that was installed isn't kept");
        static_cast<Answer&>(*got) = *judged;
        out.more.first.insert(out.more.first.end(), judged->findings.begin(), judged->findings.end());
        out.more.findings_total += judged->findings_total;
      }
      work = true;
      const pipeline::Recommendation recommendation = policy::recommendation_of(item, got->evaluation);
      all = policy::update(all, policy::Assessment{recommendation, got->evaluation});
      out.items.push_back({std::string(policy::name(item.type)), item.argument, recommendation, got->evaluation, got->text});
    };
    std::vector<const WorkItem*> mine;
    for (const WorkItem& item : plan_.items)
      if (part.validator != Validator::none && policy::validator_of(item.type) == part.validator) mine.push_back(&item);
    // In the order in which they were finished then, and behind them what is new.
    for (const Item& one : part.items) {
      const auto at = std::find_if(mine.begin(), mine.end(), [&](const WorkItem* item) {
        return item->type == one.type && (item->argument == one.argument || item->type == Type::tpmra);
      });
      if (at == mine.end()) continue;
      finish(**at);
      mine.erase(at);
    }
    for (const WorkItem* item : mine) finish(*item);
    out.result.assessment = all;
    out.result.required = work;
    out.result.idle = !work && all.recommendation == pipeline::Recommendation::none;
    if (out.result.idle) out.result.assessment = {pipeline::Recommendation::allow, pipeline::Evaluation::unknown};
    return out;
  }

  const std::shared_ptr<const Kept> kept_;
  const policy::PolicyPtr policy_;
  const std::shared_ptr<const refdb::View> references_;
  const policy::Plan plan_;
  const WorkItem* const item_;  // TPMRA; null: it isn't asked for
  server::Subject subject_;
  std::optional<server::PackageCheck> packages_;
  std::vector<std::string> unanswered_;
  AgainDone done_;
};

}  // namespace

void judge_again(std::shared_ptr<const Kept> kept, policy::PolicyPtr policy,
                 std::shared_ptr<const refdb::View> references, pipeline::Pipeline& pipeline,
                 const pipeline::Verdict* attested, AgainDone done) {
  std::make_shared<Judging>(std::move(kept), std::move(policy), std::move(references))->run(pipeline, attested, std::move(done));
}

Result<Again> judge_again_blocking(std::shared_ptr<const Kept> kept, policy::PolicyPtr policy,
                                   std::shared_ptr<const refdb::View> references, pipeline::Pipeline& pipeline) {
  auto promise = std::make_shared<std::promise<Result<Again>>>();
  auto future = promise->get_future();
  judge_again(std::move(kept), std::move(policy), std::move(references), pipeline, nullptr,
              [promise](Result<Again> again) { promise->set_value(std::move(again)); });
  return future.get();
}

bool same_attestation(const Kept& kept, const policy::Policy& a, const policy::Policy& b) {
  const policy::Plan one = plan_of(kept, a), other = plan_of(kept, b);
  const WorkItem* const x = attestation_item(one);
  const WorkItem* const y = attestation_item(other);
  if (x == nullptr || y == nullptr || x->letters != y->letters) return false;
  return std::equal(x->rules.begin(), x->rules.end(), y->rules.begin(), y->rules.end(),
                    [](const auto& p, const auto& q) { return p->name == q->name && p->version == q->version; });
}

Result<policy::PolicyPtr> policy_of(const Kept& kept) {
  auto policy = policy::read_policy(kept.source.get());
  if (policy) return std::move(*policy);
  if (policy.error().unreadable) return std::unexpected(*policy.error().unreadable);
  std::string all;
  for (const policy::Mistake& m : policy.error().list) all += (all.empty() ? "" : "; ") + m.text();
  return fail(Error{Fault::malformed, "the kept policy can't be read", {}, 0, {}, all});
}

std::vector<std::string> differences(const pipeline::Verdict& before, const pipeline::Verdict& after) {
  std::vector<std::string> out;
  const auto changed = [&](std::string_view what, std::string_view was, std::string_view is) {
    if (was != is) out.push_back(std::string(what) + ": " + std::string(is) + " (was: " + std::string(was) + ")");
  };
  changed("recommendation", name(before.recommendation), name(after.recommendation));
  changed("evaluation", name(before.evaluation), name(after.evaluation));
  const auto text_of = [](const pipeline::ItemResult& item) {
    return std::string(name(item.recommendation)) + ", " + item.result;
  };
  const auto find = [](const std::vector<pipeline::ItemResult>& items, const pipeline::ItemResult& like) {
    return std::find_if(items.begin(), items.end(), [&](const pipeline::ItemResult& i) {
      return i.type == like.type && i.argument == like.argument;
    });
  };
  const auto label = [](const pipeline::ItemResult& item) {
    return item.type + (item.argument.empty() ? "" : " " + item.argument);
  };
  for (const pipeline::ItemResult& item : after.items) {
    const auto then = find(before.items, item);
    changed(label(item), then == before.items.end() ? "not asked" : text_of(*then), text_of(item));
  }
  for (const pipeline::ItemResult& item : before.items)
    if (find(after.items, item) == after.items.end()) changed(label(item), text_of(item), "not asked");
  for (const auto& [code, status] : after.checks) {
    const auto then = before.checks.find(code);
    changed("check " + code, name(then == before.checks.end() ? pipeline::Status::absent : then->second), name(status));
  }
  const auto identity = [](const pipeline::Finding& f) {
    return std::tie(f.component, f.entry, f.pcr, f.status, f.path, f.reason);
  };
  std::set<decltype(identity(before.findings.front()))> known;
  for (const pipeline::Finding& f : before.findings) known.insert(identity(f));
  constexpr std::size_t most = 10;
  std::size_t more = 0, told = 0;
  for (const pipeline::Finding& f : after.findings) {
    if (known.contains(identity(f))) continue;
    if (told++ < most)
      out.push_back("finding: " + f.component + (f.entry ? " " + std::to_string(*f.entry) : "") + ": " +
                    std::string(name(f.status)) + (f.path.empty() ? "" : " " + f.path) + (f.reason.empty() ? "" : ": " + f.reason));
    else
      ++more;
  }
  if (more != 0) out.push_back("and " + std::to_string(more) + " findings more");
  return out;
}

std::string shadow_note(const policy::Policy& shadow, const pipeline::Verdict& verdict, const Again& again) {
  namespace json = boost::json;
  const auto array_of = [](const std::vector<std::string>& texts) {
    json::array out;
    for (const std::string& text : texts) out.emplace_back(escaped(text, 1024));
    return out;
  };
  json::object out;
  out["policy"] = shadow.version();
  out["recommendation"] = pipeline::name(again.verdict.recommendation);
  out["evaluation"] = pipeline::name(again.verdict.evaluation);
  out["differences"] = array_of(differences(verdict, again.verdict));
  out["unanswered"] = array_of(again.unanswered);
  return json::serialize(out);
}

}  // namespace gatehouse::evidence
