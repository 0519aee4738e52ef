// What of SASL may be on disk: who, not with what.
#include <gtest/gtest.h>

#include "server/trace/recorder.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::trace {
namespace {

ByteVector message(pttls::Type type, Bytes value) {
  Writer w;
  pttls::append_message(w, type, 3, value);
  return std::move(w).take();
}
ByteVector selection(std::string_view mechanism, Bytes response) {
  Writer w;
  pttls::append_selection(w, {mechanism, response});
  return message(pttls::Type::sasl_selection, w.view());
}
std::string value_of(const ByteVector& whole) {
  Reader r(whole, "PT-TLS");
  EXPECT_TRUE(r.skip(8));
  EXPECT_EQ(*r.get<std::uint32_t>(), whole.size());  // still a message
  return std::string(as_text(Bytes(whole).subspan(pttls::header_size)));
}

TEST(Mask, PlainKeepsTheUserAndNotTheLengthOfThePassword) {
  for (const char* password : {"x", "a longer password than that"}) {
    std::string mechanism;
    const ByteVector kept = masked(selection("PLAIN", pttls::plain_message("carol", password)), mechanism);
    EXPECT_EQ(value_of(kept), std::string("\x05PLAIN\0carol\0********", 21));
  }
}

TEST(Mask, PlainInDataAndMalformedPlainLoseWhatMayBeAPassword) {
  std::string mechanism;
  (void)masked(selection("PLAIN", {}), mechanism);
  EXPECT_EQ(value_of(masked(message(pttls::Type::sasl_data, pttls::plain_message("carol", "secret")), mechanism)),
            std::string("\0carol\0********", 15));
  EXPECT_EQ(value_of(masked(message(pttls::Type::sasl_data, as_bytes("carol secret")), mechanism)), "********");
  std::string unknown;
  EXPECT_EQ(value_of(masked(selection("LOGIN", as_bytes("secret")), unknown)), "\x05LOGIN********");
  EXPECT_EQ(value_of(masked(message(pttls::Type::sasl_selection, as_bytes("\xffsecret")), unknown)), "********");
}

TEST(Mask, ScramLosesProofAndSignature) {
  std::string mechanism;
  const ByteVector first = selection("SCRAM-SHA-256", as_bytes("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
  EXPECT_EQ(masked(first, mechanism), first);
  EXPECT_EQ(value_of(masked(message(pttls::Type::sasl_data,
                                    as_bytes("c=biws,r=abc,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")),
                            mechanism)),
            "c=biws,r=abc,p=********");
  Writer result;
  pttls::append_sasl_result(result, pttls::SaslResult::success, pttls::ResultWidth::automatic,
                            as_bytes("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
  EXPECT_EQ(value_of(masked(message(pttls::Type::sasl_result, result.view()), mechanism)),
            std::string("\0\0v=********", 12));
  std::string plus;
  const ByteVector binding = selection("SCRAM-SHA-256-PLUS", as_bytes("p=tls-exporter,,n=user,r=abc"));
  EXPECT_EQ(masked(binding, plus), binding);
}

TEST(Mask, ErrorsAndUnknownMessagesKeepNoCopy) {
  std::string mechanism;
  const ByteVector plain = selection("PLAIN", pttls::plain_message("carol", "secret"));
  Writer error;
  pttls::append_error(error, pttls::ErrorCode::invalid_message, plain);
  const std::string kept = value_of(masked(message(pttls::Type::error, error.view()), mechanism));
  EXPECT_EQ(kept.find("secret"), std::string::npos);
  EXPECT_EQ(kept.size(), 8 + pttls::header_size);
  Writer vendor;
  vendor.put(std::uint32_t{0x902A});
  vendor.put(std::uint32_t{1});
  vendor.put(std::uint32_t{22});
  vendor.put(std::uint32_t{0});
  vendor.put_text("secret");
  EXPECT_EQ(value_of(masked(vendor.view(), mechanism)), "");
}

TEST(Mask, BatchesStayAsTheyAre) {
  std::string mechanism;
  const ByteVector batch = message(pttls::Type::pb_tnc_batch, as_bytes("anything"));
  EXPECT_EQ(masked(batch, mechanism), batch);
}

}  // namespace
}  // namespace gatehouse::trace
