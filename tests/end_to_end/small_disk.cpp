#include "tests/end_to_end/small_disk.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>

#include "tests/end_to_end/process.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
constexpr const char* kSize = "8M";  // ext4 makes none much smaller

}  // namespace

SmallDisk::SmallDisk(Kind kind, const fs::path& folder)
    : kind_(kind), folder_(folder), image_(folder.string() + ".image") {
    if (geteuid() != 0) throw std::runtime_error("only root may mount");
    fs::create_directories(folder_);
    if (kind_ == Kind::kExt4) {
        run({"truncate", "--size", kSize, image_});
        run({"mkfs.ext4", "-q", "-O", "^has_journal", image_});
    }
    mount();
}

SmallDisk::~SmallDisk() {
    try {
        unmount();
        fs::remove(image_);
    } catch (const std::exception&) {
        // The test's folder stays; the test has failed already or has no daemon left that writes there.
    }
}

// What a command says lies beside the disk, in a folder of this test alone.
std::string SmallDisk::run(const std::vector<std::string>& command) const {
    const auto finished = run_program(command, folder_.parent_path());
    if (finished.status != 0) throw std::runtime_error(fmt::format("{}: {}", command[0], finished.err));
    return finished.out;
}

void SmallDisk::mount() const {
    if (kind_ == Kind::kMemory) {
        run({"mount", "-t", "tmpfs", "-o", fmt::format("size={}", kSize), "chorus-test", folder_});
    } else {
        run({"mount", "-o", "loop,errors=remount-ro", image_, folder_});
    }
}

void SmallDisk::unmount() const {
    run({"umount", folder_});
}

void SmallDisk::fill() {
    std::ofstream ballast(folder_ / "ballast", std::ios::app);
    for (const std::size_t size : {std::size_t{65536}, std::size_t{1}}) {
        const std::string bytes(size, 'x');
        while (ballast.write(bytes.data(), static_cast<std::streamsize>(size)).flush()) {
        }
        ballast.clear();
    }
}

void SmallDisk::make_room() {
    fs::remove(folder_ / "ballast");
}

void SmallDisk::turn_read_only() {
    auto device = fs::path(run({"findmnt", "--noheadings", "--output", "SOURCE", folder_})).filename().string();
    device.erase(device.find_last_not_of('\n') + 1);
    std::ofstream trigger(fs::path("/sys/fs/ext4") / device / "trigger_fs_error");
    if (!(trigger << "1" << std::flush)) throw std::runtime_error("the kernel offers no trigger_fs_error");
}

void SmallDisk::set_read_only(bool read_only) {
    run({"mount", "-o", read_only ? "remount,ro" : "remount,rw", folder_});
}

void SmallDisk::repair() {
    unmount();
    const auto finished = run_program({"e2fsck", "-f", "-y", image_}, folder_.parent_path());
    if (finished.status > 1) throw std::runtime_error("e2fsck: " + finished.out);  // 1: repaired
    mount();
}

std::unique_ptr<SmallDisk> small_disk(const fs::path& folder) {
    try {
        return std::make_unique<SmallDisk>(SmallDisk::Kind::kMemory, folder);
    } catch (const std::runtime_error&) {
        return nullptr;
    }
}

}  // namespace chorus
