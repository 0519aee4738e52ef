// Who has been assessed lately, for supplicants that can't be assessed in their own conversation: a switch port opens for an
// identity whose devices have all been allowed within the lease's time, and no longer than what is left of it.
//
//   leases.note({"carol", "password"}, "deb3…", key_pin, Recommendation::allow, now);   // each verdict that was told
//   const auto lease = leases.find({"carol", "password"}, 8h, now, [&](device, key_pin) { return standing(device, key_pin); });
//
// An identity that several devices have been assessed with is as good as the worst of them: it can't be told which one of them
// asks now. Bounded; of more identities, the one that was noted the longest ago is forgotten. Time comes from the caller, in
// milliseconds since 1970. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/verdict/verdict.h"

namespace gatehouse::server {

class Leases {
 public:
  struct Identity {
    std::string name, type;  // as in SessionIntent; both not empty
    friend auto operator<=>(const Identity&, const Identity&) = default;
  };
  struct Lease {
    pipeline::Recommendation recommendation = pipeline::Recommendation::none;
    std::chrono::seconds left{0};
    std::string device;             // whose the verdict is
    std::vector<std::string> also;  // the others that it could be
  };
  // What is known of a device now: `good`, its key is trusted and it is bound to the identity; `gone`, there is no such
  // device any more, so it isn't the one that asks.
  enum class Standing : std::uint8_t { good, bad, gone };
  using Judge = std::function<Standing(const std::string& device, const std::string& key_pin)>;

  explicit Leases(std::size_t most = 262'144) : most_(most) {}

  // Verdicts are noted in the order of their time, but for moments; an older one than is known of the device changes
  // nothing, unless what is known is of a time that is yet to come: the clock was set back.
  void note(const Identity& identity, const std::string& device, const std::string& key_pin, pipeline::Recommendation recommendation,
            std::int64_t now);
  // One of before, from the newest back: counts where nothing is known of the device yet.
  void recall(const Identity& identity, const std::string& device, const std::string& key_pin, pipeline::Recommendation recommendation,
              std::int64_t time);
  // nullopt: there is none, or not of all of its devices. `length`: how long a verdict holds.
  std::optional<Lease> find(const Identity& identity, std::chrono::seconds length, std::int64_t now, const Judge& judge) const;
  std::size_t size() const;

 private:
  void put(const Identity& identity, const std::string& device, const std::string& key_pin, pipeline::Recommendation recommendation,
           std::int64_t time, bool only_new);
  struct Result {
    pipeline::Recommendation recommendation = pipeline::Recommendation::none;
    std::string key_pin;
    std::int64_t time = 0;
  };
  struct Entry {
    std::map<std::string, Result> devices;
    std::list<Identity>::iterator age;
  };
  static constexpr std::size_t max_devices = 16;  // of one identity; beyond, it has no lease

  const std::size_t most_;
  mutable std::mutex mutex_;
  std::map<Identity, Entry> entries_;  // guarded by mutex_
  std::list<Identity> by_age_;         // guarded by mutex_: the oldest first
};

}  // namespace gatehouse::server
