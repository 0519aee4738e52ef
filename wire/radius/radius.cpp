#include "wire/radius/radius.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/hash.h"

namespace gatehouse::radius {
namespace {

constexpr std::string_view spec = "RFC 2865 3", spec_eap = "RFC 3579 3.1", spec_keys = "RFC 2548 2.4";
constexpr std::size_t authenticator_at = 4, block = 16, message_authenticator_size = 18;
constexpr std::size_t message_authenticator_at = header_size + 2;  // of what is built here: it is the first attribute's value
constexpr std::size_t at_once = 64;  // packets whose authenticators are made side by side
constexpr Authenticator zeros{};

std::size_t count(const Packet& packet, std::uint8_t type) {
  return std::size_t(
      std::count_if(packet.attributes.begin(), packet.attributes.end(), [&](const Attribute& a) { return a.type == type; }));
}

// Over the packet with this authenticator in its header and zeros in Message-Authenticator's place.
bool right_message_authenticator(const Packet& packet, const Authenticator& authenticator, const HmacMd5& secret) {
  const auto value = packet.find(type::message_authenticator);
  if (!value || value->size() != block) return false;
  const std::size_t at = std::size_t(value->data() - packet.whole.data());
  const Md5 made = secret({packet.whole.first(authenticator_at), authenticator, packet.whole.subspan(header_size, at - header_size),
                           zeros, packet.whole.subspan(at + block)});
  return equal_constant_time(made, *value);
}

// MD5(Code, Identifier, Length, authenticator, attributes, secret)
bool right_authenticator(const Packet& packet, const Authenticator& authenticator, Bytes secret) {
  const Md5 made =
      md5({packet.whole.first(authenticator_at), authenticator, packet.whole.subspan(header_size), secret});
  return equal_constant_time(made, packet.authenticator);
}

// c1 = p1 xor MD5(secret, first, second), ci = pi xor MD5(secret, c(i-1)); the same both ways but for which is chained.
ByteVector cipher(Bytes in, Bytes first, Bytes second, Bytes secret, bool hide) {
  ByteVector out(in.size());
  Md5 pad = md5({secret, first, second});
  for (std::size_t at = 0; at < in.size(); at += block) {
    for (std::size_t i = 0; i < block; ++i) out[at + i] = in[at + i] ^ pad[i];
    const Bytes chained = (hide ? Bytes(out) : in).subspan(at, block);
    pad = md5({secret, chained});
  }
  return out;
}

}  // namespace

std::optional<Bytes> Packet::find(std::uint8_t wanted) const {
  for (const Attribute& a : attributes)
    if (a.type == wanted) return a.value;
  return std::nullopt;
}

std::string_view Packet::text(std::uint8_t wanted) const {
  const auto value = find(wanted);
  return value ? as_text(*value) : std::string_view();
}

std::optional<std::uint32_t> Packet::number(std::uint8_t wanted) const {
  const auto value = find(wanted);
  if (!value || value->size() != 4) return std::nullopt;
  return *Reader(*value, spec).get<std::uint32_t>();
}

Result<Packet> parse_packet(Bytes datagram, std::vector<Attribute> room) {
  Reader all(datagram.first(std::min(datagram.size(), max_packet)), spec);
  Packet out;
  GH_TRY(const auto code, all.get<std::uint8_t>());
  out.code = Code(code);
  GH_TRY(out.identifier, all.get<std::uint8_t>());
  GH_TRY(const std::size_t length, all.get<std::uint16_t>());
  if (length < header_size || length > max_packet) return all.fail("length isn't 20 to 4,096");
  GH_TRY(const Bytes authenticator, all.take(out.authenticator.size()));
  std::copy(authenticator.begin(), authenticator.end(), out.authenticator.begin());
  GH_TRY(Reader attributes, all.sub(length - header_size));
  out.whole = datagram.first(length);
  room.clear();
  room.reserve(32);
  out.attributes = std::move(room);
  bool authenticated = false;
  while (!attributes.empty()) {
    // Of each packet a dozen: looked at where they are, before the reader passes them.
    const Bytes rest = attributes.rest();
    const std::size_t size = rest.size() < 2 ? 0 : std::size_t(rest[1]);
    if (size < 2) {
      GH_CHECK(attributes.skip(2));
      return attributes.fail("attribute shorter than its header");
    }
    const auto kind = std::uint8_t(rest[0]);
    attributes.pass(2);
    GH_TRY(const Bytes value, attributes.take(size - 2));
    if (kind == type::message_authenticator) {
      if (size != message_authenticator_size) return attributes.fail("Message-Authenticator isn't 18 bytes");
      if (std::exchange(authenticated, true)) return attributes.fail("more than one Message-Authenticator");
    }
    if (kind == type::state && value.empty()) return attributes.fail("empty State");
    out.attributes.push_back({kind, value});
  }
  return out;
}

bool authentic_request(const Packet& packet, const HmacMd5& secret) {
  return right_message_authenticator(packet, packet.authenticator, secret);
}
bool authentic_request(const Packet& packet, Bytes secret) { return authentic_request(packet, HmacMd5(secret)); }

void check_requests(std::span<CheckedRequest> requests) {
  for (; !requests.empty(); requests = requests.subspan(std::min(requests.size(), at_once))) {
    const auto these = requests.first(std::min(requests.size(), at_once));
    std::array<Md5Job, at_once> jobs;
    std::array<CheckedRequest*, at_once> asked{};
    std::size_t count = 0;
    for (CheckedRequest& one : these) {
      one.authentic = false;
      const Bytes whole = one.packet->whole;
      const auto value = one.packet->find(type::message_authenticator);
      if (!value || value->size() != block) continue;
      jobs[count] = {one.secret, whole, std::size_t(value->data() - whole.data()), {}};
      asked[count++] = &one;
    }
    md5_each(std::span(jobs).first(count));
    for (std::size_t i = 0; i < count; ++i)
      asked[i]->authentic = equal_constant_time(jobs[i].digest, jobs[i].message.subspan(jobs[i].zeros_at, block));
  }
}

bool authentic_accounting(const Packet& packet, Bytes secret) {
  if (!right_authenticator(packet, zeros, secret)) return false;
  return count(packet, type::message_authenticator) == 0 || right_message_authenticator(packet, zeros, HmacMd5(secret));
}

bool authentic_answer(const Packet& packet, const Authenticator& request, Bytes secret, bool message_authenticator) {
  if (!right_authenticator(packet, request, secret)) return false;
  if (!message_authenticator && count(packet, type::message_authenticator) == 0) return true;
  return right_message_authenticator(packet, request, HmacMd5(secret));
}

Result<std::optional<ByteVector>> eap_message(const Packet& packet) {
  ByteVector out;
  GH_TRY(const bool there, eap_message(packet, out));
  if (!there) return std::nullopt;
  return out;
}

Result<bool> eap_message(const Packet& packet, ByteVector& out) {
  out.clear();
  const auto is_eap = [](const Attribute& a) { return a.type == type::eap_message; };
  const auto first = std::find_if(packet.attributes.begin(), packet.attributes.end(), is_eap);
  if (first == packet.attributes.end()) return false;
  const auto last = std::find_if_not(first, packet.attributes.end(), is_eap);
  if (std::any_of(last, packet.attributes.end(), is_eap))
    return fail(Fault::malformed, "EAP-Message attributes aren't consecutive", spec_eap);
  std::size_t size = 0;
  for (auto a = first; a != last; ++a) size += a->value.size();
  out.reserve(size);
  for (auto a = first; a != last; ++a) out.insert(out.end(), a->value.begin(), a->value.end());
  constexpr std::size_t eap_header = 4;
  if (out.empty()) return true;
  if (out.size() < eap_header) return fail(Fault::malformed, "EAP packet shorter than its header", spec_eap);
  if (*Reader(Bytes(out).subspan(2), spec_eap).get<std::uint16_t>() != out.size())
    return fail(Fault::malformed, "EAP-Message attributes aren't as long as the EAP packet", spec_eap);
  return true;
}

Builder::Builder(Code code, std::uint8_t identifier) {
  constexpr std::size_t usual = 128;  // that a challenge which acknowledges a fragment stays below
  w_.reserve_bytes(usual);
  w_.put(std::uint8_t(code));
  w_.put(identifier);
  w_.put_zeros(2 + block);
  w_.put(type::message_authenticator);
  w_.put(std::uint8_t(message_authenticator_size));
  w_.put_zeros(block);
}

void Builder::add(std::uint8_t type, Bytes value) {
  if (value.size() > max_value) {
    good_ = false;
    return;
  }
  w_.put(type);
  w_.put(std::uint8_t(value.size() + 2));
  w_.put_bytes(value);
}

void Builder::add_number(std::uint8_t type, std::uint32_t value) {
  Writer w;
  w.put(value);
  add(type, w.view());
}

void Builder::add_vendor(std::uint32_t vendor, std::uint8_t type, Bytes value) {
  constexpr std::size_t inner_header = 6;
  if (value.size() + inner_header > max_value) {
    good_ = false;
    return;
  }
  Writer w;
  w.put(vendor);
  w.put(type);
  w.put(std::uint8_t(value.size() + 2));
  w.put_bytes(value);
  add(type::vendor_specific, w.view());
}

void Builder::add_eap(Bytes packet) {
  if (packet.empty()) add(type::eap_message, {});
  while (!packet.empty()) {
    const Bytes chunk = packet.first(std::min(packet.size(), max_value));
    add(type::eap_message, chunk);
    packet = packet.subspan(chunk.size());
  }
}

Result<ByteVector> Builder::finish_unsealed(const Authenticator& request) && {
  if (!good_ || w_.size() > max_packet) return fail(Fault::limit, "RADIUS packet longer than it may be", spec);
  ByteVector out = std::move(w_).take();
  out[2] = std::byte(out.size() >> 8);
  out[3] = std::byte(out.size());
  std::copy(request.begin(), request.end(), out.begin() + authenticator_at);
  return out;
}

Result<ByteVector> Builder::finish_answer(const Authenticator& request, Bytes secret) && {
  GH_TRY(ByteVector out, std::move(*this).finish_unsealed(request));
  const HmacMd5 keyed(secret);
  UnsealedAnswer one{std::move(out), secret, &keyed};
  seal_answers({&one, 1});
  return std::move(one.packet);
}

Result<ByteVector> Builder::finish_request(const Authenticator& random, Bytes secret) && {
  GH_TRY(ByteVector out, std::move(*this).finish_unsealed(random));
  const Md5 made = hmac_md5(secret, {out});
  std::copy(made.begin(), made.end(), out.begin() + message_authenticator_at);
  return out;
}

Result<ByteVector> Builder::finish_signed_request(Bytes secret) && {
  return std::move(*this).finish_answer(zeros, secret);
}

void seal_answers(std::span<UnsealedAnswer> answers) {
  for (; !answers.empty(); answers = answers.subspan(std::min(answers.size(), at_once))) {
    const auto these = answers.first(std::min(answers.size(), at_once));
    std::array<Md5Job, at_once> room;
    const std::span<Md5Job> jobs(room.data(), these.size());
    for (std::size_t i = 0; i < these.size(); ++i) jobs[i] = {these[i].keyed, these[i].packet};
    md5_each(jobs);
    for (std::size_t i = 0; i < these.size(); ++i) {
      UnsealedAnswer& one = these[i];
      std::copy(jobs[i].digest.begin(), jobs[i].digest.end(), one.packet.begin() + message_authenticator_at);
      // The response authenticator is over the secret behind the packet, which stays there for no longer than that.
      one.packet.insert(one.packet.end(), one.secret.begin(), one.secret.end());
      jobs[i] = {nullptr, one.packet};
    }
    md5_each(jobs);
    for (std::size_t i = 0; i < these.size(); ++i) {
      UnsealedAnswer& one = these[i];
      wipe(std::span(one.packet).last(one.secret.size()));
      one.packet.resize(one.packet.size() - one.secret.size());
      std::copy(jobs[i].digest.begin(), jobs[i].digest.end(), one.packet.begin() + authenticator_at);
    }
  }
}

ByteVector hide_key(Bytes key, std::uint16_t salt, const Authenticator& request, Bytes secret) {
  GH_ASSERT(key.size() < max_value - 2 * block);
  Writer plain;
  plain.put(std::uint8_t(key.size()));
  plain.put_bytes(key);
  plain.put_zeros((block - plain.size() % block) % block);
  ByteVector padded = std::move(plain).take();
  Writer out;
  out.put(std::uint16_t(salt | 0x8000U));
  const ByteVector salted = to_vector(out.view());
  out.put_bytes(cipher(padded, request, salted, secret, true));
  wipe(padded);
  return std::move(out).take();
}

Result<Secret> reveal_key(Bytes value, const Authenticator& request, Bytes secret) {
  Reader r(value, spec_keys);
  GH_TRY(const Bytes salt, r.take(2));
  const Bytes hidden = r.rest();
  if (hidden.empty() || hidden.size() % block != 0) return r.fail("hidden key isn't whole blocks");
  ByteVector plain = cipher(hidden, request, salt, secret, false);
  const std::size_t size = std::size_t(plain[0]);
  const bool fits = size < plain.size();
  Secret out(Bytes(plain).subspan(1, fits ? size : 0));
  wipe(plain);
  if (!fits) return r.fail("hidden key is longer than what holds it");
  return out;
}

std::optional<Bytes> find_vendor(const Packet& packet, std::uint32_t vendor, std::uint8_t wanted) {
  for (const Attribute& a : packet.attributes) {
    if (a.type != type::vendor_specific) continue;
    Reader r(a.value, spec);
    const auto id = r.get<std::uint32_t>();
    if (!id || *id != vendor) continue;
    while (!r.empty()) {
      const auto kind = r.get<std::uint8_t>(), size = r.get<std::uint8_t>();
      if (!kind || !size || *size < 2) break;
      const auto value = r.take(std::size_t(*size) - 2);
      if (!value) break;
      if (*kind == wanted) return *value;
    }
  }
  return std::nullopt;
}

ByteVector hide_password(Bytes password, const Authenticator& request, Bytes secret) {
  constexpr std::size_t most = 128;
  GH_ASSERT(!password.empty() && password.size() <= most);
  ByteVector padded = to_vector(password);
  padded.resize((padded.size() + block - 1) / block * block);
  ByteVector out = cipher(padded, request, {}, secret, true);
  wipe(padded);
  return out;
}

Result<Secret> reveal_password(Bytes value, const Authenticator& request, Bytes secret) {
  constexpr std::size_t most = 128;
  if (value.empty() || value.size() > most || value.size() % block != 0)
    return fail(Fault::malformed, "User-Password isn't 1 to 8 blocks", "RFC 2865 5.2");
  ByteVector plain = cipher(value, request, {}, secret, false);
  std::size_t size = plain.size();
  while (size != 0 && plain[size - 1] == std::byte{0}) --size;
  Secret out(Bytes(plain).first(size));
  wipe(plain);
  return out;
}

void Framer::feed(Bytes bytes) {
  buffer_.erase(buffer_.begin(), buffer_.begin() + std::ptrdiff_t(std::exchange(at_, 0)));
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

Result<Bytes> Framer::next() {
  const Bytes rest = Bytes(buffer_).subspan(at_);
  if (rest.size() < 4) return Bytes();
  const std::size_t length = *Reader(rest.subspan(2), spec).get<std::uint16_t>();
  if (length < header_size || length > max_packet)
    return fail(Fault::malformed, "length isn't 20 to 4,096", "RFC 6613 2.6.4", 2);
  if (rest.size() < length) return Bytes();
  at_ += length;
  return rest.first(length);
}

}  // namespace gatehouse::radius
