// Evidence from lists that change, that hold violations and every template, and long attributes in segments.
#include "base/hex.h"
#include "harness.h"
#include "tests/endpoint_client/list_entries.h"
#include "wire/ima/ima.h"

namespace gatehouse::endpoint::test {
namespace {

namespace type = pts::type;

struct Item {
  std::string uri;
  Digest measurement;
  std::uint32_t pcr;
};
std::vector<Item> items(const Evidence& evidence) {
  std::vector<Item> out;
  for (std::size_t i = 0; i < evidence.count(); ++i) {
    Reader r(evidence.attribute(i), "");
    patnc::Attribute a;
    EXPECT_FALSE(patnc::parse_attribute(r, a));
    EXPECT_TRUE(r.empty());
    Reader value(a.value, "");
    const auto e = pts::parse_simple_component_evidence(value);
    EXPECT_TRUE(e);
    if (e) out.push_back({std::string(e->policy_uri), Digest(e->measurement), e->pcr});
  }
  return out;
}

ByteVector mixed_list() {
  Writer w;
  append_entry(w, "ima-ng", {digest_field('a'), name_field("boot_aggregate")});
  append_entry(w, "ima-sig", {digest_field('b'), name_field("/usr/bin/signed"), ByteVector(9, std::byte{3})});
  append_entry(w, "ima-ng", {digest_field('\0'), name_field("/var/log/written")}, 10, true);
  append_entry(w, "ima-buf", {digest_field('d'), name_field("kexec-cmdline"), to_vector(as_bytes("root=/dev/sda1"))});
  append_entry(w, "ima-ng", {digest_field('e'), name_field("/other/pcr")}, 11);
  append_entry(w, "ima-ngv2", {[] {
                                 ByteVector d = to_vector(as_bytes("ima:"));
                                 const ByteVector rest = digest_field('f');
                                 d.insert(d.end(), rest.begin(), rest.end());
                                 return d;
                               }(),
                               name_field("/usr/bin/v2")});
  append_entry(w, "site-template", {ByteVector(5, std::byte{1})});
  return std::move(w).take();
}

TEST(Evidence, every_template_and_violations_replay_to_the_tpms_value) {
  const ByteVector list = mixed_list();
  SoftwareTpm tpm(signing_key(KeyAlgorithm::ecc));
  ASSERT_TRUE(tpm.extend_ima_list(list));
  for (const HashAlgorithm bank : common_banks) {
    const auto evidence = ima_evidence(list, bank, {});
    ASSERT_TRUE(evidence);
    EXPECT_EQ((*evidence)->ima_pcr, *tpm.read_pcr(bank, 10));
    EXPECT_EQ(items_matching(**evidence, *tpm.read_pcr(bank, 10)), 6U);
    EXPECT_EQ((*evidence)->pcrs, 1U << 10);
    const auto sent = items(**evidence);
    ASSERT_EQ(sent.size(), 6U);
    EXPECT_EQ(sent[0].uri, "sha256:boot_aggregate");
    EXPECT_EQ(sent[1].uri, "sha256:/usr/bin/signed");
    EXPECT_EQ(sent[2].uri, "sha256:/var/log/written");
    EXPECT_EQ(sent[2].measurement, Digest::filled(digest_size(bank), std::byte{0xFF}));
    EXPECT_EQ(sent[3].uri, "sha256:kexec-cmdline");
    EXPECT_EQ(sent[4].uri, "sha256:/usr/bin/v2");
    EXPECT_EQ(sent[5].uri, "sha1:site-template");
    ASSERT_EQ((*evidence)->warnings.size(), 1U);  // the entry of PCR 11
    EXPECT_NE((*evidence)->warnings[0].find("PCR 11"), std::string::npos);
  }
}

TEST(Evidence, malformed_lists_are_refused_with_their_offset) {
  const ByteVector list = mixed_list();
  for (std::size_t n = 1; n < list.size(); ++n) {
    const auto evidence = ima_evidence(Bytes(list).first(n), HashAlgorithm::sha256, {});
    if (!evidence) {
      EXPECT_EQ(evidence.error().fault, Fault::malformed);
      EXPECT_LE(evidence.error().offset, n);
    }
  }
  const ByteVector log = file(interop + "evidence/base/binary_bios_measurements");
  const auto cut = firmware_evidence(Bytes(log).first(log.size() - 1), HashAlgorithm::sha256, {});
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().fault, Fault::malformed);
}

TEST(Evidence, bank_that_the_log_lacks_sends_nothing_and_says_so) {
  const ByteVector log = file(interop + "evidence/base/binary_bios_measurements");
  const auto evidence = firmware_evidence(log, HashAlgorithm::sha3_256, {});
  ASSERT_TRUE(evidence);
  EXPECT_EQ((*evidence)->count(), 0U);
  EXPECT_FALSE((*evidence)->warnings.empty());
}

TEST(Evidence, startup_locality_is_the_logs) {
  EXPECT_EQ(startup_locality(file(interop + "evidence/base/binary_bios_measurements")), 3);
  EXPECT_EQ(startup_locality({}), std::nullopt);
}

TEST(Evidence, times_are_utc) {
  EXPECT_EQ(measurement_time(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(measurement_time(1'653'985'584), "2022-05-31T08:26:24Z");
  EXPECT_EQ(measurement_time(-1), "0000-00-00T00:00:00Z");
}

TEST(Evidence, symlinks_are_those_to_directories) {
  const std::string root = std::filesystem::temp_directory_path() / ("gatehouse-symlinks-" + std::to_string(::getpid()));
  std::filesystem::create_directories(root + "/usr/bin");
  std::filesystem::create_directory_symlink("usr/bin", root + "/bin");
  std::filesystem::create_directory_symlink("/usr", root + "/absolute");
  std::filesystem::create_symlink("usr/nothing", root + "/dangling");
  const auto links = directory_symlinks(root);
  std::filesystem::remove_all(root);
  ASSERT_EQ(links.size(), 2U);
  EXPECT_EQ(links[0].link, root + "/absolute");
  EXPECT_EQ(links[0].target, "//usr");
  EXPECT_EQ(links[1].link, root + "/bin");
  EXPECT_EQ(links[1].target, "/usr/bin");
  EXPECT_TRUE(directory_symlinks("relative").empty());
  EXPECT_TRUE(directory_symlinks("/nonexistent").empty());
}

// A kernel that measures while we read: the list and PCR 10 grow at chosen calls.
class GrowingMachine final : public Tpm, public EvidenceSource {
 public:
  explicit GrowingMachine(std::size_t start) {
    ima::Cursor cursor(ima::Cursor::Form::binary);
    list_ = file(interop + "evidence/base/binary_runtime_measurements");
    cursor.feed(list_);
    cursor.end();
    for (;;) {
      const auto entry = cursor.next();
      if (!entry || *entry == nullptr) break;
      offsets_.push_back((*entry)->offset);
    }
    offsets_.push_back(list_.size());
    measure(start);
  }
  void measure(std::size_t n) {
    const std::size_t end = measured_ + n;
    EXPECT_TRUE(software.extend_ima_list(Bytes(list_).subspan(offsets_[measured_], offsets_[end] - offsets_[measured_])));
    measured_ = end;
  }
  std::size_t measured() const { return measured_; }
  std::size_t grow_after_list = 0, grow_between_quote_and_pcr = 0, grow_after_second = 0;
  std::size_t lists = 0;
  std::vector<std::size_t> measured_at_quote;
  SoftwareTpm software{signing_key(KeyAlgorithm::ecc)};

  const PublicKey& ak() const override { return software.ak(); }
  Result<TpmProperties> properties() override { return software.properties(); }
  Result<std::vector<HashAlgorithm>> banks() override { return software.banks(); }
  Result<Digest> read_pcr(HashAlgorithm bank, std::uint32_t pcr) override { return software.read_pcr(bank, pcr); }
  Result<Quote> quote(Bytes data, HashAlgorithm bank, std::uint32_t pcrs) override {
    auto made = software.quote(data, bank, pcrs);
    measured_at_quote.push_back(measured_);
    measure(std::exchange(grow_between_quote_and_pcr, 0));
    return made;
  }
  Result<SharedEvidence> firmware(HashAlgorithm) override { return fail(Fault::environment, "none"); }
  Result<SharedEvidence> ima(HashAlgorithm bank) override {
    ++lists;
    auto out = ima_evidence(Bytes(list_).first(offsets_[measured_]), bank, {});
    measure(std::exchange(grow_after_list, 0));
    return out;
  }
  std::optional<std::uint8_t> locality() override { return std::nullopt; }
  std::vector<SymlinkTarget> symlinks(std::string_view) override { return {}; }

 private:
  ByteVector list_;
  std::vector<std::size_t> offsets_;
  std::size_t measured_ = 0;
};

// Attests PCR 10 alone; the items sent and the composite that was signed.
void attest(GrowingMachine& machine, std::vector<Item>& sent, pts::SimpleEvidenceFinal& final, ByteVector& final_value) {
  AttestationImc attestation({}, machine, machine);
  Session session({.tnc = {.max_batch = 1 << 20}}, {&attestation});
  Server server(session);
  server.negotiate();
  Writer algorithms, request, finish, components;
  pts::append_algorithms(algorithms, 0x4000);
  pts::append_dh_nonce_request(request, {20, pts::group_ecp256});
  const auto key = *KeyAgreement::generate(DhGroup::ecp256);
  pts::append_dh_nonce_finish(finish, {0x4000, key.public_value(), ByteVector(20)});
  pts::append_component_requests(components, {{0, 0, pts::component_ima}});
  const auto pts_attribute = [](std::uint32_t kind, Bytes value) { return attribute(patnc::vendor_tcg, kind, value); };
  server.send_attributes(patnc::vendor_tcg, 1, {pts_attribute(type::algorithm_request, algorithms.view()), pts_attribute(type::dh_nonce_request, request.view())});
  server.send_attributes(patnc::vendor_tcg, 1, {pts_attribute(type::dh_nonce_finish, finish.view()), pts_attribute(type::request_component_evidence, components.view()),
                                                pts_attribute(type::generate_evidence, ByteVector(4))});
  ASSERT_FALSE(session.error());
  for (const OwnAttribute& a : server.attributes()) {
    Reader r(a.value, "");
    if (a.is(patnc::vendor_tcg, type::simple_component_evidence)) {
      const auto e = pts::parse_simple_component_evidence(r);
      sent.push_back({std::string(e->policy_uri), Digest(e->measurement), e->pcr});
    } else if (a.is(patnc::vendor_tcg, type::simple_evidence_final)) {
      final_value = a.value;
    }
  }
  ASSERT_FALSE(final_value.empty());
  Reader r(final_value, "");
  final = *pts::parse_simple_evidence_final(r);
}

// Spec part 2 §7.10: list, quote, list; what is sent is exactly what was quoted.
TEST(Evidence, list_that_grows_under_the_quote_is_sent_as_far_as_it_was_quoted) {
  struct Row {
    const char* when;
    std::size_t after_list, between;
    std::size_t expected, quotes;
  };
  for (const Row& row : {Row{"never", 0, 0, 100, 1}, Row{"after the list was read", 7, 0, 107, 1}, Row{"between quote and PCR", 0, 5, 105, 2},
                         Row{"at both places", 3, 4, 107, 2}}) {
    GrowingMachine machine(100);
    machine.grow_after_list = row.after_list;
    machine.grow_between_quote_and_pcr = row.between;
    std::vector<Item> sent;
    pts::SimpleEvidenceFinal final;
    ByteVector value;
    attest(machine, sent, final, value);
    EXPECT_EQ(machine.measured_at_quote.size(), row.quotes) << row.when;
    EXPECT_EQ(sent.size(), row.expected) << row.when;
    EXPECT_EQ(sent.size(), machine.measured_at_quote.back()) << row.when;
    Hasher hasher(HashAlgorithm::sha256);
    Digest pcr10 = Digest::filled(32, std::byte{0});
    for (const Item& item : sent) hasher.extend(pcr10, item.measurement.view());
    EXPECT_TRUE(equal(digest_of(HashAlgorithm::sha256, pcr10.view()).view(), final.pcr_digest)) << row.when;
  }
}

// Spec part 1b §3.5: an attribute that no message holds goes in segments, the first in the room that is left.
TEST(Packer, segments_put_together_are_the_attribute) {
  ByteVector value(5000);
  for (std::size_t i = 0; i < value.size(); ++i) value[i] = std::byte(i * 31);
  for (std::uint32_t segment = 12; segment < 5020; segment += segment < 40 ? 1 : 97) {
    std::uint32_t identifier = 1;
    patnc::Segmenter sender(1000);
    sender.agree({patnc::unlimited, segment});
    Packer out(1000, identifier, sender);
    ASSERT_TRUE(out.add(0, 0, 1, ByteVector(segment % 900)));
    ASSERT_TRUE(out.add(0x80, patnc::vendor_ita, pts::ita_symlinks, value));
    patnc::Reassembler together({.segments = 100'000});
    std::optional<ByteVector> whole;
    std::size_t rounds = 0;
    for (auto messages = out.take(); !messages.empty(); messages = out.take()) {
      for (const ByteVector& message : messages) {
        EXPECT_LE(message.size(), 1000U);
        const auto parsed = patnc::parse_message(message, [](std::uint32_t, std::uint32_t) { return true; });
        ASSERT_TRUE(parsed && !parsed->refusal);
        for (const patnc::Attribute& a : parsed->attributes) {
          if (!a.is(patnc::vendor_tcg, patnc::type::segment_envelope)) continue;
          Reader r(a.value, "", a.value_offset());
          const auto envelope = patnc::parse_envelope(r);
          ASSERT_TRUE(envelope);
          EXPECT_LE(envelope->segment.size(), sender.contract()->max_segment_size);
          auto step = together.add(*envelope, a.value_offset());
          ASSERT_FALSE(step.refusal);
          if (step.attribute) whole = std::move(step.attribute);
          if (step.ask_next) out.add_next_segment({0, envelope->id});
        }
      }
      ASSERT_LT(++rounds, 1000U);
    }
    ASSERT_TRUE(whole) << segment;
    Reader r(*whole, "");
    patnc::Attribute a;
    ASSERT_FALSE(patnc::parse_attribute(r, a));
    EXPECT_EQ(a.flags, 0x80);
    EXPECT_TRUE(a.is(patnc::vendor_ita, pts::ita_symlinks));
    EXPECT_TRUE(equal(a.value, value)) << segment;
    EXPECT_EQ(sender.transfers(), 0U);
    EXPECT_TRUE(out.take().empty());
  }
}

// Rule 3: an attribute up to 16 bytes longer than the segment size goes whole.
TEST(Packer, threshold_is_an_envelopes_cost) {
  for (const std::size_t size : {std::size_t{72}, std::size_t{73}}) {
    std::uint32_t identifier = 1;
    patnc::Segmenter sender(1000);
    sender.agree({patnc::unlimited, 68});
    Packer out(1000, identifier, sender);
    ASSERT_TRUE(out.add(0, 0, 1, ByteVector(size)));
    EXPECT_EQ(sender.transfers() == 0, size == 72);
  }
}

TEST(Packer, too_large_without_a_contract_is_an_error) {
  std::uint32_t identifier = 1;
  patnc::Segmenter sender(1000);
  Packer out(1000, identifier, sender);
  EXPECT_TRUE(out.add(0, 0, 1, ByteVector(980)));
  const auto refused = out.add(0, 0, 1, ByteVector(981));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::limit);
  // The null contract cancels segmentation.
  sender.agree({});
  EXPECT_FALSE(out.add(0, 0, 1, ByteVector(981)));
}

TEST(Packer, message_holds_no_more_attributes_than_a_server_takes) {
  std::uint32_t identifier = 1;
  patnc::Segmenter sender(1000);
  Packer out(2'097'104, identifier, sender);
  for (std::size_t i = 0; i < patnc::max_attributes + 1; ++i) ASSERT_TRUE(out.add(0, 0, 1, Bytes{}));
  const auto messages = out.take();
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(messages[0].size(), 8 + 12 * patnc::max_attributes);
  EXPECT_EQ(messages[1].size(), 8 + 12U);
}

// The whole way: thousands of symlinks over small batches, fetched by Next Segment; and a cancelled transfer.
TEST(Exchange, long_symlinks_travel_in_segments_when_the_server_asks_for_them) {
  std::vector<SymlinkTarget> links;
  for (int i = 0; i < 500; ++i) links.push_back({"/link" + std::to_string(i), "/usr/target" + std::to_string(i)});
  SoftwareTpm tpm(signing_key(KeyAlgorithm::ecc));
  FixedEvidence source(nullptr, nullptr, 0, links);
  AttestationImc attestation({}, tpm, source);
  Session session({.tnc = {.max_batch = 2'080}}, {&attestation});
  Server server(session);
  server.negotiate();
  server.send_attributes(patnc::vendor_tcg, 1, {contract_request(patnc::unlimited, 0xFFBA), attribute(patnc::vendor_ita, pts::ita_get_symlinks, as_bytes("/"))});
  patnc::Reassembler together;
  std::optional<ByteVector> whole;
  for (int round = 0; round < 100 && !whole; ++round) {
    const auto said = server.attributes();
    ASSERT_FALSE(said.empty());
    std::uint32_t id = 0;
    bool more = false;
    for (const OwnAttribute& a : said) {
      if (!a.is(patnc::vendor_tcg, patnc::type::segment_envelope)) continue;
      Reader r(a.value, "");
      const auto envelope = patnc::parse_envelope(r);
      auto step = together.add(*envelope, 20);
      ASSERT_FALSE(step.refusal);
      id = envelope->id;
      more = step.ask_next;
      if (step.attribute) whole = std::move(step.attribute);
    }
    if (!more) break;
    Writer next;
    patnc::append_next_segment(next, {0, id});
    server.send_attributes(patnc::vendor_tcg, 1, {attribute(patnc::vendor_tcg, patnc::type::next_segment, next.view())});
  }
  ASSERT_TRUE(whole);
  Reader r(Bytes(*whole).subspan(12), "");
  const auto parsed = pts::parse_symlinks(r);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->size(), 500U);

  server.send_attributes(patnc::vendor_tcg, 1, {attribute(patnc::vendor_ita, pts::ita_get_symlinks, as_bytes("/"))});
  Writer cancel, next;
  patnc::append_next_segment(cancel, {patnc::cancel_segments, 2});
  patnc::append_next_segment(next, {0, 2});
  server.send_attributes(patnc::vendor_tcg, 1, {attribute(patnc::vendor_tcg, patnc::type::next_segment, cancel.view()),
                                                attribute(patnc::vendor_tcg, patnc::type::next_segment, next.view())});
  EXPECT_TRUE(server.attributes().empty());
}

// A request that the server cuts into segments is acted on when it is whole.
TEST(Exchange, segmented_request_is_put_together) {
  SoftwareTpm tpm(signing_key(KeyAlgorithm::ecc));
  FixedEvidence source(nullptr, nullptr, 0, {});
  AttestationImc attestation({}, tpm, source);
  Session session({}, {&attestation});
  Server server(session);
  server.negotiate();
  Writer value, whole;
  pts::append_capabilities(value, 0x000E);
  patnc::append_attribute(whole, 0x80, patnc::vendor_tcg, type::request_capabilities, value.view());
  const auto envelope = [&](std::uint8_t flags, Bytes segment) {
    Writer w;
    patnc::append_envelope(w, {flags, 9, segment});
    return attribute(patnc::vendor_tcg, patnc::type::segment_envelope, w.view());
  };
  // Nobody asked for segments yet: cancelled, and the contract goes along with the answer.
  for (const char* const answer : {"80000009", "00000009"}) {
    server.send_attributes(patnc::vendor_tcg, 1, {envelope(0xC0, whole.view().first(13))});
    ASSERT_EQ(server.attributes().size(), 1U);
    EXPECT_TRUE(server.attributes()[0].is(patnc::vendor_tcg, patnc::type::next_segment));
    EXPECT_EQ(to_hex(server.attributes()[0].value), answer);
  }
  server.send_attributes(patnc::vendor_tcg, 1, {envelope(0x00, whole.view().subspan(13))});
  ASSERT_EQ(server.attributes().size(), 1U);
  EXPECT_TRUE(server.attributes()[0].is(patnc::vendor_tcg, type::capabilities));
  // An unknown one with NOSKIP: the error quotes a header made of the id (spec part 1b §3.6).
  Writer unknown;
  patnc::append_attribute(unknown, 0x80, 0x123456, 7, {});
  server.send_attributes(patnc::vendor_tcg, 1, {envelope(0x40, unknown.view())});
  ASSERT_EQ(server.attributes().size(), 1U);
  EXPECT_EQ(to_hex(server.attributes()[0].value), "0000000000000003" "ffffffff00000009" "8012345600000007");
}

}  // namespace
}  // namespace gatehouse::endpoint::test
