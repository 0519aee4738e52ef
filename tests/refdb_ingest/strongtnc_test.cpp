// strongTNC's database: made here by the facts of its schema, in the shapes that it had, then damaged, and made to lie.
#include "refdb/ingest/strongtnc.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>

#include "base/hex.h"
#include "refdb/ingest/decoders.h"
#include "refdb/ingest/device_messages.h"
#include "refdb/ingest/input.h"
#include "refdb/store/open.h"
#include "tests/folder.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;

std::string hex(char digit, HashAlgorithm algorithm = HashAlgorithm::sha256) {
  return std::string(2 * digest_size(algorithm), digit);
}

// A database in memory, and its bytes.
class Maker {
 public:
  explicit Maker(const std::string& sql = {}) {
    EXPECT_EQ(sqlite3_open(":memory:", &handle_), SQLITE_OK);
    if (!sql.empty()) run(sql);
  }
  ~Maker() { sqlite3_close(handle_); }
  Maker(const Maker&) = delete;
  Maker& operator=(const Maker&) = delete;
  Maker& run(const std::string& sql) {
    char* why = nullptr;
    EXPECT_EQ(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, &why), SQLITE_OK) << sql << ": " << (why ? why : "");
    sqlite3_free(why);
    return *this;
  }
  ByteVector bytes() const {
    sqlite3_int64 size = 0;
    unsigned char* const data = sqlite3_serialize(handle_, "main", &size, 0);
    ByteVector out(reinterpret_cast<std::byte*>(data), reinterpret_cast<std::byte*>(data) + size);
    sqlite3_free(data);
    return out;
  }

 private:
  sqlite3* handle_ = nullptr;
};

// Since 2014: a digest belongs to a version of a package.
const std::string tables =
    "CREATE TABLE directories (id INTEGER PRIMARY KEY, path TEXT NOT NULL);"
    "CREATE TABLE files (id INTEGER PRIMARY KEY, dir INTEGER, name TEXT NOT NULL);"
    "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
    "CREATE TABLE algorithms (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL);"
    "CREATE TABLE packages (id INTEGER PRIMARY KEY, name TEXT NOT NULL, blacklist INTEGER DEFAULT 0);"
    "CREATE TABLE versions (id INTEGER PRIMARY KEY, package INTEGER NOT NULL, product INTEGER NOT NULL, release TEXT,"
    " security INTEGER DEFAULT 0, blacklist INTEGER DEFAULT 0, time INTEGER DEFAULT 0);"
    "CREATE TABLE devices (id INTEGER PRIMARY KEY, description TEXT, value TEXT NOT NULL, product INTEGER,"
    " trusted INTEGER DEFAULT 0, created INTEGER, inactive INTEGER DEFAULT 0);"
    "CREATE TABLE components (id INTEGER PRIMARY KEY, vendor_id INTEGER NOT NULL, name INTEGER NOT NULL,"
    " qualifier INTEGER DEFAULT 0, label TEXT NOT NULL);"
    "CREATE TABLE component_hashes (id INTEGER PRIMARY KEY, component INTEGER NOT NULL REFERENCES components(id),"
    " key INTEGER NOT NULL REFERENCES devices(id), seq_no INTEGER NOT NULL, pcr INTEGER NOT NULL,"
    " algo INTEGER NOT NULL, hash BLOB NOT NULL);"
    "CREATE TABLE groups (id INTEGER PRIMARY KEY, name VARCHAR(50), parent INTEGER);"
    "CREATE TABLE policies (id INTEGER PRIMARY KEY, type INTEGER, name VARCHAR(100), argument TEXT, rec_fail INTEGER,"
    " rec_noresult INTEGER, file INTEGER, dir INTEGER);"
    "CREATE TABLE enforcements (id INTEGER PRIMARY KEY, policy INTEGER, group_id INTEGER, rec_fail INTEGER,"
    " rec_noresult INTEGER, max_age INTEGER);"
    "CREATE TABLE file_hashes (id INTEGER PRIMARY KEY, file INTEGER NOT NULL, version INTEGER, device INTEGER,"
    " size INTEGER, algo INTEGER NOT NULL, hash VARCHAR(64) NOT NULL, mutable BOOLEAN DEFAULT 0);";
const std::string rows =
    "INSERT INTO directories VALUES (1, '/usr/bin'), (2, '/'), (3, 'C:\\Windows'), (4, '/etc');"
    "INSERT INTO files VALUES (1, 1, 'ls'), (2, 1, 'my app'), (3, 2, 'init'), (4, 3, 'cmd.exe'), (5, 4, 'ls.conf');"
    "INSERT INTO products VALUES (1, 'Debian 12 x86_64'), (2, 'Ubuntu 22.04 x86_64');"
    "INSERT INTO packages (id, name) VALUES (1, 'coreutils'), (2, ''), (3, 'bad');"
    "INSERT INTO versions (id, package, product, release, blacklist) VALUES (1, 1, 1, '9.1-1', 0), (2, 1, 2, '8.32', "
    "0),"
    " (3, 2, 1, NULL, 0), (4, 3, 1, '6', 1);"
    "INSERT INTO groups VALUES (1, 'Default group', NULL), (2, 'servers', 1);"
    "INSERT INTO policies (id, type, name) VALUES (1, 16, 'TPM');"
    "INSERT INTO enforcements (id, policy, group_id) VALUES (1, 1, 1);";

// Shape: file, version, device, size, algorithm, digest as SQL, whether it may change.
std::string digest(int file, int version, const std::string& value, int algorithm = 16384,
                   const std::string& rest = "NULL, 10", const std::string& may_change = "0") {
  return "INSERT INTO file_hashes (file, version, device, size, algo, hash, mutable) VALUES (" + std::to_string(file) +
         ", " + std::to_string(version) + ", " + rest + ", " + std::to_string(algorithm) + ", " + value + ", " +
         may_change + ");";
}
std::string quoted(const std::string& text) { return "'" + text + "'"; }

// "PRODUCT PACKAGE VERSION" of each package and its files; the refusal instead.
std::string references(const ByteVector& bytes, const std::string& product = {}, const IngestLimits& limits = {},
                       StrongTncReferences* report = nullptr) {
  const auto refusal = [](const Error& error) {
    EXPECT_EQ(error.source, "db");
    return std::string(name(error.fault)) + ": " + std::string(error.reason) +
           (error.detail.empty() ? "" : ": " + error.detail);
  };
  const auto database = StrongTnc::open(bytes, "db");
  if (!database) return refusal(database.error());
  std::string out;
  const auto read = (*database)->references(product, limits, [&](const ReferencePackage& p) -> Result<void> {
    EXPECT_EQ(p.source, "strongtnc:db");
    out += p.product + "|" + p.name + "|" + p.version + "\n";
    const auto note = [&out](const auto& digests) {
      for (const auto& [algorithm, value] : digests)
        out += " " + std::string(name(algorithm)) + ":" + value.hex().substr(0, 2);
    };
    for (const ReferenceFile& f : p.files) {
      out += "  " + f.path + " " + std::to_string(f.size) + (f.is_mutable ? " mutable" : "");
      note(f.digests);
      for (const FileContent& c : f.further) {
        out += " or";
        note(c.digests);
      }
      out += "\n";
    }
    return {};
  });
  if (!read) return refusal(read.error());
  if (report != nullptr) *report = *read;
  return out;
}
std::string references(const std::string& sql) { return references(Maker(tables + rows + sql).bytes()); }

TEST(StrongTnc, FilesComeWithTheirPackagesVersionsAndProducts) {
  const std::string sql = digest(1, 1, quoted(hex('a'))) + digest(1, 1, quoted(hex('b', HashAlgorithm::sha1)), 32768) +
                          digest(2, 1, quoted(hex('c', HashAlgorithm::sha384)), 8192, "0, NULL") +
                          digest(5, 1, quoted(hex('d')), 16384, "NULL, 3", "1") + digest(1, 2, quoted(hex('e'))) +
                          digest(3, 3, quoted(hex('f', HashAlgorithm::sha512)), 4096);
  const ByteVector bytes = Maker(tables + rows + sql).bytes();
  const std::string debian =
      "Debian 12 x86_64|coreutils|9.1-1\n  /usr/bin/ls 10 sha1:bb sha256:aa\n  /usr/bin/my app 0 sha384:cc\n"
      "  /etc/ls.conf 3 mutable sha256:dd\n";
  const std::string ubuntu = "Ubuntu 22.04 x86_64|coreutils|8.32\n  /usr/bin/ls 10 sha256:ee\n";
  // What a device measured as reference and no package brought.
  const std::string nameless = "Debian 12 x86_64||\n  /init 10 sha512:ff\n";
  EXPECT_EQ(references(bytes), debian + ubuntu + nameless);
  StrongTncReferences report;
  EXPECT_EQ(references(bytes, "Debian 12 x86_64", {}, &report), debian + nameless);
  EXPECT_EQ(report.packages, 2U);
  EXPECT_EQ(report.files, 4U);
  EXPECT_EQ(text_of(report.products), "\"Debian 12 x86_64\" (4 files), \"Ubuntu 22.04 x86_64\" (1 files)");
  const auto notes = notes_of(report, "Debian 12 x86_64");
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_EQ(notes[0],
            "other products, taken with --all-products or another --product: \"Ubuntu 22.04 x86_64\" (1 files)");
  EXPECT_EQ(notes[1], "not references, left out: 2 groups, 1 policies, 1 enforcements");
  EXPECT_EQ(references(bytes, "debian 12 x86_64"), "");
}

TEST(StrongTnc, ADigestIsTextOrBytes) {
  // A digest that was learned anew stands as bytes where text did.
  EXPECT_EQ(references(digest(1, 1, "x" + quoted(hex('a')))), references(digest(1, 1, quoted(hex('A')))));
  EXPECT_EQ(references(digest(1, 1, "CAST(" + quoted(hex('a')) + " AS BLOB)")),
            references(digest(1, 1, quoted(hex('a')))));
}

TEST(StrongTnc, SeveralContentsOfAPathAreAllReferences) {
  EXPECT_EQ(references(digest(1, 1, quoted(hex('b'))) + digest(1, 1, quoted(hex('a'))) +
                       digest(1, 1, quoted(hex('a'))) + digest(3, 1, quoted(hex('c')))),
            "Debian 12 x86_64|coreutils|9.1-1\n  /usr/bin/ls 10 sha256:aa or sha256:bb\n  /init 10 sha256:cc\n");
}

TEST(StrongTnc, WhatIsNoReferenceIsLeftOutAndCounted) {
  const std::string sql = digest(1, 1, quoted(hex('a'))) +
                          digest(1, 1, quoted(hex('b')), 16384, "7, 10") +                     // of a device
                          digest(1, 1, quoted(hex('b', HashAlgorithm::sha1)), 65536) +         // SHA1-IMA
                          digest(4, 1, quoted(hex('b'))) +                                     // no absolute path
                          digest(99, 1, quoted(hex('b'))) + digest(1, 99, quoted(hex('b'))) +  // nowhere
                          digest(1, 4, quoted(hex('b'))) + digest(3, 4, quoted(hex('b')));     // blacklisted
  StrongTncReferences report;
  EXPECT_EQ(references(Maker(tables + rows + sql).bytes(), "Debian 12 x86_64", {}, &report),
            "Debian 12 x86_64|coreutils|9.1-1\n  /usr/bin/ls 10 sha256:aa\n");
  const auto notes = notes_of(report, "Debian 12 x86_64");
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_EQ(
      notes[0],
      "left out: 1 digests of single devices, 1 digests that aren't of a file's content, 1 digests of files without an "
      "absolute path, 2 digests of files or versions that aren't there, 2 digests of blacklisted packages");
}

// Before there were versions in it; and with keys in place of devices.
const std::string old_tables =
    "CREATE TABLE directories (id INTEGER PRIMARY KEY, path TEXT NOT NULL);"
    "CREATE TABLE files (id INTEGER PRIMARY KEY, dir INTEGER DEFAULT 0, name TEXT NOT NULL);"
    "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
    "CREATE TABLE file_hashes (file INTEGER NOT NULL, product INTEGER NOT NULL, device INTEGER DEFAULT 0, key INTEGER,"
    " algo INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (file, product, device, algo));"
    "CREATE TABLE keys (id INTEGER PRIMARY KEY, keyid BLOB NOT NULL, owner TEXT NOT NULL);"
    "CREATE TABLE devices (id INTEGER PRIMARY KEY, description TEXT, value TEXT NOT NULL, product INTEGER, created "
    "INTEGER);"
    "CREATE TABLE components (id INTEGER PRIMARY KEY, vendor_id INTEGER, name INTEGER, qualifier INTEGER);"
    "CREATE TABLE component_hashes (component INTEGER NOT NULL, key INTEGER NOT NULL, seq_no INTEGER NOT NULL,"
    " pcr INTEGER NOT NULL, algo INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (component, key, seq_no, algo));";

TEST(StrongTnc, TheOldShapeHasFilesOfProducts) {
  const Maker database(
      old_tables +
      "INSERT INTO directories VALUES (1, '/sbin'); INSERT INTO files VALUES (1, 1, 'init'), (2, 0, 'x');"
      "INSERT INTO products VALUES (5, 'Debian 6.0 i686'); INSERT INTO file_hashes VALUES"
      " (1, 5, 0, 0, 16384, x'" +
      hex('a') + "'), (1, 5, 0, 0, 32768, x'" + hex('b', HashAlgorithm::sha1) + "'), (2, 5, 0, 0, 16384, x'" +
      hex('a') + "');");
  StrongTncReferences report;
  EXPECT_EQ(references(database.bytes(), {}, {}, &report), "Debian 6.0 i686||\n  /sbin/init 0 sha1:bb sha256:aa\n");
  EXPECT_EQ(report.left.no_path, 1U);
}

TEST(StrongTnc, ADamagedRowIsNamedAndNothingOfTheDatabaseIsTaken) {
  const std::string good = digest(1, 1, quoted(hex('a')));
  const auto refused = [&](const std::string& why, const std::string& sql) {
    EXPECT_EQ(references(good + sql), "malformed: " + why) << sql;
  };
  const std::string long_digest =
      "a digest of another length than its algorithm's: table file_hashes, row 2, column hash";
  refused(long_digest, digest(3, 1, quoted(hex('a', HashAlgorithm::sha1))));
  refused(long_digest, digest(3, 1, quoted("")));
  refused(long_digest, digest(3, 1, quoted(hex('a')), 32768));
  refused("a digest that isn't hexadecimal: table file_hashes, row 2, column hash", digest(3, 1, quoted(hex('g'))));
  refused(long_digest, digest(3, 1, "1.5"));
  refused("longer than allowed: table file_hashes, row 2, column hash", digest(3, 1, quoted(std::string(129, 'a'))));
  refused("not a number: table file_hashes, row 2, column size", digest(3, 1, quoted(hex('a')), 16384, "NULL, 'ten'"));
  refused("a number out of range: table file_hashes, row 2, column size",
          digest(3, 1, quoted(hex('a')), 16384, "NULL, -1"));
  refused("a number out of range: table file_hashes, row 2, column mutable",
          digest(3, 1, quoted(hex('a')), 16384, "NULL, 1", "-1"));
  refused("not a number: table file_hashes, row 2, column device", digest(3, 1, quoted(hex('a')), 16384, "'x', 1"));
  refused("a number out of range: table file_hashes, row 2, column version", digest(3, -1, quoted(hex('a'))));
  refused("a number out of range: table file_hashes, row 2, column file", digest(-3, 1, quoted(hex('a'))));
  refused("not text: table products, row 3, column name", "INSERT INTO products VALUES (3, x'00');");
  refused("a number out of range: table products, row -3, column id", "INSERT INTO products VALUES (-3, 'x');");
  refused("a name that isn't printable text: table products, row 3, column name",
          "INSERT INTO products VALUES (3, 'a' || char(10) || 'b');");
  refused("not a number: table versions, row 5, column product",
          "INSERT INTO versions (id, package, product) VALUES (5, 1, 'one');" + digest(3, 5, quoted(hex('a'))));
  // Names of files that would be elsewhere.
  for (const char* const name : {"'../../etc/shadow'", "'..'", "'.'", "''", "'a/b'", "'a' || char(0) || 'b'"})
    refused("not the name of a file: table files, row 9, column name",
            "INSERT INTO files VALUES (9, 1, " + std::string(name) + ");" + digest(9, 1, quoted(hex('a'))));
  for (const char* const folder : {"/usr/../etc", "/usr//bin", "/./usr"})
    refused("not an absolute path in canonical form: table directories, row 9, column path",
            "INSERT INTO directories VALUES (9, '" + std::string(folder) + "'); INSERT INTO files VALUES (9, 9, 'x');" +
                digest(9, 1, quoted(hex('a'))));
}

TEST(StrongTnc, NothingButTablesIsRead) {
  const auto refused = [](const std::string& why, const std::string& sql) {
    EXPECT_EQ(references(Maker(tables + rows + digest(1, 1, quoted(hex('a'))) + sql).bytes()), "malformed: " + why)
        << sql;
  };
  const std::string else_table = "something else where a table belongs: table ";
  refused(else_table + "products", "DROP TABLE products; CREATE VIEW products AS SELECT 1 AS id, 'x' AS name;");
  refused(else_table + "files", "DROP TABLE files; CREATE VIRTUAL TABLE files USING fts4(id, dir, name);");
  refused(
      "a generated column: table files",
      "DROP TABLE files; CREATE TABLE files (id INTEGER PRIMARY KEY, dir INTEGER, name AS (hex(zeroblob(1000000))));");
  refused("a column is missing: table files, column dir",
          "DROP TABLE files; CREATE TABLE files (id INTEGER PRIMARY KEY, name);");
  refused("not strongTNC's database: a table is missing: directories", "DROP TABLE directories;");
}

TEST(StrongTnc, ValuesAndWorkAreBounded) {
  EXPECT_EQ(references("INSERT INTO directories VALUES (9, '/' || hex(zeroblob(600000)));"
                       "INSERT INTO files VALUES (9, 9, 'x');" +
                       digest(9, 1, quoted(hex('a')))),
            "limit exceeded: a value longer than allowed: table directories");
  const std::string two = digest(1, 1, quoted(hex('a'))) + digest(3, 1, quoted(hex('a')));
  const ByteVector bytes = Maker(tables + rows + two).bytes();
  EXPECT_EQ(references(bytes, {}, {.files = 1}), "limit exceeded: more files than allowed: table file_hashes, version 1");
  EXPECT_EQ(references(bytes, {}, {.path_bytes = 15}),
            "limit exceeded: longer paths than allowed: table file_hashes, version 1");
  // Without an index to find a file by, each of many digests asks all of many files.
  EXPECT_EQ(references("DROP TABLE files; CREATE TABLE files (id INTEGER, dir INTEGER, name TEXT);"
                       "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
                       " INSERT INTO files SELECT i, 1, 'a' FROM n;"
                       "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
                       " INSERT INTO file_hashes (file, version, algo, hash) SELECT i, 1, 16384, " +
                       quoted(hex('a')) + " FROM n;"),
            "limit exceeded: more work than the database's size accounts for: table files");
}

TEST(StrongTnc, DamagedPagesAreRefused) {
  const ByteVector whole = Maker(tables + rows + digest(1, 1, quoted(hex('a')))).bytes();
  EXPECT_EQ(references(ByteVector()), "malformed: not strongTNC's database: a table is missing: products");
  EXPECT_EQ(references(ByteVector(5000, std::byte{'x'})), "malformed: not a SQLite database");
  // Wherever it is cut: refused, and not by a table that would be missing.
  for (std::size_t size = 512; size < whole.size(); size += 512) {
    const std::string answer = references(ByteVector(whole.begin(), whole.begin() + std::ptrdiff_t(size)));
    EXPECT_TRUE(answer.starts_with("malformed: a damaged") || answer.starts_with("malformed: not a SQLite database"))
        << size << ": " << answer;
  }
  // Bytes overwritten all over it: a refusal, or what another database would say; never a crash.
  for (std::size_t at = 0; at < whole.size(); at += 31) {
    ByteVector changed = whole;
    changed[at] ^= std::byte{0xFF};
    references(changed);
  }
}

// Devices and baselines, a line each; the refusal instead.
std::string devices(const ByteVector& bytes, StrongTncDevices* report = nullptr) {
  const auto database = StrongTnc::open(bytes, "db");
  if (!database) return std::string(database.error().reason);
  std::string out;
  const auto on_device = [&](const StrongTncDevice& d) -> Result<void> {
    out += d.id + "|" + d.product + (d.trusted ? "|trusted\n" : "|\n");
    return {};
  };
  const auto on_baseline = [&](const StrongTncBaseline& b) -> Result<void> {
    out += b.device + " " + std::string(name(b.bank));
    for (const auto& [pcr, digests] : b.pcrs) {
      out += " " + std::to_string(pcr) + ":";
      for (const Digest& d : digests) out += d.hex().substr(0, 2);
    }
    out += "\n";
    return {};
  };
  const auto read = (*database)->devices({.device = on_device, .baseline = on_baseline});
  if (!read) return std::string(read.error().reason) + ": " + read.error().detail;
  if (report != nullptr) *report = *read;
  return out;
}
std::string device(int id, const std::string& value, const std::string& product, const std::string& rest) {
  return "INSERT INTO devices (id, value, product, trusted, inactive) VALUES (" + std::to_string(id) + ", '" + value +
         "', " + product + ", " + rest + ");";
}
// The firmware's component is 1, the aggregate that IMA begins with 2.
const std::string components =
    "INSERT INTO components VALUES (1, 36906, 3, 33, 'B'), (2, 36906, 3, 34, 'I'), (3, 36906, 2, 33, 'T');";
std::string event(int component, int key, int number, int pcr, char digit, int algorithm = 16384) {
  const HashAlgorithm a = algorithm == 16384  ? HashAlgorithm::sha256
                          : algorithm == 8192 ? HashAlgorithm::sha384
                                              : HashAlgorithm::sha1;
  return "INSERT INTO component_hashes (component, key, seq_no, pcr, algo, hash) VALUES (" + std::to_string(component) +
         ", " + std::to_string(key) + ", " + std::to_string(number) + ", " + std::to_string(pcr) + ", " +
         std::to_string(algorithm) + ", x'" + hex(digit, a) + "');";
}

TEST(StrongTnc, DevicesComeOnceWithTheirNewestProduct) {
  StrongTncDevices report;
  EXPECT_EQ(devices(Maker(tables + rows + device(1, "aa", "1", "1, 0") + device(2, "bb", "NULL", "0, 0") +
                          device(3, "aa", "2", "0, 0") + device(4, "cc", "1", "1, 1") + device(5, "dd", "77", "1, 0"))
                        .bytes(),
                    &report),
            "aa|Ubuntu 22.04 x86_64|\nbb||\ndd||trusted\n");
  EXPECT_EQ(report.devices, 3U);
  EXPECT_EQ(report.other_products, 1U);
  EXPECT_EQ(report.inactive, 1U);
}

TEST(StrongTnc, TheFirmwaresDigestsAreABaselineInTheirOrder) {
  StrongTncDevices report;
  const std::string sql = components + device(1, "aa", "1", "1, 0") + device(2, "bb", "1", "1, 0") +
                          event(1, 1, 2, 0, 'b') + event(1, 1, 1, 0, 'a') + event(1, 1, 3, 7, 'c') +
                          event(1, 1, 4, 0, 'd') + event(1, 1, 1, 0, 'e', 8192) +  // a second bank
                          event(1, 1, 1, 0, 'f', 32768) +                          // SHA-1
                          event(2, 1, 1, 10, 'f') + event(3, 1, 1, 17, 'f') +      // other components
                          event(1, 2, 1, 0, 'a') + event(1, 2, 3, 0, 'b') +        // number 2 is missing
                          event(1, 9, 1, 0, 'a');                                  // of nobody
  EXPECT_EQ(devices(Maker(tables + rows + sql).bytes(), &report),
            "aa|Debian 12 x86_64|trusted\nbb|Debian 12 x86_64|trusted\naa sha384 0:ee\naa sha256 0:aabbdd 7:cc\n");
  EXPECT_EQ(report.baselines, 2U);
  EXPECT_EQ(report.sha1, 1U);
  EXPECT_EQ(report.components, 2U);
  EXPECT_EQ(report.dangling, 1U);
  ASSERT_EQ(report.refused.size(), 1U);
  EXPECT_EQ(report.refused[0].first, "bb");
  EXPECT_EQ(report.refused[0].second, "events are missing or there twice in sha256");
}

TEST(StrongTnc, KeysOfOldDatabasesAreDevicesByTheirKeyIds) {
  const std::string key_id = hex('7', HashAlgorithm::sha1);
  EXPECT_EQ(devices(Maker(old_tables + "INSERT INTO keys VALUES (1, x'" + key_id + "', 'carol');" +
                          "INSERT INTO components VALUES (1, 36906, 3, 33);" +
                          "INSERT INTO devices (id, value) VALUES (1, 'phone');" + event(1, 1, 1, 4, 'a'))
                        .bytes()),
            "phone||\n" + key_id + "||trusted\n" + key_id + " sha256 4:aa\n");
}

TEST(StrongTnc, ADamagedDeviceIsNamed) {
  const auto answer = [](const std::string& sql) {
    return devices(Maker(tables + rows + components + device(1, "aa", "1", "1, 0") + sql).bytes());
  };
  EXPECT_EQ(answer("INSERT INTO devices (id, value) VALUES (2, x'00');"),
            "not text: table devices, row 2, column value");
  EXPECT_EQ(answer(device(2, "", "1", "0, 0")), "not a Device ID: table devices, row 2, column value");
  EXPECT_EQ(answer(device(2, std::string(257, 'a'), "1", "0, 0")),
            "longer than allowed: table devices, row 2, column value");
  EXPECT_EQ(answer(device(2, "bb", "1", "2, 0")), "a number out of range: table devices, row 2, column trusted");
  EXPECT_EQ(answer(device(2, "bb", "1", "'yes', 0")), "not a number: table devices, row 2, column trusted");
  EXPECT_EQ(answer(device(-2, "bb", "1", "1, 0")), "a number out of range: table devices, row -2, column id");
  EXPECT_EQ(answer(event(1, 1, 1, 24, 'a')), "a number out of range: table component_hashes, row 1, column pcr");
  EXPECT_EQ(answer(event(1, 1, -1, 0, 'a')), "a number out of range: table component_hashes, row 1, column seq_no");
  EXPECT_EQ(answer(event(1, 1, 1, 0, 'a', 5)), "an unknown algorithm: table component_hashes, row 1, column algo");
  EXPECT_EQ(answer("INSERT INTO component_hashes VALUES (1, 1, 1, 1, 0, 16384, x'aa');"),
            "a digest of another length than its algorithm's: table component_hashes, row 1, column hash");
}

TEST(StrongTnc, AFileThatIsInUseIsRefusedAndNothingIsWritten) {
  const test::Folder folder;
  const std::string path = folder / "a b%3f?#.db";
  const ByteVector bytes = Maker(tables + rows + digest(1, 1, quoted(hex('a')))).bytes();
  folder.write("a b%3f?#.db", as_text(bytes));
  const auto count = [&]() -> Result<std::uint64_t> {
    GH_TRY(const auto file, open_strongtnc(path));
    GH_TRY(const auto database, StrongTnc::open(*file, path));
    GH_TRY(const auto read, database->references({}, {}, [](const ReferencePackage&) { return Result<void>(); }));
    return read.files;
  };
  ASSERT_TRUE(count().has_value()) << count().error().text();
  EXPECT_EQ(*count(), 1U);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
  for (const char* const suffix : {"-wal", "-journal"}) {
    folder.write(std::string("a b%3f?#.db") + suffix, "x");
    const auto refused = count();
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().fault, Fault::environment);
    EXPECT_EQ(refused.error().reason, "the database is in use: stop who writes to it, or take a copy (.backup)");
    fs::remove(path + suffix);
  }
  EXPECT_EQ(open_strongtnc(folder / "none").error().fault, Fault::environment);
  EXPECT_EQ(open_strongtnc(folder.path()).error().fault, Fault::environment);
}

// Who reads it has no rights: sorting many rows needs no file, and a database that was written ahead is like any.
TEST(StrongTnc, IsReadByAProcessWithoutRightsAsItIsHere) {
  const test::Folder folder;
  Maker maker(tables + rows + components + device(1, "aa", "1", "1, 0") + event(1, 1, 1, 0, 'a') +
              device(2, "bb", "2", "0, 0") + event(1, 2, 2, 0, 'a'));
  maker.run(
      "INSERT INTO files SELECT value + 100, 1, 'file ' || value FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL "
      "SELECT value + 1 FROM n WHERE value < 20000) SELECT value FROM n);"
      "INSERT INTO file_hashes (file, version, size, algo, hash) SELECT id, 1 + (id * 7919 % 2), 5, 16384, "
      "substr(hex(zeroblob(28)) || printf('%08X', id * 7919), 1, 64) FROM files WHERE id > 100;"
      "INSERT INTO file_hashes (file, version, size, algo, hash) SELECT id, 1, 5, 16384, "
      "substr(hex(zeroblob(28)) || printf('%08X', id + 7), 1, 64) FROM files WHERE id BETWEEN 200 AND 300;");
  ByteVector bytes = maker.bytes();
  bytes[18] = bytes[19] = std::byte{2};
  folder.write("db", as_text(bytes));
  std::vector<std::string> said[2];
  for (const bool sandbox : {false, true}) {
    IngestOptions options;
    options.refdb = folder / (sandbox ? "confined" : "here");
    options.product = "Debian 12 x86_64";
    options.sandbox = sandbox;
    options.sources = {"strongtnc:" + folder / "db"};
    const auto one = ingest(options);
    ASSERT_TRUE(one) << one.error().text();
    EXPECT_TRUE(one->failed.empty()) << one->failed[0].reason;
    EXPECT_GT(one->files, 9'000U);
    EXPECT_FALSE(one->warnings.empty());
    said[sandbox] = one->warnings;
    options.all_products = true;
    const auto all = ingest(options);
    ASSERT_TRUE(all) << all.error().text();
    said[sandbox].push_back(read_stats(options.refdb)->content_digest);
    EXPECT_EQ(read_stats(options.refdb)->files, 20'000U + 50U);  // some files are of both products
    options.product = "Ubuntu";
    options.all_products = false;
    const auto none = ingest(options);
    ASSERT_EQ(none->failed.size(), 1U);
    said[sandbox].push_back(none->failed[0].reason);
    const auto decoders = Decoders::start({.at_once = 1, .confined = sandbox}).value();
    const auto listing = decoders->strongtnc_devices(*open_strongtnc(folder / "db").value(), "db").value();
    ASSERT_EQ(listing.devices.size(), 2U);
    EXPECT_EQ(listing.devices[0].id + listing.devices[0].product, "aaDebian 12 x86_64");
    EXPECT_TRUE(listing.devices[0].trusted);
    ASSERT_EQ(listing.baselines.size(), 1U);
    EXPECT_EQ(listing.baselines[0].device, "aa");
    EXPECT_EQ(listing.baselines[0].pcrs.at(0).at(0).hex(), hex('a'));
    EXPECT_EQ(listing.counts.devices, 2U);
    EXPECT_EQ(listing.counts.baselines, 1U);
    ASSERT_EQ(listing.counts.refused.size(), 1U);
    EXPECT_EQ(listing.counts.refused[0].second, "events are missing or there twice in sha256");
  }
  EXPECT_EQ(said[0], said[1]);
}

TEST(StrongTnc, GroupsComeWithMembersAndWhatTheyAskFor) {
  const std::string more =
      "CREATE TABLE groups_members (id INTEGER PRIMARY KEY, group_id INTEGER, device_id INTEGER);"
      "CREATE TABLE groups_product_defaults (id INTEGER PRIMARY KEY, group_id INTEGER, product_id INTEGER);"
      "INSERT INTO devices (id, value, product) VALUES (1, 'bb', 1), (2, 'aa', 1), (3, 'aa', 2);"
      "INSERT INTO groups_members (group_id, device_id) VALUES (2, 1), (2, 2), (2, 3), (2, 9), (9, 1);"
      "INSERT INTO groups_product_defaults (group_id, product_id) VALUES (2, 2), (2, 7);"
      "INSERT INTO policies VALUES (2, 6, 'ls', '', 2, 1, 1, 0), (3, 9, 'etc', '', 0, NULL, 0, 4), (4, 11, 'ports', '22 80', 3, 3, 0, 0),"
      " (5, 99, 'later', '', 0, 0, 0, 0), (6, 6, 'lost', '', 0, 0, 77, 0);"
      "INSERT INTO enforcements VALUES (2, 2, 2, 0, 2, 60), (3, 3, 2, 1, NULL, NULL), (4, 4, 1, NULL, 0, 86400),"
      " (5, 5, 1, NULL, NULL, 0), (6, 6, 1, NULL, NULL, 0), (7, 2, 9, NULL, NULL, 0);";
  const ByteVector bytes = Maker(tables + rows + more).bytes();
  const auto database = StrongTnc::open(bytes, "db").value();
  const auto groups = database->groups();
  ASSERT_TRUE(groups) << groups.error().text();
  ASSERT_EQ(groups->size(), 2U);
  const StrongTncGroup& top = groups->at(0);
  EXPECT_EQ(top.name, "Default group");
  EXPECT_TRUE(top.is_default && top.parent.empty() && top.devices.empty());
  ASSERT_EQ(top.ask.size(), 3U);
  EXPECT_EQ(top.ask[0], (StrongTncEnforcement{16, "", std::nullopt, std::nullopt, 0}));
  EXPECT_EQ(top.ask[1], (StrongTncEnforcement{11, "22 80", 3, 3, 86400}));
  EXPECT_EQ(top.ask[2], (StrongTncEnforcement{6, "", 0, 0, 0})) << "its file isn't there";
  const StrongTncGroup& servers = groups->at(1);
  EXPECT_EQ(servers.name + "|" + servers.parent, "servers|Default group");
  EXPECT_EQ(servers.devices, (std::vector<std::string>{"aa", "bb"}));
  EXPECT_EQ(servers.products, std::vector<std::string>{"Ubuntu 22.04 x86_64"});
  ASSERT_EQ(servers.ask.size(), 2U);
  EXPECT_EQ(servers.ask[0], (StrongTncEnforcement{6, "/usr/bin/ls", 2, 2, 60})) << "0 is no recommendation of its own";
  EXPECT_EQ(servers.ask[1], (StrongTncEnforcement{9, "/etc", 1, std::nullopt, 0}));
  // As another process tells it.
  DevicesAnswer answer(bytes.size());
  ASSERT_TRUE(send_devices(*database, [&](Bytes message) -> Result<void> {
    const auto taken = answer.take(message);
    EXPECT_TRUE(taken);
    return {};
  }));
  EXPECT_EQ(answer.listing().groups, *groups);
  // What is no group.
  for (const char* const wrong : {"INSERT INTO groups VALUES (3, 'servers', 1);", "INSERT INTO groups VALUES (3, '', 1);",
                                  "UPDATE groups SET name = char(10) WHERE id = 2;", "UPDATE enforcements SET rec_fail = 4 WHERE id = 2;",
                                  "UPDATE enforcements SET max_age = -1 WHERE id = 2;", "UPDATE policies SET type = 'x' WHERE id = 2;"}) {
    const ByteVector damaged = Maker(tables + rows + more + wrong).bytes();
    const auto opened = StrongTnc::open(damaged, "db").value();
    EXPECT_FALSE(opened->groups()) << wrong;
  }
}

// What was taken over says what it likes; a device is believed in its form.
TEST(StrongTnc, DevicesAreBelievedOnlyInTheirForm) {
  const ByteVector bytes =
      Maker(tables + rows + components + device(1, "aa", "1", "1, 0") + event(1, 1, 1, 0, 'a') + event(1, 1, 2, 7, 'b') +
            device(2, "bb", "1", "0, 0") + event(1, 2, 2, 0, 'a'))
          .bytes();
  const auto database = StrongTnc::open(bytes, "db").value();
  std::vector<ByteVector> messages;
  ASSERT_TRUE(send_devices(*database, [&](Bytes message) -> Result<void> {
    messages.push_back(to_vector(message));
    return {};
  }));
  DevicesAnswer good(bytes.size());
  for (const ByteVector& m : messages) EXPECT_FALSE(good.take(m).value());
  EXPECT_TRUE(good.take(done_message()).value());
  EXPECT_EQ(good.listing().devices.size(), 2U);
  EXPECT_EQ(good.listing().baselines.at(0).pcrs.at(7).at(0).hex(), hex('b'));
  EXPECT_EQ(good.listing().counts.baselines, 1U);
  EXPECT_EQ(good.listing().counts.refused.size(), 1U);
  const auto refused = [](Bytes message, std::uint64_t size = 1000) {
    DevicesAnswer answer(size);
    const auto taken = answer.take(message);
    return !taken && taken.error().reason == "what the decoder says is no answer";
  };
  for (const ByteVector& m : messages) {
    const bool of_a_group = m[0] == std::byte{'M'} || m[0] == std::byte{'O'} || m[0] == std::byte{'R'};
    EXPECT_EQ(refused(m), of_a_group) << "there was no group before it";
    if (of_a_group) continue;
    for (std::size_t n = 0; n < m.size(); ++n) {
      const bool shorter_baseline = m[0] == std::byte{'B'} && n == m.size() - 33;
      EXPECT_EQ(refused(Bytes(m).first(n)), !shorter_baseline) << n;
    }
  }
  // More than the database accounts for, a PCR that there isn't, text that isn't for people, a device without an id.
  EXPECT_TRUE(refused(messages[0], 1));
  const std::string baseline = std::string("B\0\0\0\1a\0\x0b", 8);
  EXPECT_FALSE(refused(as_bytes(baseline + std::string(33, '\x17'))));
  EXPECT_TRUE(refused(as_bytes(baseline + std::string(33, '\x17')), 32));
  EXPECT_TRUE(refused(as_bytes(baseline + std::string(33, '\x18'))));
  EXPECT_FALSE(refused(as_bytes(std::string("V\0\0\0\1a\0\0\0\1b\1", 12))));
  EXPECT_TRUE(refused(as_bytes(std::string("V\0\0\0\1a\0\0\0\1b\2", 12))));
  EXPECT_TRUE(refused(as_bytes(std::string("V\0\0\0\1\x1b\0\0\0\1b\1", 12))));
  EXPECT_TRUE(refused(as_bytes(std::string("V\0\0\0\0\0\0\0\1b\1", 11))));
  EXPECT_TRUE(refused(as_bytes("P")));
  DevicesAnswer with_group(1000);
  EXPECT_TRUE(with_group.take(as_bytes(std::string("G\0\0\0\1a\0\0\0\0\1", 11))));
  EXPECT_TRUE(with_group.take(as_bytes(std::string("R\6\0\0\0\1/\xff\3\0\0\0\0\0\0\0\1", 17))));
  EXPECT_FALSE(with_group.take(as_bytes(std::string("R\6\0\0\0\1/\4\3\0\0\0\0\0\0\0\1", 17))));
  EXPECT_FALSE(with_group.take(as_bytes(std::string("R\21\0\0\0\1/\1\3\0\0\0\0\0\0\0\1", 17))));
}

}  // namespace
}  // namespace gatehouse::refdb
