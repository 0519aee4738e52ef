#include "server/policy/catalogue.h"

#include <algorithm>

namespace gatehouse::server::policy {
namespace {

// A text in each language that is built in, in UTF-8.
struct Wording {
  std::string_view en, de, pl;
};
constexpr Wording built_in[] = {
    {text::bad_packages, "Schwachstellenbehaftete oder gesperrte Softwarepakete wurden gefunden",
     "Wykryto zabronione lub podatne na ataki pakiety oprogramowania"},
    {text::bad_settings, "Unzulässige OS Einstellungen wurden festgestellt",
     "Wykryto niedozwolone ustawienia systemu operacyjnego"},
    {text::blacklisted_title, "Gesperrte Softwarepakete", "Zabronione pakiety oprogramowania"},
    {text::blacklisted_description, "Gefährliche Softwarepakete wurden gefunden",
     "Wykryto niebezpieczne pakiety oprogramowania"},
    {text::blacklisted_header, "Bitte entfernen Sie die folgenden Softwarepakete:",
     "Proszę usunąć następujące pakiety oprogramowania:"},
    {text::vulnerable_title, "Sicherheitsaktualisierungen", "Aktualizacje zabezpieczeń oprogramowania"},
    {text::vulnerable_description, "Softwarepakete mit Schwachstellen wurden gefunden",
     "Wykryto pakiety oprogramowania z lukami w zabezpieczeniach"},
    {text::vulnerable_header, "Bitte aktualisieren Sie die folgenden Softwarepakete:",
     "Proszę zaktualizować następujące pakiety oprogramowania:"},
    {text::missing_packages, "Verlangte Softwarepakete sind nicht installiert",
     "Wymagane pakiety oprogramowania nie są zainstalowane"},
    {text::missing_title, "Verlangte Softwarepakete", "Wymagane pakiety oprogramowania"},
    {text::missing_header, "Bitte installieren Sie die folgenden Softwarepakete:",
     "Proszę zainstalować następujące pakiety oprogramowania:"},
    {text::forwarding_title, "IP Paket Weiterleitung", "Przekazywanie pakietów IP"},
    {text::forwarding_description, "Bitte deaktivieren Sie das Forwarding von IP Paketen",
     "Proszę wyłączyć przekazywanie pakietów IP"},
    {text::password_title, "Default Passwort", "Hasło domyślne"},
    {text::password_description, "Bitte ändern Sie das default Passwort", "Proszę zmienić hasło domyślne"},
    {text::unknown_source_title, "Unbekannte Softwareherkunft", "Nieznane pochodzenie oprogramowania"},
    {text::unknown_source_description, "Erlauben Sie keine Installation von Apps aus unbekannten Quellen",
     "Proszę nie zezwalać na instalowanie aplikacji z nieznanych źródeł"},
    {text::file_incorrect, "Falsche Dateimessung", "Nieprawidłowy pomiar pliku"},
    {text::file_pending, "Ausstehende Dateimessung", "Oczekiwanie na pomiar pliku"},
    {text::no_trusted_ak, "Kein vertrauenswürdiger AIK verfügbar", "Brak zaufanego klucza AIK"},
    {text::component_incorrect, "Falsche Komponentenmessung", "Nieprawidłowy pomiar komponentu"},
    {text::component_pending, "Fehlende Komponentenmessung", "Oczekiwanie na pomiar komponentu"},
    {text::quote_invalid, "Ungültige TPM Quote Signatur erhalten", "Otrzymano nieprawidłowy podpis TPM Quote"},
    {text::no_baseline, "Keine freigegebene Firmware-Referenz", "Brak zatwierdzonego wzorca oprogramowania układowego"},
    {text::open_ports, "Offene Serverports wurden festgestellt", "Wykryto otwarte porty serwera"},
    {text::ports_title, "Offene Serverports", "Otwarte porty serwera"},
    {text::ports_description, "Es sind Ports offen, die die Zugangsregeln nicht erlauben",
     "Otwarte są porty, na które nie zezwalają zasady dostępu"},
    {text::ports_header, "Bitte schließen Sie die folgenden Ports:", "Proszę zamknąć następujące porty:"},
    {text::denied, "Die Zugangsregeln verweigern diesem Gerät den Zugang",
     "Zasady dostępu nie zezwalają na dostęp temu urządzeniu"},
    {text::not_measured, "Eine verlangte Messung fehlt", "Brak wymaganego pomiaru"},
    {text::unknown_device, "Dieses Gerät ist nicht bekannt", "To urządzenie jest nieznane"},
};

std::string lower(std::string_view tag) {
  std::string out(tag);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return out;
}

}  // namespace

std::span<const std::string_view> texts() {
  static const std::vector<std::string_view> all = [] {
    std::vector<std::string_view> out;
    for (const Wording& w : built_in) out.push_back(w.en);
    return out;
  }();
  return all;
}

bool is_language_tag(std::string_view tag) {
  if (tag.empty() || tag.size() > 35) return false;
  std::size_t length = 0;
  bool primary = true;
  for (const char c : tag) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c == '-') {
      if (length == 0) return false;
      length = 0;
      primary = false;
    } else if ((letter || (!primary && c >= '0' && c <= '9')) && length < 8) {
      ++length;
    } else {
      return false;
    }
  }
  return length != 0;
}

Catalogue::Catalogue() {
  for (const Wording& w : built_in) {
    languages_["en"].emplace(w.en, w.en);
    languages_["de"].emplace(w.en, w.de);
    languages_["pl"].emplace(w.en, w.pl);
  }
}

void Catalogue::add(std::string_view language, std::string_view english, std::string translated) {
  languages_[lower(language)][std::string(english)] = std::move(translated);
}

const Catalogue::Wordings* Catalogue::find(std::string_view language) const {
  const auto at = languages_.find(language);
  return at == languages_.end() ? nullptr : &at->second;
}

std::string Catalogue::choose(std::span<const std::string> preferred) const {
  for (const std::string& tag : preferred) {
    if (!is_language_tag(tag)) continue;
    // RFC 4647 3.4: subtags are taken away from the end until something fits.
    for (std::string range = lower(tag);; range.resize(range.rfind('-'))) {
      if (find(range) != nullptr) return range;
      if (range.find('-') == range.npos) break;
    }
  }
  return "en";
}

std::string_view Catalogue::text(std::string_view english, std::string_view language) const {
  const std::string tag = lower(language);
  for (std::string_view range = tag;; range = range.substr(0, range.rfind('-'))) {
    if (const Wordings* const wordings = find(range); wordings != nullptr)
      if (const auto at = wordings->find(english); at != wordings->end()) return at->second;
    if (range.find('-') == range.npos) break;
  }
  if (const auto at = languages_.at("en").find(english); at != languages_.at("en").end()) return at->second;
  return english;
}

std::vector<std::string> Catalogue::languages() const {
  std::vector<std::string> out;
  for (const auto& [tag, wordings] : languages_) out.push_back(tag);
  return out;
}

std::string canonical(const Catalogue& catalogue) {
  std::string out;
  for (const auto& [tag, wordings] : catalogue.languages_)
    for (const auto& [english, wording] : wordings) out += "text " + tag + '\n' + english + '\n' + wording + '\n';
  return out;
}

}  // namespace gatehouse::server::policy
