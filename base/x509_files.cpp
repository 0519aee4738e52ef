#include "base/x509_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/hex.h"

namespace gatehouse {
namespace {

constexpr std::size_t max_certificates = 10'000;

Result<std::vector<OwnedX509>> certificates_in(const std::string& path) {
  GH_TRY(const ByteVector content, read_file(path, max_x509_file_bytes));
  std::vector<OwnedX509> out;
  const OwnedBio bio = bio_of(content);
  while (X509* const next = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    out.emplace_back(next);
    if (out.size() > max_certificates) return fail(Error{Fault::limit, "more than 10,000 certificates", {}, 0, path, {}});
  }
  ERR_clear_error();
  if (out.empty()) {
    const unsigned char* p = as_uchar(content);
    OwnedX509 der(d2i_X509(nullptr, &p, long(content.size())));
    ERR_clear_error();
    if (der) out.push_back(std::move(der));
  }
  if (out.empty()) return fail(Error{Fault::malformed, "no certificate in this file", "RFC 5280", 0, path, {}});
  return out;
}

Result<std::vector<std::string>> files_of(const std::string& path) {
  std::error_code code;
  if (!std::filesystem::is_directory(path, code)) return std::vector<std::string>{path};
  std::vector<std::string> out;
  for (std::filesystem::directory_iterator it(path, code), end; !code && it != end; it.increment(code)) {
    const std::string extension = it->path().extension().string();
    if (extension == ".pem" || extension == ".crt" || extension == ".cer" || extension == ".der")
      out.push_back(it->path().string());
  }
  if (code) return fail(Error{Fault::environment, "can't read the directory", {}, 0, path, code.message()});
  std::sort(out.begin(), out.end());
  if (out.empty()) return fail(Error{Fault::environment, "no certificate file in this directory", {}, 0, path, {}});
  return out;
}

}  // namespace

OwnedBio bio_of(Bytes bytes) { return OwnedBio(BIO_new_mem_buf(bytes.data(), int(bytes.size()))); }

std::string text_of(BIO* bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  return size > 0 ? std::string(text, std::size_t(size)) : std::string();
}

std::string name_text(const X509_NAME* name) {
  const OwnedBio out(BIO_new(BIO_s_mem()));
  if (!out || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0) return {};
  return escaped(text_of(out.get()), 1024);
}

Result<std::vector<OwnedX509>> certificates_at(const std::string& path) {
  std::vector<OwnedX509> out;
  GH_TRY(const std::vector<std::string> files, files_of(path));
  for (const std::string& file : files) {
    GH_TRY(auto found, certificates_in(file));
    for (OwnedX509& one : found) out.push_back(std::move(one));
  }
  return out;
}

std::vector<OwnedCrl> lists_in(Bytes content) {
  std::vector<OwnedCrl> out;
  const OwnedBio bio = bio_of(content);
  while (X509_CRL* const next = PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr)) out.emplace_back(next);
  if (out.empty()) {
    const unsigned char* p = as_uchar(content);
    if (X509_CRL* const der = d2i_X509_CRL(nullptr, &p, long(content.size()))) out.emplace_back(der);
  }
  ERR_clear_error();
  return out;
}

}  // namespace gatehouse
