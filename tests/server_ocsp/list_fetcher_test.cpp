// Revocation lists that are fetched: from a server that has them, and from ones that have something else.
#include "server/ocsp/list_fetcher.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/file.h"
#include "base/revocation_lists.h"
#include "base/x509.h"
#include "tests/folder.h"
#include "tests/server_ocsp/saying.h"
#include "tests/server_tls/certificates.h"

namespace gatehouse::test {
namespace {

using namespace std::chrono_literals;
using server::ListFetcher;
using server::ListFetcherOptions;

std::string content(const std::string& file) {
  const auto read = read_file(file, 1 << 20);
  return read ? std::string(as_text(*read)) : std::string();
}

class Lists : public testing::Test {
 protected:
  // One of the authority's, as a server gives it.
  std::string list(Authority& of, const std::vector<std::string>& gone = {}, long from = -60, long to = 86'400) {
    const std::string path = folder_ / ("list" + std::to_string(++made_));
    of.revoke(gone, path, from, to);
    return content(path);
  }
  std::unique_ptr<ListFetcher> fetch(const std::vector<std::string>& urls, const ListFetcherOptions& options = {}) {
    auto out = ListFetcher::start({{file_, authority_.certificate(), urls}}, options);
    EXPECT_TRUE(out);
    return out ? *std::move(out) : nullptr;
  }
  // Whether the file comes to say so.
  bool comes(const std::string& what) const {
    for (const auto end = std::chrono::steady_clock::now() + 30s; std::chrono::steady_clock::now() < end; std::this_thread::yield())
      if (content(file_) == what) return true;
    return false;
  }

  Folder folder_, elsewhere_;
  int made_ = 0;
  const std::string file_ = folder_ / "lists.pem";
  Authority authority_{folder_.path()}, stranger_{elsewhere_.path()};  // of one name
};

TEST_F(Lists, AreThereBeforeTheyAreReadAndCount) {
  authority_.issue("gone");
  const std::string gone = folder_ / "gone.pem";
  const Saying server(http_ok(list(authority_, {gone})));
  const auto fetcher = fetch({server.url()});
  const auto anchors = TrustAnchors::load(authority_.certificate(), file_);
  ASSERT_TRUE(anchors) << anchors.error().text();
  const auto one = Certificate::from_pem(content(gone));
  const auto refused = anchors->verify(*one, {}, std::time(nullptr));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "certificate is revoked");
}

TEST_F(Lists, ThatCantBeUsedChangeNothing) {
  const std::string good = list(authority_);
  std::ofstream(file_) << good;
  const struct {
    const char* what;
    std::string said;
  } all[] = {{"a stranger's", http_ok(list(stranger_))},
             {"no list", http_ok("<html>not here</html>")},
             {"nothing", http_ok("")},
             {"cut off", http_ok(good.substr(0, good.size() / 2))},
             {"two", http_ok(good + list(authority_))},
             {"out of date", http_ok(list(authority_, {}, -7200, -3600))},
             {"of a time to come", http_ok(list(authority_, {}, 7200, 14'400))},
             {"older than the one that is here", http_ok(list(authority_, {}, -7200, 86'400))},
             {"an error", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"},
             {"somewhere else", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"},
             {"larger than it may be", "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nx"}};
  for (const auto& one : all) {
    Saying server(one.said);
    {
      const auto fetcher = fetch({server.url()}, {.retry = 1ms, .longest_retry = 1ms});
      // What it said first is done with when it is asked again.
      for (const auto end = std::chrono::steady_clock::now() + 30s; server.connections < 3 && std::chrono::steady_clock::now() < end;) std::this_thread::yield();
    }
    EXPECT_GE(server.connections, 3) << one.what << ": it is asked again";
    EXPECT_EQ(content(file_), good) << one.what;
  }
}

TEST_F(Lists, AreFetchedAgainInTime) {
  const std::string first = list(authority_, {}, -120), second = list(authority_, {}, -60);
  Saying server(http_ok(first));
  const auto fetcher = fetch({server.url()}, {.longest = 10ms, .least = 1ms});
  EXPECT_EQ(content(file_), first);
  server.say(http_ok(second));
  EXPECT_TRUE(comes(second));
}

TEST_F(Lists, OfSeveralIssuersAreInOneFile) {
  Authority below(folder_.path(), "another CA");
  std::ofstream both(folder_ / "both.pem");
  both << content(authority_.certificate()) << content(below.certificate());
  both.close();
  const std::string one = list(authority_), other = list(below);
  const Saying first(http_ok(one)), second(http_ok(other));
  const auto fetcher = ListFetcher::start({{file_, folder_ / "both.pem", {first.url(), second.url()}}});
  ASSERT_TRUE(fetcher);
  EXPECT_EQ(content(file_), one + other);
}

TEST_F(Lists, OfAServerThatSaysNothingHoldNobodyUp) {
  const Saying silent("");
  const auto fetcher = fetch({silent.url()}, {.limit = 50ms});
  EXPECT_EQ(content(file_), "");
  EXPECT_EQ(silent.connections, 1);
}

TEST(ListIssuers, TakeDerToo) {
  const Folder folder;
  Authority authority(folder.path());
  authority.revoke({}, folder / "list.pem");
  const auto issuers = ListIssuers::load(authority.certificate());
  ASSERT_TRUE(issuers);
  const auto pem = issuers->check(*read_file(folder / "list.pem", 1 << 20), std::time(nullptr));
  ASSERT_TRUE(pem);
  std::string body = pem->pem.substr(pem->pem.find('\n') + 1);
  body.resize(body.find("-----END"));
  std::erase(body, '\n');
  std::vector<unsigned char> der(body.size());
  der.resize(std::size_t(EVP_DecodeBlock(der.data(), reinterpret_cast<const unsigned char*>(body.data()), int(body.size()))));
  const auto same = issuers->check(std::as_bytes(std::span(der)), std::time(nullptr));
  ASSERT_TRUE(same) << same.error().text();
  EXPECT_EQ(same->pem, pem->pem);
  EXPECT_EQ(same->until - same->since, 86'460);
}

}  // namespace
}  // namespace gatehouse::test
