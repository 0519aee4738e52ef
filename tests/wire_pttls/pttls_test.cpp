#include "wire/pttls/pttls.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/hex.h"

namespace gatehouse::pttls {
namespace {

ByteVector hex(std::string_view text) {
  std::string digits(text);
  std::erase(digits, ' ');
  return from_hex(digits).value();
}
ByteVector header(std::uint32_t vendor, std::uint32_t type, std::uint32_t length, std::uint32_t identifier = 0) {
  Writer w;
  w.put(std::uint8_t{0});
  w.put24(vendor);
  w.put(type);
  w.put(length);
  w.put(identifier);
  return std::move(w).take();
}
ByteVector message(std::uint32_t vendor, std::uint32_t type, Bytes value, std::uint32_t identifier = 0) {
  ByteVector out = header(vendor, type, std::uint32_t(header_size + value.size()), identifier);
  out.insert(out.end(), value.begin(), value.end());
  return out;
}
ByteVector message(Type type, Bytes value, std::uint32_t identifier = 0) {
  Writer w;
  append_message(w, type, identifier, value);
  return std::move(w).take();
}
void append(ByteVector& to, Bytes more) { to.insert(to.end(), more.begin(), more.end()); }

// What a framer makes of a stream that arrives in pieces of the given size.
struct Seen {
  struct One {
    Header header;
    ByteVector whole;
    bool truncated = false;
    friend bool operator==(const One& a, const One& b) {
      return a.header.vendor == b.header.vendor && a.header.type == b.header.type &&
             a.header.length == b.header.length && a.header.identifier == b.header.identifier && a.whole == b.whole &&
             a.truncated == b.truncated;
    }
  };
  std::vector<One> messages;
  std::optional<ErrorCode> refused;
  std::size_t most_buffered = 0, left = 0;
};
// `bring`: gives the framer a piece of the stream, and calls what it is given where next() has its turn.
template <class Bring>
Seen read_by(Bring bring, Bytes stream, std::size_t piece, std::size_t largest) {
  Framer framer(largest);
  Seen out;
  const auto take = [&] {
    for (;;) {
      const auto m = framer.next();
      if (!m) {
        out.refused = m.error().code;
        EXPECT_EQ(m.error().copy.size(), header_size);
        break;
      }
      if (*m == nullptr) break;
      out.messages.push_back({(*m)->header, to_vector((*m)->whole), (*m)->truncated});
      EXPECT_TRUE(equal((*m)->whole.subspan(header_size), (*m)->value));
    }
    out.most_buffered = std::max(out.most_buffered, framer.buffered());
    return !out.refused;
  };
  for (std::size_t at = 0; at < stream.size() && !out.refused; at += piece)
    bring(framer, stream.subspan(at, std::min(piece, stream.size() - at)), take);
  out.left = framer.buffered();
  return out;
}
// By feed(); and by room(), where the same has to come out.
Seen read(Bytes stream, std::size_t piece, std::size_t largest = max_batch) {
  const auto fed = [](Framer& framer, Bytes bytes, const auto& take) {
    framer.feed(bytes);
    take();
  };
  const auto in_place = [](Framer& framer, Bytes bytes, const auto& take) {
    while (!bytes.empty()) {
      const std::span<std::byte> room = framer.room();
      ASSERT_FALSE(room.empty());
      const std::size_t n = std::min(room.size(), bytes.size());
      std::copy_n(bytes.begin(), n, room.begin());
      bytes = bytes.subspan(n);
      if (!framer.came(n) && !take()) return;
    }
    framer.wait();
  };
  const Seen out = read_by(fed, stream, piece, largest), also = read_by(in_place, stream, piece, largest);
  EXPECT_EQ(also.messages, out.messages);
  EXPECT_EQ(also.refused, out.refused);
  EXPECT_LE(also.most_buffered, out.most_buffered);
  return out;
}

// The worked example of the specification (part 1a §6.1), both directions in one stream.
const std::string_view version_request = "00000000000000010000001400000000 00010101";
const std::string_view version_response = "00000000000000020000001400000000 00000001";
const std::string_view plain_offer = "00000000000000030000001600000001 05504c41494e";
const std::string_view plain_selection =
    "00000000000000040000002500000001 05504c41494e 00 6361726f6c 00 4172336574546e70";
const std::string_view empty_list = "00000000000000030000001000000003";
const std::string_view empty_sdata = "00000000000000070000001800000002 0280000200000008";

TEST(PtTls, TheWorkedExampleIsWhatWeWriteAndRead) {
  Writer request, response, offer, selection;
  append_version_request(request, {});
  append_version_response(response, 1);
  append_mechanisms(offer, {"PLAIN"});
  const ByteVector plain = plain_message("carol", "Ar3etTnp");
  append_selection(selection, {"PLAIN", plain});
  EXPECT_EQ(message(Type::version_request, request.view()), hex(version_request));
  EXPECT_EQ(message(Type::version_response, response.view()), hex(version_response));
  EXPECT_EQ(message(Type::sasl_mechanisms, offer.view(), 1), hex(plain_offer));
  EXPECT_EQ(message(Type::sasl_selection, selection.view(), 1), hex(plain_selection));
  EXPECT_EQ(message(Type::sasl_mechanisms, {}, 3), hex(empty_list));

  EXPECT_TRUE(supported(*parse_version_request(request.view())));
  EXPECT_EQ(*parse_version_response(response.view()), 1);
  EXPECT_EQ(*parse_mechanisms(offer.view()), std::vector<std::string_view>{"PLAIN"});
  const auto read = parse_selection(selection.view());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->mechanism, "PLAIN");
  const auto credentials = parse_plain(read->initial_response);
  ASSERT_TRUE(credentials);
  EXPECT_EQ(credentials->user, "carol");
  EXPECT_EQ(credentials->password, "Ar3etTnp");

  Writer without;
  append_selection(without, {"SCRAM-SHA-256-PLUS", {}});
  const auto bare = parse_selection(without.view());
  ASSERT_TRUE(bare);
  EXPECT_EQ(bare->mechanism, "SCRAM-SHA-256-PLUS");
  EXPECT_TRUE(bare->initial_response.empty());
}

// §6.2: the errors with the copies of what they answer.
TEST(PtTls, TheWorkedErrorsAreWhatWeWriteAndRead) {
  Writer invalid, version;
  append_error(invalid, ErrorCode::invalid_message, hex("00000000000000010000001400000004 00010101"));
  EXPECT_EQ(message(Type::error, invalid.view(), 5),
            hex("000000000000000800 00002c00000005 0000000000000004 0000000000000001 0000001400000004 00010101"));
  append_error(version, ErrorCode::version_not_supported, hex("00000000000000010000001400000000 00020202"));
  EXPECT_EQ(message(Type::error, version.view()),
            hex("00000000000000080000002c00000000 0000000000000002 0000000000000001 0000001400000000 00020202"));
  const auto error = parse_error(version.view());
  ASSERT_TRUE(error);
  EXPECT_EQ(error->vendor, 0U);
  EXPECT_EQ(error->code, 2U);
  EXPECT_EQ(to_vector(error->copy), hex("00000000000000010000001400000000 00020202"));

  Writer longest;
  append_error(longest, ErrorCode::malformed, ByteVector(5000));
  EXPECT_EQ(longest.size(), 8 + 1024U);
  for (std::size_t n = 0; n < 8; ++n) EXPECT_FALSE(parse_error(longest.view().first(n))) << n;
}

TEST(PtTls, AnyCutOfTheStreamGivesTheSameMessages) {
  ByteVector stream;
  for (const std::string_view one :
       {version_request, version_response, plain_offer, plain_selection, empty_list, empty_sdata})
    append(stream, hex(one));
  append(stream, message(0x123456, 99, ByteVector(3000, std::byte{7})));
  append(stream, message(Type::experimental, ByteVector(1500)));
  append(stream, message(Type::error, ByteVector(3000)));
  append(stream, hex(empty_sdata));
  const Seen whole = read(stream, stream.size());
  ASSERT_EQ(whole.messages.size(), 10U);
  EXPECT_FALSE(whole.refused);
  EXPECT_EQ(whole.messages.back().whole, hex(empty_sdata));
  for (std::size_t piece : {1U, 2U, 3U, 7U, 15U, 16U, 17U, 1000U, 1024U, 4096U}) {
    const Seen cut = read(stream, piece);
    EXPECT_EQ(cut.messages, whole.messages) << piece;
    EXPECT_EQ(cut.left, 0U) << piece;
  }
  // A stream that ends anywhere holds no message more than have come to their end.
  for (std::size_t n = 0; n < 200; ++n) EXPECT_LE(read(Bytes(stream).first(n), 16).messages.size(), 6U) << n;
}

TEST(PtTls, TheLargestBatchPassesAndAByteMoreIsRefusedOnItsHeaderAlone) {
  const ByteVector largest = message(Type::pb_tnc_batch, ByteVector(2'097'136, std::byte{1}));
  const Seen seen = read(largest, 16'384);
  ASSERT_EQ(seen.messages.size(), 1U);
  EXPECT_EQ(seen.messages[0].whole.size(), 2'097'152U);
  EXPECT_EQ(read(header(0, 7, 2'097'153), 16).refused, ErrorCode::invalid_parameter);
  EXPECT_EQ(read(header(0, 7, 0xFFFFFFFF), 1).refused, ErrorCode::invalid_parameter);
  // A limit that was configured.
  EXPECT_EQ(read(header(0, 7, 16 + 65'523), 16, 65'522).refused, ErrorCode::invalid_parameter);
  EXPECT_FALSE(read(header(0, 7, 16 + 65'522), 16, 65'522).refused);
}

TEST(PtTls, UnknownMessagesPassWithoutBeingKept) {
  for (const auto& [vendor, type] :
       {std::pair{0x902AU, 7U}, std::pair{0U, 9U}, std::pair{0xFFFFFEU, 0U}, std::pair{0U, 0xFFFFFFFEU}}) {
    ByteVector stream = message(vendor, type, ByteVector(65'536, std::byte{0xAB}), 6);
    append(stream, hex(empty_sdata));
    const Seen seen = read(stream, 512);
    ASSERT_EQ(seen.messages.size(), 2U) << type;
    EXPECT_FALSE(seen.messages[0].header.known());
    EXPECT_TRUE(seen.messages[0].truncated);
    EXPECT_EQ(seen.messages[0].whole, to_vector(Bytes(stream).first(1024))) << "the copy for the error";
    EXPECT_EQ(seen.messages[1].whole, hex(empty_sdata));
    EXPECT_LE(seen.most_buffered, 1024U + 512U);
    EXPECT_EQ(read(header(vendor, type, 16 + 65'537), 16).refused, ErrorCode::type_not_supported);
  }
}

// Spec part 1a §7, the rows that a header decides: the code of the error, which comes before any of the value.
TEST(PtTls, HeadersOutOfTheirRangeAreRefusedWithTheirCode) {
  struct Row {
    const char* what;
    std::uint32_t vendor, type;
    std::uint32_t length;
    std::optional<ErrorCode> code;
  };
  const auto six = ErrorCode::invalid_parameter;
  const Row rows[] = {
      {"reserved vendor", 0xFFFFFF, 1, 20, six},
      {"reserved vendor, type and length", 0xFFFFFF, 0xFFFFFFFF, 0, six},
      {"reserved type", 0, 0xFFFFFFFF, 20, six},
      {"reserved type of a vendor", 0x902A, 0xFFFFFFFF, 20, six},
      {"length 0", 0, 7, 0, six},
      {"length 15", 0, 7, 15, six},
      {"length 15 of an unknown type", 0x902A, 1, 15, six},
      {"version request of 19", 0, 1, 19, six},
      {"version request of 20", 0, 1, 20, std::nullopt},
      {"version request of 21", 0, 1, 21, six},
      {"version response of 19", 0, 2, 19, six},
      {"version response of 20", 0, 2, 20, std::nullopt},
      {"version response of 21", 0, 2, 21, six},
      {"mechanisms of 16", 0, 3, 16, std::nullopt},
      {"mechanisms of 1,040", 0, 3, 1040, std::nullopt},
      {"mechanisms of 1,041", 0, 3, 1041, six},
      {"selection of 17", 0, 4, 17, six},
      {"selection of 18", 0, 4, 18, std::nullopt},
      {"selection of 4,096", 0, 4, 4096, std::nullopt},
      {"selection of 4,097", 0, 4, 4097, six},
      {"SASL data of 16", 0, 5, 16, std::nullopt},
      {"SASL data of 16,400", 0, 5, 16'400, std::nullopt},
      {"SASL data of 16,401", 0, 5, 16'401, six},
      {"SASL result of 16", 0, 6, 16, six},
      {"SASL result of 17", 0, 6, 17, std::nullopt},
      {"SASL result of 16,400", 0, 6, 16'400, std::nullopt},
      {"SASL result of 16,401", 0, 6, 16'401, six},
      {"batch of 16, which PB-TNC refuses", 0, 7, 16, std::nullopt},
      {"batch of 2,097,152", 0, 7, 2'097'152, std::nullopt},
      {"batch of 2,097,153", 0, 7, 2'097'153, six},
      {"experimental of 16 and 64 KiB", 0, 0, 16 + 65'536, std::nullopt},
      {"experimental beyond", 0, 0, 16 + 65'537, six},
      {"unknown type beyond", 0, 9, 16 + 65'537, ErrorCode::type_not_supported},
      {"error of any length", 0, 8, 0xFFFFFFFF, std::nullopt},
  };
  for (const Row& row : rows) {
    Framer framer;
    framer.feed(header(row.vendor, row.type, row.length, 77));
    const auto m = framer.next();
    EXPECT_EQ(!m, row.code.has_value()) << row.what;
    if (!m && row.code) {
      EXPECT_EQ(m.error().code, *row.code) << row.what;
      EXPECT_EQ(to_vector(m.error().copy), header(row.vendor, row.type, row.length, 77)) << row.what;
    }
  }
}

// An error must not be answered with one, so none is refused: the receiver sees that it can't be read.
TEST(PtTls, ErrorsOfAnyShapeComeOut) {
  for (const std::uint32_t length : {0U, 15U}) {
    ByteVector stream = header(0, 8, length);
    append(stream, hex(empty_sdata));
    const Seen seen = read(stream, stream.size());
    EXPECT_FALSE(seen.refused);
    ASSERT_EQ(seen.messages.size(), 1U) << "behind a length that can't be nothing can be found";
    EXPECT_FALSE(parse_error(Bytes(seen.messages[0].whole).subspan(header_size)));
  }
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{1032}, std::size_t{1033}, std::size_t{100'000}}) {
    const Seen seen = read(message(Type::error, ByteVector(size)), 600);
    ASSERT_EQ(seen.messages.size(), 1U) << size;
    EXPECT_EQ(seen.messages[0].truncated, size > 1032) << size;
    EXPECT_EQ(parse_error(Bytes(seen.messages[0].whole).subspan(header_size)).has_value(), size >= 8) << size;
    EXPECT_LE(seen.most_buffered, 1048U + 600U);
  }
}

// The whole product of roles, phases and types (§1.3, §7).
TEST(PtTls, OnlyTheTypesOfAPhaseAreTaken) {
  using Act = Ruling::Act;
  struct Taken {
    Role role;
    Phase phase;
    std::vector<std::uint32_t> types;
  };
  const Taken table[] = {
      {Role::server, Phase::version, {1}},
      {Role::server, Phase::authentication, {4, 5}},
      {Role::server, Phase::data, {7}},
      {Role::client, Phase::version, {2}},
      {Role::client, Phase::authentication, {3, 5, 6}},
      {Role::client, Phase::data, {7}},
  };
  for (const Taken& t : table)
    for (std::uint32_t type = 0; type <= 12; ++type)
      for (const std::uint32_t vendor : {0U, 0x902AU}) {
        const Ruling ruling = rule(t.role, t.phase, {vendor, type, 16, 0});
        const bool known = vendor == 0 && type <= 8;
        if (!known) {
          EXPECT_EQ(ruling.act, t.phase == Phase::data ? Act::skip : Act::refuse) << type;
          EXPECT_EQ(ruling.code, t.phase == Phase::data ? ErrorCode::type_not_supported : ErrorCode::invalid_message)
              << type;
        } else if (type == 8) {
          EXPECT_EQ(ruling.act, Act::peer_error);
        } else if (std::count(t.types.begin(), t.types.end(), type) == 1) {
          EXPECT_EQ(ruling.act, Act::take) << int(t.role) << int(t.phase) << type;
        } else {
          EXPECT_EQ(ruling.act, Act::refuse) << int(t.role) << int(t.phase) << type;
          EXPECT_EQ(ruling.code, ErrorCode::invalid_message);
        }
      }
}

TEST(PtTls, ErrorsEndTheConnectionWhereTheirCodeSaysSo) {
  struct Row {
    std::uint32_t vendor, code;
    bool in_data, before;
  };
  const Row rows[] = {{0, 0, false, false},         {0, 1, true, true},      {0, 2, true, true}, {0, 3, false, false},
                      {0, 4, true, true},           {0, 5, true, true},      {0, 6, true, true}, {0, 7, false, true},
                      {0, 0xFFFFFFFF, false, true}, {0x902A, 1, false, true}};
  for (const Row& row : rows) {
    EXPECT_EQ(fatal({row.vendor, row.code, {}}, Phase::data), row.in_data) << row.vendor << "/" << row.code;
    EXPECT_EQ(fatal({row.vendor, row.code, {}}, Phase::version), row.before) << row.vendor << "/" << row.code;
    EXPECT_EQ(fatal({row.vendor, row.code, {}}, Phase::authentication), row.before) << row.vendor << "/" << row.code;
  }
}

TEST(PtTls, VersionRanges) {
  struct Row {
    const char* value;
    std::optional<bool> common;  // absent: error 6
  };
  const Row rows[] = {{"00010101", true},         {"ff010201", true},         {"00000501", true},
                      {"00000505", true},         {"00020202", false},        {"00000000", false},
                      {"00020101", std::nullopt}, {"00010203", std::nullopt}, {"00010200", std::nullopt}};
  for (const Row& row : rows) {
    const auto v = parse_version_request(hex(row.value));
    EXPECT_EQ(v.has_value(), row.common.has_value()) << row.value;
    if (v && row.common) {
      EXPECT_EQ(supported(*v), *row.common) << row.value;
    }
    if (!v) {
      EXPECT_EQ(error_code(v.error()), ErrorCode::invalid_parameter) << row.value;
    }
  }
}

TEST(PtTls, MechanismNamesThatCantBeAreRefusedWithTheirCode) {
  struct Row {
    const char* what;
    const char* value;
    std::optional<ErrorCode> code;
  };
  const Row rows[] = {
      {"reserved bits are ignored", "e5504c41494e", std::nullopt},
      {"length 20", "144142434445464748494a4b4c4d4e4f5051525354", std::nullopt},
      {"length 0", "00504c41494e", ErrorCode::invalid_parameter},
      {"length 21", "154142434445464748494a4b4c4d4e4f505152535455", ErrorCode::invalid_parameter},
      {"past the end", "05504c4149", ErrorCode::malformed},
      {"lower case", "05706c61696e", ErrorCode::malformed},
  };
  for (const Row& row : rows) {
    const auto list = parse_mechanisms(hex(row.value));
    const auto selection = parse_selection(hex(row.value));
    EXPECT_EQ(list.has_value(), !row.code) << row.what;
    EXPECT_EQ(selection.has_value(), !row.code) << row.what;
    if (row.code && !list && !selection) {
      EXPECT_EQ(error_code(list.error()), *row.code) << row.what;
      EXPECT_EQ(error_code(selection.error()), *row.code) << row.what;
    }
  }
  EXPECT_EQ(parse_mechanisms(hex("05504c41494e 0d534352414d2d5348412d323536")).value(),
            (std::vector<std::string_view>{"PLAIN", "SCRAM-SHA-256"}));
  EXPECT_TRUE(parse_mechanisms({})->empty());
  EXPECT_FALSE(parse_selection({}));
}

TEST(PtTls, ResultsOfBothWidthsAreReadAndWritten) {
  struct Row {
    const char* value;
    std::optional<SaslResult> code;
    const char* data;
  };
  const Row rows[] = {{"00", SaslResult::success, ""},
                      {"01", SaslResult::failure, ""},
                      {"02", SaslResult::abort, ""},
                      {"03", SaslResult::mechanism_failure, ""},
                      {"0000", SaslResult::success, ""},
                      {"0001", SaslResult::failure, ""},
                      {"0002", SaslResult::abort, ""},
                      {"0003", SaslResult::mechanism_failure, ""},
                      {"0000763d", SaslResult::success, "763d"},
                      {"02763d", SaslResult::abort, "763d"},
                      {"04", std::nullopt, ""},
                      {"0004", std::nullopt, ""},
                      {"", std::nullopt, ""}};
  for (const Row& row : rows) {
    const ByteVector value = hex(row.value);
    const auto v = parse_sasl_result(value);
    EXPECT_EQ(v.has_value(), row.code.has_value()) << row.value;
    if (!v || !row.code) continue;
    EXPECT_EQ(v->code, *row.code) << row.value;
    EXPECT_EQ(to_hex(v->data), row.data) << row.value;
  }
  const auto written = [](SaslResult code, const char* width, Bytes data = {}) {
    Writer w;
    append_sasl_result(w, code, result_width(width).value(), data);
    const auto read = parse_sasl_result(w.view());
    EXPECT_TRUE(read && read->code == code && equal(read->data, data));
    return to_hex(w.view());
  };
  EXPECT_EQ(written(SaslResult::success, "auto"), "0000");
  EXPECT_EQ(written(SaslResult::failure, "auto"), "01");
  EXPECT_EQ(written(SaslResult::abort, "auto"), "02");
  EXPECT_EQ(written(SaslResult::success, "8"), "00");
  EXPECT_EQ(written(SaslResult::abort, "8"), "02");
  EXPECT_EQ(written(SaslResult::success, "16"), "0000");
  EXPECT_EQ(written(SaslResult::abort, "16"), "0002");
  EXPECT_EQ(written(SaslResult::success, "8", as_bytes("v=")), "0000763d");
  for (const char* bad : {"", "AUTO", "0", "32", "16 "}) EXPECT_FALSE(result_width(bad)) << bad;
}

TEST(PtTls, PlainIsSplitAtItsFirstTwoNuls) {
  const auto with = [](std::string_view text) { return parse_plain(as_bytes(text)); };
  using namespace std::string_literals;
  using namespace std::string_view_literals;
  const std::string long_user = "\0"s + std::string(255, 'u') + "\0p"s,
                    longer_user = "\0"s + std::string(256, 'u') + "\0p"s;
  const std::string long_password = "\0u\0"s + std::string(1024, 'p'),
                    longer_password = "\0u\0"s + std::string(1025, 'p');
  for (const std::string_view good :
       {"\0u\0p"sv, "u\0u\0p"sv, std::string_view(long_user), std::string_view(long_password), "\0\xc3\xa4\0 p"sv})
    EXPECT_TRUE(with(good)) << escaped(good.substr(0, 20));
  for (const std::string_view bad : {""sv, "u"sv, "u\0p"sv, "\0\0p"sv, "\0u\0"sv, "\0u\0p\0"sv, "\0u\0p\0q"sv,
                                     "v\0u\0p"sv, std::string_view(longer_user), std::string_view(longer_password)})
    EXPECT_FALSE(with(bad)) << escaped(bad.substr(0, 20));
  EXPECT_EQ(with("u\0u\0p"sv)->authorization, "u");
}

}  // namespace
}  // namespace gatehouse::pttls
