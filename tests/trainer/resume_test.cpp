// A training that is killed or told to end, and goes on.

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "tests/trainer/support.h"

namespace chorus {
namespace {

using std::chrono::milliseconds;

class Resume : public testing::Test {
  protected:
    Resume() {
        setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
        setenv("OMP_WAIT_POLICY", "passive", 1);  // which the program would start over for
        write_tone_dataset(folder_ / "dataset", 40, 4);
    }

    pid_t start(const std::string& out, bool resume) {
        const auto dataset = (folder_ / "dataset").string();
        const auto path = (folder_ / out).string();
        std::vector<const char*> arguments = {
            CHORUS_TRAIN, "fit",        "--dataset",      dataset.c_str(),
            "--out",      path.c_str(), "--architecture", "small",
            "--hop",      "512",        "--mels",         "32",
            "--epochs",   "4",          "--batch",        "8",
            "--threads",  "1",          "--set",          "training.checkpoint_seconds=0"};
        if (resume) arguments.push_back("--resume");
        arguments.push_back(nullptr);
        const auto log = (folder_ / "log").string();
        std::fflush(nullptr);
        const pid_t child = fork();
        if (child == 0) {
            if (std::freopen(log.c_str(), "a", stderr) == nullptr || std::freopen("/dev/null", "w", stdout) == nullptr)
                _exit(98);
            execv(CHORUS_TRAIN, const_cast<char**>(arguments.data()));
            _exit(99);
        }
        return child;
    }

    static int wait_for(pid_t child) {
        int status = 0;
        waitpid(child, &status, 0);
        return status;
    }

    std::string bytes(const std::string& name) {
        std::ifstream file(folder_ / name, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    /// Until the checkpoint has been written so many times more, or the program has ended.
    bool wait_for_checkpoints(pid_t child, const std::string& out, int count) {
        const auto checkpoint = folder_ / (out + ".checkpoint");
        std::filesystem::file_time_type last{};
        while (count > 0) {
            siginfo_t ended{};
            if (waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0)
                return false;
            std::error_code error;
            const auto time = std::filesystem::last_write_time(checkpoint, error);
            if (!error && time != last) {
                if (last != std::filesystem::file_time_type{} || count == 1) --count;
                last = time;
            }
            std::this_thread::sleep_for(milliseconds(1));
        }
        return true;
    }

    TemporaryFolder folder_;
};

TEST_F(Resume, GivesTheSameBytesAfterBeingKilledAndToldToEnd) {
    const int status = wait_for(start("unbroken.safetensors", false));
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << bytes("log");

    int killed = 0;
    int stopped = 0;
    for (int run = 0; run < 8; ++run) {
        const auto child = start("broken.safetensors", true);
        const bool running = run < 4 && wait_for_checkpoints(child, "broken.safetensors", 2 + run % 3);
        if (running) kill(child, run % 2 == 0 ? SIGKILL : SIGTERM);
        const int outcome = wait_for(child);
        if (WIFSIGNALED(outcome)) {
            EXPECT_EQ(WTERMSIG(outcome), SIGKILL);
            ++killed;
        } else if (WEXITSTATUS(outcome) == 3) {
            ++stopped;
        } else {
            ASSERT_EQ(WEXITSTATUS(outcome), 0) << bytes("log");
            break;
        }
        EXPECT_TRUE(std::filesystem::exists(folder_ / "broken.safetensors.checkpoint"));
    }
    EXPECT_GE(killed, 1);
    EXPECT_GE(stopped, 1);
    EXPECT_FALSE(bytes("broken.safetensors").empty());
    EXPECT_TRUE(bytes("broken.safetensors") == bytes("unbroken.safetensors"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "broken.safetensors.checkpoint"));
}

}  // namespace
}  // namespace chorus
