#include "server/state/users.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

Secret secret(std::string text) { return Secret(std::move(text)); }

TEST(Users, AreKeptAsVerifiers) {
  const Folder folder;
  const std::string path = folder / "users.db";
  UserFile users;
  ASSERT_TRUE(users.set("carol", secret("Ar3etTnp"), min_iterations));
  ASSERT_TRUE(users.set("bob", secret("pass word"), min_iterations));
  ASSERT_TRUE(users.save(path));
  struct stat st {};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0600U);
  const auto content = read_file(path, 1 << 20);
  ASSERT_TRUE(content);
  EXPECT_EQ(as_text(*content).find("Ar3etTnp"), std::string_view::npos);

  const auto loaded = UserFile::load(path);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->names(), (std::vector<std::string>{"bob", "carol"}));
  EXPECT_TRUE(loaded->check_blocking("carol", secret("Ar3etTnp")));
  EXPECT_TRUE(loaded->check_blocking("bob", secret("pass word")));
  EXPECT_FALSE(loaded->check_blocking("carol", secret("Ar3etTnq")));
  EXPECT_FALSE(loaded->check_blocking("carol", secret("")));
  EXPECT_FALSE(loaded->check_blocking("carol", secret("pass word")));
  EXPECT_FALSE(loaded->check_blocking("mallory", secret("Ar3etTnp")));
  UserFile changed = *loaded;
  EXPECT_TRUE(changed.remove("bob"));
  EXPECT_FALSE(changed.remove("bob"));
  EXPECT_FALSE(changed.check_blocking("bob", secret("pass word")));
}

// Who asks for a name's salt learns nothing of whether there is such a user.
TEST(Users, UnknownNamesHaveASaltOfTheirOwn) {
  UserFile users;
  ASSERT_TRUE(users.set("carol", secret("Ar3etTnp"), min_iterations));
  const Folder folder;
  ASSERT_TRUE(users.save(folder / "users.db"));
  const auto loaded = UserFile::load(folder / "users.db"), reloaded = UserFile::load(folder / "users.db");
  ASSERT_TRUE(loaded && reloaded);
  const ScramRecord carol = loaded->scram_record("carol"), mallory = loaded->scram_record("mallory");
  EXPECT_TRUE(carol.known);
  EXPECT_TRUE(verify_password(carol.verifier, secret("Ar3etTnp")));
  EXPECT_FALSE(mallory.known);
  EXPECT_EQ(mallory.verifier.salt.size(), carol.verifier.salt.size());
  EXPECT_EQ(mallory.verifier.iterations, carol.verifier.iterations);
  EXPECT_EQ(mallory.verifier.stored_key.size(), carol.verifier.stored_key.size());
  EXPECT_EQ(loaded->scram_record("mallory").verifier.salt, mallory.verifier.salt);
  EXPECT_EQ(reloaded->scram_record("mallory").verifier.salt, mallory.verifier.salt) << "after a reload";
  EXPECT_NE(loaded->scram_record("mallorz").verifier.salt, mallory.verifier.salt);
}

TEST(Users, NamesAndPasswordsThatPlainCantCarryAreRefused) {
  UserFile users;
  for (const char* name : {"", "a b", "a\tb", "a\nb", "\xff"}) EXPECT_FALSE(users.set(name, secret("x"), min_iterations));
  EXPECT_FALSE(users.set(std::string(256, 'a'), secret("x"), min_iterations));
  EXPECT_TRUE(users.set(std::string(255, 'a'), secret("x"), min_iterations));
  EXPECT_FALSE(users.set("a", secret(""), min_iterations));
  EXPECT_FALSE(users.set("a", secret(std::string("x\0y", 3)), min_iterations));
  EXPECT_FALSE(users.set("a", secret(std::string(1025, 'x')), min_iterations));
  EXPECT_FALSE(users.set("a", secret("x"), min_iterations - 1));
}

TEST(Users, AFileThatIsntOneNamesItsByte) {
  const Folder folder;
  const std::string path = folder / "users.db";
  const std::string good = "carol\tSCRAM-SHA-256\t4096\t00\t" + std::string(64, '1') + "\t" + std::string(64, '2');
  const auto load = [&](const std::string& text) {
    EXPECT_TRUE(write_file_atomically(path, as_bytes(text)));
    return UserFile::load(path);
  };
  EXPECT_TRUE(load("gatehouse-users 1\n" + good + "\n"));
  EXPECT_TRUE(load("gatehouse-users 1\n"));
  for (const std::string& bad : std::vector<std::string>{
        std::string(), std::string("gatehouse-users 2\n"), "gatehouse-users 1\n" + good + "\n" + good + "\n",
        "gatehouse-users 1\n" + good.substr(0, good.size() - 1), std::string("gatehouse-users 1\n\n"),
        std::string("gatehouse-users 1\ncarol\tPLAIN\t4096\t00\t11\t22\n"),
        std::string("gatehouse-users 1\ncarol\tSCRAM-SHA-256\t1\t00\t11\t22\n"),
        std::string("gatehouse-users 1\ncarol\n")}) {
    const auto loaded = load(bad);
    ASSERT_FALSE(loaded) << bad;
    EXPECT_EQ(loaded.error().fault, Fault::malformed);
    EXPECT_EQ(loaded.error().source, path);
  }
  EXPECT_EQ(load("gatehouse-users 1\ncarol\n").error().offset, 18U);
}

}  // namespace
}  // namespace gatehouse::server
