// Says whether an allow was deserved, from the bytes that reached the server alone. It knows what the honest endpoint
// has to show and asks for exactly that:
//
// - What a signature covers has to be what the endpoint sent before anything was changed: the digests of each PCR in
//   their order, the name of each file that references know, firmware log and list where they came raw, the AK, the
//   endpoint's nonce and the quote. It has to be so at the end of some batch: behind complete evidence nothing is asked
//   for any more. What no signature covers (times, symlinks, event types, unknown files' names, the locality hint,
//   reserved bits) may be anything.
// - What an endpoint only claims has to be a good answer to each item that the policy asks for, and nothing that came
//   whole may contradict it: who it is, settings, packages, ports, files, software, commands. Attributes beside a
//   malformed one say nothing, and what comes in segments may have been given up.
//
// It uses the parsers of wire/, and nothing of the server.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/hash.h"
#include "tests/mutated/speakers.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::test {

// What one assessment showed, as far as it matters.
struct Shown {
  std::map<std::uint32_t, std::vector<ByteVector>> boot, ima;  // digests by PCR, as components
  std::set<std::pair<ByteVector, std::string>> names;          // of IMA digests
  std::vector<ByteVector> finals;                              // fields of Simple Evidence Final, without reserved bits
  std::vector<ByteVector> logs, lists, quotes;                 // raw evidence
  std::vector<ByteVector> aiks, nonces;
  std::set<std::string> devices, names_of_products, versions, commands;
  std::vector<std::uint32_t> forwarding, default_password;
  std::vector<std::pair<std::string, std::string>> packages;
  std::vector<patnc::PortFilterEntry> ports;
  std::set<std::string> unknown_sources;
  std::set<ByteVector> file_digests;
  bool package_list = false, port_list = false, software = false;
};
// From whole PT-TLS messages of a client. Segments count always, or only once the server's messages among them have
// asked for a contract: what comes before is cancelled.
enum class Segments : std::uint8_t { joined, agreed, left_out };
bool of_server(Bytes whole);
Shown shown_in(const Messages& messages, Segments segments = Segments::joined);
// Its evidence in all forms that it can be asked for.
void show_evidence(const SmallMachine& machine, Shown& out);

struct Expected {
  Shown honest;  // what the endpoint shows when nothing is changed; its finals, quotes and nonces don't count
  bool everything = false;  // the policy is everything_policy(), else TPMRA alone
  bool attested = true;     // TPMRA is asked for
  bool settings = false;    // FWDEN and PWDEN are
  std::set<std::string> known_paths;
  ByteVector measured_file;  // digest of measured_path
};

// Why the allow wasn't deserved; empty: it was. `said`: by the endpoint, before it was changed; `heard`: what the server
// got to read, and what it said.
std::string undeserved(const Expected& expected, const Messages& said, const Messages& heard);

}  // namespace gatehouse::test
