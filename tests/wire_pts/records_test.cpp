// File measurement and metadata, symlinks in pieces, and the names of what PTS carries (spec part 2 §1.1, §1.13-1.16,
// §2.1).
#include "wire/pts/records.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/hex.h"
#include "wire/patnc/patnc.h"
#include "wire/pbtnc/pbtnc.h"

using namespace gatehouse;
using namespace gatehouse::pts;

namespace {

constexpr std::size_t base = patnc::attribute_header_size;

ByteVector hex(std::string_view text) {
  std::string digits;
  for (const char c : text)
    if (c != ' ') digits += c;
  return from_hex(digits).value();
}

std::string text_of(const FileMeasurement& v) { return to_hex(v.digest) + " " + std::string(v.name); }
std::string text_of(const FileMetadata& v) {
  std::string out(v.name);
  for (const std::uint64_t field : {std::uint64_t(v.type), v.size, v.created, v.modified, v.accessed, v.owner, v.group})
    out += " " + std::to_string(field);
  return out;
}
std::string text_of(const Symlink& v) { return std::string(v.link) + " -> " + std::string(v.target); }

// What a cursor yields, and where it stopped.
struct Read {
  std::vector<std::string> records;
  std::optional<Error> error;
};
template <class Cursor>
Read read(Bytes value, std::size_t piece) {
  Cursor cursor(base);
  Read out;
  for (std::size_t at = 0;; at += piece) {
    const bool last = value.size() - at <= piece;
    cursor.feed(value.subspan(at, last ? value.size() - at : piece));
    if (last) cursor.end();
    for (;;) {
      const auto next = cursor.next();
      if (!next) {
        out.error = next.error();
        return out;
      }
      if (*next == nullptr) break;
      out.records.push_back(text_of(**next));
    }
    if (!last) continue;
    EXPECT_EQ(cursor.remaining(), 0U);
    return out;
  }
}

// The same records and the same error for every cut; every truncation is an error.
template <class Cursor>
void expect_for_every_cut(Bytes value, const std::vector<std::string>& records) {
  for (std::size_t piece = 1; piece <= value.size(); ++piece) {
    const Read got = read<Cursor>(value, piece);
    EXPECT_FALSE(got.error) << piece << ": " << got.error->text();
    EXPECT_EQ(got.records, records) << piece;
  }
  for (std::size_t size = 0; size < value.size(); ++size) {
    const Read whole = read<Cursor>(value.first(size), value.size());
    ASSERT_TRUE(whole.error) << size;
    EXPECT_LT(whole.records.size(), records.size());
    EXPECT_LE(whole.error->offset, base + size);
    const Read bytewise = read<Cursor>(value.first(size), 1);
    ASSERT_TRUE(bytewise.error) << size;
    EXPECT_EQ(bytewise.error->offset, whole.error->offset) << size;
    EXPECT_EQ(bytewise.records, whole.records);
  }
}

template <class Cursor>
void expect_error(std::string_view value, std::size_t offset) {
  const ByteVector bytes = hex(value);
  for (const std::size_t piece : {std::size_t{1}, bytes.size() + 1}) {
    const Read got = read<Cursor>(bytes, piece);
    ASSERT_TRUE(got.error) << value;
    EXPECT_EQ(got.error->offset, base + offset) << value;
    EXPECT_EQ(got.error->fault, Fault::malformed);
  }
}

const ByteVector sha256_a(32, std::byte{0xAA}), sha256_b(32, std::byte{0xBB});

}  // namespace

TEST(FileMeasurement, list_is_read_from_any_pieces) {
  Writer w;
  append_file_measurement_head(w, {3, 7, 32});
  append_file_measurement(w, {sha256_a, "ls"});
  append_file_measurement(w, {sha256_b, ""});
  append_file_measurement(w, {sha256_a, "a longer name"});
  EXPECT_EQ(to_hex(w.view().first(12)), "000000000000000300070020");
  expect_for_every_cut<FileMeasurementCursor>(
      w.view(), {to_hex(sha256_a) + " ls", to_hex(sha256_b) + " ", to_hex(sha256_a) + " a longer name"});
}

TEST(FileMeasurement, cursor_tells_its_head_and_what_follows) {
  Writer w;
  append_file_measurement_head(w, {2, 0x1234, 20});
  append_file_measurement(w, {Bytes(sha256_a).first(20), "x"});
  FileMeasurementCursor cursor(base);
  cursor.feed(w.view());
  ASSERT_NE(cursor.next().value(), nullptr);
  EXPECT_EQ(cursor.head()->request_id, 0x1234);
  EXPECT_EQ(cursor.remaining(), 1U);
  EXPECT_EQ(cursor.next().value(), nullptr);
  cursor.end();
  EXPECT_EQ(cursor.next().error().offset, base + 12 + 23);
}

TEST(FileMeasurement, empty_list_has_no_measurement_length) {
  const Read got = read<FileMeasurementCursor>(hex("0000000000000000 0007 0000"), 12);
  EXPECT_FALSE(got.error);
  EXPECT_TRUE(got.records.empty());
}

TEST(FileMeasurement, errors_point_at_the_mistake) {
  expect_error<FileMeasurementCursor>("0000000000000000 0007 00", 0);
  expect_error<FileMeasurementCursor>("0000000000000001 0007 0000 0001 41", 10);
  expect_error<FileMeasurementCursor>("0000000000000001 0007 0010", 10);
  expect_error<FileMeasurementCursor>("0000000000000000 0007 0000 00", 12);  // after the last file
  const std::string one = "0000000000000001 0007 0014 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0002 4142";
  expect_error<FileMeasurementCursor>(one + "43", 36);
  expect_error<FileMeasurementCursor>("ffffffffffffffff 0007 0014 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0002 4142",
                                      36);
  expect_error<FileMeasurementCursor>("0000000000000001 0007 0014 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0002 4100",
                                      35);
}

TEST(FileMetadata, list_is_read_from_any_pieces) {
  Writer w;
  append_file_metadata_head(w, {2});
  append_file_metadata(w, {FileType::regular, 1'234, 10, 20, 30, 1000, 100, "passwd"});
  append_file_metadata(w, {FileType::symlink, std::uint64_t(1) << 40, 1, 2, 3, 0, 0, ""});
  EXPECT_EQ(to_hex(w.view().subspan(8, 4)), "003a0800");
  expect_for_every_cut<FileMetadataCursor>(w.view(),
                                           {"passwd 8 1234 10 20 30 1000 100", " 10 1099511627776 1 2 3 0 0"});
}

TEST(FileMetadata, entry_length_is_checked_before_it_is_used) {
  const std::string rest(100, '0');
  expect_error<FileMetadataCursor>("00000000000000", 0);
  expect_error<FileMetadataCursor>("0000000000000001 0000" + rest, 8);
  expect_error<FileMetadataCursor>("0000000000000001 0033" + rest, 8);
  expect_error<FileMetadataCursor>("0000000000000001 0035" + rest, 8);  // one byte of the name is missing
  EXPECT_FALSE(read<FileMetadataCursor>(hex("0000000000000001 0034" + rest), 5).error);
  expect_error<FileMetadataCursor>("0000000000000001 0035" + rest + "00", 60);  // NUL in the name
  expect_error<FileMetadataCursor>("0000000000000001 0034" + rest + "0034", 60);
}

// The example of spec part 2 §11.2.
TEST(Symlinks, example_of_the_specification_from_any_pieces) {
  const ByteVector value = hex("00000002 0004 2f6c6962 0008 2f7573722f6c6962 0004 2f62696e 0008 2f7573722f62696e");
  expect_for_every_cut<SymlinkCursor>(value, {"/lib -> /usr/lib", "/bin -> /usr/bin"});
  expect_error<SymlinkCursor>("000000", 0);
  expect_error<SymlinkCursor>("00000000 00", 4);
  expect_error<SymlinkCursor>("00000001 0001 2f 0002 2f00", 10);
  expect_error<SymlinkCursor>("00000002 0001 2f 0001 2f", 10);
}

// Recorded collectors: the cursor reads what the parser of whole values reads.
TEST(Symlinks, recorded_lists_from_any_pieces) {
  std::size_t lists = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(GATEHOUSE_TEST_DATA "/interop")) {
    if (entry.path().filename().string().find("-c2s-") == std::string::npos) continue;
    const ByteVector bytes = read_file(entry.path().string(), std::size_t(1) << 24).value();
    const auto batch = pbtnc::parse_batch(bytes, true);
    ASSERT_TRUE(batch);
    for (const pbtnc::Message& message : batch->messages) {
      if (message.vendor != pbtnc::vendor_ietf || message.type != pbtnc::type::pa) continue;
      const auto parsed =
          patnc::parse_message(pbtnc::pa_message(message).body, [](std::uint32_t, std::uint32_t) { return true; });
      ASSERT_TRUE(parsed && !parsed->refusal);
      for (const patnc::Attribute& a : parsed->attributes) {
        if (!a.is(vendor_ita, ita_symlinks)) continue;
        ++lists;
        Reader r(a.value, "test");
        const std::vector<Symlink> symlinks = parse_symlinks(r).value();
        std::vector<std::string> expected;
        for (const Symlink& s : symlinks) expected.push_back(text_of(s));
        EXPECT_FALSE(expected.empty());
        expect_for_every_cut<SymlinkCursor>(a.value, expected);
        Writer again;
        append_symlinks(again, symlinks);
        EXPECT_TRUE(equal(again.view(), a.value));
      }
    }
  }
  EXPECT_GT(lists, 5U);
}

TEST(FileRequests, round_trip_and_layout) {
  Writer w;
  append_file_measurement_request(w, {true, 0x0102, delimiter_slash, "/etc"});
  EXPECT_EQ(to_hex(w.view()),
            "80000102"
            "0000002f"
            "2f657463");
  Reader r(w.view(), "test", base);
  const auto measurement = parse_file_measurement_request(r);
  ASSERT_TRUE(measurement);
  EXPECT_TRUE(measurement->directory);
  EXPECT_EQ(measurement->id, 0x0102);
  EXPECT_EQ(measurement->delimiter, delimiter_slash);
  EXPECT_EQ(measurement->path, "/etc");

  Writer m;
  append_file_metadata_request(m, {false, delimiter_backslash, "C:\\x"});
  EXPECT_EQ(to_hex(m.view()),
            "005c0000"
            "433a5c78");
  Reader metadata_reader(m.view(), "test", base);
  const auto metadata = parse_file_metadata_request(metadata_reader);
  ASSERT_TRUE(metadata);
  EXPECT_FALSE(metadata->directory);
  EXPECT_EQ(metadata->delimiter, delimiter_backslash);
  EXPECT_EQ(metadata->path, "C:\\x");
}

TEST(FileRequests, errors_point_at_the_mistake) {
  const auto offset = [](auto&& parse, std::string_view value) {
    const ByteVector bytes = hex(value);
    Reader r(bytes, "test", base);
    const auto parsed = parse(r);
    return parsed ? std::size_t{0} : parsed.error().offset;
  };
  EXPECT_EQ(offset(parse_file_measurement_request, "00000001 00002f"), base);
  EXPECT_EQ(offset(parse_file_measurement_request, "00000001 0000002f 2f00"), base + 9);
  EXPECT_EQ(offset(parse_file_metadata_request, "002f00"), base);
  EXPECT_EQ(offset(parse_file_metadata_request, "002f0000 2f610062"), base + 6);
  EXPECT_EQ(offset(parse_get_symlinks, "2f00"), base + 1);
  const ByteVector root = hex("2f");
  Reader r(root, "test");
  EXPECT_EQ(parse_get_symlinks(r).value(), "/");
  Writer w;
  append_get_symlinks(w, "/");
  EXPECT_TRUE(equal(w.view(), root));
}

TEST(PtsNames, every_type_has_one) {
  constexpr std::uint32_t types[] = {
      0x21,       0x22,       0x23,       0x24,       0x25,       0x26,       0x27,       0x01000000, 0x02000000,
      0x03000000, 0x04000000, 0x05000000, 0x06000000, 0x07000000, 0x08000000, 0x09000000, 0x0A000000, 0x0B000000,
      0x0C000000, 0x0D000000, 0x0E000000, 0x00100000, 0x00200000, 0x00300000, 0x00400000, 0x00500000, 0x00600000,
      0x00700000, 0x00800000, 0x00900000, 0x00A00000, 0x00B00000, 0x00C00000, 0x00D00000, 0x00E00000, 0x00F00000};
  std::vector<std::string> names;
  for (const std::uint32_t kind : types) {
    const std::string name = patnc::attribute_name(vendor_tcg, kind);
    EXPECT_TRUE(name.starts_with("TCG/")) << name;
    EXPECT_EQ(std::find(names.begin(), names.end(), name), names.end()) << name;
    names.push_back(name);
  }
  EXPECT_EQ(patnc::attribute_name(vendor_tcg, type::file_measurement), "TCG/File Measurement");
  EXPECT_EQ(patnc::attribute_name(vendor_tcg, type::unix_file_metadata), "TCG/Unix-Style File Metadata");
  EXPECT_EQ(patnc::attribute_name(vendor_tcg, type::request_measurement_log), "TCG/Request Integrity Measurement Log");
  EXPECT_EQ(patnc::attribute_name(vendor_tcg, 0x11), "0x005597/0x00000011");
}

TEST(PtsNames, components) {
  EXPECT_EQ(component_name(component_boot), "ITA-HSR/Linux IMA [K.] Trusted Platform");
  EXPECT_EQ(component_name(component_ima), "ITA-HSR/Linux IMA [K.] Operating System");
  EXPECT_EQ(component_name(component_tboot), "ITA-HSR/Trusted Boot [K.] Trusted Platform");
  EXPECT_EQ(component_name({vendor_tcg, 0x1F, 2}), "TCG/BIOS [.S] All Matching Components");
  EXPECT_EQ(component_name({vendor_tcg, 0x3F, 6}), "TCG/Option ROMs [*] All Matching Components");
  EXPECT_EQ(component_name({vendor_ita, 0x09, 4}), "0x00902a/0x00000004 [..] 0x9");
}
