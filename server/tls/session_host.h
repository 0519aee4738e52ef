// What the shell does for a session whatever carries it: evidence plane, store, password checks, clock, counters, traces.
// The base of a peer's PT-TLS connection and of a peer behind a gateway. All on the peer's strand, but doing_now().
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <memory>
#include <string>

#include "server/metrics/session_clock.h"
#include "server/tls/impl.h"

namespace gatehouse::server {

class SessionHost : public Host, public std::enable_shared_from_this<SessionHost> {
 public:
  ~SessionHost() override;
  bool logs(LogLevel level) const override;
  void log(LogLevel level, std::string text) override;
  void check_password(std::string user, Secret password) override;
  ScramRecord scram_record(const std::string& user) override;
  void password_attempt(bool good) override;
  std::unique_ptr<pipeline::Evidence> open_evidence(pipeline::Context context) override;
  void begin_session(SessionIntent intent) override;
  void commit_result(SessionResult result) override;
  void stage_software(SoftwareChunk chunk) override;
  void activate(Activation activation) override;
  void ask_status(std::string session, CertificateOf whose, Certificate certificate, Certificate issuer) override;
  bool has_room(std::size_t pending) override;
  std::shared_ptr<const refdb::View> references() override { return view_; }
  void renew() override;
  std::int64_t now_ms() override;
  ByteVector random(std::size_t bytes) override;
  void told(pipeline::Recommendation recommendation, pipeline::Evaluation evaluation) override;
  void monitored(pipeline::Recommendation judged) override;
  void judged(std::shared_ptr<const evidence::Kept> kept, std::shared_ptr<const pipeline::Verdict> verdict,
              std::shared_ptr<const pipeline::Verdict> attested) override;
  void ended_early() override;
  void enrolled(enrolment::Code code) override;
  void error(Direction direction, std::optional<pttls::ErrorCode> code) override;
  void error(Direction direction, std::optional<pbtnc::ErrorCode> code) override;
  void trace_message(Direction direction, Bytes whole) override;
  bool traces() const override { return recording_ != nullptr; }
  void trace_fact(std::string_view fact, Bytes value) override;

 protected:
  // By its type, and not any executor: whatever goes on it would be made one anew, which allocates.
  using Strand = boost::asio::strand<boost::asio::io_context::executor_type>;
  // `address`: with its port; `host`: without.
  SessionHost(std::shared_ptr<Server::Impl> server, Strand strand, std::string address, std::string host);

  // After anything that may have changed what the session wants.
  virtual void after() = 0;
  // The password was checked.
  virtual void on_password(bool good);
  // What the gateway is answered means for this one, whom the verdict is worse for.
  virtual Succession succeeds(const Admitted::Entry& /*entry*/) { return Succession::none; }

  void begin_trace(std::string_view tls, std::string_view cipher, std::string_view identity, std::string_view type);
  // What the session does or waits for, once it has done what it could.
  metrics::Doing doing() const;

  const std::shared_ptr<Server::Impl> server_;
  Settings settings_;
  std::shared_ptr<const UserFile> users_;
  std::shared_ptr<const refdb::View> view_;
  // While there is a peer there is work, also where only the store owes it an answer.
  const boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  Strand strand_;
  boost::asio::steady_timer room_timer_;
  const std::string address_, host_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<trace::Recording> recording_;  // null: none is kept
  metrics::SessionClock clock_;
  SessionIntent committed_;  // of the result that was handed to the store last
  bool gone_ = false;

 private:
  template <class Body>
  Completion completion(Body body);
  bool begin_assessment(const SessionIntent& intent);
  void end_assessment();
  void note(const pipeline::Effort& effort);

  bool committed_quote_ = false;  // the quote of the result that was handed to the store last verified
  std::string assessed_;    // guarded by the server's mutex; empty: nobody is
  unsigned writes_ = 0;     // of state, that aren't on disk yet
  bool held_back_ = false;  // the evidence plane has no room
};

}  // namespace gatehouse::server
