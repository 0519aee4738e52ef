// The Test IMC: commands, dummies, and the retry that the acceptance scenarios ask for.
#include "endpoint/imc/test/test_imc.h"
#include "harness.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::endpoint::test {
namespace {

using pbtnc::BatchType;
namespace type = patnc::type;

std::string command(const std::vector<OwnAttribute>& attributes) {
  for (const OwnAttribute& a : attributes)
    if (a.is(patnc::vendor_ita, type::ita_command)) return std::string(as_text(a.value));
  return "-";
}
OwnAttribute repeat() { return attribute(patnc::vendor_ita, type::ita_command, as_bytes("repeat")); }

TEST(TestImc, repeats_its_command_for_each_round) {
  TestImc imc({.command = "isolate"});
  Collectors c({&imc});
  EXPECT_EQ(wire_of(c.server.attributes()),
            "0000902a0000000100000013"
            "69736f6c617465");
  for (int round = 0; round < 3; ++round) {
    c.server.send_attributes(patnc::vendor_ita, 1, {repeat()}, 9);
    EXPECT_EQ(command(c.server.attributes()), "isolate");
  }
}

TEST(TestImc, asks_for_a_second_handshake_once_with_another_command) {
  for (const bool keep : {false, true}) {
    TestImc imc({.command = "isolate", .retry_command = "allow"});
    Session::Config config;
    config.tnc.keep = keep;
    Collectors c({&imc}, std::move(config));
    c.server.send_batch(BatchType::result, Server::result(1, 3));
    EXPECT_EQ(batch_type(c.server.batches.back()), BatchType::cretry);
    EXPECT_EQ(command(c.server.attributes()), "allow");
    EXPECT_FALSE(c.server.last.ended);
    c.server.send_batch(BatchType::result, Server::result(1, 3));
    EXPECT_EQ(c.server.last.ended, !keep);
    EXPECT_EQ(c.session.outcome()->recommendation, Recommendation::isolate);
  }
  TestImc content({.command = "allow", .retry_command = "isolate"});
  Collectors c({&content});
  c.server.send_batch(BatchType::result, Server::result(0, 1));
  EXPECT_EQ(batch_type(c.server.batches.back()), BatchType::close);
}

TEST(TestImc, dummy_that_no_message_holds_waits_for_a_contract) {
  TestImc imc({.command = "allow", .dummy_size = 5'000});
  Session::Config config;
  config.tnc.max_batch = 2'080;
  Collectors c({&imc}, std::move(config));
  EXPECT_EQ(c.server.attributes().size(), 1U);
  c.server.send_attributes(patnc::vendor_ita, 1, {contract_request(patnc::unlimited, 0xFFBA), repeat()}, 9);
  const auto said = c.server.attributes();
  ASSERT_EQ(said.size(), 3U);
  EXPECT_TRUE(said[2].is(patnc::vendor_tcg, type::segment_envelope));
  TestImc small({.command = "allow", .dummy_size = 3});
  Collectors whole({&small});
  ASSERT_EQ(whole.server.attributes().size(), 2U);
  EXPECT_EQ(to_hex(whole.server.attributes()[1].value), "dddddd");
}

}  // namespace
}  // namespace gatehouse::endpoint::test
