// libraries: gatehouse_endpoint_session
// A hostile server: the input is its batches, one behind the other as their length fields say, after an honest negotiation;
// and once more as bare PT-TLS bytes. Whatever comes, what the client sends is well-formed, no larger than allowed, and an
// ended session has either a result or an error.
#include <cstdlib>

#include "endpoint/client/session.h"
#include "endpoint/imc/attestation/attestation_imc.h"
#include "endpoint/imc/os/os_imc.h"
#include "endpoint/tpm/software.h"
#include "wire/ima/ima.h"
#include "wire/pttls/pttls.h"

using namespace gatehouse;

namespace {

constexpr std::size_t max_batch = 2'080;

void check(const endpoint::Session& session, const endpoint::Session::Step& step) {
  pttls::Framer framer;
  framer.feed(step.send);
  for (;;) {
    const auto message = framer.next();
    if (!message) std::abort();
    if (*message == nullptr) break;
    if ((*message)->header.kind() != pttls::Type::pb_tnc_batch) continue;
    if ((*message)->value.size() > max_batch || !pbtnc::parse_batch((*message)->value, true)) std::abort();
  }
  if (framer.buffered() != 0) std::abort();
  if (step.ended && session.outcome().has_value() == session.error().has_value()) std::abort();
}

// As many files as the path is long, so that what is asked for fits, comes in segments, or doesn't fit.
class Files final : public endpoint::FileSource {
 public:
  std::expected<std::vector<endpoint::MeasuredFile>, endpoint::FileFault> measure(const std::string& path, bool directory, HashAlgorithm algorithm,
                                                                                  endpoint::FileBudget& budget) override {
    if (const auto fault = fault_of(path, budget)) return std::unexpected(*fault);
    return std::vector<endpoint::MeasuredFile>(directory ? path.size() : 1, {"name", Digest::filled(digest_size(algorithm), std::byte{7})});
  }
  std::expected<std::vector<endpoint::DescribedFile>, endpoint::FileFault> describe(const std::string& path, bool directory,
                                                                                    endpoint::FileBudget& budget) override {
    if (const auto fault = fault_of(path, budget)) return std::unexpected(*fault);
    return std::vector<endpoint::DescribedFile>(directory ? path.size() : 1, {"name", {}});
  }

 private:
  static std::optional<endpoint::FileFault> fault_of(const std::string& path, endpoint::FileBudget& budget) {
    if (path.empty() || path.front() != '/') return endpoint::FileFault::invalid_path;
    if (path.back() == '/') return endpoint::FileFault::not_found;
    if (budget.names < path.size()) return endpoint::FileFault::limit;
    budget.names -= path.size();
    return std::nullopt;
  }
};

class Peer {
 public:
  Peer()
      : software_(key()), attestation_({}, software_, source_, &files_),
        session_({.tnc = {.max_batch = max_batch, .first_message_id = 1}}, {&os_, &attestation_}) {
    // Logs of which the first fits into a message of these batches and the second doesn't.
    Writer list;
    ByteVector data;
    for (int i = 0; i < 40; ++i) {
      Writer fields;
      ima::append_ng_template_data(fields, "sha256", ByteVector(32, std::byte(i + 1)), "/usr/bin/program");
      data = std::move(fields).take();
      list.put_le(std::uint32_t{10});
      list.put_bytes(digest_of(HashAlgorithm::sha1, data).view());
      for (const Bytes part : {as_bytes("ima-ng"), Bytes(data)}) {
        list.put_le(std::uint32_t(part.size()));
        list.put_bytes(part);
      }
    }
    source_.set_raw(ByteVector(500, std::byte{1}), std::move(list).take());
    take(session_.start());
  }
  bool ended() const { return ended_; }
  void raw(Bytes bytes) { take(session_.feed(bytes)); }
  void send(pttls::Type type, Bytes value) {
    Writer w;
    pttls::append_message(w, type, 0, value);
    raw(w.view());
  }
  void close() { take(session_.end_of_stream()); }

 private:
  static std::shared_ptr<const endpoint::SigningKey> key() {
    static const auto made = *endpoint::SigningKey::generate(endpoint::KeyAlgorithm::ecc);
    return made;
  }
  void take(const endpoint::Session::Step& step) {
    if (ended_ && !step.send.empty()) std::abort();  // an ended session says no more
    check(session_, step);
    ended_ = step.ended;
  }
  endpoint::SoftwareTpm software_;
  endpoint::FixedEvidence source_{std::make_shared<endpoint::Evidence>(), std::make_shared<endpoint::Evidence>(), 3,
                                  std::vector<endpoint::SymlinkTarget>(100, {"/a/long/name/of/a/link", "/a/long/name/of/its/target"})};
  endpoint::OsImc os_{[] {
    endpoint::OsInfo info;
    info.device_id = "device";
    return info;
  }()};
  Files files_;
  endpoint::AttestationImc attestation_;
  endpoint::Session session_;
  bool ended_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes input{reinterpret_cast<const std::byte*>(data), size};
  Peer bare;
  bare.raw(input);
  bare.close();

  Peer negotiated;
  Writer version;
  pttls::append_version_response(version, 1);
  negotiated.send(pttls::Type::version_response, version.view());
  negotiated.send(pttls::Type::sasl_mechanisms, {});
  for (int batches = 0; input.size() >= 8 && !negotiated.ended() && batches < 64; ++batches) {
    Reader r(input.subspan(4), "");
    const std::size_t length = std::clamp<std::size_t>(*r.get<std::uint32_t>(), 8, input.size());
    negotiated.send(pttls::Type::pb_tnc_batch, input.first(length));
    input = input.subspan(length);
  }
  negotiated.close();
  return 0;
}
