// Bytes that the process has allocated and not freed: exact under the address sanitizer; else what the C library has
// given out, small pieces that are freed and wait in a thread's cache included.
#pragma once

#include <malloc.h>

#include <cstddef>

extern "C" std::size_t __sanitizer_get_current_allocated_bytes() __attribute__((weak));

namespace gatehouse::test {

inline std::size_t live_bytes() {
  if (__sanitizer_get_current_allocated_bytes != nullptr) return __sanitizer_get_current_allocated_bytes();
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

}  // namespace gatehouse::test
