#include "refdb/ingest/repositories.h"

#include "refdb/ingest/inflate.h"

namespace gatehouse::refdb {

Result<void> check_state(const RepositoryState& state, const RepositoryContext& context) {
  const TakenState* const before = context.taken.find(state.name);
  if (before == nullptr) return {};
  if (state.date < before->date && !context.options.allow_older)
    return fail(Error{Fault::denied, "older than what was taken from here before: a mirror that is behind, or a rollback",
                      {}, 0, {}, std::to_string(before->date - state.date) + " s older"});
  if (state.signer.empty() && !before->signer.empty() && !context.options.allow_unsigned)
    return fail(Fault::denied, "not signed any more, as it was before");
  return {};
}

Result<void> add_item(RepositoryState& state, IndexItem item, const RepositoryContext& context) {
  constexpr std::size_t most_bad = 1000;
  if (item.bad) {
    if (state.bad.size() >= most_bad) return fail(std::move(*item.bad));
    state.bad.emplace_back(item.entry.name, *std::move(item.bad));
    return {};
  }
  if (!context.selection.takes(item.entry)) {
    ++state.excluded;
    return {};
  }
  if (state.packages.size() >= max_index_packages) return fail(Fault::limit, "more packages than allowed");
  state.packages.push_back(std::move(item.entry));
  return {};
}

Result<std::unique_ptr<IndexStream>> IndexStream::open(Bytes packed) {
  std::unique_ptr<IndexStream> out(new IndexStream(packed));
  if (const auto compression = compression_of(packed.first(std::min<std::size_t>(packed.size(), 6)))) {
    GH_TRY(out->inner_, ConcatenatedInflater::open(out->input_, 0, *compression));
  } else {
    out->inner_ = std::make_unique<PlainStream>(out->input_, 0);
  }
  return out;
}

Result<std::size_t> IndexStream::read(std::span<std::byte> out) {
  GH_TRY(const std::size_t n, inner_->read(out));
  total_ += n;
  if (total_ > max_index_bytes)
    return fail(Fault::limit, "the index expands to more than allowed", {}, std::size_t(offset()));
  return n;
}

}  // namespace gatehouse::refdb
