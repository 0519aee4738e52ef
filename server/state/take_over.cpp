// What a store of an earlier format gets when it is opened, beside the number (docs/formats/state.md).
#include "base/hex.h"
#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t rows_a_write = 10'000;

}  // namespace

// Since format 6 a key that several devices have is marked, and of an item the last result alone is kept, which says since
// when it isn't compliant. What it takes the place of goes with the write of the number.
Result<void> State::Impl::take_over() {
  Rows rows;
  const auto flush = [&] {
    return store->submit_blocking([&](Batch& batch) -> Result<void> {
      for (auto& [key, value] : rows) batch.put(key, *std::move(value));
      rows.clear();
      return {};
    });
  };
  // The store isn't opened anew meanwhile: nobody else has it yet.
  const auto over = [&](char letter, const std::function<Result<void>(const StoreView&, std::string_view, std::string_view)>& take) -> Result<void> {
    const std::string prefix(1, letter);
    Result<void> good{};
    std::string from = prefix;
    for (bool more = true; more;) {
      more = false;
      {
        const Moment moment(*store);
        GH_CHECK(moment.view.each(prefix, from, [&](std::string_view key, std::string_view value) {
          if (rows.size() >= rows_a_write) {
            from = key;
            more = true;
            return false;
          }
          good = take(moment.view, key, value);
          return good.has_value();
        }));
      }
      GH_CHECK(good);
      if (!rows.empty()) GH_CHECK(flush());
    }
    return {};
  };
  std::string last;
  constexpr std::size_t key_id_size = 20;
  GH_CHECK(over('k', [&](const StoreView&, std::string_view key, auto) -> Result<void> {
    std::string id(key.substr(1, key_id_size));
    if (id == last) rows.insert_or_assign(layout::shared_key(to_hex(as_bytes(id))), std::string());
    last = std::move(id);
    return {};
  }));
  // Of an item the newest comes last, and takes the place of those before.
  return over(layout::old_results_letter, [&](const StoreView& view, std::string_view key, std::string_view value) -> Result<void> {
    const std::size_t end = key.find('\0'), item_end = end == std::string_view::npos ? end : key.find('\0', end + 1);
    if (item_end == std::string_view::npos) return {};
    const std::string_view device = key.substr(1, end - 1), item = key.substr(end + 1, item_end - end - 1);
    GH_TRY(StoredItemResult one, layout::decode_item_result(value));
    GH_TRY(const auto failing, view.read(layout::old_failing_key(device, item)));
    if (failing) one.failing_since = std::int64_t(layout::read_number64(*failing));
    rows.insert_or_assign(layout::item_result_key(device, item), layout::encode(one));
    return {};
  });
}

}  // namespace gatehouse::server
