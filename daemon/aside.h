#pragma once

#include <future>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "config/program.h"

namespace chorus {

/// Runs `work`, which may hang in a driver or on a network, on a thread of its own. Whoever no longer wants to wait
/// drops the future: the thread then ends by itself once the work does, and what that made is destroyed. So `work` must
/// own all that it uses. Throws std::system_error where no thread is to be had.
template <class Work>
std::future<std::invoke_result_t<Work&>> run_aside(std::string thread_name, Work work) {
    std::packaged_task<std::invoke_result_t<Work&>()> task(std::move(work));
    auto done = task.get_future();
    std::thread([name = std::move(thread_name), task = std::move(task)]() mutable {
        name_this_thread(name);
        task();
    }).detach();
    return done;
}

}  // namespace chorus
