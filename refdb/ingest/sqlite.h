// A SQLite database that somebody else made, read as hostile input: only tables and columns that are asked for, only
// once their pages are sound, with bounds on memory, on the work and on every value. Nothing of it is written, run or
// loaded, no file is opened, and what a schema may hide (views, virtual tables, generated columns, functions) is
// refused.
//
//   GH_TRY(const auto database, sqlite::Database::open(std::move(content), "config.db"));
//   GH_TRY(const sqlite::Table devices, database->table("devices"));
//   GH_TRY(sqlite::Rows rows, database->rows(devices, {"id", "value"}, "ORDER BY id"));
//   for (;;) {
//     GH_TRY(const bool more, rows.next());
//     if (!more) break;
//     GH_TRY(const std::string_view value, rows.text(1, 256));   // until the next row
//   }
//
// Errors name the file, the table, the row and the column. One thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

struct sqlite3_stmt;

namespace gatehouse::refdb::sqlite {

inline constexpr int max_value_bytes = 1 << 20;                            // of one value or row
inline constexpr std::uint64_t max_database_bytes = std::uint64_t(1) << 30;
// Of all databases of the process, beside their content: rows are sorted in memory.
inline constexpr std::int64_t max_memory_bytes = std::int64_t(2) << 30;

struct Table {
  std::string name;
  std::vector<std::string> columns;  // none: there is no such table
  bool has(std::string_view column) const;
  explicit operator bool() const { return !columns.empty(); }
};

// The rows that a query finds, one after the other. The database outlives them.
class Rows {
 public:
  // False: there are no more.
  Result<bool> next();
  // To ask again with other numbers in place of the question marks, in order.
  Result<void> restart(std::initializer_list<std::int64_t> numbers);

  // Columns count from 0, in the order of rows(). A value of another type is malformed.
  bool is_null(int column) const;
  Result<std::int64_t> number(int column, std::int64_t least, std::int64_t most) const;
  // 0 for NULL, which is how a reference to nothing is written.
  Result<std::int64_t> id(int column) const;
  Result<std::string_view> text(int column, std::size_t most) const;
  // A blob, or text that is taken for one: nullopt for another type.
  struct Value {
    Bytes bytes;
    bool is_text = false;
  };
  Result<Value> bytes(int column, std::size_t most) const;
  // What is wrong with the row, or with a column of it.
  std::unexpected<Error> malformed(std::string_view why, int column = -1) const;

 private:
  friend class Database;
  struct Finish {
    void operator()(sqlite3_stmt* statement) const;
  };
  class Database* database_ = nullptr;
  std::string table_;
  std::vector<std::string> columns_;
  std::unique_ptr<sqlite3_stmt, Finish> statement_;
};

class Database {
 public:
  // `name` is for errors.
  static Result<std::unique_ptr<Database>> open(ByteVector content, const std::string& name);
  ~Database();

  // Fault::malformed: it isn't a table with columns of its own, or its pages are damaged.
  Result<Table> table(std::string_view name);
  // The table that a column is declared to refer to; empty: none.
  Result<std::string> referred(const Table& table, std::string_view column);
  // `columns` are of the table, `rest` goes behind "FROM table". The row's number is read besides, for errors.
  Result<Rows> rows(const Table& table, const std::vector<std::string>& columns, std::string_view rest = {});
  Result<std::int64_t> count(const Table& table);

 private:
  friend class Rows;
  struct State;
  explicit Database(std::unique_ptr<State> state);
  Result<void> prepare();
  // What SQLite's code means for what was read.
  std::unexpected<Error> failed(int code, std::string_view what) const;
  Result<Rows> query(const std::string& sql, const std::string& table);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::refdb::sqlite
