// How much of a long test a submission has time for; all of it runs with scripts/test.sh --long.
#pragma once

#include <cstdlib>

namespace gatehouse::test {

inline bool long_run() { return std::getenv("GATEHOUSE_LONG") != nullptr; }
template <class N>
N how_many(N in_a_submission, N in_a_long_run) {
  return long_run() ? in_a_long_run : in_a_submission;
}

}  // namespace gatehouse::test
