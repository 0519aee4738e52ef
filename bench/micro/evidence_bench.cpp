// The evidence plane's parts on the recorded evidence: parsing, template hashing, extension, look-up, the quote, and one
// whole attestation in process. Run with --benchmark_enable_random_interleaving=true --benchmark_repetitions=5.
#include <benchmark/benchmark.h>

#include "tests/server_session/conversation.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"

namespace gatehouse {
namespace {

const ByteVector& list() {
  static const ByteVector bytes = test::file(test::interop("evidence/base/binary_runtime_measurements"));
  return bytes;
}

void parse_list(benchmark::State& state) {
  std::int64_t entries = 0;
  for (auto _ : state) {
    ima::Cursor cursor(ima::Cursor::Form::binary);
    cursor.feed(list());
    cursor.end();
    while (*cursor.next() != nullptr) ++entries;
  }
  state.SetItemsProcessed(entries);
  state.SetBytesProcessed(std::int64_t(state.iterations()) * std::int64_t(list().size()));
}
BENCHMARK(parse_list);

void template_hash(benchmark::State& state) {
  Hasher hasher(HashAlgorithm::sha256);
  const ByteVector data(73, std::byte{1});
  for (auto _ : state) benchmark::DoNotOptimize(hasher(data));
  state.SetItemsProcessed(std::int64_t(state.iterations()));
}
BENCHMARK(template_hash);

void extend(benchmark::State& state) {
  Hasher hasher(HashAlgorithm::sha256);
  Digest pcr = Digest::filled(32, std::byte{0});
  const Digest digest = Digest::filled(32, std::byte{7});
  for (auto _ : state) hasher.extend(pcr, digest.view());
  state.SetItemsProcessed(std::int64_t(state.iterations()));
}
BENCHMARK(extend);

// Template digests of the list's files: 1,625 of 1,732 are known.
void look_up_templates(benchmark::State& state) {
  static test::World world(1);
  std::vector<Digest> keys;
  ima::Cursor cursor(ima::Cursor::Form::binary);
  cursor.feed(list());
  cursor.end();
  Hasher hasher(HashAlgorithm::sha256);
  while (const ima::Entry* entry = *cursor.next()) keys.push_back(hasher(entry->template_data));
  std::vector<refdb::TemplateHit> hits(keys.size());
  for (auto _ : state) (void)world.references->find_templates("Debian 12 x86_64", HashAlgorithm::sha256, keys, hits);
  state.SetItemsProcessed(std::int64_t(state.iterations()) * std::int64_t(keys.size()));
}
BENCHMARK(look_up_templates)->Unit(benchmark::kMicrosecond);

void verify_quote(benchmark::State& state) {
  static const test::Machine machine = test::machine(endpoint::KeyAlgorithm::rsassa);
  const ByteVector nonce(32, std::byte{1});
  const auto quote = machine.tpm->quote(nonce, HashAlgorithm::sha256, 0x47FF);
  const auto signature = tpm::parse_signature(quote->signature);
  for (auto _ : state)
    benchmark::DoNotOptimize(machine.tpm->ak().verify(SignatureScheme::rsassa, HashAlgorithm::sha256, quote->attest, signature->rsa));
}
BENCHMARK(verify_quote)->Unit(benchmark::kMicrosecond);

void whole_attestation(benchmark::State& state) {
  static test::World world(1);
  static const test::Machine machine = [] {
    test::Machine m = test::machine(endpoint::KeyAlgorithm::rsassa);
    world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
    test::converse(world, m);
    world.approve(m.tpm->ak().key_id());
    return m;
  }();
  for (auto _ : state) test::converse(world, machine);
}
BENCHMARK(whole_attestation)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace gatehouse

BENCHMARK_MAIN();
