#include "pipeline/graph/pipeline.h"

#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <new>
#include <utility>

#include "base/release.h"
#include "pipeline/graph/judgement.h"

namespace gatehouse::pipeline {
namespace {

namespace flow = oneapi::tbb::flow;

// Who gets work from the graph sees what was written before it was handed over. The thread sanitizer can't know that:
// oneTBB's library is built without it.
class Handover {
 public:
#ifdef __SANITIZE_THREAD__
  void give() { count_.fetch_add(1, std::memory_order_release); }
  void take() const { (void)count_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::size_t> count_{0};
#else
  void give() {}
  void take() const {}
#endif
};

// In push order, one thread at a time. Between segments, which is most of the time, it takes the memory of one item: a
// queue of oneTBB's takes five kilobytes of a session that waits. The lock is held for a push or a pop of one's own
// session's, never while an item is worked on.
template <class Item>
class Lane {
 public:
  // True: the lane was idle and has to be scheduled.
  [[nodiscard]] bool push(Item item) {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    return !std::exchange(busy_, true);
  }
  // Everything that was pushed is done; asked by who pushes.
  bool idle() const {
    const std::lock_guard lock(mutex_);
    return !busy_;
  }
  // At most `most` items; true: items are left, schedule again.
  template <class Body>
  [[nodiscard]] bool drain(std::size_t most, Body&& body) {
    for (std::size_t n = 1;; ++n) {
      body(pop());
      const std::lock_guard lock(mutex_);
      if (first_ == items_.size()) {
        // One that has been long isn't again, usually.
        if (items_.capacity() > few) items_ = {};
        items_.clear();
        first_ = 0;
        busy_ = false;
        return false;
      }
      if (n == most) return true;
    }
  }

 private:
  static constexpr std::size_t few = 4;
  Item pop() {
    const std::lock_guard lock(mutex_);
    Item out = std::move(items_[first_++]);
    // What was taken out is at most half of it.
    if (first_ > few && first_ > items_.size() / 2) {
      items_.erase(items_.begin(), items_.begin() + std::ptrdiff_t(first_));
      first_ = 0;
    }
    return out;
  }

  mutable std::mutex mutex_;
  std::vector<Item> items_;  // guarded by mutex_
  std::size_t first_ = 0;    // guarded by mutex_; that wasn't taken out
  bool busy_ = false;        // guarded by mutex_
};

// Nanoseconds between one reading of the clock and the next.
class Watch {
 public:
  std::int64_t lap() {
    const auto before = std::exchange(at_, Clock::now());
    return std::chrono::nanoseconds(at_ - before).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point at_ = Clock::now();
};

// Of a session, and of all that were completed: a session adds its own once.
template <class Number>
struct Count {
  std::atomic<Number> value{0};
  void add(Number n) { value.fetch_add(n, std::memory_order_relaxed); }
  Number get() const { return value.load(std::memory_order_relaxed); }
};
struct Sums {
  Count<std::uint64_t> sessions, segments, bytes, cached_hits, cached_misses, store_lookups, reused;
};

struct Session {
  Session(Context context, Completion done, std::shared_ptr<VerdictCache> cache,
          std::shared_ptr<SignatureCache> signatures, Proved proved, ChainPool& chains, Sums& all)
      : judgement(std::move(context), std::move(cache), std::move(signatures), std::move(proved), &chains), sums(all), completion(std::move(done)) {}

  Judgement judgement;
  Sums& sums;
  Count<std::int64_t> parse_time, extend_time, lookup_time;
  Count<std::uint64_t> segments_taken, bytes_taken;
  Completion completion;
  std::atomic<bool> completed{false}, cancelled{false}, failed{false};
  // Work not yet done, and one for the end of the evidence.
  std::atomic<std::size_t> outstanding{1};
  std::atomic<std::size_t> bytes{0};
  Lane<std::shared_ptr<Segment>> parse;
  Lane<std::shared_ptr<const Batch>> extend;
  std::mutex mutex;
  Error error;   // guarded by mutex until completed
  bool finished = false;
  Finish finish;

  bool stopped() const { return cancelled.load(std::memory_order_relaxed) || failed.load(std::memory_order_acquire); }
  void complete(Result<Outcome> outcome) noexcept {
    if (completed.exchange(true)) return;
    try {
      const IndexAnswers answers = judgement.index_answers();
      sums.sessions.add(1);
      sums.segments.add(segments_taken.get());
      sums.bytes.add(bytes_taken.get());
      sums.cached_hits.add(answers.cached_hits);
      sums.cached_misses.add(answers.cached_misses);
      sums.store_lookups.add(answers.store_lookups);
      sums.reused.add(answers.reused);
      completion(std::move(outcome));
    } catch (...) {  // the caller's mistake must not end the graph
    }
    completion = nullptr;
  }
  // The first error of the parse lane, or the store's, ends the session at once.
  void stop(Error e) noexcept {
    {
      const std::lock_guard lock(mutex);
      if (failed.load(std::memory_order_relaxed)) return;
      error = e;
      failed.store(true, std::memory_order_release);
    }
    complete(std::unexpected(std::move(e)));
  }
};
using SessionPtr = std::shared_ptr<Session>;
struct LookupWork {
  SessionPtr session;
  std::shared_ptr<const Batch> batch;
};

constexpr unsigned max_threads = 1023;
// So few entries are looked up and extended where they were parsed: waking another thread for them costs more.
constexpr std::size_t small_batch = 1024;
// So small a segment is judged on the thread that brings it, where none of its session's waits: oneTBB's threads would be
// woken for it, and look for more in vain, which costs as much as the work. Not where files' signatures are verified: with
// those a peer could keep that thread from everybody else.
constexpr std::size_t small_segment = 65'536;
// So little evidence is concluded there, too.
constexpr std::size_t small_session = std::size_t(1) << 20;

Error out_of_memory() { return Error{Fault::internal, "out of memory", {}, 0, {}, {}}; }

}  // namespace

struct Pipeline::State {
  explicit State(const Limits& l)
      : limits(l),
        threads(std::min(max_threads, l.threads == 0 ? unsigned(oneapi::tbb::info::default_concurrency()) : l.threads)),
        // oneTBB counts the caller's thread as one of the machine's and says so on stderr when a worker is missing. The
        // least of all controls in a process holds: the same generous one in each pipeline, the arena is what limits.
        workers(oneapi::tbb::global_control::max_allowed_parallelism, max_threads + 1),
        // No slot is kept for a caller: nobody waits inside the arena, and one thread must do all the work alone.
        arena(int(threads), 0),
        graph_owner(in_arena(arena)),
        graph(*graph_owner),
        proved(l.proved_bytes == 0 ? nullptr : std::make_shared<ProvedRuns>(l.proved_bytes)) {}

  // A graph runs in the arena that it was constructed in, also for puts from other threads.
  static std::unique_ptr<flow::graph> in_arena(oneapi::tbb::task_arena& arena) {
    std::unique_ptr<flow::graph> out;
    arena.execute([&] { out = std::make_unique<flow::graph>(); });
    return out;
  }

  Limits limits;
  unsigned threads;
  oneapi::tbb::global_control workers;
  oneapi::tbb::task_arena arena;
  std::unique_ptr<flow::graph> graph_owner;
  flow::graph& graph;
  std::atomic<std::size_t> in_flight{0};
  ChainPool chains;
  Sums sums;
  Handover handover;
  std::mutex cache_mutex;
  std::weak_ptr<const refdb::View> cached_view;
  std::map<std::pair<std::string, HashAlgorithm>, std::shared_ptr<VerdictCache>> caches;
  // What makes sessions judge the same evidence alike.
  struct Group {
    explicit Group(const Context& c)
        : product(c.product), bank(c.bank), boot_requested(c.boot_requested), ima_requested(c.ima_requested),
          max_boot_items(c.max_boot_items), max_ima_items(c.max_ima_items), rules(c.rules) {}
    std::string product;
    std::optional<HashAlgorithm> bank;
    bool boot_requested, ima_requested;
    std::size_t max_boot_items, max_ima_items;
    std::vector<EvidenceRulesPtr> rules;
    bool operator==(const Group&) const = default;
  };
  // So many rules and products at a time: a policy that is read anew has other rules.
  static constexpr std::size_t max_groups = 256;
  const std::shared_ptr<ProvedRuns> proved;
  std::vector<std::pair<Group, std::uint64_t>> groups;  // guarded by cache_mutex; of cached_view
  std::uint64_t last_group = 0;                         // guarded by cache_mutex
  std::shared_ptr<SignatureCache> signatures;  // made for the first session whose rules have keys

  template <class Node, class Work>
  void put(Node& node, Work&& work) {
    handover.give();
    node.try_put(std::forward<Work>(work));
  }

  using Parse = flow::function_node<SessionPtr>;
  using Lookup = flow::function_node<LookupWork>;
  using Extend = flow::function_node<SessionPtr>;
  using Quote = flow::function_node<SessionPtr>;

  // Bodies never throw: an exception would cancel the whole graph for every session.
  Quote quote{graph, flow::unlimited, [this](const SessionPtr& s) noexcept {
    handover.take();
    return conclude(s);
  }};
  Extend extend{graph, flow::unlimited, [this](const SessionPtr& s) noexcept {
    handover.take();
    if (s->extend.drain(16, [&](const std::shared_ptr<const Batch>& batch) {
          try {
            Watch watch;
            if (!s->stopped()) s->judgement.extend(*batch);
            s->extend_time.add(watch.lap());
          } catch (const std::exception&) {
            s->stop(out_of_memory());
          }
          give_back(*s, *batch);
          arrive_here(s);
        }))
      put(extend, s);
    return flow::continue_msg{};
  }};
  Lookup lookup{graph, flow::unlimited, [this](const LookupWork& work) noexcept {
    handover.take();
    try {
      Watch watch;
      if (!work.session->stopped())
        if (auto judged = work.session->judgement.look_up(*work.batch); !judged) work.session->stop(std::move(judged).error());
      work.session->lookup_time.add(watch.lap());
    } catch (const std::exception&) {
      work.session->stop(out_of_memory());
    }
    give_back(*work.session, *work.batch);
    arrive_here(work.session);
    return flow::continue_msg{};
  }};
  Parse parse{graph, flow::unlimited, [this](const SessionPtr& s) noexcept {
    handover.take();
    if (s->parse.drain(16, [&](const std::shared_ptr<Segment>& segment) { parse_segment(s, *segment); })) put(parse, s);
    return flow::continue_msg{};
  }};

  void give_back(Session& s, std::size_t bytes) noexcept {
    s.bytes.fetch_sub(bytes);
    s.bytes.notify_all();
    in_flight.fetch_sub(bytes);
  }

  void give_back(Session& s, const Batch& batch) noexcept {
    if (batch.stages.fetch_sub(1, std::memory_order_acq_rel) == 1) give_back(s, batch.segment_bytes);
  }

  // The join: whoever finishes last goes on to the quote.
  void arrive(const SessionPtr& s) noexcept {
    if (s->outstanding.fetch_sub(1, std::memory_order_acq_rel) == 1) put(quote, s);
  }
  // The same on a thread of the graph.
  void arrive_here(const SessionPtr& s) noexcept {
    if (s->outstanding.fetch_sub(1, std::memory_order_acq_rel) == 1) conclude(s);
  }

  // True: it was done, or nothing of it counts any more.
  bool take_runs(const SessionPtr& s, const SegmentView& segment) {
    if (s->stopped()) return true;
    if (!s->judgement.takes_runs(segment)) return false;
    Effort effort;
    if (auto taken = s->judgement.take_runs(segment, effort); !taken) s->stop(std::move(taken).error());
    s->parse_time.add(effort.parse.count());
    s->extend_time.add(effort.extend.count());
    s->lookup_time.add(effort.lookup.count());
    return true;
  }

  void take(Session& s, std::size_t bytes) noexcept {
    s.segments_taken.add(1);
    s.bytes_taken.add(bytes);
    s.bytes.fetch_add(bytes);
    in_flight.fetch_add(bytes);
    s.outstanding.fetch_add(1, std::memory_order_acq_rel);
  }

  // A small one where nothing of its session's waits, without a place in its lane.
  void judge_small(const SessionPtr& s, const SegmentView& segment) noexcept {
    const std::size_t size = segment.bytes.size();
    take(*s, size);
    try {
      if (!take_runs(s, segment)) {
        Watch watch;
        const auto batch = s->judgement.parse(segment);
        s->parse_time.add(watch.lap());
        if (!batch) s->stop(batch.error());
        else if (*batch != nullptr) judge_here(s, **batch, watch);
      }
    } catch (const std::exception&) {
      s->stop(out_of_memory());
    }
    give_back(*s, size);
    arrive_here(s);
  }

  void parse_segment(const SessionPtr& s, Segment& segment) noexcept {
    const std::size_t size = segment.bytes.size();
    bool handed_on = false;
    try {
      if (!take_runs(s, segment.view())) {
        Watch watch;
        auto batch = s->judgement.parse(segment);
        s->parse_time.add(watch.lap());
        if (!batch) {
          s->stop(std::move(batch).error());
        } else if (*batch != nullptr && (*batch)->items.size() <= small_batch && s->extend.idle()) {
          judge_here(s, **batch, watch);
        } else if (*batch != nullptr) {
          (*batch)->segment_bytes = size;
          hand_on(s, std::move(*batch));
          handed_on = true;
        }
      }
    } catch (const std::exception&) {
      s->stop(out_of_memory());
    }
    release(segment.bytes);
    if (!handed_on) give_back(*s, size);
    arrive_here(s);
  }

  void judge_here(const SessionPtr& s, const Batch& batch, Watch& watch) {
    if (auto judged = s->judgement.look_up(batch); !judged) s->stop(std::move(judged).error());
    s->lookup_time.add(watch.lap());
    s->judgement.extend_looked_up(batch);
    s->extend_time.add(watch.lap());
  }

  void hand_on(const SessionPtr& s, std::shared_ptr<Batch> batch) {
    const std::shared_ptr<const Batch> ready = std::move(batch);
    s->outstanding.fetch_add(2, std::memory_order_acq_rel);
    put(lookup, LookupWork{s, ready});
    if (s->extend.push(ready)) put(extend, s);
  }

  flow::continue_msg conclude(const SessionPtr& s) noexcept {
    try {
      Watch watch;
      if (s->cancelled.load()) {
        s->complete(std::unexpected(Error{Fault::denied, pipeline::cancelled, {}, 0, {}, {}}));
      } else if (s->failed.load(std::memory_order_acquire)) {
        // Already completed with its error.
      } else if (auto last = s->judgement.parse_end(); !last) {
        s->stop(std::move(last).error());
      } else {
        s->parse_time.add(watch.lap());
        // What only the end of the evidence could complete (a last line without its newline) is judged here.
        if (*last != nullptr) judge_here(s, **last, watch);
        if (!s->failed.load(std::memory_order_acquire)) complete(s, watch);
      }
    } catch (const std::exception&) {
      s->stop(out_of_memory());
    }
    return {};
  }

  static void complete(const SessionPtr& s, Watch& watch) {
    Outcome outcome = s->judgement.conclude(s->finish);
    Effort& effort = outcome.effort;
    effort.parse = std::chrono::nanoseconds(s->parse_time.get());
    effort.lookup = std::chrono::nanoseconds(s->lookup_time.get());
    if (outcome.quote) s->judgement.keep_runs();
    effort.conclude = std::chrono::nanoseconds(watch.lap()) - effort.quote - effort.extend;
    effort.extend += std::chrono::nanoseconds(s->extend_time.get());
    s->complete(std::move(outcome));
  }

  std::shared_ptr<VerdictCache> cache_for(const Context& context) {
    // Products are the operator's, but the name in a context may be a claim: only known ones get a cache.
    if (context.references == nullptr || !context.references->has_product(context.product)) return nullptr;
    const std::lock_guard lock(cache_mutex);
    look_at(context.references);
    auto& cache = caches[{context.product, context.bank.value_or(HashAlgorithm::sha256)}];
    if (!cache) cache = std::make_shared<VerdictCache>();
    return cache;
  }

  // What such rules say of a file today they may not say tomorrow.
  static bool depends_on_time(const EvidenceRulesPtr& rules) {
    return std::any_of(rules->files.begin(), rules->files.end(), [](const FileRule& r) { return r.superseded != Treatment::unsaid; });
  }

  // With cache_mutex held.
  void look_at(const std::shared_ptr<const refdb::View>& view) {
    if (cached_view.lock() == view) return;
    caches.clear();
    groups.clear();
    cached_view = view;
  }

  Proved proved_for(const Context& context) {
    if (proved == nullptr || !context.bank || !context.symlinks.empty() || context.references == nullptr ||
        !context.references->has_product(context.product) || std::any_of(context.rules.begin(), context.rules.end(), depends_on_time))
      return {};
    const std::lock_guard lock(cache_mutex);
    look_at(context.references);
    const Group wanted(context);
    for (const auto& [group, number] : groups)
      if (group == wanted) return {proved, number};
    if (groups.size() == max_groups) groups.clear();
    groups.emplace_back(wanted, ++last_group);
    return {proved, last_group};
  }

  std::shared_ptr<SignatureCache> signatures_for(const Context& context) {
    if (std::none_of(context.rules.begin(), context.rules.end(),
                     [](const EvidenceRulesPtr& r) { return !r->ima.signature_keys.empty(); }))
      return nullptr;
    const std::lock_guard lock(cache_mutex);
    if (!signatures) signatures = std::make_shared<SignatureCache>();
    return signatures;
  }
};

class Pipeline::Handle final : public Evidence {
 public:
  // Small segments that are the caller's are judged at once where nothing of their session's waits, if `small_here`.
  Handle(State& state, SessionPtr session, bool small_here)
      : state_(state), session_(std::move(session)), small_here_(small_here) {}
  ~Handle() override {
    if (!session_->finished) cancel();
  }
  void submit(Segment segment) override {
    GH_ASSERT(!session_->finished);
    const bool small = is_small(segment.bytes);
    state_.take(*session_, segment.bytes.size());
    if (!session_->parse.push(std::make_shared<Segment>(std::move(segment)))) return;
    if (!small || session_->parse.drain(1, [&](const std::shared_ptr<Segment>& first) { state_.parse_segment(session_, *first); }))
      state_.put(state_.parse, session_);
  }
  void submit_lent(const SegmentView& segment) override {
    GH_ASSERT(!session_->finished);
    if (is_small(segment.bytes) && session_->parse.idle() && session_->extend.idle()) return state_.judge_small(session_, segment);
    submit({segment.stream, segment.format, to_vector(segment.bytes), segment.base_offset});
  }
  void finish(Finish finish) override {
    if (session_->finished) return;
    session_->finished = true;
    session_->finish = std::move(finish);
    arrive();
  }
  void cancel() override {
    session_->cancelled.store(true);
    if (session_->finished) return;
    session_->finished = true;
    arrive();
  }
  std::size_t pending_bytes() const override { return session_->bytes.load(); }
  void wait_until_pending_at_most(std::size_t most) const override {
    for (std::size_t now = session_->bytes.load(); now > most; now = session_->bytes.load()) session_->bytes.wait(now);
  }

 private:
  bool is_small(Bytes bytes) const { return small_here_ && bytes.size() <= small_segment; }
  void arrive() {
    // The last one, in a session whose work was all done where it came.
    if (session_->bytes.load() == 0 && session_->bytes_taken.get() <= small_session) state_.arrive_here(session_);
    else state_.arrive(session_);
  }

  State& state_;
  SessionPtr session_;
  const bool small_here_;
};

Pipeline::Pipeline(Limits limits) : state_(std::make_unique<State>(limits)) {}
Pipeline::~Pipeline() { state_->graph.wait_for_all(); }

std::unique_ptr<Evidence> Pipeline::open(Context context, Completion completion) {
  auto cache = state_->cache_for(context);
  auto signatures = state_->signatures_for(context);
  const bool verifies = signatures != nullptr;
  auto proved = state_->proved_for(context);
  auto session = std::make_shared<Session>(std::move(context), std::move(completion), std::move(cache), std::move(signatures),
                                           std::move(proved), state_->chains, state_->sums);
  return std::make_unique<Handle>(*state_, std::move(session), !verifies);
}

bool Pipeline::has_room(std::size_t bytes) const {
  const std::size_t used = state_->in_flight.load();
  return used <= state_->limits.budget_bytes && bytes <= state_->limits.budget_bytes - used;
}
std::size_t Pipeline::bytes_in_flight() const { return state_->in_flight.load(); }
std::size_t Pipeline::budget_bytes() const { return state_->limits.budget_bytes; }

Totals Pipeline::totals() const {
  const Sums& sums = state_->sums;
  Totals out{.sessions = sums.sessions.get(), .segments = sums.segments.get(), .bytes = sums.bytes.get(),
             .cached_hits = sums.cached_hits.get(), .cached_misses = sums.cached_misses.get(), .store_lookups = sums.store_lookups.get(), .reused = sums.reused.get()};
  if (state_->proved) out.proved_bytes = state_->proved->bytes();
  const std::lock_guard lock(state_->cache_mutex);
  if (state_->signatures) {
    out.cached_signatures = state_->signatures->hits();
    out.verified_signatures = state_->signatures->misses();
  }
  return out;
}

}  // namespace gatehouse::pipeline
