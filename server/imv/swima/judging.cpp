// What the policy's rules say of the software: of an inventory while it comes, and of events by what is stored.
#include "server/imv/swima/swima_imv.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t page = 4096;

}  // namespace

void SwimaImv::begin_judging() {
  if (!s_.item->software.empty()) s_.check.emplace(s_.item->software, c_.product());
  if (!s_.keeps || s_.item->software.empty()) return;
  if (auto time = c_.state.software_inventory_time(*c_.info.device_id)) s_.facts.inventory_time = *time;
}

// On its way to the store, or past it.
void SwimaImv::judge(const SoftwareChunk& chunk) {
  if (!wants_list()) return;
  if (chunk.restart_events) s_.changes.clear();
  if (chunk.restart_installed || (!chunk.installed.empty() && !s_.listing)) {
    s_.listing = true;
    if (s_.check) s_.check->restart();
    if (c_.capture) c_.capture->begin_software();
  }
  for (const SoftwareRecord& one : chunk.installed) {
    if (s_.check) s_.check->judge(one.software_id);
    if (c_.capture) c_.capture->add_software(one.software_id);
  }
  for (const SoftwareEvent& one : chunk.events) s_.changes.add(one);
}

bool SwimaImv::too_old() const {
  return s_.item != nullptr && server::too_old(s_.item->software, s_.facts.inventory_time, c_.facts().now);
}

// Events say what is installed only with what is stored. False: it isn't known, or is too much to be read here.
bool SwimaImv::judge_stored() {
  if (!s_.keeps || !s_.head || !s_.head->complete || !s_.update || !s_.changes.whole() ||
      s_.head->installed > Installed::most)
    return false;
  Installed installed;
  SoftwareCursor from;
  do {
    auto read = c_.state.software_at(*c_.info.device_id, std::nullopt, page, from);
    if (!read) {
      log(LogLevel::error, "the state store can't be read: " + read.error().text());
      return false;
    }
    for (const InstalledSoftware& one : read->software) installed.add(one.record);
    from = std::move(read->next);
  } while (!from.empty() && installed.size() <= Installed::most);
  // Another session of this device may have been recorded meanwhile: then these events don't follow what was read.
  const auto head = c_.state.software_head(*c_.info.device_id);
  if (!head || !*head || (*head)->session != s_.head->session || (*head)->last_eid != s_.head->last_eid || !from.empty())
    return false;
  installed.apply(s_.changes, s_.head->last_eid, s_.update->last_eid);
  if (s_.check) s_.check->restart();
  if (c_.capture) c_.capture->begin_software();
  installed.each([&](std::string_view identifier) {
    if (s_.check) s_.check->judge(identifier);
    if (c_.capture) c_.capture->add_software(identifier);
  });
  s_.facts.list = SoftwareFacts::List::whole;
  s_.facts.why.clear();
  return true;
}

void SwimaImv::judge_rules(Answered& answer) {
  s_.base = answer;
  if (answer.evaluation != pipeline::Evaluation::compliant)
    s_.facts = {.list = SoftwareFacts::List::none, .why = answer.text, .inventory_time = s_.facts.inventory_time};
  if (c_.capture) c_.capture->software(s_.facts);
  if (!s_.check) return;
  s_.judged = judge_software({answer.evaluation, answer.text}, s_.facts, s_.item->software, &*s_.check, c_.facts().now);
  answer = {s_.judged.evaluation, s_.judged.text};
}

// Findings and results by rules follow from the list.
evidence::Part SwimaImv::kept_part() const {
  evidence::Part out = Imv::kept_part();
  out.more = own_contribution();
  if (!s_.base) return out;
  for (evidence::Item& one : out.items)
    if (one.type == policy::Type::swidt) one.evaluation = s_.base->evaluation, one.result = s_.base->text;
  return out;
}

std::vector<Remedy> SwimaImv::remedies() const {
  std::vector<Remedy> out;
  const auto add = [&](const std::vector<std::string>& list, std::string_view title, std::string_view description,
                       std::string_view header) {
    if (!list.empty()) out.push_back({c_.text(title), c_.text(description), c_.text(header), list});
  };
  namespace text = policy::text;
  add(s_.judged.forbidden, text::blacklisted_title, text::blacklisted_description, text::blacklisted_header);
  add(s_.judged.too_old, text::vulnerable_title, text::vulnerable_description, text::vulnerable_header);
  add(s_.judged.missing, text::missing_title, text::missing_packages, text::missing_header);
  return out;
}

// An inventory that came is refused for nothing but the policy's rules.
std::vector<std::string> SwimaImv::reasons() const {
  std::vector<std::string> out;
  if (!result() || result()->assessment.recommendation == pipeline::Recommendation::allow) return out;
  if (!s_.judged.forbidden.empty() || !s_.judged.too_old.empty()) out.emplace_back(c_.text(policy::text::bad_packages));
  if (!s_.judged.missing.empty()) out.emplace_back(c_.text(policy::text::missing_packages));
  if (out.empty()) out.emplace_back(c_.text(policy::text::not_measured));
  return out;
}

}  // namespace gatehouse::server
