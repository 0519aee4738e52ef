#include "base/error.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "base/hex.h"

namespace gatehouse {

std::string_view name(Fault fault) {
  switch (fault) {
    case Fault::malformed: return "malformed";
    case Fault::protocol: return "protocol error";
    case Fault::denied: return "denied";
    case Fault::limit: return "limit exceeded";
    case Fault::usage: return "usage";
    case Fault::environment: return "environment";
    case Fault::internal: return "internal error";
  }
  return "internal error";
}

int exit_code(Fault fault) {
  switch (fault) {
    case Fault::denied: return 1;
    case Fault::usage: return 2;
    case Fault::malformed:
    case Fault::protocol:
    case Fault::limit: return 3;
    case Fault::environment:
    case Fault::internal: return 4;
  }
  return 4;
}

std::string Error::text() const {
  std::string out;
  if (!source.empty()) out += escaped(source) + ": ";  // a file name may be no UTF-8, or steer a terminal
  if (fault == Fault::malformed || fault == Fault::protocol || fault == Fault::limit)
    out += "byte " + std::to_string(offset) + ": ";
  out += name(fault);
  out += ": ";
  out += reason;
  if (!detail.empty()) out += ": " + detail;
  if (!spec.empty()) {
    out += " (";
    out += spec;
    out += ")";
  }
  return out;
}

std::unexpected<Error> fail_errno(std::string_view reason, std::string_view source) {
  const int code = errno;
  return std::unexpected(
      Error{Fault::environment, reason, {}, 0, std::string(source), std::generic_category().message(code)});
}

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "gatehouse: assertion failed: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace gatehouse
