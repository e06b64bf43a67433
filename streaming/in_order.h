#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace chorus {

/// Brings what several threads have finished back into the order of its numbers, which count from 0. Whoever puts the
/// next one has it taken, with all that waited behind it; so one thread at a time takes. Any thread.
template <class T>
class InOrder {
  public:
    /// take: must not throw. Room for at least one, else std::invalid_argument.
    InOrder(std::size_t room, std::function<void(T)> take) : room_(room), take_(std::move(take)) {
        if (room == 0) throw std::invalid_argument("a queue needs room");
    }

    /// Each number once. Waits while it is `room` or more ahead of the next to be taken.
    void put(std::uint64_t number, T item) {
        std::unique_lock lock(mutex_);
        went_on_.wait(lock, [&] { return number - next_ < room_; });
        early_.emplace(number, std::move(item));
        if (taking_) return;  // that thread finds it
        taking_ = true;
        for (auto found = early_.find(next_); found != early_.end(); found = early_.find(next_)) {
            T next = std::move(found->second);
            early_.erase(found);
            lock.unlock();
            take_(std::move(next));
            lock.lock();
            ++next_;
            went_on_.notify_all();
        }
        taking_ = false;
    }

  private:
    const std::size_t room_;
    const std::function<void(T)> take_;
    std::mutex mutex_;
    std::condition_variable went_on_;
    std::map<std::uint64_t, T> early_;
    std::uint64_t next_ = 0;
    bool taking_ = false;
};

}  // namespace chorus
