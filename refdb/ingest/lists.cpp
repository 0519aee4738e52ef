// Lists of files and digests that others made: Keylime's runtime policies, a golden machine's measurement list, SWID
// tags.
#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <map>
#include <set>

#include "base/hex.h"
#include "refdb/alias/alias.h"
#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"
#include "wire/ima/ima.h"
#include "wire/swima/tag_files.h"

namespace gatehouse::refdb {
namespace {

namespace json = boost::json;
constexpr std::size_t block = std::size_t(1) << 18;
constexpr std::size_t max_contents = 4096;  // of one path

using Contents = std::set<std::pair<HashAlgorithm, Digest>>;

// Paths with the digests that each may have.
class Collected {
 public:
  explicit Collected(const IngestLimits& limits) : limits_(limits) {}

  // Fault::limit without an offset.
  Result<void> add(std::string path, HashAlgorithm algorithm, const Digest& digest) {
    Contents& contents = (last_ != all_.end() && last_->first == path ? last_ : place(std::move(path)))->second;
    files_ += contents.emplace(algorithm, digest).second ? 1 : 0;
    if (files_ > limits_.files) return fail(Fault::limit, "more files than allowed");
    if (paths_ > limits_.path_bytes) return fail(Fault::limit, "longer paths than allowed");
    if (contents.size() > max_contents) return fail(Fault::limit, "more contents of one path than allowed");
    return {};
  }
  bool empty() const { return all_.empty(); }

  // Contents in the digests' order, so that the same list in another order is the same package.
  ReferencePackage package(const std::string& source) const {
    ReferencePackage out;
    out.source = source;
    for (const auto& [path, contents] : all_) {
      ReferenceFile file;
      file.path = path;
      file.digests = {*contents.begin()};
      for (auto one = std::next(contents.begin()); one != contents.end(); ++one) file.further.push_back({0, {*one}});
      out.files.push_back(std::move(file));
    }
    return out;
  }

 private:
  using Map = std::map<std::string, Contents>;
  Map::iterator place(std::string path) {
    paths_ += path.size();
    return last_ = all_.try_emplace(std::move(path)).first;
  }
  const IngestLimits limits_;
  Map all_;
  Map::iterator last_ = all_.end();
  std::uint64_t files_ = 0, paths_ = 0;
};

// By its length, as Keylime tells them apart.
std::optional<HashAlgorithm> algorithm_of_length(std::size_t size) {
  for (const HashAlgorithm a : common_banks)
    if (digest_size(a) == size) return a;
  return std::nullopt;
}

// What basic_parser calls. Of the policy's members only "digests" is of interest: paths, each with an array of digests.
struct PolicyHandler {
  static constexpr std::size_t max_object_size = SIZE_MAX, max_array_size = SIZE_MAX;
  static constexpr std::size_t max_key_size = SIZE_MAX, max_string_size = SIZE_MAX;
  using Code = json::error_code;
  using Text = json::string_view;

  explicit PolicyHandler(const IngestLimits& limits) : collected(limits) {}

  Collected collected;
  bool has_digests = false;
  Error error{};  // why it stopped, where it is ours

  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code& c) { return nest(c, true); }
  bool on_object_end(std::size_t, Code&) { return unnest(); }
  bool on_array_begin(Code& c) { return nest(c, false); }
  bool on_array_end(std::size_t, Code&) { return unnest(); }
  bool on_key_part(Text part, std::size_t, Code& c) { return collect(part, c); }
  bool on_key(Text part, std::size_t, Code& c) {
    if (!collect(part, c)) return false;
    const std::string key = std::exchange(text_, {});
    if (depth_ == 1) {
      if (key == "payloadType") return stop(c, "a signed policy (DSSE): take in the policy that is in it");
      inside_ = key == "digests";
      if (inside_ && std::exchange(has_digests, true)) return stop(c, "digests twice in the policy");
    } else if (inside_ && depth_ == 2) {
      // Names of what isn't a file, "boot_aggregate" among them, aren't paths.
      const auto path = key.starts_with('/') ? canonical_path(key) : Result<std::string>(std::string());
      if (!path) return stop(c, "path can't be used");
      path_ = *path;
    }
    return true;
  }
  bool on_string_part(Text part, std::size_t, Code& c) { return collect(part, c); }
  bool on_string(Text part, std::size_t, Code& c) {
    if (!collect(part, c)) return false;
    const std::string text = std::exchange(text_, {});
    if (!inside_) return true;
    if (depth_ != 3) return stop(c, "digests that aren't arrays of text, by path");
    const auto bytes = from_hex(text);
    const auto algorithm = bytes ? algorithm_of_length(bytes->size()) : std::nullopt;
    if (!algorithm) return stop(c, "a digest that isn't hexadecimal, or of no known length");
    if (path_.empty()) return true;
    auto added = collected.add(path_, *algorithm, Digest(*bytes));
    if (!added) return stop(c, std::move(added).error());
    return true;
  }
  bool on_number_part(Text, Code&) { return true; }
  bool on_int64(std::int64_t, Text, Code& c) { return scalar(c); }
  bool on_uint64(std::uint64_t, Text, Code& c) { return scalar(c); }
  bool on_double(double, Text, Code& c) { return scalar(c); }
  bool on_bool(bool, Code& c) { return scalar(c); }
  bool on_null(Code& c) { return scalar(c); }
  bool on_comment_part(Text, Code&) { return true; }
  bool on_comment(Text, Code&) { return true; }

 private:
  bool stop(Code& c, std::string_view why) { return stop(c, Error{Fault::malformed, why, {}, 0, {}, {}}); }
  bool stop(Code& c, Error why) {
    error = std::move(why);
    c = json::error::syntax;
    return false;
  }
  bool nest(Code& c, bool object) {
    if (depth_ == 0 && !object) return stop(c, "not a Keylime runtime policy");
    if (inside_ && (depth_ == 1 ? !object : depth_ == 2 ? object : true))
      return stop(c, "digests that aren't arrays of text, by path");
    ++depth_;
    return true;
  }
  bool unnest() {
    if (--depth_ == 1) inside_ = false;
    return true;
  }
  bool scalar(Code& c) {
    if (depth_ == 0) return stop(c, "not a Keylime runtime policy");
    return !inside_ || stop(c, "digests that aren't arrays of text, by path");
  }
  // Texts of other members ("excludes" may be long) aren't kept, but for what can be the name of one.
  bool collect(Text part, Code& c) {
    if (!inside_ && text_.size() > 64) return true;
    text_.append(part.data(), part.size());
    if (inside_ && text_.size() > max_path_bytes) return stop(c, "path can't be used");
    return true;
  }

  std::size_t depth_ = 0;
  bool inside_ = false;  // of "digests"
  std::string path_, text_;
};

}  // namespace

Result<ReferencePackage> read_keylime(Stream& policy, const std::string& name, const IngestLimits& limits) {
  json::basic_parser<PolicyHandler> parser(json::parse_options{}, limits);
  std::vector<char> buffer(block);
  std::size_t offset = 0;
  const auto malformed = [&](std::string_view why, std::string detail) {
    return fail(Error{Fault::malformed, why, "Keylime runtime policy", offset, name, std::move(detail)});
  };
  for (bool more = true; more;) {
    GH_TRY(const std::size_t n, policy.read(std::as_writable_bytes(std::span(buffer))));
    more = n == buffer.size();
    json::error_code code;
    const std::size_t used = parser.write_some(more, buffer.data(), n, code);
    offset += used;
    if (code) {
      Error error = parser.handler().error;
      if (error.reason.empty()) return malformed("not JSON", code.message());
      error.spec = "Keylime runtime policy";
      error.offset = offset;
      error.source = name;
      return fail(std::move(error));
    }
    if (parser.done() && used < n) return malformed("trailing bytes after the policy", {});
  }
  if (!parser.handler().has_digests) return malformed("no digests in the policy", {});
  return parser.handler().collected.package("keylime:" + name);
}

Result<ReferencePackage> read_ima_list(Stream& list, const std::string& name, const IngestLimits& limits) {
  Collected collected(limits);
  ByteVector buffer(block);
  std::optional<ima::Cursor> cursor;
  Hasher sha1(HashAlgorithm::sha1);
  for (bool more = true; more;) {
    GH_TRY(const std::size_t n, list.read(buffer));
    more = n == buffer.size();
    const Bytes piece = Bytes(buffer).first(n);
    if (!cursor) cursor.emplace(ima::form_of(piece));
    cursor->feed(piece);
    if (!more) cursor->end();
    for (;;) {
      auto next = cursor->next();
      if (!next) return fail(std::move(next).error().from(name));
      const ima::Entry* const e = *next;
      if (e == nullptr) break;
      if (e->violation()) continue;
      const auto bad = [&](Fault fault, std::string_view why) {
        return fail(Error{fault, why, "kernel ima_template.c", e->offset, name, {}});
      };
      // A list that was changed by hand is no golden machine's.
      if (e->recorded_hash.size() == digest_size(HashAlgorithm::sha1) &&
          !equal(sha1(e->template_data).view(), e->recorded_hash))
        return bad(Fault::malformed, "an entry isn't the one of its template hash");
      const ima::Fields& f = e->fields;
      const auto algorithm = hash_algorithm(f.algorithm);
      // Of fs-verity the digest isn't the content's; names without a slash in front (boot_aggregate) are no files.
      if (!f.is_file || f.type == "verity" || !algorithm || f.digest.size() != digest_size(*algorithm) ||
          !f.name.starts_with('/'))
        continue;
      const auto path = canonical_path(f.name);
      if (!path) return bad(Fault::malformed, "path can't be used");
      if (const auto added = collected.add(*path, *algorithm, Digest(f.digest)); !added)
        return bad(added.error().fault, added.error().reason);
    }
  }
  if (collected.empty()) return fail(Error{Fault::malformed, "no measured file in the list", {}, 0, name, {}});
  return collected.package("ima:" + name);
}

Result<ReferencePackage> read_swid(Bytes tag, const std::string& name) {
  auto files = swima::parse_tag_files(tag);
  if (!files) return fail(std::move(files).error().from(name));
  if (files->files.empty())
    return fail(Error{
        Fault::malformed, "the tag names no file by an absolute path and a digest", "ISO/IEC 19770-2", 0, name, {}});
  ReferencePackage out;
  out.source = "swid:" + name;
  if (!files->name.empty() && !files->version.empty()) {
    out.name = files->name.substr(0, 255);
    out.version = files->version.substr(0, 255);
  }
  std::set<std::string> seen;
  for (swima::TagFile& f : files->files) {
    auto path = canonical_path(f.path);
    if (!path)
      return fail(Error{Fault::malformed, "path can't be used", "ISO/IEC 19770-2", 0, name, escaped(f.path, 200)});
    if (!seen.insert(*path).second)
      return fail(Error{Fault::malformed, "a path twice", "ISO/IEC 19770-2", 0, name, escaped(*path, 200)});
    out.files.push_back({*std::move(path), f.size, f.is_mutable, std::move(f.digests)});
  }
  return out;
}

}  // namespace gatehouse::refdb
