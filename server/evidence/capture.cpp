#include "server/evidence/capture.h"

#include <algorithm>

#include "base/writer.h"

namespace gatehouse::evidence {
namespace {

// A log's pieces come cut anywhere; cut alike from its beginning, a log that has grown has the same blocks as before.
constexpr std::size_t block = 65'536;

}  // namespace

bool Memory::take(std::size_t bytes) {
  std::size_t now = held_.load(std::memory_order_relaxed);
  do {
    if (bytes > most_ || now > most_ - bytes) return false;
  } while (!held_.compare_exchange_weak(now, now + bytes, std::memory_order_relaxed));
  return true;
}

class Capture::Watched final : public pipeline::Evidence {
 public:
  Watched(std::shared_ptr<Capture> capture, std::unique_ptr<pipeline::Evidence> evidence)
      : capture_(std::move(capture)), evidence_(std::move(evidence)) {}
  void submit(pipeline::Segment segment) override {
    capture_->submit(segment.view());
    evidence_->submit(std::move(segment));
  }
  void submit_lent(const pipeline::SegmentView& segment) override {
    capture_->submit(segment);
    evidence_->submit_lent(segment);
  }
  void finish(pipeline::Finish finish) override {
    if (!capture_->left_out_ && !capture_->finished_) {
      capture_->attestation_.finish = finish;
      capture_->finished_ = true;
    }
    evidence_->finish(std::move(finish));
  }
  void cancel() override { evidence_->cancel(); }
  std::size_t pending_bytes() const override { return evidence_->pending_bytes(); }
  void wait_until_pending_at_most(std::size_t most) const override { evidence_->wait_until_pending_at_most(most); }

 private:
  const std::shared_ptr<Capture> capture_;
  const std::unique_ptr<pipeline::Evidence> evidence_;
};

Capture::~Capture() { memory_->give(held_); }

std::unique_ptr<pipeline::Evidence> Capture::watch(const pipeline::Context& context,
                                                   std::unique_ptr<pipeline::Evidence> evidence) {
  attestation_.context = context;
  attestation_.context.references = nullptr;
  attestation_.context.rules.clear();
  return std::make_unique<Watched>(shared_from_this(), std::move(evidence));
}

bool Capture::room(std::size_t bytes) {
  if (left_out_) return false;
  if (held_ + bytes <= memory_->most_of_one() && memory_->take(bytes)) {
    held_ += bytes;
    return true;
  }
  left_out_ = true;
  memory_->note_left_out();
  attestation_.segments = {};
  said_.packages.reset();
  said_.port_filters.clear();
  said_.software_list.reset();
  memory_->give(std::exchange(held_, 0));
  return false;
}

void Capture::submit(const pipeline::SegmentView& segment) {
  if (!room(segment.bytes.size())) return;
  std::vector<pipeline::Segment>& all = attestation_.segments;
  if (segment.format == pipeline::Format::pa_tnc) {
    all.push_back({segment.stream, segment.format, to_vector(segment.bytes), segment.base_offset});
    return;
  }
  // Also one without bytes says that its log came.
  Bytes rest = segment.bytes;
  do {
    const auto last = std::find_if(all.rbegin(), all.rend(), [&](const pipeline::Segment& s) {
      return s.stream == segment.stream && s.format == segment.format;
    });
    ByteVector* into = last != all.rend() && last->bytes.size() < block ? &last->bytes : nullptr;
    if (into == nullptr) into = &all.emplace_back(pipeline::Segment{segment.stream, segment.format, {}, 0}).bytes;
    const Bytes now = rest.first(std::min(rest.size(), block - into->size()));
    if (into->empty() && now.size() > block / 8) into->reserve(block);
    into->insert(into->end(), now.begin(), now.end());
    rest = rest.subspan(now.size());
  } while (!rest.empty());
}

void Capture::begin_packages() { said_.packages.emplace(); }

void Capture::add_packages(Bytes piece) {
  if (!said_.packages || !room(piece.size())) return;
  said_.packages->insert(said_.packages->end(), piece.begin(), piece.end());
}

void Capture::port_filter(std::uint16_t collector, Bytes value) {
  if (room(value.size())) said_.port_filters.try_emplace(collector, to_vector(value));
}

void Capture::begin_software() { said_.software_list.emplace(); }

void Capture::add_software(std::string_view identifier) {
  if (!said_.software_list || identifier.size() > UINT16_MAX || !room(2 + identifier.size())) return;
  Writer w;
  w.put(std::uint16_t(identifier.size()));
  w.put_bytes(as_bytes(identifier));
  said_.software_list->insert(said_.software_list->end(), w.view().begin(), w.view().end());
}

// Equal sets are equal pieces, in whatever order they were told.
Said Capture::take_said() {
  if (said_.software_list) {
    std::vector<std::string> names;
    if (const auto good = server::each_software(*said_.software_list, [&](std::string_view one) { names.emplace_back(one); });
        !good)
      said_.software_list.reset();
    std::sort(names.begin(), names.end());
    Writer w;
    for (const std::string& one : names) {
      w.put(std::uint16_t(one.size()));
      w.put_bytes(as_bytes(one));
    }
    if (said_.software_list) said_.software_list = std::move(w).take();
  }
  return std::move(said_);
}

Attestation Capture::take_attestation() { return std::move(attestation_); }

std::shared_ptr<void> Capture::take_hold() {
  struct Hold {
    std::shared_ptr<Memory> memory;
    std::size_t bytes;
    ~Hold() { memory->give(bytes); }
  };
  return std::make_shared<Hold>(memory_, std::exchange(held_, 0));
}

}  // namespace gatehouse::evidence
