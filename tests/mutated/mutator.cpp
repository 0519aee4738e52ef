#include "tests/mutated/mutator.h"

#include <algorithm>
#include <iterator>

#include "tests/mutated/operations.h"

namespace gatehouse::test {
namespace {

// How often of a hundred. Values most, because that is where the deep parsers are.
constexpr std::pair<Layer, unsigned> shares[] = {{Layer::moment, 5},   {Layer::transport, 8},  {Layer::batch, 9},
                                                 {Layer::message, 14}, {Layer::attribute, 20}, {Layer::segment, 10},
                                                 {Layer::value, 28},   {Layer::bytes, 6}};

Layer some_layer(Random& r) {
  std::size_t at = r.below(100);
  for (const auto& [layer, share] : shares) {
    if (at < share) return layer;
    at -= share;
  }
  return Layer::value;
}

}  // namespace

std::string_view name(Layer layer) {
  constexpr std::string_view names[] = {"moment",    "PT-TLS",  "batch", "message",
                                        "attribute", "segment", "value", "bytes"};
  return names[std::size_t(layer)];
}

void Pool::add(Bytes message) {
  if (message.size() <= longest_message && whole_.size() < most_messages) whole_.push_back(to_vector(message));
  const TransportTree tree = take_apart(message);
  if (!tree.batch) return;
  for (const MessageTree& m : tree.batch->messages) {
    std::size_t size = m.value.size();
    for (const AttributeTree& a : m.attributes) {
      size += a.value.size() + patnc::attribute_header_size;
      auto& known = attributes_[{a.vendor, a.type}];
      if (known.empty()) types_.emplace_back(a.vendor, a.type);
      if (known.size() < most_of_a_type) known.push_back(a);
    }
    if (size <= longest_message && messages_.size() < most_messages) messages_.push_back(m);
  }
}
const AttributeTree* Pool::attribute(Random& r) const {
  if (types_.empty()) return nullptr;
  const auto [vendor, type] = types_[r.below(types_.size())];
  return attribute(vendor, type, r);
}
const AttributeTree* Pool::attribute(std::uint32_t vendor, std::uint32_t type, Random& r) const {
  const auto known = attributes_.find({vendor, type});
  return known == attributes_.end() ? nullptr : &known->second[r.below(known->second.size())];
}
const MessageTree* Pool::message(Random& r) const {
  return messages_.empty() ? nullptr : &messages_[r.below(messages_.size())];
}
const ByteVector* Pool::whole(Random& r) const { return whole_.empty() ? nullptr : &whole_[r.below(whole_.size())]; }

Mutator::Mutator(const Pool& pool, Random random, std::size_t turns, std::size_t changes) : pool_(pool) {
  for (std::size_t i = 0; i < changes; ++i) {
    const Layer layer = some_layer(random);
    // The turn after the last is one after the verdict.
    const std::size_t turn = random.below(turns + 1);
    planned_.push_back({layer, turn, Random(random())});
  }
}

bool Mutator::make(Context& context, Planned& planned) {
  std::vector<const Operation*> of_layer;
  for (const Operation& o : operations())
    if (o.layer == planned.layer) of_layer.push_back(&o);
  for (int attempt = 0; attempt < 8; ++attempt) {
    const Operation& o = *of_layer[planned.random.below(of_layer.size())];
    if (!o.make(context)) continue;
    made_.push_back({o.layer, o.name, turn_});
    return true;
  }
  return false;
}

std::vector<Event> Mutator::send(ByteVector message) {
  std::vector<Event> out;
  const bool due = std::any_of(planned_.begin(), planned_.end(), [&](const Planned& p) { return p.turn <= turn_; });
  if (!due && segments_.empty()) {
    ++turn_;
    out.push_back({.bytes = std::move(message)});
    out.insert(out.end(), std::make_move_iterator(held_.begin()), std::make_move_iterator(held_.end()));
    held_.clear();
    return out;
  }
  TransportTree tree = take_apart(message);
  if (!segments_.empty() && tree.batch) {
    MessageTree next{.flags = 0x80,
                     .type = pbtnc::type::pa,
                     .pa = true,
                     .pa_vendor = segments_vendor_,
                     .subtype = segments_subtype_,
                     .collector = segments_collector_,
                     .validator = pbtnc::any,
                     .head = {std::byte{1}, {}, {}, {}, {}, {}, {}, std::byte{9}},
                     .attributes = {segments_.front()},
                     .value = {}};
    segments_.pop_front();
    tree.batch->messages.push_back(std::move(next));
  }
  std::vector<Event> before, after;
  bool dropped = false, held = false;
  std::size_t repeat = 1, cut = 0;
  std::vector<std::pair<void (*)(ByteVector&, Random&), Random>> raw;
  for (auto p = planned_.begin(); p != planned_.end();) {
    Context context{.tree = tree, .random = p->random, .pool = pool_};
    if (p->turn > turn_ || !make(context, *p)) {
      ++p;
      continue;
    }
    if (!context.segments.empty() && context.segmented != nullptr) {
      segments_ = std::move(context.segments);
      segments_vendor_ = context.segmented->pa_vendor;
      segments_subtype_ = context.segmented->subtype;
      segments_collector_ = context.segmented->collector;
    }
    std::move(context.before.begin(), context.before.end(), std::back_inserter(before));
    std::move(context.after.begin(), context.after.end(), std::back_inserter(after));
    dropped = dropped || context.dropped;
    held = held || context.held;
    repeat = std::max(repeat, context.repeat);
    cut = std::max(cut, context.cut);
    for (const auto change : context.raw) raw.emplace_back(change, p->random);
    p = planned_.erase(p);
  }
  ++turn_;
  out = std::move(before);
  ByteVector bytes = written(tree);
  for (auto& [change, random] : raw) change(bytes, random);
  const std::size_t at = out.size();
  if (!dropped) out.insert(out.end(), repeat, Event{.bytes = bytes, .cut = cut});
  std::vector<Event> waiting = std::exchange(held_, {});
  if (held) {
    held_.assign(std::make_move_iterator(out.begin() + std::ptrdiff_t(at)), std::make_move_iterator(out.end()));
    out.resize(at);
  }
  std::move(after.begin(), after.end(), std::back_inserter(out));
  std::move(waiting.begin(), waiting.end(), std::back_inserter(out));
  return out;
}

std::vector<Event> Mutator::rest(bool ended) {
  const std::vector<Change> made = made_;
  std::vector<Event> out = std::exchange(held_, {});
  // What is still planned belongs behind the end: to a closed connection, or to a server that waits.
  for (int n = 0; n < 2 && !planned_.empty(); ++n) {
    Planned planned = planned_.back();
    planned_.clear();
    const ByteVector* const other = pool_.whole(planned.random);
    if (other == nullptr) break;
    planned.turn = 0;
    planned_.push_back(planned);
    made_.push_back({Layer::transport, "another conversation's message behind the end", turn_});
    for (Event& e : send(*other)) out.push_back(std::move(e));
  }
  planned_.clear();
  if (ended) made_ = made;
  return out;
}

}  // namespace gatehouse::test
