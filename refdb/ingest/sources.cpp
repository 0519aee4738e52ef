#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/file.h"
#include "base/hex.h"
#include "refdb/alias/alias.h"
#include "refdb/ingest/ingest.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t block = std::size_t(1) << 18;
constexpr std::size_t max_control = std::size_t(16) << 20;

struct ArchiveFree {
  void operator()(archive* a) const { archive_read_free(a); }
};
using Archive = std::unique_ptr<archive, ArchiveFree>;

std::unexpected<Error> malformed(std::string_view why, const std::string& source, std::string detail = {}) {
  return fail(Error{Fault::malformed, why, "deb(5)", 0, source, std::move(detail)});
}
std::string why(archive* a) {
  const char* const text = archive_error_string(a);
  return text != nullptr ? escaped(text, 200) : "";
}

// The members of an ar archive, by name; data stays where it is.
struct Members {
  Bytes control, data;
  std::string control_name, data_name;
};
Result<Members> members_of(Bytes package, const std::string& source) {
  if (package.size() < 8 || as_text(package.first(8)) != "!<arch>\n") return malformed("not a Debian package", source);
  Members out;
  bool version = false;
  std::size_t at = 8;
  while (at < package.size()) {
    if (package.size() - at < 60) return malformed("truncated member header", source);
    const std::string_view head = as_text(package.subspan(at, 60));
    if (head.substr(58) != "`\n") return malformed("damaged member header", source);
    std::string name(head.substr(0, 16));
    name.erase(name.find_last_not_of(' ') + 1);
    if (!name.empty() && name.back() == '/') name.pop_back();
    std::uint64_t size = 0;
    for (const char c : head.substr(48, 10)) {
      if (c == ' ') break;
      if (c < '0' || c > '9') return malformed("damaged member size", source);
      size = size * 10 + unsigned(c - '0');
    }
    at += 60;
    if (size > package.size() - at) return malformed("member longer than the file", source);
    const Bytes body = package.subspan(at, std::size_t(size));
    if (name == "debian-binary") version = as_text(body).starts_with("2.");
    else if (name.starts_with("control.tar") && out.control.empty()) out.control = body, out.control_name = name;
    else if (name.starts_with("data.tar") && out.data.empty()) out.data = body, out.data_name = name;
    at += std::size_t(size) + (size & 1);
  }
  if (!version) return malformed("debian-binary is missing or of another version", source);
  if (out.control_name.empty()) return malformed("the control member is missing", source);
  if (out.data_name.empty()) return malformed("the data member is missing", source);
  return out;
}

Result<Archive> open_tar(Bytes bytes, const std::string& source) {
  Archive a(archive_read_new());
  archive_read_support_format_tar(a.get());
  archive_read_support_filter_gzip(a.get());
  archive_read_support_filter_xz(a.get());
  archive_read_support_filter_zstd(a.get());
  archive_read_support_filter_bzip2(a.get());
  archive_read_support_filter_lzma(a.get());
  if (archive_read_open_memory(a.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) return malformed("can't open the member", source, why(a.get()));
  return a;
}

std::string field(std::string_view control, std::string_view name) {
  while (!control.empty()) {
    const std::size_t end = control.find('\n');
    const std::string_view line = control.substr(0, end);
    if (line.starts_with(name) && line.size() > name.size() && line[name.size()] == ':') {
      std::string_view value = line.substr(name.size() + 1);
      while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
      while (!value.empty() && (value.back() == ' ' || value.back() == '\r')) value.remove_suffix(1);
      return std::string(value.substr(0, 255));
    }
    control = end == std::string_view::npos ? std::string_view{} : control.substr(end + 1);
  }
  return {};
}

class Hashers {
 public:
  explicit Hashers(const std::vector<HashAlgorithm>& algorithms) {
    for (const HashAlgorithm a : algorithms) all_.emplace_back(a);
  }
  void start() {
    for (Hasher& h : all_) h.start();
  }
  void update(Bytes bytes) {
    for (Hasher& h : all_) h.update(bytes);
  }
  std::vector<std::pair<HashAlgorithm, Digest>> finish() {
    std::vector<std::pair<HashAlgorithm, Digest>> out;
    for (Hasher& h : all_) out.emplace_back(h.algorithm(), h.finish());
    return out;
  }

 private:
  std::vector<Hasher> all_;
};

}  // namespace

Result<ReferencePackage> read_deb(Bytes bytes, const std::string& source, const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits) {
  GH_TRY(const Members members, members_of(bytes, source));
  ReferencePackage out;
  out.source = fs::path(source).filename().string();
  std::set<std::string> conffiles;
  {
    GH_TRY(const Archive a, open_tar(members.control, source));
    archive_entry* entry = nullptr;
    int rc = ARCHIVE_OK;
    while ((rc = archive_read_next_header(a.get(), &entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
      const char* const raw = archive_entry_pathname(entry);
      const std::string name = fs::path(raw != nullptr ? raw : "").filename().string();
      if (name != "control" && name != "conffiles") continue;
      std::string text;
      char buffer[65536];
      la_ssize_t n = 0;
      while ((n = archive_read_data(a.get(), buffer, sizeof buffer)) > 0) {
        text.append(buffer, std::size_t(n));
        if (text.size() > max_control) return malformed("control file larger than 16 MiB", source);
      }
      if (n < 0) return malformed("can't read the control member", source, why(a.get()));
      if (name == "control") {
        out.name = field(text, "Package");
        out.version = field(text, "Version");
        out.architecture = field(text, "Architecture");
      } else {
        for (std::string_view rest = text; !rest.empty();) {
          const std::size_t end = rest.find('\n');
          std::string_view line = rest.substr(0, end);
          if (line.starts_with("remove-on-upgrade ")) line.remove_prefix(18);
          if (const auto path = canonical_path(line)) conffiles.insert(*path);
          rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
        }
      }
    }
    if (rc != ARCHIVE_EOF) return malformed("can't read the control member", source, why(a.get()));
  }
  if (out.name.empty() || out.version.empty()) return malformed("the control file names no package or version", source);

  GH_TRY(const Archive a, open_tar(members.data, source));
  Hashers hashers(algorithms);
  std::map<std::string, std::size_t> by_path;
  std::vector<std::byte> buffer(block);
  std::uint64_t total = 0;
  archive_entry* entry = nullptr;
  int rc = ARCHIVE_OK;
  while ((rc = archive_read_next_header(a.get(), &entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
    const char* const raw = archive_entry_pathname(entry);
    if (raw == nullptr) return malformed("a member without a name", source);
    const char* const hard = archive_entry_hardlink(entry);
    if (hard == nullptr && archive_entry_filetype(entry) != AE_IFREG) continue;
    const auto path = canonical_path(raw);
    if (!path) return malformed("a member with an unusable path", source, escaped(raw, 200));
    if (out.files.size() >= limits.files) return fail(Error{Fault::limit, "more files than allowed", "deb(5)", 0, source, {}});
    ReferenceFile file;
    file.path = *path;
    file.is_mutable = conffiles.contains(*path);
    if (hard != nullptr) {
      const auto target = canonical_path(hard);
      const auto at = target ? by_path.find(*target) : by_path.end();
      if (at == by_path.end()) return malformed("a hard link to a member that isn't there", source, escaped(raw, 200));
      file.size = out.files[at->second].size;
      file.digests = out.files[at->second].digests;
    } else {
      hashers.start();
      la_ssize_t n = 0;
      while ((n = archive_read_data(a.get(), buffer.data(), buffer.size())) > 0) {
        file.size += std::uint64_t(n);
        total += std::uint64_t(n);
        if (file.size > limits.file_bytes || total > limits.package_bytes) return fail(Error{Fault::limit, "the package expands to more than allowed", "deb(5)", 0, source, {}});
        hashers.update(Bytes(buffer.data(), std::size_t(n)));
      }
      if (n < 0) return malformed("can't read a member of the data archive", source, why(a.get()));
      file.digests = hashers.finish();
    }
    by_path[*path] = out.files.size();
    out.files.push_back(std::move(file));
  }
  if (rc != ARCHIVE_EOF) return malformed("can't read the data archive", source, why(a.get()));
  return out;
}

Result<ReferencePackage> read_deb(const std::string& path, const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits) {
  GH_TRY(const ByteVector bytes, read_file(path, std::size_t(8) << 30));
  auto out = read_deb(Bytes(bytes), path, algorithms, limits);
  if (out) out->identity = digest_of(HashAlgorithm::sha256, bytes);
  return out;
}

Result<ReferencePackage> read_root(const std::string& root, const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits) {
  struct stat top {};
  if (::stat(root.c_str(), &top) != 0) return fail_errno("can't read the tree", root);
  ReferencePackage out;
  out.source = "root:" + root;
  Hashers hashers(algorithms);
  std::vector<std::byte> buffer(block);
  std::error_code ec;
  fs::recursive_directory_iterator it(root, fs::directory_options::skip_permission_denied, ec);
  if (ec) return fail(Error{Fault::environment, "can't read the tree", {}, 0, root, ec.message()});
  for (; it != fs::recursive_directory_iterator(); it.increment(ec)) {
    if (ec) return fail(Error{Fault::environment, "can't read the tree", {}, 0, root, ec.message()});
    struct stat st {};
    if (::lstat(it->path().c_str(), &st) != 0) continue;
    if (S_ISDIR(st.st_mode) && st.st_dev != top.st_dev) it.disable_recursion_pending();  // another file system: /proc, /sys
    if (!S_ISREG(st.st_mode) || st.st_dev != top.st_dev) continue;
    const auto path = canonical_path(it->path().string().substr(root == "/" ? 0 : root.size()));
    if (!path) continue;
    if (out.files.size() >= limits.files) return fail(Error{Fault::limit, "more files than allowed", {}, 0, root, {}});
    const int fd = ::open(it->path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return fail_errno("can't open", it->path().string());
    hashers.start();
    ReferenceFile file;
    file.path = *path;
    ssize_t n = 0;
    while ((n = ::read(fd, buffer.data(), buffer.size())) > 0) {
      file.size += std::uint64_t(n);
      hashers.update(Bytes(buffer.data(), std::size_t(n)));
    }
    ::close(fd);
    if (n < 0) return fail_errno("can't read", it->path().string());
    file.digests = hashers.finish();
    out.files.push_back(std::move(file));
  }
  return out;
}

// "DIGEST  PATH" or "DIGEST *PATH"; a backslash in front means that the path has escapes (coreutils manual, sha2).
Result<ReferencePackage> read_sha256sums(Bytes bytes, const std::string& name) {
  ReferencePackage out;
  out.source = "sha256sums:" + name;
  std::string_view rest = as_text(bytes);
  std::size_t offset = 0;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    const auto bad = [&](std::string_view reason) { return fail(Error{Fault::malformed, reason, "sha256sum", offset, name, {}}); };
    const std::size_t step = line.size() + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (!line.empty()) {
      const bool escapes = line.front() == '\\';
      if (escapes) line.remove_prefix(1);
      if (line.size() < 67 || line[64] != ' ' || (line[65] != ' ' && line[65] != '*')) return bad("not a line of a sha256sum list");
      const auto digest = from_hex(line.substr(0, 64));
      if (!digest) return bad("digest isn't hexadecimal");
      std::string path;
      for (std::size_t i = 66; i < line.size(); ++i) {
        if (escapes && line[i] == '\\' && i + 1 < line.size()) {
          ++i;
          path += line[i] == 'n' ? '\n' : line[i] == 'r' ? '\r' : line[i];
        } else {
          path += line[i];
        }
      }
      if (path.empty() || path.front() != '/') return bad("path isn't absolute");
      const auto canonical = canonical_path(path);
      if (!canonical) return bad("path can't be used");
      ReferenceFile file;
      file.path = *canonical;
      file.digests = {{HashAlgorithm::sha256, Digest(*digest)}};
      out.files.push_back(std::move(file));
    }
    offset += step;
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  return out;
}

}  // namespace gatehouse::refdb
