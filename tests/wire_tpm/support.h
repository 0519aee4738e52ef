// The worked example of spec part 2 §11.4 and §11.5: one quote, its signature and the key that made it.
#pragma once

#include <gtest/gtest.h>

#include "base/hex.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::testing {

inline ByteVector hex(std::string_view digits) {
  auto bytes = from_hex(digits);
  EXPECT_TRUE(bytes) << digits;
  return bytes ? *std::move(bytes) : ByteVector();
}

inline constexpr std::string_view example_nonce = "b355031272b48ff16f3923de20d6eea3d2354af2fdb2d17f2716df4430123da0";
inline constexpr std::string_view example_signer =
    "000b6615659c4a95e9f940e85236c5484953afdd4f88ad0619319b9366e0d19d6a1c";
inline constexpr std::string_view example_digest = "4923eaabae0f642b6463bcfd60153e8f29c8cd3740429c4fece9b0dcf099deec";
inline constexpr std::string_view example_r = "954b6ec7f4d19719b78b9f95b49463df316c9eb838550dcb74078a370290b360";
inline constexpr std::string_view example_s = "9499371c3be85dfdf254d67a69241762f47f40b3d4b2397bccd622989420345a";
inline constexpr std::string_view example_x = "e474f0b966e8603a5bf65c47d49b4892d77b0fd03d3e77752b39cd20bc4c6a09";
inline constexpr std::string_view example_y = "4349fb24d4fa5e44bdb86a3c0d8a8e810d5c2d86cca858fc11cf3b17e74bd1d3";

// TPMS_ATTEST, 145 bytes.
inline const std::string attest_hex = std::string("ff5443478018") + "0022" + std::string(example_signer) + "0020" +
                                      std::string(example_nonce) + "0000000000047063" + "00000002" + "00000000" + "01" +
                                      "2019102300163636" + "00000001000b03ff4700" + "0020" +
                                      std::string(example_digest);
// TPMT_SIGNATURE, 72 bytes.
inline const std::string signature_hex = "0018000b0020" + std::string(example_r) + "0020" + std::string(example_s);
// TPMT_PUBLIC, 88 bytes.
inline const std::string public_hex =
    "0023000b0005007200000010"
    "0018000b00030010"
    "0020" +
    std::string(example_x) + "0020" + std::string(example_y);

}  // namespace gatehouse::testing
