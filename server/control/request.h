// What the requests of docs/formats/control.md are read with and their responses made of; of this folder.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "server/state/state.h"

namespace gatehouse::server::request {

inline constexpr std::string_view document = "docs/formats/control.md";

// Fault::usage, with the member that is wrong.
std::unexpected<Error> bad(std::string_view reason, std::string_view member);

// Members of a request; an absent one and null are the same.
Result<void> only(const boost::json::object& request, std::initializer_list<std::string_view> members);
const boost::json::value* member(const boost::json::object& request, std::string_view name);
Result<std::optional<std::string>> text(const boost::json::object& request, std::string_view name);
Result<std::string> needed_text(const boost::json::object& request, std::string_view name);
Result<std::optional<std::uint64_t>> number(const boost::json::object& request, std::string_view name, std::uint64_t most);
Result<bool> flag(const boost::json::object& request, std::string_view name);
// "2026-11-24T16:31:05Z", with or without milliseconds, or a date; UTC.
Result<std::optional<std::int64_t>> time_member(const boost::json::object& request, std::string_view name);
// `by`, `why` and `expect`.
Result<Author> author(const boost::json::object& request);

boost::json::object to_object(const DeviceKey& key);
boost::json::object to_object(const Device& device);
boost::json::object to_object(const StoredBaseline& stored);
boost::json::object item(boost::json::object value);
std::unexpected<Error> no_device(const std::string& device);

// The commands of life_requests.cpp.
Result<boost::json::object> device_state(State& state, const boost::json::object& request);
Result<boost::json::object> device_set(State& state, const boost::json::object& request);
Result<boost::json::object> device_history(State& state, const boost::json::object& request);
Result<boost::json::object> device_overdue(State& state, const boost::json::object& request);
Result<boost::json::object> device_export(State& state, const boost::json::object& request);
Result<boost::json::object> baseline_diff(State& state, const boost::json::object& request);
Result<boost::json::object> baseline_announce(State& state, const boost::json::object& request);
Result<boost::json::object> baseline_announcements(State& state, const boost::json::object& request);
Result<boost::json::object> baseline_withdraw(State& state, const boost::json::object& request);
// Of enrolment_requests.cpp.
Result<boost::json::object> device_enrol(State& state, const boost::json::object& request);
Result<boost::json::object> device_enrolments(State& state, const boost::json::object& request);
Result<boost::json::object> device_enrol_close(State& state, const boost::json::object& request);
boost::json::value endorsement_value(const std::optional<BoundEk>& ek);
boost::json::array history_of(const std::vector<HistoryEntry>& entries);
boost::json::value attested_value(const std::optional<Attested>& last);
boost::json::object approval(const GroupApproval& approved);

}  // namespace gatehouse::server::request
