#include "pipeline/verdict/packed_findings.h"

#include <algorithm>
#include <array>

namespace gatehouse::pipeline {
namespace {

// Numbers have seven bits a byte, the lowest first; the highest bit says that more follow. Texts and digests have their
// size in front.
constexpr std::size_t longest_number = 10;
constexpr unsigned number_bits = 7;
constexpr std::array usual_reasons{no_reference, no_reference_in_algorithm};
// Beside the status: package, version, what was expected and the file's digest follow. Few unknown entries have any.
constexpr std::uint64_t has_more = 1 << 3;

class Packing {
 public:
  explicit Packing(std::byte* at) : at_(at) {}
  void put(std::uint64_t number) {
    for (; number >> number_bits != 0; number >>= number_bits) *at_++ = std::byte(number | 0x80);
    *at_++ = std::byte(number);
  }
  void put(Bytes bytes) {
    put(bytes.size());
    put_raw(bytes);
  }
  void put_raw(Bytes bytes) {
    if (!bytes.empty()) std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  void put(std::string_view text) { put(as_bytes(text)); }
  std::byte* at() const { return at_; }

 private:
  std::byte* at_;
};

// Of what Packing wrote.
class Unpacking {
 public:
  explicit Unpacking(Bytes bytes) : rest_(bytes) {}
  std::uint64_t number() {
    std::uint64_t out = 0;
    for (unsigned shift = 0;; shift += number_bits) {
      const auto byte = std::uint64_t(rest_.front());
      rest_ = rest_.subspan(1);
      out |= (byte & 0x7F) << shift;
      if (byte < 0x80) return out;
    }
  }
  Bytes bytes() { return bytes(std::size_t(number())); }
  Bytes bytes(std::size_t size) {
    const Bytes out = rest_.first(size);
    rest_ = rest_.subspan(size);
    return out;
  }
  std::string_view text() { return as_text(bytes()); }
  Bytes rest() const { return rest_; }

 private:
  Bytes rest_;
};

// "sha256:<hex>"
std::string tagged(std::string_view algorithm, Bytes digest) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out(algorithm.size() + 1 + 2 * digest.size(), ':');
  algorithm.copy(out.data(), algorithm.size());
  char* to = out.data() + algorithm.size() + 1;
  for (const std::byte b : digest) {
    *to++ = digits[std::size_t(b) >> 4];
    *to++ = digits[std::size_t(b) & 15];
  }
  return out;
}

// A byte that isn't printable is written as four.
std::size_t cost_of(const PackedFindings::Entry& e) {
  std::size_t bytes = 256 + e.reason.size();
  for (const char c : e.path) bytes += c >= ' ' && c <= '~' ? 1 : 4;
  for (const std::string& one : e.expected) bytes += one.size() + 4;
  return bytes;
}

}  // namespace

// The record's size; status, index and cost; and the rest. A reason is one of the usual ones, or its size beyond them and it.
void PackedFindings::add(const Entry& e) {
  const std::size_t cost = cost_of(e);
  constexpr std::size_t numbers = 13;
  std::size_t most = numbers * longest_number + e.path.size() + e.reason.size() + e.package.size() + e.version.size() + e.measured_template.size() +
                     e.measured_algorithm.size() + e.measured_file.size();
  for (const std::string& one : e.expected) most += longest_number + one.size();

  const std::size_t begin = bytes_.size();
  bytes_.resize(begin + most);
  Packing p(bytes_.data() + begin + longest_number);
  const bool more = !e.package.empty() || !e.version.empty() || !e.expected.empty() || !e.measured_file.empty();
  p.put(std::uint64_t(e.status) | (more ? has_more : 0));
  p.put(e.index);
  p.put(cost);
  p.put(e.pcr);
  p.put(e.path);
  if (const auto usual = std::find(usual_reasons.begin(), usual_reasons.end(), e.reason); usual != usual_reasons.end()) {
    p.put(std::uint64_t(usual - usual_reasons.begin()));
  } else {
    p.put(usual_reasons.size() + e.reason.size());
    p.put_raw(as_bytes(e.reason));
  }
  p.put(e.measured_template);
  if (more) {
    p.put(e.package);
    p.put(e.version);
    p.put(e.expected.size());
    for (const std::string& one : e.expected) p.put(std::string_view(one));
    p.put(e.measured_file);
    p.put(e.measured_algorithm);
  }

  const std::byte* const from = bytes_.data() + begin + longest_number;
  const auto size = std::size_t(p.at() - from);
  Packing head(bytes_.data() + begin);
  head.put(size);
  std::memmove(head.at(), from, size);
  bytes_.resize(std::size_t(head.at() - bytes_.data()) + size);
  ++count_;
  cost_ += cost;
}

std::vector<PackedFindings::Packed> PackedFindings::all() const {
  std::vector<Packed> out;
  out.reserve(count_);
  for (Unpacking all(bytes_); !all.rest().empty();) {
    const Bytes from = all.rest(), record = all.bytes();
    Unpacking u(record);
    Packed& one = out.emplace_back();
    const std::uint64_t kind = u.number();
    one.status_ = Status(kind & ~has_more);
    one.more_ = (kind & has_more) != 0;
    one.index_ = u.number();
    one.cost_ = std::size_t(u.number());
    one.rest_ = u.rest();
    one.whole_ = from.first(from.size() - all.rest().size());
  }
  return out;
}

void PackedFindings::add(const Packed& packed) {
  bytes_.insert(bytes_.end(), packed.whole_.begin(), packed.whole_.end());
  ++count_;
  cost_ += packed.cost_;
}

void PackedFindings::spell(HashAlgorithm bank, std::vector<Finding>& out) const {
  out.reserve(out.size() + count_);
  for (const Packed& packed : all()) {
    Unpacking u(packed.rest_);
    Finding& f = out.emplace_back();
    f.component = "ima";
    f.entry = packed.index_;
    f.status = packed.status_;
    f.pcr = std::uint32_t(u.number());
    f.path = u.text();
    const auto reason = std::size_t(u.number());
    f.reason = reason < usual_reasons.size() ? usual_reasons[reason] : as_text(u.bytes(reason - usual_reasons.size()));
    if (const Bytes digest = u.bytes(); !digest.empty()) f.measured_template = tagged(name(bank), digest);
    if (!packed.more_) continue;
    f.package = u.text();
    f.version = u.text();
    const auto expected = std::size_t(u.number());
    for (std::size_t n = 0; n < expected; ++n) f.expected.emplace_back(u.text());
    if (const Bytes digest = u.bytes(); !digest.empty()) f.measured_file = tagged(u.text(), digest);
  }
}

}  // namespace gatehouse::pipeline
