// One endpoint's way to the server, driven by readiness of its socket: connection.h over PT-TLS, radius_link.h over RADIUS. Belongs
// to one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "endpoint/client/tnc_client.h"
#include "fleet/evidence.h"

namespace gatehouse::fleet {

class Link {
 public:
  enum class State : std::uint8_t {
    busy,     // wait for the socket, and for again_at()
    resting,  // the verdict is there, and the connection stays
    ended,    // error() says why, unless there is an outcome
  };
  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  virtual ~Link() = default;

  // Starts to connect; or, where it rests, another assessment with this evidence.
  virtual State connect() = 0;
  virtual State retry(std::shared_ptr<const Variant> variant) = 0;
  // The socket is ready. `most` bytes at a time are read and written.
  virtual State proceed(std::size_t most) = 0;
  // What comes back when the server speaks or hangs up meanwhile: resting, or ended.
  virtual State idle() = 0;
  // As a machine that loses its power.
  virtual void vanish() = 0;
  // When what was said last is to be said again, by repeat(); nullopt: never.
  virtual std::optional<std::chrono::steady_clock::time_point> again_at() const { return std::nullopt; }
  virtual State repeat() { return State::busy; }

  virtual int fd() const = 0;
  virtual bool wants_to_write() const = 0;
  virtual bool talking() const = 0;  // the handshake is behind it
  virtual std::uint64_t bytes_sent() const = 0;
  virtual std::uint64_t repeated() const { return 0; }
  virtual const std::optional<endpoint::Outcome>& outcome() const = 0;
  virtual const std::optional<Error>& error() const = 0;
};

}  // namespace gatehouse::fleet
