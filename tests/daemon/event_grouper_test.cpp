#include "daemon/event_grouper.h"

#include <gmock/gmock.h>

#include <random>
#include <set>

namespace chorus {
namespace {

constexpr int kRate = 1000;

Event event_at(int channel, double start_s, double end_s, const std::string& code = "FROG") {
    Event event;
    event.station = "st";
    event.source = "array";
    event.channel = channel;
    event.code = code;
    event.sample_rate_hz = kRate;
    event.start_sample = std::llround(start_s * kRate);
    event.end_sample = std::llround(end_s * kRate);
    event.peak_score = 0.5F;
    return event;
}

Event with_utc(Event event, double offset_s) {
    const auto time = [&](std::int64_t sample) {
        return UtcTime(std::chrono::microseconds(sample * 1000 + std::llround(offset_s * 1e6)));
    };
    event.start = time(event.start_sample);
    event.end = time(event.end_sample);
    return event;
}

class Groups : public testing::Test {
  protected:
    /// Opens and closes it; the group it was given.
    std::string whole(Event event) {
        opened(event);
        event.phase = EventPhase::kClose;
        grouper_.assign(event);
        return event.group->id;
    }
    std::string opened(Event event) {
        joined_ = grouper_.assign(event);
        return event.group->id;
    }
    EventGrouper grouper_{2.0, 10.0};
    bool joined_ = false;
};

TEST_F(Groups, DoNotReachAcrossASourcesRenewal) {
    const auto first = event_at(0, 10, 13);
    whole(first);
    auto renewed = event_at(1, 10, 13);  // an hour later, say: a reload began the index anew
    renewed.slot = 1;
    EXPECT_NE(whole(renewed), event_id(first));
    auto dated = with_utc(event_at(2, 500, 503), 0);
    EXPECT_EQ(whole(dated), event_id(dated));
    auto renewed_at_once = with_utc(event_at(3, 1, 2), 503);
    renewed_at_once.slot = 1;
    EXPECT_EQ(whole(renewed_at_once), event_id(dated)) << "by UTC";
}

TEST_F(Groups, TakeInTheSameCallOnOtherChannels) {
    const auto first = event_at(0, 10, 13);
    EXPECT_EQ(opened(first), event_id(first));
    EXPECT_FALSE(joined_);
    EXPECT_EQ(whole(event_at(1, 10.5, 13.5)), event_id(first));
    EXPECT_TRUE(joined_);
    EXPECT_EQ(whole(event_at(2, 9, 12)), event_id(first)) << "one that began earlier and was found later";
    EXPECT_NE(whole(event_at(3, 10, 13, "TOAD")), event_id(first)) << "another class";
}

TEST_F(Groups, KeepAChannelsOwnEventsApart) {
    const auto first = event_at(0, 0, 3);
    whole(first);
    EXPECT_NE(whole(event_at(0, 4, 7)), event_id(first));
    EXPECT_FALSE(joined_);
}

TEST_F(Groups, ReachAsFarAsTheTolerance) {
    const auto first = event_at(0, 10, 13);
    whole(first);
    EXPECT_EQ(whole(event_at(1, 15.0, 18)), event_id(first));
    EXPECT_NE(whole(event_at(1, 15.001, 18)), event_id(first));
    const auto later = event_at(0, 30, 33);
    whole(later);
    EXPECT_EQ(whole(event_at(1, 25, 28)), event_id(later));
    EXPECT_NE(whole(event_at(2, 24.5, 27.999)), event_id(later));
}

TEST_F(Groups, LastAsLongAsTheirFirstEventAndDoNotChain) {
    const auto first = event_at(0, 0, 3);
    whole(first);
    EXPECT_EQ(whole(event_at(1, 4, 20)), event_id(first));
    EXPECT_NE(whole(event_at(2, 19, 22)), event_id(first)) << "near the second event, far from the first";
}

TEST_F(Groups, TakeAnOpenEventToLastUntilItsNextUpdate) {
    auto first = event_at(0, 0, 3);
    opened(first);
    EXPECT_EQ(whole(event_at(1, 12, 15)), event_id(first)) << "it may have grown by 10 s unsaid";
    EXPECT_NE(whole(event_at(2, 15.5, 18)), event_id(first));
    first.phase = EventPhase::kUpdate;
    first.end_sample = 13 * kRate;
    opened(first);
    EXPECT_EQ(whole(event_at(3, 25, 28)), event_id(first));
    first.phase = EventPhase::kClose;
    opened(first);
    EXPECT_NE(whole(event_at(4, 15.5, 18)), event_id(first));
}

TEST_F(Groups, TellTheStrongestSoFar) {
    auto first = event_at(0, 0, 3);
    grouper_.assign(first);
    auto second = event_at(1, 0, 3);
    second.peak_score = 0.9F;
    grouper_.assign(second);
    EXPECT_EQ(second.group, (EventGroup{event_id(first), event_id(second)}));
    auto third = event_at(2, 0, 3);
    third.peak_score = 0.6F;
    grouper_.assign(third);
    EXPECT_EQ(third.group->strongest, event_id(second));
    first.phase = EventPhase::kClose;
    first.peak_score = 0.95F;
    grouper_.assign(first);
    EXPECT_EQ(first.group, (EventGroup{event_id(first), event_id(first)}));
}

TEST_F(Groups, CompareSourcesByUtcOrNotAtAll) {
    auto other = event_at(0, 500, 503);
    other.source = "gate";
    other.slot = 1;
    const auto first = with_utc(event_at(0, 10, 13), 1000);
    whole(first);
    EXPECT_EQ(whole(with_utc(other, 511)), event_id(first));
    EXPECT_NE(whole(with_utc(other, 600)), event_id(first));
    EXPECT_FALSE(joined_);
    EXPECT_NE(whole(other), event_id(first));
    auto faster = event_at(1, 10, 13);
    faster.sample_rate_hz = 2 * kRate;
    EXPECT_NE(whole(faster), event_id(first)) << "a source that changed its rate counts its samples differently";
}

TEST_F(Groups, ForgetTheOldestOfManyButNeverOneWithAnOpenEvent) {
    const auto open = event_at(0, 0, 3);
    opened(open);
    const auto old = event_at(0, 100, 103, "FROG");
    whole(old);
    for (int i = 0; i < 1000; ++i) whole(event_at(0, 1000 + 100 * i, 1003 + 100 * i));
    EXPECT_NE(whole(event_at(1, 100, 103)), event_id(old));
    auto closing = open;
    closing.phase = EventPhase::kClose;
    grouper_.assign(closing);
    EXPECT_EQ(closing.group->id, event_id(open));
}

// Whatever comes, an event keeps its group, a group is named after its first event, and no group has only one channel
// twice unless another channel's event is its first.
TEST(EventGrouper, KeepsItsContractForRandomEvents) {
    std::mt19937 random(5);
    EventGrouper grouper(1.0, 10.0);
    std::map<std::string, EventGroup> of_event;
    std::map<std::string, int> first_channel;
    std::vector<Event> open;
    for (int step = 0; step < 5000; ++step) {
        if (open.size() > 20 || (!open.empty() && random() % 2 == 0)) {
            const auto at = static_cast<std::ptrdiff_t>(random() % open.size());
            Event& event = open[static_cast<std::size_t>(at)];
            event.end_sample += static_cast<std::int64_t>(random() % 5000);
            event.peak_score = std::min(1.0F, event.peak_score + 0.1F);
            event.phase = random() % 2 == 0 ? EventPhase::kUpdate : EventPhase::kClose;
            EXPECT_FALSE(grouper.assign(event));
            EXPECT_EQ(event.group->id, of_event.at(event_id(event)).id);
            if (event.phase == EventPhase::kClose) open.erase(open.begin() + at);
            continue;
        }
        const double start = 0.5 * step + static_cast<double>(random() % 100) / 100;
        Event event = event_at(static_cast<int>(random() % 4), start, start + 3);
        const bool joined = grouper.assign(event);
        const auto id = event_id(event);
        EXPECT_EQ(joined, event.group->id != id);
        if (joined) {
            EXPECT_NE(first_channel.at(event.group->id), event.channel);
        } else {
            first_channel[id] = event.channel;
        }
        EXPECT_TRUE(of_event.emplace(id, *event.group).second || !joined);
        open.push_back(event);
    }
}

}  // namespace
}  // namespace chorus
