#include "endpoint/imc/test/test_imc.h"

#include "wire/patnc/attributes.h"

namespace gatehouse::endpoint {

namespace type = patnc::type;

patnc::Supported TestImc::supported() const {
  return [](std::uint32_t vendor, std::uint32_t kind) {
    if (vendor == patnc::vendor_tcg) return kind >= type::contract_request && kind <= type::next_segment;
    if (vendor == patnc::vendor_ita) return kind == type::ita_command || kind == type::ita_dummy;
    return vendor == patnc::vendor_ietf &&
           (kind == type::pa_tnc_error || kind == type::assessment_result || kind == type::remediation_instructions);
  };
}

Result<void> TestImc::tell(Packer& out) const {
  Writer w;
  patnc::append_command(w, retried_ ? config_.retry_command : config_.command);
  return out.add(0, patnc::vendor_ita, type::ita_command, w.view());
}

Result<void> TestImc::begin(Packer& out) {
  GH_CHECK(tell(out));
  dummy_due_ = config_.dummy_size != 0;
  return add_dummy(out);
}

// One that no message holds has to wait for the server's contract.
Result<void> TestImc::add_dummy(Packer& out) {
  if (!dummy_due_ || config_.dummy_size > out.largest() - patnc::attribute_header_size) return {};
  dummy_due_ = false;
  Writer w;
  patnc::append_dummy(w, config_.dummy_size);
  return out.add(0, patnc::vendor_ita, type::ita_dummy, std::move(w).take());
}

// The IMV wants the command once more for each of its rounds.
Result<void> TestImc::receive(const patnc::Attribute& attribute, Packer& out) {
  if (!attribute.is(patnc::vendor_ita, type::ita_command)) return {};
  Reader r(attribute.value, "spec part 1b 2.1", attribute.value_offset());
  GH_CHECK(patnc::parse_command(r));
  GH_CHECK(tell(out));
  return add_dummy(out);
}

bool TestImc::wants_retry(Recommendation verdict) {
  if (config_.retry_command.empty() || retried_ || verdict == Recommendation::allow) return false;
  retried_ = true;
  return true;
}

}  // namespace gatehouse::endpoint
