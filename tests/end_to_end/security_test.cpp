// Who may come in, and what nobody may read, with the real chorusd and the demo's model.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/end_to_end/process.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

constexpr const char* kLiveSound = "launch = 'audiotestsrc is-live=true ! audio/x-raw,rate=16000'";

class Security : public testing::Test {
  protected:
    std::string make(const std::string& name, const std::string& text, mode_t mode = 0600) const {
        return folder_.make(name, text, mode);
    }
    std::string config(const std::string& source, const std::string& rest = "") const {
        return make("chorusd.toml",
                    fmt::format("[station]\nname = 'pond-7'\n[model]\nbundle = '{}'\n[publish]\nendpoint = "
                                "'tcp://127.0.0.1:*'\nstatus_seconds = 0.1\n[[source]]\nname = "
                                "'gate'\n{}\n[http]\nlisten = '127.0.0.1:0'\n[journal]\npath = "
                                "'{}'\n[replay]\nendpoint = 'tcp://127.0.0.1:*'\n{}\n",
                                STARTER_BUNDLE, source, (folder_ / "journal.db").string(), rest));
    }
    // Makes NAME.key and NAME.pub; the public key.
    std::string keygen(const std::string& name) const {
        const auto made = run_program({CHORUSD, "keygen", "--out", folder_ / name}, folder_.path());
        EXPECT_EQ(made.status, 0) << made.err;
        return made.out.substr(0, made.out.find('\n'));
    }
    Finished listen(const std::string& endpoint, const std::vector<std::string>& keys, const char* timeout) const {
        std::vector<std::string> command = {CHORUSD, "listen", endpoint, "--count", "1", "--timeout", timeout};
        command.insert(command.end(), keys.begin(), keys.end());
        return run_program(command, folder_.path());
    }

    TemporaryFolder folder_;
};

TEST_F(Security, KeygenNeverOverwritesAndKeepsItsSecret) {
    const auto public_key = keygen("station");
    EXPECT_EQ(public_key.size(), 40U);
    struct stat status {};
    ASSERT_EQ(stat((folder_ / "station.key").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U);
    std::stringstream secret;
    secret << std::ifstream(folder_ / "station.key").rdbuf();
    std::stringstream shown;
    shown << std::ifstream(folder_ / "station.pub").rdbuf();
    EXPECT_EQ(shown.str(), public_key + "\n");
    EXPECT_THAT(secret.str(), Not(HasSubstr(public_key)));

    const auto again = run_program({CHORUSD, "keygen", "--out", folder_ / "station"}, folder_.path());
    EXPECT_EQ(again.status, 1);
    EXPECT_THAT(again.err, HasSubstr("station.key: File exists"));
    std::stringstream kept;
    kept << std::ifstream(folder_ / "station.key").rdbuf();
    EXPECT_EQ(kept.str(), secret.str());

    fs::remove(folder_ / "station.key");
    EXPECT_EQ(run_program({CHORUSD, "keygen", "--out", folder_ / "station"}, folder_.path()).status, 1);
    EXPECT_FALSE(fs::exists(folder_ / "station.key")) << "half a pair";
    EXPECT_EQ(run_program({CHORUSD, "keygen", "--help"}, folder_.path()).status, 0);
    EXPECT_EQ(run_program({CHORUSD, "keygen", "station"}, folder_.path()).status, 2);
}

TEST_F(Security, OnlyAllowedKeysHearTheStation) {
    const auto station = keygen("station");
    const auto lab = keygen("lab");
    keygen("stranger");
    const auto allowed = make("allowed.keys", "# who may listen\n" + lab + " lab\n", 0644);
    const auto path = config(kLiveSound, fmt::format("[curve]\nsecret_key_file = '{}'\nallowed_keys_file = '{}'",
                                                     (folder_ / "station.key").string(), allowed));
    Process daemon({CHORUSD, "run", "--config", path}, folder_.path());
    const auto rest = daemon.wait_for_line("publishing on ", 60s);
    ASSERT_TRUE(rest) << daemon.err();
    const auto endpoint = rest->substr(0, rest->find(' '));
    EXPECT_THAT(*rest, HasSubstr(" to 1 allowed key"));

    const auto own = [&](const char* name) { return "--key-file=" + (folder_ / name).string(); };
    const auto heard = listen(endpoint, {"--server-key=" + station, own("lab.key")}, "60");
    EXPECT_EQ(heard.status, 0) << heard.err;
    EXPECT_THAT(heard.out, HasSubstr("chorus.status/1"));

    EXPECT_EQ(listen(endpoint, {"--server-key=" + station, own("stranger.key")}, "1").status, 1);
    EXPECT_EQ(listen(endpoint, {"--server-key=" + lab, own("lab.key")}, "1").status, 1) << "another server's key";
    EXPECT_EQ(listen(endpoint, {}, "1").status, 1) << "no keys";

    const auto replaying = daemon.wait_for_line("replaying on ", 60s);
    ASSERT_TRUE(replaying) << daemon.err();
    const auto replay = [&](const char* key, const char* timeout) {
        return run_program(
            {CHORUSD, "replay", *replaying, "--after", "0", "--timeout", timeout, "--server-key=" + station, own(key)},
            folder_.path());
    };
    EXPECT_EQ(replay("lab.key", "60").status, 0);
    EXPECT_EQ(replay("stranger.key", "1").status, 1);
    EXPECT_TRUE(daemon.wait_for_line("client(s) refused, the last from 127.0.0.1", 60s)) << daemon.err();

    EXPECT_EQ(listen(endpoint, {"--server-key=" + station}, "1").status, 2);
    EXPECT_EQ(listen(endpoint, {"--server-key=short", own("lab.key")}, "1").status, 2);
    chmod((folder_ / "lab.key").c_str(), 0644);
    const auto open = listen(endpoint, {"--server-key=" + station, own("lab.key")}, "1");
    EXPECT_EQ(open.status, 1);
    EXPECT_THAT(open.err, HasSubstr("chmod 600"));
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.wait(30s).value_or(Finished{}).status, 0);
}

TEST_F(Security, TheLoginOfAFailingStreamShowsNowhere) {
    const auto path = config(
        "rtsp = 'rtsp://frog:tadpole@127.0.0.1:1/pond?token=spawn'\n[[source]]\nname = 'other'\nrtsp = "
        "'rtsp://127.0.0.1:1/pond?token=spawn'\nrtsp_user = 'frog'\nrtsp_password_file = '" +
            make("password", "tadpole\n") + "'",
        "[log]\nlevel = 'trace'");
    Process daemon({CHORUSD, "run", "--config", path}, folder_.path());
    const auto rest = daemon.wait_for_line("publishing on ", 60s);
    ASSERT_TRUE(rest) << daemon.err();
    const auto port = daemon.wait_for_line("serving HTTP on 127.0.0.1:", 60s);
    ASSERT_TRUE(port);
    ASSERT_TRUE(daemon.wait_for_line("source gate: ", 60s)) << daemon.err();
    ASSERT_TRUE(daemon.wait_for_line("source other: ", 60s)) << daemon.err();

    std::string shown = daemon.err() + listen(*rest, {}, "60").out;
    for (const char* page : {"metrics", "healthz", "readyz"}) {
        const auto got =
            run_program({"curl", "--silent", fmt::format("http://127.0.0.1:{}/{}", *port, page)}, folder_.path());
        EXPECT_FALSE(got.out.empty());
        shown += got.out;
    }
    EXPECT_THAT(shown, HasSubstr("127.0.0.1")) << "the error itself is told";
    for (const char* secret : {"frog", "tadpole", "spawn"}) EXPECT_THAT(shown, Not(HasSubstr(secret)));
}

}  // namespace
}  // namespace chorus
