// What a C library allocates, freed by the function that it has for that:
//
//   const Owned<EVP_PKEY, EVP_PKEY_free> key(EVP_PKEY_new());
#pragma once

#include <memory>

namespace gatehouse {

// The function's type isn't part of the pointer's, as it would be with decltype(&Free): functions of libraries have
// attributes, and GCC warns of what a template argument drops of them.
template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* p) const {
    (void)Free(p);
  }
};
template <class T, auto Free>
using Owned = std::unique_ptr<T, Freed<Free>>;

}  // namespace gatehouse
