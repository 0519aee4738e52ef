#include "refdb/store/entries.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace gatehouse::refdb {

Result<std::uint64_t> Spill::write(std::vector<Entry>& entries) {
  const std::uint64_t place = blocks_++;
  if (place < in_memory) {
    memory_[std::size_t(place)] = std::move(entries);
    entries = {};
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
  const std::size_t size = entries.size() * sizeof(Entry);
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = ::pwrite(fd_.get(), at + done, size - done, off_t((place - in_memory) * size + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail_errno("can't write the indexes", path_);
    done += std::size_t(n);
  }
  entries.clear();
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
  part.waiting.reserve(Spill::block);
  return {};
}

Result<void> EntryParts::gather(std::size_t part, std::vector<Entry>& out) const {
  for (const std::uint64_t place : parts_[part].spilled) GH_CHECK(spill_.read(place, out));
  out.insert(out.end(), parts_[part].waiting.begin(), parts_[part].waiting.end());
  return {};
}

std::vector<std::size_t> sort_into_buckets(std::vector<Entry>& entries, unsigned known, unsigned bits) {
  // First by so many bits that few entries have them in common, and those are then compared.
  unsigned finer = 0;
  while (bits + finer < 32 && (entries.size() >> (bits - known + finer)) > 4) ++finer;
  const unsigned chosen = bits + finer;
  const std::uint32_t mask = std::uint32_t((std::uint64_t(1) << (chosen - known)) - 1);
  const auto place = [&](const Entry& e) { return bucket_of(e.hash(), chosen) & mask; };
  std::vector<std::uint32_t> fine(std::size_t(mask) + 1);
  for (const Entry& e : entries) ++fine[place(e)];
  std::uint32_t begin = 0;
  for (std::uint32_t& end : fine) begin += std::exchange(end, begin);
  std::vector<Entry> sorted(entries.size());
  for (const Entry& e : entries) sorted[fine[place(e)]++] = e;
  begin = 0;
  for (const std::uint32_t end : fine) {
    if (end - begin > 1) std::sort(sorted.begin() + begin, sorted.begin() + end);
    begin = end;
  }
  entries.swap(sorted);
  std::vector<std::size_t> ends(std::size_t(1) << (bits - known));
  for (std::size_t i = 0; i < ends.size(); ++i) ends[i] = fine[((i + 1) << finer) - 1];
  return ends;
}

}  // namespace gatehouse::refdb
