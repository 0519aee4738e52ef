#include "refdb/ingest/input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/writer.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view reason_changed = "the file changed while it was read";

}  // namespace

Result<ByteVector> Input::bytes_at(std::uint64_t offset, std::size_t size) const {
  if (offset > this->size() || size > this->size() - offset)
    return fail(Fault::malformed, "truncated", {}, std::size_t(this->size()));
  ByteVector out(size);
  GH_TRY(const std::size_t got, read_at(offset, out));
  if (got != size) return fail(Fault::malformed, "truncated", {}, std::size_t(offset + got));
  return out;
}

Result<std::size_t> MemoryInput::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset >= bytes_.size()) return std::size_t{0};
  const Bytes from = bytes_.subspan(std::size_t(offset));
  const std::size_t n = std::min(from.size(), out.size());
  std::copy_n(from.begin(), n, out.begin());
  return n;
}

Result<std::unique_ptr<FileInput>> FileInput::open(const std::string& path) {
  // Not blocking: it may be a FIFO.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno("can't open", path);
  return adopt(std::move(fd), path);
}

Result<std::unique_ptr<FileInput>> FileInput::adopt(Descriptor fd, const std::string& path) {
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode))
    return fail(Error{Fault::environment, "not a regular file", {}, 0, path, {}});
  return std::unique_ptr<FileInput>(new FileInput(path, std::move(fd), st));
}

std::unique_ptr<FileInput> FileInput::given(Descriptor fd, std::uint64_t size) {
  struct stat st {};
  st.st_size = off_t(size);
  return std::unique_ptr<FileInput>(new FileInput({}, std::move(fd), st));
}

Result<void> FileInput::check_unchanged() const {
  struct stat st {};
  if (::fstat(fd_.get(), &st) != 0) return fail_errno("can't read", path_);
  if (std::uint64_t(st.st_size) == size_ && st.st_mtim.tv_sec == opened_.st_mtim.tv_sec &&
      st.st_mtim.tv_nsec == opened_.st_mtim.tv_nsec)
    return {};
  return fail(Error{Fault::environment, reason_changed, {}, 0, path_, {}});
}

std::int64_t FileInput::now() { return std::time(nullptr); }

std::optional<Digest> FileInput::stamp() const {
  // File systems count in steps of up to two seconds.
  constexpr std::int64_t settled = 3;
  if (opened_at_ - opened_.st_ctim.tv_sec < settled || opened_at_ - opened_.st_mtim.tv_sec < settled)
    return std::nullopt;
  Writer w;
  for (const std::uint64_t n : {std::uint64_t(opened_.st_dev), std::uint64_t(opened_.st_ino), size_,
                                std::uint64_t(opened_.st_mtim.tv_sec), std::uint64_t(opened_.st_mtim.tv_nsec),
                                std::uint64_t(opened_.st_ctim.tv_sec), std::uint64_t(opened_.st_ctim.tv_nsec)})
    w.put(n);
  return digest_of(HashAlgorithm::sha256, w.view());
}

Result<std::size_t> FileInput::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd_.get(), out.data() + done, out.size() - done, off_t(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("can't read", path_);
    if (n == 0) break;
    done += std::size_t(n);
  }
  return done;
}

Result<std::unique_ptr<PinnedInput>> PinnedInput::open(const Input& input, HashAlgorithm algorithm) {
  std::unique_ptr<PinnedInput> out(new PinnedInput(input));
  Hasher all(algorithm), one(HashAlgorithm::sha256);
  all.start();
  ByteVector buffer(block_size);
  while (out->pin_.size < input.size()) {
    GH_TRY(const std::size_t n, input.read_at(out->pin_.size, buffer));
    if (n == 0 || n > input.size() - out->pin_.size) return fail(Fault::environment, reason_changed);
    const Bytes block = Bytes(buffer).first(n);
    all.update(block);
    std::ranges::copy(one(block).view(), out->pin_.blocks.emplace_back().begin());
    out->pin_.size += n;
  }
  out->pin_.digest = all.finish();
  return out;
}

Result<std::unique_ptr<PinnedInput>> PinnedInput::open(const Input& input, Pin pin) {
  if (input.size() != pin.size || pin.blocks.size() != (pin.size + block_size - 1) / block_size)
    return fail(Fault::environment, reason_changed);
  std::unique_ptr<PinnedInput> out(new PinnedInput(input));
  out->pin_ = std::move(pin);
  return out;
}

Result<Bytes> PinnedInput::block(std::size_t number) const {
  if (held_number_ != number) {
    held_number_ = SIZE_MAX;
    held_.resize(std::size_t(std::min<std::uint64_t>(block_size, pin_.size - std::uint64_t(number) * block_size)));
    GH_TRY(const std::size_t n, input_.read_at(std::uint64_t(number) * block_size, held_));
    if (n != held_.size() || !std::ranges::equal(digest_of(HashAlgorithm::sha256, held_).view(), pin_.blocks[number]))
      return fail(Fault::environment, reason_changed);
    held_number_ = number;
  }
  return Bytes(held_);
}

Result<std::size_t> PinnedInput::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  std::size_t done = 0;
  while (done < out.size() && offset + done < pin_.size) {
    const std::uint64_t at = offset + done;
    GH_TRY(const Bytes held, block(std::size_t(at / block_size)));
    const Bytes from = held.subspan(std::size_t(at % block_size));
    const std::size_t n = std::min(from.size(), out.size() - done);
    std::copy_n(from.begin(), n, out.begin() + std::ptrdiff_t(done));
    done += n;
  }
  return done;
}

Result<std::size_t> PlainStream::read(std::span<std::byte> out) {
  constexpr std::size_t block = std::size_t(64) << 10;
  std::size_t done = 0;
  while (done < out.size()) {
    if (taken_ < ahead_.size()) {
      const std::size_t n = std::min(out.size() - done, ahead_.size() - taken_);
      std::copy_n(ahead_.begin() + std::ptrdiff_t(taken_), n, out.begin() + std::ptrdiff_t(done));
      taken_ += n;
      offset_ += n;
      done += n;
      continue;
    }
    if (out.size() - done >= block) {
      GH_TRY(const std::size_t n, input_.read_at(offset_, out.subspan(done)));
      offset_ += n;
      return done + n;
    }
    ahead_.resize(block);
    taken_ = 0;
    GH_TRY(const std::size_t n, input_.read_at(offset_, ahead_));
    ahead_.resize(n);
    if (n == 0) break;
  }
  return done;
}

Result<std::size_t> PartInput::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset >= size_) return std::size_t{0};
  return input_.read_at(offset_ + offset, out.first(std::size_t(std::min<std::uint64_t>(out.size(), size_ - offset))));
}

Result<Digest> digest_of_input(const Input& input) {
  Hasher hasher(HashAlgorithm::sha256);
  hasher.start();
  ByteVector buffer(std::size_t(1) << 18);
  for (std::uint64_t at = 0;;) {
    GH_TRY(const std::size_t n, input.read_at(at, buffer));
    if (n == 0) return hasher.finish();
    hasher.update(Bytes(buffer).first(n));
    at += n;
  }
}

}  // namespace gatehouse::refdb
