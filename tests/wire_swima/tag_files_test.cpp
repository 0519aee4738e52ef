// The files of SWID tags: those of the corpus with the facts of an independent parser, and tags made here.
#include "wire/swima/tag_files.h"

#include <gtest/gtest.h>

#include "tests/corpus/corpus.h"
#include "wire/swima/xml.h"

namespace gatehouse::swima {
namespace {

const std::string sha256_ns = "xmlns:s='http://www.w3.org/2001/04/xmlenc#sha256'";
const std::string hash(64, 'a'), other(64, 'b');

std::string tag(const std::string& payload) {
  return "<SoftwareIdentity name='site' version='3' tagId='t' " + sha256_ns + "><Payload>" + payload +
         "</Payload></SoftwareIdentity>";
}
std::string read(const std::string& text) {
  const auto files = parse_tag_files(as_bytes(text));
  if (!files) return "refused: " + std::string(files.error().reason);
  std::string out;
  for (const TagFile& f : files->files) {
    out += f.path;
    for (const auto& [algorithm, digest] : f.digests)
      out += " " + std::string(name(algorithm)) + ":" + digest.hex().substr(0, 4);
    out += f.is_mutable ? " mutable\n" : "\n";
  }
  return files->left_out == 0 ? out : out + std::to_string(files->left_out) + " left out\n";
}

TEST(TagFiles, OfTheCorpusHaveTheirFacts) {
  using gatehouse::testing::corpus_items;
  if (!gatehouse::testing::corpus_is_there()) GTEST_SKIP() << gatehouse::testing::no_corpus;
  std::size_t seen = 0;
  for (const auto& item : corpus_items("swid", "facts")) {
    SCOPED_TRACE(gatehouse::testing::text(item, "id"));
    const auto& facts = item.at("facts").as_object();
    const auto bytes = gatehouse::testing::corpus_file("swid/" + gatehouse::testing::text(item, "file"));
    const auto files = parse_tag_files(bytes);
    if (!facts.at("well_formed").as_bool()) {
      EXPECT_FALSE(files);
      continue;
    }
    ASSERT_TRUE(files) << files.error().text();
    EXPECT_EQ(files->name, gatehouse::testing::text(facts, "name"));
    EXPECT_EQ(files->version, gatehouse::testing::text(facts, "version"));
    EXPECT_EQ(std::int64_t(files->files.size() + files->left_out), facts.at("files").as_int64());
    ++seen;
  }
  EXPECT_GE(seen, 3U);
}

TEST(TagFiles, ADirectoryAndAFileMakeAPath) {
  const std::string h = " s:hash='" + hash + "'";
  EXPECT_EQ(read(tag("<File location='/usr/bin' name='a'" + h + "/>")), "/usr/bin/a sha256:aaaa\n");
  EXPECT_EQ(
      read(tag("<Directory location='/usr' name='lib'><File name='a'" + h + "/><Directory name='x'><File name='b'" + h +
               "/></Directory><File location='y' name='c'" + h + "/></Directory>")),
      "/usr/lib/a sha256:aaaa\n/usr/lib/x/b sha256:aaaa\n/usr/lib/y/c sha256:aaaa\n");
  EXPECT_EQ(read(tag("<Directory location='' name='/boot/tcg/'><File name='a'" + h + "/></Directory>")),
            "/boot/tcg/a sha256:aaaa\n");
  EXPECT_EQ(read(tag("<Directory name='/a'/><File location='/b' name='a'" + h + "/>")), "/b/a sha256:aaaa\n");
  EXPECT_EQ(read(tag("<File location='/usr/bin' name='&lt;a b&#x41;'" + h + "/>")), "/usr/bin/<a bA sha256:aaaa\n");
  // Nobody can say where these are.
  EXPECT_EQ(read(tag("<File location='..' name='a'" + h + "/><File name='b'" + h + "/><File location='C:\\x' name='c'" +
                     h + "/>")),
            "3 left out\n");
}

TEST(TagFiles, AlgorithmsAreWhatTheirNamespacesSay) {
  const std::string sha512(128, 'c');
  EXPECT_EQ(read(tag("<File location='/' name='a' xmlns:x='http://www.w3.org/2001/04/xmlenc#sha512' s:hash='" + hash +
                     "' x:hash='" + sha512 + "'/>")),
            "/a sha256:aaaa sha512:cccc\n");
  // A prefix means something else inside, and what it did afterwards.
  EXPECT_EQ(read(tag("<File xmlns:s='http://www.w3.org/2001/04/xmlenc#sha512' location='/' name='a' s:hash='" + sha512 +
                     "'/><File location='/' name='b' s:hash='" + hash + "'/>")),
            "/a sha512:cccc\n/b sha256:aaaa\n");
  EXPECT_EQ(read(tag("<File location='/' name='a' hash='" + hash + "'/><File location='/' name='b' u:hash='" + hash +
                     "'/><File location='/' name='c' xmlns:m='urn:md5' m:hash='" + hash + "'/>")),
            "3 left out\n");
  EXPECT_EQ(read(tag("<File location='/' name='a' n:mutable='true' s:hash='" + hash + "'/>")),
            "/a sha256:aaaa mutable\n");
}

TEST(TagFiles, EvidenceIsNoReference) {
  const std::string file = "<File location='/' name='a' s:hash='" + hash + "'/>";
  EXPECT_EQ(read("<SoftwareIdentity " + sha256_ns + "><Evidence>" + file + "</Evidence></SoftwareIdentity>"), "");
  EXPECT_EQ(read("<SoftwareIdentity " + sha256_ns + ">" + file + "</SoftwareIdentity>"), "");
}

TEST(TagFiles, WhatIsBrokenIsRefused) {
  EXPECT_EQ(read(tag("<File location='/' name='a' s:hash='abcd'/>")),
            "refused: a hash that isn't one of its algorithm");
  EXPECT_EQ(read(tag("<File location='/' name='a' s:hash='" + std::string(64, 'x') + "'/>")),
            "refused: a hash that isn't one of its algorithm");
  EXPECT_EQ(read(tag("<File location='/' name='a' xmlns:t='http://www.w3.org/2001/04/xmlenc#sha256' s:hash='" + hash +
                     "' t:hash='" + other + "'/>")),
            "refused: two hashes of one algorithm");
  EXPECT_EQ(read(tag("<File location='/' name='a' size='1x' s:hash='" + hash + "'/>")),
            "refused: a size that isn't a number");
  EXPECT_EQ(read(tag("<File location='/' name='" + std::string(4096, 'n') + "' s:hash='" + hash + "'/>")),
            "refused: a path of more than 4,096 bytes");
  EXPECT_EQ(read("<SoftwareIdentity><Payload></SoftwareIdentity>"), "refused: elements that don't nest");
  EXPECT_EQ(read("<!DOCTYPE x SYSTEM '/etc/passwd'><SoftwareIdentity/>"),
            "refused: document type declarations aren't allowed");
  EXPECT_EQ(read("<other/>"), "refused: not a SWID tag of 2015");
  EXPECT_EQ(read(tag("<File name='a' name='b'/>")), "refused: attribute twice");
  std::string many = "<File";
  for (std::size_t i = 0; i <= max_tag_attributes; ++i) many += " a" + std::to_string(i) + "=''";
  EXPECT_EQ(read(tag(many + "/>")), "refused: more attributes than allowed");
  // Names grow with each level: a path's limit holds for folders, too.
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += "<Directory name='" + std::string(200, 'd') + "'>";
  EXPECT_EQ(read(tag(deep)), "refused: a path of more than 4,096 bytes");
}

TEST(TagFiles, EveryTruncationIsRefused) {
  const std::string whole = tag("<Directory name='/a'><File name='b' s:hash='" + hash + "'/></Directory>");
  ASSERT_EQ(read(whole), "/a/b sha256:aaaa\n");
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_TRUE(read(whole.substr(0, n)).starts_with("refused")) << n;
}

}  // namespace
}  // namespace gatehouse::swima
