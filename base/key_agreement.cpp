#include "base/key_agreement.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/dh.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <array>
#include <cstring>

#include "base/owned.h"

namespace gatehouse {
namespace {

using Pkey = Owned<EVP_PKEY, EVP_PKEY_free>;
using PkeyContext = Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;
using Number = Owned<BIGNUM, BN_clear_free>;

constexpr std::string_view agreement_spec = "spec part 2 3";
constexpr std::size_t max_point = 1 + 2 * 48;  // of a curve, uncompressed

bool is_curve(DhGroup group) { return group == DhGroup::ecp256 || group == DhGroup::ecp384; }
const char* curve_name(DhGroup group) { return group == DhGroup::ecp384 ? "P-384" : "P-256"; }

// IKE groups 2 (RFC 2409), 5 and 14 (RFC 3526); OpenSSL has no name for the first.
Number prime(DhGroup group) {
  switch (group) {
    case DhGroup::modp1024: return Number(BN_get_rfc2409_prime_1024(nullptr));
    case DhGroup::modp1536: return Number(BN_get_rfc3526_prime_1536(nullptr));
    default: return Number(BN_get_rfc3526_prime_2048(nullptr));
  }
}

// The numbers that a builder refers to until its parameters are made.
struct Modp {
  Number p, g{BN_new()};
};
bool push_group(OSSL_PARAM_BLD* build, DhGroup group, Modp& modp) {
  if (build == nullptr) return false;
  if (is_curve(group)) return OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curve_name(group), 0) == 1;
  modp.p = prime(group);
  return modp.p && modp.g && BN_set_word(modp.g.get(), 2) == 1 &&
         OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_FFC_P, modp.p.get()) == 1 &&
         OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_FFC_G, modp.g.get()) == 1;
}

// For key pairs; null: there is none.
PkeyContext curve_context(DhGroup group) {
  PkeyContext out(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  if (out && EVP_PKEY_keygen_init(out.get()) == 1 && EVP_PKEY_CTX_set_group_name(out.get(), curve_name(group)) == 1)
    return out;
  return nullptr;
}

std::unexpected<Error> ours(std::string_view why) {
  ERR_clear_error();
  return fail(Fault::internal, why, agreement_spec);
}
std::unexpected<Error> theirs(std::string_view why) {
  ERR_clear_error();
  return fail(Fault::malformed, why, agreement_spec);
}

// A key of the curve without a value. A peer's is made of it: to look up the group and make it anew for each costs more than to
// take over the point.
Pkey curve_parameters(DhGroup group) {
  const PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (!context || EVP_PKEY_paramgen_init(context.get()) != 1 || EVP_PKEY_CTX_set_group_name(context.get(), curve_name(group)) != 1 ||
      EVP_PKEY_paramgen(context.get(), &key) != 1)
    return nullptr;
  return Pkey(key);
}

Result<Pkey> peer_point(DhGroup group, Bytes value) {
  thread_local const Pkey curves[] = {curve_parameters(DhGroup::ecp256), curve_parameters(DhGroup::ecp384)};
  const Pkey& curve = curves[group == DhGroup::ecp256 ? 0 : 1];
  std::array<unsigned char, max_point> point{4};
  std::memcpy(point.data() + 1, value.data(), value.size());
  Pkey out(EVP_PKEY_new());
  if (!curve || !out || EVP_PKEY_copy_parameters(out.get(), curve.get()) != 1) return ours("DH parameters can't be built");
  // This refuses a point that isn't on the curve; P-256 and P-384 have cofactor 1, so nothing more is needed.
  if (EVP_PKEY_set1_encoded_public_key(out.get(), point.data(), 1 + value.size()) != 1) return theirs("DH public value isn't in its group");
  return out;
}

Result<Pkey> peer_key(DhGroup group, Bytes value) {
  if (value.size() != public_value_size(group)) return theirs("DH public value isn't as long as its group's");
  if (is_curve(group)) return peer_point(group, value);
  const PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "DH", nullptr));
  const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> build(OSSL_PARAM_BLD_new());
  Modp modp;
  const Number number(BN_bin2bn(as_uchar(value), int(value.size()), nullptr));
  if (!context || !number || !push_group(build.get(), group, modp) ||
      OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_PUB_KEY, number.get()) != 1)
    return ours("DH parameters can't be built");
  const Owned<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(build.get()));
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1)
    return theirs("DH public value isn't in its group");
  Pkey out(key);
  const PkeyContext check(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  // 2 <= value <= p-2.
  if (!check || EVP_PKEY_public_check_quick(check.get()) != 1) return theirs("DH public value isn't in 2 ... p-2");
  return out;
}

Result<ByteVector> wire_form(DhGroup group, EVP_PKEY* key) {
  const std::size_t size = public_value_size(group);
  ByteVector out(size);
  if (is_curve(group)) {
    ByteVector point(1 + size);
    std::size_t n = 0;
    // Uncompressed is what EVP gives unless asked otherwise.
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, reinterpret_cast<unsigned char*>(point.data()), point.size(), &n) != 1 ||
        n != point.size() || point[0] != std::byte{4})
      return ours("DH public value can't be read");
    std::memcpy(out.data(), point.data() + 1, size);
    return out;
  }
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PUB_KEY, &raw) != 1) return ours("DH public value can't be read");
  const Number number(raw);
  if (BN_bn2binpad(raw, reinterpret_cast<unsigned char*>(out.data()), int(size)) != int(size)) return ours("DH public value can't be written");
  return out;
}

}  // namespace

std::size_t public_value_size(DhGroup group) {
  switch (group) {
    case DhGroup::modp1024: return 128;
    case DhGroup::modp1536: return 192;
    case DhGroup::modp2048: return 256;
    case DhGroup::ecp256: return 64;
    case DhGroup::ecp384: return 96;
  }
  return 0;
}

struct KeyAgreement::State {
  DhGroup group = DhGroup::ecp256;
  Pkey key;
  ByteVector public_value;
};

KeyAgreement::KeyAgreement(std::unique_ptr<State> state) : state_(std::move(state)) {}
KeyAgreement::KeyAgreement(KeyAgreement&&) noexcept = default;
KeyAgreement& KeyAgreement::operator=(KeyAgreement&&) noexcept = default;
KeyAgreement::~KeyAgreement() = default;

DhGroup KeyAgreement::group() const { return state_->group; }
const ByteVector& KeyAgreement::public_value() const { return state_->public_value; }

Result<KeyAgreement> KeyAgreement::generate(DhGroup group) {
  auto state = std::make_unique<State>();
  state->group = group;
  EVP_PKEY* key = nullptr;
  if (is_curve(group)) {
    // Made once in each thread: with a new one a key pair takes twice as long.
    thread_local const PkeyContext contexts[] = {curve_context(DhGroup::ecp256), curve_context(DhGroup::ecp384)};
    const PkeyContext& context = contexts[group == DhGroup::ecp256 ? 0 : 1];
    if (context) EVP_PKEY_generate(context.get(), &key);
  } else {
    const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> build(OSSL_PARAM_BLD_new());
    Modp modp;
    if (!push_group(build.get(), group, modp)) return ours("DH key pair can't be made");
    const Owned<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(build.get()));
    const PkeyContext import(EVP_PKEY_CTX_new_from_name(nullptr, "DH", nullptr));
    EVP_PKEY* domain = nullptr;
    if (!parameters || !import || EVP_PKEY_fromdata_init(import.get()) != 1 ||
        EVP_PKEY_fromdata(import.get(), &domain, EVP_PKEY_KEY_PARAMETERS, parameters.get()) != 1)
      return ours("DH key pair can't be made");
    const Pkey owned(domain);
    const PkeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, domain, nullptr));
    if (context && EVP_PKEY_keygen_init(context.get()) == 1) EVP_PKEY_keygen(context.get(), &key);
  }
  state->key.reset(key);
  if (key == nullptr) return ours("DH key pair can't be made");
  GH_TRY(state->public_value, wire_form(group, key));
  return KeyAgreement(std::move(state));
}

Result<KeyAgreement> KeyAgreement::from_private(DhGroup group, Bytes scalar) {
  auto state = std::make_unique<State>();
  state->group = group;
  const Number x(BN_bin2bn(as_uchar(scalar), int(scalar.size()), nullptr));
  const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> build(OSSL_PARAM_BLD_new());
  const PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, is_curve(group) ? "EC" : "DH", nullptr));
  if (!x || !build || !context) return ours("DH key pair can't be made");
  BN_set_flags(x.get(), BN_FLG_CONSTTIME);
  ByteVector point;
  Number number;
  Modp modp;
  bool good = push_group(build.get(), group, modp) &&
              OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_PRIV_KEY, x.get()) == 1;
  if (is_curve(group)) {
    // OpenSSL's import takes the public point along with the scalar.
    const Owned<EC_GROUP, EC_GROUP_free> curve(EC_GROUP_new_by_curve_name(group == DhGroup::ecp256 ? NID_X9_62_prime256v1 : NID_secp384r1));
    const Owned<EC_POINT, EC_POINT_free> q(curve ? EC_POINT_new(curve.get()) : nullptr);
    point.resize(1 + public_value_size(group));
    good = good && q && EC_POINT_mul(curve.get(), q.get(), x.get(), nullptr, nullptr, nullptr) == 1 &&
           EC_POINT_point2oct(curve.get(), q.get(), POINT_CONVERSION_UNCOMPRESSED, reinterpret_cast<unsigned char*>(point.data()), point.size(),
                              nullptr) == point.size() &&
           OSSL_PARAM_BLD_push_octet_string(build.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) == 1;
  } else {
    number.reset(BN_new());
    const Owned<BN_CTX, BN_CTX_free> scratch(BN_CTX_new());
    good = good && number && scratch &&
           BN_mod_exp(number.get(), modp.g.get(), x.get(), modp.p.get(), scratch.get()) == 1 &&
           OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_PUB_KEY, number.get()) == 1;
  }
  if (!good) return ours("DH key pair can't be made");
  const Owned<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(build.get()));
  EVP_PKEY* key = nullptr;
  if (!parameters || EVP_PKEY_fromdata_init(context.get()) != 1 || EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, parameters.get()) != 1)
    return ours("DH key pair can't be made");
  state->key.reset(key);
  GH_TRY(state->public_value, wire_form(group, key));
  return KeyAgreement(std::move(state));
}

Result<ByteVector> KeyAgreement::derive(Bytes peer_public_value) const {
  GH_TRY(const Pkey peer, peer_key(state_->group, peer_public_value));
  const PkeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, state_->key.get(), nullptr));
  if (!context || EVP_PKEY_derive_init(context.get()) != 1) return ours("DH secret can't be derived");
  // MODP: the secret keeps its leading zeros.
  if (!is_curve(state_->group) && EVP_PKEY_CTX_set_dh_pad(context.get(), 1) != 1) return ours("DH secret can't be derived");
  if (EVP_PKEY_derive_set_peer_ex(context.get(), peer.get(), 0) != 1) return theirs("DH public value isn't in its group");
  std::size_t size = 0;
  if (EVP_PKEY_derive(context.get(), nullptr, &size) != 1) return ours("DH secret can't be derived");
  ByteVector z(size);
  if (EVP_PKEY_derive(context.get(), reinterpret_cast<unsigned char*>(z.data()), &size) != 1) return theirs("DH exchange failed");
  z.resize(size);
  return z;
}

Digest secret_assessment_value(HashAlgorithm hash, Bytes initiator_nonce, Bytes responder_nonce, ByteVector z) {
  Hasher hasher(hash);
  const Bytes pieces[] = {as_bytes("1"), initiator_nonce, responder_nonce, z};
  const Digest s = hasher(pieces);
  wipe(z);
  return s;
}

}  // namespace gatehouse
