// OCSP responses, as a responder or whoever is in its place sends them: nothing is accepted of a certificate whose issuer's
// key nobody has.
#include <cstdlib>

#include "base/ocsp.h"

using namespace gatehouse;

// Of tests/data/ocsp: what its good.der is about, and another authority than the one that answered.
static const Certificate& fuzzed_certificate() {
  static const Certificate one = *Certificate::from_pem(R"(-----BEGIN CERTIFICATE-----
MIIB4DCCAYegAwIBAgIBAjAKBggqhkjOPQQDAjAXMRUwEwYDVQQDDAxPQ1NQIHRl
c3QgQ0EwHhcNMjYxMTI3MDQ1NDE1WhcNNDYxMTIyMDQ1NDE1WjARMQ8wDQYDVQQD
DAZob3N0IDIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT0CRaZYdaWRFPH1S/z
koluAww3sF8QXS+/trfH3yr8933jDrOANaqJ00DLqqWMoAaLNfQw1GRcsdWocy20
wTcTo4HJMIHGMAkGA1UdEwQCMAAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwZAYIKwYB
BQUHAQEEWDBWMCgGCCsGAQUFBzAChhxodHRwOi8vY2EuZXhhbXBsZS5vcmcvY2Eu
ZGVyMCoGCCsGAQUFBzABhh5odHRwOi8vb2NzcC5leGFtcGxlLm9yZy9zdGF0dXMw
HQYDVR0OBBYEFAHpxeYFI5d2UOuIFbCseR99qx6wMB8GA1UdIwQYMBaAFJTGjvqR
xaFe3iCRD2QYr0fnwLftMAoGCCqGSM49BAMCA0cAMEQCIBtnRVbk7RnQ9l/DwT2S
HHcokidndVQh0kbkAMq+O0BKAiB1EjN7/yyyejINPWCEwHIXh2hY7xhVB4vahgh0
ELSbYQ==
-----END CERTIFICATE-----
)");
  return one;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes value(reinterpret_cast<const std::byte*>(data), size);
  constexpr std::int64_t then = 1'800'000'000;
  // The certificate as its own issuer: its key signed nothing.
  if (ocsp::parse_answer(value, fuzzed_certificate(), fuzzed_certificate(), then)) std::abort();
  if (const auto certificate = Certificate::from_der(value)) {
    const std::string url = ocsp::responder_of(*certificate);
    if (!url.empty() && (!url.starts_with("http://") || url.size() > 1'024)) std::abort();
  }
  return 0;
}
