#include "server/imv/imv.h"

#include <algorithm>

#include "base/hex.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::server {

bool supported(std::uint32_t vendor, std::uint32_t type) {
  namespace t = patnc::type;
  namespace pt = pts::type;
  if (vendor == patnc::vendor_ietf) return type <= t::source_metadata_response;
  if (vendor == patnc::vendor_ita)
    return (type >= t::ita_command && type <= t::ita_stop_angel) || (type >= t::ita_device_id && type <= t::ita_symlinks);
  if (vendor != patnc::vendor_tcg) return false;
  constexpr std::uint32_t known[] = {t::contract_request, t::contract_response, t::segment_envelope, t::next_segment,
                                     pt::request_capabilities, pt::capabilities, pt::dh_nonce_request, pt::dh_nonce_response,
                                     pt::dh_nonce_finish, pt::algorithm_request, pt::algorithm, pt::get_tpm_version,
                                     pt::tpm_version, pt::get_aik, pt::aik, pt::request_component_evidence,
                                     pt::generate_evidence, pt::simple_component_evidence, pt::simple_evidence_final,
                                     pt::request_file_metadata, pt::unix_file_metadata, pt::request_file_measurement,
                                     pt::file_measurement};
  return std::find(std::begin(known), std::end(known), type) != std::end(known);
}

patnc::Supported supported_with(const Settings& settings) {
  return [raw = settings.raw_vendor, evidence = settings.raw_evidence](std::uint32_t vendor, std::uint32_t type) {
    if (vendor == raw)
      return enrolment::is_attribute(type) || (evidence && type >= pts::raw::type::capabilities && type <= pts::raw::type::quote);
    return supported(vendor, type);
  };
}

patnc::Reassembler::Admission admit_supported(std::uint32_t vendor, std::uint32_t type) {
  return {supported(vendor, type), std::size_t(16) << 20, false};
}

void Imv::begin_assessment() {
  claimed_ = had_work_ = opinionated_ = false;
  opinion_ = {};
  open_.clear();
  assessment_ = {};
  items_.clear();
  kept_items_.clear();
  result_.reset();
  channel_.discard();
  restart();
}

std::optional<Imv::Lasting> Imv::lasting() const {
  std::optional<Channel::Agreed> agreed;
  if (!waiting()) agreed = channel_.agreed();
  if (!agreed) return std::nullopt;
  return Lasting{*std::move(agreed), own()};
}

void Imv::resume(const Lasting& before) {
  channel_.resume(before.channel);
  if (before.own) resume_own(*before.own);
}

void Imv::claim() {
  if (claimed_ || !c_.identified()) return;
  claimed_ = true;
  for (const policy::WorkItem& item : c_.plan().items)
    if (policy::validator_of(item.type) == validator()) open_.push_back(&item);
  if (!open_.empty()) had_work_ = true;
}

void Imv::batch_end() {
  if (result_) return;
  claim();
  work();
  claim();  // one IMV's work is to identify the endpoint
  if (!result_ && claimed_ && open_.empty() && idle()) conclude();
}

void Imv::solicit() {
  if (result_) return;
  give_up();
  claim();
  if (!result_ && idle())
    for (const policy::WorkItem* item : std::vector(open_)) finish_item(*item, pipeline::Evaluation::unknown, "no answer");
  if (!result_ && claimed_ && open_.empty() && idle()) conclude();
}

void Imv::abandon(std::string_view why) {
  if (result_) return;
  add_assessment({pipeline::Recommendation::isolate, pipeline::Evaluation::error});
  for (const policy::WorkItem* item : std::vector(open_)) finish_item(*item, pipeline::Evaluation::error, std::string(why));
  if (!result_) conclude();
}

void Imv::add_assessment(policy::Assessment more) {
  opinion_ = policy::update(opinion_, more);
  count(more);
}

void Imv::count(policy::Assessment more) {
  assessment_ = policy::update(assessment_, more);
  if (!result_) return;
  result_->idle = false;
  result_->assessment = policy::update(result_->assessment, more);
}

void Imv::doubt(const std::string& why) {
  c_.host.log(LogLevel::warning, "IMV " + std::to_string(id_) + " can't keep to its result: " + escaped(why));
  // What the items said before still counts.
  opinion_ = policy::update(opinion_, assessment_);
  for (const policy::WorkItem& item : c_.plan().items) {
    if (policy::validator_of(item.type) != validator()) continue;
    const policy::Assessment now{policy::recommendation_of(item, pipeline::Evaluation::error), pipeline::Evaluation::error};
    add_assessment(now);
    for (pipeline::ItemResult& told : items_)
      if (told.type == policy::name(item.type) && told.argument == item.argument)
        told.recommendation = now.recommendation, told.evaluation = now.evaluation, told.result = why;
    for (ItemResult& kept : kept_items_)
      if (kept.policy == item.key()) kept.recommendation = now.recommendation, kept.evaluation = now.evaluation, kept.text = why;
  }
}

const policy::WorkItem* Imv::open_item(policy::Type type) const {
  const auto at = std::find_if(open_.begin(), open_.end(), [&](const auto* item) { return item->type == type; });
  return at != open_.end() ? *at : nullptr;
}

void Imv::finish_item(const policy::WorkItem& item, pipeline::Evaluation evaluation, std::string text) {
  std::erase(open_, &item);
  const pipeline::Recommendation recommendation = policy::recommendation_of(item, evaluation);
  count({recommendation, evaluation});
  c_.host.log(LogLevel::info, "IMV " + std::to_string(id_) + " handled " + std::string(policy::name(item.type)) + " workitem " +
                                  std::to_string(item.id) + ": " + std::string(name(recommendation)) + " - " + escaped(text));
  kept_items_.push_back({item.key(), std::string(policy::name(item.type)), recommendation, evaluation, text});
  items_.push_back({std::string(policy::name(item.type)), item.argument, recommendation, evaluation, std::move(text)});
}

evidence::Part Imv::kept_part() const {
  evidence::Part out;
  out.validator = validator();
  out.opinionated = opinionated_;
  out.opinion = opinion_;
  for (const pipeline::ItemResult& item : items_) {
    const policy::Type type = *policy::type_named(item.type);
    out.items.push_back({type, item.argument, item.evaluation, type == policy::Type::tpmra ? std::string() : item.result});
  }
  out.more = contribution();
  return out;
}

void Imv::conclude() {
  if (result_) return;
  concluding();
  policy::ValidatorResult result;
  result.assessment = assessment_;
  result.required = had_work_;
  result.idle = !had_work_ && assessment_.recommendation == pipeline::Recommendation::none;
  // Without work there is nothing against it, and no opinion.
  if (result.idle) result.assessment = {pipeline::Recommendation::allow, pipeline::Evaluation::unknown};
  result_ = result;
}

void Imv::say_assessment(pipeline::Evaluation evaluation, std::uint16_t collector) {
  Writer value;
  patnc::append_u32(value, std::uint32_t(evaluation));
  (void)channel_.add(0, patnc::vendor_ietf, patnc::type::assessment_result, value.view(), collector);
}

void Imv::say_remedies(std::span<const Remedy> remedies, RemedyForm form) {
  if (evaluation() == pipeline::Evaluation::compliant) return;
  const auto say = [&](const patnc::RemediationInstructions& instructions) {
    Writer value;
    patnc::append_remediation_instructions(value, instructions);
    (void)channel_.add(0, patnc::vendor_ietf, patnc::type::remediation_instructions, value.view());
  };
  if (!remedies.empty()) {
    // Others have their say in the same batch.
    const std::string text = remedy_text(remedies, form, patnc::max_message(c_.settings.max_batch) / 2);
    say(patnc::RemediationString{text, c_.language});
  }
  const bool refused = assessment_.recommendation == pipeline::Recommendation::isolate ||
                       assessment_.recommendation == pipeline::Recommendation::block;
  const std::string& uri = c_.settings.policy->remediation_uri;
  if (!uri.empty() && (refused || !remedies.empty())) say(patnc::RemediationUri{uri});
}

}  // namespace gatehouse::server
