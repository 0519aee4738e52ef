// L1-L14 (spec part 2 §6.8): a good log passes, each broken rule fails under its own code, also when the event's type
// says something else.
#include <filesystem>
#include <iostream>

#include "tests/pipeline_verdict/support.h"

namespace gatehouse::testing {
namespace {

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

// Whoever runs later can extend PCR 7 with what a firmware with Secure Boot would have measured, and give what it did
// measure other names.
TEST(LogChecks, WhatIsMeasuredLaterDoesNotPassForTheFirmwares) {
  Log log = good();
  log[3].data = variable("global", "SecureBoot", zero);
  for (Event& e : log)
    if (e.pcr == 7 && e.type == ev_variable) e.type = ev_authority;
  for (Event& e : log)
    if (e.pcr == 7 && e.type == ev_separator) e.type = 0x0D;
  const Log later = good();
  for (std::size_t i = 3; i < 8; ++i) log.push_back(later[i]);
  log.push_back({7, ev_separator, ByteVector(4, std::byte{0}), {}, false});
  EXPECT_EQ(check(log).failed(), "L4 L5 L6");
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
    const Checked out = check_file(folder + file);
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
