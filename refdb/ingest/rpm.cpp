#include "refdb/ingest/rpm.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "base/base64.h"
#include "base/hex.h"
#include "base/reader.h"
#include "refdb/alias/alias.h"
#include "refdb/ingest/cpio.h"
#include "refdb/ingest/file_hasher.h"
#include "refdb/ingest/inflate.h"
#include "refdb/ingest/limited_stream.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view spec = "RPM V4 format";
constexpr std::size_t lead_size = 96, intro_size = 16, entry_size = 16;
constexpr std::uint32_t header_magic = 0x8eade801;

std::unexpected<Error> bad(std::string_view why, std::uint64_t at) {
  return fail(Fault::malformed, why, spec, std::size_t(at));
}

namespace tag {
// Of the signature header.
constexpr std::uint32_t dsa_of_header = 267, rsa_of_header = 268, sha1_of_header = 269, long_size = 270,
                        sha256_of_header = 273, openpgp_of_header = 278, size = 1000;
// Of the header.
constexpr std::uint32_t name = 1000, version = 1001, release = 1002, epoch = 1003, architecture = 1022,
                        old_file_names = 1027, file_sizes = 1028, file_modes = 1030, file_digests = 1035,
                        file_flags = 1037, source_rpm = 1044, file_devices = 1095, file_inodes = 1096,
                        dir_indexes = 1116, base_names = 1117, dir_names = 1118, payload_format = 1124,
                        long_file_sizes = 5008, file_digest_algorithm = 5011, payload_digest = 5092,
                        payload_digest_algorithm = 5093;
}  // namespace tag

enum class Type : std::uint32_t {
  null,
  character,
  int8,
  int16,
  int32,
  int64,
  string,
  binary,
  string_array,
  i18n_string
};

// Width of a type's value; 0: strings.
std::size_t width(Type type) {
  switch (type) {
    case Type::character:
    case Type::int8:
    case Type::binary:
      return 1;
    case Type::int16:
      return 2;
    case Type::int32:
      return 4;
    case Type::int64:
      return 8;
    default:
      return 0;
  }
}

// RFC 4880 9.4, as FILEDIGESTALGO and PAYLOADDIGESTALGO number them.
std::optional<HashAlgorithm> openpgp_hash(std::uint64_t number) {
  switch (number) {
    case 2:
      return HashAlgorithm::sha1;
    case 8:
      return HashAlgorithm::sha256;
    case 9:
      return HashAlgorithm::sha384;
    case 10:
      return HashAlgorithm::sha512;
    case 12:
      return HashAlgorithm::sha3_256;
    case 14:
      return HashAlgorithm::sha3_512;
    default:
      return std::nullopt;
  }
}

// What a header says of its own size.
struct Extent {
  std::size_t tags = 0, data = 0;
  std::size_t size() const { return intro_size + tags * entry_size + data; }
};
Result<Extent> extent_of_header(const Input& input, std::uint64_t at) {
  GH_TRY(const ByteVector intro, input.bytes_at(at, intro_size));
  Reader r(intro, spec, std::size_t(at));
  GH_TRY(const auto magic, r.get<std::uint32_t>());
  if (magic != header_magic) return bad("no RPM header here", at);
  GH_CHECK(r.skip(4));
  Extent out;
  GH_TRY(out.tags, r.get<std::uint32_t>());
  GH_TRY(out.data, r.get<std::uint32_t>());
  if (out.tags > max_rpm_header_tags || out.data > max_rpm_header_bytes)
    return fail(Fault::limit, "RPM header larger than allowed", spec, std::size_t(at + 8));
  return out;
}
// The signature header is padded.
std::uint64_t header_after(std::uint64_t signature_end) { return (signature_end + 7) / 8 * 8; }

// One header structure: an index of tags, and their data.
class Header {
 public:
  // At `at` in the input. Unique: a tag that comes twice is refused, since readers differ in which they take.
  static Result<Header> read(const Input& input, std::uint64_t at, bool unique) {
    GH_TRY(const Extent extent, extent_of_header(input, at));
    Header out;
    out.at_ = at;
    GH_TRY(out.bytes_, input.bytes_at(at, extent.size()));
    out.data_at_ = intro_size + extent.tags * entry_size;
    GH_CHECK(out.index(extent.tags, unique));
    return out;
  }

  Bytes bytes() const { return bytes_; }
  std::uint64_t end() const { return at_ + bytes_.size(); }
  bool has(std::uint32_t tag) const { return find(tag) != nullptr; }

  // nullopt: no such tag. A string array of one counts as a string.
  Result<std::optional<std::string_view>> text(std::uint32_t tag) const {
    const Entry* const e = find(tag);
    if (e == nullptr) return std::nullopt;
    if ((e->type != Type::string && e->type != Type::string_array) || e->count == 0)
      return bad("tag of an unexpected type", e->at);
    std::size_t at = e->offset;
    GH_TRY(const auto out, string_at(at));
    return std::optional(out);
  }
  // Empty: no such tag.
  Result<std::vector<std::string_view>> texts(std::uint32_t tag, std::size_t most) const {
    std::vector<std::string_view> out;
    const Entry* const e = find(tag);
    if (e == nullptr) return out;
    if (e->type != Type::string_array) return bad("tag of an unexpected type", e->at);
    if (e->count > most) return fail(Fault::limit, "more files than allowed", spec, std::size_t(e->at));
    // Each string has at least its NUL.
    if (e->count > data().size() - e->offset) return bad("strings exceed the header", e->at);
    out.reserve(e->count);
    std::size_t at = e->offset;
    for (std::size_t i = 0; i < e->count; ++i) {
      GH_TRY(const auto one, string_at(at));
      out.push_back(one);
    }
    return out;
  }
  // Of whatever width; empty: no such tag.
  Result<std::vector<std::uint64_t>> numbers(std::uint32_t tag, std::size_t most) const {
    std::vector<std::uint64_t> out;
    const Entry* const e = find(tag);
    if (e == nullptr) return out;
    const std::size_t wide = width(e->type);
    if (wide == 0 || e->type == Type::binary) return bad("tag of an unexpected type", e->at);
    if (e->count > most) return fail(Fault::limit, "more files than allowed", spec, std::size_t(e->at));
    out.reserve(e->count);
    Bytes raw = data().subspan(e->offset, wide * e->count);
    for (; !raw.empty(); raw = raw.subspan(wide)) {
      std::uint64_t v = 0;
      for (const std::byte b : raw.first(wide)) v = v << 8 | std::to_integer<std::uint64_t>(b);
      out.push_back(v);
    }
    return out;
  }
  Result<std::optional<std::uint64_t>> number(std::uint32_t tag) const {
    GH_TRY(const auto all, numbers(tag, bytes_.size()));
    return all.empty() ? std::nullopt : std::optional(all.front());
  }
  // nullopt: no such tag.
  Result<std::optional<Bytes>> binary(std::uint32_t tag) const {
    const Entry* const e = find(tag);
    if (e == nullptr) return std::nullopt;
    if (e->type != Type::binary) return bad("tag of an unexpected type", e->at);
    return std::optional(data().subspan(e->offset, e->count));
  }
  // Where a tag's index entry is in the input, for errors; the header itself for one that isn't there.
  std::uint64_t where(std::uint32_t tag) const {
    const Entry* const e = find(tag);
    return e == nullptr ? at_ : e->at;
  }

 private:
  struct Entry {
    std::uint32_t tag = 0;
    Type type{};
    std::size_t offset = 0, count = 0;
    std::uint64_t at = 0;  // of the entry in the input
  };

  Result<void> index(std::size_t tags, bool unique) {
    Reader r(Bytes(bytes_).subspan(intro_size, tags * entry_size), spec, std::size_t(at_) + intro_size);
    entries_.reserve(tags);
    for (std::size_t i = 0; i < tags; ++i) {
      Entry e;
      e.at = r.offset();
      GH_TRY(e.tag, r.get<std::uint32_t>());
      GH_TRY(const auto type, r.get<std::uint32_t>());
      GH_TRY(e.offset, r.get<std::uint32_t>());
      GH_TRY(e.count, r.get<std::uint32_t>());
      if (type > std::uint32_t(Type::i18n_string)) return bad("tag of an unknown type", e.at);
      e.type = Type(type);
      if (e.offset > data().size()) return bad("tag's data exceeds the header", e.at);
      if (const std::size_t wide = width(e.type); wide != 0 && e.count > (data().size() - e.offset) / wide)
        return bad("tag's data exceeds the header", e.at);
      entries_.push_back(e);
    }
    // The first of its tag stays the first.
    std::sort(entries_.begin(), entries_.end(),
              [](const Entry& a, const Entry& b) { return a.tag != b.tag ? a.tag < b.tag : a.at < b.at; });
    const auto twice = std::adjacent_find(entries_.begin(), entries_.end(),
                                          [](const Entry& a, const Entry& b) { return a.tag == b.tag; });
    if (unique && twice != entries_.end()) return bad("tag twice in a header", std::next(twice)->at);
    return {};
  }
  Bytes data() const { return Bytes(bytes_).subspan(data_at_); }
  const Entry* find(std::uint32_t tag) const {
    const auto at = std::lower_bound(entries_.begin(), entries_.end(), tag,
                                     [](const Entry& e, std::uint32_t t) { return e.tag < t; });
    return at != entries_.end() && at->tag == tag ? &*at : nullptr;
  }
  // Up to its NUL; `at` goes behind it.
  Result<std::string_view> string_at(std::size_t& at) const {
    const std::string_view rest = as_text(data()).substr(at);
    const std::size_t nul = rest.find('\0');
    if (nul == rest.npos) return bad("string without an end in a header", at_ + data_at_ + at);
    at += nul + 1;
    return rest.substr(0, nul);
  }

  std::uint64_t at_ = 0;
  ByteVector bytes_;
  std::size_t data_at_ = 0;
  std::vector<Entry> entries_;  // by tag
};

// What the signature header says of the header and of the package's size, where it says it.
Result<void> check_signature_header(const Input& input, const Header& signature, const Header& header,
                                    const Digest& sha256) {
  for (const auto& [tag, algorithm] :
       {std::pair(tag::sha256_of_header, HashAlgorithm::sha256), {tag::sha1_of_header, HashAlgorithm::sha1}}) {
    GH_TRY(const auto said, signature.text(tag));
    if (!said) continue;
    const Digest is = algorithm == HashAlgorithm::sha256 ? sha256 : digest_of(algorithm, header.bytes());
    const auto bytes = from_hex(*said);
    if (!bytes || !equal(*bytes, is.view())) return bad("the header isn't the one of its digest", signature.where(tag));
  }
  const std::uint32_t size_tag = signature.has(tag::long_size) ? tag::long_size : tag::size;
  GH_TRY(const auto size, signature.number(size_tag));
  if (!size) return {};
  const std::uint64_t rest = input.size() - (header.end() - header.bytes().size());
  if (*size > rest) return bad("truncated package", input.size());
  if (*size < rest) return bad("trailing bytes after the package", input.size() - (rest - *size));
  return {};
}

// Signatures of the header alone; those over header and payload (SIGPGP, SIGGPG) are of the format before.
Result<void> add_signatures(const Header& signature, RpmPackage& out) {
  for (const std::uint32_t tag : {tag::rsa_of_header, tag::dsa_of_header}) {
    GH_TRY(const auto one, signature.binary(tag));
    if (one) out.signatures.emplace_back(one->begin(), one->end());
  }
  constexpr std::size_t most = 16;
  GH_TRY(const auto more, signature.texts(tag::openpgp_of_header, most));
  for (const std::string_view text : more) {
    auto one = from_base64(text);
    if (!one) return bad("a signature that isn't base64", signature.where(tag::openpgp_of_header));
    out.signatures.push_back(*std::move(one));
  }
  return {};
}

Result<std::string> needed_text(const Header& header, std::uint32_t tag) {
  GH_TRY(const auto text, header.text(tag));
  if (!text || text->empty() || text->size() > 255)
    return bad("the header names no package or version", header.where(tag));
  return std::string(*text);
}

// The paths of all files, in order.
Result<std::vector<std::string>> paths_of(const Header& header, const IngestLimits& limits) {
  const std::size_t most = std::size_t(limits.files);
  std::vector<std::string> out;
  std::uint64_t total = 0;
  const auto add = [&](std::string_view folder, std::string_view base, std::uint32_t tag) -> Result<void> {
    if (folder.size() + base.size() > max_path_bytes) return bad("a file with an unusable path", header.where(tag));
    if ((total += folder.size() + base.size()) > limits.path_bytes)
      return fail(Fault::limit, "longer paths than allowed", spec, std::size_t(header.where(tag)));
    out.push_back(std::string(folder) + std::string(base));
    return {};
  };
  if (header.has(tag::old_file_names)) {
    GH_TRY(const auto names, header.texts(tag::old_file_names, most));
    for (const std::string_view name : names) GH_CHECK(add({}, name, tag::old_file_names));
    return out;
  }
  GH_TRY(const auto bases, header.texts(tag::base_names, most));
  GH_TRY(const auto folders, header.texts(tag::dir_names, most));
  GH_TRY(const auto indexes, header.numbers(tag::dir_indexes, most));
  if (indexes.size() != bases.size())
    return bad("as many folder numbers as files are needed", header.where(tag::dir_indexes));
  for (std::size_t i = 0; i < bases.size(); ++i) {
    if (indexes[i] >= folders.size()) return bad("a file in a folder that isn't there", header.where(tag::dir_indexes));
    GH_CHECK(add(folders[std::size_t(indexes[i])], bases[i], tag::base_names));
  }
  return out;
}

constexpr std::uint64_t config_flag = 1, ghost_flag = 64;
bool is_regular(std::uint64_t mode) { return (mode & 0170000) == 0100000; }
bool is_link(std::uint64_t mode) { return (mode & 0170000) == 0120000; }

// Which files are names of one, by device and inode where the header has them; and so what members hold.
Result<void> add_links(const Header& header, const std::vector<std::uint64_t>& modes,
                       const std::vector<std::uint64_t>& sizes, RpmPackage& out) {
  const std::size_t n = out.files.size();
  GH_TRY(const auto devices, header.numbers(tag::file_devices, n));
  GH_TRY(const auto inodes, header.numbers(tag::file_inodes, n));
  std::vector<std::size_t> names;
  for (std::size_t i = 0; i < n; ++i) {
    if (is_link(modes[i])) out.files[i].member_size = sizes[i];
    if (out.files[i].path.empty()) continue;
    out.files[i].member_size = out.files[i].size;
    if (devices.size() == n && inodes.size() == n) names.push_back(i);
  }
  const auto file_of = [&](std::size_t i) { return std::pair(devices[i], inodes[i]); };
  std::ranges::sort(names, {}, [&](std::size_t i) { return std::pair(file_of(i), i); });
  for (std::size_t first = 0, end = 0; first < names.size(); first = end) {
    while (end < names.size() && file_of(names[end]) == file_of(names[first])) ++end;
    if (end - first == 1) continue;
    const std::size_t last = names[end - 1];
    for (std::size_t at = first; at < end; ++at) {
      out.files[names[at]].last_link = last;
      if (names[at] != last) out.files[names[at]].member_size = 0;
    }
  }
  return {};
}

Result<void> check_paths_differ(const Header& header, const std::vector<RpmFile>& files) {
  std::vector<std::string_view> paths;
  for (const RpmFile& file : files)
    if (!file.path.empty()) paths.push_back(file.path);
  std::ranges::sort(paths);
  const auto twice = std::ranges::adjacent_find(paths);
  if (twice == paths.end()) return {};
  return fail(Error{Fault::malformed, "a path twice", spec, std::size_t(header.where(tag::base_names)), {},
                    escaped(*twice, 200)});
}

Result<void> add_files(const Header& header, const IngestLimits& limits, RpmPackage& out) {
  GH_TRY(auto paths, paths_of(header, limits));
  if (paths.empty()) return {};
  const std::size_t n = paths.size();
  const std::uint32_t sizes_tag = header.has(tag::long_file_sizes) ? tag::long_file_sizes : tag::file_sizes;
  GH_TRY(const auto sizes, header.numbers(sizes_tag, n));
  GH_TRY(const auto modes, header.numbers(tag::file_modes, n));
  GH_TRY(const auto flags, header.numbers(tag::file_flags, n));
  GH_TRY(const auto digests, header.texts(tag::file_digests, n));
  for (const auto& [size, tag] : {std::pair(sizes.size(), sizes_tag),
                                  {modes.size(), tag::file_modes},
                                  {flags.size(), tag::file_flags},
                                  {digests.size(), tag::file_digests}})
    if (size != n) return bad("as many sizes, modes, flags and digests as files are needed", header.where(tag));
  GH_TRY(const auto algorithm, header.number(tag::file_digest_algorithm));
  out.algorithm = openpgp_hash(algorithm.value_or(1));
  const RpmFile* last = nullptr;
  bool in_order = true;
  out.files.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (!is_regular(modes[i]) || (flags[i] & ghost_flag) != 0) continue;
    RpmFile& file = out.files[i];
    // A source package's have no folder.
    if (!paths[i].starts_with('/')) return bad("path isn't absolute", header.where(tag::base_names));
    auto path = is_canonical(paths[i]) ? Result<std::string>(std::move(paths[i])) : canonical_path(paths[i]);
    if (!path)
      return fail(Error{Fault::malformed,
                        "a file with an unusable path",
                        spec,
                        std::size_t(header.where(tag::base_names)),
                        {},
                        escaped(paths[i], 200)});
    file.path = *std::move(path);
    in_order = in_order && (last == nullptr || last->path < file.path);
    last = &file;
    file.size = sizes[i];
    file.is_config = (flags[i] & config_flag) != 0;
    if (out.algorithm && !digests[i].empty()) {
      const auto digest = from_hex(digests[i]);
      if (!digest || digest->size() != digest_size(*out.algorithm))
        return bad("a file's digest isn't one of its algorithm", header.where(tag::file_digests));
      file.digest = Digest(*digest);
    }
    out.all_have_digests = out.all_have_digests && file.digest.has_value();
  }
  if (!in_order) GH_CHECK(check_paths_differ(header, out.files));
  return add_links(header, modes, sizes, out);
}

Result<void> add_payload_digest(const Header& header, RpmPackage& out) {
  GH_TRY(const auto number, header.number(tag::payload_digest_algorithm));
  GH_TRY(const auto text, header.text(tag::payload_digest));
  const auto algorithm = openpgp_hash(number.value_or(8));
  if (!text || !algorithm) return {};
  const auto bytes = from_hex(*text);
  if (!bytes || bytes->size() != digest_size(*algorithm))
    return bad("the payload's digest isn't one of its algorithm", header.where(tag::payload_digest));
  out.payload_digest.emplace(*algorithm, Digest(*bytes));
  return {};
}

}  // namespace

bool RpmPackage::header_is_enough(const std::vector<HashAlgorithm>& algorithms) const {
  if (files.empty()) return true;
  return algorithm && all_have_digests && algorithms.size() == 1 && algorithms.front() == *algorithm &&
         std::ranges::none_of(files, [](const RpmFile& f) { return is_kernel_module(f.path); });
}

bool RpmPackage::header_binds_files() const {
  if (payload_digest && digest_size(payload_digest->first) >= 32) return true;
  return algorithm && digest_size(*algorithm) >= 32 && all_have_digests;
}

Result<RpmHeaderPlace> place_of_rpm_header(const Input& input) {
  GH_TRY(const Extent signature, extent_of_header(input, lead_size));
  RpmHeaderPlace out;
  out.header = header_after(lead_size + signature.size());
  GH_TRY(const Extent header, extent_of_header(input, out.header));
  out.payload = out.header + header.size();
  if (out.payload > input.size()) return bad("truncated", input.size());
  return out;
}

Result<RpmPackage> parse_rpm(const Input& input, const IngestLimits& limits) {
  GH_TRY(const ByteVector lead, input.bytes_at(0, std::min<std::size_t>(lead_size, std::size_t(input.size()))));
  Reader r(lead, spec);
  const auto magic = r.get<std::uint32_t>();
  if (!magic || *magic != 0xedabeedb) return bad("not an RPM package", 0);
  GH_TRY(const auto major, r.get<std::uint8_t>());
  GH_CHECK(r.skip(1));
  if (major < 3 || major > 4) return bad("RPM package of another version", 4);
  if (lead.size() < lead_size) return bad("truncated", lead.size());
  GH_TRY(const Header signature, Header::read(input, lead_size, false));
  const std::uint64_t header_at = header_after(signature.end());
  GH_TRY(const Header header, Header::read(input, header_at, true));

  RpmPackage out;
  out.identity = digest_of(HashAlgorithm::sha256, header.bytes());
  GH_CHECK(check_signature_header(input, signature, header, out.identity));
  GH_CHECK(add_signatures(signature, out));
  out.header = header_at;
  out.payload = header.end();
  // Only a binary package names the source package that it was built from.
  if (!header.has(tag::source_rpm)) return bad("a source package: its files are installed nowhere", header_at);
  GH_TRY(const auto format, header.text(tag::payload_format));
  if (format.value_or("cpio") != "cpio")
    return bad("a payload of another kind than cpio", header.where(tag::payload_format));
  GH_TRY(out.name, needed_text(header, tag::name));
  GH_TRY(const std::string version, needed_text(header, tag::version));
  GH_TRY(const std::string release, needed_text(header, tag::release));
  GH_TRY(out.architecture, needed_text(header, tag::architecture));
  GH_TRY(const auto epoch, header.number(tag::epoch));
  out.version = (epoch.value_or(0) != 0 ? std::to_string(*epoch) + ":" : "") + version + "-" + release;
  GH_CHECK(add_files(header, limits, out));
  GH_CHECK(add_payload_digest(header, out));
  return out;
}

namespace {

// The files of the payload, each hashed and held against the header.
class PayloadReader {
 public:
  PayloadReader(const RpmPackage& package, const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits)
      : package_(package),
        limits_(limits),
        wanted_(with(algorithms, package.algorithm)),
        hasher_(wanted_, limits),
        contents_(package.files.size()) {
    for (std::size_t i = 0; i < package.files.size(); ++i)
      if (!package.files[i].path.empty()) by_path_.emplace(package.files[i].path, i);
  }

  Result<void> read(Stream& stream) {
    CpioReader cpio(stream);
    for (;;) {
      GH_TRY(const auto member, cpio.next());
      if (!member) break;
      GH_CHECK(take(cpio, *member, stream));
    }
    // To its end, where its checksum is.
    for (;;) {
      GH_TRY(const std::size_t n, stream.read(buffer_));
      if (!all_of_value(Bytes(buffer_).first(n), std::byte{0}))
        return bad("trailing bytes after the payload", stream.offset());
      if (n < buffer_.size()) break;
    }
    for (const auto& [_, set] : links_)
      for (const std::size_t i : set.waiting) GH_CHECK(keep(i, empty(), stream));
    for (const auto& [path, i] : by_path_)
      if (contents_[i].digests.empty())
        return fail(Error{Fault::malformed,
                          "a file of the header isn't in the payload",
                          spec,
                          std::size_t(stream.offset()),
                          {},
                          escaped(path, 200)});
    return {};
  }
  // Of file i, without its path: size, digests and further contents, in all algorithms that were asked for and in the
  // header's.
  const ReferenceFile& content(std::size_t i) const { return contents_[i]; }
  std::vector<std::string> take_warnings() { return hasher_.take_warnings(); }

 private:
  // The names of one file: all but the one that carries the content come without it, and most often before it.
  struct Links {
    std::vector<std::size_t> waiting;
    ReferenceFile content;
  };

  static std::vector<HashAlgorithm> with(std::vector<HashAlgorithm> algorithms, std::optional<HashAlgorithm> also) {
    if (also && std::find(algorithms.begin(), algorithms.end(), *also) == algorithms.end()) algorithms.push_back(*also);
    return algorithms;
  }
  std::unexpected<Error> refuse(std::string_view why, std::string_view name, const Stream& stream) const {
    return fail(Error{Fault::malformed, why, spec, std::size_t(stream.offset()), {}, escaped(name, 200)});
  }
  ReferenceFile empty() {
    ReferenceFile out;
    hasher_.start({});
    hasher_.finish(out);
    return out;
  }

  // The number of a member's file; nullopt: it isn't a regular file.
  Result<std::optional<std::size_t>> number_of(CpioReader& cpio, const CpioMember& member, const Stream& stream) const {
    if (member.entry) {
      if (*member.entry >= package_.files.size())
        return refuse("a member of a file that isn't in the header", {}, stream);
      const RpmFile& file = package_.files[*member.entry];
      cpio.content_is(file.member_size);
      if (file.path.empty()) return std::nullopt;
      return *member.entry;
    }
    if (!member.is_regular()) return std::nullopt;
    const auto path = canonical_path(member.name);
    if (!path) return refuse("a member with an unusable path", member.name, stream);
    const auto at = by_path_.find(*path);
    if (at == by_path_.end()) return refuse("a member of a file that isn't in the header", member.name, stream);
    return at->second;
  }

  Result<void> take(CpioReader& cpio, const CpioMember& member, const Stream& stream) {
    GH_TRY(const auto i, number_of(cpio, member, stream));
    if (!i) return {};
    const auto& last = package_.files[*i].last_link;
    Links* links = nullptr;
    if (member.entry && last) links = &links_[{UINT64_MAX, *last}];
    if (!member.entry && member.links > 1) links = &links_[{member.device, member.file}];
    if (links != nullptr && (member.entry ? package_.files[*i].member_size : member.size) == 0) {
      if (links->content.digests.empty())
        links->waiting.push_back(*i);
      else
        GH_CHECK(keep(*i, links->content, stream));
      return {};
    }
    std::uint64_t size = 0;
    hasher_.start(package_.files[*i].path);
    for (;;) {
      GH_TRY(const std::size_t n, cpio.read(buffer_));
      if (n == 0) break;
      size += n;
      if (size > limits_.file_bytes)
        return fail(Fault::limit, "the package expands to more than allowed", spec, std::size_t(stream.offset()));
      hasher_.update(Bytes(buffer_).first(n));
    }
    ReferenceFile content;
    hasher_.finish(content);
    GH_CHECK(keep(*i, content, stream));
    if (links == nullptr) return {};
    for (const std::size_t other : std::exchange(links->waiting, {})) GH_CHECK(keep(other, content, stream));
    links->content = std::move(content);
    return {};
  }

  Result<void> keep(std::size_t i, const ReferenceFile& content, const Stream& stream) {
    const RpmFile& file = package_.files[i];
    if (!contents_[i].digests.empty()) return refuse("a file twice in the payload", file.path, stream);
    bool same = content.size == file.size;
    for (const auto& [algorithm, digest] : content.digests)
      if (file.digest && algorithm == *package_.algorithm) same = same && digest == *file.digest;
    if (!same) return refuse("a file isn't the one that the header says", file.path, stream);
    contents_[i] = content;
    return {};
  }

  const RpmPackage& package_;
  const IngestLimits limits_;
  const std::vector<HashAlgorithm> wanted_;
  FileHasher hasher_;
  std::vector<ReferenceFile> contents_;
  std::map<std::string_view, std::size_t, std::less<>> by_path_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Links> links_;  // by device and inode
  ByteVector buffer_ = ByteVector(std::size_t(1) << 18);
};

// Before a decompressor sees any of it.
Result<void> check_payload_digest(const Input& input, const RpmPackage& package) {
  if (!package.payload_digest) return {};
  const auto& [algorithm, digest] = *package.payload_digest;
  Hasher hasher(algorithm);
  hasher.start();
  ByteVector buffer(std::size_t(1) << 18);
  for (std::uint64_t at = package.payload; at < input.size();) {
    GH_TRY(const std::size_t n, input.read_at(at, buffer));
    if (n == 0) return bad("truncated package", at);
    hasher.update(Bytes(buffer).first(n));
    at += n;
  }
  if (hasher.finish() != digest) return bad("the payload isn't the one of its digest", package.payload);
  return {};
}

Result<void> read_payload(const Input& input, const RpmPackage& package, PayloadReader& reader,
                          const IngestLimits& limits) {
  GH_CHECK(check_payload_digest(input, package));
  std::byte head[6];
  GH_TRY(const std::size_t n, input.read_at(package.payload, head));
  std::unique_ptr<Stream> stream;
  if (const auto compression = compression_of(Bytes(head, n))) {
    GH_TRY(stream, ConcatenatedInflater::open(input, package.payload, *compression));
  } else if (as_text(Bytes(head, n)).starts_with("07070")) {
    stream = std::make_unique<PlainStream>(input, package.payload);
  } else {
    return bad("payload in an unknown compression", package.payload);
  }
  LimitedStream limited(*stream, input.size(), limits);
  return reader.read(limited);
}

}  // namespace

Result<ReferencePackage> rpm_references(const Input& input, const RpmPackage& package,
                                        const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits) {
  ReferencePackage out;
  out.format = PackageFormat::rpm;
  out.name = package.name;
  out.version = package.version;
  out.architecture = package.architecture;
  std::optional<PayloadReader> payload;
  const bool header = package.header_is_enough(algorithms);
  if (!header) GH_CHECK(read_payload(input, package, payload.emplace(package, algorithms, limits), limits));
  const auto wanted = [&](std::vector<std::pair<HashAlgorithm, Digest>> digests) {
    std::erase_if(digests, [&](const auto& one) { return std::ranges::find(algorithms, one.first) == algorithms.end(); });
    return digests;
  };
  out.files.reserve(package.files.size());
  for (std::size_t i = 0; i < package.files.size(); ++i) {
    const RpmFile& from = package.files[i];
    if (from.path.empty()) continue;
    ReferenceFile file;
    file.path = from.path;
    file.size = from.size;
    file.is_mutable = from.is_config;
    if (header) {
      file.digests.emplace_back(*package.algorithm, *from.digest);
    } else {
      file.digests = wanted(payload->content(i).digests);
      for (const FileContent& c : payload->content(i).further) file.further.push_back({c.size, wanted(c.digests)});
    }
    out.files.push_back(std::move(file));
  }
  if (payload) out.warnings = payload->take_warnings();
  return out;
}

namespace {

Result<ReferencePackage> read_rpm(const Input& input, const std::string& source,
                                  const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits) {
  const auto read = [&]() -> Result<ReferencePackage> {
    GH_TRY(const RpmPackage package, parse_rpm(input, limits));
    GH_TRY(ReferencePackage out, rpm_references(input, package, algorithms, limits));
    out.source = std::filesystem::path(source).filename().string();
    out.identity = package.identity;
    return out;
  };
  auto out = read();
  if (!out) return fail(std::move(out).error().from(source));
  return out;
}

}  // namespace

Result<ReferencePackage> read_rpm(Bytes bytes, const std::string& name, const std::vector<HashAlgorithm>& algorithms,
                                  const IngestLimits& limits) {
  return read_rpm(MemoryInput(bytes), name, algorithms, limits);
}

Result<ReferencePackage> read_rpm(const std::string& path, const std::vector<HashAlgorithm>& algorithms,
                                  const IngestLimits& limits) {
  GH_TRY(const auto input, FileInput::open(path));
  return read_rpm(*input, path, algorithms, limits);
}

}  // namespace gatehouse::refdb
