#include "streaming/in_order.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

namespace chorus {
namespace {

std::vector<int> numbers_up_to(int end) {
    std::vector<int> numbers(static_cast<std::size_t>(end));
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
}

TEST(InOrder, TakesWhatIsNextAtOnceAndTheRestBehindIt) {
    std::vector<int> taken;
    InOrder<int> order(4, [&](int item) { taken.push_back(item); });
    order.put(1, 1);
    order.put(3, 3);
    EXPECT_TRUE(taken.empty());
    order.put(0, 0);
    EXPECT_EQ(taken, numbers_up_to(2));
    order.put(2, 2);
    EXPECT_EQ(taken, numbers_up_to(4));
}

TEST(InOrder, TakesOneAtATimeAndLetsNobodyGetFarAhead) {
    constexpr int kItems = 2000;
    constexpr int kRoom = 5;
    std::vector<int> taken;  // no lock: one thread at a time
    std::atomic<int> count{0};
    InOrder<std::unique_ptr<int>> order(kRoom, [&](std::unique_ptr<int> item) {
        taken.push_back(*item);
        ++count;
    });
    std::atomic<int> next{0};
    {
        std::vector<std::jthread> threads;
        for (unsigned seed = 0; seed < 4; ++seed) {
            threads.emplace_back([&, seed] {
                std::mt19937 random(seed);
                for (int number = next++; number < kItems; number = next++) {
                    if (random() % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
                    order.put(static_cast<std::uint64_t>(number), std::make_unique<int>(number));
                    EXPECT_GT(count + kRoom, number);
                }
            });
        }
    }
    EXPECT_EQ(taken, numbers_up_to(kItems));
}

TEST(InOrder, WantsRoom) {
    EXPECT_THROW(InOrder<int>(0, [](int) {}), std::invalid_argument);
}

}  // namespace
}  // namespace chorus
