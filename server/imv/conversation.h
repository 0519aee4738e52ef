// What all IMVs of a session share: who the endpoint says it is, who it is known to be, and the way to speak to it.
#pragma once

#include "server/evidence/capture.h"
#include "server/imv/host.h"
#include "server/judge/assembly.h"
#include "server/policy/work_items.h"
#include "wire/patnc/patnc.h"
#include "wire/patnc/segmentation.h"
#include "wire/pbtnc/pbtnc.h"

namespace gatehouse::server {

// What the endpoint says of itself: claims.
struct EndpointInfo {
  std::optional<std::string> name, version, device_id;
  bool inconsistent = false;  // said twice, differently
  std::optional<std::int64_t> last_boot;  // milliseconds since 1970
  std::string product() const { return name && version ? *name + " " + *version : std::string(); }
};

struct PaOut {
  std::uint32_t vendor = 0, subtype = 0;
  std::uint16_t validator = 0;
  bool exclusive = false;
  std::uint16_t collector = pbtnc::any;
  ByteVector body;
};

class Conversation {
 public:
  Conversation(Host& the_host, const Settings& the_settings, State& the_state, Peer the_peer);

  Host& host;
  const Settings& settings;
  State& state;
  Peer peer;
  std::string session;
  EndpointInfo info;
  std::string language = "en";  // of the policy's catalogue
  std::string_view text(std::string_view english) const { return settings.policy->catalogue.text(english, language); }
  std::vector<PaOut> out;
  // It said that it keeps the connection (docs/formats/kept-connection.md), so it is a gatehouse-endpoint that stays in
  // Decided and knows what SRETRY means there.
  bool own_endpoint = false;

  // A new assessment on this connection, with a session identifier of its own. What the endpoint prefers stays.
  void begin_assessment();
  // The verdict is told, and the connection kept: what belonged to the assessment isn't needed, but for whose it was.
  void rest();
  // Once product and Device ID have come, or are known not to come: who this is, and what the policy asks of it. The
  // IMVs' work begins then.
  Result<void> identify();
  bool identified() const { return identified_; }
  const policy::Plan& plan() const { return plan_; }
  // What is known of who it is: the best that an unknown device gets is for the policy to say.
  policy::Standing standing() const { return standing_; }
  const std::optional<Device>& device() const { return device_; }  // its record; empty: not known
  // The recorded product where there is one, else the claimed one.
  std::string product() const;
  // The endpoint claims another one than its record has.
  bool other_product() const;
  // The part of the session's record that is known from here on.
  SessionIntent intent;
  // Whom the verdict is of.
  Subject subject() const;
  // What the plan was made by, and which results were asked for then.
  const policy::DeviceFacts& facts() const { return facts_; }
  const std::map<std::string, policy::PastResult>& history() const { return history_; }
  // Takes what may be kept of the evidence; null: nothing is to be kept.
  std::shared_ptr<evidence::Capture> capture;

  // One PA-TNC message to the endpoint.
  void say(std::uint32_t vendor, std::uint32_t subtype, std::uint16_t validator, patnc::Builder&& builder,
           std::uint16_t collector = pbtnc::any);
  patnc::Builder builder() const;
  // One more PA-TNC Error may be sent on this connection; past the last one the session ends.
  bool take_error();
  bool too_many_errors() const { return too_many_errors_; }
  patnc::Contract offered_contract() const;
  // What attributes in transfer may hold, of all IMVs together.
  patnc::ReassemblyBudget reassembly;

 private:
  std::uint32_t next_message_id_ = 0;
  unsigned errors_sent_ = 0;
  bool too_many_errors_ = false;
  bool identified_ = false;
  policy::Standing standing_ = policy::Standing::unknown;
  policy::Plan plan_;
  std::optional<Device> device_;
  std::optional<DeviceState> barred_;  // suspended, revoked or retired
  policy::DeviceFacts facts_;
  std::map<std::string, policy::PastResult> history_;
};

}  // namespace gatehouse::server
