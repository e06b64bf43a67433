// Label files: the CSV reader, and the manifest and species list of a data set.
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/csv.h"
#include "trainer/dataset.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    try {
        chorus::CsvReader reader(text);
        std::vector<std::string> fields;
        for (int line = 0; reader.next(fields); line = reader.line()) {
            if (fields.empty() || reader.line() <= line) std::abort();
        }
    } catch (const std::runtime_error&) {
    }
    try {
        chorus::parse_manifest(text, "/nowhere", 3.0);
    } catch (const std::runtime_error&) {
    }
    try {
        chorus::parse_species(text);
    } catch (const std::runtime_error&) {
    }
    return 0;
}
