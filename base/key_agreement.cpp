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

// Curves by their points: an EVP key for each scalar and each point costs as much as a third of the exchange.
const EC_GROUP* curve_of(DhGroup group) {
  static const Owned<EC_GROUP, EC_GROUP_free> curves[] = {Owned<EC_GROUP, EC_GROUP_free>(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)),
                                                          Owned<EC_GROUP, EC_GROUP_free>(EC_GROUP_new_by_curve_name(NID_secp384r1))};
  return curves[group == DhGroup::ecp256 ? 0 : 1].get();
}
BN_CTX* scratch() {
  thread_local const Owned<BN_CTX, BN_CTX_free> of_thread(BN_CTX_secure_new());
  return of_thread.get();
}

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
  modp.p = prime(group);
  return modp.p && modp.g && BN_set_word(modp.g.get(), 2) == 1 &&
         OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_FFC_P, modp.p.get()) == 1 &&
         OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_FFC_G, modp.g.get()) == 1;
}

std::unexpected<Error> ours(std::string_view why) {
  ERR_clear_error();
  return fail(Fault::internal, why, agreement_spec);
}
std::unexpected<Error> theirs(std::string_view why) {
  ERR_clear_error();
  return fail(Fault::malformed, why, agreement_spec);
}

// scalar * point, or scalar * generator where there is no point; in constant time, whichever curve it is. Without `y` the X
// coordinate alone.
Result<ByteVector> multiplied(DhGroup group, const EC_POINT* point, const BIGNUM* scalar, bool y) {
  const EC_GROUP* const curve = curve_of(group);
  const Owned<EC_POINT, EC_POINT_clear_free> product(curve == nullptr ? nullptr : EC_POINT_new(curve));
  const Number x_value(BN_new()), y_value(BN_new());
  const std::size_t half = public_value_size(group) / 2;
  ByteVector out(y ? 2 * half : half);
  if (!product || !x_value || !y_value ||
      EC_POINT_mul(curve, product.get(), point == nullptr ? scalar : nullptr, point, point == nullptr ? nullptr : scalar, scratch()) != 1 ||
      EC_POINT_get_affine_coordinates(curve, product.get(), x_value.get(), y ? y_value.get() : nullptr, scratch()) != 1 ||
      BN_bn2binpad(x_value.get(), reinterpret_cast<unsigned char*>(out.data()), int(half)) != int(half) ||
      (y && BN_bn2binpad(y_value.get(), reinterpret_cast<unsigned char*>(out.data()) + half, int(half)) != int(half)))
    return ours("a point of the curve can't be multiplied");
  return out;
}

Result<ByteVector> derive_on_curve(DhGroup group, const BIGNUM* scalar, Bytes peer) {
  if (peer.size() != public_value_size(group)) return theirs("DH public value isn't as long as its group's");
  const EC_GROUP* const curve = curve_of(group);
  const Owned<EC_POINT, EC_POINT_free> point(curve == nullptr ? nullptr : EC_POINT_new(curve));
  if (!point) return ours("DH parameters can't be built");
  std::array<unsigned char, max_point> octets{4};
  std::memcpy(octets.data() + 1, peer.data(), peer.size());
  // This refuses a coordinate that isn't below p, and a point that isn't on the curve; P-256 and P-384 have cofactor 1, so
  // nothing more is needed.
  if (EC_POINT_oct2point(curve, point.get(), octets.data(), 1 + peer.size(), scratch()) != 1) return theirs("DH public value isn't in its group");
  return multiplied(group, point.get(), scalar, false);
}

// Of MODP.
Result<Pkey> peer_key(DhGroup group, Bytes value) {
  if (value.size() != public_value_size(group)) return theirs("DH public value isn't as long as its group's");
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

// Of MODP.
Result<ByteVector> wire_form(DhGroup group, EVP_PKEY* key) {
  const std::size_t size = public_value_size(group);
  ByteVector out(size);
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
  Pkey key;       // of MODP
  Number scalar;  // of curves
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
  if (is_curve(group)) {
    const EC_GROUP* const curve = curve_of(group);
    state->scalar.reset(BN_secure_new());
    if (curve == nullptr || !state->scalar) return ours("DH key pair can't be made");
    do {
      if (BN_priv_rand_range(state->scalar.get(), EC_GROUP_get0_order(curve)) != 1) return ours("DH key pair can't be made");
    } while (BN_is_zero(state->scalar.get()));
    BN_set_flags(state->scalar.get(), BN_FLG_CONSTTIME);
    GH_TRY(state->public_value, multiplied(group, nullptr, state->scalar.get(), true));
    return KeyAgreement(std::move(state));
  }
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
  EVP_PKEY* key = nullptr;
  if (context && EVP_PKEY_keygen_init(context.get()) == 1) EVP_PKEY_keygen(context.get(), &key);
  state->key.reset(key);
  if (key == nullptr) return ours("DH key pair can't be made");
  GH_TRY(state->public_value, wire_form(group, key));
  return KeyAgreement(std::move(state));
}

Result<KeyAgreement> KeyAgreement::from_private(DhGroup group, Bytes scalar) {
  auto state = std::make_unique<State>();
  state->group = group;
  Number x(BN_bin2bn(as_uchar(scalar), int(scalar.size()), nullptr));
  if (!x) return ours("DH key pair can't be made");
  BN_set_flags(x.get(), BN_FLG_CONSTTIME);
  if (is_curve(group)) {
    const EC_GROUP* const curve = curve_of(group);
    if (curve == nullptr || BN_is_zero(x.get()) || BN_cmp(x.get(), EC_GROUP_get0_order(curve)) >= 0) return ours("DH scalar isn't in its group");
    state->scalar = std::move(x);
    GH_TRY(state->public_value, multiplied(group, nullptr, state->scalar.get(), true));
    return KeyAgreement(std::move(state));
  }
  const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> build(OSSL_PARAM_BLD_new());
  const PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "DH", nullptr));
  const Number number(BN_new());
  Modp modp;
  if (!build || !context || !number || !push_group(build.get(), group, modp) ||
      OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_PRIV_KEY, x.get()) != 1 ||
      BN_mod_exp(number.get(), modp.g.get(), x.get(), modp.p.get(), scratch()) != 1 ||
      OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_PUB_KEY, number.get()) != 1)
    return ours("DH key pair can't be made");
  const Owned<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(build.get()));
  EVP_PKEY* key = nullptr;
  if (!parameters || EVP_PKEY_fromdata_init(context.get()) != 1 || EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, parameters.get()) != 1)
    return ours("DH key pair can't be made");
  state->key.reset(key);
  GH_TRY(state->public_value, wire_form(group, key));
  return KeyAgreement(std::move(state));
}

Result<ByteVector> KeyAgreement::derive(Bytes peer_public_value) const {
  if (is_curve(state_->group)) return derive_on_curve(state_->group, state_->scalar.get(), peer_public_value);
  GH_TRY(const Pkey peer, peer_key(state_->group, peer_public_value));
  const PkeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, state_->key.get(), nullptr));
  if (!context || EVP_PKEY_derive_init(context.get()) != 1) return ours("DH secret can't be derived");
  // The secret keeps its leading zeros.
  if (EVP_PKEY_CTX_set_dh_pad(context.get(), 1) != 1) return ours("DH secret can't be derived");
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
