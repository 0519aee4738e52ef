#include "refdb/ingest/rpm_index.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/hex.h"
#include "wire/swima/xml.h"

namespace gatehouse::refdb {
namespace {

using swima::XmlAttribute;
using swima::XmlScanner;
constexpr std::size_t max_text = 4096;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view white = " \t\r\n";
  const std::size_t first = text.find_first_not_of(white);
  return first == text.npos ? std::string_view{} : text.substr(first, text.find_last_not_of(white) - first + 1);
}

struct Checksum {
  HashAlgorithm algorithm{};
  Digest digest;
};
// SHA-1 ("sha") and MD5 don't bind any more.
std::optional<Checksum> checksum(std::string_view type, std::string_view hex) {
  const auto algorithm = hash_algorithm(type);
  const auto bytes = from_hex(trimmed(hex));
  if (!algorithm || digest_size(*algorithm) < 32 || !bytes || bytes->size() != digest_size(*algorithm))
    return std::nullopt;
  return Checksum{*algorithm, Digest(*bytes)};
}

// Keeps the text of the elements that are of interest, by their path of local names below the root's.
class Elements : public XmlScanner {
 protected:
  using XmlScanner::XmlScanner;

  // Of the innermost that is open, and those outside it: "/metadata/package/name".
  const std::string& where() const { return path_; }
  virtual Result<void> opened(std::span<const XmlAttribute> attributes, std::size_t at) = 0;
  virtual Result<void> closed(const std::string& text) = 0;
  virtual bool wants_text() const = 0;
  std::size_t element_at() const { return element_at_; }

  Result<std::string> attribute(std::span<const XmlAttribute> attributes, std::string_view name) const {
    for (const XmlAttribute& a : attributes)
      if (a.name == name) return decoded(a);
    return std::string();
  }
  // What closed() found wrong, once scan() is through.
  Result<void> run() {
    GH_CHECK(scan());
    if (failed_) return fail(*std::move(failed_));
    return {};
  }

 private:
  Result<void> begin(std::string_view element, std::span<const XmlAttribute> attributes, std::size_t at) final {
    if (failed_) return fail(*failed_);
    path_ += '/';
    path_ += local(element);
    element_at_ = at;
    text_.clear();
    return opened(attributes, at);
  }
  void end() final {
    if (!failed_)
      if (auto good = closed(text_); !good) failed_ = std::move(good).error();
    path_.erase(path_.rfind('/'));
    text_.clear();
  }
  void characters(std::string_view text) final {
    if (text_.size() < max_text) text_ += text.substr(0, max_text);
  }
  bool wants_characters() const final { return wants_text(); }

  std::string path_, text_;
  std::size_t element_at_ = 0;
  std::optional<Error> failed_;
};

class RepoMdReader final : Elements {
 public:
  explicit RepoMdReader(std::string_view text) : Elements(text, max_release_bytes) {}
  Result<RepoMd> read() {
    GH_CHECK(run());
    if (!out_) return stop("repomd.xml names no primary index", 0);
    out_->revision = revision_.value_or(newest_);
    return *std::move(out_);
  }

 private:
  Result<void> opened(std::span<const XmlAttribute> attributes, std::size_t at) override {
    if (where() == "/repomd/data") {
      GH_TRY(type_, attribute(attributes, "type"));
      data_ = {};
      digest_.reset();
      data_at_ = at;
    } else if (where() == "/repomd/data/checksum") {
      GH_TRY(checksum_type_, attribute(attributes, "type"));
    } else if (where() == "/repomd/data/location") {
      GH_TRY(data_.primary, attribute(attributes, "href"));
    } else if (where().find('/', 1) == std::string::npos && where() != "/repomd") {
      return stop("not a repomd.xml", at);
    }
    return {};
  }
  Result<void> closed(const std::string& text) override {
    if (where() == "/repomd/revision") revision_ = decimal<std::int64_t>(trimmed(text));
    if (where() == "/repomd/data/checksum") digest_ = checksum(checksum_type_, text);
    if (where() == "/repomd/data/size") data_.size = decimal<std::uint64_t>(trimmed(text)).value_or(0);
    if (where() == "/repomd/data/timestamp")
      // Some write fractions of seconds.
      newest_ = std::max(newest_, decimal<std::int64_t>(trimmed(text).substr(0, trimmed(text).find('.'))).value_or(0));
    if (where() != "/repomd/data" || type_ != "primary") return {};
    if (out_) return stop("two primary indexes", data_at_);
    if (!digest_) return stop("the index has no SHA-256 digest or better", data_at_);
    if (!is_safe_path(data_.primary)) return stop("an index outside the repository", data_at_);
    data_.algorithm = digest_->algorithm;
    data_.digest = digest_->digest;
    out_ = std::move(data_);
    data_ = {};
    return {};
  }
  bool wants_text() const override { return where().size() > 8; }

  std::string type_, checksum_type_;
  std::size_t data_at_ = 0;
  RepoMd data_;
  std::optional<Checksum> digest_;
  std::optional<std::int64_t> revision_;
  std::int64_t newest_ = 0;
  std::optional<RepoMd> out_;
};

class PrimaryReader final : Elements {
 public:
  PrimaryReader(std::string_view text, const std::function<Result<void>(IndexItem)>& on_package)
      : Elements(text, max_index_bytes), on_package_(on_package) {}
  Result<void> read() { return run(); }

 private:
  static constexpr std::string_view package_ = "/metadata/package";

  // Below a package's element.
  bool in(std::string_view rest) const {
    return where().size() == package_.size() + rest.size() && where().ends_with(rest) && where().starts_with(package_);
  }
  Result<void> opened(std::span<const XmlAttribute> attributes, std::size_t at) override {
    if (where() == package_) {
      item_ = {};
      digest_.reset();
      elsewhere_ = false;
      package_at_ = at;
    } else if (in("/version")) {
      GH_TRY(const std::string epoch, attribute(attributes, "epoch"));
      GH_TRY(const std::string version, attribute(attributes, "ver"));
      GH_TRY(const std::string release, attribute(attributes, "rel"));
      item_.entry.version = (epoch.empty() || epoch == "0" ? "" : epoch + ":") + version + "-" + release;
    } else if (in("/checksum")) {
      GH_TRY(checksum_type_, attribute(attributes, "type"));
    } else if (in("/size")) {
      GH_TRY(const std::string size, attribute(attributes, "package"));
      item_.entry.size = decimal<std::uint64_t>(size).value_or(0);
    } else if (in("/location")) {
      GH_TRY(item_.entry.path, attribute(attributes, "href"));
      GH_TRY(const std::string base, attribute(attributes, "xml:base"));
      elsewhere_ = !base.empty();
    } else if (where().find('/', 1) == std::string::npos && where() != "/metadata") {
      return stop("not a primary index", at);
    }
    return {};
  }
  Result<void> closed(const std::string& text) override {
    if (in("/name")) item_.entry.name = trimmed(text).substr(0, 255);
    if (in("/arch")) item_.entry.architecture = trimmed(text).substr(0, 255);
    if (in("/format/group")) item_.entry.section = trimmed(text).substr(0, 255);
    if (in("/checksum")) digest_ = checksum(checksum_type_, text);
    if (where() != package_) return {};
    IndexEntry& e = item_.entry;
    if (e.architecture == "src" || e.architecture == "nosrc") return {};
    std::string_view why;
    if (e.name.empty() || e.version.size() < 2) why = "the index names no package or version";
    else if (elsewhere_ || !is_safe_path(e.path)) why = "a package file outside the repository";
    else if (e.size == 0) why = "the index gives no size";
    else if (e.size > max_repository_package_bytes) why = "a package larger than allowed";
    else if (!digest_) why = "the index gives no SHA-256 digest or better";
    if (!why.empty()) {
      item_.bad = Error{Fault::malformed, why, "primary.xml", package_at_, {}, {}};
    } else {
      e.algorithm = digest_->algorithm;
      e.digest = digest_->digest;
    }
    e.version.resize(std::min<std::size_t>(e.version.size(), 255));
    return on_package_(std::exchange(item_, {}));
  }
  bool wants_text() const override {
    return in("/name") || in("/arch") || in("/checksum") || in("/format/group");
  }

  const std::function<Result<void>(IndexItem)>& on_package_;
  IndexItem item_;
  std::string checksum_type_;
  std::optional<Checksum> digest_;
  bool elsewhere_ = false;
  std::size_t package_at_ = 0;
};

// An index in pieces: each is a text of its own, with the index's begin in front and the root's end behind, and is read
// as such. So a cut that isn't between two packages (in a comment, in a CDATA section) makes a piece that can't be
// read, and never one that says something else.
class PrimaryPieces {
 public:
  PrimaryPieces(Stream& stream, const std::function<Result<void>(IndexItem)>& on_package, std::size_t block)
      : stream_(stream), on_package_(on_package), block_(block) {}

  Result<void> read() {
    for (bool ended = false; !ended;) {
      const std::size_t had = text_.size();
      text_.resize(had + block_);
      GH_TRY(const std::size_t n, stream_.read(std::as_writable_bytes(std::span(text_).subspan(had))));
      text_.resize(had + n);
      ended = n < block_;
      if (!ended) GH_CHECK(read_whole_packages(had));
    }
    return read_piece(text_);
  }

 private:
  static constexpr std::string_view package_begin_ = "<package", package_end_ = "</package>", root_ = "<metadata",
                                    root_end_ = "</metadata>";

  // What came behind `had` bytes may end packages.
  Result<void> read_whole_packages(std::size_t had) {
    const std::size_t from = std::max(head_, had - std::min(had, package_end_.size() - 1));
    const std::size_t end = std::string_view(text_).substr(from).rfind(package_end_);
    if (end == std::string::npos) return {};
    if (head_ == 0) {
      const std::size_t head = text_.find(package_begin_);
      if (text_.substr(0, head).find(root_) == std::string::npos) return {};  // as one piece then
      head_ = head;
    }
    const std::size_t cut = from + end + package_end_.size();
    const std::string rest = text_.substr(cut);
    text_.resize(cut);
    text_ += root_end_;
    GH_CHECK(read_piece(text_));
    text_.resize(head_);
    text_ += rest;
    gone_ += cut - head_;
    return {};
  }

  Result<void> read_piece(std::string_view text) {
    bool refused = false;  // by who is told of packages
    const std::function<Result<void>(IndexItem)> on_package = [&](IndexItem item) -> Result<void> {
      if (item.bad) item.bad->offset = in_all(item.bad->offset);
      auto taken = on_package_(std::move(item));
      refused = !taken;
      return taken;
    };
    auto good = PrimaryReader(text, on_package).read();
    if (!good && !refused) good.error().offset = in_all(good.error().offset);
    return good;
  }
  std::size_t in_all(std::size_t offset) const { return offset < head_ ? offset : offset + gone_; }

  Stream& stream_;
  const std::function<Result<void>(IndexItem)>& on_package_;
  const std::size_t block_;
  std::string text_;               // the begin, and what isn't read yet
  std::size_t head_ = 0, gone_ = 0;  // of the begin; of what was between it and the rest
};

}  // namespace

Result<RepoMd> parse_repomd(Bytes text) { return RepoMdReader(as_text(text)).read(); }

Result<void> parse_primary(Bytes text, const std::function<Result<void>(IndexItem)>& on_package) {
  return PrimaryReader(as_text(text), on_package).read();
}

Result<void> parse_primary(Stream& text, const std::function<Result<void>(IndexItem)>& on_package, std::size_t block) {
  return PrimaryPieces(text, on_package, block).read();
}

}  // namespace gatehouse::refdb
