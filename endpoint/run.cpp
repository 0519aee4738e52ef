// gatehouse-endpoint run: stays connected, and is assessed again when the time has come, when software has changed,
// when an operator says so, and when the server asks.
//
//   connect ── assess ──▶ wait ── interval, software, signal: CRETRY ──▶ assess ──▶ wait …
//      ▲                   │  └── SRETRY of the server ──────────────▶
//      └── backoff ◀── connection lost, CLOSE, refusal                     SIGTERM: CLOSE, close_notify, exit 0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>

#include "base/file.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/systemd.h"
#include "endpoint/agent.h"
#include "endpoint/commands.h"
#include "endpoint/inventory/inventory.h"
#include "endpoint/report.h"
#include "endpoint/service/config.h"
#include "endpoint/service/events.h"
#include "endpoint/service/schedule.h"

namespace gatehouse::endpoint {
namespace {

using Clock = std::chrono::steady_clock;

// 0 to 1.
double random_fraction() {
  std::uint32_t value = 0;
  fill_random(std::as_writable_bytes(std::span(&value, 1)));
  return double(value) / double(UINT32_MAX);
}

void say(const std::string& line) {
  std::fprintf(stderr, "gatehouse-endpoint: %s\n", escaped(line, line.size()).c_str());
}

struct ServiceOptions {
  Options agent;
  std::string config, status;
  long interval = 3600, settle = 10, reconnect_min = 5, reconnect_max = 300;  // seconds
};

// What an operator may read at any time: the latest assessment, and how it stands since then.
class Status {
 public:
  Status(const std::string& file, const std::string& server) : file_(file), server_(server) {}

  void connected(bool now) { connected_ = now; }
  void failed(const std::string& why) { error_ = "{\"time\": " + json(now()) + ", \"text\": " + json(why) + "}"; }
  void assessed(std::string_view reason, const std::string& outcome) {
    ++assessments_;
    latest_ = "{\"time\": " + json(now()) + ", \"reason\": " + json(reason) + ", " + outcome.substr(1);
    error_ = "null";
  }
  void next(std::optional<std::chrono::seconds> from_now) {
    next_ = from_now ? json(measurement_time(std::int64_t(std::time(nullptr)) + from_now->count())) : "null";
  }
  void write() const {
    if (file_.empty()) return;
    const std::string text = "{\"server\": " + json(server_) + ", \"connected\": " + (connected_ ? "true" : "false") +
                             ", \"since\": " + json(since_) + ", \"assessments\": " + std::to_string(assessments_) +
                             ", \"latest\": " + latest_ + ", \"next\": " + next_ + ", \"error\": " + error_ + "}\n";
    if (const auto written = write_file_atomically(file_, as_bytes(text)); !written) say(written.error().text());
  }

 private:
  static std::string now() { return measurement_time(std::int64_t(std::time(nullptr))); }
  const std::string file_, server_, since_ = now();
  bool connected_ = false;
  std::size_t assessments_ = 0;
  std::string latest_ = "null", next_ = "null", error_ = "null";
};

class Service {
 public:
  Service(const ServiceOptions& options, Events events)
      : options_(options),
        events_(std::move(events)),
        status_(options.status, options.agent.server),
        backoff_(std::chrono::seconds(options.reconnect_min), std::chrono::seconds(options.reconnect_max)) {}

  // Until it is told to stop. Only a mistake of the user's ends it with an error.
  Result<void> run();

 private:
  Result<void> serve();
  Result<void> stay(Agent& agent);
  Result<void> record(Agent& agent, Result<Outcome> outcome, std::string_view reason);
  // Between two connections; false: told to stop.
  bool pause(std::chrono::milliseconds time);

  const ServiceOptions& options_;
  Events events_;
  Status status_;
  Backoff backoff_;
  std::optional<Schedule> schedule_;  // of a connection
};

Result<void> Service::run() {
  systemd::notify("READY=1\nSTATUS=connecting to " + options_.agent.server);
  for (bool on = true; on;) {
    const auto served = serve();
    status_.connected(false);
    status_.next(std::nullopt);
    if (events_.take().stop) break;
    if (!served && served.error().fault == Fault::usage) return served;
    const std::chrono::milliseconds wait = backoff_.next(random_fraction());
    const std::string why = served ? "the server closed the connection" : served.error().text();
    say(why + "; connecting again in " + std::to_string(std::chrono::ceil<std::chrono::seconds>(wait).count()) + " s");
    systemd::notify("STATUS=not connected: " + escaped(why));
    status_.failed(why);
    status_.write();
    on = pause(wait);
  }
  say("stopped");
  status_.write();
  return {};
}

bool Service::pause(std::chrono::milliseconds time) {
  const Clock::time_point until = Clock::now() + time;
  for (;;) {
    if (events_.wait_until(until) == Events::Woken::time) return true;
    const Events::Seen seen = events_.take();
    if (seen.stop) return false;
    if (seen.reassess) return true;
  }
}

// One connection.
Result<void> Service::serve() {
  GH_TRY(const auto agent, Agent::open(options_.agent, {.keep = true, .stop_fd = events_.stop_fd()}));
  Schedule::Config config;
  config.interval = std::chrono::seconds(options_.interval);
  config.settle = std::chrono::seconds(options_.settle);
  schedule_.emplace(config, Clock::now());
  auto ended = agent->connect();
  if (ended) {
    say("connected to " + options_.agent.server + ": " + agent->connection() + ", Device ID " + agent->device());
    status_.connected(true);
    ended = stay(*agent);
  }
  // Whatever we were at: the server is told.
  if (events_.take().stop) {
    systemd::notify("STOPPING=1");
    agent->close();
  }
  return ended;
}

Result<void> Service::stay(Agent& agent) {
  GH_CHECK(record(agent, agent.assess(), "connected"));
  const Clock::time_point since = Clock::now();
  for (;;) {
    // A server that lets us in and closes at once isn't well: only a connection that lasts is a new beginning.
    if (Clock::now() - since >= std::chrono::seconds(options_.reconnect_max)) backoff_.reset();
    GH_TRY(const Agent::Heard heard, agent.listen(schedule_->next(Clock::now()), events_.wake_fd()));
    if (heard == Agent::Heard::closed) return {};
    if (heard == Agent::Heard::assessment) {
      schedule_->begun_by_server();
      GH_CHECK(record(agent, agent.resume(), "server"));
      continue;
    }
    const Events::Seen seen = events_.take();
    if (seen.stop) return {};
    if (seen.reassess) schedule_->asked();
    if (seen.software) schedule_->software_touched(Clock::now());
    std::string_view reason;
    switch (schedule_->due(Clock::now())) {
      case Schedule::Due::nothing:
        continue;
      case Schedule::Due::look:
        agent.software_changed() ? schedule_->software_changed() : schedule_->software_unchanged();
        continue;
      case Schedule::Due::interval:
        reason = "interval";
        break;
      case Schedule::Due::software:
        reason = "software";
        break;
      case Schedule::Due::request:
        reason = "signal";
        break;
    }
    schedule_->begun(Clock::now());
    GH_CHECK(record(agent, agent.reassess(), reason));
  }
}

Result<void> Service::record(Agent& agent, Result<Outcome> outcome, std::string_view reason) {
  const std::vector<std::string> warnings = agent.diagnostics();
  for (const std::string& line : warnings) say(line);
  if (!outcome) return std::unexpected(std::move(outcome).error());
  schedule_->assessed(Clock::now(), random_fraction());
  std::string line = "access recommendation " + std::string(name(outcome->recommendation)) + ", assessment result " +
                     std::string(name(outcome->assessment)) + " (" + std::string(reason) + ")";
  systemd::notify("STATUS=" + line);
  for (const std::string& why : outcome->reasons) line += "; " + why;
  say(line);
  status_.assessed(reason, outcome_json(*outcome, agent.device(), warnings));
  status_.next(std::chrono::duration_cast<std::chrono::seconds>(*schedule_->regular() - Clock::now()));
  status_.write();
  return {};
}

class Run final : public Command {
 public:
  explicit Run(CLI::App& parent)
      : app_(parent.add_subcommand("run", "Stay connected to a policy decision point, for re-assessment")) {
    app_->add_option("--config", o_.config, "configuration (TOML): the options below, with '_' for '-'");
    app_->add_option("--interval", o_.interval, "seconds between two assessments, give or take a tenth")
        ->capture_default_str()
        ->check(CLI::Range(1, 86'400));
    app_->add_option("--settle", o_.settle, "seconds without a package manager's writing before software is looked at")
        ->capture_default_str()
        ->check(CLI::Range(0, 3600));
    app_->add_option("--reconnect-min", o_.reconnect_min, "seconds before connecting again, doubled each time")
        ->capture_default_str()
        ->check(CLI::Range(1, 3600));
    app_->add_option("--reconnect-max", o_.reconnect_max, "up to these")
        ->capture_default_str()
        ->check(CLI::Range(1, 86'400));
    app_->add_option("--status", o_.status, "keep the latest outcome in this file (JSON)");
    add_options(*app_, o_.agent);
    app_->footer(
        "Examples:\n"
        "  gatehouse-endpoint run --config /etc/gatehouse/endpoint.toml\n"
        "  gatehouse-endpoint run --server pdp.example.org:271 --ca ca.pem --certificate host.pem --key host.key \\\n"
        "    --status /run/gatehouse-endpoint/status.json\n"
        "SIGHUP and SIGUSR1 ask for an assessment at once; SIGTERM ends the conversation and the program. What goes\n"
        "wrong with server, network or TPM is tried again. Exit code: 0 told to stop, 2 usage or configuration, 4 the\n"
        "configuration can't be read.");
  }
  CLI::App* app() const override { return app_; }

  int run() override {
    if (!o_.config.empty())
      if (const auto read = read_config(o_.config, *app_, is_path_option); !read) {
        for (const std::string& line : read.error().lines) std::fprintf(stderr, "%s\n", line.c_str());
        return exit_code(read.error().fault);
      }
    if (const auto good = check_options(o_.agent); !good) return complain(good.error());
    std::vector<std::string> files, folders;
    if (o_.agent.has_imc("swima")) {
      files.push_back(o_.agent.dpkg_status);
      folders = InventoryOptions().rpm_databases;
    }
    auto events = Events::open(files, folders);
    if (!events) return complain(events.error());
    Service service(o_, *std::move(events));
    const auto ran = service.run();
    return ran ? 0 : complain(ran.error());
  }

 private:
  CLI::App* app_;
  ServiceOptions o_;
};

}  // namespace

std::unique_ptr<Command> run_command(CLI::App& app) { return std::make_unique<Run>(app); }

}  // namespace gatehouse::endpoint
