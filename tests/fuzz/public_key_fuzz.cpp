// Keys and certificates as endpoints and operators' files bring them.
#include <cstdlib>

#include "base/x509.h"

using namespace gatehouse;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

// What is read of a key is the key: its canonical form reads back as the same, and proves nothing that it didn't sign.
void hold(const PublicKey& key) {
  const auto again = PublicKey::from_spki(key.spki());
  require(again && again->pin() == key.pin() && again->type() == key.type() && again->bits() == key.bits());
  const auto from_text = PublicKey::from_pem(key.pem());
  require(from_text && from_text->key_id() == key.key_id());
  const SignatureScheme scheme = key.type() == KeyType::rsa ? SignatureScheme::rsassa : SignatureScheme::ecdsa;
  const ByteVector none(key.type() == KeyType::rsa ? (key.bits() + 7) / 8 : 8);
  require(!key.verify(scheme, HashAlgorithm::sha256, key.spki(), none));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  if (const auto key = PublicKey::from_spki(all)) hold(*key);
  if (const auto key = PublicKey::from_pem(as_text(all))) hold(*key);
  const auto key = PublicKey::from_certificate(all);
  if (key) hold(*key);
  for (const auto& certificate : {Certificate::from_der(all), Certificate::from_pem(as_text(all))}) {
    if (!certificate) continue;
    require(certificate->key().pin() == PublicKey::from_certificate(certificate->der()).value().pin());
    require(certificate->fingerprint().size() == 64);
  }
  (void)distinguished_name(all);
  return 0;
}
