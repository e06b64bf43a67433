#include "trainer/run_lock.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "tests/temporary_folder.h"

namespace chorus {
namespace {

TEST(RunLock, NamesTheProcessThatHoldsIt) {
    const TemporaryFolder folder;
    const RunLock held(folder / "lock");
    EXPECT_THAT([&] { const RunLock second(folder / "lock"); },
                testing::ThrowsMessage<std::runtime_error>(
                    testing::HasSubstr("lock: held by process " + std::to_string(getpid()) + ", which still runs")));
}

TEST(RunLock, SeesThroughAFileThatADeadProcessLeft) {
    const TemporaryFolder folder;
    const pid_t child = fork();
    if (child == 0) {
        const RunLock held(folder / "lock");
        _exit(0);  // without giving it back
    }
    waitpid(child, nullptr, 0);
    EXPECT_TRUE(std::filesystem::exists(folder / "lock"));
    EXPECT_NO_THROW(const RunLock mine(folder / "lock"));
    EXPECT_NO_THROW(const RunLock again(folder / "lock"));
}

TEST(RunLock, SaysWhyThereCanBeNone) {
    const TemporaryFolder folder;
    EXPECT_THAT([&] { const RunLock lock(folder / "none/lock"); },
                testing::ThrowsMessage<std::runtime_error>(testing::HasSubstr("none/lock: No such file")));
}

}  // namespace
}  // namespace chorus
