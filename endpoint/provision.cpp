#include <CLI/CLI.hpp>

#include "base/file.h"
#include "base/hex.h"
#include "endpoint/commands.h"
#include "endpoint/options.h"
#include "endpoint/tpm/esys.h"

namespace gatehouse::endpoint {
namespace {

class Provision final : public Command {
 public:
  explicit Provision(CLI::App& parent) : app_(parent.add_subcommand("provision", "Make an attestation key in the TPM, or show the one that is there")) {
    app_->add_option("--tcti", tcti_, "how to reach the TPM, e.g. device:/dev/tpmrm0 (default: tpm2-tss's)");
    app_->add_option("--algorithm", algorithm_, "rsa (RSASSA, 2048 bits), rsapss or ecc (ECDSA, P-256)")
        ->capture_default_str()
        ->check(CLI::IsMember({"rsa", "rsapss", "ecc"}));
    app_->add_option("--handle", handle_, "persistent handle of the key")->capture_default_str();
    app_->add_option("--hierarchy", hierarchy_, "owner or endorsement: what the key's primary key belongs to")
        ->capture_default_str()
        ->check(CLI::IsMember({"owner", "endorsement"}));
    app_->add_option("--pem", pem_, "write the public key to this file (PEM)");
    app_->add_option("--tpm2b", tpm2b_, "write the key's TPM2B_PUBLIC to this file");
    app_->add_flag("--replace", replace_, "replace the key that is at the handle; the device then has another Device ID");
    app_->add_flag("--json", json_, "print one JSON object");
    app_->footer("Examples:\n"
                 "  gatehouse-endpoint provision --tcti device:/dev/tpmrm0 --pem ak.pem\n"
                 "  gatehouse-endpoint provision --tcti swtpm:host=127.0.0.1,port=2321 --algorithm ecc --json\n"
                 "Enrol the key at the server: gatehouse device add KEY-ID --ak ak.pem --trust\n"
                 "Exit code: 0 done, 2 usage, 4 the TPM or a file failed.");
  }
  CLI::App* app() const override { return app_; }

  int run() override {
    const auto handle = parse_handle(handle_);
    if (!handle) return complain(handle.error());
    ProvisionOptions options;
    options.algorithm = algorithm_ == "ecc" ? KeyAlgorithm::ecc : algorithm_ == "rsapss" ? KeyAlgorithm::rsapss : KeyAlgorithm::rsassa;
    options.handle = *handle;
    options.hierarchy = hierarchy_ == "owner" ? Hierarchy::owner : Hierarchy::endorsement;
    options.replace = replace_;
    const auto key = provision(tcti_, options);
    if (!key) return complain(key.error());
    if (!pem_.empty())
      if (const auto written = write_file_atomically(pem_, as_bytes(key->key.pem())); !written) return complain(written.error());
    if (!tpm2b_.empty())
      if (const auto written = write_file_atomically(tpm2b_, key->tpm2b_public); !written) return complain(written.error());
    return print(json_ ? object(*key) : text(*key), 0);
  }

 private:
  static std::string kind(const Provisioned& key) { return key.key.type() == KeyType::rsa ? "rsa" : "ecc"; }
  static std::string object(const Provisioned& key) {
    return "{\"key_id\": " + json(key.key.key_id()) + ", \"handle\": " + json(handle_text(key.handle)) + ", \"type\": " + json(kind(key)) +
           ", \"bits\": " + std::to_string(key.key.bits()) + ", \"made\": " + (key.made ? "true" : "false") + ", \"pin\": " + json(key.key.pin()) +
           ", \"name\": " + json(to_hex(key.name)) + ", \"qualified_name\": " + json(to_hex(key.qualified_name)) +
           ", \"tpm2b_public\": " + json(to_hex(key.tpm2b_public)) + ", \"pem\": " + pem_json(key.key.pem()) + "}\n";
  }
  // escaped() would show line ends as \x0A.
  static std::string pem_json(const std::string& pem) {
    std::string out = "\"";
    for (const char c : pem) out += c == '\n' ? std::string("\\n") : std::string(1, c);
    return out + "\"";
  }
  static std::string text(const Provisioned& key) {
    return key.key.pem() + "key id (Device ID): " + key.key.key_id() + "\nhandle: " + handle_text(key.handle) + (key.made ? "\n" : " (the key was there)\n");
  }

  CLI::App* app_;
  std::string tcti_, algorithm_ = "rsa", handle_ = handle_text(default_ak_handle), hierarchy_ = "owner", pem_, tpm2b_;
  bool replace_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Command> provision_command(CLI::App& app) { return std::make_unique<Provision>(app); }

}  // namespace gatehouse::endpoint
