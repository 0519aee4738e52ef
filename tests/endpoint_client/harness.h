// A server for the client session: hands over given batches, and takes the client's apart.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "endpoint/client/session.h"
#include "endpoint/imc/attestation/attestation_imc.h"
#include "endpoint/imc/os/os_imc.h"
#include "endpoint/tpm/software.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::endpoint::test {

inline const std::string interop = std::string(GATEHOUSE_TEST_DATA) + "/interop/";

inline ByteVector file(const std::string& path) {
  auto bytes = read_file(path, std::size_t(1) << 26);
  EXPECT_TRUE(bytes.has_value()) << path;
  return bytes ? *std::move(bytes) : ByteVector{};
}

// One RSA and one ECC key for the whole run: making RSA keys is slow.
inline std::shared_ptr<const SigningKey> signing_key(KeyAlgorithm algorithm) {
  static const auto rsa = *SigningKey::generate(KeyAlgorithm::rsassa);
  static const auto pss = *SigningKey::from_pem(rsa->pem(), KeyAlgorithm::rsapss);
  static const auto ecc = *SigningKey::generate(KeyAlgorithm::ecc);
  return algorithm == KeyAlgorithm::rsassa ? rsa : algorithm == KeyAlgorithm::rsapss ? pss : ecc;
}

// Remembers what was quoted.
class SpyTpm final : public Tpm {
 public:
  explicit SpyTpm(Tpm& tpm) : tpm_(tpm) {}
  const PublicKey& ak() const override { return tpm_.ak(); }
  ByteVector public_area() const override { return tpm_.public_area(); }
  Result<TpmProperties> properties() override { return tpm_.properties(); }
  Result<std::vector<HashAlgorithm>> banks() override { return tpm_.banks(); }
  Result<Digest> read_pcr(HashAlgorithm bank, std::uint32_t pcr) override { return tpm_.read_pcr(bank, pcr); }
  Result<Quote> quote(Bytes data, HashAlgorithm bank, std::uint32_t pcrs) override {
    auto made = tpm_.quote(data, bank, pcrs);
    if (made) quotes.push_back(*made);
    return made;
  }
  std::vector<Quote> quotes;

 private:
  Tpm& tpm_;
};

struct OwnAttribute {
  std::uint8_t flags = 0;
  std::uint32_t vendor = 0, type = 0;
  ByteVector value;
  bool is(std::uint32_t v, std::uint32_t t) const { return vendor == v && type == t; }
  friend bool operator==(const OwnAttribute&, const OwnAttribute&) = default;
};

struct PaRecord {
  std::uint32_t vendor = 0, subtype = 0;
  bool exclusive = false;
  std::uint16_t collector = 0, validator = 0;
  std::vector<OwnAttribute> attributes;
};

// The PB-PA messages of a client's batch.
inline std::vector<PaRecord> pa_records(Bytes batch) {
  std::vector<PaRecord> out;
  const auto parsed = pbtnc::parse_batch(batch, true);
  EXPECT_TRUE(parsed.has_value());
  if (!parsed) return out;
  for (const pbtnc::Message& m : parsed->messages) {
    if (m.vendor != 0 || m.type != pbtnc::type::pa) continue;
    const pbtnc::PaMessage pa = pbtnc::pa_message(m);
    PaRecord record{pa.vendor, pa.subtype, pa.exclusive, pa.collector, pa.validator, {}};
    const auto message = patnc::parse_message(pa.body, [](std::uint32_t, std::uint32_t) { return true; });
    EXPECT_TRUE(message.has_value() && !message->refusal);
    if (message)
      for (const patnc::Attribute& a : message->attributes) record.attributes.push_back({a.flags, a.vendor, a.type, to_vector(a.value)});
    out.push_back(std::move(record));
  }
  return out;
}

inline bool is_contract_request(const OwnAttribute& a) { return a.is(patnc::vendor_tcg, patnc::type::contract_request); }

// What tests of a collector look at: Exchange adds a contract request to the first message of each subtype.
inline std::vector<PaRecord> without_contracts(std::vector<PaRecord> records) {
  for (PaRecord& r : records) std::erase_if(r.attributes, is_contract_request);
  std::erase_if(records, [](const PaRecord& r) { return r.attributes.empty(); });
  return records;
}

inline pbtnc::BatchType batch_type(Bytes batch) { return pbtnc::BatchType(std::to_integer<unsigned>(batch[3]) & 0x0F); }

// The server's side of PT-TLS.
class Server {
 public:
  explicit Server(Session& session) : session_(session) {}

  Session::Step last;
  std::vector<ByteVector> batches;                  // that the client sent
  std::vector<pttls::Type> types;                   // of its messages
  std::vector<ByteVector> values;                   // of its other messages

  void start() { take(session_.start()); }
  void send(pttls::Type type, Bytes value) {
    Writer w;
    pttls::append_message(w, type, identifier_++, value);
    take(session_.feed(w.view()));
  }
  void retry() { take(session_.retry()); }
  void send_bytes(Bytes bytes) { take(session_.feed(bytes)); }
  void negotiate() {
    start();
    Writer version;
    pttls::append_version_response(version, 1);
    send(pttls::Type::version_response, version.view());
    send(pttls::Type::sasl_mechanisms, {});
  }
  void send_batch(Bytes batch) { send(pttls::Type::pb_tnc_batch, batch); }
  void send_batch(pbtnc::BatchType type, Bytes messages = {}) { send_batch(pbtnc::batch(type, true, messages)); }
  // One PA-TNC message of these attributes in an SDATA batch.
  void send_attributes(std::uint32_t vendor, std::uint32_t subtype, const std::vector<OwnAttribute>& attributes, std::uint16_t validator = 3,
                       pbtnc::BatchType type = pbtnc::BatchType::sdata) {
    send_batch(type, pa(vendor, subtype, attributes, validator));
  }
  static ByteVector pa(std::uint32_t vendor, std::uint32_t subtype, const std::vector<OwnAttribute>& attributes, std::uint16_t validator = 3) {
    Writer body;
    body.put(std::uint32_t{0x01000000});
    body.put(std::uint32_t{77});
    for (const OwnAttribute& a : attributes) patnc::append_attribute(body, a.flags, a.vendor, a.type, a.value);
    pbtnc::PaMessage message;
    message.vendor = vendor;
    message.subtype = subtype;
    message.validator = validator;
    message.body = body.view();
    Writer w;
    pbtnc::append_pa(w, message);
    return std::move(w).take();
  }
  static ByteVector result(std::uint32_t assessment, std::uint16_t recommendation) {
    Writer w;
    pbtnc::append_assessment_result(w, assessment);
    if (recommendation != 0) pbtnc::append_access_recommendation(w, recommendation);
    return std::move(w).take();
  }
  // Attributes of the client's latest batch, but for its own Segmentation Contract Requests.
  std::vector<OwnAttribute> attributes() const {
    std::vector<OwnAttribute> out;
    if (!batches.empty())
      for (const PaRecord& r : without_contracts(pa_records(batches.back()))) out.insert(out.end(), r.attributes.begin(), r.attributes.end());
    return out;
  }
  // The code and offset of a fatal PB-TNC error in the client's latest batch, which is a CLOSE.
  std::optional<pbtnc::PbError> fatal() const {
    if (batches.empty() || batch_type(batches.back()) != pbtnc::BatchType::close) return std::nullopt;
    const auto parsed = pbtnc::parse_batch(batches.back(), true);
    if (!parsed || parsed->messages.empty()) return std::nullopt;
    return pbtnc::pb_error(parsed->messages[0]);
  }

 private:
  void take(Session::Step step) {
    framer_.feed(step.send);
    for (;;) {
      const auto message = framer_.next();
      ASSERT_TRUE(message.has_value());
      if (*message == nullptr) break;
      EXPECT_EQ((*message)->header.identifier, expected_++);
      types.push_back((*message)->header.kind());
      if ((*message)->header.kind() == pttls::Type::pb_tnc_batch)
        batches.push_back(to_vector((*message)->value));
      else
        values.push_back(to_vector((*message)->value));
    }
    last = std::move(step);
  }
  Session& session_;
  pttls::Framer framer_;
  std::uint32_t identifier_ = 0, expected_ = 0;
};

inline OwnAttribute attribute(std::uint32_t vendor, std::uint32_t type, Bytes value, std::uint8_t flags = 0) { return {flags, vendor, type, to_vector(value)}; }
inline OwnAttribute contract_request(std::uint32_t message, std::uint32_t segment) {
  Writer w;
  patnc::append_contract(w, {message, segment});
  return attribute(patnc::vendor_tcg, patnc::type::contract_request, w.view());
}

}  // namespace gatehouse::endpoint::test
