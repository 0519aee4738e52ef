#include "refdb/store/entries.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace gatehouse::refdb {

Result<std::uint64_t> Spill::write(std::span<const Entry> entries) {
  const std::uint64_t place = blocks_++;
  if (place < in_memory) {
    memory_[std::size_t(place)].assign(entries.begin(), entries.end());
    return place;
  }
  {
    const std::lock_guard lock(mutex_);
    if (!fd_) {
      fd_ = Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
      if (!fd_) return fail_errno("can't write the indexes", path_);
      ::unlink(path_.c_str());
    }
  }
  const auto* at = reinterpret_cast<const char*>(entries.data());
  const std::size_t size = entries.size_bytes();
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = ::pwrite(fd_.get(), at + done, size - done, off_t((place - in_memory) * size + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail_errno("can't write the indexes", path_);
    done += std::size_t(n);
  }
  return place;
}

Result<void> Spill::read(std::uint64_t place, std::vector<Entry>& out) const {
  if (place < in_memory) {
    const auto& from = memory_[std::size_t(place)];
    out.insert(out.end(), from.begin(), from.end());
    return {};
  }
  const std::size_t at = out.size();
  out.resize(at + block);
  auto* to = reinterpret_cast<char*>(out.data() + at);
  constexpr std::size_t size = sizeof(Entry) * block;
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = ::pread(fd_.get(), to + done, size - done, off_t((place - in_memory) * size + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail_errno("can't read the indexes", path_);
    done += std::size_t(n);
  }
  return {};
}

Result<void> EntryParts::spill(Part& part) {
  GH_TRY(const std::uint64_t place, spill_.write(part.waiting));
  part.spilled.push_back(place);
  part.waiting.clear();
  return {};
}

Result<void> EntryParts::gather(std::size_t part, std::vector<Entry>& out) const {
  for (const std::uint64_t place : parts_[part].spilled) GH_CHECK(spill_.read(place, out));
  out.insert(out.end(), parts_[part].waiting.begin(), parts_[part].waiting.end());
  return {};
}

std::vector<std::size_t> sort_into_buckets(std::vector<Entry>& entries, unsigned known, unsigned bits) {
  const std::uint32_t mask = std::uint32_t((std::uint64_t(1) << (bits - known)) - 1);
  std::vector<std::size_t> ends(std::size_t(mask) + 1);
  for (const Entry& e : entries) ++ends[bucket_of(e.hash(), bits) & mask];
  std::size_t begin = 0;
  for (std::size_t& end : ends) begin += std::exchange(end, begin);
  std::vector<Entry> sorted(entries.size());
  for (const Entry& e : entries) sorted[ends[bucket_of(e.hash(), bits) & mask]++] = e;
  begin = 0;
  for (const std::size_t end : ends) {
    std::sort(sorted.begin() + std::ptrdiff_t(begin), sorted.begin() + std::ptrdiff_t(end));
    begin = end;
  }
  entries.swap(sorted);
  return ends;
}

}  // namespace gatehouse::refdb
