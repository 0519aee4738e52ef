// Verdicts that depend on what they must not: randomised attestations, each judged alone and then by graphs of 1, 2 and 8
// threads, with and without the verdict cache, cut anew each time and beside others, and twice where what is proved is
// found again. The verdicts' bytes are compared,
// and so is what would be learned of each: baseline and clock, or the error.
//
//   randomised_attestations                              a few thousand, as a test
//   randomised_attestations --attestations=100000 --json
//   randomised_attestations --only=4711                  one again; prints what it is and its verdict
//
// Exit code 1: some differ, and are named on standard error.
#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <latch>
#include <map>
#include <mutex>
#include <thread>

#include "pipeline/graph/judgement.h"
#include "tests/randomised/attestations.h"
#include "tests/randomised/same_references.h"

namespace gatehouse::testing {
namespace {

struct Options {
  std::uint64_t attestations = 2000, first = 0, seed = 20261126, only = UINT64_MAX;
  std::uint64_t beside = 24;  // attestations that are judged at once
  std::uint64_t workers = 2;  // that submit them
  bool json = false;
} options;

std::string text_of(const Result<pipeline::Outcome>& outcome) {
  if (!outcome) return "error: " + outcome.error().text();
  std::string text = to_json(outcome->verdict);
  if (outcome->measured_boot) {
    text += "\nbaseline " + std::string(name(outcome->measured_boot->bank));
    for (const auto& [pcr, digests] : outcome->measured_boot->events) {
      text += ' ' + std::to_string(pcr);
      for (const Digest& d : digests) text += ':' + d.hex();
    }
  }
  if (const auto& q = outcome->quote)
    text += "\nclock " + std::to_string(q->clock) + ' ' + std::to_string(q->reset_count) + ' ' + std::to_string(q->restart_count) + ' ' +
            std::to_string(q->firmware_version);
  return text;
}

// On this thread, without a graph and without a cache.
Result<pipeline::Outcome> judge_alone(const Attestation& a, const std::shared_ptr<const refdb::View>& references) {
  pipeline::Context context = a.context;
  context.references = references;
  pipeline::Judgement judgement(std::move(context), nullptr);
  const auto take = [&](const Result<std::shared_ptr<pipeline::Batch>>& batch) -> Result<void> {
    if (!batch) return std::unexpected(batch.error());
    if (*batch == nullptr) return {};
    judgement.extend(**batch);
    return judgement.look_up(**batch);
  };
  for (pipeline::Segment& segment : whole(a)) GH_CHECK(take(judgement.parse(segment)));
  GH_CHECK(take(judgement.parse_end()));
  return judgement.conclude(a.finish);
}

class Trial {
 public:
  Trial() : world_(options.seed), uncached_(std::make_shared<SameReferences>(world_.references(), false)) {
    for (const unsigned threads : {1U, 2U, 8U})
      for (const bool cached : {false, true}) {
        graphs_.push_back({std::to_string(threads) + (cached ? " threads with a cache" : " threads without a cache"), cached,
                           std::make_unique<pipeline::Pipeline>(pipeline::Limits{.threads = threads}), false});
      }
    graphs_.push_back({"2 threads that find what is proved", true,
                       std::make_unique<pipeline::Pipeline>(pipeline::Limits{.threads = 2, .proved_bytes = std::size_t(64) << 20}), true});
  }
  void run();
  void report(double seconds) const;
  // Enough was drawn of each kind to say anything.
  bool varied() const;
  std::uint64_t differing() const { return differ_.load(); }

 private:
  struct Graph {
    std::string name;
    bool cached = false;
    std::unique_ptr<pipeline::Pipeline> graph;
    bool proved = false;
  };
  void work();
  void round(std::uint64_t first, std::uint64_t count);
  void judge(Graph& graph, const std::vector<Attestation>& attestations, const std::vector<std::string>& wanted, Random& random);
  void differs(const Graph& graph, const Attestation& a, const std::string& got, const std::string& wanted);
  void count(const Attestation& a, const std::string& verdict);

  AttestedWorld world_;
  const std::shared_ptr<const refdb::View> uncached_;
  std::vector<Graph> graphs_;
  std::atomic<std::uint64_t> next_{0}, judged_{0}, differ_{0};
  std::mutex mutex_;
  std::map<std::string, std::uint64_t, std::less<>> traits_, endings_;  // guarded by mutex_
  std::uint64_t entries_ = 0;                                          // guarded by mutex_
};

void Trial::run() {
  if (options.only != UINT64_MAX) {
    options.first = options.only;
    options.attestations = 1;
    const Attestation a = world_.attestation(options.only);
    for (const std::string_view trait : a.traits) std::printf("%s, ", std::string(trait).c_str());
    std::printf("%zu entries\n%s\n", a.entries, text_of(judge_alone(a, uncached_)).c_str());
  }
  next_ = options.first;
  std::vector<std::jthread> workers;
  for (std::uint64_t n = 1; n < options.workers; ++n) workers.emplace_back([this] { work(); });
  work();
}

// All workers give work to the same graphs.
void Trial::work() {
  const std::uint64_t end = options.first + options.attestations;
  for (;;) {
    const std::uint64_t first = next_.fetch_add(options.beside);
    if (first >= end || differ_.load() >= 20) return;
    round(first, std::min(options.beside, end - first));
  }
}

void Trial::round(std::uint64_t first, std::uint64_t count_of_round) {
  std::vector<Attestation> attestations;
  std::vector<std::string> wanted;
  for (std::uint64_t n = 0; n < count_of_round; ++n) {
    attestations.push_back(world_.attestation(first + n));
    wanted.push_back(text_of(judge_alone(attestations.back(), uncached_)));
    count(attestations.back(), wanted.back());
  }
  Random random(options.seed + first);
  for (Graph& graph : graphs_) {
    judge(graph, attestations, wanted, random);
    if (graph.proved) judge(graph, attestations, wanted, random);
  }
}

// All at once: each one's segments in their order, one's between another's at random.
void Trial::judge(Graph& graph, const std::vector<Attestation>& attestations, const std::vector<std::string>& wanted, Random& random) {
  // Known to the cache from rounds before; new to it; some of this round's sessions with one generation, some with the next.
  const std::size_t manner = random() % 8;
  const auto anew = std::make_shared<SameReferences>(world_.references(), true);
  struct Session {
    std::unique_ptr<pipeline::Evidence> evidence;
    std::vector<pipeline::Segment> segments;
    std::size_t next = 0;
  };
  std::vector<Session> sessions(attestations.size());
  std::vector<std::string> got(attestations.size());
  // One that vanishes, and is nobody's to compare.
  std::unique_ptr<pipeline::Evidence> vanishing;
  std::latch answered(std::ptrdiff_t(attestations.size() + 1));
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < attestations.size(); ++i) {
    pipeline::Context context = attestations[i].context;
    context.references = !graph.cached ? uncached_ : manner == 0 || (manner == 1 && random() % 2 == 0) ? anew : world_.references();
    if (i == 0) {
      vanishing = graph.graph->open(context, [&](const Result<pipeline::Outcome>&) { answered.count_down(); });
      for (pipeline::Segment& segment : cut(attestations[i], random)) vanishing->submit(std::move(segment));
    }
    // What comes again comes in the same pieces.
    sessions[i].segments = graph.proved ? whole(attestations[i]) : cut(attestations[i], random);
    sessions[i].evidence = graph.graph->open(std::move(context), [&, i](const Result<pipeline::Outcome>& outcome) {
      got[i] = text_of(outcome);
      answered.count_down();
    });
    open.push_back(i);
  }
  while (!open.empty()) {
    const std::size_t at = std::size_t(random() % open.size());
    Session& session = sessions[open[at]];
    if (session.next < session.segments.size()) {
      session.evidence->submit(std::move(session.segments[session.next++]));
      continue;
    }
    session.evidence->finish(attestations[open[at]].finish);
    open[at] = open.back();
    open.pop_back();
    if (open.size() == attestations.size() / 2) vanishing.reset();
  }
  vanishing.reset();
  answered.wait();
  for (std::size_t i = 0; i < attestations.size(); ++i)
    if (got[i] != wanted[i]) differs(graph, attestations[i], got[i], wanted[i]);
  judged_.fetch_add(attestations.size());
}

void Trial::differs(const Graph& graph, const Attestation& a, const std::string& got, const std::string& wanted) {
  differ_.fetch_add(1);
  const std::size_t at = std::size_t(std::mismatch(got.begin(), got.end(), wanted.begin(), wanted.end()).first - got.begin());
  const std::size_t from = at < 60 ? 0 : at - 60;
  const std::lock_guard lock(mutex_);
  std::fprintf(stderr, "attestation %llu of seed %llu, %s:\n  ...%s\nalone:\n  ...%s\n", static_cast<unsigned long long>(a.number),
               static_cast<unsigned long long>(options.seed), graph.name.c_str(), got.substr(from, 160).c_str(), wanted.substr(from, 160).c_str());
}

void Trial::count(const Attestation& a, const std::string& verdict) {
  constexpr std::string_view before = "\"recommendation\":\"";
  const std::size_t at = verdict.find(before);
  const std::string ending = verdict.starts_with("error: ") ? "error" : verdict.substr(at + before.size(), verdict.find('"', at + before.size()) - at - before.size());
  const std::lock_guard lock(mutex_);
  for (const std::string_view trait : a.traits) ++traits_[std::string(trait)];
  ++endings_[ending];
  entries_ += a.entries;
}

void Trial::report(double seconds) const {
  std::uint64_t attestations = 0;
  for (const auto& [_, n] : endings_) attestations += n;
  const auto list = [&](const char* title, const auto& counts, bool as_json) {
    std::string out = as_json ? "\"" + std::string(title) + "\": {" : std::string(title) + ": ";
    for (const char* separator = ""; const auto& [what, n] : counts) {
      out += separator + (as_json ? "\"" + what + "\": " : what + " ") + std::to_string(n);
      separator = ", ";
    }
    return out + (as_json ? "}" : "");
  };
  if (options.json) {
    std::printf("{\"attestations\": %llu, \"entries\": %llu, \"verdicts\": %llu, \"differ\": %llu, \"seconds\": %.1f, \"seed\": %llu, %s, %s}\n",
                static_cast<unsigned long long>(attestations), static_cast<unsigned long long>(entries_), static_cast<unsigned long long>(judged_.load()),
                static_cast<unsigned long long>(differ_.load()), seconds, static_cast<unsigned long long>(options.seed),
                list("endings", endings_, true).c_str(), list("traits", traits_, true).c_str());
  } else {
    std::printf("%llu attestations with %llu entries, %llu verdicts of %zu graphs, %llu of them differ; %.1f s, %.0f attestations a second\n%s\n%s\n",
                static_cast<unsigned long long>(attestations), static_cast<unsigned long long>(entries_), static_cast<unsigned long long>(judged_.load()),
                graphs_.size(), static_cast<unsigned long long>(differ_.load()), seconds, double(attestations) / seconds, list("ended", endings_, false).c_str(),
                list("drawn", traits_, false).c_str());
  }
}

bool Trial::varied() const {
  if (options.attestations >= 1000 && std::ranges::none_of(graphs_, [](const Graph& g) { return g.graph->totals().reused > 1000; })) return false;
  const auto seen = [&](const char* ending) { return endings_.contains(ending); };
  return options.attestations < 1000 || (std::ranges::all_of(std::array{"allow", "isolate", "none", "error"}, seen) && traits_.size() >= 30);
}

bool take_option(std::string_view argument) {
  if (argument == "--json") return options.json = true;
  const std::pair<std::string_view, std::uint64_t*> known[] = {{"--attestations=", &options.attestations}, {"--first=", &options.first},
                                                               {"--seed=", &options.seed},                 {"--only=", &options.only},
                                                               {"--beside=", &options.beside},             {"--workers=", &options.workers}};
  for (const auto& [name, value] : known)
    if (argument.starts_with(name)) {
      const std::string_view number = argument.substr(name.size());
      const auto end = std::from_chars(number.data(), number.data() + number.size(), *value);
      return end.ec == std::errc() && end.ptr == number.data() + number.size();
    }
  return false;
}

int main_of(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (!take_option(argv[i]) || options.beside == 0 || options.workers == 0) {
      std::fprintf(stderr, "usage: %s [--attestations=N] [--first=N] [--seed=N] [--only=N] [--beside=N] [--workers=N] [--json]\n", argv[0]);
      return 2;
    }
  Trial trial;
  const auto began = std::chrono::steady_clock::now();
  trial.run();
  trial.report(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  if (!trial.varied()) std::fputs("too few kinds of attestations were drawn\n", stderr);
  return trial.differing() == 0 && trial.varied() ? 0 : 1;
}

}  // namespace
}  // namespace gatehouse::testing

int main(int argc, char** argv) { return gatehouse::testing::main_of(argc, argv); }
