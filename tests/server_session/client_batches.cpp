#include "tests/server_session/client_batches.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/hex.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::test {

namespace type = patnc::type;

Pa::Pa(std::uint32_t vendor, std::uint32_t subtype, std::uint16_t collector) {
  header_.vendor = vendor;
  header_.subtype = subtype;
  header_.collector = collector;
  body_ = *from_hex("0100000000000005");
}

Pa&& Pa::add(std::uint32_t vendor, std::uint32_t kind, Bytes value, std::uint8_t flags) && {
  Writer w;
  patnc::append_attribute(w, flags, vendor, kind, value);
  return std::move(*this).raw(w.view());
}
Pa&& Pa::add(std::uint32_t vendor, std::uint32_t kind, std::string_view value, std::uint8_t flags) && {
  return std::move(*this).add(vendor, kind, as_bytes(value), flags);
}
Pa&& Pa::raw(Bytes bytes) && {
  body_.insert(body_.end(), bytes.begin(), bytes.end());
  return std::move(*this);
}
Pa&& Pa::body(ByteVector bytes) && {
  body_ = std::move(bytes);
  return std::move(*this);
}
Pa&& Pa::to(std::uint16_t validator) && {
  header_.exclusive = true;
  header_.validator = validator;
  return std::move(*this);
}
void Pa::append_to(Writer& w) const {
  pbtnc::PaMessage whole = header_;
  whole.body = body_;
  pbtnc::append_pa(w, whole);
}

ByteVector client_batch(const std::vector<Pa>& messages, pbtnc::BatchType kind, std::string_view languages) {
  Writer w;
  if (!languages.empty()) pbtnc::append_language_preference(w, languages);
  for (const Pa& message : messages) message.append_to(w);
  return pbtnc::batch(kind, false, w.view());
}

ByteVector u32(std::uint32_t value) {
  Writer w;
  patnc::append_u32(w, value);
  return std::move(w).take();
}
ByteVector product_information(std::string_view name, std::uint32_t vendor) {
  Writer w;
  patnc::append_product_information(w, {vendor, 0, name});
  return std::move(w).take();
}
ByteVector string_version(std::string_view version) {
  Writer w;
  patnc::append_string_version(w, {version, {}, {}});
  return std::move(w).take();
}
ByteVector operational_status(std::string_view last_use) {
  Writer w;
  patnc::append_operational_status(w, {3, 1, last_use});
  return std::move(w).take();
}
ByteVector packages(const std::vector<std::pair<std::string, std::string>>& list) {
  std::vector<patnc::Package> borrowed;
  for (const auto& [name, version] : list) borrowed.push_back({name, version});
  Writer w;
  patnc::append_installed_packages(w, borrowed);
  return std::move(w).take();
}
ByteVector settings(const std::vector<std::pair<std::string, std::string>>& list) {
  std::vector<patnc::Setting> borrowed;
  for (const auto& [name, value] : list) borrowed.push_back({name, as_bytes(value)});
  Writer w;
  patnc::append_settings(w, borrowed);
  return std::move(w).take();
}

Pa os_push(const OsPush& os) {
  Pa out(patnc::vendor_ietf, patnc::subtype_operating_system);
  const auto add = [&](std::uint32_t vendor, std::uint32_t kind, const ByteVector& value) {
    const std::uint32_t key = kind + (vendor == patnc::vendor_ita ? 0x100 : 0);
    if (std::find(os.leave_out.begin(), os.leave_out.end(), key) != os.leave_out.end()) return;
    std::move(out).add(vendor, kind, value);
  };
  Writer numeric;
  patnc::append_numeric_version(numeric, {12, 0, 0, 0, 0});
  add(patnc::vendor_ietf, type::product_information, product_information(os.name));
  add(patnc::vendor_ietf, type::string_version, string_version(os.version));
  add(patnc::vendor_ietf, type::numeric_version, to_vector(numeric.view()));
  add(patnc::vendor_ietf, type::operational_status, operational_status(os.last_boot));
  add(patnc::vendor_ietf, type::forwarding_enabled, u32(os.forwarding));
  add(patnc::vendor_ietf, type::factory_default_password, u32(os.default_password));
  add(patnc::vendor_ita, type::ita_device_id, to_vector(as_bytes(os.device)));
  return out;
}

std::vector<std::string> ServerMessage::names() const {
  std::vector<std::string> out;
  for (const ServerAttribute& a : attributes) out.push_back(patnc::attribute_name(a.vendor, a.type));
  return out;
}

std::vector<const ServerMessage*> Answer::of(std::uint32_t vendor, std::uint32_t subtype) const {
  std::vector<const ServerMessage*> out;
  for (const ServerMessage& m : messages)
    if (m.vendor == vendor && m.subtype == subtype) out.push_back(&m);
  return out;
}
std::vector<const ServerAttribute*> Answer::attributes(std::uint32_t vendor, std::uint32_t kind) const {
  std::vector<const ServerAttribute*> out;
  for (const ServerMessage& m : messages)
    for (const ServerAttribute& a : m.attributes)
      if (a.vendor == vendor && a.type == kind) out.push_back(&a);
  return out;
}
const ServerAttribute* Answer::attribute(std::uint32_t vendor, std::uint32_t kind) const {
  const auto all = attributes(vendor, kind);
  return all.empty() ? nullptr : all.front();
}
std::vector<std::string> Answer::names() const {
  std::vector<std::string> out;
  for (const ServerMessage& m : messages)
    for (std::string& name : m.names()) out.push_back(std::move(name));
  return out;
}

ByHand::ByHand(World& world, server::Peer peer)
    : host(world), session(host, world.settings, *world.state, std::move(peer)), world_(world) {
  Writer version, message;
  pttls::append_version_request(version, {});
  pttls::append_message(message, pttls::Type::version_request, identifier_++, version.view());
  session.feed(message.view());
  host.out.clear();
}

ByHand::~ByHand() {
  if (!session.ended()) session.on_peer_gone();
  while (host.carry(session)) {
  }
}

namespace {

void take_apart(Bytes bytes, Answer& out) {
  const auto batch = pbtnc::parse_batch(bytes, false);
  ASSERT_TRUE(batch) << batch.error().reason << " at " << batch.error().offset;
  EXPECT_FALSE(out.type) << "more than one batch";
  out.type = batch->type;
  out.bytes = bytes.size();
  for (const pbtnc::Message& m : batch->messages) {
    if (m.vendor != pbtnc::vendor_ietf) continue;
    if (m.type == pbtnc::type::assessment_result) out.assessment = pbtnc::assessment_result(m);
    if (m.type == pbtnc::type::access_recommendation) out.access = pbtnc::access_recommendation(m);
    if (m.type == pbtnc::type::error) out.errors.push_back(pbtnc::pb_error(m));
    if (m.type == pbtnc::type::reason_string) {
      const auto reason = pbtnc::reason_string(m);
      out.reasons.emplace_back(reason.text, reason.language);
    }
    if (m.type == pbtnc::type::remediation_parameters) out.remediation_uris.emplace_back(pbtnc::remediation(m).uri);
    if (m.type != pbtnc::type::pa) continue;
    const pbtnc::PaMessage pa = pbtnc::pa_message(m);
    ServerMessage message{pa.vendor, pa.subtype, pa.collector, pa.validator, pa.exclusive, to_vector(pa.body), {}};
    const auto parsed = patnc::parse_message(pa.body, [](std::uint32_t, std::uint32_t) { return true; });
    ASSERT_TRUE(parsed && !parsed->refusal) << "what the server sends is well-formed";
    for (const patnc::Attribute& a : parsed->attributes)
      message.attributes.push_back({a.flags, a.vendor, a.type, to_vector(a.value)});
    out.messages.push_back(std::move(message));
  }
}

}  // namespace

Answer ByHand::send(const ByteVector& batch) {
  Writer w;
  pttls::append_message(w, pttls::Type::pb_tnc_batch, identifier_++, batch);
  session.feed(w.view());
  while (host.out.empty() && !host.closed && host.carry(session)) {
  }
  Answer out;
  pttls::Framer framer;
  const ByteVector answer = std::exchange(host.out, {});
  framer.feed(answer);
  for (;;) {
    const auto m = framer.next();
    if (!m || *m == nullptr) break;
    if ((*m)->header.kind() == pttls::Type::pb_tnc_batch) take_apart((*m)->value, out);
  }
  out.closed = host.closed;
  return out;
}

Answer ByHand::until_result(Answer last, int rounds) {
  while (rounds-- > 0 && !last.closed && last.type == pbtnc::BatchType::sdata) last = say({});
  return last;
}

pipeline::Verdict ByHand::verdict() {
  const auto record = world_.state->session(session.id());
  if (!record || !*record || (*record)->verdict.empty()) {
    ADD_FAILURE() << "no record of the session";
    return {};
  }
  auto verdict = pipeline::verdict_from_json((*record)->verdict);
  if (!verdict) {
    ADD_FAILURE() << verdict.error().text();
    return {};
  }
  return std::move(*verdict);
}

bool ByHand::logged(std::string_view part) const {
  return std::any_of(host.lines.begin(), host.lines.end(),
                     [&](const std::string& line) { return line.find(part) != std::string::npos; });
}

server::policy::PolicyPtr policy_of(std::string_view text) {
  auto policy = server::policy::parse_policy(text, "policy.toml", [](const std::string&) -> Result<std::string> {
    return fail(Fault::environment, "no such file");
  });
  if (policy) return *policy;
  for (const auto& mistake : policy.error().list) ADD_FAILURE() << mistake.text();
  return server::policy::built_in_policy();
}

void enrol_host1(World& world, const std::string& device, const std::string& product) {
  auto key = endpoint::SigningKey::generate(endpoint::KeyAlgorithm::ecc);
  ASSERT_TRUE(key);
  server::Enrolment e;
  e.device = device;
  e.key = server::SeenKey{endpoint::SoftwareTpm(*key).ak(), std::nullopt, std::nullopt};
  e.product = product;
  e.identities = {"CN=host1"};
  e.trust = true;
  const auto done = world.state->enrol_blocking(std::move(e));
  ASSERT_TRUE(done) << done.error().text();
}

}  // namespace gatehouse::test
