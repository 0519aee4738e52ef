// gatehouse.toml as operators write it: what is optional, and each mistake with its line and key.
#include "server/config/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

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

TEST_F(ConfigFile, NeedsOnlyListenerReferencesAndState) {
  const auto config = read(least + rest);
  ASSERT_TRUE(config) << config.error().lines.front();
  EXPECT_EQ(config->auth, Auth::none);  // neither certificates nor passwords: the server alone authenticates
  EXPECT_EQ(config->certificate, folder_ + "/c.pem");
  EXPECT_EQ(config->control_socket, folder_ + "/state/control.sock");
}

TEST_F(ConfigFile, AuthenticationIsWhatAuthoritiesAndUsersAllow) {
  EXPECT_EQ(read(least + "client_ca = \"a\"\n" + rest)->auth, Auth::tls);
  EXPECT_EQ(read(least + "users = \"u\"\n" + rest)->auth, Auth::sasl);
  EXPECT_EQ(read(least + "client_ca = \"a\"\nusers = \"u\"\n" + rest)->auth, Auth::tls_or_sasl);
  EXPECT_EQ(mistakes(least + "auth = \"tls\"\n" + rest),
            std::vector<std::string>{"0: pt_tls.client_ca: is missing, and authentication by certificate needs it"});
  EXPECT_FALSE(mistakes(least + "client_ca = 3\n" + rest).empty());  // a mistake, not a server that asks for nothing
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
