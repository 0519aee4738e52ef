// Of `gatehouse device`: enrolments by credential activation.
#include <iostream>

#include "base/file.h"
#include "base/hex.h"
#include "base/public_key.h"
#include "cli/device_life.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::cli {

namespace json = boost::json;

namespace {

struct Options {
  StateOptionsOfCommand where;
  AuthorOptions author;
  // Absent and empty are told apart: a variable of a script that is empty mustn't leave out a condition.
  std::optional<std::string> device, product, model, identity, ek;
  std::string open_for = "1h", token_file, close;
  bool keep_keys = false;
};

// The SHA-256 of an EK: as it is, or of the key in a file.
Result<std::string> pin_of(const std::string& given) {
  if (given.size() == 64 && given.find_first_not_of("0123456789abcdef") == std::string::npos) return given;
  constexpr std::size_t limit = 65'536;
  GH_TRY(const ByteVector file, read_file(given, limit));
  if (as_text(file).find("-----BEGIN") != std::string_view::npos) {
    const auto key = PublicKey::from_pem(as_text(file));
    if (!key) return fail(Error(key.error()).from(given));
    return key->pin();
  }
  if (const auto certificate = PublicKey::from_certificate(file)) return certificate->pin();
  const auto area = tpm::parse_public(file);
  if (!area)
    return fail(Error{Fault::usage, "an EK is a SHA-256 in hex, or a file with a public key, a certificate or a TPM2B_PUBLIC", {}, 0, given,
                      area.error().text()});
  return area->key.pin();
}

int run_enrol(const Options& options) {
  json::object request;
  request["command"] = "device.enrol";
  if (options.device) request["device"] = *options.device;
  if (options.product) request["product"] = *options.product;
  if (options.model) request["model"] = *options.model;
  if (options.identity) request["identity"] = *options.identity;
  if (options.ek) {
    const auto pin = pin_of(*options.ek);
    if (!pin) return complain(pin.error());
    request["ek"] = *pin;
  }
  if (options.keep_keys) request["keep_keys"] = true;
  const auto seconds = seconds_of(options.open_for);
  if (!seconds) return complain(Error{Fault::usage, "a time is a number with s, m, h or d behind it, such as 1h", {}, 0, {}, options.open_for});
  request["seconds"] = *seconds;
  options.author.put(request);
  auto access = options.where.open(true);
  if (!access) return complain(access.error());
  const auto response = ask(*access, request);
  if (!response) return complain(response.error());
  const json::value* const item = response->if_contains("item");
  if (item == nullptr || !item->is_object()) return complain(Error{Fault::internal, "the answer has no enrolment", "docs/formats/control.md", 0, {}, {}});
  json::object offer = item->get_object();
  const std::string token = shown(offer, "token");
  if (!options.token_file.empty()) {
    if (const auto written = write_file_atomically(options.token_file, as_bytes(token + "\n"), 0600); !written) {
      // Nobody has the token, so nobody is expected.
      json::object close;
      close["command"] = "device.enrol.close";
      close["id"] = shown(offer, "id");
      (void)ask(*access, close);
      return complain(written.error());
    }
    offer.erase("token");
    offer["token_file"] = options.token_file;
  }
  if (options.where.json)
    std::cout << json::serialize(offer) << '\n';
  else
    std::cout << (options.token_file.empty() ? token : "token in " + options.token_file) << "\nenrolment " << shown(offer, "id") << " of "
              << (shown(offer, "device") == "-" ? "a device named by its AK" : "device " + shown(offer, "device")) << ", until " << shown(offer, "until")
              << "\n";
  return flushed();
}

int run_enrolments(const Options& options) {
  json::object request;
  if (!options.close.empty()) {
    request["command"] = "device.enrol.close";
    request["id"] = options.close;
    return run_one(options.where, false, request, [](const json::object&) { std::cout << "closed\n"; });
  }
  request["command"] = "device.enrolments";
  return run_list(options.where, request, "after", [](const json::object& one) {
    std::cout << shown(one, "id") << "  " << shown(one, "device") << "  until " << shown(one, "until") << (shown(one, "open") == "true" ? "" : " (over)")
              << "  by " << shown(one, "by");
    if (shown(one, "why") != "-") std::cout << "  (" << shown(one, "why") << ')';
    std::cout << '\n';
  });
}

}  // namespace

void add_device_enrol(CLI::App& group, Run& run) {
  const auto options = std::make_shared<Options>();
  CLI::App* const enrol = group.add_subcommand("enrol", "Expect a device: its TPM proves its AK to the server, by a token that is used once");
  options->where.add_to(*enrol);
  options->author.add_to(*enrol);
  enrol->add_option("DEVICE", options->device, "Device ID; without it the key id of the device's AK becomes it");
  enrol->add_option("--product", options->product, "product that its references are under");
  enrol->add_option("--model", options->model, "group of devices that get the same firmware");
  enrol->add_option("--identity", options->identity, "authenticated identity that the endpoint must have, and is bound to");
  enrol->add_option("--ek", options->ek,
                    "the TPM's endorsement key: its SHA-256 in hex, or a file (PEM, certificate, TPM2B_PUBLIC); "
                    "without it, its certificate has to be of one of the CAs in attestation.ek_ca");
  enrol->add_flag("--keep-keys", options->keep_keys, "AKs of the device that were activated before stay trusted");
  enrol->add_option("--for", options->open_for, "how long the token counts, at most 30d")->capture_default_str();
  enrol->add_option("--token-file", options->token_file, "write the token to this file (mode 0600) instead of printing it");
  enrol->footer("Example:\n  gatehouse device enrol laptop-17 --product \"Debian 12 x86_64\" --why \"ticket 4711\" --state state\n"
                "On the device: gatehouse-endpoint enrol --server pdp.example.org:271 --token-file token …");
  enrol->callback([options, &run] { run = [options] { return run_enrol(*options); }; });
  CLI::App* const list = group.add_subcommand("enrolments", "Devices that are expected");
  options->where.add_to(*list);
  list->add_option("--close", options->close, "close this one: its token doesn't count any longer");
  list->footer("Example:\n  gatehouse device enrolments --state state");
  list->callback([options, &run] { run = [options] { return run_enrolments(*options); }; });
}

}  // namespace gatehouse::cli
