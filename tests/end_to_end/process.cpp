#include "tests/end_to_end/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <fstream>
#include <sstream>
#include <thread>

extern char** environ;

namespace chorus {
namespace {

using namespace std::chrono_literals;

std::string contents(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

}  // namespace

Process::Process(std::vector<std::string> command, const std::filesystem::path& folder) {
    static int number = 0;
    out_path_ = folder / ("out." + std::to_string(++number));
    err_path_ = folder / ("err." + std::to_string(number));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, err_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    std::vector<char*> arguments;
    for (auto& argument : command) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    const int error = posix_spawnp(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("cannot start " + command[0]);
}

Process::~Process() {
    if (!status_) {
        signal(SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
}

void Process::signal(int number) const {
    kill(pid_, number);
}
std::string Process::err() const {
    return contents(err_path_);
}
std::string Process::out() const {
    return contents(out_path_);
}

std::optional<std::string> Process::wait_for_line(const std::string& text, std::chrono::seconds timeout) {
    const auto until = std::chrono::steady_clock::now() + timeout;
    while (std::chrono::steady_clock::now() < until) {
        const bool ended = wait(0ms).has_value();
        const auto all = err();
        const auto at = all.find(text);
        if (at != std::string::npos && all.find('\n', at) != std::string::npos) {
            const auto from = at + text.size();
            return all.substr(from, all.find('\n', from) - from);
        }
        if (ended) break;
        std::this_thread::sleep_for(10ms);
    }
    return std::nullopt;
}

std::optional<Finished> Process::wait(std::chrono::milliseconds timeout) {
    const auto until = std::chrono::steady_clock::now() + timeout;
    while (!status_) {
        int status = 0;
        if (waitpid(pid_, &status, WNOHANG) == pid_) {
            status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        } else if (std::chrono::steady_clock::now() >= until) {
            return std::nullopt;
        } else {
            std::this_thread::sleep_for(5ms);
        }
    }
    return Finished{*status_, out(), err()};
}

Finished run_program(const std::vector<std::string>& command, const std::filesystem::path& folder,
                     std::chrono::seconds timeout) {
    Process process(command, folder);
    auto finished = process.wait(timeout);
    if (!finished) {
        ADD_FAILURE() << command[0] << " did not end within " << timeout.count() << " s";
        return {};
    }
    return *finished;
}

}  // namespace chorus
