#include "base/datagrams.h"

#include <netinet/udp.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

// Linux 4.18 and 5.0.
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace gatehouse {
namespace {

std::atomic<bool> segmenting_works{true};

// With room for the one control message that there may be.
struct alignas(cmsghdr) Control {
  std::array<std::byte, CMSG_SPACE(sizeof(int))> bytes;
};

// That it can't part sends, here or on this way: not that there is no room.
bool means_no_segments(int error) { return error == EINVAL || error == EIO || error == ENOPROTOOPT || error == EOPNOTSUPP || error == EMSGSIZE; }

}  // namespace

DatagramAddress::DatagramAddress(const void* bytes, std::size_t count) {
  GH_ASSERT(count <= sizeof as);
  std::memcpy(&as, bytes, count);
  size = socklen_t(count);
}

bool operator==(const DatagramAddress& a, const DatagramAddress& b) {
  return a.size == b.size && std::memcmp(&a.as, &b.as, a.size) == 0;
}

bool DatagramSender::segmenting() { return segmenting_works.load(std::memory_order_relaxed); }
void DatagramSender::set_segmenting(bool on) { segmenting_works.store(on, std::memory_order_relaxed); }

void DatagramSender::add(const DatagramAddress& to, ByteVector packet) {
  GH_ASSERT(!full());
  to_[count_] = to;
  packets_[count_++] = std::move(packet);
}

void DatagramSender::send(int socket) {
  std::array<mmsghdr, most> messages;
  std::array<iovec, most> pieces;
  std::array<Control, most> controls;
  std::array<bool, most> placed{};
  unsigned made = 0;
  std::size_t filled = 0;
  const bool segments = segmenting();
  // Each takes along those behind it to the same address that are as long, up to one that isn't: a shorter one can be the last.
  for (std::size_t first = 0; first < count_; ++first) {
    if (placed[first]) continue;
    const std::size_t size = packets_[first].size(), begin = filled;
    const auto place = [&](std::size_t i) {
      placed[i] = true;
      pieces[filled++] = {packets_[i].data(), packets_[i].size()};
    };
    place(first);
    for (std::size_t i = first + 1; segments && size != 0 && size <= largest_segment && i < count_ && filled - begin < most_segments; ++i) {
      if ((filled - begin + 1) * size > largest_send) break;
      if (placed[i] || to_[i] != to_[first]) continue;
      const std::size_t other = packets_[i].size();
      if (other > size || other == 0) break;
      place(i);
      if (other < size) break;
    }
    mmsghdr& message = messages[made];
    message = {};
    message.msg_hdr.msg_iov = &pieces[begin];
    message.msg_hdr.msg_iovlen = filled - begin;
    message.msg_hdr.msg_name = to_[first].size == 0 ? nullptr : &to_[first].as;
    message.msg_hdr.msg_namelen = to_[first].size;
    if (filled - begin > 1) {
      controls[made] = {};
      message.msg_hdr.msg_control = controls[made].bytes.data();
      message.msg_hdr.msg_controllen = CMSG_SPACE(sizeof(std::uint16_t));
      cmsghdr* const header = CMSG_FIRSTHDR(&message.msg_hdr);
      header->cmsg_level = IPPROTO_UDP;
      header->cmsg_type = UDP_SEGMENT;
      header->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
      const auto segment = std::uint16_t(size);
      std::memcpy(CMSG_DATA(header), &segment, sizeof segment);
    }
    ++made;
  }
  // One that can't be sent is passed over.
  for (unsigned sent = 0; sent < made;) {
    const int n = ::sendmmsg(socket, &messages[sent], made - sent, MSG_DONTWAIT);
    if (n > 0) {
      sent += unsigned(n);
      continue;
    }
    const msghdr& failed = messages[sent++].msg_hdr;
    if (failed.msg_iovlen == 1 || !means_no_segments(errno)) continue;
    set_segmenting(false);
    sends_ += failed.msg_iovlen - 1;
    for (std::size_t i = 0; i < failed.msg_iovlen; ++i)
      (void)::sendto(socket, failed.msg_iov[i].iov_base, failed.msg_iov[i].iov_len, MSG_DONTWAIT, static_cast<const sockaddr*>(failed.msg_name), failed.msg_namelen);
  }
  sends_ += made;
  for (std::size_t i = 0; i < count_; ++i) packets_[i] = {};
  count_ = 0;
}

void enable_coalescing(int socket) {
  const int on = 1;
  (void)::setsockopt(socket, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
}

// Pages that nothing is received into are never touched.
DatagramReceiver::DatagramReceiver() : buffers_(std::make_unique_for_overwrite<std::byte[]>(largest * at_once)) {}

unsigned DatagramReceiver::fill(int socket) {
  std::array<mmsghdr, at_once> messages;
  std::array<iovec, at_once> pieces;
  std::array<Control, at_once> controls;
  for (unsigned i = 0; i < at_once; ++i) {
    pieces[i] = {buffers_.get() + std::size_t(i) * largest, largest};
    messages[i] = {};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = &got_[i].from.as;
    messages[i].msg_hdr.msg_namelen = sizeof got_[i].from.as;
    messages[i].msg_hdr.msg_control = controls[i].bytes.data();
    messages[i].msg_hdr.msg_controllen = controls[i].bytes.size();
  }
  const int n = ::recvmmsg(socket, messages.data(), at_once, MSG_DONTWAIT, nullptr);
  if (n <= 0) return 0;
  for (unsigned i = 0; i < unsigned(n); ++i) {
    msghdr& header = messages[i].msg_hdr;
    One& one = got_[i];
    one.size = messages[i].msg_len;
    one.segment = 0;
    one.from.size = std::min(header.msg_namelen, socklen_t(sizeof one.from.as));
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO) continue;
      int segment = 0;
      std::memcpy(&segment, CMSG_DATA(c), sizeof segment);
      if (segment > 0) one.segment = std::size_t(segment);
    }
  }
  return unsigned(n);
}

}  // namespace gatehouse
