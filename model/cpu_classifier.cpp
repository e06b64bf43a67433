#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <thread>
#include <vector>

#include "model/classifier.h"
#include "model/scoring_network.h"

namespace chorus {
namespace {

class CpuClassifier final : public Classifier {
  public:
    CpuClassifier(std::shared_ptr<const ScoringNetwork> network, int threads) : network_(std::move(network)) {
        for (int i = 0; i < threads; ++i) scratches_.emplace_back(*network_);
    }

    void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
        if (scores.size() != windows.size() * classes()) throw std::invalid_argument("no room for the scores");
        for (const auto& window : windows) {
            if (window.size() != network_->window_size()) {
                throw std::invalid_argument("a window does not have the network's size");
            }
        }
        const auto score_part = [&](std::size_t part, std::size_t parts) {
            const auto end = windows.size() * (part + 1) / parts;
            for (auto i = windows.size() * part / parts; i < end; ++i) {
                network_->score(windows[i], scores.subspan(i * classes(), classes()), scratches_[part]);
            }
        };
        const auto parts = std::min(scratches_.size(), windows.size());
        std::vector<std::jthread> helpers;
        for (std::size_t part = 1; part < parts; ++part) helpers.emplace_back(score_part, part, parts);
        if (parts > 0) score_part(0, parts);
    }

    std::size_t classes() const override { return static_cast<std::size_t>(network_->classes()); }
    bool gains_from_batches() const override { return scratches_.size() > 1; }

    std::string description() const override {
        const auto threads = scratches_.size();
        return fmt::format("Chorus's own network on the CPU ({}{})", network_->instructions(),
                           threads == 1 ? "" : fmt::format(", {} threads", threads));
    }

    std::unique_ptr<Classifier> for_another_thread() const override {
        if (scratches_.size() > 1) return nullptr;
        return std::make_unique<CpuClassifier>(network_, 1);
    }

  private:
    std::shared_ptr<const ScoringNetwork> network_;
    std::vector<ScoringNetwork::Scratch> scratches_;  // one a thread
};

}  // namespace

std::unique_ptr<Classifier> make_cpu_classifier(const Bundle& bundle, int threads, Precision precision) {
    auto network = std::make_shared<const ScoringNetwork>(bundle.architecture, static_cast<int>(bundle.labels.size()),
                                                          bundle.tensors, bundle.front_end.mels,
                                                          bundle.front_end.frames(), precision);
    return std::make_unique<CpuClassifier>(std::move(network), std::max(threads, 1));
}

}  // namespace chorus
