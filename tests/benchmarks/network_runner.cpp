// Drives the project's networks for tests/benchmarks/peers.py.
//   network_runner make large|small CLASSES HOP BUNDLE   writes a bundle of known weights
//   network_runner run BUNDLE WINDOWS                    WINDOWS: float32 [n, mels, frames], n windows to score
// `run` answers each line "own|bfloat16|libtorch BATCH THREADS" on stdin with the milliseconds that one batch took, and
// "scores" with those of the last batch.

#include <fmt/format.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>

#include "model/bundle.h"
#include "model/classifier.h"
#include "tests/model/formula_weights.h"

namespace chorus {
namespace {

void make(const std::string& size, int classes, int hop, const std::string& path) {
    Bundle bundle;
    bundle.architecture = size == "small" ? Architecture::kMobileNetV3Small : Architecture::kMobileNetV3Large;
    bundle.front_end.hop = hop;
    for (int i = 0; i < classes; ++i) bundle.labels.push_back({.code = fmt::format("C{}", i), .name = {}, .group = {}});
    bundle.thresholds.assign(bundle.labels.size(), 0.5F);
    bundle.tensors = formula_weights(bundle.architecture, classes);
    write_bundle(path, bundle);
}

void run(const std::string& bundle_path, const std::string& windows_path) {
    const auto bundle = read_bundle(bundle_path);
    const auto size = bundle.front_end.feature_size();
    std::vector<float> values;
    std::ifstream file(windows_path, std::ios::binary);
    for (float value = 0; file.read(reinterpret_cast<char*>(&value), sizeof value);) values.push_back(value);
    std::vector<std::span<const float>> windows;
    for (std::size_t at = 0; at + size <= values.size(); at += size) {
        windows.push_back(std::span<const float>(values).subspan(at, size));
    }

    std::map<std::string, std::unique_ptr<Classifier>> classifiers;
    std::vector<float> scores;
    for (std::string line; std::getline(std::cin, line);) {
        if (line == "scores") {
            std::cout << fmt::format("{}", fmt::join(scores, " ")) << std::endl;
            continue;
        }
        std::istringstream words(line);
        std::string engine;
        std::size_t batch = 0;
        int threads = 0;
        if (!(words >> engine >> batch >> threads) || batch > windows.size()) {
            throw std::runtime_error("can't do \"" + line + "\"");
        }
        auto& classifier = classifiers[fmt::format("{} {} {}", engine, batch, threads)];
        if (!classifier) {
            classifier = engine == "libtorch"
                             ? make_torch_classifier(
                                   bundle, {.device = "cpu", .threads = threads, .max_batch = static_cast<int>(batch)})
                             : make_cpu_classifier(bundle, threads, precision_of(engine).value_or(Precision::kFloat32));
        }
        scores.resize(batch * classifier->classes());
        const auto start = std::chrono::steady_clock::now();
        classifier->score(std::span(windows).first(batch), scores);
        const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
        std::cout << took.count() << std::endl;
    }
}

}  // namespace
}  // namespace chorus

int main(int argc, char** argv) try {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.size() == 5 && words[0] == "make") {
        chorus::make(words[1], std::stoi(words[2]), std::stoi(words[3]), words[4]);
    } else if (words.size() == 3 && words[0] == "run") {
        chorus::run(words[1], words[2]);
    } else {
        std::cerr << "usage: network_runner make large|small CLASSES HOP BUNDLE | run BUNDLE WINDOWS\n";
        return 2;
    }
    return 0;
} catch (const std::exception& error) {
    std::cerr << "network_runner: " << error.what() << '\n';
    return 1;
}
