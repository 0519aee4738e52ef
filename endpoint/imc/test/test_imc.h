// The Test IMC, ITA-HSR's subtype Test (spec part 1b §2.1): says what the Test IMV shall recommend. For acceptance
// scenarios; a real endpoint has none.
#pragma once

#include <string>

#include "endpoint/imc/imc.h"

namespace gatehouse::endpoint {

struct TestConfig {
  std::string command = "none";  // what the IMV shall recommend: "allow", "isolate", "block", "none"
  std::string retry_command;   // the command of a second handshake, asked for after another verdict than allow; empty:
                               // none is asked for
  std::size_t dummy_size = 0;  // of a Dummy besides the first command: tests long attributes
};

class TestImc final : public Imc {
 public:
  explicit TestImc(TestConfig config) : config_(std::move(config)) {}
  std::uint16_t id() const override { return 5; }
  std::uint32_t vendor() const override { return patnc::vendor_ita; }
  std::uint32_t subtype() const override { return 1; }
  patnc::Supported supported() const override;
  Result<void> begin(Packer& out) override;
  Result<void> receive(const patnc::Attribute& attribute, Packer& out) override;
  bool wants_retry(Recommendation verdict) override;

 private:
  Result<void> tell(Packer& out) const;
  Result<void> add_dummy(Packer& out);
  TestConfig config_;
  bool retried_ = false, dummy_due_ = false;
};

}  // namespace gatehouse::endpoint
