// The commands of an operator, run as an operator runs them: what they print and their exit codes are the same on a
// directory that nobody holds and on one that a server holds.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "server/control/control.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

struct Ran {
  int code;
  std::string out;
};

Ran run(const std::string& arguments) {
  FILE* const pipe = ::popen((std::string(GATEHOUSE_BINARY) + " " + arguments + " 2>&1").c_str(), "r");
  std::string out;
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, out};
}

// Times differ from run to run.
std::string timeless(const std::string& text) {
  constexpr std::string_view form = "0000-00-00T00:00:00.000Z";
  const auto is_time = [&](std::string_view at) {
    if (at.size() < form.size()) return false;
    for (std::size_t i = 0; i < form.size(); ++i)
      if (form[i] == '0' ? at[i] < '0' || at[i] > '9' : at[i] != form[i]) return false;
    return true;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const bool time = is_time(std::string_view(text).substr(i));
    out += time ? std::string("TIME") : std::string(1, text[i]);
    i += time ? form.size() : 1;
  }
  return out;
}

std::string key_path(const std::string& name) { return std::string(GATEHOUSE_TEST_DATA) + "/interop/keys/" + name; }

class Commands : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(folder_ / "ids.jsonl") << R"({"device":"i1","product":"p","trust":false})" << "\n\n"
                                         << R"({"device":"i2","product":"p"})" << "\nnonsense\n"
                                         << R"({"device":"i3","trust":true})" << "\n";
  }
  // The same operator's session on `state`, as pairs of exit code and output.
  std::vector<Ran> session_on(const std::string& state) {
    const std::string where = " --state " + state;
    std::vector<Ran> out;
    for (const std::string& arguments :
         {"device add d1 --ak " + key_path("rsa/ak.pem") + " --product 'Debian 12 x86_64' --json",
          std::string("device show d1"),
          std::string("device trust d1"),
          std::string("device trust d1 --json"),
          "device add d2 --ak " + key_path("ecc/ak.tpm2b_public") + " --trust --identity CN=a --identity CN=b --json",
          "device add d3 --ak " + key_path("ecc/ak.cert.der") + " --trust",
          std::string("device add 0123456789abcdef0123456789abcdef01234567 --json"),
          std::string("device add printer"),
          std::string("device list --json"),
          std::string("device list"),
          "device import " + (folder_ / "ids.jsonl") + " --json",
          std::string("device revoke d2"),
          std::string("device trust d2"),
          std::string("device show d2 --json"),
          std::string("device remove d2"),
          std::string("device show d2"),
          std::string("device software d1"),
          std::string("device software d1 --json"),
          std::string("device software d2"),
          std::string("device software d1 --at noon"),
          std::string("device software d1 --history"),
          std::string("device baseline list d1 --json"),
          std::string("device baseline approve d1"),
          std::string("device baseline diff d1"),
          std::string("session list --json"),
          std::string("session list --last 3"),
          std::string("session show nothing")})
      out.push_back(run(arguments + where));
    return out;
  }
  Folder folder_;
};

TEST_F(Commands, PrintTheSameThroughTheSocketAsOffline) {
  const std::string offline = folder_ / "offline", served = folder_ / "served";
  const auto first = session_on(offline);
  std::vector<Ran> second;
  {
    const auto state = open_state(served);
    const auto control = ControlServer::start(served + "/control.sock",
                                              [&](std::string_view request) { return execute(*state, request); });
    ASSERT_TRUE(control);
    second = session_on(served);
  }
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].code, second[i].code) << i << first[i].out << second[i].out;
    EXPECT_EQ(timeless(first[i].out), timeless(second[i].out)) << i;
  }
  const int codes[] = {0, 0, 0, 1, 0, 1, 0, 2, 0, 0, 3, 0, 1, 0, 0, 1, 0, 0, 1, 2, 0, 0, 1, 1, 0, 0, 1};
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].code, codes[i]) << i << ": " << first[i].out;
  EXPECT_NE(first[2].out.find("e48b74f1a797d611114b8a25265d33f4d6dc9f5a"), std::string::npos) << first[2].out;
  EXPECT_NE(first[10].out.find(R"("imported":2)"), std::string::npos) << first[10].out;
}

TEST_F(Commands, ExportWhatImportMakesTheSameOf) {
  const std::string from = " --state " + (folder_ / "from"), jsonl = folder_ / "out.jsonl", csv = folder_ / "out.csv";
  for (const std::string& arguments :
       {"add d1 --ak " + key_path("rsa/ak.pem") + " --product 'Debian 12, x86_64' --model 'T14 \"3\"' --identity CN=a --identity 'CN=b, O=c' --trust",
        "add d1 --ak " + key_path("ecc/ak.tpm2b_public"), std::string("suspend d1 --by alice --why lost"),
        std::string("add 0123456789abcdef0123456789abcdef01234567"), std::string("add printer --identity CN=printer")}) {
    const Ran ran = run("device " + arguments + from);
    ASSERT_EQ(ran.code, 0) << ran.out;
  }
  ASSERT_EQ(run("device export" + from + " > " + jsonl).code, 0);
  ASSERT_EQ(run("device export --format csv" + from + " > " + csv).code, 0);
  const auto all_of = [&](const std::string& where) { return run("device export" + where).out; };
  const std::string exported = all_of(from);
  EXPECT_EQ(std::count(exported.begin(), exported.end(), '\n'), 3);
  for (const std::string& file : {jsonl, csv}) {
    const std::string to = " --state " + (folder_ / (file.ends_with("csv") ? "by-csv" : "by-jsonl"));
    const Ran imported = run("device import " + file + to);
    EXPECT_EQ(imported.out, "3 devices imported\n");
    // CSV has no attributes of keys.
    if (file == jsonl) {
      EXPECT_EQ(all_of(to), exported);
    }
    EXPECT_EQ(run("device export --format csv" + to).out, run("device export --format csv" + from).out);
    EXPECT_NE(run("device show d1" + to).out.find("suspended since"), std::string::npos);
    // Once more brings nobody back and changes nothing.
    const std::string before = all_of(to);
    EXPECT_EQ(run("device import " + file + to).code, 0);
    EXPECT_EQ(all_of(to), before);
  }
  std::ofstream(folder_ / "bad.csv") << "device,trust,colour\nd1,true,red\n";
  const Ran column = run("device import " + (folder_ / "bad.csv") + from);
  EXPECT_EQ(column.code, 2);
  EXPECT_NE(column.out.find("colour"), std::string::npos) << column.out;
  std::ofstream(folder_ / "rows.csv") << "device,trust,ak\nd7,yes,\nd8,true\nd9,true,nonsense\n0123456789abcdef0123456789abcdef01234568,true,\n";
  const Ran rows = run("device import " + (folder_ / "rows.csv") + from);
  EXPECT_EQ(rows.code, 3);
  for (const char* const line : {"rows.csv:2: trust is true or false: yes", "rows.csv:3: a row has as many fields", "rows.csv:4: "})
    EXPECT_NE(rows.out.find(line), std::string::npos) << rows.out;
  EXPECT_NE(rows.out.find("1 devices imported"), std::string::npos) << rows.out;
}

TEST_F(Commands, SayWhoChangedWhatAndWhy) {
  const std::string where = " --state " + (folder_ / "state");
  ASSERT_EQ(run("device add d1 --trust --ak " + key_path("rsa/ak.pem") + " --why 'first batch' --by alice" + where).code, 0);
  EXPECT_EQ(run("device suspend d1 --by bob --why 'reported lost'" + where).out, "d1 is suspended\n");
  EXPECT_EQ(run("device retire nobody" + where).code, 1);
  EXPECT_EQ(run("device suspend d1 --if-changes 1" + where).code, 1);
  const Ran trust = run("device trust d1" + where);
  EXPECT_EQ(trust.code, 1);
  EXPECT_NE(trust.out.find("resume it"), std::string::npos);
  ASSERT_EQ(run("device remove d1 --by carol" + where).code, 0);
  const Ran history = run("device history d1" + where);
  EXPECT_EQ(timeless(history.out),
            "TIME  carol  removed\nTIME  bob  state suspended  (reported lost)\n"
            "TIME  alice  state trusted, enrolled, AK e48b74f1a797d611114b8a25265d33f4d6dc9f5a trusted  (first batch)\n");
  EXPECT_EQ(run("device history nobody" + where).code, 1);
  EXPECT_EQ(run("device overdue" + where).out, "no device is overdue\n");
}

TEST_F(Commands, ShowSessionsNewestFirst) {
  const std::string directory = folder_ / "state";
  {
    const auto state = open_state(directory);
    for (int i = 0; i < 250; ++i)
      ASSERT_TRUE(commit(*state, result_of(intent("s" + std::to_string(i), i % 2 ? "odd" : "even", 1000 + i))));
  }
  const auto count = [](const std::string& text) { return std::count(text.begin(), text.end(), '\n'); };
  const Ran all = run("session list --json --state " + directory);
  EXPECT_EQ(count(all.out), 250);
  EXPECT_EQ(all.out.find(R"({"session":"s249")"), 0U);
  const Ran some = run("session list --json --last 120 --device odd --state " + directory);
  EXPECT_EQ(count(some.out), 120);
  const Ran one = run("session list --json --last 1 --state " + directory);
  const Ran shown = run("session show s249 --json --state " + directory);
  EXPECT_EQ(one.out, shown.out);
  EXPECT_EQ(shown.code, 0);
  const Ran why = run("session why s249 --state " + directory);
  EXPECT_EQ(why.code, 0);
  EXPECT_NE(why.out.find("allow"), std::string::npos);
}

TEST_F(Commands, ShowWhatWasInstalledWhen) {
  const std::string directory = folder_ / "state", where = " d-trusted --state " + directory;
  std::filesystem::copy(std::string(GATEHOUSE_TEST_DATA) + "/state/v2", directory,
                        std::filesystem::copy_options::recursive);
  // The fixture's clock stands still: its two sessions are one moment, in which an upgrade took place.
  const std::string dpkg = "strongswan.org__Debian_12-x86_64-dpkg-1.21.23";
  const Ran now = run("device software" + where);
  EXPECT_EQ(now.code, 0);
  EXPECT_EQ(now.out.find("What the endpoint claims"), 0U) << now.out;
  EXPECT_NE(
      now.out.find(dpkg +
                   "  source 1  first seen 2023-11-14T22:13:20.000Z  last seen 2023-11-14T22:13:20.000Z  locator -\n"),
      std::string::npos)
      << now.out;
  EXPECT_EQ(now.out.find("dpkg-1.21.22"), std::string::npos);
  EXPECT_EQ(run("device software --at 2023-11-15" + where).out, now.out);
  EXPECT_EQ(run("device software --at 2023-11-14T22:13:20.000Z" + where).out, now.out);
  EXPECT_EQ(run("device software --at 2023-11-14T22:13:19Z" + where).out, "d-trusted had told of no software\n");
  const Ran json = run("device software --json" + where);
  EXPECT_EQ(std::count(json.out.begin(), json.out.end(), '\n'), 2);
  EXPECT_NE(json.out.find(R"({"software_id":")" + dpkg + R"(","source":1,"record_id":3,"locator":null,"first_seen":)"),
            std::string::npos) << json.out;
  const Ran history = run("device software --history" + where);
  EXPECT_NE(
      history.out.find(
          "session s-events  events  epoch 952978630  last EID 323  1 added, 1 removed, 0 altered\n"
          "  EID 323  2023-11-14T22:13:13.000Z  deletion  strongswan.org__Debian_12-x86_64-dpkg-1.21.22  source 1\n"
          "  EID 323  2023-11-14T22:13:13.000Z  creation  " +
          dpkg + "  source 1\n"),
      std::string::npos)
      << history.out;
  EXPECT_NE(
      history.out.find(
          "session s-inventory  inventory  epoch 952978630  last EID 322  2 added, 0 removed, 0 altered, the first\n"),
      std::string::npos)
      << history.out;
  EXPECT_EQ(run("device software --history --at 2023-11-15" + where).code, 2);
}

TEST_F(Commands, WithoutAStoreSaySo) {
  const Ran ran = run("device list --state " + (folder_ / "absent"));
  EXPECT_EQ(ran.code, 4);
  EXPECT_NE(ran.out.find("no state store in this directory"), std::string::npos) << ran.out;
  EXPECT_EQ(run("device list").code, 2);
  EXPECT_EQ(run("device list --state a --config b").code, 2);
  EXPECT_EQ(run("device").code, 2);
}

TEST_F(Commands, KeepUsers) {
  const std::string file = folder_ / "users.db";
  std::ofstream(folder_ / "password") << "Ar3etTnp\n";
  const std::string users = " --users " + file;
  EXPECT_EQ(run("user list" + users).code, 4);
  EXPECT_EQ(run("user add carol --iterations 4096 --password-file " + (folder_ / "password") + users).code, 0);
  EXPECT_EQ(run("user add bob --iterations 4096" + users + " </dev/null").code, 2);
  EXPECT_EQ(run("user add bob --iterations 4096 --json" + users + " <" + (folder_ / "password")).out, "{\"added\":\"bob\"}\n");
  EXPECT_EQ(run("user list" + users).out, "bob\ncarol\n");
  EXPECT_EQ(run("user list --json" + users).out, "{\"user\":\"bob\"}\n{\"user\":\"carol\"}\n");
  EXPECT_EQ(run("user remove bob" + users).code, 0);
  EXPECT_EQ(run("user remove bob" + users).code, 1);
  EXPECT_EQ(run("user list" + users).out, "carol\n");
}

TEST_F(Commands, KeepPasswordsThatChallengesNeed) {
  const std::string path = folder_ / "eap.passwords", passwords = " --passwords " + path;
  std::ofstream(folder_ / "password") << "clientPass\n";
  const std::string given = " --password-file " + (folder_ / "password");
  EXPECT_EQ(run("user list" + passwords).code, 4);
  EXPECT_EQ(run("user add carol" + given + passwords).code, 0);
  EXPECT_EQ(run("user add dave --nt-hash" + given + passwords).code, 0);
  EXPECT_EQ(run("user list" + passwords).out, "carol\ndave\n");
  std::ifstream file(path);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(content, "gatehouse-passwords 1\ncarol\tpassword\tclientPass\ndave\tnt-hash\t44ebba8d5312b8d611474411f56989ae\n");
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(run("user remove carol" + passwords).code, 0);
  EXPECT_EQ(run("user remove carol" + passwords).code, 1);
  EXPECT_EQ(run("user list --json" + passwords).out, "{\"user\":\"dave\"}\n");
  // One file, and what belongs to it.
  EXPECT_EQ(run("user add erin" + given).code, 2);
  EXPECT_EQ(run("user add erin" + given + passwords + " --users " + (folder_ / "users.db")).code, 2);
  EXPECT_EQ(run("user add erin --nt-hash" + given + " --users " + (folder_ / "users.db")).code, 2);
  // A file that others can read isn't taken up, and so neither made worse.
  std::filesystem::permissions(path, std::filesystem::perms::others_read, std::filesystem::perm_options::add);
  EXPECT_EQ(run("user add erin" + given + passwords).code, 2);
}

}  // namespace
}  // namespace gatehouse::server
