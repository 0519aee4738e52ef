#include "server/imv/swima/tags.h"

#include "wire/swima/tag.h"

namespace gatehouse::server {

void TagRequests::want(std::uint8_t source, std::string_view identifier) {
  auto at = wanted_.find(identifier);
  if (at == wanted_.end()) {
    if (full()) return;
    bytes_ += identifier.size();
    at = wanted_.emplace(identifier, std::set<std::uint8_t>()).first;
  }
  at->second.insert(source);
}

std::vector<std::string_view> TagRequests::begin_request(std::size_t room) {
  std::vector<std::string_view> out;
  if (requests_ == most_requests) return out;
  while (!wanted_.empty() && out.size() < most_in_request) {
    const std::size_t size = wanted_.begin()->first.size() + 2;
    if (size > room) break;
    room -= size;
    const auto moved = asked_.insert(wanted_.extract(wanted_.begin()));
    out.push_back(moved.position->first);
  }
  if (!out.empty()) ++requests_;
  return out;
}

bool TagRequests::answered(std::string_view identifier) {
  if (!asked_.contains(identifier)) return false;
  answered_.emplace(identifier);
  return true;
}

std::vector<std::pair<std::uint8_t, std::string>> TagRequests::end_request() {
  std::vector<std::pair<std::uint8_t, std::string>> out;
  for (const auto& [identifier, sources] : asked_)
    if (!answered_.contains(identifier))
      for (const std::uint8_t source : sources) out.emplace_back(source, identifier);
  asked_.clear();
  answered_.clear();
  return out;
}

Result<void> verify_tag(const swima::SoftwareRecord& record) {
  const auto format = swima::tag_format(record);
  if (!format) return {};
  GH_TRY(const auto identity, swima::parse_tag_identity(record.record, *format));
  if (identity.identifier() != record.identifier)
    return fail(Fault::denied, "tag identity mismatch", "spec part 1b 5.9");
  return {};
}

}  // namespace gatehouse::server
