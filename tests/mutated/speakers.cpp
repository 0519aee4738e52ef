#include "tests/mutated/speakers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "base/hex.h"
#include "endpoint/imc/scanner/scanner_imc.h"
#include "endpoint/imc/swima/swima_imc.h"
#include "endpoint/imc/test/test_imc.h"
#include "tests/server_attestation/hand_client.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"
#include "wire/pts/raw_evidence.h"
#include "wire/pts/records.h"

namespace gatehouse::test {

std::string everything_policy(const std::string& swidt) {
  return R"(
[policy]
remediation_uri = "https://help.example.org/"
[groups.all]
ask = [
  "TPMRA", "FWDEN", "PWDEN", { type = "UNSRC", on_noresult = "block" },
  { type = "SWIDT", argument = ")" +
         swidt + R"(" },
  { type = "PCKGS", blacklisted = ["telnetd *"], vulnerable = ["openssl = 3.0.11-1", "xz-utils <= 5.2"] },
  { type = "TCPOP", argument = "22 80-90" }, { type = "UDPOP", argument = "53" },
  { type = "TCPBL", argument = "23" }, { type = "UDPBL", argument = "69 161-162" },
  { type = "FMEAS", argument = "/usr/sbin/validlocale" }, { type = "DMEAS", argument = "/usr/sbin" },
  { type = "FREFM", argument = "/etc/hosts" }, { type = "DREFM", argument = "/etc/ssh" },
  { type = "FMETA", argument = "/etc/passwd" }, { type = "DMETA", argument = "/etc" },
]
)";
}

const std::map<std::string, Digest>& references() {
  static const std::map<std::string, Digest> all = [] {
    std::map<std::string, Digest> out;
    std::ifstream rows(interop("evidence/base/refs.tsv"));
    std::string path, package, sha1, sha256, sha384;
    while (rows >> path >> package >> sha1 >> sha256 >> sha384) out.emplace(path, Digest(*from_hex(sha256)));
    return out;
  }();
  return all;
}

namespace {

namespace pt = pts::type;
namespace raw = pts::raw;

// --- what the collectors tell

class Software final : public endpoint::SoftwareSource {
 public:
  Software() {
    for (const char* name : {"bash-5.2", "coreutils-9.1", "openssl-3.0.15", "sed-4.9", "xz-utils-5.4.1"}) {
      const auto n = std::uint32_t(items_.size() + 1);
      const std::string id = std::string("example.org__Debian_12-x86_64-") + name;
      items_.push_back(
          {n, id,
           "<SoftwareIdentity xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\" name=\"" +
               std::string(name) + "\" tagId=\"Debian_12-x86_64-" + name +
               "\"><Entity name=\"Example\" regid=\"example.org\" role=\"tagCreator\"/></SoftwareIdentity>"});
    }
  }
  Result<void> refresh() override { return {}; }
  std::uint32_t epoch() const override { return 0x38CD4CC6; }
  std::uint32_t last_eid() const override { return std::uint32_t(items_.size()); }
  bool has_events_from(std::uint32_t) const override { return true; }
  std::vector<Source> sources() const override { return {{1, "dpkg"}}; }
  void installed(swima::Content content, const Each& each) const override {
    for (const Item& one : items_)
      if (!each(record(one, content))) return;
  }
  void records_of(std::string_view identifier, const Each& each) const override {
    for (const Item& one : items_)
      if (one.id == identifier && !each(record(one, swima::Content::records))) return;
  }
  void events(std::uint32_t from, swima::Content content, const EachEvent& each) const override {
    for (const Item& one : items_)
      if (one.number >= from &&
          !each({one.number, "2026-11-25T08:30:01Z", swima::Action::creation, record(one, content)}))
        return;
  }

 private:
  struct Item {
    std::uint32_t number;
    std::string id, tag;
  };
  static swima::SoftwareRecord record(const Item& one, swima::Content content) {
    swima::SoftwareRecord out{.record_id = one.number, .source = 1, .identifier = one.id};
    if (content == swima::Content::records) out.record = as_bytes(one.tag);
    return out;
  }
  std::vector<Item> items_;
};

endpoint::OsSources os_sources() {
  endpoint::OsSources out;
  out.packages = [] {
    return std::vector<endpoint::InstalledPackage>{
        {"bash", "5.2.15-2+b2"}, {"openssl", "3.0.15-1~deb12u1"}, {"sed", "4.9-1"}, {"xz-utils", "5.4.1-0.2"}};
  };
  out.setting = [](std::string_view name) -> std::optional<ByteVector> {
    if (name != "install_non_market_apps") return std::nullopt;
    return to_vector(as_bytes("0\n"));
  };
  return out;
}

endpoint::OsInfo os_info(const SmallMachine& m) {
  endpoint::OsInfo os;
  os.name = "Debian";
  endpoint::set_version(os, "12 x86_64");
  os.last_boot = "2026-11-23T00:00:00Z";
  os.forwarding = 0;
  os.device_id = m.tpm->ak().key_id();
  return os;
}

// The TPM, with what it quoted last: the quote goes out raw, too.
class NotingTpm final : public endpoint::Tpm {
 public:
  explicit NotingTpm(endpoint::SoftwareTpm& inner) : inner_(inner) {}
  const PublicKey& ak() const override { return inner_.ak(); }
  Result<endpoint::TpmProperties> properties() override { return inner_.properties(); }
  Result<std::vector<HashAlgorithm>> banks() override { return inner_.banks(); }
  Result<Digest> read_pcr(HashAlgorithm bank, std::uint32_t pcr) override { return inner_.read_pcr(bank, pcr); }
  Result<endpoint::Quote> quote(Bytes data, HashAlgorithm bank, std::uint32_t pcrs) override {
    auto made = inner_.quote(data, bank, pcrs);
    if (made) last = *made;
    return made;
  }
  std::optional<endpoint::Quote> last;

 private:
  endpoint::SoftwareTpm& inner_;
};

// The Attestation IMC of our endpoint, and what it leaves to others: files, and raw evidence.
class WideImc final : public endpoint::Imc {
 public:
  WideImc(const SmallMachine& machine, const EndpointOptions& options)
      : machine_(machine),
        options_(options),
        tpm_(*machine.tpm),
        evidence_(machine.boot, machine.ima, std::uint8_t{3}, {{"/bin", "/usr/bin"}, {"/lib", "/usr/lib"}}),
        inner_({}, tpm_, evidence_) {}

  std::uint16_t id() const override { return inner_.id(); }
  std::uint32_t vendor() const override { return inner_.vendor(); }
  std::uint32_t subtype() const override { return inner_.subtype(); }
  bool greets() const override { return false; }
  patnc::Supported supported() const override {
    return [known = inner_.supported()](std::uint32_t vendor, std::uint32_t type) {
      if (vendor == raw::default_vendor) return type == raw::type::request;
      if (vendor == patnc::vendor_tcg && (type == pt::request_file_measurement || type == pt::request_file_metadata))
        return true;
      return known(vendor, type);
    };
  }
  Result<void> begin(endpoint::Packer& out) override {
    asked_ = 0;
    return inner_.begin(out);
  }
  Result<void> receive(const patnc::Attribute& a, endpoint::Packer& out) override {
    Reader r(a.value, "test", a.value_offset());
    if (a.is(raw::default_vendor, raw::type::request)) {
      GH_TRY(const raw::Request request, raw::parse_request(r));
      asked_ = request.parts;
      return {};
    }
    if (a.is(patnc::vendor_tcg, pt::request_file_measurement)) return tell_files(r, out);
    if (a.is(patnc::vendor_tcg, pt::request_file_metadata)) return tell_metadata(r, out);
    if (a.is(patnc::vendor_tcg, pt::generate_evidence) && asked_ != 0) return tell_raw(a, out);
    GH_CHECK(inner_.receive(a, out));
    if (!a.is(patnc::vendor_tcg, pt::request_capabilities) || options_.raw == 0) return {};
    Writer w;
    raw::append_capabilities(w, {raw::version, raw::version, options_.raw});
    return out.add(0, raw::default_vendor, raw::type::capabilities, w.view());
  }

 private:
  static Result<void> tell_files(Reader& r, endpoint::Packer& out) {
    GH_TRY(const auto request, pts::parse_file_measurement_request(r));
    std::map<std::string, Digest> files;
    const std::string path(request.path);
    if (request.directory) {
      const std::string in = path + "/";
      for (auto at = references().lower_bound(in);
           at != references().end() && at->first.starts_with(in) && files.size() < 5; ++at)
        if (at->first.find('/', in.size()) == std::string::npos) files.emplace(at->first.substr(in.size()), at->second);
      if (files.empty()) files.emplace("config", Digest::filled(32, std::byte{7}));
    } else {
      const auto known = references().find(path);
      files.emplace(path, known == references().end() ? Digest::filled(32, std::byte{9}) : known->second);
    }
    Writer w;
    pts::append_file_measurement_head(w, {files.size(), request.id, 32});
    for (const auto& [name, digest] : files) pts::append_file_measurement(w, {digest.view(), name});
    return out.add(0, patnc::vendor_tcg, pt::file_measurement, w.view());
  }
  static Result<void> tell_metadata(Reader& r, endpoint::Packer& out) {
    GH_TRY(const auto request, pts::parse_file_metadata_request(r));
    Writer w;
    pts::append_file_metadata_head(w, {request.directory ? 2U : 1U});
    for (std::size_t n = request.directory ? 2 : 1; n > 0; --n)
      pts::append_file_metadata(w, {pts::FileType::regular, 42, 1, 2, 3, 0, 0, n == 2 ? "hosts" : "passwd"});
    return out.add(0, patnc::vendor_tcg, pt::unix_file_metadata, w.view());
  }
  // The inner collector makes the quote and its components; of these only what wasn't asked for raw goes out.
  Result<void> tell_raw(const patnc::Attribute& generate, endpoint::Packer& out) {
    std::uint32_t identifier = 1;
    patnc::Segmenter none(std::size_t(1) << 20);
    endpoint::Packer own(std::size_t(1) << 20, identifier, none);
    const bool log = (asked_ & raw::part_firmware_log) != 0, list = (asked_ & raw::part_ima_list) != 0;
    Writer components;
    pts::append_component_requests(
        components, {{pts::request_pcr, 0, pts::component_boot}, {pts::request_pcr, 0, pts::component_ima}});
    GH_CHECK(inner_.receive({0, patnc::vendor_tcg, pt::request_component_evidence, 0, components.view()}, own));
    GH_CHECK(inner_.receive(generate, own));
    if (log) {
      Writer w;
      raw::append_firmware_log_head(w);
      w.put_bytes(machine_.log);
      GH_CHECK(out.add(0, raw::default_vendor, raw::type::firmware_log, std::move(w).take()));
    }
    if (list) {
      Writer w;
      raw::append_ima_list_head(w, {});
      w.put_bytes(machine_.list);
      GH_CHECK(out.add(0, raw::default_vendor, raw::type::ima_list, std::move(w).take()));
    }
    if ((asked_ & raw::part_quote) != 0 && tpm_.last) {
      const ByteVector area = public_area(machine_.tpm->ak(), 0x00050072);
      Writer w;
      raw::append_quote(w, {tpm_.last->attest, tpm_.last->signature, area});
      GH_CHECK(out.add(0, raw::default_vendor, raw::type::quote, w.view()));
    }
    for (const ByteVector& body : own.take())
      for (const ByteVector& a : attributes_of(body)) {
        if (type_of(a) == pt::simple_component_evidence) {
          Reader r(Bytes(a).subspan(patnc::attribute_header_size), "test");
          GH_TRY(const auto evidence, pts::parse_simple_component_evidence(r));
          if (evidence.component == pts::component_boot ? log : list) continue;
        }
        GH_CHECK(out.add_whole(a));
      }
    return {};
  }

  const SmallMachine& machine_;
  const EndpointOptions& options_;
  NotingTpm tpm_;
  endpoint::FixedEvidence evidence_;
  endpoint::AttestationImc inner_;
  std::uint16_t asked_ = 0;
};

class LiveEndpoint final : public Speaker {
 public:
  LiveEndpoint(const SmallMachine& machine, const EndpointOptions& options) : machine_(machine), options_(options) {
    make();
  }

  Messages start() override { return messages_of(session_->start().send); }
  Messages hear(Bytes answer) override {
    if (ended_ || answer.empty()) return {};
    endpoint::Session::Step step = session_->feed(answer);
    if (options_.keep && !step.ended && step.send.empty() && session_->decided()) step = again();
    ended_ = step.ended;
    return messages_of(step.send);
  }
  Messages start_over() override {
    make();
    (void)session_->start();
    Writer w, version;
    pttls::append_version_response(version, 1);
    pttls::append_message(w, pttls::Type::version_response, 0, version.view());
    pttls::append_message(w, pttls::Type::sasl_mechanisms, 1, {});
    Messages out = hear(w.view());
    if (!out.empty() && out.front().size() > pttls::header_size + 3)
      out.front()[pttls::header_size + 3] = std::byte(pbtnc::BatchType::cretry);
    return out;
  }

 private:
  endpoint::Session::Step again() { return std::exchange(retried_, true) ? session_->close() : session_->retry(); }
  void make() {
    session_.reset();
    ended_ = retried_ = false;
    os_.emplace(os_info(machine_), options_.everything ? os_sources() : endpoint::OsSources{});
    swima_.emplace(endpoint::SwimaConfig{.subscriptions = options_.keep}, software_);
    attestation_.emplace(machine_, options_);
    scanner_.emplace([] {
      return std::vector<patnc::PortFilterEntry>{{false, patnc::protocol_tcp, 22}, {false, patnc::protocol_udp, 53}};
    });
    test_.emplace(endpoint::TestConfig{.command = "allow", .dummy_size = 300});
    std::vector<endpoint::Imc*> all{&*os_};
    if (options_.everything) all.push_back(&*swima_);
    all.push_back(&*attestation_);
    if (options_.everything) all.push_back(&*scanner_);
    if (options_.test) all.push_back(&*test_);
    endpoint::Session::Config config;
    config.tnc.max_batch = options_.max_batch;
    config.tnc.keep = options_.keep;
    config.tnc.first_message_id = 1;
    config.user = options_.user;
    config.password = Secret(as_bytes(options_.password));
    session_.emplace(std::move(config), all);
  }

  const SmallMachine& machine_;
  const EndpointOptions& options_;
  Software software_;
  std::optional<endpoint::OsImc> os_;
  std::optional<endpoint::SwimaImc> swima_;
  std::optional<WideImc> attestation_;
  std::optional<endpoint::ScannerImc> scanner_;
  std::optional<endpoint::TestImc> test_;
  std::optional<endpoint::Session> session_;
  bool ended_ = false, retried_ = false;
};

class RecordedClient final : public Speaker {
 public:
  RecordedClient(const Recording& recording, std::size_t keep) : recording_(recording), keep_(keep) {}
  Messages start() override { return next(); }
  Messages hear(Bytes) override { return next(); }
  Messages start_over() override {
    at_ = 1;
    Messages out = next();
    if (!out.empty()) out.front()[pttls::header_size + 3] = std::byte(pbtnc::BatchType::cretry);
    return out;
  }

 private:
  Messages next() {
    // What is left out is the evidence: the long batches behind the AIK.
    while (at_ > keep_ && at_ + 2 < recording_.messages.size()) ++at_;
    if (at_ == recording_.messages.size()) return {};
    return {recording_.messages[at_++]};
  }
  const Recording& recording_;
  std::size_t keep_;
  std::size_t at_ = 0;
};

// The first `n` events of a log, and what no log may lack: separators, what the firmware says of itself, and something
// for each PCR.
ByteVector few_events(const ByteVector& log, std::size_t n) {
  struct Place {
    std::size_t begin;
    bool kept;
  };
  std::vector<Place> places;
  std::set<std::uint32_t> pcrs;
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  for (auto event = cursor.next();; event = cursor.next()) {
    EXPECT_TRUE(event);
    if (!event || *event == nullptr) break;
    const bool needed = (*event)->type == eventlog::ev_separator || !(*event)->extends();
    const bool new_pcr = (*event)->extends() && pcrs.insert((*event)->pcr).second;
    places.push_back({(*event)->offset, places.size() < n || needed || new_pcr});
  }
  ByteVector out;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::size_t end = i + 1 < places.size() ? places[i + 1].begin : log.size();
    if (places[i].kept)
      out.insert(out.end(), log.begin() + std::ptrdiff_t(places[i].begin), log.begin() + std::ptrdiff_t(end));
  }
  return out;
}

// The entries after the first one, which is the boot_aggregate.
ByteVector entries_after_the_first(const ByteVector& list, std::size_t n) {
  ima::Cursor cursor(ima::Cursor::Form::binary);
  cursor.feed(list);
  cursor.end();
  std::size_t begin = 0;
  for (std::size_t i = 0;; ++i) {
    const auto entry = cursor.next();
    EXPECT_TRUE(entry);
    if (!entry || *entry == nullptr) return {list.begin() + std::ptrdiff_t(begin), list.end()};
    if (i == 1) begin = (*entry)->offset;
    if (i == n + 1) return {list.begin() + std::ptrdiff_t(begin), list.begin() + std::ptrdiff_t((*entry)->offset)};
  }
}

void append_entry(Writer& w, std::string_view algorithm, const Digest& digest, std::string_view name) {
  Writer data;
  ima::append_ng_template_data(data, algorithm, digest.view(), name);
  w.put_le(std::uint32_t{10});
  w.put_bytes(digest_of(HashAlgorithm::sha1, data.view()).view());
  w.put_le(std::uint32_t{6});
  w.put_text("ima-ng");
  w.put_le(std::uint32_t(data.size()));
  w.put_bytes(data.view());
}

}  // namespace

SmallMachine small_machine(endpoint::KeyAlgorithm kind, std::size_t events, std::size_t entries) {
  SmallMachine m;
  auto key = endpoint::SigningKey::generate(kind);
  EXPECT_TRUE(key);
  m.tpm = std::make_unique<endpoint::SoftwareTpm>(*key);
  m.tpm->startup(3);
  m.log = few_events(file(interop("evidence/base/binary_bios_measurements")), events);
  EXPECT_TRUE(m.tpm->extend_event_log(m.log));
  ByteVector firmware;
  for (std::uint32_t pcr = 0; pcr < 10; ++pcr) {
    const Digest value = *m.tpm->read_pcr(HashAlgorithm::sha256, pcr);
    firmware.insert(firmware.end(), value.view().begin(), value.view().end());
  }
  Writer list;
  append_entry(list, "sha256", digest_of(HashAlgorithm::sha256, firmware), ima::boot_aggregate);
  list.put_bytes(entries_after_the_first(file(interop("evidence/base/binary_runtime_measurements")), entries));
  m.list = std::move(list).take();
  EXPECT_TRUE(m.tpm->extend_ima_list(m.list));
  auto boot = endpoint::firmware_evidence(m.log, HashAlgorithm::sha256, {});
  auto ima = endpoint::ima_evidence(m.list, HashAlgorithm::sha256, {});
  EXPECT_TRUE(boot && ima);
  m.boot = *boot;
  m.ima = *ima;
  return m;
}

std::unique_ptr<Speaker> live_endpoint(const SmallMachine& machine, const EndpointOptions& options) {
  return std::make_unique<LiveEndpoint>(machine, options);
}

Recording recording(const std::string& folder) {
  Recording out;
  out.folder = folder;
  std::stringstream text;
  text << std::ifstream(interop(folder + "/facts.json")).rdbuf();
  const auto facts = boost::json::parse(text.str()).as_object();
  out.nonce = *from_hex(std::string(facts.at("initiator_nonce").as_string()));
  out.secret = *from_hex(std::string(facts.at("dh_secret").as_string()));
  std::vector<std::string> batches;
  for (const auto& entry : std::filesystem::directory_iterator(interop(folder + "/batches")))
    if (entry.path().string().find("-c2s-") != std::string::npos) batches.push_back(entry.path());
  std::sort(batches.begin(), batches.end());
  const auto add = [&](pttls::Type type, Bytes value) {
    Writer w;
    pttls::append_message(w, type, std::uint32_t(out.messages.size()), value);
    out.messages.push_back(std::move(w).take());
  };
  Writer version;
  pttls::append_version_request(version, {});
  add(pttls::Type::version_request, version.view());
  for (const std::string& batch : batches) add(pttls::Type::pb_tnc_batch, file(batch));
  return out;
}

std::unique_ptr<Speaker> recorded_client(const Recording& recorded, std::size_t keep) {
  return std::make_unique<RecordedClient>(recorded, keep);
}

}  // namespace gatehouse::test
