#include "wire/pttls/pttls.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <limits>

namespace gatehouse::pttls {
namespace {

constexpr std::string_view spec = "RFC 6876";

struct Bounds {
  std::uint64_t least, most;
};
// Message lengths by type, header included (spec part 1a §7). A batch below its own header's size is PB-TNC's to
// refuse.
constexpr Bounds bounds[] = {
    {header_size, header_size + max_skipped},  // Experimental
    {20, 20},
    {20, 20},
    {16, 1'040},
    {18, 4'096},
    {16, 16'400},
    {17, 16'400},
    {16, header_size + max_batch},
    {0, std::numeric_limits<std::uint32_t>::max()},  // Error
};
constexpr std::size_t longest_error = header_size + 8 + max_copy;

}  // namespace

std::string name(std::uint32_t vendor, std::uint32_t type) {
  constexpr std::string_view names[] = {"Experimental",
                                        "Version Request",
                                        "Version Response",
                                        "SASL Mechanisms",
                                        "SASL Mechanism Selection",
                                        "SASL Authentication Data",
                                        "SASL Result",
                                        "PB-TNC Batch",
                                        "PT-TLS Error"};
  if (vendor == 0 && type < std::size(names)) return std::string(names[type]);
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "0x%06x/0x%08x", vendor, type);
  return out.data();
}

void Framer::resize_buffer(std::size_t bytes) {
  auto now = bytes == 0 ? nullptr : std::make_unique_for_overwrite<std::byte[]>(bytes);
  if (size_ != 0) std::memcpy(now.get(), buffer_.get(), size_);
  buffer_ = std::move(now);
  capacity_ = bytes;
}

void Framer::compact() {
  if (at_ == 0) return;
  std::memmove(buffer_.get(), buffer_.get() + at_, size_ - at_);
  size_ -= at_;
  at_ = 0;
}

void Framer::feed(Bytes bytes) {
  if (lost_) return;
  const std::size_t useless = std::min(skip_, bytes.size());
  skip_ -= useless;
  bytes = bytes.subspan(useless);
  compact();
  if (bytes.empty()) return;
  if (capacity_ < size_ + bytes.size()) resize_buffer(std::max(size_ + bytes.size(), 2 * size_));
  std::memcpy(buffer_.get() + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

constexpr std::size_t usual_message = 4096;  // of those that aren't evidence
constexpr std::size_t at_first = 512;        // bytes of room for a message
constexpr std::size_t a_record = 16'384;

std::span<std::byte> Framer::room() {
  compact();
  std::size_t lacks = a_record;
  if (skip_ != 0) {
    lacks = std::min(skip_, a_record);
  } else if (size_ < header_size) {
    lacks = header_size - size_;
  } else if (const auto all = wanted(rest()); all && *all > size_) {
    lacks = *all - size_;
  }
  // Who sends little gets little.
  if (const std::size_t least = size_ + std::min(lacks, std::max(3 * size_, a_record)); capacity_ < least) resize_buffer(std::max(least, at_first));
  return {buffer_.get() + size_, std::min(lacks, capacity_ - size_)};
}

bool Framer::came(std::size_t bytes) {
  GH_ASSERT(bytes <= capacity_ - size_);
  if (lost_) return false;
  const std::size_t useless = std::min(skip_, bytes);
  skip_ -= useless;
  GH_ASSERT(useless == 0 || useless == bytes);  // there was no room for more
  size_ += bytes - useless;
  const Bytes now = rest();
  if (now.size() < header_size) return true;
  const auto all = wanted(now);
  return all && now.size() < *all;
}

void Framer::wait() {
  compact();
  if (capacity_ > std::max(4 * size_, size_ == 0 ? 0 : at_first)) resize_buffer(size_);
}

const Message* Framer::deliver(std::size_t bytes) {
  const Bytes all = rest();
  message_.whole = all.first(bytes);
  message_.value = message_.whole.subspan(header_size);
  message_.truncated = bytes < message_.header.length;
  const std::size_t passed = std::min<std::size_t>(all.size(), message_.header.length);
  at_ += passed;
  skip_ = message_.header.length - passed;
  return &message_;
}

std::expected<std::size_t, Refusal> Framer::wanted(Bytes header) {
  Reader r(header, spec);
  Header& h = message_.header;
  (void)r.skip(1);
  h.vendor = *r.get24();
  h.type = *r.get<std::uint32_t>();
  h.length = *r.get<std::uint32_t>();
  h.identifier = *r.get<std::uint32_t>();
  const auto refuse = [&](ErrorCode code, std::string_view why) { return std::unexpected(Refusal{code, why, header.first(header_size)}); };
  if (h.known() && h.kind() == Type::error && h.length < header_size) return header_size;
  if (h.vendor == 0xFFFFFF) return refuse(ErrorCode::invalid_parameter, "reserved PT-TLS vendor");
  if (h.type == 0xFFFFFFFF) return refuse(ErrorCode::invalid_parameter, "reserved PT-TLS type");
  if (h.length < header_size) return refuse(ErrorCode::invalid_parameter, "PT-TLS length below its header");
  if (!h.known() && h.length > header_size + max_skipped)
    return refuse(ErrorCode::type_not_supported, "PT-TLS message of an unknown type too long to skip");
  if (h.known()) {
    Bounds b = bounds[h.type];
    if (h.kind() == Type::pb_tnc_batch) b.most = std::min<std::uint64_t>(b.most, header_size + max_batch_);
    if (h.length < b.least || h.length > b.most)
      return refuse(ErrorCode::invalid_parameter, "PT-TLS length out of the type's range");
  }
  if (!h.known() || h.kind() == Type::experimental) return std::min<std::size_t>(h.length, max_copy);
  if (h.kind() == Type::error) return std::min<std::size_t>(h.length, longest_error);
  return h.length;
}

std::expected<const Message*, Refusal> Framer::next() {
  if (lost_) return nullptr;
  const Bytes now = rest();
  if (now.size() < header_size) {
    // Nothing is kept of a connection that is between messages.
    if (now.empty() && capacity_ > usual_message) {
      size_ = at_ = 0;
      resize_buffer(0);
    }
    return nullptr;
  }
  const auto all = wanted(now);
  if (!all) {
    lost_ = true;
    return std::unexpected(all.error());
  }
  const Header& h = message_.header;
  if (h.known() && h.kind() == Type::error && h.length < header_size) {
    lost_ = true;
    message_.whole = now.first(header_size);
    message_.value = {};
    message_.truncated = false;
    return &message_;
  }
  if (now.size() >= *all) return deliver(*all);
  // Of a batch of several records each is copied once, not with each growth; who sends little gets little.
  if (capacity_ < at_ + std::min(*all, 2 * now.size())) resize_buffer(at_ + std::min(*all, 4 * now.size()));
  return nullptr;
}

Ruling rule(Role receiver, Phase phase, const Header& h) {
  using Act = Ruling::Act;
  if (!h.known())
    return phase == Phase::data ? Ruling{Act::skip, ErrorCode::type_not_supported}
                                : Ruling{Act::refuse, ErrorCode::invalid_message};
  struct Row {
    Role receiver;
    Phase phase;
    Type type;
  };
  static constexpr Row rows[] = {
      {Role::server, Phase::version, Type::version_request},
      {Role::server, Phase::authentication, Type::sasl_selection},
      {Role::server, Phase::authentication, Type::sasl_data},
      {Role::server, Phase::data, Type::pb_tnc_batch},
      {Role::client, Phase::version, Type::version_response},
      {Role::client, Phase::authentication, Type::sasl_mechanisms},
      {Role::client, Phase::authentication, Type::sasl_data},
      {Role::client, Phase::authentication, Type::sasl_result},
      {Role::client, Phase::data, Type::pb_tnc_batch},
  };
  if (h.kind() == Type::error) return {Act::peer_error, ErrorCode::invalid_message};
  const bool listed = std::any_of(std::begin(rows), std::end(rows), [&](const Row& row) {
    return row.receiver == receiver && row.phase == phase && row.type == h.kind();
  });
  return {listed ? Act::take : Act::refuse, ErrorCode::invalid_message};
}

void append_message(Writer& w, Type type, std::uint32_t identifier, Bytes value) {
  w.reserve_bytes(header_size + value.size());
  w.put(std::uint8_t{0});
  w.put24(0);
  w.put(std::uint32_t(type));
  w.put(std::uint32_t(header_size + value.size()));
  w.put(identifier);
  w.put_bytes(value);
}

Result<VersionRequest> parse_version_request(Bytes value) {
  Reader r(value, "RFC 6876 3.7.1", header_size);
  VersionRequest v;
  GH_CHECK(r.skip(1));
  const auto at = r;
  GH_TRY(v.minimum, r.get<std::uint8_t>());
  GH_TRY(v.maximum, r.get<std::uint8_t>());
  GH_TRY(v.preferred, r.get<std::uint8_t>());
  GH_CHECK(r.finish());
  if (v.minimum > v.maximum || v.preferred < v.minimum || v.preferred > v.maximum)
    return at.fail(Fault::protocol, "version range contradicts itself");
  return v;
}
void append_version_request(Writer& w, const VersionRequest& v) {
  w.put(std::uint8_t{0});
  w.put(v.minimum);
  w.put(v.maximum);
  w.put(v.preferred);
}
Result<std::uint8_t> parse_version_response(Bytes value) {
  Reader r(value, "RFC 6876 3.7.2", header_size);
  GH_CHECK(r.skip(3));
  GH_TRY(const auto version, r.get<std::uint8_t>());
  GH_CHECK(r.finish());
  return version;
}
void append_version_response(Writer& w, std::uint8_t version) {
  w.put24(0);
  w.put(version);
}

namespace {

Result<std::string_view> mechanism(Reader& r) {
  const auto at = r;
  GH_TRY(const auto octet, r.get<std::uint8_t>());
  const std::size_t length = octet & 0x1F;
  if (length == 0 || length > 20) return at.fail(Fault::protocol, "SASL mechanism name length out of range");
  if (length > r.remaining()) return at.fail("SASL mechanism name longer than the message");
  GH_TRY(const Bytes bytes, r.take(length));
  for (const char c : as_text(bytes))
    if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
      return at.fail("character in a SASL mechanism name");
  return as_text(bytes);
}

}  // namespace

Result<std::vector<std::string_view>> parse_mechanisms(Bytes value) {
  Reader r(value, "RFC 6876 3.8.3", header_size);
  std::vector<std::string_view> out;
  while (!r.empty()) {
    GH_TRY(const std::string_view one, mechanism(r));
    out.push_back(one);
  }
  return out;
}
void append_mechanisms(Writer& w, const std::vector<std::string_view>& names) {
  for (const std::string_view one : names) {
    w.put(std::uint8_t(one.size()));
    w.put_text(one);
  }
}
Result<Selection> parse_selection(Bytes value) {
  Reader r(value, "RFC 6876 3.8.4", header_size);
  Selection v;
  GH_TRY(v.mechanism, mechanism(r));
  v.initial_response = r.rest();
  return v;
}
void append_selection(Writer& w, const Selection& v) {
  w.put(std::uint8_t(v.mechanism.size()));
  w.put_text(v.mechanism);
  w.put_bytes(v.initial_response);
}

Result<SaslOutcome> parse_sasl_result(Bytes value) {
  Reader r(value, "RFC 6876 3.8.7", header_size);
  const auto at = r;
  GH_TRY(auto code, r.get<std::uint8_t>());
  if (code == 0 && !r.empty()) {
    GH_TRY(code, r.get<std::uint8_t>());
  }
  if (code > 3) return at.fail("unknown SASL result");
  return SaslOutcome{SaslResult(code), r.rest()};
}

std::optional<ResultWidth> result_width(std::string_view text) {
  if (text == "auto") return ResultWidth::automatic;
  if (text == "8") return ResultWidth::eight;
  if (text == "16") return ResultWidth::sixteen;
  return std::nullopt;
}

void append_sasl_result(Writer& w, SaslResult code, ResultWidth width, Bytes data) {
  const bool two = width == ResultWidth::sixteen || (width == ResultWidth::automatic && code == SaslResult::success) ||
                   !data.empty();
  if (two) w.put(std::uint8_t{0});
  w.put(std::uint8_t(code));
  w.put_bytes(data);
}

Result<Plain> parse_plain(Bytes message) {
  const std::string_view text = as_text(message);
  const auto bad = [](std::string_view why) { return fail(Fault::malformed, why, "RFC 4616", 0); };
  const std::size_t one = text.find('\0');
  if (one == std::string_view::npos) return bad("PLAIN without its first NUL");
  const std::size_t two = text.find('\0', one + 1);
  if (two == std::string_view::npos) return bad("PLAIN without its second NUL");
  Plain v{text.substr(0, one), text.substr(one + 1, two - one - 1), text.substr(two + 1)};
  if (v.user.empty() || v.user.size() > 255) return bad("PLAIN user length out of range");
  if (v.password.empty() || v.password.size() > 1024) return bad("PLAIN password length out of range");
  if (v.password.find('\0') != std::string_view::npos) return bad("NUL in a PLAIN password");
  if (!v.authorization.empty() && v.authorization != v.user)
    return bad("PLAIN authorization identity differs from the user");
  return v;
}
ByteVector plain_message(std::string_view user, std::string_view password) {
  Writer w;
  w.put(std::uint8_t{0});
  w.put_text(user);
  w.put(std::uint8_t{0});
  w.put_text(password);
  return std::move(w).take();
}

Result<ErrorMessage> parse_error(Bytes value) {
  Reader r(value, "RFC 6876 3.9", header_size);
  ErrorMessage v;
  GH_CHECK(r.skip(1));
  GH_TRY(v.vendor, r.get24());
  GH_TRY(v.code, r.get<std::uint32_t>());
  v.copy = r.rest();
  return v;
}
ErrorCode error_code(const Error& error) {
  return error.fault == Fault::protocol ? ErrorCode::invalid_parameter : ErrorCode::malformed;
}
bool fatal(const ErrorMessage& error, Phase phase) {
  if (error.vendor != 0 || error.code > std::uint32_t(ErrorCode::invalid_parameter)) return phase != Phase::data;
  return error.code != 0 && error.code != std::uint32_t(ErrorCode::type_not_supported);
}
std::string_view name(ErrorCode code) {
  switch (code) {
    case ErrorCode::malformed:
      return "Malformed Message";
    case ErrorCode::version_not_supported:
      return "Version Not Supported";
    case ErrorCode::type_not_supported:
      return "Type Not Supported";
    case ErrorCode::invalid_message:
      return "Invalid Message";
    case ErrorCode::sasl_mechanism:
      return "SASL Mechanism Error";
    case ErrorCode::invalid_parameter:
      return "Invalid Parameter";
  }
  return "unknown";
}
void append_error(Writer& w, ErrorCode code, Bytes offending) {
  w.put(std::uint8_t{0});
  w.put24(0);
  w.put(std::uint32_t(code));
  w.put_bytes(offending.first(std::min<std::size_t>(offending.size(), max_copy)));
}

}  // namespace gatehouse::pttls
