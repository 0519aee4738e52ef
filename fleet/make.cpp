#include <sys/stat.h>

#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>

#include "base/file.h"
#include "endpoint/tpm/software.h"
#include "fleet/fleet.h"
#include "fleet/progress.h"
#include "wire/eventlog/eventlog.h"

namespace gatehouse::fleet {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

std::string_view ak_name(endpoint::KeyAlgorithm ak) { return ak == endpoint::KeyAlgorithm::ecc ? "ecc" : "rsa"; }

Result<void> make_folder(const std::string& path) {
  std::error_code ec;
  fs::create_directories(path, ec);
  if (ec) return fail(Error{Fault::environment, "can't make the folder", {}, 0, path, ec.message()});
  return {};
}

// Each number from 0 in some thread. The first error ends it.
template <class Work>
Result<void> for_each(std::uint32_t count, unsigned threads, bool quiet, const Work& work) {
  std::optional<Progress> progress;
  if (!quiet) progress.emplace("attestation keys and certificates", count);
  std::atomic<std::uint32_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  Result<void> out;
  {
    std::vector<std::jthread> workers;
    for (unsigned t = 0; t < threads; ++t)
      workers.emplace_back([&] {
        for (std::uint32_t i; !stop && (i = next++) < count;) {
          if (auto done = work(i); !done) {
            const std::lock_guard lock(mutex);
            out = std::unexpected(std::move(done).error());
            stop = true;
          }
          if (progress) progress->add(1);
        }
      });
  }
  return out;
}

// The device's own key: read where it is there.
Result<PublicKey> attestation_key(const Fleet& fleet, std::uint32_t endpoint) {
  const std::string path = fleet.key(endpoint);
  if (const auto there = read_file(path, 65'536)) {
    GH_TRY(const auto key, endpoint::SigningKey::from_pem(as_text(*there)));
    const bool ecc = key->key().type() != KeyType::rsa;
    if (ecc != (fleet.ak == endpoint::KeyAlgorithm::ecc))
      return fail(Error{Fault::usage, "the key is of another algorithm than --ak says", {}, 0, path, {}});
    return key->key();
  }
  GH_TRY(const auto key, endpoint::SigningKey::generate(fleet.ak));
  GH_CHECK(write_file_atomically(path, as_bytes(key->pem()), 0600));
  return key->key();
}

// {"bank": "sha256", "pcrs": {"0": ["..."]}} of a firmware log.
Result<json::object> baseline_of(Bytes log) {
  json::object pcrs;
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  for (;;) {
    GH_TRY(const eventlog::Event* const event, cursor.next());
    if (event == nullptr) break;
    const auto* const digest = event->digest(HashAlgorithm::sha256);
    if (!event->extends() || digest == nullptr) continue;
    json::value& list = pcrs[std::to_string(event->pcr)];
    if (!list.is_array()) list.emplace_array();
    list.get_array().emplace_back(Digest(digest->value).hex());
  }
  json::object out;
  out["bank"] = "sha256";
  out["pcrs"] = std::move(pcrs);
  return out;
}

json::object facts(const Fleet& f) {
  json::object out;
  out["endpoints"] = f.endpoints;
  out["images"] = f.images;
  out["ak"] = ak_name(f.ak);
  out["boot"] = f.boot;
  out["ima"] = f.ima;
  out["unknown"] = f.unknown;
  out["more"] = f.more;
  out["product"] = f.product;
  out["seed"] = f.seed;
  return out;
}

}  // namespace

std::string Fleet::number(std::uint32_t endpoint) {
  std::string digits = std::to_string(endpoint);
  if (digits.size() < 6) digits.insert(0, 6 - digits.size(), '0');
  return digits;
}

Result<Fleet> load_fleet(const std::string& folder) {
  Fleet out{.folder = folder, .keys = {}, .product = {}};
  const std::string path = out.path("fleet.json");
  GH_TRY(const ByteVector text, read_file(path, 65'536));
  const auto bad = [&](std::string_view what) { return fail(Error{Fault::malformed, what, {}, 0, path, {}}); };
  boost::system::error_code ec;
  const json::value value = json::parse(as_text(text), ec);
  const json::object* const o = ec ? nullptr : value.if_object();
  if (o == nullptr) return bad("not a fleet's description");
  const auto number = [&](const char* name, auto& to) {
    const json::value* const v = o->if_contains(name);
    boost::system::error_code none;
    const auto n = v == nullptr ? 0 : v->to_number<std::uint64_t>(none);
    if (v == nullptr || none || n > std::numeric_limits<std::remove_reference_t<decltype(to)>>::max()) return false;
    to = static_cast<std::remove_reference_t<decltype(to)>>(n);
    return true;
  };
  const auto text_of = [&](const char* name) {
    const json::value* const v = o->if_contains(name);
    return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
  };
  std::uint64_t made = 0;
  if (!number("endpoints", out.endpoints) || !number("images", out.images) || !number("boot", out.boot) ||
      !number("ima", out.ima) || !number("unknown", out.unknown) || !number("more", out.more) ||
      !number("seed", out.seed) || !number("made", made) || out.endpoints == 0 || out.images == 0)
    return bad("a number is missing");
  out.made = std::int64_t(made);
  out.product = text_of("product");
  out.keys = text_of("keys");
  out.ak = text_of("ak") == "ecc" ? endpoint::KeyAlgorithm::ecc : endpoint::KeyAlgorithm::rsassa;
  if (out.keys.empty()) return bad("the folder of keys is missing");
  return out;
}

Result<void> save_fleet(const Fleet& fleet) {
  json::object o = facts(fleet);
  o["keys"] = fleet.keys;
  o["made"] = fleet.made;
  return write_file_atomically(fleet.path("fleet.json"), as_bytes(json::serialize(o) + "\n"));
}

Result<void> make_fleet(const MakeOptions& options) {
  Fleet fleet = options.fleet;
  const unsigned threads = options.threads != 0 ? options.threads : std::max(std::thread::hardware_concurrency(), 1U);
  if (auto there = load_fleet(fleet.folder)) {
    if (facts(*there) != facts(fleet) || there->keys != fleet.keys)
      return fail(Error{Fault::usage, "there is a fleet that was made otherwise", {}, 0, fleet.folder, {}});
    fleet.made = there->made;  // the clocks go on
  } else {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    fleet.made = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  }
  GH_TRY(const auto images, make_images(fleet, options.references));
  GH_CHECK(make_folder(fleet.keys));
  GH_CHECK(make_folder(fleet.path("clients")));
  std::vector<json::object> baselines;
  for (std::uint32_t i = 0; i < fleet.images; ++i) {
    GH_CHECK(make_folder(fleet.path("images/" + std::to_string(i))));
    GH_CHECK(write_file_atomically(fleet.image(i, "firmware.log"), images[i].log));
    GH_CHECK(write_file_atomically(fleet.image(i, "ima.list"), images[i].list));
    GH_CHECK(write_file_atomically(fleet.image(i, "ima.more"), images[i].more));
    GH_TRY(json::object baseline, baseline_of(images[i].log));
    baselines.push_back(std::move(baseline));
  }
  GH_TRY(const ClientCa ca, ClientCa::open(fleet));
  std::vector<std::string> devices(fleet.endpoints);
  GH_CHECK(
      for_each(fleet.endpoints, threads, options.quiet, [&](std::uint32_t i) -> Result<void> {
        GH_TRY(const PublicKey key, attestation_key(fleet, i));
        json::object device;
        device["device"] = key.key_id();
        device["ak"] = key.pem();
        device["product"] = fleet.product;
        device["trust"] = true;
        device["baseline"] = baselines[fleet.image_of(i)];
        devices[i] = json::serialize(device) + "\n";
        struct stat there {};
        if (::stat(fleet.client(i).c_str(), &there) == 0) return {};
        GH_TRY(const std::string certificate, ca.issue("endpoint-" + Fleet::number(i), i + 2U));
        return write_file_atomically(fleet.client(i), as_bytes(certificate), 0600);
      }));
  std::string lines;
  for (const std::string& device : devices) lines += device;
  GH_CHECK(write_file_atomically(fleet.path("devices.jsonl"), as_bytes(lines)));
  return save_fleet(fleet);
}

}  // namespace gatehouse::fleet
