// `gatehouse top`: what a running server does, from its metrics by way of the control socket.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>

#include "cli/commands.h"
#include "cli/state_access.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct TopOptions {
  StateOptionsOfCommand where;
  std::uint64_t interval = 2;  // seconds
  bool once = false;
};

struct Histogram {
  std::vector<std::pair<double, double>> buckets;  // at most so many seconds, how many
  double count = 0;
};

// Samples by name and values of labels: "gatehouse_attestations_total|allow|compliant".
struct Reading {
  std::map<std::string, double> values;
  std::map<std::string, Histogram> histograms;

  double value(const std::string& key) const {
    const auto at = values.find(key);
    return at == values.end() ? 0 : at->second;
  }
  // Of all samples whose key begins so.
  double sum(const std::string& prefix) const {
    double out = 0;
    for (auto at = values.lower_bound(prefix); at != values.end() && at->first.starts_with(prefix); ++at) out += at->second;
    return out;
  }
};

void take(Reading& reading, const std::string& name, const json::object& sample) {
  std::string key = name;
  for (const auto& label : sample.at("labels").as_object()) key += "|" + std::string(label.value().as_string());
  reading.values[key] = sample.at("value").to_number<double>();
  const json::value* const buckets = sample.if_contains("buckets");
  if (buckets == nullptr) return;
  Histogram& histogram = reading.histograms[key];
  histogram.count = sample.at("count").to_number<double>();
  for (const json::value& one : buckets->as_array())
    histogram.buckets.emplace_back(one.as_array().at(0).to_number<double>(), one.as_array().at(1).to_number<double>());
}

Result<Reading> read(server::StateAccess& access) {
  json::object request;
  request["command"] = "metrics";
  GH_TRY(const json::object response, ask(access, request));
  Reading out;
  try {
    for (const json::value& family : response.at("metrics").as_array())
      for (const json::value& sample : family.at("samples").as_array())
        take(out, std::string(family.at("name").as_string()), sample.as_object());
  } catch (const std::exception&) {  // of another version
    return fail(Fault::environment, "the server's answer has no metrics", "docs/formats/control.md");
  }
  return out;
}

double since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Within its bucket as if all were spread evenly; beyond the last bound, that.
double percentile(const Histogram& before, const Histogram& now, double part) {
  const double wanted = (now.count - before.count) * part;
  double lower = 0, below = 0;
  for (std::size_t i = 0; i < now.buckets.size(); ++i) {
    const auto& [bound, count] = now.buckets[i];
    const double upto = count - (i < before.buckets.size() ? before.buckets[i].second : 0);
    if (upto >= wanted && upto > below) return lower + (bound - lower) * (wanted - below) / (upto - below);
    lower = bound;
    below = upto;
  }
  return lower;
}

// What happened from one reading to the next, and what is now.
class Summary {
 public:
  Summary(const Reading& before, const Reading& now, double seconds) : before_(before), now_(now), seconds_(seconds) {}

  json::object make() const {
    json::object out;
    out["interval_seconds"] = seconds_;
    out["attestations"] = attestations();
    out["ended_early"] = whole(since("gatehouse_sessions_ended_early_total"));
    out["monitored"] = whole(since("gatehouse_monitored_total"));
    json::object shadow;
    for (const char* const verdict : {"same", "differs", "unanswered", "left_out"})
      shadow[verdict] = whole(since("gatehouse_shadow_verdicts_total|" + std::string(verdict)));
    out["shadow"] = std::move(shadow);
    out["connections"] = connections();
    json::object handshakes;
    for (const char* const result : {"done", "failed", "late"})
      handshakes[result] = whole(since("gatehouse_tls_handshakes_total|" + std::string(result)));
    handshakes["in_flight"] = whole(now_.value("gatehouse_tls_handshakes_in_flight"));
    out["handshakes"] = std::move(handshakes);
    out["latency_ms"] = latencies();
    out["refused_connections"] = whole(since("gatehouse_connections_refused_total"));
    out["protocol_errors"] = whole(since("gatehouse_protocol_errors_total"));
    out["faults"] = whole(since("gatehouse_faults_total"));
    out["verdict_cache_hit_rate"] = rate(since("gatehouse_lookups_total|cached"), since("gatehouse_lookups_total|store"));
    out["signature_cache_hit_rate"] =
        rate(since("gatehouse_file_signatures_total|cached"), since("gatehouse_file_signatures_total|verified"));
    out["evidence_pending_bytes"] = whole(now_.value("gatehouse_evidence_pending_bytes"));
    out["state_writes_waiting"] = whole(now_.value("gatehouse_state_writes_waiting"));
    json::object references;
    references["generation"] = whole(now_.value("gatehouse_reference_generation"));
    const double made = now_.value("gatehouse_reference_generation_made_timestamp_seconds");
    references["age_seconds"] = made == 0 ? json::value(nullptr) : json::value(whole(since_1970() - made));
    out["references"] = std::move(references);
    out["cpu_cores"] = since("process_cpu_seconds_total") / seconds_;
    out["resident_bytes"] = whole(now_.value("process_resident_memory_bytes"));
    return out;
  }

 private:
  static std::int64_t whole(double value) { return std::int64_t(value); }
  double since(const std::string& prefix) const { return now_.sum(prefix) - before_.sum(prefix); }
  static json::value rate(double good, double rest) { return good + rest == 0 ? json::value(nullptr) : json::value(good / (good + rest)); }

  json::object attestations() const {
    json::object out;
    const double count = since("gatehouse_attestations_total");
    out["count"] = whole(count);
    out["per_second"] = count / seconds_;
    for (const char* const told : {"allow", "isolate", "block", "none"})
      out[told] = whole(since("gatehouse_attestations_total|" + std::string(told)));
    return out;
  }
  json::object connections() const {
    const std::string name = "gatehouse_connections|";
    json::object out;
    out["open"] = whole(now_.sum(name));
    for (auto at = now_.values.lower_bound(name); at != now_.values.end() && at->first.starts_with(name); ++at)
      out[at->first.substr(name.size())] = whole(at->second);
    return out;
  }
  json::object latencies() const {
    const std::string stage = "gatehouse_session_stage_seconds|";
    json::object out;
    const auto add = [&](const std::string& name, const std::string& key, const Histogram& histogram) {
      const auto found = before_.histograms.find(key);
      const Histogram& before = found == before_.histograms.end() ? Histogram() : found->second;
      json::object one;
      one["count"] = whole(histogram.count - before.count);
      for (const auto& [text, part] : {std::pair("p50", 0.5), std::pair("p90", 0.9), std::pair("p99", 0.99)})
        one[text] = histogram.count == before.count ? json::value(nullptr) : json::value(percentile(before, histogram, part) * 1e3);
      out[name] = std::move(one);
    };
    for (const auto& [name, key] : {std::pair("session", "gatehouse_session_seconds"), std::pair("handshake", "gatehouse_tls_handshake_seconds"),
                                    std::pair("commit", "gatehouse_state_commit_seconds")})
      if (const auto at = now_.histograms.find(key); at != now_.histograms.end()) add(name, key, at->second);
    for (const auto& [key, histogram] : now_.histograms)
      if (key.starts_with(stage)) add(key.substr(stage.size()), key, histogram);
    return out;
  }

  const Reading& before_;
  const Reading& now_;
  const double seconds_;
};

double number(const json::object& of, std::string_view member) { return of.at(member).to_number<double>(); }
std::string percent(const json::value& rate) {
  return rate.is_null() ? "-" : std::to_string(int(rate.to_number<double>() * 100 + 0.5)) + " %";
}

void print_top(const json::object& s) {
  const json::object& told = s.at("attestations").as_object();
  std::cout << std::fixed << std::setprecision(1) << "attestations " << number(told, "per_second") << "/s in " << number(s, "interval_seconds")
            << " s: " << shown(told, "allow") << " allow, " << shown(told, "isolate") << " isolate, " << shown(told, "block") << " block, "
            << shown(told, "none") << " none; " << shown(s, "ended_early") << " ended early\n";
  if (s.at("monitored") != 0) std::cout << "monitor mode " << shown(s, "monitored") << " told allow that were judged otherwise\n";
  const json::object& shadow = s.at("shadow").as_object();
  if (std::any_of(shadow.begin(), shadow.end(), [](const auto& one) { return one.value() != 0; }))
    std::cout << "shadow policy " << shown(shadow, "same") << " the same, " << shown(shadow, "differs") << " differ, "
              << shown(shadow, "unanswered") << " unanswered, " << shown(shadow, "left_out") << " left out\n";
  std::cout << "connections ";
  const char* before = "";
  for (const auto& one : s.at("connections").as_object())
    if (one.key() == "open" || one.value() != 0) {
      std::cout << before << one.value() << ' ' << one.key();
      before = ", ";
    }
  const json::object& handshakes = s.at("handshakes").as_object();
  std::cout << "; " << shown(s, "refused_connections") << " refused\nhandshakes " << shown(handshakes, "done") << " done, "
            << shown(handshakes, "failed") << " failed, " << shown(handshakes, "late") << " late\nerrors " << shown(s, "protocol_errors")
            << " of protocol, " << shown(s, "faults") << " inside\ncaches " << percent(s.at("verdict_cache_hit_rate")) << " of verdicts, "
            << percent(s.at("signature_cache_hit_rate")) << " of signatures\nwaiting " << number(s, "evidence_pending_bytes") / 1e6
            << " MB of evidence, " << shown(s, "state_writes_waiting") << " writes\nreferences generation "
            << shown(s.at("references").as_object(), "generation") << ", " << shown(s.at("references").as_object(), "age_seconds")
            << " s old\nprocess " << std::setprecision(2) << number(s, "cpu_cores") << " cores, " << std::setprecision(1)
            << number(s, "resident_bytes") / 1e6 << " MB\n\n"
            << std::left << std::setw(12) << "ms" << std::right;
  for (const char* const column : {"count", "p50", "p90", "p99"}) std::cout << std::setw(12) << column;
  std::cout << std::setprecision(3) << '\n';
  for (const auto& stage : s.at("latency_ms").as_object()) {
    const json::object& one = stage.value().as_object();
    if (one.at("count") == 0) continue;
    std::cout << std::left << std::setw(12) << stage.key() << std::right << std::setw(12) << shown(one, "count");
    for (const char* const column : {"p50", "p90", "p99"}) std::cout << std::setw(12) << number(one, column);
    std::cout << '\n';
  }
}

int run_top(const TopOptions& options) {
  // Taken from here on, by the wait below: whoever ends this program by hand isn't told of a failure.
  sigset_t ending;
  ::sigemptyset(&ending);
  ::sigaddset(&ending, SIGINT);
  ::sigaddset(&ending, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &ending, nullptr);
  auto access = options.where.open(false);
  if (!access) return complain(access.error());
  const bool screen = !options.where.json && !options.once && ::isatty(STDOUT_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1;
  Reading before;
  auto since = std::chrono::steady_clock::now();
  for (bool first = true;; first = false) {
    auto now = read(*access);
    if (!now) return complain(now.error());
    const auto at = std::chrono::steady_clock::now();
    // The first one tells of all the time that the server has run.
    const double up = since_1970() - now->value("process_start_time_seconds");
    const double seconds = std::max(first ? up : std::chrono::duration<double>(at - since).count(), 1e-3);
    const json::object summary = Summary(before, *now, seconds).make();
    if (screen) std::cout << "\x1b[H\x1b[2J";
    if (options.where.json) std::cout << json::serialize(summary) << '\n';
    else print_top(summary);
    if (!screen && !options.where.json && !options.once) std::cout << '\n';
    if (const int code = flushed(); code != 0 || options.once) return code;
    before = *std::move(now);
    since = at;
    const timespec wait{.tv_sec = time_t(options.interval), .tv_nsec = 0};
    if (::sigtimedwait(&ending, nullptr, &wait) > 0) return 0;
  }
}

}  // namespace

void add_top(CLI::App& app, Run& run) {
  const auto options = std::make_shared<TopOptions>();
  CLI::App* const command = app.add_subcommand("top", "What a running server does, until it is interrupted");
  options->where.add_to(*command);
  command->add_flag("--once", options->once, "one reading, of all the time that the server has run");
  unsigned_only(command->add_option("--interval", options->interval, "seconds from one reading to the next, up to 20; 2 if it isn't given"))
      ->check(CLI::Range(1, 20));
  command->footer("Example:\n  gatehouse top --once --json --state state\n\n"
                  "The first reading tells of all the time that the server has run, each further one of the time since the one before.\n"
                  "It reads through the control socket, with or without a metrics port. Exit codes: 0 done or interrupted, 4 no server\n"
                  "is running on the state directory, or it went away.");
  command->callback([options, &run] { run = [options] { return run_top(*options); }; });
}

}  // namespace gatehouse::cli
