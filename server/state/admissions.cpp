#include "server/state/admissions.h"

#include <cstring>
#include <limits>
#include <memory>

#include "server/state/codec.h"
#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

constexpr std::string_view admissions_prefix = "p";

std::string admission_key(std::uint64_t number) { return std::string(admissions_prefix) + layout::number64(number); }

}  // namespace

namespace layout {
namespace {

void put_texts(Writer& w, const std::vector<std::string>& texts) {
  w.put(std::uint16_t(texts.size()));
  for (const std::string& text : texts) put_text(w, text);
}
Result<std::vector<std::string>> get_texts(Reader& r) {
  GH_TRY(const auto count, r.get<std::uint16_t>());
  if (count > r.remaining() / sizeof(std::uint32_t)) return r.fail("more texts than there is room for");
  std::vector<std::string> out;
  for (std::uint16_t i = 0; i < count; ++i) {
    GH_TRY(std::string text, get_text(r));
    out.push_back(std::move(text));
  }
  return out;
}

}  // namespace

std::string encode(const GatewayAdmission& value) {
  Writer w;
  w.put(layout_version);
  w.put_bytes(std::as_bytes(std::span(value.gateway)));
  put_text(w, value.client);
  w.put(std::uint8_t(value.streamed));
  put_text(w, value.nas);
  put_text(w, as_text(value.nas_address));
  w.put(std::uint8_t(value.port ? 1 : 0));
  w.put(value.port.value_or(0));
  for (const std::string* text : {&value.user, &value.station, &value.accounting, &value.address, &value.session, &value.device, &value.identity, &value.identity_type})
    put_text(w, *text);
  put_texts(w, value.also);
  w.put(std::uint8_t(value.sure));
  put_texts(w, value.groups);
  w.put(std::uint8_t(value.recommendation));
  for (const std::int64_t time : {value.admitted, value.until, value.connected, value.heard}) w.put(std::uint64_t(time));
  w.put(value.octets_in);
  w.put(value.octets_out);
  return taken(std::move(w));
}

Result<GatewayAdmission> decode_admission(std::string_view bytes, std::uint64_t number) {
  Reader r(as_bytes(bytes), document);
  GatewayAdmission out;
  out.number = number;
  GH_CHECK(get_version(r));
  GH_TRY(const Bytes gateway, r.take(out.gateway.size()));
  std::memcpy(out.gateway.data(), gateway.data(), gateway.size());
  GH_TRY(out.client, get_text(r));
  GH_TRY(out.streamed, get_bool(r));
  GH_TRY(out.nas, get_text(r));
  GH_TRY(const std::string address, get_text(r));
  if (!address.empty() && address.size() != 4 && address.size() != 16) return r.fail("an address of another size");
  out.nas_address = to_vector(as_bytes(address));
  GH_TRY(const bool has_port, get_bool(r));
  GH_TRY(const auto port, r.get<std::uint32_t>());
  if (!has_port && port != 0) return r.fail("a port that isn't there");
  if (has_port) out.port = port;
  for (std::string* text : {&out.user, &out.station, &out.accounting, &out.address, &out.session, &out.device, &out.identity, &out.identity_type}) {
    GH_TRY(*text, get_text(r));
  }
  GH_TRY(out.also, get_texts(r));
  GH_TRY(out.sure, get_bool(r));
  GH_TRY(out.groups, get_texts(r));
  GH_TRY(out.recommendation, get_enum(r, pipeline::Recommendation::none));
  for (std::int64_t* time : {&out.admitted, &out.until, &out.connected, &out.heard}) {
    GH_TRY(*time, get_time(r));
  }
  GH_TRY(out.octets_in, r.get<std::uint64_t>());
  GH_TRY(out.octets_out, r.get<std::uint64_t>());
  GH_CHECK(r.finish());
  return out;
}

}  // namespace layout

Result<std::vector<GatewayAdmission>> State::admissions(std::uint64_t after, std::size_t most) const {
  std::vector<GatewayAdmission> out;
  if (after == std::numeric_limits<std::uint64_t>::max()) return out;
  Result<void> read{};
  GH_CHECK(impl_->store->view().each(admissions_prefix, admission_key(after + 1), [&](std::string_view key, std::string_view value) {
    if (out.size() == most) return false;
    auto one = layout::decode_admission(value, layout::read_number64(key.substr(admissions_prefix.size())));
    if (!one) read = fail(std::move(one).error());
    if (one) out.push_back(*std::move(one));
    return read.has_value();
  }));
  GH_CHECK(read);
  return out;
}

void State::keep_admission(const GatewayAdmission& admission, Completion completion) {
  impl_->store->submit(
      [key = admission_key(admission.number), value = layout::encode(admission)](Batch& batch) -> Result<void> {
        batch.put(key, value);
        return {};
      },
      std::move(completion));
}

void State::note_admission(const GatewayAdmission& admission) {
  impl_->store->submit(
      [key = admission_key(admission.number), value = layout::encode(admission)](Batch& batch) -> Result<void> {
        // What was dropped meanwhile doesn't come back.
        GH_TRY(const auto known, batch.read(key));
        if (known) batch.put(key, value);
        return {};
      },
      [](Result<void>) {}, 0, Store::Safety::process);
}

void State::drop_admissions(std::vector<std::uint64_t> numbers) {
  impl_->store->submit(
      [numbers = std::move(numbers)](Batch& batch) -> Result<void> {
        for (const std::uint64_t number : numbers) batch.erase(admission_key(number));
        return {};
      },
      [](Result<void>) {}, 0, Store::Safety::process);
}

}  // namespace gatehouse::server
