#include "bench/roofline/primitives.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/sha256_chains.h"
#include "bench/roofline/tls_pair.h"

namespace gatehouse::bench {
namespace {

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + std::ptrdiff_t(values.size() / 2), values.end());
  return values[values.size() / 2];
}

template <class Body>
double median_of(int rounds, Body&& body) {
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const double start = thread_cpu_us();
    body();
    times.push_back(thread_cpu_us() - start);
  }
  return median(std::move(times));
}

struct Connection {
  SSL* server;
  SSL* client;
  explicit Connection(const TlsPair& pair) : server(SSL_new(pair.server)), client(SSL_new(pair.client)) {
    BIO* a = nullptr;
    BIO* b = nullptr;
    must(BIO_new_bio_pair(&a, 1 << 20, &b, 1 << 20) == 1, "BIO pair");
    SSL_set_bio(server, a, a);
    SSL_set_bio(client, b, b);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    SSL_free(server);
    SSL_free(client);
  }
  // Server side CPU time.
  double handshake() {
    double spent = 0;
    for (int turn = 0; turn < 10 && !(SSL_is_init_finished(server) && SSL_is_init_finished(client)); ++turn) {
      SSL_do_handshake(client);
      const double start = thread_cpu_us();
      SSL_do_handshake(server);
      spent += thread_cpu_us() - start;
    }
    must(SSL_is_init_finished(server) && SSL_is_init_finished(client), "TLS handshake");
    return spent;
  }
};

double measure_handshake(const Workload& w, int rounds) {
  const TlsPair pair(w.mutual);
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) times.push_back(Connection(pair).handshake());
  return median(std::move(times));
}

// The evidence in batches of 64 KiB, as the recorded clients send it.
double measure_records(const Workload& w, int rounds) {
  const TlsPair pair(false);
  Connection connection(pair);
  connection.handshake();
  const std::vector<char> batch(65'536, 'x');
  std::vector<char> in(65'536);
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    double spent = 0;
    for (std::size_t sent = 0; sent < w.evidence_bytes;) {
      const std::size_t n = std::min(batch.size(), w.evidence_bytes - sent);
      must(SSL_write(connection.client, batch.data(), int(n)) == int(n), "TLS write");
      const double start = thread_cpu_us();
      for (std::size_t got = 0; got < n;) {
        const int m = SSL_read(connection.server, in.data(), int(n - got));
        must(m > 0, "TLS read");
        got += std::size_t(m);
      }
      spent += thread_cpu_us() - start;
      sent += n;
    }
    times.push_back(spent);
  }
  return median(std::move(times));
}

// Key pair, import of the peer's point, shared secret, hash.
double measure_nonce(int rounds) {
  EVP_PKEY* const peer = p256();
  std::array<unsigned char, 65> point{};
  std::size_t size = 0;
  must(EVP_PKEY_get_octet_string_param(peer, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(), &size) == 1, "point");
  char group[] = "P-256";
  OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
                             OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), size),
                             OSSL_PARAM_construct_end()};
  const double time = median_of(rounds, [&] {
    EVP_PKEY* const own = p256();
    EVP_PKEY_CTX* const import = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
    EVP_PKEY* theirs = nullptr;
    EVP_PKEY_fromdata_init(import);
    EVP_PKEY_fromdata(import, &theirs, EVP_PKEY_PUBLIC_KEY, parameters);
    EVP_PKEY_CTX* const derive = EVP_PKEY_CTX_new_from_pkey(nullptr, own, nullptr);
    unsigned char z[32];
    std::size_t n = sizeof z;
    EVP_PKEY_derive_init(derive);
    // The import has checked that the point is on the curve, and P-256 has cofactor 1: no second validation.
    EVP_PKEY_derive_set_peer_ex(derive, theirs, 0);
    must(EVP_PKEY_derive(derive, z, &n) == 1, "ECDH");
    EVP_PKEY_CTX_free(derive);
    EVP_PKEY_CTX_free(import);
    EVP_PKEY_free(theirs);
    EVP_PKEY_free(own);
  });
  EVP_PKEY_free(peer);
  return time;
}

// The value's 32 bytes after all of the digests, the plain way.
void extend_plain(unsigned char* value, const std::vector<std::byte>& digests) {
  static EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  for (std::size_t at = 0; at < digests.size(); at += sha256_size) {
    EVP_DigestInit_ex2(context, sha256, nullptr);
    EVP_DigestUpdate(context, value, sha256_size);
    EVP_DigestUpdate(context, digests.data() + at, sha256_size);
    EVP_DigestFinal_ex(context, value, nullptr);
  }
  EVP_MD_CTX_free(context);
}

// Of sixteen sessions side by side, by the kernel that takes least.
double measure_extend(const Workload& w, int rounds, std::string& shape) {
  constexpr std::size_t sessions = 16;
  std::vector<std::byte> digests((w.boot + w.ima + 1) * sha256_size);
  for (std::size_t i = 0; i < digests.size(); ++i) digests[i] = std::byte(i * 2'654'435'761U >> 13);
  unsigned char plain[sha256_size] = {};
  extend_plain(plain, digests);
  double best = 0;
  for (const Sha256Kernel& kernel : sha256_kernels()) {
    std::byte values[sessions][sha256_size] = {};
    const auto all = [&] {
      for (std::size_t s = 0; s < sessions; s += kernel.width) {
        Sha256Chain chains[sessions];
        for (std::size_t c = 0; c < kernel.width; ++c) chains[c] = {values[s + c], digests};
        kernel.advance(chains, kernel.width, digests.size() / sha256_size);
      }
    };
    all();
    for (const auto& value : values) must(std::memcmp(plain, value, sizeof plain) == 0, "equality of the extension shapes");
    const double time = median_of(rounds, all) / double(sessions);
    if (!shape.empty() && time >= best) continue;
    best = time;
    shape = kernel.name;
  }
  return best;
}

// A table of 16-byte tags, the shape of a verdict cache, with the fleet's few thousand entries in it.
double measure_lookup(const Workload& w, int rounds) {
  struct Slot {
    std::uint64_t tag[2];
    std::uint64_t value;
  };
  constexpr std::size_t slots = 16'384;
  std::vector<Slot> table(slots);
  std::vector<std::array<std::uint64_t, 4>> keys(w.ima);
  std::uint64_t x = 88'172'645'463'325'252U;
  const auto next = [&] {
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
  };
  for (auto& key : keys) {
    for (auto& word : key) word = next();
    std::size_t at = key[0] % slots;
    while (table[at].value != 0) at = (at + 1) % slots;
    table[at] = {{key[1], key[2]}, 1};
  }
  std::uint64_t found = 0;
  const double time = median_of(rounds, [&] {
    for (const auto& key : keys) {
      std::size_t at = key[0] % slots;
      while (table[at].value != 0 && (table[at].tag[0] != key[1] || table[at].tag[1] != key[2])) at = (at + 1) % slots;
      found += table[at].value;
    }
  });
  must(found == std::uint64_t(rounds) * w.ima, "lookup");
  return time;
}

EVP_PKEY* rsa2048() {
  EVP_PKEY* const key = EVP_RSA_gen(2048);
  must(key != nullptr, "RSA key generation");
  return key;
}

std::vector<unsigned char> sign(EVP_PKEY* key, const unsigned char (&digest)[32]) {
  EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr);
  EVP_PKEY_sign_init(context);
  EVP_PKEY_CTX_set_signature_md(context, EVP_sha256());
  std::size_t size = 0;
  EVP_PKEY_sign(context, nullptr, &size, digest, sizeof digest);
  std::vector<unsigned char> out(size);
  must(EVP_PKEY_sign(context, out.data(), &size, digest, sizeof digest) == 1, "signature");
  out.resize(size);
  EVP_PKEY_CTX_free(context);
  return out;
}

// Verification with the context kept, the composite's and the quote's hash besides.
double measure_verify(EVP_PKEY* key, int rounds) {
  static EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
  unsigned char composite[384] = {};
  unsigned char attest[145] = {};
  unsigned char digest[32];
  EVP_MD_CTX* const md = EVP_MD_CTX_new();
  const auto hash = [&](const unsigned char* data, std::size_t size) {
    EVP_DigestInit_ex2(md, sha256, nullptr);
    EVP_DigestUpdate(md, data, size);
    EVP_DigestFinal_ex(md, digest, nullptr);
  };
  hash(attest, sizeof attest);
  const auto signature = sign(key, digest);
  EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr);
  EVP_PKEY_verify_init(context);
  EVP_PKEY_CTX_set_signature_md(context, EVP_sha256());
  const double time = median_of(rounds, [&] {
    hash(composite, sizeof composite);
    hash(attest, sizeof attest);
    must(EVP_PKEY_verify(context, signature.data(), signature.size(), digest, sizeof digest) == 1, "verification");
  });
  EVP_PKEY_CTX_free(context);
  EVP_MD_CTX_free(md);
  return time;
}

double measure_ecdsa_sign(int rounds) {
  EVP_PKEY* const key = p256();
  const unsigned char digest[32] = {1};
  EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr);
  EVP_PKEY_sign_init(context);
  unsigned char out[80];
  const double time = median_of(rounds, [&] {
    std::size_t size = sizeof out;
    must(EVP_PKEY_sign(context, out, &size, digest, sizeof digest) == 1, "ECDSA signature");
  });
  EVP_PKEY_CTX_free(context);
  EVP_PKEY_free(key);
  return time;
}

// ECDH alone, its key pair and the peer's key ready.
double measure_ecdh(int rounds) {
  EVP_PKEY* const own = p256();
  EVP_PKEY* const peer = p256();
  EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_pkey(nullptr, own, nullptr);
  EVP_PKEY_derive_init(context);
  EVP_PKEY_derive_set_peer_ex(context, peer, 0);
  unsigned char z[32];
  const double time = median_of(rounds, [&] {
    std::size_t n = sizeof z;
    must(EVP_PKEY_derive(context, z, &n) == 1, "ECDH");
  });
  EVP_PKEY_CTX_free(context);
  EVP_PKEY_free(own);
  EVP_PKEY_free(peer);
  return time;
}

}  // namespace

double thread_cpu_us() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) * 1e6 + double(now.tv_nsec) / 1e3;
}

Primitives measure_primitives(const Workload& w, int rounds) {
  Primitives p;
  EVP_PKEY* const ak = w.rsa ? rsa2048() : p256();
  const double ecdh = measure_ecdh(rounds);
  const double keygen = median_of(rounds, [] { EVP_PKEY_free(p256()); });
  if (!w.kept) {
    p.tls_handshake = measure_handshake(w, rounds);
    EVP_PKEY* const peer = p256();
    const double verify = measure_verify(peer, rounds);
    EVP_PKEY_free(peer);
    // Key share, ECDH, CertificateVerify; for a client certificate its chain and its CertificateVerify.
    p.handshake_physical = keygen + ecdh + measure_ecdsa_sign(rounds) + (w.mutual ? 2 * verify : 0.0);
  }
  p.records = measure_records(w, rounds);
  p.nonce = measure_nonce(rounds);
  p.nonce_physical = keygen + ecdh;
  p.extend = measure_extend(w, rounds, p.extend_shape);
  p.lookup = measure_lookup(w, rounds);
  p.quote = measure_verify(ak, rounds);
  EVP_PKEY_free(ak);
  return p;
}

}  // namespace gatehouse::bench
