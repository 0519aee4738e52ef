// File digests that sessions learned of a device, one record a directory (docs/formats/state.md).
#include <algorithm>

#include "base/reader.h"
#include "base/writer.h"
#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

constexpr std::string_view document = "docs/formats/state.md";
constexpr std::uint8_t files_version = 1;
using Files = std::map<std::string, Digest>;

std::string device_prefix(std::string_view device) { return std::string(1, 'f').append(device) + '\0'; }
std::string files_key(std::string_view device, HashAlgorithm algorithm, std::string_view directory) {
  Writer w;
  w.put(std::uint16_t(algorithm));
  return device_prefix(device).append(as_text(w.view())).append(directory);
}

void put_text(Writer& w, std::string_view text) {
  w.put(std::uint32_t(text.size()));
  w.put_text(text);
}

std::string encode(const std::string& session, std::int64_t since, const Files& files) {
  Writer w;
  w.put(files_version);
  put_text(w, session);
  w.put(std::uint64_t(since));
  w.put(std::uint32_t(files.size()));
  for (const auto& [name, digest] : files) {
    put_text(w, name);
    w.put_bytes(digest.view());
  }
  return std::string(as_text(w.view()));
}

Result<Files> decode(std::string_view value, HashAlgorithm algorithm) {
  Reader r(as_bytes(value), document);
  GH_TRY(const auto version, r.get<std::uint8_t>());
  if (version != files_version) return r.fail("record of another layout version");
  GH_TRY(const auto session_size, r.get<std::uint32_t>());
  GH_CHECK(r.skip(session_size));
  GH_CHECK(r.skip(8));
  GH_TRY(const auto count, r.get<std::uint32_t>());
  Files out;
  for (std::uint32_t i = 0; i < count; ++i) {
    GH_TRY(const auto size, r.get<std::uint32_t>());
    GH_TRY(const Bytes name, r.take(size));
    GH_TRY(const Bytes digest, r.take(digest_size(algorithm)));
    out.emplace_hint(out.end(), as_text(name), Digest(digest));
  }
  GH_CHECK(r.finish());
  return out;
}

Result<Files> read_files(const StoreView& view, std::string_view device, HashAlgorithm algorithm, std::string_view directory) {
  GH_TRY(const auto value, view.read(files_key(device, algorithm, directory)));
  if (!value) return Files();
  return decode(*value, algorithm);
}

}  // namespace

Result<void> State::Impl::learn_files(Batch& batch, const SessionResult& result) {
  if (result.learned_files.empty()) return {};
  const std::string& id = result.intent.device;
  GH_TRY(const auto device, read_device(batch, id));
  if (!device || !device->device.enrolled) return {};
  for (const LearnedFiles& learned : result.learned_files) {
    Files files;
    if (!learned.whole) {
      GH_TRY(files, read_files(batch, id, learned.algorithm, learned.directory));
    }
    for (const auto& [name, digest] : learned.files) {
      if (digest.size != digest_size(learned.algorithm)) return fail(Fault::internal, "not a digest of its algorithm");
      files.insert_or_assign(name, digest);
    }
    if (files.size() > max_learned_files) return fail(Fault::limit, "more learned files in a directory than are kept");
    batch.put(files_key(id, learned.algorithm, learned.directory), encode(result.intent.session, now(), files));
  }
  return {};
}

Result<void> forget_files(Batch& batch, std::string_view device) {
  const std::string prefix = device_prefix(device);
  std::vector<std::string> keys;
  GH_CHECK(batch.each(prefix, prefix, [&](std::string_view key, std::string_view) { return keys.emplace_back(key), true; }));
  for (const std::string& key : keys) batch.erase(key);
  return {};
}

Result<std::map<std::string, Digest>> State::learned_files(std::string_view device, HashAlgorithm algorithm,
                                                           std::string_view directory) const {
  return read_files(impl_->store->view(), device, algorithm, directory);
}

}  // namespace gatehouse::server
