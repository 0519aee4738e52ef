#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/file.h"
#include "base/hex.h"
#include "base/x509.h"
#include "endpoint/agent.h"
#include "endpoint/commands.h"
#include "endpoint/imc/enrolment/enrolment_imc.h"
#include "endpoint/options.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::endpoint {
namespace {

// The certificates of a file, PEM or one in DER.
Result<std::vector<ByteVector>> certificates_in(const std::string& path) {
  constexpr std::size_t limit = 131'072;
  GH_TRY(const ByteVector file, read_file(path, limit));
  std::vector<ByteVector> out;
  std::string_view text = as_text(file);
  constexpr std::string_view mark = "-----BEGIN CERTIFICATE-----";
  if (text.find(mark) == std::string_view::npos) {
    GH_TRY(const Certificate one, Certificate::from_der(file));
    out.push_back(one.der());
    return out;
  }
  for (std::size_t at = text.find(mark); at != std::string_view::npos; at = text.find(mark, at + 1)) {
    auto one = Certificate::from_pem(text.substr(at));
    if (!one) return std::unexpected(std::move(one).error().from(path));
    out.push_back(one->der());
  }
  return out;
}

class Enrol final : public Command {
 public:
  explicit Enrol(CLI::App& parent)
      : app_(parent.add_subcommand("enrol", "Prove the attestation key to a policy decision point that expects this machine")) {
    add_options(*app_, options_);
    app_->add_option("--token-file", token_file_, "file whose first line is the token that `gatehouse device enrol` gave;\nwithout it the server has to know this TPM");
    app_->add_option("--ek-cert", ek_certificate_, "certificate of the endorsement key (EK), PEM or DER, with its chain\n(default: the TPM's)");
    app_->add_option("--ek-algorithm", algorithm_, "which endorsement key: auto (that with a certificate in the TPM), rsa, ecc")
        ->capture_default_str()
        ->check(CLI::IsMember({"auto", "rsa", "ecc"}));
    app_->add_flag("--show-ek", show_, "print the EK's SHA-256 and public key, for `gatehouse device enrol --ek`, and talk to nobody");
    app_->add_flag("--json", json_, "print one JSON object");
    app_->footer(
        "Examples:\n"
        "  gatehouse-endpoint provision --tcti device:/dev/tpmrm0\n"
        "  gatehouse-endpoint enrol --server pdp.example.org:271 --ca ca.pem --certificate host.pem --key host.key \\\n"
        "    --token-file token\n"
        "  gatehouse-endpoint enrol --tcti device:/dev/tpmrm0 --show-ek\n"
        "A new attestation key of the same TPM: make it at another handle, then enrol with --ak HANDLE and without a token.\n"
        "Exit code: 0 enrolled, 1 refused, 2 usage, 3 protocol error, 4 network, TLS, authentication or TPM.");
  }
  CLI::App* app() const override { return app_; }

  int run() override {
    const auto handle = parse_handle(options_.ak);
    if (!handle) return complain(handle.error());
    EnrolmentConfig config;
    config.vendor = options_.raw_vendor;
    EkAlgorithm algorithm = algorithm_ == "rsa" ? EkAlgorithm::rsa : algorithm_ == "ecc" ? EkAlgorithm::ecc : EkAlgorithm::automatic;
    if (const auto read = read_files(config, algorithm); !read) return complain(read.error());
    const auto tpm = open_activator(options_.tcti, *handle, algorithm);
    if (!tpm) return complain(tpm.error());
    if (show_) return show(**tpm);
    EnrolmentImc imc(std::move(config), **tpm);
    // Nothing else is told in this conversation.
    options_.imcs.clear();
    const auto agent = Agent::open(options_, {.also = &imc});
    if (!agent) return complain(agent.error());
    if (const auto connected = (*agent)->connect(); !connected) return complain(connected.error());
    const auto outcome = (*agent)->assess();
    for (const std::string& line : (*agent)->diagnostics()) std::fprintf(stderr, "gatehouse-endpoint: %s\n", escaped(line).c_str());
    // What was told counts, however the conversation ended afterwards.
    if (!imc.told() && !outcome) return complain(outcome.error());
    if (!imc.told()) return complain(Error{Fault::protocol, "the server doesn't know of enrolments", "docs/formats/enrolment.md", 0, options_.server, {}});
    return report(*imc.told(), **tpm);
  }

 private:
  Result<void> read_files(EnrolmentConfig& config, EkAlgorithm& algorithm) const {
    if (!token_file_.empty()) {
      GH_TRY(const Secret line, read_secret_file(token_file_));
      auto token = enrolment::parse_token(as_text(line.reveal()));
      if (!token) return std::unexpected(std::move(token).error().from(token_file_));
      config.token = *std::move(token);
    }
    if (ek_certificate_.empty()) return {};
    GH_TRY(auto all, certificates_in(ek_certificate_));
    config.certificate = std::move(all.front());
    config.chain.assign(std::make_move_iterator(all.begin() + 1), std::make_move_iterator(all.end()));
    GH_TRY(const Certificate certificate, Certificate::from_der(config.certificate));
    if (algorithm == EkAlgorithm::automatic) algorithm = certificate.key().type() == KeyType::rsa ? EkAlgorithm::rsa : EkAlgorithm::ecc;
    return {};
  }

  int show(const Activator& tpm) const {
    const auto area = tpm::parse_public(tpm.endorsement().public_area);
    if (!area) return complain(area.error());
    const std::string& pin = area->key.pin();
    const bool certified = !tpm.endorsement().certificate.empty();
    if (json_) return print("{\"ek\": " + json(pin) + ", \"certificate\": " + (certified ? "true" : "false") + "}\n", 0);
    return print(area->key.pem() + "EK (SHA-256): " + pin + "\ncertificate in the TPM: " + (certified ? "yes" : "no") + "\n", 0);
  }

  int report(const EnrolmentImc::Told& told, const Activator& tpm) const {
    const bool good = told.code == enrolment::Code::enrolled;
    const auto area = tpm::parse_public(tpm.ak_public());
    const std::string key_id = area ? area->key.key_id() : std::string();
    if (json_)
      return print("{\"outcome\": " + json(enrolment::name(told.code)) + ", \"device\": " + json(told.device) + ", \"key_id\": " + json(key_id) +
                       ", \"reason\": " + json(told.text) + "}\n",
                   good ? 0 : 1);
    if (!good) return print("refused (" + std::string(enrolment::name(told.code)) + "): " + escaped(told.text) + "\n", 1);
    return print("enrolled as " + escaped(told.device) + "\nkey id: " + key_id +
                     (told.device == key_id ? "\n" : "\nattest and run need --device-id " + escaped(told.device) + "\n"),
                 0);
  }

  CLI::App* app_;
  Options options_;
  std::string token_file_, ek_certificate_, algorithm_ = "auto";
  bool show_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Command> enrol_command(CLI::App& app) { return std::make_unique<Enrol>(app); }

}  // namespace gatehouse::endpoint
