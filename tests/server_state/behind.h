// A state store's database behind the store's back: as an attacker with the disk has it, or an earlier version left it.
#pragma once

#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace gatehouse::server {

class Behind {
 public:
  explicit Behind(const std::string& state) {
    std::vector<std::string> names;
    EXPECT_TRUE(rocksdb::DB::ListColumnFamilies({}, state + "/db", &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
    rocksdb::DB* db = nullptr;
    const auto opened = rocksdb::DB::Open({}, state + "/db", families, &handles_, &db);
    EXPECT_TRUE(opened.ok()) << opened.ToString();
    db_.reset(db);
  }
  ~Behind() {
    for (auto* const handle : handles_) db_->DestroyColumnFamilyHandle(handle);
  }
  std::string get(const std::string& key) {
    std::string value;
    EXPECT_TRUE(db_->Get({}, key, &value).ok()) << key;
    return value;
  }
  void put(const std::string& key, const std::string& value) { EXPECT_TRUE(db_->Put({}, key, value).ok()); }
  std::size_t count(const std::string& prefix) {
    std::size_t n = 0;
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
    for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) ++n;
    return n;
  }
  void each(const std::string& prefix, const std::function<void(std::string_view key, std::string_view value)>& visit) {
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
    for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) visit(it->key().ToStringView(), it->value().ToStringView());
  }
  void erase(const std::string& key) { EXPECT_TRUE(db_->Delete({}, key).ok()); }

 private:
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace gatehouse::server
