// Decompression with bounds: one format at a time, never one inside another, memory limited whatever the data asks for,
// and an end that is known to the byte, so that what follows can be of another kind.
//
//   GH_TRY(const auto inflater, Inflater::open(input, offset, Compression::xz));
//   GH_TRY(const std::size_t n, inflater->read(buffer));   // n < buffer.size(): that was all
#pragma once

#include <memory>
#include <optional>

#include "refdb/ingest/input.h"

namespace gatehouse::refdb {

// lz4: the legacy format of kernel images, which has no end but that of the input or a size of 0.
enum class Compression : std::uint8_t { gzip, bzip2, lzma, xz, zstd, lz4 };

// What a decoder may hold: the window of xz -9 is 64 MiB, that of zstd --ultra -22 128 MiB.
inline constexpr std::uint64_t max_decoder_bytes = std::uint64_t(192) << 20;

// By the first bytes (six tell them all apart); nullopt: none that is known.
std::optional<Compression> compression_of(Bytes head);

// One gzip member, bzip2 stream, xz stream, zstd frame. Not for use by two threads at once; the input outlives it.
class Inflater final : public Stream {
 public:
  struct Decoder;
  static Result<std::unique_ptr<Inflater>> open(const Input& input, std::uint64_t offset, Compression compression);
  ~Inflater() override;
  // Fewer bytes than asked for only where the stream ended and its checksum, if it has one, is right.
  Result<std::size_t> read(std::span<std::byte> out) override;
  // Of the first byte that isn't taken: behind the stream, once that has ended.
  std::uint64_t offset() const override { return at_ + taken_; }
  bool ended() const { return ended_; }

 private:
  Inflater(const Input& input, std::uint64_t offset, std::unique_ptr<Decoder> decoder);
  const Input& input_;
  std::unique_ptr<Decoder> decoder_;
  ByteVector buffer_;
  std::size_t filled_ = 0, taken_ = 0;  // of the buffer
  std::uint64_t at_;                    // where the buffer's bytes begin in the input
  bool last_ = false, ended_ = false;
};

// As many streams of one format as follow each other directly, up to 65,536: how pigz and its like write files.
class ConcatenatedInflater final : public Stream {
 public:
  // What may come after the last: nothing, or something else, which offset() is the place of.
  enum class Behind : std::uint8_t { nothing, anything };
  static Result<std::unique_ptr<ConcatenatedInflater>> open(const Input& input, std::uint64_t offset,
                                                            Compression compression, Behind behind = Behind::nothing);
  Result<std::size_t> read(std::span<std::byte> out) override;
  std::uint64_t offset() const override { return one_->offset(); }

 private:
  ConcatenatedInflater(const Input& input, Compression compression, Behind behind, std::unique_ptr<Inflater> first)
      : input_(input), compression_(compression), behind_(behind), one_(std::move(first)) {}
  const Input& input_;
  const Compression compression_;
  const Behind behind_;
  std::unique_ptr<Inflater> one_;
  unsigned streams_ = 1;
};

}  // namespace gatehouse::refdb
