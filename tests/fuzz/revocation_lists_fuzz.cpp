// Revocation lists, as a server gives them: nothing counts that isn't signed by the one authority that is known here, and
// what is kept of a file is lists.
#include <unistd.h>

#include <cstdlib>

#include "base/revocation_lists.h"

using namespace gatehouse;

// Of tests/data/revocation, whose key signed the list there and nothing else.
static const ListIssuers& issuers() {
  static const ListIssuers all = [] {
    char path[] = "/tmp/gatehouse-fuzz-XXXXXX";
    const int fd = ::mkstemp(path);
    static constexpr std::string_view pem = R"(-----BEGIN CERTIFICATE-----
MIIBhDCCASmgAwIBAgIUcKTx6Hgb3Y5kVFv3T3/XlZt6QKgwCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMbGlzdCB0ZXN0IENBMB4XDTI2MTEyNzE0MjcxNloXDTQ2MTEy
MjE0MjcxNlowFzEVMBMGA1UEAwwMbGlzdCB0ZXN0IENBMFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEyBg6Gf2GyffBsqxXs6dVKYGvcHMYGnk/uwAlmLptJSdYb+JN
4keLqX2AbRNjCAunBHmPUm7CB2ZIQMXN4+NnEKNTMFEwHQYDVR0OBBYEFD9o/qG1
MAv8sfnzR+mcaka303xeMB8GA1UdIwQYMBaAFD9o/qG1MAv8sfnzR+mcaka303xe
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAJCk6LtNhV2cydYk
89JXOMHPsAMlNtB1fJC+6fVWKTxaAiEAjWPhHM1vbOzhWj6vnj2+065Tu9fTSp/b
4rCsTWCUXAM=
-----END CERTIFICATE-----
)";
    if (fd < 0 || ::write(fd, pem.data(), pem.size()) != ssize_t(pem.size())) std::abort();
    ::close(fd);
    auto loaded = ListIssuers::load(path);
    ::unlink(path);
    if (!loaded) std::abort();
    return *std::move(loaded);
  }();
  return all;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes value(reinterpret_cast<const std::byte*>(data), size);
  constexpr std::int64_t then = 1'800'000'000;
  const auto list = issuers().check(value, then);
  if (list && (list->issuer != "CN=list test CA" || list->since > then + 300 || list->until <= then)) std::abort();
  const auto end = first_end(as_text(value));
  const RevocationList other{.pem = "nobody's\n", .issuer = "CN=nobody", .since = then, .until = then + 1};
  const auto file = with_list(as_text(value), other);
  // Of another issuer: it is added, and what was a list stays.
  if (!file || !*file || !(*file)->ends_with(other.pem) || (end && (*file)->size() == other.pem.size())) std::abort();
  return 0;
}
