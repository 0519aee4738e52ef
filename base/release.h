// Gives a container's memory back:
//
//   release(buffer_);
//
// Assigning {} to a vector or a string doesn't, since that assigns a list of nothing, and neither does clear(): the
// capacity stays.
#pragma once

namespace gatehouse {

template <class Container>
void release(Container& container) {
  Container().swap(container);
}

}  // namespace gatehouse
