// A session's record as the tests of results hand it on.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "server/results/record.h"

namespace gatehouse::test {

// Its id, Device ID and identity hold what a shell or syslog might take for its own.
inline server::SessionRecord sample_record(const std::string& session, const std::string& recommendation = "allow") {
  server::SessionRecord record;
  record.state = server::SessionState::complete;
  record.intent.session = session;
  record.intent.device = "deb3";
  record.intent.product = "Debian 12 x86_64";
  record.intent.peer = "192.0.2.7:49152";
  record.intent.identity = "CN=a \"quoted\"]\\ name\n$(id)";
  record.intent.identity_type = "certificate";
  record.intent.policy = "policy-1";
  record.intent.generation = 7;
  record.intent.started = 1'764'000'665'007;
  record.finished = 1'764'000'666'008;
  record.verdict = "{\"session\":\"" + session + R"(","device":"deb3","product":"Debian 12 x86_64","generation":7,"recommendation":")" + recommendation +
                   R"(","evaluation":"compliant","summary":"processed 3 measurements"})";
  return record;
}
inline std::string sample_line(const std::string& session, const std::string& recommendation = "allow") {
  return server::record_line(sample_record(session, recommendation), false);
}

// Until it holds; the test's own time limit is the only one.
template <class Condition>
void until(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

}  // namespace gatehouse::test
