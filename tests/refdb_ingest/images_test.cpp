// Images: initial RAM file systems in parts of every compression, container images in layers.
#include <bzlib.h>
#include <gtest/gtest.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"
#include "refdb/store/open.h"
#include "tests/refdb_ingest/rpm_maker.h"

namespace gatehouse::refdb {
namespace {

using testing::cpio_member;
using testing::cpio_trailer;
using testing::CpioEntry;

const std::vector<HashAlgorithm> sha256{HashAlgorithm::sha256};
using Compress = std::function<std::string(const std::string&)>;

unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* bytes_of(const std::string& text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::string gzip(const std::string& in) {
  z_stream z{};
  EXPECT_EQ(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string from = in, out(deflateBound(&z, uLong(in.size())), '\0');
  z.next_in = bytes_of(from);
  z.avail_in = uInt(from.size());
  z.next_out = bytes_of(out);
  z.avail_out = uInt(out.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - z.avail_out);
  deflateEnd(&z);
  return out;
}
std::string bzip2(const std::string& in) {
  std::string from = in, out(in.size() + 1000, '\0');
  auto size = unsigned(out.size());
  EXPECT_EQ(BZ2_bzBuffToBuffCompress(out.data(), &size, from.data(), unsigned(from.size()), 1, 0, 0), BZ_OK);
  out.resize(size);
  return out;
}
std::string xz(const std::string& in) {
  std::string out(in.size() + 1000, '\0');
  std::size_t size = 0;
  EXPECT_EQ(
      lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, nullptr, bytes_of(in), in.size(), bytes_of(out), &size, out.size()),
      LZMA_OK);
  out.resize(size);
  return out;
}
std::string lzma(const std::string& in) {
  lzma_stream z = LZMA_STREAM_INIT;
  lzma_options_lzma options;
  EXPECT_FALSE(lzma_lzma_preset(&options, 0));
  EXPECT_EQ(lzma_alone_encoder(&z, &options), LZMA_OK);
  std::string out(in.size() + 1000, '\0');
  z.next_in = bytes_of(in);
  z.avail_in = in.size();
  z.next_out = bytes_of(out);
  z.avail_out = out.size();
  EXPECT_EQ(lzma_code(&z, LZMA_FINISH), LZMA_STREAM_END);
  out.resize(out.size() - z.avail_out);
  lzma_end(&z);
  return out;
}
std::string zstd(const std::string& in) {
  std::string out(ZSTD_compressBound(in.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), in.data(), in.size(), 1));
  return out;
}
std::string le32(std::uint32_t v) {
  std::string out;
  for (int i = 0; i < 4; ++i) out += char(v >> 8 * i & 0xFF);
  return out;
}
std::string lz4(const std::string& in) {
  std::string block(std::size_t(LZ4_compressBound(int(in.size()))), '\0');
  block.resize(std::size_t(LZ4_compress_default(in.data(), block.data(), int(in.size()), int(block.size()))));
  return le32(0x184C2102) + le32(std::uint32_t(block.size())) + block;
}
const std::map<std::string, Compress> compressions{{"none", [](const std::string& in) { return in; }},
                                                   {"gzip", gzip},
                                                   {"bzip2", bzip2},
                                                   {"xz", xz},
                                                   {"lzma", lzma},
                                                   {"zstd", zstd},
                                                   {"lz4", lz4}};

std::string text_of(const Result<ReferencePackage>& p, const std::string& source) {
  if (!p) {
    EXPECT_EQ(p.error().source, "image");
    return std::string(name(p.error().fault)) + ": " + std::string(p.error().reason);
  }
  EXPECT_EQ(p->source, source);
  EXPECT_TRUE(p->name.empty());
  std::string out;
  for (const ReferenceFile& f : p->files) {
    out += f.path + "=";
    for (const char c : std::string("0123456789abcdefghijklmnopqrstuvwxyz"))
      if (f.digests.at(0).second == digest_of(HashAlgorithm::sha256, as_bytes(std::string(1, c)))) out += c;
    if (f.digests.at(0).second == digest_of(HashAlgorithm::sha256, {})) out += "empty";
    out += " ";
  }
  return out;
}
std::string initramfs(const std::string& image, const IngestLimits& limits = {}) {
  return text_of(read_initramfs(MemoryInput(as_bytes(image)), "image", sha256, limits), "initramfs:image");
}
std::string archive(const std::vector<CpioEntry>& members) {
  std::string out;
  for (const CpioEntry& m : members) out += cpio_member(m);
  return out + cpio_trailer();
}

TEST(Initramfs, OfEachCompressionIsRead) {
  const std::string image = archive({{"usr", "", 040755},
                                     {"usr/bin/a", "1"},
                                     {"./usr/bin/b", "2"},
                                     {"init", "bin/a", 0120777},
                                     {"dev/console", "", 020600}});
  for (const auto& [name, compress] : compressions)
    EXPECT_EQ(initramfs(compress(image)), "/usr/bin/a=1 /usr/bin/b=2 ") << name;
}

// As distributions make them: microcode first and as it is, then the rest, padded between and behind.
TEST(Initramfs, PartsOfAnyCompressionFollowEachOther) {
  const std::string early = archive({{"kernel/x86/microcode/GenuineIntel.bin", "m"}}),
                    late = archive({{"usr/bin/b", "2"}});
  for (const auto& [first, a] : compressions)
    for (const auto& [second, b] : compressions) {
      if (first == "lz4") continue;  // its end is that of the image
      for (const std::size_t zeros : {0U, 4U, 512U, 10000U}) {
        const std::string padding(zeros, '\0');
        EXPECT_EQ(initramfs(a(early + padding) + padding + b(late) + padding),
                  "/kernel/x86/microcode/GenuineIntel.bin=m /usr/bin/b=2 ")
            << first << ' ' << second << ' ' << zeros;
      }
    }
  EXPECT_EQ(initramfs(gzip(early + std::string(100, '\0') + late)),
            "/kernel/x86/microcode/GenuineIntel.bin=m /usr/bin/b=2 ");
  EXPECT_EQ(initramfs(lz4(early) + le32(0) + std::string(12, '\0') + gzip(late)),
            "/kernel/x86/microcode/GenuineIntel.bin=m /usr/bin/b=2 ");
  // One archive in two members, as pigz and its like write it.
  EXPECT_EQ(initramfs(gzip(early.substr(0, 60)) + gzip(early.substr(60)) + zstd(late)),
            "/kernel/x86/microcode/GenuineIntel.bin=m /usr/bin/b=2 ");
}

TEST(Initramfs, TheLastOfAPathCounts) {
  EXPECT_EQ(initramfs(archive({{"a", "1"}, {"b", "1"}}) + archive({{"a", "2"}, {"b", "a", 0120777}})), "/a=2 ");
  EXPECT_EQ(initramfs(archive({{"a", "1"}, {"a", "", 040755}})), "/a=1 ");
}

TEST(Initramfs, NamesOfOneFileHaveItsContent) {
  EXPECT_EQ(initramfs(archive({{"a", "", 0100644, 7, 3}, {"b", "", 0100644, 7, 3}, {"c", "1", 0100644, 7, 3}})),
            "/a=1 /b=1 /c=1 ");
  EXPECT_EQ(initramfs(archive({{"a", "1", 0100644, 7, 2}, {"b", "", 0100644, 7, 2}})), "/a=1 /b=1 ");
  EXPECT_EQ(initramfs(archive({{"a", "", 0100644, 7, 2}, {"b", "", 0100644, 7, 2}})), "/a=empty /b=empty ");
  // An inode of another archive is another file.
  EXPECT_EQ(initramfs(archive({{"a", "1", 0100644, 7, 2}}) + archive({{"b", "", 0100644, 7, 2}})), "/a=1 /b=empty ");
}

TEST(Initramfs, WhatIsBrokenIsRefused) {
  const std::string good = archive({{"a", "1"}});
  EXPECT_EQ(initramfs(""), "malformed: no cpio archive in the image");
  EXPECT_EQ(initramfs(std::string(5000, '\0')), "malformed: no cpio archive in the image");
  EXPECT_EQ(initramfs("hello"), "malformed: neither a cpio archive nor a known compression");
  EXPECT_EQ(initramfs(good + "hello"), "malformed: neither a cpio archive nor a known compression");
  EXPECT_EQ(initramfs(gzip("hello")), "malformed: no cpio archive in the compressed data");
  EXPECT_EQ(initramfs(gzip(gzip(good))), "malformed: no cpio archive in the compressed data");
  EXPECT_EQ(initramfs(gzip("")), "malformed: no cpio archive in the image");
  EXPECT_EQ(initramfs(archive({{"../../etc/passwd", "1"}})), "malformed: a member with an unusable path");
  EXPECT_EQ(initramfs(testing::stripped_member(0, "1")), "malformed: not a cpio member");
  EXPECT_EQ(initramfs(le32(0x184C2102) + le32(0x7FFFFFFF)), "malformed: damaged compressed data");
  EXPECT_EQ(initramfs(lz4(good).substr(0, 20)), "malformed: truncated compressed data");
  for (const auto& [name, compress] : compressions) {
    const std::string whole = compress(good);
    for (std::size_t n = 0; n < whole.size(); ++n)
      EXPECT_TRUE(initramfs(whole.substr(0, n)).starts_with("malformed: ")) << name << ' ' << n;
  }
}

TEST(Initramfs, LimitsHold) {
  const std::string two = archive({{"a", "1"}, {"b", std::string(100, 'x')}});
  EXPECT_EQ(initramfs(two, {.file_bytes = 100}), "/a=1 /b= ");
  EXPECT_EQ(initramfs(two, {.file_bytes = 99}), "limit exceeded: the image expands to more than allowed");
  EXPECT_EQ(initramfs(two, {.files = 1}), "limit exceeded: more files than allowed");
  EXPECT_EQ(initramfs(two, {.path_bytes = 3}), "limit exceeded: longer paths than allowed");
  // All parts together.
  const std::string part = gzip(archive({{"z", std::string(100000, '\0'), 0120777}}));
  EXPECT_EQ(initramfs(part + archive({{"a", "1"}}), {.ratio = 100, .free_bytes = 150000}), "/a=1 ");
  EXPECT_EQ(initramfs(part + archive({{"a", "1"}}) + part, {.ratio = 100, .free_bytes = 150000}),
            "limit exceeded: the package expands to more than allowed");
  std::string many;
  for (int i = 0; i < 5000; ++i) many += archive({});
  EXPECT_EQ(initramfs(many), "limit exceeded: more archives than allowed");
}

// A member of a tar archive (POSIX ustar).
std::string tar_member(const std::string& name, const std::string& content, char type = '0',
                       const std::string& link = "") {
  std::string head(512, '\0');
  const auto put = [&](std::size_t at, const std::string& text) { head.replace(at, text.size(), text); };
  const auto octal = [&](std::size_t at, std::size_t digits, std::size_t value) {
    std::string text(digits, '0');
    for (std::size_t i = digits; i-- > 0; value /= 8) text[i] = char('0' + value % 8);
    put(at, text);
  };
  put(0, name);
  octal(100, 7, 0644), octal(108, 7, 0), octal(116, 7, 0), octal(124, 11, content.size()), octal(136, 11, 0);
  put(148, "        ");
  head[156] = type;
  put(157, link);
  put(257, std::string("ustar\0"
                       "00",
                       8));
  unsigned sum = 0;
  for (const char c : head) sum += static_cast<unsigned char>(c);
  octal(148, 6, sum);
  head[154] = '\0';
  std::string out = head + content;
  out.resize((out.size() + 511) / 512 * 512);
  return out;
}
std::string tar(const std::string& members) { return members + std::string(1024, '\0'); }
std::string hex_of(const std::string& content) { return digest_of(HashAlgorithm::sha256, as_bytes(content)).hex(); }
std::string descriptor(const std::string& content, const std::string& more = "") {
  return R"({"mediaType":"x","digest":"sha256:)" + hex_of(content) + R"(","size":)" + std::to_string(content.size()) +
         more + "}";
}
std::string blob(const std::string& content) { return tar_member("blobs/sha256/" + hex_of(content), content); }

// Layers from the lowest, as an image layout; documents before, between and behind them.
std::string layout(const std::vector<std::string>& layers) {
  std::string descriptors, blobs;
  for (const std::string& layer : layers) {
    descriptors += (descriptors.empty() ? "" : ",") + descriptor(layer);
    if (blobs.find(hex_of(layer)) == blobs.npos) blobs += blob(layer);
  }
  const std::string manifest = R"({"schemaVersion":2,"layers":[)" + descriptors + "]}";
  const std::string index = R"({"schemaVersion":2,"manifests":[)" + descriptor(manifest) + "]}";
  return tar(tar_member("oci-layout", R"({"imageLayoutVersion":"1.0.0"})") + blobs + blob(manifest) +
             tar_member("index.json", index));
}
// The same as "docker save" writes it.
std::string save(const std::vector<std::string>& layers) {
  std::string names, members;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string name = std::to_string(i) + "/layer.tar";
    names += (names.empty() ? "\"" : ",\"") + name + "\"";
    members += tar_member(std::to_string(i) + "/", "", '5') + tar_member(name, layers[i]);
  }
  return tar(members +
             tar_member("manifest.json", R"([{"Config":"c.json","RepoTags":["x:1"],"Layers":[)" + names + "]}]"));
}
std::string oci(const std::string& archive, const IngestLimits& limits = {}) {
  return text_of(read_oci(MemoryInput(as_bytes(archive)), "image", sha256, limits), "oci:image");
}
// The same from both forms.
std::string image(const std::vector<std::string>& layers) {
  const std::string a = oci(layout(layers)), b = oci(save(layers));
  EXPECT_EQ(a, b);
  return a;
}

TEST(Oci, LayersOfEachCompressionAreRead) {
  const std::string layer = tar(tar_member("usr/", "", '5') + tar_member("usr/bin/a", "1") +
                                tar_member("usr/bin/b", "", '2', "a") + tar_member("dev/null", "", '3'));
  for (const auto& [name, compress] : compressions) EXPECT_EQ(image({compress(layer)}), "/usr/bin/a=1 ") << name;
}

TEST(Oci, LayersLieOverEachOther) {
  const std::string base = tar(tar_member("a", "1") + tar_member("d/", "", '5') + tar_member("d/x", "2") +
                               tar_member("d/y", "3") + tar_member("d/e/z", "4") + tar_member("dd", "5"));
  const std::string all = "/a=1 /d/e/z=4 /d/x=2 /d/y=3 /dd=5 ";
  EXPECT_EQ(image({base}), all);
  EXPECT_EQ(image({base, tar("")}), all);
  EXPECT_EQ(image({base, base}), all);
  EXPECT_EQ(image({base, tar(tar_member("a", "9"))}), "/a=9 /d/e/z=4 /d/x=2 /d/y=3 /dd=5 ");
  EXPECT_EQ(image({tar(tar_member("a", "9")), base}), all);
  // Whiteouts: of a file, of a folder with all in it, of all in a folder but what the layer itself has, of nothing.
  EXPECT_EQ(image({base, tar(tar_member(".wh.a", ""))}), "/d/e/z=4 /d/x=2 /d/y=3 /dd=5 ");
  EXPECT_EQ(image({base, tar(tar_member("d/.wh.x", ""))}), "/a=1 /d/e/z=4 /d/y=3 /dd=5 ");
  EXPECT_EQ(image({base, tar(tar_member(".wh.d", ""))}), "/a=1 /dd=5 ");
  EXPECT_EQ(image({base, tar(tar_member("d/x", "9") + tar_member("d/.wh..wh..opq", ""))}), "/a=1 /d/x=9 /dd=5 ");
  EXPECT_EQ(image({base, tar(tar_member(".wh..wh..opq", "") + tar_member("b", "9"))}), "/b=9 ");
  EXPECT_EQ(image({base, tar(tar_member(".wh.nothing", ""))}), all);
  EXPECT_EQ(image({base, tar(tar_member(".wh..wh.plnk", ""))}), all);
  // One of the layer itself stays, whichever comes first.
  EXPECT_EQ(image({base, tar(tar_member(".wh.a", "") + tar_member("a", "9"))}), "/a=9 /d/e/z=4 /d/x=2 /d/y=3 /dd=5 ");
  EXPECT_EQ(image({base, tar(tar_member("a", "9") + tar_member(".wh.a", ""))}), "/a=9 /d/e/z=4 /d/x=2 /d/y=3 /dd=5 ");
  // Another kind in its place.
  EXPECT_EQ(image({base, tar(tar_member("d", "9"))}), "/a=1 /d=9 /dd=5 ");
  EXPECT_EQ(image({base, tar(tar_member("d", "", '2', "dd"))}), "/a=1 /dd=5 ");
  EXPECT_EQ(image({base, tar(tar_member("a/", "", '5') + tar_member("a/b", "9"))}),
            "/a/b=9 /d/e/z=4 /d/x=2 /d/y=3 /dd=5 ");
  EXPECT_EQ(image({base, tar(tar_member("d/", "", '5'))}), all);
}

TEST(Oci, HardLinksMayReachIntoALayerBelow) {
  const std::string base = tar(tar_member("a", "1"));
  EXPECT_EQ(image({tar(tar_member("a", "1") + tar_member("b", "", '1', "a"))}), "/a=1 /b=1 ");
  EXPECT_EQ(image({base, tar(tar_member("b", "", '1', "a") + tar_member(".wh.a", ""))}), "/b=1 ");
  EXPECT_EQ(image({base, tar(tar_member("a", "2") + tar_member("b", "", '1', "a"))}), "/a=2 /b=2 ");
  EXPECT_EQ(image({base, tar(tar_member("b", "", '1', "nothing"))}),
            "malformed: a hard link to a file that isn't there");
  EXPECT_EQ(image({tar(tar_member("b", "", '1', "c") + tar_member("c", "", '1', "b"))}),
            "malformed: a hard link to a file that isn't there");
}

TEST(Oci, OfAnIndexTheOneImageIsTaken) {
  const std::string layer = tar(tar_member("a", "1"));
  const std::string manifest = R"({"layers":[)" + descriptor(layer) + "]}";
  const std::string attestation = R"({"layers":[]})";
  const std::string inner =
      R"({"manifests":[)" +
      descriptor(attestation, R"(,"annotations":{"vnd.docker.reference.type":"attestation-manifest"})") + "," +
      descriptor(manifest) + "]}";
  const auto with = [&](const std::string& index) {
    return oci(tar(tar_member("index.json", index) + blob(inner) + blob(manifest) + blob(attestation) + blob(layer)));
  };
  EXPECT_EQ(with(R"({"manifests":[)" + descriptor(inner) + "]}"), "/a=1 ");
  EXPECT_EQ(with(R"({"manifests":[)" + descriptor(inner) + "," + descriptor(manifest) + "]}"),
            "malformed: more than one image: save the one that is wanted alone");
  EXPECT_EQ(with(R"({"manifests":[]})"), "malformed: no image in the index");
  EXPECT_EQ(with("{}"), "malformed: neither an index nor a manifest of an image");
  EXPECT_EQ(with("[]"), "malformed: neither an index nor a manifest of an image");
  EXPECT_EQ(with("{"), "malformed: a document of the image isn't JSON");
  EXPECT_EQ(with(R"({"manifests":[{}]})"), "malformed: a descriptor without a digest");
  EXPECT_EQ(with(R"({"manifests":[{"digest":"md5:abcd"}]})"),
            "malformed: a digest of another algorithm than sha256 and sha512");
  EXPECT_EQ(with(R"({"manifests":[{"digest":"sha256:../../etc/passwd"}]})"),
            "malformed: a digest that isn't one of its algorithm");
  EXPECT_EQ(with(R"({"manifests":[{"digest":"sha256:)" + std::string(64, '0') + R"("}]})"),
            "malformed: a part that isn't in the archive");
  EXPECT_EQ(with(std::string(40, '[')), "malformed: a document of the image isn't JSON");
}

TEST(Oci, SavedLayersMayBeLinksToEachOther) {
  const std::string layer = tar(tar_member("a", "1"));
  const std::string manifest = R"([{"Layers":["1/layer.tar","2/layer.tar"]}])";
  EXPECT_EQ(oci(tar(tar_member("1/layer.tar", layer) + tar_member("2/layer.tar", "", '2', "../1/layer.tar") +
                    tar_member("manifest.json", manifest))),
            "/a=1 ");
  EXPECT_EQ(oci(tar(tar_member("1/layer.tar", layer) + tar_member("2/layer.tar", "", '2', "../../etc/passwd") +
                    tar_member("manifest.json", manifest))),
            "malformed: a part that isn't in the archive");
  EXPECT_EQ(oci(tar(tar_member("1/layer.tar", layer) + tar_member("2/layer.tar", "", '2', "2/layer.tar") +
                    tar_member("manifest.json", manifest))),
            "malformed: a part that isn't in the archive");
}

TEST(Oci, WhatIsBrokenIsRefused) {
  EXPECT_EQ(oci("hello"), "malformed: can't read the tar archive");
  EXPECT_EQ(oci(tar(tar_member("a", "1"))), "malformed: no image archive: neither index.json nor manifest.json");
  EXPECT_EQ(oci(gzip(save({tar("")}))),
            "malformed: can't read the tar archive");  // one layer of compression, at the layers
  EXPECT_EQ(oci(tar(tar_member("manifest.json", "[]"))), "malformed: no image in manifest.json");
  EXPECT_EQ(oci(tar(tar_member("manifest.json", "[{},{}]"))),
            "malformed: more than one image: save the one that is wanted alone");
  EXPECT_EQ(oci(tar(tar_member("manifest.json", R"([{"Layers":[7]}])"))), "malformed: no layers in manifest.json");
  EXPECT_EQ(oci(tar(tar_member("manifest.json", "[]") + tar_member("./manifest.json", "[]"))),
            "malformed: a member twice");
  EXPECT_EQ(image({tar(tar_member("../../etc/passwd", "1"))}), "malformed: a member with an unusable path");
  EXPECT_EQ(image({tar(tar_member("a/.wh.", ""))}), "malformed: a whiteout of nothing");
  EXPECT_EQ(image({"hello"}), "malformed: can't read the tar archive");
  EXPECT_EQ(image({gzip(gzip(tar(tar_member("a", "1"))))}), "malformed: can't read the tar archive");
  EXPECT_EQ(image({gzip(tar(tar_member("a", "1"))).substr(0, 60)}), "malformed: truncated compressed data");
  // A byte of a layer changed.
  std::string whole = layout({tar(tar_member("usr/bin/a", "1"))});
  const std::size_t at = whole.find("usr/bin/a");
  ASSERT_NE(at, whole.npos);
  whole[at] = 'x';
  EXPECT_EQ(oci(whole), "malformed: a part isn't the one of its digest");
}

TEST(Oci, EveryTruncationIsRefused) {
  for (const std::string& whole : {layout({gzip(tar(tar_member("a", "1")))}), save({tar(tar_member("a", "1"))})}) {
    // The two blocks of zeros at the end say nothing.
    for (std::size_t n = 0; n + 1024 < whole.size(); n += 7) {
      const std::string said = oci(whole.substr(0, n));
      EXPECT_TRUE(said.starts_with("malformed: ")) << n << said;
    }
  }
}

TEST(Oci, LimitsHold) {
  const std::string layer = tar(tar_member("a", "1") + tar_member("b", std::string(100, 'x')));
  EXPECT_EQ(oci(save({layer}), {.file_bytes = 100}), "/a=1 /b= ");
  EXPECT_EQ(oci(save({layer}), {.file_bytes = 99}), "limit exceeded: the image expands to more than allowed");
  EXPECT_EQ(oci(save({layer}), {.files = 1}), "limit exceeded: more files than allowed");
  EXPECT_EQ(oci(save({layer, tar(tar_member("c", "1"))}), {.files = 2}), "limit exceeded: more files than allowed");
  EXPECT_EQ(oci(save({layer, tar(tar_member(".wh.b", "") + tar_member("c", "1"))}), {.files = 2}), "/a=1 /c=1 ");
  EXPECT_EQ(oci(save({layer}), {.path_bytes = 3}), "limit exceeded: longer paths than allowed");
  const std::string bomb = gzip(tar(tar_member("z", std::string(200000, '\0'))));
  EXPECT_EQ(oci(save({bomb}), {.ratio = 1000, .free_bytes = 1000}), "/z= ");
  EXPECT_EQ(oci(save({bomb}), {.ratio = 10, .free_bytes = 1000}),
            "limit exceeded: the package expands to more than allowed");
  std::string names;
  for (int i = 0; i < 1025; ++i) names += std::string(i == 0 ? "" : ",") + "\"l\"";
  EXPECT_EQ(oci(tar(tar_member("l", tar("")) + tar_member("manifest.json", R"([{"Layers":[)" + names + "]}]"))),
            "limit exceeded: more layers than allowed");
}

// GNU's sparse members: one extent, at the end, of nothing.
std::string sparse_member(std::uint64_t size) {
  std::string member = tar_member("hole", "", 'S');
  const auto octal = [&](std::size_t at, std::uint64_t value) {
    std::string text(11, '0');
    for (std::size_t i = 11; i-- > 0; value /= 8) text[i] = char('0' + value % 8);
    member.replace(at, 12, text + '\0');
  };
  member.replace(257, 8, "ustar  \0", 8);
  octal(386, size), octal(398, 0);
  octal(483, size);
  unsigned sum = 0;
  member.replace(148, 8, "        ");
  for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(member[i]);
  std::string text(6, '0');
  for (std::size_t i = 6; i-- > 0; sum /= 8) text[i] = char('0' + sum % 8);
  member.replace(148, 7, text + '\0');
  return member;
}

TEST(Oci, HolesOfSparseFilesCount) {
  const std::string small = save({tar(sparse_member(1000000))});
  const auto p = read_oci(MemoryInput(as_bytes(small)), "image", sha256);
  ASSERT_TRUE(p) << p.error().text();
  EXPECT_EQ(p->files.at(0).digests.at(0).second,
            digest_of(HashAlgorithm::sha256, as_bytes(std::string(1000000, '\0'))));
  const std::string member = sparse_member(std::uint64_t(4) << 30);
  EXPECT_EQ(oci(save({tar(member)}), {.file_bytes = 1 << 20}),
            "limit exceeded: the image expands to more than allowed");
  EXPECT_EQ(oci(save({tar(member)}), {.ratio = 10, .free_bytes = 1 << 20}),
            "limit exceeded: the image expands to more than allowed");
}

TEST(Images, AreSourcesWithTheirNames) {
  std::string pattern = (std::filesystem::temp_directory_path() / "gatehouse-images-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const std::string folder = pattern;
  std::ofstream(folder + "/initrd", std::ios::binary) << archive({{"usr/bin/early", "1"}});
  std::ofstream(folder + "/image.tar", std::ios::binary) << layout({tar(tar_member("usr/bin/contained", "2"))});
  IngestOptions options;
  options.refdb = folder + "/refdb";
  options.product = "p";
  options.sources = {"initramfs:" + folder + "/initrd", "oci:" + folder + "/image.tar", "oci:" + folder + "/initrd"};
  const auto report = ingest(options);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->files, 2U);
  ASSERT_EQ(report->failed.size(), 1U);
  EXPECT_EQ(report->failed[0].source, "oci:" + folder + "/initrd");
  const auto view = open_view(options.refdb).value();
  EXPECT_EQ(view->references_of_path("p", "/usr/bin/early").value().at(0).source, "initramfs:" + folder + "/initrd");
  EXPECT_EQ(view->references_of_path("p", "/bin/contained").value().at(0).source, "oci:" + folder + "/image.tar");
  EXPECT_EQ(view->references_of_path("p", "/bin/contained").value().at(0).digests.size(), 4U);
  EXPECT_EQ(ingest(options)->skipped, 2U);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
}

}  // namespace
}  // namespace gatehouse::refdb
