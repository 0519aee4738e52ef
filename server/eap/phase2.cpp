#include "server/eap/phase2.h"

#include <algorithm>

#include "wire/eap/eap.h"
#include "wire/pteap/pteap.h"
#include "wire/ttls/ttls.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t max_name = 253;  // of a user: what RADIUS can say
constexpr std::string_view resumption = "TLS session resumption";

// What was proved in the session before is so in this one.
bool proves(const std::shared_ptr<Resumable>& before, const std::string& subject) {
  return before && before->identity.type == (subject.empty() ? "password" : "certificate") && (subject.empty() || before->identity.name == subject);
}

std::unexpected<Error> refuse(std::string_view why) { return fail(Fault::protocol, why, "RFC 5281"); }

}  // namespace

EapPhase2::EapPhase2(EapHost& host, const Config& config, std::string subject, std::shared_ptr<Resumable> before)
    : host_(host), config_(config), subject_(std::move(subject)), before_(proves(before, subject_) ? std::move(before) : nullptr),
      identifier_(std::uint8_t(host.random_bytes_of(1).front())) {}

void EapPhase2::request(std::uint8_t type, Bytes data) {
  ++identifier_;
  asked_ = true;
  out_ = ttls::eap_avp(eap::packet(eap::Code::request, identifier_, type, data));
}

ByteVector EapPhase2::take_plaintext() { return std::exchange(out_, {}); }

void EapPhase2::fail_with(std::string_view reason) {
  failure_ = reason;
  verdict_.reset();
  over_ = true;
  expects_ = Expects::end;
  method_.reset();
  held_ = nullptr;
}

Result<void> EapPhase2::receive(Bytes plaintext) {
  if (waiting_ || over_) return refuse("the client speaks out of turn");
  if (plaintext.empty()) {
    on_nothing();
    return {};
  }
  GH_TRY(const ttls::Avps avps, ttls::parse_avps(plaintext));
  if (avps.used != plaintext.size()) return refuse("an AVP isn't whole");
  Bytes eap;
  ByteVector joined;  // of several; one is taken where it lies
  std::optional<std::string> user;
  std::optional<Secret> password;
  for (const ttls::Avp& a : avps.all) {
    if (a.vendor == 0 && a.code == ttls::avp::eap_message) {
      if (eap.size() + a.data.size() > eap::max_packet) return refuse("EAP packet in AVPs longer than it may be");
      if (eap.empty()) {
        eap = a.data;
        continue;
      }
      if (joined.empty()) joined = to_vector(eap);
      joined.insert(joined.end(), a.data.begin(), a.data.end());
      eap = joined;
    } else if (a.vendor == 0 && a.code == ttls::avp::user_name && !user) {
      user = std::string(as_text(a.data));
    } else if (a.vendor == 0 && a.code == ttls::avp::user_password && !password) {
      password.emplace(a.data);
    } else if (a.mandatory) {
      return refuse("a mandatory AVP that isn't known here");
    }
  }
  if (!eap.empty() && (user || password)) return refuse("two ways to authenticate at once");
  if (!eap.empty()) return on_packet(eap);
  if (!user || !password) return refuse("nothing that can be answered");
  on_pap(*std::move(user), *std::move(password));
  return {};
}

// It answers our tunnel, and nothing in it: where it hasn't begun, it is asked to; where a batch was expected, that is an
// answer.
void EapPhase2::on_nothing() {
  switch (expects_) {
    case Expects::identity:
      if (before_ && !asked_) {
        user_ = before_->user;
        return accept(subject_.empty() ? resumption : "certificate");
      }
      if (asked_) return fail_with("the client doesn't say who it is");
      return request(eap::type::identity, {});
    case Expects::batch:
      waiting_ = true;
      return host_.acknowledged();
    case Expects::pt_eap_answer: return refuses_assessment();
    default: return fail_with("the client doesn't answer");
  }
}

Result<void> EapPhase2::on_packet(Bytes bytes) {
  GH_TRY(const eap::Packet p, eap::parse_packet(bytes));
  if (p.code != eap::Code::response) return refuse("the client sent no response");
  // What comes unasked can only be who it is (RFC 5281 section 11.2.1).
  if (asked_ && p.identifier != identifier_) return refuse("EAP identifier of another request");
  switch (expects_) {
    case Expects::identity:
      if (p.type != eap::type::identity) return refuse("an identity was asked for");
      on_identity(p.data);
      return {};
    case Expects::method: on_method_response(p.type, p.data); return {};
    case Expects::pt_eap_answer:
    case Expects::batch: return on_pt_eap(p.type, p.data);
    case Expects::end: break;
  }
  return refuse("nothing was asked for");
}

void EapPhase2::on_identity(Bytes name) {
  if (name.size() > max_name) return fail_with("identity longer than a name may be");
  user_ = as_text(name);
  if (!subject_.empty()) return accept("certificate");
  if (before_ && !asked_ && user_ == before_->user) return accept(resumption);
  // Nobody's name; with a certificate it needn't be said.
  if (user_.empty()) return fail_with("no name of a user");
  if (config_.methods.empty()) return fail_with("no method to authenticate with is configured for this client");
  begin_method(config_.methods.front());
}

void EapPhase2::begin_method(std::uint8_t type) {
  method_ = make_eap_method(type, user_, host_.stored_password(user_), host_.random_bytes_of(16), host_.asks_elsewhere(user_));
  if (!method_) return fail_with("no such method");
  expects_ = Expects::method;
  heard_ = false;
  request(type, method_->begin(std::uint8_t(identifier_ + 1)));
}

void EapPhase2::on_method_response(std::uint8_t type, Bytes data) {
  if (type == eap::type::nak) {
    refused_.push_back(method_->type());
    for (const std::uint8_t mine : config_.methods)
      if (std::find(data.begin(), data.end(), std::byte{mine}) != data.end() &&
          std::find(refused_.begin(), refused_.end(), mine) == refused_.end())
        return begin_method(mine);
    host_.authenticated(false, user_, eap::name(method_->type()), "the client wants another method");
    return fail_with("no method in common");
  }
  if (type != method_->type()) return fail_with("response of another method");
  const auto respond = [this](Bytes said) { take_step(method_->respond(said, identifier_, std::uint8_t(identifier_ + 1))); };
  if (std::exchange(heard_, true)) return respond(data);
  auto kept = std::make_shared<const Secret>(data);  // may be a password
  attempt([respond, kept] { respond(kept->reveal()); });
}

// Now, or when it is the client's turn.
void EapPhase2::attempt(std::function<void()> what) {
  switch (host_.turn(user_)) {
    case EapHost::Turn::now: return what();
    case EapHost::Turn::later:
      waiting_ = true;
      held_ = std::move(what);
      return;
    case EapHost::Turn::refused: return refuse_attempt();
  }
}

void EapPhase2::refuse_attempt() {
  host_.authenticated(false, user_, method_ ? eap::name(method_->type()) : "PAP", "too many wrong passwords before it");
  fail_with("authentication failed");
}

void EapPhase2::on_turn(bool heard) {
  if (!waiting_ || !held_) return;
  waiting_ = false;
  const auto what = std::exchange(held_, nullptr);
  if (heard) what();
  else refuse_attempt();
}

void EapPhase2::take_step(EapMethod::Step step) {
  if (auto* more = std::get_if<EapMethod::Continue>(&step)) {
    host_.attempted(user_, true);
    return request(method_->type(), more->data);
  }
  if (auto* check = std::get_if<EapMethod::Check>(&step)) {
    waiting_ = true;
    return host_.check_password_of(user_, std::move(check->password));
  }
  if (auto* ask = std::get_if<EapMethod::Ask>(&step)) {
    waiting_ = true;
    return host_.judge_elsewhere(user_, std::move(ask->answer));
  }
  const std::string_view name = eap::name(method_->type());
  const auto* const bad = std::get_if<EapMethod::Rejected>(&step);
  accept_or_fail(name, bad == nullptr, bad != nullptr ? bad->reason : std::string_view());
}

void EapPhase2::accept_or_fail(std::string_view name, bool good, std::string_view reason) {
  host_.attempted(user_, good);
  if (good) return accept(name);
  host_.authenticated(false, user_, name, reason);
  fail_with("authentication failed");
}

void EapPhase2::on_pap(std::string user, Secret password) {
  if (expects_ != Expects::identity || asked_) return fail_with("PAP at the wrong time");
  user_ = std::move(user);
  if (user_.empty() || user_.size() > max_name) return fail_with("no name of a user");
  if (!subject_.empty()) return accept("certificate");
  if (!config_.pap) return fail_with("PAP isn't offered");
  // Padded with NULs to hide its length (RFC 5281 section 11.2.5).
  Bytes bare = password.reveal();
  while (!bare.empty() && bare.back() == std::byte{0}) bare = bare.first(bare.size() - 1);
  auto kept = std::make_shared<Secret>(bare);
  attempt([this, kept] {
    waiting_ = true;
    host_.check_password_of(user_, std::move(*kept));
  });
}

void EapPhase2::on_password(bool good) {
  GH_ASSERT(waiting_ && !assessing_ && !held_);
  waiting_ = false;
  accept_or_fail(method_ ? eap::name(method_->type()) : "PAP", good, "wrong user or password");
}

void EapPhase2::on_judged(bool good, std::string_view proof) {
  GH_ASSERT(waiting_ && method_ && !assessing_ && !held_);
  waiting_ = false;
  take_step(method_->judged(good, proof, std::uint8_t(identifier_ + 1)));
}

void EapPhase2::accept(std::string_view method) {
  identity_ = subject_.empty() ? EapIdentity{user_, "password"} : EapIdentity{subject_, "certificate"};
  method_.reset();
  const bool same = before_ && before_->identity == identity_;
  carried_ = resumable_ = same ? before_ : std::make_shared<Resumable>(user_, identity_);
  host_.authenticated(true, user_, method, {});
  if (!config_.assess || (same && before_->refuses_assessment)) {
    waiting_ = true;
    return host_.without_assessment(identity_);
  }
  expects_ = Expects::pt_eap_answer;
  request(eap::type::pt_eap, pteap::start());
}

Result<void> EapPhase2::on_pt_eap(std::uint8_t type, Bytes data) {
  if (type == eap::type::nak && expects_ == Expects::pt_eap_answer) {
    const bool older = std::find(data.begin(), data.end(), std::byte{eap::type::tnc}) != data.end();
    if (config_.tnc && older && carrier_ == eap::type::pt_eap) {
      carrier_ = eap::type::tnc;
      request(carrier_, pteap::tnc_start());
      return {};
    }
    refuses_assessment();
    return {};
  }
  if (type != carrier_) return refuse("PT-EAP was asked for");
  GH_TRY(const pteap::Message m, carrier_ == eap::type::tnc ? pteap::parse_tnc_message(data) : pteap::parse_message(data));
  if (m.start) return refuse("PT-EAP Start from the client");
  if (expects_ == Expects::pt_eap_answer) {
    assessing_ = true;
    expects_ = Expects::batch;
    host_.begin_assessment(identity_);
  }
  waiting_ = true;
  if (m.batch.empty()) host_.acknowledged();
  else host_.deliver(m.batch);
  return {};
}

// What it gets then is the host's to say, each time anew.
void EapPhase2::refuses_assessment() {
  carried_->refuses_assessment = true;
  waiting_ = true;
  host_.without_assessment(identity_);
}

void EapPhase2::on_batch(Bytes batch) {
  GH_ASSERT(waiting_ && batch.size() <= pteap::max_batch);
  waiting_ = false;
  request(carrier_, pteap::message(batch));
}

void EapPhase2::on_assessed(std::optional<pipeline::Recommendation> verdict) {
  if (over_) return;
  verdict_ = verdict;
  waiting_ = false;
  over_ = true;
  expects_ = Expects::end;
  if (!verdict) failure_ = "no verdict that counts";
}

}  // namespace gatehouse::server
