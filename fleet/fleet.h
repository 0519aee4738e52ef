// A fleet of simulated endpoints on disk. gatehouse-fleet makes it once and lets it attest as often as wanted.
//
//   DIR/fleet.json              how it was made; written last
//   DIR/ca.pem, ca.key          the CA of the client certificates: the server's client_ca
//   DIR/clients/000000.pem      certificate and key of an endpoint, ECDSA P-256
//   DIR/keys/000000.pem         its attestation key, that a software TPM signs with (--keys: elsewhere)
//   DIR/devices.jsonl           for gatehouse device import: keys trusted, firmware baselines approved
//   DIR/images/0/firmware.log   TCG crypto-agile event log, of all endpoints of the image
//   DIR/images/0/ima.list       IMA list, binary, template ima-ng with SHA-256: boot_aggregate and the files
//   DIR/images/0/ima.more       entries that a running endpoint may have besides, in order
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "endpoint/tpm/tpm.h"

namespace gatehouse::fleet {

struct Fleet {
  std::string folder;
  std::string keys;  // the attestation keys' folder
  std::uint32_t endpoints = 0, images = 1;
  endpoint::KeyAlgorithm ak = endpoint::KeyAlgorithm::rsassa;
  std::uint32_t boot = 136;  // firmware events that extend a PCR
  std::uint32_t ima = 1732;  // files; `unknown` of them have no reference
  std::uint32_t unknown = 107;
  std::uint32_t more = 64;  // entries of ima.more
  std::string product;
  std::uint64_t seed = 1;
  std::int64_t made = 0;  // milliseconds since 1970: when the TPMs' clocks were 0

  std::string path(const std::string& name) const { return folder + "/" + name; }
  std::string client(std::uint32_t endpoint) const { return path("clients/" + number(endpoint) + ".pem"); }
  std::string key(std::uint32_t endpoint) const { return keys + "/" + number(endpoint) + ".pem"; }
  std::string image(std::uint32_t image, const std::string& name) const {
    return path("images/" + std::to_string(image) + "/" + name);
  }
  std::uint32_t image_of(std::uint32_t endpoint) const { return endpoint % images; }
  static std::string number(std::uint32_t endpoint);  // six digits or more
};
// Of DIR/fleet.json.
Result<Fleet> load_fleet(const std::string& folder);
Result<void> save_fleet(const Fleet& fleet);

struct MakeOptions {
  Fleet fleet;
  std::string references;  // the reference store
  unsigned threads = 0;    // 0: as many as there are processors
  bool quiet = false;      // nothing on standard error
};
// What is there of an earlier run that was interrupted is used; keys are never made twice. Fault::usage: there is a
// fleet that was made otherwise, or the product has too few references.
Result<void> make_fleet(const MakeOptions& options);

// Firmware log and IMA lists of one image. Deterministic: the same for the same fleet and references.
struct Image {
  ByteVector log, list, more;
};
Result<std::vector<Image>> make_images(const Fleet& fleet, const std::string& references);

// A CA and its certificates, PEM.
class ClientCa {
 public:
  // Read from DIR/ca.pem and ca.key, or made there.
  static Result<ClientCa> open(const Fleet& fleet);
  ClientCa(ClientCa&&) noexcept;
  ~ClientCa();
  // Certificate and key, PEM; the name is the certificate's common name. Safe for concurrent use.
  enum class Use : std::uint8_t { client, server };
  Result<std::string> issue(const std::string& name, std::uint64_t serial, Use use = Use::client) const;

 private:
  struct State;
  explicit ClientCa(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::fleet
