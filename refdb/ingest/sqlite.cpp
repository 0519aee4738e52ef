#include "refdb/ingest/sqlite.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "base/hex.h"

namespace gatehouse::refdb::sqlite {
namespace {

// An honest reader needs less than one step of SQLite's machine for each byte of a database.
constexpr std::int64_t steps_at_once = 10'000, free_steps = 10'000'000, steps_a_byte = 16;

struct Close {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
using Handle = std::unique_ptr<sqlite3, Close>;

// The name is a literal of ours; the schema is read as text only.
std::string in_quotes(std::string_view name) { return '"' + std::string(name) + '"'; }

// SQLite asks before it compiles anything, also what a schema holds. Reading columns, counting and the pragmas of this
// file are all that is needed.
int authorize(void*, int action, const char* first, const char* second, const char*, const char* inside) {
  if (inside != nullptr) return SQLITE_DENY;  // a view or a trigger
  const auto is = [](const char* text, std::string_view wanted) { return text != nullptr && text == wanted; };
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
      return SQLITE_OK;
    case SQLITE_FUNCTION:
      return is(second, "count") ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_PRAGMA:
      return is(first, "quick_check") || is(first, "table_xinfo") || is(first, "foreign_key_list") ? SQLITE_OK
                                                                                                   : SQLITE_DENY;
    default:
      return SQLITE_DENY;
  }
}

}  // namespace

struct Database::State {
  std::string name;
  ByteVector content;
  std::int64_t steps = 0;           // left, in portions
  Handle handle;

  static int step(void* self) { return --static_cast<State*>(self)->steps < 0 ? 1 : 0; }
};

bool Table::has(std::string_view column) const { return std::ranges::find(columns, column) != columns.end(); }

Database::Database(std::unique_ptr<State> state) : state_(std::move(state)) {}
Database::~Database() = default;

std::unexpected<Error> Database::failed(int code, std::string_view what) const {
  const auto error = [&](Fault fault, std::string_view why, std::string detail) {
    return fail(Error{fault, why, "SQLite database", 0, state_->name, std::move(detail)});
  };
  const std::string where = what.empty() ? std::string() : "table " + std::string(what);
  switch (code & 0xFF) {
    case SQLITE_NOTADB:
      return error(Fault::malformed, "not a SQLite database", where);
    case SQLITE_CORRUPT:
      return error(Fault::malformed, "a damaged database", where);
    case SQLITE_TOOBIG:
      return error(Fault::limit, "a value longer than allowed", where);
    case SQLITE_INTERRUPT:
      return error(Fault::limit, "more work than the database's size accounts for", where);
    case SQLITE_NOMEM:
      return error(Fault::limit, "the database asks for more memory than allowed", where);
    case SQLITE_ERROR:
    case SQLITE_AUTH:
    case SQLITE_SCHEMA:
      return error(Fault::malformed, "a schema that isn't taken",
                   (where.empty() ? "" : where + ": ") + escaped(sqlite3_errmsg(state_->handle.get()), 200));
    default:
      return error(Fault::environment, "can't read the database",
                   (where.empty() ? "" : where + ": ") + escaped(sqlite3_errmsg(state_->handle.get()), 200));
  }
}

Result<std::unique_ptr<Database>> Database::open(ByteVector content, const std::string& name) {
  auto state = std::make_unique<State>();
  state->name = name;
  state->content = std::move(content);
  // A database that was closed in write-ahead mode has all in it; in memory that mode isn't to be had. The file
  // format's versions for writing and reading (SQLite, "Database File Format", 1.3.3).
  ByteVector& bytes = state->content;
  if (bytes.size() > 19 && bytes[18] == std::byte{2} && bytes[19] == std::byte{2}) bytes[18] = bytes[19] = std::byte{1};
  const auto size = sqlite3_int64(bytes.size());
  auto* const data = reinterpret_cast<unsigned char*>(bytes.data());
  sqlite3* handle = nullptr;
  int code = sqlite3_open_v2(":memory:", &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  state->handle.reset(handle);
  std::unique_ptr<Database> out(new Database(std::move(state)));
  if (code == SQLITE_OK) code = sqlite3_deserialize(handle, "main", data, size, size, SQLITE_DESERIALIZE_READONLY);
  if (code != SQLITE_OK) return out->failed(code, {});
  GH_CHECK(out->prepare());
  return out;
}

Result<void> Database::prepare() {
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_hard_heap_limit64(max_memory_bytes); });
  sqlite3* const handle = state_->handle.get();
  constexpr std::pair<int, int> switches[] = {{SQLITE_DBCONFIG_DEFENSIVE, 1},
                                              {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                                              {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
                                              {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
                                              {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
                                              {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
                                              {SQLITE_DBCONFIG_DQS_DML, 0},
                                              {SQLITE_DBCONFIG_DQS_DDL, 0},
                                              {SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0}};
  for (const auto& [what, value] : switches) sqlite3_db_config(handle, what, value, nullptr);
  constexpr std::pair<int, int> limits[] = {{SQLITE_LIMIT_LENGTH, max_value_bytes},
                                            {SQLITE_LIMIT_SQL_LENGTH, 100'000},
                                            {SQLITE_LIMIT_COLUMN, 100},
                                            {SQLITE_LIMIT_EXPR_DEPTH, 20},
                                            {SQLITE_LIMIT_COMPOUND_SELECT, 3},
                                            {SQLITE_LIMIT_VDBE_OP, 25'000},
                                            {SQLITE_LIMIT_FUNCTION_ARG, 8},
                                            {SQLITE_LIMIT_ATTACHED, 0},
                                            {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50},
                                            {SQLITE_LIMIT_VARIABLE_NUMBER, 10},
                                            {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
                                            {SQLITE_LIMIT_WORKER_THREADS, 0}};
  for (const auto& [what, value] : limits) sqlite3_limit(handle, what, value);
  state_->steps = (free_steps + steps_a_byte * std::int64_t(state_->content.size())) / steps_at_once;
  sqlite3_progress_handler(handle, int(steps_at_once), &State::step, state_.get());
  // CHECK constraints are the schema's, and would be run.
  for (const char* const sql : {"PRAGMA cell_size_check = ON", "PRAGMA ignore_check_constraints = ON",
                                "PRAGMA mmap_size = 0", "PRAGMA cache_size = -16384", "PRAGMA temp_store = MEMORY"})
    if (const int code = sqlite3_exec(handle, sql, nullptr, nullptr, nullptr); code != SQLITE_OK)
      return failed(code, {});
  sqlite3_set_authorizer(handle, authorize, nullptr);
  return {};
}

Result<Rows> Database::query(const std::string& sql, const std::string& table) {
  Rows out;
  out.database_ = this;
  out.table_ = table;
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(state_->handle.get(), sql.c_str(), int(sql.size()), &statement, nullptr);
  out.statement_.reset(statement);
  if (code != SQLITE_OK) return failed(code, table);
  return out;
}

Result<Table> Database::table(std::string_view name) {
  Table out{std::string(name), {}};
  const auto refuse = [&](std::string_view why, std::string detail = {}) {
    return fail(Error{Fault::malformed, why, "SQLite database", 0, state_->name,
                      "table " + out.name + (detail.empty() ? "" : ": " + detail)});
  };
  GH_TRY(Rows schema,
         query("SELECT rowid, type, sql FROM sqlite_schema WHERE name = '" + out.name + "'", "sqlite_schema"));
  bool found = false;
  for (;;) {
    GH_TRY(const bool more, schema.next());
    if (!more) break;
    GH_TRY(const std::string_view type, schema.text(1, 16));
    if (std::exchange(found, true) || type != "table") return refuse("something else where a table belongs");
    GH_TRY(const std::string_view sql, schema.text(2, max_value_bytes));
    // SQLite keeps the words in front as it writes them itself.
    if (!sql.starts_with("CREATE TABLE")) return refuse("something else where a table belongs");
  }
  if (!found) return out;
  GH_TRY(Rows columns, query("PRAGMA table_xinfo(" + in_quotes(name) + ")", out.name));
  for (;;) {
    GH_TRY(const bool more, columns.next());
    if (!more) break;
    GH_TRY(const std::string_view column, columns.text(1, 256));
    GH_TRY(const std::int64_t hidden, columns.number(6, 0, 3));
    if (hidden != 0) return refuse("a generated column");
    out.columns.emplace_back(column);
  }
  // Also that no page is in use twice, so that reading it comes to an end.
  GH_TRY(Rows check, query("PRAGMA quick_check(" + in_quotes(name) + ")", out.name));
  GH_TRY(const bool answered, check.next());
  if (!answered) return refuse("a damaged table");
  GH_TRY(const std::string_view answer, check.text(0, max_value_bytes));
  if (answer != "ok") return refuse("a damaged table", escaped(answer, 200));
  return out;
}

Result<std::string> Database::referred(const Table& table, std::string_view column) {
  GH_TRY(Rows rows, query("PRAGMA foreign_key_list(" + in_quotes(table.name) + ")", table.name));
  for (;;) {
    GH_TRY(const bool more, rows.next());
    if (!more) return std::string();
    GH_TRY(const std::string_view from, rows.text(3, 256));
    if (from != column) continue;
    GH_TRY(const std::string_view to, rows.text(2, 256));
    return std::string(to);
  }
}

Result<Rows> Database::rows(const Table& table, const std::vector<std::string>& columns, std::string_view rest) {
  std::string sql = "SELECT ";
  for (const std::string& column : columns) {
    if (!table.has(column))
      return fail(Error{Fault::malformed, "a column is missing", "SQLite database", 0, state_->name,
                        "table " + table.name + ", column " + column});
    sql += in_quotes(column) + ", ";
  }
  sql += "rowid FROM " + in_quotes(table.name) + " NOT INDEXED ";
  GH_TRY(Rows out, query(sql + std::string(rest), table.name));
  out.columns_ = columns;
  return out;
}

Result<std::int64_t> Database::count(const Table& table) {
  GH_TRY(Rows rows, query("SELECT count(*) FROM " + in_quotes(table.name), table.name));
  GH_TRY(const bool found, rows.next());
  if (!found) return 0;
  return rows.number(0, 0, INT64_MAX);
}

void Rows::Finish::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Result<bool> Rows::next() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_->failed(code, table_);
}

Result<void> Rows::restart(std::initializer_list<std::int64_t> numbers) {
  sqlite3_reset(statement_.get());
  int i = 0;
  for (const std::int64_t number : numbers)
    if (const int code = sqlite3_bind_int64(statement_.get(), ++i, number); code != SQLITE_OK)
      return database_->failed(code, table_);
  return {};
}

std::unexpected<Error> Rows::malformed(std::string_view why, int column) const {
  std::string where = "table " + table_;
  if (!columns_.empty())
    where += ", row " + std::to_string(sqlite3_column_int64(statement_.get(), int(columns_.size())));
  if (column >= 0 && std::size_t(column) < columns_.size()) where += ", column " + columns_[std::size_t(column)];
  return fail(Error{Fault::malformed, why, "SQLite database", 0, database_->state_->name, std::move(where)});
}

bool Rows::is_null(int column) const { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }

Result<std::int64_t> Rows::number(int column, std::int64_t least, std::int64_t most) const {
  if (sqlite3_column_type(statement_.get(), column) != SQLITE_INTEGER) return malformed("not a number", column);
  const std::int64_t out = sqlite3_column_int64(statement_.get(), column);
  if (out < least || out > most) return malformed("a number out of range", column);
  return out;
}

Result<std::int64_t> Rows::id(int column) const {
  if (is_null(column)) return 0;
  return number(column, 0, INT64_MAX);
}

Result<std::string_view> Rows::text(int column, std::size_t most) const {
  if (sqlite3_column_type(statement_.get(), column) != SQLITE_TEXT) return malformed("not text", column);
  GH_TRY(const Value value, bytes(column, most));
  return as_text(value.bytes);
}

Result<Rows::Value> Rows::bytes(int column, std::size_t most) const {
  sqlite3_stmt* const s = statement_.get();
  const int type = sqlite3_column_type(s, column);
  if (type != SQLITE_TEXT && type != SQLITE_BLOB) return malformed("neither text nor a blob", column);
  // A database may hold its text in UTF-16: asked for as text first, the length is that of UTF-8.
  const void* const data =
      type == SQLITE_TEXT ? static_cast<const void*>(sqlite3_column_text(s, column)) : sqlite3_column_blob(s, column);
  const int size = sqlite3_column_bytes(s, column);
  if (data == nullptr && size != 0) return database_->failed(SQLITE_NOMEM, table_);
  if (std::size_t(size) > most) return malformed("longer than allowed", column);
  return Value{Bytes(static_cast<const std::byte*>(data), std::size_t(size)), type == SQLITE_TEXT};
}

}  // namespace gatehouse::refdb::sqlite
