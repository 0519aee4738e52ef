// The log of the server: one line an event on stderr, as text or as one JSON object. Text of peers is escaped by whoever
// composes the message; control characters that are left are escaped here again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gatehouse {

enum class LogFormat : std::uint8_t { text, json };

namespace log {

enum class Level : std::uint8_t { debug, info, warning, error };

void configure(Level least, LogFormat format);
bool enabled(Level level);
// `session` empty: of the server itself.
void write(Level level, std::string_view session, std::string_view message);

}  // namespace log
}  // namespace gatehouse
