// Lists that others made: Keylime's runtime policies, measurement lists of golden machines, SWID tags.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/hex.h"
#include "base/writer.h"
#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"
#include "refdb/store/open.h"
#include "tests/corpus/corpus.h"
#include "wire/ima/ima.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;
using gatehouse::testing::corpus_file;
using gatehouse::testing::corpus_is_there;
using gatehouse::testing::no_corpus;

const std::string a(64, 'a'), b(64, 'b'), c(40, 'c');

// "PATH ALGORITHM:DIGEST" of each file, and what else its content may be; the refusal with its offset instead.
std::string text_of(const Result<ReferencePackage>& package) {
  if (!package) {
    EXPECT_EQ(package.error().source, "list");
    return std::string(name(package.error().fault)) + " at " + std::to_string(package.error().offset) + ": " +
           std::string(package.error().reason);
  }
  std::string out;
  const auto note = [&out](const auto& digests) {
    EXPECT_EQ(digests.size(), 1U);
    for (const auto& [algorithm, digest] : digests)
      out += " " + std::string(name(algorithm)) + ":" + digest.hex().substr(0, 2);
  };
  for (const ReferenceFile& f : package->files) {
    out += f.path;
    note(f.digests);
    for (const FileContent& other : f.further) note(other.digests);
    out += "\n";
  }
  return out;
}
std::string keylime(const std::string& policy, const IngestLimits& limits = {}) {
  const MemoryInput input(as_bytes(policy));
  PlainStream stream(input, 0);
  return text_of(read_keylime(stream, "list", limits));
}
std::string digests(const std::string& members) { return R"({"meta":{"version":1},"digests":{)" + members + "}}"; }

// As Keylime's tools write them: pretty, with members that aren't references.
const std::string policy = R"({
  "meta": {"version": 1, "generator": 0, "timestamp": "2026-11-24 12:00:00.000000"},
  "release": 0,
  "digests": {
    "boot_aggregate": [")" +
                           a + R"("],
    "/usr/bin/a": [")" + a +
                           R"("],
    "/usr/bin/\u00fcber": [")" +
                           b + R"(", ")" + a + R"("],
    "/usr/bin/old": [")" + c +
                           R"("]
  },
  "excludes": ["/tmp/.*", "\\/var.*"],
  "keyrings": {".ima": [")" +
                           b + R"("]},
  "ima": {"ignored_keyrings": ["*"], "log_hash_alg": "sha1", "dm_policy": null},
  "ima-buf": {"/x": [")" + b +
                           R"("]},
  "verification-keys": ""
})";

TEST(Keylime, APolicyGivesThePathsOfItsDigests) {
  EXPECT_EQ(keylime(policy),
            "/usr/bin/a sha256:aa\n/usr/bin/old sha1:cc\n/usr/bin/\xC3\xBC"
            "ber sha256:aa sha256:bb\n");
  EXPECT_EQ(keylime(digests("")), "");
  EXPECT_EQ(keylime(digests(R"("/a":[])")), "");
  EXPECT_EQ(keylime(digests(R"("/a":[")" + a + R"(",")" + a + R"("])")), "/a sha256:aa\n");
}

TEST(Keylime, WhatIsNoPolicyIsRefusedAtItsPlace) {
  const std::string shape = ": digests that aren't arrays of text, by path";
  EXPECT_EQ(keylime("[]").substr(0, 9), "malformed");
  EXPECT_EQ(keylime("7"), "malformed at 1: not a Keylime runtime policy");
  EXPECT_EQ(keylime(""), "malformed at 0: not JSON");
  EXPECT_EQ(keylime("{}"), "malformed at 2: no digests in the policy");
  EXPECT_EQ(keylime(R"({"excludes":[]})"), "malformed at 15: no digests in the policy");
  EXPECT_TRUE(keylime(R"({"digests":[]})").ends_with(shape));
  EXPECT_TRUE(keylime(R"({"digests":null})").ends_with(shape));
  EXPECT_TRUE(keylime(digests(R"("/a":")" + a + R"(")")).ends_with(shape));
  EXPECT_TRUE(keylime(digests(R"("/a":[1])")).ends_with(shape));
  EXPECT_TRUE(keylime(digests(R"("/a":[[]])")).ends_with(shape));
  EXPECT_TRUE(keylime(digests(R"("/a":{"b":[]})")).ends_with(shape));
  EXPECT_TRUE(
      keylime(digests(R"("/a":["abcd"])")).ends_with(": a digest that isn't hexadecimal, or of no known length"));
  EXPECT_TRUE(keylime(digests(R"("/a":[")" + std::string(64, 'x') + R"("])"))
                  .ends_with(": a digest that isn't hexadecimal, or of no known length"));
  EXPECT_TRUE(keylime(digests(R"("/../a":[])")).ends_with(": path can't be used"));
  EXPECT_TRUE(keylime(digests("\"/" + std::string(4096, 'x') + "\":[]")).ends_with(": path can't be used"));
  EXPECT_TRUE(keylime(digests(R"("/a\u0000":[])")).ends_with(": path can't be used"));
  EXPECT_TRUE(keylime(R"({"digests":{},"digests":{}})").ends_with(": digests twice in the policy"));
  EXPECT_TRUE(keylime(digests("") + "x").ends_with(": trailing bytes after the policy"));
  EXPECT_TRUE(keylime(R"({"payload":"e30=","payloadType":"application/vnd.keylime+json","signatures":[]})")
                  .ends_with(": a signed policy (DSSE): take in the policy that is in it"));
  std::string deep = R"({"digests":{},"x":)";
  for (int i = 0; i < 100000; ++i) deep += '[';
  EXPECT_TRUE(keylime(deep).ends_with(": not JSON"));
}

TEST(Keylime, EveryTruncationIsRefused) {
  for (std::size_t n = 0; n < policy.size(); ++n)
    EXPECT_TRUE(keylime(policy.substr(0, n)).starts_with("malformed at ")) << n;
}

TEST(Keylime, LimitsHold) {
  const std::string two = digests(R"("/aa":[")" + a + R"("],"/bb":[")" + a + R"("])");
  EXPECT_EQ(keylime(two, {.files = 2}), "/aa sha256:aa\n/bb sha256:aa\n");
  EXPECT_TRUE(keylime(two, {.files = 1}).ends_with(": more files than allowed"));
  EXPECT_TRUE(keylime(two, {.path_bytes = 6}).starts_with("/aa"));
  EXPECT_TRUE(keylime(two, {.path_bytes = 5}).ends_with(": longer paths than allowed"));
  std::string many;
  for (int i = 0; i < 4097; ++i) {
    char digest[65];
    std::snprintf(digest, sizeof digest, "%064x", unsigned(i));
    many += std::string(many.empty() ? "\"" : ",\"") + digest + "\"";
  }
  EXPECT_TRUE(keylime(digests("\"/a\":[" + many + "]")).ends_with(": more contents of one path than allowed"));
}

std::string entry(const std::string& name, const std::string& content,
                  HashAlgorithm algorithm = HashAlgorithm::sha256) {
  Writer data;
  ima::append_ng_template_data(data, gatehouse::name(algorithm), digest_of(algorithm, as_bytes(content)).view(), name);
  const auto le = [](std::size_t v) {
    std::string out;
    for (int i = 0; i < 4; ++i) out += char(v >> 8 * i & 0xFF);
    return out;
  };
  return le(10) + std::string(as_text(digest_of(HashAlgorithm::sha1, data.view()).view())) + le(6) + "ima-ng" +
         le(data.view().size()) + std::string(as_text(data.view()));
}
Result<ReferencePackage> list(Bytes bytes) {
  const MemoryInput input(bytes);
  PlainStream stream(input, 0);
  return read_ima_list(stream, "list");
}

TEST(ImaList, GivesTheFilesThatWereMeasured) {
  const std::string good = entry("boot_aggregate", "") + entry("/usr/bin/a", "1") + entry("/usr/bin/a", "2") +
                           entry("/usr/bin/a", "1") + entry("/opt/My_App/x", "3", HashAlgorithm::sha512) +
                           entry("[memfd]", "4");
  const auto package = list(as_bytes(good));
  ASSERT_TRUE(package) << package.error().text();
  EXPECT_EQ(package->source, "ima:list");
  EXPECT_TRUE(package->name.empty());
  ASSERT_EQ(package->files.size(), 2U);
  const ReferenceFile& file = package->files[1];
  EXPECT_EQ(file.path, "/usr/bin/a");
  ASSERT_EQ(file.further.size(), 1U);
  const std::set<Digest> contents{file.digests.at(0).second, file.further[0].digests.at(0).second};
  EXPECT_EQ(contents, (std::set<Digest>{digest_of(HashAlgorithm::sha256, as_bytes("1")),
                                        digest_of(HashAlgorithm::sha256, as_bytes("2"))}));
  // In another order it is the same.
  const std::string turned =
      entry("/opt/My_App/x", "3", HashAlgorithm::sha512) + entry("/usr/bin/a", "2") + entry("/usr/bin/a", "1");
  EXPECT_EQ(text_of(list(as_bytes(turned))), text_of(package));
}

TEST(ImaList, OneThatContradictsItselfIsRefused) {
  const std::string good = entry("/a", "1");
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string changed = good + good;
    changed[good.size() + i] ^= 1;
    const std::string said = text_of(list(as_bytes(changed)));
    // PCR and template's name are in no hash; of another template nothing is known of the digest.
    if (i < 4 || (i >= 28 && i < 34)) continue;
    EXPECT_TRUE(said.starts_with("malformed at ")) << i << said;
  }
  EXPECT_EQ(text_of(list({})), "malformed at 0: no measured file in the list");
  EXPECT_EQ(text_of(list(as_bytes(entry("boot_aggregate", "")))), "malformed at 0: no measured file in the list");
  EXPECT_TRUE(text_of(list(as_bytes(entry("/../a", "")))).ends_with(": path can't be used"));
}

// Real lists: every file that the facts count can be looked up in the bank of its digest.
TEST(ImaList, OfTheCorpusIsTakenInOrRefused) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  std::size_t taken = 0;
  for (const auto& item : gatehouse::testing::corpus_items("ima", "ima")) {
    const std::string file = gatehouse::testing::text(item, "file");
    SCOPED_TRACE(file);
    const ByteVector bytes = corpus_file("ima/" + file);
    ima::Cursor cursor(ima::form_of(bytes));
    cursor.feed(bytes);
    cursor.end();
    std::set<std::string> paths;
    bool whole = true;
    for (;;) {
      const auto next = cursor.next();
      whole = next.has_value();
      if (!whole || *next == nullptr) break;
      const ima::Entry& e = **next;
      if (!e.violation() && e.fields.is_file && e.fields.type != "verity" && e.fields.name.starts_with('/') &&
          hash_algorithm(e.fields.algorithm))
        paths.emplace(e.fields.name);
    }
    const auto package = list(bytes);
    if (!package) continue;
    ++taken;
    EXPECT_TRUE(whole);
    std::set<std::string> got;
    for (const ReferenceFile& f : package->files) got.insert(f.path);
    EXPECT_EQ(got, paths);
  }
  EXPECT_GE(taken, 8U);
}

TEST(Lists, AreSourcesWithTheirNames) {
  std::string pattern = (fs::temp_directory_path() / "gatehouse-lists-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const std::string folder = pattern;
  std::ofstream(folder + "/policy.json") << policy;
  std::ofstream(folder + "/list") << entry("/usr/bin/measured", "1") + entry("/usr/bin/measured", "2");
  std::ofstream(folder + "/tag")
      << "<SoftwareIdentity name='site-tools' version='3' xmlns:s='http://www.w3.org/2001/04/xmlenc#sha256'><Payload>"
      << "<File location='/usr/bin' name='tagged' size='7' s:hash='" << a << "'/></Payload></SoftwareIdentity>";
  std::ofstream(folder + "/empty-tag") << "<SoftwareIdentity><Payload/></SoftwareIdentity>";
  IngestOptions options;
  options.refdb = folder + "/refdb";
  options.product = "p";
  options.sources = {"keylime:" + folder + "/policy.json", "ima:" + folder + "/list",    "swid:" + folder + "/tag",
                     "swid:" + folder + "/empty-tag",      "keylime:" + folder + "/tag", "ima:" + folder + "/absent"};
  const auto report = ingest(options);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->packages, 1U);  // the tag's
  EXPECT_EQ(report->files, 3U + 1U + 1U);  // by path
  std::vector<std::string> failed;
  for (const FailedSource& f : report->failed) failed.push_back(f.source);
  EXPECT_EQ(failed, (std::vector<std::string>{"ima:" + folder + "/absent", "keylime:" + folder + "/tag",
                                              "swid:" + folder + "/empty-tag"}));
  const auto view = open_view(options.refdb).value();
  const auto one = [&](const std::string& path) {
    const auto found = view->references_of_path("p", path).value();
    return found.empty() ? Reference{} : found[0];
  };
  EXPECT_EQ(one("/usr/bin/a").source, "keylime:" + folder + "/policy.json");
  EXPECT_EQ(one("/usr/bin/measured").source, "ima:" + folder + "/list");
  EXPECT_EQ(one("/usr/bin/tagged").source, "swid:" + folder + "/tag");
  EXPECT_EQ(one("/usr/bin/tagged").package, "site-tools");
  EXPECT_TRUE(view->has_package("p", "site-tools", "3").value());
  EXPECT_EQ(view->references_of_path("p", "/usr/bin/measured").value().size(), 2U);
  // Again: all known.
  const auto again = ingest(options);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->skipped, 3U);
  EXPECT_EQ(again->files, 0U);
  EXPECT_EQ(again->generation, report->generation);
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

}  // namespace
}  // namespace gatehouse::refdb
