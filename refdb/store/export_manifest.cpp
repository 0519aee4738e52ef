#include "refdb/store/export_manifest.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/hex.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view first_line = "gatehouse refdb export 2";
constexpr std::string_view spec = "docs/formats/export.md";

// Words of lines, each in the one form that it is written in.
class Words {
 public:
  explicit Words(std::string_view text) : rest_(text), size_(text.size()) {}

  bool empty() const { return rest_.empty(); }
  bool begins_with(std::string_view word) const { return rest_.starts_with(word); }
  Result<void> literal(std::string_view text) {
    if (!rest_.starts_with(text)) return bad("not what stands here");
    rest_.remove_prefix(text.size());
    return {};
  }
  // From 0 up to 2^63 - 1, without leading zeros.
  Result<std::uint64_t> number() {
    std::uint64_t out = 0;
    const auto [end, code] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), out);
    const auto digits = std::size_t(end - rest_.data());
    if (code != std::errc{} || out > INT64_MAX || (digits > 1 && rest_.front() == '0')) return bad("not a number");
    rest_.remove_prefix(digits);
    return out;
  }
  Result<Digest> digest() {
    constexpr std::size_t digits = 64;
    if (rest_.size() < digits) return bad("not a digest");
    const std::string_view text = rest_.substr(0, digits);
    const auto bytes = from_hex(text);
    if (!bytes || std::ranges::any_of(text, [](char c) { return c >= 'A' && c <= 'F'; })) return bad("not a digest");
    rest_.remove_prefix(digits);
    return Digest(*bytes);
  }
  // Up to the line's end, which stays.
  Result<std::string_view> line() {
    const std::size_t end = rest_.find('\n');
    if (end == rest_.npos) return bad("a line without an end");
    const std::string_view out = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return out;
  }
  std::unexpected<Error> bad(std::string_view why) const {
    return fail(Error{Fault::malformed, why, spec, size_ - rest_.size(), {}, {}});
  }

 private:
  std::string_view rest_;
  const std::size_t size_;
};

// RocksDB writes at least six digits, and more only where they are needed.
bool is_numbered(std::string_view text) {
  return text.size() >= 6 && text.size() <= 19 && (text.size() == 6 || text.front() != '0') &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}
enum class Kind : std::uint8_t { repositories, current, identity, list, table };
std::optional<Kind> kind_of(std::string_view name) {
  constexpr std::string_view list = "MANIFEST-", table = ".sst";
  if (name == repositories_name) return Kind::repositories;
  if (name == "CURRENT") return Kind::current;
  if (name == "IDENTITY") return Kind::identity;
  if (name.starts_with(list) && is_numbered(name.substr(list.size()))) return Kind::list;
  if (name.ends_with(table) && is_numbered(name.substr(0, name.size() - table.size()))) return Kind::table;
  return std::nullopt;
}

Result<ExportManifest::File> parse_file(Words& words, bool has_base) {
  ExportManifest::File out;
  out.in_base = words.begins_with("base ");
  GH_CHECK(words.literal(out.in_base ? "base " : "file "));
  GH_TRY(out.sha256, words.digest());
  GH_CHECK(words.literal(" "));
  const Words at = words;
  GH_TRY(out.size, words.number());
  if (out.size > ExportManifest::most_file_bytes) return at.bad("a file larger than allowed");
  GH_CHECK(words.literal(" "));
  const Words named = words;
  GH_TRY(const std::string_view name, words.line());
  const auto kind = kind_of(name);
  if (!kind || (out.in_base && (kind != Kind::table || !has_base))) return named.bad("no file of a generation");
  GH_CHECK(words.literal("\n"));
  out.name = name;
  return out;
}

// Is there one of each file that a database needs, and are they in order?
bool is_whole(const std::vector<ExportManifest::File>& files) {
  std::size_t count[5] = {};
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto kind = *kind_of(files[i].name);
    if (kind == Kind::repositories && i != 0) return false;
    if (i != 0 && kind_of(files[i - 1].name) != Kind::repositories && files[i - 1].name >= files[i].name) return false;
    ++count[std::size_t(kind)];
  }
  return count[std::size_t(Kind::current)] == 1 && count[std::size_t(Kind::identity)] == 1 &&
         count[std::size_t(Kind::list)] == 1 && count[std::size_t(Kind::table)] != 0;
}

}  // namespace

std::uint64_t ExportManifest::bytes() const {
  std::uint64_t out = 0;
  for (const File& f : files) out += f.in_base ? 0 : f.size;
  return out;
}

std::string append_manifest(const ExportManifest& m) {
  std::string out(first_line);
  out += "\ngeneration " + std::to_string(m.generation) + "\nmade " + std::to_string(m.made) + "\ncontent " +
         m.content.hex() + "\npackages " + std::to_string(m.packages) + "\nfiles " + std::to_string(m.files_known) +
         "\n";
  if (m.base) out += "over " + std::to_string(m.base->generation) + " " + m.base->content.hex() + "\n";
  for (const ExportManifest::File& f : m.files)
    out += (f.in_base ? "base " : "file ") + f.sha256.hex() + " " + std::to_string(f.size) + " " + f.name + "\n";
  return out;
}

Result<ExportManifest> parse_manifest(std::string_view text) {
  Words words(text);
  ExportManifest out;
  if (text.size() > ExportManifest::most_bytes) return fail(Fault::limit, "a manifest longer than allowed", spec);
  GH_CHECK(words.literal(first_line));
  GH_CHECK(words.literal("\ngeneration "));
  GH_TRY(out.generation, words.number());
  GH_CHECK(words.literal("\nmade "));
  GH_TRY(const std::uint64_t made, words.number());
  out.made = std::int64_t(made);
  GH_CHECK(words.literal("\ncontent "));
  GH_TRY(out.content, words.digest());
  GH_CHECK(words.literal("\npackages "));
  GH_TRY(out.packages, words.number());
  GH_CHECK(words.literal("\nfiles "));
  GH_TRY(out.files_known, words.number());
  GH_CHECK(words.literal("\n"));
  if (words.begins_with("over ")) {
    GH_CHECK(words.literal("over "));
    GH_TRY(const std::uint64_t generation, words.number());
    GH_CHECK(words.literal(" "));
    GH_TRY(const Digest content, words.digest());
    GH_CHECK(words.literal("\n"));
    out.base = ExportManifest::Base{generation, content};
  }
  while (!words.empty()) {
    if (out.files.size() >= ExportManifest::most_files) return words.bad("more files than allowed");
    GH_TRY(ExportManifest::File file, parse_file(words, out.base.has_value()));
    out.files.push_back(std::move(file));
  }
  if (out.generation == 0 || (out.base && out.base->generation == 0))
    return words.bad("no generation has the number 0");
  if (!is_whole(out.files)) return words.bad("the files aren't those of a generation, each once and in order");
  return out;
}

std::string append_record(const ImportRecord& r) {
  return r.key.hex() + " " + std::to_string(r.made) + " " + std::to_string(r.generation) + " " + r.content.hex() + " " +
         r.manifest.hex() + "\n";
}

Result<std::vector<ImportRecord>> parse_records(std::string_view text) {
  Words words(text);
  std::vector<ImportRecord> out;
  while (!words.empty()) {
    ImportRecord r;
    GH_TRY(r.key, words.digest());
    GH_CHECK(words.literal(" "));
    GH_TRY(const std::uint64_t made, words.number());
    r.made = std::int64_t(made);
    GH_CHECK(words.literal(" "));
    GH_TRY(r.generation, words.number());
    GH_CHECK(words.literal(" "));
    GH_TRY(r.content, words.digest());
    GH_CHECK(words.literal(" "));
    GH_TRY(r.manifest, words.digest());
    GH_CHECK(words.literal("\n"));
    out.push_back(r);
  }
  return out;
}

}  // namespace gatehouse::refdb
