// The evidence plane's parts on the recorded evidence: parsing, template hashing, extension, look-up (hot, warm, cold,
// missed), the quote, and one whole attestation in process. Run with --benchmark_enable_random_interleaving=true --benchmark_repetitions=5.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "pipeline/lookup/lookup.h"
#include "refdb/store/open.h"
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

// The list's files as the evidence plane sees them: 1,625 of 1,732 are known to the references of `world()`.
const test::World& world() {
  static const test::World one(1);
  return one;
}
pipeline::ImaBatch entries() {
  pipeline::ImaBatch out;
  Hasher hasher(HashAlgorithm::sha256);
  ima::Cursor cursor(ima::Cursor::Form::binary);
  cursor.feed(list());
  cursor.end();
  while (const ima::Entry* entry = *cursor.next()) {
    pipeline::ImaItem& item = out.items.emplace_back();
    item.index = out.items.size() - 1;
    item.template_hash = hasher(entry->template_data);
    item.name = out.text.keep(entry->fields.name);
    item.algorithm = out.text.keep(entry->fields.algorithm);
    pipeline::ListFields& fields = out.fields.emplace_back();
    fields.file_digest = Digest(entry->fields.digest);
    item.fields = &fields;
    item.plain_ng = true;
  }
  return out;
}
// Each iteration judges the batch against what `references` gives for it; that isn't counted.
template <class Prepare>
void judge(benchmark::State& state, const pipeline::ImaBatch& batch, Prepare&& references) {
  for (auto _ : state) {
    state.PauseTiming();
    {
      const pipeline::References given = references();
      state.ResumeTiming();
      const auto judged = pipeline::judge(given, batch);
      if (!judged) state.SkipWithError(judged.error().text().c_str());
      state.PauseTiming();
    }
    state.ResumeTiming();
  }
  state.SetItemsProcessed(std::int64_t(state.iterations()) * std::int64_t(batch.items.size()));
}
pipeline::References references(std::shared_ptr<const refdb::View> view, std::shared_ptr<pipeline::VerdictCache> cache) {
  pipeline::References out;
  out.view = std::move(view);
  out.cache = std::move(cache);
  out.product = "Debian 12 x86_64";
  return out;
}

// Hot: a list that the fleet has shown before.
void look_up_hot(benchmark::State& state) {
  const auto hot = references(world().references, std::make_shared<pipeline::VerdictCache>());
  judge(state, entries(), [&] { return hot; });
}
BENCHMARK(look_up_hot)->Unit(benchmark::kMicrosecond);

// Warm: the first such list; the store's blocks are in memory.
void look_up_warm(benchmark::State& state) {
  judge(state, entries(), [] { return references(world().references, nullptr); });
}
BENCHMARK(look_up_warm)->Unit(benchmark::kMicrosecond);

// Cold: the first such list after the server's start, nothing of the store in memory, the kernel's cache included.
void look_up_cold(benchmark::State& state) {
  const std::filesystem::path folder = world().folder / "refdb";
  judge(state, entries(), [&] {
    for (const auto& file : std::filesystem::recursive_directory_iterator(folder)) {
      if (!file.is_regular_file()) continue;
      const int fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
      if (fd < 0 || ::fsync(fd) != 0 || ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        state.SkipWithError("the store's files can't be taken out of the cache");
      if (fd >= 0) ::close(fd);
    }
    auto view = refdb::open_view(folder);
    if (!view) state.SkipWithError(view.error().text().c_str());
    return references(view ? *view : nullptr, nullptr);
  });
}
BENCHMARK(look_up_cold)->Unit(benchmark::kMicrosecond);

// Miss: as many files that no reference knows, each seen for the first time.
void look_up_miss(benchmark::State& state) {
  pipeline::ImaBatch unknown = entries();
  Hasher hasher(HashAlgorithm::sha256);
  for (pipeline::ImaItem& item : unknown.items) {
    item.name = unknown.text.keep("/opt/site/" + std::to_string(item.index));
    pipeline::ListFields& fields = unknown.fields[std::size_t(item.index)];
    fields.file_digest = hasher(fields.file_digest.view());
    item.template_hash = pipeline::template_hash(hasher, item, fields.file_digest.view());
  }
  judge(state, unknown, [] { return references(world().references, std::make_shared<pipeline::VerdictCache>()); });
}
BENCHMARK(look_up_miss)->Unit(benchmark::kMicrosecond);

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
    world.settings.keep = server::Keep::none;
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
