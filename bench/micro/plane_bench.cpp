// The evidence plane alone, as the wire feeds it and with a warm verdict cache: PA-TNC messages in, entries parsed, looked
// up and extended out. `plane` drives sessions by hand, as the pipeline does with segments of this size, on one or two
// threads that share the cache alone; `graph` has sixteen sessions at once in a pipeline of one or two threads, to the
// verdict. Items are list entries: those of the recorded list, or 100,000 in its shape. `bare` is what no plane can do
// without, in its best known shape: what two threads of it bring over one is what this machine scales.
//   items/s a core = items_per_second of CPU time, scaling = items_per_second of real time with 2 threads ÷ 1
#include <benchmark/benchmark.h>

#include <array>
#include <future>
#include <list>
#include <random>

#include "base/file.h"
#include "base/sha256_chains.h"
#include "pipeline/graph/judgement.h"
#include "tests/pipeline_graph/fake_view.h"
#include "wire/patnc/patnc.h"
#include "wire/pts/pts.h"
#include "wire/ima/ima.h"

namespace gatehouse {
namespace {

const std::string data_folder = GATEHOUSE_TEST_DATA "/interop/";
ByteVector file_of(const std::string& path) { return read_file(path, std::size_t(1) << 30).value(); }

constexpr std::size_t attributes_a_message = 250;
constexpr std::size_t sessions_at_once = 16;

// The recorded list's entries over and over, from the second time on under names of their own. 1,625 of 1,732 are known.
struct Evidence {
  std::vector<ByteVector> messages;
  std::shared_ptr<testing::FakeView> view = std::make_shared<testing::FakeView>();
  std::shared_ptr<pipeline::VerdictCache> cache = std::make_shared<pipeline::VerdictCache>();
  std::size_t entries = 0;

  explicit Evidence(std::size_t count) : entries(count) {
    view->add_rows(data_folder + "evidence/base/refs.tsv", "Debian 12 x86_64");
    const ByteVector list = file_of(data_folder + "evidence/base/binary_runtime_measurements");
    Hasher hasher(HashAlgorithm::sha256);
    Writer message;
    std::size_t attributes = 0;
    const auto end_message = [&] {
      messages.push_back(std::move(message).take());
      message = Writer();
      attributes = 0;
    };
    for (std::size_t round = 0, n = 0; n < count; ++round) {
      ima::Cursor cursor(ima::Cursor::Form::binary);
      cursor.feed(list);
      cursor.end();
      while (const ima::Entry* const entry = *cursor.next()) {
        if (n == count) break;
        if (round != 0 && entry->fields.name == ima::boot_aggregate) continue;
        std::string file(entry->fields.name);
        Digest digest = hasher(entry->template_data);
        if (round != 0) {
          const auto found = view->references_of_path("Debian 12 x86_64", file);
          file += "." + std::to_string(round);
          Writer data;
          ima::append_ng_template_data(data, entry->fields.algorithm, entry->fields.digest, file);
          digest = hasher(data.view());
          if (!found->empty()) {
            refdb::Reference known = found->front();
            known.path = file;
            known.digests = {{HashAlgorithm::sha256, Digest(entry->fields.digest)}};
            view->add(std::move(known));
          }
        }
        if (attributes == 0) {
          message.put(std::uint32_t{0x01000000});
          message.put(std::uint32_t(messages.size() + 1));
        }
        pts::SimpleComponentEvidence e;
        e.component = pts::component_ima;
        e.pcr = 10;
        e.algorithm = pts::algorithm_bit(HashAlgorithm::sha256);
        e.transform = 1;
        e.time = "2026-11-24T00:00:00Z";
        e.validation = pts::Validation::passed;
        const std::string uri = std::string(entry->fields.algorithm) + ":" + file;
        e.policy_uri = uri;
        e.measurement = digest.view();
        Writer value;
        pts::append_simple_component_evidence(value, e);
        patnc::append_attribute(message, 0, patnc::vendor_tcg, pts::type::simple_component_evidence, value.view());
        ++n;
        if (++attributes == attributes_a_message) end_message();
      }
    }
    if (attributes != 0) end_message();
    run([](const ByteVector& one) { return one; });  // warms the cache
  }

  pipeline::Context context() const {
    pipeline::Context c;
    c.product = "Debian 12 x86_64";
    c.references = view;
    c.bank = HashAlgorithm::sha256;
    return c;
  }
  // One session's evidence; `bring` makes a message that is to be judged.
  template <class Bring>
  void run(Bring bring) const {
    pipeline::Judgement judgement(context(), cache);
    for (const ByteVector& message : messages) {
      ByteVector one = bring(message);
      judge(judgement, one);
    }
  }
  // That of several sessions, message by message in turn, to their verdicts.
  void run(std::vector<std::vector<ByteVector>>& sessions) const {
    pipeline::ChainPool chains;
    std::list<pipeline::Judgement> judgements;
    for (std::size_t s = 0; s < sessions.size(); ++s) judgements.emplace_back(context(), cache, nullptr, pipeline::Proved(), &chains);
    for (std::size_t m = 0; m < messages.size(); ++m) {
      auto judgement = judgements.begin();
      for (auto& bytes : sessions) judge(*judgement++, bytes[m]);
    }
    for (auto& judgement : judgements) benchmark::DoNotOptimize(judgement.conclude({}));
  }

 private:
  static void judge(pipeline::Judgement& judgement, ByteVector& one) {
    pipeline::Segment segment;
    segment.bytes = std::move(one);
    const auto batch = judgement.parse(segment);
    if (!batch) throw std::runtime_error(batch.error().text());
    if (const auto judged = judgement.look_up(**batch); !judged) throw std::runtime_error(judged.error().text());
    judgement.extend_looked_up(**batch);
    one = std::move((*batch)->evidence);
  }
};

const Evidence& evidence(std::size_t entries) {
  const auto of = [](auto count) -> const Evidence& {
    static const Evidence one(count());
    return one;
  };
  return entries == 1732 ? of([] { return std::size_t(1732); }) : of([] { return std::size_t(100'000); });
}

// Per extension, each kernel of this CPU with as many chains as it advances at once.
void chains(benchmark::State& state) {
  if (std::size_t(state.range(0)) >= sha256_kernels().size()) return state.SkipWithError("this CPU has no such kernel");
  const Sha256Kernel& kernel = sha256_kernels()[std::size_t(state.range(0))];
  constexpr std::size_t length = 1732;
  std::vector<ByteVector> digests(kernel.width, ByteVector(length * sha256_size, std::byte{7}));
  std::vector<std::array<std::byte, sha256_size>> values(kernel.width);
  std::vector<Sha256Chain> chains(kernel.width);
  for (auto _ : state) {
    for (std::size_t c = 0; c < kernel.width; ++c) chains[c] = {values[c].data(), digests[c]};
    kernel.advance(chains.data(), kernel.width, length);
  }
  state.SetItemsProcessed(std::int64_t(state.iterations()) * std::int64_t(kernel.width * length));
  state.SetLabel(std::string(kernel.name));
}
BENCHMARK(chains)->DenseRange(0, 3);

void plane(benchmark::State& state) {
  const Evidence& e = evidence(std::size_t(state.range(0)));
  // The protocol plane has written what is judged just before: of a long list no more than of a short one comes from far away.
  const auto bring = [&state](const ByteVector& message) {
    state.PauseTiming();
    ByteVector written = message;
    state.ResumeTiming();
    return written;
  };
  for (auto _ : state) e.run(bring);
  state.SetItemsProcessed(std::int64_t(state.iterations()) * std::int64_t(e.entries));
}
BENCHMARK(plane)->Name("evidence_plane/verdicts")->ArgName("entries")->Arg(1732)->Arg(100'000)->Threads(1)->Threads(2)->UseRealTime()->Unit(benchmark::kMicrosecond);

void sessions(benchmark::State& state) {
  const Evidence& e = evidence(std::size_t(state.range(0)));
  std::vector<std::vector<ByteVector>> messages(sessions_at_once, e.messages);
  for (auto _ : state) e.run(messages);
  state.SetItemsProcessed(std::int64_t(state.iterations()) * std::int64_t(sessions_at_once * e.entries));
}
BENCHMARK(sessions)->Name("evidence_plane/sessions")->ArgName("entries")->Arg(1732)->Threads(1)->Threads(2)->UseRealTime()->Unit(benchmark::kMicrosecond);

void graph(benchmark::State& state) {
  const Evidence& e = evidence(std::size_t(state.range(0)));
  pipeline::Pipeline graph({.threads = unsigned(state.range(1))});
  const auto round = [&](std::vector<std::vector<pipeline::Segment>> segments) {
    std::vector<std::unique_ptr<pipeline::Evidence>> open;
    std::vector<std::promise<void>> done(segments.size());
    for (std::size_t s = 0; s < segments.size(); ++s)
      open.push_back(graph.open(e.context(), [&done, s](const Result<pipeline::Outcome>&) { done[s].set_value(); }));
    for (std::size_t m = 0; m < e.messages.size(); ++m)
      for (std::size_t s = 0; s < segments.size(); ++s) open[s]->submit(std::move(segments[s][m]));
    for (const auto& one : open) one->finish({});
    for (std::promise<void>& one : done) one.get_future().wait();
  };
  const auto copies = [&](std::size_t sessions) {
    std::vector<std::vector<pipeline::Segment>> out(sessions);
    for (auto& one : out)
      for (const ByteVector& message : e.messages) one.push_back({pipeline::Stream::ima, pipeline::Format::pa_tnc, message, 0});
    return out;
  };
  round(copies(1));
  for (auto _ : state) {
    state.PauseTiming();
    auto segments = copies(std::size_t(state.range(2)));
    state.ResumeTiming();
    round(std::move(segments));
  }
  state.SetItemsProcessed(std::int64_t(state.iterations()) * state.range(2) * std::int64_t(e.entries));
}
BENCHMARK(graph)
    ->ArgNames({"entries", "threads", "sessions"})
    ->Args({1732, 1, 1})->Args({1732, 1, sessions_at_once})->Args({1732, 2, sessions_at_once})
    ->Args({100'000, 1, sessions_at_once})->Args({100'000, 2, sessions_at_once})
    ->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMicrosecond);

// Each byte of the messages once, each digest asked for in a table of 16-byte tags, and sixteen chains extended.
void bare(benchmark::State& state) {
  const Evidence& e = evidence(std::size_t(state.range(0)));
  struct Slot {
    std::uint64_t tag[2], value;
  };
  static const auto table = [] {
    std::vector<Slot> out(std::size_t(1) << 16);
    std::mt19937_64 random(1);
    for (std::size_t i = 0; i < out.size(); i += 2) out[i] = {{random(), random()}, 1};
    return out;
  }();
  const std::vector<ByteVector> messages = e.messages;
  const ByteVector digests(e.entries / sessions_at_once * sha256_size, std::byte{7});
  std::byte values[sessions_at_once][sha256_size] = {};
  for (auto _ : state) {
    std::uint64_t sum = 0;
    for (const ByteVector& message : messages)
      for (std::size_t i = 0; i + 8 <= message.size(); i += 8) {
        std::uint64_t word;
        std::memcpy(&word, message.data() + i, sizeof word);
        sum += word;
      }
    for (std::size_t n = 0; n < e.entries; ++n) {
      const Slot& slot = table[n * 0x9E3779B97F4A7C15U >> 48];
      sum += slot.tag[0] == n && slot.tag[1] == n ? slot.value : 0;
    }
    std::array<Sha256Chain, sessions_at_once> chains;
    for (std::size_t c = 0; c < chains.size(); ++c) chains[c] = {values[c], digests};
    extend_chains(chains);
    benchmark::DoNotOptimize(sum);
    benchmark::DoNotOptimize(values);
  }
  state.SetItemsProcessed(std::int64_t(state.iterations()) * std::int64_t(e.entries));
}
BENCHMARK(bare)->Name("evidence_plane/primitives")->ArgName("entries")->Arg(1732)->Arg(100'000)->Threads(1)->Threads(2)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace gatehouse
