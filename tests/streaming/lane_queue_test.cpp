#include "streaming/lane_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <random>
#include <thread>

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr auto kAtOnce = 0us;
constexpr auto kLong = 30s;  // bounds a wait that a correct queue ends much sooner

struct Item {
    std::size_t lane;
    int number;
};

TEST(LaneQueue, ServesItsLanesInTurn) {
    LaneQueue<int> queue(3, 10);
    for (int i : {10, 11, 12, 13}) queue.push_drop_oldest(0, i);
    for (int i : {20}) queue.push_drop_oldest(1, i);
    for (int i : {30, 31}) queue.push_drop_oldest(2, i);
    EXPECT_THAT(queue.pop_batch(5, kAtOnce, 0ms), ElementsAre(10, 20, 30, 11, 31));
    EXPECT_THAT(queue.pop_batch(5, kAtOnce, 0ms), ElementsAre(12, 13));
    EXPECT_THAT(queue.pop_batch(5, kAtOnce, 0ms), IsEmpty());
}

TEST(LaneQueue, GoesOnWithTheNextLaneInTheNextBatch) {
    LaneQueue<int> queue(2, 100);
    for (int i = 0; i < 50; ++i) queue.push_drop_oldest(0, 0);
    for (int i = 0; i < 50; ++i) queue.push_drop_oldest(1, 1);
    int from_first = 0;
    for (int i = 0; i < 20; ++i) {
        for (const int lane : queue.pop_batch(1, kAtOnce, 0ms)) from_first += lane == 0 ? 1 : 0;
    }
    EXPECT_EQ(from_first, 10);
}

TEST(LaneQueue, DropsTheOldestOfAFullLaneAndHandsItBack) {
    LaneQueue<int> queue(2, 2);
    EXPECT_EQ(queue.push_drop_oldest(0, 1), std::nullopt);
    EXPECT_EQ(queue.push_drop_oldest(0, 2), std::nullopt);
    EXPECT_EQ(queue.push_drop_oldest(0, 3), 1);
    EXPECT_EQ(queue.push_drop_oldest(1, 9), std::nullopt) << "one lane took the room of another";
    EXPECT_EQ(queue.size(), 3U);
    EXPECT_THAT(queue.pop_batch(9, kAtOnce, 0ms), ElementsAre(2, 9, 3));
}

TEST(LaneQueue, GivesALaneTheRoomItIsToldTo) {
    LaneQueue<int> queue(2, 1);
    queue.set_capacity(0, 3);
    for (int i : {1, 2, 3}) EXPECT_EQ(queue.push_drop_oldest(0, i), std::nullopt);
    EXPECT_EQ(queue.push_drop_oldest(1, 9), std::nullopt);
    EXPECT_EQ(queue.push_drop_oldest(1, 8), 9) << "the other lane's room is as it was";
    queue.set_capacity(0, 4);
    EXPECT_EQ(queue.fill(0), 0.75);
    EXPECT_EQ(queue.fill(1), 1.0);
    queue.set_capacity(0, 2);
    EXPECT_EQ(queue.push_drop_oldest(0, 4), 1) << "one that holds more doesn't grow";
    EXPECT_EQ(queue.fill(0), 1.0);
    EXPECT_THROW(queue.set_capacity(0, 0), std::invalid_argument);
}

TEST(LaneQueue, LetsAProducerGoOnThatIsGivenRoom) {
    LaneQueue<int> queue(1, 1);
    queue.push_wait(0, 1);
    auto waiting = std::async(std::launch::async, [&] { return queue.push_wait(0, 2); });
    queue.set_capacity(0, 2);
    EXPECT_EQ(waiting.wait_for(kLong), std::future_status::ready);
    EXPECT_EQ(waiting.get(), std::nullopt);
}

TEST(LaneQueue, TakesItemsThatOnlyMove) {
    LaneQueue<std::unique_ptr<int>> queue(1, 1);
    queue.push_drop_oldest(0, std::make_unique<int>(1));
    const auto dropped = queue.push_drop_oldest(0, std::make_unique<int>(2));
    ASSERT_TRUE(dropped);
    EXPECT_EQ(**dropped, 1);
    EXPECT_EQ(*queue.pop_batch(1, kAtOnce, 0ms).at(0), 2);
}

TEST(LaneQueue, HandsItemsBackAfterItIsClosedAndStillGivesOutWhatIsIn) {
    LaneQueue<int> queue(1, 4);
    queue.push_wait(0, 1);
    queue.close();
    EXPECT_EQ(queue.push_wait(0, 2), 2);
    EXPECT_EQ(queue.push_drop_oldest(0, 3), 3);
    EXPECT_FALSE(queue.drained());
    EXPECT_THAT(queue.pop_batch(9, 10s, kLong), ElementsAre(1)) << "and it did not wait for more";
    EXPECT_TRUE(queue.drained());
    EXPECT_THAT(queue.pop_batch(9, 10s, kLong), IsEmpty());
}

TEST(LaneQueue, RefusesToBeWithoutLanesOrRoom) {
    EXPECT_THROW(LaneQueue<int>(1, 0), std::invalid_argument);
    LaneQueue<int> queue(1, 1);
    EXPECT_THROW(queue.push_drop_oldest(1, 0), std::out_of_range);
    EXPECT_THROW(queue.push_wait(1, 0), std::out_of_range);
}

TEST(LaneQueue, WakesAWaitingConsumerWhenAnItemComes) {
    LaneQueue<int> queue(1, 1);
    auto popped = std::async(std::launch::async, [&] { return queue.pop_batch(1, kAtOnce, kLong); });
    queue.push_drop_oldest(0, 7);
    ASSERT_EQ(popped.wait_for(10s), std::future_status::ready);
    EXPECT_THAT(popped.get(), ElementsAre(7));
}

TEST(LaneQueue, WakesAWaitingConsumerAndAWaitingProducerWhenItIsClosed) {
    LaneQueue<int> queue(2, 1);
    queue.push_wait(0, 1);
    auto pushed = std::async(std::launch::async, [&] { return queue.push_wait(0, 2); });
    queue.close();
    ASSERT_EQ(pushed.wait_for(10s), std::future_status::ready);
    EXPECT_EQ(pushed.get(), 2);

    LaneQueue<int> empty(1, 1);
    auto popped = std::async(std::launch::async, [&] { return empty.pop_batch(1, kAtOnce, kLong); });
    empty.close();
    ASSERT_EQ(popped.wait_for(10s), std::future_status::ready);
    EXPECT_THAT(popped.get(), IsEmpty());
}

TEST(LaneQueue, DoesNotKeepAProducerWaitingForABatchThatCannotFill) {
    LaneQueue<int> queue(1, 2);
    auto pushed = std::async(std::launch::async, [&] {
        for (int i = 0; i < 6; ++i) queue.push_wait(0, i);
        queue.close();
    });
    std::vector<int> all;
    while (!queue.drained()) {
        for (const int i : queue.pop_batch(100, 30s, kLong)) all.push_back(i);
        ASSERT_LE(all.size(), 6U);
    }
    EXPECT_EQ(pushed.wait_for(10s), std::future_status::ready);
    EXPECT_THAT(all, ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(LaneQueue, GivesWhatIsThereOncePatienceIsOver) {
    LaneQueue<int> queue(1, 8);
    queue.push_drop_oldest(0, 1);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_THAT(queue.pop_batch(8, 20ms, kLong), ElementsAre(1));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
}

// What every lane must have yielded after its producer pushed 0, 1, 2, ...: each number once, in order, either popped
// or dropped.
struct Tally {
    int next_popped = 0;  // the least number that may come
    std::vector<bool> seen;
};

class LaneQueueUnderThreads : public testing::TestWithParam<bool> {};

TEST_P(LaneQueueUnderThreads, LosesNothingDoublesNothingAndKeepsTheOrderOfALane) {
    const bool drops = GetParam();
    constexpr std::size_t kLanes = 4;
    constexpr int kItems = 20'000;
    LaneQueue<Item> queue(kLanes, 7);
    std::vector<std::vector<int>> dropped(kLanes);

    std::vector<std::jthread> producers;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
        producers.emplace_back([&, lane] {
            for (int i = 0; i < kItems; ++i) {
                const auto out = drops ? queue.push_drop_oldest(lane, {lane, i}) : queue.push_wait(lane, {lane, i});
                if (out) dropped[lane].push_back(out->number);
            }
        });
    }
    std::jthread closer([&] {
        producers.clear();
        queue.close();
    });

    std::vector<Tally> lanes(kLanes);
    for (auto& lane : lanes) lane.seen.resize(kItems);
    std::mt19937 random(7);
    while (!queue.drained()) {
        const auto most = std::uniform_int_distribution<std::size_t>(1, 40)(random);
        const auto batch = queue.pop_batch(most, std::chrono::microseconds(most % 3), 1s);
        ASSERT_LE(batch.size(), most);
        for (const auto& item : batch) {
            auto& lane = lanes[item.lane];
            ASSERT_GE(item.number, lane.next_popped) << "out of order";
            lane.next_popped = item.number + 1;
            ASSERT_FALSE(lane.seen[static_cast<std::size_t>(item.number)]) << "doubled";
            lane.seen[static_cast<std::size_t>(item.number)] = true;
        }
    }
    closer.join();

    for (std::size_t lane = 0; lane < kLanes; ++lane) {
        if (!drops) {
            EXPECT_THAT(dropped[lane], IsEmpty());
        }
        for (const int number : dropped[lane]) {
            ASSERT_FALSE(lanes[lane].seen[static_cast<std::size_t>(number)]) << "popped and dropped";
            lanes[lane].seen[static_cast<std::size_t>(number)] = true;
        }
        EXPECT_EQ(std::count(lanes[lane].seen.begin(), lanes[lane].seen.end(), true), kItems);
    }
}

TEST_P(LaneQueueUnderThreads, AccountsForEveryItemWhenItIsClosedInTheMiddle) {
    const bool drops = GetParam();
    constexpr std::size_t kLanes = 3;
    LaneQueue<Item> queue(kLanes, 5);
    std::vector<int> pushed(kLanes);
    std::vector<int> returned(kLanes);
    std::vector<std::jthread> producers;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
        producers.emplace_back([&, lane] {
            for (int i = 0;; ++i) {
                const auto out = drops ? queue.push_drop_oldest(lane, {lane, i}) : queue.push_wait(lane, {lane, i});
                ++pushed[lane];
                if (out) ++returned[lane];
                if (out && out->number == i) return;  // closed
            }
        });
    }
    std::vector<int> popped(kLanes);
    int total = 0;
    while (!queue.drained()) {
        for (const auto& item : queue.pop_batch(10, 100us, 1s)) {
            ++popped[item.lane];
            if (++total == 5'000) queue.close();
        }
    }
    producers.clear();
    for (std::size_t lane = 0; lane < kLanes; ++lane) EXPECT_EQ(pushed[lane], popped[lane] + returned[lane]);
}

INSTANTIATE_TEST_SUITE_P(Modes, LaneQueueUnderThreads, testing::Bool(),
                         [](const auto& mode) { return mode.param ? "Drop" : "Wait"; });

}  // namespace
}  // namespace chorus
