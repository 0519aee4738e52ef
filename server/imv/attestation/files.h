// The file and directory work items of the Attestation IMV: FREFM, FMEAS, FMETA, DREFM, DMEAS, DMETA (spec part 2 §1.13,
// §1.14, §9.2), beside a TPM attestation or without one. No quote covers what the endpoint says here.
//
//   FREFM, DREFM  learn digests of this device's files; only of a device that has proved who it is
//   FMEAS, DMEAS  compare with what was learned of this device and with the references of its product. A file is missing
//                 only where it was learned: references name every package's files, installed or not
//   FMETA, DMETA  metadata, which goes to the log
//
// A measurement answers by the id of its request. Metadata names no request, so one request waits for its answer at a
// time; directories may be long, so a few of them do.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "server/imv/channel.h"
#include "wire/pts/records.h"

namespace gatehouse::server {

class FileItems {
 public:
  // The item has its result.
  using Finish = std::function<void(const policy::WorkItem& item, pipeline::Evaluation evaluation, std::string text)>;
  FileItems(Conversation& conversation, Finish finish) : c_(conversation), finish_(std::move(finish)) {}

  void restart();
  // Of the IMV's items those that are of files.
  void begin(const std::vector<const policy::WorkItem*>& items);
  // Every item is finished; also when there are none.
  bool done() const;

  // The negotiated algorithm: what files are measured in.
  void measure_in(HashAlgorithm algorithm) { algorithm_ = algorithm; }
  // Asks for what isn't asked yet, as much as may wait at a time; true: something was asked.
  bool ask(Channel& channel);

  // A File Measurement or Unix-Style File Metadata attribute, whole or in pieces.
  Result<void> take(const patnc::Attribute& attribute);
  Result<void> take_piece(std::uint16_t collector, const patnc::Reassembler::Piece& piece);
  // The endpoint's PTS error with a copy of our request's value; false: no such request waits.
  bool refuse(std::uint32_t code, Bytes request);
  // The endpoint doesn't know a type of request.
  void unsupported(std::uint32_t type);
  // PTS error 11: the endpoint doesn't look at files, and says so once a request without naming it. False: this one is
  // about something else.
  bool not_supported();
  // What was asked and isn't answered won't be.
  void give_up();
  // Every open item is finished with this error.
  void fail(const std::string& why);
  // Whether what was measured as a reference may be learned, once that is known.
  void settle(bool proved, std::string why_not);

  const std::vector<pipeline::Finding>& findings() const { return findings_; }
  std::uint64_t findings_total() const { return findings_total_; }
  const std::vector<LearnedFiles>& learned() const { return learned_; }
  bool incorrect() const { return incorrect_; }  // a measurement differs
  bool pending() const { return pending_; }      // a measurement didn't come

 private:
  enum class Stage : std::uint8_t { waiting, asked, answering, held, finished };
  struct Task {
    const policy::WorkItem* item = nullptr;
    Stage stage = Stage::waiting;
    ByteVector request;                      // its value
    std::map<std::string, Digest> learned;   // by name; of a measurement what is left to come
    std::map<std::string, Digest> measured;  // of a reference measurement
    bool known = false, differs = false;     // of a measurement
    std::uint64_t files = 0;
  };
  // An attribute being read.
  struct Answer {
    std::variant<pts::FileMeasurementCursor, pts::FileMetadataCursor> cursor;
    std::size_t base;  // what the value's first byte is counted as in errors
    bool begun = false;
    Task* task = nullptr;  // null: about nothing that waits
  };
  struct Known;

  static bool measures(const Task& task);
  static bool directory(const Task& task);
  static bool reference(const Task& task);
  Answer open(std::uint32_t type, std::size_t base) const;
  Result<void> read(Answer& answer);
  Result<void> begin_measurement(Answer& answer, const pts::FileMeasurementHead& head);
  void begin_metadata(Answer& answer, const pts::FileMetadataHead& head);
  void see(Task& task, const pts::FileMeasurement& file);
  void see(const Task& task, const pts::FileMetadata& file) const;
  void judge(Task& task, std::string_view name, const std::string& path, const Digest& measured);
  Result<Known> look_up(const std::string& path) const;
  void end(Task& task);
  void end_directory(Task& task);
  void learn(Task& task);
  void finish(Task& task, pipeline::Evaluation evaluation, std::string text);
  void find(const std::string& path, pipeline::Status status, std::string reason, const Known* known = nullptr,
            const Digest& measured = {});

  Conversation& c_;
  const Finish finish_;
  std::shared_ptr<const refdb::View> references_;
  std::optional<HashAlgorithm> algorithm_;
  std::vector<Task> tasks_;  // never grows after begin(): answers point into it
  std::map<std::pair<std::uint16_t, std::uint32_t>, Answer> in_pieces_;  // by collector and transfer
  std::optional<bool> proved_;
  std::string why_not_;
  std::vector<LearnedFiles> learned_;
  std::vector<pipeline::Finding> findings_;
  std::uint64_t findings_total_ = 0;
  std::size_t refusals_due_ = 0;  // PTS error 11 to come of requests that are finished by the first
  bool incorrect_ = false, pending_ = false;
};

}  // namespace gatehouse::server
