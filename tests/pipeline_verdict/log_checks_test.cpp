// L1-L14 (spec part 2 §6.8): a good log passes, each broken rule fails under its own code, also when the event's type
// says something else.
#include "pipeline/verdict/log_checks.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>

#include "base/file.h"

namespace gatehouse::testing {
namespace {

using pipeline::Finding;
using pipeline::LogChecks;
using pipeline::Status;

constexpr HashAlgorithm sha256 = HashAlgorithm::sha256;
constexpr std::uint32_t ev_no_action = 3, ev_separator = 4, ev_action = 0x80000007, ev_variable = 0x80000001, ev_authority = 0x800000E0;

struct Event {
  std::uint32_t pcr = 0, type = 0;
  ByteVector data;
  std::optional<Digest> digest;  // else that of the data
  bool without_digest = false;
};
using Log = std::vector<Event>;

ByteVector bytes(std::string_view text) { return to_vector(as_bytes(text)); }
ByteVector variable(std::string_view guid_hex_first, std::string_view name, Bytes data) {
  ByteVector out;
  // Mixed-endian GUIDs of the two namespaces.
  const unsigned char global[16] = {0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c};
  const unsigned char database[16] = {0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f};
  for (const unsigned char c : guid_hex_first == "global" ? global : database) out.push_back(std::byte(c));
  const auto number = [&](std::uint64_t v) {
    for (int i = 0; i < 8; ++i) out.push_back(std::byte(v >> (8 * i)));
  };
  number(name.size());
  number(data.size());
  for (const char c : name) {
    out.push_back(std::byte(c));
    out.push_back(std::byte{0});
  }
  out.insert(out.end(), data.begin(), data.end());
  return out;
}
const ByteVector one{std::byte{1}}, zero{std::byte{0}}, key(20, std::byte{7});

Log good() {
  Log log{{0, ev_no_action, bytes(std::string_view("Spec ID Event03\0....", 20)), Digest::filled(32, std::byte{0}), false},
          {0, ev_no_action, bytes(std::string_view("StartupLocality\0\3", 17)), Digest::filled(32, std::byte{0}), false},
          {0, 8, bytes("firmware"), {}, false},
          {7, ev_variable, variable("global", "SecureBoot", one), {}, false},
          {7, ev_variable, variable("global", "PK", key), {}, false},
          {7, ev_variable, variable("global", "KEK", key), {}, false},
          {7, ev_variable, variable("database", "db", key), {}, false},
          {7, ev_variable, variable("database", "dbx", {}), {}, false}};
  for (std::uint32_t pcr = 0; pcr < 8; ++pcr) log.push_back({pcr, ev_separator, ByteVector(4, std::byte{0}), {}, false});
  log.push_back({4, 0x80000003, bytes("boot loader"), digest_of(sha256, as_bytes("image")), false});
  log.push_back({5, ev_action, bytes("Exit Boot Services Invocation"), {}, false});
  log.push_back({7, ev_authority, bytes("vendor certificate"), {}, false});
  log.push_back({8, 0x0D, bytes("grub_cmd: linux"), {}, false});
  return log;
}

struct Checked {
  std::map<std::string, Status> checks;
  std::vector<Finding> findings;
  std::uint64_t left_out = 0;
  std::string failed() const {
    std::string out;
    for (const auto& [code, status] : checks)
      if (status == Status::failed) out += (out.empty() ? "" : " ") + code;
    return out;
  }
};
Checked check(const Log& log, eventlog::Format format = eventlog::Format::crypto_agile) {
  LogChecks checks(sha256);
  for (const Event& e : log) {
    const Digest digest = e.digest.value_or(digest_of(sha256, e.data));
    eventlog::Event event;
    event.pcr = e.pcr;
    event.type = e.type;
    event.data = e.data;
    if (!e.without_digest) event.digests.push_back({std::uint16_t(sha256), digest.view()});
    checks.see(event, format);
  }
  Checked out;
  out.left_out = checks.finish(out.checks, out.findings);
  return out;
}
std::string changed(auto&& change) {
  Log log = good();
  change(log);
  return check(log).failed();
}

TEST(LogChecks, GoodLogPasses) {
  const Checked c = check(good());
  EXPECT_EQ(c.failed(), "");
  EXPECT_TRUE(c.findings.empty());
  EXPECT_EQ(c.checks.size(), 8U);  // L2 is the quote's; L7, L8, L10-L12 need a policy
}

TEST(LogChecks, L3NoAction) {
  EXPECT_EQ(changed([](Log& l) { l[1].digest = Digest::filled(32, std::byte{1}); }), "L3");
  EXPECT_EQ(changed([](Log& l) { l.push_back(l[0]); }), "L3");                 // a second Spec ID
  EXPECT_EQ(changed([](Log& l) { l.insert(l.begin() + 2, l[1]); }), "L3");     // a second locality
  EXPECT_EQ(changed([](Log& l) { std::swap(l[1], l[2]); }), "L3");             // after PCR 0 was extended
  EXPECT_EQ(changed([](Log& l) { l.erase(l.begin(), l.begin() + 2); }), "L3"); // no header
}

TEST(LogChecks, L4Separators) {
  EXPECT_EQ(changed([](Log& l) { l.erase(l.begin() + 8); }), "L4");
  EXPECT_EQ(changed([](Log& l) { l.push_back(l[10]); }), "L4");
  EXPECT_EQ(changed([](Log& l) { l[8].data = {std::byte{1}, {}, {}, {}}; }), "L4");  // the firmware reports an error
  EXPECT_EQ(changed([](Log& l) { l[8].data = ByteVector(4, std::byte{0xFF}); }), "");
  EXPECT_EQ(changed([](Log& l) { l[8].digest = digest_of(sha256, as_bytes("other")); }), "L4");
  EXPECT_EQ(changed([](Log& l) { l[8].type = 5; }), "L4");  // relabelled: then there is none
  EXPECT_EQ(changed([](Log& l) { l[8].data.push_back({}); }), "L4");
}

TEST(LogChecks, L5AfterTheSeparator) {
  for (const std::uint32_t pcr : {0U, 1U, 2U, 3U, 6U, 7U}) EXPECT_EQ(changed([&](Log& l) { l.push_back({pcr, 1, bytes("late"), {}, false}); }), "L5") << pcr;
  for (const std::uint32_t pcr : {4U, 5U, 8U, 9U, 14U}) EXPECT_EQ(changed([&](Log& l) { l.push_back({pcr, 1, bytes("late"), {}, false}); }), "") << pcr;
}

TEST(LogChecks, L6SecureBoot) {
  EXPECT_EQ(changed([](Log& l) { l[3].data = variable("global", "SecureBoot", zero); }), "L6");
  EXPECT_EQ(changed([](Log& l) { l[3].data = variable("global", "SecureBoot", {}); }), "L6");
  EXPECT_EQ(changed([](Log& l) { l[3].data = variable("database", "SecureBoot", one); }), "L6");  // another variable of that name
  EXPECT_EQ(changed([](Log& l) { l.erase(l.begin() + 3); }), "L6");
  EXPECT_EQ(changed([](Log& l) { l.erase(l.begin() + 4); }), "L6");
  EXPECT_EQ(changed([](Log& l) { l[4].data = variable("global", "PK", {}); }), "L6");
  // Data that says "on" over the digest of "off".
  for (std::size_t i = 3; i < 8; ++i) EXPECT_EQ(changed([&](Log& l) { l[i].digest = digest_of(sha256, as_bytes("off")); }), "L6") << i;
  // A second SecureBoot variable doesn't outdo the first.
  EXPECT_EQ(changed([](Log& l) {
              l[3].data = variable("global", "SecureBoot", zero);
              l.insert(l.begin() + 4, Event{7, ev_variable, variable("global", "SecureBoot", one), {}, false});
            }),
            "L6");
}

TEST(LogChecks, L9DebugMode) {
  const auto with = [](std::uint32_t type, std::string_view data, std::optional<Digest> digest) {
    return changed([&](Log& l) { l.insert(l.begin() + 3, Event{7, type, bytes(data), digest, false}); });
  };
  EXPECT_EQ(with(ev_action, "UEFI Debug Mode", {}), "L9");
  EXPECT_EQ(with(5, "DMA Protection Disabled", {}), "L9");
  EXPECT_EQ(with(0x0D, "harmless", digest_of(sha256, as_bytes("UEFI Debug Mode"))), "L9");  // relabelled, other data
  EXPECT_EQ(with(0x0D, "harmless", {}), "");
}

TEST(LogChecks, L13NoDigestForTheBank) {
  EXPECT_EQ(changed([](Log& l) { l.back().without_digest = true; }), "L13");
}

TEST(LogChecks, L14ForeignPcrs) {
  for (const std::uint32_t pcr : {10U, 16U, 23U}) EXPECT_EQ(changed([&](Log& l) { l.push_back({pcr, 1, bytes("x"), {}, false}); }), "L14");
}

// However many failures of one rule there are, those of another are seen.
TEST(LogChecks, ManyFailuresHideNone) {
  Log log = good();
  const Event noise{0, ev_no_action, bytes("x"), Digest::filled(32, std::byte{1}), false};
  log.insert(log.end(), 5000, noise);
  log.push_back({16, 1, bytes("x"), {}, false});
  const Checked c = check(log);
  EXPECT_EQ(c.failed(), "L14 L3");
  EXPECT_EQ(c.findings.size() + c.left_out, 5001U);
  EXPECT_LT(c.findings.size(), 1100U);
}

// Real machines: which of them had Secure Boot on (spec part 2 §6.8), and which break a rule.
TEST(LogChecks, RealLogs) {
  const std::string folder = GATEHOUSE_SHARED "/corpus/eventlog/";
  if (!std::filesystem::exists(folder)) {
    GTEST_SKIP() << "no corpus beside the checkout: " << folder;
  }
  const auto failed = [&](const std::string& file) {
    const ByteVector log = read_file(folder + file, std::size_t(1) << 26).value();
    eventlog::Cursor cursor;
    cursor.feed(log);
    cursor.end();
    LogChecks checks(sha256);
    for (;;) {
      const auto event = cursor.next();
      EXPECT_TRUE(event.has_value()) << file;
      if (!event || *event == nullptr) break;
      checks.see(**event, cursor.format());
    }
    Checked out;
    out.left_out = checks.finish(out.checks, out.findings);
    for (const Finding& f : out.findings) std::cout << file << ": " << f.reason << '\n';
    return out.failed();
  };
  EXPECT_EQ(failed("tpm2-tools-moklisttrusted.bin"), "");
  EXPECT_EQ(failed("keylime-secureboot.bin"), "");
  EXPECT_EQ(failed("tpm2-tools-bootorder.bin"), "L6");
  EXPECT_EQ(failed("ubuntu-2104-no-secure-boot.bin"), "L6");
  EXPECT_EQ(failed("arch-linux-workstation.bin"), "L5 L6");  // that firmware measures into PCR 1 after its separator
  EXPECT_EQ(failed("debian-10.bin"), "L13 L6");              // SHA-1 only
}

}  // namespace
}  // namespace gatehouse::testing
