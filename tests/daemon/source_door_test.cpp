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

using Count = std::shared_ptr<std::atomic<int>>;

// Counts those that are open, and those that were closed.
class Counted : public ScriptedSource {
  public:
    explicit Counted(Count open, Count closed = nullptr)
        : ScriptedSource({}, true), open_(std::move(open)), closed_(std::move(closed)) {
        ++*open_;
    }
    ~Counted() override {
        --*open_;
        if (closed_) ++*closed_;
    }

  private:
    Count open_;
    Count closed_;
};

struct Hanging {
    std::shared_ptr<Gate> gate = std::make_shared<Gate>();
    std::shared_ptr<std::atomic<int>> begun = std::make_shared<std::atomic<int>>(0);
    Count open = std::make_shared<std::atomic<int>>(0);
    Count closed = std::make_shared<std::atomic<int>>(0);
    int hang_for_ever = 0;  // so many openings

    SourceDoor::Opener opener() {
        return [=, *this](const SourceConfig&) -> std::unique_ptr<AudioSource> {
            if (++*begun <= hang_for_ever) gate->pass();
            return std::make_unique<Counted>(open, closed);
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
    ASSERT_TRUE(eventually([&] { return *device.closed == 1; })) << "the late one";
    EXPECT_EQ(*device.open, 1);
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

// Closes when the gate opens.
class Clinging : public Counted {
  public:
    Clinging(Count count, std::shared_ptr<Gate> gate) : Counted(std::move(count)), gate_(std::move(gate)) {}
    ~Clinging() override { gate_->pass(); }

  private:
    std::shared_ptr<Gate> gate_;
};

TEST(SourceDoor, CountsWhatComesLateAndIsNeverClosed) {
    const auto opening = std::make_shared<Gate>();
    const auto closing = std::make_shared<Gate>();
    const auto open = std::make_shared<std::atomic<int>>(0);
    SourceDoor door(
        [=](const SourceConfig&) {
            opening->pass();
            return std::make_unique<Clinging>(open, closing);
        },
        20ms);
    ASSERT_TRUE(eventually([&] {
        EXPECT_EQ(door.open({}, 10ms), nullptr);
        return door.hopeless();
    }));
    opening->open();
    ASSERT_TRUE(eventually([&] { return *open == 4; })) << "those left are there, and are being closed";
    auto source = door.open({}, 10s);
    ASSERT_NE(source, nullptr);
    door.close(std::move(source), 0ms);
    EXPECT_EQ(door.open({}, 0ms), nullptr);
    EXPECT_THAT(door.trouble(), testing::MatchesRegex("closing it has taken . s so far, 3 earlier attempts hang"));
    closing->open();
    EXPECT_TRUE(eventually([&] { return *open == 0; }));
}

TEST(SourceDoor, OpensAnewWhatIsNeverClosed) {
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
