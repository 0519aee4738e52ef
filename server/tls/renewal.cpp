// What ends while the server runs: verdicts that aren't renewed, revocation lists and certificates that a new file
// takes the place of, or nothing does.
#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "base/hex.h"
#include "base/log.h"
#include "base/x509.h"
#include "server/tls/expiry.h"
#include "server/tls/impl.h"
#include "server/tls/radius_front.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t lapses_a_look = 256;
constexpr std::int64_t warn_again = 24 * 3600;

struct Watched {
  std::string_view kind;
  const std::string* file;
  bool list;
};
// Those of gateways where they have their own.
std::array<Watched, 9> watched(const Config& config) {
  static const std::string none;
  const RadiusConfig& radius = config.radius;
  const bool own_list = !radius.listen.empty() && radius.client_crl != config.client_crl;
  return {{{"certificate", &config.certificate, false},
           {"client_ca", &config.client_ca, false},
           {"client_crl", &config.client_crl, true},
           {"ak_ca", &config.ak_ca, false},
           {"ak_crl", &config.ak_crl, true},
           {"ek_ca", &config.ek_ca, false},
           {"ek_crl", &config.ek_crl, true},
           {"radius_client_crl", own_list ? &radius.client_crl : &none, true},
           {"radius_gateway_crl", radius.listen.empty() ? &none : &radius.gateway_crl, true}}};
}

// Nanoseconds since 1970; 0: there is no such file, it may be on its way.
std::int64_t written_at(const std::string& file) {
  struct stat found {};
  if (file.empty() || ::stat(file.c_str(), &found) != 0) return 0;
  return std::int64_t(found.st_mtim.tv_sec) * 1'000'000'000 + found.st_mtim.tv_nsec;
}

}  // namespace

void Server::Impl::renew() {
  if (stopping || renewing.exchange(true)) return;
  // It waits for the disk: not on a thread that serves sessions.
  boost::asio::post(workers, [self = shared_from_this()] {
    self->end_leases();
    self->end_admissions();
    self->take_new_lists();
    self->warn_of_expiries();
    self->renewing = false;
  });
}

// A device that was told allow and didn't come again: it is named, and asked where it is connected. Gateways were told how
// long a verdict holds (Session-Timeout); whoever else admits by the log or the results learns it here.
void Server::Impl::end_leases() {
  if (config.lease.count() == 0) return;
  const auto over = state->lapse_blocking(config.lease, lapses_a_look);
  if (!over) return log::write(log::Level::error, {}, "leases can't be looked at: " + over.error().text());
  if (over->empty()) return;
  std::vector<std::shared_ptr<Connection>> live;
  {
    const std::lock_guard lock(mutex);
    for (const auto& [_, one] : open)
      if (auto connection = one.weak.lock()) live.push_back(std::move(connection));
  }
  auto devices = std::make_shared<std::set<std::string>>();
  for (const Lapsed& one : *over) {
    counted.leases_ended.add();
    log::write(log::Level::warning, one.last.session,
               "the lease of device " + escaped(one.device) + " has ended: it was allowed by this session and hasn't attested since" +
                   (one.ahead ? "; the session is of a time that is yet to come, the clock was set back" : ""));
    devices->insert(one.device);
  }
  // One question to each connection, whether it is any of them.
  for (const auto& connection : live) connection->reassess_any(devices);
}

Result<void> Server::Impl::fetch_lists() {
  std::vector<ListSource> sources;
  RadiusConfig& gateways = config.radius;
  for (const auto& [file, ca, urls] : {std::tuple{&config.client_crl, &config.client_ca, &config.client_crl_url},
                                       {&config.ak_crl, &config.ak_ca, &config.ak_crl_url},
                                       {&config.ek_crl, &config.ek_ca, &config.ek_crl_url},
                                       {&gateways.client_crl, &gateways.client_ca, &gateways.client_crl_url},
                                       {&gateways.gateway_crl, &gateways.gateway_ca, &gateways.gateway_crl_url}})
    if (!urls->empty()) sources.push_back({*file, *ca, *urls});
  if (sources.empty()) return {};
  GH_TRY(lists, ListFetcher::start(std::move(sources)));
  return {};
}

// Lists are short-lived, and are fetched or come by a cron job: they count as soon as they are there. What can't be used
// changes nothing.
void Server::Impl::take_new_lists() {
  const auto files = watched(config);
  bool first = true, tls_changed = false, ak_changed = false, ek_changed = false, radius_changed = false;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::int64_t then = std::exchange(lists_then[i], written_at(*files[i].file));
    if (then != 0) first = false;
    if (!files[i].list || then == 0 || lists_then[i] == 0 || then == lists_then[i]) continue;
    const std::string_view kind = files[i].kind;
    if (kind == "client_crl") tls_changed = true;
    (kind == "ak_crl" ? ak_changed : kind == "ek_crl" ? ek_changed : radius_changed) = true;
  }
  if (first) return;
  if (tls_changed) {
    auto made = TlsContext::make(config);
    if (!made) {
      log::write(log::Level::error, {}, "a new revocation list can't be used, the one before stays: " + made.error().text());
    } else {
      const std::lock_guard lock(mutex);
      tls = *std::move(made);
      log::write(log::Level::info, {}, "the new revocation list " + escaped(config.client_crl) + " counts");
    }
  }
  const auto take = [&](const std::string& ca, const std::string& crl, std::shared_ptr<const TrustAnchors> Settings::* of) {
    auto anchors = TrustAnchors::load(ca, crl);
    if (!anchors) {
      log::write(log::Level::error, {}, "a new revocation list can't be used, the one before stays: " + anchors.error().text());
    } else {
      const std::lock_guard lock(mutex);
      auto changed = std::make_shared<Settings>(*settings);
      (*changed).*of = std::make_shared<const TrustAnchors>(*std::move(anchors));
      settings = std::move(changed);
      log::write(log::Level::info, {}, "the new revocation list " + escaped(crl) + " counts");
    }
  };
  if (radius_changed && radius) {
    // As it is in force: what else its file says is read when it is asked for.
    Config now = config;
    now.radius = radius->settings()->config;
    if (auto again = RadiusSettings::load(now)) radius->reload(*std::move(again));
    else log::write(log::Level::error, {}, "a new revocation list can't be used for RADIUS, the one before stays: " + again.error().text());
  }
  if (ak_changed) take(config.ak_ca, config.ak_crl, &Settings::ak_authorities);
  if (ek_changed) take(config.ek_ca, config.ek_crl, &Settings::ek_authorities);
  if (tls_changed || ak_changed || ek_changed || radius_changed) warned_then = 0;
}

void Server::Impl::warn_of_expiries() {
  const std::int64_t now = now_ms() / 1000;
  const auto old_answers = status ? status->unrenewed() : std::nullopt;
  const bool were_old = std::exchange(ocsp_warned, old_answers.has_value());
  const auto say_old = [&] {
    log::write(log::Level::warning, {}, "the status of " + std::to_string(old_answers->count) + " certificates couldn't be asked for again (OCSP): the first answer ends " +
                                            time_left(old_answers->first_end, now));
  };
  if (old_answers && !were_old) say_old();
  // Also where the clock was set back.
  if (warned_then != 0 && now - warned_then < warn_again && now >= warned_then) return;
  warned_then = now;
  if (old_answers && were_old) say_old();
  std::vector<std::pair<std::string_view, std::int64_t>> firsts;
  for (const Watched& one : watched(config)) {
    if (one.file->empty()) continue;
    std::optional<std::int64_t> first;
    for (const Expiry& expiry : expiries_blocking(std::string(one.kind), *one.file)) {
      first = std::min(first.value_or(expiry.ends), expiry.ends);
      if (now < expiry.warn) continue;
      const bool over = expiry.ends <= now;
      log::write(over ? log::Level::error : log::Level::warning, {},
                 escaped(expiry.file) + ": " + (one.list ? "the revocation list of '" : "the certificate of '") + expiry.subject + "' " +
                     (over ? "is out of date " : "ends ") + time_left(expiry.ends, now));
    }
    if (first) firsts.emplace_back(one.kind, *first);
  }
  const std::lock_guard lock(mutex);
  expiries = std::move(firsts);
}

}  // namespace gatehouse::server
