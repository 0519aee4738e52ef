// An RPM repository: repodata/repomd.xml with its signature, then the primary index.
#include <algorithm>

#include "refdb/ingest/repositories.h"
#include "refdb/ingest/rpm_index.h"

namespace gatehouse::refdb {
namespace {

Result<RepositoryState> read_once(Place& place, const std::string& source, const RepositoryContext& context) {
  const std::string path = "repodata/repomd.xml";
  RepositoryState out;
  out.name = source;
  GH_TRY(const auto text, place.get(path, max_release_bytes));
  if (!text) return fail(Error{Fault::environment, "no repomd.xml", {}, 0, place.where(path), {}});
  if (context.keyring != nullptr) {
    GH_TRY(const auto signature, place.get(path + ".asc", max_release_bytes));
    if (signature) {
      auto signer = context.keyring->verify_detached(*signature, *text);
      if (!signer) return fail(std::move(signer).error().from(place.where(path)));
      out.signer = *std::move(signer);
    }
  }
  const auto repomd = parse_repomd(*text);
  if (!repomd) return fail(Error(repomd.error()).from(place.where(path)));
  out.date = repomd->revision;
  if (auto good = check_state(out, context); !good) return fail(std::move(good).error().from(place.where(path)));
  if (repomd->size == 0 || repomd->size > max_packed_index_bytes)
    return fail(Error{Fault::limit, "an index larger than allowed, or of no size", {}, 0, place.where(path), {}});
  GH_TRY(const auto packed, place.index(repomd->primary, repomd->algorithm, repomd->digest, repomd->size));
  if (!packed) return fail(Error{Fault::environment, reason_no_such_file, {}, 0, place.where(repomd->primary), {}});
  const auto read = [&]() -> Result<void> {
    GH_TRY(const auto stream, IndexStream::open(*packed));
    const std::vector<std::string>& wanted = context.options.architectures;
    return parse_primary(*stream, [&](IndexItem item) -> Result<void> {
      const std::string& architecture = item.entry.architecture;
      if (!wanted.empty() && architecture != "noarch" && std::find(wanted.begin(), wanted.end(), architecture) == wanted.end())
        return {};
      return add_item(out, std::move(item), context);
    });
  };
  if (auto good = read(); !good) return fail(std::move(good).error().from(place.where(repomd->primary)));
  return out;
}

}  // namespace

Result<RepositoryState> read_rpm_md(Place& place, const std::string& source, const RepositoryContext& context) {
  auto state = read_once(place, source, context);
  const auto changed = [](const Error& e) { return e.reason == reason_other_digest || e.reason == reason_no_such_file; };
  if (state || !changed(state.error())) return state;
  // The mirror may have changed between the two.
  state = read_once(place, source, context);
  if (!state && changed(state.error()))
    return fail(std::move(state).error().with("also after repomd.xml was read again"));
  return state;
}

}  // namespace gatehouse::refdb
