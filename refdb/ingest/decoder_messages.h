// What goes between an ingestion and the processes that decode packages for it. The ingestion believes nothing of what
// they say but that it is about the package that they were given: lengths, numbers and texts are checked as a file's.
//
// A message is its size (4, big-endian, of what follows), a letter, and a body. Texts are their length (4) and as many
// bytes. A decoder is asked, with the file's descriptor beside it,
//
//   R  the file's size (8), kind (1), algorithms (1) and for each its TPM_ALG_ID (2), texts name and product, whether it
//      is pinned (1), and then its size (8), digest algorithm's digest: length (1) and bytes, SHA-256 of each block of
//      128 KiB (32 each)
//
// and says
//
//   H  of an RPM package first: text name, whether the header binds the files (1), signatures (2) and each as a text.
//      Then it waits for A, algorithms as above; the next R or the end, where it is known already
//   I  of a Debian package's control file: texts name, section, priority
//   P  a package: texts product, name, version, architecture, source; format (1). The product only of what has several
//   V  a diversion of the package that came last: texts path and where it is instead
//   F  files of the package that came last, as rows of refdb/store/file_rows.h. Rows with the path of the one before
//      are further contents of the same file
//   M  more further contents of the file that came last, as F
//   S  scripts of the package, as F
//   W  a text for people, at most 4,003 bytes: a warning of the package that came last, before the first one a note of
//      the whole
//   D  all there is, or
//   E  fault (1), offset (8), texts reason, rule and detail, which ends it
//
// After H, I and D there may be another R.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/reader.h"
#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"
#include "refdb/store/file_rows.h"

namespace gatehouse {
class Writer;
}

namespace gatehouse::refdb {

// deb_control: name, section and priority of a Debian package alone. module: a file of a tree, with its further
// contents. strongtnc_devices: refdb/ingest/device_messages.h.
enum class SourceKind : std::uint8_t {
  deb,
  rpm,
  oci,
  initramfs,
  sums,
  keylime,
  ima,
  swid,
  deb_control,
  module,
  strongtnc,
  strongtnc_devices
};

inline constexpr std::size_t most_message_bytes = std::size_t(16) << 20;

// Files that somebody vouches for together: whoever made one of them could have had any reference taken in by it, so
// nothing is gained by lying about another one (docs/decisions/0003-decoder-processes.md).
enum class Lot : std::uint64_t { none = 0 };

struct DecodeRequest {
  SourceKind kind{};
  std::vector<HashAlgorithm> algorithms;
  std::string name;
  std::optional<PinnedInput::Pin> pin;
  std::string product{};  // of strongtnc: whose files; empty: all
  Lot lot = Lot::none;    // for who hands out files; a decoder isn't told
};

// What came of a file.
struct Decoded {
  std::vector<ReferencePackage> packages;
  std::vector<std::string> notes;  // of the whole, for people
};

// What an ingestion needs to know of an RPM package before it asks for its files.
struct RpmHead {
  std::string name;
  bool binds_files = false;
  std::vector<ByteVector> signatures;
  // As in RpmPackage. The ingestion sees them for itself, and no message has them: a decoder that was taken over could
  // name another package's, which would then count as known, or as the one that was signed.
  Digest identity;
  std::uint64_t header = 0, payload = 0;
};

// Bodies with their letter in front.
// `size`: of the file.
ByteVector request_message(const DecodeRequest& request, std::uint64_t size);
ByteVector algorithms_message(const std::vector<HashAlgorithm>& algorithms);
ByteVector head_message(const RpmHead& head);
ByteVector error_message(const Error& error);
ByteVector control_message(const DebControl& control);
// Cut to the length that a text for people may have.
ByteVector note_message(std::string_view text);
// P, V, F, M, S and W of one package, each handed to `send` as it is made.
Result<void> send_package(ReferencePackage&& package, const std::function<Result<void>(Bytes)>& send);
// The same, as its files come.
class PackageSender {
 public:
  using Send = std::function<Result<void>(Bytes)>;
  explicit PackageSender(Send send) : send_(std::move(send)) {}
  // First. Of `package` all but its files and warnings.
  Result<void> begin(const ReferencePackage& package);
  Result<void> add(ReferenceFile&& file);
  Result<void> end(const std::vector<std::string>& warnings);

 private:
  Result<void> flush(char next);
  const Send send_;
  FileWriter writer_;
  std::string rows_ = "F", last_;
};
ByteVector done_message();

// In a decoder: whoever asks is believed, and mistakes are ours.
struct Asked {
  std::uint64_t size = 0;
  DecodeRequest request;
};
Result<Asked> parse_request(Bytes message);
Result<std::vector<HashAlgorithm>> parse_algorithms(Bytes message);

// In an ingestion: what a decoder says after its request, message by message.
class Answer {
 public:
  // `files`, `path_bytes`: as in IngestLimits, of all packages; each further content counts as a file. `products`: each
  // package has one; else none may. With a sink there is one package, and its files go there.
  Answer(std::uint64_t files, std::uint64_t path_bytes, bool products = false, FileSink sink = {})
      : most_files_(files), most_path_bytes_(path_bytes), products_(products), sink_(std::move(sink)) {}
  // Fails where the message isn't one, and as the decoder did. True: it was the last one.
  Result<bool> take(Bytes message);
  std::vector<ReferencePackage>& packages() { return all_.packages; }
  Decoded& all() { return all_; }

 private:
  Result<bool> read(Bytes message);
  Result<void> take_package(Reader& r);
  Result<void> take_files(std::string_view rows, char letter);
  Result<void> end_file();
  Result<void> take_diversion(Reader& r);
  Result<void> take_note(std::string_view text);
  const std::uint64_t most_files_, most_path_bytes_;
  const bool products_;
  const FileSink sink_;
  std::uint64_t files_ = 0, path_bytes_ = 0, text_bytes_ = 0, notes_ = 0;
  std::optional<ReferenceFile> file_;  // the last one: more of its contents may come
  Decoded all_;
};
Result<RpmHead> parse_head(Bytes message);
// Name, section and priority.
Result<DebControl> parse_control(Bytes message);

// Texts as messages have them: their length (4) and as many bytes.
void put_text32(Writer& w, std::string_view text);
Result<std::string_view> take_text32(Reader& r);
// What can't be read is a lie, and no fault of the file.
std::unexpected<Error> no_answer();
// E, as an error.
Result<Error> parse_error(Reader& r);

// A text that lives as long as the process: an error's reason is one, also that of an error from elsewhere. There is
// room for some; beyond that, and where the text is none for people, it is another one that says so.
std::string_view lasting(std::string_view text);

}  // namespace gatehouse::refdb
