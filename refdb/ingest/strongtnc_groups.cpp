// Groups, policies and enforcements of strongTNC's database. Rows that refer to what isn't there are left out, as the
// verifiers do; columns that older databases hadn't are NULL.
#include <algorithm>
#include <set>
#include <unordered_map>

#include "base/hex.h"
#include "refdb/ingest/sqlite.h"
#include "refdb/ingest/strongtnc.h"

namespace gatehouse::refdb {
namespace {

using sqlite::Database;
using sqlite::Rows;
using sqlite::Table;

constexpr std::int64_t default_group = 1;  // the row that new devices come into

struct Policy {
  std::uint8_t type = 0;
  std::string argument;
  std::optional<std::uint8_t> on_fail, on_noresult;
};

// The column of `names` that the table has; empty: none.
std::string column_of(const Table& table, std::initializer_list<const char*> names) {
  for (const char* const name : names)
    if (table.has(name)) return name;
  return {};
}

// Those of `optional` that there are, behind `needed`; -1: it isn't there.
struct Columns {
  std::vector<std::string> all;
  std::vector<int> places;  // of the optional ones
  Columns(const Table& table, std::vector<std::string> needed, std::initializer_list<const char*> optional) : all(std::move(needed)) {
    for (const char* const name : optional) {
      places.push_back(table.has(name) ? int(all.size()) : -1);
      if (table.has(name)) all.emplace_back(name);
    }
  }
};

Result<std::string> printable(const Rows& rows, int column, std::size_t most) {
  GH_TRY(const std::string_view text, rows.text(column, most));
  if (!is_printable(text)) return rows.malformed("text with control characters", column);
  return std::string(text);
}

// Texts by id, of a table with the columns `id` and `name`.
Result<std::unordered_map<std::int64_t, std::string>> texts_of(Database& database, const Table& table, const std::string& column,
                                                               std::size_t most_bytes) {
  std::unordered_map<std::int64_t, std::string> out;
  if (!table || !table.has(column)) return out;
  GH_TRY(Rows rows, database.rows(table, {"id", column}));
  for (;;) {
    GH_TRY(const bool more, rows.next());
    if (!more) return out;
    GH_TRY(const std::int64_t id, rows.number(0, 0, INT64_MAX));
    GH_TRY(std::string text, printable(rows, 1, most_bytes));
    if (out.size() == max_group_rows) return rows.malformed("more rows than allowed");
    out.emplace(id, std::move(text));
  }
}

Result<std::optional<std::uint8_t>> recommendation(const Rows& rows, int column) {
  if (column < 0 || rows.is_null(column)) return std::nullopt;
  GH_TRY(const std::int64_t value, rows.number(column, 0, 3));
  return std::optional(std::uint8_t(value));
}

// One path, of a table's row.
Result<std::string> path_of(Database& database, std::int64_t file, std::int64_t dir) {
  constexpr std::size_t most = 4096;
  std::string out;
  if (file != 0) {
    GH_TRY(const Table files, database.table("files"));
    if (!files) return out;
    GH_TRY(Rows rows, database.rows(files, {"dir", "name"}, "WHERE id = ?"));
    GH_CHECK(rows.restart({file}));
    GH_TRY(const bool there, rows.next());
    if (!there) return out;
    GH_TRY(dir, rows.id(0));
    GH_TRY(out, printable(rows, 1, most));
  }
  GH_TRY(const Table directories, database.table("directories"));
  if (!directories || dir == 0) return out;
  GH_TRY(Rows rows, database.rows(directories, {"path"}, "WHERE id = ?"));
  GH_CHECK(rows.restart({dir}));
  GH_TRY(const bool there, rows.next());
  if (!there) return out;
  GH_TRY(std::string path, printable(rows, 0, most));
  if (file == 0) return path;
  return path + (path.ends_with('/') ? "" : "/") + out;
}

Result<std::unordered_map<std::int64_t, Policy>> policies_of(Database& database) {
  std::unordered_map<std::int64_t, Policy> out;
  GH_TRY(const Table table, database.table("policies"));
  if (!table) return out;
  const Columns columns(table, {"id", "type"}, {"argument", "rec_fail", "rec_noresult", "file", "dir"});
  GH_TRY(Rows rows, database.rows(table, columns.all));
  for (;;) {
    GH_TRY(const bool more, rows.next());
    if (!more) return out;
    GH_TRY(const std::int64_t id, rows.number(0, 0, INT64_MAX));
    GH_TRY(const std::int64_t type, rows.number(1, 0, 255));
    if (type > 16) continue;
    Policy policy;
    policy.type = std::uint8_t(type);
    if (const int at = columns.places[0]; at >= 0 && !rows.is_null(at)) {
      GH_TRY(policy.argument, printable(rows, at, max_argument_bytes));
    }
    GH_TRY(policy.on_fail, recommendation(rows, columns.places[1]));
    GH_TRY(policy.on_noresult, recommendation(rows, columns.places[2]));
    const bool of_file = type >= 5 && type <= 7, of_directory = type >= 8 && type <= 10;
    if (of_file || of_directory) {
      const int at = columns.places[of_file ? 3 : 4];
      std::int64_t place = 0;
      if (at >= 0) {
        GH_TRY(place, rows.id(at));
      }
      if (place != 0) {
        GH_TRY(policy.argument, of_file ? path_of(database, place, 0) : path_of(database, 0, place));
      }
    }
    if (out.size() == max_group_rows) return rows.malformed("more policies than allowed");
    out.emplace(id, std::move(policy));
  }
}

using Places = std::unordered_map<std::int64_t, std::size_t>;  // group id -> place

// Calls `each` with group and other id of every pair of a table that joins them.
template <class Each>
Result<void> join(Database& database, const char* name, std::initializer_list<const char*> other, const Places& places, Each each) {
  GH_TRY(const Table table, database.table(name));
  const std::string group = column_of(table, {"group_id", "group"}), column = column_of(table, other);
  if (!table || group.empty() || column.empty()) return {};
  GH_TRY(Rows rows, database.rows(table, {group, column}));
  for (std::size_t seen = 0;; ++seen) {
    GH_TRY(const bool more, rows.next());
    if (!more) return {};
    if (seen == max_group_rows) return rows.malformed("more rows than allowed");
    GH_TRY(const std::int64_t of, rows.id(0));
    GH_TRY(const std::int64_t id, rows.id(1));
    if (const auto at = places.find(of); at != places.end()) each(at->second, id);
  }
}

}  // namespace

Result<std::vector<StrongTncGroup>> StrongTnc::groups() {
  std::vector<StrongTncGroup> out;
  GH_TRY(const Table table, database_->table("groups"));
  if (!table || !table.has("name")) return out;
  const Columns columns(table, {"id", "name"}, {"parent"});
  Places places;
  std::vector<std::int64_t> parents;
  std::set<std::string> names;
  GH_TRY(Rows rows, database_->rows(table, columns.all, "ORDER BY id"));
  for (;;) {
    GH_TRY(const bool more, rows.next());
    if (!more) break;
    GH_TRY(const std::int64_t id, rows.number(0, 0, INT64_MAX));
    StrongTncGroup group;
    GH_TRY(group.name, printable(rows, 1, max_group_name_bytes));
    if (group.name.empty() || !names.insert(group.name).second) return rows.malformed("not a group's name, or one twice", 1);
    group.is_default = id == default_group;
    std::int64_t parent = 0;
    if (columns.places[0] >= 0) {
      GH_TRY(parent, rows.id(columns.places[0]));
    }
    if (out.size() == max_strongtnc_groups) return rows.malformed("more groups than allowed");
    if (!places.emplace(id, out.size()).second) return rows.malformed("an id twice", 0);
    parents.push_back(parent);
    out.push_back(std::move(group));
  }
  for (std::size_t i = 0; i < out.size(); ++i)
    if (const auto at = places.find(parents[i]); at != places.end()) out[i].parent = out[at->second].name;

  GH_TRY(const Table of_devices, database_->table("devices"));
  GH_TRY(const auto devices, texts_of(*database_, of_devices, "value", max_device_bytes));
  GH_TRY(const Table of_products, database_->table("products"));
  GH_TRY(const auto products, texts_of(*database_, of_products, "name", max_product_bytes));
  const auto into = [&](const auto& texts, std::vector<std::string> StrongTncGroup::*list) {
    return [&out, &texts, list](std::size_t place, std::int64_t id) {
      if (const auto at = texts.find(id); at != texts.end() && !at->second.empty()) (out[place].*list).push_back(at->second);
    };
  };
  GH_CHECK(join(*database_, "groups_members", {"device_id", "device"}, places, into(devices, &StrongTncGroup::devices)));
  GH_CHECK(join(*database_, "groups_product_defaults", {"product_id", "product"}, places, into(products, &StrongTncGroup::products)));
  for (StrongTncGroup& group : out)
    for (auto* const list : {&group.devices, &group.products}) {
      std::ranges::sort(*list);
      list->erase(std::ranges::unique(*list).begin(), list->end());
    }

  GH_TRY(const auto policies, policies_of(*database_));
  GH_TRY(const Table enforcements, database_->table("enforcements"));
  const std::string of_group = column_of(enforcements, {"group_id", "group"});
  if (!enforcements || of_group.empty() || !enforcements.has("policy")) return out;
  const Columns of_enforcement(enforcements, {of_group, "policy"}, {"rec_fail", "rec_noresult", "max_age"});
  GH_TRY(Rows all, database_->rows(enforcements, of_enforcement.all));
  for (std::size_t seen = 0;; ++seen) {
    GH_TRY(const bool more, all.next());
    if (!more) return out;
    if (seen == max_group_rows) return all.malformed("more rows than allowed");
    GH_TRY(const std::int64_t group, all.id(0));
    GH_TRY(const std::int64_t id, all.id(1));
    const auto place = places.find(group);
    const auto policy = policies.find(id);
    if (place == places.end() || policy == policies.end()) continue;
    StrongTncEnforcement e{policy->second.type, policy->second.argument, policy->second.on_fail, policy->second.on_noresult, 0};
    // 0 counts as unset there.
    GH_TRY(const auto on_fail, recommendation(all, of_enforcement.places[0]));
    GH_TRY(const auto on_noresult, recommendation(all, of_enforcement.places[1]));
    if (on_fail && *on_fail != 0) e.on_fail = on_fail;
    if (on_noresult && *on_noresult != 0) e.on_noresult = on_noresult;
    if (const int at = of_enforcement.places[2]; at >= 0 && !all.is_null(at)) {
      GH_TRY(const std::int64_t age, all.number(at, 0, INT64_MAX));
      e.max_age = std::uint64_t(age);
    }
    out[place->second].ask.push_back(std::move(e));
  }
}

}  // namespace gatehouse::refdb
