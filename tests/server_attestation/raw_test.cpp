// The raw-evidence extension from the server's side (docs/formats/raw-evidence.md), and violations as a client without it
// sends them (spec part 2 §7.5).
#include <gtest/gtest.h>

#include "base/hex.h"
#include "tests/server_attestation/hand_client.h"
#include "wire/ima/ima.h"

namespace gatehouse::test {
namespace {

namespace pt = pts::type;
namespace raw = pts::raw;
using pipeline::Evaluation;
using pipeline::Status;
constexpr std::uint32_t own = raw::default_vendor;
constexpr std::uint16_t everything = raw::part_firmware_log | raw::part_ima_list | raw::part_quote;

class Raw : public testing::Test {
 protected:
  Raw() : machine_(machine()) {
    world_.enrol(machine_.tpm->ak(), device());
    options_.raw_parts = everything;
  }
  std::string device() const { return machine_.tpm->ak().key_id(); }
  HandOutcome attest() { return hold(world_, machine_, options_); }
  // The firmware as a client without the extension shows it.
  void approve_firmware() {
    HandOptions plain;
    plain.device_id = options_.device_id;
    hold(world_, machine_, plain);
    world_.approve(device());
  }
  static Status check(const HandOutcome& out, const std::string& code) {
    const auto at = out.verdict->checks.find(code);
    return at == out.verdict->checks.end() ? Status::absent : at->second;
  }
  // Says something else instead of the attribute of the extension.
  void replace(std::uint32_t type, std::function<void(Said&, std::size_t)> with) {
    options_.change = [=](Said& said) {
      for (std::size_t i = 0; i < said.size(); ++i)
        if (said[i].is(own, type)) return with(said, i);
    };
  }
  // "vendor/code offset" of the PA-TNC errors of the IETF.
  static std::string told(const HandOutcome& out) {
    std::string all;
    for (const HeardError& e : out.errors)
      all += std::to_string(e.vendor) + "/" + std::to_string(e.code) + " " + to_hex(Bytes(e.information).last(4)) + " ";
    return all;
  }

  World world_;
  Machine machine_;
  HandOptions options_;
};

TEST_F(Raw, AListWithSignaturesBuffersAndViolationsIsJudged) {
  machine_.reboot(signed_list());
  approve_firmware();
  const HandOutcome out = attest();
  ASSERT_TRUE(out.verdict);
  EXPECT_EQ(out.recommendation, 1) << pipeline::to_json(*out.verdict).substr(0, 2000);
  EXPECT_EQ(out.verdict->ima.processed, recorded_entries + 5);
  EXPECT_EQ(out.verdict->ima.violations, 2U);
  EXPECT_EQ(out.verdict->ima.ok, 1627U) << "the signed files are known by their digests";
  EXPECT_EQ(out.verdict->boot.ok, 136U) << "the same firmware as in evidence items";
  for (const char* code : {"Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "Q8", "Q9", "Q11", "Q12", "Q13", "Q14", "L1", "L2", "L3", "L4", "L5", "L14"})
    EXPECT_EQ(check(out, code), Status::ok) << code;
  EXPECT_NE(check(out, "L6"), Status::absent) << "event data is judged";
  EXPECT_FALSE(out.asked(tcg, pt::request_component_evidence)) << "what comes as a log isn't asked for twice";
  const auto buffer = std::find_if(out.verdict->findings.begin(), out.verdict->findings.end(),
                                   [](const pipeline::Finding& f) { return f.path == "kexec-cmdline"; });
  ASSERT_NE(buffer, out.verdict->findings.end());
  EXPECT_FALSE(buffer->measured_file.empty());
}

TEST_F(Raw, RequestsStandInFrontOfGenerateAttestationEvidence) {
  const HandOutcome out = attest();
  for (const Said& batch : out.heard) {
    if (batch.empty() || !batch.back().is(tcg, pt::generate_evidence)) continue;
    ASSERT_EQ(batch.size(), 3U);
    EXPECT_TRUE(batch[0].is(patnc::vendor_ita, pts::ita_get_symlinks));
    EXPECT_TRUE(batch[1].is(own, raw::type::request));
    EXPECT_EQ(batch[1].flags, 0);
    EXPECT_EQ(to_hex(batch[1].value), "0100000700000000000000000000000000000000");
    return;
  }
  FAIL() << "evidence wasn't asked for";
}

TEST_F(Raw, AnyOneLogMayComeBesideEvidenceItemsOfTheOther) {
  approve_firmware();
  for (const std::uint16_t parts : {raw::part_firmware_log, raw::part_ima_list, raw::part_quote,
                                    std::uint16_t(raw::part_firmware_log | raw::part_quote)}) {
    options_.raw_parts = parts;
    const HandOutcome out = attest();
    EXPECT_EQ(out.recommendation, 1) << parts;
    EXPECT_EQ(out.verdict->ima.ok, 1625U) << parts;
    EXPECT_EQ(check(out, "L1"), (parts & raw::part_firmware_log) != 0 ? Status::ok : Status::absent) << parts;
  }
}

TEST_F(Raw, LogsComeInSegmentsAndTheFinalBeforeTheirEnd) {
  machine_.reboot(signed_list());
  approve_firmware();
  world_.settings.max_batch = options_.max_batch = 8'192;
  const HandOutcome out = attest();
  ASSERT_TRUE(out.verdict);
  EXPECT_EQ(out.recommendation, 1) << pipeline::to_json(*out.verdict).substr(0, 2000);
  EXPECT_EQ(out.verdict->ima.processed, recorded_entries + 5);
  EXPECT_EQ(out.verdict->boot.ok, 136U);
}

TEST_F(Raw, AChangedFileIsFound) {
  machine_.reboot(file(interop("evidence/changed/binary_runtime_measurements")));
  approve_firmware();
  const HandOutcome out = attest();
  EXPECT_EQ(out.recommendation, 3);
  EXPECT_EQ(out.verdict->ima.differ, 1U);
  EXPECT_EQ(out.verdict->quote.status, Status::ok);
}

TEST_F(Raw, AListThatThePcrContradictsIsRefused) {
  approve_firmware();
  machine_.list = file(interop("evidence/tampered/binary_runtime_measurements"));
  const HandOutcome out = attest();
  EXPECT_EQ(out.recommendation, 3);
  EXPECT_EQ(check(out, "Q7"), Status::failed);
}

TEST_F(Raw, FirmwareWithoutAnApprovedBaselineIsolates) {
  const HandOutcome out = attest();
  EXPECT_EQ(out.recommendation, 3);
  EXPECT_EQ(out.verdict->boot.unknown, 136U);
  EXPECT_EQ(out.verdict->quote.status, Status::ok);
  world_.approve(device());
  EXPECT_EQ(attest().recommendation, 1) << "learned from the log, judged by it";
}

TEST_F(Raw, IsAskedForOnlyWhereItIsAnnounced) {
  options_.raw_parts = 0;
  EXPECT_FALSE(attest().asked(own, raw::type::request));
  options_.raw_parts = everything;
  options_.raw_version = 2;
  EXPECT_FALSE(attest().asked(own, raw::type::request));
  options_.raw_version = 1;
  world_.settings.raw_vendor = 0xABCDEF;
  HandOutcome out = attest();
  EXPECT_FALSE(out.asked(own, raw::type::request));
  EXPECT_EQ(out.verdict->quote.status, Status::ok) << "the other vendor's attribute is skipped";
  options_.raw_vendor = 0xABCDEF;
  out = attest();
  EXPECT_TRUE(out.asked(0xABCDEF, raw::type::request));
  EXPECT_EQ(out.verdict->quote.status, Status::ok);
  world_.settings.raw_evidence = false;
  out = attest();
  EXPECT_FALSE(out.asked(0xABCDEF, raw::type::request));
  EXPECT_EQ(out.verdict->quote.status, Status::ok);
}

TEST_F(Raw, AKeyThatSignsAnythingIsNoAttestationKey) {
  approve_firmware();
  constexpr std::uint32_t attestation_key = 0x00050072;
  for (const std::uint32_t wrong : {1U << 16, 1U << 18, 1U << 1, 1U << 5, 1U << 17}) {
    options_.ak_attributes = attestation_key ^ wrong;
    const HandOutcome out = attest();
    EXPECT_EQ(out.recommendation, 3) << wrong;
    EXPECT_EQ(check(out, "Q9"), Status::failed) << wrong;
  }
  options_.ak_attributes = attestation_key;
  EXPECT_EQ(attest().recommendation, 1);
}

TEST_F(Raw, APublicAreaThatIsNotTheEnrolledOneIsRefused) {
  server::Enrolment e;
  e.device = device();
  e.key = server::SeenKey{machine_.tpm->ak(), 0x00050072, HashAlgorithm::sha256};
  e.trust = true;
  World fresh;
  e.product = "Debian 12 x86_64";
  ASSERT_TRUE(fresh.state->enrol_blocking(std::move(e)));
  options_.ak_attributes = 0x00050032;
  HandOutcome out = hold(fresh, machine_, options_);
  EXPECT_EQ(check(out, "Q9"), Status::failed);
  options_.ak_attributes = 0x00050072;
  out = hold(fresh, machine_, options_);
  EXPECT_EQ(check(out, "Q9"), Status::ok);
}

TEST_F(Raw, AQuoteWithAnotherKeysPublicAreaIsRefused) {
  const auto other = *endpoint::SigningKey::generate(endpoint::KeyAlgorithm::ecc);
  replace(raw::type::quote, [&](Said& said, std::size_t i) {
    Reader r(said[i].value, "test");
    const raw::Quote quote = *raw::parse_quote(r);
    Writer w;
    raw::append_quote(w, {quote.attest, quote.signature, public_area(other->key(), 0x00050072)});
    said[i].value = std::move(w).take();
  });
  const HandOutcome out = attest();
  EXPECT_EQ(out.recommendation, 3);
  EXPECT_NE(out.item("TPMRA")->result.find("another key"), std::string::npos);
}

TEST_F(Raw, RawQuoteAndFinalMustBeOfOneQuote) {
  options_.change = [](Said& said) {
    if (said.empty() || !said.back().is(tcg, pt::simple_evidence_final)) return;
    Reader r(said.back().value, "test");
    pts::SimpleEvidenceFinal v = *pts::parse_simple_evidence_final(r);
    ByteVector clock = to_vector(v.clock_info);
    clock[7] ^= std::byte{1};
    v.clock_info = clock;
    Writer w;
    pts::append_simple_evidence_final(w, v);
    said.back().value = std::move(w).take();
  };
  const HandOutcome out = attest();
  EXPECT_EQ(out.item("TPMRA")->evaluation, Evaluation::error);
  EXPECT_NE(out.item("TPMRA")->result.find("aren't of the same quote"), std::string::npos);
}

TEST_F(Raw, APartThatCanNotBeGivenIsMissing) {
  approve_firmware();
  replace(raw::type::ima_list, [](Said& said, std::size_t i) {
    Writer w;
    raw::append_unavailable_error(w, own, raw::part_ima_list);
    said[i] = pts_error(std::move(w));
  });
  HandOutcome out = attest();
  EXPECT_EQ(out.recommendation, 3);
  EXPECT_FALSE(out.verdict->ima_given);
  EXPECT_TRUE(out.verdict->boot_given) << "what came is judged";
  // Never a word of it: the same, once the endpoint has nothing more to say.
  replace(raw::type::ima_list, [](Said& said, std::size_t i) { said.erase(said.begin() + std::ptrdiff_t(i)); });
  out = attest();
  EXPECT_EQ(out.recommendation, 3);
  EXPECT_FALSE(out.verdict->ima_given);
  EXPECT_TRUE(out.verdict->boot_given);
  // Without the quote's structure what Simple Evidence Final says of it counts.
  replace(raw::type::quote, [](Said& said, std::size_t i) {
    Writer w;
    raw::append_unavailable_error(w, own, raw::part_quote);
    said[i] = pts_error(std::move(w));
  });
  EXPECT_EQ(attest().recommendation, 1);
}

TEST_F(Raw, EvidenceItemsBesideTheLogAreRefused) {
  const ByteVector items = (*endpoint::ima_evidence(machine_.list, HashAlgorithm::sha256, {}))->attributes;
  replace(raw::type::ima_list, [&](Said& said, std::size_t i) {
    Reader r(items, "test");
    patnc::Attribute first;
    ASSERT_FALSE(patnc::parse_attribute(r, first));
    said.insert(said.begin() + std::ptrdiff_t(i), {tcg, first.type, to_vector(first.value)});
  });
  const HandOutcome out = attest();
  EXPECT_EQ(out.item("TPMRA")->evaluation, Evaluation::error);
  EXPECT_NE(out.item("TPMRA")->result.find("both a raw log and Simple Component Evidence"), std::string::npos);
}

TEST_F(Raw, WhatWasNotAskedForIsRefused) {
  options_.raw_parts = raw::part_quote;
  replace(raw::type::quote, [this](Said& said, std::size_t i) {
    Writer w;
    raw::append_firmware_log_head(w);
    w.put_bytes(machine_.log);
    said.insert(said.begin() + std::ptrdiff_t(i), {own, raw::type::firmware_log, std::move(w).take()});
  });
  EXPECT_EQ(attest().item("TPMRA")->evaluation, Evaluation::error);
  options_.raw_parts = everything;
  for (const std::uint32_t type : {raw::type::firmware_log, raw::type::ima_list, raw::type::quote}) {
    replace(type, [](Said& said, std::size_t i) { said.push_back(said[i]); });
    EXPECT_EQ(attest().item("TPMRA")->evaluation, Evaluation::error) << "a second " << type;
  }
  options_.change = [this](Said& said) {
    if (said.empty() || !said.front().is(tcg, pt::dh_nonce_response)) return;
    Writer w;
    raw::append_firmware_log_head(w);
    w.put_bytes(machine_.log);
    said.push_back({own, raw::type::firmware_log, std::move(w).take()});
  };
  EXPECT_EQ(attest().item("TPMRA")->evaluation, Evaluation::error) << "before it was asked for";
}

TEST_F(Raw, AListFromAnEntryThatWasNotSaidToBeKnownIsRefusedAtThatField) {
  const auto later = [](Said& said, std::size_t i) { said[i].value[11] = std::byte{5}; };
  replace(raw::type::ima_list, later);
  EXPECT_EQ(attest().item("TPMRA")->evaluation, Evaluation::error);
  world_.settings.max_batch = options_.max_batch = 8'192;
  const HandOutcome out = attest();
  EXPECT_EQ(told(out), "0/1 00000010 ") << "12 + 4, of the base attribute";
  EXPECT_EQ(out.item("TPMRA")->evaluation, Evaluation::error);
}

// Where the evidence plane finds a log broken is told in the attribute that it came in.
TEST_F(Raw, ABrokenLogIsRefusedAtItsOffset) {
  // The header event is 32 bytes and its data, whose size lies at 28; the second event's number of digests at its 8.
  const std::size_t second = 32 + std::to_integer<std::size_t>(machine_.log[28]);
  const auto offset_told = [&] {
    const HandOutcome out = attest();
    EXPECT_EQ(out.item("TPMRA")->evaluation, Evaluation::error);
    EXPECT_EQ(out.errors.size(), 1U);
    if (out.errors.size() != 1) return std::pair<std::string, std::uint32_t>();
    const Bytes information = out.errors[0].information;
    return std::pair(to_hex(information.first(8)), *Reader(information.last(4), "test").get<std::uint32_t>());
  };
  replace(raw::type::firmware_log, [&](Said& said, std::size_t i) { said[i].value[4 + second + 8] = std::byte{0xFF}; });
  const auto [header, whole] = offset_told();
  EXPECT_EQ(header.substr(0, 2), "01") << "the message's own header";
  EXPECT_GE(whole, 8 + 12 + 4 + second);
  EXPECT_LE(whole, 8 + 12 + 4 + second + 12);

  world_.settings.max_batch = options_.max_batch = 4'096;
  const auto [pseudo, segmented] = offset_told();
  EXPECT_EQ(pseudo.substr(0, 8), "ffffffff") << "the pseudo header of a transfer";
  EXPECT_EQ(segmented, whole - 8) << "of the base attribute, without a message header";
}

// Whatever is changed in what the quote covers, it is never good. A template's name isn't covered, and tells only how
// to read what is.
TEST_F(Raw, NoChangedByteOfListOrQuoteIsAllowed) {
  approve_firmware();
  std::vector<std::size_t> entries;
  ima::Cursor cursor(ima::Cursor::Form::binary);
  cursor.feed(machine_.list);
  cursor.end();
  for (;;) {
    const auto entry = cursor.next();
    ASSERT_TRUE(entry);
    if (*entry == nullptr) break;
    entries.push_back((*entry)->offset);
  }
  const auto in_template_name = [&](std::size_t at) {
    const std::size_t of_entry = at - *std::prev(std::upper_bound(entries.begin(), entries.end(), at));
    return of_entry >= 28 && of_entry < 28 + std::string_view("ima-ng").size();
  };
  ASSERT_EQ(attest().recommendation, 1);
  std::uint32_t seed = 12345;
  const auto next = [&](std::size_t bound) {
    seed = seed * 1664525 + 1013904223;
    return std::size_t(seed >> 8) % bound;
  };
  const auto change = [&](std::uint32_t type, std::size_t from, std::size_t to) {
    std::size_t at = from + next(to - from);
    while (type == raw::type::ima_list && in_template_name(at - from)) at = from + next(to - from);
    const std::size_t bit = next(8);
    replace(type, [=](Said& said, std::size_t i) { said[i].value[at] ^= std::byte(1U << bit); });
    const HandOutcome out = attest();
    ASSERT_TRUE(out.verdict);
    EXPECT_EQ(out.recommendation, 3) << "type " << type << ", byte " << at << ", bit " << bit;
  };
  const std::size_t attest_size = machine_.tpm->quote({}, HashAlgorithm::sha256, 0x47FF)->attest.size() + 32;
  for (int i = 0; i < 40; ++i) change(raw::type::ima_list, 12, 12 + machine_.list.size());
  for (int i = 0; i < 40; ++i) change(raw::type::quote, 4, 4 + attest_size);
  for (int i = 0; i < 20; ++i) change(raw::type::quote, 4 + attest_size, 4 + attest_size + 2 + 72);
}

// A client of strongSwan's knows nothing of violations: it hashes the zero digest that the list records, while the kernel
// extended all ones.
TEST_F(Raw, AViolationThatAClientHashesIsRecognised) {
  Writer w;
  w.put_bytes(file(interop("evidence/base/binary_runtime_measurements")));
  const ByteVector zeros(32);
  append_entry(w, "ima-ng", {list_field("sha256:", zeros), list_field("/var/log/syslog")}, true);
  machine_.reboot(std::move(w).take());
  approve_firmware();
  options_.raw_parts = 0;
  bool hashed = false;
  options_.change = [&](Said& said) {
    for (Pts& a : said) {
      if (!a.is(tcg, pt::simple_component_evidence) || !all_of_value(Bytes(a.value).last(32), std::byte{0xFF})) continue;
      Writer data;
      ima::append_ng_template_data(data, "sha256", zeros, "/var/log/syslog");
      const Digest of_zeros = digest_of(HashAlgorithm::sha256, data.view());
      std::copy(of_zeros.view().begin(), of_zeros.view().end(), a.value.end() - 32);
      hashed = true;
    }
  };
  HandOutcome out = attest();
  EXPECT_TRUE(hashed);
  EXPECT_EQ(out.recommendation, 1);
  EXPECT_EQ(out.verdict->ima.violations, 1U);
  EXPECT_EQ(out.verdict->ima.unknown, 108U);
  EXPECT_EQ(check(out, "Q7"), Status::ok);

  // The same item where the kernel extended something else is a forged list.
  machine_.reboot(file(interop("evidence/base/binary_runtime_measurements")));
  const ByteVector list = machine_.list;
  Writer longer;
  longer.put_bytes(list);
  append_entry(longer, "ima-ng", {list_field("sha256:", zeros), list_field("/var/log/syslog")}, true);
  machine_.list = std::move(longer).take();
  out = attest();
  EXPECT_EQ(out.recommendation, 3);
  EXPECT_EQ(check(out, "Q7"), Status::failed);
}

}  // namespace
}  // namespace gatehouse::test
