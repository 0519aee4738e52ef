#pragma once

#include "tests/server_session/conversation.h"

namespace gatehouse::test {

// The client's side of a recorded conversation, with the recorded nonce and DH secret, and with the SWIMA request id that
// its answers name, as whoever TLS says.
Outcome replay(World& world, const std::string& folder, std::optional<std::uint32_t> request_id = std::nullopt,
               const server::Peer& peer = {"127.0.0.1:1", "", "", {}});

}  // namespace gatehouse::test
