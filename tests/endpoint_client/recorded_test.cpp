// The client session against the server's side of the recorded conversations: what it says must be what strongSwan's
// client said there, attribute by attribute.
#include <map>

#include "base/hex.h"
#include "harness.h"

namespace gatehouse::endpoint::test {
namespace {

namespace type = pts::type;

struct Conversation {
  std::string name;
  KeyAlgorithm key;
  std::string evidence = "base";
  std::size_t max_batch = 65'522;
  HashAlgorithm bank = HashAlgorithm::sha256;
  DhGroup group = DhGroup::ecp256;
  bool certificate = false, pcr_values = false;
  std::string measured{};  // list that is in the TPM, where another one is sent
  Recommendation recommendation = Recommendation::allow;
};

std::ostream& operator<<(std::ostream& out, const Conversation& c) { return out << c.name; }

std::vector<std::string> batch_files(const std::string& conversation, std::string_view direction) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(interop + conversation + "/batches"))
    if (entry.path().filename().string().find(direction) != std::string::npos) out.push_back(entry.path().string());
  std::sort(out.begin(), out.end());
  return out;
}

bool ours(const PaRecord& r) { return r.vendor == patnc::vendor_tcg || r.subtype == patnc::subtype_operating_system; }

std::string measurement_time_of(const std::vector<PaRecord>& records, const pts::Component& component) {
  for (const PaRecord& r : records)
    for (const OwnAttribute& a : r.attributes) {
      if (!a.is(patnc::vendor_tcg, type::simple_component_evidence)) continue;
      Reader reader(a.value, "");
      const auto e = pts::parse_simple_component_evidence(reader);
      if (e && e->component == component) return std::string(e->time);
    }
  return "0000-00-00T00:00:00Z";
}

std::vector<SymlinkTarget> symlinks_of(const std::vector<PaRecord>& records) {
  std::vector<SymlinkTarget> out;
  for (const PaRecord& r : records)
    for (const OwnAttribute& a : r.attributes) {
      if (!a.is(patnc::vendor_ita, pts::ita_symlinks)) continue;
      Reader reader(a.value, "");
      const auto links = pts::parse_symlinks(reader);
      if (links)
        for (const pts::Symlink& l : *links) out.push_back({std::string(l.link), std::string(l.target)});
    }
  return out;
}

class Recorded : public ::testing::TestWithParam<Conversation> {};

TEST_P(Recorded, client_says_what_strongswan_said) {
  const Conversation& c = GetParam();
  std::vector<PaRecord> recorded;
  for (const std::string& path : batch_files(c.name, "c2s"))
    for (PaRecord& r : pa_records(file(path)))
      if (ours(r)) recorded.push_back(std::move(r));
  // strongSwan's client asks for contracts for SWIMA alone; what ours asks for is tested elsewhere.
  recorded = without_contracts(std::move(recorded));

  const ByteVector log = file(interop + "evidence/base/binary_bios_measurements");
  const ByteVector list = file(interop + "evidence/" + c.evidence + "/binary_runtime_measurements");
  SoftwareTpm software(signing_key(c.key));
  software.startup(3);
  ASSERT_TRUE(software.extend_event_log(log));
  ASSERT_TRUE(software.extend_ima_list(c.measured.empty() ? list : file(interop + "evidence/" + c.measured + "/binary_runtime_measurements")));
  SpyTpm tpm(software);
  const auto boot = firmware_evidence(log, c.bank, {measurement_time_of(recorded, pts::component_boot), c.pcr_values, 3});
  const auto ima = ima_evidence(list, c.bank, {measurement_time_of(recorded, pts::component_ima), c.pcr_values, 0});
  ASSERT_TRUE(boot && ima);
  FixedEvidence source(*boot, *ima, startup_locality(log), symlinks_of(recorded));
  OsInfo info;
  info.name = "Debian";
  info.product_vendor = product_vendor(info.name);
  set_version(info, "12 x86_64");
  info.forwarding = 0;
  info.device_id = software.ak().key_id();
  OsImc os(info);
  AttestationConfig config;
  config.strongest = c.bank;
  config.dh_groups = {c.group};
  if (c.certificate) config.aik_certificate = file(interop + "keys/ecc/ak.cert.der");
  AttestationImc attestation(config, tpm, source);
  Session session({.tnc = {.max_batch = c.max_batch}}, {&os, &attestation});
  Server server(session);
  server.negotiate();
  for (const std::string& path : batch_files(c.name, "s2c")) {
    ASSERT_FALSE(server.last.ended) << path << ": " << (session.error() ? session.error()->text() : "");
    server.send_batch(file(path));
  }
  EXPECT_TRUE(server.last.ended);
  ASSERT_FALSE(session.error()) << session.error()->text();
  ASSERT_TRUE(session.outcome());
  EXPECT_EQ(session.outcome()->recommendation, c.recommendation);
  EXPECT_EQ(batch_type(server.batches.back()), pbtnc::BatchType::close);
  EXPECT_EQ(attestation.warnings().empty(), c.measured.empty());

  // The first batch begins with the same language preference, byte for byte.
  const ByteVector first = file(batch_files(c.name, "c2s").front());
  EXPECT_TRUE(equal(Bytes(server.batches.front()).subspan(8, 31), Bytes(first).subspan(8, 31)));
  std::vector<PaRecord> said;
  for (const ByteVector& batch : server.batches) {
    EXPECT_LE(batch.size(), c.max_batch);
    for (PaRecord& r : without_contracts(pa_records(batch))) said.push_back(std::move(r));
  }
  ASSERT_EQ(said.size(), recorded.size());
  for (std::size_t i = 0; i < said.size(); ++i) {
    EXPECT_EQ(said[i].vendor, recorded[i].vendor);
    EXPECT_EQ(said[i].subtype, recorded[i].subtype);
    EXPECT_EQ(said[i].exclusive, recorded[i].exclusive);
    EXPECT_EQ(said[i].collector, recorded[i].collector);
    EXPECT_EQ(said[i].validator, recorded[i].validator);
    ASSERT_EQ(said[i].attributes.size(), recorded[i].attributes.size()) << "message " << i;
    for (std::size_t j = 0; j < said[i].attributes.size(); ++j) {
      const OwnAttribute& a = said[i].attributes[j];
      const OwnAttribute& b = recorded[i].attributes[j];
      const std::string where = "message " + std::to_string(i) + ", attribute " + std::to_string(j) + ", " + patnc::attribute_name(b.vendor, b.type);
      EXPECT_EQ(a.vendor, b.vendor) << where;
      EXPECT_EQ(a.type, b.type) << where;
      EXPECT_EQ(a.flags, b.flags) << where;
      ASSERT_EQ(a.value.size(), b.value.size()) << where;
      // What is another one's by nature: key, nonce, key agreement, boot time, signature.
      const bool own = b.is(patnc::vendor_ita, patnc::type::ita_device_id) || b.is(0, patnc::type::operational_status) ||
                       b.is(patnc::vendor_tcg, type::dh_nonce_response) || (b.is(patnc::vendor_tcg, type::aik) && !c.certificate) ||
                       b.is(patnc::vendor_tcg, type::simple_evidence_final);
      if (!own) {
        EXPECT_EQ(to_hex(a.value), to_hex(b.value)) << where;
      }
    }
  }

  // The final attribute: the same PCRs with the same digest, and exactly what the TPM signed.
  const auto final_of = [](const std::vector<PaRecord>& records) -> const OwnAttribute* {
    for (const PaRecord& r : records)
      for (const OwnAttribute& a : r.attributes)
        if (a.is(patnc::vendor_tcg, type::simple_evidence_final)) return &a;
    return nullptr;
  };
  const OwnAttribute* const then = final_of(recorded);
  const OwnAttribute* const now = final_of(said);
  ASSERT_EQ(then != nullptr, now != nullptr);
  if (now == nullptr) {
    EXPECT_TRUE(tpm.quotes.empty());
    return;
  }
  Reader then_reader(then->value, ""), now_reader(now->value, "");
  const auto a = pts::parse_simple_evidence_final(now_reader);
  const auto b = pts::parse_simple_evidence_final(then_reader);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->hash, b->hash);
  EXPECT_EQ(to_hex(a->selection), to_hex(b->selection));
  EXPECT_EQ(to_hex(a->pcr_digest), to_hex(b->pcr_digest));
  ASSERT_EQ(tpm.quotes.size(), 1U);
  const auto attest = tpm::parse_attest(tpm.quotes[0].attest);
  ASSERT_TRUE(attest);
  EXPECT_EQ(to_hex(tpm::build_quote(a->qualified_signer, attest->extra_data, a->clock_info, a->firmware_version, a->selection, a->pcr_digest)),
            to_hex(tpm.quotes[0].attest));
  const bool ecc = c.key == KeyAlgorithm::ecc;
  const ByteVector signature = ecc ? ecdsa_der(a->signature.first(32), a->signature.last(32)) : to_vector(a->signature);
  EXPECT_TRUE(software.ak().verify(ecc ? SignatureScheme::ecdsa : SignatureScheme::rsassa, HashAlgorithm::sha256, tpm.quotes[0].attest, signature));
}

constexpr auto rsa = KeyAlgorithm::rsassa;
constexpr auto ecc = KeyAlgorithm::ecc;

INSTANTIATE_TEST_SUITE_P(Conversations, Recorded,
                         ::testing::Values(Conversation{.name = "sasl-rsa", .key = rsa}, Conversation{.name = "sasl-ecc", .key = ecc},
                                           Conversation{.name = "mutual-tls-rsa", .key = rsa},
                                           Conversation{.name = "mutual-tls-ecc-aikcert", .key = ecc, .certificate = true},
                                           Conversation{.name = "mutual-tls12-rsa-modp2048-pcrinfo", .key = rsa, .group = DhGroup::modp2048, .pcr_values = true},
                                           Conversation{.name = "sasl-rsa-32k", .key = rsa, .max_batch = 32'754},
                                           Conversation{.name = "sasl-ecc-2k", .key = ecc, .max_batch = 2'080},
                                           Conversation{.name = "sasl-rsa-sha384-ecp384", .key = rsa, .evidence = "base384", .bank = HashAlgorithm::sha384, .group = DhGroup::ecp384},
                                           Conversation{.name = "changed-file-rsa", .key = rsa, .evidence = "changed", .recommendation = Recommendation::isolate},
                                           Conversation{.name = "tampered-list-rsa", .key = rsa, .evidence = "tampered", .measured = "base", .recommendation = Recommendation::isolate},
                                           Conversation{.name = "untrusted-ak-cert-ecc", .key = ecc, .certificate = true, .recommendation = Recommendation::isolate},
                                           Conversation{.name = "untrusted-ak-rsa", .key = rsa}),
                         [](const auto& test) {
                           std::string name = test.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace gatehouse::endpoint::test
