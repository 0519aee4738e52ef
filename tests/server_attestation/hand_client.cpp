#include "tests/server_attestation/hand_client.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::test {
namespace {

namespace pt = pts::type;
namespace raw = pts::raw;
constexpr std::uint16_t collector = 7;

Pts pts_attribute(std::uint32_t type, Writer&& w) { return {tcg, type, std::move(w).take()}; }
Reader reader(const Pts& a) { return Reader(a.value, "test"); }

// The client's side of one assessment.
class Hand {
 public:
  Hand(World& world, const Machine& machine, const HandOptions& options)
      : world_(world), machine_(machine), o_(options), host_(world), session_(host_, world.settings, *world.state, options.peer),
        segmenter_(patnc::max_message(options.max_batch)) {}

  HandOutcome run() {
    const std::string id = session_.id();
    Writer version;
    pttls::append_version_request(version, {});
    feed(pttls::Type::version_request, version.view());
    host_.out.clear();
    Said heard = exchange(os_message(), {});
    for (unsigned round = 0; round < 3'000 && !over_; ++round) {
      Said answer;
      for (const Pts& asked : heard) {
        std::optional<Said> own = o_.answer ? o_.answer(asked) : std::nullopt;
        Said said = own ? std::move(*own) : reply(asked);
        std::move(said.begin(), said.end(), std::back_inserter(answer));
      }
      if (o_.change) o_.change(answer);
      heard = exchange({}, std::move(answer));
    }
    if (!session_.ended()) session_.on_peer_gone();
    while (host_.carry(session_)) {
    }
    if (const auto record = world_.state->session(id); record && *record && !(*record)->verdict.empty()) {
      auto verdict = pipeline::verdict_from_json((*record)->verdict);
      if (verdict) out_.verdict = std::move(*verdict);
    }
    out_.lines = std::move(host_.lines);
    return std::move(out_);
  }

 private:
  void feed(pttls::Type type, Bytes value) {
    Writer w;
    pttls::append_message(w, type, 0, value);
    session_.feed(w.view());
    while (host_.out.empty() && !host_.closed && host_.carry(session_)) {
    }
  }

  Writer os_message() {
    Writer product, version, numeric, status, off, device;
    patnc::append_product_information(product, {9586, 0, "Debian"});
    patnc::append_string_version(version, {"12 x86_64", "", ""});
    patnc::append_numeric_version(numeric, {12, 0, 0, 0, 0});
    patnc::append_operational_status(status, {3, 1, "2026-11-23T00:00:00Z"});
    patnc::append_u32(off, 0);
    patnc::append_device_id(device, o_.device_id.empty() ? machine_.tpm->ak().key_id() : o_.device_id);
    patnc::Builder b(patnc::max_message(o_.max_batch), identifier_);
    b.add(0, 0, patnc::type::product_information, product.view());
    b.add(0, 0, patnc::type::string_version, version.view());
    b.add(0, 0, patnc::type::numeric_version, numeric.view());
    b.add(0, 0, patnc::type::operational_status, status.view());
    b.add(0, 0, patnc::type::forwarding_enabled, off.view());
    b.add(0, 0, patnc::type::factory_default_password, off.view());
    b.add(0, patnc::vendor_ita, patnc::type::ita_device_id, device.view());
    Writer messages;
    for (const ByteVector& body : b.take(&identifier_)) pbtnc::append_pa(messages, {false, 0, 1, 1, pbtnc::any, body});
    return messages;
  }

  // One CDATA batch, and as many more as its messages and the segments that are fetched of it need.
  Said exchange(Writer messages, Said said) {
    patnc::Builder b(patnc::max_message(o_.max_batch), identifier_);
    for (const Pts& a : said) EXPECT_TRUE(segmenter_.add(b, a.flags, a.vendor, a.type, a.value));
    Said heard;
    std::vector<ByteVector> bodies = b.take(&identifier_);
    std::size_t next = 0;
    do {
      if (next < bodies.size()) pbtnc::append_pa(messages, {false, tcg, patnc::subtype_pts, collector, pbtnc::any, bodies[next++]});
      ++out_.rounds;
      feed(pttls::Type::pb_tnc_batch, pbtnc::batch(pbtnc::BatchType::cdata, false, messages.view()));
      messages = Writer();
      patnc::Builder more(patnc::max_message(o_.max_batch), identifier_);
      hear(std::exchange(host_.out, {}), heard, more);
      for (ByteVector& body : more.take(&identifier_)) bodies.push_back(std::move(body));
    } while (!over_ && next < bodies.size());
    out_.heard.push_back(heard);
    return heard;
  }

  void hear(const ByteVector& bytes, Said& heard, patnc::Builder& answer) {
    pttls::Framer framer;
    framer.feed(bytes);
    bool any_batch = false;
    for (;;) {
      const auto m = framer.next();
      if (!m || *m == nullptr) break;
      if ((*m)->header.kind() != pttls::Type::pb_tnc_batch) continue;
      any_batch = true;
      const auto batch = pbtnc::parse_batch((*m)->value, false);
      ASSERT_TRUE(batch);
      if (batch->type != pbtnc::BatchType::sdata) over_ = true;
      for (const pbtnc::Message& message : batch->messages) {
        if (message.is(0, pbtnc::type::access_recommendation)) out_.recommendation = pbtnc::access_recommendation(message);
        if (message.is(0, pbtnc::type::reason_string)) out_.reasons.emplace_back(pbtnc::reason_string(message).text);
        if (!message.is(0, pbtnc::type::pa)) continue;
        const pbtnc::PaMessage pa = pbtnc::pa_message(message);
        if (pa.vendor != tcg) continue;
        const auto parsed = patnc::parse_message(pa.body, [](std::uint32_t, std::uint32_t) { return true; });
        ASSERT_TRUE(parsed && !parsed->refusal);
        for (const patnc::Attribute& a : parsed->attributes) hear(a, heard, answer);
      }
    }
    if (!any_batch) over_ = true;
  }

  void hear(const patnc::Attribute& a, Said& heard, patnc::Builder& answer) {
    Reader r(a.value, "test");
    if (a.is(tcg, patnc::type::contract_request)) {
      Writer w;
      patnc::append_contract(w, segmenter_.agree(*patnc::parse_contract(r)));
      answer.add(0, tcg, patnc::type::contract_response, w.view());
    } else if (a.is(tcg, patnc::type::next_segment)) {
      segmenter_.next(answer, *patnc::parse_next_segment(r));
    } else {
      if (a.is(0, patnc::type::pa_tnc_error)) {
        const auto error = patnc::parse_error(r);
        ASSERT_TRUE(error);
        out_.errors.push_back({error->vendor, error->code, to_vector(error->information)});
      }
      heard.push_back({a.vendor, a.type, to_vector(a.value), a.flags});
    }
  }

  // --- the default answers

  Said reply(const Pts& asked) {
    Reader r = reader(asked);
    if (asked.is(o_.raw_vendor, raw::type::request)) {
      raw_request_ = *raw::parse_request(r);
      return {};
    }
    if (asked.vendor != tcg) return {};
    Writer w;
    switch (asked.type) {
      case pt::request_capabilities: {
        pts::append_capabilities(w, o_.capabilities & *pts::parse_capabilities(r));
        Said said{pts_attribute(pt::capabilities, std::move(w))};
        Writer announced;
        raw::append_capabilities(announced, {o_.raw_version, o_.raw_version, o_.raw_parts});
        if (o_.raw_parts != 0) said.push_back({o_.raw_vendor, raw::type::capabilities, std::move(announced).take()});
        return said;
      }
      case pt::algorithm_request: pts::append_algorithms(w, pts::algorithm_bit(HashAlgorithm::sha256)); return {pts_attribute(pt::algorithm, std::move(w))};
      case pt::dh_nonce_request: return offer(pts::parse_dh_nonce_request(r)->groups);
      case pt::dh_nonce_finish: {
        const auto v = *pts::parse_dh_nonce_finish(r);
        secret_ = secret_assessment_value(*pts::algorithm_of_bit(v.hash), v.nonce, nonce_, *key_->derive(v.public_value));
        return {};
      }
      case pt::get_tpm_version: pts::append_tpm_version(w, {3, 164, 2021, 0x49424D00}); return {pts_attribute(pt::tpm_version, std::move(w))};
      case pt::get_aik: pts::append_aik(w, {true, machine_.tpm->ak().spki()}); return {pts_attribute(pt::aik, std::move(w))};
      case pt::request_component_evidence: {
        const auto wanted = *pts::parse_component_requests(r);
        for (const pts::ComponentRequest& c : wanted) (c.component == pts::component_boot ? boot_asked_ : ima_asked_) = true;
        return {};
      }
      case pt::generate_evidence: return evidence();
      case pt::request_file_measurement: return measure(*pts::parse_file_measurement_request(r));
      case pt::request_file_metadata: {
        const auto known = o_.metadata.find(std::string(pts::parse_file_metadata_request(r)->path));
        if (known == o_.metadata.end()) return {};
        pts::append_file_metadata_head(w, {known->second.size()});
        for (const std::string& name : known->second) pts::append_file_metadata(w, {pts::FileType::regular, 42, 1, 2, 3, 0, 0, name});
        return {pts_attribute(pt::unix_file_metadata, std::move(w))};
      }
      default: return {};
    }
  }

  Said offer(std::uint16_t groups) {
    constexpr std::pair<std::uint16_t, DhGroup> order[] = {{pts::group_ecp256, DhGroup::ecp256},   {pts::group_ecp384, DhGroup::ecp384},
                                                           {pts::group_modp2048, DhGroup::modp2048}, {pts::group_modp1536, DhGroup::modp1536},
                                                           {pts::group_modp1024, DhGroup::modp1024}};
    for (const auto& [bit, group] : order) {
      if ((groups & bit) == 0) continue;
      key_ = *KeyAgreement::generate(group);
      nonce_ = random_bytes(20);
      Writer w;
      pts::append_dh_nonce_response(w, {bit, pts::algorithm_bit(HashAlgorithm::sha256), nonce_, key_->public_value()});
      return {pts_attribute(pt::dh_nonce_response, std::move(w))};
    }
    return {};
  }

  Said measure(const pts::FileMeasurementRequest& request) {
    const auto known = o_.files.find(std::string(request.path));
    if (known == o_.files.end()) return {};
    Writer w;
    pts::append_file_measurement_head(w, {known->second.size(), request.id, std::uint16_t(known->second.empty() ? 0 : 32)});
    for (const auto& [name, digest] : known->second) pts::append_file_measurement(w, {digest.view(), name});
    return {pts_attribute(pt::file_measurement, std::move(w))};
  }

  Said evidence() {
    Said said;
    const auto components = [&](Bytes attributes) {
      Reader r(attributes, "test");
      while (!r.empty()) {
        patnc::Attribute a;
        ASSERT_FALSE(patnc::parse_attribute(r, a));
        said.push_back({a.vendor, a.type, to_vector(a.value)});
      }
    };
    if (boot_asked_) components((*endpoint::firmware_evidence(machine_.log, HashAlgorithm::sha256, {}))->attributes);
    if (ima_asked_) components((*endpoint::ima_evidence(machine_.list, HashAlgorithm::sha256, {}))->attributes);
    const auto add_raw = [&](std::uint32_t type, Writer&& w) { said.push_back({o_.raw_vendor, type, std::move(w).take()}); };
    if ((raw_request_.parts & raw::part_firmware_log) != 0) {
      Writer w;
      raw::append_firmware_log_head(w);
      w.put_bytes(machine_.log);
      add_raw(raw::type::firmware_log, std::move(w));
    }
    if ((raw_request_.parts & raw::part_ima_list) != 0) {
      Writer w;
      raw::append_ima_list_head(w, {});
      w.put_bytes(machine_.list);
      add_raw(raw::type::ima_list, std::move(w));
    }
    const endpoint::Quote quote = *machine_.tpm->quote(secret_.view(), HashAlgorithm::sha256, 0x47FF);
    if ((raw_request_.parts & raw::part_quote) != 0) {
      Writer w;
      const ByteVector area = public_area(machine_.tpm->ak(), o_.ak_attributes);
      raw::append_quote(w, {quote.attest, quote.signature, area});
      add_raw(raw::type::quote, std::move(w));
    }
    said.push_back(final(quote));
    return said;
  }

  static Pts final(const endpoint::Quote& quote) {
    const tpm::Attest attest = *tpm::parse_attest(quote.attest);
    const tpm::Signature signature = *tpm::parse_signature(quote.signature);
    Writer clock, firmware, selection, signed_bytes, w;
    clock.put(attest.clock.clock);
    clock.put(attest.clock.reset_count);
    clock.put(attest.clock.restart_count);
    clock.put(attest.clock.safe);
    firmware.put(attest.firmware_version);
    tpm::append_selections(selection, attest.selections);
    signed_bytes.put_bytes(signature.r);
    signed_bytes.put_bytes(signature.s);
    pts::append_simple_evidence_final(w, {true, pts::algorithm_bit(HashAlgorithm::sha256), attest.pcr_digest, attest.qualified_signer, clock.view(),
                                          firmware.view(), selection.view(), signed_bytes.view()});
    return pts_attribute(pt::simple_evidence_final, std::move(w));
  }

  World& world_;
  const Machine& machine_;
  const HandOptions& o_;
  LoopHost host_;
  server::Session session_;
  patnc::Segmenter segmenter_;
  std::uint32_t identifier_ = 1;
  bool over_ = false;
  std::optional<KeyAgreement> key_;
  ByteVector nonce_;
  Digest secret_;
  bool boot_asked_ = false, ima_asked_ = false;
  raw::Request raw_request_;
  HandOutcome out_;
};

}  // namespace

Pts pts_error(Writer&& value) { return {patnc::vendor_ietf, patnc::type::pa_tnc_error, std::move(value).take()}; }

HandOutcome hold(World& world, const Machine& machine, const HandOptions& options) { return Hand(world, machine, options).run(); }

bool HandOutcome::asked(std::uint32_t vendor, std::uint32_t type) const {
  for (const Said& batch : heard)
    for (const Pts& a : batch)
      if (a.is(vendor, type)) return true;
  return false;
}
const Pts* HandOutcome::find(std::uint32_t type) const {
  for (const Said& batch : heard)
    for (const Pts& a : batch)
      if (a.is(tcg, type)) return &a;
  return nullptr;
}
bool HandOutcome::logged(std::string_view text) const {
  return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) { return line.find(text) != line.npos; });
}
const pipeline::ItemResult* HandOutcome::item(std::string_view type, std::string_view argument) const {
  if (!verdict) return nullptr;
  for (const pipeline::ItemResult& i : verdict->items)
    if (i.type == type && (argument.empty() || i.argument == argument)) return &i;
  return nullptr;
}

server::policy::PolicyPtr asking_for(const std::vector<std::string>& items) {
  std::string text = "[groups.all]\nask = [\n";
  for (const std::string& item : items) {
    const std::size_t space = item.find(' ');
    text += "  { type = \"" + item.substr(0, space) + "\", argument = \"" + item.substr(space + 1) + "\" },\n";
  }
  auto policy = server::policy::parse_policy(text + "]\n", "policy.toml", [](const std::string&) { return fail(Fault::environment, "no file"); });
  EXPECT_TRUE(policy) << policy.error().list.front().text();
  return policy ? *policy : nullptr;
}

ByteVector public_area(const PublicKey& key, std::uint32_t attributes) {
  const Bytes point = Bytes(key.spki()).last(64);
  Writer w;
  w.put(std::uint16_t{0x0023});
  w.put(std::uint16_t{0x000B});
  w.put(attributes);
  for (const int v : {0x0000, 0x0010, 0x0018, 0x000B, 0x0003, 0x0010}) w.put(std::uint16_t(v));
  for (const Bytes coordinate : {point.first(32), point.last(32)}) {
    w.put(std::uint16_t{32});
    w.put_bytes(coordinate);
  }
  return std::move(w).take();
}

}  // namespace gatehouse::test
