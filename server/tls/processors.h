// Whether the machine's processors have time left: of all processes, not of this one alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/descriptor.h"

namespace gatehouse::server {

class Processors {
 public:
  // Opens the kernel's count (Linux, /proc/stat).
  Processors();

  // The share of all processors' time, 0 to 1, that nobody has used since the last call; nullopt: it can't be had, or too little
  // time has passed. Time waited for disks counts as not used.
  std::optional<double> idle();

  // Of the first line of /proc/stat (Documentation/filesystems/proc.rst, section 1.7): time in ticks, of all processors.
  struct Ticks {
    std::uint64_t idle = 0, all = 0;
  };
  static std::optional<Ticks> parse(std::string_view text);

 private:
  Descriptor file_;
  Ticks then_;
};

}  // namespace gatehouse::server
