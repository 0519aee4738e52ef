// All ways on which results leave the server as they happen ([results] of the configuration), behind one object.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/jws.h"
#include "server/config/results.h"
#include "server/results/command.h"
#include "server/results/result_log.h"
#include "server/results/syslog.h"
#include "server/results/webhook.h"

namespace gatehouse::server {

class State;

class Outlets {
 public:
  // `tls_key`: signs EAR where the configuration names no key for it. The state outlives stop().
  static Result<std::unique_ptr<Outlets>> open(const ResultsConfig& config, const std::string& tls_key, const State& state);
  // Programs, keys and files that open() would use.
  static Result<void> check(const ResultsConfig& config, const std::string& tls_key);
  ~Outlets();
  Outlets(const Outlets&) = delete;
  Outlets& operator=(const Outlets&) = delete;

  // Whether publish() needs a line; nobody else makes one then.
  bool wants_lines() const { return log_ || command_ || syslog_; }
  // A result that is on record; `line` as record_line() makes it. From any thread; never waits.
  void publish(std::string line);
  void reopen();  // the result log
  // Nothing reads the state any more: webhooks go on after the next start.
  void stop();
  std::uint64_t written() const { return log_ ? log_->written() : 0; }
  std::uint64_t left_out() const { return log_ ? log_->left_out() : 0; }
  struct To {
    std::string_view name;  // "command", "syslog", "webhook"
    DeliveryCounts counts;
  };
  // All three, of webhooks the sums.
  std::array<To, 3> deliveries() const;

 private:
  Outlets() = default;
  std::unique_ptr<ResultLog> log_;
  std::unique_ptr<ResultCommand> command_;
  std::unique_ptr<Syslog> syslog_;
  std::vector<std::unique_ptr<Webhook>> webhooks_;
};

}  // namespace gatehouse::server
