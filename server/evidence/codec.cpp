// docs/formats/evidence.md
#include <algorithm>

#include "server/evidence/fields.h"
#include "server/evidence/kept.h"
#include "wire/patnc/patnc.h"

namespace gatehouse::evidence {
namespace {

using namespace fields;

// 1: past results without failing_since; 2: no names of certificates, no software.
constexpr std::uint8_t kept_version = 3, oldest_kept_version = 1;
constexpr std::size_t max_baselines = 1024, max_list = 65'536;
constexpr std::size_t identifier_at = 4, identifier_size = 4;  // in a PA-TNC message (RFC 5792 3.6)

void put_bytes(Writer& w, Bytes bytes) {
  w.put(std::uint32_t(bytes.size()));
  w.put_bytes(bytes);
}
Result<ByteVector> get_bytes(Reader& r) {
  GH_TRY(const auto size, r.get<std::uint32_t>());
  GH_TRY(const Bytes bytes, r.take(size));
  return to_vector(bytes);
}
template <class T, class Put>
void put_optional(Writer& w, const std::optional<T>& value, Put put) {
  put_bool(w, value.has_value());
  if (value) put(*value);
}
template <class T, class Get>
Result<void> get_optional(Reader& r, std::optional<T>& out, Get get) {
  GH_TRY(const bool there, get_bool(r));
  if (!there) return {};
  GH_TRY(out, get());
  return {};
}

void put_texts(Writer& w, const std::vector<std::string>& texts) {
  w.put(std::uint32_t(texts.size()));
  for (const std::string& text : texts) put_text(w, text);
}
Result<std::vector<std::string>> get_texts(Reader& r) {
  GH_TRY(const std::size_t count, get_count(r, 4));
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) {
    GH_TRY(std::string text, get_text(r));
    out.push_back(std::move(text));
  }
  return out;
}

void put_finding(Writer& w, const pipeline::Finding& f) {
  put_text(w, f.component);
  put_optional(w, f.entry, [&](std::uint64_t v) { w.put(v); });
  put_optional(w, f.pcr, [&](std::uint32_t v) { w.put(v); });
  w.put(std::uint8_t(f.status));
  for (const std::string* text : {&f.path, &f.reason, &f.package, &f.version, &f.measured_template, &f.measured_file})
    put_text(w, *text);
  put_texts(w, f.expected);
}
Result<pipeline::Finding> get_finding(Reader& r) {
  pipeline::Finding f;
  GH_TRY(f.component, get_text(r));
  GH_CHECK(get_optional(r, f.entry, [&] { return r.get<std::uint64_t>(); }));
  GH_CHECK(get_optional(r, f.pcr, [&] { return r.get<std::uint32_t>(); }));
  GH_TRY(f.status, get_enum(r, pipeline::Status::absent));
  for (std::string* text : {&f.path, &f.reason, &f.package, &f.version, &f.measured_template, &f.measured_file}) {
    GH_TRY(*text, get_text(r));
  }
  GH_TRY(f.expected, get_texts(r));
  return f;
}
constexpr std::size_t least_finding = 4 + 1 + 1 + 1 + 6 * 4 + 4;

void put_findings(Writer& w, const std::vector<pipeline::Finding>& findings) {
  w.put(std::uint32_t(findings.size()));
  for (const pipeline::Finding& f : findings) put_finding(w, f);
}
Result<std::vector<pipeline::Finding>> get_findings(Reader& r) {
  GH_TRY(const std::size_t count, get_count(r, least_finding));
  std::vector<pipeline::Finding> out;
  for (std::size_t i = 0; i < count; ++i) {
    GH_TRY(pipeline::Finding f, get_finding(r));
    out.push_back(std::move(f));
  }
  return out;
}

void put_assessment(Writer& w, const policy::Assessment& a) {
  w.put(std::uint8_t(a.recommendation));
  w.put(std::uint8_t(a.evaluation));
}
Result<policy::Assessment> get_assessment(Reader& r) {
  policy::Assessment a;
  GH_TRY(a.recommendation, get_enum(r, pipeline::Recommendation::none));
  GH_TRY(a.evaluation, get_enum(r, pipeline::Evaluation::unknown));
  return a;
}

void put_part(Writer& w, const Part& part) {
  w.put(std::uint8_t(part.validator));
  put_bool(w, part.opinionated);
  put_assessment(w, part.opinion);
  w.put(std::uint32_t(part.items.size()));
  for (const Item& item : part.items) {
    w.put(std::uint8_t(item.type));
    put_text(w, item.argument);
    w.put(std::uint8_t(item.evaluation));
    put_text(w, item.result);
  }
  put_findings(w, part.more.first);
  put_findings(w, part.more.before_logs);
  w.put(part.more.findings_total);
  put_texts(w, part.more.warnings);
  put_texts(w, part.more.claims);
}
Result<Part> get_part(Reader& r) {
  Part part;
  GH_TRY(part.validator, get_enum(r, policy::Validator::swima));
  GH_TRY(part.opinionated, get_bool(r));
  GH_TRY(part.opinion, get_assessment(r));
  GH_TRY(const std::size_t items, get_count(r, 10));
  for (std::size_t i = 0; i < items; ++i) {
    Item item;
    GH_TRY(item.type, get_enum(r, policy::Type::tpmra));
    GH_TRY(item.argument, get_text(r));
    GH_TRY(item.evaluation, get_enum(r, pipeline::Evaluation::unknown));
    GH_TRY(item.result, get_text(r));
    part.items.push_back(std::move(item));
  }
  GH_TRY(part.more.first, get_findings(r));
  GH_TRY(part.more.before_logs, get_findings(r));
  GH_TRY(part.more.findings_total, r.get<std::uint64_t>());
  GH_TRY(part.more.warnings, get_texts(r));
  GH_TRY(part.more.claims, get_texts(r));
  return part;
}

// Pieces in the order in which the head names them, each once.
class PieceWriter {
 public:
  explicit PieceWriter(std::vector<ByteVector>& pieces) : pieces_(pieces) {}
  void put(Writer& w, ByteVector piece) {
    w.put(std::uint32_t(pieces_.size()));
    pieces_.push_back(std::move(piece));
  }

 private:
  std::vector<ByteVector>& pieces_;
};

class PieceReader {
 public:
  explicit PieceReader(std::vector<ByteVector> pieces) : pieces_(std::move(pieces)) {}
  // Each piece is for one place, and none is left over.
  Result<ByteVector> take(Reader& r) {
    GH_TRY(const auto place, r.get<std::uint32_t>());
    if (place != next_ || place >= pieces_.size()) return r.fail("names a piece out of order, or one that isn't there");
    return std::move(pieces_[next_++]);
  }
  bool all_taken() const { return next_ == pieces_.size(); }

 private:
  std::vector<ByteVector> pieces_;
  std::size_t next_ = 0;
};

ByteVector source_bytes(const policy::PolicySource& source) {
  Writer w;
  put_text(w, source.file);
  put_text(w, source.text);
  w.put(std::uint32_t(source.files.size()));
  for (const auto& [path, content] : source.files) {
    put_text(w, path);
    put_text(w, content);
  }
  return std::move(w).take();
}
Result<std::shared_ptr<const policy::PolicySource>> read_source(Bytes bytes) {
  Reader r(bytes, document);
  auto source = std::make_shared<policy::PolicySource>();
  GH_TRY(source->file, get_text(r));
  GH_TRY(source->text, get_text(r));
  GH_TRY(const std::size_t files, get_count(r, 8));
  for (std::size_t i = 0; i < files; ++i) {
    GH_TRY(std::string path, get_text(r));
    GH_TRY(std::string content, get_text(r));
    if (!source->files.emplace(std::move(path), std::move(content)).second) return r.fail("a file twice");
  }
  GH_CHECK(r.finish());
  return std::shared_ptr<const policy::PolicySource>(std::move(source));
}

ByteVector baseline_bytes(const pipeline::Baseline& baseline) {
  Writer w;
  put_algorithm(w, baseline.bank);
  w.put(std::uint32_t(baseline.events.size()));
  for (const auto& [pcr, digests] : baseline.events) {
    w.put(pcr);
    w.put(std::uint32_t(digests.size()));
    for (const Digest& digest : digests) w.put_bytes(digest.view());
  }
  return std::move(w).take();
}
Result<pipeline::Baseline> read_baseline(Bytes bytes) {
  Reader r(bytes, document);
  pipeline::Baseline out;
  GH_TRY(out.bank, get_algorithm(r));
  const std::size_t size = digest_size(out.bank);
  GH_TRY(const std::size_t pcrs, get_count(r, 8));
  for (std::size_t i = 0; i < pcrs; ++i) {
    GH_TRY(const auto pcr, r.get<std::uint32_t>());
    GH_TRY(const std::size_t count, get_count(r, size));
    std::vector<Digest> digests;
    digests.reserve(count);
    for (std::size_t n = 0; n < count; ++n) {
      GH_TRY(const Bytes digest, r.take(size));
      digests.emplace_back(digest);
    }
    out.events.emplace_back(pcr, std::move(digests));
  }
  GH_CHECK(r.finish());
  return out;
}

void put_last_quote(Writer& w, const pipeline::LastQuote& q) {
  w.put(q.clock);
  w.put(q.reset_count);
  w.put(q.restart_count);
  w.put(q.firmware_version);
}
Result<pipeline::LastQuote> get_last_quote(Reader& r) {
  pipeline::LastQuote q;
  GH_TRY(q.clock, r.get<std::uint64_t>());
  GH_TRY(q.reset_count, r.get<std::uint32_t>());
  GH_TRY(q.restart_count, r.get<std::uint32_t>());
  GH_TRY(q.firmware_version, r.get<std::uint64_t>());
  return q;
}

void put_context(Writer& w, PieceWriter& pieces, const pipeline::Context& c) {
  put_text(w, c.product);
  put_bool(w, c.product_known);
  put_optional(w, c.bank, [&](HashAlgorithm v) { put_algorithm(w, v); });
  put_algorithm(w, c.minimum_bank);
  w.put(std::uint32_t(c.symlinks.size()));
  for (const pipeline::SymlinkPair& link : c.symlinks) {
    put_text(w, link.from);
    put_text(w, link.to);
  }
  put_texts(w, c.claims);
  put_bool(w, c.boot_requested);
  put_bool(w, c.ima_requested);
  put_bool(w, c.serve);
  put_text(w, c.approve_command);
  put_optional(w, c.last_quote, [&](const pipeline::LastQuote& v) { put_last_quote(w, v); });
  w.put(std::uint64_t(c.max_boot_items));
  w.put(std::uint64_t(c.max_ima_items));
  w.put(std::uint32_t(c.baselines.size()));
  for (const pipeline::Baseline& baseline : c.baselines) pieces.put(w, baseline_bytes(baseline));
}
Result<pipeline::Context> get_context(Reader& r, PieceReader& pieces) {
  pipeline::Context c;
  GH_TRY(c.product, get_text(r));
  GH_TRY(c.product_known, get_bool(r));
  GH_CHECK(get_optional(r, c.bank, [&] { return get_algorithm(r); }));
  GH_TRY(c.minimum_bank, get_algorithm(r));
  GH_TRY(const std::size_t links, get_count(r, 8));
  for (std::size_t i = 0; i < links; ++i) {
    pipeline::SymlinkPair link;
    GH_TRY(link.from, get_text(r));
    GH_TRY(link.to, get_text(r));
    c.symlinks.push_back(std::move(link));
  }
  GH_TRY(c.claims, get_texts(r));
  GH_TRY(c.boot_requested, get_bool(r));
  GH_TRY(c.ima_requested, get_bool(r));
  GH_TRY(c.serve, get_bool(r));
  GH_TRY(c.approve_command, get_text(r));
  GH_CHECK(get_optional(r, c.last_quote, [&] { return get_last_quote(r); }));
  GH_TRY(const auto boot_items, r.get<std::uint64_t>());
  GH_TRY(const auto ima_items, r.get<std::uint64_t>());
  // Whatever a bundle says, judging it takes no more than judging a session.
  c.max_boot_items = std::size_t(std::min<std::uint64_t>(boot_items, 4'000'000));
  c.max_ima_items = std::size_t(std::min<std::uint64_t>(ima_items, 20'000'000));
  GH_TRY(const std::size_t baselines, get_count(r, 4));
  if (baselines > max_baselines) return r.fail("too many baselines");
  for (std::size_t i = 0; i < baselines; ++i) {
    GH_TRY(const ByteVector piece, pieces.take(r));
    GH_TRY(pipeline::Baseline baseline, read_baseline(piece));
    c.baselines.push_back(std::move(baseline));
  }
  return c;
}

// The identifier of a PA-TNC message is another one in each session: without it, equal messages are equal pieces.
void put_segment(Writer& w, PieceWriter& pieces, pipeline::Segment&& s) {
  w.put(std::uint8_t(s.stream));
  w.put(std::uint8_t(s.format));
  w.put(std::uint64_t(s.base_offset));
  std::uint32_t identifier = 0;
  if (s.format == pipeline::Format::pa_tnc && s.bytes.size() >= patnc::message_header_size)
    for (std::size_t i = 0; i < identifier_size; ++i)
      identifier = identifier << 8 | std::uint32_t(std::exchange(s.bytes[identifier_at + i], std::byte{0}));
  w.put(identifier);
  pieces.put(w, std::move(s.bytes));
}
Result<pipeline::Segment> get_segment(Reader& r, PieceReader& pieces) {
  pipeline::Segment s;
  GH_TRY(s.stream, get_enum(r, pipeline::Stream::ima));
  GH_TRY(s.format, get_enum(r, pipeline::Format::ima_ascii));
  GH_TRY(const auto base, r.get<std::uint64_t>());
  s.base_offset = std::size_t(base);
  GH_TRY(const auto identifier, r.get<std::uint32_t>());
  GH_TRY(s.bytes, pieces.take(r));
  if (s.format == pipeline::Format::pa_tnc) {
    if (s.bytes.size() < patnc::message_header_size) return r.fail("a PA-TNC message without its header");
    for (std::size_t i = 0; i < identifier_size; ++i)
      s.bytes[identifier_at + i] = std::byte(identifier >> (24 - 8 * i));
  } else if (identifier != 0) {
    return r.fail("a log with a message identifier");
  }
  return s;
}
constexpr std::size_t least_segment = 1 + 1 + 8 + 4 + 4;

void put_finish(Writer& w, const pipeline::Finish& f) {
  put_optional(w, f.ak.key, [&](const PublicKey& key) { put_bytes(w, key.spki()); });
  put_bool(w, f.ak.trusted);
  put_text(w, f.ak.untrusted_reason);
  put_optional(w, f.ak.object_attributes, [&](std::uint32_t v) { w.put(v); });
  put_optional(w, f.ak.name_algorithm, [&](HashAlgorithm v) { put_algorithm(w, v); });
  put_bytes(w, f.ak.qualified_name);
  w.put(std::uint8_t(f.quote.index()));
  if (const auto* raw = std::get_if<pipeline::RawQuote>(&f.quote)) {
    put_bytes(w, raw->attest);
    put_bytes(w, raw->signature);
  }
  if (const auto* final = std::get_if<pipeline::FinalQuote>(&f.quote)) {
    put_bytes(w, final->value);
    w.put(std::uint64_t(final->value_offset));
  }
  put_optional(w, f.nonce, [&](const ByteVector& v) { put_bytes(w, v); });
  put_optional(w, f.claimed_locality, [&](std::uint8_t v) { w.put(v); });
  put_texts(w, f.claims);
  put_bool(w, f.session_failed);
  put_text(w, f.session_failure);
}
Result<pipeline::Finish> get_finish(Reader& r) {
  pipeline::Finish f;
  GH_TRY(const bool has_key, get_bool(r));
  if (has_key) {
    GH_TRY(const ByteVector spki, get_bytes(r));
    auto key = PublicKey::from_spki(spki);
    if (!key) return r.fail("the AK isn't a public key");
    f.ak.key = *std::move(key);
  }
  GH_TRY(f.ak.trusted, get_bool(r));
  GH_TRY(f.ak.untrusted_reason, get_text(r));
  GH_CHECK(get_optional(r, f.ak.object_attributes, [&] { return r.get<std::uint32_t>(); }));
  GH_CHECK(get_optional(r, f.ak.name_algorithm, [&] { return get_algorithm(r); }));
  GH_TRY(f.ak.qualified_name, get_bytes(r));
  GH_TRY(const auto kind, r.get<std::uint8_t>());
  if (kind == 1) {
    pipeline::RawQuote raw;
    GH_TRY(raw.attest, get_bytes(r));
    GH_TRY(raw.signature, get_bytes(r));
    f.quote = std::move(raw);
  } else if (kind == 2) {
    pipeline::FinalQuote final;
    GH_TRY(final.value, get_bytes(r));
    GH_TRY(const auto offset, r.get<std::uint64_t>());
    final.value_offset = std::size_t(offset);
    f.quote = std::move(final);
  } else if (kind != 0) {
    return r.fail("unknown kind of quote");
  }
  GH_CHECK(get_optional(r, f.nonce, [&] { return get_bytes(r); }));
  GH_CHECK(get_optional(r, f.claimed_locality, [&] { return r.get<std::uint8_t>(); }));
  GH_TRY(f.claims, get_texts(r));
  GH_TRY(f.session_failed, get_bool(r));
  GH_TRY(f.session_failure, get_text(r));
  return f;
}

void put_facts(Writer& w, const Kept& k) {
  const policy::DeviceFacts& f = k.facts;
  w.put(std::uint8_t(f.standing));
  for (const std::string* text : {&f.device, &f.product, &f.identity, &f.identity_type, &f.ak}) put_text(w, *text);
  w.put(std::uint64_t(f.now));
  put_optional(w, f.last_boot, [&](std::int64_t v) { w.put(std::uint64_t(v)); });
  put_text(w, f.certificate.issuer);
  put_texts(w, f.certificate.alternative_names);
  w.put(std::uint32_t(k.history.size()));
  for (const auto& [key, past] : k.history) {
    put_text(w, key);
    w.put(std::uint64_t(past.when));
    w.put(std::uint8_t(past.recommendation));
    for (const std::string* text : {&past.identity, &past.identity_type, &past.ak}) put_text(w, *text);
    put_optional(w, past.failing_since, [&](std::int64_t v) { w.put(std::uint64_t(v)); });
  }
}
Result<void> get_facts(Reader& r, Kept& k, std::uint8_t layout) {
  policy::DeviceFacts& f = k.facts;
  GH_TRY(f.standing, get_enum(r, policy::Standing::authenticated));
  for (std::string* text : {&f.device, &f.product, &f.identity, &f.identity_type, &f.ak}) {
    GH_TRY(*text, get_text(r));
  }
  GH_TRY(f.now, get_time(r));
  GH_CHECK(get_optional(r, f.last_boot, [&] { return get_time(r); }));
  if (layout > 2) {
    GH_TRY(f.certificate.issuer, get_text(r));
    GH_TRY(f.certificate.alternative_names, get_texts(r));
  }
  GH_TRY(const std::size_t history, get_count(r, 4 + 8 + 1 + 3 * 4));
  for (std::size_t i = 0; i < history; ++i) {
    GH_TRY(std::string key, get_text(r));
    policy::PastResult past;
    GH_TRY(past.when, get_time(r));
    GH_TRY(past.recommendation, get_enum(r, pipeline::Recommendation::none));
    for (std::string* text : {&past.identity, &past.identity_type, &past.ak}) {
      GH_TRY(*text, get_text(r));
    }
    if (layout > 1) GH_CHECK(get_optional(r, past.failing_since, [&] { return get_time(r); }));
    if (!k.history.emplace(std::move(key), std::move(past)).second) return r.fail("a past result twice");
  }
  return {};
}

void put_said(Writer& w, PieceWriter& pieces, Said&& said) {
  const auto number = [&](std::uint32_t v) { w.put(v); };
  put_optional(w, said.settings.forwarding, number);
  put_optional(w, said.settings.default_password, number);
  put_optional(w, said.settings.unknown_sources, [&](bool v) { put_bool(w, v); });
  put_bool(w, said.packages.has_value());
  if (said.packages) pieces.put(w, *std::move(said.packages));
  w.put(std::uint32_t(said.port_filters.size()));
  for (auto& [collector, value] : said.port_filters) {
    w.put(collector);
    pieces.put(w, std::move(value));
  }
  put_bool(w, said.software.has_value());
  if (!said.software) return;
  w.put(std::uint8_t(said.software->list));
  put_text(w, said.software->why);
  w.put(std::uint64_t(said.software->inventory_time));
  put_bool(w, said.software_list.has_value());
  if (said.software_list) pieces.put(w, *std::move(said.software_list));
}
Result<Said> get_said(Reader& r, PieceReader& pieces, std::uint8_t layout) {
  Said said;
  const auto number = [&] { return r.get<std::uint32_t>(); };
  GH_CHECK(get_optional(r, said.settings.forwarding, number));
  GH_CHECK(get_optional(r, said.settings.default_password, number));
  GH_CHECK(get_optional(r, said.settings.unknown_sources, [&] { return get_bool(r); }));
  GH_TRY(const bool packages, get_bool(r));
  if (packages) {
    GH_TRY(said.packages, pieces.take(r));
  }
  GH_TRY(const std::size_t filters, get_count(r, 6));
  for (std::size_t i = 0; i < filters; ++i) {
    GH_TRY(const auto collector, r.get<std::uint16_t>());
    GH_TRY(ByteVector value, pieces.take(r));
    if (!said.port_filters.emplace(collector, std::move(value)).second) return r.fail("a collector twice");
  }
  if (layout < 3) return said;
  GH_TRY(const bool software, get_bool(r));
  if (!software) return said;
  server::SoftwareFacts& facts = said.software.emplace();
  GH_TRY(facts.list, get_enum(r, server::SoftwareFacts::List::whole));
  GH_TRY(facts.why, get_text(r));
  GH_TRY(facts.inventory_time, get_time(r));
  GH_TRY(const bool listed, get_bool(r));
  if (listed) {
    GH_TRY(said.software_list, pieces.take(r));
    GH_CHECK(server::each_software(*said.software_list, [](std::string_view) {}));
  }
  return said;
}

}  // namespace

server::EvidenceRecord encode(Kept&& k) {
  server::EvidenceRecord out;
  PieceWriter pieces(out.pieces);
  Writer w;
  w.put(kept_version);
  for (const std::string* text : {&k.session, &k.device, &k.product}) put_text(w, *text);
  put_optional(w, k.generation, [&](std::uint64_t v) { w.put(v); });
  w.put(std::uint64_t(k.generation_made));
  put_bool(w, k.other_product);
  put_facts(w, k);
  put_bool(w, k.source != nullptr);
  if (k.source != nullptr) pieces.put(w, source_bytes(*k.source));
  w.put(std::uint32_t(k.parts.size()));
  for (const Part& part : k.parts) put_part(w, part);
  put_said(w, pieces, std::move(k.said));
  put_bool(w, k.attestation.has_value());
  if (k.attestation) {
    put_context(w, pieces, k.attestation->context);
    w.put(std::uint32_t(k.attestation->segments.size()));
    for (pipeline::Segment& s : k.attestation->segments) put_segment(w, pieces, std::move(s));
    put_finish(w, k.attestation->finish);
  }
  out.head = std::move(w).take();
  return out;
}

Result<Kept> decode(Bytes head, std::vector<ByteVector> given) {
  PieceReader pieces(std::move(given));
  Reader r(head, document);
  Kept k;
  GH_TRY(const auto layout, r.get<std::uint8_t>());
  if (layout < oldest_kept_version || layout > kept_version) return r.fail("evidence of another layout version");
  for (std::string* text : {&k.session, &k.device, &k.product}) {
    GH_TRY(*text, get_text(r));
  }
  GH_CHECK(get_optional(r, k.generation, [&] { return r.get<std::uint64_t>(); }));
  GH_TRY(k.generation_made, get_time(r));
  GH_TRY(k.other_product, get_bool(r));
  GH_CHECK(get_facts(r, k, layout));
  GH_TRY(const bool own_policy, get_bool(r));
  if (own_policy) {
    GH_TRY(const ByteVector piece, pieces.take(r));
    GH_TRY(k.source, read_source(piece));
  }
  GH_TRY(const std::size_t parts, get_count(r, 1 + 1 + 2 + 4 + 4 + 4 + 8 + 4 + 4));
  if (parts > max_list) return r.fail("too many validators");
  for (std::size_t i = 0; i < parts; ++i) {
    GH_TRY(Part part, get_part(r));
    k.parts.push_back(std::move(part));
  }
  GH_TRY(k.said, get_said(r, pieces, layout));
  GH_TRY(const bool attested, get_bool(r));
  if (attested) {
    Attestation a;
    GH_TRY(a.context, get_context(r, pieces));
    GH_TRY(const std::size_t segments, get_count(r, least_segment));
    for (std::size_t i = 0; i < segments; ++i) {
      GH_TRY(pipeline::Segment s, get_segment(r, pieces));
      a.segments.push_back(std::move(s));
    }
    GH_TRY(a.finish, get_finish(r));
    k.attestation = std::move(a);
  }
  if (!pieces.all_taken()) return r.fail("pieces that nothing names");
  GH_CHECK(r.finish());
  return k;
}

}  // namespace gatehouse::evidence
