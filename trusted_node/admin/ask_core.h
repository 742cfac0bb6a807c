#ifndef KEYHOP_TRUSTED_NODE_ADMIN_ASK_CORE_H_
#define KEYHOP_TRUSTED_NODE_ADMIN_ASK_CORE_H_

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <utility>

namespace keyhop {

inline constexpr std::chrono::seconds kCorePatience{5};
inline constexpr char kCoreTooLate[] = "the core did not answer in time; retry";

// Calls `ask(done)` and waits for what `done` gets, on any thread; nothing if that takes too long.
// What is given later is dropped.
template <typename Answer, typename Ask>
std::optional<Answer> AskCore(const Ask& ask) {
  // Shared: a core that is too late answers when nobody waits any more.
  auto promise = std::make_shared<std::promise<Answer>>();
  std::future<Answer> future = promise->get_future();
  ask([promise](Answer answer) { promise->set_value(std::move(answer)); });
  if (future.wait_for(kCorePatience) != std::future_status::ready) return std::nullopt;
  return future.get();
}

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_ADMIN_ASK_CORE_H_
