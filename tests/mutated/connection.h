// One conversation with the session core: who speaks in it, what the server got to read, and what came of it.
//
//   Connection c(world, role);
//   for (const ByteVector& m : c.speaker->start()) c.session.feed(m), c.settle();
//   c.speaker->hear(c.answer()); ...
//   c.end();
//   c.access, c.allowed
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/mutated/oracle.h"
#include "tests/mutated/speakers.h"

namespace gatehouse::test {

struct Device {
  std::string id;
  PublicKey key;
  std::vector<std::string> identities;
  std::optional<pipeline::Baseline> baseline{};
  friend bool operator==(const Device& a, const Device& b) {
    return a.id == b.id && a.identities == b.identities && a.baseline == b.baseline;
  }
};

struct Role {
  std::string name;
  unsigned weight;
  server::Settings settings;
  server::Peer peer;
  std::optional<Device> device;  // as enrolled before each conversation; empty: nobody knows it
  std::function<std::unique_ptr<Speaker>()> speaker;
  const Recording* recording = nullptr;
  std::size_t turns = 0;
  bool allowed = false;  // when nothing is changed
  Expected expected{};
};

// One connection of a speaker to a session.
class Connection {
 public:
  Connection(World& world, const Role& role)
      : host(world), speaker(role.speaker()), session(prepared(host, role), role.settings, *world.state, role.peer) {
    host.on_message = [this](server::Direction, Bytes whole) { heard.push_back({session.id(), to_vector(whole)}); };
    host.on_fact = [this](std::string_view fact, Bytes) {
      protocol_error = protocol_error || fact == "protocol_error";
    };
    host.on_result = [this](const server::SessionResult& r) {
      touched = touched || r.quote || r.quote_key || r.pending_key || r.proposed_baseline || r.software ||
                !r.learned_files.empty();
      constexpr std::string_view key = "\"recommendation\":\"";
      const std::size_t at = r.verdict.find(key);
      if (at == std::string::npos) return;
      recorded = r.verdict.substr(at + key.size(), r.verdict.find('"', at + key.size()) - at - key.size());
      // What comes later doesn't count any more.
      if (recorded == "allow") allowed.push_back({said, heard_for(r.intent.session)});
    };
  }
  ~Connection() { end(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Until the session wants more; false: it neither does, nor is anything under way.
  bool settle() {
    while (!session.ended() && !session.wants_data())
      if (!host.carry(session)) return session.ended() || session.wants_data();
    return true;
  }
  void end() {
    if (!session.ended()) session.on_peer_gone();
    while (host.carry(session)) {
    }
  }
  // What the server said since it was last asked; access recommendations are noted.
  ByteVector answer() {
    ByteVector out = std::exchange(host.out, {});
    for (const ByteVector& whole : messages_of(out)) {
      const auto batch = pbtnc::parse_batch(Bytes(whole).subspan(pttls::header_size), false);
      if (!batch || batch->type != pbtnc::BatchType::result) continue;
      for (const pbtnc::Message& m : batch->messages)
        if (m.is(pbtnc::vendor_ietf, pbtnc::type::access_recommendation)) access = pbtnc::access_recommendation(m);
      told += access == 1U ? 1 : 0;
    }
    return out;
  }
  // What came for this assessment, the batch that began it included, and all that the server said until then.
  Messages heard_for(const std::string& id) const {
    Messages out;
    for (std::size_t i = 0; i < heard.size(); ++i) {
      const bool begins = i + 1 < heard.size() && heard[i].first != id && heard[i + 1].first == id &&
                          is_retry(heard[i].second);
      const bool alone = i + 1 == heard.size() && heard[i].first != id && is_retry(heard[i].second);
      if (heard[i].first == id || begins || alone || of_server(heard[i].second)) out.push_back(heard[i].second);
    }
    return out;
  }
  static bool is_retry(Bytes whole) {
    return whole.size() > pttls::header_size + 3 &&
           (whole[pttls::header_size + 3] & std::byte{0x0F}) == std::byte(pbtnc::BatchType::cretry);
  }

  // A recorded client's answers are good for the recorded nonce and request.
  static LoopHost& prepared(LoopHost& host, const Role& role) {
    if (role.recording == nullptr) return host;
    host.nonce = role.recording->nonce;
    host.secret = role.recording->secret;
    host.request_id = 11;
    return host;
  }

  LoopHost host;
  std::unique_ptr<Speaker> speaker;
  std::vector<std::pair<std::string, ByteVector>> heard;     // both ways, with the session at that time
  Messages said;                                             // by the speaker, in this assessment
  struct Allowed {
    Messages said, heard;  // until then
  };
  std::vector<Allowed> allowed;         // by each record that says so
  std::string recorded;                 // recommendation of the last record
  std::optional<std::uint32_t> access;  // of the last RESULT batch
  std::size_t told = 0;                 // RESULT batches that allow
  bool protocol_error = false, touched = false;
  server::Session session;  // last: it speaks to all of the above
};

}  // namespace gatehouse::test
