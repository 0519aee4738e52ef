#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <unordered_map>

#include "base/file.h"
#include "base/hex.h"
#include "refdb/alias/alias.h"
#include "refdb/ingest/file_hasher.h"
#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"
#include "refdb/ingest/limited_stream.h"
#include "refdb/ingest/maintainer_script.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t block = std::size_t(1) << 18;
constexpr std::size_t max_control = std::size_t(16) << 20;

struct ArchiveFree {
  void operator()(archive* a) const { archive_read_free(a); }
};
using Archive = std::unique_ptr<archive, ArchiveFree>;

// `offset`: in the package file. Inside a compressed member it is where its compressed bytes had been read to.
std::unexpected<Error> malformed(std::string_view why, const std::string& source, std::size_t offset,
                                 std::string detail = {}) {
  return fail(Error{Fault::malformed, why, "deb(5)", offset, source, std::move(detail)});
}
std::string why(archive* a) {
  const char* const text = archive_error_string(a);
  return text != nullptr ? escaped(text, 200) : "";
}

// The members of an ar archive, by name; data stays where it is.
struct Member {
  std::uint64_t at = 0, size = 0;
  bool found = false;
};
struct Members {
  Member control, data;
};
Result<Members> members_of(const Input& package, const std::string& source) {
  std::byte buffer[60];
  // As many as there are from `from` on, at most `most`.
  const auto bytes_at = [&](std::uint64_t from, std::size_t most) -> Result<std::string_view> {
    GH_TRY(const std::size_t n, package.read_at(from, std::span(buffer).first(most)));
    return as_text(Bytes(buffer, n));
  };
  GH_TRY(const std::string_view magic, bytes_at(0, 8));
  if (magic != "!<arch>\n") return malformed("not a Debian package", source, 0);
  Members out;
  bool version = false;
  std::uint64_t at = 8;
  while (at < package.size()) {
    GH_TRY(const std::string_view head, bytes_at(at, 60));
    if (head.size() < 60) return malformed("truncated member header", source, std::size_t(at));
    if (head.substr(58) != "`\n") return malformed("damaged member header", source, std::size_t(at + 58));
    std::string name(head.substr(0, 16));
    name.erase(name.find_last_not_of(' ') + 1);
    if (!name.empty() && name.back() == '/') name.pop_back();
    std::uint64_t size = 0;
    for (const char c : head.substr(48, 10)) {
      if (c == ' ') break;
      if (c < '0' || c > '9') return malformed("damaged member size", source, std::size_t(at + 48));
      size = size * 10 + unsigned(c - '0');
    }
    at += 60;
    if (size > package.size() - at)
      return malformed("member longer than the file", source, std::size_t(at - 12));  // its size field
    if (name == "debian-binary") {
      GH_TRY(const std::string_view text, bytes_at(at, std::size_t(std::min<std::uint64_t>(size, 2))));
      version = text == "2.";
    } else if (name.starts_with("control.tar") && !out.control.found) {
      out.control = {at, size, true};
    } else if (name.starts_with("data.tar") && !out.data.found) {
      out.data = {at, size, true};
    }
    at += size + (size & 1);
  }
  if (!version) return malformed("debian-binary is missing or of another version", source, 8);
  if (!out.control.found) return malformed("the control member is missing", source, std::size_t(package.size()));
  if (!out.data.found) return malformed("the data member is missing", source, std::size_t(package.size()));
  return out;
}

// A compressed tar in a part of an input.
class TarMember {
 public:
  static Result<std::unique_ptr<TarMember>> open(const Input& input, const Member& member, const std::string& source) {
    std::unique_ptr<TarMember> out(new TarMember(input, member));
    archive* const a = out->get();
    archive_read_support_format_tar(a);
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_lzma(a);
    if (archive_read_open(a, out.get(), nullptr, read, nullptr) != ARCHIVE_OK)
      return malformed("can't open the member", source, std::size_t(member.at), why(a));
    return out;
  }
  archive* get() const { return archive_.get(); }
  // In the package file.
  std::size_t at() const {
    return std::size_t(member_.at) + std::size_t(std::max<la_int64_t>(archive_filter_bytes(get(), -1), 0));
  }

 private:
  TarMember(const Input& input, const Member& member) : input_(input), member_(member), archive_(archive_read_new()) {}
  static la_ssize_t read(archive* a, void* self, const void** out) {
    TarMember& t = *static_cast<TarMember*>(self);
    const auto most = std::size_t(std::min<std::uint64_t>(block, t.member_.size - t.read_));
    const auto n = t.input_.read_at(t.member_.at + t.read_, std::span(t.buffer_.get(), most));
    if (!n) {
      archive_set_error(a, EIO, "%s", n.error().text().c_str());
      return -1;
    }
    t.read_ += *n;
    *out = t.buffer_.get();
    return la_ssize_t(*n);
  }

  const Input& input_;
  const Member member_;
  std::uint64_t read_ = 0;
  // Not zeroed: in a decoder each page that is touched is a page of its own.
  const std::unique_ptr<std::byte[]> buffer_ = std::make_unique_for_overwrite<std::byte[]>(block);
  const Archive archive_;
};

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

// Of the control archive's members: those that dpkg keeps and runs.
constexpr std::string_view script_names[] = {"config", "postinst", "postrm", "preinst", "prerm"};

// Under the names that dpkg gives them, with the architecture where several of the package may be installed. The place
// where a new package's preinst runs before it has its name is left out: one path with a content for each package would
// be many answers to one question, which any endpoint can ask.
void add_scripts(std::vector<std::pair<std::string, ReferenceFile>> scripts, bool several_architectures,
                 ReferencePackage& package) {
  const std::string stem = package.name + (several_architectures ? ":" + package.architecture : std::string());
  const auto usable = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::strchr("+-.:", c) != nullptr;
  };
  if (!std::ranges::all_of(stem, usable)) return;
  for (auto& [name, file] : scripts) {
    file.is_extra = true;
    file.path = "/var/lib/dpkg/info/" + stem + "." + name;
    package.files.push_back(std::move(file));
  }
}

// What a package's own files are called besides, where another name may be a link to one of them.
void add_alternatives(const std::vector<Alternative>& alternatives, ReferencePackage& package) {
  if (alternatives.empty()) return;
  std::unordered_map<std::string, std::size_t> by_path;
  for (std::size_t i = 0; i < package.files.size(); ++i) by_path.emplace(index_path(package.files[i].path), i);
  for (const Alternative& a : alternatives) {
    const auto is = by_path.find(index_path(a.path));
    if (is == by_path.end() || package.files[is->second].is_extra) continue;
    if (!by_path.emplace(index_path(a.link), package.files.size()).second) continue;
    ReferenceFile link = package.files[is->second];
    link.path = a.link;
    link.is_extra = true;
    package.files.push_back(std::move(link));
  }
}

}  // namespace

Result<ReferencePackage> read_deb(Bytes bytes, const std::string& source, const std::vector<HashAlgorithm>& algorithms,
                                  const IngestLimits& limits) {
  return read_deb(MemoryInput(bytes), source, algorithms, limits);
}

namespace {

// What makes a package's references besides.
struct Control {
  DebControl says;
  bool several_architectures = false;
  std::vector<std::pair<std::string, ReferenceFile>> scripts;  // by their names in the archive
  Declarations declared;
};

// Scripts only in the algorithms that are asked for; none: without.
Result<Control> read_control(const Input& input, const Member& member, const std::string& source,
                             const std::vector<HashAlgorithm>& algorithms) {
  Control control;
  DebControl& out = control.says;
  GH_TRY(const auto a, TarMember::open(input, member, source));
  const auto at = [&] { return a->at(); };
  archive_entry* entry = nullptr;
  int rc = ARCHIVE_OK;
  while ((rc = archive_read_next_header(a->get(), &entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
    const char* const raw = archive_entry_pathname(entry);
    const std::string name = fs::path(raw != nullptr ? raw : "").filename().string();
    const bool is_script = !algorithms.empty() && std::ranges::find(script_names, name) != std::end(script_names);
    if (name != "control" && name != "conffiles" && !is_script) continue;
    std::string text;
    char buffer[65536];
    la_ssize_t n = 0;
    while ((n = archive_read_data(a->get(), buffer, sizeof buffer)) > 0) {
      text.append(buffer, std::size_t(n));
      if (text.size() > max_control) return malformed("control file larger than 16 MiB", source, at());
    }
    if (n < 0) return malformed("can't read the control member", source, at(), why(a->get()));
    if (name == "control") {
      out.name = field(text, "Package");
      out.version = field(text, "Version");
      out.architecture = field(text, "Architecture");
      out.section = field(text, "Section");
      out.priority = field(text, "Priority");
      control.several_architectures = field(text, "Multi-Arch") == "same";
    } else if (is_script) {
      ReferenceFile file;
      file.size = text.size();
      for (const HashAlgorithm bank : algorithms) file.digests.emplace_back(bank, digest_of(bank, as_bytes(text)));
      control.scripts.emplace_back(name, std::move(file));
      read_declarations(text, control.declared);
    } else {
      for (std::string_view rest = text; !rest.empty();) {
        const std::size_t end = rest.find('\n');
        std::string_view line = rest.substr(0, end);
        if (line.starts_with("remove-on-upgrade ")) line.remove_prefix(18);
        if (auto path = canonical_path(line)) out.conffiles.push_back(*std::move(path));
        rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
      }
    }
  }
  if (rc != ARCHIVE_EOF) return malformed("can't read the control member", source, at(), why(a->get()));
  if (out.name.empty() || out.version.empty())
    return malformed("the control file names no package or version", source, std::size_t(member.at));
  std::ranges::sort(out.conffiles);
  return control;
}

}  // namespace

Result<DebControl> read_deb_control(const Input& input, const std::string& source) {
  GH_TRY(const Members members, members_of(input, source));
  GH_TRY(Control control, read_control(input, members.control, source, {}));
  return std::move(control.says);
}

Result<ReferencePackage> read_deb(const Input& input, const std::string& source,
                                  const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits) {
  GH_TRY(const Members members, members_of(input, source));
  GH_TRY(Control control, read_control(input, members.control, source, algorithms));
  ReferencePackage out;
  out.format = PackageFormat::deb;
  out.source = fs::path(source).filename().string();
  out.name = std::move(control.says.name);
  out.version = std::move(control.says.version);
  out.architecture = std::move(control.says.architecture);

  GH_TRY(const auto a, TarMember::open(input, members.data, source));
  const auto at = [&] { return a->at(); };
  FileHasher hasher(algorithms, limits);
  std::map<std::string, std::size_t> by_path;
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(block);
  std::uint64_t total = 0, paths = 0;
  archive_entry* entry = nullptr;
  int rc = ARCHIVE_OK;
  while ((rc = archive_read_next_header(a->get(), &entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
    const char* const raw = archive_entry_pathname(entry);
    if (raw == nullptr) return malformed("a member without a name", source, at());
    const char* const hard = archive_entry_hardlink(entry);
    if (hard == nullptr && archive_entry_filetype(entry) != AE_IFREG) continue;
    const auto path = canonical_path(raw);
    if (!path) return malformed("a member with an unusable path", source, at(), escaped(raw, 200));
    if (out.files.size() >= limits.files)
      return fail(Error{Fault::limit, "more files than allowed", "deb(5)", at(), source, {}});
    if ((paths += path->size()) > limits.path_bytes)
      return fail(Error{Fault::limit, "longer paths than allowed", "deb(5)", at(), source, {}});
    ReferenceFile file;
    file.path = *path;
    file.is_mutable = std::ranges::binary_search(control.says.conffiles, *path);
    if (hard != nullptr) {
      const auto target = canonical_path(hard);
      const auto linked = target ? by_path.find(*target) : by_path.end();
      if (linked == by_path.end())
        return malformed("a hard link to a member that isn't there", source, at(), escaped(raw, 200));
      const ReferenceFile& same = out.files[linked->second];
      file.size = same.size;
      file.digests = same.digests;
      file.further = same.further;
    } else {
      hasher.start(*path);
      la_ssize_t n = 0;
      while ((n = archive_read_data(a->get(), buffer.get(), block)) > 0) {
        file.size += std::uint64_t(n);
        total += std::uint64_t(n);
        if (file.size > limits.file_bytes || expands_too_far(total, input.size(), limits))
          return fail(Error{Fault::limit, "the package expands to more than allowed", "deb(5)", at(), source, {}});
        hasher.update(Bytes(buffer.get(), std::size_t(n)));
      }
      if (n < 0) return malformed("can't read a member of the data archive", source, at(), why(a->get()));
      hasher.finish(file);
    }
    by_path[*path] = out.files.size();
    out.files.push_back(std::move(file));
  }
  if (rc != ARCHIVE_EOF) return malformed("can't read the data archive", source, at(), why(a->get()));
  add_alternatives(control.declared.alternatives, out);
  out.diversions = std::move(control.declared.diversions);
  add_scripts(std::move(control.scripts), control.several_architectures, out);
  out.warnings = hasher.take_warnings();
  return out;
}

Result<ReferencePackage> read_deb(const std::string& path, const std::vector<HashAlgorithm>& algorithms,
                                  const IngestLimits& limits) {
  GH_TRY(const auto input, FileInput::open(path));
  GH_TRY(const auto pinned, PinnedInput::open(*input, HashAlgorithm::sha256));
  GH_TRY(ReferencePackage out, read_deb(*pinned, path, algorithms, limits));
  out.identity = pinned->digest();
  return out;
}

namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

// The tree may be a running system's: what vanishes between being named and being opened isn't there, and what turned
// into a symbolic link isn't followed.
bool vanished(int code) { return code == ENOENT || code == ELOOP || code == ENOTDIR; }

Result<Folder> open_folder(const std::string& path, bool top) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | (top ? 0 : O_NOFOLLOW));
  if (fd < 0) {
    if (!top && vanished(errno)) return Folder();
    return fail_errno("can't read the tree", path);
  }
  Folder out(::fdopendir(fd));
  if (out == nullptr) ::close(fd);
  return out;
}

// A regular file's size, digests and further contents; nullopt: it isn't one any more.
Result<std::optional<ReferenceFile>> hash_file(const std::string& path, FileHasher& hasher, const UnpackModule& unpack,
                                               std::vector<std::byte>& buffer) {
  // Not blocking: it may have become a FIFO.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) {
    if (vanished(errno)) return std::optional<ReferenceFile>();
    return fail_errno("can't open", path);
  }
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return std::optional<ReferenceFile>();
  ReferenceFile out;
  ssize_t n = 0;
  hasher.start(path);
  while ((n = ::read(fd.get(), buffer.data(), buffer.size())) > 0) hasher.update(Bytes(buffer.data(), std::size_t(n)));
  if (n < 0) return fail_errno("can't read", path);
  hasher.finish(out);
  if (!unpack || !is_packed_module(path)) return std::optional(std::move(out));
  GH_TRY(const auto file, FileInput::adopt(std::move(fd), path));
  if (auto further = unpack(*file, path); further)
    out.further = *std::move(further);
  else
    hasher.warn(path, further.error());
  return std::optional(std::move(out));
}

FileSink into(std::vector<ReferenceFile>& files) {
  return [&files](ReferenceFile&& file) -> Result<void> {
    files.push_back(std::move(file));
    return {};
  };
}

}  // namespace

Result<ReferencePackage> read_root(const std::string& root, const std::vector<HashAlgorithm>& algorithms,
                                   const IngestLimits& limits) {
  std::vector<ReferenceFile> files;
  GH_TRY(ReferencePackage out, read_root(root, algorithms, into(files), limits));
  out.files = std::move(files);
  return out;
}

Result<ReferencePackage> read_root(const std::string& root, const std::vector<HashAlgorithm>& algorithms,
                                   const FileSink& sink, const IngestLimits& limits, const UnpackModule& unpack) {
  struct stat top {};
  if (::stat(root.c_str(), &top) != 0) return fail_errno("can't read the tree", root);
  ReferencePackage out;
  out.source = "root:" + root;
  std::uint64_t files = 0;
  FileHasher hasher(algorithms, limits, !unpack);
  std::vector<std::byte> buffer(block);
  std::vector<std::string> folders{""};  // below the root, each with a slash in front
  while (!folders.empty()) {
    const std::string folder = std::move(folders.back());
    folders.pop_back();
    GH_TRY(const Folder opened, open_folder(root + folder, folder.empty()));
    if (opened == nullptr) continue;
    while (const dirent* const entry = (errno = 0, ::readdir(opened.get()))) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      std::string path = folder + "/" + std::string(name);
      struct stat st {};
      if (::lstat((root + path).c_str(), &st) != 0 || st.st_dev != top.st_dev)
        continue;  // another file system: /proc, /sys
      if (S_ISDIR(st.st_mode))
        folders.push_back(std::move(path));
      else if (S_ISREG(st.st_mode)) {
        const auto canonical = canonical_path(path);
        if (!canonical) continue;
        if (files >= limits.files) return fail(Error{Fault::limit, "more files than allowed", {}, 0, root, {}});
        GH_TRY(std::optional<ReferenceFile> file, hash_file(root + path, hasher, unpack, buffer));
        if (!file) continue;
        ++files;
        file->path = *canonical;
        GH_CHECK(sink(std::move(*file)));
      }
    }
    if (errno != 0) return fail_errno("can't read the tree", root + folder);
  }
  out.warnings = hasher.take_warnings();
  return out;
}

namespace {

// "DIGEST  PATH" or "DIGEST *PATH"; a backslash in front means that the path has escapes (coreutils manual, sha2).
Result<void> take_sum(std::string_view line, std::uint64_t offset, const std::string& name, const FileSink& sink) {
  const auto bad = [&](std::string_view reason) {
    return fail(Error{Fault::malformed, reason, "sha256sum", std::size_t(offset), name, {}});
  };
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line.empty() || line.front() == '#') return {};  // a comment, as for sha256sum --check
  const bool escapes = line.front() == '\\';
  if (escapes) line.remove_prefix(1);
  if (line.size() < 67 || line[64] != ' ' || (line[65] != ' ' && line[65] != '*'))
    return bad("not a line of a sha256sum list");
  const auto digest = from_hex(line.substr(0, 64));
  if (!digest) return bad("digest isn't hexadecimal");
  std::string path;
  for (std::size_t i = 66; i < line.size(); ++i) {
    if (!escapes || line[i] != '\\') {
      path += line[i];
      continue;
    }
    const char escape = ++i < line.size() ? line[i] : '\0';
    if (escape != 'n' && escape != 'r' && escape != '\\') return bad("unknown escape in the path");
    path += escape == 'n' ? '\n' : escape == 'r' ? '\r' : '\\';
  }
  if (path.empty() || path.front() != '/') return bad("path isn't absolute");
  const auto canonical = canonical_path(path);
  if (!canonical) return bad("path can't be used");
  ReferenceFile file;
  file.path = *canonical;
  file.digests = {{HashAlgorithm::sha256, Digest(*digest)}};
  return sink(std::move(file));
}

}  // namespace

ReferencePackage sums_package(const std::string& name) {
  ReferencePackage out;
  out.source = "sha256sums:" + name;
  return out;
}

Result<ReferencePackage> read_sha256sums(Bytes bytes, const std::string& name) {
  ReferencePackage out = sums_package(name);
  const FileSink sink = into(out.files);
  std::string_view rest = as_text(bytes);
  std::size_t offset = 0;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    GH_CHECK(take_sum(line, offset, name, sink));
    offset += line.size() + 1;
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
  return out;
}

Result<ReferencePackage> read_sha256sums(Stream& text, const std::string& name, const FileSink& sink) {
  // No line that can be used is longer, however much of it are escapes; comments aren't either.
  constexpr std::size_t most_line_bytes = std::size_t(64) << 10;
  std::vector<std::byte> buffer(std::size_t(256) << 10);
  std::size_t has = 0;
  std::uint64_t offset = 0;
  for (bool ended = false; !ended;) {
    GH_TRY(const std::size_t n, text.read(std::span(buffer).subspan(has)));
    ended = n < buffer.size() - has;
    has += n;
    std::string_view rest = as_text(Bytes(buffer).first(has));
    while (!rest.empty()) {
      const std::size_t end = rest.find('\n');
      if (end == rest.npos && !ended && rest.size() <= most_line_bytes) break;
      const std::string_view line = rest.substr(0, end);
      if (line.size() > most_line_bytes)
        return fail(
            Error{Fault::malformed, "not a line of a sha256sum list", "sha256sum", std::size_t(offset), name, {}});
      GH_CHECK(take_sum(line, offset, name, sink));
      offset += line.size() + 1;
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    }
    std::memmove(buffer.data(), buffer.data() + (has - rest.size()), rest.size());
    has = rest.size();
  }
  return sums_package(name);
}

}  // namespace gatehouse::refdb
