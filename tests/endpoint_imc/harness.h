// One collector, or a few, against a server by hand: tests/endpoint_client/harness.h without an Attestation IMC.
#pragma once

#include <fstream>

#include "base/hex.h"
#include "tests/endpoint_client/harness.h"

namespace gatehouse::endpoint::test {

struct Collectors {
  explicit Collectors(std::vector<Imc*> imcs, Session::Config config = {})
      : session(std::move(config), std::move(imcs)), server(session) {
    server.negotiate();
  }
  Session session;
  Server server;
};

// A directory of its own, gone with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "gatehouse-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  void write(const std::string& name, std::string_view text) const {
    std::filesystem::create_directories(std::filesystem::path(path_ + "/" + name).parent_path());
    std::ofstream(path_ + "/" + name, std::ios::binary) << text;
    std::filesystem::permissions(path_ + "/" + name, std::filesystem::perms(0644));
  }

 private:
  std::string path_;
};

inline std::string hex_of(Bytes bytes) { return to_hex(bytes); }

// The attributes of one subtype in the client's latest batch, as one PA-TNC message would hold them behind its header.
inline std::string wire_of(const std::vector<OwnAttribute>& attributes) {
  Writer w;
  for (const OwnAttribute& a : attributes) patnc::append_attribute(w, a.flags, a.vendor, a.type, a.value);
  return to_hex(w.view());
}

}  // namespace gatehouse::endpoint::test
