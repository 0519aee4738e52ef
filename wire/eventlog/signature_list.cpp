#include "wire/eventlog/signature_list.h"

#include <array>

namespace gatehouse::eventlog {
namespace {

constexpr std::size_t guid_size = 16, header_size = guid_size + 3 * 4;

struct Type {
  std::array<unsigned char, guid_size> guid;  // mixed-endian, as in the list
  Signature::Kind kind;
  std::size_t data_size;  // 0: any
};
constexpr Type types[] = {
    // c1c41626-504c-4092-aca9-41f936934328
    {{0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28},
     Signature::Kind::sha256,
     32},
    // a5c059a1-94e4-4aa7-87b5-ab155c2bf072
    {{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72},
     Signature::Kind::x509,
     0},
    // 3bd2a492-96c0-4079-b420-fcf98ef103ed
    {{0x92, 0xa4, 0xd2, 0x3b, 0xc0, 0x96, 0x79, 0x40, 0xb4, 0x20, 0xfc, 0xf9, 0x8e, 0xf1, 0x03, 0xed},
     Signature::Kind::x509_sha256,
     32 + 16},
};

const Type* type_of(Bytes guid) {
  for (const Type& type : types)
    if (equal(guid, std::as_bytes(std::span(type.guid)))) return &type;
  return nullptr;
}

}  // namespace

Result<void> SignatureLists::begin_list() {
  const auto start = rest_;
  GH_TRY(const Bytes guid, rest_.take(guid_size));
  GH_TRY(const auto list, rest_.get_le<std::uint32_t>());
  GH_TRY(const auto head, rest_.get_le<std::uint32_t>());
  GH_TRY(const auto entry, rest_.get_le<std::uint32_t>());
  if (list < header_size || list - header_size > rest_.remaining())
    return start.fail("list size contradicts the variable's");
  GH_TRY(entries_, rest_.sub(list - header_size));
  if (head > entries_.remaining()) return start.fail("header size beyond the list");
  GH_CHECK(entries_.skip(head));
  const Type* const type = type_of(guid);
  if (entry <= guid_size) return start.fail("signature size without room for a signature");
  if (type != nullptr && type->data_size != 0 && entry - guid_size != type->data_size)
    return start.fail("signature size contradicts the list's type");
  if (entries_.remaining() % entry != 0) return start.fail("signature size contradicts the list's size");
  entry_size_ = entry;
  kind_ = type == nullptr ? Signature::Kind::other : type->kind;
  return {};
}

Result<std::optional<Signature>> SignatureLists::next() {
  while (entries_.empty()) {
    if (rest_.empty()) return std::optional<Signature>();
    GH_CHECK(begin_list());
  }
  GH_TRY(const Bytes owner, entries_.take(guid_size));
  GH_TRY(const Bytes data, entries_.take(entry_size_ - guid_size));
  return Signature{kind_, owner, data};
}

}  // namespace gatehouse::eventlog
