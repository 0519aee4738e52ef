// A suite of a Debian repository: InRelease (or Release with Release.gpg), then the Packages indexes that it names.
#include <sys/utsname.h>

#include <algorithm>

#include "base/hex.h"
#include "refdb/ingest/apt_index.h"
#include "refdb/ingest/repositories.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view format = "DebianRepository/Format";
constexpr std::string_view reason_gone = "an index that the Release file names isn't there";
constexpr std::string_view forms[] = {".xz", ".zst", ".gz", ".bz2", ".lzma", ""};

std::unexpected<Error> bad(Fault fault, std::string_view why, const std::string& where, std::string detail = {}) {
  return fail(Error{fault, why, format, 0, where, std::move(detail)});
}

// The text of a clearsigned message whose signature nobody checks (RFC 4880 7.1).
ByteVector without_armor(Bytes message) {
  std::string out;
  std::string_view rest = as_text(message);
  bool inside = false;
  for (bool first = true; !rest.empty(); first = false) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (first && line != "-----BEGIN PGP SIGNED MESSAGE-----") return ByteVector(message.begin(), message.end());
    if (line == "-----BEGIN PGP SIGNATURE-----") break;
    if (inside) out += std::string(line.starts_with("- ") ? line.substr(2) : line) + "\n";
    inside = inside || line.empty();
  }
  const Bytes bytes = as_bytes(out);
  return ByteVector(bytes.begin(), bytes.end());
}

// Debian's names of the architectures that the kernel names otherwise.
std::string own_architecture() {
  utsname names{};
  ::uname(&names);
  const std::string_view machine = names.machine;
  constexpr std::pair<std::string_view, std::string_view> others[] = {
      {"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "armhf"}, {"i686", "i386"},
      {"ppc64le", "ppc64el"}, {"loongarch64", "loong64"}};
  for (const auto& [kernel, debian] : others)
    if (machine == kernel) return std::string(debian);
  return std::string(machine);
}

class Suite {
 public:
  Suite(Place& place, const std::string& source, const std::string& suite, const RepositoryContext& context)
      : place_(place), suite_(suite), context_(context) {
    flat_ = suite.ends_with('/');
    folder_ = flat_ ? (suite == "./" ? "" : suite) : "dists/" + suite + "/";
    state_.name = source + " " + suite;
  }

  Result<RepositoryState> read() {
    GH_TRY(const Release release, read_release());
    GH_CHECK(check(release));
    if (flat_) {
      GH_CHECK(read_index(release, "", true));
      return std::move(state_);
    }
    std::vector<std::string> architectures = context_.options.architectures;
    if (architectures.empty()) architectures.push_back(own_architecture());
    for (const std::string& component : context_.options.components) {
      for (const std::string& architecture : architectures)
        GH_CHECK(read_index(release, component + "/binary-" + architecture + "/", true));
      if (release.has_own_all) GH_CHECK(read_index(release, component + "/binary-all/", false));
    }
    return std::move(state_);
  }

 private:
  Result<Release> parse(Bytes text, const std::string& path) const {
    auto release = parse_release(text);
    if (!release) return fail(std::move(release).error().from(place_.where(path)));
    return release;
  }

  Result<Release> read_release() {
    const std::string inline_path = folder_ + "InRelease", path = folder_ + "Release";
    GH_TRY(const auto in_release, place_.get(inline_path, max_release_bytes));
    if (in_release && context_.keyring != nullptr) {
      auto verified = context_.keyring->verify_clearsigned(*in_release);
      if (!verified) return fail(std::move(verified).error().from(place_.where(inline_path)));
      state_.signer = verified->fingerprint;
      return parse(verified->text, inline_path);
    }
    if (in_release) return parse(without_armor(*in_release), inline_path);
    GH_TRY(const auto release, place_.get(path, max_release_bytes));
    if (!release) return bad(Fault::environment, "no Release file: is there such a suite?", place_.where(path));
    if (context_.keyring != nullptr) {
      GH_TRY(const auto signature, place_.get(path + ".gpg", max_release_bytes));
      if (signature) {
        auto signer = context_.keyring->verify_detached(*signature, *release);
        if (!signer) return fail(std::move(signer).error().from(place_.where(path)));
        state_.signer = *std::move(signer);
        return parse(*release, path);
      }
    }
    if (!context_.options.allow_unsigned) return bad(Fault::denied, "not signed", place_.where(path));
    return parse(*release, path);
  }

  Result<void> check(const Release& release) {
    const std::string where = place_.where(folder_ + "Release");
    // A server could serve another suite's file, which the same key has signed.
    if (!flat_ && (!release.suite.empty() || !release.codename.empty()) && suite_ != release.suite &&
        suite_ != release.codename)
      return bad(Fault::denied, "the Release file is another suite's", where,
                 escaped(release.suite + ", " + release.codename));
    constexpr std::int64_t day = 86400;
    if (release.date > context_.now + day)
      return bad(Fault::denied, "the Release file is of the future: is the clock right?", where);
    if (release.valid_until && *release.valid_until < context_.now && !context_.options.allow_older)
      return bad(Fault::denied, "the Release file's Valid-Until has passed", where);
    state_.date = release.date;
    auto good = check_state(state_, context_);
    if (!good) return fail(std::move(good).error().from(where));
    return {};
  }

  // The index in the folder `part`, in the first form that is there. `needed`: the Release file has to name it.
  Result<void> read_index(const Release& release, const std::string& part, bool needed) {
    bool named = false;
    for (const std::string_view form : forms) {
      const auto file = release.files.find(part + "Packages" + std::string(form));
      if (file == release.files.end()) continue;
      named = true;
      const std::string path = folder_ + file->first;
      if (file->second.size == 0) return {};
      if (file->second.size > max_packed_index_bytes)
        return bad(Fault::limit, "an index larger than allowed", place_.where(path));
      std::vector<std::string> paths{path};
      if (release.by_hash)
        paths.insert(paths.begin(), folder_ + part + "by-hash/SHA256/" + file->second.sha256.hex());
      for (const std::string& one : paths) {
        GH_TRY(const auto packed, place_.index(one, HashAlgorithm::sha256, file->second.sha256, file->second.size));
        if (!packed) continue;
        auto good = read_packages(*packed);
        if (!good) return fail(std::move(good).error().from(place_.where(path)));
        return {};
      }
    }
    if (!named && !needed) return {};
    if (!named)
      return bad(Fault::environment, "the Release file names no such index: are component and architecture right?",
                 place_.where(folder_ + part + "Packages"));
    return bad(Fault::environment, reason_gone, place_.where(folder_ + part + "Packages"));
  }

  Result<void> read_packages(Bytes packed) {
    GH_TRY(const auto stream, IndexStream::open(packed));
    PackagesReader packages(*stream);
    for (;;) {
      GH_TRY(auto item, packages.next());
      if (!item) return {};
      GH_CHECK(add_item(state_, *std::move(item), context_));
    }
  }

  Place& place_;
  const std::string suite_;
  const RepositoryContext& context_;
  bool flat_ = false;
  std::string folder_;
  RepositoryState state_;
};

}  // namespace

Result<RepositoryState> read_apt(Place& place, const std::string& source, const std::string& suite,
                                 const RepositoryContext& context) {
  std::string_view name = suite;
  if (name.ends_with('/')) name.remove_suffix(1);
  if (name != "." && !is_safe_path(name))
    return fail(Error{Fault::usage, "not the name of a suite", {}, 0, source + " " + suite, {}});
  auto state = Suite(place, source, suite, context).read();
  const auto changed = [](const Error& e) { return e.reason == reason_other_digest || e.reason == reason_gone; };
  if (state || !changed(state.error())) return state;
  // A mirror that is being updated may show indexes and a Release file that don't belong together: once more from the
  // start.
  state = Suite(place, source, suite, context).read();
  if (!state && changed(state.error()))
    return fail(std::move(state).error().with("also after the Release file was read again"));
  return state;
}

}  // namespace gatehouse::refdb
