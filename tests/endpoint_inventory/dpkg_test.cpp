#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "base/file.h"
#include "endpoint/inventory/packages.h"
#include "endpoint/inventory/swid_tag.h"

namespace gatehouse::endpoint {
namespace {

std::string paragraph(const std::string& name, const std::string& version,
                      const std::string& status = "install ok installed", const std::string& architecture = "amd64") {
  return "Package: " + name + "\nStatus: " + status + "\nPriority: optional\nArchitecture: " + architecture +
         "\nVersion: " + version + "\nDescription: what it is\n and more\n .\n Package: not a field\n\n";
}
std::vector<std::string> names(const std::string& text) {
  const auto status = parse_dpkg_status(as_bytes(text));
  EXPECT_TRUE(status);
  std::vector<std::string> out;
  if (status)
    for (const Package& one : status->packages) out.push_back(one.name + " " + one.version + " " + one.architecture);
  return out;
}
using Names = std::vector<std::string>;

TEST(Dpkg, TellsWhatIsInstalled) {
  EXPECT_EQ(
      names(paragraph("dpkg", "1.21.23") + paragraph("libaudit-common", "1:3.0.9-1", "install ok installed", "all")),
      (Names{"dpkg 1.21.23 amd64", "libaudit-common 1:3.0.9-1 all"}));
  // Whatever is wanted of it: it's there.
  for (const char* wanted :
       {"hold ok installed", "deinstall ok installed", "purge ok installed", "unknown ok installed"})
    EXPECT_EQ(names(paragraph("held", "1", wanted)).size(), 1U) << wanted;
  for (const char* not_there : {"install ok half-installed", "install ok unpacked", "install ok half-configured",
                                "install reinstreq half-installed", "install reinstreq installed",
                                "deinstall ok config-files", "purge ok not-installed", "install ok triggers-awaited"})
    EXPECT_TRUE(names(paragraph("not", "1", not_there)).empty()) << not_there;
  // Two architectures of one package; an end without a line's end; blank lines; names of fields in any case.
  EXPECT_EQ(names(paragraph("libc6", "2.36", "install ok installed", "amd64") +
                  paragraph("libc6", "2.36", "install ok installed", "i386"))
                .size(),
            2U);
  EXPECT_EQ(names("\n \n\t\npackage:dpkg\nSTATUS:\tinstall  ok\tinstalled \nVersion:1\nArchitecture: all"),
            (Names{"dpkg 1 all"}));
  EXPECT_EQ(names("Package: dpkg\r\nStatus: install ok installed\r\nVersion: 1\r\nArchitecture: all\r\n\r\n"),
            (Names{"dpkg 1 all"}));
  EXPECT_TRUE(names("").empty());
  EXPECT_TRUE(names("\n\n\n").empty());
}

TEST(Dpkg, LeavesOutWhatCantBeReadAndGoesOn) {
  const std::string good = paragraph("good", "1");
  const std::string bad[] = {
      " continued\n",
      "no colon\nPackage: a\n",
      ": nothing\n",
      "Package: a\nPackage: a\nStatus: install ok installed\n",
      "Status: install ok installed\nVersion: 1\nArchitecture: all\n",
      "Package: a\nVersion: 1\n",
      "Package: a\nStatus: installed\n",
      "Package: a\nStatus: install ok installed now\n",
      "Package: a\nStatus:\n",
      "Package: a b\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n",
      "Package: a\nStatus: install ok installed\nArchitecture: all\n",
      "Package: a\nStatus: install ok installed\nVersion: \x1b[31m\nArchitecture: all\n",
      "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: \xff\n",
      "Package: " + std::string(513, 'a') + "\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n",
      "Package: big\nDescription: x\n" + std::string(1 << 20, ' ') + "x\n",
      std::string("Package: a\0b\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n", 71),
  };
  for (const std::string& one : bad) {
    const std::string text = good + one + "\n" + paragraph("after", "2");
    const auto status = parse_dpkg_status(as_bytes(text));
    ASSERT_TRUE(status);
    EXPECT_EQ(status->packages.size(), 2U) << one.substr(0, 60);
    EXPECT_EQ(status->skipped, 1U) << one.substr(0, 60);
    EXPECT_EQ(status->first.offset, good.size()) << "the paragraph's begin";
    EXPECT_EQ(status->first.fault, Fault::malformed);
  }
  EXPECT_EQ(
      names("Package: " + std::string(512, 'a') + "\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n")
          .size(),
      1U);
}

TEST(Dpkg, EveryCutIsRead) {
  const std::string text =
      paragraph("one", "1") + paragraph("two", "2", "deinstall ok config-files") + paragraph("three", "3");
  for (std::size_t n = 0; n <= text.size(); ++n) {
    const auto status = parse_dpkg_status(as_bytes(text).first(n));
    ASSERT_TRUE(status) << n;
    EXPECT_LE(status->packages.size() + status->skipped, 2U + 1U) << n;
  }
}

TEST(Dpkg, BoundsTheNumberOfPackages) {
  std::string text;
  for (std::size_t i = 0; i < max_packages; ++i)
    text += "Package: p" + std::to_string(i) + "\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n";
  const auto full = parse_dpkg_status(as_bytes(text));
  ASSERT_TRUE(full);
  EXPECT_EQ(full->packages.size(), max_packages);
  text += paragraph("more", "1");
  const auto over = parse_dpkg_status(as_bytes(text));
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().fault, Fault::limit);
}

TEST(Dpkg, TheFingerprintIsOfTheContentsNotOfTheState) {
  const auto print = [](const std::string& text) {
    return parse_dpkg_status(as_bytes(text))->packages.at(0).fingerprint;
  };
  const Digest first = print(paragraph("a", "1"));
  EXPECT_EQ(print(paragraph("a", "1", "hold ok installed")), first);
  EXPECT_EQ(print("\n\n" + paragraph("a", "1")), first);
  EXPECT_NE(print("Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\nDepends: other\n"),
            first);
  // A continued Status line belongs to it.
  EXPECT_EQ(
      print("Package: a\nStatus: install ok\n installed\nVersion: 1\nArchitecture: all\n\n" + paragraph("a", "1")),
      first);
}

// This machine's own file, and dpkg's word on it.
TEST(Dpkg, TheRealFileHasWhatDpkgSays) {
  const auto file = read_file("/var/lib/dpkg/status", max_status_bytes);
  if (!file) GTEST_SKIP() << "no dpkg here";
  const auto status = parse_dpkg_status(*file);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->skipped, 0U) << status->first.text();
  std::set<std::string> ours, theirs;
  for (const Package& one : status->packages) ours.insert(one.name + " " + one.version + " " + one.architecture);
  FILE* const pipe =
      ::popen("dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version} ${Architecture}\\n' 2>/dev/null", "r");
  ASSERT_NE(pipe, nullptr);
  char line[2048];
  // "ii  dpkg …", "hi  …": wanted, state, error flag, then what was asked for.
  while (std::fgets(line, sizeof line, pipe) != nullptr) {
    std::string text(line);
    if (text.size() > 5 && text[1] == 'i' && text[2] == ' ') theirs.insert(text.substr(4, text.size() - 5));
  }
  ASSERT_EQ(::pclose(pipe), 0);
  EXPECT_GT(ours.size(), 50U);
  EXPECT_EQ(ours, theirs);
}

Package package(const std::string& name, const std::string& version) {
  return {source_dpkg, name, version, "amd64", digest_of(HashAlgorithm::sha256, as_bytes(name + version))};
}

// What strongSwan's client called these packages on a Debian 12 (tests/data/interop) and on an Ubuntu 20.04.
TEST(Names, AreThoseOfTheRecordings) {
  const Platform debian{.name = "Debian", .version = "12 x86_64"};
  const struct {
    Package package;
    const char* identifier;
  } recorded[] = {
      {package("adduser", "3.134"), "strongswan.org__Debian_12-x86_64-adduser-3.134"},
      {package("libaudit-common", "1:3.0.9-1"), "strongswan.org__Debian_12-x86_64-libaudit-common-1~3.0.9-1"},
      {package("libaom3", "3.6.0-1+deb12u1"), "strongswan.org__Debian_12-x86_64-libaom3-3.6.0-1~deb12u1"},
      {package("libalgorithm-diff-xs-perl", "0.04-8+b1"),
       "strongswan.org__Debian_12-x86_64-libalgorithm-diff-xs-perl-0.04-8~b1"},
      {package("g++", "4:12.2.0-3"), "strongswan.org__Debian_12-x86_64-g++-4~12.2.0-3"},
      {package("libc++1-14", "1:14.0.6-12"), "strongswan.org__Debian_12-x86_64-libc++1-14-1~14.0.6-12"},
  };
  for (const auto& one : recorded) EXPECT_EQ(software_identifier(debian, one.package), one.identifier);
  EXPECT_EQ(software_identifier({.name = "Ubuntu", .version = "20.04 x86_64"}, package("dpkg", "1.19.7ubuntu3")),
            "strongswan.org__Ubuntu_20.04-x86_64-dpkg-1.19.7ubuntu3");
  EXPECT_EQ(software_identifier({.regid = "example.com", .name = "Debian"}, package("a", "1")),
            "example.com__Debian-a-1");
}

TEST(Tags, DescribeThePackageAndEscapeIt) {
  const std::string tag = swid_tag({.name = "Debian", .version = "12 x86_64"}, package("libaudit-common", "1:3.0.9-1"));
  EXPECT_EQ(tag,
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
            "<SoftwareIdentity tagId=\"Debian_12-x86_64-libaudit-common-1~3.0.9-1\" name=\"libaudit-common\" "
            "version=\"1:3.0.9-1\" versionScheme=\"alphanumeric\" xml:lang=\"en\""
            " xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\">\n"
            "  <Entity name=\"strongswan.org\" regid=\"strongswan.org\" role=\"tagCreator\"/>\n"
            "  <Meta product=\"Debian 12 x86_64\"/>\n"
            "</SoftwareIdentity>\n");
  const std::string hostile =
      swid_tag({.regid = "a\"/><x y='", .name = "D&\x01", .version = "<!--"}, package("p\"<>&'", "1"));
  EXPECT_EQ(std::count(hostile.begin(), hostile.end(), '<'), 5) << hostile;
  EXPECT_EQ(std::count(hostile.begin(), hostile.end(), '>'), 5) << hostile;
  EXPECT_NE(hostile.find("name=\"p&quot;&lt;&gt;&amp;&apos;\""), std::string::npos) << hostile;
  EXPECT_EQ(hostile.find('\x01'), std::string::npos);
}

}  // namespace
}  // namespace gatehouse::endpoint
