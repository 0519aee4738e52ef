#include "wire/pts/pts.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>

namespace gatehouse::pts {
namespace {

constexpr std::string_view not_enumeration = "functional name family isn't binary enumeration";

// Whether each of eight characters is within its bounds, which are ASCII.
bool between(const char* text, const char* least, const char* most) {
  constexpr std::uint64_t high = 0x8080808080808080U;
  std::uint64_t t, l, m;
  std::memcpy(&t, text, sizeof t);
  std::memcpy(&l, least, sizeof l);
  std::memcpy(&m, most, sizeof m);
  // The high bits lend where a byte is too small; one that has its own is refused for that.
  return (((t | high) - l) & ((m | high) - t) & ~t & high) == high;
}

}  // namespace

Result<std::uint16_t> parse_capabilities(Reader& r) {
  if (r.remaining() < 4) return r.fail("PTS Protocol Capabilities shorter than 4 bytes");
  GH_CHECK(r.skip(2));
  GH_TRY(const auto flags, r.get<std::uint16_t>());
  GH_CHECK(r.skip(r.remaining()));
  return flags;
}
void append_capabilities(Writer& w, std::uint16_t flags) {
  w.put(std::uint16_t{0});
  w.put(flags);
}

std::uint16_t algorithm_bit(HashAlgorithm algorithm) {
  switch (algorithm) {
    case HashAlgorithm::sha1: return 0x8000;
    case HashAlgorithm::sha256: return 0x4000;
    case HashAlgorithm::sha384: return 0x2000;
    case HashAlgorithm::sha512: return 0x1000;
    default: return 0;
  }
}
std::optional<HashAlgorithm> algorithm_of_bit(std::uint16_t bit) {
  switch (bit) {
    case 0x8000: return HashAlgorithm::sha1;
    case 0x4000: return HashAlgorithm::sha256;
    case 0x2000: return HashAlgorithm::sha384;
    case 0x1000: return HashAlgorithm::sha512;
    default: return std::nullopt;
  }
}
Result<std::uint16_t> parse_algorithms(Reader& r) {
  if (r.remaining() < 4) return r.fail("PTS Measurement Algorithm shorter than 4 bytes");
  GH_CHECK(r.skip(2));
  GH_TRY(const auto set, r.get<std::uint16_t>());
  GH_CHECK(r.skip(r.remaining()));
  return set;
}
void append_algorithms(Writer& w, std::uint16_t set) {
  w.put(std::uint16_t{0});
  w.put(set);
}

Result<DhNonceRequest> parse_dh_nonce_request(Reader& r) {
  if (r.remaining() < 4) return r.fail("DH Nonce Parameters Request shorter than 4 bytes");
  DhNonceRequest v;
  GH_CHECK(r.skip(1));
  GH_TRY(v.minimum_nonce, r.get<std::uint8_t>());
  GH_TRY(v.groups, r.get<std::uint16_t>());
  GH_CHECK(r.skip(r.remaining()));
  return v;
}
void append_dh_nonce_request(Writer& w, const DhNonceRequest& v) {
  w.put(std::uint8_t{0});
  w.put(v.minimum_nonce);
  w.put(v.groups);
}

Result<DhNonceResponse> parse_dh_nonce_response(Reader& r) {
  if (r.remaining() < 16) return r.fail("DH Nonce Parameters Response shorter than 16 bytes");
  DhNonceResponse v;
  GH_CHECK(r.skip(3));
  const auto at_length = r;
  GH_TRY(const auto length, r.get<std::uint8_t>());
  GH_TRY(v.group, r.get<std::uint16_t>());
  GH_TRY(v.hashes, r.get<std::uint16_t>());
  if (length > r.remaining()) return at_length.fail("nonce longer than the attribute");
  GH_TRY(v.nonce, r.take(length));
  GH_TRY(v.public_value, r.take(r.remaining()));
  return v;
}
void append_dh_nonce_response(Writer& w, const DhNonceResponse& v) {
  w.put24(0);
  w.put(std::uint8_t(v.nonce.size()));
  w.put(v.group);
  w.put(v.hashes);
  w.put_bytes(v.nonce);
  w.put_bytes(v.public_value);
}

Result<DhNonceFinish> parse_dh_nonce_finish(Reader& r) {
  if (r.remaining() < 12) return r.fail("DH Nonce Finish shorter than 12 bytes");
  DhNonceFinish v;
  GH_CHECK(r.skip(1));
  const auto at_length = r;
  GH_TRY(const auto length, r.get<std::uint8_t>());
  GH_TRY(v.hash, r.get<std::uint16_t>());
  if (length > r.remaining()) return at_length.fail("nonce longer than the attribute");
  GH_TRY(v.public_value, r.take(r.remaining() - length));
  GH_TRY(v.nonce, r.take(length));
  return v;
}
void append_dh_nonce_finish(Writer& w, const DhNonceFinish& v) {
  w.put(std::uint8_t{0});
  w.put(std::uint8_t(v.nonce.size()));
  w.put(v.hash);
  w.put_bytes(v.public_value);
  w.put_bytes(v.nonce);
}

Result<TpmVersion> parse_tpm_version(Reader& r) {
  if (r.remaining() < 4) return r.fail("TPM Version Information shorter than 4 bytes");
  const auto start = r;
  GH_TRY(const auto tag, r.get<std::uint16_t>());
  if (tag != 0x0200) return start.fail(Fault::protocol, "not the version information of a TPM 2.0");
  if (r.remaining() != 14) return start.fail("TPM 2.0 version information isn't 16 bytes");
  TpmVersion v;
  GH_CHECK(r.skip(1));
  GH_TRY(v.locality, r.get<std::uint8_t>());
  GH_TRY(v.revision, r.get<std::uint32_t>());
  GH_TRY(v.year, r.get<std::uint32_t>());
  GH_TRY(v.vendor, r.get<std::uint32_t>());
  return v;
}
void append_tpm_version(Writer& w, const TpmVersion& v) {
  w.put(std::uint16_t{0x0200});
  w.put(std::uint8_t{0});
  w.put(v.locality);
  w.put(v.revision);
  w.put(v.year);
  w.put(v.vendor);
}

Result<Aik> parse_aik(Reader& r) {
  if (r.remaining() < 4) return r.fail("AIK shorter than 4 bytes");
  Aik v;
  GH_TRY(const auto flags, r.get<std::uint8_t>());
  v.naked = (flags & 0x80) != 0;
  GH_TRY(v.der, r.take(r.remaining()));
  return v;
}
void append_aik(Writer& w, const Aik& v) {
  w.put(std::uint8_t(v.naked ? 0x80 : 0));
  w.put_bytes(v.der);
}

namespace {

Result<Component> parse_component(Reader& r) {
  Component c;
  GH_TRY(c.vendor, r.get24());
  const auto at = r;
  GH_TRY(const auto qualifier, r.get<std::uint8_t>());
  if ((qualifier & 0xC0) != 0) return at.fail(not_enumeration);
  c.qualifier = qualifier;
  GH_TRY(c.name, r.get<std::uint32_t>());
  return c;
}
void append_component(Writer& w, const Component& c) {
  w.put24(c.vendor);
  w.put(c.qualifier);
  w.put(c.name);
}

}  // namespace

Result<std::vector<ComponentRequest>> parse_component_requests(Reader& r) {
  if (r.empty() || r.remaining() % 12 != 0) return r.fail("component requests aren't a multiple of 12 bytes");
  if (r.remaining() / 12 > 256) return r.fail(Fault::limit, "more than 256 component requests");
  std::vector<ComponentRequest> out;
  while (!r.empty()) {
    ComponentRequest v;
    GH_TRY(v.flags, r.get<std::uint8_t>());
    GH_TRY(v.depth, r.get24());
    GH_TRY(v.component, parse_component(r));
    out.push_back(v);
  }
  return out;
}
void append_component_requests(Writer& w, const std::vector<ComponentRequest>& requests) {
  for (const ComponentRequest& v : requests) {
    w.put(v.flags);
    w.put24(v.depth);
    append_component(w, v.component);
  }
}

Result<SimpleComponentEvidence> parse_simple_component_evidence(Reader& r) {
  if (r.remaining() < evidence_head) return r.fail("Simple Component Evidence shorter than 40 bytes");
  // There are thousands in a session, and all of this head is there: its fields are read where they are.
  const Reader start = r;
  const auto at = [&](std::size_t offset) {
    Reader out = start;
    (void)out.skip(offset);
    return out;
  };
  GH_TRY(const Bytes head, r.take(evidence_head));
  const auto byte = [&](std::size_t i) { return std::to_integer<std::uint32_t>(head[i]); };
  const auto word = [&](std::size_t i) {
    std::uint32_t big;
    std::memcpy(&big, head.data() + i, sizeof big);
    return std::byteswap(big);
  };
  SimpleComponentEvidence v;
  v.has_pcr_values = (byte(0) & 0x80) != 0;
  v.validation = Validation(byte(0) >> 5 & 3);
  v.depth = word(0) & 0xFFFFFF;
  if ((byte(7) & 0xC0) != 0) return at(7).fail(not_enumeration);
  v.component = {word(4) >> 8, std::uint8_t(byte(7)), word(8)};
  if (byte(12) != 0x80) return at(12).fail("measurement type isn't a hash");
  v.pcr = word(12) & 0xFFFFFF;
  v.algorithm = std::uint16_t(byte(16) << 8 | byte(17));
  v.transform = std::uint8_t(byte(18));
  v.time = as_text(head.subspan(20, 20));
  constexpr char least[] = "0000-00-00T00:00:00Z", most[] = "9999-99-99T99:99:99Z";
  const char* const time = v.time.data();
  const bool is_time = between(time, least, most) && between(time + 8, least + 8, most + 8) && between(time + 12, least + 12, most + 12);
  if (!is_time) return at(20).fail("measurement time isn't an RFC 3339 time");
  if (v.validation == Validation::failed || v.validation == Validation::passed) {
    const Reader here = r;
    GH_TRY(const auto length, r.get<std::uint16_t>());
    if (length > r.remaining()) return here.fail("policy URI longer than the attribute");
    GH_TRY(const Bytes uri, r.take(length));
    v.policy_uri = as_text(uri);
  }
  if (v.has_pcr_values) {
    const Reader here = r;
    GH_TRY(const auto length, r.get<std::uint16_t>());
    if (length > r.remaining() / 2) return here.fail("PCR values longer than the attribute");
    GH_TRY(v.pcr_before, r.take(length));
    GH_TRY(v.pcr_after, r.take(length));
  }
  GH_TRY(v.measurement, r.take(r.remaining()));
  return v;
}

std::optional<AlikeEvidence> parse_alike_evidence(Bytes value, Bytes first) {
  constexpr std::size_t size = evidence_head + 2;
  if (value.size() < size || first.size() < size || !equal_words<evidence_head>(value.data(), first.data())) return std::nullopt;
  // No PCR values, and the validation passed: a policy URI, and nothing else before the measurement.
  if ((value[0] & std::byte{0xE0}) != std::byte{std::to_underlying(Validation::passed) << 5}) return std::nullopt;
  const std::size_t length = std::to_integer<std::size_t>(value[evidence_head]) << 8 | std::to_integer<std::size_t>(value[evidence_head + 1]);
  if (length == 0 || length > value.size() - size) return std::nullopt;
  return AlikeEvidence{as_text(value.subspan(size, length)), value.subspan(size + length)};
}

void append_simple_component_evidence(Writer& w, const SimpleComponentEvidence& v) {
  w.put(std::uint8_t((v.has_pcr_values ? 0x80 : 0) | unsigned(v.validation) << 5));
  w.put24(v.depth);
  append_component(w, v.component);
  w.put(std::uint8_t{0x80});
  w.put24(v.pcr);
  w.put(v.algorithm);
  w.put(v.transform);
  w.put(std::uint8_t{0});
  GH_ASSERT(v.time.size() == 20);
  w.put_text(v.time);
  if (v.validation == Validation::failed || v.validation == Validation::passed) {
    w.put(std::uint16_t(v.policy_uri.size()));
    w.put_text(v.policy_uri);
  }
  if (v.has_pcr_values) {
    w.put(std::uint16_t(v.pcr_before.size()));
    w.put_bytes(v.pcr_before);
    w.put_bytes(v.pcr_after);
  }
  w.put_bytes(v.measurement);
}

Result<ImaName> parse_ima_uri(std::string_view uri) {
  static constexpr std::string_view algorithms[] = {"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sm3",
                                                    "streebog256", "streebog512"};
  ImaName out;
  constexpr std::string_view usual = "sha256:";  // of nearly all
  const auto is_algorithm = [](std::string_view word) { return std::find(std::begin(algorithms), std::end(algorithms), word) != std::end(algorithms); };
  if (uri.starts_with(usual)) {
    out.algorithm = uri.substr(0, usual.size() - 1);
    out.name = uri.substr(usual.size());
  } else if (const std::size_t colon = uri.find(':'); colon != std::string_view::npos && is_algorithm(uri.substr(0, colon))) {
    out.algorithm = uri.substr(0, colon);
    out.name = uri.substr(colon + 1);
  } else {
    out.algorithm = "sha1";
    out.name = uri;
    out.legacy = true;
  }
  if (out.name.empty()) return fail(Fault::malformed, "event name is empty");
  if (out.name.size() > 4096) return fail(Fault::malformed, "event name longer than PATH_MAX");
  if (out.name.find('\0') != std::string_view::npos) return fail(Fault::malformed, "NUL in the event name");
  return out;
}

Result<SimpleEvidenceFinal> parse_simple_evidence_final(Reader& r) {
  constexpr std::uint8_t quote_mask = 0xD0, tpm20 = 0x10, evidence_signature = 0x20;
  if (r.remaining() < 4) return r.fail("Simple Evidence Final shorter than 4 bytes");
  const auto start = r;
  SimpleEvidenceFinal v;
  GH_TRY(const auto flags, r.get<std::uint8_t>());
  if ((flags & quote_mask) != 0 && (flags & quote_mask) != tpm20)
    return start.fail("quote format isn't that of a TPM 2.0");
  v.has_quote = (flags & quote_mask) == tpm20;
  GH_CHECK(r.skip(1));
  GH_TRY(v.hash, r.get<std::uint16_t>());
  const auto long_part = [&](std::size_t most) -> Result<Bytes> {
    const auto at = r;
    GH_TRY(const auto length, r.get<std::uint32_t>());
    if (length > r.remaining() || length > most) return at.fail("part longer than the attribute or its type");
    return r.take(length);
  };
  const auto part = [&]() -> Result<Bytes> {
    const auto at = r;
    GH_TRY(const auto length, r.get<std::uint16_t>());
    if (length > r.remaining()) return at.fail("part longer than the attribute");
    return r.take(length);
  };
  if (v.has_quote) {
    GH_TRY(v.pcr_digest, long_part(64));
    GH_TRY(v.qualified_signer, part());
    GH_TRY(v.clock_info, part());
    GH_TRY(v.firmware_version, part());
    GH_TRY(v.selection, part());
    GH_TRY(v.signature, long_part(1024));
  }
  if ((flags & evidence_signature) != 0) GH_CHECK(r.skip(r.remaining()));
  GH_CHECK(r.finish());
  return v;
}

void append_simple_evidence_final(Writer& w, const SimpleEvidenceFinal& v) {
  w.put(std::uint8_t(v.has_quote ? 0x10 : 0));
  w.put(std::uint8_t{0});
  w.put(v.hash);
  if (!v.has_quote) return;
  w.put(std::uint32_t(v.pcr_digest.size()));
  w.put_bytes(v.pcr_digest);
  for (const Bytes part : {v.qualified_signer, v.clock_info, v.firmware_version, v.selection}) {
    w.put(std::uint16_t(part.size()));
    w.put_bytes(part);
  }
  w.put(std::uint32_t(v.signature.size()));
  w.put_bytes(v.signature);
}

std::string component_name(const Component& c) {
  constexpr std::string_view tcg[] = {"Ignore", "CRTM", "BIOS", "Platform Extensions", "Motherboard Firmware",
                                      "Initial Program Loader", "Option ROMs"};
  constexpr std::string_view ita[] = {"", "Trusted GRUB Boot Loader", "Trusted Boot", "Linux IMA"};
  constexpr std::string_view kinds[] = {"Unknown", "Trusted Platform", "Operating System", "Graphical User Interface",
                                        "Application", "Networking", "Library", "TNC Defined Component"};
  std::array<char, 48> unnamed{};
  std::string name;
  if (c.vendor == vendor_tcg && c.name < std::size(tcg)) {
    name = "TCG/" + std::string(tcg[c.name]);
  } else if (c.vendor == vendor_ita && c.name > 0 && c.name < std::size(ita)) {
    name = "ITA-HSR/" + std::string(ita[c.name]);
  } else {
    std::snprintf(unnamed.data(), unnamed.size(), "0x%06x/0x%08x", c.vendor, c.name);
    name = unnamed.data();
  }
  if (c.qualifier == 0x3F) return name + " [*] All Matching Components";
  name += (c.qualifier & 0x20) != 0 ? " [K" : " [.";
  name += (c.qualifier & 0x10) != 0 ? "S] " : ".] ";
  const unsigned kind = c.qualifier & 0x0FU;
  if (kind == 0x0F) return name + "All Matching Components";
  if (kind < std::size(kinds)) return name + std::string(kinds[kind]);
  std::snprintf(unnamed.data(), unnamed.size(), "0x%x", kind);
  return name + unnamed.data();
}

Result<std::string_view> parse_get_symlinks(Reader& r) {
  const auto start = r;
  GH_TRY(const Bytes bytes, r.take(r.remaining()));
  const std::string_view directory = as_text(bytes);
  if (const std::size_t nul = directory.find('\0'); nul != std::string_view::npos) {
    Reader at = start;
    GH_CHECK(at.skip(nul));
    return at.fail("NUL in a path");
  }
  return directory;
}
void append_get_symlinks(Writer& w, std::string_view directory) { w.put_text(directory); }

Result<std::vector<Symlink>> parse_symlinks(Reader& r) {
  if (r.remaining() < 4) return r.fail("Symlinks shorter than 4 bytes");
  const auto start = r;
  GH_TRY(const auto count, r.get<std::uint32_t>());
  if (count > r.remaining() / 4) return start.fail("more symlinks than the attribute holds");
  std::vector<Symlink> out;
  const auto text = [&]() -> Result<std::string_view> {
    const auto at = r;
    GH_TRY(const auto length, r.get<std::uint16_t>());
    if (length > r.remaining()) return at.fail("path longer than the attribute");
    GH_TRY(const Bytes bytes, r.take(length));
    return as_text(bytes);
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    Symlink s;
    GH_TRY(s.link, text());
    GH_TRY(s.target, text());
    out.push_back(s);
  }
  GH_CHECK(r.finish());
  return out;
}

void append_symlinks(Writer& w, const std::vector<Symlink>& symlinks) {
  w.put(std::uint32_t(symlinks.size()));
  for (const Symlink& s : symlinks)
    for (const std::string_view text : {s.link, s.target}) {
      w.put(std::uint16_t(text.size()));
      w.put_text(text);
    }
}

}  // namespace gatehouse::pts
