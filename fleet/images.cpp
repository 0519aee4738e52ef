// What endpoints of an image measured: firmware events that nobody else has, files that the reference store knows, and
// some that it doesn't.
#include <algorithm>
#include <random>
#include <set>

#include "base/writer.h"
#include "endpoint/tpm/software.h"
#include "fleet/fleet.h"
#include "refdb/alias/alias.h"
#include "refdb/store/generation.h"
#include "refdb/store/open.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"

namespace gatehouse::fleet {
namespace {

using Random = std::mt19937_64;

struct File {
  std::string path;  // as the kernel reports it
  Digest digest;     // SHA-256
};

// A part of the product's files, each as likely as every other: enough for images to differ.
Result<std::vector<File>> known_files(const Fleet& fleet, const std::string& references, std::size_t wanted) {
  GH_TRY(const std::uint64_t number, refdb::current_generation(references));
  if (number == 0) return fail(Error{Fault::usage, "the reference store holds no generation", {}, 0, references, {}});
  GH_TRY(const auto generation, refdb::Generation::open(references, number));
  std::set<std::uint32_t> layers;
  for (const auto& [layer, id] : generation->totals().layers)
    if (layer.product == fleet.product) layers.insert(id);
  std::vector<refdb::Package> packages;
  GH_CHECK(generation->each_package([&](std::uint32_t, refdb::Package&& p) {
    if (layers.contains(p.layer)) packages.push_back(std::move(p));
  }));
  Random random(fleet.seed);
  std::vector<File> out;
  std::uint64_t count = 0;
  for (const refdb::Package& p : packages)
    GH_CHECK(generation->each_file(p, [&](const refdb::FileRow& row) {
      const std::string_view digest = row.digest(HashAlgorithm::sha256);
      if (digest.empty() || row.is_mutable) return;
      const std::uint64_t at = ++count <= wanted ? out.size() : random() % count;
      if (at >= wanted) return;
      if (at == out.size()) out.emplace_back();
      out[at] = {refdb::index_path(row.path), Digest(as_bytes(digest))};
    }));
  // A path of several versions or layers counts once.
  std::ranges::sort(out, {}, &File::path);
  const auto twice = std::ranges::unique(out, {}, &File::path);
  out.erase(twice.begin(), twice.end());
  return out;
}

void append_event(Writer& w, std::uint32_t pcr, std::uint32_t type, Bytes data) {
  using enum HashAlgorithm;
  w.put_le(pcr);
  w.put_le(type);
  w.put_le(std::uint32_t{2});
  for (const HashAlgorithm bank : {sha1, sha256}) {
    w.put_le(std::uint16_t(bank));
    w.put_bytes(digest_of(bank, data).view());
  }
  w.put_le(std::uint32_t(data.size()));
  w.put_bytes(data);
}

// TCG PC Client Platform Firmware Profile 9.4.5.1: the first event says which banks the others have.
void append_spec_id(Writer& w) {
  Writer data;
  data.put_bytes(as_bytes(std::string_view("Spec ID Event03\0", 16)));
  data.put_le(std::uint32_t{0});  // platform class: client
  data.put_bytes(as_bytes(std::string_view("\0\2\0\2", 4)));
  data.put_le(std::uint32_t{2});
  for (const HashAlgorithm bank : {HashAlgorithm::sha1, HashAlgorithm::sha256}) {
    data.put_le(std::uint16_t(bank));
    data.put_le(std::uint16_t(digest_size(bank)));
  }
  data.put(std::uint8_t{0});
  w.put_le(std::uint32_t{0});
  w.put_le(eventlog::ev_no_action);
  w.put_bytes(Digest::filled(20, std::byte{0}).view());
  w.put_le(std::uint32_t(data.view().size()));
  w.put_bytes(data.view());
}

ByteVector firmware_log(const Fleet& fleet, std::uint32_t image) {
  constexpr std::uint32_t ev_post_code = 1, ev_ipl = 0xD;
  Writer w;
  append_spec_id(w);
  const std::uint32_t separators = std::min(fleet.boot, 8U), others = fleet.boot - separators;
  const auto event = [&](std::uint32_t n, std::uint32_t pcr) {
    const std::string text =
        "fleet " + std::to_string(fleet.seed) + " image " + std::to_string(image) + " event " + std::to_string(n);
    append_event(w, pcr, pcr < 8 ? ev_post_code : ev_ipl, as_bytes(text));
  };
  // Before the operating system's loader and after it.
  const std::uint32_t before = others * 3 / 4;
  for (std::uint32_t n = 0; n < before; ++n) event(n, n % 8);
  for (std::uint32_t pcr = 0; pcr < separators; ++pcr)
    append_event(w, pcr, eventlog::ev_separator, as_bytes(std::string_view("\0\0\0\0", 4)));
  for (std::uint32_t n = before; n < others; ++n) event(n, 8 + n % 2);
  return std::move(w).take();
}

void append_entry(Writer& w, const File& file) {
  Writer data;
  ima::append_ng_template_data(data, "sha256", file.digest.view(), file.path);
  w.put_le(std::uint32_t{10});
  w.put_bytes(digest_of(HashAlgorithm::sha1, data.view()).view());
  w.put_le(std::uint32_t{6});
  w.put_bytes(as_bytes(std::string_view("ima-ng")));
  w.put_le(std::uint32_t(data.view().size()));
  w.put_bytes(data.view());
}

// SHA-256 of PCRs 0 to 9 (kernel security/integrity/ima/ima_crypto.c, since 5.8).
Result<Digest> boot_aggregate(Bytes log) {
  GH_TRY(const auto key, endpoint::SigningKey::generate(endpoint::KeyAlgorithm::ecc));
  endpoint::SoftwareTpm tpm(key);
  GH_CHECK(tpm.extend_event_log(log));
  Hasher hasher(HashAlgorithm::sha256);
  hasher.start();
  for (std::uint32_t pcr = 0; pcr < 10; ++pcr) {
    GH_TRY(const Digest value, tpm.read_pcr(HashAlgorithm::sha256, pcr));
    hasher.update(value.view());
  }
  return hasher.finish();
}

}  // namespace

Result<std::vector<Image>> make_images(const Fleet& fleet, const std::string& references) {
  const std::size_t known = fleet.ima - fleet.unknown + fleet.more;
  GH_TRY(const auto files, known_files(fleet, references, 4 * known));
  if (files.size() < known)
    return fail(Error{Fault::usage,
                      "the product has too few references with SHA-256",
                      {},
                      0,
                      fleet.product,
                      std::to_string(files.size()) + " of " + std::to_string(known) + " that an image needs"});
  std::vector<Image> out;
  for (std::uint32_t image = 0; image < fleet.images; ++image) {
    Random random(fleet.seed * 1'000'003 + image + 1);
    std::vector<File> chosen;
    std::ranges::sample(files, std::back_inserter(chosen), std::ptrdiff_t(known), random);
    std::ranges::shuffle(chosen, random);
    const std::vector<File> more(chosen.end() - fleet.more, chosen.end());
    chosen.resize(chosen.size() - fleet.more);
    for (std::uint32_t n = 0; n < fleet.unknown; ++n) {
      const std::string path = "/opt/image" + std::to_string(image) + "/bin/local-" + std::to_string(n);
      chosen.push_back({path, digest_of(HashAlgorithm::sha256, as_bytes(path + " " + std::to_string(fleet.seed)))});
    }
    std::ranges::shuffle(chosen, random);
    Image made;
    made.log = firmware_log(fleet, image);
    GH_TRY(const Digest aggregate, boot_aggregate(made.log));
    Writer list, rest;
    append_entry(list, {std::string(ima::boot_aggregate), aggregate});
    for (const File& file : chosen) append_entry(list, file);
    for (const File& file : more) append_entry(rest, file);
    made.list = std::move(list).take();
    made.more = std::move(rest).take();
    out.push_back(std::move(made));
  }
  return out;
}

}  // namespace gatehouse::fleet
