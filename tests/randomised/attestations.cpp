#include "tests/randomised/attestations.h"

#include <algorithm>
#include <array>

#include "pipeline/quote/quote.h"
#include "pipeline/replay/replay.h"
#include "tests/randomised/evidence.h"
#include "wire/ima/signature.h"
#include "wire/patnc/patnc.h"
#include "wire/pts/pts.h"

namespace gatehouse::testing {
namespace {

constexpr std::size_t known_files = 2000, images = 12;

Digest content(HashAlgorithm algorithm, const std::string& text) { return digest_of(algorithm, as_bytes(text)); }

std::uint32_t key_id(const PublicKey& key) {
  std::uint32_t id = 0;
  const Digest subject = key.subject_key_id();
  for (const std::byte b : subject.view().last(4)) id = id << 8 | std::to_integer<std::uint32_t>(b);
  return id;
}

// The buffer that rules permit, and another.
constexpr std::string_view buffers[] = {"a permitted buffer", "another buffer"};

pipeline::EvidenceRulesPtr rules(auto&& set) {
  pipeline::EvidenceRules out;
  out.name = "randomised";
  set(out);
  return std::make_shared<const pipeline::EvidenceRules>(std::move(out));
}

pipeline::Segment message_of(std::span<const ByteVector> attributes) {
  Writer w;
  w.put(std::uint32_t{0x01000000});
  w.put(std::uint32_t{1});
  for (const ByteVector& attribute : attributes) w.put_bytes(attribute);
  return {pipeline::Stream::ima, pipeline::Format::pa_tnc, std::move(w).take(), 0};
}

// Pieces of up to `most`, drawn from 1 on.
std::vector<std::size_t> pieces(std::size_t size, std::size_t most, Random& random) {
  std::vector<std::size_t> out;
  for (; size != 0; size -= out.back()) out.push_back(1 + std::size_t(random() % std::min(size, most)));
  return out;
}

}  // namespace

std::vector<pipeline::Segment> whole(const Attestation& a) {
  std::vector<pipeline::Segment> out;
  if (!a.raw) {
    const std::size_t most = a.refused ? 1 : a.attributes.size();
    for (std::size_t at = 0; at < a.attributes.size(); at += most) out.push_back(message_of(std::span(a.attributes).subspan(at, most)));
    return out;
  }
  out.push_back({pipeline::Stream::boot, pipeline::Format::eventlog, a.log, 0});
  out.push_back({pipeline::Stream::ima, a.list_format, a.list, 0});
  return out;
}

std::vector<pipeline::Segment> cut(const Attestation& a, Random& random) {
  if (a.refused && !a.raw) return whole(a);
  std::vector<pipeline::Segment> out;
  if (!a.raw) {
    const std::size_t most = std::size_t(1) << random() % 13;
    std::size_t at = 0;
    for (const std::size_t n : pieces(a.attributes.size(), most, random)) {
      out.push_back(message_of(std::span(a.attributes).subspan(at, n)));
      at += n;
    }
    return out;
  }
  // From some bytes to the whole; each file in its order, the two interleaved.
  struct File {
    pipeline::Stream stream;
    pipeline::Format format;
    Bytes rest;
    std::vector<std::size_t> sizes;
    std::size_t next = 0;
  };
  File files[] = {{pipeline::Stream::boot, pipeline::Format::eventlog, a.log, {}}, {pipeline::Stream::ima, a.list_format, a.list, {}}};
  for (File& file : files) {
    const std::size_t least = file.rest.size() > 20'000 ? 10 : 4;
    file.sizes = pieces(file.rest.size(), std::size_t(1) << (least + random() % (19 - least)), random);
    if (file.sizes.empty()) file.sizes.push_back(0);  // an empty file was sent, too
  }
  while (files[0].next < files[0].sizes.size() || files[1].next < files[1].sizes.size()) {
    File& file = files[files[0].next == files[0].sizes.size() ? 1 : files[1].next == files[1].sizes.size() ? 0 : random() % 2];
    const std::size_t size = file.sizes[file.next++];
    out.push_back({file.stream, file.format, to_vector(file.rest.first(size)), 0});
    file.rest = file.rest.subspan(size);
  }
  return out;
}

AttestedWorld::AttestedWorld(std::uint64_t seed) : seed_(seed) {
  using enum HashAlgorithm;
  Random random(seed);
  auto view = std::make_shared<FakeView>();
  constexpr std::string_view folders[] = {"/usr/bin/", "/usr/lib/x86_64/", "/usr/sbin/", "/etc/", "/opt/vendor/"};
  for (std::size_t n = 0; n < known_files; ++n) {
    File file;
    file.path = std::string(folders[n % std::size(folders)]) + "file-" + std::to_string(n);
    file.is_mutable = file.path.starts_with("/etc/");
    for (const HashAlgorithm algorithm : {sha1, sha256, sha384})
      if (algorithm == sha256 || n % 5 != 0) file.digests.emplace_back(algorithm, content(algorithm, file.path));
    refdb::Reference r;
    r.product = "Debian 12 x86_64";
    r.path = file.path;
    r.package = "package-" + std::to_string(n / 20);
    r.version = "1";
    r.digests = file.digests;
    r.is_mutable = file.is_mutable;
    view->add(std::move(r));
    files_.push_back(std::move(file));
  }
  references_ = std::move(view);
  // P-256 signs and verifies fastest together; keys of every kind are the quote's tests'.
  for (int n = 0; n < 8; ++n) keys_.emplace_back(Signer::ecc());
  keys_.emplace_back(Signer::rsa());
  strangers_.emplace_back(Signer::ecc());
  strangers_.emplace_back(Signer::rsa());
  const Signer vendor = Signer::ecc();
  for (std::size_t n = 0; n < 60; ++n) {
    const std::string path = "/opt/signed-" + std::to_string(n);
    ima::Signature s;
    s.hash = sha256;
    s.key_id = key_id(vendor.key());
    const ByteVector value = vendor.sign(as_bytes(path));
    s.value = value;
    Writer w;
    ima::append_signature(w, s);
    signed_files_.push_back({path, content(sha256, path), std::move(w).take()});
  }
  const pipeline::SignatureKey key{vendor.key(), key_id(vendor.key()), {}};
  rules_ = {nullptr,
            rules([&](auto& r) { r.ima.signature_keys = {key}; }),
            rules([&](auto& r) {
              r.ima.signature_keys = {key};
              r.ima.require_signature = {"/opt/*"};
            }),
            rules([&](auto& r) { r.ima.refuse_violations = true; }),
            rules([&](auto& r) {
              r.ima.buffers["permitted"] = {content(sha256, std::string(buffers[0]))};
              r.ima.refuse_other_buffers = true;
            }),
            rules([&](auto& r) { r.firmware.no_debug = true; })};
}

// One attestation being drawn.
class Draw {
 public:
  Draw(const AttestedWorld& world, std::uint64_t number)
      : world_(world), random_(world.seed_ * 0x9E3779B97F4A7C15 + number) {
    out_.number = number;
  }
  Attestation operator()() &&;

 private:
  bool chance(double p) { return std::bernoulli_distribution(p)(random_); }
  std::size_t below(std::size_t n) { return std::size_t(random_() % n); }
  template <class Range>
  const auto& one_of(const Range& range) { return range[below(std::size(range))]; }
  void trait(std::string_view what) { out_.traits.push_back(what); }

  void draw_context();
  void draw_firmware();
  void draw_list();
  Entry draw_entry();
  Entry draw_strange_entry();
  Entry known(const AttestedWorld::File& file);
  void draw_quote();
  void draw_quote_fault(Quoted& quoted, const Ak*& ak);
  void draw_damage();

  const AttestedWorld& world_;
  Random random_;
  Attestation out_;
  HashAlgorithm bank_ = HashAlgorithm::sha256;
  std::optional<Recorder> recorder_;
  bool clean_ = true;
};

Attestation AttestedWorld::attestation(std::uint64_t number) const { return Draw(*this, number)(); }

Attestation Draw::operator()() && {
  draw_context();
  draw_firmware();
  draw_list();
  draw_quote();
  recorder_->give(out_);
  draw_damage();
  return std::move(out_);
}

void Draw::draw_context() {
  using enum HashAlgorithm;
  out_.raw = chance(0.5);
  bank_ = chance(0.75) ? sha256 : chance(0.7) ? sha384 : sha1;
  trait(out_.raw ? "files" : "wire");
  trait(name(bank_));
  const bool ascii = out_.raw && chance(0.25);
  out_.list_format = ascii ? pipeline::Format::ima_ascii : pipeline::Format::ima_binary;
  recorder_.emplace(bank_, !out_.raw ? Recorder::Form::wire : ascii ? Recorder::Form::ascii : Recorder::Form::binary);
  clean_ = chance(0.5);
  pipeline::Context& c = out_.context;
  c.session = "session-" + std::to_string(out_.number);
  c.device = "device-" + std::to_string(out_.number % 97);
  c.product = one_of(std::array<std::string_view, 3>{"Debian 12 x86_64", "Debian 12 x86_64", "another product"});
  c.bank = bank_;
  if (bank_ == sha1 && chance(0.8)) c.minimum_bank = sha1;
  c.serve = !out_.raw || chance(0.7);
  c.approve_command = "gatehouse device baseline approve";
  c.claims = {"product " + c.product};
  if (chance(0.1)) c.symlinks = {{"/bin", "/usr/bin"}, {"/lib", "/usr/lib"}, {"/vendor", "/opt/vendor"}};
  if (!c.symlinks.empty()) trait("symlinks");
  if (clean_) return;
  if (chance(0.04)) c.product_known = false;
  if (chance(0.04)) {
    c.max_ima_items = 1 + below(40);
    out_.refused = true;
  }
  if (const auto& rule = one_of(world_.rules_); rule != nullptr && chance(0.6)) {
    c.rules = {rule};
    trait("rules");
  }
}

void Draw::draw_firmware() {
  const std::size_t image = below(images);
  Random of_image(world_.seed_ + image);
  const std::size_t events = 8 + of_image() % (image % 4 == 0 ? 120 : 30);
  const std::size_t changed = clean_ || chance(0.85) ? SIZE_MAX : below(events);
  std::map<std::uint32_t, std::vector<Digest>> approved;
  for (std::size_t n = 0; n < events; ++n) {
    // The separators come between what is in front of the loader and the loader itself.
    const bool separator = n < 8;
    const std::uint32_t pcr = std::uint32_t(separator ? n : n % 2 == 0 ? 8 : 9);
    const std::string text = separator ? std::string(4, '\0') : "image " + std::to_string(image) + " event " + std::to_string(n);
    approved[pcr].push_back(content(bank_, text));
    recorder_->add_event(pcr, separator, n == changed ? text + "!" : text, !clean_ && chance(0.01));
  }
  if (changed != SIZE_MAX) trait("firmware changed");
  const std::size_t baselines = chance(0.85) ? 1 + below(2) : 0;
  for (std::size_t n = 0; n < baselines; ++n) {
    pipeline::Baseline baseline{chance(0.9) ? bank_ : HashAlgorithm::sha512, {approved.begin(), approved.end()}};
    if (n == 1 || chance(0.05)) baseline.events.back().second.push_back(content(bank_, "of another day"));
    out_.context.baselines.push_back(std::move(baseline));
  }
  if (chance(0.5)) std::reverse(out_.context.baselines.begin(), out_.context.baselines.end());
}

// Most lists are short, as what is done with them matters more than how often; some are beyond what one thread judges.
void Draw::draw_list() {
  const std::size_t kind = below(100);
  const std::size_t entries = kind < 3 ? 1100 + below(900) : kind < 10 ? 300 + below(500) : kind < 40 ? 40 + below(200) : 1 + below(40);
  recorder_->add(Entry::file("boot_aggregate", std::string(name(bank_)), recorder_->aggregate()));
  for (std::size_t n = 1; n < entries; ++n) recorder_->add(draw_entry());
  out_.entries = entries;
  if (entries > 1100) trait("long list");
}

// As the kernel of a merged or an unmerged machine names it.
Entry Draw::known(const AttestedWorld::File& file) {
  const auto& [algorithm, digest] = chance(0.9) ? *std::find_if(file.digests.begin(), file.digests.end(),
                                                               [&](const auto& d) { return d.first == bank_ || d.first == HashAlgorithm::sha256; })
                                                : one_of(file.digests);
  const auto names = refdb::kernel_names(file.path);
  return Entry::file(one_of(names), std::string(name(algorithm)), digest);
}

Entry Draw::draw_entry() {
  const std::string algorithm(name(bank_ == HashAlgorithm::sha384 && chance(0.5) ? bank_ : HashAlgorithm::sha256));
  const auto unknown = [&](const std::string& path) { return Entry::file(path, algorithm, content(*hash_algorithm(algorithm), path)); };
  if (chance(0.9)) return known(one_of(world_.files_));
  if (chance(0.8)) return unknown("/srv/local-" + std::to_string(below(300)));
  if (chance(0.3)) return unknown("/tmp/" + std::to_string(random_()));
  return clean_ ? known(one_of(world_.files_)) : draw_strange_entry();
}

Entry Draw::draw_strange_entry() {
  const AttestedWorld::File& file = one_of(world_.files_);
  const auto& [algorithm, digest] = file.digests.front();
  const std::string word(name(algorithm));
  Entry e = Entry::file(file.path, word, digest);
  switch (below(12)) {
    case 0:
    case 1: trait("differs"); e.digest = content(algorithm, file.path + " changed"); return e;
    case 2: trait("violation"); e.violation = true; return e;
    case 3: trait("violation over zeros"); e.digest = Digest::filled(chance(0.5) ? digest_size(algorithm) : 20, std::byte{0}); e.extends_ones = chance(0.7); return e;
    case 4: trait("contradiction"); e.recorded_wrong = true; return e;
    case 5: trait("another path's hash"); e.told_name = one_of(world_.files_).path; return e;
    case 6: trait("another algorithm's word"); e.told_algorithm = chance(0.5) ? "sha512" : "md5"; return e;
    case 7: trait("verity"); e.form = Entry::Form::ngv2; return e;
    case 8: {
      trait("buffer");
      const std::string_view buffer = one_of(buffers);
      e = Entry::file(chance(0.5) ? "permitted" : "other", "sha256", digest_of(HashAlgorithm::sha256, as_bytes(buffer)));
      e.form = Entry::Form::buffer;
      e.data = to_vector(as_bytes(buffer));
      if (chance(0.2)) e.data.push_back(std::byte{0});
      return e;
    }
    case 9: {
      trait("signed");
      const auto& s = one_of(world_.signed_files_);
      e = Entry::file(s.path, "sha256", chance(0.8) ? s.digest : content(HashAlgorithm::sha256, "another"));
      e.form = Entry::Form::sig;
      e.data = s.signature;
      if (chance(0.2)) e.data.back() ^= std::byte{1};
      return e;
    }
    case 10:
      trait("legacy template");
      e = Entry::file(file.path, "sha1", content(HashAlgorithm::sha1, file.path));
      e.form = Entry::Form::legacy;
      return e;
    default:
      if (chance(0.4)) { trait("false PCR value"); e.claims = chance(0.5) ? Entry::Claims::right : Entry::Claims::wrong; return e; }
      if (chance(0.5)) { trait("another PCR"); e.pcr = 11; return e; }
      trait("another boot_aggregate");
      return Entry::file("boot_aggregate", word, chance(0.5) ? recorder_->aggregate() : digest);
  }
}

void Draw::draw_quote() {
  const Ak* ak = &one_of(world_.keys_);
  Quoted quoted;
  quoted.bank = bank_;
  quoted.nonce = ByteVector(32, std::byte(out_.number));
  quoted.clock = 1'000'000 + below(1000);
  quoted.composite = recorder_->composite();
  pipeline::Finish& f = out_.finish;
  f.ak.key = ak->key;
  f.ak.trusted = true;
  f.nonce = quoted.nonce;
  f.claims = {"Device ID " + out_.context.device};
  if (chance(0.3)) out_.context.last_quote = pipeline::LastQuote{1'000, 1, 0, 1};
  if (!clean_ && chance(0.25)) draw_quote_fault(quoted, ak);
  if (quoted.absent) return;
  if (out_.raw) {
    const ByteVector attest = quoted.attest();
    f.quote = pipeline::RawQuote{attest, ak->signer.tpmt(attest)};
  } else {
    f.quote = pipeline::FinalQuote{quoted.final_value(*ak), 12};
  }
  if (quoted.flip_in_signature) {
    ByteVector& bytes = out_.raw ? std::get<pipeline::RawQuote>(f.quote).signature : std::get<pipeline::FinalQuote>(f.quote).value;
    bytes[bytes.size() - 1 - below(8)] ^= std::byte(1U << below(8));
  }
}

void Draw::draw_quote_fault(Quoted& quoted, const Ak*& ak) {
  pipeline::Finish& f = out_.finish;
  switch (below(9)) {
    case 0: trait("quote: other PCRs"); quoted.composite.bytes[0] ^= std::byte{1}; break;
    case 1: trait("quote: other nonce"); f.nonce = ByteVector(32, std::byte{0xAA}); break;
    case 2: trait("quote: changed signature"); quoted.flip_in_signature = true; break;
    case 3: trait("quote: another key"); ak = &one_of(world_.strangers_); break;
    case 4: trait("quote: untrusted key"); f.ak.trusted = false; f.ak.untrusted_reason = "nobody trusts it"; break;
    case 5: trait("quote: an older clock"); out_.context.last_quote = pipeline::LastQuote{9'000'000, 1, 0, 1}; break;
    case 6: trait("quote: absent"); quoted.absent = true; break;
    case 7: trait("quote: no nonce"); f.nonce.reset(); break;
    default: trait("session failed"); f.session_failed = true; f.session_failure = "the endpoint vanished"; break;
  }
}

void Draw::draw_damage() {
  // One reason to be refused: of two, the one that comes first on the way is told.
  if (clean_ || out_.refused || !chance(0.08)) return;
  out_.refused = true;
  ByteVector& bytes = !out_.raw ? out_.attributes[below(out_.attributes.size())] : chance(0.3) ? out_.log : out_.list;
  if (chance(0.5)) {
    trait("cut off");
    bytes.resize(below(bytes.size()));
  } else {
    trait("a bit changed");
    bytes[below(bytes.size())] ^= std::byte(1U << below(8));
  }
}

}  // namespace gatehouse::testing
