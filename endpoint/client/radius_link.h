// UDP to a RADIUS server, blocking: a request is sent again at growing distances until its answer comes, as gateways do
// (spec part 1a §3.6: after 2.0, 2.8, 3.92 and 5.488 s).
#pragma once

#include <chrono>
#include <string>

#include "endpoint/client/radius_gateway.h"

namespace gatehouse::endpoint {

struct RadiusLinkOptions {
  std::string host, port;
  std::chrono::seconds deadline{600};  // of everything
  int stop_fd = -1;                    // readable: every wait ends with an error; not closed here
  std::chrono::milliseconds first_wait{2'000};
};

class RadiusLink {
 public:
  // Every failure is Fault::environment and names the server.
  static Result<RadiusLink> open(const RadiusLinkOptions& options);
  RadiusLink(RadiusLink&& other) noexcept;
  RadiusLink& operator=(RadiusLink&&) = delete;
  ~RadiusLink();

  Result<RadiusGateway::Answer> exchange(RadiusGateway& gateway, Bytes eap);
  std::size_t repeated() const { return repeated_; }  // requests that had to be sent again

 private:
  RadiusLink(RadiusLinkOptions options, int fd);
  RadiusLinkOptions options_;
  std::chrono::steady_clock::time_point until_;
  int fd_;
  std::size_t repeated_ = 0;
};

}  // namespace gatehouse::endpoint
