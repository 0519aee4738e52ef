#include "tests/mutated/oracle.h"

#include <algorithm>
#include <cstring>

#include "base/public_key.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"
#include "wire/patnc/segmentation.h"
#include "wire/pts/pts.h"
#include "wire/pts/raw_evidence.h"
#include "wire/pts/records.h"
#include "wire/swima/swima.h"

namespace gatehouse::test {
namespace {

namespace pt = pts::type;
namespace raw = pts::raw;
namespace pa_type = patnc::type;

enum class Subtype : std::uint8_t { os, swima, pts, firewall, test, none };

// And the number of its validator (docs/architecture.md).
Subtype subtype_of(const pbtnc::PaMessage& pa) {
  if (pa.vendor == patnc::vendor_ietf && pa.subtype == patnc::subtype_operating_system) return Subtype::os;
  if (pa.vendor == patnc::vendor_ietf && pa.subtype == patnc::subtype_swima) return Subtype::swima;
  if (pa.vendor == patnc::vendor_tcg && pa.subtype == patnc::subtype_pts) return Subtype::pts;
  if (pa.vendor == patnc::vendor_ietf && pa.subtype == patnc::subtype_firewall) return Subtype::firewall;
  if (pa.vendor == patnc::vendor_ita && pa.subtype == 1) return Subtype::test;
  return Subtype::none;
}

ByteVector fields_of(const pts::SimpleEvidenceFinal& v) {
  Writer w;
  w.put(v.hash);
  for (const Bytes part :
       {v.pcr_digest, v.qualified_signer, v.clock_info, v.firmware_version, v.selection, v.signature}) {
    w.put(std::uint32_t(part.size()));
    w.put_bytes(part);
  }
  return std::move(w).take();
}

void see_pts(std::uint32_t vendor, std::uint32_t type, Bytes value, Shown& out) {
  Reader r(value, "oracle");
  if (vendor == raw::default_vendor) {
    const auto after = [&](auto stream) {
      const auto bytes = stream.feed(value);
      return bytes ? to_vector(*bytes) : to_vector(value);
    };
    if (type == raw::type::firmware_log) out.logs.push_back(after(raw::FirmwareLogStream(0)));
    if (type == raw::type::ima_list) out.lists.push_back(after(raw::ImaListStream(0)));
    if (type == raw::type::quote) {
      const auto quote = raw::parse_quote(r);
      ByteVector both = quote ? to_vector(quote->attest) : to_vector(value);
      if (quote) both.insert(both.end(), quote->signature.begin(), quote->signature.end());
      out.quotes.push_back(std::move(both));
    }
    return;
  }
  if (vendor != patnc::vendor_tcg) return;
  if (type == pt::simple_component_evidence) {
    const auto v = pts::parse_simple_component_evidence(r);
    const bool ima = v && v->component == pts::component_ima;
    (ima ? out.ima : out.boot)[v ? v->pcr : 0].push_back(to_vector(v ? v->measurement : value));
    if (ima) out.names.emplace(to_vector(v->measurement), v->policy_uri);
  } else if (type == pt::simple_evidence_final) {
    const auto v = pts::parse_simple_evidence_final(r);
    out.finals.push_back(v ? fields_of(*v) : to_vector(value));
  } else if (type == pt::aik) {
    const auto v = pts::parse_aik(r);
    // A key's algorithm has parameters that say nothing: with others it is the same key, and has the same key id.
    const auto key = v ? PublicKey::from_spki(v->der) : Result<PublicKey>(fail(Fault::malformed, "no AIK"));
    out.aiks.push_back(key ? key->spki() : to_vector(v ? v->der : value));
  } else if (type == pt::dh_nonce_response) {
    const auto v = pts::parse_dh_nonce_response(r);
    out.nonces.push_back(to_vector(v ? v->nonce : value));
  } else if (type == pt::file_measurement) {
    pts::FileMeasurementCursor files(0);
    files.feed(value);
    files.end();
    for (auto file = files.next(); file && *file != nullptr; file = files.next())
      out.file_digests.insert(to_vector((*file)->digest));
  }
}

// What the server understands: another attribute that mustn't be skipped makes its message void.
bool known(std::uint32_t vendor, std::uint32_t type) {
  if (vendor == patnc::vendor_ietf) return type <= pa_type::source_metadata_response;
  if (vendor == patnc::vendor_ita) return type >= 1 && type <= pa_type::ita_symlinks && type != 7;
  if (vendor == raw::default_vendor) return type >= raw::type::capabilities && type <= raw::type::quote;
  constexpr std::uint32_t all[] = {pa_type::contract_request,
                                   pa_type::contract_response,
                                   pa_type::segment_envelope,
                                   pa_type::next_segment,
                                   pt::request_capabilities,
                                   pt::capabilities,
                                   pt::dh_nonce_request,
                                   pt::dh_nonce_response,
                                   pt::dh_nonce_finish,
                                   pt::algorithm_request,
                                   pt::algorithm,
                                   pt::get_tpm_version,
                                   pt::tpm_version,
                                   pt::get_aik,
                                   pt::aik,
                                   pt::request_component_evidence,
                                   pt::generate_evidence,
                                   pt::simple_component_evidence,
                                   pt::simple_evidence_final,
                                   pt::request_file_metadata,
                                   pt::unix_file_metadata,
                                   pt::request_file_measurement,
                                   pt::file_measurement};
  return vendor == patnc::vendor_tcg && std::find(std::begin(all), std::end(all), type) != std::end(all);
}

// A malformed value makes its whole run of attributes void, whatever subtype it is in.
bool well_formed(std::uint32_t vendor, std::uint32_t type, Bytes value) {
  Reader r(value, "oracle");
  if (vendor == patnc::vendor_ita) {
    switch (type) {
      case pa_type::ita_command:
        return patnc::parse_command(r).has_value();
      case pa_type::ita_get_settings:
        return patnc::parse_get_settings(r).has_value();
      case pa_type::ita_settings:
        return patnc::parse_settings(r).has_value();
      case pa_type::ita_device_id:
        return patnc::parse_device_id(r).has_value();
      default:
        return true;
    }
  }
  if (vendor != patnc::vendor_ietf) return true;
  switch (type) {
    case pa_type::attribute_request:
      return patnc::parse_attribute_request(r).has_value();
    case pa_type::product_information:
      return patnc::parse_product_information(r).has_value();
    case pa_type::numeric_version:
      return patnc::parse_numeric_version(r).has_value();
    case pa_type::string_version:
      return patnc::parse_string_version(r).has_value();
    case pa_type::operational_status:
      return patnc::parse_operational_status(r).has_value();
    case pa_type::port_filter:
      return patnc::parse_port_filter(r).has_value();
    case pa_type::installed_packages:
      return patnc::parse_records(r, patnc::PackagesFormat(), [](const auto&) {}).has_value();
    case pa_type::assessment_result:
      return patnc::parse_assessment_result(r).has_value();
    case pa_type::remediation_instructions:
      return patnc::parse_remediation_instructions(r).has_value();
    case pa_type::forwarding_enabled:
      return patnc::parse_forwarding_enabled(r).has_value();
    case pa_type::factory_default_password:
      return patnc::parse_factory_default_password(r).has_value();
    default:
      return true;
  }
}

void see_os(std::uint32_t vendor, std::uint32_t type, Bytes value, Shown& out) {
  Reader r(value, "oracle");
  if (vendor == patnc::vendor_ita) {
    if (type == pa_type::ita_device_id && !value.empty()) out.devices.emplace(as_text(value));
    if (type != pa_type::ita_settings) return;
    if (const auto settings = patnc::parse_settings(r))
      for (const patnc::Setting& s : *settings)
        if (s.name == "install_non_market_apps") out.unknown_sources.emplace(patnc::setting_text(s));
    return;
  }
  if (vendor != patnc::vendor_ietf) return;
  if (type == pa_type::product_information) {
    if (const auto v = patnc::parse_product_information(r)) out.names_of_products.emplace(v->name);
  } else if (type == pa_type::string_version) {
    if (const auto v = patnc::parse_string_version(r)) out.versions.emplace(v->version);
  } else if (type == pa_type::forwarding_enabled) {
    if (const auto v = patnc::parse_forwarding_enabled(r)) out.forwarding.push_back(*v);
  } else if (type == pa_type::factory_default_password) {
    if (const auto v = patnc::parse_factory_default_password(r)) out.default_password.push_back(*v);
  } else if (type == pa_type::installed_packages) {
    out.package_list = true;
    (void)patnc::parse_records(r, patnc::PackagesFormat(),
                               [&](const patnc::Package& p) { out.packages.emplace_back(p.name, p.version); });
  }
}

void see(Subtype subtype, std::uint32_t vendor, std::uint32_t type, Bytes value, Shown& out) {
  Reader r(value, "oracle");
  switch (subtype) {
    case Subtype::pts:
      return see_pts(vendor, type, value, out);
    case Subtype::os:
      return see_os(vendor, type, value, out);
    case Subtype::firewall:
      if (vendor != patnc::vendor_ietf || type != pa_type::port_filter) return;
      if (const auto entries = patnc::parse_port_filter(r)) {
        out.port_list = true;
        out.ports.insert(out.ports.end(), entries->begin(), entries->end());
      }
      return;
    case Subtype::swima:
      if (vendor == patnc::vendor_ietf && type >= pa_type::software_identifier_inventory &&
          type <= pa_type::software_events)
        out.software = true;
      return;
    case Subtype::test:
      if (vendor == patnc::vendor_ita && type == pa_type::ita_command) out.commands.emplace(as_text(value));
      return;
    case Subtype::none:
      return;
  }
}

bool of_segmentation(const patnc::Attribute& a) {
  return a.vendor == patnc::vendor_tcg && a.type >= pa_type::contract_request && a.type <= pa_type::next_segment;
}

// Firmware events that are extended, with PCR and digests, and list entries with their names: what of them a quote
// covers.
std::string covered_of_log(const ByteVector& log) {
  std::string out;
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  for (auto event = cursor.next();; event = cursor.next()) {
    if (!event) return "malformed";
    if (*event == nullptr) return out;
    if (!(*event)->extends()) continue;
    const eventlog::EventDigest* const digest = (*event)->digest(HashAlgorithm::sha256);
    out += std::to_string((*event)->pcr) + (digest != nullptr ? std::string(as_text(digest->value)) : "-");
  }
}
std::string covered_of_list(const ByteVector& list) {
  std::string out;
  ima::Cursor cursor(ima::form_of(list));
  cursor.feed(list);
  cursor.end();
  for (auto entry = cursor.next();; entry = cursor.next()) {
    if (!entry) return "malformed";
    if (*entry == nullptr) return out;
    out += std::to_string((*entry)->pcr) + std::string(as_text((*entry)->template_data));
  }
}

// The messages of one assessment in order, and the attributes of each in theirs.
class Reading {
 public:
  explicit Reading(Segments segments) : segments_(segments) {}

  void read(const ByteVector& whole) {
    constexpr std::uint8_t kind[] = {0, 0, 0, 0, 0, 0, std::uint8_t(pttls::Type::pb_tnc_batch)};  // vendor and type
    if (whole.size() < pttls::header_size || std::memcmp(whole.data() + 1, kind, sizeof kind) != 0) return;
    const bool server = of_server(whole);
    const auto batch = pbtnc::parse_batch(Bytes(whole).subspan(pttls::header_size), !server);
    if (!batch) return;
    for (const pbtnc::Message& m : batch->messages)
      if (m.is(pbtnc::vendor_ietf, pbtnc::type::pa)) server ? note(pbtnc::pa_message(m)) : read(pbtnc::pa_message(m));
  }
  Shown shown;

 private:
  void note(const pbtnc::PaMessage& pa) {
    const auto parsed = patnc::parse_message(pa.body, known);
    if (!parsed) return;
    for (const patnc::Attribute& a : parsed->attributes)
      if (a.is(patnc::vendor_tcg, pa_type::contract_request)) contracts_.insert(subtype_of(pa));
  }

  void read(const pbtnc::PaMessage& pa) {
    const Subtype subtype = subtype_of(pa);
    constexpr std::uint16_t validators[] = {1, 2, 3, 4, 5, 0};
    if (pa.exclusive && pa.validator != validators[std::size_t(subtype)]) return;
    const auto parsed = patnc::parse_message(pa.body, known);
    if (!parsed || parsed->refusal) return;
    // A message is judged in runs between what belongs to segmentation.
    const bool strict = subtype == Subtype::os || subtype == Subtype::firewall || subtype == Subtype::test;
    const auto& all = parsed->attributes;
    for (auto from = all.begin(); from != all.end();) {
      const auto to = std::find_if(from, all.end(), of_segmentation);
      if (!strict ||
          std::all_of(from, to, [](const patnc::Attribute& a) { return well_formed(a.vendor, a.type, a.value); }))
        for (auto a = from; a != to; ++a) see(subtype, a->vendor, a->type, a->value, shown);
      if (to == all.end()) return;
      const bool counts =
          segments_ == Segments::joined || (segments_ == Segments::agreed && contracts_.contains(subtype));
      if (to->type == pa_type::segment_envelope && counts) join(pa.collector, subtype, to->value);
      from = to + 1;
    }
  }

  void join(std::uint16_t collector, Subtype subtype, Bytes value) {
    Reader r(value, "oracle");
    const auto envelope = patnc::parse_envelope(r);
    if (!envelope) return;
    const std::tuple key{collector, subtype, envelope->id};
    ByteVector& transfer = transfers_[key];
    if ((envelope->flags & patnc::first_segment) != 0) transfer.clear();
    transfer.insert(transfer.end(), envelope->segment.begin(), envelope->segment.end());
    if ((envelope->flags & patnc::more_segments) != 0) return;
    Reader whole(transfer, "oracle");
    patnc::Attribute base;
    if (!patnc::parse_attribute(whole, base)) see(subtype, base.vendor, base.type, base.value, shown);
    transfers_.erase(key);
  }

  Segments segments_;
  std::set<Subtype> contracts_;  // that the server asked for
  std::map<std::tuple<std::uint16_t, Subtype, std::uint32_t>, ByteVector> transfers_;
};

bool among(const std::vector<ByteVector>& some, const std::vector<ByteVector>& all) {
  return std::all_of(some.begin(), some.end(),
                     [&](const ByteVector& one) { return std::find(all.begin(), all.end(), one) != all.end(); });
}

// "/usr/bin/ls" of "sha256:/usr/bin/ls".
std::string path_of(const std::string& uri) { return uri.substr(uri.find(':') + 1); }

std::string undeserved_attestation(const Expected& e, const Shown& said, const Shown& shown) {
  const bool raw_log = !shown.logs.empty(), raw_list = !shown.lists.empty();
  if (raw_log && covered_of_log(shown.logs.front()) !=
                     covered_of_log(e.honest.logs.empty() ? ByteVector() : e.honest.logs.front()))
    return "another firmware log";
  if (raw_list && covered_of_list(shown.lists.front()) !=
                      covered_of_list(e.honest.lists.empty() ? ByteVector() : e.honest.lists.front()))
    return "another IMA list";
  if (shown.logs.size() > 1 || shown.lists.size() > 1) return "raw evidence twice";
  if (!(raw_log && shown.boot.empty()) && shown.boot != e.honest.boot) return "other firmware measurements";
  if (!(raw_list && shown.ima.empty()) && shown.ima != e.honest.ima) return "other IMA measurements";
  if (!raw_list)
    for (const auto& one : e.honest.names)
      if (e.known_paths.contains(path_of(one.second)) && !shown.names.contains(one))
        return "a known file under another name";
  if (shown.finals.empty() && shown.quotes.empty()) return "no quote";
  // Behind a raw quote the other form says no more than that the evidence is at its end.
  if (shown.quotes.empty() && !among(shown.finals, said.finals)) return "a quote that wasn't made for this session";
  if (!among(shown.quotes, said.quotes)) return "a raw quote that wasn't made for this session";
  if (shown.aiks.empty() || !among(shown.aiks, e.honest.aiks)) return "another AIK";
  if (shown.nonces.empty() || !among(shown.nonces, said.nonces)) return "another nonce";
  return {};
}

// Deserved as soon as the evidence was complete: what is sent when nobody asks for it any more isn't evidence.
std::string undeserved_attestation(const Expected& e, const Shown& said, const Messages& heard) {
  Reading reading(Segments::agreed);
  std::string why = "no evidence";
  for (const ByteVector& whole : heard) {
    reading.read(whole);
    why = undeserved_attestation(e, said, reading.shown);
    if (why.empty()) break;
  }
  return why;
}

std::string bad_ports(const std::vector<patnc::PortFilterEntry>& ports) {
  for (const patnc::PortFilterEntry& p : ports) {
    const bool tcp = p.protocol == patnc::protocol_tcp, udp = p.protocol == patnc::protocol_udp;
    if (!tcp && !udp) continue;
    if (p.blocked) return "all but a blocked port is open";
    if (tcp && p.port != 22 && (p.port < 80 || p.port > 90)) return "a TCP port is open";
    if (udp && p.port != 53) return "a UDP port is open";
  }
  return {};
}

}  // namespace

bool of_server(Bytes whole) {
  return whole.size() > pttls::header_size + 1 && (whole[pttls::header_size + 1] & std::byte{0x80}) != std::byte{0};
}

Shown shown_in(const Messages& messages, Segments segments) {
  Reading reading(segments);
  for (const ByteVector& whole : messages) reading.read(whole);
  return std::move(reading.shown);
}

void show_evidence(const SmallMachine& machine, Shown& out) {
  out.boot.clear();
  out.ima.clear();
  out.names.clear();
  out.logs = {machine.log};
  out.lists = {machine.list};
  for (const endpoint::SharedEvidence& evidence : {machine.boot, machine.ima})
    for (std::size_t i = 0; i < evidence->count(); ++i) {
      Reader r(evidence->attribute(i), "oracle");
      patnc::Attribute a;
      if (!patnc::parse_attribute(r, a)) see_pts(a.vendor, a.type, a.value, out);
    }
}

std::string undeserved(const Expected& e, const Messages& said, const Messages& heard) {
  const Shown shown = shown_in(heard, Segments::agreed), certain = shown_in(heard, Segments::left_out);
  const auto only = [](const std::set<std::string>& certain_ones, const std::set<std::string>& all,
                       const std::set<std::string>& honest) {
    return std::includes(honest.begin(), honest.end(), certain_ones.begin(), certain_ones.end()) &&
           std::includes(all.begin(), all.end(), honest.begin(), honest.end());
  };
  if (!only(certain.devices, shown.devices, e.honest.devices)) return "another Device ID";
  if (!only(certain.names_of_products, shown.names_of_products, e.honest.names_of_products) ||
      !only(certain.versions, shown.versions, e.honest.versions))
    return "another product";
  if (e.attested)
    if (std::string why = undeserved_attestation(e, shown_in(said), heard); !why.empty()) return why;
  if (e.settings || e.everything) {
    const auto no = [](const std::vector<std::uint32_t>& all) {
      return std::all_of(all.begin(), all.end(), [](std::uint32_t v) { return v == 0; });
    };
    if (shown.forwarding.empty() || !no(certain.forwarding)) return "forwarding isn't off";
    if (shown.default_password.empty() || !no(certain.default_password)) return "the default password isn't off";
  }
  for (const std::string& command : certain.commands)
    if (!e.honest.commands.empty() && command != "allow" && command != "none") return "a command that isn't allow";
  if (!e.everything) return {};
  if (shown.unknown_sources.empty() || certain.unknown_sources.contains("1")) return "unknown sources aren't off";
  if (!shown.package_list) return "no package list";
  for (const auto& [name, version] : certain.packages)
    if (name == "telnetd" || (name == "openssl" && version == "3.0.11-1")) return "a package that mustn't be installed";
  if (!shown.port_list) return "no port list";
  if (std::string why = bad_ports(certain.ports); !why.empty()) return why;
  if (!shown.software) return "no software inventory";
  if (!shown.file_digests.contains(e.measured_file)) return "a file wasn't measured, or is another";
  return {};
}

}  // namespace gatehouse::test
