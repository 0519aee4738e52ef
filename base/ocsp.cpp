#include "base/ocsp.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/der.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/owned.h"

namespace gatehouse::ocsp {
namespace {

constexpr std::string_view rfc6960 = "RFC 6960";
constexpr std::int64_t life_without_next = 3'600;
constexpr std::size_t max_url_bytes = 1'024;

void free_stack(STACK_OF(X509) * stack) { sk_X509_free(stack); }
void free_access(AUTHORITY_INFO_ACCESS* access) { AUTHORITY_INFO_ACCESS_free(access); }
using OwnedX509 = Owned<X509, X509_free>;

std::unexpected<Error> bad(Fault fault, std::string_view why, std::string detail = {}) {
  ERR_clear_error();
  return fail(Error{fault, why, rfc6960, 0, {}, std::move(detail)});
}

Result<OwnedX509> opened(const Certificate& certificate) {
  const ByteVector& der = certificate.der();
  const unsigned char* at = as_uchar(der);
  OwnedX509 out(d2i_X509(nullptr, &at, long(der.size())));
  if (!out) return bad(Fault::malformed, "not an X.509 certificate");
  return out;
}

// By its digest: SHA-1 is for attackers who prepare two answers that collide. RSASSA-PSS may hide it in its parameters.
bool strong(const OCSP_BASICRESP* basic) {
  int digest = NID_undef, key = NID_undef;
  if (OBJ_find_sigid_algs(OBJ_obj2nid(OCSP_resp_get0_tbs_sigalg(basic)->algorithm), &digest, &key) != 1) return false;
  return digest == NID_sha256 || digest == NID_sha384 || digest == NID_sha512 || key == NID_ED25519 || key == NID_ED448;
}

// Its signer is the issuer, or one that the issuer signed for this and nothing else counts: neither other authorities nor
// what the response brings along. The delegated signer's own revocation isn't asked for (RFC 6960 4.2.2.2.1).
bool signed_by_issuer(OCSP_BASICRESP* basic, X509* issuer, std::int64_t now) {
  const Owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
  const Owned<STACK_OF(X509), free_stack> known(sk_X509_new_null());
  if (!store || !known || X509_STORE_add_cert(store.get(), issuer) != 1 || sk_X509_push(known.get(), issuer) <= 0) return false;
  X509_VERIFY_PARAM* const parameters = X509_STORE_get0_param(store.get());
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_time(parameters, time_t(now));
  X509_VERIFY_PARAM_set_depth(parameters, 1);
  X509_VERIFY_PARAM_set_auth_level(parameters, 2);
  return OCSP_basic_verify(basic, known.get(), store.get(), OCSP_NOEXPLICIT) == 1;
}

}  // namespace

Result<Question> question_of(const Certificate& certificate, const Certificate& issuer) {
  GH_TRY(const OwnedX509 subject, opened(certificate));
  GH_TRY(const OwnedX509 above, opened(issuer));
  const Owned<OCSP_REQUEST, OCSP_REQUEST_free> request(OCSP_REQUEST_new());
  Owned<OCSP_CERTID, OCSP_CERTID_free> id(OCSP_cert_to_id(EVP_sha1(), subject.get(), above.get()));
  if (!request || !id || OCSP_request_add0_id(request.get(), id.get()) == nullptr) return bad(Fault::internal, "no OCSP request can be made");
  (void)id.release();
  Question out{.der = encoded<OCSP_REQUEST>(request.get(), &i2d_OCSP_REQUEST), .id = {}};
  if (out.der.empty()) return bad(Fault::internal, "no OCSP request can be made");
  ByteVector both = issuer.der();
  both.insert(both.end(), certificate.der().begin(), certificate.der().end());
  out.id = digest_of(HashAlgorithm::sha256, both).hex();
  return out;
}

Result<Answer> parse_answer(Bytes response, const Certificate& certificate, const Certificate& issuer, std::int64_t now) {
  if (response.size() > max_answer_bytes) return bad(Fault::limit, "OCSP response larger than 64 KiB");
  GH_TRY(const OwnedX509 subject, opened(certificate));
  GH_TRY(const OwnedX509 above, opened(issuer));
  const unsigned char* at = as_uchar(response);
  const Owned<OCSP_RESPONSE, OCSP_RESPONSE_free> whole(d2i_OCSP_RESPONSE(nullptr, &at, long(response.size())));
  if (!whole) return bad(Fault::malformed, "not an OCSP response");
  if (at != as_uchar(response) + response.size()) return bad(Fault::malformed, "trailing bytes after the OCSP response");
  if (const int status = OCSP_response_status(whole.get()); status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
    return bad(Fault::environment, "the responder can't answer", OCSP_response_status_str(status));
  const Owned<OCSP_BASICRESP, OCSP_BASICRESP_free> basic(OCSP_response_get1_basic(whole.get()));
  if (!basic) return bad(Fault::malformed, "not a basic OCSP response");
  if (!strong(basic.get())) return bad(Fault::denied, "the OCSP response's signature algorithm doesn't count");
  if (!signed_by_issuer(basic.get(), above.get(), now)) return bad(Fault::denied, "the OCSP response isn't signed by the certificate's issuer or for it");

  const Owned<OCSP_CERTID, OCSP_CERTID_free> id(OCSP_cert_to_id(EVP_sha1(), subject.get(), above.get()));
  int status = 0, reason = 0;
  ASN1_GENERALIZEDTIME *revoked = nullptr, *since = nullptr, *until = nullptr;
  if (!id || OCSP_resp_find_status(basic.get(), id.get(), &status, &reason, &revoked, &since, &until) != 1)
    return bad(Fault::denied, "the OCSP response is about another certificate");
  Answer out;
  const auto from = seconds_of(since), to = seconds_of(until);
  if (!from || (until != nullptr && !to)) return bad(Fault::malformed, "a date of the OCSP response can't be read");
  out.since = *from;
  out.until = to.value_or(*from + life_without_next);
  if (out.since > now + clock_tolerance) return bad(Fault::denied, "the OCSP response is of a time that is yet to come");
  if (out.until <= now) return bad(Fault::denied, "the OCSP response is out of date");
  out.standing = status == V_OCSP_CERTSTATUS_GOOD ? Standing::good : status == V_OCSP_CERTSTATUS_REVOKED ? Standing::revoked : Standing::unknown;
  if (out.standing == Standing::revoked && reason >= 0) out.why = OCSP_crl_reason_str(reason);
  ERR_clear_error();
  return out;
}

std::string responder_of(const Certificate& certificate) {
  const auto subject = opened(certificate);
  if (!subject) return {};
  const Owned<AUTHORITY_INFO_ACCESS, free_access> all(
      static_cast<AUTHORITY_INFO_ACCESS*>(X509_get_ext_d2i(subject->get(), NID_info_access, nullptr, nullptr)));
  std::string out;
  for (int i = 0; all && out.empty() && i < sk_ACCESS_DESCRIPTION_num(all.get()); ++i) {
    const ACCESS_DESCRIPTION* const one = sk_ACCESS_DESCRIPTION_value(all.get(), i);
    if (OBJ_obj2nid(one->method) != NID_ad_OCSP || one->location->type != GEN_URI) continue;
    const ASN1_STRING* const uri = one->location->d.uniformResourceIdentifier;
    const std::string_view text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)), std::size_t(ASN1_STRING_length(uri)));
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
    if (plain && text.size() <= max_url_bytes && text.starts_with("http://")) out = text;
  }
  ERR_clear_error();
  return out;
}

}  // namespace gatehouse::ocsp
