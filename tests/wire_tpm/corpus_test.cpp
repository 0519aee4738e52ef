// Quotes, signatures and keys of TPMs, emulators and clouds, and the damaged ones of the corpus.
#include "tests/corpus/corpus.h"

#include <fstream>

#include "tests/wire_tpm/support.h"

namespace gatehouse::testing {
namespace {

std::string file_of(const json::object& item, std::string_view name) {
  return "evidence/" + text(item.at("files").as_object(), name);
}
bool has(const json::object& item, std::string_view name) { return item.at("files").as_object().contains(name); }

TEST(TpmCorpus, QuotesAndSignaturesAreReadToTheirFacts) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  std::size_t good = 0;
  for (const json::object& item : corpus_items("evidence", "verify")) {
    if (!item.contains("json") || !has(item, "quote") || !has(item, "signature")) continue;
    const json::object& facts = item.at("json").as_object();
    if (!facts.contains("quote") || !facts.at("quote").as_object().contains("pcr_digest")) continue;
    const json::object& quote = facts.at("quote").as_object();
    SCOPED_TRACE(text(item, "id"));
    ++good;
    const ByteVector attest_bytes = corpus_file(file_of(item, "quote"));
    const auto a = tpm::parse_attest(attest_bytes);
    ASSERT_TRUE(a) << a.error().text();
    EXPECT_EQ(a->magic, tpm::generated_value);
    EXPECT_EQ(a->type, tpm::st_attest_quote);
    EXPECT_EQ(to_hex(a->pcr_digest), text(quote, "pcr_digest"));
    if (text(quote, "status") == "ok") {
      EXPECT_EQ(to_hex(a->extra_data), text(item, "nonce"));
    }
    // Built from its parts it is the same quote.
    Writer clock, firmware, selections;
    clock.put(a->clock.clock);
    clock.put(a->clock.reset_count);
    clock.put(a->clock.restart_count);
    clock.put(a->clock.safe);
    firmware.put(a->firmware_version);
    tpm::append_selections(selections, a->selections);
    EXPECT_EQ(tpm::build_quote(a->qualified_signer, a->extra_data, clock.view(), firmware.view(), selections.view(),
                               a->pcr_digest),
              to_vector(a->signed_bytes));

    const ByteVector signature_bytes = corpus_file(file_of(item, "signature"));
    const auto s = tpm::parse_signature(signature_bytes);
    ASSERT_TRUE(s) << s.error().text();
    const std::map<std::string, std::uint16_t> schemes{
        {"rsassa", tpm::alg_rsassa}, {"rsapss", tpm::alg_rsapss}, {"ecdsa", tpm::alg_ecdsa}};
    EXPECT_EQ(s->algorithm, schemes.at(text(quote, "scheme")));
    EXPECT_EQ(hash_algorithm(s->hash), hash_algorithm(text(quote, "hash")));
    Writer again;
    tpm::append_signature(again, *s);
    EXPECT_EQ(to_vector(again.view()), signature_bytes);
  }
  EXPECT_GE(good, 15U);
}

TEST(TpmCorpus, WhatIsCutOrLiesIsRefused) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  std::size_t refused = 0;
  for (const json::object& item : corpus_items("evidence", "verify")) {
    if (!exit_code_is(item, 3)) continue;
    const std::string id = text(item, "id");
    if (id.starts_with("attest-")) {
      EXPECT_FALSE(tpm::parse_attest(corpus_file(file_of(item, "quote")))) << id;
      ++refused;
    } else if (id.starts_with("signature-")) {
      EXPECT_FALSE(tpm::parse_signature(corpus_file(file_of(item, "signature")))) << id;
      ++refused;
    }
  }
  EXPECT_GE(refused, 7U);
  EXPECT_FALSE(tpm::parse_attest(corpus_file("evidence/quotes/trailing-byte.attest")));
}

// The same key as TPM2B_PUBLIC and as PEM.
void expect_same_key(const std::string& public_path, const std::string& pem_path) {
  const auto tpm2b = read_file(public_path, 4096), pem = read_file(pem_path, 65536);
  ASSERT_TRUE(tpm2b && pem) << public_path;
  const auto key = tpm::parse_public(*tpm2b);
  ASSERT_TRUE(key) << key.error().text();
  const auto expected = PublicKey::from_pem(as_text(*pem));
  ASSERT_TRUE(expected) << expected.error().text();
  EXPECT_EQ(key->key.spki(), expected->spki());
  // TPMT_PUBLIC alone has the same name.
  EXPECT_EQ(tpm::parse_public(Bytes(*tpm2b).subspan(2))->name, key->name);
  EXPECT_EQ(key->name.size(), 2 + digest_size(hash_algorithm(key->name_algorithm).value()));
}

TEST(TpmKeys, OfTheRecordedEndpoints) {
  const std::string keys = GATEHOUSE_TEST_DATA "/interop/keys/";
  for (const std::string type : {"rsa", "ecc"})
    expect_same_key(keys + type + "/ak.tpm2b_public", keys + type + "/ak.pem");
}

TEST(TpmCorpus, KeysAreThoseOfTheirPemFiles) {
  if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  std::size_t keys = 0;
  for (const auto& entry : std::filesystem::directory_iterator(corpus + "evidence")) {
    const std::string folder = entry.path().string();
    if (!std::filesystem::exists(folder + "/ak.tpm2b") || !std::filesystem::exists(folder + "/ak.pem")) continue;
    expect_same_key(folder + "/ak.tpm2b", folder + "/ak.pem");
    ++keys;
  }
  EXPECT_GE(keys, 8U);
  const auto plain = tpm::parse_public(corpus_file("evidence/unrestricted-key/ak.tpm2b"));
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->attributes & tpm::restricted, 0U);
  const auto good = tpm::parse_public(corpus_file("evidence/good-rsassa/ak.tpm2b"));
  ASSERT_TRUE(good);
  EXPECT_NE(good->attributes & tpm::restricted, 0U);
}

}  // namespace
}  // namespace gatehouse::testing
