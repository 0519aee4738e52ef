// The worked examples of spec part 2 §11.3 and §7.4, byte for byte.
#include "tests/wire_ima/support.h"

namespace gatehouse::testing {
namespace {

// Eight entries, one for each template that current kernels write by themselves.
constexpr std::string_view list_hex =
    "0a000000a15627d3965fd43c3f81728dddfec04b3e1cdbf106000000696d612d6e673f00000028000000736861323536"
    "3a0054fc8ea625e9c63fc993e0ff2e2d4b06ac6cabf9143a1edf32e68bb6e7ddf31f0f000000626f6f745f6167677265"
    "67617465000a000000e64646899279323806031c9fe31902294d5acb6206000000696d612d6e67450000002800000073"
    "68613235363a00a5179bba8fab834fc386a17478842d04b2742d653c9addae998e007c242d02d4150000002f7573722f"
    "62696e2f68656c6c6f5f776f726c64000a0000006ca880023de66b02903ae1b9c546ed3b2bed695c07000000696d612d"
    "7369678f000000280000007368613235363a00a5179bba8fab834fc386a17478842d04b2742d653c9addae998e007c24"
    "2d02d40b0000002f7573722f62696e2f6600500000000302047523dd35004730450220504438a3c670b37901a551faae"
    "f690ed47bcbecdddc339b69c07e5e26e763a4e022100d5964174c6d4c4b86901dad3e099f04d84c4b5c94f654e8ec3a3"
    "cc77f452371b0a0000003b91a8057e57f8012658a32d99d6dda187d3883607000000696d612d73696743000000280000"
    "007368613235363a00a5179bba8fab834fc386a17478842d04b2742d653c9addae998e007c242d02d40f0000002f7573"
    "722f62696e2f6e6f73696700000000000a000000000000000000000000000000000000000000000006000000696d612d"
    "6e673b000000280000007368613235363a00000000000000000000000000000000000000000000000000000000000000"
    "00000b0000002f7661722f6c6f672f78000a000000020bf3ba01cd1d2223fe57e955f21f45203d971c07000000696d61"
    "2d62756653000000280000007368613235363a00ace2599b3a2417133544620474ff9d3ba8354bbf7487afde17de9949"
    "a5311c670e0000006b657865632d636d646c696e650011000000726f6f743d2f6465762f7364613120726f0a0000009c"
    "cb69b557f500e2a6f46da61ccc3a8c5c9985b708000000696d612d6e677632400000002c000000696d613a7368613235"
    "363a00a5179bba8fab834fc386a17478842d04b2742d653c9addae998e007c242d02d40c0000002f7573722f62696e2f"
    "7632000a000000bc22cd09747c09c62908e93e2490f5a3c7716f2009000000696d612d7369677632470000002f000000"
    "7665726974793a7368613235363a00a5179bba8fab834fc386a17478842d04b2742d653c9addae998e007c242d02d40c"
    "0000002f7573722f62696e2f76330000000000";

struct Example {
  std::string_view template_name, name;
  std::size_t bytes;
  std::string_view sha1, sha256;
};
constexpr Example examples[] = {
    {"ima-ng", "boot_aggregate", 101, "a15627d3965fd43c3f81728dddfec04b3e1cdbf1",
     "e0663feccb38e8e43edefc1e7f5dfd7a0d8a503749ea45eea79c429e8f84e561"},
    {"ima-ng", "/usr/bin/hello_world", 107, "e64646899279323806031c9fe31902294d5acb62",
     "b227dca3ac0d9d7d8a425957ef2fc97b427ea3eb53e9f9846f44eeb085d2927e"},
    {"ima-sig", "/usr/bin/f", 182, "6ca880023de66b02903ae1b9c546ed3b2bed695c",
     "886eaf0879d5cb83d5b6edcdc937ff51caef2cd5f0c67ee083a589277b1bf600"},
    {"ima-sig", "/usr/bin/nosig", 106, "3b91a8057e57f8012658a32d99d6dda187d38836",
     "fdf367f528d867d0d5aa85a750255741547ff0a84621de54b570670ce18606bd"},
    {"ima-ng", "/var/log/x", 97, "0000000000000000000000000000000000000000", ""},
    {"ima-buf", "kexec-cmdline", 122, "020bf3ba01cd1d2223fe57e955f21f45203d971c",
     "6faa64f09edeac86953885a288a9f0f90520a66dc843ca65e6c096ba6b64b69a"},
    {"ima-ngv2", "/usr/bin/v2", 104, "9ccb69b557f500e2a6f46da61ccc3a8c5c9985b7",
     "d162fb8d93c87e8995ae0ef3421925f0d83256ba9df74734cf67cd2891d05363"},
    {"ima-sigv2", "/usr/bin/v3", 112, "bc22cd09747c09c62908e93e2490f5a3c7716f20",
     "feb6294df9f4e316b1ad00e5259eed44810254045d12481b0ac2d74355beefff"},
};
constexpr std::string_view file_digest = "a5179bba8fab834fc386a17478842d04b2742d653c9addae998e007c242d02d4";

ByteVector list() { return from_hex(list_hex).value(); }

TEST(ImaExamples, EachEntryIsReadToItsValues) {
  const ByteVector bytes = list();
  ASSERT_EQ(bytes.size(), 931U);
  EXPECT_EQ(ima::form_of(bytes), ima::Cursor::Form::binary);
  const ListOutcome read = read_binary(bytes);
  ASSERT_FALSE(read.error) << read.error->second;
  ASSERT_EQ(read.entries.size(), std::size(examples));
  std::size_t offset = 0;
  for (std::size_t i = 0; i < read.entries.size(); ++i) {
    const SeenEntry& e = read.entries[i];
    SCOPED_TRACE(i);
    EXPECT_EQ(e.offset, offset);
    offset += examples[i].bytes;
    EXPECT_EQ(e.pcr, 10U);
    EXPECT_EQ(e.template_name, examples[i].template_name);
    EXPECT_EQ(e.name, examples[i].name);
    EXPECT_EQ(e.hash, examples[i].sha1);
    EXPECT_EQ(e.algorithm, "sha256");
    EXPECT_EQ(e.is_file, e.template_name != "ima-buf");
    if (i == 4) {  // a violation: nothing of it is hashed
      EXPECT_EQ(e.digest, ByteVector(32));
      continue;
    }
    EXPECT_EQ(digest_of(HashAlgorithm::sha1, e.data).hex(), examples[i].sha1);
    EXPECT_EQ(digest_of(HashAlgorithm::sha256, e.data).hex(), examples[i].sha256);
    if (i != 0 && i != 5) {
      EXPECT_EQ(to_hex(e.digest), file_digest);
    }
  }
  EXPECT_EQ(offset, bytes.size());
  EXPECT_EQ(read.entries[2].signature.size(), 80U);
  EXPECT_EQ(to_hex(Bytes(read.entries[2].signature).first(9)),
            "030204"
            "7523dd35"
            "0047");
  EXPECT_TRUE(read.entries[3].signature.empty());
  EXPECT_EQ(as_text(read.entries[5].buffer), "root=/dev/sda1 ro");
  EXPECT_EQ(Digest(read.entries[5].digest), digest_of(HashAlgorithm::sha256, read.entries[5].buffer));
  EXPECT_EQ(read.entries[6].type, "ima");
  EXPECT_EQ(read.entries[7].type, "verity");
}

TEST(ImaExamples, ReplayToThePcrsOfATpm) {
  const ListOutcome read = read_binary(list());
  Hasher sha1(HashAlgorithm::sha1), sha256(HashAlgorithm::sha256);
  Digest pcr1 = Digest::filled(20, std::byte{0}), pcr256 = Digest::filled(32, std::byte{0}), padded = pcr256;
  for (const SeenEntry& e : read.entries) {
    const bool violation = e.hash == std::string(40, '0');
    const Digest ones = Digest::filled(32, std::byte{0xFF});
    const Digest one = violation ? Digest::filled(20, std::byte{0xFF}) : sha1(e.data);
    sha1.extend(pcr1, one.view());
    sha256.extend(pcr256, (violation ? ones : sha256(e.data)).view());
    Digest wide = one;  // kernels before 5.8
    wide.size = 32;
    sha256.extend(padded, (violation ? ones : wide).view());
  }
  EXPECT_EQ(pcr1.hex(), "3b15bd6445fc4ee1b3767a766cb624068a44d154");
  EXPECT_EQ(pcr256.hex(), "67aad654d67ea1a794f23e665b16cd24f841e369e5120ab4ea32ce9d21118f96");
  EXPECT_EQ(padded.hex(), "75426a1e9b81bd683d6a20f16b6843a370e1f1c13a5d83ff1ca5498dab198948");
}

TEST(ImaExamples, TheAsciiLineIsTheSameEntry) {
  const std::string line =
      "10 e64646899279323806031c9fe31902294d5acb62 ima-ng sha256:" + std::string(file_digest) + " /usr/bin/hello_world";
  EXPECT_EQ(ima::form_of(as_bytes(line)), ima::Cursor::Form::ascii);
  const ListOutcome ascii = read_ascii(line);
  ASSERT_EQ(ascii.entries.size(), 1U);
  SeenEntry binary = read_binary(list()).entries[1];
  binary.offset = 0;
  EXPECT_EQ(ascii.entries[0], binary);
}

TEST(ImaExamples, TemplateDataIsWrittenAsTheKernelWritesIt) {
  Writer w;
  ima::append_ng_template_data(w, "sha256", from_hex(file_digest).value(), "/usr/bin/hello_world");
  EXPECT_EQ(to_vector(w.view()), read_binary(list()).entries[1].data);
}

TEST(ImaExamples, TheLegacyTemplate) {
  const ByteVector bytes = from_hex(
                               "0a00000017af3e0fcef8dd1ccbf6653d5c55ea73a7bdd78f03000000696d61"
                               "ae22c6afae407276c1be2619cf4ec30e3a7652ae0b0000002f62696e2f6c6567616379")
                               .value();
  const ListOutcome read = read_binary(bytes);
  ASSERT_EQ(read.entries.size(), 1U);
  const SeenEntry& e = read.entries[0];
  EXPECT_EQ(e.name, "/bin/legacy");
  EXPECT_EQ(e.algorithm, "sha1");
  EXPECT_EQ(to_hex(e.digest), "ae22c6afae407276c1be2619cf4ec30e3a7652ae");
  EXPECT_EQ(e.data.size(), 20U + 256U);
  EXPECT_EQ(digest_of(HashAlgorithm::sha1, e.data).hex(), e.hash);
  Writer w;
  ima::append_legacy_template_data(w, e.digest, e.name);
  EXPECT_EQ(to_vector(w.view()), e.data);
  const ListOutcome ascii = read_ascii(
      "10 17af3e0fcef8dd1ccbf6653d5c55ea73a7bdd78f ima ae22c6afae407276c1be2619cf4ec30e3a7652ae /bin/legacy\n");
  ASSERT_EQ(ascii.entries.size(), 1U);
  EXPECT_EQ(ascii.entries[0], e);
}

TEST(ImaExamples, EveryTruncationAndEveryFlippedBit) {
  ByteVector bytes = list();
  const ListOutcome whole = read_binary(bytes);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const ListOutcome cut = read_binary(to_vector(Bytes(bytes).first(n)));
    std::size_t start = 0;
    for (const SeenEntry& e : whole.entries)
      if (e.offset <= n) start = e.offset;
    ASSERT_EQ(cut.error.has_value(), start != n) << n;
    if (cut.error) {
      EXPECT_GE(cut.error->first, start) << n;
      EXPECT_LE(cut.error->first, n) << n;
    }
    for (std::size_t i = 0; i < cut.entries.size(); ++i) EXPECT_EQ(cut.entries[i], whole.entries[i]) << n;
  }
  std::mt19937 random(11);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte(1U << bit % 8);
    const ListOutcome flipped = read_binary(bytes);
    if (flipped.error) {
      EXPECT_LE(flipped.error->first, bytes.size()) << bit;
    } else {
      // Nothing is lost: every entry written again gives the list.
      ByteVector again;
      for (const SeenEntry& e : flipped.entries) {
        const ByteVector one = binary_entry({e.pcr, e.template_name, e.data, from_hex(e.hash).value()});
        again.insert(again.end(), one.begin(), one.end());
      }
      EXPECT_EQ(again, bytes) << bit;
    }
    EXPECT_EQ(read_list(bytes, ima::Cursor::Form::binary, random_cuts(random, bytes.size(), 200)), flipped) << bit;
    bytes[bit / 8] ^= std::byte(1U << bit % 8);
  }
}

}  // namespace
}  // namespace gatehouse::testing
