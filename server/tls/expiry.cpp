#include "server/tls/expiry.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <optional>

#include "base/file.h"
#include "base/hex.h"

namespace gatehouse::server {
namespace {

constexpr std::int64_t hour = 3600, day = 24 * hour;
constexpr std::size_t max_file = std::size_t(64) << 20;

std::optional<std::int64_t> seconds(const ASN1_TIME* time) {
  std::tm utc{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &utc) != 1) return std::nullopt;
  return std::int64_t(::timegm(&utc));
}

std::string text_of(const X509_NAME* name) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
  if (!out || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return escaped(std::string_view(data, std::size_t(std::max(size, 0L))), 256);
}

void add(std::vector<Expiry>& out, const std::string& what, const std::string& file, const X509* certificate) {
  const auto from = seconds(X509_get0_notBefore(certificate)), to = seconds(X509_get0_notAfter(certificate));
  if (!to) return;
  const std::int64_t before = from ? std::clamp<std::int64_t>((*to - *from) / 3, hour, 30 * day) : 30 * day;
  out.push_back({what, file, text_of(X509_get_subject_name(certificate)), *to, *to - before});
}

void add(std::vector<Expiry>& out, const std::string& what, const std::string& file, const X509_CRL* list) {
  const auto from = seconds(X509_CRL_get0_lastUpdate(list)), to = seconds(X509_CRL_get0_nextUpdate(list));
  if (!to) return;
  const std::int64_t before = from ? std::clamp<std::int64_t>((*to - *from) / 4, hour, 7 * day) : day;
  out.push_back({what, file, text_of(X509_CRL_get_issuer(list)), *to, *to - before});
}

}  // namespace

std::vector<Expiry> expiries_blocking(const std::string& what, const std::string& file) {
  std::vector<Expiry> out;
  const auto content = read_file(file, max_file);
  if (!content || content->empty()) return out;
  const std::unique_ptr<BIO, decltype(&BIO_free)> in(BIO_new_mem_buf(content->data(), int(content->size())), BIO_free);
  if (!in) return out;
  const auto free_all = [](STACK_OF(X509_INFO) * stack) { sk_X509_INFO_pop_free(stack, X509_INFO_free); };
  const std::unique_ptr<STACK_OF(X509_INFO), decltype(free_all)> all(PEM_X509_INFO_read_bio(in.get(), nullptr, nullptr, nullptr), free_all);
  for (int i = 0; all && i < sk_X509_INFO_num(all.get()); ++i) {
    const X509_INFO* const one = sk_X509_INFO_value(all.get(), i);
    if (one->x509 != nullptr) add(out, what, file, one->x509);
    if (one->crl != nullptr) add(out, what, file, one->crl);
  }
  if (!out.empty()) return out;
  const auto* bytes = reinterpret_cast<const unsigned char*>(content->data());
  const auto size = long(content->size());
  if (const unsigned char* at = bytes; const std::unique_ptr<X509, decltype(&X509_free)> certificate{d2i_X509(nullptr, &at, size), X509_free})
    add(out, what, file, certificate.get());
  else if (at = bytes; const std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> list{d2i_X509_CRL(nullptr, &at, size), X509_CRL_free})
    add(out, what, file, list.get());
  return out;
}

std::string time_left(std::int64_t ends, std::int64_t now) {
  const std::int64_t left = ends - now, whole = left < 0 ? -left : left;
  const auto said = whole >= 2 * day ? std::to_string(whole / day) + " days" : std::to_string(whole / hour) + " hours";
  return (left < 0 ? "since " : "in ") + said;
}

}  // namespace gatehouse::server
