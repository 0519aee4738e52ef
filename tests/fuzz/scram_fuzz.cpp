// The input as each message of an exchange, to both sides, with and without channel binding. Nobody's proof or
// signature passes that wasn't made with the verifier.
#include <cstdlib>

#include "base/base64.h"
#include "base/scram.h"

using namespace gatehouse;

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}
const PasswordVerifier& verifier() {
  static const PasswordVerifier made = make_verifier(Secret(as_bytes("Ar3etTnp")), min_iterations);
  return made;
}
ScramClient client(ScramBinding binding) {
  return ScramClient("user", Secret(as_bytes("Ar3etTnp")), "client", binding, {tls_unique_binding, to_vector(as_bytes("twelve bytes"))});
}

// Iteration counts near the bound would take the fuzzer's time; whether they are refused is for the unit test.
bool cheap(Bytes message) {
  const std::size_t at = as_text(message).find(",i=");
  return at == std::string_view::npos || as_text(message).substr(at + 3).find_first_not_of("0123456789") < 5 ||
         as_text(message).size() - at - 3 < 5;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input(reinterpret_cast<const std::byte*>(data), size);
  for (const ScramBinding binding : {ScramBinding::unavailable, ScramBinding::available, ScramBinding::used}) {
    ScramServer first(binding, {tls_exporter_binding, to_vector(as_bytes("exporter"))});
    if (const auto user = first.client_first(input)) {
      expect(!user->empty() && user->size() <= 255);
      (void)first.challenge({verifier(), true}, "server");
      expect(!first.client_final(input));
    }
    ScramServer last(binding == ScramBinding::available ? ScramBinding::unavailable : binding, {tls_unique_binding, to_vector(as_bytes("twelve bytes"))});
    ScramClient peer = client(binding);
    expect(last.client_first(peer.first()).has_value());
    const ByteVector challenge = last.challenge({verifier(), true}, "server");
    expect(!last.client_final(input));
    if (cheap(input)) {
      if (const auto answer = peer.respond_blocking(input)) expect(!peer.verify(input));
    }
  }
  if (const auto bytes = from_base64(as_text(input))) expect(to_base64(*bytes) == as_text(input));
  return 0;
}
