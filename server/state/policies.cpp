#include "server/state/policies.h"

#include <vector>

#include "server/state/codec.h"
#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

using namespace layout;

constexpr std::string_view versions = "V", held_key = "O";

std::string version_key(std::uint64_t number) { return std::string(versions) + number64(number); }

std::string encode(const StoredPolicy& policy) {
  Writer w;
  w.put(layout_version);
  put_text(w, policy.version);
  w.put(std::uint64_t(policy.since));
  put_text(w, policy.file);
  put_text(w, policy.text);
  w.put(std::uint32_t(policy.files.size()));
  for (const auto& [path, content] : policy.files) {
    put_text(w, path);
    put_text(w, content);
  }
  return taken(std::move(w));
}

Result<StoredPolicy> decode_policy(std::string_view key, std::string_view value) {
  Reader r(as_bytes(value), document);
  StoredPolicy out;
  out.number = read_number64(key.substr(versions.size()));
  GH_CHECK(get_version(r));
  GH_TRY(out.version, get_text(r));
  GH_TRY(out.since, get_time(r));
  GH_TRY(out.file, get_text(r));
  GH_TRY(out.text, get_text(r));
  GH_TRY(const auto files, r.get<std::uint32_t>());
  for (std::uint32_t i = 0; i < files; ++i) {
    GH_TRY(std::string path, get_text(r));
    GH_TRY(std::string content, get_text(r));
    out.files.emplace(std::move(path), std::move(content));
  }
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const HeldSwitch& held) {
  Writer w;
  w.put(layout_version);
  put_text(w, held.policy);
  w.put(std::uint8_t(held.generation ? 1 : 0));
  w.put(held.generation.value_or(0));
  put_text(w, held.policy_instead);
  w.put(std::uint64_t(held.since));
  put_text(w, held.why);
  return taken(std::move(w));
}

Result<HeldSwitch> decode_held(std::string_view value) {
  Reader r(as_bytes(value), document);
  HeldSwitch out;
  GH_CHECK(get_version(r));
  GH_TRY(out.policy, get_text(r));
  GH_TRY(const bool has_generation, get_bool(r));
  GH_TRY(const auto generation, r.get<std::uint64_t>());
  if (has_generation) out.generation = generation;
  GH_TRY(out.policy_instead, get_text(r));
  GH_TRY(out.since, get_time(r));
  GH_TRY(out.why, get_text(r));
  GH_CHECK(r.finish());
  return out;
}

Result<std::vector<StoredPolicy>> read_policies(const StoreView& view) {
  std::vector<StoredPolicy> out;
  Result<void> read{};
  GH_CHECK(view.each(versions, versions, [&](std::string_view key, std::string_view value) {
    auto one = decode_policy(key, value);
    if (!one) read = fail(std::move(one).error());
    if (one) out.push_back(*std::move(one));
    return read.has_value();
  }));
  GH_CHECK(read);
  return out;
}

}  // namespace

Result<std::uint64_t> State::note_policy_blocking(StoredPolicy policy) {
  std::uint64_t number = 0;
  GH_CHECK(impl_->store->submit_blocking([&](Batch& batch) -> Result<void> {
    GH_TRY(const std::vector<StoredPolicy> known, read_policies(batch));
    for (const StoredPolicy& one : known)
      if (one.version == policy.version) {
        number = one.number;
        return {};
      }
    number = known.empty() ? 1 : known.back().number + 1;
    policy.since = impl_->now();
    batch.put(version_key(number), encode(policy));
    return {};
  }));
  return number;
}

Result<std::vector<StoredPolicy>> State::policies() const { return read_policies(impl_->store->view()); }

Result<std::optional<HeldSwitch>> State::held_switch() const {
  GH_TRY(const auto value, impl_->store->view().read(held_key));
  if (!value) return std::nullopt;
  GH_TRY(HeldSwitch held, decode_held(*value));
  return held;
}

Result<void> State::hold_switch_blocking(const HeldSwitch& held) {
  return impl_->store->submit_blocking([&](Batch& batch) -> Result<void> {
    if (held.empty())
      batch.erase(held_key);
    else
      batch.put(held_key, encode(held));
    return {};
  });
}

}  // namespace gatehouse::server
