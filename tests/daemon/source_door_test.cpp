#include "daemon/source_door.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

#include "fakes.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

// Counts those that are open.
class Counted : public ScriptedSource {
  public:
    explicit Counted(std::shared_ptr<std::atomic<int>> count) : ScriptedSource({}, true), count_(std::move(count)) {
        ++*count_;
    }
    ~Counted() override { --*count_; }

  private:
    std::shared_ptr<std::atomic<int>> count_;
};

struct Hanging {
    std::shared_ptr<Gate> gate = std::make_shared<Gate>();
    std::shared_ptr<std::atomic<int>> begun = std::make_shared<std::atomic<int>>(0);
    std::shared_ptr<std::atomic<int>> open = std::make_shared<std::atomic<int>>(0);
    int hang_for_ever = 0;  // so many openings

    SourceDoor::Opener opener() {
        return [=, *this](const SourceConfig&) -> std::unique_ptr<AudioSource> {
            if (++*begun <= hang_for_ever) gate->pass();
            return std::make_unique<Counted>(open);
        };
    }
};

TEST(SourceDoor, GivesUpAnOpeningThatHangsAndOpensAnew) {
    Hanging device{.hang_for_ever = 1};
    SourceDoor door(device.opener(), 100ms);
    EXPECT_EQ(door.open({}, 10ms), nullptr);
    std::unique_ptr<AudioSource> source;
    ASSERT_TRUE(eventually([&] { return (source = door.open({}, 10ms)) != nullptr; }));
    EXPECT_EQ(*device.begun, 2);
    EXPECT_EQ(*device.open, 1);
    device.gate->open();
    ASSERT_TRUE(eventually([&] { return *device.open == 1; })) << "the late one is closed";
    door.close(std::move(source), 5s);
    EXPECT_EQ(*device.open, 0);
}

TEST(SourceDoor, LeavesOnlySoManyToHang) {
    Hanging device{.hang_for_ever = 100};
    SourceDoor door(device.opener(), 20ms);
    const auto all = static_cast<int>(SourceDoor::kMostLeft) + 1;
    ASSERT_TRUE(eventually([&] {
        EXPECT_EQ(door.open({}, 10ms), nullptr);
        return *device.begun == all;
    }));
    for (int i = 0; i < 10; ++i) EXPECT_EQ(door.open({}, 20ms), nullptr);
    EXPECT_EQ(*device.begun, all);
    EXPECT_THAT(door.trouble(), testing::MatchesRegex("opening it has taken . s so far, 3 earlier attempts hang"));
    EXPECT_TRUE(door.hopeless());
    device.gate->open();
    std::unique_ptr<AudioSource> source;
    ASSERT_TRUE(eventually([&] { return (source = door.open({}, 10ms)) != nullptr; }));
    EXPECT_FALSE(door.hopeless());
    EXPECT_TRUE(eventually([&] { return *device.open == 1; })) << "those left are closed";
    EXPECT_EQ(door.trouble(), "");
}

TEST(SourceDoor, OpensAnewWhatIsNeverClosed) {
    class Clinging : public Counted {
      public:
        Clinging(std::shared_ptr<std::atomic<int>> count, std::shared_ptr<Gate> gate)
            : Counted(std::move(count)), gate_(std::move(gate)) {}
        ~Clinging() override { gate_->pass(); }

      private:
        std::shared_ptr<Gate> gate_;
    };
    const auto gate = std::make_shared<Gate>();
    const auto count = std::make_shared<std::atomic<int>>(0);
    SourceDoor door([=](const SourceConfig&) { return std::make_unique<Clinging>(count, gate); }, 1s);
    door.close(door.open({}, 5s), 10ms);
    std::unique_ptr<AudioSource> source = door.open({}, 10ms);
    EXPECT_EQ(source, nullptr) << "one at a time";
    ASSERT_TRUE(eventually([&] { return (source = door.open({}, 10ms)) != nullptr; }));
    EXPECT_EQ(*count, 2);
    gate->open();
    EXPECT_TRUE(eventually([&] { return *count == 1; }));
}

TEST(SourceDoor, ThrowsWhatTheOpeningThrows) {
    SourceDoor door([](const SourceConfig&) -> std::unique_ptr<AudioSource> { throw std::runtime_error("gone"); });
    EXPECT_THROW(door.open({}, 5s), std::runtime_error);
    EXPECT_EQ(door.trouble(), "");
}

}  // namespace
}  // namespace chorus
