#include "pipeline/graph/packed.h"

#include "base/writer.h"

namespace gatehouse::pipeline {
namespace {

// Of what was packed here.
class Unpacking {
 public:
  explicit Unpacking(Bytes bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }
  std::uint8_t byte() { return std::uint8_t(take(1).front()); }
  std::uint32_t number() {
    std::uint32_t out;
    std::memcpy(&out, take(sizeof out).data(), sizeof out);
    return out;
  }
  Bytes digest() {
    const std::size_t size = byte();
    return take(size);
  }

 private:
  Bytes take(std::size_t n) {
    const Bytes out = rest_.first(n);
    rest_ = rest_.subspan(n);
    return out;
  }
  Bytes rest_;
};

}  // namespace

void PackedBoot::add(const BootItem& item) {
  GH_ASSERT(item.pcr <= 0xFF);
  const std::byte head[] = {std::byte(item.pcr), std::byte(item.digest.size)};
  bytes_.insert(bytes_.end(), std::begin(head), std::end(head));
  bytes_.insert(bytes_.end(), item.digest.view().begin(), item.digest.view().end());
  ++count_;
}

void PackedBoot::add(const PackedBoot& others) {
  bytes_.insert(bytes_.end(), others.bytes_.begin(), others.bytes_.end());
  count_ += others.count_;
}

PackedBoot PackedBoot::behind(const Mark& mark) const {
  PackedBoot out;
  out.bytes_.assign(bytes_.begin() + std::ptrdiff_t(mark.bytes), bytes_.end());
  out.count_ = count_ - mark.count;
  return out;
}

std::vector<BootItem> PackedBoot::unpacked() const {
  std::vector<BootItem> out;
  out.reserve(count_);
  for (Unpacking u(bytes_); !u.empty();) {
    const std::uint32_t pcr = u.byte();
    out.push_back({pcr, Digest(u.digest())});
  }
  return out;
}

PackedBaseline::PackedBaseline(const Baseline& baseline) : bank_(baseline.bank) {
  constexpr std::size_t head = 8;
  std::size_t size = 0;
  for (const auto& [pcr, digests] : baseline.events) {
    size += head;
    for (const Digest& digest : digests) size += 1 + digest.size;
  }
  Writer w;
  w.reserve_bytes(size);
  for (const auto& [pcr, digests] : baseline.events) {
    w.put<std::uint32_t, std::endian::native>(pcr);
    w.put<std::uint32_t, std::endian::native>(std::uint32_t(digests.size()));
    for (const Digest& digest : digests) {
      w.put(digest.size);
      w.put_bytes(digest.view());
    }
  }
  bytes_ = std::move(w).take();
}

Baseline PackedBaseline::unpacked() const {
  Baseline out{bank_, {}};
  for (Unpacking u(bytes_); !u.empty();) {
    auto& [pcr, digests] = out.events.emplace_back();
    pcr = u.number();
    const std::size_t count = u.number();
    digests.reserve(count);
    for (std::size_t n = 0; n < count; ++n) digests.emplace_back(u.digest());
  }
  return out;
}

// A baseline has its PCRs in ascending order, and of each what was extended in order.
bool PackedBaseline::is_of(const PackedBoot& boot) const {
  std::optional<std::uint32_t> last;
  std::size_t all = 0;
  for (Unpacking u(bytes_); !u.empty();) {
    const std::uint32_t pcr = u.number(), count = u.number();
    if (count == 0 || (last && pcr <= *last)) return false;
    last = pcr;
    all += count;
    Unpacking items(boot.packed());
    for (std::uint32_t n = 0; n < count;) {
      if (items.empty()) return false;
      const bool of_it = items.byte() == pcr;
      const Bytes digest = items.digest();
      if (!of_it) continue;
      if (!equal(digest, u.digest())) return false;
      ++n;
    }
  }
  return all == boot.size();
}

}  // namespace gatehouse::pipeline
