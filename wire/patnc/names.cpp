#include <array>
#include <cstdio>

#include "wire/patnc/patnc.h"

namespace gatehouse::patnc {
namespace {

struct Name {
  std::uint32_t vendor, number;
  std::string_view name;
};

// §1.6
constexpr Name subtypes[] = {
    {vendor_ietf, 0, "IETF/Testing"},
    {vendor_ietf, 1, "IETF/Operating System"},
    {vendor_ietf, 2, "IETF/Anti-Virus"},
    {vendor_ietf, 3, "IETF/Anti-Spyware"},
    {vendor_ietf, 4, "IETF/Anti-Malware"},
    {vendor_ietf, 5, "IETF/Firewall"},
    {vendor_ietf, 6, "IETF/IDPS"},
    {vendor_ietf, 7, "IETF/VPN"},
    {vendor_ietf, 8, "IETF/NEA Client"},
    {vendor_ietf, 9, "IETF/SWIMA"},
    {vendor_tcg, 1, "TCG/PTS"},
    {vendor_tcg, 2, "TCG/SCAP"},
    {vendor_tcg, 3, "TCG/SWID"},
    {vendor_pwg, 0x00, "PWG/HCD Testing"},
    {vendor_pwg, 0x01, "PWG/HCD Other"},
    {vendor_pwg, 0x02, "PWG/HCD Unknown"},
    {vendor_pwg, 0x04, "PWG/HCD Console"},
    {vendor_pwg, 0x05, "PWG/HCD System"},
    {vendor_pwg, 0x06, "PWG/HCD Cover"},
    {vendor_pwg, 0x08, "PWG/HCD Input Tray"},
    {vendor_pwg, 0x09, "PWG/HCD Output Tray"},
    {vendor_pwg, 0x0A, "PWG/HCD Marker"},
    {vendor_pwg, 0x0D, "PWG/HCD Media Path"},
    {vendor_pwg, 0x0E, "PWG/HCD Channel"},
    {vendor_pwg, 0x0F, "PWG/HCD Interpreter"},
    {vendor_pwg, 0x1E, "PWG/HCD Finisher"},
    {vendor_pwg, 0x28, "PWG/HCD Interface"},
    {vendor_pwg, 0x32, "PWG/HCD Scanner"},
    {vendor_fhh, 0x30, "FHH/HostScanner"},
    {vendor_fhh, 0x31, "FHH/Dummy"},
    {vendor_fhh, 0x33, "FHH/PlatformID"},
    {vendor_fhh, 0x34, "FHH/Attestation"},
    {vendor_fhh, 0x41, "FHH/ClamAV"},
    {vendor_ita, 1, "ITA-HSR/Test"},
    {vendor_ita, 2, "ITA-HSR/Echo"},
};

// §1.7.8
constexpr std::string_view errors[] = {
    "Reserved",
    "Invalid Parameter",
    "Version Not Supported",
    "Attribute Type Not Supported",
    "SWIMA Error",
    "SWIMA Subscription Denied",
    "SWIMA Response Too Large",
    "SWIMA Subscription Fulfillment Error",
    "SWIMA Subscription ID Reuse",
};

// §1.5
struct Vendor {
  std::uint32_t number;
  std::string_view name;
};
constexpr Vendor vendors[] = {
    {0, "IETF"},
    {2, "IBM"},
    {311, "Microsoft"},
    {2312, "Red Hat"},
    {2699, "PWG"},
    {3076, "Altiga"},
    {9048, "OSC"},
    {9586, "Debian"},
    {11129, "Google"},
    {21911, "TCG"},
    {28978, "Canonical"},
    {30401, "Fedora"},
    {32939, "FHH"},
    {36906, "ITA-HSR"},
    {38158, "OpenPTS"},
    {0xFFFFFE, "Unassigned"},
    {vendor_reserved, "Reserved"},
};

// §1.7.9
constexpr std::string_view assessments[] = {"compliant", "non-compliant minor", "non-compliant major", "error",
                                            "don't know"};

std::string numbers(std::uint32_t vendor, std::uint32_t number) {
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "0x%06x/0x%08x", vendor, number);
  return out.data();
}

}  // namespace

std::string subtype_name(std::uint32_t vendor, std::uint32_t subtype) {
  for (const Name& n : subtypes)
    if (n.vendor == vendor && n.number == subtype) return std::string(n.name);
  return numbers(vendor, subtype);
}

std::string vendor_name(std::uint32_t vendor) {
  for (const Vendor& v : vendors)
    if (v.number == vendor) return std::string(v.name);
  std::array<char, 16> out{};
  std::snprintf(out.data(), out.size(), "0x%06x", vendor);
  return out.data();
}

std::string error_name(std::uint32_t vendor, std::uint32_t code) {
  if (vendor == vendor_ietf && code < std::size(errors)) return std::string(errors[code]);
  return numbers(vendor, code);
}

std::string_view assessment_name(std::uint32_t result) {
  return result < std::size(assessments) ? assessments[result] : "unknown";
}

}  // namespace gatehouse::patnc
