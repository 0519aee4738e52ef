// What a change reads while its write isn't made yet: what it wrote, what the changes before it in the same write wrote, and
// nothing of those that were taken back.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "server/state/store.h"
#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

using Model = std::map<std::string, std::string>;

std::vector<std::pair<std::string, std::string>> walked(const StoreView& view, const std::string& prefix, const std::string& from, bool backwards) {
  std::vector<std::pair<std::string, std::string>> out;
  const Visit take = [&](std::string_view key, std::string_view value) {
    out.emplace_back(key, value);
    return out.size() < 5;
  };
  EXPECT_TRUE(backwards ? view.each_backwards(prefix, from, take) : view.each(prefix, from, take));
  return out;
}

std::vector<std::pair<std::string, std::string>> expected(const Model& model, const std::string& prefix, const std::string& from, bool backwards) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [key, value] : model)
    if (key.starts_with(prefix) && (backwards ? key < from : key >= from)) out.emplace_back(key, value);
  if (backwards) std::reverse(out.begin(), out.end());
  out.resize(std::min<std::size_t>(out.size(), 5));
  return out;
}

TEST(Batch, ReadsAreOfWhatWasWrittenSoFar) {
  const Folder folder;
  StateOptions options;
  const auto opened = Store::open(folder / "db", true, options);
  ASSERT_TRUE(opened) << opened.error().text();
  Store& store = **opened;
  store.start({});
  std::mt19937 random(20261127);
  const auto some_key = [&] { return std::string(1, "dqV"[random() % 3]) + std::string(1, char('a' + random() % 4)) + std::to_string(random() % 6); };
  Model model;
  for (int write = 0; write < 40; ++write) {
    std::vector<std::future<Result<void>>> done;
    for (int change = 0; change < 8; ++change) {
      auto promise = std::make_shared<std::promise<Result<void>>>();
      done.push_back(promise->get_future());
      store.submit(
          [&](Batch& batch) -> Result<void> {
            Model mine = model;
            for (int step = 0; step < 6; ++step) {
              const std::string key = some_key();
              if (random() % 3 == 0) {
                batch.erase(key);
                mine.erase(key);
              } else {
                const std::string value = std::to_string(random());
                batch.put(key, value);
                mine.insert_or_assign(key, value);
              }
              const std::string asked = some_key();
              const auto found = mine.find(asked);
              EXPECT_EQ(batch.read(asked).value(), found == mine.end() ? std::nullopt : std::optional(found->second));
              const std::string prefix = asked.substr(0, 1 + random() % 2), from = some_key();
              EXPECT_EQ(walked(batch, prefix, std::max(from, prefix), false), expected(mine, prefix, std::max(from, prefix), false));
              EXPECT_EQ(walked(batch, prefix, asked, true), expected(mine, prefix, asked, true));
            }
            if (random() % 3 == 0) return fail(Fault::denied, "taken back");
            model = std::move(mine);
            return {};
          },
          [promise](Result<void> outcome) { promise->set_value(std::move(outcome)); });
    }
    for (auto& one : done) (void)one.get();
    const std::string from = some_key();
    EXPECT_EQ(walked(store.view(), from.substr(0, 1), from, false), expected(model, from.substr(0, 1), from, false));
  }
  EXPECT_FALSE(model.empty());
}

}  // namespace
}  // namespace gatehouse::server
