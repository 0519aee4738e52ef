// Results as messages of RFC 5424, to a socket of the machine, by UDP and by TCP.
#include "server/results/syslog.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>

#include "base/descriptor.h"
#include "server/config/results.h"
#include "tests/folder.h"
#include "tests/server_results/sample.h"

namespace gatehouse::server {
namespace {

using test::Folder;
using test::sample_line;
using test::until;

ResultFields fields(const std::string& recommendation = "allow") {
  return result_fields(sample_line("s-1", recommendation)).value();
}
ResultLine line(const std::string& session) { return std::make_shared<const std::string>(sample_line(session)); }

TEST(SyslogMessage, IsOfRfc5424) {
  EXPECT_EQ(syslog_message(fields("isolate"), 10, "pdp1", "812"),
            "<84>1 2025-11-24T16:11:06.008Z pdp1 gatehouse 812 result [gatehouse@32473 session=\"s-1\" device=\"deb3\" recommendation=\"isolate\""
            " evaluation=\"compliant\" product=\"Debian 12 x86_64\" identity=\"CN=a \\\"quoted\\\"\\]\\\\ name\\\\x0A$(id)\" peer=\"192.0.2.7:49152\""
            " policy=\"policy-1\" generation=\"7\"] \xEF\xBB\xBFisolate: processed 3 measurements");
  EXPECT_TRUE(syslog_message(fields("allow"), 16, "pdp1", "812").starts_with("<134>1 "));
  EXPECT_TRUE(syslog_message(fields("block"), 16, "pdp1", "812").starts_with("<132>1 "));
  EXPECT_TRUE(syslog_message(fields("none"), 0, "pdp1", "812").starts_with("<3>1 "));
}

TEST(SyslogMessage, HasNoFieldThatBreaksIt) {
  ResultFields f = fields();
  f.finished.clear();
  f.identity = std::string(300, '"');
  f.summary = std::string(5000, 'x');
  const std::string message = syslog_message(f, 10, "a host\n", "");
  EXPECT_TRUE(message.starts_with("<86>1 - a_host_ gatehouse - result [")) << message;
  EXPECT_LE(message.size(), 2048U);
  // Not in the middle of a character.
  f.summary = std::string(1000, 'x');
  for (int n = 0; n < 500; ++n) f.summary += "\xC3\xA4";
  const std::string cut = syslog_message(f, 10, "h", "1");
  EXPECT_TRUE(cut.ends_with("\xC3\xA4")) << cut.substr(cut.size() - 4);
}

struct Receiver {
  Descriptor socket;
  std::uint16_t port = 0;
  std::string receive() const {
    std::array<char, 4096> buffer{};
    const ssize_t n = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    return std::string(buffer.data(), n > 0 ? std::size_t(n) : 0);
  }
};

// On the loopback interface, on a port of the kernel's choice or on this one.
Receiver listen_on(int type, std::uint16_t port = 0) {
  Receiver out{Descriptor(::socket(AF_INET, type | SOCK_CLOEXEC, 0))};
  const int on = 1;
  ::setsockopt(out.socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  here.sin_port = htons(port);
  EXPECT_EQ(::bind(out.socket.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
  if (type == SOCK_STREAM) {
    EXPECT_EQ(::listen(out.socket.get(), 8), 0);
  }
  socklen_t size = sizeof here;
  ::getsockname(out.socket.get(), reinterpret_cast<sockaddr*>(&here), &size);
  out.port = ntohs(here.sin_port);
  return out;
}
Receiver accept_from(const Receiver& listener) { return {Descriptor(::accept4(listener.socket.get(), nullptr, nullptr, SOCK_CLOEXEC)), 0}; }

Receiver local(const std::string& path, int type) {
  Receiver out{Descriptor(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0))};
  sockaddr_un here{};
  here.sun_family = AF_UNIX;
  path.copy(here.sun_path, sizeof here.sun_path - 1);
  EXPECT_EQ(::bind(out.socket.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
  if (type == SOCK_STREAM) {
    EXPECT_EQ(::listen(out.socket.get(), 8), 0);
  }
  return out;
}

TEST(Syslog, SendsDatagramsToASocketOfTheMachineAlsoWhenItComesLater) {
  const Folder folder;
  const auto syslog = Syslog::open({.target = "unix:" + (folder / "log")});
  syslog->publish(line("s-1"));
  until([&] { return syslog->counts().failed >= 1; });
  const Receiver receiver = local(folder / "log", SOCK_DGRAM);
  const std::string first = receiver.receive();
  EXPECT_TRUE(first.starts_with("<86>1 2025-11-24T16:11:06.008Z ")) << first;
  EXPECT_NE(first.find(" session=\"s-1\" "), std::string::npos);
  syslog->publish(line("s-2"));
  EXPECT_NE(receiver.receive().find(" session=\"s-2\" "), std::string::npos);
  until([&] { return syslog->counts().delivered == 2; });
}

TEST(Syslog, SendsAStreamWhereTheSocketIsOne) {
  const Folder folder;
  const Receiver listener = local(folder / "log", SOCK_STREAM);
  const auto syslog = Syslog::open({.target = "unix:" + (folder / "log")});
  syslog->publish(line("s-1"));
  const std::string first = accept_from(listener).receive();
  EXPECT_TRUE(first.starts_with("<86>1 "));
  EXPECT_EQ(first.back(), '\0');
}

TEST(Syslog, SendsByUdp) {
  const Receiver receiver = listen_on(SOCK_DGRAM);
  const auto syslog = Syslog::open({.target = "udp:127.0.0.1:" + std::to_string(receiver.port), .facility = 16});
  syslog->publish(line("s-1"));
  const std::string first = receiver.receive();
  EXPECT_TRUE(first.starts_with("<134>1 ")) << first;
}

TEST(Syslog, CountsOctetsOnTcpAndConnectsAgain) {
  std::uint16_t port = 0;
  std::unique_ptr<Syslog> syslog;
  {
    const Receiver listener = listen_on(SOCK_STREAM);
    port = listener.port;
    syslog = Syslog::open({.target = "tcp:127.0.0.1:" + std::to_string(port)});
    syslog->publish(line("s-1"));
    const Receiver connection = accept_from(listener);
    const std::string first = connection.receive();
    const std::size_t space = first.find(' ');
    EXPECT_EQ(std::stoul(first.substr(0, space)), first.size() - space - 1) << first;
    EXPECT_TRUE(first.substr(space + 1).starts_with("<86>1 "));
    until([&] { return syslog->counts().delivered == 1; });
  }
  // Nobody is there: the message waits, and comes when somebody is.
  syslog->publish(line("s-2"));
  until([&] { return syslog->counts().failed >= 1; });
  const Receiver listener = listen_on(SOCK_STREAM, port);
  EXPECT_NE(accept_from(listener).receive().find(" session=\"s-2\" "), std::string::npos);
}

TEST(Syslog, LeavesOutWhatMayNotWaitAndEndsWithoutAReceiver) {
  const Folder folder;
  const auto syslog = Syslog::open({.target = "unix:" + (folder / "nobody"), .facility = 10, .most_waiting = 2});
  for (int n = 0; n < 5; ++n) syslog->publish(line(std::to_string(n)));
  EXPECT_EQ(syslog->counts().left_out, 3U);
  EXPECT_EQ(syslog->counts().waiting, 2U);
}

TEST(SyslogTarget, IsAPathOrAnAddress) {
  EXPECT_TRUE(is_syslog_target("unix:/dev/log"));
  EXPECT_TRUE(is_syslog_target("udp:192.0.2.1:514"));
  EXPECT_TRUE(is_syslog_target("tcp:[2001:db8::1]:601"));
  for (const char* const bad : {"", "/dev/log", "unix:", "unix:dev/log", "udp:514", "tcp:192.0.2.1", "tcp:192.0.2.1:0", "tcp:192.0.2.1:65536", "tls:192.0.2.1:6514"})
    EXPECT_FALSE(is_syslog_target(bad)) << bad;
  EXPECT_EQ(syslog_facility("authpriv"), 10U);
  EXPECT_EQ(syslog_facility("local7"), 23U);
  EXPECT_EQ(syslog_facility("local8"), 24U);
}

}  // namespace
}  // namespace gatehouse::server
