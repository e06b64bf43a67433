#pragma once

#include <filesystem>

namespace chorus {

/// That only one process does something at a time. The kernel gives the lock back however its holder ends, so that a
/// file that a crash left behind holds nobody up; the process number in it is for people.
class RunLock {
  public:
    /// Throws std::runtime_error, naming the holder's process, where another has it, or where the file can't be made.
    explicit RunLock(const std::filesystem::path& path);
    ~RunLock();
    RunLock(const RunLock&) = delete;
    RunLock& operator=(const RunLock&) = delete;

  private:
    int file_;
};

}  // namespace chorus
