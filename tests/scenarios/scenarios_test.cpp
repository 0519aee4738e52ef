// strongSwan's acceptance scenarios (spec part 1a §8) in our form over PT-TLS, with the endpoint's collectors as client
// of a real `gatehouse serve`. As there, carol authenticates by password and tells what she can unasked, and dave by
// certificate and waits to be asked. scripts/interop.sh holds the same with strongSwan's client.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/hex.h"
#include "endpoint/client/transport.h"
#include "endpoint/imc/attestation/files.h"
#include "endpoint/imc/os/settings.h"
#include "endpoint/imc/scanner/scanner_imc.h"
#include "endpoint/imc/swima/installed_software.h"
#include "endpoint/imc/swima/swima_imc.h"
#include "endpoint/imc/test/test_imc.h"
#include "tests/scenarios/wrong_server.h"
#include "tests/server_program/site.h"

namespace gatehouse::test {
namespace {

using endpoint::Evaluation;
using endpoint::Recommendation;

constexpr std::string_view all_ok =
    "processed 1732 IMA file evidence measurements: 1625 ok, 107 unknown, 0 differ, 0 failed; 136 BIOS evidence "
    "measurements are ok";

// The machine of one of the two, with what its collectors tell.
struct Host {
  std::string name;
  Machine machine;
  std::string device;
  std::string user, password;
  std::string certificate, key;
  endpoint::OsInfo os;
  endpoint::OsSources sources;
  std::unique_ptr<endpoint::InstalledSoftware> software;
  std::string dpkg_status;  // file of what is installed
  bool subscriptions = false;
  std::vector<patnc::PortFilterEntry> ports;
  std::optional<endpoint::TestConfig> test;
  endpoint::AttestationConfig attestation;
  int tls = TLS1_3_VERSION;
  std::string ciphers;  // of TLS 1.2

  void install(const std::string& package, const std::string& version) const {
    std::ofstream(dpkg_status, std::ios::app)
        << "Package: " << package << "\nStatus: install ok installed\nArchitecture: "
        << "all\nVersion: " << version << "\nDescription: nothing\n\n";
  }
};

// What became of a conversation, as the client sees it.
struct Told {
  std::optional<endpoint::Outcome> outcome;
  std::vector<std::string> notes;
  std::string error, tls;
  std::vector<ByteVector> server_batches;
  Recommendation recommendation() const { return outcome ? outcome->recommendation : Recommendation::none; }
  bool remedy(std::string_view text) const {
    if (outcome)
      for (const endpoint::Assessment& a : outcome->components)
        for (const std::string& one : a.remediation)
          if (one.find(text) != std::string::npos) return true;
    return false;
  }
};

// What a test does to a conversation.
struct Meddling {
  std::function<ByteVector(ByteVector)> tamper;  // with each PT-TLS message of the client
  // In Decided, where the collectors keep the connection: nullopt ends it.
  std::function<std::optional<endpoint::Session::Step>(endpoint::Session&)> decided;
};

class Scenario : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    std::ofstream(site.path("secret")) << "correct horse battery\n";
    const auto added =
        endpoint::test::run(std::string(GATEHOUSE_PROGRAM) + " user add --users '" + site.path("users.db") +
                            "' carol --password-file '" + site.path("secret") + "'");
    ASSERT_EQ(added.code, 0) << added.out;
    carol = host("carol", endpoint::KeyAlgorithm::rsassa, "carol");
    carol.user = "carol";
    carol.password = "correct horse battery";
    dave = host("dave", endpoint::KeyAlgorithm::ecc, "CN=client");
    dave.certificate = site.path("client.pem");
    dave.key = site.path("client.key");
    dave.sources.push = false;
  }
  void TearDown() override { stop(); }

  // From now on every device is asked for this, a list as in policy.toml; what was recorded before stays.
  // `attestation`: further keys of the server's section.
  void serve(const std::string& ask, const std::string& attestation = {}) {
    stop();
    std::ofstream(site.path("policy.toml")) << "[policy]\nremediation_uri = \"https://help.example.org/\"\n"
                                            << "[groups.all]\nask = " << ask << "\n";
    site.configure("users = \"users.db\"\nauth = \"tls-or-sasl\"\n");
    std::ofstream(site.path("gatehouse.toml"), std::ios::app)
        << "[policy]\nfile = \"policy.toml\"\n[imv]\ntest = true\n[attestation]\n"
        << attestation;
    server_ = std::make_unique<Program>(site.serve({"--log-level", "debug"}));
    port_ = server_->port();
    ASSERT_NE(port_, 0) << server_->log();
  }
  void stop() {
    if (!server_) return;
    server_->signal(SIGTERM);
    EXPECT_EQ(server_->wait(), 0) << server_->log();
    server_.reset();
  }
  Program& server() { return *server_; }

  Told assess(Host& host, const Meddling& meddling = {}) const {
    if (host.tls == TLS1_3_VERSION) {
      auto transport = endpoint::Transport::connect({.host = "localhost",
                                                     .port = std::to_string(port_),
                                                     .ca = site.authority.certificate(),
                                                     .certificate = host.certificate,
                                                     .key = host.key});
      EXPECT_TRUE(transport) << (transport ? "" : transport.error().text());
      if (!transport) return {};
      Told out = converse(
          host, meddling, [&](Bytes bytes) { return bytes.empty() || transport->write(bytes).has_value(); },
          [&] { return transport->read().value_or(ByteVector()); }, transport->channel_binding());
      transport->finish();
      out.tls = transport->description();
      return out;
    }
    TlsPeer peer(port_, {host.tls, host.ciphers, host.certificate, host.key});
    EXPECT_TRUE(peer.good()) << peer.error();
    if (!peer.good()) return {};
    Told out = converse(
        host, meddling, [&](Bytes bytes) { return peer.write(bytes); }, [&] { return peer.read(); }, {});
    out.tls = peer.version() + " " + peer.cipher();
    return out;
  }

  // Two files, measured once as references of each endpoint.
  void write_file(const std::string& name, const std::string& content) const {
    std::ofstream(site.path("measured/" + name)) << content << '\n';
  }
  void learn_files() {
    std::filesystem::create_directory(site.path("measured"));
    write_file("one", "one");
    write_file("two", "two");
    serve(R"([{ type = "DREFM", argument = ")" + site.path("measured") + R"(" }])");
    for (Host* const host : {&carol, &dave}) {
      EXPECT_EQ(assess(*host).recommendation(), Recommendation::allow) << host->name;
      EXPECT_EQ(result("DREFM"), "directory reference measurement successful") << host->name;
    }
  }
  // What to ask for: a file's content, a folder's, a file's metadata, and these.
  std::string measure(const std::string& more) const {
    const auto item = [&](const char* type, const char* name) {
      return std::string("{ type = \"") + type + "\", argument = \"" + site.path("measured") + name + "\" }, ";
    };
    return "[" + item("FMEAS", "/one") + item("DMEAS", "") + item("FMETA", "/two") + more + "]";
  }
  void expect_files_as_they_were() const {
    EXPECT_EQ(result("FMEAS"), "file measurement correct");
    EXPECT_EQ(result("DMEAS"), "directory measurement correct");
    EXPECT_EQ(result("FMETA"), "file metadata requested");
  }

  // The newest verdicts first.
  std::vector<boost::json::object> verdicts(std::size_t most) const {
    const auto listed = site.gatehouse("session list --json --last " + std::to_string(most));
    EXPECT_EQ(listed.code, 0) << listed.out;
    std::vector<boost::json::object> out;
    std::istringstream lines(listed.out);
    for (std::string line; std::getline(lines, line);) out.push_back(boost::json::parse(line).as_object());
    return out;
  }
  boost::json::object verdict() const {
    auto all = verdicts(1);
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? boost::json::object() : std::move(all.front());
  }
  static std::string member(const boost::json::object& verdict, std::string_view name) {
    const boost::json::value* const value = verdict.if_contains(name);
    return value != nullptr && value->is_string() ? std::string(value->get_string()) : "absent";
  }
  // The result of the item of this type.
  static std::string result(const boost::json::object& verdict, std::string_view type) {
    if (const boost::json::value* const items = verdict.if_contains("items"))
      for (const boost::json::value& item : items->as_array())
        if (member(item.as_object(), "type") == type) return member(item.as_object(), "result");
    return "no such item";
  }
  std::string result(std::string_view type) const { return result(verdict(), type); }
  std::size_t software_of(const Host& host, std::string_view text = {}) const {
    const auto listed = site.gatehouse("device software --json " + host.device);
    EXPECT_EQ(listed.code, 0) << listed.out;
    std::size_t count = 0;
    std::istringstream lines(listed.out);
    for (std::string line; std::getline(lines, line);) count += line.find(text) != std::string::npos;
    return count;
  }

  Site site;
  Host carol, dave;

 private:
  // Enrolled with its firmware, and bound to its identity.
  Host host(const std::string& name, endpoint::KeyAlgorithm kind, const std::string& identity) {
    Host out;
    out.name = name;
    out.machine = site.enrolled({.algorithm = kind, .identity = identity});
    out.device = out.machine.tpm->ak().key_id();
    out.os.name = "Debian";
    endpoint::set_version(out.os, "12 x86_64");
    out.os.forwarding = 0;
    out.os.device_id = out.device;
    out.dpkg_status = site.path(name + "-status");
    for (int n = 0; n < 300; ++n) out.install("package" + std::to_string(n), "1:" + std::to_string(n) + ".0-1");
    out.sources.packages = [status = out.dpkg_status] { return endpoint::dpkg_packages(status); };
    out.sources.setting = [](std::string_view setting) { return endpoint::read_setting(setting); };
    fresh_inventory(out);
    return out;
  }

 protected:
  // As after the loss of the collector's log, or before there was one.
  void fresh_inventory(Host& host) const {
    const std::string folder = site.path(host.name + "-inventory");
    std::filesystem::remove_all(folder);
    auto opened = endpoint::Inventory::open({.directory = folder,
                                             .platform = {.name = "Debian", .version = "12 x86_64"},
                                             .dpkg_status = host.dpkg_status,
                                             .rpm_databases = {}});
    ASSERT_TRUE(opened) << opened.error().text();
    host.software =
        std::make_unique<endpoint::InstalledSoftware>(std::move(*opened), [] { return std::int64_t(::time(nullptr)); });
  }

 private:
  static Told converse(Host& host, const Meddling& meddling, const std::function<bool(Bytes)>& write,
                       const std::function<ByteVector()>& read, ChannelBinding channel) {
    endpoint::OsImc os(host.os, host.sources);
    endpoint::SwimaImc swima({.subscriptions = host.subscriptions}, *host.software);
    auto boot = endpoint::firmware_evidence(host.machine.log, HashAlgorithm::sha256, {});
    auto list = endpoint::ima_evidence(host.machine.list, HashAlgorithm::sha256, {});
    EXPECT_TRUE(boot && list);
    endpoint::FixedEvidence evidence(*boot, *list, std::uint8_t{3}, {{"/bin", "/usr/bin"}, {"/lib", "/usr/lib"}});
    endpoint::LocalFiles files;
    endpoint::AttestationImc attestation(host.attestation, *host.machine.tpm, evidence, &files);
    endpoint::ScannerImc scanner([&] { return host.ports; });
    endpoint::TestImc test(host.test.value_or(endpoint::TestConfig()));
    std::vector<endpoint::Imc*> collectors{&os, &swima, &attestation, &scanner};
    if (host.test) collectors.push_back(&test);
    endpoint::Session::Config config;
    config.user = host.user;
    config.password = Secret(as_bytes(host.password));
    config.tnc.keep = meddling.decided != nullptr;
    endpoint::Session session(std::move(config), collectors);
    session.bind_channel(std::move(channel));

    Told out;
    pttls::Framer framer;
    endpoint::Session::Step step = session.start();
    for (;;) {
      for (ByteVector& message : messages_of(step.send))
        if (!write(meddling.tamper ? meddling.tamper(std::move(message)) : std::move(message))) break;
      if (step.ended) break;
      if (meddling.decided && session.decided() && session.outcome() && step.send.empty()) {
        auto next = meddling.decided(session);
        step = next ? std::move(*next) : session.close();
        continue;
      }
      const ByteVector answer = read();
      framer.feed(answer);
      for (auto m = framer.next(); m && *m != nullptr; m = framer.next())
        if ((*m)->header.kind() == pttls::Type::pb_tnc_batch) out.server_batches.push_back(to_vector((*m)->value));
      step = answer.empty() ? session.end_of_stream() : session.feed(answer);
    }
    out.outcome = session.outcome();
    out.notes = session.notes();
    if (session.error()) out.error = session.error()->text();
    return out;
  }

  std::unique_ptr<Program> server_;
  std::uint16_t port_ = 0;
};

// The client's first batch, changed.
std::function<ByteVector(ByteVector)> first_batch(std::function<ByteVector(ByteVector)> change) {
  return [change, done = false](ByteVector message) mutable {
    constexpr std::size_t type_low = 7;  // of the PT-TLS header
    if (done || message[type_low] != std::byte(pttls::Type::pb_tnc_batch)) return message;
    done = true;
    const ByteVector batch = change(to_vector(Bytes(message).subspan(pttls::header_size)));
    Writer w;
    pttls::append_message(w, pttls::Type::pb_tnc_batch,
                          *Reader(Bytes(message).subspan(12), "test").get<std::uint32_t>(), batch);
    return std::move(w).take();
  };
}
// A message in front of those of a batch.
ByteVector with_message(const ByteVector& batch, bool noskip, std::uint32_t type, Bytes value) {
  Writer w;
  pbtnc::append_message(w, noskip, pbtnc::vendor_ita, type, value);
  w.put_bytes(Bytes(batch).subspan(pbtnc::batch_header_size));
  return pbtnc::batch(pbtnc::BatchType::cdata, false, w.view());
}

// CRETRY after isolation: carol's second assessment allows, dave's isolates again.
TEST_F(Scenario, 4_client_retry) {
  serve("[]");
  carol.test = {.command = "isolate", .retry_command = "allow"};
  dave.test = {.command = "isolate", .retry_command = "isolate"};
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::allow);
  EXPECT_EQ(assess(dave).recommendation(), Recommendation::isolate);
  const auto all = verdicts(10);
  ASSERT_EQ(all.size(), 4U);
  const char* const expected[] = {"isolate", "isolate", "allow", "isolate"};  // newest first
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(member(all[i], "recommendation"), expected[i]) << i;
  EXPECT_EQ(member(all[2], "device"), carol.device);
  EXPECT_EQ(member(all[3], "device"), carol.device);
}

// Carol tells events since her inventory, and with a subscription what is installed while she is connected; dave's log
// isn't what it was, so that he tells his inventory each time.
TEST_F(Scenario, 5_ev_pt_tls) {
  serve("[{ type = \"SWIDT\", argument = \"R\" }]");
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::allow);
  EXPECT_TRUE(server().says("endpoint authenticated by password as 'carol'"));
  EXPECT_EQ(result("SWIDT"), "received inventory of 300 SW IDs and 0 SWID tags");
  EXPECT_EQ(software_of(carol), 300U);
  carol.install("gatehouse-one", "1.0");
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::allow);
  EXPECT_EQ(result("SWIDT"), "received 1 SW ID event and 0 SWID tags");
  EXPECT_EQ(software_of(carol, "gatehouse-one-1.0"), 1U);

  EXPECT_EQ(assess(dave).recommendation(), Recommendation::allow);
  EXPECT_TRUE(server().says("skipping SASL, endpoint authenticated by certificate as 'CN=client'"));
  EXPECT_EQ(result("SWIDT"), "received inventory of 300 SW IDs and 0 SWID tags");
  fresh_inventory(dave);
  dave.install("gatehouse-two", "2.0");
  EXPECT_EQ(assess(dave).recommendation(), Recommendation::allow);
  EXPECT_EQ(result("SWIDT"), "received inventory of 301 SW IDs and 0 SWID tags");
  EXPECT_EQ(software_of(dave, "gatehouse-two-2.0"), 1U);

  serve("[{ type = \"SWIDT\", argument = \"R S\" }]");
  carol.subscriptions = true;
  int rounds = 0;
  const Told told =
      assess(carol, {.decided = [&](endpoint::Session& session) -> std::optional<endpoint::Session::Step> {
               if (++rounds > 1) return std::nullopt;
               carol.install("gatehouse-three", "3.0");
               EXPECT_TRUE(carol.software->refresh());
               return session.retry();
             }});
  EXPECT_EQ(told.recommendation(), Recommendation::allow) << told.error;
  EXPECT_EQ(rounds, 2);
  EXPECT_EQ(result("SWIDT").substr(0, 57), "received 1 SW ID event and 0 SWID tags from subscription ")
      << result("SWIDT");
  EXPECT_EQ(software_of(carol), 302U);

  serve("[{ type = \"SWIDT\", argument = \"R T\" }]");
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::allow);
  EXPECT_EQ(result("SWIDT"), "received 0 SW ID events and 302 SWID tags");
}

// Carol's first batch is of version 3, dave's has an unknown message with NOSKIP: fatal errors, no recommendation.
TEST_F(Scenario, 6_fail_init) {
  serve("[\"FWDEN\"]");
  const Told old = assess(carol, {.tamper = first_batch([](ByteVector batch) {
                                    batch[0] = std::byte{3};
                                    return batch;
                                  })});
  EXPECT_FALSE(old.outcome);
  EXPECT_NE(old.error.find("Version Not Supported"), std::string::npos) << old.error;
  EXPECT_NE(member(verdict(), "recommendation"), "allow");
  EXPECT_EQ(member(verdict(), "evaluation"), "error");
  const Told unknown = assess(dave, {.tamper = first_batch([](const ByteVector& batch) {
                                       return with_message(batch, true, pbtnc::type::ita_noskip_test, {});
                                     })});
  EXPECT_FALSE(unknown.outcome);
  EXPECT_NE(unknown.error.find("Unsupported Mandatory Message"), std::string::npos) << unknown.error;
  EXPECT_EQ(member(verdict(), "evaluation"), "error");
  EXPECT_EQ(verdicts(10).size(), 2U);
}

// The server answers with version 3: our client says why it ends, and has no recommendation.
TEST_F(Scenario, 7_fail_resp) {
  Writer nothing;
  ByteVector batch = pbtnc::batch(pbtnc::BatchType::sdata, true, nothing.view());
  batch[0] = std::byte{3};
  WrongServer wrong(site.path("server.pem"), site.path("server.key"), batch);
  auto transport = endpoint::Transport::connect(
      {.host = "localhost", .port = std::to_string(wrong.port()), .ca = site.authority.certificate()});
  ASSERT_TRUE(transport) << transport.error().text();
  endpoint::OsImc os(carol.os);
  endpoint::Session session({}, {&os});
  endpoint::Session::Step step = session.start();
  for (;;) {
    ASSERT_TRUE(transport->write(step.send));
    if (step.ended) break;
    const auto received = transport->read();
    ASSERT_TRUE(received) << received.error().text();
    step = received->empty() ? session.end_of_stream() : session.feed(*received);
  }
  transport->finish();
  EXPECT_FALSE(session.outcome());
  ASSERT_TRUE(session.error());
  EXPECT_EQ(session.error()->fault, Fault::protocol);
  const std::vector<ByteVector> batches = wrong.batches();
  ASSERT_EQ(batches.size(), 2U);
  const auto last = pbtnc::parse_batch(batches[1], true);
  ASSERT_TRUE(last);
  EXPECT_EQ(last->type, pbtnc::BatchType::close);
  ASSERT_EQ(last->messages.size(), 1U);
  // Spec part 1a §5.7: fatal, Version Not Supported; the bad version, and those that we speak.
  EXPECT_EQ(to_hex(last->messages[0].value),
            "80000000"
            "0004"
            "0000"
            "03"
            "02"
            "02"
            "00");
}

// Mutual mode, which isn't taken up: the conversation stays in normal mode.
TEST_F(Scenario, 11_mutual_pt_tls) {
  serve("[\"FWDEN\"]");
  Writer half_duplex;
  patnc::append_u32(half_duplex, pbtnc::mutual_half_duplex);
  for (Host* const host : {&carol, &dave}) {
    const Told told =
        assess(*host, {.tamper = first_batch([&](const ByteVector& batch) {
                         return with_message(batch, false, pbtnc::type::ita_mutual_capability, half_duplex.view());
                       })});
    EXPECT_EQ(told.recommendation(), Recommendation::allow) << host->name << ": " << told.error;
    ASSERT_FALSE(told.server_batches.empty());
    for (const ByteVector& bytes : told.server_batches) {
      const auto batch = pbtnc::parse_batch(bytes, false);  // which a batch for the other direction isn't
      ASSERT_TRUE(batch);
      for (const pbtnc::Message& m : batch->messages) EXPECT_NE(m.vendor, pbtnc::vendor_ita);
    }
  }
}

// Product, packages, settings, forwarding and ports, volunteered by carol and asked of dave.
TEST_F(Scenario, 12_os_with_packages_and_forwarding) {
  const std::string packages = "processed 300 packages: 0 vulnerable, 0 blacklisted, 0 ok, 300 unknown";
  serve("[\"PCKGS\", \"FWDEN\", \"PWDEN\"]");
  for (Host* const host : {&carol, &dave}) {
    EXPECT_EQ(assess(*host).recommendation(), Recommendation::allow) << host->name;
    const auto v = verdict();
    EXPECT_EQ(member(v, "device"), host->device);
    EXPECT_EQ(member(v, "product"), "Debian 12 x86_64");
    EXPECT_EQ(result(v, "PCKGS"), packages);
    EXPECT_EQ(result(v, "FWDEN"), "forwarding not enabled");
    EXPECT_EQ(result(v, "PWDEN"), "factory default password not enabled");
  }
  dave.os.forwarding = 1;
  const Told forwards = assess(dave);
  EXPECT_EQ(forwards.recommendation(), Recommendation::isolate);
  EXPECT_TRUE(forwards.remedy("IP Packet Forwarding"));
  EXPECT_EQ(result("FWDEN"), "forwarding enabled");
  EXPECT_EQ(result("PCKGS"), packages);
  dave.os.forwarding = 0;

  serve(
      "[{ type = \"PCKGS\", on_fail = \"block\", blacklisted = [\"package7 *\"], vulnerable = [\"package8 < 1:9\"] }, "
      "{ type = \"UNSRC\", on_noresult = \"allow\" }]");
  const Told listed = assess(carol);
  EXPECT_EQ(listed.recommendation(), Recommendation::block);
  EXPECT_TRUE(listed.remedy("package7"));
  EXPECT_TRUE(listed.remedy("package8"));
  EXPECT_EQ(result("PCKGS"), "processed 300 packages: 1 vulnerable, 1 blacklisted, 0 ok, 298 unknown");

  serve("[{ type = \"UNSRC\", on_noresult = \"isolate\" }]");
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::isolate) << "this collector reads no such setting";
  carol.sources.setting = [](std::string_view) { return std::optional(to_vector(as_bytes("0"))); };
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::allow);
  EXPECT_EQ(result("UNSRC"), "unknown sources not enabled");
  carol.sources.setting = [](std::string_view) { return std::optional(to_vector(as_bytes("1"))); };
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::isolate);
  EXPECT_EQ(result("UNSRC"), "unknown sources enabled");

  serve("[{ type = \"TCPOP\", argument = \"22 80-90\" }, { type = \"UDPBL\", argument = \"69\" }]");
  carol.ports = {{false, 6, 22}, {false, 6, 80}, {false, 17, 68}};
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::allow);
  carol.ports.push_back({false, 6, 4711});
  carol.ports.push_back({false, 17, 69});
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::isolate);
  EXPECT_EQ(result("TCPOP"), "violating tcp ports: 4711");
  EXPECT_EQ(result("UDPBL"), "violating udp ports: 69");
}

// 12 with an attestation: carol is allowed, and dave, whose evidence is as good, forwards packets.
TEST_F(Scenario, 13_os_pts) {
  learn_files();
  serve(measure("\"FWDEN\", \"PCKGS\", \"TPMRA\""));
  dave.os.forwarding = 1;
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::allow);
  EXPECT_EQ(member(verdict(), "summary"), all_ok);
  EXPECT_EQ(assess(dave).recommendation(), Recommendation::isolate);
  EXPECT_EQ(member(verdict(), "summary"), all_ok);
  EXPECT_EQ(result("FWDEN"), "forwarding enabled");
  expect_files_as_they_were();
  write_file("one", "another");
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::isolate);
  EXPECT_EQ(result("FMEAS"), "file measurement not correct");
  EXPECT_EQ(result("DMEAS"), "directory measurement not correct");
}

// The seed's workload: firmware log, IMA list and inventory, by password and by certificate.
TEST_F(Scenario, 15_pdp_pt_tls) {
  serve("[\"TPMRA\", \"SWIDT\", \"FWDEN\", \"PWDEN\"]");
  for (Host* const host : {&carol, &dave}) {
    const Told told = assess(*host);
    EXPECT_EQ(told.recommendation(), Recommendation::allow) << host->name << ": " << told.error;
    EXPECT_EQ(told.outcome->assessment, Evaluation::compliant);
    EXPECT_EQ(told.tls.substr(0, 7), "TLSv1.3");
    const auto v = verdict();
    EXPECT_EQ(member(v, "recommendation"), "allow");
    EXPECT_EQ(member(v, "summary"), all_ok);
    EXPECT_EQ(member(v.at("quote").as_object(), "status"), "ok");
    EXPECT_EQ(result(v, "SWIDT"), "received 300 SWID tags");
    EXPECT_EQ(software_of(*host), 300U);
  }
}

// TLS 1.3 and TLS 1.2: both are allowed.
TEST_F(Scenario, 16_pts_over_both_versions_of_tls) {
  learn_files();
  serve(measure("\"TPMRA\", \"FWDEN\""));
  EXPECT_EQ(assess(carol).recommendation(), Recommendation::allow);
  EXPECT_EQ(member(verdict(), "summary"), all_ok);
  expect_files_as_they_were();
  dave.tls = TLS1_2_VERSION;
  dave.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
  const Told told = assess(dave);
  EXPECT_EQ(told.recommendation(), Recommendation::allow) << told.error;
  EXPECT_EQ(told.tls, "TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256");
  EXPECT_EQ(member(verdict(), "summary"), all_ok);
  expect_files_as_they_were();
}

// Nothing on elliptic curves: finite field groups in TLS and for the nonce, RSA keys.
TEST_F(Scenario, 17_pts_no_ecc) {
  site.authority.issue("server", {.purpose = "serverAuth", .rsa = true});
  learn_files();
  serve(measure("\"TPMRA\", \"FWDEN\""), "dh_groups = [\"modp2048\"]\n");
  for (Host* const host : {&carol, &dave}) {
    host->attestation.dh_groups = {DhGroup::modp2048};
    host->tls = TLS1_2_VERSION;
    host->ciphers = "DHE-RSA-AES128-GCM-SHA256";
  }
  dave.os.forwarding = 1;
  const Told told = assess(carol);
  EXPECT_EQ(told.recommendation(), Recommendation::allow) << told.error;
  EXPECT_EQ(told.tls, "TLSv1.2 DHE-RSA-AES128-GCM-SHA256");
  EXPECT_EQ(member(verdict(), "summary"), all_ok);
  expect_files_as_they_were();
  EXPECT_EQ(assess(dave).recommendation(), Recommendation::isolate);
  EXPECT_EQ(member(verdict(), "summary"), all_ok);
  // A client that knows only curves has no group in common.
  carol.attestation.dh_groups = {DhGroup::ecp256};
  EXPECT_NE(assess(carol).recommendation(), Recommendation::allow);
}

}  // namespace
}  // namespace gatehouse::test
