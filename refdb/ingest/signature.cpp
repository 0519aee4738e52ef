#include "refdb/ingest/signature.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include "base/base64.h"
#include "base/descriptor.h"
#include "base/file.h"
#include "base/hex.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view spec = "gpgv";
constexpr std::size_t max_keyring_bytes = std::size_t(64) << 20;
constexpr std::size_t max_status_bytes = std::size_t(1) << 20;

std::unexpected<Error> denied(std::string_view why, std::string detail = {}) {
  return fail(Error{Fault::denied, why, {}, 0, {}, std::move(detail)});
}

// A file without a name, in memory; the child gets it under a number of its own.
class MemoryFile {
 public:
  static Result<MemoryFile> make(Bytes content = {}) {
    const Descriptor low(::memfd_create("gatehouse", MFD_CLOEXEC));
    if (!low) return fail_errno("can't make a file in memory", spec);
    // Above every number that the child uses.
    Descriptor file(::fcntl(low.get(), F_DUPFD_CLOEXEC, 100));
    if (!file) return fail_errno("can't make a file in memory", spec);
    while (!content.empty()) {
      const ssize_t n = ::write(file.get(), content.data(), content.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno("can't write a file in memory", spec);
      content = content.subspan(std::size_t(n));
    }
    return MemoryFile(std::move(file));
  }
  int fd() const { return file_.get(); }
  Result<ByteVector> content(std::size_t limit) const {
    const off_t size = ::lseek(fd(), 0, SEEK_END);
    if (size < 0) return fail_errno("can't read a file in memory", spec);
    if (std::size_t(size) > limit) return fail(Fault::limit, "gpgv says more than allowed", spec);
    ByteVector out(static_cast<std::size_t>(size));
    if (::pread(fd(), out.data(), out.size(), 0) != size) return fail_errno("can't read a file in memory", spec);
    return out;
  }

 private:
  explicit MemoryFile(Descriptor file) : file_(std::move(file)) {}
  Descriptor file_;
};

// One run of gpgv. `given` and `keyrings` are opened by the child anew, so that each run begins at their start.
struct Ran {
  ByteVector status, output;
  std::string said;  // on standard error, its last line
};
Result<Ran> run_gpgv(std::vector<std::string> arguments, const std::vector<int>& given, std::size_t output_limit) {
  GH_TRY(const MemoryFile status, MemoryFile::make());
  GH_TRY(const MemoryFile output, MemoryFile::make());
  GH_TRY(const MemoryFile errors, MemoryFile::make());
  arguments.insert(arguments.begin(), {"gpgv", "--status-fd", "3", "--weak-digest", "SHA1", "--weak-digest",
                                       "RIPEMD160", "--homedir", "/nonexistent"});
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  const char* const path = std::getenv("PATH");
  std::string environment[] = {std::string("PATH=") + (path != nullptr ? path : "/usr/bin:/bin"), "LC_ALL=C"};
  char* envp[] = {environment[0].data(), environment[1].data(), nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output.fd(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, errors.fd(), 2);
  ::posix_spawn_file_actions_adddup2(&actions, status.fd(), 3);
  for (std::size_t i = 0; i < given.size(); ++i)
    ::posix_spawn_file_actions_adddup2(&actions, given[i], int(4 + i));
  pid_t child = 0;
  const int code = ::posix_spawnp(&child, "gpgv", &actions, nullptr, argv.data(), envp);
  ::posix_spawn_file_actions_destroy(&actions);
  if (code != 0) {
    errno = code;
    return fail_errno("can't run gpgv (Debian: package gpgv), which checks signatures", spec);
  }
  // A signature that keeps it busy is none.
  const rlimit seconds{60, 60};
  ::prlimit(child, RLIMIT_CPU, &seconds, nullptr);
  int ended = 0;
  while (::waitpid(child, &ended, 0) < 0)
    if (errno != EINTR) return fail_errno("can't wait for gpgv", spec);
  if (!WIFEXITED(ended) || WEXITSTATUS(ended) == 127)
    return fail(Error{Fault::environment, "gpgv didn't end by itself, or isn't there", {}, 0, std::string(spec), {}});
  Ran out;
  GH_TRY(out.status, status.content(max_status_bytes));
  GH_TRY(out.output, output.content(output_limit));
  GH_TRY(const ByteVector text, errors.content(max_status_bytes));
  std::string_view last = as_text(text);
  while (last.ends_with('\n')) last.remove_suffix(1);
  out.said = escaped(last.substr(last.rfind('\n') + 1), 200);
  return out;
}

std::string_view word(std::string_view& rest) {
  const std::size_t end = std::min(rest.find(' '), rest.size());
  const std::string_view out = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return out;
}

bool is_base64(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/' || c == '=';
}

}  // namespace

struct Keyring::File {
  explicit File(MemoryFile content_) : content(std::move(content_)) {}
  MemoryFile content;
};

Result<ByteVector> dearmored(Bytes file) {
  constexpr std::string_view begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----", end = "-----END PGP PUBLIC KEY BLOCK-----";
  const std::string_view text = as_text(file);
  if (text.find(begin) == text.npos) return ByteVector(file.begin(), file.end());
  ByteVector out;
  std::string base64;
  bool inside = false, headers = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t line_end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, line_end - at);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    const auto bad = [&](std::string_view why) { return fail(Fault::malformed, why, "RFC 4880 6.2", at); };
    if (line == begin) {
      if (inside) return bad("an armored block in another");
      inside = headers = true;
      base64.clear();
    } else if (inside && line == end) {
      const auto keys = from_base64(base64);
      if (!keys) return bad("damaged armor");
      out.insert(out.end(), keys->begin(), keys->end());
      inside = false;
    } else if (inside && headers) {
      if (line.empty()) headers = false;
      else if (line.find(": ") == line.npos) return bad("damaged armor");
    } else if (inside && !line.starts_with('=')) {  // the checksum has one in front; gpgv reads the packets anyway
      if (!std::all_of(line.begin(), line.end(), is_base64)) return bad("damaged armor");
      base64 += line;
    }
    at = line_end + 1;
  }
  if (inside) return fail(Fault::malformed, "truncated armor", "RFC 4880 6.2", text.size());
  return out;
}

Result<Keyring> Keyring::open(const std::vector<std::string>& files) {
  Keyring out;
  for (const std::string& path : files) {
    GH_TRY(const ByteVector content, read_file(path, max_keyring_bytes));
    auto keys = dearmored(content);
    if (!keys) return fail(std::move(keys).error().from(path));
    // A packet's first octet has its top bit set (RFC 4880 4.2); a keybox has its name at 8.
    const bool keybox = as_text(*keys).substr(0, 12).ends_with("KBXf");
    if (keys->empty() || (!keybox && (std::to_integer<unsigned>(keys->front()) & 0x80) == 0))
      return fail(Error{Fault::malformed, "not a keyring", "RFC 4880 4.2", 0, path, {}});
    GH_TRY(MemoryFile file, MemoryFile::make(*keys));
    out.files_.push_back(std::make_shared<const File>(std::move(file)));
  }
  if (out.files_.empty() || out.files_.size() > 64) return fail(Fault::usage, "one to 64 keyrings are needed");
  return out;
}

Result<std::string> judge_signatures(std::string_view status) {
  // Of the signature that is being told of.
  struct {
    bool good = false, stale = false;
  } now;
  std::size_t texts = 0;
  std::string fingerprint, why_detail;
  std::string_view why;
  const auto note = [&](std::string_view reason, std::string_view detail) {
    now.stale = true;
    if (why.empty()) why = reason, why_detail = escaped(detail, 100);
  };
  while (!status.empty()) {
    const std::size_t end = std::min(status.find('\n'), status.size());
    std::string_view line = status.substr(0, end);
    status.remove_prefix(std::min(end + 1, status.size()));
    if (word(line) != "[GNUPG:]") continue;
    const std::string_view keyword = word(line);
    if (keyword == "NEWSIG") {
      now = {};
    } else if (keyword == "GOODSIG") {
      now.good = true;
    } else if (keyword == "EXPSIG") {
      note("the signature has expired", line);
    } else if (keyword == "EXPKEYSIG") {
      note("signed by a key that has expired", line);
    } else if (keyword == "REVKEYSIG") {
      note("signed by a key that was revoked", line);
    } else if (keyword == "BADSIG") {
      return denied("a signature is wrong: the text was changed", escaped(line, 100));
    } else if (keyword == "ERROR") {
      return denied("not one signed text", escaped(line, 100));
    } else if (keyword == "PLAINTEXT") {
      if (++texts > 1) return denied("not one signed text");
    } else if (keyword == "ERRSIG") {
      const std::string_view key = word(line);
      word(line);
      word(line);
      word(line);
      word(line);
      const std::string_view code = word(line);
      note(code == "9"   ? "signed by a key that isn't in the keyring"
           : code == "5" ? "signed with a digest that is too weak"
                         : "a signature that can't be checked",
           key);
    } else if (keyword == "VALIDSIG" && now.good && !now.stale && fingerprint.empty()) {
      std::string_view primary = word(line);
      for (std::string_view next = word(line); !next.empty(); next = word(line)) primary = next;
      if (primary.size() < 32 || primary.size() > 64 || !from_hex(primary)) return denied("a key without a fingerprint");
      fingerprint = primary;
    }
  }
  if (!fingerprint.empty()) return fingerprint;
  if (why.empty()) return denied("not signed");
  return denied(why, why_detail);
}

namespace {

std::string child_file(std::size_t n) { return "/dev/fd/" + std::to_string(4 + n); }

}  // namespace

Result<SignedText> Keyring::verify_clearsigned(Bytes message) const {
  if (!as_text(message).starts_with("-----BEGIN PGP SIGNED MESSAGE-----")) return denied("not signed");
  GH_TRY(const MemoryFile given, MemoryFile::make(message));
  std::vector<int> files{given.fd()};
  std::vector<std::string> arguments;
  for (const auto& file : files_) {
    arguments.insert(arguments.end(), {"--keyring", child_file(files.size())});
    files.push_back(file->content.fd());
  }
  arguments.insert(arguments.end(), {"--output", "-", child_file(0)});
  GH_TRY(Ran ran, run_gpgv(std::move(arguments), files, message.size()));
  auto fingerprint = judge_signatures(as_text(ran.status));
  if (!fingerprint) {
    Error error = std::move(fingerprint).error();
    if (error.detail.empty()) error.detail = ran.said;
    return fail(std::move(error));
  }
  return SignedText{std::move(ran.output), *std::move(fingerprint)};
}

Result<std::string> Keyring::verify_detached(Bytes signature, Bytes data) const {
  GH_TRY(const MemoryFile given, MemoryFile::make(signature));
  GH_TRY(const MemoryFile content, MemoryFile::make(data));
  std::vector<int> files{given.fd(), content.fd()};
  std::vector<std::string> arguments;
  for (const auto& file : files_) {
    arguments.insert(arguments.end(), {"--keyring", child_file(files.size())});
    files.push_back(file->content.fd());
  }
  arguments.insert(arguments.end(), {child_file(0), child_file(1)});
  GH_TRY(const Ran ran, run_gpgv(std::move(arguments), files, max_status_bytes));
  return judge_signatures(as_text(ran.status));
}

}  // namespace gatehouse::refdb
