// Our own segmentation contracts: one for each subtype, in its first message (spec part 1b §3.3, §3.8).
#include "harness.h"

namespace gatehouse::endpoint::test {
namespace {

using pbtnc::BatchType;

std::vector<std::string> contracts(const ByteVector& batch) {
  std::vector<std::string> out;
  for (const PaRecord& r : pa_records(batch))
    for (const OwnAttribute& a : r.attributes)
      if (is_contract_request(a)) out.push_back(std::to_string(r.subtype) + " " + to_hex(a.value));
  return out;
}

struct Endpoint {
  explicit Endpoint(std::size_t max_batch) : collectors({&os, &attestation}, config(max_batch)) {}
  static Session::Config config(std::size_t max_batch) {
    Session::Config c;
    c.tnc.max_batch = max_batch;
    c.tnc.keep = true;
    return c;
  }
  SoftwareTpm tpm{signing_key(KeyAlgorithm::ecc)};
  FixedEvidence source{nullptr, nullptr, 0, {}};
  OsImc os{OsInfo{}};
  AttestationImc attestation{{}, tpm, source};
  Collectors collectors;
};

TEST(Contract, says_what_a_message_of_this_transport_holds) {
  // The sizes of the standard transports (spec part 1b §3.4).
  for (const auto& [max_batch, segment] :
       {std::pair{65'522U, "0000ffba"}, std::pair{32'754U, "00007fba"}, std::pair{2'097'136U, "001fffb8"}}) {
    Endpoint e(max_batch);
    EXPECT_EQ(contracts(e.collectors.server.batches[0]), std::vector<std::string>{std::string("1 ffffffff") + segment});
  }
}

// The PTS collector speaks when it is spoken to; its contract goes along, behind the answer to the server's.
TEST(Contract, of_a_silent_collector_goes_with_its_first_answer_and_once) {
  Endpoint e(65'522);
  Writer capabilities;
  pts::append_capabilities(capabilities, 0x000E);
  const auto ask = attribute(patnc::vendor_tcg, pts::type::request_capabilities, capabilities.view());
  e.collectors.server.send_attributes(patnc::vendor_tcg, 1, {contract_request(patnc::unlimited, 1000), ask});
  const auto said = pa_records(e.collectors.server.batches.back());
  ASSERT_EQ(said.size(), 1U);
  ASSERT_GE(said[0].attributes.size(), 3U);
  EXPECT_TRUE(said[0].attributes[0].is(patnc::vendor_tcg, patnc::type::contract_response));
  EXPECT_EQ(to_hex(said[0].attributes[0].value), "ffffffff000003e8");
  EXPECT_TRUE(is_contract_request(said[0].attributes[1]));
  e.collectors.server.send_attributes(patnc::vendor_tcg, 1, {ask});
  EXPECT_TRUE(contracts(e.collectors.server.batches.back()).empty());
  Endpoint unasked(65'522);
  unasked.collectors.server.send_attributes(patnc::vendor_tcg, 1, {ask});
  EXPECT_EQ(contracts(unasked.collectors.server.batches.back()), std::vector<std::string>{"1 ffffffff0000ffba"});
}

// Contracts are of the connection, not of the handshake (spec part 1b §6.5): ours isn't asked for again, and the
// server's still holds.
TEST(Contract, stays_over_a_retry) {
  Endpoint e(2'080);
  Server& server = e.collectors.server;
  Writer request;
  patnc::append_attribute_request(request, {{0, 2}});
  server.send_attributes(patnc::vendor_ietf, 1, {contract_request(patnc::unlimited, 12)}, 1);
  server.send_batch(BatchType::result, Server::result(0, 1));
  server.send_batch(BatchType::sretry);
  server.send_batch(BatchType::sdata);
  EXPECT_TRUE(contracts(server.batches.back()).empty());
  const auto unsegmented = server.attributes();
  server.send_attributes(patnc::vendor_ietf, 1, {attribute(0, patnc::type::attribute_request, request.view())}, 1);
  ASSERT_EQ(server.attributes().size(), 1U);
  EXPECT_TRUE(server.attributes()[0].is(0, 2)) << "24 octets go whole, as 12 + 16 would";
  Writer all;
  patnc::append_attribute_request(all, {{0, 5}});
  server.send_attributes(patnc::vendor_ietf, 1, {attribute(0, patnc::type::attribute_request, all.view())}, 1);
  ASSERT_EQ(server.attributes().size(), 1U);
  EXPECT_TRUE(server.attributes()[0].is(patnc::vendor_tcg, patnc::type::segment_envelope));
  EXPECT_EQ(to_hex(Bytes(server.attributes()[0].value).first(16)),
            "c0000001"
            "000000000000000500000024");
}

// A server that stops in the middle of an attribute doesn't hold our memory.
TEST(Contract, transfer_that_the_server_gives_up_is_dropped) {
  Endpoint e(65'522);
  Server& server = e.collectors.server;
  Writer whole, envelope;
  patnc::append_attribute(whole, 0, 0, patnc::type::attribute_request, ByteVector(80));
  patnc::append_envelope(envelope, {0xC0, 7, whole.view().first(40)});
  server.send_attributes(0, 1, {attribute(patnc::vendor_tcg, patnc::type::segment_envelope, envelope.view())}, 1);
  ASSERT_EQ(server.attributes().size(), 1U);
  EXPECT_EQ(to_hex(server.attributes()[0].value), "00000007");
  server.send_batch(BatchType::sdata);
  ASSERT_EQ(e.collectors.session.notes().size(), 1U);
  EXPECT_EQ(e.collectors.session.notes()[0], "IMV 1 didn't send the rest of IETF/Attribute Request");
  Writer rest;
  patnc::append_envelope(rest, {0x00, 7, whole.view().subspan(40)});
  server.send_attributes(0, 1, {attribute(patnc::vendor_tcg, patnc::type::segment_envelope, rest.view())}, 1);
  ASSERT_EQ(server.attributes().size(), 1U);
  EXPECT_EQ(to_hex(server.attributes()[0].value), "80000007") << "no such transfer: cancelled";
}

}  // namespace
}  // namespace gatehouse::endpoint::test
