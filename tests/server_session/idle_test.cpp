// What a session keeps of an endpoint that stays connected between its assessments.
#include <gtest/gtest.h>

#include "tests/live_bytes.h"
#include "tests/server_session/conversation.h"

namespace gatehouse::test {
namespace {

// A whole assessment with the recorded evidence, by an endpoint that keeps its connection; the second time on it, too.
TEST(IdleSession, TakesLittleMemoryAfterEachAssessment) {
  World world;
  const Machine m = machine();
  const std::string device = m.tpm->ak().key_id();
  world.enrol(m.tpm->ak(), device);
  converse(world, m);
  world.approve(device);
  for (const int assessments : {1, 2}) {
    LoopHost host(world);
    Client machine_client(m, {.keep = true});
    endpoint::Session& client = machine_client.session();
    auto session = std::make_unique<server::Session>(host, world.settings, *world.state,
                                                     server::Peer{"192.0.2.7:49152", "CN=host1", "certificate", {}, {}});
    endpoint::Session::Step step = client.start();
    for (int n = 0; n < assessments; ++n) {
      if (n != 0) {
        ASSERT_TRUE(session->reassess());
        step = client.feed(std::exchange(host.out, {}));
      }
      while (!client.outcome() && !step.ended) {
        session->feed(std::exchange(step.send, {}));
        while (host.out.empty() && host.carry(*session)) {
        }
        ASSERT_FALSE(host.out.empty());
        step = client.feed(std::exchange(host.out, {}));
      }
      ASSERT_TRUE(client.outcome());
      ASSERT_EQ(client.outcome()->recommendation, endpoint::Recommendation::allow);
    }
    ASSERT_TRUE(session->decided());
    const std::size_t with = live_bytes();
    session.reset();
    EXPECT_LE(with, live_bytes() + 4096) << assessments;
  }
}

}  // namespace
}  // namespace gatehouse::test
