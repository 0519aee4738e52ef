// A batch as each side reads it: every value of what is let through is looked at, and the batch, written again from the
// values, reads the same. Where it isn't let through, the error that answers can be read.
#include <cstdlib>

#include "wire/pbtnc/pbtnc.h"
#include "wire/pbtnc/state.h"

using namespace gatehouse;

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}

void append_again(Writer& w, const pbtnc::Message& m) {
  using namespace pbtnc;
  if (m.is(vendor_ietf, type::pa)) return append_pa(w, pa_message(m));
  if (m.is(vendor_ietf, type::assessment_result)) return append_assessment_result(w, assessment_result(m));
  if (m.is(vendor_ietf, type::access_recommendation)) return append_access_recommendation(w, access_recommendation(m));
  if (m.is(vendor_ietf, type::reason_string)) return append_reason_string(w, reason_string(m));
  if (m.is(vendor_ietf, type::remediation_parameters)) {
    const Remediation v = remediation(m);
    if (v.vendor == vendor_ietf && v.type == Remediation::type_uri) return append_remediation_uri(w, v.uri);
    if (v.vendor == vendor_ietf && v.type == Remediation::type_string)
      return append_remediation_string(w, v.text, v.language);
    return append_remediation(w, v.vendor, v.type, v.parameters);
  }
  if (m.is(vendor_tcg, type::tcg_pdp_referral)) {
    const PdpReferral v = pdp_referral(m);
    if (v.vendor == vendor_tcg && v.type <= 2) return append_pdp_referral(w, PdpReferral::Kind(v.type), v.port, v.host);
  }
  if (m.is(vendor_gatehouse, type::kept_connection)) (void)kept_connection(m);
  if (m.is(vendor_ietf, type::error)) (void)description(pb_error(m));
  if (m.is(vendor_ietf, type::language_preference)) {
    const std::vector<std::string> tags = languages(m);
    expect(tags.size() <= max_languages);
    constexpr std::string_view available[] = {"en", "de"};
    (void)choose_language(tags, available);
  }
  append_message(w, m.noskip, m.vendor, m.type, m.value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  for (const bool from_client : {true, false}) {
    const pbtnc::Parsing how{.from_client = from_client, .keep_unknown = true};
    const auto batch = pbtnc::parse_batch(all, how);
    Writer answer;
    if (!batch) {
      pbtnc::append_error(answer, batch.error());
      const ByteVector close = pbtnc::batch(pbtnc::BatchType::close, from_client, answer.view());
      const auto read = pbtnc::parse_batch(close, !from_client);
      expect(read && pbtnc::fatal_error(*read));
      continue;
    }
    expect(batch->remarks.size() <= pbtnc::max_remarks);
    Writer w;
    for (const pbtnc::Message& m : batch->messages) append_again(w, m);
    const ByteVector written = pbtnc::batch(batch->type, !from_client, w.view());
    const auto again = pbtnc::parse_batch(written, how);
    expect(again && again->messages.size() == batch->messages.size());
    for (std::size_t i = 0; i < again->messages.size(); ++i)
      expect(again->messages[i].is(batch->messages[i].vendor, batch->messages[i].type) &&
             again->messages[i].value.size() == batch->messages[i].value.size());
    pbtnc::StateMachine machine(from_client ? pbtnc::Role::server : pbtnc::Role::client);
    (void)machine.receive(batch->type);
  }
  return 0;
}
