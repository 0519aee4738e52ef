// Inputs for a parser that are near to ones it takes: each is a seed with one to six changes. Bits and bytes, lengths and
// counts of any size and byte order, decimal numbers, ranges cut out, doubled and moved, the end cut off, two seeds spliced.
//
//   Mutations mutations(number, seeds);
//   for (int i = 0; i < 2000; ++i) parse(mutations.next());
//
// The same number and seeds give the same inputs, with any compiler of this library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace gatehouse::fuzz {

using Input = std::vector<std::uint8_t>;

class Mutations {
 public:
  // The seeds are the caller's and outlive this. None: all starts at no byte.
  Mutations(std::uint64_t number, const std::vector<Input>& seeds) : seeds_(seeds), random_(number) {}
  // Valid until the next call.
  const Input& next();

 private:
  static constexpr std::size_t longest = 65'536;

  void change();
  void change_byte();
  void change_number();
  void change_decimal();
  void cut_end();
  void cut_out();
  void repeat();
  void move();
  void insert();
  void splice();
  void put_number(std::size_t at, std::size_t size, std::uint64_t value, bool little);

  // Below n, which isn't 0.
  std::size_t below(std::size_t n) { return std::size_t(random_() % n); }
  // A length of at most n: short ones as often as long ones.
  std::size_t some_of(std::size_t n);
  const Input& any_seed();

  const std::vector<Input>& seeds_;
  const Input none_;
  std::mt19937_64 random_;
  Input input_;
};

}  // namespace gatehouse::fuzz
