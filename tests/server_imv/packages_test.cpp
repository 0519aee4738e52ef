// Installed packages: counters, rules and references; lists in one piece and in segments of every size.
#include "server/judge/packages.h"

#include "refdb/store/builder.h"
#include "refdb/store/open.h"
#include "tests/pipeline_graph/fake_view.h"
#include "tests/server_imv/support.h"
#include "wire/patnc/segmentation.h"

namespace gatehouse::test {
namespace {

using Packages = Imvs;

const std::string rules = R"({type = "PCKGS", blacklisted = ["apt *"], vulnerable = ["bash < 5.3"]})";

ByteVector list_of(std::size_t size) {
  std::vector<std::pair<std::string, std::string>> out = {
      {"apt", "2.6.1"}, {"bash", "5.2.15-2+b7"}, {"perl-modules-5.36", "1"}};
  while (out.size() < size) out.emplace_back("package" + std::to_string(out.size()), "1." + std::to_string(out.size()));
  return packages(out);
}

// Spec part 1b §10.5, with the sizes of an observed exchange.
TEST_F(Packages, AreCountedAndNamedAsOperatorsKnowIt) {
  ask(rules);
  ByHand client(world());
  Answer answer = client.say({os_push()});
  ASSERT_EQ(answer.of(ietf, os_subtype).size(), 1U);
  EXPECT_EQ(answer.of(ietf, os_subtype)[0]->body.size(), 48U);
  EXPECT_EQ(to_hex(Bytes(answer.of(ietf, os_subtype)[0]->body).subspan(8)),
            "000055970000002100000014ffffffff0000ffba"
            "0000000000000001000000140000000000000007");
  answer = client.say({os_message().add(ietf, type::installed_packages, list_of(880))});
  ASSERT_EQ(answer.of(ietf, os_subtype).size(), 1U);
  EXPECT_EQ(answer.of(ietf, os_subtype)[0]->body.size(), 314U);
  EXPECT_EQ(assessment(answer, ietf, os_subtype), 1U);
  EXPECT_EQ(item(client.verdict(), "PCKGS").result,
            "processed 880 packages: 1 vulnerable, 1 blacklisted, 1 ok, 877 unknown");
  EXPECT_EQ(item(client.verdict(), "PCKGS").recommendation, Recommendation::isolate);
  EXPECT_EQ(answer.reasons.front().first, "Vulnerable or blacklisted software packages were found");
}

TEST_F(Packages, ThatAreAllGoodOrUnknownAllow) {
  ask(rules);
  for (const std::vector<std::pair<std::string, std::string>>& list :
       {std::vector<std::pair<std::string, std::string>>{},
        {{"bash", "5.3"}},
        {{"perl-modules-5.36", "1"}, {"perl-modules-5.36", "2"}}}) {
    ByHand client(world());
    client.say({os_push()});
    const Answer answer = client.say({os_message().add(ietf, type::installed_packages, packages(list))});
    EXPECT_EQ(answer.access, 1U);
    EXPECT_EQ(assessment(answer, ietf, os_subtype), 0U);
    EXPECT_EQ(item(client.verdict(), "PCKGS").result,
              "processed " + std::to_string(list.size()) + " packages: 0 vulnerable, 0 blacklisted, " +
                  (list.size() == 2 ? "1 ok, 1 unknown" : "0 ok, " + std::to_string(list.size()) + " unknown"));
  }
}

TEST_F(Packages, AreJudgedByEachItemsRules) {
  ask(R"({type = "PCKGS", blacklisted = ["telnetd *"], on_fail = "block"}, {type = "PCKGS", vulnerable = ["zsh = 1"]}, "PCKGS")");
  ByHand client(world());
  const Answer asked = client.say({os_push()});
  EXPECT_EQ(asked.attributes(ietf, type::attribute_request).size(), 1U);
  client.say({os_message().add(ietf, type::installed_packages, packages({{"telnetd", "1"}, {"zsh", "1"}}))});
  std::vector<std::string> results;
  for (const auto& i : client.verdict().items) results.push_back(i.result);
  EXPECT_THAT(results,
              ::testing::UnorderedElementsAre("processed 2 packages: 0 vulnerable, 0 blacklisted, 0 ok, 2 unknown",
                                              "processed 2 packages: 1 vulnerable, 0 blacklisted, 0 ok, 1 unknown",
                                              "processed 2 packages: 0 vulnerable, 1 blacklisted, 0 ok, 1 unknown"));
  EXPECT_EQ(client.verdict().recommendation, Recommendation::block);
}

// What a client does whose contract allows segments of one size: from the first to the last envelope.
std::optional<Answer> in_segments(ByHand& client, const ByteVector& value, std::uint32_t segment_size,
                                  std::size_t* segments = nullptr) {
  patnc::Segmenter segmenter(65'490);
  segmenter.agree({patnc::unlimited, segment_size});
  patnc::Builder first(65'490, 1);
  EXPECT_TRUE(segmenter.add(first, 0, ietf, type::installed_packages, value));
  Writer response;
  patnc::append_contract(response, {patnc::unlimited, segment_size});
  Pa message = os_message().add(tcg, type::contract_response, response.view());
  std::vector<ByteVector> bodies = first.take();
  EXPECT_EQ(bodies.size(), 1U);
  std::move(message).raw(Bytes(bodies[0]).subspan(8));
  Answer answer = client.say({message});
  std::size_t count = 1;
  for (; answer.type == pbtnc::BatchType::sdata; ++count) {
    const ServerAttribute* const next = answer.attribute(tcg, type::next_segment);
    if (next == nullptr) return answer;
    EXPECT_TRUE(answer.of(ietf, os_subtype)[0]->exclusive);
    EXPECT_EQ(answer.of(ietf, os_subtype)[0]->collector, 1U);
    EXPECT_EQ(answer.of(ietf, os_subtype)[0]->body.size(), 24U);
    Reader r(next->value, "test");
    patnc::Builder more(65'490, 1);
    if (segmenter.next(more, *patnc::parse_next_segment(r)) == patnc::Segmenter::Answer::unknown) return std::nullopt;
    answer = client.say({os_message().body(more.take()[0])});
  }
  if (segments != nullptr) *segments = count;
  return answer;
}

TEST_F(Packages, InSegmentsOfEverySizeComeToTheSameResult) {
  ask(rules);
  const ByteVector value = list_of(12);
  for (std::uint32_t size = 12; size <= value.size() + 12; ++size) {
    ByHand client(world());
    client.say({os_push()});
    std::size_t segments = 0;
    const auto answer = in_segments(client, value, size, &segments);
    ASSERT_TRUE(answer) << size;
    ASSERT_EQ(answer->type, pbtnc::BatchType::result) << size;
    const std::size_t total = value.size() + 12;
    EXPECT_EQ(segments, total <= size + 16 ? 1 : (total + size - 1) / size) << size;
    EXPECT_EQ(item(client.verdict(), "PCKGS").result,
              "processed 12 packages: 1 vulnerable, 1 blacklisted, 1 ok, 9 unknown")
        << size;
    EXPECT_EQ(assessment(*answer, ietf, os_subtype), 1U);
  }
}

TEST_F(Packages, OfAWholeListInSegmentsAreAllJudged) {
  ask(rules);
  ByHand client(world());
  client.say({os_push()});
  std::size_t segments = 0;
  const auto answer = in_segments(client, list_of(65'535), 65'466, &segments);
  ASSERT_TRUE(answer);
  EXPECT_GT(segments, 10U);
  EXPECT_EQ(item(client.verdict(), "PCKGS").result,
            "processed 65535 packages: 1 vulnerable, 1 blacklisted, 1 ok, 65532 unknown");
}

// An error in a segmented list quotes the transfer, and its offset counts from the attribute's header.
TEST_F(Packages, ThatAreMalformedInSegmentsAreRefusedWhereTheyAre) {
  ask(rules);
  const ByteVector good = packages({{"first", "1"}, {"second", "2"}});
  const struct {
    const char* what;
    ByteVector value;
    std::size_t offset;
  } rows[] = {
      {"NUL in the second name",
       *from_hex("00000002"
                 "05666972737401"
                 "31"
                 "067365006f6e64"
                 "0132"),
       12 + 15},
      {"one more announced",
       *from_hex("00000003"
                 "05666972737401"
                 "31"
                 "067365636f6e64"
                 "0132"),
       12 + 21},
      {"one less announced",
       *from_hex("00000001"
                 "05666972737401"
                 "31"
                 "067365636f6e64"
                 "0132"),
       12 + 12},
  };
  for (const auto& row : rows)
    for (const std::uint32_t size : {12U, 13U}) {
      ASSERT_EQ(row.value.size(), good.size());
      ByHand client(world());
      client.say({os_push()});
      const auto answer = in_segments(client, row.value, size);
      ASSERT_TRUE(answer) << row.what;
      const ServerAttribute* const error = answer->attribute(ietf, type::pa_tnc_error);
      ASSERT_NE(error, nullptr) << row.what;
      Writer expected;
      expected.put_bytes(
          *from_hex("0000000000000001"
                    "ffffffff00000001"));
      patnc::append_u32(expected, std::uint32_t(row.offset));
      EXPECT_EQ(to_hex(error->value), to_hex(expected.view())) << row.what;
      EXPECT_EQ(item(client.verdict(), "PCKGS").evaluation, Evaluation::error);
      EXPECT_EQ(client.verdict().recommendation, Recommendation::isolate);
    }
}

TEST_F(Packages, ThatStopComingAreAnError) {
  ask(rules);
  ByHand client(world());
  client.say({os_push()});
  Writer envelope;
  patnc::append_envelope(envelope, {patnc::first_segment | patnc::more_segments, 1,
                                    *from_hex("000000000000000700000040"
                                              "0000000105")});
  Answer answer = client.say({os_message().add(tcg, type::segment_envelope, envelope.view())});
  EXPECT_NE(answer.attribute(tcg, type::next_segment), nullptr);
  answer = client.until_result(client.say({}));
  EXPECT_EQ(item(client.verdict(), "PCKGS").evaluation, Evaluation::error);
  EXPECT_EQ(client.verdict().recommendation, Recommendation::isolate);
}

TEST_F(Packages, AboveTheCapAreNotFetched) {
  ask(rules);
  ByHand client(world());
  client.say({os_push()});
  Writer envelope;
  patnc::append_envelope(envelope, {patnc::first_segment | patnc::more_segments, 1,
                                    *from_hex("0000000000000007"
                                              "00800001"
                                              "0000ffff")});
  const Answer answer = client.say({os_message().add(tcg, type::segment_envelope, envelope.view())});
  const ServerAttribute* const next = answer.attribute(tcg, type::next_segment);
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(to_hex(next->value), "80000001");
  EXPECT_EQ(item(client.verdict(), "PCKGS").evaluation, Evaluation::error);
  EXPECT_NE(item(client.verdict(), "PCKGS").result.find("attribute too large"), std::string::npos);
}

TEST_F(Packages, OfTwoListsAtATimeAreNoList) {
  ask(rules);
  ByHand client(world());
  client.say({os_push()});
  Pa message = os_message();
  for (const std::uint32_t id : {1U, 2U}) {
    Writer envelope;
    patnc::append_envelope(envelope, {patnc::first_segment | patnc::more_segments, id,
                                      *from_hex("000000000000000700000040"
                                                "0000000105")});
    std::move(message).add(tcg, type::segment_envelope, envelope.view());
  }
  client.until_result(client.say({message}));
  EXPECT_EQ(item(client.verdict(), "PCKGS").evaluation, Evaluation::error);
}

TEST_F(Packages, SaidTwiceHaveToBeTheSame) {
  ask(rules);
  for (const bool same : {true, false}) {
    ByHand client(world());
    client.say({os_push()});
    const ByteVector one = packages({{"dash", "1"}}), two = packages({{"dash", "2"}});
    client.say(
        {os_message().add(ietf, type::installed_packages, one).add(ietf, type::installed_packages, same ? one : two)});
    EXPECT_EQ(item(client.verdict(), "PCKGS").evaluation, same ? Evaluation::compliant : Evaluation::error);
  }
}

// Unasked lists are read for their errors only: nobody could judge them yet.
TEST_F(Packages, ThatComeUnaskedDontReplaceTheAnswer) {
  ask(rules);
  ByHand client(world());
  Pa push = os_push();
  std::move(push).add(ietf, type::installed_packages, packages({{"dash", "1"}}));
  const Answer asked = client.say({push});
  EXPECT_NE(asked.attribute(ietf, type::attribute_request), nullptr);
  client.say({os_message().add(ietf, type::installed_packages, packages({{"apt", "1"}}))});
  EXPECT_EQ(item(client.verdict(), "PCKGS").result,
            "processed 1 packages: 0 vulnerable, 1 blacklisted, 0 ok, 0 unknown");
}

TEST_F(Packages, MoreThanAMessageHoldsAreCountedInTheRemedy) {
  std::string entry = R"({type = "PCKGS", blacklisted = [)";
  std::vector<std::pair<std::string, std::string>> list;
  for (int i = 0; i < 2000; ++i) {
    const std::string name = "package-with-a-long-name-" + std::string(200, 'x') + std::to_string(i);
    entry += "\"" + name + " *\",";
    list.emplace_back(name, "1");
  }
  ask(entry + "]}");
  ByHand client(world());
  client.say({os_push()});
  const Answer answer = client.say(
      {os_message().add(ietf, type::installed_packages, packages(std::vector(list.begin(), list.begin() + 250))),
       os_message(2).add(ietf, type::testing, "")});
  const std::string short_text = remediation_string(answer.attribute(ietf, type::remediation_instructions)).first;
  EXPECT_LT(short_text.size(), 32'768U);
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = short_text.find("\n    package", at)) != short_text.npos; ++at) ++lines;
  EXPECT_TRUE(short_text.ends_with("\n    ... (+" + std::to_string(250 - lines) + ")"))
      << short_text.substr(short_text.size() - 40);
  EXPECT_GT(lines, 100U);
}

// The four states of spec part 1b §4.5, without a conversation.
TEST(PackageCheck, KnowsTheVersionsOfItsProductAlone) {
  auto view = std::make_shared<testing::FakeView>();
  const auto know = [&](const std::string& product, const std::string& package, const std::string& version) {
    refdb::Reference r;
    r.product = product;
    r.package = package;
    r.version = version;
    r.path = "/usr/bin/" + package;
    r.digests = {{HashAlgorithm::sha256, digest_of(HashAlgorithm::sha256, {})}};
    view->add(std::move(r));
  };
  know("Debian 12 x86_64", "bash", "5.2");
  know("Android", "com.example", "7");
  const auto policy = policy_of(
      "[groups.all]\nask = [{type = \"PCKGS\", blacklisted = [\"bash = 5.1\"], vulnerable = [\"bash <= 5.1\"]}]\n");
  const auto plan = server::policy::work_items(*policy, {}, {});
  ASSERT_FALSE(plan.items.empty());
  const auto& item = plan.items.front();
  const auto text = [&](const std::string& product, std::vector<patnc::Package> list,
                        std::shared_ptr<const refdb::View> references) {
    server::PackageCheck check({&item}, product, std::move(references));
    for (const auto& p : list) check.judge(p);
    return check.counts(item)->text();
  };
  EXPECT_EQ(text("Debian 12 x86_64",
                 {{"bash", "5.2"}, {"bash", "5.1"}, {"bash", "5.0"}, {"bash", "5.3"}, {"zsh", "5.2"}}, view),
            "processed 5 packages: 1 vulnerable, 1 blacklisted, 1 ok, 2 unknown");
  EXPECT_EQ(text("Debian 13 x86_64", {{"bash", "5.2"}}, view),
            "processed 1 packages: 0 vulnerable, 0 blacklisted, 0 ok, 1 unknown");
  EXPECT_EQ(text("Android 14", {{"com.example", "7"}}, view),
            "processed 1 packages: 0 vulnerable, 0 blacklisted, 1 ok, 0 unknown");
  EXPECT_EQ(text("Debian 12 x86_64", {{"bash", "5.2"}}, nullptr),
            "processed 1 packages: 0 vulnerable, 0 blacklisted, 0 ok, 1 unknown");
}

}  // namespace
}  // namespace gatehouse::test
