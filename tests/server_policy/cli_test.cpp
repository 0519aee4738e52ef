// `gatehouse policy check` as an operator runs it.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace gatehouse {
namespace {

namespace json = boost::json;

struct Ran {
  int code = -1;
  std::string out, err;
};

class PolicyCheck : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "policy-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
    return folder_ + "/" + name;
  }
  Ran run(const std::string& arguments) {
    const std::string err = folder_ + "/stderr";
    FILE* const pipe =
        ::popen((std::string(GATEHOUSE_BINARY) + " policy check " + arguments + " 2>" + err).c_str(), "r");
    Ran out;
    char buffer[4096];
    for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.out.append(buffer, n);
    const int status = ::pclose(pipe);
    if (WIFEXITED(status)) out.code = WEXITSTATUS(status);
    std::ostringstream text;
    text << std::ifstream(err).rdbuf();
    out.err = text.str();
    return out;
  }
  std::string folder_;
};

TEST_F(PolicyCheck, TakesTheGuidesExample) {
  std::ostringstream guide;
  guide << std::ifstream(GATEHOUSE_DOCS "/policy.md").rdbuf();
  const std::string text = guide.str();
  const std::size_t from = text.find("```toml\n") + 8;
  const Ran ran = run(write("policy.toml", text.substr(from, text.find("```", from) - from)));
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
}

TEST_F(PolicyCheck, PrintsALineForEachMistakeAndExitsWith2) {
  const std::string file = write("policy.toml", "[groups.a]\nask = [\"TPMRB\"]\nmax_age = 12\n[group.b]\n");
  const Ran ran = run(file);
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.out, "");
  std::istringstream lines(ran.err);
  std::vector<std::string> all;
  for (std::string line; std::getline(lines, line);) all.push_back(line);
  ASSERT_EQ(all.size(), 3U) << ran.err;
  EXPECT_EQ(all[0].find(file + ":2: groups.a.ask: wants a type"), 0U) << all[0];
  EXPECT_EQ(all[1].find(file + ":3: groups.a.max_age: wants a duration"), 0U) << all[1];
  EXPECT_EQ(all[2], file + ":4: group: unknown key: did you mean \"groups\"?");
}

TEST_F(PolicyCheck, PrintsOneObjectWithJson) {
  const std::string good = write("good.toml", "[policy]\ncombine = \"any\"\n[groups.a]\nask = [\"TPMRA\"]\n");
  const Ran fine = run(good + " --json");
  EXPECT_EQ(fine.code, 0);
  const json::object object = json::parse(fine.out).as_object();
  EXPECT_TRUE(object.at("valid").as_bool());
  EXPECT_EQ(object.at("version").as_string().size(), 16U);
  EXPECT_EQ(object.at("groups").to_number<int>(), 1);
  EXPECT_EQ(object.at("warnings").as_array().size(), 1U);
  EXPECT_NE(fine.err.find("one satisfied validator opens the network"), std::string::npos);

  const Ran bad = run(write("bad.toml", "[policy]\nx = 1\n") + " --json");
  EXPECT_EQ(bad.code, 2);
  const json::object refused = json::parse(bad.out).as_object();
  EXPECT_FALSE(refused.at("valid").as_bool());
  EXPECT_TRUE(refused.at("version").is_null());
  const json::object mistake = refused.at("mistakes").as_array().at(0).as_object();
  EXPECT_EQ(mistake.at("line").to_number<int>(), 2);
  EXPECT_EQ(mistake.at("key").as_string(), "policy.x");
  EXPECT_EQ(mistake.at("reason").as_string().find("unknown key: there are catalogue, "), 0U);
}

TEST_F(PolicyCheck, ReadsTheCatalogueBesideThePolicy) {
  write("texts.toml", "[fr]\n\"Default Password\" = \"Mot de passe\"\n");
  const std::string file = write("policy.toml", "[policy]\ncatalogue = \"texts.toml\"\n");
  EXPECT_EQ(run(file).code, 0);
  write("texts.toml", "[fr]\n\"Default Pasword\" = \"Mot de passe\"\n");
  const Ran ran = run(file);
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.err.find(folder_ + "/texts.toml:2: fr.\"Default Pasword\": "), 0U) << ran.err;
}

TEST_F(PolicyCheck, ExitsWith4WhenThereIsNoFile) {
  const Ran ran = run(folder_ + "/none.toml");
  EXPECT_EQ(ran.code, 4);
  EXPECT_NE(ran.err.find("none.toml"), std::string::npos);
}

}  // namespace
}  // namespace gatehouse
