#include "refdb/ingest/taken.h"

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>

#include "base/file.h"
#include "base/hex.h"

namespace gatehouse::refdb {
namespace {

namespace json = boost::json;
constexpr std::size_t limit_bytes = std::size_t(16) << 20;

std::string path_of(const std::string& store) { return store + "/REPOSITORIES"; }

// Paths of folders may be no UTF-8, which JSON has to be.
std::string key_of(const std::string& repository) { return escaped(repository); }

}  // namespace

Result<Taken> Taken::read(const std::string& store) {
  if (!std::filesystem::exists(path_of(store))) return Taken();
  GH_TRY(const ByteVector content, read_file(path_of(store), limit_bytes));
  return parse(content, path_of(store));
}

Result<Taken> Taken::parse(Bytes text, const std::string& path) {
  Taken out;
  const auto damaged = [&] {
    return fail(Error{Fault::environment, "the record of repositories is damaged", {}, 0, path, {}});
  };
  std::string_view rest = as_text(text);
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    if (end == rest.npos) return damaged();
    json::error_code code;
    const json::value line = json::parse(rest.substr(0, end), code);
    const json::object* const row = code ? nullptr : line.if_object();
    const json::value* const repository = row != nullptr ? row->if_contains("repository") : nullptr;
    const json::value* const date = row != nullptr ? row->if_contains("date") : nullptr;
    const json::value* const signer = row != nullptr ? row->if_contains("signer") : nullptr;
    if (repository == nullptr || !repository->is_string() || date == nullptr || !date->is_int64() ||
        signer == nullptr || !signer->is_string())
      return damaged();
    out.all_[std::string(repository->as_string())] = {date->as_int64(), std::string(signer->as_string())};
    rest.remove_prefix(end + 1);
  }
  return out;
}

Result<void> Taken::write(const std::string& store) {
  if (!changed_) return {};
  std::string text;
  for (const auto& [repository, state] : all_)
    text += json::serialize(json::object{{"repository", repository}, {"date", state.date}, {"signer", state.signer}}) + "\n";
  GH_CHECK(write_file_atomically(path_of(store), as_bytes(text)));
  changed_ = false;
  return {};
}

const TakenState* Taken::find(const std::string& repository) const {
  const auto at = all_.find(key_of(repository));
  return at == all_.end() ? nullptr : &at->second;
}

bool Taken::has_kind(std::string_view prefix) const {
  const auto at = all_.lower_bound(prefix);
  return at != all_.end() && at->first.starts_with(prefix);
}

void Taken::note(const std::string& repository, const TakenState& state) {
  TakenState& kept = all_[key_of(repository)];
  const std::int64_t date = std::max(kept.date, state.date);
  // Once signed, always signed.
  const std::string& signer = state.signer.empty() ? kept.signer : state.signer;
  if (kept.date == date && kept.signer == signer) return;
  kept = {date, signer};
  changed_ = true;
}

void Taken::note_all(const Taken& other) {
  for (const auto& [repository, state] : other.all_) note(repository, state);
}

}  // namespace gatehouse::refdb
