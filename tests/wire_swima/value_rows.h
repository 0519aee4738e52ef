// The values of inventories and events that spec part 1b §9.5 calls violations, and their neighbours that aren't, row
// by row: the codec's tests and those of the IMV's answers go through the same.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/hex.h"
#include "wire/swima/swima.h"

namespace gatehouse::swima {

// Blanks keep the fields apart.
inline ByteVector bytes(std::string hex) {
  std::erase(hex, ' ');
  return from_hex(hex).value();
}
inline std::string text(std::string_view s) { return to_hex(as_bytes(s)); }
inline std::string repeated(std::size_t n, std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += hex;
  return out;
}
inline std::string name_field(std::size_t size) {
  Writer w;
  w.put(std::uint16_t(size));
  return to_hex(w.view()) + repeated(size, "61");
}

struct Row {
  const char* violation;
  std::string value;
  std::optional<std::size_t> offset = std::nullopt;  // in the value; none: accepted
};

// A record: 9 bytes, reserved, identifier "a__b", no locator.
inline const std::string model = "000000010000000001", named = "0004" + text("a__b");
inline const std::string record = model + "00" + named + "0000";
inline const std::string header_rest = "00000293 38cd4cc6 00000143";

inline std::vector<Row> identifier_inventory_rows() {
  return {
      {"15 bytes", "00000000 00000293 38cd4cc6 000001", 0},
      {"empty", "", 0},
      {"16 bytes", "00000000" + header_rest},
      {"one record", "00000001" + header_rest + record},
      {"left over", "00000001" + header_rest + record + "00", 16 + 18},
      {"left over after none", "00000000" + header_rest + "00", 16},
      {"a whole record left over", "00000001" + header_rest + record + record, 16 + 18},
      {"count too high, none", "00000001" + header_rest, 16},
      {"none complete", "00000001" + header_rest + record.substr(0, record.size() - 2), 16},
      {"count too high after one", "00000002" + header_rest + record, 16 + 18},
      {"second incomplete", "00000002" + header_rest + record + "00", 16 + 18},
      {"second incomplete in its identifier", "00000002" + header_rest + record + record.substr(0, 28), 16 + 18},
      {"identifier empty", "00000001" + header_rest + model + "00 0000 0000", 16 + 10},
      {"identifier not UTF-8", "00000001" + header_rest + model + "00 0002 c328 0000", 16 + 10},
      {"NUL in the identifier", "00000001" + header_rest + model + "00 0003 610062 0000", 16 + 13},
      {"NUL in the locator", "00000001" + header_rest + model + "00" + named + "0001 00", 16 + 18},
      {"reserved", "00000001" + header_rest + model + "ff" + named + "0000"},
      {"reserved flags", "7f000001" + header_rest + record},
      {"unknown data model", "00000001" + header_rest + "00000001 c0ffeeff 01 00" + named + "0000"},
      {"identifier of 4,096", "00000001" + header_rest + model + "00" + name_field(4096) + "0000"},
      {"identifier of 4,097", "00000001" + header_rest + model + "00" + name_field(4097) + "0000", 16 + 10},
      {"locator of 4,096", "00000001" + header_rest + model + "00" + named + name_field(4096)},
      {"locator of 4,097", "00000001" + header_rest + model + "00" + named + name_field(4097), 16 + 16},
      {"1,000,000 announced", "000f4240" + header_rest, 16},
      {"1,000,001 announced", "000f4241" + header_rest, 1},
  };
}

inline std::vector<Row> inventory_rows() {
  const std::string full = record + "00000003" + "3c2f3e";
  return {
      {"15 bytes", "00000000 00000293 38cd4cc6 000001", 0},
      {"one record", "00000001" + header_rest + full},
      {"empty record", "00000001" + header_rest + record + "00000000"},
      {"no record length", "00000001" + header_rest + record, 16},
      {"record overruns", "00000001" + header_rest + record + "00000003 3c2f", 16},
      {"left over", "00000001" + header_rest + full + "00", 16 + 25},
      {"count too high after one", "00000002" + header_rest + full, 16 + 25},
      {"record of 4 MiB and a byte", "00000001" + header_rest + record + "00400001", 16 + 18},
      {"record of 2^32 - 1", "00000001" + header_rest + record + "ffffffff", 16 + 18},
      {"record of 4 MiB cut", "00000001" + header_rest + record + "00400000", 16},
  };
}

inline std::string event(std::string_view timestamp, std::string_view action = "01",
                         std::string_view eid = "00000001") {
  return std::string(eid) + text(timestamp) + model + std::string(action) + named + "0000";
}

inline std::vector<Row> identifier_event_rows() {
  constexpr std::string_view good_time = "2022-05-31T08:30:01Z";
  const std::string head = header_rest + "00000143", one = event(good_time);
  constexpr std::size_t size = 42;
  const auto timed = [&](std::string_view time) { return "00000001" + head + event(time); };
  return {
      {"19 bytes", "00000000" + header_rest + "000001", 0},
      {"20 bytes", "00000000" + head},
      {"action 0", "00000001" + head + event(good_time, "00"), 20 + 33},
      {"action 4", "00000001" + head + event(good_time, "04"), 20 + 33},
      {"action 3", "00000001" + head + event(good_time, "03")},
      {"action of the second", "00000002" + head + one + event(good_time, "ff"), 20 + size + 33},
      {"left over", "00000001" + head + one + "00", 20 + size},
      {"count too high, none", "00000001" + head, 20},
      {"none complete", "00000001" + head + one.substr(0, 2 * size - 2), 20},
      {"count too high after one", "00000002" + head + one, 20 + size},
      {"second incomplete", "00000002" + head + one + one.substr(0, 2 * size - 2), 20 + size},
      {"partial list", "00000000" + header_rest + "00000142"},
      {"consulted beyond the last", "00000000" + header_rest + "00000144", 16},
      {"EID beyond the last", "00000001" + head + event(good_time, "01", "00000fff")},
      {"EIDs descend", "00000002" + head + event(good_time, "01", "00000002") + one},
      {"timestamp with a blank", timed("2022-05-31 08:30:01Z"), 24},
      {"timestamp with an offset", timed("2022-05-31T08:30:01+"), 24},
      {"month 13", timed("2022-13-31T08:30:01Z"), 24},
      {"month 0", timed("2022-00-31T08:30:01Z"), 24},
      {"day 31 in June", timed("2022-06-31T08:30:01Z"), 24},
      {"29 February 2023", timed("2023-02-29T08:30:01Z"), 24},
      {"29 February 2024", timed("2024-02-29T08:30:01Z")},
      {"29 February 2100", timed("2100-02-29T08:30:01Z"), 24},
      {"hour 24", timed("2022-05-31T24:30:01Z"), 24},
      {"minute 60", timed("2022-05-31T08:60:01Z"), 24},
      {"second 61", timed("2022-05-31T08:30:61Z"), 24},
      {"leap second", timed("2016-12-31T23:59:60Z")},
      {"time unknown", timed("0000-00-00T00:00:00Z")},
      {"unknown data model",
       "00000001" + head + "00000001" + text(good_time) + "00000001 c0ffeeff 01 01" + named + "0000"},
      {"identifier empty", "00000001" + head + "00000001" + text(good_time) + model + "01 0000 0000", 20 + 34},
      {"identifier not UTF-8", "00000001" + head + "00000001" + text(good_time) + model + "01 0001 ff 0000", 20 + 34},
      {"1,000,001 announced", "000f4241" + head, 1},
  };
}

inline std::vector<Row> event_rows() {
  const std::string head = header_rest + "00000143", one = event("2022-05-31T08:30:01Z");
  return {
      {"19 bytes", "00000000" + header_rest + "000001", 0},
      {"one event", "00000001" + head + one + "00000001 3c"},
      {"no record length", "00000001" + head + one, 20},
      {"record overruns", "00000001" + head + one + "00000002 3c", 20},
      {"left over", "00000001" + head + one + "00000001 3c 00", 20 + 47},
      {"action 0", "00000001" + head + event("2022-05-31T08:30:01Z", "00") + "00000000", 20 + 33},
      {"record of 4 MiB and a byte", "00000001" + head + one + "00400001", 20 + 42},
  };
}

}  // namespace gatehouse::swima
