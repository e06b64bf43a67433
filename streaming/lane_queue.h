#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace chorus {

/// A bounded queue with one lane a producer and one consumer. Lanes are served in turn, so that no producer starves
/// another; a full lane either drops its oldest item (live sound) or makes its producer wait (files). Any thread.
template <class T>
class LaneQueue {
  public:
    /// Room for at least one item a lane, else std::invalid_argument.
    LaneQueue(std::size_t lanes, std::size_t capacity) {
        for (std::size_t lane = 0; lane < lanes; ++lane) add_lane(capacity);
    }

    /// Returns the number of the new, empty lane; the same rule for its capacity.
    std::size_t add_lane(std::size_t capacity) {
        if (capacity == 0) throw std::invalid_argument("a queue needs room");
        const std::lock_guard lock(mutex_);
        lanes_.push_back({.items = {}, .capacity = capacity});
        return lanes_.size() - 1;
    }

    /// From now on; the same rule. What is in stays in: a lane that holds more doesn't grow.
    void set_capacity(std::size_t lane, std::size_t capacity) {
        if (capacity == 0) throw std::invalid_argument("a queue needs room");
        {
            const std::lock_guard lock(mutex_);
            lanes_.at(lane).capacity = capacity;
        }
        not_full_.notify_all();
    }

    /// Never waits. Returns the item that had to make room: the lane's oldest, or `item` itself after close().
    std::optional<T> push_drop_oldest(std::size_t lane, T item) {
        std::optional<T> dropped;
        {
            const std::lock_guard lock(mutex_);
            if (closed_) return item;
            auto& queue = lanes_.at(lane);
            if (queue.is_full()) {
                dropped = std::move(queue.items.front());
                queue.items.pop_front();
                --size_;
            }
            queue.items.push_back(std::move(item));
            ++size_;
        }
        not_empty_.notify_one();
        return dropped;
    }

    /// Waits for room. Returns the item after close(), else nothing.
    std::optional<T> push_wait(std::size_t lane, T item) {
        {
            std::unique_lock lock(mutex_);
            auto& queue = lanes_.at(lane);
            if (!closed_ && queue.is_full()) {
                ++waiting_;
                not_empty_.notify_one();
                not_full_.wait(lock, [&] { return closed_ || !queue.is_full(); });
                --waiting_;
            }
            if (closed_) return item;
            queue.items.push_back(std::move(item));
            ++size_;
        }
        not_empty_.notify_one();
        return std::nullopt;
    }

    /// Up to `most` items: at once if there are that many, if a producer waits for room or after close(), else what
    /// there is once the oldest has waited for `patience`, `age` telling how long an item has. Empty only when closed
    /// and drained, or when `idle` passes with nothing there.
    template <typename Age>
    std::vector<T> pop_batch(std::size_t most, std::chrono::microseconds patience, std::chrono::milliseconds idle,
                             const Age& age) {
        std::vector<T> batch;
        std::unique_lock lock(mutex_);
        if (!not_empty_.wait_for(lock, idle, [&] { return closed_ || size_ > 0; }) || size_ == 0) return batch;
        if (patience.count() > 0) {
            auto left = patience;
            for (const auto& lane : lanes_) {
                if (lane.items.empty()) continue;
                const auto waited = std::chrono::duration_cast<std::chrono::microseconds>(age(lane.items.front()));
                left = std::min(left, patience - waited);
            }
            not_empty_.wait_for(lock, left, [&] { return closed_ || size_ >= most || producer_waits(); });
        }
        batch.reserve(std::min(most, size_));
        while (size_ > 0 && batch.size() < most) {
            auto& queue = lanes_[turn_].items;
            turn_ = (turn_ + 1) % lanes_.size();
            if (queue.empty()) continue;
            batch.push_back(std::move(queue.front()));
            queue.pop_front();
            --size_;
        }
        lock.unlock();
        not_full_.notify_all();
        return batch;
    }

    /// The same where an item's age is not known: it counts from when the first was seen.
    std::vector<T> pop_batch(std::size_t most, std::chrono::microseconds patience, std::chrono::milliseconds idle) {
        return pop_batch(most, patience, idle, [](const T&) { return std::chrono::microseconds(0); });
    }

    /// Nothing more goes in; what is in still comes out.
    void close() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        not_empty_.notify_all();
        not_full_.notify_all();
    }

    bool drained() const {
        const std::lock_guard lock(mutex_);
        return closed_ && size_ == 0;
    }

    std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return size_;
    }

    /// How full the lane is, 0 to 1.
    double fill(std::size_t lane) const {
        const std::lock_guard lock(mutex_);
        const auto& queue = lanes_.at(lane);
        return std::min(1.0, static_cast<double>(queue.items.size()) / static_cast<double>(queue.capacity));
    }

  private:
    struct Lane {
        std::deque<T> items;
        std::size_t capacity = 1;
        bool is_full() const { return items.size() >= capacity; }
    };

    // A producer that has room again may not have woken yet, so its lane is looked at too. Call with the mutex held.
    bool producer_waits() const {
        return waiting_ > 0 &&
               std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& queue) { return queue.is_full(); });
    }

    mutable std::mutex mutex_;
    std::condition_variable not_empty_;
    std::condition_variable not_full_;
    std::deque<Lane> lanes_;  // a deque, so that a lane stays where it is when one is added
    std::size_t size_ = 0;
    std::size_t turn_ = 0;     // the lane to be served next
    std::size_t waiting_ = 0;  // producers in push_wait; patience would only make them idle
    bool closed_ = false;
};

}  // namespace chorus
