// Accounting (RFC 2866): what a request tells, and what isn't one.
#include "wire/radius/accounting.h"

#include <gtest/gtest.h>

#include <functional>

namespace gatehouse::radius {
namespace {

const Bytes accounting_secret = as_bytes("gv6URkSs");

ByteVector request(AcctStatus status, std::string_view session, const std::function<void(Builder&)>& more = [](Builder&) {}) {
  Builder b(Code::accounting_request, 7);
  b.add_number(type::acct_status_type, std::uint32_t(status));
  if (!session.empty()) b.add_text(type::acct_session_id, session);
  more(b);
  return *std::move(b).finish_signed_request(accounting_secret);
}

TEST(Accounting, TellsOfASession) {
  const ByteVector bytes = request(AcctStatus::interim, "1234-5", [](Builder& b) {
    b.add_text(type::user_name, "carol");
    b.add_text(type::calling_station_id, "192.0.2.7[4500]");
    b.add_text(type::nas_identifier, "moon");
    b.add_text(type::class_, "one");
    b.add_text(type::class_, "two");
    b.add_number(type::framed_ip_address, 0x0A030001);
    b.add_number(type::acct_input_octets, 0xFFFFFFFF);
    b.add_number(type::acct_input_gigawords, 2);
    b.add_number(type::acct_output_octets, 9);
    b.add_number(type::acct_session_time, 60);
  });
  const auto packet = parse_packet(bytes);
  ASSERT_TRUE(packet);
  EXPECT_TRUE(authentic_accounting(*packet, accounting_secret));
  const auto told = parse_accounting(*packet);
  ASSERT_TRUE(told) << told.error().text();
  EXPECT_EQ(told->status, AcctStatus::interim);
  EXPECT_EQ(told->session, "1234-5");
  EXPECT_EQ(told->user, "carol");
  EXPECT_EQ(told->station, "192.0.2.7[4500]");
  EXPECT_EQ(told->gateway, "moon");
  EXPECT_EQ(told->classes, (std::vector<std::string_view>{"one", "two"}));
  EXPECT_EQ(told->octets_in, (std::uint64_t(2) << 32) + 0xFFFFFFFF);
  EXPECT_EQ(told->octets_out, 9U);
  EXPECT_EQ(told->seconds, 60U);
  ASSERT_TRUE(told->framed_address);
  EXPECT_EQ(told->framed_address->front(), std::byte{10});
}

TEST(Accounting, AGatewaysOwnWordNeedsNoSession) {
  for (const AcctStatus status : {AcctStatus::on, AcctStatus::off}) {
    const ByteVector bytes = request(status, "");
    EXPECT_TRUE(parse_accounting(*parse_packet(bytes)));
  }
  for (const AcctStatus status : {AcctStatus::start, AcctStatus::stop, AcctStatus::interim}) {
    const ByteVector bytes = request(status, "");
    EXPECT_EQ(parse_accounting(*parse_packet(bytes)).error().reason, "no Acct-Session-Id");
  }
}

TEST(Accounting, WhatIsntAccountingIsRefused) {
  const ByteVector unknown = request(AcctStatus(15), "s");
  EXPECT_EQ(parse_accounting(*parse_packet(unknown)).error().reason, "an Acct-Status-Type that isn't known here");
  Builder b(Code::accounting_request, 1);
  b.add_text(type::acct_status_type, "12345");
  const ByteVector long_status = *std::move(b).finish_signed_request(accounting_secret);
  EXPECT_EQ(parse_accounting(*parse_packet(long_status)).error().reason, "no Acct-Status-Type");
  Builder access(Code::access_request, 1);
  const ByteVector other = *std::move(access).finish_request({}, accounting_secret);
  EXPECT_EQ(parse_accounting(*parse_packet(other)).error().fault, Fault::protocol);
}

TEST(Accounting, TheResponseHasTheProxyStatesAndNothingElse) {
  const ByteVector bytes = request(AcctStatus::start, "s", [](Builder& b) {
    b.add_text(type::proxy_state, "first");
    b.add_text(type::user_name, "carol");
    b.add_text(type::proxy_state, "second");
  });
  const auto asked = parse_packet(bytes);
  const auto made = accounting_response(*asked, accounting_secret);
  ASSERT_TRUE(made);
  const auto response = parse_packet(*made);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->code, Code::accounting_response);
  EXPECT_EQ(response->identifier, 7);
  EXPECT_TRUE(authentic_answer(*response, asked->authenticator, accounting_secret, false));
  EXPECT_FALSE(authentic_answer(*response, asked->authenticator, as_bytes("another"), false));
  ASSERT_EQ(response->attributes.size(), 2U);
  EXPECT_EQ(as_text(response->attributes[0].value), "first");
  EXPECT_EQ(as_text(response->attributes[1].value), "second");
}

}  // namespace
}  // namespace gatehouse::radius
