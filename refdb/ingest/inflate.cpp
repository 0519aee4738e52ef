#include "refdb/ingest/inflate.h"

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <utility>

namespace gatehouse::refdb {

// What one call of a library did with a part of the input.
struct Inflater::Decoder {
  struct Step {
    std::size_t taken = 0, made = 0;
    bool end = false;
  };
  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  virtual ~Decoder() = default;
  // `last`: no more input will come than `in`.
  virtual Result<Step> run(Bytes in, std::span<std::byte> out, bool last) = 0;
};

namespace {

constexpr std::size_t input_block = std::size_t(64) << 10;
constexpr unsigned max_streams = 65536;
using Decoder = Inflater::Decoder;
using Step = Decoder::Step;

std::unexpected<Error> damaged() { return fail(Fault::malformed, "damaged compressed data"); }
std::unexpected<Error> no_memory() { return fail(Fault::internal, "no memory for the decompressor"); }
std::unexpected<Error> wants_memory() {
  return fail(Fault::limit, "the compressed data asks for more memory than allowed");
}
unsigned part(std::size_t size) { return unsigned(std::min<std::size_t>(size, std::size_t(1) << 30)); }

class Gzip final : public Decoder {
 public:
  Gzip() { ready_ = inflateInit2(&z_, 15 + 16) == Z_OK; }
  ~Gzip() override { inflateEnd(&z_); }
  Result<Step> run(Bytes in, std::span<std::byte> out, bool) override {
    if (!ready_) return no_memory();
    // zlib doesn't write to it, and says const only with a macro.
    z_.next_in = const_cast<Bytef*>(as_uchar(in));
    z_.avail_in = part(in.size());
    z_.next_out = reinterpret_cast<Bytef*>(out.data());
    z_.avail_out = part(out.size());
    const Step before{z_.avail_in, z_.avail_out};
    const int rc = inflate(&z_, Z_NO_FLUSH);
    if (rc == Z_MEM_ERROR) return no_memory();
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) return damaged();
    return Step{before.taken - z_.avail_in, before.made - z_.avail_out, rc == Z_STREAM_END};
  }

 private:
  z_stream z_{};
  bool ready_ = false;
};

class Bzip2 final : public Decoder {
 public:
  Bzip2() { ready_ = BZ2_bzDecompressInit(&z_, 0, 0) == BZ_OK; }
  ~Bzip2() override { BZ2_bzDecompressEnd(&z_); }
  Result<Step> run(Bytes in, std::span<std::byte> out, bool) override {
    if (!ready_) return no_memory();
    z_.next_in = const_cast<char*>(as_text(in).data());  // not written to
    z_.avail_in = part(in.size());
    z_.next_out = reinterpret_cast<char*>(out.data());
    z_.avail_out = part(out.size());
    const Step before{z_.avail_in, z_.avail_out};
    const int rc = BZ2_bzDecompress(&z_);
    if (rc == BZ_MEM_ERROR) return no_memory();
    if (rc != BZ_OK && rc != BZ_STREAM_END) return damaged();
    return Step{before.taken - z_.avail_in, before.made - z_.avail_out, rc == BZ_STREAM_END};
  }

 private:
  bz_stream z_{};
  bool ready_ = false;
};

class Lzma final : public Decoder {
 public:
  explicit Lzma(bool alone) {
    ready_ = (alone ? lzma_alone_decoder(&z_, max_decoder_bytes) : lzma_stream_decoder(&z_, max_decoder_bytes, 0)) ==
             LZMA_OK;
  }
  ~Lzma() override { lzma_end(&z_); }
  Result<Step> run(Bytes in, std::span<std::byte> out, bool) override {
    if (!ready_) return no_memory();
    z_.next_in = reinterpret_cast<const std::uint8_t*>(in.data());
    z_.avail_in = in.size();
    z_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    z_.avail_out = out.size();
    const lzma_ret rc = lzma_code(&z_, LZMA_RUN);
    if (rc == LZMA_MEM_ERROR) return no_memory();
    if (rc == LZMA_MEMLIMIT_ERROR) return wants_memory();
    if (rc != LZMA_OK && rc != LZMA_STREAM_END && rc != LZMA_BUF_ERROR) return damaged();
    return Step{in.size() - z_.avail_in, out.size() - z_.avail_out, rc == LZMA_STREAM_END};
  }

 private:
  lzma_stream z_ = LZMA_STREAM_INIT;
  bool ready_ = false;
};

class Zstd final : public Decoder {
 public:
  Zstd() : z_(ZSTD_createDStream()) {}
  Result<Step> run(Bytes in, std::span<std::byte> out, bool) override {
    if (z_ == nullptr) return no_memory();
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    // The library's own limit of the window, 128 MiB, holds.
    const std::size_t rc = ZSTD_decompressStream(z_.get(), &to, &from);
    if (ZSTD_isError(rc) != 0)
      return ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge ? wants_memory() : damaged();
    return Step{from.pos, to.pos, rc == 0};
  }

 private:
  struct Free {
    void operator()(ZSTD_DStream* z) const { ZSTD_freeDStream(z); }
  };
  std::unique_ptr<ZSTD_DStream, Free> z_;
};

// lib/decompress_unlz4.c: a magic number, then blocks of up to 8 MiB, each with its compressed size in front
// (little-endian).
class Lz4 final : public Decoder {
 public:
  Result<Step> run(Bytes in, std::span<std::byte> out, bool last) override {
    Step step;
    while (step.made < out.size()) {
      if (given_ < made_) {
        const std::size_t n = std::min(made_ - given_, out.size() - step.made);
        std::copy_n(content_.get() + given_, n, out.begin() + std::ptrdiff_t(step.made));
        given_ += n;
        step.made += n;
        continue;
      }
      const std::size_t n = std::min(wanted_ - block_.size(), in.size() - step.taken);
      const Bytes piece = in.subspan(step.taken, n);
      block_.insert(block_.end(), piece.begin(), piece.end());
      step.taken += n;
      if (block_.size() < wanted_) {
        step.end = last && block_.empty() && state_ == State::size;
        return step;
      }
      GH_TRY(step.end, complete());
      if (step.end) return step;
    }
    return step;
  }

 private:
  static constexpr std::size_t block_bytes = std::size_t(8) << 20;
  static constexpr std::uint32_t magic = 0x184C2102;

  // What was wanted is there: true at the end.
  Result<bool> complete() {
    if (state_ == State::block) {
      // Not zeroed: most blocks are small.
      if (content_ == nullptr) content_ = std::make_unique_for_overwrite<std::byte[]>(block_bytes);
      const int n = LZ4_decompress_safe(as_text(block_).data(), reinterpret_cast<char*>(content_.get()),
                                        int(block_.size()), int(block_bytes));
      if (n < 0) return damaged();
      given_ = 0;
      made_ = std::size_t(n);
      expect(State::size, 4);
      return false;
    }
    std::uint32_t number = 0;
    for (std::size_t i = 4; i-- > 0;) number = number << 8 | std::to_integer<std::uint32_t>(block_[i]);
    if (state_ == State::magic && number != magic) return damaged();
    if (number == magic) {
      expect(State::size, 4);
      return false;
    }
    if (number == 0) return true;
    if (number > std::size_t(LZ4_compressBound(int(block_bytes)))) return damaged();
    expect(State::block, number);
    return false;
  }
  enum class State : std::uint8_t { magic, size, block };
  void expect(State state, std::size_t bytes) {
    state_ = state;
    wanted_ = bytes;
    block_.clear();
  }

  State state_ = State::magic;
  std::size_t wanted_ = 4;
  std::size_t made_ = 0, given_ = 0;  // of the content: there is, and was handed out
  ByteVector block_;
  std::unique_ptr<std::byte[]> content_;
};

std::unique_ptr<Decoder> decoder_of(Compression compression) {
  switch (compression) {
    case Compression::gzip:
      return std::make_unique<Gzip>();
    case Compression::bzip2:
      return std::make_unique<Bzip2>();
    case Compression::lzma:
      return std::make_unique<Lzma>(true);
    case Compression::xz:
      return std::make_unique<Lzma>(false);
    case Compression::zstd:
      return std::make_unique<Zstd>();
    case Compression::lz4:
      return std::make_unique<Lz4>();
  }
  std::unreachable();
}

}  // namespace

std::optional<Compression> compression_of(Bytes head) {
  using namespace std::string_view_literals;
  constexpr std::pair<std::string_view, Compression> known[] = {
      {"\x1f\x8b"sv, Compression::gzip},
      {"BZh"sv, Compression::bzip2},
      {"\x5d\0\0"sv, Compression::lzma},
      {"\xfd"
       "7zXZ\0"sv,
       Compression::xz},
      {"\x28\xb5\x2f\xfd"sv, Compression::zstd},
      {"\x02\x21\x4c\x18"sv, Compression::lz4},
  };
  for (const auto& [magic, compression] : known)
    if (as_text(head).starts_with(magic)) return compression;
  return std::nullopt;
}

Inflater::Inflater(const Input& input, std::uint64_t offset, std::unique_ptr<Decoder> decoder)
    : input_(input), decoder_(std::move(decoder)), buffer_(input_block), at_(offset) {}
Inflater::~Inflater() = default;

Result<std::unique_ptr<Inflater>> Inflater::open(const Input& input, std::uint64_t offset, Compression compression) {
  return std::unique_ptr<Inflater>(new Inflater(input, offset, decoder_of(compression)));
}

Result<std::size_t> Inflater::read(std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size() && !ended_) {
    if (taken_ == filled_ && !last_) {
      at_ += filled_;
      filled_ = taken_ = 0;
      GH_TRY(filled_, input_.read_at(at_, buffer_));
      last_ = filled_ < buffer_.size();
    }
    const auto step = decoder_->run(Bytes(buffer_).subspan(taken_, filled_ - taken_), out.subspan(done), last_);
    if (!step) {
      Error error = step.error();
      error.offset = std::size_t(offset());
      return fail(std::move(error));
    }
    taken_ += step->taken;
    done += step->made;
    ended_ = step->end;
    // Nothing in, nothing out: more input is needed, and there is none.
    if (!ended_ && step->taken == 0 && step->made == 0 && taken_ == filled_ && last_)
      return fail(Fault::malformed, "truncated compressed data", {}, std::size_t(offset()));
    if (!ended_ && step->taken == 0 && step->made == 0 && taken_ != filled_)
      return fail(Fault::malformed, "damaged compressed data", {}, std::size_t(offset()));
  }
  return done;
}

Result<std::unique_ptr<ConcatenatedInflater>> ConcatenatedInflater::open(const Input& input, std::uint64_t offset,
                                                                         Compression compression, Behind behind) {
  GH_TRY(auto first, Inflater::open(input, offset, compression));
  return std::unique_ptr<ConcatenatedInflater>(new ConcatenatedInflater(input, compression, behind, std::move(first)));
}

Result<std::size_t> ConcatenatedInflater::read(std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    GH_TRY(const std::size_t n, one_->read(out.subspan(done)));
    done += n;
    if (done == out.size()) break;
    const std::uint64_t at = one_->offset();
    std::byte head[6];
    GH_TRY(const std::size_t got, input_.read_at(at, head));
    if (got == 0) break;
    const bool more = compression_of(Bytes(head, got)) == compression_;
    if (!more && behind_ == Behind::anything) break;
    if (!more) return fail(Fault::malformed, "trailing bytes after the compressed data", {}, std::size_t(at));
    if (++streams_ > max_streams)
      return fail(Fault::limit, "more compressed streams than allowed", {}, std::size_t(at));
    GH_TRY(one_, Inflater::open(input_, at, compression_));
  }
  return done;
}

}  // namespace gatehouse::refdb
