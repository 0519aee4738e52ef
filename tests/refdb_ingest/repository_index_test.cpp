// What repositories say of themselves: Release files, Packages indexes, repomd.xml, primary indexes, gpgv's words, and
// what is remembered of them. Whole repositories are read in repository_test.py.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <utility>

#include "base/base64.h"
#include "base/file.h"
#include "refdb/ingest/apt_index.h"
#include "refdb/ingest/fetch.h"
#include "refdb/ingest/repositories.h"
#include "refdb/ingest/rpm_index.h"

namespace gatehouse::refdb {
namespace {

const std::string a(64, 'a'), b(64, 'b');

std::string text(const Error& e) {
  return std::string(name(e.fault)) + " at " + std::to_string(e.offset) + ": " + std::string(e.reason);
}
std::string text(const IndexItem& item) {
  const IndexEntry& e = item.entry;
  if (item.bad) return e.name + " " + text(*item.bad);
  return e.name + " " + e.version + " " + e.architecture + " [" + e.section + "|" + e.priority + "] " + e.path + " " +
         std::to_string(e.size) + " " + std::string(gatehouse::name(e.algorithm)) + ":" + e.digest.hex().substr(0, 2);
}
// One a line; the refusal last.
std::string packages(const std::string& index) {
  const MemoryInput input(as_bytes(index));
  PlainStream stream(input, 0);
  PackagesReader reader(stream);
  std::string out;
  for (;;) {
    const auto item = reader.next();
    if (!item) return out + text(item.error());
    if (!*item) return out;
    out += text(**item) + "\n";
  }
}
std::string stanza(const std::string& name, const std::string& more = {}) {
  return "Package: " + name + "\nVersion: 1\nArchitecture: amd64\nSection: utils\nPriority: optional\nFilename: pool/" +
         name + ".deb\nSize: 7\nSHA256: " + a + "\n" + more;
}
std::string line(const std::string& name) {
  return name + " 1 amd64 [utils|optional] pool/" + name + ".deb 7 sha256:aa\n";
}

TEST(Packages, AreReadParagraphByParagraph) {
  EXPECT_EQ(packages(stanza("x") + "\n" + stanza("y")), line("x") + line("y"));
  EXPECT_EQ(packages("\n \n\n" + stanza("x") + "\n\n\t\n" + stanza("y") + "\n\n"), line("x") + line("y"));
  EXPECT_EQ(packages(stanza("x", "Description: long\n of several\n .\n lines\nTag: a,\n b")), line("x"));
  EXPECT_EQ(packages("package:x\nVERSION:\t1 \nArchitecture:  amd64\nSection:utils\npriority: optional\nfilename:pool/x.deb\n"
                     "size:7\nSha256:" + a), line("x"));
  EXPECT_EQ(packages(""), "");
  EXPECT_EQ(packages("\n\n"), "");
}

TEST(Packages, AreTheSameWhateverTheLengthOfTheIndex) {
  // Paragraphs of all lengths lie over the ends of the blocks that are read.
  std::string index, expected;
  for (std::size_t i = 0; index.size() < 300'000; ++i) {
    const std::string name = "p" + std::to_string(i);
    index += stanza(name, "Description: " + std::string(i * 37 % 1009, 'd') + "\n") + "\n";
    expected += line(name);
  }
  EXPECT_EQ(packages(index), expected);
}

TEST(Packages, ThatCantBeUsedAreNamedAndTheOthersRead) {
  const auto bad = [](const std::string& from, const std::string& to) {
    std::string index = stanza("x");
    index.replace(index.find(from), from.size(), to);
    return packages(index + "\n" + stanza("y"));
  };
  const std::string outside = "x malformed at 0: a package file outside the repository\n" + line("y");
  for (const std::string path : {"/pool/x.deb", "../x.deb", "pool/../x.deb", "pool//x.deb", "pool/./x.deb", "pool/", "pool/x\x7F",
                                 ".", "..", ""})
    EXPECT_EQ(bad("pool/x.deb", path), outside) << path;
  EXPECT_EQ(bad("pool/x.deb", std::string(1025, 'x')), outside);
  EXPECT_EQ(bad("Size: 7\n", ""), "x malformed at 0: the index gives no size\n" + line("y"));
  for (const std::string size : {"0", "-7", "7x", "99999999999999999999"})
    EXPECT_EQ(bad("Size: 7", "Size: " + size), "x malformed at 0: the index gives no size\n" + line("y")) << size;
  EXPECT_EQ(bad("Size: 7", "Size: 8589934593"), "x malformed at 0: a package larger than allowed\n" + line("y"));
  EXPECT_EQ(bad("Version: 1\n", ""), "x malformed at 0: the index names no package or version\n" + line("y"));
  for (const std::string& digest : {a.substr(1), a + "a", a.substr(1) + "g", std::string()})
    EXPECT_EQ(bad(a, digest), "x malformed at 0: the index gives no SHA-256 digest\n" + line("y"));
}

TEST(Packages, ThatAreNoFieldsEndTheIndexAtTheirPlace) {
  const std::string first = stanza("x") + "\n";
  const std::string at = std::to_string(first.size());
  EXPECT_EQ(packages(first + "no field\n"), line("x") + "malformed at " + at + ": a line that is no field");
  EXPECT_EQ(packages(first + ": no name\n"), line("x") + "malformed at " + at + ": a line that is no field");
  EXPECT_EQ(packages(first + "a b: c\n"), line("x") + "malformed at " + at + ": a line that is no field");
  EXPECT_EQ(packages(first + " of nothing\n"), line("x") + "malformed at " + at + ": a continuation of no field");
  EXPECT_EQ(packages(first + "A: 1\nB: 2\na: 3\n"),
            line("x") + "malformed at " + std::to_string(first.size() + 10) + ": a field twice in one paragraph");
}

TEST(Packages, OfAnyLengthCostNoMoreMemoryThanAllowed) {
  const std::string long_one = "A: " + std::string(max_stanza_bytes, 'x');
  EXPECT_EQ(packages(stanza("x") + "\n" + long_one), line("x") + "limit exceeded at " + std::to_string(stanza("x").size() + 1) +
                                                         ": a paragraph longer than allowed");
  std::string fields;
  for (int i = 0; i < 257; ++i) fields += "F" + std::to_string(i) + ": x\n";
  EXPECT_NE(packages(fields).find("more fields than allowed"), std::string::npos);
}

TEST(Packages, EveryTruncationIsReadOrRefused) {
  const std::string first = stanza("x", "Description: a\n b\n"), index = first + "\n" + stanza("y");
  for (std::size_t n = 0; n <= index.size(); ++n) {
    const std::string got = packages(index.substr(0, n));
    if (n >= first.size()) {
      EXPECT_TRUE(got.starts_with(line("x"))) << n;
    }
    EXPECT_EQ(got.find(line("y")) != std::string::npos, n >= index.size() - 1) << n;
  }
}

TEST(Dates, AreReadInUtcOnly) {
  EXPECT_EQ(parse_date("Sat, 10 Feb 2024 11:07:25 UTC"), 1707563245);
  EXPECT_EQ(parse_date("Thu, 01 Jan 1970 00:00:00 +0000"), 0);
  EXPECT_EQ(parse_date("1 Jan 1970 0:0:1 GMT"), 1);
  EXPECT_EQ(parse_date("Thu, 29 Feb 2024 00:00:00 Z"), 1709164800);
  for (const std::string_view bad : {"", "Sat, 10 Feb 2024 11:07:25", "Sat, 10 Feb 2024 11:07:25 +0100", "10 Foo 2024 11:07:25 UTC",
                                     "30 Feb 2024 11:07:25 UTC", "0 Feb 2024 11:07:25 UTC", "10 Feb 2024 24:07:25 UTC",
                                     "10 Feb 2024 11:60:25 UTC", "10 Feb 2024 11:07 UTC", "10 Feb 2024 11:07:25 UTC x",
                                     "10 Feb 24 11:07:25 UTC", "Saturday, 10 Feb 2024 11:07:25 UTC", "-1 Feb 2024 11:07:25 UTC"})
    EXPECT_EQ(parse_date(bad), std::nullopt) << bad;
}

const std::string release_head = "Suite: stable\nCodename: bookworm\nDate: Sat, 10 Feb 2024 11:07:25 UTC\n";

TEST(ReleaseFile, NamesIndexesWithTheirDigests) {
  const std::string content = release_head + "Valid-Until: Sat, 17 Feb 2024 11:07:25 UTC\nAcquire-By-Hash: yes\n"
                              "No-Support-for-Architecture-all: Packages\nMD5Sum:\n " + std::string(32, 'c') + " 1 main/x\n"
                              "SHA256:\n " + a + "  7 main/binary-amd64/Packages\n " + b + " 123456 main/a file\n";
  const auto release = parse_release(as_bytes(content));
  ASSERT_TRUE(release) << release.error().text();
  EXPECT_EQ(release->suite + " " + release->codename, "stable bookworm");
  EXPECT_EQ(release->date, 1707563245);
  EXPECT_EQ(release->valid_until, 1707563245 + 7 * 86400);
  EXPECT_TRUE(release->by_hash);
  EXPECT_FALSE(release->has_own_all);
  ASSERT_EQ(release->files.size(), 2U);
  EXPECT_EQ(release->files.at("main/binary-amd64/Packages").sha256.hex(), a);
  EXPECT_EQ(release->files.at("main/a file").size, 123456U);
}

// One that Debian's security archive lists without naming the architecture is an old one at some mirrors.
TEST(ReleaseFile, AnIndexOfAllIsReadWhereTheArchitecturesNameIt) {
  const auto has_own_all = [](const std::string& fields) {
    return parse_release(as_bytes(release_head + fields + "SHA256:\n " + a + " 7 main/binary-all/Packages\n")).value().has_own_all;
  };
  EXPECT_TRUE(has_own_all(""));
  EXPECT_TRUE(has_own_all("Architectures: all amd64\n"));
  EXPECT_TRUE(has_own_all("Architectures: amd64 all\n"));
  EXPECT_FALSE(has_own_all("Architectures: amd64 arm64\n"));
  EXPECT_FALSE(has_own_all("Architectures: amd64 alles\n"));
  EXPECT_FALSE(has_own_all("Architectures: all amd64\nNo-Support-for-Architecture-all: Packages\n"));
}

TEST(ReleaseFile, WithoutWhatCountsIsRefusedAtItsPlace) {
  const auto refusal = [](const std::string& content) {
    const auto release = parse_release(as_bytes(content));
    return release ? std::string("taken") : text(release.error());
  };
  EXPECT_EQ(refusal("Suite: x\nSHA256:\n"), "malformed at 0: the Release file has no date");
  EXPECT_EQ(refusal("Date: today\n"), "malformed at 0: a date that can't be read");
  EXPECT_EQ(refusal(release_head + "Valid-Until: \nSHA256:\n"),
            "malformed at " + std::to_string(release_head.size()) + ": a date that can't be read");
  EXPECT_EQ(refusal(release_head + "MD5Sum:\n x\n"), "malformed at 0: the Release file has no SHA-256 digests");
  for (const std::string& entry : {a + " 7", a + " x main/x", a.substr(1) + " 7 main/x", std::string("x")})
    EXPECT_NE(refusal(release_head + "SHA256:\n " + entry + "\n").find("not a digest, a size and a name"), std::string::npos) << entry;
  EXPECT_NE(refusal(release_head + "SHA256:\n " + a + " 7 x\n " + b + " 7 x\n").find("a file with two digests"), std::string::npos);
  EXPECT_EQ(refusal(release_head + "SHA256:\n " + a + " 7 x\n " + a + " 7 x\n"), "taken");
}

std::string repomd(const std::string& data, const std::string& revision = "<revision>1700000000</revision>") {
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" "
         "xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">" + revision + data + "</repomd>";
}
std::string data(const std::string& href, const std::string& digest = a, const std::string& type = "sha256") {
  return "<data type=\"primary\"><checksum type=\"" + type + "\">" + digest + "</checksum><open-checksum type=\"sha256\">" + b +
         "</open-checksum><location href=\"" + href + "\"/><timestamp>1690000000.5</timestamp><size>77</size><open-size>999</open-size></data>";
}
std::string read_repomd(const std::string& content) {
  const auto out = parse_repomd(as_bytes(content));
  if (!out) return std::string(name(out.error().fault)) + ": " + std::string(out.error().reason);
  return std::to_string(out->revision) + " " + out->primary + " " + std::string(name(out->algorithm)) + ":" + out->digest.hex().substr(0, 2) +
         " " + std::to_string(out->size);
}

TEST(RepoMd, NamesThePrimaryIndex) {
  const std::string other = "<data type=\"filelists\"><checksum type=\"sha256\">" + b + "</checksum><location href=\"repodata/f\"/></data>";
  EXPECT_EQ(read_repomd(repomd(other + data("repodata/p.xml.gz") + other)), "1700000000 repodata/p.xml.gz sha256:aa 77");
  EXPECT_EQ(read_repomd(repomd(data("repodata/p&amp;q", std::string(128, 'c'), "sha512"), "")), "1690000000 repodata/p&q sha512:cc 77");
  EXPECT_EQ(read_repomd(repomd(data("p"), "<revision>a name</revision>")), "1690000000 p sha256:aa 77");
}

TEST(RepoMd, ThatCantBeUsedIsRefused) {
  EXPECT_EQ(read_repomd(repomd("")), "malformed: repomd.xml names no primary index");
  EXPECT_EQ(read_repomd(repomd(data("p") + data("q"))), "malformed: two primary indexes");
  EXPECT_EQ(read_repomd(repomd(data("../p"))), "malformed: an index outside the repository");
  EXPECT_EQ(read_repomd(repomd(data("/etc/passwd"))), "malformed: an index outside the repository");
  EXPECT_EQ(read_repomd(repomd(data("p", std::string(40, 'a'), "sha"))), "malformed: the index has no SHA-256 digest or better");
  EXPECT_EQ(read_repomd(repomd(data("p", std::string(40, 'a'), "sha1"))), "malformed: the index has no SHA-256 digest or better");
  EXPECT_EQ(read_repomd("<metadata/>"), "malformed: not a repomd.xml");
  EXPECT_TRUE(read_repomd("<!DOCTYPE repomd [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>" + repomd(data("&x;"))).starts_with("malformed"));
  const std::string whole = repomd(data("p"));
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_TRUE(read_repomd(whole.substr(0, n)).starts_with("malformed")) << n;
}

std::string rpm(const std::string& name, const std::string& href, const std::string& architecture = "x86_64", const std::string& more = {}) {
  return "<package type=\"rpm\"><name>" + name + "</name><arch>" + architecture + "</arch><version epoch=\"0\" ver=\"1.2\" rel=\"3.el9\"/>"
         "<checksum type=\"sha256\" pkgid=\"YES\">" + a + "</checksum><size package=\"77\" installed=\"9\" archive=\"8\"/>" + more +
         "<location href=\"" + href + "\"/><format><rpm:group>System/Libraries</rpm:group><rpm:provides><rpm:entry name=\"x\"/></rpm:provides>"
         "<file>/usr/bin/x</file></format></package>";
}
std::string primary(const std::string& content) {
  const std::string whole = "<metadata xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"1\">" + content + "</metadata>";
  std::string out, places;
  const auto on_package = [&](const IndexItem& item) -> Result<void> {
    const std::string one = text(item);
    out += one.substr(0, one.find(" malformed at ")) + (item.bad ? " " + std::string(item.bad->reason) : "") + "\n";
    if (item.bad) places += std::to_string(item.bad->offset) + " ";
    return {};
  };
  const auto said = [&](const Result<void>& read) {
    return read ? std::exchange(out, {}) : std::exchange(out, {}) + std::string(read.error().reason);
  };
  const std::string at_once = said(parse_primary(as_bytes(whole), on_package)), places_at_once = std::exchange(places, {});
  // And as it comes.
  for (const std::size_t block : {std::size_t(1), std::size_t(100), std::size_t(1) << 20}) {
    const MemoryInput input(as_bytes(whole));
    PlainStream stream(input, 0);
    EXPECT_EQ(said(parse_primary(stream, on_package, block)), at_once) << block;
    EXPECT_EQ(std::exchange(places, {}), places_at_once) << block;
  }
  return at_once;
}

TEST(Primary, NamesPackages) {
  EXPECT_EQ(primary(rpm("a", "Packages/a.rpm") + rpm("b", "b.rpm", "noarch") + rpm("c", "c.src.rpm", "src")),
            "a 1.2-3.el9 x86_64 [System/Libraries|] Packages/a.rpm 77 sha256:aa\nb 1.2-3.el9 noarch [System/Libraries|] b.rpm 77 sha256:aa\n");
  EXPECT_EQ(primary(rpm("a", "a.rpm", "x86_64", "<version epoch=\"4\" ver=\"2\" rel=\"1\"/>")), "a 4:2-1 x86_64 [System/Libraries|] a.rpm 77 sha256:aa\n");
  // Names of packages are text, and what is deeper in a package isn't its name.
  EXPECT_EQ(primary(rpm("a&lt;b", "a.rpm", "x86_64", "<format><name>not this</name></format>")).substr(0, 4), "a<b ");
}

TEST(Primary, WhatCantBeUsedIsNamed) {
  EXPECT_EQ(primary(rpm("a", "../a.rpm") + rpm("b", "b.rpm")),
            "a a package file outside the repository\nb 1.2-3.el9 x86_64 [System/Libraries|] b.rpm 77 sha256:aa\n");
  EXPECT_EQ(primary(rpm("a", "a.rpm", "x86_64", "<checksum type=\"md5\">" + std::string(32, 'a') + "</checksum>")),
            "a the index gives no SHA-256 digest or better\n");
  EXPECT_EQ(primary(rpm("a", "a.rpm", "x86_64", "<size package=\"0\"/>")), "a the index gives no size\n");
  EXPECT_EQ(primary(rpm("", "a.rpm")), " the index names no package or version\n");
}

// Whoever hides packages where the whole has none gets nothing in.
TEST(Primary, IsCutBetweenPackagesOnly) {
  const auto in_pieces = [](const std::string& whole, std::size_t block) {
    std::string out;
    const MemoryInput input(as_bytes(whole));
    PlainStream stream(input, 0);
    const auto read = parse_primary(
        stream, [&](const IndexItem& item) -> Result<void> { return out += item.entry.name + " ", Result<void>(); }, block);
    return out + (read ? "" : std::string(read.error().reason));
  };
  const std::string begin = "<?xml version=\"1.0\"?><metadata>", end = "</metadata>", one = rpm("a", "a.rpm"),
                    hidden = rpm("hidden", "h.rpm");
  EXPECT_EQ(in_pieces(begin + one + one + end, 10), "a a ");
  EXPECT_EQ(in_pieces(begin + one + "<!--" + hidden + hidden + "-->" + one + end, 10), "a comment without its end");
  EXPECT_EQ(in_pieces(begin + one + "<x><![CDATA[" + hidden + "]]></x>" + end, 10), "a CDATA section without its end");
  EXPECT_EQ(in_pieces(begin + "<x>" + one + "</x>" + end, 10), "elements that don't nest");
  EXPECT_EQ(in_pieces(begin + one + end + one, 10), "a more than one root element");
  EXPECT_EQ(in_pieces(begin + one + one, 10), "a a SWID tag ends inside an element");
  EXPECT_EQ(in_pieces("<other>" + one + "</other>", 10), "not a primary index");
  EXPECT_EQ(in_pieces("", 10), "SWID tag without an element");
  // Where the root has a prefix it is read at once.
  EXPECT_EQ(in_pieces("<m:metadata>" + one + one + "</m:metadata>", 10), "a a ");
}

TEST(Signature, WhatGpgvSaysIsJudgedBySignature) {
  const std::string key(40, 'A'), other(40, 'B');
  const auto good = [](const std::string& k) {
    return "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 0123456789ABCDEF somebody\n[GNUPG:] VALIDSIG " + k + " 2024-02-10 1707563245 0 4 0 1 8 01 " + k + "\n";
  };
  const auto stale = [&](const std::string& word, const std::string& k) {
    return "[GNUPG:] NEWSIG\n[GNUPG:] " + word + " 0123456789ABCDEF somebody\n[GNUPG:] VALIDSIG " + k + " 2024-02-10 1707563245 0 4 0 1 8 01 " + k + "\n";
  };
  const auto judged = [](const std::string& status) {
    const auto out = judge_signatures(status);
    return out ? *out : std::string(out.error().reason);
  };
  EXPECT_EQ(judged("[GNUPG:] PLAINTEXT 74 0 \n" + good(key)), key);
  EXPECT_EQ(judged(stale("EXPKEYSIG", key)), "signed by a key that has expired");
  EXPECT_EQ(judged(stale("REVKEYSIG", key)), "signed by a key that was revoked");
  EXPECT_EQ(judged(stale("EXPSIG", key)), "the signature has expired");
  // Each for itself: the good one counts, a stale one isn't made good by it.
  EXPECT_EQ(judged(stale("EXPKEYSIG", key) + good(other)), other);
  EXPECT_EQ(judged(good(other) + stale("REVKEYSIG", key)), other);
  EXPECT_EQ(judged("[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 0123456789ABCDEF 1 8 01 1707563245 9 -\n[GNUPG:] NO_PUBKEY 0123456789ABCDEF\n" + good(key)), key);
  EXPECT_EQ(judged(good(key) + "[GNUPG:] NEWSIG\n[GNUPG:] BADSIG 0123456789ABCDEF somebody\n"), "a signature is wrong: the text was changed");
  EXPECT_EQ(judged("[GNUPG:] PLAINTEXT 74 0 \n" + good(key) + "[GNUPG:] ERROR proc_pkt.plaintext 89_BAD_DATA\n"), "not one signed text");
  EXPECT_EQ(judged("[GNUPG:] PLAINTEXT 74 0 \n[GNUPG:] PLAINTEXT 74 0 \n" + good(key)), "not one signed text");
  EXPECT_EQ(judged("[GNUPG:] NODATA 1\n"), "not signed");
  EXPECT_EQ(judged(""), "not signed");
  // Only its own words count.
  EXPECT_EQ(judged("GOODSIG x\nVALIDSIG " + key + "\n"), "not signed");
  EXPECT_EQ(judged("[GNUPG:] NEWSIG\n[GNUPG:] VALIDSIG " + key + " x\n"), "not signed");
}

TEST(Signature, ArmoredKeysAreReadBlockByBlock) {
  const auto block = [](const std::string& content, const std::string& head = "Comment: x\n\n") {
    return "-----BEGIN PGP PUBLIC KEY BLOCK-----\n" + head + to_base64(as_bytes(content)) + "\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
  };
  const auto keys = dearmored(as_bytes("text\n" + block("first") + "text\n" + block("second", "\n")));
  ASSERT_TRUE(keys);
  EXPECT_EQ(as_text(*keys), "firstsecond");
  EXPECT_EQ(as_text(*dearmored(as_bytes("\x99 binary"))), "\x99 binary");
  const std::string whole = block("first");
  EXPECT_FALSE(dearmored(as_bytes(whole.substr(0, whole.size() - 10))));
  EXPECT_FALSE(dearmored(as_bytes(block("first", ""))));
  EXPECT_FALSE(dearmored(as_bytes("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n$$$$\n-----END PGP PUBLIC KEY BLOCK-----\n")));
}

TEST(Urls, KeepSlashesAndQuoteTheRest) {
  EXPECT_EQ(join_url("http://h/base/", "a b/c+d%3a~1_2-3.deb"), "http://h/base/a%20b/c%2Bd%253a~1_2-3.deb");
  EXPECT_EQ(join_url("http://h", "?q#f"), "http://h/%3Fq%23f");
}

TEST(TakenStates, AreKeptAndOnlyGrow) {
  std::string folder = (std::filesystem::temp_directory_path() / "gatehouse-taken-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string odd = "apt:/a b/\xFF\n\"";
  {
    auto taken = Taken::read(folder);
    ASSERT_TRUE(taken);
    EXPECT_EQ(taken->find("x"), nullptr);
    taken->note("x", {100, "KEY"});
    taken->note("x", {99, ""});
    taken->note(odd, {-1, ""});
    ASSERT_TRUE(taken->write(folder));
  }
  const auto taken = Taken::read(folder);
  ASSERT_TRUE(taken);
  ASSERT_NE(taken->find("x"), nullptr);
  EXPECT_EQ(taken->find("x")->date, 100);
  EXPECT_EQ(taken->find("x")->signer, "KEY");
  ASSERT_NE(taken->find(odd), nullptr);
  EXPECT_TRUE(taken->has_kind("apt:"));
  EXPECT_FALSE(taken->has_kind("rpm-md:"));
  // A record that lost its end would forget what it protects from.
  const auto content = read_file(folder + "/REPOSITORIES", 4096);
  ASSERT_TRUE(content);
  for (std::size_t n = 1; n < content->size(); ++n) {
    if ((*content)[n - 1] == std::byte{'\n'}) continue;
    ASSERT_TRUE(write_file_atomically(folder + "/REPOSITORIES", Bytes(*content).first(n)));
    EXPECT_FALSE(Taken::read(folder)) << n;
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace gatehouse::refdb
