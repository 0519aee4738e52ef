// EFI_SIGNATURE_LIST, in which the firmware keeps db and dbx (UEFI specification 32.4.1). Little-endian. The lists of a
// variable stand one behind the other; each has entries of one type and one size:
//
//   SignatureType 16 | SignatureListSize u32 | SignatureHeaderSize u32 | SignatureSize u32 | header |
//   n × (SignatureOwner 16 | data of SignatureSize - 16)
//
//   SignatureLists lists(variable->data);
//   for (;;) { GH_TRY(const auto signature, lists.next()); if (!signature) break; ... }
#pragma once

#include <cstdint>
#include <optional>

#include "base/reader.h"

namespace gatehouse::eventlog {

struct Signature {
  enum class Kind : std::uint8_t {
    sha256,       // data: digest of an image, 32 bytes
    x509,         // data: DER certificate, one a list
    x509_sha256,  // data: SHA-256 of a certificate's TBSCertificate, 32 bytes, and the time of its revocation, 16 bytes
    other,        // a type that nothing here looks at
  };
  Kind kind = Kind::other;
  Bytes owner;  // GUID, 16 bytes
  Bytes data;   // borrowed from the variable
};

class SignatureLists {
 public:
  explicit SignatureLists(Bytes variable) : rest_(variable, spec) {}
  // The next entry of the next list; nullopt: that was all. A list whose sizes contradict each other, the variable or
  // its type is malformed.
  Result<std::optional<Signature>> next();

 private:
  static constexpr std::string_view spec = "EFI_SIGNATURE_LIST";
  Result<void> begin_list();

  Reader rest_;                    // behind the list that is read
  Reader entries_{Bytes(), spec};  // of that list
  std::size_t entry_size_ = 0;
  Signature::Kind kind_ = Signature::Kind::other;
};

}  // namespace gatehouse::eventlog
