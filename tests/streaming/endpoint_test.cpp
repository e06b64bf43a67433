#include "streaming/endpoint.h"

#include <gtest/gtest.h>

namespace chorus {
namespace {

TEST(HostPort, IsReadWhole) {
    const auto parsed = parse_host_port("192.168.1.7:7740");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->host, "192.168.1.7");
    EXPECT_EQ(parsed->port, 7740);
    EXPECT_EQ(parse_host_port("[2001:db8::1]:0")->host, "[2001:db8::1]");
    EXPECT_EQ(parse_host_port("station.local:65535")->port, 65'535);
    EXPECT_EQ(parse_host_port("*:*")->port, 0);
    EXPECT_EQ(parse_tcp_endpoint("tcp://127.0.0.1:*")->host, "127.0.0.1");
    EXPECT_FALSE(parse_tcp_endpoint("ipc:///run/chorus.sock"));
}

TEST(HostPort, IsRefusedWhenAnythingIsWrongWithIt) {
    for (const char* text : {"",
                             ":",
                             ":1",
                             "127.0.0.1",
                             "127.0.0.1:",
                             "127.0.0.1:65536",
                             "127.0.0.1:-1",
                             "127.0.0.1:+1",
                             "127.0.0.1: 1",
                             "127.0.0.1:1s",
                             "127.0.0.1:99999999999999999999",
                             "127.0.0.1:1,0.0.0.0:2",
                             "::1:1",
                             "[::1:1",
                             "[]:1",
                             "[x]:1",
                             "a b:1",
                             "127.0.0.1:1\n",
                             "**:1",
                             "eth0;127.0.0.1:1"}) {
        EXPECT_FALSE(parse_host_port(text)) << text;
    }
    EXPECT_FALSE(parse_host_port(std::string(100'000, 'a') + ":1"));
    EXPECT_FALSE(parse_host_port(std::string("127.0.0.1\0:1", 12)));
}

TEST(HostPort, TellsLoopbackFromTheRest) {
    for (const char* text : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[0:0:0:0:0:0:0:1]:1"}) {
        EXPECT_TRUE(parse_host_port(text)->is_loopback()) << text;
        EXPECT_TRUE(parse_host_port(text)->is_address()) << text;
    }
    for (const char* text : {"0.0.0.0:1", "*:1", "10.0.0.1:1", "[::]:1", "[::ffff:127.0.0.1]:1"}) {
        EXPECT_FALSE(parse_host_port(text)->is_loopback()) << text;
        EXPECT_TRUE(parse_host_port(text)->is_address()) << text;
    }
    for (const char* text : {"localhost:1", "127.0.0.1.example.org:1", "127.1:1", "127.example:1"}) {
        EXPECT_FALSE(parse_host_port(text)->is_loopback()) << text;
        EXPECT_FALSE(parse_host_port(text)->is_address()) << text;
    }
}

}  // namespace
}  // namespace chorus
