// Writes each session's conversation into a folder of its own (docs/formats/trace.md), away from the session's thread.
// A trace never affects a session: what can't be written, or comes faster than the disk takes it, is left out, and the
// trace says that it is incomplete.
//
//   GH_TRY(const auto recorder, trace::Recorder::open(config.trace));
//   const auto recording = recorder->begin(session.id());
//   recording->message(Direction::client_to_server, bytes);     // from Host::trace_message
//   recording->fact("dh_secret", bytes);                        // from Host::trace_fact
//   recording->result(session_result);                          // from Host::commit_result
//   // its end closes the trace
//
// Passwords and what could be tried against them never reach the disk: SASL messages are masked before they are queued.
// Thread safety: the recorder's functions from any thread; a recording's from one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "server/imv/host.h"

namespace gatehouse::trace {

class Recorder;

class Recording {
 public:
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // A whole PT-TLS message, or as much of it as there is.
  void message(server::Direction direction, Bytes whole);
  // Facts of one DH exchange belong together: a name that comes again begins the next exchange.
  void fact(std::string_view name, Bytes value);
  // Of the transport: "server_tls", "identity", ...; text that goes to the index.
  void transport(std::string_view name, std::string_view value);
  // What a replay has to be configured alike with.
  void settings(const server::Settings& settings);
  void result(const server::SessionResult& result);

 private:
  friend class Recorder;
  struct State;
  explicit Recording(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class Recorder {
 public:
  struct Limits {
    std::size_t queued_bytes = std::size_t(64) << 20;    // that wait for the disk
    std::size_t session_bytes = std::size_t(512) << 20;  // of one trace
  };
  // Makes the folder where there is none (mode 0700).
  static Result<std::unique_ptr<Recorder>> open(const std::string& folder);
  static Result<std::unique_ptr<Recorder>> open(const std::string& folder, Limits limits);
  ~Recorder();  // writes what waits
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  std::unique_ptr<Recording> begin(const std::string& session);
  // Until everything is written that was queued before.
  void wait_blocking();

  struct Impl;

 private:
  explicit Recorder(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// A PT-TLS message as it may be kept: SASL messages with passwords and proofs replaced by "********" and their lengths
// set anew; of messages of unknown types, and of copies in errors, the header alone. `mechanism` is what was selected
// before, and is set by a selection.
ByteVector masked(Bytes message, std::string& mechanism);
// The decoding of a batch in the index: "pb_tnc", a JSON array.
std::string summary(Bytes batch);

}  // namespace gatehouse::trace
