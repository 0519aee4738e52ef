// A session's result as EAT Attestation Result (EAR, draft-ietf-rats-ear-04): what relying parties of other makes read. A
// JSON Web Token, signed by the server's key. What stands for what: docs/formats/ear.md.
//
//   GH_TRY(const JwsSigner signer, JwsSigner::read_file("server.key"));
//   GH_TRY(const std::string token, ear_token(record_line(record, false), signer));
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/jws.h"

namespace gatehouse::server {

inline constexpr std::string_view ear_profile = "tag:ietf.org,2026:rats/ear#04";
// RFC 9782.
inline constexpr std::string_view ear_media_type = "application/eat+jwt; eat_profile=\"tag:ietf.org,2026:rats/ear#04\"";

// The claims-set of a result, which is given as record_line() makes it. A session without a verdict has the status
// "none". Malformed: it isn't such a line.
Result<std::string> ear_claims(std::string_view line);
Result<std::string> ear_token(std::string_view line, const JwsSigner& signer);

}  // namespace gatehouse::server
