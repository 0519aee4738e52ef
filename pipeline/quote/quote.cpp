#include "pipeline/quote/quote.h"

#include <algorithm>

#include "wire/pts/pts.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::pipeline {
namespace {

constexpr std::uint32_t ima_pcr = 10;
constexpr std::uint32_t firmware_pcrs = 0x00FF;      // 0-7
constexpr std::uint32_t aggregate_pcrs = 0x03FF;     // 0-9

struct Verifier {
  const QuoteInput& in;
  QuoteResult out;

  void set(const char* code, bool good) { out.checks[code] = good ? Status::ok : Status::failed; }
  // A failed check that prevents allow.
  void refuse(const char* code, std::string reason) {
    out.checks[code] = Status::failed;
    out.refused = true;
    Finding f;
    f.component = "quote";
    f.status = Status::failed;
    f.reason = std::string(code) + ": " + std::move(reason);
    out.findings.push_back(std::move(f));
  }
  void broken(const char* code, std::string reason) {
    out.quote.status = Status::failed;
    refuse(code, std::move(reason));
  }

  // What can't be checked with what was given.
  void leave_open(const char* code, std::string reason) {
    out.checks[code] = Status::absent;
    out.unbound = true;
    Finding f;
    f.component = "quote";
    f.status = Status::absent;
    f.reason = std::string(code) + ": " + std::move(reason);
    out.findings.push_back(std::move(f));
  }

  // The locality that fits the quote, tried in this order (spec part 2 §6.5): the quote decides.
  std::vector<std::uint8_t> localities() const {
    std::vector<std::uint8_t> order;
    if (in.raw_log) {
      order.push_back(in.log_locality.value_or(0));
      if (in.log_locality) return order;
    } else if (in.finish.claimed_locality && (*in.finish.claimed_locality == 3 || *in.finish.claimed_locality == 4)) {
      order.push_back(*in.finish.claimed_locality);
    }
    for (const std::uint8_t l : {std::uint8_t{0}, std::uint8_t{3}, std::uint8_t{4}})
      if (std::find(order.begin(), order.end(), l) == order.end()) order.push_back(l);
    return order;
  }

  // The composite of the selected PCRs; nullopt: `missing` can't be computed from what was given.
  std::optional<ByteVector> composite(std::uint32_t selected, const Pcrs& values, std::uint32_t& missing) {
    ByteVector bytes;
    missing = 0;
    for (std::uint32_t pcr = 0; pcr < 32; ++pcr) {
      if ((selected >> pcr & 1) == 0) continue;
      const auto at = values.find(pcr);
      if (at == values.end()) {
        if (pcr > 23 || (pcr == ima_pcr ? !in.ima_given : !in.boot_given)) {
          missing |= 1U << pcr;
          continue;
        }
        const Digest reset = initial_pcr(in.bank, pcr, 0);
        bytes.insert(bytes.end(), reset.view().begin(), reset.view().end());
        continue;
      }
      if (at->second.size == 0) missing |= 1U << pcr;  // touched by events without a digest for the bank
      bytes.insert(bytes.end(), at->second.view().begin(), at->second.view().end());
    }
    if (missing != 0) return std::nullopt;
    return bytes;
  }

  static std::string numbers(std::uint32_t pcrs) {
    std::string out;
    for (std::uint32_t pcr = 0; pcr < 32; ++pcr)
      if ((pcrs >> pcr & 1) != 0) out += (out.empty() ? "" : ", ") + std::to_string(pcr);
    return out;
  }

  Pcrs values(std::uint8_t locality) const {
    Pcrs all = replay_boot(in.bank, in.boot, locality);
    if (in.ima) all[ima_pcr] = *in.ima;
    Hasher hasher(in.bank);
    for (const auto& [pcr, digests] : in.others) {
      auto& value = all.try_emplace(pcr, initial_pcr(in.bank, pcr, locality)).first->second;
      if (value.size == 0) continue;
      for (const Digest& digest : digests) hasher.extend(value, digest.view());
    }
    return all;
  }

  // The same at another locality, which changes PCR 0 only.
  void move_to(std::uint8_t locality, Pcrs& all) const {
    std::vector<BootItem> boot;
    std::copy_if(in.boot.begin(), in.boot.end(), std::back_inserter(boot), [](const BootItem& item) { return item.pcr == 0; });
    Pcrs moved = replay_boot(in.bank, boot, locality);
    if (const auto digests = in.others.find(0); digests != in.others.end()) {
      auto& value = moved.try_emplace(0, initial_pcr(in.bank, 0, locality)).first->second;
      Hasher hasher(in.bank);
      for (const Digest& digest : digests->second)
        if (value.size != 0) hasher.extend(value, digest.view());
    }
    if (const auto at = moved.find(0); at != moved.end()) all[0] = at->second;
  }

  // Q6 and Q14.
  void check_selection(const std::vector<tpm::PcrSelection>& selections, std::uint32_t& selected) {
    selected = 0;
    bool good = true;
    if (selections.size() != 1) {
      refuse("Q6", "the quote selects " + std::to_string(selections.size()) + " PCR banks");
      good = false;
    }
    const tpm::PcrSelection& s = selections.front();
    if (s.bank != std::uint16_t(in.bank)) {
      refuse("Q6", "the quote is over another PCR bank than " + std::string(name(in.bank)));
      good = false;
    }
    selected = s.pcrs;
    if (digest_size(in.bank) < digest_size(in.context.minimum_bank)) {
      refuse("Q6", "bank " + std::string(name(in.bank)) + " is below the minimum");
      good = false;
    }
    std::uint32_t touched = 0;
    for (const BootItem& item : in.boot) touched |= 1U << item.pcr;
    if (in.ima) touched |= 1U << ima_pcr;
    for (const auto& [pcr, digests] : in.others) touched |= 1U << pcr;
    if (const std::uint32_t missing = touched & ~selected; missing != 0) {
      refuse("Q6", "measurements went into PCR " + std::to_string(std::countr_zero(missing)) + ", which the quote doesn't select");
      good = false;
    }
    if (good) set("Q6", true);
    std::uint32_t required = 0;
    if (in.boot_given) required |= firmware_pcrs;
    if (in.ima_given) required |= 1U << ima_pcr;
    if (in.boot_given && in.ima_given) required |= aggregate_pcrs;
    if (required == 0) return;
    if ((required & ~selected) != 0)
      refuse("Q14", "the quote doesn't select PCR " + std::to_string(std::countr_zero(required & ~selected)));
    else
      set("Q14", true);
  }

  // Q7: our own replay against the digest. Returns the composite's digest that fits, else the first candidate's.
  void check_digest(std::uint32_t selected, HashAlgorithm hash, Bytes claimed) {
    Hasher hasher(hash);
    bool first = true;
    Pcrs candidate;
    for (const std::uint8_t locality : localities()) {
      if (first) candidate = values(locality);
      else move_to(locality, candidate);
      std::uint32_t missing = 0;
      const auto bytes = composite(selected, candidate, missing);
      if (first) {
        out.pcrs = candidate;
        out.locality = locality;
      }
      if (!bytes) {
        leave_open("Q7", "the quote selects PCR " + numbers(missing) +
                             ", which can't be computed: the log wasn't given, or "
                             "has no digest for the bank; the quote binds neither log");
        return;
      }
      if (equal(hasher(*bytes).view(), claimed)) {
        if (!first)
          out.warnings.push_back("PCR 0 fits startup locality " + std::to_string(locality) +
                                 (in.raw_log ? ", which the log doesn't state" : ", which isn't the announced one"));
        out.pcrs = std::move(candidate);
        out.locality = locality;
        set("Q7", true);
        return;
      }
      first = false;
      if ((selected & 1) == 0 || !in.boot_given) break;  // the locality changes PCR 0 only
    }
    broken("Q7", "the replay of the logs isn't what the TPM quoted: a measurement was added, removed, changed or reordered");
  }

  void check_key() {
    const AttestationKey& ak = in.finish.ak;
    if (!ak.key) return;
    bool good = true;
    const auto no = [&](std::string why) {
      good = false;
      out.untrusted = true;
      refuse("Q9", std::move(why));
    };
    if (!ak.trusted) no(ak.untrusted_reason.empty() ? "the attestation key isn't trusted" : ak.untrusted_reason);
    if (ak.key->type() == KeyType::rsa) {
      if (ak.key->bits() < 2048) no("RSA key of " + std::to_string(ak.key->bits()) + " bits");
      if (ak.key->rsa_exponent() < 3 || ak.key->rsa_exponent() % 2 == 0) no("RSA exponent out of range");
    }
    if (ak.object_attributes) {
      constexpr std::uint32_t needed = tpm::fixed_tpm | tpm::sensitive_data_origin | tpm::restricted | tpm::sign;
      if ((*ak.object_attributes & needed) != needed || (*ak.object_attributes & tpm::decrypt) != 0)
        no("the key's attributes aren't those of an attestation key (restricted, sign, fixedTPM, sensitiveDataOrigin)");
    }
    if (good) set("Q9", true);
  }

  // The signature with the schemes that the key can have; names the one that fits.
  bool signature_fits(HashAlgorithm hash, Bytes message, const tpm::Signature& signature) {
    const PublicKey& key = *in.finish.ak.key;
    if (signature.algorithm == tpm::alg_ecdsa) {
      out.quote.scheme = name(SignatureScheme::ecdsa);
      return key.verify(SignatureScheme::ecdsa, hash, message, ecdsa_der(signature.r, signature.s));
    }
    const auto scheme = signature.algorithm == tpm::alg_rsapss ? SignatureScheme::rsapss : SignatureScheme::rsassa;
    out.quote.scheme = name(scheme);
    return key.verify(scheme, hash, message, signature.rsa);
  }

  // The wire's signature: RSA with either padding, ECDSA as r || s, possibly without leading zeros (spec part 2 §4.2).
  bool wire_signature_fits(HashAlgorithm hash, Bytes message, Bytes signature) {
    const PublicKey& key = *in.finish.ak.key;
    if (key.type() == KeyType::rsa) {
      for (const auto scheme : {SignatureScheme::rsassa, SignatureScheme::rsapss})
        if (key.verify(scheme, hash, message, signature)) {
          out.quote.scheme = name(scheme);
          return true;
        }
      out.quote.scheme = name(SignatureScheme::rsassa);
      return false;
    }
    out.quote.scheme = name(SignatureScheme::ecdsa);
    const std::size_t field = key.field_size();
    if (signature.size() > 2 * field || signature.size() < 2) return false;
    const std::size_t least = signature.size() > field ? signature.size() - field : 1;
    constexpr std::size_t max_splits = 8;  // leading zeros are rare; each try costs a verification
    std::size_t tried = 0;
    for (std::size_t r = std::min(field, signature.size() - 1); r >= least && tried < max_splits; --r, ++tried)
      if (key.verify(SignatureScheme::ecdsa, hash, message, ecdsa_der(signature.first(r), signature.subspan(r)))) return true;
    return false;
  }

  void check_nonce(Bytes extra) {
    if (!in.finish.nonce) return;
    if (extra.size() == in.finish.nonce->size() && equal_constant_time(extra, *in.finish.nonce))
      set("Q4", true);
    else
      broken("Q4", "the quote was made for another nonce");
  }

  // Q10. Without a recorded name only the algorithm of the names can be compared: a difference counts, equality says little.
  void check_signer(Bytes signer) {
    const AttestationKey& ak = in.finish.ak;
    if (ak.name_algorithm && (signer.size() < 2 || name_algorithm(signer) != std::uint16_t(*ak.name_algorithm)))
      refuse("Q10", "the signer's name isn't of the attestation key's name algorithm");
    else if (!ak.qualified_name.empty() && !equal(ak.qualified_name, signer))
      refuse("Q10", "the quote's signer isn't the one of the enrolment");
    else if (!ak.qualified_name.empty())
      set("Q10", true);
  }
  static std::uint16_t name_algorithm(Bytes signer) {
    return std::uint16_t(std::to_integer<unsigned>(signer[0]) << 8 | std::to_integer<unsigned>(signer[1]));
  }

  // Q8, Q10, Q11, Q12 and what is kept for the next session.
  void check_history(const tpm::Attest& a, HashAlgorithm hash) {
    if (digest_size(hash) < digest_size(HashAlgorithm::sha256))
      refuse("Q8", "the signature's hash is " + std::string(name(hash)));
    else
      set("Q8", true);
    check_signer(a.qualified_signer);
    const LastQuote now{a.clock.clock, a.clock.reset_count, a.clock.restart_count, a.firmware_version};
    if (in.context.last_quote) {
      const LastQuote& last = *in.context.last_quote;
      // Keys outside the endorsement hierarchy see counters with a constant added: differences modulo 2^32 count.
      const std::uint32_t resets = now.reset_count - last.reset_count;
      const std::uint32_t restarts = now.restart_count - last.restart_count;
      bool good = true;
      if (resets >= 1U << 31) {
        good = false;
        refuse("Q11", "the TPM's reset counter went back");
      } else if (resets == 0 && restarts >= 1U << 31) {
        good = false;
        refuse("Q11", "the TPM's restart counter went back within one boot");
      } else if (resets == 0 && restarts == 0 && a.clock.safe == 1 && now.clock <= last.clock) {
        good = false;
        refuse("Q11", "the TPM's clock went back within one boot");
      }
      if (a.clock.safe == 0) out.warnings.push_back("the TPM's clock isn't safe: it may have gone back after an unorderly shutdown");
      if (good) set("Q11", true);
      set("Q12", true);
      if (now.firmware_version != last.firmware_version)
        out.warnings.push_back("the TPM's firmware version has changed since the last accepted quote");
    }
    out.last = now;
  }

  void verify_attest(const tpm::Attest& a, HashAlgorithm hash) {
    if (a.magic == tpm::generated_value) set("Q2", true);
    else broken("Q2", "magic isn't TPM_GENERATED_VALUE");
    if (a.type == tpm::st_attest_quote) set("Q3", true);
    else broken("Q3", "the attest structure isn't a quote");
    check_nonce(a.extra_data);
    if (out.checks.find("Q5") == out.checks.end()) set("Q5", true);
    out.quote.pcr_digest = Digest(a.pcr_digest).hex();
    std::uint32_t selected = 0;
    check_selection(a.selections, selected);
    // A composite over several banks or another bank than the replay's isn't comparable.
    if (a.selections.size() == 1 && a.selections.front().bank == std::uint16_t(in.bank)) check_digest(selected, hash, a.pcr_digest);
    else broken("Q7", "the selection can't be compared with the replay");
    check_history(a, hash);
  }

  void raw(const RawQuote& quote) {
    const auto attest = tpm::parse_attest(quote.attest);
    const auto signature = tpm::parse_signature(quote.signature);
    if (!attest || !signature) {
      broken("Q5", (attest ? signature.error() : attest.error()).text());
      return;
    }
    const auto hash = hash_algorithm(signature->hash);
    if (!hash) {
      broken("Q1", "unknown hash of the signature");
      return;
    }
    out.quote.hash = name(*hash);
    verify_attest(*attest, *hash);
    if (in.context.serve) set("Q13", true);
    if (!in.finish.ak.key) {
      // Unless something else is wrong, nothing can be said of the quote.
      if (out.quote.status == Status::ok) out.quote.status = Status::absent;
      leave_open("Q1", "no attestation key was given: the signature can't be checked");
    } else if (signature_fits(*hash, attest->signed_bytes, *signature)) {
      set("Q1", true);
    } else {
      broken("Q1", "the signature isn't that of the attestation key over these bytes");
    }
  }

  void final(const FinalQuote& quote) {
    Reader r(quote.value, "spec part 2 1.12", quote.value_offset);
    const auto v = pts::parse_simple_evidence_final(r);
    if (!v) {
      broken("Q5", std::string(v.error().reason));
      return;
    }
    if (!v->has_quote) {
      broken("Q1", "Simple Evidence Final without a quote");
      return;
    }
    const auto hash = pts::algorithm_of_bit(v->hash);
    if (!hash) {
      broken("Q5", "Simple Evidence Final names no hash of the signature, or several");
      return;
    }
    if (!in.finish.nonce) {
      broken("Q4", "no nonce was agreed on");
      return;
    }
    // Each part has its length: the same bytes cut elsewhere have the same signature.
    const auto name_hash = v->qualified_signer.size() >= 2 ? hash_algorithm(name_algorithm(v->qualified_signer)) : std::nullopt;
    Reader selection(v->selection, "spec part 2 1.12", quote.value_offset);
    const bool selection_good = tpm::parse_selections(selection).has_value() && selection.empty();
    if (v->clock_info.size() != 17 || v->firmware_version.size() != 8 || v->pcr_digest.size() != digest_size(*hash) || !selection_good) {
      broken("Q5", "a part of Simple Evidence Final has another length than its type");
      return;
    }
    out.quote.hash = name(*hash);
    if (!name_hash || v->qualified_signer.size() != 2 + digest_size(*name_hash)) {
      broken("Q5", "the qualified signer isn't a TPM name");  // a handle, 4 bytes, isn't one
      return;
    }
    // The digest goes in as it came; whether it is ours is Q7, and the signature covers it.
    const ByteVector bytes = tpm::build_quote(v->qualified_signer, *in.finish.nonce, v->clock_info, v->firmware_version,
                                              v->selection, v->pcr_digest);
    const auto attest = tpm::parse_attest(bytes);
    if (!attest) {
      broken("Q5", attest.error().text());
      return;
    }
    verify_attest(*attest, *hash);
    if (in.finish.ak.key && wire_signature_fits(*hash, bytes, v->signature)) set("Q1", true);
    else broken("Q1", "the signature isn't that of the attestation key over our nonce and these values");
    if (out.checks["Q1"] == Status::failed) out.checks["Q4"] = Status::failed;  // the nonce is only in what is signed
    set("Q13", true);
  }
};

}  // namespace

Pcrs replay_boot(HashAlgorithm bank, const std::vector<BootItem>& boot, std::uint8_t locality) {
  Pcrs out;
  Hasher hasher(bank);
  for (const BootItem& item : boot) {
    auto at = out.find(item.pcr);
    if (at == out.end()) at = out.emplace(item.pcr, initial_pcr(bank, item.pcr, locality)).first;
    if (item.digest.size == 0) at->second.size = 0;  // not computable any more
    if (at->second.size != 0) hasher.extend(at->second, item.digest.view());
  }
  return out;
}

std::optional<HashAlgorithm> bank_of(Bytes attest) {
  const auto parsed = tpm::parse_attest(attest);
  if (!parsed) return std::nullopt;
  return hash_algorithm(parsed->selections.front().bank);
}

QuoteResult verify_quote(const QuoteInput& input) {
  Verifier v{input, {}};
  if (const auto* raw = std::get_if<RawQuote>(&input.finish.quote)) {
    v.out.quote.status = Status::ok;
    v.raw(*raw);
    v.check_key();
  } else if (const auto* final = std::get_if<FinalQuote>(&input.finish.quote)) {
    v.out.quote.status = Status::ok;
    v.final(*final);
    v.check_key();
  } else {
    v.out.quote.status = Status::absent;
    // PCRs for people, without a quote to compare with.
    v.out.pcrs = v.values(v.localities().front());
  }
  if (v.out.refused) v.out.last.reset();
  return std::move(v.out);
}

}  // namespace gatehouse::pipeline
