#include "wire/enrolment/enrolment.h"

#include "base/hex.h"

namespace gatehouse::enrolment {
namespace {

constexpr std::string_view spec = "docs/formats/enrolment.md";

Result<void> check_version(Reader& r) {
  const auto start = r;
  GH_TRY(const auto v, r.get<std::uint8_t>());
  if (v != version) return start.fail("unknown version of the enrolment exchange");
  return {};
}

Result<Bytes> sized(Reader& r, std::size_t least, std::size_t most) {
  const auto at = r;
  GH_TRY(const auto size, r.get<std::uint16_t>());
  if (size < least) return at.fail("part shorter than it can be");
  if (size > most) return at.fail("part longer than it may be");
  if (size > r.remaining()) return at.fail("part longer than the attribute");
  return r.take(size);
}

void put_sized(Writer& w, Bytes value) {
  GH_ASSERT(value.size() <= 0xFFFF);
  w.put(std::uint16_t(value.size()));
  w.put_bytes(value);
}

Digest labelled(Bytes key, std::string_view label, Bytes message) {
  Writer w;
  w.put_text(label);
  w.put(std::uint8_t(0));
  w.put_bytes(message);
  return hmac(HashAlgorithm::sha256, key, w.view());
}

Token token_of(Bytes secret) {
  Token out;
  const std::string hex = to_hex(secret);
  for (std::size_t i = 0; i < hex.size(); i += 8) out.text += (i != 0 ? "-" : "") + hex.substr(i, 8);
  Digest id = labelled(secret, "gatehouse enrolment token id 1", {}), key = labelled(secret, "gatehouse enrolment token key 1", {});
  out.id = to_vector(id.view().first(token_id_size));
  out.key = Secret(key.view());
  wipe(key.bytes);
  return out;
}

}  // namespace

std::string attribute_name(std::uint32_t kind) {
  constexpr std::string_view names[] = {"Enrolment Request", "Enrolment Challenge", "Enrolment Response", "Enrolment Outcome"};
  if (is_attribute(kind)) return "Gatehouse/" + std::string(names[kind - type::request]);
  return "Gatehouse/" + std::to_string(kind);
}

std::string_view name(Code code) {
  constexpr std::string_view names[] = {"enrolled", "not_expected", "certificate", "key", "proof", "device", "protocol", "failed"};
  static_assert(std::size(names) == last_code + 1);
  return names[std::size_t(code)];
}

Result<Request> parse_request(Reader& r) {
  if (r.remaining() > max_request) return r.fail("Enrolment Request longer than 32,768 bytes");
  Request v;
  GH_CHECK(check_version(r));
  GH_CHECK(r.skip(3));
  GH_TRY(v.token_id, r.take(token_id_size));
  GH_TRY(v.nonce, r.take(nonce_size));
  GH_TRY(v.ek_public, sized(r, 1, max_area));
  GH_TRY(v.ak_public, sized(r, 1, max_area));
  GH_TRY(v.ak_qualified_name, sized(r, 0, 2 + max_digest_size));
  GH_TRY(v.ek_certificate, sized(r, 0, max_certificate));
  const auto at_count = r;
  GH_TRY(const auto count, r.get<std::uint8_t>());
  if (count > max_chain) return at_count.fail("more than 8 certificates behind the EK's");
  for (unsigned i = 0; i < count; ++i) {
    GH_TRY(const Bytes certificate, sized(r, 1, max_certificate));
    v.chain.push_back(certificate);
  }
  GH_CHECK(r.finish());
  return v;
}
void append_request(Writer& w, const Request& v) {
  GH_ASSERT(v.token_id.size() == token_id_size && v.nonce.size() == nonce_size && v.chain.size() <= max_chain);
  w.put(version);
  w.put24(0);
  w.put_bytes(v.token_id);
  w.put_bytes(v.nonce);
  put_sized(w, v.ek_public);
  put_sized(w, v.ak_public);
  put_sized(w, v.ak_qualified_name);
  put_sized(w, v.ek_certificate);
  w.put(std::uint8_t(v.chain.size()));
  for (const Bytes certificate : v.chain) put_sized(w, certificate);
}

Result<Challenge> parse_challenge(Reader& r) {
  Challenge v;
  GH_CHECK(check_version(r));
  GH_CHECK(r.skip(3));
  GH_TRY(v.nonce, r.take(nonce_size));
  GH_TRY(v.id_object, sized(r, 1, max_area));
  GH_TRY(v.encrypted_secret, sized(r, 1, max_area));
  GH_CHECK(r.finish());
  return v;
}
void append_challenge(Writer& w, const Challenge& v) {
  GH_ASSERT(v.nonce.size() == nonce_size);
  w.put(version);
  w.put24(0);
  w.put_bytes(v.nonce);
  put_sized(w, v.id_object);
  put_sized(w, v.encrypted_secret);
}

Result<Response> parse_response(Reader& r) {
  Response v;
  GH_CHECK(check_version(r));
  GH_CHECK(r.skip(3));
  GH_TRY(v.activation, r.take(proof_size));
  GH_TRY(v.token, r.take(proof_size));
  GH_CHECK(r.finish());
  return v;
}
void append_response(Writer& w, const Response& v) {
  GH_ASSERT(v.activation.size() == proof_size && v.token.size() == proof_size);
  w.put(version);
  w.put24(0);
  w.put_bytes(v.activation);
  w.put_bytes(v.token);
}

Result<Outcome> parse_outcome(Reader& r) {
  Outcome v;
  GH_CHECK(check_version(r));
  const auto at_code = r;
  GH_TRY(const auto code, r.get<std::uint8_t>());
  if (code > last_code) return at_code.fail("unknown outcome of an enrolment");
  v.code = Code(code);
  GH_CHECK(r.skip(2));
  GH_TRY(const Bytes device, sized(r, 0, max_text));
  GH_TRY(const Bytes text, sized(r, 0, max_text));
  GH_CHECK(r.finish());
  v.device = as_text(device);
  v.text = as_text(text);
  return v;
}
void append_outcome(Writer& w, const Outcome& v) {
  w.put(version);
  w.put(std::uint8_t(v.code));
  w.put(std::uint16_t(0));
  put_sized(w, as_bytes(v.device.substr(0, max_text)));
  put_sized(w, as_bytes(v.text.substr(0, max_text)));
}

Token make_token() {
  ByteVector secret = random_bytes(16);
  Token out = token_of(secret);
  wipe(secret);
  return out;
}

Result<Token> parse_token(std::string_view text) {
  std::string digits;
  for (const char c : text)
    if (c != '-' && c != ' ') digits += c >= 'A' && c <= 'F' ? char(c - 'A' + 'a') : c;
  auto secret = from_hex(digits);
  wipe(std::as_writable_bytes(std::span(digits)));
  if (!secret || secret->size() != 16) return fail(Fault::malformed, "an enrolment token has 32 hexadecimal digits", spec);
  Token out = token_of(*secret);
  wipe(*secret);
  return out;
}

Digest transcript(Bytes request, Bytes challenge) {
  Hasher hasher(HashAlgorithm::sha256);
  hasher.start();
  for (const Bytes part : {request, challenge}) {
    Writer length;
    length.put(std::uint32_t(part.size()));
    hasher.update(length.view());
    hasher.update(part);
  }
  return hasher.finish();
}

Digest activation_proof(Bytes secret, const Digest& transcript) {
  return labelled(secret, "gatehouse enrolment activation 1", transcript.view());
}
Digest token_proof(Bytes key, const Digest& transcript) {
  return labelled(key, "gatehouse enrolment token 1", transcript.view());
}

}  // namespace gatehouse::enrolment
