// Decoding of hostile files by processes that have no rights, forked when it is their turn and gone with it: one for each
// file, or for some files of one lot. What takes such a process over, or kills or stops it, has the answers about the
// files that it was given from then on, and nothing else.
//
//   GH_TRY(const auto decoders, Decoders::start({.at_once = 2}));          // before there are threads
//   GH_TRY(Decoded image, decoders->decode({SourceKind::oci, {HashAlgorithm::sha256}, path, {}}, *input));
//   const Lot lot = decoders->lot();
//   GH_TRY(auto rpm, decoders->open_rpm(*input, path, {}, lot));
//   if (… rpm.head().identity …) GH_TRY(auto package, rpm.references({HashAlgorithm::sha256}));
//
// A decoder reads the descriptors it is given, writes to its socket, and computes (refdb/ingest/confinement.h). It is
// forked by a process that did nothing yet but wait, so nothing of the ingestion is in its memory. All end with the
// ingestion.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "refdb/ingest/decoder_messages.h"
#include "refdb/ingest/strongtnc.h"

namespace gatehouse::refdb {

struct DecoderOptions {
  unsigned at_once = 1;
  bool confined = true;  // false: in the ingestion's own process
  // For tests: called in the decoder once it is confined, with the name of what it is to decode.
  std::function<void(const std::string& name)> begin = {};
};

class Decoders {
 public:
  // An environment fault where processes can't be confined here.
  static Result<std::unique_ptr<Decoders>> start(DecoderOptions options);
  ~Decoders();
  Decoders(const Decoders&) = delete;
  Decoders& operator=(const Decoders&) = delete;

  // A new one. From any thread.
  Lot lot();

  // All of a file that isn't an RPM package: its packages, without identity and stamp, and without product where it
  // isn't strongTNC's. A request with a pin reads what was pinned. From any thread; beyond `at_once` files it waits for
  // another one's end. Errors are the decoder's, or say how it ended: "the decoder died".
  Result<Decoded> decode(const DecodeRequest& request, const FileInput& file);
  // The same of one that has to be one package.
  Result<ReferencePackage> decode_one(const DecodeRequest& request, const FileInput& file);
  // The same; its files go to `sink`, some before an error.
  Result<ReferencePackage> decode_one(const DecodeRequest& request, const FileInput& file, const FileSink& sink);
  // Name, section and priority of a Debian package.
  Result<DebControl> deb_control(const FileInput& file, const std::string& name, std::optional<PinnedInput::Pin> pin,
                                 Lot lot = Lot::none);
  // What strongTNC's database says of devices.
  Result<StrongTncListing> strongtnc_devices(const FileInput& file, const std::string& name);

  class Rpm {
   public:
    Rpm(Rpm&&) noexcept;
    Rpm& operator=(Rpm&&) noexcept;
    ~Rpm();
    const RpmHead& head() const;
    // Once. Files go to `sink`.
    Result<ReferencePackage> references(const std::vector<HashAlgorithm>& algorithms, const FileSink& sink);

   private:
    friend class Decoders;
    struct State;
    explicit Rpm(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
  };
  // The decoder waits for references(); what is returned has it until it goes.
  Result<Rpm> open_rpm(const FileInput& file, const std::string& name, std::optional<PinnedInput::Pin> pin,
                       Lot lot = Lot::none);

 private:
  struct State;
  class Work;
  explicit Decoders(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// What a strongTNC database says of devices and groups, by a decoder of its own: a process without rights reads it, unless
// `sandbox` says otherwise. A file that is written to meanwhile is an error.
Result<StrongTncListing> read_strongtnc(const std::string& path, bool sandbox);

}  // namespace gatehouse::refdb
