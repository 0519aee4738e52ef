// For sanitizer builds, most of whose files aren't optimized: what those call all the time, optimized. The linker takes the
// first copy of an inline function that it meets, and meets these first (CMakeLists.txt). They are instrumented as all others.
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/reader.h"
#include "base/writer.h"

using gatehouse::Bytes;
using gatehouse::ByteVector;
using gatehouse::Error;
using gatehouse::Reader;
using gatehouse::Result;
using gatehouse::Writer;
using InBytes = Bytes::iterator;
using InVector = ByteVector::iterator;
using At = ByteVector::const_iterator;

template class std::basic_string<char>;
template class std::basic_string_view<char>;
template class std::span<const std::byte>;
template class std::vector<std::byte>;
template class std::vector<std::string>;
template class std::optional<std::string>;
template class std::expected<Bytes, Error>;
template class std::expected<ByteVector, Error>;
template class std::expected<std::string, Error>;
template class std::expected<std::uint8_t, Error>;
template class std::expected<std::uint16_t, Error>;
template class std::expected<std::uint32_t, Error>;
template class std::expected<std::uint64_t, Error>;
template class std::expected<void, Error>;
template class __gnu_cxx::__normal_iterator<std::byte*, ByteVector>;
template class __gnu_cxx::__normal_iterator<const std::byte*, ByteVector>;

template InVector std::vector<std::byte>::insert<const std::byte*, void>(At, const std::byte*, const std::byte*);
template InVector std::vector<std::byte>::insert<InBytes, void>(At, InBytes, InBytes);
template InVector std::vector<std::byte>::insert<InVector, void>(At, InVector, InVector);
template InVector std::vector<std::byte>::insert<At, void>(At, At, At);
template std::vector<std::byte>::vector(InBytes, InBytes, const std::allocator<std::byte>&);
template std::basic_string<char>::basic_string(const std::string_view&, const std::allocator<char>&);

template Result<std::uint8_t> Reader::get();
template Result<std::uint16_t> Reader::get();
template Result<std::uint32_t> Reader::get();
template Result<std::uint64_t> Reader::get();
template void Writer::put(std::uint8_t);
template void Writer::put(std::uint16_t);
template void Writer::put(std::uint32_t);
template void Writer::put(std::uint64_t);

namespace {

// Functions that are no templates are there where their addresses are taken.
[[gnu::used]] const struct {
  Result<Bytes> (Reader::*take)(std::size_t) = &Reader::take;
  Result<void> (Reader::*skip)(std::size_t) = &Reader::skip;
  Result<Reader> (Reader::*sub)(std::size_t) = &Reader::sub;
  Result<std::uint32_t> (Reader::*get24)() = &Reader::get24;
  void (Writer::*put_bytes)(Bytes) = &Writer::put_bytes;
  void (Writer::*put24)(std::uint32_t) = &Writer::put24;
  ByteVector (*vector)(Bytes) = &gatehouse::to_vector;
  bool (*same)(Bytes, Bytes) = &gatehouse::equal;
} functions;

}  // namespace
