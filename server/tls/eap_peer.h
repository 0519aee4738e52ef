// An endpoint behind a gateway: one EAP conversation, its session, and the requests that carry it. On a strand of its own.
#pragma once

#include <chrono>

#include "server/radius/question.h"
#include "server/tls/radius_front.h"
#include "server/tls/session_host.h"

namespace gatehouse::server {

class EapPeer final : public SessionHost, public EapHost {
 public:
  EapPeer(std::shared_ptr<RadiusFront> front, std::shared_ptr<Server::Impl> server, std::uint64_t id, const RadiusRequest& first);
  ~EapPeer() override;

  // Any thread.
  void take(RadiusRequest::Pointer request);
  void cut();
  const std::string& client() const { return client_; }

  // Host
  void send(ByteVector batch) override;
  void close() override {}
  void set_deadline(std::chrono::milliseconds from_now) override;
  void password_attempt(bool) override {}
  // EapHost
  const StoredPassword* stored_password(const std::string& user) override;
  void check_password_of(std::string user, Secret password) override;
  bool asks_for_certificate() override;
  bool asks_elsewhere(const std::string& user) override;
  void judge_elsewhere(std::string user, ChallengeAnswer answer) override;
  void authenticated(bool good, const std::string& user, std::string_view method, std::string_view reason) override;
  void begin_assessment(const EapIdentity& identity) override;
  void deliver(Bytes batch) override;
  void acknowledged() override;
  void without_assessment(const EapIdentity& identity) override;
  Turn turn(const std::string& user) override;
  void attempted(const std::string& user, bool good) override;
  void told(pipeline::Recommendation recommendation, pipeline::Evaluation evaluation) override;
  ByteVector random_bytes_of(std::size_t count) override;

 private:
  // The last answer, and what it says where the endpoint may be let in.
  struct Answering {
    RadiusRequest request;
    ByteVector packet;  // EAP
    RadiusReply reply;
    std::optional<pipeline::Recommendation> verdict;
    bool good = false;
    std::string why;           // not; for the log
    std::uint64_t number = 0;  // of Admitted; 0: nothing is noted
  };
  std::shared_ptr<EapPeer> self() { return std::static_pointer_cast<EapPeer>(shared_from_this()); }
  void after() override;
  void on_password(bool good) override;
  void on_certificate(const Result<void>& good);
  Succession succeeds(const Admitted::Entry& entry) override;
  void go_on(RadiusRequest::Pointer request);
  bool answers_last(const RadiusRequest& request) const;
  void assessed(std::optional<pipeline::Recommendation> verdict);
  CertificateNames certificate_of(const EapIdentity& identity) const;
  Leases::Standing standing(const std::string& device, const std::string& key_pin, const std::string& identity) const;
  void ask_upstream(std::shared_ptr<const UpstreamQuestion> question, std::size_t first, std::size_t attempt);
  void on_upstream(const UpstreamQuestion& question, const UpstreamSays& says);
  std::string place_of(const std::string& user) const;
  Turn take_turn(const std::string& user, Backoff::Clock::time_point now, Backoff::Clock::time_point until);
  void charge(const std::string& user);
  void discharge();
  std::optional<Leases::Lease> lease_of(const EapIdentity& identity) const;
  bool admit(Answering& answering, pipeline::Recommendation recommendation);
  std::int64_t lease_end();
  bool holds(pipeline::Recommendation verdict) const;
  void take_back();
  void reply();
  void conclude(Bytes packet);
  void finish(Answering answering);
  void arm(std::chrono::milliseconds from_now);
  void wait();
  void expire();
  void end();

  const std::shared_ptr<RadiusFront> front_;
  const std::uint64_t id_;
  const std::shared_ptr<const RadiusSettings> radius_;
  const std::string client_, station_;
  EapServer eap_;
  boost::asio::steady_timer timer_, turn_timer_;
  std::chrono::steady_clock::time_point deadline_;
  std::optional<std::chrono::steady_clock::time_point> timed_;  // when the timer ends, deadline_ or earlier; nullopt: there is none
  const std::chrono::steady_clock::time_point began_;
  RadiusRequest::Pointer request_;        // that waits for its answer
  std::unique_ptr<Answering> answering_;  // waits for its record; null nearly always
  std::optional<std::pair<AnswerCache::Key, radius::Authenticator>> last_;  // that has its answer
  std::uint32_t round_ = 0;
  // The State of the last challenge, and to whom it was given.
  struct Given {
    StateCookies::Cookie state{};
    IpAddress to{};
    const RadiusClient* client = nullptr;  // may be gone, if it isn't of radius_
  };
  Given given_;
  std::optional<ByteVector> batch_;  // of the session, for the endpoint
  std::optional<std::optional<pipeline::Recommendation>> verdict_;  // for the EAP conversation
  std::optional<std::chrono::seconds> lease_left_;  // the verdict is that of a lease
  // Whose the verdict is, for the gateway's answer and for what follows it.
  struct Whose {
    std::string session, device;
    std::vector<std::string> also;  // of a lease
    EapIdentity identity;
    std::vector<std::string> groups;
    bool sure = false, known = false;  // the device, when the verdict was told
  };
  Whose whose_;
  // Who was let in at this very port before a verdict that is worse: until it is answered by that.
  struct Before {
    std::uint64_t number = 0;  // of Admitted
    pipeline::Recommendation verdict = pipeline::Recommendation::none;
  };
  std::optional<Before> before_;
  pipeline::Recommendation telling_ = pipeline::Recommendation::none;  // what is being told
  std::int64_t told_at_ = 0;  // when the last verdict was, milliseconds since 1970; 0: never
  std::optional<std::string> charged_;  // whose password is being tried
  bool beside_ = false;  // someone has time to end until this one is there
  bool unheard_ = false;  // nobody could say whether the password is right
  bool acting_ = false;
};

}  // namespace gatehouse::server
