// How far an archive may expand: everything that comes out of a decompressor counts, also what nobody asked for.
#pragma once

#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"

namespace gatehouse::refdb {

// Whether `expanded` bytes are more than an archive of `packed` bytes may give.
inline bool expands_too_far(std::uint64_t expanded, std::uint64_t packed, const IngestLimits& limits) {
  return expanded > limits.package_bytes || (expanded > limits.free_bytes && expanded / limits.ratio > packed);
}

class LimitedStream final : public Stream {
 public:
  // The stream outlives this one. `packed`: size of the archive; `already`: what came out of other parts of it.
  LimitedStream(Stream& stream, std::uint64_t packed, const IngestLimits& limits, std::uint64_t already = 0)
      : stream_(stream), packed_(packed), limits_(limits), total_(already) {}
  Result<std::size_t> read(std::span<std::byte> out) override {
    GH_TRY(const std::size_t n, stream_.read(out));
    total_ += n;
    if (expands_too_far(total_, packed_, limits_))
      return fail(Fault::limit, "the package expands to more than allowed", {}, std::size_t(offset()));
    return n;
  }
  std::uint64_t offset() const override { return stream_.offset(); }
  std::uint64_t total() const { return total_; }

 private:
  Stream& stream_;
  const std::uint64_t packed_;
  const IngestLimits limits_;
  std::uint64_t total_;
};

}  // namespace gatehouse::refdb
