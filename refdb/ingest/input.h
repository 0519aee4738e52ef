// Where the bytes of a source are read from, by offset: a file of any size, or memory. Nothing is mapped: a file that
// shrinks while it is read ends early, and its parser says so.
#pragma once

#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/descriptor.h"
#include "base/error.h"
#include "base/hash.h"

namespace gatehouse::refdb {

class Input {
 public:
  Input() = default;
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;
  virtual ~Input() = default;
  // When it was opened.
  virtual std::uint64_t size() const = 0;
  // As many bytes as there are from `offset` on, at most out.size(); fewer only at the end.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;
  // Exactly `size` bytes. Asks for no memory before it is known that the input is that long.
  Result<ByteVector> bytes_at(std::uint64_t offset, std::size_t size) const;
};

// SHA-256 of all of it.
Result<Digest> digest_of_input(const Input& input);

class MemoryInput final : public Input {
 public:
  explicit MemoryInput(Bytes bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override;

 private:
  const Bytes bytes_;
};

class FileInput final : public Input {
 public:
  // A regular file; environment faults name it.
  static Result<std::unique_ptr<FileInput>> open(const std::string& path);
  // The same of a file that is open; `path` names it in errors.
  static Result<std::unique_ptr<FileInput>> adopt(Descriptor fd, const std::string& path);
  // The same of a file that another process looked at, `size` bytes long: it is read and nothing else.
  static std::unique_ptr<FileInput> given(Descriptor fd, std::uint64_t size);
  int descriptor() const { return fd_.get(); }
  std::uint64_t size() const override { return size_; }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  // An environment fault where the file was written to since it was opened: what was read twice may not be one thing.
  Result<void> check_unchanged() const;
  // SHA-256 of what says that it is the same file, not written to since: device, inode, size, and when content and
  // inode were last changed. nullopt: when it was opened that was so recent that another change could leave it as it
  // is.
  std::optional<Digest> stamp() const;

 private:
  FileInput(std::string path, Descriptor fd, const struct stat& st)
      : path_(std::move(path)), fd_(std::move(fd)), size_(std::uint64_t(st.st_size)), opened_(st) {}
  const std::string path_;
  const Descriptor fd_;
  const std::uint64_t size_;
  const struct stat opened_;
  const std::int64_t opened_at_ = now();
  static std::int64_t now();  // seconds since 1970
};

// An input that is what it was when it was opened: it is read once then, and what is read later is held against that,
// block by block, before anyone sees it. So nobody can have one content judged and another one taken in, and no package
// needs to be held in memory for it. The input underneath outlives it; one thread at a time.
class PinnedInput final : public Input {
 public:
  // What the input was, for another process that reads it.
  struct Pin {
    std::uint64_t size = 0;
    Digest digest;                                   // of all of it
    std::vector<std::array<std::byte, 32>> blocks;  // SHA-256 of each 128 KiB
  };
  static Result<std::unique_ptr<PinnedInput>> open(const Input& input, Pin pin);
  const Pin& pin() const { return pin_; }
  static Result<std::unique_ptr<PinnedInput>> open(const Input& input, HashAlgorithm algorithm);
  const Digest& digest() const { return pin_.digest; }  // of all of it
  std::uint64_t size() const override { return pin_.size; }
  // An environment fault where it isn't what it was.
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override;

 private:
  static constexpr std::size_t block_size = std::size_t(128) << 10;
  explicit PinnedInput(const Input& input) : input_(input) {}
  Result<Bytes> block(std::size_t number) const;

  const Input& input_;
  Pin pin_;
  mutable ByteVector held_;                        // the block that was read last
  mutable std::size_t held_number_ = SIZE_MAX;
};

// Bytes that come once, in order.
class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;
  // Fewer bytes than asked for only at the end.
  virtual Result<std::size_t> read(std::span<std::byte> out) = 0;
  // How far the input underneath has been read: where an error is.
  virtual std::uint64_t offset() const = 0;
};

// An input from `offset` on, as it is. Reads ahead, so that small reads cost little.
class PlainStream final : public Stream {
 public:
  PlainStream(const Input& input, std::uint64_t offset) : input_(input), offset_(offset) {}
  Result<std::size_t> read(std::span<std::byte> out) override;
  std::uint64_t offset() const override { return offset_; }

 private:
  const Input& input_;
  std::uint64_t offset_;
  ByteVector ahead_;       // its unread bytes are those from offset_ on
  std::size_t taken_ = 0;  // of them
};

// A part of an input, as an input. The input outlives it.
class PartInput final : public Input {
 public:
  // The part lies within the input.
  PartInput(const Input& input, std::uint64_t offset, std::uint64_t size)
      : input_(input), offset_(offset), size_(size) {}
  std::uint64_t size() const override { return size_; }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override;

 private:
  const Input& input_;
  const std::uint64_t offset_, size_;
};

}  // namespace gatehouse::refdb
