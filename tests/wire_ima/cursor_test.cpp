// What a cursor accepts and refuses of a measurement list (spec part 2 §7.1, §7.2, §7.6, §7.10; contract C5, C6).
#include "tests/wire_ima/support.h"

namespace gatehouse::testing {
namespace {

using Error = std::pair<std::size_t, std::string>;

ByteVector text_field(std::string_view value) { return field(as_bytes(value)); }
ByteVector number_field(std::uint32_t v, std::size_t bytes) {
  ByteVector out;
  for (std::size_t i = 0; i < bytes; ++i) out.push_back(std::byte(v >> (8 * i) & 0xFF));
  return field(out);
}
ByteVector digest_field(std::string_view head, Bytes digest) {
  return field(joined({to_vector(as_bytes(head)), ByteVector(1), to_vector(digest)}));
}
ByteVector name_field(std::string_view name) { return field(joined({to_vector(as_bytes(name)), ByteVector(1)})); }
ByteVector random_bytes(std::mt19937& random, std::size_t n) {
  ByteVector out(n);
  for (std::byte& b : out) b = std::byte(random() & 0xFF);
  return out;
}

// One entry of every template, with the parts that it may leave empty there or not.
std::vector<EntryParts> every_template(std::mt19937& random) {
  const auto digest = [&](std::size_t n) { return random_bytes(random, n); };
  const ByteVector name = name_field("/usr/bin/a_b"), empty = field({});
  std::vector<EntryParts> out;
  const auto add = [&](std::string name_of_template, std::initializer_list<ByteVector> fields) {
    out.push_back({std::uint32_t(random() % 24), std::move(name_of_template), joined(fields)});
  };
  for (const auto& [head, size] : {std::pair("sha1:", 20), std::pair("sha256:", 32), std::pair("sha512:", 64)})
    add("ima-ng", {digest_field(head, digest(std::size_t(size))), name});
  for (const ByteVector& sig : {empty, field(digest(80))}) {
    add("ima-sig", {digest_field("sha256:", digest(32)), name, sig});
    add("ima-sigv2", {digest_field("verity:sha256:", digest(32)), name, sig});
    add("ima-modsig",
        {digest_field("sha256:", digest(32)), name, sig, digest_field("sha256:", digest(32)), field(digest(300))});
    add("ima-modsig", {digest_field("sha256:", digest(32)), name, sig, empty, empty});
  }
  add("ima-ngv2", {digest_field("ima:sha384:", digest(48)), name});
  add("ima-buf", {digest_field("sha256:", digest(32)), name_field("kexec-cmdline"), text_field("root=/dev/sda1")});
  add("evm-sig", {digest_field("sha256:", digest(32)), name, field(digest(70)),
                  name_field("security.ima|security.selinux"), joined({field(digest(8))}), field(digest(40)),
                  number_field(1000, 4), number_field(0xFFFFFFFE, 4), number_field(0100755, 2)});
  add("evm-sig", {digest_field("sha256:", digest(32)), name, empty, empty, empty, empty, number_field(0, 4),
                  number_field(0, 4), number_field(0, 2)});
  add("d-ng|n-ng|sig|iuid", {digest_field("sha256:", digest(32)), name, empty, number_field(7, 4)});
  add("n-ng", {name});
  return out;
}

TEST(ImaList, EveryTemplateReadsTheSameInBothForms) {
  std::mt19937 random(20260403);
  for (int round = 0; round < 20; ++round) {
    ByteVector binary;
    std::string ascii;
    std::size_t count = 0;
    for (const EntryParts& parts : every_template(random)) {
      const ByteVector one = binary_entry(parts);
      binary.insert(binary.end(), one.begin(), one.end());
      ascii += ascii_line(parts);
      ++count;
    }
    ListOutcome from_binary = read_binary(binary), from_ascii = read_ascii(ascii);
    EXPECT_FALSE(from_binary.error);
    ASSERT_FALSE(from_ascii.error) << from_ascii.error->second << ascii.substr(from_ascii.error->first, 200);
    ASSERT_EQ(from_binary.entries.size(), count);
    ASSERT_EQ(from_ascii.entries.size(), count);
    for (std::size_t i = 0; i < count; ++i) {
      from_binary.entries[i].offset = from_ascii.entries[i].offset = 0;
      EXPECT_EQ(from_ascii.entries[i], from_binary.entries[i]) << from_binary.entries[i].template_name;
      EXPECT_EQ(digest_of(HashAlgorithm::sha1, from_ascii.entries[i].data).hex(), from_ascii.entries[i].hash);
    }
  }
}

TEST(ImaList, FieldsAreThoseOfTheTemplate) {
  const ListOutcome list = read_binary(
      binary_entry({10,
                    "d-ngv2|sig|n-ng",
                    joined({digest_field("verity:sha512:", ByteVector(64)), text_field("signature"), name_field("/a")}),
                    {}}));
  ASSERT_EQ(list.entries.size(), 1U);
  EXPECT_EQ(list.entries[0].type, "verity");
  EXPECT_EQ(list.entries[0].algorithm, "sha512");
  EXPECT_EQ(list.entries[0].digest.size(), 64U);
  EXPECT_EQ(as_text(list.entries[0].signature), "signature");
  EXPECT_EQ(list.entries[0].name, "/a");
}

TEST(ImaList, AnUnknownTemplateIsHashedThoughItsFieldsAreNotKnown) {
  const ByteVector data = joined({text_field("x"), text_field("y")});
  const ListOutcome list = read_binary(binary_entry({10, "new-in-7.0", data, {}}));
  ASSERT_EQ(list.entries.size(), 1U);
  EXPECT_EQ(list.entries[0].data, data);
  EXPECT_EQ(list.entries[0].name, "");
  EXPECT_TRUE(ima::field_list("new-in-7.0").empty());
  EXPECT_TRUE(ima::field_list("d-ng|new").empty());
  EXPECT_EQ(ima::field_list("d-ng|n-ng|sig"), "d-ng|n-ng|sig");
  EXPECT_EQ(ima::field_list("ima-sig"), "d-ng|n-ng|sig");
}

TEST(ImaList, AFieldThatIsNotWhatItsNameSaysLeavesItsPartEmpty) {
  for (const std::string_view value : {"", "sha256", "sha256:", ":", "sha256:no nul"}) {
    const ListOutcome list =
        read_binary(binary_entry({10, "ima-ng", joined({text_field(value), name_field("/a")}), {}}));
    ASSERT_EQ(list.entries.size(), 1U) << value;
    EXPECT_EQ(list.entries[0].algorithm, "") << value;
    EXPECT_TRUE(list.entries[0].digest.empty()) << value;
    EXPECT_EQ(list.entries[0].name, "/a") << value;
  }
  // An old kernel's violation has 20 zero bytes under the name sha256.
  const ListOutcome old = read_binary(binary_entry(
      {10, "ima-ng", joined({digest_field("sha256:", ByteVector(20)), name_field("/a")}), ByteVector(20)}));
  ASSERT_EQ(old.entries.size(), 1U);
  EXPECT_EQ(old.entries[0].digest.size(), 20U);
}

TEST(ImaList, BinaryLimits) {
  const auto refused = [](const EntryParts& parts) { return read_binary(binary_entry(parts)).error; };
  EXPECT_FALSE(refused({23, "ima-ng", ng_data("/a"), {}}));
  EXPECT_EQ(refused({24, "ima-ng", ng_data("/a"), {}}),
            Error(0, "PCR index above 23 (or a list of a big-endian machine)"));
  EXPECT_EQ(refused({10, "", {}, {}}), Error(24, "template name length out of range"));
  EXPECT_FALSE(refused({10, std::string(255, 't'), {}, {}}));
  EXPECT_EQ(refused({10, std::string(256, 't'), {}, {}}), Error(24, "template name length out of range"));
  const auto of_size = [](std::size_t n) { return field(ByteVector(n - 4)); };
  EXPECT_FALSE(refused({10, "t", of_size(ima::max_entry_size), {}}));
  EXPECT_EQ(refused({10, "t", of_size(ima::max_entry_size + 1), {}}), Error(29, "template data longer than 1 MiB"));
  EXPECT_FALSE(refused({10, "ima-ng", ng_data(std::string(ima::max_name_size, 'n')), {}}));
  EXPECT_EQ(refused({10, "ima-ng", ng_data(std::string(ima::max_name_size + 1, 'n')), {}}),
            Error(38 + 4 + 8 + 32, "name longer than PATH_MAX"));
  // Fields that end after the data, or in the middle of a length.
  EXPECT_TRUE(refused({10, "ima-ng", ByteVector(3), {}}));
  ByteVector longer = ng_data("/a");
  longer[0] =
      std::byte(std::to_integer<unsigned>(longer[0]) + 1);  // the digest's field takes a byte of the name's length
  EXPECT_TRUE(refused({10, "ima-ng", longer, {}}));
  ByteVector lies = ng_data("/a");
  lies[3] = std::byte{0xFF};
  EXPECT_EQ(refused({10, "ima-ng", lies, {}}), Error(38, "field longer than the template data"));
}

TEST(ImaList, LyingLengthsAreRefusedBeforeTheirBytesArrive) {
  for (const auto& [at, reason] : {std::pair<std::size_t, std::string_view>{24, "template name length out of range"},
                                   {34, "template data longer than 1 MiB"}}) {
    ByteVector entry = binary_entry({});
    entry[at + 3] = std::byte{0xFF};
    ima::Cursor cursor(ima::Cursor::Form::binary);
    cursor.feed(Bytes(entry).first(at + 4));
    const auto next = cursor.next();
    ASSERT_FALSE(next) << at;
    EXPECT_EQ(next.error().reason, reason);
    EXPECT_EQ(next.error().offset, at);
  }
}

TEST(ImaList, LegacyNamesArePaddedOrCutTo256Bytes) {
  const auto legacy = [](std::size_t n) {
    Writer w;
    w.put_le(std::uint32_t{10});
    w.put_zeros(20);
    w.put_le(std::uint32_t{3});
    w.put_text("ima");
    w.put_zeros(20);
    w.put_le(std::uint32_t(n));
    w.put_text(std::string(n, 'n'));
    return to_vector(w.view());
  };
  for (const std::size_t n :
       {std::size_t{0}, std::size_t{255}, std::size_t{256}, std::size_t{257}, ima::max_name_size}) {
    const ListOutcome list = read_binary(legacy(n));
    ASSERT_EQ(list.entries.size(), 1U) << n;
    EXPECT_EQ(list.entries[0].data.size(), 276U);
    EXPECT_EQ(list.entries[0].name.size(), n);
  }
  EXPECT_EQ(read_binary(legacy(ima::max_name_size + 1)).error, Error(51, "name longer than PATH_MAX"));
}

TEST(ImaList, PiecesCutAnywhereGiveTheSameEntries) {
  std::mt19937 random(5);
  ByteVector binary;
  std::string ascii;
  for (const EntryParts& parts : every_template(random)) {
    const ByteVector one = binary_entry(parts);
    binary.insert(binary.end(), one.begin(), one.end());
    ascii += ascii_line(parts);
  }
  for (const bool lines : {false, true}) {
    const auto form = lines ? ima::Cursor::Form::ascii : ima::Cursor::Form::binary;
    const Bytes list = lines ? as_bytes(ascii) : Bytes(binary);
    const ListOutcome whole = read_list(list, form);
    ASSERT_FALSE(whole.error);
    std::vector<std::size_t> bytewise;
    for (std::size_t n = 1; n < list.size(); ++n) {
      bytewise.push_back(n);
      ASSERT_EQ(read_list(list, form, {n, n}), whole) << n;
    }
    EXPECT_EQ(read_list(list, form, bytewise), whole);
  }
}

const std::string zeros(40, '0'), sha256 = "sha256:" + std::string(64, 'a');

TEST(AsciiList, EveryTruncationAndEveryFlippedBit) {
  std::mt19937 random(6);
  std::string list;
  for (const EntryParts& parts : every_template(random))
    if (parts.data.size() < 200) list += ascii_line(parts);
  const ListOutcome whole = read_ascii(list);
  for (std::size_t n = 0; n < list.size(); n += 1 + n % 3) {
    const ListOutcome cut = read_ascii(std::string_view(list).substr(0, n));
    if (cut.error) {
      EXPECT_LE(cut.error->first, n);
    }
    const std::size_t lines = std::size_t(std::count(list.begin(), list.begin() + std::ptrdiff_t(n), '\n'));
    ASSERT_GE(cut.entries.size(), lines) << n;
    for (std::size_t i = 0; i < lines; ++i) EXPECT_EQ(cut.entries[i], whole.entries[i]) << n;
  }
  list.resize(list.find('\n', 1200));
  for (std::size_t bit = 0; bit < list.size() * 8; ++bit) {
    list[bit / 8] = char(list[bit / 8] ^ 1 << bit % 8);
    const ListOutcome flipped = read_ascii(list);
    EXPECT_TRUE(!flipped.error || flipped.error->first < list.size()) << bit;
    EXPECT_EQ(read_list(as_bytes(list), ima::Cursor::Form::ascii, random_cuts(random, list.size(), 300)), flipped)
        << bit;
    list[bit / 8] = char(list[bit / 8] ^ 1 << bit % 8);
  }
}

TEST(AsciiList, FieldsAreTakenFromBothEnds) {
  const auto name_of = [](const std::string& line) -> std::string {
    const ListOutcome list = read_ascii(line);
    return list.entries.size() == 1 ? list.entries[0].name : list.error ? list.error->second : "";
  };
  EXPECT_EQ(name_of("10 " + zeros + " ima-ng " + sha256 + " /opt/My App/x"), "/opt/My App/x");
  EXPECT_EQ(name_of("10 " + zeros + " ima-sig " + sha256 + " /opt/My App/x 0302"), "/opt/My App/x");
  EXPECT_EQ(name_of("10 " + zeros + " ima-sig " + sha256 + " /opt/My App/x "), "/opt/My App/x");
  EXPECT_EQ(name_of("10 " + zeros + " ima-sig " + sha256 + " /x"), "fewer fields than the template has");
  EXPECT_EQ(name_of("10 " + zeros + " ima-ng " + sha256), "fewer fields than the template has");
}

TEST(AsciiList, UpperCaseAndCarriageReturnsAreAccepted) {
  const std::string lower = "10 " + std::string(40, 'b') + " ima-ng sha256:" + std::string(64, 'c') + " /a\n";
  std::string upper = "10 " + std::string(40, 'B') + " ima-ng sha256:" + std::string(64, 'C') + " /a\r\n";
  EXPECT_EQ(read_ascii(upper), read_ascii(lower));
  EXPECT_EQ(read_ascii(" 9 " + zeros + " ima-ng " + sha256 + " /a\n").entries[0].pcr, 9U);
  // The last line may end without its newline.
  EXPECT_EQ(read_ascii(lower.substr(0, lower.size() - 1)), read_ascii(lower));
}

TEST(AsciiList, WhatIsNoLineIsRefusedAtItsOffset) {
  const std::string good = "10 " + zeros + " ima-ng " + sha256 + " /a\n";
  const auto refused = [&](const std::string& line) { return read_ascii(good + line + "\n" + good).error; };
  const auto at = [&](std::string_view reason) { return Error(good.size(), reason); };
  EXPECT_EQ(refused(""), at("not a line of an IMA list"));
  EXPECT_EQ(refused("10 " + zeros), at("not a line of an IMA list"));
  EXPECT_EQ(refused("x " + zeros + " ima-ng " + sha256 + " /a"), at("PCR index isn't a number"));
  EXPECT_EQ(refused("-1 " + zeros + " ima-ng " + sha256 + " /a"), at("PCR index isn't a number"));
  EXPECT_EQ(refused("4294967306 " + zeros + " ima-ng " + sha256 + " /a"), at("PCR index isn't a number"));
  EXPECT_FALSE(refused("23 " + zeros + " ima-ng " + sha256 + " /a"));
  EXPECT_EQ(refused("24 " + zeros + " ima-ng " + sha256 + " /a"), at("PCR index above 23"));
  // A list of another bank's template hashes is refused, never misread.
  for (const std::size_t digits : {38U, 39U, 41U, 42U, 64U, 96U, 128U})
    EXPECT_EQ(refused("10 " + std::string(digits, '0') + " ima-ng " + sha256 + " /a"),
              at("template hash isn't 40 hexadecimal digits"));
  EXPECT_EQ(refused("10 " + std::string(40, 'g') + " ima-ng " + sha256 + " /a"), at("field isn't hexadecimal"));
  EXPECT_EQ(refused("10 " + zeros + " new-in-7.0 " + sha256 + " /a"),
            at("unknown template: its data can't be rebuilt from the ASCII form"));
  EXPECT_EQ(refused("10 " + zeros + " ima-ng sha256:abc /a"), at("field isn't hexadecimal"));
  EXPECT_EQ(refused("10 " + zeros + " ima-ng " + std::string(64, 'a') + " /a"), at("digest without its algorithm"));
  EXPECT_EQ(refused("10 " + zeros + " ima " + std::string(38, 'a') + " /a"),
            at("digest of template ima isn't 20 bytes"));
  EXPECT_FALSE(refused("10 " + zeros + " ima-ng " + sha256 + " " + std::string(ima::max_name_size, 'n')));
  EXPECT_EQ(refused("10 " + zeros + " ima-ng " + sha256 + " " + std::string(ima::max_name_size + 1, 'n')),
            at("name longer than PATH_MAX"));
  const std::string evm = "10 " + zeros + " d-ng|n-ng|iuid|imode " + sha256 + " /a ";
  EXPECT_FALSE(refused(evm + "4294967295 65535"));
  EXPECT_EQ(refused(evm + "4294967296 1"), at("field isn't a number"));
  EXPECT_EQ(refused(evm + "1 65536"), at("field isn't a number"));
}

TEST(AsciiList, ALineThatNeverEndsIsRefused) {
  ima::Cursor cursor(ima::Cursor::Form::ascii);
  const ByteVector piece(ima::max_entry_size, std::byte{'a'});
  for (int i = 0; i < 4; ++i) {
    cursor.feed(piece);
    ASSERT_TRUE(cursor.next()) << i;
  }
  cursor.feed(as_bytes("a"));
  const auto next = cursor.next();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().reason, "line longer than 4 MiB");
}

TEST(ImaForm, IsSeenInTheFirstBytes) {
  using enum ima::Cursor::Form;
  for (const std::string_view list : {"10 00", " 9 00", "0 0", "  0 0", "10 "})
    EXPECT_EQ(ima::form_of(as_bytes(list)), ascii) << list;
  for (const std::string_view list : {"", "1", "text", "100 0", "\x0A\0\0\0", "\x31\0\0\0", "   0 0"})
    EXPECT_EQ(ima::form_of(as_bytes(list)), binary) << list;
  EXPECT_EQ(ima::form_of(binary_entry({})), binary);
}

TEST(ImaList, AnEmptyListHasNoEntries) {
  EXPECT_EQ(read_binary({}), ListOutcome{});
  EXPECT_EQ(read_ascii(""), ListOutcome{});
}

}  // namespace
}  // namespace gatehouse::testing
