// Makes the small store that tests/data/state/vN keeps of a format (scripts/make_state_fixture.sh).
//   make_state_fixture DIRECTORY KEYS
// KEYS is tests/data/interop/keys. The store is made by this version in its format; times are fixed.
#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>

#include "base/file.h"
#include "base/hex.h"
#include "server/state/state.h"

namespace {

using namespace gatehouse;
using namespace gatehouse::server;

constexpr std::int64_t start = 1'700'000'000'000;

template <class T>
T sure(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().text().c_str());
    std::exit(4);
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

PublicKey key_of(const std::string& path) {
  const ByteVector pem = sure(read_file(path, 1 << 20));
  return sure(PublicKey::from_pem(as_text(pem)));
}

pipeline::Baseline baseline(std::uint8_t seed) {
  pipeline::Baseline out{.bank = HashAlgorithm::sha256, .events = {}};
  out.events.push_back({0, {Digest::filled(32, std::byte{seed}), Digest::filled(32, std::byte{1})}});
  out.events.push_back({7, {Digest::filled(32, std::byte{2})}});
  return out;
}

SessionResult session(const std::string& id, const std::string& device, std::int64_t started) {
  SessionResult out;
  out.intent = {.session = id, .device = device, .product = "Debian 12 x86_64", .peer = "192.0.2.7:49152",
                .identity = "CN=trusted", .identity_type = "certificate", .key_pin = {}, .policy = "default",
                .generation = 7, .started = started};
  out.finished = started + 100;
  out.recommendation = pipeline::Recommendation::allow;
  out.verdict = "{\"session\":\"" + id + R"(","device":"d","product":"p","recommendation":"allow","evaluation":"compliant"})";
  return out;
}

void commit(State& state, SessionResult result) {
  std::promise<Result<void>> done;
  state.commit_result(std::move(result), [&](Result<void> outcome) { done.set_value(std::move(outcome)); });
  sure(done.get_future().get());
}

// What the operator decided.
void enrol(State& state, const std::string& keys) {
  const PublicKey rsa = key_of(keys + "/rsa/ak.pem"), ecc = key_of(keys + "/ecc/ak.pem");
  Enrolment trusted;
  trusted.device = "d-trusted";
  trusted.key = SeenKey{.key = ecc, .object_attributes = 0x00050072, .name_algorithm = HashAlgorithm::sha256};
  trusted.product = "Debian 12 x86_64";
  trusted.identities = {"CN=trusted", "carol"};
  trusted.trust = true;
  trusted.approved_baseline = baseline(1);
  sure(state.enrol_blocking(trusted));
  Enrolment revoked;
  revoked.device = "d-revoked";
  revoked.key = SeenKey{.key = rsa, .object_attributes = std::nullopt, .name_algorithm = std::nullopt};
  revoked.trust = true;
  sure(state.enrol_blocking(revoked));
  sure(state.revoke_blocking("d-revoked"));
  Enrolment by_id;
  by_id.device = std::string(40, 'e');
  by_id.trust = true;
  sure(state.enrol_blocking(by_id));
}

// What sessions left.
void attest(State& state, const std::string& keys) {
  const PublicKey ecc = key_of(keys + "/ecc/ak.pem");
  // Spec part 2 §11.5: the key of the worked example.
  const ByteVector x = sure(from_hex("e474f0b966e8603a5bf65c47d49b4892d77b0fd03d3e77752b39cd20bc4c6a09"));
  const ByteVector y = sure(from_hex("4349fb24d4fa5e44bdb86a3c0d8a8e810d5c2d86cca858fc11cf3b17e74bd1d3"));
  const PublicKey third = sure(PublicKey::from_ecc(KeyType::ecc_p256, x, y));
  SessionResult pending = session("s-pending", "d-pending", start + 1000);
  pending.pending_key = SeenKey{.key = third, .object_attributes = std::nullopt, .name_algorithm = std::nullopt};
  commit(state, std::move(pending));
  SessionResult good = session("s-good", "d-trusted", start + 2000);
  good.quote_key = ecc;
  good.quote = pipeline::LastQuote{1'605'240'773, 275, 0, 0x0001010102000000};
  good.proposed_baseline = baseline(2);
  good.timing.emplace();
  for (std::size_t i = 0; i < good.timing->spent.size(); ++i) good.timing->spent[i] = std::chrono::nanoseconds(i + 1);
  commit(state, std::move(good));
  SessionResult kept = session("s-good-2", "d-trusted", start + 3000);
  kept.enforced = false;
  auto evidence = std::make_shared<EvidenceRecord>();
  evidence->head = to_vector(as_bytes("head"));
  evidence->pieces = {ByteVector(4000, std::byte{1}), to_vector(as_bytes("small")), ByteVector(4000, std::byte{1})};
  kept.evidence = std::move(evidence);
  commit(state, std::move(kept));
  std::promise<Result<void>> noted;
  state.note_shadow("s-good-2", "{}", [&](Result<void> outcome) { noted.set_value(std::move(outcome)); });
  sure(noted.get_future().get());
  std::promise<Result<void>> begun;
  state.begin_session(session("s-open", "d-trusted", start + 4000).intent,
                      [&](Result<void> outcome) { begun.set_value(std::move(outcome)); });
  sure(begun.get_future().get());
}

void stage(State& state, SoftwareChunk chunk) {
  std::promise<Result<void>> done;
  state.stage_software(std::move(chunk), [&](Result<void> outcome) { done.set_value(std::move(outcome)); });
  sure(done.get_future().get());
}

SoftwareRecord software(const std::string& package, std::uint32_t number) {
  return {
      .source = 1, .software_id = "strongswan.org__Debian_12-x86_64-" + package, .record_id = number, .locator = {}};
}

// An inventory, an upgrade, a tag and the results of policy items; and what a session that was cut had staged.
void take_inventory(State& state, const std::string& keys) {
  const PublicKey ecc = key_of(keys + "/ecc/ak.pem");
  SessionResult first = session("s-inventory", "d-trusted", start + 5000);
  first.quote_key = ecc;
  first.software = SoftwareUpdate{.epoch = 0x38cd4cc6, .last_eid = 322, .inventory = true, .staged_installed = 2};
  first.items = {{.policy = "software",
                  .type = "SWIDT",
                  .recommendation = pipeline::Recommendation::allow,
                  .evaluation = pipeline::Evaluation::compliant,
                  .text = "received inventory of 2 SW IDs and 0 SWID tags"}};
  stage(state, {.session = "s-inventory",
                .device = "d-trusted",
                .installed = {software("dpkg-1.21.22", 1), software("adduser-3.134", 2)}});
  commit(state, std::move(first));
  SessionResult second = session("s-events", "d-trusted", start + 6000);
  second.quote_key = ecc;
  second.software = SoftwareUpdate{.epoch = 0x38cd4cc6, .last_eid = 323, .events = true, .staged_events = 2};
  stage(state, {.session = "s-events",
                .device = "d-trusted",
                .events = {{.eid = 323,
                            .time = start - 7000,
                            .action = SoftwareAction::deletion,
                            .record = software("dpkg-1.21.22", 1)},
                           {.eid = 323,
                            .time = start - 7000,
                            .action = SoftwareAction::creation,
                            .record = software("dpkg-1.21.23", 3)}},
                .tags = {{.software_id = "strongswan.org__Debian_12-x86_64-dpkg-1.21.23",
                          .source = 1,
                          .content = to_vector(as_bytes("<SoftwareIdentity/>"))}}});
  commit(state, std::move(second));
  stage(state, {.session = "s-cut", .device = "d-trusted", .installed = {software("never-1", 9)}});
}

// A device of a model, whose update is announced, and a suspended one; since format 5.
void decide(State& state) {
  const Author alice{.by = "alice", .why = "fixture"};
  sure(state.alter_blocking("d-trusted", std::nullopt, "Model 1", std::nullopt, alice));
  sure(state.announce_blocking("d-trusted", std::nullopt, start + 86'400'000, alice));
  sure(state.change_state_blocking(std::string(40, 'e'), DeviceState::suspended, alice));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  StateOptions options;
  options.path = argv[1];
  options.create = true;
  options.now = [] { return start; };
  // Opened again between the two, the store has a sorted table and a log.
  enrol(*sure(State::open(options)), argv[2]);
  {
    const auto state = sure(State::open(options));
    attest(*state, argv[2]);
    take_inventory(*state, argv[2]);
    decide(*state);
  }
  return 0;
}
