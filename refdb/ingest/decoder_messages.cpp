#include "refdb/ingest/decoder_messages.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "base/hex.h"
#include "base/reader.h"
#include "base/writer.h"
#include "refdb/alias/alias.h"
#include "refdb/ingest/maintainer_script.h"
#include "refdb/ingest/rpm.h"
#include "refdb/store/file_rows.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view spec = "refdb/ingest/decoder_messages.h";
constexpr std::size_t most_packages = 65'536, most_signatures = 64, most_notes = 100;
// A note as it is given; what isn't printable in it becomes longer.
constexpr std::size_t longest_note = 1000, longest_escaped = 4 * longest_note + 3;
constexpr std::size_t rows_a_message = std::size_t(256) << 10;

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
    if (!algorithm) return no_answer();
    out.push_back(*algorithm);
  }
  return out;
}

Result<Reader> open(Bytes message, char letter) {
  Reader r(message, spec);
  GH_TRY(const std::uint8_t is, r.get<std::uint8_t>());
  if (is != std::uint8_t(letter)) return no_answer();
  return r;
}

}  // namespace

std::unexpected<Error> no_answer() {
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

Result<Error> parse_error(Reader& r) {
  Error out;
  GH_TRY(const std::uint8_t fault, r.get<std::uint8_t>());
  if (fault > std::uint8_t(Fault::internal)) return no_answer();
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

ByteVector request_message(const DecodeRequest& request, std::uint64_t size) {
  Writer w;
  w.put(std::uint8_t('R'));
  w.put(size);
  w.put(std::uint8_t(request.kind));
  put_algorithms(w, request.algorithms);
  put_text32(w, request.name);
  put_text32(w, request.product);
  w.put(std::uint8_t(request.pin.has_value()));
  if (request.pin) {
    w.put(request.pin->size);
    w.put(request.pin->digest.size);
    w.put_bytes(request.pin->digest.view());
    for (const auto& block : request.pin->blocks) w.put_bytes(block);
  }
  return std::move(w).take();
}

Result<Asked> parse_request(Bytes message) {
  GH_TRY(Reader r, open(message, 'R'));
  Asked asked;
  DecodeRequest& out = asked.request;
  GH_TRY(asked.size, r.get<std::uint64_t>());
  GH_TRY(const std::uint8_t kind, r.get<std::uint8_t>());
  if (kind > std::uint8_t(SourceKind::strongtnc_devices)) return no_answer();
  out.kind = SourceKind(kind);
  GH_TRY(out.algorithms, take_algorithms(r));
  GH_TRY(const std::string_view name, take_text32(r));
  out.name = name;
  GH_TRY(const std::string_view product, take_text32(r));
  out.product = product;
  GH_TRY(const std::uint8_t pinned, r.get<std::uint8_t>());
  if (pinned != 0) {
    PinnedInput::Pin pin;
    GH_TRY(pin.size, r.get<std::uint64_t>());
    GH_TRY(const std::uint8_t size, r.get<std::uint8_t>());
    if (size > max_digest_size) return no_answer();
    GH_TRY(const Bytes digest, r.take(size));
    pin.digest = Digest(digest);
    while (!r.empty()) {
      GH_TRY(const Bytes block, r.take(32));
      std::ranges::copy(block, pin.blocks.emplace_back().begin());
    }
    out.pin = std::move(pin);
  }
  GH_CHECK(r.finish());
  return asked;
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
  put_text32(w, head.name);
  w.put(std::uint8_t(head.binds_files));
  w.put(std::uint16_t(head.signatures.size()));
  for (const ByteVector& s : head.signatures) put_text32(w, as_text(s));
  return std::move(w).take();
}

namespace {

// As a row has them: by algorithm, each once.
void put_in_order(std::vector<std::pair<HashAlgorithm, Digest>>& digests) {
  std::ranges::sort(digests, {}, [](const auto& d) { return d.first; });
  const auto twice = std::ranges::unique(digests, {}, [](const auto& d) { return d.first; });
  digests.erase(twice.begin(), twice.end());
}

Result<RpmHead> read_head(Bytes message) {
  if (!message.empty() && message.front() == std::byte('E')) {
    GH_TRY(Reader r, open(message, 'E'));
    GH_TRY(Error error, parse_error(r));
    return fail(std::move(error));
  }
  GH_TRY(Reader r, open(message, 'H'));
  RpmHead out;
  GH_TRY(const std::string_view name, take_text32(r));
  out.name = name;
  GH_TRY(const std::uint8_t binds, r.get<std::uint8_t>());
  GH_TRY(const std::uint16_t signatures, r.get<std::uint16_t>());
  if (binds > 1 || signatures > most_signatures) return no_answer();
  out.binds_files = binds != 0;
  for (unsigned i = 0; i < signatures; ++i) {
    GH_TRY(const std::string_view signature, take_text32(r));
    out.signatures.push_back(to_vector(as_bytes(signature)));
  }
  GH_CHECK(r.finish());
  return out;
}

Result<DebControl> read_control(Bytes message) {
  if (!message.empty() && message.front() == std::byte('E')) {
    GH_TRY(Reader r, open(message, 'E'));
    GH_TRY(Error error, parse_error(r));
    return fail(std::move(error));
  }
  GH_TRY(Reader r, open(message, 'I'));
  DebControl out;
  for (std::string* text : {&out.name, &out.section, &out.priority}) {
    GH_TRY(const std::string_view taken, take_text32(r));
    *text = taken;
  }
  GH_CHECK(r.finish());
  return out;
}

template <class T>
Result<T> told(Result<T> read) {
  if (!read && read.error().spec == spec) return no_answer();
  return read;
}

}  // namespace

Result<RpmHead> parse_head(Bytes message) { return told(read_head(message)); }
Result<DebControl> parse_control(Bytes message) { return told(read_control(message)); }

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

ByteVector control_message(const DebControl& control) {
  Writer w;
  w.put(std::uint8_t('I'));
  for (const std::string* text : {&control.name, &control.section, &control.priority}) put_text32(w, *text);
  return std::move(w).take();
}

ByteVector note_message(std::string_view text) {
  Writer w;
  w.put(std::uint8_t('W'));
  put_text32(w, escaped(text, longest_note));
  return std::move(w).take();
}

ByteVector done_message() { return {std::byte('D')}; }

Result<void> send_package(ReferencePackage&& package, const std::function<Result<void>(Bytes)>& send) {
  // All members by name, so that a new one isn't forgotten in begin() and end(): what isn't sent is the ingestion's.
  [[maybe_unused]] auto& [product, layer, name, version, architecture, format, source, identity, ingested, first_seen,
                          files, diversions, stamp, warnings] = package;
  PackageSender sender(send);
  GH_CHECK(sender.begin(package));
  for (ReferenceFile& f : files) GH_CHECK(sender.add(std::move(f)));
  return sender.end(warnings);
}

Result<void> PackageSender::begin(const ReferencePackage& package) {
  Writer w;
  w.put(std::uint8_t('P'));
  for (const std::string* text :
       {&package.product, &package.name, &package.version, &package.architecture, &package.source}) {
    if (text->size() > UINT16_MAX) return fail(Fault::limit, "a name longer than 65,535 bytes");
    put_text32(w, *text);
  }
  w.put(std::uint8_t(package.format));
  GH_CHECK(send_(w.view()));
  for (const Diversion& d : package.diversions) {
    w.clear();
    w.put(std::uint8_t('V'));
    for (const std::string* path : {&d.path, &d.to}) put_text32(w, *path);
    GH_CHECK(send_(w.view()));
  }
  return {};
}

Result<void> PackageSender::flush(char next) {
  if (rows_.size() > 1) GH_CHECK(send_(as_bytes(rows_)));
  rows_ = next;
  writer_.restart();
  return {};
}

Result<void> PackageSender::add(ReferenceFile&& f) {
  if (!is_canonical(f.path)) {
    GH_TRY(f.path, canonical_path(f.path));
  }
  const char letter = f.is_extra ? 'S' : 'F';
  // A file that is there twice isn't a further content of the first.
  if (rows_.front() != letter || rows_.size() >= rows_a_message || f.path == last_) GH_CHECK(flush(letter));
  FileRow row;
  put_in_order(f.digests);
  set_row(row, f);
  writer_.append(rows_, row);
  for (FileContent& c : f.further) {
    if (rows_.size() >= rows_a_message) GH_CHECK(flush('M'));
    put_in_order(c.digests);
    set_content(row, c);
    writer_.append(rows_, row);
  }
  last_ = std::move(f.path);
  return {};
}

Result<void> PackageSender::end(const std::vector<std::string>& warnings) {
  GH_CHECK(flush('F'));
  for (const std::string& warning : warnings) GH_CHECK(send_(note_message(warning)));
  return {};
}

Result<void> Answer::take_package(Reader& r) {
  GH_CHECK(end_file());
  if (all_.packages.size() >= (sink_ ? 1 : most_packages)) return no_answer();
  ReferencePackage& package = all_.packages.emplace_back();
  for (std::string* text :
       {&package.product, &package.name, &package.version, &package.architecture, &package.source}) {
    GH_TRY(const std::string_view taken, take_text32(r));
    if (taken.size() > UINT16_MAX || (text_bytes_ += taken.size()) > most_message_bytes + most_path_bytes_)
      return no_answer();
    *text = taken;
  }
  if (package.product.empty() == products_ || !is_printable(package.product)) return no_answer();
  GH_TRY(const std::uint8_t format, r.get<std::uint8_t>());
  package.format = PackageFormat(format);
  if (package.format > PackageFormat::rpm) return no_answer();
  return r.finish();
}

Result<void> Answer::take_files(std::string_view rows, char letter) {
  if (all_.packages.empty()) return no_answer();
  FileReader reader(rows);
  for (bool first = true; !reader.done(); first = false) {
    const FileRow* const row = reader.next();
    if (row == nullptr || ++files_ > most_files_) return no_answer();
    std::vector<std::pair<HashAlgorithm, Digest>> digests;
    digests.reserve(row->digests);
    for (std::size_t i = 0; i < row->digests; ++i) {
      const auto& [algorithm, digest] = row->contents[i];
      if (digest.size() != digest_size(algorithm)) return no_answer();
      digests.emplace_back(algorithm, Digest(as_bytes(digest)));
    }
    const bool same = file_ && file_->path == row->path;
    if (first ? letter == 'M' : same) {
      if (!same || file_->is_mutable != row->is_mutable) return no_answer();
      file_->further.push_back({row->size, std::move(digests)});
      continue;
    }
    if (letter == 'M' || (path_bytes_ += row->path.size()) > most_path_bytes_) return no_answer();
    GH_CHECK(end_file());
    file_ = ReferenceFile{std::string(row->path), row->size, row->is_mutable, std::move(digests), letter == 'S', {}};
  }
  return {};
}

Result<void> Answer::end_file() {
  if (!file_) return {};
  ReferenceFile file = *std::move(file_);
  file_.reset();
  if (sink_) return sink_(std::move(file));
  all_.packages.back().files.push_back(std::move(file));
  return {};
}

Result<void> Answer::take_diversion(Reader& r) {
  if (all_.packages.empty() || all_.packages.back().diversions.size() >= max_declarations) return no_answer();
  Diversion& d = all_.packages.back().diversions.emplace_back();
  for (std::string* path : {&d.path, &d.to}) {
    GH_TRY(const std::string_view taken, take_text32(r));
    if (canonical_path(taken) != std::string(taken)) return no_answer();
    *path = taken;
  }
  return r.finish();
}

Result<void> Answer::take_note(std::string_view text) {
  std::vector<std::string>& all = all_.packages.empty() ? all_.notes : all_.packages.back().warnings;
  if (++notes_ > most_notes || text.size() > longest_escaped || !is_printable(text)) return no_answer();
  all.emplace_back(text);
  return {};
}

Result<bool> Answer::take(Bytes message) { return told(read(message)); }

Result<bool> Answer::read(Bytes message) {
  Reader r(message, spec);
  GH_TRY(const std::uint8_t letter, r.get<std::uint8_t>());
  switch (letter) {
    case 'P':
      GH_CHECK(take_package(r));
      return false;
    case 'F':
    case 'M':
    case 'S':
      GH_CHECK(take_files(as_text(r.rest()), char(letter)));
      return false;
    case 'V':
      GH_CHECK(take_diversion(r));
      return false;
    case 'W': {
      GH_TRY(const std::string_view text, take_text32(r));
      GH_CHECK(r.finish());
      GH_CHECK(take_note(text));
      return false;
    }
    case 'E': {
      GH_TRY(Error error, parse_error(r));
      return fail(std::move(error));
    }
    case 'D':
      GH_CHECK(r.finish());
      GH_CHECK(end_file());
      return true;
    default:
      return no_answer();
  }
}

}  // namespace gatehouse::refdb
