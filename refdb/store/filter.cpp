#include "refdb/store/filter.h"

#include <bit>
#include <cstring>

namespace gatehouse::refdb {
namespace {

std::uint32_t big_endian(std::uint32_t word) {
  return std::endian::native == std::endian::big ? word : std::byteswap(word);
}

}  // namespace

std::string Filter::row(std::size_t n) const {
  std::string out(row_words(n) * sizeof(std::uint32_t), '\0');
  const std::uint32_t* const from = words_.data() + n * blocks_a_row * block_words;
  for (std::size_t i = 0; i < row_words(n); ++i) {
    const std::uint32_t word = big_endian(from[i]);
    std::memcpy(out.data() + i * sizeof word, &word, sizeof word);
  }
  return out;
}

bool Filter::set_row(std::size_t n, std::string_view row) {
  if (row.size() != row_words(n) * sizeof(std::uint32_t)) return false;
  std::uint32_t* const to = words_.data() + n * blocks_a_row * block_words;
  for (std::size_t i = 0; i < row_words(n); ++i) {
    std::uint32_t word = 0;
    std::memcpy(&word, row.data() + i * sizeof word, sizeof word);
    to[i] = big_endian(word);
  }
  return true;
}

}  // namespace gatehouse::refdb
