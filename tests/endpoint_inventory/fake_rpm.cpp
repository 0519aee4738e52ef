// The functions of rpm's library that endpoint/inventory/rpm.cpp calls. Packages are the lines of the file that
// GATEHOUSE_FAKE_RPM names: name, version, release, epoch, architecture, digest, separated by a tab; "-": absent.
// Without the file there is no database.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {
struct Iterator {
  std::vector<std::vector<std::string>> packages;
  std::size_t at = 0;
};
}  // namespace

extern "C" {
int rpmReadConfigFiles(const char* files, const char* target) { return files == nullptr && target == nullptr ? 0 : -1; }
void* rpmtsCreate() { return new int(0); }
void* rpmtsFree(void* transaction) {
  delete static_cast<int*>(transaction);
  return nullptr;
}
void* rpmtsInitIterator(void* transaction, std::int32_t tag, const void* key, std::size_t size) {
  const char* const path = std::getenv("GATEHOUSE_FAKE_RPM");
  if (transaction == nullptr || tag != 0 || key != nullptr || size != 0 || path == nullptr) return nullptr;
  std::ifstream file(path);
  if (!file) return nullptr;
  auto* const out = new Iterator;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::vector<std::string> values;
    for (std::string value; std::getline(fields, value, '\t');) values.push_back(value);
    values.resize(6, "-");
    out->packages.push_back(values);
  }
  return out;
}
void* rpmdbNextIterator(void* iterator) {
  auto* const all = static_cast<Iterator*>(iterator);
  return all->at < all->packages.size() ? &all->packages[all->at++] : nullptr;
}
void* rpmdbFreeIterator(void* iterator) {
  delete static_cast<Iterator*>(iterator);
  return nullptr;
}
char* headerGetAsString(void* header, std::int32_t tag) {
  const auto& values = *static_cast<std::vector<std::string>*>(header);
  const std::int32_t tags[] = {1000, 1001, 1002, 1003, 1022, 273};
  for (std::size_t i = 0; i < 6; ++i)
    if (tags[i] == tag && values[i] != "-") return ::strdup(values[i].c_str());
  return nullptr;
}
}
