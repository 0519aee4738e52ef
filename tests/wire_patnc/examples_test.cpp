// The worked examples, byte for byte: read to the values that they stand for, and written from them.
#include "examples.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "rewrite.h"
#include "wire/patnc/attributes.h"
#include "wire/patnc/segmentation.h"

namespace gatehouse::patnc {
namespace {

class Example {
 public:
  explicit Example(std::string_view hex) : bytes_(from_hex(hex).value()) {
    parsed_ = parse_message(bytes_, supported).value();
  }
  const Parsed& parsed() const { return parsed_; }
  Reader value(std::size_t index, std::uint32_t vendor, std::uint32_t type) const {
    const Attribute& a = parsed_.attributes.at(index);
    EXPECT_TRUE(a.is(vendor, type)) << attribute_name(a.vendor, a.type);
    return Reader(a.value, "test", a.value_offset());
  }

 private:
  ByteVector bytes_;
  Parsed parsed_;
};

template <class... Values>
ByteVector written(Values&&... append) {
  Writer w;
  (append(w), ...);
  return std::move(w).take();
}

class Message {
 public:
  explicit Message(std::uint32_t identifier) : builder_(100'000, identifier) {}
  template <class Append>
  Message& add(std::uint32_t vendor, std::uint32_t type, Append append) {
    EXPECT_TRUE(builder_.add(0, vendor, type, written(append)));
    return *this;
  }
  std::string hex() { return to_hex(builder_.take().at(0)); }

 private:
  Builder builder_;
};

TEST(Examples, AreReadAndWrittenAgainByteForByte) {
  for (const auto& example : examples::messages) {
    const ByteVector message = from_hex(example.hex).value();
    const auto again = rewrite(message);
    ASSERT_TRUE(again) << example.name << ": " << again.error().text();
    EXPECT_EQ(to_hex(*again), example.hex) << example.name;
    EXPECT_FALSE(refusal_of(message).value()) << example.name;
  }
}

TEST(Examples, TheOsPushOfAClient) {
  const Example e(examples::os_push);
  ASSERT_EQ(e.parsed().attributes.size(), 7U);
  EXPECT_EQ(e.parsed().header.identifier, 0x9db26aaeU);
  Reader r = e.value(0, vendor_ietf, type::product_information);
  const auto product = parse_product_information(r).value();
  EXPECT_EQ(vendor_name(product.vendor), "Canonical");
  EXPECT_EQ(product.name, "Ubuntu");
  r = e.value(1, vendor_ietf, type::string_version);
  EXPECT_EQ(parse_string_version(r).value().version, "20.04 x86_64");
  r = e.value(2, vendor_ietf, type::numeric_version);
  const auto numeric = parse_numeric_version(r).value();
  EXPECT_EQ(numeric.major, 20U);
  EXPECT_EQ(numeric.minor, 4U);
  r = e.value(3, vendor_ietf, type::operational_status);
  const auto status = parse_operational_status(r).value();
  EXPECT_EQ(status.status, 3);
  EXPECT_EQ(status.result, 1);
  EXPECT_EQ(status.last_use, "2022-05-31T08:26:24Z");
  r = e.value(4, vendor_ietf, type::forwarding_enabled);
  EXPECT_EQ(parse_forwarding_enabled(r).value(), 1U);
  r = e.value(5, vendor_ietf, type::factory_default_password);
  EXPECT_EQ(parse_factory_default_password(r).value(), 0U);
  r = e.value(6, vendor_ita, type::ita_device_id);
  EXPECT_EQ(parse_device_id(r).value(), "732c769e8d1b2efef8b64d5ae83f84d129733fdd");

  Message m(0x9db26aae);
  m.add(0, 2, [](Writer& w) { append_product_information(w, {28978, 0, "Ubuntu"}); });
  m.add(0, 4, [](Writer& w) { append_string_version(w, {"20.04 x86_64", "", ""}); });
  m.add(0, 3, [](Writer& w) { append_numeric_version(w, {20, 4, 0, 0, 0}); });
  m.add(0, 5, [](Writer& w) { append_operational_status(w, {3, 1, "2022-05-31T08:26:24Z"}); });
  m.add(0, 11, [](Writer& w) { append_u32(w, 1); });
  m.add(0, 12, [](Writer& w) { append_u32(w, 0); });
  m.add(vendor_ita, 8, [](Writer& w) { append_device_id(w, "732c769e8d1b2efef8b64d5ae83f84d129733fdd"); });
  EXPECT_EQ(m.hex(), examples::os_push);
}

TEST(Examples, TheRequestForWhatIsMissing) {
  const std::vector<TypeName> asked = {{0, 2}, {0, 4}, {0, 3}, {0, 5}, {0, 11}, {0, 12}, {vendor_ita, 8}};
  const Example e(examples::os_request);
  Reader r = e.value(1, vendor_ietf, type::attribute_request);
  const auto types = parse_attribute_request(r).value();
  ASSERT_EQ(types.size(), asked.size());
  for (std::size_t i = 0; i < asked.size(); ++i) {
    EXPECT_EQ(types[i].vendor, asked[i].vendor);
    EXPECT_EQ(types[i].type, asked[i].type);
  }
  Message m(0x11223344);
  m.add(vendor_tcg, type::contract_request, [](Writer& w) { append_contract(w, {unlimited, 65'466}); });
  m.add(0, type::attribute_request, [&](Writer& w) { append_attribute_request(w, asked); });
  EXPECT_EQ(m.hex(), examples::os_request);
}

TEST(Examples, ContractsOfAClientAndAServer) {
  Message request(0xc9a4e2e5);
  request.add(vendor_tcg, type::contract_request, [](Writer& w) { append_contract(w, {unlimited, 32'698}); });
  EXPECT_EQ(request.hex(), examples::contract_request);
  Message response(0x3c431f74);
  response.add(vendor_tcg, type::contract_response, [](Writer& w) { append_contract(w, {unlimited, 32'698}); });
  EXPECT_EQ(response.hex(), examples::contract_response);
  const Example e(examples::contract_response);
  Reader r = e.value(0, vendor_tcg, type::contract_response);
  EXPECT_EQ(parse_contract(r).value().max_segment_size, 32'698U);
}

TEST(Examples, AssessmentsWithRemediationTextAndUri) {
  const std::string_view text = "IP Packet Forwarding\n  Please disable the forwarding of IP packets";
  const Example os(examples::os_assessment);
  Reader r = os.value(0, vendor_ietf, type::assessment_result);
  EXPECT_EQ(assessment_name(parse_assessment_result(r).value()), "don't know");
  r = os.value(1, vendor_ietf, type::remediation_instructions);
  const auto instructions = parse_remediation_instructions(r).value();
  ASSERT_TRUE(std::holds_alternative<RemediationString>(instructions));
  EXPECT_EQ(std::get<RemediationString>(instructions).text, text);
  EXPECT_EQ(std::get<RemediationString>(instructions).language, "en");
  Message m(0x37f97573);
  m.add(0, type::assessment_result, [](Writer& w) { append_u32(w, 4); });
  m.add(0, type::remediation_instructions, [&](Writer& w) {
    append_remediation_instructions(w, RemediationString{text, "en"});
  });
  EXPECT_EQ(m.hex(), examples::os_assessment);

  const Example minor(examples::non_compliant);
  r = minor.value(1, vendor_ietf, type::remediation_instructions);
  const auto uri = parse_remediation_instructions(r).value();
  ASSERT_TRUE(std::holds_alternative<RemediationUri>(uri));
  EXPECT_EQ(std::get<RemediationUri>(uri).uri, "https://remedy.example/os");
  Message with_uri(0x5553fd6a);
  with_uri.add(0, type::assessment_result, [](Writer& w) { append_u32(w, 1); });
  with_uri.add(0, type::remediation_instructions,
               [](Writer& w) { append_remediation_instructions(w, RemediationUri{"https://remedy.example/os"}); });
  EXPECT_EQ(with_uri.hex(), examples::non_compliant);
}

TEST(Examples, RemediationOfAnotherNamespaceStaysOpaque) {
  const ByteVector value = from_hex("0000902a00000005c0ffee00").value();
  Reader r(value, "test");
  const auto v = parse_remediation_instructions(r).value();
  ASSERT_TRUE(std::holds_alternative<OpaqueRemediation>(v));
  EXPECT_EQ(std::get<OpaqueRemediation>(v).vendor, vendor_ita);
  EXPECT_EQ(to_hex(std::get<OpaqueRemediation>(v).parameters), "c0ffee00");
  EXPECT_EQ(to_hex(written([&](Writer& w) { append_remediation_instructions(w, v); })), to_hex(value));
}

// §8.13, for a message that began 01 000000 00000005 unless said otherwise.
TEST(Examples, ErrorsOfEveryForm) {
  const ByteVector header = from_hex("0100000000000005").value();
  const ByteVector newer = from_hex("020000009db26aae").value();
  const ByteVector pseudo = pseudo_header(7);
  const auto unsupported = [](std::uint8_t flags, std::uint32_t vendor, std::uint32_t type) {
    return Refusal{ErrorCode::type_not_supported, 0, {flags, vendor, type, 0, {}}, {}};
  };
  const struct {
    Refusal refusal;
    const ByteVector& copy;
    std::string_view attribute;
  } rows[] = {
      {{ErrorCode::invalid_parameter, 20, {}, {}},
       header,
       "0000000000000008000000200000000000000001010000000000000500000014"},
      {{ErrorCode::version_not_supported, 0, {}, {}},
       newer,
       "0000000000000008000000200000000000000002020000009db26aae01010000"},
      {unsupported(0x80, 0, 99), header, "000000000000000800000024000000000000000301000000000000058000000000000063"},
      {unsupported(0xC1, 311, 1), header, "00000000000000080000002400000000000000030100000000000005c100013700000001"},
      {{ErrorCode::invalid_parameter, 12, {}, {}},
       pseudo,
       "0000000000000008000000200000000000000001ffffffff000000070000000c"},
  };
  for (const auto& row : rows) {
    Writer w;
    append_attribute(w, 0, vendor_ietf, type::pa_tnc_error, error_value(row.refusal, row.copy));
    EXPECT_EQ(to_hex(w.view()), row.attribute);
    Reader r(w.view(), "test", 8);
    Attribute a;
    ASSERT_FALSE(parse_attribute(r, a));
    EXPECT_EQ(to_hex(rewrite_value(a).value()), row.attribute.substr(24));
    Reader value(a.value, "test");
    const auto information = error_information(parse_error(value).value());
    switch (row.refusal.code) {
      case ErrorCode::invalid_parameter:
        EXPECT_EQ(std::get<InvalidParameter>(information).offset, row.refusal.offset);
        EXPECT_TRUE(equal(std::get<InvalidParameter>(information).header, row.copy));
        break;
      case ErrorCode::version_not_supported:
        EXPECT_EQ(std::get<VersionNotSupported>(information).max_version, 1);
        EXPECT_TRUE(equal(std::get<VersionNotSupported>(information).header, row.copy));
        break;
      case ErrorCode::type_not_supported:
        EXPECT_EQ(std::get<TypeNotSupported>(information).flags, row.refusal.attribute.flags);
        EXPECT_EQ(std::get<TypeNotSupported>(information).vendor, row.refusal.attribute.vendor);
        EXPECT_EQ(std::get<TypeNotSupported>(information).type, row.refusal.attribute.type);
        break;
    }
  }
  // A code of another namespace, and the reserved code 0, are handed on as they came.
  for (const std::string_view opaque : {"0000559700000009abcdef", "00000000000000000100000000000005"}) {
    const ByteVector value = from_hex(opaque).value();
    Reader r(value, "test");
    const auto information = error_information(parse_error(r).value());
    EXPECT_EQ(to_hex(std::get<Bytes>(information)), opaque.substr(16));
  }
}

TEST(Examples, SettingsAskedForAndAnswered) {
  const std::string_view name = "install_non_market_apps";
  const Example asked(examples::settings_request);
  Reader r = asked.value(0, vendor_ita, type::ita_get_settings);
  EXPECT_EQ(parse_get_settings(r).value(), std::vector{name});
  Message request(1);
  request.add(vendor_ita, type::ita_get_settings, [&](Writer& w) { append_get_settings(w, std::span(&name, 1)); });
  EXPECT_EQ(request.hex(), examples::settings_request);

  const Example answer(examples::settings);
  r = answer.value(0, vendor_ita, type::ita_settings);
  const auto settings = parse_settings(r).value();
  ASSERT_EQ(settings.size(), 1U);
  EXPECT_EQ(settings[0].name, name);
  EXPECT_EQ(setting_text(settings[0]), "1");
  EXPECT_EQ(setting_text({name, as_bytes("1\n")}), "1");
  EXPECT_EQ(setting_text({name, as_bytes("1\n\n")}), "1\n");
  Message response(2);
  response.add(vendor_ita, type::ita_settings, [&](Writer& w) { append_settings(w, settings); });
  EXPECT_EQ(response.hex(), examples::settings);
}

TEST(Attributes, PortFiltersKeepTheBlockedBitAlone) {
  const ByteVector value = from_hex("0006001601110035ff06ffff").value();
  Reader r(value, "test");
  const auto entries = parse_port_filter(r).value();
  const std::vector<PortFilterEntry> expected = {
      {false, protocol_tcp, 22}, {true, protocol_udp, 53}, {true, protocol_tcp, 65535}};
  EXPECT_EQ(entries, expected);
  EXPECT_EQ(to_hex(written([&](Writer& w) { append_port_filter(w, entries); })), "00060016011100350106ffff");
}

TEST(Attributes, TheTestProtocol) {
  Message m(1);
  m.add(vendor_ita, type::ita_command, [](Writer& w) { append_command(w, "repeat"); });
  m.add(vendor_ita, type::ita_dummy, [](Writer& w) { append_dummy(w, 3); });
  m.add(vendor_ita, type::ita_start_angel, [](Writer&) {});
  EXPECT_EQ(
      m.hex(),
      "01000000000000010000902a00000001000000127265706561740000902a000000020000000fdddddd0000902a000000050000000c");
  const ByteVector command = from_hex("737461727400").value();
  Reader r(command, "test", 20);
  EXPECT_EQ(parse_command(r).error().offset, 25U);
}

TEST(Attributes, StringsAreCutToTheirLengthFieldAtACharactersEnd) {
  const std::string umlauts = "x" + std::string(254, 'y') + "\xC3\xBC";  // the character would end at 257
  EXPECT_EQ(cut_text(umlauts, 255).size(), 255U);
  EXPECT_EQ(cut_text(umlauts, 256).size(), 255U);
  EXPECT_EQ(cut_text(umlauts, 257).size(), 257U);
  EXPECT_EQ(cut_text("\x80\x80\x80\x80\x80", 4).size(), 4U);
  const std::string long_version(300, 'v');
  const ByteVector value = written([&](Writer& w) { append_string_version(w, {long_version, "b", ""}); });
  Reader r(value, "test");
  const auto v = parse_string_version(r).value();
  EXPECT_EQ(v.version.size(), 255U);
  EXPECT_EQ(v.build, "b");
}

TEST(Names, OfWhatOthersSendForTheLog) {
  EXPECT_EQ(attribute_name(vendor_pwg, 81), "PWG/Resident Application Patches");
  EXPECT_EQ(attribute_name(vendor_ietf, 19), "IETF/Subscription Status Response");
  EXPECT_EQ(attribute_name(vendor_tcg, 0x26), "TCG/Oversized Message");
  EXPECT_EQ(attribute_name(311, 4), "0x000137/0x00000004");
  EXPECT_EQ(subtype_name(vendor_pwg, 0x32), "PWG/HCD Scanner");
  EXPECT_EQ(subtype_name(vendor_ietf, 9), "IETF/SWIMA");
  EXPECT_EQ(subtype_name(vendor_fhh, 2), "0x0080ab/0x00000002");
  EXPECT_EQ(error_name(vendor_ietf, 8), "SWIMA Subscription ID Reuse");
  EXPECT_EQ(error_name(vendor_ietf, 9), "0x000000/0x00000009");
  EXPECT_EQ(vendor_name(11129), "Google");
  EXPECT_EQ(vendor_name(1), "0x000001");
  EXPECT_EQ(assessment_name(1), "non-compliant minor");
  EXPECT_EQ(assessment_name(5), "unknown");
}

}  // namespace
}  // namespace gatehouse::patnc
