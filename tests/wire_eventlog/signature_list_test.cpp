// EFI_SIGNATURE_LIST (UEFI specification 32.4.1): what db and dbx of real machines hold, and lists whose sizes lie.
#include "wire/eventlog/signature_list.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "base/writer.h"
#include "tests/corpus/corpus.h"
#include "wire/eventlog/eventlog.h"

namespace gatehouse::testing {
namespace {

using eventlog::Signature;
using eventlog::SignatureLists;

constexpr std::string_view sha256_type = "2616c4c14c509240aca941f936934328",
                           x509_type = "a159c0a5e494a74a87b5ab155c2bf072",
                           x509_sha256_type = "92a4d23bc0967940b420fcf98ef103ed",
                           unknown_type = "00112233445566778899aabbccddeeff";

struct List {
  std::string_view type = sha256_type;
  std::size_t data_size = 32, count = 2, header = 0;
  std::int64_t list_more = 0, header_more = 0, entry_more = 0;  // of what the fields say than what is true
};
ByteVector made(const List& l) {
  const std::size_t entry = 16 + l.data_size;
  Writer w;
  w.put_bytes(*from_hex(l.type));
  w.put_le(std::uint32_t(std::int64_t(28 + l.header + l.count * entry) + l.list_more));
  w.put_le(std::uint32_t(std::int64_t(l.header) + l.header_more));
  w.put_le(std::uint32_t(std::int64_t(entry) + l.entry_more));
  w.put_zeros(l.header);
  for (std::size_t i = 0; i < l.count; ++i) {
    w.put_bytes(ByteVector(16, std::byte{0xAA}));
    w.put_bytes(ByteVector(l.data_size, std::byte(i)));
  }
  return std::move(w).take();
}

// "sha256 32,x509 5": kinds and data sizes; "error: REASON offset N".
std::string read(Bytes variable) {
  constexpr std::string_view kinds[] = {"sha256", "x509", "x509_sha256", "other"};
  std::string out;
  SignatureLists lists(variable);
  for (;;) {
    const auto next = lists.next();
    if (!next) return "error: " + std::string(next.error().reason) + " offset " + std::to_string(next.error().offset);
    if (!*next) return out;
    EXPECT_EQ((*next)->owner.size(), 16U);
    out += (out.empty() ? "" : ",") + std::string(kinds[std::size_t((*next)->kind)]) + ' ' +
           std::to_string((*next)->data.size());
  }
}

TEST(SignatureList, ListsStandOneBehindTheOther) {
  EXPECT_EQ(read({}), "");
  ByteVector all;
  for (const List& list : {List{}, List{x509_type, 5, 1}, List{x509_sha256_type, 48, 1}, List{unknown_type, 7, 2, 3},
                           List{sha256_type, 32, 0}}) {
    const ByteVector one = made(list);
    all.insert(all.end(), one.begin(), one.end());
  }
  EXPECT_EQ(read(all), "sha256 32,sha256 32,x509 5,x509_sha256 48,other 7,other 7");
  for (std::size_t n = 1; n < all.size(); ++n) EXPECT_NO_FATAL_FAILURE(read(Bytes(all).first(n)));
}

TEST(SignatureList, SizesThatContradictEachOtherAreMalformed) {
  for (std::size_t n = 1; n < made({}).size(); ++n)
    EXPECT_TRUE(read(Bytes(made({})).first(n)).starts_with("error: ")) << n;
  EXPECT_EQ(read(made({.list_more = 1})), "error: list size contradicts the variable's offset 0");
  EXPECT_EQ(read(made({.list_more = -125})), "error: list size contradicts the variable's offset 0")
      << "shorter than its own header";
  EXPECT_EQ(read(made({.list_more = 0xFFFFFFFF - 124})), "error: list size contradicts the variable's offset 0");
  EXPECT_EQ(read(made({.header_more = 97})), "error: header size beyond the list offset 0");
  EXPECT_EQ(read(made({.header_more = 1})), "error: signature size contradicts the list's size offset 0");
  EXPECT_EQ(read(made({.entry_more = 1})), "error: signature size contradicts the list's type offset 0");
  EXPECT_EQ(read(made({.entry_more = -32})), "error: signature size without room for a signature offset 0");
  EXPECT_EQ(read(made({.entry_more = -48})), "error: signature size without room for a signature offset 0");
  EXPECT_EQ(read(made({.type = x509_type, .entry_more = 1})),
            "error: signature size contradicts the list's size offset 0");
  EXPECT_EQ(read(made({.type = sha256_type, .data_size = 33})),
            "error: signature size contradicts the list's type offset 0");
  ByteVector second = made({});
  const ByteVector bad = made({.entry_more = 1});
  second.insert(second.end(), bad.begin(), bad.end());
  EXPECT_EQ(read(second), "error: signature size contradicts the list's type offset 124")
      << "what came before it was read";
}

TEST(SignatureList, DatabasesOfRealMachinesAreReadToTheirEnd) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  const auto variable = [](const std::string& file, std::string_view name) -> ByteVector {
    const ByteVector log = corpus_file("eventlog/" + file);
    eventlog::Cursor cursor;
    cursor.feed(log);
    cursor.end();
    for (auto event = cursor.next(); event && *event != nullptr; event = cursor.next())
      if (const auto v = eventlog::parse_uefi_variable((*event)->data); (*event)->pcr == 7 && v && v->name == name)
        return to_vector(v->data);
    ADD_FAILURE() << file;
    return {};
  };
  const auto count = [](Bytes lists, Signature::Kind kind) {
    SignatureLists all(lists);
    unsigned n = 0;
    for (auto next = all.next(); next && *next; next = all.next()) n += (*next)->kind == kind ? 1 : 0;
    return n;
  };
  const ByteVector db = variable("arch-linux-workstation.bin", "db"), dbx = variable("rust-keylime.bin", "dbx");
  EXPECT_EQ(count(db, Signature::Kind::x509), 3U);
  EXPECT_EQ(count(db, Signature::Kind::sha256), 9U);
  EXPECT_EQ(count(dbx, Signature::Kind::x509), 2U);
  EXPECT_EQ(count(dbx, Signature::Kind::sha256), 480U);
  EXPECT_TRUE(read(variable("own-three-banks.bin", "dbx")).starts_with("error: "));
}

}  // namespace
}  // namespace gatehouse::testing
