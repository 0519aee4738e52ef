// The Attestation IMC beyond the recorded conversations: files, PTS errors, and the raw-evidence extension on lists of
// every kind.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "harness.h"
#include "tests/endpoint_client/list_entries.h"
#include "wire/ima/ima.h"
#include "wire/pts/errors.h"
#include "wire/pts/records.h"

namespace gatehouse::endpoint::test {
namespace {

namespace type = pts::type;
namespace raw = pts::raw;

OwnAttribute pts_attribute(std::uint32_t kind, Bytes value) {
  return attribute(patnc::vendor_tcg, kind, value, patnc::noskip);
}

// Signed files, a violation, a measured buffer, a template that nobody knows, and an entry of another PCR.
ByteVector signed_list() {
  Writer w;
  append_entry(w, "ima-ng", {digest_field('a'), name_field("boot_aggregate")});
  append_entry(w, "ima-sig", {digest_field('b'), name_field("/usr/bin/signed"), ByteVector(80, std::byte{3})});
  append_entry(w, "ima-ng", {digest_field('\0'), name_field("/var/log/written")}, 10, true);
  append_entry(w, "ima-buf", {digest_field('d'), name_field("kexec-cmdline"), to_vector(as_bytes("root=/dev/sda1"))});
  append_entry(w, "ima-ng", {digest_field('e'), name_field("/other/pcr")}, 11);
  append_entry(w, "site-template", {ByteVector(5, std::byte{1})});
  return std::move(w).take();
}
std::vector<std::size_t> ends_of(Bytes list) {
  std::vector<std::size_t> out;
  ima::Cursor cursor(ima::form_of(list));
  cursor.feed(list);
  cursor.end();
  for (;;) {
    const auto entry = cursor.next();
    EXPECT_TRUE(entry);
    if (!entry || *entry == nullptr) break;
    out.push_back((*entry)->offset);
  }
  if (!out.empty()) out.erase(out.begin());
  out.push_back(list.size());
  return out;
}

// A kernel whose list grows while it is read.
class Machine final : public EvidenceSource {
 public:
  explicit Machine(ByteVector whole) : list(std::move(whole)), ends(ends_of(list)), measured(ends.size()) {
    software.startup(3);
    EXPECT_TRUE(software.extend_event_log(log));
  }
  void measure() { EXPECT_TRUE(software.extend_ima_list(Bytes(list).first(size()))); }
  std::size_t size() const { return measured == 0 ? 0 : ends[measured - 1]; }
  Result<SharedEvidence> firmware(HashAlgorithm bank) override { return firmware_evidence(log, bank, {}); }
  Result<SharedEvidence> ima(HashAlgorithm bank) override { return ima_evidence(Bytes(list).first(size()), bank, {}); }
  std::optional<std::uint8_t> locality() override { return 3; }
  std::vector<SymlinkTarget> symlinks(std::string_view) override { return {}; }
  std::uint16_t raw_parts(std::size_t) override { return parts; }
  Result<ByteVector> raw_firmware() override { return log; }
  Result<ByteVector> raw_ima() override {
    const ByteVector out = to_vector(Bytes(list).first(size()));
    const std::size_t before = size();
    measured += std::exchange(grows, 0);
    if (size() != before) {
      EXPECT_TRUE(software.extend_ima_list(Bytes(list).subspan(before, size() - before)));
    }
    return out;
  }
  ByteVector log = file(interop + "evidence/base/binary_bios_measurements");
  ByteVector list;
  std::vector<std::size_t> ends;  // of the entries
  std::size_t measured, grows = 0;
  std::uint16_t parts = raw::part_firmware_log | raw::part_ima_list;
  SoftwareTpm software{signing_key(KeyAlgorithm::ecc)};
};

struct Client {
  explicit Client(EvidenceSource& source, Tpm& tpm, AttestationConfig config = {}, std::size_t max_batch = 1 << 20,
                  FileSource* files = nullptr)
      : spy(tpm), attestation(std::move(config), spy, source, files), collectors({&attestation}, batch(max_batch)) {}
  static Session::Config batch(std::size_t max_batch) {
    Session::Config c;
    c.tnc.max_batch = max_batch;
    return c;
  }
  std::vector<OwnAttribute> ask(const std::vector<OwnAttribute>& attributes) {
    collectors.server.send_attributes(patnc::vendor_tcg, 1, attributes);
    return collectors.server.attributes();
  }
  // Capabilities and algorithm; then, with a nonce, everything up to Generate.
  std::vector<OwnAttribute> agree(HashAlgorithm bank = HashAlgorithm::sha256) {
    hash = pts::algorithm_bit(bank);
    Writer capabilities, algorithms;
    pts::append_capabilities(capabilities, 0x000E);
    pts::append_algorithms(algorithms, hash);
    return ask({pts_attribute(type::request_capabilities, capabilities.view()),
                pts_attribute(type::algorithm_request, algorithms.view())});
  }
  std::vector<OwnAttribute> generate(std::vector<OwnAttribute> requests) {
    static const auto key = *KeyAgreement::generate(DhGroup::ecp256);
    Writer request, finish;
    pts::append_dh_nonce_request(request, {20, pts::group_ecp256});
    ask({pts_attribute(type::dh_nonce_request, request.view())});
    pts::append_dh_nonce_finish(finish, {hash, key.public_value(), ByteVector(20)});
    requests.insert(requests.begin(), pts_attribute(type::dh_nonce_finish, finish.view()));
    requests.push_back(pts_attribute(type::generate_evidence, ByteVector(4)));
    return ask(requests);
  }
  static OwnAttribute raw_request(std::uint16_t parts, std::optional<raw::Position> known = {},
                                  std::uint32_t vendor = raw::default_vendor) {
    Writer w;
    raw::append_request(w, {parts, known});
    return attribute(vendor, raw::type::request, w.view());
  }
  static OwnAttribute components() {
    Writer w;
    pts::append_component_requests(
        w, {{pts::request_pcr, 0, pts::component_boot}, {pts::request_pcr, 0, pts::component_ima}});
    return pts_attribute(type::request_component_evidence, w.view());
  }
  SpyTpm spy;
  AttestationImc attestation;
  Collectors collectors;
  std::uint16_t hash = 0;
};

std::string types(const std::vector<OwnAttribute>& attributes) {
  std::string out;
  for (const OwnAttribute& a : attributes) {
    const std::string name =
        a.vendor == raw::default_vendor ? raw::attribute_name(a.type) : patnc::attribute_name(a.vendor, a.type);
    if (!out.empty() && out.ends_with(name)) continue;
    out += (out.empty() ? "" : ", ") + name;
  }
  return out;
}
const OwnAttribute* find(const std::vector<OwnAttribute>& attributes, std::uint32_t vendor, std::uint32_t kind) {
  const auto at =
      std::find_if(attributes.begin(), attributes.end(), [&](const OwnAttribute& a) { return a.is(vendor, kind); });
  return at == attributes.end() ? nullptr : &*at;
}
const ByteVector& value(const std::vector<OwnAttribute>& attributes, std::uint32_t vendor, std::uint32_t kind) {
  static const ByteVector none;
  const OwnAttribute* const a = find(attributes, vendor, kind);
  EXPECT_NE(a, nullptr) << patnc::attribute_name(vendor, kind);
  return a ? a->value : none;
}

std::uint32_t pts_error(const std::vector<OwnAttribute>& attributes, Bytes request) {
  if (attributes.size() != 1 || !attributes[0].is(0, patnc::type::pa_tnc_error)) return 0;
  Reader r(attributes[0].value, "");
  const auto error = patnc::parse_error(r);
  EXPECT_TRUE(error && error->vendor == patnc::vendor_tcg);
  if (!error) return 0;
  Reader information(error->information, "");
  const auto parsed = pts::parse_error_information(error->code, information);
  EXPECT_TRUE(parsed);
  const bool quotes = pts::error_form(error->code) == pts::ErrorForm::request;
  const Bytes quoted = quotes ? request.first(std::min(request.size(), pts::max_quoted_request)) : Bytes();
  EXPECT_TRUE(!parsed || equal(parsed->request, quoted));
  return error->code;
}

OwnAttribute measure(const std::string& path, bool directory, std::uint32_t delimiter = pts::delimiter_slash) {
  Writer w;
  pts::append_file_measurement_request(w, {directory, 0x0102, delimiter, path});
  return pts_attribute(type::request_file_measurement, w.view());
}
OwnAttribute describe(const std::string& path, bool directory, std::uint8_t delimiter = pts::delimiter_slash) {
  Writer w;
  pts::append_file_metadata_request(w, {directory, delimiter, path});
  return pts_attribute(type::request_file_metadata, w.view());
}

struct Files {
  Files() {
    folder.write("d/b", "hello");
    folder.write("d/a", "");
    folder.write("d/.hidden", "x");
    folder.write("d/below/c", "x");
    std::filesystem::create_symlink("b", folder / "d/link");
    std::filesystem::create_symlink("none", folder / "d/dangling");
    EXPECT_EQ(::mkfifo((folder / "d/fifo").c_str(), 0600), 0);
  }
  Folder folder;
  FixedEvidence source{nullptr, nullptr, 0, {}};
  SoftwareTpm tpm{signing_key(KeyAlgorithm::ecc)};
  LocalFiles files;
};

TEST(Files, are_measured_with_the_negotiated_algorithm) {
  Files f;
  for (const auto& [bank, size] : {std::pair{HashAlgorithm::sha1, "0014"}, std::pair{HashAlgorithm::sha256, "0020"},
                                   std::pair{HashAlgorithm::sha384, "0030"}}) {
    Client c(f.source, f.tpm, {}, 65'522, &f.files);
    c.agree(bank);
    const auto digest = [&](std::string_view text) { return digest_of(bank, as_bytes(text)).hex(); };
    auto said = c.ask({measure(f.folder / "d/b", false)});
    ASSERT_EQ(said.size(), 1U);
    EXPECT_TRUE(said[0].is(patnc::vendor_tcg, type::file_measurement));
    EXPECT_EQ(said[0].flags, patnc::noskip);
    EXPECT_EQ(to_hex(said[0].value), std::string("0000000000000001"
                                                 "0102") +
                                         size + digest("hello") + "000162");
    // A directory: its regular files, and links to such, without dot files and without what is below.
    said = c.ask({measure(f.folder / "d", true)});
    ASSERT_EQ(said.size(), 1U);
    EXPECT_EQ(to_hex(said[0].value), std::string("0000000000000003"
                                                 "0102") +
                                         size + digest("") + "000161" + digest("hello") + "000162" + digest("hello") +
                                         "00046c696e6b");
    std::filesystem::create_directories(f.folder / "empty");
    said = c.ask({measure(f.folder / "empty", true)});
    EXPECT_EQ(to_hex(said.at(0).value),
              "0000000000000000"
              "0102"
              "0000");
  }
}

TEST(Files, are_described) {
  Files f;
  Client c(f.source, f.tpm, {}, 65'522, &f.files);
  auto said = c.ask({describe(f.folder / "d/b", false)});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_TRUE(said[0].is(patnc::vendor_tcg, type::unix_file_metadata));
  EXPECT_EQ(said[0].flags, patnc::noskip);
  struct stat s {};
  ASSERT_EQ(::stat((f.folder / "d/b").c_str(), &s), 0);
  Writer w;
  pts::append_file_metadata_head(w, {1});
  pts::append_file_metadata(w, {pts::FileType::regular, 5, std::uint64_t(s.st_ctime), std::uint64_t(s.st_mtime),
                                std::uint64_t(s.st_atime), s.st_uid, s.st_gid, "b"});
  EXPECT_EQ(to_hex(said[0].value), to_hex(w.view()));
  said = c.ask({describe(f.folder / "d", true)});
  ASSERT_EQ(said.size(), 1U);
  pts::FileMetadataCursor cursor(0);
  cursor.feed(said[0].value);
  cursor.end();
  std::string all;
  for (;;) {
    const auto one = cursor.next();
    ASSERT_TRUE(one);
    if (*one == nullptr) break;
    all += std::string((*one)->name) + ":" + std::to_string(int((*one)->type)) + " ";
  }
  EXPECT_EQ(all, "a:8 b:8 below:4 dangling:10 fifo:1 link:10 ");
}

TEST(Files, that_cant_be_looked_at_are_pts_errors) {
  Files f;
  Client c(f.source, f.tpm, {}, 65'522, &f.files);
  c.agree();
  const auto code = [&](const OwnAttribute& request) { return pts_error(c.ask({request}), request.value); };
  const std::string d = f.folder / "d";
  for (const std::string& path : {d + "/none", d + "/b/c", d + "/dangling", d + "/b/"})
    EXPECT_EQ(code(measure(path, false)), pts::error::file_not_found) << path;
  EXPECT_EQ(code(measure(d + "/b", true)), pts::error::file_not_found);
  EXPECT_EQ(code(measure(d + "/none", true)), pts::error::file_not_found);
  for (const std::string& path :
       {std::string(), std::string("d/b"), d, d + "/fifo", std::string("/dev/zero"), "/" + std::string(5'000, 'x')})
    EXPECT_EQ(code(measure(path, false)), pts::error::invalid_path) << path;
  EXPECT_EQ(code(measure(d + "/b", false, ':')), pts::error::invalid_delimiter);
  EXPECT_EQ(code(describe(d + "/none", false)), pts::error::file_not_found);
  EXPECT_EQ(code(describe("none", true)), pts::error::invalid_path);
  EXPECT_EQ(code(describe(d, true, ':')), pts::error::invalid_delimiter);
  EXPECT_EQ(code(describe(d, false, pts::delimiter_backslash)), 0U);
  Client without(f.source, f.tpm);
  without.agree();
  const OwnAttribute request = measure(d, true);
  EXPECT_EQ(pts_error(without.ask({request}), request.value), pts::error::operation_not_supported);
  // A NUL in the path is the server's mistake.
  const auto refused = c.ask({measure(std::string("/a\0b", 4), false)});
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(to_hex(Bytes(refused[0].value).subspan(0, 8)), "0000000000000001");
}

TEST(Files, of_a_large_directory_go_in_segments_or_not_at_all) {
  Files f;
  for (int i = 0; i < 100; ++i) f.folder.write("many/file" + std::to_string(i), std::to_string(i));
  Client c(f.source, f.tpm, {}, 2'080, &f.files);
  c.agree();
  // Half a directory would pass for all of it.
  for (const OwnAttribute& request : {measure(f.folder / "many", true), describe(f.folder / "many", true)})
    EXPECT_EQ(pts_error(c.ask({request}), request.value), pts::error::invalid_path);
  EXPECT_EQ(c.attestation.warnings().size(), 2U);
  EXPECT_EQ(types(c.ask({describe(f.folder / "many/file7", false)})), "TCG/Unix-Style File Metadata");
  const auto said = c.ask({contract_request(patnc::unlimited, 1'000), measure(f.folder / "many", true)});
  ASSERT_EQ(said.size(), 2U);
  EXPECT_TRUE(said[1].is(patnc::vendor_tcg, patnc::type::segment_envelope));
  EXPECT_EQ(to_hex(Bytes(said[1].value).subspan(16, 8)), "0000000000000064");
}

TEST(Files, that_the_kernel_makes_up_are_not_read) {
  Files f;
  Client c(f.source, f.tpm, {}, 65'522, &f.files);
  c.agree();
  for (const char* path : {"/proc/self/status", "/proc/self/environ", "/sys/kernel/mm/transparent_hugepage/enabled"}) {
    const OwnAttribute request = measure(path, false);
    const std::uint32_t code = pts_error(c.ask({request}), request.value);
    EXPECT_EQ(code, std::filesystem::exists(path) ? pts::error::invalid_path : pts::error::file_not_found) << path;
  }
  // Of a directory of such files nothing is measured.
  EXPECT_EQ(to_hex(c.ask({measure("/proc/sys/kernel", true)}).at(0).value).substr(0, 16), "0000000000000000");
}

TEST(Files, budget_is_taken_away_by_what_was_looked_at) {
  Files f;
  FileBudget budget{.bytes = 12, .names = 100};
  const auto measured = [&](const std::string& path, bool directory) {
    return f.files.measure(f.folder / path, directory, HashAlgorithm::sha256, budget);
  };
  EXPECT_TRUE(measured("d/b", false));
  EXPECT_EQ(budget.bytes, 7U);
  EXPECT_EQ(budget.names, 99U);
  // "b" and the link to it are ten bytes: too many, and then nothing is said of the directory.
  ASSERT_FALSE(measured("d", true));
  EXPECT_EQ(measured("d/b", false).error(), FileFault::limit);
  EXPECT_TRUE(measured("d/a", false)) << "an empty file costs no bytes";
  budget = {.bytes = 100, .names = 5};
  EXPECT_EQ(measured("d", true).error(), FileFault::limit) << "dot files are looked at too";
  EXPECT_EQ(budget.names, 0U);
  EXPECT_EQ(measured("d/b", false).error(), FileFault::limit);
  EXPECT_EQ(f.files.describe(f.folder / "d/b", false, budget).error(), FileFault::limit);
  EXPECT_EQ(f.files.describe(f.folder / "d", true, budget).error(), FileFault::limit);
}

// What a server gets by asking again, in one message or in many, ends.
TEST(AttestationImc, server_that_asks_again_and_again_is_left) {
  Files f;
  const auto ends_at = [&](const OwnAttribute& request) {
    Client c(f.source, f.tpm, {}, 65'522, &f.files);
    c.agree();
    int answered = 0;
    while (!c.collectors.server.last.ended && answered < 10'000) answered += c.ask({request}).empty() ? 0 : 1;
    EXPECT_EQ(c.collectors.session.error() ? c.collectors.session.error()->fault : Fault::internal, Fault::limit);
    return answered;
  };
  EXPECT_EQ(ends_at(attribute(patnc::vendor_ita, pts::ita_get_symlinks, as_bytes("/"))), 16);
  EXPECT_EQ(ends_at(pts_attribute(type::get_aik, ByteVector(4))), 4096 - 2);
  // A retry is another handshake.
  Machine machine(signed_list());
  machine.measure();
  Client c(machine, machine.software);
  c.agree();
  for (int i = 0; i < 4; ++i)
    EXPECT_NE(find(c.generate({Client::components()}), patnc::vendor_tcg, type::simple_evidence_final), nullptr);
  c.generate({Client::components()});
  EXPECT_TRUE(c.collectors.server.last.ended);
  EXPECT_EQ(c.spy.quotes.size(), 4U);
}

TEST(AttestationImc, each_flag_of_a_component_request_that_it_cant_honour_has_its_error) {
  Machine machine(signed_list());
  machine.measure();
  struct Row {
    std::uint16_t capabilities;
    std::uint8_t flags;
    std::uint32_t code;
  };
  for (const Row& row : {Row{0x000E, 0x80, 15}, Row{0x000E, 0x20, 14}, Row{0x0006, 0x40, 13}, Row{0x000C, 0x10, 16},
                         Row{0x000E, 0xF0, 15}, Row{0x000E, 0x50, 0}}) {
    Client c(machine, machine.software);
    c.agree();
    Writer capabilities, components;
    pts::append_capabilities(capabilities, row.capabilities);
    c.ask({pts_attribute(type::request_capabilities, capabilities.view())});
    pts::append_component_requests(components, {{row.flags, 0, pts::component_boot}});
    const OwnAttribute request = pts_attribute(type::request_component_evidence, components.view());
    const auto said = c.ask({request});
    EXPECT_EQ(row.code == 0 ? said.size() : pts_error(said, request.value), row.code);
    EXPECT_FALSE(c.collectors.server.last.ended);
  }
}

TEST(AttestationImc, what_only_a_server_receives_is_ignored) {
  FixedEvidence source(nullptr, nullptr, 0, {});
  SoftwareTpm tpm(signing_key(KeyAlgorithm::ecc));
  Client c(source, tpm);
  EXPECT_TRUE(c.ask({pts_attribute(type::capabilities, ByteVector(4)), pts_attribute(type::simple_evidence_final, {}),
                     attribute(patnc::vendor_ita, pts::ita_symlinks, {}, patnc::noskip)})
                  .empty());
  // Those with a name and nothing else aren't known.
  const auto refused = c.ask({pts_attribute(type::request_registry_value, ByteVector(4))});
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(to_hex(refused[0].value),
            "0000000000000003"
            "010000000000004d"
            "8000559700a00000");
}

TEST(PublicArea, of_a_software_tpm_is_that_of_a_restricted_key) {
  for (const KeyAlgorithm algorithm : {KeyAlgorithm::rsassa, KeyAlgorithm::rsapss, KeyAlgorithm::ecc}) {
    const SoftwareTpm tpm(signing_key(algorithm));
    const auto area = tpm::parse_public(tpm.public_area());
    ASSERT_TRUE(area);
    EXPECT_EQ(area->key.pin(), tpm.ak().pin());
    EXPECT_EQ(
        area->attributes & (tpm::restricted | tpm::sign | tpm::fixed_tpm | tpm::sensitive_data_origin | tpm::decrypt),
        tpm::restricted | tpm::sign | tpm::fixed_tpm | tpm::sensitive_data_origin);
    const std::uint16_t scheme = algorithm == KeyAlgorithm::ecc      ? tpm::alg_ecdsa
                                 : algorithm == KeyAlgorithm::rsapss ? tpm::alg_rsapss
                                                                     : tpm::alg_rsassa;
    EXPECT_EQ(area->scheme, scheme);
  }
}

TEST(RawEvidence, is_announced_once_beside_the_capabilities_where_there_is_any) {
  Machine machine(signed_list());
  Client c(machine, machine.software);
  EXPECT_EQ(types(c.agree()),
            "TCG/PTS Protocol Capabilities, Gatehouse/Raw Evidence Capabilities, TCG/PTS Measurement Algorithm");
  EXPECT_EQ(to_hex(value(c.collectors.server.attributes(), raw::default_vendor, raw::type::capabilities)), "0101000f");
  EXPECT_EQ(find(c.collectors.server.attributes(), raw::default_vendor, raw::type::capabilities)->flags, 0);
  EXPECT_EQ(types(c.agree()), "TCG/PTS Protocol Capabilities, TCG/PTS Measurement Algorithm");
  machine.parts = 0;
  Client none(machine, machine.software);
  EXPECT_EQ(types(none.agree()), "TCG/PTS Protocol Capabilities, TCG/PTS Measurement Algorithm");
  machine.parts = raw::part_firmware_log;
  AttestationConfig off, other;
  off.raw_vendor.reset();
  other.raw_vendor = 4711;
  Client silent(machine, machine.software, off), elsewhere(machine, machine.software, other);
  EXPECT_EQ(types(silent.agree()), "TCG/PTS Protocol Capabilities, TCG/PTS Measurement Algorithm");
  EXPECT_EQ(to_hex(value(elsewhere.agree(), 4711, raw::type::capabilities)), "01010005");
  // To a collector without the extension a request is an unknown attribute.
  EXPECT_TRUE(silent.ask({Client::raw_request(raw::part_quote)}).empty());
}

// The list: signatures, violations and buffers arrive as the kernel has them, and the quote covers them.
TEST(RawEvidence, any_list_travels_as_it_is_with_the_quote_over_all_its_pcrs) {
  for (const HashAlgorithm bank : {HashAlgorithm::sha1, HashAlgorithm::sha256, HashAlgorithm::sha384}) {
    Machine machine(signed_list());
    machine.measure();
    Client c(machine, machine.software);
    c.agree(bank);
    const auto said = c.generate({Client::raw_request(raw::part_firmware_log | raw::part_ima_list | raw::part_quote)});
    EXPECT_EQ(types(said),
              "Gatehouse/Raw Firmware Log, Gatehouse/Raw IMA List, Gatehouse/Raw Quote, TCG/Simple Evidence Final");
    EXPECT_EQ(to_hex(value(said, raw::default_vendor, raw::type::firmware_log)), "01000000" + to_hex(machine.log));
    EXPECT_EQ(to_hex(value(said, raw::default_vendor, raw::type::ima_list)),
              "01000000"
              "0000000000000000" +
                  to_hex(machine.list));
    Reader r(value(said, raw::default_vendor, raw::type::quote), "");
    const auto quote = raw::parse_quote(r);
    ASSERT_TRUE(quote);
    ASSERT_EQ(c.spy.quotes.size(), 1U);
    EXPECT_TRUE(equal(quote->attest, c.spy.quotes[0].attest));
    EXPECT_TRUE(equal(quote->signature, c.spy.quotes[0].signature));
    EXPECT_TRUE(equal(quote->public_area, machine.software.public_area()));
    const auto attest = tpm::parse_attest(quote->attest);
    ASSERT_TRUE(attest);
    // PCRs 0-7, 9 and 14 by the firmware's log, 10 and 11 by the list.
    EXPECT_EQ(attest->selections.at(0).bank, std::uint16_t(bank));
    EXPECT_EQ(attest->selections[0].pcrs & 0xC00U, 0xC00U);
    EXPECT_EQ(attest->selections[0].pcrs & 0x0FFU, 0x0FFU);
    Writer values;
    for (std::uint32_t pcr = 0; pcr < 24; ++pcr)
      if ((attest->selections[0].pcrs >> pcr & 1) != 0) values.put_bytes(machine.software.read_pcr(bank, pcr)->view());
    EXPECT_TRUE(equal(attest->pcr_digest, digest_of(HashAlgorithm::sha256, values.view()).view()));
    EXPECT_TRUE(c.attestation.warnings().empty());
  }
}

TEST(RawEvidence, the_recorded_lists_and_items_of_both_kinds_describe_the_same) {
  Machine machine(file(interop + "evidence/base/binary_runtime_measurements"));
  machine.measure();
  Client c(machine, machine.software);
  c.agree();
  const auto said = c.generate(
      {Client::components(), Client::raw_request(raw::part_firmware_log | raw::part_ima_list | raw::part_quote)});
  EXPECT_EQ(types(said),
            "TCG/Simple Component Evidence, Gatehouse/Raw Firmware Log, Gatehouse/Raw IMA List, Gatehouse/Raw Quote, "
            "TCG/Simple Evidence Final");
  EXPECT_EQ(
      std::count_if(said.begin(), said.end(),
                    [](const OwnAttribute& a) { return a.is(patnc::vendor_tcg, type::simple_component_evidence); }),
      std::ptrdiff_t(136 + machine.ends.size()));
  EXPECT_EQ(c.spy.quotes.size(), 1U);
  // A server that doesn't ask gets what strongSwan's client would send.
  Client plain(machine, machine.software);
  plain.agree();
  EXPECT_EQ(types(plain.generate({Client::components()})), "TCG/Simple Component Evidence, TCG/Simple Evidence Final");
}

TEST(RawEvidence, list_that_grows_is_sent_as_far_as_it_was_quoted) {
  struct Row {
    std::size_t before, grows;  // after it was read, before the quote
    std::size_t sent, quotes;
  };
  // The fifth entry is of PCR 11: a quote without it covers four, or is made again.
  for (const Row& row : {Row{4, 0, 4, 1}, Row{2, 2, 4, 1}, Row{3, 2, 4, 1}, Row{2, 4, 6, 2}, Row{5, 1, 6, 1}}) {
    Machine machine(signed_list());
    machine.measured = row.before;
    machine.measure();
    machine.grows = row.grows;
    Client c(machine, machine.software);
    c.agree();
    const auto said = c.generate({Client::raw_request(raw::part_ima_list)});
    EXPECT_EQ(value(said, raw::default_vendor, raw::type::ima_list).size(), 12 + machine.ends[row.sent - 1])
        << row.before << "+" << row.grows;
    EXPECT_EQ(c.spy.quotes.size(), row.quotes);
    EXPECT_TRUE(c.attestation.warnings().empty());
  }
  // Read after the quote: what came since isn't sent.
  Machine machine(signed_list());
  machine.measured = 4;
  machine.measure();
  machine.measured = 6;  // the list is ahead of the PCR
  Client c(machine, machine.software);
  c.agree();
  EXPECT_EQ(
      value(c.generate({Client::raw_request(raw::part_ima_list)}), raw::default_vendor, raw::type::ima_list).size(),
      12 + machine.ends[3]);
}

TEST(RawEvidence, only_what_follows_is_sent_to_a_server_that_knows_this_boots_list) {
  const auto sent = [](raw::Position known) {
    Machine machine(signed_list());
    machine.measure();
    Client c(machine, machine.software);
    c.agree();
    const auto said = c.generate({Client::raw_request(raw::part_ima_list | raw::part_incremental, known)});
    const ByteVector& v = value(said, raw::default_vendor, raw::type::ima_list);
    EXPECT_TRUE(equal(Bytes(v).subspan(12), Bytes(machine.list).last(v.size() - 12)));
    return to_hex(Bytes(v).subspan(4, 8)) + " " + std::to_string(machine.list.size() - (v.size() - 12) == 0 ? 0 : 1);
  };
  const tpm::ClockInfo boot = SoftwareTpm(signing_key(KeyAlgorithm::ecc)).clock();
  EXPECT_EQ(sent({boot.reset_count, boot.restart_count, 3}), "0000000000000003 1");
  EXPECT_EQ(sent({boot.reset_count, boot.restart_count, 6}), "0000000000000006 1") << "nothing new";
  EXPECT_EQ(sent({boot.reset_count, boot.restart_count, 7}), "0000000000000000 0") << "the list is shorter";
  EXPECT_EQ(sent({boot.reset_count + 1, boot.restart_count, 3}), "0000000000000000 0") << "another boot";
  EXPECT_EQ(sent({boot.reset_count, boot.restart_count + 1, 3}), "0000000000000000 0");
  EXPECT_EQ(sent({boot.reset_count, boot.restart_count, 0xFFFFFFFFFFFFFFFF}), "0000000000000000 0");
}

TEST(RawEvidence, what_cant_be_given_is_named_and_the_rest_is_sent) {
  FixedEvidence nothing(nullptr, nullptr, 0, {});
  SoftwareTpm tpm(signing_key(KeyAlgorithm::ecc));
  Client c(nothing, tpm);
  c.agree();
  const auto said = c.generate({Client::raw_request(raw::part_firmware_log | raw::part_ima_list | raw::part_quote)});
  EXPECT_EQ(types(said), "Gatehouse/Raw Quote, IETF/PA-TNC Error, TCG/Simple Evidence Final");
  EXPECT_EQ(to_hex(value(said, 0, patnc::type::pa_tnc_error)),
            "00fffffe00000001"
            "00030000");
  // A log that no message holds, and no contract: the same. With one, it goes in segments.
  Machine machine(signed_list());
  machine.measure();
  for (const bool contract : {false, true}) {
    Client small(machine, machine.software, {}, 2'080);
    small.agree();
    std::vector<OwnAttribute> requests{Client::raw_request(raw::part_firmware_log | raw::part_quote)};
    if (contract) requests.insert(requests.begin(), contract_request(patnc::unlimited, 1'500));
    auto answer = small.generate(requests);
    // What follows the log is in batches of its own.
    for (std::size_t i = 0; i < 4 && find(answer, patnc::vendor_tcg, type::simple_evidence_final) == nullptr; ++i)
      for (OwnAttribute& more : small.ask({})) answer.push_back(std::move(more));
    EXPECT_EQ(find(answer, 0, patnc::type::pa_tnc_error) != nullptr, !contract);
    EXPECT_EQ(find(answer, patnc::vendor_tcg, patnc::type::segment_envelope) != nullptr, contract);
    EXPECT_NE(find(answer, patnc::vendor_tcg, type::simple_evidence_final), nullptr);
  }
}

TEST(RawEvidence, bytes_that_arent_a_list_are_sent_all_the_same) {
  Machine machine(signed_list());
  machine.measure();
  for (const std::string& damaged : {to_hex(machine.list).substr(0, 300), std::string("00ff00ff00ff00ff")}) {
    FixedEvidence source(nullptr, nullptr, 0, {});
    source.set_raw(machine.log, *from_hex(damaged));
    Client c(source, machine.software);
    c.agree();
    const auto said = c.generate({Client::raw_request(raw::part_ima_list | raw::part_quote)});
    EXPECT_EQ(to_hex(value(said, raw::default_vendor, raw::type::ima_list)),
              "01000000"
              "0000000000000000" +
                  damaged);
    EXPECT_EQ(c.attestation.warnings().size(), 1U);
    EXPECT_NE(tpm::parse_attest(c.spy.quotes.at(0).attest)->selections.at(0).pcrs & 0x400U, 0U);
  }
}

TEST(RawEvidence, text_list_says_that_it_is_one) {
  const std::string line =
      "10 " + std::string(40, '1') + " ima-ng sha256:" + std::string(64, 'a') + " boot_aggregate\n";
  FixedEvidence source(nullptr, nullptr, 0, {});
  source.set_raw({}, to_vector(as_bytes(line)));
  SoftwareTpm tpm(signing_key(KeyAlgorithm::ecc));
  ASSERT_TRUE(tpm.extend_ima_list(as_bytes(line)));
  Client c(source, tpm);
  EXPECT_EQ(to_hex(value(c.agree(), raw::default_vendor, raw::type::capabilities)), "0101000e");
  const auto said = c.generate({Client::raw_request(raw::part_ima_list)});
  EXPECT_EQ(to_hex(value(said, raw::default_vendor, raw::type::ima_list)),
            "01010000"
            "0000000000000000" +
                to_hex(as_bytes(line)));
}

TEST(RawEvidence, requests_out_of_order_or_malformed_are_refused) {
  Machine machine(signed_list());
  machine.measure();
  Client early(machine, machine.software);
  early.ask({Client::raw_request(raw::part_quote)});
  EXPECT_TRUE(early.collectors.server.last.ended);
  Client c(machine, machine.software);
  c.agree();
  OwnAttribute request = Client::raw_request(raw::part_quote);
  request.value[0] = std::byte{2};
  const auto refused = c.ask({request});
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(to_hex(refused[0].value),
            "0000000000000001"
            "010000000000004d"
            "00000014");
  Client twice(machine, machine.software);
  twice.agree();
  twice.ask({Client::raw_request(raw::part_quote), Client::raw_request(raw::part_firmware_log)});
  EXPECT_TRUE(twice.collectors.server.last.ended);
  // Without a request Generate has nothing to give.
  c.generate({});
  EXPECT_TRUE(c.collectors.server.last.ended);
}

// A list that segments can't carry is given in evidence items, not refused when it is too late for them.
TEST(RawEvidence, is_offered_only_as_far_as_it_fits) {
  FixedEvidence source(nullptr, nullptr, 0, {});
  source.set_raw(ByteVector(1'000, std::byte{1}), ByteVector(8'000, std::byte{1}));
  EXPECT_EQ(source.raw_parts(1 << 20), raw::part_firmware_log | raw::part_ima_list);
  EXPECT_EQ(source.raw_parts(10'000), raw::part_firmware_log) << "it grows";
  EXPECT_EQ(source.raw_parts(1'000), 0);
  EXPECT_EQ(source.raw_parts(12), 0);
  Folder folder;
  folder.write("log", std::string(1'000, '1'));
  folder.write("list", std::string(8'000, '1'));
  FileEvidence files(folder / "log", folder / "list"), none(folder / "no log", folder / "list");
  EXPECT_EQ(files.raw_parts(1 << 20), raw::part_firmware_log | raw::part_ima_list);
  EXPECT_EQ(files.raw_parts(10'000), raw::part_firmware_log);
  EXPECT_EQ(none.raw_parts(10'000), raw::part_ima_list);
  SoftwareTpm tpm(signing_key(KeyAlgorithm::ecc));
  Client small(source, tpm, {}, 4'096);
  EXPECT_EQ(to_hex(value(small.agree(), raw::default_vendor, raw::type::capabilities)), "01010005");
}

TEST(RawList, prefix_is_found_for_kernels_that_pad_too) {
  const ByteVector list = signed_list();
  const auto ends = ends_of(list);
  for (std::size_t n = 1; n <= ends.size(); ++n) {
    PcrValues quoted{{10, Digest::filled(32, std::byte{0})}, {11, Digest::filled(32, std::byte{0})}};
    ima::Cursor cursor(ima::Cursor::Form::binary);
    cursor.feed(Bytes(list).first(ends[n - 1]));
    cursor.end();
    Hasher hasher(HashAlgorithm::sha256);
    for (;;) {
      const auto entry = cursor.next();
      ASSERT_TRUE(entry);
      if (*entry == nullptr) break;
      Digest padded = Digest::filled(32, (*entry)->violation() ? std::byte{0xFF} : std::byte{0});
      if (!(*entry)->violation()) std::copy_n((*entry)->recorded_hash.begin(), 20, padded.bytes.begin());
      hasher.extend(quoted.at((*entry)->pcr), padded.view());
    }
    const auto prefix = matching_prefix(list, HashAlgorithm::sha256, quoted);
    ASSERT_TRUE(prefix) << n;
    EXPECT_EQ(prefix->entries, n);
    EXPECT_EQ(prefix->bytes, ends[n - 1]);
    EXPECT_EQ(prefix_bytes(list, n), ends[n - 1]);
  }
  EXPECT_EQ(prefix_bytes(list, ends.size() + 1), std::nullopt);
  EXPECT_EQ(prefix_bytes(list, 0), 0U);
}

}  // namespace
}  // namespace gatehouse::endpoint::test
