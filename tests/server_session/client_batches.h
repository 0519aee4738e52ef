// A client made by hand: PA-TNC messages as bytes, packed into batches and sent to a session in this process; what
// comes back, taken apart. For what no client of ours sends.
//
//   World world;
//   world.settings.policy = policy_of("[groups.all]\nask = [\"FWDEN\"]\n");
//   ByHand client(world);
//   Answer a = client.say({Pa(patnc::vendor_ietf, patnc::subtype_operating_system).add(0, type::forwarding_enabled,
//   value)}); a.attribute(patnc::vendor_ietf, type::attribute_request);   // nullptr: none a = client.say({}); // an
//   empty CDATA batch a.access;                                                   // of the RESULT batch
#pragma once

#include "server/policy/policy.h"
#include "tests/server_session/conversation.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::test {

// One PA-TNC message in its PB-PA message. Its identifier is 5, so errors quote 01 000000 00000005.
class Pa {
 public:
  Pa(std::uint32_t vendor, std::uint32_t subtype, std::uint16_t collector = 1);
  Pa&& add(std::uint32_t vendor, std::uint32_t type, Bytes value, std::uint8_t flags = 0) &&;
  Pa&& add(std::uint32_t vendor, std::uint32_t type, std::string_view value, std::uint8_t flags = 0) &&;
  // Bytes behind what is there, whatever they are.
  Pa&& raw(Bytes bytes) &&;
  // A whole message in place of it.
  Pa&& body(ByteVector bytes) &&;
  // Exclusively to one validator.
  Pa&& to(std::uint16_t validator) &&;
  void append_to(Writer& w) const;

 private:
  pbtnc::PaMessage header_;
  ByteVector body_;
};

ByteVector client_batch(const std::vector<Pa>& messages, pbtnc::BatchType type = pbtnc::BatchType::cdata,
                        std::string_view languages = {});

// Values of attributes.
ByteVector u32(std::uint32_t value);
ByteVector product_information(std::string_view name, std::uint32_t vendor = 9586);
ByteVector string_version(std::string_view version);
ByteVector operational_status(std::string_view last_use);
ByteVector packages(const std::vector<std::pair<std::string, std::string>>& list);
ByteVector settings(const std::vector<std::pair<std::string, std::string>>& list);
// What strongSwan's OS collector sends unasked (spec part 1b §4.1), without the types in `leave_out`.
struct OsPush {
  std::string name = "Debian", version = "12 x86_64", last_boot = "2026-11-25T08:26:24Z", device = "host1";
  std::uint32_t forwarding = 0, default_password = 0;
  std::vector<std::uint32_t> leave_out{};  // IETF types; 0x100 + type for ITA-HSR's
};
Pa os_push(const OsPush& os = {});

struct ServerAttribute {
  std::uint8_t flags = 0;
  std::uint32_t vendor = 0, type = 0;
  ByteVector value;
};
struct ServerMessage {
  std::uint32_t vendor = 0, subtype = 0;
  std::uint16_t collector = 0, validator = 0;
  bool exclusive = false;
  ByteVector body;
  std::vector<ServerAttribute> attributes;
  // "IETF/Attribute Request" ...
  std::vector<std::string> names() const;
};
struct Answer {
  bool closed = false;                   // the session ended with it
  std::optional<pbtnc::BatchType> type;  // empty: no batch came
  std::size_t bytes = 0;
  std::vector<ServerMessage> messages;
  std::optional<std::uint32_t> assessment;
  std::optional<std::uint16_t> access;                       // 1 allowed, 2 denied, 3 quarantined
  std::vector<std::pair<std::string, std::string>> reasons;  // text, language
  std::vector<std::string> remediation_uris;
  std::vector<pbtnc::PbError> errors;

  std::vector<const ServerMessage*> of(std::uint32_t vendor, std::uint32_t subtype) const;
  const ServerAttribute* attribute(std::uint32_t vendor, std::uint32_t type) const;  // the first in all messages
  std::vector<const ServerAttribute*> attributes(std::uint32_t vendor, std::uint32_t type) const;
  // Types of all attributes, message after message.
  std::vector<std::string> names() const;
};

// One connection: transport negotiated, no TLS.
class ByHand {
 public:
  explicit ByHand(World& world, server::Peer peer = {"192.0.2.7:49152", "CN=host1", "certificate"});
  ~ByHand();

  Answer send(const ByteVector& batch);
  Answer say(const std::vector<Pa>& messages, std::string_view languages = {}) {
    return send(client_batch(messages, pbtnc::BatchType::cdata, languages));
  }
  // Says nothing until the verdict has come, at most `rounds` times.
  Answer until_result(Answer last, int rounds = 8);
  // The record of the session that had its result last.
  pipeline::Verdict verdict();
  bool logged(std::string_view part) const;

  LoopHost host;
  server::Session session;

 private:
  World& world_;
  std::uint32_t identifier_ = 0;
};

server::policy::PolicyPtr policy_of(std::string_view text);
// A device that the peer CN=host1 is, authenticated.
void enrol_host1(World& world, const std::string& device = "host1", const std::string& product = "Debian 12 x86_64");

}  // namespace gatehouse::test
