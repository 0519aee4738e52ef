#include "cli/capacity_measure.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/descriptor.h"
#include "base/file.h"
#include "base/log.h"
#include "fleet/run.h"
#include "refdb/store/builder.h"
#include "refdb/store/open.h"
#include "server/config/config.h"
#include "server/control/control.h"
#include "server/tls/server.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::string_view product = "Debian 12 x86_64";
constexpr unsigned rounds = 5;

class TemporaryFolder {
 public:
  static Result<TemporaryFolder> make(const std::string& in) {
    std::string pattern = in + "/gatehouse-capacity-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) return fail_errno("can't make a temporary folder", in);
    return TemporaryFolder(std::move(pattern));
  }
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// A server in a child process, so that its CPU time and memory are its own. Forked while this process has one thread,
// it waits until start() says what to serve.
class ServerProcess {
 public:
  static Result<ServerProcess> fork() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      return fail_errno("no socket pair", "gatehouse capacity");
    Descriptor ours(ends[0]), theirs(ends[1]);
    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno("can't fork", "gatehouse capacity");
    if (pid == 0) {
      ours = Descriptor();
      serve(theirs.get());
      ::_exit(0);
    }
    return ServerProcess(pid, std::move(ours));
  }
  ServerProcess(ServerProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), channel_(std::move(other.channel_)) {}
  ServerProcess& operator=(ServerProcess&&) = delete;
  ~ServerProcess() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);  // its folder goes, too
    ::waitpid(pid_, nullptr, 0);
  }

  // The port it listens on.
  Result<std::string> start(const std::string& folder) {
    if (::send(channel_.get(), folder.data(), folder.size(), MSG_NOSIGNAL) != ssize_t(folder.size()))
      return fail_errno("the server's process is gone", "gatehouse capacity");
    char answer[512];
    const ssize_t size = ::recv(channel_.get(), answer, sizeof answer, 0);
    if (size <= 1 || answer[0] != '+')
      return fail(Error{Fault::environment, "the server doesn't start", {}, 0, "gatehouse capacity",
                        size > 1 ? std::string(answer + 1, std::size_t(size) - 1) : std::string()});
    return std::string(answer + 1, std::size_t(size) - 1);
  }
  int pid() const { return pid_; }

 private:
  ServerProcess(pid_t pid, Descriptor channel) : pid_(pid), channel_(std::move(channel)) {}

  static void serve(int channel) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    char path[4096];
    const ssize_t size = ::recv(channel, path, sizeof path, 0);
    if (size <= 0) return;
    const std::string folder(path, std::size_t(size));
    log::configure(log::Level::error, LogFormat::text);
    server::Config config;
    config.listen = {"127.0.0.1:0"};
    config.certificate = config.key = folder + "/server.pem";
    config.client_ca = folder + "/fleet/ca.pem";
    config.auth = server::Auth::tls;
    config.tls_13_only = true;
    config.max_connections_per_address = config.max_connections;
    config.refdb = folder + "/refdb";
    config.state = folder + "/state";
    config.control_socket = folder + "/control.sock";
    config.keep_evidence = server::Keep::none;
    auto server = server::Server::start(std::move(config), {[](const std::string& at) { return refdb::open_view(at); },
                                                            [](const std::string& at) { return refdb::current_generation(at); }});
    const std::string answer = server ? "+" + std::to_string((*server)->port()) : "-" + server.error().text();
    if (::send(channel, answer.data(), answer.size(), MSG_NOSIGNAL) < 0 || !server) return;
    (*server)->run();
  }

  pid_t pid_;
  Descriptor channel_;
};

// As many files as the images of a fleet differ in, with paths as long as a distribution's.
Result<void> make_references(const std::string& path, std::uint32_t files) {
  GH_TRY(auto builder, refdb::Builder::open(path));
  refdb::ReferencePackage package;
  package.product = product;
  package.name = "capacity";
  package.version = "1";
  package.source = "gatehouse capacity";
  for (std::uint32_t n = 0; n < files; ++n) {
    const std::string name = "/usr/lib/x86_64-linux-gnu/capacity/module-" + std::to_string(n) + ".so";
    package.files.push_back({name, 1, false, {{HashAlgorithm::sha256, digest_of(HashAlgorithm::sha256, as_bytes(name))}}});
  }
  GH_CHECK(builder.add(std::move(package)));
  GH_CHECK(builder.publish());
  return {};
}

Result<void> import_devices(const std::string& state, const std::string& devices) {
  GH_TRY(const ByteVector text, read_file(devices, std::size_t(256) << 20));
  GH_TRY(auto access, server::StateAccess::open({.state = state, .socket = {}, .create = true}));
  constexpr std::size_t most = 100;  // of them in a request: a baseline has some KiB
  std::string records;
  std::size_t count = 0;
  const auto send = [&]() -> Result<void> {
    GH_TRY(const std::string answer, access.ask(R"({"command":"device.import","records":[)" + records + "]}"));
    GH_CHECK(server::response_or_error(answer));
    boost::system::error_code ec;
    const json::value parsed = json::parse(answer, ec);
    const json::value* const results = ec || !parsed.is_object() ? nullptr : parsed.get_object().if_contains("results");
    const json::array* const list = results == nullptr ? nullptr : results->if_array();
    if (list == nullptr || list->size() != count || !std::ranges::all_of(*list, [](const auto& r) { return r.is_null(); }))
      return fail(Fault::internal, "a simulated endpoint can't be enrolled");
    records.clear();
    count = 0;
    return {};
  };
  for (std::string_view rest = as_text(text); !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size() - 1);
    records += (count++ == 0 ? "" : ",") + std::string(rest.substr(0, end));
    rest.remove_prefix(end + 1);
    if (count == most || rest.empty()) GH_CHECK(send());
  }
  return {};
}

std::uint64_t available_memory() {
  const auto text = read_file("/proc/meminfo", std::size_t(64) << 10);
  const std::string_view all = text ? as_text(*text) : std::string_view();
  constexpr std::string_view key = "MemAvailable:";
  const std::size_t at = all.find(key);
  std::uint64_t kib = 0;
  if (at == std::string_view::npos) return 0;
  const std::size_t digits = all.find_first_of("0123456789", at);
  if (digits != std::string_view::npos) std::from_chars(all.data() + digits, all.data() + all.size(), kib);
  return kib << 10;
}

class Measurement {
 public:
  Measurement(const CapacityOptions& options, const std::atomic<bool>& stop, const TemporaryFolder& folder, ServerProcess& server)
      : o_(options), stop_(stop), folder_(folder), server_(server),
        processors_(std::max(std::thread::hardware_concurrency(), 1U)), concurrency_(std::max(8U, 4 * processors_)) {}

  Result<Capacity> measure() {
    Capacity out;
    out.processors = processors_;
    out.memory_available_bytes = available_memory();
    GH_CHECK(prepare());
    GH_TRY(const Slice cold, attest(endpoints(), false));
    GH_TRY(const Slice warm, attest(count_of(cold.rate, o_.seconds / 20), false));
    std::vector<double> firsts, kepts;
    const double slice = o_.seconds * 0.45 / rounds;
    double rate = warm.rate;
    for (unsigned round = 1; round <= rounds; ++round) {
      say("round " + std::to_string(round) + " of " + std::to_string(rounds));
      GH_TRY(const Slice fresh, attest(count_of(rate, slice), false));
      rate = fresh.rate;
      firsts.push_back(fresh.cpu_us / double(fresh.attestations));
      // Each connection begins with a first attestation, that isn't what is asked for. A kept one takes less time.
      GH_TRY(const Slice kept, attest(2 * endpoints() + count_of(1.5 * rate, slice), true));
      const std::uint64_t again = kept.attestations - kept.connections;
      kepts.push_back((kept.cpu_us - double(kept.connections) * firsts.back()) / double(again));
      out.first.attestations += fresh.attestations;
      out.kept.attestations += again;
    }
    summarise(firsts, out.first);
    summarise(kepts, out.kept);
    say("idle connections");
    GH_TRY(out.idle_connection_bytes, idle_connection());
    out.seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
    return out;
  }

 private:
  struct Slice {
    double cpu_us = 0, rate = 0;
    std::uint64_t attestations = 0, connections = 0;
  };

  void say(const std::string& what) const {
    if (o_.progress) o_.progress(what);
  }
  std::uint32_t endpoints() const { return std::max(32U, concurrency_); }
  // The connections whose memory is measured: on top of some that use up what the allocator has left over from before.
  std::uint32_t more_idle() const { return std::uint32_t(std::clamp(10 * o_.seconds, 60.0, 600.0)); }
  // Each endpoint once, at least.
  std::uint64_t count_of(double rate, double seconds) const { return std::max<std::uint64_t>(endpoints(), std::uint64_t(rate * seconds)); }

  Result<void> prepare() {
    say("preparing");
    constexpr std::uint32_t spare = 600;
    GH_CHECK(make_references(folder_ / "refdb", o_.ima + spare));
    GH_CHECK(make_fleet("fleet", endpoints(), o_.rsa, o_.unknown));
    // One CA for all: the server knows one.
    std::error_code ec;
    for (const auto& [name, count] : {std::pair{"idle", more_idle() / 3}, std::pair{"more", more_idle()}}) {
      fs::create_directory(folder_ / name, ec);
      for (const char* file : {"ca.pem", "ca.key"})
        fs::copy_file(folder_ / "fleet" + "/" + file, folder_ / name + "/" + file, ec);
      if (ec) return fail(Error{Fault::environment, "can't copy a file", {}, 0, folder_ / name, ec.message()});
      // Without findings: the records in the state store's memory would count as the connections'.
      GH_CHECK(make_fleet(name, count, false, 0));
    }
    fleet::Fleet fleet;
    fleet.folder = folder_ / "fleet";
    GH_TRY(const auto ca, fleet::ClientCa::open(fleet));
    GH_TRY(const std::string certificate, ca.issue("localhost", 1'000'000, fleet::ClientCa::Use::server));
    GH_CHECK(write_file_atomically(folder_ / "server.pem", as_bytes(certificate), 0600));
    GH_TRY(port_, server_.start(folder_ / ""));
    return {};
  }
  Result<void> make_fleet(const std::string& name, std::uint32_t count, bool rsa, std::uint32_t unknown) {
    if (stop_) return fail(Fault::environment, "interrupted");
    fleet::MakeOptions options;
    options.fleet.folder = folder_ / name;
    options.fleet.keys = folder_ / name + "/keys";
    options.fleet.endpoints = count;
    options.fleet.images = 4;
    options.fleet.ak = rsa ? endpoint::KeyAlgorithm::rsassa : endpoint::KeyAlgorithm::ecc;
    options.fleet.boot = o_.boot;
    options.fleet.ima = o_.ima;
    options.fleet.unknown = unknown;
    options.fleet.product = product;
    options.references = folder_ / "refdb";
    options.quiet = true;
    GH_CHECK(fleet::make_fleet(options));
    return import_devices(folder_ / "state", folder_ / name + "/devices.jsonl");
  }

  fleet::RunOptions run_options(const std::string& name) const {
    fleet::RunOptions options;
    options.folder = folder_ / name;
    options.host = "127.0.0.1";
    options.port = port_;
    options.concurrency = concurrency_;
    options.threads = processors_;
    options.quiet = true;
    return options;
  }
  // Whoever isn't allowed shows that something else is measured than an attestation.
  Result<fleet::Report> run(const fleet::RunOptions& options) const {
    GH_TRY(fleet::Report report, fleet::run_fleet(options, stop_));
    if (stop_) return fail(Fault::environment, "interrupted");
    const fleet::Tally& t = report.tally;
    if (!t.failures.empty())
      return fail(Error{Fault::environment, "an endpoint's attestation failed", {}, 0, "gatehouse capacity", t.failures.begin()->first});
    if (t.verdicts.size() != 1 || t.verdicts.begin()->first != "allow")
      return fail(Fault::internal, "an endpoint of good standing wasn't allowed");
    return report;
  }
  // Of the fleet whose CPU time counts.
  Result<Slice> attest(std::uint64_t attestations, bool keep) const {
    fleet::RunOptions options = run_options("fleet");
    options.attestations = attestations;
    options.keep = keep;
    const auto before = fleet::cpu_seconds_of(server_.pid());
    GH_TRY(const fleet::Report report, run(options));
    const auto after = fleet::cpu_seconds_of(server_.pid());
    if (!before || !after) return fail(Fault::environment, "the server's process is gone");
    Slice out;
    out.cpu_us = (*after - *before) * 1e6;
    out.attestations = report.tally.verdicts.begin()->second;
    out.connections = report.tally.connections;
    out.rate = double(out.attestations) / report.seconds;
    return out;
  }

  Result<double> idle_connection() const {
    std::optional<std::uint64_t> before, after;
    Result<void> nested;
    fleet::RunOptions some = run_options("idle"), more = run_options("more");
    some.keep = more.keep = true;
    some.attestations = more_idle() / 3;
    more.attestations = more_idle();
    more.at_rest = [&] { after = fleet::resident_bytes_at_rest(server_.pid(), stop_); };
    some.at_rest = [&] {
      before = fleet::resident_bytes_at_rest(server_.pid(), stop_);
      if (auto ran = run(more); !ran) nested = std::unexpected(std::move(ran).error());
    };
    GH_CHECK(run(some));
    GH_CHECK(nested);
    if (!before || !after) return fail(Fault::environment, "the server's process is gone");
    return std::max(double(*after) - double(*before), 0.0) / more_idle();
  }

  static void summarise(std::vector<double>& values, AttestationCost& cost) {
    std::ranges::sort(values);
    cost.cpu_us = values[values.size() / 2];
    cost.spread = (values.back() - values.front()) / cost.cpu_us;
  }

  const CapacityOptions& o_;
  const std::atomic<bool>& stop_;
  const TemporaryFolder& folder_;
  ServerProcess& server_;
  const unsigned processors_, concurrency_;
  const Clock::time_point begin_ = Clock::now();
  std::string port_;
};

}  // namespace

Result<Capacity> measure_capacity(const CapacityOptions& options, const std::atomic<bool>& stop) {
  GH_TRY(ServerProcess server, ServerProcess::fork());
  GH_TRY(const TemporaryFolder folder, TemporaryFolder::make(options.folder));
  auto measured = Measurement(options, stop, folder, server).measure();
  // A signal cuts system calls short: what they complain of isn't the reason.
  if (!measured && stop) return fail(Fault::environment, "interrupted");
  return measured;
}

}  // namespace gatehouse::cli
