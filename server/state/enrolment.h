// Enrolment by credential activation (docs/formats/enrolment.md): what an operator opens, which endorsement key (EK) a
// device has, and the attestation key (AK) that was proved to live beside it.
//
//   open_enrolment_blocking(offer)  ─ the operator: who has this token, and the EK where it is named, becomes this device
//   activate(activation)            ─ a session: the TPM with this EK holds this AK, and the token was proved
//
// An offer is for one activation and ends with its time. Without one an AK is activated only for a device that is trusted
// and was enrolled with the same EK: the same TPM has a new AK.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/public_key.h"
#include "server/state/life.h"

namespace gatehouse::server {

struct EnrolmentOffer {
  std::string id;        // of the token, 32 hexadecimal digits
  ByteVector key;        // 32 bytes: what the token's proof is checked with
  std::string device;    // Device ID; empty: the AK's key id becomes it
  std::optional<std::string> product, model;
  std::string identity;  // authenticated identity that the endpoint must have, and is bound to; empty: any
  std::string ek;        // SHA-256 of the EK's SubjectPublicKeyInfo, hex; empty: a certificate has to vouch for the EK
  bool keep_keys = false;     // AKs that were activated before stay trusted
  std::int64_t opened = 0, until = 0;  // milliseconds since 1970
  std::string by, why;
  friend bool operator==(const EnrolmentOffer&, const EnrolmentOffer&) = default;
};
inline constexpr std::size_t max_offers = 1'000;  // open ones
inline constexpr std::int64_t longest_offer_ms = std::int64_t(30) * 24 * 3600 * 1000;

// At `now`; a clock that was set back opens nothing for longer.
constexpr bool is_open(const EnrolmentOffer& offer, std::int64_t now) {
  return now <= offer.until && offer.opened - now <= clock_tolerance_ms;
}

// The EK that a device was enrolled with.
struct BoundEk {
  std::string pin;         // SHA-256 of its SubjectPublicKeyInfo, hex
  ByteVector name;         // TPM2B_NAME content
  std::string certificate; // SHA-256 of the DER, hex; empty: the operator named the key
  std::string issuer;      // of it
  std::string manufacturer, model, version;  // what the certificate says of the TPM
  std::int64_t since = 0;  // milliseconds since 1970
  std::string session;     // that proved it
  friend bool operator==(const BoundEk&, const BoundEk&) = default;
};

// What a session proved.
struct Activation {
  std::string session;
  std::string identity;  // authenticated; empty: none
  std::string offer;     // id; empty: by the EK that the device has
  PublicKey ak;
  std::uint32_t object_attributes = 0;
  HashAlgorithm name_algorithm = HashAlgorithm::sha256;
  ByteVector qualified_name;  // as the endpoint says; empty: not told
  BoundEk ek;
};

}  // namespace gatehouse::server
