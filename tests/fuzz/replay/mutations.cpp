#include "tests/fuzz/replay/mutations.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace gatehouse::fuzz {
namespace {

bool is_digit(std::uint8_t c) { return c >= '0' && c <= '9'; }

}  // namespace

const Input& Mutations::any_seed() { return seeds_.empty() ? none_ : seeds_[below(seeds_.size())]; }

std::size_t Mutations::some_of(std::size_t n) {
  if (n == 0) return 0;
  const std::size_t most = std::size_t(1) << below(17);
  return 1 + below(std::min(n, most));
}

const Input& Mutations::next() {
  input_ = any_seed();
  // One change finds what is checked last, many what only comes together.
  for (std::size_t changes = 1 + std::min(below(6), below(6)); changes-- > 0;) change();
  if (input_.size() > longest) input_.resize(longest);
  return input_;
}

void Mutations::change() {
  if (input_.empty()) return insert();
  switch (below(16)) {
    case 0: case 1: case 2: case 3: return change_byte();
    case 4: case 5: case 6: case 7: return change_number();
    case 8: return change_decimal();
    case 9: return cut_end();
    case 10: return cut_out();
    case 11: return repeat();
    case 12: return move();
    case 13: return insert();
    default: return splice();
  }
}

void Mutations::change_byte() {
  std::uint8_t& byte = input_[below(input_.size())];
  switch (below(4)) {
    case 0: byte = std::uint8_t(byte ^ 1U << below(8)); return;
    case 1: byte = std::uint8_t(random_()); return;
    case 2: byte = input_[below(input_.size())]; return;  // of the same alphabet
    default: byte = std::array<std::uint8_t, 8>{0, 1, 0x7F, 0x80, 0xFF, '\n', ' ', '"'}[below(8)]; return;
  }
}

void Mutations::put_number(std::size_t at, std::size_t size, std::uint64_t value, bool little) {
  for (std::size_t i = 0; i < size; ++i) input_[at + (little ? i : size - 1 - i)] = std::uint8_t(value >> 8 * i);
}

// A length, a count or an offset: what it says more or less than there is, and where arithmetic wraps.
void Mutations::change_number() {
  const std::size_t size = std::min(std::size_t(1) << below(4), input_.size());
  // Heads are where most lengths are.
  const std::size_t places = input_.size() - size + 1;
  const std::size_t at = below(2) == 0 ? below(places) : below(std::min<std::size_t>(places, 64));
  const bool little = below(2) == 0;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value |= std::uint64_t(input_[at + (little ? i : size - 1 - i)]) << 8 * i;
  const std::uint64_t most = size == 8 ? UINT64_MAX : (std::uint64_t(1) << 8 * size) - 1, step = 1 + below(16);
  switch (below(8)) {
    case 0: value = most; break;
    case 1: value = most / 2 + below(2); break;
    case 2: value = most - step; break;
    case 3: value = below(4); break;
    case 4: value += step; break;
    case 5: value -= step; break;
    case 6: value = input_.size() - at + step - 8; break;  // about what is left
    default: value = input_.size() + step - 8; break;
  }
  put_number(at, size, value, little);
}

void Mutations::change_decimal() {
  const std::size_t from = below(input_.size());
  const auto first = std::find_if(input_.begin() + std::ptrdiff_t(from), input_.end(), is_digit);
  if (first == input_.end()) return change_number();
  const auto last = std::find_if_not(first, input_.end(), is_digit);
  static constexpr std::array<std::string_view, 8> numbers = {
      "0", "-1", "00", "4294967295", "4294967296", "9223372036854775808", "18446744073709551616", "99999999999999999999"};
  const std::string_view number = numbers[below(numbers.size())];
  const auto at = input_.erase(first, last);
  input_.insert(at, number.begin(), number.end());
}

void Mutations::cut_end() { input_.resize(below(input_.size())); }

void Mutations::cut_out() {
  const std::size_t length = some_of(input_.size());
  const auto at = input_.begin() + std::ptrdiff_t(below(input_.size() - length + 1));
  input_.erase(at, at + std::ptrdiff_t(length));
}

void Mutations::repeat() {
  const std::size_t length = some_of(std::min<std::size_t>(input_.size(), 4096));
  const std::size_t at = below(input_.size() - length + 1);
  const Input part(input_.begin() + std::ptrdiff_t(at), input_.begin() + std::ptrdiff_t(at + length));
  const std::size_t times = std::min(1 + below(below(4) == 0 ? 64 : 2), longest / length);
  for (std::size_t i = 0; i < times; ++i) input_.insert(input_.begin() + std::ptrdiff_t(at), part.begin(), part.end());
}

void Mutations::move() {
  const std::size_t first = below(input_.size()), last = first + some_of(input_.size() - first);
  const std::size_t middle = first + below(last - first);
  const auto begin = input_.begin();
  std::rotate(begin + std::ptrdiff_t(first), begin + std::ptrdiff_t(middle), begin + std::ptrdiff_t(last));
}

// Of another seed, or bytes of none.
void Mutations::insert() {
  const Input& other = any_seed();
  const auto at = input_.begin() + std::ptrdiff_t(below(input_.size() + 1));
  if (other.empty() || below(2) == 0) {
    Input made(some_of(64));
    for (std::uint8_t& byte : made) byte = std::uint8_t(random_());
    input_.insert(at, made.begin(), made.end());
    return;
  }
  const std::size_t length = some_of(std::min<std::size_t>(other.size(), 4096)), from = below(other.size() - length + 1);
  input_.insert(at, other.begin() + std::ptrdiff_t(from), other.begin() + std::ptrdiff_t(from + length));
}

void Mutations::splice() {
  const Input& other = any_seed();
  if (other.empty()) return change_byte();
  input_.resize(below(input_.size() + 1));
  // At the same place as often as at another: what is in front of it fits then.
  const std::size_t from = below(2) == 0 ? std::min(input_.size(), other.size()) : below(other.size());
  input_.insert(input_.end(), other.begin() + std::ptrdiff_t(from), other.end());
}

}  // namespace gatehouse::fuzz
