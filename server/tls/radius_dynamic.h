// Takes back what gateways were told (RFC 5176): when a device's trust ends, those that let it in are asked to cut it off, or to
// move it to isolation; when it is to be assessed again, to have it come again soon.
//
//   told "isolate" by PT-TLS ─┐
//   key revoked, device gone ─┼─▶ distrust() ─▶ Admitted ─▶ Disconnect-Request ─▶ ACK: cut; NAK or silence: the log says so
//   operator                  ┘                          └▶ CoA-Request (dot1x, isolate) ─▶ NAK or silence: Disconnect-Request
//
// strongSwan's gateways know Disconnect, and of CoA a new Session-Timeout alone; so endpoints of the profile ipsec are cut off
// and come again, and find their place then. They find connections by User-Name alone, which is the EAP identity outside the
// tunnel and anybody's choice, and end each that has it. Who has lost trust is cut off nevertheless, or a popular name would keep
// everybody in; the log says who else was, and these come again by themselves (SharedCuts).
//
// Who came over a connection is asked for on that (RadiusStream::ask), where its client is configured so; while it has none the
// request waits for the next one.
//
// An endpoint that is assessed again at such a gateway makes a second connection of the same name, beside its first one, and ends that
// when it is let in. To have the first one cut off when the second one's verdict is told would end the second one half way, without a
// word to the endpoint. So the first one has a few seconds from its verdict on (handover), and is cut off if it is still there then, or
// as soon as the second one is refused or left. The time is that of the first verdict, however many follow.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "server/radius/admitted.h"
#include "server/radius/shared_cuts.h"
#include "server/tls/radius_caller.h"
#include "server/tls/radius_front.h"

namespace gatehouse::server {

class RadiusDynamic : public std::enable_shared_from_this<RadiusDynamic> {
 public:
  RadiusDynamic(std::shared_ptr<Server::Impl> server, std::shared_ptr<RadiusCaller> caller)
      : server_(std::move(server)), caller_(std::move(caller)), strand_(boost::asio::make_strand(server_->io)), timer_(strand_) {}

  using Clock = std::chrono::steady_clock;
  // A verdict that was told, and whose it was. Where it isn't sure that it was of this device, it counts for those alone that
  // were let in as the same identity: who claims another's device cuts nobody off.
  struct Verdict {
    std::string session, device, identity, identity_type;
    bool sure = false;
    pipeline::Recommendation recommendation = pipeline::Recommendation::none;
  };

  // What the verdict's own answer means for those whom it concerns; empty: nothing.
  using Succeeds = std::function<Succession(const Admitted::Entry&)>;
  static constexpr std::chrono::seconds handover{5};

  // Any thread.
  void distrust(const std::shared_ptr<const RadiusSettings>& settings, const Verdict& verdict, const Succeeds& succeeds);
  // This session's verdict lets nobody in: who has time to hand over to it has none left.
  void succeeded_by_none(const std::string& session);
  // One that was to be replaced, by an answer that never went out.
  void take_back(const std::shared_ptr<const RadiusSettings>& settings, const Verdict& verdict, std::uint64_t number);
  // It is allowed again: what is still to be cut off for an earlier verdict may stay.
  void trust(std::string_view device);
  // All of this device, by an operator's word; how many gateways are asked.
  std::size_t disconnect(const std::shared_ptr<const RadiusSettings>& settings, std::string_view device);
  // They may be there no longer, and it isn't a verdict that says so: `why`, a literal. Who isn't surely gone then is due again.
  void end_admissions(const std::shared_ptr<const RadiusSettings>& settings, const std::vector<Admitted::Entry>& over, std::string_view why);
  // Has them come again soon; how many gateways are asked.
  std::size_t reassess(const std::shared_ptr<const RadiusSettings>& settings, std::string_view device);
  // This client has a connection, and has proved that it is its own.
  void connected(const std::string& client);
  void close();

 private:
  enum class Wish : std::uint8_t { cut, isolate, reassess };
  using Entries = std::vector<Admitted::Entry>;
  struct Asking {
    std::shared_ptr<const RadiusSettings> settings;
    Wish wish = Wish::cut;
    bool by_verdict = false;  // and not by an operator's word
    Clock::time_point detected;
    Entries meant{};          // all whom this is about
  };
  struct Held {
    Asking asking;
    std::string device;
  };
  // For a gateway that can be asked on its connection alone, and has none.
  struct Unreached {
    Asking asking;
    std::string device, client;
  };
  struct HandingOver {
    Asking asking;
    Verdict verdict;
    boost::asio::steady_timer timer;
  };
  void hand_over(const Asking& asking, const Verdict& verdict, const Admitted::Entry& entry);
  void on_handover(std::uint64_t number);
  void distrust_one(Asking asking, const Verdict& verdict, const Admitted::Entry& entry);
  bool ask(const Asking& asking, const Admitted::Entry& entry);
  // Whether it may be now, as far as others with the same name are concerned.
  bool may_cut(const Asking& asking, const Admitted::Entry& entry);
  // False: it waits for the gateway's connection.
  bool send(const Asking& asking, const RadiusClient& client, const Admitted::Entry& entry);
  void await_connection(const Asking& asking, const Admitted::Entry& entry);
  // Who couldn't be cut off is looked at again.
  void put_off(const Admitted::Entry& entry);
  // `there`: who has answered is where the entry's requests came from.
  void on_answer(const Asking& asking, const Admitted::Entry& entry, Bytes answer, bool there);
  void await_held();
  void on_held();

  const std::shared_ptr<Server::Impl> server_;
  const std::shared_ptr<RadiusCaller> caller_;
  boost::asio::strand<boost::asio::io_context::executor_type> strand_;
  boost::asio::steady_timer timer_;                 // on the strand
  bool closed_ = false;                             // on the strand
  std::map<std::uint64_t, HandingOver> handing_over_;  // on the strand: by the entry's number
  std::mutex mutex_;
  SharedCuts cuts_;                                 // guarded by mutex_
  std::map<std::uint64_t, Held> held_;              // guarded by mutex_: by the entry's number
  std::map<std::uint64_t, Unreached> unreached_;    // guarded by mutex_: by the entry's number
};

}  // namespace gatehouse::server
