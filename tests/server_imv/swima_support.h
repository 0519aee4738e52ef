// What the tests of the SWIMA IMV share: a device of its own for each, and what its collector says.
#pragma once

#include "tests/server_imv/support.h"
#include "wire/patnc/segmentation.h"
#include "wire/swima/swima.h"

namespace gatehouse::test {

inline constexpr std::uint32_t swima_subtype = patnc::subtype_swima, epoch = 0x38cd4cc6;

inline Pa swima_message(std::uint16_t collector = 2) { return {ietf, swima_subtype, collector}; }

struct Software {
  std::string id;
  std::string tag{};
  std::uint32_t record_id = 1;
};
inline std::vector<Software> named(std::initializer_list<const char*> names) {
  std::vector<Software> out;
  for (const char* name : names) out.push_back({name, {}, std::uint32_t(out.size() + 1)});
  return out;
}
inline swima::SoftwareRecord record_of(const Software& s) {
  return {.record_id = s.record_id, .source = 1, .identifier = s.id, .record = as_bytes(s.tag)};
}
// Values of answers.
inline ByteVector inventory(std::uint32_t request, std::uint32_t last_eid, const std::vector<Software>& software,
                            swima::Content content = swima::Content::identifiers, std::uint32_t its_epoch = epoch) {
  std::vector<swima::SoftwareRecord> records;
  for (const Software& s : software) records.push_back(record_of(s));
  Writer w;
  swima::append_inventory(w, {.request_id = request, .eid_epoch = its_epoch, .last_eid = last_eid}, records, content);
  return std::move(w).take();
}
struct Happened {
  std::uint32_t eid;
  swima::Action action;
  std::string id;
  std::uint32_t record_id = 1;
};
struct EventList {
  std::uint32_t last_eid = 0;
  std::optional<std::uint32_t> last_consulted{};  // else the last
  std::uint32_t its_epoch = epoch;
  bool fulfilment = false;
};
inline ByteVector events(std::uint32_t request, const EventList& list, const std::vector<Happened>& happened) {
  std::vector<swima::Event> out;
  for (const Happened& h : happened)
    out.push_back({.eid = h.eid,
                   .timestamp = "2026-11-25T08:30:01Z",
                   .action = h.action,
                   .software = {.record_id = h.record_id, .source = 1, .identifier = h.id}});
  Writer w;
  swima::append_events(w,
                       {.subscription_fulfilment = list.fulfilment,
                        .request_id = request,
                        .eid_epoch = list.its_epoch,
                        .last_eid = list.last_eid,
                        .last_consulted_eid = list.last_consulted.value_or(list.last_eid)},
                       out, swima::Content::identifiers);
  return std::move(w).take();
}
inline ByteVector swima_error(std::uint32_t code, std::uint32_t id, std::string_view text, std::uint32_t most = 0) {
  Writer information, w;
  swima::append_error_information(information, code, {id, most, text});
  patnc::append_error(w, {ietf, code, information.view()});
  return std::move(w).take();
}

// The SWIMA Request of an answer, with text of its own.
struct Requested {
  swima::Request request;
  std::vector<std::string> targets;
  std::uint16_t collector = pbtnc::any;
};
inline std::optional<Requested> requested(const Answer& answer) {
  for (const ServerMessage* m : answer.of(ietf, swima_subtype))
    for (const ServerAttribute& a : m->attributes) {
      if (a.vendor != ietf || a.type != type::swima_request) continue;
      Reader r(a.value, "test");
      const auto request = swima::parse_request(r);
      if (!request) {
        ADD_FAILURE() << request.error().text();
        return std::nullopt;
      }
      Requested out{*request, {request->targets.begin(), request->targets.end()}, m->collector};
      out.request.targets.clear();
      return out;
    }
  return std::nullopt;
}

class SwimaTest : public Imvs {
 protected:
  void SetUp() override {
    device_ = std::string("swima-") + ::testing::UnitTest::GetInstance()->current_test_info()->name();
    enrol_host1(world(), device_);
  }
  static void ask_swidt(const std::string& letters) { ask("{ type = \"SWIDT\", argument = \"" + letters + "\" }"); }
  Pa push() const {
    OsPush os;
    os.device = device_;
    return os_push(os);
  }
  static Pa contract() {
    Writer w;
    patnc::append_contract(w, {patnc::unlimited, 32'698});
    return swima_message().add(tcg, type::contract_request, w.view());
  }
  // The first batch of a connection.
  Answer hello(ByHand& client) const { return client.say({push(), contract()}); }
  static Answer say(ByHand& client, std::uint32_t kind, const ByteVector& value) {
    return client.say({swima_message().add(ietf, kind, value)});
  }
  static Answer tell_inventory(ByHand& client, std::uint32_t request, std::uint32_t last_eid,
                               const std::vector<Software>& software) {
    return say(client, type::software_identifier_inventory, inventory(request, last_eid, software));
  }
  static Answer tell_events(ByHand& client, std::uint32_t request, const EventList& list,
                            const std::vector<Happened>& happened) {
    return say(client, type::software_identifier_events, events(request, list, happened));
  }
  // A whole session that leaves this inventory behind.
  void store_inventory(std::uint32_t last_eid, const std::vector<Software>& software) const {
    ask_swidt("R");
    ByHand client(world());
    const auto request = requested(hello(client));
    ASSERT_TRUE(request);
    ASSERT_EQ(tell_inventory(client, request->request.id, last_eid, software).type, pbtnc::BatchType::result);
  }
  std::vector<std::string> installed() const {
    std::vector<std::string> out;
    const auto page = world().state->software_at(device_, std::nullopt, 10'000);
    if (!page) ADD_FAILURE() << page.error().text();
    if (page)
      for (const auto& one : page->software) out.push_back(one.record.software_id);
    return out;
  }
  std::optional<server::SoftwareHead> head() const {
    const auto out = world().state->software_head(device_);
    if (!out) ADD_FAILURE() << out.error().text();
    return out ? *out : std::nullopt;
  }
  static pipeline::ItemResult swidt(ByHand& client) { return item(client.verdict(), "SWIDT"); }
  static std::vector<std::string> reasons(const pipeline::Verdict& verdict) {
    std::vector<std::string> out;
    for (const pipeline::Finding& f : verdict.findings)
      if (f.component == "software") out.push_back(f.reason);
    return out;
  }

  std::string device_;
};

}  // namespace gatehouse::test
