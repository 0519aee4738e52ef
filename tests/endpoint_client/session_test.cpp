// What the client session does with a server's messages: outcomes, refusals, retries.
#include "base/hex.h"
#include "base/scram.h"
#include "harness.h"

namespace gatehouse::endpoint::test {
namespace {

namespace type = pts::type;
using pbtnc::BatchType;

// A client with an ECC key, an empty TPM and the recorded evidence.
struct Client {
  explicit Client(Session::Config config = {}, AttestationConfig attestation_config = {}) : tpm(software), attestation(std::move(attestation_config), tpm, source) {
    software.startup(3);
    EXPECT_TRUE(software.extend_event_log(log()));
    EXPECT_TRUE(software.extend_ima_list(list()));
    session.emplace(std::move(config), std::vector<Imc*>{&os, &attestation});
    server.emplace(*session);
  }
  static const ByteVector& log() {
    static const ByteVector bytes = file(interop + "evidence/base/binary_bios_measurements");
    return bytes;
  }
  static const ByteVector& list() {
    static const ByteVector bytes = file(interop + "evidence/base/binary_runtime_measurements");
    return bytes;
  }
  static OsInfo info() {
    OsInfo i;
    i.name = "Debian";
    set_version(i, "12 x86_64");
    i.device_id = "device-7";
    return i;
  }
  // Capabilities, SHA-256, nonce; what follows is up to the test.
  void agree() {
    Writer capabilities, algorithms, request;
    pts::append_capabilities(capabilities, 0x000E);
    pts::append_algorithms(algorithms, 0x4000);
    server->send_attributes(patnc::vendor_tcg, 1, {contract_request(patnc::unlimited, 0xFFBA), attribute(patnc::vendor_tcg, type::request_capabilities, capabilities.view(), 0x80),
                                                   attribute(patnc::vendor_tcg, type::algorithm_request, algorithms.view(), 0x80)});
    pts::append_dh_nonce_request(request, {20, pts::group_ecp256});
    server->send_attributes(patnc::vendor_tcg, 1, {attribute(patnc::vendor_tcg, type::dh_nonce_request, request.view(), 0x80)});
  }
  OwnAttribute finish() const {
    static const auto key = *KeyAgreement::generate(DhGroup::ecp256);
    Writer w;
    pts::append_dh_nonce_finish(w, {0x4000, key.public_value(), ByteVector(20)});
    return attribute(patnc::vendor_tcg, type::dh_nonce_finish, w.view(), 0x80);
  }
  static OwnAttribute evidence_request(std::uint8_t flags = pts::request_pcr, std::uint32_t depth = 0) {
    Writer w;
    pts::append_component_requests(w, {{flags, depth, pts::component_boot}, {flags, depth, pts::component_ima}});
    return attribute(patnc::vendor_tcg, type::request_component_evidence, w.view(), 0x80);
  }
  static OwnAttribute four_zeros(std::uint32_t kind) { return attribute(patnc::vendor_tcg, kind, ByteVector(4), 0x80); }

  SoftwareTpm software{signing_key(KeyAlgorithm::ecc)};
  SpyTpm tpm;
  FixedEvidence source{*firmware_evidence(log(), HashAlgorithm::sha256, {}), *ima_evidence(list(), HashAlgorithm::sha256, {}), 3, {{"/bin", "/usr/bin"}}};
  OsImc os{info()};
  AttestationImc attestation;
  std::optional<Session> session;
  std::optional<Server> server;
};

std::uint32_t error_code(const OwnAttribute& a, std::uint32_t vendor) {
  Reader r(a.value, "");
  const auto e = patnc::parse_error(r);
  EXPECT_TRUE(a.is(0, patnc::type::pa_tnc_error) && e && e->vendor == vendor);
  return e ? e->code : 0xFFFFFFFF;
}

TEST(Session, recommendation_and_reasons_come_from_the_result) {
  struct Row {
    std::uint32_t assessment;
    std::uint16_t code;
    Evaluation evaluation;
    Recommendation recommendation;
  };
  for (const Row& row : {Row{0, 1, Evaluation::compliant, Recommendation::allow}, Row{1, 3, Evaluation::minor, Recommendation::isolate},
                         Row{2, 2, Evaluation::major, Recommendation::block}, Row{3, 2, Evaluation::error, Recommendation::block},
                         Row{4, 0, Evaluation::unknown, Recommendation::none}}) {
    Client c;
    c.server->negotiate();
    Writer w;
    Writer remediation;
    remediation.put(std::uint32_t{0});
    remediation.put(std::uint32_t{1});
    remediation.put_text("https://example.org/fix");
    Writer result;
    patnc::append_u32(result, row.assessment);
    w.put_bytes(Server::pa(patnc::vendor_tcg, 1, {attribute(0, patnc::type::assessment_result, result.view()),
                                                  attribute(0, patnc::type::remediation_instructions, remediation.view())}));
    w.put_bytes(Server::result(row.assessment, row.code));
    pbtnc::append_reason_string(w, {"one \x1b[31mred", "en"});
    pbtnc::append_reason_string(w, {"two", "en"});
    c.server->send_batch(BatchType::result, w.view());
    ASSERT_TRUE(c.session->outcome());
    EXPECT_EQ(c.session->outcome()->assessment, row.evaluation);
    EXPECT_EQ(c.session->outcome()->recommendation, row.recommendation);
    EXPECT_EQ(c.session->outcome()->reasons, (std::vector<std::string>{"one \x1b[31mred", "two"}));
    ASSERT_EQ(c.session->outcome()->components.size(), 1U);
    EXPECT_EQ(c.session->outcome()->components[0].component, "TCG/PTS");
    EXPECT_EQ(c.session->outcome()->components[0].result, row.assessment);
    EXPECT_EQ(c.session->outcome()->components[0].remediation, std::vector<std::string>{"https://example.org/fix"});
    EXPECT_FALSE(c.session->error());
    EXPECT_TRUE(c.server->last.ended);
    EXPECT_EQ(to_hex(c.server->batches.back()), "0200000600000008");  // an empty CLOSE
  }
}

// What only RESULT may say isn't said by an SDATA batch (spec part 1a §7).
TEST(Session, results_outside_of_result_are_none) {
  Client c;
  c.server->negotiate();
  Writer reason;
  pbtnc::append_reason_string(reason, {"all is well", "en"});
  ByteVector messages = Server::result(0, 1);
  messages.insert(messages.end(), reason.view().begin(), reason.view().end());
  c.server->send_batch(BatchType::sdata, messages);
  EXPECT_FALSE(c.server->last.ended);
  EXPECT_FALSE(c.session->outcome());
  EXPECT_EQ(to_hex(c.server->batches.back()), "0200000100000008");
  c.server->send_batch(BatchType::result, Server::result(2, 2));
  ASSERT_TRUE(c.session->outcome());
  EXPECT_EQ(c.session->outcome()->recommendation, Recommendation::block);
  EXPECT_TRUE(c.session->outcome()->reasons.empty());

  Client without;
  without.server->negotiate();
  without.server->send_batch(BatchType::sdata, messages);
  without.server->send_batch(BatchType::close);
  EXPECT_FALSE(without.session->outcome());
  ASSERT_TRUE(without.session->error());
  EXPECT_EQ(without.session->error()->fault, Fault::protocol);
}

// Spec part 1b §9.2: a component's assessment that the standard doesn't know is an error.
TEST(Session, assessment_of_a_component_beyond_the_known_ones_is_an_error) {
  for (const std::uint32_t told : {4U, 5U, 0xFFFFFFFFU}) {
    Client c;
    c.server->negotiate();
    Writer value;
    patnc::append_u32(value, told);
    Writer w;
    w.put_bytes(Server::pa(patnc::vendor_tcg, 1, {attribute(0, patnc::type::assessment_result, value.view())}));
    w.put_bytes(Server::result(0, 1));
    c.server->send_batch(BatchType::result, w.view());
    ASSERT_TRUE(c.session->outcome());
    ASSERT_EQ(c.session->outcome()->components.size(), 1U);
    EXPECT_EQ(c.session->outcome()->components[0].result, told == 4 ? 4U : 3U) << told;
  }
}

TEST(Session, password_goes_only_to_a_server_that_wants_one) {
  Session::Config config;
  config.user = "host1";
  config.password = Secret(std::string("Ar3etTnp"));
  Client c(std::move(config));
  c.server->start();
  EXPECT_EQ(to_hex(c.server->values.back()), "00010101");
  Writer version, mechanisms;
  pttls::append_version_response(version, 1);
  c.server->send(pttls::Type::version_response, version.view());
  pttls::append_mechanisms(mechanisms, {"PLAIN"});
  c.server->send(pttls::Type::sasl_mechanisms, mechanisms.view());
  EXPECT_EQ(c.server->types.back(), pttls::Type::sasl_selection);
  EXPECT_EQ(to_hex(c.server->values.back()), "05504c41494e00686f737431004172336574546e70");  // as recorded
  c.server->send(pttls::Type::sasl_result, ByteVector(1));
  EXPECT_TRUE(c.server->batches.empty());
  c.server->send(pttls::Type::sasl_mechanisms, {});
  ASSERT_EQ(c.server->batches.size(), 1U);
  EXPECT_EQ(batch_type(c.server->batches[0]), BatchType::cdata);
}

// A server that can do better never sees the password, and has to prove that it knows it.
TEST(Session, password_stays_here_where_the_server_can_scram) {
  const PasswordVerifier verifier = make_verifier(Secret(std::string("Ar3etTnp")), min_iterations);
  for (const bool honest : {true, false}) {
    Session::Config config;
    config.user = "host1";
    config.password = Secret(std::string("Ar3etTnp"));
    Client c(std::move(config));
    c.server->start();
    Writer version, mechanisms, result;
    pttls::append_version_response(version, 1);
    c.server->send(pttls::Type::version_response, version.view());
    pttls::append_mechanisms(mechanisms, {"PLAIN", "SCRAM-SHA-256"});
    c.server->send(pttls::Type::sasl_mechanisms, mechanisms.view());
    const auto selection = pttls::parse_selection(c.server->values.back());
    ASSERT_TRUE(selection);
    EXPECT_EQ(selection->mechanism, "SCRAM-SHA-256");
    ScramServer scram;
    EXPECT_EQ(scram.client_first(selection->initial_response).value(), "host1");
    c.server->send(pttls::Type::sasl_data, scram.challenge({verifier, true}, "nonce-of-the-server"));
    ASSERT_EQ(c.server->types.back(), pttls::Type::sasl_data);
    for (const ByteVector& value : c.server->values) EXPECT_EQ(as_text(value).find("Ar3etTnp"), std::string_view::npos);
    const auto last = scram.client_final(c.server->values.back());
    ASSERT_TRUE(last);
    pttls::append_sasl_result(result, pttls::SaslResult::success, pttls::ResultWidth::automatic, honest ? Bytes(*last) : as_bytes("v=AAAA"));
    c.server->send(pttls::Type::sasl_result, result.view());
    EXPECT_EQ(c.server->last.ended, !honest);
    if (honest) {
      c.server->send(pttls::Type::sasl_mechanisms, {});
      ASSERT_EQ(c.server->batches.size(), 1U);
    } else {
      EXPECT_EQ(c.session->error()->fault, Fault::environment);
      EXPECT_EQ(pttls::parse_error(c.server->values.back())->code, 5U);
    }
  }
}

TEST(Session, sasl_messages_at_the_wrong_time_are_refused) {
  for (const auto& [type, value] : {std::pair{pttls::Type::sasl_data, ""}, std::pair{pttls::Type::sasl_result, "0000"}, std::pair{pttls::Type::sasl_selection, "0141"}}) {
    Client c;
    c.server->start();
    Writer version;
    pttls::append_version_response(version, 1);
    c.server->send(pttls::Type::version_response, version.view());
    c.server->send(type, *from_hex(value));
    EXPECT_TRUE(c.server->last.ended);
    EXPECT_EQ(pttls::parse_error(c.server->values.back())->code, 4U);
  }
}

TEST(Session, only_errors_that_say_so_end_it) {
  for (const auto& [code, ends] : {std::pair{0U, false}, std::pair{3U, false}, std::pair{99U, false}, std::pair{1U, true}, std::pair{4U, true}}) {
    Client c;
    c.server->negotiate();
    Writer value;
    pttls::append_error(value, pttls::ErrorCode(code), {});
    const std::size_t said = c.server->types.size();
    c.server->send(pttls::Type::error, value.view());
    EXPECT_EQ(c.server->last.ended, ends) << code;
    EXPECT_EQ(c.server->types.size(), said) << "an error is never answered with one";
  }
  Client c;
  c.server->negotiate();
  Writer value;
  pttls::append_error(value, pttls::ErrorCode::type_not_supported, {});
  for (int i = 0; i < 9; ++i) c.server->send(pttls::Type::error, value.view());
  EXPECT_TRUE(c.server->last.ended) << "nor without end";
}

TEST(Session, two_messages_in_one_record_and_one_in_many_are_the_same) {
  Writer both, value;
  pttls::append_version_response(value, 1);
  pttls::append_message(both, pttls::Type::version_response, 0, value.view());
  pttls::append_message(both, pttls::Type::sasl_mechanisms, 1, {});
  Client whole, cut;
  whole.server->start();
  whole.server->send_bytes(both.view());
  cut.server->start();
  for (std::size_t i = 0; i < both.size(); ++i) cut.server->send_bytes(both.view().subspan(i, 1));
  ASSERT_EQ(whole.server->batches.size(), 1U);
  ASSERT_EQ(cut.server->batches.size(), 1U);
  EXPECT_EQ(whole.server->batches[0].size(), cut.server->batches[0].size());
}

TEST(Session, refused_transport_messages_are_answered_with_their_error) {
  struct Row {
    const char* what;
    std::string sent;               // after Version Request, as hex of a whole PT-TLS message
    std::optional<std::uint32_t> code;  // of the PT-TLS error that answers
    Fault fault;
  };
  const Row rows[] = {
      {"version 2", "00000000000000020000001400000000" "00000002", 2, Fault::protocol},
      {"mechanisms before the version", "00000000000000030000001000000000", 4, Fault::protocol},
      {"batch before authentication", "00000000000000070000001800000000" "0280000200000008", 4, Fault::protocol},
      {"length below the header", "00000000000000020000000f00000000", 6, Fault::protocol},
      {"length beyond the type's range", "00000000000000020000001500000000", 6, Fault::protocol},
      {"batch longer than TLS records carry", "00000000000000077fffffff00000000", 6, Fault::protocol},
      {"reserved vendor", "00ffffff000000020000001400000000" "00000001", 6, Fault::protocol},
      {"unknown message in the negotiation", "00123456000000630000001200000000" "0102", 4, Fault::protocol},
      {"experimental", "00000000000000000000001200000000" "0102", 4, Fault::protocol},
      {"error", "00000000000000080000001800000000" "0000000000000004", std::nullopt, Fault::protocol},
  };
  for (const Row& row : rows) {
    Client c;
    c.server->start();
    c.server->send_bytes(*from_hex(row.sent));
    EXPECT_TRUE(c.server->last.ended) << row.what;
    ASSERT_TRUE(c.session->error()) << row.what;
    EXPECT_EQ(c.session->error()->fault, row.fault) << row.what;
    EXPECT_FALSE(c.session->outcome()) << row.what;
    if (row.code) {
      ASSERT_EQ(c.server->types.back(), pttls::Type::error) << row.what;
      EXPECT_EQ(pttls::parse_error(c.server->values.back())->code, *row.code) << row.what;
    } else {
      EXPECT_EQ(c.server->types.back(), pttls::Type::version_request) << row.what;
    }
    const std::size_t said = c.server->types.size();
    c.server->send_bytes(*from_hex(row.sent));
    EXPECT_EQ(c.server->types.size(), said) << row.what;  // an ended session says no more
  }
}

TEST(Session, unknown_transport_messages_are_skipped_but_not_for_ever) {
  Client c;
  c.server->negotiate();
  for (int i = 0; i < 8; ++i) {
    c.server->send_bytes(*from_hex("00123456000000630000001200000000" "0102"));
    EXPECT_FALSE(c.server->last.ended);
    EXPECT_EQ(pttls::parse_error(c.server->values.back())->code, 3U);
  }
  c.server->send_bytes(*from_hex("00123456000000630000001200000000" "0102"));
  EXPECT_TRUE(c.server->last.ended);
}

TEST(Session, authentication_that_fails_is_no_verdict) {
  const auto at_mechanisms = [](Client& c, std::vector<std::string_view> names) {
    c.server->start();
    Writer version, mechanisms;
    pttls::append_version_response(version, 1);
    c.server->send(pttls::Type::version_response, version.view());
    pttls::append_mechanisms(mechanisms, names);
    c.server->send(pttls::Type::sasl_mechanisms, mechanisms.view());
  };
  const auto config = [] {
    Session::Config out;
    out.user = "host1";
    out.password = Secret(std::string("x"));
    return out;
  };
  Client without;
  at_mechanisms(without, {"PLAIN"});
  EXPECT_EQ(without.session->error()->fault, Fault::environment);
  Client no_common(config());
  at_mechanisms(no_common, {"EXTERNAL", "SCRAM-SHA-1"});
  EXPECT_EQ(no_common.session->error()->fault, Fault::environment);
  EXPECT_EQ(pttls::parse_error(no_common.server->values.back())->code, 5U);
  for (const char* result : {"01", "02", "0001", "0002"}) {  // both widths in use
    Client refused(config());
    at_mechanisms(refused, {"PLAIN"});
    refused.server->send(pttls::Type::sasl_result, *from_hex(result));
    EXPECT_TRUE(refused.server->last.ended);
    EXPECT_EQ(refused.session->error()->fault, Fault::environment);
    EXPECT_EQ(refused.session->error()->text().find("\"x\""), std::string::npos);
  }
}

TEST(Session, refused_batches_are_answered_with_a_fatal_error_in_a_close) {
  struct Row {
    const char* what;
    const char* batch;
    std::uint16_t code;
    std::optional<std::uint32_t> offset;
  };
  const Row rows[] = {
      {"version 3", "0380000200000008", 4, std::nullopt},
      {"direction of a client", "0200000200000008", 1, 1},
      {"batch type 7", "0280000700000008", 1, 3},
      {"wrong batch length", "0280000200000009", 1, 4},
      {"CDATA from a server", "0280000100000008", 0, std::nullopt},
      {"truncated message", "028000020000000c" "00000000", 1, 8},
      {"message longer than the batch", "0280000200000014" "800000000000000100000ff0", 1, 16},
      {"unknown message with NOSKIP", "0280000200000014" "80123456000000010000000c", 3, 8},
      {"RESULT without a result", "0280000300000008", 1, 0},
      {"unknown recommendation", "0280000300000028" "80000000000000020000001000000000" "00000000000000030000001000000009", 1, 38},
      {"two recommendations", "0280000300000038" "80000000000000020000001000000000" "00000000000000030000001000000001" "00000000000000030000001000000002", 1, 0},
  };
  for (const Row& row : rows) {
    Client c;
    c.server->negotiate();
    c.server->send_batch(*from_hex(row.batch));
    const auto fatal = c.server->fatal();
    ASSERT_TRUE(fatal) << row.what;
    EXPECT_TRUE(fatal->fatal) << row.what;
    EXPECT_EQ(fatal->code, row.code) << row.what;
    EXPECT_EQ(fatal->offset, row.offset) << row.what;
    EXPECT_TRUE(c.server->last.ended) << row.what;
    EXPECT_FALSE(c.session->outcome()) << row.what;
    ASSERT_TRUE(c.session->error()) << row.what;
    EXPECT_EQ(c.session->error()->fault, Fault::protocol) << row.what;
  }
}

TEST(Session, a_fatal_error_in_any_batch_spoils_its_result) {
  for (const BatchType batch : {BatchType::sdata, BatchType::result, BatchType::close}) {
    Client c;
    c.server->negotiate();
    Writer w;
    pbtnc::append_error(w, {pbtnc::ErrorCode::invalid_parameter, 31, 0, {}});
    if (batch == BatchType::result) w.put_bytes(Server::result(0, 1));
    c.server->send_batch(batch, w.view());
    EXPECT_FALSE(c.session->outcome());
    EXPECT_TRUE(c.server->last.ended);
    EXPECT_TRUE(c.server->last.send.empty());  // a fatal error isn't answered
    ASSERT_TRUE(c.session->error());
    EXPECT_NE(c.session->error()->text().find("Invalid Parameter at offset 31"), std::string::npos);
  }
}

TEST(Session, close_or_end_without_a_result_is_an_error) {
  Client closed, gone;
  closed.server->negotiate();
  closed.server->send_batch(BatchType::close);
  EXPECT_EQ(closed.session->error()->fault, Fault::protocol);
  gone.server->negotiate();
  EXPECT_TRUE(gone.session->end_of_stream().ended);
  EXPECT_EQ(gone.session->error()->fault, Fault::environment);
}

TEST(Session, server_that_never_decides_is_left) {
  Session::Config config;
  config.tnc.max_empty_rounds = 10;
  Client c(std::move(config));
  c.server->negotiate();
  for (int i = 0; i < 10; ++i) {
    c.server->send_batch(BatchType::sdata);
    ASSERT_FALSE(c.server->last.ended);
    EXPECT_EQ(to_hex(c.server->batches.back()), "0200000100000008");
  }
  c.server->send_batch(BatchType::sdata);
  EXPECT_TRUE(c.server->last.ended);
  EXPECT_EQ(c.server->fatal()->code, 2);
  EXPECT_EQ(c.session->error()->fault, Fault::limit);
}

// Every batch type of a server in every state: what isn't in the table is refused.
TEST(Session, only_the_state_tables_batches_are_taken) {
  struct Row {
    pbtnc::State state;
    std::vector<BatchType> taken;
  };
  const Row rows[] = {{pbtnc::State::server_working, {BatchType::sdata, BatchType::result, BatchType::sretry, BatchType::close}},
                      {pbtnc::State::decided, {BatchType::sretry, BatchType::close}}};
  for (const Row& row : rows)
    for (int kind = 1; kind <= 6; ++kind) {
      Session::Config config;
      config.tnc.keep = true;
      Client c(std::move(config));
      c.server->negotiate();
      if (row.state == pbtnc::State::decided) c.server->send_batch(BatchType::result, Server::result(0, 1));
      const BatchType batch = BatchType(kind);
      c.server->send_batch(batch, batch == BatchType::result ? Server::result(0, 1) : ByteVector{});
      const bool taken = std::find(row.taken.begin(), row.taken.end(), batch) != row.taken.end();
      const bool refused = c.server->fatal().has_value();
      EXPECT_EQ(refused, !taken) << pbtnc::name(row.state) << " " << pbtnc::name(batch);
      if (refused) {
        EXPECT_EQ(c.server->fatal()->code, 0) << pbtnc::name(row.state) << " " << pbtnc::name(batch);
      }
    }
}

// Our CRETRY and the server's SRETRY cross: ours is ignored over there, so what it said is said again.
TEST(Session, retries_that_cross_make_one_assessment) {
  Session::Config config;
  config.tnc.keep = true;
  Client c(std::move(config));
  c.server->negotiate();
  c.server->send_batch(BatchType::result, Server::result(1, 3));
  const Session::Step retry = c.session->retry();
  const auto lost = pa_records(Bytes(retry.send).subspan(pttls::header_size));
  const auto feed = [&](BatchType type, const ByteVector& messages) {
    Writer w;
    pttls::append_message(w, pttls::Type::pb_tnc_batch, 9, pbtnc::batch(type, true, messages));
    return c.session->feed(w.view());
  };
  EXPECT_TRUE(feed(BatchType::sretry, {}).send.empty());
  const Session::Step answer = feed(BatchType::sdata, {});
  const Bytes batch = Bytes(answer.send).subspan(pttls::header_size);
  EXPECT_EQ(batch_type(batch), BatchType::cdata);
  const auto said = pa_records(batch);
  ASSERT_EQ(said.size(), lost.size());
  EXPECT_EQ(said[0].attributes, lost[0].attributes);
  EXPECT_FALSE(feed(BatchType::result, Server::result(0, 1)).ended);
  EXPECT_EQ(c.session->outcome()->recommendation, Recommendation::allow);
}

TEST(Session, malformed_language_list_of_a_server_is_answered_and_let_pass) {
  Client c;
  c.server->negotiate();
  Writer w;
  pbtnc::append_language_preference(w, "???");
  c.server->send_batch(BatchType::sdata, w.view());
  EXPECT_FALSE(c.server->last.ended);
  const auto parsed = pbtnc::parse_batch(c.server->batches.back(), true);
  ASSERT_TRUE(parsed);
  ASSERT_EQ(parsed->messages.size(), 1U);
  EXPECT_FALSE(pbtnc::pb_error(parsed->messages[0]).fatal);
  EXPECT_EQ(pbtnc::pb_error(parsed->messages[0]).offset, 8U + 12U + 17U);
}

TEST(Session, kept_session_attests_again_with_fresh_messages) {
  Session::Config config;
  config.tnc.keep = true;
  Client c(std::move(config));
  c.server->negotiate();
  c.server->send_batch(BatchType::result, Server::result(1, 3));
  EXPECT_FALSE(c.server->last.ended);
  EXPECT_TRUE(c.session->decided());
  EXPECT_EQ(c.session->outcome()->recommendation, Recommendation::isolate);
  const Session::Step retry = c.session->retry();
  const Bytes batch = Bytes(retry.send).subspan(pttls::header_size);
  EXPECT_EQ(batch_type(batch), BatchType::cretry);
  const auto records = pa_records(batch);
  ASSERT_EQ(records.size(), 1U);  // no language preference again
  EXPECT_EQ(records[0].attributes.size(), 7U);
  EXPECT_FALSE(c.session->outcome());
  const std::string result = to_hex(Server::result(0, 1));
  Writer w;
  pttls::append_message(w, pttls::Type::pb_tnc_batch, 9, pbtnc::batch(BatchType::result, true, Server::result(0, 1)));
  EXPECT_FALSE(c.session->feed(w.view()).ended);
  EXPECT_EQ(c.session->outcome()->recommendation, Recommendation::allow);
  const Session::Step close = c.session->close();
  EXPECT_TRUE(close.ended);
  EXPECT_EQ(batch_type(Bytes(close.send).subspan(pttls::header_size)), BatchType::close);
  EXPECT_FALSE(c.session->error());
}

TEST(Session, sretry_before_the_verdict_starts_the_collectors_over) {
  Client c;
  c.server->negotiate();
  c.agree();
  c.server->send_batch(BatchType::sretry);
  EXPECT_EQ(batch_type(c.server->batches.back()), BatchType::cdata);
  EXPECT_EQ(c.server->attributes().size(), 7U);
  // The nonce of the round before is gone.
  c.server->send_attributes(patnc::vendor_tcg, 1, {c.finish()});
  EXPECT_TRUE(c.server->last.ended);
  EXPECT_EQ(c.session->error()->fault, Fault::protocol);
}

TEST(OsImc, answers_what_it_is_asked_once_and_in_order) {
  Client c;
  c.server->negotiate();
  Writer w;
  patnc::append_attribute_request(w, {{patnc::vendor_ita, 8}, {0, 2}, {0, 7}, {0, 2}, {99, 1}});
  c.server->send_attributes(0, patnc::subtype_operating_system, {attribute(0, patnc::type::attribute_request, w.view())}, 1);
  const auto told = c.server->attributes();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_TRUE(told[0].is(patnc::vendor_ita, 8));
  EXPECT_EQ(as_text(told[0].value), "device-7");
  EXPECT_TRUE(told[1].is(0, 2));
  EXPECT_EQ(pa_records(c.server->batches.back())[0].validator, 1);
}

TEST(Exchange, malformed_and_unsupported_attributes_are_answered_with_an_error_and_nothing_is_done) {
  Client c;
  c.server->negotiate();
  Writer capabilities;
  pts::append_capabilities(capabilities, 0x000E);
  // The second attribute doesn't parse: 8 + 12 + 4 bytes before it, 12 bytes of its own header.
  c.server->send_attributes(patnc::vendor_tcg, 1, {attribute(patnc::vendor_tcg, type::request_capabilities, capabilities.view()),
                                                   attribute(patnc::vendor_tcg, type::algorithm_request, ByteVector(3))});
  auto answers = c.server->attributes();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(error_code(answers[0], 0), 1U);
  EXPECT_EQ(to_hex(answers[0].value), "0000000000000001" "010000000000004d" "00000024");
  c.server->send_attributes(patnc::vendor_tcg, 1, {attribute(0x123456, 7, ByteVector(3), 0x80), attribute(patnc::vendor_tcg, type::request_capabilities, capabilities.view())});
  answers = c.server->attributes();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(error_code(answers[0], 0), 3U);
  // Without NOSKIP the unknown one is skipped.
  c.server->send_attributes(patnc::vendor_tcg, 1, {attribute(0x123456, 7, ByteVector(3)), attribute(patnc::vendor_tcg, type::request_capabilities, capabilities.view())});
  answers = c.server->attributes();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_TRUE(answers[0].is(patnc::vendor_tcg, type::capabilities));
  // An error isn't answered with an error, not even a malformed one.
  c.server->send_attributes(patnc::vendor_tcg, 1, {attribute(0, patnc::type::pa_tnc_error, ByteVector(3))});
  EXPECT_TRUE(c.server->attributes().empty());
  EXPECT_FALSE(c.server->last.ended);
  EXPECT_FALSE(c.session->notes().empty());
}

TEST(Exchange, messages_of_other_types_and_for_other_collectors_are_left_alone) {
  Client c;
  c.server->negotiate();
  Writer capabilities;
  pts::append_capabilities(capabilities, 0x000E);
  c.server->send_attributes(0, patnc::subtype_swima, {attribute(0, patnc::type::swima_request, ByteVector(12), 0x80)});
  EXPECT_TRUE(c.server->attributes().empty());
  Writer body, w;
  body.put(std::uint64_t{0x0100000000000001});
  patnc::append_attribute(body, 0, patnc::vendor_tcg, type::request_capabilities, capabilities.view());
  for (const std::uint16_t collector : {std::uint16_t{1}, std::uint16_t{3}}) {
    Writer batch;
    pbtnc::append_pa(batch, {true, patnc::vendor_tcg, 1, collector, 3, body.view()});
    c.server->send_batch(BatchType::sdata, batch.view());
    EXPECT_EQ(c.server->attributes().size(), collector == 3 ? 1U : 0U);
  }
}

TEST(AttestationImc, refuses_what_comes_out_of_order) {
  const auto refused = [](const std::vector<OwnAttribute>& attributes, bool agreed) {
    Client c;
    c.server->negotiate();
    if (agreed) c.agree();
    c.server->send_attributes(patnc::vendor_tcg, 1, attributes);
    return c.server->last.ended && c.server->fatal() && c.server->fatal()->code == 2 && c.session->error()->fault == Fault::protocol && c.tpm.quotes.empty();
  };
  Client c;
  Writer nonce;
  pts::append_dh_nonce_request(nonce, {20, pts::group_ecp256});
  EXPECT_TRUE(refused({attribute(patnc::vendor_tcg, type::dh_nonce_request, nonce.view())}, false));  // no algorithm
  EXPECT_TRUE(refused({c.finish()}, false));
  EXPECT_TRUE(refused({c.evidence_request()}, false));
  EXPECT_TRUE(refused({c.four_zeros(type::generate_evidence)}, true));                     // no nonce
  EXPECT_TRUE(refused({c.finish(), c.four_zeros(type::generate_evidence)}, true));         // no component
  EXPECT_TRUE(refused({c.finish(), c.finish()}, true));                                    // the key is used once
  EXPECT_TRUE(refused({c.finish(), c.evidence_request(pts::request_pcr, 1)}, true));       // sub-components
  Writer other_hash, short_nonce;
  const auto key = *KeyAgreement::generate(DhGroup::ecp256);
  pts::append_dh_nonce_finish(other_hash, {0x2000, key.public_value(), ByteVector(20)});
  pts::append_dh_nonce_finish(short_nonce, {0x4000, key.public_value(), ByteVector(19)});
  EXPECT_TRUE(refused({attribute(patnc::vendor_tcg, type::dh_nonce_finish, other_hash.view())}, true));
  EXPECT_TRUE(refused({attribute(patnc::vendor_tcg, type::dh_nonce_finish, short_nonce.view())}, true));
}

TEST(AttestationImc, quotes_once_for_a_nonce) {
  Client c;
  c.server->negotiate();
  c.agree();
  c.server->send_attributes(patnc::vendor_tcg, 1, {c.finish(), c.evidence_request(), c.four_zeros(type::generate_evidence)});
  EXPECT_EQ(c.tpm.quotes.size(), 1U);
  EXPECT_FALSE(c.server->last.ended);
  c.server->send_attributes(patnc::vendor_tcg, 1, {c.evidence_request(), c.four_zeros(type::generate_evidence)});
  EXPECT_EQ(c.tpm.quotes.size(), 1U);
  EXPECT_TRUE(c.server->last.ended);
}

TEST(AttestationImc, point_off_the_curve_is_an_invalid_parameter) {
  Client c;
  c.server->negotiate();
  c.agree();
  Writer w;
  pts::append_dh_nonce_finish(w, {0x4000, ByteVector(64, std::byte{7}), ByteVector(20)});
  c.server->send_attributes(patnc::vendor_tcg, 1, {attribute(patnc::vendor_tcg, type::dh_nonce_finish, w.view())});
  const auto answers = c.server->attributes();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(error_code(answers[0], 0), 1U);
}

TEST(AttestationImc, says_what_it_cannot_do_with_the_ptss_own_errors) {
  Writer none, groups, own_groups;
  pts::append_algorithms(none, 0x0800);
  pts::append_dh_nonce_request(groups, {20, pts::group_modp1024});
  {
    Client c;
    c.server->negotiate();
    c.server->send_attributes(patnc::vendor_tcg, 1, {attribute(patnc::vendor_tcg, type::algorithm_request, none.view())});
    EXPECT_EQ(error_code(c.server->attributes().at(0), patnc::vendor_tcg), pts::error::hash_algorithm_not_supported);
    EXPECT_EQ(to_hex(Bytes(c.server->attributes()[0].value).subspan(8)), "0000e000");  // SHA-1, SHA-256, SHA-384
  }
  Client c;
  c.server->negotiate();
  c.agree();
  c.server->send_attributes(patnc::vendor_tcg, 1, {attribute(patnc::vendor_tcg, type::dh_nonce_request, groups.view())});
  EXPECT_EQ(error_code(c.server->attributes().at(0), patnc::vendor_tcg), pts::error::dh_group_not_supported);
  EXPECT_EQ(to_hex(Bytes(c.server->attributes()[0].value).subspan(8)), "00003800");
  for (const auto& [flag, code] : {std::pair{pts::request_ttc, pts::error::unable_to_determine_transitive_trust},
                                   std::pair{pts::request_current, pts::error::unable_to_collect_current}}) {
    const OwnAttribute request = Client::evidence_request(flag);
    c.server->send_attributes(patnc::vendor_tcg, 1, {request});
    const auto answers = c.server->attributes();
    ASSERT_EQ(answers.size(), 1U);  // one error for the whole list
    EXPECT_EQ(error_code(answers[0], patnc::vendor_tcg), code);
    EXPECT_TRUE(equal(Bytes(answers[0].value).subspan(8), request.value));
  }
}

TEST(AttestationImc, nonce_is_as_long_as_the_server_demands) {
  for (const std::uint8_t minimum : {std::uint8_t{0}, std::uint8_t{20}, std::uint8_t{21}, std::uint8_t{255}}) {
    Client c;
    c.server->negotiate();
    c.agree();
    Writer request;
    pts::append_dh_nonce_request(request, {minimum, pts::group_ecp256});
    c.server->send_attributes(patnc::vendor_tcg, 1, {attribute(patnc::vendor_tcg, type::dh_nonce_request, request.view())});
    const OwnAttribute response = c.server->attributes().at(0);
    Reader r(response.value, "");
    EXPECT_EQ(pts::parse_dh_nonce_response(r)->nonce.size(), std::max<std::size_t>(20, minimum));
  }
}

}  // namespace
}  // namespace gatehouse::endpoint::test
