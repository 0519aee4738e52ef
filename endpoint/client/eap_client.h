// An EAP supplicant with EAP-TTLS and, inside it, a method of authentication and PT-EAP, sans I/O (RFC 3748, RFC 5281,
// RFC 7171; spec part 1a §2): EAP requests in, responses out. It says the outer name to whoever asks, and anything else only
// to a server whose certificate it has verified.
//
//   EapClient client(config, collectors);          // and its TLS: see tls_tunnel.h
//   while (!client.over()) answer = client.receive(request)
//   if (client.succeeded()) … client.keys(), client.outcome()
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/secret.h"
#include "endpoint/client/tls_tunnel.h"
#include "endpoint/client/tnc_client.h"
#include "wire/eap/eap.h"
#include "wire/ttls/ttls.h"

namespace gatehouse::endpoint {

class EapClient {
 public:
  enum class Method : std::uint8_t { any, md5, mschapv2, gtc, pap };  // any: whatever EAP method the server begins with
  struct Config {
    TncClient::Config tnc;
    std::string outer_identity = "anonymous";
    std::string user;  // inside the tunnel; with a certificate it may be empty
    Secret password;
    Method method = Method::any;
    std::size_t fragment_size = 1'024;  // whole EAP packets
    bool no_attestation = false;        // refuses PT-EAP, as supplicants do that don't know it
    bool eap_tnc = false;  // as a client that knows no PT-EAP, but its older form (EAP type 38)
  };
  // The collectors outlive the client.
  EapClient(Config config, std::unique_ptr<TlsTunnel> tunnel, const std::vector<Imc*>& imcs);

  // nullopt: nothing is to be said (Success, Failure), or it was dropped.
  Result<std::optional<ByteVector>> receive(Bytes packet);
  // The response to an EAP-Request/Identity that the gateway has asked by itself.
  ByteVector identity(std::uint8_t identifier = 1) const;

  bool over() const { return over_; }
  bool succeeded() const { return succeeded_; }
  // MSK and EMSK, 64 bytes each; once succeeded().
  Result<Secret> keys() const { return tunnel_->keys(); }
  const std::optional<Outcome>& outcome() const { return tnc_.outcome(); }
  const std::optional<Error>& error() const { return error_; }
  std::vector<std::string> notes() const { return tnc_.notes(); }
  // The server has taken up an earlier session, and the method was left out.
  bool resumed() const { return tunnel_->resumed(); }
  // "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty: there is no tunnel yet.
  std::string description() const { return tunnel_->established() ? tunnel_->description() : std::string(); }

 private:
  Result<ByteVector> on_ttls(std::uint8_t identifier, Bytes data);
  Result<void> on_tls(Bytes tls);
  Result<void> on_plaintext(Bytes plaintext);
  Result<ByteVector> on_inner(const eap::Packet& request);
  Result<ByteVector> on_md5(const eap::Packet& request);
  Result<ByteVector> on_mschapv2(const eap::Packet& request);
  Result<ByteVector> on_pt_eap(const eap::Packet& request);
  ByteVector first_words() const;
  bool takes(Method method) const { return config_.method == method || config_.method == Method::any; }

  Config config_;
  std::unique_ptr<TlsTunnel> tunnel_;
  TncClient tnc_;
  ttls::Fragmenter out_;
  ttls::Reassembler in_;
  bool begun_ = false, spoken_ = false, assessing_ = false, over_ = false, succeeded_ = false;
  std::string expected_proof_;  // of MSCHAPv2
  bool authenticated_server_ = false;
  std::optional<Error> error_;
};

}  // namespace gatehouse::endpoint
