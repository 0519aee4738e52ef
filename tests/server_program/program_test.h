// The server's and the endpoint's program, and a software TPM that was started as firmware and kernel leave one.
#pragma once

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "tests/server_program/site.h"

namespace gatehouse::test {

using endpoint::test::run;
using endpoint::test::Swtpm;

class ProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    if (!Swtpm::installed()) GTEST_SKIP() << "swtpm isn't installed: nothing was tested";
  }
  // Starts a TPM as firmware and kernel leave it, with an AK; the Device ID.
  std::string boot(const Swtpm& tpm, const std::string& list, const std::string& algorithm) {
    const auto extended = run(std::string(GATEHOUSE_TPM_EXTEND) + " --tcti " + tpm.tcti() + " --swtpm-ctrl " + tpm.control_path() +
                              " --startup-locality 3 --eventlog " + log_file() + " --ima " + list);
    EXPECT_EQ(extended.code, 0) << extended.out;
    const auto made = run(std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " provision --json --tcti " + tpm.tcti() + " --algorithm " + algorithm +
                          " --pem '" + site.path("ak.pem") + "'");
    EXPECT_EQ(made.code, 0) << made.out;
    return std::string(boost::json::parse(made.out).as_object().at("key_id").as_string());
  }
  endpoint::test::Ran attest(const Swtpm& tpm, std::uint16_t port, const std::string& list, const std::string& identity, const std::string& environment = {}) {
    return run(environment + " " + GATEHOUSE_ENDPOINT_PROGRAM + " attest --verbose --server localhost:" + std::to_string(port) + " --ca '" +
               site.authority.certificate() + "' " + identity + " --tcti " + tpm.tcti() + " --eventlog " + log_file() + " --ima " + list +
               " --os-name Debian --os-version '12 x86_64' --inventory '" + site.path("inventory") + "'");
  }
  std::string certificate() const { return "--certificate '" + site.path("client.pem") + "' --key '" + site.path("client.key") + "'"; }
  boost::json::object last_verdict() {
    const auto listed = site.gatehouse("session list --last 1 --json");
    EXPECT_EQ(listed.code, 0) << listed.out;
    return boost::json::parse(listed.out).as_object();
  }
  static std::string check(const boost::json::object& verdict, const char* code) {
    return std::string(verdict.at("checks").as_object().at(code).as_string());
  }
  static std::string log_file() { return interop("evidence/base/binary_bios_measurements"); }
  static std::string list_file() { return interop("evidence/base/binary_runtime_measurements"); }

  Site site;
};

}  // namespace gatehouse::test
