#include "server/policy/catalogue.h"

#include <gmock/gmock.h>

#include "base/hex.h"
#include "tests/server_policy/support.h"

namespace gatehouse::server::policy {
namespace {

TEST(Catalogues, ChooseTheFirstPreferredLanguageThatThereIs) {
  Catalogue catalogue;
  catalogue.add("pt-BR", text::denied, "Acesso negado");
  const auto choose = [&](std::vector<std::string> preferred) { return catalogue.choose(preferred); };
  EXPECT_EQ(choose({}), "en");
  EXPECT_EQ(choose({"de"}), "de");
  EXPECT_EQ(choose({"pl-PL", "en"}), "pl");
  EXPECT_EQ(choose({"fr", "de", "en"}), "de");
  EXPECT_EQ(choose({"DE-ch-1996"}), "de");
  EXPECT_EQ(choose({"en-US", "de"}), "en");
  EXPECT_EQ(choose({"pt-BR"}), "pt-br");
  EXPECT_EQ(choose({"pt", "de"}), "de");  // one country's wording isn't another's
  EXPECT_EQ(choose({"*", "", "-", "de-", std::string(100, 'd'), "xx"}), "en");
}

TEST(Catalogues, HaveEveryTextInEnglishGermanAndPolish) {
  const Catalogue catalogue;
  for (const std::string_view english : texts()) {
    EXPECT_EQ(catalogue.text(english, "en"), english);
    for (const std::string_view language : {"de", "pl"}) {
      const std::string_view translated = catalogue.text(english, language);
      EXPECT_FALSE(translated.empty()) << english;
      EXPECT_NE(translated, english) << language;
      EXPECT_TRUE(is_utf8(translated)) << translated;
    }
    EXPECT_NE(catalogue.text(english, "pl"), catalogue.text(english, "de")) << english;
  }
  EXPECT_EQ(catalogue.text(text::bad_packages, "de"),
            "Schwachstellenbehaftete oder gesperrte Softwarepakete wurden gefunden");
  EXPECT_EQ(catalogue.text(text::bad_settings, "de"), "Unzulässige OS Einstellungen wurden festgestellt");
  EXPECT_EQ(catalogue.text(text::bad_packages, "pl"), "Wykryto zabronione lub podatne na ataki pakiety oprogramowania");
  EXPECT_EQ(catalogue.text(text::bad_settings, "pl"), "Wykryto niedozwolone ustawienia systemu operacyjnego");
}

TEST(Catalogues, FallBackToThePrimaryLanguageThenToEnglish) {
  Catalogue catalogue;
  catalogue.add("de-AT", text::denied, "Kein Zugang");
  EXPECT_EQ(catalogue.text(text::denied, "de-at"), "Kein Zugang");
  EXPECT_EQ(catalogue.text(text::bad_settings, "de-AT"), "Unzulässige OS Einstellungen wurden festgestellt");
  EXPECT_EQ(catalogue.text(text::denied, "it"), text::denied);
}

TEST(Catalogues, ComeFromThePolicysFileAndThePolicyGoesBefore) {
  const std::string file =
      "[fr]\n\"Default Password\" = \"Mot de passe par défaut\"\n\"IP Packet Forwarding\" = \"Routage\"\n"
      "[en]\n\"Default Password\" = \"Factory password\"\n";
  const auto policy =
      parsed("[policy]\ncatalogue = \"texts.toml\"\n[policy.messages.fr]\n\"IP Packet Forwarding\" = \"Routage IP\"\n",
             [&](const std::string& path) -> Result<std::string> {
               EXPECT_EQ(path, "texts.toml");
               return file;
             });
  EXPECT_EQ(policy->catalogue.text(text::password_title, "fr"), "Mot de passe par défaut");
  EXPECT_EQ(policy->catalogue.text(text::forwarding_title, "fr"), "Routage IP");
  EXPECT_EQ(policy->catalogue.text(text::password_title, "en"), "Factory password");
  EXPECT_EQ(policy->catalogue.text(text::password_title, "it"), "Factory password");
  EXPECT_THAT(policy->catalogue.languages(), testing::ElementsAre("de", "en", "fr", "pl"));
}

TEST(Catalogues, WithMistakesNameTheirOwnFileAndLine) {
  const auto found = mistakes("[policy]\ncatalogue = \"texts.toml\"\n", [](const std::string&) -> Result<std::string> {
    return "[fr]\n\"Defualt Password\" = \"x\"\n\"Default Password\" = 7\n[toolonglanguage]\n";
  });
  EXPECT_THAT(found, testing::ElementsAre(
                         "texts.toml:2: fr.\"Defualt Password\": is no text of Gatehouse (docs/policy.md lists them)",
                         "texts.toml:3: fr.\"Default Password\": wants one line of text, at most 1024 bytes",
                         "texts.toml:4: toolonglanguage: is no language tag such as \"de\" or \"pt-BR\""));
  EXPECT_THAT(mistakes("[policy]\ncatalogue = \"gone.toml\"\n"),
              testing::ElementsAre(testing::HasSubstr("policy.toml:2: policy.catalogue: ")));
}

TEST(Catalogues, AreListedInTheGuide) {
  const std::string guide = content(GATEHOUSE_DOCS "/policy.md");
  for (const std::string_view english : texts())
    EXPECT_NE(guide.find("`" + std::string(english) + "`"), guide.npos) << english;
}

}  // namespace
}  // namespace gatehouse::server::policy
