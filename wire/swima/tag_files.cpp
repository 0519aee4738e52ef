#include "wire/swima/tag_files.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/hex.h"
#include "wire/swima/xml.h"

namespace gatehouse::swima {
namespace {

constexpr std::size_t max_path = 4096;

// W3C XML Security Algorithm Cross-Reference.
std::optional<HashAlgorithm> algorithm_of(std::string_view uri) {
  constexpr std::pair<std::string_view, HashAlgorithm> known[] = {
      {"http://www.w3.org/2001/04/xmlenc#sha256", HashAlgorithm::sha256},
      {"http://www.w3.org/2001/04/xmldsig-more#sha384", HashAlgorithm::sha384},
      {"http://www.w3.org/2001/04/xmlenc#sha512", HashAlgorithm::sha512},
      {"http://www.w3.org/2000/09/xmldsig#sha1", HashAlgorithm::sha1},
      {"http://www.w3.org/2007/05/xmldsig-more#sha3-256", HashAlgorithm::sha3_256},
      {"http://www.w3.org/2007/05/xmldsig-more#sha3-384", HashAlgorithm::sha3_384},
      {"http://www.w3.org/2007/05/xmldsig-more#sha3-512", HashAlgorithm::sha3_512},
  };
  for (const auto& [name, algorithm] : known)
    if (name == uri) return algorithm;
  return std::nullopt;
}

// A part below what it is in; an absolute one begins anew.
std::string joined(const std::string& folder, const std::string& part) {
  if (part.empty()) return folder;
  if (folder.empty() || part.front() == '/') return part;
  return folder.back() == '/' ? folder + part : folder + "/" + part;
}

class FilesReader final : XmlScanner {
 public:
  explicit FilesReader(std::string_view text) : XmlScanner(text, max_file_tag_bytes) {}

  Result<TagFiles> read() {
    GH_CHECK(scan());
    return std::move(out_);
  }

 private:
  Result<void> begin(std::string_view element, std::span<const XmlAttribute> attributes, std::size_t start) override {
    const std::string_view its = local(element);
    GH_CHECK(note_namespaces(attributes));
    const std::size_t depth = open().size();
    if (depth == 0) {
      if (its != "SoftwareIdentity") return stop("not a SWID tag of 2015", start);
      GH_TRY(out_.name, value(attributes, "name"));
      GH_TRY(out_.version, value(attributes, "version"));
      return {};
    }
    if (depth == 1 || local(open()[1]) != "Payload" || (its != "Directory" && its != "File")) return {};
    GH_TRY(const std::string location, value(attributes, "location"));
    GH_TRY(const std::string name, value(attributes, "name"));
    std::string path = joined(joined(folders_.empty() ? std::string() : folders_.back().second, location), name);
    if (path.size() > max_path) return stop("a path of more than 4,096 bytes", start);
    if (its == "File") return add(std::move(path), attributes, start);
    folders_.emplace_back(depth, std::move(path));
    return {};
  }

  void end() override {
    const std::size_t depth = open().size();
    while (!folders_.empty() && folders_.back().first >= depth) folders_.pop_back();
    while (!bound_.empty() && bound_.back().first >= depth) {
      const auto at = namespaces_.find(bound_.back().second);
      at->second.pop_back();
      bound_.pop_back();
    }
  }
  void characters(std::string_view) override {}
  bool wants_characters() const override { return false; }

  // "xmlns:PREFIX" of the element that begins; it counts for its own attributes already.
  Result<void> note_namespaces(std::span<const XmlAttribute> attributes) {
    for (const XmlAttribute& a : attributes) {
      if (prefix(a.name) != "xmlns") continue;
      GH_TRY(const std::string uri, decoded(a));
      namespaces_[local(a.name)].push_back(algorithm_of(uri));
      bound_.emplace_back(open().size(), local(a.name));
    }
    return {};
  }

  Result<void> add(std::string path, std::span<const XmlAttribute> attributes, std::size_t start) {
    TagFile file;
    for (const XmlAttribute& a : attributes) {
      if (local(a.name) == "mutable") {
        GH_TRY(const std::string text, decoded(a));
        file.is_mutable = text == "true" || text == "1";
      }
      if (a.name == "size") {
        GH_TRY(const std::string text, decoded(a));
        const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), file.size);
        if (code != std::errc() || end != text.data() + text.size()) return stop("a size that isn't a number", a.at);
      }
      if (local(a.name) != "hash" || prefix(a.name).empty()) continue;
      const auto at = namespaces_.find(prefix(a.name));
      if (at == namespaces_.end() || at->second.empty() || !at->second.back()) continue;
      const HashAlgorithm algorithm = *at->second.back();
      GH_TRY(const std::string text, decoded(a));
      const auto digest = from_hex(text);
      if (!digest || digest->size() != digest_size(algorithm))
        return stop("a hash that isn't one of its algorithm", a.at);
      for (const auto& [other, _] : file.digests)
        if (other == algorithm) return stop("two hashes of one algorithm", a.at);
      file.digests.emplace_back(algorithm, Digest(*digest));
    }
    if (path.find('\0') != path.npos) return stop("a NUL in a path", start);
    if (!path.starts_with('/') || path.ends_with('/') || file.digests.empty()) {
      ++out_.left_out;
      return {};
    }
    file.path = std::move(path);
    out_.files.push_back(std::move(file));
    return {};
  }

  Result<std::string> value(std::span<const XmlAttribute> attributes, std::string_view name) const {
    for (const XmlAttribute& a : attributes)
      if (a.name == name) return decoded(a);
    return std::string();
  }

  TagFiles out_;
  std::vector<std::pair<std::size_t, std::string>> folders_;  // Directories that are open: depth, path
  // What a prefix stands for, innermost last; nullopt: no hash that is known. Who bound it: depth, prefix.
  std::map<std::string_view, std::vector<std::optional<HashAlgorithm>>> namespaces_;
  std::vector<std::pair<std::size_t, std::string_view>> bound_;
};

}  // namespace

Result<TagFiles> parse_tag_files(Bytes tag) { return FilesReader(as_text(tag)).read(); }

}  // namespace gatehouse::swima
