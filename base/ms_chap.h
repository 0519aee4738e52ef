// What MSCHAPv2 computes (RFC 2759), on MD4, SHA-1 and DES: broken one and all, so only inside a tunnel whose server the
// client has checked. All that a server has to keep of a password is its NT hash, which is as good as the password here.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace gatehouse {

using NtHash = std::array<std::byte, 16>;
using MsChapResponse = std::array<std::byte, 24>;

// MD4 of the password in UTF-16, little-endian. nullopt: it isn't UTF-8, or longer than 256 characters.
std::optional<NtHash> nt_hash(std::string_view password);
// Challenges of 16 bytes. `user`: without a domain in front of it (section 8.2).
MsChapResponse ms_chap_response(Bytes authenticator_challenge, Bytes peer_challenge, std::string_view user, const NtHash& hash);
// "S=" and 40 hexadecimal digits (section 8.7): what proves to the client that the server knows the hash, too.
std::string ms_chap_proof(const NtHash& hash, const MsChapResponse& response, Bytes authenticator_challenge, Bytes peer_challenge,
                          std::string_view user);
// What is behind the last backslash: names may come with a domain.
std::string_view without_domain(std::string_view user);

}  // namespace gatehouse
