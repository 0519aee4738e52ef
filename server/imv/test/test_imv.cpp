#include "server/imv/test/test_imv.h"

#include <algorithm>

#include "base/hex.h"
#include "server/imv/values.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::server {
namespace {

namespace type = patnc::type;

struct Command {
  std::string_view name;
  policy::Assessment assessment;
};
constexpr Command commands[] = {
    {"allow", {pipeline::Recommendation::allow, pipeline::Evaluation::compliant}},
    {"isolate", {pipeline::Recommendation::isolate, pipeline::Evaluation::minor}},
    {"block", {pipeline::Recommendation::block, pipeline::Evaluation::major}},
    {"none", {pipeline::Recommendation::none, pipeline::Evaluation::unknown}},
};
constexpr policy::Assessment no_command{pipeline::Recommendation::isolate, pipeline::Evaluation::error};

}  // namespace

void TestImv::malformed(std::string_view why) {
  c_.host.log(LogLevel::warning, "test message: " + std::string(why));
  s_.commanded = s_.heard = true;
  add_assessment(no_command);
}

void TestImv::receive(const Message& message) {
  const auto known = std::find(s_.collectors.begin(), s_.collectors.end(), message.collector);
  if (known == s_.collectors.end()) s_.collectors.push_back(message.collector);
  for (const patnc::Attribute& a : message.attributes)
    if (const auto good = verify_value(a); !good) {
      channel().refuse(message, {patnc::ErrorCode::invalid_parameter, good.error().offset, {}, good.error().reason});
      return malformed(good.error().text());
    }
  for (const patnc::Attribute& a : message.attributes) {
    if (a.is(patnc::vendor_ita, type::ita_command)) obey(as_text(a.value));
    if (a.is(patnc::vendor_ita, type::ita_dummy))
      c_.host.log(LogLevel::debug, "dummy of " + std::to_string(a.value.size()) + " bytes");
  }
}

void TestImv::obey(std::string_view command) {
  const auto at =
      std::find_if(std::begin(commands), std::end(commands), [&](const Command& c) { return c.name == command; });
  if (at == std::end(commands)) return malformed("unknown command '" + escaped(command, 64) + "'");
  c_.host.log(LogLevel::info, "test command is '" + std::string(command) + "'");
  s_.commanded = s_.heard = true;
  add_assessment(at->assessment);
}

void TestImv::work() {
  if (!std::exchange(s_.heard, false)) return;
  s_.repeating = s_.rounds < c_.settings.test_rounds;
  if (!s_.repeating) {
    claim_opinion();
    return conclude();
  }
  ++s_.rounds;
  channel().request_contract();
  Writer value;
  patnc::append_command(value, "repeat");
  (void)channel().add(0, patnc::vendor_ita, type::ita_command, value.view());
}

void TestImv::concluding() {
  if (!s_.commanded) return;
  claim_opinion();
  // strongSwan's Test collector takes an assessment that isn't addressed to it for none, says its command again, and then
  // doesn't end the conversation.
  for (const std::uint16_t collector : s_.collectors) say_assessment(evaluation(), collector);
  if (s_.collectors.empty()) say_assessment(evaluation());
}

}  // namespace gatehouse::server
