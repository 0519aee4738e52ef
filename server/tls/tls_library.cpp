#include "server/tls/tls_library.h"

#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string_view>
#include <vector>

namespace gatehouse::server {
namespace {

// Of "AES-128-GCM:id-aes128-GCM:…" the first.
std::string_view first_name(const OSSL_ALGORITHM& a) {
  const std::string_view names = a.algorithm_names;
  return names.substr(0, names.find(':'));
}
template <std::size_t N>
bool one_of(std::string_view name, const std::string_view (&names)[N]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}
bool has(const OSSL_ALGORITHM& a, std::string_view property) {
  return a.property_definition != nullptr && std::string_view(a.property_definition).find(property) != std::string_view::npos;
}

// Of tls_context.cpp's suites; others aren't negotiated.
bool is_tls_cipher(const OSSL_ALGORITHM& a) {
  static constexpr std::string_view names[] = {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305", "AES-128-CCM"};
  return one_of(first_name(a), names);
}
// What a certificate's key, or that of a certificate's issuer, may be.
bool reads_certificates(const OSSL_ALGORITHM& a) {
  static constexpr std::string_view names[] = {"RSA", "RSA-PSS", "EC", "ED25519", "ED448", "DSA"};
  return one_of(first_name(a), names) && has(a, "input=der") && has(a, "structure=SubjectPublicKeyInfo");
}
bool is_no_tls_key(const OSSL_ALGORITHM& a) {
  static constexpr std::string_view names[] = {"DHX", "SM2", "SIPHASH", "POLY1305", "CMAC", "SCRYPT"};
  return one_of(first_name(a), names);
}

// The default provider, and what of it is shown. Providers' functions find it here: what OpenSSL hands them is the
// default provider's, for its algorithms.
struct Shown {
  OSSL_PROVIDER* provider = nullptr;
  std::map<int, std::vector<OSSL_ALGORITHM>> algorithms;  // by operation, each with its end
};
Shown& shown() {
  static Shown one;
  return one;
}

void show(int operation, bool (*wanted)(const OSSL_ALGORITHM&)) {
  Shown& s = shown();
  int changes = 0;  // the default provider's don't
  std::vector<OSSL_ALGORITHM>& out = s.algorithms[operation];
  for (const OSSL_ALGORITHM* a = OSSL_PROVIDER_query_operation(s.provider, operation, &changes); a != nullptr && a->algorithm_names != nullptr; ++a)
    if (wanted(*a)) out.push_back(*a);
  out.push_back({});
}

const OSSL_ALGORITHM* query(void*, int operation, int* changes) {
  const Shown& s = shown();
  *changes = 0;
  const auto found = s.algorithms.find(operation);
  return found != s.algorithms.end() ? found->second.data() : nullptr;
}
const OSSL_PARAM* gettable(void*) { return OSSL_PROVIDER_gettable_params(shown().provider); }
int get(void*, OSSL_PARAM* parameters) { return OSSL_PROVIDER_get_params(shown().provider, parameters); }
// TLS asks for its groups here.
int capabilities(void*, const char* what, OSSL_CALLBACK* callback, void* argument) {
  return OSSL_PROVIDER_get_capabilities(shown().provider, what, callback, argument);
}

template <class Function>
OSSL_DISPATCH function(int id, Function* f) {
  return {id, reinterpret_cast<void (*)()>(f)};
}

int begin(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** functions, void** context) {
  static const OSSL_DISPATCH table[] = {function(OSSL_FUNC_PROVIDER_QUERY_OPERATION, &query), function(OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, &gettable),
                                        function(OSSL_FUNC_PROVIDER_GET_PARAMS, &get), function(OSSL_FUNC_PROVIDER_GET_CAPABILITIES, &capabilities),
                                        {0, nullptr}};
  Shown& s = shown();
  s.provider = OSSL_PROVIDER_load(nullptr, "default");
  if (s.provider == nullptr) return 0;
  constexpr auto all = [](const OSSL_ALGORITHM&) { return true; };
  for (const int operation : {OSSL_OP_DIGEST, OSSL_OP_MAC, OSSL_OP_KDF, OSSL_OP_RAND, OSSL_OP_KEYEXCH, OSSL_OP_SIGNATURE, OSSL_OP_ASYM_CIPHER, OSSL_OP_KEM})
    show(operation, all);
  show(OSSL_OP_CIPHER, &is_tls_cipher);
  show(OSSL_OP_KEYMGMT, [](const OSSL_ALGORITHM& a) { return !is_no_tls_key(a); });
  show(OSSL_OP_DECODER, &reads_certificates);
  *functions = table;
  *context = OSSL_PROVIDER_get0_provider_ctx(s.provider);
  return 1;
}

// Nothing but the default provider, as it is.
bool as_shipped() {
  bool others = false;
  OSSL_PROVIDER_do_all(
      nullptr,
      [](OSSL_PROVIDER* provider, void* found) {
        if (std::string_view(OSSL_PROVIDER_get0_name(provider)) != "default") *static_cast<bool*>(found) = true;
        return 1;
      },
      &others);
  return !others && EVP_default_properties_is_fips_enabled(nullptr) == 0;
}

OSSL_LIB_CTX* make() {
  if (!as_shipped()) return nullptr;
  OSSL_LIB_CTX* const out = OSSL_LIB_CTX_new();
  if (out != nullptr && OSSL_PROVIDER_add_builtin(out, "tls", &begin) == 1 && OSSL_PROVIDER_load(out, "tls") != nullptr) return out;
  OSSL_LIB_CTX_free(out);
  ERR_clear_error();
  return nullptr;
}

}  // namespace

OSSL_LIB_CTX* tls_library() {
  static OSSL_LIB_CTX* const library = make();
  return library;
}

}  // namespace gatehouse::server
