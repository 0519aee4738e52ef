// Checks Q1-Q14: a good quote passes all of them, and each way to be wrong fails under its own code (spec part 2 §4.3,
// §11.6).
#include "pipeline/quote/quote.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "tests/pipeline_quote/signer.h"
#include "wire/pts/pts.h"

namespace gatehouse::testing {
namespace {

using pipeline::QuoteResult;
using pipeline::Status;

constexpr HashAlgorithm sha256 = HashAlgorithm::sha256;

// Firmware events in PCR 0-9, one list entry in PCR 10, a quote over PCR 0-10 that fits.
struct Scene {
  pipeline::Context context;
  pipeline::Finish finish;
  std::vector<pipeline::BootItem> boot;
  std::optional<Digest> ima;
  pipeline::OtherPcrs others;
  bool boot_given = true, ima_given = true, raw_log = false;
  std::optional<std::uint8_t> log_locality;
  HashAlgorithm bank = sha256;
  std::uint8_t tpm_locality = 0;  // what the TPM really started with

  // Of the quote.
  std::uint32_t magic = tpm::generated_value;
  std::uint16_t type = tpm::st_attest_quote;
  ByteVector signer_name = from_hex("000b").value(), nonce = ByteVector(32, std::byte{0x5A}), quoted_nonce;
  std::vector<tpm::PcrSelection> selections{{std::uint16_t(sha256), 3, 0x07FF}};
  tpm::ClockInfo clock{5000, 3, 1, 1};
  std::uint64_t firmware = 77;
  HashAlgorithm hash = sha256;
  std::optional<ByteVector> digest;  // else the right one
  bool pss = false;

  Scene() {
    signer_name.resize(34, std::byte{9});
    quoted_nonce = nonce;
    for (std::uint32_t pcr = 0; pcr < 10; ++pcr) boot.push_back({pcr, digest_of(sha256, as_bytes("pcr" + std::to_string(pcr)))});
    ima = Digest::filled(32, std::byte{0});
    Hasher(sha256).extend(*ima, digest_of(sha256, as_bytes("entry")).view());
    finish.nonce = nonce;
    finish.ak.trusted = true;
    context.bank = sha256;
  }

  ByteVector composite() const {
    pipeline::Pcrs all = pipeline::replay_boot(bank, boot, tpm_locality);
    if (ima) all[10] = *ima;
    ByteVector bytes;
    for (const auto& selection : selections)
      for (std::uint32_t pcr = 0; pcr < 32; ++pcr) {
        if ((selection.pcrs >> pcr & 1) == 0) continue;
        const Digest value = all.contains(pcr) ? all[pcr] : pipeline::initial_pcr(bank, pcr, tpm_locality);
        bytes.insert(bytes.end(), value.view().begin(), value.view().end());
      }
    return to_vector(digest_of(hash, bytes).view());
  }
  ByteVector clock_bytes() const {
    Writer w;
    w.put(clock.clock);
    w.put(clock.reset_count);
    w.put(clock.restart_count);
    w.put(clock.safe);
    return std::move(w).take();
  }
  ByteVector attest() const {
    Writer w;
    w.put(magic);
    w.put(type);
    w.put(std::uint16_t(signer_name.size()));
    w.put_bytes(signer_name);
    w.put(std::uint16_t(quoted_nonce.size()));
    w.put_bytes(quoted_nonce);
    w.put_bytes(clock_bytes());
    w.put(firmware);
    tpm::append_selections(w, selections);
    const ByteVector d = digest.value_or(composite());
    w.put(std::uint16_t(d.size()));
    w.put_bytes(d);
    return std::move(w).take();
  }
  QuoteResult verify() const {
    return pipeline::verify_quote({context, finish, bank, boot, boot_given, ima_given, ima, others, log_locality, raw_log});
  }
  // As a TPM's own structures.
  QuoteResult raw(const Signer& key) {
    const ByteVector bytes = attest();
    finish.ak.key = key.key();
    finish.quote = pipeline::RawQuote{bytes, key.tpmt(bytes, hash, pss)};
    return verify();
  }
  // As Simple Evidence Final; `change` edits its parts after signing.
  template <class Change>
  QuoteResult wire(const Signer& key, Change&& change) {
    const ByteVector bytes = attest();
    finish.ak.key = key.key();
    ByteVector signature;
    if (finish.ak.key->type() == KeyType::rsa) {
      signature = key.sign(bytes, hash, pss);
    } else {
      const std::size_t field = finish.ak.key->field_size();
      const auto pair = key.sign_ecdsa(bytes, hash);
      signature.resize(2 * field);
      std::copy(pair.r.begin(), pair.r.end(), signature.begin() + std::ptrdiff_t(field - pair.r.size()));
      std::copy(pair.s.begin(), pair.s.end(), signature.begin() + std::ptrdiff_t(2 * field - pair.s.size()));
    }
    Writer selection, firmware_bytes;
    tpm::append_selections(selection, selections);
    firmware_bytes.put(firmware);
    const ByteVector clock_info = clock_bytes(), d = digest.value_or(composite());
    pts::SimpleEvidenceFinal v;
    v.has_quote = true;
    v.hash = pts::algorithm_bit(hash);
    v.pcr_digest = d;
    v.qualified_signer = signer_name;
    v.clock_info = clock_info;
    v.firmware_version = firmware_bytes.view();
    v.selection = selection.view();
    v.signature = signature;
    change(v);
    Writer w;
    pts::append_simple_evidence_final(w, v);
    finish.quote = pipeline::FinalQuote{std::move(w).take(), 0};
    return verify();
  }
  QuoteResult wire(const Signer& key) {
    return wire(key, [](pts::SimpleEvidenceFinal&) {});
  }
};

std::string check(const QuoteResult& r, const std::string& code) {
  const auto at = r.checks.find(code);
  return at == r.checks.end() ? "absent" : std::string(name(at->second));
}
std::string failed(const QuoteResult& r) {
  std::string out;
  for (const auto& [code, status] : r.checks)
    if (status == Status::failed) out += (out.empty() ? "" : " ") + code;
  return out;
}
const Signer& rsa() {
  static const Signer key = Signer::rsa();
  return key;
}
const Signer& ecc() {
  static const Signer key = Signer::ecc();
  return key;
}

TEST(Quote, GoodOnesPassInEveryScheme) {
  static const Signer p384 = Signer::ecc("P-384"), p521 = Signer::ecc("P-521");
  struct Row {
    const Signer& key;
    HashAlgorithm hash;
    bool pss;
    std::string scheme;
  };
  for (const Row& row : {Row{rsa(), sha256, false, "rsassa"}, Row{rsa(), sha256, true, "rsapss"}, Row{rsa(), HashAlgorithm::sha384, true, "rsapss"},
                         Row{ecc(), sha256, false, "ecdsa"}, Row{ecc(), HashAlgorithm::sha384, false, "ecdsa"}, Row{p384, HashAlgorithm::sha384, false, "ecdsa"},
                         Row{p521, HashAlgorithm::sha512, false, "ecdsa"}})
    for (const bool on_wire : {false, true}) {
      Scene s;
      s.hash = row.hash;
      s.pss = row.pss;
      const QuoteResult r = on_wire ? s.wire(row.key) : s.raw(row.key);
      EXPECT_EQ(failed(r), "") << row.scheme << on_wire;
      EXPECT_EQ(r.quote.status, Status::ok);
      EXPECT_EQ(r.quote.scheme, row.scheme);
      EXPECT_FALSE(r.refused || r.unbound || r.untrusted);
      for (const char* code : {"Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "Q8", "Q9", "Q14"}) EXPECT_EQ(check(r, code), "ok") << code;
      for (const char* code : {"Q10", "Q11", "Q12"}) EXPECT_EQ(check(r, code), "absent") << code;
      EXPECT_EQ(check(r, "Q13"), on_wire ? "ok" : "absent");
      ASSERT_TRUE(r.last.has_value());
      EXPECT_EQ(r.last->clock, 5000U);
    }
}

TEST(Quote, Q1SignatureOfAnotherKeyOrAnotherText) {
  Scene s;
  s.raw(rsa());
  static const Signer other = Signer::rsa();
  s.finish.ak.key = other.key();
  EXPECT_EQ(failed(s.verify()), "Q1");
  s.finish.ak.key = ecc().key();  // a key of another type than the signature
  EXPECT_EQ(failed(s.verify()), "Q1");
  auto& raw = std::get<pipeline::RawQuote>(s.finish.quote);
  s.finish.ak.key = rsa().key();
  raw.attest[100] ^= std::byte{1};  // the firmware version
  EXPECT_EQ(failed(s.verify()), "Q1");
}

// Every single bit of a small quote: nothing slips through.
TEST(Quote, EveryFlippedBitIsRefused) {
  Scene s;
  s.raw(ecc());
  const auto good = std::get<pipeline::RawQuote>(s.finish.quote);
  for (std::size_t bit = 0; bit < 8 * good.attest.size(); ++bit) {
    auto bad = good;
    bad.attest[bit / 8] ^= std::byte(1U << bit % 8);
    s.finish.quote = bad;
    const QuoteResult r = s.verify();
    EXPECT_EQ(r.quote.status, Status::failed) << bit;
    EXPECT_FALSE(r.last.has_value());
  }
  for (std::size_t n = 0; n < good.attest.size(); ++n) {
    auto bad = good;
    bad.attest.resize(n);
    s.finish.quote = bad;
    EXPECT_EQ(s.verify().quote.status, Status::failed) << n;
  }
}

TEST(Quote, Q2Q3MagicAndType) {
  Scene s;
  s.magic = 0xFF544348;
  EXPECT_EQ(failed(s.raw(rsa())), "Q2");
  Scene t;
  t.type = 0x8017;  // TPM2_Certify
  EXPECT_EQ(failed(t.raw(rsa())), "Q3");
}

TEST(Quote, Q4OtherNonce) {
  for (ByteVector nonce : {ByteVector{}, ByteVector(31, std::byte{0x5A}), ByteVector(33, std::byte{0x5A}), ByteVector(32, std::byte{0x5B})}) {
    Scene s;
    s.quoted_nonce = nonce;
    EXPECT_EQ(failed(s.raw(rsa())), "Q4");
  }
  // On the wire the nonce isn't sent: one bit of S makes another text.
  Scene s;
  s.finish.nonce->front() ^= std::byte{1};
  EXPECT_EQ(failed(s.wire(rsa())), "Q1 Q4");
  Scene without;
  without.finish.nonce.reset();
  EXPECT_EQ(check(without.raw(rsa()), "Q4"), "absent");
  Scene wire_without;
  wire_without.finish.nonce.reset();
  EXPECT_EQ(wire_without.wire(rsa()).quote.status, Status::failed);
}

// The same concatenation cut elsewhere: the signature stays valid, only the lengths tell (spec part 2 §11.6).
TEST(Quote, Q5PartsOfOtherLengths) {
  Scene s;
  const ByteVector all = [&] {
    ByteVector b = s.clock_bytes();
    Writer w;
    w.put(s.firmware);
    b.insert(b.end(), w.view().begin(), w.view().end());
    return b;
  }();
  EXPECT_EQ(failed(s.wire(rsa(), [&](auto& v) { v.clock_info = Bytes(all).first(16), v.firmware_version = Bytes(all).subspan(16); })), "Q5");
  const ByteVector longer(12, std::byte{0});
  EXPECT_EQ(failed(s.wire(rsa(), [&](auto& v) { v.selection = longer; })), "Q5");
  EXPECT_EQ(failed(s.wire(rsa(), [&](auto& v) { v.selection = v.selection.first(9); })), "Q5");
  EXPECT_EQ(failed(s.wire(rsa(), [&](auto& v) { v.qualified_signer = v.qualified_signer.first(33); })), "Q5");
  EXPECT_EQ(failed(s.wire(rsa(), [&](auto& v) { v.qualified_signer = {}; })), "Q5");
  EXPECT_EQ(failed(s.wire(rsa(), [&](auto& v) { v.pcr_digest = v.pcr_digest.first(31); })), "Q5");
  EXPECT_EQ(failed(s.wire(rsa(), [&](auto& v) { v.hash = 0x6000; })), "Q5");
  EXPECT_EQ(failed(s.wire(rsa(), [&](auto& v) { v.hash = 0; })), "Q5");
  EXPECT_EQ(s.wire(rsa(), [&](auto& v) { v.has_quote = false; }).quote.status, Status::failed);
  Scene t;
  t.clock.safe = 2;
  EXPECT_EQ(failed(t.raw(rsa())), "Q5");
}

TEST(Quote, Q6OtherSelections) {
  // PCR 16 alone with the values of PCR 10 in it: any software may reset and extend it.
  Scene s;
  s.selections = {{std::uint16_t(sha256), 3, 1U << 16}};
  s.digest = to_vector(digest_of(sha256, s.ima->view()).view());
  EXPECT_EQ(failed(s.wire(rsa())), "Q14 Q6 Q7");
  // Two banks.
  Scene two;
  two.selections.push_back({std::uint16_t(HashAlgorithm::sha384), 3, 1});
  const QuoteResult r = two.raw(rsa());
  EXPECT_EQ(check(r, "Q6"), "failed");
  EXPECT_EQ(r.quote.status, Status::failed);
  // Another bank than the negotiated one.
  Scene other;
  other.selections = {{std::uint16_t(HashAlgorithm::sha384), 3, 0x07FF}};
  EXPECT_EQ(check(other.raw(rsa()), "Q6"), "failed");
  // A touched PCR that isn't selected.
  Scene touched;
  touched.boot.push_back({14, digest_of(sha256, as_bytes("shim"))});
  EXPECT_EQ(failed(touched.raw(rsa())), "Q6");
  // An untouched PCR that is selected counts with its reset value: fine while that is what was quoted.
  Scene untouched;
  untouched.selections = {{std::uint16_t(sha256), 3, 0x07FF | 1U << 14 | 1U << 17}};
  EXPECT_EQ(failed(untouched.raw(rsa())), "");
  // A bank below the minimum.
  Scene weak;
  weak.context.minimum_bank = HashAlgorithm::sha384;
  EXPECT_EQ(failed(weak.raw(rsa())), "Q6");
  // A list's entries in a PCR that isn't selected.
  Scene elsewhere;
  elsewhere.others[11] = {digest_of(sha256, as_bytes("x"))};
  EXPECT_EQ(failed(elsewhere.raw(rsa())), "Q6");
}

TEST(Quote, Q7OtherReplay) {
  Scene s;
  s.raw(rsa());
  auto boot = s.boot;
  const auto with = [&](auto&& change) {
    Scene t;
    t.finish = s.finish;
    change(t);
    return failed(t.verify());
  };
  EXPECT_EQ(with([](Scene&) {}), "");
  EXPECT_EQ(with([](Scene& t) { t.boot[9].digest.bytes[0] ^= std::byte{1}; }), "Q7");
  EXPECT_EQ(with([](Scene& t) { t.boot.pop_back(); }), "Q7");
  EXPECT_EQ(with([](Scene& t) { std::swap(t.boot[3].pcr, t.boot[4].pcr); }), "Q7");
  EXPECT_EQ(with([](Scene& t) { t.boot.push_back({9, Digest::filled(32, std::byte{1})}); }), "Q7");
  EXPECT_EQ(with([](Scene& t) { t.ima->bytes[31] ^= std::byte{0x80}; }), "Q7");
  EXPECT_EQ(with([](Scene& t) { t.others[9] = {Digest::filled(32, std::byte{1})}; }), "Q7");  // the firmware's PCR goes on
  // Signed by the TPM's key over a digest that isn't ours.
  Scene signed_other;
  signed_other.digest = ByteVector(32, std::byte{0});
  EXPECT_EQ(failed(signed_other.raw(rsa())), "Q7");
  EXPECT_EQ(failed(signed_other.wire(rsa())), "Q7");
}

TEST(Quote, Q7LocalityIsFoundByTheQuote) {
  for (const std::uint8_t real : {std::uint8_t{0}, std::uint8_t{3}, std::uint8_t{4}})
    for (const std::uint8_t said : {std::uint8_t{0}, std::uint8_t{3}, std::uint8_t{4}, std::uint8_t{99}}) {
      Scene s;
      s.tpm_locality = real;
      s.finish.claimed_locality = said;
      const QuoteResult r = s.wire(rsa());
      EXPECT_EQ(failed(r), "");
      EXPECT_EQ(r.locality, real);
      EXPECT_EQ(r.warnings.empty(), real == said || (said == 99 && real == 0));
    }
  // A raw log that states another one is taken at its word.
  Scene s;
  s.tpm_locality = 3;
  s.raw_log = true;
  s.log_locality = 4;
  EXPECT_EQ(failed(s.raw(rsa())), "Q7");
  s.log_locality.reset();
  EXPECT_EQ(failed(s.raw(rsa())), "");
}

TEST(Quote, UnboundWithoutItsLog) {
  Scene s;
  s.boot.clear();
  s.boot_given = false;
  QuoteResult r = s.raw(rsa());
  EXPECT_EQ(check(r, "Q7"), "absent");
  EXPECT_TRUE(r.unbound);
  EXPECT_EQ(r.quote.status, Status::ok);
  // A log without digests for the bank.
  Scene t;
  t.raw(rsa());
  t.boot[4].digest = {};
  r = t.verify();
  EXPECT_EQ(check(r, "Q7"), "absent");
  EXPECT_TRUE(r.unbound);
}

TEST(Quote, Q8WeakSignatureHash) {
  Scene s;
  s.hash = HashAlgorithm::sha1;
  EXPECT_EQ(failed(s.raw(rsa())), "Q8");
}

TEST(Quote, Q9Key) {
  Scene s;
  s.finish.ak.trusted = false;
  const QuoteResult r = s.raw(rsa());
  EXPECT_EQ(failed(r), "Q9");
  EXPECT_TRUE(r.untrusted);
  EXPECT_FALSE(r.last.has_value());
  static const Signer small = Signer::rsa(1024);
  EXPECT_EQ(failed(Scene().raw(small)), "Q9");
  constexpr std::uint32_t good = tpm::fixed_tpm | tpm::fixed_parent | tpm::sensitive_data_origin | tpm::restricted | tpm::sign;
  for (const std::uint32_t attributes : {good, good & ~tpm::restricted, good & ~tpm::sign, good & ~tpm::fixed_tpm, good & ~tpm::sensitive_data_origin, good | tpm::decrypt}) {
    Scene t;
    t.finish.ak.object_attributes = attributes;
    EXPECT_EQ(failed(t.raw(rsa())), attributes == good ? "" : "Q9");
  }
}

TEST(Quote, WithoutAKeyNothingIsSaid) {
  Scene s;
  s.raw(rsa());
  s.finish.ak.key.reset();
  QuoteResult r = s.verify();
  EXPECT_EQ(check(r, "Q1"), "absent");
  EXPECT_EQ(check(r, "Q9"), "absent");
  EXPECT_EQ(r.quote.status, Status::absent);
  EXPECT_TRUE(r.unbound);
  Scene t;
  t.wire(rsa());
  t.finish.ak.key.reset();
  EXPECT_EQ(t.verify().quote.status, Status::failed);  // in a session there is always one
}

TEST(Quote, Q10Signer) {
  Scene s;
  s.finish.ak.qualified_name = s.signer_name;
  EXPECT_EQ(check(s.raw(rsa()), "Q10"), "ok");
  s.finish.ak.qualified_name.back() ^= std::byte{1};
  EXPECT_EQ(failed(s.raw(rsa())), "Q10");
  s.finish.ak.qualified_name.clear();
  s.finish.ak.name_algorithm = sha256;
  EXPECT_EQ(check(s.raw(rsa()), "Q10"), "absent");
  s.finish.ak.name_algorithm = HashAlgorithm::sha384;
  EXPECT_EQ(failed(s.raw(rsa())), "Q10");
}

TEST(Quote, Q11ClockAndCounters) {
  struct Row {
    pipeline::LastQuote last;
    std::uint8_t safe;
    std::string wanted;
  };
  // The quote says clock 5000, reset 3, restart 1.
  for (const Row& row : {Row{{4999, 3, 1, 77}, 1, ""}, Row{{5000, 3, 1, 77}, 1, "Q11"}, Row{{9000, 3, 1, 77}, 1, "Q11"}, Row{{9000, 3, 1, 77}, 0, ""},
                         Row{{9000, 2, 8, 77}, 1, ""}, Row{{1, 4, 0, 77}, 1, "Q11"}, Row{{1, 3, 2, 77}, 1, "Q11"}, Row{{9000, 3, 0, 77}, 1, ""},
                         Row{{9000, 0xFFFFFFFF, 0, 77}, 1, ""}}) {
    Scene s;
    s.clock.safe = row.safe;
    s.context.last_quote = row.last;
    const QuoteResult r = s.raw(rsa());
    EXPECT_EQ(failed(r), row.wanted) << row.last.clock << ' ' << row.last.reset_count << ' ' << row.last.restart_count;
    EXPECT_EQ(check(r, "Q12"), "ok");
  }
}

TEST(Quote, Q12FirmwareChangeIsReported) {
  Scene s;
  s.context.last_quote = pipeline::LastQuote{1, 3, 1, 76};
  const QuoteResult r = s.raw(rsa());
  EXPECT_EQ(failed(r), "");
  ASSERT_EQ(r.warnings.size(), 1U);
}

TEST(Quote, Q14RequiredPcrs) {
  Scene s;
  s.boot.pop_back();  // nothing in PCR 9
  s.selections = {{std::uint16_t(sha256), 3, 0x05FF}};  // 0-8 and 10
  EXPECT_EQ(failed(s.raw(rsa())), "Q14");
  s.ima.reset();
  s.ima_given = false;
  s.selections = {{std::uint16_t(sha256), 3, 0x01FF}};
  EXPECT_EQ(failed(s.raw(rsa())), "");
}

// r || s as the wire has it, with leading zeros left out (spec part 2 §4.2).
TEST(Quote, EcdsaHalvesWithoutLeadingZeros) {
  bool found = false;
  for (int i = 0; i < 4000 && !found; ++i) {
    Scene s;
    const ByteVector bytes = s.attest();
    const auto pair = ecc().sign_ecdsa(bytes);
    if (pair.r.size() == 32 && pair.s.size() == 32) continue;
    found = true;
    ByteVector both = pair.r;
    both.insert(both.end(), pair.s.begin(), pair.s.end());
    EXPECT_EQ(failed(s.wire(ecc(), [&](auto& v) { v.signature = both; })), "");
    both.back() ^= std::byte{1};
    EXPECT_EQ(failed(s.wire(ecc(), [&](auto& v) { v.signature = both; })), "Q1 Q4");
  }
  EXPECT_TRUE(found);
  for (const std::size_t n : {0U, 1U, 2U, 65U, 200U}) {
    Scene s;
    const ByteVector junk(n, std::byte{1});
    EXPECT_EQ(check(s.wire(ecc(), [&](auto& v) { v.signature = junk; }), "Q1"), "failed");
  }
}

// Spec part 2 §11.4: the worked example is rebuilt and verifies with the key of §11.5.
TEST(Quote, WorkedExample) {
  Scene s;
  s.boot.clear();
  for (int pcr = 0; pcr < 15; ++pcr)
    if (pcr < 10 || pcr == 14) s.boot.push_back({std::uint32_t(pcr), digest_of(sha256, as_bytes("pcr" + std::to_string(pcr)))});
  s.ima = Digest::filled(32, std::byte{0});
  Hasher(sha256).extend(*s.ima, digest_of(sha256, as_bytes("pcr10")).view());
  s.finish.nonce = from_hex("b355031272b48ff16f3923de20d6eea3d2354af2fdb2d17f2716df4430123da0").value();
  s.finish.ak.key = PublicKey::from_spki(from_hex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"
                                                  "e474f0b966e8603a5bf65c47d49b4892d77b0fd03d3e77752b39cd20bc4c6a09"
                                                  "4349fb24d4fa5e44bdb86a3c0d8a8e810d5c2d86cca858fc11cf3b17e74bd1d3").value()).value();
  s.finish.quote = pipeline::FinalQuote{
      from_hex("10004000000000204923eaabae0f642b6463bcfd60153e8f29c8cd3740429c4fece9b0dcf099deec"
               "0022000b6615659c4a95e9f940e85236c5484953afdd4f88ad0619319b9366e0d19d6a1c"
               "001100000000000470630000000200000000010008201910230016363600"
               "0a00000001000b03ff470000000040"
               "954b6ec7f4d19719b78b9f95b49463df316c9eb838550dcb74078a370290b360"
               "9499371c3be85dfdf254d67a69241762f47f40b3d4b2397bccd622989420345a").value(), 0};
  const QuoteResult r = s.verify();
  EXPECT_EQ(failed(r), "");
  EXPECT_EQ(r.quote.pcr_digest, "4923eaabae0f642b6463bcfd60153e8f29c8cd3740429c4fece9b0dcf099deec");
}

// The attribute is hostile: any truncation, any flipped bit is a refusal and nothing worse.
TEST(Quote, EveryMutationOfTheAttributeIsRefused) {
  Scene s;
  s.wire(ecc());
  const ByteVector good = std::get<pipeline::FinalQuote>(s.finish.quote).value;
  for (std::size_t n = 0; n < good.size(); ++n) {
    s.finish.quote = pipeline::FinalQuote{to_vector(Bytes(good).first(n)), 0};
    EXPECT_EQ(s.verify().quote.status, Status::failed) << n;
  }
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    if (bit / 8 == 1) continue;  // reserved, ignored
    ByteVector bad = good;
    bad[bit / 8] ^= std::byte(1U << bit % 8);
    s.finish.quote = pipeline::FinalQuote{bad, 0};
    // Spare flags, and the one of an evidence signature, which nobody reads, leave the quote what it was.
    const bool spare_flag = bit / 8 == 0 && (bit % 8 < 4 || bit % 8 == 5);
    EXPECT_EQ(s.verify().quote.status == Status::ok, spare_flag) << bit;
  }
}

}  // namespace
}  // namespace gatehouse::testing
