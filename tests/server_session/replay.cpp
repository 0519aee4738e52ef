#include "tests/server_session/replay.h"

#include <boost/json.hpp>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/hex.h"

namespace gatehouse::test {

Outcome replay(World& world, const std::string& folder, std::optional<std::uint32_t> request_id, const server::Peer& peer) {
  std::stringstream text;
  text << std::ifstream(interop(folder + "/facts.json")).rdbuf();
  const auto facts = boost::json::parse(text.str()).as_object();
  LoopHost host(world);
  host.nonce = *from_hex(std::string(facts.at("initiator_nonce").as_string()));
  host.request_id = request_id;
  host.secret = *from_hex(std::string(facts.at("dh_secret").as_string()));
  server::Session session(host, world.settings, *world.state, peer);
  const std::string id = session.id();
  const auto feed = [&](pttls::Type type, Bytes value) {
    Writer w;
    pttls::append_message(w, type, 0, value);
    session.feed(w.view());
    while (!session.wants_data() && !session.ended() && host.carry(session)) {
    }
  };
  Writer version;
  pttls::append_version_request(version, {});
  feed(pttls::Type::version_request, version.view());
  std::vector<std::string> batches;
  for (const auto& entry : std::filesystem::directory_iterator(interop(folder + "/batches")))
    if (entry.path().string().find("-c2s-") != std::string::npos) batches.push_back(entry.path());
  std::sort(batches.begin(), batches.end());
  for (const std::string& batch : batches) feed(pttls::Type::pb_tnc_batch, file(batch));
  if (!session.ended()) session.on_peer_gone();
  while (host.carry(session)) {
  }
  Outcome out;
  if (const auto record = world.state->session(id); record && *record) {
    auto verdict = pipeline::verdict_from_json((*record)->verdict);
    if (verdict) out.verdict = std::move(*verdict);
  }
  out.lines = std::move(host.lines);
  return out;
}

}  // namespace gatehouse::test
