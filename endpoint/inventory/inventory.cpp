#include "endpoint/inventory/inventory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <tuple>

#include "base/descriptor.h"
#include "base/file.h"

namespace gatehouse::endpoint {
namespace {

// Held while the log is read, changed and written.
class Lock {
 public:
  static Result<Lock> take(const std::string& path) {
    Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return fail_errno("can't open", path);
    while (::flock(file.get(), LOCK_EX) != 0)
      if (errno != EINTR) return fail_errno("can't lock", path);
    return Lock(std::move(file));
  }

 private:
  explicit Lock(Descriptor file) : file_(std::move(file)) {}
  Descriptor file_;
};

// Seconds since 1970 of the last change; absent: there is no such file.
Result<std::optional<std::int64_t>> changed_at(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0) return std::int64_t(st.st_mtime);
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  return fail_errno("can't stat", path);
}

}  // namespace

Result<Inventory> Inventory::open(InventoryOptions options) {
  std::error_code code;
  std::filesystem::create_directories(std::filesystem::path(options.directory).parent_path(), code);
  if (::mkdir(options.directory.c_str(), 0700) != 0 && errno != EEXIST)
    return fail_errno("can't make the directory", options.directory);
  return Inventory(std::move(options));
}

Result<Refreshed> Inventory::refresh(std::int64_t now) {
  GH_TRY(const Lock lock, Lock::take(options_.directory + "/lock"));
  Refreshed out;
  const EventLog before = log_;
  GH_CHECK(load(out));
  const std::uint32_t epoch = log_.epoch;
  out.events = update(log_, look(now, out));
  out.new_epoch = out.new_epoch || log_.epoch != epoch;
  if (out.events != 0 || out.new_epoch) {
    if (const auto written = write_file_atomically(file(), serialize(log_), 0600); !written) {
      log_ = before;  // an event that isn't on disk was never told
      name_instances();
      return fail(written.error());
    }
  }
  name_instances();
  return out;
}

void Inventory::name_instances() {
  installed_.clear();
  named_.clear();
  for (const LoggedInstance& one : log_.instances)
    named_.emplace_back(software_identifier(options_.platform, one.package), &one);
  std::sort(named_.begin(), named_.end(), [](const auto& a, const auto& b) {
    return std::tuple(std::string_view(a.first), !a.second->installed, a.second->record_id) <
           std::tuple(std::string_view(b.first), !b.second->installed, b.second->record_id);
  });
  for (const auto& [name, one] : named_)
    if (one->installed) installed_.push_back({one->package.source, one->record_id, name});
}

Result<void> Inventory::load(Refreshed& out) {
  GH_TRY(const auto present, changed_at(file()));
  std::uint32_t last = log_.epoch;
  if (present) {
    GH_TRY(const ByteVector content, read_file(file(), max_log_bytes));
    auto log = parse_event_log(content);
    if (log) {
      log_ = *std::move(log);
      return {};
    }
    out.warnings.push_back(std::move(log).error().from(file()));
    if (::rename(file().c_str(), (file() + ".damaged").c_str()) != 0) return fail_errno("can't put aside", file());
  }
  log_ = new_event_log(new_epoch(last));
  out.new_epoch = true;
  return {};
}

Found Inventory::look(std::int64_t now, Refreshed& out) const {
  Found found;
  look_at_dpkg(found, out);
  // dpkg's file says when it was changed; a clock that was set back since then isn't believed.
  const bool dpkg_alone = found.sources == std::vector<std::uint8_t>{source_dpkg};
  look_at_rpm(found, out);
  found.time = dpkg_alone && found.sources.size() == 1 ? std::min(found.time, now) : now;
  return found;
}

void Inventory::look_at_dpkg(Found& found, Refreshed& out) const {
  const auto looked = [&]() -> Result<void> {
    GH_TRY(const auto time, changed_at(options_.dpkg_status));
    if (!time) {
      if (!has_installed(source_dpkg)) return {};
      return fail(Error{Fault::environment,
                        "dpkg's status is gone; its packages are taken as they were",
                        {},
                        0,
                        options_.dpkg_status,
                        {}});
    }
    GH_TRY(const ByteVector file, read_file(options_.dpkg_status, max_status_bytes));
    auto status = parse_dpkg_status(file);
    if (!status) return fail(std::move(status).error().from(options_.dpkg_status));
    if (status->packages.empty() && has_installed(source_dpkg))
      return fail(Error{Fault::environment,
                        "dpkg's status has no installed package; they are taken as they were",
                        {},
                        0,
                        options_.dpkg_status,
                        {}});
    if (status->skipped != 0)
      out.warnings.push_back(std::move(status->first)
                                 .with(std::to_string(status->skipped) + " paragraphs skipped")
                                 .from(options_.dpkg_status));
    found.sources.push_back(source_dpkg);
    found.packages = std::move(status->packages);
    found.time = *time;
    return {};
  }();
  if (!looked) out.warnings.push_back(looked.error());
}

void Inventory::look_at_rpm(Found& found, Refreshed& out) const {
  const auto looked = [&]() -> Result<void> {
    const bool there =
        std::any_of(options_.rpm_databases.begin(), options_.rpm_databases.end(), [](const std::string& path) {
          std::error_code code;
          return std::filesystem::exists(path, code) && !std::filesystem::is_empty(path, code) && !code;
        });
    std::optional<std::vector<Package>> packages;
    if (there) {
      GH_TRY(packages, read_rpm_packages(options_.rpm_libraries));
    }
    if ((!packages || packages->empty()) && has_installed(source_rpm))
      return fail(
          Error{Fault::environment, "rpm has no packages any longer; they are taken as they were", {}, 0, "rpm", {}});
    if (!packages) return {};
    if (found.packages.size() + packages->size() > max_packages)
      return fail(Error{Fault::limit, "more than 200,000 packages", {}, 0, "rpm", {}});
    found.sources.push_back(source_rpm);
    found.packages.insert(found.packages.end(), std::make_move_iterator(packages->begin()),
                          std::make_move_iterator(packages->end()));
    return {};
  }();
  if (!looked) out.warnings.push_back(Error(looked.error()).from("rpm"));
}

bool Inventory::has_installed(std::uint8_t source) const {
  return std::any_of(log_.instances.begin(), log_.instances.end(),
                     [&](const LoggedInstance& one) { return one.installed && one.package.source == source; });
}

SoftwareInstance Inventory::instance(const LoggedInstance& logged) const {
  return {logged.package.source, logged.record_id, software_identifier(options_.platform, logged.package)};
}

std::vector<SoftwareLogEvent> Inventory::events_from(std::uint32_t eid) const {
  std::vector<SoftwareLogEvent> out;
  const auto first = std::lower_bound(log_.events.begin(), log_.events.end(), eid,
                                      [](const LoggedEvent& one, std::uint32_t from) { return one.eid < from; });
  for (auto event = first; event != log_.events.end(); ++event)
    if (const LoggedInstance* const of = log_.instance(event->record_id))
      out.push_back({event->eid, event->time, event->action, instance(*of)});
  return out;
}

std::vector<std::pair<SoftwareInstance, std::string>> Inventory::tags(std::string_view software_id) const {
  std::vector<std::pair<SoftwareInstance, std::string>> out;
  const auto first = std::lower_bound(named_.begin(), named_.end(), software_id,
                                      [](const auto& one, std::string_view id) { return one.first < id; });
  for (auto one = first; one != named_.end() && one->first == software_id; ++one)
    out.emplace_back(instance(*one->second), swid_tag(options_.platform, one->second->package));
  return out;
}

}  // namespace gatehouse::endpoint
