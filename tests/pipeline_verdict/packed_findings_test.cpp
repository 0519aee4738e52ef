// Findings that wait for their verdict, packed: each comes out as it went in.
#include "pipeline/verdict/packed_findings.h"

#include <gtest/gtest.h>

namespace gatehouse::testing {
namespace {

using pipeline::Finding;
using pipeline::PackedFindings;
using pipeline::Status;

std::vector<Finding> spelled(const PackedFindings& packed, HashAlgorithm bank = HashAlgorithm::sha256) {
  std::vector<Finding> out;
  packed.spell(bank, out);
  return out;
}

std::string json(std::vector<Finding> findings) {
  pipeline::Verdict v;
  v.findings = std::move(findings);
  return to_json(v);
}

TEST(PackedFindings, ComeOutAsTheyWentIn) {
  const ByteVector measured(32, std::byte{0xA5}), content(20, std::byte{0x0F});
  const std::string name = "/usr/bin/" + std::string(300, 'x') + "\x01\xFF", reason = "the file's content is none of the references";
  const std::vector<std::string> expected{"sha256:00", "sha256:" + std::string(64, 'f')};
  PackedFindings packed;
  EXPECT_TRUE(packed.empty());
  packed.add({.index = 1, .pcr = 10, .status = Status::unknown, .path = "", .reason = "no reference of this path", .package = {}, .version = {},
              .expected = {}, .measured_template = measured, .measured_algorithm = {}, .measured_file = {}});
  packed.add({.index = ~std::uint64_t{0}, .pcr = ~std::uint32_t{0}, .status = Status::differ, .path = name, .reason = reason, .package = "pkg",
              .version = "1.0-1", .expected = expected, .measured_template = {}, .measured_algorithm = "sha1", .measured_file = content});
  // Unknown, and some of what only others have.
  packed.add({.index = 2, .pcr = 10, .status = Status::unknown, .path = "/etc/x", .reason = "no reference of this path in the entry's algorithm",
              .package = {}, .version = {}, .expected = {}, .measured_template = {}, .measured_algorithm = "sha1", .measured_file = content});
  packed.shrink();
  ASSERT_EQ(packed.size(), 3U);

  Finding first, second;
  first.component = second.component = "ima";
  first.entry = 1;
  first.pcr = 10;
  first.reason = "no reference of this path";
  std::string hex;
  for (std::size_t n = 0; n < measured.size(); ++n) hex += "a5";
  first.measured_template = "sha384:" + hex;
  second.entry = ~std::uint64_t{0};
  second.pcr = ~std::uint32_t{0};
  second.status = Status::differ;
  second.path = name;
  second.reason = reason;
  second.package = "pkg";
  second.version = "1.0-1";
  second.expected = expected;
  hex.clear();
  for (std::size_t n = 0; n < content.size(); ++n) hex += "0f";
  second.measured_file = "sha1:" + hex;
  Finding third;
  third.component = "ima";
  third.entry = 2;
  third.pcr = 10;
  third.path = "/etc/x";
  third.reason = "no reference of this path in the entry's algorithm";
  third.measured_file = second.measured_file;
  EXPECT_EQ(json(spelled(packed, HashAlgorithm::sha384)), json({first, second, third}));
}

// What is chosen of several is the same again, and costs what it did.
TEST(PackedFindings, AreChosenWithoutBeingSpelled) {
  PackedFindings all, chosen;
  const ByteVector measured(32, std::byte{1});
  for (std::uint64_t n = 0; n < 1000; ++n) {
    const std::string path = "/opt/" + std::string(std::size_t(n), 'a') + std::to_string(n);
    all.add({.index = n * n * n, .pcr = 10, .status = n % 3 == 0 ? Status::failed : Status::unknown, .path = path, .reason = "r", .package = {}, .version = {},
             .expected = {}, .measured_template = measured, .measured_algorithm = {}, .measured_file = {}});
  }
  std::vector<Finding> wanted = spelled(all);
  std::erase_if(wanted, [](const Finding& f) { return only_unknown(f); });
  std::size_t cost = 0;
  for (const PackedFindings::Packed& f : all.all()) {
    cost += f.cost();
    if (!f.only_unknown()) chosen.add(f);
  }
  EXPECT_EQ(cost, all.cost());
  EXPECT_EQ(chosen.size(), wanted.size());
  EXPECT_LT(chosen.cost(), all.cost());
  EXPECT_EQ(json(spelled(chosen)), json(wanted));
}

// Many sessions wait with theirs.
TEST(PackedFindings, TakeLittleMoreThanTheirTexts) {
  PackedFindings packed;
  const ByteVector measured(32, std::byte{1});
  const std::string path(60, 'p'), reason(25, 'r');
  for (std::uint64_t n = 0; n < 100; ++n)
    packed.add({.index = n, .pcr = 10, .status = Status::unknown, .path = path, .reason = reason, .package = {}, .version = {}, .expected = {},
                .measured_template = measured, .measured_algorithm = {}, .measured_file = {}});
  packed.shrink();
  EXPECT_LE(packed.bytes(), 100U * (60 + 25 + 32 + 16));
}

}  // namespace
}  // namespace gatehouse::testing
