// What the SWIMA IMV answers to what it can't use (spec part 1b §9.4, §9.5): the exact PA-TNC error on the wire, and an
// item that is an error. And what it holds of an inventory, which must not grow with it.
#include <malloc.h>

#include "server/state/users.h"
#include "tests/server_imv/swima_support.h"
#include "tests/wire_swima/value_rows.h"

namespace gatehouse::test {
namespace {

using swima::Action;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using SwimaViolations = SwimaTest;

std::string invalid_parameter(std::string_view header, std::size_t offset) {
  Writer w;
  w.put_bytes(*from_hex("0000000000000001"));
  w.put_bytes(*from_hex(header));
  patnc::append_u32(w, std::uint32_t(offset));
  return to_hex(w.view());
}

TEST_F(SwimaViolations, OfAnswersAreAnswered) {
  ask_swidt("R");
  const std::pair<std::uint32_t, std::vector<swima::Row>> tables[] = {
      {type::software_identifier_inventory, swima::identifier_inventory_rows()},
      {type::software_identifier_events, swima::identifier_event_rows()},
      {type::software_inventory, swima::inventory_rows()},
      {type::software_events, swima::event_rows()}};
  for (const auto& [kind, rows] : tables)
    for (const swima::Row& row : rows) {
      const std::string what = patnc::attribute_name(ietf, kind) + ": " + row.violation;
      ByHand client(world());
      hello(client);
      // Behind a good attribute of 16 bytes, so that values are at 36.
      const Answer answer =
          client.say({swima_message().add(ietf, type::testing, "test").add(ietf, kind, swima::bytes(row.value))});
      const auto errors = answer.attributes(ietf, type::pa_tnc_error);
      ASSERT_EQ(errors.size(), row.offset ? 1U : 0U) << what;
      if (!row.offset) {
        EXPECT_EQ(answer.type, pbtnc::BatchType::sdata) << what;  // an unknown request id: dropped
        continue;
      }
      EXPECT_EQ(to_hex(errors[0]->value), invalid_parameter("0100000000000005", 36 + *row.offset)) << what;
      const auto messages = answer.of(ietf, swima_subtype);
      ASSERT_FALSE(messages.empty());
      EXPECT_TRUE(messages[0]->exclusive) << what;
      EXPECT_EQ(messages[0]->collector, 2U) << what;
      EXPECT_EQ(answer.type, pbtnc::BatchType::result) << what;
      EXPECT_EQ(answer.access, 3U) << what;
      EXPECT_EQ(assessment(answer, ietf, swima_subtype), 3U) << what;
      EXPECT_EQ(swidt(client).evaluation, Evaluation::error) << what;
      EXPECT_THAT(swidt(client).result, HasSubstr("malformed " + patnc::attribute_name(ietf, kind))) << what;
    }
  EXPECT_FALSE(head());
}

TEST_F(SwimaViolations, MakeTheWholeMessageVoid) {
  ask_swidt("R");
  ByHand client(world());
  hello(client);
  const Answer answer =
      client.say({swima_message()
                      .add(ietf, type::software_identifier_inventory, inventory(1, 1, named({"a__1"})))
                      .add(ietf, type::software_identifier_events, "short")});
  EXPECT_EQ(answer.attributes(ietf, type::pa_tnc_error).size(), 1U);
  EXPECT_EQ(answer.access, 3U);
  EXPECT_FALSE(head());
}

TEST_F(SwimaViolations, BeforeTheEndpointIsKnownCountToo) {
  ask_swidt("R");
  ByHand client(world());
  const Answer answer = client.say({swima_message().add(ietf, type::software_identifier_events, "short"), push()});
  EXPECT_EQ(answer.attributes(ietf, type::pa_tnc_error).size(), 1U);
  EXPECT_EQ(answer.type, pbtnc::BatchType::result);
  EXPECT_EQ(swidt(client).evaluation, Evaluation::error);
}

TEST_F(SwimaViolations, OfWhatTheServerDoesntNeedAreNotFatal) {
  ask_swidt("R");
  ByHand client(world());
  hello(client);
  const Answer answer =
      client.say({swima_message()
                      .add(ietf, type::subscription_status_response, "x")
                      .add(ietf, type::source_metadata_response, "x")
                      .add(ietf, type::swima_request, "x")
                      .add(ietf, type::pa_tnc_error, "short")
                      .add(ietf, type::pa_tnc_error, swima_error(9, 1, "unknown code"))
                      .add(ietf, type::software_identifier_inventory, inventory(1, 1, named({"a__1"})))});
  EXPECT_THAT(answer.attributes(ietf, type::pa_tnc_error), IsEmpty());
  EXPECT_EQ(answer.access, 1U);
  EXPECT_EQ(swidt(client).result, "received inventory of 1 SW ID and 0 SWID tags");
}

TEST_F(SwimaViolations, EventsMayComeInAnyOrder) {
  store_inventory(26, named({"a__1"}));
  ByHand client(world());
  hello(client);
  tell_events(client, 1, {.last_eid = 30},
              {{30, Action::deletion, "b__1"}, {27, Action::creation, "b__1"}, {28, Action::creation, "c__1"}});
  EXPECT_THAT(installed(), ElementsAre("a__1", "c__1"));
}

// ---- in segments

struct Segments {
  ByteVector attribute;
  std::size_t size = 0;

  Segments(std::uint32_t kind, Bytes value, std::size_t segment) : size(segment) {
    Writer w;
    patnc::append_attribute(w, 0, ietf, kind, value);
    attribute = std::move(w).take();
  }
  std::size_t count() const { return (attribute.size() + size - 1) / size; }
  Pa message(std::size_t n) const {
    const std::uint8_t flags =
        std::uint8_t((n == 0 ? patnc::first_segment : 0) | (n + 1 < count() ? patnc::more_segments : 0));
    const Bytes rest = Bytes(attribute).subspan(n * size);
    Writer w;
    patnc::append_envelope(w, {flags, 7, rest.first(std::min(size, rest.size()))});
    return swima_message().add(tcg, type::segment_envelope, w.view());
  }
};

std::optional<std::uint8_t> next_segment_flags(const Answer& answer) {
  const ServerAttribute* a = answer.attribute(tcg, type::next_segment);
  if (a == nullptr) return std::nullopt;
  return std::uint8_t(a->value[0]);
}

TEST_F(SwimaViolations, InSegmentsNameTheByteOfTheAttribute) {
  ask_swidt("R");
  const std::pair<std::uint32_t, std::vector<swima::Row>> tables[] = {
      {type::software_identifier_inventory, swima::identifier_inventory_rows()},
      {type::software_identifier_events, swima::identifier_event_rows()}};
  for (const auto& [kind, rows] : tables)
    for (const swima::Row& row : rows) {
      const ByteVector value = swima::bytes(row.value);
      if (!row.offset || value.size() < 16 || value.size() > 200) continue;
      const std::string what = patnc::attribute_name(ietf, kind) + ": " + row.violation;
      ByteVector ours = value;
      std::fill(ours.begin() + 4, ours.begin() + 8, std::byte{0});
      ours[7] = std::byte{1};  // our request
      const Segments segments(kind, ours, 12);
      ByHand client(world());
      Answer answer = hello(client);
      for (std::size_t n = 0; n < segments.count() && answer.type == pbtnc::BatchType::sdata; ++n)
        answer = client.say({segments.message(n)});
      ASSERT_EQ(answer.type, pbtnc::BatchType::result) << what;
      const auto errors = answer.attributes(ietf, type::pa_tnc_error);
      ASSERT_EQ(errors.size(), 1U) << what;
      EXPECT_EQ(to_hex(errors[0]->value), invalid_parameter("ffffffff00000007", 12 + *row.offset)) << what;
      EXPECT_EQ(swidt(client).evaluation, Evaluation::error) << what;
    }
}

TEST_F(SwimaViolations, AnAttributeThatIsTooLargeIsRefusedAtItsFirstSegment) {
  ask_swidt("R");
  const auto first = [](std::uint32_t kind, std::uint32_t total) {
    Writer base, envelope;
    base.put(std::uint32_t{0});
    base.put(kind);
    base.put(total);
    base.put_bytes(Bytes(inventory(1, 1, {})));
    patnc::append_envelope(envelope, {patnc::first_segment | patnc::more_segments, 7, base.view()});
    return swima_message().add(tcg, type::segment_envelope, envelope.view());
  };
  const std::pair<std::uint32_t, std::uint32_t> limits[] = {{type::software_identifier_inventory, 64U << 20},
                                                            {type::software_identifier_events, 16U << 20}};
  for (const auto& [kind, most] : limits) {
    ByHand good(world());
    hello(good);
    EXPECT_EQ(next_segment_flags(good.say({first(kind, most)})), 0U);
    ByHand client(world());
    hello(client);
    const Answer answer = client.say({first(kind, most + 1)});
    EXPECT_EQ(next_segment_flags(answer), patnc::cancel_segments);
    const auto errors = answer.attributes(ietf, type::pa_tnc_error);
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_EQ(errors[0]->value, swima_error(6, 1, "attribute too large", most));
    EXPECT_EQ(answer.type, pbtnc::BatchType::result);
    EXPECT_EQ(swidt(client).evaluation, Evaluation::error);
    EXPECT_EQ(swidt(client).result, "segmented attribute: attribute too large");
  }
}

TEST_F(SwimaViolations, SegmentsThatNobodyAskedForAreCancelled) {
  ask_swidt("R");
  ByHand client(world());
  hello(client);
  const Segments other(type::software_identifier_inventory, inventory(99, 1, named({"x__1", "y__1"})), 40);
  const Answer answer = client.say({other.message(0)});
  EXPECT_EQ(next_segment_flags(answer), patnc::cancel_segments);
  EXPECT_THAT(answer.attributes(ietf, type::pa_tnc_error), IsEmpty());
  EXPECT_EQ(tell_inventory(client, 1, 1, named({"a__1"})).access, 1U);
  EXPECT_THAT(installed(), ElementsAre("a__1"));
}

TEST_F(SwimaViolations, AnAnswerThatStopsHalfWayIsAnError) {
  store_inventory(26, named({"a__1"}));
  ByHand client(world());
  hello(client);
  const Segments half(type::software_identifier_events,
                      events(1, {.last_eid = 28}, {{27, Action::creation, "b__1"}, {28, Action::creation, "c__1"}}),
                      80);
  client.say({half.message(0)});
  const Answer last = client.until_result(client.say({}));
  EXPECT_EQ(last.access, 3U);
  EXPECT_EQ(swidt(client).evaluation, Evaluation::error);
  EXPECT_THAT(installed(), ElementsAre("a__1"));
}

// More events than the store keeps of a session: then what is installed now is asked for.
TEST(SwimaStore, MoreEventsThanCanBeKeptLeadToAnInventory) {
  World world;
  world.state.reset();
  server::StateOptions options;
  options.path = world.folder / "small";
  options.create = true;
  options.max_staged_event_bytes = 1000;
  world.state = *server::State::open(std::move(options));
  enrol_host1(world);
  world.settings.policy = policy_of("[groups.all]\nask = [{ type = \"SWIDT\", argument = \"R\" }]\n");
  const auto tell = [](ByHand& client, std::uint32_t kind, const ByteVector& value) {
    return client.say({swima_message().add(ietf, kind, value)});
  };
  {
    ByHand client(world);
    client.say({os_push()});
    ASSERT_EQ(tell(client, type::software_identifier_inventory, inventory(1, 26, named({"a__1"}))).access, 1U);
  }
  ByHand client(world);
  client.say({os_push()});
  std::vector<Happened> many;
  for (std::uint32_t i = 0; i < 50; ++i) many.push_back({27, Action::creation, "m__" + std::to_string(i)});
  const auto request = requested(tell(client, type::software_identifier_events, events(1, {.last_eid = 27}, many)));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request.earliest_eid, 0U);
  EXPECT_EQ(tell(client, type::software_identifier_inventory, inventory(2, 27, named({"a__1", "b__1"}))).access, 1U);
  EXPECT_EQ(item(client.verdict(), "SWIDT").result, "received inventory of 2 SW IDs and 0 SWID tags");
  EXPECT_EQ((*world.state->software_head("host1"))->installed, 2U);
}

// ---- memory

// A host that answers everything at once when asked to, and keeps nothing.
class CountingHost final : public server::Host {
 public:
  explicit CountingHost(World& world) : world_(world) {}
  void send(ByteVector plaintext) override { sent += plaintext.size(); }
  void close() override {}
  void log(server::LogLevel, std::string) override {}
  void set_deadline(std::chrono::milliseconds) override {}
  void check_password(std::string, Secret) override {}
  ScramRecord scram_record(const std::string& user) override { return server::UserFile().scram_record(user); }
  std::unique_ptr<pipeline::Evidence> open_evidence(pipeline::Context) override { return nullptr; }
  void begin_session(server::SessionIntent) override {}
  void commit_result(server::SessionResult result) override {
    committed = std::move(result);
    ++waiting;
  }
  void stage_software(server::SoftwareChunk chunk) override {
    in_flight += 1;
    most_in_flight = std::max(most_in_flight, in_flight);
    installed += chunk.installed.size();
    largest = std::max(largest, chunk.installed.size());
  }
  void activate(server::Activation) override {}
  bool has_room(std::size_t) override { return true; }
  std::shared_ptr<const refdb::View> references() override { return world_.references; }
  std::int64_t now_ms() override { return 1'796'000'000'000; }
  ByteVector random(std::size_t bytes) override { return random_bytes(bytes); }

  void complete(server::Session& session) {
    while (in_flight != 0 || waiting != 0) {
      if (in_flight != 0) {
        --in_flight;
        session.on_staged(session.id(), {});
      } else {
        --waiting;
        session.on_result_committed(session.id(), {});
      }
    }
  }

  std::size_t sent = 0, in_flight = 0, most_in_flight = 0, installed = 0, largest = 0, waiting = 0;
  std::optional<server::SessionResult> committed;

 private:
  World& world_;
};

TEST_F(SwimaViolations, AHundredThousandRecordsTakeNoMoreMemoryThanAThousand) {
  ask_swidt("R");
  constexpr std::uint32_t records = 100'000;
  Writer value;
  swima::append_inventory_header(value, {.count = records, .request_id = 1, .eid_epoch = epoch, .last_eid = 26});
  for (std::uint32_t i = 0; i < records; ++i) {
    const std::string id = "strongswan.org__Debian_12-x86_64-package-" + std::to_string(i) + "-1.21.22";
    swima::append_software(value, {.record_id = i, .source = 1, .identifier = id}, swima::Content::identifiers);
  }
  const Segments segments(type::software_identifier_inventory, value.view(), 32'698);
  ASSERT_GT(segments.count(), 200U);

  CountingHost host(world());
  server::Session session(host, world().settings, *world().state, {"192.0.2.7:49152", "CN=host1", "certificate"});
  const auto feed = [&](pttls::Type kind, Bytes bytes) {
    Writer w;
    pttls::append_message(w, kind, 0, bytes);
    session.feed(w.view());
    host.complete(session);
  };
  Writer version;
  pttls::append_version_request(version, {});
  feed(pttls::Type::version_request, version.view());
  feed(pttls::Type::pb_tnc_batch, client_batch({push(), contract()}));
  std::size_t at_first = 0, most = 0;
  for (std::size_t n = 0; n < segments.count(); ++n) {
    const std::size_t before = host.sent;
    feed(pttls::Type::pb_tnc_batch, client_batch({segments.message(n)}));
    ASSERT_GT(host.sent, before) << n;
    const std::size_t used = ::mallinfo2().uordblks;
    if (n == 5) at_first = used;
    if (n >= 5) most = std::max(most, used);
  }
  EXPECT_EQ(host.installed, records);
  EXPECT_EQ(host.most_in_flight, 1U);
  EXPECT_LE(host.largest, 1024U);
  EXPECT_LT(most - at_first, std::size_t(1) << 20) << "of " << segments.attribute.size();
  ASSERT_TRUE(host.committed);
  ASSERT_TRUE(host.committed->software);
  EXPECT_TRUE(host.committed->software->inventory);
  EXPECT_EQ(host.committed->software->staged_installed, records);
  ASSERT_EQ(host.committed->items.size(), 1U);
  EXPECT_EQ(host.committed->items[0].text, "received inventory of 100000 SW IDs and 0 SWID tags");
}

}  // namespace
}  // namespace gatehouse::test
