#include "pipeline/verdict/packed_findings.h"

namespace gatehouse::pipeline {
namespace {

// Numbers have seven bits a byte, the lowest first; the highest bit says that more follow. Texts and digests have their
// size in front.
constexpr std::size_t longest_number = 10;
constexpr unsigned number_bits = 7;

class Packing {
 public:
  explicit Packing(std::byte* at) : at_(at) {}
  void put(std::uint64_t number) {
    for (; number >> number_bits != 0; number >>= number_bits) *at_++ = std::byte(number | 0x80);
    *at_++ = std::byte(number);
  }
  void put(Bytes bytes) {
    put(bytes.size());
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
  Bytes bytes() {
    const auto size = std::size_t(number());
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
  std::string out;
  out.reserve(algorithm.size() + 1 + 2 * digest.size());
  (out += algorithm) += ':';
  for (const std::byte b : digest) (out += digits[std::size_t(b) >> 4]) += digits[std::size_t(b) & 15];
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

// The record's size; status, index and cost; and the rest.
void PackedFindings::add(const Entry& e) {
  const std::size_t cost = cost_of(e);
  constexpr std::size_t numbers = 13;
  std::size_t most = numbers * longest_number + e.path.size() + e.reason.size() + e.package.size() + e.version.size() + e.measured_template.size() +
                     e.measured_algorithm.size() + e.measured_file.size();
  for (const std::string& one : e.expected) most += longest_number + one.size();

  const std::size_t begin = bytes_.size();
  bytes_.resize(begin + most);
  Packing p(bytes_.data() + begin + longest_number);
  p.put(std::uint64_t(e.status));
  p.put(e.index);
  p.put(cost);
  p.put(e.pcr);
  p.put(e.path);
  p.put(e.reason);
  p.put(e.package);
  p.put(e.version);
  p.put(e.expected.size());
  for (const std::string& one : e.expected) p.put(std::string_view(one));
  p.put(e.measured_template);
  p.put(e.measured_file);
  p.put(e.measured_algorithm);

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
    one.status_ = Status(u.number());
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
    f.reason = u.text();
    f.package = u.text();
    f.version = u.text();
    const auto expected = std::size_t(u.number());
    for (std::size_t n = 0; n < expected; ++n) f.expected.emplace_back(u.text());
    if (const Bytes digest = u.bytes(); !digest.empty()) f.measured_template = tagged(name(bank), digest);
    if (const Bytes digest = u.bytes(); !digest.empty()) f.measured_file = tagged(u.text(), digest);
  }
}

}  // namespace gatehouse::pipeline
