// gatehouse-endpoint: the TNC client that runs on an endpoint and proves its state with its TPM 2.0.
#include <CLI/CLI.hpp>
#include <array>
#include <csignal>
#include <cstdio>
#include <exception>

#include "base/hex.h"
#include "endpoint/commands.h"

namespace gatehouse::endpoint {

int complain(const Error& error) {
  std::fprintf(stderr, "gatehouse-endpoint: %s\n", error.text().c_str());
  return exit_code(error.fault);
}

std::string json(std::string_view text) {
  std::string out = "\"";
  for (const char c : escaped(text, text.size())) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string json(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const std::string& one : list) out += (out.size() > 1 ? ", " : "") + json(one);
  return out + "]";
}

int print(const std::string& text, int code) {
  const bool good = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  return good ? code : 4;
}

}  // namespace gatehouse::endpoint

int main(int argc, char** argv) {
  using namespace gatehouse::endpoint;
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app{"Proves this machine's state to a TNC policy decision point (PT-TLS, TPM 2.0)."};
  app.set_version_flag("--version", "gatehouse-endpoint " GATEHOUSE_VERSION);
  app.require_subcommand(1);
  app.footer("Examples:\n"
             "  gatehouse-endpoint provision --tcti device:/dev/tpmrm0 --pem ak.pem\n"
             "  gatehouse-endpoint attest --server pdp.example.org:271 --ca ca.pem --certificate host.pem --key host.key\n"
             "  gatehouse-endpoint run --config /etc/gatehouse/endpoint.toml");
  const std::array<std::unique_ptr<Command>, 4> commands{attest_command(app), run_command(app), provision_command(app), enrol_command(app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  try {
    for (const auto& command : commands)
      if (command->app()->parsed()) return command->run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "gatehouse-endpoint: internal error: %s\n", e.what());
  }
  return 4;
}
