#include "server/imv/swima/staging.h"

#include <utility>

namespace gatehouse::server {
namespace {

// Large enough that the store's cost of a write doesn't count. A tag alone may be larger.
constexpr std::size_t chunk_items = 1024, chunk_bytes = std::size_t(256) << 10;
static_assert(chunk_items <= max_chunk_items && chunk_bytes + max_tag_bytes <= max_chunk_bytes);

}  // namespace

void SoftwareStaging::add(SoftwareRecord installed) {
  ++installed_;
  const std::size_t bytes = installed.software_id.size() + installed.locator.size();
  open_.installed.push_back(std::move(installed));
  added(bytes);
}

void SoftwareStaging::add(SoftwareEvent event) {
  ++events_;
  const std::size_t bytes = event.record.software_id.size() + event.record.locator.size();
  open_.events.push_back(std::move(event));
  added(bytes);
}

void SoftwareStaging::add(SoftwareTag tag) {
  const std::size_t bytes = tag.software_id.size() + tag.content.size();
  open_.tags.push_back(std::move(tag));
  added(bytes);
}

void SoftwareStaging::restart_installed() {
  close();
  filling_ = open_.restart_installed = true;
  installed_ = 0;
}

void SoftwareStaging::restart_events() {
  close();
  filling_ = open_.restart_events = true;
  events_ = 0;
}

void SoftwareStaging::added(std::size_t bytes) {
  filling_ = true;
  bytes_ += bytes;
  if (bytes_ >= chunk_bytes || open_.installed.size() + open_.events.size() + open_.tags.size() >= chunk_items) close();
}

void SoftwareStaging::close() {
  if (!std::exchange(filling_, false)) return;
  ready_.push_back(std::exchange(open_, {}));
  bytes_ = 0;
}

std::optional<SoftwareChunk> SoftwareStaging::next() {
  if (ready_.empty()) return std::nullopt;
  SoftwareChunk out = std::move(ready_.front());
  ready_.erase(ready_.begin());
  return out;
}

}  // namespace gatehouse::server
