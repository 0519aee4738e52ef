// Container images in an archive: OCI image layout (image-spec image-layout.md, layer.md) and "docker save". Which
// members are layers, and in which order, is known only from the archive's own documents, so it is gone through once
// for what it holds and read at the places found.
#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "base/hex.h"
#include "refdb/alias/alias.h"
#include "refdb/ingest/file_hasher.h"
#include "refdb/ingest/files.h"
#include "refdb/ingest/inflate.h"
#include "refdb/ingest/ingest.h"
#include "refdb/ingest/limited_stream.h"
#include "refdb/ingest/tar.h"

namespace gatehouse::refdb {
namespace {

namespace json = boost::json;
constexpr std::string_view spec = "OCI image-spec";
constexpr std::size_t max_document = std::size_t(4) << 20, max_layers = 1024, max_members = 65536;
constexpr unsigned max_indexes = 16;

std::unexpected<Error> bad(std::string_view why, std::string_view what = {}, std::uint64_t at = 0) {
  return fail(Error{Fault::malformed, why, spec, std::size_t(at), {}, escaped(what, 200)});
}

// A layer's tar, where it is in the archive.
struct Layer {
  std::string name;
  std::uint64_t offset = 0, size = 0;
};

// The archive's members by name.
class Archive {
 public:
  explicit Archive(const Input& input) : input_(input) {}

  Result<void> index() {
    PlainStream stream(input_, 0);
    TarReader tar(stream);
    for (;;) {
      GH_TRY(const auto member, tar.next());
      if (!member) return {};
      if (members_.size() == max_members)
        return fail(Fault::limit, "more members than allowed", spec, std::size_t(stream.offset()));
      if (member->kind != TarMember::Kind::regular && member->kind != TarMember::Kind::symlink) continue;
      auto name = canonical_path(member->path);
      if (!name) return bad("a member with an unusable path", member->path, stream.offset());
      if (member->kind == TarMember::Kind::symlink) {
        // "docker save" names a layer that an image has twice so.
        if (const auto target = canonical_path(*name + "/../" + member->link_target))
          aliases_[*std::move(name)] = *target;
        continue;
      }
      const std::uint64_t at = tar.taken();
      if (member->is_sparse || at > input_.size() || member->size > input_.size() - at)
        return bad("a member that isn't in the archive as it is", member->path, at);
      if (!members_.emplace(*std::move(name), Layer{member->path, at, member->size}).second)
        return bad("a member twice", member->path, at);
    }
  }
  bool has(const std::string& name) const { return members_.contains("/" + name); }
  Result<Layer> find(const std::string& name) const {
    const auto path = canonical_path(name);
    const auto alias = path ? aliases_.find(*path) : aliases_.end();
    const auto at = path ? members_.find(alias == aliases_.end() ? *path : alias->second) : members_.end();
    if (at == members_.end()) return bad("a part that isn't in the archive", name);
    return at->second;
  }
  Result<json::value> document(const std::string& name) const {
    GH_TRY(const Layer at, find(name));
    return parse(at);
  }

  // A part by its descriptor: where it is said to be, and with the digest that it is said to have.
  Result<Layer> blob(const json::value& descriptor) const {
    const json::object* const o = descriptor.if_object();
    const json::value* const digest = o != nullptr ? o->if_contains("digest") : nullptr;
    if (digest == nullptr || !digest->is_string()) return bad("a descriptor without a digest");
    const std::string text(digest->get_string());
    const std::size_t colon = text.find(':');
    const auto algorithm = hash_algorithm(std::string_view(text).substr(0, colon));
    if (colon == text.npos || (algorithm != HashAlgorithm::sha256 && algorithm != HashAlgorithm::sha512))
      return bad("a digest of another algorithm than sha256 and sha512", text);
    const std::string hex = text.substr(colon + 1);
    const auto wanted = from_hex(hex);
    if (!wanted || wanted->size() != digest_size(*algorithm))
      return bad("a digest that isn't one of its algorithm", text);
    GH_TRY(const Layer at, find("blobs/" + text.substr(0, colon) + "/" + hex));
    Hasher hasher(*algorithm);
    hasher.start();
    ByteVector buffer(std::size_t(1) << 18);
    const PartInput part(input_, at.offset, at.size);
    for (std::uint64_t done = 0; done < at.size;) {
      GH_TRY(const std::size_t n, part.read_at(done, buffer));
      if (n == 0) return bad("truncated archive", {}, at.offset + done);
      hasher.update(Bytes(buffer).first(n));
      done += n;
    }
    if (!equal(hasher.finish().view(), *wanted)) return bad("a part isn't the one of its digest", text, at.offset);
    return at;
  }
  Result<json::value> parse(const Layer& at) const {
    if (at.size > max_document)
      return fail(Fault::limit, "a document of the image is larger than 4 MiB", spec, std::size_t(at.offset));
    GH_TRY(const ByteVector bytes, input_.bytes_at(at.offset, std::size_t(at.size)));
    json::error_code code;
    json::value out = json::parse(as_text(bytes), code);
    if (code) return bad("a document of the image isn't JSON", at.name, at.offset);
    return out;
  }

 private:
  const Input& input_;
  std::map<std::string, Layer> members_;
  std::map<std::string, std::string> aliases_;  // symbolic links
};

std::string_view text_of(const json::value& v, std::string_view name) {
  const json::object* const o = v.if_object();
  const json::value* const member = o != nullptr ? o->if_contains(name) : nullptr;
  return member != nullptr && member->is_string() ? std::string_view(member->get_string()) : std::string_view();
}
const json::array* array_of(const json::value& v, std::string_view name) {
  const json::object* const o = v.if_object();
  const json::value* const member = o != nullptr ? o->if_contains(name) : nullptr;
  return member != nullptr ? member->if_array() : nullptr;
}
// What build tools put beside an image: no image.
bool is_attestation(const json::value& descriptor) {
  const json::object* const o = descriptor.if_object();
  const json::value* const annotations = o != nullptr ? o->if_contains("annotations") : nullptr;
  return annotations != nullptr && text_of(*annotations, "vnd.docker.reference.type") == "attestation-manifest";
}

// The layers of the one image, from the lowest.
Result<std::vector<Layer>> layers_of_layout(const Archive& archive) {
  GH_TRY(json::value document, archive.document("index.json"));
  for (unsigned depth = 0; depth < max_indexes; ++depth) {
    if (const json::array* const layers = array_of(document, "layers")) {
      if (layers->size() > max_layers) return fail(Fault::limit, "more layers than allowed", spec);
      std::vector<Layer> out;
      for (const json::value& descriptor : *layers) {
        GH_TRY(Layer layer, archive.blob(descriptor));
        out.push_back(std::move(layer));
      }
      return out;
    }
    const json::array* const manifests = array_of(document, "manifests");
    if (manifests == nullptr) return bad("neither an index nor a manifest of an image");
    const json::value* image = nullptr;
    for (const json::value& descriptor : *manifests) {
      if (is_attestation(descriptor)) continue;
      if (image != nullptr) return bad("more than one image: save the one that is wanted alone");
      image = &descriptor;
    }
    if (image == nullptr) return bad("no image in the index");
    GH_TRY(const Layer at, archive.blob(*image));
    GH_TRY(json::value next, archive.parse(at));
    document = std::move(next);
  }
  return fail(Fault::limit, "indexes nested too deep", spec);
}

Result<std::vector<Layer>> layers_of_save(const Archive& archive) {
  GH_TRY(const json::value document, archive.document("manifest.json"));
  const json::array* const images = document.if_array();
  if (images == nullptr || images->empty()) return bad("no image in manifest.json");
  if (images->size() > 1) return bad("more than one image: save the one that is wanted alone");
  const json::array* const layers = array_of(images->front(), "Layers");
  if (layers == nullptr) return bad("no layers in manifest.json");
  if (layers->size() > max_layers) return fail(Fault::limit, "more layers than allowed", spec);
  std::vector<Layer> out;
  for (const json::value& name : *layers) {
    if (!name.is_string()) return bad("no layers in manifest.json");
    GH_TRY(Layer layer, archive.find(std::string(name.get_string())));
    out.push_back(std::move(layer));
  }
  return out;
}

// The files that layers leave. A layer's removals count for those below it alone, so they come before its files.
class Merged {
 public:
  Merged(const Input& input, const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits)
      : input_(input), limits_(limits), hasher_(algorithms, limits) {}

  Result<void> add(const Layer& layer) {
    GH_TRY(const Changes changes, read(layer));
    // Links to files below are to what was there before anything was removed.
    std::map<std::string, ReferenceFile> linked;
    for (const auto& [path, change] : changes.entries) {
      if (change.link.empty()) continue;
      GH_TRY(const ReferenceFile* const target, target_of(changes, change, path, layer));
      linked[path] = *target;
    }
    for (const std::string& folder : changes.opaque) remove_below(folder);
    for (const std::string& path : changes.removed) remove(path);
    for (const auto& [path, change] : changes.entries) {
      if (const auto before = files_.find(path); before != files_.end()) erase(before);
      // A file or link in place of a folder.
      if (change.kind != TarMember::Kind::folder) remove_below(path);
      if (change.kind == TarMember::Kind::regular) put(path, change.file);
      if (change.kind == TarMember::Kind::hard_link) put(path, linked.at(path));
    }
    if (files_.size() > limits_.files) return fail(Fault::limit, "more files than allowed", spec);
    if (paths_ > limits_.path_bytes) return fail(Fault::limit, "longer paths than allowed", spec);
    return {};
  }
  std::vector<ReferenceFile> take_files() { return with_paths(std::move(files_)); }
  std::vector<std::string> take_warnings() { return hasher_.take_warnings(); }

 private:
  struct Entry {
    TarMember::Kind kind{};
    ReferenceFile file{};
    std::string link{};  // canonical
  };
  struct Changes {
    std::map<std::string, Entry> entries;
    std::vector<std::string> removed, opaque;
  };

  // A hard link's file: of the layer, else of those below. Links to links are followed, as often as there are entries.
  Result<const ReferenceFile*> target_of(const Changes& changes, const Entry& link, const std::string& path,
                                         const Layer& layer) const {
    const Entry* at = &link;
    for (std::size_t steps = 0; steps < 40; ++steps) {
      const auto here = changes.entries.find(at->link);
      if (here == changes.entries.end()) {
        const auto below = files_.find(at->link);
        if (below == files_.end()) break;
        return &below->second;
      }
      if (here->second.kind == TarMember::Kind::regular) return &here->second.file;
      if (here->second.kind != TarMember::Kind::hard_link) break;
      at = &here->second;
    }
    return bad("a hard link to a file that isn't there", path, layer.offset);
  }

  using Files = std::map<std::string, ReferenceFile>;
  void put(const std::string& path, const ReferenceFile& file) {
    paths_ += path.size();
    files_[path] = file;
  }
  Files::iterator erase(Files::iterator at) {
    paths_ -= at->first.size();
    return files_.erase(at);
  }
  void remove(const std::string& path) {
    if (const auto at = files_.find(path); at != files_.end()) erase(at);
    remove_below(path);
  }
  void remove_below(const std::string& folder) {
    const std::string prefix = folder == "/" ? folder : folder + "/";
    auto at = files_.lower_bound(prefix);
    while (at != files_.end() && at->first.starts_with(prefix)) at = erase(at);
  }

  Result<Changes> read(const Layer& layer) {
    const PartInput part(input_, layer.offset, layer.size);
    std::byte head[6];
    GH_TRY(const std::size_t n, part.read_at(0, head));
    std::unique_ptr<Stream> stream;
    if (const auto compression = compression_of(Bytes(head, n))) {
      GH_TRY(stream, ConcatenatedInflater::open(part, 0, *compression));
    } else {
      stream = std::make_unique<PlainStream>(part, 0);
    }
    LimitedStream limited(*stream, input_.size(), limits_, expanded_);
    auto changes = entries(limited);
    if (!changes) {
      Error error = std::move(changes).error();
      error.offset += std::size_t(layer.offset);
      return fail(std::move(error));
    }
    expanded_ = limited.total();
    return changes;
  }

  Result<Changes> entries(Stream& stream) {
    Changes out;
    TarReader tar(stream);
    std::uint64_t paths = 0;
    for (;;) {
      GH_TRY(const auto member, tar.next());
      if (!member) break;
      const auto path = canonical_path(member->path);
      if (!path) return bad("a member with an unusable path", member->path, stream.offset());
      if (*path == "/") continue;
      if (out.entries.size() + out.removed.size() + out.opaque.size() >= limits_.files)
        return fail(Fault::limit, "more files than allowed", spec, std::size_t(stream.offset()));
      if ((paths += path->size()) > limits_.path_bytes)
        return fail(Fault::limit, "longer paths than allowed", spec, std::size_t(stream.offset()));
      const std::size_t slash = path->rfind('/') + 1;
      const std::string_view base = std::string_view(*path).substr(slash);
      const std::string folder = path->substr(0, slash == 1 ? 1 : slash - 1);
      if (base == ".wh..wh..opq") {
        out.opaque.push_back(folder);
        continue;
      }
      if (base.starts_with(".wh..wh.")) continue;  // how a storage driver keeps its own things
      if (base.starts_with(".wh.")) {
        if (base.size() == 4) return bad("a whiteout of nothing", *path, stream.offset());
        out.removed.push_back(path->substr(0, slash) + std::string(base.substr(4)));
        continue;
      }
      GH_TRY(Entry entry, entry_of(tar, *member, *path, stream));
      out.entries[*path] = std::move(entry);
    }
    // To its end, where a compressed layer's checksum is.
    for (;;) {
      GH_TRY(const std::size_t n, stream.read(buffer_));
      if (n < buffer_.size()) break;
    }
    return out;
  }

  Result<Entry> entry_of(TarReader& tar, const TarMember& member, const std::string& path, const Stream& stream) {
    Entry out;
    out.kind = member.kind;
    if (member.kind == TarMember::Kind::hard_link) {
      auto target = canonical_path(member.link_target);
      if (!target) return bad("a member with an unusable path", member.link_target, stream.offset());
      out.link = *std::move(target);
    }
    if (member.kind != TarMember::Kind::regular) return out;
    hasher_.start(path);
    for (;;) {
      GH_TRY(const std::size_t n, tar.read(buffer_));
      if (n == 0) break;
      out.file.size += n;
      content_ += n;  // holes are content, too
      if (out.file.size > limits_.file_bytes || expands_too_far(content_, input_.size(), limits_))
        return fail(Fault::limit, "the image expands to more than allowed", spec, std::size_t(stream.offset()));
      hasher_.update(Bytes(buffer_).first(n));
    }
    hasher_.finish(out.file);
    return out;
  }

  const Input& input_;
  const IngestLimits limits_;
  FileHasher hasher_;
  std::map<std::string, ReferenceFile> files_;
  std::uint64_t paths_ = 0, expanded_ = 0, content_ = 0;
  ByteVector buffer_ = ByteVector(std::size_t(1) << 18);
};

Result<void> read_files(const Input& input, const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits,
                        ReferencePackage& out) {
  Archive archive(input);
  GH_CHECK(archive.index());
  const bool layout = archive.has("index.json");
  if (!layout && !archive.has("manifest.json")) return bad("no image archive: neither index.json nor manifest.json");
  GH_TRY(const std::vector<Layer> layers, layout ? layers_of_layout(archive) : layers_of_save(archive));
  Merged merged(input, algorithms, limits);
  for (const Layer& layer : layers) GH_CHECK(merged.add(layer));
  out.files = merged.take_files();
  out.warnings = merged.take_warnings();
  return {};
}

}  // namespace

Result<ReferencePackage> read_oci(const Input& archive, const std::string& name,
                                  const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits) {
  ReferencePackage out;
  out.source = "oci:" + name;
  if (auto read = read_files(archive, algorithms, limits, out); !read)
    return fail(std::move(read).error().from(name));
  return out;
}

}  // namespace gatehouse::refdb
