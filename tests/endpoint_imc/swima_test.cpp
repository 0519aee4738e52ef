// The SWIMA IMC: the examples of spec part 1b §8, the recorded client's answers, subscriptions, and what doesn't fit.
#include "endpoint/imc/swima/installed_software.h"
#include "endpoint/imc/swima/swima_imc.h"
#include "harness.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::endpoint::test {
namespace {

namespace type = patnc::type;
using pbtnc::BatchType;
using swima::Action;
using swima::Content;

struct Item {
  std::uint32_t record_id = 0;
  std::uint8_t source = 1;
  std::string identifier, tag;
  bool installed = true;
};
struct Change {
  std::uint32_t eid = 0;
  std::string time;
  Action action = Action::creation;
  Item item;
};

// Software that a test lists.
class Listed final : public SoftwareSource {
 public:
  std::vector<Item> items;
  std::vector<Change> changes;
  std::uint32_t epoch_ = 0x38CD4CC6, first_eid = 1, last = 0;
  std::optional<Error> broken;
  std::size_t looks = 0;

  Result<void> refresh() override {
    ++looks;
    if (broken) return fail(*broken);
    return {};
  }
  std::uint32_t epoch() const override { return epoch_; }
  std::uint32_t last_eid() const override { return last; }
  bool has_events_from(std::uint32_t eid) const override { return eid >= first_eid; }
  std::vector<Source> sources() const override { return {{1, "dpkg"}, {2, "rpm"}}; }
  void installed(Content content, const Each& each) const override {
    for (const Item& one : items)
      if (one.installed && !each(record(one, content))) return;
  }
  void records_of(std::string_view identifier, const Each& each) const override {
    for (const Item& one : items)
      if (one.identifier == identifier && !each(record(one, Content::records))) return;
  }
  void events(std::uint32_t from, Content content, const EachEvent& each) const override {
    for (const Change& one : changes)
      if (one.eid >= from && !each({one.eid, one.time, one.action, record(one.item, content)})) return;
  }
  void install(const std::string& name) {
    items.push_back({std::uint32_t(items.size() + 1), 1, name, "<tag/>"});
    changes.push_back({++last, "2022-05-31T08:30:01Z", Action::creation, items.back()});
  }

 private:
  static swima::SoftwareRecord record(const Item& one, Content content) {
    swima::SoftwareRecord out;
    out.record_id = one.record_id;
    out.source = one.source;
    out.identifier = one.identifier;
    if (content == Content::records) out.record = as_bytes(one.tag);
    return out;
  }
};

OwnAttribute request(const swima::Request& v) {
  Writer w;
  swima::append_request(w, v);
  return attribute(0, type::swima_request, w.view());
}

struct Client {
  explicit Client(SoftwareSource& source, bool subscriptions = false, std::size_t max_batch = 65'522)
      : swima({.subscriptions = subscriptions}, source), collectors({&swima}, config(max_batch)) {}
  static Session::Config config(std::size_t max_batch) {
    Session::Config c;
    c.tnc.max_batch = max_batch;
    c.tnc.keep = true;
    return c;
  }
  Server& server() { return collectors.server; }
  std::vector<OwnAttribute> send(const std::vector<OwnAttribute>& attributes, std::uint16_t validator = 2) {
    server().send_attributes(0, patnc::subtype_swima, attributes, validator);
    return server().attributes();
  }
  std::vector<OwnAttribute> ask(const swima::Request& v, std::uint16_t validator = 2) {
    return send({request(v)}, validator);
  }
  // The server's assessment, then its verdict.
  void decide(std::uint32_t result = 0, std::uint16_t validator = 2) {
    Writer value, w;
    patnc::append_u32(value, result);
    w.put_bytes(Server::pa(0, patnc::subtype_swima, {attribute(0, type::assessment_result, value.view())}, validator));
    w.put_bytes(Server::result(result, result == 0 ? 1 : 3));
    server().send_batch(BatchType::result, w.view());
  }
  // Another handshake; what we say at its start.
  std::vector<PaRecord> retry() {
    server().retry();
    return pa_records(server().batches.back());
  }
  SwimaImc swima;
  Collectors collectors;
};

struct Names {
  std::uint32_t type = 0;
  bool fulfilment = false;
  std::uint32_t id = 0, epoch = 0, last = 0, consulted = 0;
  std::vector<std::string> names;
  std::vector<std::string> tags;
};
Names names(const OwnAttribute& a) {
  Names out;
  out.type = a.type;
  Reader r(a.value, "");
  const auto add = [&](const swima::SoftwareRecord& s) {
    out.names.emplace_back(s.identifier);
    out.tags.emplace_back(as_text(s.record));
  };
  const Content content =
      a.is(0, type::software_inventory) || a.is(0, type::software_events) ? Content::records : Content::identifiers;
  if (a.is(0, type::software_inventory) || a.is(0, type::software_identifier_inventory)) {
    const auto h = patnc::parse_records(r, swima::InventoryFormat{.content = content}, add);
    EXPECT_TRUE(h) << (h ? "" : h.error().text());
    if (h)
      out.fulfilment = h->subscription_fulfilment, out.id = h->request_id, out.epoch = h->eid_epoch,
      out.last = h->last_eid;
  } else if (a.is(0, type::software_events) || a.is(0, type::software_identifier_events)) {
    const auto h = patnc::parse_records(r, swima::EventsFormat{.content = content},
                                        [&](const swima::Event& e) { add(e.software); });
    EXPECT_TRUE(h) << (h ? "" : h.error().text());
    if (h) {
      out.fulfilment = h->subscription_fulfilment, out.id = h->request_id, out.epoch = h->eid_epoch;
      out.last = h->last_eid, out.consulted = h->last_consulted_eid;
    }
  } else {
    ADD_FAILURE() << patnc::attribute_name(a.vendor, a.type);
  }
  return out;
}

struct Refused {
  std::uint32_t code = 0, id = 0, maximum = 0;
  std::string text;
};
Refused refused(const OwnAttribute& a) {
  EXPECT_TRUE(a.is(0, type::pa_tnc_error));
  Reader r(a.value, "");
  const auto error = patnc::parse_error(r);
  if (!error) return {};
  Reader information(error->information, "");
  const auto parsed = swima::parse_error_information(error->code, information);
  EXPECT_TRUE(parsed);
  return parsed ? Refused{error->code, parsed->id, parsed->maximum_size, std::string(parsed->description)} : Refused{};
}

const std::string new_dpkg = "strongswan.org__Ubuntu_20.04-x86_64-dpkg-1.19.7ubuntu3.2";
const std::string old_dpkg = "strongswan.org__Ubuntu_20.04-x86_64-dpkg-1.19.7ubuntu3";

Listed upgrade() {
  Listed out;
  out.last = 323;
  const Item gone{1412, 1, old_dpkg, "<old/>", false};
  const Item there{2207, 1, new_dpkg, "<SoftwareIdentity tagId=\"Ubuntu_20.04-x86_64-dpkg-1.19.7ubuntu3.2\"/>"};
  out.items = {gone, there};
  out.changes = {{323, "2022-05-31T08:30:01Z", Action::deletion, gone},
                 {323, "2022-05-31T08:30:01Z", Action::creation, there}};
  return out;
}

// Spec part 1b §8.3, §8.5, §8.6.
TEST(Swima, introduces_itself_and_answers_as_in_the_example) {
  Listed source = upgrade();
  Client c(source, false, 32'754);
  const auto first = pa_records(c.server().batches[0]);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(wire_of(first[0].attributes), "000055970000002100000014ffffffff00007fba");
  EXPECT_FALSE(first[0].exclusive);
  EXPECT_EQ(first[0].validator, pbtnc::any);
  const auto said = c.send({contract_request(patnc::unlimited, 0xFFBA),
                            request({.subscribe = true, .identifiers_only = true, .id = 659, .earliest_eid = 323})});
  EXPECT_EQ(wire_of(said),
            "000055970000002200000014ffffffff00007fba"
            "000000000000000800000031"
            "0000000000000005"
            "00000293"
            "737562736372697074696f6e73206e6f7420656e61626c6564"
            "000000000000000f000000da"
            "00000002"
            "00000293"
            "38cd4cc6"
            "00000143"
            "00000143"
            "00000143"
            "323032322d30352d33315430383a33303a30315a"
            "00000584"
            "00000000"
            "0102"
            "0036" +
                to_hex(as_bytes(old_dpkg)) +
                "0000"
                "00000143"
                "323032322d30352d33315430383a33303a30315a"
                "0000089f"
                "00000000"
                "0101"
                "0038" +
                to_hex(as_bytes(new_dpkg)) + "0000");
  EXPECT_TRUE(pa_records(c.server().batches.back())[0].exclusive);
  EXPECT_EQ(pa_records(c.server().batches.back())[0].validator, 2);
}

// Spec part 1b §8.7, §8.8, but for the record id, which is the instance's.
TEST(Swima, answers_a_targeted_request_with_tags_of_what_is_and_what_was_there) {
  Listed source = upgrade();
  Client c(source);
  auto said = c.ask({.id = 659, .targets = {new_dpkg}});
  EXPECT_EQ(wire_of(said),
            "0000000000000010000000aa"
            "00000001"
            "00000293"
            "38cd4cc6"
            "00000143"
            "0000089f"
            "00000000"
            "0100"
            "0038" +
                to_hex(as_bytes(new_dpkg)) +
                "0000"
                "00000044" +
                to_hex(as_bytes(source.items[1].tag)));
  said = c.ask({.id = 660, .targets = {"unknown", old_dpkg, new_dpkg, old_dpkg}});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(names(said[0]).names, (std::vector<std::string>{old_dpkg, new_dpkg}));
  said = c.ask({.id = 661, .targets = {"unknown"}});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(to_hex(said[0].value),
            "00000000"
            "00000295"
            "38cd4cc6"
            "00000143")
      << "an empty inventory is an answer";
}

TEST(Swima, each_kind_of_request_has_its_kind_of_answer) {
  Listed source;
  for (const char* name : {"a", "b", "c", "d"}) source.install(name);
  source.items[1].installed = false;
  using List = std::vector<std::string>;
  struct Row {
    swima::Request request;
    std::uint32_t type;
    List names;
    List tags;
  };
  for (const Row& row : {
           Row{{.identifiers_only = true, .id = 1}, type::software_identifier_inventory, {"a", "c", "d"}, {"", "", ""}},
           Row{{.id = 2}, type::software_inventory, {"a", "c", "d"}, {"<tag/>", "<tag/>", "<tag/>"}},
           Row{{.identifiers_only = true, .id = 3, .earliest_eid = 3},
               type::software_identifier_events,
               {"c", "d"},
               {"", ""}},
           Row{{.id = 4, .earliest_eid = 4}, type::software_events, {"d"}, {"<tag/>"}},
           Row{{.identifiers_only = true, .id = 5, .targets = {"d", "b", "x"}},
               type::software_identifier_inventory,
               {"d"},
               {""}},
           Row{{.identifiers_only = true, .id = 6, .earliest_eid = 1, .targets = {"d", "b"}},
               type::software_identifier_events,
               {"b", "d"},
               {"", ""}},
           Row{{.identifiers_only = true, .id = 7, .earliest_eid = 9}, type::software_identifier_events, {}, {}},
       }) {
    Client c(source);
    const auto said = c.ask(row.request);
    ASSERT_EQ(said.size(), 1U);
    const Names told = names(said[0]);
    EXPECT_EQ(told.type, row.type);
    EXPECT_EQ(told.names, row.names) << row.request.id;
    EXPECT_EQ(told.tags, row.tags);
    EXPECT_EQ(told.id, row.request.id);
    EXPECT_EQ(told.last, 4U);
    EXPECT_FALSE(told.fulfilment);
    if (row.request.earliest_eid != 0) {
      EXPECT_EQ(told.consulted, 4U);
    }
  }
}

TEST(Swima, two_requests_in_a_message_have_two_answers) {
  Listed source;
  source.install("a");
  Client c(source);
  const auto said = c.send(
      {request({.identifiers_only = true, .id = 1}), request({.identifiers_only = true, .id = 2, .earliest_eid = 1})});
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(names(said[0]).id, 1U);
  EXPECT_EQ(names(said[1]).id, 2U);
}

TEST(Swima, malformed_requests_are_refused_where_they_are_wrong) {
  for (const auto& [value, offset] : {std::pair{"0000000000000001000000", 20U},
                                      std::pair{"000000010000000100000000"
                                                "0005"
                                                "61",
                                                32U},
                                      std::pair{"000000000000000100000000"
                                                "00",
                                                32U}}) {
    Listed source;
    Client c(source);
    const auto said = c.send({attribute(0, type::swima_request, *from_hex(value))});
    ASSERT_EQ(said.size(), 1U);
    Reader r(said[0].value, "");
    const auto error = patnc::parse_error(r);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, 1U);
    Reader information(error->information, "");
    ASSERT_TRUE(information.skip(8));
    EXPECT_EQ(*information.get<std::uint32_t>(), offset) << value;
  }
}

// The recorded client's own words: the same answer, byte for byte, from the software that it listed, also in segments.
TEST(Swima, says_what_the_recorded_client_said) {
  for (const auto& [conversation, max_batch] :
       {std::pair{"sasl-ecc", 65'522U}, std::pair{"sasl-rsa-32k", 32'754U}, std::pair{"sasl-ecc-2k", 2'080U}}) {
    std::vector<ByteVector> client, server;
    for (const auto& entry : std::filesystem::directory_iterator(interop + conversation + "/batches")) {
      const std::string name = entry.path().filename().string();
      auto& list = name.find("c2s") != std::string::npos ? client : server;
      const std::size_t at = std::stoul(name) / 2;
      if (list.size() <= at) list.resize(at + 1);
      list[at] = file(entry.path().string());
    }
    std::vector<OwnAttribute> recorded;
    std::string base;
    for (const ByteVector& batch : client)
      if (!batch.empty())
        for (const PaRecord& r : pa_records(batch))
          if (r.vendor == 0 && r.subtype == patnc::subtype_swima)
            recorded.insert(recorded.end(), r.attributes.begin(), r.attributes.end());
    for (const OwnAttribute& a : recorded) {
      if (a.is(0, type::software_identifier_events)) base = wire_of({a});
      if (a.is(patnc::vendor_tcg, type::segment_envelope)) base += to_hex(Bytes(a.value).subspan(4));
    }
    Listed source;
    const ByteVector whole = *from_hex(base);
    Reader r(Bytes(whole).subspan(12), "");
    const auto header = patnc::parse_records(r, swima::EventsFormat{}, [&](const swima::Event& e) {
      const Item item{e.software.record_id, e.software.source, std::string(e.software.identifier), {}};
      source.changes.push_back({e.eid, std::string(e.timestamp), e.action, item});
    });
    ASSERT_TRUE(header);
    EXPECT_EQ(source.changes.size(), 235U);
    source.epoch_ = header->eid_epoch;
    source.last = header->last_eid;
    SwimaImc swima({}, source);
    Collectors c({&swima}, Client::config(max_batch));
    std::vector<OwnAttribute> said;
    const auto take = [&] {
      for (const PaRecord& one : pa_records(c.server.batches.back()))
        said.insert(said.end(), one.attributes.begin(), one.attributes.end());
    };
    take();
    for (const ByteVector& batch : server) {
      if (batch.empty() || c.session.decided()) continue;
      c.server.send_batch(batch);
      if (!c.session.decided()) take();
    }
    ASSERT_TRUE(c.session.decided());
    EXPECT_EQ(wire_of(said), wire_of(recorded)) << conversation;
  }
}

TEST(Swima, events_that_are_no_longer_known_are_an_error_and_the_inventory) {
  Listed source;
  for (const char* name : {"a", "b", "c"}) source.install(name);
  source.first_eid = 3;
  Client c(source);
  auto said = c.ask({.identifiers_only = true, .id = 5, .earliest_eid = 2});
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(refused(said[0]).code, swima::error::general);
  EXPECT_EQ(refused(said[0]).id, 5U);
  EXPECT_EQ(names(said[1]).type, type::software_identifier_inventory);
  EXPECT_EQ(names(said[1]).names.size(), 3U);
  said = c.ask({.identifiers_only = true, .id = 6, .earliest_eid = 3});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(names(said[0]).names, std::vector<std::string>{"c"});
}

TEST(Swima, software_that_cant_be_looked_at_is_an_error) {
  Listed source;
  source.broken = Error{Fault::environment, "can't open", {}, 0, "/var/lib/secret-path", {}};
  Client c(source);
  const auto said = c.ask({.identifiers_only = true, .id = 5});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(refused(said[0]).code, swima::error::general);
  EXPECT_EQ(refused(said[0]).text, "can't open");
  EXPECT_FALSE(c.server().last.ended);
}

TEST(Swima, what_doesnt_fit_is_refused_or_told_in_part) {
  Listed source;
  for (int i = 0; i < 300; ++i) source.install("software-" + std::to_string(i) + std::string(20, 'x'));
  // No contract: a message has to hold it.
  Client c(source, false, 2'080);
  auto said = c.ask({.identifiers_only = true, .id = 1});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(refused(said[0]).code, swima::error::response_too_large);
  EXPECT_EQ(refused(said[0]).maximum, 2'080U - 32 - 8);
  // Events: portions, each continuing where the one before ended.
  std::vector<std::string> all;
  std::uint32_t from = 1;
  for (std::uint32_t id = 2; id < 100; ++id) {
    said = c.ask({.identifiers_only = true, .id = id, .earliest_eid = from});
    ASSERT_EQ(said.size(), 1U);
    const Names told = names(said[0]);
    EXPECT_EQ(told.last, 300U);
    ASSERT_GE(told.consulted, from);
    all.insert(all.end(), told.names.begin(), told.names.end());
    from = told.consulted + 1;
    if (told.consulted == told.last) break;
  }
  ASSERT_EQ(all.size(), 300U);
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], source.items[i].identifier);
  // A transaction is whole or not there.
  for (Change& change : source.changes) change.eid = 7;
  said = c.ask({.identifiers_only = true, .id = 200, .earliest_eid = 7});
  EXPECT_EQ(refused(said[0]).code, swima::error::response_too_large);
  // The server's own maximum counts too; with segments everything goes.
  said = c.send({contract_request(5'000, 1'000), request({.identifiers_only = true, .id = 201})});
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(refused(said[1]).code, swima::error::response_too_large);
  EXPECT_EQ(refused(said[1]).maximum, 5'000U);
  said = c.send({contract_request(patnc::unlimited, 1'000), request({.identifiers_only = true, .id = 202})});
  ASSERT_EQ(said.size(), 2U);
  EXPECT_TRUE(said[1].is(patnc::vendor_tcg, type::segment_envelope));
  // A contract that leaves no room at all.
  said = c.send({contract_request(0, 12), request({.identifiers_only = true, .id = 203})});
  EXPECT_FALSE(c.server().last.ended);
}

TEST(Swima, inventory_arrives_whole_at_every_segment_size) {
  Listed source;
  for (const char* name : {"alpha", "beta", "gamma"}) source.install(name);
  Client reference(source);
  const std::string expected = wire_of(reference.ask({.id = 1}));
  for (std::uint32_t segment = 12; segment < expected.size() / 2 + 2; ++segment) {
    Client c(source);
    auto said = c.send({contract_request(patnc::unlimited, segment), request({.id = 1})});
    ASSERT_EQ(said.size(), 2U);
    std::string whole;
    patnc::Reassembler together;
    for (int round = 0; round < 100 && whole.empty(); ++round) {
      const OwnAttribute a = said.back();
      if (!a.is(patnc::vendor_tcg, type::segment_envelope)) {
        whole = wire_of({a});
        break;
      }
      Reader r(a.value, "");
      const auto envelope = patnc::parse_envelope(r);
      ASSERT_TRUE(envelope);
      EXPECT_LE(envelope->segment.size(), segment);
      auto step = together.add(*envelope, 20);
      if (step.attribute) whole = to_hex(*step.attribute);
      if (step.ask_next) said = c.send({attribute(patnc::vendor_tcg, type::next_segment, *from_hex("00000001"))});
    }
    ASSERT_EQ(whole, expected) << segment;
  }
}

TEST(Swima, tells_its_sources_and_active_subscriptions) {
  Listed source;
  source.install("a");
  Client c(source, true);
  EXPECT_EQ(wire_of(c.send({attribute(0, type::source_metadata_request, {}, 0x80)})),
            "00000000000000150000001c"
            "000002"
            "01"
            "0004"
            "64706b67"
            "02"
            "0003"
            "72706d");
  EXPECT_EQ(wire_of(c.send({attribute(0, type::subscription_status_request, {}, 0x80)})),
            "000000000000001300000010"
            "00000000");
  c.ask({.subscribe = true, .identifiers_only = true, .id = 9, .earliest_eid = 1, .targets = {"b", "a"}});
  c.ask({.subscribe = true, .id = 10}, 7);
  EXPECT_EQ(wire_of(c.send({attribute(0, type::subscription_status_request, {})})),
            "000000000000001300000022"
            "00000001"
            "60000002"
            "00000009"
            "00000001"
            "000161"
            "000162");
  const auto bad = c.send({attribute(0, type::source_metadata_request, ByteVector(1))});
  ASSERT_EQ(bad.size(), 1U);
  EXPECT_TRUE(bad[0].is(0, type::pa_tnc_error));
}

TEST(Swima, subscription_is_fulfilled_from_the_first_event_that_wasnt_taken_in) {
  Listed source;
  source.install("a");
  Client c(source, true);
  ASSERT_EQ(names(c.ask({.subscribe = true, .identifiers_only = true, .id = 14, .earliest_eid = 1})[0]).names.size(),
            1U);
  EXPECT_TRUE(c.swima.subscribed());
  EXPECT_FALSE(c.swima.due());
  c.decide();
  source.install("b");
  EXPECT_TRUE(c.swima.due());
  const auto fulfilment = [&](std::vector<std::string> expected, std::uint32_t result) {
    const auto records = c.retry();
    ASSERT_EQ(records.size(), 1U);
    EXPECT_FALSE(records[0].exclusive);
    EXPECT_EQ(records[0].validator, 2);
    ASSERT_EQ(records[0].attributes.size(), 1U);
    const Names told = names(records[0].attributes[0]);
    EXPECT_TRUE(told.fulfilment);
    EXPECT_EQ(told.id, 14U);
    EXPECT_EQ(told.type, type::software_identifier_events);
    EXPECT_EQ(told.names, expected);
    EXPECT_FALSE(c.swima.due());
    c.decide(result);
  };
  fulfilment({"b"}, 1);  // not found in order: told again
  source.install("c");
  fulfilment({"b", "c"}, 0);
  fulfilment({}, 0);  // 40 octets: it lives
  // Another epoch: the inventory is the new beginning.
  source.epoch_ = 99;
  source.changes.clear();
  source.last = 1;
  EXPECT_TRUE(c.swima.due());
  const auto records = c.retry();
  const Names told = names(records[0].attributes[0]);
  EXPECT_TRUE(told.fulfilment);
  EXPECT_EQ(told.type, type::software_identifier_inventory);
  EXPECT_EQ(told.epoch, 99U);
  EXPECT_EQ(told.names.size(), 3U);
  c.decide();
  source.install("d");
  fulfilment({"d"}, 0);
}

TEST(Swima, subscription_to_an_inventory_and_its_tags_is_fulfilled_with_one) {
  Listed source;
  source.install("a");
  Client c(source, true);
  c.ask({.subscribe = true, .id = 3, .targets = {"a"}});
  c.decide();
  source.install("b");
  const auto records = c.retry();
  ASSERT_EQ(records.size(), 1U);
  const Names told = names(records[0].attributes[0]);
  EXPECT_TRUE(told.fulfilment);
  EXPECT_EQ(told.type, type::software_inventory);
  EXPECT_EQ(told.names, std::vector<std::string>{"a"});
}

TEST(Swima, fulfilment_goes_in_segments_under_the_contract_of_before) {
  Listed source;
  source.install("a");
  Client c(source, true, 2'080);
  c.send({contract_request(patnc::unlimited, 500),
          request({.subscribe = true, .identifiers_only = true, .id = 3, .earliest_eid = 1})});
  c.decide();
  for (int i = 0; i < 100; ++i) source.install("software-" + std::to_string(i));
  const auto records = c.retry();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_TRUE(records[0].attributes[0].is(patnc::vendor_tcg, type::segment_envelope));
  EXPECT_EQ(to_hex(Bytes(records[0].attributes[0].value).first(12)),
            "c00000010000000000000"
            "00f");
}

TEST(Swima, clear_and_subscribe_in_the_standards_order) {
  Listed source;
  source.install("a");
  Client c(source, true);
  c.ask({.subscribe = true, .identifiers_only = true, .id = 1, .earliest_eid = 1});
  c.ask({.subscribe = true, .identifiers_only = true, .id = 2, .earliest_eid = 1});
  c.ask({.subscribe = true, .identifiers_only = true, .id = 1, .earliest_eid = 1}, 7);
  const auto active = [&](std::uint16_t validator) {
    return c.send({attribute(0, type::subscription_status_request, {})}, validator).at(0).value.size();
  };
  EXPECT_EQ(active(2), 4U + 24);
  // An id that is in use is refused, and nothing else comes of the request.
  for (const bool subscribe : {false, true}) {
    const auto said = c.ask({.subscribe = subscribe, .identifiers_only = true, .id = 2, .earliest_eid = 1});
    ASSERT_EQ(said.size(), 1U);
    EXPECT_EQ(refused(said[0]).code, swima::error::subscription_id_reuse);
    EXPECT_EQ(refused(said[0]).id, 2U);
  }
  // C clears those of the asking validator first, so its ids are free; S then makes the new one.
  auto said =
      c.ask({.clear_subscriptions = true, .subscribe = true, .identifiers_only = true, .id = 2, .earliest_eid = 1});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(names(said[0]).names.size(), 1U);
  EXPECT_EQ(active(2), 4U + 12);
  EXPECT_EQ(active(7), 4U + 12);
  // C alone is answered too.
  said = c.ask({.clear_subscriptions = true, .identifiers_only = true, .id = 3, .earliest_eid = 1});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(names(said[0]).id, 3U);
  EXPECT_EQ(active(2), 4U);
  c.ask({.clear_subscriptions = true, .id = 4}, 7);
  EXPECT_FALSE(c.swima.subscribed());
  c.decide();
  const auto records = c.retry();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_TRUE(is_contract_request(records[0].attributes.at(0))) << "without a subscription it introduces itself again";
}

TEST(Swima, subscriptions_are_bounded) {
  Listed source;
  Client c(source, true);
  for (std::uint32_t id = 1; id <= 8; ++id)
    EXPECT_EQ(c.ask({.subscribe = true, .identifiers_only = true, .id = id}).size(), 1U);
  auto said = c.ask({.subscribe = true, .identifiers_only = true, .id = 9});
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(refused(said[0]).code, swima::error::subscription_denied);
  EXPECT_EQ(names(said[1]).id, 9U);
  // Without permission, S and C are both refused, and answered.
  Client without(source);
  for (const bool clear : {false, true}) {
    said = without.ask({.clear_subscriptions = clear, .subscribe = !clear, .identifiers_only = true, .id = 1});
    ASSERT_EQ(said.size(), 2U);
    EXPECT_EQ(refused(said[0]).code, swima::error::subscription_denied);
  }
}

TEST(Swima, fulfilment_that_fails_is_said_and_told_later) {
  Listed source;
  source.install("a");
  Client c(source, true);
  c.ask({.subscribe = true, .identifiers_only = true, .id = 6, .earliest_eid = 1});
  c.decide();
  source.install("b");
  source.broken = Error{Fault::environment, "can't lock", {}, 0, {}, {}};
  auto records = c.retry();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(wire_of(records[0].attributes),
            "00000000000000080000002e"
            "0000000000000007"
            "00000006"
            "0000000000000004"
            "00000006" +
                to_hex(as_bytes("can't lock")));
  c.decide();
  source.broken.reset();
  records = c.retry();
  EXPECT_EQ(names(records[0].attributes.at(0)).names, std::vector<std::string>{"b"});
}

// From dpkg's file to the wire.
TEST(Swima, this_machines_packages_and_what_changed_since) {
  Folder folder;
  const auto install = [&](std::string_view versions) {
    std::string text;
    for (std::size_t at = 0; at < versions.size(); at += 2)
      text += "Package: p" + std::string(1, versions[at]) +
              "\nStatus: install ok installed\nArchitecture: amd64\nVersion: " + versions[at + 1] + "\n\n";
    folder.write("status", text);
  };
  install("a1b1");
  InventoryOptions options;
  options.directory = folder / "inventory";
  options.platform = {.name = "Debian", .version = "12 x86_64"};
  options.dpkg_status = folder / "status";
  options.rpm_databases = {};
  auto inventory = Inventory::open(options);
  ASSERT_TRUE(inventory);
  InstalledSoftware source(*std::move(inventory), [] { return std::int64_t{4'000'000'000}; });
  Client c(source, true);
  const std::string prefix = "strongswan.org__Debian_12-x86_64-";
  Names told = names(c.ask({.subscribe = true, .identifiers_only = true, .id = 1, .earliest_eid = 1})[0]);
  EXPECT_EQ(told.names, (std::vector<std::string>{prefix + "pa-1", prefix + "pb-1"}));
  EXPECT_EQ(told.last, 1U);
  c.decide();
  EXPECT_FALSE(c.swima.due());
  install("a2b1");
  ASSERT_TRUE(source.refresh());
  EXPECT_TRUE(c.swima.due());
  const auto records = c.retry();
  told = names(records[0].attributes[0]);
  EXPECT_EQ(told.names, (std::vector<std::string>{prefix + "pa-1", prefix + "pa-2"}));
  EXPECT_EQ(told.last, 2U);
  // Tags, of the version that is gone as well; the whole inventory with its tags.
  c.decide();
  c.retry();
  told = names(c.ask({.id = 2, .targets = {prefix + "pa-1"}})[0]);
  ASSERT_EQ(told.tags.size(), 1U);
  EXPECT_NE(told.tags[0].find("tagId=\"Debian_12-x86_64-pa-1\""), std::string::npos);
  told = names(c.ask({.id = 3})[0]);
  EXPECT_EQ(told.names, (std::vector<std::string>{prefix + "pa-2", prefix + "pb-1"}));
  EXPECT_NE(told.tags[1].find("tagId=\"Debian_12-x86_64-pb-1\""), std::string::npos);
  told = names(c.ask({.id = 4, .earliest_eid = 2})[0]);
  EXPECT_EQ(told.type, type::software_events);
  EXPECT_NE(told.tags[0].find("pa-1"), std::string::npos);
  EXPECT_NE(told.tags[1].find("pa-2"), std::string::npos);
}

}  // namespace
}  // namespace gatehouse::endpoint::test
