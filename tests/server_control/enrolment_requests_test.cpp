// Requests that expect a device (docs/formats/enrolment.md), as an operator or a script sends them: what is wrong says so
// and opens nothing, and of two operators at once one knows.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <set>
#include <thread>

#include "base/hex.h"
#include "server/control/control.h"
#include "tests/server_state/support.h"
#include "wire/enrolment/enrolment.h"

namespace gatehouse::server {
namespace {

namespace json = boost::json;

class EnrolmentRequests : public testing::Test {
 protected:
  json::object ask(const std::string& request) const { return json::parse(execute(*state_, request)).as_object(); }
  json::object ask(const json::object& request) const { return ask(json::serialize(request)); }
  std::string fault_of(const json::object& response) const {
    const json::value* const error = response.if_contains("error");
    return error ? std::string(error->at("fault").get_string()) : "";
  }
  json::object open(const std::string& device, const std::function<void(json::object&)>& change = {}) const {
    json::object request;
    request["command"] = "device.enrol";
    if (!device.empty()) request["device"] = device;
    if (change) change(request);
    return ask(request);
  }
  json::array listed() const { return ask(R"({"command":"device.enrolments"})").at("items").as_array(); }

  Folder folder_;
  std::unique_ptr<State> state_ = open_state(folder_ / "state");
};

TEST_F(EnrolmentRequests, ThatAreWrongOpenNothing) {
  const std::string long_name(1'025, 'a');
  const std::pair<std::string, const char*> wrong[] = {
      {R"({"command":"device.enrol","device":""})", "usage"},
      {R"({"command":"device.enrol","device":7})", "usage"},
      {R"({"command":"device.enrol","device":"a\nb"})", "usage"},
      {R"({"command":"device.enrol","device":")" + std::string(257, 'd') + R"("})", "usage"},
      {R"({"command":"device.enrol","device":"d","product":")" + long_name + R"("})", "usage"},
      {R"({"command":"device.enrol","device":"d","model":"a\u0000b"})", "usage"},
      {R"({"command":"device.enrol","device":"d","identity":")" + long_name + R"("})", "usage"},
      {R"({"command":"device.enrol","device":"d","identity":""})", "usage"},
      {R"({"command":"device.enrol","device":"d","ek":""})", "usage"},
      {R"({"command":"device.enrol","device":"d","ek":"00"})", "usage"},
      {R"({"command":"device.enrol","device":"d","ek":")" + std::string(64, 'A') + R"("})", "usage"},
      {R"({"command":"device.enrol","device":"d","keep_keys":"yes"})", "usage"},
      {R"({"command":"device.enrol","device":"d","seconds":0})", "usage"},
      {R"({"command":"device.enrol","device":"d","seconds":-1})", "usage"},
      {R"({"command":"device.enrol","device":"d","seconds":2592001})", "usage"},
      {R"({"command":"device.enrol","device":"d","token":"00"})", "usage"},
      {R"({"command":"device.enrol","device":"d","by":")" + std::string(257, 'b') + R"("})", "usage"},
      {R"({"command":"device.enrol","device":"d","why":"a\nb"})", "usage"},
      {R"({"command":"device.enrol","device":"d","expect":1})", "denied"},
      {R"({"command":"device.enrolments","device":"d"})", "usage"},
      {R"({"command":"device.enrol.close"})", "usage"},
      {R"({"command":"device.enrol.close","id":"nothing"})", "denied"},
      {R"({"command":"device.enrol.close","id":")" + std::string(32, '0') + R"("})", "denied"},
  };
  for (const auto& [request, fault] : wrong) EXPECT_EQ(fault_of(ask(request)), fault) << request;
  EXPECT_TRUE(listed().empty());
  EXPECT_TRUE(state_->devices("", 10)->empty()) << "nor is a device made of what is only expected";
}

TEST_F(EnrolmentRequests, TheTokenIsToldOnceAndIsTheOneThatIsExpected) {
  const json::object response = open("laptop-17", [](json::object& request) {
    request["product"] = "Debian 12 x86_64";
    request["model"] = "T14";
    request["identity"] = "CN=laptop-17";
    request["ek"] = std::string(64, 'a');
    request["keep_keys"] = true;
    request["seconds"] = 60;
    request["by"] = "alice";
    request["why"] = "ticket 4711";
  });
  ASSERT_EQ(fault_of(response), "") << json::serialize(response);
  json::object offer = response.at("item").as_object();
  const auto token = enrolment::parse_token(std::string_view(offer.at("token").as_string()));
  ASSERT_TRUE(token);
  EXPECT_EQ(to_hex(token->id), std::string_view(offer.at("id").as_string()));
  const auto stored = *state_->enrolment(to_hex(token->id));
  ASSERT_TRUE(stored);
  EXPECT_TRUE(token->key.equals(stored->key));
  EXPECT_LE(stored->until - stored->opened, 60'000);
  offer.erase("token");
  const std::string all = json::serialize(listed());
  ASSERT_EQ(listed().size(), 1U);
  // When it was opened is the store's word.
  json::object one = listed()[0].as_object();
  for (const char* const member : {"device", "product", "model", "identity", "ek", "keep_keys", "until", "open", "by", "why"}) EXPECT_EQ(one.at(member), offer.at(member)) << member;
  EXPECT_EQ(all.find(std::string(token->text)), std::string::npos);
  EXPECT_EQ(all.find(to_hex(stored->key)), std::string::npos);
  ASSERT_EQ(fault_of(ask(R"({"command":"device.enrol.close","id":")" + to_hex(token->id) + R"("})")), "");
  EXPECT_TRUE(listed().empty());
  EXPECT_EQ(fault_of(ask(R"({"command":"device.enrol.close","id":")" + to_hex(token->id) + R"("})")), "denied");
}

TEST_F(EnrolmentRequests, ABarredDeviceIsntExpectedAndAnUnknownOneMayBe) {
  ASSERT_TRUE(state_->enrol_blocking(enrolment("d1", new_key(), true)));
  EXPECT_EQ(fault_of(open("d1")), "") << "a new mainboard of a known device";
  EXPECT_EQ(fault_of(open("nobody-yet")), "");
  for (const auto to : {DeviceState::suspended, DeviceState::retired}) {
    ASSERT_TRUE(state_->change_state_blocking("d1", to, {}));
    const json::object response = open("d1");
    EXPECT_EQ(fault_of(response), "denied");
    EXPECT_NE(json::serialize(response).find(name(to)), std::string::npos) << json::serialize(response);
  }
  ASSERT_TRUE(state_->enrol_blocking(enrolment("d2", new_key(), true)));
  ASSERT_TRUE(state_->revoke_blocking("d2"));
  EXPECT_EQ(fault_of(open("d2")), "denied");
  // A removed device takes what was opened for it along.
  ASSERT_TRUE(state_->enrol_blocking(enrolment("d3", new_key(), true)));
  ASSERT_EQ(fault_of(open("d3")), "");
  ASSERT_TRUE(state_->remove_blocking("d3"));
  std::set<std::string> devices;
  for (const json::value& one : listed()) devices.emplace(one.at("device").as_string());
  EXPECT_EQ(devices, (std::set<std::string>{"d1", "nobody-yet"}));
}

TEST_F(EnrolmentRequests, OfTwoOperatorsAtOnceTheLaterCountsOrIsTold) {
  ASSERT_TRUE(state_->enrol_blocking(enrolment("d1", new_key(), true)));
  const std::uint64_t seen = (*state_->device("d1"))->changes;
  const auto knowing = [&](json::object& request) { request["expect"] = seen; };
  const std::string first(open("d1", knowing).at("item").at("id").as_string());
  // The second takes the place of the first: one token counts at a time.
  const std::string second(open("d1", knowing).at("item").at("id").as_string());
  ASSERT_EQ(listed().size(), 1U);
  EXPECT_EQ(listed()[0].at("id").as_string(), second);
  EXPECT_EQ(fault_of(ask(R"({"command":"device.enrol.close","id":")" + first + R"("})")), "denied");
  // Somebody changed the device meanwhile: who knew it before is told, and what is open stays.
  ASSERT_TRUE(state_->alter_blocking("d1", "p2", std::nullopt, std::nullopt, {}));
  EXPECT_EQ(fault_of(open("d1", knowing)), "denied");
  EXPECT_EQ(listed()[0].at("id").as_string(), second);
}

TEST_F(EnrolmentRequests, ManyAtOnceLeaveOneTokenADevice) {
  constexpr int operators = 4, times = 16;
  std::vector<std::thread> threads;
  std::vector<std::set<std::string>> given(operators);
  for (int i = 0; i < operators; ++i)
    threads.emplace_back([&, i] {
      for (int n = 0; n < times; ++n) {
        const json::object response = open(n % 2 == 0 ? "shared" : "own-" + std::to_string(i));
        if (fault_of(response).empty()) given[std::size_t(i)].emplace(response.at("item").at("id").as_string());
      }
    });
  for (std::thread& one : threads) one.join();
  std::set<std::string> all, open_now, devices;
  for (const auto& of : given) all.insert(of.begin(), of.end());
  EXPECT_EQ(all.size(), std::size_t(operators) * times) << "each was answered, with a token of its own";
  for (const json::value& one : listed()) {
    open_now.emplace(one.at("id").as_string());
    devices.emplace(one.at("device").as_string());
  }
  EXPECT_EQ(devices.size(), std::size_t(operators) + 1);
  EXPECT_EQ(open_now.size(), devices.size());
  for (const std::string& id : open_now) EXPECT_EQ(all.count(id), 1U);
}

TEST_F(EnrolmentRequests, WhatIsOverIsListedAsOverUntilItIsClosed) {
  state_.reset();
  // The store's clock stands two hours back while it is opened.
  StateOptions options;
  std::int64_t back = 7'200'000;
  options.now = [&back] { return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count() - back; };
  state_ = open_state(folder_ / "state", std::move(options));
  const enrolment::Token token = enrolment::make_token();
  EnrolmentOffer offer;
  offer.id = to_hex(token.id);
  offer.key = to_vector(token.key.reveal());
  offer.device = "laptop-17";
  offer.until = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count() - 3'600'000;
  ASSERT_TRUE(state_->open_enrolment_blocking(offer, {.by = "alice", .why = {}}));
  back = 0;
  ASSERT_EQ(listed().size(), 1U);
  EXPECT_FALSE(listed()[0].at("open").as_bool());
  ASSERT_EQ(fault_of(ask(R"({"command":"device.enrol.close","id":")" + offer.id + R"("})")), "");
  EXPECT_TRUE(listed().empty());
}

}  // namespace
}  // namespace gatehouse::server
