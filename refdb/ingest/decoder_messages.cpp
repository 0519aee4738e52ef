#include "refdb/ingest/decoder_messages.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "base/hex.h"
#include "base/reader.h"
#include "base/writer.h"
#include "refdb/alias/alias.h"
#include "refdb/ingest/rpm.h"
#include "refdb/store/file_rows.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view spec = "refdb/ingest/decoder_messages.h";
constexpr std::size_t most_packages = 65'536, most_signatures = 64;
constexpr std::size_t rows_a_message = std::size_t(256) << 10;

std::unexpected<Error> not_one() {
  return fail(Error{Fault::internal, "what the decoder says is no answer", spec, 0, {}, {}});
}

void put_text32(Writer& w, std::string_view text) {
  w.put(std::uint32_t(text.size()));
  w.put_text(text);
}
Result<std::string_view> take_text32(Reader& r) {
  GH_TRY(const std::uint32_t size, r.get<std::uint32_t>());
  GH_TRY(const Bytes text, r.take(size));
  return as_text(text);
}

void put_algorithms(Writer& w, const std::vector<HashAlgorithm>& algorithms) {
  w.put(std::uint8_t(algorithms.size()));
  for (const HashAlgorithm a : algorithms) w.put(std::uint16_t(a));
}
Result<std::vector<HashAlgorithm>> take_algorithms(Reader& r) {
  GH_TRY(const std::uint8_t n, r.get<std::uint8_t>());
  std::vector<HashAlgorithm> out;
  for (unsigned i = 0; i < n; ++i) {
    GH_TRY(const std::uint16_t id, r.get<std::uint16_t>());
    const auto algorithm = hash_algorithm(id);
    if (!algorithm) return not_one();
    out.push_back(*algorithm);
  }
  return out;
}

Result<Reader> open(Bytes message, char letter) {
  Reader r(message, spec);
  GH_TRY(const std::uint8_t is, r.get<std::uint8_t>());
  if (is != std::uint8_t(letter)) return not_one();
  return r;
}

Result<Error> parse_error(Reader& r) {
  Error out;
  GH_TRY(const std::uint8_t fault, r.get<std::uint8_t>());
  if (fault > std::uint8_t(Fault::internal)) return not_one();
  out.fault = Fault(fault);
  GH_TRY(const std::uint64_t offset, r.get<std::uint64_t>());
  out.offset = std::size_t(offset);
  GH_TRY(const std::string_view reason, take_text32(r));
  GH_TRY(const std::string_view rule, take_text32(r));
  GH_TRY(const std::string_view detail, take_text32(r));
  GH_CHECK(r.finish());
  out.reason = lasting(reason);
  out.spec = lasting(rule);
  out.detail = escaped(detail, 400);
  return out;
}

}  // namespace

std::string_view lasting(std::string_view text) {
  static std::mutex mutex;
  static std::set<std::string, std::less<>> all;
  constexpr std::size_t most = 1024, longest = 300;
  constexpr std::string_view other = "a reason that isn't one for people";
  if (text.empty()) return {};
  if (text.size() > longest || !is_printable(text)) return other;
  const std::lock_guard lock(mutex);
  if (const auto there = all.find(text); there != all.end()) return *there;
  if (all.size() >= most) return other;
  return *all.emplace(text).first;
}

ByteVector request_message(const DecodeRequest& request) {
  Writer w;
  w.put(std::uint8_t('R'));
  w.put(std::uint8_t(request.kind));
  put_algorithms(w, request.algorithms);
  put_text32(w, request.name);
  w.put(std::uint8_t(request.pin.has_value()));
  if (request.pin) {
    w.put(request.pin->size);
    w.put(request.pin->digest.size);
    w.put_bytes(request.pin->digest.view());
    for (const auto& block : request.pin->blocks) w.put_bytes(block);
  }
  return std::move(w).take();
}

Result<DecodeRequest> parse_request(Bytes message) {
  GH_TRY(Reader r, open(message, 'R'));
  DecodeRequest out;
  GH_TRY(const std::uint8_t kind, r.get<std::uint8_t>());
  if (kind > std::uint8_t(SourceKind::swid)) return not_one();
  out.kind = SourceKind(kind);
  GH_TRY(out.algorithms, take_algorithms(r));
  GH_TRY(const std::string_view name, take_text32(r));
  out.name = name;
  GH_TRY(const std::uint8_t pinned, r.get<std::uint8_t>());
  if (pinned != 0) {
    PinnedInput::Pin pin;
    GH_TRY(pin.size, r.get<std::uint64_t>());
    GH_TRY(const std::uint8_t size, r.get<std::uint8_t>());
    if (size > max_digest_size) return not_one();
    GH_TRY(const Bytes digest, r.take(size));
    pin.digest = Digest(digest);
    while (!r.empty()) {
      GH_TRY(const Bytes block, r.take(32));
      std::ranges::copy(block, pin.blocks.emplace_back().begin());
    }
    out.pin = std::move(pin);
  }
  GH_CHECK(r.finish());
  return out;
}

ByteVector algorithms_message(const std::vector<HashAlgorithm>& algorithms) {
  Writer w;
  w.put(std::uint8_t('A'));
  put_algorithms(w, algorithms);
  return std::move(w).take();
}

Result<std::vector<HashAlgorithm>> parse_algorithms(Bytes message) {
  GH_TRY(Reader r, open(message, 'A'));
  GH_TRY(auto out, take_algorithms(r));
  GH_CHECK(r.finish());
  return out;
}

ByteVector head_message(const RpmHead& head) {
  Writer w;
  w.put(std::uint8_t('H'));
  w.put(std::uint8_t(head.binds_files));
  w.put(std::uint16_t(head.signatures.size()));
  for (const ByteVector& s : head.signatures) put_text32(w, as_text(s));
  return std::move(w).take();
}

namespace {

Result<RpmHead> read_head(Bytes message) {
  if (!message.empty() && message.front() == std::byte('E')) {
    GH_TRY(Reader r, open(message, 'E'));
    GH_TRY(Error error, parse_error(r));
    return fail(std::move(error));
  }
  GH_TRY(Reader r, open(message, 'H'));
  RpmHead out;
  GH_TRY(const std::uint8_t binds, r.get<std::uint8_t>());
  GH_TRY(const std::uint16_t signatures, r.get<std::uint16_t>());
  if (binds > 1 || signatures > most_signatures) return not_one();
  out.binds_files = binds != 0;
  for (unsigned i = 0; i < signatures; ++i) {
    GH_TRY(const std::string_view signature, take_text32(r));
    out.signatures.push_back(to_vector(as_bytes(signature)));
  }
  GH_CHECK(r.finish());
  return out;
}

// What can't be read is a lie, and no fault of the package.
template <class T>
Result<T> told(Result<T> read) {
  if (!read && read.error().spec == spec) return not_one();
  return read;
}

}  // namespace

Result<RpmHead> parse_head(Bytes message) { return told(read_head(message)); }

ByteVector error_message(const Error& error) {
  Writer w;
  w.put(std::uint8_t('E'));
  w.put(std::uint8_t(error.fault));
  w.put(std::uint64_t(error.offset));
  put_text32(w, error.reason);
  put_text32(w, error.spec);
  put_text32(w, error.detail);
  return std::move(w).take();
}

ByteVector done_message() { return {std::byte('D')}; }

Result<void> send_package(ReferencePackage&& package, const std::function<Result<void>(Bytes)>& send) {
  // All members by name, so that a new one isn't forgotten in begin(): what isn't sent is the ingestion's.
  [[maybe_unused]] auto& [product, layer, name, version, architecture, format, source, identity, ingested, first_seen, files, stamp] =
      package;
  PackageSender sender(send);
  GH_CHECK(sender.begin(package));
  for (ReferenceFile& f : files) GH_CHECK(sender.add(std::move(f)));
  return sender.finish();
}

Result<void> PackageSender::begin(const ReferencePackage& package) {
  Writer w;
  w.put(std::uint8_t('P'));
  for (const std::string* text : {&package.name, &package.version, &package.architecture, &package.source})
    put_text32(w, *text);
  w.put(std::uint8_t(package.format));
  return send_(w.view());
}

Result<void> PackageSender::flush(char next) {
  if (rows_.size() > 1) GH_CHECK(send_(as_bytes(rows_)));
  rows_ = next;
  writer_.restart();
  return {};
}

Result<void> PackageSender::add(ReferenceFile&& f) {
  const char letter = f.is_script ? 'S' : 'F';
  if (rows_.front() != letter) GH_CHECK(flush(letter));
  if (!is_canonical(f.path)) {
    GH_TRY(f.path, canonical_path(f.path));
  }
  // As a row has them: by algorithm, each once.
  std::ranges::sort(f.digests, {}, [](const auto& d) { return d.first; });
  const auto twice = std::ranges::unique(f.digests, {}, [](const auto& d) { return d.first; });
  f.digests.erase(twice.begin(), twice.end());
  FileRow row;
  set_row(row, f);
  writer_.append(rows_, row);
  if (rows_.size() >= rows_a_message) GH_CHECK(flush(letter));
  return {};
}

Result<void> Answer::take_files(std::string_view rows, bool scripts) {
  if (packages_.empty()) return not_one();
  FileReader reader(rows);
  while (!reader.done()) {
    const FileRow* const row = reader.next();
    if (row == nullptr) return not_one();
    path_bytes_ += row->path.size();
    if (++files_ > most_files_ || path_bytes_ > most_path_bytes_) return not_one();
    ReferenceFile f;
    f.path = row->path;
    f.size = row->size;
    f.is_mutable = row->is_mutable;
    f.is_script = scripts;
    f.digests.reserve(row->digests);
    for (std::size_t i = 0; i < row->digests; ++i) {
      const auto& [algorithm, digest] = row->contents[i];
      if (digest.size() != digest_size(algorithm)) return not_one();
      f.digests.emplace_back(algorithm, Digest(as_bytes(digest)));
    }
    if (sink_)
      GH_CHECK(sink_(std::move(f)));
    else
      packages_.back().files.push_back(std::move(f));
  }
  return {};
}

Result<bool> Answer::take(Bytes message) { return told(read(message)); }

Result<bool> Answer::read(Bytes message) {
  Reader r(message, spec);
  GH_TRY(const std::uint8_t letter, r.get<std::uint8_t>());
  switch (letter) {
    case 'P': {
      if (packages_.size() >= (sink_ ? 1 : most_packages)) return not_one();
      ReferencePackage& package = packages_.emplace_back();
      for (std::string* text : {&package.name, &package.version, &package.architecture, &package.source}) {
        GH_TRY(const std::string_view taken, take_text32(r));
        *text = taken;
      }
      GH_TRY(const std::uint8_t format, r.get<std::uint8_t>());
      package.format = PackageFormat(format);
      if (package.format > PackageFormat::rpm) return not_one();
      GH_CHECK(r.finish());
      return false;
    }
    case 'F':
    case 'S':
      GH_CHECK(take_files(as_text(r.rest()), letter == 'S'));
      return false;
    case 'E': {
      GH_TRY(Error error, parse_error(r));
      return fail(std::move(error));
    }
    case 'D':
      GH_CHECK(r.finish());
      return true;
    default:
      return not_one();
  }
}

}  // namespace gatehouse::refdb
