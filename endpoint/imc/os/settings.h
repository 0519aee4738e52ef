// Settings of an endpoint as the OS IMV asks for them: the beginning of a file (spec part 1b §2.1.1).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace gatehouse::endpoint {

inline constexpr std::size_t max_setting_bytes = 2'048;

// The first 2,048 bytes of the regular file `name`, an absolute path. It has to lie under /etc, /proc, /sys or /var
// once all its symbolic links are followed, and everybody on this machine has to be allowed to read it: a server learns
// nothing that it couldn't learn as an unprivileged user. Nothing for every other name, such as Android's
// install_non_market_apps. `root` stands for "/" in tests.
std::optional<ByteVector> read_setting(std::string_view name, const std::string& root = "/");

}  // namespace gatehouse::endpoint
