#include "server/results/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <future>
#include <thread>

#include "base/hex.h"
#include "base/log.h"
#include "server/results/confined_thread.h"
#include "server/results/fields.h"

namespace gatehouse::server {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

constexpr std::size_t most_waiting_bytes = std::size_t(64) << 20;
constexpr std::size_t most_output = 1024;  // that is logged
constexpr Milliseconds at_the_end(5000);
constexpr auto between_complaints = std::chrono::seconds(10);

// What a program may take. Set when it has begun: it is the kernel's to hold it to that from then on.
void limit(pid_t program, Milliseconds time) {
  const auto set = [&](__rlimit_resource what, rlim_t most) {
    const rlimit wanted{most, most};
    ::prlimit(program, what, &wanted, nullptr);
  };
  set(RLIMIT_CPU, rlim_t(time.count() / 1000 + 1));
  set(RLIMIT_DATA, rlim_t(512) << 20);
  set(RLIMIT_FSIZE, rlim_t(16) << 20);
  set(RLIMIT_NOFILE, 64);
  set(RLIMIT_CORE, 0);
}

Descriptor in_memory(std::string_view text) {
  Descriptor file(::memfd_create("result", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return file;
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t n = ::write(file.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Descriptor();
    rest.remove_prefix(std::size_t(n));
  }
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return Descriptor();
  ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
  return file;
}

std::vector<std::string> environment_of(const ResultFields& f) {
  return {"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
          "LC_ALL=C.UTF-8",
          "GATEHOUSE_SESSION=" + f.session,
          "GATEHOUSE_DEVICE=" + f.device,
          "GATEHOUSE_PRODUCT=" + f.product,
          "GATEHOUSE_RECOMMENDATION=" + f.recommendation,
          "GATEHOUSE_EVALUATION=" + f.evaluation,
          "GATEHOUSE_TOLD=" + f.told,
          "GATEHOUSE_IDENTITY=" + f.identity,
          "GATEHOUSE_IDENTITY_TYPE=" + f.identity_type,
          "GATEHOUSE_PEER=" + f.peer,
          "GATEHOUSE_PEER_ADDRESS=" + f.address,
          "GATEHOUSE_POLICY=" + f.policy,
          "GATEHOUSE_GENERATION=" + f.generation,
          "GATEHOUSE_STARTED=" + f.started,
          "GATEHOUSE_FINISHED=" + f.finished,
          "GATEHOUSE_SUMMARY=" + f.summary};
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (std::string& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

// What posix_spawn(3) is told, with its end.
struct Spawning {
  posix_spawn_file_actions_t files{};
  posix_spawnattr_t attributes{};
  Spawning() {
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawnattr_init(&attributes);
  }
  ~Spawning() {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  }
  Spawning(const Spawning&) = delete;
  Spawning& operator=(const Spawning&) = delete;
};

struct Ended {
  bool good = false;
  std::string how;     // "exit code 3", "signal 9", "killed after 10 s"
  std::string output;  // what it said, at most most_output bytes
};

}  // namespace

struct ResultCommand::Impl {
  explicit Impl(ResultCommandOptions o) : options(std::move(o)), waiting(options.most_waiting, most_waiting_bytes) {}

  const ResultCommandOptions options;
  WaitingLines waiting;
  std::atomic<std::uint64_t> delivered{0}, failed{0}, left_out{0};
  Clock::time_point deadline = Clock::time_point::max();  // of the thread: when what is left is left out
  Clock::time_point complained{};                         // of the thread
  std::size_t quiet = 0;                                  // of the thread: failures that no line tells of
  std::thread thread;

  void run(std::promise<Result<void>> begun);
  void run_for(const std::string& line);
  void run_one(const std::vector<std::string>& program, const ResultFields& fields, const std::string& line);
  Result<Ended> start_and_wait(const std::vector<std::string>& program, const ResultFields& fields, const std::string& line);
  Ended await(pid_t child, const Descriptor& process, const Descriptor& output);
  void complain(const std::string& session, const std::string& why);
};

Result<void> ResultCommand::check(const ResultCommandOptions& options) {
  for (const auto* program : {&options.programs.allow, &options.programs.block, &options.programs.all}) {
    if (program->empty()) continue;
    struct stat st {};
    if (::stat(program->front().c_str(), &st) != 0) return fail_errno("the command of [results] can't be run", program->front());
    if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0)
      return fail(Error{Fault::usage, "the command of [results] isn't a program that may be run", {}, 0, program->front(), {}});
    if ((st.st_mode & 0002) != 0)
      return fail(Error{Fault::usage, "the command of [results] may be changed by everybody: chmod o-w", {}, 0, program->front(), {}});
  }
  for (const std::string& path : options.writes)
    if (::access(path.c_str(), F_OK) != 0) return fail_errno("what the command of [results] may write to isn't there", path);
  return {};
}

Result<std::unique_ptr<ResultCommand>> ResultCommand::open(ResultCommandOptions options) {
  GH_CHECK(check(options));
  auto impl = std::make_unique<Impl>(std::move(options));
  std::promise<Result<void>> begun;
  std::future<Result<void>> good = begun.get_future();
  impl->thread = std::thread([raw = impl.get(), begun = std::move(begun)]() mutable { raw->run(std::move(begun)); });
  std::unique_ptr<ResultCommand> out(new ResultCommand(std::move(impl)));
  GH_CHECK(good.get());
  return out;
}

ResultCommand::ResultCommand(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ResultCommand::~ResultCommand() {
  impl_->waiting.close();
  if (impl_->thread.joinable()) impl_->thread.join();
}

void ResultCommand::publish(ResultLine line) {
  if (!impl_->waiting.push(std::move(line))) impl_->left_out.fetch_add(1, std::memory_order_relaxed);
}

DeliveryCounts ResultCommand::counts() const {
  return {.delivered = impl_->delivered, .failed = impl_->failed, .left_out = impl_->left_out, .waiting = impl_->waiting.size()};
}

void ResultCommand::Impl::run(std::promise<Result<void>> begun) {
  if (options.sandbox) {
    std::vector<std::string> programs;
    for (const auto* program : {&options.programs.allow, &options.programs.block, &options.programs.all})
      if (!program->empty()) programs.push_back(program->front());
    if (auto confined = confine_this_thread(programs, options.writes); !confined) return begun.set_value(std::move(confined));
  }
  begun.set_value({});
  while (const ResultLine line = waiting.next()) {
    if (deadline == Clock::time_point::max() && waiting.closing()) deadline = Clock::now() + at_the_end;
    if (Clock::now() < deadline) run_for(*line);
    else left_out.fetch_add(1, std::memory_order_relaxed);
    waiting.pop();
  }
  if (left_out != 0) log::write(log::Level::warning, {}, "the command of [results] wasn't run for " + std::to_string(left_out) + " results");
}

void ResultCommand::Impl::run_for(const std::string& line) {
  const auto fields = result_fields(line);
  if (!fields) return complain({}, fields.error().text());
  const auto& programs = options.programs;
  const auto& by_verdict = fields->recommendation == "allow" ? programs.allow : programs.block;
  for (const auto* program : {&by_verdict, &programs.all})
    if (!program->empty()) run_one(*program, *fields, line);
}

void ResultCommand::Impl::run_one(const std::vector<std::string>& program, const ResultFields& fields, const std::string& line) {
  const auto ended = start_and_wait(program, fields, line);
  if (ended && ended->good) {
    delivered.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  failed.fetch_add(1, std::memory_order_relaxed);
  complain(fields.session, program.front() + ": " + (ended ? ended->how + (ended->output.empty() ? "" : ": " + ended->output) : ended.error().text()));
}

// One line in ten seconds; how many others there were is said with the next.
void ResultCommand::Impl::complain(const std::string& session, const std::string& why) {
  if (complained != Clock::time_point{} && Clock::now() - complained < between_complaints) {
    ++quiet;
    return;
  }
  complained = Clock::now();
  log::write(log::Level::warning, session, "the command of [results] failed: " + why + (quiet == 0 ? "" : " (" + std::to_string(quiet) + " more since the last such line)"));
  quiet = 0;
}

Result<Ended> ResultCommand::Impl::start_and_wait(const std::vector<std::string>& program, const ResultFields& fields, const std::string& line) {
  std::vector<std::string> arguments = program, environment = environment_of(fields);
  const Descriptor input = in_memory(line + "\n");
  std::array<int, 2> ends{-1, -1};
  if (!input || ::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("the command of [results] can't be run", program.front());
  const Descriptor output(ends[0]);
  Descriptor theirs(ends[1]);
  ::fcntl(output.get(), F_SETFL, O_NONBLOCK);
  Spawning how;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&how.attributes, &none);
  ::posix_spawnattr_setsigdefault(&how.attributes, &all);
  // A session of its own: what it starts is killed with it.
  ::posix_spawnattr_setflags(&how.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  ::posix_spawn_file_actions_adddup2(&how.files, input.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&how.files, theirs.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&how.files, theirs.get(), STDERR_FILENO);
  ::posix_spawn_file_actions_addclosefrom_np(&how.files, STDERR_FILENO + 1);
  ::posix_spawn_file_actions_addchdir_np(&how.files, "/");
  pid_t child = -1;
  if (const int code = ::posix_spawn(&child, arguments.front().c_str(), &how.files, &how.attributes, pointers(arguments).data(), pointers(environment).data()); code != 0) {
    errno = code;
    return fail_errno("the command of [results] can't be run", program.front());
  }
  limit(child, options.limit);
  theirs = Descriptor();
  const Descriptor process(int(::syscall(SYS_pidfd_open, child, 0)));
  return await(child, process, output);
}

// Until it has ended, which it does at the latest when its time is over; nothing of it is left then.
Ended ResultCommand::Impl::await(pid_t child, const Descriptor& process, const Descriptor& output) {
  Ended out;
  const auto until = Clock::now() + options.limit;
  bool late = false, listening = true;
  for (bool running = true; running;) {
    auto left = std::chrono::ceil<Milliseconds>(std::min(until, deadline) - Clock::now());
    // The server that ends waits for less.
    if (deadline == Clock::time_point::max() && waiting.closing()) {
      deadline = Clock::now() + at_the_end;
      continue;
    }
    if (left.count() <= 0) {
      late = true;
      break;
    }
    std::array<pollfd, 3> wait{{{process.get(), POLLIN, 0}, {listening ? output.get() : -1, POLLIN, 0}, {deadline == Clock::time_point::max() ? waiting.closed() : -1, POLLIN, 0}}};
    if (::poll(wait.data(), wait.size(), int(left.count())) < 0 && errno != EINTR) break;
    if ((wait[1].revents & (POLLIN | POLLHUP)) != 0) {
      std::array<char, 4096> buffer{};
      const ssize_t n = ::read(output.get(), buffer.data(), buffer.size());
      if (n > 0) out.output.append(buffer.data(), std::min(std::size_t(n), most_output - std::min(most_output, out.output.size())));
      else if (n == 0 || errno != EAGAIN) listening = false;
    }
    running = (wait[0].revents & POLLIN) == 0;
  }
  ::kill(-child, SIGKILL);  // what it has started and left
  ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  // What it had said before it ended.
  for (std::array<char, 4096> buffer{}; listening && out.output.size() < most_output;) {
    const ssize_t n = ::read(output.get(), buffer.data(), buffer.size());
    if (n <= 0) break;
    out.output.append(buffer.data(), std::min(std::size_t(n), most_output - out.output.size()));
  }
  while (out.output.ends_with('\n')) out.output.pop_back();
  out.output = escaped(out.output, most_output);
  if (late && deadline != Clock::time_point::max()) out.how = "killed, since the server stops";
  else if (late) out.how = "killed after " + std::to_string(std::chrono::duration_cast<std::chrono::seconds>(options.limit).count()) + " s";
  else if (WIFEXITED(status)) out.how = "exit code " + std::to_string(WEXITSTATUS(status));
  else out.how = "signal " + std::to_string(WTERMSIG(status));
  out.good = !late && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return out;
}

}  // namespace gatehouse::server
