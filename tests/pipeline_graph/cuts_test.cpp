// A verdict doesn't depend on threads, nor on how the evidence was cut: the same bytes with 1, 2 and 8 threads and for
// 1,000 random cuts, on recorded conversations and on the corpus.
#include <gtest/gtest.h>

#include <iostream>
#include <random>

#include "pipeline/quote/quote.h"
#include "tests/long.h"
#include "tests/pipeline_graph/fake_view.h"
#include "tests/pipeline_graph/recording.h"
#include "wire/ima/ima.h"

namespace gatehouse::testing {
namespace {

using pipeline::Format;
using pipeline::Segment;
using pipeline::Stream;

struct Evidence {
  std::string name;
  ByteVector log, list;
  pipeline::Context context;
  pipeline::Finish finish;
};

std::string text_of(const Result<pipeline::Outcome>& outcome) {
  if (!outcome) return "error: " + outcome.error().text();
  std::string text = to_json(outcome->verdict);
  if (outcome->measured_boot) text += " baseline of " + std::to_string(outcome->measured_boot->events.size());
  if (outcome->quote) text += " clock " + std::to_string(outcome->quote->clock);
  return text;
}

// Both files in pieces, each file's in order, the two interleaved at random.
std::vector<Segment> cut(const Evidence& e, std::mt19937& random) {
  const auto pieces = [&](Stream stream, Format format, Bytes bytes) {
    std::vector<Segment> out;
    // From single bytes to the whole: a power of two for the mean.
    const std::size_t mean = std::size_t(1) << std::uniform_int_distribution<int>(bytes.size() > 100'000 ? 7 : 0, 18)(random);
    while (!bytes.empty()) {
      const std::size_t n = std::min(bytes.size(), std::uniform_int_distribution<std::size_t>(1, 2 * mean)(random));
      out.push_back({stream, format, to_vector(bytes.first(n)), 0});
      bytes = bytes.subspan(n);
    }
    if (out.empty()) out.push_back({stream, format, {}, 0});
    return out;
  };
  std::vector<Segment> log = e.log.empty() ? std::vector<Segment>{} : pieces(Stream::boot, Format::eventlog, e.log);
  const bool ascii = ima::form_of(e.list) == ima::Cursor::Form::ascii;
  std::vector<Segment> list = e.list.empty() ? std::vector<Segment>{} : pieces(Stream::ima, ascii ? Format::ima_ascii : Format::ima_binary, e.list);
  std::vector<Segment> out;
  std::size_t a = 0, b = 0;
  while (a < log.size() || b < list.size()) {
    const bool first = b == list.size() || (a < log.size() && std::bernoulli_distribution(double(log.size()) / double(log.size() + list.size()))(random));
    out.push_back(std::move(first ? log[a++] : list[b++]));
  }
  return out;
}
std::vector<Segment> whole(const Evidence& e) {
  std::vector<Segment> out;
  if (!e.log.empty()) out.push_back({Stream::boot, Format::eventlog, e.log, 0});
  if (!e.list.empty())
    out.push_back({Stream::ima, ima::form_of(e.list) == ima::Cursor::Form::ascii ? Format::ima_ascii : Format::ima_binary, e.list, 0});
  return out;
}

std::array<std::unique_ptr<pipeline::Pipeline>, 3>& graphs() {
  static std::array<std::unique_ptr<pipeline::Pipeline>, 3> all{std::make_unique<pipeline::Pipeline>(pipeline::Limits{.threads = 1}),
                                                                std::make_unique<pipeline::Pipeline>(pipeline::Limits{.threads = 2}),
                                                                std::make_unique<pipeline::Pipeline>(pipeline::Limits{.threads = 8})};
  return all;
}

Evidence recorded(const std::string& conversation, const std::string& evidence, std::shared_ptr<const refdb::View> view) {
  const ByteVector text = file_of(data_folder + conversation + "/facts.json");
  const auto facts = boost::json::parse(as_text(text)).as_object();
  const auto hex = [&](const char* key) { return from_hex(std::string_view(facts.at(key).as_string())).value(); };
  Evidence e;
  e.name = conversation;
  e.log = file_of(data_folder + "evidence/base/binary_bios_measurements");
  e.list = file_of(data_folder + "evidence/" + evidence + "/binary_runtime_measurements");
  e.context.references = std::move(view);
  e.context.product = "Debian 12 x86_64";
  e.finish.quote = pipeline::RawQuote{hex("tpms_attest"), hex("tpmt_signature")};
  e.context.bank = pipeline::bank_of(std::get<pipeline::RawQuote>(e.finish.quote).attest);
  e.finish.nonce = hex("secret_assessment_value");
  const ByteVector pem = file_of(data_folder + "keys/rsa/ak.pem");
  e.finish.ak.key = PublicKey::from_pem(as_text(pem)).value();
  e.finish.ak.trusted = true;
  return e;
}

TEST(Cuts, RandomCutsGiveTheSameBytes) {
  auto view = std::make_shared<FakeView>();
  view->add_rows(data_folder + "evidence/base/refs.tsv", "Debian 12 x86_64");
  std::mt19937 random(3);
  const std::array all{recorded("sasl-rsa", "base", view), recorded("tampered-list-rsa", "tampered", view), recorded("changed-file-rsa", "changed", view),
                       recorded("sasl-rsa-sha384-ecp384", "base384", view)};
  std::array<std::string, 4> wanted;
  for (std::size_t i = 0; i < all.size(); ++i) {
    wanted[i] = text_of(judge(*graphs()[0], all[i].context, whole(all[i]), all[i].finish));
    EXPECT_EQ(wanted[i].find("error"), std::string::npos);
  }
  EXPECT_NE(wanted[0].find("1625 ok, 107 unknown, 0 differ, 0 failed"), std::string::npos);
  EXPECT_NE(wanted[0].find("\"recommendation\":\"allow\""), std::string::npos);
  for (int n = 0, cuts = test::how_many(300, 1000); n < cuts; ++n) {
    const std::size_t i = std::size_t(n) % all.size();
    const auto got = text_of(judge(*graphs()[std::size_t(n / 4) % 3], all[i].context, cut(all[i], random), all[i].finish));
    ASSERT_EQ(got, wanted[i]) << "cut " << n << " of " << all[i].name;
  }
}

// The same for the protocol's form: attributes dealt out to messages at random.
TEST(Cuts, AttributesInAnyMessagesGiveTheSameBytes) {
  auto view = std::make_shared<FakeView>();
  view->add_rows(data_folder + "evidence/base/refs.tsv", "Debian 12 x86_64");
  for (const char* name : {"sasl-rsa", "mutual-tls12-rsa-modp2048-pcrinfo", "changed-file-rsa"}) {
    const Recording r = read_recording(name);
    std::vector<std::pair<patnc::Attribute, ByteVector>> attributes;
    for (const ByteVector& message : r.messages) {
      Reader reader(message, "test");
      ASSERT_TRUE(reader.skip(patnc::message_header_size));
      while (!reader.empty()) {
        patnc::Attribute a;
        ASSERT_FALSE(patnc::parse_attribute(reader, a));
        attributes.emplace_back(a, to_vector(a.value));
      }
    }
    const std::string wanted = text_of(judge(*graphs()[0], serve_context(r, view), r));
    std::mt19937 random(5);
    for (int n = 0; n < 60; ++n) {
      std::vector<Segment> segments;
      const std::size_t most = std::size_t(1) << std::uniform_int_distribution<int>(0, 10)(random);
      for (std::size_t at = 0; at < attributes.size();) {
        Writer w;
        w.put(std::uint32_t{0x01000000});
        w.put(std::uint32_t(n));
        const std::size_t end = std::min(attributes.size(), at + std::uniform_int_distribution<std::size_t>(1, most)(random));
        for (; at < end; ++at) patnc::append_attribute(w, attributes[at].first.flags, attributes[at].first.vendor, attributes[at].first.type, attributes[at].second);
        segments.push_back({Stream::ima, Format::pa_tnc, std::move(w).take(), 0});
      }
      ASSERT_EQ(text_of(judge(*graphs()[std::size_t(n) % 3], serve_context(r, view), std::move(segments), r.finish())), wanted) << name << ' ' << n;
    }
  }
}

// Everything in the corpus that `verify` reads: also what is refused, and with the same error.
TEST(Cuts, CorpusWithOneTwoAndEightThreads) {
  const std::string folder = GATEHOUSE_SHARED "/corpus/evidence/";
  if (!std::filesystem::exists(folder + "expected.json")) {
    GTEST_SKIP() << "no corpus beside the checkout: " << folder;
  }
  const ByteVector text = file_of(folder + "expected.json");
  const auto items = boost::json::parse(as_text(text)).as_object().at("items").as_array();
  std::mt19937 random(11);
  std::size_t judged = 0;
  for (const auto& row : items) {
    const auto& item = row.as_object();
    const auto* files = item.if_contains("files");
    if (files == nullptr || !files->as_object().contains("quote")) continue;
    const auto file = [&](const char* key) {
      const auto* f = files->as_object().if_contains(key);
      return f == nullptr ? ByteVector{} : file_of(folder + std::string(f->as_string()));
    };
    Evidence e;
    e.name = std::string(item.at("id").as_string());
    e.log = file("eventlog");
    e.list = file("ima");
    e.finish.quote = pipeline::RawQuote{file("quote"), file("signature")};
    e.context.bank = pipeline::bank_of(std::get<pipeline::RawQuote>(e.finish.quote).attest);
    if (const auto* nonce = item.if_contains("nonce")) e.finish.nonce = from_hex(std::string_view(nonce->as_string())).value();
    const ByteVector ak = file("ak");
    if (auto key = PublicKey::from_pem(as_text(ak))) e.finish.ak.key = *key;
    e.finish.ak.trusted = true;
    const std::string wanted = text_of(judge(*graphs()[0], e.context, whole(e), e.finish));
    for (int n = 0; n < 9; ++n)
      ASSERT_EQ(text_of(judge(*graphs()[std::size_t(n) % 3], e.context, cut(e, random), e.finish)), wanted) << e.name;
    ++judged;
  }
  EXPECT_GT(judged, 60U);
}

// Malformed at a stated place, wherever the cut is.
TEST(Cuts, MalformedEvidenceNamesTheSameOffset) {
  Evidence e = recorded("sasl-rsa", "base", nullptr);
  e.list[100'000] ^= std::byte{0xFF};
  const std::string wanted = text_of(judge(*graphs()[0], e.context, whole(e), e.finish));
  std::mt19937 random(17);
  for (int n = 0; n < 30; ++n) ASSERT_EQ(text_of(judge(*graphs()[std::size_t(n) % 3], e.context, cut(e, random), e.finish)), wanted);
  e.list.resize(100'000);
  e.list.resize(99'999);
  const auto cut_off = judge(*graphs()[0], e.context, whole(e), e.finish);
  ASSERT_FALSE(cut_off.has_value());
  EXPECT_EQ(cut_off.error().fault, Fault::malformed);
  EXPECT_EQ(cut_off.error().source, pipeline::list_source);
}

}  // namespace
}  // namespace gatehouse::testing
