// MD5, HMAC-MD5 and MSCHAPv2 against the vectors of their RFCs.
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "base/hex.h"
#include "base/md5.h"
#include "base/ms_chap.h"

namespace gatehouse {
namespace {

// RFC 1321 section A.5
TEST(Md5, AsInTheRfc) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"", "d41d8cd98f00b204e9800998ecf8427e"},
      {"a", "0cc175b9c0f1b6a831c399e269772661"},
      {"abc", "900150983cd24fb0d6963f7d28e17f72"},
      {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
      {"12345678901234567890123456789012345678901234567890123456789012345678901234567890", "57edf4a22be3c955ac49da2e2107b67a"}};
  for (const auto& [message, digest] : rows) {
    EXPECT_EQ(to_hex(md5({as_bytes(message)})), digest);
    EXPECT_EQ(to_hex(md5({as_bytes(message.substr(0, message.size() / 2)), as_bytes(message.substr(message.size() / 2))})), digest);
  }
}

// RFC 2202 section 2
TEST(Md5, HmacAsInTheRfc) {
  const ByteVector b(16, std::byte{0x0b}), aa(80, std::byte{0xaa});
  EXPECT_EQ(to_hex(hmac_md5(b, {as_bytes("Hi There")})), "9294727a3638bb1c13f48ef8158bfc9d");
  EXPECT_EQ(to_hex(hmac_md5(as_bytes("Jefe"), {as_bytes("what do ya want "), as_bytes("for nothing?")})), "750c783e6ab0b503eaa86e310a5db738");
  EXPECT_EQ(to_hex(hmac_md5(aa, {as_bytes("Test Using Larger Than Block-Size Key - Hash Key First")})), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
}

TEST(Md5, OneKeyServesManyMessages) {
  const HmacMd5 keyed(as_bytes("Jefe"));
  for (int n = 0; n < 2; ++n)
    EXPECT_EQ(to_hex(keyed({as_bytes("what do ya want for "), as_bytes("nothing?")})), "750c783e6ab0b503eaa86e310a5db738");
  EXPECT_NE(keyed({}), keyed({as_bytes("x")}));
}

// Each kernel that this processor has, with messages of all lengths around a block's, as many as fill lanes and one more.
TEST(Md5, SideBySideIsAsOneByOne) {
  std::mt19937 random(1);
  std::vector<std::unique_ptr<HmacMd5>> keys;
  for (const std::size_t size : {0U, 1U, 16U, 63U, 64U, 65U, 200U}) {
    ByteVector key(size);
    for (std::byte& b : key) b = std::byte(random());
    keys.push_back(std::make_unique<HmacMd5>(key));
  }
  for (const Md5Kernel& kernel : md5_kernels()) {
    SCOPED_TRACE(kernel.name);
    for (std::size_t count = 0; count <= 2 * kernel.lanes + 1; ++count) {
      std::vector<ByteVector> messages(count);
      std::vector<Md5Job> jobs;
      for (ByteVector& message : messages) {
        message.resize(random() % (random() % 4 == 0 ? 1300 : 130));
        for (std::byte& b : message) b = std::byte(random());
        // Some of the message alone, some with a hole.
        Md5Job job{random() % 3 == 0 ? nullptr : keys[random() % keys.size()].get(), message};
        if (message.size() >= sizeof(Md5) && random() % 2 == 0) job.zeros_at = random() % (message.size() - sizeof(Md5) + 1);
        jobs.push_back(job);
      }
      kernel.run(jobs);
      for (const Md5Job& job : jobs) {
        ByteVector covered = to_vector(job.message);
        if (job.zeros_at != Md5Job::none) std::fill_n(covered.begin() + std::ptrdiff_t(job.zeros_at), sizeof(Md5), std::byte{0});
        EXPECT_EQ(job.digest, job.key != nullptr ? (*job.key)({covered}) : md5({covered})) << job.message.size() << " bytes";
      }
    }
    for (std::size_t size = 0; size <= 200; ++size) {
      const ByteVector message(size, std::byte{7});
      Md5Job jobs[] = {{keys[2].get(), message}, {keys[3].get(), {}}, {nullptr, message}};
      kernel.run(std::span(jobs));
      EXPECT_EQ(jobs[0].digest, (*keys[2])({message})) << size << " bytes";
      EXPECT_EQ(jobs[1].digest, (*keys[3])({}));
      EXPECT_EQ(jobs[2].digest, md5({message})) << size << " bytes";
    }
  }
}

// RFC 2759 section 9.2
TEST(MsChap, AsInTheRfc) {
  const ByteVector challenge = *from_hex("5b5d7c7d7b3f2f3e3c2c602132262628"), peer = *from_hex("21402324255e262a28295f2b3a337c7e");
  const auto hash = nt_hash("clientPass");
  ASSERT_TRUE(hash);
  EXPECT_EQ(to_hex(*hash), "44ebba8d5312b8d611474411f56989ae");
  const MsChapResponse response = ms_chap_response(challenge, peer, "User", *hash);
  EXPECT_EQ(to_hex(response), "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df");
  EXPECT_EQ(ms_chap_proof(*hash, response, challenge, peer, "User"), "S=407A5589115FD0D6209F510FE9C04566932CDA56");
  EXPECT_EQ(ms_chap_response(challenge, peer, "DOMAIN\\User", *hash), response);
}

TEST(MsChap, PasswordsAreUtf8) {
  EXPECT_TRUE(nt_hash("p\xc3\xa4ss\xe2\x82\xac\xf0\x9f\x94\x91"));
  for (const std::string_view bad : {"\xff", "a\xc3", "\xe2\x82", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80"}) EXPECT_FALSE(nt_hash(bad));
  EXPECT_TRUE(nt_hash(std::string(256, 'x')));
  EXPECT_FALSE(nt_hash(std::string(257, 'x')));
  // Empty: known from everywhere.
  EXPECT_EQ(to_hex(*nt_hash("")), "31d6cfe0d16ae931b73c59d7e0c089c0");
}

}  // namespace
}  // namespace gatehouse
