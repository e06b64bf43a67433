#pragma once
// A station's folders with sound and labels in them.

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/temporary_folder.h"
#include "tests/trainer/support.h"
#include "trainer/label_import.h"

namespace chorus {

class StationFolder {
  public:
    /// In a folder of its own, or in this one.
    explicit StationFolder(const std::filesystem::path& station = {})
        : folders_{.station = station.empty() ? own_.path() : station} {}

    const ImportFolders& folders() const { return folders_; }
    std::filesystem::path operator/(std::string_view name) const { return folders_.station / name; }

    /// Sound of its own: its name, or `content`, decides the samples.
    void add_sound(const std::string& name, double seconds = 3.0, int channels = 1, const std::string& content = {});
    void drop_sound(const std::string& name, double seconds = 3.0, int channels = 1) {
        add_sound("labels/inbox/" + name, seconds, channels);
    }
    /// A label file written after those before it.
    void drop(const std::string& name, std::string_view text);

    ImportReport import(ImportOptions options = {.test_share = 0.2,
                                                 .settling = std::chrono::seconds(0),
                                                 .patience = std::chrono::seconds(0)}) const {
        return import_labels(folders_, options);
    }

    /// Files below the station's folder, but for the lock.
    std::vector<std::string> files(const std::string& below = "") const;
    /// Their contents; of the history without its times.
    std::map<std::string, std::string> contents() const;
    /// The lines of labels.csv without the header, sound by its name alone: "NAME,0,3,A;B,,train,RECORDING".
    std::vector<std::string> labels() const;

  private:
    TemporaryFolder own_;
    ImportFolders folders_;
    std::filesystem::file_time_type written_ = std::filesystem::file_time_type::clock::now() - std::chrono::hours(24);
};

std::string text_of(const std::filesystem::path& path);

}  // namespace chorus
