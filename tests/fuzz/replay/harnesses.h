// The harnesses of tests/fuzz in one program: each one's LLVMFuzzerTestOneInput is compiled under the harness's name.
// CMakeLists.txt writes what defines the list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace gatehouse::fuzz {

struct Harness {
  std::string_view name;
  int (*run)(const std::uint8_t* data, std::size_t size);
};
std::span<const Harness> harnesses();

}  // namespace gatehouse::fuzz
