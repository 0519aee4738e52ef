#include "endpoint/inventory/inventory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/file.h"

namespace gatehouse::endpoint {
namespace {

class Machine : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "gatehouse-inventory-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    std::filesystem::create_directory(folder_ + "/rpmdb");
    std::ofstream(folder_ + "/rpmdb/rpmdb.sqlite") << "database";
    ::setenv("GATEHOUSE_FAKE_RPM", (folder_ + "/rpm-packages").c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("GATEHOUSE_FAKE_RPM");
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  InventoryOptions options(bool rpm = false) const {
    InventoryOptions out;
    out.directory = folder_ + "/state/inventory";
    out.platform = {.name = "Debian", .version = "12 x86_64"};
    out.dpkg_status = folder_ + "/status";
    out.rpm_databases = {folder_ + "/absent"};
    if (rpm) out.rpm_databases.push_back(folder_ + "/rpmdb");
    out.rpm_libraries = {"libnothing-of-this-name.so", FAKE_RPM};
    return out;
  }
  void install(const std::vector<std::pair<std::string, std::string>>& packages) const {
    std::ofstream file(folder_ + "/status");
    for (const auto& [name, version] : packages)
      file << "Package: " << name << "\nStatus: install ok installed\nArchitecture: amd64\nVersion: " << version
           << "\n\n";
  }
  Refreshed refresh(Inventory& inventory, std::int64_t now = 4'000'000'000) const {
    auto out = inventory.refresh(now);
    EXPECT_TRUE(out) << (out ? "" : out.error().text());
    return out ? *std::move(out) : Refreshed{};
  }
  static std::vector<std::string> names(const Inventory& inventory) {
    std::vector<std::string> out;
    for (const SoftwareInstance& one : inventory.installed())
      out.push_back(one.software_id.substr(one.software_id.rfind("x86_64-") + 7) + "#" + std::to_string(one.record_id));
    return out;
  }
  std::string folder_;
};
using Names = std::vector<std::string>;

TEST_F(Machine, KeepsItsHistoryBetweenRuns) {
  install({{"b", "1"}, {"a", "1:1+x"}});
  std::uint32_t epoch = 0;
  {
    auto inventory = Inventory::open(options());
    ASSERT_TRUE(inventory) << inventory.error().text();
    const Refreshed first = refresh(*inventory);
    EXPECT_TRUE(first.new_epoch);
    EXPECT_EQ(first.events, 2U);
    EXPECT_TRUE(first.warnings.empty());
    EXPECT_EQ(names(*inventory), (Names{"a-1~1~x#1", "b-1#2"}));
    EXPECT_EQ(inventory->last_eid(), 1U);
    struct stat st {};
    ASSERT_EQ(::stat((folder_ + "/status").c_str(), &st), 0);
    EXPECT_EQ(inventory->events_from(1).at(0).time, std::int64_t(st.st_mtime)) << "when dpkg wrote it";
    epoch = inventory->epoch();
    EXPECT_EQ(refresh(*inventory).events, 0U);
    ASSERT_EQ(::stat((folder_ + "/state/inventory").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777U, 0700U);
    ASSERT_EQ(::stat((folder_ + "/state/inventory/log").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777U, 0600U);
  }
  install({{"b", "2"}, {"a", "1:1+x"}});
  auto inventory = Inventory::open(options());
  ASSERT_TRUE(inventory);
  EXPECT_FALSE(refresh(*inventory).new_epoch);
  EXPECT_EQ(inventory->epoch(), epoch);
  EXPECT_EQ(inventory->last_eid(), 2U);
  EXPECT_EQ(names(*inventory), (Names{"a-1~1~x#1", "b-2#3"}));
  const auto events = inventory->events_from(2);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].action, LogAction::deletion);
  EXPECT_EQ(events[0].instance.software_id, "strongswan.org__Debian_12-x86_64-b-1");
  EXPECT_EQ(events[0].instance.record_id, 2U);
  EXPECT_EQ(events[1].action, LogAction::creation);
  EXPECT_TRUE(inventory->events_from(3).empty());
  EXPECT_TRUE(inventory->has_events_from(1));
  EXPECT_TRUE(inventory->has_events_from(99));
  EXPECT_FALSE(inventory->has_events_from(0));
  // Two that share the directory see each other's events.
  auto other = Inventory::open(options());
  ASSERT_TRUE(other);
  install({{"a", "1:1+x"}});
  EXPECT_EQ(refresh(*other).events, 1U);
  EXPECT_EQ(refresh(*inventory).events, 0U);
  EXPECT_EQ(inventory->last_eid(), 3U);

  // Tags also of what is gone.
  ASSERT_EQ(inventory->tags("strongswan.org__Debian_12-x86_64-a-1~1~x").size(), 1U);
  EXPECT_NE(inventory->tags("strongswan.org__Debian_12-x86_64-b-1").at(0).second.find("tagId=\"Debian_12-x86_64-b-1\""),
            std::string::npos);
  EXPECT_TRUE(inventory->tags("strongswan.org__Debian_12-x86_64-never-1").empty());
}

TEST_F(Machine, ADamagedLogBeginsAnotherEpoch) {
  install({{"a", "1"}});
  auto inventory = Inventory::open(options());
  ASSERT_TRUE(inventory);
  refresh(*inventory);
  const std::uint32_t epoch = inventory->epoch();
  const std::string log = folder_ + "/state/inventory/log";
  auto content = *read_file(log, 1 << 20);
  content[30] ^= std::byte(1);
  ASSERT_TRUE(write_file_atomically(log, content));
  const Refreshed again = refresh(*inventory);
  EXPECT_TRUE(again.new_epoch);
  EXPECT_EQ(again.events, 1U);
  ASSERT_EQ(again.warnings.size(), 1U);
  EXPECT_EQ(again.warnings[0].source, log);
  EXPECT_NE(inventory->epoch(), epoch);
  EXPECT_EQ(inventory->last_eid(), 1U);
  EXPECT_EQ(*read_file(log + ".damaged", 1 << 20), content) << "for whoever wants to know";
  // A log that is gone, too.
  const std::uint32_t second = inventory->epoch();
  std::filesystem::remove(log);
  EXPECT_TRUE(refresh(*inventory).new_epoch);
  EXPECT_NE(inventory->epoch(), second);
}

TEST_F(Machine, AMistakeIsntTheRemovalOfEverything) {
  install({{"a", "1"}, {"b", "1"}});
  auto inventory = Inventory::open(options());
  ASSERT_TRUE(inventory);
  refresh(*inventory);
  std::filesystem::remove(folder_ + "/status");
  EXPECT_EQ(refresh(*inventory).warnings.size(), 1U);
  std::ofstream(folder_ + "/status") << "";
  EXPECT_EQ(refresh(*inventory).warnings.size(), 1U);
  std::filesystem::remove(folder_ + "/status");
  std::filesystem::create_directory(folder_ + "/status");
  EXPECT_EQ(refresh(*inventory).warnings.size(), 1U);
  EXPECT_EQ(names(*inventory), (Names{"a-1#1", "b-1#2"}));
  EXPECT_EQ(inventory->last_eid(), 1U);
  std::filesystem::remove(folder_ + "/status");
  install({{"a", "1"}, {"b ad", "1"}});
  const Refreshed skipped = refresh(*inventory);
  ASSERT_EQ(skipped.warnings.size(), 1U);
  EXPECT_EQ(skipped.warnings[0].detail, "1 paragraphs skipped");
  EXPECT_EQ(names(*inventory), (Names{"a-1#1"}));
}

TEST_F(Machine, WhatCantBeWrittenWasntTold) {
  install({{"a", "1"}});
  auto inventory = Inventory::open(options());
  ASSERT_TRUE(inventory);
  refresh(*inventory);
  install({{"a", "1"}, {"b", "1"}});
  // In place of the file that is written beside the log.
  std::filesystem::create_directory(folder_ + "/state/inventory/log.new");
  EXPECT_FALSE(inventory->refresh(4'000'000'000));
  EXPECT_EQ(inventory->last_eid(), 1U);
  EXPECT_EQ(names(*inventory), (Names{"a-1#1"}));
  std::filesystem::remove(folder_ + "/state/inventory/log.new");
  EXPECT_EQ(refresh(*inventory).events, 1U);
  EXPECT_EQ(inventory->last_eid(), 2U);
}

TEST_F(Machine, RpmIsReadWhereItsLibraryAndDatabaseAre) {
  install({{"a", "1"}});
  std::ofstream(folder_ + "/rpm-packages") << "bash\t5.2\t3.fc40\t-\tx86_64\taa\n"
                                           << "shadow-utils\t4.15\t1\t2\tx86_64\tbb\n"
                                           << "gpg-pubkey\ta15b79cc\t63d04c2c\t-\t-\t-\n"
                                           << "bad name\t1\t1\t-\tx86_64\tcc\n";
  // Without a database the library isn't asked.
  auto without = Inventory::open(options(false));
  ASSERT_TRUE(without);
  refresh(*without);
  EXPECT_EQ(names(*without), (Names{"a-1#1"}));
  auto inventory = Inventory::open(options(true));
  ASSERT_TRUE(inventory);
  const Refreshed both = refresh(*inventory);
  EXPECT_TRUE(both.warnings.empty()) << both.warnings.at(0).text();
  EXPECT_EQ(names(*inventory), (Names{"a-1#1", "bash-5.2-3.fc40#2", "shadow-utils-2~4.15-1#3"}));
  EXPECT_EQ(inventory->installed()[1].source, source_rpm);
  // Rebuilt, upgraded; then no database any more, and no library.
  std::ofstream(folder_ + "/rpm-packages")
      << "bash\t5.2\t3.fc40\t-\tx86_64\tother\nshadow-utils\t4.16\t1\t2\tx86_64\tdd\n";
  refresh(*inventory);
  const auto events = inventory->events_from(3);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].action, LogAction::alteration);
  EXPECT_EQ(events[0].time, 4'000'000'000);
  std::filesystem::remove(folder_ + "/rpm-packages");
  EXPECT_EQ(refresh(*inventory).warnings.size(), 1U);
  EXPECT_EQ(refresh(*without).warnings.size(), 1U);
  EXPECT_EQ(names(*inventory), (Names{"a-1#1", "bash-5.2-3.fc40#2", "shadow-utils-2~4.16-1#4"}));
  InventoryOptions absent = options(true);
  absent.directory += "-2";
  absent.rpm_libraries = {"libnothing-of-this-name.so"};
  auto none = Inventory::open(absent);
  ASSERT_TRUE(none);
  EXPECT_TRUE(refresh(*none).warnings.empty()) << "no library: nothing";
}

// The machine that runs the tests, as an endpoint would look at itself.
TEST_F(Machine, ThisOne) {
  if (!std::filesystem::exists("/var/lib/dpkg/status")) GTEST_SKIP() << "no dpkg here";
  InventoryOptions real = options();
  real.dpkg_status = InventoryOptions{}.dpkg_status;
  auto inventory = Inventory::open(real);
  ASSERT_TRUE(inventory);
  const Refreshed first = refresh(*inventory);
  EXPECT_EQ(first.events, inventory->installed().size());
  EXPECT_EQ(refresh(*inventory).events, 0U);
  EXPECT_EQ(inventory->events_from(1).size(), first.events);
  for (const SoftwareInstance& one : inventory->installed()) {
    const auto tags = inventory->tags(one.software_id);
    ASSERT_FALSE(tags.empty());
    EXPECT_EQ(tags[0].second.find("<?xml"), 0U);
    EXPECT_LT(tags[0].second.find("regid=\""), 1023U);
  }
}

}  // namespace
}  // namespace gatehouse::endpoint
