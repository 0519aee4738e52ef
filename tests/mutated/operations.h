// What can be done to a message: one row each, by layer.
#pragma once

#include <deque>
#include <span>
#include <string_view>
#include <vector>

#include "tests/mutated/mutator.h"

namespace gatehouse::test {

// The message that a change is made to, and what else follows from the change.
struct Context {
  TransportTree& tree;
  Random& random;
  const Pool& pool;
  std::vector<Event> before{}, after{};
  bool dropped = false, held = false;
  std::size_t repeat = 1, cut = 0;
  // Done to the message as bytes, behind everything that is done to its tree.
  std::vector<void (*)(ByteVector&, Random&)> raw{};
  std::deque<AttributeTree> segments{};
  MessageTree* segmented = nullptr;
};

struct Operation {
  Layer layer;
  std::string_view name;
  bool (*make)(Context&);  // false: this message can't have it
};
std::span<const Operation> operations();

}  // namespace gatehouse::test
