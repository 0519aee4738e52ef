// What certificates' responders say of them (OCSP, RFC 6960), asked by HTTP on a thread of its own, kept until it ends, and
// asked anew before. Who asks is answered by a callback, at once where the answer is known.
//
//   auto status = CertificateStatus::start({.limit = 5s});
//   status->ask({certificate, issuer, "http://ocsp.example.org", true}, [](Result<void> good) { … });
//
// An error is Fault::denied where the responder says so (revoked, unknown) and Fault::environment where nothing that counts
// came and silence isn't forgiven. Bounded: `max_questions` that wait, `max_answers` that are kept, one answer's size and
// time. A responder that doesn't answer is left alone for a while, so that those who wait for it don't queue up.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/x509.h"

namespace gatehouse::server {

struct StatusOptions {
  std::chrono::milliseconds limit{5'000};       // of one question, connecting included
  std::chrono::milliseconds pause{10'000};      // that a responder is left alone for
  bool silence_is_good = false;                 // soft-fail: who can't be asked about counts as not revoked
  std::size_t max_questions = 1'024, max_answers = 100'000;
  std::function<std::int64_t()> now;            // seconds since 1970; empty: the system's clock
};

struct StatusQuestion {
  Certificate certificate;  // its path was verified
  Certificate issuer;       // in that path
  std::string responder;    // http or https URL; empty: the one that the certificate names
};

struct StatusCounts {
  std::uint64_t good = 0, revoked = 0, unknown = 0, silent = 0;  // answers that were given to who asked
  std::uint64_t fetched = 0;                                     // requests over the network
};

// Answers that still count, though the attempt to have them made anew failed.
struct UnrenewedAnswers {
  std::size_t count = 0;
  std::int64_t first_end = 0;  // seconds since 1970
};

class CertificateStatus {
 public:
  // On the asker's thread where the answer is known, else on the own thread; never after stop().
  using Done = std::function<void(Result<void>)>;

  // Environment faults: libcurl can't begin.
  static Result<std::unique_ptr<CertificateStatus>> start(StatusOptions options);
  ~CertificateStatus();
  CertificateStatus(const CertificateStatus&) = delete;
  CertificateStatus& operator=(const CertificateStatus&) = delete;

  // From any thread; never waits.
  void ask(StatusQuestion question, Done done);
  // Who waits is told that the server stops.
  void stop();
  StatusCounts counts() const;
  // nullopt: there are none.
  std::optional<UnrenewedAnswers> unrenewed() const;

 private:
  struct Impl;
  explicit CertificateStatus(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gatehouse::server
