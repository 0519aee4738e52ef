// UDP datagrams that leave, and arrive, many with one system call. Those of one size to one address are one send: the kernel parts
// them (UDP_SEGMENT), so that they go through its stack together; and what came together from one address is taken from it
// together (UDP_GRO). Where the kernel doesn't know that, or can't do it on the way there, each goes by itself. What arrives at
// the other end is the same: one datagram for each.
//
//   DatagramSender out;
//   out.add(to, std::move(packet));                  // as many as there are
//   out.send(socket);
//
//   DatagramReceiver in;
//   enable_coalescing(socket);
//   while (in.receive(socket, [](Bytes datagram, const DatagramAddress& from) { … }) != 0) …
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <memory>

#include "base/bytes.h"

namespace gatehouse {

// Of IPv4 or IPv6, as the kernel has it. Size 0: none, where the socket is connected.
struct DatagramAddress {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  } as{};
  socklen_t size = 0;

  DatagramAddress() = default;
  // `bytes`: a sockaddr_in or a sockaddr_in6.
  DatagramAddress(const void* bytes, std::size_t count);
  friend bool operator==(const DatagramAddress& a, const DatagramAddress& b);
};

// What waits to be sent. Not to be used by two threads at a time.
class DatagramSender {
 public:
  static constexpr std::size_t most = 64;
  // How many parts the kernel makes of one send, and of what size: beyond, packets might have to be fragmented, which it doesn't do
  // with them. 1,280 bytes are what each link of IPv6 carries.
  static constexpr std::size_t most_segments = 64, largest_segment = 1'280 - 48, largest_send = 65'507;

  bool empty() const { return count_ == 0; }
  bool full() const { return count_ == most; }
  // Not when it is full.
  void add(const DatagramAddress& to, ByteVector packet);
  // All of them, without waiting, those to one address in their order. What the kernel has no room for is lost, those behind it aren't.
  void send(int socket);
  // How many sends there were since it was made, which is not more than there were datagrams.
  std::uint64_t sends() const { return sends_; }

  // Whether the kernel is asked to part anything: at first it is, and no longer once it couldn't. For the whole process.
  static bool segmenting();
  static void set_segmenting(bool on);

 private:
  std::size_t count_ = 0;
  std::uint64_t sends_ = 0;
  std::array<DatagramAddress, most> to_;
  std::array<ByteVector, most> packets_;
};

// Lets the kernel hand over together what came together. Without effect where it can't.
void enable_coalescing(int socket);

// Not to be used by two threads at a time.
class DatagramReceiver {
 public:
  static constexpr unsigned at_once = 16;         // of what the kernel hands over
  static constexpr std::size_t largest = 65'535;  // bytes
  DatagramReceiver();

  // What is there, without waiting: take(datagram, from) for each, in their order. How many times the kernel handed something over: below
  // at_once, there was no more. Each datagram is there until the next receive().
  template <class Take>
  unsigned receive(int socket, Take&& take) {
    const unsigned count = fill(socket);
    for (unsigned i = 0; i < count; ++i) {
      const One& one = got_[i];
      Bytes rest(buffers_.get() + std::size_t(i) * largest, one.size);
      do {
        const Bytes datagram = rest.first(one.segment == 0 ? rest.size() : std::min(rest.size(), one.segment));
        take(datagram, one.from);
        rest = rest.subspan(datagram.size());
      } while (!rest.empty());
    }
    return count;
  }

 private:
  struct One {
    std::size_t size = 0, segment = 0;  // segment: of what it is made of; 0: it is one
    DatagramAddress from;
  };
  unsigned fill(int socket);

  std::unique_ptr<std::byte[]> buffers_;
  std::array<One, at_once> got_;
};

}  // namespace gatehouse
