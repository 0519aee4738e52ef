// What bad input gets: a clear error where the protocol has one, a line in the log with offset and reason, the end of
// the session with nothing left behind, and no effect on any other session.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/server_session/conversation.h"

namespace gatehouse::test {
namespace {

struct Answer {
  pttls::Header header;
  ByteVector value;
  bool is(pttls::Type type) const { return header.known() && header.kind() == type; }
};

// Says what it likes to one session of the server.
class Peer {
 public:
  explicit Peer(World& world, const std::string& identity = "CN=peer")
      : host(world), session(host, world.settings, *world.state, {"192.0.2.7:49152", identity, identity.empty() ? "" : "certificate"}) {}
  ~Peer() {
    if (!session.ended()) session.on_peer_gone();
    while (host.carry(session)) {
    }
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  std::vector<Answer> say(Bytes bytes) {
    session.feed(bytes);
    while (!session.wants_data() && !session.ended() && host.carry(session)) {
    }
    std::vector<Answer> out;
    for (const ByteVector& message : messages_of(std::exchange(host.out, {}))) {
      pttls::Framer framer;
      framer.feed(message);
      const auto m = framer.next();
      if (m && *m != nullptr) out.push_back({(*m)->header, to_vector((*m)->value)});
    }
    return out;
  }
  std::vector<Answer> say(pttls::Type type, Bytes value) {
    Writer w;
    pttls::append_message(w, type, 7, value);
    return say(w.view());
  }
  std::vector<Answer> batch(pbtnc::BatchType type, Bytes messages) {
    return say(pttls::Type::pb_tnc_batch, pbtnc::batch(type, false, messages));
  }
  std::vector<Answer> negotiate() {
    Writer w;
    pttls::append_version_request(w, {});
    return say(pttls::Type::version_request, w.view());
  }
  bool logged(std::string_view text) const {
    return std::any_of(host.lines.begin(), host.lines.end(),
                       [&](const std::string& line) { return line.find(text) != std::string::npos; });
  }
  std::string log() const {
    std::string out;
    for (const std::string& line : host.lines) out += line + "\n";
    return out;
  }

  LoopHost host;
  server::Session session;
};

ByteVector header(std::uint32_t vendor, std::uint32_t type, std::uint32_t length) {
  Writer w;
  w.put(std::uint8_t{0});
  w.put24(vendor);
  w.put(type);
  w.put(length);
  w.put(std::uint32_t{7});
  return std::move(w).take();
}
ByteVector operator+(ByteVector a, Bytes b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// A PB-PA message with so many Segmentation Contract Requests: each is answered.
ByteVector contract_requests(std::uint32_t vendor, std::uint32_t subtype, int count) {
  ByteVector body = bytes({1, 0, 0, 0, 0, 0, 0, 1});
  for (int n = 0; n < count; ++n) {
    Writer w, contract;
    patnc::append_contract(contract, {});
    patnc::append_attribute(w, 0, patnc::vendor_tcg, patnc::type::contract_request, contract.view());
    body = std::move(body) + w.view();
  }
  Writer messages;
  pbtnc::append_pa(messages, {false, vendor, subtype, 3, pbtnc::any, body});
  return std::move(messages).take();
}

// --- PT-TLS

struct Transport {
  std::string_view name;
  bool negotiated;  // said after the negotiation
  ByteVector said;
  pttls::ErrorCode error;
  std::string_view logged;
};

std::vector<Transport> transport_rows() {
  using E = pttls::ErrorCode;
  return {
      {"reserved vendor", false, header(0xFFFFFF, 1, 20), E::invalid_parameter, "reserved PT-TLS vendor"},
      {"reserved type", false, header(0, 0xFFFFFFFF, 20), E::invalid_parameter, "reserved PT-TLS type"},
      {"zero length", false, header(0, 1, 0), E::invalid_parameter, "PT-TLS length below its header"},
      {"length below the header", true, header(0, 7, 15), E::invalid_parameter, "PT-TLS length below its header"},
      {"batch longer than any may be", true, header(0, 7, 0x7FFFFFFF), E::invalid_parameter, "PT-TLS length out of the type's range"},
      {"unknown message longer than what is skipped", true, header(0x123456, 1, 16 + 65'537), E::type_not_supported,
       "PT-TLS message of an unknown type too long to skip"},
      {"trailing byte in the version request", false, header(0, 1, 21) + bytes({0, 1, 1, 1, 0}), E::invalid_parameter,
       "PT-TLS length out of the type's range"},
      {"version that isn't spoken", false, header(0, 1, 20) + bytes({0, 2, 3, 2}), E::version_not_supported, "no common version"},
      {"version range that contradicts itself", false, header(0, 1, 20) + bytes({0, 1, 0, 1}), E::invalid_parameter,
       "version range contradicts itself"},
      {"unknown message in the negotiation", false, header(0x123456, 1, 16), E::invalid_message, "message not allowed in this phase"},
      {"batch before the negotiation ended", false, header(0, 7, 24) + bytes({2, 0, 0, 1, 0, 0, 0, 8}), E::invalid_message,
       "message not allowed in this phase"},
      {"negotiation again", true, header(0, 1, 20) + bytes({0, 1, 1, 1}), E::invalid_message, "message not allowed in this phase"},
      {"mechanism where none was offered", true, header(0, 4, 22) + bytes({5, 'P', 'L', 'A', 'I', 'N'}), E::invalid_message,
       "message not allowed in this phase"},
      {"message that only a server sends", true, header(0, 2, 20) + bytes({0, 0, 0, 1}), E::invalid_message,
       "message not allowed in this phase"},
  };
}

TEST(BadTransport, IsAnsweredWithItsErrorAndEndsTheSession) {
  World world;
  for (const Transport& row : transport_rows()) {
    Peer peer(world);
    if (row.negotiated) peer.negotiate();
    const auto answers = peer.say(row.said);
    ASSERT_FALSE(answers.empty()) << row.name;
    ASSERT_TRUE(answers.back().is(pttls::Type::error)) << row.name;
    const auto error = pttls::parse_error(answers.back().value);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, std::uint32_t(row.error)) << row.name;
    EXPECT_TRUE(std::equal(error->copy.begin(), error->copy.end(), row.said.begin())) << row.name << ": the copy isn't what was said";
    EXPECT_TRUE(peer.host.closed && peer.session.ended()) << row.name;
    EXPECT_TRUE(peer.logged(row.logged)) << row.name << '\n' << peer.log();
    EXPECT_TRUE(peer.logged("at offset ")) << row.name << '\n' << peer.log();
    EXPECT_TRUE(peer.say(header(0, 1, 20) + bytes({0, 1, 1, 1})).empty()) << row.name << ": it goes on after the end";
  }
}

TEST(BadTransport, SaslMistakesAreAnsweredInSasl) {
  World world;
  world.settings.auth = server::Auth::sasl;
  struct Row {
    std::string_view name;
    ByteVector value;
    std::optional<pttls::ErrorCode> error;  // nullopt: a SASL result
  };
  const std::string long_user(256, 'u'), long_password(1025, 'p');
  const auto plain = [](std::string_view user, std::string_view password) {
    return bytes({5, 'P', 'L', 'A', 'I', 'N'}) + pttls::plain_message(user, password);
  };
  const Row rows[] = {
      {"a mechanism that wasn't offered", bytes({8, 'C', 'R', 'A', 'M', '-', 'M', 'D', '5'}), pttls::ErrorCode::sasl_mechanism},
      {"an empty mechanism name", bytes({0, 'x'}), pttls::ErrorCode::invalid_parameter},
      {"a mechanism name of 31 letters", ByteVector(32, std::byte(31)), pttls::ErrorCode::invalid_parameter},
      {"a mechanism name longer than the message", bytes({20, 'P', 'L'}), pttls::ErrorCode::malformed},
      {"no NUL", bytes({5, 'P', 'L', 'A', 'I', 'N', 'x'}), std::nullopt},
      {"an empty user", plain("", "x"), std::nullopt},
      {"a long user", plain(long_user, "x"), std::nullopt},
      {"a long password", plain("host1", long_password), std::nullopt},
      {"another identity", bytes({5, 'P', 'L', 'A', 'I', 'N', 'r', 'o', 'o', 't', 0, 'h', 0, 'p'}), std::nullopt},
      {"a wrong password", plain("host1", "secret word"), std::nullopt},
  };
  for (const Row& row : rows) {
    Peer peer(world, "");
    (void)peer.negotiate();
    const auto answers = peer.say(pttls::Type::sasl_selection, row.value);
    ASSERT_EQ(answers.size(), 1U) << row.name;
    if (row.error) {
      ASSERT_TRUE(answers[0].is(pttls::Type::error)) << row.name;
      EXPECT_EQ(pttls::parse_error(answers[0].value)->code, std::uint32_t(*row.error)) << row.name;
    } else {
      ASSERT_TRUE(answers[0].is(pttls::Type::sasl_result)) << row.name;
      EXPECT_NE(pttls::parse_sasl_result(answers[0].value)->code, pttls::SaslResult::success) << row.name;
    }
    EXPECT_TRUE(peer.host.closed && peer.session.ended()) << row.name;
    EXPECT_TRUE(peer.logged("session ended")) << row.name;
    EXPECT_FALSE(peer.logged("secret word")) << "the password is in the log";
  }
}

// Before a peer has said who it is, it gets no memory for more than a negotiation needs.
TEST(BadTransport, ABatchIsNotCollectedBeforeTheNegotiationEnded) {
  World world;
  world.settings.auth = server::Auth::sasl;
  Peer peer(world, "");
  peer.negotiate();
  EXPECT_TRUE(peer.say(header(0, 7, 2'000'000)).empty());
  std::vector<Answer> answers;
  std::size_t sent = 0;
  for (; answers.empty() && sent < 2'000'000; sent += 8'192) answers = peer.say(ByteVector(8'192));
  ASSERT_FALSE(answers.empty());
  EXPECT_TRUE(answers[0].is(pttls::Type::error));
  EXPECT_LE(sent, 32'768U);
  EXPECT_TRUE(peer.session.ended());
}

TEST(BadTransport, UnknownMessagesAreSkippedButNotForEver) {
  World world;
  Peer peer(world);
  peer.negotiate();
  for (int n = 0; n < 8; ++n) {
    const auto answers = peer.say(header(0x123456, 1, 16));
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_EQ(pttls::parse_error(answers[0].value)->code, std::uint32_t(pttls::ErrorCode::type_not_supported));
    EXPECT_FALSE(peer.session.ended());
  }
  peer.say(header(0x123456, 1, 16));
  EXPECT_TRUE(peer.session.ended());
  EXPECT_TRUE(peer.logged("too many unknown messages"));
}

TEST(GoodTransport, TheLargestBatchIsTaken) {
  World world;
  Peer peer(world);
  peer.negotiate();
  const ByteVector filling(2'097'136 - 8 - 12);
  Writer messages;
  pbtnc::append_message(messages, false, 0x123456, 1, filling);
  const auto answers = peer.batch(pbtnc::BatchType::cdata, messages.view());
  ASSERT_EQ(answers.size(), 1U);
  ASSERT_TRUE(answers[0].is(pttls::Type::pb_tnc_batch));
  EXPECT_FALSE(peer.session.ended());
}

// Identifiers are for errors to quote: any will do, and ours count from 0.
TEST(GoodTransport, AnyIdentifierIsTakenAndOursCount) {
  World world;
  Peer peer(world);
  std::vector<std::uint32_t> ours;
  const auto say = [&](std::uint32_t identifier, pttls::Type type, Bytes value) {
    Writer w;
    pttls::append_message(w, type, identifier, value);
    for (const Answer& a : peer.say(w.view())) {
      EXPECT_FALSE(a.is(pttls::Type::error)) << identifier;
      ours.push_back(a.header.identifier);
    }
  };
  say(0xFFFFFFFF, pttls::Type::version_request, bytes({0, 1, 1, 1}));
  for (const std::uint32_t identifier : {5U, 5U, 0U, 0xFFFFFFFFU})
    say(identifier, pttls::Type::pb_tnc_batch, pbtnc::batch(pbtnc::BatchType::cdata, false, contract_requests(patnc::vendor_tcg, patnc::subtype_pts, 1)));
  ASSERT_GE(ours.size(), 4U);
  for (std::size_t n = 0; n < ours.size(); ++n) EXPECT_EQ(ours[n], n);
}

// --- PB-TNC

struct BatchRow {
  std::string_view name;
  ByteVector batch;
  pbtnc::ErrorCode error;
  std::uint32_t offset;
  std::string_view logged;
};

ByteVector raw_message(unsigned flags, std::uint32_t vendor, std::uint32_t type, std::uint32_t length, Bytes value = {}) {
  Writer w;
  w.put(std::uint8_t(flags));
  w.put24(vendor);
  w.put(type);
  w.put(length);
  w.put_bytes(value);
  return std::move(w).take();
}
ByteVector cdata(Bytes messages) { return pbtnc::batch(pbtnc::BatchType::cdata, false, messages); }

std::vector<BatchRow> batch_rows() {
  using E = pbtnc::ErrorCode;
  ByteVector many;
  for (int n = 0; n < 1025; ++n) many = std::move(many) + raw_message(0x80, 0, 1, 24, bytes({0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1}));
  return {
      {"empty", {}, E::invalid_parameter, 0, "truncated batch header"},
      {"cut in its header", bytes({2, 0, 0, 1, 0, 0, 0}), E::invalid_parameter, 0, "truncated batch header"},
      {"version 3", bytes({3, 0, 0, 1, 0, 0, 0, 8}), E::version_not_supported, 0, "PB-TNC version isn't 2"},
      {"a server's batch", bytes({2, 0x80, 0, 1, 0, 0, 0, 8}), E::invalid_parameter, 1, "directionality of the other side"},
      {"type 0", bytes({2, 0, 0, 0, 0, 0, 0, 8}), E::invalid_parameter, 3, "unknown batch type"},
      {"type 7", bytes({2, 0, 0, 7, 0, 0, 0, 8}), E::invalid_parameter, 3, "unknown batch type"},
      {"shorter than it says", bytes({2, 0, 0, 1, 0, 0, 0, 9}), E::invalid_parameter, 4, "batch length isn't"},
      {"longer than it says", bytes({2, 0, 0, 1, 0, 0, 0, 8, 0}), E::invalid_parameter, 4, "batch length isn't"},
      {"trailing bytes", cdata(bytes({0, 0, 0, 0})), E::invalid_parameter, 8, "truncated message header"},
      {"message of no length", cdata(raw_message(0x80, 0, 1, 0)), E::invalid_parameter, 16, "message length out of the batch"},
      {"message longer than the batch", cdata(raw_message(0x80, 0, 1, 0xFFFFFFFF)), E::invalid_parameter, 16, "message length out of the batch"},
      {"messages that overlap", cdata(raw_message(0x80, 0, 1, 30, bytes({0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1})) + raw_message(0x80, 0, 1, 12)),
       E::invalid_parameter, 38, "truncated message header"},
      {"reserved vendor", cdata(raw_message(0, 0xFFFFFF, 1, 12)), E::invalid_parameter, 9, "reserved message vendor"},
      {"reserved type", cdata(raw_message(0, 0, 0xFFFFFFFF, 12)), E::invalid_parameter, 12, "reserved message type"},
      {"unknown message that mustn't be skipped", cdata(raw_message(0x80, 0x123456, 1, 12)), E::unsupported_mandatory_message, 8,
       "unsupported message with NOSKIP"},
      {"PB-PA that may be skipped", cdata(raw_message(0, 0, 1, 24, bytes({0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1}))), E::invalid_parameter, 8,
       "NOSKIP flag contradicts"},
      {"PB-PA without its header", cdata(raw_message(0x80, 0, 1, 12)), E::invalid_parameter, 16, "message length out of the type's range"},
      {"assessment result of a client", cdata(raw_message(0x80, 0, 2, 16, bytes({0, 0, 0, 0}))), E::invalid_parameter, 8,
       "message that only a server sends"},
      {"more messages than allowed", cdata(many), E::local_error, 0, "more than 1024 messages"},
  };
}

// The fatal error of a CLOSE batch.
std::optional<pbtnc::PbError> fatal_error(const std::vector<Answer>& answers) {
  if (answers.empty() || !answers.back().is(pttls::Type::pb_tnc_batch)) return std::nullopt;
  const auto batch = pbtnc::parse_batch(answers.back().value, false);
  if (!batch || batch->type != pbtnc::BatchType::close || batch->messages.size() != 1) return std::nullopt;
  return pbtnc::pb_error(batch->messages[0]);
}

TEST(BadBatch, IsAnsweredWithAFatalErrorInACloseBatch) {
  World world;
  for (const BatchRow& row : batch_rows()) {
    std::string id;
    {
      Peer peer(world);
      id = peer.session.id();
      peer.negotiate();
      const auto error = fatal_error(peer.say(pttls::Type::pb_tnc_batch, row.batch));
      ASSERT_TRUE(error) << row.name;
      EXPECT_TRUE(error->fatal) << row.name;
      EXPECT_EQ(error->code, std::uint16_t(row.error)) << row.name;
      if (row.error == pbtnc::ErrorCode::invalid_parameter || row.error == pbtnc::ErrorCode::unsupported_mandatory_message) {
        EXPECT_EQ(error->offset, row.offset) << row.name;
      }
      EXPECT_TRUE(peer.host.closed && peer.session.ended()) << row.name;
      EXPECT_TRUE(peer.logged("at offset " + std::to_string(row.offset) + ": " + std::string(row.logged))) << row.name << '\n' << peer.log();
    }
    const auto record = world.state->session(id);
    ASSERT_TRUE(record);
    if (*record) {
      EXPECT_NE(pipeline::verdict_from_json((*record)->verdict)->recommendation, pipeline::Recommendation::allow) << row.name;
    }
  }
}

TEST(BadBatch, InTheWrongStateIsRefused) {
  World world;
  using T = pbtnc::BatchType;
  // Init takes CDATA and CLOSE; Client Working also CRETRY; only a server sends the others.
  for (const T type : {T::sdata, T::result, T::cretry, T::sretry}) {
    Peer peer(world);
    peer.negotiate();
    Writer result;
    if (type == T::result) pbtnc::append_assessment_result(result, 0);
    const auto error = fatal_error(peer.batch(type, type == T::result ? Bytes() : result.view()));
    ASSERT_TRUE(error) << pbtnc::name(type);
    EXPECT_TRUE(peer.session.ended() && peer.logged("offset")) << peer.log();
  }
  for (const T type : {T::sdata, T::sretry}) {
    Peer peer(world);
    peer.negotiate();
    peer.batch(T::cdata, {});
    EXPECT_FALSE(peer.session.ended());
    const auto error = fatal_error(peer.batch(type, {}));
    ASSERT_TRUE(error) << pbtnc::name(type);
    EXPECT_EQ(error->code, std::uint16_t(pbtnc::ErrorCode::unexpected_batch_type));
    EXPECT_TRUE(peer.logged("batch type not allowed in this state"));
  }
}

TEST(BadBatch, AfterTheVerdictOnlyARetryOrAClose) {
  World world;
  const Machine m = machine();
  Peer peer(world);
  Client client(m);
  endpoint::Session::Step step = client.session().start();
  while (!client.session().outcome()) {
    const auto answers = peer.say(step.send);
    ASSERT_FALSE(answers.empty());
    ByteVector all;
    for (const Answer& a : answers) {
      Writer w;
      pttls::append_message(w, a.header.kind(), a.header.identifier, a.value);
      all = std::move(all) + w.view();
    }
    step = client.session().feed(all);
  }
  const auto error = fatal_error(peer.batch(pbtnc::BatchType::cdata, {}));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, std::uint16_t(pbtnc::ErrorCode::unexpected_batch_type));
  EXPECT_TRUE(peer.session.ended());
}

// While there is much to answer in small batches, a peer may listen in silence, but not for ever.
TEST(BadBatch, RoundsThatBringNothingEndTheConversation) {
  World world;
  world.settings.max_batch = 1'024;
  world.settings.max_empty_rounds = 20;
  Peer peer(world);
  peer.negotiate();
  EXPECT_FALSE(peer.batch(pbtnc::BatchType::cdata, contract_requests(patnc::vendor_tcg, patnc::subtype_pts, 2'000)).empty());
  for (unsigned round = 1; round <= 20; ++round) {
    const auto answers = peer.batch(pbtnc::BatchType::cdata, {});
    ASSERT_EQ(answers.size(), 1U);
    const auto batch = pbtnc::parse_batch(answers.back().value, false);
    ASSERT_TRUE(batch);
    ASSERT_EQ(batch->type, pbtnc::BatchType::sdata) << round;
  }
  const auto error = fatal_error(peer.batch(pbtnc::BatchType::cdata, {}));
  ASSERT_TRUE(error);
  EXPECT_TRUE(error->fatal);
  EXPECT_EQ(error->code, std::uint16_t(pbtnc::ErrorCode::local_error));
  EXPECT_TRUE(peer.session.ended() && peer.logged("too many empty rounds")) << peer.log();
}

// Bytes and time of an assessment are bounded too; the one that goes beyond isn't judged.
TEST(BadBatch, MoreBytesOrTimeThanAnAssessmentMayTakeEndIt) {
  for (const bool bytes_alone : {true, false}) {
    World world;
    const ByteVector requests = contract_requests(patnc::vendor_ietf, patnc::subtype_operating_system, 2);
    const std::size_t size = pbtnc::batch(pbtnc::BatchType::cdata, false, requests).size();
    if (bytes_alone) world.settings.max_evidence_bytes = 2 * size;
    Peer peer(world);
    const std::string id = peer.session.id();
    peer.negotiate();
    for (int round = 0; round < 2; ++round) {
      ASSERT_FALSE(fatal_error(peer.batch(pbtnc::BatchType::cdata, requests)));
    }
    if (!bytes_alone) world.settings.total_deadline = std::chrono::milliseconds(0);
    const auto error = fatal_error(peer.batch(pbtnc::BatchType::cdata, requests));
    ASSERT_TRUE(error);
    EXPECT_TRUE(error->fatal);
    EXPECT_EQ(error->code, std::uint16_t(pbtnc::ErrorCode::local_error));
    EXPECT_TRUE(peer.session.ended());
    EXPECT_TRUE(peer.logged(bytes_alone ? "more evidence than allowed" : "the assessment takes too long")) << peer.log();
    while (peer.host.carry(peer.session)) {
    }
    const auto record = world.state->session(id);
    ASSERT_TRUE(record && *record);
    EXPECT_NE(pipeline::verdict_from_json((*record)->verdict)->recommendation, pipeline::Recommendation::allow);
  }
}

// What a peer asks for is bounded by what it sends; a server that can't say all of it in one batch says so.
TEST(BadBatch, AFloodOfContractRequestsEndsOnlyItsOwnSession) {
  World world;
  for (const bool pts : {true, false}) {
    Peer peer(world);
    peer.negotiate();
    peer.batch(pbtnc::BatchType::cdata, {});
    const auto answers =
        peer.batch(pbtnc::BatchType::cdata, contract_requests(pts ? patnc::vendor_tcg : patnc::vendor_ietf,
                                                              pts ? patnc::subtype_pts : patnc::subtype_operating_system, 4'096));
    ASSERT_FALSE(answers.empty());
    for (const Answer& a : answers) EXPECT_LE(a.value.size(), world.settings.max_batch);
  }
}

// --- starting over

ByteVector as_messages(const std::vector<Answer>& answers) {
  Writer w;
  for (const Answer& a : answers) pttls::append_message(w, a.header.kind(), a.header.identifier, a.value);
  return std::move(w).take();
}

// A client that is past the negotiation: its first batch.
ByteVector first_batch(Client& client) {
  client.session().start();
  Writer w, version;
  pttls::append_version_response(version, 1);
  pttls::append_message(w, pttls::Type::version_response, 0, version.view());
  pttls::append_message(w, pttls::Type::sasl_mechanisms, 1, {});
  return client.session().feed(w.view()).send;
}

// Whatever belonged to the assessment that was left comes too late and changes nothing in the new one.
TEST(StartingOver, InTheMiddleOfTheEvidenceGivesTheVerdictOfTheNewAssessment) {
  World world;
  const Machine m = machine();
  world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
  converse(world, m);
  world.approve(m.tpm->ak().key_id());
  ClientOptions small;
  small.max_batch = 2080;
  std::size_t rounds = 0;
  for (std::size_t leave_after = 0; leave_after < 12; ++leave_after) {
    Peer peer(world);
    Client first(m, small);
    endpoint::Session::Step step = first.session().start();
    for (rounds = 0; rounds <= leave_after; ++rounds) step = first.session().feed(as_messages(peer.say(step.send)));
    const std::string left = peer.session.id();
    Client second(m);
    ByteVector batch = first_batch(second);
    ASSERT_EQ(batch[pttls::header_size + 3], std::byte(pbtnc::BatchType::cdata));
    batch[pttls::header_size + 3] = std::byte(pbtnc::BatchType::cretry);
    if (leave_after == 0) {  // before the first batch there is nothing to start over
      EXPECT_TRUE(fatal_error(peer.say(batch)));
      continue;
    }
    step.send = batch;
    while (!second.session().outcome() && !peer.session.ended()) step = second.session().feed(as_messages(peer.say(step.send)));
    ASSERT_TRUE(second.session().outcome()) << "after " << leave_after << " rounds\n" << peer.log();
    EXPECT_EQ(second.session().outcome()->recommendation, endpoint::Recommendation::allow) << "after " << leave_after << " rounds\n" << peer.log();
    EXPECT_NE(peer.session.id(), left);
    peer.say(step.send);
    const auto record = world.state->session(left);
    ASSERT_TRUE(record && *record) << "the assessment that was left has no record";
    EXPECT_EQ((*record)->state, server::SessionState::complete);
    EXPECT_NE(pipeline::verdict_from_json((*record)->verdict)->recommendation, pipeline::Recommendation::allow);
  }
  EXPECT_EQ(world.pipeline->bytes_in_flight(), 0U);
}

// SRETRY after the verdict is for an endpoint that said what it does there: strongSwan's clients end on it.
TEST(StartingOver, TheServerAsksAnEndpointThatStaysAndNoOther) {
  World world;
  const Machine m = machine();
  world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
  converse(world, m);
  world.approve(m.tpm->ak().key_id());
  for (const bool ours : {true, false}) {
    Peer peer(world);
    Client client(m, {.keep = true});
    peer.negotiate();
    endpoint::Session::Step step;
    step.send = first_batch(client);
    if (!ours) {
      const ByteVector kept = bytes({0x00, 0xFF, 0xFF, 0xFE, 0x00, 0x00, 0x00, 0x01});
      const auto at = std::search(step.send.begin(), step.send.end(), kept.begin(), kept.end());
      ASSERT_NE(at, step.send.end());
      *(at + 1) = std::byte{0x12};  // nobody's
    }
    EXPECT_FALSE(peer.session.reassess()) << "before the verdict";
    const auto converse_on = [&] {
      while (!client.session().outcome() && !peer.session.ended())
        step = client.session().feed(as_messages(peer.say(step.send)));
    };
    converse_on();
    ASSERT_TRUE(client.session().outcome()) << peer.log();
    const std::string first = peer.session.id();
    ASSERT_EQ(peer.session.reassess(), ours);
    EXPECT_FALSE(peer.session.ended());
    if (!ours) {
      EXPECT_TRUE(peer.host.out.empty());
      continue;
    }
    EXPECT_FALSE(peer.session.reassess()) << "it is under way";
    step = client.session().feed(std::exchange(peer.host.out, {}));
    EXPECT_FALSE(client.session().outcome());
    converse_on();
    ASSERT_TRUE(client.session().outcome()) << peer.log();
    EXPECT_EQ(client.session().outcome()->recommendation, endpoint::Recommendation::allow) << peer.log();
    EXPECT_NE(peer.session.id(), first);
  }
}

TEST(StartingOver, TooOftenIsRefused) {
  World world;
  Peer peer(world);
  peer.negotiate();
  peer.batch(pbtnc::BatchType::cdata, {});
  std::optional<pbtnc::PbError> error;
  unsigned retries = 0;
  while (!error && retries < 20) {
    error = fatal_error(peer.batch(pbtnc::BatchType::cretry, {}));
    ++retries;
  }
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, std::uint16_t(pbtnc::ErrorCode::local_error));
  EXPECT_EQ(retries, world.settings.max_retries + 1);
  EXPECT_TRUE(peer.logged("too many retries"));
}

// --- batches that come too early, and what comes too late

// Takes the conversation to where the server is at work and owes its answer.
void until_the_server_works(Peer& peer, Client& client) {
  endpoint::Session::Step step = client.session().start();
  while (peer.session.wants_data()) {
    peer.session.feed(step.send);
    if (!peer.session.wants_data()) return;
    step = client.session().feed(as_messages(peer.say({})));
  }
}

TEST(Pipelined, ABatchWaitsForTheAnswerToTheOneBefore) {
  World world;
  const Machine m = machine();
  world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
  for (const pbtnc::BatchType early : {pbtnc::BatchType::cdata, pbtnc::BatchType::sdata}) {
    Peer peer(world);
    Client client(m);
    until_the_server_works(peer, client);
    ASSERT_FALSE(peer.session.wants_data());
    const auto received = [&] {
      return std::count_if(peer.host.lines.begin(), peer.host.lines.end(), [](const std::string& line) {
        return line.find("received PT-TLS message") != std::string::npos;
      });
    };
    const auto before = received();
    Writer w;
    pttls::append_message(w, pttls::Type::pb_tnc_batch, 7, pbtnc::batch(early, false, {}));
    peer.session.feed(w.view());
    EXPECT_TRUE(peer.host.out.empty());
    EXPECT_EQ(received(), before) << "it was looked at before its time";
    // Then the state machine judges it.
    const auto answers = peer.say({});
    ASSERT_EQ(answers.size(), 2U);
    EXPECT_EQ(pbtnc::parse_batch(answers[0].value, false)->type, pbtnc::BatchType::sdata);
    EXPECT_EQ(received(), before + 1);
    const auto error = fatal_error(answers);
    ASSERT_EQ(error.has_value(), early == pbtnc::BatchType::sdata);
    if (error) {
      EXPECT_EQ(error->code, std::uint16_t(pbtnc::ErrorCode::unexpected_batch_type));
    }
  }
}

TEST(AfterTheEnd, NothingIsTakenAndNothingAnswered) {
  World world;
  Writer both;
  pttls::append_message(both, pttls::Type::pb_tnc_batch, 7, pbtnc::batch(pbtnc::BatchType::close, false, {}));
  pttls::append_message(both, pttls::Type::pb_tnc_batch, 8, pbtnc::batch(pbtnc::BatchType::cdata, false, {}));
  pttls::append_message(both, pttls::Type::version_request, 9, bytes({0, 1, 1, 1}));
  Peer peer(world);
  peer.negotiate();
  peer.batch(pbtnc::BatchType::cdata, {});
  EXPECT_TRUE(peer.say(both.view()).empty());
  EXPECT_TRUE(peer.session.ended() && peer.host.closed);
  EXPECT_FALSE(peer.logged("message #8")) << peer.log();
  EXPECT_TRUE(peer.batch(pbtnc::BatchType::cdata, {}).empty());
  EXPECT_TRUE(peer.say(header(0x123456, 1, 16)).empty());
}

// --- PA-TNC headers

TEST(BadMessage, OfAnUnknownVersionOrCutInItsHeaderIsNoEvidence) {
  World world;
  for (const bool cut : {true, false}) {
    Peer peer(world);
    peer.negotiate();
    const ByteVector body = cut ? bytes({1, 0, 0, 0, 0, 0, 0}) : bytes({2, 0, 0, 0, 0, 0, 0, 9});
    for (const std::uint32_t vendor : {patnc::vendor_ietf, patnc::vendor_tcg}) {
      Writer messages;
      pbtnc::append_pa(messages, {false, vendor, 1, 1, pbtnc::any, body});
      peer.batch(pbtnc::BatchType::cdata, messages.view());
    }
    const std::string id = peer.session.id();
    peer.batch(pbtnc::BatchType::cdata, {});
    EXPECT_TRUE(peer.logged(cut ? "truncated PA-TNC header" : "at offset 0: PA-TNC version isn't 1")) << peer.log();
    const auto record = world.state->session(id);
    ASSERT_TRUE(record && *record) << peer.log();
    EXPECT_NE(pipeline::verdict_from_json((*record)->verdict)->recommendation, pipeline::Recommendation::allow);
  }
}

// --- peers that stall or vanish

// At each step of a good conversation, with nothing left of it afterwards.
TEST(Peer, ThatStallsOrVanishesAtAnyStepLeavesARecordAndNothingElse) {
  World world;
  const Machine m = machine();
  world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
  converse(world, m);
  world.approve(m.tpm->ak().key_id());
  ClientOptions options;
  options.max_batch = 16'384;
  for (const bool stalls : {true, false}) {
    bool decided = false;
    std::size_t steps = 0;
    for (; !decided; ++steps) {
      ASSERT_LT(steps, 100U);
      std::string id;
      bool begun = false;
      {
        Peer peer(world);
        Client client(m, options);
        endpoint::Session::Step step = client.session().start();
        for (std::size_t n = 0; n < steps && !client.session().outcome(); ++n) step = client.session().feed(as_messages(peer.say(step.send)));
        id = peer.session.id();
        begun = steps > 1;
        decided = client.session().outcome().has_value();
        if (stalls) peer.session.on_deadline();
        else peer.session.on_peer_gone();
        EXPECT_TRUE(peer.session.ended()) << steps;
        if (!decided) {
          EXPECT_TRUE(peer.logged(stalls ? "the endpoint was silent for too long" : "the endpoint vanished")) << peer.log();
        }
        EXPECT_TRUE(peer.say(step.send).empty()) << "it goes on after its end";
      }
      EXPECT_EQ(world.pipeline->bytes_in_flight(), 0U) << steps;
      const auto record = world.state->session(id);
      ASSERT_TRUE(record);
      if (!begun || !*record) continue;
      EXPECT_EQ((*record)->state, server::SessionState::complete) << steps;
      const auto verdict = pipeline::verdict_from_json((*record)->verdict);
      ASSERT_TRUE(verdict);
      EXPECT_EQ(verdict->recommendation == pipeline::Recommendation::allow, decided) << steps;
    }
    EXPECT_GT(steps, 10U);
  }
  const auto all = world.state->sessions({}, 200);
  ASSERT_TRUE(all);
  for (const server::SessionRecord& record : all->sessions) EXPECT_EQ(record.state, server::SessionState::complete) << record.intent.session;
}

// While store and evidence plane are at work it is the server's turn: the endpoint is told, and the late answer is dropped.
TEST(Peer, IsToldWhenTheServerTakesTooLong) {
  World world;
  const Machine m = machine();
  world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
  Peer peer(world);
  Client client(m);
  endpoint::Session::Step step = client.session().start();
  while (peer.session.wants_data()) {
    peer.session.feed(step.send);
    if (!peer.session.wants_data()) break;
    step = client.session().feed(as_messages(peer.say({})));
  }
  peer.session.on_deadline();
  const auto error = fatal_error(peer.say({}));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, std::uint16_t(pbtnc::ErrorCode::local_error));
  EXPECT_TRUE(peer.session.ended());
}

}  // namespace
}  // namespace gatehouse::test
