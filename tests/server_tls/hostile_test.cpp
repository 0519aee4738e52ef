// Peers that mean harm: who drips a byte at a time at each layer, crowds that only connect, floods of handshakes. They end
// or are refused, what they take is bounded, and an honest endpoint gets its verdict meanwhile.
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <thread>

#include "tests/server_tls/server_fixture.h"

extern "C" {
std::size_t __sanitizer_get_current_allocated_bytes() __attribute__((weak));
}

namespace gatehouse::test {
namespace {

std::size_t allocated_bytes() {
  if (__sanitizer_get_current_allocated_bytes != nullptr) return __sanitizer_get_current_allocated_bytes();
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

// What a client says first, as OpenSSL's does.
ByteVector client_hello() {
  SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
  SSL* const ssl = SSL_new(context);
  BIO* const in = BIO_new(BIO_s_mem());
  BIO* const out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl, in, out);
  SSL_set_connect_state(ssl);
  (void)SSL_do_handshake(ssl);
  ByteVector hello(4096);
  const int size = BIO_read(out, hello.data(), int(hello.size()));
  hello.resize(std::size_t(std::max(size, 0)));
  SSL_free(ssl);
  SSL_CTX_free(context);
  ERR_clear_error();
  return hello;
}

class Hostile : public ServerTest {
 protected:
  // From an address of its own, so that it waits behind nobody. On a machine that is at other work its handshake may take
  // longer than a second, and give way: it tries again, as endpoints do.
  testing::AssertionResult honest_is_allowed() {
    for (int n = 0; n < 4; ++n)
      if (attempt()) return testing::AssertionSuccess();
    return attempt();
  }
  testing::AssertionResult attempt() {
    TlsWanted wanted = with("client");
    wanted.from = "127.0.0.77";
    TlsPeer peer(server->port(), wanted);
    if (!peer.good()) return testing::AssertionFailure() << peer.error();
    Client client(*endpoint);
    speak(peer, client.session());
    const auto& outcome = client.session().outcome();
    if (outcome && outcome->recommendation == endpoint::Recommendation::allow) return testing::AssertionSuccess();
    return testing::AssertionFailure() << log->text().substr(0, 4000);
  }
  // A byte when the server has listened to the one before for a moment; until the server ends it.
  template <class Send>
  static bool drip(int fd, Send&& send) {
    for (int n = 0; n < 100'000; ++n) {
      if (!send()) return true;
      pollfd socket{fd, POLLIN, 0};
      if (::poll(&socket, 1, 50) > 0) {
        // What it says doesn't matter; its end does.
        char said[4096];
        if ((socket.revents & (POLLHUP | POLLERR)) != 0 || ::recv(fd, said, sizeof said, MSG_DONTWAIT) == 0) return true;
      }
    }
    return false;
  }
};

// A peer that is never silent, and never done: below TLS, in its handshake, and in a message of each layer above it.
TEST_F(Hostile, WhoDripsAByteAtATimeIsEndedAtEachLayer) {
  config.idle_deadline = std::chrono::seconds(2);
  start();
  const ByteVector hello = client_hello();
  ASSERT_GT(hello.size(), 100U);
  const auto bytes = [](std::initializer_list<unsigned> list) {
    ByteVector out;
    for (const unsigned b : list) out.push_back(std::byte(b));
    return out;
  };
  struct Layer {
    const char* name;
    std::size_t steps;  // of a good conversation, before
    ByteVector start;   // then this, and then zeros for ever
  };
  const Layer layers[] = {
      {"TLS record", 0, {}},
      {"PT-TLS header", 0, {}},
      {"PT-TLS message before the negotiation", 0, bytes({0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xFF, 0, 0, 0, 0, 0})},
      {"PB-TNC batch", 1, bytes({0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0xFF, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0xFE, 0xF0})},
      {"PA-TNC message", 2, bytes({0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0xFF, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0xFE, 0xF0, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xFE, 0xE0})},
  };
  std::vector<std::thread> peers;
  for (const Layer& layer : layers)
    peers.emplace_back([&] {
      TlsPeer peer(server->port(), with("client"));
      ASSERT_TRUE(peer.good()) << layer.name << ": " << peer.error();
      Client client(*endpoint, {.max_batch = 16'384});
      if (layer.steps != 0) speak(peer, client.session(), layer.steps);
      const bool record = std::string_view(layer.name) == "TLS record";
      EXPECT_TRUE(record || peer.write(layer.start)) << layer.name;
      std::size_t n = 0;
      const ByteVector zero(1, std::byte{0}), header = bytes({0x17, 3, 3, 0x40, 0});
      EXPECT_TRUE(drip(SSL_get_fd(peer.ssl()), [&] {
        if (!record) return peer.write(zero);
        peer.write_raw(n < header.size() ? Bytes(header).subspan(n, 1) : Bytes(zero));
        ++n;
        return true;
      })) << layer.name;
    });
  peers.emplace_back([&] {
    TlsPeer peer(server->port());
    std::size_t n = 0;
    EXPECT_TRUE(drip(peer.fd(), [&] {
      // The ClientHello's last byte never comes.
      peer.write_raw(Bytes(hello).subspan(std::min(n, hello.size() - 2), n < hello.size() - 1 ? 1 : 0));
      ++n;
      return true;
    })) << "TLS handshake";
  });
  EXPECT_TRUE(honest_is_allowed());
  for (std::thread& peer : peers) peer.join();
  EXPECT_TRUE(log->has("TLS handshake took too long"));
  EXPECT_TRUE(log->has("session ended: the endpoint was silent for too long"));
  EXPECT_TRUE(honest_is_allowed());
}

// Children of this process that are hostile to its server; they do no more than sockets. The server's port comes through a
// pipe when there is one, and they leave when this goes.
class Crowd {
 public:
  // `body` gets the port, what to call when it has done its part, and a descriptor that ends with this.
  template <class Body>
  explicit Crowd(Body body) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) std::abort();
    child_ = ::fork();
    if (child_ == 0) {
      ::close(in[1]);
      ::close(out[0]);
      std::uint16_t port = 0;
      if (::read(in[0], &port, sizeof port) == sizeof port) body(port, [&] { (void)!::write(out[1], "x", 1); }, in[0]);
      ::_exit(0);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_ = in[1];
    from_ = out[0];
  }
  ~Crowd() {
    ::close(to_);
    ::close(from_);
    ::waitpid(child_, nullptr, 0);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  void attack(std::uint16_t port) { (void)!::write(to_, &port, sizeof port); }
  // Until it has done its part once more.
  bool done() {
    char byte = 0;
    return ::read(from_, &byte, 1) == 1;
  }

 private:
  pid_t child_ = -1;
  int to_ = -1, from_ = -1;
};

int connect_from(const char* network, std::size_t n, std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  ::inet_pton(AF_INET, network, &address.sin_addr);
  address.sin_addr.s_addr = htonl(ntohl(address.sin_addr.s_addr) + std::uint32_t(n));
  (void)::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  (void)::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return fd;
}
bool over(int fd) {
  pollfd end{fd, POLLIN, 0};
  return ::poll(&end, 1, 0) != 0;
}

// As many as a crowd of ten machines can hold open. Those for whom there is room wait, the others are closed at once.
TEST_F(Hostile, TenThousandHalfOpenConnectionsAreBoundedAndKeepNobodyOut) {
  constexpr std::size_t count = 10'000, addresses = 10;
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < count + 500) GTEST_SKIP() << "only " << files.rlim_cur << " file descriptors: nothing was tested";
  Crowd crowd([](std::uint16_t port, auto&& done, int end) {
    for (std::size_t n = 0; n < count; ++n) (void)connect_from("127.0.1.1", n % addresses, port);
    done();
    char byte = 0;
    (void)!::read(end, &byte, 1);
  });
  // So many that a slow machine, which lets them in as slowly as it ends them, runs out of room as well.
  config.max_waiting = 1'024;
  start();
  ASSERT_TRUE(honest_is_allowed());
  const std::size_t before = allocated_bytes();
  crowd.attack(server->port());
  EXPECT_TRUE(honest_is_allowed()) << "while they come";
  ASSERT_TRUE(crowd.done());
  for (int n = 0; n < 3; ++n) {
    EXPECT_TRUE(honest_is_allowed()) << "while they are there";
    // Those that gave way are closed on their own strands: on a busy machine some are on their way still.
    const auto bounded = [&] { return server->connections() <= config.max_handshakes + 8; };
    for (const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20); !bounded() && std::chrono::steady_clock::now() < until;) std::this_thread::yield();
    EXPECT_TRUE(bounded()) << server->connections() << " handshakes that have begun";
    // Nothing of TLS is made before a turn comes.
    const std::size_t after = allocated_bytes();
    EXPECT_LT(after - std::min(before, after), (std::size_t(64) << 20) + config.max_waiting * 1024);
  }
  EXPECT_TRUE(log->has("refused: too many wait for their handshake"));
}

// Each makes the server sign, and is gone: from ten addresses, as fast as a process can.
TEST_F(Hostile, AFloodOfHandshakesKeepsNobodyOut) {
  config.max_handshakes = 16;
  config.max_waiting = 64;
  const ByteVector hello = client_hello();
  Crowd crowd([&](std::uint16_t port, auto&& done, int end) {
    for (std::size_t n = 0; !over(end); ++n) {
      const int fd = connect_from("127.0.1.1", n % 10, port);
      (void)!::send(fd, hello.data(), hello.size(), MSG_NOSIGNAL);
      // Every other one waits for the server's answer.
      char answer = 0;
      if (n % 2 == 0) (void)!::recv(fd, &answer, 1, 0);
      const linger now{1, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      ::close(fd);
      if (n % 50 == 49) done();
    }
  });
  start();
  crowd.attack(server->port());
  for (int n = 0; n < 5; ++n) {
    ASSERT_TRUE(crowd.done());
    EXPECT_TRUE(honest_is_allowed());
    EXPECT_LE(server->connections(), config.max_handshakes + config.max_waiting + 64);
  }
}

}  // namespace
}  // namespace gatehouse::test
