// The one error type of Gatehouse. A reason is a literal, so making an error allocates nothing and a test can
// compare it; the caller who knows the file, peer or session names it once, at the top, with from().
//
//   Result<Header> parse_header(Reader& r) {
//     GH_TRY(const auto version, r.get<std::uint8_t>());
//     if (version != 2) return r.fail("unsupported version");
//     ...
//   }
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace gatehouse {

// Maps one to one to exit codes (contract) and to protocol errors.
enum class Fault : std::uint8_t {
  malformed,    // input that doesn't follow its format: exit 3
  protocol,     // a well-formed message at the wrong time or with a value that isn't allowed here: exit 3
  denied,       // an answer in the negative: exit 1
  limit,        // more than a stated bound: exit 3
  usage,        // the caller's mistake: an option, a configuration key: exit 2
  environment,  // I/O, network, TLS, TPM, database, permissions: exit 4
  internal,     // our own failure; never leads to allow: exit 4
};

std::string_view name(Fault fault);
int exit_code(Fault fault);

struct Error {
  Fault fault = Fault::internal;
  std::string_view reason;   // literal
  std::string_view spec;     // literal: where the rule is written, e.g. "RFC 5793 4.1"
  std::size_t offset = 0;    // bytes from the start of the outermost buffer
  std::string source{};      // file, peer or session: filled once
  std::string detail{};      // what a library or the system said; never a secret, never raw peer bytes

  Error from(std::string_view who) && {
    if (source.empty()) source = who;
    return std::move(*this);
  }
  Error with(std::string_view more) && {
    detail = more;
    return std::move(*this);
  }
  // "ima.bin: byte 4132: malformed: template name longer than the entry (kernel ima_fs.c)"
  std::string text() const;
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Fault fault, std::string_view reason, std::string_view spec = {},
                                   std::size_t offset = 0) {
  return std::unexpected(Error{fault, reason, spec, offset, {}, {}});
}
inline std::unexpected<Error> fail(Error error) { return std::unexpected(std::move(error)); }
// An environment fault with errno's text as detail.
std::unexpected<Error> fail_errno(std::string_view reason, std::string_view source);

[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace gatehouse

#define GH_CONCAT_(a, b) a##b
#define GH_CONCAT(a, b) GH_CONCAT_(a, b)
// GH_TRY(declaration, expression): `declaration = value`, or return the error.
#define GH_TRY(decl, ...) GH_TRY_(GH_CONCAT(gh_try_, __LINE__), decl, __VA_ARGS__)
#define GH_TRY_(tmp, decl, ...)                                    \
  auto tmp = (__VA_ARGS__);                                        \
  if (!tmp) return std::unexpected(std::move(tmp).error());        \
  decl = *std::move(tmp)
// GH_CHECK(expression): the same without a value.
#define GH_CHECK(...)                                                            \
  do {                                                                           \
    if (auto gh_check_ = (__VA_ARGS__); !gh_check_) return std::unexpected(std::move(gh_check_).error()); \
  } while (false)
// For our own mistakes; on in release; never depends on input.
#define GH_ASSERT(...) \
  do {                 \
    if (!(__VA_ARGS__)) ::gatehouse::assertion_failed(#__VA_ARGS__, __FILE__, __LINE__); \
  } while (false)
