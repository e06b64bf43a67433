#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace chorus {

/// Brings what several threads have finished back into the order of its numbers, which count from 0. Whoever puts the
/// next one has it taken, with all that waited behind it; so one thread at a time takes. Any thread.
template <class T>
class InOrder {
  public:
    /// take: must not throw. Room for at least one, else std::invalid_argument.
    InOrder(std::size_t room, std::function<void(T)> take) : early_(room), take_(std::move(take)) {
        if (room == 0) throw std::invalid_argument("a queue needs room");
    }

    /// Each number once, and none left out, or those behind it wait for ever. Waits while it is `room` or more ahead of
    /// the next to be taken. Doesn't throw.
    void put(std::uint64_t number, T item) noexcept {
        std::unique_lock lock(mutex_);
        went_on_.wait(lock, [&] { return number - next_ < early_.size(); });
        early_[number % early_.size()] = std::move(item);
        if (taking_) return;  // that thread finds it
        taking_ = true;
        while (auto& place = early_[next_ % early_.size()]) {
            T next = std::move(*place);
            place.reset();
            lock.unlock();
            take_(std::move(next));
            lock.lock();
            ++next_;
            went_on_.notify_all();
        }
        taking_ = false;
    }

  private:
    std::vector<std::optional<T>> early_;  // by number, as a ring
    const std::function<void(T)> take_;
    std::mutex mutex_;
    std::condition_variable went_on_;
    std::uint64_t next_ = 0;
    bool taking_ = false;
};

}  // namespace chorus
