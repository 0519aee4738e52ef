// Firmware logs made event by event, and what the checks say of them.
#pragma once

#include <gtest/gtest.h>

#include <map>

#include "base/file.h"
#include "pipeline/verdict/log_checks.h"

namespace gatehouse::testing {

using pipeline::Finding;
using pipeline::LogChecks;
using pipeline::Status;

inline constexpr HashAlgorithm sha256 = HashAlgorithm::sha256;
inline constexpr std::uint32_t ev_no_action = 3, ev_separator = 4, ev_action = 0x80000007, ev_variable = 0x80000001,
                               ev_authority = 0x800000E0;

struct Event {
  std::uint32_t pcr = 0, type = 0;
  ByteVector data;
  std::optional<Digest> digest;  // else that of the data
  bool without_digest = false;
};
using Log = std::vector<Event>;

inline ByteVector bytes(std::string_view text) { return to_vector(as_bytes(text)); }
// `space`: "global", "database" (db, dbx) or "shim".
inline ByteVector variable(std::string_view space, std::string_view name, Bytes data) {
  ByteVector out;
  // Mixed-endian.
  const unsigned char global[16] = {0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11,
                                    0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c};
  const unsigned char database[16] = {0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45,
                                      0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f};
  const unsigned char shim[16] = {0x50, 0xab, 0x5d, 0x60, 0x46, 0xe0, 0x00, 0x43,
                                  0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23};
  for (const unsigned char c : space == "global" ? global : space == "shim" ? shim : database)
    out.push_back(std::byte(c));
  const auto number = [&](std::uint64_t v) {
    for (int i = 0; i < 8; ++i) out.push_back(std::byte(v >> (8 * i)));
  };
  number(name.size());
  number(data.size());
  for (const char c : name) {
    out.push_back(std::byte(c));
    out.push_back(std::byte{0});
  }
  out.insert(out.end(), data.begin(), data.end());
  return out;
}
inline const ByteVector one{std::byte{1}}, zero{std::byte{0}}, key(20, std::byte{7});

inline Log good() {
  Log log{
      {0, ev_no_action, bytes(std::string_view("Spec ID Event03\0....", 20)), Digest::filled(32, std::byte{0}), false},
      {0, ev_no_action, bytes(std::string_view("StartupLocality\0\3", 17)), Digest::filled(32, std::byte{0}), false},
      {0, 8, bytes("firmware"), {}, false},
      {7, ev_variable, variable("global", "SecureBoot", one), {}, false},
      {7, ev_variable, variable("global", "PK", key), {}, false},
      {7, ev_variable, variable("global", "KEK", key), {}, false},
      {7, ev_variable, variable("database", "db", key), {}, false},
      {7, ev_variable, variable("database", "dbx", {}), {}, false}};
  for (std::uint32_t pcr = 0; pcr < 8; ++pcr)
    log.push_back({pcr, ev_separator, ByteVector(4, std::byte{0}), {}, false});
  log.push_back({4, 0x80000003, bytes("boot loader"), digest_of(sha256, as_bytes("image")), false});
  log.push_back({5, ev_action, bytes("Exit Boot Services Invocation"), {}, false});
  log.push_back({7, ev_authority, bytes("vendor certificate"), {}, false});
  log.push_back({8, 0x0D, bytes("grub_cmd: linux"), {}, false});
  return log;
}

struct Checked {
  std::map<std::string, Status> checks;
  std::vector<Finding> findings;
  std::uint64_t left_out = 0;
  std::string failed() const {
    std::string out;
    for (const auto& [code, status] : checks)
      if (status == Status::failed) out += (out.empty() ? "" : " ") + code;
    return out;
  }
};
inline Checked check(const Log& log, eventlog::Format format = eventlog::Format::crypto_agile,
                     std::vector<pipeline::EvidenceRulesPtr> rules = {}) {
  LogChecks checks(sha256, std::move(rules));
  for (const Event& e : log) {
    const Digest digest = e.digest.value_or(digest_of(sha256, e.data));
    eventlog::Event event;
    event.pcr = e.pcr;
    event.type = e.type;
    event.data = e.data;
    if (!e.without_digest) event.digests.push_back({std::uint16_t(sha256), digest.view()});
    checks.see(event, format);
  }
  Checked out;
  out.left_out = checks.finish(out.checks, out.findings);
  return out;
}
// A file of the corpus beside the checkout.
inline Checked check_file(const std::string& path, HashAlgorithm bank = sha256,
                          std::vector<pipeline::EvidenceRulesPtr> rules = {}) {
  const ByteVector log = read_file(path, std::size_t(1) << 26).value();
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  LogChecks checks(bank, std::move(rules));
  for (;;) {
    const auto event = cursor.next();
    EXPECT_TRUE(event.has_value()) << path;
    if (!event || *event == nullptr) break;
    checks.see(**event, cursor.format());
  }
  Checked out;
  out.left_out = checks.finish(out.checks, out.findings);
  return out;
}

}  // namespace gatehouse::testing
