#include "refdb/ingest/decoders.h"

#include <fcntl.h>
#include <iconv.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <new>
#include <system_error>

#include "base/descriptor.h"
#include "base/release.h"
#include "refdb/alias/alias.h"
#include "refdb/ingest/confinement.h"
#include "refdb/ingest/device_messages.h"
#include "refdb/ingest/file_hasher.h"
#include "refdb/ingest/hashers.h"
#include "refdb/ingest/rpm.h"
#include "wire/swima/tag_files.h"

namespace gatehouse::refdb {
namespace {

// Of packages, and of what an operator takes in one by one: an image's files, a whole distribution's list.
constexpr std::uint64_t package_memory = std::uint64_t(512) << 20, list_memory = std::uint64_t(4) << 30;
constexpr std::size_t most_list_bytes = std::size_t(1) << 30;
// Slow machines decode and hash so many bytes a second.
constexpr std::uint64_t slowest = std::uint64_t(4) << 20;
constexpr unsigned sanitizers_slow_down = sanitized ? 30 : 1;

bool is_list(SourceKind kind) {
  return kind == SourceKind::sums || kind == SourceKind::keylime || kind == SourceKind::ima ||
         kind == SourceKind::swid || kind == SourceKind::strongtnc || kind == SourceKind::strongtnc_devices;
}

// Of a lot, one decoder takes so many files, no longer ones, as long as it hasn't served longer. Of a longer file its own
// decoder costs little.
constexpr unsigned most_files_of_lot = 64;
constexpr std::uint64_t longest_of_lot = std::uint64_t(4) << 20;
constexpr std::chrono::seconds service_of_lot{60};

// What the process that forks decoders is told of the next one, beside the decoder's socket.
struct Order {
  std::uint64_t private_bytes = 0;  // of the process that forks
  std::uint64_t memory_bytes = 0;
  std::uint32_t cpu_seconds = 0, seconds = 0;
};
Order order_of(SourceKind kind, std::uint64_t size) {
  const IngestLimits limits;
  const std::uint64_t expanded =
      std::min(limits.package_bytes,
               std::max(limits.free_bytes, std::min(size, limits.package_bytes / limits.ratio) * limits.ratio));
  const auto cpu = std::uint32_t((120 + (size + expanded) / slowest) * sanitizers_slow_down);
  // Others want the machine, too.
  return {0, is_list(kind) || kind == SourceKind::oci ? list_memory : package_memory, cpu, cpu * 10};
}
Order order_of_lot() {
  Order out = order_of(SourceKind::deb, longest_of_lot);
  const auto service = std::uint32_t(service_of_lot.count());
  out.cpu_seconds += service;
  out.seconds += service;
  // What earlier files left in pieces.
  out.memory_bytes += package_memory / 8;
  return out;
}

// Bytes and a descriptor beside them.
bool send_with(int socket, const void* bytes, std::size_t size, int descriptor) {
  iovec io{const_cast<void*>(bytes), size};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  cmsghdr* const head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
  ssize_t n = 0;
  while ((n = ::sendmsg(socket, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR) {
  }
  return n == ssize_t(size);
}
// As recvmsg(2). Without a descriptor beside the bytes, `descriptor` has none then.
ssize_t receive_with(int socket, void* bytes, std::size_t size, Descriptor& descriptor) {
  iovec io{bytes, size};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  ssize_t n = 0;
  while ((n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  descriptor = Descriptor();
  const cmsghdr* const head = n <= 0 ? nullptr : CMSG_FIRSTHDR(&message);
  if (head == nullptr || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof(int))) return n;
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
  descriptor = Descriptor(fd);
  return n;
}

// A stream of messages.
class Channel {
 public:
  // A decoder has no other call than write(2), and nothing to do without the other end; an ingestion goes on.
  enum class End : std::uint8_t { decoder, ingestion };
  Channel(Descriptor socket, End end) : socket_(std::move(socket)), end_(end) {}
  // False: the other end is gone.
  bool send(Bytes message) const { return write_all(head_of(message)) && write_all(message); }
  // The same, with a descriptor beside it. Of an ingestion.
  bool send(Bytes message, int descriptor) const {
    const auto head = head_of(message);
    return send_with(socket_.get(), head.data(), head.size(), descriptor) && write_all(message);
  }
  // nullopt: the other end is gone, or says more than a message may hold, or nothing for too long. Room is made as the
  // bytes come.
  std::optional<ByteVector> receive(std::size_t most) const {
    Head head;
    if (!read_all(head)) return std::nullopt;
    return rest_of(head, most);
  }
  // The same; what came beside it, if anything, goes to `descriptor`.
  std::optional<ByteVector> receive(std::size_t most, Descriptor& descriptor) const {
    Head head;
    // It was sent as a whole.
    if (receive_with(socket_.get(), head.data(), head.size(), descriptor) != ssize_t(head.size())) return std::nullopt;
    return rest_of(head, most);
  }
  // How long receive() waits for a byte.
  bool wait_at_most(std::uint32_t seconds) const {
    const timeval time{time_t(seconds), 0};
    return ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) == 0;
  }

 private:
  using Head = std::array<std::byte, 4>;
  static Head head_of(Bytes message) {
    const auto size = std::uint32_t(message.size());
    return {std::byte(size >> 24), std::byte(size >> 16), std::byte(size >> 8), std::byte(size)};
  }
  std::optional<ByteVector> rest_of(const Head& head, std::size_t most) const {
    std::size_t size = 0;
    for (const std::byte b : head) size = size << 8 | std::to_integer<std::size_t>(b);
    if (size > most) return std::nullopt;
    ByteVector out;
    while (out.size() < size) {
      const std::size_t had = out.size();
      out.resize(std::min(size, had + (std::size_t(1) << 18)));
      if (!read_all(std::span(out).subspan(had))) return std::nullopt;
    }
    return out;
  }
  bool write_all(Bytes bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = end_ == End::decoder ? ::write(socket_.get(), bytes.data(), bytes.size())
                                             : ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      bytes = bytes.subspan(std::size_t(n));
    }
    return true;
  }
  bool read_all(std::span<std::byte> out) const {
    while (!out.empty()) {
      const ssize_t n = ::read(socket_.get(), out.data(), out.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      out = out.subspan(std::size_t(n));
    }
    return true;
  }
  Descriptor socket_;
  End end_;
};

// What a reader gives, as it comes.
struct Sink {
  std::function<Result<void>(ReferencePackage)> package;
  std::function<Result<void>(std::string)> note;
};

// A file of a tree, with its further contents.
Result<ReferencePackage> read_module(const Input& input, const DecodeRequest& r) {
  FileHasher hasher(r.algorithms, {});
  PlainStream stream(input, 0);
  hasher.start(r.name);
  ByteVector buffer(std::size_t(1) << 18);
  for (;;) {
    GH_TRY(const std::size_t n, stream.read(buffer));
    hasher.update(Bytes(buffer).first(n));
    if (n < buffer.size()) break;
  }
  ReferencePackage out;
  ReferenceFile& file = out.files.emplace_back();
  GH_TRY(file.path, canonical_path(r.name));
  GH_CHECK(hasher.finish_unpacked(file));
  return out;
}

// A list's files as they come: lists are the longest of all sources.
Result<ReferencePackage> read_sums(const DecodeRequest& r, const Input& input, const FileSink& sink) {
  if (input.size() > most_list_bytes)
    return fail(Error{Fault::limit, "file larger than allowed", {}, most_list_bytes, {}, {}});
  PlainStream stream(input, 0);
  return read_sha256sums(stream, r.name, sink);
}

Result<void> hand_over(std::vector<ReferenceFile>& files, const FileSink& sink) {
  for (ReferenceFile& f : files) GH_CHECK(sink(std::move(f)));
  release(files);
  return {};
}

Result<ReferencePackage> read_one(const DecodeRequest& r, const Input& input) {
  switch (r.kind) {
    case SourceKind::deb:
      return read_deb(input, r.name, r.algorithms, {});
    case SourceKind::oci:
      return read_oci(input, r.name, r.algorithms, {});
    case SourceKind::initramfs:
      return read_initramfs(input, r.name, r.algorithms, {});
    case SourceKind::sums: {
      std::vector<ReferenceFile> files;
      GH_TRY(ReferencePackage list, read_sums(r, input, [&](ReferenceFile&& f) -> Result<void> {
               files.push_back(std::move(f));
               return {};
             }));
      list.files = std::move(files);
      return list;
    }
    case SourceKind::swid: {
      constexpr std::size_t most = swima::max_file_tag_bytes;
      if (input.size() > most) return fail(Error{Fault::limit, "file larger than allowed", {}, most, {}, {}});
      GH_TRY(const ByteVector tag, input.bytes_at(0, std::size_t(input.size())));
      return read_swid(tag, r.name);
    }
    case SourceKind::keylime:
    case SourceKind::ima: {
      PlainStream stream(input, 0);
      return r.kind == SourceKind::ima ? read_ima_list(stream, r.name) : read_keylime(stream, r.name);
    }
    case SourceKind::module:
      return read_module(input, r);
    case SourceKind::rpm:
    case SourceKind::deb_control:
    case SourceKind::strongtnc:
    case SourceKind::strongtnc_devices:
      break;
  }
  return fail(Fault::internal, "this kind isn't decoded at once");
}

// The parsers, as everywhere else.
Result<void> decode_here(const DecodeRequest& r, const Input& input, const Sink& sink) {
  if (r.kind == SourceKind::strongtnc) {
    GH_TRY(const auto database, StrongTnc::open(input, r.name));
    GH_TRY(const std::vector<std::string> notes, database->whole(r.product, sink.package));
    for (const std::string& note : notes) GH_CHECK(sink.note(note));
    return {};
  }
  GH_TRY(ReferencePackage package, read_one(r, input));
  return sink.package(std::move(package));
}

RpmHead head_of(const RpmPackage& package) {
  return {package.name,   package.header_binds_files(), package.signatures, package.identity, package.header,
          package.payload};
}
// Adds what no decoder is asked for.
Result<void> see_header(const Input& input, RpmHead& head) {
  GH_TRY(const RpmHeaderPlace place, place_of_rpm_header(input));
  head.header = place.header;
  head.payload = place.payload;
  GH_TRY(const ByteVector header, input.bytes_at(place.header, std::size_t(place.payload - place.header)));
  head.identity = digest_of(HashAlgorithm::sha256, header);
  return {};
}

// A file and what is asked of it.
struct Question {
  ByteVector message;
  Descriptor file;
};
std::optional<Question> hear_question(const Channel& channel) {
  Question out;
  auto message = channel.receive(SIZE_MAX, out.file);
  if (!message) return std::nullopt;
  out.message = *std::move(message);
  return out;
}

// What a decoder does with a file. The next question, where one came instead of another word about this file.
Result<std::optional<Question>> answer(const Channel& channel, Question asked,
                                       const std::function<void(const std::string&)>& begin) {
  GH_TRY(Asked question, parse_request(asked.message));
  release(asked.message);
  DecodeRequest& request = question.request;
  const auto file = FileInput::given(std::move(asked.file), question.size);
  if (begin) begin(request.name);
  std::unique_ptr<PinnedInput> pinned;
  if (request.pin) {
    GH_TRY(pinned, PinnedInput::open(*file, *std::move(request.pin)));
  }
  const Input& input = pinned != nullptr ? static_cast<const Input&>(*pinned) : *file;
  const auto send = [&](Bytes message) -> Result<void> {
    if (!channel.send(message)) return fail(Fault::environment, "nobody waits for the answer");
    return {};
  };
  std::optional<Question> next;
  if (request.kind == SourceKind::rpm) {
    GH_TRY(const RpmPackage package, parse_rpm(input, {}));
    GH_CHECK(send(head_message(head_of(package))));
    next = hear_question(channel);
    // Without a file it is about this one.
    if (!next || next->file) return next;
    GH_TRY(const auto algorithms, parse_algorithms(next->message));
    next.reset();
    GH_TRY(ReferencePackage references, rpm_references(input, package, algorithms, {}));
    GH_CHECK(send_package(std::move(references), send));
  } else if (request.kind == SourceKind::deb_control) {
    GH_TRY(const DebControl control, read_deb_control(input, request.name));
    GH_CHECK(send(control_message(control)));
    return hear_question(channel);
  } else if (request.kind == SourceKind::strongtnc_devices) {
    GH_TRY(const auto database, StrongTnc::open(input, request.name));
    GH_CHECK(send_devices(*database, send));
  } else if (request.kind == SourceKind::sums) {
    PackageSender sender(send);
    GH_CHECK(sender.begin(sums_package(request.name)));
    GH_TRY(const ReferencePackage list,
           read_sums(request, input, [&](ReferenceFile&& f) { return sender.add(std::move(f)); }));
    GH_CHECK(sender.end(list.warnings));
  } else {
    GH_CHECK(decode_here(request, input,
                         {[&](ReferencePackage p) { return send_package(std::move(p), send); },
                          [&](const std::string& note) { return send(note_message(note)); }}));
  }
  GH_CHECK(send(done_message()));
  return hear_question(channel);
}

[[noreturn]] void run_decoder(Descriptor socket, const Order& order, const SystemCalls& allowed,
                              const std::function<void(const std::string&)>& begin) {
  constexpr int unconfined = 3;
  const Channel channel(std::move(socket), Channel::End::decoder);
  const auto complain = [&](const Error& error) { (void)channel.send(error_message(error)); };
  try {
    if (!confine(allowed, {order.private_bytes, order.memory_bytes, order.cpu_seconds})) ::_exit(unconfined);
    for (auto question = hear_question(channel); question;) {
      auto next = answer(channel, *std::move(question), begin);
      if (!next) complain(next.error());
      question = next ? *std::move(next) : std::nullopt;
    }
  } catch (const std::bad_alloc&) {
    complain({Fault::limit, "it needs more memory than allowed", {}, 0, {}, {}});
  } catch (const std::exception& e) {
    complain({Fault::internal, "can't be taken in", {}, 0, {}, e.what()});
  }
  ::_exit(0);
}

// What libraries would otherwise get ready in each decoder, some of it from files.
void get_ready() {
  try {
    throw std::bad_alloc();
  } catch (const std::bad_alloc&) {
    // Unwinding is ready.
  }
  for (const HashAlgorithm a : common_banks) (void)Hasher(a)(Bytes());
  (void)Hashers({std::begin(common_banks), std::end(common_banks)});
  // Names in archives: libarchive converts those that say that they are UTF-8.
  for (const auto& [to, from] : {std::pair("ANSI_X3.4-1968", "UTF-8"), {"UTF-8", "ANSI_X3.4-1968"}})
    if (const iconv_t conversion = ::iconv_open(to, from); conversion != iconv_t(-1)) ::iconv_close(conversion);
}

// An order and the decoder's socket. nullopt: no more will come. False: a word to stop that came too late.
std::optional<bool> receive_order(int control, Order& order, Descriptor& socket) {
  const ssize_t n = receive_with(control, &order, sizeof order, socket);
  if (n == 1) return false;
  if (n != ssize_t(sizeof order) || !socket) return std::nullopt;
  return true;
}

// How the child ended. One that takes too long is killed, and one whose answer nobody waits for any more.
int wait_for(pid_t child, std::uint32_t seconds, int control, int ended) {
  timespec begun{}, now{};
  ::clock_gettime(CLOCK_MONOTONIC, &begun);
  for (bool killed = false;;) {
    int status = 0;
    const pid_t is = ::waitpid(child, &status, WNOHANG);
    if (is == child) return status;
    if (is < 0 && errno != EINTR) return 0;
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const auto passed = std::uint64_t(now.tv_sec - begun.tv_sec);
    pollfd events[2] = {{ended, POLLIN, 0}, {control, POLLIN, 0}};
    const std::uint64_t left = passed < seconds ? seconds - passed : 0;
    if (!killed && left != 0)
      ::poll(events, 2, int(std::min<std::uint64_t>(left, 3600) * 1000));
    else if (killed)
      ::poll(events, 1, -1);
    if (events[0].revents != 0) {
      signalfd_siginfo info{};
      (void)!::read(ended, &info, sizeof info);
    } else if (!killed && (left == 0 || events[1].revents != 0)) {
      ::kill(child, SIGKILL);
      killed = true;
    }
  }
}

// The process that forks decoders, one after the other, and says of each how it ended, as wait(2) does. First it says
// why it can't be confined, or nothing.
[[noreturn]] void run_nursery(int control, const SystemCalls& allowed,
                              const std::function<void(const std::string&)>& begin, pid_t parent) {
  const int end = ::fcntl(control, F_DUPFD_CLOEXEC, 3);
  ::prctl(PR_SET_NAME, "gh-decoders", 0, 0, 0);
  // Nothing that is open here is a decoder's business.
  for (int fd = 0; fd < 3; ++fd)
    if (!sanitized || fd != STDERR_FILENO) ::dup2(::open("/dev/null", O_RDWR | O_CLOEXEC), fd);
  if (end > 3) ::close_range(3, unsigned(end - 1), 0);
  ::close_range(unsigned(end + 1), ~0U, 0);
  for (const int signal : {SIGCHLD, SIGPIPE, SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_DFL);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGCHLD);
  ::sigprocmask(SIG_SETMASK, &signals, nullptr);
  const int ended = ::signalfd(-1, &signals, SFD_CLOEXEC);
  const auto rights = give_up_rights();
  // After the change of user, which takes it away.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != parent) ::_exit(0);
  const std::string trouble = !rights ? rights.error().text() : ended < 0 ? "no descriptor for signals" : "";
  if (::send(end, trouble.c_str(), trouble.size() + 1, MSG_NOSIGNAL) < 0 || !trouble.empty()) ::_exit(0);
  const pid_t own = ::getpid();
  const std::uint64_t before = private_bytes();
  for (Order order;;) {
    Descriptor socket;
    const auto ordered = receive_order(end, order, socket);
    if (!ordered) ::_exit(0);
    if (!*ordered) continue;
    order.private_bytes = before;
    const pid_t child = ::fork();
    if (child == 0) {
      ::prctl(PR_SET_NAME, "gh-decoder", 0, 0, 0);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
      if (::getppid() != own) ::_exit(0);
      ::close(end);
      ::close(ended);
      run_decoder(std::move(socket), order, allowed, begin);
    }
    socket = Descriptor();
    const int status = child < 0 ? -errno : wait_for(child, order.seconds, end, ended);
    if (::send(end, &status, sizeof status, MSG_NOSIGNAL) != ssize_t(sizeof status)) ::_exit(0);
  }
}

struct Nursery {
  pid_t process = -1;
  Descriptor control;
};

Result<Nursery> fork_nursery(const SystemCalls& allowed, const std::function<void(const std::string&)>& begin) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return fail_errno("can't begin a decoder", "decoder");
  Descriptor ours(ends[0]), theirs(ends[1]);
  const pid_t self = ::getpid(), child = ::fork();
  if (child < 0) return fail_errno("can't begin a decoder", "decoder");
  if (child == 0) run_nursery(theirs.get(), allowed, begin, self);
  theirs = Descriptor();
  Nursery out{child, std::move(ours)};
  char trouble[512] = "it died";
  ssize_t n = 0;
  while ((n = ::recv(out.control.get(), trouble, sizeof trouble - 1, 0)) < 0 && errno == EINTR) {
  }
  if (n == 1 && trouble[0] == '\0') return out;
  ::waitpid(child, nullptr, 0);
  return fail(Error{Fault::environment,
                    "decoders of packages can't be confined here (--no-sandbox decodes without)",
                    {},
                    0,
                    {},
                    trouble});
}

// A decoder, as the ingestion sees it.
class Decoder {
 public:
  // Of the process that forks decoders at the other end of `control`, which has none now.
  static Result<std::unique_ptr<Decoder>> begin(int control, Lot lot, const Order& order) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      return fail_errno("can't begin a decoder", "decoder");
    Descriptor ours(ends[0]), theirs(ends[1]);
    std::unique_ptr<Decoder> out(new Decoder(control, lot, {std::move(ours), Channel::End::ingestion}));
    out->forks_ = send_with(control, &order, sizeof order, theirs.get());
    return out;
  }

  Lot lot() const { return lot_; }
  // Whether it may be given another file.
  bool goes_on() const {
    return lot_ != Lot::none && files_ < most_files_of_lot && std::chrono::steady_clock::now() - begun_ < service_of_lot;
  }
  // A file, with `seconds` of silence before it counts as stuck.
  bool ask(const DecodeRequest& request, const FileInput& file, std::uint32_t seconds) {
    ++files_;
    return forks_ && channel_->wait_at_most(seconds) &&
           channel_->send(request_message(request, file.size()), file.descriptor());
  }
  bool send(Bytes message) { return channel_->send(message); }
  std::optional<ByteVector> receive() { return channel_->receive(most_message_bytes); }
  // Nothing more is asked or heard. How it ended, as wait(2) does; nullopt: nobody forks here any more.
  std::optional<int> end() {
    channel_.reset();
    // It ends by itself, if it is honest; how is settled before its socket is closed.
    const char stop = 0;
    ::send(control_, &stop, 1, MSG_NOSIGNAL);
    int status = 0;
    ssize_t n = 0;
    while ((n = ::read(control_, &status, sizeof status)) < 0 && errno == EINTR) {
    }
    if (n != ssize_t(sizeof status)) return std::nullopt;
    return status;
  }

 private:
  Decoder(int control, Lot lot, Channel channel) : control_(control), lot_(lot), channel_(std::move(channel)) {}
  int control_;
  Lot lot_;
  std::optional<Channel> channel_;
  bool forks_ = true;
  unsigned files_ = 0;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace

struct Decoders::State {
  // A process that forks decoders and isn't at work; it may have one that waits for another file.
  struct Idle {
    int control = -1;
    std::unique_ptr<Decoder> decoder;
  };
  DecoderOptions options;
  std::atomic<std::uint64_t> lots{0};
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Nursery> all;
  std::vector<Idle> idle;
  std::size_t usable = 0;  // idle or at work

  // The best one for a file of this lot; nullopt: no process is left.
  std::optional<Idle> take(Lot lot) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return usable == 0 || !idle.empty(); });
    if (idle.empty()) return std::nullopt;
    const auto better = [&](const Idle& one) {
      if (!one.decoder) return 1;
      return lot != Lot::none && one.decoder->lot() == lot ? 0 : 2;
    };
    const auto best = std::ranges::min_element(idle, {}, better);
    std::swap(*best, idle.back());
    Idle out = std::move(idle.back());
    idle.pop_back();
    return out;
  }
  void give_back(Idle one) {
    {
      const std::lock_guard lock(mutex);
      idle.push_back(std::move(one));
    }
    changed.notify_one();
  }
  void lose() {
    {
      const std::lock_guard lock(mutex);
      --usable;
    }
    changed.notify_all();
  }
};

// A file that a decoder has.
class Decoders::Work {
 public:
  static Result<Work> begin(State& state, const DecodeRequest& request, const FileInput& file) {
    const Lot lot = file.size() <= longest_of_lot ? request.lot : Lot::none;
    Order order = order_of(request.kind, file.size());
    for (;;) {
      auto idle = state.take(lot);
      if (!idle) return fail(Fault::environment, "no decoder is left");
      if (idle->decoder && (lot == Lot::none || idle->decoder->lot() != lot || !idle->decoder->goes_on())) {
        const bool forks = idle->decoder->end().has_value();
        idle->decoder.reset();
        if (!forks) {
          state.lose();
          continue;
        }
      }
      if (!idle->decoder) {
        auto begun = Decoder::begin(idle->control, lot, lot == Lot::none ? order : order_of_lot());
        if (!begun) {
          state.give_back(*std::move(idle));
          return fail(std::move(begun).error());
        }
        idle->decoder = *std::move(begun);
      }
      Work out(state, *std::move(idle));
      if (!out.idle_->decoder->ask(request, file, order.seconds)) return fail(out.end());
      return out;
    }
  }
  Work(Work&& other) noexcept : state_(other.state_), idle_(std::exchange(other.idle_, std::nullopt)) {}
  Work& operator=(Work&&) = delete;
  ~Work() {
    if (idle_) (void)end();
  }

  bool send(Bytes message) { return idle_->decoder->send(message); }
  std::optional<ByteVector> receive() { return idle_->decoder->receive(); }
  // It said all that it was asked: another file may follow.
  void done() {
    if (idle_->decoder->goes_on())
      state_.give_back(*std::exchange(idle_, std::nullopt));
    else
      (void)end();
  }
  // Nothing more is asked or heard. What to say of a decoder that hadn't said all.
  Error end() {
    Error out{Fault::environment, "the decoder died", {}, 0, {}, {}};
    if (!idle_) return out;
    State::Idle idle = *std::exchange(idle_, std::nullopt);
    const auto ended = idle.decoder->end();
    idle.decoder.reset();
    if (!ended) {
      state_.lose();
      return out;
    }
    state_.give_back(std::move(idle));
    const int status = *ended, signal = status > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (status < 0)
      return {Fault::environment, "can't begin a decoder", {}, 0, {}, std::generic_category().message(-status)};
    if (signal == SIGXCPU) return {Fault::limit, "decoding takes longer than allowed", {}, 0, {}, {}};
    if (signal == SIGSYS) out.detail = "it tried what no decoder needs: ";
    out.detail += signal != 0 ? "signal " + std::to_string(signal) : "exit code " + std::to_string(WEXITSTATUS(status));
    return out;
  }

 private:
  Work(State& state, State::Idle idle) : state_(state), idle_(std::move(idle)) {}
  State& state_;
  std::optional<State::Idle> idle_;
};

namespace {

// Message by message, until one of them is the last.
template <class Work, class Answer>
Result<void> hear(Work& work, Answer& answer) {
  for (;;) {
    const auto message = work.receive();
    if (!message) return fail(work.end());
    GH_TRY(const bool done, answer.take(*message));
    if (done) return {};
  }
}

template <class Work>
Result<Decoded> packages_of(Work& work, SourceKind kind, std::uint64_t size, FileSink sink = {}) {
  // Of a list each file has a line or more, of a database a row; a folder's name may serve many rows.
  const IngestLimits limits;
  const bool by_size = kind == SourceKind::sums || kind == SourceKind::strongtnc;
  const std::uint64_t beside = kind == SourceKind::strongtnc ? limits.path_bytes : 0;
  Answer answer(by_size ? size : limits.files, by_size ? 4 * size + beside : limits.path_bytes,
                kind == SourceKind::strongtnc, std::move(sink));
  GH_CHECK(hear(work, answer));
  work.done();
  return std::move(answer.all());
}

Result<ReferencePackage> the_package(Decoded decoded) {
  if (decoded.packages.size() != 1) return no_answer();
  return std::move(decoded.packages.front());
}

}  // namespace

struct Decoders::Rpm::State {
  RpmHead head;
  // At work elsewhere, or here.
  std::optional<Work> work;
  bool asked = false;  // for its files
  std::uint64_t size = 0;
  std::unique_ptr<PinnedInput> pinned;
  const Input* input = nullptr;
  std::optional<RpmPackage> package;
};

Decoders::Rpm::Rpm(std::unique_ptr<State> state) : state_(std::move(state)) {}
Decoders::Rpm::Rpm(Rpm&&) noexcept = default;
Decoders::Rpm& Decoders::Rpm::operator=(Rpm&&) noexcept = default;
Decoders::Rpm::~Rpm() {
  // What isn't wanted needs no more words.
  if (state_ && state_->work && !state_->asked) state_->work->done();
}
const RpmHead& Decoders::Rpm::head() const { return state_->head; }

Result<ReferencePackage> Decoders::Rpm::references(const std::vector<HashAlgorithm>& algorithms, const FileSink& sink) {
  if (!state_->work) {
    GH_TRY(ReferencePackage package, rpm_references(*state_->input, *state_->package, algorithms, {}));
    GH_CHECK(hand_over(package.files, sink));
    return package;
  }
  Work& work = *state_->work;
  state_->asked = true;
  if (!work.send(algorithms_message(algorithms))) return fail(work.end());
  GH_TRY(Decoded decoded, packages_of(work, SourceKind::rpm, state_->size, sink));
  GH_TRY(ReferencePackage package, the_package(std::move(decoded)));
  // It was chosen by its name.
  if (package.name != state_->head.name) return no_answer();
  return package;
}

Decoders::Decoders(std::unique_ptr<State> state) : state_(std::move(state)) {}

Decoders::~Decoders() {
  for (Nursery& nursery : state_->all) nursery.control = Descriptor();
  for (const Nursery& nursery : state_->all)
    while (::waitpid(nursery.process, nullptr, 0) < 0 && errno == EINTR) {
    }
}

Result<std::unique_ptr<Decoders>> Decoders::start(DecoderOptions options) {
  std::unique_ptr<Decoders> out(new Decoders(std::make_unique<State>()));
  out->state_->options = std::move(options);
  if (!out->state_->options.confined) return out;
  // Both are in each process that is forked from here.
  get_ready();
  GH_TRY(const SystemCalls allowed, SystemCalls::for_decoders());
  for (unsigned i = 0; i < out->state_->options.at_once; ++i) {
    GH_TRY(Nursery nursery, fork_nursery(allowed, out->state_->options.begin));
    out->state_->idle.push_back({nursery.control.get(), nullptr});
    out->state_->all.push_back(std::move(nursery));
    ++out->state_->usable;
  }
  return out;
}

Lot Decoders::lot() { return Lot(++state_->lots); }

Result<Decoded> Decoders::decode(const DecodeRequest& request, const FileInput& file) {
  if (!state_->options.confined) {
    Decoded out;
    const auto keep_in = [](auto& all) {
      return [&all](auto one) -> Result<void> {
        all.push_back(std::move(one));
        return {};
      };
    };
    const Sink sink{keep_in(out.packages), keep_in(out.notes)};
    if (!request.pin) {
      GH_CHECK(decode_here(request, file, sink));
      return out;
    }
    GH_TRY(const auto pinned, PinnedInput::open(file, *request.pin));
    GH_CHECK(decode_here(request, *pinned, sink));
    return out;
  }
  GH_TRY(Work work, Work::begin(*state_, request, file));
  return packages_of(work, request.kind, file.size());
}

Result<ReferencePackage> Decoders::decode_one(const DecodeRequest& request, const FileInput& file) {
  GH_TRY(Decoded decoded, decode(request, file));
  return the_package(std::move(decoded));
}

Result<ReferencePackage> Decoders::decode_one(const DecodeRequest& request, const FileInput& file,
                                              const FileSink& sink) {
  if (state_->options.confined) {
    GH_TRY(Work work, Work::begin(*state_, request, file));
    GH_TRY(Decoded decoded, packages_of(work, request.kind, file.size(), sink));
    return the_package(std::move(decoded));
  }
  if (request.kind == SourceKind::sums) return read_sums(request, file, sink);
  GH_TRY(ReferencePackage package, decode_one(request, file));
  GH_CHECK(hand_over(package.files, sink));
  return package;
}

Result<DebControl> Decoders::deb_control(const FileInput& file, const std::string& name,
                                         std::optional<PinnedInput::Pin> pin, Lot lot) {
  if (!state_->options.confined) {
    if (!pin) return read_deb_control(file, name);
    GH_TRY(const auto pinned, PinnedInput::open(file, *std::move(pin)));
    return read_deb_control(*pinned, name);
  }
  GH_TRY(Work work, Work::begin(*state_, {SourceKind::deb_control, {}, name, std::move(pin), {}, lot}, file));
  const auto message = work.receive();
  if (!message) return fail(work.end());
  GH_TRY(DebControl control, parse_control(*message));
  work.done();
  return control;
}

Result<StrongTncListing> Decoders::strongtnc_devices(const FileInput& file, const std::string& name) {
  if (!state_->options.confined) {
    GH_TRY(const auto database, StrongTnc::open(file, name));
    return database->listing();
  }
  GH_TRY(Work work, Work::begin(*state_, {SourceKind::strongtnc_devices, {}, name, {}}, file));
  DevicesAnswer answer(file.size());
  GH_CHECK(hear(work, answer));
  return std::move(answer.listing());
}

Result<StrongTncListing> read_strongtnc(const std::string& path, bool sandbox) {
  GH_TRY(const auto decoders, Decoders::start({.at_once = 1, .confined = sandbox}));
  GH_TRY(const auto file, open_strongtnc(path));
  auto listing = decoders->strongtnc_devices(*file, path);
  if (!listing) return fail(std::move(listing).error().from(path));
  GH_CHECK(file->check_unchanged());
  return listing;
}

Result<Decoders::Rpm> Decoders::open_rpm(const FileInput& file, const std::string& name,
                                         std::optional<PinnedInput::Pin> pin, Lot lot) {
  auto out = std::make_unique<Rpm::State>();
  out->size = file.size();
  if (pin) {
    GH_TRY(out->pinned, PinnedInput::open(file, *pin));
  }
  out->input = out->pinned != nullptr ? static_cast<const Input*>(out->pinned.get()) : &file;
  if (!state_->options.confined) {
    GH_TRY(out->package, parse_rpm(*out->input, {}));
    out->head = head_of(*out->package);
    return Rpm(std::move(out));
  }
  GH_TRY(Work work, Work::begin(*state_, {SourceKind::rpm, {}, name, std::move(pin), {}, lot}, file));
  const auto message = work.receive();
  if (!message) return fail(work.end());
  GH_TRY(out->head, parse_head(*message));
  GH_CHECK(see_header(*out->input, out->head));
  out->work.emplace(std::move(work));
  return Rpm(std::move(out));
}

}  // namespace gatehouse::refdb
