// A tunnel that hides nothing: the first message either way is the handshake, what follows is plaintext. And a host that
// notes what it is asked.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "server/eap/eap_server.h"

namespace gatehouse::test {

class PlainTunnel final : public server::EapTunnel {
 public:
  explicit PlainTunnel(std::string subject = {}, bool good = true, std::shared_ptr<server::Resumable> before = nullptr, std::shared_ptr<server::Resumable>* kept = nullptr)
      : subject_(std::move(subject)), good_(good), before_(std::move(before)), kept_(kept) {}
  Result<void> receive(const ttls::Reassembler::Message& message) override {
    const ByteVector tls = message.joined();
    if (!good_) {
      out_ = to_vector(as_bytes("alert"));
      return fail(Fault::denied, "TLS handshake failed");
    }
    if (!established_) {
      established_ = true;
      out_ = to_vector(as_bytes("hello"));
      return {};
    }
    in_.insert(in_.end(), tls.begin(), tls.end());
    return {};
  }
  bool established() const override { return established_; }
  Result<ByteVector> read() override { return std::exchange(in_, {}); }
  Result<void> write(Bytes plaintext) override {
    out_.insert(out_.end(), plaintext.begin(), plaintext.end());
    return {};
  }
  ByteVector output() override { return std::exchange(out_, {}); }
  Result<Secret> keys() const override { return Secret(ByteVector(128, std::byte{7})); }
  std::string subject() const override { return subject_; }
  std::shared_ptr<server::Resumable> resumed() const override { return before_; }
  void let_resume(const std::shared_ptr<server::Resumable>& as) override {
    if (kept_ != nullptr) *kept_ = as;
  }
  std::string version() const override { return "plain"; }
  std::string cipher() const override { return "none"; }

 private:
  const std::string subject_;
  const bool good_;
  const std::shared_ptr<server::Resumable> before_;
  std::shared_ptr<server::Resumable>* const kept_;  // what may be resumed from now on; null: nobody wants to know
  bool established_ = false;
  ByteVector in_, out_;
};

class NotingHost final : public server::EapHost {
 public:
  const server::StoredPassword* stored_password(const std::string& user) override { return user == "carol" ? &carol_ : nullptr; }
  void check_password_of(std::string user, Secret password) override {
    done.push_back("check " + user + " " + std::string(as_text(password.reveal())));
  }
  bool asks_elsewhere(const std::string&) override { return elsewhere; }
  void judge_elsewhere(std::string user, server::ChallengeAnswer answer) override {
    done.push_back("judge " + user + (std::holds_alternative<server::ChapAnswer>(answer) ? " chap" : " mschap2"));
  }
  void authenticated(bool good, const std::string& user, std::string_view method, std::string_view) override {
    done.push_back(std::string(good ? "accepted " : "refused ") + user + " by " + std::string(method));
  }
  void begin_assessment(const server::EapIdentity& identity) override { done.push_back("begin " + identity.name + " " + identity.type); }
  void deliver(Bytes batch) override { done.push_back("deliver " + std::to_string(batch.size())); }
  void acknowledged() override { done.push_back("acknowledged"); }
  void without_assessment(const server::EapIdentity& identity) override { done.push_back("without " + identity.name); }
  ByteVector random_bytes_of(std::size_t count) override { return ByteVector(count, std::byte{0x2A}); }
  bool asks_for_certificate() override {
    if (asks) done.push_back("certificate");
    return asks;
  }

  std::vector<std::string> done;
  bool asks = false;
  bool elsewhere = false;

 private:
  server::StoredPassword carol_{Secret(as_bytes("secret")), *nt_hash("secret")};
};

}  // namespace gatehouse::test
