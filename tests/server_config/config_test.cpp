// gatehouse.toml as operators write it: what is optional, and each mistake with its line and key.
#include "server/config/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "server/config/listen_address.h"

namespace gatehouse::server {
namespace {

class ConfigFile : public ::testing::Test {
 protected:
  ConfigFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gatehouse-config-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    folder_ = pattern;
  }
  ~ConfigFile() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::expected<Config, ConfigMistakes> read(const std::string& text) const {
    std::ofstream(folder_ + "/g.toml") << text;
    return read_config(folder_ + "/g.toml");
  }
  // Mistakes without the file's name.
  std::vector<std::string> mistakes(const std::string& text) const {
    const auto config = read(text);
    std::vector<std::string> out;
    if (!config)
      for (const std::string& line : config.error().lines) out.push_back(line.substr(folder_.size() + 8));
    return out;
  }
  std::string folder_;
};

const std::string least =
    "[pt_tls]\nlisten = [\"127.0.0.1:0\", \"[::]:271\"]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n";
const std::string rest = "[refdb]\npath = \"refdb\"\n[state]\npath = \"state\"\n";
// [radius] with these keys and what it can't be without.
std::string radius_of(const std::string& keys) {
  return "[radius]\nlisten = [\"127.0.0.1:1812\"]\npasswords = \"p\"\n" + keys + "[[radius.client]]\naddress = \"10.0.0.0/8\"\nsecret_file = \"s\"\n";
}

TEST_F(ConfigFile, NeedsOnlyListenerReferencesAndState) {
  const auto config = read(least + rest);
  ASSERT_TRUE(config) << config.error().lines.front();
  EXPECT_EQ(config->auth, Auth::none);  // neither certificates nor passwords: the server alone authenticates
  EXPECT_EQ(config->certificate, folder_ + "/c.pem");
  EXPECT_EQ(config->control_socket, folder_ + "/state/control.sock");
}

TEST_F(ConfigFile, RespondersAreUrlsOrWhatCertificatesName) {
  const auto config = read(least + "client_ca = \"ca.pem\"\nclient_ocsp = \"http://ocsp.example.org/a\"\n" + rest +
                           "[attestation]\nak_ca = \"ak.pem\"\nak_ocsp = \"certificate\"\n[ocsp]\nsilence = \"accept\"\nseconds = 9\n");
  ASSERT_TRUE(config) << config.error().lines.front();
  EXPECT_EQ(config->client_ocsp, "http://ocsp.example.org/a");
  EXPECT_EQ(config->ak_ocsp, "certificate");
  EXPECT_TRUE(config->silence_is_good);
  EXPECT_EQ(config->ocsp_limit, std::chrono::seconds(9));
  EXPECT_FALSE(read(least + rest)->silence_is_good) << "silence refuses unless the operator says otherwise";
  const auto others = read(least + "client_ca = \"ca.pem\"\nclient_ocsp = \"http://ocsp.example.org/a\"\n" + rest +
                           "[attestation]\nek_ca = \"ek.pem\"\nek_ocsp = \"certificate\"\n" + radius_of("tls_client_auth = \"optional\"\n"));
  ASSERT_TRUE(others);
  EXPECT_EQ(others->ek_ocsp, "certificate");
  EXPECT_EQ(others->radius.client_ocsp, "http://ocsp.example.org/a") << "whose authorities are those of PT-TLS";
  const auto own = read(least + "client_ca = \"ca.pem\"\nclient_ocsp = \"http://ocsp.example.org/a\"\n" + rest +
                        radius_of("tls_client_auth = \"optional\"\nclient_ca = \"eap.pem\"\n"));
  ASSERT_TRUE(own);
  EXPECT_EQ(own->radius.client_ocsp, "") << "other authorities have another responder";
  EXPECT_EQ(mistakes(least + rest + "[attestation]\nek_ocsp = \"certificate\"\n"),
            std::vector<std::string>{"0: attestation.ek_ca: is missing, and attestation.ek_ocsp needs it"});
  EXPECT_EQ(mistakes(least + rest + radius_of("client_ocsp = \"certificate\"\n")),
            std::vector<std::string>{"0: radius.client_ocsp: wants tls_client_auth = \"optional\" or \"required\": else no client has a certificate"});
  for (const char* const url : {"ftp://a", "http://", "https:///x", "http://a b", "file:///etc/passwd", "ocsp.example.org", ""})
    EXPECT_EQ(mistakes(least + "client_ca = \"ca.pem\"\nclient_ocsp = \"" + url + "\"\n" + rest),
              std::vector<std::string>{"6: pt_tls.client_ocsp: is the URL of an OCSP responder (http:// or https://), or \"certificate\""}) << url;
  EXPECT_EQ(mistakes(least + "client_ocsp = \"certificate\"\n" + rest),
            std::vector<std::string>{"0: pt_tls.client_ca: is missing, and pt_tls.client_ocsp needs it"});
  EXPECT_EQ(mistakes(least + rest + "[ocsp]\nsilence = \"maybe\"\n"), std::vector<std::string>{"10: ocsp.silence: is \"refuse\" or \"accept\""});
}

TEST_F(ConfigFile, TracesGoWhereTheFileSaysFromItsFolder) {
  EXPECT_EQ(read(least + rest)->trace, "");
  EXPECT_EQ(read(least + rest + "[server]\ntrace = \"traces\"\n")->trace, folder_ + "/traces");
  EXPECT_EQ(mistakes(least + rest + "[server]\ntrace = true\n"),
            std::vector<std::string>{"10: server.trace: wants a path"});
}

TEST_F(ConfigFile, SaysWhereRevocationListsAreFetchedFrom) {
  const std::string tls = "client_ca = \"ca.pem\"\nclient_crl = \"lists.pem\"\n";
  const auto config = read(least + tls + "client_crl_url = [\"http://a.example/1.crl\", \"https://b.example/2.crl\"]\n" + rest);
  ASSERT_TRUE(config) << config.error().lines.front();
  EXPECT_EQ(config->client_crl_url, (std::vector<std::string>{"http://a.example/1.crl", "https://b.example/2.crl"}));
  EXPECT_EQ(mistakes(least + tls + "client_crl_url = [\"ldap://a.example\"]\n" + rest),
            std::vector<std::string>{"7: pt_tls.client_crl_url: wants URLs of revocation lists (http:// or https://)"});
  EXPECT_EQ(mistakes(least + "client_crl_url = [\"http://a.example/1.crl\"]\n" + rest),
            std::vector<std::string>{"0: pt_tls.client_crl: is missing: the file that what pt_tls.client_crl_url names is fetched into"});
}

TEST(Referral, IsAHostAndAPort) {
  for (const char* const good : {"pdp.example.org:271", "192.0.2.7:5271", "[2001:db8::1]:271", "h:1"}) EXPECT_TRUE(parse_referral(good)) << good;
  EXPECT_EQ(parse_referral("[2001:db8::1]:271")->host, "2001:db8::1");
  for (const char* const bad : {"", "pdp.example.org", ":271", "pdp:0", "pdp:65536", "*:271", "[2001:db8::/32]:271", "[pdp.example.org/]:271", "a b:271", "2001:db8::1:271"})
    EXPECT_FALSE(parse_referral(bad)) << bad;
}

TEST_F(ConfigFile, SaysWhatIsKeptOfEvidence) {
  const auto config = read(least + rest);
  EXPECT_EQ(config->keep_evidence, Keep::refused);
  EXPECT_EQ(config->keep_evidence_days, 30U);
  EXPECT_EQ(config->keep_evidence_mb, 1024U);
  EXPECT_EQ(config->keep_sessions, 1'000'000U);
  const auto many = read(least + rest + "keep_sessions = 10000000\nkeep_unknown_sessions = 5\n");
  ASSERT_TRUE(many);
  EXPECT_EQ(many->keep_sessions, 10'000'000U);
  EXPECT_EQ(many->keep_unknown_sessions, 5U);
  EXPECT_EQ(many->keep_sessions_days, 0U);
  EXPECT_EQ(read(least + rest + "keep_sessions_days = 90\n")->keep_sessions_days, 90U);
  EXPECT_EQ(mistakes(least + rest + "keep_sessions = 0\n"), std::vector<std::string>{"9: state.keep_sessions: wants a number from 1 to 1000000000"});
  const auto all = read(least + rest + "keep_evidence = \"all\"\nkeep_evidence_days = 0\nkeep_evidence_mb = 50\nkeep_evidence_memory_mb = 8\n");
  ASSERT_TRUE(all) << all.error().lines.front();
  EXPECT_EQ(all->keep_evidence, Keep::all);
  EXPECT_EQ(all->keep_evidence_days, 0U);
  EXPECT_EQ(all->keep_evidence_mb, 50U);
  EXPECT_EQ(all->keep_evidence_memory_mb, 8U);
  EXPECT_EQ(mistakes(least + rest + "keep_evidence = \"some\"\nkeep_evidence_mb = 0\n"),
            (std::vector<std::string>{"9: state.keep_evidence: is one of none, refused, all",
                                      "10: state.keep_evidence_mb: wants a number from 1 to 1000000000"}));
}

TEST_F(ConfigFile, APolicyHasAShadowAndMayOnlyWatch) {
  const auto config = read(least + rest + "[policy]\nfile = \"p.toml\"\nshadow = \"next.toml\"\nenforce = false\nlease_seconds = 3600\n");
  ASSERT_TRUE(config) << config.error().lines.front();
  EXPECT_EQ(config->shadow_file, folder_ + "/next.toml");
  EXPECT_FALSE(config->enforce);
  EXPECT_EQ(config->lease, std::chrono::hours(1));
  EXPECT_TRUE(read(least + rest)->enforce);
  EXPECT_EQ(read(least + rest)->lease, std::chrono::hours(24));
  EXPECT_EQ(mistakes(least + rest + "[policy]\nenforce = \"no\"\n"), std::vector<std::string>{"10: policy.enforce: is true or false"});
}

TEST_F(ConfigFile, APolicyIsRehearsedOnlyByEvidenceOfAllSessions) {
  EXPECT_EQ(read(least + rest)->hold_percent, 0U);
  const auto config = read(least + rest + "keep_evidence = \"all\"\n[policy]\nhold_percent = 10\nrehearse_sessions = 200\nrehearse_seconds = 5\n");
  ASSERT_TRUE(config) << config.error().lines.front();
  EXPECT_EQ(config->hold_percent, 10U);
  EXPECT_EQ(config->rehearse_sessions, 200U);
  EXPECT_EQ(config->rehearse_time, std::chrono::seconds(5));
  EXPECT_EQ(mistakes(least + rest + "[policy]\nhold_percent = 10\n"),
            std::vector<std::string>{"0: policy.hold_percent: wants [state] keep_evidence = \"all\": else nothing is kept of devices that are allowed"});
  EXPECT_EQ(mistakes(least + rest + "keep_evidence = \"all\"\n[policy]\nhold_percent = 100\n"),
            std::vector<std::string>{"11: policy.hold_percent: wants a number from 1 to 99"});
}

TEST_F(ConfigFile, ResultsGoWhereTheFileSaysFromItsFolder) {
  EXPECT_EQ(read(least + rest)->results.file, "");
  EXPECT_EQ(read(least + rest + "[results]\nfile = \"r.jsonl\"\n")->results.file, folder_ + "/r.jsonl");
}

TEST_F(ConfigFile, MetricsHaveAnAddressOrAreOff) {
  EXPECT_EQ(read(least + rest)->metrics_listen, "");
  EXPECT_EQ(read(least + rest + "[metrics]\nlisten = \"[::1]:9271\"\n")->metrics_listen, "[::1]:9271");
  for (const char* const bad : {"true", "9271", "[\"127.0.0.1:9271\"]", "\"9271\"", "\":9271\"", "\"127.0.0.1:\"", "\"127.0.0.1:65536\"", "\"\""})
    EXPECT_EQ(mistakes(least + rest + "[metrics]\nlisten = " + bad + "\n"),
              std::vector<std::string>{"10: metrics.listen: wants ADDRESS:PORT, with a port up to 65535"}) << bad;
  EXPECT_EQ(mistakes(least + rest + "[metrics]\nport = 9271\n"), std::vector<std::string>{"10: metrics.port: unknown key"});
}

TEST_F(ConfigFile, ListenAddressesAreTakenApart) {
  const auto parts = [](std::string_view text) {
    const auto where = parse_listen_address(text);
    return where ? where->host + " " + std::to_string(where->port) : "";
  };
  EXPECT_EQ(parts("127.0.0.1:271"), "127.0.0.1 271");
  EXPECT_EQ(parts("[::1]:0"), "::1 0");
  EXPECT_EQ(parts("*:65535"), ":: 65535");
  for (const char* const bad : {"", ":", "x", ":271", "127.0.0.1", "127.0.0.1:", "127.0.0.1:-1", "127.0.0.1: 1", "127.0.0.1:65536", "127.0.0.1:1x"})
    EXPECT_EQ(parts(bad), "") << bad;
}

TEST_F(ConfigFile, AuthenticationIsWhatAuthoritiesAndUsersAllow) {
  EXPECT_EQ(read(least + "client_ca = \"a\"\n" + rest)->auth, Auth::tls);
  EXPECT_EQ(read(least + "users = \"u\"\n" + rest)->auth, Auth::sasl);
  EXPECT_EQ(read(least + "client_ca = \"a\"\nusers = \"u\"\n" + rest)->auth, Auth::tls_or_sasl);
  EXPECT_EQ(mistakes(least + "auth = \"tls\"\n" + rest),
            std::vector<std::string>{"0: pt_tls.client_ca: is missing, and authentication by certificate needs it"});
  EXPECT_FALSE(mistakes(least + "client_ca = 3\n" + rest).empty());  // a mistake, not a server that asks for nothing
}

TEST_F(ConfigFile, LetsEndpointsDecideOnlyWhereItSaysSo) {
  EXPECT_FALSE(read(least + rest)->test_imv);
  EXPECT_FALSE(read(least + rest + "[imv]\ntest = false\n")->test_imv);
  const auto on = read(least + rest + "[imv]\ntest = true\ntest_rounds = 2\n");
  ASSERT_TRUE(on);
  EXPECT_TRUE(on->test_imv);
  EXPECT_EQ(on->test_rounds, 2U);
  EXPECT_EQ(mistakes(least + rest + "[imv]\ntest = \"yes\"\n"), std::vector<std::string>{"10: imv.test: is true or false"});
}

const std::string gateways = "[radius]\nlisten = [\"127.0.0.1:1812\"]\n";
const std::string gateway = "[[radius.client]]\naddress = \"10.0.0.0/8\"\nsecret_file = \"gateways.secret\"\n";

TEST_F(ConfigFile, RadiusTakesWhatItIsNotToldFromPtTls) {
  EXPECT_TRUE(read(least + rest)->radius.listen.empty());
  const auto config = read(least + "client_ca = \"a.pem\"\nusers = \"u.db\"\n" + rest + gateways + gateway);
  ASSERT_TRUE(config) << config.error().lines.front();
  const RadiusConfig& r = config->radius;
  EXPECT_EQ(r.listen, std::vector<std::string>{"127.0.0.1:1812"});
  EXPECT_EQ(r.certificate, folder_ + "/c.pem");
  EXPECT_EQ(r.users, folder_ + "/u.db");
  // A users file has no passwords, so challenges can't be checked with it.
  EXPECT_EQ(r.methods, (std::vector<std::string>{"gtc", "pap"}));
  ASSERT_EQ(r.clients.size(), 1U);
  EXPECT_EQ(r.clients[0].prefix, parse_prefix("10.0.0.0/8"));
  EXPECT_EQ(r.clients[0].secret_file, folder_ + "/gateways.secret");
  EXPECT_EQ(r.allow.filter_id, "allow");
  EXPECT_EQ(r.isolate.filter_id, "isolate");
  const auto more = read(least + rest + gateways + "passwords = \"p\"\n[radius.reply.isolate]\nvlan = 66\nsession_timeout = 300\n" + gateway +
                         "profile = \"dot1x\"\n");
  ASSERT_TRUE(more) << more.error().lines.front();
  EXPECT_EQ(more->radius.methods, (std::vector<std::string>{"md5", "mschapv2", "gtc", "pap"}));
  EXPECT_EQ(more->radius.clients[0].profile, RadiusProfile::dot1x);
  EXPECT_EQ(more->radius.isolate.vlan, 66);
  EXPECT_EQ(more->radius.isolate.filter_id, "");  // a table says all that is told
  EXPECT_EQ(more->radius.isolate.session_timeout.count(), 300);
}

TEST_F(ConfigFile, RepliesAreByGroupAndHaveVendorsAttributes) {
  const auto config = read(least + "users = \"u.db\"\n" + rest + gateways + gateway +
                           "dynamic_port = 3799\n[radius.reply.allow]\nvlan = \"staff\"\n"
                           "vendor = [{ vendor = 9, type = 1, value = \"shell:priv-lvl=1\" }, { vendor = 14122, type = 8, hex = \"00000400\" }]\n"
                           "[radius.reply.group.servers.allow]\nvlan = 20\n[radius.reply.group.servers.isolate]\nvlan = 66\n");
  ASSERT_TRUE(config) << config.error().lines.front();
  const RadiusConfig& r = config->radius;
  EXPECT_EQ(r.clients[0].dynamic_port, 3799);
  EXPECT_EQ(r.allow.group_id(), "staff");
  ASSERT_EQ(r.allow.vendor.size(), 2U);
  EXPECT_EQ(r.allow.vendor[1].vendor, 14'122U);
  EXPECT_EQ(r.allow.vendor[1].value.size(), 4U);
  ASSERT_EQ(r.groups.size(), 1U);
  EXPECT_EQ(r.groups[0].group, "servers");
  EXPECT_EQ(r.groups[0].allow->group_id(), "20");
  EXPECT_EQ(r.groups[0].isolate->group_id(), "66");
  EXPECT_FALSE(r.groups[0].block);
  const std::string all = least + "users = \"u.db\"\n" + rest + gateways + gateway + "[radius.reply.allow]\n";
  for (const char* const bad : {"{ vendor = 0, type = 1, value = \"x\" }", "{ vendor = 9, type = 256, value = \"x\" }", "{ vendor = 9, type = 1 }",
                                "{ vendor = 9, type = 1, value = \"x\", hex = \"00\" }", "{ vendor = 9, type = 1, hex = \"0\" }",
                                "{ vendor = 9, type = 1, value = \"\" }", "3"})
    EXPECT_EQ(mistakes(all + "vendor = [" + bad + "]\n").size(), 1U) << bad;
}

TEST_F(ConfigFile, GatewaysOverTlsAreNamedByTheirCertificates) {
  const std::string all = least + "users = \"u.db\"\n" + rest + gateways + "listen_tls = [\"127.0.0.1:2083\"]\n";
  const std::string by_certificate = "[[radius.client]]\nsubject = \"CN=proxy\"\n";
  EXPECT_TRUE(mistakes(all + "gateway_ca = \"g.pem\"\n" + by_certificate + gateway).empty());
  EXPECT_EQ(mistakes(all + by_certificate),
            std::vector<std::string>{"0: radius.gateway_ca: is missing, and listen_tls needs it: whose gateways may connect"});
  EXPECT_EQ(mistakes(least + "users = \"u.db\"\n" + rest + gateways + by_certificate),
            std::vector<std::string>{"0: radius.listen_tls: is missing, and a client by subject needs it"});
  EXPECT_EQ(mistakes(all + "gateway_ca = \"g.pem\"\n" + by_certificate + by_certificate).size(), 1U);
  EXPECT_EQ(mistakes(all + "gateway_ca = \"g.pem\"\n" + by_certificate + "secret_file = \"s\"\n").size(), 1U);
  EXPECT_EQ(mistakes(all + "gateway_ca = \"g.pem\"\n" + by_certificate + "dynamic_port = 3799\n").size(), 1U);
}

TEST_F(ConfigFile, AnotherServerMayKnowThePasswords) {
  const auto config = read(least + rest + gateways + gateway + "[[radius.upstream]]\naddress = \"192.0.2.9:1812\"\nsecret_file = \"s\"\n");
  ASSERT_TRUE(config) << config.error().lines.front();
  EXPECT_EQ(config->radius.methods, (std::vector<std::string>{"gtc", "pap"}));
  EXPECT_EQ(config->radius.upstream.size(), 1U);
  EXPECT_EQ(mistakes(least + rest + gateways + gateway + "[[radius.upstream]]\naddress = \"192.0.2.9\"\n").size(), 2U);
}

TEST_F(ConfigFile, MethodsThatCantBeCheckedAreMistakes) {
  EXPECT_EQ(mistakes(least + "users = \"u.db\"\n" + rest + gateways + "methods = [\"gtc\", \"md5\"]\n" + gateway),
            std::vector<std::string>{"0: radius.passwords: is missing: md5 needs what users files don't keep; with those there are gtc and pap"});
  EXPECT_EQ(mistakes(least + rest + gateways + "methods = [\"pap\"]\n" + gateway),
            std::vector<std::string>{"0: radius.users: is missing, and pap needs it"});
  EXPECT_EQ(mistakes(least + rest + gateways + gateway),
            std::vector<std::string>{"0: radius.methods: has none that could be checked: name passwords or users, or let tls_client_auth be required"});
  EXPECT_TRUE(mistakes(least + "client_ca = \"a\"\n" + rest + gateways + "tls_client_auth = \"required\"\n" + gateway).empty());
  EXPECT_EQ(mistakes(least + rest + gateways + "tls_client_auth = \"required\"\n" + gateway),
            std::vector<std::string>{"0: radius.client_ca: is missing, and tls_client_auth needs it"});
}

TEST_F(ConfigFile, GatewaysAreNamedOnceAndWhole) {
  const std::string all = least + "users = \"u.db\"\n" + rest + gateways;
  EXPECT_EQ(mistakes(all), std::vector<std::string>{"0: radius.client: is missing: who may ask"});
  EXPECT_EQ(mistakes(all + gateway + gateway), std::vector<std::string>{"16: radius.client.address: is there already"});
  EXPECT_EQ(mistakes(all + "[[radius.client]]\naddress = \"10.0.0.1/8\"\nsecret_file = \"s\"\n"),
            std::vector<std::string>{"13: radius.client.address: wants an address, or a prefix such as 10.0.0.0/8"});
  EXPECT_EQ(mistakes(all + "[[radius.client]]\naddress = \"10.0.0.1\"\n"), std::vector<std::string>{"12: radius.client.secret_file: is missing"});
  EXPECT_EQ(mistakes(all + gateway + "secret = \"x\"\n"), std::vector<std::string>{"15: radius.client.secret: unknown key"});
  EXPECT_EQ(mistakes(all + gateway + "[radius.reply.allow]\nvlan = 4095\n"),
            std::vector<std::string>{"16: radius.reply.allow.vlan: wants a number from 1 to 4094"});
  EXPECT_EQ(mistakes(all + gateway + "[radius.reply.deny]\n"), std::vector<std::string>{"15: radius.reply.deny: unknown key"});
}

TEST_F(ConfigFile, SaysWhereResultsGoOutTo) {
  const auto c = read(least + rest + "[results]\ncommand_allow = [\"/bin/open\", \"-v\"]\ncommand_seconds = 5\ncommand_writes = [\"/run/x\"]\n"
                      "syslog = \"tcp:[::1]:601\"\nsyslog_facility = \"local3\"\n"
                      "[[results.webhook]]\nurl = \"https://a.example/x\"\nkey_file = \"k\"\nformat = \"ear\"\n[[results.webhook]]\nurl = \"http://127.0.0.1:1/\"\nqueue = 5\n");
  ASSERT_TRUE(c) << c.error().lines.front();
  EXPECT_TRUE(c->results.file.empty());
  EXPECT_EQ(c->results.command_allow, (std::vector<std::string>{"/bin/open", "-v"}));
  EXPECT_TRUE(c->results.command.empty());
  EXPECT_EQ(c->results.command_limit.count(), 5);
  EXPECT_TRUE(c->results.command_sandbox);
  EXPECT_EQ(c->results.syslog_facility, 19U);
  ASSERT_EQ(c->results.webhooks.size(), 2U);
  EXPECT_EQ(c->results.webhooks[0].key_file, folder_ + "/k");
  EXPECT_EQ(c->results.webhooks[0].format, ResultFormat::ear);
  EXPECT_EQ(c->results.webhooks[1].queue, 5U);
  const std::string before = least + rest + "[results]\n";
  const auto line = std::to_string(std::count(before.begin(), before.end(), '\n') + 1) + ": results.";
  const auto mistake = [&](const std::string& text) {
    const auto all = mistakes(before + text);
    return all.size() == 1 ? all[0] : "not one mistake but " + std::to_string(all.size());
  };
  EXPECT_EQ(mistake("command = [\"open\"]\n"), line + "command: wants a program by its absolute path");
  EXPECT_EQ(mistake("command = \"/bin/open\"\n"), line + "command: wants a list of strings");
  EXPECT_EQ(mistake("command_writes = [\"run\"]\n"), line + "command_writes: wants absolute paths");
  EXPECT_EQ(mistake("command_seconds = 0\n"), line + "command_seconds: wants a number from 1 to 3600");
  EXPECT_EQ(mistake("syslog = \"udp:log.example:514\"\n"), line + "syslog: is unix:PATH, udp:ADDRESS:PORT or tcp:ADDRESS:PORT");
  EXPECT_EQ(mistake("syslog_facility = \"local8\"\n"), line + "syslog_facility: is a facility's name, such as authpriv, daemon or local0");
  EXPECT_EQ(mistake("webhook = \"https://a\"\n"), line + "webhook: wants tables, [[results.webhook]]");
  EXPECT_EQ(mistake("webhook = [{ url = \"http://a.example\" }]\n"), line + "webhook.url: wants https://HOST/…, or http:// to this machine");
  EXPECT_EQ(mistake("webhook = [{ key_file = \"k\" }]\n"), line + "webhook.url: is missing");
  EXPECT_EQ(mistake("webhook = [{ url = \"https://a\" }, { url = \"https://a\" }]\n"), line + "webhook.url: is there already");
  EXPECT_EQ(mistake("webhook = [{ url = \"https://a\", secret = 1 }]\n"), line + "webhook.secret: unknown key");
}

TEST_F(ConfigFile, AWrongValueIsOneMistakeAndNotAMissingKey) {
  EXPECT_EQ(mistakes("[pt_tls]\nlisten = \"x\"\ncertificate = \"c\"\nkey = \"k\"\n" + rest),
            std::vector<std::string>{"2: pt_tls.listen: wants a list of strings"});
  EXPECT_EQ(mistakes(least + "[refdb]\npath = 3\n[state]\npath = \"s\"\n"),
            std::vector<std::string>{"6: refdb.path: wants a path"});
  EXPECT_EQ(mistakes(least + "[refdb]\npath = \"r\"\n"), std::vector<std::string>{"0: state.path: is missing"});
}

TEST_F(ConfigFile, PortsAreNumbers) {
  for (const std::string address :
       {"127.0.0.1:99999", "127.0.0.1:65536", "127.0.0.1:", "127.0.0.1", ":271", "127.0.0.1:x", "127.0.0.1:-1", ""})
    EXPECT_EQ(mistakes("[pt_tls]\nlisten = [\"" + address + "\"]\ncertificate = \"c\"\nkey = \"k\"\n" + rest),
              std::vector<std::string>{"2: pt_tls.listen: wants ADDRESS:PORT, with a port up to 65535"})
        << address;
}

TEST_F(ConfigFile, AFileThatCannotBeReadIsTheEnvironments) {
  const auto absent = read_config(folder_ + "/absent.toml");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().fault, Fault::environment);
  EXPECT_EQ(read("nonsense").error().fault, Fault::usage);
}

}  // namespace
}  // namespace gatehouse::server
