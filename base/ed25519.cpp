#include "base/ed25519.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/der.h"
#include "base/descriptor.h"
#include "base/file.h"
#include "base/owned.h"

namespace gatehouse {
namespace {

using Key = Owned<EVP_PKEY, EVP_PKEY_free>;
using Context = Owned<EVP_MD_CTX, EVP_MD_CTX_free>;
using Bio = Owned<BIO, BIO_free_all>;

constexpr std::size_t most_pem = 16384;

std::unexpected<Error> bad_key(std::string_view why) {
  ERR_clear_error();
  return fail(Fault::malformed, why);
}

std::string_view text_of(BIO* bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  return {text, std::size_t(size)};
}

// What is read of a private key's file.
struct Wiped {
  ByteVector bytes = ByteVector(most_pem);
  ~Wiped() { wipe(bytes); }
};

}  // namespace

struct VerifyingKey::State {
  Key key;
  Digest id;
};

Result<VerifyingKey> VerifyingKey::adopt(void* evp_pkey) {
  auto state = std::make_shared<State>();
  state->key.reset(static_cast<EVP_PKEY*>(evp_pkey));
  if (EVP_PKEY_is_a(state->key.get(), "ED25519") != 1) return bad_key("not an Ed25519 key");
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(state->key.get(), &der);
  if (size <= 0) return bad_key("key can't be encoded");
  state->id = digest_of(HashAlgorithm::sha256, {reinterpret_cast<std::byte*>(der), std::size_t(size)});
  OPENSSL_free(der);
  return VerifyingKey(std::move(state));
}

Result<VerifyingKey> VerifyingKey::from_pem(std::string_view pem) {
  const Bio bio(pem.size() > most_pem ? nullptr : BIO_new_mem_buf(pem.data(), int(pem.size())));
  EVP_PKEY* const key = bio ? PEM_read_bio_PUBKEY(bio.get(), nullptr, no_passphrase, nullptr) : nullptr;
  if (key == nullptr) return bad_key("not a public key in PEM");
  return adopt(key);
}

Result<VerifyingKey> VerifyingKey::read_file(const std::string& path) {
  GH_TRY(const ByteVector pem, gatehouse::read_file(path, most_pem));
  auto key = from_pem(as_text(pem));
  if (!key) return fail(std::move(key).error().from(path));
  return key;
}

const Digest& VerifyingKey::id() const { return state_->id; }

bool VerifyingKey::verify(Bytes message, Bytes signature) const {
  const Context context(EVP_MD_CTX_new());
  const bool good =
      context && signature.size() == sizeof(Ed25519Signature) &&
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, state_->key.get()) == 1 &&
      EVP_DigestVerify(context.get(), as_uchar(signature), signature.size(), as_uchar(message), message.size()) == 1;
  if (!good) ERR_clear_error();
  return good;
}

std::string VerifyingKey::pem() const {
  const Bio bio(BIO_new(BIO_s_mem()));
  GH_ASSERT(bio && PEM_write_bio_PUBKEY(bio.get(), state_->key.get()) == 1);
  return std::string(text_of(bio.get()));
}

Result<SigningKey> SigningKey::generate() {
  EVP_PKEY* const key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  if (key == nullptr) {
    ERR_clear_error();
    return fail(Fault::environment, "can't make a key");
  }
  GH_TRY(VerifyingKey adopted, VerifyingKey::adopt(key));
  return SigningKey(std::move(adopted));
}

Result<SigningKey> SigningKey::read_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return fail_errno("can't open the key", path);
  struct stat st {};
  const auto refuse = [&](std::string_view why) { return fail(Error{Fault::environment, why, {}, 0, path, {}}); };
  if (::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode)) return refuse("not a regular file");
  if ((st.st_mode & 077) != 0)
    return refuse("others can read or change this private key: chmod 600, or make a new one");
  if (st.st_uid != ::geteuid() && st.st_uid != 0) return refuse("this private key is another user's");
  Wiped pem;
  std::size_t size = 0;
  for (ssize_t n = 1; n != 0 && size < most_pem; size += std::size_t(n)) {
    n = ::read(file.get(), pem.bytes.data() + size, most_pem - size);
    if (n < 0) return fail_errno("can't read the key", path);
  }
  const Bio bio(BIO_new_mem_buf(pem.bytes.data(), int(size)));
  EVP_PKEY* const key = bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr) : nullptr;
  if (key == nullptr) return fail(bad_key("not a private key in PEM, or one with a passphrase").error().from(path));
  auto adopted = VerifyingKey::adopt(key);
  if (!adopted) return fail(std::move(adopted).error().from(path));
  return SigningKey(*std::move(adopted));
}

Result<void> SigningKey::write_file(const std::string& path) const {
  const Bio bio(BIO_new(BIO_s_secmem()));  // wiped when it is freed
  GH_ASSERT(bio && PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.state_->key.get(), nullptr, nullptr, 0, nullptr,
                                                 nullptr) == 1);
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return fail_errno("can't create the key", path);
  for (std::string_view rest = text_of(bio.get()); !rest.empty();) {
    const ssize_t n = ::write(file.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const auto error = fail_errno("can't write the key", path);
      ::unlink(path.c_str());
      return error;
    }
    rest.remove_prefix(std::size_t(n));
  }
  if (::fsync(file.get()) != 0) {
    const auto error = fail_errno("can't write the key", path);
    ::unlink(path.c_str());
    return error;
  }
  return {};
}

VerifyingKey SigningKey::verifying() const { return key_; }

Ed25519Signature SigningKey::sign(Bytes message) const {
  Ed25519Signature out;
  std::size_t size = out.size();
  const Context context(EVP_MD_CTX_new());
  GH_ASSERT(context && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.state_->key.get()) == 1 &&
            EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, as_uchar(message),
                           message.size()) == 1 &&
            size == out.size());
  return out;
}

}  // namespace gatehouse
