// How often an endpoint may ask for another assessment once it has its verdict.
#include <gtest/gtest.h>

#include "tests/server_session/client_batches.h"

namespace gatehouse::test {
namespace {

// On a kept connection an authenticated endpoint may come back: a burst at once, then at the rate of the settings.
TEST(StartingOver, OnAKeptConnectionIsARate) {
  for (const bool patient : {true, false})
    for (const bool authenticated : {true, false}) {
      World world;
      enrol_host1(world);
      world.settings.policy = policy_of("[groups.all]\nask = [\"FWDEN\"]\n");
      world.settings.auth = server::Auth::none;
      // The clock goes on by a millisecond each time that anybody looks.
      if (patient) world.settings.retry_interval = std::chrono::milliseconds(1);
      ByHand client(world, {"192.0.2.7:49152", authenticated ? "CN=host1" : "", authenticated ? "certificate" : ""});
      ASSERT_EQ(client.say({os_push()}).type, pbtnc::BatchType::result);
      const ByteVector again = client_batch({os_push()}, pbtnc::BatchType::cretry);
      const unsigned most = patient && authenticated ? 30 : world.settings.max_retries;
      for (unsigned n = 0; n < most; ++n) ASSERT_EQ(client.send(again).type, pbtnc::BatchType::result) << n;
      if (patient && authenticated) continue;
      const Answer refused = client.send(again);
      EXPECT_TRUE(refused.closed);
      ASSERT_EQ(refused.errors.size(), 1U);
      EXPECT_EQ(refused.errors[0].code, std::uint16_t(pbtnc::ErrorCode::local_error));
      EXPECT_TRUE(client.logged("too many retries"));
    }
}

}  // namespace
}  // namespace gatehouse::test
