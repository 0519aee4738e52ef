// The stream in pieces of 7 bytes, in one, and written where there is room for it: the same messages. What parses is written
// and parsed again.
#include <algorithm>
#include <cstdlib>

#include "wire/pttls/pttls.h"

using namespace gatehouse;

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}

void look_at(const pttls::Message& m) {
  const Bytes v = m.value;
  expect(m.whole.size() <= m.header.length || (m.header.kind() == pttls::Type::error && m.value.empty()));
  for (const auto role : {pttls::Role::client, pttls::Role::server})
    for (const auto phase : {pttls::Phase::version, pttls::Phase::authentication, pttls::Phase::data})
      (void)pttls::rule(role, phase, m.header);
  (void)pttls::parse_version_request(v);
  (void)pttls::parse_version_response(v);
  if (const auto names = pttls::parse_mechanisms(v)) {
    Writer w;
    pttls::append_mechanisms(w, *names);
    const auto again = pttls::parse_mechanisms(w.view());
    expect(again && *again == *names);
  }
  if (const auto s = pttls::parse_selection(v)) (void)pttls::parse_plain(s->initial_response);
  if (const auto result = pttls::parse_sasl_result(v)) {
    Writer w;
    pttls::append_sasl_result(w, result->code, pttls::ResultWidth::sixteen, result->data);
    const auto again = pttls::parse_sasl_result(w.view());
    expect(again && again->code == result->code && equal(again->data, result->data));
  }
  if (const auto error = pttls::parse_error(v)) (void)pttls::fatal(*error, pttls::Phase::data);
}

// All that are there; false: one was refused.
bool take(pttls::Framer& framer, std::size_t& messages) {
  for (;; ++messages) {
    const auto m = framer.next();
    if (!m) return false;
    if (*m == nullptr) return true;
    look_at(**m);
  }
}

std::size_t count(Bytes all, std::size_t piece) {
  pttls::Framer framer;
  std::size_t messages = 0;
  for (std::size_t at = 0; at < all.size(); at += piece) {
    framer.feed(all.subspan(at, std::min(piece, all.size() - at)));
    if (!take(framer, messages)) break;
  }
  return messages;
}

std::size_t count_in_place(Bytes all) {
  pttls::Framer framer;
  std::size_t messages = 0;
  while (!all.empty()) {
    const std::span<std::byte> room = framer.room();
    const std::size_t n = std::min({room.size(), all.size(), std::size_t{1'000}});
    expect(n != 0);
    std::copy_n(all.begin(), n, room.begin());
    all = all.subspan(n);
    const bool lacks_more = framer.came(n);
    if (n % 2 != 0 && lacks_more) framer.wait();
    if (!lacks_more && !take(framer, messages)) break;
  }
  return messages;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  const std::size_t messages = count(all, size == 0 ? 1 : size);
  expect(count(all, 7) == messages);
  expect(count_in_place(all) == messages);
  return 0;
}
