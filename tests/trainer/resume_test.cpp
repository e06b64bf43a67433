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

    pid_t start(std::vector<std::string> arguments) {
        std::vector<char*> pointers;
        arguments.insert(arguments.begin(), CHORUS_TRAIN);
        for (auto& argument : arguments) pointers.push_back(argument.data());
        pointers.push_back(nullptr);
        const auto log = (folder_ / "log").string();
        std::fflush(nullptr);
        const pid_t child = fork();
        if (child == 0) {
            if (std::freopen(log.c_str(), "a", stderr) == nullptr || std::freopen("/dev/null", "w", stdout) == nullptr)
                _exit(98);
            execv(CHORUS_TRAIN, pointers.data());
            _exit(99);
        }
        return child;
    }

    pid_t start_fit(const std::string& out, int epochs, bool resume = false) {
        std::vector<std::string> arguments = {
            "fit", "--dataset", folder_ / "dataset", "--out", folder_ / out, "--architecture", "small"};
        for (const auto* setting :
             {"front_end.hop=512", "front_end.mels=64", "training.batch=8", "training.checkpoint_seconds=0",
              "mixing.plain_epochs_first=0", "mixing.step_share=1"})
            arguments.insert(arguments.end(), {"--set", setting});
        arguments.insert(arguments.end(), {"--threads", "1", "--epochs", std::to_string(epochs)});
        if (resume) arguments.emplace_back("--resume");
        return start(arguments);
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
    const int status = wait_for(start_fit("unbroken.safetensors", 4));
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << bytes("log");

    int killed = 0;
    int stopped = 0;
    for (int run = 0; run < 8; ++run) {
        const auto child = start_fit("broken.safetensors", 4, true);
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

TEST_F(Resume, EndsARetrainingThatIsToldToAndLeavesTheModelAlone) {
    std::filesystem::create_directories(folder_ / "station/models");
    const auto first = wait_for(start_fit("station/models/first.safetensors", 1));
    ASSERT_TRUE(WIFEXITED(first) && WEXITSTATUS(first) == 0) << bytes("log");
    std::filesystem::create_symlink("first.safetensors", folder_ / "station/models/current");
    std::string labels = "file,start_s,end_s,codes,subset\n";
    for (int clip = 0; clip < 44; ++clip)
        labels += "POND_" + std::to_string(clip) + "_0_3.wav,,," + (clip % 2 == 0 ? "LOW" : "") +
                  (clip < 40 ? ",train\n" : ",test\n");
    std::filesystem::create_directories(folder_ / "station/dataset");
    std::filesystem::rename(folder_ / "dataset/audio", folder_ / "station/dataset/audio");
    write_text(folder_ / "station/dataset/labels.csv", labels);
    const auto start_retrain = [&](int epochs) {
        return start({"retrain", "--threads", "1", "--set", "retrain.station=" + (folder_ / "station").string(),
                      "--set", "retrain.scope=full", "--set", "training.checkpoint_seconds=0", "--set",
                      "training.batch=8", "--set", "training.epochs=" + std::to_string(epochs)});
    };
    const std::string checkpoint = "station/models/retraining/candidate.safetensors";
    for (const int signal : {SIGTERM, SIGKILL}) {
        const auto child = start_retrain(1000);
        ASSERT_TRUE(wait_for_checkpoints(child, checkpoint, 2)) << bytes("log");
        kill(child, signal);
        const int outcome = wait_for(child);
        EXPECT_EQ(signal == SIGKILL ? WIFSIGNALED(outcome) : WIFEXITED(outcome) && WEXITSTATUS(outcome) == 3, true);
        EXPECT_EQ(std::filesystem::read_symlink(folder_ / "station/models/current"), "first.safetensors");
        EXPECT_FALSE(std::filesystem::exists(folder_ / "station/models/history.jsonl"));
        EXPECT_TRUE(std::filesystem::exists(folder_ / (checkpoint + ".checkpoint")));
    }
    const int outcome = wait_for(start_retrain(1));
    EXPECT_TRUE(WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0) << bytes("log");
    EXPECT_THAT(bytes("log"), testing::HasSubstr("of a training with other options or data; the training begins at"));
    EXPECT_FALSE(bytes("station/models/history.jsonl").empty());
}

}  // namespace
}  // namespace chorus
