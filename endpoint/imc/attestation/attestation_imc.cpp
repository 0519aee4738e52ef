#include "endpoint/imc/attestation/attestation_imc.h"

#include <algorithm>
#include <utility>

#include "base/release.h"
#include "wire/ima/ima.h"
#include "wire/pts/errors.h"
#include "wire/pts/records.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::endpoint {
namespace {

namespace type = pts::type;
constexpr std::uint16_t own_capabilities = pts::capability_verify | pts::capability_dh | pts::capability_tpm;
constexpr std::uint32_t intel = 0x494E5443;  // "INTC"

// Strongest first (spec part 2 §1.3).
constexpr HashAlgorithm by_strength[] = {HashAlgorithm::sha512, HashAlgorithm::sha384, HashAlgorithm::sha256,
                                         HashAlgorithm::sha1};

std::uint16_t group_bit(DhGroup group) {
  switch (group) {
    case DhGroup::modp1024:
      return pts::group_modp1024;
    case DhGroup::modp1536:
      return pts::group_modp1536;
    case DhGroup::modp2048:
      return pts::group_modp2048;
    case DhGroup::ecp256:
      return pts::group_ecp256;
    case DhGroup::ecp384:
      return pts::group_ecp384;
  }
  return 0;
}

std::unexpected<Error> out_of_order(std::string_view why) { return fail(Fault::protocol, why, "spec part 2 1.17"); }

Result<void> count_to(std::size_t& count, std::size_t most) {
  if (++count > most) return fail(Fault::limit, "the server asks again and again", "spec part 2 1.17");
  return {};
}

}  // namespace

patnc::Supported AttestationImc::supported() const {
  return [raw = config_.raw_vendor](std::uint32_t vendor, std::uint32_t kind) {
    if (vendor == patnc::vendor_ita) return kind == pts::ita_get_symlinks || kind == pts::ita_symlinks;
    if (vendor == patnc::vendor_ietf)
      return kind == patnc::type::pa_tnc_error || kind == patnc::type::assessment_result ||
             kind == patnc::type::remediation_instructions;
    if (raw && vendor == *raw) return kind >= pts::raw::type::capabilities && kind <= pts::raw::type::quote;
    // With those that only a server receives: they are known, and ignored.
    constexpr std::uint32_t known[] = {patnc::type::contract_request,
                                       patnc::type::contract_response,
                                       patnc::type::segment_envelope,
                                       patnc::type::next_segment,
                                       type::request_capabilities,
                                       type::capabilities,
                                       type::dh_nonce_request,
                                       type::dh_nonce_response,
                                       type::dh_nonce_finish,
                                       type::algorithm_request,
                                       type::algorithm,
                                       type::get_tpm_version,
                                       type::tpm_version,
                                       type::get_aik,
                                       type::aik,
                                       type::request_component_evidence,
                                       type::generate_evidence,
                                       type::simple_component_evidence,
                                       type::simple_evidence_final,
                                       type::request_file_metadata,
                                       type::unix_file_metadata,
                                       type::request_file_measurement,
                                       type::file_measurement};
    return vendor == patnc::vendor_tcg && std::find(std::begin(known), std::end(known), kind) != std::end(known);
  };
}

Result<void> AttestationImc::begin(Packer&) {
  now_ = {};
  spent_ = {};
  warnings_.clear();
  return {};  // a PTS client says nothing unasked (spec part 1b §1.8)
}

Result<void> AttestationImc::send_error(Writer value, Packer& out) const {
  return out.add(0, patnc::vendor_ietf, patnc::type::pa_tnc_error, std::move(value).take());
}

Result<void> AttestationImc::send_request_error(std::uint32_t code, const patnc::Attribute& request,
                                                Packer& out) const {
  Writer w;
  if (pts::error_form(code) == pts::ErrorForm::request)
    pts::append_request_error(w, code, request.value);
  else
    pts::append_error(w, code);
  return send_error(std::move(w), out);
}

void AttestationImc::warn(std::string text) {
  constexpr std::size_t max_warnings = 64;
  if (warnings_.size() < max_warnings) warnings_.push_back(std::move(text));
}

Result<void> AttestationImc::receive(const patnc::Attribute& attribute, Packer& out) {
  GH_CHECK(count_to(spent_.requests, max_requests));
  if (attribute.is(patnc::vendor_ita, pts::ita_get_symlinks)) return tell_symlinks(attribute, out);
  if (config_.raw_vendor && attribute.is(*config_.raw_vendor, pts::raw::type::request)) return collect_raw(attribute);
  if (attribute.vendor != patnc::vendor_tcg) return {};
  switch (attribute.type) {
    case type::request_capabilities:
      return tell_capabilities(attribute, out);
    case type::algorithm_request:
      return select_algorithm(attribute, out);
    case type::dh_nonce_request:
      return offer_nonce(attribute, out);
    case type::dh_nonce_finish:
      return finish_nonce(attribute);
    case type::get_tpm_version:
      return tell_tpm_version(attribute, out);
    case type::get_aik:
      return tell_aik(out);
    case type::request_file_measurement:
      return measure_files(attribute, out);
    case type::request_file_metadata:
      return describe_files(attribute, out);
    case type::request_component_evidence:
      return collect(attribute, out);
    case type::generate_evidence:
      return generate(out);
    default:
      return {};
  }
}

// What raw evidence there is, is said once, beside the capabilities; a server that doesn't know it skips it.
Result<void> AttestationImc::tell_capabilities(const patnc::Attribute& attribute, Packer& out) {
  Reader r(attribute.value, "spec part 2 1.2", attribute.value_offset());
  GH_TRY(const std::uint16_t offered, pts::parse_capabilities(r));
  now_.capabilities = offered & own_capabilities;
  Writer w;
  pts::append_capabilities(w, now_.capabilities);
  GH_CHECK(out.add(0, patnc::vendor_tcg, type::capabilities, w.view()));
  if (!config_.raw_vendor || now_.announced) return {};
  pts::raw::Capabilities raw;
  raw.parts = source_.raw_parts(out.largest());
  if (raw.parts == 0) return {};
  if ((raw.parts & pts::raw::part_ima_list) != 0) raw.parts |= pts::raw::part_incremental;
  if (!tpm_.public_area().empty()) raw.parts |= pts::raw::part_quote;
  now_.announced = true;
  Writer announced;
  pts::raw::append_capabilities(announced, raw);
  return out.add(0, *config_.raw_vendor, pts::raw::type::capabilities, announced.view());
}

// The strongest algorithm that both know and that has PCRs: bank, digest length and DH hash from now on (§1.3).
Result<void> AttestationImc::select_algorithm(const patnc::Attribute& attribute, Packer& out) {
  Reader r(attribute.value, "spec part 2 1.3", attribute.value_offset());
  GH_TRY(const std::uint16_t offered, pts::parse_algorithms(r));
  GH_TRY(const std::vector<HashAlgorithm> banks, tpm_.banks());
  std::uint16_t own = 0;
  bool allowed = false;
  now_ = Progress{.capabilities = now_.capabilities, .announced = now_.announced};
  for (const HashAlgorithm algorithm : by_strength) {
    allowed = allowed || algorithm == config_.strongest;
    if (!allowed || std::find(banks.begin(), banks.end(), algorithm) == banks.end()) continue;
    own = std::uint16_t(own | pts::algorithm_bit(algorithm));
    if (!now_.bank && (offered & pts::algorithm_bit(algorithm)) != 0) now_.bank = algorithm;
  }
  Writer w;
  if (!now_.bank) {
    pts::append_set_error(w, pts::error::hash_algorithm_not_supported, own);
    return send_error(std::move(w), out);
  }
  pts::append_algorithms(w, pts::algorithm_bit(*now_.bank));
  return out.add(0, patnc::vendor_tcg, type::algorithm, w.view());
}

Result<void> AttestationImc::offer_nonce(const patnc::Attribute& attribute, Packer& out) {
  if (!now_.bank) return out_of_order("DH Nonce Parameters Request before the measurement algorithm");
  Reader r(attribute.value, "spec part 2 1.4", attribute.value_offset());
  GH_TRY(const pts::DhNonceRequest request, pts::parse_dh_nonce_request(r));
  std::uint16_t own = 0;
  std::optional<DhGroup> chosen;
  for (const DhGroup group : config_.dh_groups) {
    own = std::uint16_t(own | group_bit(group));
    if (!chosen && (request.groups & group_bit(group)) != 0) chosen = group;
  }
  if (!chosen) {
    Writer w;
    pts::append_set_error(w, pts::error::dh_group_not_supported, own);
    return send_error(std::move(w), out);
  }
  GH_TRY(now_.key, KeyAgreement::generate(*chosen));
  now_.nonce =
      random_bytes(std::max<std::size_t>({17, std::min<std::size_t>(config_.nonce_size, 255), request.minimum_nonce}));
  now_.secret.reset();
  Writer w;
  pts::append_dh_nonce_response(
      w, {group_bit(*chosen), pts::algorithm_bit(*now_.bank), now_.nonce, now_.key->public_value()});
  return out.add(0, patnc::vendor_tcg, type::dh_nonce_response, w.view());
}

Result<void> AttestationImc::finish_nonce(const patnc::Attribute& attribute) {
  if (!now_.key) return out_of_order("DH Nonce Finish without a DH Nonce Parameters Response");
  Reader r(attribute.value, "spec part 2 1.6", attribute.value_offset());
  GH_TRY(const pts::DhNonceFinish finish, pts::parse_dh_nonce_finish(r));
  if (finish.hash != pts::algorithm_bit(*now_.bank))
    return fail(Fault::protocol, "the server chose a DH hash that wasn't offered", "spec part 2 1.6",
                attribute.value_offset() + 2);
  if (finish.nonce.size() != now_.nonce.size())
    return fail(Fault::protocol, "the server's nonce isn't as long as ours", "spec part 2 1.6",
                attribute.value_offset() + 1);
  auto secret = now_.key->derive(finish.public_value);
  if (!secret) return fail(Fault::malformed, secret.error().reason, "spec part 2 1.6", attribute.value_offset() + 4);
  now_.secret = secret_assessment_value(*now_.bank, finish.nonce, now_.nonce, *std::move(secret));
  now_.key.reset();
  return {};
}

Result<void> AttestationImc::tell_tpm_version(const patnc::Attribute& attribute, Packer& out) {
  const auto properties = tpm_.properties();
  if (!properties) return send_request_error(pts::error::tpm_version_unavailable, attribute, out);
  pts::TpmVersion version;
  // A firmware log says how the TPM was started; without one, strongSwan's assumption (§1.7).
  version.locality = source_.locality().value_or(properties->manufacturer == intel ? 0 : 3);
  version.revision = properties->revision;
  version.year = properties->year;
  version.vendor = properties->manufacturer;
  Writer w;
  pts::append_tpm_version(w, version);
  return out.add(0, patnc::vendor_tcg, type::tpm_version, w.view());
}

Result<void> AttestationImc::tell_aik(Packer& out) {
  const bool naked = config_.aik_certificate.empty();
  Writer w;
  pts::append_aik(w, {naked, naked ? Bytes(tpm_.ak().spki()) : Bytes(config_.aik_certificate)});
  return out.add(0, patnc::vendor_tcg, type::aik, w.view());
}

Result<void> AttestationImc::tell_symlinks(const patnc::Attribute& attribute, Packer& out) {
  GH_CHECK(count_to(spent_.symlinks, max_symlinks));
  const std::vector<SymlinkTarget> links = source_.symlinks(as_text(attribute.value));
  std::vector<pts::Symlink> told;
  for (const SymlinkTarget& l : links)
    if (l.link.size() <= 0xFFFF && l.target.size() <= 0xFFFF) told.push_back({l.link, l.target});
  Writer w;
  pts::append_symlinks(w, told);
  return out.add(0, patnc::vendor_ita, pts::ita_symlinks, std::move(w).take());
}

Result<bool> AttestationImc::may_look(std::uint32_t delimiter, const patnc::Attribute& attribute, Packer& out) const {
  std::uint32_t code = 0;
  if (files_ == nullptr)
    code = pts::error::operation_not_supported;
  else if (delimiter != pts::delimiter_slash && delimiter != pts::delimiter_backslash)
    code = pts::error::invalid_delimiter;
  if (code == 0) return true;
  GH_CHECK(send_request_error(code, attribute, out));
  return false;
}

// The attributes have no way to say that there is more, and part of a directory would be taken for all of it.
Result<void> AttestationImc::refuse_path(FileFault fault, std::string_view path, const patnc::Attribute& attribute,
                                         Packer& out) {
  if (fault == FileFault::limit)
    warn("the server asks for more of " + std::string(path) + " than is given away, or than it takes: refused");
  return send_request_error(fault == FileFault::not_found ? pts::error::file_not_found : pts::error::invalid_path,
                            attribute, out);
}

Result<void> AttestationImc::measure_files(const patnc::Attribute& attribute, Packer& out) {
  if (!now_.bank) return out_of_order("file measurement requested before the measurement algorithm");
  Reader r(attribute.value, "spec part 2 1.13", attribute.value_offset());
  GH_TRY(const pts::FileMeasurementRequest request, pts::parse_file_measurement_request(r));
  GH_TRY(const bool acceptable, may_look(request.delimiter, attribute, out));
  if (!acceptable) return {};
  const auto files = files_->measure(std::string(request.path), request.directory, *now_.bank, spent_.files);
  if (!files) return refuse_path(files.error(), request.path, attribute, out);
  pts::FileMeasurementHead head{0, request.id, 0};
  Writer records;
  std::size_t room = out.largest() - std::min<std::size_t>(out.largest(), patnc::attribute_header_size + 12);
  for (const MeasuredFile& file : *files) {
    const std::size_t size = file.digest.size + 2 + file.name.size();
    if (size > room) return refuse_path(FileFault::limit, request.path, attribute, out);
    room -= size;
    ++head.count;
    head.digest_size = file.digest.size;
    pts::append_file_measurement(records, {file.digest.view(), file.name});
  }
  Writer w;
  pts::append_file_measurement_head(w, head);
  w.put_bytes(records.view());
  return out.add(patnc::noskip, patnc::vendor_tcg, type::file_measurement, std::move(w).take());
}

Result<void> AttestationImc::describe_files(const patnc::Attribute& attribute, Packer& out) {
  Reader r(attribute.value, "spec part 2 1.14", attribute.value_offset());
  GH_TRY(const pts::FileMetadataRequest request, pts::parse_file_metadata_request(r));
  GH_TRY(const bool acceptable, may_look(request.delimiter, attribute, out));
  if (!acceptable) return {};
  const auto files = files_->describe(std::string(request.path), request.directory, spent_.files);
  if (!files) return refuse_path(files.error(), request.path, attribute, out);
  pts::FileMetadataHead head;
  Writer records;
  std::size_t room = out.largest() - std::min<std::size_t>(out.largest(), patnc::attribute_header_size + 8);
  for (const DescribedFile& file : *files) {
    const std::size_t size = pts::file_metadata_size + file.name.size();
    if (size > room) return refuse_path(FileFault::limit, request.path, attribute, out);
    room -= size;
    ++head.count;
    pts::FileMetadata metadata = file.metadata;
    metadata.name = file.name;
    pts::append_file_metadata(records, metadata);
  }
  Writer w;
  pts::append_file_metadata_head(w, head);
  w.put_bytes(records.view());
  return out.add(patnc::noskip, patnc::vendor_tcg, type::unix_file_metadata, std::move(w).take());
}

Result<void> AttestationImc::collect(const patnc::Attribute& attribute, Packer& out) {
  if (!now_.bank) return out_of_order("evidence requested before the measurement algorithm");
  Reader r(attribute.value, "spec part 2 1.9", attribute.value_offset());
  GH_TRY(const auto requests, pts::parse_component_requests(r));
  for (const pts::ComponentRequest& request : requests) {
    const auto refuse = [&](std::uint32_t code) { return send_request_error(code, attribute, out); };
    if ((request.flags & pts::request_ttc) != 0) return refuse(pts::error::unable_to_determine_transitive_trust);
    if ((request.flags & pts::request_verify) != 0 && (now_.capabilities & pts::capability_verify) == 0)
      return refuse(pts::error::unable_to_validate);
    if ((request.flags & pts::request_current) != 0) return refuse(pts::error::unable_to_collect_current);
    if ((request.flags & pts::request_pcr) != 0 && (now_.capabilities & pts::capability_tpm) == 0)
      return refuse(pts::error::unable_to_determine_pcr);
    if (request.depth != 0)
      return fail(Fault::protocol, "evidence of sub-components requested", "spec part 2 1.9", attribute.value_offset());
    if (request.component == pts::component_boot && now_.boot == nullptr) {
      GH_TRY(now_.boot, source_.firmware(*now_.bank));
      for (const std::string& warning : now_.boot->warnings) warn(warning);
    } else if (request.component == pts::component_ima && now_.list == nullptr) {
      GH_TRY(now_.list, source_.ima(*now_.bank));
    }
  }
  return {};
}

// Logs are read when they are asked for, the quote is made afterwards.
Result<void> AttestationImc::collect_raw(const patnc::Attribute& attribute) {
  if (!now_.bank) return out_of_order("raw evidence requested before the measurement algorithm");
  if (now_.raw) return out_of_order("raw evidence requested a second time");
  namespace raw = pts::raw;
  Reader r(attribute.value, "docs/formats/raw-evidence.md", attribute.value_offset());
  Raw asked;
  GH_TRY(asked.request, raw::parse_request(r));
  const auto wants = [&](std::uint16_t part) { return (asked.request.parts & part) != 0; };
  // A log that can't be given is said to be missing; the server judges.
  const auto read = [&](std::uint16_t part, Result<ByteVector> log, ByteVector& into) {
    if (log && !log->empty()) {
      into = *std::move(log);
    } else {
      asked.missing |= part;
      warn(log ? "a raw log is empty: the server asked for it" : log.error().text());
    }
  };
  if (wants(raw::part_firmware_log)) {
    read(raw::part_firmware_log, source_.raw_firmware(), asked.log);
    asked.log_pcrs = event_log_pcrs(asked.log, *now_.bank);
  }
  if (wants(raw::part_ima_list)) {
    read(raw::part_ima_list, source_.raw_ima(), asked.list);
    if (!asked.list.empty()) asked.list_pcrs = ima_list_pcrs(asked.list) | 1U << ima_pcr;
  }
  if (wants(raw::part_quote) && tpm_.public_area().empty()) asked.missing |= raw::part_quote;
  now_.raw = std::move(asked);
  return {};
}

// List, quote, list: the kernel appends while we read, so a list goes out as far as its PCRs had come (§7.10, §10 P3).
Result<void> AttestationImc::generate(Packer& out) {
  if (!now_.secret) return out_of_order("evidence asked for before a nonce was agreed");
  if (now_.boot == nullptr && now_.list == nullptr && !now_.raw)
    return out_of_order("evidence asked for without a component");
  GH_CHECK(count_to(spent_.quotes, max_quotes));
  const Digest nonce = *now_.secret;
  now_.secret.reset();  // for one quote that is sent
  GH_TRY(const Quoted quoted, now_.raw && !now_.raw->list.empty() ? quote_raw_list(nonce) : quote(nonce));
  if (now_.boot)
    for (std::size_t i = 0; i < now_.boot->count(); ++i) GH_CHECK(out.add_whole(now_.boot->attribute(i)));
  if (now_.list) GH_CHECK(send_list(quoted, out));
  if (now_.raw) GH_CHECK(send_raw(quoted, out));
  now_.boot.reset();
  now_.list.reset();
  now_.raw.reset();
  return finish(quoted.quote, out);
}

// Of all PCRs that the logs extend, until those of the lists are the same before and after it: then these are the
// values that it covers.
Result<AttestationImc::Quoted> AttestationImc::quote(const Digest& nonce) {
  std::uint32_t pcrs = (now_.boot ? now_.boot->pcrs : 0) | (now_.list ? now_.list->pcrs : 0);
  std::uint32_t list_pcrs = now_.list ? 1U << ima_pcr : 0;
  if (now_.raw) {
    pcrs |= now_.raw->log_pcrs | now_.raw->list_pcrs;
    list_pcrs |= now_.raw->list_pcrs;
  }
  const auto read = [&](PcrValues& into) -> Result<void> {
    for (std::uint32_t pcr = 0; pcr < pcr_count; ++pcr) {
      if ((list_pcrs >> pcr & 1) == 0) continue;
      GH_TRY(into[pcr], tpm_.read_pcr(*now_.bank, pcr));
    }
    return {};
  };
  constexpr int attempts = 8;
  Quoted out;
  for (int i = 0; i < attempts; ++i) {
    PcrValues after;
    GH_CHECK(read(out.pcrs));
    GH_TRY(out.quote, tpm_.quote(nonce.view(), *now_.bank, pcrs));
    GH_CHECK(read(after));
    if (after == out.pcrs) break;
  }
  return out;
}

std::optional<ListPrefix> AttestationImc::raw_prefix(const Quoted& quoted) const {
  PcrValues values;
  for (const auto& [pcr, value] : quoted.pcrs)
    if ((now_.raw->list_pcrs >> pcr & 1) != 0) values.emplace(pcr, value);
  return matching_prefix(now_.raw->list, *now_.bank, values);
}

// Where the list that was read is behind the quote. True: what came since is in other PCRs too, and the quote has to be
// made again with these.
Result<bool> AttestationImc::reread_raw_list(const Quoted& quoted) {
  Raw& asked = *now_.raw;
  if (raw_prefix(quoted)) return false;
  GH_TRY(asked.list, source_.raw_ima());
  if (raw_prefix(quoted)) return false;
  const std::uint32_t before = std::exchange(asked.list_pcrs, ima_list_pcrs(asked.list) | 1U << ima_pcr);
  return (asked.list_pcrs & ~before) != 0;
}

Result<AttestationImc::Quoted> AttestationImc::quote_raw_list(const Digest& nonce) {
  constexpr int attempts = 4;
  for (int i = 1;; ++i) {
    GH_TRY(Quoted quoted, quote(nonce));
    GH_TRY(const bool other_pcrs, reread_raw_list(quoted));
    if (!other_pcrs || i == attempts) return quoted;
  }
}

Result<void> AttestationImc::send_list(const Quoted& quoted, Packer& out) {
  const Digest& pcr10 = quoted.pcrs.at(ima_pcr);
  auto matching = items_matching(*now_.list, pcr10);
  if (!matching) {
    GH_TRY(now_.list, source_.ima(*now_.bank));
    matching = items_matching(*now_.list, pcr10);
  }
  if (!matching) warn("the IMA list doesn't lead to the value of PCR 10: the server will refuse the quote");
  for (const std::string& warning : now_.list->warnings) warn(warning);
  const std::size_t listed = matching.value_or(now_.list->count());
  for (std::size_t i = 0; i < listed; ++i) GH_CHECK(out.add_whole(now_.list->attribute(i)));
  return {};
}

// The logs in the order of their types, then the quote; then what is missing.
Result<void> AttestationImc::send_raw(const Quoted& quoted, Packer& out) {
  namespace raw = pts::raw;
  Raw& asked = *now_.raw;
  const std::uint32_t vendor = *config_.raw_vendor;
  Writer log;
  if (!asked.log.empty()) {
    raw::append_firmware_log_head(log);
    log.put_bytes(asked.log);
    release(asked.log);
    if (log.size() <= out.largest() - patnc::attribute_header_size)
      GH_CHECK(out.add(0, vendor, raw::type::firmware_log, std::move(log).take()));
    else
      asked.missing |= raw::part_firmware_log;
  }
  if (!asked.list.empty()) {
    GH_TRY(const bool sent, send_raw_list(quoted, out));
    if (!sent) asked.missing |= raw::part_ima_list;
  }
  if ((asked.request.parts & raw::part_quote) != 0 && (asked.missing & raw::part_quote) == 0) {
    const ByteVector area = tpm_.public_area();
    Writer w;
    raw::append_quote(w, {quoted.quote.attest, quoted.quote.signature, area});
    GH_CHECK(out.add(0, vendor, raw::type::quote, w.view()));
  }
  if (asked.missing == 0) return {};
  Writer w;
  raw::append_unavailable_error(w, vendor, asked.missing);
  return send_error(std::move(w), out);
}

Result<bool> AttestationImc::send_raw_list(const Quoted& quoted, Packer& out) {
  namespace raw = pts::raw;
  Raw& asked = *now_.raw;
  const auto prefix = raw_prefix(quoted);
  if (!prefix) warn("the IMA list doesn't lead to the quoted PCRs: the server will refuse the quote");
  Bytes list = prefix ? Bytes(asked.list).first(prefix->bytes) : Bytes(asked.list);
  raw::ImaListHead head;
  head.form = ima::form_of(list) == ima::Cursor::Form::ascii ? raw::Form::ascii : raw::Form::binary;
  // What the server knows of this very boot isn't sent again.
  const auto attest = tpm::parse_attest(quoted.quote.attest);
  const auto& known = asked.request.known;
  if (known && prefix && attest && known->reset_count == attest->clock.reset_count &&
      known->restart_count == attest->clock.restart_count && known->entries <= prefix->entries) {
    if (const auto skipped = prefix_bytes(list, known->entries)) {
      list = list.subspan(*skipped);
      head.first = known->entries;
    }
  }
  constexpr std::size_t head_size = 12;
  if (head_size + list.size() > out.largest() - patnc::attribute_header_size) return false;
  Writer w;
  w.reserve_bytes(head_size + list.size());
  raw::append_ima_list_head(w, head);
  w.put_bytes(list);
  release(asked.list);
  GH_CHECK(out.add(0, *config_.raw_vendor, raw::type::ima_list, std::move(w).take()));
  return true;
}

// Simple Evidence Final (§1.12): what the server needs to build TPMS_ATTEST again from its own nonce and PCR values.
Result<void> AttestationImc::finish(const Quote& quote, Packer& out) {
  const auto attest = tpm::parse_attest(quote.attest);
  const auto signature = tpm::parse_signature(quote.signature);
  if (!attest || !signature) return fail(Fault::environment, "the TPM's quote can't be read", "TPM 2.0 Part 2");
  const auto hash = hash_algorithm(signature->hash);
  if (!hash || pts::algorithm_bit(*hash) == 0)
    return fail(Fault::environment, "the AK signs with a hash that PTS doesn't know", "spec part 2 1.12");
  Writer clock, firmware, selection, signed_bytes;
  clock.put(attest->clock.clock);
  clock.put(attest->clock.reset_count);
  clock.put(attest->clock.restart_count);
  clock.put(attest->clock.safe);
  firmware.put(attest->firmware_version);
  tpm::append_selections(selection, attest->selections);
  if (signature->algorithm == tpm::alg_ecdsa) {
    // r and s travel without lengths: each as long as the field, or their border is lost (§4.2).
    const std::size_t field = tpm_.ak().field_size();
    for (const Bytes part : {signature->r, signature->s}) {
      if (part.size() > field)
        return fail(Fault::environment, "the TPM's signature is longer than its curve", "spec part 2 4.2");
      signed_bytes.put_zeros(field - part.size());
      signed_bytes.put_bytes(part);
    }
  } else {
    signed_bytes.put_bytes(signature->rsa);
  }
  pts::SimpleEvidenceFinal final;
  final.has_quote = true;
  final.hash = pts::algorithm_bit(*hash);
  final.pcr_digest = attest->pcr_digest;
  final.qualified_signer = attest->qualified_signer;
  final.clock_info = clock.view();
  final.firmware_version = firmware.view();
  final.selection = selection.view();
  final.signature = signed_bytes.view();
  Writer w;
  pts::append_simple_evidence_final(w, final);
  return out.add(0, patnc::vendor_tcg, type::simple_evidence_final, w.view());
}

}  // namespace gatehouse::endpoint
