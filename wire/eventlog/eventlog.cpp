#include "wire/eventlog/eventlog.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace gatehouse::eventlog {
namespace {

constexpr std::string_view spec = "TCG PC Client Firmware Profile";
constexpr std::string_view signature03{"Spec ID Event03\0", 16};
constexpr std::string_view locality_signature{"StartupLocality\0", 16};
constexpr std::size_t max_banks = 16;
constexpr std::size_t max_warnings = 1000;
constexpr std::size_t max_padding = max_event_data;

}  // namespace

std::string Bank::name() const {
  if (algorithm) return std::string(gatehouse::name(*algorithm));
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "alg-0x%04x", unsigned(id));
  return text.data();
}

void Cursor::feed(Bytes piece) {
  buffer_.erase(buffer_.begin(), buffer_.begin() + std::ptrdiff_t(at_));
  discarded_ += at_;
  at_ = 0;
  buffer_.insert(buffer_.end(), piece.begin(), piece.end());
}

void Cursor::warn(std::size_t offset, std::string_view what) {
  if (warnings_.size() == max_warnings) warnings_.push_back("further warnings are left out");
  if (warnings_.size() > max_warnings) return;
  warnings_.push_back("offset " + std::to_string(offset) + ": " + std::string(what));
}

// Whether all that is there from `at` on is 0x00, or all of it 0xFF. What may be padding is kept until the next piece
// tells, so its length is bounded, wherever the pieces were cut.
Result<bool> Cursor::padding_from(std::size_t at) {
  const std::size_t start = discarded_ + at;
  const auto run = [&](std::byte value, std::size_t& next) {
    if (next < start) next = start;
    while (next < discarded_ + buffer_.size() && buffer_[next - discarded_] == value) ++next;
    return next - start;
  };
  const std::size_t longest = std::max(run(std::byte{0}, nonzero_), run(std::byte{0xFF}, nonones_));
  if (longest > max_padding) return fail(Fault::limit, "padding longer than 16 MiB", spec, start);
  return longest == buffer_.size() - at;
}

Result<const Event*> Cursor::next() {
  if (padding_) {
    at_ = buffer_.size();
    return nullptr;
  }
  const Bytes rest = Bytes(buffer_).subspan(at_);
  if (rest.empty()) {
    if (ended_ && first_) return fail(Fault::malformed, "empty event log", spec, 0);
    return nullptr;
  }
  // A tail of zeros or ones can only be told from a record when the whole rest is there.
  GH_TRY(const bool padding, padding_from(at_));
  if (padding) {
    if (!ended_) return nullptr;
    if (first_) return fail(Fault::malformed, "no event, only padding", spec, 0);
    warn(discarded_ + at_, "padding of " + std::to_string(rest.size()) + " bytes ends the log");
    padding_ = true;
    return nullptr;
  }
  Reader r(rest, spec, discarded_ + at_);
  event_.offset = r.offset();
  event_.digests.clear();
  event_.data = {};
  GH_TRY(const Parsed parsed, first_ ? parse_first(r) : parse(r));
  switch (parsed) {
    case Parsed::more: return nullptr;
    case Parsed::padding:
      warn(event_.offset, "a record with PCR 0, type 0 and no digest ends the log");
      padding_ = true;
      return nullptr;
    case Parsed::event: break;
  }
  at_ = r.offset() - discarded_;
  first_ = false;
  if (event_.type == ev_no_action) note_no_action();
  return &event_;
}

namespace {

// Either the value, or (std::nullopt) too few bytes yet.
struct Needs {
  Reader& r;
  bool ended;
  // True: the bytes are there. False: they may still come. An error: they never will.
  Result<bool> operator()(std::size_t n, std::string_view why) const {
    if (r.remaining() >= n) return true;
    if (ended) return r.fail(why);
    return false;
  }
};

}  // namespace

#define GH_NEED(n, why)                            \
  do {                                             \
    GH_TRY(const bool there, needs((n), (why)));   \
    if (!there) return Parsed::more;               \
  } while (false)

Result<Cursor::Parsed> Cursor::parse_first(Reader& r) {
  const Needs needs{r, ended_};
  GH_NEED(32, "truncated first event");
  Reader head = r;
  GH_TRY(event_.pcr, head.get_le<std::uint32_t>());
  GH_TRY(event_.type, head.get_le<std::uint32_t>());
  GH_TRY(const Bytes sha1, head.take(20));
  const auto at_size = head;
  GH_TRY(const auto size, head.get_le<std::uint32_t>());
  if (event_.type != ev_no_action && event_.pcr > 23) return r.fail("PCR index above 23");
  if (size > max_event_data) return at_size.fail("event size beyond the log or above 16 MiB");
  if (head.remaining() < size) {
    if (ended_) return at_size.fail("event size beyond the log");
    return Parsed::more;
  }
  GH_TRY(event_.data, head.take(size));
  if (event_.type == ev_no_action && size >= 16 &&
      as_text(event_.data.first(16)) == signature03) {
    format_ = Format::crypto_agile;
    GH_CHECK(parse_spec_id(Reader(event_.data, spec, at_size.offset() + 4)));
  } else {
    format_ = Format::sha1;
    banks_ = {{std::uint16_t(HashAlgorithm::sha1), 20, HashAlgorithm::sha1}};
  }
  event_.digests.push_back({std::uint16_t(HashAlgorithm::sha1), sha1});
  r = head;
  return Parsed::event;
}

// TCG_EfiSpecIDEvent.
Result<void> Cursor::parse_spec_id(Reader r) {
  GH_CHECK(r.skip(16 + 4 + 4));  // signature, platform class, version, errata, uintn size
  const auto at_count = r;
  GH_TRY(const auto count, r.get_le<std::uint32_t>());
  if (count == 0 || count > max_banks) return at_count.fail("number of algorithms outside 1 to 16");
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto at = r;
    Bank bank;
    GH_TRY(bank.id, r.get_le<std::uint16_t>());
    GH_TRY(bank.size, r.get_le<std::uint16_t>());
    bank.algorithm = hash_algorithm(bank.id);
    if (bank.algorithm && digest_size(*bank.algorithm) != bank.size)
      return at.fail("digest size contradicts the algorithm");
    if (bank.size == 0 || bank.size > 512) return at.fail("digest size out of range");
    for (const Bank& other : banks_)
      if (other.id == bank.id) return at.fail("algorithm twice in the header");
    banks_.push_back(bank);
  }
  const auto vendor = r.get<std::uint8_t>();
  if (!vendor || r.remaining() != *vendor) warn(r.offset(), "vendor information size contradicts the header's size");
  return {};
}

Result<Cursor::Parsed> Cursor::parse(Reader& r) {
  const Needs needs{r, ended_};
  if (format_ == Format::sha1) {
    GH_NEED(32, "truncated event");
    Reader head = r;
    GH_TRY(event_.pcr, head.get_le<std::uint32_t>());
    GH_TRY(event_.type, head.get_le<std::uint32_t>());
    GH_TRY(const Bytes sha1, head.take(20));
    const auto at_size = head;
    GH_TRY(const auto size, head.get_le<std::uint32_t>());
    if (event_.type != ev_no_action && event_.pcr > 23) return r.fail("PCR index above 23");
    if (size > max_event_data) return at_size.fail("event size beyond the log or above 16 MiB");
    if (head.remaining() < size) {
      if (ended_) return at_size.fail("event size beyond the log");
      return Parsed::more;
    }
    GH_TRY(event_.data, head.take(size));
    event_.digests.push_back({std::uint16_t(HashAlgorithm::sha1), sha1});
    r = head;
    return Parsed::event;
  }
  GH_NEED(12, "truncated event");
  Reader head = r;
  GH_TRY(event_.pcr, head.get_le<std::uint32_t>());
  GH_TRY(event_.type, head.get_le<std::uint32_t>());
  const auto at_count = head;
  GH_TRY(const auto count, head.get_le<std::uint32_t>());
  if (event_.pcr == 0 && event_.type == 0 && count == 0) return Parsed::padding;
  if (event_.type != ev_no_action && event_.pcr > 23) return r.fail("PCR index above 23");
  if (count > banks_.size()) return at_count.fail("more digests than the header has algorithms");
  for (std::uint32_t i = 0; i < count; ++i) {
    if (head.remaining() < 2) {
      if (ended_) return head.fail("truncated digest");
      return Parsed::more;
    }
    const auto at = head;
    GH_TRY(const auto id, head.get_le<std::uint16_t>());
    const Bank* bank = nullptr;
    for (const Bank& b : banks_)
      if (b.id == id) bank = &b;
    if (bank == nullptr) return at.fail("algorithm isn't in the header");
    for (const EventDigest& d : event_.digests)
      if (d.bank == id) return at.fail("two digests of one algorithm");
    if (head.remaining() < bank->size) {
      if (ended_) return head.fail("truncated digest");
      return Parsed::more;
    }
    GH_TRY(const Bytes value, head.take(bank->size));
    event_.digests.push_back({id, value});
  }
  if (head.remaining() < 4) {
    if (ended_) return head.fail("truncated event size");
    return Parsed::more;
  }
  const auto at_size = head;
  GH_TRY(const auto size, head.get_le<std::uint32_t>());
  if (size > max_event_data) return at_size.fail("event size beyond the log or above 16 MiB");
  if (head.remaining() < size) {
    if (ended_) return at_size.fail("event size beyond the log");
    return Parsed::more;
  }
  GH_TRY(event_.data, head.take(size));
  r = head;
  return Parsed::event;
}

#undef GH_NEED

void Cursor::note_no_action() {
  if (event_.data.size() == 17 && as_text(event_.data.first(16)) == locality_signature) {
    if (locality_)
      warn(event_.offset, "StartupLocality a second time, ignored");
    else
      locality_ = std::to_integer<std::uint8_t>(event_.data[16]);
  } else if (event_.offset != 0 && event_.data.size() >= 16 && as_text(event_.data.first(16)) == signature03) {
    warn(event_.offset, "a second Spec ID header, ignored");
  }
}

std::string event_type_name(std::uint32_t type) {
  struct Name {
    std::uint32_t type;
    std::string_view name;
  };
  static constexpr Name names[] = {
      {0x00, "EV_PREBOOT_CERT"}, {0x01, "EV_POST_CODE"}, {0x02, "EV_UNUSED"}, {0x03, "EV_NO_ACTION"},
      {0x04, "EV_SEPARATOR"}, {0x05, "EV_ACTION"}, {0x06, "EV_EVENT_TAG"}, {0x07, "EV_S_CRTM_CONTENTS"},
      {0x08, "EV_S_CRTM_VERSION"}, {0x09, "EV_CPU_MICROCODE"}, {0x0A, "EV_PLATFORM_CONFIG_FLAGS"},
      {0x0B, "EV_TABLE_OF_DEVICES"}, {0x0C, "EV_COMPACT_HASH"}, {0x0D, "EV_IPL"}, {0x0E, "EV_IPL_PARTITION_DATA"},
      {0x0F, "EV_NONHOST_CODE"}, {0x10, "EV_NONHOST_CONFIG"}, {0x11, "EV_NONHOST_INFO"},
      {0x12, "EV_OMIT_BOOT_DEVICE_EVENTS"}, {0x80000001, "EV_EFI_VARIABLE_DRIVER_CONFIG"},
      {0x80000002, "EV_EFI_VARIABLE_BOOT"}, {0x80000003, "EV_EFI_BOOT_SERVICES_APPLICATION"},
      {0x80000004, "EV_EFI_BOOT_SERVICES_DRIVER"}, {0x80000005, "EV_EFI_RUNTIME_SERVICES_DRIVER"},
      {0x80000006, "EV_EFI_GPT_EVENT"}, {0x80000007, "EV_EFI_ACTION"}, {0x80000008, "EV_EFI_PLATFORM_FIRMWARE_BLOB"},
      {0x80000009, "EV_EFI_HANDOFF_TABLES"}, {0x8000000A, "EV_EFI_PLATFORM_FIRMWARE_BLOB2"},
      {0x8000000B, "EV_EFI_HANDOFF_TABLES2"}, {0x8000000C, "EV_EFI_VARIABLE_BOOT2"}, {0x80000010, "EV_EFI_HCRTM_EVENT"},
      {0x800000E0, "EV_EFI_VARIABLE_AUTHORITY"}, {0x800000E1, "EV_EFI_SPDM_FIRMWARE_BLOB"},
      {0x800000E2, "EV_EFI_SPDM_FIRMWARE_CONFIG"}, {0x800000E3, "EV_EFI_SPDM_DEVICE_POLICY"},
      {0x800000E4, "EV_EFI_SPDM_DEVICE_AUTHORITY"},
  };
  for (const Name& n : names)
    if (n.type == type) return std::string(n.name);
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "0x%08x", type);
  return text.data();
}

std::string utf16_to_utf8(Bytes text) {
  std::string out;
  const auto unit = [&](std::size_t i) {
    return std::to_integer<std::uint32_t>(text[i]) | std::to_integer<std::uint32_t>(text[i + 1]) << 8;
  };
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    std::uint32_t c = unit(i);
    if (c >= 0xD800 && c < 0xDC00 && i + 3 < text.size() && unit(i + 2) >= 0xDC00 && unit(i + 2) < 0xE000) {
      c = 0x10000 + ((c - 0xD800) << 10) + (unit(i + 2) - 0xDC00);
      i += 2;
    } else if (c >= 0xD800 && c < 0xE000) {
      c = 0xFFFD;
    }
    if (c < 0x80) {
      out += char(c);
    } else if (c < 0x800) {
      out += char(0xC0 | c >> 6);
      out += char(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
      out += char(0xE0 | c >> 12);
      out += char(0x80 | (c >> 6 & 0x3F));
      out += char(0x80 | (c & 0x3F));
    } else {
      out += char(0xF0 | c >> 18);
      out += char(0x80 | (c >> 12 & 0x3F));
      out += char(0x80 | (c >> 6 & 0x3F));
      out += char(0x80 | (c & 0x3F));
    }
  }
  return out;
}

Result<UefiVariable> parse_uefi_variable(Bytes data) {
  Reader r(data, "UEFI_VARIABLE_DATA");
  GH_TRY(const auto a, r.get_le<std::uint32_t>());
  GH_TRY(const auto b, r.get_le<std::uint16_t>());
  GH_TRY(const auto c, r.get_le<std::uint16_t>());
  GH_TRY(const Bytes d, r.take(8));
  const auto at_name = r;
  GH_TRY(const auto name_length, r.get_le<std::uint64_t>());  // characters of 16 bits
  const auto at_data = r;
  GH_TRY(const auto data_length, r.get_le<std::uint64_t>());
  if (name_length > r.remaining() / 2) return at_name.fail("variable name longer than the event");
  GH_TRY(const Bytes name, r.take(std::size_t(name_length) * 2));
  if (data_length != r.remaining()) return at_data.fail("variable data length contradicts the event's size");
  std::array<char, 40> guid{};
  const auto n = [&](std::size_t i) { return std::to_integer<unsigned>(d[i]); };
  std::snprintf(guid.data(), guid.size(), "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", a, unsigned(b), unsigned(c), n(0),
                n(1), n(2), n(3), n(4), n(5), n(6), n(7));
  return UefiVariable{guid.data(), utf16_to_utf8(name), r.rest()};
}

}  // namespace gatehouse::eventlog
