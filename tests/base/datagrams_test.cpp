#include "base/datagrams.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <string>

#include "base/descriptor.h"

namespace gatehouse::test {
namespace {

// A UDP socket of a loopback address of its own.
struct Socket {
  explicit Socket(int family, bool coalescing = true) : fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_storage any{};
    any.ss_family = sa_family_t(family);
    if (family == AF_INET) reinterpret_cast<sockaddr_in&>(any).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else reinterpret_cast<sockaddr_in6&>(any).sin6_addr = in6addr_loopback;
    socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    good = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&any), size) == 0 && ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&any), &size) == 0;
    address = DatagramAddress(&any, size);
    if (coalescing) enable_coalescing(fd.get());
  }
  // Loopback delivers before a send returns: what isn't there is lost.
  std::vector<std::string> received() {
    std::vector<std::string> out;
    while (in.receive(fd.get(), [&](Bytes datagram, const DatagramAddress& from) {
      out.emplace_back(as_text(datagram));
      last_from = from;
    }) != 0) {
    }
    return out;
  }
  Descriptor fd;
  bool good = false;
  DatagramAddress address, last_from;
  DatagramReceiver in;
};

ByteVector packet(const std::string& text) { return to_vector(as_bytes(text)); }
std::string of(std::size_t size, char c) { return std::string(size, c); }

// With a kernel that parts sends, and with one that doesn't; those who receive may know of it or not.
class Datagrams : public testing::TestWithParam<std::tuple<int, bool, bool>> {
 protected:
  void SetUp() override {
    before_ = DatagramSender::segmenting();
    DatagramSender::set_segmenting(std::get<1>(GetParam()));
    if (!one_.good || !other_.good || !from_.good) GTEST_SKIP() << "no loopback address of this family";
  }
  void TearDown() override { DatagramSender::set_segmenting(before_); }
  Socket from_{std::get<0>(GetParam())}, one_{std::get<0>(GetParam()), std::get<2>(GetParam())}, other_{std::get<0>(GetParam()), std::get<2>(GetParam())};
  DatagramSender sender_;

 private:
  bool before_ = true;
};

TEST_P(Datagrams, ArriveEachByItselfInTheirOrder) {
  const std::vector<std::string> sizes = {of(100, 'a'), of(100, 'b'), of(100, 'c'), of(60, 'd'),  of(100, 'e'), of(200, 'f'), of(200, 'g'),
                                          of(1, 'h'),   of(1, 'i'),   of(2, 'j'),   of(1'300, 'k'), of(1'300, 'l'), of(4'096, 'm')};
  for (const auto& text : sizes) {
    sender_.add(one_.address, packet(text));
    sender_.add(other_.address, packet("other " + text));
  }
  sender_.send(from_.fd.get());
  EXPECT_TRUE(sender_.empty());
  EXPECT_EQ(one_.received(), sizes);
  EXPECT_EQ(one_.last_from, from_.address);
  std::vector<std::string> others;
  for (const auto& text : sizes) others.push_back("other " + text);
  EXPECT_EQ(other_.received(), others);
}

TEST_P(Datagrams, OfOneSizeAreOneSendToEachWhereTheKernelPartsThem) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < DatagramSender::most; ++i) {
    sender_.add(one_.address, packet(of(DatagramSender::largest_segment, char('A' + i % 26))));
    all.push_back(of(DatagramSender::largest_segment, char('A' + i % 26)));
  }
  EXPECT_TRUE(sender_.full());
  sender_.send(from_.fd.get());
  EXPECT_EQ(one_.received(), all);
  // 65,507 bytes are what IPv4 and UDP carry; of 1,232 bytes those are 53.
  if (DatagramSender::segmenting()) EXPECT_EQ(sender_.sends(), 2U);
  else EXPECT_EQ(sender_.sends(), DatagramSender::most);
}

TEST_P(Datagrams, ThatAreEmptyArriveToo) {
  for (const char* text : {"", "", "x", ""}) sender_.add(one_.address, packet(text));
  sender_.send(from_.fd.get());
  EXPECT_EQ(one_.received(), (std::vector<std::string>{"", "", "x", ""}));
}

TEST_P(Datagrams, OneThatCantBeSentCostsNoOther) {
  sender_.add(one_.address, packet(of(70'000, 'x')));
  sender_.add(one_.address, packet("a"));
  sender_.add(one_.address, packet("b"));
  sender_.send(from_.fd.get());
  EXPECT_EQ(one_.received(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(DatagramSender::segmenting(), std::get<1>(GetParam()));
}

TEST_P(Datagrams, OfAConnectedSocketNeedNoAddress) {
  ASSERT_EQ(::connect(from_.fd.get(), &one_.address.as.any, one_.address.size), 0);
  for (const char* text : {"ab", "cd", "e"}) sender_.add({}, packet(text));
  sender_.send(from_.fd.get());
  EXPECT_EQ(one_.received(), (std::vector<std::string>{"ab", "cd", "e"}));
}

INSTANTIATE_TEST_SUITE_P(EachWay, Datagrams, testing::Combine(testing::Values(AF_INET, AF_INET6), testing::Bool(), testing::Bool()),
                         [](const auto& p) {
                           return std::string(std::get<0>(p.param) == AF_INET ? "Ip4" : "Ip6") + (std::get<1>(p.param) ? "Parted" : "Whole") +
                                  (std::get<2>(p.param) ? "ToOneThatCoalesces" : "ToOneThatDoesnt");
                         });

// A socket that makes no checksums can't have the kernel part anything.
TEST(DatagramsThatTheKernelDoesntPart, LeaveEachByItselfFromThenOn) {
  const bool before = DatagramSender::segmenting();
  DatagramSender::set_segmenting(true);
  Socket from(AF_INET), to(AF_INET);
  ASSERT_TRUE(from.good && to.good);
  const int on = 1;
  ASSERT_EQ(::setsockopt(from.fd.get(), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
  DatagramSender sender;
  for (const char* text : {"ab", "cd", "e", "fg"}) sender.add(to.address, packet(text));
  sender.send(from.fd.get());
  EXPECT_EQ(to.received(), (std::vector<std::string>{"ab", "cd", "e", "fg"}));
  EXPECT_FALSE(DatagramSender::segmenting());
  EXPECT_EQ(sender.sends(), 4U);
  DatagramSender::set_segmenting(before);
}

}  // namespace
}  // namespace gatehouse::test
