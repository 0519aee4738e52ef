// What is told to people at the endpoint, in their language: reason strings and remediation instructions (spec part 1b
// §4.7, part 2 §8.1). Texts are named by their English wording. English, German and Polish are built in; an operator
// adds languages, and replaces wordings, in the policy or in a catalogue file. Result strings of work items are for
// operators' scripts and never translated.
//
//   const std::string language = catalogue.choose({"de-CH", "en"});        // "de"
//   catalogue.text(text::bad_packages, language);
//
// Immutable once it belongs to a policy; may then be read from any thread.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gatehouse::server::policy {

// Every text that an endpoint may be told.
namespace text {
// Reasons of the OS IMV.
inline constexpr std::string_view bad_packages = "Vulnerable or blacklisted software packages were found";
inline constexpr std::string_view bad_settings = "Improper OS settings were detected";
// Remediation instructions of the OS IMV: title, description, header of the list.
inline constexpr std::string_view blacklisted_title = "Blacklisted Software Packages";
inline constexpr std::string_view blacklisted_description = "Dangerous software packages were found";
inline constexpr std::string_view blacklisted_header = "Please remove the following software packages:";
inline constexpr std::string_view vulnerable_title = "Software Security Updates";
inline constexpr std::string_view vulnerable_description = "Packages with security vulnerabilities were found";
inline constexpr std::string_view vulnerable_header = "Please update the following software packages:";
inline constexpr std::string_view missing_packages = "Required software packages are not installed";  // the reason, too
inline constexpr std::string_view missing_title = "Required Software Packages";
inline constexpr std::string_view missing_header = "Please install the following software packages:";
inline constexpr std::string_view forwarding_title = "IP Packet Forwarding";
inline constexpr std::string_view forwarding_description = "Please disable the forwarding of IP packets";
inline constexpr std::string_view password_title = "Default Password";
inline constexpr std::string_view password_description = "Please change the default password";
inline constexpr std::string_view unknown_source_title = "Unknown Software Origin";
inline constexpr std::string_view unknown_source_description =
    "Do not allow the installation of apps from unknown sources";
// Reasons of the Attestation IMV.
inline constexpr std::string_view file_incorrect = "Incorrect file measurement";
inline constexpr std::string_view file_pending = "Pending file measurement";
inline constexpr std::string_view no_trusted_ak = "No trusted AIK available";
inline constexpr std::string_view component_incorrect = "Incorrect component evidence";
inline constexpr std::string_view component_pending = "Pending component evidence";
inline constexpr std::string_view quote_invalid = "Invalid TPM Quote signature received";
inline constexpr std::string_view no_baseline = "No approved firmware baseline";
// Reasons of the Scanner IMV.
inline constexpr std::string_view open_ports = "Open server ports were detected";
// Remediation instructions of the Scanner IMV.
inline constexpr std::string_view ports_title = "Open Server Ports";
inline constexpr std::string_view ports_description = "Ports are open that the policy doesn't allow";
inline constexpr std::string_view ports_header = "Please close the following ports:";
// Reasons of the policy itself.
inline constexpr std::string_view denied = "Policy denies access to this device";
inline constexpr std::string_view not_measured = "A required measurement is missing";
inline constexpr std::string_view unknown_device = "This device is not known";
}  // namespace text

// All of them.
std::span<const std::string_view> texts();

class Catalogue {
 public:
  // English, German and Polish.
  Catalogue();

  // `english` is one of texts(); replaces an earlier wording.
  void add(std::string_view language, std::string_view english, std::string translated);

  // The first of the preferred languages (RFC 5646 tags in the endpoint's order) that the catalogue has, as a whole or
  // by its primary subtag: "de-CH" finds "de". "en" where there is none.
  std::string choose(std::span<const std::string> preferred) const;
  // The wording in that language, else of its primary subtag, else in English.
  std::string_view text(std::string_view english, std::string_view language) const;
  std::vector<std::string> languages() const;

 private:
  using Wordings = std::map<std::string, std::string, std::less<>>;
  const Wordings* find(std::string_view language) const;
  friend std::string canonical(const Catalogue& catalogue);
  std::map<std::string, Wordings, std::less<>> languages_;  // by tag in lower case
};

// Whether it has the form of a language tag: letters and digits in subtags of at most 8, at most 35 characters in all.
bool is_language_tag(std::string_view tag);
// Everything it says, in one order.
std::string canonical(const Catalogue& catalogue);

}  // namespace gatehouse::server::policy
