// The policy's rules for the software inventory: of whole inventories, and of events by what is stored. Every session of
// these tests is judged again by what is kept of it, too (tests/server_session/conversation.cpp).
#include "server/evidence/again.h"
#include "tests/server_imv/swima_support.h"

namespace gatehouse::test {
namespace {

using swima::Action;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string os = "strongswan.org__Debian_12-x86_64-";

class SwimaRules : public SwimaTest {
 protected:
  static std::string policy_text(const std::string& rules) {
    return "[software.r]\n" + rules +
           "\n[groups.all]\nsoftware = \"r\"\nask = [{ type = \"SWIDT\", argument = \"R\", on_fail = \"block\", on_noresult = "
           "\"isolate\" }]\n";
  }
  static void rule(const std::string& rules) {
    world().settings.policy = policy_of(policy_text(rules));
    keep();
  }
  // Two seconds by the server's clock.
  static void wait() {
    for (int i = 0; i < 2000; ++i) (void)world().now_ms();
  }
  static void keep() {
    world().settings.keep = server::Keep::all;
    world().settings.evidence_memory = std::make_shared<evidence::Memory>(std::size_t(64) << 20, std::size_t(16) << 20);
  }
  // "reason | software"
  static std::vector<std::string> broken(const pipeline::Verdict& verdict) {
    std::vector<std::string> out;
    for (const pipeline::Finding& f : verdict.findings)
      if (f.component == "software" && f.reason.starts_with("rules ")) out.push_back(f.reason + " | " + f.path);
    return out;
  }
  static std::vector<Software> packages(const std::vector<std::string>& names) {
    std::vector<Software> out;
    for (const std::string& name : names) out.push_back({os + name, {}, std::uint32_t(out.size() + 1)});
    return out;
  }
};

constexpr const char* common = R"(required = [{ name = "auditd", at_least = "1:3.0.9-1" }]
forbidden = [{ name = "telnet*" }]
minimum = [{ name = "openssl", at_least = "3.0.11-1~deb12u2", creator = "strongswan.org" }]
)";

TEST_F(SwimaRules, AnInventoryThatMeetsThemIsCompliant) {
  rule(common);
  ByHand client(world());
  hello(client);
  const Answer last = tell_inventory(client, 1, 26, packages({"auditd-1~3.0.9-1", "openssl-3.0.11-1~deb12u2", "dpkg-1.21.23"}));
  EXPECT_EQ(last.access, 1U);
  EXPECT_EQ(swidt(client).result, "received inventory of 3 SW IDs and 0 SWID tags; 3 software rules met");
  EXPECT_EQ(swidt(client).evaluation, Evaluation::compliant);
  EXPECT_THAT(broken(client.verdict()), IsEmpty());
  EXPECT_THAT(client.verdict().claims,
              ElementsAre("software: received inventory of 3 SW IDs and 0 SWID tags; no quote covers it"));
}

TEST_F(SwimaRules, FindingsNameTheRuleAndTheSoftware) {
  rule(common);
  ByHand client(world());
  hello(client);
  const Answer last = tell_inventory(client, 1, 26,
                                     packages({"auditd-1~3.0.7-1", "openssl-3.0.11-1~deb12u1", "telnetd-0.17-44", "telnet-0.17-44"}));
  EXPECT_EQ(last.access, 2U);
  EXPECT_EQ(swidt(client).evaluation, Evaluation::minor);
  EXPECT_EQ(swidt(client).recommendation, Recommendation::block);
  EXPECT_EQ(swidt(client).result,
            "received inventory of 4 SW IDs and 0 SWID tags; software rules: 1 missing, 2 forbidden, 1 too old");
  EXPECT_THAT(broken(client.verdict()),
              ::testing::UnorderedElementsAre(
                  "rules r: required software is too old: name \"auditd\", at least 1:3.0.9-1 | " + os + "auditd-1~3.0.7-1",
                  "rules r: forbidden software is installed: name \"telnet*\" | " + os + "telnet-0.17-44",
                  "rules r: forbidden software is installed: name \"telnet*\" | " + os + "telnetd-0.17-44",
                  "rules r: software is too old: creator \"strongswan.org\", name \"openssl\", at least 3.0.11-1~deb12u2 | " +
                      os + "openssl-3.0.11-1~deb12u1"));
  EXPECT_EQ(assessment(last, ietf, swima_subtype), 1U);
  std::string told;
  for (const ServerMessage* m : last.of(ietf, swima_subtype))
    for (const ServerAttribute& a : m->attributes)
      if (a.vendor == ietf && a.type == type::remediation_instructions) told += remediation_string(&a).first;
  EXPECT_THAT(told, HasSubstr("Blacklisted Software Packages"));
  EXPECT_THAT(told, HasSubstr(os + "telnetd-0.17-44"));
  EXPECT_THAT(told, HasSubstr("auditd >= 1:3.0.9-1"));
}

TEST_F(SwimaRules, EventsAreJudgedWithWhatIsStored) {
  store_inventory(26, packages({"auditd-1~3.0.9-1", "openssl-3.0.11-1~deb12u2", "telnetd-0.17-44"}));
  rule(common);
  {
    ByHand client(world());
    EXPECT_EQ(requested(hello(client))->request.earliest_eid, 27U) << "no whole inventory is needed for it";
    tell_events(client, 1, {.last_eid = 26}, {});
    EXPECT_THAT(broken(client.verdict()), ElementsAre(HasSubstr("forbidden software is installed: name \"telnet*\"")));
  }
  {
    ByHand client(world());
    hello(client);
    tell_events(client, 1, {.last_eid = 28},
                {{27, Action::deletion, os + "telnetd-0.17-44", 3},
                 {28, Action::deletion, os + "openssl-3.0.11-1~deb12u2", 2},
                 {28, Action::creation, os + "openssl-3.0.9-1", 4}});
    EXPECT_THAT(broken(client.verdict()), ElementsAre(HasSubstr("openssl-3.0.9-1")));
    EXPECT_EQ(swidt(client).result,
              "received 3 SW ID events and 0 SWID tags; software rules: 0 missing, 0 forbidden, 1 too old");
  }
  {
    ByHand client(world());
    EXPECT_EQ(requested(hello(client))->request.earliest_eid, 29U);
    tell_events(client, 1, {.last_eid = 30},
                {{30, Action::creation, os + "openssl-3.0.11-1~deb12u2", 6},
                 {29, Action::deletion, os + "openssl-3.0.9-1", 99},  // numbered otherwise than it was told
                 {30, Action::creation, os + "telnet-1-1", 7},
                 {30, Action::deletion, os + "telnet-1-1", 7}});
    EXPECT_EQ(swidt(client).evaluation, Evaluation::compliant) << swidt(client).result;
  }
  EXPECT_THAT(installed(), ElementsAre(os + "auditd-1~3.0.9-1", os + "openssl-3.0.11-1~deb12u2"))
      << "as the store has it, so it was judged";
}

TEST_F(SwimaRules, EventsOfAnotherEpochSayNothingAndTheInventoryDoes) {
  store_inventory(26, packages({"telnetd-0.17-44"}));
  rule("forbidden = [{ name = \"telnet*\" }]");
  ByHand client(world());
  hello(client);
  const auto request = requested(tell_events(client, 1, {.last_eid = 3, .its_epoch = 7}, {{2, Action::creation, os + "telnet-2-1"}}));
  ASSERT_TRUE(request);
  say(client, type::software_identifier_inventory, inventory(2, 3, packages({"dpkg-1"}), swima::Content::identifiers, 7));
  EXPECT_EQ(swidt(client).evaluation, Evaluation::compliant) << swidt(client).result;
}

TEST_F(SwimaRules, AnOldInventoryIsToldAnew) {
  store_inventory(26, packages({"dpkg-1.21.23"}));
  rule("inventory_max_age = \"1s\"\nforbidden = [{ name = \"telnet*\" }]");
  wait();
  {
    ByHand client(world());
    EXPECT_EQ(requested(hello(client))->request.earliest_eid, 0U);
    tell_inventory(client, 1, 27, packages({"dpkg-1.21.23"}));
    EXPECT_EQ(swidt(client).evaluation, Evaluation::compliant) << swidt(client).result;
  }
  {
    ByHand client(world());
    EXPECT_EQ(requested(hello(client))->request.earliest_eid, 28U) << "that was just now";
    tell_events(client, 1, {.last_eid = 27}, {});
    EXPECT_EQ(swidt(client).evaluation, Evaluation::compliant);
  }
  wait();
  {
    ByHand client(world());
    EXPECT_EQ(requested(hello(client))->request.earliest_eid, 0U);
    tell_events(client, 1, {.last_eid = 27}, {});  // it has no inventory to tell
    EXPECT_EQ(swidt(client).evaluation, Evaluation::unknown);
    EXPECT_EQ(swidt(client).recommendation, Recommendation::isolate);
    EXPECT_THAT(swidt(client).result, HasSubstr("the last whole inventory is older than allowed"));
  }
  rule("inventory_max_age = \"1s\"\nincomplete = \"fail\"\nforbidden = [{ name = \"telnet*\" }]");
  ByHand client(world());
  hello(client);
  tell_events(client, 1, {.last_eid = 27}, {});
  EXPECT_EQ(swidt(client).recommendation, Recommendation::block);
  EXPECT_THAT(broken(client.verdict()), ElementsAre("rules r: the last whole inventory is older than allowed | "));
}

TEST_F(SwimaRules, AMissingInventoryIsWhatTheySay) {
  for (const bool fails : {false, true}) {
    rule(std::string(fails ? "missing = \"fail\"\n" : "") + "forbidden = [{ name = \"telnet*\" }]");
    ByHand client(world());
    hello(client);
    const Answer last = say(client, type::pa_tnc_error, swima_error(swima::error::general, 1, "no database"));
    EXPECT_EQ(swidt(client).evaluation, fails ? Evaluation::minor : Evaluation::error);
    EXPECT_EQ(swidt(client).recommendation, fails ? Recommendation::block : Recommendation::isolate);
    EXPECT_EQ(swidt(client).result, "no database");
    EXPECT_EQ(broken(client.verdict()), fails ? std::vector<std::string>{"rules r: no database | "} : std::vector<std::string>());
  }
}

TEST_F(SwimaRules, AnEmptyInventoryLacksWhatIsRequired) {
  rule("required = [{ id = \"*__auditd-*\" }]\nforbidden = [{ name = \"telnet*\" }]");
  ByHand client(world());
  hello(client);
  tell_inventory(client, 1, 26, {});
  EXPECT_THAT(broken(client.verdict()), ElementsAre("rules r: required software isn't installed: id \"*__auditd-*\" | "));
}

TEST_F(SwimaRules, ADeviceThatIsNotEnrolledIsJudgedByWhatItSays) {
  rule("forbidden = [{ name = \"telnet*\" }]");
  ByHand client(world());
  OsPush stranger;
  stranger.device = "nobody-knows-it";
  client.say({os_push(stranger), contract()});
  tell_inventory(client, 1, 26, packages({"telnetd-0.17-44"}));
  EXPECT_THAT(broken(client.verdict()), ElementsAre(HasSubstr("telnetd-0.17-44")));
}

// gatehouse policy test: sessions that were asked for their software are judged by rules that are new.
TEST_F(SwimaRules, KeptEvidenceIsJudgedByOtherRules) {
  ask_swidt("R");
  keep();
  std::optional<server::EvidenceRecord> kept;
  {
    ByHand client(world());
    client.host.on_result = [&](const server::SessionResult& result) {
      if (result.evidence) kept = server::EvidenceRecord{*result.evidence};
    };
    hello(client);
    tell_inventory(client, 1, 26, packages({"telnetd-0.17-44", "dpkg-1.21.23"}));
    EXPECT_EQ(swidt(client).evaluation, Evaluation::compliant);
  }
  ASSERT_TRUE(kept);
  auto decoded = evidence::decode(kept->head, kept->pieces);
  ASSERT_TRUE(decoded) << decoded.error().text();
  const auto before = std::make_shared<const evidence::Kept>(*std::move(decoded));
  const auto again = evidence::judge_again_blocking(before, policy_of(policy_text("forbidden = [{ name = \"telnet*\" }]")),
                                                    world().references, *world().pipeline);
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_THAT(again->unanswered, IsEmpty());
  EXPECT_EQ(again->verdict.recommendation, Recommendation::block);
  EXPECT_THAT(broken(again->verdict), ElementsAre(HasSubstr("telnetd-0.17-44")));

  // What wasn't kept isn't made up.
  auto without = std::make_shared<evidence::Kept>(*before);
  without->said.software_list.reset();
  const auto unanswered = evidence::judge_again_blocking(without, policy_of(policy_text("forbidden = [{ name = \"telnet*\" }]")),
                                                         world().references, *world().pipeline);
  ASSERT_TRUE(unanswered);
  EXPECT_THAT(unanswered->unanswered, ElementsAre("SWIDT R: the software that was installed isn't kept"));
}

}  // namespace
}  // namespace gatehouse::test
