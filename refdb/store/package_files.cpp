#include "refdb/store/package_files.h"

#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/release.h"
#include "refdb/alias/alias.h"
#include "refdb/store/file_rows.h"
#include "refdb/store/rows.h"
#include "refdb/store/staging.h"

namespace gatehouse::refdb {
namespace {

// Of a run, its size (4) and rows. In those the number of the package is a RowKind.
constexpr std::size_t part_bytes = std::size_t(256) << 10, part_head_bytes = 4;

// The file's rows, one after the other.
template <class Use>
Result<void> each_row(FileRow& row, const ReferenceFile& f, const Use& use) {
  set_row(row, f);
  GH_CHECK(use(row, f.is_extra ? RowKind::extra : RowKind::file));
  for (const FileContent& c : f.further) {
    set_content(row, c);
    GH_CHECK(use(row, RowKind::further));
  }
  return {};
}

void put_in_order(std::vector<std::pair<HashAlgorithm, Digest>>& digests) {
  if (digests.size() < 2) return;
  const auto by_algorithm = [](const auto& a, const auto& b) { return a.first < b.first; };
  if (!std::ranges::is_sorted(digests, by_algorithm)) std::ranges::sort(digests, by_algorithm);
  const auto twice = std::ranges::unique(digests, [](const auto& a, const auto& b) { return a.first == b.first; });
  digests.erase(twice.begin(), twice.end());
}

}  // namespace

Result<void> put_in_order(ReferenceFile& f) {
  if (!is_canonical(f.path)) {
    GH_TRY(f.path, canonical_path(f.path));
  }
  put_in_order(f.digests);
  for (FileContent& c : f.further) put_in_order(c.digests);
  return {};
}

void put_in_order(std::vector<ReferenceFile>& files) {
  std::vector<std::size_t> order(files.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    const int compared = files[a].path.compare(files[b].path);
    return compared != 0 ? compared < 0 : a < b;
  });
  std::vector<ReferenceFile> out;
  out.reserve(files.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    if (i + 1 == order.size() || files[order[i]].path != files[order[i + 1]].path)
      out.push_back(std::move(files[order[i]]));
  files = std::move(out);
}

Result<void> PackageFiles::add(ReferenceFile file) {
  GH_CHECK(put_in_order(file));
  waiting_bytes_ += file.path.size();
  sorted_ = sorted_ && (waiting_.empty() || waiting_.back().path < file.path);
  for (const FileContent& c : file.further) waiting_bytes_ += sizeof c + c.digests.size() * sizeof c.digests.front();
  waiting_.push_back(std::move(file));
  if (waiting_.size() < most_waiting_ && waiting_bytes_ < most_waiting_bytes) return {};
  return spill();
}

void PackageFiles::sort() {
  if (!sorted_) put_in_order(waiting_);
  sorted_ = true;
}

Result<void> PackageFiles::spill() {
  if (!fd_) {
    GH_TRY(fd_, unnamed_file(folder_));
  }
  sort();
  Run run{end_, 0};
  std::string part(part_head_bytes, '\0');
  FileWriter writer;
  FileRow row;
  const auto flush = [&]() -> Result<void> {
    if (part.size() == part_head_bytes) return {};
    std::string head;
    put(head, std::uint32_t(part.size() - part_head_bytes));
    part.replace(0, part_head_bytes, head);
    GH_CHECK(write_at(fd_, part, end_, folder_));
    end_ += part.size();
    part.resize(part_head_bytes);
    writer.restart();
    return {};
  };
  for (const ReferenceFile& f : waiting_)
    GH_CHECK(each_row(row, f, [&](FileRow& r, RowKind kind) -> Result<void> {
      r.package = std::uint32_t(kind);
      writer.append(part, r);
      if (part.size() >= part_bytes) return flush();
      return {};
    }));
  GH_CHECK(flush());
  run.end = end_;
  runs_.push_back(run);
  waiting_.clear();
  waiting_bytes_ = 0;
  return {};
}

// The files of one run, in order.
class PackageFiles::Reader {
 public:
  Reader(const PackageFiles& of, const Run& run) : of_(of), at_(run.begin), end_(run.end) {}
  // nullptr: there are no more.
  Result<const FileRow*> next() {
    if (files_.done()) {
      if (at_ == end_) return nullptr;
      std::string head(part_head_bytes, '\0');
      GH_CHECK(read(head));
      std::string_view v = head;
      part_.resize(number<std::uint32_t>(v));
      GH_CHECK(read(part_));
      files_ = FileReader(part_);
    }
    row_ = files_.next();
    if (row_ == nullptr) return store_error("what is to be staged is damaged", of_.folder_, std::string());
    return row_;
  }
  const FileRow& row() const { return *row_; }

 private:
  Result<void> read(std::string& out) {
    if (out.size() > end_ - at_) return store_error("what is to be staged is damaged", of_.folder_, std::string());
    for (std::size_t got = 0; got < out.size();) {
      const ssize_t n = ::pread(of_.fd_.get(), out.data() + got, out.size() - got, off_t(at_ + got));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return fail_errno("can't read what is to be staged", of_.folder_);
      got += std::size_t(n);
    }
    at_ += out.size();
    return {};
  }
  const PackageFiles& of_;
  std::uint64_t at_, end_;
  std::string part_;
  FileReader files_{{}};
  const FileRow* row_ = nullptr;
};

Result<void> PackageFiles::in_order(const std::function<Result<void>(const FileRow&, RowKind)>& use) {
  if (runs_.empty()) {
    sort();
    FileRow row;
    for (const ReferenceFile& f : waiting_) GH_CHECK(each_row(row, f, use));
    return {};
  }
  if (!waiting_.empty()) GH_CHECK(spill());
  release(waiting_);
  std::vector<std::unique_ptr<Reader>> readers;
  std::vector<std::size_t> heap;
  // Of files with one path the newest first.
  const auto after = [&](std::size_t a, std::size_t b) {
    const int compared = readers[a]->row().path.compare(readers[b]->row().path);
    return compared != 0 ? compared > 0 : a < b;
  };
  // False: the reader has no more.
  const auto advance = [&](std::size_t i) -> Result<bool> {
    GH_TRY(const FileRow* const row, readers[i]->next());
    return row != nullptr;
  };
  const auto wait = [&](std::size_t i) {
    heap.push_back(i);
    std::ranges::push_heap(heap, after);
  };
  for (const Run& run : runs_) readers.push_back(std::make_unique<Reader>(*this, run));
  for (std::size_t i = 0; i < readers.size(); ++i) {
    GH_TRY(const bool more, advance(i));
    if (more) wait(i);
  }
  for (std::string last; !heap.empty();) {
    std::ranges::pop_heap(heap, after);
    const std::size_t i = heap.back();
    heap.pop_back();
    const bool holds = readers[i]->row().path != last;
    last = readers[i]->row().path;
    // The file, and its further contents behind it.
    for (RowKind kind = RowKind(readers[i]->row().package);;) {
      FileRow row = readers[i]->row();
      row.package = 0;
      if (holds) GH_CHECK(use(row, kind));
      GH_TRY(const bool more, advance(i));
      if (!more) break;
      kind = RowKind(readers[i]->row().package);
      if (kind == RowKind::further) continue;
      wait(i);
      break;
    }
  }
  return {};
}

}  // namespace gatehouse::refdb
