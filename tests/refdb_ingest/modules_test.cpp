// Kernel modules: packed and signed ones count in each form in which a kernel measures them.
#include <gtest/gtest.h>
#include <lzma.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <map>
#include <set>

#include "refdb/ingest/file_hasher.h"
#include "refdb/store/open.h"
#include "tests/folder.h"
#include "tests/refdb_ingest/rpm_maker.h"

namespace gatehouse::refdb {
namespace {

using testing::RpmMaker;
using namespace std::string_literals;

const std::vector<HashAlgorithm> sha256{HashAlgorithm::sha256};

std::string gzip(const std::string& in) {
  z_stream z{};
  EXPECT_EQ(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string from = in, out(deflateBound(&z, uLong(in.size())), '\0');
  z.next_in = reinterpret_cast<unsigned char*>(from.data());
  z.avail_in = uInt(from.size());
  z.next_out = reinterpret_cast<unsigned char*>(out.data());
  z.avail_out = uInt(out.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - z.avail_out);
  deflateEnd(&z);
  return out;
}
std::string xz(const std::string& in) {
  std::string out(in.size() + 1000, '\0');
  std::size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, nullptr, reinterpret_cast<const unsigned char*>(in.data()),
                                    in.size(), reinterpret_cast<unsigned char*>(out.data()), &size, out.size()),
            LZMA_OK);
  out.resize(size);
  return out;
}
std::string zstd(const std::string& in) {
  std::string out(ZSTD_compressBound(in.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), in.data(), in.size(), 1));
  return out;
}

const std::string magic = "~Module signature appended~\n";
// The trailer that says how long the signature in front of it is.
std::string trailer(std::uint32_t size, const std::string& head = std::string("\0\0\2\0\0\0\0\0", 8)) {
  std::string out = head;
  for (int shift = 24; shift >= 0; shift -= 8) out += char(size >> shift & 0xFF);
  return out + magic;
}
std::string sign(const std::string& module, std::size_t size = 700) {
  return module + std::string(size, 's') + trailer(std::uint32_t(size));
}

Digest digest(const std::string& content) { return digest_of(HashAlgorithm::sha256, as_bytes(content)); }

// The names of a file's contents, by what they are the digests of.
std::string forms(const std::string& path, const std::string& content, const std::map<std::string, std::string>& known,
                  const IngestLimits& limits = {}, std::size_t piece = 1000, FileHasher* hasher = nullptr) {
  FileHasher own(sha256, limits);
  FileHasher& h = hasher != nullptr ? *hasher : own;
  h.start(path);
  for (std::size_t at = 0; at < content.size(); at += piece)
    h.update(as_bytes(content).subspan(at, std::min(piece, content.size() - at)));
  ReferenceFile file;
  h.finish(file);
  EXPECT_EQ(file.size, content.size());
  EXPECT_EQ(file.digests.at(0).second, digest(content));
  std::string out = "itself";
  for (const FileContent& c : file.further)
    for (const auto& [name, of] : known)
      if (c.digests.at(0).second == digest(of) && c.size == of.size()) out += " " + name;
  EXPECT_EQ(std::size_t(std::ranges::count(out, ' ')), file.further.size());
  return out;
}

// Long enough that the end isn't in the first piece that is held back.
const std::string module_content =
    "\x7f"
    "ELF" +
    std::string(700'000, 'm');

TEST(Modules, CountPackedAndUnpackedSignedAndNot) {
  const std::string& plain = module_content;
  const std::string with = sign(plain);
  const std::map<std::string, std::string> known{{"plain", plain}, {"signed", with}};
  for (const std::size_t piece : {std::size_t(4096), std::size_t(1) << 20}) {
    EXPECT_EQ(forms("/lib/modules/6/x.ko", plain, known, {}, piece), "itself");
    EXPECT_EQ(forms("/lib/modules/6/x.ko", with, known, {}, piece), "itself plain");
    EXPECT_EQ(forms("/lib/modules/6/x.ko.xz", xz(plain), known, {}, piece), "itself plain");
    EXPECT_EQ(forms("/lib/modules/6/x.ko.xz", xz(with), known, {}, piece), "itself signed plain");
    EXPECT_EQ(forms("/lib/modules/6/x.ko.zst", zstd(with), known, {}, piece), "itself signed plain");
    EXPECT_EQ(forms("/lib/modules/6/x.ko.gz", gzip(with), known, {}, piece), "itself signed plain");
  }
  EXPECT_EQ(forms("/lib/modules/6/x.ko", sign("short", 1), {{"short", "short"}}, {}, 1), "itself short");
  // Nothing but modules.
  EXPECT_EQ(forms("/usr/share/doc/x.xz", xz(with), known), "itself");
  EXPECT_EQ(forms("/usr/bin/x", with, known), "itself");
  // A name promises nothing.
  EXPECT_EQ(forms("/x.ko.xz", plain, known), "itself");
  EXPECT_EQ(forms("/x.ko.gz", xz(plain), known), "itself");
  EXPECT_EQ(forms("/x.ko.xz", "", known), "itself");
}

TEST(Modules, WhatAKernelTakesForNoSignatureIsPartOfTheModule) {
  const std::map<std::string, std::string> known{{"module", "module"}};
  const std::string pkcs7("\0\0\2\0\0\0\0\0", 8);
  EXPECT_EQ(forms("/x.ko", "modulesig" + trailer(3), known), "itself module");
  EXPECT_EQ(forms("/x.ko", "modulesig" + trailer(0), known), "itself");
  EXPECT_EQ(forms("/x.ko", "modulesig" + trailer(9), known), "itself");           // nothing would be left
  EXPECT_EQ(forms("/x.ko", "modulesig" + trailer(0xFFFFFFFF), known), "itself");  // longer than the file
  EXPECT_EQ(forms("/x.ko", "modulesig" + trailer(3) + "\n", known), "itself");
  EXPECT_EQ(forms("/x.ko", magic, known), "itself");
  for (std::size_t i = 0; i < pkcs7.size(); ++i) {
    std::string head = pkcs7;
    head[i] ^= 1;
    EXPECT_EQ(forms("/x.ko", "modulesig" + trailer(3, head), known), "itself") << i;
  }
  // Signatures have a bound; kernels' are of about 700 bytes.
  const std::string large = "module" + std::string(max_module_signature_bytes, 's');
  EXPECT_EQ(forms("/x.ko", large + trailer(max_module_signature_bytes), known), "itself module");
  EXPECT_EQ(forms("/x.ko", large + "s" + trailer(max_module_signature_bytes + 1), known), "itself");
}

TEST(Modules, ThatCantBeUnpackedCountAsTheyAreWithAWarning) {
  const std::map<std::string, std::string> known{{"plain", module_content}};
  const auto warned = [&](const std::string& content, const IngestLimits& limits = {}) {
    FileHasher hasher(sha256, limits);
    EXPECT_EQ(forms("/x.ko.xz", content, known, limits, 1000, &hasher), "itself");
    const auto warnings = hasher.take_warnings();
    return warnings.size() == 1 ? warnings[0] : std::to_string(warnings.size());
  };
  const std::string packed = xz(module_content);
  const std::string as_it_is = "/x.ko.xz: taken as it is, not unpacked: ";
  EXPECT_EQ(warned(packed.substr(0, packed.size() - 1)), as_it_is + "truncated compressed data");
  EXPECT_EQ(warned(packed + "x"), as_it_is + "trailing bytes after the compressed data");
  std::string damaged = packed;
  damaged[damaged.size() / 2] ^= 1;
  EXPECT_EQ(warned(damaged), as_it_is + "damaged compressed data");
  EXPECT_EQ(warned(packed, {.module_bytes = module_content.size() - 1}), as_it_is + "a module larger than allowed");
  EXPECT_EQ(warned(packed, {.module_bytes = packed.size() - 1}), as_it_is + "a module larger than allowed");
  EXPECT_EQ(forms("/x.ko.xz", packed, known, {.module_bytes = module_content.size()}), "itself plain");
  // All modules of a package together may expand to no more than a package may.
  const IngestLimits limits{.ratio = 10, .free_bytes = module_content.size()};
  FileHasher hasher(sha256, limits);
  EXPECT_EQ(forms("/a.ko.xz", packed, known, limits, 1000, &hasher), "itself plain");
  for (int i = 0; i < 12; ++i) EXPECT_EQ(forms("/b.ko.xz", packed, known, limits, 1000, &hasher), "itself");
  const auto warnings = hasher.take_warnings();
  ASSERT_EQ(warnings.size(), 11U);
  EXPECT_EQ(warnings[0], "/b.ko.xz: taken as it is, not unpacked: the package expands to more than allowed");
  EXPECT_EQ(warnings[10], "2 more modules taken as they are, not unpacked");
  EXPECT_TRUE(hasher.take_warnings().empty());
}

// What an endpoint may measure is found in each form, under the one path; a file is one file.
TEST(Modules, AreReferencesInEachForm) {
  const test::Folder folder;
  const std::string with = sign(module_content), packed = xz(with);
  RpmMaker maker;
  maker.add({.path = "/usr/lib/modules/6/kernel/a.ko.xz", .content = packed});
  maker.add({.path = "/usr/lib/modules/6/modules.dep", .content = "dep"});
  folder.write("kernel.rpm", maker.package());
  folder.write("tree/usr/lib/modules/6/b.ko", with);
  folder.write("tree/usr/lib/modules/6/c.ko.gz", gzip(with));
  folder.write("tree/usr/lib/modules/6/crash.ko.gz", gzip(with));
  folder.write("tree/usr/lib/modules/6/bad.ko.zst", zstd(with).substr(0, zstd(with).size() - 1));
  IngestOptions options;
  options.refdb = folder / "refdb";
  options.product = "p";
  // The header's digests alone would do, but for the module's.
  options.algorithms = sha256;
  options.sources = {folder / "kernel.rpm", "root:" + folder / "tree"};
  // A module that its decoder doesn't survive is taken as it is, and so is the tree.
  options.in_decoder = [](const std::string& name) {
    if (name.ends_with("crash.ko.gz")) ::_exit(9);
  };
  const auto report = ingest(options);
  ASSERT_TRUE(report) << report.error().text();
  ASSERT_TRUE(report->failed.empty()) << report->failed[0].reason;
  EXPECT_EQ(report->files, 6U);
  EXPECT_EQ(read_stats(options.refdb)->files, 6U);
  const std::string warning = "root:" + folder / "tree" + ": " + folder / "tree" + "/usr/lib/modules/6/";
  EXPECT_EQ((std::set<std::string>(report->warnings.begin(), report->warnings.end())),
            (std::set{warning + "bad.ko.zst: taken as it is, not unpacked: truncated compressed data",
                      warning + "crash.ko.gz: taken as it is, not unpacked: the decoder died"}));
  const auto view = open_view(options.refdb).value();
  const auto paths = [&](const std::string& content) {
    std::set<std::string> out;
    const auto found = view->references_of_digest("p", digest(content));
    for (const Reference& r : found.value()) out.insert(r.path);
    return out;
  };
  const std::string a = "/usr/lib/modules/6/kernel/a.ko.xz", b = "/usr/lib/modules/6/b.ko",
                    c = "/usr/lib/modules/6/c.ko.gz";
  EXPECT_EQ(paths(packed), std::set{a});
  EXPECT_EQ(paths(with), (std::set{a, b, c}));
  EXPECT_EQ(paths(module_content), (std::set{a, b, c}));
  EXPECT_EQ(paths(gzip(with)), (std::set{c, "/usr/lib/modules/6/crash.ko.gz"s}));
  EXPECT_EQ(view->references_of_path("p", a).value().size(), 3U);
}

}  // namespace
}  // namespace gatehouse::refdb
