// Evidence is copied on its way to the evidence plane, so that it can be kept once the verdict is known. Bounded: when
// there is no room for a session's evidence it isn't kept, and the session goes on.
//
//   auto capture = std::make_shared<Capture>(memory);
//   auto evidence = capture->watch(context, host.open_evidence(context));   // in the place of the evidence plane's own
//   ...
//   if (capture->complete()) kept.attestation = capture->take_attestation();
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "server/evidence/kept.h"

namespace gatehouse::evidence {

// What the captures of all sessions may hold together. Safe for concurrent use.
class Memory {
 public:
  Memory(std::size_t most, std::size_t most_of_one) : most_(most), most_of_one_(most_of_one) {}
  bool take(std::size_t bytes);
  void give(std::size_t bytes) { held_.fetch_sub(bytes, std::memory_order_relaxed); }
  std::size_t held() const { return held_.load(std::memory_order_relaxed); }
  std::size_t most_of_one() const { return most_of_one_; }
  // Sessions whose evidence isn't kept for want of room.
  void note_left_out() { left_out_.fetch_add(1, std::memory_order_relaxed); }
  std::uint64_t left_out() const { return left_out_.load(std::memory_order_relaxed); }

 private:
  const std::size_t most_, most_of_one_;
  std::atomic<std::size_t> held_{0};
  std::atomic<std::uint64_t> left_out_{0};
};

// Of one assessment; its calls come from the session's strand.
class Capture : public std::enable_shared_from_this<Capture> {
 public:
  explicit Capture(std::shared_ptr<Memory> memory) : memory_(std::move(memory)) {}
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  std::unique_ptr<pipeline::Evidence> watch(const pipeline::Context& context,
                                            std::unique_ptr<pipeline::Evidence> evidence);
  void settings(const server::OsSettings& settings) { said_.settings = settings; }
  // Installed Packages comes in pieces; a new list takes the place of the one before.
  void begin_packages();
  void add_packages(Bytes piece);
  void drop_packages() { said_.packages.reset(); }
  void port_filter(std::uint16_t collector, Bytes value);
  // The identifiers of what is installed, of which each answer takes the place of the one before; and what they are.
  void begin_software();
  void add_software(std::string_view identifier);
  void software(const server::SoftwareFacts& facts) { said_.software = facts; }

  // The attestation's result is what the evidence plane said of this evidence, and nothing else.
  void judged() { judged_ = true; }

  // All that was seen is here.
  bool whole() const { return !left_out_; }
  // And the attestation can be judged again by it.
  bool attested() const { return !left_out_ && finished_ && judged_; }
  Attestation take_attestation();
  Said take_said();
  // The room that what was taken goes on to need.
  std::shared_ptr<void> take_hold();

 private:
  class Watched;
  bool room(std::size_t bytes);
  void submit(const pipeline::SegmentView& segment);

  const std::shared_ptr<Memory> memory_;
  std::size_t held_ = 0;
  bool left_out_ = false, finished_ = false, judged_ = false;
  Attestation attestation_;
  Said said_;
};

}  // namespace gatehouse::evidence
