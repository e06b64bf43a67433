// CURVE and its allow-list over real sockets.
#include "streaming/messaging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <zmq.hpp>

#include "streaming/publisher.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 10s;

/// A station whose allow-list holds one client.
struct Station {
    CurveKeyPair server = make_curve_key_pair();
    CurveKeyPair friendly = make_curve_key_pair();
    std::atomic<int> refused{0};
    Messaging messaging{CurveServer{.keys = server, .allowed = {{friendly.public_key, "friend"}}},
                        [this] { ++refused; }};
    Publisher publisher{messaging, "tcp://127.0.0.1:0"};

    CurveClient friend_keys() const { return {.server_key = server.public_key, .keys = friendly}; }
};

// Whether messages sent by `send` reach the subscriber; what goes before its subscription is not for it.
bool hears(Subscriber& subscriber, const std::function<void()>& send) {
    Message message;
    for (const auto deadline = std::chrono::steady_clock::now() + kPatience;
         std::chrono::steady_clock::now() < deadline;) {
        send();
        if (subscriber.receive(message, 20ms)) return true;
    }
    return false;
}

/// A SUB socket that tells when its connection was turned away.
class Stranger {
  public:
    Stranger(const std::string& endpoint, const std::optional<CurveClient>& keys) {
        zmq_socket_monitor(sub_.handle(), "inproc://stranger", kTurnedAway);
        monitor_.connect("inproc://stranger");
        monitor_.set(zmq::sockopt::rcvtimeo, 10'000);
        if (keys) use_curve_client(sub_, *keys);
        sub_.set(zmq::sockopt::linger, 0);
        sub_.set(zmq::sockopt::subscribe, "");
        sub_.connect(endpoint);
    }
    ~Stranger() { zmq_socket_monitor(sub_.handle(), nullptr, 0); }
    Stranger(const Stranger&) = delete;
    Stranger& operator=(const Stranger&) = delete;

    bool is_turned_away() {
        zmq::message_t event;
        return monitor_.recv(event).has_value();
    }
    bool heard_anything() {
        zmq::message_t frame;
        return sub_.recv(frame, zmq::recv_flags::dontwait).has_value();
    }

  private:
    static constexpr int kTurnedAway = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    zmq::context_t context_;
    zmq::socket_t sub_{context_, zmq::socket_type::sub};
    zmq::socket_t monitor_{context_, zmq::socket_type::pair};
};

// The stranger's connection is turned away, and it hears nothing of what an allowed subscriber hears.
void expect_turned_away(Station& station, const std::optional<CurveClient>& keys) {
    Stranger stranger(station.publisher.endpoint(), keys);
    Subscriber allowed(station.publisher.endpoint(), "", station.friend_keys());
    ASSERT_TRUE(stranger.is_turned_away());
    ASSERT_TRUE(hears(allowed, [&] { station.publisher.send({"event", "secret"}); }));
    for (int i = 0; i < 100; ++i) station.publisher.send({"event", "secret"});
    Message message;
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(allowed.receive(message, kPatience));
    EXPECT_FALSE(stranger.heard_anything());
}

TEST(Messaging, LetsAnAllowedClientIn) {
    Station station;
    Subscriber subscriber(station.publisher.endpoint(), "event.", station.friend_keys());
    EXPECT_TRUE(hears(subscriber, [&] { station.publisher.send({"event.a", "body"}); }));
    EXPECT_EQ(station.refused, 0);
}

TEST(Messaging, TurnsAwayAClientWithAnUnknownKeyAndCountsIt) {
    Station station;
    expect_turned_away(station, CurveClient{station.server.public_key, make_curve_key_pair()});
    EXPECT_GE(station.refused, 1);
}

TEST(Messaging, TurnsAwayAClientWithoutKeys) {
    Station station;
    expect_turned_away(station, std::nullopt);
}

TEST(Messaging, GivesNothingToAClientThatExpectsAnotherServer) {
    Station station;
    expect_turned_away(station, CurveClient{make_curve_key_pair().public_key, station.friendly});
}

TEST(Messaging, LetsNobodyInWithAnEmptyAllowList) {
    const auto server = make_curve_key_pair();
    std::atomic<int> refused{0};
    Messaging messaging(CurveServer{.keys = server, .allowed = {}}, [&] { ++refused; });
    Publisher publisher(messaging, "tcp://127.0.0.1:0");
    Stranger stranger(publisher.endpoint(), CurveClient{server.public_key, make_curve_key_pair()});
    EXPECT_TRUE(stranger.is_turned_away());
    EXPECT_GE(refused, 1);
}

TEST(Messaging, GuardsEverySocketThatItSecures) {
    Station station;
    zmq::socket_t router(station.messaging.context(), zmq::socket_type::router);
    router.set(zmq::sockopt::linger, 0);
    router.set(zmq::sockopt::rcvtimeo, 10'000);
    station.messaging.secure(router);
    router.bind("tcp://127.0.0.1:*");

    zmq::context_t context;
    zmq::socket_t friendly(context, zmq::socket_type::dealer);
    zmq::socket_t stranger(context, zmq::socket_type::dealer);
    for (auto* client : {&stranger, &friendly}) client->set(zmq::sockopt::linger, 0);
    use_curve_client(friendly, station.friend_keys());
    use_curve_client(stranger, {station.server.public_key, make_curve_key_pair()});
    stranger.connect(router.get(zmq::sockopt::last_endpoint));
    stranger.send(zmq::str_buffer("stranger"));
    friendly.connect(router.get(zmq::sockopt::last_endpoint));
    friendly.send(zmq::str_buffer("friend"));

    zmq::message_t identity;
    zmq::message_t request;
    ASSERT_TRUE(router.recv(identity) && router.recv(request));
    EXPECT_EQ(request.to_string(), "friend");
    for (const auto deadline = std::chrono::steady_clock::now() + kPatience; station.refused == 0;) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline);
        std::this_thread::yield();
    }
    EXPECT_FALSE(router.recv(identity, zmq::recv_flags::dontwait)) << "from the stranger";
}

TEST(Messaging, WithoutKeysLetsInWhoeverReachesIt) {
    Messaging messaging;
    Publisher publisher(messaging, "tcp://127.0.0.1:0");
    Subscriber subscriber(publisher.endpoint(), "");
    EXPECT_TRUE(hears(subscriber, [&] { publisher.send({"event", "body"}); }));
}

}  // namespace
}  // namespace chorus
