// Whatever an endpoint changes in evidence that was good, it isn't allowed: seeded mutations over the protocol and of raw
// lists and logs. What no signature covers (spec part 2 §10.3) may stay allowed, and is then reported as a claim.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <map>
#include <random>

#include "pipeline/quote/quote.h"
#include "tests/long.h"
#include "tests/server_session/conversation.h"
#include "wire/patnc/patnc.h"

namespace gatehouse::test {
namespace {

using Random = std::mt19937_64;
using pts::type::simple_component_evidence;

// What one mutation does to the attributes of one PTS message; true: it was applied.
struct Kind {
  std::string_view name;
  bool unsigned_claim;  // no signature covers it
  bool (*apply)(std::vector<ByteVector>& attributes, Random& random);
};

std::size_t pick(const std::vector<ByteVector>& all, std::uint32_t type, Random& random) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (type_of(all[i]) == type) found.push_back(i);
  return found.empty() ? all.size() : found[random() % found.size()];
}
template <std::size_t Offset, std::size_t Size>
bool flip(std::vector<ByteVector>& all, std::uint32_t type, Random& random) {
  const std::size_t i = pick(all, type, random);
  if (i == all.size() || all[i].size() < 12 + Offset + Size) return false;
  all[i][12 + Offset + random() % Size] ^= std::byte(1U << (random() % 8));
  return true;
}
std::size_t flip_from_end(ByteVector& a, std::size_t size, Random& random) {
  const std::size_t at = a.size() - 1 - random() % size;
  a[at] ^= std::byte(1U << (random() % 8));
  return at;
}

constexpr std::uint32_t sce = simple_component_evidence, final = pts::type::simple_evidence_final;
constexpr Kind kinds[] = {
    {"entry removed", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, sce, r);
       if (i == all.size()) return false;
       all.erase(all.begin() + std::ptrdiff_t(i));
       return true;
     }},
    {"entry repeated", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, sce, r);
       if (i == all.size()) return false;
       all.insert(all.begin() + std::ptrdiff_t(i), all[i]);
       return true;
     }},
    {"entries swapped", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, sce, r);
       if (i + 1 >= all.size() || type_of(all[i + 1]) != sce || all[i] == all[i + 1]) return false;
       // Events of different PCRs have no order between them that a quote could know.
       if (!std::equal(all[i].begin() + 25, all[i].begin() + 28, all[i + 1].begin() + 25)) return false;
       std::swap(all[i], all[i + 1]);
       return true;
     }},
    {"measurement changed", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, sce, r);
       if (i == all.size()) return false;
       flip_from_end(all[i], 32, r);
       return true;
     }},
    {"name changed", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, sce, r);
       if (i == all.size() || all[i].size() < 12 + 42 + 32 + 8) return false;
       // A known file's name, behind "sha256:": one letter.
       const std::size_t length = std::size_t(all[i][52]) << 8 | std::size_t(all[i][53]);
       const std::size_t at = 54 + 8 + r() % (length - 8);
       all[i][at] = all[i][at] == std::byte{'q'} ? std::byte{'z'} : std::byte{'q'};
       return true;
     }},
    {"PCR changed", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, sce, r);
       if (i == all.size()) return false;
       const unsigned old = std::to_integer<unsigned>(all[i][27]);
       all[i][27] = std::byte((old + 1 + r() % 14) % 16);
       return std::to_integer<unsigned>(all[i][27]) != old;
     }},
    {"component changed", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, sce, r);
       if (i == all.size()) return false;
       all[i][19] ^= std::byte{3};  // firmware to IMA and back
       return true;
     }},
    {"algorithm changed", false, [](auto& all, Random& r) { return flip<16, 2>(all, sce, r); }},
    {"transform changed", false, [](auto& all, Random& r) { return flip<18, 1>(all, sce, r); }},
    {"depth changed", false, [](auto& all, Random& r) { return flip<1, 3>(all, sce, r); }},
    {"false PCR values claimed", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, sce, r);
       if (i == all.size()) return false;
       ByteVector claim{std::byte{0}, std::byte{32}};
       for (int n = 0; n < 64; ++n) claim.push_back(std::byte(r() & 0xFF));
       all[i][12] |= std::byte{0x80};
       all[i].insert(all[i].end() - 32, claim.begin(), claim.end());
       set_length(all[i]);
       return true;
     }},
    {"entry after the final", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, sce, r), f = pick(all, final, r);
       if (i == all.size() || f == all.size()) return false;
       all.push_back(all[i]);
       return true;
     }},
    {"final repeated", false, [](auto& all, Random& r) {
       const std::size_t f = pick(all, final, r);
       if (f == all.size()) return false;
       all.push_back(all[f]);
       return true;
     }},
    {"quote changed", false, [](auto& all, Random& r) {
       const std::size_t f = pick(all, final, r);
       if (f == all.size()) return false;
       const std::size_t at = 14 + r() % (all[f].size() - 14);  // behind the flags, which select the format
       all[f][at] ^= std::byte(1U << (r() % 8));
       return true;
     }},
    {"DH value changed", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, pts::type::dh_nonce_response, r);
       if (i == all.size()) return false;
       flip_from_end(all[i], 64, r);
       return true;
     }},
    {"nonce changed", false, [](auto& all, Random& r) { return flip<8, 20>(all, pts::type::dh_nonce_response, r); }},
    {"AIK changed", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, pts::type::aik, r);
       if (i == all.size()) return false;
       flip_from_end(all[i], 60, r);
       return true;
     }},
    {"second AIK", false, [](auto& all, Random& r) {
       const std::size_t i = pick(all, pts::type::aik, r);
       if (i == all.size()) return false;
       all.push_back(all[i]);
       return true;
     }},
    {"symlinks changed", true, [](auto& all, Random& r) {
       const std::size_t i = pick(all, pts::ita_symlinks, r);
       if (i == all.size()) return false;
       flip_from_end(all[i], 4, r);
       return true;
     }},
    {"startup locality changed", true, [](auto& all, Random& r) {
       const std::size_t i = pick(all, pts::type::tpm_version, r);
       if (i == all.size()) return false;
       all[i][15] = std::byte(r() % 5);
       return true;
     }},
};

// Which check refused it, for the report.
std::string refused_by(const Outcome& out) {
  if (!out.verdict) return "protocol";
  for (const auto& [code, status] : out.verdict->checks)
    if (code[0] == 'Q' && status == pipeline::Status::failed) return code;
  if (out.verdict->ima.differ + out.verdict->boot.differ != 0) return "differ";
  if (out.verdict->ima.failed + out.verdict->boot.failed != 0) return "failed";
  return out.verdict->findings.empty() ? "?" : out.verdict->findings.front().component;
}

TEST(Mutations, OverTheProtocolAreNeverAllowed) {
  World world;
  const Machine m = machine();
  const std::string device = m.tpm->ak().key_id();
  world.enrol(m.tpm->ak(), device);
  converse(world, m);
  world.approve(device);
  ASSERT_EQ(converse(world, m).answer->recommendation, endpoint::Recommendation::allow);
  Random random(20261124);
  std::map<std::string, std::map<std::string, int>> refusals;
  const int tries = how_many(300, 1000);
  for (int n = 0; n < tries; ++n) {
    const Kind& kind = kinds[std::size_t(n) % std::size(kinds)];
    const auto skip = random() % 3;  // not always the first message that could take it
    unsigned seen = 0;
    bool applied = false;
    const Outcome out = converse(world, m, {}, [&](ByteVector message) {
      if (applied || message.size() < 24 || message[7] != std::byte{7}) return message;
      Random copy = random;
      auto changed = with_attributes(message, [&](auto& all) { return kind.apply(all, copy); });
      if (!changed || (seen++ < skip && kind.name.find("entr") != std::string_view::npos)) return message;
      random = copy;
      applied = true;
      return std::move(*changed);
    });
    if (!applied) continue;
    const bool allowed = out.answer && out.answer->recommendation == endpoint::Recommendation::allow;
    if (kind.unsigned_claim) {
      if (allowed) {
        ASSERT_TRUE(out.verdict);
        EXPECT_FALSE(out.verdict->claims.empty());
        EXPECT_EQ(out.verdict->ima.ok, 1625U) << "a claim changed the counts";
      }
      ++refusals[std::string(kind.name)][allowed ? "allowed, reported as a claim" : refused_by(out)];
      continue;
    }
    if (allowed && kind.name == "name changed") {
      // The name of a file that no reference knows is the endpoint's claim: its digest isn't on the wire (design §6.7).
      ASSERT_TRUE(out.verdict);
      EXPECT_EQ(out.verdict->ima.ok, 1625U);
      EXPECT_EQ(out.verdict->ima.unknown, 107U);
      ++refusals[std::string(kind.name)]["an unknown file's, a claim"];
      continue;
    }
    ASSERT_FALSE(allowed) << "mutation " << n << ": " << kind.name;
    if (out.verdict) {
      ASSERT_NE(out.verdict->recommendation, pipeline::Recommendation::allow) << "mutation " << n << ": " << kind.name;
    }
    ++refusals[std::string(kind.name)][refused_by(out)];
  }
  int total = 0;
  for (const auto& [kind, by] : refusals)
    for (const auto& [code, count] : by) {
      std::printf("  %-28s %-28s %d\n", kind.c_str(), code.c_str(), count);
      total += count;
    }
  EXPECT_GE(total, tries * 9 / 10);
  // None of it hurt the good one.
  EXPECT_EQ(converse(world, m).answer->recommendation, endpoint::Recommendation::allow);
}

// Raw lists and logs with one byte changed, a record removed, or cut: as `gatehouse verify` judges them.
TEST(Mutations, OfRawListsAndLogsAreNeverAllowedBeyondWhatNoSignatureCovers) {
  World world;
  const Machine m = machine();
  const ByteVector nonce(32, std::byte{0x5A});
  const auto quote = m.tpm->quote(nonce, HashAlgorithm::sha256, 0x47FF);
  ASSERT_TRUE(quote);
  const auto judge = [&](const ByteVector& log, const ByteVector& list, bool references) -> std::optional<pipeline::Verdict> {
    pipeline::Context context;
    context.bank = HashAlgorithm::sha256;
    if (references) context.references = world.references;
    context.product = "Debian 12 x86_64";
    pipeline::Finish finish;
    finish.ak.key = m.tpm->ak();
    finish.ak.trusted = true;
    finish.nonce = nonce;
    finish.quote = pipeline::RawQuote{quote->attest, quote->signature};
    std::promise<Result<pipeline::Outcome>> promise;
    auto future = promise.get_future();
    auto evidence = world.pipeline->open(std::move(context), [&](Result<pipeline::Outcome> o) { promise.set_value(std::move(o)); });
    evidence->submit({pipeline::Stream::boot, pipeline::Format::eventlog, log, 0});
    evidence->submit({pipeline::Stream::ima, pipeline::Format::ima_binary, list, 0});
    evidence->finish(std::move(finish));
    auto outcome = future.get();
    if (!outcome) return std::nullopt;  // malformed
    return std::move(outcome->verdict);
  };
  const auto good = judge(m.log, m.list, true);
  ASSERT_TRUE(good);
  ASSERT_EQ(good->recommendation, pipeline::Recommendation::allow) << pipeline::to_json(*good).substr(0, 3000);
  Random random(42);
  int refused = 0, malformed = 0, uncovered = 0;
  for (int n = 0; n < 1000; ++n) {
    ByteVector log = m.log, list = m.list;
    const bool in_list = random() % 4 != 0;
    ByteVector& bytes = in_list ? list : log;
    switch (random() % 4) {
      case 0:
      case 1: bytes[random() % bytes.size()] ^= std::byte(1U << (random() % 8)); break;
      case 2: bytes.resize(bytes.size() - 1 - random() % 300); break;
      default: {
        const std::size_t at = random() % (bytes.size() - 200), size = 1 + random() % 150;
        bytes.erase(bytes.begin() + std::ptrdiff_t(at), bytes.begin() + std::ptrdiff_t(at + size));
      }
    }
    const auto v = judge(log, list, n % 2 == 0);
    if (!v) {
      ++malformed;
    } else if (v->recommendation != pipeline::Recommendation::allow) {
      ++refused;
    } else {
      // Event types and undigested event data of the log, and a template's name: the replay must be the same, and no
      // more may be ok than before.
      ++uncovered;
      EXPECT_EQ(v->pcrs, good->pcrs) << "mutation " << n;
      EXPECT_LE(v->ima.ok, good->ima.ok);
      EXPECT_EQ(v->ima.processed, good->ima.processed);
    }
  }
  std::printf("  %d refused, %d malformed, %d in what no signature covers\n", refused, malformed, uncovered);
  EXPECT_EQ(refused + malformed + uncovered, 1000);
}

}  // namespace
}  // namespace gatehouse::test
