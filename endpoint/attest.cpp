#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/hex.h"
#include "endpoint/agent.h"
#include "endpoint/commands.h"
#include "endpoint/report.h"

namespace gatehouse::endpoint {
namespace {

class Attest final : public Command {
 public:
  explicit Attest(CLI::App& parent)
      : app_(parent.add_subcommand("attest", "One assessment by a policy decision point")) {
    add_options(*app_, options_);
    app_->add_flag("--json", json_, "print one JSON object");
    app_->footer(
        "Examples:\n"
        "  gatehouse-endpoint attest --server pdp.example.org:271 --ca ca.pem --certificate host.pem --key host.key\n"
        "  gatehouse-endpoint attest --server [2001:db8::1]:271 --ca ca.pem --user host1 --password-file host1.secret "
        "\\\n"
        "    --tcti swtpm:host=127.0.0.1,port=2321 --eventlog boot.bin --ima ima.bin --json\n"
        "  gatehouse-endpoint attest --radius pdp.example.org:1812 --secret-file radius.secret --ca ca.pem \\\n"
        "    --user carol --password-file carol.secret\n"
        "Prints the access recommendation. Exit code: 0 allow, 1 another recommendation, 2 usage, 3 protocol error or\n"
        "malformed list, 4 network, TLS, authentication or TPM.");
  }
  CLI::App* app() const override { return app_; }

  int run() override {
    const auto agent = Agent::open(options_, {});
    if (!agent) return complain(agent.error());
    if (const auto connected = (*agent)->connect(); !connected) return complain(connected.error());
    const auto outcome = (*agent)->assess();
    const std::vector<std::string> warnings = (*agent)->diagnostics();
    for (const std::string& line : warnings) std::fprintf(stderr, "gatehouse-endpoint: %s\n", escaped(line).c_str());
    if (!outcome) return complain(outcome.error());
    const std::vector<std::string>& told = (*agent)->gateway_told();
    return print(json_ ? outcome_json(*outcome, (*agent)->device(), warnings, told) + "\n" : outcome_text(*outcome, told),
                 outcome->recommendation == Recommendation::allow ? 0 : 1);
  }

 private:
  CLI::App* app_;
  Options options_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> attest_command(CLI::App& app) { return std::make_unique<Attest>(app); }

}  // namespace gatehouse::endpoint
