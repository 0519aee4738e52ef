// Work on a list of things in their order, by several threads of the arena that one is in.
#pragma once

#include <cstddef>
#include <functional>

namespace gatehouse::refdb {

// take(i) for each i below `count`, begun one after the other by whichever of `jobs` tasks is free; it mustn't throw.
void take_in_order(std::size_t count, unsigned jobs, const std::function<void(std::size_t)>& take);

}  // namespace gatehouse::refdb
