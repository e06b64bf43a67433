#pragma once
// Ends a process at any step it takes on the disk, as a loss of power might.

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <stdexcept>

namespace chorus {

/// Whether a system call changes files or brings them to the disk.
inline bool changes_files(const __ptrace_syscall_info& call) {
    constexpr std::array kAlways = {SYS_pwrite64,        SYS_mkdirat,   SYS_renameat, SYS_renameat2, SYS_linkat,
                                    SYS_unlinkat,        SYS_ftruncate, SYS_fsync,    SYS_fdatasync, SYS_syncfs,
                                    SYS_copy_file_range, SYS_sendfile,
#ifdef SYS_rename
                                    SYS_rename,          SYS_link,      SYS_unlink,   SYS_mkdir,     SYS_rmdir,
#endif
                                    SYS_fchmodat};
    const auto number = static_cast<long>(call.entry.nr);
    if (number == SYS_write) return call.entry.args[0] > STDERR_FILENO;
    if (number == SYS_openat) return (call.entry.args[2] & (O_CREAT | O_TRUNC)) != 0;
    return std::find(kAlways.begin(), kAlways.end(), number) != kAlways.end();
}

/// Runs `work` in a process of its own and kills it (SIGKILL) as it sets out for its `steps`th such system call,
/// counted from 0. False when it had come to its end before. Throws std::runtime_error where processes can't be traced,
/// or when `work` throws.
inline bool killed_at_step(int steps, const std::function<void()>& work) {
    const pid_t child = fork();
    if (child < 0) throw std::runtime_error("cannot fork");
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(3);
        raise(SIGSTOP);
        try {
            work();
        } catch (...) {
            _exit(2);
        }
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSTOPPED(status)) ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    while (WIFSTOPPED(status)) {
        __ptrace_syscall_info call{};
        if (WSTOPSIG(status) == (SIGTRAP | 0x80) && ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(call), &call) > 0 &&
            call.op == PTRACE_SYSCALL_INFO_ENTRY && changes_files(call) && steps-- == 0) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return true;
        }
        ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
        waitpid(child, &status, 0);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        throw std::runtime_error(WIFEXITED(status) && WEXITSTATUS(status) == 3 ? "processes can't be traced here"
                                                                               : "the work failed");
    return false;
}

}  // namespace chorus
