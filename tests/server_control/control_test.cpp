#include "server/control/control.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <boost/json.hpp>
#include <fstream>
#include <thread>

#include "base/hex.h"
#include "server/control/address.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

namespace json = boost::json;

json::object parsed(const std::string& text) {
  boost::system::error_code code;
  json::value value = json::parse(text, code);
  EXPECT_FALSE(code) << text;
  return code ? json::object() : value.get_object();
}

std::string fault_of(const std::string& response) {
  const json::object object = parsed(response);
  const json::value* const error = object.if_contains("error");
  return error ? std::string(error->at("fault").get_string()) : "";
}

std::string add_request(const std::string& device, const PublicKey& key, bool trust) {
  json::object out;
  out["command"] = "device.add";
  out["device"] = device;
  out["ak"] = key.pem();
  out["trust"] = trust;
  return json::serialize(out);
}

// A stream without the client's manners.
int raw_connection(const std::string& path) {
  const auto address = SocketAddress::of(path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::connect(fd, address->get(), SocketAddress::size), 0);
  return fd;
}
std::string read_to_end(int fd) {
  std::string out;
  char buffer[4096];
  for (ssize_t n; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) out.append(buffer, std::size_t(n));
  ::close(fd);
  return out;
}

TEST(Requests, ThatAreWrongGetAnErrorThatSaysSo) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const std::pair<const char*, const char*> wrong[] = {
      {"", "malformed"},
      {"{", "malformed"},
      {"[]", "malformed"},
      {"{}", "usage"},
      {R"({"command":"device.explode"})", "usage"},
      {R"({"command":7})", "usage"},
      {R"({"command":"device.list","limit":-1})", "usage"},
      {R"({"command":"device.list","limit":"x"})", "usage"},
      {R"({"command":"device.list","colour":"x"})", "usage"},
      {R"({"command":"device.show"})", "usage"},
      {R"({"command":"device.show","device":"d"})", "denied"},
      {R"({"command":"device.add","device":"d","ak":"nonsense"})", "malformed"},
      {R"({"command":"device.add","device":"d","trust":"yes"})", "usage"},
      {R"({"command":"device.add","device":"d","trust":true})", "usage"},
      {R"({"command":"device.add","device":""})", "usage"},
      {R"({"command":"device.add","device":"d","identities":[1]})", "usage"},
      {R"({"command":"device.trust","device":"d"})", "denied"},
      {R"({"command":"device.revoke","device":"d"})", "denied"},
      {R"({"command":"device.remove","device":"d"})", "denied"},
      {R"({"command":"device.import"})", "usage"},
      {R"({"command":"baseline.list","device":"d"})", "denied"},
      {R"({"command":"baseline.approve","device":"d"})", "denied"},
      {R"({"command":"session.show","session":"s"})", "denied"},
      {R"({"command":"session.list","from":"zz"})", "malformed"},
  };
  for (const auto& [request, fault] : wrong) EXPECT_EQ(fault_of(execute(*state, request)), fault) << request;
  EXPECT_TRUE(state->devices("", 10)->empty());
  std::string deep = R"({"command":"device.list","after":)";
  for (int i = 0; i < 10'000; ++i) deep += '[';
  EXPECT_EQ(fault_of(execute(*state, deep)), "malformed");
  EXPECT_EQ(fault_of(execute(*state, std::string(max_request_bytes + 1, ' '))), "limit exceeded");
}

TEST(Requests, ImportJudgesEachRecord) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const PublicKey key = new_key();
  json::object good;
  good["device"] = "d1";
  good["ak"] = key.pem();
  good["product"] = "p";
  good["trust"] = true;
  good["baseline"] = json::parse(R"({"bank":"sha256","pcrs":{"7":[")" + std::string(64, '2') + R"("],"0":[")" +
                                 std::string(64, '1') + R"("]}})");
  json::array records;
  records.push_back(good);
  for (const char* bad : {R"({"device":"d2","baseline":{"bank":"sha256","pcrs":{"0":["11"]}}})",
                          R"({"device":"d2","baseline":{"bank":"md5","pcrs":{}}})",
                          R"({"device":"d2","baseline":{"bank":"sha256","pcrs":{"24":[]}}})",
                          R"({"device":"d2","baseline":7})", R"({"device":"d2","surprise":1})", "[]", R"({"ak":"x"})"})
    records.push_back(json::parse(bad));
  json::object request;
  request["command"] = "device.import";
  request["records"] = std::move(records);
  const json::object response = parsed(execute(*state, json::serialize(request)));
  const json::array& results = response.at("results").get_array();
  ASSERT_EQ(results.size(), 8U);
  EXPECT_TRUE(results[0].is_null());
  for (std::size_t i = 1; i < 8; ++i) EXPECT_TRUE(results[i].is_object()) << i;
  EXPECT_EQ(state->judge_key("d1", key).standing, KeyStanding::trusted);
  const auto approved = *state->approved_baselines("d1");
  ASSERT_EQ(approved.size(), 1U);
  EXPECT_EQ(approved[0].events.at(0).first, 0U);
  EXPECT_EQ(approved[0].events.at(1).first, 7U);
  EXPECT_FALSE(*state->device("d2"));
  // What `baseline.list` prints can be imported again.
  const json::object listed = parsed(execute(*state, R"({"command":"baseline.list","device":"d1"})"));
  json::object again;
  again["device"] = "d3";
  again["baseline"] = listed.at("items").get_array().at(0);
  json::object second;
  second["command"] = "device.import";
  second["records"] = json::array{again};
  EXPECT_TRUE(parsed(execute(*state, json::serialize(second))).at("results").get_array().at(0).is_null());
  EXPECT_EQ(*state->approved_baselines("d3"), approved);
}

TEST(Requests, ADiffNamesPcrAndEvent) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const PublicKey key = new_key();
  Enrolment one = enrolment("d1", key, true);
  one.approved_baseline = baseline(1);
  ASSERT_TRUE(state->enrol_blocking(one));
  SessionResult result = result_of(intent("s1", "d1", 1000));
  result.quote_key = key;
  result.proposed_baseline = baseline(2);
  result.proposed_baseline->events[1].second.push_back(Digest::filled(32, std::byte{9}));
  ASSERT_TRUE(commit(*state, result));
  const json::object response = parsed(execute(*state, R"({"command":"baseline.diff","device":"d1"})"));
  const json::array& list = response.at("item").at("differences").get_array();
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].at("pcr"), 0);
  EXPECT_EQ(list[0].at("event"), 0);
  EXPECT_EQ(list[0].at("approved").get_string(), Digest::filled(32, std::byte{1}).hex());
  EXPECT_EQ(list[0].at("measured").get_string(), Digest::filled(32, std::byte{2}).hex());
  EXPECT_EQ(list[1].at("pcr"), 7);
  EXPECT_EQ(list[1].at("event"), 1);
  EXPECT_TRUE(list[1].at("approved").is_null());
}

TEST(Requests, SoftwareIsListedInPages) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const PublicKey key = new_key();
  ASSERT_TRUE(state->enrol_blocking(enrolment("d1", key, true)));
  EXPECT_TRUE(parsed(execute(*state, R"({"command":"device.software","device":"d1"})")).at("head").is_null());
  SoftwareChunk chunk{.session = "s1", .device = "d1"};
  for (std::uint32_t n = 0; n < 25; ++n)
    chunk.installed.push_back({.source = 1, .software_id = "id\x01" + std::to_string(n), .record_id = n});
  state->stage_software(std::move(chunk), [](Result<void> outcome) { EXPECT_TRUE(outcome); });
  SessionResult result = result_of(intent("s1", "d1", 1000));
  result.quote_key = key;
  result.software = SoftwareUpdate{.epoch = 7, .last_eid = 8, .inventory = true, .staged_installed = 25};
  ASSERT_TRUE(commit(*state, std::move(result)));
  json::object request;
  request["command"] = "device.software";
  request["device"] = "d1";
  request["limit"] = 10;
  std::size_t listed = 0;
  for (;;) {
    const json::object page = parsed(execute(*state, json::serialize(request)));
    EXPECT_EQ(page.at("head").at("installed").to_number<int>(), 25);
    EXPECT_TRUE(page.at("head").at("complete").get_bool());
    for (const json::value& one : page.at("items").get_array())
      EXPECT_EQ(one.at("software_id").get_string().find("id\\x01"), 0U) << "escaped";
    listed += page.at("items").get_array().size();
    if (page.if_contains("next") == nullptr) break;
    request["from"] = page.at("next");
  }
  EXPECT_EQ(listed, 25U);
  for (const char* wrong : {R"("at":"2026-13-01")", R"("at":"2026-11-24T12:00")", R"("at":"2026-11-24T12:00:00+01:00")",
                            R"("at":5)", R"("from":"xyz")", R"("from":"6a")", R"("after":"x")"})
    EXPECT_NE(fault_of(execute(*state, std::string(R"({"command":"device.software","device":"d1",)") + wrong + "}")),
              "")
        << wrong;
  EXPECT_EQ(fault_of(execute(*state, R"({"command":"device.software","device":"d2"})")), name(Fault::denied));
}

TEST(Requests, SessionsKeepTheVerdictsMembersInFront) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  ASSERT_TRUE(commit(*state, result_of(intent("s1", "d1", 1'764'000'665'007))));
  ASSERT_TRUE(begin(*state, intent("s2", "d1", 1'764'000'666'000)));
  const std::string done = json::serialize(parsed(execute(*state, R"({"command":"session.show","session":"s1"})")).at("item"));
  const std::string verdict = result_of(intent("s1", "", 0)).verdict;
  EXPECT_EQ(done.substr(0, verdict.size() - 1), verdict.substr(0, verdict.size() - 1));
  EXPECT_NE(done.find(R"("record":{"state":"complete","peer":"192.0.2.7:49152")"), std::string::npos) << done;
  EXPECT_NE(done.find(R"("started":"2025-11-24T16:11:05.007Z")"), std::string::npos) << done;
  const json::object page = parsed(execute(*state, R"({"command":"session.list","limit":1})"));
  const json::value& open = page.at("items").get_array().at(0);
  EXPECT_EQ(open.at("session").get_string(), "s2");
  EXPECT_EQ(open.at("recommendation").get_string(), "none");
  EXPECT_EQ(open.at("record").at("state").get_string(), "open");
  json::object next;
  next["command"] = "session.list";
  next["from"] = page.at("next");
  const json::object rest = parsed(execute(*state, json::serialize(next)));
  EXPECT_EQ(rest.at("items").get_array().size(), 1U);
  EXPECT_EQ(rest.if_contains("next"), nullptr);
}

TEST(Socket, AnswersAsTheStoreDoes) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const std::string path = folder / "state/control.sock";
  const auto server = ControlServer::start(path, [&](std::string_view request) { return execute(*state, request); });
  ASSERT_TRUE(server) << server.error().text();
  struct stat st {};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0600U);
  auto client = ControlClient::connect(path);
  ASSERT_TRUE(client);
  const PublicKey key = new_key();
  for (const std::string& request :
       {add_request("d1", key, false), std::string(R"({"command":"device.list"})"), std::string("{"),
        std::string(R"({"command":"device.show","device":"d1"})"), std::string(R"({"command":"session.list"})")}) {
    const auto answer = client->ask(request);
    ASSERT_TRUE(answer) << answer.error().text();
    if (request.find("device.add") == std::string::npos) {
      EXPECT_EQ(*answer, execute(*state, request));
    }
  }
  EXPECT_EQ(state->judge_key("d1", key).standing, KeyStanding::pending);

  const auto error = response_or_error(*client->ask(R"({"command":"device.show","device":"d9"})"));
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().fault, Fault::denied);
  EXPECT_EQ(error.error().text(), response_or_error(execute(*state, R"({"command":"device.show","device":"d9"})")).error().text());
}

TEST(Socket, BoundsWhatAPeerMayDo) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const std::string path = folder / "control.sock";
  const auto handler = [&](std::string_view request) { return execute(*state, request); };
  auto server = ControlServer::start(path, handler, std::chrono::milliseconds(200));
  ASSERT_TRUE(server);
  // Silent, or silent in the middle of a line.
  EXPECT_EQ(read_to_end(raw_connection(path)), "");
  const int half = raw_connection(path);
  EXPECT_EQ(::send(half, "{\"comm", 6, MSG_NOSIGNAL), 6);
  EXPECT_EQ(read_to_end(half), "");
  // A line without end, to a server that has all the time for it.
  server->reset();
  server = ControlServer::start(path, handler, std::chrono::minutes(5));
  ASSERT_TRUE(server);
  const int endless = raw_connection(path);
  const std::string piece(65536, 'x');
  for (std::size_t sent = 0; sent <= max_request_bytes;) {
    const ssize_t n = ::send(endless, piece.data(), piece.size(), MSG_NOSIGNAL);
    if (n <= 0) break;
    sent += std::size_t(n);
  }
  EXPECT_EQ(fault_of(read_to_end(endless)), "limit exceeded");
  // Two requests in one write are two answers.
  const int two = raw_connection(path);
  const std::string both = "{}\n[]\n";
  EXPECT_EQ(::send(two, both.data(), both.size(), MSG_NOSIGNAL), ssize_t(both.size()));
  ::shutdown(two, SHUT_WR);
  EXPECT_EQ(read_to_end(two), execute(*state, "{}") + "\n" + execute(*state, "[]") + "\n");
  auto client = ControlClient::connect(path);
  ASSERT_TRUE(client);
  EXPECT_TRUE(client->ask(R"({"command":"device.list"})")) << "others are served all the same";
}

TEST(Socket, TakesTheRightPlace) {
  const Folder folder;
  const auto answer = [](std::string_view) { return std::string("{}"); };
  const std::string path = folder / "control.sock";
  {
    const auto server = ControlServer::start(path, answer);
    ASSERT_TRUE(server);
    EXPECT_FALSE(ControlServer::start(path, answer)) << "in use";
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  // A socket that a killed server left.
  const int stale = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::bind(stale, SocketAddress::of(path)->get(), SocketAddress::size), 0);
  ::close(stale);
  EXPECT_TRUE(ControlServer::start(path, answer));
  std::ofstream(folder / "file") << "mine";
  EXPECT_FALSE(ControlServer::start(folder / "file", answer));
  EXPECT_TRUE(std::filesystem::exists(folder / "file"));
  EXPECT_FALSE(ControlServer::start(folder / "nowhere/control.sock", answer));

  const std::string deep = folder / std::string(100, 'a');
  std::filesystem::create_directories(deep + "/" + std::string(100, 'b'));
  const std::string long_path = deep + "/" + std::string(100, 'b') + "/control.sock";
  const auto server = ControlServer::start(long_path, answer);
  ASSERT_TRUE(server) << server.error().text();
  auto client = ControlClient::connect(long_path);
  ASSERT_TRUE(client) << client.error().text();
  EXPECT_EQ(client->ask("{}").value(), "{}");
}

TEST(Access, TheLockDecidesWhoAnswers) {
  const Folder folder;
  const std::string directory = folder / "state";
  EXPECT_FALSE(StateAccess::open({.state = directory, .socket = {}, .create = false}));
  const PublicKey key = new_key();
  {
    auto access = StateAccess::open({.state = directory, .socket = {}, .create = true});
    ASSERT_TRUE(access);
    EXPECT_FALSE(access->through_server());
    ASSERT_TRUE(access->ask(add_request("d1", key, false)));
  }
  const auto state = open_state(directory);
  const std::string socket = folder / "elsewhere.sock";
  auto server = ControlServer::start(socket, [&](std::string_view request) { return execute(*state, request); });
  ASSERT_TRUE(server);
  ASSERT_TRUE(state->announce_socket(socket));
  auto access = StateAccess::open({.state = directory, .socket = {}, .create = false});
  ASSERT_TRUE(access) << access.error().text();
  EXPECT_TRUE(access->through_server());
  ASSERT_TRUE(access->ask(R"({"command":"device.trust","device":"d1"})"));
  EXPECT_EQ(state->judge_key("d1", key).standing, KeyStanding::trusted);
}

// Commands that meet take turns: each waits for the directory as long as another command has it.
TEST(Access, CommandsAtTheSameTimeAllSucceed) {
  const Folder folder;
  const std::string directory = folder / "state";
  open_state(directory).reset();
  std::atomic<int> good = 0;
  std::vector<std::thread> commands;
  for (int i = 0; i < 8; ++i)
    commands.emplace_back([&, i] {
      auto access = StateAccess::open({.state = directory, .socket = {}, .create = false});
      if (access && access->ask(add_request("d" + std::to_string(i), new_key(), true))) ++good;
    });
  for (std::thread& command : commands) command.join();
  EXPECT_EQ(good, 8);
  EXPECT_EQ(open_state(directory)->devices("", 100)->size(), 8U);
}

}  // namespace
}  // namespace gatehouse::server
