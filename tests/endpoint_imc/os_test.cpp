// The OS IMC on the examples of spec part 1b §8, and what it reads of the machine.
#include <sys/stat.h>
#include <unistd.h>

#include "endpoint/imc/os/settings.h"
#include "harness.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::endpoint::test {
namespace {

namespace type = patnc::type;

OsInfo ubuntu() {
  OsInfo info;
  info.name = "Ubuntu";
  set_version(info, "20.04 x86_64");
  info.product_vendor = product_vendor(info.name);
  info.last_boot = "2022-05-31T08:26:24Z";
  info.forwarding = 1;
  info.device_id = "732c769e8d1b2efef8b64d5ae83f84d129733fdd";
  return info;
}

// Spec part 1b §8.1, from its first attribute.
constexpr const char* seven =
    "0000000000000002000000170071320000"
    "5562756e7475"
    "00000000000000040000001b0c32302e3034207838365f36340000"
    "00000000000000030000001c00000014000000040000000000000000"
    "00000000000000050000002403010000323032322d30352d33315430383a32363a32345a"
    "000000000000000b0000001000000001"
    "000000000000000c0000001000000000"
    "0000902a000000080000003437333263373639653864316232656665663862363464356165383366383464313239373333666464";

TEST(OsImc, tells_the_seven_attributes_unasked_or_only_asked) {
  OsImc os(ubuntu());
  Collectors pushing({&os});
  EXPECT_EQ(wire_of(pushing.server.attributes()), seven);
  // Spec part 1b §8.2 asks for them in this order.
  OsImc silent(ubuntu(), {.push = false});
  Collectors asked({&silent});
  EXPECT_TRUE(asked.server.attributes().empty());
  const auto request = from_hex(
      "01000000112233440000559700000021"
      "00000014"
      "ffffffff"
      "0000ffba"
      "000000000000000100000044"
      "0000000000000002"
      "0000000000000004"
      "0000000000000003"
      "0000000000000005"
      "000000000000000b"
      "000000000000000c"
      "0000902a00000008");
  ASSERT_TRUE(request);
  Writer w;
  pbtnc::PaMessage pa;
  pa.subtype = patnc::subtype_operating_system;
  pa.validator = 1;
  pa.body = *request;
  pbtnc::append_pa(w, pa);
  asked.server.send_batch(pbtnc::BatchType::sdata, w.view());
  const auto records = pa_records(asked.server.batches.back());
  ASSERT_EQ(records.size(), 1U);
  EXPECT_TRUE(records[0].exclusive);
  EXPECT_EQ(records[0].validator, 1);
  EXPECT_EQ(wire_of(asked.server.attributes()), "000055970000002200000014ffffffff0000ffba" + std::string(seven));
}

TEST(OsImc, each_attribute_can_be_asked_for_alone) {
  std::size_t at = 0;
  const std::string all = seven;
  for (const auto& [vendor, kind] : {std::pair{0U, 2U}, std::pair{0U, 4U}, std::pair{0U, 3U}, std::pair{0U, 5U},
                                     std::pair{0U, 11U}, std::pair{0U, 12U}, std::pair{0x902AU, 8U}}) {
    OsImc os(ubuntu(), {.push = false});
    Collectors c({&os});
    Writer w;
    patnc::append_attribute_request(w, {{vendor, kind}});
    c.server.send_attributes(0, 1, {attribute(0, type::attribute_request, w.view())}, 1);
    const std::string told = wire_of(c.server.attributes());
    EXPECT_EQ(told, all.substr(at, told.size())) << kind;
    EXPECT_FALSE(told.empty());
    at += told.size();
  }
  EXPECT_EQ(at, all.size());
}

OwnAttribute ask_packages() {
  Writer w;
  patnc::append_attribute_request(w, {{0, type::installed_packages}});
  return attribute(0, type::attribute_request, w.view());
}

// Spec part 1b §8.11: the list whole, and in its three segments of 40 octets.
TEST(OsImc, tells_installed_packages_whole_or_in_segments) {
  Folder folder;
  folder.write("status",
               "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.0-6ubuntu1.1\n\n"
               "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.19.7ubuntu3\n\n"
               "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n"
               "Package: libssl1.1\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.1.1f-1ubuntu2.13\n");
  const OsSources sources{.packages = [&] { return dpkg_packages(folder / "status"); }, .push = false};
  const std::string base =
      "000000000000000700000054"
      "00000003"
      "04626173680e352e302d367562756e7475312e31"
      "0464706b670d312e31392e377562756e747533"
      "096c696273736c312e3112312e312e31662d317562756e7475322e3133";
  OsImc os(ubuntu(), sources);
  Collectors whole({&os});
  whole.server.send_attributes(0, 1, {ask_packages()}, 1);
  EXPECT_EQ(wire_of(whole.server.attributes()), base);

  OsImc cut(ubuntu(), sources);
  Collectors c({&cut});
  c.server.send_attributes(0, 1, {contract_request(patnc::unlimited, 40), ask_packages()}, 1);
  const std::string envelopes[] = {"000055970000002300000038c0000001" + base.substr(0, 80),
                                   "00005597000000230000003880000001" + base.substr(80, 80),
                                   "00005597000000230000001400000001" + base.substr(160)};
  EXPECT_EQ(wire_of(c.server.attributes()), "000055970000002200000014ffffffff00000028" + envelopes[0]);
  for (const std::size_t i : {1U, 2U}) {
    c.server.send_attributes(0, 1, {attribute(patnc::vendor_tcg, type::next_segment, *from_hex("00000001"))}, 1);
    EXPECT_EQ(wire_of(c.server.attributes()), envelopes[i]);
  }
}

TEST(OsImc, sends_no_empty_package_list_and_no_longer_one_than_fits) {
  for (const std::size_t count : {0U, 5000U}) {
    OsImc os(ubuntu(), {.packages =
                            [&] {
                              return std::vector<InstalledPackage>(count, {"package", "1.0"});
                            },
                        .push = false});
    Session::Config config;
    config.tnc.max_batch = 2'080;
    Collectors c({&os}, std::move(config));
    c.server.send_attributes(0, 1, {ask_packages()}, 1);
    EXPECT_FALSE(c.server.last.ended);
    const auto told = c.server.attributes();
    ASSERT_EQ(told.size(), count == 0 ? 0U : 1U);
    if (count == 0) continue;
    std::size_t read = 0;
    Reader r(told[0].value, "");
    EXPECT_TRUE(patnc::parse_records(r, patnc::PackagesFormat{}, [&](const patnc::Package&) { ++read; }));
    EXPECT_EQ(read, (2'080U - 32 - 8 - 12 - 4) / 12);
  }
}

TEST(OsImc, answers_settings_that_it_can_read_and_nothing_where_there_is_none) {
  OsImc os(ubuntu(), {.setting = [](std::string_view name) -> std::optional<ByteVector> {
                        if (name != "/etc/answer") return std::nullopt;
                        return to_vector(as_bytes("1"));
                      },
                      .push = false});
  const auto ask = [&](std::vector<std::string_view> names) {
    Collectors c({&os});
    Writer w;
    patnc::append_get_settings(w, names);
    c.server.send_attributes(0, 1, {attribute(patnc::vendor_ita, type::ita_get_settings, w.view())}, 1);
    return wire_of(c.server.attributes());
  };
  EXPECT_EQ(ask({"/etc/answer"}),
            "0000902a0000000400000020"
            "00000001"
            "000b2f6574632f616e73776572"
            "000131");
  EXPECT_EQ(ask({"install_non_market_apps", "/etc/answer", "/etc/none"}), ask({"/etc/answer"}));
  EXPECT_EQ(ask({"install_non_market_apps"}), "");
  EXPECT_EQ(ask({}), "");
  // A name that overruns is an error at its length field: 8 + 12 + 4.
  Collectors c({&os});
  c.server.send_attributes(0, 1, {attribute(patnc::vendor_ita, type::ita_get_settings, *from_hex("000000010005"))}, 1);
  EXPECT_EQ(wire_of(c.server.attributes()),
            "000000000000000800000020"
            "0000000000000001"
            "010000000000004d"
            "00000018");
}

TEST(Settings, are_the_beginning_of_public_files_in_four_folders) {
  Folder root;
  root.write("etc/hostname", "host1\n");
  root.write("var/lib/long", std::string(5000, 'x'));
  root.write("home/user/file", "private");
  root.write("etc/secret", "secret");
  root.write("etc/closed/file", "closed");
  ASSERT_EQ(::chmod((root / "etc/secret").c_str(), 0640), 0);
  ASSERT_EQ(::chmod((root / "etc/closed").c_str(), 0700), 0);
  ASSERT_EQ(::mkfifo((root / "etc/fifo").c_str(), 0644), 0);
  std::filesystem::create_symlink("hostname", root / "etc/inside");
  std::filesystem::create_symlink("../home/user/file", root / "etc/outside");
  std::filesystem::create_symlink("../home/user", root / "etc/folder");
  std::filesystem::create_symlink("loop", root / "etc/loop");
  std::filesystem::create_symlink(root / "etc", root / "home/etc");
  const auto setting = [&](std::string_view name) {
    const auto value = read_setting(name, root.path());
    return value ? std::string(as_text(*value)) : std::string("-");
  };
  EXPECT_EQ(setting("/etc/hostname"), "host1\n");
  EXPECT_EQ(setting("/var/lib/long"), std::string(2048, 'x'));
  EXPECT_EQ(setting("/etc/inside"), "host1\n");
  EXPECT_EQ(setting("/etc/../etc/hostname"), "host1\n");
  EXPECT_EQ(setting("/home/etc/hostname"), "host1\n");
  for (const std::string_view name :
       {"", "install_non_market_apps", "etc/hostname", "/home/user/file", "/etc/../home/user/file", "/etc/outside",
        "/etc/folder/file", "/etc/loop", "/etc", "/etc/none", "/etc/hostname/", "/etc/secret", "/etc/closed/file",
        "/etc/fifo", "/etc/../../etc/passwd"})
    EXPECT_EQ(setting(name), "-") << name;
  EXPECT_EQ(setting(std::string_view("/etc/hostname\0x", 15)), "-");
  // The kernel's own, whose size isn't known before they are read.
  const auto version = read_setting("/proc/version");
  ASSERT_TRUE(version);
  EXPECT_TRUE(as_text(*version).starts_with("Linux version"));
  EXPECT_FALSE(read_setting("/proc/self/environ"));
}

}  // namespace
}  // namespace gatehouse::endpoint::test
