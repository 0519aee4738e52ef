// Revocation lists that are fetched by HTTP in time, each into the file that a setting names, for whoever reads that file.
//
//   GH_TRY(const auto fetcher, ListFetcher::start({{"clients.crl", "clients-ca.pem", {"http://pki.example.org/clients.crl"}}}));
//
// What comes is hostile until one of the CA's certificates has signed it (base/revocation_lists.h); what can't be used
// changes nothing. A list is fetched again at half of the time that it has left, within a day at the latest; a server that
// doesn't give one is asked again after a minute, and then less and less often, up to a quarter of an hour.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

namespace gatehouse::server {

struct ListSource {
  std::string file;               // PEM; one list of each issuer
  std::string ca;                 // who may sign them: a PEM file or a directory
  std::vector<std::string> urls;  // http or https, one list each
};

struct ListFetcherOptions {
  std::chrono::milliseconds limit{10'000};       // of one fetch, connecting included
  std::chrono::milliseconds retry{60'000};       // after the first failure
  std::chrono::milliseconds longest_retry{900'000}, longest{std::chrono::hours(24)}, least{60'000};
  std::function<std::int64_t()> now{};           // seconds since 1970; empty: the system's clock
};

class ListFetcher {
 public:
  // Waits until each URL whose file isn't there, or has a list that is out of date, was asked once: then the files may be
  // read. Environment faults: libcurl can't begin.
  static Result<std::unique_ptr<ListFetcher>> start(std::vector<ListSource> sources, ListFetcherOptions options = {});
  ~ListFetcher();
  ListFetcher(const ListFetcher&) = delete;
  ListFetcher& operator=(const ListFetcher&) = delete;

  // What is under way is given up.
  void stop();

 private:
  struct Impl;
  explicit ListFetcher(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gatehouse::server
