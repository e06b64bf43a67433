#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace chorus {

struct Finished {
    int status = -1;  // exit status, or 128 + signal
    std::string out;
    std::string err;
};

/// A program of the build, running. Ended by its destructor if it hasn't by itself.
class Process {
  public:
    /// Its output goes to files in `folder`.
    Process(std::vector<std::string> command, const std::filesystem::path& folder);
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    void signal(int number) const;
    pid_t pid() const { return pid_; }
    /// What it has written to stderr so far.
    std::string err() const;
    std::string out() const;
    /// Waits for `text` on stderr; empty when it doesn't come in time or the process ends. Returns the line's rest.
    std::optional<std::string> wait_for_line(const std::string& text, std::chrono::seconds timeout);
    /// Nothing when it still runs after `timeout`.
    std::optional<Finished> wait(std::chrono::milliseconds timeout);

  private:
    std::filesystem::path out_path_;
    std::filesystem::path err_path_;
    int pid_ = -1;
    std::optional<int> status_;
};

/// Runs a program to its end; a test fails if that takes more than `timeout`.
Finished run_program(const std::vector<std::string>& command, const std::filesystem::path& folder,
                     std::chrono::seconds timeout = std::chrono::seconds(120));

}  // namespace chorus
