// TLS without a socket, as a server: what EAP-TTLS carries (RFC 5281, RFC 9427).
#pragma once

#include <openssl/types.h>

#include <memory>

#include "server/eap/tunnel.h"
#include "server/tls/tls_context.h"

namespace gatehouse::server {

// Keeps the context.
std::unique_ptr<EapTunnel> make_tls_tunnel(std::shared_ptr<const TlsContext> context);

}  // namespace gatehouse::server
