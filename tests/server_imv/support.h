// What the tests of the IMVs share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "base/hex.h"
#include "tests/server_session/client_batches.h"

namespace gatehouse::test {

using pipeline::Evaluation;
using pipeline::Recommendation;
namespace type = patnc::type;
inline constexpr std::uint32_t ietf = patnc::vendor_ietf, ita = patnc::vendor_ita, tcg = patnc::vendor_tcg;
inline constexpr std::uint32_t os_subtype = patnc::subtype_operating_system;

// A store with references and the device host1, whose identity the tests' clients have.
class Imvs : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = std::make_unique<World>();
    enrol_host1(*world_);
  }
  static void TearDownTestSuite() { world_.reset(); }
  static World& world() { return *world_; }
  static void ask(const std::string& entries, const std::string& policy = {}) {
    world_->settings.policy = policy_of("[policy]\n" + policy + "\n[groups.all]\nask = [" + entries + "]\n");
  }
  void TearDown() override { world_->settings = defaults(); }
  static server::Settings defaults() {
    server::Settings out;
    out.auth = server::Auth::none;
    return out;
  }

 private:
  inline static std::unique_ptr<World> world_;
};

inline Pa os_message(std::uint16_t collector = 1) { return {ietf, os_subtype, collector}; }

// The value of a Remediation Instructions attribute.
inline std::pair<std::string, std::string> remediation_string(const ServerAttribute* a) {
  if (a == nullptr) return {};
  Reader r(a->value, "test");
  const auto v = patnc::parse_remediation_instructions(r);
  if (!v) return {v.error().text(), {}};
  if (const auto* text = std::get_if<patnc::RemediationString>(&*v)) return {std::string(text->text), std::string(text->language)};
  if (const auto* uri = std::get_if<patnc::RemediationUri>(&*v)) return {std::string(uri->uri), "(URI)"};
  return {"another type", {}};
}
// The Assessment Result of one subtype.
inline std::optional<std::uint32_t> assessment(const Answer& answer, std::uint32_t vendor, std::uint32_t subtype) {
  for (const ServerMessage* m : answer.of(vendor, subtype))
    for (const ServerAttribute& a : m->attributes)
      if (a.vendor == ietf && a.type == type::assessment_result) return *Reader(a.value, "test").get<std::uint32_t>();
  return std::nullopt;
}
// The first item of this type.
inline pipeline::ItemResult item(const pipeline::Verdict& verdict, std::string_view kind) {
  for (const pipeline::ItemResult& i : verdict.items)
    if (i.type == kind) return i;
  ADD_FAILURE() << "no item " << kind;
  return {};
}

}  // namespace gatehouse::test
