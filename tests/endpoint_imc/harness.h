// One collector, or a few, against a server by hand: tests/endpoint_client/harness.h without an Attestation IMC.
#pragma once

#include <fstream>

#include "base/hex.h"
#include "tests/endpoint_client/harness.h"
#include "tests/folder.h"

namespace gatehouse::endpoint::test {

struct Collectors {
  explicit Collectors(std::vector<Imc*> imcs, Session::Config config = {})
      : session(std::move(config), std::move(imcs)), server(session) {
    server.negotiate();
  }
  Session session;
  Server server;
};

using gatehouse::test::Folder;

inline std::string hex_of(Bytes bytes) { return to_hex(bytes); }

// The attributes of one subtype in the client's latest batch, as one PA-TNC message would hold them behind its header.
inline std::string wire_of(const std::vector<OwnAttribute>& attributes) {
  Writer w;
  for (const OwnAttribute& a : attributes) patnc::append_attribute(w, a.flags, a.vendor, a.type, a.value);
  return to_hex(w.view());
}

}  // namespace gatehouse::endpoint::test
