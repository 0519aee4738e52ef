#include "endpoint/client/client_session.h"

#include <sys/utsname.h>

#include <algorithm>
#include <ctime>

#include "base/file.h"

namespace gatehouse::endpoint {
namespace {

constexpr std::uint16_t os_collector = 1, attestation_collector = 2;
namespace pt = pts::type;
constexpr std::uint32_t tcg = patnc::vendor_tcg;

bool supported(std::uint32_t vendor, std::uint32_t type) {
  if (vendor == patnc::vendor_ietf) return type <= patnc::type::source_metadata_response;
  if (vendor == patnc::vendor_ita) return type >= 1 && type <= 10 && type != 7;
  constexpr std::uint32_t known[] = {patnc::type::contract_request, patnc::type::contract_response, patnc::type::segment_envelope,
                                     patnc::type::next_segment, pt::request_capabilities, pt::dh_nonce_request, pt::dh_nonce_finish,
                                     pt::algorithm_request, pt::get_tpm_version, pt::get_aik, pt::request_component_evidence, pt::generate_evidence};
  return vendor == tcg && std::find(std::begin(known), std::end(known), type) != std::end(known);
}

std::unexpected<Error> protocol(std::string_view why, std::string_view spec = {}) { return fail(Fault::protocol, why, spec); }

// "ID=debian" of an os-release file.
std::string value_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == '=') {
      line.remove_prefix(key.size() + 1);
      if (line.size() >= 2 && line.front() == '"' && line.back() == '"') line = line.substr(1, line.size() - 2);
      return std::string(line);
    }
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return {};
}

}  // namespace

std::string_view name(Recommendation r) {
  switch (r) {
    case Recommendation::allow: return "allow";
    case Recommendation::block: return "block";
    case Recommendation::isolate: return "isolate";
    case Recommendation::none: return "none";
  }
  return "none";
}

OsInfo this_machine() {
  OsInfo os;
  for (const char* const path : {"/etc/os-release", "/usr/lib/os-release"}) {
    const auto bytes = read_file(path, 65536);
    if (!bytes) continue;
    std::string id = value_of(as_text(*bytes), "ID"), version = value_of(as_text(*bytes), "VERSION_ID");
    if (id.empty()) continue;
    id[0] = char(id[0] >= 'a' && id[0] <= 'z' ? id[0] - 'a' + 'A' : id[0]);
    utsname machine{};
    ::uname(&machine);
    os.name = id;
    os.version = version + " " + machine.machine;
    os.vendor = id == "Debian" ? 9586 : id == "Ubuntu" ? 28978 : id == "Fedora" ? 30401 : id == "Rhel" ? 2312 : 0;
    os.major = os.minor = 0;
    std::size_t i = 0;
    for (; i < version.size() && version[i] >= '0' && version[i] <= '9' && i < 9; ++i) os.major = os.major * 10 + unsigned(version[i] - '0');
    if (i < version.size() && version[i] == '.')
      for (++i; i < version.size() && version[i] >= '0' && version[i] <= '9' && i < 18; ++i) os.minor = os.minor * 10 + unsigned(version[i] - '0');
    break;
  }
  if (const auto uptime = read_file("/proc/uptime", 4096)) {
    long seconds = 0;
    for (const char c : as_text(*uptime)) {
      if (c < '0' || c > '9') break;
      seconds = seconds * 10 + (c - '0');
    }
    const std::time_t boot = std::time(nullptr) - seconds;
    std::tm utc{};
    ::gmtime_r(&boot, &utc);
    char text[32];
    if (std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc) == 20) os.last_boot = text;
  }
  if (const auto forward = read_file("/proc/sys/net/ipv4/ip_forward", 16)) os.forwarding = !forward->empty() && as_text(*forward)[0] == '1';
  return os;
}

struct ClientSession::Attestation {
  std::uint16_t capabilities = 0;
  std::optional<HashAlgorithm> bank;
  std::optional<KeyAgreement> agreement;
  ByteVector nonce;
  std::optional<Digest> secret;
  std::optional<EvidenceSet> evidence;
  bool sent = false;
};

ClientSession::ClientSession(Tpm& tpm, Sources sources, ClientOptions options)
    : tpm_(tpm), sources_(std::move(sources)), options_(std::move(options)), queue_(options_.max_batch) {
  if (!options_.device_id) options_.device_id = tpm_.ak().key_id();
  const ByteVector first = random_bytes(4);
  std::memcpy(&next_message_id_, first.data(), 4);
  Writer request;
  pttls::append_version_request(request, {});
  send(pttls::Type::version_request, request.view());
}
ClientSession::~ClientSession() = default;

ByteVector ClientSession::take_output() {
  ByteVector out = std::move(out_).take();
  out_ = Writer();
  return out;
}

void ClientSession::send(pttls::Type type, Bytes value) { pttls::append_message(out_, type, next_identifier_++, value); }

void ClientSession::send_batch(pbtnc::BatchType type, Bytes messages) {
  if (const auto next = pbtnc::next(pbtnc::client_sends, state_, type)) state_ = *next;
  const ByteVector bytes = pbtnc::batch(type, false, messages);
  options_.log("sending PB-TNC " + std::string(pbtnc::name(type)) + " batch (" + std::to_string(bytes.size()) + " bytes)");
  send(pttls::Type::pb_tnc_batch, bytes);
}

Result<void> ClientSession::feed(Bytes plaintext) {
  framer_.feed(plaintext);
  while (!done_) {
    const auto message = framer_.next();
    if (!message) return protocol(message.error().reason, "RFC 6876");
    if (*message == nullptr) return {};
    GH_CHECK(on_message(**message));
  }
  return {};
}

Result<void> ClientSession::on_message(const pttls::Message& m) {
  if (!m.header.known()) return {};  // a server that tries something: ignored
  switch (m.header.kind()) {
    case pttls::Type::error: {
      GH_TRY(const auto error, pttls::parse_error(m.value));
      return fail(Error{Fault::protocol, "the server sent a PT-TLS error", "RFC 6876 3.9", 0, {}, "code " + std::to_string(error.code)});
    }
    case pttls::Type::version_response: {
      if (phase_ != Phase::version) return protocol("Version Response at the wrong time", "RFC 6876 3.7.2");
      GH_TRY(const auto version, pttls::parse_version_response(m.value));
      if (version != 1) return protocol("the server chose another PT-TLS version", "RFC 6876 3.7.2");
      phase_ = Phase::mechanisms;
      return {};
    }
    case pttls::Type::sasl_mechanisms: {
      if (phase_ != Phase::mechanisms && phase_ != Phase::sasl) return protocol("SASL Mechanisms at the wrong time", "RFC 6876 3.8.3");
      GH_TRY(const auto names, pttls::parse_mechanisms(m.value));
      if (names.empty()) {
        phase_ = Phase::data;
        start_conversation();
        return {};
      }
      if (std::find(names.begin(), names.end(), "PLAIN") == names.end() || options_.user.empty())
        return fail(Error{Fault::denied, options_.user.empty() ? "the server wants a password, and none was given" : "no common SASL mechanism",
                          "RFC 6876 3.8", 0, {}, {}});
      ByteVector plain = pttls::plain_message(options_.user, options_.password);
      Writer selection;
      pttls::append_selection(selection, {"PLAIN", plain});
      send(pttls::Type::sasl_selection, selection.view());
      wipe(plain);
      phase_ = Phase::sasl;
      return {};
    }
    case pttls::Type::sasl_result: {
      if (phase_ != Phase::sasl) return protocol("SASL Result at the wrong time", "RFC 6876 3.8.7");
      GH_TRY(const auto result, pttls::parse_sasl_result(m.value));
      if (result != pttls::SaslResult::success) return fail(Error{Fault::denied, "the server refused user or password", "RFC 6876 3.8.7", 0, {}, {}});
      return {};
    }
    case pttls::Type::pb_tnc_batch:
      if (phase_ != Phase::data) return protocol("PB-TNC batch at the wrong time", "RFC 6876 3.6");
      return on_batch(m.value);
    default: return protocol("PT-TLS message that only a client sends", "RFC 6876 3");
  }
}

void ClientSession::start_conversation() {
  Writer language;
  pbtnc::append_language_preference(language, options_.language);
  queue_.push(std::move(language).take());
  push_os();
  send_batch(pbtnc::BatchType::cdata, queue_.take());
}

// The seven attributes that strongSwan's client volunteers, in its order (spec part 1b §4.1).
void ClientSession::push_os() {
  const OsInfo& os = options_.os;
  patnc::Builder b(patnc::max_message(options_.max_batch), next_message_id_);
  const auto add = [&](std::uint32_t vendor, std::uint32_t type, auto&& append) {
    Writer value;
    append(value);
    b.add(0, vendor, type, value.view());
  };
  using namespace patnc;
  add(vendor_ietf, patnc::type::product_information, [&](Writer& w) { append_product_information(w, {os.vendor, 0, os.name}); });
  add(vendor_ietf, patnc::type::string_version, [&](Writer& w) { append_string_version(w, {os.version, {}, {}}); });
  add(vendor_ietf, patnc::type::numeric_version, [&](Writer& w) { append_numeric_version(w, {os.major, os.minor, 0, 0, 0}); });
  add(vendor_ietf, patnc::type::operational_status, [&](Writer& w) { append_operational_status(w, {3, 1, os.last_boot}); });
  add(vendor_ietf, patnc::type::forwarding_enabled, [&](Writer& w) { append_u32(w, os.forwarding ? 1 : 0); });
  add(vendor_ietf, patnc::type::factory_default_password, [&](Writer& w) { append_u32(w, 0); });
  if (!options_.device_id->empty()) add(vendor_ita, patnc::type::ita_device_id, [&](Writer& w) { w.put_text(*options_.device_id); });
  pbtnc::PaMessage to;
  to.vendor = vendor_ietf;
  to.subtype = subtype_operating_system;
  to.collector = os_collector;
  for (const ByteVector& body : b.take(&next_message_id_)) {
    to.body = body;
    Writer w;
    pbtnc::append_pa(w, to);
    queue_.push(std::move(w).take());
  }
}

Result<void> ClientSession::refuse(const pbtnc::Refusal& refusal) {
  Writer w;
  pbtnc::append_error(w, refusal);
  send_batch(pbtnc::BatchType::close, w.view());
  done_ = true;
  return fail(Error{Fault::protocol, refusal.reason, "RFC 5793", refusal.offset, {}, {}});
}

Result<void> ClientSession::on_batch(Bytes bytes) {
  const auto batch = pbtnc::parse_batch(bytes, false);
  if (!batch) return refuse(batch.error());
  options_.log("received PB-TNC " + std::string(pbtnc::name(batch->type)) + " batch (" + std::to_string(bytes.size()) + " bytes)");
  // A fatal error may come in any batch and makes whatever else is in it worthless (spec part 1a §4.6).
  for (const pbtnc::Message& m : batch->messages)
    if (m.type == pbtnc::type::error) {
      const pbtnc::PbError e = pbtnc::pb_error(m);
      if (!e.fatal) continue;
      done_ = true;
      return fail(Error{Fault::protocol, "the server sent a fatal PB-TNC error", "RFC 5793 4.9", 0, {},
                        e.vendor == 0 ? std::string(pbtnc::name(pbtnc::ErrorCode(std::min<std::uint16_t>(e.code, 4)))) : std::to_string(e.code)});
    }
  const auto next = pbtnc::next(pbtnc::client_receives, state_, batch->type);
  if (!next) return refuse({pbtnc::ErrorCode::unexpected_batch_type, 0, 0, "batch type not allowed in this state"});
  state_ = *next;
  if (batch->type == pbtnc::BatchType::close) {
    done_ = true;
    return {};
  }
  if (batch->type == pbtnc::BatchType::result) {
    Answer a;
    for (const pbtnc::Message& m : batch->messages) {
      if (m.type == pbtnc::type::assessment_result) a.assessment = pbtnc::assessment_result(m);
      if (m.type == pbtnc::type::access_recommendation) {
        const auto code = pbtnc::access_recommendation(m);
        a.recommendation = code == 1 ? Recommendation::allow : code == 3 ? Recommendation::isolate : Recommendation::block;
      }
      if (m.type == pbtnc::type::reason_string) a.reasons.emplace_back(pbtnc::reason_string(m).text);
    }
    answer_ = std::move(a);
    send_batch(pbtnc::BatchType::close, {});
    done_ = true;
    return {};
  }
  if (batch->type == pbtnc::BatchType::sretry) {
    queue_.clear();
    attestation_.reset();
    push_os();
  }
  for (const pbtnc::Message& m : batch->messages)
    if (m.type == pbtnc::type::pa) GH_CHECK(on_pa(pbtnc::pa_message(m)));
  if (state_ == pbtnc::State::client_working) send_batch(pbtnc::BatchType::cdata, queue_.take());
  return {};
}

void ClientSession::say(const pbtnc::PaMessage& answered, std::uint16_t collector, patnc::Builder&& b) {
  pbtnc::PaMessage to;
  to.exclusive = answered.validator != pbtnc::any;
  to.vendor = answered.vendor;
  to.subtype = answered.subtype;
  to.collector = collector;
  to.validator = answered.validator;
  for (const ByteVector& body : b.take(&next_message_id_)) {
    to.body = body;
    Writer w;
    pbtnc::append_pa(w, to);
    queue_.push(std::move(w).take());
  }
}

Result<void> ClientSession::on_pa(const pbtnc::PaMessage& pa) {
  const bool os = pa.vendor == patnc::vendor_ietf && pa.subtype == patnc::subtype_operating_system;
  const bool pts_type = pa.vendor == tcg && pa.subtype == patnc::subtype_pts;
  if (!os && !pts_type) return {};
  const std::uint16_t collector = os ? os_collector : attestation_collector;
  if (pa.exclusive && pa.collector != collector) return {};
  GH_TRY(const patnc::Parsed message, patnc::parse_message(pa.body, supported));
  if (message.refusal) {
    patnc::Builder b(patnc::max_message(options_.max_batch), next_message_id_);
    b.add(0, patnc::vendor_ietf, patnc::type::pa_tnc_error, patnc::error_value(*message.refusal, message.header.copy));
    say(pa, collector, std::move(b));
    return {};
  }
  return os ? on_os(pa, message) : on_pts(pa, message);
}

Result<void> ClientSession::on_os(const pbtnc::PaMessage& pa, const patnc::Parsed& message) {
  for (const patnc::Attribute& a : message.attributes) {
    Reader r(a.value, "RFC 5792", a.value_offset());
    if (a.is(tcg, patnc::type::contract_request)) {
      GH_TRY(auto contract, patnc::parse_contract(r));
      contract.max_segment_size = std::min<std::uint32_t>(contract.max_segment_size, std::uint32_t(patnc::max_segment(patnc::max_message(options_.max_batch))));
      patnc::Builder b(patnc::max_message(options_.max_batch), next_message_id_);
      Writer w;
      patnc::append_contract(w, contract);
      b.add(0, tcg, patnc::type::contract_response, w.view());
      say(pa, os_collector, std::move(b));
    } else if (a.is(patnc::vendor_ietf, patnc::type::attribute_request)) {
      GH_CHECK(patnc::parse_attribute_request(r));
      push_os();  // all that it knows, whatever was asked
    } else if (a.is(patnc::vendor_ietf, patnc::type::assessment_result)) {
      GH_TRY(const auto result, patnc::parse_assessment_result(r));
      options_.log("assessment of the operating system: " + std::to_string(result));
    }
  }
  return {};
}

Result<void> ClientSession::on_pts(const pbtnc::PaMessage& pa, const patnc::Parsed& message) {
  if (!attestation_) attestation_ = std::make_unique<Attestation>();
  Attestation& s = *attestation_;
  patnc::Builder b(patnc::max_message(options_.max_batch), next_message_id_);
  const auto add = [&](std::uint32_t vendor, std::uint32_t type, auto&& append) {
    Writer value;
    append(value);
    b.add(0, vendor, type, value.view());
  };
  const auto add_error = [&](std::uint32_t code, Bytes information) {
    add(patnc::vendor_ietf, patnc::type::pa_tnc_error, [&](Writer& w) {
      w.put(std::uint8_t{0});
      w.put24(tcg);
      w.put(code);
      w.put_bytes(information.first(std::min<std::size_t>(information.size(), 1024)));
    });
  };
  for (const patnc::Attribute& a : message.attributes) {
    Reader r(a.value, "spec part 2 1", a.value_offset());
    if (a.vendor == patnc::vendor_ita && a.type == pts::ita_get_symlinks) {
      // Debian's merged /usr: direct children of "/" that are links to directories.
      const std::vector<pts::Symlink> links = {{"/bin", "/usr/bin"}, {"/sbin", "/usr/sbin"}, {"/lib", "/usr/lib"}, {"/lib64", "/usr/lib64"}};
      add(patnc::vendor_ita, pts::ita_symlinks, [&](Writer& w) { pts::append_symlinks(w, links); });
      continue;
    }
    if (a.vendor != tcg) continue;
    switch (a.type) {
      case patnc::type::contract_request: {
        GH_TRY(auto contract, patnc::parse_contract(r));
        contract.max_segment_size = std::min<std::uint32_t>(contract.max_segment_size, std::uint32_t(patnc::max_segment(patnc::max_message(options_.max_batch))));
        add(tcg, patnc::type::contract_response, [&](Writer& w) { patnc::append_contract(w, contract); });
        break;
      }
      case pt::request_capabilities: {
        GH_TRY(const auto flags, pts::parse_capabilities(r));
        s.capabilities = flags & (pts::capability_tpm | pts::capability_dh | pts::capability_verify);
        add(tcg, pt::capabilities, [&](Writer& w) { pts::append_capabilities(w, s.capabilities); });
        break;
      }
      case pt::algorithm_request: {
        GH_TRY(const auto set, pts::parse_algorithms(r));
        s.bank.reset();
        for (const HashAlgorithm h : {HashAlgorithm::sha512, HashAlgorithm::sha384, HashAlgorithm::sha256, HashAlgorithm::sha1})
          if (!s.bank && (set & pts::algorithm_bit(h)) != 0 && std::find(tpm_.banks().begin(), tpm_.banks().end(), h) != tpm_.banks().end()) s.bank = h;
        if (!s.bank) {
          Writer info;
          std::uint16_t own = 0;
          for (const HashAlgorithm h : tpm_.banks()) own = std::uint16_t(own | pts::algorithm_bit(h));
          pts::append_algorithms(info, own);
          add_error(pts::error::hash_algorithm_not_supported, info.view());
          break;
        }
        add(tcg, pt::algorithm, [&](Writer& w) { pts::append_algorithms(w, pts::algorithm_bit(*s.bank)); });
        break;
      }
      case pt::dh_nonce_request: {
        GH_TRY(const auto request, pts::parse_dh_nonce_request(r));
        if (!s.bank) return protocol("DH Nonce Parameters Request before the measurement algorithm", "spec part 2 1.4");
        struct Choice {
          std::uint16_t bit;
          DhGroup group;
        };
        constexpr Choice choices[] = {{pts::group_ecp384, DhGroup::ecp384}, {pts::group_ecp256, DhGroup::ecp256}, {pts::group_modp2048, DhGroup::modp2048}};
        const Choice* chosen = nullptr;
        for (const Choice& c : choices)
          if (chosen == nullptr && (request.groups & c.bit) != 0) chosen = &c;
        const std::uint8_t length = std::max(options_.nonce_length, request.minimum_nonce);
        if (chosen == nullptr) {
          Writer info;
          pts::append_algorithms(info, pts::group_ecp384 | pts::group_ecp256 | pts::group_modp2048);
          add_error(pts::error::dh_group_not_supported, info.view());
          break;
        }
        GH_TRY(KeyAgreement agreement, KeyAgreement::generate(chosen->group));
        s.agreement = std::move(agreement);
        s.nonce = random_bytes(length);
        add(tcg, pt::dh_nonce_response, [&](Writer& w) {
          pts::append_dh_nonce_response(w, {chosen->bit, pts::algorithm_bit(*s.bank), s.nonce, s.agreement->public_value()});
        });
        break;
      }
      case pt::dh_nonce_finish: {
        GH_TRY(const auto finish, pts::parse_dh_nonce_finish(r));
        const auto hash = pts::algorithm_of_bit(finish.hash);
        if (!s.agreement || !hash || finish.nonce.size() != s.nonce.size()) return protocol("DH Nonce Finish that doesn't fit", "spec part 2 1.6");
        GH_TRY(ByteVector z, s.agreement->derive(finish.public_value));
        s.secret = secret_assessment_value(*hash, finish.nonce, s.nonce, std::move(z));
        s.agreement.reset();
        break;
      }
      case pt::get_tpm_version: {
        const TpmInfo info = tpm_.info();
        if (s.bank) {
          s.evidence.emplace(sources_, *s.bank);
          GH_CHECK(s.evidence->collect(true, false));
        }
        const std::uint8_t locality = s.evidence ? s.evidence->locality().value_or(0) : 0;
        add(tcg, pt::tpm_version, [&](Writer& w) { pts::append_tpm_version(w, {locality, info.revision, info.year, info.manufacturer}); });
        break;
      }
      case pt::get_aik:
        add(tcg, pt::aik, [&](Writer& w) {
          const bool naked = options_.ak_certificate.empty();
          pts::append_aik(w, {naked, naked ? Bytes(tpm_.ak().spki()) : Bytes(options_.ak_certificate)});
        });
        break;
      case pt::request_component_evidence: {
        GH_TRY(const auto requests, pts::parse_component_requests(r));
        if (!s.bank) return protocol("component evidence requested before the measurement algorithm", "spec part 2 1.9");
        bool boot = false, ima = false;
        for (const pts::ComponentRequest& q : requests) {
          if ((q.flags & pts::request_ttc) != 0) {
            add_error(pts::error::unable_to_determine_transitive_trust, a.value);
            return {};
          }
          if ((q.flags & pts::request_current) != 0) {
            add_error(pts::error::unable_to_collect_current, a.value);
            return {};
          }
          if (q.component == pts::component_boot) boot = true;
          if (q.component == pts::component_ima) ima = true;
        }
        s.evidence.emplace(sources_, *s.bank);
        GH_CHECK(s.evidence->collect(boot, ima));
        break;
      }
      case pt::generate_evidence:
        if (!s.evidence || !s.secret || s.sent) return protocol("Generate Attestation Evidence at the wrong time", "spec part 2 1.10");
        s.sent = true;
        GH_CHECK(generate_evidence(b));
        break;
      default: break;
    }
  }
  if (!b.empty()) say(pa, attestation_collector, std::move(b));
  return {};
}

// The lists first, then the quote over what they touch; then what the quote covers is sent (spec part 2 §1.10, §10 P3).
Result<void> ClientSession::generate_evidence(patnc::Builder& b) {
  Attestation& s = *attestation_;
  constexpr std::uint32_t always = 0x7FF;  // 0-10
  const std::uint32_t selected = s.evidence->touched() | always;
  GH_TRY(const Quote quote, tpm_.quote(*s.bank, selected, s.secret->view()));
  GH_TRY(const tpm::Attest attest, tpm::parse_attest(quote.attest));
  GH_TRY(const tpm::Signature signature, tpm::parse_signature(quote.signature));
  const auto hash = hash_algorithm(signature.hash);
  if (!hash || pts::algorithm_bit(*hash) == 0) return fail(Fault::environment, "the TPM signed with a hash that PTS doesn't know");
  GH_CHECK(s.evidence->match(selected, *hash, attest.pcr_digest));
  const auto add = [&](const Measurement& m, const pts::Component& component) {
    pts::SimpleComponentEvidence e;
    e.component = component;
    e.pcr = m.pcr;
    e.algorithm = pts::algorithm_bit(*s.bank);
    e.time = options_.time;
    if (!m.uri.empty()) {
      e.validation = pts::Validation::passed;
      e.policy_uri = m.uri;
    }
    e.measurement = m.value.view();
    Writer w;
    pts::append_simple_component_evidence(w, e);
    b.add(0, tcg, pt::simple_component_evidence, w.view());
  };
  for (const Measurement& m : s.evidence->boot()) add(m, pts::component_boot);
  for (const Measurement& m : s.evidence->ima()) add(m, pts::component_ima);

  Writer clock, firmware, selection, raw_signature;
  clock.put(attest.clock.clock);
  clock.put(attest.clock.reset_count);
  clock.put(attest.clock.restart_count);
  clock.put(attest.clock.safe);
  firmware.put(attest.firmware_version);
  tpm::append_selections(selection, attest.selections);
  if (signature.algorithm == tpm::alg_ecdsa) {
    // r and s without lengths: padded to the field, so that they can be told apart.
    const std::size_t field = tpm_.ak().field_size();
    for (const Bytes part : {signature.r, signature.s}) {
      if (part.size() > field) return fail(Fault::environment, "the TPM's signature is longer than its curve");
      raw_signature.put_zeros(field - part.size());
      raw_signature.put_bytes(part);
    }
  } else {
    raw_signature.put_bytes(signature.rsa);
  }
  Writer final;
  pts::append_simple_evidence_final(final, {true, pts::algorithm_bit(*hash), attest.pcr_digest, attest.qualified_signer, clock.view(), firmware.view(),
                                            selection.view(), raw_signature.view()});
  b.add(0, tcg, pt::simple_evidence_final, final.view());
  return {};
}

}  // namespace gatehouse::endpoint
