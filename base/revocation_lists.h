// Certificate revocation lists (RFC 5280 section 5) that came over the network, and the file that they are kept in. No
// network here; OpenSSL stays behind this header.
//
//   GH_TRY(const auto authorities, ListIssuers::load("clients-ca.pem"));
//   GH_TRY(const auto list, authorities.check(body, now));                    // hostile until then
//   GH_TRY(const auto file, with_list(as_text(read_file(path, …)), list));    // what the file is to say
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse {

inline constexpr std::size_t max_list_bytes = std::size_t(64) << 20;

struct RevocationList {
  std::string pem;
  std::string issuer;      // RFC 2253 text, escaped
  std::int64_t since = 0;  // thisUpdate, seconds since 1970
  std::int64_t until = 0;  // nextUpdate
};

// Who may sign lists: the certificates that a setting like pt_tls.client_ca names.
class ListIssuers {
 public:
  // A PEM file, or a directory, as TrustAnchors::load has it.
  static Result<ListIssuers> load(const std::string& ca);
  // `fetched`: one list, DER or PEM, the whole of it. It counts only where one of the issuers signed it, with SHA-256 or
  // better, where it is current at `now` (seconds since 1970, with five minutes for another clock), and is a whole list, no
  // delta. Faults: malformed (can't be read), denied (signature, dates, kind).
  Result<RevocationList> check(Bytes fetched, std::int64_t now) const;

 private:
  struct State;
  explicit ListIssuers(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

// The content of a file of lists with this one in place of the same issuer's; absent: it says so already. Fault::denied
// where the file's is newer: who replays an older list brings nobody back. What isn't a list is dropped from the content.
Result<std::optional<std::string>> with_list(std::string_view content, const RevocationList& list);

// When the first of the lists in this content ends, seconds since 1970; absent: there is none.
std::optional<std::int64_t> first_end(std::string_view content);

}  // namespace gatehouse
