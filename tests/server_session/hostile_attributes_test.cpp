// What bad attributes in an otherwise good conversation get: an error where PA-TNC or PTS has one, a line in the log with
// its place, never an allow, and no effect on any other session.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "tests/server_session/conversation.h"

namespace gatehouse::test {
namespace {

constexpr std::uint32_t tcg = patnc::vendor_tcg;
namespace pt = pts::type;
using Attributes = std::vector<ByteVector>;

ByteVector* first(Attributes& all, std::uint32_t type) {
  const auto at = std::find_if(all.begin(), all.end(), [&](const ByteVector& a) { return type_of(a) == type; });
  return at == all.end() ? nullptr : &*at;
}
ByteVector attribute(unsigned flags, std::uint32_t vendor, std::uint32_t type, Bytes value) {
  Writer w;
  patnc::append_attribute(w, std::uint8_t(flags), vendor, type, value);
  return std::move(w).take();
}
// Sets bytes of the first attribute of a type, from an offset in its value on.
std::function<bool(Attributes&)> set(std::uint32_t type, std::size_t offset, ByteVector value) {
  return [=](Attributes& all) {
    ByteVector* const a = first(all, type);
    if (a == nullptr) return false;
    std::copy(value.begin(), value.end(), a->begin() + std::ptrdiff_t(12 + offset));
    return true;
  };
}
// Cuts the value of the first attribute of a type to a size, or fills it up with zeros.
std::function<bool(Attributes&)> resize(std::uint32_t type, std::size_t size) {
  return [=](Attributes& all) {
    ByteVector* const a = first(all, type);
    if (a == nullptr) return false;
    a->resize(12 + size);
    set_length(*a);
    return true;
  };
}
std::function<bool(Attributes&)> grow(std::uint32_t type, std::size_t by) {
  return [=](Attributes& all) {
    ByteVector* const a = first(all, type);
    if (a == nullptr) return false;
    a->resize(a->size() + by);
    set_length(*a);
    return true;
  };
}
std::function<bool(Attributes&)> repeat(std::uint32_t type) {
  return [=](Attributes& all) {
    const ByteVector* const a = first(all, type);
    if (a == nullptr) return false;
    all.push_back(ByteVector(*a));
    return true;
  };
}
std::function<bool(Attributes&)> drop(std::uint32_t type) {
  return [=](Attributes& all) { return std::erase_if(all, [&](const ByteVector& a) { return type_of(a) == type; }) != 0; };
}
std::function<bool(Attributes&)> beside(std::uint32_t type, ByteVector another) {
  return [=](Attributes& all) {
    if (first(all, type) == nullptr) return false;
    all.push_back(another);
    return true;
  };
}
// The length of the first attribute of a type says something else than it is long.
std::function<bool(Attributes&)> lie(std::uint32_t type, std::uint32_t length) {
  return [=](Attributes& all) {
    ByteVector* const a = first(all, type);
    if (a == nullptr) return false;
    for (std::size_t i = 0; i < 4; ++i) (*a)[8 + i] = std::byte(length >> (24 - 8 * i));
    return true;
  };
}

constexpr std::string_view invalid = "IMV 3 sent PA-TNC error 1 of vendor 0";
constexpr std::string_view refused = "IMV 3 sent PA-TNC error ";  // Invalid Parameter, or the PTS error for it

struct BadAttribute {
  std::string_view name;
  std::function<bool(Attributes&)> change;
  std::string_view logged;  // with "byte N" or "at offset N" before it
  std::string_view told;    // empty: the protocol has no error for it
};

std::vector<BadAttribute> bad_attributes() {
  constexpr std::uint32_t caps = pt::capabilities, algorithm = pt::algorithm, dh = pt::dh_nonce_response, version = pt::tpm_version, aik = pt::aik,
                          evidence = pt::simple_component_evidence, final = pt::simple_evidence_final, links = pts::ita_symlinks;
  const ByteVector ff4 = bytes({0xFF, 0xFF, 0xFF, 0xFF});
  return {
      // Lengths.
      {"attribute of no length", lie(caps, 0), "attribute length below its header", invalid},
      {"attribute that ends in its header", lie(caps, 11), "attribute length below its header", invalid},
      {"attribute longer than the message", lie(caps, 0x7FFFFFFF), "attribute longer than the message", invalid},
      {"attributes that overlap", lie(caps, 17), "attribute longer than the message", invalid},
      {"trailing bytes behind the attributes", beside(caps, bytes({0, 0, 0})), "truncated attribute header", invalid},
      {"reserved attribute vendor", beside(caps, attribute(0, 0xFFFFFF, 1, {})), "reserved attribute vendor", invalid},
      {"reserved attribute type", beside(caps, attribute(0, tcg, 0xFFFFFFFF, {})), "reserved attribute type", invalid},
      {"unknown attribute that mustn't be skipped", beside(caps, attribute(0x80, tcg, 0x0BADC0DE, {})), "unsupported attribute with NOSKIP",
       "IMV 3 sent PA-TNC error 3 of vendor 0"},
      {"capabilities cut", resize(caps, 3), "PTS Protocol Capabilities shorter than 4 bytes", invalid},
      {"algorithm empty", resize(algorithm, 0), "PTS Measurement Algorithm shorter than 4 bytes", invalid},
      {"DH response cut", resize(dh, 15), "DH Nonce Parameters Response shorter than 16 bytes", invalid},
      {"nonce longer than the DH response", set(dh, 3, bytes({0xFF})), "nonce longer than the attribute", invalid},
      {"TPM version cut", resize(version, 3), "TPM Version Information shorter than 4 bytes", invalid},
      {"TPM version with trailing bytes", grow(version, 1), "TPM 2.0 version information isn't 16 bytes", invalid},
      {"AIK empty", resize(aik, 0), "AIK shorter than 4 bytes", invalid},
      {"AIK cut", resize(aik, 60), "the AIK isn't a public key", invalid},
      {"AIK with trailing bytes", grow(aik, 1), "the AIK isn't a public key", invalid},
      {"AIK that claims to be a certificate", set(aik, 0, bytes({0})), "the AIK isn't a certificate", invalid},
      {"evidence cut", resize(evidence, 39), "Simple Component Evidence shorter than 40 bytes", invalid},
      {"evidence of no length", resize(evidence, 0), "Simple Component Evidence shorter than 40 bytes", invalid},
      {"measurement with trailing bytes", grow(evidence, 1), "measurement isn't as long as its algorithm's digest", invalid},
      {"policy URI longer than the evidence", [](Attributes& all) {
         for (ByteVector& a : all)
           if (type_of(a) == evidence && (a[12] & std::byte{0x60}) == std::byte{0x60}) return a[52] = a[53] = std::byte{0xFF}, true;
         return false;
       }, "policy URI longer than the attribute", invalid},
      {"final cut", resize(final, 3), "Simple Evidence Final shorter than 4 bytes", invalid},
      {"composite longer than the final", set(final, 4, ff4), "part longer than the attribute or its type", invalid},
      {"final with trailing bytes", grow(final, 1), "trailing bytes", invalid},
      {"more symlinks than there are bytes", set(links, 0, ff4), "symlink", invalid},
      // Versions, types, banks.
      {"algorithm that wasn't offered", set(algorithm, 2, bytes({0x20, 0})), "a measurement algorithm that wasn't offered", refused},
      {"two algorithms", set(algorithm, 2, bytes({0x60, 0})), "or more than one", refused},
      {"unknown algorithm", set(algorithm, 2, bytes({0, 1})), "a measurement algorithm that wasn't offered", refused},
      {"no algorithm", set(algorithm, 2, bytes({0, 0})), "a measurement algorithm that wasn't offered", refused},
      {"capabilities that weren't offered", set(caps, 2, bytes({0xFF, 0xFF})), "PTS capabilities that weren't offered", invalid},
      {"TPM 1.2", set(version, 0, bytes({0, 0x30})), "not the version information of a TPM 2.0", invalid},
      {"evidence in another bank", set(evidence, 16, bytes({0x20, 0})), "measurement in another algorithm", invalid},
      {"unknown quote format", set(final, 0, bytes({0xC0})), "quote format isn't that of a TPM 2.0", invalid},
      {"unknown functional name family", set(evidence, 7, bytes({0xC1})), "functional name family isn't binary enumeration", invalid},
      {"unknown measurement type", set(evidence, 12, bytes({0x40})), "measurement type isn't a hash", invalid},
      {"time that isn't one", set(evidence, 20, bytes({'x'})), "measurement time isn't", invalid},
      // Steps.
      {"capabilities twice", repeat(caps), "PTS Protocol Capabilities that weren't asked for, or a second time", invalid},
      {"algorithm twice", repeat(algorithm), "PTS Measurement Algorithm that wasn't asked for, or a second time", invalid},
      {"DH response twice", repeat(dh), "DH Nonce Parameters Response that wasn't asked for, or a second time", invalid},
      {"TPM version twice", repeat(version), "TPM Version Information that wasn't asked for, or a second time", invalid},
      {"second AIK", repeat(aik), "an AIK that wasn't asked for, or a second one", invalid},
      {"symlinks twice", repeat(links), "Symlinks that weren't asked for, or a second time", invalid},
      {"final twice", repeat(final), "attestation failed", ""},
      {"AIK before its time", beside(caps, attribute(0, tcg, aik, bytes({0x80, 1, 2, 3}))), "an AIK that wasn't asked for", invalid},
      {"evidence before its time", beside(caps, attribute(0, tcg, evidence, ByteVector(72))), "Simple Component Evidence that wasn't asked for", invalid},
      {"final before its time", beside(dh, attribute(0, tcg, final, ByteVector(4))), "Simple Evidence Final that wasn't asked for", invalid},
      {"evidence after the final", [](Attributes& all) {
         const ByteVector* const a = first(all, evidence);
         if (a == nullptr || first(all, final) == nullptr) return false;
         all.push_back(ByteVector(*a));
         return true;
       }, "Simple Component Evidence after Simple Evidence Final", invalid},
      {"no AIK", drop(aik), "no AIK received", ""},
      {"no DH response", drop(dh), "no DH nonce parameters received", ""},
      {"no algorithm at all", drop(algorithm), "no answer from an Attestation IMC", ""},
      // What wasn't asked for.
      {"evidence of another component", set(evidence, 4, bytes({0, 0, 1})), "evidence of a component that wasn't asked for", invalid},
      {"evidence for a PCR of no firmware", set(evidence, 13, bytes({0, 0, 23})), "firmware evidence for a PCR that firmware doesn't extend", invalid},
      {"evidence for a PCR that no TPM has", set(evidence, 13, bytes({0xFF, 0xFF, 0xFF})), "firmware evidence for a PCR", invalid},
      {"evidence of a sub-component", set(evidence, 1, bytes({0, 0, 1})), "sub-component evidence wasn't asked for", invalid},
      // The nonce.
      {"short nonce", [](Attributes& all) {
         ByteVector* const a = first(all, dh);
         if (a == nullptr) return false;
         (*a)[15] = std::byte{16};
         a->erase(a->begin() + 20, a->begin() + 24);
         set_length(*a);
         return true;
       }, "the endpoint's nonce is too short", refused},
      {"no hash for the nonce", set(dh, 6, bytes({0, 0})), "no common hash algorithm", refused},
      {"two DH groups", set(dh, 4, bytes({0x18, 0})), "a DH group that wasn't offered, or more than one", refused},
      {"a DH group that wasn't offered", set(dh, 4, bytes({0x80, 0})), "a DH group that wasn't offered", refused},
      {"a DH point off its curve", [](Attributes& all) {
         ByteVector* const a = first(all, dh);
         if (a == nullptr) return false;
         a->back() ^= std::byte{1};
         return true;
       }, "DH public value isn't in its group", invalid},
      {"a DH point of another size", grow(dh, 1), "", invalid},
      {"the point at infinity", [](Attributes& all) {
         ByteVector* const a = first(all, dh);
         if (a == nullptr) return false;
         std::fill(a->end() - 64, a->end(), std::byte{0});
         return true;
       }, "", invalid},
  };
}

TEST(BadAttribute, IsToldWhereTheProtocolHasAnErrorAndLoggedWithItsPlace) {
  World world;
  const Machine m = machine();
  world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
  converse(world, m);
  world.approve(m.tpm->ak().key_id());
  for (const BadAttribute& row : bad_attributes()) {
    bool applied = false;
    const Outcome out = converse(world, m, {}, [&](ByteVector message) {
      if (applied || message.size() < 24 || message[7] != std::byte{7}) return message;
      auto changed = with_attributes(message, row.change);
      if (!changed) return message;
      applied = true;
      return std::move(*changed);
    });
    ASSERT_TRUE(applied) << row.name;
    std::string log;
    for (const std::string& line : out.lines)
      if (line.find("PA-TNC attribute") == std::string::npos && line.find("received") == std::string::npos) log += line + "\n";
    ASSERT_TRUE(out.verdict) << row.name << '\n' << log;
    EXPECT_NE(out.verdict->recommendation, pipeline::Recommendation::allow) << row.name;
    EXPECT_TRUE(!out.answer || out.answer->recommendation != endpoint::Recommendation::allow) << row.name;
    const bool logged = std::any_of(out.lines.begin(), out.lines.end(), [&](const std::string& line) {
      const bool placed = row.told.empty() || line.find("byte ") != std::string::npos || line.find("at offset ") != std::string::npos;
      return placed && (line.find("attestation failed") != std::string::npos || line.find("refused") != std::string::npos) &&
             line.find(row.logged) != std::string::npos;
    });
    EXPECT_TRUE(logged) << row.name << '\n' << log;
    const bool told = row.told.empty() || std::any_of(out.notes.begin(), out.notes.end(), [&](const std::string& note) {
                        return note.find(row.told) != std::string::npos;
                      });
    EXPECT_TRUE(told) << row.name << ": " << (out.notes.empty() ? "the endpoint was told nothing" : out.notes.back()) << '\n' << log;
    // What was dropped leaves the graph at its next node.
    for (int turn = 0; turn < 10'000'000 && world.pipeline->bytes_in_flight() != 0; ++turn) std::this_thread::yield();
    EXPECT_EQ(world.pipeline->bytes_in_flight(), 0U) << row.name;
  }
  // None of it hurt the good one.
  EXPECT_EQ(converse(world, m).answer->recommendation, endpoint::Recommendation::allow);
}

// Bad sessions come and go between all the steps of a good one, which notices nothing.
TEST(BadAttribute, TouchesNoOtherSession) {
  World world;
  const Machine m = machine(), other = machine();
  world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
  world.enrol(other.tpm->ak(), other.tpm->ak().key_id());
  converse(world, m);
  world.approve(m.tpm->ak().key_id());
  const auto rows = bad_attributes();
  std::size_t next = 0;
  const Outcome good = converse(world, m, {}, [&](ByteVector message) {
    for (int n = 0; n < 6; ++n) {
      const BadAttribute& row = rows[next++ % rows.size()];
      converse(world, other, {}, [&](ByteVector theirs) {
        if (theirs.size() < 24 || theirs[7] != std::byte{7}) return theirs;
        auto changed = with_attributes(theirs, row.change);
        return changed ? std::move(*changed) : theirs;
      });
    }
    return message;
  });
  EXPECT_GT(next, 30U);
  ASSERT_TRUE(good.answer) << good.error;
  EXPECT_EQ(good.answer->recommendation, endpoint::Recommendation::allow);
}

}  // namespace
}  // namespace gatehouse::test
