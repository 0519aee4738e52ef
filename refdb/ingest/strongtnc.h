// The SQLite database that strongSwan's measurement verifiers and strongTNC share: what it knows of files and devices.
// Two shapes are read: digests by a package's version (since 2014), and before that by product. Hostile input:
// refdb/ingest/sqlite.h.
//
//   GH_TRY(const auto file, open_strongtnc("config.db"));
//   …in a decoder, which nobody else need be to call it:
//   GH_TRY(const auto database, StrongTnc::open(*file, "config.db"));
//   GH_TRY(const auto files, database->references("Debian 12 x86_64", {}, [&](ReferencePackage p) { … }));
//   GH_TRY(const auto devices, database->devices({.device = …, .baseline = …}));
//   …once it is done:
//   GH_CHECK(file->check_unchanged());
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "refdb/ingest/ingest.h"

namespace gatehouse::refdb {

namespace sqlite {
class Database;
}
class FileInput;
class Input;

inline constexpr std::size_t max_product_bytes = 1024, max_device_bytes = 256;

// What isn't taken, and how often; with what has no place here at all.
struct StrongTncLeft {
  std::uint64_t of_devices = 0;   // digests of single devices: FREFM and DREFM learn them
  std::uint64_t other_kinds = 0;  // digests in no algorithm of a file's content (SHA1-IMA)
  std::uint64_t no_path = 0;      // of files without an absolute path, as of Windows
  std::uint64_t dangling = 0;     // of a file, version or product that isn't there
  std::uint64_t blacklisted = 0;  // of packages or versions that are
  std::uint64_t groups = 0, policies = 0, enforcements = 0;
};

struct StrongTncReferences {
  std::uint64_t packages = 0, files = 0;          // given; a package with several contents of a path counts for each
  std::map<std::string, std::uint64_t> products;  // all that have files, and how many
  StrongTncLeft left;
};

// "Debian 12 x86_64" (1204 files), …: at most ten, by name.
std::string text_of(const std::map<std::string, std::uint64_t>& products);
// What of the database wasn't taken, for people: products other than `product`, and what has no place here.
std::vector<std::string> notes_of(const StrongTncReferences& references, const std::string& product);

struct StrongTncDevice {
  std::string id;       // Device ID
  std::string product;  // empty: none is recorded
  bool trusted = false;
};
struct StrongTncBaseline {
  std::string device;  // Device ID
  HashAlgorithm bank{};
  std::map<std::uint32_t, std::vector<Digest>> pcrs;  // what was extended into each, in order
};
struct StrongTncDevices {
  std::uint64_t devices = 0, baselines = 0;        // given
  std::uint64_t inactive = 0, other_products = 0;  // devices and rows left out
  std::uint64_t components = 0;                    // digests of other components than the firmware's log
  std::uint64_t sha1 = 0;                          // of baselines in SHA-1, which nothing is allowed with
  std::uint64_t dangling = 0;                      // digests of devices that were left out or aren't there
  // Firmware logs that can't be a baseline, by device, and why.
  std::vector<std::pair<std::string, std::string>> refused;
};

inline constexpr std::size_t max_strongtnc_groups = 1024, max_group_rows = 200'000;
inline constexpr std::size_t max_group_name_bytes = 128, max_argument_bytes = 4096;

// What a group asks for: an enforcement with its policy. Recommendations: 0 allow, 1 block, 2 isolate, 3 none; of the
// enforcement where it has one other than 0, which counts as unset there, else of the policy; absent: neither says one.
struct StrongTncEnforcement {
  std::uint8_t type = 0;  // 0 to 16 (spec part 1b §7.2)
  std::string argument;   // letters or ports as written; of files and directories their path, empty: it isn't there
  std::optional<std::uint8_t> on_fail, on_noresult;
  std::uint64_t max_age = 0;  // seconds
  friend bool operator==(const StrongTncEnforcement&, const StrongTncEnforcement&) = default;
};
struct StrongTncGroup {
  std::string name, parent;          // parent empty: none
  bool is_default = false;           // of devices that are in no other
  std::vector<std::string> devices;  // members, by Device ID, in order
  std::vector<std::string> products;  // whose new devices come here
  std::vector<StrongTncEnforcement> ask;
  friend bool operator==(const StrongTncGroup&, const StrongTncGroup&) = default;
};

// All that devices() and groups() give.
struct StrongTncListing {
  std::vector<StrongTncDevice> devices;
  std::vector<StrongTncBaseline> baselines;
  StrongTncDevices counts;
  std::vector<StrongTncGroup> groups;
};

// The database's file. An environment fault where somebody has it open for writing, as far as that is seen beside it;
// check_unchanged() says afterwards whether it was written to.
Result<std::unique_ptr<FileInput>> open_strongtnc(const std::string& path);

class StrongTnc {
 public:
  // `name` is for errors and packages.
  static Result<std::unique_ptr<StrongTnc>> open(const Input& file, const std::string& name);
  static Result<std::unique_ptr<StrongTnc>> open(Bytes content, const std::string& name);
  ~StrongTnc();

  // The same as references() of a database that is damaged nowhere, which is looked at before, and that has files of
  // the product. Returns what there is to say of it (notes_of).
  Result<std::vector<std::string>> whole(const std::string& product,
                                         const std::function<Result<void>(ReferencePackage)>& each);

  // The files of one product, or of all where it is empty; packages have the names of their products. One package for
  // each version of each package.
  Result<StrongTncReferences> references(const std::string& product, const IngestLimits& limits,
                                         const std::function<Result<void>(ReferencePackage)>& each);

  // Each device once, then their baselines. A device with a row for each product that it had is its newest row. Keys
  // of attestation that databases had before they had trusted devices are devices by their key ids.
  struct DeviceSink {
    std::function<Result<void>(const StrongTncDevice&)> device;
    std::function<Result<void>(const StrongTncBaseline&)> baseline;
  };
  Result<StrongTncDevices> devices(const DeviceSink& sink);
  // By their ids.
  Result<std::vector<StrongTncGroup>> groups();
  Result<StrongTncListing> listing();

 private:
  explicit StrongTnc(std::unique_ptr<sqlite::Database> database, std::string name);
  std::unique_ptr<sqlite::Database> database_;
  const std::string name_;
};

}  // namespace gatehouse::refdb
