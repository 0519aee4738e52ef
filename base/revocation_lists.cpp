#include "base/revocation_lists.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/der.h"
#include "base/x509_files.h"

namespace gatehouse {
namespace {

constexpr std::string_view spec = "RFC 5280 5";
constexpr std::int64_t clock_tolerance = 300;

std::unexpected<Error> refused(std::string_view why, const std::string& issuer) {
  ERR_clear_error();
  return fail(Error{Fault::denied, why, spec, 0, {}, "'" + issuer + "'"});
}

std::string pem_of(X509_CRL* list) {
  const OwnedBio out(BIO_new(BIO_s_mem()));
  return out && PEM_write_bio_X509_CRL(out.get(), list) == 1 ? text_of(out.get()) : std::string();
}

std::optional<std::int64_t> begin_of(X509_CRL* list) { return seconds_of(X509_CRL_get0_lastUpdate(list)); }
std::optional<std::int64_t> end_of(X509_CRL* list) {
  const ASN1_TIME* const time = X509_CRL_get0_nextUpdate(list);
  return time == nullptr ? std::nullopt : seconds_of(time);
}

// SHA-1 and MD5 are refused: who finds a collision revokes or restores whom he likes.
bool strong(const X509_CRL* list) {
  int digest = NID_undef;
  if (OBJ_find_sigid_algs(X509_CRL_get_signature_nid(list), &digest, nullptr) != 1) return false;
  return digest != NID_sha1 && digest != NID_md5;  // NID_undef: EdDSA and RSA-PSS, whose digests are no part of the name
}

}  // namespace

struct ListIssuers::State {
  std::vector<OwnedX509> certificates;
};

Result<ListIssuers> ListIssuers::load(const std::string& ca) {
  auto state = std::make_shared<State>();
  GH_TRY(state->certificates, certificates_at(ca));
  return ListIssuers(std::move(state));
}

Result<RevocationList> ListIssuers::check(Bytes fetched, std::int64_t now) const {
  if (fetched.size() > max_list_bytes) return fail(Fault::limit, "a revocation list larger than 64 MiB", spec);
  const auto lists = lists_in(fetched);
  if (lists.size() != 1) return fail(Fault::malformed, lists.empty() ? "not a certificate revocation list" : "more than one revocation list", spec);
  X509_CRL* const list = lists.front().get();
  RevocationList out;
  out.issuer = name_text(X509_CRL_get_issuer(list));
  const auto begin = begin_of(list), end = end_of(list);
  if (!begin || !end) return fail(Error{Fault::malformed, "the revocation list has no period", spec, 0, {}, "'" + out.issuer + "'"});
  if (X509_CRL_get_ext_by_NID(list, NID_delta_crl, -1) >= 0) return refused("a delta revocation list isn't a whole one", out.issuer);
  if (!strong(list)) return refused("the revocation list is signed with a digest that is too weak", out.issuer);
  const bool is_signed = std::any_of(state_->certificates.begin(), state_->certificates.end(), [&](const OwnedX509& ca) {
    if (X509_NAME_cmp(X509_get_subject_name(ca.get()), X509_CRL_get_issuer(list)) != 0) return false;
    // RFC 5280 6.3.3 (f): keyUsage, where it is there, has cRLSign.
    if ((X509_get_key_usage(ca.get()) & KU_CRL_SIGN) == 0) return false;
    EVP_PKEY* const key = X509_get0_pubkey(ca.get());
    return key != nullptr && X509_CRL_verify(list, key) == 1;
  });
  if (!is_signed) return refused("the revocation list isn't signed by a configured CA", out.issuer);
  if (*begin > now + clock_tolerance) return refused("the revocation list is of a time to come", out.issuer);
  if (*end <= now) return refused("the revocation list is out of date", out.issuer);
  ERR_clear_error();
  out.since = *begin;
  out.until = *end;
  out.pem = pem_of(list);
  return out;
}

Result<std::optional<std::string>> with_list(std::string_view content, const RevocationList& list) {
  std::string out;
  bool there = false;
  for (const OwnedCrl& one : lists_in(as_bytes(content))) {
    std::string pem = pem_of(one.get());
    if (name_text(X509_CRL_get_issuer(one.get())) == list.issuer) {
      if (begin_of(one.get()).value_or(0) > list.since) return refused("the revocation list is older than the one that is here", list.issuer);
      there = there || pem == list.pem;
      pem = list.pem;
      if (out.find(pem) != std::string::npos) continue;
    }
    out += pem;
  }
  if (there) return std::nullopt;
  if (out.find(list.pem) == std::string::npos) out += list.pem;
  return out;
}

std::optional<std::int64_t> first_end(std::string_view content) {
  std::optional<std::int64_t> out;
  for (const OwnedCrl& one : lists_in(as_bytes(content)))
    if (const auto end = end_of(one.get())) out = std::min(out.value_or(*end), *end);
  return out;
}

}  // namespace gatehouse
