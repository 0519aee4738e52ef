// Unix socket addresses of any path length.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

#include "base/descriptor.h"
#include "base/error.h"

namespace gatehouse::server {

// sun_path holds 107 bytes. A longer path is reached through a descriptor of its folder, for as long as this lives.
class SocketAddress {
 public:
  static Result<SocketAddress> of(const std::string& path) {
    SocketAddress out;
    std::string name = path;
    if (path.size() >= sizeof out.address_.sun_path) {
      const std::size_t slash = path.rfind('/');
      const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
      out.folder_ = Descriptor(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!out.folder_) return fail_errno("can't open the socket's folder", path);
      name = "/proc/self/fd/" + std::to_string(out.folder_.get()) + "/" + path.substr(slash + 1);
      if (name.size() >= sizeof out.address_.sun_path)
        return fail(Error{Fault::usage, "socket name too long", {}, 0, path, {}});
    }
    out.address_.sun_family = AF_UNIX;
    std::memcpy(out.address_.sun_path, name.c_str(), name.size() + 1);
    return out;
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  const char* name() const { return address_.sun_path; }
  static constexpr socklen_t size = sizeof(sockaddr_un);

 private:
  SocketAddress() = default;
  sockaddr_un address_{};
  Descriptor folder_;
};

}  // namespace gatehouse::server
