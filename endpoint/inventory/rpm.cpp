// rpm's database through its own library, which is loaded at run time: its format differs from version to version, and
// an endpoint without rpm doesn't need it. Declared here is what is called (rpm's rpmts.h, rpmdb.h, header.h,
// rpmtag.h).
#include <dlfcn.h>

#include <cstdlib>
#include <memory>
#include <type_traits>

#include "endpoint/inventory/packages.h"

namespace gatehouse::endpoint {
namespace {

// rpmTagVal; RPMDBI_PACKAGES is 0.
constexpr std::int32_t tag_name = 1000, tag_version = 1001, tag_release = 1002, tag_epoch = 1003,
                       tag_architecture = 1022, tag_sha1_header = 269, tag_sha256_header = 273;

struct Library {
  int (*read_configuration)(const char* files, const char* target) = nullptr;
  void* (*transaction)() = nullptr;
  void* (*free_transaction)(void*) = nullptr;
  void* (*iterate)(void* transaction, std::int32_t tag, const void* key, std::size_t key_size) = nullptr;
  void* (*next)(void* iterator) = nullptr;
  void* (*free_iterator)(void*) = nullptr;
  char* (*text)(void* header, std::int32_t tag) = nullptr;

  bool load(void* handle) {
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(handle, name));
      return function != nullptr;
    };
    return find(read_configuration, "rpmReadConfigFiles") && find(transaction, "rpmtsCreate") &&
           find(free_transaction, "rpmtsFree") && find(iterate, "rpmtsInitIterator") &&
           find(next, "rpmdbNextIterator") && find(free_iterator, "rpmdbFreeIterator") &&
           find(text, "headerGetAsString");
  }

  // Empty: the package has no such tag.
  std::string value(void* header, std::int32_t tag) const {
    const std::unique_ptr<char, decltype(&std::free)> raw(text(header, tag), &std::free);
    return raw ? std::string(raw.get()) : std::string();
  }
};

Package package_of(const Library& rpm, void* header) {
  Package out;
  out.source = source_rpm;
  out.name = rpm.value(header, tag_name);
  const std::string epoch = rpm.value(header, tag_epoch);
  out.version =
      (epoch.empty() ? "" : epoch + ":") + rpm.value(header, tag_version) + "-" + rpm.value(header, tag_release);
  out.architecture = rpm.value(header, tag_architecture);
  std::string digest = rpm.value(header, tag_sha256_header);
  if (digest.empty()) digest = rpm.value(header, tag_sha1_header);
  out.fingerprint = digest_of(HashAlgorithm::sha256, as_bytes(digest));
  return out;
}

}  // namespace

Result<std::optional<std::vector<Package>>> read_rpm_packages(const std::vector<std::string>& libraries) {
  void* handle = nullptr;
  for (const std::string& name : libraries)
    if (handle == nullptr) handle = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) return std::nullopt;
  Library rpm;
  if (!rpm.load(handle)) return fail(Fault::environment, "rpm's library doesn't have what is called", "rpm API");
  if (rpm.read_configuration(nullptr, nullptr) != 0)
    return fail(Fault::environment, "rpm's configuration can't be read", "rpm API");
  const std::unique_ptr<void, void* (*)(void*)> transaction(rpm.transaction(), rpm.free_transaction);
  if (!transaction) return fail(Fault::environment, "rpm's database can't be opened", "rpm API");
  // Without a database there is no iterator either: the caller knows whether there should be one.
  const std::unique_ptr<void, void* (*)(void*)> all(rpm.iterate(transaction.get(), 0, nullptr, 0), rpm.free_iterator);
  if (!all) return fail(Fault::environment, "rpm's database can't be read", "rpm API");
  std::vector<Package> out;
  while (void* const header = rpm.next(all.get())) {
    Package package = package_of(rpm, header);
    // Keys that rpm keeps as packages have no architecture ("gpg-pubkey").
    if (!acceptable_package_text(package.name) || !acceptable_package_text(package.version) ||
        !acceptable_package_text(package.architecture) || package.architecture == "(none)")
      continue;
    if (out.size() >= max_packages) return fail(Fault::limit, "more than 200,000 packages", "rpm API");
    out.push_back(std::move(package));
  }
  return out;
}

}  // namespace gatehouse::endpoint
