// Brings a software TPM into the state that a firmware log and an IMA list describe: starts it at a locality through
// swtpm's control channel, extends each event's digests, and each list entry's template hash in all four banks as a
// current kernel does. For tests and the demo.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/file.h"
#include "base/hash.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"

using namespace gatehouse;

namespace {

// swtpm's control channel: command 5 sets the locality (swtpm_ioctl.h, CMD_SET_LOCALITY); numbers big-endian.
bool set_locality(const std::string& address, std::uint32_t locality) {
  const std::size_t colon = address.rfind(':');
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(std::uint16_t(std::stoi(address.substr(colon + 1))));
  ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  bool good = ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  const unsigned char request[5] = {0, 0, 0, 5, static_cast<unsigned char>(locality)};
  std::uint32_t answer = 1;
  good = good && ::write(fd, request, sizeof request) == ssize_t(sizeof request) && ::read(fd, &answer, sizeof answer) == 4 && answer == 0;
  ::close(fd);
  return good;
}

struct Tpm {
  TSS2_TCTI_CONTEXT* tcti = nullptr;
  ESYS_CONTEXT* esys = nullptr;
};

bool extend(ESYS_CONTEXT* esys, std::uint32_t pcr, const TPML_DIGEST_VALUES& digests) {
  const TSS2_RC rc = Esys_PCR_Extend(esys, ESYS_TR(pcr), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &digests);
  if (rc != TSS2_RC_SUCCESS) std::fprintf(stderr, "gatehouse-tpm-extend: PCR %u: error 0x%x\n", pcr, rc);
  return rc == TSS2_RC_SUCCESS;
}

void add(TPML_DIGEST_VALUES& values, HashAlgorithm bank, Bytes digest) {
  TPMT_HA& slot = values.digests[values.count++];
  slot.hashAlg = TPM2_ALG_ID(bank);
  std::memcpy(&slot.digest, digest.data(), digest.size());
}

int run(const std::string& tcti, const std::string& control, int locality, const std::string& log_file, const std::string& list_file) {
  if (!control.empty() && locality > 0 && !set_locality(control, std::uint32_t(locality))) {
    std::fprintf(stderr, "gatehouse-tpm-extend: swtpm doesn't take locality %d\n", locality);
    return 4;
  }
  Tpm tpm;
  if (Tss2_TctiLdr_Initialize(tcti.c_str(), &tpm.tcti) != TSS2_RC_SUCCESS || Esys_Initialize(&tpm.esys, tpm.tcti, nullptr) != TSS2_RC_SUCCESS) {
    std::fprintf(stderr, "gatehouse-tpm-extend: can't reach the TPM at %s\n", tcti.c_str());
    return 4;
  }
  const TSS2_RC started = Esys_Startup(tpm.esys, TPM2_SU_CLEAR);
  if (started != TSS2_RC_SUCCESS && started != TPM2_RC_INITIALIZE) return 4;
  if (!control.empty() && locality > 0 && !set_locality(control, 0)) return 4;
  std::size_t count = 0;
  if (!log_file.empty()) {
    const auto log = read_file(log_file, std::size_t(64) << 20);
    if (!log) return std::fprintf(stderr, "%s\n", log.error().text().c_str()), 4;
    eventlog::Cursor cursor;
    cursor.feed(*log);
    cursor.end();
    for (;;) {
      const auto event = cursor.next();
      if (!event) return std::fprintf(stderr, "%s\n", event.error().text().c_str()), 3;
      if (*event == nullptr) break;
      if (!(*event)->extends()) continue;
      TPML_DIGEST_VALUES values{};
      for (const eventlog::EventDigest& d : (*event)->digests)
        if (const auto bank = hash_algorithm(d.bank)) add(values, *bank, d.value);
      if (!extend(tpm.esys, (*event)->pcr, values)) return 4;
      ++count;
    }
  }
  if (!list_file.empty()) {
    const auto list = read_file(list_file, std::size_t(512) << 20);
    if (!list) return std::fprintf(stderr, "%s\n", list.error().text().c_str()), 4;
    ima::Cursor cursor(ima::form_of(*list));
    cursor.feed(*list);
    cursor.end();
    for (;;) {
      const auto entry = cursor.next();
      if (!entry) return std::fprintf(stderr, "%s\n", entry.error().text().c_str()), 3;
      if (*entry == nullptr) break;
      TPML_DIGEST_VALUES values{};
      for (const HashAlgorithm bank : common_banks) {
        const Digest value = (*entry)->violation() ? Digest::filled(digest_size(bank), std::byte{0xFF}) : digest_of(bank, (*entry)->template_data);
        add(values, bank, value.view());
      }
      if (!extend(tpm.esys, (*entry)->pcr, values)) return 4;
      ++count;
    }
  }
  Esys_Finalize(&tpm.esys);
  Tss2_TctiLdr_Finalize(&tpm.tcti);
  std::printf("%zu measurements extended\n", count);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Extends a firmware log and an IMA list into a software TPM."};
  std::string tcti, control, log, list;
  int locality = 0;
  app.add_option("--tcti", tcti, "tpm2-tss TCTI")->required();
  app.add_option("--swtpm-ctrl", control, "HOST:PORT of swtpm's control channel");
  app.add_option("--startup-locality", locality, "locality of TPM2_Startup");
  app.add_option("--eventlog", log, "firmware event log");
  app.add_option("--ima", list, "IMA list");
  CLI11_PARSE(app, argc, argv);
  return run(tcti, control, locality, log, list);
}
