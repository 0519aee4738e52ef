#include "server/state/backup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <vector>

#include "base/descriptor.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/hex.h"

namespace gatehouse::server {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view document = "docs/formats/backup.md";
constexpr const char* sums_name = "SHA256SUMS";
constexpr std::size_t max_sums = std::size_t(64) << 20;

std::unexpected<Error> bad(std::string_view reason, const std::string& file, std::string detail = {}) {
  return fail(Error{Fault::malformed, reason, document, 0, file, std::move(detail)});
}
std::unexpected<Error> unreadable(std::string_view reason, const std::error_code& code, const std::string& path) {
  return fail(Error{Fault::environment, reason, {}, 0, path, code.message()});
}

// "db/000012.sst": no name leads out of its folder, whatever a list says.
bool acceptable(std::string_view name) {
  if (name.empty() || name.size() > 255 || name.front() == '/' || name.back() == '/') return false;
  for (std::size_t at = 0; at < name.size();) {
    const std::size_t end = std::min(name.find('/', at), name.size());
    const std::string_view part = name.substr(at, end - at);
    if (part.empty() || part.front() == '.') return false;
    at = end + 1;
  }
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '/';
  });
}

Result<void> sync(const std::string& path, int flags) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
  if (!file || ::fsync(file.get()) != 0) return fail_errno("can't be synced", path);
  return {};
}

struct Content {
  Digest digest;
  std::uint64_t bytes = 0;
};
// Reads it whole; `copy_to`: writes what it reads there, too.
Result<Content> read_through(const std::string& path, const std::string* copy_to = nullptr) {
  const Descriptor in(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat facts{};
  if (!in || ::fstat(in.get(), &facts) != 0) return fail_errno("can't be read", path);
  if (!S_ISREG(facts.st_mode)) return bad("not a regular file", path);
  Descriptor out;
  if (copy_to != nullptr) {
    out = Descriptor(::open(copy_to->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!out) return fail_errno("can't be written", *copy_to);
  }
  Hasher hasher(HashAlgorithm::sha256);
  hasher.start();
  Content content;
  std::vector<std::byte> buffer(std::size_t(1) << 20);
  for (;;) {
    const ssize_t size = ::read(in.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail_errno("can't be read", path);
    if (size == 0) break;
    const Bytes piece(buffer.data(), std::size_t(size));
    hasher.update(piece);
    content.bytes += piece.size();
    for (std::size_t done = 0; copy_to != nullptr && done < piece.size();) {
      const ssize_t written = ::write(out.get(), piece.data() + done, piece.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return fail_errno("can't be written", *copy_to);
      done += std::size_t(written);
    }
  }
  if (copy_to != nullptr && ::fsync(out.get()) != 0) return fail_errno("can't be written", *copy_to);
  content.digest = hasher.finish();
  return content;
}

// The regular files below a folder, by their names in it, but for SHA256SUMS.
Result<std::vector<std::string>> files_of(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code code;
  fs::recursive_directory_iterator it(folder, code);
  for (; !code && it != fs::recursive_directory_iterator(); it.increment(code)) {
    if (it->is_directory(code) && !it->is_symlink(code)) continue;
    const std::string name = it->path().lexically_relative(folder).generic_string();
    if (name == sums_name) continue;
    if (!acceptable(name)) return bad("a file that doesn't belong to a backup", it->path().string());
    out.push_back(name);
  }
  if (code) return unreadable("can't be listed", code, folder);
  std::sort(out.begin(), out.end());
  return out;
}

// Lines of sha256sum(1): 64 digits, two spaces, a name.
Result<std::map<std::string, std::string>> read_sums(const std::string& folder) {
  const std::string path = folder + "/" + sums_name;
  std::error_code code;
  if (!fs::exists(path, code)) return bad("not a backup, or one that was cut short: SHA256SUMS is missing", folder);
  GH_TRY(const ByteVector bytes, read_file(path, max_sums));
  std::string_view text = as_text(bytes);
  std::map<std::string, std::string> out;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = text.find('\n');
    const std::string_view one = text.substr(0, end);
    const auto wrong = [&] { return bad("not a line of sha256sum", path, "line " + std::to_string(line)); };
    if (end == std::string_view::npos || one.size() < 67 || one.substr(64, 2) != "  " || !acceptable(one.substr(66))) return wrong();
    if (one.find_first_not_of("0123456789abcdef") != 64) return wrong();
    if (!out.emplace(one.substr(66), one.substr(0, 64)).second) return wrong();
    text.remove_prefix(end + 1);
  }
  if (!out.contains("format") || !out.contains("db/CURRENT")) return bad("a backup without a database", folder);
  return out;
}

// The folder's files against the list; `to`: copies them there, whose folders exist.
Result<BackupReport> go_through(const std::string& folder, const std::string* to) {
  GH_TRY(const auto sums, read_sums(folder));
  GH_TRY(const auto files, files_of(folder));
  for (const std::string& name : files)
    if (!sums.contains(name)) return bad("a file that SHA256SUMS doesn't name", folder + "/" + name);
  BackupReport out{folder, 0, 0};
  for (const auto& [name, sum] : sums) {
    const std::string path = folder + "/" + name;
    if (!std::binary_search(files.begin(), files.end(), name)) return bad("a file of the backup is missing", path);
    const std::string copy = to == nullptr ? std::string() : *to + "/" + name;
    GH_TRY(const Content content, read_through(path, to == nullptr ? nullptr : &copy));
    if (to_hex(content.digest.view()) != sum) return bad("the file isn't what was backed up", path);
    ++out.files;
    out.bytes += content.bytes;
  }
  return out;
}

}  // namespace

Result<BackupReport> seal_backup(const std::string& folder) {
  GH_TRY(const auto files, files_of(folder));
  BackupReport out{folder, 0, 0};
  std::string sums;
  for (const std::string& name : files) {
    const std::string path = folder + "/" + name;
    GH_TRY(const Content content, read_through(path));
    GH_CHECK(sync(path, 0));
    sums += to_hex(content.digest.view()) + "  " + name + "\n";
    ++out.files;
    out.bytes += content.bytes;
  }
  GH_CHECK(sync(folder + "/db", O_DIRECTORY));
  GH_CHECK(write_file_atomically(folder + "/" + sums_name, as_bytes(sums), 0600));
  GH_CHECK(sync(folder, O_DIRECTORY));
  return out;
}

Result<BackupReport> check_backup(const std::string& folder) { return go_through(folder, nullptr); }

Result<BackupReport> restore_backup(const std::string& folder, const std::string& state) {
  const std::string target = fs::path(state).lexically_normal().string();
  const std::string place = target.size() > 1 && target.back() == '/' ? target.substr(0, target.size() - 1) : target;
  std::error_code code;
  if (fs::exists(place, code) && (!fs::is_directory(place, code) || !fs::is_empty(place, code)))
    return fail(Error{Fault::usage, "there is something already: a backup is restored to a place that is empty or not there", {}, 0, place, {}});
  // Beside it, so that it can take its place in one step.
  std::string made = place + ".restoring-XXXXXX";
  if (::mkdtemp(made.data()) == nullptr) return fail_errno("can't be made", made);
  const auto undo = [&](Error error) {
    std::error_code ignored;
    fs::remove_all(made, ignored);
    return fail(std::move(error));
  };
  if (::mkdir((made + "/db").c_str(), 0700) != 0) return undo(fail_errno("can't be made", made + "/db").error());
  auto copied = go_through(folder, &made);
  if (!copied) return undo(std::move(copied).error());
  for (const std::string& one : {made + "/db", made})
    if (auto synced = sync(one, O_DIRECTORY); !synced) return undo(std::move(synced).error());
  if (::rename(made.c_str(), place.c_str()) != 0) return undo(fail_errno("can't be put in its place", place).error());
  const std::string parent = fs::path(place).parent_path().string();
  GH_CHECK(sync(parent.empty() ? "." : parent, O_DIRECTORY));
  return copied;
}

}  // namespace gatehouse::server
