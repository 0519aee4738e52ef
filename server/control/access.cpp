#include <chrono>
#include <optional>
#include <thread>

#include "server/control/control.h"
#include "server/state/lock.h"

namespace gatehouse::server {

struct StateAccess::Impl {
  std::unique_ptr<State> state;         // ours
  std::optional<ControlClient> client;  // or the holder's
};

StateAccess::StateAccess(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StateAccess::StateAccess(StateAccess&&) noexcept = default;
StateAccess::~StateAccess() = default;
bool StateAccess::through_server() const { return impl_->client.has_value(); }

Result<StateAccess> StateAccess::open(const Place& place) {
  auto impl = std::make_unique<Impl>();
  // The lock decides. Who holds it and doesn't listen is another command, or a server that is starting or ending: look
  // again until the lock is free or somebody answers.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (;;) {
    auto state = State::open({.path = place.state, .create = place.create, .lock_wait = std::chrono::milliseconds(0)});
    if (state) {
      impl->state = *std::move(state);
      return StateAccess(std::move(impl));
    }
    if (state.error().reason != DirectoryLock::held_elsewhere) return fail(std::move(state).error());
    std::string socket = place.socket;
    if (socket.empty())
      if (const auto holder = state_holder(place.state)) socket = holder->socket;
    if (socket.empty()) socket = place.state + "/control.sock";
    if (auto client = ControlClient::connect(socket)) {
      impl->client.emplace(*std::move(client));
      return StateAccess(std::move(impl));
    } else if (std::chrono::steady_clock::now() >= deadline) {
      Error error = std::move(state).error();
      error.detail += (error.detail.empty() ? "" : ", ") + std::string("which doesn't answer on ") + socket;
      return fail(std::move(error));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

Result<std::string> StateAccess::ask(std::string_view request) {
  if (impl_->state) return response_or_error(execute(*impl_->state, request));
  GH_TRY(std::string response, impl_->client->ask(request));
  return response_or_error(std::move(response));
}

}  // namespace gatehouse::server
