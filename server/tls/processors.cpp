#include "server/tls/processors.h"

#include <fcntl.h>

#include <array>
#include <charconv>

namespace gatehouse::server {

Processors::Processors() : file_(::open("/proc/stat", O_RDONLY | O_CLOEXEC)) {}

std::optional<Processors::Ticks> Processors::parse(std::string_view text) {
  constexpr std::string_view name = "cpu ";
  if (!text.starts_with(name)) return std::nullopt;
  const char* at = text.data() + name.size();
  const char* const end = text.data() + text.size();
  Ticks out;
  // user, nice, system, idle, iowait, irq, softirq, steal; behind them is what counts as user already.
  for (unsigned i = 0; i < 8; ++i) {
    while (at != end && *at == ' ') ++at;
    std::uint64_t ticks = 0;
    const auto [next, ec] = std::from_chars(at, end, ticks);
    if (ec != std::errc() || next == end) return std::nullopt;
    at = next;
    out.all += ticks;
    if (i == 3 || i == 4) out.idle += ticks;
  }
  return out;
}

std::optional<double> Processors::idle() {
  std::array<char, 256> line;
  const auto size = ::pread(file_.get(), line.data(), line.size(), 0);
  if (size <= 0) return std::nullopt;
  const auto now = parse({line.data(), std::size_t(size)});
  // Idle time may go back a little (the same document).
  if (!now || now->all <= then_.all || now->idle < then_.idle) return std::nullopt;
  const double idle = double(now->idle - then_.idle) / double(now->all - then_.all);
  then_ = *now;
  return idle;
}

}  // namespace gatehouse::server
