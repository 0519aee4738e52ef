// Work on a list of things in their order, by several threads of the arena that one is in.
#pragma once

#include <oneapi/tbb/parallel_for.h>

#include <atomic>
#include <cstddef>

namespace gatehouse::refdb {

// take(i) for each i below `count`, begun one after the other by whichever of `jobs` tasks is free; it mustn't throw.
// oneTBB's own loops begin in several places of the range: where the largest come first, the last to be done would be
// one of the middle, and a worker alone with it.
template <class Take>
void take_in_order(std::size_t count, unsigned jobs, const Take& take) {
  std::atomic<std::size_t> next{0};
  oneapi::tbb::parallel_for(
      0U, jobs,
      [&](unsigned) noexcept {
        for (std::size_t i; (i = next++) < count;) take(i);
      },
      oneapi::tbb::simple_partitioner());
}

}  // namespace gatehouse::refdb
