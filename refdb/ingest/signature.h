// OpenPGP signatures, by gpgv(1) as a child process: it reads keys and checks signatures, this judges what it says. Data
// goes over in memory files, nothing is written to disk.
//
//   GH_TRY(const auto keyring, Keyring::open({"/usr/share/keyrings/debian-archive-keyring.gpg"}));
//   GH_TRY(const SignedText release, keyring.verify_clearsigned(in_release));
//   parse_release(release.text);                                    // nothing that isn't signed
//
// A signature counts when its key is in the keyring and neither expired nor revoked, the signature itself has not
// expired, and its digest isn't SHA-1, MD5 or RIPEMD-160. Of several one has to count, and none may be wrong.
// All functions may be called from several threads at once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse::refdb {

struct SignedText {
  ByteVector text;
  std::string fingerprint;  // of the primary key, in upper-case hexadecimal
};

class Keyring {
 public:
  // OpenPGP keys, binary or armored, and GnuPG's keyboxes; at least one file. Read once: what happens to the files later
  // doesn't matter.
  static Result<Keyring> open(const std::vector<std::string>& files);

  // A message of the cleartext signature framework (RFC 4880 7), and nothing else than that.
  Result<SignedText> verify_clearsigned(Bytes message) const;
  // The key's fingerprint. The signature is binary or armored.
  Result<std::string> verify_detached(Bytes signature, Bytes data) const;

 private:
  struct File;
  std::vector<std::shared_ptr<const File>> files_;
};

// What gpgv said on --status-fd (GnuPG doc/DETAILS): the fingerprint of the key whose signature counts, or Fault::denied
// with the reason why none does.
Result<std::string> judge_signatures(std::string_view status);

// The keys of an armored file, of one block or more (RFC 4880 6.2); a file without a block is taken as binary.
Result<ByteVector> dearmored(Bytes file);

}  // namespace gatehouse::refdb
