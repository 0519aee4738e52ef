#include "refdb/ingest/in_order.h"

#include <oneapi/tbb/parallel_for.h>

#include <atomic>

namespace gatehouse::refdb {

// oneTBB's own loops begin in several places of the range: where the largest come first, the last to be done would be
// one of the middle, and a worker alone with it.
void take_in_order(std::size_t count, unsigned jobs, const std::function<void(std::size_t)>& take) {
  std::atomic<std::size_t> next{0};
  oneapi::tbb::parallel_for(
      0U, jobs,
      [&](unsigned) noexcept {
        for (std::size_t i; (i = next++) < count;) take(i);
      },
      oneapi::tbb::simple_partitioner());
}

}  // namespace gatehouse::refdb
