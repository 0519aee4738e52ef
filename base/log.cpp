#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>

#include "base/hex.h"

namespace gatehouse::log {
namespace {

std::atomic<LogFormat> format{LogFormat::text};

spdlog::logger& logger() {
  static const auto one = [] {
    auto out = std::make_shared<spdlog::logger>("gatehouse", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    out->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
    out->flush_on(spdlog::level::trace);
    return out;
  }();
  return *one;
}

spdlog::level::level_enum native(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warning: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

void configure(Level least, LogFormat f) {
  format = f;
  logger().set_level(native(least));
  if (f == LogFormat::json) logger().set_pattern("{\"time\":\"%Y-%m-%dT%H:%M:%S.%e%z\",\"level\":\"%l\",%v}");
}

bool enabled(Level level) { return logger().should_log(native(level)); }

void write(Level level, std::string_view session, std::string_view message) {
  if (!enabled(level)) return;
  const std::string safe = escaped(message, 16'384);
  if (format == LogFormat::json)
    logger().log(native(level), "\"session\":{},\"message\":{}", quoted(session), quoted(safe));
  else if (session.empty())
    logger().log(native(level), "{}", safe);
  else
    logger().log(native(level), "[{}] {}", session, safe);
}

}  // namespace gatehouse::log
