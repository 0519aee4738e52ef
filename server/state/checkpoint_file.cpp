#include "server/state/checkpoint_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/descriptor.h"

namespace gatehouse::server {

Result<CheckpointFile> CheckpointFile::open(std::string path, SigningKey key) {
  const Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
  struct stat facts{};
  if (!file || ::fstat(file.get(), &facts) != 0) return fail_errno("can't be opened", path);
  if (!S_ISREG(facts.st_mode)) return fail(Error{Fault::usage, "not a regular file", {}, 0, path, {}});
  // A checkpoint ends with the line of its signature; none is longer than this.
  constexpr off_t most = 1024;
  std::string tail(std::size_t(std::min(facts.st_size, most)), '\0');
  const off_t from = facts.st_size - off_t(tail.size());
  if (::pread(file.get(), tail.data(), tail.size(), from) != ssize_t(tail.size())) return fail_errno("can't be read", path);
  const std::size_t last = tail.rfind("gatehouse audit checkpoint 1\n");
  if (!tail.empty() && last == std::string::npos) return fail(Error{Fault::malformed, "not a file of checkpoints", "docs/formats/audit.md", std::size_t(from), path, {}});
  if (last != std::string::npos) {
    const std::size_t signature = tail.find("\nsignature ", last);
    if (signature == std::string::npos || tail.back() != '\n' || tail.find('\n', signature + 1) != tail.size() - 1)
      if (::ftruncate(file.get(), from + off_t(last)) != 0) return fail_errno("can't be written", path);
  }
  return CheckpointFile(std::move(path), std::move(key));
}

Result<void> CheckpointFile::append_blocking(const State& state, std::int64_t time) {
  GH_TRY(const AuditHead head, state.audit_head());
  if (written_ && head.size == size_) return {};
  const std::string text = checkpoint_text(head, time, key_);
  const Descriptor file(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
  struct stat facts{};
  if (!file || ::fstat(file.get(), &facts) != 0) return fail_errno("the audit log's checkpoint can't be written", path_);
  const ssize_t wrote = ::write(file.get(), text.data(), text.size());
  if (wrote != ssize_t(text.size()) || ::fsync(file.get()) != 0) {
    auto error = fail_errno("the audit log's checkpoint can't be written", path_);
    if (wrote > 0) (void)!::ftruncate(file.get(), facts.st_size);
    return error;
  }
  size_ = head.size;
  written_ = true;
  return {};
}

}  // namespace gatehouse::server
