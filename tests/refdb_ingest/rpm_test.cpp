// RPM packages: those of rpmbuild in all its forms, and hostile ones made here.
#include "refdb/ingest/rpm.h"

#include <gtest/gtest.h>
#include <lzma.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>

#include "base/file.h"
#include "refdb/ingest/ingest.h"
#include "refdb/store/open.h"
#include "tests/folder.h"
#include "tests/refdb_ingest/rpm_maker.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;
using testing::be;
using testing::RpmMaker;

const std::string data = GATEHOUSE_TEST_DATA "/rpm/";
const std::vector<HashAlgorithm> sha256{HashAlgorithm::sha256};
const std::vector<HashAlgorithm> all_banks{std::begin(common_banks), std::end(common_banks)};

// What made.spec installs, ghosts and links left out.
const std::map<std::string, std::string> made{{"/usr/bin/tool", "tool"},
                                              {"/usr/lib/made/one", "linked content"},
                                              {"/usr/lib/made/two", "linked content"},
                                              {"/usr/lib/made/three", "linked content"},
                                              {"/usr/lib/made/empty", ""},
                                              {"/usr/lib/made/empty1", ""},
                                              {"/usr/lib/made/empty2", ""},
                                              {"/etc/made.conf", "setting=1\n"},
                                              {"/opt/My App/a b", "spaces"}};

struct Form {
  std::string name;
  std::optional<HashAlgorithm> algorithm;  // of its header's digests
};
const Form forms[] = {{"md5-gzip", std::nullopt},
                      {"sha1-bzip2", HashAlgorithm::sha1},
                      {"sha512-xz", HashAlgorithm::sha512},
                      {"sha384-lzma", HashAlgorithm::sha384},
                      {"sha256-none", HashAlgorithm::sha256},
                      {"sha256-zstd", HashAlgorithm::sha256}};

ByteVector form_bytes(const std::string& name) {
  return read_file(data + "made-" + name + ".noarch.rpm", 1 << 20).value();
}
std::string error_of(const Result<ReferencePackage>& p) {
  if (p) return "";
  EXPECT_EQ(p.error().source, "test.rpm");
  return std::string(name(p.error().fault)) + ": " + std::string(p.error().reason);
}
Result<ReferencePackage> read(const std::string& package, const std::vector<HashAlgorithm>& algorithms = sha256,
                              const IngestLimits& limits = {}) {
  return read_rpm(as_bytes(package), "test.rpm", algorithms, limits);
}

TEST(Rpm, OfEachFormGivesItsFilesInEachAlgorithm) {
  for (const Form& form : forms) {
    for (const auto& algorithms :
         {all_banks, sha256, {HashAlgorithm::sha1}, {HashAlgorithm::sha384, HashAlgorithm::sha512}}) {
      SCOPED_TRACE(form.name);
      const auto p = read_rpm(data + "made-" + form.name + ".noarch.rpm", algorithms);
      ASSERT_TRUE(p) << p.error().text();
      EXPECT_EQ(p->name, "made");
      EXPECT_EQ(p->version, "2:1.0-3");
      EXPECT_EQ(p->architecture, "noarch");
      EXPECT_EQ(p->source, "made-" + form.name + ".noarch.rpm");
      std::set<std::string> paths;
      for (const ReferenceFile& f : p->files) {
        ASSERT_TRUE(made.contains(f.path)) << f.path;
        const std::string& content = made.at(f.path);
        EXPECT_TRUE(paths.insert(f.path).second);
        EXPECT_EQ(f.size, content.size()) << f.path;
        EXPECT_EQ(f.is_mutable, f.path == "/etc/made.conf") << f.path;
        ASSERT_EQ(f.digests.size(), algorithms.size()) << f.path;
        for (const auto& [algorithm, digest] : f.digests) {
          EXPECT_TRUE(std::ranges::count(algorithms, algorithm));
          EXPECT_EQ(digest, digest_of(algorithm, as_bytes(content))) << f.path;
        }
      }
      EXPECT_EQ(paths.size(), made.size());
    }
  }
}

TEST(Rpm, NeedsThePayloadOnlyWhereTheHeaderIsNotEnough) {
  for (const Form& form : forms) {
    SCOPED_TRACE(form.name);
    ByteVector bytes = form_bytes(form.name);
    const auto package = parse_rpm(MemoryInput(bytes), {});
    ASSERT_TRUE(package) << package.error().text();
    std::fill(bytes.begin() + std::ptrdiff_t(package->payload), bytes.end(), std::byte{0xAA});
    for (const HashAlgorithm algorithm : common_banks) {
      const auto p = read_rpm(Bytes(bytes), "test.rpm", {algorithm});
      EXPECT_EQ(p.has_value(), form.algorithm == algorithm);
      EXPECT_EQ(error_of(p), p ? "" : "malformed: the payload isn't the one of its digest");
      if (p) {
        EXPECT_EQ(p->files.size(), made.size());
      }
    }
    EXPECT_FALSE(read_rpm(Bytes(bytes), "test.rpm", all_banks));
  }
}

TEST(Rpm, WhereTheHeaderIsIsSeenWithoutParsingIt) {
  for (const Form& form : forms) {
    const ByteVector bytes = form_bytes(form.name);
    const auto package = parse_rpm(MemoryInput(bytes), {});
    const auto place = place_of_rpm_header(MemoryInput(bytes));
    ASSERT_TRUE(package && place) << form.name;
    EXPECT_EQ(place->header, package->header);
    EXPECT_EQ(place->payload, package->payload);
    EXPECT_EQ(digest_of(HashAlgorithm::sha256,
                        Bytes(bytes).subspan(std::size_t(place->header), std::size_t(place->payload - place->header))),
              package->identity);
    for (std::size_t n = 0; n < package->payload; ++n)
      EXPECT_FALSE(place_of_rpm_header(MemoryInput(Bytes(bytes).first(n)))) << form.name << ' ' << n;
  }
}

TEST(Rpm, EveryTruncationIsRefused) {
  for (const Form& form : forms) {
    const ByteVector bytes = form_bytes(form.name);
    // With the header alone too: the package says its size.
    const std::vector<HashAlgorithm> algorithms{form.algorithm.value_or(HashAlgorithm::sha256)};
    ASSERT_TRUE(read_rpm(Bytes(bytes), "test.rpm", algorithms));
    for (std::size_t n = 0; n < bytes.size(); ++n) {
      const auto p = read_rpm(Bytes(bytes).first(n), "test.rpm", algorithms);
      ASSERT_FALSE(p) << form.name << ' ' << n;
      EXPECT_EQ(p.error().fault, Fault::malformed);
      EXPECT_LE(p.error().offset, n);
      EXPECT_EQ(p.error().source, "test.rpm");
    }
  }
}

TEST(Rpm, EveryChangedByteOfHeaderAndPayloadIsRefused) {
  std::mt19937 random(5);
  for (const Form& form : forms) {
    ByteVector bytes = form_bytes(form.name);
    // Behind lead and signature header, of which most is space that nobody reads: of that some.
    const std::size_t header = as_text(bytes).rfind("\x8e\xad\xe8\x01");
    ASSERT_NE(header, std::string::npos);
    ASSERT_GT(header, 4000U);
    for (std::size_t i = 0; i < bytes.size(); i += i < header ? std::min<std::size_t>(61, header - i) : 1) {
      const std::byte was = bytes[i];
      bytes[i] ^= std::byte(1U << random() % 8);
      const auto p = read_rpm(Bytes(bytes), "test.rpm", all_banks);
      ASSERT_FALSE(p && i >= header) << form.name << ' ' << i;
      bytes[i] = was;
    }
  }
}

TEST(Rpm, IsItsHeaderWhateverTheSignature) {
  RpmMaker maker;
  maker.add({.path = "/a", .content = "a"});
  const auto plain = read(maker.package()).value();
  maker.signature[1004] = {7, 16, std::string(16, 'x')};
  const auto resigned = read(maker.package()).value();
  EXPECT_EQ(plain.identity, resigned.identity);
  maker.files[0].content = "b";
  EXPECT_NE(read(maker.package()).value().identity, plain.identity);
}

TEST(Rpm, VersionsHaveTheirEpochWhereThereIsOne) {
  RpmMaker maker;
  EXPECT_EQ(read(maker.package())->version, "1.0-3");
  maker.header[1003] = testing::number_tag(0);
  EXPECT_EQ(read(maker.package())->version, "1.0-3");
  maker.header[1003] = testing::number_tag(7);
  EXPECT_EQ(read(maker.package())->version, "7:1.0-3");
}

TEST(Rpm, NamesAreBytes) {
  RpmMaker maker;
  maker.add({.path = "/opt/\xFF\x1B[31m", .content = "a"});
  maker.add({.path = "/opt/new\nline", .content = "b"});
  maker.add({.path = "/opt//x/../y", .content = "c"});
  const auto p = read(maker.package(), all_banks);
  ASSERT_TRUE(p) << p.error().text();
  EXPECT_EQ(p->files[0].path, "/opt/\xFF\x1B[31m");
  EXPECT_EQ(p->files[1].path, "/opt/new\nline");
  EXPECT_EQ(p->files[2].path, "/opt/y");
}

TEST(Rpm, OfBeforeThereWereFoldersIsRead) {
  RpmMaker maker;
  maker.add({.path = "/usr/bin/a", .content = "a"});
  for (const std::uint32_t tag : {1116U, 1117U, 1118U}) maker.header[tag] = {};
  maker.header[1027] = {8, 1, std::string("/usr/bin/a") + '\0'};
  EXPECT_EQ(read(maker.package(), all_banks)->files.at(0).path, "/usr/bin/a");
}

// Members without names (files of 4 GiB and more); names of one file, of which the last has the content.
TEST(Rpm, MembersByNumberAreReadByTheHeader) {
  RpmMaker maker;
  maker.add({.path = "/usr/lib", .content = "", .mode = 040755});
  maker.add({.path = "/usr/lib/a", .content = "linked", .inode = 50});
  maker.add({.path = "/usr/lib/b", .content = "to", .mode = 0120777});
  maker.add({.path = "/usr/lib/c", .content = "linked", .inode = 50});
  maker.add({.path = "/usr/lib/d", .content = "four"});
  using testing::stripped_member;
  const std::string before =
      stripped_member(0, "") + stripped_member(1, "") + stripped_member(2, "to") + stripped_member(3, "linked");
  maker.archive = before + stripped_member(4, "four") + testing::cpio_trailer();
  const auto p = read(maker.package(), all_banks);
  ASSERT_TRUE(p) << p.error().text();
  ASSERT_EQ(p->files.size(), 3U);
  for (const ReferenceFile& f : p->files)
    for (const auto& [algorithm, digest] : f.digests)
      EXPECT_EQ(digest, digest_of(algorithm, as_bytes(f.path == "/usr/lib/d" ? "four" : "linked"))) << f.path;
  maker.archive = before + stripped_member(5, "four") + testing::cpio_trailer();
  EXPECT_EQ(error_of(read(maker.package(), all_banks)), "malformed: a member of a file that isn't in the header");
  maker.archive = before + testing::cpio_trailer();
  EXPECT_EQ(error_of(read(maker.package(), all_banks)), "malformed: a file of the header isn't in the payload");
}

struct Case {
  std::string what;
  std::function<void(RpmMaker&)> change;
  std::string error;
  bool header_only = true;  // refused from the header, too
};

TEST(Rpm, MalformedOnesAreRefusedByName) {
  const std::string counts = "malformed: as many sizes, modes, flags and digests as files are needed";
  const Case cases[] = {
      {"a path that climbs", [](RpmMaker& m) { m.files[0].path = "/../../etc/passwd"; },
       "malformed: a file with an unusable path"},
      {"a relative path", [](RpmMaker& m) { m.files[0].path = "usr/bin/a"; }, "malformed: path isn't absolute"},
      {"a path twice", [](RpmMaker& m) { m.files[1].path = "/usr//bin/./a"; }, "malformed: a path twice"},
      {"a path of more than 4,096 bytes", [](RpmMaker& m) { m.files[0].path = "/" + std::string(4096, 'x'); },
       "malformed: a file with an unusable path"},
      {"a folder that isn't there",
       [](RpmMaker& m) {
         m.header[1116] = {4, 2, be(0U) + be(2U)};
       },
       "malformed: a file in a folder that isn't there"},
      {"too few folder numbers",
       [](RpmMaker& m) {
         m.header[1116] = {4, 1, be(0U)};
       },
       "malformed: as many folder numbers as files are needed"},
      {"too few sizes",
       [](RpmMaker& m) {
         m.header[1028] = {4, 1, be(1U)};
       },
       counts},
      {"no modes", [](RpmMaker& m) { m.header[1030] = {}; }, counts},
      {"no flags", [](RpmMaker& m) { m.header[1037] = {}; }, counts},
      {"too few digests",
       [](RpmMaker& m) {
         m.header[1035] = {8, 1, std::string(64, 'a') + '\0'};
       },
       counts},
      {"a digest that is too short", [](RpmMaker& m) { m.files[0].digest = "abcd"; },
       "malformed: a file's digest isn't one of its algorithm"},
      {"a digest that isn't hexadecimal", [](RpmMaker& m) { m.files[0].digest = std::string(64, 'z'); },
       "malformed: a file's digest isn't one of its algorithm"},
      {"a string without an end",
       [](RpmMaker& m) {
         m.header[5092] = {8, 1, "abcd"}, m.header[5093] = {};
       },
       "malformed: string without an end in a header"},
      {"strings beyond the header",
       [](RpmMaker& m) {
         m.header[1118] = {8, 2, "/", 0x7FFFFFFF};
       },
       "malformed: tag's data exceeds the header"},
      {"more strings than bytes",
       [](RpmMaker& m) {
         m.header[1117] = {8, 3'000'000, std::string("a\0b\0", 4)};
       },
       "malformed: strings exceed the header"},
      {"numbers beyond the header",
       [](RpmMaker& m) {
         m.header[1028] = {4, 0x40000001, be(1U)};
       },
       "malformed: tag's data exceeds the header"},
      {"a tag of no type",
       [](RpmMaker& m) {
         m.header[1028] = {77, 2, be(1U)};
       },
       "malformed: tag of an unknown type"},
      {"a tag of another type",
       [](RpmMaker& m) {
         m.header[1117] = {4, 2, be(1U) + be(1U)};
       },
       "malformed: tag of an unexpected type"},
      {"no name", [](RpmMaker& m) { m.header[1000] = testing::text_tag(""); },
       "malformed: the header names no package or version"},
      {"a name of 256 bytes", [](RpmMaker& m) { m.header[1000] = testing::text_tag(std::string(256, 'n')); },
       "malformed: the header names no package or version"},
      {"a source package", [](RpmMaker& m) { m.header[1044] = {}; },
       "malformed: a source package: its files are installed nowhere"},
      {"a delta package", [](RpmMaker& m) { m.header[1124] = testing::text_tag("drpm"); },
       "malformed: a payload of another kind than cpio"},
      {"another header's digest", [](RpmMaker& m) { m.signature[273] = testing::text_tag(std::string(64, '0')); },
       "malformed: the header isn't the one of its digest"},
      {"another header's SHA-1", [](RpmMaker& m) { m.signature[269] = testing::text_tag(std::string(40, '0')); },
       "malformed: the header isn't the one of its digest"},
      {"larger than it is", [](RpmMaker& m) { m.signature[1000] = testing::number_tag(1 << 20); },
       "malformed: truncated package"},
      {"smaller than it is", [](RpmMaker& m) { m.signature[1000] = testing::number_tag(1); },
       "malformed: trailing bytes after the package"},
      {"another payload's digest", [](RpmMaker& m) { m.header[5092] = testing::text_tag(std::string(64, '0')); },
       "malformed: the payload isn't the one of its digest", false},
      {"other content", [](RpmMaker& m) { m.files[0].in_payload = "X"; },
       "malformed: a file isn't the one that the header says", false},
      {"content of another size", [](RpmMaker& m) { m.files[0].in_payload = "longer"; },
       "malformed: a file isn't the one that the header says", false},
      {"a member too few",
       [](RpmMaker& m) {
         m.archive = testing::cpio_member({"./usr/bin/a", "a"}) + testing::cpio_trailer();
       },
       "malformed: a file of the header isn't in the payload", false},
      {"a member too many",
       [](RpmMaker& m) {
         m.archive = testing::cpio_member({"./usr/bin/x", "a"}) + m.cpio();
       },
       "malformed: a member of a file that isn't in the header", false},
      {"a member twice",
       [](RpmMaker& m) {
         m.archive = testing::cpio_member({"./usr/bin/a", "a"}) + m.cpio();
       },
       "malformed: a file twice in the payload", false},
      {"a member that climbs",
       [](RpmMaker& m) {
         m.archive = testing::cpio_member({"../../etc/passwd", "a"}) + m.cpio();
       },
       "malformed: a member with an unusable path", false},
      {"a member without a name",
       [](RpmMaker& m) {
         m.archive = testing::cpio_member({"", "a"}) + m.cpio();
       },
       "malformed: a member with an unusable path", false},
      {"a member with a NUL in its name",
       [](RpmMaker& m) {
         m.archive = testing::cpio_member({std::string("a\0b", 3), "a"}) + m.cpio();
       },
       "malformed: a member's name isn't ended where its length says", false},
      {"a name that never ends",
       [](RpmMaker& m) {
         m.archive = testing::cpio_member({std::string(4096, 'x'), ""}) + m.cpio();
       },
       "malformed: a member's name is empty or too long", false},
      {"a member larger than the archive",
       [](RpmMaker& m) {
         m.archive = testing::cpio_member({.name = "./usr/bin/a", .content = "a", .stated_size = 0xFFFFFFFF});
       },
       "malformed: truncated archive", false},
      {"no trailer",
       [](RpmMaker& m) { m.archive = m.cpio().substr(0, m.cpio().size() - testing::cpio_trailer().size()); },
       "malformed: truncated archive", false},
      {"something after the trailer", [](RpmMaker& m) { m.archive = m.cpio() + "x"; },
       "malformed: trailing bytes after the payload", false},
      {"a member that isn't one", [](RpmMaker& m) { m.archive = "070709" + std::string(200, '0'); },
       "malformed: not a cpio member", false},
      {"a number that isn't one", [](RpmMaker& m) { m.archive = "070701" + std::string(200, 'g'); },
       "malformed: damaged member header", false},
      {"a payload of no known kind", [](RpmMaker& m) { m.archive = "LRZI" + std::string(200, '0'); },
       "malformed: payload in an unknown compression", false},
      {"an empty payload", [](RpmMaker& m) { m.archive = ""; }, "malformed: payload in an unknown compression", false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    RpmMaker maker;
    maker.add({.path = "/usr/bin/a", .content = "a"});
    maker.add({.path = "/usr/bin/b", .content = "b"});
    ASSERT_TRUE(read(maker.package(), all_banks));
    c.change(maker);
    const std::string package = maker.package();
    EXPECT_EQ(error_of(read(package, all_banks)), c.error);
    EXPECT_EQ(error_of(read(package, sha256)), c.header_only ? c.error : "");
  }
}

TEST(Rpm, HeadersAreBoundedBeforeMemoryIsAsked) {
  RpmMaker maker;
  std::string package = maker.package();
  const auto with = [&](std::size_t at, std::uint32_t value) {
    std::string out = package;
    out.replace(at, 4, be(value));
    return error_of(read(out));
  };
  EXPECT_EQ(with(96 + 8, max_rpm_header_tags + 1), "limit exceeded: RPM header larger than allowed");
  EXPECT_EQ(with(96 + 12, std::uint32_t(max_rpm_header_bytes + 1)), "limit exceeded: RPM header larger than allowed");
  EXPECT_EQ(with(96 + 8, max_rpm_header_tags), "malformed: truncated");
  EXPECT_EQ(with(96 + 12, std::uint32_t(max_rpm_header_bytes)), "malformed: truncated");
  EXPECT_EQ(with(96, 0), "malformed: no RPM header here");
  EXPECT_EQ(with(4, 0x05000000), "malformed: RPM package of another version");
}

TEST(Rpm, ATagThatComesTwiceIsRefused) {
  RpmMaker maker;
  maker.with_digests = false;
  maker.header[1005] = testing::text_tag("other");
  std::string package = maker.package();
  const std::size_t at = package.find(be(1005U) + be(6U));
  ASSERT_NE(at, package.npos);
  ASSERT_TRUE(read(package));
  package.replace(at, 4, be(1000U));
  EXPECT_EQ(error_of(read(package)), "malformed: tag twice in a header");
}

TEST(Rpm, LimitsHoldToTheByte) {
  RpmMaker maker;
  maker.add({.path = "/usr/bin/a", .content = std::string(1000, 'a')});
  maker.add({.path = "/usr/bin/b", .content = std::string(500, 'b')});
  const std::string package = maker.package();
  const std::size_t archive = maker.cpio().size();
  const std::string expands = "limit exceeded: the package expands to more than allowed";
  const auto reason = [&](const IngestLimits& limits) { return error_of(read(package, all_banks, limits)); };
  EXPECT_EQ(reason({.file_bytes = 1000}), "");
  EXPECT_EQ(reason({.file_bytes = 999}), expands);
  EXPECT_EQ(reason({.package_bytes = archive}), "");
  EXPECT_EQ(reason({.package_bytes = archive - 1}), expands);
  EXPECT_EQ(reason({.files = 2}), "");
  EXPECT_EQ(reason({.files = 1}), "limit exceeded: more files than allowed");
  EXPECT_EQ(reason({.path_bytes = 20}), "");
  EXPECT_EQ(reason({.path_bytes = 19}), "limit exceeded: longer paths than allowed");
}

std::string gzip(const std::string& content) {
  z_stream z{};
  EXPECT_EQ(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&z, uLong(content.size())), '\0');
  std::string in = content;
  z.next_in = reinterpret_cast<Bytef*>(in.data());
  z.avail_in = uInt(in.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = uInt(out.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - z.avail_out);
  deflateEnd(&z);
  return out;
}

// Of a file that the header has, and of a member that it hasn't and that nobody would read.
TEST(Rpm, WhatExpandsTooFarIsRefused) {
  const std::string expands = "limit exceeded: the package expands to more than allowed";
  RpmMaker maker;
  maker.compress = gzip;
  maker.add({.path = "/a", .content = std::string(1 << 20, '\0')});
  const std::string package = maker.package();
  const std::size_t ratio = (1 << 20) / package.size();
  ASSERT_GT(ratio, 100U);
  EXPECT_EQ(error_of(read(package, all_banks)), "");
  EXPECT_EQ(error_of(read(package, all_banks, {.ratio = 2 * ratio, .free_bytes = 1000})), "");
  EXPECT_EQ(error_of(read(package, all_banks, {.ratio = ratio / 2, .free_bytes = 1000})), expands);
  RpmMaker hidden;
  hidden.compress = gzip;
  hidden.archive = testing::cpio_member({"./link", std::string(1 << 20, '\0'), 0120777}) + testing::cpio_trailer();
  hidden.add({.path = "/link", .content = "", .mode = 0120777});
  EXPECT_EQ(error_of(read(hidden.package(), all_banks)), "");
  EXPECT_EQ(error_of(read(hidden.package(), all_banks, {.ratio = ratio / 2, .free_bytes = 1000})), expands);
}

TEST(Rpm, StreamsInARowAreOneAndOneInAnotherIsNot) {
  RpmMaker maker;
  maker.add({.path = "/a", .content = "content"});
  maker.compress = [](const std::string& archive) { return gzip(archive.substr(0, 50)) + gzip(archive.substr(50)); };
  EXPECT_EQ(error_of(read(maker.package(), all_banks)), "");
  maker.compress = [](const std::string& archive) { return gzip(gzip(archive)); };
  EXPECT_EQ(error_of(read(maker.package(), all_banks)), "malformed: not a cpio member");
  maker.compress = [](const std::string& archive) { return gzip(archive) + "BZh9"; };
  EXPECT_EQ(error_of(read(maker.package(), all_banks)), "malformed: trailing bytes after the compressed data");
  maker.compress = [](const std::string& archive) { return gzip(archive).substr(0, 60); };
  EXPECT_EQ(error_of(read(maker.package(), all_banks)), "malformed: truncated compressed data");
  maker.compress = [](const std::string& archive) {
    std::string out = gzip(archive);
    out[out.size() - 5] = char(out[out.size() - 5] ^ 1);  // of the CRC
    return out;
  };
  EXPECT_EQ(error_of(read(maker.package(), all_banks)), "malformed: damaged compressed data");
}

// Windows of 1 GiB, stated by a few bytes.
TEST(Rpm, ADecompressorGetsNoMoreMemoryThanAllowed) {
  const std::string asks = "limit exceeded: the compressed data asks for more memory than allowed";
  RpmMaker maker;
  maker.add({.path = "/a", .content = "content"});
  maker.compress = [](const std::string& archive) {
    // Frame header without checksum and size, window 2^30; one raw block, the last.
    const std::size_t n = archive.size();
    std::string block{char((n << 3 | 1) & 0xFF), char(n >> 5 & 0xFF), char(n >> 13 & 0xFF)};
    return std::string("\x28\xb5\x2f\xfd\x00\xa0", 6) + block + archive;
  };
  EXPECT_EQ(error_of(read(maker.package(), all_banks)), asks);
  maker.compress = [](const std::string& archive) {
    std::string out(archive.size() + 1000, '\0');
    std::size_t size = 0;
    EXPECT_EQ(
        lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, nullptr, reinterpret_cast<const std::uint8_t*>(archive.data()),
                                archive.size(), reinterpret_cast<std::uint8_t*>(out.data()), &size, out.size()),
        LZMA_OK);
    out.resize(size);
    // The block's header: its size, flags, then sizes if flagged, LZMA2 (0x21), one byte of properties, the window.
    const std::size_t length = (std::size_t(std::uint8_t(out[12])) + 1) * 4, filter = out.find("\x21\x01", 13);
    EXPECT_LT(filter, 12 + length);
    out[filter + 2] = 38;  // 1 GiB
    const std::uint32_t crc = lzma_crc32(reinterpret_cast<const std::uint8_t*>(out.data()) + 12, length - 4, 0);
    for (std::size_t i = 0; i < 4; ++i) out[12 + length - 4 + i] = char(crc >> 8 * i & 0xFF);
    return out;
  };
  EXPECT_EQ(error_of(read(maker.package(), all_banks)), asks);
}

using test::Folder;

Result<IngestReport> take_in(const std::string& store, std::vector<std::string> sources,
                             std::vector<HashAlgorithm> algorithms, unsigned jobs = 2) {
  IngestOptions options;
  options.refdb = store;
  options.product = "Fedora 40 x86_64";
  options.sources = std::move(sources);
  options.jobs = jobs;
  options.algorithms = std::move(algorithms);
  return ingest(options);
}

TEST(Rpm, OfAFolderAreTakenOnceAndSourcesLeftOut) {
  const Folder folder;
  fs::create_directories(folder / "Packages/m");
  fs::copy(data + "made-sha256-zstd.noarch.rpm", folder / "Packages/m/made.rpm");
  fs::copy(data + "made-sha256-zstd.noarch.rpm", folder / "Packages/m/again.rpm");
  std::ofstream(folder / "Packages/m/made.src.rpm") << "not looked at";
  std::ofstream(folder / "Packages/bad.rpm") << "not a package";
  std::set<std::string> digests;
  for (const unsigned jobs : {1U, 2U, 8U}) {
    const std::string store = folder / ("refdb" + std::to_string(jobs));
    const auto report = take_in(store, {folder / "Packages"}, all_banks, jobs);
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_EQ(report->packages, 1U);
    EXPECT_EQ(report->skipped, 1U);
    EXPECT_EQ(report->files, made.size());
    ASSERT_EQ(report->failed.size(), 1U);
    EXPECT_EQ(report->failed[0].source, folder / "Packages/bad.rpm");
    EXPECT_EQ(report->failed[0].reason,
              folder / "Packages/bad.rpm" + ": byte 0: malformed: not an RPM package (RPM V4 format)");
    EXPECT_EQ(take_in(store, {folder / "Packages"}, all_banks)->generation, report->generation);
    digests.insert(read_stats(store)->content_digest);
  }
  EXPECT_EQ(digests.size(), 1U);
}

// From the header first, from the payload when further algorithms are asked for: one package, not two.
TEST(Rpm, OfTheHeaderAloneGetsFurtherDigestsLater) {
  const Folder folder;
  const std::string rpm = data + "made-sha256-zstd.noarch.rpm";
  ASSERT_EQ(take_in(folder / "refdb", {rpm}, sha256)->files, made.size());
  const auto view = open_view(folder / "refdb").value();
  EXPECT_TRUE(view->has_package("Fedora 40 x86_64", "made", "2:1.0-3").value());
  const auto tool = view->references_of_path("Fedora 40 x86_64", "/bin/tool").value();
  ASSERT_EQ(tool.size(), 1U);
  EXPECT_EQ(tool[0].digests.size(), 1U);
  EXPECT_EQ(tool[0].architecture, "noarch");
  ASSERT_EQ(take_in(folder / "refdb", {rpm}, all_banks)->skipped, 0U);
  const auto later = open_view(folder / "refdb").value();
  EXPECT_EQ(later->references_of_path("Fedora 40 x86_64", "/bin/tool").value().at(0).digests.size(), 4U);
  EXPECT_EQ(read_stats(folder / "refdb")->packages, 1U);
  // As if it had been taken in so from the first.
  ASSERT_TRUE(take_in(folder / "whole", {rpm}, all_banks));
  EXPECT_EQ(read_stats(folder / "refdb")->content_digest, read_stats(folder / "whole")->content_digest);
}

}  // namespace
}  // namespace gatehouse::refdb
