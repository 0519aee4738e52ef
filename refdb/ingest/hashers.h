// All digests of one content in one pass.
#pragma once

#include <utility>
#include <vector>

#include "base/hash.h"

namespace gatehouse::refdb {

class Hashers {
 public:
  explicit Hashers(const std::vector<HashAlgorithm>& algorithms) {
    for (const HashAlgorithm a : algorithms) all_.emplace_back(a);
  }
  void start() {
    for (Hasher& h : all_) h.start();
  }
  void update(Bytes bytes) {
    for (Hasher& h : all_) h.update(bytes);
  }
  std::vector<std::pair<HashAlgorithm, Digest>> finish() {
    std::vector<std::pair<HashAlgorithm, Digest>> out;
    for (Hasher& h : all_) out.emplace_back(h.algorithm(), h.finish());
    return out;
  }

 private:
  std::vector<Hasher> all_;
};

}  // namespace gatehouse::refdb
