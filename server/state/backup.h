// Copies of the state directory that are whole at one moment, taken while the store works. A backup is a folder of the
// layout of docs/formats/backup.md: the database, the store's format, and SHA256SUMS, which is written last: without it,
// or where it says otherwise than the files, it is no backup.
//
//   GH_TRY(const BackupReport made, state->backup("/var/backups/gatehouse/2026-11-26"));
//   GH_CHECK(restore("/var/backups/gatehouse/2026-11-26", "/var/lib/gatehouse/state"));
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace gatehouse::server {

struct BackupReport {
  std::string folder;
  std::uint64_t files = 0, bytes = 0;  // SHA256SUMS not among them
};

// Writes SHA256SUMS of what is in the folder; what it names is on the disk before it is.
Result<BackupReport> seal_backup(const std::string& folder);
// Every file of the folder against SHA256SUMS; errors name the file. Fault::malformed: it isn't a whole backup.
Result<BackupReport> check_backup(const std::string& folder);
// Makes `state` of it, which must not exist or be an empty folder: whole or not at all.
Result<BackupReport> restore_backup(const std::string& folder, const std::string& state);

}  // namespace gatehouse::server
