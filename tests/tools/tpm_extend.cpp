// gatehouse-tpm-extend: brings a software TPM into the state that a firmware log and an IMA list describe, as firmware and
// kernel would have: starts it at a locality, extends each event's digests in all banks that the log has, and each list
// entry's template hash in all four banks (a violation as all ones). One process, thousands of extends. For tests and the
// demo.
#include <sys/socket.h>
#include <sys/un.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tcti.h>
#include <tss2/tss2_tctildr.h>
#include <netdb.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <system_error>

#include "base/file.h"
#include "base/hash.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"

namespace gatehouse {
namespace {

struct Options {
  std::string tcti, control, log, list;
  std::optional<unsigned> locality;
  bool json = false;
};

std::unexpected<Error> tpm_failed(std::string_view what, TSS2_RC rc) { return fail(Error{Fault::environment, what, {}, 0, "TPM", Tss2_RC_Decode(rc)}); }

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// swtpm's control channel: "HOST:PORT", or the path of a Unix socket.
Result<Socket> connect_control(const std::string& address) {
  if (address.starts_with('/')) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    if (address.size() >= sizeof to.sun_path) return fail(Fault::usage, "path of the control channel too long");
    address.copy(to.sun_path, sizeof to.sun_path - 1);
    Socket s(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(s.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return fail_errno("can't reach swtpm's control channel", address);
    return s;
  }
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return fail(Fault::usage, "--swtpm-ctrl wants HOST:PORT or a path");
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (::getaddrinfo(address.substr(0, colon).c_str(), address.substr(colon + 1).c_str(), &hints, &list) != 0)
    return fail(Error{Fault::environment, "unknown host or port", {}, 0, address, {}});
  Socket s(::socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int connected = ::connect(s.get(), list->ai_addr, list->ai_addrlen);
  const int saved = errno;
  ::freeaddrinfo(list);
  errno = saved;
  if (connected != 0) return fail_errno("can't reach swtpm's control channel", address);
  return s;
}

// CMD_SET_LOCALITY (swtpm's tpm_ioctl.h): command number 5 and the locality; the answer is a result code. Big-endian.
Result<void> set_locality_by_control(const std::string& address, unsigned locality) {
  GH_TRY(const Socket s, connect_control(address));
  const std::array<unsigned char, 5> request{0, 0, 0, 5, static_cast<unsigned char>(locality)};
  std::array<unsigned char, 4> answer{1, 1, 1, 1};
  if (::send(s.get(), request.data(), request.size(), MSG_NOSIGNAL) != ssize_t(request.size()) ||
      ::recv(s.get(), answer.data(), answer.size(), MSG_WAITALL) != ssize_t(answer.size()))
    return fail_errno("swtpm's control channel doesn't answer", address);
  if (answer != std::array<unsigned char, 4>{}) return fail(Error{Fault::environment, "swtpm refuses the locality", {}, 0, address, std::to_string(locality)});
  return {};
}

class Tpm {
 public:
  Tpm() = default;
  Tpm(const Tpm&) = delete;
  Tpm& operator=(const Tpm&) = delete;
  ~Tpm() {
    if (esys_ != nullptr) Esys_Finalize(&esys_);
    if (tcti_ != nullptr) Tss2_TctiLdr_Finalize(&tcti_);
  }

  Result<void> open(const std::string& tcti) {
    ::setenv("TSS2_LOG", "all+none", 0);
    if (const TSS2_RC rc = Tss2_TctiLdr_Initialize(tcti.c_str(), &tcti_); rc != TSS2_RC_SUCCESS) return tpm_failed("can't be reached", rc);
    if (const TSS2_RC rc = Esys_Initialize(&esys_, tcti_, nullptr); rc != TSS2_RC_SUCCESS) return tpm_failed("can't be used", rc);
    return {};
  }

  // TPM2_Startup(CLEAR) at the locality; everything after it at 0. The TCTI sets the locality to 0 when it is opened, so
  // this comes after open().
  Result<void> startup(const Options& options) {
    // ESYS reports a second TPM2_Startup as success: another command tells.
    TPMI_YES_NO more = 0;
    TPMS_CAPABILITY_DATA* ignored = nullptr;
    const TSS2_RC asked = Esys_GetCapability(esys_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_FIXED, 1, &more, &ignored);
    Esys_Free(ignored);
    if (asked == TSS2_RC_SUCCESS && !options.locality) return {};  // nobody cares how
    if (asked == TSS2_RC_SUCCESS) return fail(Error{Fault::environment, "was started before: it can't be started at a locality now", {}, 0, "TPM", {}});
    if (asked != TPM2_RC_INITIALIZE) return tpm_failed("doesn't answer", asked);
    GH_CHECK(set_locality(options.control, options.locality.value_or(0)));
    const TSS2_RC rc = Esys_Startup(esys_, TPM2_SU_CLEAR);
    GH_CHECK(set_locality(options.control, 0));
    if (rc != TSS2_RC_SUCCESS) return tpm_failed("TPM2_Startup failed", rc);
    return {};
  }

  void add(HashAlgorithm bank, Bytes digest) {
    TPMT_HA& slot = values_.digests[values_.count++];
    slot.hashAlg = TPM2_ALG_ID(bank);
    std::memcpy(&slot.digest, digest.data(), digest.size());
  }
  // What was added since the last extend, into one PCR.
  Result<void> extend(std::uint32_t pcr) {
    const TSS2_RC rc = Esys_PCR_Extend(esys_, ESYS_TR(ESYS_TR_PCR0 + pcr), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &values_);
    values_.count = 0;
    if (rc != TSS2_RC_SUCCESS) return tpm_failed("TPM2_PCR_Extend failed", rc);
    return {};
  }

 private:
  Result<void> set_locality(const std::string& control, unsigned locality) {
    if (!control.empty()) return set_locality_by_control(control, locality);
    if (locality == 0 && !locality_changed_) return {};
    locality_changed_ = true;
    if (const TSS2_RC rc = Tss2_Tcti_SetLocality(tcti_, std::uint8_t(locality)); rc != TSS2_RC_SUCCESS) return tpm_failed("the TCTI refuses the locality", rc);
    return {};
  }
  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
  ESYS_CONTEXT* esys_ = nullptr;
  TPML_DIGEST_VALUES values_{};
  bool locality_changed_ = false;
};

Result<std::size_t> extend_log(Tpm& tpm, Bytes log) {
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  for (std::size_t count = 0;;) {
    GH_TRY(const eventlog::Event* const event, cursor.next());
    if (event == nullptr) return count;
    if (!event->extends()) continue;
    std::size_t digests = 0;
    for (const eventlog::EventDigest& digest : event->digests) {
      const auto bank = hash_algorithm(digest.bank);
      if (!bank || ++digests > TPM2_NUM_PCR_BANKS) continue;
      tpm.add(*bank, digest.value);
    }
    GH_CHECK(tpm.extend(event->pcr));
    ++count;
  }
}

Result<std::size_t> extend_list(Tpm& tpm, Bytes list) {
  ima::Cursor cursor(ima::form_of(list));
  cursor.feed(list);
  cursor.end();
  std::vector<Hasher> hashers;
  for (const HashAlgorithm bank : common_banks) hashers.emplace_back(bank);
  for (std::size_t count = 0;; ++count) {
    GH_TRY(const ima::Entry* const entry, cursor.next());
    if (entry == nullptr) return count;
    for (Hasher& hasher : hashers) {
      const HashAlgorithm bank = hasher.algorithm();
      Digest digest = Digest::filled(digest_size(bank), std::byte{0xFF});
      if (!entry->violation()) digest = bank == HashAlgorithm::sha1 ? Digest(entry->recorded_hash) : hasher(entry->template_data);
      tpm.add(bank, digest.view());
    }
    GH_CHECK(tpm.extend(entry->pcr));
  }
}

Result<void> run(const Options& options) {
  Tpm tpm;
  GH_CHECK(tpm.open(options.tcti));
  GH_CHECK(tpm.startup(options));
  std::size_t events = 0, entries = 0;
  if (!options.log.empty()) {
    GH_TRY(const ByteVector log, read_file(options.log, std::size_t(64) << 20));
    auto extended = extend_log(tpm, log);
    if (!extended) return std::unexpected(std::move(extended).error().from(options.log));
    events = *extended;
  }
  if (!options.list.empty()) {
    GH_TRY(const ByteVector list, read_file(options.list, std::size_t(1) << 30));
    auto extended = extend_list(tpm, list);
    if (!extended) return std::unexpected(std::move(extended).error().from(options.list));
    entries = *extended;
  }
  if (options.json)
    std::printf("{\"events\": %zu, \"entries\": %zu}\n", events, entries);
  else
    std::printf("%zu firmware events and %zu list entries extended\n", events, entries);
  return {};
}

}  // namespace
}  // namespace gatehouse

int main(int argc, char** argv) {
  CLI::App app{"Extends a firmware log and an IMA list into a software TPM, after TPM2_Startup(CLEAR)."};
  gatehouse::Options options;
  app.add_option("--tcti", options.tcti, "tpm2-tss TCTI; that of swtpm finds the control channel at the next port, or at PATH.ctrl")->required();
  app.add_option("--swtpm-ctrl", options.control, "swtpm's control channel, HOST:PORT or a path, to set the locality (default: through the TCTI)");
  app.add_option("--startup-locality", options.locality, "locality of TPM2_Startup; the TPM must not have been started")->check(CLI::Range(0, 4));
  app.add_option("--eventlog", options.log, "firmware event log");
  app.add_option("--ima", options.list, "IMA measurement list");
  app.add_flag("--json", options.json, "print one JSON object");
  app.footer("Example:\n  gatehouse-tpm-extend --tcti swtpm:host=127.0.0.1,port=2321 --startup-locality 3 --eventlog boot.bin --ima ima.bin");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (const auto done = gatehouse::run(options); !done) {
    std::fprintf(stderr, "gatehouse-tpm-extend: %s\n", done.error().text().c_str());
    return gatehouse::exit_code(done.error().fault);
  }
  return 0;
}
