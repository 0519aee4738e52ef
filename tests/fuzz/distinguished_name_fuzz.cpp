// libraries: gatehouse_policy
// A certificate's subject as text: attributes are found or not, a pattern of it ends in linear time, and what stands
// behind an escape is never an attribute of its own.
#include <cstdlib>
#include <string>

#include "server/policy/distinguished_name.h"
#include "server/policy/policy.h"

using namespace gatehouse::server::policy;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t found = 0;
  any_attribute(text, "CN", [&](std::string_view value) {
    if (value.size() > text.size()) std::abort();
    return ++found > 1024;
  });
  if (found > text.size()) std::abort();
  // An attribute more in front is one more, and what it hides behind escapes is none.
  if (found != 0 && text.size() < 900) {
    std::size_t with = 0;
    const std::string longer = "CN=x\\,CN=y," + std::string(text);
    any_attribute(longer, "CN", [&](std::string_view) { return ++with > 1024; });
    if (with != found + 1) std::abort();
  }
  const CertificatePattern pattern{.attributes = {{"CN", "*a*b*"}, {"O", "*"}}, .issuer = {{"CN", "*a*"}}, .names = {{"dns", "*.a*"}}};
  CertificateNames names;
  names.issuer = text;
  names.alternative_names = {"dns:" + std::string(text)};
  (void)pattern.matches("certificate", text, names);
  TimeSpans spans;
  if (spans.add(text) && !spans.holds(0)) (void)spans.holds(1'800'000'000'000);
  return 0;
}
