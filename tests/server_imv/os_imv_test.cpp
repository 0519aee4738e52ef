// The OS IMV in whole conversations: what it asks for, what it makes of the answers, and the exact texts of both.
#include "server/imv/os/os_imv.h"

#include "tests/server_imv/support.h"

namespace gatehouse::test {
namespace {

using testing::ElementsAre;
using Os = Imvs;

// What an endpoint says, and what has to come of it.
struct Row {
  const char* what;
  const char* entry;  // of the policy
  Pa says;
  Evaluation evaluation;
  Recommendation recommendation;
  const char* result;
  const char* remedy;  // a key of `remedies`; empty: none
};

// What an endpoint is told, in each language that is built in.
struct Told {
  const char *en, *de, *pl;
  std::string in(std::string_view language) const { return language == "en" ? en : language == "de" ? de : pl; }
};
const Told bad_packages{"Vulnerable or blacklisted software packages were found",
                        "Schwachstellenbehaftete oder gesperrte Softwarepakete wurden gefunden",
                        "Wykryto zabronione lub podatne na ataki pakiety oprogramowania"};
const Told bad_settings{"Improper OS settings were detected", "Unzulässige OS Einstellungen wurden festgestellt",
                        "Wykryto niedozwolone ustawienia systemu operacyjnego"};
// The five causes: one list item each where there is a list.
const std::map<std::string, Told> remedies{
    {"telnetd",
     {"Blacklisted Software Packages\n  Dangerous software packages were found\n"
      "  Please remove the following software packages:\n    telnetd",
      "Gesperrte Softwarepakete\n  Gefährliche Softwarepakete wurden gefunden\n"
      "  Bitte entfernen Sie die folgenden Softwarepakete:\n    telnetd",
      "Zabronione pakiety oprogramowania\n  Wykryto niebezpieczne pakiety oprogramowania\n"
      "  Proszę usunąć następujące pakiety oprogramowania:\n    telnetd"}},
    {"openssl",
     {"Software Security Updates\n  Packages with security vulnerabilities were found\n"
      "  Please update the following software packages:\n    openssl",
      "Sicherheitsaktualisierungen\n  Softwarepakete mit Schwachstellen wurden gefunden\n"
      "  Bitte aktualisieren Sie die folgenden Softwarepakete:\n    openssl",
      "Aktualizacje zabezpieczeń oprogramowania\n  Wykryto pakiety oprogramowania z lukami w zabezpieczeniach\n"
      "  Proszę zaktualizować następujące pakiety oprogramowania:\n    openssl"}},
    {"forwarding",
     {"IP Packet Forwarding\n  Please disable the forwarding of IP packets",
      "IP Paket Weiterleitung\n  Bitte deaktivieren Sie das Forwarding von IP Paketen",
      "Przekazywanie pakietów IP\n  Proszę wyłączyć przekazywanie pakietów IP"}},
    {"password",
     {"Default Password\n  Please change the default password",
      "Default Passwort\n  Bitte ändern Sie das default Passwort",
      "Hasło domyślne\n  Proszę zmienić hasło domyślne"}},
    {"source",
     {"Unknown Software Origin\n  Do not allow the installation of apps from unknown sources",
      "Unbekannte Softwareherkunft\n  Erlauben Sie keine Installation von Apps aus unbekannten Quellen",
      "Nieznane pochodzenie oprogramowania\n  Proszę nie zezwalać na instalowanie aplikacji z nieznanych źródeł"}},
};

TEST_F(Os, ItemsHaveTheirResultTextAndRemedy) {
  OsPush forwards, keeps_default;
  forwards.forwarding = 1;
  keeps_default.default_password = 1;
  const auto with_setting = [](const std::string& value) {
    Pa out = os_push();
    std::move(out).add(ita, type::ita_settings, settings({{"install_non_market_apps", value}}));
    return out;
  };
  const Row rows[] = {
      {"no forwarding", "\"FWDEN\"", os_push(), Evaluation::compliant, Recommendation::allow, "forwarding not enabled",
       ""},
      {"forwarding", "\"FWDEN\"", os_push(forwards), Evaluation::major, Recommendation::isolate, "forwarding enabled",
       "forwarding"},
      {"no default password", "\"PWDEN\"", os_push(), Evaluation::compliant, Recommendation::allow,
       "factory default password not enabled", ""},
      {"default password", "\"PWDEN\"", os_push(keeps_default), Evaluation::major, Recommendation::isolate,
       "factory default password enabled", "password"},
      {"setting 0", "\"UNSRC\"", with_setting("0"), Evaluation::compliant, Recommendation::allow,
       "unknown sources not enabled", ""},
      {"setting 1", "\"UNSRC\"", with_setting("1"), Evaluation::minor, Recommendation::isolate,
       "unknown sources enabled", "source"},
      {"setting 1 and a newline", "\"UNSRC\"", with_setting("1\n"), Evaluation::minor, Recommendation::isolate,
       "unknown sources enabled", "source"},
      {"setting 11", "\"UNSRC\"", with_setting("11"), Evaluation::compliant, Recommendation::allow,
       "unknown sources not enabled", ""},
      {"failure that blocks", R"({type = "FWDEN", on_fail = "block"})", os_push(forwards), Evaluation::major,
       Recommendation::block, "forwarding enabled", "forwarding"},
      {"failure that is let pass", R"({type = "FWDEN", on_fail = "allow"})", os_push(forwards), Evaluation::major,
       Recommendation::allow, "forwarding enabled", "forwarding"},
  };
  for (const Row& row : rows)
    for (const std::string language : {"en", "de", "pl"}) {
      ask(row.entry);
      ByHand client(world());
      const Answer answer = client.say({row.says}, language);
      ASSERT_EQ(answer.type, pbtnc::BatchType::result) << row.what;
      const pipeline::ItemResult result = item(client.verdict(), row.result[0] == 'u'   ? "UNSRC"
                                                                 : row.result[1] == 'o' ? "FWDEN"
                                                                                        : "PWDEN");
      EXPECT_EQ(result.result, row.result) << row.what;
      EXPECT_EQ(result.evaluation, row.evaluation) << row.what;
      EXPECT_EQ(result.recommendation, row.recommendation) << row.what;
      EXPECT_EQ(assessment(answer, ietf, os_subtype), std::uint32_t(row.evaluation)) << row.what;
      EXPECT_EQ(client.verdict().recommendation, row.recommendation) << row.what;
      const ServerAttribute* const remedy = answer.attribute(ietf, type::remediation_instructions);
      EXPECT_EQ(remediation_string(remedy).first, *row.remedy == 0 ? "" : remedies.at(row.remedy).in(language))
          << row.what;
      if (remedy != nullptr) {
        EXPECT_EQ(remediation_string(remedy).second, language) << row.what;
      }
      if (row.recommendation == Recommendation::allow) {
        EXPECT_TRUE(answer.reasons.empty()) << row.what;
      } else {
        EXPECT_THAT(answer.reasons, ElementsAre(std::pair(bad_settings.in(language), language))) << row.what;
      }
    }
}

TEST_F(Os, WhatTheEndpointDoesntKnowIsNoResult) {
  OsPush os;
  os.forwarding = 2;
  for (const std::string on_noresult : {"isolate", "block", "allow"}) {
    ask("{type = \"FWDEN\", on_noresult = \"" + on_noresult + "\"}");
    ByHand client(world());
    const Answer answer = client.say({os_push(os)});
    ASSERT_EQ(answer.type, pbtnc::BatchType::result);
    EXPECT_EQ(assessment(answer, ietf, os_subtype), 4U);
    const auto result = item(client.verdict(), "FWDEN");
    EXPECT_EQ(result.result, "forwarding unknown");
    EXPECT_EQ(result.evaluation, Evaluation::unknown);
    EXPECT_EQ(name(result.recommendation), on_noresult);
  }
}

TEST_F(Os, SilenceIsNoAnswerAndNeverAllow) {
  const struct {
    std::string type;
    std::uint32_t left_out;
  } rows[] = {
      {"UNSRC", 0}, {"PCKGS", 0}, {"FWDEN", type::forwarding_enabled}, {"PWDEN", type::factory_default_password}};
  for (const auto& row : rows) {
    ask("\"" + row.type + "\"");
    OsPush os;
    os.leave_out = {row.left_out};
    ByHand client(world());
    const Answer asked = client.say({os_push(os)});
    EXPECT_EQ(asked.type, pbtnc::BatchType::sdata) << row.type;
    const Answer answer = client.until_result(asked);
    ASSERT_EQ(answer.type, pbtnc::BatchType::result) << row.type;
    EXPECT_EQ(item(client.verdict(), row.type).result, "no answer");
    EXPECT_EQ(item(client.verdict(), row.type).evaluation, Evaluation::unknown);
    EXPECT_EQ(client.verdict().recommendation, Recommendation::isolate) << row.type;
    EXPECT_EQ(assessment(answer, ietf, os_subtype), 4U);
    EXPECT_THAT(answer.reasons,
                ElementsAre(std::pair<std::string, std::string>("A required measurement is missing", "en")));
  }
}

// A Linux client may not read Android's setting, and has nothing else to say.
TEST_F(Os, OneItemsSilenceLeavesTheOthersTheirResults) {
  ask(R"("UNSRC", "FWDEN", "PWDEN")");
  ByHand client(world());
  client.until_result(client.say({os_push()}));
  EXPECT_EQ(item(client.verdict(), "FWDEN").recommendation, Recommendation::allow);
  EXPECT_EQ(item(client.verdict(), "PWDEN").recommendation, Recommendation::allow);
  EXPECT_EQ(item(client.verdict(), "UNSRC").recommendation, Recommendation::isolate);
  EXPECT_EQ(client.verdict().recommendation, Recommendation::isolate);
}

// Spec part 1b §8.9: don't know, and what to mend all the same.
TEST_F(Os, WithoutWorkItSaysWhatTheSeedsServerSaid) {
  ask("");
  OsPush os;
  os.forwarding = 1;
  ByHand client(world());
  const Answer answer = client.say({os_push(os)});
  const auto messages = answer.of(ietf, os_subtype);
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_FALSE(messages[0]->exclusive);
  EXPECT_EQ(messages[0]->collector, pbtnc::any);
  EXPECT_EQ(to_hex(Bytes(messages[0]->body).subspan(8)),
            "00000000000000090000001000000004"
            "000000000000000a0000005d000000000000000200000042"
            "4950205061636b657420466f7277617264696e670a2020506c656173652064697361626c652074686520666f72776172"
            "64696e67206f66204950207061636b65747302656e");
  EXPECT_EQ(messages[0]->body.size(), 117U);
  EXPECT_TRUE(answer.reasons.empty());
  EXPECT_EQ(answer.access, 1U);
}

TEST_F(Os, AnEndpointThatIsCompliantIsntToldWhatNobodyAskedFor) {
  ask("\"PWDEN\"");
  OsPush os;
  os.forwarding = 1;
  ByHand client(world());
  const Answer answer = client.say({os_push(os)});
  EXPECT_EQ(assessment(answer, ietf, os_subtype), 0U);
  EXPECT_EQ(answer.attribute(ietf, type::remediation_instructions), nullptr);
}

TEST_F(Os, SeveralRemediesStandInTheirOrder) {
  ask(R"({type = "PCKGS", blacklisted = ["telnetd *"], vulnerable = ["openssl < 3.0.11-1~deb12u2"]}, "FWDEN", "PWDEN", "UNSRC")",
      "remediation_uri = \"https://remedy.example/os\"");
  OsPush os;
  os.forwarding = os.default_password = 1;
  for (const std::string language : {"en-US", "de-CH", "pl-PL"}) {
    const std::string primary = language.substr(0, 2);
    ByHand client(world());
    client.say({os_push(os)}, language);
    const Answer answer =
        client.say({os_message()
                        .add(ietf, type::installed_packages,
                             packages({{"openssl", "3.0.11-1~deb12u1"}, {"telnetd", "0.17"}, {"bash", "5.2"}}))
                        .add(ita, type::ita_settings, settings({{"install_non_market_apps", "1"}}))});
    std::string all;
    for (const char* const cause : {"telnetd", "openssl", "forwarding", "password", "source"})
      all += (all.empty() ? "" : "\n") + remedies.at(cause).in(primary);
    const auto instructions = answer.attributes(ietf, type::remediation_instructions);
    ASSERT_EQ(instructions.size(), 2U);
    EXPECT_EQ(remediation_string(instructions[0]), std::pair(all, primary));
    EXPECT_EQ(remediation_string(instructions[1]),
              std::pair(std::string("https://remedy.example/os"), std::string("(URI)")));
    EXPECT_THAT(answer.reasons,
                ElementsAre(std::pair(bad_packages.in(primary) + "\n" + bad_settings.in(primary), primary)));
    EXPECT_EQ(item(client.verdict(), "PCKGS").result,
              "processed 3 packages: 1 vulnerable, 1 blacklisted, 0 ok, 1 unknown");
  }
}

// The policy keeps out who isn't enrolled, whatever it shows, and tells it so.
TEST_F(Os, WhoIsntEnrolledIsToldSo) {
  ask("\"FWDEN\"");
  const std::pair<const char*, const char*> rows[] = {
      {"en", "This device is not known"}, {"de", "Dieses Gerät ist nicht bekannt"}, {"pl", "To urządzenie jest nieznane"}};
  for (const auto& [language, text] : rows) {
    ByHand client(world(), {"192.0.2.7:49152", "CN=stranger", "certificate"});
    const Answer answer = client.say({os_push()}, language);
    ASSERT_EQ(answer.type, pbtnc::BatchType::result);
    EXPECT_EQ(answer.access, 3U);
    EXPECT_EQ(assessment(answer, ietf, os_subtype), 0U);
    EXPECT_THAT(answer.reasons, ElementsAre(std::pair(std::string(text), std::string(language))));
  }
}

// EXCL: the validator that is named, and only if the message is of its type (spec part 1b §6.3).
TEST_F(Os, AnExclusiveMessageReachesTheNamedValidatorOfItsTypeAlone) {
  ask("\"FWDEN\"");
  OsPush os;
  os.forwarding = 1;
  ByHand named(world());
  EXPECT_EQ(named.say({os_push(os).to(1)}).access, 3U);
  EXPECT_EQ(item(named.verdict(), "FWDEN").result, "forwarding enabled");
  // To the Attestation IMV, to one that there isn't, to any: what isn't exclusively for another counts.
  for (const std::uint16_t validator : {std::uint16_t{3}, std::uint16_t{77}, pbtnc::any}) {
    ByHand other(world());
    const Answer answer = other.say({os_push(os).to(validator), os_push()});
    EXPECT_EQ(answer.access, 1U) << validator;
    EXPECT_TRUE(answer.attributes(ietf, type::pa_tnc_error).empty());
    EXPECT_TRUE(other.logged("nobody subscribed to it"));
  }
  ByHand pts(world());
  EXPECT_EQ(pts.say({os_push(), Pa(tcg, patnc::subtype_pts).to(1).raw(*from_hex("00"))}).access, 1U);
  EXPECT_TRUE(pts.logged("nobody subscribed to it"));
}

TEST_F(Os, AndroidGetsXml) {
  ask(R"({type = "PCKGS", blacklisted = ["a<b>&\"c'd *"]}, "PWDEN")");
  OsPush os;
  os.name = "Android";
  os.version = "14";
  os.default_password = 1;
  ByHand client(world());
  client.say({os_push(os)});
  const Answer answer = client.say({os_message().add(ietf, type::installed_packages, packages({{"a<b>&\"c'd", "1"}}))});
  EXPECT_EQ(remediation_string(answer.attribute(ietf, type::remediation_instructions)).first,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<remediationinstructions>\n"
            "  <instruction>\n    <title>Blacklisted Software Packages</title>\n"
            "    <description>Dangerous software packages were found</description>\n"
            "    <itemsheader>Please remove the following software packages:</itemsheader>\n"
            "    <items>\n      <item>a&lt;b&gt;&amp;&quot;c&apos;d</item>\n    </items>\n  </instruction>\n"
            "  <instruction>\n    <title>Default Password</title>\n"
            "    <description>Please change the default password</description>\n  </instruction>\n"
            "</remediationinstructions>");
}

// Spec part 1b §8.10: a URI without a string, where there is nothing to say but that it isn't allowed.
TEST_F(Os, TheRemediationUriIsForWhoIsntAllowed) {
  ask("\"FWDEN\"", "remediation_uri = \"https://remedy.example/os\"");
  OsPush os;
  os.forwarding = 2;
  ByHand refused(world());
  const Answer answer = refused.say({os_push(os)});
  ASSERT_EQ(answer.of(ietf, os_subtype).size(), 1U);
  EXPECT_EQ(to_hex(Bytes(answer.of(ietf, os_subtype)[0]->body).subspan(24)),
            "000000000000000a0000002d000000000000000168747470733a2f2f72656d6564792e6578616d706c652f6f73");
  // Beside the result, too: for collectors that don't read assessments.
  EXPECT_THAT(answer.remediation_uris, ElementsAre("https://remedy.example/os"));
  ByHand allowed(world());
  const Answer good = allowed.say({os_push()});
  EXPECT_EQ(good.attribute(ietf, type::remediation_instructions), nullptr);
  EXPECT_THAT(good.remediation_uris, testing::IsEmpty());
}

// Spec part 1b §8.2 and §10.5: a client with push_info = no.
TEST_F(Os, AsksForWhatIsMissingAndThenForThePackages) {
  ask("\"PCKGS\"");
  ByHand client(world());
  Answer answer = client.say({});
  ASSERT_EQ(answer.of(ietf, os_subtype).size(), 1U);
  EXPECT_EQ(to_hex(Bytes(answer.of(ietf, os_subtype)[0]->body).subspan(8)),
            "000055970000002100000014ffffffff0000ffba"
            "000000000000000100000044"
            "0000000000000002000000000000000400000000000000030000000000000005"
            "000000000000000b000000000000000c0000902a00000008");
  EXPECT_EQ(answer.of(ietf, os_subtype)[0]->body.size(), 96U);
  answer = client.say({os_push()});
  ASSERT_EQ(answer.of(ietf, os_subtype).size(), 1U);
  EXPECT_EQ(to_hex(Bytes(answer.of(ietf, os_subtype)[0]->body).subspan(8)), "0000000000000001000000140000000000000007");
  EXPECT_EQ(answer.of(ietf, os_subtype)[0]->body.size(), 28U);
  answer = client.say({os_message().add(ietf, type::installed_packages, packages({{"bash", "5.2"}}))});
  EXPECT_EQ(answer.access, 1U);
}

TEST_F(Os, ProductAndVersionAreAskedForTogetherAndNothingElseThatIsThere) {
  ask("");
  OsPush os;
  os.leave_out = {type::string_version, type::operational_status, 0x108};
  ByHand client(world());
  const Answer answer = client.say({os_push(os)});
  const ServerAttribute* const request = answer.attribute(ietf, type::attribute_request);
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(to_hex(request->value),
            "00000000000000020000000000000004"
            "0000000000000005"
            "0000902a00000008");
}

// Spec part 1b §10.5: all four items.
TEST_F(Os, AsksForPackagesAndSettingsInOneMessage) {
  ask(R"("PCKGS", "UNSRC", "FWDEN", "PWDEN")");
  ByHand client(world());
  const Answer answer = client.say({os_push()});
  ASSERT_EQ(answer.of(ietf, os_subtype).size(), 1U);
  const ServerMessage& message = *answer.of(ietf, os_subtype)[0];
  EXPECT_EQ(message.body.size(), 89U);
  EXPECT_THAT(message.names(),
              ElementsAre("TCG/Segmentation Contract Request", "IETF/Attribute Request", "ITA-HSR/Get Settings"));
  EXPECT_EQ(to_hex(message.attributes[2].value), "000000010017696e7374616c6c5f6e6f6e5f6d61726b65745f61707073");
  EXPECT_TRUE(client.logged("IMV 1 handled FWDEN workitem ")) << "finished before anything is sent";
  EXPECT_TRUE(client.logged("allow - factory default password not enabled"));
}

TEST_F(Os, WithoutProductInformationItCantBeSaidWhoThisIs) {
  ask("\"FWDEN\"");
  ByHand client(world());
  OsPush os;
  os.leave_out = {type::product_information};
  client.say({os_push(os)});
  const Answer answer = client.say({os_message().add(ietf, type::testing, "")});
  EXPECT_EQ(assessment(answer, ietf, os_subtype), 3U);
  EXPECT_EQ(item(client.verdict(), "FWDEN").evaluation, Evaluation::error);
  EXPECT_EQ(client.verdict().recommendation, Recommendation::isolate);
  EXPECT_EQ(client.verdict().findings.front().reason, "the endpoint gave no usable product information");
  EXPECT_THAT(answer.reasons, ElementsAre(std::pair("A required measurement is missing", "en")));
  // The same where nothing else is asked of it.
  ask("");
  ByHand nobody(world());
  nobody.say({os_push(os)}, "pl");
  const Answer last = nobody.say({os_message().add(ietf, type::testing, "")});
  EXPECT_EQ(last.access, 3U);
  EXPECT_THAT(last.reasons, ElementsAre(std::pair("Brak wymaganego pomiaru", "pl")));
}

TEST_F(Os, ADeviceIdThatDoesntComeIsAskedForOnce) {
  ask("\"FWDEN\"");
  OsPush os;
  os.device = "";
  ByHand client(world());
  Answer answer = client.say({os_push(os)});
  ASSERT_NE(answer.attribute(ietf, type::attribute_request), nullptr);
  EXPECT_EQ(to_hex(answer.attribute(ietf, type::attribute_request)->value), "0000902a00000008");
  answer = client.until_result(client.say({}));
  EXPECT_EQ(answer.type, pbtnc::BatchType::result);
  EXPECT_EQ(item(client.verdict(), "FWDEN").evaluation, Evaluation::compliant);
  EXPECT_EQ(client.verdict().recommendation, Recommendation::isolate) << "nobody knows it";
}

TEST_F(Os, TheSameSaidTwiceIsFineAndAnythingElseIsNoAnswer) {
  const struct {
    const char* what;
    std::uint32_t vendor, type;
    ByteVector same, other;
    const char* trouble;
  } rows[] = {
      {"product", ietf, type::product_information, product_information("Debian"), product_information("Ubuntu"),
       "the endpoint claims two different identities"},
      {"vendor", ietf, type::product_information, product_information("Debian"), product_information("Debian", 28978),
       "the endpoint claims two different identities"},
      {"version", ietf, type::string_version, string_version("12 x86_64"), string_version("13 x86_64"),
       "the endpoint claims two different identities"},
      {"Device ID", ita, type::ita_device_id, to_vector(as_bytes("host1")), to_vector(as_bytes("host2")),
       "the endpoint claims two different identities"},
      {"forwarding", ietf, type::forwarding_enabled, u32(0), u32(1),
       "the endpoint contradicts itself about 'IETF/Forwarding Enabled'"},
      {"password", ietf, type::factory_default_password, u32(0), u32(1),
       "the endpoint contradicts itself about 'IETF/Factory Default Password Enabled'"},
      {"numeric version", ietf, type::numeric_version, *from_hex("0000000c000000000000000000000000"),
       *from_hex("0000000d000000000000000000000000"), "the endpoint contradicts itself about 'IETF/Numeric Version'"},
  };
  ask(R"("FWDEN", "PWDEN")");
  for (const auto& row : rows) {
    for (const bool one_message : {true, false}) {
      Pa push = os_push(), again = os_message(2);
      std::move(one_message ? push : again).add(row.vendor, row.type, row.same);
      ByHand good(world());
      const std::vector<Pa> twice = one_message ? std::vector{push} : std::vector{push, again};
      EXPECT_EQ(good.say(twice).access, 1U) << row.what;
      std::vector<Pa> differently = {os_push()};
      if (one_message)
        std::move(differently[0]).add(row.vendor, row.type, row.other);
      else
        differently.push_back(os_message(2).add(row.vendor, row.type, row.other));
      ByHand bad(world());
      const Answer answer = bad.say(differently);
      EXPECT_EQ(assessment(answer, ietf, os_subtype), 3U) << row.what;
      EXPECT_EQ(bad.verdict().recommendation, Recommendation::isolate) << row.what;
      EXPECT_EQ(item(bad.verdict(), "FWDEN").result, row.trouble) << row.what;
    }
  }
}

TEST_F(Os, AnAttributeThatTheEndpointDoesntKnowIsNotFatalAndAnyOtherErrorIs) {
  const auto error = [](std::uint32_t code, const std::string& rest, std::uint32_t vendor = 0) {
    Writer w;
    w.put(std::uint8_t{0});
    w.put24(vendor);
    w.put(code);
    w.put_bytes(*from_hex("0100000011223344" + rest));
    return std::move(w).take();
  };
  const struct {
    const char* what;
    ByteVector value;
    bool fatal;
  } rows[] = {
      {"segmentation", error(3, "0000559700000021"), false},
      {"settings", error(3, "0000902a00000003"), false},
      {"requests", error(3, "0000000000000001"), false},
      {"packages", error(3, "0000000000000007"), false},
      {"product", error(3, "0000000000000002"), false},
      {"Device ID", error(3, "0000902a00000008"), false},
      {"an assessment", error(3, "0000000000000009"), true},
      {"offset", error(1, "00000014"), true},
      {"version", error(2, "01010000"), true},
      {"too short to mean anything", error(1, ""), false},
      {"a code of SWIMA", error(5, "00"), false},
      {"a code of nobody's", error(99, ""), false},
      {"a vendor's", error(1, "00000014", 0x005597), false},
  };
  for (const auto& row : rows) {
    ask(R"("UNSRC", "PCKGS")");
    ByHand client(world());
    client.say({os_push()});
    Answer answer = client.say({os_message().add(ietf, type::pa_tnc_error, row.value)});
    EXPECT_EQ(answer.type == pbtnc::BatchType::result, row.fatal) << row.what;
    EXPECT_EQ(answer.attribute(ietf, type::pa_tnc_error), nullptr) << "an error never answers an error";
    answer = client.until_result(answer);
    EXPECT_EQ(assessment(answer, ietf, os_subtype), row.fatal ? 3U : 4U) << row.what;
    EXPECT_EQ(client.verdict().recommendation, Recommendation::isolate);
    if (!row.fatal) {
      EXPECT_EQ(item(client.verdict(), "UNSRC").result, "no answer") << row.what;
    }
  }
}

TEST_F(Os, AnotherAssessmentForgetsWhatTheFirstOneHeard) {
  ask("\"FWDEN\"");
  OsPush os;
  os.forwarding = 1;
  ByHand client(world());
  EXPECT_EQ(client.say({os_push(os)}).access, 3U);
  const Answer again = client.send(client_batch({os_push()}, pbtnc::BatchType::cretry));
  EXPECT_EQ(again.access, 1U);
  EXPECT_EQ(item(client.verdict(), "FWDEN").result, "forwarding not enabled");
}

// Groups, references and package rules go by the recorded product, whatever is asked for.
TEST_F(Os, AnotherProductThanTheRecordedOneIsNotAllowed) {
  ask("\"FWDEN\"");
  OsPush os;
  ByHand good(world());
  EXPECT_EQ(good.say({os_push(os)}).access, 1U);
  for (const auto& [name, version] : {std::pair{"Debian", "13 x86_64"}, std::pair{"Debiam", "12 x86_64"}, std::pair{"Debian", "12 x86_64 "}}) {
    os.name = name;
    os.version = version;
    ByHand client(world());
    EXPECT_EQ(client.say({os_push(os)}).access, 3U) << name << version;
    EXPECT_EQ(client.verdict().findings.at(0).reason, "the endpoint claims another product than the one that is recorded");
  }
}

// Its result stands already, while another validator still waits for an answer.
TEST_F(Os, AContradictionAfterItsResultCountsToo) {
  const struct {
    const char* what;
    std::uint32_t vendor, type;
    ByteVector other;
  } rows[] = {{"forwarding", ietf, type::forwarding_enabled, u32(1)},
              {"password", ietf, type::factory_default_password, u32(1)},
              {"product", ietf, type::product_information, product_information("Fedora")},
              {"device", ita, type::ita_device_id, to_vector(as_bytes("host2"))}};
  ask(R"("FWDEN", "PWDEN", {type = "TCPOP", argument = "22"})");
  const Pa ports = Pa(ietf, patnc::subtype_firewall).add(ietf, type::port_filter, *from_hex("00060016"));
  ByHand good(world());
  EXPECT_EQ(assessment(good.say({os_push()}), ietf, os_subtype), 0U);
  EXPECT_EQ(good.say({os_push(), ports}).access, 1U);
  for (const auto& row : rows) {
    ByHand client(world());
    client.say({os_push()});
    EXPECT_EQ(client.say({os_message().add(row.vendor, row.type, row.other), ports}).access, 3U) << row.what;
    EXPECT_EQ(item(client.verdict(), "FWDEN").evaluation, Evaluation::error) << row.what;
  }
}

// Only a boot that is known and older than the result says that nothing has changed since.
TEST(OsLastBoot, DecidesWhetherAnEarlierAttestationStillHolds) {
  World world;
  const Machine m = machine();
  const std::string device = m.tpm->ak().key_id();
  world.enrol(m.tpm->ak(), device, "Debian 12 x86_64", {"CN=test"});
  world.settings.policy = policy_of("[groups.all]\nask = [{type = \"TPMRA\", argument = \"B I\", max_age = \"1d\"}]\n");
  converse(world, m);
  world.approve(device);
  const Outcome good = converse(world, m);
  ASSERT_TRUE(good.answer) << good.error;
  ASSERT_EQ(good.answer->recommendation, endpoint::Recommendation::allow);
  const struct {
    const char* last_boot;
    bool skipped;
  } rows[] = {{"2026-11-29T12:00:00Z", true},  {"2026-11-30T00:53:40Z", false}, {"2026-12-01T00:00:00Z", false},
              {"0000-00-00T00:00:00Z", false}, {"2026-13-29T12:00:00Z", false}, {"2026-02-30T12:00:00Z", false}};
  for (const auto& row : rows) {
    OsPush os;
    os.device = device;
    os.last_boot = row.last_boot;
    ByHand client(world, {"127.0.0.1:1", "CN=test", "certificate"});
    const Answer answer = client.say({os_push(os)});
    EXPECT_EQ(answer.of(tcg, patnc::subtype_pts).empty(), row.skipped) << row.last_boot;
    if (row.skipped) {
      EXPECT_EQ(answer.access, 1U);
    }
  }
}

TEST(BootTime, IsADateThatExistsAndIsntToCome) {
  const std::int64_t now = 1'796'000'000'000;  // 2026-11-30T00:53:20Z
  const auto at = [&](std::string_view text) { return server::boot_time(text, now).value_or(-1); };
  EXPECT_EQ(at("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(at("2022-05-31T08:26:24Z"), 1'653'985'584'000);
  EXPECT_EQ(at("2024-02-29T23:59:60Z"), 1'709'251'200'000);
  EXPECT_EQ(at("2026-11-30T00:53:20Z"), now);
  for (const char* text :
       {"2026-11-30T00:53:21Z", "0000-00-00T00:00:00Z", "1969-12-31T23:59:59Z", "2023-02-29T00:00:00Z",
        "2022-00-10T00:00:00Z", "2022-13-10T00:00:00Z", "2022-04-31T00:00:00Z", "2022-04-00T00:00:00Z",
        "2022-04-30T24:00:00Z", "2022-04-30T23:60:00Z", "2022-04-30T23:59:61Z", "2022-04-30T23:59:00", ""})
    EXPECT_EQ(at(text), -1) << text;
}

}  // namespace
}  // namespace gatehouse::test
