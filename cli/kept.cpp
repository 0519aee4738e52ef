#include "cli/kept.h"

#include "base/base64.h"
#include "refdb/store/open.h"
#include "server/config/config.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;
constexpr std::string_view document = "docs/formats/control.md";

std::unexpected<Error> no_answer() { return fail(Fault::internal, "a response has a session's evidence", document); }

const json::object* item_of(const json::object& response) {
  const json::value* const item = response.if_contains("item");
  return item != nullptr ? item->if_object() : nullptr;
}
std::optional<std::string> text_of(const json::object& object, std::string_view member) {
  const json::value* const value = object.if_contains(member);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string(value->get_string());
}

Result<ByteVector> bytes_of(const json::value* value) {
  if (value == nullptr || !value->is_string()) return no_answer();
  return from_base64(std::string_view(value->get_string()));
}

}  // namespace

Result<KeptSession> fetch_kept(server::StateAccess& access, const std::string& session) {
  KeptSession out;
  json::object request{{"command", "session.evidence"}, {"session", session}};
  for (bool first = true;; first = false) {
    GH_TRY(const json::object response, ask(access, request));
    const json::object* const item = item_of(response);
    const json::value* const pieces = item != nullptr ? item->if_contains("pieces") : nullptr;
    if (pieces == nullptr || !pieces->is_array()) return no_answer();
    if (first) {
      GH_TRY(out.evidence.head, bytes_of(item->if_contains("head")));
      const auto verdict = text_of(*item, "verdict"), policy = text_of(*item, "policy");
      const json::value* const record = item->if_contains("record");
      if (!verdict || !policy || record == nullptr || !record->is_object()) return no_answer();
      out.verdict = *verdict;
      out.policy = *policy;
      out.record = record->get_object();
    }
    for (const json::value& piece : pieces->get_array()) {
      GH_TRY(ByteVector bytes, bytes_of(&piece));
      out.evidence.pieces.push_back(std::move(bytes));
    }
    const json::value* const next = item->if_contains("next");
    if (next == nullptr) return out;
    request["from"] = *next;
  }
}

Result<std::shared_ptr<const evidence::Kept>> decode(const KeptSession& session) {
  auto kept = evidence::decode(session.evidence.head, session.evidence.pieces);
  if (!kept) return std::unexpected(std::move(kept).error().from("kept evidence"));
  return std::make_shared<const evidence::Kept>(*std::move(kept));
}

Result<std::shared_ptr<const refdb::View>> Generations::opened(std::uint64_t generation) {
  if (refdb_.empty())
    return fail(Fault::usage, "the evidence was judged by references: name the store with --refdb DIR, or the configuration with --config FILE");
  auto& view = open_[generation];
  if (!view) {
    GH_TRY(view, refdb::open_view(refdb_, generation));
  }
  return view;
}

Result<std::shared_ptr<const refdb::View>> Generations::of(const evidence::Kept& kept, std::uint64_t instead) {
  if (!kept.generation) return std::shared_ptr<const refdb::View>();
  auto view = opened(instead);
  // Of no use for any other session either.
  if (!view) return fail(Error{Fault::usage, view.error().reason, {}, 0, refdb_, "generation " + std::to_string(instead)});
  return view;
}

Result<std::shared_ptr<const refdb::View>> Generations::of(const evidence::Kept& kept) {
  if (!kept.generation) return std::shared_ptr<const refdb::View>();
  auto found = opened(*kept.generation);
  if (!found) {
    Error e = std::move(found).error();
    if (e.fault != Fault::usage)
      e.detail = "the evidence was judged by generation " + std::to_string(*kept.generation) + (e.detail.empty() ? "" : "; " + e.detail);
    return std::unexpected(std::move(e).from(refdb_));
  }
  const std::shared_ptr<const refdb::View> view = std::move(*found);
  if (view->made() != kept.generation_made)
    return fail(Error{Fault::environment, "this reference store isn't the one that the evidence was judged by", {}, 0, refdb_,
                      "its generation " + std::to_string(*kept.generation) + " was made at another time"});
  return view;
}

Result<std::string> refdb_of(const std::string& option, const StateOptionsOfCommand& where) {
  if (!option.empty() || where.config.empty()) return option;
  const auto read = server::read_config(where.config);
  if (!read) return fail(Error{read.error().fault, "the configuration can't be used", {}, 0, where.config, {}});
  return read->refdb;
}

}  // namespace gatehouse::cli
