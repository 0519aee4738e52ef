// Recorded conversations of strongSwan's client, and the walk-through of the specification message by message.
#include <boost/json.hpp>

#include "tests/server_imv/swima_support.h"
#include "tests/server_session/replay.h"
#include "tests/wire_patnc/examples.h"

namespace gatehouse::test {
namespace {

using swima::Action;
using ::testing::ElementsAre;

struct Recorded {
  const char* folder;
  const char* key;
};
class SwimaRecordings : public ::testing::TestWithParam<Recorded> {};

std::string recorded_result(const std::string& folder) {
  const auto facts = boost::json::parse(as_text(file(interop(folder + "/facts.json")))).as_object();
  return std::string(facts.at("swima_result").as_string());
}

// The recorded requests were 11 with flag R, for events from the first on; asked for a subscription too, a client that
// doesn't deny it has one.
TEST_P(SwimaRecordings, GiveTheStatedResult) {
  const std::string folder = GetParam().folder;
  const auto key = PublicKey::from_pem(as_text(file(interop("keys/" + std::string(GetParam().key) + "/ak.pem"))));
  ASSERT_TRUE(key);
  for (const std::string letters : {"R", "R S"}) {
    World world;
    world.settings.banks = {HashAlgorithm::sha256, HashAlgorithm::sha384};
    world.settings.policy =
        policy_of("[groups.all]\nask = [{ type = \"SWIDT\", argument = \"" + letters + "\" }, \"TPMRA\"]\n");
    world.enrol(*key, key->key_id());
    const Outcome out = replay(world, folder, 11);
    ASSERT_TRUE(out.verdict) << (out.lines.empty() ? "" : out.lines.back());
    const pipeline::ItemResult result = item(*out.verdict, "SWIDT");
    const std::string subscription = letters == "R" ? "" : " from subscription 11";
    EXPECT_EQ(std::string(name(result.recommendation)) + " - " + result.result, recorded_result(folder) + subscription);
    // Only what is proved is kept: by the quote, these clients have no certificate that the device is bound to.
    const auto head = *world.state->software_head(key->key_id());
    if (out.verdict->quote.status != pipeline::Status::ok) {
      EXPECT_FALSE(head);
      continue;
    }
    ASSERT_TRUE(head);
    EXPECT_EQ(head->epoch, epoch);
    EXPECT_EQ(head->last_eid, 26U);
    EXPECT_EQ(head->events, 235U);
  }
}

INSTANTIATE_TEST_SUITE_P(Interop, SwimaRecordings,
                         ::testing::Values(Recorded{"mutual-tls-rsa", "rsa"}, Recorded{"sasl-rsa", "rsa"},
                                           Recorded{"sasl-ecc", "ecc"}, Recorded{"mutual-tls-ecc-aikcert", "ecc"},
                                           Recorded{"mutual-tls12-rsa-modp2048-pcrinfo", "rsa"},
                                           Recorded{"sasl-rsa-32k", "rsa"}, Recorded{"sasl-ecc-2k", "ecc"},
                                           Recorded{"sasl-rsa-sha384-ecp384", "rsa"},
                                           Recorded{"changed-file-rsa", "rsa"}, Recorded{"tampered-list-rsa", "rsa"}),
                         [](const auto& tested) {
                           std::string name = tested.param.folder;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Applied to a set that is known: the recorded events from the first on.
TEST(SwimaRecorded, EventsChangeAKnownSet) {
  const auto key = PublicKey::from_pem(as_text(file(interop("keys/rsa/ak.pem"))));
  ASSERT_TRUE(key);
  World world;
  world.settings.policy = policy_of("[groups.all]\nask = [{ type = \"SWIDT\", argument = \"R\" }]\n");
  enrol_host1(world, key->key_id());
  {
    ByHand client(world);
    OsPush os;
    os.device = key->key_id();
    client.say({os_push(os)});
    // A log that has begun and holds nothing: the next request is for events from the first on.
    ASSERT_EQ(client.say({swima_message().add(ietf, type::software_identifier_inventory, inventory(1, 0, {}))}).access,
              1U);
  }
  world.settings.policy = policy_of("[groups.all]\nask = [{ type = \"SWIDT\", argument = \"R\" }, \"TPMRA\"]\n");
  world.enrol(*key, key->key_id());
  const Outcome out = replay(world, "sasl-rsa", 11, {"127.0.0.1:1", "CN=host1", "certificate", {}});
  ASSERT_TRUE(out.verdict);
  EXPECT_EQ(item(*out.verdict, "SWIDT").result, "received 235 SW ID events and 0 SWID tags");
  const auto head = *world.state->software_head(key->key_id());
  ASSERT_TRUE(head);
  EXPECT_TRUE(head->complete);
  EXPECT_EQ(head->last_eid, 26U);
  EXPECT_GT(head->installed, 100U);
}

// Spec part 1b §10.3, up to where part 2 takes over: order, destinations and sizes.
TEST(WalkThrough, TheServersMessagesComeInTheOrderAndSizesOfTheSeed) {
  constexpr const char* device = "732c769e8d1b2efef8b64d5ae83f84d129733fdd";
  World world;
  enrol_host1(world, device, "Ubuntu 20.04 x86_64");
  const auto example = [](std::uint32_t subtype, std::uint16_t collector, std::string_view hex) {
    return Pa(ietf, subtype, collector).body(*from_hex(hex));
  };
  const std::vector<Pa> first = {example(os_subtype, 1, patnc::examples::os_push),
                                 example(swima_subtype, 2, patnc::examples::contract_request)};
  world.settings.policy = policy_of("[groups.all]\nask = [{ type = \"SWIDT\", argument = \"R\" }]\n");
  {
    ByHand client(world);
    client.say(first);
    ASSERT_EQ(
        client.say({swima_message().add(ietf, type::software_identifier_inventory, inventory(1, 322, {}))}).access, 1U);
  }
  world.settings.policy = policy_of(
      "[groups.all]\nask = [{ type = \"SWIDT\", argument = \"R S\" }, { type = \"TPMRA\", argument = \"B I\" }]\n");
  ByHand client(world);
  const ByteVector batch = client_batch(first, pbtnc::BatchType::cdata, "en");
  EXPECT_EQ(batch.size(), 321U);
  Answer answer = client.send(batch);
  struct Line {
    std::uint32_t vendor, subtype;
    std::uint16_t collector;
    std::size_t pb_pa;
    std::vector<std::string> attributes;
    bool operator==(const Line&) const = default;
  };
  const auto lines = [](const Answer& a) {
    std::vector<Line> out;
    for (const ServerMessage& m : a.messages)
      out.push_back({m.vendor, m.subtype, m.collector, m.body.size() + 24, m.names()});
    return out;
  };
  const std::string contract_request = patnc::attribute_name(tcg, type::contract_request);
  const std::string contract_response = patnc::attribute_name(tcg, type::contract_response);
  const std::string assessment_result = patnc::attribute_name(ietf, type::assessment_result);
  ASSERT_EQ(answer.messages.size(), 4U);
  EXPECT_EQ(
      lines(answer),
      (std::vector<Line>{
          {ietf, swima_subtype, 2, 52, {contract_response}},
          {ietf,
           os_subtype,
           pbtnc::any,
           141,
           {assessment_result, patnc::attribute_name(ietf, type::remediation_instructions)}},
          {ietf, swima_subtype, pbtnc::any, 76, {contract_request, patnc::attribute_name(ietf, type::swima_request)}},
          {tcg,
           patnc::subtype_pts,
           pbtnc::any,
           84,
           {contract_request, patnc::attribute_name(tcg, pts::type::request_capabilities),
            patnc::attribute_name(tcg, pts::type::algorithm_request)}}}));
  EXPECT_EQ(answer.bytes, 8U + 52 + 141 + 76 + 84);
  // Byte for byte but for message identifiers and the request's id, 1 here.
  const auto rest = [](Bytes body) { return to_hex(body.subspan(8)); };
  EXPECT_EQ(rest(answer.messages[0].body), std::string(patnc::examples::contract_response.substr(16)));
  EXPECT_EQ(rest(answer.messages[1].body), std::string(patnc::examples::os_assessment.substr(16)));
  std::string request(patnc::examples::swima_request.substr(16));
  request.replace(request.find("00000293"), 8, "00000001");
  EXPECT_EQ(rest(answer.messages[2].body), request);

  // The collector answers, and denies the subscription.
  std::string events(patnc::examples::swima_events);
  for (std::size_t at; (at = events.find("00000293")) != events.npos;) events.replace(at, 8, "00000001");
  Writer capabilities, algorithm, response;
  patnc::append_contract(response, {patnc::unlimited, 32'698});
  pts::append_capabilities(capabilities, pts::capability_tpm | pts::capability_dh | pts::capability_verify);
  pts::append_algorithms(algorithm, pts::algorithm_bit(HashAlgorithm::sha256));
  const Pa pts_answer = Pa(tcg, patnc::subtype_pts, 3)
                            .add(tcg, type::contract_response, response.view())
                            .add(tcg, pts::type::capabilities, capabilities.view())
                            .add(tcg, pts::type::algorithm, algorithm.view());
  answer = client.say({example(swima_subtype, 2, events), pts_answer});
  ASSERT_EQ(answer.messages.size(), 2U);
  // What came was written to the store first: the two may have changed places.
  const std::size_t swima = answer.messages[0].subtype == swima_subtype ? 0 : 1;
  EXPECT_EQ(lines(answer)[swima], (Line{ietf, swima_subtype, 2, 48, {assessment_result}}));
  EXPECT_EQ(rest(answer.messages[swima].body), std::string(patnc::examples::compliant.substr(16)));
  EXPECT_TRUE(answer.messages[swima].exclusive);
  EXPECT_EQ(answer.messages[1 - swima].names(),
            (std::vector<std::string>{patnc::attribute_name(tcg, pts::type::dh_nonce_request)}));
  EXPECT_TRUE(client.logged("IMV 2 handled SWIDT workitem 1: allow - received 2 SW ID events and 0 SWID tags"));
}

}  // namespace
}  // namespace gatehouse::test
