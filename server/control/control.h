// The control socket: operators' commands for a state directory that a running server holds. One request a line, one
// response a line, both JSON objects (docs/formats/control.md), over a unix socket of mode 0600; only the server's own
// user and root are answered.
//
//   GH_TRY(auto control, ControlServer::start("state/control.sock", [&](std::string_view request) {
//     return execute(*state, request); }));
//   GH_CHECK(state->announce_socket("state/control.sock"));
//
// The server has a thread of its own, where requests are executed one after another: they may wait for the disk, and no
// session waits for them. Bounded: 64 connections, 4 MiB a request, 30 s of silence.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "server/metrics/exposition.h"
#include "server/radius/admitted.h"
#include "server/state/state.h"

namespace gatehouse::server {

inline constexpr std::size_t max_request_bytes = std::size_t(4) << 20;
inline constexpr std::size_t max_response_bytes = std::size_t(64) << 20;

// The reason where a session's evidence is asked for and none is kept (Fault::environment).
inline constexpr std::string_view no_evidence_kept = "no evidence of this session is kept";

// What is in force, and what the safety stop made of the last switch.
struct PolicyStatus {
  std::string policy;        // version
  std::uint64_t number = 0;  // under which the store has it
  std::uint64_t generation = 0;
  bool enforced = true;
  bool watching = false;                        // a switch
  std::size_t devices = 0, refused = 0;         // of the last switch: allowed before it; of these, refused after it
  std::string alarm;                            // why the safety stop spoke; empty: it didn't
  HeldSwitch held;
  std::string rehearsing;                       // version that may come into force when it was rehearsed; empty: none
  std::optional<std::uint64_t> rehearsing_generation;  // the same of the references
};

// What only a running server can do.
struct Live {
  // Asks every connected endpoint of ours that is this device for another assessment; how many were asked.
  std::function<std::size_t(std::string_view device)> reassess;
  std::function<std::vector<metrics::Family>()> read_metrics;
  std::function<PolicyStatus()> policy_status{};
  // Lets in what the safety stop holds back, and watches it no more; false: nothing is held.
  std::function<bool()> release_policy{};
  // Has the gateways that let this device in cut it off; how many are asked. Null: there are none.
  std::function<std::size_t(std::string_view device)> disconnect;
  // Whom gateways have let in, from the first number above `after` on.
  std::function<std::vector<Admitted::Entry>(std::uint64_t after, std::size_t most)> admitted;
};

// Executes one request on the store; the same code offline and behind the socket. Never fails: an error is a response.
std::string execute(State& state, std::string_view request, const Live* live = nullptr);

// A response with its error, or the whole response where it has none.
Result<std::string> response_or_error(std::string response);

class ControlServer {
 public:
  // Returns a response without line breaks. Called on the control thread.
  using Handler = std::function<std::string(std::string_view request)>;

  // A socket file that nobody listens on is replaced; one that is in use is an error.
  static Result<std::unique_ptr<ControlServer>> start(const std::string& path, Handler handler,
                                                      std::chrono::milliseconds silence = std::chrono::seconds(30));
  ~ControlServer();  // ends its thread and removes the socket
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  struct Impl;
  explicit ControlServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Blocking, for commands.
class ControlClient {
 public:
  static Result<ControlClient> connect(const std::string& path);
  ControlClient(ControlClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ControlClient& operator=(ControlClient&&) = delete;
  ~ControlClient();
  Result<std::string> ask(std::string_view request);

 private:
  explicit ControlClient(int fd) : fd_(fd) {}
  int fd_;
};

// A state directory for a command: opened here, or reached through the server that holds it. Which of the two is decided
// by the directory's lock alone, so there is no moment at which both or neither would work.
class StateAccess {
 public:
  struct Place {
    std::string state;   // directory
    std::string socket;  // empty: what the holder announced, else control.sock in the directory
    bool create = false;
  };
  static Result<StateAccess> open(const Place& place);
  StateAccess(StateAccess&&) noexcept;
  ~StateAccess();
  Result<std::string> ask(std::string_view request);
  bool through_server() const;

 private:
  struct Impl;
  explicit StateAccess(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gatehouse::server
