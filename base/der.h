// What OpenSSL's ASN.1 objects are in our types, and PEM is read with; for the few files that see OpenSSL at all.
#pragma once

#include <openssl/asn1.h>
#include <openssl/crypto.h>

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/owned.h"

namespace gatehouse {

// DER by one of OpenSSL's i2d functions; empty: it can't be encoded.
template <class T>
ByteVector encoded(const T* value, int (*encode)(const T*, unsigned char**)) {
  unsigned char* der = nullptr;
  const int size = encode(value, &der);
  if (size <= 0) return {};
  ByteVector out(reinterpret_cast<std::byte*>(der), reinterpret_cast<std::byte*>(der) + size);
  OPENSSL_free(der);
  return out;
}

// Seconds since 1970; nullopt: there is no time, or it can't be read.
inline std::optional<std::int64_t> seconds_of(const ASN1_TIME* time) {
  const Owned<ASN1_TIME, ASN1_TIME_free> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0, seconds = 0;
  if (time == nullptr || !epoch || ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) return std::nullopt;
  return std::int64_t(days) * 86'400 + seconds;
}

// For OpenSSL's PEM readers: there is nobody to ask.
inline int no_passphrase(char*, int, int, void*) { return -1; }

}  // namespace gatehouse
